/* Records that wait for a message. */
#include "bus/bus.h"

#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "support/bus_node.h"
#include "support/unit.h"

static const int64_t later = INT64_C(4000000000000);

static void up(struct bus_node *f)
{
    bus_node_begin(f);
    bus_node_up(f);
    assert_int_equal(queue_node_declare(&f->queue, "mail"), 0);
}

/* A record that sleeps until something wakes it. */
static void sleeper(struct bus_node *f, uint32_t n)
{
    struct queue_message m = queue_node_message(n, "1");
    m.send.run_at = later;
    assert_int_equal(queue_node_send(&f->queue, &m), 0);
}

static int wait_for(struct bus_node *f, uint32_t n, const char *name, const char *pattern,
                    const char *key)
{
    struct bus_wait w = {
        .record = queue_node_id(n), .name = name, .pattern = pattern, .key = key, .until = later};
    struct unit u;
    kit_unit(&f->queue.node, &u);
    assert_int_equal(bus_txn_wait(&u.txn, &w, NULL), 0);
    int rc = kit_do(&f->queue.node, &u);
    unit_fini(&u);
    return rc;
}

static void publish(struct bus_node *f, const char *topic, const char *key, uint32_t n,
                    const char *body)
{
    struct bus_route *r = bus_node_route(f, topic);
    struct bus_message m = bus_node_message(n, body);
    m.key = key;
    assert_int_equal(bus_node_publish_by(f, r, &m), 0);
    bus_route_free(r);
}

static enum bus_waited read_it(struct bus_node *f, uint32_t n, const char *name, char body[64])
{
    struct db *reader = kit_reader(&f->queue.node);
    struct uuid record = queue_node_id(n);
    struct bus_met met;
    enum bus_waited out = BUS_WAIT_NONE;
    assert_int_equal(bus_wait_read(reader, "default", &record, name, &out, &met, NULL), 0);
    body[0] = '\0';
    if (out == BUS_WAIT_MET)
        snprintf(body, 64, "%s %s", met.topic, (const char *)met.body);
    if (out == BUS_WAIT_OPEN)
        assert_true(met.until == later);
    bus_met_fini(&met);
    db_close(reader);
    return out;
}

TEST(a_message_that_is_waited_for_is_kept_with_the_wait_and_wakes_its_record)
{
    struct bus_node f;
    char body[64];
    up(&f);
    sleeper(&f, 1);
    sleeper(&f, 2);
    assert_int_equal(wait_for(&f, 1, "paid", "order.paid", "o-1"), 0);
    assert_int_equal(wait_for(&f, 2, "paid", "order.#", "o-2"), 0);
    publish(&f, "order.sent", "o-1", 10, "no");
    publish(&f, "order.paid", "o-1", 11, "yes");
    publish(&f, "order.paid", "o-1", 12, "late");
    bus_node_until(&f, "mail", REC_AVAILABLE, 1);
    assert_int_equal(read_it(&f, 1, "paid", body), BUS_WAIT_MET);
    assert_string_equal(body, "order.paid yes");
    assert_int_equal(read_it(&f, 2, "paid", body), BUS_WAIT_OPEN);
    assert_int_equal(read_it(&f, 1, "other", body), BUS_WAIT_NONE);
    assert_int_equal(bus_node_count(&f, "mail", REC_SCHEDULED), 1);
    bus_node_end(&f);
}

TEST(a_record_that_was_not_told_before_a_crash_is_told_after_it)
{
    struct bus_node f;
    bus_node_begin(&f);
    f.asleep = true;
    bus_node_up(&f);
    assert_int_equal(queue_node_declare(&f.queue, "mail"), 0);
    sleeper(&f, 1);
    assert_int_equal(wait_for(&f, 1, "a", "t", NULL), 0);
    publish(&f, "t", NULL, 10, "x");
    assert_int_equal(bus_node_count(&f, "mail", REC_SCHEDULED), 1);
    f.asleep = false;
    bus_node_restart(&f);
    bus_node_until(&f, "mail", REC_AVAILABLE, 1);
    bus_node_end(&f);
}

