/* HTTP server - HTTP/1.1 with keep-alive, pipelining and chunked bodies, plain or over TLS.
 *
 * One server belongs to one loop and has a listener of its own; several loops listen on the same
 * port (SO_REUSEPORT) and the kernel spreads connections over them. Nothing is shared but the
 * router, which is read-only once a server uses it.
 *
 *   bytes -> llhttp -> route -> before() -> [body] -> handler -> answer -> one write per turn
 *
 * A handler gets a request and answers it exactly once, at once or later, on the loop's thread:
 * http_respond(), http_problem(), or http_stream_begin() .. http_stream_end(). Until then the
 * request stays valid, whatever happens to the connection; with that call it is gone. If the client
 * goes away the answer is dropped silently, but it must still be given.
 *
 * Pipelined requests are parsed as they lie in the read buffer. Safe ones (GET, HEAD, OPTIONS) run
 * side by side; one that writes waits for those before it, and those behind it wait for it. Answers
 * leave in order, all of one turn in one system call.
 *
 * What a client can make us hold is bounded by the limits below; past them it gets the status that
 * the table of errors names, or its connection is closed. What a request breaks is its own
 * connection, never a neighbour's.
 *
 * Every answer carries X-Correlation-ID: the caller's, if it is 1..128 of [A-Za-z0-9._-], else a
 * new UUID. Answers of type text/html also get a strict content security policy. */
#ifndef KOAN_HTTP_SERVER_H
#define KOAN_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct arena;
struct buf;
struct cors;
struct err;
struct loop;
struct tls_server;
struct http_server;
struct http_router;
struct http_request;

/* Limits of the public contract ("HTTP: bounds", "admission"). */
enum {
    HTTP_LINE_MAX = 8 * 1024,
    HTTP_HEADERS_BYTES_MAX = 32 * 1024,
    HTTP_HEADERS_MAX = 100,
    HTTP_BODY_MAX = 10 * 1024 * 1024, /* a route may set its own */
    HTTP_SEGMENTS_MAX = 32,           /* path segments */
    HTTP_QUERY_MAX = 64,              /* name=value pairs */
    HTTP_HEADER_WAIT_MS = 10 * 1000,
    HTTP_IDLE_MS = 60 * 1000,
    HTTP_WRITE_STALL_MS = 30 * 1000,
    HTTP_RATE_WINDOW_MS = 10 * 1000, /* a body must bring 1 KiB/s over this time */
    HTTP_RATE_BYTES = 1024,
    HTTP_CONNECTIONS_MAX = 10000,     /* a node: divide by the number of loops */
    HTTP_INFLIGHT_MAX = 256,          /* requests at work a core */
    HTTP_INFLIGHT_URGENT = 5,         /* of them one in so many is for HTTP_URGENT */
    HTTP_PIPELINE_MAX = 64,           /* requests of one connection under way */
    HTTP_STREAM_HIGH = 256 * 1024,    /* http_stream_write() says "wait" above it */
    HTTP_STREAM_MAX = 8 * 1024 * 1024 /* and the connection is closed above this */
};

/* ---- routes ---- */

enum http_verb {
    HTTP_VERB_GET,
    HTTP_VERB_HEAD,
    HTTP_VERB_POST,
    HTTP_VERB_PUT,
    HTTP_VERB_PATCH,
    HTTP_VERB_DELETE,
    HTTP_VERB_OPTIONS,
    HTTP_VERB_OTHER, /* known to HTTP but not to any route */
    HTTP_VERB_COUNT
};

typedef void http_handler(struct http_request *req);

enum http_route_flags {
    HTTP_URGENT = 1,      /* health, settle, drain: may use the reserved fifth */
    HTTP_STREAM_BODY = 2, /* the handler runs before the body: http_body_stream() */
    HTTP_LONG = 4,        /* an event stream: not counted as in flight once it streams */
    HTTP_OPEN = 8,        /* for before(): needs no credential */
    HTTP_PUBLIC = 16,     /* the same, and who brings one is asked for the right one */
    HTTP_SCRIPT = 32      /* for after(): it is the scripts', and may do anything */
};

struct http_route {
    enum http_verb verb;
    const char *pattern; /* "/api/:entity/:id"; the last segment may be "*rest" and takes all */
    http_handler *handler;
    unsigned flags;
    size_t body_max; /* 0: HTTP_BODY_MAX; for HTTP_STREAM_BODY no bound */
};

