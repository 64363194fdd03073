/* llhttp's callbacks: from its spans to the text of a request.
 *
 * llhttp runs strict: both Content-Length and Transfer-Encoding, two Content-Lengths, a bare line
 * feed or a folded header are errors there, so that no proxy before us can see other boundaries
 * between requests than we do. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "http/http_priv.h"

static struct http_conn *http_conn_of(llhttp_t *parser)
{
    struct http_conn *c = parser->data;
    ASSERT(c->magic == HTTP_CONN_MAGIC);
    return c;
}

static int http_fail(struct http_conn *c, int code, const char *why)
{
    c->fail_code = code;
    snprintf(c->fail, sizeof c->fail, "%s", why);
    return HPE_USER;
}

static int http_on_begin(llhttp_t *parser)
{
    struct http_conn *c = http_conn_of(parser);
    ASSERT(c->reading == NULL);
    struct http_request *req = http_request_new(c->server);
    req->conn = c;
    req->started_ns = c->server->world->mono_ns(c->server->world);
    list_push(&c->requests, &req->link);
    c->request_count++;
    c->reading = req;
    c->since_ms = c->server->now_ms;
    http_conn_touch(c);
    return 0;
}

static int http_on_url(llhttp_t *parser, const char *p, size_t n)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    buf_add(&req->head, p, n);
    if (req->head.len > HTTP_LINE_MAX - 16) /* the method and version around it */
        return http_fail(c, ERR_HEADERS_TOO_LARGE,
                         "the request line is longer than 8 KiB; send a long query as the body of "
                         "POST .../query");
    return 0;
}

static int http_on_url_complete(llhttp_t *parser)
{
    struct http_request *req = http_conn_of(parser)->reading;
    buf_addc(&req->head, '\0');
    return 0;
}

/* From its handler's answer on, a request whose body is not wanted is no longer `reading`; what is
 * left of the slice still runs through here. */
static bool http_is_over(const struct http_conn *c)
{
    return c->doomed || c->reading == NULL;
}

/* Names and values alternate, each perhaps in several spans; trailers come here too and are only
 * counted. */
static int http_on_header_bytes(struct http_conn *c, const char *p, size_t n)
{
    struct http_request *req = c->reading;
    if (http_is_over(c))
        return 0;
    req->head_bytes += n;
    if (req->head_bytes > HTTP_HEADERS_BYTES_MAX)
        return http_fail(c, ERR_HEADERS_TOO_LARGE, "the headers are larger than 32 KiB");
    if (!req->headers_done)
        buf_add(&req->head, p, n);
    return 0;
}

static int http_on_field(llhttp_t *parser, const char *p, size_t n)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    if (!http_is_over(c) && !req->headers_done && !req->value_open) {
        if (req->field_count == HTTP_HEADERS_MAX)
            return http_fail(c, ERR_HEADERS_TOO_LARGE, "there are more than 100 headers");
        req->fields[req->field_count].name = (uint32_t)req->head.len;
        req->value_open = true;
    }
    return http_on_header_bytes(c, p, n);
}

static int http_on_field_complete(llhttp_t *parser)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    if (http_is_over(c) || req->headers_done)
        return 0;
    buf_addc(&req->head, '\0');
    req->fields[req->field_count].value = (uint32_t)req->head.len;
    return 0;
}

static int http_on_value(llhttp_t *parser, const char *p, size_t n)
{
    return http_on_header_bytes(http_conn_of(parser), p, n);
}

/* The few headers that decide about the message itself. */
static int http_note_field(struct http_conn *c, struct http_request *req, const char *name,
                           const char *value)
{
    switch (strlen(name)) {
    case 4:
        req->hosts += strcasecmp(name, "Host") == 0;
        break;
    case 6:
        req->expects = req->expects ||
                       (strcasecmp(name, "Expect") == 0 && strcasecmp(value, "100-continue") == 0);
        break;
    case 14:
        req->has_length = req->has_length || strcasecmp(name, "Content-Length") == 0;
        break;
    case 16:
        if (strcasecmp(name, "X-Correlation-ID") == 0) {
            size_t n = strlen(value);
            if (n > 0 && n <= HTTP_CORRELATION_MAX &&
                strspn(value,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n)
                memcpy(req->correlation, value, n + 1);
        }
        break;
    case 17:
        if (strcasecmp(name, "Transfer-Encoding") == 0) {
            if (req->chunked || strcasecmp(value, "chunked") != 0)
                return http_fail(c, ERR_INVALID, "Transfer-Encoding: only 'chunked' is understood");
            req->chunked = true;
        }
        break;
    default:
        break;
    }
    return 0;
}

static int http_on_value_complete(llhttp_t *parser)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    if (http_is_over(c) || req->headers_done)
        return 0;
    struct http_field *f = &req->fields[req->field_count];
    while (req->head.len > f->value &&
           (req->head.data[req->head.len - 1] == ' ' || req->head.data[req->head.len - 1] == '\t'))
        req->head.len--;
    buf_addc(&req->head, '\0');
    if (buf_failed(&req->head))
        return http_fail(c, ERR_HEADERS_TOO_LARGE, "the headers are larger than 32 KiB");
    req->field_count++;
    req->value_open = false;
    return http_note_field(c, req, req->head.data + f->name, req->head.data + f->value);
}

