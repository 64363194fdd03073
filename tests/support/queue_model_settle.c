/* Consumers, what they say of the records that they hold, and what operators do. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

enum { LEASE_MIN_MS = 1000, LEASE_MAX_MS = 43200000, LEASE_MS = 30000 };

static bool lease_is_wrong(uint32_t ms)
{
    return ms != 0 && (ms < LEASE_MIN_MS || ms > LEASE_MAX_MS);
}

/* ---- consumers ---- */

static int open_check(const struct queue_model *m, const struct core_consumer *c)
{
    if (c->credit > CORE_CREDIT_MAX || lease_is_wrong(c->lease_ms) ||
        c->labels_count > CORE_LABELS_MAX || c->only_count > CORE_LABELS_MAX ||
        c->queues_count > CORE_SUBSCRIBED_MAX)
        return ERR_INVALID;
    for (uint32_t i = 0; !c->worker && i < c->queues_count; i++)
        if (model_find_queue(m, c->tenant, c->queues[i]) == NULL)
            return ERR_NOT_FOUND;
    return 0;
}

static bool consumer_names(const struct model_consumer *c, const char *tenant, const char *queue)
{
    for (uint32_t i = 0; i < c->queues_count; i++)
        if (model_is(c->tenant, tenant) && model_is(c->queues[i], queue))
            return true;
    return false;
}

static void consumer_fill(struct queue_model *m, struct model_consumer *to,
                          const struct core_consumer *c)
{
    struct model_consumer was = *to;
    ASSERT(c->labels_count <= MODEL_LABELS && c->only_count <= MODEL_LABELS);
    to->worker = c->worker;
    to->of_node = c->of_node;
    to->retired = false;
    to->queues_count = 0;
    if (!c->worker) {
        ASSERT(c->queues_count <= MODEL_SUBSCRIBED);
        model_text(to->tenant, c->tenant);
        to->queues_count = c->queues_count;
        for (uint32_t i = 0; i < c->queues_count; i++) {
            model_text(to->queues[i], c->queues[i]);
            if (!consumer_names(&was, c->tenant, c->queues[i]))
                model_find_queue(m, c->tenant, c->queues[i])->unhandled_at = 0;
        }
    }
    to->credit = c->credit;
    to->lease_ms = c->lease_ms != 0 ? c->lease_ms : LEASE_MS;
    to->labels_count = c->labels_count;
    for (uint8_t i = 0; i < c->labels_count; i++) {
        model_text(to->labels[i].name, c->labels[i].name);
        model_text(to->labels[i].text, c->labels[i].text);
        to->labels[i].number = c->labels[i].number;
    }
    to->only_count = c->only_count;
    for (uint8_t i = 0; i < c->only_count; i++)
        model_text(to->only[i], c->only[i]);
}

int model_open(struct queue_model *m, const struct core_consumer *c)
{
    int rc = open_check(m, c);
    if (rc != 0)
        return rc;
    struct model_consumer *to = model_find_consumer(m, &c->id);
    if (to == NULL) {
        ASSERT(m->s.consumers < MODEL_CONSUMERS);
        to = &m->s.consumer[m->s.consumers++];
        *to = (struct model_consumer){.id = c->id};
        model_text(to->node, c->node);
    }
    consumer_fill(m, to, c);
    to->expires_at = m->s.now + to->lease_ms;
    if (model_executing_for(m, to) < to->credit)
        to->turn = ++m->s.turns;
    model_finish(m);
    return 0;
}

int model_renew(struct queue_model *m, const struct uuid *consumer)
{
    struct model_consumer *c = model_find_consumer(m, consumer);
    if (c == NULL)
        return ERR_NOT_FOUND;
    c->expires_at = m->s.now + c->lease_ms;
    return 0;
}

void model_consumer_remove(struct queue_model *m, struct model_consumer *c)
{
    size_t at = (size_t)(c - m->s.consumer);
    m->s.consumers--;
    memmove(c, c + 1, (m->s.consumers - at) * sizeof(*c));
}

static bool is_held_by(const struct model_record *r, const struct uuid *consumer)
{
    return r->state == REC_EXECUTING && model_same_id(&r->consumer, consumer);
}

int model_leave(struct queue_model *m, const struct uuid *consumer)
{
    struct uuid id = *consumer;
    struct model_consumer *c = model_find_consumer(m, &id);
    if (c == NULL)
        return ERR_NOT_FOUND;
    model_consumer_remove(m, c);
    for (size_t i = 0; i < m->s.records; i++)
        if (is_held_by(&m->s.record[i], &id))
            model_release(m, &m->s.record[i]);
    model_finish(m);
    return 0;
}

