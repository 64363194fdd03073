/* Schedules as JSON, for people. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "job/job_priv.h"

enum { SHOWN_BYTES = 1024 };

/* "2026-03-29T02:30:00+01:00" */
static json_t *show_local(const struct zone *z, int64_t ms)
{
    struct time_parts p;
    int64_t offset = zone_local(z, ms) - ms;
    int minutes = (int)(offset / 60000);
    time_split(ms + offset, &p);
    return json_sprintf("%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", p.year, p.month, p.day, p.hour,
                        p.minute, p.second, minutes < 0 ? '-' : '+', abs(minutes) / 60,
                        abs(minutes) % 60);
}

static json_t *show_id(const void *b, size_t n)
{
    struct uuid u;
    char text[UUID_TEXT];
    if (n != sizeof u.b)
        return json_null();
    memcpy(u.b, b, n);
    uuid_format(&u, text);
    return json_string(text);
}

/* ---- decisions ---- */

#define TICK_COLUMNS                                                                               \
    "tick, at, kind, verdict, reason, due, window_from, window_to, opening, ticks, runs, run, "    \
    "author"

static json_t *show_tick(struct db_stmt *s)
{
    static const char *const kinds[] = {[JOB_TICK_DUE] = "due",
                                        [JOB_TICK_TRIGGERED] = "trigger",
                                        [JOB_TICK_BACKFILLED] = "backfill"};
    size_t n;
    json_t *o =
        json_pack("{s:I, s:o, s:s, s:s, s:s, s:o, s:{s:o, s:o}, s:I, s:I}", "tick",
                  (json_int_t)db_col_int(s, 0), "at", job_time_show(db_col_int(s, 1)), "kind",
                  kinds[db_col_int(s, 2)], "decision",
                  schedule_verdict_name((enum schedule_verdict)db_col_int(s, 3)), "reason",
                  db_col_text(s, 4, NULL), "due", job_time_show(db_col_int(s, 5)), "window", "from",
                  job_time_show(db_col_int(s, 6)), "to", job_time_show(db_col_int(s, 7)), "ticks",
                  (json_int_t)db_col_int(s, 9), "runs", (json_int_t)db_col_int(s, 10));
    if (!db_col_is_null(s, 8))
        json_object_set_new(o, "opening", job_time_show(db_col_int(s, 8)));
    const void *run = db_col_blob(s, 11, &n);
    if (run != NULL)
        json_object_set_new(o, "run", show_id(run, n));
    if (*db_col_text(s, 12, NULL) != '\0')
        json_object_set_new(o, "by", json_string(db_col_text(s, 12, NULL)));
    return o;
}

int job_tick_show(struct db *db, const char *name, uint64_t tick, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT " TICK_COLUMNS " FROM job_ticks WHERE name = ?1 AND tick = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    db_bind_int(s, 2, (int64_t)tick);
    int rc = db_step(s, e);
    if (rc == 0)
        return err_set(e, ERR_GONE, "decision %llu of schedule '%s' is no longer kept",
                       (unsigned long long)tick, name);
    if (rc > 0)
        *out = show_tick(s);
    return rc < 0 ? rc : 0;
}

/* The newest first. */
static int show_ticks(struct db *db, const char *name, size_t max, json_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT " TICK_COLUMNS " FROM job_ticks WHERE name = ?1 "
                                    "ORDER BY tick DESC LIMIT ?2",
                                    e);
    int rc = 1;
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    db_bind_int(s, 2, (int64_t)max);
    while ((rc = db_step(s, e)) > 0)
        json_array_append_new(out, show_tick(s));
    return rc;
}

static int show_runs(struct db *db, const char *name, json_t *out, struct err *e)
{
    AUTO(mem_freep) struct job_waited *list = mem_try(JOB_WAITED_MAX * sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_NOMEM, "no memory to show schedule '%s'", name);
    int count = job_waited_list(db, name, list, JOB_WAITED_MAX, e);
    for (int i = 0; i < count; i++)
        if (list[i].outcome == 0)
            json_array_append_new(out,
                                  json_pack("{s:o, s:o, s:b}", "id",
                                            show_id(list[i].run.b, sizeof list[i].run.b), "due",
                                            job_time_show(list[i].due), "waiting", list[i].waits));
    return count < 0 ? count : 0;
}

/* ---- what comes ---- */

static json_t *show_due(const struct schedule *s, int64_t due, int64_t at)
{
    static const char *const words[] = {
        [HOURS_OPEN] = "open", [HOURS_OUTSIDE] = "outside", [HOURS_BLACKOUT] = "blackout"};
    enum hours_state state = hours_at(&s->hours, &s->zone, at);
    int64_t opening;
    json_t *o =
        json_pack("{s:o, s:o, s:o, s:s}", "due", job_time_show(due), "at", job_time_show(at),
                  "local", show_local(&s->zone, at), "hours", words[state]);
    if (state != HOURS_OPEN && s->defer && hours_opening(&s->hours, &s->zone, at, &opening))
        json_object_set_new(o, "opening", job_time_show(opening));
    return o;
}

