#include "http/fetch.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "http/address.h"
#include "http/fetch_priv.h"
#include "io/loop.h"

enum { FETCH_PIECE = 16 << 10 };

static void fetch_go(struct fetch *f);
static void fetch_begin(struct fetch *f);

/* ---- the end ---- */

static void fetch_hang_up(struct fetch *f)
{
    tcp_close(f->tcp);
    f->tcp = NULL;
}

static void fetch_end(struct fetch *f)
{
    ASSERT(f->state != FETCH_ENDED);
    f->state = FETCH_ENDED;
    fetch_lookup_forget(f);
    fetch_hang_up(f);
    f->world->timer_stop(f->world, &f->timer);
    f->fetcher->count--;
    list_remove(&f->node);
    f->done(f, f->arg); /* f may be gone after this line */
}

/* `heard`: the host is there and works, whatever it said. */
static void fetch_fail(struct fetch *f, const struct err *e, bool heard)
{
    f->err = *e;
    fetch_breaker_note(f, heard);
    fetch_end(f);
}

void fetch_free(struct fetch *f)
{
    if (f == NULL)
        return;
    ASSERT(f->state == FETCH_ENDED);
    f->fetcher->bytes -= f->answer.len;
    map_free(f->answer_headers, mem_free);
    buf_fini(&f->answer);
    buf_fini(&f->name);
    buf_fini(&f->value);
    buf_fini(&f->head);
    mem_free(f->method);
    mem_free(f->headers);
    mem_free(f->secret_headers);
    mem_free(f->allow);
    mem_free(f->body);
    mem_free(f->url);
    mem_free(f);
}

/* ---- time ---- */

static void fetch_watch_clock(struct fetch *f)
{
    uint64_t now = fetch_now_ms(f), until = f->ends_ms;
    if (f->state < FETCH_SEND && f->connect_ends_ms < until)
        until = f->connect_ends_ms;
    f->world->timer_start(f->world, &f->timer, until > now ? until - now : 0);
}

static void fetch_late(struct world_timer *t)
{
    struct fetch *f = (struct fetch *)((char *)t - offsetof(struct fetch, timer));
    struct err e;
    bool all = fetch_now_ms(f) >= f->ends_ms;
    if (!all && f->state >= FETCH_SEND) { /* an alarm that was set for the connection */
        fetch_watch_clock(f);
        return;
    }
    err_set(&e, ERR_TIMEOUT,
            f->state == FETCH_LOOKUP      ? "%s: its name is not answered in time"
            : f->state == FETCH_CONNECT   ? "%s does not answer; is a firewall between us?"
            : f->state == FETCH_HANDSHAKE ? "%s: TLS did not get done in time"
                                          : "%s did not answer in time",
            f->target.authority);
    fetch_fail(f, &e, false);
}

/* ---- reaching the host ---- */

static void fetch_sent(struct fetch *f)
{
    f->state = FETCH_RECEIVE;
    tcp_want_read(f->tcp, true);
}

static void fetch_ready(void *arg, unsigned events)
{
    struct fetch *f = arg;
    if (f->state == FETCH_SEND && (events & (TCP_HANGUP | TCP_RESET)))
        fetch_sent(f); /* it takes no more, but may have said why */
    fetch_go(f);
}

/* Leaves the addresses that may be called. */
static int fetch_choose(struct fetch *f, struct err *e)
{
    struct fetch_addresses *a = &f->addresses;
    char closed[TCP_ADDRESS_TEXT] = "";
    int kept = 0;
    for (int i = 0; i < a->count; i++) {
        if (!address_is_public(a->text[i]) &&
            !address_is_allowed(f->allow, f->target.host, a->text[i])) {
            memcpy(closed, a->text[i], sizeof closed);
            continue;
        }
        memmove(a->text[kept++], a->text[i], sizeof a->text[i]);
    }
    a->count = kept;
    a->at = 0;
    if (kept > 0)
        return 0;
    bool first = f->allow == NULL || *f->allow == '\0';
    if (closed[0] == '\0')
        return err_set(e, ERR_UNAVAILABLE, "host '%s' has no address", f->target.host);
    return err_set(e, ERR_FORBIDDEN,
                   "'%s' is the private address %s; scripts may call those that http.allow lists: "
                   "`koan config set http.allow %s%s%s%s%s`",
                   f->target.host, closed, first ? "" : "\"", first ? "" : f->allow,
                   first ? "" : " ", f->target.host, first ? "" : "\"");
}

