/* "Choice, exactly": which record, which consumer. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

/* ---- consumers ---- */

uint32_t model_executing_for(const struct queue_model *m, const struct model_consumer *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < m->s.records; i++)
        n += m->s.record[i].state == REC_EXECUTING &&
             model_same_id(&m->s.record[i].consumer, &c->id);
    return n;
}

bool model_takes(const struct queue_model *m, const struct model_consumer *c,
                 const struct model_record *r)
{
    if (c->worker)
        return model_queue_of(m, r)->settings.handled;
    if (!model_is(c->tenant, r->tenant))
        return false;
    for (uint32_t i = 0; i < c->queues_count; i++)
        if (model_is(c->queues[i], r->queue))
            return true;
    return false;
}

static uint64_t used_of(const struct queue_model *m, const struct model_consumer *c,
                        const char *label)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        if (r->state != REC_EXECUTING || !model_same_id(&r->consumer, &c->id))
            continue;
        for (uint8_t k = 0; k < r->needs_count; k++)
            if (model_is(r->needs[k].name, label))
                sum += r->needs[k].number;
    }
    return sum;
}

/* By it, or by all that share the labels of its node. */
static uint64_t used_with(const struct queue_model *m, const struct model_consumer *c,
                          const char *label)
{
    uint64_t sum = 0;
    if (!c->of_node)
        return used_of(m, c, label);
    for (size_t i = 0; i < m->s.consumers; i++) {
        const struct model_consumer *o = &m->s.consumer[i];
        bool has = false;
        for (uint32_t k = 0; k < o->labels_count; k++)
            has = has || model_is(o->labels[k].name, label);
        if (has && o->of_node && model_is(o->node, c->node))
            sum += used_of(m, o, label);
    }
    return sum;
}

bool model_meets(const struct queue_model *m, const struct model_consumer *c,
                 const struct model_label *need, bool used)
{
    for (uint32_t i = 0; i < c->labels_count; i++) {
        const struct model_label *l = &c->labels[i];
        if (!model_is(l->name, need->name))
            continue;
        if (need->text[0] != '\0')
            return model_is(l->text, need->text);
        if (need->number > 0)
            return l->number >= need->number + (used ? used_with(m, c, l->name) : 0);
        return true;
    }
    return false;
}

static bool only_lets(const struct model_consumer *c, const struct model_record *r)
{
    for (uint32_t i = 0; i < c->only_count; i++)
        for (uint8_t k = 0; k < r->needs_count; k++)
            if (model_is(c->only[i], r->needs[k].name))
                return true;
    return c->only_count == 0;
}

bool model_fits(const struct queue_model *m, const struct model_consumer *c,
                const struct model_record *r, bool used)
{
    if (!model_takes(m, c, r) || !only_lets(c, r))
        return false;
    for (uint8_t i = 0; i < r->needs_count; i++)
        if (!model_meets(m, c, &r->needs[i], used))
            return false;
    return true;
}

static struct model_consumer *taker(struct queue_model *m, const struct model_record *r)
{
    struct model_consumer *best = NULL;
    for (size_t i = 0; i < m->s.consumers; i++) {
        struct model_consumer *c = &m->s.consumer[i];
        if (model_executing_for(m, c) < c->credit && model_fits(m, c, r, true) &&
            (best == NULL || c->turn < best->turn))
            best = c;
    }
    return best;
}

/* ---- records ---- */

static bool same_key(const struct model_record *a, const struct model_record *b)
{
    return model_is(a->key, b->key) && model_is(a->queue, b->queue) &&
           model_is(a->tenant, b->tenant);
}

const struct model_record *model_first(const struct queue_model *m, const struct model_record *r)
{
    const struct model_record *first = NULL;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *o = &m->s.record[i];
        if (o->state != 0 && o->joined && same_key(o, r) &&
            (first == NULL || o->line < first->line))
            first = o;
    }
    return first;
}

static bool is_halted(const struct queue_model *m, const struct model_record *r)
{
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *o = &m->s.record[i];
        if (o->state == REC_DISCARDED && o->halts && same_key(o, r))
            return true;
    }
    return false;
}

static bool gate_is_closed(const struct queue_model *m, const struct model_gate *g)
{
    return g->closed_until > m->s.now;
}

static uint32_t gate_executing(const struct queue_model *m, const struct model_gate *g)
{
    uint32_t n = 0;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        for (uint8_t k = 0; k < r->gates_count; k++)
            n += r->state == REC_EXECUTING && model_is(r->tenant, g->tenant) &&
                 model_is(r->gates[k], g->name);
    }
    return n;
}

static int64_t gate_interval(const struct model_gate *g)
{
    return g->per_ms * 1000 / g->rate;
}

static int64_t gate_from(const struct queue_model *m, const struct model_gate *g)
{
    return g->tat_us > m->s.now * 1000 ? g->tat_us : m->s.now * 1000;
}

static bool gate_passes(const struct queue_model *m, const struct model_gate *g)
{
    if (gate_is_closed(m, g))
        return false;
    if (g->capacity > 0 && gate_executing(m, g) >= g->capacity)
        return false;
    return g->rate == 0 || gate_from(m, g) + gate_interval(g) - m->s.now * 1000 <= g->per_ms * 1000;
}

bool model_is_closed(const struct queue_model *m, const struct model_record *r)
{
    for (uint8_t i = 0; i < r->gates_count; i++) {
        const struct model_gate *g = model_find_gate(m, r->tenant, r->gates[i]);
        if (g != NULL && gate_is_closed(m, g))
            return true;
    }
    return false;
}

static bool not_for(struct core_view *why, enum core_waits waits, const char *what)
{
    if (why != NULL) {
        why->waits = waits;
        strcpy(why->waits_for, what);
    }
    return false;
}

