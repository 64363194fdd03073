/* What fetch.c (the steps), fetch_answer.c (parsing) and fetch_lookup.c (names, roots, breakers)
 * share. */
#ifndef KOAN_HTTP_FETCH_PRIV_H
#define KOAN_HTTP_FETCH_PRIV_H

#include <llhttp.h>
#include <pthread.h>

#include "http/breaker.h"
#include "http/fetch.h"
#include "http/target.h"
#include "io/tcp.h"
#include "io/world.h"

enum fetch_state {
    FETCH_LOOKUP,
    FETCH_CONNECT,
    FETCH_HANDSHAKE,
    FETCH_SEND,
    FETCH_RECEIVE,
    FETCH_ENDED
};

struct fetch_lookup;

struct fetch_addresses {
    char text[FETCH_ADDRESSES_MAX][TCP_ADDRESS_TEXT];
    int count, at;
};

struct fetch {
    struct list node; /* fetcher->all */
    struct fetcher *fetcher;
    struct world *world;
    void (*done)(struct fetch *f, void *arg);
    void *arg;
    enum fetch_state state;
    struct world_timer timer;
    uint64_t ends_ms, connect_ends_ms; /* on the loop's clock */

    char *method, *headers, *secret_headers, *allow, *body;
    size_t body_n, body_max;
    uint32_t connect_ms;
    int redirects_left;

    struct target target;
    struct fetch_lookup *lookup; /* NULL: none under way */
    struct fetch_addresses addresses;
    struct tls_client *tls;
    struct tcp *tcp;
    struct buf head; /* of the request */
    size_t sent;
    bool older;     /* offer TLS 1.2 only */
    bool asked;     /* the breaker let us out, and is owed a word */
    bool unguarded; /* no breaker is asked */
    bool kept;      /* the connection has served another before */
    bool keeps;     /* the answer leaves it in order */

    llhttp_t parser;
    struct buf name, value;
    size_t head_bytes;
    bool whole;
    int status;
    struct buf answer;
    struct map *answer_headers;
    struct err err;
    char *url;
};

/* ---- fetch_answer.c ---- */
void fetch_answer_begin(struct fetch *f); /* forgets what was there */
/* Bytes that came; n 0: the end of the stream. Sets f->whole. */
int fetch_answer_take(struct fetch *f, const char *p, size_t n, struct err *e);

/* ---- fetch_idle.c ---- */
void fetch_idle_init(struct fetcher *f);
/* A kept connection to one of the addresses becomes f->tcp. */
bool fetch_idle_take(struct fetch *f);
/* f->tcp is kept, if it may be; else it stays. */
void fetch_idle_put(struct fetch *f);

/* ---- fetch_lookup.c ---- */
/* fetch_looked_up() follows, later. */
void fetch_lookup_start(struct fetch *f);
void fetch_lookup_forget(struct fetch *f); /* nobody waits for it any more */
void fetch_looked_up(struct fetch *f, const struct err *e);
int fetch_breaker_ask(struct fetch *f, struct err *e);
void fetch_breaker_note(struct fetch *f, bool ok);
uint64_t fetch_now_ms(const struct fetch *f);

#endif
