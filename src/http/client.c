#include "http/client.h"

#include <ctype.h>
#include <llhttp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/sock.h"
#include "io/tls.h"

struct http_client {
    char *host, *prefix, *token;
    char authority[300];
    uint16_t port;
    uint32_t timeout_ms;
    struct tls_client *tls;
    struct sock *sock; /* NULL between connections */
};

/* One exchange. The parser's callbacks fill it. */
struct http_exchange {
    llhttp_t parser;
    const struct http_client_request *r;
    struct http_client_answer *a;
    struct buf name, value, line;
    size_t head_bytes;
    bool begun, done;
    int rc; /* of a callback that gave up */
    struct err *e;
};

/* ---- the URL ---- */

static int http_client_url(struct http_client *c, const char *url, bool *https, struct err *e)
{
    const char *rest = strncmp(url, "http://", 7) == 0    ? url + 7
                       : strncmp(url, "https://", 8) == 0 ? url + 8
                                                          : NULL;
    if (rest == NULL)
        return err_set(e, ERR_INVALID, "url '%s': must begin with http:// or https://", url);
    *https = url[4] == 's';
    size_t n = strcspn(rest, "/?#");
    const char *end = rest + n, *host = rest, *host_end, *port = NULL;
    if (memchr(rest, '@', n) != NULL)
        return err_set(e, ERR_INVALID, "url: no user or password in it; use a token");
    if (*rest == '[') { /* an IPv6 address */
        host++;
        host_end = memchr(rest, ']', n);
        if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':'))
            return err_set(e, ERR_INVALID, "url '%s': malformed address", url);
        port = host_end + 1 < end ? host_end + 2 : NULL;
    } else {
        const char *colon = memchr(rest, ':', n);
        host_end = colon != NULL ? colon : end;
        port = colon != NULL ? colon + 1 : NULL;
    }
    uint64_t number = *https ? 443 : 80;
    if (port != NULL && (!str_to_u64(port, (size_t)(end - port), &number) || number > 65535))
        return err_set(e, ERR_INVALID, "url '%s': malformed port", url);
    if (host_end == host || n >= sizeof c->authority)
        return err_set(e, ERR_INVALID, "url '%s': malformed host", url);
    c->host = mem_strndup(host, (size_t)(host_end - host));
    c->port = (uint16_t)number;
    snprintf(c->authority, sizeof c->authority, "%.*s", (int)n, rest);
    n = strcspn(end, "?#");
    while (n > 0 && end[n - 1] == '/')
        n--;
    c->prefix = mem_strndup(end, n);
    return 0;
}

