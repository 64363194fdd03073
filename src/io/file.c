#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

static void file_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Up to `max` bytes from the descriptor's place on. The count, or -1 with errno. */
static ssize_t file_fill(int fd, char *p, size_t max)
{
    size_t n = 0;
    while (n < max) {
        ssize_t r = read(fd, p + n, max - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

int file_read(const char *path, size_t max, char **out, size_t *n, struct err *e)
{
    AUTO(file_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return file_error(e, errno, "open", path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s: is a folder, a file was expected", path);
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
        return err_set(e, ERR_TOO_LARGE, "%s: larger than %zu bytes", path, max);
    /* Pipes and /proc tell no size: read up to the bound, then give back what was too much. */
    size_t cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 1 : max + 1;
    AUTO(mem_freep) char *text = mem_try(cap + 1);
    if (text == NULL)
        return err_set(e, ERR_NOMEM, "%s: no memory for %zu bytes", path, cap);
    ssize_t got = file_fill(fd, text, cap);
    if (got < 0)
        return file_error(e, errno, "read", path);
    if ((size_t)got > max)
        return err_set(e, ERR_TOO_LARGE, "%s: larger than %zu bytes", path, max);
    text[got] = '\0';
    char *fit = mem_try_resize(text, (size_t)got + 1);
    if (fit != NULL)
        text = fit;
    *out = TAKE(text);
    if (n != NULL)
        *n = (size_t)got;
    return 0;
}

static int file_sync_parent(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    AUTO(mem_freep)
    char *dir = slash == NULL   ? mem_strdup(".")
                : slash == path ? mem_strdup("/")
                                : mem_strndup(path, (size_t)(slash - path));
    AUTO(file_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return file_error(e, errno, "sync", dir);
    return 0;
}

static int file_put(int fd, const char *path, const char *p, size_t n, struct err *e)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return file_error(e, errno, "write", path);
        p += r;
        n -= (size_t)r;
    }
    return fsync(fd) == 0 ? 0 : file_error(e, errno, "sync", path);
}

int file_write(const char *path, const void *p, size_t n, int mode, struct err *e)
{
    AUTO(mem_freep) char *tmp = mem_printf("%s.%d.tmp", path, (int)getpid());
    int rc;
    {
        AUTO(file_closep)
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
        if (fd < 0)
            return file_error(e, errno, "write", tmp);
        rc = file_put(fd, tmp, p, n, e);
    }
    if (rc == 0 && rename(tmp, path) != 0)
        rc = file_error(e, errno, "replace", path);
    if (rc != 0) {
        unlink(tmp);
        return rc;
    }
    return file_sync_parent(path, e);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int file_mkdir_one(const char *path, struct err *e)
{
    if (mkdir(path, 0750) == 0)
        return file_sync_parent(path, e);
    int errnum = errno;
    if (file_is_dir(path)) /* present, also on a read-only file system */
        return 0;
    if (errnum == EEXIST || errnum == ENOTDIR)
        return err_set(e, ERR_CONFLICT, "%s: cannot make the folder: a file is in the way", path);
    return file_error(e, errnum, "make the folder", path);
}

int file_mkdirs(const char *path, struct err *e)
{
    AUTO(mem_freep) char *copy = mem_strdup(path);
    for (char *s = copy + 1; *copy != '\0' && (s = strchr(s, '/')) != NULL; s++) {
        *s = '\0';
        int rc = file_mkdir_one(copy, e);
        *s = '/';
        if (rc != 0)
            return rc;
    }
    return file_mkdir_one(copy, e);
}

static long file_lock_holder(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

int file_lock(const char *path, struct err *e)
{
    AUTO(file_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return file_error(e, errno, "open the lock", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            return file_error(e, errno, "lock", path);
        return err_set(e, ERR_CONFLICT,
                       "%s: process %ld already uses this data directory; stop it or choose "
                       "another directory",
                       path, file_lock_holder(fd));
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return file_error(e, errno, "write the lock", path);
    int handle = fd;
    fd = -1;
    return handle;
}

void file_unlock(int handle)
{
    if (handle >= 0)
        close(handle); /* the file stays: removing it would race with the next holder */
}
