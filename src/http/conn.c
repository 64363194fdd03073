#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "http/http_priv.h"
#include "io/tcp.h"

/* ---- life ---- */

static void http_conn_ready(void *arg, unsigned events);

struct http_conn *http_conn_new(struct http_server *s, struct tcp *tcp)
{
    struct http_conn *c = mem_new(sizeof *c);
    c->magic = HTTP_CONN_MAGIC;
    c->server = s;
    c->tcp = tcp;
    c->since_ms = s->now_ms;
    list_init(&c->requests);
    list_init(&c->dirty);
    list_push(&s->conns, &c->link);
    s->conn_count++;
    stat_change(s->gauge_conns, 1);
    llhttp_init(&c->parser, HTTP_REQUEST, &http_parser_settings);
    c->parser.data = c;
    buf_init(&c->rest, HTTP_READ_BYTES);
    if (tcp != NULL)
        tcp_start(tcp, http_conn_ready, c);
    return c;
}

void http_conn_mark(struct http_conn *c)
{
    if (list_is_empty(&c->dirty))
        list_push(&c->server->dirty, &c->dirty);
}

void http_conn_kill(struct http_conn *c)
{
    c->doomed = true;
    c->input_over = true;
    http_conn_mark(c);
}

void http_conn_forget(struct http_conn *c, struct http_request *req)
{
    list_remove(&req->link);
    c->request_count--;
    if (c->reading == req)
        c->reading = NULL;
    req->conn = NULL;
}

/* A handler at work outlives its place in a connection: it is told, and answers nobody. */
static void http_request_orphan(struct http_request *req)
{
    http_out_clear(&req->server->pool, &req->out);
    list_push(&req->server->orphans, &req->link);
    req->cancelled = true;
    if (req->gone != NULL)
        req->gone(req, req->gone_arg); /* it may answer, and be gone */
}

static void http_conn_orphan(struct http_conn *c)
{
    while (!list_is_empty(&c->requests)) {
        struct http_request *req = LIST_OF(c->requests.next, struct http_request, link);
        http_conn_forget(c, req);
        if (req->phase != HTTP_RUNNING || req->answered)
            http_request_free(req);
        else
            http_request_orphan(req);
    }
}

void http_conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;
    list_remove(&c->dirty);
    list_remove(&c->link);
    http_conn_orphan(c);
    http_out_clear(&s->pool, &c->out);
    buf_fini(&c->rest);
    tcp_close(c->tcp);
    s->conn_count--;
    http_server_has_room(s);
    stat_change(s->gauge_conns, -1);
    c->magic = 0;
    mem_free(c);
    http_server_check_closed(s);
}

void http_conn_touch(struct http_conn *c)
{
    list_remove(&c->link);
    list_push(&c->server->conns, &c->link);
}

bool http_conn_is_idle(const struct http_conn *c)
{
    if (c->doomed || c->out.bytes > 0)
        return false;
    if (c->lingering)
        return true;
    if (c->reading != NULL && !c->reading->headers_done && c->request_count == 1)
        return c->server->now_ms - c->since_ms > HTTP_EVICT_HEAD_MS;
    return list_is_empty(&c->requests);
}

/* ---- the order of requests ---- */

static bool http_is_safe(const struct http_request *req)
{
    return req->verb == HTTP_VERB_GET || req->verb == HTTP_VERB_HEAD ||
           req->verb == HTTP_VERB_OPTIONS;
}

bool http_conn_may_parse(const struct http_conn *c)
{
    if (c->input_over || c->doomed || c->last || c->lingering ||
        c->request_count >= HTTP_PIPELINE_MAX || c->out.bytes > HTTP_STREAM_HIGH)
        return false;
    if (list_is_empty(&c->requests))
        return true;
    const struct http_request *req = LIST_OF(c->requests.prev, struct http_request, link);
    if (req->phase == HTTP_READY)
        return false;
    if (req == c->reading)
        return !req->paused;
    return http_is_safe(req) || req->answered;
}

static void http_dispatch(struct http_request *req)
{
    struct http_server *s = req->server;
    const struct http_route *route = req->match.route;
    size_t max = s->inflight_max;
    if (!(route->flags & HTTP_URGENT))
        max -= max / HTTP_INFLIGHT_URGENT;
    req->phase = HTTP_RUNNING;
    if (s->inflight >= max) {
        http_refuse(req, ERR_OVERLOADED, "%zu requests are at work here already", s->inflight);
        return;
    }
    s->inflight++;
    req->counted = true;
    stat_change(s->gauge_inflight, 1);
    route->handler(req);
}

