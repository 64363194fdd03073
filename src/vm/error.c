/* Errors across the boundary: a struct err becomes a table that scripts can look into, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "vm/vm_priv.h"

static int error_tostring(lua_State *L)
{
    static const char *const parts[] = {"where", "code", "detail"};
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    bool first = true;
    for (size_t i = 0; i < 3; i++) {
        lua_getfield(L, 1, parts[i]);
        size_t n;
        const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
        if (s == NULL || n == 0) {
            lua_pop(L, 1);
            continue;
        }
        if (!first) { /* the value is on top: put the colon below it */
            lua_pushliteral(L, ": ");
            lua_insert(L, -2);
            lua_concat(L, 2);
        }
        luaL_addvalue(&b);
        first = false;
    }
    luaL_pushresult(&b);
    return 1;
}

static bool push_where(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && strncmp(ar.short_src, VM_LIBRARY, sizeof VM_LIBRARY - 1) != 0) {
            lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
            return true;
        }
    }
    return false;
}

void vm_where(lua_State *L, char *out, size_t cap)
{
    out[0] = '\0';
    if (push_where(L)) {
        snprintf(out, cap, "%s", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

static int raise(lua_State *L, const char *code, const char *detail, const char *field, bool fault)
{
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    if (detail != NULL && *detail != '\0') {
        lua_pushstring(L, detail);
        lua_setfield(L, -2, "detail");
    }
    if (field != NULL && *field != '\0') {
        lua_pushstring(L, field);
        lua_setfield(L, -2, "field");
    }
    if (push_where(L))
        lua_setfield(L, -2, "where");
    if (fault) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "fault");
    }
    if (luaL_newmetatable(L, "koan.error")) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
    return lua_error(L);
}

int vm_raise(lua_State *L, const struct err *e)
{
    return raise(L, err_info(e->code)->name, e->text, e->field, false);
}

int vm_raise_fault(lua_State *L, const struct err *e)
{
    return raise(L, err_info(e->code)->name, e->text, e->field, true);
}

int vm_raise_code(lua_State *L, const char *code, const char *detail)
{
    return raise(L, code != NULL ? code : "rejected", detail, NULL, false);
}

/* Text fields of an error table, read without allocating: this also runs when memory is out. */
struct error_texts {
    const char *code, *detail, *field, *where;
};

static void read_texts(lua_State *L, int at, struct error_texts *t)
{
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            continue;
        const char *key = lua_tostring(L, -2), *value = lua_tostring(L, -1);
        if (strcmp(key, "code") == 0)
            t->code = value;
        else if (strcmp(key, "detail") == 0)
            t->detail = value;
        else if (strcmp(key, "field") == 0)
            t->field = value;
        else if (strcmp(key, "where") == 0)
            t->where = value;
    }
}

static void error_from_table(lua_State *L, int at, struct err *e, char code[64])
{
    struct error_texts t = {0};
    read_texts(L, at, &t);
    int known = t.code != NULL ? err_by_name(t.code) : ERR_INTERNAL;
    if (known == 0) {
        snprintf(code, 64, "%s", t.code);
        known = ERR_REJECTED;
    }
    const char *words = t.detail != NULL ? t.detail
                        : t.code != NULL ? t.code
                                         : "an error without detail";
    if (t.where != NULL && code[0] == '\0' && known != ERR_REJECTED)
        err_field(e, known, t.field != NULL ? t.field : "", "%s: %s", t.where, words);
    else
        err_field(e, known, t.field != NULL ? t.field : "", "%s", words);
}

void vm_error_get(lua_State *L, int at, struct err *e, char code[64])
{
    code[0] = '\0';
    at = lua_absindex(L, at);
    switch (lua_type(L, at)) {
    case LUA_TSTRING:
        err_set(e, ERR_INTERNAL, "%s", lua_tostring(L, at));
        return;
    case LUA_TTABLE:
        if (lua_checkstack(L, 4)) {
            error_from_table(L, at, e, code);
            return;
        }
        break;
    default:
        break;
    }
    err_set(e, ERR_INTERNAL, "the script raised a %s; raise a text or { code =, detail = }",
            luaL_typename(L, at));
}

bool vm_error_is_fault(lua_State *L, int at)
{
    bool fault = false;
    at = lua_absindex(L, at);
    if (lua_type(L, at) != LUA_TTABLE || !lua_checkstack(L, 4))
        return false;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "fault") == 0)
            fault = lua_toboolean(L, -1);
    return fault;
}

/* The text between "near '" and the last quote; false when there is none. */
static bool near_token(const char *message, struct str *out)
{
    const char *from = strstr(message, "near '");
    const char *to = from != NULL ? strrchr(message, '\'') : NULL;
    if (from == NULL || to <= from + 6)
        return false;
    *out = (struct str){from + 6, (size_t)(to - from - 6)};
    return true;
}

static struct str line_of(const struct vm_source *s, long number)
{
    const char *p = s->text, *end = s->text + s->len;
    for (; number > 1 && p < end; number--) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl != NULL ? nl + 1 : end;
    }
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    return (struct str){p, (size_t)((nl != NULL ? nl : end) - p)};
}

static const char *find_in(struct str in, struct str what, const char *from)
{
    size_t left = in.n - (size_t)(from - in.p);
    return memmem(from, left, what.p, what.n);
}

void vm_error_column(const struct vm_source *s, const char *message, char *out, size_t cap)
{
    snprintf(out, cap, "%s", message);
    size_t name = strlen(s->name);
    if (strncmp(message, s->name, name) != 0 || message[name] != ':')
        return;
    char *rest;
    long number = strtol(message + name + 1, &rest, 10);
    struct str token;
    if (number <= 0 || *rest != ':' || !near_token(rest, &token))
        return;
    struct str line = line_of(s, number);
    const char *hit = find_in(line, token, line.p);
    if (hit == NULL || find_in(line, token, hit + 1) != NULL)
        return;
    snprintf(out, cap, "%s:%ld:%zu%s", s->name, number, (size_t)(hit - line.p) + 1, rest);
}
