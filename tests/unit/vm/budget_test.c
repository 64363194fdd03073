#include "vm_fixture.h"

TEST(a_loop_ends_when_its_budget_is_spent)
{
    assert_fails("function main()\n  while true do end\nend", ERR_TIMEOUT,
                 "t.lua:2: over its budget");
}

TEST(pcall_does_not_catch_a_spent_budget)
{
    assert_fails("function main()\n"
                 "  while true do pcall(function() while true do end end) end\nend",
                 ERR_TIMEOUT, "over its budget");
}

TEST(close_handlers_do_not_outlive_a_spent_budget)
{
    assert_fails(
        "function main()\n"
        "  local a <close> = setmetatable({}, { __close = function() while true do end end })\n"
        "  local b <close> = setmetatable({}, { __close = function() while true do end end })\n"
        "  pcall(function()\n"
        "    local c <close> = setmetatable({}, { __close = function() while true do end end })\n"
        "    while true do end\n"
        "  end)\n"
        "end",
        ERR_TIMEOUT, "over its budget");
}

/* Each look at the clock is 50 ms later: the run is over its 100 ms at the third. */
static int end_of_late_run(uint64_t cpu_step, bool whole)
{
    struct host h = host_new();
    h.host.cpu_ns = host_cpu;
    struct vm *vm = vm_loaded(&h, "function main() for i = 1, 1e5 do end return true end");
    h.clock_step = 50 * 1000 * 1000;
    h.cpu_step = cpu_step;
    struct call c = {.run = {.limits = {.ns = 100 * 1000 * 1000}, .whole = whole}};
    call_start(vm, &c);
    while (!c.done)
        vm_turn(vm);
    int code = c.run.err.code;
    call_fini(&c);
    vm_free(vm);
    return code;
}

TEST(a_machine_that_is_busy_elsewhere_spends_no_budget)
{
    for (int whole = 0; whole < 2; whole++) {
        assert_int_equal(end_of_late_run(10, whole), 0);
        assert_int_equal(end_of_late_run(20 * 1000 * 1000, whole), ERR_TIMEOUT);
    }
}

TEST(callbacks_of_c_functions_are_cut_too)
{
    assert_fails("function main() table.sort({ 3, 2, 1 }, function() while true do end end) end",
                 ERR_TIMEOUT, "over its budget");
    assert_fails("function main() ('abc'):gsub('.', function() while true do end end) end",
                 ERR_TIMEOUT, "over its budget");
    assert_fails("function main() local t = setmetatable({}, { __index = function() while true do "
                 "end end })\n"
                 "  return t.x end",
                 ERR_TIMEOUT, "over its budget");
    assert_fails("function main() return tostring(setmetatable({}, { __tostring = function() while "
                 "true do end end })) end",
                 ERR_TIMEOUT, "over its budget");
}

TEST(a_pattern_that_runs_away_is_cut)
{
    assert_fails("function main() return (('a'):rep(5000)):find('.-.-.-.-b') end", ERR_INTERNAL,
                 "pattern takes too long");
    assert_fails("function main()\n"
                 "  while true do pcall(string.find, ('a'):rep(5000), '.-.-.-.-b') end end",
                 ERR_TIMEOUT, "over its budget");
}

TEST(work_done_in_c_is_charged)
{
    assert_fails("function main() local t = {} for i = 1, 100000 do t[i] = i end\n"
                 "  while true do table.insert(t, 1, 1); table.remove(t, 1) end end",
                 ERR_TIMEOUT, "over its budget");
    assert_fails(
        "function main() local s = ('x'):rep(1 << 20) while true do local t = s .. 'y' end end",
        ERR_TIMEOUT, "over its budget");
    assert_true_result("function main() return not pcall(table.move, {}, 1, 1 << 60, 2)\n"
                       "  and not pcall(table.concat, {}, '', 1, 1 << 60) and not "
                       "pcall(table.unpack, {}, 1, 1 << 40) end");
}

