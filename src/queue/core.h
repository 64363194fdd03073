/* Core - the rules of the queue as one state in memory: what is sent in, who gets it, what comes of
 * it. Pure: no I/O, no clock, no database, no randomness; the same calls in the same order give the
 * same state and the same answers on every node, which is all that replication asks for.
 *
 *            run_at               grant                ack
 * SCHEDULED ---------> AVAILABLE -------> EXECUTING ---------> COMPLETED
 *     ^                    ^  ^---release--| | | |
 *     +----- snooze -------|---------------+ | | +-- cancel --> CANCELLED
 *                          | due             | +-- reject, no tries left --> DISCARDED
 *                      RETRYABLE <-----------+  nack, timeout or lapse with tries left
 *
 * The ledger's thread owns it. Every entry of the log begins with core_entry(), which moves the
 * time: what is due becomes available, what is too late is discarded. Then come the operations of
 * its units, in order. After each of these calls nothing can be granted any more: a record that may
 * run and a consumer that may take it never stand beside each other. So a consumer does not ask for
 * work; it has said how much it takes, and a send is granted in the entry that brings it.
 *
 * Memory. A record is `struct rec`; its body, headers and id as text lie in the log at its `place`
 * (the entry's index and an offset in it) and are never here; of the id it has core_fingerprint().
 * What few records have (key, gates, lease, ttl) is in an `extra`. Every write to memory first
 * notes what was there (undo.h), so a unit that is refused, or an entry that is rolled back, leaves
 * not a bit changed.
 *
 * Choice, exactly. As long as there are pairs of a record that can run and a consumer that has
 * room for it, one is made: of the lanes in such pairs that with the smallest virtual time (then
 * number); of the tenants in it likewise; of their records the first by priority (higher first),
 * run_at, place; of the consumers that can take it the one that has waited longest (`turn`: set
 * when its room grows from nothing, and after each grant). A record can run when it is AVAILABLE,
 * its queue is neither paused nor at its concurrency, its lane below its cap, it is first in the
 * line of its key, and each of its gates lets it pass. One that cannot delays none behind it.
 * A grant adds LANE_SCALE / weight to the virtual time of lane and tenant; whoever has records that
 * can run after a time without is set forward to the smallest of those that had some, never back.
 *
 * A record joins the line of its key when it is due for the first time, in the order (run_at,
 * place), and leaves it when it ends; waiting for a retry, snoozed or released it keeps its place.
 *
 * Bounds are CORE_* below. Errors are refusals that every node comes to alike: ERR_NOT_FOUND,
 * ERR_CONFLICT, ERR_FENCED, ERR_QUEUE_FULL, ERR_INVALID, ERR_TOO_LARGE. ERR_NOMEM speaks of this
 * machine: the caller undoes the whole entry. */
#ifndef KOAN_QUEUE_CORE_H
#define KOAN_QUEUE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

struct buf;
struct cursor;
struct err;
struct core;

enum {
    CORE_PRIORITY_MAX = 31,
    CORE_PRIORITY = 4,
    CORE_PRIORITY_UNSAID = 255, /* of a send: as its queue says, else CORE_PRIORITY */
    CORE_ATTEMPTS = 5,
    CORE_TIMEOUT_MS = 60000,
    CORE_ATTEMPTS_MAX = 1000,
    CORE_BACKOFF_LIST_MAX = 16,
    CORE_GATES_MAX = 4,   /* of one record */
    CORE_LABELS_MAX = 16, /* of one consumer, of one record */
    CORE_TEXT_MAX = 512,  /* keys of any kind, bytes */
    CORE_BODY = 1 << 20,  /* of a queue that says nothing else */
    CORE_BODY_MAX = 4 << 20,
    CORE_QUEUES_MAX = 100000,
    CORE_LANES_MAX = 16,
    CORE_SUBSCRIBED_MAX = 64, /* queues of one consumer that names them */
    CORE_CREDIT_MAX = 2000,
    CORE_DIED_MAX = 8,          /* queues a record can die in; then it stays */
    CORE_ERRORS_KEPT = 20,      /* of a record, the newest */
    CORE_MOVES_KEPT = 20,       /* of a record: what people did with it, the newest */
    CORE_WHO_MAX = 128,         /* bytes kept of who did it */
    CORE_WHY_MAX = 256,         /* and of the reason given; longer ones are cut */
    CORE_TRACE_BYTES = 16,      /* of a trace's id */
    CORE_UNWORKED_MAX = 100000, /* sent as discarded, kept of one queue: the newest */
    CORE_DUE_MAX = 10000,       /* moved by one core_entry(); the rest by the next */
    CORE_GATE_PER_MAX_MS = 86400000,
    CORE_UNHANDLED_MS = 86400000, /* without a handler so long: discarded */
    CORE_OWNER_MAX = 128,         /* bytes: who sees to a record of a manual queue */
    LANE_SCALE = 5040,            /* divides by all small weights */
    CORE_WEIGHT_MAX = 1000,       /* of a lane, of a tenant */
    /* Dedup texts that are known at once, some 90 bytes each: of one queue, of all. Past it a queue
     * forgets, for each new one, that of its own which would end first. */
    CORE_DEDUPS_QUEUE_MAX = 10000000,
    CORE_DEDUPS_MAX = 16000000,
};

