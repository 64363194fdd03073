#include "entity/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static bool matches(const char *pattern, const char *text)
{
    struct pattern *p;
    struct err e = ERR_INIT;
    if (pattern_new(pattern, &p, &e) != 0)
        fail_msg("%s: %s", pattern, e.text);
    bool yes = pattern_match(p, text, strlen(text));
    pattern_free(p);
    return yes;
}

static void a_pattern_covers_the_whole_value(void **state)
{
    (void)state;
    assert_true(matches("abc", "abc"));
    assert_false(matches("abc", "abcd"));
    assert_false(matches("abc", "xabc"));
    assert_false(matches("abc", ""));
    assert_true(matches("^abc$", "abc"));
    assert_true(matches("a\\$", "a$"));
}

static void repeats_count(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool yes;
    } cases[] = {
        {"a*", "", true},
        {"a*", "aaaa", true},
        {"a+", "", false},
        {"a+b", "aaab", true},
        {"a?b", "b", true},
        {"a?b", "aab", false},
        {"a{3}", "aaa", true},
        {"a{3}", "aa", false},
        {"a{3}", "aaaa", false},
        {"a{2,}", "a", false},
        {"a{2,}", "aaaaa", true},
        {"a{2,3}", "aa", true},
        {"a{2,3}", "aaa", true},
        {"a{2,3}", "aaaa", false},
        {"a{0,2}", "", true},
        {"a{0,2}b", "aab", true},
        {"a{0,2}b", "aaab", false},
        {"a{0}b", "b", true},
        {"(ab){2}c", "ababc", true},
        {"(ab){1,2}", "ab", true},
        {"(a*)*b", "aaab", true},
        {"(a|b)*c", "abbac", true},
        {"(a?){3}", "aa", true},
        {"(a?){3}", "aaaa", false},
        {"x(ab|c){0,3}y", "xabcaby", true},
        {"x(ab|c){0,3}y", "xabcabcy", false},
        {"x(ab|c){2,}y", "xaby", false},
        {"x(ab|c){2,}y", "xcccabcy", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (matches(cases[i].pattern, cases[i].text) != cases[i].yes)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
    }
}

static void alternatives_and_groups_nest(void **state)
{
    (void)state;
    assert_true(matches("cat|dog|bird", "bird"));
    assert_true(matches("cat|dog|bird", "cat"));
    assert_false(matches("cat|dog", "catdog"));
    assert_true(matches("(?:a|b(c|d))e", "bde"));
    assert_false(matches("(?:a|b(c|d))e", "be"));
    assert_true(matches("a(|b)c", "ac"));
}

static void classes_hold_ranges_and_code_points(void **state)
{
    (void)state;
    assert_true(matches("[A-Z]{3}", "LHR"));
    assert_false(matches("[A-Z]{3}", "lhr"));
    assert_true(matches("[^0-9]+", "abc"));
    assert_false(matches("[^0-9]+", "ab1"));
    assert_true(matches("[]x]+", "]x"));
    assert_true(matches("[a\\-z-]+", "a-z"));
    assert_true(matches("\\d{2}-\\w+\\s\\S", "12-ab_9 x"));
    assert_true(matches("\\D\\W", "a-"));
    assert_true(matches(".", "\xc3\xa9"));
    assert_true(matches("[\xc3\xa0-\xc3\xbf]{2}", "\xc3\xa9\xc3\xa8"));
}

static void what_is_not_a_pattern_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "(",     ")",       "a)",   "[a",      "*a",  "a**",
                                      "a{",    "a{2",   "a{3,1}",  "a{x}", "\\q",     "a^b", "a$b",
                                      "(?=a)", "[z-a]", "a{9999}", "\\1",  "(?<n>a)", "a\\"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pattern *p;
        struct err e = ERR_INIT;
        if (pattern_new(bad[i], &p, &e) != ERR_INVALID)
            fail_msg("'%s' was taken", bad[i]);
        assert_true(strlen(e.text) > 0);
    }
}

static void a_bomb_is_refused_and_a_hard_text_takes_linear_time(void **state)
{
    (void)state;
    struct pattern *p;
    assert_int_equal(pattern_new("((a{99}){99}){99}", &p, NULL), ERR_INVALID);
    char text[4001];
    memset(text, 'a', sizeof(text) - 1);
    text[4000] = '\0';
    assert_false(matches("(a+)+b", text));
    assert_false(matches("(a|a)*(a|a)*(a|a)*b", text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_covers_the_whole_value),
        cmocka_unit_test(repeats_count),
        cmocka_unit_test(alternatives_and_groups_nest),
        cmocka_unit_test(classes_hold_ranges_and_code_points),
        cmocka_unit_test(what_is_not_a_pattern_is_refused_with_its_place),
        cmocka_unit_test(a_bomb_is_refused_and_a_hard_text_takes_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
