/* before_save, before_remove and view: whoever writes or reads asks on its thread, the function
 * runs on a script thread, the answer is posted back.
 *
 *     run() --post--> hook_begin -> coroutine ... -> hook_end --post--> call->home          */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bind/bind_priv.h"

struct hook {
    struct bind_run run; /* first */
    struct task task;
    struct bind_thread *thread;
    struct entity_hook_call *call;
    int function;
};

static const char *const event_names[] = {"before_save", "before_remove", "view"};

static int function_of(const struct bind_entity *en, enum entity_event event)
{
    return event == ENTITY_BEFORE_SAVE     ? en->before_save
           : event == ENTITY_BEFORE_REMOVE ? en->before_remove
                                           : en->view;
}

/* The live set's, or during a deploy the one that is about to be. */
static struct bind_set *set_with_hook(struct bind_thread *t, const struct entity_hook_call *c,
                                      const struct bind_entity **out)
{
    struct bind_set *sets[] = {t->set, t->next};
    for (size_t i = 0; i < 2; i++) {
        const struct bind_entity *en = bind_set_entity(sets[i], c->def->name);
        if (en == NULL)
            continue;
        if (function_of(en, c->event) == LUA_NOREF)
            continue;
        *out = en;
        return sets[i];
    }
    return NULL;
}

static int hook_push(lua_State *L, struct vm_run *run)
{
    struct hook *h = (struct hook *)run;
    struct entity_hook_call *c = h->call;
    bool save = c->event == ENTITY_BEFORE_SAVE, view = c->event == ENTITY_VIEW;
    struct bind_set *s = h->run.set;
    lua_rawgeti(L, LUA_REGISTRYINDEX, save ? s->save_hook : view ? s->view_hook : s->remove_hook);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->function);
    lua_pushstring(L, c->def->name);
    if (save || view)
        vm_push_json(L, c->record, VM_PLAIN);
    if (view)
        return 3;
    vm_push_json(L, c->prior, VM_PLAIN);
    return save ? 4 : 3;
}

static void hook_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct hook *h = (struct hook *)run;
    struct entity_hook_call *c = h->call;
    if (c->event == ENTITY_BEFORE_REMOVE || count < 1)
        return;
    json_t *record = NULL;
    struct err e = ERR_INIT;
    if (vm_to_json(L, first, &record, &e) != 0) {
        err_context(&e, "what %s left", event_names[c->event]);
        vm_raise(L, &e);
    }
    json_decref(c->record);
    c->record = record;
}

/* A hook that broke or ran out of budget refuses too: nothing has been proposed, so the outcome is
 * known, and whoever saves learns where the fault is. */
static void hook_broken(struct hook *h)
{
    struct entity_hook_call *c = h->call;
    err_set(&c->err, ERR_REJECTED, "%s of %s failed: %s", event_names[c->event], c->def->name,
            h->run.run.err.text);
    log_warn("script", "%s", c->err.text);
}

/* A code of the script's own ("downgrade") travels as a fault of its own beside `rejected`. */
static void hook_refusal(struct hook *h)
{
    struct vm_run *run = &h->run.run;
    struct entity_hook_call *c = h->call;
    c->err = run->err;
    if (run->err_code[0] != '\0') {
        err_field(&c->err, ERR_REJECTED, run->err.field, "%s: %s", run->err_code, run->err.text);
        c->errors = json_pack("[{s:s, s:s, s:s}]", "field", run->err.field, "code", run->err_code,
                              "detail", run->err.text);
    } else if (run->killed || run->fault || run->err.code == ERR_INTERNAL) {
        hook_broken(h);
    }
}

static void hook_note(const struct hook *h)
{
    const struct entity_hook_call *c = h->call;
    char name[ENTITY_NAME_MAX + 16];
    snprintf(name, sizeof name, "%s.%s", c->def->name, event_names[c->event]);
    bind_note_run(&h->run, h->thread, name, c->id, c->event != ENTITY_VIEW);
}

static void hook_end(struct hook *h)
{
    struct entity_hook_call *c = h->call;
    hook_note(h);
    if (h->run.run.err.code != 0)
        hook_refusal(h);
    atomic_fetch_sub(&h->thread->bind->waiting, 1);
    atomic_fetch_sub(&h->thread->runs, 1);
    mem_free(h);
    runner_post(c->home, &c->task); /* not ours any more */
}

static void hook_done(struct vm_run *run)
{
    hook_end((struct hook *)run);
}

static void hook_begin(struct task *task)
{
    struct hook *h = (struct hook *)((char *)task - offsetof(struct hook, task));
    const struct bind_entity *en = NULL;
    struct bind_set *s = set_with_hook(h->thread, h->call, &en);
    struct entity_hook_call *c = h->call;
    bind_run_init(&h->run, s, c->env);
    bind_note_begin(&h->run, h->thread);
    if (s == NULL) {
        err_set(&h->run.run.err, ERR_UNAVAILABLE,
                "entity '%s' has a hook, but no script that declares it is loaded; deploy its "
                "scripts",
                c->def->name);
        hook_end(h);
        return;
    }
    h->function = function_of(en, c->event);
    h->run.no_writes = "a hook shapes or refuses its own record, and may run again; save several "
                       "records in one tx, where they are saved";
    h->run.run.limits = (struct vm_limits){VM_HOOK_STEPS, (uint64_t)VM_HOOK_MS * 1000000};
    h->run.run.meter = c->event == ENTITY_BEFORE_SAVE     ? en->meter_save
                       : c->event == ENTITY_BEFORE_REMOVE ? en->meter_remove
                                                          : en->meter_view;
    h->run.run.push = hook_push;
    h->run.run.take = hook_take;
    h->run.run.done = hook_done;
    if (vm_start(s->vm, &h->run.run))
        hook_end(h);
}

static int hooks_run(struct entity_hooks *hooks, struct entity_hook_call *call, struct err *e)
{
    struct bind *b = ((struct bind_hooks *)hooks)->bind;
    if (atomic_load(&b->closing))
        return err_set(e, ERR_DRAINING, "this node is stopping");
    if (atomic_fetch_add(&b->waiting, 1) >= BIND_HOOKS_WAITING) {
        atomic_fetch_sub(&b->waiting, 1);
        return err_set(e, ERR_OVERLOADED, "%d hooks wait for a script thread already",
                       BIND_HOOKS_WAITING);
    }
    struct hook *h = mem_new(sizeof *h);
    h->call = call;
    h->thread = bind_thread_for(b, call->home);
    h->task.run = hook_begin;
    atomic_fetch_add(&h->thread->runs, 1);
    runner_post(h->thread->runner, &h->task);
    return 0;
}

void bind_hooks_init(struct bind *b)
{
    b->hooks.bind = b;
    b->hooks.hooks.run = hooks_run;
}
