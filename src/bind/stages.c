/* Canon's stage functions and normalisers: called by the engine on this very thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind_priv.h"

struct stage {
    struct bind_run run; /* first */
    struct canon_stage_call *call;
    struct envelope env;
    int function;
    json_t *before; /* what the function was given, while its answer is taken */
};

static const struct bind_canon *find_canon(struct bind_thread *t, const char *model,
                                           struct bind_set **set)
{
    *set = t->set;
    const struct bind_canon *c = bind_set_canon(t->set, model);
    if (c != NULL)
        return c;
    *set = t->next; /* a deploy has committed the model and is about to switch */
    return bind_set_canon(t->next, model);
}

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_json(lua_State *L, const char *name, const json_t *v, enum vm_json how)
{
    if (v == NULL)
        return;
    vm_push_json(L, v, how);
    lua_setfield(L, -2, name);
}

static void push_ctx(lua_State *L, const struct stage *s)
{
    const struct canon_stage_call *c = s->call;
    const struct envelope *env = s->run.env;
    lua_createtable(L, 0, 8); /* as many as it may get */
    set_text(L, "origin", c->origin);
    set_text(L, "source_id", c->source_id);
    set_text(L, "tenant", env->tenant != NULL ? env->tenant : "default");
    set_text(L, "principal", env->principal != NULL ? env->principal : "system");
    set_json(L, "tags", c->tags, VM_PLAIN);
    set_json(L, "views", c->views, VM_PLAIN);
    set_json(L, "memos", c->memo, VM_NULLS);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->run.set->stage_ctx);
    lua_setmetatable(L, -2);
}

/* ---- the table of the arrival ----
 *
 * Between intake and validate the document is checked, and mostly stays as it is: then validate
 * gets the table that intake left, where it would get another one of the same content. Only a flat
 * one without nulls: inside of others, or as json.null, more could be told apart. */

static const char kept_key; /* its address finds the table in the registry */

static bool is_flat(const json_t *v)
{
    for (void *it = json_object_iter((json_t *)v); it != NULL;
         it = json_object_iter_next((json_t *)v, it)) {
        const json_t *item = json_object_iter_value(it);
        if (json_is_object(item) || json_is_array(item) || json_is_null(item))
            return false;
    }
    return true;
}

static void keep_table(lua_State *L, struct stage *s, int at)
{
    struct bind_stages *b = &s->run.set->thread->stages;
    s->call->kept = 0;
    if (!json_is_object(s->call->data) || !is_flat(s->call->data))
        return;
    if (lua_getmetatable(L, at)) {
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, at);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
    b->kept = ++b->kept_count * BIND_THREADS_MAX + (uint64_t)s->run.set->thread->index;
    b->kept_set = s->run.set;
    s->call->kept = b->kept;
}

static void push_data(lua_State *L, struct stage *s)
{
    struct bind_stages *b = &s->run.set->thread->stages;
    struct canon_stage_call *c = s->call;
    bool kept = c->stage == CANON_VALIDATE && c->kept != 0 && c->kept == b->kept &&
                b->kept_set == s->run.set;
    c->kept = 0;
    if (c->data == NULL) {
        vm_push_printed(L, c->text, c->text_len);
        return;
    }
    if (!kept) {
        vm_push_json(L, c->data, VM_PLAIN);
        if (c->stage == CANON_PROJECT) {
            lua_pushstring(L, c->id);
            lua_setfield(L, -2, "id");
        }
        return;
    }
    b->kept = 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kept_key);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kept_key);
}

static int stage_push(lua_State *L, struct vm_run *run)
{
    struct stage *s = (struct stage *)run;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->run.set->stage);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->function);
    push_data(L, s);
    push_ctx(L, s);
    return 3;
}

static void take_json(lua_State *L, int at, json_t **into, const char *what)
{
    if (lua_isnoneornil(L, at))
        return;
    json_t *v = NULL;
    struct err e = ERR_INIT;
    if (vm_to_json(L, at, &v, &e) != 0) {
        err_context(&e, "%s", what);
        vm_raise(L, &e);
    }
    json_decref(*into);
    *into = v;
}

