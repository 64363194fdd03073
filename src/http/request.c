#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/http_priv.h"
#include "io/tcp.h"

/* ---- life ---- */

struct http_request *http_request_new(struct http_server *s)
{
    struct list *node = list_pop(&s->free_requests);
    struct http_request *req;
    if (node != NULL) {
        req = LIST_OF(node, struct http_request, link);
        s->free_count--;
    } else {
        req = mem_new(sizeof *req);
        arena_init(&req->arena, HTTP_ARENA_MAX);
        /* Every byte of target and headers, and a NUL behind each name and value. */
        buf_init(&req->head,
                 HTTP_LINE_MAX + HTTP_HEADERS_BYTES_MAX + 2 * (size_t)HTTP_HEADERS_MAX + 2);
        buf_init(&req->extra, HTTP_EXTRA_MAX);
        buf_init(&req->body, 0);
    }
    list_init(&req->link);
    req->server = s;
    req->verb = HTTP_VERB_OTHER; /* until it is known */
    return req;
}

static void http_trim(struct buf *b)
{
    if (b->cap > HTTP_BUFFER_KEPT)
        buf_fini(b);
    buf_reset(b);
}

void http_request_destroy(struct http_request *req)
{
    arena_fini(&req->arena);
    buf_fini(&req->head);
    buf_fini(&req->extra);
    buf_fini(&req->body);
    mem_free(req);
}

void http_request_free(struct http_request *req)
{
    struct http_server *s = req->server;
    list_remove(&req->link);
    if (req->held != NULL)
        s->more->release(s->more, TAKE(req->held));
    s->body_bytes -= req->body.len;
    http_out_clear(&s->pool, &req->out);
    if (s->free_count >= HTTP_REQUESTS_KEPT) {
        http_request_destroy(req);
        return;
    }
    http_trim(&req->head);
    http_trim(&req->extra);
    http_trim(&req->body);
    arena_reset(&req->arena);
    struct arena arena = req->arena;
    struct buf head = req->head, extra = req->extra, body = req->body;
    memset(req, 0, sizeof *req);
    req->arena = arena;
    req->head = head;
    req->extra = extra;
    req->body = body;
    list_push_front(&s->free_requests, &req->link);
    s->free_count++;
}

/* ---- target ---- */

/* Percent-decodes in place. False: a broken escape, a NUL, or not UTF-8. */
static bool http_decode(char *s, bool plus_is_space)
{
    char *to = s;
    for (const char *p = s; *p != '\0'; p++) {
        if (*p == '%') {
            int high = str_hex_digit(p[1]), low = high < 0 ? -1 : str_hex_digit(p[2]);
            if (low < 0 || (high | low) == 0)
                return false;
            *to++ = (char)(high << 4 | low);
            p += 2;
        } else {
            *to++ = plus_is_space && *p == '+' ? ' ' : *p;
        }
    }
    *to = '\0';
    return str_is_utf8(s, (size_t)(to - s));
}

/* "http://host/path" as proxies send it: only the path matters, Host has been checked. */
static char *http_strip_origin(char *target)
{
    char *host = strncasecmp(target, "http://", 7) == 0    ? target + 7
                 : strncasecmp(target, "https://", 8) == 0 ? target + 8
                                                           : NULL;
    if (host == NULL)
        return target;
    char *path = host + strcspn(host, "/?");
    if (*path == '/')
        return path;
    if (path == host || *path != '\0')
        return target;    /* no host, or a query behind the host: refused as not a path */
    memcpy(host, "/", 2); /* there is a host to write over */
    return host;
}

static int http_parse_query(struct http_request *req, struct err *e)
{
    if (*req->query_raw == '\0')
        return 0;
    char *copy = arena_strndup(&req->arena, req->query_raw, strlen(req->query_raw));
    req->query = arena_try(&req->arena, HTTP_QUERY_MAX * sizeof *req->query);
    if (copy == NULL || req->query == NULL)
        return err_set(e, ERR_NOMEM, "query");
    for (char *name; (name = strsep(&copy, "&")) != NULL;) {
        if (*name == '\0')
            continue;
        if (req->query_count == HTTP_QUERY_MAX)
            return err_set(e, ERR_INVALID, "the query has more than %d parameters", HTTP_QUERY_MAX);
        char *value = strchr(name, '=');
        if (value != NULL)
            *value++ = '\0';
        else
            value = name + strlen(name);
        if (!http_decode(name, true) || !http_decode(value, true))
            return err_field(e, ERR_INVALID, name,
                             "query parameter %zu: a malformed escape, or not UTF-8",
                             req->query_count + 1);
        req->query[req->query_count++] = (struct http_pair){name, value};
    }
    return 0;
}

