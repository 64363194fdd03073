/* Job - named handlers over queue records: what is declared, when it is due, and what became of it.
 *
 * A run is a record in the queue `job.NAME` and all of the queue applies to it. This module has
 * what a record has not: declarations (def.h), schedules (schedule.h) with their decisions, and of
 * runs what lasts longer than one execution (run.h). All of it is rows in the ledger's database,
 * changed by operations (0x0bxx). The functions named job_txn_*() append one to a unit of work.
 *
 * Jobs are rows, records are in the queue's memory, and no operation of one may look at the other.
 * So every operation here is a compare-and-set on rows of its own: it says what it was worked out
 * from and refuses with ERR_CONFLICT when that has changed. What the queue is to do stands beside
 * it in the same unit, which is applied whole or not at all. Whoever is refused reads and decides
 * again.
 *
 *   leader's clock:  row + due time --schedule_tick()--> unit: job.schedule (revision n -> n + 1)
 *                                                              job.run, queue.send
 *
 * So each due time has one decision, whoever proposes it and how often: the second one comes to
 * another revision. The row of a schedule has its whole state (schedule.h), a revision, who paused
 * it and why. A declaration that changes moves the revision on too: a decision by the old one does
 * not come through.
 *
 * The runs that a schedule has made are kept beside it until their end is accounted for:
 *
 *   decision --> runs, or waits --job.end--> ended, noted --job.schedule (accounted)--> gone
 *
 * An end does not change the schedule's state, so it never has to wait for it; the clock sees what
 * was noted and proposes schedule_ended() for it, with the start of the run that waited.
 *
 * Waiting runs are records that are scheduled for JOB_WAITS_UNTIL, and woken when their turn comes:
 * they can be seen and cancelled like any other.
 *
 * A job that no script declares any more is orphaned: its row stays, without a declaration; nothing
 * of it comes due. Declared again it goes on where it was; with another time than before it begins
 * anew.
 *
 * Threads. The clock runs on the ledger's. Everything that reads takes any connection.
 *
 * Formats: schema/job-operations.md. */
#ifndef KOAN_JOB_JOB_H
#define KOAN_JOB_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "job/def.h"

struct db;
struct domain;
struct err;
struct health_board;
struct jobs;
struct ledger;
struct queues;
struct txn;
struct world;

enum {
    JOB_DEFS_MAX = 10000,
};
#define JOB_TENANT "default" /* declarations are of scripts */

struct jobs *jobs_new(void);
void jobs_free(struct jobs *j); /* takes NULL; after the ledger */
/* For ledger_open(). Lives as long as `j`. */
const struct domain *jobs_domain(struct jobs *j);

struct jobs_options {
    struct ledger *ledger;
    struct queues *queues;
    struct world *world;         /* the ledger's */
    struct health_board *health; /* may be NULL */
    bool still;                  /* nothing comes due here: nobody would work it */
};
/* Keeps the time from now on. Before the ledger's loop runs and before queues_start(). */
void jobs_start(struct jobs *j, const struct jobs_options *o);
/* The scripts are live: what is declared `on_start` gets its run. Any thread, once, between start
 * and stop. */
void jobs_ready(struct jobs *j);
/* Proposes nothing more. On the ledger's thread, before queues_stop() and ledger_close(). */
void jobs_stop(struct jobs *j);

/* ---- declarations ---- */

/* `definition`: NULL orphans it. ERR_INVALID, ERR_TOO_LARGE: nothing was added. Applied:
 * ERR_TOO_LARGE over JOB_DEFS_MAX. One that says what is there already changes nothing. */
int job_txn_declare(struct txn *t, const char *name, const json_t *definition, struct err *e);

/* {"NAME": definition, ..}, all that are declared; a new reference. */
int job_defs_read(struct db *db, json_t **out, struct err *e);
/* ERR_NOT_FOUND: nothing with this name, or orphaned. The caller's to job_def_fini(). */
int job_def_get(struct db *db, const char *name, struct job_def *out, struct err *e);

#endif
