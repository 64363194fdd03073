#include "db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "io/world.h"
#include "base/mem.h"

struct fixture {
    char dir[64], path[96], wal[112];
    struct db *db;
};

static struct db *open_db(const char *path, enum db_mode mode)
{
    struct db *db = NULL;
    struct err e = ERR_INIT;
    if (db_open(&(struct db_options){.path = path, .mode = mode}, &db, &e) != 0)
        fail_msg("%s", e.text);
    return db;
}

static void exec(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    if (db_exec(db, sql, &e) != 0)
        fail_msg("%s", e.text);
}

static int64_t number(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, &e);
    if (s == NULL)
        fail_msg("%s", e.text);
    assert_int_equal(db_step(s, &e), 1);
    return db_col_int(s, 0);
}

static void assert_hash_is_scan(struct db *db)
{
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    assert_true(db_hash(db) == scan);
}

static int setup(void **state)
{
    struct fixture *f = mem_new(sizeof(*f));
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.40s/dbXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/t.db", f->dir);
    snprintf(f->wal, sizeof(f->wal), "%s-wal", f->path);
    f->db = open_db(f->path, DB_WRITER);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    db_close(f->db);
    mem_free(f);
    return 0;
}

static void values_come_back_with_their_types(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a, b, c, d, e)");
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(f->db, "INSERT INTO t VALUES(?1, ?2, ?3, ?4, ?5)", &e);
    db_bind_int(s, 1, INT64_MIN);
    db_bind_double(s, 2, 0.5);
    db_bind_text(s, 3, "a\0b", 3);
    db_bind_blob(s, 4, "\x01\x00", 2);
    db_bind_null(s, 5);
    assert_int_equal(db_run(s, &e), 0);
    assert_int_equal(db_changes(f->db), 1);
    assert_int_equal(db_last_rowid(f->db), 1);

    AUTO(db_stmt_donep) struct db_stmt *r = db_stmt_get(f->db, "SELECT * FROM t", &e);
    assert_int_equal(db_step(r, &e), 1);
    assert_true(db_col_int(r, 0) == INT64_MIN);
    assert_true(db_col_double(r, 1) == 0.5);
    size_t n = 0;
    assert_memory_equal(db_col_text(r, 2, &n), "a\0b", 3);
    assert_int_equal(n, 3);
    assert_memory_equal(db_col_blob(r, 3, &n), "\x01\x00", 2);
    assert_int_equal(n, 2);
    assert_true(db_col_is_null(r, 4));
    for (int i = 0; i < 5; i++)
        assert_int_equal(db_col_type(r, i), i + 1);
    assert_int_equal(db_step(r, &e), 0);
}

static void the_same_text_in_use_twice_gives_two_statements(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2)");
    struct db_stmt *one = db_stmt_get(f->db, "SELECT a FROM t ORDER BY a", NULL);
    assert_int_equal(db_step(one, NULL), 1);
    struct db_stmt *two = db_stmt_get(f->db, "SELECT a FROM t ORDER BY a", NULL);
    assert_ptr_not_equal(one, two);
    assert_int_equal(db_step(two, NULL), 1);
    assert_int_equal(db_step(one, NULL), 1);
    assert_int_equal(db_col_int(one, 0), 2);
    assert_int_equal(db_col_int(two, 0), 1);
    db_stmt_done(one);
    db_stmt_done(two);
    struct db_stmt *three = db_stmt_get(f->db, "SELECT a FROM t ORDER BY a", NULL);
    assert_true(three == one || three == two);
    db_stmt_done(three);
}

static void a_cached_statement_starts_without_old_bindings(void **state)
{
    struct fixture *f = *state;
    struct db_stmt *s = db_stmt_get(f->db, "SELECT ?1", NULL);
    db_bind_int(s, 1, 5);
    assert_int_equal(db_step(s, NULL), 1);
    db_stmt_done(s);
    s = db_stmt_get(f->db, "SELECT ?1", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_true(db_col_is_null(s, 0));
    db_stmt_done(s);
}

static void more_texts_than_the_cache_holds_still_work(void **state)
{
    struct fixture *f = *state;
    char sql[64];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 500; i++) {
            snprintf(sql, sizeof(sql), "SELECT %d", i);
            assert_int_equal(number(f->db, sql), i);
        }
}

