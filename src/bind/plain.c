/* The parts of the library that touch nothing but values: json, uuid, base64, log. */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind_priv.h"
#include "codec/base64.h"

static void buf_free(void *p)
{
    struct buf *b = p;
    buf_fini(b);
    mem_free(b);
}

struct buf *bind_push_buf(lua_State *L, size_t max)
{
    struct vm_guard *g = vm_guard_push(L, buf_free);
    struct buf *b = mem_new(sizeof *b);
    buf_init(b, max);
    g->p = b;
    return b;
}

int bind_push_text(lua_State *L, struct buf *b)
{
    struct err e = ERR_INIT;
    if (buf_check(b, "the text", &e) != 0)
        return vm_raise(L, &e);
    lua_pushlstring(L, buf_str(b), b->len);
    return 1;
}

void bind_json_free(void *p)
{
    json_decref(p);
}

char *bind_json_text(const json_t *v)
{
    struct buf b = BUF_INIT(BIND_TEXT_MAX);
    if (json_print_sorted(v, &b, NULL) != 0)
        buf_reset(&b);
    return buf_take(&b);
}

void *bind_take(lua_State *L, int guard)
{
    struct vm_guard *g = lua_touserdata(L, guard);
    return TAKE(g->p);
}

json_t *bind_check_json(lua_State *L, int at, const char *what)
{
    at = lua_absindex(L, at);
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    if (lua_isnoneornil(L, at))
        return NULL;
    json_t *v = NULL;
    struct err e = ERR_INIT;
    if (vm_to_json(L, at, &v, &e) != 0) {
        err_context(&e, "%s", what);
        vm_raise(L, &e);
    }
    g->p = v;
    return v;
}

static void add_line(struct buf *out, int depth)
{
    buf_addc(out, '\n');
    for (int i = 0; i < depth; i++)
        buf_adds(out, "  ");
}

/* Compact JSON, a member a line. */
static void indent(const struct buf *compact, struct buf *out)
{
    int depth = 0;
    bool text = false;
    for (const char *p = buf_str(compact); *p != '\0'; p++) {
        if (text || *p == '"') {
            buf_addc(out, *p);
            if (text && *p == '\\')
                buf_addc(out, *++p);
            else if (*p == '"')
                text = !text;
        } else if ((*p == '{' || *p == '[') && p[1] != *p + 2) {
            buf_addc(out, *p);
            add_line(out, ++depth);
        } else if ((*p == '}' || *p == ']') && p[-1] != *p - 2) {
            add_line(out, --depth);
            buf_addc(out, *p);
        } else if (*p == ',') {
            buf_addc(out, *p);
            add_line(out, depth);
        } else {
            buf_addc(out, *p);
            if (*p == ':')
                buf_addc(out, ' ');
        }
    }
}

/* host.json_encode(value, sorted, pretty) */
static int plain_json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 3);
    bool sorted = lua_toboolean(L, 2), pretty = lua_toboolean(L, 3);
    json_t *v = lua_isnil(L, 1) ? NULL : bind_check_json(L, 1, "json.encode");
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    struct err e = ERR_INIT;
    if (v == NULL)
        buf_adds(b, "null");
    else if ((sorted ? json_print_sorted(v, b, &e) : json_print(v, b, &e)) != 0)
        return vm_raise(L, &e);
    vm_charge(L, b->len / 16);
    if (!pretty)
        return bind_push_text(L, b);
    struct buf *lines = bind_push_buf(L, BIND_TEXT_MAX);
    indent(b, lines);
    return bind_push_text(L, lines);
}

/* host.json_decode(text, nulls): a null of a field is nil, or json.null where they are asked for */
static int plain_json_decode(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct err e = ERR_INIT;
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    vm_charge(L, n / 16);
    json_t *v = json_read(s, n, &e);
    if (v == NULL)
        return vm_raise(L, &e);
    g->p = v;
    vm_push_json(L, v, lua_toboolean(L, 2) ? VM_NULLS : VM_PLAIN);
    return 1;
}

static int plain_json_list(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    vm_mark_list(L);
    return 1;
}

static int plain_uuid(lua_State *L)
{
    struct bind_thread *t = bind_set_of(L)->thread;
    struct uuid u;
    t->ids.ids.make(&t->ids.ids, &u);
    char text[UUID_TEXT];
    uuid_format(&u, text);
    lua_pushstring(L, text);
    return 1;
}

static int plain_base64_encode(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    vm_charge(L, n / 16);
    base64_encode(lua_toboolean(L, 2) ? BASE64_URL : BASE64_STD, s, n, b);
    return bind_push_text(L, b);
}