#define CORE_DEDUP_MAX_MS (INT64_C(30) * 86400 * 1000)
#define CORE_DEADLINE_MS (INT64_C(86400) * 1000)

/* Where something lies in the log: index of the entry << 24 | offset of the payload in it. */
#define CORE_PLACE(seq, offset) ((uint64_t)(seq) << 24 | (uint64_t)(offset))

enum rec_state {
    REC_SCHEDULED = 1,
    REC_AVAILABLE,
    REC_EXECUTING,
    REC_RETRYABLE,
    REC_COMPLETED,
    REC_DISCARDED,
    REC_CANCELLED,
};
#define REC_ANY ((enum rec_state)0) /* no state: see core_list() */
enum rec_reason {                   /* of a discard; part of the saved form: never renumber */
                  REASON_NONE = 0,
                  REASON_ATTEMPTS,
                  REASON_REJECTED,
                  REASON_EXPIRED,
                  REASON_DEFERRED_TOO_LONG,
                  REASON_TIMEOUT,
                  REASON_LAPSED,
                  REASON_UNREGISTERED,
                  REASON_UNDECODABLE,
                  REASON_OVERFLOW,
                  REASON_NO_SUBSCRIBER,
                  REASON_TENANT_GONE,
                  REASON_COUNT,
};
/* 64 bits that stand for an id. Two ids of one ledger with the same: the second send is refused
 * with ERR_CONFLICT, as one with the same id. */
uint64_t core_fingerprint(const struct uuid *id);
/* A record of this fingerprint will be looked for soon. See domain_op.soon. */
void core_expect(const struct core *c, uint64_t fingerprint, bool again);
const char *rec_state_name(enum rec_state s);
const char *rec_reason_name(enum rec_reason r);

struct core *core_new(void);
void core_free(struct core *c);

/* ---- time, and taking back ---- */

/* An entry begins. `seq` and `at` never go back. What is due moves, CORE_DUE_MAX at most, in order
 * of (due, kind, place), the kinds being ttl, deadline, timeout, overdue, run, gate, keep, dedup;
 * what is too late by the new time is discarded when it is first looked at, for whatever reason.
 * Codes: ERR_NOMEM. */
int core_entry(struct core *c, uint64_t seq, int64_t at, struct err *e);
/* Everything since the last core_unit() (entry_too: since core_entry()) never happened. */
void core_unit(struct core *c);
void core_undo(struct core *c, bool entry_too);
uint64_t core_seq(const struct core *c); /* of the last entry */
/* Earliest ledger time at which core_entry() would do something; INT64_MAX: never. */
int64_t core_next_due(const struct core *c);

/* ---- queues, lanes, gates ---- */

