/* One delivery on a script thread: the function of its queue runs as a coroutine, and what it wrote
 * and sent is committed with its ack. An error of any kind, budgets included, is a nack with the
 * error's words. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bind/queue_lib.h"
#include "bind/work.h"

static void set_text(lua_State *L, const char *key, const char *value)
{
    if (value == NULL)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

void bind_deliver_push_info(lua_State *L, const struct delivery *d)
{
    lua_createtable(L, 0, 13);
    set_text(L, "id", d->id);
    set_text(L, "queue", d->grant.queue);
    set_text(L, "key", d->key);
    set_text(L, "headers", d->headers);
    set_text(L, "type", d->type);
    set_text(L, "topic", d->topic);
    set_text(L, "message_id", d->message_id);
    lua_pushinteger(L, d->grant.attempt);
    lua_setfield(L, -2, "attempt");
    lua_pushinteger(L, d->grant.deliveries);
    lua_setfield(L, -2, "deliveries");
    lua_pushinteger(L, d->grant.timeout_at);
    lua_setfield(L, -2, "deadline");
    set_text(L, "job", d->job.job);
}

static int deliver_push(lua_State *L, struct vm_run *run)
{
    struct delivery *d = (struct delivery *)run;
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->run.set->handle);
    lua_rawgeti(L, LUA_REGISTRYINDEX, d->function);
    lua_pushlstring(L, d->body, d->body_len);
    bind_deliver_push_info(L, d);
    return 3;
}

/* What the library says of the end: "done", or an outcome with a text, a moment, a gate. */
static void deliver_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct delivery *d = (struct delivery *)run;
    (void)count;
    lua_settop(L, first + 2);
    bool done = lua_type(L, first) == LUA_TSTRING && strcmp(lua_tostring(L, first), "done") == 0;
    d->end = done ? DELIVERY_DONE : DELIVERY_SETTLE;
    if (!done)
        bind_outcome_take(L, first, &d->how);
}

static void deliver_back(struct delivery *d)
{
    list_remove(&d->here);
    d->running = false;
    atomic_fetch_sub(&d->thread->runs, 1);
    d->task.run = bind_delivered;
    runner_post(bind_work_home(d->work), &d->task); /* not ours any more */
}

/* Nothing of it happened. Where the delivery is over, or another's by now, saying so is refused. */
static void deliver_failed(struct delivery *d)
{
    const struct vm_run *run = &d->run.run;
    const char *code = run->err_code;
    d->end = DELIVERY_SETTLE;
    d->how.settle.outcome = SETTLE_NACK;
    d->how.settle.code = (uint16_t)err_info(run->err.code)->http_status;
    d->how.text = mem_printf("%s%s%s", code, *code != '\0' ? ": " : "", run->err.text);
    d->how.text_len = strlen(d->how.text);
    if (run->err.code == ERR_UNAVAILABLE && d->thread->cut)
        d->end = DELIVERY_DONE; /* the node stops, and hands it back */
    else if (d->run.cancelled)
        log_info("script", "%s: cancelled message=%s correlation=%s", d->label, d->id,
                 d->env.correlation);
    else
        log_warn("script", "%s: %s attempt=%u message=%s correlation=%s", d->label, d->how.text,
                 d->grant.attempt, d->id, d->env.correlation);
}

static void deliver_end(struct delivery *d)
{
    struct world *w = d->thread->world;
    w->timer_stop(w, &d->deadline);
    bind_claims_over(&d->run);
    if (d->run.cancelled)
        w->timer_stop(w, &d->patience);
    bind_note_run(&d->run, d->thread, d->label, d->id, true);
    if (d->run.run.err.code != 0)
        deliver_failed(d);
    deliver_back(d);
}

static void deliver_done(struct vm_run *run)
{
    deliver_end((struct delivery *)run);
}

static void deliver_late(struct world_timer *t)
{
    struct delivery *d = LIST_OF(t, struct delivery, deadline);
    vm_cancel(&d->run.run, ERR_TIMEOUT, "over its timeout");
}

void bind_deliver_cancel(struct task *task)
{
    struct delivery *d = LIST_OF(task, struct delivery, cancel_task);
    if (d->batch != NULL)
        batch_cancel(d->batch, d->why);
    else if (d->running)
        vm_cancel(&d->run.run, ERR_TIMEOUT, d->why);
}

