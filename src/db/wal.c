/* Writes of the WAL, gathered.
 *
 * SQLite writes a page of the WAL with two calls, 24 bytes of head and the page, and an entry of a
 * bulk changes hundreds of pages: the calls were a third of the ledger's thread. So the writer's
 * connection has a VFS over the system's that keeps what is written to the WAL in order and hands
 * it on in large pieces. All other files, and all other calls, go straight through.
 *
 * What is held back is handed on
 *   1. with the page of a frame that commits (its head says so), so that a write that fails fails
 *      the commit, and nobody is told of frames that are not in the file;
 *   2. before anything but the next bytes is written, read, measured, cut or synced, so the file
 *      is always what SQLite takes it for;
 *   3. when it is full, and when db_commit_soon() asks.
 * Order and content of the file are those of SQLite, so what a crash leaves is read as ever. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db_priv.h"

#define DB_WAL_VFS "koan-wal"

enum {
    DB_WAL_GATHER = 96 << 10, /* SQLite's system VFS takes less than 128 KiB at a time */
    DB_WAL_HEAD = 24,
    DB_WAL_HEAD_COMMIT = 4,
};

struct wal_vfs {
    sqlite3_vfs base; /* first: SQLite hands us a pointer to it */
    sqlite3_vfs *real;
};

/* Behind it lies the file of the system's VFS. */
struct wal_file {
    sqlite3_file base;
    sqlite3_file *real;
    bool gathers; /* it is a WAL */
    bool commits; /* the page to come ends a transaction */
    char *held;   /* NULL until there is something, or while there is no memory */
    size_t held_len;
    sqlite3_int64 end; /* behind the last write, and behind what is held */
};

static struct wal_file *wal_of(sqlite3_file *f)
{
    return (struct wal_file *)f;
}

static int wal_put(struct wal_file *w)
{
    if (w->held_len == 0)
        return SQLITE_OK;
    sqlite3_int64 at = w->end - (sqlite3_int64)w->held_len;
    int code = w->real->pMethods->xWrite(w->real, w->held, (int)w->held_len, at);
    if (code == SQLITE_OK)
        w->held_len = 0;
    return code;
}

/* For SQLite, which gives up the transaction when it fails: then nobody wants what is held. Kept,
 * it would be in the way of the checkpoint that makes room on a full disk. */
static int wal_hand_on(struct wal_file *w)
{
    int code = wal_put(w);
    if (code != SQLITE_OK) {
        w->held_len = 0;
        w->end = -1;
        w->commits = false;
    }
    return code;
}

/* What follows the last write is held back; what does not is not: a page or a head that is changed
 * where it lies, after the commit even, and the first of a transaction after one that was given up.
 */
static int wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    static const char none[4];
    struct wal_file *w = wal_of(f);
    size_t len = (size_t)n;
    if (w->gathers && w->held == NULL)
        w->held = sqlite3_malloc(DB_WAL_GATHER);
    bool holds = w->held != NULL && at == w->end && len <= DB_WAL_GATHER;
    int code = holds && w->held_len + len <= DB_WAL_GATHER ? SQLITE_OK : wal_hand_on(w);
    if (code == SQLITE_OK && !holds)
        code = w->real->pMethods->xWrite(w->real, p, n, at);
    if (code != SQLITE_OK || !w->gathers)
        return code;
    if (holds) {
        memcpy(w->held + w->held_len, p, len);
        w->held_len += len;
    }
    w->end = at + n;
    bool over = w->commits;
    w->commits =
        n == DB_WAL_HEAD && memcmp((const char *)p + DB_WAL_HEAD_COMMIT, none, sizeof none) != 0;
    return over ? wal_hand_on(w) : SQLITE_OK;
}

static int wal_close(sqlite3_file *f)
{
    struct wal_file *w = wal_of(f);
    sqlite3_free(w->held);
    return w->real->pMethods->xClose(w->real);
}

