#include "ledger/ledger.h"

#include <stdio.h>
#include <unistd.h>

#include "base/stat.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

static void node_begin(struct kit_node *n)
{
    struct err e = ERR_INIT;
    kit_node_fresh(n);
    n->options.segment_bytes = 256 << 10;
    int rc = kit_node_open(n, &e);
    if (rc != 0)
        fail_msg("%s", e.text);
}

static void node_end(struct kit_node *n)
{
    kit_node_close(n);
    kit_node_gone(n);
}

static int64_t row(struct kit_node *n, uint64_t key)
{
    struct db *db = kit_reader(n);
    int64_t got = kit_n(db, key);
    db_close(db);
    return got;
}

static int put(struct kit_node *n, uint64_t key)
{
    struct unit u;
    kit_unit(n, &u);
    kit_put(&u, key, "value", 5);
    int rc = kit_do(n, &u);
    unit_fini(&u);
    return rc;
}

TEST(a_unit_is_applied_and_answers_one_result_per_operation)
{
    struct kit_node n;
    struct unit u;
    struct cursor c;
    node_begin(&n);
    kit_unit(&n, &u);
    kit_put(&u, 1, "a", 1);
    kit_add(&u, 1, 41);
    assert_int_equal(kit_do(&n, &u), 0);
    assert_int_equal(u.seq, 2); /* the first entry is the list of members */
    assert_true(unit_result(&u, 0, &c));
    assert_int_equal(cursor_left(&c), 0);
    assert_true(unit_result(&u, 1, &c));
    assert_int_equal(cursor_u64(&c), 42);
    assert_false(unit_result(&u, 2, &c));
    assert_int_equal(row(&n, 1), 42);
    assert_int_equal(ledger_applied(n.ledger), 2);
    assert_int_equal(n.kit.committed, 2);
    unit_fini(&u);
    node_end(&n);
}

TEST(a_restart_finds_everything_and_goes_on)
{
    struct kit_node n;
    node_begin(&n);
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(put(&n, i), 0);
    kit_node_restart(&n);
    assert_int_equal(row(&n, 49), 1);
    assert_int_equal(put(&n, 50), 0);
    kit_node_restart(&n);
    assert_int_equal(row(&n, 50), 1);
    struct ledger_status s;
    ledger_status(n.ledger, &s);
    assert_true(s.leader);
    assert_int_equal(s.term, 3); /* every life of a lone voter has its own */
    node_end(&n);
}

TEST(a_failing_unit_leaves_nothing_and_names_the_operation)
{
    struct kit_node n;
    struct unit u;
    node_begin(&n);
    kit_unit(&n, &u);
    kit_put(&u, 1, "a", 1);
    kit_put(&u, 2, "b", 1);
    kit_fail(&u, 3, ERR_LOCKED);
    assert_int_equal(kit_do(&n, &u), ERR_LOCKED);
    assert_int_equal(u.failed_op, 2);
    assert_string_equal(u.err.text, "it fails on purpose");
    assert_int_equal(u.results.len, 0);
    assert_int_equal(n.kit.undone_units, 1);
    struct db *db = kit_reader(&n);
    assert_int_equal(kit_rows(db), 0);
    db_close(db);
    unit_fini(&u);
    node_end(&n);
}

TEST(conditions_are_looked_at_before_any_operation)
{
    struct kit_node n;
    struct unit u;
    node_begin(&n);
    assert_int_equal(put(&n, 1), 0);
    kit_unit(&n, &u);
    kit_add(&u, 1, 1);
    kit_is(&u, 1, 1); /* the state before the unit, not after the operation in front of it */
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    kit_unit(&n, &u);
    kit_add(&u, 1, 1);
    kit_is(&u, 1, 1);
    assert_int_equal(kit_do(&n, &u), ERR_VERSION_MISMATCH);
    assert_int_equal(u.failed_op, 1);
    assert_int_equal(row(&n, 1), 2);
    unit_fini(&u);
    node_end(&n);
}

TEST(a_repeated_unit_is_applied_once_and_gets_the_first_answer)
{
    struct kit_node n;
    struct unit u;
    struct cursor c;
    node_begin(&n);
    assert_int_equal(put(&n, 1), 0);
    for (int i = 0; i < 3; i++) {
        kit_unit(&n, &u);
        memset(u.txn.id.b, 7, sizeof u.txn.id.b);
        kit_add(&u, 1, 10);
        assert_int_equal(kit_do(&n, &u), 0);
        assert_int_equal(u.repeated, i > 0);
        assert_true(unit_result(&u, 0, &c));
        assert_int_equal(cursor_u64(&c), 11);
        unit_fini(&u);
        if (i == 1)
            kit_node_restart(&n);
    }
    assert_int_equal(row(&n, 1), 11);
    node_end(&n);
}

