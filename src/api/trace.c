/* Requests as part of a trace, and GET /api/timeline/{correlation}: what came of one. */
#include <string.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "trace/trace.h"

/* ---- each request ---- */

struct trace_note {
    struct trace_span span;
    char parent[TRACE_PARENT_TEXT];
};

/* Made when first asked for: most reads never do. And once: a request that lasts asks for each line
 * of it, and its arena has a bound. */
static const struct trace_note *note_of(const struct http_request *req)
{
    struct trace_note *n = http_note(req);
    if (n == NULL) {
        struct http_request *own = (struct http_request *)req; /* what it asks for is remembered */
        n = arena_new(http_arena(own), sizeof *n);
        trace_begin(api_thread_of(req)->api->o.trace, http_header_in(req, "traceparent"),
                    http_correlation(req), &n->span);
        trace_format(&n->span, n->parent);
        http_set_note(own, n);
    }
    return n;
}

static const struct trace_span *trace_of(const struct http_request *req)
{
    return &note_of(req)->span;
}

const char *api_traceparent(const struct http_request *req)
{
    const struct trace_note *n = note_of(req);
    if (!n->span.sampled && n->span.parent == 0)
        return NULL; /* it follows from the correlation id, and need not be kept */
    return n->parent;
}

/* What belongs to a story: not pages, probes and metrics. */
static bool trace_is_of_story(const struct http_route *route)
{
    return !(route->flags & (HTTP_URGENT | HTTP_LONG)) &&
           (route->flags & HTTP_SCRIPT || str_starts(route->pattern, "/api/") ||
            str_starts(route->pattern, "/v1/"));
}

/* May it have changed anything? */
static bool trace_may_write(const struct http_request *req, const struct http_route *route)
{
    enum http_verb v = http_verb(req);
    return v != HTTP_VERB_GET && v != HTTP_VERB_HEAD && v != HTTP_VERB_OPTIONS &&
           !str_ends(route->pattern, "/query");
}

void api_after(struct http_request *req, int status, uint64_t began_ns)
{
    const struct api *a = api_thread_of(req)->api;
    const struct http_route *route = http_route(req);
    if (a->o.trace == NULL || route == NULL || !trace_is_of_story(route))
        return;
    int code = http_code(req);
    bool failed = status >= 500 && code != ERR_OVERLOADED && code != ERR_DRAINING;
    bool writes = trace_may_write(req, route);
    if (!writes && !failed && !trace_of(req)->sampled)
        return;
    char name[TRACE_TEXT_MAX];
    snprintf(name, sizeof name, "%s %s", http_verb_name(http_verb(req)), route->pattern);
    struct envelope env;
    api_envelope(req, &env);
    trace_note(a->o.trace,
               &(struct trace_event){.kind = TRACE_REQUEST,
                                     .failed = failed,
                                     .began_ns = began_ns,
                                     .status = status,
                                     .span = trace_of(req),
                                     .correlation = http_correlation(req),
                                     .principal = env.principal,
                                     .name = name,
                                     .subject = http_path(req),
                                     .detail = code != 0 ? err_info(code)->name : NULL});
}

/* ---- the timeline ---- */

struct trace_job {
    struct api_job job; /* first */
    const char *correlation;
    struct buf events;
    bool cut;
};

static void trace_run(struct api_job *job, struct db *db)
{
    (void)db;
    struct trace_job *j = (struct trace_job *)job;
    trace_timeline(job->api->o.trace, j->correlation, &j->events, &j->cut, &job->err);
}

static void trace_done(struct api_job *job)
{
    struct trace_job *j = (struct trace_job *)job;
    struct http_request *req = job->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    if (job->err.code != 0) {
        http_problem(req, &job->err);
    } else {
        buf_adds(&out, "{\"correlation\":");
        json_print_string(&out, j->correlation, strlen(j->correlation));
        buf_addf(&out, ",\"cut\":%s,\"events\":", j->cut ? "true" : "false");
        buf_add(&out, j->events.data, j->events.len);
        buf_addc(&out, '}');
        buf_fini(&j->events);
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    buf_fini(&j->events);
}

static void trace_get(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    struct trace_job *j = arena_new(http_arena(req), sizeof *j);
    buf_init(&j->events, API_ANSWER_MAX);
    j->correlation = http_param(req, "correlation");
    j->job.run = trace_run;
    j->job.done = trace_done;
    if (api_thread_of(req)->api->o.trace == NULL)
        http_refuse(req, ERR_UNAVAILABLE, "this node keeps no timeline");
    else
        api_job_start(&j->job, req);
}

static const struct http_route trace_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/api/timeline/:correlation", .handler = trace_get},
};
const struct api_routes api_trace_routes = {trace_table, ARRAY_LEN(trace_table)};
