/* What operators ask for on more messages than one answer holds (queue_operate.c): a run of the job
 * `koan-operate`, whose record has all that is known of it. Its args say what is to be done; how
 * far it came is told with each snooze, and with the last ack, and is what people see as its
 * result. So it goes on after a restart, where it was, and is cancelled like any other run.
 *
 *   [CLOSED] --first such run, or a start with some left--> [OPEN] --drain--> [GONE]
 *
 *   granted -> READ args and progress (pool) -> turns of WORK_TURN_MS, each of chunks:
 *
 *     LIST places in that state behind `after` (ledger's thread) -> READ ids, bodies (pool) -> LOOK
 *     (ledger's thread) -> a unit for each that is meant, on condition that the run is still ours
 *
 *   -> a chunk came back empty: ack. The turn is over: snoozed until now, so that others of this
 *   queue have their turn. Cancelled, or the node leaves: snoozed too; then it has ended, or goes
 *   on later.
 *
 * A message is met once, in order of sending: what comes back into the state behind `after` was met
 * before. Only what the turn did that a crash cut off is met again. All of it on one net thread. */
#include "api/queue_work_priv.h"

#include "base/log.h"
#include "base/mem.h"

enum { WORK_LEASE_MS = 15 * 1000 };

/* ---- what comes ---- */

static void work_arrived(struct queue_consumer *c)
{
    struct queue_work *w = (struct queue_work *)c;
    size_t count;
    AUTO(mem_freep)
    struct core_effect *f = queues_take(w->thread->api->o.queues, c, &count);
    for (size_t i = 0; i < count; i++) {
        if (f[i].kind == EFFECT_GRANT) { /* while one that is lost has not ended here */
            w->next = f[i];
            w->has_next = true;
        }
        if (f[i].kind == EFFECT_LOST && w->has_next && w->next.id == f[i].id &&
            w->next.token == f[i].token)
            w->has_next = false;
        queue_work_tell(w, &f[i]);
    }
    if (w->run != NULL || !w->has_next || w->closing)
        return;
    w->has_next = false;
    queue_work_run(w, &w->next);
}

static void work_gone(struct queue_consumer *c)
{
    ((struct queue_work *)c)->gone = true;
}

static void work_over(struct queue_work *w, const struct unit *u)
{
    w->flying = false;
    if (u->err.code == 0)
        w->renewed_ns = work_world(w)->mono_ns(work_world(w));
    else if (u->err.code != ERR_NOT_FOUND && !queue_work_is_passing(u->err.code))
        log_warn("queue", "the work of operators waits: %s", u->err.text);
}

static void work_opened(struct unit *u)
{
    struct queue_work *w = LIST_OF(u, struct queue_work, unit);
    work_over(w, u);
    w->open = u->err.code == 0;
    w->wanted = u->err.code != ERR_NOT_FOUND; /* the queue was dropped: the next run makes it */
    unit_fini(u);
    queue_work_tick(w);
}

static void work_renewed(struct unit *u)
{
    struct queue_work *w = LIST_OF(u, struct queue_work, unit);
    work_over(w, u);
    if (u->err.code == ERR_NOT_FOUND)
        w->open = false;
    unit_fini(u);
    queue_work_tick(w);
}

static void work_left(struct unit *u)
{
    struct queue_work *w = LIST_OF(u, struct queue_work, unit);
    w->flying = w->open = false;
    unit_fini(u);
    queue_work_tick(w);
}

static struct txn *work_unit(struct queue_work *w, void (*done)(struct unit *u))
{
    w->flying = true;
    unit_init(&w->unit, loop_runner(w->thread->loop), done);
    w->unit.txn.urgent = true;
    w->unit.txn.grows = false;
    return &w->unit.txn;
}

static void work_propose(struct queue_work *w)
{
    struct err e = ERR_INIT;
    if (ledger_propose(w->thread->api->o.ledger, &w->unit, &e) == 0)
        return;
    w->unit.err = e;
    w->unit.done(&w->unit);
}

static void work_open(struct queue_work *w)
{
    const char *const queues[] = {OPERATE_QUEUE};
    struct core_consumer c = {.id = w->consumer.id,
                              .node = queues_node(w->thread->api->o.queues),
                              .tenant = API_TENANT,
                              .queues = queues,
                              .queues_count = 1,
                              .credit = 1,
                              .lease_ms = WORK_LEASE_MS};
    if (!w->listening) {
        w->listening = true;
        queues_listen(w->thread->api->o.queues, &w->consumer);
    }
    w->anew = false;
    queue_txn_open(work_unit(w, work_opened), &c);
    work_propose(w);
}

