/* Retained topics: where groups start, what they are fed, and when that ends. */
#include "bus/bus.h"

#include "base/time.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/bus_node.h"
#include "support/unit.h"

enum { HOUR = 60 * 60 * 1000 };

static void up(struct bus_node *f, int64_t retain_ms)
{
    bus_node_begin(f);
    bus_node_up(f);
    assert_int_equal(bus_node_topic(f, "c.#", retain_ms, UNROUTED_KEEP), 0);
}

static void publish(struct bus_node *f, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i <= to; i++) {
        char body[16];
        snprintf(body, sizeof body, "%u", i);
        assert_int_equal(bus_node_publish(f, "c.saved", i, body), 0);
    }
}

static int rewind_to(struct bus_node *f, const char *group, const struct bus_start *to)
{
    struct unit u;
    kit_unit(&f->queue.node, &u);
    bus_txn_rewind(&u.txn, group, to);
    int rc = kit_do(&f->queue.node, &u);
    unit_fini(&u);
    return rc;
}

static int64_t rows(struct bus_node *f, const char *sql)
{
    struct db *reader = kit_reader(&f->queue.node);
    struct db_stmt *s = db_stmt_get(reader, sql, NULL);
    assert_int_equal(db_step(s, NULL), 1);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    db_close(reader);
    return n;
}

TEST(a_group_that_starts_at_the_first_gets_what_is_retained_once_and_in_order) /* B1 */
{
    struct bus_node f;
    up(&f, HOUR);
    publish(&f, 1, 5);
    assert_int_equal(bus_node_count(&f, UNROUTED_QUEUE, REC_DISCARDED), 0); /* it is kept anyway */
    assert_int_equal(BUS_NODE_GROUPS(&f, "new c.#", "old c.# {\"start\":\"first\"}"), 0);
    publish(&f, 6, 8); /* while it is fed, or behind */
    bus_node_until(&f, "group.old", REC_AVAILABLE, 8);
    publish(&f, 9, 9);
    assert_string_equal(bus_node_bodies(&f, "group.old", REC_AVAILABLE), "1 2 3 4 5 6 7 8 9");
    assert_string_equal(bus_node_bodies(&f, "group.new", REC_AVAILABLE), "6 7 8 9");
    bus_node_end(&f);
}

TEST(more_than_one_unit_holds_is_fed_across_restarts) /* B1 */
{
    struct bus_node f;
    up(&f, HOUR);
    publish(&f, 1, 250);
    f.asleep = true;
    bus_node_restart(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "old c.# {\"start\":\"first\"}"), 0);
    publish(&f, 251, 260); /* passes it by */
    assert_int_equal(bus_node_count(&f, "group.old", REC_AVAILABLE), 0);
    f.asleep = false;
    bus_node_restart(&f);
    for (int i = 0; i < 3; i++)
        bus_node_turn(&f);
    bus_node_restart(&f); /* in the midst of it */
    bus_node_until(&f, "group.old", REC_AVAILABLE, 260);
    bus_node_turn(&f);
    publish(&f, 261, 261);
    assert_int_equal(bus_node_count(&f, "group.old", REC_AVAILABLE), 261);
    bus_node_end(&f);
}

TEST(a_group_is_rewound_to_a_position_a_time_or_the_head)
{
    struct bus_node f;
    struct err e = ERR_INIT;
    up(&f, HOUR);
    assert_int_equal(BUS_NODE_GROUPS(&f, "g c.#"), 0);
    publish(&f, 1, 3);
    assert_int_equal(bus_node_count(&f, "group.g", REC_AVAILABLE), 3);
    assert_int_equal(
        rewind_to(&f, "g", &(struct bus_start){.from = BUS_FROM_POSITION, .position = 3}), 0);
    bus_node_until(&f, "group.g", REC_AVAILABLE, 4);
    assert_int_equal(rewind_to(&f, "g", &(struct bus_start){.from = BUS_FROM_TIME, .at = 1}), 0);
    bus_node_until(&f, "group.g", REC_AVAILABLE, 7);
    assert_int_equal(rewind_to(&f, "g", &(struct bus_start){.from = BUS_FROM_NEW}), 0);
    bus_node_turn(&f);
    assert_int_equal(bus_node_count(&f, "group.g", REC_AVAILABLE), 7);
    assert_string_equal(bus_node_bodies(&f, "group.g", REC_AVAILABLE), "1 2 3 3 1 2 3");
    assert_int_equal(rewind_to(&f, "none", &(struct bus_start){.from = BUS_FROM_NEW}),
                     ERR_NOT_FOUND);
    AUTO(json_unref) json_t *v = json_string("yesterday");
    struct bus_start s;
    assert_refused(bus_start_read(v, &s, &e), ERR_INVALID, "\"first\"");
    bus_node_end(&f);
}

