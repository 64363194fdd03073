/* Ways out of Lua sandboxes that are known, from the history of Lua 5.4 and of those who embed it;
 * each is tried and must lead nowhere. What is tried in Lua returns true when it was kept in. U1.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "vm_fixture.h"

TEST(binary_chunks_cannot_be_made_or_loaded) /* U1 */
{
    assert_true_result("function main()\n"
                       "  return string.dump == nil and ('').dump == nil and load == nil\n"
                       "    and not pcall(require, '\\27Lua') and not pcall(require, 't.lua\\0')\n"
                       "end");
    struct host h = host_new();
    static const char *const texts[] = {"\x1bLuaT\0\x19\x93\r\n\x1a\n", "#!x\n\x1bLua",
                                        "\xef\xbb\xbf\x1bLua"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct vm *vm = vm_with(&h, NULL, 0);
        struct err e = ERR_INIT;
        assert_int_equal(load_text(vm, texts[i], &e), ERR_INVALID);
        vm_free(vm);
    }
}

TEST(require_finds_modules_of_the_set_only) /* U1 */
{
    assert_true_result(
        "function main()\n"
        "  for _, n in ipairs { 'io', 'os', 'debug', 'package', 'coroutine', '/etc/passwd',\n"
        "    '../t', './t', 't/../t', '', 'string\\0', ('x'):rep(1e5) } do\n"
        "    if pcall(require, n) then return n end\n"
        "  end\n"
        "  return true\n"
        "end");
}

TEST(no_library_reaches_the_system) /* U1 */
{
    assert_true_result(
        "local seen = {}\n"
        "local bad = { execute = 1, popen = 1, open = 1, lines = 1, input = 1, output = 1,\n"
        "  tmpfile = 1, tmpname = 1, rename = 1, getenv = 1, exit = 1, loadlib = 1,\n"
        "  searchpath = 1, getregistry = 1, sethook = 1, upvalueid = 1, upvaluejoin = 1,\n"
        "  setupvalue = 1, getupvalue = 1, getlocal = 1, dofile = 1, loadfile = 1, load = 1,\n"
        "  collectgarbage = 1, dump = 1, wrap = 1, create = 1, setlocale = 1, randomseed = 1 }\n"
        "local function walk(t, path)\n"
        "  if seen[t] then return end\n"
        "  seen[t] = true\n"
        "  for k, v in pairs(t) do\n"
        "    if bad[k] and type(v) == 'function' then return path .. '.' .. k end\n"
        "    local found = type(v) == 'table' and walk(v, path .. '.' .. tostring(k))\n"
        "    if found then return found end\n"
        "  end\n"
        "end\n"
        "function main() return walk(_G, '_G') or true end");
}

TEST(an_environment_of_its_own_gives_nothing_new) /* U1 */
{
    assert_true_result("function main()\n"
                       "  local _ENV = { pcall = pcall, G = _G }\n"
                       "  x = 1\n"
                       "  return x == 1 and G.x == nil and not pcall(function() G.y = 1 end)\n"
                       "end");
    assert_true_result("local function f() y = 1 end\n"
                       "function main() return not pcall(f) and rawget(_G, 'y') == nil end");
}

TEST(strings_share_no_table_that_can_be_changed) /* U1 */
{
    assert_true_result("function main()\n"
                       "  local mt = getmetatable('')\n"
                       "  if mt ~= nil then return 'metatable' end\n"
                       "  if pcall(function() string.format = nil end) then return 'set' end\n"
                       "  if pcall(rawset, string, 'format', 1) then return 'rawset' end\n"
                       "  if pcall(setmetatable, 'x', {}) then return 'setmetatable' end\n"
                       "  if pcall(setmetatable, string, {}) then return 'of the library' end\n"
                       "  if pcall(function() ('x').y = 1 end) then return 'index' end\n"
                       "  return ('%d'):format(3) == '3'\n"
                       "end");
}

