#include "codec/mime.h"

#include "support/unit.h"

TEST(endings_decide_in_either_case)
{
    assert_string_equal(mime_of_path("/a/b/index.html"), "text/html; charset=utf-8");
    assert_string_equal(mime_of_path("X.PNG"), "image/png");
    assert_string_equal(mime_of_path("app.min.js"), "text/javascript; charset=utf-8");
}

TEST(what_has_no_known_ending_is_bytes)
{
    static const char *const paths[] = {"", "/", "Makefile", "a.html/b", ".png", "a.", "x.unknown"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_string_equal(mime_of_path(paths[i]), "application/octet-stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(endings_decide_in_either_case),
        HEAP_TEST(what_has_no_known_ending_is_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
