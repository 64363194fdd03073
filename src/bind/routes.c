/* Routes that scripts declare: checked and put into a router while the set loads, so that a message
 * names the line. When the set becomes the live one its router is what requests are looked up in.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "bind/route_priv.h"

static const struct {
    const char *name;
    enum http_verb verb;
} verbs[] = {{"GET", HTTP_VERB_GET},
             {"POST", HTTP_VERB_POST},
             {"PUT", HTTP_VERB_PUT},
             {"PATCH", HTTP_VERB_PATCH},
             {"DELETE", HTTP_VERB_DELETE}};

/* First segments that are Koan's, in this version or by what is promised for later ones. */
static const char *const reserved[] = {
    "",   "api",    "admin", "docs", "metrics", "livez", "readyz", "openapi.json",
    "v1", "health", "media", "mcp",  "t"};

bool bind_route_is_reserved(const char *segment, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (strlen(reserved[i]) == n && memcmp(reserved[i], segment, n) == 0)
            return true;
    return false;
}

/* ---- a pattern ---- */

static bool is_name(const char *s, size_t n)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char later[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return n > 0 && n <= BIND_ROUTE_NAME_MAX && strchr(first, *s) != NULL && strspn(s, later) >= n;
}

/* Text that needs no escape in a URL. */
static bool is_literal(const char *s, size_t n)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    return strspn(s, plain) >= n && !(n == 1 && *s == '.') && !(n == 2 && strncmp(s, "..", 2) == 0);
}

static int add_segment(struct buf *out, const char *s, size_t n, bool last, struct err *e)
{
    if (n > 0 && *s == '{' && s[n - 1] == '}') {
        bool rest = n > 5 && strncmp(s + n - 4, "...", 3) == 0;
        size_t len = n - 2 - (rest ? 3 : 0);
        if (!is_name(s + 1, len) || (rest && !last))
            return err_set(e, ERR_INVALID,
                           "'%.*s': a parameter is {name}, of letters, digits and _; {name...} "
                           "takes all that follows and stands last",
                           (int)n, s);
        buf_addc(out, rest ? '*' : ':');
        buf_add(out, s + 1, len);
        return 0;
    }
    if (!is_literal(s, n) || (n == 0 && !last))
        return err_set(e, ERR_INVALID,
                       "'%.*s': a path is made of letters, digits, - . _ ~ and whole segments "
                       "like {name}",
                       (int)n, s);
    buf_add(out, s, n);
    return 0;
}

static bool has_twice(const char *pattern)
{
    const char *names[HTTP_SEGMENTS_MAX];
    size_t sizes[HTTP_SEGMENTS_MAX], count = 0;
    for (const char *s = pattern; *s == '/'; s += strcspn(s, "/")) {
        s++;
        if (*s != ':' && *s != '*')
            continue;
        size_t n = strcspn(s + 1, "/");
        for (size_t i = 0; i < count; i++)
            if (sizes[i] == n && memcmp(names[i], s + 1, n) == 0)
                return true;
        names[count] = s + 1;
        sizes[count++] = n;
    }
    return false;
}

/* "/hello/{name}" as the router wants it: "/hello/:name". */
static int translate(const char *path, struct buf *out, struct err *e)
{
    size_t segments = 0, params = 0;
    if (*path != '/')
        return err_set(e, ERR_INVALID, "the path begins with /");
    if (strlen(path) > BIND_ROUTE_PATH_MAX)
        return err_set(e, ERR_INVALID, "a path has at most %d characters", BIND_ROUTE_PATH_MAX);
    if (bind_route_is_reserved(path + 1, strcspn(path + 1, "/")))
        return err_set(e, ERR_CONFLICT, "/%.*s is Koan's own; choose a path that begins otherwise",
                       (int)strcspn(path + 1, "/"), path + 1);
    for (const char *s = path; *s == '/'; s += strcspn(s, "/")) {
        s++;
        size_t n = strcspn(s, "/");
        params += *s == '{';
        buf_addc(out, '/');
        int rc = add_segment(out, s, n, s[n] == '\0', e);
        if (rc != 0)
            return rc;
        if (++segments > HTTP_SEGMENTS_MAX || params > BIND_ROUTE_PARAMS_MAX)
            return err_set(e, ERR_INVALID, "at most %d segments and %d parameters",
                           HTTP_SEGMENTS_MAX, BIND_ROUTE_PARAMS_MAX);
    }
    if (has_twice(buf_str(out)))
        return err_set(e, ERR_INVALID, "two parameters have the same name");
    return 0;
}

