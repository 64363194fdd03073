/* A consumer of this node: says how much it takes, renews its leases, reads the messages that it
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

struct runner *bind_work_home(struct bind_work *w)
{
    return w->thread->runner;
}

/* ---- reading, on the pool ---- */

static void read_cb(struct loop_work *r)
{
    struct bind_work *w = LIST_OF(r, struct bind_work, read);
    AUTO(mem_freep) struct queue_stored *s = mem_new(sizeof *s);
    LIST_EACH(node, &w->reading)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        if (work_read(w->reader, d, s, &d->err) == 0)
            bind_arrival_read(w->bind, d);
    }
}

/* Behind whatever began it. */
static void delivery_post_ask(struct delivery *d)
{
    d->asking = true;
    d->ask_task.run = bind_deliver_ask;
    runner_post(d->thread->runner, &d->ask_task);
}

struct bind_thread *work_least_busy(struct bind *b)
{
    struct bind_thread *least = &b->threads[0];
    for (int i = 1; i < b->threads_count; i++)
        if (atomic_load(&b->threads[i].runs) < atomic_load(&least->runs))
            least = &b->threads[i];
    atomic_fetch_add(&least->runs, 1);
    return least;
}

uint64_t work_now_ns(const struct bind_work *w)
{
    struct world *world = w->thread->world;
    return world->mono_ns(world);
}

static void delivery_start(struct delivery *d)
{
    d->env = (struct envelope){.tenant = d->grant.tenant,
                               .correlation = d->correlation,
                               .causation = d->id,
                               .traceparent = d->traceparent};
    if (d->arrival != NULL) {
        d->begun_ns = work_now_ns(d->work);
        bind_arrival_start(d->work->thread, d);
        return;
    }
    switch (d->work->kind) {
    case LISTENS_RUN:
        d->begun_ns = work_now_ns(d->work);
        d->thread = work_least_busy(d->work->bind);
        d->away = true;
        d->task.run = bind_deliver;
        runner_post(d->thread->runner, &d->task);
        if (d->asked)
            delivery_post_ask(d);
        return;
    case LISTENS_BATCH:
        gather_add(d->work, d);
        return;
    case LISTENS_WEBHOOK:
        hook_start(d->work, d);
        return;
    }
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
    gather_go(w);
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
    d->is_job = bind_is_job_queue(f->queue);
    snprintf(d->label, sizeof d->label, "%s/%s", d->is_job ? "job" : "queue",
             f->queue + (d->is_job ? strlen(BIND_JOB_PREFIX) : 0));
    list_push(&w->live, &d->node);
    w->live_count++;
    list_push(&w->unread, &d->here);
}

static void delivery_cancel(struct delivery *d, bool lost, const char *why)
{
    d->lost = d->lost || lost;
    if (!d->away || d->canceling || (d->batched && !lost)) /* the others of its batch go on */
        return;
    d->canceling = true;
    snprintf(d->why, sizeof d->why, "%s", why);
    d->cancel_task.run = bind_deliver_cancel;
    runner_post(d->thread->runner, &d->cancel_task);
}

/* The run of a job is told, and may end by itself; a handler of messages is stopped. */
static void delivery_ask(struct delivery *d)
{
    if (!d->is_job) {
        delivery_cancel(d, false, "it was canceled");
        return;
    }
    d->asked = true;
    if (d->away && !d->asking)
        delivery_post_ask(d);
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
            if (d->grant.id != f[i].id || d->grant.token != f[i].token)
                continue;
            if (f[i].kind == EFFECT_LOST)
                delivery_cancel(d, true, "its time is over");
            else
                delivery_ask(d);
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
        log_warn("script", "%s not worked yet: %s", w->queue != NULL ? w->queue : "queues are",
                 u->err.text);
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
    if (w->live_count > 0 || w->is_reading || w->flying || w->asking)
        return;
    if (w->open)
        propose(w, left, add_leave);
    else if (w->listening) {
        w->listening = false;
        queues_unlisten(w->bind->queues, &w->consumer);
    }
}

void work_tick(struct bind_work *w)
{
    if (atomic_load(&w->bind->closing)) {
        work_stop_tick(w);
        return;
    }
    uint64_t ms = since_renewed_ms(w);
    if (w->open && ms > w->lease_ms / 5 * 4)
        cancel_all(w, "its lease could not be renewed");
    if (w->flying)
        return;
    if (!w->wanted) { /* what it holds is given back, and taken by whoever works it now */
        if (w->open)
            propose(w, left, add_leave);
        return;
    }
    if (!w->open || !work_is_as_set(w)) {
        work_take_settings(w);
        propose(w, opened, work_add_open);
    } else if (ms >= w->lease_ms / 3) {
        propose(w, renewed, add_renew);
    }
}

static void timer_cb(struct world_timer *t)
{
    struct bind_work *w = LIST_OF(t, struct bind_work, timer);
    struct world *world = w->thread->world;
    if (!atomic_load(&w->bind->closing)) {
        world->timer_start(world, t, w->lease_ms / 12);
        hook_look(w);
    }
    work_tick(w);
}

/* ---- life ---- */

static void work_begin(struct bind_work *w)
{
    if (w->wanted)
        return;
    w->wanted = true;
    if (w->started) {
        work_tick(w);
        return;
    }
    w->started = w->listening = true;
    queues_listen(w->bind->queues, &w->consumer);
    w->renewed_ns = w->thread->world->mono_ns(w->thread->world);
    timer_cb(&w->timer);
}

