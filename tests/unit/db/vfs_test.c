/* SQLite on the simulated disk: what the ledger's replay relies on. After any power cut the
 * database is whole and holds a prefix of the transactions, at least those before the last
 * checkpoint. */
#include "db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "support/simdisk.h"
#include "support/simworld.h"

static int64_t number(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(db, sql, &e);
    if (s == NULL || db_step(s, &e) != 1)
        fail_msg("%s", e.text);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    return n;
}

static struct db *reopen(void)
{
    struct db *db = NULL;
    struct err e = ERR_INIT;
    struct db_options o = {.path = "data/t.db", .vfs = "sim", .exclusive = true};
    if (db_open(&o, &db, &e) != 0 ||
        db_exec(db,
                "CREATE TABLE IF NOT EXISTS n(i INTEGER PRIMARY KEY, pad);"
                "CREATE TABLE IF NOT EXISTS total(one INTEGER PRIMARY KEY, sum)",
                &e) != 0)
        fail_msg("%s", e.text);
    return db;
}

/* Transaction i adds row i and i to the sum: both or neither. */
static int commit_one(struct sim *s, struct db *db, int64_t i)
{
    char sql[256];
    snprintf(sql, sizeof(sql),
             "INSERT INTO n VALUES(%lld, hex(zeroblob(%llu)));"
             "INSERT INTO total VALUES(1, %lld) ON CONFLICT DO UPDATE SET sum = sum + excluded.sum",
             (long long)i, (unsigned long long)sim_rand(s, 9000), (long long)i);
    int rc = db_begin(db, NULL);
    if (rc == 0)
        rc = db_exec(db, sql, NULL);
    if (rc == 0)
        rc = db_commit(db, NULL);
    if (rc != 0)
        db_rollback(db);
    return rc;
}

struct life {
    struct sim *sim;
    struct db *db;
    int64_t last, kept; /* committed; surely on disk */
};

static void live(struct life *l)
{
    for (int i = 0; i < 30 && !sim_is_frozen(l->sim); i++) {
        if (sim_chance(l->sim, 10)) {
            if (db_checkpoint(l->db, NULL) == 0 && !sim_is_frozen(l->sim))
                l->kept = l->last;
            continue;
        }
        if (commit_one(l->sim, l->db, l->last + 1) == 0)
            l->last++;
    }
    sim_freeze(l->sim, "end of life");
}

static void check(struct life *l, int64_t low, int64_t high)
{
    uint64_t scan = 0;
    assert_int_equal(number(l->db, "SELECT count(*) FROM pragma_integrity_check "
                                   "WHERE integrity_check <> 'ok'"),
                     0);
    int64_t count = number(l->db, "SELECT count(*) FROM n");
    if (count < low || count > high)
        fail_msg("%lld rows, should be %lld to %lld", (long long)count, (long long)low,
                 (long long)high);
    assert_int_equal(number(l->db, "SELECT ifnull(max(i), 0) FROM n"), count);
    assert_int_equal(number(l->db, "SELECT ifnull(max(sum), 0) FROM total"),
                     count * (count + 1) / 2);
    assert_int_equal(db_hash_scan(l->db, &scan, NULL), 0);
    db_hash_set(l->db, scan);
    l->last = count;
}

static uint64_t lives(uint64_t seed)
{
    struct life l = {.sim = sim_new(seed, NULL)};
    assert_int_equal(db_vfs_register("sim", sim_world(l.sim)->disk, NULL), 0);
    for (int round = 0; round < 6; round++) {
        l.db = reopen();
        check(&l, l.kept, l.last);
        if (sim_chance(l.sim, 70))
            simdisk_freeze_after(sim_disk(l.sim), 1 + sim_rand(l.sim, 120));
        live(&l);
        int64_t last = l.last;
        db_close(l.db);
        enum sim_crash how = sim_chance(l.sim, 20) ? SIM_KILL : SIM_POWER_CUT;
        sim_crash(l.sim, how);
        /* The transaction at which the disk froze may have arrived whole. */
        l.last = last;
    }
    db_vfs_unregister("sim");
    uint64_t hash = sim_trace_hash(l.sim);
    sim_free(l.sim);
    return hash;
}

static void any_crash_leaves_a_whole_prefix(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        lives(seed);
}

static void the_same_seed_gives_the_same_trace(void **state)
{
    (void)state;
    assert_true(lives(5) == lives(5));
}

static void failures_of_the_disk_become_our_codes(void **state)
{
    (void)state;
    struct sim *s = sim_new(2, NULL);
    assert_int_equal(db_vfs_register("sim", sim_world(s)->disk, NULL), 0);
    assert_int_equal(db_vfs_register("sim", sim_world(s)->disk, NULL), ERR_CONFLICT);
    struct db *db = reopen();
    simdisk_fail(sim_disk(s), SIMDISK_WRITE, 1);
    assert_int_equal(commit_one(s, db, 1), ERR_IO);
    simdisk_capacity(sim_disk(s), simdisk_used(sim_disk(s)));
    assert_int_equal(commit_one(s, db, 1), ERR_DISK_FULL);
    simdisk_capacity(sim_disk(s), 1ull << 40);
    assert_int_equal(commit_one(s, db, 1), 0);
    simdisk_fail(sim_disk(s), SIMDISK_SYNC, 1);
    assert_int_equal(db_checkpoint(db, NULL), ERR_IO);
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    assert_true(scan == db_hash(db));
    db_close(db);
    db_vfs_unregister("sim");
    sim_free(s);
}

/* The switch to WAL is a transaction of its own, whose failure must not pass unseen. */
static void a_first_open_that_fails_anywhere_leaves_no_half_made_database(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 20; nth++) {
        struct sim *s = sim_new(nth, NULL);
        struct db *db = NULL;
        struct db_options o = {.path = "data/t.db", .vfs = "sim", .exclusive = true};
        assert_int_equal(db_vfs_register("sim", sim_world(s)->disk, NULL), 0);
        simdisk_fail(sim_disk(s), nth % 2 ? SIMDISK_SYNC : SIMDISK_WRITE, (nth + 1) / 2);
        int rc = db_open(&o, &db, NULL);
        assert_int_equal(rc, simdisk_failed(sim_disk(s)) ? ERR_IO : 0);
        if (rc != 0)
            assert_int_equal(db_open(&o, &db, NULL), 0);
        assert_int_equal(number(db, "SELECT count(*) FROM pragma_journal_mode "
                                    "WHERE journal_mode = 'wal'"),
                         1);
        db_close(db);
        db_vfs_unregister("sim");
        sim_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_crash_leaves_a_whole_prefix),
        cmocka_unit_test(the_same_seed_gives_the_same_trace),
        cmocka_unit_test(failures_of_the_disk_become_our_codes),
        cmocka_unit_test(a_first_open_that_fails_anywhere_leaves_no_half_made_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
