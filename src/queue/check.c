/* Queue core: its invariants, as core.c lists them. */
#include "queue/core_priv.h"

static void check_where(const struct core *c, uint32_t n)
{
    const struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    switch ((enum rec_state)r->state) {
    case REC_SCHEDULED:
    case REC_RETRYABLE:
        ASSERT(r->where == WHERE_DUE && c->due.items[r->next] == n);
        break;
    case REC_AVAILABLE:
        ASSERT(r->where == WHERE_LINE || r->where == WHERE_LINE_HEAP || r->where == WHERE_KEY ||
               r->where == WHERE_GATE || r->where == WHERE_AGAIN);
        ASSERT((r->where == WHERE_KEY) ? keyline_blocks(c, n) : true);
        ASSERT(r->where == WHERE_AGAIN || r->where == WHERE_KEY || !keyline_blocks(c, n));
        break;
    case REC_EXECUTING:
        ASSERT(r->where == WHERE_HELD && x != NULL && x->consumer != NULL);
        break;
    case REC_COMPLETED:
    case REC_DISCARDED:
    case REC_CANCELLED:
        ASSERT(r->where == WHERE_ENDED);
        break;
    }
    if (x != NULL && x->alarm_at != NO_TIME)
        ASSERT(alarm_stands_in(c, x->alarm)->items[x->alarm_pos] == n);
    if (x != NULL)
        ASSERT(x->rec == n);
    if (x != NULL && x->overdue)
        ASSERT(r->state < REC_COMPLETED && x->tended != NULL && x->tended->due_at <= c->at);
}

static void check_queue(const struct core *c, const struct queue *q)
{
    uint64_t count[REC_CANCELLED + 1] = {0}, lines = 0, standing = 0, overdue = 0;
    for (uint32_t n = 1; n < c->recs_count; n++) {
        const struct rec *r = core_rec(c, n);
        if (r->state == 0 || core_kind(c, r)->queue != q)
            continue;
        count[r->state]++;
        overdue += r->extra != NONE && core_extra(c, r)->overdue;
        standing += r->where == WHERE_LINE || r->where == WHERE_LINE_HEAP;
    }
    for (unsigned s = REC_SCHEDULED; s <= REC_CANCELLED; s++)
        ASSERT(count[s] == q->count[s]);
    for (const struct line *l = q->lines; l != NULL; l = l->next) {
        lines += l->count;
        heap_check(c, &l->heap, &line_heap);
        ASSERT(l->in_front == (l->count > 0 && q->o.handled && queue_is_runnable(q)));
        if (l->in_front)
            ASSERT(l->front->lines.items[l->front_pos] == (uintptr_t)l);
    }
    ASSERT(lines == standing);
    ASSERT(overdue == q->overdue);
}

static void check_lanes(const struct core *c)
{
    for (uint32_t i = 0; i < c->lanes_count; i++) {
        uint32_t executing = 0;
        for (uint32_t n = 1; n < c->recs_count; n++) {
            const struct rec *r = core_rec(c, n);
            executing += r->state == REC_EXECUTING && core_kind(c, r)->line->lane == c->lanes[i];
        }
        ASSERT(executing == c->lanes[i]->executing);
        for (const struct share *s = c->lanes[i]->shares; s != NULL; s = s->next) {
            for (const struct front *f = s->fronts; f != NULL; f = f->next)
                heap_check(c, &f->lines, &front_heap);
        }
    }
}

static void check_consumers(const struct core *c)
{
    for (const struct consumer *s = c->consumers; s != NULL; s = s->next) {
        uint32_t held = 0;
        for (uint32_t n = s->held_first; n != NONE; n = core_extra(c, core_rec(c, n))->held_next) {
            ASSERT(core_extra(c, core_rec(c, n))->consumer == s);
            held++;
        }
        ASSERT(held == s->held && s->has_room == (s->held < s->credit));
    }
}

void core_check(const struct core *c)
{
    struct pair p;
    for (uint32_t n = 1; n < c->recs_count; n++) {
        if (core_rec(c, n)->state != 0)
            check_where(c, n);
    }
    for (const struct queue *q = c->queues; q != NULL; q = q->next)
        check_queue(c, q);
    check_lanes(c);
    check_consumers(c);
    heap_check(c, &c->due, &due_heap);
    heap_check(c, &c->alarms, &alarm_heap);
    heap_check(c, &c->timeouts, &alarm_heap);
    heap_check(c, &c->gate_alarms, &gate_heap);
    heap_check(c, &c->purges, &purge_heap);
    heap_check(c, &c->dedup_ends, &dedup_ends_heap);
    heap_check(c, &c->expiries, &expiry_heap);
    heap_check(c, &c->leases, &lease_heap);
    if (lane_choose(c, &p))
        ASSERT(gate_blocking(c, core_extra(c, core_rec(c, p.rec))) != NULL);
}
