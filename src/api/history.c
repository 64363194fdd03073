/* Replaced versions of a record: GET /api/{entity}/{id}/history and .../history/{version}. */
#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/read.h"

static void history_answer(struct http_request *req, int rc, struct buf *out, const struct err *e)
{
    if (rc != 0)
        http_problem(req, e);
    else
        http_respond_buf(req, 200, API_JSON, out);
}

static void history_list_now(struct http_request *req)
{
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    AUTO(buf_fini) struct buf out = BUF_INIT(API_ANSWER_MAX);
    struct err e = ERR_INIT;
    int rc =
        entity_history(api_thread_of(req)->db, d, api_scope(req), http_param(req, "id"), &out, &e);
    history_answer(req, rc, &out, &e);
}

static void history_list(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "partition"))
        api_read(req, history_list_now);
}

static void history_one_now(struct http_request *req)
{
    uint64_t version;
    const char *text = http_param(req, "version");
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    if (!str_to_u64(text, strlen(text), &version)) {
        http_refuse(req, ERR_INVALID, "'%.40s' is not a version, which counts from 1", text);
        return;
    }
    AUTO(buf_fini) struct buf out = BUF_INIT(API_RECORD_MAX);
    struct err e = ERR_INIT;
    int rc = entity_history_get(api_thread_of(req)->db, d, api_scope(req), http_param(req, "id"),
                                version, &out, &e);
    history_answer(req, rc, &out, &e);
}

static void history_one(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "partition"))
        api_read(req, history_one_now);
}

static const struct http_route history_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/api/:entity/:id/history", .handler = history_list},
    {.verb = HTTP_VERB_GET, .pattern = "/api/:entity/:id/history/:version", .handler = history_one},
};
const struct api_routes api_history_routes = {history_table, ARRAY_LEN(history_table)};
