#include "base/str.h"

#include "support/unit.h"

TEST(views_compare_with_texts)
{
    assert_true(str_eq(STR("abc"), "abc"));
    assert_false(str_eq(STR("abc"), "abcd"));
    assert_true(str_eq(str_of(NULL), ""));
    assert_true(str_starts("koan.lua", "koan"));
    assert_false(str_starts("ko", "koan"));
    assert_true(str_ends("koan.lua", ".lua"));
    assert_false(str_ends("lua", ".lua"));
}

TEST(only_well_formed_utf8_passes)
{
    static const char *const good[] = {"",
                                       "plain ascii text",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xed\x9f\xbf",
                                       "12345678\xc3\xa9"
                                       "12345678"};
    static const char *const bad[] = {
        "\x80",     "\xc0\x80",     "\xc1\xbf",         "\xe0\x9f\xbf",     "\xc3",
        "\xe2\x82", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",     "12345678\xc3", "1234567\xc3\xc3"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(str_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_is_utf8(bad[i], strlen(bad[i])));
    assert_int_equal(str_utf8_len("a\xc3\xa9\xf0\x9f\x98\x80", 7), 3);
}

TEST(integers_are_read_whole_and_bounded)
{
    int64_t i;
    uint64_t u;
    assert_true(str_to_i64("-9223372036854775808", 20, &i) && i == INT64_MIN);
    assert_true(str_to_i64("9223372036854775807", 19, &i) && i == INT64_MAX);
    assert_false(str_to_i64("9223372036854775808", 19, &i));
    assert_false(str_to_i64("-9223372036854775809", 20, &i));
    assert_true(str_to_u64("18446744073709551615", 20, &u) && u == UINT64_MAX);
    assert_false(str_to_u64("18446744073709551616", 20, &u));
    char text[STR_U64_DIGITS];
    assert_int_equal(str_from_u64(UINT64_MAX, text), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
    assert_int_equal(str_from_u64(0, text), 1);
    assert_int_equal(text[0], '0');
    assert_int_equal(str_from_u64(1000, text), 4);
    assert_memory_equal(text, "1000", 4);
    static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "0x1", "1.0", "--1"};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        assert_false(str_to_i64(bad[k], strlen(bad[k]), &i));
}

TEST(decimals_are_read_whole_and_finite)
{
    double d;
    assert_true(str_to_double("-74.00600051879883", 18, &d) && d == -74.00600051879883);
    assert_true(str_to_double("1e3", 3, &d) && d == 1000);
    assert_true(str_to_double("+.5E-1", 6, &d) && d == 0.05);
    assert_true(str_to_double("7.", 2, &d) && d == 7);
    static const char *const bad[] = {"",    ".",    "-",  "e5", "1e",  "1e+",   "nan",
                                      "inf", "0x10", " 1", "1 ", "1,5", "1e999", "1.2.3"};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        assert_false(str_to_double(bad[k], strlen(bad[k]), &d));
}

TEST(the_nearest_name_is_found)
{
    static const char *const names[] = {"elevation", "country", "id", "name"};
    assert_int_equal(str_distance("kitten", "sitting"), 3);
    assert_int_equal(str_distance("", "abc"), 3);
    assert_string_equal(str_nearest("elevaton", names, 4), "elevation");
    assert_string_equal(str_nearest("contry", names, 4), "country");
    assert_null(str_nearest("xyzzyx", names, 4));
    assert_null(str_nearest("zz", names, 4));
    assert_null(str_nearest("a", names, 0));
}

TEST(names_follow_the_rule)
{
    struct err e;
    char long_name[66];
    memset(long_name, 'a', 65);
    long_name[65] = '\0';
    assert_refused(str_check_name(long_name, "entity", &e), ERR_INVALID, "entity");
    long_name[64] = '\0';
    assert_int_equal(str_check_name(long_name, "entity", &e), 0);
    assert_int_equal(str_check_name("Order_line-2", "entity", &e), 0);
    static const char *const bad[] = {"", "2a", "_a", "a b", "a.b", "caf\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_check_name(bad[i], "entity", &e), ERR_INVALID);
}

static int id_check(const char *s, struct err *e)
{
    return str_check_id(s, strlen(s), e);
}

TEST(ids_follow_the_rule)
{
    struct err e;
    char long_id[258];
    memset(long_id, 'a', 257);
    assert_refused(str_check_id(long_id, 257, &e), ERR_INVALID, "1 to 256 bytes, not 257");
    assert_int_equal(str_check_id(long_id, 256, &e), 0);
    assert_refused(id_check("", &e), ERR_INVALID, "1 to 256");
    assert_refused(id_check("a/b", &e), ERR_INVALID, "'/'");
    assert_refused(id_check("a\nb", &e), ERR_INVALID, "control");
    assert_refused(id_check("a\xc2\x85", &e), ERR_INVALID, "control");
    assert_refused(str_check_id("a\0b", 3, &e), ERR_INVALID, "control");
    assert_refused(id_check("\xff", &e), ERR_INVALID, "UTF-8");
    assert_refused(id_check("..", &e), ERR_INVALID, "'..'");
    assert_refused(id_check("mirror", &e), ERR_INVALID, "'mirror'");
    assert_int_equal(id_check("news", &e), 0);
    assert_int_equal(id_check("caf\xc3\xa9 1.5 ...", &e), 0);
}

TEST(names_become_kebab_case)
{
    static const char *const pairs[][2] = {{"OrderLine", "order-line"},
                                           {"HTTPServer", "http-server"},
                                           {"todo", "todo"},
                                           {"order_line", "order-line"},
                                           {"Order_Line", "order-line"},
                                           {"Plan9Item", "plan9-item"},
                                           {"ABC", "abc"},
                                           {"aB", "a-b"}};
    char out[32];
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        str_kebab(pairs[i][0], out, sizeof(out));
        assert_string_equal(out, pairs[i][1]);
    }
    str_kebab("ABABABABABABAB", out, 8);
    assert_true(strlen(out) < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(views_compare_with_texts),
        HEAP_TEST(only_well_formed_utf8_passes),
        HEAP_TEST(integers_are_read_whole_and_bounded),
        HEAP_TEST(decimals_are_read_whole_and_finite),
        HEAP_TEST(the_nearest_name_is_found),
        HEAP_TEST(names_follow_the_rule),
        HEAP_TEST(ids_follow_the_rule),
        HEAP_TEST(names_become_kebab_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