/* Invariant 2: whoever writes runs alone. Those before a READY one are safe, or it would not have
 * been parsed. */
void http_conn_advance(struct http_conn *c)
{
    if (c->doomed || list_is_empty(&c->requests))
        return;
    struct http_request *req = LIST_OF(c->requests.prev, struct http_request, link);
    if (req->phase == HTTP_READY && (http_is_safe(req) || c->requests.next == &req->link))
        http_dispatch(req);
}

void http_conn_pop(struct http_conn *c)
{
    while (!list_is_empty(&c->requests)) {
        struct http_request *req = LIST_OF(c->requests.next, struct http_request, link);
        http_out_splice(&c->out, &req->out);
        if (!req->answered || req == c->reading)
            break;
        c->request_count--;
        http_request_free(req);
    }
    if (c->reading == NULL)
        c->since_ms = c->server->now_ms;
    if (list_is_empty(&c->requests))
        http_server_has_room(c->server);
    http_conn_mark(c);
}

void http_conn_answered(struct http_conn *c, struct http_request *req)
{
    req->phase = HTTP_RUNNING; /* whatever it was refused in */
    if (!req->keep_alive) {
        c->last = c->input_over = true;
        if (c->reading == req) { /* its body will not be read */
            c->unread = true;
            c->reading = NULL;
        }
    }
    http_conn_pop(c);
    http_conn_advance(c);
}

void http_conn_check(const struct http_conn *c)
{
    size_t count = 0;
    bool writer = false;
    LIST_EACH(it, &c->requests)
    {
        const struct http_request *req = LIST_OF(it, struct http_request, link);
        bool first = it == c->requests.next, final = it->next == &c->requests;
        ASSERT(req->conn == c);
        ASSERT(req == c->reading || req->phase != HTTP_READING);
        ASSERT(final || (req != c->reading && req->phase == HTTP_RUNNING)); /* 1 */
        ASSERT(!writer);                                                    /* 2 */
        writer =
            req->phase == HTTP_RUNNING && req != c->reading && !req->answered && !http_is_safe(req);
        ASSERT(!writer || first);              /* 2 */
        ASSERT(!first || req->out.bytes == 0); /* 3 */
        count++;
    }
    ASSERT(count == c->request_count && count <= HTTP_PIPELINE_MAX);
    ASSERT(c->rest.len <= HTTP_READ_BYTES);
}

/* ---- input ---- */

/* The client's bytes end the request of a handler that is in the middle of its body. The handler is
 * told that nobody waits for it any more, and may answer whenever it likes; a request in its place
 * gets the words of the refusal. */
static struct http_request *http_conn_overrule(struct http_conn *c, struct http_request *req)
{
    struct http_request *stand_in = http_request_new(c->server);
    http_conn_forget(c, req);
    stand_in->conn = c;
    stand_in->verb = req->verb;
    stand_in->http10 = req->http10;
    stand_in->started_ns = req->started_ns;
    memcpy(stand_in->correlation, req->correlation, sizeof req->correlation);
    list_push(&c->requests, &stand_in->link);
    c->request_count++;
    http_request_orphan(req);
    return stand_in;
}

/* What the client sent cannot be understood or is too much: say so, then close. */
static void http_conn_refuse(struct http_conn *c, llhttp_errno_t rc, uint64_t at)
{
    struct http_request *req = c->reading;
    c->input_over = c->unread = true;
    if (c->doomed || c->last) /* the last answer is given: nothing may follow it */
        return;
    if (req != NULL && req->answered) {
        c->last = true;
        c->reading = NULL;
        http_conn_pop(c);
        return;
    }
    if (req != NULL && req->phase == HTTP_RUNNING && req->begun) {
        http_conn_kill(c); /* half an answer is out: only the cut can tell */
        return;
    }
    if (req == NULL) {
        http_parser_settings.on_message_begin(&c->parser);
        req = c->reading;
    } else if (req->phase == HTTP_RUNNING) {
        req = http_conn_overrule(c, req);
    }
    c->reading = NULL;
    req->phase = HTTP_RUNNING;
    req->keep_alive = false;
    if (rc == HPE_USER)
        http_refuse(req, c->fail_code, "%s", c->fail);
    else
        http_refuse(req, ERR_INVALID, "malformed request at byte %llu of the connection: %s",
                    (unsigned long long)at, llhttp_get_error_reason(&c->parser));
}

/* The parser swallows what means nothing; without a bound a client could send it for ever. A slice
 * counts whole for the request that is open at its end: the allowances are larger than that. */
