/* Reading: views, counters, what comes next. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

/* ---- one record ---- */

static bool is_met(const struct queue_model *m, const struct model_record *r,
                   const struct model_label *need)
{
    for (size_t i = 0; i < m->s.consumers; i++) {
        const struct model_consumer *c = &m->s.consumer[i];
        if (model_takes(m, c, r) && model_meets(m, c, need, false))
            return true;
    }
    return false;
}

/* The first need that one with room could meet, but for what else is executing; their count: none.
 */
static uint8_t used_up(const struct queue_model *m, const struct model_record *r)
{
    uint8_t first = r->needs_count;
    for (size_t i = 0; i < m->s.consumers; i++) {
        const struct model_consumer *c = &m->s.consumer[i];
        if (!model_fits(m, c, r, false) || model_executing_for(m, c) >= c->credit)
            continue;
        for (uint8_t k = 0; k < first; k++)
            if (!model_meets(m, c, &r->needs[k], true))
                first = k;
    }
    return first;
}

static void waits_for_consumer(const struct queue_model *m, const struct model_record *r,
                               struct core_view *out)
{
    bool taken = false, could = false;
    for (size_t i = 0; i < m->s.consumers; i++) {
        const struct model_consumer *c = &m->s.consumer[i];
        taken = taken || model_takes(m, c, r);
        could = could || model_fits(m, c, r, false);
    }
    uint8_t used = used_up(m, r);
    out->waits = !taken                            ? WAITS_HANDLER
                 : could && used == r->needs_count ? WAITS_CONSUMER
                                                   : WAITS_LABEL;
    if (used < r->needs_count)
        strcpy(out->waits_for, r->needs[used].name);
    for (uint8_t i = 0; taken && !could && i < r->needs_count; i++)
        if (!is_met(m, r, &r->needs[i])) {
            strcpy(out->waits_for, r->needs[i].name);
            return;
        }
}

int model_look(const struct queue_model *m, const struct uuid *id, struct core_view *out)
{
    const struct model_record *r = model_find(m, id);
    *out = (struct core_view){0};
    if (r == NULL)
        return ERR_NOT_FOUND;
    out->state = r->state;
    out->reason = r->reason;
    out->tenant = r->tenant;
    out->queue = r->queue;
    out->lane = r->lane;
    out->place = r->place;
    out->body = r->body;
    out->edited = r->edited;
    out->result = r->result;
    out->bytes = r->bytes;
    out->run_at = r->run_at;
    out->attempts = r->attempts;
    out->deliveries = r->deliveries;
    out->attempts_max = r->attempts_max;
    out->priority = r->priority;
    if (r->state == REC_AVAILABLE && model_can_run(m, r, out))
        waits_for_consumer(m, r, out);
    if (r->state == REC_EXECUTING) {
        const struct model_consumer *c = model_find_consumer(m, &r->consumer);
        out->token = r->token;
        out->consumer = r->consumer;
        out->lease_until = r->own_lease != 0 || c == NULL ? r->own_lease : c->expires_at;
    }
    return 0;
}

/* ---- one queue ---- */

static void count_record(const struct model_record *r, struct core_counts *out)
{
    if (!model_is_ended(r))
        out->bytes += r->bytes;
    switch (r->state) {
    case REC_SCHEDULED:
        out->scheduled++;
        return;
    case REC_AVAILABLE:
        out->available++;
        if (r->run_at < out->oldest_at)
            out->oldest_at = r->run_at;
        return;
    case REC_EXECUTING:
        out->executing++;
        return;
    case REC_RETRYABLE:
        out->retryable++;
        return;
    case REC_COMPLETED:
        out->completed++;
        return;
    case REC_DISCARDED:
        out->discarded++;
        return;
    case REC_CANCELLED:
        out->cancelled++;
        return;
    }
}

int model_counts(const struct queue_model *m, const char *tenant, const char *queue,
                 struct core_counts *out)
{
    const struct model_queue *q = model_find_queue(m, tenant, queue);
    *out = (struct core_counts){.oldest_at = INT64_MAX};
    if (q == NULL)
        return ERR_NOT_FOUND;
    struct model_record any = {0};
    model_text(any.tenant, tenant);
    model_text(any.queue, queue);
    for (size_t i = 0; i < m->s.records; i++)
        if (model_is(m->s.record[i].tenant, tenant) && model_is(m->s.record[i].queue, queue))
            count_record(&m->s.record[i], out);
    for (size_t i = 0; i < m->s.consumers; i++)
        out->consumers += model_takes(m, &m->s.consumer[i], &any);
    out->sent = q->sent;
    out->acked = q->acked;
    out->nacked = q->nacked;
    out->granted = q->granted;
    out->dropped = q->dropped;
    out->unhandled_at = q->unhandled_at;
    out->paused = q->paused;
    out->closed = q->closed;
    return 0;
}

size_t model_list(const struct queue_model *m, const char *tenant, const char *queue,
                  enum rec_state state, uint64_t after, uint64_t *places, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < m->s.records && n < max; i++) {
        const struct model_record *r = &m->s.record[i];
        if (r->state == state && r->place > after && model_is(r->tenant, tenant) &&
            model_is(r->queue, queue))
            places[n++] = r->place;
    }
    return n;
}

/* ---- all ---- */

int64_t model_next_expiry(const struct queue_model *m)
{
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < m->s.consumers; i++)
        if (m->s.consumer[i].expires_at < at)
            at = m->s.consumer[i].expires_at;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        if (r->state == REC_EXECUTING && r->own_lease != 0 && r->own_lease < at)
            at = r->own_lease;
    }
    return at;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

uint64_t model_lowest_place(const struct queue_model *m)
{
    uint64_t low = UINT64_MAX;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        low = lower(lower(lower(low, r->place), r->body), r->result);
        for (uint32_t k = 0; k < r->errors_count; k++)
            low = lower(low, r->errors[k]);
    }
    return low;
}

/* Would an entry at `at` change anything? */
static bool changes_at(const struct queue_model *m, int64_t at)
{
    struct queue_model *then = m->then;
    model_copy(&then->s, &m->s);
    model_entry(then, m->s.seq + 1, at);
    if (then->s.effects > 0 || then->s.records != m->s.records)
        return true;
    for (size_t i = 0; i < m->s.records; i++)
        if (then->s.record[i].state != m->s.record[i].state ||
            !model_is(then->s.record[i].queue, m->s.record[i].queue))
            return true;
    return false;
}

static void consider(int64_t at, int64_t after, int64_t *next)
{
    if (at > after && at < *next)
        *next = at;
}

/* The first moment later than `after` when anything that depends on time could turn out otherwise.
 */
static int64_t next_moment(const struct queue_model *m, int64_t after)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        consider(model_due(m, r), after, &next);
        consider(model_due_by_state(m, r), after, &next);
    }
    for (size_t i = 0; i < m->s.gates; i++) {
        const struct model_gate *g = &m->s.gate[i];
        consider(g->closed_until, after, &next);
        if (g->rate > 0 && g->tat_us != INT64_MIN)
            consider((g->tat_us + g->per_ms * 1000 / g->rate - g->per_ms * 1000 + 999) / 1000,
                     after, &next);
    }
    return next;
}

int64_t model_next_change(const struct queue_model *m)
{
    int64_t at = m->s.now;
    while (at != INT64_MAX && !changes_at(m, at))
        at = next_moment(m, at);
    return at;
}
