/* Queue core: queues and their declarations. */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

enum { NAME_MAX_BYTES = 128 };
static const int64_t keep_discarded_ms = INT64_C(30) * 86400 * 1000;
static const int64_t dedup_window_ms = INT64_C(10) * 60 * 1000;

void core_queue_defaults(struct core_queue *q)
{
    q->keep_discarded_ms = keep_discarded_ms;
    q->dedup_window_ms = dedup_window_ms;
}

static uint64_t queue_hash(const char *tenant, const char *name)
{
    return hash64(hash64(0, tenant, strlen(tenant)), name, strlen(name));
}

struct queue *queue_find(const struct core *c, const char *tenant, const char *name)
{
    struct table_node *n = table_find(&c->queues_table, queue_hash(tenant, name));
    for (; n != NULL; n = table_again(n)) {
        struct queue *q = (struct queue *)n;
        if (strcmp(q->name, name) == 0 && strcmp(q->tenant->name, tenant) == 0)
            return q;
    }
    return NULL;
}

int queue_unknown(const char *name, struct err *e)
{
    return err_field(e, ERR_NOT_FOUND, "queue",
                     "there is no queue '%s'; `koan queue ls` shows which there are", name);
}

bool queue_is_runnable(const struct queue *q)
{
    return !q->paused && !q->o.manual &&
           (q->o.concurrency == 0 || q->count[REC_EXECUTING] < q->o.concurrency);
}

uint64_t queue_waiting(const struct queue *q)
{
    return q->count[REC_SCHEDULED] + q->count[REC_AVAILABLE] + q->count[REC_RETRYABLE];
}

struct fifo *queue_ended(struct queue *q, enum rec_state state)
{
    return state == REC_DISCARDED ? &q->dead : &q->finals;
}

static bool queue_has_lines(const struct queue *q)
{
    for (const struct line *l = q->lines; l != NULL; l = l->next) {
        if (l->count > 0)
            return true;
    }
    return false;
}

void queue_review(struct core *c, struct queue *q)
{
    bool should = q->free_first != NULL && queue_is_runnable(q) && queue_has_lines(q);
    if (should == q->pairs)
        return;
    SAVE(c, q->pairs);
    SAVE(c, q->pairs_next);
    q->pairs = should;
    struct queue **at = &c->pairs;
    while (!should && *at != q)
        at = &(*at)->pairs_next;
    undo_note(&c->undo, at, sizeof *at);
    if (should)
        q->pairs_next = *at;
    *at = should ? q : q->pairs_next;
}

void queue_lines_review(struct core *c, struct queue *q)
{
    for (struct line *l = q->lines; l != NULL; l = l->next)
        line_review(c, l);
}

/* ---- declaring ---- */

static struct queue *queue_new(struct core *c, const char *tenant, const char *name)
{
    struct queue *q = undo_alloc(&c->undo, sizeof *q);
    q->tenant = tenant_get(c, tenant);
    q->name = undo_strdup(&c->undo, name);
    q->purge_at = q->dedups_at = NO_TIME;
    SAVE(c, c->queue_next);
    SAVE(c, c->queues_count);
    q->number = c->queue_next++;
    c->queues_count++;
    undo_note(&c->undo, c->queues_end, sizeof *c->queues_end);
    *c->queues_end = q;
    SAVE(c, c->queues_end);
    c->queues_end = &q->next;
    core_queue_defaults(&q->o);
    table_add(&c->queues_table, &c->undo, &q->node, queue_hash(tenant, name));
    return q;
}

int core_name_check(const char *name, const char *field, struct err *e)
{
    size_t n = name == NULL ? 0 : strlen(name);
    if (n < 1 || n > NAME_MAX_BYTES)
        return err_field(e, ERR_INVALID, field, "a name has 1 to %d characters", NAME_MAX_BYTES);
    return 0;
}

struct queue *queue_get(struct core *c, const char *tenant, const char *name, bool create,
                        struct err *e)
{
    struct queue *q = queue_find(c, tenant, name);
    if (q != NULL)
        return q;
    if (!create) {
        err_field(e, ERR_NOT_FOUND, "queue",
                  "there is no queue '%s'; declare it, or send with create", name);
        return NULL;
    }
    if (core_name_check(name, "queue", e) < 0)
        return NULL;
    if (c->queues_count >= CORE_QUEUES_MAX) {
        err_field(e, ERR_TOO_LARGE, "queue", "there are %d queues already; drop some",
                  CORE_QUEUES_MAX);
        return NULL;
    }
    return queue_new(c, tenant, name);
}

