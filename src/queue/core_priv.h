/* Core, inside its folder. The map:
 *
 *   core.c check.c  new, free, hash; the invariants
 *   rec.c kind.c    records and extras: storage, the table by id; what records have in common
 *   send.c sending.c settle.c operate.c manual.c: what is asked of it; look.c past.c: what it tells
 *   queues.c        declarations; counts.c what they show, drop.c how they go
 *   consumer.c      opening, renewing, lapsing; label.c what they have
 *   line.c lane.c   records that can run, by queue, lane and needs; shares, the choice
 *   grant.c finish.c  who gets what; the end of an execution, of a record
 *   keyline.c       the lines of keys; unique slots
 *   dedup.c         what was sent lately
 *   gate.c          gates and who waits at them
 *   timer.c entry.c what is due and when; time moves on
 *   saved*.c        the state written down and read back
 *
 * Where an available record stands (`where`), and what holds it there:
 *
 *   WHERE_LINE, WHERE_LINE_HEAP   nothing: it runs when a consumer has room (and its queue, lane
 * may) WHERE_KEY                     it is not first in the line of its key, or that line is halted
 *   WHERE_GATE                    one of its gates did not let it pass when its turn came
 *   WHERE_AGAIN                   it was granted in this very entry; the next looks at it again
 */
#ifndef KOAN_QUEUE_CORE_PRIV_H
#define KOAN_QUEUE_CORE_PRIV_H

#include "base/err.h"
#include "queue/core.h"
#include "queue/heap.h"
#include "queue/table.h"
#include "queue/undo.h"

struct gate;
struct line;
struct queue;

enum { NONE = 0 }; /* number of no record, of no extra */
#define NO_TIME INT64_MAX

enum rec_where {
    WHERE_NOWHERE,
    WHERE_DUE, /* scheduled, retryable: the heap of what is due */
    WHERE_LINE,
    WHERE_LINE_HEAP,
    WHERE_KEY,
    WHERE_GATE,
    WHERE_AGAIN,
    WHERE_HELD, /* executing */
    WHERE_ENDED,
};

/* 48 bytes: a million of them is most of what the queue needs of memory. */
struct rec {
    uint64_t place;
    uint64_t id;              /* core_fingerprint() */
    uint64_t due : 44;        /* ms: scheduled, retryable: when; available, executing: its run_at;
                                 ended: when it ended */
    uint64_t attempts : 10;   /* failed ones */
    uint64_t deliveries : 10; /* stays at its maximum */
    uint32_t kind;            /* number of its struct kind */
    uint32_t extra;           /* NONE: nothing out of the ordinary */
    uint32_t next, prev;      /* in a list; next: position in a heap */
    uint32_t chain;           /* table by id */
    uint32_t bytes : 23, state : 4, where : 5;
};

enum { REC_DUE_BITS = 44, REC_DELIVERIES_MAX = 1023 };
#define TIME_MAX ((INT64_C(1) << REC_DUE_BITS) - 1) /* the year 2527 */

enum alarm_kind { ALARM_TTL, ALARM_DEADLINE, ALARM_TIMEOUT, ALARM_OVERDUE };

/* A text that many records have in common. */
struct word {
    struct table_node node;
    uint32_t refs;
    char text[];
};

/* Grow to what is kept of them, then are rings. */
struct rec_error {
    int64_t at;
    uint64_t place; /* of the settle that told it; 0: none did */
    struct word *node;
    uint32_t attempt;
    uint16_t code;
    uint8_t reason;
    uint8_t trace[CORE_TRACE_BYTES];
};
struct rec_errors {
    uint32_t count; /* ever */
    uint32_t cap;
    struct rec_error ring[];
};
struct rec_move {
    int64_t at;
    struct word *who, *why, *from, *to;
    uint8_t verb, reason;
};
struct rec_moves {
    uint32_t count; /* ever */
    uint32_t cap;
    struct rec_move ring[];
};

/* What people have said of it; replaced as a whole. */
struct tended {
    int64_t due_at; /* 0: at no time */
    char owner[];   /* "": nobody */
};