enum core_overflow { OVERFLOW_REFUSE, OVERFLOW_DROP_OLDEST };
struct core_backoff {                     /* waits, ms */
    uint32_t first, cap;                  /* doubling from first to cap; first 0: the list */
    uint32_t list[CORE_BACKOFF_LIST_MAX]; /* the last repeats */
    uint8_t list_count;
};
/* The wait before try n + 1, of one record: up to 10 % more or less. n from 1. */
uint32_t core_backoff_ms(const struct core_backoff *b, uint32_t n, uint64_t fingerprint);
/* Options of a queue, a bit each; part of operations and of the saved form: never renumber. */
enum core_option {
    OPTION_CONCURRENCY = 1 << 0,
    OPTION_MAX = 1 << 1,
    OPTION_MAX_BYTES = 1 << 2,
    OPTION_OVERFLOW = 1 << 3,
    OPTION_DEAD_TO = 1 << 4,
    OPTION_ON_DEAD = 1 << 5,
    OPTION_MANUAL = 1 << 6,
    OPTION_HANDLED = 1 << 7,
    OPTION_DUE = 1 << 8,
    OPTION_KEEP_COMPLETED = 1 << 9,
    OPTION_KEEP_DISCARDED = 1 << 10,
    OPTION_KEEP_COUNT = 1 << 11,
    OPTION_DEDUP_WINDOW = 1 << 12,
    OPTION_BODY_MAX = 1 << 13,
    OPTION_ATTEMPTS = 1 << 14,
    OPTION_BACKOFF = 1 << 15,
    OPTION_TIMEOUT = 1 << 16,
    OPTION_TTL = 1 << 17,
    OPTION_DEADLINE = 1 << 18,
    OPTION_PRIORITY = 1 << 19,
    OPTION_LANE = 1 << 20,
    OPTION_GATE = 1 << 21,
    OPTION_NEEDS = 1 << 22,
    OPTION_ALL = (1 << 23) - 1,
    OPTION_SENDING = OPTION_ALL - (OPTION_ATTEMPTS - 1),
};
struct core_send;
struct core_queue { /* zero-initialise, then core_queue_defaults() */
    const char *tenant, *name;
    uint32_t concurrency;    /* executing at once; 0: no limit */
    uint64_t max, max_bytes; /* waiting records, their bytes; 0: no limit */
    enum core_overflow overflow;
    const char *dead_to; /* same tenant; NULL: dead letters stay */
    bool halt_on_dead;   /* a key waits for a decision when its record dies in place */
    bool manual;         /* worked by people, never granted */
    bool handled;        /* workers take it */
    bool owned;          /* see core_send_manual(); a declaration leaves it as it is */
    int64_t due_ms;      /* manual: people are to be done with a record by then; 0: at no time */
    int64_t keep_completed_ms, keep_discarded_ms; /* 0: gone at once; -1: for ever */
    uint32_t keep_count;                          /* completed ones, the newest; 0: no limit */
    int64_t dedup_window_ms;
    uint32_t body_max; /* bytes of one body, sent, edited or moved here; 0: CORE_BODY */
    /* How a record is sent that does not say so itself, whoever sends it: ttl_ms, deadline_ms,
     * timeout_ms, priority, attempts, backoff, lane, gates and needs; the rest is not looked at.
     * NULL: nothing is said, and the core's defaults hold. */
    const struct core_send *sending;
    /* The file of scripts that declares it, and which options that says, OPTION_*. NULL: none. */
    const char *script;
    uint32_t scripted;
};
void core_queue_defaults(struct core_queue *q);
/* Declares, or changes what can be changed: all of it, but for what is another's. With `script`:
 * the options of `scripted`; those that scripts said before and say no more have the values of `q`,
 * the rest stays as it is. `script` "": no script declares it any more; all but `handled` stays.
 * Without, by people: all but what scripts say, ERR_CONFLICT where that would be another. */
int core_declare(struct core *c, const struct core_queue *q, struct err *e);
/* 0, NULL: there is none of this name. The first one that is in `mask`. */
uint32_t core_option_named(const char *name);
const char *core_option_name(uint32_t mask);
/* The options in which they are not the same, and taking some of them over; the texts stay those of
 * `from`, how it is sent to is in `room`. */
uint32_t core_queue_differs(const struct core_queue *a, const struct core_queue *b);
void core_queue_take(struct core_queue *to, struct core_send *room, const struct core_queue *from,
                     uint32_t mask);
/* ERR_CONFLICT while records are in it, unless `force`, which forgets them. */
int core_drop(struct core *c, const char *tenant, const char *name, bool force, struct err *e);
/* Of a queue that workers took from until it was declared without `handled`, or that is abandoned,
 * and that nobody takes from now: what has been available since then, and for CORE_UNHANDLED_MS, is
 * discarded as UNREGISTERED, CORE_DUE_MAX of it in order of place. A consumer that comes to name
 * the queue, even for a moment, and a declaration as manual end that for good: it has others who
 * work it. Nor is a queue meant that is paused, or that no worker ever took from. *count: how many.
 */
int core_unregister(struct core *c, const char *tenant, const char *name, uint32_t *count,
                    struct err *e);
/* Whoever worked it by a consumer that named it comes no more: from now on, or from the moment that
 * the last consumer that names it has gone, core_unregister() is about it. Of a queue that workers
 * take from, a manual one or none nothing happens. */
