/* The same patterns give the same results as Lua's own library: both are asked, side by side. */
#include <lualib.h>

#include "vm_fixture.h"

static void open_reference(lua_State *L, int globals, void *arg)
{
    (void)arg;
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 1);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_getfield(L, globals, "string");
    lua_setfield(L, -2, "__index"); /* luaopen_string replaced it */
    lua_pop(L, 2);
    lua_setfield(L, globals, "reference");
}

static const char compare[] =
    "local texts = { '', 'a', 'hello world', '  trim  ', 'a,b,,c', 'key = value', 'THE (quick) "
    "fox', 'x=1, y=2',\n"
    "  'f(a(b)c)d', '\\0zero\\0', 'aaa', '2026-11-22', '%d', 'THE END', '-12.5e3', 'a.b.c', 'ba', "
    "'[x]', 'a-b-c' }\n"
    "local patterns = { '', '.', 'a', 'a*', 'a+', 'a-', 'a?', '^a', 'a$', '^%s*(.-)%s*$', '(%w+) = "
    "(%w+)', '[^,]*', '()',\n"
    "  '(a)(b)', '%b()', '%f[%w]%w+', '[%a_][%w_]*', '%d%d%d%d%-%d%d%-%d%d', '[]]', '[^]]', "
    "'[a-c]+', '[%-x]', '(.)%1',\n"
    "  '^(a*)$', '%%', '%.', '[+-]?%d+', '%S+', '%u+', '%f[%a]%a+%f[%A]', '[a-]', '.-o', "
    "'(.-)(o)', '^', '$', 'a$b', '%z?' }\n"
    "local function all(lib, t, p)\n"
    "  local out = {}\n"
    "  local function add(...) for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, "
    "...))) end out[#out + 1] = '|' end\n"
    "  for init = -3, 4 do add(pcall(lib.find, t, p, init)); add(pcall(lib.match, t, p, init)) "
    "end\n"
    "  add(pcall(lib.gsub, t, p, '<%0>')); add(pcall(lib.gsub, t, p, '<%1>', 2))\n"
    "  add(pcall(lib.gsub, t, p, function(a, b) return b and b .. a end)); add(pcall(lib.gsub, t, "
    "p, { a = 'Z' }))\n"
    "  if p:sub(1, 1) ~= '^' then for a, b in lib.gmatch(t, p) do add(a, b) end end\n"
    "  return table.concat(out, ' ')\n"
    "end\n"
    "function main()\n"
    "  for _, t in ipairs(texts) do for _, p in ipairs(patterns) do\n"
    "    local got, want = all(string, t, p), all(reference, t, p)\n"
    "    if got ~= want then return string.format('%q / %q\\n%q\\n%q', t, p, got, want) end\n"
    "  end end\n"
    "  return true\n"
    "end\n";

TEST(patterns_mean_what_they_mean_in_lua)
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, open_reference, 0);
    struct err e = ERR_INIT;
    if (load_text(vm, compare, &e) != 0)
        fail_msg("%s", e.text);
    struct call c = {0};
    call_start(vm, &c);
    while (!c.done)
        vm_turn(vm);
    if (c.run.err.code != 0)
        fail_msg("%s", c.run.err.text);
    if (!json_is_true(c.result))
        fail_msg("%s", json_string_value(c.result));
    call_fini(&c);
    vm_free(vm);
}

TEST(malformed_patterns_are_refused)
{
    assert_true_result("function main()\n"
                       "  for _, p in ipairs { '%', '[', '[a', '[%', '(', ')', '(()', '%b', '%bx', "
                       "'%f', '%1', '(%1)', '[^' } do\n"
                       "    if pcall(string.match, 'x', p) then return p end\n"
                       "  end\n"
                       "  return not pcall(string.gsub, 'x', 'x', '%') and not pcall(string.gsub, "
                       "'x', 'x', '%2')\n"
                       "    and not pcall(string.gsub, 'x', 'x', '%a') and not pcall(string.gsub, "
                       "'x', 'x', function() return {} end)\n"
                       "end");
}

TEST(plain_search_takes_every_byte_as_it_is)
{
    assert_true_result(
        "function main() return ('a.b'):find('.', 1, true) == 2 and ('x'):find('') == 1\n"
        "  and ('abc'):find('', 10) == nil and ('abc'):find('', 4) == 4 and ('abc'):find('c', -1) "
        "== 3 end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(patterns_mean_what_they_mean_in_lua),
        HEAP_TEST(malformed_patterns_are_refused),
        HEAP_TEST(plain_search_takes_every_byte_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
