/* GET /api/jobs/{id}/steps: what is stored of a run, in order; .../{name}: one of them. */
#include "api/jobs_priv.h"
#include "base/json.h"
#include "base/mem.h"

enum { STEPS_BYTES = 4 << 20 }; /* of results in one answer; past it they are read one by one */

struct steps_show {
    struct queue_looking look; /* first */
    struct api_job job;
    struct http_request *req;
    struct queue_shown shown;
    json_t *list;
    size_t bytes;
};

static bool steps_add(void *arg, const struct job_step_row *row)
{
    struct steps_show *s = arg;
    s->bytes += row->result_len;
    json_t *one = job_step_show(row, s->bytes <= STEPS_BYTES);
    if (s->bytes > STEPS_BYTES)
        json_object_set_new(one, "left_out", json_true());
    json_array_append_new(s->list, one);
    return true;
}

static struct steps_show *steps_of(struct api_job *j)
{
    return (struct steps_show *)((char *)j - offsetof(struct steps_show, job));
}

static void steps_run(struct api_job *j, struct db *db)
{
    struct steps_show *s = steps_of(j);
    job_steps_read(db, &s->shown.id, steps_add, s, &j->err);
}

static void steps_done(struct api_job *j)
{
    struct steps_show *s = steps_of(j);
    struct http_request *req = s->req;
    struct err e = j->err;
    char id[UUID_TEXT];
    if (e.code == 0 && json_array_size(s->list) == 0)
        e = s->shown.err; /* no rows, no record */
    uuid_format(&s->shown.id, id);
    json_t *answer = json_pack("{s:s, s:o}", "id", id, "steps", s->list);
    mem_free(s);
    if (e.code == 0) {
        api_answer_json(req, 200, answer);
        return;
    }
    json_decref(answer);
    http_problem(req, &e);
}

static void steps_looked(struct queue_looking *l)
{
    struct steps_show *s = (struct steps_show *)l;
    s->job.run = steps_run;
    s->job.done = steps_done;
    api_job_start(&s->job, s->req);
}

static void steps_get(struct http_request *req)
{
    struct uuid id;
    if (!API_QUERY_NONE(req) || !job_run_id(req, &id))
        return;
    struct steps_show *s = mem_new(sizeof *s);
    s->req = req;
    s->list = json_array();
    s->shown.id = id;
    s->look = (struct queue_looking){
        .tenant = API_TENANT, .shown = &s->shown, .count = 1, .done = steps_looked};
    queue_look_start(&s->look, req);
}

static void step_get_now(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct uuid id;
    json_t *step = NULL;
    const char *name = http_param(req, "name");
    if (!API_QUERY_NONE(req) || !job_run_id(req, &id))
        return;
    int rc = job_step_get(api_thread_of(req)->db, &id, name, &step, &e);
    if (rc == 0)
        err_field(&e, ERR_NOT_FOUND, "name", "the run has no step '%.128s'", name);
    if (rc > 0)
        api_answer_json(req, 200, step);
    else
        http_problem(req, &e);
}

static void step_get(struct http_request *req)
{
    api_read(req, step_get_now);
}

static const struct http_route steps_table[] = {
    {HTTP_VERB_GET, "/api/jobs/:id/steps", steps_get, 0, 0},
    {HTTP_VERB_GET, "/api/jobs/:id/steps/:name", step_get, 0, 0},
};
const struct api_routes api_jobs_steps_routes = {steps_table, ARRAY_LEN(steps_table)};
