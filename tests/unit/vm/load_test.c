#include "vm_fixture.h"

static void assert_refuses(const char *text, const char *words)
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, NULL, 0);
    struct err e = ERR_INIT;
    int rc = load_text(vm, text, &e);
    vm_free(vm);
    assert_refused(rc, ERR_INVALID, words);
}

TEST(a_syntax_error_has_file_line_column_and_token)
{
    assert_refuses("local a = 1\nlocal b = = 2\n", "t.lua:2: unexpected symbol near '='");
    assert_refuses("x = 1\nlocal y = foo )\n", "t.lua:2:15: unexpected symbol near ')'");
    assert_refuses("function f()\n",
                   "t.lua:2: 'end' expected (to close 'function' at line 1) near <eof>");
}

TEST(an_error_at_top_level_has_file_and_line)
{
    assert_refuses("local a\n\na.b = 1", "t.lua:3: attempt to index a nil value (local 'a')");
    assert_refuses("while true do end", "t.lua:1: over its budget");
}

TEST(files_require_each_other_once)
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, NULL, 0);
    struct err e = ERR_INIT;
    const char *a = "local b = require 'lib.b'\nassert(b.n == 1 and require('lib.b') == b)\n"
                    "assert(require('app.lib.b') == b)\n"
                    "function main() b.n = 2 end",
               *b = "loads = (loads or 0) + 1\nassert(loads == 1)\nreturn { n = loads }";
    struct vm_source s[] = {{"a.lua", a, strlen(a)}, {"lib/b.lua", b, strlen(b)}};
    if (vm_load(vm, s, 2, &e) != 0)
        fail_msg("%s", e.text);
    struct call c = {0};
    assert_true(call_start(vm, &c));
    assert_non_null(strstr(c.run.err.text, "a.lua:4: 'n' cannot be set"));
    call_fini(&c);
    vm_free(vm);
}

TEST(what_cannot_be_required_is_named)
{
    assert_refuses("require 'tt'", "there is no 'tt' in this set of scripts; did you mean 't'?");
    assert_refuses("require 't'", "still being loaded");
    assert_refuses("require '../../etc/passwd'", "there is no");
}

TEST(a_set_is_bounded)
{
    struct host h = host_new();
    struct vm *vm = vm_with(&h, NULL, 0);
    struct err e = ERR_INIT;
    struct vm_source s = {.name = "t.lua", .text = "", .len = VM_SOURCE_MAX + 1};
    assert_refused(vm_load(vm, &s, 1, &e), ERR_TOO_LARGE, "t.lua: over 1024 KiB");
    vm_free(vm);
    vm = vm_with(&h, NULL, 0);
    s = (struct vm_source){.name = "t.txt", .text = "", .len = 0};
    assert_refused(vm_load(vm, &s, 1, &e), ERR_INVALID, "must end in .lua");
    vm_free(vm);
    vm = vm_with(&h, NULL, 0);
    struct vm_source twice[] = {{"t.lua", "", 0}, {"t.lua", "", 0}};
    assert_refused(vm_load(vm, twice, 2, &e), ERR_INVALID, "in the set twice");
    vm_free(vm);
}

TEST(a_vm_without_room_is_refused)
{
    struct host h = host_new();
    struct err e = ERR_INIT;
    struct vm *vm = NULL;
    struct vm_options o = {.host = &h.host, .memory_max = 6000};
    assert_true(vm_new(&o, &vm, &e) != 0);
    assert_null(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_syntax_error_has_file_line_column_and_token),
        HEAP_TEST(an_error_at_top_level_has_file_and_line),
        HEAP_TEST(files_require_each_other_once),
        HEAP_TEST(what_cannot_be_required_is_named),
        HEAP_TEST(a_set_is_bounded),
        HEAP_TEST(a_vm_without_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
