/* The work of operators, in its two files: queue_work.c (the consumer: opened, renewed, left) and
 * queue_work_run.c (one run, from its grant to its settle). */
#ifndef KOAN_API_QUEUE_WORK_PRIV_H
#define KOAN_API_QUEUE_WORK_PRIV_H

#include <stdatomic.h>

#include "api/queue_priv.h"

struct work_run;

struct queue_work {
    struct queue_consumer consumer; /* first */
    struct api_thread *thread;
    struct task task; /* of a wake */
    atomic_bool posted;
    struct queue_ask ask;
    struct world_timer timer;
    struct unit unit;
    struct work_run *run;
    struct core_effect next;
    uint64_t renewed_ns;
    bool has_next, wanted, listening, asking, flying, open, closing, gone;
    bool some; /* runs were left of before */
    bool anew; /* opened again: its queue may be another one than before */
};

static inline struct world *work_world(const struct queue_work *w)
{
    return loop_world(w->thread->loop);
}

static inline uint64_t work_since_ms(const struct queue_work *w, uint64_t ns)
{
    return (work_world(w)->mono_ns(work_world(w)) - ns) / 1000000;
}

/* queue_work.c: what is due: opened, renewed, left; the run has ended. */
void queue_work_tick(struct queue_work *w);
/* queue_work_run.c */
void queue_work_run(struct queue_work *w, const struct core_effect *grant);
/* Of the run that is under way, if it is of this grant. */
void queue_work_tell(struct queue_work *w, const struct core_effect *f);
bool queue_work_is_passing(int code);

#endif
