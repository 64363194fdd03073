/* What work.c (the consumer of this node, on script thread 0) and deliver.c (one delivery, on the
 * thread that runs it) share.
 *
 *     ledger ---grants---> work: body read on the pool ---post---> deliver: the function runs
 *                            ^                                         |
 *                            +---- settled, or how it is to be --------+ post
 *
 * A delivery belongs to work.c but while a script thread has it. */
#ifndef KOAN_BIND_WORK_H
#define KOAN_BIND_WORK_H

#include "bind/bind_priv.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum {
    WORK_LEASE_MS = 30 * 1000, /* unless bind_options say otherwise */
    WORK_ENTRIES = 4,          /* of the log, kept in memory for the next messages */
    WORK_SETTLE_TRIES = 20,
    WORK_SETTLE_MS = 500,      /* before such a try */
    WORK_NOBODY_MS = 5 * 1000, /* what no function is for waits so long, and is looked at again */
};

enum delivery_end { DELIVERY_DONE, DELIVERY_SETTLE };

struct delivery {
    struct bind_run run; /* first */
    struct unit unit;    /* the settlement, where it is one of its own */
    struct task task, cancel_task;
    struct list node; /* of those that work.c has */
    struct list here; /* of those under way on a script thread */
    struct bind_work *work;
    struct bind_thread *thread; /* NULL: not given to one yet */
    struct core_effect grant;
    struct bind_held held;
    struct err err; /* it could not be read */
    bool running;   /* the thread's own: the function is under way */
    bool away;      /* a script thread has it */
    bool lost;      /* it is not ours any more: its outcome is of no interest */
    bool waits;     /* for `again` */
    bool canceling; /* `cancel_task` has been posted */
    bool has_unit;
    int function; /* reference, while it runs */
    char id[UUID_TEXT];
    char *body, *headers, *key, *correlation, *traceparent;
    size_t body_len;
    struct envelope env;
    char label[CORE_TEXT_MAX];
    struct world_timer deadline, again;
    int tries;
    char why[96];

    /* How it ended. */
    enum delivery_end end;
    struct bind_outcome how;
};

/* ---- deliver.c, on d->thread ---- */
void bind_deliver(struct task *task); /* d->task */
void bind_deliver_cancel(struct task *task);

/* ---- work_read.c, one thread at a time; it blocks ---- */
struct work_reader;
/* Also after a failure to be freed. */
int work_reader_open(struct ledger *l, struct work_reader **out, struct err *e);
void work_reader_free(struct work_reader *w); /* takes NULL */
/* What d->grant speaks of, into `d`. `s` is room. */
int work_read(struct work_reader *w, struct delivery *d, struct queue_stored *s, struct err *e);

/* ---- work.c ---- */
/* Back from the script thread: post d->task with it to the home of `d->work`. */
void bind_delivered(struct task *task);
struct runner *bind_work_home(struct bind_work *w);

#endif
