/* Db - SQLite behind a door: one writer connection, any number of readers, migrations, checkpoints,
 * state hash.
 *
 * The database is the applied state of the ledger, nothing else: it is written by one connection on
 * the ledger's thread, in WAL mode with synchronous=NORMAL. A power cut may lose the last
 * transactions, never damage the file; the log has them and they are applied again. Automatic
 * checkpoints are off: db_checkpoint() is called by the ledger when it suits.
 * The writer's WAL is written in large pieces, to its end with each commit (wal.c).
 *
 * Readers are connections of their own, read-only, one per thread; each read sees one snapshot.
 *
 * Statements are prepared once and kept: db_stmt_get() answers from the connection's cache by SQL
 * text, so a store asks for the same literal each time and never holds statements itself. A
 * statement is reset by db_stmt_done() (also for AUTO).
 *
 * State hash: the sum over all rows of all tables of hash64(table, row), kept up to date by a
 * pre-update hook on the writer, so that two databases with the same rows have the same hash
 * whatever their history. Tables whose name begins with "local_" do not count, and "x.5" counts as
 * "x", so renaming it to that changes nothing. db_hash() is the
 * running value, db_hash_scan() computes it from the rows; a test compares them. The shadow tables
 * of an index like FTS5 depend on history: name the virtual table local_*. Columns that are
 * generated, or added later with a default, look different to the hook and to a scan: use neither.
 *
 * Errors: ERR_DISK_FULL, ERR_NOMEM, ERR_IO, ERR_CORRUPT, ERR_CONFLICT (constraint), ERR_CANCELED
 * (interrupted), ERR_TOO_LARGE, else ERR_INTERNAL; the message has SQLite's words. */
#ifndef KOAN_DB_DB_H
#define KOAN_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct db;
struct db_stmt;
struct disk;
struct err;
struct world;

enum db_mode { DB_WRITER, DB_READER };

struct db_options {
    const char *path;
    enum db_mode mode;
    const char *vfs;    /* NULL for the system's */
    size_t cache_bytes; /* page cache of this connection; 0: 16 MiB writer, 2 MiB reader */
    bool exclusive; /* no shared memory: for a VFS without it (the simulator); no readers then */
};

int db_open(const struct db_options *o, struct db **out, struct err *e);
/* Takes NULL. Finalises what is in the cache. */
void db_close(struct db *db);

/* Statements without parameters or results; several separated by semicolons are fine. */
int db_exec(struct db *db, const char *sql, struct err *e);
/* The same of a text that was put together: one that broke off for want of memory is ERR_NOMEM. */
int db_exec_buf(struct db *db, const struct buf *sql, struct err *e);
int db_begin(struct db *db, struct err *e);
/* The same, but it becomes one that writes with the first statement that does, and if none does it
 * leaves nothing in the WAL. */
int db_begin_late(struct db *db, struct err *e);
/* In the transaction of db_begin_late(): has anything been written, even if only what was there? */
bool db_is_written(const struct db *db);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);
/* Write what the transaction has changed into the WAL already, so that db_commit() has next to
 * nothing left to write. Nobody sees it before, and it may fail for any reason: commit does it
 * then. */
void db_commit_soon(struct db *db);
/* Nested: a failed unit is undone alone. */
int db_savepoint(struct db *db, struct err *e);
int db_release(struct db *db, struct err *e);
void db_rollback_to(struct db *db); /* undoes and ends the savepoint */

/* A cached statement, ready for binding; NULL with `e` set when it does not compile. The same text
 * may be in use only once at a time per connection: a second get while it is in use gives a fresh
 * one. */
struct db_stmt *db_stmt_get(struct db *db, const char *sql, struct err *e);
struct db_stmt *db_stmt_get_buf(struct db *db, const struct buf *sql, struct err *e);
void db_stmt_done(struct db_stmt *s);
void db_stmt_donep(struct db_stmt **s); /* for AUTO */
/* Parameters count from 1. Text and blobs are not copied: they must live until db_stmt_done. */
void db_bind_int(struct db_stmt *s, int at, int64_t v);
void db_bind_double(struct db_stmt *s, int at, double v);
void db_bind_text(struct db_stmt *s, int at, const char *p, size_t n); /* NULL p binds null */
void db_bind_str(struct db_stmt *s, int at, const char *p);
void db_bind_blob(struct db_stmt *s, int at, const void *p, size_t n);
void db_bind_null(struct db_stmt *s, int at);
/* 1: a row, 0: done, negative: error. Outside a transaction a statement that writes and gives rows
 * must be stepped to its end: that is where it commits. */
