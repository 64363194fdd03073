/* Connections that have served a request and may serve another.
 *
 *     answered --> [idle] --> taken by a GET or HEAD to the same scheme, host and port
 *                    |  the other side says or sends anything, or FETCH_IDLE_MS: closed
 *
 * One is taken only after the name was looked up and the addresses were asked whether they may be
 * called, and only if it leads to one of these: what holds for a new connection holds for it. That
 * the other side has closed it may be on its way while we write; so it serves nothing that may not
 * be sent twice, and what got no byte of an answer is sent again over a new one. */
#include <string.h>

#include "base/mem.h"
#include "http/fetch_priv.h"
#include "io/loop.h"

struct fetch_idle {
    struct list node; /* fetcher->idle, the oldest first */
    struct fetcher *fetcher;
    struct tcp *tcp;
    bool https;
    uint16_t port;
    uint64_t since_ms;
    char host[TARGET_HOST_MAX + 1];
};

static void idle_close(struct fetch_idle *c)
{
    list_remove(&c->node);
    c->fetcher->idle_count--;
    tcp_close(c->tcp);
    mem_free(c);
}

/* Bytes that nobody asked for, or the end. */
static void idle_ready(void *arg, unsigned events)
{
    (void)events;
    idle_close(arg);
}

static uint64_t idle_now(const struct fetcher *f)
{
    struct world *w = loop_world(f->loop);
    return w->mono_ns(w) / 1000000;
}

static void idle_watch(struct fetcher *f)
{
    struct world *w = loop_world(f->loop);
    if (!list_is_empty(&f->idle))
        w->timer_start(w, &f->idle_timer, FETCH_IDLE_MS / 4);
}

static void idle_sweep(struct world_timer *t)
{
    struct fetcher *f = LIST_OF(t, struct fetcher, idle_timer);
    uint64_t now = idle_now(f);
    while (!list_is_empty(&f->idle)) {
        struct fetch_idle *c = LIST_OF(f->idle.next, struct fetch_idle, node);
        if (now - c->since_ms < FETCH_IDLE_MS)
            break;
        idle_close(c);
    }
    idle_watch(f);
}

static bool idle_fits(const struct fetch_idle *c, const struct target *t)
{
    return c->https == t->https && c->port == t->port && strcmp(c->host, t->host) == 0;
}

static bool idle_leads_there(const struct fetch_idle *c, const struct fetch_addresses *a)
{
    for (int i = 0; i < a->count; i++)
        if (strcmp(tcp_peer(c->tcp), a->text[i]) == 0)
            return true;
    return false;
}

bool fetch_idle_take(struct fetch *f)
{
    if (strcmp(f->method, "GET") != 0 && strcmp(f->method, "HEAD") != 0)
        return false;
    for (struct list *n = f->fetcher->idle.prev; n != &f->fetcher->idle; n = n->prev) {
        struct fetch_idle *c = LIST_OF(n, struct fetch_idle, node);
        if (!idle_fits(c, &f->target) || !idle_leads_there(c, &f->addresses))
            continue;
        f->tcp = TAKE(c->tcp);
        idle_close(c);
        return true;
    }
    return false;
}

void fetch_idle_put(struct fetch *f)
{
    struct fetcher *all = f->fetcher;
    int of_host = 0;
    bool sent = f->sent == f->head.len + f->body_n;
    if (!f->keeps || !sent || tcp_has_bytes(f->tcp))
        return;
    LIST_EACH(node, &all->idle)
    of_host += idle_fits(LIST_OF(node, struct fetch_idle, node), &f->target);
    if (of_host >= FETCH_IDLE_HOST_MAX || all->idle_count >= FETCH_IDLE_MAX)
        return;
    struct fetch_idle *c = mem_new(sizeof *c);
    c->fetcher = all;
    c->tcp = TAKE(f->tcp);
    c->https = f->target.https;
    c->port = f->target.port;
    c->since_ms = idle_now(all);
    memcpy(c->host, f->target.host, sizeof c->host);
    list_push(&all->idle, &c->node);
    all->idle_count++;
    tcp_start(c->tcp, idle_ready, c);
    if (all->idle_count == 1)
        idle_watch(all);
}

void fetch_idle_init(struct fetcher *f)
{
    list_init(&f->idle);
    f->idle_timer.fire = idle_sweep;
}

void fetcher_hang_up(struct fetcher *f)
{
    struct world *w = loop_world(f->loop);
    while (!list_is_empty(&f->idle))
        idle_close(LIST_OF(f->idle.next, struct fetch_idle, node));
    w->timer_stop(w, &f->idle_timer);
}
