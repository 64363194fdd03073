/* Pipeline - the way of one arrival through the phases.
 *
 *   INTAKE -> [hook] -> VALIDATE -> [hook] -> AGGREGATE -> [project hook] -> PROPOSE -> COMMIT ->
 * DONE
 *      ^         |                     |         ^  |  \
 *      |         +--- park, fail ------+--> PROPOSE |   +-- park -> PROPOSE
 *      |                                         |  +------- the working set changed during the
 * hook
 *      +-- exact repeat: DONE, nothing stored    +---------- a condition failed (CANON_TRIES)
 *
 * Only job_tick() moves `state`. Until PROPOSE nothing of the working set is changed; PROPOSE
 * changes it at once, before the unit is durable, so that the next arrival sees it. */
#ifndef KOAN_CANON_PIPELINE_H
#define KOAN_CANON_PIPELINE_H

#include "base/uuid.h"
#include "canon/canon_priv.h"
#include "canon/ops_priv.h"
#include "canon/working_priv.h"
#include "entity/def.h"
#include "ledger/ledger.h"

struct canon_engine;
struct engine_request;
struct whole;

enum job_kind { KIND_ARRIVE, KIND_WITHDRAW, KIND_RESUME };

enum job_state {
    JOB_INTAKE,
    JOB_INTAKE_CALL, /* from here to JOB_KEYS perhaps with a hand (prepare_priv.h) */
    JOB_INTAKE_ANSWER,
    JOB_VALIDATE,
    JOB_VALIDATE_ANSWER,
    JOB_KEYS,
    JOB_AGGREGATE,
    JOB_PROJECT,
    JOB_PROJECT_ANSWER,
    JOB_PROPOSE,
    JOB_COMMIT,
    JOB_DONE,
};

/* What a withdrawal leaves together. */
struct job_part {
    char id[STORE_ID]; /* a new one; of the first, which keeps the golden record: unused */
    struct work_source **members;
    size_t count;
    json_t *keys;
    json_t *values, *views;
    uint64_t said; /* as in the plan */
    bool needs_review;
};

/* What the arrival will do, worked out in AGGREGATE. */
struct job_plan {
    struct work_source *source;
    struct work_golden *winner; /* NULL: a new golden record with `id` */
    char id[STORE_ID];
    struct work_golden *losers[CANON_OWNERS_MAX];
    size_t losers_count;
    json_t *keys, *new_keys,
        *lose_keys;        /* all of the source; those that get an owner; those that lose it */
    json_t *fields, *ever; /* of the source record afterwards */
    int64_t said_at;
    char said_arrival[40];
    uint64_t said;  /* hash of what the source records then say together */
    json_t *values; /* of the golden record afterwards; NULL: as before */
    json_t *changes;
    bool needs_review, creates, empty; /* empty: no source record is left */
    bool same;                         /* they say what they said: the golden record is as it is */
    struct job_part *parts;            /* several, or none; the first keeps the golden record */
    size_t parts_count, parts_left;    /* left: whose views are to be made yet */
    struct work_source **members;      /* of all parts */
    uint64_t generation;
};

struct canon_job {
    uint64_t magic;
    struct list node;
    struct canon_engine *engine;
    struct engine_request *request;
    struct working *working;
    struct canon_arrival *arrival;
    enum job_kind kind;
    enum job_state state;
    uint64_t began_ns;
    int tries;
    bool erase;
    uint64_t rev; /* of all that this try changes: random, so that nobody can mistake another's
                     change for it */

    char *body; /* as sent */
    size_t body_len;
    uint64_t body_hash;
    char *source_id; /* given, or the hash of its keys */
    int64_t observed_at;
    json_t *data;    /* what it says, after intake */
    uint64_t normal; /* the seed of the set whose entity it was checked against: its values have
                        their normal form, none is null, and they stand in the entity's order; 0:
                        that is not known */
    json_t *keys;    /* of `data`; NULL: not asked for yet */
    uint64_t keys_model;
    struct canon_hooks *hooks; /* of the thread it is on */
    struct prep *prep;         /* it is with a hand of this one */
    struct task back;
    struct canon_stage_call call;
    bool called; /* the call is with its function */

