/* What the files of http/ share.
 *
 *   server.c   open, close, sweep of deadlines      conn.c     reading, writing, order of requests
 *   parse.c    llhttp's callbacks                   request.c  what came, for handlers
 *   router.c   patterns                             respond.c  the answer, for handlers
 *   out.c      bytes that wait to be written
 *
 * Life of a request:
 *
 *     READING --> READY --> RUNNING --> (answered) --> gone
 *        \________________________________^
 *         refused early: the rest of its body is skipped
 *
 * Invariants of a connection:
 *   1. `requests` is in the order of arrival; only its last may be READING (then it is `reading`)
 *      or READY (then it waits for those before it, and nothing is parsed).
 *   2. A request that writes runs alone: it is the first of the list, and nothing behind it is
 *      parsed until it is answered.
 *   3. Only the first request adds to `out`; the others collect in their own.
 *   4. A request whose connection is gone has conn == NULL and is on the server's `orphans`. */
#ifndef KOAN_HTTP_HTTP_PRIV_H
#define KOAN_HTTP_HTTP_PRIV_H

#include <llhttp.h>
#include <sys/uio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/uuid.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/world.h"

struct stat_counter;
struct stat_gauge;
struct stat_histogram;
struct tcp;
struct tcp_listener;

enum {
    HTTP_READ_BYTES = 64 * 1024, /* one buffer a server, not one a connection */
    HTTP_READS_PER_TURN = 16,
    HTTP_SLICE = 16 * 1024,       /* fed at once while a body streams */
    HTTP_DISCARD_MAX = 64 * 1024, /* of a body nobody wants, rather than closing */
    HTTP_CHUNK = 8 * 1024,        /* of output */
    HTTP_CHUNKS_KEPT = 64,        /* free ones a server keeps */
    HTTP_REQUESTS_KEPT = 64,      /* the same for requests */
    HTTP_BUFFER_KEPT = 16 * 1024, /* a kept request's buffers are at most this large */
    HTTP_IOV_MAX = 64,            /* chunks in one system call */
    HTTP_COPY_MAX = 4 * 1024,     /* larger bodies are taken over, not copied */
    HTTP_PARAMS_MAX = 8,          /* of one pattern */
    HTTP_ARENA_MAX = 16 * 1024 * 1024,
    HTTP_BODIES_MAX = 128 * 1024 * 1024, /* bodies being buffered, all connections of a server */
    HTTP_LINGER_MS = 2000, /* wait for the client to read our last words before closing */
    HTTP_SWEEP_MS = 1000,
    HTTP_EXTRA_MAX = 16 * 1024, /* headers a handler adds */
    HTTP_CORRELATION_MAX = 128,
    HTTP_RETRY_AFTER_S = 5,
    /* Bytes of a message that are neither head nor body, like blanks before a value and extensions
     * of chunks: so many, and so many for each byte of the body. */
    HTTP_PADDING_MAX = 64 * 1024,
    HTTP_PADDING_RATIO = 8,
    HTTP_EVICT_LOOK = 64,      /* connections looked at to find one that may go */
    HTTP_EVICT_HEAD_MS = 1000, /* one that takes longer than this for its headers may */
};

#define HTTP_CONN_MAGIC 0x6b6f616eu

/* ---- output ---- */

enum http_chunk_kind { HTTP_CHUNK_POOLED, HTTP_CHUNK_OWNED, HTTP_CHUNK_TAKEN };

struct http_chunk {
    struct http_chunk *next;
    char *data;
    size_t off, len, cap;
    enum http_chunk_kind kind;
    char room[];
};

struct http_out {
    struct http_chunk *head, *tail;
    size_t bytes;
};

struct http_pool {
    struct http_chunk *free;
    size_t count;
};

void http_out_add(struct http_pool *pool, struct http_out *o, const void *p, size_t n);
/* n contiguous bytes to fill, counted already. */
char *http_out_reserve(struct http_pool *pool, struct http_out *o, size_t n);
/* Give back what a reserve() did not need. */
void http_out_unreserve(struct http_out *o, size_t n);
/* Memory of mem_try() that goes with the chunk. */
void http_out_take(struct http_out *o, char *data, size_t n);
void http_out_splice(struct http_out *to, struct http_out *from);
int http_out_iov(const struct http_out *o, struct iovec *iov, int max);
void http_out_consume(struct http_pool *pool, struct http_out *o, size_t n);
void http_out_clear(struct http_pool *pool, struct http_out *o);
void http_pool_fini(struct http_pool *pool);

/* ---- router ---- */

struct http_match {
    const struct http_route *route; /* NULL: 404, or 405 if `allowed` */
    unsigned allowed;               /* 1 << verb */
    size_t params;
    const char *names[HTTP_PARAMS_MAX], *values[HTTP_PARAMS_MAX];
};

/* `segments` are decoded; values are taken from them, a tail is joined in `arena`. */
void http_router_find(const struct http_router *r, enum http_verb verb, const char *const *segments,
                      size_t count, struct arena *arena, struct http_match *out);

/* ---- requests ---- */

struct http_field {
    uint32_t name, value; /* places in `head`, each ends with NUL */
};

enum http_phase { HTTP_READING, HTTP_READY, HTTP_RUNNING };

struct http_request {
    struct list link;
    struct http_conn *conn; /* NULL once the client is gone */
    struct http_server *server;
    enum http_phase phase;
    enum http_verb verb;

    /* what came */
    struct buf head; /* target, then names and values, NUL behind each */
    struct http_field fields[HTTP_HEADERS_MAX];
    size_t field_count, head_bytes, hosts;
    struct buf body;
    char *path, *query_raw;
    struct http_pair *query;
    size_t query_count;
    struct http_match match;
    void *held; /* of server->more: the match is one of its routes */
    struct arena arena;
    bool http10, keep_alive, has_length, chunked, expects, value_open, headers_done;
    uint64_t content_length, started_ns, raw_bytes;