/* By definition, whether it is paused or not; of `after` only what is known. */
static void show_coming(const struct job_schedule *s, const struct job_schedule_look *l,
                        json_t *out)
{
    const struct schedule *of = &s->def.schedule;
    struct schedule_due next;
    if (of->kind == SCHEDULE_AFTER) {
        if (l->next > 0 && schedule_next(of, &s->state, &next))
            json_array_append_new(out, show_due(of, next.due, next.at));
        return;
    }
    int64_t due = l->now > s->state.decided ? l->now : s->state.decided;
    for (size_t i = 0; i < l->next && schedule_due_after(of, due, &due); i++)
        json_array_append_new(out, show_due(of, due, due + schedule_jitter(of, due)));
}

/* ---- a schedule ---- */

static void show_pause(const struct job_schedule *s, json_t *out)
{
    if (!s->state.paused)
        return;
    json_t *o =
        json_pack("{s:o, s:s}", "at", job_time_show(s->paused_at), "reason", s->pause_reason);
    if (*s->pause_by != '\0')
        json_object_set_new(o, "by", json_string(s->pause_by));
    json_object_set_new(out, "pause", o);
}

/* What a list says of each. */
static int show_short(struct db *db, const struct job_schedule *s, json_t **out, struct err *e)
{
    AUTO(buf_fini) struct buf words = BUF_INIT(SHOWN_BYTES);
    AUTO(json_unref) json_t *last = json_array();
    struct schedule_due next;
    schedule_print(&s->def.schedule, &words);
    int rc = show_ticks(db, s->def.name, 1, last, e);
    if (rc != 0)
        return rc;
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I}", "name", s->def.name, "schedule",
                  buf_str(&words), "state", s->state.paused ? "paused" : "active", "critical",
                  s->def.critical, "running", (json_int_t)s->state.running, "waiting",
                  (json_int_t)s->state.waiting, "failures", (json_int_t)s->state.failures);
    if (schedule_next(&s->def.schedule, &s->state, &next))
        json_object_set_new(o, "next", job_time_show(next.at));
    if (json_array_size(last) > 0)
        json_object_set(o, "last", json_array_get(last, 0));
    show_pause(s, o);
    *out = o;
    return 0;
}

static int show_whole(struct db *db, const struct job_schedule *s,
                      const struct job_schedule_look *l, json_t **out, struct err *e)
{
    AUTO(json_unref) json_t *o = NULL;
    int rc = show_short(db, s, &o, e);
    if (rc != 0)
        return rc;
    json_t *coming = json_array(), *runs = json_array(), *ticks = json_array();
    json_object_set(o, "definition", s->def.json);
    json_object_set_new(o, "overlap", json_string(schedule_overlap_name(s->def.schedule.overlap)));
    json_object_set_new(o, "since", job_time_show(s->state.since));
    json_object_set_new(o, "covered", job_time_show(s->state.covered));
    json_object_set_new(o, "coming", coming);
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "ticks", ticks);
    show_coming(s, l, coming);
    if ((rc = show_runs(db, s->def.name, runs, e)) == 0 &&
        (rc = show_ticks(db, s->def.name, l->ticks, ticks, e)) == 0)
        *out = TAKE(o);
    return rc;
}

int job_schedule_show(struct db *db, const char *name, const struct job_schedule_look *l,
                      json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    struct job_schedule s;
    e = e != NULL ? e : &own;
    int rc = job_schedule_get(db, name, &s, e);
    if (rc != 0)
        return rc;
    rc = show_whole(db, &s, l, out, e);
    job_schedule_fini(&s);
    return rc;
}

/* One row of the list; nothing when the job has no schedule. */
static int list_add(struct db *db, const char *name, json_t *list, struct err *e)
{
    struct job_schedule s;
    json_t *o = NULL;
    int rc = job_schedule_get(db, name, &s, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc != 0)
        return rc;
    rc = show_short(db, &s, &o, e);
    if (rc == 0)
        json_array_append_new(list, o);
    job_schedule_fini(&s);
    return rc;
}

int job_schedules_list(struct db *db, const char *after, size_t limit, json_t **out, bool *more,
                       struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(json_unref) json_t *list = json_array();
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT name FROM job_defs WHERE name > ?1 AND CASE WHEN definition = '' THEN 0 ELSE "
        "coalesce(json_extract(definition, '$.cron'), json_extract(definition, '$.every'), "
        "json_extract(definition, '$.after')) IS NOT NULL END ORDER BY name LIMIT ?2",
        e);
    int rc = 1;
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, after != NULL ? after : "");
    db_bind_int(s, 2, (int64_t)limit + 1);
    while ((rc = db_step(s, e)) > 0 && json_array_size(list) < limit)
        if ((rc = list_add(db, db_col_text(s, 0, NULL), list, e)) != 0)
            return rc;
    *more = rc > 0;
    if (rc < 0)
        return rc;
    *out = TAKE(list);
    return 0;
}
