/* Run - one execution of a job, from submit to its end, and what is started by that end.
 *
 * A run is a record of the queue `job.NAME`; a plain one is nothing else, and costs what a message
 * costs. It has a row (job_runs) when there is more to say of it than the queue keeps: it was made
 * by a schedule, begins a chain, is counted in a fan-in, its job is critical, or it has stored a
 * step, progress or log. The row is made by the unit that submits it, else by the first step or
 * progress.
 *
 *   submit --> [OPEN] --job.end--> [COMPLETED] [DISCARDED] [CANCELLED]   (goes with its record)
 *                 ^                     |
 *                 +------ job.again ----+   a retry, unless its steps were undone
 *
 * The end of a run is ONE unit: the settle, job.end, the send of the next job of its chain, its
 * count in the fan-in and, for the last child, the send of `on_done`; and the undo run if steps
 * have to be undone. job_txn_end() puts it together from the row as it is read; job.end carries the
 * revision of that row and refuses (ERR_CONFLICT) when the row is another by now or has ended, and
 * `last` when it is not what the counter says. So whoever is refused reads again and builds again,
 * and of all who try exactly one comes through: a chain is neither cut nor doubled.
 *
 * What the queue ends by itself (timeout, lapse, no tries left, too late, cancelled while it
 * waited) nobody settles. The leader hears it, finds the row open, and proposes the same unit
 * without the settle, under the condition that the record is over. After a start, and from time to
 * time, it compares all open rows with the queue, so that none is missed.
 *
 * Steps. A step is a row with a name, once for ever: what it wrote, and its result, are committed
 * with it, and a later attempt reads the result. One with `undo` is undone when the run is
 * discarded or cancelled: its end sends an undo run, a record of the same queue with the same args
 * and the header `undo-of`, which runs the undo functions, newest first, each with job.undone.
 *
 * Cancel. A waiting run never runs. One that executes is asked, and its row marked: from then on
 * its chain goes no further, however it ends. A run that is terminated has its row ended at once;
 * what its worker still wants to write is refused, and it settles without.
 *
 * Threads: job_txn_*() and what reads take any connection of the database; they keep nothing.
 * Format: schema/job-operations.md. */
#ifndef KOAN_JOB_RUN_H
#define KOAN_JOB_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/uuid.h"
#include "job/def.h"
#include "queue/queue.h"

struct db;
struct err;
struct txn;
struct unit;

enum {
    JOB_STEPS_MAX = 1000,
    JOB_STEP_NAME_BYTES = 128,
    JOB_RESULT_BYTES = QUEUE_RESULT_BYTES, /* of a step */
    JOB_TEXT_BYTES = 512,                  /* of progress */
    JOB_LOG_BYTES = 64 << 10,              /* kept of a run, the newest */
    JOB_FAN_MAX = 4000,                    /* runs of one fan-out, which are one unit */
    JOB_END_TRIES = 50,                    /* of a unit with an end, each built anew */
    JOB_PROGRESS_MS = 2000,                /* a worker tells at most so often */
    JOB_HISTORY_MAX = 50,                  /* reasons kept of a run, the newest */
    JOB_REASON_BYTES = 1024,               /* of each, and of a pause */
};
#define JOB_NO_TIME INT64_MIN
/* What is said of `unique` with mode merge, by whatever door it comes. */
#define JOB_NO_MERGE "of a run it is skip or replace: args are checked as a whole, not merged"
#define JOB_UNDO_HEADER "undo-of" /* in the headers of an undo run: the id of what is undone */

/* ---- submitting ---- */

enum job_kind { JOB_SUBMITTED, JOB_TICK, JOB_TRIGGER, JOB_BACKFILL, JOB_STARTED };

