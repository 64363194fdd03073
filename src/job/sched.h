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

struct cursor;
struct db;
struct err;
struct txn;

enum {
    JOB_TICKS_KEPT = 1000,   /* decisions of a schedule, the newest */
    JOB_BACKFILL_MAX = 1000, /* runs of one backfill */
    JOB_NEXT_MAX = 100,      /* due times that are shown */
};
#define JOB_TICKS_KEEP_MS (INT64_C(30) * 86400 * 1000)
#define JOB_WAITS_UNTIL INT64_C(16725139200000) /* 2499-12-31: as late as the queue takes */

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

/* {"name", "schedule", "state", "next", "last", ..} of one, with its `next` next due times, the
 * last `ticks` decisions, the runs it waits for. A new reference. */
struct job_schedule_look {
    int64_t now;
    size_t next, ticks; /* at most JOB_NEXT_MAX, JOB_TICKS_KEPT */
};
int job_schedule_show(struct db *db, const char *name, const struct job_schedule_look *l,
                      json_t **out, struct err *e);
/* A decision, by what its operation gave. ERR_GONE: no longer kept. */
uint64_t job_decided_read(struct cursor *result);
int job_tick_show(struct db *db, const char *name, uint64_t tick, json_t **out, struct err *e);
/* Those behind `after` (NULL: all), each with its next due time and last decision. */
int job_schedules_list(struct db *db, const char *after, size_t limit, json_t **out, bool *more,
                       struct err *e);

/* ---- verbs ---- */

struct job_verb {
    const char *name;
    const char *by, *reason;                      /* reason may be NULL */
    int64_t now;                                  /* the time that is decided by */
    void (*make_id)(void *arg, struct uuid *out); /* of a run */
    void *arg;
};
struct job_decided {
    enum schedule_verdict verdict;
    const char *reason; /* static */
    int64_t due, from, to;
    uint32_t ticks, runs;
    struct uuid run; /* the first of `runs` */
};
/* A run now, whatever the hours and also while paused; what `overlap` says holds. */
int job_txn_trigger(struct txn *t, struct db *db, const struct job_verb *v, struct job_decided *out,
                    struct err *e);
/* Once more, with another reason, is fine. */
int job_txn_pause(struct txn *t, struct db *db, const struct job_verb *v, struct err *e);
/* *resumed false: it was not paused, and nothing was appended. out->ticks 0: nothing came due in
 * the pause. */
int job_txn_resume(struct txn *t, struct db *db, const struct job_verb *v, bool *resumed,
                   struct job_decided *out, struct err *e);
/* A run for each time in (from, to] at which it was due by its definition, oldest first; one after
 * the other unless `overlap` is allow. They stand beside the schedule, which does not wait for
 * them. ERR_INVALID: it has no fixed times (`after`), `to` is not past, nothing or more than
 * JOB_BACKFILL_MAX was due. */
struct job_span {
    int64_t from, to;
};
int job_txn_backfill(struct txn *t, struct db *db, const struct job_verb *v,
                     const struct job_span *span, struct job_decided *out, struct err *e);

#endif
