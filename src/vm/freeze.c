/* Freezing: the content of a table moves to another one that only we can reach; the table itself
 * stays, empty, and its metatable reads there and refuses writes. It keeps its identity, so whoever
 * holds it need not know.
 *
 * Fields that begin with "__" stay in the table as well: Lua looks for metamethods past any
 * __index, and a class must go on to serve as a metatable. */
#include <string.h>

#include "vm/vm_priv.h"

static const char frozen_key; /* its address marks metatables of ours, and holds the content */

/* Pushes the content and returns true, or pushes nothing. */
static bool push_frozen(lua_State *L, int at)
{
    if (lua_type(L, at) != LUA_TTABLE || !lua_getmetatable(L, at))
        return false;
    if (lua_rawgetp(L, -1, &frozen_key) == LUA_TTABLE) {
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 2);
    return false;
}

bool vm_is_frozen(lua_State *L, int at)
{
    if (!push_frozen(L, at))
        return false;
    lua_pop(L, 1);
    return true;
}

void vm_push_content(lua_State *L, int at)
{
    at = lua_absindex(L, at);
    if (!push_frozen(L, at))
        lua_pushvalue(L, at);
}

static int frozen_newindex(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return luaL_error(L,
                      "'%s' cannot be set: modules are read-only once the script is loaded; keep "
                      "what changes in a local of the function, or in an entity",
                      name);
}

static int frozen_len(lua_State *L)
{
    vm_push_content(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
    return 1;
}

/* `next` that knows frozen tables; the content itself is never handed out. */
static int frozen_next(lua_State *L)
{
    lua_settop(L, 2);
    vm_push_content(L, 1);
    lua_replace(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

int vm_frozen_pairs(lua_State *L)
{
    lua_pushcfunction(L, frozen_next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static bool stays(lua_State *L, int key)
{
    return lua_type(L, key) == LUA_TSTRING && strncmp(lua_tostring(L, key), "__", 2) == 0;
}

/* Stack: table at `at`; moves its fields to the table on top. */
static void move_content(lua_State *L, int at, int to)
{
    for (lua_pushnil(L); lua_next(L, at);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, to); /* key remains for lua_next */
    }
    for (lua_pushnil(L); lua_next(L, to);) {
        lua_pop(L, 1);
        if (stays(L, -1))
            continue;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, at);
    }
}

void vm_mark_frozen(lua_State *L, int metatable, int content)
{
    metatable = lua_absindex(L, metatable);
    lua_pushvalue(L, content);
    lua_rawsetp(L, metatable, &frozen_key);
}

/* The metatable of the frozen table: what it had, and ours over it. A __gc that a script has put
 * into it behind setmetatable's back must not come to life by our setting it again. */
static void push_metatable(lua_State *L, int at, int content)
{
    lua_createtable(L, 0, 8);
    int mt = lua_gettop(L);
    if (lua_getmetatable(L, at)) {
        lua_pushliteral(L, "__gc");
        lua_pushnil(L);
        lua_rawset(L, -3);
        for (lua_pushnil(L); lua_next(L, -2);) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, mt);
        }
        lua_setmetatable(L, content); /* so that its own __index still answers */
    }
    static const luaL_Reg ours[] = {{"__newindex", frozen_newindex},
                                    {"__len", frozen_len},
                                    {"__pairs", vm_frozen_pairs},
                                    {NULL, NULL}};
    luaL_setfuncs(L, ours, 0);
    lua_pushvalue(L, content);
    lua_setfield(L, mt, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, mt, "__metatable");
    vm_mark_frozen(L, mt, content);
}

void vm_freeze(lua_State *L, int at)
{
    at = lua_absindex(L, at);
    if (lua_type(L, at) != LUA_TTABLE || vm_is_frozen(L, at))
        return;
    luaL_checkstack(L, 12, "tables nested too deeply to be frozen");
    lua_newtable(L);
    int content = lua_gettop(L);
    move_content(L, at, content);
    push_metatable(L, at, content);
    lua_setmetatable(L, at);
    for (lua_pushnil(L); lua_next(L, content);) {
        vm_freeze(L, -1);
        lua_pop(L, 1);
    }
    lua_settop(L, content - 1);
}
