/* Queue core: what comes of an execution. */
#include <string.h>

#include "queue/core_priv.h"

enum { LEASE_MIN_MS = 1000, LEASE_MAX_MS = 12 * 3600 * 1000 };

void rec_lapse(struct core *c, uint32_t n)
{
    core_effect(c, EFFECT_LOST, n);
    rec_note_error(c, n, REASON_LAPSED, NULL);
    execution_end(c, n);
    rec_fail(c, n, REASON_LAPSED, -1);
}

void rec_hand_back(struct core *c, uint32_t n)
{
    execution_end(c, n);
    if (execution_was_cancelled(c, n))
        return;
    rec_give_back(c, n);
    rec_available(c, n);
}

static int settle_find(const struct core *c, const struct uuid *id, uint64_t token, uint32_t *n,
                       struct err *e)
{
    *n = rec_find(c, core_fingerprint(id));
    if (*n == NONE)
        return err_field(e, ERR_FENCED, "token",
                         "it has ended and is not kept; where this settle was sent before, it may "
                         "have been that: with an Idempotency-Key a repeat gets the first answer");
    const struct rec *r = core_rec(c, *n);
    if (r->state != REC_EXECUTING || core_extra(c, r)->token != token)
        return err_field(e, ERR_FENCED, "token",
                         "the lease with token %llu is over; the record is %s",
                         (unsigned long long)token, rec_state_name((enum rec_state)r->state));
    return 0;
}

static bool is_of(const struct core *c, uint32_t n, const struct core_settle *s)
{
    const struct queue *q = core_kind(c, core_rec(c, n))->queue;
    return (s->tenant == NULL || strcmp(s->tenant, q->tenant->name) == 0) &&
           (s->queue == NULL || strcmp(s->queue, q->name) == 0);
}

/* Who names a queue means a record of that one; of another it hears nothing without its token. */
static int settle_find_in(const struct core *c, const struct core_settle *s, uint32_t *n,
                          struct err *e)
{
    uint32_t at = rec_find(c, core_fingerprint(&s->id));
    bool mine = at == NONE || is_of(c, at, s);
    int rc = settle_find(c, &s->id, s->token, n, e);
    if (mine)
        return rc;
    if (rc == 0)
        return err_field(e, ERR_NOT_FOUND, "id", "there is no such record in this queue");
    return err_field(e, ERR_FENCED, "token", "the lease is over: the record is not in this queue");
}

int core_held(const struct core *c, const struct uuid *id, uint64_t token, struct err *e)
{
    uint32_t n;
    return settle_find(c, id, token, &n, e);
}

static int settle_check(const struct core *c, const struct core_settle *s, struct err *e)
{
    if (s->outcome == SETTLE_EXTEND && (s->lease_ms < LEASE_MIN_MS || s->lease_ms > LEASE_MAX_MS))
        return err_field(e, ERR_INVALID, "lease", "a lease lasts from 1 s to 12 h");
    if (s->outcome == SETTLE_BACKOFF && s->gate == NULL)
        return err_field(e, ERR_INVALID, "gate", "backoff names the gate to be closed");
    if (s->reason >= REASON_COUNT)
        return err_field(e, ERR_INVALID, "reason", "unknown");
    if (s->until < 0 || s->until > TIME_MAX || s->delay_ms > TIME_MAX - c->at)
        return err_field(e, ERR_INVALID, "until", "a time before the year 2500");
    return 0;
}

static void extend(struct core *c, uint32_t n, uint32_t lease_ms)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    bool had = x->own_lease != 0;
    SAVE(c, x->own_lease);
    x->own_lease = c->at + lease_ms;
    if (had)
        heap_moved(c, &c->undo, &c->leases, &lease_heap, x->lease_pos);
    else
        heap_push(c, &c->undo, &c->leases, &lease_heap, n);
    core_decide(c, 0x22, core_rec(c, n), (uint64_t)x->own_lease);
}

static void told(struct core *c, uint32_t n, uint64_t place)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    place_forget(c, x->result);
    SAVE(c, x->result);
    x->result = place;
}

