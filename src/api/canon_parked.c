/* Parked arrivals that a person rejects: POST /api/canon/{model}/parked/{arrival}/reject. The
 * record in the queue canon.{model}.parked is cancelled with it. Going on with one is a request of
 * the engine: canon_arrive.c. Of many at once: queue_operate.c, canon_many.c. */
#include <string.h>

#include "api/canon_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct refusal {
    struct http_request *req;
    char queue[CANON_QUEUE_NAME_MAX], arrival[UUID_TEXT];
};

static void refusal_done(struct queue_units *u)
{
    struct refusal *r = u->more;
    struct http_request *req = r->req;
    struct err e = u->items[0].err;
    if (e.code != 0) {
        queue_units_free(u);
        mem_free(r);
        http_problem(req, &e);
        return;
    }
    struct buf out = BUF_INIT(1024);
    buf_addf(&out, "{\"outcome\":\"rejected\",\"record\":\"%s\",\"queue\":\"%s\"}", r->arrival,
             r->queue);
    queue_units_headers(u);
    queue_units_free(u);
    mem_free(r);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* It is one of this model's. Whether it is parked is for the unit to say. */
static bool refusal_is_of(struct http_request *req, const struct canon_model *m)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf shown = BUF_INIT(API_ANSWER_MAX);
    if (canon_arrival_get(api_thread_of(req)->db, m, API_TENANT, http_param(req, "arrival"), &shown,
                          &e) == 0)
        return true;
    http_problem(req, &e);
    return false;
}

static void parked_reject(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct envelope env;
    if (!API_QUERY_NONE(req) || !api_once(req))
        return;
    AUTO(api_model_unrefp) struct canon_model *m = canon_route_model(req);
    AUTO(json_unref) json_t *said = m == NULL ? NULL : api_body_object(req);
    if (said == NULL)
        return;
    if (canon_reason(said, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    if (api_kept(req, 0) == NULL && !refusal_is_of(req, m))
        return;
    struct queue_units *u = queue_units_new(req, 1, true);
    if (u == NULL)
        return;
    struct refusal *r = u->more = mem_new(sizeof *r);
    r->req = req;
    canon_parked_name(canon_model_name(m), r->queue);
    str_copy(r->arrival, sizeof r->arrival, http_param(req, "arrival"));
    api_envelope(req, &env);
    struct txn *t = queue_units_txn(u, 0);
    if (t != NULL)
        canon_txn_reject(t, r->arrival, json_string_value(json_object_get(said, "reason")),
                         env.principal, &u->items[0].err);
    queue_units_start(u, refusal_done);
}

static const struct http_route parked_table[] = {
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/parked/reject",
     .handler = queue_operate_post},
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/parked/resume",
     .handler = queue_operate_post},
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/parked/:arrival/reject",
     .handler = parked_reject},
};
const struct api_routes api_canon_parked_routes = {parked_table, ARRAY_LEN(parked_table)};
