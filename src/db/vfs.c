#include "db/db_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/world.h"

enum { DB_VFS_PATH_MAX = 1024, DB_VFS_SECTOR = 4096 };

struct db_vfs {
    sqlite3_vfs base; /* first: SQLite hands us a pointer to it */
    struct disk *disk;
    int last_error;
};

struct db_file {
    sqlite3_file base;
    struct db_vfs *vfs;
    struct disk_file *file;
    const char *path; /* SQLite keeps it alive while the file is open */
    bool sync_dir;    /* made by us: its name is not durable yet */
    bool delete_on_close;
};

static struct db_file *db_file_of(sqlite3_file *f)
{
    return (struct db_file *)f;
}

static struct db_vfs *db_vfs_of(sqlite3_vfs *v)
{
    return (struct db_vfs *)v;
}

static int db_vfs_code(struct db_vfs *v, int code, int otherwise)
{
    v->last_error = code;
    return code == ERR_DISK_FULL ? SQLITE_FULL : code == ERR_NOMEM ? SQLITE_IOERR_NOMEM : otherwise;
}

static int db_vfs_sync_dir(struct db_vfs *v, const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO(mem_freep)
    char *dir = slash == NULL ? mem_strdup(".") : mem_strndup(path, (size_t)(slash - path));
    int code = v->disk->sync_dir(v->disk, dir, NULL);
    return code == 0 ? SQLITE_OK : db_vfs_code(v, code, SQLITE_IOERR_DIR_FSYNC);
}

static int db_file_close(sqlite3_file *sf)
{
    struct db_file *f = db_file_of(sf);
    f->vfs->disk->close(f->file);
    if (f->delete_on_close)
        f->vfs->disk->unlink(f->vfs->disk, f->path, NULL);
    return SQLITE_OK;
}

