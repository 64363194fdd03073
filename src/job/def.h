/* Def - what a job is by its declaration: the name, when it is due, and how its runs are sent.
 *
 * A declaration is a JSON object, as the ledger keeps it (job.declare). Its keys are those of a
 * schedule (schedule.h), those of a message (attempts, backoff, timeout, ttl, deadline, priority,
 * lane, gate, needs), and
 *
 *   concurrency      runs under way at once, in the whole cluster
 *   on_start         "cluster" or "node": a run for each start
 *   critical         the last run that ended has failed: health is degraded
 *   chain            names of jobs that follow, one after the other
 *   on_failure       "abort" (default) or "continue": whether the chain goes on after a failure
 *   args             the fields that a run takes, as of an entity; kept as it is
 *   scheduled_args   the args of runs that a schedule or a start makes; an object
 *   keep             {"completed", "discarded", "count"}: how long ended runs stay
 *
 * Anything else is refused, so that no misspelt key is silently without effect.
 *
 * A struct job_def is a value that is freed; its texts are those of the JSON that it holds. Pure:
 * no clock, nothing of the ledger. */
#ifndef KOAN_JOB_DEF_H
#define KOAN_JOB_DEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "job/schedule.h"
#include "queue/core.h"

struct err;
struct queue_message;

enum {
    JOB_NAME_MAX = 64,
    JOB_QUEUE_BYTES = 4 + JOB_NAME_MAX + 1, /* "job.NAME" */
    JOB_CHAIN_MAX = 32,
    JOB_DEFINITION_BYTES = 64 << 10, /* as JSON */
    JOB_TIMEOUT_MS = 15 * 60 * 1000,
    JOB_KEEP_COUNT = 100 * 1000,
};
#define JOB_OWN_PREFIX                                                                             \
    "koan-" /* of the names of Koan's own jobs: nobody declares or submits one                     \
             */
#define JOB_DEADLINE_MS (INT64_C(3660) * 86400 * 1000) /* of snoozes: steps may sleep for long */
#define JOB_KEEP_COMPLETED_MS (INT64_C(7) * 86400 * 1000)
#define JOB_KEEP_DISCARDED_MS (INT64_C(30) * 86400 * 1000)

/* What became of a run. Part of operations and tables: never renumber. */
enum job_outcome { JOB_COMPLETED = 1, JOB_DISCARDED = 2, JOB_CANCELLED = 3 };
const char *job_outcome_name(enum job_outcome o);

enum job_on_start { JOB_START_NONE, JOB_START_CLUSTER, JOB_START_NODE };

struct job_def {
    char name[JOB_NAME_MAX + 1];
    char queue[JOB_QUEUE_BYTES];
    json_t *json; /* the declaration; a reference */
    bool has_schedule;
    struct schedule schedule;
    enum job_on_start on_start;
    bool critical;
    bool goes_on; /* on_failure = "continue" */
    uint32_t concurrency;
    const json_t *chain;          /* a list of names; NULL: none */
    const json_t *args;           /* NULL: anything */
    const json_t *scheduled_args; /* NULL: none */
    int64_t keep_completed_ms, keep_discarded_ms;
    uint32_t keep_count;

    /* how a run is sent */
    uint16_t attempts;
    bool has_backoff;
    struct core_backoff backoff;
    uint32_t timeout_ms;
    int64_t ttl_ms, deadline_ms;
    uint8_t priority;
    const char *lane; /* NULL: default */
    const char *gates[CORE_GATES_MAX];
    struct core_label needs[CORE_LABELS_MAX];
    uint8_t gates_count, needs_count;
};

/* [A-Za-z][A-Za-z0-9_-]{0,63}. ERR_INVALID. */
int job_name_check(const char *name, struct err *e);
/* ERR_INVALID names key, value and way out. `declaration` is kept by reference. */
int job_def_read(const char *name, const json_t *declaration, struct job_def *out, struct err *e);
void job_def_fini(struct job_def *d); /* also of one that is zeroed */

/* The queue of its runs; the texts are those of `d`. */
void job_def_queue(const struct job_def *d, struct core_queue *out);
/* A message with all that the declaration says of its runs; id, body, run_at and the like are the
 * caller's. The texts are those of `d`. */
void job_def_message(const struct job_def *d, struct queue_message *out);

#endif
