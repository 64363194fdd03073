/* What a set declares of jobs against what there is, so that a start that changes nothing writes
 * nothing. The queues of jobs are declared as those of the set are: queue_deploy.c. */
#include "bind/job_deploy.h"

#include <string.h>

#include "base/mem.h"
#include "bind/job_lib.h"
#include "job/job.h"

static bool is_same(const json_t *a, const json_t *b)
{
    AUTO(mem_freep) char *one = bind_json_text(a);
    AUTO(mem_freep) char *other = bind_json_text(b);
    return strcmp(one, other) == 0;
}

static int add_declared(const struct bind_set *set, const json_t *there, struct txn *t,
                        struct err *e)
{
    for (size_t i = 0; set->jobs != NULL && i < set->jobs->count; i++) {
        const struct job_def *d = &set->jobs->list[i]->def;
        const json_t *had = json_object_get(there, d->name);
        if (had != NULL && is_same(had, d->json))
            continue;
        if (job_txn_declare(t, d->name, d->json, e) != 0)
            return err_context(e, "%s", set->jobs->list[i]->where);
    }
    return 0;
}

int bind_jobs_add(struct bind *b, const struct bind_set *set, struct txn *t, struct err *e)
{
    AUTO(json_unref) json_t *there = NULL;
    const char *name;
    json_t *definition;
    if (b->queues == NULL)
        return 0;
    if (job_defs_read(b->threads[0].reader, &there, e) != 0 || add_declared(set, there, t, e) != 0)
        return e->code;
    json_object_foreach(there, name, definition)
    {
        if (bind_set_job(set, name) == NULL && job_txn_declare(t, name, NULL, e) != 0)
            return e->code;
    }
    return 0;
}
