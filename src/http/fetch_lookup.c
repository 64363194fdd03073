/* What a fetch needs before it can connect: addresses of the host, the roots to believe, and the
 * breaker's leave. */
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/fetch_priv.h"
#include "io/loop.h"
#include "io/tls.h"

struct fetch_shared {
    pthread_mutex_t lock;
    struct map *hosts; /* "port host" -> struct breaker */
    struct tls_client *tls;

    pthread_cond_t wake;
    struct list queue;    /* lookups that wait for a thread */
    pthread_cond_t ended; /* a thread has */
    /* threads_count of them live, of these threads_idle wait for work, and threads_busy ask a
     * resolver, which may take minutes: they are not waited for. */
    int threads_count, threads_idle, threads_busy;
    bool stop;
    bool left; /* by fetch_shared_free(): the last thread cleans up */
};

/*   WAITS ---> WORKS ---> POSTED                                             under the lock
 *     |          |           \-- forgotten: freed by lookup_done()
 *     |          \-- forgotten: freed by the thread, which tells nobody
 *     \-- forgotten: freed at once */
enum lookup_state { LOOKUP_WAITS, LOOKUP_WORKS, LOOKUP_POSTED };

struct fetch_lookup {
    struct task task; /* first: back to the loop */
    struct list node; /* while it waits for a thread */
    struct fetch_shared *shared;
    struct fetcher *fetcher; /* the loop's, as the fetch */
    struct fetch *fetch;     /* NULL: nobody waits */
    enum lookup_state state;
    bool forgotten; /* while it WORKS: fetcher and loop may be gone */
    bool https;
    char host[TARGET_HOST_MAX + 1];
    struct fetch_addresses found;
    struct tls_client *tls;
    struct err err;
};

struct fetch_shared *fetch_shared_new(void)
{
    struct fetch_shared *s = mem_new(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->ended, NULL);
    list_init(&s->queue);
    s->hosts = map_new();
    return s;
}

/* When nobody uses it any more, neither a caller nor a thread. */
static void shared_destroy(struct fetch_shared *s)
{
    ASSERT(list_is_empty(&s->queue));
    map_free(s->hosts, mem_free);
    tls_client_free(s->tls);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

void fetch_shared_free(struct fetch_shared *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->wake);
    while (s->threads_count > s->threads_busy)
        pthread_cond_wait(&s->ended, &s->lock);
    bool last = s->threads_count == 0;
    s->left = true;
    pthread_mutex_unlock(&s->lock);
    if (last)
        shared_destroy(s);
}

void fetcher_init(struct fetcher *f, struct loop *loop, struct fetch_shared *shared)
{
    *f = (struct fetcher){.loop = loop, .shared = shared};
    list_init(&f->all);
    fetch_idle_init(f);
}

bool fetcher_is_idle(const struct fetcher *f)
{
    return f->count == 0 && f->lookups == 0;
}

/* ---- on a thread of lookups ---- */

/* Reading the roots takes milliseconds: once, and not on a loop. What failed is tried again. */
static void lookup_roots(struct fetch_lookup *l)
{
    struct fetch_shared *s = l->shared;
    pthread_mutex_lock(&s->lock);
    if (s->tls == NULL && tls_client_new(NULL, true, &s->tls, &l->err) != 0)
        s->tls = NULL;
    l->tls = s->tls;
    pthread_mutex_unlock(&s->lock);
}

static void lookup_keep(struct fetch_lookup *l, const struct addrinfo *all)
{
    for (const struct addrinfo *a = all; a != NULL && l->found.count < FETCH_ADDRESSES_MAX;
         a = a->ai_next) {
        const void *p = a->ai_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)a->ai_addr)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
        char *to = l->found.text[l->found.count];
        if ((a->ai_family == AF_INET || a->ai_family == AF_INET6) &&
            inet_ntop(a->ai_family, p, to, TCP_ADDRESS_TEXT) != NULL)
            l->found.count++;
    }
}

static void lookup_work(struct fetch_lookup *l)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    if (l->https)
        lookup_roots(l);
    int rc = getaddrinfo(l->host, NULL, &hints, &all);
    if (rc != 0 && strcasecmp(l->host, "localhost") == 0) /* a machine without /etc/hosts */
        rc = getaddrinfo("127.0.0.1", NULL, &hints, &all);
    if (rc != 0) {
        if (l->err.code == 0)
            err_set(&l->err, ERR_UNAVAILABLE, "host '%s': %s", l->host, gai_strerror(rc));
        return;
    }
    lookup_keep(l, all);
    freeaddrinfo(all);
}

static void lookup_done(struct task *task);

/* One lookup, left and entered under the lock. */
static void lookup_one(struct fetch_shared *s, struct fetch_lookup *l)
{
    l->state = LOOKUP_WORKS;
    s->threads_busy++;
    pthread_mutex_unlock(&s->lock);
    lookup_work(l);
    pthread_mutex_lock(&s->lock);
    s->threads_busy--;
    if (l->forgotten) {
        mem_free(l);
        return;
    }
    l->state = LOOKUP_POSTED;
    l->task.run = lookup_done;
    runner_post(loop_runner(l->fetcher->loop), &l->task); /* not ours any more */
}

