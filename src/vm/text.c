/* JSON text as Lua values, without the values of base/json.h between: of text that json_print()
 * would write so.
 *
 * Keys. A script is given objects of the same few kinds again and again. The keys of the last one
 * are kept, and where the next one has the same key at the same place the string is taken from
 * there, at a fifth of what finding it by its bytes costs. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "vm/vm_priv.h"

/* ---- keys ---- */

int vm_shape_push(lua_State *L, struct vm_shape *s)
{
    if (s->ref == 0) {
        lua_createtable(L, VM_SHAPE_KEYS, 0);
        s->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->ref);
    return lua_gettop(L);
}

void vm_shape_key(lua_State *L, struct vm_shape *s, int table, size_t i, struct str key)
{
    if (i >= VM_SHAPE_KEYS) {
        lua_pushlstring(L, key.p, key.n);
        return;
    }
    if (s->key[i].p != NULL && s->key[i].n == key.n && memcmp(s->key[i].p, key.p, key.n) == 0) {
        lua_rawgeti(L, table, (lua_Integer)i + 1);
        return;
    }
    s->key[i].p = NULL; /* until the string is in the table, which keeps it */
    const char *kept = lua_pushlstring(L, key.p, key.n);
    lua_pushvalue(L, -1);
    lua_rawseti(L, table, (lua_Integer)i + 1);
    s->key[i] = (struct str){kept, key.n};
}

/* ---- values ---- */

struct text {
    const char *p, *end; /* a NUL stands at the end */
};

static void push_value(lua_State *L, struct text *t, int depth);

static int bad(lua_State *L)
{
    return luaL_error(L, "a text that should be JSON is not");
}

static struct str read_string(lua_State *L, struct text *t)
{
    if (*t->p != '"')
        bad(L);
    const char *from = ++t->p;
    t->p += str_json_plain(t->p, (size_t)(t->end - t->p));
    if (*t->p != '"')
        bad(L);
    return (struct str){from, (size_t)(t->p++ - from)};
}

static void skip_char(lua_State *L, struct text *t, char c)
{
    if (*t->p != c)
        bad(L);
    t->p++;
}

/* A null member is absent. */
static void push_object(lua_State *L, struct text *t, int depth)
{
    struct vm_shape *s = depth == 1 ? &vm_of(L)->shape_text : NULL;
    int shape = s != NULL ? vm_shape_push(L, s) : 0;
    size_t count = 0;
    lua_createtable(L, 0, s != NULL ? (int)s->count : 0);
    while (*t->p != '}') {
        if (count++ > 0)
            skip_char(L, t, ',');
        struct str key = read_string(L, t);
        skip_char(L, t, ':');
        if (*t->p == 'n' && strncmp(t->p, "null", 4) == 0) {
            t->p += 4;
            continue;
        }
        if (s != NULL)
            vm_shape_key(L, s, shape, count - 1, key);
        else
            lua_pushlstring(L, key.p, key.n);
        push_value(L, t, depth);
        lua_rawset(L, -3);
    }
    t->p++;
    if (s == NULL)
        return;
    s->count = count < VM_SHAPE_KEYS ? count : VM_SHAPE_KEYS;
    lua_remove(L, shape);
}

static void push_array(lua_State *L, struct text *t, int depth)
{
    lua_newtable(L);
    for (lua_Integer i = 1; *t->p != ']'; i++) {
        if (i > 1)
            skip_char(L, t, ',');
        push_value(L, t, depth);
        lua_rawseti(L, -2, i);
    }
    t->p++;
    vm_mark_list(L);
}

static void push_number(lua_State *L, struct text *t)
{
    const char *from = t->p;
    char *end;
    long long whole = strtoll(from, &end, 10);
    if (end == from)
        bad(L);
    if (*end != '.' && *end != 'e' && *end != 'E')
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, strtod(from, &end));
    t->p = end;
}

static void push_word(lua_State *L, struct text *t)
{
    bool yes = strncmp(t->p, "true", 4) == 0;
    if (strncmp(t->p, "null", 4) == 0)
        vm_push_null(L);
    else if (yes || strncmp(t->p, "false", 5) == 0)
        lua_pushboolean(L, yes);
    else
        bad(L);
    t->p += *t->p == 'f' ? 5 : 4;
}

static void push_nested(lua_State *L, struct text *t, int depth,
                        void (*push)(lua_State *L, struct text *t, int depth))
{
    if (depth >= VM_DEPTH_MAX)
        luaL_error(L, "value is nested deeper than %d", VM_DEPTH_MAX);
    luaL_checkstack(L, 8, "value nested too deeply");
    t->p++;
    push(L, t, depth + 1);
}

static void push_value(lua_State *L, struct text *t, int depth)
{
    struct str s;
    switch (*t->p) {
    case '{':
        push_nested(L, t, depth, push_object);
        return;
    case '[':
        push_nested(L, t, depth, push_array);
        return;
    case '"':
        s = read_string(L, t);
        lua_pushlstring(L, s.p, s.n);
        return;
    case '-':
    case '0' ... '9':
        push_number(L, t);
        return;
    default:
        push_word(L, t);
        return;
    }
}

void vm_push_printed(lua_State *L, const char *text, size_t n)
{
    struct text t = {.p = text, .end = text + n};
    luaL_checkstack(L, 8, NULL);
    push_value(L, &t, 0);
    if (t.p != t.end)
        bad(L);
}
