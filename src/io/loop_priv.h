/* What loop.c and world_real.c share. A loop and its world are one object seen from two sides. */
#ifndef KOAN_IO_LOOP_PRIV_H
#define KOAN_IO_LOOP_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "io/loop.h"
#include "io/world.h"

enum { LOOP_NAME_MAX = 15 };

struct loop_timer;

/* The log thread: started by the first offload, so a loop that never offloads costs no thread. */
struct loop_log {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct offload *head, *tail; /* under lock */
    bool stop;                   /* under lock */
    bool started;
    size_t pending; /* loop thread only: handed over and not yet done */
    pthread_t thread;
};

struct loop_signal_handle {
    uv_signal_t uv;
    loop_signal_cb *cb;
    void *arg;
    struct loop_signal_handle *next;
};

struct loop {
    struct world world;   /* first: world_* functions cast back */
    struct runner runner; /* runner_post casts back with offsetof */
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_idle_t idle; /* active only while the next turn is to come without sleeping */
    uv_timer_t beat;
    uv_timer_t timer; /* drives the heap */

    _Atomic(struct task *) posted; /* newest first */
    _Atomic bool stopping;
    _Atomic bool asleep; /* or about to be: who posts must wake it */
    uint64_t events;     /* that libuv has counted by the last turn */
    uint64_t idle_ns;    /* since then there was nothing to do */
    int short_waits;     /* points: up for short waits, down for long ones; below 0: neighbours */
    int busy_waits;      /* how far below at the next sight of one */
    int calm_waits;      /* since the last */
    _Atomic uint64_t turned_ns;
    _Atomic uint64_t owner; /* pthread_self() of who runs it, 0 when nobody does */
    bool threaded;
    pthread_t thread;
    char name[LOOP_NAME_MAX + 1];

    struct loop_hook hooks; /* list head */
    struct loop_hook *hook_next;
    struct loop_signal_handle *signals;

    struct loop_timer **heap;
    size_t heap_len, heap_cap;
    uint64_t timer_seq;
    struct loop_log log;
};

void loop_world_init(struct loop *l);
void loop_world_fini(struct loop *l);
/* The heap's first timer changed: tell libuv. */
void loop_timer_cb(uv_timer_t *handle);

#endif
