/* Queue core: how records end, fail and are forgotten; dead letters. */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

enum { BACKOFF_FIRST = 3000, BACKOFF_CAP = 300000 };

uint32_t core_backoff_ms(const struct core_backoff *b, uint32_t n, uint64_t fingerprint)
{
    uint64_t wait;
    ASSERT(n >= 1);
    if (b->first == 0 && b->list_count > 0) {
        wait = b->list[(n < b->list_count ? n : b->list_count) - 1];
    } else {
        uint64_t first = b->first != 0 ? b->first : BACKOFF_FIRST;
        uint64_t cap = b->first != 0 ? b->cap : BACKOFF_CAP;
        wait = n > 32 ? cap : first << (n - 1);
        wait = wait < cap ? wait : cap;
    }
    int64_t tenth = (int64_t)(wait / 10);
    int64_t spread = (int64_t)(hash64(n, &fingerprint, sizeof fingerprint) % 2001) - 1000;
    int64_t out = (int64_t)wait + tenth * spread / 1000;
    return out > UINT32_MAX ? UINT32_MAX : (uint32_t)out;
}

static bool gates_closed(const struct core *c, const struct extra *x)
{
    for (uint8_t i = 0; i < x->gates_count; i++) {
        if (gate_is_closed(c, x->gates[i]))
            return true;
    }
    return false;
}

/* Asked where a record begins to wait: then it may have to end. */
bool rec_is_too_late(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    if (x == NULL)
        return false;
    int64_t deadline =
        (x->first_run != 0 ? x->first_run : rec_due(r)) + core_kind(c, r)->deadline_ms;
    enum rec_reason reason = REASON_NONE;
    if (x->ttl_at != 0 && c->at >= x->ttl_at && r->deliveries == 0)
        reason = REASON_EXPIRED;
    else if (c->at >= deadline && (x->snoozed || (r->state == REC_AVAILABLE && gates_closed(c, x))))
        reason = REASON_DEFERRED_TOO_LONG;
    if (reason == REASON_NONE)
        return false;
    rec_unstand(c, n);
    rec_finish(c, n, REC_DISCARDED, reason);
    return true;
}

/* ---- dead letters that move ---- */

static bool died_in(const struct extra *x, const struct queue *q)
{
    for (uint8_t i = 0; i < x->died_count; i++) {
        if (x->died[i] == q)
            return true;
    }
    return false;
}

/* Another queue, the same in all else that was said of it. */
static void rec_requeue(struct core *c, uint32_t n, struct queue *to)
{
    struct rec *r = core_rec(c, n);
    struct kind *old = core_kind(c, r);
    struct kind *k = sending_of_queue(c, n, to);
    rec_set_state(c, n, 0);
    kind_ref(c, k);
    rec_save(c, r);
    r->kind = k->number;
    kind_unref(c, old);
}

void rec_move(struct core *c, uint32_t n, struct queue *to)
{
    struct extra *x = rec_extra(c, n);
    struct keyline *before = x->keyline;
    keyline_leave(c, n);
    unique_leave(c, n);
    rec_requeue(c, n, to);
    tended_begin(c, n);
    if (before == NULL)
        return;
    struct keyline *k = keyline_get(c, to, before->text);
    SAVE(c, x->keyline);
    SAVE(c, k->refs);
    SAVE(c, before->refs);
    x->keyline = k;
    k->refs++;
    before->refs--;
    keyline_drop_if_idle(c, before);
}

void rec_renew(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = rec_extra(c, n);
    rec_set_due(c, r, c->at);
    r->attempts = 0;
    undo_note(&c->undo, x, sizeof *x);
    x->first_run = c->at;
    x->ttl_at = 0;
    place_forget(c, x->result);
    x->result = 0;
    x->reason = REASON_NONE;
    x->snoozed = x->asked = false;
}

