/* The world of a loop: this machine's clocks, its random bytes, timers in a heap under one libuv
 * timer, and a log thread for calls that wait for the disk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop_priv.h"

static struct loop *world_loop(struct world *w)
{
    return (struct loop *)w;
}

static int64_t world_wall_ms(struct world *w)
{
    (void)w;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t world_mono_ns(struct world *w)
{
    (void)w;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t world_cpu_ns(struct world *w)
{
    (void)w;
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void world_random(struct world *w, void *p, size_t n)
{
    (void)w;
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            PANIC("getrandom: %s", strerror(errno));
        at += got;
        n -= (size_t)got;
    }
}

static void world_die(struct world *w, const char *why)
{
    (void)w;
    log_error("io", "stopping at once: %s", why);
    _exit(1); /* no destructors: nothing may be written any more */
}

/* ---- timers: a binary heap by (due, order of start) ---- */

struct loop_timer {
    uint64_t due_ns, seq;
    size_t at;
    struct world_timer *t;
};

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void timer_place(struct loop *l, size_t at, struct loop_timer *n)
{
    l->heap[at] = n;
    n->at = at;
}

static void timer_up(struct loop *l, struct loop_timer *n)
{
    size_t at = n->at;
    while (at > 0 && timer_before(n, l->heap[(at - 1) / 2])) {
        timer_place(l, at, l->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    timer_place(l, at, n);
}

static void timer_down(struct loop *l, struct loop_timer *n)
{
    size_t at = n->at;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= l->heap_len)
            break;
        if (child + 1 < l->heap_len && timer_before(l->heap[child + 1], l->heap[child]))
            child++;
        if (!timer_before(l->heap[child], n))
            break;
        timer_place(l, at, l->heap[child]);
        at = child;
    }
    timer_place(l, at, n);
}

static void timer_remove(struct loop *l, struct loop_timer *n)
{
    struct loop_timer *last = l->heap[--l->heap_len];
    if (last != n) {
        timer_place(l, n->at, last);
        timer_up(l, last);
        timer_down(l, last);
    }
    n->t->impl = NULL;
    mem_free(n);
}

static void timer_arm(struct loop *l)
{
    if (l->heap_len == 0) {
        uv_timer_stop(&l->timer);
        return;
    }
    uint64_t now = world_mono_ns(NULL), due = l->heap[0]->due_ns;
    uint64_t ms = due > now ? (due - now + 999999) / 1000000 : 0;
    uv_update_time(&l->uv); /* libuv counts from its cached time */
    uv_timer_start(&l->timer, loop_timer_cb, ms, 0);
}

void loop_timer_cb(uv_timer_t *handle)
{
    struct loop *l = handle->data;
    uint64_t now = world_mono_ns(NULL), seq_end = l->timer_seq;
    /* A timer that is restarted with delay 0 from its own callback waits for the next turn. */
    while (l->heap_len > 0 && l->heap[0]->due_ns <= now && l->heap[0]->seq < seq_end) {
        struct world_timer *t = l->heap[0]->t;
        timer_remove(l, l->heap[0]);
        t->fire(t);
    }
    timer_arm(l);
}

static void world_timer_stop(struct world *w, struct world_timer *t)
{
    struct loop *l = world_loop(w);
    struct loop_timer *n = t->impl;
    if (n == NULL)
        return;
    timer_remove(l, n);
    if (l->heap_len == 0)
        uv_timer_stop(&l->timer);
}

static void world_timer_start(struct world *w, struct world_timer *t, uint64_t delay_ms)
{
    struct loop *l = world_loop(w);
    world_timer_stop(w, t);
    if (l->heap_len == l->heap_cap) {
        size_t cap = l->heap_cap > 0 ? 2 * l->heap_cap : 16;
        struct loop_timer **heap = mem_try_resize(l->heap, cap * sizeof *heap);
        if (heap == NULL)
            PANIC("out of memory for %zu timers", cap);
        l->heap = heap;
        l->heap_cap = cap;
    }
    struct loop_timer *n = mem_new(sizeof *n);
    n->t = t;
    n->due_ns = world_mono_ns(w) + delay_ms * 1000000;
    n->seq = l->timer_seq++;
    n->at = l->heap_len++;
    t->impl = n;
    timer_up(l, n);
    if (l->heap[0] == n)
        timer_arm(l);
}

/* ---- the log thread ---- */

static void offload_finish(struct task *task)
{
    struct offload *o = (struct offload *)((char *)task - offsetof(struct offload, task));
    struct loop *l = o->impl;
    l->log.pending--;
    o->done(o);
}

static struct offload *offload_take(struct loop_log *log)
{
    pthread_mutex_lock(&log->lock);
    while (log->head == NULL && !log->stop)
        pthread_cond_wait(&log->wake, &log->lock);
    struct offload *o = log->head;
    if (o != NULL) {
        log->head = (struct offload *)o->task.next;
        if (log->head == NULL)
            log->tail = NULL;
    }
    pthread_mutex_unlock(&log->lock);
    return o;
}

static void *offload_thread(void *arg)
{
    struct loop *l = arg;
    char name[LOOP_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.11s-log", l->name);
    pthread_setname_np(pthread_self(), name);
    struct offload *o;
    while ((o = offload_take(&l->log)) != NULL) {
        o->work(o);
        o->task.run = offload_finish;
        runner_post(&l->runner, &o->task);
    }
    return NULL;
}

static void world_offload(struct world *w, struct offload *o)
{
    struct loop *l = world_loop(w);
    struct loop_log *log = &l->log;
    if (!log->started) {
        int rc = pthread_create(&log->thread, NULL, offload_thread, l);
        if (rc != 0)
            PANIC("log thread of %s: %s", l->name, strerror(rc));
        log->started = true;
    }
    o->impl = l;
    o->task.next = NULL;
    log->pending++;
    pthread_mutex_lock(&log->lock);
    if (log->tail != NULL)
        log->tail->task.next = &o->task;
    else
        log->head = o;
    log->tail = o;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

/* ---- life ---- */

/* The queue above links offloads through their task, which therefore comes first. */
_Static_assert(offsetof(struct offload, task) == 0, "offload starts with its task");

void loop_world_init(struct loop *l)
{
    l->world = (struct world){
        .wall_ms = world_wall_ms,
        .mono_ns = world_mono_ns,
        .cpu_ns = world_cpu_ns,
        .random = world_random,
        .timer_start = world_timer_start,
        .timer_stop = world_timer_stop,
        .offload = world_offload,
        .die = world_die,
        .disk = disk_real(),
        .runner = &l->runner,
    };
    pthread_mutex_init(&l->log.lock, NULL);
    pthread_cond_init(&l->log.wake, NULL);
}

void loop_world_fini(struct loop *l)
{
    ASSERT(l->heap_len == 0); /* a timer still runs: its owner forgot to stop it */
    if (l->log.started) {
        pthread_mutex_lock(&l->log.lock);
        l->log.stop = true;
        pthread_cond_signal(&l->log.wake);
        pthread_mutex_unlock(&l->log.lock);
        pthread_join(l->log.thread, NULL);
    }
    pthread_cond_destroy(&l->log.wake);
    pthread_mutex_destroy(&l->log.lock);
    mem_free(l->heap);
}