TEST(one_script_cannot_change_what_another_calls) /* U1 */
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, NULL, 0);
    struct err e = ERR_INIT;
    static const char evil[] = "function evil()\n"
                               "  for _, lib in pairs { string, table, math, utf8, os, _G } do\n"
                               "    pcall(function() lib.type = evil end)\n"
                               "    pcall(rawset, lib, 'pairs', evil)\n"
                               "    pcall(table.insert, lib, evil)\n"
                               "    pcall(table.move, { evil }, 1, 1, 1, lib)\n"
                               "    pcall(table.sort, lib)\n"
                               "    pcall(setmetatable, lib, { __index = evil })\n"
                               "    local m = getmetatable(lib)\n"
                               "    if m then m.__index, m.__newindex = evil, nil end\n"
                               "  end\n"
                               "end\n";
    static const char good[] =
        "local kept = { string.format, table.insert, math.floor, pairs, type }\n"
        "function main()\n"
        "  evil()\n"
        "  local now = { string.format, table.insert, math.floor, pairs, type }\n"
        "  for i = 1, 5 do if kept[i] ~= now[i] then return i end end\n"
        "  return string[1] == nil and math.pairs == nil and rawget(_G, 1) == nil\n"
        "end";
    struct vm_source s[] = {{.name = "a.lua", .text = evil, .len = sizeof evil - 1},
                            {.name = "b.lua", .text = good, .len = sizeof good - 1}};
    if (vm_load(vm, s, 2, &e) != 0)
        fail_msg("%s", e.text);
    struct call c = {0};
    assert_true(call_start(vm, &c));
    assert_int_equal(c.run.err.code, 0);
    assert_true(json_is_true(c.result));
    call_fini(&c);
    vm_free(vm);
}

TEST(a_metatable_can_hide_but_not_be_lifted) /* U1 */
{
    assert_true_result(
        "M = setmetatable({ a = 1 }, { __metatable = 'locked', __index = { b = 2 } })\n"
        "function main()\n"
        "  return type(getmetatable(M)) ~= 'table' and not pcall(setmetatable, M, nil)\n"
        "    and not pcall(rawset, M, 'a', 2) and M.a == 1 and M.b == 2\n"
        "    and not pcall(function() M.b = 3 end)\n"
        "end");
}

TEST(finalizers_and_weak_tables_run_nothing_late) /* U1 */
{
    assert_true_result("function main()\n"
                       "  if pcall(setmetatable, {}, { __gc = true }) then return 'gc' end\n"
                       "  local weak = setmetatable({}, { __mode = 'kv' })\n"
                       "  for i = 1, 5000 do weak[{}] = setmetatable({}, { __mode = 'k' }) end\n"
                       "  return collectgarbage == nil\n"
                       "end");
}

TEST(a_variable_that_closes_outlives_no_budget) /* U1 */
{
    assert_fails("function main()\n"
                 "  local again = setmetatable({}, {})\n"
                 "  getmetatable(again).__close = function()\n"
                 "    local x <close> = again\n"
                 "    while true do end\n"
                 "  end\n"
                 "  local x <close> = again\n"
                 "  error('x')\n"
                 "end",
                 ERR_TIMEOUT, "over its budget");
    assert_true_result("function main()\n" /* a value that cannot be closed, met while unwinding */
                       "  return not pcall(function() local x <close> = 42 end)\n"
                       "end");
}

TEST(huge_repetitions_and_formats_are_refused) /* U1 */
{
    assert_true_result("function main()\n"
                       "  for _, f in ipairs {\n"
                       "    function() return ('x'):rep(1 << 31) end,\n"
                       "    function() return ('x'):rep(math.maxinteger) end,\n"
                       "    function() return ('x'):rep(1 << 32, ('y'):rep(1 << 20)) end,\n"
                       "    function() return ('%99999d'):format(1) end,\n"
                       "    function() return ('%1000.1000f'):format(1) end,\n"
                       "    function() return ('%'):format(1) end,\n"
                       "    function() return ('%y'):format(1) end,\n"
                       "    function() return ('%s'):format() end,\n"
                       "    function() return string.char(256) end,\n"
                       "    function() return utf8.char(-1) end,\n"
                       "  } do if pcall(f) then return _ end end\n"
                       "  return #('%.99f'):format(1e308) > 300 and #('%q'):format('\\0\\n') == 6\n"
                       "end");
}

