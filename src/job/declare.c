/* Declarations: as an operation, as rows, and read back. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "job/job_priv.h"
#include "ledger/txn.h"

/* ---- the operation ---- */

int job_txn_declare(struct txn *t, const char *name, const json_t *definition, struct err *e)
{
    struct err own = ERR_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT(JOB_DEFINITION_BYTES);
    e = e != NULL ? e : &own;
    int rc = job_name_check(name, e);
    if (rc == 0 && definition != NULL)
        rc = json_print_sorted(definition, &text, e);
    if (rc == 0 && buf_failed(&text))
        rc = err_set(e, ERR_TOO_LARGE, "the declaration of job '%s' is over %d KiB as JSON", name,
                     JOB_DEFINITION_BYTES >> 10);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, JOB_OP_DECLARE, 1);
    buf_add_text(b, name);
    buf_add_bytes(b, text.data, text.len);
    txn_end(t);
    return 0;
}

enum declared { DECLARED_NEW, DECLARED_OTHER, DECLARED_SAME };

/* How the row compares to it: an enum declared. */
static int declare_compare(struct db *db, struct text name, struct text definition, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT definition FROM job_defs WHERE name = ?1", e);
    size_t n = 0;
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name.p, name.n);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc < 0 ? rc : definition.n == 0 ? DECLARED_SAME : DECLARED_NEW;
    const char *now = db_col_text(s, 0, &n);
    bool same = n == definition.n && (n == 0 || memcmp(now, definition.p, n) == 0);
    return same ? DECLARED_SAME : DECLARED_OTHER;
}

static int declare_room(struct db *db, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM job_defs", e);
    int rc = s != NULL ? db_step(s, e) : e->code;
    if (rc < 0)
        return rc;
    if (db_col_int(s, 0) >= JOB_DEFS_MAX)
        return err_set(e, ERR_TOO_LARGE, "over %d jobs, those that are declared no more counted",
                       JOB_DEFS_MAX);
    return 0;
}

static int declare_write(struct db *db, struct text name, struct text definition, int64_t at,
                         struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "INSERT INTO job_defs(name, definition, at) VALUES(?1, ?2, ?3) "
                                    "ON CONFLICT(name) DO UPDATE SET definition = ?2, at = ?3",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name.p, name.n);
    db_bind_text(s, 2, definition.n > 0 ? definition.p : "", definition.n);
    db_bind_int(s, 3, at);
    return db_run(s, e);
}

/* What was decided by another declaration does not come through any more. */
static int declare_revise(struct db *db, struct text name, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db, "UPDATE job_schedules SET revision = revision + 1 WHERE name = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name.p, name.n);
    return db_run(s, e);
}

JOB_APPLY(job_apply_declare)
{
    struct jobs *j = self;
    struct text name = job_text(c, 1, JOB_NAME_MAX);
    struct text definition = job_text(c, 0, JOB_DEFINITION_BYTES);
    (void)version, (void)result;
    int rc = cursor_whole(c, "job.declare", e);
    if (rc == 0)
        rc = declare_compare(a->db, name, definition, e);
    if (rc < 0 || rc == DECLARED_SAME)
        return rc < 0 ? rc : 0;
    rc = rc == DECLARED_NEW ? declare_room(a->db, e) : 0;
    if (rc == 0)
        rc = declare_write(a->db, name, definition, a->at, e);
    if (rc == 0)
        rc = declare_revise(a->db, name, e);
    jobs_note(j, name.p, name.n);
    j->failing_noted = true;
    return rc;
}

/* ---- reading ---- */

int job_defs_read(struct db *db, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(json_unref) json_t *all = json_object();
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT name, definition FROM job_defs WHERE definition <> '' ORDER BY name", e);
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        size_t n;
        const char *text = db_col_text(s, 1, &n);
        json_t *v = json_read(text, n, e);
        if (v == NULL)
            return err_context(e, "job '%s'", db_col_text(s, 0, NULL));
        json_object_set_new(all, db_col_text(s, 0, NULL), v);
    }
    if (rc == 0)
        *out = TAKE(all);
    return rc;
}

/* With the declared name that it was to be, where one is near. */
static int declare_unknown(struct db *db, const char *name, struct err *e)
{
    char near[JOB_NAME_MAX + 1] = "";
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT name FROM job_defs WHERE definition <> '' ORDER BY name", e);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        const char *names[] = {near, db_col_text(s, 0, NULL)};
        if (str_nearest(name, names, 2) == names[1])
            str_copy(near, sizeof near, names[1]);
    }
    if (rc < 0)
        return rc;
    return err_set(e, ERR_NOT_FOUND,
                   *near != '\0' ? "no job '%s'; did you mean '%s'?" : "no job '%s'", name, near);
}

int job_def_row(struct db *db, const char *name, struct job_def *out, int64_t *at, struct err *e)
{
    AUTO(json_unref) json_t *v = NULL;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT definition, at FROM job_defs WHERE name = ?1", e);
    size_t n;
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return declare_unknown(db, name, e);
    const char *text = db_col_text(s, 0, &n);
    *at = db_col_int(s, 1);
    if (n == 0)
        return err_set(e, ERR_NOT_FOUND, "job '%s' is orphaned: no script declares it any more",
                       name);
    v = json_read(text, n, e);
    if (v == NULL || job_def_read(name, v, out, e) != 0)
        return err_context(e, "job '%s'", name);
    return 0;
}

int job_def_get(struct db *db, const char *name, struct job_def *out, struct err *e)
{
    struct err own = ERR_INIT;
    int64_t at;
    return job_def_row(db, name, out, &at, e != NULL ? e : &own);
}