struct extra {
    uint32_t rec; /* or the next free extra */
    uint32_t unused;
    int64_t first_run;     /* run_at of the first time; 0: rec.due still says it */
    int64_t ttl_at;        /* 0: none */
    uint64_t body, result; /* places; 0: the record's, none */
    struct keyline *keyline;
    uint32_t key_next, key_prev, unique_next;
    struct unique *unique; /* its text, while it lives */
    struct uuid unique_id; /* the record's id, for who is told of it */
    struct gate *gates[CORE_GATES_MAX], *waits_at;
    uint64_t token; /* of the last grant */
    int64_t granted_at;
    int64_t own_lease; /* 0: its consumer's */
    struct consumer *consumer;
    uint32_t held_next, held_prev, lease_pos;
    int64_t alarm_at; /* NO_TIME: none */
    uint32_t alarm_pos, oldest_pos;
    struct rec_errors *errors;
    struct rec_moves *moves;
    struct tended *tended; /* NULL: nothing */
    struct queue *died[CORE_DIED_MAX];
    uint8_t alarm, gates_count, died_count, reason;
    bool snoozed, halts, asked, edited, in_oldest, overdue;
};

enum {
    SAID_PRIORITY = 1,
    SAID_TIMEOUT = 2,
    SAID_ATTEMPTS = 4,
    SAID_BACKOFF = 8,
    SAID_LANE = 16,
    SAID_GATES = 32,
    SAID_NEEDS = 64,
    SAID_ALL = 127,
};

/* What records of one sender have in common. */
struct kind {
    struct table_node node;
    uint32_t number, refs;
    uint32_t rank; /* its number in what is being saved */
    struct queue *queue;
    struct line *line;
    struct core_backoff backoff;
    int64_t deadline_ms;
    uint32_t timeout_ms;
    uint16_t attempts;
    uint8_t priority;
    uint8_t said; /* SAID_*: what the sender said; a move changes the rest */
};

struct tenant {
    struct table_node node;
    struct tenant *next; /* in order of number */
    uint32_t number, weight;
    char *name;
};

struct lane {
    char *name;
    uint32_t number, weight, cap, executing;
    uint64_t vt, v;       /* its own virtual time; that of the tenants in it */
    struct share *shares; /* in order of tenants' first use */
};

/* A tenant in a lane. */
struct share {
    struct share *next;
    struct tenant *tenant;
    struct lane *lane;
    uint64_t vt;
    struct front *fronts;
};

/* The lines of a share that workers take and that ask for the same labels. */
struct front {
    struct front *next;
    struct needs *needs;
    struct heap lines; /* those with a record that could run now */
};

/* Labels that records ask for. */
struct needs {
    struct needs *next;
    uint32_t number, count;
    struct core_label labels[]; /* names and texts are owned */
};

struct fifo {
    uint32_t first, last;
};

/* Records of one queue, lane and needs that wait for nothing but a consumer. In order of run_at and
 * place they come to the list of their priority; those that do not (retries, mostly) to the heap.
 */
struct line {
    struct line *next; /* of the queue */
    struct queue *queue;
    struct lane *lane;
    struct share *share;
    struct front *front;
    struct needs *needs;
    uint32_t priorities; /* a bit for each list that is not empty */
    uint32_t front_pos;
    bool in_front;
    uint64_t count;
    struct fifo fifos[CORE_PRIORITY_MAX + 1];
    struct heap heap;
};

/* Records of a line that wait at a gate. */
struct gated {
    struct gated *next;
    struct gate *gate;
    struct line *line;
    struct heap waiting;
};

struct gate {
    struct table_node node;
    struct gate *next; /* in order of declaration */
    uint32_t number;
    struct tenant *tenant;
    char *name;
    uint32_t capacity, in_use, rate;
    int64_t per_ms, closed_until;
    int64_t tat_us; /* when the bucket would be full again */
    struct gated *gated;
    int64_t alarm_at;
    uint32_t alarm_pos;
    bool in_alarms;
};

/* One key of one queue. */
struct keyline {
    struct table_node node;
    struct queue *queue;
    uint32_t first, last;
    uint32_t halted; /* dead letters of it that wait for a decision: nobody runs meanwhile */
    uint32_t refs;   /* records with this key, ended ones too */
    char text[];
};

struct unique {
    struct table_node node;
    struct queue *queue;
    uint32_t first; /* of the living records with this text: one executes, few wait */
    char text[];
};

/* What was sent lately: of its text just a hash, so that all are as small as can be. */
struct dedup {
    struct table_node node; /* its hash is the first half of that */
    uint64_t more;          /* the second */
    struct uuid id;
    int64_t until;
    uint32_t pos; /* among those of its queue */
};
struct dedup_key { /* of a text in one queue */
    uint64_t hash, more;
};

