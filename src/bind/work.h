/* What the files share that work messages: work.c (consumers of this node, on script thread 0),
 * work_open.c (what they are opened with), work_end.c (how a delivery ends, there too), deliver.c
 * (one delivery, on the thread that runs it), gather.c and batch.c (the same for batches),
 * hook_call.c (webhooks), arrival.c (one that is an arrival of canon's).
 *
 *     ledger ---grants---> work: body read on the pool ---post---> deliver: the function runs
 *                            ^         |                                |
 *                            |         +--> gather ---post---> batch ---+
 *                            |         +--> hook_call: a request        |
 *                            +---- settled, or how it is to be ---------+ post
 *
 * A delivery belongs to script thread 0 but while another has it.
 *
 * One consumer takes what functions of one message at a time work, from all queues. Groups that
 * take batches, and webhooks, have one each: a batch needs room for many messages, and a receiver
 * that is slow or away holds up none but its own. */
#ifndef KOAN_BIND_WORK_H
#define KOAN_BIND_WORK_H

#include "bind/bind_priv.h"
#include "bind/bus_lib.h"
#include "bind/job_lib.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum {
    WORK_LEASE_MS = 30 * 1000, /* unless bind_options say otherwise */
    WORK_ENTRIES = 4,          /* of the log, kept in memory for the next messages */
    WORK_SETTLE_TRIES = 20,
    WORK_SETTLE_MS = 500,      /* before such a try */
    WORK_NOBODY_MS = 5 * 1000, /* what no function is for waits so long, and is looked at again */
    WORK_BATCHES = 2,          /* of one group, under way on a node */
    WORK_HOOK_CREDIT = 16,     /* requests of one group, under way from a node */
    WORK_HOOK_LOOK_MS = 5 * 1000,
};

struct batch;
struct hook_call;
struct work_reader;

enum work_took { TOOK_QUEUE, TOOK_TOPIC, TOOK_JOB, TOOK_ARRIVAL, TOOK_COUNT };

struct bind_work {
    struct queue_consumer consumer; /* first */
    struct list node;               /* of bind->work's `others` */
    struct list others;             /* of bind->work: those of one queue */
    struct bind *bind;
    struct bind_thread *thread;
    char *queue; /* NULL: every queue with a handler */
    enum bind_listens kind;
    uint32_t lease_ms, credit; /* credit: as it was opened with */
    uint32_t credit_wanted;    /* of one queue */
    json_t *labels, *only;     /* as it was opened with; NULL: none */
    struct stat_histogram *took[TOOK_COUNT];
    bool started, wanted, open, listening, over;
    bool flying; /* `unit` */
    struct unit unit;
    struct world_timer timer;
    uint64_t renewed_ns;
    struct list live; /* all deliveries */
    size_t live_count;
    struct list unread, reading; /* of them, by `here` */
    struct loop_work read;
    bool is_reading;
    struct work_reader *reader;

    /* gather.c, hook_call.c */
    struct list gathered; /* read, and not begun, by `here` */
    struct world_timer gather_timer;
    size_t batches;                 /* under way */
    struct map *breakers;           /* by URL */
    struct queue_ask ask;           /* is it paused? */
    bool asking, is_paused, paused; /* is_paused: the ledger's thread has found */
    uint64_t asked_ns;
};

struct bind_arrival;

enum delivery_end { DELIVERY_DONE, DELIVERY_SETTLE };