static bool http_conn_is_padded(struct http_conn *c, size_t part)
{
    enum { HEAD_MAX = HTTP_LINE_MAX + HTTP_HEADERS_BYTES_MAX + HTTP_SLICE };
    struct http_request *req = c->reading;
    if (req == NULL || req->answered)
        return false;
    req->raw_bytes += part;
    uint64_t max = HEAD_MAX;
    if (req->headers_done)
        max += HTTP_PADDING_MAX + HTTP_PADDING_RATIO * (req->part_bytes + req->body.len);
    if (req->raw_bytes <= max)
        return false;
    c->fail_code = req->headers_done ? ERR_INVALID : ERR_HEADERS_TOO_LARGE;
    snprintf(c->fail, sizeof c->fail, "%s",
             req->headers_done ? "the chunks of the body hold too little beside their sizes"
                               : "the headers are larger than 32 KiB");
    return true;
}

void http_conn_feed(struct http_conn *c, const char *p, size_t n)
{
    while (n > 0 && http_conn_may_parse(c)) {
        size_t part = n < HTTP_SLICE ? n : HTTP_SLICE;
        llhttp_errno_t rc = llhttp_execute(&c->parser, p, part);
        if (rc != HPE_OK) {
            const char *at = llhttp_get_error_pos(&c->parser);
            part = at != NULL ? (size_t)(at - p) : part;
        }
        c->fed += part;
        p += part;
        n -= part;
        if (rc == HPE_PAUSED)
            llhttp_resume(&c->parser);
        else if (rc == HPE_PAUSED_UPGRADE)
            llhttp_resume_after_upgrade(&c->parser);
        else if (rc != HPE_OK)
            http_conn_refuse(c, rc, c->fed);
        else if (http_conn_is_padded(c, part))
            http_conn_refuse(c, HPE_USER, c->fed);
    }
    if (n > 0 && !c->input_over)
        buf_add(&c->rest, p, n);
    else if (n > 0)
        c->unread = true;
}

/* The client sends no more. What it asked for is answered still, unless it was in the middle of a
 * request, reads a stream or waits for something that may not come: then it has left. */
static void http_conn_eof(struct http_conn *c)
{
    bool streams = false;
    LIST_EACH(it, &c->requests)
    {
        const struct http_request *req = LIST_OF(it, struct http_request, link);
        streams = streams || req->streaming || req->waits;
    }
    if (c->reading != NULL || streams || (list_is_empty(&c->requests) && c->out.bytes == 0)) {
        http_conn_kill(c);
        return;
    }
    c->input_over = c->last = true;
    c->unread = false;
    tcp_want_read(c->tcp, false);
}

/* Lingering: the client's bytes are thrown away until it closes. */
static void http_conn_discard(struct http_conn *c)
{
    for (int i = 0; i < HTTP_READS_PER_TURN; i++) {
        ssize_t n = tcp_read(c->tcp, c->server->read_buffer, HTTP_READ_BYTES);
        if (n == TCP_AGAIN)
            return;
        if (n <= 0) {
            http_conn_kill(c);
            return;
        }
    }
}

static void http_conn_read(struct http_conn *c)
{
    struct http_server *s = c->server;
    for (int i = 0; i < HTTP_READS_PER_TURN || tcp_has_bytes(c->tcp); i++) {
        if (c->rest.len > 0 || !http_conn_may_parse(c)) {
            tcp_want_read(c->tcp, false);
            return;
        }
        ssize_t n = tcp_read(c->tcp, s->read_buffer, HTTP_READ_BYTES);
        if (n > 0) {
            c->rate_bytes += (size_t)n;
            http_conn_feed(c, s->read_buffer, (size_t)n);
            if (n < HTTP_READ_BYTES && !tcp_is_tls(c->tcp))
                return;
        } else {
            if (n == 0)
                http_conn_eof(c);
            else if (n == TCP_BROKEN)
                http_conn_kill(c);
            return;
        }
    }
}

static void http_conn_ready(void *arg, unsigned events)
{
    struct http_conn *c = arg;
    ASSERT(c->magic == HTTP_CONN_MAGIC);
    if (c->doomed)
        return;
    c->server->now_ms = c->server->world->mono_ns(c->server->world) / 1000000;
    if (events & TCP_RESET) {
        http_conn_kill(c);
        return;
    }
    if (events & TCP_WRITABLE) {
        c->stalled = false;
        http_conn_mark(c);
    }
    if (c->lingering) {
        if (events & TCP_READABLE)
            http_conn_discard(c);
        return;
    }
    if (events & TCP_READABLE)
        http_conn_read(c);
    if ((events & TCP_HANGUP) && !c->doomed && c->rest.len == 0 && tcp_at_end(c->tcp))
        http_conn_eof(c);
}

