/* Queue core: an entry begins, time moves on. */
#include "queue/core_priv.h"

/* What comes next of all that is due, in the order that core_entry() promises. */
enum due_kind { DUE_ALARM, DUE_TIMEOUT, DUE_RUN, DUE_GATE, DUE_PURGE, DUE_DEDUP, DUE_KINDS };

struct due {
    int64_t at;
    int order; /* within one time */
    enum due_kind kind;
};

static void due_offer(struct due *best, int64_t at, int order, enum due_kind kind)
{
    if (at < best->at || (at == best->at && order < best->order))
        *best = (struct due){.at = at, .order = order, .kind = kind};
}

static void alarm_due(const struct core *c, const struct heap *h, struct due *best,
                      enum due_kind kind)
{
    if (h->count == 0)
        return;
    const struct extra *x = core_extra(c, core_rec(c, (uint32_t)h->items[0]));
    due_offer(best, x->alarm_at, x->alarm, kind);
}

static struct due due_next(const struct core *c)
{
    struct due best = {.at = NO_TIME, .order = 0};
    alarm_due(c, &c->alarms, &best, DUE_ALARM);
    alarm_due(c, &c->timeouts, &best, DUE_TIMEOUT);
    if (c->due.count > 0)
        due_offer(&best, rec_due(core_rec(c, (uint32_t)c->due.items[0])), 4, DUE_RUN);
    if (c->gate_alarms.count > 0)
        due_offer(&best, ((struct gate *)(uintptr_t)c->gate_alarms.items[0])->alarm_at, 5,
                  DUE_GATE);
    if (c->purges.count > 0)
        due_offer(&best, ((struct queue *)(uintptr_t)c->purges.items[0])->purge_at, 6, DUE_PURGE);
    if (c->dedup_ends.count > 0)
        due_offer(&best, ((struct queue *)(uintptr_t)c->dedup_ends.items[0])->dedups_at, 7,
                  DUE_DEDUP);
    return best;
}

static void alarm_fire(struct core *c)
{
    uint32_t n = (uint32_t)c->alarms.items[0];
    if (core_extra(c, core_rec(c, n))->alarm == ALARM_OVERDUE)
        overdue_mark(c, n);
    else if (!rec_is_too_late(c, n))
        alarm_review(c, n);
}

static void timeout_fire(struct core *c)
{
    uint32_t n = (uint32_t)c->timeouts.items[0];
    core_effect(c, EFFECT_LOST, n);
    rec_note_error(c, n, REASON_TIMEOUT, NULL);
    execution_end(c, n);
    rec_fail(c, n, REASON_TIMEOUT, -1);
}

static void run_fire(struct core *c)
{
    uint32_t n = (uint32_t)c->due.items[0];
    rec_unstand(c, n);
    rec_available(c, n);
}

static void gate_fire(struct core *c)
{
    struct gate *g = (struct gate *)(uintptr_t)c->gate_alarms.items[0];
    gate_alarm(c, g, NO_TIME);
    gate_review(c, g);
}

static void purge_fire(struct core *c)
{
    struct queue *q = (struct queue *)(uintptr_t)c->purges.items[0];
    uint32_t a = q->finals.first, b = q->dead.first;
    bool final = a != NONE && q->o.keep_completed_ms >= 0 &&
                 rec_due(core_rec(c, a)) + q->o.keep_completed_ms <= c->at;
    rec_forget(c, final ? a : b);
}

static void due_fire(struct core *c, enum due_kind kind)
{
    switch (kind) {
    case DUE_ALARM:
        alarm_fire(c);
        return;
    case DUE_TIMEOUT:
        timeout_fire(c);
        return;
    case DUE_RUN:
        run_fire(c);
        return;
    case DUE_GATE:
        gate_fire(c);
        return;
    case DUE_PURGE:
        purge_fire(c);
        return;
    case DUE_DEDUP:
        dedup_remove_first(c, (struct queue *)(uintptr_t)c->dedup_ends.items[0]);
        return;
    case DUE_KINDS:
        break;
    }
    PANIC("no such kind of thing is due: %d", (int)kind);
}

static void again_stand(struct core *c)
{
    while (c->again.first != NONE) {
        uint32_t n = c->again.first;
        rec_unstand(c, n);
        rec_stand(c, n);
    }
}

int core_entry(struct core *c, uint64_t seq, int64_t at, struct err *e)
{
    undo_begin(&c->undo);
    c->effects_count = c->noted_count = 0;
    ASSERT(seq > c->seq && at >= c->at);
    int rc = rec_reserve(c, e);
    if (rc < 0)
        return rc;
    SAVE(c, c->seq);
    SAVE(c, c->at);
    c->seq = seq;
    c->at = at;
    again_stand(c);
    for (uint32_t moved = 0; moved < CORE_DUE_MAX; moved++) {
        struct due d = due_next(c);
        if (d.at > at)
            break;
        due_fire(c, d.kind);
    }
    grants_make(c);
    undo_mark(&c->undo);
    return 0;
}

void core_unit(struct core *c)
{
    undo_mark(&c->undo);
}

void core_undo(struct core *c, bool entry_too)
{
    c->walked = NULL;
    undo_back(&c->undo, entry_too);
}