static int work_new(struct bind *b, const char *queue, uint32_t lease_ms, struct bind_work **out,
                    struct err *e)
{
    struct bind_work *w = *out = mem_new(sizeof *w);
    w->bind = b;
    w->thread = &b->threads[0];
    w->queue = queue != NULL ? mem_strdup(queue) : NULL;
    w->lease_ms = lease_ms;
    w->timer.fire = timer_cb;
    w->consumer.home = w->thread->runner;
    w->consumer.arrived = arrived_cb;
    w->consumer.gone = gone_cb;
    w->thread->ids.ids.make(&w->thread->ids.ids, &w->consumer.id);
    list_init(&w->others);
    list_init(&w->live);
    list_init(&w->unread);
    list_init(&w->reading);
    list_init(&w->gathered);
    return work_reader_open(b->ledger, &w->reader, e);
}

static void work_free(struct bind_work *w)
{
    work_reader_free(w->reader);
    hook_breakers_free(w);
    json_decref(w->labels);
    json_decref(w->only);
    mem_free(w->queue);
    mem_free(w);
}

int bind_work_new(struct bind *b, uint32_t lease_ms, struct err *e)
{
    return work_new(b, NULL, lease_ms != 0 ? lease_ms : WORK_LEASE_MS, &b->work, e);
}

/* ---- those of one queue ---- */

static struct bind_work *work_of(struct bind *b, const char *queue)
{
    LIST_EACH(node, &b->work->others)
    {
        struct bind_work *w = LIST_OF(node, struct bind_work, node);
        if (strcmp(w->queue, queue) == 0)
            return w;
    }
    struct err e = ERR_INIT;
    struct bind_work *w;
    if (work_new(b, queue, b->work->lease_ms, &w, &e) != 0) {
        log_error("script", "%s cannot be worked: %s", queue, e.text);
        work_free(w);
        return NULL;
    }
    list_push(&b->work->others, &w->node);
    return w;
}

/* Room for the batch that runs, and for the one that is gathered meanwhile. */
static uint32_t credit_for(const struct bind_set *s, const struct bind_listener *l)
{
    uint32_t most = 0;
    if (l->kind == LISTENS_WEBHOOK)
        return WORK_HOOK_CREDIT;
    for (size_t i = 0; i < s->bus->count; i++)
        if (strcmp(s->bus->list[i]->group, l->group) == 0 && s->bus->list[i]->batch > most)
            most = s->bus->list[i]->batch;
    return most * WORK_BATCHES < CORE_CREDIT_MAX ? most * WORK_BATCHES : CORE_CREDIT_MAX;
}

/* They are given back with the leave that follows. */
static void gathered_drop(struct bind_work *w)
{
    for (struct list *node; (node = list_pop(&w->gathered)) != NULL;)
        delivery_drop(LIST_OF(node, struct delivery, here));
}

static void others_match(struct bind *b, const struct bind_set *s)
{
    LIST_EACH(node, &b->work->others)
    LIST_OF(node, struct bind_work, node)->credit_wanted = 0;
    for (size_t i = 0; s->queues != NULL && i < s->queues->count; i++) {
        const struct bind_queue *q = &s->queues->list[i];
        if (q->group == NULL || q->group->kind == LISTENS_RUN)
            continue;
        struct bind_work *w = work_of(b, q->q.name);
        if (w == NULL)
            continue;
        w->kind = q->group->kind;
        w->credit_wanted = credit_for(s, q->group);
        work_begin(w);
    }
    LIST_EACH(node, &b->work->others)
    {
        struct bind_work *w = LIST_OF(node, struct bind_work, node);
        w->wanted = w->credit_wanted > 0;
        if (!w->wanted)
            gathered_drop(w);
        else if (w->kind == LISTENS_WEBHOOK)
            hook_again(w);
        else
            gather_again(w);
    }
}

void bind_work_published(struct bind *b)
{
    struct bind_work *w = b->work;
    const struct bind_set *s = b->threads[0].set;
    bool handled = b->canon != NULL && s->canons_count > 0;
    for (size_t i = 0; s->queues != NULL && i < s->queues->count; i++)
        handled = handled || s->queues->list[i].handled;
    if (w == NULL)
        return;
    if (handled)
        work_begin(w);
    others_match(b, s);
}

/* ---- the end ---- */

static bool work_is_over(struct bind_work *w)
{
    if (!w->started)
        return true;
    /* It may have come to its end by itself, with the last delivery, before it is asked. */
    w->thread->world->timer_stop(w->thread->world, &w->timer);
    w->thread->world->timer_stop(w->thread->world, &w->gather_timer);
    if (w->over)
        return true;
    gathered_drop(w);
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

bool bind_work_is_over(struct bind *b)
{
    if (b->work == NULL)
        return true;
    bool over = work_is_over(b->work);
    LIST_EACH(node, &b->work->others)
    over = work_is_over(LIST_OF(node, struct bind_work, node)) && over;
    return over;
}

void bind_work_free(struct bind *b)
{
    if (b->work == NULL)
        return;
    for (struct list *node; (node = list_pop(&b->work->others)) != NULL;)
        work_free(LIST_OF(node, struct bind_work, node));
    work_free(b->work);
    b->work = NULL;
}
