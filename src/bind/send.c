/* `send`: a message, checked where it is sent. It is proposed with the unit of whatever runs, by
 * host.write(). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "bind/job_lib.h"
#include "bind/queue_lib.h"
#include "bind/send_priv.h"

static void message_free(void *p)
{
    struct bind_message *s = p;
    bus_route_free(s->route);
    json_decref(s->chain);
    arena_fini(&s->arena);
    buf_fini(&s->body);
    buf_fini(&s->own);
    buf_fini(&s->headers);
    mem_free(s);
}

struct bind_message *bind_message_new(lua_State *L)
{
    struct vm_guard *g = vm_guard_push(L, message_free);
    struct bind_message *s = mem_new(sizeof *s);
    arena_init(&s->arena, BIND_QUEUE_MESSAGE);
    buf_init(&s->body, CORE_BODY_MAX);
    buf_init(&s->own, CORE_BODY_MAX);
    buf_init(&s->headers, QUEUE_HEADERS_BYTES);
    s->m.send.priority = CORE_PRIORITY_UNSAID;
    g->p = s;
    return s;
}

const struct bind_message *bind_check_message(lua_State *L, int at)
{
    struct vm_guard *g = lua_touserdata(L, at);
    if (g == NULL || g->free != message_free)
        luaL_error(L, "not a message");
    return g->p;
}

const struct bus_route *bind_message_route(const struct bind_message *s)
{
    return s->route;
}

int bind_message_compose(const struct bind_message *s, struct txn *t, struct err *e)
{
    if (s->route != NULL)
        return bus_txn_publish(t, s->route, &s->published, e);
    if (s->job == NULL)
        return queue_txn_send(t, &s->m, e);
    struct job_submit j = {.def = &s->job->def,
                           .message = &s->m,
                           .fan = s->is_fanned ? &s->fan : NULL,
                           .chain = s->chain,
                           .goes_on = s->goes_on};
    return job_txn_submit(t, &j, e);
}

struct bind_message *bind_own_message(lua_State *L, int at)
{
    bind_check_message(L, at);
    return ((struct vm_guard *)lua_touserdata(L, at))->p;
}

/* ---- options of this message alone ---- */

int bind_message_text(const json_t *o, const char *key, struct bind_message *s, const char **out,
                      struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL)
        return 0;
    if (json_is_integer(v)) { /* ids and numbers make good keys */
        *out = arena_printf(&s->arena, "%lld", (long long)json_integer_value(v));
        return 0;
    }
    size_t n = json_string_length(v);
    if (!json_is_string(v) || n < 1 || n > CORE_TEXT_MAX || strlen(json_string_value(v)) != n)
        return err_field(e, ERR_INVALID, key, "%s is a text of 1 to %d bytes", key, CORE_TEXT_MAX);
    *out = arena_strndup(&s->arena, json_string_value(v), n);
    return *out == NULL ? err_field(e, ERR_TOO_LARGE, key, "%s: too many options", key) : 0;
}

int bind_message_when(const json_t *o, int64_t now, int64_t *run_at, struct err *e)
{
    const json_t *at = json_object_get(o, "run_at");
    int64_t delay = 0;
    if (bind_duration_read(o, "delay", &delay, e) != 0)
        return e->code;
    if (delay > 0 && at != NULL)
        return err_field(e, ERR_INVALID, "delay", "delay or run_at, not both");
    if (delay > 0)
        *run_at = now + delay;
    if (json_is_string(at) && time_parse(json_string_value(at), json_string_length(at), run_at))
        return 0;
    if (json_is_integer(at)) {
        *run_at = json_integer_value(at);
        return 0;
    }
    return at == NULL ? 0
                      : err_field(e, ERR_INVALID, "run_at",
                                  "run_at is a moment like \"2026-12-24T18:00:00Z\"");
}

/* "key", or { key =, mode = "skip", "replace" or "merge" } */
static int unique_read(const json_t *o, struct bind_message *s, struct err *e)
{
    static const char *const names[] = {"key", "mode"};
    const json_t *v = json_object_get(o, "unique");
    const char *mode = NULL;
    if (!json_is_object(v))
        return bind_message_text(o, "unique", s, &s->m.send.unique, e);
    if (json_only_keys(v, "unique", names, ARRAY_LEN(names), e) != 0 ||
        bind_message_text(v, "key", s, &s->m.send.unique, e) != 0 ||
        json_get_string(v, "mode", &mode, e) == ERR_INVALID)
        return e->code;
    if (s->m.send.unique == NULL)
        return err_field(e, ERR_INVALID, "unique", "unique: key is missing");
    bool replace = mode != NULL && strcmp(mode, "replace") == 0;
    bool merge = mode != NULL && strcmp(mode, "merge") == 0;
    if (mode != NULL && !replace && !merge && strcmp(mode, "skip") != 0)
        return err_field(e, ERR_INVALID, "unique",
                         "unique: mode is 'skip', 'replace' or 'merge', not '%.40s'", mode);
    s->m.send.unique_mode = merge ? UNIQUE_SWAP : replace ? UNIQUE_REPLACE : UNIQUE_SKIP;
    return 0;
}

