/* Queue - messages and jobs as one durable record, from send to its end.
 *
 * The rules are in core.h: a state in memory that only operations of the ledger (0x02xx) change,
 * the same on every node. This door joins it to the ledger, and to who sends, works and asks:
 *
 *   queue_txn_*()   append an operation to a unit of work, beside any others: an entity is saved,
 *                   a message sent and the delivery that caused it settled together, or not at all.
 *   consumers       say once how much they take; what they are granted comes to their own thread
 *                   when the entry that grants it is committed.
 *   queues_ask()    runs a question on the ledger's thread, where the core can be read.
 *
 * Bodies are not in memory. A record has the place of its send in the log, and queue_message_read()
 * gives from the bytes there what was sent. So a message is written once, in the log, and a million
 * waiting ones cost their records.
 *
 * Who leads also keeps the time: an empty tick is proposed when something is due and nothing else
 * comes, and a lapse when a lease is over. After a start it waits QUEUE_GRACE_MS before the first
 * lapse, so that a restart costs nobody a lease.
 *
 * Formats: schema/queue-operations.md, schema/queue-state.md. */
#ifndef KOAN_QUEUE_QUEUE_H
#define KOAN_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "io/world.h"
#include "ledger/txn.h"
#include "queue/core.h"

struct buf;
struct cursor;
struct db;
struct domain;
struct ledger;
struct queues;
struct stat_page;
struct txn;

enum {
    QUEUE_BODY_MAX = 1 << 20, /* unless a queue says more; never over CORE_BODY_MAX */
    QUEUE_HEADERS_MAX = 64,   /* of a message */
    QUEUE_HEADERS_BYTES = 16 << 10,
    QUEUE_RESULT_BYTES = 256 << 10,
    QUEUE_ERROR_BYTES = 2 << 10, /* of the text of one failed try */
    QUEUE_TYPE_BYTES = 128,      /* of a media type */
    QUEUE_GRACE_MS = 10 * 1000,
};

struct queues *queues_new(void);
void queues_free(struct queues *q); /* takes NULL; after the ledger */
/* For ledger_open(). Lives as long as `q`. */
const struct domain *queues_domain(struct queues *q);
/* Keeps the time from now on. On the thread of `w`, which is the ledger's. `node` names this node
 * in what its consumers open, CORE_TEXT_MAX at most; those of that name whom nobody here listens
 * for are of a process that is gone: they are retired with the first unit, so that nothing is
 * granted to them. */
void queues_start(struct queues *q, struct ledger *l, struct world *w, const char *node);
/* That name, as long as `q` lives: for core_consumer.node. */
const char *queues_node(const struct queues *q);
/* Proposes nothing more. On the same thread, before ledger_close(). */
void queues_stop(struct queues *q);

/* ---- operations, appended to a unit ---- */

/* What is sent. `send.tenant` and `send.place` are not read: the unit's tenant, the log's place. */
struct queue_message {
    struct core_send send;
    const char *type;    /* media type of the body; NULL: application/json */
    const char *headers; /* a JSON object of texts; NULL: none */
    const char *correlation, *traceparent;
    uint64_t script; /* hash of the set of scripts that sends it; 0: none does */
    const void *body;
    size_t body_len;
};
/* ERR_TOO_LARGE, ERR_INVALID: nothing was added. */
int queue_txn_send(struct txn *t, const struct queue_message *m, struct err *e);
/* What nobody is to work, and is kept to be found: `send.discard` says why. A queue that is not
 * there is declared, and keeps its discarded records so long. The result is that of a send. */
int queue_txn_send_discarded(struct txn *t, const struct queue_message *m, int64_t keep_ms,
                             struct err *e);
void queue_sent_read(struct cursor *result, struct core_sent *out);
/* For people, from a part of Koan that keeps what the message stands for: see core_send_manual().
 * `follows` may be NULL. It cannot refuse, so that the unit needs no savepoint for it. */
int queue_txn_send_manual(struct txn *t, const struct queue_message *m, int64_t due_ms,
                          const struct uuid *follows, struct err *e);
bool queue_sent_manual(struct cursor *result); /* there is a new record */
/* Such a record is worked: see core_worked(). `text`: its result, may be NULL. It cannot refuse. */
int queue_txn_worked(struct txn *t, const struct core_worked *w, const char *text, size_t text_len,
                     struct err *e);
