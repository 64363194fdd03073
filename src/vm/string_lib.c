/* string: Lua's own functions where they are bounded, ours where they were not. */
#include <string.h>

#include "vm/pattern.h"
#include "vm/vm_priv.h"

enum { VM_REP_MAX = 1 << 20, VM_STEPS_PER_UNIT = 8 };

struct search {
    struct vm_pattern_match match;
    const char *at;   /* gmatch: where to go on */
    const char *last; /* gmatch, gsub: the end of the last match, so that an empty one is not found
                         there again */
    struct vm_pattern pattern; /* last, its nodes too: most patterns have a few of the 128 */
};

static void search_init(lua_State *L, struct search *s, int text, int pattern)
{
    size_t n, pn;
    const char *t = luaL_checklstring(L, text, &n), *p = luaL_checklstring(L, pattern, &pn);
    const char *wrong = vm_pattern_cached(&vm_of(L)->patterns, p, pn, &s->pattern);
    if (wrong != NULL)
        luaL_error(L, "%s", wrong);
    s->match.text = s->at = t;
    s->match.end = t + n;
    s->match.exhausted = false;
    s->last = NULL;
}

/* The next match at or after `at`: its begin, or NULL; *end is its end. */
static const char *search_next(lua_State *L, struct search *s, const char *at, const char **end)
{
    s->match.steps = 0;
    s->match.steps_max = VM_PATTERN_STEPS_MAX;
    const char *found = NULL;
    for (; at <= s->match.end; at++) {
        at = vm_pattern_skip(&s->pattern, &s->match, at);
        *end = vm_pattern_match(&s->pattern, &s->match, at);
        if (*end != NULL && *end != s->last) {
            found = at;
            break;
        }
        s->match.steps++;
        if (s->match.exhausted || s->pattern.anchored)
            break;
    }
    /* First, or a script that catches the error could go on at no cost. */
    vm_charge(L, s->match.steps / VM_STEPS_PER_UNIT);
    if (s->match.exhausted)
        luaL_error(L,
                   "pattern takes too long on this text: gave up after %d steps; use fewer "
                   "repetitions, or anchor it",
                   VM_PATTERN_STEPS_MAX);
    return found;
}

static void push_capture(lua_State *L, const struct search *s, int i, const char *from,
                         const char *to)
{
    if (i == 0 && s->pattern.captures == 0)
        lua_pushlstring(L, from, (size_t)(to - from));
    else if (i >= s->pattern.captures)
        luaL_error(L, "capture %%%d is not in the pattern", i + 1);
    else if (s->match.capture[i].len < 0)
        lua_pushinteger(L, s->match.capture[i].at - s->match.text + 1);
    else
        lua_pushlstring(L, s->match.capture[i].at, (size_t)s->match.capture[i].len);
}

static int push_captures(lua_State *L, const struct search *s, const char *from, const char *to,
                         bool whole)
{
    int count = s->pattern.captures == 0 && whole ? 1 : s->pattern.captures;
    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(L, s, i, from, to);
    return count;
}

/* A start position as Lua counts, 1 first and negative from the end, as an offset. */
static size_t start_of(lua_Integer pos, size_t n)
{
    if (pos > 0)
        return (size_t)pos - 1;
    if (pos == 0 || (lua_Unsigned)(-pos) > n)
        return 0;
    return n - (size_t)(-pos);
}

static int find_plain(lua_State *L, const char *t, size_t n, size_t from)
{
    size_t pn;
    const char *p = lua_tolstring(L, 2, &pn);
    const char *hit = pn == 0 ? t + from : memmem(t + from, n - from, p, pn);
    vm_charge(L, (n - from) / 64);
    if (hit == NULL)
        return luaL_pushfail(L), 1;
    lua_pushinteger(L, hit - t + 1);
    lua_pushinteger(L, hit - t + (lua_Integer)pn);
    return 2;
}

static bool is_plain(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != '\0' && strchr("^$*+?.([%-", p[i]) != NULL)
            return false;
    return true;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t n, pn;
    const char *t = luaL_checklstring(L, 1, &n), *p = luaL_checklstring(L, 2, &pn);
    size_t from = start_of(luaL_optinteger(L, 3, 1), n);
    if (from > n)
        return luaL_pushfail(L), 1;
    if (find && (lua_toboolean(L, 4) || is_plain(p, pn)))
        return find_plain(L, t, n, from);
    struct search s;
    search_init(L, &s, 1, 2);
    const char *to, *hit = search_next(L, &s, t + from, &to);
    if (hit == NULL)
        return luaL_pushfail(L), 1;
    if (!find)
        return push_captures(L, &s, hit, to, true);
    lua_pushinteger(L, hit - t + 1);
    lua_pushinteger(L, to - t);
    return 2 + push_captures(L, &s, hit, to, false);
}

static int vm_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int vm_match(lua_State *L)
{
    return find_or_match(L, false);
}

static int gmatch_next(lua_State *L)
{
    struct search *s = lua_touserdata(L, lua_upvalueindex(3));
    const char *to, *hit = s->at <= s->match.end ? search_next(L, s, s->at, &to) : NULL;
    if (hit == NULL)
        return 0;
    s->at = s->last = to;
    return push_captures(L, s, hit, to, true);
}

