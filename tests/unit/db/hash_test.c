#include "db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static struct db *fresh(void)
{
    struct db *db = NULL;
    char path[128];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/hashXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(path));
    strcat(path, "/h.db");
    assert_int_equal(db_open(&(struct db_options){.path = path}, &db, NULL), 0);
    return db;
}

static void exec(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    if (db_exec(db, sql, &e) != 0)
        fail_msg("%s: %s", sql, e.text);
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    if (db_hash(db) != scan)
        fail_msg("the running hash differs from the rows after: %s", sql);
}

static void every_kind_of_change_keeps_the_hash_equal_to_the_rows(void **state) /* L3 */
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, r REAL, u UNIQUE)");
    exec(db, "INSERT INTO t VALUES(1, 'x', 5, 'k1'), (2, x'0102', 5.5, 'k2'), (3, NULL, NULL, 7)");
    exec(db, "UPDATE t SET a = 'y' WHERE id = 1");
    exec(db, "UPDATE t SET id = 10 WHERE id = 2");
    exec(db, "REPLACE INTO t VALUES(11, 'z', 1e300, 'k1')");
    exec(db, "INSERT INTO t VALUES(3, '', 2, 'q') ON CONFLICT(id) DO UPDATE SET r = 6");
    exec(db, "INSERT OR IGNORE INTO t VALUES(10, '', 2, 'q')");
    exec(db, "DELETE FROM t WHERE id = 3");
    exec(db, "DELETE FROM t");
    assert_true(db_hash(db) == 0);
    db_close(db);
}

static void tables_without_rowid_count_the_same_way(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE w(v, b TEXT, a INTEGER, r REAL, PRIMARY KEY(a, b)) WITHOUT ROWID");
    exec(db, "INSERT INTO w VALUES('one', 'b', 1, 1), ('two', 'c', 2, 2.5)");
    exec(db, "UPDATE w SET v = 'uno', r = 9 WHERE a = 1");
    exec(db, "UPDATE w SET a = 9 WHERE a = 2");
    exec(db, "REPLACE INTO w VALUES('new', 'b', 1, NULL)");
    exec(db, "INSERT INTO w VALUES('x', 'b', 1, 3) ON CONFLICT DO UPDATE SET v = excluded.v");
    exec(db, "DELETE FROM w WHERE a = 9");
    exec(db, "DELETE FROM w");
    assert_true(db_hash(db) == 0);
    db_close(db);
}

static void a_column_that_came_later_counts_as_null(void **state)
{
    (void)state;
    struct db *db = fresh();
    uint64_t scan = 0;
    exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 'x'), (2, 'y')");
    assert_int_equal(db_exec(db, "ALTER TABLE t ADD COLUMN b TEXT", NULL), 0);
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    db_hash_set(db, scan);
    exec(db, "UPDATE t SET b = 'now' WHERE id = 1");
    exec(db, "DELETE FROM t WHERE id = 2");
    exec(db, "DELETE FROM t");
    db_close(db);
}

