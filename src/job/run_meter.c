/* How many runs have ended, by job, and how long they took: told by the queue, so that it makes no
 * difference who worked them. In a cluster by who leads, each once.
 *
 * Names are data: the first RUN_METERS_MAX that end since the start have series of their own, the
 * rest counts as one. */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "job/run_priv.h"

struct run_meter {
    struct stat_counter *ended[JOB_CANCELLED + 1]; /* by outcome; [0] is not used */
    struct stat_histogram *took;
};

static void meter_free(void *value)
{
    mem_free(value);
}

void run_meters_free(struct map *m)
{
    map_free(m, meter_free);
}

static struct run_meter *meter_new(const char *job)
{
    char labels[JOB_NAME_MAX + 64];
    struct run_meter *m = mem_new(sizeof *m);
    bool own = *job != '\0';
    for (int o = JOB_COMPLETED; o <= JOB_CANCELLED; o++) {
        snprintf(labels, sizeof labels, "job=\"%s\",outcome=\"%s\"", job,
                 job_outcome_name((enum job_outcome)o));
        m->ended[o] = stat_counter("koan_job_runs_total", own ? labels : "other=\"true\"",
                                   "Runs of jobs that have ended");
    }
    snprintf(labels, sizeof labels, "job=\"%s\"", job);
    m->took = stat_histogram_long("koan_job_run_seconds", own ? labels : "other=\"true\"",
                                  "How long the execution took that ended a run");
    return m;
}

static struct run_meter *meter_of(struct map *all, const char *job)
{
    size_t n = strlen(job);
    struct run_meter *m = map_get(all, job, n);
    if (m != NULL)
        return m;
    if (map_count(all) >= RUN_METERS_MAX || job_name_check(job, NULL) != 0) {
        job = "";
        n = 0;
        if ((m = map_get(all, job, n)) != NULL)
            return m;
    }
    m = meter_new(job);
    map_put(all, job, n, m);
    return m;
}

/* It executed when it ended; else its last execution was another's affair. */
static bool ended_at_work(const struct core_effect *f)
{
    return f->state == REC_COMPLETED ||
           (f->state == REC_DISCARDED &&
            (f->reason == REASON_REJECTED || f->reason == REASON_ATTEMPTS ||
             f->reason == REASON_TIMEOUT || f->reason == REASON_LAPSED));
}

void run_metered(struct map *all, const struct core_effect *f, enum job_outcome outcome, int64_t at)
{
    struct run_meter *m = meter_of(all, f->queue + sizeof "job." - 1);
    stat_add(m->ended[outcome], 1);
    if (f->granted_at > 0 && ended_at_work(f))
        stat_record(m->took, (uint64_t)(at > f->granted_at ? at - f->granted_at : 0) * 1000 * 1000);
}