/* Such records go, waiting or ended: see core_forget(). It cannot refuse. */
void queue_txn_forget(struct txn *t, const struct uuid *ids, size_t count);
/* What people say of a record of a manual queue: see core_tend(). */
int queue_txn_tend(struct txn *t, const struct uuid *id, const struct core_tend *w, struct err *e);

/* `text`: result of an ack, error of a nack or reject; may be NULL. `s->place` is not read. */
int queue_txn_settle(struct txn *t, const struct core_settle *s, const char *text, size_t text_len,
                     struct err *e);
/* A condition: the delivery with this token is under way. */
void queue_txn_if_delivery(struct txn *t, const struct uuid *id, uint64_t token);
/* An ack or a reject behind that condition, in a unit that changes much else: it cannot refuse, so
 * that the unit needs no savepoint for it. A delivery that is over stays as it is. */
int queue_txn_end(struct txn *t, const struct core_settle *s, const char *text, size_t text_len,
                  struct err *e);
/* A condition: this record has ended, or is not there. ERR_CONFLICT while it waits or executes. */
void queue_txn_if_over(struct txn *t, const struct uuid *id);

void queue_txn_declare(struct txn *t, const struct core_queue *q);
void queue_txn_drop(struct txn *t, const char *name, bool force);
void queue_txn_pause(struct txn *t, const char *name, bool paused);
void queue_txn_close(struct txn *t, const char *name, bool closed);
void queue_txn_lane(struct txn *t, const char *name, uint32_t weight, uint32_t cap);
void queue_txn_tenant(struct txn *t, uint32_t weight);
void queue_txn_gate(struct txn *t, const struct core_gate *g);
void queue_txn_gate_close(struct txn *t, const char *name, int64_t until);
void queue_txn_gate_backoff(struct txn *t, const char *name, int64_t until); /* or later */

void queue_txn_open(struct txn *t, const struct core_consumer *c);
void queue_txn_renew(struct txn *t, const struct uuid *consumer);
void queue_txn_leave(struct txn *t, const struct uuid *consumer);
/* See core_retire(). */
void queue_txn_retire(struct txn *t, const struct uuid *consumer, uint32_t lease_ms);

void queue_txn_cancel(struct txn *t, const struct uuid *id);
bool queue_cancel_asked(struct cursor *result); /* it was executing: its holder is told */
void queue_txn_retry(struct txn *t, const struct uuid *id);
/* See core_wake(). */
void queue_txn_wake(struct txn *t, const struct uuid *id);
void queue_txn_move(struct txn *t, const struct uuid *id, const char *queue);
/* See core_unregister(); it is Koan's own clock that says when. Abandoned: see core_abandon(). */
void queue_txn_unregister(struct txn *t, const char *name);
void queue_txn_abandon(struct txn *t, const char *name);
/* `large`: whatever its queue takes; else a body that is longer than that is refused. */
int queue_txn_edit(struct txn *t, const struct uuid *id, const void *body, size_t body_len,
                   bool large, struct err *e);
void queue_txn_purge(struct txn *t, const struct uuid *id);

/* ---- what lies at a place ---- */

struct queue_stored {
    struct uuid id;
    const char *type, *headers, *correlation, *traceparent, *key; /* in `texts`; NULL: not given */
    uint64_t script;                                              /* 0: no script sent it */
    const void *body;                                             /* into the entry; NULL: none */
    size_t body_len;
    char texts[QUEUE_HEADERS_BYTES + QUEUE_TYPE_BYTES + 3 * 1024 + 8];
};
/* `entry`: the payload of the log's entry place >> 24, as ledger_read() gives it. ERR_CORRUPT when
 * no send lies at this place. */
int queue_message_read(const void *entry, size_t n, uint64_t place, struct queue_stored *out,
                       struct err *e);
/* The body of an edit; the result or error text of a settle. */
enum queue_place_kind { QUEUE_PLACE_EDIT, QUEUE_PLACE_SETTLE };
int queue_body_read(const void *entry, size_t n, uint64_t place, enum queue_place_kind kind,
                    const void **body, size_t *body_len, struct err *e);

/* The payload of the operation at `place`, appended to `out` (LEDGER_READ_MAX): from the log, or
 * from where old ones were moved (not with a NULL reader). Any thread, with a reading connection
 * of its own; blocks. Then
 * queue_message_read(out->data, out->len, 0, ..). ERR_GONE: the record is no more. */