/* Begins with the next address that lets us; the last one's words remain. */
static int fetch_connect(struct fetch *f, struct err *e)
{
    struct fetch_addresses *a = &f->addresses;
    int rc = ERR_UNAVAILABLE;
    fetch_hang_up(f);
    while (rc != 0 && a->at < a->count) {
        struct tcp_connect_options o = {.address = a->text[a->at++],
                                        .port = f->target.port,
                                        .tls = f->target.https ? f->tls : NULL,
                                        .name = f->target.host,
                                        .older = f->older};
        rc = tcp_connect(f->fetcher->loop, &o, &f->tcp, e);
    }
    if (rc != 0)
        return rc;
    f->state = FETCH_CONNECT;
    tcp_start(f->tcp, fetch_ready, f);
    tcp_want_read(f->tcp, false); /* until there is something to read for */
    return 0;
}

static void fetch_reuse(struct fetch *f)
{
    tcp_start(f->tcp, fetch_ready, f);
    tcp_want_read(f->tcp, false);
    f->kept = true;
    f->state = FETCH_SEND;
    f->sent = 0;
    fetch_watch_clock(f);
    fetch_go(f);
}

/* A kept connection that was closed while we wrote: the same again over a new one. */
static bool fetch_again(struct fetch *f, struct err *e)
{
    if (!f->kept || f->head_bytes > 0 || f->status != 0)
        return false;
    f->kept = false;
    f->addresses.at = 0;
    f->connect_ends_ms = fetch_now_ms(f) + f->connect_ms;
    fetch_answer_begin(f);
    if (fetch_connect(f, e) != 0)
        return false;
    fetch_watch_clock(f);
    return true;
}

void fetch_looked_up(struct fetch *f, const struct err *failed)
{
    struct err e = ERR_INIT;
    if (failed != NULL)
        e = *failed;
    else if (fetch_choose(f, &e) != 0) {
        fetch_fail(f, &e, true);
        return;
    } else if (fetch_idle_take(f)) {
        fetch_reuse(f);
        return;
    } else if (fetch_connect(f, &e) == 0) {
        return;
    }
    fetch_fail(f, &e, false);
}

/* ---- the steps; each returns 1: go on, 0: wait, or a code ---- */

static int fetch_step_connect(struct fetch *f, struct err *e)
{
    if (tcp_connected(f->tcp, e) != 0) {
        struct err next = ERR_INIT;
        if (f->addresses.at < f->addresses.count && fetch_connect(f, &next) == 0)
            return 0;
        return err_context(e, "%s", f->target.authority);
    }
    tcp_want_read(f->tcp, true);
    f->state = FETCH_HANDSHAKE;
    return 1;
}

static int fetch_step_handshake(struct fetch *f, struct err *e)
{
    int rc = tcp_handshake(f->tcp, e);
    if (rc == TCP_AGAIN)
        return 0;
    if (rc != 0 && !f->older && tcp_wants_older(f->tcp)) {
        f->older = true;
        f->addresses.at--; /* the same one again */
        return fetch_connect(f, e);
    }
    if (rc != 0)
        return err_context(e, "%s", f->target.authority);
    f->state = FETCH_SEND;
    f->sent = 0;
    tcp_want_read(f->tcp, false);
    fetch_watch_clock(f);
    return 1;
}

static void fetch_write_head(struct fetch *f)
{
    struct buf *b = &f->head;
    buf_reset(b);
    buf_addf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", f->method, f->target.path, f->target.authority);
    if (f->body != NULL || strcmp(f->method, "POST") == 0 || strcmp(f->method, "PUT") == 0 ||
        strcmp(f->method, "PATCH") == 0)
        buf_addf(b, "Content-Length: %zu\r\n", f->body_n);
    buf_adds(b, f->headers != NULL ? f->headers : "");
    buf_adds(b, f->secret_headers != NULL ? f->secret_headers : "");
    buf_adds(b, "\r\n");
}

