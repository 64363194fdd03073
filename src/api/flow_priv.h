/* Flow - lines of JSON both ways on one request that may last for days: what the client sends is
 * worked line by line, and answers leave as they come.
 *
 *   body --lines--> line() --> flow_item, its unit proposed --durable--> print() --> answer
 *                     ^                                                   in the order of the lines
 *                     `-- not read on while FLOW_ITEMS_MAX or FLOW_BYTES_MAX are under way
 *
 * So a client may have as many lines under way as it likes and need not wait for any answer; one
 * that reads no answers is not read from either. Every 15 s without an answer an empty line is
 * sent, so that a connection that is gone is noticed.
 *
 * The flow ends when the body has, or the node drains, or a line is too long to be read; what is
 * under way is answered still, then comes finish(), which ends it by flow_end(). When the client
 * has gone, what is under way ends in silence. */
#ifndef KOAN_API_FLOW_PRIV_H
#define KOAN_API_FLOW_PRIV_H

#include "api/api_priv.h"
#include "base/list.h"
#include "ledger/ledger.h"

enum {
    FLOW_LINE_MAX = 4 << 20,
    FLOW_ITEMS_MAX = 1024,     /* under way, of one flow */
    FLOW_BYTES_MAX = 16 << 20, /* their lines */
    FLOWS_MAX = 1000,          /* of one thread */
    FLOW_BEAT_MS = 15 * 1000,
};

struct flow;

/* What came of a line. */
struct flow_item {
    struct unit unit; /* first */
    struct list link;
    struct flow *flow;
    struct err err;       /* code 0: it was done */
    struct cursor result; /* of its operation, when that has one */
    uint64_t n;           /* number of the line, from 1 */
    size_t bytes;         /* of it */
    char id[UUID_TEXT];   /* the caller's */
    int tag;              /* the caller's */
    void *more;           /* the caller's */
    bool open, done;
};

struct flow_calls {
    bool events; /* the answer is server-sent events, not lines */
    /* A line that is not empty: flow_item_new(), and a unit or an error in it. */
    void (*line)(struct flow *f, const char *p, size_t n);
    /* It is done, or refused: `err`. False: the caller goes on with it, after flow_item_again(),
     * with another unit and flow_item_start(). May be NULL. */
    bool (*over)(struct flow_item *it);
    /* One line of the answer, with its end. */
    void (*print)(struct flow_item *it, struct buf *out);
    /* All is answered, and no line comes any more. flow_end(), now or later. */
    void (*finish)(struct flow *f);
    void (*drained)(struct flow *f); /* the client reads again; may be NULL */
};

struct flow {         /* first in the caller's struct */
    struct list link; /* of its thread */
    const struct flow_calls *calls;
    struct http_request *req;
    struct api_thread *thread;
    struct world_timer beat;
    struct buf rest, out;
    struct list items;
    size_t items_count, items_bytes;
    uint64_t lines;
    struct err err; /* why it ends before the body did */
    bool begun;     /* the answer */
    bool gone;      /* the client */
    bool body_over; /* nothing comes any more */
    bool over;      /* and what came is under way, or is not wanted */
    bool quiet;     /* nothing was written since the last beat */
    bool turning, finishing;
};

/* The request can be one: its body is NDJSON, and it asks for nothing that a flow cannot do. False:
 * answered. */
bool flow_may(struct http_request *req);
/* In the handler. What comes is kept back until flow_begin(). False: answered, `f` is the caller's
 * still. */
bool flow_open(struct flow *f, struct http_request *req, const struct flow_calls *calls);
/* Then, at once or later: the answer begins, and lines are worked. */
void flow_begin(struct flow *f);
/* Or else: `f` is the caller's to free. */
void flow_refuse(struct flow *f, const struct err *e);
/* For a line; NULL: no memory, and the flow ends. */
struct flow_item *flow_item_new(struct flow *f, size_t bytes);
/* Where its operations go. */
struct txn *flow_txn(struct flow_item *it, bool urgent);
/* Its unit is proposed, or with an error in it->err answered. In line(), or later. */
void flow_item_start(struct flow_item *it);
/* As it was before its unit. */
void flow_item_again(struct flow_item *it);
/* False: the client is slow, wait for drained(). */
bool flow_write(struct flow *f, const char *p, size_t n);
/* No more lines are read; what is under way ends. `e`, if there is one, is told at the end. */
void flow_stop(struct flow *f, const struct err *e);
/* In finish() or later: the answer ends. `f` is the caller's to free then. */
void flow_end(struct flow *f);

#endif