TEST(a_refused_unit_stays_refused_when_it_is_repeated)
{
    struct kit_node n;
    struct unit u;
    node_begin(&n);
    for (int i = 0; i < 2; i++) {
        kit_unit(&n, &u);
        memset(u.txn.id.b, 9, sizeof u.txn.id.b);
        kit_add(&u, 5, 1);
        assert_int_equal(kit_do(&n, &u), ERR_NOT_FOUND);
        assert_int_equal(u.failed_op, 0);
        assert_int_equal(u.repeated, i > 0);
        unit_fini(&u);
        assert_int_equal(put(&n, 5), 0); /* now it would succeed */
    }
    node_end(&n);
}

TEST(an_unknown_operation_is_refused_before_it_enters_the_log)
{
    struct kit_node n;
    struct unit u;
    struct err e = ERR_INIT;
    node_begin(&n);
    kit_unit(&n, &u);
    txn_begin(&u.txn, KIT_FUTURE, 1);
    txn_end(&u.txn);
    assert_refused(ledger_propose(n.ledger, &u, &e), ERR_UNSUPPORTED, "0xff05");
    unit_fini(&u);
    kit_unit(&n, &u);
    txn_begin(&u.txn, KIT_PUT, 2);
    txn_end(&u.txn);
    assert_refused(ledger_propose(n.ledger, &u, &e), ERR_UNSUPPORTED, "version 2");
    unit_fini(&u);
    assert_int_equal(ledger_applied(n.ledger), 1);
    node_end(&n);
}

static uint64_t watched;

static void watch_committed(struct ledger_watch *w, uint64_t seq, int64_t at)
{
    (void)w;
    assert_true(at > 0);
    watched = seq;
}

TEST(watchers_hear_of_every_entry_and_the_metrics_count_it)
{
    struct kit_node n;
    struct ledger_watch w = {.committed = watch_committed};
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    node_begin(&n);
    ledger_watch(n.ledger, &w);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(put(&n, i), 0);
        assert_int_equal(watched, 2 + i);
    }
    stat_print(&b, 0);
    assert_non_null(strstr(buf_str(&b), "koan_ledger_entries_total 5"));
    assert_non_null(strstr(buf_str(&b), "koan_ledger_units_total 4"));
    assert_non_null(strstr(buf_str(&b), "koan_ledger_sync_seconds_count 4"));
    assert_non_null(strstr(buf_str(&b), "koan_ledger_apply_seconds_count 5"));
    assert_non_null(strstr(buf_str(&b), "koan_ledger_waiting_units 0"));
    node_end(&n);
}

TEST(an_empty_unit_is_a_barrier)
{
    struct kit_node n;
    struct unit u;
    node_begin(&n);
    kit_unit(&n, &u);
    assert_int_equal(kit_do(&n, &u), 0);
    assert_int_equal(u.seq, 2);
    assert_int_equal(u.results.len, 0);
    unit_fini(&u);
    node_end(&n);
}

TEST(the_envelope_reaches_the_domain)
{
    struct kit_node n;
    struct unit u;
    struct cursor c;
    node_begin(&n);
    kit_unit(&n, &u);
    txn_envelope(&u.txn, &(struct envelope){.tenant = "acme"});
    kit_seq(&u);
    assert_int_equal(kit_do(&n, &u), 0);
    assert_true(unit_result(&u, 0, &c));
    assert_int_equal(cursor_u64(&c), u.seq);
    assert_int_equal(cursor_u32(&c), 0);
    assert_int_equal(cursor_u64(&c), u.at);
    size_t len;
    const char *tenant = cursor_bytes(&c, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(tenant, "acme", 4);
    unit_fini(&u);
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_unit_is_applied_and_answers_one_result_per_operation),
        HEAP_TEST(a_restart_finds_everything_and_goes_on),
        HEAP_TEST(a_failing_unit_leaves_nothing_and_names_the_operation),
        HEAP_TEST(conditions_are_looked_at_before_any_operation),
        HEAP_TEST(a_repeated_unit_is_applied_once_and_gets_the_first_answer),
        HEAP_TEST(a_refused_unit_stays_refused_when_it_is_repeated),
        HEAP_TEST(an_unknown_operation_is_refused_before_it_enters_the_log),
        HEAP_TEST(watchers_hear_of_every_entry_and_the_metrics_count_it),
        HEAP_TEST(an_empty_unit_is_a_barrier),
        HEAP_TEST(the_envelope_reaches_the_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
