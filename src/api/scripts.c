/* Scripts over HTTP: what is in force, deploying, going back, and running a text (koan repl). Who
 * does it is handed in as api_options.script_call. */
#include <string.h>

#include "api/once_priv.h"
#include "base/mem.h"

struct scripts_call {
    struct api_script_call call; /* first */
    struct http_request *req;
};

static void scripts_done(struct api_script_call *call)
{
    struct scripts_call *s = (struct scripts_call *)call;
    json_decref(TAKE(call->body));
    json_t *answer = TAKE(call->answer);
    struct http_request *req = s->req;
    struct err e = call->err;
    bool going_on = call->going_on;
    mem_free(s);
    if (e.code != 0) {
        json_decref(answer);
        http_problem(req, &e);
    } else {
        api_answer_json(req, going_on ? 202 : 200, answer);
    }
}

static void scripts_start(struct http_request *req, enum api_script_verb verb, json_t *body)
{
    struct api_thread *t = api_thread_of(req);
    const struct api_options *o = &t->api->o;
    struct scripts_call *s = mem_new(sizeof *s);
    s->req = req;
    s->call = (struct api_script_call){.verb = verb,
                                       .body = body,
                                       .id = http_param(req, "id"),
                                       .principal = o->token_required ? "token" : "local",
                                       .correlation = http_correlation(req),
                                       .traceparent = api_traceparent(req),
                                       .loop = t->loop,
                                       .done = scripts_done};
    o->script_call(o->script_call_arg, &s->call);
}

static void scripts_list(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        scripts_start(req, API_SCRIPTS_LIST, NULL);
}

static void scripts_post(struct http_request *req, enum api_script_verb verb)
{
    if (!API_QUERY_NONE(req) || !api_once_none(req) || !api_media_json(req))
        return;
    json_t *body = api_body_object(req);
    if (body != NULL)
        scripts_start(req, verb, body);
}

static void scripts_deploy(struct http_request *req)
{
    scripts_post(req, API_SCRIPTS_DEPLOY);
}

static void scripts_follow(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        scripts_start(req, API_SCRIPTS_FOLLOW, NULL);
}

static void scripts_rollback(struct http_request *req)
{
    scripts_post(req, API_SCRIPTS_ROLLBACK);
}

static void scripts_run(struct http_request *req)
{
    scripts_post(req, API_SCRIPTS_RUN);
}

static const struct http_route scripts_table[] = {
    {HTTP_VERB_GET, "/api/cluster/scripts", scripts_list, 0, 0},
    {HTTP_VERB_POST, "/api/cluster/scripts", scripts_deploy, 0, 0},
    {HTTP_VERB_GET, "/api/cluster/deploys/:id", scripts_follow, 0, 0},
    {HTTP_VERB_POST, "/api/cluster/scripts/rollback", scripts_rollback, 0, 0},
    {HTTP_VERB_POST, "/api/cluster/run", scripts_run, 0, 0},
};
const struct api_routes api_scripts_routes = {scripts_table, ARRAY_LEN(scripts_table)};