TEST(huge_unpacking_and_joining_is_refused) /* U1 */
{
    assert_true_result(
        "function main()\n"
        "  for i, f in ipairs {\n"
        "    function() return table.unpack({}, 1, 1e7) end,\n"
        "    function() return table.unpack({}, math.mininteger, math.maxinteger) end,\n"
        "    function() return table.unpack({}, 0, math.maxinteger) end,\n"
        "    function() return select(-1) end,\n"
        "    function() return table.concat({}, 'x', 1, math.maxinteger) end,\n"
        "    function() return table.concat({}, 'x', math.maxinteger - 1, math.maxinteger) end,\n"
        "    function() return table.move({ 1 }, 1, math.maxinteger, 2) end,\n"
        "    function() return table.insert({}, math.maxinteger, 1) end,\n"
        "    function() return table.remove({}, math.maxinteger) end,\n"
        "    function() return string.byte(('x'):rep(1 << 20), 1, -1) end,\n"
        "  } do if pcall(f) then return i end end\n"
        "  return true\n"
        "end");
    assert_true_result("function main()\n"
                       "  return not pcall(table.sort, setmetatable({}, {\n"
                       "    __len = function() return 1 << 30 end,\n"
                       "    __index = function(t, k) return -k end }))\n"
                       "end");
}

TEST(an_inconsistent_order_breaks_no_sort) /* U1 */
{
    assert_true_result("function main()\n"
                       "  local t = {}\n"
                       "  for i = 1, 1000 do t[i] = i % 7 end\n"
                       "  pcall(table.sort, t, function() return true end)\n"
                       "  pcall(table.sort, t, function(a, b) t[1] = nil return a > b end)\n"
                       "  pcall(table.sort, { 1, 'x', {} })\n"
                       "  return true\n"
                       "end");
}

TEST(patterns_do_not_recurse_into_the_stack) /* U1 */
{
    assert_true_result(
        "function main()\n"
        "  local long = ('a'):rep(300000)\n"
        "  for _, p in ipairs { ('a?'):rep(300000), ('(a)'):rep(31), ('(a'):rep(40), '%b', '%f',\n"
        "    '[', '[^', '[%', '%', ('('):rep(1e5), '%1', '(%1)', ('[a'):rep(1e5) } do\n"
        "    pcall(string.find, long, p)\n"
        "    pcall(string.gsub, long, p, '%1')\n"
        "  end\n"
        "  pcall(string.gsub, 'x', 'x', '%9')\n"
        "  pcall(string.gsub, 'x', 'x', '%')\n"
        "  return true\n"
        "end");
}

TEST(patterns_that_never_end_are_cut_everywhere) /* U1 */
{
    static const char *const calls[] = {"s:find(p)", "s:match(p)", "s:gsub(p, '')",
                                        "for _ in s:gmatch(p) do end"};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "function main() local s, p = ('a'):rep(20000), ('a*'):rep(12) .. 'b'\n"
                 "  for i = 1, 1e6 do pcall(function() local _ = nil %s %s end) end end",
                 strncmp(calls[i], "for", 3) == 0 ? "" : "_ =", calls[i]);
        assert_fails(text, ERR_TIMEOUT, "over its budget");
    }
}

TEST(deep_texts_do_not_recurse_into_the_stack) /* U1 */
{
    static const struct {
        const char *open, *close;
    } nests[] = {{"(", ")"},
                 {"{", "}"},
                 {"- ", ""},
                 {"not ", ""},
                 {"f(", ")"},
                 {"do ", " end"},
                 {"if x then ", " end"},
                 {"x.", "y"},
                 {"'a' .. ", "'b'"},
                 {"2 ^ ", "2"},
                 {"function() ", " end"},
                 {"#", ""},
                 {"while x do ", " end"},
                 {"[[", "]]"},
                 {"a[", "]"}};
    for (size_t i = 0; i < ARRAY_LEN(nests); i++) {
        AUTO(buf_fini) struct buf b = BUF_INIT(VM_SOURCE_MAX);
        struct host h = host_new();
        struct vm *vm = vm_with(&h, NULL, 0);
        struct err e = ERR_INIT;
        buf_adds(&b, nests[i].open[0] == 'd' || nests[i].open[0] == 'i' || nests[i].open[0] == 'w'
                         ? ""
                         : "return ");
        for (int n = 0; n < 40000; n++)
            buf_adds(&b, nests[i].open);
        for (int n = 0; n < 40000; n++)
            buf_adds(&b, nests[i].close);
        struct vm_source s = {.name = "t.lua", .text = b.data, .len = b.len};
        int rc = vm_load(vm, &s, 1, &e);
        assert_true(rc == 0 || rc == ERR_INVALID || rc == ERR_TOO_LARGE);
        vm_free(vm);
    }
}

