/* Loop - an event loop on a thread of its own: libuv behind a small door.
 *
 * A loop owns a queue of posted tasks (lock-free push, one wake-up for any number of posts),
 * timers, and a `struct world` whose tasks and timers run on it. Threads talk only by posting to
 * each other's loop; nothing is shared, no lock is held across.
 *
 * One turn: run what the kernel reported, then all tasks that had been posted, then the end-of-turn
 * hooks (the HTTP server uses one to write all answers of a turn with one system call per
 * connection).
 *
 * A loop that finds nothing to do sleeps, and to be woken costs 20 to 80 us on a virtual machine.
 * So one whose waits have mostly been over within 500 us looks about that long before it sleeps,
 * giving way to any other thread that wants the core; who posts to it then need not wake it. A lone
 * writer's save passes three loops, so this is half of what it takes beside the disk. A loop with
 * less than about two thousand events a second does not do it, and an idle one uses no time.
 *
 * Threads ask for a 100 us scheduler slice where the kernel has it (Linux 6.12): with busy
 * neighbours it cuts the wake-up delay by an order of magnitude. Failure to get one is not an
 * error. */
#ifndef KOAN_IO_LOOP_H
#define KOAN_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct loop;
struct task;
struct runner;
struct world;

/* `name` is the thread's name, at most 15 bytes. */
int loop_new(const char *name, struct loop **out, struct err *e);
/* The loop must not be running. All handles must have been closed: asserts that the loop is empty.
 */
void loop_free(struct loop *l);
/* Run on the calling thread until loop_stop. */
void loop_run(struct loop *l);
/* Run on a thread of its own. */
int loop_start(struct loop *l, struct err *e);
/* Any thread. The loop finishes its turn, then loop_run returns. */
void loop_stop(struct loop *l);
/* Waits for the thread of loop_start. */
void loop_join(struct loop *l);
/* Run what is ready without waiting, once; for tests and for shutting down. Returns whether
 * anything is still active. */
bool loop_poll(struct loop *l);

struct runner *loop_runner(struct loop *l);
struct world *loop_world(struct loop *l);
/* The uv_loop_t, for other files of io/ and http/. */
void *loop_uv(struct loop *l);

/* Called at the end of every turn in which anything ran. Part of the caller's struct. */
struct loop_hook {
    struct loop_hook *prev, *next;
    void (*run)(struct loop_hook *h);
};
void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_remove(struct loop *l, struct loop_hook *h);

/* POSIX signals delivered as a callback on this loop. SIGPIPE is ignored process-wide by the first
 * loop. */
typedef void loop_signal_cb(void *arg, int signum);
int loop_signal(struct loop *l, int signum, loop_signal_cb *cb, void *arg, struct err *e);
void loop_signals_close(struct loop *l);

/* Runs work() on libuv's pool, then done() on the loop. For reads too long for a loop thread. */
struct loop_work {
    void (*work)(struct loop_work *w);
    void (*done)(struct loop_work *w);
    void *impl;
};
int loop_queue(struct loop *l, struct loop_work *w, struct err *e);

/* Seconds since this loop last finished a turn, from any thread: /livez asks all loops. A loop that
 * sleeps with nothing to do counts as turning (it is woken once a second). */
double loop_lag_s(struct loop *l);

#endif
