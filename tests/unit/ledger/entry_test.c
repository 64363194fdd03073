#include "ledger/entry_priv.h"

#include <stdio.h>

#include "ledger/txn.h"
#include "support/unit.h"

TEST(the_bytes_of_an_entry_never_change)
{
    struct txn t;
    txn_init(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    entry_begin(&b, 0x0102030405060708);
    entry_add(&b, &t, NULL);
    entry_finish(&b, 0, 1);
    static const char head[] = "\1\0\0\0\1\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\6\0\0\0\2\0\0\0\0";
    assert_int_equal(b.len, 20 + 6);
    assert_memory_equal(b.data, head, 26);
    txn_fini(&t);
}

TEST(an_entry_gives_back_its_units_in_order)
{
    struct txn t;
    txn_init(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    entry_begin(&b, 5);
    for (uint8_t i = 0; i < 3; i++) {
        t.id.b[0] = (uint8_t)(i + 1);
        entry_add(&b, &t, i > 0 ? &t : NULL);
    }
    entry_finish(&b, 0, 3);
    struct entry_head h;
    struct cursor c;
    assert_int_equal(entry_open(b.data, b.len, &h, &c, NULL), 0);
    assert_int_equal(h.units, 3);
    assert_int_equal(h.at, 5);
    size_t n;
    for (uint8_t i = 0; i < 3; i++) {
        const uint8_t *p = entry_next(&c, &n);
        assert_non_null(p);
        assert_int_equal(p[4], i + 1);
    }
    assert_null(entry_next(&c, &n));
    assert_false(c.bad);
    txn_fini(&t);
}

TEST(an_entry_of_a_newer_form_and_one_cut_off_are_told_apart)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    struct entry_head h;
    struct cursor c;
    struct err e = ERR_INIT;
    entry_begin(&b, 5);
    assert_refused(entry_open(b.data, b.len - 1, &h, &c, &e), ERR_CORRUPT, "cut off");
    b.data[0] = 2;
    assert_refused(entry_open(b.data, b.len, &h, &c, &e), ERR_UNSUPPORTED, "form 2");
    b.data[0] = 1;
    buf_put_u32(&b, 4, 1025);
    assert_refused(entry_open(b.data, b.len, &h, &c, &e), ERR_CORRUPT, "1025 units");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_bytes_of_an_entry_never_change),
        HEAP_TEST(an_entry_gives_back_its_units_in_order),
        HEAP_TEST(an_entry_of_a_newer_form_and_one_cut_off_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
