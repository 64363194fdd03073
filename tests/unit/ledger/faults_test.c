/* The ledger when things go wrong or time passes, on a simulated machine. */
#include "db/db.h"
#include "base/stat.h"
#include "support/ledger_kit.h"
#include "support/simdisk.h"
#include "support/simworld.h"
#include "support/unit.h"

struct node {
    struct sim *sim;
    struct kit kit;
    struct ledger *ledger;
    struct ledger_options options;
    bool closed;
    int done;
};

static struct node *node; /* of the running test */

static int node_open(struct node *n, struct err *e)
{
    struct domain d = kit_domain(&n->kit);
    return ledger_open(&n->options, sim_world(n->sim), &d, 1, &n->ledger, e);
}

static void node_begin(struct node *n)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(7, NULL)};
    node = n;
    n->options = (struct ledger_options){
        .dir = "data", .vfs = "sim", .exclusive = true, .segment_bytes = 64 << 10};
    assert_int_equal(db_vfs_register("sim", sim_world(n->sim)->disk, &e), 0);
    if (node_open(n, &e) != 0)
        fail_msg("%s", e.text);
}

static void node_closed(void *arg)
{
    ((struct node *)arg)->closed = true;
}

static bool node_is_closed(void *arg)
{
    return ((struct node *)arg)->closed;
}

static void node_close(struct node *n)
{
    n->closed = false;
    ledger_close(n->ledger, node_closed, n);
    assert_true(sim_run_until(n->sim, node_is_closed, n, 60000));
}

static void node_fini(struct node *n)
{
    db_vfs_unregister("sim");
    sim_free(n->sim);
    stat_reset_all();
}

static void node_end(struct node *n)
{
    node_close(n);
    node_fini(n);
}

/* The ledger has called world.die: what is left is to clear up. */
static void node_bury(struct node *n)
{
    sim_run(n->sim, 1000);
    ledger_drop(n->ledger);
    sim_crash(n->sim, SIM_POWER_CUT);
    node_fini(n);
}

static void unit_done(struct unit *u)
{
    (void)u;
    node->done++;
}

static void begin(struct unit *u)
{
    unit_init(u, sim_client(node->sim), unit_done);
}

static bool some_done(void *arg)
{
    return node->done >= *(int *)arg;
}

static bool wait_for(int count, uint64_t ms)
{
    return sim_run_until(node->sim, some_done, &count, ms);
}

/* Proposes and waits. */
static int act(struct unit *u)
{
    struct err e = ERR_INIT;
    node->done = 0;
    int rc = ledger_propose(node->ledger, u, &e);
    if (rc != 0)
        return rc;
    assert_true(wait_for(1, 60000));
    return u->err.code;
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

TEST(a_flood_leaves_a_quarter_to_what_is_urgent) /* L6 */
{
    struct node n;
    struct err e = ERR_INIT;
    node_begin(&n);
    enum { ALL = LEDGER_WAITING_UNITS };
    struct unit *units = mem_new_array(ALL + 1, sizeof *units);
    for (int i = 0; i <= ALL; i++) {
        begin(&units[i]);
        kit_put(&units[i], (uint64_t)i, "v", 1);
        units[i].txn.urgent = i >= ALL / 4 * 3;
        int rc = ledger_propose(n.ledger, &units[i], &e);
        assert_int_equal(rc, i < ALL ? 0 : ERR_OVERLOADED);
        if (i == ALL / 4 * 3 - 1) {
            struct unit more;
            begin(&more);
            assert_refused(ledger_propose(n.ledger, &more, &e), ERR_OVERLOADED, "waiting already");
            unit_fini(&more);
        }
    }
    assert_true(wait_for(ALL, 10000));
    for (int i = 0; i <= ALL; i++) {
        assert_int_equal(units[i].err.code, 0);
        unit_fini(&units[i]);
    }
    mem_free(units);
    assert_int_equal(ledger_applied(n.ledger), 1 + ALL / LEDGER_ENTRY_UNITS);
    node_end(&n);
}

TEST(a_unit_over_the_size_of_an_entry_travels_alone_and_order_is_kept)
{
    struct node n;
    struct unit u[3];
    node_begin(&n);
    AUTO(mem_freep) char *big = mem_try(5 << 20);
    memset(big, 1, 5 << 20);
    for (int i = 0; i < 3; i++) {
        begin(&u[i]);
        kit_put(&u[i], (uint64_t)i, big, i == 1 ? 5 << 20 : 1);
        assert_int_equal(ledger_propose(n.ledger, &u[i], NULL), 0);
    }
    assert_true(wait_for(3, 10000));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(u[i].err.code, 0);
        assert_int_equal(u[i].seq, 2 + i);
        unit_fini(&u[i]);
    }
    node_end(&n);
}