struct http_router *http_router_new(void);
void http_router_free(struct http_router *r); /* after the servers that use it */
/* The table must outlive the router. A literal segment is tried before a parameter, a parameter
 * before a tail. HEAD is answered by GET's route, OPTIONS by the router, both unless routed
 * themselves. The same verb and pattern twice: ERR_CONFLICT. */
int http_router_add(struct http_router *r, const struct http_route *routes, size_t count,
                    struct err *e);

/* Routes beside the router's, which may be replaced as a whole while servers run. Asked on the
 * server's thread for each request to a path that the router does not know. */
struct http_more {
    /* NULL: none. The router, its routes and what they point to stay until release(). */
    const struct http_router *(*hold)(struct http_more *m, void **held);
    void (*release)(struct http_more *m, void *held);
};

/* ---- server ---- */

struct http_options {
    const char *address; /* "127.0.0.1", "::", "0.0.0.0" */
    uint16_t port;       /* 0: any free one */
    /* Another server of this process listens there already: set for the second and further loops.
     * Without it the port must be free. */
    bool shared;
    int fd; /* a socket that listens already, as in struct tcp_listen_options; 0: none */
    struct tls_server *tls; /* NULL: plain; shared by servers, not owned */
    size_t connections_max; /* 0: HTTP_CONNECTIONS_MAX */
    size_t inflight_max;    /* requests at work on this loop; 0: HTTP_INFLIGHT_MAX */
    struct http_more *more; /* NULL: none; outlives the server */
    void *context;          /* for http_context() */
    /* Runs when the headers are there, before the body is read: authentication, read-only mode,
     * redirects. Returns true to go on; false after having answered. NULL: none. */
    bool (*before)(struct http_request *req);
    /* Runs when the answer is complete, or was given up, before the request goes; it must not
     * answer. `began_ns`: on the monotonic clock. NULL: none. */
    void (*after)(struct http_request *req, int status, uint64_t began_ns);
    const struct cors
        *cors; /* http/cors.h: pages of which origins may ask; NULL: none. Not owned */
};

/* Listens when it returns 0. An address in use is ERR_CONFLICT with address, port and way out. */
int http_server_open(struct loop *loop, const struct http_options *options,
                     const struct http_router *router, struct http_server **out, struct err *e);
uint16_t http_server_port(const struct http_server *s);
/* On the loop's thread. */
size_t http_server_connections(const struct http_server *s);
/* Stops listening, closes idle connections; what is under way is answered with Connection: close.
 * `closed` runs from the loop when the last one is gone; the server is freed then. Calling it again
 * only replaces the callback. */
typedef void http_closed_cb(void *arg);
void http_server_close(struct http_server *s, http_closed_cb *closed, void *arg);
/* Do not wait for clients any longer: cut all connections. Handlers still have to answer. After
 * http_server_close. */
void http_server_abort(struct http_server *s);

/* ---- what came ---- All pointers live until the request is answered. */

struct loop *http_loop(const struct http_request *req);
void *http_context(const struct http_request *req);
struct arena *http_arena(struct http_request *req); /* freed with the request */
const struct http_route *http_route(const struct http_request *req);
enum http_verb http_verb(const struct http_request *req);
const char *http_verb_name(enum http_verb verb);
/* The path as sent, without query; the query as sent, without '?', "" when there is none. */
const char *http_path(const struct http_request *req);
const char *http_query_raw(const struct http_request *req);
/* A decoded ":name" or "*name" of the pattern; NULL if the pattern has none of that name. */
const char *http_param(const struct http_request *req, const char *name);
/* Parameter number `at` of the pattern, from 0; false past the last. The name has no end of its
 * own. */
bool http_param_at(const struct http_request *req, size_t at, struct str *name, const char **value);
/* The first decoded value of a query key, NULL when absent. */
const char *http_query(const struct http_request *req, const char *name);
struct http_pair {
    const char *name, *value;
};
/* All query pairs in order, decoded, to refuse unknown ones. */
const struct http_pair *http_query_all(const struct http_request *req, size_t *count);
/* A header's value, any case; the first if it came twice; NULL when absent. */
const char *http_header_in(const struct http_request *req, const char *name);
/* Header number `at`, from 0, as it came; false past the last. For families like X-Canon-Tag-*. */
bool http_header_at(const struct http_request *req, size_t at, const char **name,
                    const char **value);