static int read_verb(const char *name, enum http_verb *out, struct err *e)
{
    size_t n = strcspn(name, " ");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strlen(verbs[i].name) == n && memcmp(verbs[i].name, name, n) == 0) {
            *out = verbs[i].verb;
            return 0;
        }
    return err_set(e, ERR_INVALID,
                   "a route is named like \"GET /hello/{name}\"; methods are GET, POST, PUT, PATCH "
                   "and DELETE (GET answers HEAD too)");
}

/* ---- its options ---- */

static int read_access(const json_t *o, struct bind_route *r, struct err *e)
{
    const char *text = NULL;
    if (json_get_string(o, "access", &text, e) == ERR_INVALID)
        return e->code;
    if (text == NULL || strcmp(text, "signed-in") == 0)
        return 0;
    if (strcmp(text, "public") == 0) {
        r->route.flags |= HTTP_PUBLIC;
        return 0;
    }
    return err_field(e, ERR_INVALID, "access",
                     "access is \"public\" or \"signed-in\" (whoever brings the token, which is "
                     "what holds without), not '%.80s'; roles and owners are not in this version",
                     text);
}

static int read_timeout(const json_t *o, struct bind_route *r, struct err *e)
{
    const json_t *v = json_object_get(o, "timeout");
    int64_t ms = BIND_ROUTE_MS;
    int rc = 0;
    if (json_is_string(v))
        rc = duration_parse(json_string_value(v), &ms, e);
    else if (json_is_number(v))
        ms = (int64_t)(json_number_value(v) * 1000);
    else if (v != NULL)
        rc = err_set(e, ERR_INVALID, "wants a duration like \"10s\"");
    if (rc == 0 && (ms < 1 || ms > BIND_ROUTE_MS_MAX))
        rc = err_set(e, ERR_INVALID, "from 1 ms to %d minutes", BIND_ROUTE_MS_MAX / 60000);
    r->timeout_ms = (uint32_t)ms;
    return rc != 0 ? err_context(e, "timeout") : 0;
}

static int read_body_max(const json_t *o, struct bind_route *r, struct err *e)
{
    const json_t *v = json_object_get(o, "body_max");
    uint64_t bytes = HTTP_BODY_MAX;
    int rc = 0;
    if (json_is_string(v))
        rc = size_parse(json_string_value(v), &bytes, e);
    else if (json_is_integer(v))
        bytes = (uint64_t)json_integer_value(v);
    else if (v != NULL)
        rc = err_set(e, ERR_INVALID, "wants a size like \"64KiB\"");
    if (rc == 0 && (bytes < 1 || bytes > HTTP_BODY_MAX))
        rc = err_set(e, ERR_INVALID, "from 1 byte to %d MiB", HTTP_BODY_MAX >> 20);
    r->route.body_max = (size_t)bytes;
    return rc != 0 ? err_context(e, "body_max") : 0;
}

static int read_options(const json_t *o, struct bind_route *r, struct err *e)
{
    static const char *const names[] = {"access", "timeout", "body_max", "summary", "run"};
    const char *summary = NULL;
    if (json_only_keys(o, "a route", names, ARRAY_LEN(names), e) != 0 ||
        read_access(o, r, e) != 0 || read_timeout(o, r, e) != 0 || read_body_max(o, r, e) != 0 ||
        json_get_string(o, "summary", &summary, e) == ERR_INVALID)
        return e->code;
    if (summary != NULL)
        r->summary = mem_strdup(summary);
    return 0;
}

/* ---- the table ---- */

static struct bind_routes *routes_new(struct bind *b)
{
    struct bind_routes *t = mem_new(sizeof *t);
    atomic_init(&t->holders, 1);
    t->bind = b;
    t->router = http_router_new();
    return t;
}

void bind_routes_drop(struct bind_routes *t)
{
    if (t == NULL || atomic_fetch_sub(&t->holders, 1) > 1)
        return;
    http_router_free(t->router);
    for (size_t i = 0; i < t->count; i++) {
        mem_free(t->list[i]->name);
        mem_free(t->list[i]->pattern);
        mem_free(t->list[i]->summary);
        mem_free(t->list[i]);
    }
    mem_free(t);
}

/* The same path up to what its parameters are called: "/a/{x}" and "/a/{y}". */
static bool is_alike(const char *a, const char *b)
{
    while (*a == '/' && *b == '/') {
        size_t n = strcspn(++a, "/"), m = strcspn(++b, "/");
        bool param = *a == ':' || *a == '*';
        if (param ? *a != *b : n != m || memcmp(a, b, n) != 0)
            return false;
        a += n;
        b += m;
    }
    return *a == *b;
}

/* Whoever reads the list of routes sees one path where there is one. */
static int check_names(const struct bind_routes *t, const struct bind_route *r, struct err *e)
{
    for (size_t i = 0; i < r->index; i++)
        if (is_alike(t->list[i]->pattern, r->pattern) &&
            strcmp(t->list[i]->pattern, r->pattern) != 0)
            return err_set(e, ERR_CONFLICT,
                           "'%s' has the same path with other names of parameters; choose one",
                           t->list[i]->name);
    return 0;
}