int model_retire(struct queue_model *m, const struct uuid *consumer, uint32_t lease_ms)
{
    struct uuid id = *consumer;
    struct model_consumer *c = model_find_consumer(m, &id);
    if (lease_is_wrong(lease_ms))
        return ERR_INVALID;
    if (c == NULL)
        return 0;
    c->credit = 0;
    for (size_t i = 0; lease_ms == 0 && i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (!is_held_by(r, &id) || r->granted != m->s.seq)
            continue;
        model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
        model_release(m, r);
    }
    for (size_t i = 0; lease_ms == 0 && c->worker && i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (!is_held_by(r, &id))
            continue;
        model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
        model_fail(m, r, REASON_LAPSED, -1);
    }
    c->retired = model_executing_for(m, c) > 0;
    if (!c->retired) {
        model_consumer_remove(m, c);
    } else if (lease_ms != 0) {
        c->lease_ms = lease_ms;
        c->expires_at = m->s.now + lease_ms;
    }
    model_finish(m);
    return 0;
}

int model_lapse(struct queue_model *m, const struct uuid *consumer, bool *lapsed)
{
    struct uuid id = *consumer;
    struct model_consumer *c = model_find_consumer(m, &id);
    *lapsed = false;
    if (c == NULL || m->s.now < c->expires_at)
        return 0;
    *lapsed = true;
    c->credit = 0;
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (!is_held_by(r, &id))
            continue;
        if (r->own_lease > m->s.now) {
            if (r->own_lease > c->expires_at)
                c->expires_at = r->own_lease;
            continue;
        }
        model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
        model_fail(m, r, REASON_LAPSED, -1);
    }
    c = model_find_consumer(m, &id); /* a retired one went with its last */
    if (c != NULL && model_executing_for(m, c) == 0)
        model_consumer_remove(m, c);
    model_finish(m);
    return 0;
}

int model_lapse_record(struct queue_model *m, uint64_t fingerprint, uint64_t token, bool *lapsed)
{
    struct model_record *r = NULL;
    *lapsed = false;
    for (size_t i = 0; i < m->s.records; i++)
        if (core_fingerprint(&m->s.record[i].id) == fingerprint)
            r = &m->s.record[i];
    if (r == NULL || r->state != REC_EXECUTING || r->token != token || r->own_lease == 0 ||
        m->s.now < r->own_lease)
        return 0;
    *lapsed = true;
    model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
    model_fail(m, r, REASON_LAPSED, -1);
    model_finish(m);
    return 0;
}

/* ---- settling ---- */

int model_held(const struct queue_model *m, const struct uuid *id, uint64_t token)
{
    const struct model_record *r = model_find(m, id);
    return r != NULL && r->state == REC_EXECUTING && r->token == token ? 0 : ERR_FENCED;
}

static void note_error(struct model_record *r, uint64_t place)
{
    if (r->errors_count == CORE_ERRORS_KEPT)
        memmove(&r->errors[0], &r->errors[1], --r->errors_count * sizeof(r->errors[0]));
    r->errors[r->errors_count++] = place;
}

static void settle_snooze(struct queue_model *m, struct model_record *r,
                          const struct core_settle *s)
{
    if (s->has_result)
        r->result = s->place;
    model_give_back(m, r);
    if (r->state != REC_AVAILABLE)
        return; /* cancelled */
    if (r->deadline_at <= m->s.now) {
        model_discard(m, r, REASON_DEFERRED_TOO_LONG);
        return;
    }
    model_wait(m, r, REC_SCHEDULED, s->until);
    r->snoozed = r->state == REC_SCHEDULED;
}

static void settle_failed(struct queue_model *m, struct model_record *r,
                          const struct core_settle *s)
{
    model_queue_of(m, r)->nacked++;
    note_error(r, s->place);
    if (s->outcome == SETTLE_NACK) {
        model_fail(m, r, REASON_ATTEMPTS, s->delay_ms);
        return;
    }
    model_stop(m, r);
    if (r->asked)
        model_end(m, r, REC_CANCELLED);
    else
        model_discard(m, r, s->reason != REASON_NONE ? s->reason : REASON_REJECTED);
}

static void settle_ack(struct queue_model *m, struct model_record *r, const struct core_settle *s)
{
    model_queue_of(m, r)->acked++;
    r->result = s->has_result ? s->place : 0;
    model_stop(m, r);
    model_end(m, r, REC_COMPLETED);
}

static int settle_backoff(struct queue_model *m, struct model_record *r,
                          const struct core_settle *s)
{
    struct model_gate *g = model_gate_make(m, r->tenant, s->gate);
    if (s->until > g->closed_until)
        g->closed_until = s->until;
    model_release(m, r);
    model_finish(m);
    return 0;
}

