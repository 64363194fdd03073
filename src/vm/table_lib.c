/* table and os: Lua's own functions behind checks that bound what they do in C. */
#include <string.h>
#include <time.h>

#include "vm/vm_priv.h"

enum { VM_ITEMS_MAX = 1 << 20, VM_SORT_MAX = 200000, VM_DATE_MAX = 256 };

/* Argument 1 as a table whose length is its own. Readers may take frozen ones. */
static size_t own_table(lua_State *L, const char *verb, bool writes)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (vm_is_frozen(L, 1)) {
        if (writes)
            luaL_error(L, "%s: this table is read-only once the script is loaded; copy it first",
                       verb);
        vm_push_content(L, 1);
        lua_replace(L, 1);
    } else if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL) {
        luaL_error(L, "%s: not for tables with __len", verb);
    }
    size_t n = lua_rawlen(L, 1);
    if (n > VM_ITEMS_MAX)
        luaL_error(L, "%s: over %d items", verb, VM_ITEMS_MAX);
    return n;
}

static int call_original(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int vm_insert(lua_State *L)
{
    size_t n = own_table(L, "insert", true);
    if (lua_gettop(L) > 2)
        vm_charge(L, n / 16);
    return call_original(L);
}

static int vm_remove(lua_State *L)
{
    size_t n = own_table(L, "remove", true);
    if (lua_gettop(L) > 1)
        vm_charge(L, n / 16);
    return call_original(L);
}

static void check_range(lua_State *L, const char *verb, lua_Integer from, lua_Integer to)
{
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= VM_ITEMS_MAX)
        luaL_error(L, "%s: over %d items", verb, VM_ITEMS_MAX);
    if (to >= from)
        vm_charge(L, ((lua_Unsigned)to - (lua_Unsigned)from) / 8);
}

static int vm_concat(lua_State *L)
{
    lua_Integer n = (lua_Integer)own_table(L, "concat", false);
    check_range(L, "concat", luaL_optinteger(L, 3, 1), luaL_optinteger(L, 4, n));
    return call_original(L);
}

static int vm_unpack(lua_State *L)
{
    lua_Integer n = (lua_Integer)own_table(L, "unpack", false);
    lua_Integer from = luaL_optinteger(L, 2, 1), to = luaL_optinteger(L, 3, n);
    if (to >= from && (lua_Unsigned)to - (lua_Unsigned)from >= VM_VALUES_MAX)
        return luaL_error(L, "unpack: over %d items; take them in parts", VM_VALUES_MAX);
    return call_original(L);
}

static int vm_move(lua_State *L)
{
    own_table(L, "move", false);
    int to = lua_istable(L, 5) ? 5 : 1;
    if (vm_is_frozen(L, to))
        return luaL_error(L, "move: the target is read-only once the script is loaded");
    check_range(L, "move", luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_original(L);
}

static int vm_sort(lua_State *L)
{
    size_t n = own_table(L, "sort", true);
    if (n > VM_SORT_MAX)
        return luaL_error(L, "sort: over %d items", VM_SORT_MAX);
    vm_charge(L, n * 4);
    return call_original(L);
}

void vm_open_table(lua_State *L)
{
    static const luaL_Reg guarded[] = {{"insert", vm_insert}, {"remove", vm_remove},
                                       {"concat", vm_concat}, {"unpack", vm_unpack},
                                       {"move", vm_move},     {"sort", vm_sort}};
    lua_newtable(L);
    lua_pushcfunction(L, luaopen_table);
    lua_call(L, 0, 1);
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        lua_getfield(L, -1, guarded[i].name);
        lua_pushcclosure(L, guarded[i].func, 1);
        lua_setfield(L, -3, guarded[i].name);
    }
    lua_getfield(L, -1, "pack");
    lua_setfield(L, -3, "pack");
    lua_pop(L, 1);
}

/* ---- os: time alone, always UTC ---- */

static int64_t wall_ms(lua_State *L)
{
    struct vm_host *h = vm_host_of(L);
    return h->wall_ms(h);
}

static int date_field(lua_State *L, const char *name, int missing)
{
    lua_getfield(L, 1, name);
    int ok, v = (int)lua_tointegerx(L, -1, &ok);
    if (!ok && missing < 0)
        luaL_error(L, "time: field '%s' is missing", name);
    lua_pop(L, 1);
    return ok ? v : missing;
}

static int os_time(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, wall_ms(L) / 1000);
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tm tm = {.tm_year = date_field(L, "year", -1) - 1900,
                    .tm_mon = date_field(L, "month", -1) - 1,
                    .tm_mday = date_field(L, "day", -1),
                    .tm_hour = date_field(L, "hour", 12),
                    .tm_min = date_field(L, "min", 0),
                    .tm_sec = date_field(L, "sec", 0)};
    lua_pushinteger(L, (lua_Integer)timegm(&tm));
    return 1;
}

static void push_date(lua_State *L, const struct tm *tm)
{
    const struct {
        const char *name;
        int value;
    } fields[] = {{"year", tm->tm_year + 1900}, {"month", tm->tm_mon + 1}, {"day", tm->tm_mday},
                  {"hour", tm->tm_hour},        {"min", tm->tm_min},       {"sec", tm->tm_sec},
                  {"wday", tm->tm_wday + 1},    {"yday", tm->tm_yday + 1}};
    lua_createtable(L, 0, 9);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        lua_pushinteger(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "isdst");
}

static int os_date(lua_State *L)
{
    const char *format = luaL_optstring(L, 1, "%Y-%m-%d %H:%M:%S");
    time_t at = (time_t)luaL_optinteger(L, 2, wall_ms(L) / 1000);
    struct tm tm;
    if (gmtime_r(&at, &tm) == NULL)
        return luaL_error(L, "date: year does not fit");
    if (*format == '!')
        format++;
    if (strcmp(format, "*t") == 0)
        return push_date(L, &tm), 1;
    if (strlen(format) > VM_DATE_MAX / 4)
        return luaL_error(L, "date: format over %d bytes", VM_DATE_MAX / 4);
    for (const char *p = format; *p != '\0'; p++)
        if (*p == '%' && (*++p == '\0' || strchr("aAbBcdDeFHIjmMnprRStTuUVwWxXyYzZ%", *p) == NULL))
            return luaL_error(L, "date: format '%s' has an unknown conversion", format);
    char out[VM_DATE_MAX * 8];
    lua_pushlstring(L, out, strftime(out, sizeof out, format, &tm));
    return 1;
}

static int os_clock(lua_State *L)
{
    struct vm_host *h = vm_host_of(L);
    lua_pushnumber(L, (lua_Number)h->mono_ns(h) / 1e9);
    return 1;
}

static int os_difftime(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)(luaL_checkinteger(L, 1) - luaL_checkinteger(L, 2)));
    return 1;
}

void vm_open_os(lua_State *L)
{
    static const luaL_Reg fns[] = {{"time", os_time},
                                   {"date", os_date},
                                   {"clock", os_clock},
                                   {"difftime", os_difftime},
                                   {NULL, NULL}};
    luaL_newlib(L, fns);
}
