/* Runs: SQL that several files share. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "job/run_priv.h"

struct db_stmt *run_stmt(struct db *db, const char *sql, const struct uuid *id, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s != NULL)
        db_bind_blob(s, 1, id->b, sizeof id->b);
    return s;
}

struct uuid run_col_id(struct db_stmt *s, int at)
{
    struct uuid id = {{0}};
    size_t n = 0;
    const void *p = db_col_blob(s, at, &n);
    if (n == sizeof id.b)
        memcpy(id.b, p, n);
    return id;
}

static char *col_keep(struct db_stmt *s, int at)
{
    const char *text = db_col_text(s, at, NULL);
    return mem_strdup(text != NULL ? text : "");
}

static void load_run(struct db_stmt *s, const struct uuid *id, struct run_row *out)
{
    struct job_run *r = &out->run;
    r->id = *id;
    str_copy(r->job, sizeof r->job, db_col_text(s, 0, NULL));
    str_copy(r->schedule, sizeof r->schedule, db_col_text(s, 1, NULL));
    r->state = (enum job_run_state)db_col_int(s, 2);
    r->kind = (enum job_kind)db_col_int(s, 3);
    r->revision = (uint64_t)db_col_int(s, 4);
    out->flags = (uint32_t)db_col_int(s, 5);
    r->stopped = out->flags & RUN_STOPPED;
    r->terminated = out->flags & RUN_TERMINATED;
    r->has_window = !db_col_is_null(s, 6);
    r->from = db_col_int(s, 6);
    r->to = db_col_int(s, 7);
    r->scheduled_at = db_col_int(s, 8);
    r->has_fan = !db_col_is_null(s, 9);
    r->fan = run_col_id(s, 9);
    r->has_undo = !db_col_is_null(s, 10);
    r->undo = run_col_id(s, 10);
    r->steps = (uint32_t)db_col_int(s, 11);
    r->undoable = (uint32_t)db_col_int(s, 12);
    r->opened_at = db_col_int(s, 13);
    r->ended_at = db_col_int(s, 14);
}

static int load_texts(struct db_stmt *s, struct run_row *out, struct err *e)
{
    out->tenant = col_keep(s, 15);
    out->chain = col_keep(s, 16);
    out->correlation = col_keep(s, 17);
    if (db_col_is_null(s, 18))
        return 0;
    const void *args = db_col_blob(s, 18, &out->args_len);
    out->args = mem_try(out->args_len + 1);
    if (out->args == NULL)
        return err_set(e, ERR_NOMEM, "args of %zu bytes", out->args_len);
    if (out->args_len > 0)
        memcpy(out->args, args, out->args_len);
    return 0;
}

#define RUN_COLUMNS                                                                                \
    "job, schedule, state, kind, revision, flags, window_from, window_to, scheduled_at, fan, "     \
    "undo, steps, undoable, opened, ended"

int run_load(struct db *db, const struct uuid *id, bool texts, struct run_row *out, struct err *e)
{
    static const char *const shortly = "SELECT " RUN_COLUMNS " FROM job_runs WHERE id = ?1";
    static const char *const all =
        "SELECT " RUN_COLUMNS ", tenant, chain, correlation, args FROM job_runs WHERE id = ?1";
    memset(out, 0, sizeof *out);
    AUTO(db_stmt_donep) struct db_stmt *s = run_stmt(db, texts ? all : shortly, id, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    load_run(s, id, out);
    rc = texts ? load_texts(s, out, e) : 0;
    return rc < 0 ? rc : 1;
}

void run_row_fini(struct run_row *r)
{
    mem_free(r->tenant);
    mem_free(r->chain);
    mem_free(r->correlation);
    mem_free(r->args);
}

static void insert_bind(struct db_stmt *s, const struct run_new *n)
{
    db_bind_int(s, 2, (int64_t)core_fingerprint(&n->id));
    db_bind_str(s, 3, n->tenant);
    db_bind_text(s, 4, n->job.p, n->job.n);
    db_bind_text(s, 5, n->schedule.n > 0 ? n->schedule.p : "", n->schedule.n);
    db_bind_int(s, 6, n->kind);
    db_bind_text(s, 7, n->chain.n > 0 ? n->chain.p : "", n->chain.n);
    db_bind_text(s, 8, n->correlation.n > 0 ? n->correlation.p : "", n->correlation.n);
    db_bind_int(s, 9, n->at);
    if (n->has_window) {
        db_bind_int(s, 10, n->from);
        db_bind_int(s, 11, n->to);
        db_bind_int(s, 12, n->scheduled_at);
    } else {
        db_bind_null(s, 10);
        db_bind_null(s, 11);
        db_bind_null(s, 12);
    }
    if (n->has_fan)
        db_bind_blob(s, 13, n->fan.b, sizeof n->fan.b);
    else
        db_bind_null(s, 13);
    if (n->has_args)
        db_bind_blob(s, 14, n->args_len > 0 ? n->args : "", n->args_len);
    else
        db_bind_null(s, 14);
}

int run_insert(struct db *db, const struct run_new *n, struct err *e)
{
    struct db_stmt *s = run_stmt(
        db,
        "INSERT INTO job_runs(id, print, tenant, job, schedule, kind, chain, correlation, opened, "
        "window_from, window_to, scheduled_at, fan, args, state, revision, flags, undo, steps, "
        "undoable, ended) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1, "
        "1, 0, NULL, 0, 0, NULL)",
        &n->id, e);
    if (s == NULL)
        return e->code;
    insert_bind(s, n);
    return db_run(s, e);
}

int run_fan_load(struct db *db, const struct uuid *id, bool texts, struct run_fan *out,
                 struct err *e)
{
    memset(out, 0, sizeof *out);
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        run_stmt(db,
                 "SELECT parent, total, completed, discarded, cancelled, done, tenant, on_done, "
                 "args, correlation FROM job_fans WHERE id = ?1",
                 id, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    out->has_parent = !db_col_is_null(s, 0);
    out->parent = run_col_id(s, 0);
    out->total = (uint32_t)db_col_int(s, 1);
    out->ended[JOB_COMPLETED] = (uint32_t)db_col_int(s, 2);
    out->ended[JOB_DISCARDED] = (uint32_t)db_col_int(s, 3);
    out->ended[JOB_CANCELLED] = (uint32_t)db_col_int(s, 4);
    out->done = !db_col_is_null(s, 5);
    if (texts) {
        out->tenant = col_keep(s, 6);
        out->on_done = col_keep(s, 7);
        out->args = col_keep(s, 8);
        out->correlation = col_keep(s, 9);
    }
    return 1;
}

void run_fan_fini(struct run_fan *f)
{
    mem_free(f->tenant);
    mem_free(f->on_done);
    mem_free(f->args);
    mem_free(f->correlation);
}
