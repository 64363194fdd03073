#include "http/server.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "http/http_priv.h"
#include "io/tcp.h"

/* ---- small services ---- */

void http_server_random(struct http_server *s, uint8_t out[8])
{
    if (s->random_left < 8) { /* one system call for many ids */
        s->world->random(s->world, s->random, sizeof s->random);
        s->random_left = sizeof s->random;
    }
    s->random_left -= 8;
    memcpy(out, s->random + s->random_left, 8);
}

const char *http_server_date(struct http_server *s)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t tick = s->now_ms / 1000 + 1;
    if (s->date_ms == tick)
        return s->date;
    s->date_ms = tick;
    time_t now = (time_t)(s->world->wall_ms(s->world) / 1000);
    struct tm t;
    gmtime_r(&now, &t);
    snprintf(s->date, sizeof s->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
             days + 3 * t.tm_wday, t.tm_mday % 100, months + 3 * t.tm_mon,
             (t.tm_year + 1900) % 10000, t.tm_hour % 100, t.tm_min % 100, t.tm_sec % 100);
    return s->date;
}

static void http_server_stats(struct http_server *s)
{
    for (int v = 0; v < HTTP_VERB_COUNT; v++)
        for (int k = 0; k < 5; k++) {
            char labels[64];
            snprintf(labels, sizeof labels, "method=\"%s\",code=\"%dxx\"",
                     http_verb_name((enum http_verb)v), k + 1);
            s->requests[v][k] = stat_counter("koan_http_requests_total", labels,
                                             "Requests answered, by method and class of status");
        }
    s->duration = stat_histogram("koan_http_request_duration_seconds", "",
                                 "From the first byte of a request to its answer");
    s->gauge_conns = stat_gauge("koan_http_connections", "", "Open connections");
    s->gauge_inflight = stat_gauge("koan_http_requests_in_flight", "", "Requests at work");
}

/* ---- turns and deadlines ---- */

static void http_server_again(struct task *t)
{
    struct http_server *s = LIST_OF(t, struct http_server, again_task);
    s->again = false;
    http_server_check_closed(s);
}

void http_server_turn(struct http_server *s)
{
    if (list_is_empty(&s->dirty))
        return;
    s->now_ms = s->world->mono_ns(s->world) / 1000000;
    struct list now;
    list_init(&now);
    list_splice(&now, &s->dirty);
    for (struct list *node; (node = list_pop(&now)) != NULL;)
        http_conn_turn(LIST_OF(node, struct http_conn, dirty));
    /* More may have come up meanwhile; others get their turn first. */
    if (!list_is_empty(&s->dirty) && !s->again) {
        s->again = true;
        runner_post(s->world->runner, &s->again_task);
    }
}

static void http_server_hook(struct loop_hook *h)
{
    http_server_turn(LIST_OF(h, struct http_server, hook));
}

static void http_server_sweep(struct world_timer *t)
{
    struct http_server *s = LIST_OF(t, struct http_server, sweep);
    s->now_ms = s->world->mono_ns(s->world) / 1000000;
    LIST_EACH_SAFE(it, &s->conns)
    http_conn_sweep(LIST_OF(it, struct http_conn, link));
    s->sweeping = !list_is_empty(&s->conns);
    if (s->sweeping)
        s->world->timer_start(s->world, &s->sweep, HTTP_SWEEP_MS);
}

/* ---- life ---- */

/* The connection that has been idle longest makes room. Those at work that are met on the way go to
 * the end of the list, so that thousands of them are not looked at again for every newcomer. */
static bool http_server_evict(struct http_server *s, const struct http_conn *newcomer)
{
    for (int i = 0; i < HTTP_EVICT_LOOK && s->conns.next != &newcomer->link; i++) {
        struct http_conn *c = LIST_OF(s->conns.next, struct http_conn, link);
        bool idle = http_conn_is_idle(c);
        http_conn_touch(c);
        if (idle) {
            http_conn_kill(c);
            return true;
        }
    }
    return false;
}

void http_server_has_room(struct http_server *s)
{
    if (!s->full || s->listener == NULL)
        return;
    s->full = false;
    tcp_listener_pause(s->listener, false);
}

