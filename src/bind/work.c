/* The consumer of this node: says how much it takes, renews its leases, reads the messages that it
 * is granted, gives them to script threads, and settles what these did not settle with their
 * writes. On script thread 0, but for the reading.
 *
 *   [CLOSED] --a set with handlers--> [OPEN] --stop--> (runs end) --> leave --> [GONE]
 *
 * One operation at a time renews the leases of all runs. If it cannot, for four fifths of the
 * lease, every run is stopped: by the end of the lease others may have its messages. A lease that
 * is over is told by the ledger (EFFECT_LOST); whatever such a run still writes is refused, since
 * its units hold only while the delivery is its own. */
#include "bind/work.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bind/queue_lib.h"

struct bind_work {
    struct queue_consumer consumer; /* first */
    struct bind *bind;
    struct bind_thread *thread;
    uint32_t lease_ms, credit; /* credit: as it was opened with */
    bool wanted, open, listening, over;
    bool flying; /* `unit` */
    struct unit unit;
    struct world_timer timer;
    uint64_t renewed_ns;
    struct list live; /* all deliveries */
    size_t live_count;
    struct list unread, reading; /* of them, by `here` */
    struct loop_work read;
    bool is_reading;
    struct work_reader *reader;
};

static void work_tick(struct bind_work *w);

struct runner *bind_work_home(struct bind_work *w)
{
    return w->thread->runner;
}

/* ---- the end of a delivery ---- */

static void delivery_free(struct delivery *d)
{
    mem_free(d->body);
    mem_free(d->headers);
    mem_free(d->key);
    mem_free(d->correlation);
    mem_free(d->traceparent);
    bind_outcome_fini(&d->how);
    mem_free(d);
}

static void delivery_free_task(struct task *task)
{
    delivery_free(LIST_OF(task, struct delivery, task));
}

static void delivery_drop(struct delivery *d)
{
    struct bind_work *w = d->work;
    if (d->has_unit)
        unit_fini(&d->unit);
    list_remove(&d->node);
    w->live_count--;
    if (d->canceling) { /* behind the task that speaks of it */
        d->task.run = delivery_free_task;
        runner_post(d->thread->runner, &d->task);
    } else {
        delivery_free(d);
    }
    if (atomic_load(&w->bind->closing))
        work_tick(w);
}

static void delivery_settle(struct delivery *d);

static void settle_again(struct world_timer *t)
{
    struct delivery *d = LIST_OF(t, struct delivery, again);
    d->waits = false;
    delivery_settle(d);
}

/* What cannot be said now is said later; after that its timeout says it. */
static void settle_failed(struct delivery *d, const struct err *e)
{
    struct world *world = d->work->thread->world;
    bool passing = err_info(e->code)->retry == ERR_RETRY_AFTER || e->code == ERR_TIMEOUT;
    if (!passing || ++d->tries > WORK_SETTLE_TRIES || atomic_load(&d->work->bind->closing)) {
        if (e->code != ERR_FENCED && e->code != ERR_NOT_FOUND)
            log_warn("script", "%s: message %s could not be settled: %s", d->label, d->id, e->text);
        delivery_drop(d);
        return;
    }
    d->waits = true;
    d->again.fire = settle_again;
    world->timer_start(world, &d->again, WORK_SETTLE_MS);
}

static void settle_done(struct unit *u)
{
    struct delivery *d = LIST_OF(u, struct delivery, unit);
    if (u->err.code == 0)
        delivery_drop(d);
    else
        settle_failed(d, &u->err);
}

static void delivery_settle(struct delivery *d)
{
    struct err e = ERR_INIT;
    const struct bind_outcome *how = &d->how;
    if (d->has_unit)
        unit_fini(&d->unit);
    unit_init(&d->unit, d->work->thread->runner, settle_done);
    d->has_unit = true;
    d->unit.txn.urgent = true;
    txn_envelope(&d->unit.txn, &d->env);
    if (how->gate[0] != '\0') {
        queue_txn_if_delivery(&d->unit.txn, &d->held.id, d->held.token);
        queue_txn_gate_close(&d->unit.txn, how->gate, how->settle.until);
    }
    if (bind_held_compose((struct bind_held_list){&d->held, 1}, how, &d->unit.txn, &e) != 0 ||
        ledger_propose(d->work->bind->ledger, &d->unit, &e) != 0)
        settle_failed(d, &e);
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

/* ---- reading, on the pool ---- */

static void read_cb(struct loop_work *r)
{
    struct bind_work *w = LIST_OF(r, struct bind_work, read);
    AUTO(mem_freep) struct queue_stored *s = mem_new(sizeof *s);
    LIST_EACH(node, &w->reading)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        work_read(w->reader, d, s, &d->err);
    }
}

