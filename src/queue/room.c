/* Queue core: lanes and gates as they stand, for who looks on. */
#include <string.h>

#include "queue/core_priv.h"

uint32_t core_lanes(const struct core *c, struct core_lane_view *out)
{
    for (uint32_t i = 0; i < c->lanes_count; i++) {
        const struct lane *l = c->lanes[i];
        out[i] = (struct core_lane_view){
            .name = l->name, .weight = l->weight, .cap = l->cap, .executing = l->executing};
    }
    for (const struct queue *q = c->queues; q != NULL; q = q->next) {
        if (!queue_is_runnable(q) || q->o.manual)
            continue;
        for (const struct line *l = q->lines; l != NULL; l = l->next)
            out[l->lane->number].waiting += l->count;
    }
    return c->lanes_count;
}

/* Numbers begin at 1 for who asks: 0 is behind none. */
static void gate_view(const struct core *c, const struct gate *g, struct core_gate_view *out)
{
    *out = (struct core_gate_view){
        .gate = {.tenant = g->tenant->name,
                 .name = g->name,
                 .capacity = g->capacity,
                 .rate = g->rate,
                 .per_ms = g->per_ms},
        .closed_until = gate_is_closed(c, g) ? g->closed_until : 0,
        .executing = g->in_use,
        .number = g->number + 1,
    };
    for (const struct gated *d = g->gated; d != NULL; d = d->next)
        out->waiting += d->waiting.count;
}

void core_gates(const struct core *c, const char *tenant, uint32_t after,
                bool (*each)(void *arg, const struct core_gate_view *g), void *arg)
{
    struct core_gate_view v;
    for (const struct gate *g = c->gates; g != NULL; g = g->next) {
        if (g->number < after || strcmp(g->tenant->name, tenant) != 0)
            continue;
        gate_view(c, g, &v);
        if (!each(arg, &v))
            return;
    }
}

int core_gate_look(const struct core *c, const char *tenant, const char *name,
                   struct core_gate_view *out, struct err *e)
{
    for (const struct gate *g = c->gates; g != NULL; g = g->next) {
        if (strcmp(g->name, name) == 0 && strcmp(g->tenant->name, tenant) == 0) {
            gate_view(c, g, out);
            return 0;
        }
    }
    return err_field(e, ERR_NOT_FOUND, "name", "there is no gate '%s': nobody declared or used it",
                     name);
}
