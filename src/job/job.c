/* Job: the domain, and its life. */
#include "job/job.h"

#include "base/map.h"
#include "base/mem.h"
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
    (void)seq, (void)at;
    map_clear(j->noted, NULL);
}

struct jobs *jobs_new(void)
{
    struct jobs *j = mem_new(sizeof *j);
    j->noted = map_new();
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
}

void jobs_stop(struct jobs *j)
{
    runs_stop(j);
    j->world = NULL;
}