static bool dead_letter_moves(struct core *c, uint32_t n, enum rec_reason reason)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    struct extra *x = rec_extra(c, n);
    bool too_often = x->died_count == CORE_DIED_MAX;
    if (!too_often && !died_in(x, q)) {
        undo_note(&c->undo, x, sizeof *x);
        x->died[x->died_count++] = q;
    }
    if (q->o.dead_to == NULL || too_often)
        return false;
    struct queue *to = queue_get(c, q->tenant->name, q->o.dead_to, true, NULL);
    if (to == NULL || to == q || to->o.owned || died_in(x, to))
        return false;
    undo_note(&c->undo, x, sizeof *x);
    x->reason = (uint8_t)reason;
    core_decide(c, REC_DISCARDED, r, to->number);
    rec_set_state(c, n, REC_DISCARDED);
    core_effect(c, EFFECT_ENDED, n);
    rec_note_move(c, n, VERB_DEAD_LETTER, to, reason);
    rec_move(c, n, to);
    rec_renew(c, n);
    SAVE(c, x->reason);
    x->reason = (uint8_t)reason;
    rec_available(c, n);
    return true;
}

/* ---- the end ---- */

static void rec_keep(struct core *c, uint32_t n, enum rec_state state)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    int64_t keep = state == REC_DISCARDED ? q->o.keep_discarded_ms : q->o.keep_completed_ms;
    if (keep == 0) {
        rec_forget(c, n);
        return;
    }
    fifo_push(c, queue_ended(q, state), n);
    if (state != REC_DISCARDED && q->o.keep_count > 0 &&
        q->count[REC_COMPLETED] + q->count[REC_CANCELLED] > q->o.keep_count)
        rec_forget(c, q->finals.first);
    purge_review(c, q);
}

void rec_finish(struct core *c, uint32_t n, enum rec_state state, enum rec_reason reason)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    if (state == REC_DISCARDED) {
        SAVE(c, q->dropped);
        q->dropped++;
        if (dead_letter_moves(c, n, reason))
            return;
        core_note(c, n, &(struct core_noted){.kind = NOTED_DISCARDED, .reason = reason});
    }
    struct extra *x = core_extra(c, r);
    if (x != NULL) {
        SAVE(c, x->reason);
        x->reason = (uint8_t)reason;
        unique_leave(c, n);
        if (x->keyline != NULL && state == REC_DISCARDED && q->o.halt_on_dead &&
            x->keyline->first == n) {
            SAVE(c, x->halts);
            SAVE(c, x->keyline->halted);
            x->halts = true;
            x->keyline->halted++;
        }
    }
    core_decide(c, (uint8_t)state, r, reason);
    rec_set_state(c, n, state);
    rec_set_due(c, r, c->at);
    rec_set_where(c, r, WHERE_ENDED);
    alarm_review(c, n);
    core_effect(c, EFFECT_ENDED, n);
    keyline_leave(c, n);
    rec_keep(c, n, state);
}

void rec_fail(struct core *c, uint32_t n, enum rec_reason why, int64_t delay_ms)
{
    struct rec *r = core_rec(c, n);
    const struct kind *k = core_kind(c, r);
    if (execution_was_cancelled(c, n))
        return;
    if (r->attempts >= k->attempts) {
        rec_finish(c, n, REC_DISCARDED, why);
        return;
    }
    int64_t wait =
        delay_ms >= 0 ? delay_ms : core_backoff_ms(&k->backoff, (uint32_t)r->attempts, r->id);
    rec_later(c, n, c->at + wait, REC_RETRYABLE);
}

/* The key of a dead letter that is no more a matter of decision goes on. */
void keyline_unhalt(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    if (x == NULL || !x->halts)
        return;
    struct keyline *k = x->keyline;
    SAVE(c, x->halts);
    SAVE(c, k->halted);
    x->halts = false;
    k->halted--;
    if (k->halted == 0 && k->first != NONE && core_rec(c, k->first)->where == WHERE_KEY)
        rec_stand(c, k->first);
}

void rec_forget(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    struct queue *q = core_kind(c, r)->queue;
    struct fifo *f = queue_ended(q, (enum rec_state)r->state);
    if (f->first == n || r->prev != NONE)
        fifo_remove(c, f, n);
    struct keyline *k = x == NULL ? NULL : x->keyline;
    keyline_unhalt(c, n);
    unique_leave(c, n);
    if (k != NULL) {
        SAVE(c, k->refs);
        k->refs--;
    }
    core_decide(c, 0, r, 0);
    places_forget(c, n);
    rec_set_state(c, n, 0);
    alarm_review(c, n);
    rec_free(c, n);
    if (k != NULL)
        keyline_drop_if_idle(c, k);
    purge_review(c, q);
}
