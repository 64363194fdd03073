/* Run kit - runs of jobs in a test: small numbers for ids, one worker for all, ends as a worker
 * would make them, on a job lab. What cannot be done fails the test. */
#ifndef KOAN_SUPPORT_RUN_KIT_H
#define KOAN_SUPPORT_RUN_KIT_H

#include "job/run.h"
#include "support/job_lab.h"

enum { SOON_MS = 3000 }; /* what follows by itself has followed by then */

struct run_kit {
    struct job_lab l;
    struct err e;
    uint32_t made; /* ids that ends have made: 1000 .. */
};
void run_kit_open(struct run_kit *f);
void run_kit_close(struct run_kit *f);
void run_kit_must(struct run_kit *f, int rc);

struct uuid run_kit_id_of(uint32_t n);
void run_kit_make_id(void *arg, struct uuid *out); /* a struct run_kit */
/* A consumer that takes every run that may run. */
void run_kit_worker_open(struct run_kit *f);

/* What is left out is as the job says. */
struct run_how {
    const char *args, *chain, *unique;
    const struct uuid *fan;
    bool row;
};
int run_kit_submit_with(struct run_kit *f, struct txn *t, const char *job, uint32_t n,
                        struct run_how how);
void run_kit_submit_(struct run_kit *f, const char *job, uint32_t n, struct run_how how);
#define run_kit_submit(f, job, n, ...) run_kit_submit_(f, job, n, (struct run_how){__VA_ARGS__})
/* Runs n + 1 .. of job "child", with id n for the fan-out and the run of "done". */
void run_kit_fan_out(struct run_kit *f, uint32_t n, uint32_t children);

struct core_view run_kit_look(struct run_kit *f, struct uuid id);
enum rec_state run_kit_state_of(struct run_kit *f, uint32_t n); /* 0: it is not there */
struct job_run run_kit_row_of(struct run_kit *f, uint32_t n);   /* zero: it has none */
int64_t run_kit_count(struct run_kit *f, const char *what);     /* rows: "job_runs WHERE .." */
/* Records of the queue of this job, in one state; at most 16. */
size_t run_kit_records(struct run_kit *f, const char *job, enum rec_state s);

/* By who has it. */
struct core_settle run_kit_settlement(struct run_kit *f, uint32_t n, enum core_outcome outcome);
/* Built as of now, proposed by job_lab_do(). */
int run_kit_end_build(struct run_kit *f, const struct core_settle *s, struct job_end *x);
int run_kit_settle(struct run_kit *f, uint32_t n, enum core_outcome outcome);

#endif
