/* queue.end: the end of a delivery in a unit that changes much else. */
#include "queue/queue.h"

#include "io/loop.h"
#include "support/queue_node.h"
#include "support/unit.h"

/* A unit that sends `n` and ends the delivery of record 1 with this token. */
static int ended(struct queue_node *f, uint32_t n, uint64_t token, bool condition,
                 enum core_outcome outcome)
{
    struct unit u;
    struct core_settle s = {
        .id = queue_node_id(1), .token = token, .outcome = outcome, .delay_ms = -1};
    struct queue_message m = queue_node_message(n, "\"on\"");
    kit_unit(&f->node, &u);
    if (condition)
        queue_txn_if_delivery(&u.txn, &s.id, token);
    assert_int_equal(queue_txn_send(&u.txn, &m, NULL), 0);
    assert_int_equal(queue_txn_end(&u.txn, &s, "words", 5, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

static uint64_t granted(struct queue_node *f, struct queue_taker *t)
{
    struct core_queue q = {.name = "mail", .keep_completed_ms = -1, .keep_discarded_ms = -1};
    struct queue_message m = queue_node_message(1, "\"one\"");
    struct unit u;
    kit_unit(&f->node, &u);
    queue_txn_declare(&u.txn, &q);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
    queue_taker_open(f, t, 1);
    assert_int_equal(queue_node_send(f, &m), 0);
    queue_taker_wait(f, t, 1);
    return t->got[0].token;
}

static void ends_as(enum core_outcome outcome, enum rec_state state)
{
    struct queue_node f;
    struct queue_taker t;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    uint64_t token = granted(&f, &t);
    assert_int_equal(ended(&f, 2, token + 1, true, outcome), ERR_FENCED);
    assert_int_equal(queue_node_look(&f, 2, &v), ERR_NOT_FOUND);
    assert_int_equal(ended(&f, 2, token, true, outcome), 0);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, state);
    assert_true(outcome == SETTLE_ACK ? v.result != 0 : v.error != 0);
    assert_int_equal(queue_node_look(&f, 2, &v), 0);
    assert_int_equal(ended(&f, 3, token, true, outcome), ERR_FENCED);
    queue_taker_close(&f, &t);
    queue_node_restart(&f);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, state);
    queue_node_end(&f);
}

TEST(a_unit_ends_the_delivery_that_it_holds_or_does_nothing) /* L4 Q1 */
{
    ends_as(SETTLE_ACK, REC_COMPLETED);
    ends_as(SETTLE_REJECT, REC_DISCARDED);
}

TEST(without_its_condition_the_end_of_what_is_over_changes_nothing_and_refuses_nothing)
{
    struct queue_node f;
    struct queue_taker t;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    uint64_t token = granted(&f, &t);
    assert_int_equal(ended(&f, 2, token + 1, false, SETTLE_ACK), 0);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    assert_int_equal(queue_node_look(&f, 2, &v), 0);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_unit_ends_the_delivery_that_it_holds_or_does_nothing),
        HEAP_TEST(
            without_its_condition_the_end_of_what_is_over_changes_nothing_and_refuses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
