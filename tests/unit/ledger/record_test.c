/* How far the database says that it goes, where entries have changed only memory. On a simulated
 * machine, so that it can be cut off. */
#include <stdio.h>

#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "support/ember.h"
#include "support/ledger_kit.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"
#include "support/unit.h"

enum { PLACE_SEEN = 0xff60, PLACE_NO = 0xff61 };

struct node {
    struct sim *sim;
    struct kit kit;
    struct ember ember;
    struct ledger *ledger;
    struct ledger_options options;
    size_t ballast;
    bool done;
};

static struct node *node; /* of the running test */

/* ---- a domain that looks where the database is ---- */

static int place_seen(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                      struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)p;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(a->db, "SELECT seq, at FROM local_meta", e);
    if (s == NULL || db_step(s, e) < 0)
        return e->code;
    buf_add_u64(result, (uint64_t)db_col_int(s, 0));
    buf_add_u64(result, (uint64_t)db_col_int(s, 1));
    return 0;
}

static int place_no(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                    struct buf *result, struct err *e)
{
    int rc = place_seen(self, a, version, p, result, e);
    return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "as ordered");
}

static struct domain place_domain(void)
{
    static const struct domain_op ops[] = {
        {PLACE_SEEN, 1, false, DOMAIN_PARTIAL, "place.seen", place_seen, false},
        {PLACE_NO, 1, false, DOMAIN_PARTIAL, "place.no", place_no, false},
    };
    return (struct domain){.name = "place", .ops = ops, .ops_count = ARRAY_LEN(ops)};
}

static void place(struct unit *u, uint16_t type)
{
    txn_begin(&u->txn, type, 1);
    txn_end(&u->txn);
}

/* ---- the node ---- */

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->ember = (struct ember){.ballast = n->ballast};
    n->kit = (struct kit){0};
    struct domain d[] = {kit_domain(&n->kit), ember_domain(&n->ember), place_domain()};
    if (ledger_open(&n->options, sim_world(n->sim), d, ARRAY_LEN(d), &n->ledger, &e) != 0)
        fail_msg("%s", e.text);
    n->ember.ledger = n->ledger;
}

static void node_begin(struct node *n)
{
    *n = (struct node){.sim = sim_new(7, NULL)};
    node = n;
    n->options = (struct ledger_options){
        .dir = "data", .vfs = "sim", .exclusive = true, .segment_bytes = 16 << 20};
    assert_int_equal(db_vfs_register("sim", sim_world(n->sim)->disk, NULL), 0);
    node_open(n);
}

static void node_close(struct node *n)
{
    assert_true(sim_ledger_close(n->sim, n->ledger));
}

static void node_again(struct node *n, enum sim_crash how)
{
    sim_freeze(n->sim, "test");
    sim_halt(n->sim);
    ledger_drop(n->ledger);
    sim_crash(n->sim, how);
    node_open(n);
}

static void node_end(struct node *n)
{
    node_close(n);
    db_vfs_unregister("sim");
    sim_free(n->sim);
    stat_reset_all();
}

static void unit_done(struct unit *u)
{
    (void)u;
    node->done = true;
}

static bool is_done(void *arg)
{
    return ((struct node *)arg)->done;
}

static void begin(struct unit *u)
{
    unit_init(u, sim_client(node->sim), unit_done);
}

static int act(struct unit *u)
{
    struct err e = ERR_INIT;
    node->done = false;
    int rc = ledger_propose(node->ledger, u, &e);
    if (rc == 0) {
        assert_true(sim_run_until(node->sim, is_done, node, 60000));
        rc = u->err.code;
    }
    return rc;
}

static int add(uint32_t key, int64_t n)
{
    struct unit u;
    begin(&u);
    ember_unit(&u, EMBER_ADD, key, n);
    int rc = act(&u);
    unit_fini(&u);
    return rc;
}

static int put(uint64_t key)
{
    struct unit u;
    begin(&u);
    kit_put(&u, key, "v", 1);
    int rc = act(&u);
    unit_fini(&u);
    return rc;
}

static int64_t number(const char *sql)
{
    struct err e = ERR_INIT;
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(node->ember.db, sql, &e);
    if (s == NULL || db_step(s, &e) != 1)
        fail_msg("%s: %s", sql, e.text);
    return db_col_int(s, 0);
}

static uint64_t recorded(void)
{
    return (uint64_t)number("SELECT seq FROM local_meta");
}

static uint64_t applied(void)
{
    return ledger_applied(node->ledger);
}

/* ---- */

