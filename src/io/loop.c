#include "io/loop.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop_priv.h"

enum {
    LOOP_SLICE_NS = 100 * 1000,
    LOOP_BEAT_MS = 1000,
    LOOP_LOOK_NS = 500 * 1000,  /* so long it looks about before it sleeps */
    LOOP_SHORT_WAITS = 8,       /* when its waits have been shorter than that: a point for each */
    LOOP_SHORT_MOST = 16,       /* so many points at most */
    LOOP_LONG_WAIT = 3,         /* points that a longer one costs */
    LOOP_YIELD_NS = 100 * 1000, /* who takes the core for longer needs it */
    LOOP_BUSY_FIRST = 16,       /* so many waits are slept through then, */
    LOOP_BUSY_MOST = 1024,      /* twice as many the next time, up to this, */
    LOOP_CALM_WAITS = 128,      /* half as many again after so many without that */
};

static uint64_t loop_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- tasks ---- */

/* Threads push onto a stack; the loop takes all of it at once and turns it round. Whoever finds the
 * stack empty and the loop asleep wakes it, so any number of posts costs at most one wake-up. The
 * loop says that it will sleep, then looks at the stack once more: one of both sides sees the
 * other. */
static void loop_post(struct runner *r, struct task *t)
{
    struct loop *l = (struct loop *)((char *)r - offsetof(struct loop, runner));
    struct task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);
    do
        t->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, t, memory_order_seq_cst,
                                                  memory_order_relaxed));
    if (head == NULL && atomic_load(&l->asleep) &&
        atomic_load(&l->owner) != (uint64_t)pthread_self())
        uv_async_send(&l->async);
}

void runner_post(struct runner *r, struct task *t)
{
    r->post(r, t);
}

static bool loop_run_tasks(struct loop *l)
{
    struct task *stack = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
    struct task *queue = NULL;
    bool any = stack != NULL;
    while (stack != NULL) {
        struct task *next = stack->next;
        stack->next = queue;
        queue = stack;
        stack = next;
    }
    while (queue != NULL) {
        struct task *t = queue;
        queue = t->next; /* read first: run() may post or free it */
        t->run(t);
    }
    return any;
}

/* ---- hooks ---- */

void loop_hook_add(struct loop *l, struct loop_hook *h)
{
    h->prev = l->hooks.prev;
    h->next = &l->hooks;
    h->prev->next = h;
    l->hooks.prev = h;
}

void loop_hook_remove(struct loop *l, struct loop_hook *h)
{
    if (l->hook_next == h)
        l->hook_next = h->next;
    h->prev->next = h->next;
    h->next->prev = h->prev;
    h->prev = h->next = h;
}

static void loop_run_hooks(struct loop *l)
{
    for (struct loop_hook *h = l->hooks.next; h != &l->hooks; h = l->hook_next) {
        l->hook_next = h->next;
        h->run(h);
    }
    l->hook_next = NULL;
}

/* ---- turning ---- */

static void loop_idle_cb(uv_idle_t *handle)
{
    (void)handle; /* its being active is the point: libuv polls without waiting */
}

static void loop_async_cb(uv_async_t *handle)
{
    (void)handle; /* loop_turn() runs before the next sleep anyway */
}

static void loop_beat_cb(uv_timer_t *handle)
{
    (void)handle;
}

static bool loop_had_events(struct loop *l)
{
    uv_metrics_t m;
    uv_metrics_info(&l->uv, &m);
    bool any = m.events != l->events;
    l->events = m.events;
    return any;
}

/* A turn that did something ends a wait and begins another. */
static void loop_waited(struct loop *l, uint64_t from, uint64_t to)
{
    bool soon = from - l->idle_ns < LOOP_LOOK_NS;
    if (soon || l->short_waits < 0)
        l->short_waits += l->short_waits < LOOP_SHORT_MOST;
    else
        l->short_waits -= l->short_waits < LOOP_LONG_WAIT ? l->short_waits : LOOP_LONG_WAIT;
    if (l->short_waits >= LOOP_SHORT_WAITS && ++l->calm_waits == LOOP_CALM_WAITS) {
        l->calm_waits = 0;
        l->busy_waits = l->busy_waits > LOOP_BUSY_FIRST ? l->busy_waits / 2 : LOOP_BUSY_FIRST;
    }
    l->idle_ns = to;
}

/* Look about a little longer instead of sleeping? Only while what came lately came soon, and only
 * on a core that nobody else wants. Now and then somebody does for a moment, a thread of the kernel
 * say; a neighbour who works is there again at the next look, and the one after. */
