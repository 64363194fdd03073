/* World - clock, randomness, disk and a place to run tasks, as one table.
 *
 * Whatever must behave the same under the simulator (the ledger and all below it) reaches the
 * machine only through a `struct world`. The real one belongs to a loop (loop_world() in
 * io/loop.h); the simulated one lives in tests/sim and has a virtual clock, a seeded generator and
 * a disk that loses and tears what was not synced.
 *
 * A world belongs to one thread: its timers fire there, its tasks run there. Only runner_post() may
 * be called from any thread. Network is not here yet: it comes with peers.
 *
 * Disk calls block. Whoever must not block hands them to world_offload(), which runs them on the
 * log thread. */
#ifndef KOAN_IO_WORLD_H
#define KOAN_IO_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* A piece of work for a runner: part of the caller's struct, no allocation. It may be posted again
 * from within run(). */
struct task {
    struct task *next;
    void (*run)(struct task *t);
};

/* A place that runs tasks one after the other, in the order posted. post() is safe from any thread
 * and never fails; a task that is posted while the runner works through its queue runs after all
 * that were posted before it. */
struct runner {
    void (*post)(struct runner *r, struct task *t);
};
void runner_post(struct runner *r, struct task *t);

/* A timer: part of the caller's struct, zeroed before first use. One-shot. */
struct world_timer {
    void (*fire)(struct world_timer *t);
    void *impl; /* the world's own */
};

/* Work that leaves the thread: work() runs on the log thread, then done() on the world's own. One
 * at a time per struct, FIFO. */
struct offload {
    struct task task;
    void (*work)(struct offload *o);
    void (*done)(struct offload *o);
    void *impl;
};

struct disk_file;

enum disk_open { DISK_READ = 1, DISK_WRITE = 2, DISK_CREATE = 4, DISK_EXCLUSIVE = 8 };

/* Every function returns 0 (or a count) or a code of base/err.h with a message that names the path.
 * Paths are complete. */
struct disk {
    int (*open)(struct disk *d, const char *path, int flags, struct disk_file **out, struct err *e);
    void (*close)(struct disk_file *f);
    /* Bytes read, fewer only at the end of the file. */
    int64_t (*read)(struct disk_file *f, void *p, size_t n, uint64_t at, struct err *e);
    /* All of it, or an error. ERR_DISK_FULL is one a caller may wait out; anything else may have
     * written a part. */
    int (*write)(struct disk_file *f, const void *p, size_t n, uint64_t at, struct err *e);
    /* Contents (and size, if it changed) are on stable storage. After a failure the file must never
     * be trusted again. */
    int (*sync)(struct disk_file *f, struct err *e);
    /* Let the device begin with these bytes while the caller does something else. A hint: it says
     * nothing about success, a failure of the device is reported by the sync() that must follow. */
    void (*sync_soon)(struct disk_file *f, uint64_t at, size_t n);
    int (*truncate)(struct disk_file *f, uint64_t size, struct err *e);
    int64_t (*size)(struct disk_file *f, struct err *e);

    int (*rename)(struct disk *d, const char *from, const char *to, struct err *e);
    int (*unlink)(struct disk *d, const char *path, struct err *e);
    int (*mkdir)(struct disk *d, const char *path, struct err *e); /* present already is success */
    /* Names in the folder are on stable storage: after create, rename, unlink. */
    int (*sync_dir)(struct disk *d, const char *path, struct err *e);
    /* Calls `each` for every name but "." and "..", in no order. Stops and returns what it returns
     * if not 0. */
    int (*list)(struct disk *d, const char *path, int (*each)(void *arg, const char *name),
                void *arg, struct err *e);
    /* Bytes free for us and in all, of the file system that holds `path`. */
    int (*space)(struct disk *d, const char *path, uint64_t *free, uint64_t *total, struct err *e);
};

struct world {
    /* Milliseconds since 1970 UTC; may jump either way. */
    int64_t (*wall_ms)(struct world *w);
    /* Nanoseconds of a clock that only grows, for durations. */
    uint64_t (*mono_ns)(struct world *w);
    /* Processor time of the calling thread: it stands still while the machine is busy elsewhere.
     * NULL where time passes only between tasks. */
    uint64_t (*cpu_ns)(struct world *w);
    void (*random)(struct world *w, void *p, size_t n);
    void (*timer_start)(struct world *w, struct world_timer *t, uint64_t delay_ms); /* restarts */
    void (*timer_stop)(struct world *w, struct world_timer *t); /* stopping an idle one is fine */
    void (*offload)(struct world *w, struct offload *o);
    /* What must not go on does not: a sync failed, state diverged. The real one logs, exits with
     * status 1 and never returns; the simulated one marks the node dead, and returns: the caller
     * must then return without answering anybody. */
    void (*die)(struct world *w, const char *why);
    struct disk *disk;
    struct runner *runner; /* this world's own thread */
};

/* The disk of this machine. Also names failures plainly: read-only folder, full disk, no
 * permission. */
struct disk *disk_real(void);

#endif
