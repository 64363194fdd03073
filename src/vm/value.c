/* Values across the boundary. */
#include <math.h>
#include <string.h>

#include "base/str.h"
#include "vm/vm_priv.h"

static const char list_key; /* its address finds the metatable of lists in the registry */

static void push_list_mark(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &list_key);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
}

void vm_mark_list(lua_State *L)
{
    push_list_mark(L);
    lua_setmetatable(L, -2);
}

void vm_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

bool vm_is_null(lua_State *L, int at)
{
    return lua_type(L, at) == LUA_TLIGHTUSERDATA && lua_touserdata(L, at) == NULL;
}

static void push_value(lua_State *L, const json_t *v, enum vm_json how, int depth);

static void push_object(lua_State *L, const json_t *v, enum vm_json how, int depth)
{
    json_t *item;
    struct vm_shape *s = depth == 1 ? &vm_of(L)->shape_json : NULL;
    int shape = s != NULL ? vm_shape_push(L, s) : 0;
    size_t i = 0;
    lua_createtable(L, 0, (int)json_object_size(v));
    for (void *it = json_object_iter((json_t *)v); it != NULL;
         it = json_object_iter_next((json_t *)v, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        item = json_object_iter_value(it);
        if (json_is_null(item) && how == VM_PLAIN)
            continue;
        if (s != NULL)
            vm_shape_key(L, s, shape, i++, key);
        else
            lua_pushlstring(L, key.p, key.n);
        push_value(L, item, how, depth);
        lua_rawset(L, -3);
    }
    if (s != NULL)
        lua_remove(L, shape);
}

static void push_array(lua_State *L, const json_t *v, enum vm_json how, int depth)
{
    size_t n = json_array_size(v);
    lua_createtable(L, n > INT32_MAX ? INT32_MAX : (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_value(L, json_array_get(v, i), how, depth);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    vm_mark_list(L);
}

static void push_value(lua_State *L, const json_t *v, enum vm_json how, int depth)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        if (depth >= VM_DEPTH_MAX)
            luaL_error(L, "value is nested deeper than %d", VM_DEPTH_MAX);
        luaL_checkstack(L, 8, "value nested too deeply");
        if (json_is_object(v))
            push_object(L, v, how, depth + 1);
        else
            push_array(L, v, how, depth + 1);
        return;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        return;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(v));
        return;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(v));
        return;
    case JSON_NULL:
        vm_push_null(L);
        return;
    }
}

void vm_push_json(lua_State *L, const json_t *v, enum vm_json how)
{
    luaL_checkstack(L, 8, NULL);
    if (v == NULL)
        lua_pushnil(L);
    else
        push_value(L, v, how, 0);
}

static int to_value(lua_State *L, int at, json_t **out, int depth, struct err *e);

/* The place of a fault is known from the inside out. */
static int in_key(struct err *e, int code, const char *key)
{
    if (e != NULL) {
        char path[ERR_FIELD_MAX];
        int n = snprintf(path, sizeof path, "%s%s%s", key,
                         e->field[0] != '\0' && e->field[0] != '[' ? "." : "", e->field);
        if (n >= (int)sizeof path)
            memcpy(path + sizeof path - 4, "...", 4);
        memcpy(e->field, path, sizeof path);
    }
    return code;
}

static int to_array(lua_State *L, int at, size_t n, json_t **out, int depth, struct err *e)
{
    json_t *list = json_array();
    for (size_t i = 1; i <= n; i++) {
        json_t *item = NULL;
        lua_rawgeti(L, at, (lua_Integer)i);
        int rc = to_value(L, -1, &item, depth, e);
        lua_pop(L, 1);
        if (rc == 0 && json_array_append_new(list, item) != 0)
            rc = err_set(e, ERR_NOMEM, "no memory for a list");
        if (rc != 0) {
            json_decref(list);
            char key[32];
            snprintf(key, sizeof key, "[%zu]", i);
            return in_key(e, rc, key);
        }
    }
    *out = list;
    return 0;
}

