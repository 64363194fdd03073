/* What becomes of a record: from one state to the next. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

bool model_is_waiting(const struct model_record *r)
{
    return r->state == REC_SCHEDULED || r->state == REC_AVAILABLE || r->state == REC_RETRYABLE;
}

bool model_is_ended(const struct model_record *r)
{
    return r->state == REC_COMPLETED || r->state == REC_DISCARDED || r->state == REC_CANCELLED;
}

static int64_t kept_until(const struct queue_model *m, const struct model_record *r)
{
    const struct core_queue *q = &model_queue_of(m, r)->settings;
    int64_t keep = r->state == REC_DISCARDED ? q->keep_discarded_ms : q->keep_completed_ms;
    return keep < 0 ? INT64_MAX : r->ended_at + keep;
}

int64_t model_due_by_state(const struct queue_model *m, const struct model_record *r)
{
    switch (r->state) {
    case REC_SCHEDULED:
    case REC_RETRYABLE:
        return r->due;
    case REC_AVAILABLE:
        return r->expires_at;
    case REC_EXECUTING:
        return r->timeout_at;
    case REC_COMPLETED:
    case REC_DISCARDED:
    case REC_CANCELLED:
        return kept_until(m, r);
    }
    return INT64_MAX;
}

/* Will its deadline be looked at? */
bool model_has_alarm(const struct model_record *r)
{
    return !model_is_ended(r) && !r->alarmed && (r->snoozed || r->gates_count > 0);
}

int64_t model_due(const struct queue_model *m, const struct model_record *r)
{
    int64_t due = model_due_by_state(m, r);
    return model_has_alarm(r) && r->deadline_at < due ? r->deadline_at : due;
}

void model_join(struct queue_model *m, struct model_record *r, bool front)
{
    r->joined = r->key[0] != '\0';
    r->line = front ? --m->s.line_front : ++m->s.line_end;
}

void model_available(struct queue_model *m, struct model_record *r, int64_t run_at)
{
    r->state = REC_AVAILABLE;
    r->run_at = run_at;
    r->snoozed = false;
    if (!r->joined)
        model_join(m, r, false);
    if (r->expires_at <= m->s.now)
        model_discard(m, r, REASON_EXPIRED);
    else if (r->deadline_at <= m->s.now && model_is_closed(m, r))
        model_discard(m, r, REASON_DEFERRED_TOO_LONG);
}

void model_wait(struct queue_model *m, struct model_record *r, enum rec_state state, int64_t until)
{
    if (until <= m->s.now) {
        model_available(m, r, m->s.now);
        return;
    }
    r->state = state;
    r->run_at = r->due = until;
}

static bool has_room(const struct queue_model *m, const struct model_consumer *c)
{
    return model_executing_for(m, c) < c->credit;
}

void model_stop(struct queue_model *m, struct model_record *r)
{
    ASSERT(r->state == REC_EXECUTING);
    struct model_consumer *c = model_find_consumer(m, &r->consumer);
    bool had = c != NULL && has_room(m, c);
    r->state = REC_AVAILABLE;
    r->token = 0;
    r->own_lease = 0;
    if (c != NULL && c->retired && model_executing_for(m, c) == 0)
        model_consumer_remove(m, c);
    else if (c != NULL && !had && has_room(m, c))
        c->turn = ++m->s.turns;
}

void model_give_back(struct queue_model *m, struct model_record *r)
{
    model_stop(m, r);
    if (r->asked)
        model_end(m, r, REC_CANCELLED);
    else
        r->attempts--;
}

void model_release(struct queue_model *m, struct model_record *r)
{
    model_give_back(m, r);
    if (r->state == REC_AVAILABLE)
        model_available(m, r, r->run_at);
}

static int64_t backoff_of(const struct model_record *r)
{
    return core_backoff_ms(&r->backoff, r->attempts, core_fingerprint(&r->id));
}

void model_fail(struct queue_model *m, struct model_record *r, enum rec_reason reason,
                int64_t delay)
{
    model_stop(m, r);
    if (r->asked)
        model_end(m, r, REC_CANCELLED);
    else if (r->attempts >= r->attempts_max)
        model_discard(m, r, reason);
    else
        model_wait(m, r, REC_RETRYABLE, m->s.now + (delay >= 0 ? delay : backoff_of(r)));
}

void model_keep_newest(struct queue_model *m, const struct model_queue *q)
{
    while (q->settings.keep_count > 0) {
        struct model_record *first = NULL;
        uint32_t n = 0;
        for (size_t i = 0; i < m->s.records; i++) {
            struct model_record *r = &m->s.record[i];
            if ((r->state != REC_COMPLETED && r->state != REC_CANCELLED) ||
                !model_is(r->queue, q->name) || !model_is(r->tenant, q->tenant))
                continue;
            n++;
            if (first == NULL || r->ended < first->ended)
                first = r;
        }
        if (n <= q->settings.keep_count)
            return;
        first->state = 0;
    }
}

void model_end(struct queue_model *m, struct model_record *r, enum rec_state state)
{
    const struct model_queue *q = model_queue_of(m, r);
    r->halts =
        state == REC_DISCARDED && q->settings.halt_on_dead && r->joined && model_first(m, r) == r;
    if (state != REC_DISCARDED)
        r->reason = REASON_NONE;
    r->state = state;
    r->run_at = r->ended_at = m->s.now;
    r->ended = ++m->s.ends;
    r->snoozed = r->asked = r->joined = false;
    r->unique[0] = '\0';
    model_effect(m, EFFECT_ENDED, r, state);
    if (kept_until(m, r) <= m->s.now)
        r->state = 0;
    model_keep_newest(m, q);
}

static bool died_in(const struct model_record *r, const char *queue)
{
    for (uint32_t i = 0; i < r->died_count; i++)
        if (model_is(r->died[i], queue))
            return true;
    return false;
}

/* As if sent anew, now, but without a ttl. What stands in a line keeps its place; a dead letter
 * that its key waits for goes to the front. */
void model_begin_again(struct queue_model *m, struct model_record *r)
{
    if (r->halts)
        model_join(m, r, true);
    r->halts = r->asked = r->alarmed = false;
    r->attempts = 0;
    r->result = 0;
    r->expires_at = INT64_MAX;
    r->deadline_at = m->s.now + r->deadline_ms;
    model_available(m, r, m->s.now);
}

static void dead_queue(struct queue_model *m, const struct model_record *r, const char *name)
{
    struct core_queue usual = {.tenant = r->tenant, .name = name};
    if (model_find_queue(m, r->tenant, name) != NULL)
        return;
    core_queue_defaults(&usual);
    model_declare_only(m, &usual);
}

void model_discard(struct queue_model *m, struct model_record *r, enum rec_reason reason)
{
    char dead_to[MODEL_TEXT];
    model_text(dead_to, model_queue_of(m, r)->dead_to);
    r->reason = reason;
    model_queue_of(m, r)->dropped++;
    bool too_often = r->died_count == CORE_DIED_MAX;
    if (!too_often && !died_in(r, r->queue))
        model_text(r->died[r->died_count++], r->queue);
    if (dead_to[0] == '\0' || died_in(r, dead_to) || too_often) {
        model_end(m, r, REC_DISCARDED);
        return;
    }
    dead_queue(m, r, dead_to);
    model_effect(m, EFFECT_ENDED, r, REC_DISCARDED);
    model_text(r->queue, dead_to);
    model_says_take(r, model_queue_of(m, r));
    r->unique[0] = '\0';
    r->joined = false;
    model_begin_again(m, r);
}
