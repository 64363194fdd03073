#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "http/http_priv.h"

enum { HTTP_HEAD_FIXED = 768 }; /* more than all fixed lines of a head together */

static const char HTTP_PAGE_HEADERS[] =
    "Content-Security-Policy: default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n";

const char *http_status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 206:
        return "Partial Content";
    case 207:
        return "Multi-Status";
    case 301:
        return "Moved Permanently";
    case 302:
        return "Found";
    case 303:
        return "See Other";
    case 304:
        return "Not Modified";
    case 307:
        return "Temporary Redirect";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 416:
        return "Range Not Satisfiable";
    case 422:
        return "Unprocessable Content";
    case 423:
        return "Locked";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 507:
        return "Insufficient Storage";
    default:
        return status < 300 ? "OK" : status < 400 ? "Redirect" : "Error";
    }
}

/* ---- the head ---- */

static bool http_is_first(const struct http_request *req)
{
    return req->conn->requests.next == &req->link;
}

struct http_out *http_request_out(struct http_request *req)
{
    return http_is_first(req) ? &req->conn->out : &req->out;
}

/* May the connection go on after this answer? */
static bool http_keeps(const struct http_request *req)
{
    const struct http_conn *c = req->conn;
    if (!req->keep_alive || c->last)
        return false;
    if (c->reading == req) /* the body is still coming: skipping a small one keeps the connection */
        return !req->chunked && !req->expects && req->content_length <= HTTP_DISCARD_MAX;
    return !(req->server->closing && c->requests.prev == &req->link);
}

static char *http_put(char *p, const char *s, size_t n)
{
    memcpy(p, s, n);
    return p + n;
}
#define HTTP_PUT(p, literal) http_put(p, literal, sizeof(literal) - 1)

static char *http_puts(char *p, const char *s)
{
    return http_put(p, s, strlen(s));
}

static char *http_put_uint(char *p, uint64_t v)
{
    return p + str_from_u64(v, p);
}

static bool http_is_page(const char *type)
{
    return type != NULL && strncmp(type, "text/html", 9) == 0;
}

/* length < 0: as long as the stream lasts. Written by hand because it is half of what a small
 * answer costs. */
static void http_write_head(struct http_request *req, int status, const char *type, int64_t length)
{
    const char *id = http_correlation(req);
    size_t type_n = type != NULL ? strlen(type) : 0;
    size_t most = HTTP_HEAD_FIXED + type_n + req->extra.len + strlen(id);
    struct http_out *out = http_request_out(req);
    char *begin = http_out_reserve(&req->server->pool, out, most), *p = begin;
    bool keep = http_keeps(req);
    req->begun = true;
    req->status = status;
    req->no_body = req->verb == HTTP_VERB_HEAD || status == 204 || status == 304;
    if (length < 0 && !req->no_body) {
        req->chunk_coded = !req->http10;
        keep = keep && req->chunk_coded;
    }
    p = HTTP_PUT(p, "HTTP/1.1 ");
    p = http_put_uint(p, (uint64_t)status);
    *p++ = ' ';
    p = http_puts(p, http_status_text(status));
    p = HTTP_PUT(p, "\r\nDate: ");
    p = http_puts(p, http_server_date(req->server));
    if (type != NULL) {
        p = HTTP_PUT(p, "\r\nContent-Type: ");
        p = http_put(p, type, type_n);
    }
    if (length >= 0 && status != 204 && status != 304) {
        p = HTTP_PUT(p, "\r\nContent-Length: ");
        p = http_put_uint(p, (uint64_t)length);
    } else if (req->chunk_coded) {
        p = HTTP_PUT(p, "\r\nTransfer-Encoding: chunked");
    }
    if (!keep)
        p = HTTP_PUT(p, "\r\nConnection: close");
    else if (req->http10)
        p = HTTP_PUT(p, "\r\nConnection: keep-alive");
    p = HTTP_PUT(p, "\r\nX-Content-Type-Options: nosniff\r\nX-Correlation-ID: ");
    p = http_puts(p, id);
    p = HTTP_PUT(p, "\r\n");
    if (http_is_page(type))
        p = HTTP_PUT(p, HTTP_PAGE_HEADERS);
    if (req->extra.len > 0)
        p = http_put(p, req->extra.data, req->extra.len);
    p = HTTP_PUT(p, "\r\n");
    ASSERT((size_t)(p - begin) <= most);
    http_out_unreserve(out, most - (size_t)(p - begin));
    req->keep_alive = keep;
}