static int db_file_read(sqlite3_file *sf, void *p, int n, sqlite3_int64 at)
{
    struct db_file *f = db_file_of(sf);
    int64_t got = f->vfs->disk->read(f->file, p, (size_t)n, (uint64_t)at, NULL);
    if (got < 0)
        return db_vfs_code(f->vfs, (int)got, SQLITE_IOERR_READ);
    if (got == n)
        return SQLITE_OK;
    memset((char *)p + got, 0, (size_t)(n - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int db_file_write(sqlite3_file *sf, const void *p, int n, sqlite3_int64 at)
{
    struct db_file *f = db_file_of(sf);
    int code = f->vfs->disk->write(f->file, p, (size_t)n, (uint64_t)at, NULL);
    return code == 0 ? SQLITE_OK : db_vfs_code(f->vfs, code, SQLITE_IOERR_WRITE);
}

static int db_file_truncate(sqlite3_file *sf, sqlite3_int64 size)
{
    struct db_file *f = db_file_of(sf);
    int code = f->vfs->disk->truncate(f->file, (uint64_t)size, NULL);
    return code == 0 ? SQLITE_OK : db_vfs_code(f->vfs, code, SQLITE_IOERR_TRUNCATE);
}

static int db_file_sync(sqlite3_file *sf, int flags)
{
    (void)flags;
    struct db_file *f = db_file_of(sf);
    int code = f->vfs->disk->sync(f->file, NULL);
    if (code != 0)
        return db_vfs_code(f->vfs, code, SQLITE_IOERR_FSYNC);
    if (!f->sync_dir)
        return SQLITE_OK;
    int rc = db_vfs_sync_dir(f->vfs, f->path);
    f->sync_dir = rc != SQLITE_OK;
    return rc;
}

static int db_file_size(sqlite3_file *sf, sqlite3_int64 *out)
{
    struct db_file *f = db_file_of(sf);
    int64_t size = f->vfs->disk->size(f->file, NULL);
    if (size < 0)
        return db_vfs_code(f->vfs, (int)size, SQLITE_IOERR_FSTAT);
    *out = size;
    return SQLITE_OK;
}

/* One process, one connection: there is nobody to lock out. */
static int db_file_lock(sqlite3_file *sf, int level)
{
    (void)sf, (void)level;
    return SQLITE_OK;
}

static int db_file_reserved(sqlite3_file *sf, int *out)
{
    (void)sf;
    *out = 0;
    return SQLITE_OK;
}

static int db_file_control(sqlite3_file *sf, int op, void *arg)
{
    (void)sf, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int db_file_sector(sqlite3_file *sf)
{
    (void)sf;
    return DB_VFS_SECTOR;
}

/* As the system's VFS has it: a torn write spoils no byte that it did not touch. */
static int db_file_traits(sqlite3_file *sf)
{
    (void)sf;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* Version 1: without the shared memory calls of version 2, hence only in exclusive locking mode. */
static const sqlite3_io_methods db_file_methods = {
    .iVersion = 1,
    .xClose = db_file_close,
    .xRead = db_file_read,
    .xWrite = db_file_write,
    .xTruncate = db_file_truncate,
    .xSync = db_file_sync,
    .xFileSize = db_file_size,
    .xLock = db_file_lock,
    .xUnlock = db_file_lock,
    .xCheckReservedLock = db_file_reserved,
    .xFileControl = db_file_control,
    .xSectorSize = db_file_sector,
    .xDeviceCharacteristics = db_file_traits,
};

static int db_vfs_exists(struct db_vfs *v, const char *path, bool *out)
{
    struct disk_file *f;
    int code = v->disk->open(v->disk, path, DISK_READ, &f, NULL);
    *out = code == 0;
    if (code == 0)
        v->disk->close(f);
    return code == 0 || code == ERR_NOT_FOUND ? SQLITE_OK
                                              : db_vfs_code(v, code, SQLITE_IOERR_ACCESS);
}

static int db_vfs_open(sqlite3_vfs *sv, const char *path, sqlite3_file *sf, int flags, int *got)
{
    struct db_vfs *v = db_vfs_of(sv);
    struct db_file *f = db_file_of(sf);
    *f = (struct db_file){.vfs = v, .path = path};
    if (path == NULL) /* temporary files live in memory: temp_store */
        return SQLITE_CANTOPEN;
    bool present = true;
    int how = DISK_READ;
    if (flags & SQLITE_OPEN_READWRITE)
        how |= DISK_WRITE;
    if (flags & SQLITE_OPEN_CREATE) {
        how |= DISK_CREATE;
        int rc = db_vfs_exists(v, path, &present);
        if (rc != SQLITE_OK)
            return rc;
    }
    int code = v->disk->open(v->disk, path, how, &f->file, NULL);
    if (code != 0)
        return db_vfs_code(v, code, SQLITE_CANTOPEN);
    /* As the system's VFS does: journals sync their folder with themselves, the database leaves it
     * to them. */
    f->sync_dir = !present && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    f->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    f->base.pMethods = &db_file_methods;
    if (got != NULL)
        *got = flags;
    return SQLITE_OK;
}

static int db_vfs_delete(sqlite3_vfs *sv, const char *path, int sync_dir)
{
    struct db_vfs *v = db_vfs_of(sv);
    int code = v->disk->unlink(v->disk, path, NULL);
    if (code == ERR_NOT_FOUND)
        return SQLITE_IOERR_DELETE_NOENT;
    if (code != 0)
        return db_vfs_code(v, code, SQLITE_IOERR_DELETE);
    return sync_dir ? db_vfs_sync_dir(v, path) : SQLITE_OK;
}

static int db_vfs_access(sqlite3_vfs *sv, const char *path, int how, int *out)
{
    (void)how;
    bool present = false;
    int rc = db_vfs_exists(db_vfs_of(sv), path, &present);
    *out = present;
    return rc;
}

static int db_vfs_full_path(sqlite3_vfs *sv, const char *path, int n, char *out)
{
    (void)sv;
    if (strlen(path) >= (size_t)n)
        return SQLITE_CANTOPEN;
    memcpy(out, path, strlen(path) + 1);
    return SQLITE_OK;
}

/* No clock and no chance: nothing that we let SQLite do may depend on either. */
static int db_vfs_random(sqlite3_vfs *sv, int n, char *out)
{
    (void)sv;
    memset(out, 0x5a, (size_t)n);
    return n;
}

static int db_vfs_sleep(sqlite3_vfs *sv, int us)
{
    (void)sv;
    return us;
}

static int db_vfs_now(sqlite3_vfs *sv, double *out)
{
    (void)sv;
    *out = 2460000.5;
    return SQLITE_OK;
}

static int db_vfs_last_error(sqlite3_vfs *sv, int n, char *out)
{
    (void)n, (void)out;
    return db_vfs_of(sv)->last_error;
}

int db_vfs_register(const char *name, struct disk *disk, struct err *e)
{
    if (sqlite3_vfs_find(name) != NULL)
        return err_set(e, ERR_CONFLICT, "a VFS named %s is registered already", name);
    struct db_vfs *v = mem_new(sizeof(*v));
    v->disk = disk;
    v->base = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct db_file),
        .mxPathname = DB_VFS_PATH_MAX,
        .zName = mem_strdup(name),
        .xOpen = db_vfs_open,
        .xDelete = db_vfs_delete,
        .xAccess = db_vfs_access,
        .xFullPathname = db_vfs_full_path,
        .xRandomness = db_vfs_random,
        .xSleep = db_vfs_sleep,
        .xCurrentTime = db_vfs_now,
        .xGetLastError = db_vfs_last_error,
    };
    int code = sqlite3_vfs_register(&v->base, 0);
    if (code != SQLITE_OK) {
        mem_free((void *)v->base.zName);
        mem_free(v);
        return db_fail(NULL, code, "register VFS", e);
    }
    return 0;
}

void db_vfs_unregister(const char *name)
{
    sqlite3_vfs *v = sqlite3_vfs_find(name);
    if (v == NULL)
        return;
    ASSERT(v->xOpen == db_vfs_open);
    sqlite3_vfs_unregister(v);
    mem_free((void *)v->zName);
    mem_free(db_vfs_of(v));
}