static void ack(struct core *c, uint32_t n, const struct core_settle *s)
{
    struct queue *q = core_kind(c, core_rec(c, n))->queue;
    SAVE(c, q->acked);
    q->acked++;
    execution_end(c, n);
    told(c, n, s->has_result ? s->place : 0);
    rec_finish(c, n, REC_COMPLETED, REASON_NONE);
}

static void nack(struct core *c, uint32_t n, const struct core_settle *s)
{
    struct queue *q = core_kind(c, core_rec(c, n))->queue;
    SAVE(c, q->nacked);
    q->nacked++;
    rec_note_error(c, n, REASON_ATTEMPTS, s);
    execution_end(c, n);
    rec_fail(c, n, REASON_ATTEMPTS, s->delay_ms);
}

static void reject(struct core *c, uint32_t n, const struct core_settle *s)
{
    enum rec_reason reason = s->reason == REASON_NONE ? REASON_REJECTED : s->reason;
    struct queue *q = core_kind(c, core_rec(c, n))->queue;
    SAVE(c, q->nacked);
    q->nacked++;
    rec_note_error(c, n, reason, s);
    execution_end(c, n);
    if (!execution_was_cancelled(c, n))
        rec_finish(c, n, REC_DISCARDED, reason);
}

static void snooze(struct core *c, uint32_t n, const struct core_settle *s)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    if (s->has_result)
        told(c, n, s->place);
    execution_end(c, n);
    if (execution_was_cancelled(c, n))
        return;
    rec_give_back(c, n);
    SAVE(c, x->snoozed);
    x->snoozed = true;
    if (!rec_is_too_late(c, n))
        rec_later(c, n, s->until, REC_SCHEDULED);
}

static void backoff(struct core *c, uint32_t n, const struct core_settle *s)
{
    struct gate *g = gate_get(c, core_kind(c, core_rec(c, n))->queue->tenant, s->gate);
    gate_close_until(c, g, s->until > g->closed_until ? s->until : g->closed_until);
    rec_hand_back(c, n);
}

static void outcome(struct core *c, uint32_t n, const struct core_settle *s)
{
    switch (s->outcome) {
    case SETTLE_ACK:
        ack(c, n, s);
        return;
    case SETTLE_NACK:
        nack(c, n, s);
        return;
    case SETTLE_REJECT:
        reject(c, n, s);
        return;
    case SETTLE_RELEASE:
        rec_hand_back(c, n);
        return;
    case SETTLE_SNOOZE:
        snooze(c, n, s);
        return;
    case SETTLE_BACKOFF:
        backoff(c, n, s);
        return;
    case SETTLE_EXTEND:
        extend(c, n, s->lease_ms);
        return;
    }
    PANIC("no such outcome: %d", (int)s->outcome);
}

int core_settle(struct core *c, const struct core_settle *s, struct err *e)
{
    uint32_t n;
    int rc = settle_check(c, s, e);
    if (rc == 0)
        rc = settle_find_in(c, s, &n, e);
    if (rc < 0)
        return rc;
    if (s->outcome < SETTLE_ACK || s->outcome > SETTLE_EXTEND)
        return err_field(e, ERR_INVALID, "outcome", "unknown");
    c->settled = n;
    c->settled_place = s->has_result ? s->place : 0;
    outcome(c, n, s);
    c->settled = NONE;
    grants_make(c);
    return 0;
}

int core_lapse_record(struct core *c, uint64_t fingerprint, uint64_t token, bool *lapsed,
                      struct err *e)
{
    (void)e;
    uint32_t n = rec_find(c, fingerprint);
    const struct rec *r = n == NONE ? NULL : core_rec(c, n);
    const struct extra *x = r == NULL ? NULL : core_extra(c, r);
    *lapsed = r != NULL && r->state == REC_EXECUTING && x->token == token && x->own_lease != 0 &&
              x->own_lease <= c->at;
    if (!*lapsed)
        return 0;
    rec_lapse(c, n);
    grants_make(c);
    return 0;
}