void http_continue(struct http_request *req)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    req->expects = false;
    http_out_add(&req->server->pool, http_request_out(req), text, sizeof text - 1);
    http_conn_mark(req->conn);
}

/* ---- the end of an answer ---- */

static void http_uncount(struct http_request *req)
{
    if (!req->counted)
        return;
    req->counted = false;
    req->server->inflight--;
    stat_change(req->server->gauge_inflight, -1);
}

void http_uncounted(struct http_request *req)
{
    req->waits = true;
    http_uncount(req);
}

static void http_finish(struct http_request *req)
{
    struct http_server *s = req->server;
    ASSERT(!req->answered);
    req->answered = true;
    if (req->over != NULL)
        req->over(req->local);
    http_uncount(req);
    if (req->status >= 100 && req->status < 600) {
        stat_add(s->requests[req->verb][req->status / 100 - 1], 1);
        stat_record(s->duration, s->world->mono_ns(s->world) - req->started_ns);
        if (s->after != NULL)
            s->after(req, req->status, req->started_ns);
    }
    if (req->conn != NULL) {
        http_conn_answered(req->conn, req);
    } else {
        http_request_free(req);
        http_server_check_closed(s);
    }
}

/* ---- whole answers ---- */

void http_header(struct http_request *req, const char *name, const char *value)
{
    size_t start = req->extra.len;
    buf_adds(&req->extra, name);
    buf_adds(&req->extra, ": ");
    buf_adds(&req->extra, value);
    buf_adds(&req->extra, "\r\n");
    if (buf_failed(&req->extra)) {
        log_warn("http", "header %s dropped: the answer's headers are over %d bytes", name,
                 HTTP_EXTRA_MAX);
        req->extra.failed = req->extra.starved = false;
        req->extra.len = start; /* no half of it */
        return;
    }
    for (size_t i = start; i < req->extra.len - 2; i++)
        if ((unsigned char)req->extra.data[i] < ' ' || req->extra.data[i] == 0x7f)
            req->extra.data[i] = ' '; /* nobody starts a header or an answer of his own */
}

void http_headerf(struct http_request *req, const char *name, const char *fmt, ...)
{
    struct buf text = BUF_INIT(HTTP_EXTRA_MAX);
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    http_header(req, name, buf_str(&text));
    buf_fini(&text);
}

void http_header_uint(struct http_request *req, const char *name, uint64_t value)
{
    char text[STR_U64_DIGITS + 1];
    *http_put_uint(text, value) = '\0';
    http_header(req, name, text);
}

void http_respond(struct http_request *req, int status, const char *type, const void *body,
                  size_t n)
{
    ASSERT(!req->begun && !req->answered && status >= 200);
    req->status = status;
    if (req->conn != NULL) {
        http_write_head(req, status, type, (int64_t)n);
        if (!req->no_body && n > 0)
            http_out_add(&req->server->pool, http_request_out(req), body, n);
    }
    http_finish(req);
}

void http_respond_buf(struct http_request *req, int status, const char *type, struct buf *body)
{
    ASSERT(!req->begun && !req->answered);
    if (buf_failed(body)) {
        size_t max = body->max;
        buf_fini(body);
        http_refuse(req, ERR_INTERNAL, "the answer is larger than %zu bytes", max);
        return;
    }
    if (body->len <= HTTP_COPY_MAX || req->conn == NULL) {
        http_respond(req, status, type, buf_str(body), body->len);
        buf_fini(body);
        return;
    }
    size_t n = body->len;
    http_write_head(req, status, type, (int64_t)n);
    if (!req->no_body)
        http_out_take(http_request_out(req), buf_take(body), n);
    buf_fini(body);
    http_finish(req);
}

/* ---- problems ---- */

void http_retry_after(struct http_request *req, unsigned seconds)
{
    req->retry_after_s = seconds;
}

/* Between 80 and 120 %, in whole seconds and never 0. */
static void http_add_retry_after(struct http_request *req)
{
    uint8_t random[8];
    http_server_random(req->server, random);
    uint32_t base = req->retry_after_s > 0 ? req->retry_after_s : HTTP_RETRY_AFTER_S;
    uint32_t percent = 80 + (random[0] | (uint32_t)random[1] << 8) % 41;
    uint64_t spread = ((uint64_t)base * percent + 50) / 100;
    http_headerf(req, "Retry-After", "%u", spread > 0 ? (uint32_t)spread : 1);
}

