/* Queue core: what is due, and when. Six heaps: records to be run later; alarms of records that
 * wait (ttl, deadline, overdue) and of those that execute (timeout), apart so that an execution
 * costs the same however many wait; gates that open or get a token; queues whose ended records have
 * been kept long enough, or of which dedup texts end. And two that core_next_expiry() tells of:
 * leases of consumers, and records' own. */
#include "queue/core_priv.h"

static void due_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct rec *r = core_rec(c, (uint32_t)item);
    rec_save(c, r);
    r->next = at;
}
const struct heap_kind due_heap = {rec_is_sooner, due_stands};

static bool place_is_before(const struct core *c, const struct rec *a, const struct rec *b)
{
    if (a->place != b->place)
        return a->place < b->place;
    return core_kind(c, a)->queue->number < core_kind(c, b)->queue->number;
}

static bool alarm_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct rec *ra = core_rec(c, (uint32_t)a), *rb = core_rec(c, (uint32_t)b);
    const struct extra *xa = core_extra(c, ra), *xb = core_extra(c, rb);
    if (xa->alarm_at != xb->alarm_at)
        return xa->alarm_at < xb->alarm_at;
    if (xa->alarm != xb->alarm)
        return xa->alarm < xb->alarm;
    return place_is_before(c, ra, rb);
}
static void alarm_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct extra *x = core_extra(c, core_rec(c, (uint32_t)item));
    SAVE(c, x->alarm_pos);
    x->alarm_pos = at;
}
const struct heap_kind alarm_heap = {alarm_is_before, alarm_stands};

static bool lease_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct rec *ra = core_rec(c, (uint32_t)a), *rb = core_rec(c, (uint32_t)b);
    const struct extra *xa = core_extra(c, ra), *xb = core_extra(c, rb);
    if (xa->own_lease != xb->own_lease)
        return xa->own_lease < xb->own_lease;
    return place_is_before(c, ra, rb);
}
static void lease_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct extra *x = core_extra(c, core_rec(c, (uint32_t)item));
    SAVE(c, x->lease_pos);
    x->lease_pos = at;
}
const struct heap_kind lease_heap = {lease_is_before, lease_stands};

static bool oldest_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    return place_is_before(c, core_rec(c, (uint32_t)a), core_rec(c, (uint32_t)b));
}
static void oldest_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct extra *x = core_extra(c, core_rec(c, (uint32_t)item));
    SAVE(c, x->oldest_pos);
    x->oldest_pos = at;
}
const struct heap_kind oldest_heap = {oldest_is_before, oldest_stands};

static bool gate_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct gate *ga = (struct gate *)(uintptr_t)a, *gb = (struct gate *)(uintptr_t)b;
    (void)c;
    return ga->alarm_at != gb->alarm_at ? ga->alarm_at < gb->alarm_at : ga->number < gb->number;
}
static void gate_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct gate *g = (struct gate *)(uintptr_t)item;
    SAVE(c, g->alarm_pos);
    g->alarm_pos = at;
}
const struct heap_kind gate_heap = {gate_is_before, gate_stands};

static bool purge_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct queue *qa = (struct queue *)(uintptr_t)a, *qb = (struct queue *)(uintptr_t)b;
    (void)c;
    return qa->purge_at != qb->purge_at ? qa->purge_at < qb->purge_at : qa->number < qb->number;
}
static void purge_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct queue *q = (struct queue *)(uintptr_t)item;
    SAVE(c, q->purge_pos);
    q->purge_pos = at;
}
const struct heap_kind purge_heap = {purge_is_before, purge_stands};

static bool dedup_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct dedup *da = (struct dedup *)(uintptr_t)a, *db = (struct dedup *)(uintptr_t)b;
    (void)c;
    if (da->until != db->until)
        return da->until < db->until;
    return da->node.hash != db->node.hash ? da->node.hash < db->node.hash : da->more < db->more;
}
static void dedup_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct dedup *d = (struct dedup *)(uintptr_t)item;
    SAVE(c, d->pos);
    d->pos = at;
}
const struct heap_kind dedup_heap = {dedup_is_before, dedup_stands};

static bool dedup_end_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct queue *qa = (struct queue *)(uintptr_t)a, *qb = (struct queue *)(uintptr_t)b;
    (void)c;
    return qa->dedups_at != qb->dedups_at ? qa->dedups_at < qb->dedups_at : qa->number < qb->number;
}
static void dedup_end_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct queue *q = (struct queue *)(uintptr_t)item;
    SAVE(c, q->dedups_pos);
    q->dedups_pos = at;
}
const struct heap_kind dedup_ends_heap = {dedup_end_is_before, dedup_end_stands};

static bool expiry_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct consumer *sa = (struct consumer *)(uintptr_t)a;
    const struct consumer *sb = (struct consumer *)(uintptr_t)b;
    (void)c;
    return sa->expires != sb->expires ? sa->expires < sb->expires : sa->number < sb->number;
}
static void expiry_stands(struct core *c, uint64_t item, uint32_t at)
{
    struct consumer *s = (struct consumer *)(uintptr_t)item;
    SAVE(c, s->expires_pos);
    s->expires_pos = at;
}
const struct heap_kind expiry_heap = {expiry_is_before, expiry_stands};

/* ---- alarms of a record ---- */

