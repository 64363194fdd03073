#include "canon/wake_priv.h"

#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "canon/canon_priv.h"
#include "canon/store_priv.h"
#include "ledger/txn.h"

enum {
    WAKER_OPEN = 64,       /* taken up at a time */
    WAKER_AGAIN_MS = 1000, /* after a failure; twice as long each time */
    WAKER_AGAIN_MS_MAX = 60 * 1000,
};

struct waker {
    struct canon_watch watch;
    struct canon *canon;
    struct canon_engine *engine;
    struct world *world;
    struct db *reader;
    bool (*owns)(void *arg, const char *model);
    void *arg;
    struct task look;
    atomic_bool posted;
    bool running, news, failed;
    struct world_timer timer;
    uint64_t again_ms;
    struct list open; /* struct wake */
    size_t count;
    int64_t after; /* rows up to here were looked at since there were news */
};

/* One that is being taken up. */
struct wake {
    struct canon_request r; /* first: what done() gets */
    struct list node;
    struct waker *waker;
    struct canon_arrival arrival;
    struct envelope env;
    struct store_due due;
};

static void waker_look(struct waker *w);

static void wake_free(struct wake *k)
{
    list_remove(&k->node);
    k->waker->count--;
    canon_request_fini(&k->r);
    store_due_fini(&k->due);
    mem_free(k);
}

/* Not parked any more, or its document is gone: somebody else has seen to it. */
static bool wake_is_settled(const struct wake *k)
{
    const struct canon_arrival *a = &k->arrival;
    int code = k->r.err.code != 0 ? k->r.err.code : a->err.code;
    return (k->r.err.code == 0 && (a->outcome != CANON_FAILED || a->arrival_id[0] != '\0')) ||
           code == ERR_NOT_FOUND || code == ERR_GONE || code == ERR_CONFLICT;
}

static void wake_done(struct canon_request *r)
{
    struct wake *k = (struct wake *)r;
    struct waker *w = k->waker;
    if (!wake_is_settled(k)) {
        const struct err *e = r->err.code != 0 ? &r->err : &k->arrival.err;
        log_warn("canon", "arrival %s waits on: %s", k->due.arrival, e->text);
        w->failed = true;
    }
    wake_free(k);
    if (w->count == 0)
        waker_look(w);
}

static void wake_start(struct waker *w, const struct store_due *due)
{
    struct err e = ERR_INIT;
    struct wake *k = mem_new(sizeof *k);
    k->waker = w;
    k->due = *due;
    k->env = (struct envelope){
        .tenant = k->due.tenant, .correlation = k->due.arrival, .causation = k->due.arrival};
    k->arrival.source_id = k->due.arrival;
    k->arrival.observed_at = INT64_MIN;
    k->r = (struct canon_request){.home = w->world->runner,
                                  .env = &k->env,
                                  .arrivals = &k->arrival,
                                  .count = 1,
                                  .done = wake_done};
    list_push(&w->open, &k->node);
    w->count++;
    int rc = canon_resume(w->engine, k->due.waiter, &k->r, &e);
    ASSERT(rc == 0);
}

static bool is_open(const struct waker *w, const char *arrival)
{
    LIST_EACH(it, &w->open)
    {
        if (strcmp(LIST_OF(it, struct wake, node)->due.arrival, arrival) == 0)
            return true;
    }
    return false;
}

static void waker_later(struct waker *w)
{
    w->again_ms = w->again_ms == 0 ? WAKER_AGAIN_MS : 2 * w->again_ms;
    if (w->again_ms > WAKER_AGAIN_MS_MAX)
        w->again_ms = WAKER_AGAIN_MS_MAX;
    w->world->timer_start(w->world, &w->timer, w->again_ms);
}

/* As many as may be under way. Rows of arrivals that were taken up are gone by the time of the next
 * look. */
static int waker_take(struct waker *w, struct err *e)
{
    int rc = 1;
    while (w->count < WAKER_OPEN) {
        struct store_due due = {.rid = 0};
        rc = store_wait_due(w->reader, w->after, &due, e);
        if (rc <= 0)
            return rc;
        w->after = due.rid;
        if ((w->owns != NULL && !w->owns(w->arg, due.waiter)) || is_open(w, due.arrival))
            store_due_fini(&due);
        else
            wake_start(w, &due);
    }
    return rc;
}

static void waker_look(struct waker *w)
{
    struct err e = ERR_INIT;
    if (!w->running || w->count > 0)
        return;
    if (w->news) {
        w->news = false;
        w->after = 0;
    }
    if (waker_take(w, &e) < 0) {
        log_warn("canon", "what waits for a key: %s", e.text);
        w->failed = true;
    }
    if (w->count > 0)
        return;
    if (w->failed)
        waker_later(w);
    else
        w->again_ms = 0;
    w->failed = false;
}

static void waker_task(struct task *t)
{
    struct waker *w = LIST_OF(t, struct waker, look);
    atomic_store(&w->posted, false);
    w->news = true;
    waker_look(w);
}

static void waker_post(struct waker *w)
{
    if (!atomic_exchange(&w->posted, true))
        runner_post(w->world->runner, &w->look);
}

static void waker_due(struct canon_watch *watch)
{
    waker_post(LIST_OF(watch, struct waker, watch));
}

static void waker_fire(struct world_timer *t)
{
    struct waker *w = LIST_OF(t, struct waker, timer);
    w->news = true;
    waker_look(w);
}

struct waker *waker_new(struct canon_engine *en, const struct canon_engine_options *o)
{
    struct waker *w = mem_new(sizeof *w);
    w->engine = en;
    w->canon = o->canon;
    w->world = o->world;
    w->reader = o->reader;
    w->owns = o->owns;
    w->arg = o->owns_arg;
    w->look.run = waker_task;
    w->timer.fire = waker_fire;
    w->watch.due = waker_due;
    list_init(&w->open);
    list_init(&w->watch.node);
    return w;
}

void waker_start(struct waker *w)
{
    if (!w->running) {
        w->running = true;
        canon_watch_add(w->canon, &w->watch);
    }
    waker_post(w);
}

void waker_stop(struct waker *w)
{
    if (!w->running)
        return;
    w->running = false;
    canon_watch_remove(w->canon, &w->watch);
    w->world->timer_stop(w->world, &w->timer);
}

bool waker_is_idle(const struct waker *w)
{
    return w->count == 0 && !atomic_load(&w->posted);
}

void waker_free(struct waker *w)
{
    if (w == NULL)
        return;
    ASSERT(!w->running && waker_is_idle(w));
    mem_free(w);
}
