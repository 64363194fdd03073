#include "ledger/entry_priv.h"

#include <stdio.h>
#include <string.h>

#include "ledger/ledger.h"
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

static void unit_of(struct buf *b, const char *who, const struct txn *before, struct txn *t)
{
    txn_init(t);
    txn_envelope(t, &(struct envelope){.principal = who, .causation = "cause"});
    for (int i = 0; i < 2; i++) {
        buf_adds(txn_begin(t, 0xff00, 1), who);
        txn_end(t);
    }
    entry_add(b, t, before);
}

TEST(of_an_operation_in_an_entry_it_is_told_who_wanted_it)
{
    static const char *const who[] = {"ann", "ann", "bob"};
    struct txn t[3];
    struct err e = ERR_INIT;
    const struct envelope *env;
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    entry_begin(&b, 5);
    for (int i = 0; i < 3; i++)
        unit_of(&b, who[i], i > 0 ? &t[i - 1] : NULL, &t[i]);
    entry_finish(&b, 0, 3);
    size_t last = b.len - 1, second = 0;
    for (size_t i = 20; i < b.len && second == 0; i++) /* the body of the second, without a head */
        if (memcmp(b.data + i, "bob", 3) == 0)
            second = i - 60;
    struct ledger_units *u = ledger_units_new();
    assert_int_equal(ledger_units_begin(u, b.data, b.len, &e), 0);
    const size_t at[] = {last, second, 24, last, last};
    const char *const is[] = {"bob", "ann", "ann", "bob", "bob"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(ledger_units_at(u, at[i], &env, &e), 0);
        assert_string_equal(env->principal, is[i]);
        assert_string_equal(env->causation, "cause");
    }
    assert_refused(ledger_units_at(u, b.len, &env, &e), ERR_CORRUPT, "ends before");
    assert_int_equal(ledger_units_begin(u, b.data, 24, &e), 0);
    assert_int_equal(ledger_units_at(u, 22, &env, &e), ERR_CORRUPT);
    ledger_units_free(u);
    for (int i = 0; i < 3; i++)
        txn_fini(&t[i]);
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
        HEAP_TEST(of_an_operation_in_an_entry_it_is_told_who_wanted_it),
        HEAP_TEST(an_entry_of_a_newer_form_and_one_cut_off_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
