#include "vm_fixture.h"

TEST(scripts_see_the_allow_list_and_nothing_else)
{
    assert_true_result(
        "local absent = { 'io', 'debug', 'load', 'loadstring', 'dofile', 'loadfile',"
        " 'coroutine', 'collectgarbage', 'package', 'xpcall', 'newproxy', 'module' }\n"
        "function main()\n"
        "  for _, name in ipairs(absent) do if _G[name] ~= nil then return name end end\n"
        "  for _, name in ipairs { 'execute', 'exit', 'getenv', 'remove', 'rename',\n"
        "    'tmpname', 'setlocale' } do if os[name] ~= nil then return name end end\n"
        "  return string.dump == nil and math.randomseed == nil\n"
        "end");
}

TEST(bytecode_is_refused)
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, NULL, 0);
    struct err e = ERR_INIT;
    struct vm_source s = {.name = "b.lua", .text = "\x1bLua\x54", .len = 5};
    assert_refused(vm_load(vm, &s, 1, &e), ERR_INVALID, "b.lua: this is bytecode");
    vm_free(vm);
}

TEST(finalizers_cannot_be_set)
{
    assert_fails("function main() setmetatable({}, { __gc = function() end }) end", ERR_INTERNAL,
                 "there is no __gc here");
    assert_true_result(
        "function main()\n"
        "  local hit, mt = false, {}\n"
        "  do local x = setmetatable({}, mt); mt.__gc = function() hit = true end end\n"
        "  for i = 1, 20000 do local t = { i } end\n"
        "  return not hit\n"
        "end");
}

TEST(a_finalizer_does_not_come_to_life_by_freezing)
{
    assert_true_result("local mt = {}\n"
                       "T = setmetatable({}, mt)\n"
                       "mt.__gc = function() while true do end end\n"
                       "function main() return true end");
}

TEST(globals_cannot_be_set_behind_their_guard)
{
    assert_fails("function main() rawset(_G, 'pcall', 1) end", ERR_INTERNAL, "read-only");
    assert_fails("function main() setmetatable(_G, nil) end", ERR_INTERNAL, "protected");
    assert_fails("function main() table.insert(_G, 1) end", ERR_INTERNAL, "read-only");
    assert_true_result(
        "function main() for k in pairs(_G) do if k == 'pcall' then return true end end end");
}

TEST(the_metatable_of_strings_is_out_of_reach)
{
    assert_true_result("function main() return getmetatable('') == nil end");
    assert_fails("function main() string.upper = nil end", ERR_INTERNAL, "cannot be set");
    assert_fails("function main() rawset(string, 'upper', 1) end", ERR_INTERNAL, "read-only");
    assert_true_result("function main() return ('a'):upper() == 'A' end");
}

TEST(the_content_of_frozen_tables_is_not_handed_out)
{
    assert_true_result("M = { a = 1, deep = { b = 2 } }\n"
                       "function main()\n"
                       "  local _, t = pairs(M)\n"
                       "  local ok = pcall(function() t.a = 5 end)\n"
                       "  for k, v in pairs(M) do pcall(rawset, M, k, 9) end\n"
                       "  return not ok and M.a == 1 and getmetatable(M) == nil and t == M\n"
                       "    and not pcall(setmetatable, M, {}) and not pcall(table.insert, M, 1)\n"
                       "end");
}

TEST(globals_and_modules_are_read_only_once_loaded)
{
    assert_fails("function main()\n  count = 1\nend", ERR_INTERNAL,
                 "t.lua:2: global 'count' is read-only");
    assert_fails("counter = 0\nfunction main()\n  counter = counter + 1\nend", ERR_INTERNAL,
                 "t.lua:3: global 'counter' is read-only");
    assert_fails("M = { deep = { n = 1 } }\nfunction main()\n  M.deep.n = 2\nend", ERR_INTERNAL,
                 "t.lua:3: 'n' cannot be set");
    assert_fails("function main()\n  math.pi = 3\nend", ERR_INTERNAL,
                 "t.lua:2: 'pi' cannot be set");
}

