#include "support/job_worker.h"

#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "job/clock_priv.h"
#include "support/simworld.h"

enum { WORKER_ANSWER_MS = 5000, WORKER_LEASE_MS = 12 * 3600 * 1000 };

static bool worker_id(struct job_worker *w, uint64_t print, struct uuid *out)
{
    struct err e = ERR_INIT;
    size_t n;
    struct db_stmt *s = db_stmt_get(w->lab->db, "SELECT id FROM job_runs WHERE print = ?1", &e);
    if (s == NULL)
        PANIC("%s", e.text);
    db_bind_int(s, 1, (int64_t)print);
    bool found = db_step(s, &e) > 0;
    if (found)
        memcpy(out->b, db_col_blob(s, 0, &n), sizeof out->b);
    db_stmt_done(s);
    return found;
}

static void held_propose(struct job_held *h);

static void held_answered(struct unit *u)
{
    struct job_held *h = (struct job_held *)u;
    struct job_worker *w = h->worker;
    bool stale = u->err.code != 0 && job_end_is_stale(u, &h->end), done = u->err.code == 0;
    unit_fini(u);
    h->proposed = false;
    if (stale && !w->ending) {
        held_propose(h);
        return;
    }
    w->worked += done && !h->cancelled;
    h->used = false;
}

static void held_propose(struct job_held *h)
{
    struct err e = ERR_INIT;
    struct job_worker *w = h->worker;
    bool good = w->outcome == JOB_COMPLETED && !h->cancelled;
    h->settle = (struct core_settle){.id = h->id,
                                     .token = h->token,
                                     .outcome = good ? SETTLE_ACK : SETTLE_REJECT,
                                     .delay_ms = -1};
    h->end = (struct job_end){
        .run = h->id, .settle = &h->settle, .make_id = job_clock_id, .arg = w->lab->jobs};
    unit_init(&h->unit, sim_world(w->lab->sim)->runner, held_answered);
    txn_envelope(&h->unit.txn, &(struct envelope){.reason = "worked"});
    int rc = job_txn_end(&h->unit.txn, w->lab->db, &h->end, &e);
    if (rc == ERR_GONE)
        rc = queue_txn_settle(&h->unit.txn, &h->settle, NULL, 0, &e);
    if (rc != 0 || ledger_propose(w->lab->ledger, &h->unit, &e) != 0)
        PANIC("%s", e.text);
    h->proposed = true;
}

static void held_over(struct world_timer *t)
{
    struct job_held *h = (struct job_held *)((char *)t - offsetof(struct job_held, timer));
    h->worker->holding--;
    held_propose(h);
}

static void worker_granted(struct job_worker *w, const struct core_effect *f)
{
    struct world *world = sim_world(w->lab->sim);
    struct job_held *h = w->held;
    while (h < w->held + JOB_WORKER_MAX && h->used)
        h++;
    if (h == w->held + JOB_WORKER_MAX)
        PANIC("the worker has no room");
    *h = (struct job_held){.worker = w, .print = f->id, .token = f->token, .used = true};
    if (!worker_id(w, f->id, &h->id))
        PANIC("a run without a row");
    w->holding++;
    if (w->holding > w->most)
        w->most = w->holding;
    h->timer.fire = held_over;
    world->timer_start(world, &h->timer, w->hold_ms);
}

static void worker_asked(struct job_worker *w, const struct core_effect *f)
{
    struct world *world = sim_world(w->lab->sim);
    for (struct job_held *h = w->held; h < w->held + JOB_WORKER_MAX; h++) {
        if (!h->used || h->print != f->id)
            continue;
        w->asked++;
        if (w->deaf || h->proposed)
            return;
        h->cancelled = true;
        world->timer_start(world, &h->timer, 10);
        return;
    }
}

static void worker_arrived(struct queue_consumer *c)
{
    struct job_worker *w = (struct job_worker *)c;
    size_t count;
    AUTO(mem_freep) struct core_effect *f = queues_take(w->lab->queues, c, &count);
    for (size_t i = 0; i < count && !w->ending; i++) {
        if (f[i].kind == EFFECT_GRANT)
            worker_granted(w, &f[i]);
        else if (f[i].kind == EFFECT_CANCEL)
            worker_asked(w, &f[i]);
    }
}

static void worker_gone(struct queue_consumer *c)
{
    ((struct job_worker *)c)->closed = true;
}

void job_worker_open(struct job_worker *w, struct job_lab *l, uint64_t hold_ms,
                     enum job_outcome outcome)
{
    struct err e = ERR_INIT;
    *w = (struct job_worker){.lab = l, .hold_ms = hold_ms, .outcome = outcome};
    w->consumer.home = sim_world(l->sim)->runner;
    w->consumer.arrived = worker_arrived;
    w->consumer.gone = worker_gone;
    job_clock_id(l->jobs, &w->consumer.id);
    queues_listen(l->queues, &w->consumer);
    struct core_label node = {.name = "node",
                              .text = l->worker_node != NULL ? l->worker_node : "n"};
    struct core_consumer c = {.id = w->consumer.id,
                              .labels = &node,
                              .labels_count = 1,
                              .node = "lab",
                              .worker = true,
                              .credit = JOB_WORKER_MAX,
                              .lease_ms = l->lease_ms > 0 ? l->lease_ms : WORKER_LEASE_MS};
    queue_txn_open(job_lab_txn(l), &c);
    if (job_lab_do(l, &e) != 0)
        PANIC("%s", e.text);
}

bool job_worker_renew(struct job_worker *w)
{
    struct err e = ERR_INIT;
    queue_txn_renew(job_lab_txn(w->lab), &w->consumer.id);
    return job_lab_do(w->lab, &e) == 0;
}

static bool worker_is_closed(void *arg)
{
    struct job_worker *w = arg;
    for (int i = 0; i < JOB_WORKER_MAX; i++)
        if (w->held[i].proposed)
            return false;
    return w->closed;
}

void job_worker_close(struct job_worker *w)
{
    struct err e = ERR_INIT;
    struct world *world = sim_world(w->lab->sim);
    w->ending = true;
    for (int i = 0; i < JOB_WORKER_MAX; i++)
        if (w->held[i].used && !w->held[i].proposed)
            world->timer_stop(world, &w->held[i].timer);
    queue_txn_leave(job_lab_txn(w->lab), &w->consumer.id);
    if (job_lab_do(w->lab, &e) != 0 && e.code != ERR_NOT_FOUND)
        PANIC("%s", e.text);
    queues_unlisten(w->lab->queues, &w->consumer);
    if (!sim_run_until(w->lab->sim, worker_is_closed, w, WORKER_ANSWER_MS))
        PANIC("the worker does not come to an end");
}
