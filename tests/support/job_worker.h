/* Job worker - takes whatever runs there are in a job lab, holds each for a while, and settles it.
 */
#ifndef KOAN_SUPPORT_JOB_WORKER_H
#define KOAN_SUPPORT_JOB_WORKER_H

#include "io/world.h"
#include "job/run.h"
#include "queue/queue.h"
#include "support/job_lab.h"

enum { JOB_WORKER_MAX = 64 };

struct job_worker;

struct job_held {
    struct unit unit; /* first */
    struct job_worker *worker;
    struct world_timer timer;
    struct job_end end;
    struct core_settle settle;
    struct uuid id;
    uint64_t print, token;
    bool used, proposed, cancelled;
};

struct job_worker {
    struct queue_consumer consumer; /* first */
    struct job_lab *lab;
    struct job_held held[JOB_WORKER_MAX];
    uint64_t hold_ms;
    enum job_outcome outcome;
    bool deaf, ending, closed;        /* does not hear that it is to stop */
    int worked, holding, most, asked; /* settled; not yet; at once; to stop */
};

void job_worker_open(struct job_worker *w, struct job_lab *l, uint64_t hold_ms,
                     enum job_outcome outcome);
void job_worker_close(struct job_worker *w);
/* False: its lease was over; it is to be closed. */
bool job_worker_renew(struct job_worker *w);

#endif
