#include "db/db_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/world.h"

enum { DB_WRITER_CACHE = 16 << 20, DB_READER_CACHE = 2 << 20, DB_WAL_FRAME_HEAD = 24 };

static int db_pragma(struct db *db, const char *name, int64_t value, struct err *e)
{
    AUTO(mem_freep) char *sql = mem_printf("PRAGMA %s = %lld", name, (long long)value);
    return db_exec(db, sql, e);
}

static int db_wal_hook(void *arg, sqlite3 *sql, const char *schema, int frames)
{
    (void)sql, (void)schema;
    struct db *db = arg;
    db->wal_bytes = (uint64_t)frames * (DB_PAGE_BYTES + DB_WAL_FRAME_HEAD);
    return SQLITE_OK;
}

static int db_use_wal(struct db *db, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, "PRAGMA journal_mode = WAL", e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    const char *mode = rc == 1 ? db_col_text(s, 0, NULL) : "";
    bool is_wal = mode != NULL && strcmp(mode, "wal") == 0;
    /* To the end: the row comes before the change is committed. */
    while (rc == 1)
        rc = db_step(s, e);
    if (rc == 0 && !is_wal)
        rc = err_set(e, ERR_INTERNAL, "database: this file system allows no write-ahead log");
    return rc;
}

/* Like all below that are called by db_open only: `e` is never NULL. */
static int db_configure(struct db *db, const struct db_options *o, struct err *e)
{
    bool writer = o->mode == DB_WRITER;
    size_t cache = o->cache_bytes;
    if (cache == 0)
        cache = writer ? DB_WRITER_CACHE : DB_READER_CACHE;
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, DB_BUSY_MS);
    int rc = 0;
    if (o->exclusive) /* before WAL, or SQLite asks the VFS for shared memory */
        rc = db_exec(db, "PRAGMA locking_mode = EXCLUSIVE", e);
    if (rc == 0 && writer) /* takes effect only in a new file; before WAL fixes it */
        rc = db_pragma(db, "page_size", DB_PAGE_BYTES, e);
    if (rc == 0 && writer)
        rc = db_use_wal(db, e);
    if (rc == 0)
        rc =
            db_exec(db,
                    "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF;"
                    "PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
                    "PRAGMA wal_autocheckpoint = 0",
                    e);
    if (rc == 0)
        rc = db_pragma(db, "cache_size", -(int64_t)(cache / 1024), e);
    if (rc == 0 && !writer)
        rc = db_exec(db, "PRAGMA query_only = ON", e);
    return rc;
}

/* Read the first page: recovers the WAL and finds out now what is not a database. */
static int db_touch(struct db *db, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM sqlite_schema", e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    db_stmt_done(s);
    if (rc < 0)
        return rc;
    sqlite3_file *wal = NULL;
    sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    sqlite3_int64 size = 0;
    if (wal != NULL && wal->pMethods != NULL && wal->pMethods->xFileSize(wal, &size) == SQLITE_OK)
        db->wal_bytes = (uint64_t)size;
    return 0;
}

int db_open(const struct db_options *o, struct db **out, struct err *e)
{
    struct err words = ERR_INIT; /* the code is needed even where the caller wants no words */
    struct db *db = mem_new(sizeof(*db));
    db->mode = o->mode;
    db_cache_init(db);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (o->mode == DB_WRITER)
        flags |= SQLITE_OPEN_CREATE;
    const char *vfs = o->vfs == NULL && o->mode == DB_WRITER ? db_wal_vfs() : o->vfs;
    int code = sqlite3_open_v2(o->path, &db->sql, flags, vfs);
    int rc = code == SQLITE_OK ? 0 : db_fail(db, code, "open", &words);
    if (rc == 0)
        rc = db_configure(db, o, &words);
    if (rc == 0)
        rc = db_touch(db, &words);
    if (rc == 0)
        rc = db_rows_start(db, &words);
    if (rc != 0) {
        db_close(db);
        return err_set(e, rc, "%s: %s", o->path, words.text);
    }
    if (o->mode == DB_WRITER) {
        db_hash_start(db);
        sqlite3_wal_hook(db->sql, db_wal_hook, db);
    }
    *out = db;
    return 0;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    ASSERT(db->in_use == 0);
    db_cache_fini(db);
    if (db->sql != NULL) {
        /* The last connection would otherwise move the whole WAL on its way out, unasked. */
        sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        int code = sqlite3_close(db->sql);
        ASSERT(code == SQLITE_OK);
    }
    mem_free(db);
}