int queue_place_read(struct ledger *l, struct db *reader, uint64_t place, struct buf *out,
                     struct err *e);

/* Who sent what was moved out of the log, and what caused it; "": not known. Of what is in the log
 * ledger_units_at() tells it. As above. */
struct queue_sender {
    char principal[TXN_ENVELOPE_TEXT_MAX + 1], causation[TXN_ENVELOPE_TEXT_MAX + 1];
};
int queue_sender_read(struct db *reader, uint64_t place, struct queue_sender *out, struct err *e);

/* The body of what core_waiting() tells of, appended to `out` (QUEUE_BODY_MAX and more: its limit
 * is CORE_BODY_MAX), which must be JSON, else ERR_INVALID. As above. */
int queue_waiting_read(struct ledger *l, struct db *reader, const struct core_waiting *w,
                       struct buf *out, struct err *e);

/* ---- consumers of this process ---- */

/* Part of the caller's struct. `arrived` runs on `home` when something came since it ran last. */
struct queue_consumer {
    struct task task;
    struct queue_consumer *next;
    struct uuid id;
    struct runner *home;
    void (*arrived)(struct queue_consumer *c);
    void (*gone)(struct queue_consumer *c); /* after queues_unlisten(): the last that is heard */
    struct core_effect *waiting;
    size_t waiting_count, waiting_cap;
    bool posted, leaving;
};
/* Any thread, before its queue_txn_open() is proposed. */
void queues_listen(struct queues *q, struct queue_consumer *c);
/* On `home`, in `arrived`: what came, the caller's to free with mem_free(). The names in it live as
 * long as `q`. */
struct core_effect *queues_take(struct queues *q, struct queue_consumer *c, size_t *count);
/* Any thread. `gone` follows on `home`. */
void queues_unlisten(struct queues *q, struct queue_consumer *c);

/* ---- ends ---- */

/* Hears of every record that ended (EFFECT_ENDED) or was forgotten before it had (EFFECT_PURGED),
 * in order, when that is committed: on the ledger's thread, which must not be kept. What ended
 * before queues_start() is not told again: who has to know looks for itself. */
struct queue_ear {
    struct queue_ear *next;
    /* `f` and its texts: until it returns. */
    void (*ended)(struct queue_ear *ear, const struct core_effect *f, uint64_t seq, int64_t at);
};
/* Before queues_start(). Lives as long as `q`. */
void queues_hear(struct queues *q, struct queue_ear *ear);

enum queue_watch_end {
    QUEUE_WATCH_ENDED = 1, /* state, reason and result say how */
    QUEUE_WATCH_GONE,      /* there is no such record: it ended and is not kept, or was purged */
    QUEUE_WATCH_LEFT,      /* queues_unwatch() */
};

/* Waits for the end of one record. Part of the caller's struct, the module's from queues_watch()
 * until ended(), which runs exactly once, on `home`, at once where the record has ended already. A
 * dead letter that moved to another queue has ended, as DISCARDED, until it is retried there.
 *
 * A record that nobody keeps is gone with its end. Who wants its result watches before the unit
 * that sends it is proposed, `coming` set: that it is not there then says nothing. Whether it was
 * sent, or is another record's (merged, duplicate), is for the caller to see from that unit. */
struct queue_watch {
    struct task task;
    struct list node;
    struct queues *queues;
    struct uuid id;
    struct runner *home;
    bool coming;
    void (*ended)(struct queue_watch *w);

    /* In ended(). */
    enum queue_watch_end end; /* 0 before */
    enum rec_state state;
    enum rec_reason reason;
    uint64_t result; /* a place, for queue_place_read() and QUEUE_PLACE_SETTLE; 0: none */

    uint64_t fingerprint;
    bool asking;
};
/* Any thread. */
void queues_watch(struct queues *q, struct queue_watch *w);
/* Any thread, before ended() ran: it runs soon, if not already on its way with the record's end. */
void queues_unwatch(struct queues *q, struct queue_watch *w);

/* ---- for who looks on ---- */

/* Of all queues together, as the ledger's thread wrote it down last: each second, and with 100,000
 * queues each 10. Any thread; it does not wait for the ledger's, which may wait for its disk. */