static void delivery_start(struct delivery *d)
{
    struct bind *b = d->work->bind;
    struct bind_thread *least = &b->threads[0];
    for (int i = 1; i < b->threads_count; i++)
        if (atomic_load(&b->threads[i].runs) < atomic_load(&least->runs))
            least = &b->threads[i];
    d->thread = least;
    d->away = true;
    d->env = (struct envelope){.tenant = d->grant.tenant,
                               .correlation = d->correlation,
                               .causation = d->id,
                               .traceparent = d->traceparent};
    d->task.run = bind_deliver;
    atomic_fetch_add(&least->runs, 1);
    runner_post(least->runner, &d->task);
}

static void read_start(struct bind_work *w);

static void read_done(struct loop_work *r)
{
    struct bind_work *w = LIST_OF(r, struct bind_work, read);
    struct list *node;
    w->is_reading = false;
    while ((node = list_pop(&w->reading)) != NULL) {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        if (d->err.code != 0)
            log_error("script", "%s: a message cannot be read: %s", d->label, d->err.text);
        if (d->err.code != 0 || d->lost || atomic_load(&w->bind->closing))
            delivery_drop(d);
        else
            delivery_start(d);
    }
    read_start(w);
    if (atomic_load(&w->bind->closing))
        work_tick(w);
}

static void read_start(struct bind_work *w)
{
    struct err e = ERR_INIT;
    if (w->is_reading || list_is_empty(&w->unread))
        return;
    w->is_reading = true;
    list_splice(&w->reading, &w->unread);
    w->read.work = read_cb;
    w->read.done = read_done;
    if (loop_queue(w->thread->loop, &w->read, &e) != 0) {
        read_cb(&w->read);
        read_done(&w->read);
    }
}

/* ---- what comes ---- */

static void grant_take(struct bind_work *w, const struct core_effect *f)
{
    struct delivery *d = mem_new(sizeof *d);
    d->work = w;
    d->grant = *f;
    bind_outcome_init(&d->how);
    snprintf(d->label, sizeof d->label, "queue/%s", f->queue);
    list_push(&w->live, &d->node);
    w->live_count++;
    list_push(&w->unread, &d->here);
}

static void delivery_cancel(struct delivery *d, bool lost, const char *why)
{
    d->lost = d->lost || lost;
    if (!d->away || d->canceling)
        return;
    d->canceling = true;
    snprintf(d->why, sizeof d->why, "%s", why);
    d->cancel_task.run = bind_deliver_cancel;
    runner_post(d->thread->runner, &d->cancel_task);
}

static void cancel_all(struct bind_work *w, const char *why)
{
    LIST_EACH(node, &w->live)
    delivery_cancel(LIST_OF(node, struct delivery, node), true, why);
}

static void arrived_cb(struct queue_consumer *c)
{
    struct bind_work *w = (struct bind_work *)c;
    size_t count;
    struct core_effect *f = queues_take(w->bind->queues, c, &count);
    for (size_t i = 0; i < count; i++) {
        if (f[i].kind == EFFECT_GRANT) {
            if (!atomic_load(&w->bind->closing)) /* else it is handed back */
                grant_take(w, &f[i]);
            continue;
        }
        LIST_EACH(node, &w->live)
        {
            struct delivery *d = LIST_OF(node, struct delivery, node);
            if (d->grant.id == f[i].id && d->grant.token == f[i].token)
                delivery_cancel(d, f[i].kind == EFFECT_LOST,
                                f[i].kind == EFFECT_LOST ? "its time is over" : "it was canceled");
        }
    }
    mem_free(f);
    read_start(w);
}

static void gone_cb(struct queue_consumer *c)
{
    ((struct bind_work *)c)->over = true;
}

/* ---- the lease ---- */

static uint32_t credit_of(struct bind_work *w)
{
    json_int_t n =
        json_integer_value(json_object_get(bind_settings_of(w->thread), "work_concurrency"));
    return n > 0 && n <= CORE_CREDIT_MAX ? (uint32_t)n : 16;
}

static uint64_t since_renewed_ms(const struct bind_work *w)
{
    return (w->thread->world->mono_ns(w->thread->world) - w->renewed_ns) / 1000000;
}

static void opened(struct unit *u)
{
    struct bind_work *w = LIST_OF(u, struct bind_work, unit);
    w->flying = false;
    if (u->err.code == 0) {
        w->open = true;
        w->renewed_ns = w->thread->world->mono_ns(w->thread->world);
    } else {
        log_warn("script", "queues are not worked yet: %s", u->err.text);
    }
    unit_fini(u);
    if (atomic_load(&w->bind->closing))
        work_tick(w);
}

