/* What jobs that scripts declare, and a run of one, look like in C.
 *
 *   job_lib.c     `job "name" { .. }`: checked while the scripts load
 *   job_submit.c  `job("name"):submit { .. }`
 *   job_people.c  `job("name"):cancel(id)` and :retry
 *   job_op.c      what a run adds to its units: steps, progress, waits; and what it reads
 *   job_deploy.c  declarations, compared with those that are there
 *   tick_lib.c    schedules in tests
 */
#ifndef KOAN_BIND_JOB_LIB_H
#define KOAN_BIND_JOB_LIB_H

#include "bind/bind_priv.h"
#include "job/def.h"
#include "job/run.h"

struct bind_queue;

enum {
    BIND_JOBS_MAX = 400,            /* declared by one set */
    BIND_JOB_STEPS_BYTES = 4 << 20, /* results read with the names of steps; past it one by one */
    BIND_JOB_CANCEL_MS = 30 * 1000, /* between the request to stop and the end */
};

/* In front of the names of their queues, and of no others. */
#define BIND_JOB_PREFIX "job."
bool bind_is_job_queue(const char *name);

struct bind_job {
    struct job_def def;
    struct entity_def *args; /* NULL: anything */
    char where[160];         /* "file:line" */
};

struct bind_jobs {
    size_t count;
    struct bind_job *list[BIND_JOBS_MAX];
};

void bind_jobs_free(struct bind_jobs *j); /* takes NULL */
const struct bind_job *bind_set_job(const struct bind_set *s, const char *name);
/* Raises where the scripts declare none of this name. */
const struct bind_job *bind_check_job(struct lua_State *L, const char *name);
/* Once all files are there: whether what names another job names one. */
int bind_jobs_check(const struct bind_set *s, struct err *e);

/* The run that a delivery is. */
struct bind_job_run {
    struct uuid id;
    const char *job;
    const void *args; /* the body of the record */
    size_t args_len;
    const char *correlation;
};

/* What a run adds to a unit. */
struct bind_job_op;
/* Raises when it is none. */
const struct bind_job_op *bind_check_job_op(struct lua_State *L, int at);
/* `first`: what stands before the messages of the unit; else what stands behind them. */
int bind_job_compose(const struct bind_job_op *op, const struct bind_run *run, bool first,
                     struct txn *t, struct err *e);
/* The end of the run beside all else of the unit, as job_txn_end() makes it. `x` lives until the
 * unit is done. */
int bind_job_settle(struct job_end *x, struct bind_thread *t, const struct bind_grant *held,
                    const struct bind_outcome *how, struct txn *txn, struct err *e);

#endif