void core_abandon(struct core *c, const char *tenant, const char *name);
int core_pause(struct core *c, const char *tenant, const char *name, bool paused, struct err *e);
int core_close(struct core *c, const char *tenant, const char *name, bool closed, struct err *e);
/* Of a lane that nobody has declared: `system` 8, `canon` and `default` 4, any other 1. */
uint32_t core_lane_weight(const char *name);
/* weight 1..CORE_WEIGHT_MAX; cap 0 pauses, UINT32_MAX: none. Undeclared lanes have no cap. */
int core_lane(struct core *c, const char *name, uint32_t weight, uint32_t cap, struct err *e);
/* Share of a tenant, 1..CORE_WEIGHT_MAX; 1 when never set. */
int core_tenant(struct core *c, const char *tenant, uint32_t weight, struct err *e);
/* capacity 0: no limit; rate 0: no limit, else starts per per_ms. */
struct core_gate {
    const char *tenant, *name;
    uint32_t capacity, rate;
    int64_t per_ms;
};
int core_gate(struct core *c, const struct core_gate *g, struct err *e);
/* Nothing passes before `until`; 0 opens. A gate that was never declared is made, without limits.
 */
int core_gate_close(struct core *c, const char *tenant, const char *name, int64_t until,
                    struct err *e);
/* The same, but one that is closed for longer stays so. */
int core_gate_backoff(struct core *c, const char *tenant, const char *name, int64_t until,
                      struct err *e);

/* ---- sending ---- */

struct core_label { /* text: equals; neither: is there; number: that much of it, while executing */
    const char *name, *text;
    uint32_t number;
};
enum core_unique { UNIQUE_SKIP, UNIQUE_REPLACE, UNIQUE_SWAP };
/* Zero-initialise, but for the priority. What is not said is as the queue says, else as written
 * here. A record keeps what it got so, whatever its queue says later; moved to another queue, by an
 * operator or as a dead letter, what was not said is as that queue says: but ttl and deadline,
 * which are times that count from the send. */
struct core_send {
    const char *tenant, *queue;
    struct uuid id;
    uint64_t place;
    uint32_t bytes; /* of the body */
    int64_t run_at; /* 0 or past: now */
    int64_t ttl_ms; /* not started by then: expired. From run_at; 0: not said, none; -1: none */
    int64_t
        deadline_ms; /* of snoozes and closed gates, from run_at; 0: not said, CORE_DEADLINE_MS */
    uint32_t timeout_ms;                /* of one execution; 0: not said, CORE_TIMEOUT_MS */
    uint8_t priority;                   /* CORE_PRIORITY_UNSAID: not said */
    uint16_t attempts;                  /* 0: not said, CORE_ATTEMPTS */
    const struct core_backoff *backoff; /* NULL: not said, 3 s, doubling, cap 5 min */
    const char *lane;                   /* NULL: not said, "default" */
    const char *key, *unique, *dedup;
    int64_t dedup_ms; /* known for so long at least; the queue's window where that is longer */
    enum core_unique unique_mode;
    uint64_t unique_expect; /* UNIQUE_SWAP: place of the body that was merged with; else
                               ERR_CONFLICT; 0: none may wait */
    const char *gates[CORE_GATES_MAX];
    const struct core_label *needs;
    uint8_t gates_count, needs_count;
    bool no_gates, no_needs; /* said: none; else 0 of them are not said */
    bool create;             /* an undeclared queue is declared with defaults */
    bool always;             /* be the queue closed or full */
    bool large;              /* it may have CORE_BODY_MAX, whatever the queue says */
    enum rec_reason discard; /* not to be worked: it is discarded for it as soon as it is there */
};
struct core_sent {
    struct uuid id;        /* of the record: the sent one, or the one that was there */
    bool duplicate;        /* dedup: nothing was added */
    bool merged;           /* unique: the waiting one stays, has the new body unless skipped */
    uint64_t depth;        /* waiting records of the queue, with it */
    int64_t oldest_age_ms; /* about that of its oldest available one; 0: none waits */
};
int core_send(struct core *c, const struct core_send *s, struct core_sent *out, struct err *e);
/* Of core_queue.sending. Does it say anything, and the same? NULL says nothing. */
bool core_sending_says(const struct core_send *s);
bool core_sending_same(const struct core_send *a, const struct core_send *b);
/* A copy in one piece, to be freed with mem_free(); NULL of what says nothing. */
struct core_send *core_sending_copy(const struct core_send *s);
/* As a send takes what it does not say: from `from`, which may be NULL, else the core's default.
 * `s` then says all, but a backoff and a ttl where there are none. */
void core_sending_fill(struct core_send *s, const struct core_send *from);