static bool loop_looks_about(struct loop *l)
{
    uint64_t now = loop_now_ns();
    if (l->short_waits < LOOP_SHORT_WAITS || now - l->idle_ns >= LOOP_LOOK_NS)
        return false;
    sched_yield();
    if (loop_now_ns() - now < LOOP_YIELD_NS)
        return true;
    l->short_waits = -l->busy_waits;
    l->calm_waits = 0;
    if (l->busy_waits < LOOP_BUSY_MOST)
        l->busy_waits *= 2;
    return false;
}

/* libuv runs prepare handles after I/O callbacks and timers and right before it sleeps: that is the
 * end of a turn. */
static void loop_turn(uv_prepare_t *handle)
{
    struct loop *l = handle->data;
    uint64_t began = loop_now_ns();
    atomic_store(&l->asleep, false);
    atomic_store_explicit(&l->turned_ns, began, memory_order_relaxed);
    bool did = loop_had_events(l);
    did |= loop_run_tasks(l);
    loop_run_hooks(l);
    if (atomic_load(&l->stopping))
        uv_stop(&l->uv);
    if (did)
        loop_waited(l, began, loop_now_ns());
    bool on = loop_looks_about(l);
    atomic_store(&l->asleep, !on);
    if (on || atomic_load(&l->posted) != NULL)
        uv_idle_start(&l->idle, loop_idle_cb);
    else
        uv_idle_stop(&l->idle);
}

/* Not in the libc we build with, hence the structure by hand (sched_setattr(2)). */
struct loop_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void loop_ask_for_short_slice(void)
{
#ifdef SYS_sched_setattr
    struct loop_sched_attr attr = {
        .size = sizeof attr, .policy = SCHED_OTHER, .runtime = LOOP_SLICE_NS};
    syscall(SYS_sched_setattr, 0, &attr, 0); /* older kernels refuse or ignore it: fine */
#endif
}

void loop_run(struct loop *l)
{
    ASSERT(atomic_load(&l->owner) == 0);
    atomic_store(&l->owner, (uint64_t)pthread_self());
    uv_ref((uv_handle_t *)&l->async); /* keeps uv_run going with nothing to do */
    if (!atomic_load(&l->stopping))
        uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_unref((uv_handle_t *)&l->async);
    atomic_store(&l->stopping, false);
    atomic_store(&l->owner, 0);
    atomic_store(&l->asleep, true);
    if (atomic_load(&l->posted) != NULL) /* whoever polls next must find them */
        uv_async_send(&l->async);
}

static void *loop_thread(void *arg)
{
    struct loop *l = arg;
    pthread_setname_np(pthread_self(), l->name);
    loop_ask_for_short_slice();
    loop_run(l);
    return NULL;
}

int loop_start(struct loop *l, struct err *e)
{
    ASSERT(!l->threaded);
    /* Signals belong to the thread that asked for them with loop_signal(); libuv's handler works on
     * any thread, so nothing needs to be blocked here. */
    int rc = pthread_create(&l->thread, NULL, loop_thread, l);
    if (rc != 0)
        return err_errno(e, rc, "thread %s", l->name);
    l->threaded = true;
    return 0;
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stopping, true);
    uv_async_send(&l->async);
}

void loop_join(struct loop *l)
{
    if (!l->threaded)
        return;
    pthread_join(l->thread, NULL);
    l->threaded = false;
}

bool loop_poll(struct loop *l)
{
    ASSERT(atomic_load(&l->owner) == 0);
    atomic_store(&l->owner, (uint64_t)pthread_self());
    uv_ref((uv_handle_t *)&l->async); /* or uv_run would not even look at timers */
    uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&l->async);
    /* What the poll reported may have posted: it belongs to this turn. */
    loop_run_tasks(l);
    loop_run_hooks(l);
    atomic_store(&l->owner, 0);
    /* Asked last: while the idle handle runs, tasks wait. */
    return uv_loop_alive(&l->uv) || l->heap_len > 0 || l->log.pending > 0 ||
           atomic_load(&l->posted) != NULL;
}

double loop_lag_s(struct loop *l)
{
    uint64_t turned = atomic_load_explicit(&l->turned_ns, memory_order_relaxed);
    uint64_t now = loop_now_ns();
    return now > turned ? (double)(now - turned) / 1e9 : 0;
}

/* ---- life ---- */

