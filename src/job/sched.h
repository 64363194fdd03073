/* Sched - schedules of jobs as the ledger keeps them: read, and told what to do.
 *
 * The row of a schedule has the whole state that schedule.h decides by, and a revision. Each verb
 * below reads it, decides, and appends to a unit one operation job.schedule, beside it what the
 * queue is to do: send the run, wake the one that waited, stop the one under way. Applied, the
 * operation refuses with ERR_CONFLICT unless the row has the revision that was read, so of several
 * who decide at the same time one comes through; the others read and decide again. The leader's
 * clock does the same for what comes due, and for runs that have ended.
 *
 *   row, revision n --decide--> unit: job.schedule (n)           applied: row, revision n + 1
 *                                     job.run, queue.send ..              or nothing at all
 *
 * A schedule waits for the runs that it has made (job_schedule_runs): job.end notes there how they
 * ended, which needs no revision and so is never refused for it; that the schedule takes note is a
 * decision of its own.
 *
 * A run that waits its turn is a record that is scheduled for JOB_WAITS_UNTIL; it is woken when its
 * turn comes, and until then can be seen and cancelled like any other.
 *
 * When the declaration says another time than the row was decided by, what came due by the old one
 * is due no more, and the new one begins with the declaration. */
#ifndef KOAN_JOB_SCHED_H
#define KOAN_JOB_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/uuid.h"
#include "job/def.h"
#include "job/schedule.h"

struct db;
struct err;
struct txn;

enum {
    JOB_TICKS_KEPT = 1000,   /* decisions of a schedule, the newest */
    JOB_BACKFILL_MAX = 1000, /* runs of one backfill */
    JOB_REASON_BYTES = 1024, /* of a pause */
    JOB_NEXT_MAX = 100,      /* due times that are shown */
};
#define JOB_TICKS_KEEP_MS (INT64_C(30) * 86400 * 1000)
#define JOB_WAITS_UNTIL INT64_C(253402214400000) /* 9999-12-31 */

/* ---- reading ---- */

struct job_schedule {
    struct job_def def;
    uint64_t revision; /* 0: nothing was decided yet, `state` is how it begins */
    uint64_t tick;     /* number of the last decision */
    struct schedule_state state;
    char *spec;                    /* of `def`: what due times come from */
    char *pause_by, *pause_reason; /* "": not paused */
    int64_t paused_at;
};
/* ERR_NOT_FOUND: no such job, it is orphaned, or it has no schedule; the message says which. */
int job_schedule_get(struct db *db, const char *name, struct job_schedule *out, struct err *e);
void job_schedule_fini(struct job_schedule *s); /* also of one that is zeroed */

#endif