void db_hash_undo(struct db *db, uint64_t before)
{
    db->hash = before;
    /* Some failures (full disk, I/O) roll back the whole transaction at once. */
    if (db->in_transaction && sqlite3_get_autocommit(db->sql))
        db->hash = db->hash_at_begin;
}

static int db_exec_one(struct db *db, const char **sql, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int code = sqlite3_prepare_v2(db->sql, *sql, -1, &s, sql);
    if (code != SQLITE_OK)
        return db_fail(db, code, "database: prepare", e);
    if (s == NULL) /* white space or a comment */
        return 0;
    uint64_t before = db->hash;
    do {
        code = sqlite3_step(s);
    } while (code == SQLITE_ROW);
    int rc = 0;
    if (code != SQLITE_DONE) {
        rc = db_fail(db, code, "database", e);
        db_hash_undo(db, before);
    }
    sqlite3_finalize(s);
    return rc;
}

int db_exec(struct db *db, const char *sql, struct err *e)
{
    int rc = 0;
    while (rc == 0 && *sql != '\0')
        rc = db_exec_one(db, &sql, e);
    return rc;
}

int db_exec_buf(struct db *db, const struct buf *sql, struct err *e)
{
    int rc = buf_check(sql, "a statement", e);
    return rc != 0 ? rc : db_exec(db, buf_str(sql), e);
}

static int db_run_sql(struct db *db, const char *sql, struct err *e)
{
    struct err words = ERR_INIT;
    struct db_stmt *s = db_stmt_get(db, sql, &words);
    int rc = s == NULL ? words.code : db_run(s, &words);
    return rc == 0 ? 0 : err_set(e, rc, "%s: %s", sql, words.text);
}

static int db_begin_as(struct db *db, const char *sql, struct err *e)
{
    ASSERT(db->mode == DB_WRITER && !db->in_transaction);
    int rc = db_run_sql(db, sql, e);
    if (rc != 0)
        return rc;
    db->in_transaction = true;
    db->hash_at_begin = db->hash;
    return 0;
}

int db_begin(struct db *db, struct err *e)
{
    return db_begin_as(db, "BEGIN IMMEDIATE", e);
}

int db_begin_late(struct db *db, struct err *e)
{
    return db_begin_as(db, "BEGIN", e);
}

bool db_is_written(const struct db *db)
{
    return sqlite3_txn_state(db->sql, "main") == SQLITE_TXN_WRITE;
}

int db_commit(struct db *db, struct err *e)
{
    ASSERT(db->in_transaction && db->savepoints == 0);
    if (db->hash_code != SQLITE_OK)
        return db_fail(NULL, db->hash_code, "COMMIT: state hash", e);
    /* COMMIT itself changes no row; if it fails, db_rollback() sets the hash back. */
    int rc = db_run_sql(db, "COMMIT", e);
    if (rc == 0)
        db->in_transaction = false;
    return rc;
}

void db_commit_soon(struct db *db)
{
    ASSERT(db->in_transaction);
    sqlite3_db_cacheflush(db->sql);
    db_wal_hand_on(db);
}

void db_rollback(struct db *db)
{
    /* SQLite may have rolled back by itself; then there is nothing left to do but the hash. */
    if (!sqlite3_get_autocommit(db->sql)) {
        int code = sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
        ASSERT(code == SQLITE_OK || sqlite3_get_autocommit(db->sql));
    }
    if (db->in_transaction)
        db->hash = db->hash_at_begin;
    db->hash_code = SQLITE_OK;
    db->in_transaction = false;
    db->savepoints = 0;
}

