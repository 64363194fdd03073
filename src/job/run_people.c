/* What people do with a run, and the reasons they give. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "job/run_priv.h"
#include "ledger/txn.h"

/* Part of operations and tables: never renumber. */
enum people_verb { PEOPLE_CANCEL = 1, PEOPLE_RETRY = 2 };

/* ---- asked ---- */

static int people_add(struct txn *t, enum job_op op, const struct uuid *run,
                      const struct job_why *why, struct err *e)
{
    const char *reason = why != NULL && why->reason != NULL ? why->reason : "";
    size_t n = strlen(reason);
    if (n > JOB_REASON_BYTES || !str_is_utf8(reason, n))
        return err_field(e, ERR_INVALID, "reason", "reason: text of at most %d bytes",
                         JOB_REASON_BYTES);
    if (op == JOB_OP_CANCEL)
        queue_txn_cancel(t, run);
    else
        queue_txn_retry(t, run);
    struct buf *b = txn_begin(t, (uint16_t)op, n > 0 ? 2 : 1);
    buf_add(b, run->b, sizeof run->b);
    if (n > 0) {
        buf_add_text(b, why->job);
        buf_add_text(b, reason);
    }
    txn_end(t);
    return 0;
}

int job_txn_cancel(struct txn *t, const struct uuid *run, const struct job_why *why, struct err *e)
{
    return people_add(t, JOB_OP_CANCEL, run, why, e);
}

int job_txn_retry(struct txn *t, const struct uuid *run, const struct job_why *why, struct err *e)
{
    return people_add(t, JOB_OP_AGAIN, run, why, e);
}

/* ---- applied ---- */

struct people_op {
    struct uuid run;
    struct text job, reason; /* of version 2 */
    bool said;
};

static int people_decode(struct cursor *c, uint8_t version, const char *name, struct people_op *o,
                         struct err *e)
{
    memset(o, 0, sizeof *o);
    uuid_read(c, &o->run);
    o->said = version > 1;
    if (o->said) {
        o->job = job_text(c, 1, JOB_NAME_MAX);
        o->reason = job_text(c, 1, JOB_REASON_BYTES);
    }
    return cursor_whole(c, name, e);
}

/* Its row, made where something is said of it; 0: it has none. */
static int people_load(const struct apply *a, const struct people_op *o, struct run_row *r,
                       struct err *e)
{
    int rc = run_load(a->db, &o->run, false, r, e);
    if (rc < 0 || !o->said)
        return rc;
    if (rc == 0) {
        struct run_new n = {.id = o->run, .tenant = a->env->tenant, .job = o->job, .at = a->at};
        rc = run_insert(a->db, &n, e);
        return rc == 0 ? run_load(a->db, &o->run, false, r, e) : rc;
    }
    if (strlen(r->run.job) != o->job.n || memcmp(r->run.job, o->job.p, o->job.n) != 0)
        return err_field(e, ERR_NOT_FOUND, "id", "the run is one of job '%s'", r->run.job);
    return rc;
}

/* The number of what is said next; 0 in *out of the first. */
static int history_last(struct db *db, const struct uuid *run, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(db, "SELECT max(n) FROM job_history WHERE run = ?1", run, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 && !db_col_is_null(s, 0) ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

static int history_add(const struct apply *a, const struct people_op *o, enum people_verb verb,
                       struct err *e)
{
    int64_t last;
    int rc = o->said ? history_last(a->db, &o->run, &last, e) : 1;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    struct db_stmt *s = run_stmt(a->db,
                                 "INSERT INTO job_history(run, n, at, verb, author, reason) "
                                 "VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                                 &o->run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, last + 1);
    db_bind_int(s, 3, a->at);
    db_bind_int(s, 4, verb);
    db_bind_str(s, 5, a->env->principal);
    db_bind_text(s, 6, o->reason.p, o->reason.n);
    if ((rc = db_run(s, e)) != 0)
        return rc;
    s = run_stmt(a->db, "DELETE FROM job_history WHERE run = ?1 AND n <= ?2", &o->run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, last + 1 - JOB_HISTORY_MAX);
    return db_run(s, e);
}

static int people_exec(struct db *db, const char *sql, const struct uuid *id, struct err *e)
{
    struct db_stmt *s = run_stmt(db, sql, id, e);
    return s == NULL ? e->code : db_run(s, e);
}

JOB_APPLY(run_apply_cancel)
{
    struct people_op o;
    struct run_row r;
    (void)self, (void)result;
    int rc = people_decode(c, version, "job.cancel", &o, e);
    if (rc == 0)
        rc = people_load(a, &o, &r, e);
    if (rc <= 0)
        return rc;
    rc = history_add(a, &o, PEOPLE_CANCEL, e);
    if (rc != 0 || r.run.state != JOB_RUN_OPEN || (r.flags & RUN_STOPPED) != 0)
        return rc;
    return people_exec(
        a->db, "UPDATE job_runs SET flags = flags | 1, revision = revision + 1 WHERE id = ?1",
        &o.run, e);
}

JOB_APPLY(run_apply_again)
{
    struct people_op o;
    struct run_row r;
    (void)self, (void)result;
    int rc = people_decode(c, version, "job.again", &o, e);
    if (rc == 0)
        rc = people_load(a, &o, &r, e);
    if (rc <= 0)
        return rc;
    if (r.run.has_undo)
        return err_set(e, ERR_CONFLICT,
                       "steps of this run are undone: it cannot go on; submit another");
    if ((rc = history_add(a, &o, PEOPLE_RETRY, e)) != 0)
        return rc;
    return people_exec(a->db,
                       "UPDATE job_runs SET state = 1, ended = NULL, flags = flags & ~3, revision "
                       "= revision + 1 WHERE id = ?1",
                       &o.run, e);
}

_Static_assert(RUN_STOPPED == 1 && RUN_TERMINATED == 2, "as the statements above have them");

/* ---- shown ---- */

int run_history_show(struct db *db, const struct uuid *id, json_t *o, struct err *e)
{
    static const char *const verbs[] = {[PEOPLE_CANCEL] = "cancel", [PEOPLE_RETRY] = "retry"};
    AUTO(json_unref) json_t *list = json_array();
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(
        db, "SELECT at, verb, author, reason FROM job_history WHERE run = ?1 ORDER BY n", id, e);
    int rc = s == NULL ? e->code : 1;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        char at[TIME_TEXT];
        time_format(db_col_int(s, 0), at);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "at", at, "what", verbs[db_col_int(s, 1)], "by",
                            db_col_text(s, 2, NULL), "reason", db_col_text(s, 3, NULL)));
    }
    if (rc == 0 && json_array_size(list) > 0)
        json_object_set(o, "history", list);
    return rc;
}