struct delivery {
    struct bind_run run; /* first */
    struct unit unit;    /* the settlement, where it is one of its own */
    struct task task, cancel_task, ask_task;
    struct list node; /* of those that work.c has */
    struct list here; /* of those under way on a script thread */
    struct bind_work *work;
    struct bind_thread *thread; /* NULL: not given to one yet */
    struct core_effect grant;
    struct bind_grant held;
    struct bind_arrival *arrival; /* NULL: for a function */
    struct err err;               /* it could not be read */
    bool running;                 /* the thread's own: the function is under way */
    bool away;                    /* a script thread has it */
    bool lost;                    /* it is not ours any more: its outcome is of no interest */
    bool waits;                   /* for `again` */
    bool canceling;               /* `cancel_task` has been posted */
    bool is_job;                  /* the run of one */
    bool asked;                   /* which is to stop; `asking`: `ask_task` has been posted */
    bool asking;
    bool has_unit;
    bool pauses;         /* its queue too, when it is settled */
    int function;        /* reference, while it runs */
    struct batch *batch; /* that works it, on its thread */
    struct hook_call *call;
    bool batched;      /* a batch has it */
    bool alone;        /* its last try: with no other in the batch */
    uint64_t since_ns; /* when it could have begun */
    uint64_t begun_ns; /* when its thread was given it; 0: not yet */
    char *pattern;     /* of the handler that it is gathered for */
    char id[UUID_TEXT];
    char *body, *headers, *key, *correlation, *traceparent, *type;
    char *topic, *message_id; /* of what was published */
    size_t body_len;
    struct envelope env;
    char label[CORE_TEXT_MAX];
    struct world_timer deadline, again, patience;
    int tries, end_tries, held_tries;
    struct bind_job_run job;
    struct job_end job_end;
    char why[96];

    /* How it ended. */
    enum delivery_end end;
    struct bind_outcome how;
};

/* ---- deliver.c, on d->thread ---- */
void bind_deliver(struct task *task); /* d->task */
void bind_deliver_cancel(struct task *task);
void bind_deliver_ask(struct task *task); /* d->ask_task */

/* ---- arrival.c ---- */
/* d->arrival, if it is one: from its body. Any thread. */
void bind_arrival_read(struct bind *b, struct delivery *d);
/* Goes to its engine, and comes back by bind_delivered(). On `t`, which is work.c's. */
void bind_arrival_start(struct bind_thread *t, struct delivery *d);
void bind_arrival_free(struct bind_arrival *a); /* takes NULL */

/* A function is to work it: on the thread that has least to do. */
struct bind_thread *work_least_busy(struct bind *b);
/* What a function of queues is told of a message: a table on the stack. */
void bind_deliver_push_info(lua_State *L, const struct delivery *d);
/* Before which it is to end, in ms from now: a little before the ledger says that it is over. */
int64_t bind_deliver_left(const struct delivery *d);

/* ---- gather.c, on thread 0 ---- */
void gather_add(struct bind_work *w, struct delivery *d);
void gather_go(struct bind_work *w);
/* Another set is live: who is gathered for whom may have changed. */
void gather_again(struct bind_work *w);

/* ---- batch.c ---- */
/* Takes `count` deliveries of w->gathered, given by `items`, whose array passes to it. */
void batch_start(struct bind_work *w, struct delivery **items, size_t count);
void batch_cancel(struct batch *b, const char *why); /* on its thread */
void bind_batches_cut(struct bind_thread *t, const struct err *e);

/* ---- hook_call.c, on thread 0 ---- */
void hook_start(struct bind_work *w, struct delivery *d);
/* Those that are held are looked at again. */
void hook_again(struct bind_work *w);
void hook_breakers_free(struct bind_work *w);
/* From time to time: whether the queue is paused, for bind_webhooks(). */
void hook_look(struct bind_work *w);

/* ---- work_read.c, one thread at a time; it blocks ---- */
/* Also after a failure to be freed. */
int work_reader_open(struct ledger *l, struct work_reader **out, struct err *e);
void work_reader_free(struct work_reader *w); /* takes NULL */
/* What d->grant speaks of, into `d`. `s` is room. */
int work_read(struct work_reader *w, struct delivery *d, struct queue_stored *s, struct err *e);

/* ---- work_end.c, on thread 0 ---- */
/* It is over for this process. */
void delivery_drop(struct delivery *d);
/* As d->how says; drops it in the end. */
void delivery_settle(struct delivery *d);
/* No handler of the set that is live takes it: it comes again in a while. */
void delivery_nobody(struct delivery *d);
/* Back from the script thread: post d->task with it to the home of `d->work`. */
void bind_delivered(struct task *task);

/* ---- work_open.c ---- */
/* Are its credit and labels those of the settings? */
bool work_is_as_set(struct bind_work *w);
void work_take_settings(struct bind_work *w);
void work_add_open(struct bind_work *w, struct txn *t);

/* ---- work.c ---- */
struct runner *bind_work_home(struct bind_work *w);
uint64_t work_now_ns(const struct bind_work *w);
void work_tick(struct bind_work *w);

#endif