/* ---- manual queues: what people work ----
 *
 * Nobody is granted from a manual queue. What waits there has an owner, who sees to it, and a time
 * by which it is due; one that is over is counted in its queue (core_counts.overdue) until it is
 * worked. A snoozed one is SCHEDULED until then; its deadline does not count.
 *
 * The queue may be *owned*: its records stand for something that another part of Koan keeps, and
 * end with that alone. Then what operators do with records is refused, all but core_tend(); so is
 * forgetting the queue while something waits in it, and a send by others. */

/* Sends to a queue that is owned from then on, and manual. Where it says nothing itself its records
 * are due after `due_ms`, and of those that have ended it keeps the newest 10 000 for 30 days.
 * False: nothing was sent; there is a record with this id, or no room for another queue. Never
 * refuses: ERR_NOMEM alone. */
struct core_manual {
    int64_t due_ms;
    const struct uuid *follows; /* NULL, or a record that waits there: owner and due time pass on */
    bool anew;                  /* whatever the queue said before it was owned */
};
int core_send_manual(struct core *c, const struct core_send *s, const struct core_manual *m,
                     bool *sent, struct err *e);
/* It is worked. A record that does not wait in a manual queue stays as it is. */
struct core_worked {
    struct uuid id;
    uint64_t place; /* where the result lies */
    bool has_result;
    bool cancelled; /* it was not to be done; else COMPLETED */
    bool forget;    /* nothing of it is kept */
};
void core_worked(struct core *c, const struct core_worked *w);
/* What it stands for has gone, and nothing of it is kept, whether it waits or has ended. A record
 * that is not of an owned queue, or executes, stays as it is. */
void core_forget(struct core *c, const struct uuid *id);
/* What people say of a record that waits in a manual queue. */
struct core_tend {
    bool has_owner, has_due, has_until;
    const char *owner; /* NULL: nobody */
    int64_t due_at;    /* 0: at no time */
    int64_t until;     /* snoozed until then; 0 or past: it is available */
};
/* ERR_NOT_FOUND, ERR_CONFLICT: not of a manual queue, or it has ended. */
int core_tend(struct core *c, const struct uuid *id, const struct core_tend *t, struct err *e);

/* ---- consumers ---- */

struct core_consumer {
    struct uuid id;
    const char *node;   /* where its grants are announced */
    bool worker;        /* takes from every `handled` queue; else from `queues` */
    const char *tenant; /* of the queues named */
    const char *const *queues;
    uint32_t queues_count;
    uint32_t credit;   /* how many it executes at once */
    uint32_t lease_ms; /* 1 000 .. 43 200 000; 0: 30 000 */
    const struct core_label *labels;
    uint8_t labels_count;
    const char *const *only; /* takes just work that needs one of these labels */
    uint8_t only_count;
    bool of_node; /* its labels are its node's: of a number in them there is so much for all
                     consumers of `node` together that say so */
};
/* A consumer with this id that exists is changed: credit, labels, queues. */
int core_open(struct core *c, const struct core_consumer *s, struct err *e);
/* Lease times of all it holds begin anew. ERR_NOT_FOUND: lapsed or closed. */
int core_renew(struct core *c, const struct uuid *consumer, struct err *e);
/* What it holds is released: no try is used. */
int core_leave(struct core *c, const struct uuid *consumer, struct err *e);
/* It takes nothing more, and goes when it holds nothing, at once, with the last or at the end of
 * its lease; unless it is opened again. With `lease_ms` that lease begins anew, so long. 0: its
 * process is gone; what this very entry granted to it, of which nobody was told, is lost without a
 * try. What a worker executed lapses: it ran in that process, and may be why it is gone. A consumer
 * of somebody outside keeps the lease of the rest. Nothing happens when there is no such consumer.
 */
int core_retire(struct core *c, const struct uuid *consumer, uint32_t lease_ms, struct err *e);
/* Its time is over: a try is used of each it holds. Does nothing when it was renewed: *lapsed. */
int core_lapse(struct core *c, const struct uuid *consumer, bool *lapsed, struct err *e);
/* Earliest end of a consumer's or a record's own lease; INT64_MAX: none. `consumer` or `record`. */
struct core_expiry {
    int64_t at;
    bool is_record;
    struct uuid consumer;
    uint64_t record, token; /* fingerprint of its id */
};
void core_next_expiry(const struct core *c, struct core_expiry *out);
/* Lapse of one record with a lease of its own (extended). */
int core_lapse_record(struct core *c, uint64_t fingerprint, uint64_t token, bool *lapsed,
                      struct err *e);

/* ---- settling ---- */

