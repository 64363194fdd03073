#include "base/payload.h"

#include "support/unit.h"

TEST(a_text_is_copied_only_when_it_is_one_and_fits)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    struct cursor c;
    char out[4] = "old";
    buf_add_text(&b, "abc");
    buf_add_text(&b, "");
    cursor_init(&c, b.data, b.len);
    assert_true(cursor_text(&c, out, 1, 3));
    assert_string_equal(out, "abc");
    assert_true(cursor_text(&c, out, 0, 3));
    assert_string_equal(out, "");
    assert_false(cursor_text(&c, out, 0, 3)); /* past the end */

    static const struct {
        const char *text;
        size_t n, least;
    } bad[] = {{"abcd", 4, 0}, {"a", 1, 2}, {"a\0b", 3, 0}, {NULL, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_reset(&b);
        if (bad[i].text != NULL)
            buf_add_bytes(&b, bad[i].text, bad[i].n);
        else
            buf_add_text(&b, NULL);
        memcpy(out, "old", 4);
        cursor_init(&c, b.data, b.len);
        assert_false(cursor_text(&c, out, bad[i].least, 3));
        assert_string_equal(out, "");
        assert_true(c.bad);
    }
}

TEST(a_payload_is_whole_when_all_of_it_was_read)
{
    struct cursor c;
    struct err e = ERR_INIT;
    cursor_init(&c, "ab", 2);
    (void)cursor_u8(&c);
    assert_refused(cursor_whole(&c, "kv.put", &e), ERR_INVALID, "kv.put: malformed payload");
    (void)cursor_u8(&c);
    assert_int_equal(cursor_whole(&c, "kv.put", &e), 0);
    (void)cursor_u8(&c);
    err_clear(&e);
    assert_refused(cursor_whole(&c, "kv.put", &e), ERR_INVALID, "kv.put: malformed payload");
}

TEST(a_payload_that_ends_within_an_id_reads_as_zero)
{
    static const uint8_t bytes[20] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const struct uuid zero;
    struct uuid u;
    struct cursor c;
    cursor_init(&c, bytes, sizeof bytes);
    uuid_read(&c, &u);
    assert_memory_equal(u.b, bytes, 16);
    assert_false(c.bad);
    uuid_read(&c, &u);
    assert_memory_equal(&u, &zero, 16);
    assert_true(c.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_text_is_copied_only_when_it_is_one_and_fits),
        HEAP_TEST(a_payload_is_whole_when_all_of_it_was_read),
        HEAP_TEST(a_payload_that_ends_within_an_id_reads_as_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
