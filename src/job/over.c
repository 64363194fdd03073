/* What the end of a run means beyond the run: its schedule has to take note of it, and the job
 * fails now, or no more. */
#include <string.h>

#include "db/db.h"
#include "job/job_priv.h"

/* Nothing happens when no schedule waits for the end of this run. */
static int over_note(struct db *db, const struct job_over *o, int64_t at, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "UPDATE job_schedule_runs SET outcome = ?2, ended = ?3 WHERE "
                                    "run = ?1 AND outcome = 0",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 1, o->run.b, sizeof o->run.b);
    db_bind_int(s, 2, o->outcome);
    db_bind_int(s, 3, at);
    return db_run(s, e);
}

static int over_failed(struct db *db, const struct job_over *o, int64_t at, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT INTO job_failing(name, failures, since, at, run) VALUES(?1, 1, ?2, ?2, "
        "?3) ON CONFLICT(name) DO UPDATE SET failures = failures + 1, at = ?2, run = ?3",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, o->job);
    db_bind_int(s, 2, at);
    db_bind_blob(s, 3, o->run.b, sizeof o->run.b);
    return db_run(s, e);
}

static int over_succeeded(struct db *db, const struct job_over *o, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM job_failing WHERE name = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, o->job);
    return db_run(s, e);
}

int job_over(struct jobs *j, const struct apply *a, const struct job_over *o, struct err *e)
{
    int rc = over_note(a->db, o, a->at, e);
    if (rc == 0 && o->outcome == JOB_DISCARDED)
        rc = over_failed(a->db, o, a->at, e);
    if (rc == 0 && o->outcome == JOB_COMPLETED)
        rc = over_succeeded(a->db, o, e);
    if (o->outcome == JOB_DISCARDED || (o->outcome == JOB_COMPLETED && db_changes(a->db) > 0))
        j->failing_noted = true;
    jobs_note(j, o->job, strlen(o->job));
    return rc;
}