TEST(memory_at_its_cap_ends_the_run_and_not_the_vm)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(
        &h, "function main() local t = {}\n"
            "  for i = 1, 1e9 do pcall(function() t[i] = ('x'):rep(1000) .. i end) end end\n"
            "function fine() return true end");
    struct call c = {0};
    call_start(vm, &c);
    while (!c.done)
        vm_turn(vm);
    assert_int_equal(c.run.err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(c.run.err.text, "memory"));
    call_fini(&c);
    assert_true(vm_memory(vm) <= VM_MEMORY_MAX);
    struct call again = {.function = "fine"};
    assert_true(call_start(vm, &again));
    assert_int_equal(again.run.err.code, 0);
    call_fini(&again);
    vm_free(vm);
}

TEST(one_text_is_bounded)
{
    assert_fails("function main() local s = 'x' while true do s = s .. s end end", ERR_TOO_LARGE,
                 "memory");
}

TEST(a_long_run_lets_others_go_on_every_slice) /* U1 */
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(
        &h, "function main() local n = 0 for i = 1, 2e6 do n = n + i % 7 end return true end\n"
            "function quick() return true end");
    h.clock_step = VM_SLICE_NS / 10; /* each look at the clock is a millisecond later */
    struct call slow = {0};
    assert_false(call_start(vm, &slow));
    assert_int_equal(h.woken, 1);
    int turns = 0;
    while (!slow.done) {
        struct call quick = {.function = "quick"};
        assert_true(call_start(vm, &quick));
        assert_int_equal(quick.run.err.code, 0);
        call_fini(&quick);
        vm_turn(vm);
        turns++;
    }
    assert_true(turns > 20);
    assert_int_equal(slow.run.err.code, 0);
    assert_true(json_is_true(slow.result));
    assert_true(slow.run.steps > 2000000 && slow.run.ns > 20u * VM_SLICE_NS);
    call_fini(&slow);
    vm_free(vm);
}

TEST(a_vm_is_freed_when_its_last_run_has_ended)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, "function main() for i = 1, 3e5 do end return true end");
    h.clock_step = VM_SLICE_NS;
    struct call c = {0};
    assert_false(call_start(vm, &c));
    vm_free(vm);
    while (!c.done)
        vm_turn(vm);
    assert_true(json_is_true(c.result));
    call_fini(&c);
}

/* ---- waiting ---- */

static struct vm_run *waiting;

static int wait_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    if (ctx == 13) {
        struct err e = {.code = ERR_CONFLICT, .text = "somebody was faster", .field = "name"};
        return vm_raise(L, &e);
    }
    lua_pushinteger(L, (lua_Integer)ctx * 2);
    return 1;
}

static int wait_start(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    vm_may_await(L, "wait");
    waiting = vm_run_of(L);
    return vm_await(L, (intptr_t)n, wait_k);
}

static void open_wait(lua_State *L, int globals, void *arg)
{
    (void)arg;
    lua_pushcfunction(L, wait_start);
    lua_setfield(L, globals, "wait");
}

static struct vm *waiting_vm(struct host *h, const char *text)
{
    struct vm *vm = vm_with(h, open_wait, 0);
    struct err e = ERR_INIT;
    if (load_text(vm, text, &e) != 0)
        fail_msg("%s", e.text);
    return vm;
}

TEST(a_run_waits_for_an_operation_while_others_go_on)
{
    struct host h = host_new();
    struct vm *vm = waiting_vm(&h, "function main(n) return wait(n) + wait(n + 1) end");
    struct call a = {.arg = json_integer(1)}, b = {.arg = json_integer(10)};
    assert_false(call_start(vm, &a));
    struct vm_run *of_a = waiting;
    assert_false(call_start(vm, &b));
    struct vm_run *of_b = waiting;
    vm_resume(of_b);
    vm_resume(of_a);
    assert_false(a.done || b.done);
    vm_resume(of_a);
    assert_true(a.done);
    assert_int_equal(json_integer_value(a.result), 6);
    vm_resume(of_b);
    assert_int_equal(json_integer_value(b.result), 42);
    call_fini(&a);
    call_fini(&b);
    vm_free(vm);
}

