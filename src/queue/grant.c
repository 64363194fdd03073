/* Queue core: who gets what; where a waiting record stands; the end of an execution. */
#include "queue/core_priv.h"

/* `what`: all but what the record says itself. */
void core_note(struct core *c, uint32_t n, const struct core_noted *what)
{
    const struct rec *r = core_rec(c, n);
    undo_grow(&c->undo, (void **)&c->noted, &c->noted_cap, sizeof *c->noted, c->noted_count + 1);
    SAVE(c, c->noted_count);
    struct core_noted *to = &c->noted[c->noted_count++];
    *to = *what;
    to->place = r->place;
    to->attempt = (uint32_t)r->attempts;
    to->queue = core_kind(c, r)->queue->name;
}

void core_effect(struct core *c, enum core_effect_kind kind, uint32_t n)
{
    const struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    undo_grow(&c->undo, (void **)&c->effects, &c->effects_cap, sizeof *c->effects,
              c->effects_count + 1);
    SAVE(c, c->effects_count);
    struct core_effect *f = &c->effects[c->effects_count++];
    const struct queue *q = core_kind(c, r)->queue;
    *f = (struct core_effect){.kind = kind,
                              .tenant = q->tenant->name,
                              .queue = q->name,
                              .id = r->id,
                              .place = r->place,
                              .body = r->place,
                              .attempt = (uint32_t)r->attempts,
                              .deliveries = (uint32_t)r->deliveries,
                              .state = (enum rec_state)r->state};
    if (kind == EFFECT_ENDED && n == c->settled)
        f->result = c->settled_place;
    if (x == NULL)
        return;
    f->body = x->body != 0 ? x->body : r->place;
    f->edited = x->edited;
    f->reason = (enum rec_reason)x->reason;
    f->granted_at = kind == EFFECT_ENDED ? x->granted_at : 0;
    if (x->consumer == NULL)
        return;
    f->token = x->token;
    f->consumer = x->consumer->id;
    if (kind != EFFECT_GRANT)
        return;
    f->result = x->result;
    f->lease_until = x->own_lease != 0 ? x->own_lease : x->consumer->expires;
    f->timeout_at = x->granted_at + core_kind(c, r)->timeout_ms;
}

/* ---- standing ---- */

void rec_stand(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    if (x != NULL && x->token == c->seq && c->seq != 0) {
        rec_set_where(c, r, WHERE_AGAIN);
        fifo_push(c, &c->again, n);
    } else if (keyline_blocks(c, n)) {
        rec_set_where(c, r, WHERE_KEY);
    } else if (!gate_stops(c, n)) {
        line_put(c, n);
    }
}

static void line_leave(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    line_remove(c, n);
    for (uint8_t i = 0; x != NULL && i < x->gates_count; i++)
        gate_review(c, x->gates[i]);
}

void rec_unstand(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    switch ((enum rec_where)r->where) {
    case WHERE_DUE:
        heap_remove(c, &c->undo, &c->due, &due_heap, r->next);
        break;
    case WHERE_LINE:
    case WHERE_LINE_HEAP:
        line_leave(c, n);
        break;
    case WHERE_GATE:
        gate_unwait(c, n);
        break;
    case WHERE_AGAIN:
        fifo_remove(c, &c->again, n);
        break;
    case WHERE_NOWHERE:
    case WHERE_KEY:
    case WHERE_HELD:
    case WHERE_ENDED:
        break;
    }
    rec_set_where(c, r, WHERE_NOWHERE);
}

void rec_available(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    core_decide(c, REC_AVAILABLE, core_rec(c, n), (uint64_t)c->at);
    rec_set_state(c, n, REC_AVAILABLE);
    if (x != NULL) {
        SAVE(c, x->snoozed);
        x->snoozed = false;
        if (x->keyline != NULL && !keyline_has(x))
            keyline_join(c, n, false);
        if (rec_is_too_late(c, n))
            return;
        alarm_review(c, n);
    }
    rec_stand(c, n);
}

/* Its execution used no try. */
void rec_give_back(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    rec_save(c, r);
    r->attempts--;
}

void rec_later(struct core *c, uint32_t n, int64_t at, enum rec_state state)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    if (x != NULL && x->first_run == 0 && r->state != 0) {
        SAVE(c, x->first_run);
        x->first_run = rec_due(r);
    }
    rec_set_due(c, r, at < c->at ? c->at : at);
    if (at <= c->at) {
        rec_available(c, n);
        return;
    }
    core_decide(c, (uint8_t)state, r, (uint64_t)at);
    rec_set_state(c, n, state);
    rec_set_where(c, r, WHERE_DUE);
    heap_push(c, &c->undo, &c->due, &due_heap, n);
    alarm_review(c, n);
}

/* ---- grants ---- */

static void grant(struct core *c, const struct pair *p)
{
    uint32_t n = p->rec;
    struct rec *r = core_rec(c, n);
    struct queue *q = p->line->queue;
    line_remove(c, n);
    struct extra *x = rec_extra(c, n);
    undo_note(&c->undo, x, sizeof *x);
    x->token = c->seq;
    x->granted_at = c->at;
    x->asked = false;
    gate_enter(c, x);
    lane_charge(c, p->line->share);
    SAVE(c, p->line->lane->executing);
    p->line->lane->executing++;
    rec_save(c, r);
    r->attempts++;
    if (r->deliveries < REC_DELIVERIES_MAX)
        r->deliveries++;
    SAVE(c, q->granted);
    q->granted++;
    rec_set_where(c, r, WHERE_HELD);
    consumer_hold(c, p->consumer, n);
    rec_set_state(c, n, REC_EXECUTING);
    alarm_review(c, n);
    for (uint8_t i = 0; i < x->gates_count; i++)
        gate_review(c, x->gates[i]);
    core_decide(c, REC_EXECUTING, r, p->consumer->number);
    core_effect(c, EFFECT_GRANT, n);
    consumer_review(c, p->consumer, true);
}

void grants_make(struct core *c)
{
    struct pair p;
    while (lane_choose(c, &p)) {
        struct gate *g = gate_blocking(c, core_extra(c, core_rec(c, p.rec)));
        if (g != NULL)
            gate_wait(c, p.rec, g);
        else
            grant(c, &p);
    }
}

void execution_end(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    struct consumer *s = x->consumer;
    struct lane *lane = core_kind(c, r)->line->lane;
    ASSERT(r->state == REC_EXECUTING && s != NULL);
    if (x->own_lease != 0)
        heap_remove(c, &c->undo, &c->leases, &lease_heap, x->lease_pos);
    SAVE(c, x->own_lease);
    x->own_lease = 0;
    SAVE(c, lane->executing);
    lane->executing--;
    consumer_unhold(c, s, n);
    consumer_released(c, s);
    rec_set_where(c, r, WHERE_NOWHERE);
    gate_leave(c, x);
}

bool execution_was_cancelled(struct core *c, uint32_t n)
{
    if (!core_extra(c, core_rec(c, n))->asked)
        return false;
    rec_finish(c, n, REC_CANCELLED, REASON_NONE);
    return true;
}