/* ---- output and the end of a turn ---- */

/* False: the connection is broken. */
static bool http_conn_flush(struct http_conn *c)
{
    struct http_server *s = c->server;
    if (c->tcp == NULL) {
        http_out_clear(&s->pool, &c->out);
        return true;
    }
    if (!c->stalled)
        c->wrote_ms = s->now_ms; /* the wait for the client begins now, if at all */
    while (c->out.bytes > 0 && !c->stalled) {
        struct iovec iov[HTTP_IOV_MAX];
        int count = http_out_iov(&c->out, iov, HTTP_IOV_MAX);
        size_t wanted = 0;
        for (int i = 0; i < count; i++)
            wanted += iov[i].iov_len;
        ssize_t put = tcp_write(c->tcp, iov, count);
        if (put < 0)
            return false;
        c->stalled = (size_t)put < wanted;
        http_out_consume(&s->pool, &c->out, (size_t)put);
    }
    return true;
}

static void http_conn_tell_drained(struct http_conn *c)
{
    if (c->out.bytes > HTTP_STREAM_HIGH / 2 || list_is_empty(&c->requests))
        return;
    struct http_request *req = LIST_OF(c->requests.next, struct http_request, link);
    if (!req->blocked)
        return;
    req->blocked = false;
    if (req->drain != NULL && !req->answered)
        req->drain(req, req->drain_arg);
}

/* Everything is answered and written. Closing with unread input would make the kernel reset the
 * connection and destroy our last words on their way. */
static void http_conn_finish(struct http_conn *c)
{
    if (!c->unread || c->tcp == NULL) {
        http_conn_free(c);
        return;
    }
    c->lingering = true;
    c->since_ms = c->server->now_ms;
    buf_fini(&c->rest);
    tcp_shutdown(c->tcp);
    tcp_want_read(c->tcp, true);
    http_conn_discard(c);
}

static void http_conn_resume(struct http_conn *c)
{
    if (c->rest.len > 0 && http_conn_may_parse(c)) {
        struct buf rest = c->rest;
        buf_init(&c->rest, HTTP_READ_BYTES);
        http_conn_feed(c, rest.data, rest.len);
        buf_fini(&rest);
    }
    if (c->tcp != NULL && c->rest.len == 0 && http_conn_may_parse(c) && !tcp_wants_read(c->tcp)) {
        tcp_want_read(c->tcp, true);
        http_conn_read(c);
    }
}

void http_conn_turn(struct http_conn *c)
{
    if (c->lingering && !c->doomed)
        return;
    if (c->doomed || !http_conn_flush(c)) {
        http_conn_free(c);
        return;
    }
    http_conn_tell_drained(c);
    bool over = c->last || (c->server->closing && c->reading == NULL);
    if (over && list_is_empty(&c->requests) && c->out.bytes == 0) {
        http_conn_finish(c);
        return;
    }
    http_conn_resume(c);
}

/* ---- deadlines ---- */

static bool http_conn_body_is_slow(struct http_conn *c, uint64_t now)
{
    if (!http_conn_may_parse(c)) { /* it waits for us */
        c->rate_ms = now;
        c->rate_bytes = 0;
    }
    if (now - c->rate_ms < HTTP_RATE_WINDOW_MS)
        return false;
    bool slow = c->rate_bytes < (size_t)HTTP_RATE_BYTES * (HTTP_RATE_WINDOW_MS / 1000);
    c->rate_ms = now;
    c->rate_bytes = 0;
    return slow;
}

void http_conn_sweep(struct http_conn *c)
{
    uint64_t now = c->server->now_ms, waited = now - c->since_ms;
    const char *why = NULL;
    if (c->lingering)
        why = waited > HTTP_LINGER_MS ? "it does not close" : NULL;
    else if (c->stalled)
        why = now - c->wrote_ms > HTTP_WRITE_STALL_MS ? "it does not read its answer" : NULL;
    else if (c->reading != NULL && !c->reading->headers_done)
        why = waited > HTTP_HEADER_WAIT_MS ? "its headers take too long" : NULL;
    else if (c->reading != NULL && !c->reading->waits)
        why = http_conn_body_is_slow(c, now) ? "its body comes too slowly" : NULL;
    else if (list_is_empty(&c->requests))
        why = waited > (c->fed == 0 ? HTTP_HEADER_WAIT_MS : HTTP_IDLE_MS) ? "idle" : NULL;
    if (why == NULL)
        return;
    log_debug("http", "closed a connection: %s", why);
    http_conn_kill(c);
}