static int fetch_step_send(struct fetch *f)
{
    size_t total = f->head.len + f->body_n;
    while (f->sent < total) {
        struct iovec iov[2];
        int n = 0;
        if (f->sent < f->head.len)
            iov[n++] = (struct iovec){f->head.data + f->sent, f->head.len - f->sent};
        size_t from = f->sent > f->head.len ? f->sent - f->head.len : 0;
        if (from < f->body_n)
            iov[n++] = (struct iovec){f->body + from, f->body_n - from};
        ssize_t put = tcp_write(f->tcp, iov, n);
        if (put < 0)
            break; /* it may have said why before it closed */
        f->sent += (size_t)put;
        if (f->sent < total)
            return 0;
    }
    fetch_sent(f);
    return 1;
}

static bool fetch_redirects(const struct fetch *f)
{
    int s = f->status;
    return f->redirects_left >= 0 && (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           map_gets(f->answer_headers, "location") != NULL;
}

static void fetch_as_get(struct fetch *f)
{
    bool head = strcmp(f->method, "HEAD") == 0, get = strcmp(f->method, "GET") == 0;
    bool post = strcmp(f->method, "POST") == 0;
    if (f->status == 303 ? get || head : f->status > 302 || !post)
        return;
    mem_free(f->method);
    mem_free(f->body);
    f->method = mem_strdup("GET");
    f->body = NULL;
    f->body_n = 0;
}

static int fetch_follow(struct fetch *f, struct err *e)
{
    AUTO(mem_freep) struct target *next = mem_new(sizeof *next);
    if (f->redirects_left == 0)
        return err_set(e, ERR_INVALID, "%s redirects more often than allowed", f->target.authority);
    if (target_redirect(&f->target, map_gets(f->answer_headers, "location"), next, e) != 0)
        return e->code;
    f->redirects_left--;
    fetch_breaker_note(f, true);
    fetch_as_get(f);
    if (!target_same_origin(&f->target, next)) {
        mem_free(f->secret_headers);
        f->secret_headers = NULL;
    }
    fetch_idle_put(f);
    f->target = *next;
    fetch_hang_up(f);
    f->older = f->kept = false;
    fetch_begin(f);
    return 0;
}

static void fetch_answered(struct fetch *f)
{
    char url[TARGET_URL_MAX + 300];
    target_format(&f->target, url, sizeof url);
    f->url = mem_strdup(url);
    fetch_breaker_note(f, f->status < 502 || f->status > 504);
    fetch_idle_put(f);
    fetch_end(f);
}

/* -1 once it has gone elsewhere: an end, or a redirect. */
static int fetch_step_receive(struct fetch *f, struct err *e, bool *over)
{
    char piece[FETCH_PIECE];
    while (!f->whole) {
        ssize_t n = tcp_read(f->tcp, piece, sizeof piece);
        if (n == TCP_AGAIN)
            return 0;
        if (n <= 0 && fetch_again(f, e))
            return 0;
        if (n < 0)
            return err_set(e, ERR_UNAVAILABLE, "%s broke off the connection", f->target.authority);
        if (fetch_answer_take(f, piece, (size_t)n, e) != 0)
            return e->code;
    }
    *over = true;
    if (fetch_redirects(f))
        return fetch_follow(f, e);
    fetch_answered(f);
    return 0;
}

static void fetch_go(struct fetch *f)
{
    struct err e = ERR_INIT;
    bool over = false;
    for (int rc = 1; rc != 0;) {
        switch (f->state) {
        case FETCH_CONNECT:
            rc = fetch_step_connect(f, &e);
            break;
        case FETCH_HANDSHAKE:
            rc = fetch_step_handshake(f, &e);
            break;
        case FETCH_SEND:
            rc = fetch_step_send(f);
            break;
        case FETCH_RECEIVE:
            rc = fetch_step_receive(f, &e, &over);
            break;
        case FETCH_LOOKUP:
        case FETCH_ENDED:
            return;
        }
        if (rc < 0) {
            bool heard = over || rc == ERR_TOO_LARGE || rc == ERR_OVERLOADED;
            fetch_fail(f, &e, heard);
            return;
        }
    }
}

/* ---- the beginning ---- */

static void fetch_begin(struct fetch *f)
{
    struct err e = ERR_INIT;
    f->state = FETCH_LOOKUP;
    f->connect_ends_ms = fetch_now_ms(f) + f->connect_ms;
    fetch_answer_begin(f);
    fetch_write_head(f);
    if (fetch_breaker_ask(f, &e) != 0) {
        fetch_fail(f, &e, true);
        return;
    }
    fetch_watch_clock(f);
    fetch_lookup_start(f);
}

static char *fetch_copy(const char *s)
{
    return s != NULL ? mem_strdup(s) : NULL;
}

int fetch_start(struct fetcher *fetcher, const struct fetch_request *r,
                void (*done)(struct fetch *f, void *arg), void *arg, struct fetch **out,
                struct err *e)
{
    if (fetcher->count >= FETCH_MAX)
        return err_set(e, ERR_OVERLOADED, "%d requests are under way on this thread already",
                       FETCH_MAX);
    if (r->body_n > FETCH_SEND_MAX)
        return err_field(e, ERR_TOO_LARGE, "body", "a body of over %d MiB", FETCH_SEND_MAX >> 20);
    struct fetch *f = mem_new(sizeof *f);
    f->state = FETCH_ENDED;
    f->fetcher = fetcher;
    f->world = loop_world(fetcher->loop);
    f->answer_headers = map_new();
    buf_init(&f->head, 2 * FETCH_HEAD_MAX + TARGET_URL_MAX);
    buf_init(&f->name, FETCH_HEAD_MAX + 1);
    buf_init(&f->value, FETCH_HEAD_MAX + 1);
    f->method = mem_strdup(r->method);
    f->headers = fetch_copy(r->headers);
    f->secret_headers = fetch_copy(r->secret_headers);
    f->allow = fetch_copy(r->allow);
    f->body_n = r->body_n;
    f->body = r->body != NULL ? mem_try(r->body_n + 1) : NULL;
    int rc = target_parse(r->url, strlen(r->url), &f->target, e);
    if (rc == 0 && r->body != NULL && f->body == NULL)
        rc = err_set(e, ERR_NOMEM, "a body of %zu bytes", r->body_n);
    f->body_max = r->body_max;
    fetch_write_head(f);
    if (rc == 0)
        rc = buf_check(&f->head, "the headers of the request", e);
    f->unguarded = r->unguarded;
    f->connect_ms = r->connect_ms;
    f->connect_ends_ms = fetch_now_ms(f) + f->connect_ms;
    if (rc == 0)
        rc = fetch_breaker_ask(f, e);
    if (rc != 0) {
        fetch_free(f);
        return rc;
    }
    if (r->body_n > 0)
        memcpy(f->body, r->body, r->body_n);
    f->redirects_left = r->redirects_max > 0 ? r->redirects_max : -1;
    f->ends_ms = fetch_now_ms(f) + r->timeout_ms;
    f->done = done;
    f->arg = arg;
    f->timer.fire = fetch_late;
    f->state = FETCH_LOOKUP;
    fetch_answer_begin(f);
    fetch_watch_clock(f);
    fetcher->count++;
    list_push(&fetcher->all, &f->node);
    fetch_lookup_start(f);
    *out = f;
    return 0;
}

void fetch_cancel(struct fetch *f)
{
    struct err e;
    err_set(&e, ERR_CANCELED, "%s was not waited for", f->target.authority);
    fetch_fail(f, &e, true);
}

void fetcher_cancel(struct fetcher *f)
{
    while (!list_is_empty(&f->all))
        fetch_cancel(LIST_OF(f->all.next, struct fetch, node));
}

const struct err *fetch_error(const struct fetch *f)
{
    return &f->err;
}

int fetch_status(const struct fetch *f)
{
    return f->status;
}

const struct buf *fetch_body(const struct fetch *f)
{
    return &f->answer;
}

const struct map *fetch_headers(const struct fetch *f)
{
    return f->answer_headers;
}

const char *fetch_url(const struct fetch *f)
{
    return f->url;
}
