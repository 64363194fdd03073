/* Lanes of the queue, which are the cluster's, as the configuration in force wants them:
 * `lanes.NAME` of any layer.
 *
 * A change of the replicated layer brings its lanes along in its own unit (setting_calls.c, and PUT
 * /api/lanes/NAME). What the other layers say is looked at here, when the node begins and whenever
 * its configuration has changed: what differs is proposed, a unit a lane, so that one that is
 * refused stops no other; where only the time was wrong it is tried again. A lane of which nothing
 * says a word is as if nobody had ever declared it; so one that went out of a file while no node
 * ran is itself again. */
#include <string.h>

#include "app/node_priv.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum { LANES_AGAIN_MS = 5000 };

struct node_lanes {
    struct queue_ask ask; /* first */
    struct unit unit;
    struct world_timer later;
    struct node *node;
    bool busy, again; /* `again`: what is looked at is not the newest any more */
    bool stopped;
    struct config_lane wanted[CONFIG_LANES_MAX], todo[CONFIG_LANES_MAX + CORE_LANES_MAX];
    uint32_t wanted_count, todo_count, at;
};

static void lanes_end(struct node_lanes *l)
{
    l->busy = false;
    if (l->again)
        node_lanes_check(l->node);
}

static void lanes_next(struct node_lanes *l);

static void lanes_failed(struct node_lanes *l, const struct config_lane *lane, const struct err *e)
{
    struct world *w = loop_world(l->node->control);
    enum err_retry retry = err_info(e->code)->retry;
    if (l->stopped)
        return;
    log_error("config", "lanes.%s is not in force: %s", lane->name, e->text);
    if (retry == ERR_RETRY_AFTER || retry == ERR_RETRY_SAME)
        w->timer_start(w, &l->later, LANES_AGAIN_MS);
}

static void lanes_committed(struct unit *u)
{
    struct node_lanes *l = LIST_OF(u, struct node_lanes, unit);
    const struct config_lane *lane = &l->todo[l->at++];
    struct err e = u->err;
    unit_fini(u);
    if (e.code != 0)
        lanes_failed(l, lane, &e);
    else if (lane->cap == UINT32_MAX)
        log_info("config", "lane %s has weight %u", lane->name, lane->weight);
    else
        log_info("config", "lane %s has weight %u, cap %u", lane->name, lane->weight, lane->cap);
    lanes_next(l);
}

static void lanes_next(struct node_lanes *l)
{
    struct node *n = l->node;
    struct err e = ERR_INIT;
    struct envelope env = {.principal = "local", .reason = "as the configuration says"};
    if (l->at == l->todo_count || l->stopped) {
        lanes_end(l);
        return;
    }
    const struct config_lane *lane = &l->todo[l->at];
    unit_init(&l->unit, loop_runner(n->control), lanes_committed);
    txn_envelope(&l->unit.txn, &env);
    l->unit.txn.grows = false;
    queue_txn_lane(&l->unit.txn, lane->name, lane->weight, lane->cap);
    if (ledger_propose(n->ledger, &l->unit, &e) == 0)
        return;
    unit_fini(&l->unit);
    lanes_failed(l, lane, &e);
    lanes_end(l);
}

/* ---- comparing, on the ledger's thread ---- */

static const struct core_lane_view *lanes_find(const struct core_lane_view *lanes, uint32_t n,
                                               const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(lanes[i].name, name) == 0)
            return &lanes[i];
    return NULL;
}

static bool lanes_want(const struct node_lanes *l, const char *name)
{
    for (uint32_t i = 0; i < l->wanted_count; i++)
        if (strcmp(l->wanted[i].name, name) == 0)
            return true;
    return false;
}

/* First those that go back to what they were, then what is wanted. */
static void lanes_compare(struct queue_ask *a, const struct core *c)
{
    struct node_lanes *l = (struct node_lanes *)a;
    struct core_lane_view lanes[CORE_LANES_MAX];
    uint32_t n = core_lanes(c, lanes);
    struct config_lane own;
    for (uint32_t i = 0; i < n; i++)
        if (!lanes_want(l, lanes[i].name) &&
            config_lane_read(lanes[i].name, NULL, &own, NULL) == 0 &&
            (lanes[i].weight != own.weight || lanes[i].cap != own.cap))
            l->todo[l->todo_count++] = own;
    for (uint32_t i = 0; i < l->wanted_count; i++) {
        const struct config_lane *w = &l->wanted[i];
        const struct core_lane_view *is = lanes_find(lanes, n, w->name);
        if (is == NULL || is->weight != w->weight || is->cap != w->cap)
            l->todo[l->todo_count++] = *w;
    }
}

static void lanes_compared(struct queue_ask *a)
{
    lanes_next((struct node_lanes *)a);
}

/* ---- the door ---- */

static void lanes_later(struct world_timer *t)
{
    node_lanes_check(LIST_OF(t, struct node_lanes, later)->node);
}

struct node_lanes *node_lanes_new(struct node *n)
{
    struct node_lanes *l = mem_new(sizeof *l);
    l->node = n;
    l->later.fire = lanes_later;
    return l;
}

void node_lanes_check(struct node *n)
{
    struct node_lanes *l = n->lanes;
    if (l == NULL || l->stopped || n->waiting)
        return;
    l->again = l->busy;
    if (l->busy)
        return;
    l->busy = true;
    l->at = l->todo_count = 0;
    l->wanted_count = config_lanes(n->config, l->wanted);
    l->ask.home = loop_runner(n->control);
    l->ask.ask = lanes_compare;
    l->ask.done = lanes_compared;
    queues_ask(n->queues, &l->ask);
}

void node_lanes_stop(struct node_lanes *l)
{
    if (l == NULL)
        return;
    struct world *w = loop_world(l->node->control);
    l->stopped = true;
    w->timer_stop(w, &l->later);
}

void node_lanes_free(struct node_lanes *l)
{
    mem_free(l);
}
