/* A batch on a script thread: the function of its handler runs once, as a coroutine, with the list
 * of bodies. What it wrote is one unit with the settling of all its messages; when it fails each of
 * them is settled by itself, with the error's words.
 *
 * When one of the messages is lost meanwhile, its time over or its consumer, nothing of the batch
 * can be committed: it ends, and the others come again without the use of a try. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bind/work.h"

struct batch {
    struct bind_run run; /* first */
    struct task task;
    struct list here; /* of its thread's */
    struct bind_work *work;
    struct bind_thread *thread;
    struct delivery **items;
    struct bind_grant *held;
    size_t count;
    struct envelope env;
    char id[UUID_TEXT];
    char label[GROUP_NAME_MAX + 160];
    struct world_timer deadline;
    int function;
    bool running;
};

/* ---- the end ---- */

static void batch_free(struct batch *b)
{
    mem_free(b->items);
    mem_free(b->held);
    mem_free(b);
}

static void batch_home(struct task *task)
{
    struct batch *b = LIST_OF(task, struct batch, task);
    struct bind_work *w = b->work;
    w->batches--;
    batch_free(b);
    if (!atomic_load(&w->bind->closing))
        gather_go(w);
}

/* The deliveries go home each by itself, and behind them the batch. */
static void batch_back(struct batch *b)
{
    struct runner *home = bind_work_home(b->work);
    list_remove(&b->here);
    b->running = false;
    atomic_fetch_sub(&b->thread->runs, 1);
    for (size_t i = 0; i < b->count; i++) {
        struct delivery *d = b->items[i];
        d->batch = NULL;
        d->task.run = bind_delivered;
        runner_post(home, &d->task);
    }
    b->task.run = batch_home;
    runner_post(home, &b->task);
}

static void all_end(struct batch *b, enum delivery_end end, enum core_outcome outcome)
{
    for (size_t i = 0; i < b->count; i++) {
        struct delivery *d = b->items[i];
        bind_outcome_fini(&d->how);
        bind_outcome_init(&d->how);
        d->end = end;
        d->how.settle.outcome = outcome;
    }
}

static void batch_failed(struct batch *b)
{
    const struct vm_run *run = &b->run.run;
    const char *code = run->err_code;
    if (run->err.code == ERR_UNAVAILABLE && b->thread->cut) {
        all_end(b, DELIVERY_DONE, SETTLE_RELEASE); /* the node stops, and hands them back */
        return;
    }
    if (run->err.code == ERR_FENCED && !b->run.lost) {
        all_end(b, DELIVERY_SETTLE, SETTLE_RELEASE);
        return;
    }
    all_end(b, DELIVERY_SETTLE, SETTLE_NACK);
    for (size_t i = 0; i < b->count; i++) {
        struct bind_outcome *how = &b->items[i]->how;
        how->settle.code = (uint16_t)err_info(run->err.code)->http_status;
        how->text = mem_printf("%s%s%s", code, *code != '\0' ? ": " : "", run->err.text);
        how->text_len = strlen(how->text);
    }
    log_warn("script", "%s: %s%s%s messages=%zu correlation=%s", b->label, code,
             *code != '\0' ? ": " : "", run->err.text, b->count, b->env.correlation);
}

static void batch_end(struct batch *b)
{
    struct world *w = b->thread->world;
    w->timer_stop(w, &b->deadline);
    bind_claims_over(&b->run);
    bind_note_run(&b->run, b->thread, b->label, b->id, true);
    if (b->run.run.err.code != 0)
        batch_failed(b);
    batch_back(b);
}

static void batch_done(struct vm_run *run)
{
    batch_end((struct batch *)run);
}

static void batch_late(struct world_timer *t)
{
    struct batch *b = LIST_OF(t, struct batch, deadline);
    vm_cancel(&b->run.run, ERR_TIMEOUT, "over its timeout");
}

void batch_cancel(struct batch *b, const char *why)
{
    if (b->running)
        vm_cancel(&b->run.run, ERR_FENCED, why);
}

void bind_batches_cut(struct bind_thread *t, const struct err *e)
{
    LIST_EACH(node, &t->batches)
    vm_cancel(&LIST_OF(node, struct batch, here)->run.run, e->code, e->text);
}

/* ---- the run ---- */

