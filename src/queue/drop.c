/* Queue core: queues that go, with what is in them: dropped by somebody; or their script is gone,
 * and what nobody works is discarded after a while. */
#include <stdlib.h>

#include "base/mem.h"
#include "queue/core_priv.h"

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
