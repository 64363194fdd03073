/* Job lab - jobs and the queue on a ledger in a simulated world. The clock stands until a test lets
 * time pass. */
#ifndef KOAN_SUPPORT_JOB_LAB_H
#define KOAN_SUPPORT_JOB_LAB_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "job/job.h"
#include "ledger/ledger.h"

struct sim;

struct job_lab {
    struct sim *sim;
    struct ledger_options options;
    struct queues *queues;
    struct jobs *jobs;
    struct ledger *ledger;
    struct db *db; /* the writer, between entries */
    struct unit unit;
    bool done;
    uint32_t lease_ms;       /* of workers; 0: 12 h */
    const char *worker_node; /* their label `node`; NULL: the lab's own, "n" */
};

/* `seed` of the world. */
void job_lab_open(struct job_lab *l, uint64_t seed);
void job_lab_close(struct job_lab *l);
/* The same in steps: the world, `trace` may be NULL; the node comes, and goes. */
void job_lab_init(struct job_lab *l, uint64_t seed, FILE *trace);
void job_lab_up(struct job_lab *l);
void job_lab_down(struct job_lab *l);
void job_lab_fini(struct job_lab *l);
/* The node goes and comes back. `away_ms` pass meanwhile. */
void job_lab_restart(struct job_lab *l, int64_t away_ms);

/* A fresh unit, to be filled; job_lab_do() proposes it and waits for the answer. */
struct txn *job_lab_txn(struct job_lab *l);
int job_lab_do(struct job_lab *l, struct err *e);

/* Time passes. */
void job_lab_run(struct job_lab *l, uint64_t ms);
int64_t job_lab_now(struct job_lab *l);
/* Declares job and queue; `definition` is JSON, NULL orphans it. Fails the test when it cannot. */
void job_lab_declare(struct job_lab *l, const char *name, const char *definition);
/* The first column of the first row; INT64_MIN when there is none. Fails the test on errors. */
int64_t job_lab_number(struct job_lab *l, const char *sql);
/* The running state hash is that of the rows. */
void job_lab_check(struct job_lab *l);

#endif
