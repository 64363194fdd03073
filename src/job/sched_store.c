/* All SQL that writes schedules, and what it needs to read. */
#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "job/job_priv.h"

enum { TICKS_SWEPT = 10 }; /* of any schedule past their time, with each decision */

void job_row_fini(struct job_row *r)
{
    mem_free(r->spec);
    mem_free(r->pause_by);
    mem_free(r->pause_reason);
    *r = (struct job_row){.revision = 0};
}

static int64_t or_never(struct db_stmt *s, int at)
{
    return db_col_is_null(s, at) ? SCHEDULE_NEVER : db_col_int(s, at);
}

int job_row_get(struct db *db, struct text name, struct job_row *out, struct err *e)
{
    *out = (struct job_row){.revision = 0};
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT revision, tick, spec, pause_by, pause_reason, paused_at, since, decided, covered, "
        "window, ended, deferred, running, waiting, failures, paused FROM job_schedules WHERE name "
        "= ?1",
        e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name.p, name.n);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    *out = (struct job_row){
        .revision = (uint64_t)db_col_int(s, 0),
        .tick = (uint64_t)db_col_int(s, 1),
        .spec = mem_strdup(db_col_text(s, 2, NULL)),
        .pause_by = mem_strdup(db_col_text(s, 3, NULL)),
        .pause_reason = mem_strdup(db_col_text(s, 4, NULL)),
        .paused_at = db_col_int(s, 5),
        .state = {.since = db_col_int(s, 6),
                  .decided = db_col_int(s, 7),
                  .covered = db_col_int(s, 8),
                  .from = db_col_int(s, 9),
                  .ended = or_never(s, 10),
                  .deferred = or_never(s, 11),
                  .running = (uint32_t)db_col_int(s, 12),
                  .waiting = (uint32_t)db_col_int(s, 13),
                  .failures = (uint32_t)db_col_int(s, 14),
                  .paused = db_col_int(s, 15) != 0},
    };
    return 1;
}

static void bind_time(struct db_stmt *s, int at, int64_t ms)
{
    if (ms == SCHEDULE_NEVER)
        db_bind_null(s, at);
    else
        db_bind_int(s, at, ms);
}

int job_row_put(struct db *db, const struct job_change *ch, uint64_t tick, struct err *e)
{
    const struct schedule_state *st = &ch->state;
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT OR REPLACE INTO job_schedules(name, revision, spec, since, decided, covered, "
        "window, ended, deferred, running, waiting, failures, paused, pause_by, pause_reason, "
        "paused_at, tick) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, "
        "?15, ?16, ?17)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, ch->name.p, ch->name.n);
    db_bind_int(s, 2, (int64_t)ch->revision + 1);
    db_bind_text(s, 3, ch->spec.p, ch->spec.n);
    db_bind_int(s, 4, st->since);
    db_bind_int(s, 5, st->decided);
    db_bind_int(s, 6, st->covered);
    db_bind_int(s, 7, st->from);
    bind_time(s, 8, st->ended);
    bind_time(s, 9, st->deferred);
    db_bind_int(s, 10, st->running);
    db_bind_int(s, 11, st->waiting);
    db_bind_int(s, 12, st->failures);
    db_bind_int(s, 13, st->paused);
    db_bind_text(s, 14, ch->pause_by.n > 0 ? ch->pause_by.p : "", ch->pause_by.n);
    db_bind_text(s, 15, ch->pause_reason.n > 0 ? ch->pause_reason.p : "", ch->pause_reason.n);
    db_bind_int(s, 16, ch->paused_at);
    db_bind_int(s, 17, (int64_t)tick);
    return db_run(s, e);
}

/* ---- decisions ---- */

static int tick_sweep(struct db *db, struct text name, uint64_t tick, int64_t at, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM job_ticks WHERE name = ?1 AND tick <= ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name.p, name.n);
    db_bind_int(s, 2, (int64_t)tick - JOB_TICKS_KEPT);
    int rc = db_run(s, e);
    if (rc != 0)
        return rc;
    s = db_stmt_get(db,
                    "DELETE FROM job_ticks WHERE rowid IN (SELECT rowid FROM job_ticks WHERE at < "
                    "?1 ORDER BY at, name, tick LIMIT ?2)",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, at - JOB_TICKS_KEEP_MS);
    db_bind_int(s, 2, TICKS_SWEPT);
    return db_run(s, e);
}

