/* unique_mode=merge: the body of a message is merged (RFC 7396) with that of the one that waits.
 *
 *   which body (ledger's thread) -> read, merged (pool) -> sent, if that is still the body
 *
 * If not, somebody else was faster, and it begins anew, QUEUE_MERGE_TRIES times. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "entity/patch.h"

static void merge_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_merging *m = (struct queue_merging *)a;
    for (size_t i = 0; i < m->count; i++)
        core_waiting(c, API_TENANT, m->list[i].queue, m->list[i].unique, &m->list[i].waits);
}

static int merge_body(const struct buf *old, const struct queue_merged *x, struct buf *out,
                      struct err *e)
{
    AUTO(json_unref) json_t *doc = json_read(old->data, old->len, e);
    AUTO(json_unref) json_t *patch = doc == NULL ? NULL : json_read(x->patch, x->patch_len, e);
    if (patch == NULL || patch_merge(&doc, patch, e) != 0)
        return e->code;
    if (json_print(doc, out, NULL) == 0 && out->len <= CORE_BODY_MAX)
        return 0;
    return err_field(e, ERR_TOO_LARGE, "body", "merged, it has more than %d bytes", CORE_BODY_MAX);
}

static void merge_one(struct queue_merging *m, struct queue_merged *x, struct db *db)
{
    AUTO(buf_fini) struct buf old = BUF_INIT(CORE_BODY_MAX + 1);
    buf_init(&x->body, CORE_BODY_MAX);
    if (x->waits.body == 0)
        return;
    int rc = queue_waiting_read(m->job.api->o.ledger, db, &x->waits, &old, &x->err);
    if (rc == 0)
        rc = merge_body(&old, x, &x->body, &x->err);
    if (rc == ERR_GONE) { /* it is worked already */
        err_clear(&x->err);
        x->waits.body = UINT64_MAX; /* no such place: the send is refused, and it begins anew */
    }
}

static void merge_run(struct api_job *j, struct db *db)
{
    struct queue_merging *m = LIST_OF(j, struct queue_merging, job);
    size_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct queue_merged *x = &m->list[i];
        if (bytes < QUEUE_READ_BYTES)
            merge_one(m, x, db);
        else
            err_field(&x->err, ERR_TOO_LARGE, "body",
                      "what a request merges has %d bytes together at most: send fewer at a time",
                      QUEUE_READ_BYTES);
        bytes += x->body.len;
    }
}

static void merge_done(struct api_job *j)
{
    struct queue_merging *m = LIST_OF(j, struct queue_merging, job);
    for (size_t i = 0; i < m->count && j->err.code != 0; i++)
        m->list[i].err = j->err;
    m->done(m);
}

static void merge_asked(struct queue_ask *a)
{
    struct queue_merging *m = (struct queue_merging *)a;
    m->job = (struct api_job){.run = merge_run, .done = merge_done};
    api_job_start(&m->job, m->req);
}

void queue_merge_start(struct queue_merging *m, struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    m->req = req;
    m->ask =
        (struct queue_ask){.home = loop_runner(t->loop), .ask = merge_ask, .done = merge_asked};
    queues_ask(t->api->o.queues, &m->ask);
}

void queue_merged_init(struct queue_merged *x, const struct queue_draft *d)
{
    *x = (struct queue_merged){.queue = d->m.send.queue,
                               .unique = d->m.send.unique,
                               .patch = d->m.body,
                               .patch_len = d->m.body_len};
}

void queue_merged_use(const struct queue_merged *x, struct queue_message *m)
{
    m->send.unique_expect = x->waits.body;
    if (x->waits.body == 0)
        return;
    m->body = x->body.data;
    m->body_len = x->body.len;
}

bool queue_merge_is_lost(const struct err *e)
{
    return e->code == ERR_CONFLICT && strcmp(e->field, "unique") == 0;
}

/* ---- messages of a request that are merged ---- */

/* Those with the same text come after each other, a round for each; the rest at once. */
struct merge_item {
    struct queue_draft draft;
    size_t item;
    int tries;
    bool pending, active;
};
struct queue_merges {
    struct queue_merging merging; /* first */
    struct queue_units *units;
    void (*done)(struct queue_units *u);
    json_t *held;
    struct merge_item *list;
    size_t count, max;
    struct queue_merged *round;
    size_t round_count;
};

