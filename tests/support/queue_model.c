/* The state, time, and what is declared. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void model_text(char out[MODEL_TEXT], const char *s)
{
    memset(out, 0, MODEL_TEXT);
    if (s == NULL)
        return;
    ASSERT(strlen(s) < MODEL_TEXT);
    strcpy(out, s);
}

bool model_is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

bool model_same_id(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

struct queue_model *model_new(void)
{
    struct queue_model *m = mem_new(sizeof(*m));
    m->s.now = INT64_MIN;
    m->then = mem_new(sizeof(*m));
    return m;
}

void model_free(struct queue_model *m)
{
    if (m != NULL)
        mem_free(m->then);
    mem_free(m);
}

/* ---- finding ---- */

struct model_record *model_find(const struct queue_model *m, const struct uuid *id)
{
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        if (r->state != 0 && model_same_id(&r->id, id))
            return (struct model_record *)r;
    }
    return NULL;
}

struct model_queue *model_find_queue(const struct queue_model *m, const char *tenant,
                                     const char *name)
{
    for (size_t i = 0; i < m->s.queues; i++) {
        const struct model_queue *q = &m->s.queue[i];
        if (model_is(q->tenant, tenant) && model_is(q->name, name))
            return (struct model_queue *)q;
    }
    return NULL;
}

struct model_queue *model_queue_of(const struct queue_model *m, const struct model_record *r)
{
    struct model_queue *q = model_find_queue(m, r->tenant, r->queue);
    ASSERT(q != NULL);
    return q;
}

struct model_gate *model_find_gate(const struct queue_model *m, const char *tenant,
                                   const char *name)
{
    for (size_t i = 0; i < m->s.gates; i++) {
        const struct model_gate *g = &m->s.gate[i];
        if (model_is(g->tenant, tenant) && model_is(g->name, name))
            return (struct model_gate *)g;
    }
    return NULL;
}

struct model_consumer *model_find_consumer(const struct queue_model *m, const struct uuid *id)
{
    for (size_t i = 0; i < m->s.consumers; i++)
        if (model_same_id(&m->s.consumer[i].id, id))
            return (struct model_consumer *)&m->s.consumer[i];
    return NULL;
}

static uint32_t lane_weight(const char *name)
{
    if (strcmp(name, "system") == 0)
        return 8;
    return strcmp(name, "canon") == 0 || strcmp(name, "default") == 0 ? 4 : 1;
}

struct model_lane *model_lane_of(struct queue_model *m, const char *name)
{
    for (size_t i = 0; i < m->s.lanes; i++)
        if (model_is(m->s.lane[i].name, name))
            return &m->s.lane[i];
    ASSERT(m->s.lanes < MODEL_LANES);
    struct model_lane *l = &m->s.lane[m->s.lanes++];
    *l = (struct model_lane){.weight = lane_weight(name), .cap = UINT32_MAX};
    model_text(l->name, name);
    return l;
}

size_t model_tenant_of(struct queue_model *m, const char *name)
{
    for (size_t i = 0; i < m->s.tenants; i++)
        if (model_is(m->s.tenant[i].name, name))
            return i;
    ASSERT(m->s.tenants < MODEL_TENANTS);
    struct model_tenant *t = &m->s.tenant[m->s.tenants++];
    *t = (struct model_tenant){.weight = 1};
    model_text(t->name, name);
    return m->s.tenants - 1;
}

/* ---- time, and taking back ---- */

void model_copy(struct model_state *to, const struct model_state *from)
{
    memcpy(to, from,
           offsetof(struct model_state, record) + from->records * sizeof(struct model_record));
}

/* In this order when they are due together. */
enum due_kind { DUE_TTL, DUE_DEADLINE, DUE_TIMEOUT, DUE_RUN, DUE_FORGET };