static int queue_check(const struct core_queue *o, struct err *e)
{
    if (o->dead_to != NULL && strcmp(o->dead_to, o->name) == 0)
        return err_field(e, ERR_INVALID, "dead_to", "dead letters of '%s' cannot go to itself",
                         o->name);
    if (o->dedup_window_ms < 0 || o->dedup_window_ms > CORE_DEDUP_MAX_MS)
        return err_field(e, ERR_INVALID, "dedup_window", "from 0 to 30 days");
    if (o->due_ms < 0 || o->due_ms > TIME_MAX || (o->due_ms > 0 && !o->manual))
        return err_field(e, ERR_INVALID, "due", "a time to come, and of a manual queue alone");
    if (o->keep_completed_ms < -1 || o->keep_discarded_ms < -1)
        return err_field(e, ERR_INVALID, "keep", "a time, 0, or -1 for ever");
    if (o->body_max > CORE_BODY_MAX)
        return err_field(e, ERR_INVALID, "body_max", "at most %d bytes", CORE_BODY_MAX);
    if (o->sending != NULL && sending_check(o->sending, e) < 0)
        return ERR_INVALID;
    return o->dead_to == NULL ? 0 : core_name_check(o->dead_to, "dead_to", e);
}

/* Every waiting record of it comes to the heap by place, or leaves it. */
static void queue_oldest_review(struct core *c, struct queue *q)
{
    bool want = q->o.overflow == OVERFLOW_DROP_OLDEST;
    if (!want && q->oldest.count == 0)
        return;
    for (uint32_t n = 1; n < c->recs_count; n++) {
        const struct rec *r = core_rec(c, n);
        if (r->state != 0 && core_kind(c, r)->queue == q)
            oldest_review(c, n);
    }
}

void queue_set(struct core *c, struct queue *q, const struct core_queue *o)
{
    char *dead_to = o->dead_to == NULL ? NULL : undo_strdup(&c->undo, o->dead_to);
    struct core_send *sending = sending_keep(c, o->sending);
    char *script = o->script == NULL ? NULL : undo_strdup(&c->undo, o->script);
    bool owned = q->o.owned;
    SAVE(c, q->unhandled_at);
    if (o->handled || o->manual)
        q->unhandled_at = 0;
    else if (q->o.handled && q->consumers == 0)
        q->unhandled_at = c->at;
    undo_note(&c->undo, &q->o, sizeof q->o);
    undo_free(&c->undo, (char *)q->o.dead_to);
    undo_free(&c->undo, (struct core_send *)q->o.sending);
    undo_free(&c->undo, (char *)q->o.script);
    q->o = *o;
    q->o.tenant = q->tenant->name;
    q->o.name = q->name;
    q->o.dead_to = dead_to;
    q->o.sending = sending;
    q->o.script = script;
    q->o.owned = owned;
    queue_oldest_review(c, q);
    queue_lines_review(c, q);
    queue_review(c, q);
    purge_review(c, q);
    while (o->keep_count > 0 && q->finals.first != NONE &&
           q->count[REC_COMPLETED] + q->count[REC_CANCELLED] > o->keep_count)
        rec_forget(c, q->finals.first);
}

int core_declare(struct core *c, const struct core_queue *o, struct err *e)
{
    struct core_queue mine = *o;
    struct core_send room;
    struct queue *q = queue_find(c, o->tenant, o->name);
    int rc = declared_resolve(&mine, &room, q == NULL ? NULL : &q->o, e);
    if (rc == 0)
        rc = queue_check(&mine, e);
    if (rc == 0)
        rc = sending_reserve(c, mine.sending, e);
    if (rc < 0)
        return rc;
    q = queue_get(c, o->tenant, o->name, true, e);
    if (q == NULL)
        return e != NULL ? e->code : ERR_INVALID;
    if (q->o.owned && !mine.manual)
        return err_field(e, ERR_CONFLICT, "manual",
                         "what waits in queue '%s' is worked by people: it stays manual", q->name);
    queue_set(c, q, &mine);
    grants_make(c);
    return 0;
}

/* ---- pausing, closing ---- */

int core_pause(struct core *c, const char *tenant, const char *name, bool paused, struct err *e)
{
    struct queue *q = queue_find(c, tenant, name);
    if (q == NULL)
        return queue_unknown(name, e);
    SAVE(c, q->paused);
    q->paused = paused;
    queue_lines_review(c, q);
    queue_review(c, q);
    grants_make(c);
    return 0;
}

int core_close(struct core *c, const char *tenant, const char *name, bool closed, struct err *e)
{
    struct queue *q = queue_find(c, tenant, name);
    if (q == NULL)
        return queue_unknown(name, e);
    SAVE(c, q->closed);
    q->closed = closed;
    return 0;
}
