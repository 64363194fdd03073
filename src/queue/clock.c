/* Queue: what time alone brings, proposed by who leads. Everything else that the time changes
 * happens in the core, at the begin of any entry; so an entry without anything is enough. */
#include <string.h>

#include "base/log.h"
#include "queue/queue_priv.h"

enum {
    CLOCK_WAIT_MS = 1000, /* clocks are set: never asleep for longer */
    CLOCK_SWEEP = 1000,   /* consumers retired by one unit */
};

static void clock_arm(struct queue_clock *k, int64_t delay)
{
    k->armed = k->world->wall_ms(k->world) + delay;
    k->world->timer_start(k->world, &k->timer, (uint64_t)delay);
}

/* When a lease is over; in the first seconds none is. */
static int64_t clock_expiry(const struct queue_clock *k, struct core_expiry *x)
{
    core_next_expiry(k->queues->core, x);
    uint64_t awake_ms = (k->world->mono_ns(k->world) - k->started_ns) / 1000000;
    int64_t grace = awake_ms >= QUEUE_GRACE_MS
                        ? 0
                        : k->world->wall_ms(k->world) + QUEUE_GRACE_MS - (int64_t)awake_ms;
    return x->at > grace ? x->at : grace;
}

static int64_t clock_next(const struct queue_clock *k)
{
    struct core_expiry x;
    int64_t due = core_next_due(k->queues->core), expiry = clock_expiry(k, &x);
    return due < expiry ? due : expiry;
}

static void clock_rearm(struct queue_clock *k)
{
    int64_t wait = clock_next(k) - k->world->wall_ms(k->world);
    clock_arm(k, wait < 0 ? 0 : wait > CLOCK_WAIT_MS ? CLOCK_WAIT_MS : wait);
}

static void clock_proposed(struct unit *u)
{
    struct queue_clock *k = (struct queue_clock *)((char *)u - offsetof(struct queue_clock, unit));
    bool failed = u->err.code != 0;
    k->flying = false;
    if (failed && u->err.code != ERR_NO_LEADER && u->err.code != ERR_DRAINING)
        log_warn("queue", "what was due waits: %s", u->err.text);
    unit_fini(u);
    if (k->stopped)
        return;
    if (failed || !k->swept)
        clock_arm(k, failed ? CLOCK_WAIT_MS : 0);
    else
        clock_rearm(k);
}

static void clock_add(struct txn *t, const struct core_expiry *x, bool lapse)
{
    enum queue_op type = !lapse         ? QUEUE_OP_TICK
                         : x->is_record ? QUEUE_OP_LAPSE_RECORD
                                        : QUEUE_OP_LAPSE;
    struct buf *b = txn_begin(t, (uint16_t)type, 1);
    if (type == QUEUE_OP_LAPSE)
        buf_add(b, x->consumer.b, sizeof x->consumer.b);
    if (type == QUEUE_OP_LAPSE_RECORD) {
        buf_add_u64(b, x->record);
        buf_add_u64(b, x->token);
    }
    txn_end(t);
}

/* k->unit; or later. */
static void clock_send(struct queue_clock *k)
{
    struct err e = ERR_INIT;
    k->flying = true;
    if (ledger_propose(k->ledger, &k->unit, &e) == 0)
        return;
    k->flying = false;
    unit_fini(&k->unit);
    clock_arm(k, CLOCK_WAIT_MS);
}

static void clock_propose(struct queue_clock *k, const struct core_expiry *x, bool lapse)
{
    unit_init(&k->unit, k->world->runner, clock_proposed);
    txn_envelope(&k->unit.txn, &(struct envelope){.reason = lapse ? "its lease is over" : "due"});
    k->unit.txn.grows = false;
    k->unit.txn.urgent = true;
    clock_add(&k->unit.txn, x, lapse);
    clock_send(k);
}

/* ---- who is gone ---- */

struct sweep {
    struct queue_clock *clock;
    struct txn *txn;
    uint32_t count;
};

/* It would take what comes, and nobody works it: whoever ran it ran in an earlier process. */
static void sweep_one(void *arg, const struct core_consumer *s, uint32_t held)
{
    struct sweep *w = arg;
    const struct queues *q = w->clock->queues;
    (void)held;
    if (s->credit == 0 || w->count == CLOCK_SWEEP || strcmp(s->node, q->node) != 0 ||
        queue_listener(q, &s->id) != NULL)
        return;
    queue_txn_retire(w->txn, &s->id, 0);
    w->count++;
}

/* True: some are on their way out. */
static bool clock_sweep(struct queue_clock *k)
{
    struct sweep w = {.clock = k, .txn = &k->unit.txn};
    unit_init(&k->unit, k->world->runner, clock_proposed);
    txn_envelope(&k->unit.txn, &(struct envelope){.reason = "their process is gone"});
    k->unit.txn.grows = false;
    k->unit.txn.urgent = true;
    pthread_mutex_lock(&k->queues->lock);
    core_consumers(k->queues->core, sweep_one, &w);
    pthread_mutex_unlock(&k->queues->lock);
    k->swept = w.count == 0;
    if (k->swept) {
        unit_fini(&k->unit);
        return false;
    }
    clock_send(k);
    return true;
}

static void clock_fire(struct world_timer *t)
{
    struct queue_clock *k = (struct queue_clock *)((char *)t - offsetof(struct queue_clock, timer));
    struct ledger_status now;
    struct core_expiry x;
    k->armed = INT64_MAX;
    if (k->stopped || k->flying)
        return;
    ledger_status(k->ledger, &now);
    if (!k->swept && now.leader && clock_sweep(k))
        return;
    int64_t wall = k->world->wall_ms(k->world);
    bool lapse = clock_expiry(k, &x) <= wall && x.at != INT64_MAX;
    if (now.leader && (lapse || core_next_due(k->queues->core) <= wall))
        clock_propose(k, &x, lapse);
    else
        clock_rearm(k);
}

/* An entry may have brought the next moment nearer. */
static void clock_committed(struct ledger_watch *w, uint64_t seq, int64_t at)
{
    struct queue_clock *k = (struct queue_clock *)w;
    (void)seq, (void)at;
    if (!k->stopped && !k->flying && clock_next(k) < k->armed)
        clock_rearm(k);
}

void queue_clock_start(struct queue_clock *k, struct queues *q, struct ledger *l, struct world *w)
{
    k->watch.committed = clock_committed;
    k->queues = q;
    k->ledger = l;
    k->world = w;
    k->timer.fire = clock_fire;
    k->started_ns = w->mono_ns(w);
    ledger_watch(l, &k->watch);
    clock_fire(&k->timer); /* who is gone goes before anything else can be proposed */
}

void queue_clock_stop(struct queue_clock *k)
{
    k->stopped = true;
    if (k->world != NULL)
        k->world->timer_stop(k->world, &k->timer);
}
