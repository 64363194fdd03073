#include "http/target.h"

#include <string.h>

#include "support/unit.h"

static struct target t;

static const char *parsed(const char *url)
{
    static char text[TARGET_URL_MAX + 300];
    struct err e = ERR_INIT;
    if (target_parse(url, strlen(url), &t, &e) != 0)
        fail_msg("%s", e.text);
    target_format(&t, text, sizeof text);
    return text;
}

TEST(urls_are_taken_apart)
{
    assert_string_equal(parsed("http://Example.ORG"), "http://example.org/");
    assert_int_equal(t.port, 80);
    assert_string_equal(parsed("https://h:8443/a/b?x=1#frag"), "https://h:8443/a/b?x=1");
    assert_string_equal(t.authority, "h:8443");
    assert_true(t.https);
    assert_string_equal(parsed("https://h:443?q"), "https://h/?q");
    assert_string_equal(parsed("HTTP://[::1]:90/"), "http://[::1]:90/");
    assert_string_equal(t.host, "::1");
    assert_string_equal(parsed("http://h:/x"), "http://h/x");
}

TEST(what_could_be_read_two_ways_is_refused)
{
    static const struct {
        const char *url, *words;
    } bad[] = {
        {"", "begin with"},
        {"ftp://h/", "begin with"},
        {"http:///x", "missing"},
        {"http://u:p@h/", "user"},
        {"http://h@evil/", "user"},
        {"http://h\\@evil/", "backslash"},
        {"http://h:0/", "port"},
        {"http://h:65536/", "port"},
        {"http://h:8x/", "port"},
        {"http://[::1/", "IPv6"},
        {"http://[::1]x/", "IPv6"},
        {"http://a b/", "escaped"},
        {"http://h/\r\nX: y", "escaped"},
        {"http://h\xc3\xa9/", "escaped"},
        {"http://h%2e/", "host"},
        {"//h/", "begin with"},
        {"http://", "missing"},
        {"http://[fe80::1%25eth0]/", "host"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = ERR_INIT;
        assert_refused(target_parse(bad[i].url, strlen(bad[i].url), &t, &e), ERR_INVALID,
                       bad[i].words);
    }
    static char huge[TARGET_URL_MAX + 10];
    struct err e = ERR_INIT;
    memset(huge, 'a', sizeof huge - 1);
    memcpy(huge, "http://h/", 9);
    assert_refused(target_parse(huge, strlen(huge), &t, &e), ERR_TOO_LARGE, "8192");
}

TEST(redirects_lead_where_browsers_go)
{
    /* RFC 3986, 5.4, those that apply to http */
    static const struct {
        const char *location, *want;
    } cases[] = {
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g/"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {";x", "http://a/b/c/;x"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"https://z/x y\xc3\xa9", "https://z/x%20y%C3%A9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct target from, to;
        char text[TARGET_URL_MAX + 300];
        struct err e = ERR_INIT;
        assert_int_equal(target_parse("http://a/b/c/d;p?q", 18, &from, &e), 0);
        if (target_redirect(&from, cases[i].location, &to, &e) != 0)
            fail_msg("%s: %s", cases[i].location, e.text);
        target_format(&to, text, sizeof text);
        assert_string_equal(text, cases[i].want);
    }
    struct target from, to;
    struct err e = ERR_INIT;
    assert_int_equal(target_parse("http://a/", 9, &from, &e), 0);
    assert_refused(target_redirect(&from, "javascript:alert(1)", &to, &e), ERR_INVALID, "redirect");
    assert_refused(target_redirect(&from, "file:///etc/passwd", &to, &e), ERR_INVALID, "http");
}

TEST(an_origin_is_scheme_host_and_port)
{
    struct target a, b;
    assert_int_equal(target_parse("https://h/x", 11, &a, NULL), 0);
    assert_int_equal(target_parse("https://H:443/y", 15, &b, NULL), 0);
    assert_true(target_same_origin(&a, &b));
    assert_int_equal(target_parse("http://h:443/", 13, &b, NULL), 0);
    assert_false(target_same_origin(&a, &b));
    assert_int_equal(target_parse("https://h:444/", 14, &b, NULL), 0);
    assert_false(target_same_origin(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(urls_are_taken_apart),
        HEAP_TEST(what_could_be_read_two_ways_is_refused),
        HEAP_TEST(redirects_lead_where_browsers_go),
        HEAP_TEST(an_origin_is_scheme_host_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
