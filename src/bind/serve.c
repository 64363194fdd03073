/* Requests to routes of scripts: posted to a script thread, run there as a coroutine, the answer
 * posted back. Posts of one turn share one wake-up, both ways.
 *
 *     bind_serve --post--> call_begin -> coroutine ... -> call_end --post--> call_home -> answer
 *
 * The call lies in the request's arena: both stay until the answer. The request itself is read from
 * the script thread, since nobody changes it meanwhile. */
#include <ctype.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/route_priv.h"

struct call {
    struct bind_run run; /* first */
    struct list node;    /* thread->calls, or alone */
    struct task task;
    struct bind_thread *thread;
    struct runner *home;
    struct http_request *req;
    const struct bind_route *route;
    int function;
    struct envelope env;
    struct world_timer deadline;
    struct bind_answer answer;
};

/* ---- the request as a table ---- */

static void set_text(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void push_params(lua_State *L, const struct http_request *req)
{
    struct str name;
    const char *value;
    lua_newtable(L);
    for (size_t i = 0; http_param_at(req, i, &name, &value); i++) {
        lua_pushlstring(L, name.p, name.n);
        lua_pushstring(L, value);
        lua_rawset(L, -3);
    }
}

/* Of a name that comes several times the first, as everywhere in the API. */
static void push_query(lua_State *L, const struct http_request *req)
{
    size_t count;
    const struct http_pair *all = http_query_all(req, &count);
    lua_createtable(L, 0, (int)count);
    for (size_t i = count; i-- > 0;)
        set_text(L, all[i].name, all[i].value);
}

static const char *push_lower(lua_State *L, const char *name)
{
    char text[128];
    size_t n = 0;
    for (; name[n] != '\0' && n < sizeof text; n++)
        text[n] = (char)tolower((unsigned char)name[n]);
    return lua_pushlstring(L, text, n);
}

/* Names in lower case; what comes several times is one text, as HTTP has it. */
static void push_headers(lua_State *L, const struct http_request *req)
{
    const char *name, *value;
    lua_newtable(L);
    for (size_t i = 0; http_header_at(req, i, &name, &value); i++) {
        const char *between = strcmp(push_lower(L, name), "cookie") == 0 ? "; " : ", ";
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushstring(L, value);
        } else {
            lua_pushstring(L, between);
            lua_pushstring(L, value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static int call_push(lua_State *L, struct vm_run *run)
{
    struct call *c = (struct call *)run;
    const struct http_request *req = c->req;
    struct str body = http_body(req);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->run.set->serve);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->function);
    lua_createtable(L, 0, 8);
    set_text(L, "method", http_verb_name(http_verb(req)));
    set_text(L, "path", http_path(req));
    push_params(L, req);
    lua_setfield(L, -2, "params");
    push_query(L, req);
    lua_setfield(L, -2, "query");
    push_headers(L, req);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, body.p, body.n);
    lua_setfield(L, -2, "body");
    return 2;
}

static void call_take(lua_State *L, struct vm_run *run, int first, int count)
{
    (void)count;
    bind_answer_take(L, first, &((struct call *)run)->answer);
}

/* ---- the answer, on the net thread ---- */

/* A code of the script's own ("downgrade") is a fault of its own beside `rejected`. */
static void answer_refusal(struct http_request *req, const struct err *e, const char *code)
{
    AUTO(json_unref)
    json_t *one =
        json_pack("[{s:s, s:s, s:s}]", "field", e->field, "code", code, "detail", e->text);
    struct err shown;
    err_set(&shown, ERR_REJECTED, "%s: %s", code, e->text);
    struct buf more = BUF_INIT(4 * ERR_TEXT_MAX + 1024);
    buf_adds(&more, "\"errors\":");
    json_print(one, &more, NULL);
    http_problem_more(req, &shown, buf_str(&more));
    buf_fini(&more);
}

/* Whoever asks has no use for the place in the script; its author looks into the log. */
static void answer_failure(struct http_request *req, const struct call *c)
{
    struct err shown = c->run.run.err;
    const char *place = strstr(shown.text, ".lua:"), *words = strstr(shown.text, ": ");
    if (err_info(shown.code)->http_status != 500 && place != NULL && isdigit(place[5]) &&
        words > place) {
        log_debug("script", "%s: %s correlation=%s", c->route->name, shown.text,
                  c->env.correlation);
        memmove(shown.text, words + 2, strlen(words + 2) + 1);
    }
    http_problem(req, &shown);
}

static void call_home(struct task *task)
{
    struct call *c = LIST_OF(task, struct call, task);
    struct http_request *req = c->req;
    struct vm_run *run = &c->run.run;
    if (run->err.code == 0) {
        bind_answer_send(&c->answer, req);
        return;
    }
    bind_answer_fini(&c->answer);
    if (run->err_code[0] != '\0')
        answer_refusal(req, &run->err, run->err_code);
    else
        answer_failure(req, c);
}

/* ---- on the script thread ---- */

static void call_end(struct call *c)
{
    struct vm_run *run = &c->run.run;
    struct world *w = c->thread->world;
    w->timer_stop(w, &c->deadline);
    list_remove(&c->node);
    bind_claims_over(&c->run);
    if (strcmp(run->err_code, BIND_LEASE_LOST) == 0) { /* that somebody else has it now */
        run->err.code = ERR_FENCED;
        run->err_code[0] = '\0';
    }
    if (run->fault) { /* of no use to whoever asks, and nothing that they could mend */
        run->err.code = ERR_INTERNAL;
        run->err.field[0] = run->err_code[0] = '\0';
    }
    if (run->killed && !run->starved)
        log_warn("script", "%s: %s correlation=%s", c->route->name, run->err.text,
                 c->env.correlation);
    if (run->starved) /* the client has sent nothing that is too large */
        run->err.code = ERR_INTERNAL;
    atomic_fetch_sub(&c->thread->runs, 1);
    c->task.run = call_home;
    runner_post(c->home, &c->task); /* not ours any more */
}

static void call_done(struct vm_run *run)
{
    call_end((struct call *)run);
}

static void call_late(struct world_timer *t)
{
    struct call *c = LIST_OF(t, struct call, deadline);
    char why[64];
    snprintf(why, sizeof why, "over its time of %u ms", c->route->timeout_ms);
    vm_cancel(&c->run.run, ERR_TIMEOUT, why);
}

void bind_calls_cut(struct bind_thread *t, const struct err *e)
{
    LIST_EACH(node, &t->calls)
    vm_cancel(&LIST_OF(node, struct call, node)->run.run, e->code, e->text);
}

/* The same route in the set of this thread. It was looked up in another one, if a deploy came in
 * between; then who may ask must be what was checked. */
static int call_find(struct bind_set *s, const struct bind_route *wanted, size_t *at, struct err *e)
{
    const struct bind_routes *t = s != NULL ? s->routes : NULL;
    if (t != NULL && strcmp(s->hash, wanted->table->hash) == 0) {
        *at = wanted->index;
        return 0;
    }
    for (size_t i = 0; t != NULL && i < t->count; i++) {
        if (strcmp(t->list[i]->name, wanted->name) != 0)
            continue;
        *at = i;
        return bind_route_is_public(t->list[i]) == bind_route_is_public(wanted)
                   ? 0
                   : err_set(e, ERR_UNAVAILABLE, "the scripts are being replaced; ask again");
    }
    return err_set(e, ERR_NOT_FOUND, "the route '%s' went away with a deploy", wanted->name);
}

static void call_begin(struct task *task)
{
    struct call *c = LIST_OF(task, struct call, task);
    struct bind_set *s = c->thread->set;
    struct world *w = c->thread->world;
    size_t at = 0;
    bind_run_init(&c->run, s, &c->env);
    list_init(&c->node);
    if (bind_is_cut(c->thread, &c->run.run.err) ||
        call_find(s, c->route, &at, &c->run.run.err) != 0) {
        call_end(c);
        return;
    }
    c->function = s->route_run[at];
    c->run.run.limits.ns = (uint64_t)c->route->timeout_ms * 1000000;
    c->run.until_ns = w->mono_ns(w) + c->run.run.limits.ns;
    c->run.run.meter = s->route_meter[at];
    c->run.run.push = call_push;
    c->run.run.take = call_take;
    c->run.run.done = call_done;
    if (vm_start(s->vm, &c->run.run)) {
        call_end(c);
        return;
    }
    list_push(&c->thread->calls, &c->node);
    c->deadline.fire = call_late;
    w->timer_start(w, &c->deadline, c->route->timeout_ms);
}

/* ---- on the thread that asks ---- */

/* Loops are numbered as they come: two of them do not share a thread while another has none. */
static size_t call_home_at(struct bind *b, struct runner *home)
{
    size_t i = 0;
    for (; i < BIND_THREADS_MAX - 1; i++) {
        struct runner *seen = atomic_load(&b->homes[i]);
        if (seen == home ||
            (seen == NULL && atomic_compare_exchange_strong(&b->homes[i], &seen, home)) ||
            seen == home)
            break;
    }
    return i;
}

/* A loop has a script thread that it prefers, a script thread itself: so the requests (and hooks)
 * of one turn wake one thread, once, and their answers wake the loop once, and a lone one finds it
 * awake. Where many wait there, the one with the least takes it. */
struct bind_thread *bind_thread_for(struct bind *b, struct runner *home)
{
    struct bind_thread *mine = NULL, *least = &b->threads[0];
    for (int i = 0; i < b->threads_count; i++) {
        struct bind_thread *t = &b->threads[i];
        if (t->runner == home)
            mine = t;
        if (atomic_load(&t->runs) < atomic_load(&least->runs))
            least = t;
    }
    if (mine == NULL)
        mine = &b->threads[call_home_at(b, home) % (size_t)b->threads_count];
    return atomic_load(&mine->runs) < atomic_load(&least->runs) + BIND_ROUTES_AHEAD ? mine : least;
}

void bind_serve(struct http_request *req)
{
    const struct bind_route *r = (const struct bind_route *)http_route(req);
    struct bind *b = r->table->bind;
    if (atomic_load(&b->closing)) {
        http_refuse(req, ERR_DRAINING, "this node is stopping");
        return;
    }
    struct call *c = arena_new(http_arena(req), sizeof *c);
    c->req = req;
    c->route = r;
    c->home = loop_runner(http_loop(req));
    c->thread = bind_thread_for(b, c->home);
    bind_answer_init(&c->answer);
    b->envelope(req, &c->env);
    c->task.run = call_begin;
    atomic_fetch_add(&c->thread->runs, 1);
    runner_post(c->thread->runner, &c->task);
}
