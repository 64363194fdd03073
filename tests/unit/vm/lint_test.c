#include "vm/lint.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "support/unit.h"
#include "vm/vm.h"

static struct buf notes;

static void keep(void *arg, const struct vm_lint_note *n)
{
    (void)arg;
    buf_addf(&notes, "%d:%d%s %s|", n->line, n->column, n->fatal ? "!" : "", n->text);
}

/* All notes of a text, as one. */
static const char *lint(const char *text, bool late)
{
    static char out[8192];
    struct vm_source s = {"t.lua", text, strlen(text)};
    struct map *globals = map_new();
    static const char *const known[] = {"print",  "pairs",        "entity",
                                        "string", "setmetatable", "_ENV"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        map_puts(globals, known[i], globals);
    vm_lint_collect(&s, globals);
    buf_init(&notes, 8000);
    vm_lint(&s, globals, late, keep, NULL);
    snprintf(out, sizeof out, "%s", buf_str(&notes));
    buf_fini(&notes);
    map_free(globals, NULL);
    return out;
}

#define quiet(text) assert_string_equal(lint(text, false), "")
#define says(text, words)                                                                          \
    do {                                                                                           \
        const char *got_ = lint(text, false);                                                      \
        if (strstr(got_, words) == NULL)                                                           \
            fail_msg("no \"%s\" in \"%s\"", words, got_);                                          \
    } while (0)

TEST(names_that_nobody_defined_are_told_with_the_nearest)
{
    says("print(1)\nprnt(2)", "2:1! global 'prnt' is not defined; did you mean 'print'?");
    says("local a = zork.b\nprint(a)", "1:11! global 'zork' is not defined anywhere");
    says("local function f() return undefd end\nf()", "'undefd'");
    says("function zork.m() end", "'zork'");
    quiet("function helper() return 1 end\nprint(helper())\nx = 5\nprint(x)");
}

TEST(globals_cannot_be_assigned_once_loaded)
{
    says("local function f() x = 1 end\nf()", "1:20! global 'x' is assigned");
    says("local f = function() a, b.c = 1, 2 end\nf()", "'a' is assigned");
    says("local function f() function g() end end\nf()", "'g' is assigned");
    quiet("local x\nlocal function f() x = 1 return x end\nf()");
    if (strstr(lint("x = 1", true), "'x' is assigned") == NULL)
        fail_msg("a late file may not make globals");
}

TEST(locals_that_nobody_reads_are_told)
{
    says("local a = 1", "1:7 local 'a' is never read");
    says("local function f() end", "1:16 local 'f'");
    says("local a\na = 2", "local 'a'");
    says("do local b = 1 end", "local 'b'");
    says("local a = 1\nlocal a = 2\nprint(a)", "1:7 local 'a'");
    quiet("local _unused = 1\nlocal _ = 2");
    quiet("local function f(a, b, ...) end\nf()\nfor i, v in pairs {} do end\nfor i = 1, 2 do end");
    quiet("local ok, e = print(1)\nprint(e)");
    quiet("local f <close> = setmetatable({}, {})");
    quiet("local t <const> = 1\nprint(t)");
}

TEST(the_whole_grammar_is_read)
{
    quiet(
        "#!/usr/bin/koan\n--[==[ long\n]] comment ]==] print 'x'\n"
        "local t = { 1, 2; a = 3, ['b'] = 4, [1 + 2] = function(...) return ... end }\n"
        "t.a.b['c']:d { 1 } 'x' [[y]]\n"
        "for i = 1, #t do if i == 2 then goto done elseif i ~= 3 then break else print(i) end end\n"
        "::done:: while not t do repeat local z = 1 until z == 0x1p-3 end\n"
        "print(-t ^ 2 .. 'a\\'b' // 3 << 1 & ~2 | 3e-5, t:m(), (t)(1), \"\\z\n  x\")\n"
        "function print.x.y:z() return self end\n"
        "local a, b = 1, 2; print(a, b);\n"
        "do local x = 1; do local x = x; print(x) end end\n"
        "return function() return a, b end, t;");
}

TEST(what_is_no_lua_ends_in_silence)
{
    static const char *const odd[] = {
        "local", "f(",   "{",        "for",           "for i", "if x then", "a = = 1",   "'",
        "[[",    "--[[", "function", "return return", "x.",    "::",        "local x <", ")"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        lint(odd[i], false);
    static char deep[4000];
    memset(deep, '(', sizeof deep - 1);
    assert_string_equal(lint(deep, false), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(names_that_nobody_defined_are_told_with_the_nearest),
        HEAP_TEST(globals_cannot_be_assigned_once_loaded),
        HEAP_TEST(locals_that_nobody_reads_are_told),
        HEAP_TEST(the_whole_grammar_is_read),
        HEAP_TEST(what_is_no_lua_ends_in_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