enum core_outcome {
    SETTLE_ACK = 1,
    SETTLE_NACK,    /* a try is used; delay_ms instead of the backoff when >= 0 */
    SETTLE_REJECT,  /* discarded: `reason` */
    SETTLE_RELEASE, /* available again, no try used */
    SETTLE_SNOOZE,  /* until `until`, no try used; has_result: how far it came */
    SETTLE_BACKOFF, /* released, and `gate` closed until `until` */
    SETTLE_EXTEND,  /* a lease of its own until now + lease_ms */
};
struct core_settle {
    const char *tenant, *queue; /* that the record is in; NULL: any */
    struct uuid id;
    uint64_t token;
    uint64_t place; /* of the settle: where result or error text lie */
    enum core_outcome outcome;
    enum rec_reason reason; /* of a reject; 0: REASON_REJECTED */
    uint16_t code;          /* of the error, 0: none */
    int64_t delay_ms;       /* -1: the backoff */
    int64_t until;
    uint32_t lease_ms;
    const char *gate;
    bool has_result;      /* of an ack or snooze: it is the record's result, until the next */
    const uint8_t *trace; /* CORE_TRACE_BYTES: of the execution that failed; NULL: none is known */
};
/* ERR_FENCED: the token is not the current one, also where the record has ended and is not kept.
 * ERR_NOT_FOUND: it is in another queue than the one that is named. */
int core_settle(struct core *c, const struct core_settle *s, struct err *e);
/* The condition `delivery`: 0 or ERR_FENCED. */
int core_held(const struct core *c, const struct uuid *id, uint64_t token, struct err *e);

/* ---- operators ---- */

/* Who does what comes, and why: for the history of the records that core_cancel(), core_retry(),
 * core_move() and core_edit() change. Until it is said anew; the texts live as long. NULL: nobody
 * says. */
void core_by(struct core *c, const char *who, const char *why);
/* Waiting: at once CANCELLED. Executing: *asked, the holder is told (EFFECT_CANCEL). */
int core_cancel(struct core *c, const struct uuid *id, bool *asked, struct err *e);
/* Any final state, RETRYABLE or SCHEDULED: available now, with all its tries. */
int core_retry(struct core *c, const struct uuid *id, struct err *e);
/* SCHEDULED: available now, with the tries that it has left. Any other state stays as it is. */
int core_wake(struct core *c, const struct uuid *id, struct err *e);
/* However long its body is: that was the matter of where it was sent to. */
int core_move(struct core *c, const struct uuid *id, const char *queue, struct err *e);
/* Another body for a waiting or discarded record; `large` as of a send. */
int core_edit(struct core *c, const struct uuid *id, uint64_t place, uint32_t bytes, bool large,
              struct err *e);
/* Forgets a record that is not executing. */
int core_purge(struct core *c, const struct uuid *id, struct err *e);

/* ---- what came of it ---- */

enum core_effect_kind {
    EFFECT_GRANT = 1,
    EFFECT_CANCEL,
    EFFECT_ENDED,
    EFFECT_LOST,
    EFFECT_PURGED, /* forgotten before it had ended: by an operator, or with its queue */
};
struct core_effect { /* since core_entry(), in order */
    enum core_effect_kind kind;
    const char *tenant, *queue; /* where it is: the core's, until the next change */
    uint64_t id;                /* core_fingerprint() of it */
    uint64_t place, body;       /* of the send; of the body where that is another */
    bool edited;                /* `body` is the place of an edit, not of a send */
    uint64_t token;
    struct uuid consumer; /* GRANT, CANCEL, LOST */
    uint64_t result;      /* ENDED: place of the settle that ended it, if it told a result or an
                             error; GRANT: of the last snooze, if it told how far it came; 0: none
                             did */
    uint32_t attempt, deliveries;
    int64_t lease_until, timeout_at;
    int64_t
        granted_at; /* ENDED: its last execution, which need not have ended it; 0: it had none */
    enum rec_state state;
    enum rec_reason reason;
};
const struct core_effect *core_effects(const struct core *c, size_t *count);

/* What is worth telling of a record, since core_entry(), in order: a try that failed, a discard in
 * place, and what its history has (enum core_verb). */
enum core_noted_kind { NOTED_TRY = 1, NOTED_DISCARDED, NOTED_VERB };
struct core_noted {
    enum core_noted_kind kind;
    uint64_t place; /* of the send */
    uint64_t told;  /* TRY: of the settle that told it; 0: nobody did */
    uint32_t attempt;
    enum rec_reason reason;
    uint8_t verb;          /* enum core_verb */
    const char *queue;     /* where it was; as long as those of effects */
    const char *to;        /* of a move; else NULL */
    const char *who, *why; /* of people; core_by()'s, NULL: nobody said */
};
const struct core_noted *core_noted(const struct core *c, size_t *count);