int http_client_new(const struct http_client_options *options, struct http_client **out,
                    struct err *e)
{
    struct http_client *c = mem_new(sizeof *c);
    bool https = false;
    c->timeout_ms = options->timeout_ms;
    if (options->token != NULL)
        c->token = mem_strdup(options->token);
    int rc = http_client_url(c, options->url, &https, e);
    if (rc == 0 && c->token != NULL && strpbrk(c->token, "\r\n") != NULL)
        rc = err_set(e, ERR_INVALID, "the token holds a line end");
    if (rc == 0 && https)
        rc = tls_client_new(options->ca_path, !options->insecure, &c->tls, e);
    if (rc != 0) {
        http_client_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    sock_close(c->sock);
    tls_client_free(c->tls);
    mem_free(c->host);
    mem_free(c->prefix);
    mem_free(c->token);
    mem_free(c);
}

/* ---- the answer ---- */

void http_client_answer_fini(struct http_client_answer *a)
{
    buf_fini(&a->body);
    map_free(a->headers, mem_free);
    a->headers = NULL;
}

const char *http_client_header(const struct http_client_answer *a, const char *name)
{
    return a->headers != NULL ? map_gets(a->headers, name) : NULL;
}

static struct http_exchange *http_exchange_of(llhttp_t *p)
{
    return p->data;
}

static int http_exchange_fail(struct http_exchange *x, int rc)
{
    x->rc = rc;
    return HPE_USER;
}

static int http_client_on_begin(llhttp_t *p)
{
    http_exchange_of(p)->begun = true;
    return 0;
}

static int http_client_on_head(struct http_exchange *x, struct buf *to, const char *p, size_t n)
{
    x->head_bytes += n;
    if (x->head_bytes > HTTP_CLIENT_HEADERS_MAX)
        return http_exchange_fail(
            x, err_set(x->e, ERR_TOO_LARGE, "the answer's headers are too large"));
    buf_add(to, p, n);
    return 0;
}

static int http_client_on_name(llhttp_t *p, const char *s, size_t n)
{
    struct http_exchange *x = http_exchange_of(p);
    return http_client_on_head(x, &x->name, s, n);
}

static int http_client_on_value(llhttp_t *p, const char *s, size_t n)
{
    struct http_exchange *x = http_exchange_of(p);
    return http_client_on_head(x, &x->value, s, n);
}

static int http_client_on_value_end(llhttp_t *p)
{
    struct http_exchange *x = http_exchange_of(p);
    for (size_t i = 0; i < x->name.len; i++)
        x->name.data[i] = (char)tolower((unsigned char)x->name.data[i]);
    mem_free(map_puts(x->a->headers, buf_str(&x->name), mem_strdup(buf_str(&x->value))));
    buf_reset(&x->name);
    buf_reset(&x->value);
    return 0;
}

static int http_client_on_headers(llhttp_t *p)
{
    struct http_exchange *x = http_exchange_of(p);
    x->a->status = llhttp_get_status_code(p);
    return strcmp(x->r->method, "HEAD") == 0; /* 1: no body follows */
}

/* Whole lines to the caller; what is left waits for more. */
static int http_client_lines(struct http_exchange *x)
{
    size_t at = 0;
    for (char *end; (end = memchr(buf_str(&x->line) + at, '\n', x->line.len - at)) != NULL;) {
        size_t n = (size_t)(end - x->line.data) - at;
        int rc = x->r->line(x->r->line_arg, x->line.data + at, n);
        if (rc != 0)
            return http_exchange_fail(x, rc);
        at += n + 1;
    }
    buf_consume(&x->line, at);
    return 0;
}

static int http_client_on_body(llhttp_t *p, const char *s, size_t n)
{
    struct http_exchange *x = http_exchange_of(p);
    bool lines = x->r->line != NULL && x->a->status / 100 == 2;
    struct buf *to = lines ? &x->line : &x->a->body;
    buf_add(to, s, n);
    int rc = buf_check(to, lines ? "a line of the answer" : "the answer", x->e);
    if (rc != 0)
        return http_exchange_fail(x, rc);
    return lines ? http_client_lines(x) : 0;
}

static int http_client_on_end(llhttp_t *p)
{
    struct http_exchange *x = http_exchange_of(p);
    if (x->a->status / 100 == 1) { /* 100 Continue and friends: the real one follows */
        map_clear(x->a->headers, mem_free);
        return 0;
    }
    if (x->line.len > 0) {
        int rc = x->r->line(x->r->line_arg, x->line.data, x->line.len);
        if (rc != 0)
            return http_exchange_fail(x, rc);
    }
    x->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t http_client_settings = {
    .on_message_begin = http_client_on_begin,
    .on_header_field = http_client_on_name,
    .on_header_value = http_client_on_value,
    .on_header_value_complete = http_client_on_value_end,
    .on_headers_complete = http_client_on_headers,
    .on_body = http_client_on_body,
    .on_message_complete = http_client_on_end,
};

/* ---- the exchange ---- */

static int http_client_head(const struct http_client *c, const struct http_client_request *r,
                            struct buf *b, struct err *e)
{
    buf_addf(b, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: koan/%s\r\nAccept: */*\r\n", r->method,
             c->prefix, r->path, c->authority, KOAN_VERSION);
    if (c->token != NULL)
        buf_addf(b, "Authorization: Bearer %s\r\n", c->token);
    if (r->type != NULL)
        buf_addf(b, "Content-Type: %s\r\n", r->type);
    if (r->read != NULL)
        buf_adds(b, "Transfer-Encoding: chunked\r\n");
    else if (r->body != NULL || strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0)
        buf_addf(b, "Content-Length: %zu\r\n", r->body_n);
    if (r->headers != NULL)
        buf_adds(b, r->headers);
    buf_adds(b, "\r\n");
    if (r->read == NULL && r->body_n <= HTTP_CLIENT_PIECE) /* one packet rather than two */
        buf_add(b, r->body, r->body_n);
    return buf_check(b, "the request's head", e);
}

static int http_client_send_chunks(struct http_client *c, const struct http_client_request *r,
                                   struct err *e)
{
    enum { ROOM = 16 };
    AUTO(mem_freep) char *block = mem_new(ROOM + HTTP_CLIENT_PIECE + 2);
    for (;;) {
        ssize_t n = r->read(r->read_arg, block + ROOM, HTTP_CLIENT_PIECE, e);
        if (n < 0)
            return (int)n;
        char size[ROOM];
        size_t len = (size_t)snprintf(size, sizeof size, "%zx\r\n", (size_t)n);
        char *at = block + ROOM - len;
        memcpy(at, size, len);
        memcpy(block + ROOM + n, "\r\n", 2);
        int rc = sock_write(c->sock, at, len + (size_t)n + 2, e);
        if (rc != 0 || n == 0)
            return rc;
    }
}

static int http_client_send(struct http_client *c, const struct http_client_request *r,
                            struct err *e)
{
    AUTO(buf_fini) struct buf head = BUF_INIT(HTTP_CLIENT_HEADERS_MAX + HTTP_CLIENT_PIECE);
    int rc = http_client_head(c, r, &head, e);
    if (rc == 0)
        rc = sock_write(c->sock, head.data, head.len, e);
    if (rc == 0 && r->read != NULL)
        rc = http_client_send_chunks(c, r, e);
    else if (rc == 0 && r->body_n > HTTP_CLIENT_PIECE)
        rc = sock_write(c->sock, r->body, r->body_n, e);
    return rc;
}

static int http_client_receive(struct http_client *c, struct http_exchange *x, struct err *e)
{
    AUTO(mem_freep) char *block = mem_new(HTTP_CLIENT_PIECE);
    while (!x->done) {
        ssize_t n = sock_read(c->sock, block, HTTP_CLIENT_PIECE, e);
        if (n < 0)
            return (int)n;
        llhttp_errno_t rc =
            n > 0 ? llhttp_execute(&x->parser, block, (size_t)n) : llhttp_finish(&x->parser);
        if (rc == HPE_USER)
            return x->rc;
        if (n == 0 && !x->done)
            return err_set(e, ERR_CANCELED, "%s closed the connection before its answer was whole",
                           c->authority);
        if (rc != HPE_OK && rc != HPE_PAUSED)
            return err_set(e, ERR_UNAVAILABLE, "%s does not speak HTTP: %s", c->authority,
                           llhttp_get_error_reason(&x->parser));
    }
    return 0;
}

static int http_client_connect(struct http_client *c, struct err *e)
{
    struct sock_options o = {
        .host = c->host, .port = c->port, .tls = c->tls, .timeout_ms = c->timeout_ms};
    return c->sock != NULL ? 0 : sock_connect(&o, &c->sock, e);
}

static void http_exchange_init(struct http_exchange *x, const struct http_client_request *r,
                               struct http_client_answer *a, struct err *e)
{
    *x = (struct http_exchange){.r = r, .a = a, .e = e};
    llhttp_init(&x->parser, HTTP_RESPONSE, &http_client_settings);
    x->parser.data = x;
    buf_init(&x->name, HTTP_CLIENT_HEADERS_MAX);
    buf_init(&x->value, HTTP_CLIENT_HEADERS_MAX);
    buf_init(&x->line, HTTP_CLIENT_LINE_MAX);
    a->status = 0;
    buf_init(&a->body, HTTP_CLIENT_BODY_MAX);
    a->headers = map_new();
}

static int http_client_try(struct http_client *c, const struct http_client_request *r,
                           struct http_client_answer *a, bool *begun, struct err *e)
{
    struct http_exchange x;
    int rc = http_client_connect(c, e);
    http_exchange_init(&x, r, a, e);
    if (rc == 0) {
        rc = http_client_send(c, r, e);
        if (rc == 0 || rc == ERR_CANCELED) /* it may have answered before it closed */
            rc = http_client_receive(c, &x, e);
    }
    *begun = x.begun;
    if (rc != 0 || !llhttp_should_keep_alive(&x.parser)) {
        sock_close(c->sock);
        c->sock = NULL;
    }
    buf_fini(&x.name);
    buf_fini(&x.value);
    buf_fini(&x.line);
    return rc;
}

static bool http_client_may_repeat(const struct http_client_request *r)
{
    return strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 ||
           (r->read == NULL && r->headers != NULL &&
            strcasestr(r->headers, "Idempotency-Key:") != NULL);
}

int http_client_do(struct http_client *c, const struct http_client_request *r,
                   struct http_client_answer *a, struct err *e)
{
    bool reused = c->sock != NULL, begun;
    int rc = http_client_try(c, r, a, &begun, e);
    if (rc == ERR_CANCELED && reused && !begun && http_client_may_repeat(r)) {
        http_client_answer_fini(a);
        rc = http_client_try(c, r, a, &begun, e);
    }
    return rc;
}

int http_client_problem(const struct http_client_answer *a, struct err *e)
{
    AUTO(json_unref) json_t *v = json_read(buf_str(&a->body), a->body.len, NULL);
    const char *name = NULL, *detail = NULL;
    if (json_is_object(v)) {
        json_get_string(v, "code", &name, NULL);
        json_get_string(v, "detail", &detail, NULL);
    }
    int code = name != NULL ? err_by_name(name) : 0;
    if (code == 0)
        return err_set(e, a->status >= 500 ? ERR_UNAVAILABLE : ERR_INVALID,
                       "the server answered with status %d", a->status);
    return err_set(e, code, "%s", detail != NULL ? detail : name);
}
