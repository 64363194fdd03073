/* What the files of api/ share. */
#ifndef KOAN_API_API_PRIV_H
#define KOAN_API_API_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/lag.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/uuid.h"
#include "entity/entity.h"
#include "entity/write.h"
#include "http/server.h"
#include "io/loop.h"
#include "ledger/ledger.h"

#define API_TENANT "default"
#define API_JSON "application/json"
#define API_NDJSON "application/x-ndjson"

enum {
    API_TROUBLE_MAX = 1024,   /* text about scripts that do not load */
    API_RANDOM_BYTES = 512,   /* drawn at once for ids */
    API_RECORD_MAX = 2 << 20, /* a record with its system fields */
    API_WAITS_MAX = 2000      /* of a thread: requests for an end of a run, or an answer */
};

struct api_loop {
    char name[24];
    struct loop *loop;
};

struct api {
    struct api_options o; /* texts are ours */
    struct api_loop loops[API_LOOPS_MAX];
    atomic_uint loops_count;
    int64_t started_ms;
    unsigned threads; /* of api_thread_new, counted */
    atomic_bool draining, waiting;
    atomic_int streams;        /* of records, under way */
    struct rate *rate;         /* rate.c */
    struct queue_work *work;   /* queue_work.c, of the first thread; NULL: no queues */
    struct queue_story *story; /* queue_story.c, likewise; NULL: no timeline either */
    struct stat_counter *rate_limited;

    pthread_mutex_t lock; /* what stands below */
    struct list once;     /* of api_once: keys under way */
    struct lag lag;       /* health.c */
    bool scripts_ready;
    char trouble[API_TROUBLE_MAX];
    char waiting_why[API_TROUBLE_MAX];
    pthread_cond_t reader_free;
    struct db *readers[API_POOL_READERS]; /* idle connections of the pool */
    unsigned readers_idle, readers_open;
};

struct api_thread {
    struct api *api;
    struct loop *loop;
    struct db *db;     /* this thread's reader */
    struct db *points; /* another one, for api_point_reader() */
    bool points_open;  /* it holds a snapshot */
    uint64_t points_seq;
    struct loop_hook turn;
    struct api_feed *feed;   /* feed.c */
    struct list queue_waits; /* queue_lease.c */
    struct list job_waits;   /* jobs.c */
    struct list replies;     /* topics_reply.c */
    size_t waits_count;      /* of both */
    bool queue_drained;
    struct list flows; /* flow.c */
    size_t flows_count;
    struct entity_ids ids;
    struct uuid_gen gen;
    uint8_t random[API_RANDOM_BYTES];
    size_t random_left;
};

static inline struct api_thread *api_thread_of(const struct http_request *req)
{
    return http_context(req);
}

/* Whoever asks has brought what this node wants; for routes that anybody may ask. */
bool api_is_known(const struct http_request *req);
/* Whoever asks may do this with records of `d`: all of them who brought what the node asks for. */
bool api_may(const struct http_request *req, const struct entity_def *d,
             enum entity_access_verb verb);
/* Access terms can open this route to anybody. */
bool api_may_be_public(const char *path);
/* 0, or why this node does not answer yet: api_set_waiting(). */
int api_waits(struct api *a, struct err *e);
/* rate.c */
void api_rate_open(struct api *a, uint64_t seed);
/* False: one too many, answered. */
bool api_rate_take(struct http_request *req);
int api_reader_open(struct api *a, struct db **out, struct err *e);
/* For reading one record: all such reads of a turn share a snapshot, since taking and leaving one
 * costs as much as the read. It is as new as everything applied when this is called. */
struct db *api_point_reader(struct api_thread *t);
int64_t api_now_ms(const struct api_thread *t);
/* trace.c: for what the request begins; NULL: none is to be carried. Lives as long as it. */
const char *api_traceparent(const struct http_request *req);

/* ---- body.c: what came ---- */

/* The functions here that return bool or a pointer have answered the request when they return
 * false or NULL. */

/* The entity of the path, or 404 naming the nearest one. A reference of the caller's. */
struct entity_def *api_entity(struct http_request *req);
/* Unknown keys of the query are refused, naming the nearest right one. */
bool api_query_only(struct http_request *req, const char *const *names, size_t count);
#define API_QUERY_ONLY(req, ...)                                                                   \
    ({                                                                                             \
        static const char *const names_[] = {__VA_ARGS__};                                         \
        api_query_only(req, names_, ARRAY_LEN(names_));                                            \
    })
#define API_QUERY_NONE(req) api_query_only(req, NULL, 0)
/* What ?partition= says, "" without; api_query_only() has checked that it is a name. */
const char *api_partition(const struct http_request *req);
/* The tenant with that partition, as readers want it (entity/read.h). Lives as long as the request;
 * on its thread alone. */
