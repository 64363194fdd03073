/* Domains whose state is in memory: what is saved, and what a start makes of it. On a simulated
 * machine, so that it can be cut off. */
#include <stdio.h>

#include "base/hash.h"
#include "base/stat.h"
#include "db/db.h"
#include "support/ember.h"
#include "support/ledger_kit.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"
#include "support/unit.h"

struct node {
    struct sim *sim;
    struct kit kit;
    struct ember ember, other;
    bool with_ember, with_other;
    size_t ballast;
    struct ledger *ledger;
    struct ledger_options options;
    bool done;
};

static struct node *node; /* of the running test */

static int node_open(struct node *n, struct err *e)
{
    n->ember = (struct ember){.ballast = n->ballast};
    n->other = (struct ember){.now = {0}};
    struct domain d[] = {kit_domain(&n->kit), ember_domain(&n->ember), ember_other(&n->other)};
    size_t count = n->with_other ? 3 : n->with_ember ? 2 : 1;
    int rc = ledger_open(&n->options, sim_world(n->sim), d, count, &n->ledger, e);
    n->ember.ledger = rc == 0 ? n->ledger : NULL;
    return rc;
}

static void node_begin(struct node *n)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(7, NULL), .with_ember = true};
    node = n;
    n->options = (struct ledger_options){.dir = "data",
                                         .vfs = "sim",
                                         .exclusive = true,
                                         .segment_bytes = 16 << 10,
                                         .snapshot_entries = 10,
                                         .keep_ms = 1,
                                         .keep_bytes = 1};
    assert_int_equal(db_vfs_register("sim", sim_world(n->sim)->disk, &e), 0);
    if (node_open(n, &e) != 0)
        fail_msg("%s", e.text);
}

static void node_close(struct node *n)
{
    assert_true(sim_ledger_close(n->sim, n->ledger));
}

/* Without a word. */
static void node_crash(struct node *n, enum sim_crash how)
{
    sim_freeze(n->sim, "test");
    sim_halt(n->sim);
    ledger_drop(n->ledger);
    sim_crash(n->sim, how);
}

static void node_again(struct node *n)
{
    struct err e = ERR_INIT;
    if (node_open(n, &e) != 0)
        fail_msg("%s", e.text);
}

static void node_end(struct node *n)
{
    node_close(n);
    db_vfs_unregister("sim");
    sim_free(n->sim);
    stat_reset_all();
}

static void refused(struct node *n, int code, const char *a, const char *b)
{
    struct err e = ERR_INIT;
    assert_refused(node_open(n, &e), code, a);
    if (strstr(e.text, b) == NULL)
        fail_msg("no \"%s\" in \"%s\"", b, e.text);
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
    unit_fini(u);
    return rc;
}

static int add(uint32_t key, int64_t n)
{
    struct unit u;
    begin(&u);
    ember_unit(&u, EMBER_ADD, key, n);
    return act(&u);
}

static void add_some(int times)
{
    for (int i = 0; i < times; i++)
        assert_int_equal(add(0, 1), 0);
    sim_run(node->sim, 100);
}

/* The one file of the domain; NULL when there is none. */
static const char *state_file(struct node *n)
{
    return simdisk_path(sim_disk(n->sim), "data/state/ember-", 0);
}

TEST(a_state_outlives_a_clean_restart_and_nothing_is_run_again)
{
    struct node n;
    node_begin(&n);
    add_some(25);
    struct ember_state before = n.ember.now;
    node_close(&n);
    assert_non_null(state_file(&n));
    assert_null(simdisk_path(sim_disk(n.sim), "data/state/ember-", 1));
    node_again(&n);
    assert_int_equal(n.ember.loads, 1);
    assert_int_equal(n.ember.again, 0);
    assert_int_equal(n.ember.now.numbers[0], before.numbers[0]);
    assert_int_equal(n.ember.now.entries, ledger_applied(n.ledger));
    node_end(&n);
}

