/* Job: the domain, and its life. */
#include "job/job.h"

#include "base/map.h"
#include "base/mem.h"
#include "job/clock_priv.h"
#include "job/job_priv.h"
#include "job/run_priv.h"

static int job_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct jobs *)self)->db = db;
    return 0;
}

/* What is noted of a unit that is rolled back stays: looking once more harms nobody. */
void jobs_note(struct jobs *j, const char *name, size_t n)
{
    map_put(j->noted, name, n, j);
}

static void job_committed(void *self, uint64_t seq, int64_t at)
{
    struct jobs *j = self;
    (void)seq;
    job_clock_committed(j, at);
    map_clear(j->noted, NULL);
}

struct jobs *jobs_new(void)
{
    struct jobs *j = mem_new(sizeof *j);
    j->noted = map_new();
    j->clock = job_clock_new(j);
    j->domain = (struct domain){.name = "job",
                                .self = j,
                                .ops = job_ops,
                                .ops_count = job_ops_count,
                                .opened = job_opened,
                                .committed = job_committed};
    runs_init(j);
    return j;
}

void jobs_free(struct jobs *j)
{
    if (j == NULL)
        return;
    runs_fini(j);
    job_clock_free(j->clock);
    map_free(j->noted, NULL);
    mem_free(j);
}

const struct domain *jobs_domain(struct jobs *j)
{
    return &j->domain;
}

void jobs_start(struct jobs *j, const struct jobs_options *o)
{
    j->ledger = o->ledger;
    j->queues = o->queues;
    j->world = o->world;
    j->health = o->health;
    runs_start(j);
    job_clock_start(j, o);
}

void jobs_stop(struct jobs *j)
{
    job_clock_stop(j);
    runs_stop(j);
}

void jobs_ready(struct jobs *j)
{
    j->clock->ready.run = job_start_ready;
    runner_post(j->world->runner, &j->clock->ready);
}
