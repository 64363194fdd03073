/* What the routes of jobs share, beside queue_priv.h: jobs.c (runs listed and shown, their end
 * waited for), jobs_submit.c, jobs_work.c (workers outside: settle, progress). Leasing, retry and
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
    bool undeclared; /* no script says what it is: `create` */
};
void job_draft_fini(struct job_draft *d);
/* Of {"job", "args", "options"[, "op"]}; `db` any reader. ERR_NOT_FOUND: no such job. The texts are
 * those of `o`. */
int job_draft_read(struct db *db, const json_t *o, int64_t now, struct job_draft *d, struct err *e);
int job_draft_add(struct job_draft *d, struct txn *t, struct err *e);

/* The id of the path as one of a run; false: answered. */
bool job_run_id(struct http_request *req, struct uuid *out);
/* For job_end.make_id, with a struct api_thread. */
void job_make_id(void *thread, struct uuid *out);

#endif