/* Zero is: none of it. */
struct job_submit {
    const struct job_def *def;
    /* job_def_message() with what the caller has changed: id, body, key, run_at ... Not NULL. Its
     * queue is not read. */
    const struct queue_message *message;
    enum job_kind kind;
    const char *schedule; /* that made it; NULL */
    bool has_window;
    int64_t from, to, scheduled_at; /* with has_window */
    const json_t *chain;            /* names that follow; NULL: as declared */
    bool goes_on;                   /* with `chain`: also after a failure */
    const struct uuid *fan;         /* of job_txn_fan(), in the same unit */
    bool row;                       /* it gets a row in any case */
};
/* The send, and job.run where it needs a row. Headers `scheduled-at`, `window-from`, `window-to`
 * are added to a run with a window. What was sent is read from the result of the first operation
 * (queue_sent_read): with `unique` or `dedup` it may be another run that was there.
 * Codes of queue_txn_send(); ERR_INVALID for `unique` or `dedup` in a fan-out. */
int job_txn_submit(struct txn *t, const struct job_submit *s, struct err *e);

/* `count` runs that follow in this unit have .fan = &id; the settle of the last one that ends
 * submits `on_done`, in the same unit. Its args are `args` (an object; NULL: empty) and in it
 * "counts": {"total", "completed", "discarded", "cancelled"} and "parent": the run that fanned out.
 * A count of 0 submits it now. 1..JOB_FAN_MAX, else ERR_TOO_LARGE. */
struct job_fan {
    struct uuid id;            /* new; also of the run of on_done */
    const struct uuid *parent; /* NULL: not by a run */
    size_t count;
    const char *on_done;
    const json_t *args;
    const char *correlation; /* of the run of on_done; may be NULL */
};
int job_txn_fan(struct txn *t, struct db *db, const struct job_fan *f, struct err *e);

/* ---- under way ---- */

/* The unit has queue_txn_if_delivery(run, token) in front, so only who holds the run comes through.
 * Applied: ERR_CONFLICT when the run has ended, the name was used, or `ordinal` is not the next one
 * (they count from 1). */
enum job_step_kind {
    JOB_STEP_DONE,
    JOB_STEP_SLEEP, /* result {"until": ms}: over when that has passed */
};
struct job_step {
    struct uuid run;
    const char *job;
    uint32_t ordinal;
    const char *name;
    enum job_step_kind kind;
    const char *result; /* JSON */
    size_t result_len;
    bool undo;
    /* What an undo run, or a chain, needs of the run; kept when the row is made by this, or has
     * none of it. */
    const void *args; /* the body of the run */
    size_t args_len;
    const char *correlation;
};
/* ERR_TOO_LARGE, ERR_INVALID: nothing was added. */
int job_txn_step(struct txn *t, const struct job_step *s, struct err *e);
/* In an undo run: the undo of this step of `run` has run. ERR_CONFLICT: it had, or has none. */
int job_txn_undone(struct txn *t, const struct uuid *run, uint32_t ordinal, struct err *e);

struct job_progress {
    struct uuid run;
    const char *job;
    double fraction;  /* 0..1; negative: as it was */
    const char *text; /* NULL: as it was */
    const char *log;  /* lines to append, each with its newline; NULL: none */
    size_t log_len;   /* what is over JOB_LOG_BYTES is cut in front */
};
int job_txn_progress(struct txn *t, const struct job_progress *p, struct err *e);

/* ---- the end ---- */

/* Steps of a run that stand in the unit in front of its end, all together. */
struct job_ahead {
    const char *job;
    uint32_t undo; /* of them, with one */
    const void *args;
    size_t args_len;
    const char *correlation; /* args and this as of struct job_step; may be NULL */
};

struct job_end {
    struct uuid run;
    const struct job_ahead *ahead; /* NULL: none */
    /* Of the worker that has the run: any outcome; NULL: the record is over already (a condition),
     * or `terminate`. */
    const struct core_settle *settle;
    const char *text; /* of the settle */
    size_t text_len;
    enum job_outcome outcome; /* without a settle */
    bool terminate;           /* the record still executes: what its worker writes is refused */
    void (*make_id)(void *arg, struct uuid *out);
    void *arg;

