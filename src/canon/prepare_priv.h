/* Prepare - the phases before identity, on other threads.
 *
 * Intake, validate and keys look at one document alone, so any thread with the model's functions
 * can run them: a *hand*. The engine gives documents away in batches and takes them back in the
 * order in which it gave them, so that arrivals meet the working set in the order in which they
 * came. A document whose function waits for something falls out of its batch and comes back by
 * itself.
 *
 * While a job is with a hand it belongs to that thread, but for `node` of its batch; of the working
 * set it reads model, entity and tenant, which stay as they are while `preparing` is above zero. */
#ifndef KOAN_CANON_PREPARE_H
#define KOAN_CANON_PREPARE_H

#include <stdbool.h>
#include <stddef.h>

struct canon_engine_options;
struct canon_job;
struct list;
struct prep;

enum {
    PREP_BATCH = 32,      /* documents that travel together */
    PREP_AHEAD_MAX = 256, /* given away and not yet taken back into the phases */
    PREP_WORTH = 8,       /* a request of fewer arrivals is faster on one thread */
};

/* `came` runs on the engine's thread when something is back. */
struct prep *prep_new(const struct canon_engine_options *o, void (*came)(void *arg), void *arg);
void prep_free(struct prep *p);
/* There are hands, and enough to do for them. */
bool prep_helps(const struct prep *p, size_t arrivals);
/* Room for another one. */
bool prep_wants(const struct prep *p);
/* Something is given away and not back yet. */
bool prep_is_busy(const struct prep *p);
void prep_give(struct prep *p, struct canon_job *j);
/* What was given since the last flush sets off. */
void prep_flush(struct prep *p);
/* The next in order that is back, and stays so until prep_take(); NULL. */
struct canon_job *prep_peek(struct prep *p);
void prep_take(struct prep *p);
/* On the hand's thread: a function has answered that made the job wait. */
void prep_answered(struct canon_job *j);

/* ahead.c: the working sets learn who owns the keys of jobs that are back. On the engine's thread,
 * inside its snapshot. */
void ahead_keys(struct list *ready);

#endif
