/* time: moments for scripts. A moment is a number (milliseconds since 1970 UTC) or a text as
 * records hold it; what is done with one gives the same form back. The clock is the VM's host's, so
 * a test may bring another. Everything is UTC. */
#include <string.h>

#include "base/buf.h"
#include "base/time.h"
#include "bind/bind_priv.h"

enum { TIME_PATTERN_MAX = 256, TIME_AMOUNT_MAX = 1000000000 };

static int time_refuse(lua_State *L, const char *what, const char *words)
{
    struct err e;
    err_field(&e, ERR_INVALID, what, "%s: %s", what, words);
    return vm_raise(L, &e);
}

static int64_t check_moment(lua_State *L, int at, const char *what)
{
    int64_t ms = 0;
    if (lua_isinteger(L, at))
        return lua_tointeger(L, at);
    if (lua_type(L, at) == LUA_TNUMBER)
        return (int64_t)luaL_checknumber(L, at);
    size_t n;
    const char *s = lua_type(L, at) == LUA_TSTRING ? lua_tolstring(L, at, &n) : NULL;
    if (s == NULL || !time_parse(s, n, &ms))
        time_refuse(
            L, what,
            "wants a moment: milliseconds, or a text like 2026-11-22T13:57:14Z or 2026-11-22");
    return ms;
}

/* In the form of the argument. */
static int push_moment_like(lua_State *L, int at, int64_t ms)
{
    char text[TIME_TEXT];
    if (lua_type(L, at) == LUA_TNUMBER)
        return lua_pushinteger(L, ms), 1;
    time_format(ms, text);
    lua_pushlstring(L, text, lua_rawlen(L, at) == 10 && ms % 86400000 == 0 ? 10 : TIME_TEXT - 1);
    return 1;
}

/* host.now() */
static int time_lib_now(lua_State *L)
{
    struct vm_host *h = vm_host_of(L);
    lua_pushinteger(L, h->wall_ms(h));
    return 1;
}

/* host.time_parse(text): a moment in milliseconds, or nil when the text is none */
static int time_lib_parse(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    int64_t ms;
    if (time_parse(s, n, &ms))
        lua_pushinteger(L, ms);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- writing ---- */

static const char *const time_days_named[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                              "Friday", "Saturday", "Sunday"};
static const char *const time_months_named[] = {"January",   "February", "March",    "April",
                                                "May",       "June",     "July",     "August",
                                                "September", "October",  "November", "December"};

static bool add_directive(struct buf *b, char c, const struct time_parts *p)
{
    switch (c) {
    case 'Y':
        buf_addf(b, "%04d", p->year);
        return true;
    case 'm':
        buf_addf(b, "%02d", p->month);
        return true;
    case 'd':
        buf_addf(b, "%02d", p->day);
        return true;
    case 'H':
        buf_addf(b, "%02d", p->hour);
        return true;
    case 'M':
        buf_addf(b, "%02d", p->minute);
        return true;
    case 'S':
        buf_addf(b, "%02d", p->second);
        return true;
    case 'L':
        buf_addf(b, "%03d", p->ms);
        return true;
    case 'j':
        buf_addf(b, "%03d", p->yearday);
        return true;
    case 'u':
        buf_addf(b, "%d", p->weekday);
        return true;
    case 'A':
        buf_adds(b, time_days_named[p->weekday - 1]);
        return true;
    case 'a':
        buf_addf(b, "%.3s", time_days_named[p->weekday - 1]);
        return true;
    case 'B':
        buf_adds(b, time_months_named[p->month - 1]);
        return true;
    case 'b':
        buf_addf(b, "%.3s", time_months_named[p->month - 1]);
        return true;
    case '%':
        buf_addc(b, '%');
        return true;
    default:
        return false;
    }
}

/* host.time_format(moment, pattern): the clock and RFC 3339 where they are left out */
static int time_lib_format(lua_State *L)
{
    struct vm_host *h = vm_host_of(L);
    int64_t ms = lua_isnoneornil(L, 1) ? h->wall_ms(h) : check_moment(L, 1, "time.format");
    if (lua_isnoneornil(L, 2)) {
        char text[TIME_TEXT];
        time_format(ms, text);
        lua_pushstring(L, text);
        return 1;
    }
    size_t n;
    const char *pattern = luaL_checklstring(L, 2, &n);
    if (n > TIME_PATTERN_MAX)
        return time_refuse(L, "time.format", "the pattern is longer than 256 bytes");
    struct time_parts parts;
    time_split(ms, &parts);
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        if (pattern[i] != '%')
            buf_addc(b, pattern[i]);
        else if (++i == n || !add_directive(b, pattern[i], &parts))
            return time_refuse(L, "time.format",
                               "after a % comes one of Y m d H M S L j u A a B b %");
    return bind_push_text(L, b);
}

/* host.time_parts(moment): a table; time_of(table) is the way back */
static int time_lib_parts(lua_State *L)
{
    struct time_parts p;
    time_split(check_moment(L, 1, "time.parts"), &p);
    const struct {
        const char *name;
        int value;
    } all[] = {{"year", p.year}, {"month", p.month},     {"day", p.day},
               {"hour", p.hour}, {"minute", p.minute},   {"second", p.second},
               {"ms", p.ms},     {"weekday", p.weekday}, {"yearday", p.yearday}};
    lua_createtable(L, 0, sizeof all / sizeof all[0]);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        lua_pushinteger(L, all[i].value);
        lua_setfield(L, -2, all[i].name);
    }
    return 1;
}

