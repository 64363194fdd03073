/* Runs as readers see them. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "job/run_priv.h"

int job_run_find(struct db *db, const struct uuid *id, struct job_run *out, struct err *e)
{
    struct err own = ERR_INIT;
    struct run_row r;
    int rc = run_load(db, id, false, &r, e != NULL ? e : &own);
    *out = r.run;
    return rc;
}

static void step_row(struct db_stmt *s, struct job_step_row *out)
{
    *out = (struct job_step_row){.ordinal = (uint32_t)db_col_int(s, 0),
                                 .name = db_col_text(s, 1, NULL),
                                 .kind = (enum job_step_kind)db_col_int(s, 2),
                                 .undo = db_col_int(s, 3) != 0,
                                 .undone = db_col_int(s, 3) == 2,
                                 .at = db_col_int(s, 5)};
    out->result = db_col_text(s, 4, &out->result_len);
}

int job_step_find(struct db *db, const struct uuid *run, const char *name,
                  bool (*each)(void *arg, const struct job_step_row *s), void *arg, struct err *e)
{
    struct err own = ERR_INIT;
    struct job_step_row row;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(db,
                                 "SELECT ordinal, name, kind, undo, result, at FROM job_steps "
                                 "WHERE run = ?1 AND name = ?2",
                                 run, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 2, name);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    step_row(s, &row);
    each(arg, &row);
    return 1;
}

int job_steps_read(struct db *db, const struct uuid *run,
                   bool (*each)(void *arg, const struct job_step_row *s), void *arg, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(db,
                                 "SELECT ordinal, name, kind, undo, result, at FROM job_steps "
                                 "WHERE run = ?1 ORDER BY ordinal",
                                 run, e);
    int rc = s == NULL ? e->code : 1;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        struct job_step_row row;
        step_row(s, &row);
        if (!each(arg, &row))
            return 0;
    }
    return rc;
}

/* ---- for people ---- */

static const char *const run_kinds[] = {"submitted", "tick", "trigger", "backfill", "started"};

json_t *job_time_show(int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    return json_string(text);
}

static json_t *show_id(const struct uuid *id)
{
    char text[UUID_TEXT];
    uuid_format(id, text);
    return json_string(text);
}

static void show_row(const struct run_row *r, json_t *o)
{
    const struct job_run *run = &r->run;
    json_object_set_new(o, "job", json_string(run->job));
    json_object_set_new(o, "kind", json_string(run_kinds[run->kind]));
    if (*run->schedule != '\0')
        json_object_set_new(o, "schedule", json_string(run->schedule));
    if (run->has_window) {
        json_object_set_new(o, "scheduled_at", job_time_show(run->scheduled_at));
        json_object_set_new(o, "window",
                            json_pack("{s:o, s:o}", "from", job_time_show(run->from), "to",
                                      job_time_show(run->to)));
    }
    json_object_set_new(o, "opened_at", job_time_show(run->opened_at));
    if (run->ended_at != 0)
        json_object_set_new(o, "ended_at", job_time_show(run->ended_at));
    if (run->stopped)
        json_object_set_new(o, "cancel_asked", json_true());
    if (run->terminated)
        json_object_set_new(o, "terminated", json_true());
    if (run->has_fan)
        json_object_set_new(o, "fan", show_id(&run->fan));
    if (run->has_undo)
        json_object_set_new(o, "undo", show_id(&run->undo));
    if (*r->chain == '\0')
        return;
    AUTO(json_unref) json_t *chain = json_read(r->chain, strlen(r->chain), NULL);
    json_object_set(o, "chain", json_object_get(chain, "next"));
}

json_t *job_step_show(const struct job_step_row *s, bool whole)
{
    json_t *one = json_object();
    json_object_set_new(one, "name", json_string(s->name));
    if (s->kind == JOB_STEP_SLEEP)
        json_object_set_new(one, "kind", json_string("sleep"));
    json_t *result = whole && s->result_len > 0 ? json_read(s->result, s->result_len, NULL) : NULL;
    const json_t *until = s->kind == JOB_STEP_SLEEP ? json_object_get(result, "until") : NULL;
    if (json_is_integer(until))
        json_object_set_new(result, "until", job_time_show(json_integer_value(until)));
    if (result != NULL)
        json_object_set_new(one, "result", result);
    if (s->undo)
        json_object_set_new(one, "undo", json_string(s->undone ? "done" : "declared"));
    json_object_set_new(one, "at", job_time_show(s->at));
    return one;
}

