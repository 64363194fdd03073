/* Schedule - when a job is due, and what becomes of each time that it is.
 *
 * A definition says when: `cron` (an expression and a time zone), `every` (a fixed grid since 1970)
 * or `after` (a delay from the end of the last run). Every such time is a tick, and each tick gets
 * exactly one decision, which the log keeps with its reason. This file is the rules alone, pure:
 * the caller brings state and time, gets the decision, and carries it out.
 *
 *   schedule_next(state)        which tick is decided next, and not before when
 *   schedule_tick(state, due)   decides it, and moves the state on
 *   schedule_ended(state)       a run is over: what that means for those that wait
 *
 *              due                          jitter      a tick is decided at due + jitter
 *   -----------|----------|----------|--->
 *              [  run covers (last covered, due]        its window
 *
 * What a tick decides, in this order:
 *   1. older than `catchup`: `missed`, one decision for all such; nothing runs
 *   2. late by more than SCHEDULE_LATE_MS: with missed = "one" a single run, `caught_up`, covers
 *      all that are due by now; with "all" each gets its run, oldest first, one after the other
 *   3. outside of the windows or in a blackout: `skipped`, or `deferred` to the next opening, at
 *      which one run covers all that were deferred
 *   4. a run is under way or waits: what `overlap` says, see enum schedule_overlap
 *   5. else `ran`
 *
 * `after` knows no grid that could be missed: it is due once, however late.
 *
 * While a schedule is paused nothing is decided; schedule_resume() decides all that was due then as
 * one `skipped`. It pauses itself after `pause_on_failure` failures in a row.
 *
 * Invariants of the state, asserted by schedule_check():
 *   1. what waits, waits for a run, or for the end of a pause;
 *   2. decided, covered and since only grow.
 * They hold whatever the definition is now: it may have been another one when a run began to wait.
 */
#ifndef KOAN_JOB_SCHEDULE_H
#define KOAN_JOB_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "codec/cron.h"
#include "codec/zone.h"
#include "job/hours.h"

struct buf;
struct err;

enum {
    SCHEDULE_NAME_MAX = 128,
    SCHEDULE_LATE_MS = 60 * 1000, /* decided later than this, a tick counts as missed */
    SCHEDULE_COUNT_MAX = 1000,    /* due times that one decision counts; more count as these */
    SCHEDULE_WAITING_MAX = 1000,  /* runs that wait their turn */
    SCHEDULE_RUNNING_MAX = 1000,  /* runs under way, where `overlap` is allow */
    SCHEDULE_FAILURES_MAX = 1000000
};
#define SCHEDULE_INTERVAL_MIN_MS INT64_C(1000)
#define SCHEDULE_INTERVAL_MAX_MS (INT64_C(3660) * 86400 * 1000)
#define SCHEDULE_NEVER INT64_MIN

enum schedule_kind { SCHEDULE_CRON, SCHEDULE_EVERY, SCHEDULE_AFTER };

enum schedule_overlap {
    SCHEDULE_SKIP,       /* the new one is skipped */
    SCHEDULE_BUFFER_ONE, /* it waits its turn; a second one is skipped */
    SCHEDULE_BUFFER_ALL, /* all wait their turn */
    SCHEDULE_CANCEL,     /* the old one is asked to stop; the newest starts when it has */
    SCHEDULE_TERMINATE,  /* the old one is stopped; the new one starts at once */
    SCHEDULE_ALLOW       /* both run */
};

struct schedule {
    char name[SCHEDULE_NAME_MAX + 1];
    enum schedule_kind kind;
    struct cron cron; /* SCHEDULE_CRON */
    char cron_text[CRON_TEXT_MAX + 1];
    int64_t interval_ms; /* of the other two */
    struct zone zone;
    struct hours hours;
    bool defer; /* outside of the hours; else skip */
    int64_t jitter_ms, catchup_ms;
    bool missed_all;
    enum schedule_overlap overlap;
    uint32_t pause_on_failure; /* 0: never */
};

/* What a declaration may say of its schedule; for those who check it for unknown keys. */
extern const char *const schedule_keys[];
extern const size_t schedule_keys_n;

/* Reads its keys of a job's declaration and leaves the others alone. `name` is what jitter is made
 * from. ERR_NOT_FOUND without a message when there is no cron, every or after; ERR_INVALID naming
 * key, value and way out. */
int schedule_parse(const char *name, const json_t *declaration, struct schedule *out,
                   struct err *e);
const char *schedule_overlap_name(enum schedule_overlap overlap);

