#include "app/source_view.h"

#include <string.h>

#include "app/script_diff.h"
#include "app/scripts.h"
#include "base/buf.h"
#include "support/unit.h"

static struct vm_source source(const char *text)
{
    return (struct vm_source){"a.lua", text, strlen(text)};
}

static void assert_view(const char *text, const char *error, const char *want)
{
    struct source_place p;
    struct vm_source s = source(text);
    AUTO(buf_fini) struct buf b = BUF_INIT(4096);
    assert_true(source_place(error, &p));
    source_view(&s, 1, &p, false, &b);
    assert_string_equal(buf_str(&b), want);
}

TEST(the_caret_stands_under_column_name_or_first_character)
{
    assert_view("x\n  foo(bar)", "a.lua:2:7: no", "     2 |   foo(bar)\n       |       ^\n");
    assert_view("  foo(bar)", "a.lua:1: global 'bar' is odd",
                "     1 |   foo(bar)\n       |       ^~~\n");
    assert_view("if a = = 1 then", "a.lua:1: 'then' expected near '='",
                "     1 | if a = = 1 then\n       |      ^\n");
    assert_view("\tfoo()", "a.lua:1: odd", "     1 |  foo()\n       |  ^\n");
    assert_view("f('\xc3\xa9\xc3\xa9', x)", "a.lua:1: 'x'",
                "     1 | f('\xc3\xa9\xc3\xa9', x)\n       |         ^\n");
    assert_view("x", "a.lua:7: beyond the end", "");
    assert_view("x", "b.lua:1: another file", "");
}

TEST(texts_without_a_place_have_none)
{
    struct source_place p;
    assert_false(source_place("disk full", &p));
    assert_false(source_place("a.lua:x: y", &p));
    assert_false(source_place("in a.lua:3: y", &p));
    assert_false(source_place("a.lua:0: y", &p));
    assert_true(source_place("lib/a.lua:3:14: y", &p));
    assert_int_equal(p.column, 14);
    assert_string_equal(p.words, "y");
}

static void assert_diff(const char *before, const char *now, int added, int removed,
                        const char *words)
{
    struct vm_source a = source(before), b = source(now);
    struct scripts old = {&a, 1}, new = {&b, 1};
    AUTO(buf_fini) struct buf text = BUF_INIT(1 << 20);
    AUTO(json_unref) json_t *list = script_diff(&old, &new, false, &text);
    assert_int_equal(json_array_size(list), 1);
    json_t *one = json_array_get(list, 0);
    assert_int_equal(json_integer_value(json_object_get(one, "added")), added);
    assert_int_equal(json_integer_value(json_object_get(one, "removed")), removed);
    if (strstr(buf_str(&text), words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, buf_str(&text));
}

TEST(a_diff_is_the_least_that_explains_it)
{
    assert_diff("a\nb\nc\n", "a\nx\nc\n", 1, 1, "     2 - b\n     2 + x\n");
    assert_diff("a\nb\nc\n", "a\nb\nn\nc\n", 1, 0, "     3 + n\n");
    assert_diff("a\nb\nc\nd\ne\n", "a\nc\nd\nX\ne\n", 1, 1, "     2 - b\n     4 + X\n");
    assert_diff("a", "", 0, 1, "     1 - a");
    static char many[8000], none[] = "x\n";
    for (size_t i = 0; i < sizeof many - 2; i += 2)
        memcpy(many + i, "a\n", 3);
    assert_diff(none, many, 3999, 1, "more lines");
}

TEST(files_come_and_go)
{
    struct vm_source a = source("1"), b = {"b.lua", "2", 1};
    struct scripts old = {&a, 1}, new = {&b, 1};
    AUTO(buf_fini) struct buf text = BUF_INIT(4096);
    AUTO(json_unref) json_t *list = script_diff(&old, &new, false, &text);
    assert_string_equal(buf_str(&text), "removed a.lua  +0 -1\nadded b.lua  +1 -0\n");
    AUTO(json_unref) json_t *same = script_diff(&old, &old, false, NULL);
    assert_int_equal(json_array_size(same), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_caret_stands_under_column_name_or_first_character),
        HEAP_TEST(texts_without_a_place_have_none),
        HEAP_TEST(a_diff_is_the_least_that_explains_it),
        HEAP_TEST(files_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
