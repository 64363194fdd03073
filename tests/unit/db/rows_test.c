/* Many rows in one statement. */
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "db/db.h"

static struct db *fresh(void)
{
    struct db *db = NULL;
    char path[128];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/rowsXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(path));
    strcat(path, "/r.db");
    assert_int_equal(db_open(&(struct db_options){.path = path}, &db, NULL), 0);
    assert_int_equal(
        db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER, c TEXT)",
                NULL),
        0);
    return db;
}

static struct db_cell text(const char *s)
{
    return (struct db_cell){.type = DB_CELL_TEXT, .text = s, .number = (int64_t)strlen(s)};
}

static struct db_cell number_of(int64_t n)
{
    return (struct db_cell){.type = DB_CELL_INT, .number = n};
}

static int64_t number(struct db *db, const char *sql)
{
    struct db_stmt *s = db_stmt_get(db, sql, NULL);
    assert_int_equal(db_step(s, NULL), 1);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    return n;
}

static void check_hash(struct db *db)
{
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    assert_true(db_hash(db) == scan);
}

static struct db_rows of_t(const struct db_cell *cells, size_t count)
{
    return (struct db_rows){
        .table = "t", .keyed = true, .cells = cells, .columns = 3, .count = count};
}

TEST(rows_in_memory_become_rows_of_a_table_with_one_statement) /* L3 */
{
    struct db *db = fresh();
    struct db_cell cells[3 * 500];
    char names[500][16];
    for (int i = 0; i < 500; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d", i);
        cells[3 * i] = text(names[i]);
        cells[3 * i + 1] = number_of(i);
        cells[3 * i + 2] =
            i % 2 == 0 ? text(i % 4 == 0 ? "" : "\xc3\xa4") : (struct db_cell){DB_CELL_NULL};
    }
    cells[0].number = 1; /* not all of the text is meant */
    struct db_rows rows = of_t(cells, 500);
    assert_int_equal(db_begin(db, NULL), 0);
    assert_int_equal(db_insert(db, &rows, NULL), 0);
    rows.count = 0;
    assert_int_equal(db_insert(db, &rows, NULL), 0);
    assert_int_equal(db_commit(db, NULL), 0);
    check_hash(db);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 500);
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE c IS NULL"), 250);
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE c = ''"), 125);
    assert_int_equal(number(db, "SELECT b FROM t WHERE a = 'n'"), 0);
    assert_int_equal(number(db, "SELECT b FROM t WHERE a = 'n499'"), 499);
    /* In the order in which they lie. */
    assert_int_equal(number(db, "SELECT count(*) FROM t WHERE id = b + 1"), 500);
    db_close(db);
}

TEST(a_row_that_is_there_already_fails_them_and_a_rollback_leaves_nothing)
{
    struct db *db = fresh();
    struct err e = ERR_INIT;
    assert_int_equal(db_exec(db, "INSERT INTO t VALUES(1, 'x', 1, 'y')", NULL), 0);
    uint64_t before = db_hash(db);
    struct db_cell cells[] = {text("w"), number_of(1), text("2"),
                              text("x"), number_of(3), text("4")};
    struct db_rows rows = of_t(cells, 2);
    assert_int_equal(db_begin(db, NULL), 0);
    assert_int_equal(db_insert(db, &rows, &e), ERR_CONFLICT);
    db_rollback(db);
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    assert_true(db_hash(db) == before);
    check_hash(db);
    db_close(db);
}

TEST(rows_that_are_given_are_a_table_until_they_are_taken_back)
{
    struct db *db = fresh();
    assert_int_equal(db_exec(db, "INSERT INTO t (a, b) VALUES ('x', 1), ('y', 2), ('z', 3)", NULL),
                     0);
    const struct db_cell cells[] = {text("z"),    number_of(7), text("none"),
                                    number_of(8), text("x"),    number_of(9)};
    struct db_rows rows = {.cells = cells, .columns = 2, .count = 3};
    db_rows_give(db, &rows);
    assert_int_equal(number(db, "SELECT count(*) FROM db_rows"), 3);
    assert_int_equal(
        number(db, "SELECT sum(1000 * r.rowid + 10 * r.c1 + t.b) FROM db_rows AS r CROSS JOIN t "
                   "WHERE t.a = r.c0"),
        0 + 73 + 2091);
    db_rows_give(db, NULL);
    assert_int_equal(number(db, "SELECT count(*) FROM db_rows"), 0);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(rows_in_memory_become_rows_of_a_table_with_one_statement),
        HEAP_TEST(a_row_that_is_there_already_fails_them_and_a_rollback_leaves_nothing),
        HEAP_TEST(rows_that_are_given_are_a_table_until_they_are_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
