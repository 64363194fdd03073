#include "codec/url.h"

#include "base/buf.h"
#include "support/unit.h"

TEST(what_is_not_plain_is_escaped)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    url_encode("a b/\xc3\xa9%~+", 9, &b);
    assert_string_equal(buf_str(&b), "a%20b%2F%C3%A9%25~%2B");
    buf_reset(&b);
    url_encode("AZaz09-._~", 10, &b);
    assert_string_equal(buf_str(&b), "AZaz09-._~");
    buf_reset(&b);
    url_encode("\0?&=#", 5, &b);
    assert_string_equal(buf_str(&b), "%00%3F%26%3D%23");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_is_not_plain_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