TEST(an_entry_that_changes_only_memory_writes_nothing_but_the_log)
{
    struct node n;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    assert_int_equal(recorded(), applied());
    uint64_t before = recorded();
    int64_t wal = simdisk_size(sim_disk(n.sim), "data/koan.db-wal");
    assert_true(wal > 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(add(0, 1), 0);
    assert_int_equal(applied(), before + 20);
    assert_int_equal(recorded(), before);
    assert_int_equal(simdisk_size(sim_disk(n.sim), "data/koan.db-wal"), wal);
    node_end(&n);
}

TEST(entries_that_changed_only_memory_are_there_after_a_crash) /* L1 L2 */
{
    static const enum sim_crash hows[] = {SIM_KILL, SIM_POWER_CUT};
    for (int i = 0; i < 2; i++) {
        struct node n;
        node_begin(&n);
        assert_int_equal(put(1), 0);
        for (int k = 0; k < 10; k++)
            assert_int_equal(add(0, 1), 0);
        struct ember_state before = n.ember.now;
        uint64_t last = applied();
        assert_true(recorded() < last);
        node_again(&n, hows[i]);
        assert_int_equal(n.ember.now.numbers[0], 10);
        assert_int_equal(n.ember.now.at >= before.at, true);
        assert_true(applied() >= last);
        assert_int_equal(n.ember.now.entries, applied());
        assert_int_equal(add(0, 1), 0);
        assert_int_equal(n.ember.now.numbers[0], 11);
        node_end(&n);
    }
}

TEST(the_next_entry_that_changes_rows_records_those_before_it)
{
    struct node n;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    assert_int_equal(add(0, 1), 0);
    assert_true(recorded() < applied());
    assert_int_equal(put(2), 0);
    assert_int_equal(recorded(), applied());
    node_end(&n);
}

TEST(what_is_behind_is_recorded_within_a_second)
{
    struct node n;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    assert_int_equal(add(0, 1), 0);
    assert_true(recorded() < applied());
    sim_run(n.sim, 1100);
    assert_int_equal(recorded(), applied());
    assert_int_equal(number("SELECT at FROM local_meta"), n.ember.now.at);
    node_end(&n);
}

TEST(what_is_behind_is_recorded_with_so_much_of_log)
{
    struct node n;
    node_begin(&n);
    char *bytes = mem_new(1 << 20);
    assert_int_equal(put(1), 0);
    uint64_t before = recorded();
    for (int i = 0; i < LEDGER_RECORD_BYTES >> 20; i++) {
        assert_int_equal(recorded(), before);
        struct unit u;
        begin(&u);
        ember_hold(&u, 0, bytes, 1 << 20);
        assert_int_equal(act(&u), 0);
        unit_fini(&u);
    }
    assert_int_equal(recorded(), applied());
    assert_true(applied() > before);
    mem_free(bytes);
    node_end(&n);
}

TEST(an_entry_with_a_refused_unit_of_memory_is_recorded) /* L1 */
{
    struct node n;
    struct unit u;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    assert_int_equal(add(0, 50), 0);
    begin(&u);
    ember_unit(&u, EMBER_ADD, 1, 7);
    ember_unit(&u, EMBER_ADD_MAX, 0, 50);
    assert_int_equal(act(&u), ERR_CONFLICT);
    unit_fini(&u);
    assert_int_equal(recorded(), applied()); /* which unit it was must be known */
    node_again(&n, SIM_KILL);
    assert_int_equal(n.ember.now.numbers[0], 50);
    assert_int_equal(n.ember.now.numbers[1], 0);
    node_end(&n);
}

TEST(an_entry_with_a_unit_that_has_an_id_is_recorded)
{
    struct node n;
    struct unit u;
    node_begin(&n);
    begin(&u);
    ember_unit(&u, EMBER_ADD, 1, 7);
    memset(u.txn.id.b, 7, sizeof u.txn.id.b);
    assert_int_equal(act(&u), 0);
    unit_fini(&u);
    assert_int_equal(recorded(), applied());
    node_end(&n);
}

/* Two nodes, or one that applies it again, would part where it depends on what was recorded. */
TEST(an_operation_on_rows_finds_the_time_of_the_entry_before_it) /* L3 */
{
    struct node n;
    struct unit u;
    struct cursor c;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    for (int times = 0; times < 2; times++) {
        sim_run(n.sim, 3); /* the clock moves on */
        assert_int_equal(add(0, 1), 0);
        uint64_t before = applied();
        int64_t at = n.ember.now.at;
        assert_true(recorded() < before);
        begin(&u);
        if (times == 1)
            ember_unit(&u, EMBER_ADD, 0, 1);
        place(&u, PLACE_SEEN);
        assert_int_equal(act(&u), 0);
        assert_true(unit_result(&u, times == 1 ? 1 : 0, &c));
        assert_int_equal(cursor_u64(&c), before);
        assert_int_equal(cursor_u64(&c), at);
        assert_int_equal(recorded(), applied());
        unit_fini(&u);
    }
    node_end(&n);
}

/* Units of one entry, the first of which is refused and rolled back. */
TEST(a_refused_unit_does_not_take_back_what_the_next_finds) /* L3 */
{
    struct node n;
    struct unit u[3];
    struct cursor c;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    assert_int_equal(add(0, 1), 0);
    uint64_t before = applied();
    assert_true(recorded() < before);
    for (int i = 0; i < 3; i++) {
        begin(&u[i]);
        if (i > 0)
            kit_put(&u[i], 9, "v", 1);
        place(&u[i], i == 1 ? PLACE_NO : PLACE_SEEN);
    }
    ember_unit(&u[0], EMBER_ADD, 2, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ledger_propose(n.ledger, &u[i], NULL), 0);
    sim_run(n.sim, 500);
    assert_int_equal(u[0].seq, u[2].seq);
    assert_int_equal(u[1].err.code, ERR_CONFLICT);
    assert_int_equal(u[2].err.code, 0);
    assert_true(unit_result(&u[2], 1, &c));
    assert_int_equal(cursor_u64(&c), before);
    assert_int_equal(recorded(), applied());
    for (int i = 0; i < 3; i++)
        unit_fini(&u[i]);
    node_end(&n);
}

TEST(a_saved_state_and_a_checkpoint_are_never_ahead_of_the_database) /* L2 */
{
    static const enum sim_crash hows[] = {SIM_KILL, SIM_POWER_CUT};
    for (int i = 0; i < 2; i++) {
        struct node n;
        struct ledger_status s;
        node_begin(&n);
        node_close(&n);
        n.options.snapshot_entries = 5;
        n.options.segment_bytes = 16 << 10;
        node_open(&n);
        for (int k = 0; k < 23; k++)
            assert_int_equal(add(0, 1), 0);
        sim_run(n.sim, 50);
        ledger_status(n.ledger, &s);
        assert_true(s.snapshot + 10 > applied());
        assert_true(recorded() >= s.snapshot);
        assert_true(number("SELECT (SELECT seq FROM local_meta) >= max(seq) FROM local_hot") == 1);
        node_again(&n, hows[i]);
        assert_int_equal(n.ember.now.numbers[0], 23);
        node_end(&n);
    }
}

/* The state is so large that it is not due to be saved: nothing else records what is behind. */
TEST(a_checkpoint_without_a_save_is_never_ahead_of_the_database) /* L2 */
{
    struct node n;
    struct ledger_status s;
    node_begin(&n);
    node_close(&n);
    n.options.snapshot_entries = 5;
    n.ballast = 1 << 20;
    node_open(&n);
    for (int k = 0; k < 20; k++)
        assert_int_equal(add(0, 1), 0);
    uint64_t saves = n.ember.saves;
    for (int k = 0; k < 20; k++) {
        assert_int_equal(add(0, 1), 0);
        ledger_status(n.ledger, &s);
        assert_true(recorded() >= s.snapshot);
    }
    assert_int_equal(n.ember.saves, saves);
    assert_true(s.snapshot + 10 > applied());
    node_again(&n, SIM_KILL);
    assert_int_equal(n.ember.now.numbers[0], 40);
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(an_entry_that_changes_only_memory_writes_nothing_but_the_log),
        HEAP_TEST(entries_that_changed_only_memory_are_there_after_a_crash),
        HEAP_TEST(the_next_entry_that_changes_rows_records_those_before_it),
        HEAP_TEST(what_is_behind_is_recorded_within_a_second),
        HEAP_TEST(what_is_behind_is_recorded_with_so_much_of_log),
        HEAP_TEST(an_entry_with_a_refused_unit_of_memory_is_recorded),
        HEAP_TEST(an_entry_with_a_unit_that_has_an_id_is_recorded),
        HEAP_TEST(an_operation_on_rows_finds_the_time_of_the_entry_before_it),
        HEAP_TEST(a_refused_unit_does_not_take_back_what_the_next_finds),
        HEAP_TEST(a_saved_state_and_a_checkpoint_are_never_ahead_of_the_database),
        HEAP_TEST(a_checkpoint_without_a_save_is_never_ahead_of_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