static enum due_kind kind_of_due(const struct queue_model *m, const struct model_record *r,
                                 int64_t due)
{
    if (model_is_ended(r))
        return DUE_FORGET;
    if (r->state == REC_AVAILABLE && due == r->expires_at)
        return DUE_TTL;
    if (model_has_alarm(r) && due == r->deadline_at)
        return DUE_DEADLINE;
    ASSERT(due == model_due_by_state(m, r));
    return r->state == REC_EXECUTING ? DUE_TIMEOUT : DUE_RUN;
}

static void record_is_due(struct queue_model *m, struct model_record *r, int64_t due)
{
    if (kind_of_due(m, r, due) == DUE_DEADLINE) {
        r->alarmed = true;
        if (r->expires_at <= m->s.now)
            model_discard(m, r, REASON_EXPIRED); /* looked at for any reason, it is too late */
        else if (r->snoozed || (r->state == REC_AVAILABLE && model_is_closed(m, r)))
            model_discard(m, r, REASON_DEFERRED_TOO_LONG);
        return;
    }
    switch (r->state) {
    case REC_SCHEDULED:
    case REC_RETRYABLE:
        model_available(m, r, r->due);
        return;
    case REC_AVAILABLE:
        model_discard(m, r, REASON_EXPIRED);
        return;
    case REC_EXECUTING:
        model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
        model_fail(m, r, REASON_TIMEOUT, -1);
        return;
    case REC_COMPLETED:
    case REC_DISCARDED:
    case REC_CANCELLED:
        r->state = 0;
        return;
    }
}

static bool one_is_due(struct queue_model *m)
{
    struct model_record *first = NULL;
    int64_t due = INT64_MAX;
    enum due_kind kind = DUE_TTL;
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        int64_t d = r->state != 0 ? model_due(m, r) : INT64_MAX;
        if (d > m->s.now || d > due)
            continue;
        enum due_kind k = kind_of_due(m, r, d);
        if (d < due || k < kind) {
            first = r;
            due = d;
            kind = k;
        }
    }
    if (first != NULL)
        record_is_due(m, first, due);
    return first != NULL;
}

int model_entry(struct queue_model *m, uint64_t seq, int64_t at)
{
    model_copy(&m->entry, &m->s);
    ASSERT(seq > m->s.seq && at >= m->s.now);
    m->s.seq = seq;
    m->s.now = at;
    m->s.grants = 0;
    m->s.effects = 0;
    for (size_t i = 0; i < m->s.dedups;)
        if (m->s.dedup[i].until <= at)
            m->s.dedup[i] = m->s.dedup[--m->s.dedups];
        else
            i++;
    for (int moved = 0; moved < CORE_DUE_MAX && one_is_due(m);)
        moved++;
    model_finish(m);
    model_unit(m);
    return 0;
}

void model_unit(struct queue_model *m)
{
    model_copy(&m->unit, &m->s);
}

void model_undo(struct queue_model *m, bool entry_too)
{
    model_copy(&m->s, entry_too ? &m->entry : &m->unit);
    if (entry_too) {
        m->s.effects = 0;
        model_unit(m);
    }
}

void model_effect(struct queue_model *m, enum core_effect_kind kind, const struct model_record *r,
                  enum rec_state state)
{
    ASSERT(m->s.effects < MODEL_EFFECTS);
    struct core_effect *x = &m->effect[m->s.effects++];
    *x = (struct core_effect){.kind = kind,
                              .id = core_fingerprint(&r->id),
                              .place = r->place,
                              .body = r->body,
                              .edited = r->edited,
                              .attempt = r->attempts,
                              .deliveries = r->deliveries,
                              .state = state,
                              .reason = r->reason};
    if (kind == EFFECT_ENDED)
        x->result = m->settled;
    if (kind == EFFECT_GRANT)
        x->result = r->result;
    if (kind != EFFECT_ENDED && kind != EFFECT_PURGED) {
        x->token = r->token;
        x->consumer = r->consumer;
    }
}

/* ---- what is declared ---- */

