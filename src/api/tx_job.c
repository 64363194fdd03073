/* job.submit in POST /api/tx, and settles there: a run is submitted, or ends, with all else that
 * the unit does, or not at all. */
#include <string.h>

#include "api/jobs_priv.h"
#include "api/tx_priv.h"
#include "base/mem.h"

int tx_job_read(const json_t *op, struct tx_queue *q, json_t **errors, struct err *e)
{
    static const struct uuid none;
    q->job = mem_new(sizeof *q->job);
    int rc = job_draft_read(q->thread->db, op, q->now, q->job, e);
    *errors = json_incref(q->job->errors);
    if (rc != 0)
        return rc;
    struct queue_message *m = &q->job->message;
    m->send.create = false; /* its queue is made by POST /api/jobs, with the options of a job */
    if (memcmp(&m->send.id, &none, sizeof none) == 0)
        m->send.id = q->id;
    m->correlation = q->correlation;
    m->traceparent = q->traceparent;
    return 0;
}

int tx_job_add(struct tx_queue *q, struct txn *t, struct err *e)
{
    return job_draft_add(q->job, t, e);
}

void tx_job_free(struct tx_queue *q)
{
    if (q->job == NULL)
        return;
    job_draft_fini(q->job);
    mem_free(q->job);
    q->job = NULL;
}

int tx_job_settle(struct tx_queue *q, const struct core_settle *s, const struct buf *text,
                  struct txn *t, struct err *e)
{
    q->end = (struct job_end){.run = s->id,
                              .settle = s,
                              .text = text->len > 0 ? text->data : NULL,
                              .text_len = text->len,
                              .ahead = q->has_ahead ? &q->ahead : NULL,
                              .make_id = job_make_id,
                              .arg = q->thread};
    int rc = job_txn_end(t, q->thread->db, &q->end, e);
    q->end.settle = NULL; /* the caller's */
    q->end.text = NULL;
    if (rc == ERR_GONE)
        return err_field(e, ERR_FENCED, "token",
                         "the run was ended while it executed: nothing that it does counts any "
                         "more; settle it by itself");
    return rc;
}