struct schedule_state {
    int64_t since;             /* first declared: nothing is due at or before it */
    int64_t decided;           /* nothing at or before it is to be decided any more */
    int64_t covered;           /* where the window of the last run ends */
    int64_t from;              /* where it begins */
    int64_t ended;             /* when the last run ended; SCHEDULE_NEVER */
    int64_t deferred;          /* the opening at which what was deferred runs; SCHEDULE_NEVER */
    uint32_t running, waiting; /* runs that ticks have made */
    uint32_t failures;         /* in a row */
    bool paused;
};

void schedule_state_init(struct schedule_state *st, int64_t now);
void schedule_check(const struct schedule_state *st);

struct schedule_due {
    int64_t due; /* which tick; with SCHEDULE_AFTER and a deferred one it is made up as it goes */
    int64_t at;  /* when it is to be decided: due, plus jitter */
};

/* The first time after `after` by definition alone; not for SCHEDULE_AFTER, which depends on its
 * runs. */
bool schedule_due_after(const struct schedule *s, int64_t after, int64_t *due);
/* How much later than `due` the tick is decided: the same on every node and at every repeat, at
 * most half the way to the next one. */
int64_t schedule_jitter(const struct schedule *s, int64_t due);
/* False: there is none, it is paused, or (SCHEDULE_AFTER) a run is under way. */
bool schedule_next(const struct schedule *s, const struct schedule_state *st,
                   struct schedule_due *out);

enum schedule_verdict {
    SCHEDULE_RAN,
    SCHEDULE_SKIPPED,
    SCHEDULE_BUFFERED,
    SCHEDULE_CAUGHT_UP,
    SCHEDULE_MISSED,
    SCHEDULE_DEFERRED,
    SCHEDULE_CANCELLED_OTHER
};
/* "ran", "skipped" ... */
const char *schedule_verdict_name(enum schedule_verdict v);

enum schedule_start {
    SCHEDULE_START_NONE,
    SCHEDULE_START_NOW,
    SCHEDULE_START_WAITING /* make the run; schedule_ended() or _resume() say when it starts */
};
enum schedule_stop { SCHEDULE_STOP_NONE, SCHEDULE_STOP_ASK, SCHEDULE_STOP_NOW };

struct schedule_decision {
    enum schedule_verdict verdict;
    const char *reason; /* for people; static */
    int64_t due;
    int64_t from, to; /* a run's window: (from, to]; else the first and last due time of it */
    uint32_t ticks;   /* due times that it decides, at most SCHEDULE_COUNT_MAX */
    enum schedule_start start;
    enum schedule_stop stop; /* what becomes of the runs under way */
    bool drop_waiting;       /* whatever waits is cancelled: this one takes its place */
    int64_t opening;         /* of SCHEDULE_DEFERRED */
};

/* False, and nothing changes, when `due` is not the next one or it is not time: somebody else has
 * decided it. After SCHEDULE_STOP_NOW the runs that are stopped must not be reported as ended. */
bool schedule_tick(const struct schedule *s, struct schedule_state *st, int64_t due, int64_t now,
                   struct schedule_decision *out);

/* Somebody wants a run now: whatever is due, also outside of the hours and while it is paused; what
 * `overlap` says holds. It covers all up to now. */
void schedule_trigger(const struct schedule *s, struct schedule_state *st, int64_t now,
                      struct schedule_decision *out);
/* Nobody takes the run that schedule_tick() has just decided, `before` is the state before it: the
 * tick is skipped, with this reason. */
void schedule_tick_refused(const struct schedule_state *before, struct schedule_state *st,
                           const char *reason, struct schedule_decision *d);

enum schedule_outcome { SCHEDULE_SUCCEEDED, SCHEDULE_FAILED, SCHEDULE_CANCELLED };

struct schedule_change {
    bool start_waiting; /* the oldest run that waits starts now */
    bool paused;        /* too many failures: this has paused it */
};

void schedule_ended(const struct schedule *s, struct schedule_state *st, int64_t now,
                    enum schedule_outcome outcome, struct schedule_change *out);
/* A run that waits was cancelled by somebody. */
void schedule_waiting_gone(struct schedule_state *st);
void schedule_pause(struct schedule_state *st);
/* True: ticks came due in the pause, and *out decides them all. */
bool schedule_resume(const struct schedule *s, struct schedule_state *st, int64_t now,
                     struct schedule_decision *out, struct schedule_change *change);

/* For people: "cron 0 2 * * * in Europe/Lisbon". */
void schedule_print(const struct schedule *s, struct buf *b);

#endif
