/* What schedules and jobs say about themselves: decisions counted, and critical jobs that fail. */
#include <stdio.h>

#include "base/buf.h"
#include "base/health.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/time.h"
#include "db/db.h"
#include "job/clock_priv.h"

enum { TELL_ROWS_MAX = 20 };

void job_tell_decided(const struct job_decided *d, int64_t late_ms)
{
    char label[64];
    snprintf(label, sizeof label, "decision=\"%s\"", schedule_verdict_name(d->verdict));
    stat_add(stat_counter("koan_schedule_decisions_total", label,
                          "Decisions about due times of schedules, by what was decided"),
             1);
    stat_record(stat_histogram("koan_schedule_delay_seconds", "",
                               "From the moment that a decision was due to its commit"),
                (uint64_t)(late_ms > 0 ? late_ms : 0) * 1000000);
}

/* "job 'x' failed 3 times, since ..", those that are critical. */
static int tell_failing(struct jobs *j, struct buf *text, int64_t *count, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        j->db,
        "SELECT f.name, f.failures, f.since FROM job_failing AS f JOIN job_defs AS d ON d.name = "
        "f.name WHERE CASE WHEN d.definition = '' THEN 0 ELSE json_extract(d.definition, "
        "'$.critical') = 1 END ORDER BY f.since, f.name",
        e);
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        char since[TIME_TEXT];
        time_format(db_col_int(s, 2), since);
        if ((*count)++ < TELL_ROWS_MAX)
            buf_addf(text, "%scritical job '%s' fails since %s, %lld in a row",
                     text->len > 0 ? "; " : "", db_col_text(s, 0, NULL), since,
                     (long long)db_col_int(s, 1));
    }
    return rc;
}

static void tell_health(struct jobs *j)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT(8 << 10);
    int64_t failing = 0;
    if (tell_failing(j, &text, &failing, &e) != 0) {
        health_report(j->health, "jobs", HEALTH_DEGRADED, 0, e.text, NULL);
        return;
    }
    size_t schedules = map_count(j->clock->items);
    health_report(j->health, "jobs", failing > 0 ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0,
                  failing > 0 ? buf_str(&text) : NULL,
                  json_pack("{s:I, s:I}", "critical_failing", (json_int_t)failing, "schedules",
                            (json_int_t)schedules));
    stat_set(stat_gauge("koan_schedules", "", "Schedules that are declared"), (int64_t)schedules);
    stat_set(stat_gauge("koan_jobs_critical_failing", "",
                        "Critical jobs of which the last run that ended has failed"),
             failing);
}

void job_tell(struct jobs *j, bool now)
{
    int64_t at = (int64_t)(j->world->mono_ns(j->world) / 1000000);
    if (!now && at - j->clock->told < CLOCK_TELL_MS)
        return;
    j->clock->told = at;
    tell_health(j);
}