static bool is_label_text(const char *text, size_t n)
{
    return n > 0 && n <= CORE_TEXT_MAX && strlen(text) == n;
}

static int need_read(const char *name, const json_t *v, struct arena *a, struct core_label *out,
                     struct err *e)
{
    const char *text = json_string_value(v);
    json_int_t number = json_integer_value(v);
    *out = (struct core_label){.name = arena_strndup(a, name, strlen(name))};
    if (!is_label_text(name, strlen(name)) ||
        (text != NULL && !is_label_text(text, json_string_length(v))))
        return err_field(e, ERR_INVALID, "needs", "needs: a label and its text have 1 to %d bytes",
                         CORE_TEXT_MAX);
    if (text != NULL)
        out->text = arena_strndup(a, text, json_string_length(v));
    else if (number > 0 && number <= UINT32_MAX)
        out->number = (uint32_t)number;
    else if (!json_is_true(v))
        return err_field(e, ERR_INVALID, "needs", "needs: '%.60s' is a text, a number or true",
                         name);
    if (out->name == NULL || (text != NULL && out->text == NULL))
        return err_field(e, ERR_INVALID, "needs", "needs: too long");
    return 0;
}

int bind_needs_read(const json_t *needs, struct arena *a, struct core_label *out, uint8_t *count,
                    struct err *e)
{
    const char *name;
    json_t *v;
    if (needs == NULL)
        return 0;
    if (!json_is_object(needs) || json_object_size(needs) > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "needs", "needs is a table of at most %d labels",
                         CORE_LABELS_MAX);
    json_object_foreach((json_t *)needs, name, v)
    {
        if (need_read(name, v, a, &out[(*count)++], e) != 0)
            return e->code;
    }
    return 0;
}

static int needs_read(const json_t *o, struct bind_message *s, struct err *e)
{
    const json_t *needs = json_object_get(o, "needs");
    struct core_send *c = &s->m.send;
    if (needs == NULL)
        return 0;
    c->needs = s->needs;
    c->needs_count = 0;
    int rc = bind_needs_read(needs, &s->arena, s->needs, &c->needs_count, e);
    c->no_needs = c->needs_count == 0;
    return rc;
}

int bind_message_headers(const json_t *o, struct bind_message *s, struct err *e)
{
    const char *name;
    json_t *v;
    json_t *headers = json_object_get(o, "headers");
    if (headers == NULL)
        return 0;
    if (!json_is_object(headers) || json_object_size(headers) > QUEUE_HEADERS_MAX)
        return err_field(e, ERR_INVALID, "headers", "headers are a table of at most %d texts",
                         QUEUE_HEADERS_MAX);
    json_object_foreach(headers, name, v)
    {
        if (!json_is_string(v))
            return err_field(e, ERR_INVALID, "headers", "header '%.60s' is no text", name);
    }
    if (json_print(headers, &s->headers, e) != 0)
        return err_field(e, ERR_TOO_LARGE, "headers", "headers have at most %d bytes",
                         QUEUE_HEADERS_BYTES);
    return 0;
}

static int options_read(const json_t *o, int64_t now, struct bind_message *s, struct err *e)
{
    static const char *const names[] = {"attempts", "backoff", "timeout", "ttl",   "deadline",
                                        "priority", "lane",    "gate",    "key",   "delay",
                                        "run_at",   "dedup",   "unique",  "needs", "headers"};
    struct core_send *c = &s->m.send;
    if (o == NULL)
        return 0;
    if (json_only_keys(o, "send", names, ARRAY_LEN(names), e) != 0 ||
        bind_message_when(o, now, &c->run_at, e) != 0 ||
        bind_message_text(o, "key", s, &c->key, e) != 0 ||
        bind_message_text(o, "dedup", s, &c->dedup, e) != 0 || unique_read(o, s, e) != 0 ||
        bind_sending_read(o, &s->arena, c, e) != 0 || needs_read(o, s, e) != 0 ||
        bind_message_headers(o, s, e) != 0)
        return e->code;
    s->m.headers = s->headers.len > 0 ? buf_str(&s->headers) : NULL;
    return 0;
}

