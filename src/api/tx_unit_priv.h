/* A request to POST /api/tx as it was read: what tx.c (how it goes), tx_read.c (the request) and
 * tx_answer.c share. What an operation may be is in tx_priv.h. */
#ifndef KOAN_API_TX_UNIT_PRIV_H
#define KOAN_API_TX_UNIT_PRIV_H

#include "api/jobs_priv.h"
#include "api/tx_priv.h"

struct entity_item;
struct entity_write;

enum tx_kind {
    TX_SAVE,
    TX_PATCH,
    TX_REMOVE,
    TX_CHECK,
    TX_HELD,
    TX_PUT,
    TX_SEND,
    TX_SETTLE,
    TX_PUBLISH,
    TX_ARRIVE,
    TX_SUBMIT,
    TX_STORED, /* and those behind it: in the order of enum job_stored_kind */
    TX_KINDS = TX_STORED + TX_STORED_KINDS
};

/* One operation as it came. */
struct tx_op {
    enum tx_kind kind;
    struct entity_def *def;
    size_t item;                                  /* of the write; not of a check */
    char id[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2]; /* of a check: with the partition in front */
    uint64_t version;                             /* of a check; 0: see exists */
    bool exists;
    json_t *text;              /* of those that are not about records: as it came */
    uint32_t at, to;           /* of these: its operations in the unit, at <= i < to */
    uint64_t put;              /* of kv.put: the version that it gave */
    struct tx_queue queue;     /* of send, settle, publish, arrive, job.submit */
    struct tx_topic *topic;    /* of publish */
    struct job_stored *stored; /* of job.step and its like */
    uint32_t held_at;          /* of these: their condition in the unit */
    json_t *errors;            /* faults of the args of job.submit, job.fan */
    bool direct;               /* of arrive: it is worked at once */
    size_t direct_at;          /* which of those */
};

/* It changes a record, and is among the items. */
static inline bool tx_is_item(const struct tx_op *op)
{
    return op->kind <= TX_REMOVE;
}

static inline bool tx_is_condition(const struct tx_op *op)
{
    return op->kind == TX_CHECK || op->kind == TX_HELD;
}

static inline bool tx_is_queue(const struct tx_op *op)
{
    return op->kind == TX_SEND || op->kind == TX_SETTLE || op->kind == TX_ARRIVE ||
           op->kind == TX_SUBMIT;
}

static inline bool tx_is_stored(const struct tx_op *op)
{
    return op->kind >= TX_STORED;
}

struct tx {
    struct job_finding finding; /* of the runs that something is stored of */
    struct job_stored **stored;
    size_t stored_count;

    int tries; /* because who listens had changed */
    struct tx_op *ops;
    size_t count, max; /* read so far; of the request */
    struct entity_item *items;
    size_t items_count;
    uint32_t checks_at;           /* where they stand in the unit */
    json_t *body;                 /* as it came: it may have to begin anew */
    int merge_tries;              /* because another was faster */
    struct queue_merging merging; /* of sends that are merged with what waits */
    struct queue_merged *merged;
    struct buf *patches;
    size_t merged_count;
    struct tx_direct *direct; /* NULL: no arrival is worked at once */
};

void tx_free(struct tx *x); /* takes NULL */
/* tx_read.c: NULL: it was answered. Operations are at most ENTITY_BULK_MAX. */
struct tx *tx_read(struct http_request *req, const json_t *body);
const char *tx_name(enum tx_kind kind);

/* tx_answer.c: the index of what did not hold, or x->count; `why`: lives as long as `w` and `x`. */
size_t tx_fault(const struct tx *x, const struct entity_write *w, const struct err **why);
/* Answers with `why`, of operation `at`; of x->count: of none. */
void tx_refused(struct http_request *req, const struct tx *x, size_t at, const struct err *why);
void tx_answer(struct http_request *req, const struct tx *x, uint64_t seq);
/* An operation that is not about a record may have a result, which tx_result() takes. */
bool tx_has_result(const struct tx_op *op);
void tx_result(struct tx_op *op, struct cursor *result);
/* Of a repeat: all results from those that are kept; and what is kept beside them. */
void tx_puts(struct tx *x, struct cursor results);
void tx_context(const struct entity_write *w, size_t first, size_t count, struct buf *out);

#endif