static int to_member(lua_State *L, json_t *object, int depth, struct err *e)
{
    if (lua_type(L, -2) != LUA_TSTRING)
        return err_set(e, ERR_INVALID,
                       "a table with a key that is a %s: a value has either items 1..n or names",
                       luaL_typename(L, -2));
    size_t n;
    const char *key = lua_tolstring(L, -2, &n);
    if (memchr(key, '\0', n) != NULL) /* written, it could never be read again */
        return err_set(e, ERR_INVALID, "key '%.40s...' holds a NUL character", key);
    json_t *item = NULL;
    int rc = to_value(L, -1, &item, depth, e);
    if (rc != 0)
        return in_key(e, rc, key);
    if (!str_is_utf8(key, n)) {
        json_decref(item);
        return err_set(e, ERR_INVALID, "key '%.40s' is not UTF-8", key);
    }
    if (json_object_setn_new_nocheck(object, key, n, item) != 0)
        return err_set(e, ERR_NOMEM, "no memory for a table");
    return 0;
}

static int to_object(lua_State *L, int at, json_t **out, int depth, struct err *e)
{
    json_t *object = json_object();
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        int rc = to_member(L, object, depth, e);
        if (rc != 0) {
            lua_pop(L, 2);
            json_decref(object);
            return rc;
        }
    }
    *out = object;
    return 0;
}

static bool is_marked(lua_State *L, int at)
{
    if (!lua_getmetatable(L, at))
        return false;
    bool is = lua_rawgetp(L, -1, &list_key) == LUA_TBOOLEAN;
    lua_pop(L, 2);
    return is;
}

static int to_table(lua_State *L, int at, json_t **out, int depth, struct err *e)
{
    if (depth >= VM_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "nested deeper than %d, or a table that contains itself",
                       VM_DEPTH_MAX);
    if (!lua_checkstack(L, 8))
        return err_set(e, ERR_NOMEM, "no memory for a nested value");
    at = lua_absindex(L, at);
    bool marked = is_marked(L, at);
    vm_push_content(L, at);
    int content = lua_gettop(L);
    size_t n = lua_rawlen(L, content), keys = 0;
    int rc = 0;
    if (n == 0 && !marked) {
        rc = to_object(L, content, out, depth + 1, e);
    } else {
        for (lua_pushnil(L); lua_next(L, content); lua_pop(L, 1))
            keys++;
        if (keys != n)
            rc = err_set(e, ERR_INVALID,
                         "a table with both items and names, or with gaps: fill gaps with "
                         "json.null, or keep the two apart");
        else
            rc = to_array(L, content, n, out, depth + 1, e);
    }
    lua_settop(L, content - 1);
    return rc;
}

static int to_string(lua_State *L, int at, json_t **out, struct err *e)
{
    size_t n;
    const char *s = lua_tolstring(L, at, &n);
    if (!str_is_utf8(s, n))
        return err_set(e, ERR_INVALID, "text that is not UTF-8; use base64");
    *out = json_stringn_nocheck(s, n);
    return *out != NULL ? 0 : err_set(e, ERR_NOMEM, "no memory for a text");
}

static int to_number(lua_State *L, int at, json_t **out, struct err *e)
{
    if (lua_isinteger(L, at)) {
        *out = json_integer(lua_tointeger(L, at));
        return 0;
    }
    double d = lua_tonumber(L, at);
    if (!isfinite(d))
        return err_set(e, ERR_INVALID, "a number that is infinite or not a number");
    *out = json_real(d);
    return 0;
}

static int to_value(lua_State *L, int at, json_t **out, int depth, struct err *e)
{
    if (depth == 0 && e != NULL)
        e->field[0] = '\0';
    switch (lua_type(L, at)) {
    case LUA_TNIL:
        *out = json_null();
        return 0;
    case LUA_TBOOLEAN:
        *out = json_boolean(lua_toboolean(L, at));
        return 0;
    case LUA_TNUMBER:
        return to_number(L, at, out, e);
    case LUA_TSTRING:
        return to_string(L, at, out, e);
    case LUA_TTABLE:
        return to_table(L, at, out, depth, e);
    default:
        break;
    }
    if (vm_is_null(L, at)) {
        *out = json_null();
        return 0;
    }
    return err_set(e, ERR_INVALID, "a %s cannot be stored", luaL_typename(L, at));
}

