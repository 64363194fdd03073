/* Queue core: what a queue shows of itself, and all of them in turn. */
#include "queue/core_priv.h"

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
