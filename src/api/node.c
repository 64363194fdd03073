/* The node itself over HTTP: its settings, its boot report. They are asked for on the node's own
 * thread. */
#include <string.h>

#include "api/once_priv.h"
#include "api/node_call.h"
#include "base/arena.h"
#include "base/mem.h"

struct node_ask {
    struct api_node_call call; /* first */
    struct http_request *req;
};

static void node_done(struct api_node_call *call)
{
    struct http_request *req = ((struct node_ask *)call)->req;
    json_decref(call->body);
    AUTO(json_unref) json_t *errors = call->errors;
    if (call->err.code != 0) {
        json_decref(call->answer);
        api_problem(req, &call->err, errors, NULL);
        return;
    }
    if (call->version > 0)
        api_etag(req, call->version);
    api_answer_json(req, 200, call->answer);
}

/* Takes the body. */
static void node_ask(struct http_request *req, enum api_node_verb verb, json_t *body,
                     const struct api_conditions *c)
{
    struct api_thread *t = api_thread_of(req);
    struct envelope env;
    struct node_ask *a = arena_new(http_arena(req), sizeof *a);
    api_envelope(req, &env);
    a->req = req;
    a->call = (struct api_node_call){.verb = verb,
                                     .name = http_param(req, "name"),
                                     .body = body,
                                     .principal = env.principal,
                                     .reason = env.reason,
                                     .correlation = env.correlation,
                                     .home = loop_runner(t->loop),
                                     .done = node_done};
    if (c != NULL && c->has_match && !c->any) {
        a->call.has_revision = true;
        a->call.revision = c->version;
    }
    t->api->o.node_call(t->api->o.node_call_arg, &a->call);
}

static void node_settings(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        node_ask(req, API_SETTINGS_LIST, NULL, NULL);
}

static void node_settings_history(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        node_ask(req, API_SETTINGS_HISTORY, NULL, NULL);
}

/* If-Match of a change. */
static bool node_conditions(struct http_request *req, struct api_conditions *c)
{
    if (!API_QUERY_NONE(req) || !api_once_none(req) || !api_conditions(req, c))
        return false;
    if (!c->none)
        return true;
    http_refuse(req, ERR_INVALID, "If-None-Match: settings take If-Match only");
    return false;
}

static void node_settings_patch(struct http_request *req)
{
    struct api_conditions c;
    enum api_media m = api_media(req);
    if (!node_conditions(req, &c))
        return;
    if (m != API_MEDIA_JSON && m != API_MEDIA_MERGE_PATCH && m != API_MEDIA_NONE) {
        http_refuse(req, ERR_MEDIA_TYPE,
                    "send the change as application/merge-patch+json or application/json");
        return;
    }
    json_t *body = api_body(req);
    if (body == NULL)
        return;
    if (json_is_object(body)) {
        node_ask(req, API_SETTINGS_PATCH, body, &c);
        return;
    }
    http_refuse(req, ERR_INVALID, "the body is %s, not an object", json_type_name(body));
    json_decref(body);
}

static void node_settings_put(struct http_request *req)
{
    struct api_conditions c;
    if (!node_conditions(req, &c))
        return;
    json_t *body = api_body_object(req);
    if (body != NULL)
        node_ask(req, API_SETTINGS_PUT, body, &c);
}

static void node_settings_unset(struct http_request *req)
{
    struct api_conditions c;
    if (node_conditions(req, &c) && api_body_none(req))
        node_ask(req, API_SETTINGS_UNSET, NULL, &c);
}

static void node_apply(struct http_request *req)
{
    struct api_conditions c;
    if (!node_conditions(req, &c))
        return;
    json_t *body = api_body_object(req);
    if (body != NULL)
        node_ask(req, API_SETTINGS_APPLY, body, &c);
}

static void node_boot(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        node_ask(req, API_NODE_BOOT, NULL, NULL);
}

static const struct http_route node_table[] = {
    {HTTP_VERB_GET, "/api/cluster/settings", node_settings, 0, 0},
    {HTTP_VERB_PATCH, "/api/cluster/settings", node_settings_patch, 0, 0},
    {HTTP_VERB_GET, "/api/cluster/settings/history", node_settings_history, 0, 0},
    {HTTP_VERB_PUT, "/api/cluster/settings/:name", node_settings_put, 0, 0},
    {HTTP_VERB_DELETE, "/api/cluster/settings/:name", node_settings_unset, 0, 0},
    {HTTP_VERB_GET, "/api/cluster/nodes/:name/boot", node_boot, 0, 0},
    {HTTP_VERB_POST, "/api/cluster/apply", node_apply, 0, 0},
};
const struct api_routes api_node_routes = {node_table, ARRAY_LEN(node_table)};