static int settle_check(const struct core_settle *s)
{
    switch (s->outcome) {
    case SETTLE_REJECT:
        return s->reason >= REASON_COUNT ? ERR_INVALID : 0;
    case SETTLE_BACKOFF:
        return s->gate == NULL ? ERR_INVALID : 0;
    case SETTLE_EXTEND:
        return s->lease_ms == 0 || lease_is_wrong(s->lease_ms) ? ERR_INVALID : 0;
    case SETTLE_ACK:
    case SETTLE_NACK:
    case SETTLE_RELEASE:
    case SETTLE_SNOOZE:
        return 0;
    }
    return ERR_INVALID;
}

static int settle_outcome(struct queue_model *m, struct model_record *r,
                          const struct core_settle *s)
{
    switch (s->outcome) {
    case SETTLE_ACK:
        settle_ack(m, r, s);
        break;
    case SETTLE_NACK:
    case SETTLE_REJECT:
        settle_failed(m, r, s);
        break;
    case SETTLE_RELEASE:
        model_release(m, r);
        break;
    case SETTLE_SNOOZE:
        settle_snooze(m, r, s);
        break;
    case SETTLE_BACKOFF:
        return settle_backoff(m, r, s);
    case SETTLE_EXTEND:
        r->own_lease = m->s.now + s->lease_ms;
        return 0;
    }
    model_finish(m);
    return 0;
}

int model_settle(struct queue_model *m, const struct core_settle *s)
{
    int rc = settle_check(s);
    if (rc != 0)
        return rc;
    struct model_record *r = model_find(m, &s->id);
    if (r == NULL || r->state != REC_EXECUTING || r->token != s->token)
        return ERR_FENCED;
    m->settled = s->has_result ? s->place : 0;
    rc = settle_outcome(m, r, s);
    m->settled = 0;
    return rc;
}

/* ---- operators ---- */

int model_cancel(struct queue_model *m, const struct uuid *id, bool *asked)
{
    struct model_record *r = model_find(m, id);
    *asked = false;
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (model_is_ended(r))
        return ERR_CONFLICT;
    if (r->state == REC_EXECUTING) {
        *asked = r->asked = true;
        model_effect(m, EFFECT_CANCEL, r, REC_EXECUTING);
        return 0;
    }
    model_end(m, r, REC_CANCELLED);
    model_finish(m);
    return 0;
}

int model_retry(struct queue_model *m, const struct uuid *id)
{
    struct model_record *r = model_find(m, id);
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (r->state == REC_AVAILABLE || r->state == REC_EXECUTING)
        return ERR_CONFLICT;
    r->reason = REASON_NONE;
    model_begin_again(m, r);
    model_finish(m);
    return 0;
}

int model_wake(struct queue_model *m, const struct uuid *id)
{
    struct model_record *r = model_find(m, id);
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (r->state == REC_SCHEDULED)
        model_available(m, r, m->s.now);
    model_finish(m);
    return 0;
}

int model_move(struct queue_model *m, const struct uuid *id, const char *queue)
{
    struct model_record *r = model_find(m, id);
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (r->state == REC_EXECUTING)
        return ERR_CONFLICT;
    const struct model_queue *q = model_find_queue(m, r->tenant, queue);
    if (q == NULL)
        return ERR_NOT_FOUND;
    if (q->closed || model_is(r->queue, queue))
        return ERR_CONFLICT;
    model_text(r->queue, queue);
    model_says_take(r, q);
    r->unique[0] = '\0';
    if (r->deadline_at <= m->s.now)
        r->alarmed = true; /* it was not looked at, or a gate is new to it */
    if (r->joined)
        model_join(m, r, false);
    if (model_is_ended(r)) {
        r->halts = false;
        r->reason = REASON_NONE;
        model_begin_again(m, r);
    } else if (r->state == REC_AVAILABLE) {
        model_available(m, r, r->run_at);
    }
    model_finish(m);
    return 0;
}

int model_edit(struct queue_model *m, const struct uuid *id, uint64_t place, uint32_t bytes)
{
    struct model_record *r = model_find(m, id);
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (!model_is_waiting(r) && r->state != REC_DISCARDED)
        return ERR_CONFLICT;
    if (bytes > model_body_max(model_queue_of(m, r)))
        return ERR_TOO_LARGE;
    r->body = place;
    r->edited = true;
    r->bytes = bytes;
    return 0;
}

int model_purge(struct queue_model *m, const struct uuid *id)
{
    struct model_record *r = model_find(m, id);
    if (r == NULL)
        return ERR_NOT_FOUND;
    if (r->state == REC_EXECUTING)
        return ERR_CONFLICT;
    if (!model_is_ended(r))
        model_effect(m, EFFECT_PURGED, r, r->state);
    r->state = 0;
    model_finish(m);
    return 0;
}