static void http_server_accepted(void *arg, struct tcp *t)
{
    struct http_server *s = arg;
    s->now_ms = s->world->mono_ns(s->world) / 1000000;
    struct http_conn *c = http_conn_new(s, t);
    if (!s->sweeping) {
        s->sweeping = true;
        s->world->timer_start(s->world, &s->sweep, HTTP_SWEEP_MS);
    }
    if (s->conn_count <= s->connections_max || http_server_evict(s, c))
        return;
    log_warn("http", "%zu connections are open and at work, the limit: new ones wait",
             s->conn_count);
    s->full = true;
    tcp_listener_pause(s->listener, true);
}

static void http_server_free(struct task *t)
{
    struct http_server *s = LIST_OF(t, struct http_server, closed_task);
    http_closed_cb *closed = s->closed;
    void *arg = s->closed_arg;
    loop_hook_remove(s->loop, &s->hook);
    s->world->timer_stop(s->world, &s->sweep);
    for (struct list *node; (node = list_pop(&s->free_requests)) != NULL;)
        http_request_destroy(LIST_OF(node, struct http_request, link));
    http_pool_fini(&s->pool);
    mem_free(s->read_buffer);
    mem_free(s);
    if (closed != NULL)
        closed(arg);
}

void http_server_check_closed(struct http_server *s)
{
    if (!s->closing || s->gone || s->conn_count > 0 || s->again || !list_is_empty(&s->orphans))
        return;
    s->gone = true;
    s->closed_task.run = http_server_free;
    runner_post(s->world->runner, &s->closed_task);
}

struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    const struct http_router *router)
{
    struct http_server *s = mem_new(sizeof *s);
    s->loop = loop;
    s->world = loop_world(loop);
    s->router = router;
    s->context = options->context;
    s->before = options->before;
    s->after = options->after;
    s->cors = options->cors;
    s->more = options->more;
    s->connections_max =
        options->connections_max > 0 ? options->connections_max : HTTP_CONNECTIONS_MAX;
    s->inflight_max = options->inflight_max > 0 ? options->inflight_max : HTTP_INFLIGHT_MAX;
    list_init(&s->conns);
    list_init(&s->dirty);
    list_init(&s->orphans);
    list_init(&s->free_requests);
    s->sweep.fire = http_server_sweep;
    s->again_task.run = http_server_again;
    s->read_buffer = mem_new(HTTP_READ_BYTES);
    s->now_ms = s->world->mono_ns(s->world) / 1000000;
    s->hook.run = http_server_hook;
    loop_hook_add(loop, &s->hook);
    http_server_stats(s);
    return s;
}

int http_server_open(struct loop *loop, const struct http_options *options,
                     const struct http_router *router, struct http_server **out, struct err *e)
{
    struct http_server *s = http_server_new(loop, options, router);
    struct tcp_listen_options listen = {.address = options->address,
                                        .port = options->port,
                                        .shared = options->shared,
                                        .fd = options->fd,
                                        .tls = options->tls};
    int rc = tcp_listen(loop, &listen, http_server_accepted, s, &s->listener, e);
    if (rc != 0) {
        http_server_free(&s->closed_task);
        return rc;
    }
    *out = s;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    return tcp_listener_port(s->listener);
}

size_t http_server_connections(const struct http_server *s)
{
    return s->conn_count;
}

void http_server_close(struct http_server *s, http_closed_cb *closed, void *arg)
{
    s->closed = closed;
    s->closed_arg = arg;
    if (s->closing)
        return;
    s->closing = true;
    tcp_listener_close(s->listener);
    s->listener = NULL;
    LIST_EACH(it, &s->conns) /* the end of this turn closes those that are idle */
    http_conn_mark(LIST_OF(it, struct http_conn, link));
    if (!list_is_empty(&s->dirty) && !s->again) { /* perhaps nothing else turns the loop */
        s->again = true;
        runner_post(s->world->runner, &s->again_task);
    }
    http_server_check_closed(s);
}

void http_server_abort(struct http_server *s)
{
    ASSERT(s->closing);
    LIST_EACH(it, &s->conns)
    http_conn_kill(LIST_OF(it, struct http_conn, link));
}