struct queue {
    struct table_node node;
    struct queue *next;
    uint32_t number;
    struct tenant *tenant;
    char *name;
    struct core_queue o; /* texts are owned */
    bool paused, closed;
    uint64_t count[REC_CANCELLED + 1];
    uint64_t bytes, sent, acked, nacked, granted, dropped;
    int64_t unhandled_at;
    struct heap dedups;        /* what ends first */
    uint64_t dedups_forgotten; /* before their time, for want of room */
    int64_t dedups_whole_at;   /* from then on all is known again that should be */
    int64_t dedups_at;         /* the end of the first; NO_TIME: there is none */
    uint32_t dedups_pos;
    uint64_t executing_bytes; /* part of `bytes` */
    uint64_t overdue;
    struct line *lines;
    struct sub *free_first, *free_last; /* consumers with room, in order of turn */
    uint32_t consumers;
    struct fifo finals, dead; /* in order of their end */
    int64_t purge_at;
    uint32_t purge_pos;
    bool in_purges;
    bool pairs; /* in the list of queues that may have a pair */
    struct queue *pairs_next;
    struct heap oldest; /* waiting ones by place: queues that drop the oldest */
};

/* A consumer at a queue that it names. */
struct sub {
    struct sub *next, *prev; /* of the queue's free ones */
    struct consumer *consumer;
    struct queue *queue;
    bool free;
};

struct label {
    char *name, *text;
    uint32_t number, used;
};

struct consumer {
    struct table_node node;
    uint64_t number;                        /* in order of opening */
    struct consumer *next, *prev;           /* all */
    struct consumer *free_next, *free_prev; /* workers with room, in order of turn */
    struct uuid id;
    char *name; /* of its node */
    uint32_t credit, held, lease_ms;
    uint32_t held_first;
    uint64_t turn;
    int64_t expires;
    uint32_t expires_pos;
    bool worker, has_room;
    bool retired; /* goes with the last that it holds */
    /* The next of those whose labels are their node's, in a ring; NULL: its labels are its own. */
    struct consumer *peer;
    struct sub *subs;
    uint32_t subs_count;
    struct label *labels;
    char **only;
    uint8_t labels_count, only_count;
};

struct core {
    struct undo undo;
    bool loading; /* what is opened was there before */
    uint64_t seq;
    int64_t at;
    uint64_t hash, turns, consumer_next;

    struct rec **recs; /* chunks */
    uint32_t recs_cap, recs_count, recs_free;
    uint32_t *ids; /* chains by id */
    uint32_t ids_cap, ids_chains, ids_base, ids_count;
    struct extra **extras;
    uint32_t extras_cap, extras_count, extras_free;
    struct kind **kinds; /* by number; freed ones are NULL */
    uint32_t kinds_cap, kinds_count, kinds_live;
    struct table kinds_table;

    struct table queues_table, tenants_table, gates_table, keys, uniques, dedups, consumers_table,
        words;
    struct queue *queues, **queues_end;
    struct tenant *tenants, **tenants_end;
    struct gate *gates, **gates_end;
    struct needs *needs;
    uint32_t queues_count, queue_next, tenants_count, gates_count, needs_count;
    struct queue *walked;     /* where core_each() stopped; NULL: begin anew */
    struct queue **by_number; /* while it is loaded; else NULL */
    struct lane *lanes[CORE_LANES_MAX];
    uint32_t lanes_count;
    uint64_t v;

    struct consumer *consumers;
    uint32_t workers, onlies; /* consumers of which this is said */
    struct consumer *free_first, *free_last;
    struct queue *pairs;

    struct heap due, alarms, timeouts, gate_alarms, purges, expiries, leases;
    struct heap dedup_ends; /* queues, by what ends first */
    uint32_t dedups_max, dedups_queue_max;
    struct fifo again;

    uint64_t spilled;    /* places below this are in a table, not in the log */
    uint64_t *forgotten; /* of them, those that nobody needs any more */
    uint32_t forgotten_cap, forgotten_count;

    struct core_effect *effects;
    uint32_t effects_cap, effects_count;
    struct core_noted *noted;
    uint32_t noted_cap, noted_count;
    const char *who, *why; /* core_by() */
    uint32_t settled;      /* while a settle is applied: its record, and where its text lies */
    uint64_t settled_place;
};

enum { REC_CHUNK = 4096, EXTRA_CHUNK = 256 };

static inline struct rec *core_rec(const struct core *c, uint32_t n)
{
    return &c->recs[n / REC_CHUNK][n % REC_CHUNK];
}