static void a_statement_that_does_not_compile_says_why(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    assert_null(db_stmt_get(f->db, "SELEC 1", &e));
    assert_int_equal(e.code, ERR_INTERNAL);
    assert_non_null(strstr(e.text, "SELEC"));
    assert_null(db_stmt_get(f->db, "SELECT 1; SELECT 2", &e));
    assert_null(db_stmt_get(f->db, "  ", &e));
    assert_int_equal(db_exec(f->db, "SELECT 1; NONSENSE", &e), ERR_INTERNAL);
}

static void a_violated_constraint_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(1)");
    struct err e = ERR_INIT;
    assert_int_equal(db_exec(f->db, "INSERT INTO t VALUES(1)", &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "t.a"));
    assert_hash_is_scan(f->db);
}

static void a_full_database_is_a_full_disk_and_rolls_back(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a); PRAGMA max_page_count = 20");
    exec(f->db, "INSERT INTO t VALUES('before')");
    struct err e = ERR_INIT;
    assert_int_equal(db_begin(f->db, &e), 0);
    assert_int_equal(db_savepoint(f->db, &e), 0);
    int rc = 0;
    for (int i = 0; i < 100 && rc == 0; i++)
        rc = db_exec(f->db, "INSERT INTO t VALUES(randomblob(8000))", &e);
    assert_int_equal(rc, ERR_DISK_FULL);
    db_rollback_to(f->db);
    db_rollback(f->db);
    assert_int_equal(number(f->db, "SELECT count(*) FROM t"), 1);
    assert_hash_is_scan(f->db);
}

static void a_file_that_is_no_database_is_corrupt(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/junk", f->dir);
    FILE *file = fopen(path, "we");
    for (int i = 0; i < 4096; i++)
        fputs("this is no database ", file);
    fclose(file);
    struct db *db = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(db_open(&(struct db_options){.path = path}, &db, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "junk"));
    assert_null(db);
}

static void a_missing_folder_or_database_names_the_path(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/none/x.db", f->dir);
    struct db *db = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(db_open(&(struct db_options){.path = path}, &db, &e), ERR_IO);
    assert_non_null(strstr(e.text, "none/x.db"));
    snprintf(path, sizeof(path), "%s/reader.db", f->dir);
    struct db_options reader = {.path = path, .mode = DB_READER};
    assert_int_equal(db_open(&reader, &db, &e), ERR_IO);
}

static void a_reader_may_not_write(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a)");
    struct db *r = open_db(f->path, DB_READER);
    struct err e = ERR_INIT;
    assert_int_equal(db_exec(r, "INSERT INTO t VALUES(1)", &e), ERR_IO);
    db_close(r);
}