static bool step_take(void *arg, const struct job_step_row *s)
{
    *(json_t **)arg = job_step_show(s, true);
    return true;
}

int job_step_get(struct db *db, const struct uuid *run, const char *name, json_t **out,
                 struct err *e)
{
    *out = NULL;
    return job_step_find(db, run, name, step_take, out, e);
}

static bool show_step(void *arg, const struct job_step_row *s)
{
    json_array_append_new(arg, job_step_show(s, true));
    return true;
}

static int show_notes(struct db *db, const struct uuid *id, json_t *o, struct err *e)
{
    size_t n = 0;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        run_stmt(db, "SELECT fraction, text, log, cut, at FROM job_notes WHERE run = ?1", id, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    json_t *progress = json_object();
    if (db_col_int(s, 0) != RUN_NO_FRACTION)
        json_object_set_new(progress, "fraction", json_real((double)db_col_int(s, 0) / 1e6));
    const char *text = db_col_text(s, 1, &n);
    if (n > 0)
        json_object_set_new(progress, "text", json_stringn(text, n));
    json_object_set_new(progress, "at", job_time_show(db_col_int(s, 4)));
    json_object_set_new(o, "progress", progress);
    text = db_col_text(s, 2, &n);
    json_object_set_new(o, "log", json_stringn(text, n));
    if (db_col_int(s, 3) > 0)
        json_object_set_new(o, "log_cut", json_integer(db_col_int(s, 3)));
    return 0;
}

static int show_fans(struct db *db, const struct uuid *id, json_t *o, struct err *e)
{
    static const char *const counts[] = {"total", "completed", "discarded", "cancelled"};
    AUTO(json_unref) json_t *list = json_array();
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(db,
                                 "SELECT total, completed, discarded, cancelled, on_done, done, id "
                                 "FROM job_fans WHERE parent = ?1 ORDER BY opened, id LIMIT 100",
                                 id, e);
    int rc = s == NULL ? e->code : 1;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        json_t *one = json_object();
        struct uuid fan = run_col_id(s, 6);
        json_object_set_new(one, "id", show_id(&fan));
        for (int i = 0; i < (int)ARRAY_LEN(counts); i++)
            json_object_set_new(one, counts[i], json_integer(db_col_int(s, i)));
        json_object_set_new(one, "on_done", json_string(db_col_text(s, 4, NULL)));
        if (!db_col_is_null(s, 5))
            json_object_set_new(one, "done_at", job_time_show(db_col_int(s, 5)));
        json_array_append_new(list, one);
    }
    if (rc == 0 && json_array_size(list) > 0)
        json_object_set(o, "fan_outs", list);
    return rc;
}

static int show_all(struct db *db, const struct uuid *id, json_t **out, struct err *e)
{
    struct run_row r;
    int rc = run_load(db, id, true, &r, e);
    if (rc <= 0) {
        run_row_fini(&r);
        return rc;
    }
    AUTO(json_unref) json_t *o = json_object(), *steps = json_array();
    show_row(&r, o);
    run_row_fini(&r);
    rc = job_steps_read(db, id, show_step, steps, e);
    if (json_array_size(steps) > 0)
        json_object_set(o, "steps", steps);
    if (rc == 0)
        rc = show_notes(db, id, o, e);
    if (rc == 0)
        rc = show_fans(db, id, o, e);
    if (rc == 0)
        rc = run_history_show(db, id, o, e);
    if (rc == 0)
        *out = TAKE(o);
    return rc;
}

int job_run_show(struct db *db, const struct uuid *id, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    *out = NULL;
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    rc = show_all(db, id, out, e);
    db_snapshot_end(db);
    return rc;
}