static bool key_lets(const struct queue_model *m, const struct model_record *r,
                     struct core_view *why)
{
    if (r->key[0] == '\0')
        return true;
    if (is_halted(m, r))
        return not_for(why, WAITS_DECISION, r->key);
    return model_first(m, r) == r ? true : not_for(why, WAITS_KEY, r->key);
}

static bool gates_let(const struct queue_model *m, const struct model_record *r,
                      struct core_view *why)
{
    for (uint8_t i = 0; i < r->gates_count; i++) {
        const struct model_gate *g = model_find_gate(m, r->tenant, r->gates[i]);
        if (g != NULL && !gate_passes(m, g))
            return not_for(why, WAITS_GATE, r->gates[i]);
    }
    return true;
}

bool model_can_run(const struct queue_model *m, const struct model_record *r, struct core_view *why)
{
    const struct model_queue *q = model_queue_of(m, r);
    uint32_t in_queue = 0, in_lane = 0, cap = UINT32_MAX;
    if (r->state != REC_AVAILABLE || r->granted == m->s.seq)
        return false;
    if (q->settings.manual)
        return not_for(why, WAITS_PEOPLE, "");
    if (q->paused)
        return not_for(why, WAITS_PAUSE, "");
    if (!key_lets(m, r, why) || !gates_let(m, r, why))
        return false;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *o = &m->s.record[i];
        in_queue += o->state == REC_EXECUTING && model_is(o->queue, r->queue) &&
                    model_is(o->tenant, r->tenant);
        in_lane += o->state == REC_EXECUTING && model_is(o->lane, r->lane);
    }
    if (q->settings.concurrency > 0 && in_queue >= q->settings.concurrency)
        return not_for(why, WAITS_CONCURRENCY, "");
    for (size_t i = 0; i < m->s.lanes; i++)
        if (model_is(m->s.lane[i].name, r->lane))
            cap = m->s.lane[i].cap;
    return in_lane < cap ? true : not_for(why, WAITS_LANE, r->lane);
}

/* ---- the choice ---- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What a record is chosen by: the smaller, from left to right. */
struct rank {
    uint64_t by[6];
    int64_t run_at;
};

static struct rank rank_of(struct queue_model *m, const struct model_record *r)
{
    const struct model_lane *l = model_lane_of(m, r->lane);
    size_t tenant = model_tenant_of(m, r->tenant);
    return (struct rank){
        .by = {later(l->time, m->s.lane_clock), (uint64_t)(l - m->s.lane),
               later(l->tenant_time[tenant], l->tenant_clock), tenant,
               (uint64_t)(CORE_PRIORITY_MAX - r->priority)},
        .run_at = r->run_at,
    };
}

static bool comes_before(const struct rank *a, const struct rank *b)
{
    for (size_t i = 0; i < 5; i++)
        if (a->by[i] != b->by[i])
            return a->by[i] < b->by[i];
    return a->run_at < b->run_at; /* and of equals the one met first: they lie in order of place */
}

static void charge(struct queue_model *m, const struct model_record *r)
{
    struct model_lane *l = model_lane_of(m, r->lane);
    size_t tenant = model_tenant_of(m, r->tenant);
    m->s.lane_clock = later(l->time, m->s.lane_clock);
    l->time = m->s.lane_clock + LANE_SCALE / l->weight;
    l->tenant_clock = later(l->tenant_time[tenant], l->tenant_clock);
    l->tenant_time[tenant] = l->tenant_clock + LANE_SCALE / m->s.tenant[tenant].weight;
    for (uint8_t i = 0; i < r->gates_count; i++) {
        struct model_gate *g = model_find_gate(m, r->tenant, r->gates[i]);
        if (g != NULL && g->rate > 0)
            g->tat_us = gate_from(m, g) + gate_interval(g);
    }
}

static void grant(struct queue_model *m, struct model_record *r, struct model_consumer *c)
{
    charge(m, r);
    model_queue_of(m, r)->granted++;
    r->state = REC_EXECUTING;
    r->attempts++;
    r->deliveries++;
    r->expires_at = INT64_MAX;
    r->token = r->granted = m->s.seq;
    m->s.grants++;
    r->consumer = c->id;
    r->own_lease = 0;
    r->timeout_at = m->s.now + r->timeout_ms;
    c->turn = ++m->s.turns;
    model_effect(m, EFFECT_GRANT, r, REC_EXECUTING);
    struct core_effect *x = &m->effect[m->s.effects - 1];
    x->lease_until = c->expires_at;
    x->timeout_at = r->timeout_at;
}

static bool grant_one(struct queue_model *m)
{
    struct model_record *best = NULL;
    struct rank best_rank = {0};
    for (size_t i = 0; i < m->s.records; i++) {
        struct model_record *r = &m->s.record[i];
        if (r->state != REC_AVAILABLE)
            continue;
        struct rank rank = rank_of(m, r);
        if (best != NULL && !comes_before(&rank, &best_rank))
            continue;
        if (taker(m, r) != NULL && model_can_run(m, r, NULL)) {
            best = r;
            best_rank = rank;
        }
    }
    if (best != NULL)
        grant(m, best, taker(m, best));
    return best != NULL;
}

void model_finish(struct queue_model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->s.records; i++)
        if (m->s.record[i].state != 0 && kept++ != i)
            m->s.record[kept - 1] = m->s.record[i];
    m->s.records = kept;
    for (size_t i = 0; i < m->s.queues; i++) {
        struct model_queue *q = &m->s.queue[i];
        bool named = model_is_named(m, q);
        if (q->named && !named && q->unhandled_at != 0)
            q->unhandled_at = m->s.now;
        q->named = named;
    }
    while (grant_one(m))
        ;
}
