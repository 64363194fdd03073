/* Steps and progress of runs, applied. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "job/run_priv.h"

/* The row, made when there is none; it must not have ended. */
static int run_open(const struct apply *a, const struct uuid *id, struct text job,
                    struct text correlation, struct run_row *r, struct err *e)
{
    int rc = run_load(a->db, id, false, r, e);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return r->run.state == JOB_RUN_OPEN ? 0
                                            : err_set(e, ERR_CONFLICT, "the run has ended already");
    struct run_new n = {
        .id = *id, .tenant = a->env->tenant, .job = job, .correlation = correlation, .at = a->at};
    rc = run_insert(a->db, &n, e);
    return rc == 0 && run_load(a->db, id, false, r, e) < 0 ? e->code : rc;
}

/* ---- job.step ---- */

struct step_op {
    struct uuid run;
    struct text job, name, correlation;
    uint32_t ordinal;
    uint8_t kind, flags;
    const void *result, *args;
    size_t result_len, args_len;
};

static int step_decode(struct cursor *c, struct step_op *o, struct err *e)
{
    memset(o, 0, sizeof *o);
    uuid_read(c, &o->run);
    o->job = job_text(c, 1, JOB_NAME_MAX);
    o->ordinal = cursor_u32(c);
    o->name = job_text(c, 1, JOB_STEP_NAME_BYTES);
    o->kind = cursor_u8(c);
    o->flags = cursor_u8(c);
    o->result = cursor_bytes(c, &o->result_len);
    o->correlation = job_text(c, 0, RUN_CORRELATION_BYTES);
    if ((o->flags & STEP_ARGS) != 0)
        o->args = cursor_bytes(c, &o->args_len);
    if (o->kind > JOB_STEP_SLEEP || (o->flags & ~STEP_KNOWN) != 0 || o->result == NULL ||
        o->result_len > JOB_RESULT_BYTES || o->args_len > RUN_ARGS_BYTES ||
        ((o->flags & STEP_ARGS) != 0 && o->args == NULL))
        c->bad = true;
    return cursor_whole(c, "job.step", e);
}

static int step_name_is_free(struct db *db, const struct step_op *o, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        run_stmt(db, "SELECT 1 FROM job_steps WHERE run = ?1 AND name = ?2", &o->run, e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 2, o->name.p, o->name.n);
    int rc = db_step(s, e);
    if (rc > 0)
        return err_field(e, ERR_CONFLICT, "name", "the run has a step '%.*s' already",
                         (int)o->name.n, o->name.p);
    return rc;
}

static int step_check(const struct apply *a, const struct step_op *o, const struct run_row *r,
                      struct err *e)
{
    if (r->run.state != JOB_RUN_OPEN)
        return err_set(e, ERR_CONFLICT, "the run has ended already");
    if (o->ordinal > JOB_STEPS_MAX)
        return err_set(e, ERR_TOO_LARGE, "a run has at most %d steps", JOB_STEPS_MAX);
    int rc = step_name_is_free(a->db, o, e);
    if (rc == 0 && o->ordinal != r->run.steps + 1)
        rc = err_set(e, ERR_CONFLICT, "the run has %u steps; this would be number %u", r->run.steps,
                     o->ordinal);
    return rc;
}

static int step_insert(const struct apply *a, const struct step_op *o, struct err *e)
{
    struct db_stmt *s = run_stmt(a->db,
                                 "INSERT INTO job_steps(run, ordinal, name, kind, undo, result, "
                                 "at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                 &o->run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, o->ordinal);
    db_bind_text(s, 3, o->name.p, o->name.n);
    db_bind_int(s, 4, o->kind);
    db_bind_int(s, 5, (o->flags & STEP_UNDO) != 0);
    db_bind_text(s, 6, o->result_len > 0 ? o->result : "", o->result_len);
    db_bind_int(s, 7, a->at);
    return db_run(s, e);
}

/* A step that wants to be undone changes what the end of the run means. */
static int step_count(const struct apply *a, const struct step_op *o, struct err *e)
{
    struct db_stmt *s = run_stmt(a->db,
                                 "UPDATE job_runs SET steps = steps + 1, undoable = undoable + ?2, "
                                 "revision = revision + ?2, args = coalesce(args, ?3) WHERE id = "
                                 "?1",
                                 &o->run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, (o->flags & STEP_UNDO) != 0);
    if (o->args != NULL)
        db_bind_blob(s, 3, o->args_len > 0 ? o->args : "", o->args_len);
    else
        db_bind_null(s, 3);
    return db_run(s, e);
}

JOB_APPLY(run_apply_step)
{
    struct step_op o;
    struct run_row r = {.run = {.state = JOB_RUN_OPEN}};
    (void)self, (void)version, (void)result;
    int rc = step_decode(c, &o, e);
    if (rc == 0)
        rc = run_load(a->db, &o.run, false, &r, e);
    if (rc == 0)
        r.run.state = JOB_RUN_OPEN;
    if (rc >= 0)
        rc = step_check(a, &o, &r, e);
    if (rc == 0)
        rc = run_open(a, &o.run, o.job, o.correlation, &r, e);
    if (rc == 0)
        rc = step_insert(a, &o, e);
    return rc == 0 ? step_count(a, &o, e) : rc;
}

/* ---- job.undone ---- */

static int step_undo(struct db *db, const struct uuid *run, uint32_t ordinal, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        run_stmt(db, "SELECT undo FROM job_steps WHERE run = ?1 AND ordinal = ?2", run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, ordinal);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || db_col_int(s, 0) != 1)
        return err_set(e, ERR_CONFLICT, "step %u of the run has nothing to undo, or is undone",
                       ordinal);
    return 0;
}

