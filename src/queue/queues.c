/* Queue core: queues, their declarations and counts; weights of lanes and tenants; gates declared.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
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

static int queue_unknown(const char *name, struct err *e)
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

static int name_check(const char *name, const char *field, struct err *e)
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
    if (name_check(name, "queue", e) < 0)
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
    return o->dead_to == NULL ? 0 : name_check(o->dead_to, "dead_to", e);
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

/* ---- dropping ---- */

static void queue_forget_record(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    if (r->state == REC_EXECUTING) {
        core_effect(c, EFFECT_LOST, n);
        execution_end(c, n);
    }
    rec_unstand(c, n);
    if (r->state < REC_COMPLETED)
        core_effect(c, EFFECT_PURGED, n);
    keyline_leave(c, n);
    rec_forget(c, n);
}

struct placed {
    uint64_t place;
    uint32_t n;
};

static int placed_order(const void *a, const void *b)
{
    const struct placed *pa = a, *pb = b;
    return pa->place < pb->place ? -1 : pa->place > pb->place;
}

/* All, `count` of them. In order of place: the numbers of records are not the same on every node.
 * NULL: no memory. */
static struct placed *queue_records(const struct core *c, const struct queue *q, uint64_t count)
{
    struct placed *all = mem_try((count + 1) * sizeof *all);
    uint64_t found = 0;
    for (uint32_t n = 1; all != NULL && n < c->recs_count && found < count; n++) {
        const struct rec *r = core_rec(c, n);
        if (r->state != 0 && core_kind(c, r)->queue == q)
            all[found++] = (struct placed){.place = r->place, .n = n};
    }
    ASSERT(all == NULL || found == count);
    if (all != NULL)
        qsort(all, found, sizeof *all, placed_order);
    return all;
}

/* Of those that are available and were due by then, the first CORE_DUE_MAX in order of place. Twice
 * as many are gathered before they are sorted and half of them dropped, so that of a million few
 * are sorted. NULL: no memory. */
static struct placed *queue_earliest(const struct core *c, const struct queue *q, int64_t due,
                                     size_t *count)
{
    struct placed *all = mem_try(2 * CORE_DUE_MAX * sizeof *all);
    uint64_t behind = UINT64_MAX; /* places from here on are too late */
    size_t found = 0;
    for (uint32_t n = 1; all != NULL && n < c->recs_count; n++) {
        const struct rec *r = core_rec(c, n);
        if (r->state != REC_AVAILABLE || core_kind(c, r)->queue != q || rec_due(r) > due ||
            r->place >= behind)
            continue;
        all[found++] = (struct placed){.place = r->place, .n = n};
        if (found < 2 * CORE_DUE_MAX)
            continue;
        qsort(all, found, sizeof *all, placed_order);
        found = CORE_DUE_MAX;
        behind = all[found].place;
    }
    if (all != NULL)
        qsort(all, found, sizeof *all, placed_order);
    *count = found < CORE_DUE_MAX ? found : CORE_DUE_MAX;
    return all;
}

static int queue_no_memory(const struct queue *q, struct err *e)
{
    return err_set(e, ERR_NOMEM, "queue '%s': its records", q->name);
}

static int queue_forget_records(struct core *c, struct queue *q, uint64_t count, struct err *e)
{
    AUTO(mem_freep) struct placed *all = queue_records(c, q, count);
    if (all == NULL)
        return queue_no_memory(q, e);
    for (uint64_t i = 0; i < count; i++)
        queue_forget_record(c, all[i].n);
    return 0;
}

int core_unregister(struct core *c, const char *tenant, const char *name, uint32_t *count,
                    struct err *e)
{
    struct queue *q = queue_find(c, tenant, name);
    int64_t long_ago = c->at - CORE_UNHANDLED_MS;
    *count = 0;
    if (q == NULL || q->paused || q->unhandled_at == 0 || q->unhandled_at > long_ago ||
        q->consumers > 0)
        return 0;
    size_t found;
    AUTO(mem_freep) struct placed *all = queue_earliest(c, q, long_ago, &found);
    if (all == NULL)
        return queue_no_memory(q, e);
    for (size_t i = 0; i < found; i++) {
        if (core_rec(c, all[i].n)->state != REC_AVAILABLE)
            continue; /* ended with one before it */
        rec_unstand(c, all[i].n);
        rec_finish(c, all[i].n, REC_DISCARDED, REASON_UNREGISTERED);
        ++*count;
    }
    grants_make(c);
    return 0;
}

void core_abandon(struct core *c, const char *tenant, const char *name)
{
    struct queue *q = queue_find(c, tenant, name);
    if (q == NULL || q->o.handled || q->o.manual || q->unhandled_at != 0)
        return;
    SAVE(c, q->unhandled_at);
    q->unhandled_at = c->at;
}

