#include "codec/url.h"

#include "base/arena.h"
#include "base/buf.h"
#include "support/unit.h"

static struct arena arena;

static int decode(const char *s, char **out, struct err *e)
{
    return url_decode(s, strlen(s), &arena, out, e);
}

static int parse(const char *s, struct url_query *q, struct err *e)
{
    return url_query_parse(s, strlen(s), &arena, q, e);
}

TEST(segments_are_escaped_and_come_back)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    char *back;
    url_encode("a b/\xc3\xa9%~+", 9, &b);
    assert_string_equal(buf_str(&b), "a%20b%2F%C3%A9%25~%2B");
    arena_init(&arena, 1000);
    assert_int_equal(decode(buf_str(&b), &back, NULL), 0);
    assert_string_equal(back, "a b/\xc3\xa9%~+");
    assert_int_equal(decode("a+b", &back, NULL), 0);
    assert_string_equal(back, "a+b");
    arena_fini(&arena);
}

TEST(bad_escapes_are_refused)
{
    struct err e;
    char *out = NULL;
    arena_init(&arena, 1000);
    assert_refused(decode("ab%", &out, &e), ERR_INVALID, "offset 2");
    assert_refused(decode("%1", &out, &e), ERR_INVALID, "offset 0");
    assert_refused(decode("%g0", &out, &e), ERR_INVALID, "%25");
    assert_refused(decode("a%00", &out, &e), ERR_INVALID, "NUL");
    assert_refused(decode("%ff", &out, &e), ERR_INVALID, "UTF-8");
    assert_null(out);
    arena_fini(&arena);
}

TEST(a_query_is_split_into_names_and_values)
{
    struct url_query q;
    arena_init(&arena, 10000);
    assert_int_equal(parse("page=2&&filter=%7B%22a%22:1%7D&flag&q=a+b&q=c&e==", &q, NULL), 0);
    assert_int_equal(q.count, 6);
    assert_string_equal(url_query_get(&q, "page"), "2");
    assert_string_equal(url_query_get(&q, "filter"), "{\"a\":1}");
    assert_string_equal(url_query_get(&q, "flag"), "");
    assert_string_equal(url_query_get(&q, "q"), "a b");
    assert_string_equal(q.params[4].value, "c");
    assert_string_equal(url_query_get(&q, "e"), "=");
    assert_null(url_query_get(&q, "absent"));
    assert_int_equal(parse("", &q, NULL), 0);
    assert_int_equal(q.count, 0);
    arena_fini(&arena);
}

TEST(a_bad_query_names_the_parameter)
{
    struct url_query q;
    struct err e;
    arena_init(&arena, 10000);
    assert_refused(parse("a=1&b=%x", &q, &e), ERR_INVALID, "query parameter 'b': ");
    char many[2 * URL_PARAMS_MAX + 3] = "";
    for (int i = 0; i <= URL_PARAMS_MAX; i++)
        strcat(many, "a&");
    assert_refused(parse(many, &q, &e), ERR_TOO_LARGE, "257 parameters; at most 256");
    arena_fini(&arena);
    arena_init(&arena, 20);
    assert_refused(parse("a=1&b=2", &q, &e), ERR_TOO_LARGE, "too large");
    arena_fini(&arena);
}

TEST(a_query_is_built)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    buf_adds(&b, "/x?");
    url_query_add(&b, "a", "1 2");
    url_query_add(&b, "b&", "=");
    assert_string_equal(buf_str(&b), "/x?a=1%202&b%26=%3D");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(segments_are_escaped_and_come_back),
        HEAP_TEST(bad_escapes_are_refused),
        HEAP_TEST(a_query_is_split_into_names_and_values),
        HEAP_TEST(a_bad_query_names_the_parameter),
        HEAP_TEST(a_query_is_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