/* The first two "%d" of `text` are n and n + 1; all are numbers where that does not matter. */
static void add_numbered(struct buf *b, const char *text, int n)
{
    for (const char *at; (at = strstr(text, "%d")) != NULL; text = at + 2) {
        buf_add(b, text, (size_t)(at - text));
        buf_addf(b, "%d", n++);
    }
    buf_adds(b, text);
}

/* Functions with more of something than an instruction can count. */
TEST(what_overflows_the_bytecode_is_refused) /* U1 */
{
    static const struct {
        const char *head, *each, *tail;
        int count;
    } floods[] = {
        {"", "local a%d = 1\n", "", 300},
        {"local function f(", "a%d, ", "z) end", 300},
        {"local function f() return function() return ", "u%d + ", "1 end end", 300},
        {"goto l0\n", "::l%d:: goto l%d\n", "::l40000::", 40000},
        {"local t = {", "%d.5, ", "}", 90000},
        {"local t = {", "k%d = 'v%d', ", "}", 60000},
        {"return ", "'a%d' .. ", "''", 300},
        {"local x\n", "x = x and x.f%d\n", "", 60000},
        {"while x do ", "x = y%d\n", "end", 60000},
        {"f(", "%d, ", "1)", 300},
    };
    for (size_t i = 0; i < ARRAY_LEN(floods); i++) {
        AUTO(buf_fini) struct buf b = BUF_INIT(8 << 20);
        struct host h = host_new();
        struct vm *vm = vm_with(&h, NULL, 0);
        struct err e = ERR_INIT;
        buf_adds(&b, "function never() ");
        buf_adds(&b, floods[i].head);
        for (int n = 0; n < floods[i].count; n++)
            add_numbered(&b, floods[i].each, n);
        buf_adds(&b, floods[i].tail);
        buf_adds(&b, "\nend");
        struct vm_source s = {.name = "t.lua", .text = b.data, .len = b.len};
        int rc = vm_load(vm, &s, 1, &e);
        assert_true(rc == 0 || rc == ERR_INVALID || rc == ERR_TOO_LARGE);
        vm_free(vm);
    }
}

TEST(chains_of_metamethods_end) /* U1 */
{
    assert_true_result(
        "function main()\n"
        "  local t = {}\n"
        "  setmetatable(t, { __index = t })\n"
        "  if pcall(function() return t.x end) then return 'own __index' end\n"
        "  local u = {}\n"
        "  setmetatable(u, { __newindex = u })\n"
        "  if pcall(function() u.x = 1 end) then return 'own __newindex' end\n"
        "  local a, b = {}, {}\n"
        "  setmetatable(a, { __index = b }) setmetatable(b, { __index = a })\n"
        "  if pcall(function() return a.x end) then return 'pair' end\n"
        "  local c = {}\n"
        "  if pcall(setmetatable, c, { __call = c }) or pcall(c) then return 'own __call' end\n"
        "  local e = setmetatable({}, { __eq = function(x, y) return x == y end })\n"
        "  if pcall(function() return e == setmetatable({}, getmetatable(e)) end) then return 'eq' "
        "end\n"
        "  local s = setmetatable({}, { __tostring = function(x) return tostring(x) end })\n"
        "  if pcall(tostring, s) then return 'tostring' end\n"
        "  local n = setmetatable({}, { __name = ('x'):rep(1e6), __tostring = function() return {} "
        "end })\n"
        "  return not pcall(tostring, n)\n"
        "end");
}

TEST(errors_may_be_anything_and_print_within_bounds) /* U1 */
{
    static const char *const errors[] = {
        "setmetatable({}, { __tostring = function() while true do end end })",
        "setmetatable({}, { __tostring = function() error('again') end })",
        "setmetatable({}, { __tostring = function() return 5 end })",
        "setmetatable({}, { __index = function() error('code') end })",
        "setmetatable({ code = setmetatable({}, { __tostring = error }) }, { __name = 'x' })",
        "{ code = ('x'):rep(1e6), detail = ('y'):rep(1e6) }",
        "{ code = {}, detail = print }",
        "('\\0'):rep(1e6)",
        "print",
        "0/0",
    };
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        char text[300];
        struct call c;
        snprintf(text, sizeof text, "function main() error(%s) end", errors[i]);
        run_text(text, &c);
        assert_int_not_equal(c.run.err.code, 0);
        assert_true(strlen(c.run.err.text) > 0);
        call_fini(&c);
    }
    /* Nested: the handler of an error raises, and so on. */
    assert_true_result("function main()\n"
                       "  local function deep(n) local ok, e = pcall(error, n) if n > 0 then\n"
                       "    return deep(n - 1) end return e end\n"
                       "  return deep(1000) == 0\n"
                       "end");
}