TEST(a_state_is_its_file_and_the_log_behind_it_after_a_crash) /* L1 L2 */
{
    static const enum sim_crash hows[] = {SIM_KILL, SIM_POWER_CUT};
    for (int i = 0; i < 2; i++) {
        struct node n;
        node_begin(&n);
        add_some(28);
        assert_true(n.ember.saves >= 1);
        struct ember_state before = n.ember.now;
        node_crash(&n, hows[i]);
        node_again(&n);
        assert_int_equal(n.ember.loads, 1);
        if (hows[i] == SIM_KILL)
            assert_true(n.ember.again > 0);
        assert_memory_equal(n.ember.now.numbers, before.numbers, sizeof before.numbers);
        assert_int_equal(n.ember.now.entries, ledger_applied(n.ledger));
        assert_int_equal(n.ember.now.at, before.at);
        node_end(&n);
    }
}

TEST(a_domain_that_comes_to_an_old_folder_begins_empty_with_its_next_entry)
{
    struct node n;
    node_begin(&n);
    node_close(&n);
    sim_crash(n.sim, SIM_KILL);
    db_vfs_unregister("sim");
    sim_free(n.sim);
    n = (struct node){.sim = sim_new(9, NULL), .options = n.options};
    assert_int_equal(db_vfs_register("sim", sim_world(n.sim)->disk, NULL), 0);
    node_again(&n);
    for (uint64_t i = 0; i < 15; i++) {
        struct unit u;
        begin(&u);
        kit_put(&u, i, "v", 1);
        assert_int_equal(act(&u), 0);
    }
    node_close(&n);
    n.with_ember = true;
    node_again(&n);
    uint64_t applied = ledger_applied(n.ledger);
    assert_true(applied >= 15);
    assert_true(n.ember.now.entries < 3); /* what the start itself has written */
    add_some(2);
    struct ember_state before = n.ember.now;
    node_crash(&n, SIM_KILL);
    node_again(&n);
    assert_int_equal(n.ember.loads, 0);
    assert_int_equal(n.ember.now.entries, before.entries);
    assert_int_equal(n.ember.now.numbers[0], 2);
    node_end(&n);
}

TEST(a_program_without_the_domain_does_not_open_a_folder_that_has_its_state)
{
    struct node n;
    node_begin(&n);
    add_some(1);
    node_close(&n);
    n.with_ember = false;
    refused(&n, ERR_UNSUPPORTED, "`ember`", "newer");
    sim_crash(n.sim, SIM_KILL);
    n.with_ember = true;
    node_again(&n);
    node_end(&n);
}

TEST(a_missing_state_refuses_the_start_by_name)
{
    struct node n;
    node_begin(&n);
    add_some(3);
    node_close(&n);
    AUTO(mem_freep) char *path = mem_strdup(state_file(&n));
    AUTO(mem_freep) char *away = mem_printf("%s.away", path);
    struct disk *d = sim_world(n.sim)->disk;
    assert_int_equal(d->rename(d, path, away, NULL), 0);
    refused(&n, ERR_CORRUPT, path + strlen("data/"), "restore");
    sim_crash(n.sim, SIM_KILL);
    assert_int_equal(d->rename(d, away, path, NULL), 0);
    node_again(&n);
    assert_int_equal(n.ember.now.numbers[0], 3);
    node_end(&n);
}

TEST(a_damaged_state_refuses_the_start_with_its_place)
{
    struct node n;
    node_begin(&n);
    n.ballast = 300000;
    n.ember.ballast = n.ballast;
    add_some(3);
    node_close(&n);
    AUTO(mem_freep) char *path = mem_strdup(state_file(&n));
    int64_t size = simdisk_size(sim_disk(n.sim), path);
    assert_true(size > 300000);
    const uint64_t places[] = {
        0, 20, 50, 70, 100, 200000, 64 + 24 + (256 << 10) + 2, (uint64_t)size - 3};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        simdisk_flip(sim_disk(n.sim), path, places[i], 3);
        AUTO(mem_freep) char *place = mem_printf("%s, offset", path + strlen("data/"));
        refused(&n, ERR_CORRUPT, path + strlen("data/"), place);
        sim_crash(n.sim, SIM_KILL);
        simdisk_flip(sim_disk(n.sim), path, places[i], 3);
    }
    node_again(&n);
    assert_int_equal(n.ember.now.numbers[0], 3);
    node_end(&n);
}