TEST(ledger_time_never_goes_back)
{
    struct node n;
    struct unit u;
    int64_t last = 0;
    node_begin(&n);
    for (int i = 0; i < 6; i++) {
        begin(&u);
        kit_seq(&u);
        assert_int_equal(act(&u), 0);
        assert_true(u.at >= last);
        last = u.at;
        unit_fini(&u);
        sim_clock_jump(n.sim, i % 2 == 0 ? -3600000 : 1000);
        if (i == 3) {
            node_close(&n);
            assert_int_equal(node_open(&n, NULL), 0);
        }
    }
    node_end(&n);
}

TEST(an_id_is_remembered_for_a_quarter_of_an_hour_of_ledger_time)
{
    struct node n;
    struct unit u;
    static const int64_t wait_ms[] = {0, 14 * 60000, 2 * 60000, 0};
    static const bool repeated[] = {false, true, false, true};
    node_begin(&n);
    for (int i = 0; i < 4; i++) {
        sim_clock_jump(n.sim, wait_ms[i]);
        assert_int_equal(put(5), 0); /* time passes with entries */
        begin(&u);
        memset(u.txn.id.b, 3, 16);
        kit_add(&u, 5, 1);
        assert_int_equal(act(&u), 0);
        assert_int_equal(u.repeated, repeated[i]);
        unit_fini(&u);
    }
    node_end(&n);
}

TEST(a_failed_sync_ends_the_process_and_answers_nobody)
{
    struct node n;
    struct unit u;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    begin(&u);
    kit_put(&u, 2, "v", 1);
    simdisk_fail(sim_disk(n.sim), SIMDISK_SYNC, 1);
    n.done = 0;
    assert_int_equal(ledger_propose(n.ledger, &u, NULL), 0);
    sim_run(n.sim, 20000);
    assert_non_null(sim_died_of(n.sim));
    assert_non_null(strstr(sim_died_of(n.sim), "only a restart is safe"));
    assert_int_equal(n.done, 0);
    node_bury(&n);
    unit_fini(&u);
}

/* It was in an open transaction when the sync failed. */
TEST(what_was_applied_while_its_sync_failed_is_not_in_the_database)
{
    struct node n;
    struct unit u;
    struct err e = ERR_INIT;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    uint64_t applied = ledger_applied(n.ledger);
    begin(&u);
    kit_put(&u, 2, "v", 1);
    simdisk_fail(sim_disk(n.sim), SIMDISK_SYNC, 1);
    assert_int_equal(ledger_propose(n.ledger, &u, NULL), 0);
    sim_run(n.sim, 20000);
    assert_non_null(sim_died_of(n.sim));
    assert_int_equal(ledger_applied(n.ledger), applied);
    ledger_drop(n.ledger);
    sim_crash(n.sim, SIM_POWER_CUT);
    /* A database ahead of the log is refused. */
    if (node_open(&n, &e) != 0)
        fail_msg("%s", e.text);
    assert_true(ledger_applied(n.ledger) >= applied);
    node_end(&n);
    unit_fini(&u);
}

