#include "ledger/txn.h"

#include <stdio.h>

#include "ledger/txn_priv.h"
#include "support/unit.h"

static void hex(const struct buf *b, char *out)
{
    for (size_t i = 0; i < b->len; i++)
        sprintf(out + 2 * i, "%02x", (unsigned)(uint8_t)b->data[i]);
}

static void sample(struct txn *t)
{
    txn_init(t);
    for (int i = 0; i < 16; i++)
        t->id.b[i] = (uint8_t)(i + 1);
    txn_envelope(t, &(struct envelope){.tenant = "t", .reason = ""});
    buf_adds(txn_begin(t, 0x0102, 3), "pay");
    txn_end(t);
    txn_begin(t, 0xff00, 1);
    txn_end(t);
}

TEST(the_bytes_of_a_unit_never_change)
{
    struct txn t;
    sample(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    txn_encode(&t, &b);
    assert_int_equal(b.len, txn_bytes(&t));
    char text[512];
    hex(&b, text);
    assert_string_equal(text, "0201"                             /* form, with id */
                              "0200"                             /* operations */
                              "0102030405060708090a0b0c0d0e0f10" /* id */
                              "1900"                             /* envelope */
                              "0100000074"                       /* tenant */
                              "ffffffffffffffffffffffffffffffff" /* not given */
                              "00000000"                         /* reason: empty */
                              "0201030003000000706179"           /* 0x0102, version 3 */
                              "00ff010000000000");
    txn_fini(&t);
}

static void assert_is_sample(const struct txn_view *v)
{
    struct txn_op op;
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(v->id.b[i], i + 1);
    assert_string_equal(v->env.tenant, "t");
    assert_string_equal(v->env.principal, "system");
    assert_string_equal(v->env.reason, "");
    assert_null(v->env.causation);
    struct cursor c = txn_ops(v);
    assert_true(txn_next(&c, &op));
    assert_int_equal(op.type, 0x0102);
    assert_int_equal(op.version, 3);
    assert_int_equal(cursor_left(&op.payload), 3);
    assert_true(txn_next(&c, &op));
    assert_int_equal(op.type, 0xff00);
    assert_int_equal(cursor_left(&op.payload), 0);
    assert_false(txn_next(&c, &op));
}

TEST(a_unit_reads_back_as_it_was_built)
{
    struct txn t;
    struct txn_view v;
    struct err e = ERR_INIT;
    sample(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    txn_encode(&t, &b);
    assert_int_equal(txn_decode(b.data, b.len, &v, &e), 0);
    assert_is_sample(&v);
    txn_view_fini(&v);
    txn_fini(&t);
}

TEST(a_unit_of_the_first_form_is_read)
{
    static const char first[] = "\1\0\0\0"
                                "\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
                                "\2\0\0\0"
                                "\x19\0\0\0"
                                "\x13\0\0\0"
                                "\1\0\0\0t"
                                "\xff\xff\xff\xff\xff\xff\xff\xff"
                                "\xff\xff\xff\xff\xff\xff\xff\xff"
                                "\0\0\0\0"
                                "\2\1\3\0\3\0\0\0pay"
                                "\0\xff\1\0\0\0\0";
    struct txn_view v;
    struct err e = ERR_INIT;
    assert_int_equal(txn_decode(first, sizeof first, &v, &e), 0);
    assert_is_sample(&v);
    txn_view_fini(&v);
    for (size_t n = 0; n < sizeof first; n++)
        assert_int_equal(txn_decode(first, n, &v, NULL), ERR_CORRUPT);
}

TEST(an_envelope_like_the_one_before_is_not_written_again)
{
    struct txn t[4];
    struct txn_view v;
    struct err e = ERR_INIT;
    AUTO(mem_freep) struct txn_texts *texts = mem_new(sizeof *texts);
    for (int i = 0; i < 4; i++)
        sample(&t[i]);
    t[1].id = (struct uuid){{0}};
    txn_envelope(&t[2], &(struct envelope){.tenant = "u"});
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    size_t ends[4];
    for (int i = 0; i < 4; i++) {
        txn_encode_behind(&t[i], i > 0 ? &t[i - 1] : NULL, &b);
        ends[i] = b.len;
    }
    assert_int_equal(ends[1] - ends[0], 4 + t[1].body.len);
    assert_int_equal(txn_decode_in(b.data, ends[0], texts, &v, &e), 0);
    assert_is_sample(&v);
    assert_int_equal(txn_decode_in(b.data + ends[0], ends[1] - ends[0], texts, &v, &e), 0);
    assert_string_equal(v.env.tenant, "t");
    assert_string_equal(v.env.reason, "");
    assert_int_equal(v.id.b[0], 0);
    assert_int_equal(txn_decode_in(b.data + ends[1], ends[2] - ends[1], texts, &v, &e), 0);
    assert_string_equal(v.env.tenant, "u");
    assert_int_equal(txn_decode_in(b.data + ends[2], ends[3] - ends[2], texts, &v, &e), 0);
    assert_is_sample(&v);
    assert_refused(txn_decode(b.data + ends[0], ends[1] - ends[0], &v, &e), ERR_CORRUPT,
                   "a unit before it");
    for (int i = 0; i < 4; i++)
        txn_fini(&t[i]);
}

TEST(a_unit_without_an_envelope_belongs_to_the_defaults)
{
    struct txn t;
    struct txn_view v;
    txn_init(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    txn_encode(&t, &b);
    assert_int_equal(txn_decode(b.data, b.len, &v, NULL), 0);
    assert_string_equal(v.env.tenant, "default");
    assert_string_equal(v.env.principal, "system");
    txn_view_fini(&v);
    txn_fini(&t);
}

TEST(no_prefix_and_no_flipped_bit_crashes_or_reads_past_the_end)
{
    struct txn t;
    sample(&t);
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    txn_encode(&t, &b);
    for (size_t n = 0; n < b.len; n++) {
        struct txn_view v;
        AUTO(mem_freep) char *exact = mem_dup(b.data, n);
        assert_int_equal(txn_decode(exact, n, &v, NULL), ERR_CORRUPT);
        txn_view_fini(&v);
    }
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        struct txn_view v;
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
        if (txn_decode(b.data, b.len, &v, NULL) == 0)
            txn_view_fini(&v);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ 1 << bit % 8);
    }
    txn_fini(&t);
}

TEST(the_bounds_are_refused_by_name)
{
    struct txn t;
    struct err e = ERR_INIT;
    txn_init(&t);
    for (int i = 0; i <= TXN_OPS_MAX; i++) {
        txn_begin(&t, 0xff00, 1);
        txn_end(&t);
    }
    assert_refused(txn_check(&t, &e), ERR_TOO_LARGE, "10000 operations");
    txn_fini(&t);

    txn_init(&t);
    AUTO(mem_freep) char *big = mem_try(TXN_BYTES_MAX);
    memset(big, 1, TXN_BYTES_MAX);
    buf_add(txn_begin(&t, 0xff00, 1), big, TXN_BYTES_MAX);
    txn_end(&t);
    assert_refused(txn_check(&t, &e), ERR_TOO_LARGE, "8388608 bytes");
    txn_fini(&t);

    txn_init(&t);
    buf_add(txn_begin(&t, 0xff00, 1), big, TXN_BYTES_MAX - 8);
    txn_end(&t);
    assert_int_equal(txn_check(&t, &e), 0);
    txn_fini(&t);

    char text[TXN_ENVELOPE_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.correlation = text});
    assert_refused(txn_check(&t, &e), ERR_TOO_LARGE, "1024 bytes");
    text[sizeof text - 2] = '\0';
    txn_envelope(&t, &(struct envelope){.correlation = text});
    assert_int_equal(txn_check(&t, &e), 0);
    txn_fini(&t);
}

TEST(what_is_appended_makes_the_whole_urgent)
{
    struct txn whole, urgent, plain;
    txn_init(&whole);
    sample(&urgent);
    sample(&plain);
    urgent.urgent = true;
    txn_append(&whole, &plain);
    assert_false(whole.urgent);
    txn_append(&whole, &urgent);
    assert_true(whole.urgent);
    txn_append(&whole, &plain);
    assert_true(whole.urgent);
    assert_int_equal(whole.ops, 6);
    txn_fini(&plain);
    txn_fini(&urgent);
    txn_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_bytes_of_a_unit_never_change),
        HEAP_TEST(a_unit_reads_back_as_it_was_built),
        HEAP_TEST(a_unit_of_the_first_form_is_read),
        HEAP_TEST(an_envelope_like_the_one_before_is_not_written_again),
        HEAP_TEST(a_unit_without_an_envelope_belongs_to_the_defaults),
        HEAP_TEST(no_prefix_and_no_flipped_bit_crashes_or_reads_past_the_end),
        HEAP_TEST(the_bounds_are_refused_by_name),
        HEAP_TEST(what_is_appended_makes_the_whole_urgent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
