/* Queue core: gates. A record that a gate holds up leaves its line and waits at the gate, by line.
 *
 * When a gate lets more pass than before (it opens, a slot or a token comes, one that stood in its
 * line leaves it otherwise than by running), gate_review() calls back, of each line, as many of the
 * first as it would let pass now. Those that find it shut again when their turn comes wait again.
 * So whoever looks only at lines misses nobody who could run and goes first, and a gate with
 * 100,000 waiting costs a claim nothing. One whose gate is closed when it becomes available does
 * not come to its line at all: it would leave it with the first claim, which had to wait for that
 * of 100,000. */
#include <string.h>

#include "queue/core_priv.h"

struct gate *gate_get(struct core *c, struct tenant *t, const char *name)
{
    uint64_t hash = core_hash_text(t, name);
    for (struct table_node *n = table_find(&c->gates_table, hash); n != NULL; n = table_again(n)) {
        struct gate *g = (struct gate *)n;
        if (g->tenant == t && strcmp(g->name, name) == 0)
            return g;
    }
    struct gate *g = undo_alloc(&c->undo, sizeof *g);
    g->tenant = t;
    g->name = undo_strdup(&c->undo, name);
    g->number = c->gates_count;
    g->alarm_at = NO_TIME;
    SAVE(c, c->gates_count);
    c->gates_count++;
    undo_note(&c->undo, c->gates_end, sizeof *c->gates_end);
    *c->gates_end = g;
    SAVE(c, c->gates_end);
    c->gates_end = &g->next;
    table_add(&c->gates_table, &c->undo, &g->node, hash);
    return g;
}

bool gate_is_closed(const struct core *c, const struct gate *g)
{
    return g->closed_until > c->at;
}

/* A token each interval, as many saved up as come in per_ms: the generic cell rate algorithm. */
static int64_t gate_interval_us(const struct gate *g)
{
    int64_t us = g->per_ms * 1000 / g->rate;
    return us > 0 ? us : 1;
}

static uint64_t gate_tokens(const struct core *c, const struct gate *g)
{
    if (g->rate == 0)
        return UINT64_MAX;
    int64_t now = c->at * 1000, span = g->per_ms * 1000;
    int64_t tat = g->tat_us > now ? g->tat_us : now;
    int64_t left = span - (tat - now);
    return left <= 0 ? 0 : (uint64_t)(left / gate_interval_us(g));
}

/* How many it would let pass now. */
static uint64_t gate_free(const struct core *c, const struct gate *g)
{
    if (gate_is_closed(c, g))
        return 0;
    uint64_t slots = g->capacity == 0           ? UINT64_MAX
                     : g->in_use >= g->capacity ? 0
                                                : g->capacity - g->in_use;
    uint64_t tokens = gate_tokens(c, g);
    return slots < tokens ? slots : tokens;
}

struct gate *gate_blocking(const struct core *c, const struct extra *x)
{
    for (uint8_t i = 0; x != NULL && i < x->gates_count; i++) {
        if (gate_free(c, x->gates[i]) == 0)
            return x->gates[i];
    }
    return NULL;
}

static struct gated *gated_get(struct core *c, struct gate *g, struct line *l)
{
    struct gated **at = &g->gated;
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->line == l)
            return *at;
    }
    struct gated *d = undo_alloc(&c->undo, sizeof *d);
    d->gate = g;
    d->line = l;
    undo_note(&c->undo, at, sizeof *at);
    *at = d;
    return d;
}

static void gate_take(struct core *c, uint32_t n, struct gate *g)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    struct gated *d = gated_get(c, g, core_kind(c, r)->line);
    SAVE(c, x->waits_at);
    x->waits_at = g;
    rec_set_where(c, r, WHERE_GATE);
    heap_push(c, &c->undo, &d->waiting, &line_heap, n);
}

bool gate_stops(struct core *c, uint32_t n)
{
    const struct extra *x = core_extra(c, core_rec(c, n));
    for (uint8_t i = 0; x != NULL && i < x->gates_count; i++) {
        struct gate *g = x->gates[i];
        if (!gate_is_closed(c, g))
            continue;
        gate_take(c, n, g);
        gate_review(c, g);
        return true;
    }
    return false;
}

void gate_wait(struct core *c, uint32_t n, struct gate *g)
{
    const struct extra *x = core_extra(c, core_rec(c, n));
    line_remove(c, n);
    gate_take(c, n, g);
    for (uint8_t i = 0; i < x->gates_count; i++)
        gate_review(c, x->gates[i]);
}

