#include "db/db_priv.h"

#include "base/err.h"

static int db_code_io(int extended)
{
    switch (extended) {
    case SQLITE_IOERR_NOMEM:
        return ERR_NOMEM;
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_DATA:
        return ERR_CORRUPT;
    default:
        return ERR_IO;
    }
}

int db_code(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_IOERR:
        return db_code_io(sqlite_code);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_NOLFS:
        return ERR_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_CONSTRAINT:
        return ERR_CONFLICT;
    case SQLITE_INTERRUPT:
        return ERR_CANCELED;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_INTERNAL;
    }
}

int db_fail(struct db *db, int sqlite_code, const char *what, struct err *e)
{
    int code = db_code(sqlite_code);
    int kind = sqlite_code & 0xff;
    /* Somebody else has the database that is ours: nothing that a caller may take for an answer. */
    if ((kind == SQLITE_BUSY || kind == SQLITE_PROTOCOL) && db != NULL && db->mode == DB_WRITER)
        code = ERR_IO;
    /* errmsg belongs to the connection's last call; it is worth more than the code's own words only
     * when it speaks of the same failure. */
    const char *words = sqlite3_errstr(sqlite_code);
    if (db != NULL && db->sql != NULL && sqlite3_extended_errcode(db->sql) == sqlite_code)
        words = sqlite3_errmsg(db->sql);
    return err_set(e, code, "%s: %s (SQLite %d)", what, words, sqlite_code);
}