struct str http_body(const struct http_request *req); /* NUL-terminated, p never NULL */
const char *http_correlation(const struct http_request *req);
const char *http_peer(const struct http_request *req); /* "192.0.2.1" */
bool http_is_tls(const struct http_request *req);
/* One pointer for before() to hand to handlers (who is asking). */
void http_set_user(struct http_request *req, void *user);
void *http_user(const struct http_request *req);
/* The same, of after()'s: what it wants to know of the request. */
void http_set_note(struct http_request *req, void *note);
void *http_note(const struct http_request *req);
/* The code of the problem that it was answered with, 0 for none. */
int http_code(const struct http_request *req);
/* One pointer of the handlers' own; over(local) runs once, when the request is answered. */
void http_set_local(struct http_request *req, void *local, void (*over)(void *local));
void *http_local(const struct http_request *req);

/* Body in pieces, for routes with HTTP_STREAM_BODY: call it from the handler. `part` gets the bytes
 * as they come and n == 0 once at the end. It never runs after the answer or when the client broke
 * off: for that there is http_on_cancel(). A malformed chunk, or more than body_max, is the same to
 * the handler; the client gets 400 or 413 for it, unless the handler has begun to answer.
 * Between pause and resume at most 16 KiB more arrive. A handler that returns without asking for
 * the body never sees it. */
typedef void http_part_cb(struct http_request *req, void *arg, const char *p, size_t n);
void http_body_stream(struct http_request *req, http_part_cb *part, void *arg);
void http_body_pause(struct http_request *req);
void http_body_resume(struct http_request *req);

/* `gone` runs at most once, when the client is known to have left before the answer was complete: a
 * hint to stop working. The request must still be answered. */
typedef void http_cancel_cb(struct http_request *req, void *arg);
void http_on_cancel(struct http_request *req, http_cancel_cb *gone, void *arg);
bool http_is_cancelled(const struct http_request *req);

/* The request waits for something that others do (a long poll, lines that a client sends as they
 * come to it): from now on it is not counted among those at work, its body may come as slowly as it
 * likes, and a client that sends no more has left. Whoever lets it wait bounds how many do. */
void http_uncounted(struct http_request *req);

/* ---- the answer ---- */

/* Adds a header to the answer; before any of the calls below. Control characters in the value
 * become spaces. Content-Type, -Length, Date, Connection and Transfer-Encoding are the server's. */
void http_header(struct http_request *req, const char *name, const char *value);
void http_headerf(struct http_request *req, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void http_header_uint(struct http_request *req, const char *name, uint64_t value);

/* The whole answer. `body` is copied; `type` may be NULL where there is no body. */
void http_respond(struct http_request *req, int status, const char *type, const void *body,
                  size_t n);
/* The same, taking over the buffer's memory. A buffer that failed answers 500. */
void http_respond_buf(struct http_request *req, int status, const char *type, struct buf *body);
/* application/problem+json (RFC 9457): type, title, status, code, detail, retry, and errors when
 * the error names a field. Adds Retry-After where the table says so, 5 s unless
 * http_retry_after(). Texts of internal errors go to the log; the answer has the id to look for. */
void http_problem(struct http_request *req, const struct err *e);
/* With further members: `more` is JSON text like "\"failed_op\":3", or NULL. */
void http_problem_more(struct http_request *req, const struct err *e, const char *more);
/* Code and words in one call. */
void http_refuse(struct http_request *req, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The server spreads it by 20 % so that callers do not return together. */
void http_retry_after(struct http_request *req, unsigned seconds);

/* An answer in pieces: chunked, or ended by closing for HTTP/1.0 clients. Bytes leave at the end of
 * the turn. Works for server-sent events: type "text/event-stream". */
void http_stream_begin(struct http_request *req, int status, const char *type);
/* Always takes the bytes. False: more than HTTP_STREAM_HIGH wait for the client (or it is gone);
 * stop until `drain` runs. */
bool http_stream_write(struct http_request *req, const void *p, size_t n);
size_t http_stream_waiting(const struct http_request *req);
typedef void http_drain_cb(struct http_request *req, void *arg);
void http_stream_on_drain(struct http_request *req, http_drain_cb *drain, void *arg);
/* The request is gone afterwards. `abort` cuts the connection, so that the client sees that the
 * answer is incomplete. */
void http_stream_end(struct http_request *req);
void http_stream_abort(struct http_request *req);

#endif