static void queue_unlink(struct core *c, struct queue *q)
{
    struct queue **at = &c->queues;
    while (*at != q)
        at = &(*at)->next;
    undo_note(&c->undo, at, sizeof *at);
    *at = q->next;
    c->walked = NULL;
    if (c->queues_end == &q->next) {
        SAVE(c, c->queues_end);
        c->queues_end = at;
    }
    SAVE(c, c->queues_count);
    c->queues_count--;
    table_remove(&c->queues_table, &c->undo, &q->node);
}

/* Records that died in it live on in other queues. */
static void queue_forget_deaths(struct core *c, const struct queue *q)
{
    for (uint32_t n = NONE + 1; n < c->extras_count; n++) {
        struct extra *x = &c->extras[n / EXTRA_CHUNK][n % EXTRA_CHUNK];
        for (uint8_t i = 0; i < x->died_count; i++) {
            if (x->died[i] != q)
                continue;
            SAVE(c, x->died[i]);
            x->died[i] = NULL;
        }
    }
}

/* Nothing that names it may stay: dedup texts, subscriptions, lines in their fronts. */
static void queue_disband(struct core *c, struct queue *q)
{
    queue_forget_deaths(c, q);
    dedup_disband(c, q);
    for (struct gate *g = c->gates; g != NULL; g = g->next) {
        for (struct gated **at = &g->gated; *at != NULL;) {
            struct gated *d = *at;
            if (d->line->queue != q) {
                at = &d->next;
                continue;
            }
            undo_note(&c->undo, at, sizeof *at);
            *at = d->next;
            undo_free(&c->undo, d->waiting.items);
            undo_free(&c->undo, d);
        }
    }
    for (struct consumer *s = c->consumers; s != NULL; s = s->next)
        consumer_forget_queue(c, s, q);
}

int core_drop(struct core *c, const char *tenant, const char *name, bool force, struct err *e)
{
    struct queue *q = queue_find(c, tenant, name);
    if (q == NULL)
        return queue_unknown(name, e);
    uint64_t records = 0;
    for (unsigned i = 0; i <= REC_CANCELLED; i++)
        records += q->count[i];
    if (records > 0 && !force)
        return err_set(e, ERR_CONFLICT, "queue '%s' holds %llu records; purge it, or use force",
                       name, (unsigned long long)records);
    int rc = queue_waiting(q) > 0 ? owned_check(q, e) : 0;
    if (rc == 0)
        rc = queue_forget_records(c, q, records, e);
    if (rc < 0)
        return rc;
    queue_disband(c, q);
    queue_unlink(c, q);
    for (struct line *l = q->lines; l != NULL; l = l->next) {
        undo_free(&c->undo, l->heap.items);
        undo_free(&c->undo, l);
    }
    undo_free(&c->undo, (char *)q->o.dead_to);
    undo_free(&c->undo, (struct core_send *)q->o.sending);
    undo_free(&c->undo, (char *)q->o.script);
    undo_free(&c->undo, q->oldest.items);
    undo_free(&c->undo, q->name);
    undo_free(&c->undo, q);
    grants_make(c);
    return 0;
}

/* ---- pausing, weights, gates ---- */

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

static int weight_check(uint32_t weight, struct err *e)
{
    if (weight < 1 || weight > CORE_WEIGHT_MAX)
        return err_field(e, ERR_INVALID, "weight", "a weight is 1 to %d", CORE_WEIGHT_MAX);
    return 0;
}

int core_lane(struct core *c, const char *name, uint32_t weight, uint32_t cap, struct err *e)
{
    int rc = weight_check(weight, e);
    if (rc < 0)
        return rc;
    struct lane *l = lane_get(c, name);
    if (l == NULL)
        return err_field(e, ERR_TOO_LARGE, "lane", "there are %d lanes already", CORE_LANES_MAX);
    SAVE(c, l->weight);
    SAVE(c, l->cap);
    l->weight = weight;
    l->cap = cap;
    grants_make(c);
    return 0;
}

int core_tenant(struct core *c, const char *tenant, uint32_t weight, struct err *e)
{
    int rc = weight_check(weight, e);
    if (rc < 0)
        return rc;
    struct tenant *t = tenant_get(c, tenant);
    SAVE(c, t->weight);
    t->weight = weight;
    return 0;
}

int core_gate(struct core *c, const struct core_gate *o, struct err *e)
{
    if (name_check(o->name, "gate", e) < 0)
        return ERR_INVALID;
    if (o->rate > 0 && (o->per_ms < 1 || o->per_ms > CORE_GATE_PER_MAX_MS))
        return err_field(e, ERR_INVALID, "per", "a rate is per 1 ms to 1 day");
    struct gate *g = gate_get(c, tenant_get(c, o->tenant), o->name);
    undo_note(&c->undo, g, sizeof *g);
    g->capacity = o->capacity;
    g->rate = o->rate;
    g->per_ms = o->per_ms;
    gate_review(c, g);
    grants_make(c);
    return 0;
}

void gate_close_until(struct core *c, struct gate *g, int64_t until)
{
    SAVE(c, g->closed_until);
    g->closed_until = until;
    gate_review(c, g);
}

