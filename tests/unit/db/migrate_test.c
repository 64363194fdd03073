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
    char path[128];
    struct db *db = NULL;
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/migrateXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(path));
    strcat(path, "/m.db");
    assert_int_equal(db_open(&(struct db_options){.path = path}, &db, NULL), 0);
    return db;
}

static void a_new_database_gets_every_level_once(void **state)
{
    (void)state;
    struct db *db = fresh();
    struct err e = ERR_INIT;
    if (db_migrate(db, &e) != 0)
        fail_msg("%s", e.text);
    struct db_stmt *s = db_stmt_get(db, "SELECT max(level), count(*) FROM local_schema", &e);
    assert_int_equal(db_step(s, &e), 1);
    assert_int_equal(db_col_int(s, 0), db_schema_level());
    assert_true(db_col_int(s, 1) >= 1);
    db_stmt_done(s);
    assert_int_equal(db_exec(db, "SELECT seq, term FROM local_meta", &e), 0);
    assert_int_equal(db_migrate(db, &e), 0);
    uint64_t scan = 1;
    assert_int_equal(db_hash_scan(db, &scan, &e), 0);
    assert_true(scan == db_hash(db));
    db_close(db);
}

static void a_newer_database_is_refused_with_both_levels(void **state)
{
    (void)state;
    struct db *db = fresh();
    struct err e = ERR_INIT;
    assert_int_equal(db_migrate(db, &e), 0);
    assert_int_equal(db_exec(db, "INSERT INTO local_schema VALUES(9999, 'x')", &e), 0);
    assert_int_equal(db_migrate(db, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "9999"));
    char known[16];
    snprintf(known, sizeof(known), "knows %d", db_schema_level());
    assert_non_null(strstr(e.text, known));
    db_close(db);
}

static void a_level_that_fails_names_its_file_and_leaves_nothing(void **state)
{
    (void)state;
    struct db *db = fresh();
    struct err e = ERR_INIT;
    assert_int_equal(db_exec(db, "CREATE TABLE local_meta(x)", &e), 0);
    assert_true(db_migrate(db, &e) < 0);
    assert_non_null(strstr(e.text, "schema/0001_"));
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM local_schema", &e);
    assert_int_equal(db_step(s, &e), 1);
    assert_int_equal(db_col_int(s, 0), 0);
    db_stmt_done(s);
    /* Free again for another try. */
    assert_int_equal(db_exec(db, "DROP TABLE local_meta", &e), 0);
    assert_int_equal(db_migrate(db, &e), 0);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_database_gets_every_level_once),
        cmocka_unit_test(a_newer_database_is_refused_with_both_levels),
        cmocka_unit_test(a_level_that_fails_names_its_file_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
