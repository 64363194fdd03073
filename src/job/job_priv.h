/* Job, inside its folder. The map: def.c (what a declaration says), declare.c (declarations as
 * rows), schedule*.c and hours.c (when; pure), decide.c (a decision as operations of a unit),
 * tick_ops.c (job.schedule as bytes, and applied), sched_store.c (SQL of schedules), sched_read.c
 * and sched_show.c (read, for who decides and for people), verbs.c (trigger, pause, resume,
 * backfill), clock*.c (what comes due), over.c (what an end means beyond the run), ops.c (all
 * operations), job.c (the rest); run*.c is of runs. */
#ifndef KOAN_JOB_JOB_PRIV_H
#define KOAN_JOB_JOB_PRIV_H

#include "base/err.h"
#include "base/payload.h"
#include "job/job.h"
#include "job/run.h"
#include "job/sched.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"

struct job_clock;
struct map;

enum job_op {
    JOB_OP_DECLARE = 0x0b00,
    JOB_OP_SCHEDULE = 0x0b01,
    JOB_OP_RUN = 0x0b10,
    JOB_OP_END = 0x0b11,
    JOB_OP_STEP = 0x0b12,
    JOB_OP_FAN = 0x0b13,
    JOB_OP_PROGRESS = 0x0b14,
    JOB_OP_UNDONE = 0x0b15,
    JOB_OP_SWEEP = 0x0b16,
    JOB_OP_CANCEL = 0x0b17,
    JOB_OP_AGAIN = 0x0b18,
};

extern const struct domain_op job_ops[];
extern const size_t job_ops_count;

struct text {
    const char *p;
    size_t n;
};

struct jobs {
    struct domain domain;
    struct db *db; /* the writer: read on the ledger's thread, written by what is applied */
    struct ledger *ledger;
    struct queues *queues;
    struct world *world;
    struct health_board *health;
    struct job_runs *runs; /* run_priv.h */
    struct map *noted;     /* names; see jobs_note() */
    bool failing_noted;    /* which jobs fail has changed */
    struct job_clock *clock;
};

/* Something of this job has changed: the clock looks at it when the entry is committed. */
void jobs_note(struct jobs *j, const char *name, size_t n);

/* ---- declare.c ---- */

/* job_def_get() with the time since when it says this. */
int job_def_row(struct db *db, const char *name, struct job_def *out, int64_t *at, struct err *e);

/* ---- tick_ops.c: job.schedule as bytes ---- */

enum job_tick_kind { JOB_TICK_DUE = 1, JOB_TICK_TRIGGERED = 2, JOB_TICK_BACKFILLED = 3 };
/* One decision, as it is kept. */
struct job_tick {
    enum job_tick_kind kind;
    enum schedule_verdict verdict;
    struct text reason;
    int64_t due, from, to;
    int64_t opening; /* SCHEDULE_NEVER: none */
    uint32_t ticks, runs;
    struct uuid run;    /* the first of `runs` */
    struct text author; /* "": nobody but the clock */
};
/* What becomes of a schedule in one operation. The lists of runs are those that it waits for. */
struct job_change {
    struct text name;
    uint64_t revision; /* that it was worked out from; 0: there is no row */
    struct text spec;
    struct schedule_state state;
    struct text pause_by, pause_reason;
    int64_t paused_at;
    bool decided;
    struct job_tick tick;
    bool made; /* a run, tick.run, that it waits for */
    bool waits;
    uint32_t gone_count, started_count;
    const struct uuid *gone, *started; /* accounted for; waiting ones that start. 16 bytes each */
};
void job_change_add(struct txn *t, const struct job_change *ch);
/* ERR_INVALID when it is none. Points into the payload. */
int job_change_read(struct cursor *c, struct job_change *out, struct err *e);

/* ---- sched_store.c ---- `e` is never NULL here. */