/* All savepoints share a name: SQLite takes the innermost, which is the only one we ever mean. */
int db_savepoint(struct db *db, struct err *e)
{
    ASSERT(db->in_transaction && db->savepoints < DB_SAVEPOINTS_MAX);
    int rc = db_run_sql(db, "SAVEPOINT unit", e);
    if (rc == 0)
        db->hash_at_savepoint[db->savepoints++] = db->hash;
    return rc;
}

int db_release(struct db *db, struct err *e)
{
    ASSERT(db->savepoints > 0);
    int rc = db_run_sql(db, "RELEASE unit", e);
    if (rc == 0)
        db->savepoints--;
    return rc;
}

void db_rollback_to(struct db *db)
{
    ASSERT(db->savepoints > 0);
    db->savepoints--;
    if (sqlite3_get_autocommit(db->sql)) { /* everything is gone already: see db_rollback */
        db->hash = db->hash_at_begin;
        return;
    }
    struct err words = ERR_INIT;
    int rc = db_run_sql(db, "ROLLBACK TO unit", &words);
    if (rc == 0)
        rc = db_run_sql(db, "RELEASE unit", &words);
    /* Neither can fail on a live savepoint short of a broken disk, and that shows at COMMIT. */
    if (rc != 0)
        db->hash_code = SQLITE_IOERR;
    db->hash = db->hash_at_savepoint[db->savepoints];
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->sql);
}

int64_t db_last_rowid(struct db *db)
{
    return sqlite3_last_insert_rowid(db->sql);
}

static int db_step_hook(void *arg)
{
    struct db *db = arg;
    if (db->steps_left == 0)
        return 1;
    db->steps_left--;
    return db->deadline_ns != 0 && db->clock->mono_ns(db->clock) > db->deadline_ns;
}

void db_set_clock(struct db *db, struct world *clock)
{
    db->clock = clock;
}

void db_limit(struct db *db, uint64_t steps, uint64_t ms)
{
    bool timed = ms > 0 && db->clock != NULL;
    db->steps_left = steps / DB_STEP_GRAIN;
    db->deadline_ns = timed ? db->clock->mono_ns(db->clock) + ms * 1000000 : 0;
    sqlite3_progress_handler(db->sql, DB_STEP_GRAIN, steps == 0 ? NULL : db_step_hook, db);
}

int db_snapshot_begin(struct db *db, struct err *e)
{
    if (db->snapshots > 0) {
        db->snapshots++;
        return 0;
    }
    ASSERT(!db->in_transaction);
    int rc = db_run_sql(db, "BEGIN", e);
    if (rc != 0)
        return rc;
    db->snapshots = 1;
    /* BEGIN is lazy: the snapshot is taken by the first read. */
    db->in_transaction = true;
    struct err words = ERR_INIT;
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM sqlite_schema LIMIT 1", &words);
    rc = s == NULL ? words.code : db_step(s, &words);
    db_stmt_done(s);
    if (rc < 0) {
        db_snapshot_end(db);
        return err_set(e, rc, "%s", words.text);
    }
    return 0;
}

void db_snapshot_end(struct db *db)
{
    ASSERT(db->snapshots > 0);
    if (--db->snapshots > 0)
        return;
    if (!sqlite3_get_autocommit(db->sql))
        sqlite3_exec(db->sql, "COMMIT", NULL, NULL, NULL);
    db->in_transaction = false;
}

int db_checkpoint(struct db *db, struct err *e)
{
    ASSERT(db->mode == DB_WRITER && !db->in_transaction);
    int in_wal = -1, moved = -1;
    /* PASSIVE never waits for a reader and never disturbs one; whether all was moved is in the
     * counts. It syncs the WAL before and the database after. */
    int code =
        sqlite3_wal_checkpoint_v2(db->sql, "main", SQLITE_CHECKPOINT_PASSIVE, &in_wal, &moved);
    if ((code & 0xff) == SQLITE_BUSY || (code == SQLITE_OK && in_wal != moved))
        return err_set(e, ERR_CANCELED, "checkpoint: a reader holds %d of %d pages", in_wal - moved,
                       in_wal);
    if (code != SQLITE_OK)
        return db_fail(db, code, "checkpoint", e);
    db->wal_bytes = 0;
    return 0;
}

uint64_t db_wal_bytes(struct db *db)
{
    return db->wal_bytes;
}
