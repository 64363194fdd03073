/* Watching who holds a name.
 *
 * What an entry changes is visible when it is committed, and told then. A watch that begins while
 * an entry that changes claims is being applied may read what was before and miss what is told of:
 * so it is told of that entry, whichever name it changed. */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "coord/coord_priv.h"

/* A name that is watched. */
struct watched {
    struct list watches;
    struct list touched; /* of coord->touched, or alone */
    size_t key_len;
    char key[];
};

enum { WATCH_KEY_MAX = TXN_ENVELOPE_TEXT_MAX + COORD_KEY_BYTES + 2 };

static size_t watch_key(char out[WATCH_KEY_MAX], const char *tenant, struct text name)
{
    size_t n = strlen(tenant);
    memcpy(out, tenant, n);
    out[n] = '\n'; /* in no name */
    memcpy(out + n + 1, name.p, name.n);
    return n + 1 + name.n;
}

static void watch_run(struct task *t)
{
    struct coord_watch *w = LIST_OF(t, struct coord_watch, task);
    w->done(w);
}

/* With the lock; the name may be gone after it. */
static void watch_fire(struct coord *c, struct coord_watch *w, int code)
{
    struct watched *of = w->of;
    w->of = NULL;
    w->code = code;
    list_remove(&w->node);
    list_remove(&w->fresh);
    atomic_fetch_sub(&c->watching, 1);
    if (list_is_empty(&of->watches)) {
        map_remove(c->watched, of->key, of->key_len);
        list_remove(&of->touched);
        mem_free(of);
    }
    w->home->post(w->home, &w->task);
}

static void watched_fire(struct coord *c, struct watched *of, int code)
{
    bool last = false;
    while (!last) {
        struct list *first = of->watches.next;
        last = first->next == &of->watches;
        watch_fire(c, LIST_OF(first, struct coord_watch, node), code);
    }
}

void coord_changed(struct coord *c, const char *tenant, const char *name, size_t n)
{
    char key[WATCH_KEY_MAX];
    atomic_store(&c->changed, true); /* before who watches is asked: coord_watch() does both too */
    if (atomic_load(&c->watching) == 0)
        return;
    size_t len = watch_key(key, tenant, (struct text){name, n});
    pthread_mutex_lock(&c->lock);
    struct watched *of = map_get(c->watched, key, len);
    if (of != NULL && list_is_empty(&of->touched))
        list_push(&c->touched, &of->touched);
    pthread_mutex_unlock(&c->lock);
}

void coord_tell_watches(struct coord *c)
{
    bool changed = atomic_exchange(&c->changed, false);
    if (atomic_load(&c->watching) == 0)
        return;
    pthread_mutex_lock(&c->lock);
    while (!list_is_empty(&c->touched))
        watched_fire(c, LIST_OF(c->touched.next, struct watched, touched), 0);
    while (!list_is_empty(&c->fresh)) {
        struct coord_watch *w = LIST_OF(c->fresh.next, struct coord_watch, fresh);
        list_remove(&w->fresh);
        if (changed)
            watch_fire(c, w, 0);
    }
    pthread_mutex_unlock(&c->lock);
}

void coord_drain_watches(struct coord *c)
{
    for (struct map_iter it = {0}; map_next(c->watched, &it);)
        watched_fire(c, it.value, ERR_DRAINING);
}

/* ---- the door ---- */

void coord_watch_init(struct coord_watch *w, struct runner *home,
                      void (*done)(struct coord_watch *w))
{
    *w = (struct coord_watch){.home = home, .done = done, .task.run = watch_run};
    list_init(&w->node);
    list_init(&w->fresh);
}

static struct watched *watched_of(struct coord *c, const char *key, size_t len)
{
    struct watched *of = map_get(c->watched, key, len);
    if (of != NULL)
        return of;
    of = mem_new(sizeof *of + len);
    list_init(&of->watches);
    list_init(&of->touched);
    of->key_len = len;
    memcpy(of->key, key, len);
    map_put(c->watched, of->key, len, of);
    return of;
}

int coord_watch(struct coord *c, struct coord_watch *w, const char *tenant, const char *name,
                struct err *e)
{
    char key[WATCH_KEY_MAX];
    size_t n = strlen(name);
    int rc = coord_check_key("name", name, n, COORD_KEY_BYTES, e);
    if (rc != 0)
        return rc;
    size_t len = watch_key(key, tenant, (struct text){name, n});
    pthread_mutex_lock(&c->lock);
    if (c->draining)
        rc = err_set(e, ERR_DRAINING, "this node is leaving; ask another");
    else if (atomic_load(&c->watching) >= COORD_WATCHES_MAX)
        rc = err_set(e, ERR_OVERLOADED, "%d watch leases already", COORD_WATCHES_MAX);
    if (rc == 0) {
        w->coord = c;
        w->of = watched_of(c, key, len);
        list_push(&w->of->watches, &w->node);
        atomic_fetch_add(&c->watching, 1);
        if (atomic_load(&c->changed))
            list_push(&c->fresh, &w->fresh);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void coord_unwatch(struct coord_watch *w)
{
    struct coord *c = w->coord;
    pthread_mutex_lock(&c->lock);
    if (w->of != NULL)
        watch_fire(c, w, ERR_CANCELED);
    pthread_mutex_unlock(&c->lock);
}