/* ---- reading ---- */

/* Each consumer; of `s` only id, node, worker, credit and lease_ms are set. */
void core_consumers(const struct core *c,
                    void (*each)(void *arg, const struct core_consumer *s, uint32_t held),
                    void *arg);

enum core_waits { /* why an AVAILABLE record does not run */
                  WAITS_NOTHING,
                  WAITS_CONSUMER,
                  WAITS_KEY,
                  WAITS_GATE,
                  WAITS_LABEL, /* that nobody who takes it has, or has enough of just now; without a
                                  name: nobody has all, or who has them is `only` for other work */
                  WAITS_PAUSE,
                  WAITS_CONCURRENCY,
                  WAITS_LANE,
                  WAITS_HANDLER,
                  WAITS_PEOPLE,
                  WAITS_DECISION, /* its key is halted by a dead letter */
};
struct core_view {
    enum rec_state state;
    enum rec_reason reason;
    enum core_waits waits;
    char waits_for[CORE_TEXT_MAX + 1]; /* name of gate, label, lane; the key */
    const char *tenant, *queue, *lane; /* the core's, until the next change */
    uint64_t place, body, result;
    bool edited;    /* `body` is the place of an edit, not of a send */
    uint64_t error; /* of the settle that told the last one; 0: there was none, or no words */
    uint16_t error_code;
    uint32_t bytes;
    int64_t run_at; /* of waiting ones; of ended ones when they ended */
    uint32_t attempts, deliveries, attempts_max;
    uint8_t priority;
    uint64_t token; /* EXECUTING */
    int64_t lease_until;
    struct uuid consumer;
    bool cancel_asked;              /* EXECUTING, and not to go on */
    char why[CORE_WHY_MAX + 1];     /* CANCELLED: the reason given; "": none was */
    char owner[CORE_OWNER_MAX + 1]; /* of a manual queue; "": nobody */
    int64_t due_at;                 /* 0: at no time */
    bool overdue;
};
/* ERR_NOT_FOUND. */
int core_look(const struct core *c, const struct uuid *id, struct core_view *out, struct err *e);

enum core_verb { /* part of the saved form: never renumber */
                 VERB_RETRY = 1,
                 VERB_MOVE,
                 VERB_EDIT,
                 VERB_CANCEL,
                 VERB_DEAD_LETTER, /* no one's: it died, and moved */
                 VERB_COUNT,
};
const char *core_verb_name(enum core_verb v);

/* What became of it before: its last errors and moves, the oldest first, and the queues that it
 * died in. The texts are the core's, until the next change. */
struct core_history {
    struct core_error {
        int64_t at;
        uint64_t place; /* of the settle that told it; 0: a timeout or a lapse, nobody told */
        uint32_t attempt;
        uint16_t code;
        enum rec_reason reason;
        const char *node;                /* whose consumer executed it; NULL: not known */
        uint8_t trace[CORE_TRACE_BYTES]; /* zeros: not known */
    } errors[CORE_ERRORS_KEPT];
    uint32_t errors_count, errors_ever;
    struct core_moved {
        int64_t at;
        enum core_verb verb;
        enum rec_reason reason;            /* of a dead letter */
        const char *who, *why, *from, *to; /* NULL: nobody said; of no move */
    } moves[CORE_MOVES_KEPT];
    uint32_t moves_count, moves_ever;
    const char *died[CORE_DIED_MAX]; /* the core's; those that are dropped are left out */
    uint32_t died_count;
};
/* ERR_NOT_FOUND. */
int core_past(const struct core *c, const struct uuid *id, struct core_history *out, struct err *e);

/* The body of the record that waits with this unique text, as a send with UNIQUE_SWAP expects it.
 * ERR_NOT_FOUND: none waits. */
struct core_waiting {
    uint64_t body;
    bool edited; /* `body` is the place of an edit, not of a send */
};
int core_waiting(const struct core *c, const char *tenant, const char *queue, const char *unique,
                 struct core_waiting *out);