int vm_to_json(lua_State *L, int at, json_t **out, struct err *e)
{
    return to_value(L, lua_absindex(L, at), out, 0, e);
}

/* ---- the same value ---- */

static bool same_value(lua_State *L, int at, const json_t *v, bool *nulls, int depth);

static bool same_array(lua_State *L, int at, const json_t *v, bool *nulls, int depth)
{
    size_t n = json_array_size(v), keys = 0;
    if (lua_rawlen(L, at) != n)
        return false;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
        keys++;
    bool same = keys == n;
    for (size_t i = 0; i < n && same; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        same = same_value(L, -1, json_array_get(v, i), nulls, depth);
        lua_pop(L, 1);
    }
    return same;
}

static size_t members_there(const json_t *v)
{
    size_t n = 0;
    for (void *it = json_object_iter((json_t *)v); it != NULL;
         it = json_object_iter_next((json_t *)v, it))
        n += !json_is_null(json_object_iter_value(it));
    return n;
}

static bool same_object(lua_State *L, int at, const json_t *v, bool *nulls, int depth)
{
    size_t there = 0, absent = json_object_size(v);
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        size_t n;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &n) : NULL;
        const json_t *member = key != NULL ? json_object_getn(v, key, n) : NULL;
        if (member == NULL || !same_value(L, -1, member, nulls, depth)) {
            lua_pop(L, 2);
            return false;
        }
        there += !json_is_null(member);
        absent--;
    }
    if (absent == 0)
        return true;
    *nulls = true;
    return depth == 1 && there == members_there(v);
}

static bool same_table(lua_State *L, int at, const json_t *v, bool *nulls, int depth)
{
    if (depth >= VM_DEPTH_MAX || !lua_checkstack(L, 8))
        return false;
    at = lua_absindex(L, at);
    bool marked = is_marked(L, at);
    vm_push_content(L, at);
    int content = lua_gettop(L);
    bool list = marked || lua_rawlen(L, content) > 0, same = false;
    if (list && json_is_array(v))
        same = same_array(L, content, v, nulls, depth + 1);
    else if (!list && json_is_object(v))
        same = same_object(L, content, v, nulls, depth + 1);
    lua_settop(L, content - 1);
    return same;
}

static bool same_number(lua_State *L, int at, const json_t *v)
{
    if (lua_isinteger(L, at))
        return json_is_integer(v) && json_integer_value(v) == lua_tointeger(L, at);
    double a = lua_tonumber(L, at), b = json_real_value(v);
    return json_is_real(v) && memcmp(&a, &b, sizeof a) == 0; /* -0.0 is not 0.0 */
}

static bool same_text(lua_State *L, int at, const json_t *v)
{
    size_t n;
    const char *s = lua_tolstring(L, at, &n);
    return json_is_string(v) && json_string_length(v) == n &&
           memcmp(json_string_value(v), s, n) == 0;
}

static bool same_value(lua_State *L, int at, const json_t *v, bool *nulls, int depth)
{
    switch (lua_type(L, at)) {
    case LUA_TBOOLEAN:
        return json_is_boolean(v) && json_is_true(v) == (lua_toboolean(L, at) != 0);
    case LUA_TNUMBER:
        return same_number(L, at, v);
    case LUA_TSTRING:
        return same_text(L, at, v);
    case LUA_TTABLE:
        return same_table(L, at, v, nulls, depth);
    default:
        return vm_is_null(L, at) && json_is_null(v);
    }
}

bool vm_json_is(lua_State *L, int at, const json_t *v, bool *nulls)
{
    *nulls = false;
    return same_value(L, lua_absindex(L, at), v, nulls, 0);
}