int job_tick_put(struct db *db, const struct job_change *ch, uint64_t tick, int64_t at,
                 struct err *e)
{
    const struct job_tick *k = &ch->tick;
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT INTO job_ticks(name, tick, at, kind, verdict, reason, due, window_from, window_to, "
        "opening, ticks, runs, run, author) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
        "?12, ?13, ?14)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, ch->name.p, ch->name.n);
    db_bind_int(s, 2, (int64_t)tick);
    db_bind_int(s, 3, at);
    db_bind_int(s, 4, k->kind);
    db_bind_int(s, 5, k->verdict);
    db_bind_text(s, 6, k->reason.p, k->reason.n);
    db_bind_int(s, 7, k->due);
    db_bind_int(s, 8, k->from);
    db_bind_int(s, 9, k->to);
    bind_time(s, 10, k->opening);
    db_bind_int(s, 11, k->ticks);
    db_bind_int(s, 12, k->runs);
    if (k->runs > 0)
        db_bind_blob(s, 13, k->run.b, sizeof k->run.b);
    else
        db_bind_null(s, 13);
    db_bind_text(s, 14, k->author.n > 0 ? k->author.p : "", k->author.n);
    int rc = db_run(s, e);
    return rc == 0 ? tick_sweep(db, ch->name, tick, at, e) : rc;
}

/* ---- runs that a schedule waits for ---- */

int job_made_put(struct db *db, const struct job_change *ch, uint64_t tick, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "INSERT INTO job_schedule_runs(run, name, place, due, waiting, "
                                    "outcome, ended) VALUES(?1, ?2, ?3, ?4, ?5, 0, NULL)",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 1, ch->tick.run.b, sizeof ch->tick.run.b);
    db_bind_text(s, 2, ch->name.p, ch->name.n);
    db_bind_int(s, 3, (int64_t)tick);
    db_bind_int(s, 4, ch->tick.due);
    db_bind_int(s, 5, ch->waits);
    return db_run(s, e);
}

/* The statement changes one row, or the schedule is another than was thought. */
static int runs_one(struct db *db, const char *sql, struct text name, const struct uuid *run,
                    struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 1, run->b, sizeof run->b);
    db_bind_text(s, 2, name.p, name.n);
    int rc = db_run(s, e);
    if (rc == 0 && db_changes(db) != 1)
        return err_set(e, ERR_CONFLICT, "a run of schedule '%.*s' is over meanwhile: read it again",
                       (int)name.n, name.p);
    return rc;
}

int job_gone(struct db *db, struct text name, const struct uuid *run, struct err *e)
{
    return runs_one(db, "DELETE FROM job_schedule_runs WHERE run = ?1 AND name = ?2", name, run, e);
}

int job_started(struct db *db, struct text name, const struct uuid *run, struct err *e)
{
    return runs_one(db,
                    "UPDATE job_schedule_runs SET waiting = 0 WHERE run = ?1 AND name = ?2 AND "
                    "waiting = 1 AND outcome = 0",
                    name, run, e);
}

int job_runs_match(struct db *db, const struct job_change *ch, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT count(*), coalesce(sum(waiting), 0) FROM "
                                    "job_schedule_runs WHERE name = ?1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, ch->name.p, ch->name.n);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    int64_t all = db_col_int(s, 0), waiting = db_col_int(s, 1);
    if (waiting == ch->state.waiting && all == waiting + ch->state.running)
        return 0;
    return err_set(e, ERR_INVALID, "job.schedule: '%.*s' has other runs than its state says",
                   (int)ch->name.n, ch->name.p);
}

int job_waited_list(struct db *db, const char *name, struct job_waited *out, size_t max,
                    struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT run, due, ended, waiting, outcome FROM "
                                    "job_schedule_runs WHERE name = ?1 ORDER BY place LIMIT ?2",
                                    e);
    int rc = 1, count = 0;
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    db_bind_int(s, 2, (int64_t)max);
    while ((rc = db_step(s, e)) > 0) {
        size_t n;
        const void *run = db_col_blob(s, 0, &n);
        struct job_waited *w = &out[count++];
        *w = (struct job_waited){.due = db_col_int(s, 1),
                                 .ended = db_col_int(s, 2),
                                 .waits = db_col_int(s, 3) != 0,
                                 .outcome = (enum job_outcome)db_col_int(s, 4)};
        if (n != sizeof w->run.b)
            return err_set(e, ERR_CORRUPT, "a run of schedule '%s' has no id", name);
        memcpy(w->run.b, run, n);
    }
    return rc < 0 ? rc : count;
}