TEST(a_state_that_is_cut_off_or_goes_on_refuses_the_start)
{
    struct node n;
    node_begin(&n);
    add_some(3);
    node_close(&n);
    AUTO(mem_freep) char *path = mem_strdup(state_file(&n));
    int64_t size = simdisk_size(sim_disk(n.sim), path);
    struct disk *d = sim_world(n.sim)->disk;
    struct disk_file *f;
    assert_int_equal(d->open(d, path, DISK_READ | DISK_WRITE, &f, NULL), 0);
    assert_int_equal(d->write(f, "x", 1, (uint64_t)size, NULL), 0);
    refused(&n, ERR_CORRUPT, "goes on behind its end", "state/ember-");
    for (int64_t at = size - 1; at >= 0; at -= 17) {
        assert_int_equal(d->truncate(f, (uint64_t)at, NULL), 0);
        refused(&n, ERR_CORRUPT, "cut off", "state/ember-");
    }
    d->close(f);
    sim_crash(n.sim, SIM_KILL);
    db_vfs_unregister("sim");
    sim_free(n.sim);
    stat_reset_all();
}

TEST(refused_units_and_repeats_are_not_run_again) /* L1 */
{
    struct node n;
    struct unit u;
    node_begin(&n);
    add_some(12); /* something is saved */
    uint64_t saves = n.ember.saves;
    for (int i = 0; i < 3; i++) {
        begin(&u);
        memset(u.txn.id.b, 5, 16);
        ember_unit(&u, EMBER_ADD, 1, 7);
        assert_int_equal(act(&u), 0);
        begin(&u);
        memset(u.txn.id.b, 6, 16);
        ember_unit(&u, EMBER_ADD, 2, 7);
        ember_unit(&u, EMBER_ADD_MAX, 0, 1000);
        assert_int_equal(act(&u), ERR_CONFLICT);
        begin(&u);
        ember_unit(&u, EMBER_IS, 0, 99999);
        ember_unit(&u, EMBER_ADD, 3, 7);
        assert_int_equal(act(&u), ERR_VERSION_MISMATCH);
        if (n.ember.saves != saves) /* the next may be saved in between: still as it should be */
            saves = n.ember.saves;
    }
    struct ember_state before = n.ember.now;
    assert_int_equal(before.numbers[1], 7);
    assert_int_equal(before.numbers[2], 0);
    assert_int_equal(before.numbers[3], 0);
    node_crash(&n, SIM_KILL);
    node_again(&n);
    assert_memory_equal(n.ember.now.numbers, before.numbers, sizeof before.numbers);
    node_end(&n);
}

/* One is saved seldom, the other often: each is run again from where it was saved. Both in one
 * unit, and both in one that is refused. */
TEST(two_states_saved_at_different_entries_are_both_made_again) /* L1 */
{
    struct node n;
    struct unit u;
    node_begin(&n);
    node_close(&n);
    n.with_other = true;
    n.ballast = 60000;
    node_again(&n);
    for (int i = 0; i < 55; i++) {
        begin(&u);
        ember_unit(&u, EMBER_ADD, 0, 1);
        ember_unit(&u, EMBER_ADD + EMBER_OTHER, 1, 2);
        if (i % 5 == 4)
            ember_unit(&u, EMBER_ADD_MAX, 3, 1000);
        assert_int_equal(act(&u), i % 5 == 4 ? ERR_CONFLICT : 0);
    }
    sim_run(n.sim, 100);
    assert_true(n.other.saves > n.ember.saves);
    assert_int_equal(n.ember.now.numbers[0], 44);
    assert_int_equal(n.other.now.numbers[1], 88);
    uint64_t entries[] = {n.ember.now.entries, n.other.now.entries};
    node_crash(&n, SIM_KILL);
    node_again(&n);
    assert_true(n.ember.again > n.other.again);
    assert_int_equal(n.ember.now.numbers[0], 44);
    assert_int_equal(n.ember.now.numbers[3], 0);
    assert_int_equal(n.other.now.numbers[1], 88);
    assert_true(n.ember.now.entries == entries[0] && n.other.now.entries == entries[1]);
    node_end(&n);
}

TEST(a_domain_that_was_not_told_of_an_entry_takes_nothing_back)
{
    struct node n;
    struct unit u;
    node_begin(&n);
    node_close(&n);
    n.with_other = true;
    node_again(&n);
    begin(&u);
    ember_unit(&u, EMBER_ADD + EMBER_OTHER, 1, 2);
    assert_int_equal(act(&u), 0);
    uint64_t entries = n.other.now.entries;
    n.ember.fail_times = 2; /* it comes first */
    begin(&u);
    ember_unit(&u, EMBER_ADD + EMBER_OTHER, 1, 3);
    assert_int_equal(act(&u), 0);
    assert_int_equal(n.ember.fail_times, 0);
    assert_int_equal(n.other.now.numbers[1], 5);
    assert_int_equal(n.other.now.entries, entries + 1);
    assert_int_equal(n.ember.now.entries, ledger_applied(n.ledger));
    node_end(&n);
}