struct job_row {
    uint64_t revision, tick;
    char *spec, *pause_by, *pause_reason; /* the caller's */
    int64_t paused_at;
    struct schedule_state state;
};
void job_row_fini(struct job_row *r);
/* 1: found; 0: there is none, and `out` is zeroed. */
int job_row_get(struct db *db, struct text name, struct job_row *out, struct err *e);
int job_row_put(struct db *db, const struct job_change *ch, uint64_t tick, struct err *e);
int job_tick_put(struct db *db, const struct job_change *ch, uint64_t tick, int64_t at,
                 struct err *e);
int job_made_put(struct db *db, const struct job_change *ch, uint64_t tick, struct err *e);
/* ERR_CONFLICT: there is none such. */
int job_gone(struct db *db, struct text name, const struct uuid *run, struct err *e);
int job_started(struct db *db, struct text name, const struct uuid *run, struct err *e);

/* The row of a schedule whose job is not declared any more, or by no time: of `def` only the name.
 * ERR_NOT_FOUND: there is none. */
int job_schedule_left(struct db *db, const char *name, struct job_schedule *out, struct err *e);
/* ERR_INVALID: those that are there are not those that the state counts. */
int job_runs_match(struct db *db, const struct job_change *ch, struct err *e);

/* A run that a schedule waits for. */
struct job_waited {
    struct uuid run;
    int64_t due, ended;
    bool waits;
    enum job_outcome outcome; /* 0: under way */
};
/* At most `max`, oldest first; how many there are or an error. */
int job_waited_list(struct db *db, const char *name, struct job_waited *out, size_t max,
                    struct err *e);

/* ---- decide.c ---- */

enum { JOB_WAITED_MAX = SCHEDULE_WAITING_MAX + SCHEDULE_RUNNING_MAX };

/* Who decides, about what, into which unit. `s` was read by `db`; its state is that after the
 * decision. */
struct job_decide {
    struct txn *txn;
    struct db *db;
    struct job_schedule *s;
    int64_t now;
    enum job_tick_kind kind;
    const char *author; /* "": the clock */
    void (*make_id)(void *arg, struct uuid *out);
    void *arg;
};
/* The decision, and what it means for the queue. */
int job_decide_add(const struct job_decide *x, const struct schedule_decision *d,
                   struct job_decided *out, struct err *e);
/* Takes note of runs that have ended; appends nothing when there are none. */
int job_ends_add(const struct job_decide *x, struct err *e);
/* The same where the job has no schedule any more (job_schedule_left()); the next that waits is
 * woken when none is under way, paused or not, for nothing else would. */
int job_left_add(const struct job_decide *x, struct err *e);
/* The new state, with a decision that makes no run (NULL: none). */
int job_state_add(const struct job_decide *x, const struct schedule_decision *d, bool start_waiting,
                  struct err *e);
/* A decision that leaves the state as it is. */
void job_log_add(const struct job_decide *x, const struct job_decided *d);
void job_pause_is(struct job_schedule *s, const char *by, const char *reason, int64_t at);
struct job_made {
    struct uuid id;
    enum job_kind kind;
    int64_t due, from, to;
    bool waits;
    const char *key; /* NULL: none */
};
int job_run_add(const struct job_decide *x, const struct job_made *m, struct err *e);

/* ---- over.c ---- */

/* A run is over: told by what is applied, once for each that has a row. */
struct job_over {
    struct uuid run;
    const char *job;
    enum job_outcome outcome;
};
int job_over(struct jobs *j, const struct apply *a, const struct job_over *o, struct err *e);

/* run_read.c: as people read it. */
json_t *job_time_show(int64_t ms);

/* ---- ops.c ---- */

/* Of a payload; a bad one sets `bad` of the cursor. */
struct text job_text(struct cursor *c, size_t least, size_t max);

#define JOB_APPLY(name)                                                                            \
    int name(void *self, const struct apply *a, uint8_t version, struct cursor *c,                 \
             struct buf *result, struct err *e)
JOB_APPLY(job_apply_declare);
JOB_APPLY(job_apply_schedule);

#endif