const char *api_scope(struct http_request *req);
/* "true" or "1", "false" or "0"; `absent` when it is not there. */
bool api_query_bool(struct http_request *req, const char *name, bool absent, bool *out);
bool api_query_int(struct http_request *req, const char *name, int64_t least, int64_t most,
                   int64_t absent, int64_t *out);

enum api_media {
    API_MEDIA_NONE, /* no Content-Type */
    API_MEDIA_JSON,
    API_MEDIA_MERGE_PATCH,
    API_MEDIA_JSON_PATCH,
    API_MEDIA_NDJSON,
    API_MEDIA_OTHER
};
enum api_media api_media(const struct http_request *req);
bool api_accepts(const struct http_request *req, const char *type);
/* 415 unless the body is JSON. */
bool api_media_json(struct http_request *req);
/* The body as one JSON value, a new reference. */
json_t *api_body(struct http_request *req);
json_t *api_body_object(struct http_request *req);
/* A JSON array, or NDJSON by content type, of at most `max` values; as an array. */
json_t *api_body_list(struct http_request *req, size_t max);
/* The same; of NDJSON it is noted of each item, at its place, what its note asks for. The texts lie
 * in the body. */
json_t *api_body_noted(struct http_request *req, size_t max, struct json_note *notes);
/* There is a body where none belongs: 400. */
bool api_body_none(struct http_request *req);

/* ---- etag.c ---- */

struct api_conditions {
    bool has_match, any; /* If-Match; "*" */
    uint64_t version;    /* If-Match: "7" */
    bool none;           /* If-None-Match: * */
};
/* For writes. */
bool api_conditions(struct http_request *req, struct api_conditions *out);
/* For reads: true to go on with the body; else 304 or 412 was answered. */
bool api_fresh(struct http_request *req, uint64_t version);
void api_etag(struct http_request *req, uint64_t version);

/* ---- wait.c ---- */

/* Reads run through it: `go` runs at once, or when this node has applied what X-Koan-Seq names. */
void api_read(struct http_request *req, http_handler *go);

/* ---- pool.c ---- */

struct api_job {
    struct loop_work work;
    struct api *api;
    struct http_request *req;
    struct world *clock;
    void (*run)(struct api_job *j, struct db *db); /* on the pool, with a connection of its own */
    void (*done)(struct api_job *j);               /* on the request's loop */
    struct err err; /* set by run(), or when there is no connection */
};
void api_job_start(struct api_job *j, struct http_request *req);
/* The same, of no request. */
void api_job_begin(struct api_job *j, struct api_thread *t);
void api_pool_close(struct api *a);

/* ---- page.c ---- */

struct entity_page;
/* X-Page and the rest, Link with a signed cursor. */
void api_page_headers(struct http_request *req, const struct entity_def *d,
                      const struct entity_page *p);
/* The raw bytes of a cursor that we gave out for this entity. */
int api_cursor_open(const struct api *a, const struct entity_def *d, const char *text,
                    struct buf *out, struct err *e);

/* Appends the signed text of a cursor. */
void api_cursor_text(const struct api *a, const struct entity_def *d, const struct buf *raw,
                     struct buf *out);

/* ---- view.c ---- */

enum api_shape { API_ONE, API_ARRAY, API_LINES };

struct entity_expand;
/* Text of records as an array of them, a new reference; and back. */
json_t *api_rows_read(const struct buf *text, enum api_shape shape, struct err *e);
int api_rows_print(const json_t *rows, enum api_shape shape, struct buf *out, struct err *e);

/* `fields` of a question when one of them must be computed: an object of the names, else NULL. The
 * question itself then asks for whole records. */
int api_view_pick(const struct entity_def *d, const char *fields, json_t **out, struct err *e);
/* A view has something to add to records that are asked for like this. */
bool api_view_is_wanted(const struct entity_def *d, const char *fields, const json_t *names,
                        const struct entity_expand *beside);

struct api_view {
    /* in, all of it alive until done: */
    struct api_thread *thread;
    const struct entity_def *def;
    struct envelope env;
    json_t *rows;                 /* out: with what was computed */
    struct entity_expand *beside; /* of the same records, or NULL */
    json_t *names;                /* of api_view_pick(), or NULL */
    bool declared_only;           /* no view for the rows themselves */
    /* On the thread's loop, later; `err` says why not. The struct is not used afterwards. */
    void (*done)(struct api_view *v);
    /* out: */
    struct err err;
    /* its own: */
    struct entity_hook_call call;
    json_t *asked;
    size_t step;
    bool own_done, starting;
};
void api_view_start(struct api_view *v);

struct api_viewed {
    json_t *rows, *names; /* as above; both taken */
    struct entity_expand *beside;
    bool declared_only;
    enum api_shape shape;
};
/* Answers 200 with the records, through their views. */
void api_view_answer(struct http_request *req, const struct entity_def *d,
                     const struct api_viewed *w);
