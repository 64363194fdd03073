/* How deliveries end: settled in a unit of their own, where what their runs wrote has not settled
 * them, and forgotten. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bind/queue_lib.h"
#include "bind/work.h"

static void delivery_free(struct delivery *d)
{
    bind_arrival_free(d->arrival);
    mem_free(d->body);
    mem_free(d->headers);
    mem_free(d->key);
    mem_free(d->correlation);
    mem_free(d->traceparent);
    mem_free(d->type);
    mem_free(d->topic);
    mem_free(d->message_id);
    mem_free(d->pattern);
    bind_outcome_fini(&d->how);
    mem_free(d);
}

static void delivery_free_task(struct task *task)
{
    delivery_free(LIST_OF(task, struct delivery, task));
}

static enum work_took took_kind(const struct delivery *d)
{
    return d->arrival != NULL ? TOOK_ARRIVAL
           : d->is_job        ? TOOK_JOB
           : d->topic != NULL ? TOOK_TOPIC
                              : TOOK_QUEUE;
}

/* From when its thread was given it until it was settled, whatever came of it. */
static void delivery_measure(const struct delivery *d)
{
    static const char *const kinds[] = {"kind=\"queue\"", "kind=\"topic\"", "kind=\"job\"",
                                        "kind=\"arrival\""};
    enum work_took kind = took_kind(d);
    struct stat_histogram **took = &d->work->took[kind];
    if (d->begun_ns == 0)
        return;
    if (*took == NULL)
        *took = stat_histogram("koan_work_run_seconds", kinds[kind],
                               "How long runs of handlers took, their settling included");
    stat_record(*took, work_now_ns(d->work) - d->begun_ns);
}

void delivery_drop(struct delivery *d)
{
    struct bind_work *w = d->work;
    delivery_measure(d);
    if (d->has_unit)
        unit_fini(&d->unit);
    list_remove(&d->node);
    w->live_count--;
    if (d->canceling || d->asking) { /* behind the tasks that speak of it */
        d->task.run = delivery_free_task;
        runner_post(d->thread->runner, &d->task);
    } else {
        delivery_free(d);
    }
    if (atomic_load(&w->bind->closing))
        work_tick(w);
}

static void settle_again(struct world_timer *t)
{
    struct delivery *d = LIST_OF(t, struct delivery, again);
    d->waits = false;
    delivery_settle(d);
}

static void settle_later(struct delivery *d, uint64_t ms)
{
    struct world *world = d->work->thread->world;
    d->waits = true;
    d->again.fire = settle_again;
    world->timer_start(world, &d->again, ms);
}

/* What cannot be said now is said later; after that its timeout says it. */
static void settle_failed(struct delivery *d, const struct err *e)
{
    bool passing = err_info(e->code)->retry == ERR_RETRY_AFTER || e->code == ERR_TIMEOUT;
    if (!passing || ++d->tries > WORK_SETTLE_TRIES || atomic_load(&d->work->bind->closing)) {
        if (e->code != ERR_FENCED && e->code != ERR_NOT_FOUND)
            log_warn("script", "%s: message %s could not be settled: %s", d->label, d->id, e->text);
        delivery_drop(d);
        return;
    }
    settle_later(d, WORK_SETTLE_MS);
}

/* What its end starts finds a closed or full queue: it has run, and is not to run again for that.
 * Tried until the record is another's. */
static void settle_held(struct delivery *d, const struct err *e)
{
    if (atomic_load(&d->work->bind->closing)) {
        settle_failed(d, e);
        return;
    }
    if (d->held_tries++ == 0)
        log_warn("script", "%s: message %s has run, and its end waits: %s", d->label, d->id,
                 e->text);
    d->end_tries = 0;
    settle_later(d, d->held_tries < WORK_SETTLE_TRIES ? WORK_SETTLE_MS : WORK_NOBODY_MS);
}

static void settle_done(struct unit *u)
{
    struct delivery *d = LIST_OF(u, struct delivery, unit);
    if (u->err.code == 0)
        delivery_drop(d);
    else if (d->job_end.has_row && job_end_is_stale(u, &d->job_end) &&
             ++d->end_tries < JOB_END_TRIES)
        delivery_settle(d);
    else if (job_end_waits(u, &d->job_end))
        settle_held(d, &u->err);
    else
        settle_failed(d, &u->err);
}

static void settle_begin(struct delivery *d)
{
    if (d->has_unit)
        unit_fini(&d->unit);
    unit_init(&d->unit, d->work->thread->runner, settle_done);
    d->has_unit = true;
    txn_envelope(&d->unit.txn, &d->env);
}

/* One that was terminated has ended without its worker: the record alone is left to be settled. */
static int settle_compose(struct delivery *d, struct err *e)
{
    const struct bind_outcome *how = &d->how;
    const struct bind_grants held = {&d->held, 1};
    struct txn *t = &d->unit.txn;
    if (d->pauses)
        queue_txn_pause(t, d->grant.queue, true);
    if (how->gate[0] != '\0') {
        queue_txn_if_delivery(t, &d->held.id, d->held.token);
        queue_txn_gate_backoff(t, how->gate, how->settle.until);
    }
    if (!d->is_job)
        return bind_grants_compose(held, how, t, e);
    int rc = bind_job_settle(&d->job_end, d->work->thread, &d->held, how, t, e);
    if (rc != ERR_GONE)
        return rc;
    err_clear(e);
    settle_begin(d);
    return bind_grants_compose(held, how, &d->unit.txn, e);
}

void delivery_settle(struct delivery *d)
{
    struct err e = ERR_INIT;
    settle_begin(d);
    if (settle_compose(d, &e) != 0 || ledger_propose(d->work->bind->ledger, &d->unit, &e) != 0)
        settle_failed(d, &e);
}

void delivery_nobody(struct delivery *d)
{
    struct world *w = d->work->thread->world;
    d->how.settle.outcome = SETTLE_SNOOZE;
    d->how.settle.until = w->wall_ms(w) + WORK_NOBODY_MS;
    delivery_settle(d);
}

void bind_delivered(struct task *task)
{
    struct delivery *d = LIST_OF(task, struct delivery, task);
    d->away = false;
    if (d->end == DELIVERY_DONE || (d->lost && d->how.settle.outcome == SETTLE_ACK))
        delivery_drop(d);
    else
        delivery_settle(d);
}
