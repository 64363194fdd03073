/* Reading canon: models, why, lineage, parked and stored arrivals, the summary. */
#include <string.h>

#include "api/canon_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"

enum { CANON_LIST = 50, CANON_LIST_MAX = 500 };

static void canon_answer(struct http_request *req, struct buf *out, const struct err *e)
{
    if (e->code != 0)
        http_problem(req, e);
    else
        http_respond_buf(req, 200, API_JSON, out);
    buf_fini(out);
}

static void canon_models(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        api_answer_json(req, 200, canon_names(api_thread_of(req)->api->o.canon));
}

/* ---- what is read on the spot: each differs in what it asks of canon ---- */

struct canon_reading {
    struct http_request *req;
    struct db *db;
    struct canon_model *model;
    size_t limit; /* of a list */
    struct buf out;
};

/* `ask` puts its answer into r->out. */
static void canon_read(struct http_request *req, int (*ask)(struct canon_reading *r, struct err *e))
{
    int64_t limit;
    if (!api_query_int(req, "limit", 1, CANON_LIST_MAX, CANON_LIST, &limit))
        return;
    AUTO(api_model_unrefp) struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    struct canon_reading r = {.req = req,
                              .db = api_thread_of(req)->db,
                              .model = m,
                              .limit = (size_t)limit,
                              .out = BUF_INIT(API_ANSWER_MAX)};
    struct err e = ERR_INIT;
    ask(&r, &e);
    canon_answer(req, &r.out, &e);
}

static int ask_why(struct canon_reading *r, struct err *e)
{
    return canon_why(r->db, r->model, API_TENANT, http_param(r->req, "id"),
                     http_query(r->req, "with"), &r->out, e);
}

static int ask_lineage(struct canon_reading *r, struct err *e)
{
    return canon_lineage(r->db, r->model, API_TENANT, http_param(r->req, "id"), r->limit, &r->out,
                         e);
}

static int ask_parked(struct canon_reading *r, struct err *e)
{
    return canon_parked(r->db, r->model, API_TENANT, http_query(r->req, "after"), r->limit, &r->out,
                        e);
}

static int ask_arrival(struct canon_reading *r, struct err *e)
{
    return canon_arrival_get(r->db, r->model, API_TENANT, http_param(r->req, "arrival"), &r->out,
                             e);
}

static void canon_why_now(struct http_request *req)
{
    canon_read(req, ask_why);
}

static void canon_why_route(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "with"))
        api_read(req, canon_why_now);
}

static void canon_lineage_now(struct http_request *req)
{
    canon_read(req, ask_lineage);
}

static void canon_lineage_route(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "limit"))
        api_read(req, canon_lineage_now);
}

static void canon_parked_now(struct http_request *req)
{
    canon_read(req, ask_parked);
}

static void canon_parked_route(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "after", "limit"))
        api_read(req, canon_parked_now);
}

static void canon_arrival_now(struct http_request *req)
{
    canon_read(req, ask_arrival);
}

static void canon_arrival_route(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        api_read(req, canon_arrival_now);
}

/* ---- the summary: scans, so on the pool ---- */

struct canon_summary_job {
    struct api_job job;
    struct canon_model *model;
    struct buf out;
};

static void canon_summary_run(struct api_job *j, struct db *db)
{
    struct canon_summary_job *s = (struct canon_summary_job *)j;
    canon_summary(db, s->model, API_TENANT, &s->out, &j->err);
}

static void canon_summary_done(struct api_job *j)
{
    struct canon_summary_job *s = (struct canon_summary_job *)j;
    canon_model_unref(s->model);
    struct buf out = s->out; /* the struct goes with the request */
    struct err e = j->err;
    canon_answer(j->req, &out, &e);
}

static void canon_summary_now(struct http_request *req)
{
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    struct canon_summary_job *s = arena_new(http_arena(req), sizeof *s);
    s->model = m;
    buf_init(&s->out, API_ANSWER_MAX);
    s->job.run = canon_summary_run;
    s->job.done = canon_summary_done;
    api_job_start(&s->job, req);
}

static void canon_summary_route(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        api_read(req, canon_summary_now);
}

static const struct http_route canon_read_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/api/canon/models", .handler = canon_models},
    {.verb = HTTP_VERB_GET, .pattern = "/api/canon/:model/summary", .handler = canon_summary_route},
    {.verb = HTTP_VERB_GET, .pattern = "/api/canon/:model/parked", .handler = canon_parked_route},
    {.verb = HTTP_VERB_GET,
     .pattern = "/api/canon/:model/arrivals/:arrival",
     .handler = canon_arrival_route},
    {.verb = HTTP_VERB_GET, .pattern = "/api/canon/:model/:id/why", .handler = canon_why_route},
    {.verb = HTTP_VERB_GET,
     .pattern = "/api/canon/:model/:id/lineage",
     .handler = canon_lineage_route},
};
const struct api_routes api_canon_read_routes = {canon_read_table, ARRAY_LEN(canon_read_table)};
