#include "codec/base64.h"

#include "base/buf.h"
#include "support/unit.h"

TEST(the_examples_of_rfc_4648_come_out_and_back)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        AUTO(buf_fini) struct buf text = BUF_INIT(100);
        AUTO(buf_fini) struct buf back = BUF_INIT(100);
        base64_encode(BASE64_STD, pairs[i][0], strlen(pairs[i][0]), &text);
        assert_string_equal(buf_str(&text), pairs[i][1]);
        assert_int_equal(base64_decode(BASE64_STD, buf_str(&text), text.len, &back, NULL), 0);
        assert_string_equal(buf_str(&back), pairs[i][0]);
    }
}

TEST(the_url_alphabet_needs_no_padding)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(100);
    AUTO(buf_fini) struct buf back = BUF_INIT(100);
    base64_encode(BASE64_URL, "\xfb\xff\xfe\x3e", 4, &text);
    assert_string_equal(buf_str(&text), "-__-Pg");
    assert_int_equal(base64_decode(BASE64_URL, "-__-Pg", 6, &back, NULL), 0);
    assert_memory_equal(back.data, "\xfb\xff\xfe\x3e", 4);
}

static int decode(enum base64_kind kind, const char *s, struct err *e)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(4);
    return base64_decode(kind, s, strlen(s), &out, e);
}

TEST(other_spellings_of_a_value_are_refused)
{
    struct err e;
    assert_refused(decode(BASE64_STD, "Zg=", &e), ERR_INVALID, "multiple of 4");
    assert_refused(decode(BASE64_STD, "Z===", &e), ERR_INVALID, "offset 1");
    assert_refused(decode(BASE64_STD, "Zh==", &e), ERR_INVALID, "left over at offset 1");
    assert_refused(decode(BASE64_STD, "Zm 9", &e), ERR_INVALID, "offset 2");
    assert_refused(decode(BASE64_STD, "Zm_v", &e), ERR_INVALID, "offset 2");
    assert_refused(decode(BASE64_STD, "Zg==Zg==", &e), ERR_INVALID, "offset 2");
    assert_refused(decode(BASE64_URL, "Zg==", &e), ERR_INVALID, "offset 2");
    assert_refused(decode(BASE64_URL, "Zm9vY", &e), ERR_INVALID, "alone");
    assert_refused(decode(BASE64_STD, "Zm9vYmFy", &e), ERR_TOO_LARGE, "4 bytes");
}

TEST(hex_comes_out_and_back)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(100);
    AUTO(buf_fini) struct buf back = BUF_INIT(100);
    struct err e;
    hex_encode("\x00\xAf\x10", 3, &text);
    assert_string_equal(buf_str(&text), "00af10");
    assert_int_equal(hex_decode("00aF10", 6, &back, &e), 0);
    assert_memory_equal(back.data, "\x00\xaf\x10", 3);
    assert_refused(hex_decode("abc", 3, &back, &e), ERR_INVALID, "odd");
    assert_refused(hex_decode("ag", 2, &back, &e), ERR_INVALID, "offset 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_examples_of_rfc_4648_come_out_and_back),
        HEAP_TEST(the_url_alphabet_needs_no_padding),
        HEAP_TEST(other_spellings_of_a_value_are_refused),
        HEAP_TEST(hex_comes_out_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
