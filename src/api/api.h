/* Api - the HTTP face of the domains: thin routes over entity, canon and ledger.
 *
 * One `struct api` is shared by all net threads and is read-only for them, but for a few flags that
 * are atomic. What belongs to one thread (its loop, its read-only database connection, its
 * generator of ids) is a `struct api_thread`, handed to the server as its context:
 *
 *     api_new(&options, &api, &e);                        once, after ledger_open and bind_open
 *     api_routes(api, router, &e);                        once
 *     for each net thread:
 *         api_thread_new(api, loop, &thread, &e);         before the loop runs, or on it
 *         http_server_open(loop, &(struct http_options){
 *             .context = thread, .before = api_before, ...}, router, &server, &e);
 *
 * Life of a request: api_before() decides who asks. A handler looks up the entity or model, reads
 * through the thread's own connection, or proposes a unit and answers when it is committed. Short
 * reads (a record, a page by id) run on the net thread; whatever may visit many rows runs on the
 * pool, with a connection of the pool's. A handler parses what it must refuse, nothing else: a
 * record that is read goes from the row to the socket as text.
 *
 * Files: records_*.c (entities), with.c, history.c, transfer.c, feed*.c (changes as events),
 * canon_*.c, health.c, metrics.c, docs.c; body.c (what came), etag.c (conditions), page.c (signed
 * cursors, Link), wait.c (X-Koan-Seq, X-Koan-Consistency), pool.c, openapi*.c, view.c (computed
 * fields), stream.c (all rows of one snapshot). */
#ifndef KOAN_API_API_H
#define KOAN_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

struct api;
struct api_node_call;
struct api_thread;
struct bus;
struct canon;
struct canon_engine;
struct coord;
struct entities;
struct entity_hooks;
struct envelope;
struct health_board;
struct http_request;
struct http_router;
struct ledger;
struct queues;
struct loop;
struct rate_rule;
struct trace;

enum {
    API_LOOPS_MAX = 256,           /* loops that /livez asks */
    API_POOL_READERS = 4,          /* connections of the pool: libuv runs four threads */
    API_SEQ_WAIT_MS = 5000,        /* a read with X-Koan-Seq waits so long for this node */
    API_LIVE_LAG_S = 10,           /* a loop that did not turn for so long is stuck */
    API_KEY_BYTES = 32,            /* of cursor_key */
    API_TOKEN_HASH = 32,           /* of api_token_hash */
    API_TOKEN_MIN = 16,            /* characters of a token */
    API_STREAMS_MAX = 16,          /* streams of records at a time, each with a connection */
    API_STREAM_MS = 5 * 60 * 1000, /* how long one holds its snapshot, unless said otherwise */
    API_STREAM_BATCH = 128 << 10,  /* bytes of rows read at once for one */
    API_ANSWER_MAX = 64 << 20,     /* bytes of one answer held in memory */
    API_VIEW_MAX = 8 << 20,        /* of one with records beside that goes through views */
    API_STREAM_ROWS = 50,          /* records with others beside, that a stream gives at once */
    API_STREAM_BESIDE = 2000       /* and those beside, after which it gives what it has */
};

enum api_script_verb {
    API_SCRIPTS_LIST,
    API_SCRIPTS_DEPLOY,
    API_SCRIPTS_FOLLOW, /* a deploy that was not waited for */
    API_SCRIPTS_ROLLBACK,
    API_SCRIPTS_RUN
};

/* Something that is asked of the scripts, from a net thread. */
struct api_script_call {
    enum api_script_verb verb;
    json_t *body;   /* an object; NULL for API_SCRIPTS_LIST; stays the asker's */
    const char *id; /* of API_SCRIPTS_FOLLOW */
    const char *principal, *correlation, *traceparent; /* the last may be NULL */
    struct loop *loop;                       /* where done() runs, once: later, or at once */
    void (*done)(struct api_script_call *c); /* the struct is the asker's again */
    struct err err;
    json_t *answer; /* of err.code 0; a new reference */
    bool going_on;  /* the answer is how far it is: 202 */
    void *impl;
};

struct api_options {
    struct ledger *ledger;
    struct queues *queues; /* NULL: the routes of queues are not there */
    struct bus *bus;       /* NULL: those of topics are not; never without queues */
    struct entities *entities;
    struct coord *coord;        /* NULL: its routes are not there */
    struct canon *canon;        /* NULL: canon routes answer `not_found` */
    struct entity_hooks *hooks; /* bind_entity_hooks(); NULL when nothing declares hooks */
    /* bind_engine() of `scripts_arg`; called on net threads. NULL together with canon. */
    struct canon_engine *(*engine)(void *scripts_arg, const char *model);
    /* bind_status() of `scripts_arg`: a new reference, or NULL. May be NULL. */
    json_t *(*scripts)(void *scripts_arg);
    void *scripts_arg;
    /* POST /api/cluster/run, /api/cluster/scripts. NULL: the routes are not there. */
    void (*script_call)(void *arg, struct api_script_call *c);
    void *script_call_arg;
    /* /api/cluster/settings, /api/cluster/apply: see api/node_call.h. NULL: they are not there. */
    void (*node_call)(void *arg, struct api_node_call *c);
    void *node_call_arg;

    /* With a token every request but the health probes must bring `Authorization: Bearer`. */
    bool token_required;
    uint8_t token_hash[API_TOKEN_HASH]; /* api_token_hash() */
    uint8_t cursor_key[API_KEY_BYTES];  /* random, made once, kept in the data directory */
    const char *env;                    /* "production", "development"; texts are copied */
    const char *node_id, *data_dir;
    uint64_t stream_ms;          /* 0: API_STREAM_MS */
    struct health_board *health; /* what /health shows besides the checks; may be NULL */
    struct trace *trace;         /* where requests are noted, and /api/timeline; may be NULL */
};

int api_new(const struct api_options *o, struct api **out, struct err *e);
/* After the threads are freed. Takes NULL. */
void api_free(struct api *a);
int api_routes(struct api *a, struct http_router *r, struct err *e);

/* Opens the thread's readers. `loop` is one that will serve requests. */
int api_thread_new(struct api *a, struct loop *loop, struct api_thread **out, struct err *e);
/* On its loop, before http_server_close: what would never end by itself ends. */
void api_thread_drain(struct api_thread *t);
void api_thread_free(struct api_thread *t); /* takes NULL; when the loop runs no more */

/* Who asks: texts live as long as the request. */
void api_envelope(const struct http_request *req, struct envelope *env);
/* For http_options.before, and .after. */
bool api_before(struct http_request *req);
void api_after(struct http_request *req, int status, uint64_t began_ns);

/* Loops that must turn for /livez to say yes: before the servers open. Threads of api_thread_new
 * are among them already. `name` is copied. */
void api_watch_loop(struct api *a, const char *name, struct loop *loop);
/* Any thread. /readyz says no, and why. */
void api_set_draining(struct api *a, bool draining);
/* Any thread. /readyz says no and why, and nothing is answered but probes and what belongs to the
 * node itself; NULL: no more. */
void api_set_waiting(struct api *a, const char *why);
/* Any thread. How many requests each caller may make, from now on. False: no memory for it, the
 * rule before stays. */
bool api_set_rate(struct api *a, const struct rate_rule *rule);
/* Any thread. The scripts are deployed (text NULL), or are not and why: /readyz. Not deployed yet
 * is what it begins with when options.scripts is given. */
void api_set_scripts(struct api *a, const char *trouble);

/* What is kept of a token: nobody can make the token from it. */
void api_token_hash(const char *token, uint8_t out[API_TOKEN_HASH]);

#endif
