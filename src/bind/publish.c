/* `publish`: a message for whoever listens to its topic, routed where it is published. It is
 * proposed with the unit of whatever runs, by host.write(), on condition that the routes are still
 * these; if not, whoever gathers the unit begins again. */
#include <string.h>

#include "base/mem.h"
#include "bind/queue_lib.h"
#include "bind/send_priv.h"
#include "bus/request.h"

static int priority_read(const json_t *o, struct bus_message *m, struct err *e)
{
    int64_t priority = 0;
    if (json_object_get(o, "priority") == NULL)
        return 0;
    if (json_get_int(o, "priority", &priority, e) != 0 || priority < 0 ||
        priority > CORE_PRIORITY_MAX)
        return err_field(e, ERR_INVALID, "priority", "priority is a number up to %d",
                         CORE_PRIORITY_MAX);
    m->has_priority = true;
    m->priority = (uint8_t)priority;
    return 0;
}

static int options_read(const json_t *o, int64_t now, struct bind_message *s, bool *mandatory,
                        struct err *e)
{
    static const char *const names[] = {"key", "delay",    "run_at",  "dedup",
                                        "ttl", "priority", "headers", "mandatory"};
    struct bus_message *m = &s->published;
    if (o == NULL)
        return 0;
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "options are a table like { key = order.id }");
    if (json_only_keys(o, "publish", names, ARRAY_LEN(names), e) != 0 ||
        bind_message_when(o, now, &m->run_at, e) != 0 ||
        bind_message_text(o, "key", s, &m->key, e) != 0 ||
        bind_message_text(o, "dedup", s, &m->dedup, e) != 0 ||
        bind_duration_read(o, "ttl", &m->ttl_ms, e) != 0 || priority_read(o, m, e) != 0 ||
        bind_message_headers(o, s, e) != 0 ||
        json_get_bool(o, "mandatory", mandatory, e) == ERR_INVALID)
        return e->code;
    m->headers = s->headers.len > 0 ? buf_str(&s->headers) : NULL;
    return 0;
}

static int publication_fill(lua_State *L, struct bind_message *s, const char *topic,
                            const json_t *body, const json_t *options, struct err *e)
{
    struct bind_thread *t = bind_set_of(L)->thread;
    struct bus_message *m = &s->published;
    bool mandatory = false;
    t->ids.ids.make(&t->ids.ids, &m->id);
    if (t->bind->bus == NULL)
        return err_set(e, ERR_UNSUPPORTED, "the bus is not running here");
    if (options_read(options, t->world->wall_ms(t->world), s, &mandatory, e) != 0 ||
        bind_message_body(s, body, e) != 0 ||
        bus_route(t->bind->bus, bind_tenant(L), topic, &s->route, e) != 0)
        return e->code;
    if (mandatory && bus_mandatory(s->route, e) != 0)
        return e->code;
    m->body = buf_str(&s->body);
    m->body_len = s->body.len;
    return 0;
}

/* host.publication(topic, body, options) -> message, id, groups, bytes in its unit */
static int host_publication(lua_State *L)
{
    const char *topic = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    char id[UUID_TEXT];
    lua_settop(L, 3);
    vm_may_await(L, "publish");
    json_t *body = lua_isnil(L, 2) ? NULL : bind_check_json(L, 2, "publish: body");
    json_t *options = bind_check_json(L, 3, "publish: options");
    struct bind_message *s = bind_message_new(L);
    if (publication_fill(L, s, topic, body, options, &e) != 0) {
        err_context(&e, "publish '%.128s'", topic);
        return bind_message_refuse(L, &e);
    }
    bind_message_trace(L, s);
    s->published.correlation = s->correlation;
    s->published.traceparent = s->traceparent;
    s->published.script = s->script;
    vm_charge(L, s->body.len / 16);
    size_t groups = bus_route_count(s->route);
    uuid_format(&s->published.id, id);
    lua_pushstring(L, id);
    lua_pushinteger(L, (lua_Integer)groups);
    lua_pushinteger(L, (lua_Integer)(s->body.len * (groups > 0 ? groups : 1)));
    return 4;
}

/* ---- request ---- */

enum { ASK_SLICE_MS = 100 }; /* a few times a second it is seen whether the run has been ended */

struct ask {
    struct bus_request r; /* first */
    struct vm_run *run;
    struct bind_thread *thread;
    struct bind_grants held;
    struct world_timer timer;
};

static void ask_free(void *p)
{
    struct ask *a = p;
    a->thread->world->timer_stop(a->thread->world, &a->timer);
    buf_fini(&a->r.answer);
    mem_free(a);
}

static void ask_id(struct bus_request *r, struct uuid *out)
{
    struct ask *a = (struct ask *)r;
    a->thread->ids.ids.make(&a->thread->ids.ids, out);
}

static void ask_conditions(struct bus_request *r, struct txn *t)
{
    bind_grants_conditions(((struct ask *)r)->held, t);
}

static void ask_done(struct bus_request *r)
{
    vm_resume(((struct ask *)r)->run); /* r is gone when the coroutine has gone on */
}

static void ask_look(struct world_timer *timer)
{
    struct ask *a = LIST_OF(timer, struct ask, timer);
    struct err e = ERR_INIT;
    if (!a->run->killed && !bind_is_cut(a->thread, &e)) {
        a->thread->world->timer_start(a->thread->world, timer, ASK_SLICE_MS);
        return;
    }
    err_set(&e, ERR_CANCELED, "it is not waited for any more");
    if (a->r.impl != NULL)
        bus_request_cancel(&a->r, &e);
}

static int ask_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct ask *a = (struct ask *)ctx;
    if (a->r.err.code != 0)
        return vm_raise(L, &a->r.err);
    if (a->r.answer.len == 0)
        return 0;
    lua_pushlstring(L, buf_str(&a->r.answer), a->r.answer.len);
    return 1;
}

/* host.request(message, topic, ms) -> what was answered, as JSON; nothing when there was no result.
 * The message is one of host.publication(), which keeps it. */
static int host_request(lua_State *L)
{
    const struct bind_message *m = bind_check_message(L, 1);
    const char *topic = luaL_checkstring(L, 2);
    lua_Integer ms = luaL_checkinteger(L, 3);
    struct bind_thread *t = bind_set_of(L)->thread;
    struct err e = ERR_INIT;
    vm_may_await(L, "request");
    if (bind_run_of(L)->no_writes != NULL) {
        err_set(&e, ERR_UNSUPPORTED, "request: %s", bind_run_of(L)->no_writes);
        return vm_raise(L, &e);
    }
    struct vm_guard *g = vm_guard_push(L, ask_free);
    struct ask *a = mem_new(sizeof *a);
    a->run = vm_run_of(L);
    a->thread = t;
    a->held = bind_run_of(L)->held;
    a->timer.fire = ask_look;
    g->p = a;
    a->r = (struct bus_request){.bus = t->bind->bus,
                                .queues = t->bind->queues,
                                .ledger = t->bind->ledger,
                                .loop = t->loop,
                                .topic = topic,
                                .env = *bind_env(L),
                                .message = m->published,
                                .timeout_ms = (uint32_t)ms,
                                .make_id = ask_id,
                                .conditions = ask_conditions,
                                .done = ask_done};
    if (bus_request_start(&a->r, &e) != 0)
        return vm_raise(L, &e);
    t->world->timer_start(t->world, &a->timer, ASK_SLICE_MS);
    return vm_await(L, (intptr_t)a, ask_k);
}

void bind_open_publish(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"publication", host_publication}, {"request", host_request}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
