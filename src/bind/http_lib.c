/* http: requests to other hosts. The coroutine waits, its thread does not. */
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "bind/claim.h"
#include "codec/url.h"

enum { HTTP_LIB_HEADERS_MAX = 32 << 10, HTTP_LIB_BYTES_PER_STEP = 256 };

struct http_call {
    struct vm_run *run;
    struct fetch *fetch;
    uint64_t began_ns;
    struct trace_span span;
    char *name; /* "GET https://host", without path and query: these may hold secrets */
};

static void call_free(void *p)
{
    struct http_call *c = p;
    fetch_free(c->fetch);
    mem_free(c->name);
    mem_free(c);
}

static void call_count(struct http_call *c)
{
    static const char *const classes[] = {"outcome=\"error\"", "outcome=\"1xx\"",
                                          "outcome=\"2xx\"",   "outcome=\"3xx\"",
                                          "outcome=\"4xx\"",   "outcome=\"5xx\""};
    int class = fetch_error(c->fetch)->code != 0 ? 0 : fetch_status(c->fetch) / 100;
    struct world *w = bind_set_of(c->run->co)->thread->world;
    stat_add(stat_counter("koan_script_http_requests_total", classes[class <= 5 ? class : 0],
                          "Requests that scripts made to other hosts"),
             1);
    stat_record(stat_histogram("koan_script_http_seconds", "", "How long they took"),
                w->mono_ns(w) - c->began_ns);
}

static void call_note(struct http_call *c)
{
    struct bind_thread *t = bind_set_of(c->run->co)->thread;
    const struct envelope *env = bind_env(c->run->co);
    const struct err *e = fetch_error(c->fetch);
    if (env->correlation == NULL)
        return;
    trace_note(t->bind->trace,
               &(struct trace_event){.kind = TRACE_CALL,
                                     .failed = e->code != 0 || fetch_status(c->fetch) >= 500,
                                     .began_ns = c->began_ns,
                                     .status = e->code == 0 ? fetch_status(c->fetch) : 0,
                                     .span = &c->span,
                                     .correlation = env->correlation,
                                     .causation = env->causation,
                                     .principal = env->principal,
                                     .name = c->name,
                                     .detail = e->code != 0 ? e->text : NULL});
}

static char *call_name(const char *method, const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    size_t n = strcspn(host, "/?#");
    const char *at = memrchr(host, '@', n); /* credentials before it */
    const char *from = at != NULL ? at + 1 : host;
    return mem_printf("%s %.*s%.*s", method, (int)(host - url), url,
                      (int)(n - (size_t)(from - host)), from);
}

/* The caller's headers with our place in the trace, unless they have one. A text on the stack. */
static const char *call_headers(lua_State *L, const struct http_call *c, const char *given)
{
    char text[TRACE_PARENT_TEXT];
    if (c->span.id == 0 || (given != NULL && (strncasecmp(given, "traceparent:", 12) == 0 ||
                                              strcasestr(given, "\ntraceparent:") != NULL)))
        return given;
    trace_format(&c->span, text);
    return lua_pushfstring(L, "%straceparent: %s\r\n", given != NULL ? given : "", text);
}

static void call_done(struct fetch *f, void *arg)
{
    (void)f;
    struct http_call *c = arg;
    struct err e;
    call_count(c);
    call_note(c);
    if (bind_is_cut(((struct bind_run *)c->run)->set->thread, &e))
        vm_cancel(c->run, e.code, e.text);
    vm_resume(c->run); /* c is gone after this line */
}

static void push_headers(lua_State *L, const struct map *headers)
{
    lua_createtable(L, 0, (int)map_count(headers));
    for (struct map_iter it = {0}; map_next(headers, &it);) {
        lua_pushlstring(L, it.key, it.key_len);
        lua_pushstring(L, it.value);
        lua_rawset(L, -3);
    }
}

static int http_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct http_call *c = (struct http_call *)ctx;
    const struct err *e = fetch_error(c->fetch);
    bind_claims_check(L);
    if (e->code != 0)
        return vm_raise(L, e);
    const struct buf *body = fetch_body(c->fetch);
    vm_charge(L, body->len / HTTP_LIB_BYTES_PER_STEP);
    lua_pushinteger(L, fetch_status(c->fetch));
    push_headers(L, fetch_headers(c->fetch));
    lua_pushlstring(L, buf_str(body), body->len);
    lua_pushstring(L, fetch_url(c->fetch));
    return 4;
}

/* ---- the request ---- */

