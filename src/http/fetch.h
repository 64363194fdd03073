/* Fetch - one HTTP request to somewhere, on a loop and without blocking it. For scripts.
 *
 *   LOOKUP -> CONNECT -> HANDSHAKE -> SEND -> RECEIVE -> ENDED            only fetch_go() moves
 * `state` ^         | \ (next address)              | |         +--> CONNECT                    |
 * a redirect, at most redirects_max
 *      +-----------------------------------------+
 *
 * Bounds: all of it within timeout_ms, reaching a host (name, connection, TLS) within connect_ms;
 * the answer within body_max and FETCH_HEAD_MAX; FETCH_BODIES_MAX for all that one fetcher holds. A
 * connection that an answer has left in order is kept for FETCH_IDLE_MS and serves further GET and
 * HEAD requests to the same host (fetch_idle.c). Certificates are checked against the system's
 * roots (or SSL_CERT_FILE), always. Private addresses need `allow`, see http/address.h: what is
 * connected to is the very address that was looked at. A host that fails again and again is left
 * alone, see http/breaker.h; a failure is no answer, or 502, 503, 504. Nothing is sent twice, but
 * for a GET or HEAD whose kept connection turns out to be closed: whether a request that got no
 * answer has had an effect is not known here.
 *
 * redirects_max 0 hands a redirect to the caller; more of them than allowed is an error.
 * Across origins a redirect carries neither Authorization nor Cookie. 303, and 301 and 302 of a
 * POST, go on as GET without the body.
 *
 * Names are looked up on FETCH_LOOKUPS threads of their own, which begin with the first lookup: a
 * resolver that does not answer holds up other lookups, and nothing else: nobody waits for its
 * thread, neither an op that times out nor the end of the program. The loop must not end before
 * fetcher_is_idle(). */
#ifndef KOAN_HTTP_FETCH_H
#define KOAN_HTTP_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "io/world.h"

struct fetch;
struct fetch_shared;
struct loop;
struct map;

enum {
    FETCH_TIMEOUT_MS = 10 * 1000,
    FETCH_TIMEOUT_MAX_MS = 60 * 1000,
    FETCH_CONNECT_MS = 5 * 1000,
    FETCH_REDIRECTS = 5,
    FETCH_BODY_MAX = 10 << 20,
    FETCH_HEAD_MAX = 64 << 10,
    FETCH_SEND_MAX = 10 << 20,
    FETCH_BODIES_MAX = 64 << 20,
    FETCH_MAX = 256,        /* at a time, of one fetcher */
    FETCH_LOOKUPS = 4,      /* names looked up at a time, in all */
    FETCH_HOSTS_MAX = 1000, /* that the breaker remembers */
    FETCH_ADDRESSES_MAX = 8,
    FETCH_IDLE_MS = 4000,    /* less than what servers keep them for */
    FETCH_IDLE_MAX = 32,     /* kept connections of one fetcher */
    FETCH_IDLE_HOST_MAX = 4, /* and of them to one host */
};

/* What all threads share: breakers, and the roots, which are read when first needed. */
struct fetch_shared *fetch_shared_new(void);
void fetch_shared_free(struct fetch_shared *s); /* takes NULL */

/* A thread's part. */
struct fetcher {
    struct loop *loop;
    struct fetch_shared *shared;
    size_t count, lookups, bytes;
    struct list all;  /* requests under way */
    struct list idle; /* fetch_idle.c */
    size_t idle_count;
    struct world_timer idle_timer;
};
void fetcher_init(struct fetcher *f, struct loop *loop, struct fetch_shared *shared);
bool fetcher_is_idle(const struct fetcher *f);
/* Closes the connections that are kept. When no request is under way any more. */
void fetcher_hang_up(struct fetcher *f);

struct fetch_request {
    const char *method; /* "GET" */
    const char *url;
    const char *headers;        /* lines, each with "\r\n"; may be NULL */
    const char *secret_headers; /* the same, not carried to another origin; may be NULL */
    const void *body;           /* NULL: none */
    size_t body_n;
    uint32_t timeout_ms, connect_ms;
    int redirects_max;
    size_t body_max;
    const char *allow; /* private addresses; may be NULL */
    bool unguarded;    /* no breaker: the caller has one of its own */
};

/* 0: done() runs once, later, on the loop; then read the result and fetch_free(). Else nothing was
 * started: ERR_INVALID, ERR_OVERLOADED. The request is copied. */
int fetch_start(struct fetcher *f, const struct fetch_request *r,
                void (*done)(struct fetch *f, void *arg), void *arg, struct fetch **out,
                struct err *e);
/* Ends it at once, with ERR_CANCELED: done() runs before this returns. Not from within done(). What
 * the host has got of it may have its effect. */
void fetch_cancel(struct fetch *f);
/* All that are under way. */
void fetcher_cancel(struct fetcher *f);
/* After done(). Takes NULL. */
void fetch_free(struct fetch *f);

/* code 0: there is an answer, of whatever status. ERR_INVALID (of a redirect), ERR_FORBIDDEN (a
 * private address), ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_TOO_LARGE, ERR_OVERLOADED. */
const struct err *fetch_error(const struct fetch *f);
int fetch_status(const struct fetch *f);
const struct buf *fetch_body(const struct fetch *f);
/* lower-case name -> char *; several of a name are joined by ", ", cookies by a line end. */
const struct map *fetch_headers(const struct fetch *f);
/* The last URL, after redirects. */
const char *fetch_url(const struct fetch *f);

#endif
