/* canon("X"):arrive, get, find, why. An arrival with a mode is a message (host.queued), which
 * commits with the unit of whatever runs. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "bind/bind_priv.h"
#include "db/db.h"

enum { BIND_WHY_BYTES = 4 << 20 };

struct arrive {
    struct canon_request r; /* first */
    struct canon_arrival arrival;
    struct vm_run *run;
    struct envelope env;
    json_t *options;
};

static void arrive_free(void *p)
{
    struct arrive *op = p;
    canon_request_fini(&op->r);
    json_decref(op->options);
    mem_free(op);
}

static void arrive_done(struct canon_request *r)
{
    vm_resume(((struct arrive *)r)->run);
}

static const char *const outcome_names[] = {"canonized", "noop", "parked", "failed"};

static void set_text(lua_State *L, const char *key, const char *text)
{
    if (text == NULL || *text == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

/* Of a model (argument 1) that there is none of. */
static int refuse(lua_State *L, const struct err *e)
{
    if (e->code != ERR_NOT_FOUND)
        return vm_raise(L, e);
    struct canon_model *m = canon_find(bind_set_of(L)->thread->bind->canon, lua_tostring(L, 1));
    bool known = m != NULL;
    canon_model_unref(m);
    return known ? vm_raise(L, e) : vm_raise_fault(L, e);
}

static int arrive_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct arrive *op = (struct arrive *)ctx;
    struct canon_arrival *a = &op->arrival;
    if (op->r.err.code != 0)
        return refuse(L, &op->r.err);
    lua_createtable(L, 0, 8);
    set_text(L, "outcome", outcome_names[a->outcome]);
    set_text(L, "id", a->golden_id);
    set_text(L, "arrival_id", a->arrival_id);
    set_text(L, "reason", a->reason);
    set_text(L, "detail", a->err.text);
    if (a->version != 0) {
        lua_pushinteger(L, (lua_Integer)a->version);
        lua_setfield(L, -2, "version");
    }
    lua_pushinteger(L, a->merged);
    lua_setfield(L, -2, "merged");
    if (a->changes != NULL) {
        vm_push_json(L, a->changes, VM_NULLS);
        lua_setfield(L, -2, "changes");
    }
    return 1;
}

static void read_options(lua_State *L, struct arrive *op)
{
    static const char *const names[] = {"origin", "source_id",         "observed_at",
                                        "tags",   "skip_distribution", "mode"};
    struct err e = ERR_INIT;
    struct canon_arrival *a = &op->arrival;
    const char *when = NULL;
    if (json_only_keys(op->options, "arrive", names, ARRAY_LEN(names), &e) != 0)
        vm_raise(L, &e);
    if (json_get_string(op->options, "origin", &a->origin, &e) == ERR_INVALID ||
        json_get_string(op->options, "source_id", &a->source_id, &e) == ERR_INVALID ||
        json_get_string(op->options, "observed_at", &when, &e) == ERR_INVALID ||
        json_get_bool(op->options, "skip_distribution", &op->r.skip_distribution, &e) ==
            ERR_INVALID)
        vm_raise(L, &e);
    if (a->origin == NULL)
        a->origin = "direct";
    if (when != NULL && !time_parse(when, strlen(when), &a->observed_at)) {
        err_field(&e, ERR_INVALID, "observed_at",
                  "observed_at is a time like \"2026-11-22T10:00:00Z\", not '%.40s'", when);
        vm_raise(L, &e);
    }
    json_t *tags = json_object_get(op->options, "tags");
    if (json_is_object(tags))
        a->tags = json_incref(tags);
}

/* host.arrive(model, data, options) -> outcome; waits */
static int host_arrive(lua_State *L)
{
    const char *model = luaL_checkstring(L, 1);
    vm_may_await(L, "arrive");
    struct bind *b = bind_set_of(L)->thread->bind;
    struct canon_engine *engine = bind_engine(b, model);
    struct err e = ERR_INIT;
    if (engine == NULL) {
        err_set(&e, ERR_UNSUPPORTED, "canon is not running");
        return vm_raise(L, &e);
    }
    const char *stage_of = bind_run_of(L)->stage_of;
    if (stage_of != NULL && strcmp(stage_of, model) == 0) {
        err_set(&e, ERR_INVALID,
                "arrive: a stage of canon '%s' cannot wait for another arrival of '%s'", model,
                model);
        return vm_raise(L, &e);
    }
    struct vm_guard *g = vm_guard_push(L, arrive_free);
    struct arrive *op = mem_new(sizeof *op);
    g->p = op;
    op->run = vm_run_of(L);
    op->env = *bind_env(L);
    op->arrival.observed_at = INT64_MIN;
    bind_check_json(L, 2, "arrive");
    op->arrival.data = bind_take(L, -1);
    bind_check_json(L, 3, "arrive");
    op->options = bind_take(L, -1);
    if (op->options == NULL)
        op->options = json_object();
    op->r = (struct canon_request){.home = bind_set_of(L)->thread->runner,
                                   .env = &op->env,
                                   .arrivals = &op->arrival,
                                   .count = 1,
                                   .done = arrive_done};
    read_options(L, op);
    if (!json_is_object(op->arrival.data)) {
        err_set(&e, ERR_INVALID, "arrive: what a source says is a table with names");
        return vm_raise(L, &e);
    }
    if (canon_arrive(engine, model, &op->r, &e) != 0)
        return refuse(L, &e);
    return vm_await(L, (intptr_t)op, arrive_k);
}

struct queued {
    struct arrive op; /* first: what arrive_free() gets */
    struct buf text;
};

static void queued_free(void *p)
{
    struct queued *q = p;
    json_decref(q->op.arrival.data);
    json_decref(q->op.arrival.tags);
    json_decref(q->op.options);
    buf_fini(&q->text);
    mem_free(q);
}

static int queued_read(struct bind_thread *t, const char *model, struct queued *q, struct err *e)
{
    const struct canon_arrival *a = &q->op.arrival;
    if (!json_is_object(a->data))
        return err_set(e, ERR_INVALID, "arrive: what a source says is a table with names");
    struct canon_model *m = canon_find(t->bind->canon, model);
    if (m == NULL)
        return canon_unknown(t->bind->canon, model, e);
    int rc = canon_arrival_check(m, a, e);
    canon_model_unref(m);
    return rc != 0 ? rc
                   : canon_queued_print(a, t->world->wall_ms(t->world), q->op.r.skip_distribution,
                                        &q->text, e);
}

/* host.queued(model, data, options, staged) -> queue, body, lane, key: the message of an arrival
 * that is worked later */
static int host_queued(lua_State *L)
{
    const char *model = luaL_checkstring(L, 1);
    char queue[CANON_QUEUE_NAME_MAX], key[CANON_QUEUE_KEY_MAX];
    struct bind_thread *t = bind_set_of(L)->thread;
    struct err e = ERR_INIT;
    vm_may_await(L, "arrive");
    if (t->bind->canon == NULL) {
        err_set(&e, ERR_UNSUPPORTED, "canon is not running");
        return vm_raise(L, &e);
    }
    struct vm_guard *g = vm_guard_push(L, queued_free);
    struct queued *q = mem_new(sizeof *q);
    buf_init(&q->text, CANON_QUEUE_BODY_MAX);
    g->p = q;
    q->op.arrival.observed_at = INT64_MIN;
    bind_check_json(L, 2, "arrive");
    q->op.arrival.data = bind_take(L, -1);
    bind_check_json(L, 3, "arrive");
    q->op.options = bind_take(L, -1);
    read_options(L, &q->op);
    if (queued_read(t, model, q, &e) != 0)
        return refuse(L, &e);
    canon_queue_name(model, lua_toboolean(L, 4), queue);
    lua_pushstring(L, queue);
    lua_pushlstring(L, q->text.data, q->text.len);
    lua_pushstring(L, CANON_LANE);
    lua_pushstring(L, canon_queue_key(&q->op.arrival, key)); /* or nil */
    return 4;
}

static struct bind_thread *canon_thread(lua_State *L)
{
    struct bind_thread *t = bind_set_of(L)->thread;
    if (vm_is_loading(vm_of(L)) || t->bind->canon == NULL) {
        struct err e;
        err_set(&e, ERR_INVALID, "canon records are read in a hook or handler, not while loading");
        vm_raise(L, &e);
    }
    return t;
}

/* host.survivor(model, id) -> the live id, or nil */
static int host_survivor(lua_State *L)
{
    char id[ENTITY_ID_MAX + 1];
    struct err e = ERR_INIT;
    struct bind_thread *t = canon_thread(L);
    int rc = canon_survivor(t->reader, luaL_checkstring(L, 1), bind_tenant(L),
                            luaL_checkstring(L, 2), id, &e);
    if (rc == ERR_NOT_FOUND || rc == ERR_GONE)
        return lua_pushnil(L), 1;
    if (rc != 0)
        return vm_raise(L, &e);
    lua_pushstring(L, id);
    return 1;
}

/* host.find(model, fields) -> the id of the golden record that owns one of their keys, or nil */
static int host_find(lua_State *L)
{
    char id[ENTITY_ID_MAX + 1];
    struct err e = ERR_INIT;
    struct bind_thread *t = canon_thread(L);
    json_t *says = bind_check_json(L, 2, "find"); /* a guard holds it */
    int rc = canon_find_key(t->bind->canon, t->reader, &t->stages.hooks, luaL_checkstring(L, 1),
                            bind_tenant(L), says, id, &e);
    if (rc == ERR_NOT_FOUND && e.code == 0)
        return lua_pushnil(L), 1;
    if (rc != 0)
        return vm_raise(L, &e);
    lua_pushstring(L, id);
    return 1;
}

struct why {
    struct buf text;
    struct canon_model *model;
    json_t *value;
};

static void why_free(void *p)
{
    struct why *w = p;
    buf_fini(&w->text);
    if (w->model != NULL)
        canon_model_unref(w->model);
    json_decref(w->value);
    mem_free(w);
}

/* host.why(model, id, with) */
static int host_why(lua_State *L)
{
    struct bind_thread *t = canon_thread(L);
    const char *name = luaL_checkstring(L, 1), *id = luaL_checkstring(L, 2);
    struct err e = ERR_INIT;
    struct vm_guard *g = vm_guard_push(L, why_free);
    struct why *w = mem_new(sizeof *w);
    g->p = w;
    buf_init(&w->text, BIND_WHY_BYTES);
    w->model = canon_find(t->bind->canon, name);
    if (w->model == NULL) {
        err_set(&e, ERR_NOT_FOUND, "there is no canon '%s'", name);
        return vm_raise_fault(L, &e);
    }
    if (canon_why(t->reader, w->model, bind_tenant(L), id, luaL_optstring(L, 3, NULL), &w->text,
                  &e) != 0)
        return vm_raise(L, &e);
    w->value = json_read(buf_str(&w->text), w->text.len, &e);
    if (w->value == NULL)
        return vm_raise(L, &e);
    vm_push_json(L, w->value, VM_PLAIN);
    return 1;
}

/* host.asking(yes): what a stage asks outside from here on is kept */
static int host_asking(lua_State *L)
{
    bind_run_of(L)->asking = lua_toboolean(L, 1);
    return 0;
}

void bind_open_canon(lua_State *L)
{
    static const luaL_Reg fns[] = {{"arrive", host_arrive},
                                   {"survivor", host_survivor},
                                   {"find", host_find},
                                   {"why", host_why},
                                   {"asking", host_asking},
                                   {"queued", host_queued},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