static const char *field_text(lua_State *L, const char *name, size_t *n)
{
    lua_getfield(L, 1, name); /* stays on the stack, and with it the text */
    if (lua_isnil(L, -1))
        return NULL;
    return luaL_checklstring(L, -1, n);
}

static uint32_t field_number(lua_State *L, const char *name, lua_Integer max)
{
    lua_getfield(L, 1, name);
    lua_Integer v = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (v >= 0 && v <= max)
        return (uint32_t)v;
    struct err e;
    err_field(&e, ERR_INVALID, name, "http: %s: from 0 to %lld", name, (long long)max);
    vm_raise(L, &e);
    return 0;
}

static void check_outside(lua_State *L)
{
    vm_may_await(L, "http");
    const char *why = bind_run_of(L)->no_outside;
    if (why == NULL || bind_run_of(L)->asking)
        return;
    struct err e;
    err_set(&e, ERR_INVALID, "http: %s", why);
    vm_raise(L, &e);
}

/* host.http { method, url, headers, secret_headers, body, timeout, redirects, max } -> status,
 * headers, body, url */
static int http_request(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_checkstack(L, 16, NULL);
    check_outside(L);
    struct bind_thread *t = bind_set_of(L)->thread;
    struct fetch_request r = {.connect_ms = FETCH_CONNECT_MS};
    size_t n = 0;
    struct err e = ERR_INIT;
    if (bind_is_cut(t, &e)) {
        vm_cancel(vm_run_of(L), e.code, e.text);
        return vm_raise(L, &e);
    }
    r.method = field_text(L, "method", &n);
    r.url = field_text(L, "url", &n);
    if (r.url == NULL || strlen(r.url) != n) {
        err_field(&e, ERR_INVALID, "url", "http: a URL is missing");
        return vm_raise(L, &e);
    }
    r.headers = field_text(L, "headers", &n);
    r.secret_headers = field_text(L, "secret_headers", &n);
    r.body = field_text(L, "body", &r.body_n);
    r.timeout_ms = field_number(L, "timeout", FETCH_TIMEOUT_MAX_MS);
    r.redirects_max = (int)field_number(L, "redirects", FETCH_REDIRECTS);
    r.body_max = field_number(L, "max", FETCH_BODY_MAX);
    r.allow = json_string_value(json_object_get(bind_settings_of(t), "http_allow"));
    struct vm_guard *g = vm_guard_push(L, call_free);
    struct http_call *c = mem_new(sizeof *c);
    g->p = c;
    c->run = vm_run_of(L);
    c->began_ns = t->world->mono_ns(t->world);
    c->name = call_name(r.method != NULL ? r.method : "GET", r.url);
    if (bind_env(L)->correlation != NULL)
        trace_child(t->bind->trace, &bind_run_of(L)->span, &c->span);
    r.headers = call_headers(L, c, r.headers);
    vm_charge(L, r.body_n / HTTP_LIB_BYTES_PER_STEP);
    if (fetch_start(&t->fetcher, &r, call_done, c, &c->fetch, &e) != 0)
        return vm_raise(L, &e);
    return vm_await(L, (intptr_t)c, http_k);
}

/* ---- texts for it ---- */

static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                   s[i]) == NULL ||
            s[i] == '\0')
            return false;
    return n > 0;
}

/* host.header_line(name, value): checked, so that no value becomes a header of its own */
static int http_header_line(lua_State *L)
{
    size_t n, m;
    const char *name = luaL_checklstring(L, 1, &n), *value = luaL_checklstring(L, 2, &m);
    struct err e = ERR_INIT;
    if (!is_token(name, n))
        err_field(&e, ERR_INVALID, "headers", "http: '%.60s' is no name of a header", name);
    for (size_t i = 0; i < m; i++)
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 127)
            err_field(&e, ERR_INVALID, "headers",
                      "http: the value of header '%.60s' holds a line end or another control "
                      "character",
                      name);
    if (n + m > HTTP_LIB_HEADERS_MAX)
        err_field(&e, ERR_TOO_LARGE, "headers", "http: header '%.60s' is over 32 KiB", name);
    if (e.code != 0)
        return vm_raise(L, &e);
    lua_pushfstring(L, "%s: %s\r\n", name, value);
    return 1;
}

/* host.url_encode(text) */
static int http_url_encode(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    vm_charge(L, n / 16);
    url_encode(s, n, b);
    return bind_push_text(L, b);
}

void bind_open_http(lua_State *L)
{
    static const luaL_Reg fns[] = {{"http", http_request},
                                   {"header_line", http_header_line},
                                   {"url_encode", http_url_encode},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