static int vm_gmatch(lua_State *L)
{
    size_t n;
    const char *t = luaL_checklstring(L, 1, &n);
    luaL_checkstring(L, 2);
    size_t from = start_of(luaL_optinteger(L, 3, 1), n);
    lua_settop(L, 2);
    struct search s;
    search_init(L, &s, 1, 2);
    s.pattern.anchored = false; /* a '^' means nothing here */
    s.at = t + (from > n ? n + 1 : from);
    size_t size = offsetof(struct search, pattern.node) +
                  (size_t)s.pattern.count * sizeof(struct vm_pattern_node);
    memcpy(lua_newuserdatauv(L, size, 0), &s, size);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

static void add_template(lua_State *L, luaL_Buffer *b, const struct search *s, const char *from,
                         const char *to)
{
    size_t n;
    const char *r = lua_tolstring(L, 3, &n);
    for (const char *end = r + n; r < end; r++) {
        if (*r != '%') {
            luaL_addchar(b, *r);
            continue;
        }
        r++;
        if (r < end && *r == '%') {
            luaL_addchar(b, '%');
        } else if (r < end && *r == '0') {
            luaL_addlstring(b, from, (size_t)(to - from));
        } else if (r < end && *r >= '1' && *r <= '9') {
            push_capture(L, s, *r - '1', from, to);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "'%%' in the replacement needs a digit or another '%%' behind it");
        }
    }
}

static void add_replacement(lua_State *L, luaL_Buffer *b, const struct search *s, const char *from,
                            const char *to)
{
    int kind = lua_type(L, 3);
    if (kind == LUA_TSTRING || kind == LUA_TNUMBER) {
        add_template(L, b, s, from, to);
        return;
    }
    if (kind == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, s, from, to, true), 1);
    } else {
        push_capture(L, s, 0, from, to);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, from, (size_t)(to - from));
    } else if (lua_isstring(L, -1)) {
        luaL_addvalue(b);
    } else {
        luaL_error(L, "replacement is a %s, not text", luaL_typename(L, -1));
    }
}

static int vm_gsub(lua_State *L)
{
    struct search s;
    search_init(L, &s, 1, 2);
    int kind = lua_type(L, 3);
    luaL_argexpected(L,
                     kind == LUA_TSTRING || kind == LUA_TNUMBER || kind == LUA_TTABLE ||
                         kind == LUA_TFUNCTION,
                     3, "string/function/table");
    if (kind == LUA_TNUMBER)
        luaL_checkstring(L, 3);
    lua_Integer most = luaL_optinteger(L, 4, LUA_MAXINTEGER), done = 0;
    lua_settop(L, 3);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    const char *at = s.match.text, *to;
    while (done < most && at <= s.match.end) {
        const char *hit = search_next(L, &s, at, &to);
        if (hit == NULL)
            break;
        luaL_addlstring(&b, at, (size_t)(hit - at));
        add_replacement(L, &b, &s, hit, to);
        done++;
        at = s.last = to;
        if (s.pattern.anchored)
            break;
    }
    if (at < s.match.end)
        luaL_addlstring(&b, at, (size_t)(s.match.end - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, done);
    return 2;
}

/* format with "%.Nf" alone, which printf takes ten times as long for. */
static int vm_format(lua_State *L)
{
    size_t n;
    char text[VM_FIXED_ROOM];
    const char *f =
        lua_gettop(L) == 2 && lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
    if (f != NULL && n == 4 && f[0] == '%' && f[1] == '.' && f[2] >= '0' && f[2] <= '9' &&
        f[3] == 'f' && lua_type(L, 2) == LUA_TNUMBER) {
        size_t len = vm_fixed(lua_tonumber(L, 2), f[2] - '0', text);
        if (len > 0)
            return lua_pushlstring(L, text, len), 1;
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int vm_rep(lua_State *L)
{
    size_t n, sep_n = 0;
    luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &sep_n);
    if (times > 0 && n + sep_n > 0 && (lua_Unsigned)times > VM_REP_MAX / (n + sep_n))
        return luaL_error(L, "rep: the result would be over %d KiB", VM_REP_MAX / 1024);
    if (n + sep_n == 0 && times > 0)
        times = 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushinteger(L, times);
    lua_pushlstring(L, lua_tostring(L, 3) != NULL ? lua_tostring(L, 3) : "", sep_n);
    lua_call(L, 3, 1);
    return 1;
}

static lua_Integer place(lua_Integer at, size_t len)
{
    lua_Integer n = (lua_Integer)len;
    return at >= 0 ? (at < n ? at : n) : at < -n ? 0 : n + at + 1;
}

static int vm_few_values(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    lua_Integer from = luaL_optinteger(L, 2, 1), to = luaL_optinteger(L, 3, from);
    if (place(to, len) - place(from, len) >= VM_VALUES_MAX)
        return luaL_error(L, "over %d values at once; take them in parts", VM_VALUES_MAX);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

void vm_limit_values(lua_State *L)
{
    lua_pushcclosure(L, vm_few_values, 1);
}

void vm_open_string(lua_State *L)
{
    static const char *const kept[] = {"char", "len", "lower", "reverse", "sub", "upper"};
    static const luaL_Reg ours[] = {{"find", vm_find}, {"match", vm_match}, {"gmatch", vm_gmatch},
                                    {"gsub", vm_gsub}, {"tidy", vm_tidy},   {NULL, NULL}};
    lua_newtable(L);
    int lib = lua_gettop(L);
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 1);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, lib, kept[i]);
    }
    lua_getfield(L, -1, "byte");
    vm_limit_values(L);
    lua_setfield(L, lib, "byte");
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, vm_format, 1);
    lua_setfield(L, lib, "format");
    lua_getfield(L, -1, "rep");
    lua_pushcclosure(L, vm_rep, 1);
    lua_setfield(L, lib, "rep");
    lua_pop(L, 1);
    luaL_setfuncs(L, ours, 0);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushvalue(L, lib);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
}
