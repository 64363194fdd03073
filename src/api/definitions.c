/* A definition and how far what belongs to it has come: GET /api/cluster/entities/{name}. What
 * definitions took away and is kept: GET /api/cluster/kept. */
#include "api/api_priv.h"
#include "base/mem.h"
#include "entity/build.h"
#include "entity/kept.h"

struct definition_job {
    struct api_job job;     /* first */
    struct entity_def *def; /* NULL: what is kept */
    json_t *answer;
};

static void definition_run(struct api_job *j, struct db *db)
{
    struct definition_job *d = (struct definition_job *)j;
    d->answer = d->def != NULL ? entity_build_json(db, d->def, &j->err)
                               : entity_kept_json(db, NULL, &j->err);
}

static void definition_done(struct api_job *j)
{
    struct definition_job *d = (struct definition_job *)j;
    struct http_request *req = j->req;
    json_t *answer = d->answer;
    struct err e = j->err;
    entity_def_unref(d->def);
    mem_free(d);
    if (answer == NULL)
        http_problem(req, &e);
    else
        api_answer_json(req, 200, answer);
}

static void definition_now(struct http_request *req)
{
    struct entities *s = api_thread_of(req)->api->o.entities;
    const char *name = http_param(req, "name");
    struct entity_def *def = entities_find(s, name);
    struct err e = ERR_INIT;
    if (def == NULL)
        def = entities_find_path(s, name);
    if (def == NULL) {
        entities_unknown(s, name, &e);
        http_problem(req, &e);
        return;
    }
    struct definition_job *d = mem_new(sizeof *d);
    d->def = def;
    d->job.run = definition_run;
    d->job.done = definition_done;
    api_job_start(&d->job, req);
}

static void definition_get(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        api_read(req, definition_now);
}

static void kept_now(struct http_request *req)
{
    struct definition_job *d = mem_new(sizeof *d);
    d->job.run = definition_run;
    d->job.done = definition_done;
    api_job_start(&d->job, req);
}

static void kept_get(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        api_read(req, kept_now);
}

static const struct http_route definitions_table[] = {
    {HTTP_VERB_GET, "/api/cluster/kept", kept_get, 0, 0},
    {HTTP_VERB_GET, "/api/cluster/entities/:name", definition_get, 0, 0},
};
const struct api_routes api_definitions_routes = {definitions_table, ARRAY_LEN(definitions_table)};