TEST(a_full_disk_is_waited_out_and_only_what_shrinks_is_taken)
{
    struct node n;
    struct unit u[2];
    struct err e = ERR_INIT;
    node_begin(&n);
    assert_int_equal(put(1), 0);
    simdisk_capacity(sim_disk(n.sim), simdisk_used(sim_disk(n.sim)));
    begin(&u[0]);
    AUTO(mem_freep) char *big = mem_try(1 << 20);
    memset(big, 1, 1 << 20);
    kit_put(&u[0], 2, big, 1 << 20);
    n.done = 0;
    assert_int_equal(ledger_propose(n.ledger, &u[0], NULL), 0);
    sim_run(n.sim, 3000);
    assert_int_equal(n.done, 0);
    assert_null(sim_died_of(n.sim));
    struct ledger_status s;
    ledger_status(n.ledger, &s);
    assert_true(s.disk_full);
    begin(&u[1]);
    kit_put(&u[1], 3, "v", 1);
    assert_refused(ledger_propose(n.ledger, &u[1], &e), ERR_DISK_FULL, "until space returns");
    u[1].txn.grows = false;
    assert_int_equal(ledger_propose(n.ledger, &u[1], NULL), 0);
    simdisk_capacity(sim_disk(n.sim), (uint64_t)1 << 40);
    assert_true(wait_for(2, 3000));
    assert_int_equal(u[0].err.code, 0);
    assert_int_equal(u[1].err.code, 0);
    sim_run(n.sim, 3000);
    ledger_status(n.ledger, &s);
    assert_false(s.disk_full);
    assert_int_equal(put(4), 0);
    unit_fini(&u[0]);
    unit_fini(&u[1]);
    node_end(&n);
}

TEST(what_stays_unwritten_for_too_long_is_answered_as_unknown)
{
    struct node n;
    struct unit u;
    node_begin(&n);
    simdisk_capacity(sim_disk(n.sim), simdisk_used(sim_disk(n.sim)));
    begin(&u);
    AUTO(mem_freep) char *big = mem_try(1 << 20);
    memset(big, 1, 1 << 20);
    kit_put(&u, 2, big, 1 << 20);
    n.done = 0;
    assert_int_equal(ledger_propose(n.ledger, &u, NULL), 0);
    assert_true(wait_for(1, 12000));
    assert_int_equal(u.err.code, ERR_TIMEOUT);
    unit_fini(&u);
    node_end(&n); /* closes although the entry was never written */
}

TEST(an_entry_that_meets_a_passing_failure_is_applied_later_and_once)
{
    struct node n;
    struct unit u;
    static const int codes[] = {ERR_DISK_FULL, ERR_NOMEM, ERR_CANCELED};
    node_begin(&n);
    for (int i = 0; i < 3; i++) {
        n.kit.fail_times = 2;
        n.kit.fail_code = codes[i];
        n.kit.undone_entries = 0;
        begin(&u);
        u.txn.grows = false;
        kit_put(&u, 9, "v", 1);
        kit_add(&u, 9, 1);
        assert_int_equal(act(&u), 0);
        struct cursor c;
        assert_true(unit_result(&u, 1, &c));
        assert_int_equal(cursor_u64(&c), 2 + i);
        assert_int_equal(n.kit.undone_entries, 2);
        unit_fini(&u);
        sim_run(n.sim, 3000);
    }
    node_end(&n);
}

TEST(an_entry_that_cannot_be_applied_ends_the_process)
{
    struct node n;
    struct unit u;
    node_begin(&n);
    n.kit.fail_times = 1;
    n.kit.fail_code = ERR_CORRUPT;
    begin(&u);
    kit_put(&u, 9, "v", 1);
    n.done = 0;
    assert_int_equal(ledger_propose(n.ledger, &u, NULL), 0);
    sim_run(n.sim, 2000);
    assert_non_null(sim_died_of(n.sim));
    assert_non_null(strstr(sim_died_of(n.sim), "kit.put"));
    assert_int_equal(n.done, 0);
    node_bury(&n);
    unit_fini(&u);
}

static void wait_run(struct task *t)
{
    (void)t;
    node->done++;
}