static void alarm_offer(struct extra *next, int64_t at, enum alarm_kind kind)
{
    if (at < next->alarm_at) {
        next->alarm_at = at;
        next->alarm = (uint8_t)kind;
    }
}

static struct extra alarm_of(const struct core *c, const struct rec *r, const struct extra *x)
{
    const struct kind *k = core_kind(c, r);
    struct extra next = {.alarm_at = NO_TIME};
    if (r->state == REC_EXECUTING)
        alarm_offer(&next, x->granted_at + k->timeout_ms, ALARM_TIMEOUT);
    if (r->state != REC_SCHEDULED && r->state != REC_AVAILABLE && r->state != REC_RETRYABLE)
        return next;
    if (x->ttl_at != 0 && r->deliveries == 0)
        alarm_offer(&next, x->ttl_at, ALARM_TTL);
    int64_t deadline = (x->first_run != 0 ? x->first_run : rec_due(r)) + k->deadline_ms;
    if (deadline > c->at && (x->snoozed || x->gates_count > 0))
        alarm_offer(&next, deadline, ALARM_DEADLINE);
    if (x->tended != NULL && x->tended->due_at != 0 && !x->overdue)
        alarm_offer(&next, x->tended->due_at, ALARM_OVERDUE);
    return next;
}

const struct heap *alarm_stands_in(const struct core *c, uint8_t kind)
{
    return kind == ALARM_TIMEOUT ? &c->timeouts : &c->alarms;
}

void alarm_review(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    if (x == NULL)
        return;
    struct extra next = alarm_of(c, r, x);
    if (next.alarm_at == x->alarm_at && next.alarm == x->alarm)
        return;
    if (x->alarm_at != NO_TIME)
        heap_remove(c, &c->undo, x->alarm == ALARM_TIMEOUT ? &c->timeouts : &c->alarms, &alarm_heap,
                    x->alarm_pos);
    undo_note(&c->undo, x, sizeof *x);
    x->alarm_at = next.alarm_at;
    x->alarm = next.alarm;
    if (x->alarm_at != NO_TIME)
        heap_push(c, &c->undo, x->alarm == ALARM_TIMEOUT ? &c->timeouts : &c->alarms, &alarm_heap,
                  n);
}

/* ---- of a queue, of a gate ---- */

static int64_t ended_until(const struct core *c, uint32_t first, int64_t keep_ms)
{
    return first == NONE || keep_ms < 0 ? NO_TIME : rec_due(core_rec(c, first)) + keep_ms;
}

void purge_review(struct core *c, struct queue *q)
{
    int64_t a = ended_until(c, q->finals.first, q->o.keep_completed_ms);
    int64_t b = ended_until(c, q->dead.first, q->o.keep_discarded_ms);
    int64_t at = a < b ? a : b;
    if (q->in_purges && q->purge_at == at)
        return;
    if (q->in_purges)
        heap_remove(c, &c->undo, &c->purges, &purge_heap, q->purge_pos);
    SAVE(c, q->purge_at);
    SAVE(c, q->in_purges);
    q->purge_at = at;
    q->in_purges = at != NO_TIME;
    if (q->in_purges)
        heap_push(c, &c->undo, &c->purges, &purge_heap, (uintptr_t)q);
}

void gate_alarm(struct core *c, struct gate *g, int64_t at)
{
    if (g->in_alarms && g->alarm_at == at)
        return;
    if (g->in_alarms)
        heap_remove(c, &c->undo, &c->gate_alarms, &gate_heap, g->alarm_pos);
    SAVE(c, g->alarm_at);
    SAVE(c, g->in_alarms);
    g->alarm_at = at;
    g->in_alarms = at != NO_TIME;
    if (g->in_alarms)
        heap_push(c, &c->undo, &c->gate_alarms, &gate_heap, (uintptr_t)g);
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t core_next_due(const struct core *c)
{
    int64_t at = c->again.first != NONE ? c->at : NO_TIME;
    if (c->due.count > 0)
        at = sooner(at, rec_due(core_rec(c, (uint32_t)c->due.items[0])));
    if (c->alarms.count > 0)
        at = sooner(at, core_extra(c, core_rec(c, (uint32_t)c->alarms.items[0]))->alarm_at);
    if (c->timeouts.count > 0)
        at = sooner(at, core_extra(c, core_rec(c, (uint32_t)c->timeouts.items[0]))->alarm_at);
    if (c->gate_alarms.count > 0)
        at = sooner(at, ((struct gate *)(uintptr_t)c->gate_alarms.items[0])->alarm_at);
    if (c->purges.count > 0)
        at = sooner(at, ((struct queue *)(uintptr_t)c->purges.items[0])->purge_at);
    if (c->dedup_ends.count > 0)
        at = sooner(at, ((struct queue *)(uintptr_t)c->dedup_ends.items[0])->dedups_at);
    return at;
}

void core_next_expiry(const struct core *c, struct core_expiry *out)
{
    *out = (struct core_expiry){.at = NO_TIME};
    if (c->expiries.count > 0) {
        const struct consumer *s = (struct consumer *)(uintptr_t)c->expiries.items[0];
        out->at = s->expires;
        out->consumer = s->id;
    }
    if (c->leases.count == 0)
        return;
    const struct rec *r = core_rec(c, (uint32_t)c->leases.items[0]);
    const struct extra *x = core_extra(c, r);
    if (x->own_lease < out->at)
        *out = (struct core_expiry){
            .at = x->own_lease, .is_record = true, .record = r->id, .token = x->token};
}