TEST(a_spent_budget_is_caught_nowhere) /* U1 */
{
    static const char spin[] = "while true do end";
    static const char *const ways[] = {
        "pcall(function() %s end)",
        "pcall(pcall, function() %s end)",
        "pcall(table.sort, { 3, 1, 2 }, function() %s end)",
        "pcall(string.gsub, 'abc', '.', function() %s end)",
        "pcall(string.gsub, 'abc', '.', setmetatable({}, { __index = function() %s end }))",
        "pcall(tostring, setmetatable({}, { __tostring = function() %s end }))",
        "pcall(function() return setmetatable({}, { __index = function() %s end }).x end)",
        "pcall(function() setmetatable({}, { __newindex = function() %s end }).x = 1 end)",
        "pcall(function() return {} < setmetatable({}, { __lt = function() %s end }) end)",
        "pcall(function() return #setmetatable({}, { __len = function() %s end }) end)",
        "pcall(function() return setmetatable({}, { __concat = function() %s end }) .. 'x' end)",
        "pcall(function() local x <close> = setmetatable({}, { __close = function() %s end }) end)",
        "pcall(setmetatable({}, { __call = function() %s end }))",
        "pcall(function() for _ in setmetatable({}, { __call = function() %s end }) do end end)",
        "pcall(function() for _ in pairs(setmetatable({}, { __pairs = function() %s end })) do end "
        "end)",
        "pcall(table.concat, setmetatable({}, { __len = function() %s end }))",
        "pcall(table.unpack, setmetatable({}, { __index = function() %s end }), 1, 3)",
        "pcall(ipairs(setmetatable({}, { __index = function() %s end })), {}, 0)",
        "pcall(error, setmetatable({}, { __tostring = function() %s end }))",
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        char way[300], text[500];
        const char *at = strstr(ways[i], "%s");
        snprintf(way, sizeof way, "%.*s%s%s", (int)(at - ways[i]), ways[i], spin, at + 2);
        snprintf(text, sizeof text, "function main() while true do %s end end", way);
        assert_fails(text, ERR_TIMEOUT, "over its budget");
    }
}

/* Set behind setmetatable's back, after it has looked. */
TEST(chains_of_calls_through_tables_end_soon) /* U1 */
{
    static const char *const ways[] = {
        "local mt = {} local t = setmetatable({}, mt) mt.__call = t t()",
        "local mt = {} local t = setmetatable({}, mt) rawset(mt, '__call', t) pcall(t, 1, 2, 3)",
        "local mt = { __call = function() end } local t = setmetatable({}, mt) mt.__call = t "
        "while true do pcall(t) end",
        "local a, b = {}, {} local x, y = setmetatable({}, a), setmetatable({}, b) a.__call = y "
        "b.__call = x pcall(x)",
        "local mt = {} local t = setmetatable({}, mt) mt.__call = t return t(table.unpack({}, 1, "
        "8000))",
        "local mt = {} local t = setmetatable({}, mt) mt.__call = t mt.__index = t "
        "for _ in t do end",
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        char text[400];
        struct timespec began, now;
        snprintf(text, sizeof text, "function main() %s end", ways[i]);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
        assert_fails(text, ERR_TIMEOUT, "through __call of tables");
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        assert_in_range(now.tv_sec - began.tv_sec, 0, 2);
    }
}

TEST(a_call_has_a_bounded_number_of_arguments) /* U1 */
{
    assert_true_result("function main()\n"
                       "  local function g(n, ...) if n == 0 then return select('#', ...) end\n"
                       "    return g(n - 1, nil, nil, nil, nil, nil, nil, nil, nil, ...) end\n"
                       "  local ok, e = pcall(g, 100000)\n"
                       "  if ok or not tostring(e):find('8000 arguments') then return e end\n"
                       "  local s = ('x'):rep(9000)\n"
                       "  if pcall(s.byte, s, 1, -1) or pcall(utf8.codepoint, s, -9000, 9000) then "
                       "return 's' end\n"
                       "  return g(100) == 800 and select('#', s:byte(-8000, -1)) == 8000 and\n"
                       "    ('abc'):byte(-1) == 99 and ('abc'):byte(2, 9) == 98 and "
                       "utf8.codepoint('abc', 3) == 99\n"
                       "end");
}

