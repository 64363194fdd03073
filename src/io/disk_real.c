/* The disk of this machine: POSIX calls, with failures in words that say what to do. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/world.h"

struct disk_file {
    int fd;
    char *path; /* for messages */
};

int file_error(struct err *e, int errnum, const char *verb, const char *path)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return err_set(e, ERR_DISK_FULL, "%s: cannot %s: the disk is full; free some space", path,
                       verb);
    case EROFS:
        return err_set(e, ERR_IO,
                       "%s: cannot %s: the file system is read-only; mount it writable or choose "
                       "another folder",
                       path, verb);
    case EACCES:
    case EPERM:
        return err_set(e, ERR_IO,
                       "%s: cannot %s: no permission; run as its owner or change owner and mode",
                       path, verb);
    case ENOENT:
        return err_set(e, ERR_NOT_FOUND, "%s: cannot %s: no such file or folder", path, verb);
    case EEXIST:
        return err_set(e, ERR_CONFLICT, "%s: cannot %s: it exists already", path, verb);
    case EMFILE:
    case ENFILE:
        return err_set(e, ERR_IO, "%s: cannot %s: too many open files; raise the limit (ulimit -n)",
                       path, verb);
    case EIO:
        return err_set(e, ERR_IO, "%s: cannot %s: input/output error; the disk may be failing",
                       path, verb);
    case ENOMEM:
        return err_set(e, ERR_NOMEM, "%s: cannot %s: out of memory", path, verb);
    default:
        return err_set(e, ERR_IO, "%s: cannot %s: %s", path, verb, strerror(errnum));
    }
}

static int disk_open(struct disk *d, const char *path, int flags, struct disk_file **out,
                     struct err *e)
{
    (void)d;
    int mode = (flags & DISK_WRITE) ? O_RDWR : O_RDONLY;
    if (flags & DISK_CREATE)
        mode |= O_CREAT;
    if (flags & DISK_EXCLUSIVE)
        mode |= O_CREAT | O_EXCL;
    int fd = open(path, mode | O_CLOEXEC, 0640);
    if (fd < 0)
        return file_error(e, errno, (flags & DISK_WRITE) ? "open for writing" : "open", path);
    struct disk_file *f = mem_new(sizeof *f);
    f->fd = fd;
    f->path = mem_strdup(path);
    *out = f;
    return 0;
}

static void disk_close(struct disk_file *f)
{
    if (f == NULL)
        return;
    close(f->fd);
    mem_free(f->path);
    mem_free(f);
}

static int64_t disk_read(struct disk_file *f, void *p, size_t n, uint64_t at, struct err *e)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(f->fd, (char *)p + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return file_error(e, errno, "read", f->path);
        if (r == 0)
            break;
        got += (size_t)r;
    }
    return (int64_t)got;
}

static int disk_write(struct disk_file *f, const void *p, size_t n, uint64_t at, struct err *e)
{
    size_t put = 0;
    while (put < n) {
        ssize_t r = pwrite(f->fd, (const char *)p + put, n - put, (off_t)(at + put));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return file_error(e, errno, "write", f->path);
        put += (size_t)r;
    }
    return 0;
}

static int disk_sync(struct disk_file *f, struct err *e)
{
    /* Not repeated on EINTR or anything else: after a failed sync the kernel may call pages clean
     * that never reached the disk. */
    return fdatasync(f->fd) == 0 ? 0 : file_error(e, errno, "sync", f->path);
}

/* Starts the write and does not wait; unlike with the waiting flags an error stays with the file
 * until fdatasync asks. */
static void disk_sync_soon(struct disk_file *f, uint64_t at, size_t n)
{
    sync_file_range(f->fd, (off64_t)at, (off64_t)n, SYNC_FILE_RANGE_WRITE);
}

static int disk_truncate(struct disk_file *f, uint64_t size, struct err *e)
{
    int rc;
    do
        rc = ftruncate(f->fd, (off_t)size);
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : file_error(e, errno, "change the size", f->path);
}

static int64_t disk_size(struct disk_file *f, struct err *e)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return file_error(e, errno, "get the size", f->path);
    return st.st_size;
}

static int disk_rename(struct disk *d, const char *from, const char *to, struct err *e)
{
    (void)d;
    if (rename(from, to) == 0)
        return 0;
    int rc = file_error(e, errno, "rename", from);
    return rc;
}

static int disk_unlink(struct disk *d, const char *path, struct err *e)
{
    (void)d;
    return unlink(path) == 0 ? 0 : file_error(e, errno, "remove", path);
}

static int disk_mkdir(struct disk *d, const char *path, struct err *e)
{
    (void)d;
    if (mkdir(path, 0750) == 0)
        return 0;
    int errnum = errno;
    struct stat st;
    if (errnum == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return 0;
        return err_set(e, ERR_CONFLICT, "%s: exists, but is not a folder", path);
    }
    return file_error(e, errnum, "make the folder", path);
}

static int disk_sync_dir(struct disk *d, const char *path, struct err *e)
{
    (void)d;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return file_error(e, errno, "open", path);
    int rc = fsync(fd) == 0 ? 0 : file_error(e, errno, "sync", path);
    close(fd);
    return rc;
}

static int disk_list(struct disk *d, const char *path, int (*each)(void *arg, const char *name),
                     void *arg, struct err *e)
{
    (void)d;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return file_error(e, errno, "list", path);
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(arg, entry->d_name);
    }
    if (rc == 0 && errno != 0)
        rc = file_error(e, errno, "list", path);
    closedir(dir);
    return rc;
}

static int disk_space(struct disk *d, const char *path, uint64_t *free_bytes, uint64_t *total,
                      struct err *e)
{
    (void)d;
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return file_error(e, errno, "get the free space", path);
    *free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    *total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

struct disk *disk_real(void)
{
    static const struct disk table = {
        .open = disk_open,
        .close = disk_close,
        .read = disk_read,
        .write = disk_write,
        .sync = disk_sync,
        .sync_soon = disk_sync_soon,
        .truncate = disk_truncate,
        .size = disk_size,
        .rename = disk_rename,
        .unlink = disk_unlink,
        .mkdir = disk_mkdir,
        .sync_dir = disk_sync_dir,
        .list = disk_list,
        .space = disk_space,
    };
    return (struct disk *)&table; /* a table of functions: nobody writes to it */
}