static void history_and_order_do_not_matter(void **state)
{
    (void)state;
    struct db *a = fresh(), *b = fresh();
    exec(a, "CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    exec(b, "CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID");
    exec(a, "INSERT INTO t VALUES('a', 1), ('b', 2)");
    exec(b, "INSERT INTO t VALUES('c', 0), ('b', 7)");
    assert_true(db_hash(a) != db_hash(b));
    exec(b, "DELETE FROM t WHERE k = 'c'");
    exec(b, "INSERT INTO t VALUES('a', 1)");
    exec(b, "UPDATE t SET v = 2 WHERE k = 'b'");
    assert_true(db_hash(a) == db_hash(b));
    db_close(a);
    db_close(b);
}

static void table_column_and_type_make_a_difference(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(a, b); CREATE TABLE u(a, b)");
    const char *rows[] = {
        "INSERT INTO t VALUES(1, 2)",      "INSERT INTO u VALUES(1, 2)",
        "INSERT INTO t VALUES(2, 1)",      "INSERT INTO t VALUES('1', 2)",
        "INSERT INTO t VALUES(x'31', 2)",  "INSERT INTO t VALUES(NULL, 2)",
        "INSERT INTO t VALUES('', 2)",     "INSERT INTO t VALUES(1.5, 2)",
        "INSERT INTO t VALUES('ab', 'c')", "INSERT INTO t VALUES('a', 'bc')",
    };
    uint64_t seen[10];
    for (size_t i = 0; i < 10; i++) {
        exec(db, rows[i]);
        seen[i] = db_hash(db);
        for (size_t j = 0; j < i; j++)
            assert_true(seen[i] != seen[j]);
        exec(db, "DELETE FROM t; DELETE FROM u");
    }
    db_close(db);
}

static void local_tables_do_not_count(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE local_x(a); INSERT INTO local_x VALUES(1)");
    assert_true(db_hash(db) == 0);
    db_close(db);
}

static void a_failed_statement_leaves_no_trace(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES(5)");
    uint64_t before = db_hash(db);
    assert_int_equal(db_exec(db, "INSERT INTO t VALUES(1), (2), (5)", NULL), ERR_CONFLICT);
    assert_true(db_hash(db) == before);
    struct db_stmt *s = db_stmt_get(db, "INSERT INTO t VALUES(1), (2), (5)", NULL);
    assert_int_equal(db_run(s, NULL), ERR_CONFLICT);
    assert_true(db_hash(db) == before);
    exec(db, "INSERT INTO t VALUES(6)");
    db_close(db);
}

static void a_failed_read_keeps_what_was_written_meanwhile(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(a); CREATE TABLE u(a); INSERT INTO t VALUES(1), (2)");
    struct db_stmt *r = db_stmt_get(db, "SELECT iif(a = 1, '1', json('{')) FROM t", NULL);
    assert_int_equal(db_step(r, NULL), 1);
    assert_int_equal(db_exec(db, "INSERT INTO u VALUES(3)", NULL), 0);
    uint64_t after = db_hash(db);
    assert_true(db_step(r, NULL) < 0);
    assert_true(db_hash(db) == after);
    db_stmt_done(r);
    db_close(db);
}

static void rollback_and_savepoints_take_the_hash_back(void **state)
{
    (void)state;
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    uint64_t before = db_hash(db);
    assert_int_equal(db_begin(db, NULL), 0);
    exec(db, "INSERT INTO t VALUES(2)");
    uint64_t inner = db_hash(db);
    assert_int_equal(db_savepoint(db, NULL), 0);
    exec(db, "DELETE FROM t");
    db_rollback_to(db);
    assert_true(db_hash(db) == inner);
    db_rollback(db);
    assert_true(db_hash(db) == before);
    exec(db, "INSERT INTO t VALUES(2)");
    assert_true(db_hash(db) == inner);
    db_close(db);
}

static void random_changes_agree_with_the_rows(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "REPLACE INTO t VALUES(%u, 'v%u', 1.5)",          "UPDATE t SET b = %u WHERE a = %u",
        "DELETE FROM t WHERE a = %u AND %u > 0",          "REPLACE INTO w VALUES(%u, %u)",
        "UPDATE w SET v = NULL WHERE k >= %u AND %u > 0", "DELETE FROM w WHERE k = %u AND %u > 0"};
    struct db *db = fresh();
    exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c);"
             "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID");
    char sql[160];
    unsigned r = 12345;
    for (int i = 0; i < 300; i++) {
        r = r * 1103515245u + 12345u;
        unsigned key = (r >> 16) % 20, kind = (r >> 8) % 6;
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(sql, sizeof(sql), forms[kind], key, key + 1);
        exec(db, sql);
    }
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_change_keeps_the_hash_equal_to_the_rows),
        cmocka_unit_test(tables_without_rowid_count_the_same_way),
        cmocka_unit_test(a_column_that_came_later_counts_as_null),
        cmocka_unit_test(history_and_order_do_not_matter),
        cmocka_unit_test(table_column_and_type_make_a_difference),
        cmocka_unit_test(local_tables_do_not_count),
        cmocka_unit_test(a_failed_statement_leaves_no_trace),
        cmocka_unit_test(a_failed_read_keeps_what_was_written_meanwhile),
        cmocka_unit_test(rollback_and_savepoints_take_the_hash_back),
        cmocka_unit_test(random_changes_agree_with_the_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
