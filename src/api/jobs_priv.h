/* What the routes of jobs share, beside queue_priv.h: jobs.c (runs listed and shown, their end
 * waited for), jobs_submit.c, jobs_work.c (workers outside: settle, progress), jobs_stored.c,
 * jobs_store.c and jobs_steps.c (and steps, sleeps, waits, fan-outs). Leasing, retry and
 * cancel are those of queues, with a little more: queue_lease.c, queue_operate.c. */
#ifndef KOAN_API_JOBS_PRIV_H
#define KOAN_API_JOBS_PRIV_H

#include "api/queue_priv.h"
#include "job/run.h"

/* A run while its submit is read. */
struct job_draft {
    struct job_def def;
    struct queue_draft draft;
    struct queue_message message;
    const json_t *chain; /* NULL: as declared */
    bool goes_on;        /* with chain */
    json_t *errors;      /* faults of its args; NULL: none */
    struct buf body;
    bool undeclared;        /* no script says what it is: `create` */
    const struct uuid *fan; /* of a child of that; NULL */
};
void job_draft_fini(struct job_draft *d);
/* Of {"job", "args", "options"[, "op"]}; `db` any reader. ERR_NOT_FOUND: no such job. The texts are
 * those of `o`. */
int job_draft_read(struct db *db, const json_t *o, int64_t now, struct job_draft *d, struct err *e);
int job_draft_add(struct job_draft *d, struct txn *t, struct err *e);

/* ---- jobs_stored.c: what who works a run stores of it ---- */

enum { STORED_CHILDREN_MAX = 1000 }; /* of one fan-out */
enum job_stored_kind { STORED_STEP, STORED_SLEEP, STORED_WAIT, STORED_FAN, STORED_UNDONE };

/* One operation. The texts are those of the JSON that it was read from. */
struct job_stored {
    enum job_stored_kind kind;
    struct uuid run;
    uint64_t token;
    const char *name; /* of the step */
    bool undo;
    int64_t until; /* of a sleep, a wait */
    const char *topic, *key;
    struct uuid fan;
    const char *on_done;
    const json_t *fan_args;
    struct job_draft *children;
    size_t children_count;
    struct buf result; /* what is stored, JSON */
    uint32_t before;   /* steps of the same run in front of it in the unit: job_stored_order() */
    json_t *errors;    /* faults of a child's args; NULL: none */

    /* As job_find_start() found it; not of UNDONE. */
    char job[JOB_NAME_MAX + 1];
    json_t *said;    /* of its record */
    struct buf args; /* as they were sent */
    struct err err;  /* it is no run */
};
/* Who stores, and when: for what a fan-out submits. */
struct job_storing {
    struct api_thread *thread;
    int64_t now;
    struct envelope env;
};
void job_stored_fini(struct job_stored *s);
/* Of {"id", "token", "name", ..}, with or without "op"; `s` is zeroed but for its kind. */
int job_stored_read(struct job_stored *s, const json_t *o, const struct job_storing *by,
                    struct err *e);

/* Finds the runs of all in `list`: their jobs and args, or what is wrong, in s->err. */
struct job_finding {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct http_request *req;
    struct job_stored **list;
    size_t count;
    void (*done)(struct job_finding *f);
};
void job_find_start(struct job_finding *f, struct http_request *req);

/* Once, of all that are in one unit, in their order. */
void job_stored_order(struct job_stored *const *list, size_t count);
/* What they store of this run, for its end in the same unit; false: nothing. */
bool job_stored_ahead(struct job_stored *const *list, size_t count, const struct uuid *run,
                      struct job_ahead *out);
/* The condition, in front of the unit: the run is held with this token. */
int job_stored_if(const struct job_stored *s, struct db *db, struct txn *t, struct err *e);
int job_stored_add(struct job_stored *s, struct db *db, struct txn *t, struct err *e);
/* Parts of that: the step alone; the run is given back until then. */
int job_stored_keep(const struct job_stored *s, struct db *db, struct txn *t, struct err *e);
int job_stored_back(const struct job_stored *s, int64_t until, struct txn *t, struct err *e);

/* The id of the path as one of a run; false: answered. */
bool job_run_id(struct http_request *req, struct uuid *out);
/* For job_end.make_id, with a struct api_thread. */
void job_make_id(void *thread, struct uuid *out);

#endif