static inline struct extra *core_extra(const struct core *c, const struct rec *r)
{
    return r->extra == NONE ? NULL : &c->extras[r->extra / EXTRA_CHUNK][r->extra % EXTRA_CHUNK];
}

static inline struct kind *core_kind(const struct core *c, const struct rec *r)
{
    return c->kinds[r->kind];
}

static inline int64_t rec_due(const struct rec *r)
{
    return (int64_t)r->due;
}

/* rec.c */
/* ERR_NOMEM before anything is changed: the next rec_new() needs no more. */
int rec_reserve(struct core *c, struct err *e);
uint32_t rec_new(struct core *c, uint64_t id);
/* Of a state that is loaded: not found before rec_index(), which is false when two have one id.
 * Neither can be undone. */
uint32_t rec_load(struct core *c, uint64_t id);
bool rec_index(struct core *c);
void rec_free(struct core *c, uint32_t n);
uint32_t rec_find(const struct core *c, uint64_t id); /* NONE */
struct extra *rec_extra(struct core *c, uint32_t n);  /* made when there is none */
/* Does it belong among those that its queue may drop, and is it there? */
void oldest_review(struct core *c, uint32_t n);
void rec_save(struct core *c, struct rec *r);
void rec_set_due(struct core *c, struct rec *r, int64_t at);
void rec_set_state(struct core *c, uint32_t n, enum rec_state state); /* and the counts */
void rec_set_where(struct core *c, struct rec *r, enum rec_where where);
/* (run_at, place, queue): the order of sending; with priority first: of running. */
bool rec_is_sooner(const struct core *c, uint64_t a, uint64_t b);
bool rec_is_before(const struct core *c, uint64_t a, uint64_t b);
/* At the end of a list, out of a list. */
void fifo_push(struct core *c, struct fifo *f, uint32_t n);
void fifo_remove(struct core *c, struct fifo *f, uint32_t n);
/* Every decision is part of the hash. */
void core_decide(struct core *c, uint8_t what, const struct rec *r, uint64_t value);
void core_effect(struct core *c, enum core_effect_kind kind, uint32_t n);
void core_note(struct core *c, uint32_t n, const struct core_noted *what);

/* kind.c */
struct kind *kind_get(struct core *c, const struct kind *like, struct lane *lane,
                      struct needs *needs);
void kind_ref(struct core *c, struct kind *k);
void kind_unref(struct core *c, struct kind *k);
int needs_get(struct core *c, const struct core_label *labels, uint32_t count, struct needs **out,
              struct err *e);

/* line.c */
struct line *line_get(struct core *c, struct queue *q, struct lane *lane, struct needs *needs);
void line_put(struct core *c, uint32_t n);
void line_remove(struct core *c, uint32_t n);
uint32_t line_head(const struct core *c, const struct line *l); /* NONE */
/* Is it where it should be, among those that workers take? */
void line_review(struct core *c, struct line *l);

/* keyline.c */
struct keyline *keyline_get(struct core *c, struct queue *q, const char *key);
bool keyline_blocks(const struct core *c, uint32_t n);
/* Join at the end, or at the front; leave, and let the next go on. */
void keyline_join(struct core *c, uint32_t n, bool front);
void keyline_leave(struct core *c, uint32_t n);
bool keyline_has(const struct extra *x); /* does the record stand in its line? */
void keyline_unhalt(struct core *c, uint32_t n);
void keyline_drop_if_idle(struct core *c, struct keyline *k);
struct unique *unique_find(const struct core *c, const struct queue *q, const char *text);
void unique_join(struct core *c, uint32_t n, const char *text, const struct uuid *id);
uint32_t unique_waiting(const struct core *c, const struct unique *u); /* the newest, NONE */
void unique_leave(struct core *c, uint32_t n);

/* dedup.c */
struct dedup_key dedup_key(const struct queue *q, const char *text);
struct dedup *dedup_find(const struct core *c, const struct queue *q, const char *text);
void dedup_add(struct core *c, struct queue *q, const struct core_send *s);
void dedup_restore(struct core *c, struct queue *q, struct dedup_key key, const struct uuid *id,
                   int64_t until);
/* The one of the queue that ends first. */
void dedup_remove_first(struct core *c, struct queue *q);
void dedup_disband(struct core *c, struct queue *q); /* all of it */

/* timer.c */
extern const struct heap_kind due_heap, alarm_heap, gate_heap, purge_heap, dedup_heap,
    dedup_ends_heap, expiry_heap, lease_heap, line_heap, front_heap, oldest_heap;