static void work_close_tick(struct queue_work *w)
{
    if (w->run != NULL || w->flying || w->asking)
        return;
    if (w->open) {
        queue_txn_leave(work_unit(w, work_left), &w->consumer.id);
        work_propose(w);
    } else if (w->listening) {
        w->listening = false;
        queues_unlisten(w->thread->api->o.queues, &w->consumer);
    } else {
        w->gone = true;
    }
}

/* What is due: opened, renewed, left. */
void queue_work_tick(struct queue_work *w)
{
    if (w->closing && !w->gone)
        work_close_tick(w);
    if (w->closing || w->flying || !w->wanted)
        return;
    if (w->anew) {
        work_open(w);
    } else if (w->open && work_since_ms(w, w->renewed_ns) >= WORK_LEASE_MS / 3) {
        queue_txn_renew(work_unit(w, work_renewed), &w->consumer.id);
        work_propose(w);
    }
}

static void work_timer(struct world_timer *t)
{
    struct queue_work *w = LIST_OF(t, struct queue_work, timer);
    struct world *world = work_world(w);
    world->timer_start(world, t, WORK_LEASE_MS / 12);
    if (w->wanted && !w->open && !w->flying)
        work_open(w);
    else
        queue_work_tick(w);
}

/* ---- its life ---- */

static void work_want(struct queue_work *w)
{
    if (w->closing)
        return;
    w->wanted = w->anew = true;
    work_timer(&w->timer);
}

static void work_woken(struct task *task)
{
    struct queue_work *w = LIST_OF(task, struct queue_work, task);
    atomic_store(&w->posted, false);
    work_want(w);
}

void queue_work_wake(struct api *a)
{
    struct queue_work *w = a->work;
    if (w != NULL && !atomic_exchange(&w->posted, true))
        runner_post(loop_runner(w->thread->loop), &w->task);
}

/* Is there something left of before? */
static void work_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_work *w = LIST_OF(a, struct queue_work, ask);
    struct core_counts n;
    w->some = core_counts(c, API_TENANT, OPERATE_QUEUE, &n, NULL) == 0;
}

static void work_asked(struct queue_ask *a)
{
    struct queue_work *w = LIST_OF(a, struct queue_work, ask);
    w->asking = false;
    if (w->some)
        work_want(w);
    queue_work_tick(w);
}

static void work_begin(struct task *task)
{
    struct queue_work *w = LIST_OF(task, struct queue_work, task);
    w->task.run = work_woken;
    atomic_store(&w->posted, false);
    if (w->closing)
        return;
    w->asking = true;
    w->ask = (struct queue_ask){
        .home = loop_runner(w->thread->loop), .ask = work_ask, .done = work_asked};
    queues_ask(w->thread->api->o.queues, &w->ask);
}

void queue_work_new(struct api_thread *t)
{
    if (t->api->o.queues == NULL || t->api->work != NULL)
        return;
    struct queue_work *w = t->api->work = mem_new(sizeof *w);
    w->thread = t;
    w->timer.fire = work_timer;
    w->task.run = work_begin;
    w->consumer.home = loop_runner(t->loop);
    w->consumer.arrived = work_arrived;
    w->consumer.gone = work_gone;
    t->ids.make(&t->ids, &w->consumer.id);
    atomic_store(&w->posted, true);
    runner_post(loop_runner(t->loop), &w->task);
}

void queue_work_drain(struct api_thread *t)
{
    struct queue_work *w = t->api->work;
    if (w == NULL || w->thread != t || w->closing)
        return;
    w->closing = true;
    work_world(w)->timer_stop(work_world(w), &w->timer);
    queue_work_tick(w);
}

void queue_work_free(struct api_thread *t)
{
    struct queue_work *w = t->api->work;
    if (w == NULL || w->thread != t)
        return;
    queue_work_drain(t);
    while (!w->gone || atomic_load(&w->posted)) /* the ledger still answers */
        loop_poll(t->loop);
    t->api->work = NULL;
    mem_free(w);
}