TEST(a_wait_of_a_record_that_is_no_more_holds_up_no_other)
{
    struct bus_node f;
    char body[64];
    up(&f);
    sleeper(&f, 2);
    assert_int_equal(wait_for(&f, 1, "a", "t", NULL), 0); /* there is no such record */
    assert_int_equal(wait_for(&f, 2, "a", "t", NULL), 0);
    publish(&f, "t", "k", 10, "x");
    bus_node_until(&f, "mail", REC_AVAILABLE, 1);
    assert_int_equal(read_it(&f, 1, "a", body), BUS_WAIT_NONE);
    assert_int_equal(read_it(&f, 2, "a", body), BUS_WAIT_MET);
    bus_node_end(&f);
}

static void cancel(struct bus_node *f, uint32_t n)
{
    struct uuid id = queue_node_id(n);
    struct unit u;
    kit_unit(&f->queue.node, &u);
    queue_txn_cancel(&u.txn, &id);
    assert_int_equal(kit_do(&f->queue.node, &u), 0);
    unit_fini(&u);
}

TEST(waits_of_records_that_are_over_are_forgotten)
{
    struct bus_node f;
    char body[64];
    up(&f);
    bus_watch(f.bus, f.queue.queues);
    for (uint32_t n = 1; n <= 3; n++) {
        sleeper(&f, n);
        assert_int_equal(wait_for(&f, n, "a", "t", n == 3 ? "k-3" : NULL), 0);
    }
    assert_int_equal(wait_for(&f, 1, "b", "u", NULL), 0);
    cancel(&f, 1);
    cancel(&f, 3);
    publish(&f, "t", "k-3", 10, "dead"); /* met, and nobody is there to be woken */
    while (read_it(&f, 1, "a", body) != BUS_WAIT_NONE ||
           read_it(&f, 1, "b", body) != BUS_WAIT_NONE || read_it(&f, 3, "a", body) != BUS_WAIT_NONE)
        bus_node_turn(&f);
    assert_int_equal(read_it(&f, 2, "a", body), BUS_WAIT_MET);
    bus_node_end(&f);
}

static int goes_on(struct bus_node *f, uint32_t n, const char *name)
{
    struct uuid id = queue_node_id(n);
    struct unit u;
    kit_unit(&f->queue.node, &u);
    bus_txn_if_waits(&u.txn, &id, name);
    int rc = kit_do(&f->queue.node, &u);
    unit_fini(&u);
    return rc;
}

TEST(who_goes_on_waiting_does_so_only_while_no_message_has_come)
{
    struct bus_node f;
    up(&f);
    sleeper(&f, 1);
    assert_int_equal(goes_on(&f, 1, "a"), ERR_CONFLICT);
    assert_int_equal(wait_for(&f, 1, "a", "t", NULL), 0);
    assert_int_equal(goes_on(&f, 1, "a"), 0);
    assert_int_equal(goes_on(&f, 1, "b"), ERR_CONFLICT);
    publish(&f, "t", NULL, 10, "x");
    assert_int_equal(goes_on(&f, 1, "a"), ERR_CONFLICT);
    bus_node_end(&f);
}