TEST(memory_at_its_cap_is_caught_nowhere) /* U1 */
{
    static const char *const ways[] = {
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1 << 16) .. #t end) end",
        "local s = 'x' while true do pcall(function() s = s .. s end) end",
        "local function f(t) return pcall(f, { t, t, ('y'):rep(1e5) .. tostring(t) }) end f()"
        " while true do end",
        "local t = {} while true do pcall(table.insert, t, { t }) end",
    };
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        char text[300];
        struct call c;
        snprintf(text, sizeof text, "function main() %s end", ways[i]);
        run_text(text, &c);
        assert_true(c.run.err.code == ERR_TOO_LARGE || c.run.err.code == ERR_TIMEOUT);
        call_fini(&c);
    }
}

TEST(counting_loops_do_not_overflow) /* U1 */
{
    assert_true_result("function main()\n"
                       "  local n = 0\n"
                       "  for i = math.maxinteger - 1, math.maxinteger do n = n + 1 end\n"
                       "  for i = math.mininteger, math.mininteger + 1 do n = n + 1 end\n"
                       "  for i = 3, 1 do n = n + 1 end\n"
                       "  for i = 1, math.mininteger, math.mininteger do n = n + 1 end\n"
                       "  return n == 6 and not pcall(function() for i = 1, 2, 0 do end end)\n"
                       "    and not pcall(function() return 1 // 0 end)\n"
                       "    and not pcall(function() return 1 % 0 end)\n"
                       "    and math.mininteger // -1 == math.mininteger\n"
                       "    and math.mininteger % -1 == 0\n"
                       "end");
}

TEST(iterating_while_changing_harms_nobody) /* U1 */
{
    assert_true_result(
        "function main()\n"
        "  local t = {}\n"
        "  for i = 1, 1000 do t[i] = i t['k' .. i] = i end\n"
        "  pcall(function() for k in pairs(t) do t[k .. 'x'] = 1 t[k] = nil end end)\n"
        "  return not pcall(next, t, 'no such key') and not pcall(next, {}, 1)\n"
        "    and not pcall(function() t[nil] = 1 end) and not pcall(function() t[0/0] = 1 end)\n"
        "end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(binary_chunks_cannot_be_made_or_loaded),
        HEAP_TEST(require_finds_modules_of_the_set_only),
        HEAP_TEST(no_library_reaches_the_system),
        HEAP_TEST(an_environment_of_its_own_gives_nothing_new),
        HEAP_TEST(strings_share_no_table_that_can_be_changed),
        HEAP_TEST(one_script_cannot_change_what_another_calls),
        HEAP_TEST(a_metatable_can_hide_but_not_be_lifted),
        HEAP_TEST(finalizers_and_weak_tables_run_nothing_late),
        HEAP_TEST(a_variable_that_closes_outlives_no_budget),
        HEAP_TEST(huge_repetitions_and_formats_are_refused),
        HEAP_TEST(huge_unpacking_and_joining_is_refused),
        HEAP_TEST(an_inconsistent_order_breaks_no_sort),
        HEAP_TEST(patterns_do_not_recurse_into_the_stack),
        HEAP_TEST(patterns_that_never_end_are_cut_everywhere),
        HEAP_TEST(deep_texts_do_not_recurse_into_the_stack),
        HEAP_TEST(what_overflows_the_bytecode_is_refused),
        HEAP_TEST(chains_of_metamethods_end),
        HEAP_TEST(errors_may_be_anything_and_print_within_bounds),
        HEAP_TEST(a_spent_budget_is_caught_nowhere),
        HEAP_TEST(chains_of_calls_through_tables_end_soon),
        HEAP_TEST(a_call_has_a_bounded_number_of_arguments),
        HEAP_TEST(memory_at_its_cap_is_caught_nowhere),
        HEAP_TEST(counting_loops_do_not_overflow),
        HEAP_TEST(iterating_while_changing_harms_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