/* What of ttl, deadline and timeout comes next for this record. */
void alarm_review(struct core *c, uint32_t n);
/* Which of the two heaps a record with such an alarm stands in. */
const struct heap *alarm_stands_in(const struct core *c, uint8_t kind);
void purge_review(struct core *c, struct queue *q);
void gate_alarm(struct core *c, struct gate *g, int64_t at); /* NO_TIME: none */

/* gate.c */
struct gate *gate_get(struct core *c, struct tenant *t, const char *name);
/* The first of its gates that does not let it pass. */
struct gate *gate_blocking(const struct core *c, const struct extra *x);
bool gate_is_closed(const struct core *c, const struct gate *g);
/* True: one of its gates is closed, it stands there and not in its line. */
bool gate_stops(struct core *c, uint32_t n);
void gate_wait(struct core *c, uint32_t n, struct gate *g); /* out of its line */
void gate_unwait(struct core *c, uint32_t n);
void gate_enter(struct core *c, struct extra *x);
void gate_leave(struct core *c, struct extra *x);
void gate_review(struct core *c, struct gate *g);
void gate_close_until(struct core *c, struct gate *g, int64_t until);

/* lane.c */
struct lane *lane_get(struct core *c, const char *name); /* NULL: too many */
struct tenant *tenant_get(struct core *c, const char *name);
struct share *share_get(struct core *c, struct lane *l, struct tenant *t);
struct front *front_get(struct core *c, struct share *s, struct needs *needs);
void lane_charge(struct core *c, struct share *s);
/* The line whose head is next, and who takes it; false when there is no pair. */
struct pair {
    struct line *line;
    uint32_t rec;
    struct consumer *consumer;
};
bool lane_choose(const struct core *c, struct pair *out);

/* label.c */
bool consumer_fits(const struct consumer *s, const struct needs *needs);
bool consumer_has(const struct consumer *s, const struct core_label *asked);
/* The first of them that it does not have enough of just now; their count: none. */
uint32_t consumer_lacks(const struct consumer *s, const struct needs *needs);
/* Would it, if it held nothing? */
bool consumer_could(const struct consumer *s, const struct needs *needs);
/* It executes, or does no longer, what needs them. */
void consumer_use_labels(struct core *c, struct consumer *s, const struct needs *needs, bool use);
void consumer_set_labels(struct core *c, struct consumer *s, const struct core_consumer *o);
void consumer_free_labels(struct core *c, struct label *labels, uint8_t labels_count, char **only,
                          uint8_t only_count);
void consumer_set_of_node(struct core *c, struct consumer *s, bool of_node);

/* consumer.c */
void consumer_forget_queue(struct core *c, struct consumer *s, struct queue *q);
struct consumer *consumer_find(const struct core *c, const struct uuid *id);
void consumer_hold(struct core *c, struct consumer *s, uint32_t n);
void consumer_unhold(struct core *c, struct consumer *s, uint32_t n);
void consumer_review(struct core *c, struct consumer *s, bool turn);
/* It holds one less. May be gone then. */
void consumer_released(struct core *c, struct consumer *s);
/* Stands where its turn is if it has room, or nowhere: for who is being loaded. */
void consumer_seat(struct core *c, struct consumer *s, bool stand);
struct consumer *consumer_for(const struct core *c, const struct queue *q,
                              const struct needs *needs);

/* grant.c */
void grants_make(struct core *c);
/* It is AVAILABLE now: stand where it belongs. */
void rec_stand(struct core *c, uint32_t n);
/* It is neither executing nor ended: leave where it stands. */
void rec_unstand(struct core *c, uint32_t n);
void rec_available(struct core *c, uint32_t n);
void rec_later(struct core *c, uint32_t n, int64_t at, enum rec_state state);
/* The execution is over, whatever comes now. Then: was its end asked for? It is cancelled. */
void execution_end(struct core *c, uint32_t n);
bool execution_was_cancelled(struct core *c, uint32_t n);
void rec_give_back(struct core *c, uint32_t n); /* its execution used no try */

/* past.c */
/* Of the execution that is about to end. `s`: that told it, or NULL. */
void rec_note_error(struct core *c, uint32_t n, enum rec_reason why, const struct core_settle *s);
/* `to`: of a move, NULL; `why`: of a dead letter. */
void rec_note_move(struct core *c, uint32_t n, enum core_verb verb, const struct queue *to,
                   enum rec_reason why);
