/* job.step, job.sleep, job.wait, job.fan and job.undone in POST /api/tx: what a worker outside did
 * and that it did it are one commit, with the end of the run if it settles there too. A sleep and a
 * wait begin here; what came of them is asked for by their own routes. */
#include <string.h>

#include "api/jobs_priv.h"
#include "api/tx_priv.h"
#include "base/mem.h"

const char *const tx_stored_names[] = {[STORED_STEP] = "job.step",
                                       [STORED_SLEEP] = "job.sleep",
                                       [STORED_WAIT] = "job.wait",
                                       [STORED_FAN] = "job.fan",
                                       [STORED_UNDONE] = "job.undone"};

int tx_stored_new(const json_t *op, const struct tx_queue *q, int kind, struct job_stored **out,
                  json_t **errors, struct err *e)
{
    struct job_storing by = {.thread = q->thread,
                             .now = q->now,
                             .env = {.correlation = q->correlation, .traceparent = q->traceparent}};
    struct job_stored *s = *out = mem_new(sizeof *s);
    s->kind = (enum job_stored_kind)kind;
    int rc = job_stored_read(s, op, &by, e);
    *errors = json_incref(s->errors);
    return rc;
}

void tx_stored_free(struct job_stored *s)
{
    if (s == NULL)
        return;
    job_stored_fini(s);
    mem_free(s);
}

size_t tx_stored_results(const struct job_stored *s)
{
    return s->children_count;
}

/* Of a fan-out: which runs, as they are stored, since a repeat has made up other ids. */
static void stored_print_fan(const struct job_stored *s, struct db *db, struct buf *out)
{
    AUTO(json_unref) json_t *step = NULL;
    job_step_get(db, &s->run, s->name, &step, NULL);
    const json_t *runs = json_object_get(json_object_get(step, "result"), "runs");
    if (runs == NULL)
        return;
    buf_adds(out, ",\"runs\":");
    json_print(runs, out, NULL);
}

void tx_stored_print(const struct job_stored *s, struct db *db, struct buf *out)
{
    static const char *const outcomes[] = {[STORED_STEP] = "stored",
                                           [STORED_SLEEP] = "snoozed",
                                           [STORED_WAIT] = "waiting",
                                           [STORED_FAN] = "stored",
                                           [STORED_UNDONE] = "undone"};
    char id[UUID_TEXT];
    uuid_format(&s->run, id);
    buf_addf(out, ",\"id\":\"%s\",\"name\":", id);
    json_print_string(out, s->name, strlen(s->name));
    buf_addf(out, ",\"outcome\":\"%s\"", outcomes[s->kind]);
    if (s->kind == STORED_FAN)
        stored_print_fan(s, db, out);
}