static int routes_add(struct bind_routes *t, const char *name, const json_t *options, struct err *e)
{
    AUTO(buf_fini) struct buf pattern = BUF_INIT(2 * BIND_ROUTE_PATH_MAX);
    enum http_verb verb = HTTP_VERB_OTHER;
    const char *space = strchr(name, ' ');
    if (read_verb(name, &verb, e) != 0 ||
        translate(space != NULL ? space + 1 : "", &pattern, e) != 0)
        return e->code;
    struct bind_route *r = mem_new(sizeof *r);
    /* From here on the table frees it. */
    t->list[t->count] = r;
    r->table = t;
    r->index = t->count++;
    r->name = mem_strdup(name);
    r->pattern = mem_strdup(buf_str(&pattern));
    r->route = (struct http_route){
        .verb = verb, .pattern = r->pattern, .handler = bind_serve, .flags = HTTP_SCRIPT};
    if (read_options(options, r, e) != 0)
        return e->code;
    if (check_names(t, r, e) != 0)
        return e->code;
    if (http_router_add(t->router, &r->route, 1, e) != 0)
        return err_set(e, ERR_CONFLICT, "another route of these scripts has this method and path");
    return 0;
}

/* host.route(name, options, run) */
static int declare_route(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    struct bind_set *s = bind_set_of(L);
    if (!vm_is_loading(vm_of(L)))
        err_set(&e, ERR_INVALID, "declarations stand at the top of a script, not in a function");
    else if (!lua_isfunction(L, 3))
        err_field(&e, ERR_INVALID, "run", "run = function(req, ctx) .. end is missing");
    else if (s->routes != NULL && s->routes->count == BIND_ROUTES_MAX)
        err_set(&e, ERR_TOO_LARGE, "over %d routes in a set of scripts", BIND_ROUTES_MAX);
    if (e.code == 0) {
        json_t *options = bind_check_json(L, 2, "route");
        if (s->routes == NULL)
            s->routes = routes_new(s->thread != NULL ? s->thread->bind : NULL);
        routes_add(s->routes, name, options, &e);
    }
    if (e.code != 0) {
        err_context(&e, "route '%.80s'", name);
        return vm_raise_fault(L, &e);
    }
    size_t at = s->routes->count - 1;
    lua_pushvalue(L, 3);
    s->route_run[at] = luaL_ref(L, LUA_REGISTRYINDEX);
    s->route_meter[at] = vm_meter_new(name);
    return 0;
}

void bind_open_routes(lua_State *L)
{
    static const luaL_Reg fns[] = {{"route", declare_route}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}

/* ---- the live ones ---- */

void bind_routes_publish(struct bind *b, struct bind_set *live)
{
    struct bind_routes *next = live != NULL ? live->routes : NULL, *old;
    if (next != NULL) {
        memcpy(next->hash, live->hash, sizeof next->hash);
        atomic_fetch_add(&next->holders, 1);
    }
    pthread_mutex_lock(&b->status_lock);
    old = b->routes;
    b->routes = next;
    pthread_mutex_unlock(&b->status_lock);
    bind_routes_drop(old);
}

static const struct http_router *routes_hold(struct http_more *m, void **held)
{
    struct bind *b = ((struct bind_more *)m)->bind;
    pthread_mutex_lock(&b->status_lock);
    struct bind_routes *t = b->routes;
    if (t != NULL)
        atomic_fetch_add(&t->holders, 1);
    pthread_mutex_unlock(&b->status_lock);
    *held = t;
    return t != NULL ? t->router : NULL;
}

static void routes_release(struct http_more *m, void *held)
{
    (void)m;
    bind_routes_drop(held);
}

void bind_routes_init(struct bind *b)
{
    b->more.more = (struct http_more){routes_hold, routes_release};
    b->more.bind = b;
}

struct http_more *bind_http_more(struct bind *b)
{
    return &b->more.more;
}

/* [{"name","method","path","public","summary"?}] */
json_t *bind_routes_json(const struct bind_routes *t)
{
    json_t *list = json_array();
    for (size_t i = 0; t != NULL && i < t->count; i++) {
        const struct bind_route *r = t->list[i];
        json_t *one = json_pack("{s:s, s:s, s:s, s:b}", "name", r->name, "method",
                                http_verb_name(r->route.verb), "path", strchr(r->name, '/'),
                                "public", bind_route_is_public(r));
        if (r->summary != NULL)
            json_object_set_new(one, "summary", json_string(r->summary));
        json_array_append_new(list, one);
    }
    return list;
}