TEST(a_group_may_start_at_a_position_or_a_time)
{
    struct bus_node f;
    char group[160], since[TIME_TEXT];
    up(&f, HOUR);
    publish(&f, 1, 2);
    int64_t at = rows(&f, "SELECT max(at) FROM bus_retained") + 1;
    while (loop_world(f.queue.node.loop)->wall_ms(loop_world(f.queue.node.loop)) < at)
        bus_node_turn(&f);
    publish(&f, 3, 4);
    time_format(at, since);
    snprintf(group, sizeof group, "timed c.# {\"start\":\"%s\"}", since);
    assert_int_equal(BUS_NODE_GROUPS(&f, "placed c.# {\"start\":{\"position\":2}}", group,
                                     "late c.# {\"start\":{\"position\":9}}"),
                     0);
    bus_node_until(&f, "group.placed", REC_AVAILABLE, 3);
    bus_node_until(&f, "group.timed", REC_AVAILABLE, 2);
    publish(&f, 5, 5);
    bus_node_until(&f, "group.placed", REC_AVAILABLE, 4);
    bus_node_until(&f, "group.timed", REC_AVAILABLE, 3);
    assert_string_equal(bus_node_bodies(&f, "group.placed", REC_AVAILABLE), "2 3 4 5");
    assert_string_equal(bus_node_bodies(&f, "group.timed", REC_AVAILABLE), "3 4 5");
    assert_string_equal(bus_node_bodies(&f, "group.late", REC_AVAILABLE), "5");
    bus_node_end(&f);
}

TEST(a_group_that_was_away_goes_on_where_it_was)
{
    struct bus_node f;
    up(&f, HOUR);
    publish(&f, 1, 2);
    assert_int_equal(BUS_NODE_GROUPS(&f, "g c.# {\"start\":\"first\"}"), 0);
    bus_node_until(&f, "group.g", REC_AVAILABLE, 2);
    bus_node_turn(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "other x"), 0);
    publish(&f, 3, 4);
    assert_int_equal(bus_node_count(&f, "group.g", REC_AVAILABLE), 2);
    assert_int_equal(BUS_NODE_GROUPS(&f, "g c.# {\"start\":\"first\"}"), 0);
    bus_node_until(&f, "group.g", REC_AVAILABLE, 4);
    assert_string_equal(bus_node_bodies(&f, "group.g", REC_AVAILABLE), "1 2 3 4");
    bus_node_end(&f);
}

TEST(what_is_past_its_time_goes)
{
    struct bus_node f;
    up(&f, 1);
    publish(&f, 1, 3);
    for (int i = 0; i < 2000 && rows(&f, "SELECT count(*) FROM bus_retained") > 0; i++)
        bus_node_turn(&f);
    assert_int_equal(rows(&f, "SELECT count(*) FROM bus_retained"), 0);
    assert_int_equal(rows(&f, "SELECT coalesce(sum(used), 0) FROM bus_use"), 0);
    bus_node_end(&f);
}

/* As if so much were kept already. */
static void used_is(struct bus_node *f, int64_t bytes)
{
    char path[512], sql[128];
    struct db_options o = {.path = path, .mode = DB_WRITER};
    struct db *db;
    snprintf(path, sizeof path, "%s", ledger_db_path(f->queue.node.ledger));
    snprintf(sql, sizeof sql, "UPDATE bus_use SET used = %lld", (long long)bytes);
    bus_node_down(f);
    assert_int_equal(db_open(&o, &db, NULL), 0);
    assert_int_equal(db_exec(db, sql, NULL), 0);
    db_close(db);
    bus_node_up(f);
}

TEST(what_a_tenant_may_retain_is_bounded)
{
    struct bus_node f;
    up(&f, HOUR);
    publish(&f, 1, 1);
    int64_t one = rows(&f, "SELECT sum(bytes) FROM bus_retained");
    assert_int_equal(one, rows(&f, "SELECT sum(used) FROM bus_use"));
    used_is(&f, BUS_RETAINED_BYTES - one);
    publish(&f, 2, 2); /* to the last byte */
    assert_int_equal(bus_node_publish(&f, "c.saved", 3, "3"), ERR_QUOTA);
    assert_int_equal(rows(&f, "SELECT count(*) FROM bus_retained"), 2);
    assert_int_equal(rows(&f, "SELECT sum(used) FROM bus_use"), BUS_RETAINED_BYTES);
    assert_int_equal(bus_node_publish(&f, "other", 4, "4"), 0); /* what is not retained goes on */
    used_is(&f, BUS_RETAINED_BYTES - one + 1);
    assert_int_equal(bus_node_publish(&f, "c.saved", 5, "5"), ERR_QUOTA);
    bus_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_group_that_starts_at_the_first_gets_what_is_retained_once_and_in_order),
        HEAP_TEST(more_than_one_unit_holds_is_fed_across_restarts),
        HEAP_TEST(a_group_is_rewound_to_a_position_a_time_or_the_head),
        HEAP_TEST(a_group_may_start_at_a_position_or_a_time),
        HEAP_TEST(a_group_that_was_away_goes_on_where_it_was),
        HEAP_TEST(what_is_past_its_time_goes),
        HEAP_TEST(what_a_tenant_may_retain_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