TEST(a_large_state_is_saved_less_often)
{
    uint64_t saves[2];
    for (int i = 0; i < 2; i++) {
        struct node n;
        node_begin(&n);
        n.ember.ballast = n.ballast = i == 0 ? 0 : 100000;
        add_some(100);
        saves[i] = n.ember.saves;
        node_end(&n);
    }
    assert_true(saves[0] >= 5);
    assert_int_equal(saves[1], 1); /* until 400 KB of log are written */
}

/* Units of many operations, with some log beside them. */
static void add_operations(int units)
{
    static const char text[200 << 10];
    for (int i = 0; i < units; i++) {
        struct unit u;
        begin(&u);
        for (int k = 0; k + 1 < TXN_OPS_MAX; k++)
            ember_unit(&u, EMBER_ADD, 1, 1);
        kit_put(&u, 7, text, sizeof text);
        assert_int_equal(act(&u), 0);
    }
    sim_run(node->sim, 100);
}

TEST(a_state_with_many_operations_behind_it_is_saved_before_a_checkpoint_is_due)
{
    struct node n;
    node_begin(&n);
    node_close(&n);
    struct err e = ERR_INIT;
    n.options.snapshot_entries = 1 << 20;
    n.options.segment_bytes = 1 << 20;
    assert_int_equal(node_open(&n, &e), 0);
    uint64_t before = n.ember.saves;
    add_operations(20); /* 200,000 */
    assert_int_equal(n.ember.saves, before);
    add_operations(10); /* 300,000, and over 8 MiB */
    assert_int_equal(n.ember.saves, before + 1);
    add_operations(20); /* behind the save: 200,000 */
    assert_int_equal(n.ember.saves, before + 1);
    node_end(&n);
}

TEST(a_full_disk_delays_a_save_and_nothing_else)
{
    struct node n;
    node_begin(&n);
    n.ember.ballast = n.ballast = 1 << 20;
    struct simdisk *d = sim_disk(n.sim);
    simdisk_capacity(d, simdisk_used(d) + (900 << 10));
    for (int i = 0; i < 30; i++) {
        struct unit u;
        begin(&u);
        u.txn.grows = false;
        ember_unit(&u, EMBER_ADD, 0, 1);
        assert_int_equal(act(&u), 0);
    }
    sim_run(n.sim, 100);
    assert_true(n.ember.saves > 0);
    assert_null(state_file(&n));
    simdisk_capacity(d, (uint64_t)1 << 40);
    sim_run(n.sim, 3000);
    add_some(12);
    assert_non_null(state_file(&n));
    node_end(&n);
}

/* ---- what is kept of the log ---- */

static const char BODY[] = "bytes that stay in the log";

static void hold(uint32_t key)
{
    struct unit u;
    begin(&u);
    ember_hold(&u, key, BODY, sizeof BODY);
    assert_int_equal(act(&u), 0);
}

static void fill(int times)
{
    static const char text[1500];
    for (int i = 0; i < times; i++) {
        struct unit u;
        begin(&u);
        kit_put(&u, 7, text, sizeof text);
        assert_int_equal(act(&u), 0);
    }
    sim_run(node->sim, 100);
}

