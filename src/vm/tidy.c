/* string.tidy: what a value of somebody else's list says, or nil when that is nothing.
 *
 * One call for what scripts that read lists do with each of their values, and what costs thirty
 * instructions of Lua when it is written there. */
#include <math.h>
#include <string.h>

#include "vm/vm_priv.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* How many of the first bytes stay as they are: no white space but single spaces between words. */
static size_t tidy_until(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_space(s[i]))
            continue;
        if (s[i] != ' ' || i == 0 || i + 1 == n || is_space(s[i + 1]))
            return i;
    }
    return n;
}

/* Pushes the words of `s` with one space between them. */
static void push_words(lua_State *L, const char *s, size_t n, size_t from)
{
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, n);
    size_t len = from;
    memcpy(out, s, from);
    for (size_t i = from; i < n; i++) {
        if (!is_space(s[i]))
            out[len++] = s[i];
        else if (len > 0 && out[len - 1] != ' ')
            out[len++] = ' ';
    }
    if (len > 0 && out[len - 1] == ' ')
        len--;
    luaL_pushresultsize(&b, len);
}

/* As it is written: 7.0 is "7". */
static void push_number(lua_State *L)
{
    lua_Number v = lua_tonumber(L, 1);
    if (!lua_isinteger(L, 1) && v == floor(v) && fabs(v) < 0x1p63)
        lua_pushinteger(L, (lua_Integer)v);
    else
        lua_pushvalue(L, 1);
    lua_tolstring(L, -1, NULL);
}

int vm_tidy(lua_State *L)
{
    int kind = lua_type(L, 1);
    bool marks = !lua_isnoneornil(L, 2);
    if (marks)
        luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (kind == LUA_TSTRING) {
        size_t n, clean;
        const char *s = lua_tolstring(L, 1, &n);
        vm_charge(L, n / 64);
        clean = tidy_until(s, n);
        if (clean == n)
            lua_pushvalue(L, 1);
        else
            push_words(L, s, n, clean);
        if (n == 0 || (clean < n && lua_rawlen(L, -1) == 0))
            return 0;
    } else if (kind == LUA_TNUMBER) {
        push_number(L);
    } else {
        return 0;
    }
    if (!marks)
        return 1;
    vm_push_content(L, 2);
    lua_pushvalue(L, 3);
    if (lua_rawget(L, -2) != LUA_TNIL && lua_toboolean(L, -1))
        return 0;
    lua_pushvalue(L, 3);
    return 1;
}