    enum canon_stored outcome; /* to be stored */
    enum canon_phase phase;
    char resumes[40];
    json_t *patch; /* as it came; `data` is what it makes of the direct statement */
    uint64_t base_source, base_golden;          /* revisions of what it was applied to */
    uint32_t precondition_at, precondition_end; /* in the unit */
    json_t *waits; /* parked: keys of `waits_model`, one of which it waits for */
    char waits_model[ENTITY_NAME_MAX + 1];
    int waits_tries;
    struct job_plan plan;
    struct unit unit;
    struct whole *whole; /* its part of the request's unit instead (whole_priv.h); or NULL */
    uint32_t ops_from, ops_to;
    uint32_t save_at;                  /* index of entity.save in the unit; UINT32_MAX: none */
    uint32_t show_at;                  /* of entity.show */
    uint32_t also_from[2], also_to[2]; /* what the caller has added, conditions and operations */
};

/* JOB_INTAKE_CALL to JOB_KEYS. False: a function makes it wait. */
bool job_prepare(struct canon_job *j);
/* Runs as far as it can. JOB_DONE: the result stands in the arrival, the engine frees the job. */
void job_tick(struct canon_job *j);
void job_plan_fini(struct job_plan *p);

/* normal.c: each field against the entity. False: the arrival has failed. */
bool job_schema_holds(struct canon_job *j);

/* plan.c: AGGREGATE. 0: j->plan is made. 1: it ends here, parked, failed or noop as job_end()
 * noted. Negative: machine trouble. */
int job_plan(struct canon_job *j, struct err *e);
int job_plan_withdraw(struct canon_job *j, struct err *e);
/* parts.c: a withdrawal, once winner and source are known: fills j->plan.parts when more than one
 * is left. As job_plan(). */
int job_plan_parts(struct canon_job *j, struct err *e);
void job_parts_fini(struct job_plan *p);
/* The part whose views come next; NULL: the golden record itself. */
struct job_part *job_part_to_project(struct job_plan *p);
int job_compose_part_saves(struct canon_job *j, struct txn *t, struct err *e);
int job_compose_parts(struct canon_job *j, struct txn *t, struct err *e);
void job_commit_parts(struct canon_job *j);
/* What a source record says, for survivorship. */
struct canon_said job_said(const struct canon_job *j, const struct work_source *s);
/* propose.c: fills j->unit from the plan (or from the outcome alone) and changes the working set
 * accordingly. */
int job_compose(struct canon_job *j, struct err *e);
void job_commit_working(struct canon_job *j);
struct canon_ending job_ending(const struct canon_job *j);

/* kept.c: the last operations of a unit with a key. */
int job_compose_keep(struct canon_job *j, struct txn *t, struct err *e);
int whole_compose_keep(struct whole *h, struct engine_request *er, struct err *e);

/* memo.c */
int job_compose_memo(struct canon_job *j, struct txn *t, struct err *e);

/* direct.c: works out what a patch states; the arrival's data is then an object as of any source.
 */
int job_direct(struct canon_job *j, struct err *e);
/* It was applied to what is not so any more. */
bool job_direct_is_old(struct canon_job *j);
void job_compose_preconditions(struct canon_job *j, struct txn *t);
bool job_has_precondition(const struct canon_job *j);
/* That is why its unit was refused. */
bool job_failed_precondition(const struct canon_job *j, int failed);

/* wait.c: the stage has parked it; what it waits for, if it says so, goes to j->waits. */
int job_waits(struct canon_job *j, struct err *e);
int job_compose_wait(struct canon_job *j, struct txn *t, struct err *e);

/* Notes how the arrival ends; the next state is PROPOSE, which stores it. A withdrawal that cannot
 * be done is not stored. */
void job_end(struct canon_job *j, enum canon_stored outcome, const char *reason);
const char *job_source_id(const struct canon_job *j);

#endif