/* ---- the message ---- */

/* What it belongs to goes with it. */
void bind_message_trace(lua_State *L, struct bind_message *s)
{
    const struct bind_run *r = bind_run_of(L);
    s->script = strtoull(bind_set_of(L)->hash, NULL, 16);
    if (r->env->correlation == NULL)
        return;
    s->correlation = arena_strndup(&s->arena, r->env->correlation, strlen(r->env->correlation));
    if (r->span.id != 0) {
        char *text = arena_new(&s->arena, TRACE_PARENT_TEXT);
        trace_format(&r->span, text);
        s->traceparent = text;
    } else if (r->env->traceparent != NULL) {
        s->traceparent = arena_strndup(&s->arena, r->env->traceparent, strlen(r->env->traceparent));
    }
}

int bind_message_body(struct bind_message *s, const json_t *body, struct err *e)
{
    if (body == NULL)
        buf_adds(&s->body, "null");
    else if (json_print(body, &s->body, e) != 0)
        return err_field(e, ERR_TOO_LARGE, "body",
                         "a body has at most %d KiB; keep it elsewhere and send its key",
                         CORE_BODY_MAX >> 10);
    return 0;
}

/* `text`: the body as JSON, of Koan's own; else NULL. */
static int message_fill(lua_State *L, struct bind_message *s, const char *queue, const json_t *body,
                        const json_t *options, const char *text, struct err *e)
{
    struct bind_thread *t = bind_set_of(L)->thread;
    s->m.send.queue = arena_strndup(&s->arena, queue, strlen(queue));
    t->ids.ids.make(&t->ids.ids, &s->m.send.id);
    if (options_read(options, t->world->wall_ms(t->world), s, e) != 0)
        return e->code;
    if (text != NULL)
        buf_adds(&s->body, text);
    else if (bind_message_body(s, body, e) != 0)
        return e->code;
    s->m.body = buf_str(&s->body);
    s->m.body_len = s->body.len;
    s->m.send.bytes = (uint32_t)s->body.len;
    return 0;
}

int bind_message_make(lua_State *L, struct bind_message *s, const char *queue, const json_t *body,
                      const json_t *options, const char *text, struct err *e)
{
    if (bind_set_of(L)->thread->bind->queues == NULL)
        return err_set(e, ERR_UNSUPPORTED, "the queue is not running here");
    if (options != NULL && !json_is_object(options))
        return err_set(e, ERR_INVALID, "options are a table like { delay = \"10m\" }");
    return message_fill(L, s, queue, body, options, text, e);
}

int bind_message_push_id(lua_State *L, struct bind_message *s)
{
    char id[UUID_TEXT];
    bind_message_trace(L, s);
    s->m.correlation = s->correlation;
    s->m.traceparent = s->traceparent;
    s->m.script = s->script;
    vm_charge(L, s->body.len / 16);
    uuid_format(&s->m.send.id, id);
    lua_pushstring(L, id);
    lua_pushinteger(L, (lua_Integer)s->body.len);
    if (s->m.send.unique_mode == UNIQUE_SWAP)
        lua_pushstring(L, s->m.send.unique);
    else
        lua_pushnil(L);
    return 4;
}

int bind_message_refuse(lua_State *L, const struct err *e)
{
    bool given = strcmp(e->field, "key") == 0 || strcmp(e->field, "dedup") == 0;
    return e->code == ERR_INVALID && !given ? vm_raise_fault(L, e) : vm_raise(L, e);
}

/* host.message(queue, body, options, text) -> message, id, bytes, and the text by which it is to be
 * merged */
static int host_message(lua_State *L)
{
    const char *queue = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    lua_settop(L, 4);
    vm_may_await(L, "send");
    const char *text = lua_tostring(L, 4);
    json_t *body = lua_isnil(L, 2) ? NULL : bind_check_json(L, 2, "send: body");
    json_t *options = bind_check_json(L, 3, "send: options");
    struct bind_message *s = bind_message_new(L);
    s->m.send.large = text != NULL;
    if (bind_is_job_queue(queue))
        err_set(&e, ERR_INVALID, "is the queue of a job: job(\"%.64s\"):submit { .. }",
                queue + strlen(BIND_JOB_PREFIX));
    else
        bind_message_make(L, s, queue, body, options, text, &e);
    if (e.code != 0) {
        err_context(&e, "send '%.80s'", queue);
        return bind_message_refuse(L, &e);
    }
    return bind_message_push_id(L, s);
}

void bind_open_send(lua_State *L)
{
    static const luaL_Reg fns[] = {{"message", host_message}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