struct queue_merges *queue_merges_new(size_t max, json_t *held)
{
    struct queue_merges *m = mem_new(sizeof *m);
    m->held = json_incref(held);
    m->max = max;
    return m;
}

void queue_merges_free(struct queue_merges *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        queue_draft_fini(&m->list[i].draft);
    json_decref(m->held);
    mem_free(m->list);
    mem_free(m->round);
    mem_free(m);
}

void queue_merges_add(struct queue_merges *m, size_t item, struct queue_draft *d)
{
    if (m->list == NULL) { /* few requests have any */
        m->list = mem_new_array(m->max, sizeof *m->list);
        m->round = mem_new_array(m->max, sizeof *m->round);
    }
    struct merge_item *x = &m->list[m->count++];
    *x = (struct merge_item){.item = item, .pending = true};
    queue_draft_move(&x->draft, d);
}

static bool merges_choose(struct queue_merges *m, size_t i)
{
    const char *text = m->list[i].draft.m.send.unique;
    for (size_t k = 0; k < m->round_count; k++)
        if (strcmp(m->round[k].unique, text) == 0)
            return false;
    queue_merged_init(&m->round[m->round_count++], &m->list[i].draft);
    return true;
}

static void merges_next(struct queue_merges *m);

static void merges_sent(struct queue_units *u)
{
    struct queue_merges *m = u->more;
    for (size_t i = 0; i < m->count; i++) {
        struct merge_item *x = &m->list[i];
        struct queue_item *it = &u->items[x->item];
        if (!x->active)
            continue;
        x->pending = queue_merge_is_lost(&it->err) && ++x->tries < QUEUE_MERGE_TRIES;
        it->kept = true; /* not to be proposed again with the others */
        if (!x->pending)
            continue;
        err_clear(&it->err);
        unit_fini(&it->unit);
        it->open = false;
    }
    for (size_t i = 0; i < m->round_count; i++)
        buf_fini(&m->round[i].body);
    merges_next(m);
}

static void merges_send(struct queue_merges *m, struct merge_item *x, const struct queue_merged *to)
{
    struct queue_item *it = &m->units->items[x->item];
    struct queue_message message = x->draft.m;
    it->err = to->err;
    if (it->err.code != 0)
        return;
    it->kept = false;
    struct txn *t = queue_units_txn(m->units, x->item);
    queue_merged_use(to, &message);
    if (t != NULL)
        queue_txn_send(t, &message, &it->err);
}

static void merges_merged(struct queue_merging *merging)
{
    struct queue_merges *m = (struct queue_merges *)merging;
    size_t k = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->list[i].active)
            merges_send(m, &m->list[i], &m->round[k++]);
    queue_units_start(m->units, merges_sent);
}

static void merges_next(struct queue_merges *m)
{
    m->round_count = 0;
    for (size_t i = 0; i < m->count; i++)
        m->list[i].active = m->list[i].pending && merges_choose(m, i);
    if (m->round_count == 0) {
        struct queue_units *u = m->units;
        u->more = NULL;
        u->done = m->done;
        queue_merges_free(m);
        u->done(u);
        return;
    }
    m->merging.list = m->round;
    m->merging.count = m->round_count;
    m->merging.done = merges_merged;
    queue_merge_start(&m->merging, m->units->req);
}

static void merges_others_sent(struct queue_units *u)
{
    for (size_t i = 0; i < u->count; i++)
        u->items[i].kept = true;
    merges_next(u->more);
}

void queue_merges_start(struct queue_merges *m, struct queue_units *u,
                        void (*done)(struct queue_units *u))
{
    if (m->count == 0) {
        queue_merges_free(m);
        queue_units_start(u, done);
        return;
    }
    m->units = u;
    m->done = done;
    u->more = m;
    for (size_t i = 0; i < m->count; i++)
        u->items[m->list[i].item].kept = true;
    queue_units_start(u, merges_others_sent);
}