static int wal_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_of(f);
    int code = wal_hand_on(w);
    return code == SQLITE_OK ? w->real->pMethods->xRead(w->real, p, n, at) : code;
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct wal_file *w = wal_of(f);
    int code = wal_hand_on(w);
    return code == SQLITE_OK ? w->real->pMethods->xTruncate(w->real, size) : code;
}

static int wal_sync(sqlite3_file *f, int flags)
{
    struct wal_file *w = wal_of(f);
    int code = wal_hand_on(w);
    return code == SQLITE_OK ? w->real->pMethods->xSync(w->real, flags) : code;
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *size)
{
    struct wal_file *w = wal_of(f);
    int code = wal_hand_on(w);
    return code == SQLITE_OK ? w->real->pMethods->xFileSize(w->real, size) : code;
}

/* ---- straight through ---- */

static int wal_lock(sqlite3_file *f, int level)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xLock(real, level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xUnlock(real, level);
}

static int wal_reserved(sqlite3_file *f, int *out)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xCheckReservedLock(real, out);
}

static int wal_control(sqlite3_file *f, int op, void *arg)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xFileControl(real, op, arg);
}

static int wal_sector(sqlite3_file *f)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xSectorSize(real);
}

static int wal_traits(sqlite3_file *f)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xDeviceCharacteristics(real);
}

static int wal_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xShmMap(real, page, size, extend, out);
}

static int wal_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xShmLock(real, offset, n, flags);
}

static void wal_shm_barrier(sqlite3_file *f)
{
    sqlite3_file *real = wal_of(f)->real;
    real->pMethods->xShmBarrier(real);
}

static int wal_shm_unmap(sqlite3_file *f, int remove)
{
    sqlite3_file *real = wal_of(f)->real;
    return real->pMethods->xShmUnmap(real, remove);
}

/* Version 2: without mapping the file, which is off. */
static const sqlite3_io_methods wal_methods = {
    .iVersion = 2,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_traits,
    .xShmMap = wal_shm_map,
    .xShmLock = wal_shm_lock,
    .xShmBarrier = wal_shm_barrier,
    .xShmUnmap = wal_shm_unmap,
};

static int wal_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *got)
{
    sqlite3_vfs *real = ((struct wal_vfs *)v)->real;
    struct wal_file *w = wal_of(f);
    *w = (struct wal_file){.real = (sqlite3_file *)(w + 1),
                           .gathers = (flags & SQLITE_OPEN_WAL) != 0};
    int code = real->xOpen(real, path, w->real, flags, got);
    /* Whoever opens closes what has methods, even where opening failed. */
    if (w->real->pMethods != NULL)
        w->base.pMethods = &wal_methods;
    return code;
}

/* ---- the door ---- */

static const char *wal_vfs_make(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    struct wal_vfs *v = real == NULL ? NULL : sqlite3_malloc(sizeof *v);
    if (v == NULL)
        return NULL;
    *v = (struct wal_vfs){.base = *real, .real = real};
    v->base.zName = DB_WAL_VFS;
    v->base.szOsFile = (int)sizeof(struct wal_file) + real->szOsFile;
    v->base.xOpen = wal_open;
    v->base.pNext = NULL;
    if (sqlite3_vfs_register(&v->base, 0) == SQLITE_OK)
        return DB_WAL_VFS;
    sqlite3_free(v);
    return NULL;
}

const char *db_wal_vfs(void)
{
    if (sqlite3_initialize() != SQLITE_OK)
        return NULL;
    sqlite3_mutex *once = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_APP1);
    sqlite3_mutex_enter(once);
    const char *name = sqlite3_vfs_find(DB_WAL_VFS) != NULL ? DB_WAL_VFS : wal_vfs_make();
    sqlite3_mutex_leave(once);
    return name;
}

void db_wal_hand_on(struct db *db)
{
    sqlite3_file *f = NULL;
    sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
    if (f != NULL && f->pMethods == &wal_methods)
        wal_put(wal_of(f));
}