TEST(who_waits_for_an_entry_is_told_when_it_is_there_or_when_time_is_over)
{
    struct node n;
    node_begin(&n);
    struct ledger_wait there = {.task = {.run = wait_run}, .home = sim_client(n.sim), .seq = 1};
    struct ledger_wait soon = {.task = {.run = wait_run}, .home = sim_client(n.sim), .seq = 2};
    struct ledger_wait never = {.task = {.run = wait_run}, .home = sim_client(n.sim), .seq = 99};
    n.done = 0;
    ledger_wait(n.ledger, &there, 1000);
    assert_true(wait_for(1, 100));
    assert_int_equal(there.code, 0);
    ledger_wait(n.ledger, &soon, 5000);
    ledger_wait(n.ledger, &never, 2000);
    sim_run(n.sim, 500);
    assert_int_equal(n.done, 1);
    struct unit u;
    begin(&u);
    kit_put(&u, 1, "v", 1);
    assert_int_equal(ledger_propose(n.ledger, &u, NULL), 0);
    assert_true(wait_for(3, 500)); /* the unit and one of those who wait */
    assert_int_equal(soon.code, 0);
    assert_true(wait_for(4, 2000));
    assert_int_equal(never.code, ERR_TIMEOUT);
    unit_fini(&u);
    node_end(&n);
}

TEST(closing_finishes_what_was_proposed_and_takes_nothing_more)
{
    struct node n;
    struct unit u[50], late;
    struct err e = ERR_INIT;
    node_begin(&n);
    n.done = 0;
    for (int i = 0; i < 50; i++) {
        begin(&u[i]);
        kit_put(&u[i], (uint64_t)i, "v", 1);
        assert_int_equal(ledger_propose(n.ledger, &u[i], NULL), 0);
    }
    begin(&late);
    kit_put(&late, 99, "v", 1);
    n.closed = false;
    ledger_close(n.ledger, node_closed, &n);
    assert_refused(ledger_propose(n.ledger, &late, &e), ERR_DRAINING, "another");
    assert_true(sim_run_until(n.sim, node_is_closed, &n, 10000));
    sim_run(n.sim, 10);
    assert_int_equal(n.done, 50);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(u[i].err.code, 0);
        unit_fini(&u[i]);
    }
    unit_fini(&late);
    node_fini(&n);
}

TEST(the_state_hash_is_kept_at_every_1024th_entry)
{
    struct node n;
    node_begin(&n);
    for (uint64_t i = 0; i < 1030; i++)
        assert_int_equal(put(i), 0);
    struct ledger_status a, b;
    ledger_status(n.ledger, &a);
    assert_int_equal(a.hash_seq, 1024);
    assert_true(a.hash != 0);
    node_close(&n);
    assert_int_equal(node_open(&n, NULL), 0);
    ledger_status(n.ledger, &b);
    assert_true(a.hash == b.hash && b.hash_seq == 1024);
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_flood_leaves_a_quarter_to_what_is_urgent),
        HEAP_TEST(a_unit_over_the_size_of_an_entry_travels_alone_and_order_is_kept),
        HEAP_TEST(ledger_time_never_goes_back),
        HEAP_TEST(an_id_is_remembered_for_a_quarter_of_an_hour_of_ledger_time),
        HEAP_TEST(a_failed_sync_ends_the_process_and_answers_nobody),
        HEAP_TEST(what_was_applied_while_its_sync_failed_is_not_in_the_database),
        HEAP_TEST(a_full_disk_is_waited_out_and_only_what_shrinks_is_taken),
        HEAP_TEST(what_stays_unwritten_for_too_long_is_answered_as_unknown),
        HEAP_TEST(an_entry_that_meets_a_passing_failure_is_applied_later_and_once),
        HEAP_TEST(an_entry_that_cannot_be_applied_ends_the_process),
        HEAP_TEST(who_waits_for_an_entry_is_told_when_it_is_there_or_when_time_is_over),
        HEAP_TEST(closing_finishes_what_was_proposed_and_takes_nothing_more),
        HEAP_TEST(the_state_hash_is_kept_at_every_1024th_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