static int batch_push(lua_State *L, struct vm_run *run)
{
    struct batch *b = (struct batch *)run;
    int count = (int)b->count;
    lua_rawgeti(L, LUA_REGISTRYINDEX, b->run.set->handle_batch);
    lua_rawgeti(L, LUA_REGISTRYINDEX, b->function);
    lua_createtable(L, count, 0);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushlstring(L, b->items[i]->body, b->items[i]->body_len);
        lua_rawseti(L, -3, i + 1);
        bind_deliver_push_info(L, b->items[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 3;
}

/* "done", or how all of them end and, in the fourth place, how single ones do. */
static void batch_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct batch *b = (struct batch *)run;
    (void)count;
    lua_settop(L, first + 3);
    luaL_checkstack(L, 8, NULL);
    if (lua_type(L, first) == LUA_TSTRING && strcmp(lua_tostring(L, first), "done") == 0) {
        all_end(b, DELIVERY_DONE, SETTLE_ACK);
        return;
    }
    all_end(b, DELIVERY_SETTLE, SETTLE_ACK);
    for (size_t i = 0; i < b->count; i++) {
        int one = lua_gettop(L) + 1;
        if (lua_istable(L, first + 3) &&
            lua_rawgeti(L, first + 3, (lua_Integer)i + 1) == LUA_TTABLE)
            for (lua_Integer k = 1; k <= 3; k++)
                lua_rawgeti(L, one, k);
        bind_outcome_take(L, lua_istable(L, one) ? one + 1 : first, &b->items[i]->how);
        lua_settop(L, first + 3);
    }
}

/* That of all its messages: a deploy may have come in between. */
static const struct bind_listener *batch_listener(const struct batch *b)
{
    const struct bind_set *s = b->thread->set;
    const struct bind_listener *l = NULL;
    for (size_t i = 0; i < b->count; i++) {
        const struct delivery *d = b->items[i];
        const struct bind_listener *his = bind_listener_find(s, d->grant.queue, d->topic);
        if (his == NULL || his->kind != LISTENS_BATCH || (i > 0 && his != l))
            return NULL;
        l = his;
    }
    return l;
}

static uint64_t batch_left_ms(const struct batch *b)
{
    int64_t least = bind_deliver_left(b->items[0]);
    for (size_t i = 1; i < b->count; i++) {
        int64_t left = bind_deliver_left(b->items[i]);
        least = left < least ? left : least;
    }
    return least > 1 ? (uint64_t)least : 1;
}

static void batch_run(struct task *task)
{
    struct batch *b = LIST_OF(task, struct batch, task);
    struct bind_thread *t = b->thread;
    const struct bind_listener *l = batch_listener(b);
    uint64_t left = batch_left_ms(b);
    bind_run_init(&b->run, t->set, &b->env);
    bind_note_begin(&b->run, t);
    if (l == NULL || t->cut) {
        all_end(b, t->set == NULL || t->cut ? DELIVERY_DONE : DELIVERY_SETTLE, SETTLE_RELEASE);
        batch_back(b);
        return;
    }
    snprintf(b->label, sizeof b->label, "%s", l->label);
    for (size_t i = 0; i < b->count; i++)
        b->items[i]->batch = b;
    b->run.held = (struct bind_grants){b->held, b->count};
    b->function = l->run;
    b->run.run.limits.ns = left * 900000;
    b->run.until_ns = t->world->mono_ns(t->world) + b->run.run.limits.ns;
    b->run.run.meter = l->meter;
    b->run.run.push = batch_push;
    b->run.run.take = batch_take;
    b->run.run.done = batch_done;
    if (vm_start(t->set->vm, &b->run.run)) {
        batch_end(b);
        return;
    }
    b->running = true;
    list_push(&t->batches, &b->here);
    b->deadline.fire = batch_late;
    t->world->timer_start(t->world, &b->deadline, left);
}

/* One message alone is what it would be without a batch; of several each has another cause. */
static void batch_envelope(struct batch *b)
{
    struct delivery *d = b->items[0];
    struct uuid id;
    if (b->count == 1) {
        b->env = d->env;
        memcpy(b->id, d->id, sizeof b->id);
        return;
    }
    b->work->thread->ids.ids.make(&b->work->thread->ids.ids, &id);
    uuid_format(&id, b->id);
    b->env = (struct envelope){.tenant = d->grant.tenant, .correlation = b->id};
}

void batch_start(struct bind_work *w, struct delivery **items, size_t count)
{
    struct batch *b = mem_new(sizeof *b);
    b->work = w;
    b->items = items;
    b->count = count;
    b->held = mem_new_array(count, sizeof *b->held);
    list_init(&b->here);
    batch_envelope(b);
    b->thread = work_least_busy(w->bind);
    for (size_t i = 0; i < count; i++) {
        struct delivery *d = items[i];
        b->held[i] = d->held;
        list_remove(&d->here);
        d->batched = d->away = true;
        d->begun_ns = work_now_ns(w);
        d->thread = b->thread;
    }
    w->batches++;
    b->task.run = batch_run;
    runner_post(b->thread->runner, &b->task);
}
