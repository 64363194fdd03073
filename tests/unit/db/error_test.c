#include "db/db_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

static void every_failure_of_sqlite_has_a_code_of_ours(void **state)
{
    (void)state;
    static const struct {
        int sqlite, ours;
    } table[] = {
        {SQLITE_OK, 0},
        {SQLITE_ROW, 0},
        {SQLITE_DONE, 0},
        {SQLITE_FULL, ERR_DISK_FULL},
        {SQLITE_NOMEM, ERR_NOMEM},
        {SQLITE_IOERR_NOMEM, ERR_NOMEM},
        {SQLITE_IOERR, ERR_IO},
        {SQLITE_IOERR_READ, ERR_IO},
        {SQLITE_IOERR_WRITE, ERR_IO},
        {SQLITE_IOERR_FSYNC, ERR_IO},
        {SQLITE_IOERR_SHORT_READ, ERR_IO},
        {SQLITE_IOERR_CORRUPTFS, ERR_CORRUPT},
        {SQLITE_IOERR_DATA, ERR_CORRUPT},
        {SQLITE_CANTOPEN, ERR_IO},
        {SQLITE_CANTOPEN_ISDIR, ERR_IO},
        {SQLITE_READONLY, ERR_IO},
        {SQLITE_READONLY_DBMOVED, ERR_IO},
        {SQLITE_PERM, ERR_IO},
        {SQLITE_CORRUPT, ERR_CORRUPT},
        {SQLITE_CORRUPT_INDEX, ERR_CORRUPT},
        {SQLITE_NOTADB, ERR_CORRUPT},
        {SQLITE_CONSTRAINT, ERR_CONFLICT},
        {SQLITE_CONSTRAINT_UNIQUE, ERR_CONFLICT},
        {SQLITE_CONSTRAINT_PRIMARYKEY, ERR_CONFLICT},
        {SQLITE_INTERRUPT, ERR_CANCELED},
        {SQLITE_TOOBIG, ERR_TOO_LARGE},
        {SQLITE_ERROR, ERR_INTERNAL},
        {SQLITE_MISUSE, ERR_INTERNAL},
        {SQLITE_BUSY, ERR_INTERNAL},
        {SQLITE_SCHEMA, ERR_INTERNAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (db_code(table[i].sqlite) != table[i].ours)
            fail_msg("SQLite %d gives %d", table[i].sqlite, db_code(table[i].sqlite));
}

static void the_message_has_the_context_and_the_words_of_sqlite(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(db_fail(NULL, SQLITE_IOERR_FSYNC, "checkpoint", &e), ERR_IO);
    assert_int_equal(strncmp(e.text, "checkpoint: ", 12), 0);
    assert_non_null(strstr(e.text, "I/O"));
    assert_non_null(strstr(e.text, "1034"));
    assert_int_equal(db_fail(NULL, SQLITE_FULL, "commit", NULL), ERR_DISK_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_of_sqlite_has_a_code_of_ours),
        cmocka_unit_test(the_message_has_the_context_and_the_words_of_sqlite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
