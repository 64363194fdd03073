/* The operations of the queue in their binary form. */
#include "queue/queue.h"

#include <string.h>

#include "base/mem.h"
#include "ledger/txn.h"
#include "support/unit.h"

/* Bytes of the payload of a send with this correlation, which is read back from them. */
static size_t sent_with(const char *correlation)
{
    struct queue_message m = {
        .send = {.queue = "q", .priority = CORE_PRIORITY}, .correlation = correlation, .body = "7"};
    m.body_len = 1;
    struct err e = ERR_INIT;
    struct txn t;
    struct txn_op op;
    AUTO(mem_freep) struct queue_stored *s = mem_new(sizeof *s);
    txn_init(&t);
    assert_int_equal(queue_txn_send(&t, &m, &e), 0);
    struct cursor c;
    cursor_init(&c, t.body.data, t.body.len);
    assert_true(txn_next(&c, &op));
    size_t n = cursor_left(&op.payload);
    assert_int_equal(queue_message_read(op.payload.p, n, 0, s, &e), 0);
    if (correlation == NULL)
        assert_null(s->correlation);
    else
        assert_string_equal(s->correlation, correlation);
    assert_int_equal(s->body_len, 1);
    txn_fini(&t);
    return n;
}

TEST(a_correlation_that_is_a_uuid_takes_its_16_bytes_and_comes_back_as_it_was)
{
    size_t none = sent_with(NULL);
    assert_int_equal(sent_with("c-1"), none + 2 + 3);
    assert_int_equal(sent_with("0193f5a2-7c1d-7def-8000-00a1b2c3d4e5"), none + 16);
    assert_int_equal(sent_with("00000000-0000-0000-0000-000000000000"), none + 16);
    assert_int_equal(sent_with("0193F5A2-7C1D-7DEF-8000-00A1B2C3D4E5"), none + 2 + 36);
    assert_int_equal(sent_with("0193f5a2-7c1d-7def-8000-00a1b2c3d4e"), none + 2 + 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_correlation_that_is_a_uuid_takes_its_16_bytes_and_comes_back_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