static void *lookup_thread(void *arg)
{
    struct fetch_shared *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        struct list *node = list_pop(&s->queue);
        if (node != NULL) {
            lookup_one(s, LIST_OF(node, struct fetch_lookup, node));
            continue;
        }
        s->threads_idle++;
        pthread_cond_wait(&s->wake, &s->lock);
        s->threads_idle--;
    }
    bool last = --s->threads_count == 0;
    bool orphan = s->left;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    if (last && orphan)
        shared_destroy(s);
    return NULL;
}

/* Under the lock: one more thread, unless there are enough. Signals are for other threads. */
static int lookup_thread_start(struct fetch_shared *s, struct err *e)
{
    sigset_t all, before;
    pthread_t thread;
    bool enough = s->threads_idle > 0 && list_is_empty(&s->queue);
    if (enough || s->threads_count == FETCH_LOOKUPS)
        return 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, NULL, lookup_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(thread, "lookup");
        pthread_detach(thread);
        s->threads_count++;
    }
    return rc == 0 || s->threads_count > 0
               ? 0
               : err_set(e, ERR_UNAVAILABLE, "no thread to look up names: %s", strerror(rc));
}

/* ---- on the loop ---- */

static void lookup_done(struct task *task)
{
    struct fetch_lookup *l = (struct fetch_lookup *)task;
    struct fetch *f = l->fetch;
    struct err e = l->err;
    l->fetcher->lookups--;
    if (f != NULL) {
        f->lookup = NULL;
        f->addresses = l->found;
        f->tls = l->tls;
    }
    mem_free(l);
    if (f != NULL)
        fetch_looked_up(f, e.code != 0 ? &e : NULL);
}

void fetch_lookup_start(struct fetch *f)
{
    struct fetch_shared *s = f->fetcher->shared;
    struct fetch_lookup *l = mem_new(sizeof *l);
    l->shared = s;
    l->fetcher = f->fetcher;
    l->fetch = f;
    l->https = f->target.https;
    memcpy(l->host, f->target.host, sizeof l->host);
    f->lookup = l;
    f->fetcher->lookups++;
    pthread_mutex_lock(&s->lock);
    if (lookup_thread_start(s, &l->err) != 0) {
        l->state = LOOKUP_POSTED;
        l->task.run = lookup_done;
        runner_post(loop_runner(f->fetcher->loop), &l->task);
    } else {
        list_push(&s->queue, &l->node);
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

void fetch_lookup_forget(struct fetch *f)
{
    struct fetch_lookup *l = f->lookup;
    struct fetch_shared *s = f->fetcher->shared;
    f->lookup = NULL;
    if (l == NULL)
        return;
    l->fetch = NULL;
    pthread_mutex_lock(&s->lock);
    enum lookup_state state = l->state;
    if (state == LOOKUP_WAITS)
        list_remove(&l->node);
    l->forgotten = true;
    pthread_mutex_unlock(&s->lock);
    if (state == LOOKUP_POSTED)
        return; /* lookup_done() frees it */
    f->fetcher->lookups--;
    if (state == LOOKUP_WAITS)
        mem_free(l);
}

/* ---- breakers ---- */

uint64_t fetch_now_ms(const struct fetch *f)
{
    return f->world->mono_ns(f->world) / 1000000;
}

/* Room for one more by forgetting a host that is well. */
static void breakers_trim(struct map *hosts)
{
    for (struct map_iter it = {0}; map_count(hosts) >= FETCH_HOSTS_MAX && map_next(hosts, &it);)
        if (breaker_is_closed(it.value))
            mem_free(map_remove(hosts, it.key, it.key_len));
}

static struct breaker *breaker_of(struct fetch *f, bool make)
{
    char key[TARGET_HOST_MAX + 32];
    struct map *hosts = f->fetcher->shared->hosts;
    snprintf(key, sizeof key, "%u %s", f->target.port, f->target.host);
    struct breaker *b = map_gets(hosts, key);
    if (b != NULL || !make)
        return b;
    breakers_trim(hosts);
    if (map_count(hosts) >= FETCH_HOSTS_MAX)
        return NULL;
    b = mem_new(sizeof *b);
    map_puts(hosts, key, b);
    return b;
}

int fetch_breaker_ask(struct fetch *f, struct err *e)
{
    struct fetch_shared *s = f->fetcher->shared;
    uint64_t wait_ms = 0;
    if (f->unguarded)
        return 0;
    pthread_mutex_lock(&s->lock);
    struct breaker *b = breaker_of(f, false);
    f->asked = b == NULL || breaker_may(b, fetch_now_ms(f), &wait_ms);
    pthread_mutex_unlock(&s->lock);
    if (f->asked)
        return 0;
    return err_set(e, ERR_UNAVAILABLE,
                   "%s failed %d times in a row and is left alone; it is tried again in %u s",
                   f->target.authority, BREAKER_FAILURES, (unsigned)(wait_ms / 1000 + 1));
}

void fetch_breaker_note(struct fetch *f, bool ok)
{
    struct fetch_shared *s = f->fetcher->shared;
    if (!f->asked)
        return;
    f->asked = false;
    pthread_mutex_lock(&s->lock);
    struct breaker *b = breaker_of(f, !ok);
    if (b != NULL)
        breaker_note(b, ok, fetch_now_ms(f));
    pthread_mutex_unlock(&s->lock);
}