/* ---- reckoning ---- */

struct amounts {
    int64_t months, ms;
};

static const struct {
    const char *name;
    int64_t months, ms;
} time_units[] = {{"years", 12, 0},      {"months", 1, 0},      {"weeks", 0, 604800000},
                  {"days", 0, 86400000}, {"hours", 0, 3600000}, {"minutes", 0, 60000},
                  {"seconds", 0, 1000},  {"ms", 0, 1}};

static void add_amount(lua_State *L, struct amounts *sum)
{
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isinteger(L, -1))
        time_refuse(L, "time.add", "amounts are whole numbers by name, like { days = 3 }");
    const char *name = lua_tostring(L, -2);
    int64_t n = lua_tointeger(L, -1);
    if (n > TIME_AMOUNT_MAX || n < -TIME_AMOUNT_MAX)
        time_refuse(L, "time.add", "an amount is beyond a thousand million");
    for (size_t i = 0; i < sizeof time_units / sizeof time_units[0]; i++)
        if (strcmp(time_units[i].name, name) == 0) {
            sum->months += n * time_units[i].months;
            sum->ms += n * time_units[i].ms;
            return;
        }
    time_refuse(L, "time.add", "the units are years months weeks days hours minutes seconds ms");
}

static struct amounts check_amounts(lua_State *L, int at)
{
    struct amounts sum = {0};
    struct err e = ERR_INIT;
    if (lua_isinteger(L, at)) {
        sum.ms = lua_tointeger(L, at);
    } else if (lua_type(L, at) == LUA_TSTRING) {
        const char *s = lua_tostring(L, at);
        bool minus = *s == '-';
        if (duration_parse(s + minus, &sum.ms, &e) != 0)
            vm_raise(L, &e);
        sum.ms = minus ? -sum.ms : sum.ms;
    } else if (lua_istable(L, at)) {
        for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
            add_amount(L, &sum);
    } else {
        time_refuse(L, "time.add", "wants { days = 1 }, \"1h30m\" or milliseconds");
    }
    return sum;
}

/* The 31st of a shorter month is its last day. */
static bool add_months(int64_t *ms, int64_t months)
{
    struct time_parts p;
    time_split(*ms, &p);
    int64_t all = (int64_t)p.year * 12 + p.month - 1 + months;
    if (all < 0 || all >= 10000 * 12)
        return false;
    p.year = (int)(all / 12);
    p.month = (int)(all % 12) + 1;
    int last = time_month_days(p.year, p.month);
    p.day = p.day < last ? p.day : last;
    return time_join(&p, ms);
}

/* host.time_add(moment, amounts) */
static int time_lib_add(lua_State *L)
{
    int64_t ms = check_moment(L, 1, "time.add");
    struct amounts a = check_amounts(L, 2);
    char text[TIME_TEXT];
    int64_t back = 0;
    bool good =
        (a.months == 0 || add_months(&ms, a.months)) && !__builtin_add_overflow(ms, a.ms, &ms);
    time_format(ms, text);
    if (!good || !time_parse(text, TIME_TEXT - 1, &back) || back != ms)
        return time_refuse(L, "time.add", "the result lies outside of the years 0000 to 9999");
    return push_moment_like(L, 1, ms);
}

/* host.time_diff(a, b, unit): a - b in milliseconds, or in a unit, as a fraction where it is one */
static int time_lib_diff(lua_State *L)
{
    int64_t ms = 0;
    if (__builtin_sub_overflow(check_moment(L, 1, "time.diff"), check_moment(L, 2, "time.diff"),
                               &ms))
        return time_refuse(L, "time.diff", "the moments are too far apart");
    const char *unit = luaL_optstring(L, 3, "ms");
    for (size_t i = 0; i < sizeof time_units / sizeof time_units[0]; i++) {
        if (time_units[i].ms == 0 || strcmp(time_units[i].name, unit) != 0)
            continue;
        if (ms % time_units[i].ms == 0)
            lua_pushinteger(L, ms / time_units[i].ms);
        else
            lua_pushnumber(L, (double)ms / (double)time_units[i].ms);
        return 1;
    }
    return time_refuse(L, "time.diff", "the units are weeks days hours minutes seconds ms");
}

/* host.duration(text) -> milliseconds */
static int time_lib_duration(lua_State *L)
{
    int64_t ms;
    struct err e = ERR_INIT;
    if (duration_parse(luaL_checkstring(L, 1), &ms, &e) != 0)
        return vm_raise(L, &e);
    lua_pushinteger(L, ms);
    return 1;
}

void bind_open_time(lua_State *L)
{
    static const luaL_Reg fns[] = {{"now", time_lib_now},
                                   {"time_parse", time_lib_parse},
                                   {"time_format", time_lib_format},
                                   {"time_parts", time_lib_parts},
                                   {"time_add", time_lib_add},
                                   {"time_diff", time_lib_diff},
                                   {"duration", time_lib_duration},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