int loop_new(const char *name, struct loop **out, struct err *e)
{
    struct loop *l = mem_new(sizeof *l);
    snprintf(l->name, sizeof l->name, "%s", name);
    int rc = uv_loop_init(&l->uv);
    if (rc != 0) {
        mem_free(l);
        return err_errno(e, -rc, "event loop %s", name);
    }
    l->runner.post = loop_post;
    l->asleep = true;
    l->busy_waits = LOOP_BUSY_FIRST;
    l->hooks.prev = l->hooks.next = &l->hooks;
    l->turned_ns = loop_now_ns();
    rc = uv_async_init(&l->uv, &l->async, loop_async_cb);
    ASSERT(rc == 0); /* the only one that could fail is the first eventfd of a fresh loop */
    uv_prepare_init(&l->uv, &l->prepare);
    uv_idle_init(&l->uv, &l->idle);
    uv_timer_init(&l->uv, &l->beat);
    uv_timer_init(&l->uv, &l->timer);
    l->prepare.data = l->timer.data = l;
    uv_prepare_start(&l->prepare, loop_turn);
    uv_timer_start(&l->beat, loop_beat_cb, LOOP_BEAT_MS, LOOP_BEAT_MS);
    uv_unref((uv_handle_t *)&l->async);
    uv_unref((uv_handle_t *)&l->prepare);
    uv_unref((uv_handle_t *)&l->idle);
    uv_unref((uv_handle_t *)&l->beat);
    uv_unref((uv_handle_t *)&l->timer);
    loop_world_init(l);
    signal(SIGPIPE, SIG_IGN);
    *out = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    ASSERT(!l->threaded && atomic_load(&l->owner) == 0);
    loop_signals_close(l);
    while (l->log.pending > 0) /* done() of what was handed over runs, always */
        loop_poll(l);
    loop_world_fini(l);
    ASSERT(l->hooks.next == &l->hooks);
    ASSERT(atomic_load(&l->posted) == NULL);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->beat, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_run(&l->uv, UV_RUN_NOWAIT);
    int rc = uv_loop_close(&l->uv);
    if (rc != 0)
        PANIC("loop %s was freed with open handles", l->name);
    mem_free(l);
}

struct runner *loop_runner(struct loop *l)
{
    return &l->runner;
}

struct world *loop_world(struct loop *l)
{
    return &l->world;
}

void *loop_uv(struct loop *l)
{
    return &l->uv;
}

/* ---- signals ---- */

static void loop_on_signal(uv_signal_t *handle, int signum)
{
    struct loop_signal_handle *s = handle->data;
    s->cb(s->arg, signum);
}

static void loop_signal_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

int loop_signal(struct loop *l, int signum, loop_signal_cb *cb, void *arg, struct err *e)
{
    struct loop_signal_handle *s = mem_new(sizeof *s);
    s->cb = cb;
    s->arg = arg;
    int rc = uv_signal_init(&l->uv, &s->uv);
    if (rc != 0) {
        mem_free(s);
        return err_errno(e, -rc, "signal %d", signum);
    }
    s->uv.data = s;
    rc = uv_signal_start(&s->uv, loop_on_signal, signum);
    if (rc != 0) {
        uv_close((uv_handle_t *)&s->uv, loop_signal_closed);
        return err_errno(e, -rc, "signal %d", signum);
    }
    uv_unref((uv_handle_t *)&s->uv);
    s->next = l->signals;
    l->signals = s;
    return 0;
}

void loop_signals_close(struct loop *l)
{
    while (l->signals != NULL) {
        struct loop_signal_handle *s = l->signals;
        l->signals = s->next;
        uv_close((uv_handle_t *)&s->uv, loop_signal_closed);
    }
}

/* ---- the pool ---- */

static void loop_work_run(uv_work_t *req)
{
    struct loop_work *w = req->data;
    w->work(w);
}

static void loop_work_done(uv_work_t *req, int status)
{
    ASSERT(status == 0); /* nothing here cancels */
    struct loop_work *w = req->data;
    w->impl = NULL;
    mem_free(req);
    w->done(w);
}

int loop_queue(struct loop *l, struct loop_work *w, struct err *e)
{
    uv_work_t *req = mem_new(sizeof *req);
    req->data = w;
    int rc = uv_queue_work(&l->uv, req, loop_work_run, loop_work_done);
    if (rc != 0) {
        mem_free(req);
        return err_errno(e, -rc, "worker pool");
    }
    w->impl = req;
    return 0;
}