static enum http_verb http_verb_of(llhttp_t *parser)
{
    switch (llhttp_get_method(parser)) {
    case HTTP_GET:
        return HTTP_VERB_GET;
    case HTTP_HEAD:
        return HTTP_VERB_HEAD;
    case HTTP_POST:
        return HTTP_VERB_POST;
    case HTTP_PUT:
        return HTTP_VERB_PUT;
    case HTTP_PATCH:
        return HTTP_VERB_PATCH;
    case HTTP_DELETE:
        return HTTP_VERB_DELETE;
    case HTTP_OPTIONS:
        return HTTP_VERB_OPTIONS;
    default:
        return HTTP_VERB_OTHER;
    }
}

/* Refused before its body came: skip a small body; otherwise the answer has ended the reading. */
static int http_after_refusal(struct http_conn *c)
{
    return c->reading != NULL ? 0 : HPE_PAUSED;
}

static bool http_has_body(const struct http_request *req)
{
    return req->chunked || req->content_length > 0;
}

static int http_on_headers_complete(llhttp_t *parser)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    parser->upgrade = 0; /* we never switch protocols: the request is answered as it stands */
    req->headers_done = true;
    req->verb = http_verb_of(parser);
    req->http10 = llhttp_get_http_major(parser) == 1 && llhttp_get_http_minor(parser) == 0;
    req->keep_alive =
        llhttp_should_keep_alive(parser) != 0 && llhttp_get_method(parser) != HTTP_CONNECT;
    req->content_length = req->has_length ? parser->content_length : 0;
    c->rate_ms = c->server->now_ms;
    c->rate_bytes = 0;
    if (llhttp_get_http_major(parser) != 1 || llhttp_get_http_minor(parser) > 1)
        return http_fail(c, ERR_INVALID, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    if (req->http10 && req->chunked)
        return http_fail(c, ERR_INVALID, "HTTP/1.0 knows no Transfer-Encoding");
    if (!http_request_accept(req))
        return http_after_refusal(c);
    const struct http_route *route = req->match.route;
    size_t max = route->body_max > 0                 ? route->body_max
                 : (route->flags & HTTP_STREAM_BODY) ? SIZE_MAX
                                                     : HTTP_BODY_MAX;
    if (req->content_length > max) {
        http_refuse(req, ERR_TOO_LARGE, "the body has %llu bytes; at most %zu are taken here",
                    (unsigned long long)req->content_length, max);
        return http_after_refusal(c);
    }
    if (req->expects && !req->http10 && http_has_body(req))
        http_continue(req);
    if (route->flags & HTTP_STREAM_BODY) {
        req->phase = HTTP_READY;
        http_conn_advance(c);
        return http_conn_may_parse(c) ? 0 : HPE_PAUSED;
    }
    req->body.max = max;
    return 0;
}

static int http_on_body(llhttp_t *parser, const char *p, size_t n)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    struct http_server *s = c->server;
    if (http_is_over(c) || req->answered)
        return 0;
    if (req->match.route->flags & HTTP_STREAM_BODY) {
        size_t max = req->match.route->body_max;
        req->part_bytes += n;
        if (max > 0 && req->part_bytes > max)
            return http_fail(c, ERR_TOO_LARGE, "the body is larger than is taken here");
        if (req->part != NULL)
            req->part(req, req->part_arg, p, n);
        return 0;
    }
    if (s->body_bytes + n > HTTP_BODIES_MAX)
        return http_fail(c, ERR_OVERLOADED, "too many large requests are being received");
    buf_add(&req->body, p, n);
    if (buf_failed(&req->body))
        return http_fail(c, ERR_TOO_LARGE, "the body is larger than is taken here");
    s->body_bytes += n;
    return 0;
}

static int http_on_complete(llhttp_t *parser)
{
    struct http_conn *c = http_conn_of(parser);
    struct http_request *req = c->reading;
    if (http_is_over(c))
        return HPE_PAUSED;
    c->reading = NULL;
    c->since_ms = c->server->now_ms;
    if (!req->keep_alive)
        c->input_over = true;
    if (req->answered) {
        http_conn_pop(c);
    } else if (req->phase == HTTP_RUNNING) {
        if (req->part != NULL)
            req->part(req, req->part_arg, "", 0);
    } else {
        req->phase = HTTP_READY;
        http_conn_advance(c);
    }
    return http_conn_may_parse(c) ? 0 : HPE_PAUSED;
}

const llhttp_settings_t http_parser_settings = {
    .on_message_begin = http_on_begin,
    .on_url = http_on_url,
    .on_url_complete = http_on_url_complete,
    .on_header_field = http_on_field,
    .on_header_field_complete = http_on_field_complete,
    .on_header_value = http_on_value,
    .on_header_value_complete = http_on_value_complete,
    .on_headers_complete = http_on_headers_complete,
    .on_body = http_on_body,
    .on_message_complete = http_on_complete,
};