TEST(an_operation_fails_as_a_table_with_code_and_place)
{
    struct host h = host_new();
    struct vm *vm =
        waiting_vm(&h, "function main()\n"
                       "  local ok, e = pcall(wait, 13)\n"
                       "  assert(not ok and e.code == 'conflict' and e.field == 'name')\n"
                       "  wait(13)\nend");
    struct call c = {0};
    assert_false(call_start(vm, &c));
    vm_resume(waiting);
    assert_false(c.done);
    vm_resume(waiting);
    assert_true(c.done);
    assert_int_equal(c.run.err.code, ERR_CONFLICT);
    assert_string_equal(c.run.err.text, "t.lua:4: somebody was faster");
    call_fini(&c);
    vm_free(vm);
}

TEST(a_run_that_waits_can_be_interrupted_and_catch_that_once)
{
    struct host h = host_new();
    struct vm *vm =
        waiting_vm(&h, "function main()\n"
                       "  local ok, e = pcall(function() wait(1) return 'went on' end)\n"
                       "  assert(not ok and e.code == 'cancelled' and e.detail == 'enough')\n"
                       "  return wait(4)\n"
                       "end");
    struct call c = {0};
    assert_false(call_start(vm, &c));
    vm_interrupt(waiting, "cancelled", "enough");
    assert_false(c.done);
    vm_resume(waiting);
    assert_false(c.done);
    vm_resume(waiting);
    assert_true(c.done);
    assert_int_equal(c.run.err.code, 0);
    assert_int_equal(json_integer_value(c.result), 8);
    call_fini(&c);
    vm_free(vm);
}

TEST(an_interrupt_that_is_not_caught_ends_the_run_with_its_code)
{
    struct host h = host_new();
    struct vm *vm = waiting_vm(&h, "function main() wait(1) end");
    struct call c = {0};
    assert_false(call_start(vm, &c));
    vm_interrupt(waiting, "cancelled", "enough");
    vm_resume(waiting);
    assert_true(c.done);
    assert_string_equal(c.run.err_code, "cancelled");
    assert_non_null(strstr(c.run.err.text, "enough"));
    call_fini(&c);
    vm_free(vm);
}

TEST(waiting_where_it_is_impossible_says_so)
{
    struct host h = host_new();
    struct vm *vm =
        waiting_vm(&h, "function main() table.sort({ 2, 1 }, function() return wait(1) end) end");
    struct call c = {0};
    assert_true(call_start(vm, &c));
    assert_non_null(strstr(c.run.err.text, "not inside a callback"));
    call_fini(&c);
    vm_free(vm);

    vm = vm_with(&h, open_wait, 0);
    struct err e = ERR_INIT;
    assert_refused(load_text(vm, "\nwait(1)", &e), ERR_INVALID,
                   "t.lua:2: wait: not while the script loads");
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_loop_ends_when_its_budget_is_spent),
        HEAP_TEST(pcall_does_not_catch_a_spent_budget),
        HEAP_TEST(close_handlers_do_not_outlive_a_spent_budget),
        HEAP_TEST(a_machine_that_is_busy_elsewhere_spends_no_budget),
        HEAP_TEST(callbacks_of_c_functions_are_cut_too),
        HEAP_TEST(a_pattern_that_runs_away_is_cut),
        HEAP_TEST(work_done_in_c_is_charged),
        HEAP_TEST(memory_at_its_cap_ends_the_run_and_not_the_vm),
        HEAP_TEST(one_text_is_bounded),
        HEAP_TEST(a_long_run_lets_others_go_on_every_slice),
        HEAP_TEST(a_vm_is_freed_when_its_last_run_has_ended),
        HEAP_TEST(a_run_waits_for_an_operation_while_others_go_on),
        HEAP_TEST(an_operation_fails_as_a_table_with_code_and_place),
        HEAP_TEST(a_run_that_waits_can_be_interrupted_and_catch_that_once),
        HEAP_TEST(an_interrupt_that_is_not_caught_ends_the_run_with_its_code),
        HEAP_TEST(waiting_where_it_is_impossible_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
