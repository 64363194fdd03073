/* What the files of the jobs' scenario share: job_sim.c (the node, its lives, what must hold),
 * job_acts.c (units and their answers, what is submitted), job_hands.c (the worker). */
#ifndef KOAN_TESTS_SIM_JOB_SIM_H
#define KOAN_TESTS_SIM_JOB_SIM_H

#include "job/job.h"
#include "job/run.h"
#include "queue/queue.h"
#include "sim/house.h"

enum { NUMBERS = 400 /* runs that are submitted at most */ };

struct submitted {
    struct uuid id;
    char job;
    bool acked, never; /* it may not execute any more */
};

struct node {
    struct house h; /* first */
    struct queues *queues;
    struct jobs *jobs;
    struct queue_consumer consumer;
    struct submitted runs[NUMBERS];
    uint32_t count, fans, lives;
    uint64_t dead_until_ns;
    bool open, gone, peace, live;
};

enum act_kind { ACT_SUBMIT, ACT_CANCEL, ACT_OPEN, ACT_RENEW, ACT_STEP, ACT_SETTLE, ACT_OTHER };

/* A unit under way. */
struct act {
    struct house_unit u; /* first */
    struct node *node;
    enum act_kind kind;
    uint32_t index; /* of runs */

    /* of a run that is worked */
    struct uuid id, undo_of;
    uint64_t token;
    char job[8], body[256];
    long long n;
    bool undoes;
    enum core_outcome outcome;
    struct job_end end;
    int tries;
};

/* ---- job_acts.c ---- */
struct act *job_act_new(struct node *n, enum act_kind kind);
/* It was answered, and does this now. */
void job_act_again(struct act *a, enum act_kind kind);
void job_act_start(struct act *a);
/* "a:7" is a row of its unit. */
void job_work_add(struct txn *t, const char *what, long long n);
struct uuid job_sim_id(uint8_t kind, uint32_t n);
void job_sim_submit(struct node *n);
void job_sim_fan(struct node *n);
void job_sim_cancel(struct node *n);
void job_sim_cancel_run(struct node *n, uint32_t at);

/* ---- job_hands.c ---- */
void job_hand_settle(struct act *a);
void job_hand_begin(struct node *n);
void job_hand_turn(struct node *n);

#endif
