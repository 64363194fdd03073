/* Operations of POST /api/tx that are not about records: tx_coord.c, tx_queue.c, tx_job.c,
 * tx_stored.c, tx_topic.c, tx_canon.c, tx_direct.c. */
#ifndef KOAN_API_TX_PRIV_H
#define KOAN_API_TX_PRIV_H

#include <stdbool.h>

#include "base/json.h"
#include "entity/def.h"
#include "job/run.h"
#include "queue/core.h"

struct api_thread;
struct buf;
struct bus;
struct cursor;
struct entities;
struct err;
struct job_draft;
struct queue_merged;
struct txn;
struct unit;

/* `held`: lease.check, else kv.put. 0, or what is wrong with it. */
int tx_coord_check(const json_t *op, bool held, struct err *e);
int tx_coord_add(const json_t *op, bool held, struct txn *t, struct err *e);

struct canon;
struct db;

/* Of a send, settle, arrival or job.submit: what does not change when the unit is made again, and
 * what came of it. */
struct tx_queue {
    bool settle;
    char model[ENTITY_NAME_MAX + 1]; /* of an arrival; else "" */
    struct api_thread *thread;
    struct job_draft *job; /* of job.submit: tx_job_read() */
    struct job_end end;    /* of a settle, as it was added last */
    bool has_ahead;        /* the unit stores steps of that run */
    struct job_ahead ahead;
    struct uuid id; /* of a message that brings none */
    int64_t now;
    const char *correlation, *traceparent;
    struct core_sent sent;
    const struct queue_merged *merged; /* of one with unique_mode "merge": NULL while it is read */
};
/* The text that it is merged by, NULL: it is not. */
const char *tx_queue_merges(const json_t *op);
int tx_queue_check(const json_t *op, struct tx_queue *q, struct err *e);
int tx_queue_add(const json_t *op, struct tx_queue *q, struct txn *t, struct err *e);
void tx_queue_result(struct tx_queue *q, struct cursor *result); /* of a send, an arrival, a run */
void tx_queue_print(const json_t *op, const struct tx_queue *q, struct buf *out);

/* Reads a job.submit into q->job; *errors: faults of its args, a new reference. */
int tx_job_read(const json_t *op, struct tx_queue *q, json_t **errors, struct err *e);
int tx_job_add(struct tx_queue *q, struct txn *t, struct err *e);
void tx_job_free(struct tx_queue *q);
/* tx_stored.c: what a worker stores of its run. `kind`: enum job_stored_kind; on failure too *out
 * is the caller's to free. */
struct job_stored;
extern const char *const tx_stored_names[];
enum { TX_STORED_KINDS = 5 };
int tx_stored_new(const json_t *op, const struct tx_queue *q, int kind, struct job_stored **out,
                  json_t **errors, struct err *e);
void tx_stored_free(struct job_stored *s); /* takes NULL */
/* How many of its operations have results. */
size_t tx_stored_results(const struct job_stored *s);
void tx_stored_print(const struct job_stored *s, struct db *db, struct buf *out);

/* Settles; of a run: with all that its end means. */
int tx_job_settle(struct tx_queue *q, const struct core_settle *s, const struct buf *text,
                  struct txn *t, struct err *e);

/* Of a publish. `q`: id, time and origin of it. On failure too *out is the caller's to free. */
struct tx_topic;
int tx_topic_new(const json_t *op, const struct tx_queue *q, struct bus *bus, struct tx_topic **out,
                 struct err *e);
void tx_topic_free(struct tx_topic *p); /* takes NULL */
/* Routes it, and adds the condition unless that of `before` says the same; then the operations. */
int tx_topic_condition(struct tx_topic *p, const struct tx_topic *before, struct txn *t,
                       struct err *e);
int tx_topic_add(struct tx_topic *p, struct txn *t, struct err *e);
bool tx_topic_is_stale(const struct tx_topic *p);
/* The result of its first operation, from the unit or among those kept. */
void tx_topic_done(struct tx_topic *p, const struct unit *u, uint32_t at);
void tx_topic_result(struct tx_topic *p, struct cursor *results);
/* What a repeat needs beside the results; back, false when it is not that. */
void tx_topic_keep(const struct tx_topic *p, struct buf *context);
bool tx_topic_recall(struct tx_topic *p, struct cursor *context);
void tx_topic_print(const struct tx_topic *p, struct buf *out);
/* tx_canon.c: canon.arrive; the rest as above. */
int tx_arrive_check(const json_t *op, struct canon *c, struct entities *entities,
                    struct tx_queue *q, struct err *e);
int tx_arrive_add(const json_t *op, const struct tx_queue *q, struct txn *t, struct err *e);
void tx_arrive_print(const json_t *op, const struct tx_queue *q, struct buf *out);
/* tx_direct.c: the arrivals of a unit that are worked at once, in their order, each after what the
 * one before it has changed. */
struct tx_direct;
struct http_request;
bool tx_direct_is(const json_t *op);
/* Of at most `max`. */
struct tx_direct *tx_direct_new(size_t max, struct http_request *req);
/* `op`, operation `index` of the request, is the caller's, and lives as long. *out: its number for
 * tx_direct_print(). ERR_UNSUPPORTED: it does not go with those before. */
int tx_direct_add(struct tx_direct *d, const json_t *op, size_t index, const char *model,
                  size_t *out, struct err *e);
void tx_direct_free(struct tx_direct *d); /* takes NULL; not while it is under way */
/* As ledger_propose(): of the unit of the other operations. `context`: what is kept of it, where
 * the request has a key. */
int tx_direct_propose(struct tx_direct *d, struct unit *ride, const struct buf *context,
                      struct err *e);
/* What of an arrival, operation *at, refuses the unit; NULL: nothing does. */
const struct err *tx_direct_fault(const struct tx_direct *d, size_t *at);
bool tx_direct_recall(struct tx_direct *d, struct cursor *context);
void tx_direct_print(const struct tx_direct *d, size_t which, struct buf *out);

#endif
