#include "base/buf.h"
#include "base/mem.h"

#include "support/unit.h"

TEST(content_grows_and_stays_terminated)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100000);
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++) {
        buf_addf(&b, "%d,", i);
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_int_equal(b.len, 3890);
    buf_addf(&b, "%500d", 7);
    assert_int_equal(b.len, 4390);
}

TEST(the_bound_is_exact_and_a_failed_append_changes_nothing)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(5);
    buf_adds(&b, "12345");
    assert_false(buf_failed(&b));
    assert_int_equal(buf_check(&b, "text", &e), 0);
    buf_addc(&b, '6');
    assert_true(buf_failed(&b));
    assert_string_equal(buf_str(&b), "12345");
    assert_refused(buf_check(&b, "text", &e), ERR_TOO_LARGE, "text is larger than 5 bytes");
    buf_reset(&b);
    buf_adds(&b, "ab");
    assert_string_equal(buf_str(&b), "ab");
    buf_addf(&b, "%400d", 1);
    assert_true(buf_failed(&b));
    buf_adds(&b, "c"); /* ignored, although it would fit */
    assert_string_equal(buf_str(&b), "ab");
}

TEST(a_bound_of_zero_takes_only_nothing)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(0);
    buf_add(&b, "", 0);
    assert_false(buf_failed(&b));
    buf_addc(&b, 'x');
    assert_true(buf_failed(&b));
}

TEST(a_bound_of_everything_is_no_bound)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(SIZE_MAX);
    buf_adds(&b, "abc");
    assert_string_equal(buf_str(&b), "abc");
    assert_null(buf_reserve(&b, SIZE_MAX - 3));
    assert_true(buf_failed(&b));
}

TEST(reserved_room_is_written_and_committed)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    char *p = buf_reserve(&b, 100);
    memset(p, 'x', 100);
    buf_commit(&b, 3);
    assert_string_equal(buf_str(&b), "xxx");
    assert_null(buf_reserve(&b, 98));
    assert_true(buf_failed(&b));
}

TEST(consuming_moves_the_rest_forward)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(100);
    buf_consume(&b, 0);
    buf_adds(&b, "abcdef");
    buf_consume(&b, 2);
    assert_string_equal(buf_str(&b), "cdef");
    buf_consume(&b, 4);
    assert_string_equal(buf_str(&b), "");
}

TEST(taken_memory_belongs_to_the_taker)
{
    struct buf b = BUF_INIT(100);
    AUTO(mem_freep) char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    buf_adds(&b, "abc");
    AUTO(mem_freep) char *text = buf_take(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
}

TEST(integers_are_little_endian_and_come_back)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1000);
    buf_add_u8(&b, 0x81);
    buf_add_u16(&b, 0x8283);
    buf_add_u32(&b, 0x84858687);
    buf_add_u64(&b, 0x88898a8b8c8d8e8f);
    buf_add_bytes(&b, "a\0b", 3);
    buf_add_text(&b, NULL);
    buf_add_text(&b, "");
    assert_memory_equal(b.data, "\x81\x83\x82\x87\x86\x85\x84", 7);
    buf_put_u32(&b, 3, 5);

    struct cursor c;
    size_t n;
    cursor_init(&c, b.data, b.len);
    assert_int_equal(cursor_u8(&c), 0x81);
    assert_int_equal(cursor_u16(&c), 0x8283);
    assert_int_equal(cursor_u32(&c), 5);
    assert_true(cursor_u64(&c) == 0x88898a8b8c8d8e8f);
    assert_memory_equal(cursor_bytes(&c, &n), "a\0b", 3);
    assert_int_equal(n, 3);
    assert_null(cursor_bytes(&c, &n));
    assert_false(c.bad);
    assert_non_null(cursor_bytes(&c, &n));
    assert_int_equal(n, 0);
    assert_int_equal(cursor_left(&c), 0);
}

TEST(a_cursor_never_passes_the_end)
{
    struct cursor c;
    size_t n = 9;
    cursor_init(&c,
                "\xff\xff\xff\x7f"
                "abc",
                7);
    assert_null(cursor_bytes(&c, &n));
    assert_true(c.bad);
    assert_int_equal(n, 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(cursor_left(&c), 0);
    cursor_init(&c, NULL, 0);
    assert_non_null(cursor_raw(&c, 0));
    assert_int_equal(cursor_u16(&c), 0);
    assert_true(c.bad);
}

TEST(a_length_is_never_written_without_its_bytes)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(6);
    buf_add_bytes(&b, "abc", 3);
    assert_true(buf_failed(&b));
    assert_int_equal(b.len, 0);
}

TEST(want_of_memory_is_told_from_the_bound)
{
    struct buf b = BUF_INIT(1000);
    struct err e = ERR_INIT;
    mem_fail(1);
    buf_adds(&b, "text");
    mem_fail(0);
    assert_refused(buf_check(&b, "it", &e), ERR_NOMEM, "no memory for it");
    buf_reset(&b);
    buf_adds(&b, "text");
    assert_int_equal(buf_check(&b, "it", &e), 0);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(content_grows_and_stays_terminated),
        HEAP_TEST(want_of_memory_is_told_from_the_bound),
        HEAP_TEST(the_bound_is_exact_and_a_failed_append_changes_nothing),
        HEAP_TEST(a_bound_of_zero_takes_only_nothing),
        HEAP_TEST(a_bound_of_everything_is_no_bound),
        HEAP_TEST(reserved_room_is_written_and_committed),
        HEAP_TEST(consuming_moves_the_rest_forward),
        HEAP_TEST(taken_memory_belongs_to_the_taker),
        HEAP_TEST(integers_are_little_endian_and_come_back),
        HEAP_TEST(a_cursor_never_passes_the_end),
        HEAP_TEST(a_length_is_never_written_without_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