    /* the handler's */
    void *user, *note;
    void *local;
    void (*over)(void *local);
    http_part_cb *part;
    void *part_arg;
    uint64_t part_bytes;
    http_cancel_cb *gone;
    void *gone_arg;
    http_drain_cb *drain;
    void *drain_arg;
    bool paused, cancelled, blocked;

    /* the answer */
    struct http_out out; /* while requests before it are unanswered */
    struct buf extra;    /* added headers */
    bool begun, streaming, waits, chunk_coded, answered, counted, no_body;
    int status, code;
    unsigned retry_after_s;
    char correlation[HTTP_CORRELATION_MAX + 1];
};

/* ---- connections ---- */

struct http_conn {
    uint32_t magic;
    struct list link;  /* server->conns, by the beginning of the latest request */
    struct list dirty; /* server->dirty, or alone */
    struct http_server *server;
    struct tcp *tcp; /* NULL when fed by a test */
    llhttp_t parser;
    struct list requests;
    size_t request_count;
    struct http_request *reading;
    struct buf rest; /* read but not parsed: something must be answered first */
    struct http_out out;
    uint64_t fed;  /* bytes parsed so far, for messages */
    int fail_code; /* a callback of the parser refuses: with these words */
    char fail[160];
    bool doomed;     /* freed at the end of the turn, and nowhere else */
    bool input_over; /* parse no more */
    bool last;       /* close once everything is answered and written */
    bool stalled;    /* the kernel did not take all of `out` */
    bool lingering;
    bool unread;       /* there may be input we will not read: linger */
    uint64_t since_ms; /* start of the present wait: head, idle or linger */
    uint64_t wrote_ms;
    uint64_t rate_ms; /* start of the rate window, and what came in it */
    size_t rate_bytes;
};

struct http_server {
    struct loop *loop;
    struct world *world;
    const struct http_router *router;
    void *context;
    bool (*before)(struct http_request *req);
    void (*after)(struct http_request *req, int status, uint64_t began_ns);
    const struct cors *cors;
    struct http_more *more;
    size_t connections_max, inflight_max;
    struct tcp_listener *listener;
    struct loop_hook hook;
    struct world_timer sweep;
    struct task closed_task, again_task;
    bool again;
    http_closed_cb *closed;
    void *closed_arg;
    bool closing, sweeping, gone;
    bool full;       /* all connections are at work: nobody else is accepted until one is not */
    uint64_t now_ms; /* of this turn */

    struct list conns, dirty, orphans;
    size_t conn_count, inflight, body_bytes;
    struct list free_requests;
    size_t free_count;
    struct http_pool pool;
    char *read_buffer;

    struct uuid_gen ids;
    uint8_t random[256];
    size_t random_left;
    char date[40];
    uint64_t date_ms;

    struct stat_counter *requests[HTTP_VERB_COUNT][5];
    struct stat_histogram *duration;
    struct stat_gauge *gauge_conns, *gauge_inflight;
};

/* Without listening; tests feed connections by hand. */
struct http_server *http_server_new(struct loop *loop, const struct http_options *options,
                                    const struct http_router *router);
void http_server_random(struct http_server *s, uint8_t out[8]);
/* "Thu, 01 Jan 1970 00:00:00 GMT" */
const char *http_server_date(struct http_server *s);
/* A connection ended, or has nothing to do: there may be room for another. */
void http_server_has_room(struct http_server *s);
/* Something went away: perhaps that was the last. */
void http_server_check_closed(struct http_server *s);
/* For tests: what the end of a turn does. */
void http_server_turn(struct http_server *s);

extern const llhttp_settings_t http_parser_settings;

struct http_conn *http_conn_new(struct http_server *s, struct tcp *tcp);
void http_conn_free(struct http_conn *c);
/* Cut it: freed at the end of the turn, so callers up the stack may still look at it. */
void http_conn_kill(struct http_conn *c);
/* The request is no longer part of the connection. */
void http_conn_forget(struct http_conn *c, struct http_request *req);
void http_conn_feed(struct http_conn *c, const char *p, size_t n);
void http_conn_mark(struct http_conn *c); /* has work for the end of the turn */
void http_conn_turn(struct http_conn *c); /* that work */
void http_conn_sweep(struct http_conn *c);
/* A request begins: the last to be asked to go. */
void http_conn_touch(struct http_conn *c);
/* Nothing is lost with it: no request of it is at work, no answer on its way. */
bool http_conn_is_idle(const struct http_conn *c);
bool http_conn_may_parse(const struct http_conn *c);
/* Asserts the invariants above. */
void http_conn_check(const struct http_conn *c);
/* The parser has a whole message, or all headers of one that streams. */
void http_conn_advance(struct http_conn *c);
/* The answer of `req` is complete. It is gone afterwards unless it is still being read. */
void http_conn_answered(struct http_conn *c, struct http_request *req);
void http_conn_pop(struct http_conn *c);

struct http_request *http_request_new(struct http_server *s);
void http_request_free(struct http_request *req);
void http_request_destroy(struct http_request *req);
/* Target, Host and header rules; sets route or refuses. False: it was refused. */
/* Headers for the page of another origin, before anything else is decided. `c` NULL: none. */
void cors_answer(const struct cors *c, struct http_request *req);
bool http_request_accept(struct http_request *req);
/* For the wire: a status line's words. */
const char *http_status_text(int status);
/* Start of the answer to `100-continue`. */
void http_continue(struct http_request *req);
/* Where its output goes: the connection's if it is first. */
struct http_out *http_request_out(struct http_request *req);

#endif