    /* Written by job_txn_end(). */
    bool has_row;          /* else it is the settle alone */
    uint32_t at;           /* its place in the unit */
    uint32_t starts, past; /* with what it starts it lies from `starts` to before `past` */
};
/* Appends all that this end means, as of the row that `db` shows; any settle may be given, also of
 * records that are no run: what is no end (nack, release, snooze ..) is the settle alone. Applied:
 * ERR_CONFLICT from one of its operations (job_end_is_stale) when somebody was faster: take a new
 * unit and build it again, JOB_END_TRIES times. ERR_GONE, with nothing appended: the run was
 * terminated; settle it by queue_txn_settle() in a unit without anything else. */
int job_txn_end(struct txn *t, struct db *db, struct job_end *x, struct err *e);
/* The unit was refused since the row, or a fan-in, was another than job_txn_end() had read. */
bool job_end_is_stale(const struct unit *u, const struct job_end *x);
/* The unit was refused since the queue of what the end starts (the next of its chain, `on_done`, an
 * undo) is closed or full. The end is as right as it was: the same comes through when that queue
 * takes it. */
bool job_end_waits(const struct unit *u, const struct job_end *x);

/* Why, for people: kept with the run, the last JOB_HISTORY_MAX of them, with who the unit is of. A
 * run gets a row for it. */
struct job_why {
    const char *job;    /* whose run it is. Applied: ERR_NOT_FOUND where its row says another */
    const char *reason; /* NULL, "": nobody said, and nothing is kept */
};
/* Cancel: the record's, and the row's mark. A run without a row is fine. `why` may be NULL.
 * ERR_INVALID, over JOB_REASON_BYTES or no text: nothing was added. */
int job_txn_cancel(struct txn *t, const struct uuid *run, const struct job_why *why, struct err *e);
/* Retry: the record's, and the row is open again. Applied: ERR_CONFLICT when its steps are being
 * undone, or were. Fan-ins count it once, and a chain that has gone on is not started again. */
int job_txn_retry(struct txn *t, const struct uuid *run, const struct job_why *why, struct err *e);

/* ---- reading ---- */

enum job_run_state { JOB_RUN_OPEN = 1, JOB_RUN_COMPLETED, JOB_RUN_DISCARDED, JOB_RUN_CANCELLED };

struct job_run {
    struct uuid id;
    char job[JOB_NAME_MAX + 1], schedule[JOB_NAME_MAX + 1];
    enum job_run_state state;
    enum job_kind kind;
    uint64_t revision;
    bool has_window, stopped, terminated, has_fan, has_undo;
    int64_t from, to, scheduled_at; /* with has_window */
    int64_t opened_at, ended_at;    /* ended_at 0: not yet */
    struct uuid fan, undo;          /* with has_fan: what counts it; with has_undo: its undo run */
    uint32_t steps;                 /* stored */
    uint32_t undoable;              /* of them, with undo and not undone */
};
/* 1: found, 0: it has no row. */
int job_run_find(struct db *db, const struct uuid *id, struct job_run *out, struct err *e);

struct job_step_row {
    uint32_t ordinal;
    const char *name;
    enum job_step_kind kind;
    const char *result; /* JSON */
    size_t result_len;
    bool undo, undone;
    int64_t at;
};
/* In order; texts live until each() returns, false ends it. */
int job_steps_read(struct db *db, const struct uuid *run,
                   bool (*each)(void *arg, const struct job_step_row *s), void *arg, struct err *e);

/* The one of this name: 1, each() was called; 0: there is none. */
int job_step_find(struct db *db, const struct uuid *run, const char *name,
                  bool (*each)(void *arg, const struct job_step_row *s), void *arg, struct err *e);
/* {"name", "result", "at"[, "kind", "undo"]}; `whole` false: without its result. A new reference.
 */
json_t *job_step_show(const struct job_step_row *s, bool whole);
/* The one of this name as it is shown, whole: 1, *out is a new reference; 0: there is none. */
int job_step_get(struct db *db, const struct uuid *run, const char *name, json_t **out,
                 struct err *e);

/* All that rows say of it, for people, with `log` and the results of steps; NULL in *out when it
 * has no row. A new reference. */
int job_run_show(struct db *db, const struct uuid *id, json_t **out, struct err *e);

#endif