static enum canon_verdict verdict_of(const char *word)
{
    if (word == NULL)
        return CANON_GO_ON;
    return strcmp(word, "park") == 0     ? CANON_PARK
           : strcmp(word, "reject") == 0 ? CANON_REJECT
                                         : CANON_DROP;
}

/* A field that was stated as null and was left alone stays so: "known to have none" is not the same
 * as saying nothing. Not at intake, where the names may be the source's own. */
static void keep_nulls(const json_t *before, json_t *after)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)before, key, v)
    {
        if (json_is_null(v) && json_object_get(after, key) == NULL)
            json_object_set_new(after, key, json_null());
    }
}

/* Mostly validate leaves it alone, and there is nothing to take. */
static void take_data(lua_State *L, struct stage *s, int at)
{
    struct canon_stage_call *c = s->call;
    bool nulls;
    c->left = c->data != NULL && vm_json_is(L, at, c->data, &nulls) &&
              (!nulls || c->stage == CANON_VALIDATE);
    if (c->left)
        return;
    if (c->stage == CANON_VALIDATE)
        s->before = json_incref(c->data);
    take_json(L, at, &c->data, "what the stage left");
    if (s->before != NULL)
        keep_nulls(s->before, c->data);
}

/* Called results are kept with the arrival: they must not become more than it. */
static void check_memo(lua_State *L, const json_t *memo)
{
    if (memo == NULL)
        return;
    AUTO(buf_fini) struct buf text = BUF_INIT(CANON_MEMO_BYTES);
    struct err e = ERR_INIT;
    bool fits = json_print(memo, &text, &e) == 0 && json_object_size(memo) <= CANON_MEMO_MAX;
    if (fits)
        return;
    buf_fini(&text);
    err_set(&e, ERR_TOO_LARGE, "ctx:memo keeps at most %d results and %d KiB with an arrival",
            CANON_MEMO_MAX, CANON_MEMO_BYTES >> 10);
    vm_raise(L, &e);
}

/* data, verdict, reason, evidence, tags, views, memo */
static void stage_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct stage *s = (struct stage *)run;
    struct canon_stage_call *c = s->call;
    ASSERT(count == 7);
    if (c->stage != CANON_PROJECT) /* it looks at the golden record; what counts are its views */
        take_data(L, s, first);
    if (c->stage == CANON_INTAKE)
        keep_table(L, s, first);
    c->verdict = verdict_of(lua_tostring(L, first + 1));
    const char *reason = lua_tostring(L, first + 2);
    snprintf(c->reason, sizeof c->reason, "%s", reason != NULL ? reason : "");
    take_json(L, first + 3, &c->evidence, "evidence");
    take_json(L, first + 4, &c->tags, "tags");
    take_json(L, first + 5, &c->views, "views");
    take_json(L, first + 6, &c->memo, "memo");
    check_memo(L, c->memo);
}

static void stage_end(struct stage *s)
{
    static const char *const names[] = {"intake", "validate", "project"};
    json_decref(s->before);
    struct vm_run *run = &s->run.run;
    struct canon_stage_call *c = s->call;
    if (bind_note_wants(&s->run, false)) {
        char name[ENTITY_NAME_MAX + 16];
        snprintf(name, sizeof name, "%s.%s", c->model, names[c->stage]);
        bind_note_run(&s->run, s->run.set->thread, name, c->source_id, false);
    }
    if (run->err.code == 0)
        return;
    if (run->err_code[0] != '\0') { /* error { code = .. } of the script: as ctx:reject */
        c->verdict = CANON_REJECT;
        snprintf(c->reason, sizeof c->reason, "%s", run->err_code);
    }
    c->err = run->err;
}

static void stage_done(struct vm_run *run)
{
    struct stage *s = (struct stage *)run;
    struct canon_stage_call *c = s->call;
    stage_end(s);
    atomic_fetch_sub(&s->run.set->thread->runs, 1);
    mem_free(s);
    c->done(c);
}