struct core_counts {
    uint64_t scheduled, available, executing, retryable, completed, discarded, cancelled;
    uint64_t bytes;    /* of all waiting and executing */
    int64_t oldest_at; /* about that of the oldest available; INT64_MAX: none */
    uint64_t sent, acked, nacked, granted, dropped; /* since it was declared; discarded */
    uint64_t overdue;                               /* of those that wait for people */
    int64_t unhandled_at; /* since when nobody takes from it that did: core_unregister(); 0: no */
    uint32_t consumers;
    uint64_t unfit; /* about how many of the available wait for a label */
    /* Dedup texts: known now, forgotten before their time since it was declared, and until when one
     * of these might come again (0: none was). */
    uint64_t dedups, dedups_forgotten;
    int64_t dedups_whole_at;
    bool paused, closed;
};
int core_counts(const struct core *c, const char *tenant, const char *queue,
                struct core_counts *out, struct err *e);
/* Each queue, in order of declaration: for (uint32_t i = 0; core_queue_at(c, &i, &q, &n);) */
bool core_queue_at(const struct core *c, uint32_t *i, struct core_queue *q, struct core_counts *n);
/* Up to `max` of them in one walk, from *i on, as long as each() says true: with many queues, where
 * the walk to *i costs. False when there are no more. The texts are the core's. */
bool core_each(const struct core *c, uint32_t *i, uint32_t max,
               bool (*each)(void *arg, const struct core_queue *q, const struct core_counts *n),
               void *arg);
/* One of them. ERR_NOT_FOUND. */
int core_find(const struct core *c, const char *tenant, const char *queue, struct core_queue *q,
              struct core_counts *n, struct err *e);
/* Lanes and gates as they stand. `waiting`: of a lane, what could run if there were a consumer for
 * it and room in the lane; of a gate, what it holds back. Names are the core's. */
struct core_lane_view {
    const char *name;
    uint32_t weight, cap; /* cap UINT32_MAX: none */
    uint32_t executing;
    uint64_t waiting;
};
/* Those that were declared or used, into `out`, CORE_LANES_MAX of them; how many. Looks at all
 * queues. */
uint32_t core_lanes(const struct core *c, struct core_lane_view *out);
struct core_gate_view {
    struct core_gate gate;
    int64_t closed_until; /* 0: it is open */
    uint32_t executing;
    uint64_t waiting;
    uint32_t number; /* in order of the first use */
};
/* Those of a tenant behind `after` (of none: 0), as long as each() says true. */
void core_gates(const struct core *c, const char *tenant, uint32_t after,
                bool (*each)(void *arg, const struct core_gate_view *g), void *arg);
/* ERR_NOT_FOUND. */
int core_gate_look(const struct core *c, const char *tenant, const char *name,
                   struct core_gate_view *out, struct err *e);
/* Up to `max` ids of records of a queue in one state, in order of place, from `after` on; REC_ANY:
 * of all that do not execute. */
size_t core_list(const struct core *c, const char *tenant, const char *queue, enum rec_state state,
                 uint64_t after, uint64_t *places, size_t max);
/* Up to `max` of the newest records, latest place first: those of one queue, or of all whose names
 * begin with `prefix`; `states` has a bit (1 << state) for each that is wanted; before place
 * `before`, 0: from the newest on. Looks at all records. */
struct core_filter {
    const char *tenant, *queue, *prefix; /* queue NULL: by prefix */
    uint32_t states;
    uint64_t before;
};
size_t core_list_newest(const struct core *c, const struct core_filter *f, uint64_t *places,
                        size_t max);

/* ---- keeping ---- */

/* The state, to be read back by core_load() of the same or a later version: schema/queue-state.md.
 * `put` takes pieces of at most 64 KiB. */
int core_save(const struct core *c, int (*put)(void *arg, const void *p, size_t n, struct err *e),
              void *arg, struct err *e);
/* Into a new core. `get` fills exactly n bytes. ERR_CORRUPT, ERR_UNSUPPORTED. */
int core_load(struct core *c, int (*get)(void *arg, void *p, size_t n, struct err *e), void *arg,
              struct err *e);
/* Changes with every decision; equal on every node that applied the same entries. */
uint64_t core_hash(const struct core *c);
/* The lowest place at or behind `from` that a record, its body, result or errors lie at;
 * UINT64_MAX: none. */
uint64_t core_lowest_place(const struct core *c, uint64_t from);
/* Each place of record number `n`; the number of the next record, 0: there is none. From 1. */
uint32_t core_places(const struct core *c, uint32_t n, void (*each)(void *arg, uint64_t place),
                     void *arg);
/* From now on, places below `place` that are given up are told by core_forgotten(). */
void core_spilled(struct core *c, uint64_t place);
const uint64_t *core_forgotten(const struct core *c, size_t *count);
void core_forgotten_clear(struct core *c);
/* Asserts the invariants (core.c lists them). Slow: for tests. */
void core_check(const struct core *c);

#endif