void past_forget(struct core *c, struct extra *x);
void past_cancelled(const struct extra *x, struct core_view *out); /* `why` */
/* Room for one more; for `count` of which the newest are kept. */
struct rec_errors *errors_room(struct core *c, struct extra *x, uint32_t count);
struct rec_moves *moves_room(struct core *c, struct extra *x, uint32_t count);
struct word *word_ref(struct core *c, const char *text, size_t max); /* NULL of NULL and "" */
static inline uint32_t ring_kept(uint32_t count, uint32_t max)
{
    return count < max ? count : max;
}

/* place.c */
void place_forget(struct core *c, uint64_t place);
void places_forget(struct core *c, uint32_t n); /* all of a record */

/* finish.c */
void rec_finish(struct core *c, uint32_t n, enum rec_state state, enum rec_reason reason);
void rec_fail(struct core *c, uint32_t n, enum rec_reason why, int64_t delay_ms);
void rec_forget(struct core *c, uint32_t n); /* an ended one */
void rec_purge(struct core *c, uint32_t n);  /* any that does not execute */
/* ttl, deadline: then it is discarded. */
bool rec_is_too_late(struct core *c, uint32_t n);
/* It belongs to another queue now; it stands nowhere. */
void rec_move(struct core *c, uint32_t n, struct queue *to);
/* As if it was sent now: all its tries, no ttl. */
void rec_renew(struct core *c, uint32_t n);

/* settle.c: the execution ends, with a try used, and without. */
void rec_lapse(struct core *c, uint32_t n);
void rec_hand_back(struct core *c, uint32_t n);

/* sending.c */
/* ERR_TOO_LARGE: it is no body for this queue. */
int queue_body_check(const struct queue *q, uint32_t bytes, struct err *e);
int core_text_check(const char *text, const char *field, struct err *e); /* NULL is right */
uint8_t sending_said(const struct core_send *s);
/* Is it as it may be said, and is there room for its lane and labels, which from now on are there?
 */
int sending_check(const struct core_send *s, struct err *e);
int sending_reserve(struct core *c, const struct core_send *s, struct err *e);
struct core_send *sending_keep(struct core *c, const struct core_send *s); /* a copy; undo_free() */
/* OPTION_*: in what they are not the same; taken over. NULL says nothing. */
uint32_t sending_differs(const struct core_send *a, const struct core_send *b);
void sending_take(struct core_send *to, const struct core_send *from, uint32_t mask);
/* The record is in `to` now: what its sender did not say is as that queue says. */
struct kind *sending_of_queue(struct core *c, uint32_t n, struct queue *to);

/* declared.c */
/* What is declared, given what `is` there, NULL: nothing. See core_declare(). */
int declared_resolve(struct core_queue *mine, struct core_send *room, const struct core_queue *is,
                     struct err *e);

/* send.c */
void rec_replace_body(struct core *c, uint32_t n, uint64_t place, uint32_t bytes, bool edited);

/* manual.c */
/* What its queue says of when it is due; a queue that is not manual forgets what was said. */
void tended_begin(struct core *c, uint32_t n);
void tended_set(struct core *c, uint32_t n, const char *owner, int64_t due_at);
void overdue_mark(struct core *c, uint32_t n);
void overdue_leave(struct core *c, uint32_t n);
/* Its queue is owned: ERR_CONFLICT. */
int owned_check(const struct queue *q, struct err *e);

/* queues.c */
struct queue *queue_find(const struct core *c, const char *tenant, const char *name);
/* ERR_NOT_FOUND: there is none of this name. */
int queue_unknown(const char *name, struct err *e);
/* ERR_INVALID about `field`: no name of a queue or a gate. */
int core_name_check(const char *name, const char *field, struct err *e);
struct queue *queue_get(struct core *c, const char *tenant, const char *name, bool create,
                        struct err *e);
/* Its options, but for `owned`. */
void queue_set(struct core *c, struct queue *q, const struct core_queue *o);
bool queue_is_runnable(const struct queue *q);
void queue_review(struct core *c, struct queue *q); /* may it have a pair? */
uint64_t queue_waiting(const struct queue *q);
struct fifo *queue_ended(struct queue *q, enum rec_state state);
void queue_lines_review(struct core *c, struct queue *q);
uint64_t queue_unfit(const struct core *c, const struct queue *q); /* look.c */
int64_t queue_oldest(const struct core *c, const struct queue *q);
uint64_t core_hash_text(const void *owner, const char *text);

#endif