static int stages_run(struct canon_hooks *hooks, struct canon_stage_call *call)
{
    struct bind_thread *t = ((struct bind_stages *)hooks)->thread;
    struct bind_set *set;
    const struct bind_canon *c = find_canon(t, call->model, &set);
    call->verdict = CANON_GO_ON;
    if (c == NULL || c->stage[call->stage] == LUA_NOREF) {
        err_set(&call->err, ERR_UNAVAILABLE,
                "canon '%s' has stages, but no script that declares it is loaded; deploy its "
                "scripts",
                call->model);
        return 1;
    }
    struct stage *s = mem_new(sizeof *s);
    s->call = call;
    s->env.tenant = call->tenant;
    if (call->env != NULL) {
        s->env.correlation = call->env->correlation;
        s->env.causation = call->env->causation;
        s->env.traceparent = call->env->traceparent;
    }
    s->function = c->stage[call->stage];
    bind_run_init(&s->run, set, &s->env);
    bind_note_begin(&s->run, t);
    s->run.stage_of = call->model;
    s->run.no_writes =
        "a stage of canon says what its arrival means, and may run again; save other "
        "records from a route or a script";
    s->run.no_outside =
        "in a stage of canon only inside ctx:memo(name, function() ... end), which keeps the "
        "answer "
        "with the arrival: a stage may run again, and the answer may be another by then";
    s->run.run.limits = (struct vm_limits){VM_HOOK_STEPS, (uint64_t)VM_HOOK_MS * 1000000};
    s->run.run.meter = c->meter[call->stage];
    s->run.run.push = stage_push;
    s->run.run.take = stage_take;
    s->run.run.done = stage_done;
    if (!vm_start(set->vm, &s->run.run)) {
        atomic_fetch_add(&t->runs, 1);
        return 0;
    }
    stage_end(s);
    mem_free(s);
    return 1;
}

/* ---- normalisers ---- */

struct norm {
    struct bind_run run; /* first */
    const struct bind_canon *canon;
    struct canon_norms *walk;
};

static void norm_take(lua_State *L, struct canon_norms *walk)
{
    if (lua_isnil(L, -1) || vm_is_null(L, -1))
        return;
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "a normaliser answers a text, a number or nil, not a %s",
                   luaL_typename(L, -1));
    size_t len;
    const char *s = lua_tolstring(L, -1, &len);
    walk->took(walk, s, len);
}

/* One after the other inside one run: to set up a run costs more than most of them do. */
static int norms_work(lua_State *L)
{
    struct norm *n = lua_touserdata(L, 1);
    int function;
    const json_t *value;
    while (n->walk->next(n->walk, &function, &value)) {
        if (function < 1 || function > n->canon->norms)
            return luaL_error(L, "there is no normaliser %d", function);
        lua_rawgeti(L, LUA_REGISTRYINDEX, n->canon->norm[function - 1]);
        vm_push_json(L, value, VM_PLAIN);
        lua_call(L, 1, 1);
        norm_take(L, n->walk);
        lua_settop(L, 1);
    }
    return 0;
}

static int norms_push(lua_State *L, struct vm_run *run)
{
    lua_pushcfunction(L, norms_work);
    lua_pushlightuserdata(L, run);
    return 1;
}

static int stages_normalise(struct canon_hooks *hooks, const char *model, struct canon_norms *walk,
                            struct err *e)
{
    struct bind_set *set;
    const struct bind_canon *c = find_canon(((struct bind_stages *)hooks)->thread, model, &set);
    if (c == NULL || c->norms == 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "canon '%s' has normalisers, but no script that declares them is loaded; "
                       "deploy its scripts",
                       model);
    struct norm n = {.canon = c, .walk = walk};
    uint64_t count = (uint64_t)c->norms; /* each has the budget of a hook */
    bind_run_init(&n.run, set, NULL);
    n.run.run.limits =
        (struct vm_limits){count * VM_HOOK_STEPS, count * (uint64_t)VM_HOOK_MS * 1000000};
    n.run.run.meter = c->meter_norm;
    n.run.run.whole = true;
    n.run.run.push = norms_push;
    bool ended = vm_start(set->vm, &n.run.run);
    ASSERT(ended);
    if (n.run.run.err.code == 0)
        return 0;
    return err_set(e, n.run.run.err.code, "normaliser: %s", n.run.run.err.text);
}

void bind_stages_init(struct bind_thread *t)
{
    t->stages.thread = t;
    t->stages.hooks.run = stages_run;
    t->stages.hooks.normalise = stages_normalise;
}