static void renewed(struct unit *u)
{
    struct bind_work *w = LIST_OF(u, struct bind_work, unit);
    w->flying = false;
    if (u->err.code == 0)
        w->renewed_ns = w->thread->world->mono_ns(w->thread->world);
    else if (u->err.code == ERR_NOT_FOUND) {
        w->open = false; /* the next tick opens it again */
        cancel_all(w, "the lease of this node was over");
    }
    unit_fini(u);
    if (atomic_load(&w->bind->closing))
        work_tick(w);
}

static void left(struct unit *u)
{
    struct bind_work *w = LIST_OF(u, struct bind_work, unit);
    w->flying = w->open = false;
    unit_fini(u);
    work_tick(w);
}

static void propose(struct bind_work *w, void (*done)(struct unit *u),
                    void (*add)(struct bind_work *w, struct txn *t))
{
    struct err e = ERR_INIT;
    w->flying = true;
    unit_init(&w->unit, w->thread->runner, done);
    w->unit.txn.urgent = true;
    w->unit.txn.grows = false;
    add(w, &w->unit.txn);
    if (ledger_propose(w->bind->ledger, &w->unit, &e) == 0)
        return;
    w->unit.err = e;
    done(&w->unit);
}

static void add_open(struct bind_work *w, struct txn *t)
{
    struct core_consumer c = {.id = w->consumer.id,
                              .node = queues_node(w->bind->queues),
                              .worker = true,
                              .credit = w->credit,
                              .lease_ms = w->lease_ms};
    queue_txn_open(t, &c);
}

static void add_renew(struct bind_work *w, struct txn *t)
{
    queue_txn_renew(t, &w->consumer.id);
}

static void add_leave(struct bind_work *w, struct txn *t)
{
    queue_txn_leave(t, &w->consumer.id);
}

static void work_stop_tick(struct bind_work *w)
{
    if (w->live_count > 0 || w->is_reading || w->flying)
        return;
    if (w->open)
        propose(w, left, add_leave);
    else if (w->listening) {
        w->listening = false;
        queues_unlisten(w->bind->queues, &w->consumer);
    }
}

static void work_tick(struct bind_work *w)
{
    if (atomic_load(&w->bind->closing)) {
        work_stop_tick(w);
        return;
    }
    uint64_t ms = since_renewed_ms(w);
    if (w->open && ms > w->lease_ms / 5 * 4)
        cancel_all(w, "its lease could not be renewed");
    if (w->flying || !w->wanted)
        return;
    uint32_t credit = credit_of(w);
    if (!w->open || credit != w->credit) {
        w->credit = credit;
        propose(w, opened, add_open);
    } else if (ms >= w->lease_ms / 3) {
        propose(w, renewed, add_renew);
    }
}

static void timer_cb(struct world_timer *t)
{
    struct bind_work *w = LIST_OF(t, struct bind_work, timer);
    struct world *world = w->thread->world;
    if (!atomic_load(&w->bind->closing))
        world->timer_start(world, t, w->lease_ms / 12);
    work_tick(w);
}

/* ---- life ---- */

void bind_work_published(struct bind *b)
{
    struct bind_work *w = b->work;
    const struct bind_set *s = b->threads[0].set;
    bool handled = false;
    for (size_t i = 0; s->queues != NULL && i < s->queues->count; i++)
        handled = handled || s->queues->list[i].handled;
    if (w == NULL || !handled || w->wanted)
        return;
    w->wanted = w->listening = true;
    queues_listen(b->queues, &w->consumer);
    w->renewed_ns = w->thread->world->mono_ns(w->thread->world);
    timer_cb(&w->timer);
}

int bind_work_new(struct bind *b, uint32_t lease_ms, struct err *e)
{
    struct bind_work *w = b->work = mem_new(sizeof *w);
    w->bind = b;
    w->thread = &b->threads[0];
    w->lease_ms = lease_ms != 0 ? lease_ms : WORK_LEASE_MS;
    w->timer.fire = timer_cb;
    w->consumer.home = w->thread->runner;
    w->consumer.arrived = arrived_cb;
    w->consumer.gone = gone_cb;
    w->thread->ids.ids.make(&w->thread->ids.ids, &w->consumer.id);
    list_init(&w->live);
    list_init(&w->unread);
    list_init(&w->reading);
    return work_reader_open(b->ledger, &w->reader, e);
}

bool bind_work_is_over(struct bind *b)
{
    struct bind_work *w = b->work;
    if (w == NULL || !w->wanted || w->over)
        return true;
    w->thread->world->timer_stop(w->thread->world, &w->timer);
    LIST_EACH_SAFE(node, &w->live)
    {
        struct delivery *d = LIST_OF(node, struct delivery, node);
        if (!d->waits)
            continue;
        w->thread->world->timer_stop(w->thread->world, &d->again);
        delivery_drop(d);
    }
    work_tick(w);
    return false;
}

void bind_work_free(struct bind *b)
{
    if (b->work == NULL)
        return;
    work_reader_free(b->work->reader);
    mem_free(b->work);
    b->work = NULL;
}