bool model_is_named(const struct queue_model *m, const struct model_queue *q)
{
    for (size_t i = 0; i < m->s.consumers; i++) {
        const struct model_consumer *c = &m->s.consumer[i];
        for (uint32_t k = 0; k < c->queues_count; k++)
            if (model_is(c->tenant, q->tenant) && model_is(c->queues[k], q->name))
                return true;
    }
    return false;
}

static void want_read(struct model_queue *want, const struct core_queue *c)
{
    memset(want, 0, sizeof *want);
    want->settings = *c;
    want->settings.tenant = want->settings.name = want->settings.dead_to = NULL;
    want->settings.sending = NULL;
    want->settings.script = NULL;
    model_says_read(&want->says, c->sending);
    model_text(want->tenant, c->tenant);
    model_text(want->name, c->name);
    model_text(want->dead_to, c->dead_to);
    model_text(want->script, c->script);
    want->left = c->script != NULL && c->script[0] == '\0';
    want->scripted = want->script[0] != '\0' ? c->scripted : 0;
}

static struct model_queue *declare_as(struct queue_model *m, const struct model_queue *want)
{
    const struct core_queue *c = &want->settings;
    model_tenant_of(m, want->tenant);
    struct model_queue *q = model_find_queue(m, want->tenant, want->name);
    if (q == NULL) {
        ASSERT(m->s.queues < MODEL_QUEUES);
        q = &m->s.queue[m->s.queues++];
        *q = (struct model_queue){0};
        model_text(q->tenant, want->tenant);
        model_text(q->name, want->name);
    }
    if (c->handled || c->manual)
        q->unhandled_at = 0;
    else if (q->settings.handled && !model_is_named(m, q))
        q->unhandled_at = m->s.now;
    q->settings = *c;
    q->says = want->says;
    q->scripted = want->scripted;
    memcpy(q->dead_to, want->dead_to, sizeof q->dead_to);
    memcpy(q->script, want->script, sizeof q->script);
    return q;
}

struct model_queue *model_declare_only(struct queue_model *m, const struct core_queue *c)
{
    struct model_queue want;
    want_read(&want, c);
    return declare_as(m, &want);
}

int model_declare(struct queue_model *m, const struct core_queue *c)
{
    struct model_queue want;
    const struct model_queue *is = model_find_queue(m, c->tenant, c->name);
    want_read(&want, c);
    int rc = is != NULL ? model_declare_over(&want, is) : 0;
    if (rc == 0 && model_is(want.dead_to, want.name))
        rc = ERR_INVALID;
    if (rc != 0)
        return rc;
    model_keep_newest(m, declare_as(m, &want));
    model_finish(m);
    return 0;
}

static void forget_subscriptions(struct queue_model *m, const char *tenant, const char *name)
{
    for (size_t i = 0; i < m->s.consumers; i++) {
        struct model_consumer *c = &m->s.consumer[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < c->queues_count; k++)
            if (!model_is(c->tenant, tenant) || !model_is(c->queues[k], name))
                memmove(c->queues[kept++], c->queues[k], MODEL_TEXT);
        c->queues_count = kept;
    }
}

static void forget_deaths(struct queue_model *m, const char *tenant, const char *name)
{
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        for (uint32_t k = 0; k < r->died_count; k++)
            if (model_is(r->tenant, tenant) && model_is(r->died[k], name))
                model_text(r->died[k], NULL);
    }
}

int model_drop(struct queue_model *m, const char *tenant, const char *name, bool force)
{
    struct model_queue *q = model_find_queue(m, tenant, name);
    if (q == NULL)
        return ERR_NOT_FOUND;
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (!model_is(r->tenant, tenant) || !model_is(r->queue, name))
            continue;
        if (!force)
            return ERR_CONFLICT;
        enum rec_state before = r->state;
        if (before == REC_EXECUTING) {
            model_effect(m, EFFECT_LOST, r, REC_EXECUTING);
            model_stop(m, r);
        }
        if (!model_is_ended(r))
            model_effect(m, EFFECT_PURGED, r, before);
        r->state = 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->s.dedups; i++)
        if (!model_is(m->s.dedup[i].tenant, tenant) || !model_is(m->s.dedup[i].queue, name))
            m->s.dedup[kept++] = m->s.dedup[i];
    m->s.dedups = kept;
    forget_deaths(m, tenant, name);
    forget_subscriptions(m, tenant, name);
    size_t at = (size_t)(q - m->s.queue);
    m->s.queues--;
    memmove(q, q + 1, (m->s.queues - at) * sizeof(*q));
    model_finish(m);
    return 0;
}

