/* Runs, inside the folder of jobs. The map: run_ask.c (operations as bytes), run_end.c (what an end
 * means, as one unit), run_apply.c and run_notes.c (operations applied: the run itself; its steps
 * and progress), run_people.c (cancel and retry, and who said why), run_store.c (SQL that several
 * share), run_read.c (the reading half of the door), run_meter.c (figures), run_clock.c (ends that
 * nobody settles, rows that are not needed any more). */
#ifndef KOAN_JOB_RUN_PRIV_H
#define KOAN_JOB_RUN_PRIV_H

#include "base/list.h"
#include "job/job_priv.h"
#include "job/run.h"

struct db_stmt;

enum {
    RUN_CHAIN_BYTES = 64 << 10, /* what is left of a chain, as JSON */
    RUN_ARGS_BYTES = CORE_BODY_MAX,
    RUN_FAN_ARGS_BYTES = 256 << 10,
    RUN_CORRELATION_BYTES = CORE_TEXT_MAX,
    RUN_SWEEP_MAX = 500,       /* ids of one job.sweep */
    RUN_NO_FRACTION = 1000001, /* of progress: millionths, or as it was */
};

/* Bits of job_runs.flags. */
enum {
    RUN_STOPPED = 1,    /* it was cancelled: its chain goes no further */
    RUN_TERMINATED = 2, /* ended while it executed */
    RUN_COUNTED = 4,    /* by its fan-in */
    RUN_CHAINED = 8,    /* its chain has gone on */
};

/* Bits of the payload of job.run. */
enum { RUN_HAS_WINDOW = 1, RUN_HAS_FAN = 2, RUN_HAS_ARGS = 4, RUN_KNOWN = 7 };
/* Of job.end. */
enum {
    END_TERMINATES = 1,
    END_COUNTS = 2,
    END_LAST = 4,
    END_CHAINS = 8,
    END_UNDOES = 16,
    END_KNOWN = 31
};
/* Of job.step. */
enum { STEP_UNDO = 1, STEP_ARGS = 2, STEP_KNOWN = 3 };

/* ---- run_store.c ---- `e` is never NULL here and below */

struct run_row {
    struct job_run run;
    uint32_t flags;
    char *tenant, *chain, *correlation; /* with the texts; chain "": none */
    void *args;                         /* NULL: not kept */
    size_t args_len;
};
/* 1: found. Without `texts` only what has a fixed size. */
int run_load(struct db *db, const struct uuid *id, bool texts, struct run_row *out, struct err *e);
void run_row_fini(struct run_row *r);
struct db_stmt *run_stmt(struct db *db, const char *sql, const struct uuid *id, struct err *e);

struct run_new {
    struct uuid id;
    const char *tenant;
    struct text job, schedule, chain, correlation;
    enum job_kind kind;
    bool has_window, has_fan, has_args;
    int64_t from, to, scheduled_at, at;
    struct uuid fan;
    const void *args;
    size_t args_len;
};
int run_insert(struct db *db, const struct run_new *n, struct err *e);

struct run_fan {
    struct uuid parent;
    bool has_parent, done;
    uint32_t total, ended[JOB_CANCELLED + 1];    /* by outcome */
    char *tenant, *on_done, *args, *correlation; /* with the texts */
};
int run_fan_load(struct db *db, const struct uuid *id, bool texts, struct run_fan *out,
                 struct err *e);
void run_fan_fini(struct run_fan *f);
static inline uint32_t run_fan_left(const struct run_fan *f)
{
    return f->total - f->ended[JOB_COMPLETED] - f->ended[JOB_DISCARDED] - f->ended[JOB_CANCELLED];
}
struct uuid run_col_id(struct db_stmt *s, int at);

/* ---- run_ask.c ---- */

/* What a run inherits from the one before it in its chain. */
struct run_chain {
    const json_t *next; /* names; NULL: as its job declares */
    bool goes_on;       /* of `next` */
};
int run_submit(struct txn *t, const struct job_submit *s, const struct run_chain *chain,
               struct err *e);
/* `open`: also those that have not ended. */
void run_txn_sweep(struct txn *t, const struct uuid *ids, size_t count, bool open);
/* A job that is not declared is as one that declares nothing. */
int run_def(struct db *db, const char *job, struct job_def *out, struct err *e);

/* ---- run_end.c ---- */

/* A fan-out of nothing: on_done at once. */
int run_fan_over(struct txn *t, struct db *db, const struct job_fan *f, struct err *e);

/* ---- run_people.c ---- */

/* "history" into `o`, where people have said something. */
int run_history_show(struct db *db, const struct uuid *id, json_t *o, struct err *e);

/* ---- run_meter.c ---- */

enum { RUN_METERS_MAX = 500 }; /* jobs with series of their own */
void run_meters_free(struct map *m);
/* `all` keeps what it has counted by. `f` is an end of a record of a queue `job.*`. */
void run_metered(struct map *all, const struct core_effect *f, enum job_outcome outcome,
                 int64_t at);

/* ---- run_clock.c: on the ledger's thread ---- */

struct run_heard {
    uint64_t print;
    enum job_outcome outcome;
};
struct job_runs {
    struct jobs *jobs;
    struct queue_ear ear;
    struct queue_ask ask;
    struct world_timer timer;
    struct uuid_gen ids;
    struct map *meters;
    struct run_heard *heard; /* ends of which the rows are to be looked at */
    size_t heard_count, heard_room;
    struct list flying; /* units under way */
    size_t flying_count;
    int64_t compared;              /* how far the rows have been looked at: prints of open ones, */
    struct uuid swept;             /* ids of ended ones */
    uint64_t compare_ms, sweep_ms; /* mono: when it begins again; 0: it is under way */
    bool asking, armed, stopped, leads;
};
void runs_init(struct jobs *j);
void runs_start(struct jobs *j); /* before queues_start() */
void runs_stop(struct jobs *j);
void runs_fini(struct jobs *j);

/* ---- applied ---- */

JOB_APPLY(run_apply_run);
JOB_APPLY(run_apply_end);
JOB_APPLY(run_apply_fan);
JOB_APPLY(run_apply_sweep);
JOB_APPLY(run_apply_cancel);
JOB_APPLY(run_apply_again);
JOB_APPLY(run_apply_step);
JOB_APPLY(run_apply_undone);
JOB_APPLY(run_apply_progress);

#endif