static int http_split_path(struct http_request *req, const char **segments, size_t *count,
                           struct err *e)
{
    char *copy = arena_strndup(&req->arena, req->path + 1, strlen(req->path + 1));
    if (copy == NULL)
        return err_set(e, ERR_NOMEM, "path");
    *count = 0;
    for (char *s; (s = strsep(&copy, "/")) != NULL;) {
        if (*count == HTTP_SEGMENTS_MAX)
            return err_set(e, ERR_NOT_FOUND, "the path has more than %d segments",
                           HTTP_SEGMENTS_MAX);
        if (!http_decode(s, false))
            return err_set(e, ERR_INVALID, "path segment %zu: a malformed escape, or not UTF-8",
                           *count + 1);
        if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
            return err_set(e, ERR_INVALID, "path segment %zu: '%s' is not allowed", *count + 1, s);
        segments[(*count)++] = s;
    }
    return 0;
}

static void http_allow(struct http_request *req, unsigned allowed)
{
    char text[128] = "";
    size_t n = 0;
    for (unsigned v = 0; v < HTTP_VERB_OTHER; v++)
        if (allowed & (1u << v))
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n > 0 ? ", " : "",
                                  http_verb_name(v));
    http_header(req, "Allow", text);
}

/* The routes that may be replaced: what is found in them is held until the request is gone. */
static void http_find_more(struct http_request *req, const char *const *segments, size_t count)
{
    struct http_more *more = req->server->more;
    const struct http_router *r = more != NULL ? more->hold(more, &req->held) : NULL;
    if (r != NULL)
        http_router_find(r, req->verb, segments, count, &req->arena, &req->match);
}

/* False: answered. */
static bool http_find_route(struct http_request *req)
{
    const char *segments[HTTP_SEGMENTS_MAX];
    size_t count = 0;
    struct err e = ERR_INIT;
    if (http_split_path(req, segments, &count, &e) != 0 || http_parse_query(req, &e) != 0) {
        http_problem(req, &e);
        return false;
    }
    http_router_find(req->server->router, req->verb, segments, count, &req->arena, &req->match);
    if (req->match.route == NULL && req->match.allowed == 0)
        http_find_more(req, segments, count);
    if (req->match.route != NULL)
        return true;
    if (req->match.allowed == 0) {
        http_refuse(req, ERR_NOT_FOUND, "there is nothing at %s", req->path);
        return false;
    }
    http_allow(req, req->match.allowed);
    if (req->verb == HTTP_VERB_OPTIONS)
        http_respond(req, 204, NULL, NULL, 0);
    else
        http_refuse(req, ERR_METHOD, "%s does not take this method; see the header Allow",
                    req->path);
    return false;
}

bool http_request_accept(struct http_request *req)
{
    if (req->hosts > 1 || (req->hosts == 0 && !req->http10)) {
        req->keep_alive = false;
        http_refuse(req, ERR_INVALID, "the request needs one Host header, it has %zu", req->hosts);
        return false;
    }
    cors_answer(req->server->cors, req);
    char *target = req->head.data;
    if (req->verb == HTTP_VERB_OPTIONS && strcmp(target, "*") == 0) {
        http_allow(req, (1u << HTTP_VERB_OTHER) - 1);
        http_respond(req, 204, NULL, NULL, 0);
        return false;
    }
    req->path = http_strip_origin(target);
    if (*req->path != '/') {
        http_refuse(req, ERR_INVALID, "the request target must be a path that begins with /");
        return false;
    }
    char *query = strchr(req->path, '?');
    req->query_raw = query != NULL ? query + 1 : req->path + strlen(req->path);
    if (query != NULL)
        *query = '\0';
    if (!http_find_route(req))
        return false;
    return req->server->before == NULL || req->server->before(req);
}

/* ---- what handlers ask ---- */

struct loop *http_loop(const struct http_request *req)
{
    return req->server->loop;
}

void *http_context(const struct http_request *req)
{
    return req->server->context;
}

struct arena *http_arena(struct http_request *req)
{
    return &req->arena;
}