struct queue_totals {
    uint64_t queues;
    struct core_counts counts;      /* sums; but for oldest_at, the earliest, and *_whole_at */
    char oldest[CORE_TEXT_MAX + 1]; /* name of the queue with that */
    char unfit[CORE_TEXT_MAX + 1];  /* of the one with the most of counts.unfit */
    uint64_t unfit_most;
    /* Queues with available records for which there is no handler any more, see
     * core_unregister(); the one whose records are discarded first, and from when on. */
    uint64_t unhandled, unhandled_records;
    char unhandled_name[CORE_TEXT_MAX + 1];
    int64_t unhandled_until;
    uint64_t overdue_most; /* of one queue, and which */
    char overdue_name[CORE_TEXT_MAX + 1];
    char dedups_name[CORE_TEXT_MAX + 1]; /* of the queue with counts.dedups_whole_at, the latest */
};
void queues_totals(struct queues *q, struct queue_totals *out);
/* Adds what is known of each queue: of the QUEUE_SHOWN busiest, fewer when their names are long,
 * the rest as one; all in detail. Under QUEUE_METRICS_BYTES, but in detail. As above. */
enum { QUEUE_SHOWN = 50, QUEUE_METRICS_BYTES = 64 << 10 };
void queues_metrics(struct queues *q, struct stat_page *page);
/* The names of its families, NULL behind the last. */
extern const char *const queue_metric_names[];
/* ---- looking on ---- */

enum { QUEUE_TAP_MAX = 4096 /* events that wait for one who looks on; more are missed */ };

struct queue_tapped {
    enum core_effect_kind kind; /* of any kind */
    enum rec_state state;
    enum rec_reason reason;
    uint64_t place; /* of the send */
    int64_t at;
    uint32_t attempt;
};
/* All that happens to the records of one queue, once it is committed. Part of the caller's struct.
 */
struct queue_tap {
    struct task task;
    struct list node;
    struct runner *home;
    const char *tenant, *queue;           /* the caller's */
    void (*arrived)(struct queue_tap *t); /* on `home`: queues_tapped() has something */
    void (*gone)(struct queue_tap *t);    /* after queues_untap(): the last that is heard */
    struct queue_tapped *waiting;
    size_t count, cap;
    uint64_t missed;
    bool posted, leaving;
};
/* Any thread. */
void queues_tap(struct queues *q, struct queue_tap *t);
/* On `home`: what happened since the last call, to be freed with mem_free(), and how much more of
 * it there was no room for. */
struct queue_tapped *queues_tapped(struct queues *q, struct queue_tap *t, size_t *count,
                                   uint64_t *missed);
/* Any thread. `gone` follows on `home`. */
void queues_untap(struct queues *q, struct queue_tap *t);

/* ---- what is told of messages ---- */

enum { QUEUE_NOTED_MAX = 2000 /* that wait for who tells of them; more are missed */ };

/* struct core_noted, with its own texts. */
struct queue_noted {
    enum core_noted_kind kind;
    enum rec_reason reason;
    enum core_verb verb;
    uint32_t attempt;
    uint64_t place, told, seq;
    int64_t at;
    char queue[CORE_TEXT_MAX + 1], to[CORE_TEXT_MAX + 1], who[CORE_WHO_MAX + 1],
        why[CORE_WHY_MAX + 1]; /* "": none */
};
/* What failed, died, or was done by hand, in every queue, once it is committed. What was before
 * queues_start() is not told again. One at most; part of the caller's struct. */
struct queue_noter {
    struct task task;
    struct queues *queues;
    struct runner *home;
    void (*arrived)(struct queue_noter *n); /* on `home`: queues_noted() may have something */
    void (*gone)(struct queue_noter *n);    /* after queues_unnote(): the last that is heard */
    struct queue_noted *waiting;
    size_t count, cap;
    uint64_t missed;
    bool posted, leaving;
};
/* Any thread. */
void queues_note(struct queues *q, struct queue_noter *n);
/* On `home`: what came since the last call, to be freed with mem_free(), and how much more of it
 * there was no room for. */
struct queue_noted *queues_noted(struct queues *q, struct queue_noter *n, size_t *count,
                                 uint64_t *missed);
/* Any thread. `gone` follows on `home`. */
void queues_unnote(struct queues *q, struct queue_noter *n);

/* ---- questions ---- */

/* `ask` runs on the ledger's thread and may read the core; then `done` on `home`. */
struct queue_ask {
    struct task task;
    struct queues *queues;
    struct runner *home;
    void (*ask)(struct queue_ask *a, const struct core *c);
    void (*done)(struct queue_ask *a);
};
void queues_ask(struct queues *q, struct queue_ask *a);

#endif