/* What went wrong inside is for the log; the caller gets the id to ask about. */
static void http_hide(const struct http_request *req, const struct err *e, struct err *shown)
{
    const char *id = http_correlation(req);
    log_error("http", "%s %s failed: %s correlation=%s", http_verb_name(req->verb),
              req->path != NULL ? req->path : "-", e->text, id);
    *shown = *e;
    err_set(shown, e->code, "something went wrong inside; the log has it under correlation id %s",
            id);
}

/* An address may stand in the words, and a credential in the address. */
static void http_redact(struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(4 * ERR_TEXT_MAX);
    log_redact(e->text, &b);
    str_copy(e->text, sizeof e->text, buf_str(&b));
}

void http_problem_more(struct http_request *req, const struct err *e, const char *more)
{
    const struct err_info *info = err_info(e->code);
    struct err shown = *e;
    req->code = info->code;
    if (info->http_status == 500)
        http_hide(req, e, &shown);
    http_redact(&shown);
    struct buf b = BUF_INIT(64 * 1024);
    buf_addf(&b, "{\"type\":\"urn:koan:error:%s\",\"title\":", info->name);
    json_print_string(&b, info->title, strlen(info->title));
    buf_addf(&b, ",\"status\":%d,\"code\":\"%s\",\"detail\":", info->http_status, info->name);
    json_print_string(&b, shown.text, strlen(shown.text));
    buf_addf(&b, ",\"retry\":\"%s\"", err_retry_name(info->retry));
    if (shown.field[0] != '\0') {
        buf_adds(&b, ",\"errors\":[{\"field\":");
        json_print_string(&b, shown.field, strlen(shown.field));
        buf_adds(&b, ",\"detail\":");
        json_print_string(&b, shown.text, strlen(shown.text));
        buf_adds(&b, "}]");
    }
    if (more != NULL && *more != '\0')
        buf_addf(&b, ",%s", more);
    buf_addc(&b, '}');
    if (info->retry == ERR_RETRY_AFTER || req->retry_after_s > 0)
        http_add_retry_after(req);
    http_respond_buf(req, info->http_status, "application/problem+json", &b);
}

void http_problem(struct http_request *req, const struct err *e)
{
    http_problem_more(req, e, NULL);
}

void http_refuse(struct http_request *req, int code, const char *fmt, ...)
{
    struct err e = ERR_INIT;
    va_list args;
    va_start(args, fmt);
    err_vset(&e, code, fmt, args);
    va_end(args);
    http_problem(req, &e);
}

/* ---- streams ---- */

void http_stream_begin(struct http_request *req, int status, const char *type)
{
    ASSERT(!req->begun && !req->answered && status >= 200);
    req->status = status;
    req->begun = req->streaming = true;
    if (req->match.route != NULL && (req->match.route->flags & HTTP_LONG))
        http_uncount(req);
    if (req->conn == NULL)
        return;
    http_write_head(req, status, type, -1);
    http_conn_mark(req->conn);
}

size_t http_stream_waiting(const struct http_request *req)
{
    return req->conn == NULL ? 0 : http_is_first(req) ? req->conn->out.bytes : req->out.bytes;
}

bool http_stream_write(struct http_request *req, const void *p, size_t n)
{
    ASSERT(req->streaming && !req->answered);
    if (req->conn == NULL)
        return false;
    if (req->no_body || n == 0) /* an empty chunk would end the stream */
        return !req->blocked;
    struct http_pool *pool = &req->server->pool;
    struct http_out *out = http_request_out(req);
    char size[24];
    if (req->chunk_coded)
        http_out_add(pool, out, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", n));
    http_out_add(pool, out, p, n);
    if (req->chunk_coded)
        http_out_add(pool, out, "\r\n", 2);
    http_conn_mark(req->conn);
    if (out->bytes > HTTP_STREAM_MAX) {
        http_conn_kill(req->conn);
        return false;
    }
    req->blocked = out->bytes > HTTP_STREAM_HIGH;
    return !req->blocked;
}

void http_stream_on_drain(struct http_request *req, http_drain_cb *drain, void *arg)
{
    req->drain = drain;
    req->drain_arg = arg;
}

void http_stream_end(struct http_request *req)
{
    ASSERT(req->streaming && !req->answered);
    if (req->conn != NULL && req->chunk_coded)
        http_out_add(&req->server->pool, http_request_out(req), "0\r\n\r\n", 5);
    http_finish(req);
}

void http_stream_abort(struct http_request *req)
{
    if (req->conn != NULL) {
        http_conn_kill(req->conn);
        http_conn_forget(req->conn, req);
    }
    http_finish(req);
}