static void a_snapshot_does_not_move(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a)");
    struct db *r = open_db(f->path, DB_READER);
    assert_int_equal(db_snapshot_begin(r, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(1)");
    assert_int_equal(number(r, "SELECT count(*) FROM t"), 0);
    db_snapshot_end(r);
    assert_int_equal(number(r, "SELECT count(*) FROM t"), 1);
    db_close(r);
}

static void a_snapshot_in_a_snapshot_is_the_outer_one(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE nested(a)");
    struct db *r = open_db(f->path, DB_READER);
    assert_int_equal(db_snapshot_begin(r, NULL), 0);
    exec(f->db, "INSERT INTO nested VALUES (1)");
    assert_int_equal(db_snapshot_begin(r, NULL), 0);
    assert_int_equal(number(r, "SELECT count(*) FROM nested"), 0);
    db_snapshot_end(r);
    assert_int_equal(number(r, "SELECT count(*) FROM nested"), 0);
    db_snapshot_end(r);
    assert_int_equal(number(r, "SELECT count(*) FROM nested"), 1);
    db_close(r);
}

static void a_checkpoint_empties_the_wal_unless_a_reader_is_in_the_way(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a)");
    assert_true(db_wal_bytes(f->db) > 0);
    assert_int_equal(db_checkpoint(f->db, NULL), 0);
    assert_int_equal(db_wal_bytes(f->db), 0);
    struct db *r = open_db(f->path, DB_READER);
    exec(f->db, "INSERT INTO t VALUES(1)");
    assert_int_equal(db_snapshot_begin(r, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(2)");
    struct err e = ERR_INIT;
    assert_int_equal(db_checkpoint(f->db, &e), ERR_CANCELED);
    assert_true(db_wal_bytes(f->db) > 0);
    db_snapshot_end(r);
    assert_int_equal(db_checkpoint(f->db, &e), 0);
    db_close(r);
}

static void closing_leaves_the_wal_to_the_next_open(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a); INSERT INTO t VALUES(7)");
    db_close(f->db);
    assert_int_equal(access(f->wal, F_OK), 0);
    f->db = open_db(f->path, DB_WRITER);
    assert_true(db_wal_bytes(f->db) > 0);
    assert_int_equal(number(f->db, "SELECT a FROM t"), 7);
}

static void the_step_limit_cancels_and_can_be_lifted(void **state)
{
    struct fixture *f = *state;
    const char *many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT "
                       "100000) SELECT count(*) FROM c";
    db_limit(f->db, 10000, 0);
    struct db_stmt *s = db_stmt_get(f->db, many, NULL);
    assert_int_equal(db_step(s, NULL), ERR_CANCELED);
    db_stmt_done(s);
    db_limit(f->db, 0, 0);
    assert_int_equal(number(f->db, many), 100000);
}

/* A clock that moves on by a millisecond each time it is looked at. */
static uint64_t hasty_ns(struct world *w)
{
    (void)w;
    static uint64_t now;
    return now += 1000000;
}

static void the_time_limit_cancels_and_is_one_for_several_statements(void **state)
{
    struct fixture *f = *state;
    struct world hasty = {.mono_ns = hasty_ns};
    const char *many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT "
                       "3000) SELECT count(*) FROM c";
    db_set_clock(f->db, &hasty);
    db_limit(f->db, 1000000000, 100);
    int rc = 0, runs = 0;
    while (rc >= 0 && runs < 100) {
        struct db_stmt *s = db_stmt_get(f->db, many, NULL);
        rc = db_step(s, NULL);
        db_stmt_done(s);
        runs++;
    }
    assert_int_equal(rc, ERR_CANCELED);
    assert_in_range(runs, 2, 50);
    db_set_clock(f->db, NULL);
    db_limit(f->db, 0, 0);
    assert_int_equal(number(f->db, many), 3000);
}

static void a_savepoint_is_undone_alone(void **state)
{
    struct fixture *f = *state;
    exec(f->db, "CREATE TABLE t(a)");
    assert_int_equal(db_begin(f->db, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(1)");
    assert_int_equal(db_savepoint(f->db, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(2)");
    assert_int_equal(db_savepoint(f->db, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(3)");
    db_rollback_to(f->db);
    assert_hash_is_scan(f->db);
    assert_int_equal(db_release(f->db, NULL), 0);
    assert_int_equal(db_savepoint(f->db, NULL), 0);
    exec(f->db, "INSERT INTO t VALUES(4)");
    db_rollback_to(f->db);
    assert_int_equal(db_commit(f->db, NULL), 0);
    assert_int_equal(number(f->db, "SELECT sum(a) FROM t"), 3);
    assert_hash_is_scan(f->db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_come_back_with_their_types),
        TEST(the_same_text_in_use_twice_gives_two_statements),
        TEST(a_cached_statement_starts_without_old_bindings),
        TEST(more_texts_than_the_cache_holds_still_work),
        TEST(a_statement_that_does_not_compile_says_why),
        TEST(a_violated_constraint_is_a_conflict),
        TEST(a_full_database_is_a_full_disk_and_rolls_back),
        TEST(a_file_that_is_no_database_is_corrupt),
        TEST(a_missing_folder_or_database_names_the_path),
        TEST(a_reader_may_not_write),
        TEST(a_snapshot_does_not_move),
        TEST(a_snapshot_in_a_snapshot_is_the_outer_one),
        TEST(a_checkpoint_empties_the_wal_unless_a_reader_is_in_the_way),
        TEST(closing_leaves_the_wal_to_the_next_open),
        TEST(the_step_limit_cancels_and_can_be_lifted),
        TEST(the_time_limit_cancels_and_is_one_for_several_statements),
        TEST(a_savepoint_is_undone_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