static void assert_held(struct node *n, uint32_t key)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    if (ember_read(&n->ember, key, &b, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(b.len, sizeof BODY);
    assert_memory_equal(b.data, BODY, sizeof BODY);
}

TEST(the_log_is_kept_from_the_oldest_bytes_that_are_still_read)
{
    struct node n;
    struct ledger_status s;
    node_begin(&n);
    n.options.keep_bytes = 1 << 30; /* only age lets a segment go */
    node_close(&n);
    node_again(&n);
    hold(1);
    uint64_t held = n.ember.now.held[1].seq;
    fill(100);
    ledger_status(n.ledger, &s);
    assert_true(s.first_kept <= held);
    assert_held(&n, 1);
    node_crash(&n, SIM_POWER_CUT);
    node_again(&n);
    assert_held(&n, 1); /* in a segment that this life has not read yet */
    node_close(&n);
    node_again(&n);
    assert_held(&n, 1);
    struct unit u;
    begin(&u);
    ember_unit(&u, EMBER_DROP, 1, 0);
    assert_int_equal(act(&u), 0);
    fill(40);
    ledger_status(n.ledger, &s);
    assert_true(s.first_kept > held);
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    assert_refused(ledger_read(n.ledger, held, &b, &e), ERR_GONE, "no longer kept");
    node_end(&n);
}

TEST(when_the_log_is_too_large_its_bytes_are_moved_into_the_database)
{
    struct node n;
    struct ledger_status s;
    node_begin(&n);
    hold(0);
    hold(1);
    hold(2);
    uint64_t held = n.ember.now.held[2].seq;
    fill(120);
    assert_int_equal(n.ember.moved[1].seq, n.ember.now.held[1].seq);
    ledger_status(n.ledger, &s);
    assert_true(s.first_kept > held);
    for (int life = 0; life < 3; life++) {
        for (uint32_t key = 0; key < 3; key++)
            assert_held(&n, key);
        if (life == 0)
            node_crash(&n, SIM_POWER_CUT);
        else
            node_close(&n);
        node_again(&n);
    }
    node_end(&n);
}

TEST(a_segment_that_a_state_needs_is_missed_by_number_of_the_entry)
{
    struct node n;
    struct ledger_status s;
    node_begin(&n);
    n.ballast = n.ember.ballast = 200000; /* saved once, long ago */
    add_some(12);
    fill(60);
    ledger_status(n.ledger, &s);
    assert_true(s.snapshot > s.first_kept + 20);
    node_crash(&n, SIM_KILL);
    struct disk *d = sim_world(n.sim)->disk;
    AUTO(mem_freep) char *path = mem_strdup(simdisk_path(sim_disk(n.sim), "data/log/0000", 0));
    assert_int_equal(d->unlink(d, path, NULL), 0);
    refused(&n, ERR_CORRUPT, "is missing from log/", "restore");
    sim_crash(n.sim, SIM_KILL);
    db_vfs_unregister("sim");
    sim_free(n.sim);
    stat_reset_all();
}

TEST(an_entry_that_is_not_there_yet_is_not_found)
{
    struct node n;
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    node_begin(&n);
    add_some(2);
    uint64_t applied = ledger_applied(n.ledger);
    assert_int_equal(ledger_read(n.ledger, applied, &b, &e), 0);
    assert_refused(ledger_read(n.ledger, applied + 1, &b, &e), ERR_NOT_FOUND, "not applied yet");
    assert_refused(ledger_read(n.ledger, 0, &b, &e), ERR_GONE, "no longer kept");
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_state_outlives_a_clean_restart_and_nothing_is_run_again),
        HEAP_TEST(a_state_is_its_file_and_the_log_behind_it_after_a_crash),
        HEAP_TEST(a_domain_that_comes_to_an_old_folder_begins_empty_with_its_next_entry),
        HEAP_TEST(a_program_without_the_domain_does_not_open_a_folder_that_has_its_state),
        HEAP_TEST(a_missing_state_refuses_the_start_by_name),
        HEAP_TEST(a_damaged_state_refuses_the_start_with_its_place),
        HEAP_TEST(a_state_that_is_cut_off_or_goes_on_refuses_the_start),
        HEAP_TEST(refused_units_and_repeats_are_not_run_again),
        HEAP_TEST(two_states_saved_at_different_entries_are_both_made_again),
        HEAP_TEST(a_domain_that_was_not_told_of_an_entry_takes_nothing_back),
        HEAP_TEST(a_large_state_is_saved_less_often),
        HEAP_TEST(a_state_with_many_operations_behind_it_is_saved_before_a_checkpoint_is_due),
        HEAP_TEST(a_full_disk_delays_a_save_and_nothing_else),
        HEAP_TEST(the_log_is_kept_from_the_oldest_bytes_that_are_still_read),
        HEAP_TEST(when_the_log_is_too_large_its_bytes_are_moved_into_the_database),
        HEAP_TEST(a_segment_that_a_state_needs_is_missed_by_number_of_the_entry),
        HEAP_TEST(an_entry_that_is_not_there_yet_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