int db_step(struct db_stmt *s, struct err *e);
/* Steps a statement that gives no rows, and ends it. */
int db_run(struct db_stmt *s, struct err *e);
/* Columns count from 0. Text and blobs live until the next step or done. */
int64_t db_col_int(struct db_stmt *s, int at);
double db_col_double(struct db_stmt *s, int at);
const char *db_col_text(struct db_stmt *s, int at, size_t *n); /* NULL for null; n may be NULL */
const void *db_col_blob(struct db_stmt *s, int at, size_t *n);
bool db_col_is_null(struct db_stmt *s, int at);
int db_col_type(struct db_stmt *s, int at); /* SQLITE_INTEGER 1, FLOAT 2, TEXT 3, BLOB 4, NULL 5 */

/* Rows in memory into a table, by one statement for all: its cursors are opened once, and the state
 * hash takes the cells as they are. Cells lie row by row in the order of the table's columns, all
 * of them but the rowid, and have the types that the columns store (no REAL); texts are borrowed.
 * When it fails, with ERR_CONFLICT where a row is there already, some rows may be in: the
 * transaction is then to be rolled back. On the writer, inside a transaction. */
enum db_cell_type { DB_CELL_NULL, DB_CELL_INT, DB_CELL_TEXT };
enum { DB_ROWS_COLUMNS = 17 };
struct db_cell {
    enum db_cell_type type;
    const char *text;
    int64_t number; /* or length of the text */
};
struct db_rows {
    const char *table;
    bool keyed; /* it has an INTEGER PRIMARY KEY, its first column, which is not among the cells */
    const struct db_cell *cells;
    size_t columns, count;
};
int db_insert(struct db *db, const struct db_rows *rows, struct err *e);
/* What the next statements, which read, find in the table db_rows: columns c0, c1 ..., rowid from
 * 0. Borrowed until it is taken back with NULL; `table` and `keyed` mean nothing. */
void db_rows_give(struct db *db, const struct db_rows *rows);

int64_t db_changes(struct db *db); /* rows of the last write */
int64_t db_last_rowid(struct db *db);
/* Stop with ERR_CANCELED after so many virtual machine steps (granularity 1000), or so long after
 * this call if there is a clock; 0 and 0 switch off. What is left of both counts over several
 * statements. */
void db_limit(struct db *db, uint64_t steps, uint64_t ms);
/* The clock of db_limit(): mono_ns alone is used, from whatever thread runs the statement. NULL:
 * none. */
void db_set_clock(struct db *db, struct world *clock);
/* Read snapshot over several statements on a reader. Within one another the outermost counts. */
int db_snapshot_begin(struct db *db, struct err *e);
void db_snapshot_end(struct db *db);

/* Brings the schema up to date from schema/NNNN_*.sql (embedded), in one transaction each, recorded
 * in table local_schema. A database of a newer program: ERR_UNSUPPORTED, naming both versions. */
int db_migrate(struct db *db, struct err *e);
/* The same. rows() runs in the transaction of a migration that brings rows along: what they add to
 * the state hash is kept with them, or a crash would leave rows that the hash does not know. */
typedef int db_migration_rows(void *arg, struct db *db, uint64_t hash, struct err *e);
int db_migrate_rows(struct db *db, db_migration_rows *rows, void *arg, struct err *e);
int db_schema_level(void); /* the newest this program knows */

/* Move all of the WAL into the database and sync both. 0; ERR_CANCELED when a reader was in the way
 * (some pages remain). */
int db_checkpoint(struct db *db, struct err *e);
uint64_t db_wal_bytes(struct db *db);

uint64_t db_hash(const struct db *db);
void db_hash_set(struct db *db,
                 uint64_t h); /* at open: the value stored with the applied position */
int db_hash_scan(struct db *db, uint64_t *out, struct err *e);

/* A VFS called `name` whose files live on `disk` (io/world.h), without shared memory: SQLite under
 * the simulator. */
int db_vfs_register(const char *name, struct disk *disk, struct err *e);
void db_vfs_unregister(const char *name);

#endif
