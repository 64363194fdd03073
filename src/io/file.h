/* File - small blocking helpers for the time before the loops run and for the command line.
 *
 * Not for what the simulator must see: that goes through io/world.h. All of them block. Errors name
 * the path and the way out: a full disk, a read-only file system, a missing permission. */
#ifndef KOAN_IO_FILE_H
#define KOAN_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* All of `path`, at most `max` bytes, with a NUL behind it. On success the caller owns `*out`
 * (mem_free) and `*n` (may be NULL) is the length; on failure both are untouched. ERR_NOT_FOUND,
 * ERR_TOO_LARGE, or what file_error says. */
int file_read(const char *path, size_t max, char **out, size_t *n, struct err *e);

/* The file has the old content or the new, whatever happens: written beside it, synced, renamed,
 * folder synced. `mode` as for open(2): 0600 for secrets. */
int file_write(const char *path, const void *p, size_t n, int mode, struct err *e);

/* The folder and all above it; present already is success. New ones get 0750. */
int file_mkdirs(const char *path, struct err *e);
bool file_exists(const char *path);
bool file_is_dir(const char *path);

/* Hold `path` for this process by flock, with our process id inside for people. The lock goes with
 * the process, however it ends. ERR_CONFLICT names the process that holds it. Returns a handle >= 0
 * for file_unlock. */
int file_lock(const char *path, struct err *e);
void file_unlock(int handle);

/* The words for an errno: "PATH: cannot VERB: the disk is full; free some space". Returns the code:
 * ERR_DISK_FULL, ERR_NOT_FOUND, ERR_CONFLICT (exists), ERR_NOMEM, else ERR_IO. */
int file_error(struct err *e, int errnum, const char *verb, const char *path);

#endif
