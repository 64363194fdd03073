#include "http/cors.h"

#include <string.h>

#include "support/unit.h"

TEST(origins_are_compared_as_browsers_write_them)
{
    struct cors *c = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(cors_new("  HTTPS://App.example.org:443 http://[::1]:3000  ", &c, &e), 0);
    assert_true(cors_lists(c, "https://app.example.org"));
    assert_true(cors_lists(c, "http://[::1]:3000"));
    assert_false(cors_lists(c, "http://app.example.org"));
    assert_false(cors_lists(c, "https://app.example.org.evil.example"));
    assert_false(cors_lists(c, "https://app.example.org:8443"));
    assert_false(cors_lists(c, "null"));
    cors_free(c);
}

TEST(none_are_listed_by_nothing_and_all_by_a_star)
{
    struct cors *c = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(cors_new(" ", &c, &e), 0);
    assert_null(c);
    assert_false(cors_lists(c, "https://a.example"));
    assert_int_equal(cors_new("*", &c, &e), 0);
    assert_true(cors_lists(c, "https://a.example"));
    assert_true(cors_lists(c, "null"));
    cors_free(c);
}

TEST(what_is_no_origin_is_refused)
{
    static const struct {
        const char *origins, *words;
    } bad[] = {
        {"app.example.org", "https://app.example.org"},
        {"https://a.example/", "no path"},
        {"https://a.example/app", "no path"},
        {"https://a.example ftp://b", "https://app.example.org"},
        {"https://user@a.example", "user"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cors *c = NULL;
        struct err e = ERR_INIT;
        assert_refused(cors_new(bad[i].origins, &c, &e), ERR_INVALID, bad[i].words);
        assert_null(c);
    }
}

TEST(too_many_origins_are_refused)
{
    char text[(CORS_ORIGINS_MAX + 1) * 20] = "";
    for (int i = 0; i <= CORS_ORIGINS_MAX; i++)
        strcat(text, "http://a.example ");
    struct cors *c = NULL;
    struct err e = ERR_INIT;
    assert_refused(cors_new(text, &c, &e), ERR_INVALID, "more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(origins_are_compared_as_browsers_write_them),
        HEAP_TEST(none_are_listed_by_nothing_and_all_by_a_star),
        HEAP_TEST(what_is_no_origin_is_refused),
        HEAP_TEST(too_many_origins_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