static int plain_base64_decode(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    struct err e = ERR_INIT;
    vm_charge(L, n / 16);
    if (base64_decode(lua_toboolean(L, 2) ? BASE64_URL : BASE64_STD, s, n, b, &e) != 0)
        return vm_raise(L, &e);
    return bind_push_text(L, b);
}

/* host.log(level, message, fields) */
static int plain_log(lua_State *L)
{
    enum log_level level;
    const char *name = luaL_checkstring(L, 1), *message = luaL_tolstring(L, 2, NULL);
    if (!log_level_parse(name, &level))
        level = LOG_INFO;
    json_t *fields = lua_istable(L, 3) ? bind_check_json(L, 3, "log") : NULL;
    log_fields(level, "script", json_is_object(fields) ? fields : NULL, message);
    return 0;
}

static int plain_print(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    struct bind_run *r = vm_is_loading(vm_of(L)) ? NULL : bind_run_of(L);
    if (r != NULL && r->text != NULL && r->text->print != NULL)
        r->text->print(r->text, lua_tostring(L, -1));
    else
        log_info("script", "%.4096s", lua_tostring(L, -1));
    return 0;
}

/* host.refuse(code, detail): raise with the place of the script, not of the library. */
static int plain_refuse(lua_State *L)
{
    return vm_raise_code(L, luaL_checkstring(L, 1), luaL_optstring(L, 2, NULL));
}

/* host.fail(code, detail): the same for what the script does wrong: a call that cannot be meant, a
 * name that nobody declared. */
static int plain_fail(lua_State *L)
{
    struct err e;
    int code = err_by_name(luaL_checkstring(L, 1));
    if (code != ERR_INVALID && code != ERR_UNSUPPORTED && code != ERR_NOT_FOUND)
        return plain_refuse(L);
    err_set(&e, code, "%s", luaL_checkstring(L, 2));
    return vm_raise_fault(L, &e);
}

/* host.where(): "file:line" of the script */
static int plain_where(lua_State *L)
{
    char where[160];
    vm_where(L, where, sizeof where);
    lua_pushstring(L, where);
    return 1;
}

/* host.clock(ms): sets the clock of tests */
static int plain_clock(lua_State *L)
{
    const struct bind_clock *clock = bind_set_of(L)->thread->bind->clock;
    lua_Integer ms = luaL_checkinteger(L, 1);
    if (clock == NULL)
        return vm_raise_code(L, "unsupported", "only `koan check` has a clock that can be set");
    clock->set(ms);
    return 0;
}

static int plain_loading(lua_State *L)
{
    lua_pushboolean(L, vm_is_loading(vm_of(L)));
    return 1;
}

/* host.nearest(name, names): the one that was meant, or nil */
static int plain_nearest(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *names[64];
    size_t n = lua_rawlen(L, 2), count = 0;
    luaL_checkstack(L, ARRAY_LEN(names) + 4, NULL);
    for (size_t i = 1; i <= n && count < ARRAY_LEN(names); i++) {
        lua_rawgeti(L, 2, (lua_Integer)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            names[count++] = lua_tostring(L, -1);
    }
    lua_pushstring(L, strlen(name) < 64 ? str_nearest(name, names, count) : NULL);
    return 1;
}

/* host.freeze(table): as the scripts' own tables are when the set is loaded. */
static int plain_freeze(lua_State *L)
{
    vm_freeze(L, 1);
    return 0;
}

/* host.meta(table): its metatable, protected or not. */
static int plain_meta(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TTABLE || !lua_getmetatable(L, 1))
        lua_pushnil(L);
    return 1;
}

/* host.self(): the coroutine, as a key. */
static int plain_self(lua_State *L)
{
    lua_pushthread(L);
    return 1;
}

void bind_open_plain(lua_State *L)
{
    static const luaL_Reg fns[] = {{"json_encode", plain_json_encode},
                                   {"json_decode", plain_json_decode},
                                   {"json_list", plain_json_list},
                                   {"uuid", plain_uuid},
                                   {"base64_encode", plain_base64_encode},
                                   {"base64_decode", plain_base64_decode},
                                   {"log", plain_log},
                                   {"print", plain_print},
                                   {"fail", plain_fail},
                                   {"refuse", plain_refuse},
                                   {"loading", plain_loading},
                                   {"self", plain_self},
                                   {"freeze", plain_freeze},
                                   {"where", plain_where},
                                   {"clock", plain_clock},
                                   {"nearest", plain_nearest},
                                   {"meta", plain_meta},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
    vm_push_null(L);
    lua_setfield(L, -2, "null");
}