/* The same with one record. */
void api_view_answer_one(struct http_request *req, const struct entity_def *d,
                         const struct buf *text);

/* ---- stream.c ---- */

struct filter;
struct entity_query;
struct api_streamed {
    struct entity_def *def;
    struct filter *filter;
    struct entity_expand *beside; /* or NULL */
    json_t *names;                /* of api_view_pick(), or NULL */
};
/* Answers with all rows as lines. Takes what `w` names; copies the question. */
void api_stream_start(struct http_request *req, const struct api_streamed *w,
                      const struct entity_query *q);

/* ---- canon ---- */

struct canon_model;
/* The model of a canon-backed entity, or NULL. A reference of the caller's. */
struct canon_model *api_model_of(struct api *a, const struct entity_def *d);
void api_model_unrefp(struct canon_model **m);
/* `id` is not there: if it was merged, answers 308 (or what went wrong) and returns true. */
bool api_redirect_merged(struct http_request *req, const struct entity_def *d, const char *id);
/* Changes of golden records from outside: arrivals of origin "direct". They answer. */
void api_direct_save(struct http_request *req, struct entity_def *d, const char *id, json_t *doc,
                     const struct api_conditions *c);
void api_direct_patch(struct http_request *req, struct entity_def *d, enum entity_patch_kind kind,
                      const struct api_conditions *c);
/* Takes both. */
void api_direct_bulk(struct http_request *req, struct entity_def *d, json_t *docs, bool atomic);
/* Takes back what was stated directly of those that `items` name; takes the reference. */
void api_direct_bulk_remove(struct http_request *req, struct entity_def *d,
                            const struct entity_item *items, size_t count, bool atomic);
/* True: it was done before with the same key, as one unit, and is answered as then. */
bool api_direct_bulk_replayed(struct http_request *req, const struct entity_def *d);
void api_direct_remove(struct http_request *req, struct entity_def *d,
                       const struct api_conditions *c);

/* ---- answers ---- */

/* `errors` (faults by field, may be NULL) and `more` (JSON members, may be NULL) go into the
 * problem. */
void api_problem(struct http_request *req, const struct err *e, const json_t *errors,
                 const char *more);
/* {"code","status","detail","retry"[,"errors"]} of an item among others. */
void api_print_problem(struct buf *out, const struct err *e, const json_t *errors);
/* Location: of a record. */
void api_location(struct http_request *req, const struct entity_def *d, const char *id);
void api_answer_json(struct http_request *req, int status, json_t *v); /* takes the reference */

/* ---- route tables ---- */

struct api_routes {
    const struct http_route *routes;
    size_t count;
};
extern const struct api_routes api_feed_routes, api_transfer_routes, api_history_routes,
    api_records_read_routes, api_records_write_routes, api_bulk_routes, api_openapi_routes,
    api_canon_routes, api_canon_read_routes, api_health_routes, api_docs_routes, api_scripts_routes,
    api_node_routes, api_definitions_routes, api_trace_routes, api_tx_routes, api_leases_routes,
    api_values_routes, api_counts_routes, api_inbox_routes, api_queue_routes, api_queue_send_routes,
    api_queue_stream_routes, api_queue_consume_routes, api_queue_tail_routes,
    api_queue_settle_routes, api_queue_lease_routes, api_queue_peek_routes,
    api_queue_operate_routes, api_queue_gates_routes, api_queue_room_routes, api_topics_routes,
    api_topics_again_routes, api_canon_staged_routes, api_canon_parked_routes, api_sched_routes;

extern const struct api_routes api_jobs_routes, api_jobs_submit_routes, api_jobs_work_routes,
    api_jobs_steps_routes, api_jobs_store_routes, api_jobs_operate_routes, api_jobs_lease_routes;

/* flow.c: streams of lines end with what is under way. */
void api_flows_drain(struct api_thread *t);
/* queue_lease.c: those who wait for messages wait no longer. */
void api_queue_drain(struct api_thread *t);
/* queue_work.c: begins on its loop; ends what it does, as far as it is; waits for that. Of any
 * thread but the first they do nothing. */
void queue_work_new(struct api_thread *t);
void queue_work_drain(struct api_thread *t);
void queue_work_free(struct api_thread *t);
/* queue_story.c: likewise. */
void queue_story_new(struct api_thread *t);
void queue_story_free(struct api_thread *t);
/* jobs.c: those who wait for the end of a run. */
void api_jobs_drain(struct api_thread *t);
/* Those that wait for an answer hear that the node is leaving. After api_queue_drain(). */
void api_replies_drain(struct api_thread *t);
/* One more request may wait here. False: answered. */
bool api_may_wait(struct http_request *req);

#endif
