/* The global functions of the sandbox. */
#include <string.h>

#include "vm/vm_priv.h"

static int vm_pcall_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L);
    struct vm_run *run = vm_run_of(L);
    if (run != NULL && (run->killed || status == LUA_ERRMEM)) {
        if (run->killed)
            vm_kill(L, run, 0, "");
        vm_kill_starved(L, run);
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* As Lua's, but for errors that nobody may catch: a spent budget, memory at its cap. */
static int vm_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    return vm_pcall_k(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, vm_pcall_k), 0);
}

static int vm_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    vm_push_content(L, 1);
    lua_replace(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int vm_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    vm_push_content(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int vm_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (vm_is_frozen(L, 1))
        return luaL_error(L, "rawset: this table is read-only once the script is loaded");
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int vm_rawlen(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TTABLE)
        vm_push_content(L, 1);
    else
        luaL_checkstring(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
    return 1;
}

/* Finalizers run with hooks off, at a moment nobody chose: there are none. */
static int vm_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    lua_settop(L, 2);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "setmetatable: this table is protected");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        vm_push_content(L, 2);
        lua_insert(L, -2);
        if (lua_rawget(L, -2) != LUA_TNIL)
            return luaL_error(L, "setmetatable: there is no __gc here; use a local with <close>");
        lua_pop(L, 1);
        /* A table whose __call is itself would keep Lua busy for minutes, where no hook looks. */
        lua_pushliteral(L, "__call");
        if (lua_rawget(L, -2) != LUA_TNIL && !lua_isfunction(L, -1))
            return luaL_error(L, "setmetatable: __call must be a function");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int vm_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE || !lua_getmetatable(L, 1))
        return lua_pushnil(L), 1;
    if (luaL_getmetafield(L, 1, "__metatable") == LUA_TNIL)
        return 1;
    if (lua_type(L, -1) == LUA_TBOOLEAN)
        lua_pushnil(L);
    return 1;
}

static int vm_print(lua_State *L)
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
    luaL_where(L, 1);
    struct vm_host *h = vm_host_of(L);
    if (h->print != NULL)
        h->print(h, lua_tostring(L, -1), lua_tostring(L, -2));
    return 0;
}

static void open_math(lua_State *L, int globals)
{
    struct vm_host *h = vm_host_of(L);
    lua_Integer seed[2];
    h->random(h, seed, sizeof seed);
    lua_pushcfunction(L, luaopen_math);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "randomseed");
    lua_pushinteger(L, seed[0]);
    lua_pushinteger(L, seed[1]);
    lua_call(L, 2, 0);
    lua_pushnil(L);
    lua_setfield(L, -2, "randomseed");
    lua_setfield(L, globals, "math");
}

void vm_open_base(lua_State *L, int globals)
{
    static const char *const kept[] = {"assert", "error",    "ipairs",   "pairs", "rawequal",
                                       "select", "tonumber", "tostring", "type",  "_VERSION"};
    static const luaL_Reg ours[] = {{"next", vm_next},
                                    {"pcall", vm_pcall},
                                    {"print", vm_print},
                                    {"rawget", vm_rawget},
                                    {"rawlen", vm_rawlen},
                                    {"rawset", vm_rawset},
                                    {"setmetatable", vm_setmetatable},
                                    {"getmetatable", vm_getmetatable},
                                    {"require", vm_require},
                                    {NULL, NULL}};
    /* Lua's library fills whatever the registry calls its globals: a table that goes away again. */
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 1);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, globals, kept[i]);
    }
    lua_pop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->env);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pushvalue(L, globals);
    luaL_setfuncs(L, ours, 0);
    lua_pop(L, 1);
    open_math(L, globals);
    lua_pushcfunction(L, luaopen_utf8);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "codepoint");
    vm_limit_values(L);
    lua_setfield(L, -2, "codepoint");
    lua_setfield(L, globals, "utf8");
}