TEST(frozen_tables_read_as_before)
{
    assert_true_result("list = { 3, 1, 2 }\n"
                       "M = { a = 1, b = 2, list = list }\n"
                       "Point = {}\nPoint.__index = Point\nfunction Point.new(x) return "
                       "setmetatable({ x = x }, Point) end\n"
                       "function Point:double() return self.x * 2 end\n"
                       "Point.__add = function(a, b) return Point.new(a.x + b.x) end\n"
                       "function main()\n"
                       "  local n, sum = 0, 0\n"
                       "  for k, v in pairs(M) do n = n + 1 end\n"
                       "  for _, v in ipairs(list) do sum = sum + v end\n"
                       "  local p = Point.new(2) + Point.new(3)\n"
                       "  return n == 3 and sum == 6 and #list == 3 and M.list == list and "
                       "table.concat(list, '') == '312'\n"
                       "    and select('#', table.unpack(list)) == 3 and p:double() == 10 and "
                       "next(M) ~= nil and rawlen(list) == 3\n"
                       "    and rawget(M, 'a') == 1\n"
                       "end");
}

TEST(errors_can_be_caught_and_looked_into)
{
    assert_true_result("function main()\n"
                       "  local ok, e = pcall(error, { code = 'x', detail = 'y' })\n"
                       "  local ok2, e2 = pcall(function() local t = nil; return t.x end)\n"
                       "  return not ok and e.code == 'x' and e2:find('t.lua:3', 1, true) ~= nil\n"
                       "end");
    struct call c;
    run_text("function main() error { code = 'NO_COUNTRY', detail = 'which?' } end", &c);
    assert_int_equal(c.run.err.code, ERR_REJECTED);
    assert_string_equal(c.run.err_code, "NO_COUNTRY");
    assert_string_equal(c.run.err.text, "which?");
    call_fini(&c);
    run_text("function main() error { code = 'conflict', detail = 'd' } end", &c);
    assert_int_equal(c.run.err.code, ERR_CONFLICT);
    call_fini(&c);
    run_text("function main() error(nil) end", &c);
    assert_int_equal(c.run.err.code, ERR_INTERNAL);
    call_fini(&c);
}

TEST(deep_recursion_is_an_error_that_can_be_caught)
{
    assert_true_result(
        "local function f() return 1 + f() end\n"
        "function main() local ok, e = pcall(f); return not ok and e:find('overflow') ~= nil end");
    assert_true_result("local t = setmetatable({}, { __index = function(t, k) return t[k] end })\n"
                       "function main() return not pcall(function() return t.x end) end");
    assert_true_result("function main() local s = 'x' return not pcall(string.rep, s, 1 << 40)\n"
                       "  and not pcall(string.gsub, s, ('(x)'):rep(40), '') end");
}

TEST(time_comes_from_the_host_and_is_utc)
{
    assert_true_result(
        "function main()\n"
        "  return os.time() == 1795305600 and os.date('%Y-%m-%d') == '2026-11-22'\n"
        "    and os.time { year = 2026, month = 11, day = 22, hour = 0 } == 1795305600\n"
        "    and os.date('*t').year == 2026 and not pcall(os.date, '%Ez') and not pcall(os.date, "
        "'%')\n"
        "end");
}

TEST(print_goes_to_the_host)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, "print('hello', 1)\nfunction main() end");
    assert_string_equal(h.printed, "t.lua:1: hello\t1");
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(scripts_see_the_allow_list_and_nothing_else),
        HEAP_TEST(bytecode_is_refused),
        HEAP_TEST(finalizers_cannot_be_set),
        HEAP_TEST(a_finalizer_does_not_come_to_life_by_freezing),
        HEAP_TEST(globals_cannot_be_set_behind_their_guard),
        HEAP_TEST(the_metatable_of_strings_is_out_of_reach),
        HEAP_TEST(the_content_of_frozen_tables_is_not_handed_out),
        HEAP_TEST(globals_and_modules_are_read_only_once_loaded),
        HEAP_TEST(frozen_tables_read_as_before),
        HEAP_TEST(errors_can_be_caught_and_looked_into),
        HEAP_TEST(deep_recursion_is_an_error_that_can_be_caught),
        HEAP_TEST(time_comes_from_the_host_and_is_utc),
        HEAP_TEST(print_goes_to_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