static int gate_until(struct core *c, const char *tenant, const char *name, int64_t until,
                      bool or_later, struct err *e)
{
    if (name_check(name, "gate", e) < 0)
        return ERR_INVALID;
    if (until < 0)
        return err_field(e, ERR_INVALID, "until", "a time to come, or 0");
    struct gate *g = gate_get(c, tenant_get(c, tenant), name);
    until = until < TIME_MAX ? until : TIME_MAX;
    gate_close_until(c, g, or_later && g->closed_until > until ? g->closed_until : until);
    grants_make(c);
    return 0;
}

int core_gate_close(struct core *c, const char *tenant, const char *name, int64_t until,
                    struct err *e)
{
    return gate_until(c, tenant, name, until, false, e);
}

int core_gate_backoff(struct core *c, const char *tenant, const char *name, int64_t until,
                      struct err *e)
{
    return gate_until(c, tenant, name, until, true, e);
}

/* ---- counts ---- */

static int64_t line_oldest(const struct core *c, const struct line *l)
{
    int64_t at = NO_TIME;
    for (uint32_t bits = l->priorities; bits != 0; bits &= bits - 1) {
        const struct rec *r = core_rec(c, l->fifos[__builtin_ctz(bits)].first);
        at = rec_due(r) < at ? rec_due(r) : at;
    }
    if (l->heap.count > 0) {
        const struct rec *r = core_rec(c, (uint32_t)l->heap.items[0]);
        at = rec_due(r) < at ? rec_due(r) : at;
    }
    return at;
}

int64_t queue_oldest(const struct core *c, const struct queue *q)
{
    int64_t at = NO_TIME;
    for (const struct line *l = q->lines; l != NULL; l = l->next) {
        int64_t a = line_oldest(c, l);
        at = a < at ? a : at;
    }
    return at;
}

static void queue_counts(const struct core *c, const struct queue *q, struct core_counts *out)
{
    *out = (struct core_counts){
        .scheduled = q->count[REC_SCHEDULED],
        .available = q->count[REC_AVAILABLE],
        .executing = q->count[REC_EXECUTING],
        .retryable = q->count[REC_RETRYABLE],
        .completed = q->count[REC_COMPLETED],
        .discarded = q->count[REC_DISCARDED],
        .cancelled = q->count[REC_CANCELLED],
        .bytes = q->bytes,
        .oldest_at = queue_oldest(c, q),
        .sent = q->sent,
        .acked = q->acked,
        .nacked = q->nacked,
        .granted = q->granted,
        .dropped = q->dropped,
        .overdue = q->overdue,
        .unhandled_at = q->unhandled_at,
        .consumers = q->consumers + (q->o.handled ? c->workers : 0),
        .unfit = queue_unfit(c, q),
        .dedups = q->dedups.count,
        .dedups_forgotten = q->dedups_forgotten,
        .dedups_whole_at = q->dedups_whole_at,
        .paused = q->paused,
        .closed = q->closed,
    };
}

int core_counts(const struct core *c, const char *tenant, const char *queue,
                struct core_counts *out, struct err *e)
{
    const struct queue *q = queue_find(c, tenant, queue);
    if (q == NULL)
        return queue_unknown(queue, e);
    queue_counts(c, q, out);
    return 0;
}

static void queue_show(const struct core *c, const struct queue *q, struct core_queue *o,
                       struct core_counts *n)
{
    *o = q->o;
    o->tenant = q->tenant->name;
    o->name = q->name;
    queue_counts(c, q, n);
}

bool core_each(const struct core *c, uint32_t *i, uint32_t max,
               bool (*each)(void *arg, const struct core_queue *q, const struct core_counts *n),
               void *arg)
{
    struct queue *q = c->walked != NULL && c->walked->number < *i ? c->walked : c->queues;
    while (q != NULL && q->number < *i)
        q = q->next;
    for (bool on = true; q != NULL && max > 0 && on; q = q->next, max--) {
        struct core_queue o;
        struct core_counts n;
        queue_show(c, q, &o, &n);
        *i = q->number + 1;
        ((struct core *)c)->walked = q; /* no part of the state: where the next call goes on */
        on = each(arg, &o, &n);
    }
    return q != NULL;
}

struct queue_first {
    struct core_queue *queue;
    struct core_counts *counts;
};

static bool queue_first(void *arg, const struct core_queue *o, const struct core_counts *n)
{
    const struct queue_first *f = arg;
    *f->queue = *o;
    *f->counts = *n;
    return false;
}

bool core_queue_at(const struct core *c, uint32_t *i, struct core_queue *o, struct core_counts *n)
{
    uint32_t before = *i;
    core_each(c, i, 1, queue_first, &(struct queue_first){.queue = o, .counts = n});
    return *i != before;
}

int core_find(const struct core *c, const char *tenant, const char *queue, struct core_queue *o,
              struct core_counts *n, struct err *e)
{
    const struct queue *q = queue_find(c, tenant, queue);
    if (q == NULL)
        return queue_unknown(queue, e);
    queue_show(c, q, o, n);
    return 0;
}