const struct http_route *http_route(const struct http_request *req)
{
    return req->match.route;
}

enum http_verb http_verb(const struct http_request *req)
{
    return req->verb;
}

const char *http_verb_name(enum http_verb verb)
{
    switch (verb) {
    case HTTP_VERB_GET:
        return "GET";
    case HTTP_VERB_HEAD:
        return "HEAD";
    case HTTP_VERB_POST:
        return "POST";
    case HTTP_VERB_PUT:
        return "PUT";
    case HTTP_VERB_PATCH:
        return "PATCH";
    case HTTP_VERB_DELETE:
        return "DELETE";
    case HTTP_VERB_OPTIONS:
        return "OPTIONS";
    case HTTP_VERB_OTHER:
    case HTTP_VERB_COUNT:
        break;
    }
    return "OTHER";
}

const char *http_path(const struct http_request *req)
{
    return req->path;
}

const char *http_query_raw(const struct http_request *req)
{
    return req->query_raw;
}

const char *http_param(const struct http_request *req, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < req->match.params; i++) {
        const char *have = req->match.names[i];
        if (strncmp(have, name, n) == 0 && (have[n] == '/' || have[n] == '\0'))
            return req->match.values[i];
    }
    return NULL;
}

bool http_param_at(const struct http_request *req, size_t at, struct str *name, const char **value)
{
    if (at >= req->match.params)
        return false;
    const char *have = req->match.names[at];
    *name = (struct str){have, strcspn(have, "/")};
    *value = req->match.values[at];
    return true;
}

const char *http_query(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->query_count; i++)
        if (strcmp(req->query[i].name, name) == 0)
            return req->query[i].value;
    return NULL;
}

const struct http_pair *http_query_all(const struct http_request *req, size_t *count)
{
    *count = req->query_count;
    return req->query;
}

const char *http_header_in(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->field_count; i++)
        if (strcasecmp(req->head.data + req->fields[i].name, name) == 0)
            return req->head.data + req->fields[i].value;
    return NULL;
}

bool http_header_at(const struct http_request *req, size_t at, const char **name,
                    const char **value)
{
    if (at >= req->field_count)
        return false;
    *name = req->head.data + req->fields[at].name;
    *value = req->head.data + req->fields[at].value;
    return true;
}

struct str http_body(const struct http_request *req)
{
    return (struct str){buf_str(&req->body), req->body.len};
}

const char *http_correlation(const struct http_request *req)
{
    if (req->correlation[0] == '\0') {
        struct http_server *s = req->server;
        uint8_t random[8];
        struct uuid id;
        http_server_random(s, random);
        uuid_v7(&s->ids, (uint64_t)s->world->wall_ms(s->world), random, &id);
        uuid_format(&id, ((struct http_request *)req)->correlation); /* made when first asked for */
    }
    return req->correlation;
}

const char *http_peer(const struct http_request *req)
{
    return req->conn != NULL && req->conn->tcp != NULL ? tcp_peer(req->conn->tcp) : "";
}

bool http_is_tls(const struct http_request *req)
{
    return req->conn != NULL && req->conn->tcp != NULL && tcp_is_tls(req->conn->tcp);
}

void http_set_user(struct http_request *req, void *user)
{
    req->user = user;
}

void *http_user(const struct http_request *req)
{
    return req->user;
}

void http_set_note(struct http_request *req, void *note)
{
    req->note = note;
}

void *http_note(const struct http_request *req)
{
    return req->note;
}

int http_code(const struct http_request *req)
{
    return req->code;
}

void http_set_local(struct http_request *req, void *local, void (*over)(void *local))
{
    ASSERT(req->over == NULL);
    req->local = local;
    req->over = over;
}

void *http_local(const struct http_request *req)
{
    return req->local;
}

void http_body_stream(struct http_request *req, http_part_cb *part, void *arg)
{
    req->part = part;
    req->part_arg = arg;
}

void http_body_pause(struct http_request *req)
{
    req->paused = true;
}

void http_body_resume(struct http_request *req)
{
    req->paused = false;
    if (req->conn != NULL)
        http_conn_mark(req->conn);
}

void http_on_cancel(struct http_request *req, http_cancel_cb *gone, void *arg)
{
    req->gone = gone;
    req->gone_arg = arg;
}

bool http_is_cancelled(const struct http_request *req)
{
    return req->cancelled;
}