TEST(a_wait_that_ends_leaves_nothing)
{
    struct bus_node f;
    struct unit u;
    struct uuid record = queue_node_id(1);
    struct err e = ERR_INIT;
    char body[64];
    up(&f);
    sleeper(&f, 1);
    uint64_t revision = bus_revision(f.bus);
    assert_int_equal(wait_for(&f, 1, "a", "t", NULL), 0);
    assert_int_equal(wait_for(&f, 1, "a", "u", NULL), 0); /* stays as it is */
    assert_int_equal(bus_revision(f.bus), revision);
    publish(&f, "t", NULL, 10, "x");
    kit_unit(&f.queue.node, &u);
    bus_txn_wait_end(&u.txn, &record, "a");
    bus_txn_wait_end(&u.txn, &record, "a");
    assert_int_equal(kit_do(&f.queue.node, &u), 0);
    unit_fini(&u);
    assert_int_equal(read_it(&f, 1, "a", body), BUS_WAIT_NONE);
    struct db *reader = kit_reader(&f.queue.node);
    struct db_stmt *s = db_stmt_get(reader,
                                    "SELECT (SELECT count(*) FROM bus_met) + (SELECT count(*) FROM "
                                    "bus_waits) + (SELECT sum(used) FROM bus_use)",
                                    NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_int_equal(db_col_int(s, 0), 0);
    db_stmt_done(s);
    db_close(reader);
    struct bus_wait w = {.record = record, .name = "a", .pattern = "#.a", .until = later};
    txn_init(&u.txn);
    assert_refused(bus_txn_wait(&u.txn, &w, &e), ERR_INVALID, "last word");
    txn_fini(&u.txn);
    bus_node_end(&f);
}

TEST(who_begins_to_wait_comes_between_a_route_and_its_publish_only_of_that_topic) /* B1 */
{
    struct bus_node f;
    char body[64];
    struct bus_message m = bus_node_message(10, "x"), n = bus_node_message(11, "y");
    up(&f);
    sleeper(&f, 1);
    struct bus_route *paid = bus_node_route(&f, "order.paid");
    struct bus_route *other = bus_node_route(&f, "other");
    assert_int_equal(wait_for(&f, 1, "a", "order.*", NULL), 0);
    assert_int_equal(bus_node_publish_by(&f, other, &n), 0);
    assert_int_equal(bus_node_publish_by(&f, paid, &m), ERR_CONFLICT);
    assert_true(bus_is_stale(f.bus, paid));
    bus_route_free(paid);
    bus_route_free(other);
    assert_int_equal(bus_node_publish(&f, "order.paid", 10, "x"), 0);
    assert_int_equal(read_it(&f, 1, "a", body), BUS_WAIT_MET);
    bus_node_restart(&f);
    assert_int_equal(wait_for(&f, 1, "b", "order.*", NULL), 0); /* the pattern is known */
    paid = bus_node_route(&f, "order.paid");
    m.id = queue_node_id(12);
    assert_int_equal(bus_node_publish_by(&f, paid, &m), 0);
    bus_route_free(paid);
    assert_int_equal(read_it(&f, 1, "b", body), BUS_WAIT_MET);
    bus_node_end(&f);
}

TEST(a_pattern_that_nobody_waits_for_any_more_makes_room)
{
    struct bus_node f;
    up(&f);
    for (uint32_t i = 1; i <= 1100; i++) { /* the set is made anew in between */
        char topic[32];
        struct unit u;
        struct uuid record = queue_node_id(i);
        snprintf(topic, sizeof topic, "order.%u.paid", i);
        assert_int_equal(wait_for(&f, i, "a", topic, NULL), 0);
        kit_unit(&f.queue.node, &u);
        bus_txn_wait_end(&u.txn, &record, "a");
        assert_int_equal(kit_do(&f.queue.node, &u), 0);
        unit_fini(&u);
    }
    struct db *reader = kit_reader(&f.queue.node);
    struct db_stmt *s = db_stmt_get(reader, "SELECT count(*) FROM bus_patterns", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_int_equal(db_col_int(s, 0), 1);
    db_stmt_done(s);
    s = db_stmt_get(reader, "SELECT value FROM bus_numbers WHERE what = 5", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_int_equal(db_col_int(s, 0), 1);
    db_stmt_done(s);
    s = db_stmt_get(reader, "EXPLAIN QUERY PLAN SELECT 1 FROM bus_patterns WHERE waits = 0", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_non_null(strstr(db_col_text(s, 3, NULL), "bus_patterns_unused"));
    db_stmt_done(s);
    db_close(reader);
    bus_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_message_that_is_waited_for_is_kept_with_the_wait_and_wakes_its_record),
        HEAP_TEST(a_record_that_was_not_told_before_a_crash_is_told_after_it),
        HEAP_TEST(a_wait_of_a_record_that_is_no_more_holds_up_no_other),
        HEAP_TEST(waits_of_records_that_are_over_are_forgotten),
        HEAP_TEST(who_goes_on_waiting_does_so_only_while_no_message_has_come),
        HEAP_TEST(a_wait_that_ends_leaves_nothing),
        HEAP_TEST(who_begins_to_wait_comes_between_a_route_and_its_publish_only_of_that_topic),
        HEAP_TEST(a_pattern_that_nobody_waits_for_any_more_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
