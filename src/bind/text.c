/* One text as a script of its own: `koan run`. It sees what the deployed set sees; without a set it
 * sees the library alone. */
#include <string.h>

#include "base/mem.h"
#include "bind/bind_priv.h"

struct text_run {
    struct bind_run run; /* first */
    struct list node;
    struct envelope env;
    struct bind_thread *thread;
    struct bind_set *own; /* made for this run, where none is deployed */
};

static int text_push(lua_State *L, struct vm_run *run)
{
    struct bind_text *t = ((struct text_run *)run)->run.text;
    const struct bind_set *set = ((struct text_run *)run)->run.set;
    struct vm_source s = {.name = t->name, .text = t->text, .len = t->len};
    switch (t->kind) {
    case BIND_TEXT_SCRIPT:
        vm_push_source(L, &s);
        break;
    case BIND_TEXT_TEST:
        lua_rawgeti(L, LUA_REGISTRYINDEX, set->test_file);
        vm_push_source(L, &s);
        lua_pushinteger(L, t->test_index);
        return 2;
    case BIND_TEXT_HOOKED:
        lua_rawgeti(L, LUA_REGISTRYINDEX, set->hooked);
        break;
    case BIND_TEXT_DRY:
        lua_rawgeti(L, LUA_REGISTRYINDEX, set->dry_saves);
        break;
    }
    int n = (int)json_array_size(t->args);
    luaL_checkstack(L, n + 4, "too many arguments");
    for (int i = 0; i < n; i++)
        vm_push_json(L, json_array_get(t->args, (size_t)i), VM_PLAIN);
    return n;
}

static void text_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct bind_text *t = ((struct text_run *)run)->run.text;
    struct err e = ERR_INIT;
    if (count > 0 && !lua_isnil(L, first) && vm_to_json(L, first, &t->result, &e) != 0) {
        err_context(&e, "what the script returns");
        vm_raise(L, &e);
    }
}

static void text_home(struct task *task)
{
    struct bind_text *t = (struct bind_text *)((char *)task - offsetof(struct bind_text, task));
    json_decref(TAKE(t->args));
    t->done(t);
}

static void text_end(struct text_run *r)
{
    struct bind_text *t = r->run.text;
    bind_claims_over(&r->run);
    bind_note_run(&r->run, r->thread, t->name != NULL ? t->name : "run", NULL, true);
    t->err = r->run.run.err;
    if (r->run.run.err_code[0] != '\0')
        err_context(&t->err, "%s", r->run.run.err_code);
    list_remove(&r->node);
    bind_set_drop(r->own);
    atomic_fetch_sub(&r->thread->runs, 1);
    mem_free(r);
    t->task.run = text_home;
    runner_post(t->home, &t->task);
}

static void text_done(struct vm_run *run)
{
    text_end((struct text_run *)run);
}

static void text_begin(struct task *task)
{
    struct bind_text *t = (struct bind_text *)((char *)task - offsetof(struct bind_text, task));
    struct text_run *r = t->impl;
    struct bind_set *s = r->thread->set;
    struct err e = ERR_INIT;
    r->env.tenant = t->tenant;
    r->env.principal = t->principal;
    r->env.correlation = t->correlation;
    r->env.traceparent = t->traceparent;
    if (s == NULL && bind_set_new(r->thread, NULL, 0, &r->own, &e) == 0)
        s = r->own;
    bind_run_init(&r->run, s, &r->env);
    bind_note_begin(&r->run, r->thread);
    r->run.text = t;
    list_push(&r->thread->texts, &r->node);
    if (s == NULL) {
        r->run.run.err = e;
        text_end(r);
        return;
    }
    if (t->kind == BIND_TEXT_SCRIPT)
        r->run.run.meter = r->thread->bind->run_meter;
    r->run.run.limits.ns = (uint64_t)t->limit_ms * 1000000;
    r->run.run.push = text_push;
    r->run.run.take = text_take;
    r->run.run.done = text_done;
    if (vm_start(s->vm, &r->run.run))
        text_end(r);
}

void bind_texts_cancel(struct bind_thread *t)
{
    LIST_EACH(node, &t->texts)
    {
        struct text_run *r = LIST_OF(node, struct text_run, node);
        vm_cancel(&r->run.run, ERR_CANCELED, "this node is stopping");
    }
}

void bind_run_text(struct bind *b, struct bind_text *t)
{
    struct text_run *r = mem_new(sizeof *r);
    r->thread = &b->threads[atomic_fetch_add(&b->turn, 1) % (unsigned)b->threads_count];
    t->err = (struct err)ERR_INIT;
    t->result = NULL;
    t->impl = r;
    t->task.run = text_begin;
    atomic_fetch_add(&r->thread->runs, 1);
    runner_post(r->thread->runner, &t->task);
}

static void texts_cancel_task(struct task *task)
{
    struct bind_thread *t =
        (struct bind_thread *)((char *)task - offsetof(struct bind_thread, cancel));
    atomic_store(&t->cancelling, false);
    bind_texts_cancel(t);
}

void bind_cancel_texts(struct bind *b)
{
    for (int i = 0; i < b->threads_count; i++) {
        struct bind_thread *t = &b->threads[i];
        if (atomic_exchange(&t->cancelling, true))
            continue;
        t->cancel.run = texts_cancel_task;
        runner_post(t->runner, &t->cancel);
    }
}