void gate_unwait(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct gated *d = gated_get(c, core_extra(c, r)->waits_at, core_kind(c, r)->line);
    heap_remove(c, &c->undo, &d->waiting, &line_heap, r->next);
    rec_set_where(c, r, WHERE_NOWHERE);
}

void gate_enter(struct core *c, struct extra *x)
{
    for (uint8_t i = 0; i < x->gates_count; i++) {
        struct gate *g = x->gates[i];
        int64_t now = c->at * 1000;
        SAVE(c, g->in_use);
        g->in_use++;
        if (g->rate == 0)
            continue;
        SAVE(c, g->tat_us);
        g->tat_us = (g->tat_us > now ? g->tat_us : now) + gate_interval_us(g);
    }
}

void gate_leave(struct core *c, struct extra *x)
{
    for (uint8_t i = 0; i < x->gates_count; i++) {
        SAVE(c, x->gates[i]->in_use);
        x->gates[i]->in_use--;
    }
    for (uint8_t i = 0; i < x->gates_count; i++)
        gate_review(c, x->gates[i]);
}

/* When it will let more pass than now, if time alone does it. */
static int64_t gate_opens_at(const struct core *c, const struct gate *g)
{
    if (gate_is_closed(c, g))
        return g->closed_until;
    int64_t now = c->at * 1000;
    if (g->rate == 0 || g->tat_us <= now)
        return NO_TIME;
    int64_t interval = gate_interval_us(g), left = g->per_ms * 1000 - (g->tat_us - now);
    int64_t missing = left < 0 ? interval - left : interval - left % interval;
    return (now + missing + 999) / 1000;
}

static bool gate_has_waiting(const struct gate *g)
{
    for (const struct gated *d = g->gated; d != NULL; d = d->next) {
        if (d->waiting.count > 0)
            return true;
    }
    return false;
}

/* As many as it would let pass come back to their line, however many stand there already: those may
 * all be behind them. */
void gate_review(struct core *c, struct gate *g)
{
    uint64_t room = gate_free(c, g);
    for (struct gated *d = g->gated; d != NULL && room > 0; d = d->next) {
        for (uint64_t back = 0; d->waiting.count > 0 && back < room; back++) {
            uint32_t n = (uint32_t)d->waiting.items[0];
            gate_unwait(c, n);
            line_put(c, n);
        }
    }
    gate_alarm(c, g, gate_has_waiting(g) ? gate_opens_at(c, g) : NO_TIME);
}

/* ---- declared ---- */

int core_gate(struct core *c, const struct core_gate *o, struct err *e)
{
    if (core_name_check(o->name, "gate", e) < 0)
        return ERR_INVALID;
    if (o->rate > 0 && (o->per_ms < 1 || o->per_ms > CORE_GATE_PER_MAX_MS))
        return err_field(e, ERR_INVALID, "per", "a rate is per 1 ms to 1 day");
    struct gate *g = gate_get(c, tenant_get(c, o->tenant), o->name);
    undo_note(&c->undo, g, sizeof *g);
    g->capacity = o->capacity;
    g->rate = o->rate;
    g->per_ms = o->per_ms;
    gate_review(c, g);
    grants_make(c);
    return 0;
}

void gate_close_until(struct core *c, struct gate *g, int64_t until)
{
    SAVE(c, g->closed_until);
    g->closed_until = until;
    gate_review(c, g);
}

static int gate_until(struct core *c, const char *tenant, const char *name, int64_t until,
                      bool or_later, struct err *e)
{
    if (core_name_check(name, "gate", e) < 0)
        return ERR_INVALID;
    if (until < 0)
        return err_field(e, ERR_INVALID, "until", "a time to come, or 0");
    struct gate *g = gate_get(c, tenant_get(c, tenant), name);
    until = until < TIME_MAX ? until : TIME_MAX;
    gate_close_until(c, g, or_later && g->closed_until > until ? g->closed_until : until);
    grants_make(c);
    return 0;
}

int core_gate_close(struct core *c, const char *tenant, const char *name, int64_t until,
                    struct err *e)
{
    return gate_until(c, tenant, name, until, false, e);
}

int core_gate_backoff(struct core *c, const char *tenant, const char *name, int64_t until,
                      struct err *e)
{
    return gate_until(c, tenant, name, until, true, e);
}
