/* What did not go well with records, and what people did with them, told to who tells of it. */
#include "queue/queue.h"

#include "io/loop.h"
#include "ledger/txn.h"
#include "queue/queue_priv.h"
#include "support/queue_node.h"
#include "support/unit.h"

struct teller {
    struct queue_noter noter; /* first */
    int arrived;
    bool gone;
};

static void teller_arrived(struct queue_noter *n)
{
    ((struct teller *)n)->arrived++;
}

static void teller_gone(struct queue_noter *n)
{
    ((struct teller *)n)->gone = true;
}

static void turn(struct queue_node *f)
{
    for (int i = 0; i < 20; i++)
        loop_poll(f->node.loop);
}

static void teller_open(struct queue_node *f, struct teller *t)
{
    *t = (struct teller){.noter = {.home = loop_runner(f->node.loop),
                                   .arrived = teller_arrived,
                                   .gone = teller_gone}};
    queues_note(f->queues, &t->noter);
}

static void teller_close(struct queue_node *f, struct teller *t)
{
    queues_unnote(f->queues, &t->noter);
    while (!t->gone)
        loop_poll(f->node.loop);
}

/* A node with one message, record 1 of queue "mail". */
static void begin_with_mail(struct queue_node *f, struct teller *teller)
{
    struct queue_message m = queue_node_message(1, "hello");
    queue_node_begin(f);
    queue_node_up(f);
    assert_int_equal(queue_node_declare(f, "mail"), 0);
    teller_open(f, teller);
    assert_int_equal(queue_node_send(f, &m), 0);
}

static void move_it(struct queue_node *f, uint32_t n, const char *to, const char *who,
                    const char *why)
{
    struct unit u;
    struct uuid id = queue_node_id(n);
    kit_unit(&f->node, &u);
    txn_envelope(&u.txn, &(struct envelope){.principal = who, .reason = why});
    queue_txn_move(&u.txn, &id, to);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

TEST(a_try_that_failed_a_discard_and_what_people_did_are_told_with_their_words)
{
    struct queue_node f;
    struct queue_taker t;
    struct teller teller;
    struct core_view v;
    size_t count;
    uint64_t missed;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    assert_int_equal(queue_node_declare(&f, "other"), 0);
    queue_taker_open(&f, &t, 1);
    teller_open(&f, &teller);
    struct queue_message m = queue_node_message(1, "hello");
    m.send.attempts = 1;
    assert_int_equal(queue_node_send(&f, &m), 0);
    queue_taker_wait(&f, &t, 1);
    turn(&f);
    assert_int_equal(teller.arrived, 0); /* all is well */
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_REJECT), 0);
    move_it(&f, 1, "other", "ann", "they pay late");
    turn(&f);
    assert_true(teller.arrived > 0);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    struct queue_noted *n = queues_noted(f.queues, &teller.noter, &count, &missed);
    assert_int_equal(count, 3);
    assert_int_equal(missed, 0);
    assert_int_equal(n[0].kind, NOTED_TRY);
    assert_int_equal(n[0].attempt, 1);
    assert_int_equal(n[0].reason, REASON_REJECTED);
    assert_true(n[0].told != 0);
    assert_int_equal(n[1].kind, NOTED_DISCARDED);
    assert_int_equal(n[1].seq, n[0].seq);
    assert_string_equal(n[1].queue, "mail");
    assert_int_equal(n[2].kind, NOTED_VERB);
    assert_int_equal(n[2].verb, VERB_MOVE);
    assert_string_equal(n[2].queue, "mail");
    assert_string_equal(n[2].to, "other");
    assert_string_equal(n[2].who, "ann");
    assert_string_equal(n[2].why, "they pay late");
    for (size_t i = 0; i < count; i++)
        assert_int_equal(n[i].place, v.place);
    mem_free(n);
    teller_close(&f, &teller);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(in_a_flood_what_has_no_room_is_missed_and_counted) /* O3 */
{
    enum { MORE = 10 };
    struct queue_node f;
    struct teller teller;
    size_t count;
    uint64_t missed;
    struct uuid id = queue_node_id(1);
    begin_with_mail(&f, &teller);
    struct unit u;
    kit_unit(&f.node, &u);
    for (int i = 0; i < QUEUE_NOTED_MAX + MORE; i++)
        queue_txn_edit(&u.txn, &id, "1", 1, false, NULL);
    assert_int_equal(kit_do(&f.node, &u), 0);
    unit_fini(&u);
    struct queue_noted *n = queues_noted(f.queues, &teller.noter, &count, &missed);
    assert_int_equal(count, QUEUE_NOTED_MAX);
    assert_int_equal(missed, MORE);
    mem_free(n);
    n = queues_noted(f.queues, &teller.noter, &count, &missed);
    assert_null(n);
    assert_int_equal(missed, 0);
    teller_close(&f, &teller);
    queue_node_end(&f);
}

TEST(who_takes_nothing_can_leave_at_any_time)
{
    struct queue_node f;
    struct teller teller;
    struct uuid id = queue_node_id(1);
    begin_with_mail(&f, &teller);
    for (int i = 0; i < 2; i++) {
        struct unit u;
        kit_unit(&f.node, &u);
        queue_txn_edit(&u.txn, &id, "1", 1, false, NULL);
        assert_int_equal(kit_do(&f.node, &u), 0);
        unit_fini(&u);
        turn(&f);
        assert_int_equal(teller.arrived, i + 1);
    }
    teller_close(&f, &teller);
    queue_node_end(&f);
}

TEST(nothing_is_told_of_a_unit_that_was_refused)
{
    struct queue_node f;
    struct teller teller;
    size_t count;
    uint64_t missed;
    struct uuid id = queue_node_id(1), other = queue_node_id(2);
    begin_with_mail(&f, &teller);
    struct unit u;
    kit_unit(&f.node, &u);
    queue_txn_edit(&u.txn, &id, "1", 1, false, NULL);
    queue_txn_retry(&u.txn, &other);
    assert_int_equal(kit_do(&f.node, &u), ERR_NOT_FOUND);
    unit_fini(&u);
    turn(&f);
    assert_null(queues_noted(f.queues, &teller.noter, &count, &missed));
    assert_int_equal(count, 0);
    teller_close(&f, &teller);
    queue_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_try_that_failed_a_discard_and_what_people_did_are_told_with_their_words),
        HEAP_TEST(in_a_flood_what_has_no_room_is_missed_and_counted),
        HEAP_TEST(who_takes_nothing_can_leave_at_any_time),
        HEAP_TEST(nothing_is_told_of_a_unit_that_was_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