static void deliver_impatient(struct world_timer *t)
{
    struct delivery *d = LIST_OF(t, struct delivery, patience);
    vm_cancel(&d->run.run, ERR_CANCELED, "it was cancelled, and has not ended");
}

void bind_deliver_ask(struct task *task)
{
    struct delivery *d = LIST_OF(task, struct delivery, ask_task);
    struct world *w = d->thread->world;
    if (!d->running)
        return;
    d->run.cancelled = true;
    vm_interrupt(&d->run.run, "cancelled", "this run was cancelled");
    d->patience.fire = deliver_impatient;
    w->timer_start(w, &d->patience, BIND_JOB_CANCEL_MS);
}

void bind_deliveries_cut(struct bind_thread *t, const struct err *e)
{
    LIST_EACH(node, &t->deliveries)
    vm_cancel(&LIST_OF(node, struct delivery, here)->run.run, e->code, e->text);
    bind_batches_cut(t, e);
}

/* Earlier than the ledger, so that its own words stay. */
int64_t bind_deliver_left(const struct delivery *d)
{
    struct world *w = (d->thread != NULL ? d->thread : d->work->thread)->world;
    int64_t left = d->grant.timeout_at - w->wall_ms(w), early = left / 10;
    return left - (early > 100 ? 100 : early);
}

/* The set that is live has no function for it: a deploy has come in between, or brings one. */
static void deliver_nobody(struct delivery *d)
{
    struct world *w = d->thread->world;
    d->end = d->run.set == NULL ? DELIVERY_DONE : DELIVERY_SETTLE;
    d->how.settle.outcome = SETTLE_SNOOZE;
    d->how.settle.until = w->wall_ms(w) + WORK_NOBODY_MS;
    deliver_back(d);
}

static void deliver_job(struct delivery *d)
{
    d->job = (struct bind_job_run){.id = d->held.id,
                                   .job = d->grant.queue + strlen(BIND_JOB_PREFIX),
                                   .args = d->body,
                                   .args_len = d->body_len,
                                   .correlation = d->correlation};
    d->run.job = &d->job;
}

/* The function of the queue, or of its group for the message's topic; LUA_NOREF: none. */
static int handler_of(struct delivery *d, struct vm_meter **meter)
{
    const struct bind_queue *q = bind_set_queue(d->thread->set, d->grant.queue);
    const struct bind_listener *l = bind_listener_find(d->thread->set, d->grant.queue, d->topic);
    if (l != NULL && l->kind == LISTENS_RUN) {
        snprintf(d->label, sizeof d->label, "%s", l->label);
        *meter = l->meter;
        return l->run;
    }
    if (q == NULL || !q->handled || q->group != NULL)
        return LUA_NOREF;
    *meter = q->meter;
    return q->run;
}

void bind_deliver(struct task *task)
{
    struct delivery *d = LIST_OF(task, struct delivery, task);
    struct bind_thread *t = d->thread;
    struct vm_meter *meter = NULL;
    d->function = handler_of(d, &meter);
    int64_t left = bind_deliver_left(d);
    bind_run_init(&d->run, t->set, &d->env);
    bind_note_begin(&d->run, t);
    list_init(&d->here);
    if (d->function == LUA_NOREF || t->cut) {
        deliver_nobody(d);
        return;
    }
    d->run.held = (struct bind_grants){&d->held, 1};
    if (d->is_job)
        deliver_job(d);
    /* Before the timer, so that the error of one that only works has its place. */
    d->run.run.limits.ns = (uint64_t)(left > 1 ? left : 1) * 900000;
    d->run.until_ns = t->world->mono_ns(t->world) + d->run.run.limits.ns;
    d->run.run.meter = meter;
    d->run.run.push = deliver_push;
    d->run.run.take = deliver_take;
    d->run.run.done = deliver_done;
    if (vm_start(t->set->vm, &d->run.run)) {
        deliver_end(d);
        return;
    }
    d->running = true;
    list_push(&t->deliveries, &d->here);
    d->deadline.fire = deliver_late;
    t->world->timer_start(t->world, &d->deadline, (uint64_t)(left > 1 ? left : 1));
}
