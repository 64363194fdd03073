/* The inside of a write: slots, one an item, and jobs, one a unit. */
#ifndef KOAN_ENTITY_WRITE_PRIV_H
#define KOAN_ENTITY_WRITE_PRIV_H

#include "entity/entity_priv.h"
#include "entity/write.h"

enum {
    WRITE_JOBS_MAX = 256, /* units of one write under way at a time */
    WRITE_NAME_MAX = ENTITY_NAME_MAX + ENTITY_ID_MAX + 512, /* tenant or partition, and id */
};

/* What is known of an item beside what the caller sees. */
struct slot {
    struct entity_def *def;
    json_t *checked;            /* save: the document as it came, normalised */
    struct entity_doc doc;      /* what is proposed */
    bool made;                  /* its id is made here: there is no prior row */
    bool reshaped;              /* `doc` is what a hook has made of it */
    bool hooked;                /* a hook ran, so the prior row is part of the deal */
    uint64_t prior_version;     /* 0: there was none */
    uint32_t op_first, op_last; /* its conditions and operation in the unit */
};

enum job_state { JOB_ITEM, JOB_PROPOSE, JOB_DONE };

/*   ITEM (read, hook; once for each item that has one) -> PROPOSE -> DONE
 *     ^_____________________________________________________/    only job_tick() moves `state` */
struct job {
    struct entity_write_impl *impl;
    size_t first, count, at;
    enum job_state state;
    int tries, composed;
    bool has_unit;
    struct unit unit;
    struct entity_hook_call call;
};

struct entity_write_impl {
    struct entity_write *w;
    struct slot *slots;
    struct job *jobs;
    size_t jobs_count, jobs_started, jobs_running;
    bool in_start; /* done() must not run yet */
    struct task finish;
    struct envelope env; /* with texts of our own */
    char *texts[6];
};

bool slot_has_hook(const struct entity_item *it);
/* May finish at once. */
void job_start(struct job *j);
void job_fini(struct job *j);
/* The job is over: its items have their outcome. */
void write_job_over(struct entity_write_impl *m);

#endif