int model_unregister(struct queue_model *m, const char *tenant, const char *name, uint32_t *count)
{
    const struct model_queue *q = model_find_queue(m, tenant, name);
    *count = 0;
    if (q == NULL || q->paused || q->unhandled_at == 0 ||
        m->s.now < q->unhandled_at + CORE_UNHANDLED_MS || model_is_named(m, q))
        return 0;
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (r->state != REC_AVAILABLE || m->s.now < r->run_at + CORE_UNHANDLED_MS ||
            !model_is(r->tenant, tenant) || !model_is(r->queue, name))
            continue;
        ++*count;
        model_discard(m, r, REASON_UNREGISTERED);
    }
    model_finish(m);
    return 0;
}

void model_abandon(struct queue_model *m, const char *tenant, const char *name)
{
    struct model_queue *q = model_find_queue(m, tenant, name);
    if (q != NULL && !q->settings.handled && !q->settings.manual && q->unhandled_at == 0)
        q->unhandled_at = m->s.now;
}

int model_pause(struct queue_model *m, const char *tenant, const char *name, bool paused)
{
    struct model_queue *q = model_find_queue(m, tenant, name);
    if (q == NULL)
        return ERR_NOT_FOUND;
    q->paused = paused;
    model_finish(m);
    return 0;
}

int model_close(struct queue_model *m, const char *tenant, const char *name, bool closed)
{
    struct model_queue *q = model_find_queue(m, tenant, name);
    if (q == NULL)
        return ERR_NOT_FOUND;
    q->closed = closed;
    return 0;
}

int model_lane(struct queue_model *m, const char *name, uint32_t weight, uint32_t cap)
{
    if (weight < 1 || weight > 1000)
        return ERR_INVALID;
    struct model_lane *l = model_lane_of(m, name);
    l->weight = weight;
    l->cap = cap;
    model_finish(m);
    return 0;
}

int model_tenant(struct queue_model *m, const char *tenant, uint32_t weight)
{
    if (weight < 1 || weight > 1000)
        return ERR_INVALID;
    m->s.tenant[model_tenant_of(m, tenant)].weight = weight;
    return 0;
}

struct model_gate *model_gate_make(struct queue_model *m, const char *tenant, const char *name)
{
    struct model_gate *g = model_find_gate(m, tenant, name);
    if (g != NULL)
        return g;
    ASSERT(m->s.gates < MODEL_GATES);
    g = &m->s.gate[m->s.gates++];
    *g = (struct model_gate){.tat_us = INT64_MIN};
    model_text(g->tenant, tenant);
    model_text(g->name, name);
    return g;
}

int model_gate(struct queue_model *m, const struct core_gate *c)
{
    if (c->rate > 0 && c->per_ms <= 0)
        return ERR_INVALID;
    struct model_gate *g = model_gate_make(m, c->tenant, c->name);
    g->capacity = c->capacity;
    g->rate = c->rate;
    g->per_ms = c->per_ms;
    model_finish(m);
    return 0;
}

int model_gate_close(struct queue_model *m, const char *tenant, const char *name, int64_t until)
{
    model_gate_make(m, tenant, name)->closed_until = until;
    model_finish(m);
    return 0;
}

int model_gate_backoff(struct queue_model *m, const char *tenant, const char *name, int64_t until)
{
    struct model_gate *g = model_gate_make(m, tenant, name);
    g->closed_until = g->closed_until > until ? g->closed_until : until;
    model_finish(m);
    return 0;
}