JOB_APPLY(run_apply_undone)
{
    struct uuid run;
    struct run_row r;
    (void)self, (void)version, (void)result;
    uuid_read(c, &run);
    uint32_t ordinal = cursor_u32(c);
    int rc = cursor_whole(c, "job.undone", e);
    if (rc == 0)
        rc = run_load(a->db, &run, false, &r, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || !r.run.has_undo)
        return err_set(e, ERR_CONFLICT, "the run is not being undone");
    if ((rc = step_undo(a->db, &run, ordinal, e)) != 0)
        return rc;
    struct db_stmt *s =
        run_stmt(a->db, "UPDATE job_steps SET undo = 2 WHERE run = ?1 AND ordinal = ?2", &run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, ordinal);
    if ((rc = db_run(s, e)) != 0)
        return rc;
    s = run_stmt(a->db, "UPDATE job_runs SET undoable = undoable - 1 WHERE id = ?1", &run, e);
    return s == NULL ? e->code : db_run(s, e);
}

/* ---- job.progress ---- */

struct progress_op {
    struct uuid run;
    struct text job, text, log;
    uint32_t fraction;
};

static int progress_decode(struct cursor *c, struct progress_op *o, struct err *e)
{
    size_t n = 0;
    memset(o, 0, sizeof *o);
    uuid_read(c, &o->run);
    o->job = job_text(c, 1, JOB_NAME_MAX);
    o->fraction = cursor_u32(c);
    const char *text = cursor_bytes(c, &n); /* NULL: as it was */
    if (text != NULL && (n > JOB_TEXT_BYTES || !str_is_utf8(text, n)))
        c->bad = true;
    o->text = (struct text){text, n};
    o->log = job_text(c, 0, JOB_LOG_BYTES);
    if (o->fraction > RUN_NO_FRACTION)
        c->bad = true;
    return cursor_whole(c, "job.progress", e);
}

/* What there is, to be written again with what is new. */
struct note {
    int64_t fraction, cut;
    struct buf text, log;
};

static int note_load(struct db *db, const struct uuid *run, struct note *n, struct err *e)
{
    size_t len = 0;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        run_stmt(db, "SELECT fraction, text, log, cut FROM job_notes WHERE run = ?1", run, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    n->fraction = db_col_int(s, 0);
    n->cut = db_col_int(s, 3);
    const char *text = db_col_text(s, 1, &len);
    buf_add(&n->text, text, len);
    text = db_col_text(s, 2, &len);
    buf_add(&n->log, text, len);
    return 0;
}

/* The newest bytes, from a line's begin on where there is one. */
static void note_cut(struct note *n)
{
    if (n->log.len <= JOB_LOG_BYTES)
        return;
    size_t cut = n->log.len - JOB_LOG_BYTES;
    while (cut < n->log.len && ((unsigned char)n->log.data[cut] & 0xc0) == 0x80)
        cut++;
    const char *line = memchr(n->log.data + cut, '\n', n->log.len - cut);
    if (n->log.data[cut - 1] != '\n' && line != NULL)
        cut = (size_t)(line + 1 - n->log.data);
    n->cut += (int64_t)cut;
    buf_consume(&n->log, cut);
}

static int note_store(const struct apply *a, const struct uuid *run, const struct note *n,
                      struct err *e)
{
    struct db_stmt *s = run_stmt(a->db,
                                 "INSERT OR REPLACE INTO job_notes(run, fraction, text, log, cut, "
                                 "at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                                 run, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, n->fraction);
    db_bind_text(s, 3, buf_str(&n->text), n->text.len);
    db_bind_text(s, 4, buf_str(&n->log), n->log.len);
    db_bind_int(s, 5, n->cut);
    db_bind_int(s, 6, a->at);
    return db_run(s, e);
}

JOB_APPLY(run_apply_progress)
{
    struct progress_op o;
    struct run_row r;
    struct note n = {.fraction = RUN_NO_FRACTION};
    (void)self, (void)version, (void)result;
    buf_init(&n.text, JOB_TEXT_BYTES + 1);
    buf_init(&n.log, 2 * JOB_LOG_BYTES + 1);
    int rc = progress_decode(c, &o, e);
    if (rc == 0)
        rc = run_open(a, &o.run, o.job, (struct text){"", 0}, &r, e);
    if (rc == 0)
        rc = note_load(a->db, &o.run, &n, e);
    if (rc == 0) {
        if (o.fraction != RUN_NO_FRACTION)
            n.fraction = o.fraction;
        if (o.text.p != NULL)
            buf_reset(&n.text);
        buf_add(&n.text, o.text.p, o.text.n);
        buf_add(&n.log, o.log.p, o.log.n);
        note_cut(&n);
        rc = buf_check(&n.log, "the log of a run", e);
        if (rc == 0)
            rc = note_store(a, &o.run, &n, e);
    }
    buf_fini(&n.text);
    buf_fini(&n.log);
    return rc;
}
