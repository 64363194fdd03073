/* What people do with records: POST .../retry, cancel, move, purge with ids or a filter, and PATCH
 * and DELETE of one. The same with runs of jobs: POST /api/jobs/retry, /api/jobs/{id}/retry,
 * cancel.
 *
 *   {"ids": ["..", ".."]}   or   {"state": "discarded"[, "find": {..}]}
 *
 * With a "reason", which is kept in the history of each record. One that is the run of a job is
 * cancelled and retried as such, whichever route it is: its row changes in the same unit.
 *
 * POST /api/canon/{model}/parked/reject and resume: the same with the records of parked arrivals.
 *
 * Of a filter: which (ledger's thread) -> their ids, and is it they that are meant (pool) -> are
 * they of this queue (ledger's thread) -> a unit each. A record that has changed meanwhile is
 * decided on as it is then. Where more than QUEUE_ITEMS_MAX are in that state, or more bytes than
 * one answer reads, a run does it (queue_work.c): 202. So it is with an Idempotency-Key, since what
 * a filter finds is something else the next time. */
#include <string.h>

#include "api/canon_many_priv.h"
#include "api/canon_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "job/run.h"

struct queue_operate {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct http_request *req;
    json_t *body;
    struct operate_spec spec;
    struct buf edit;
    struct core_tend tend; /* of an edit: what else is said */
    bool has_body;
    bool one;
    bool runs;      /* asked for as runs of jobs */
    uint64_t total; /* in that state */
    bool parked;    /* asked for as arrivals of a model */
    char job[sizeof QUEUE_OF_JOBS + JOB_NAME_MAX], parked_in[CANON_QUEUE_NAME_MAX];
    struct envelope env;
    struct err err;
};

static void operate_free(struct queue_operate *o)
{
    queue_shown_free(o->look.shown, o->look.count);
    json_decref(o->body);
    buf_fini(&o->edit);
    mem_free(o);
}

static void operate_refuse(struct queue_operate *o)
{
    struct http_request *req = o->req;
    struct err e = o->err;
    operate_free(o);
    http_problem(req, &e);
}

/* ---- the units ---- */

static const char *operate_outcome(const struct queue_operate *o, const struct queue_item *it)
{
    struct cursor c = it->result;
    return o->spec.verb == OPERATE_CANCEL && queue_cancel_asked(&c) ? "asked"
                                                                    : operate_done[o->spec.verb];
}

static void operate_answer_one(struct queue_operate *o, struct queue_units *u)
{
    struct http_request *req = o->req;
    struct queue_item *it = &u->items[0];
    struct buf out = BUF_INIT(1024);
    struct err e = it->err;
    if (e.code == 0)
        queue_units_headers(u);
    buf_addf(&out, "{\"id\":\"%s\",\"outcome\":\"%s\"}", it->id, operate_outcome(o, it));
    bool asked = strcmp(operate_outcome(o, it), "asked") == 0;
    queue_units_free(u);
    operate_free(o);
    if (e.code == 0) {
        http_respond_buf(req, asked ? 202 : 200, API_JSON, &out);
        return;
    }
    buf_fini(&out);
    http_problem(req, &e);
}

static void operate_done_all(struct queue_units *u)
{
    struct queue_operate *o = u->more;
    struct http_request *req = o->req;
    size_t failed = 0;
    if (o->one) {
        operate_answer_one(o, u);
        return;
    }
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < u->count; i++) {
        struct queue_item *it = &u->items[i];
        buf_adds(&out, i > 0 ? "," : "");
        failed += it->err.code != 0;
        if (it->err.code != 0)
            queue_print_failed(&out, it->id, &it->err);
        else
            buf_addf(&out, "{\"id\":\"%s\",\"outcome\":\"%s\"}", it->id, operate_outcome(o, it));
    }
    buf_addf(&out, "],\"counts\":{\"%s\":%zu,\"failed\":%zu}}", operate_done[o->spec.verb],
             u->count - failed, failed);
    queue_units_headers(u);
    queue_units_free(u);
    operate_free(o);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void operate_add(struct queue_operate *o, struct txn *t, const struct queue_shown *s,
                        struct err *e)
{
    if (o->spec.verb != OPERATE_EDIT)
        operate_spec_add(&o->spec, t, s, e);
    else if (o->has_body)
        queue_txn_edit(t, &s->id, o->edit.data, o->edit.len, false, e);
    if (e->code == 0 && queue_tend_is_said(&o->tend))
        queue_txn_tend(t, &s->id, &o->tend, e);
}

static void operate_start(struct queue_operate *o)
{
    if (o->spec.verb == OPERATE_RESUME) {
        canon_resume_many(o->req, &o->spec, o->look.shown, o->look.count);
        operate_free(o);
        return;
    }
    struct queue_units *u = queue_units_new(o->req, o->look.count, o->spec.verb != OPERATE_EDIT);
    if (u == NULL) {
        operate_free(o);
        return;
    }
    u->more = o;
    u->reason = o->spec.reason;
    for (size_t i = 0; i < u->count; i++) {
        const struct queue_shown *s = &o->look.shown[i];
        struct txn *t = queue_units_txn(u, i);
        uuid_format(&s->id, u->items[i].id);
        if (t == NULL)
            continue;
        u->items[i].err = s->err;
        if (s->err.code == 0)
            operate_add(o, t, s, &u->items[i].err);
    }
    queue_units_start(u, operate_done_all);
}

/* `matched`: more than the ids that are shown where there are more in that state. */
static void operate_dry(struct queue_operate *o)
{
    struct http_request *req = o->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    uint64_t matched = 0;
    buf_adds(&out, "{\"dry_run\":true,\"ids\":[");
    for (size_t i = 0; i < o->look.count; i++) {
        char id[UUID_TEXT];
        if (o->look.shown[i].err.code != 0)
            continue;
        uuid_format(&o->look.shown[i].id, id);
        buf_addf(&out, "%s\"%s\"", matched++ > 0 ? "," : "", id);
    }
    bool more = o->total > QUEUE_ITEMS_MAX;
    buf_addf(&out, "],\"matched\":%llu,\"more\":%s}",
             (unsigned long long)(more ? o->total : matched), more ? "true" : "false");
    operate_free(o);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void operate_hand(struct queue_operate *o)
{
    operate_hand_over(o->req, &o->spec, o->total);
    operate_free(o);
}

/* ---- which ---- */

static void operate_looked(struct queue_looking *l)
{
    struct queue_operate *o = (struct queue_operate *)l;
    if (o->spec.dry_run)
        operate_dry(o);
    else
        operate_start(o);
}

/* Those that are meant, and are there still. */
static void operate_keep(struct queue_operate *o)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->look.count; i++) {
        struct queue_shown *s = &o->look.shown[i];
        mem_free(TAKE(s->texts));
        if (!s->unwanted && s->err.code != ERR_GONE)
            o->look.shown[kept++] = *s;
    }
    o->look.count = kept;
}

static void operate_read(struct queue_reading *r)
{
    struct queue_operate *o =
        (struct queue_operate *)((char *)r - offsetof(struct queue_operate, reading));
    bool all = r->read == r->count;
    o->err = r->job.err;
    operate_keep(o);
    for (size_t i = 0; i < o->look.count && o->err.code == 0; i++)
        o->err = o->look.shown[i].err;
    if (o->err.code != 0)
        operate_refuse(o);
    else if (!all)
        operate_hand(o);
    else
        queue_look_start(&o->look, o->req);
}

static uint64_t count_in(const struct core_counts *n, enum rec_state s)
{
    const uint64_t counts[] = {[REC_SCHEDULED] = n->scheduled, [REC_AVAILABLE] = n->available,
                               [REC_EXECUTING] = n->executing, [REC_RETRYABLE] = n->retryable,
                               [REC_COMPLETED] = n->completed, [REC_DISCARDED] = n->discarded,
                               [REC_CANCELLED] = n->cancelled};
    return counts[s];
}

static void operate_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_operate *o = (struct queue_operate *)a;
    struct core_counts n;
    uint64_t places[QUEUE_ITEMS_MAX];
    if (core_counts(c, o->look.tenant, o->look.queue, &n, &o->err) != 0) {
        if (o->parked) /* nothing was ever parked */
            err_clear(&o->err);
        return;
    }
    o->total = o->spec.all ? n.scheduled + n.available + n.retryable + n.completed + n.discarded +
                                 n.cancelled
                           : count_in(&n, o->spec.state);
    o->look.count =
        core_list(c, o->look.tenant, o->look.queue, o->spec.state, 0, places, QUEUE_ITEMS_MAX);
    for (size_t i = 0; i < o->look.count; i++)
        o->look.shown[i].place = places[i];
}

/* Is it for a run to do? */
static bool operate_is_far(const struct queue_operate *o)
{
    if (o->spec.dry_run)
        return o->total > QUEUE_ITEMS_MAX && o->spec.find != NULL;
    return o->total > QUEUE_ITEMS_MAX || api_once_key(o->req) != NULL;
}

static void operate_asked(struct queue_ask *a)
{
    struct queue_operate *o = (struct queue_operate *)a;
    if (o->err.code != 0) {
        operate_refuse(o);
        return;
    }
    if (operate_is_far(o)) {
        operate_hand(o);
        return;
    }
    o->reading = (struct queue_reading){.shown = o->look.shown,
                                        .count = o->look.count,
                                        .ids_only = o->spec.find == NULL,
                                        .find = o->spec.find,
                                        .find_max = SIZE_MAX,
                                        .done = operate_read};
    queue_read_start(&o->reading, o->req);
}

static void operate_find(struct queue_operate *o)
{
    struct api_thread *t = api_thread_of(o->req);
    o->look.done = operate_looked;
    o->spec.queue = o->look.queue;
    if (!operate_by_state(&o->spec)) {
        queue_look_start(&o->look, o->req);
        return;
    }
    o->look.ask =
        (struct queue_ask){.home = loop_runner(t->loop), .ask = operate_ask, .done = operate_asked};
    queues_ask(t->api->o.queues, &o->look.ask);
}

/* ---- the request ---- */

static bool operate_route(struct http_request *req, char parked_in[CANON_QUEUE_NAME_MAX],
                          const char **tenant, const char **name)
{
    if (http_param(req, "vhost") != NULL)
        return queue_of_route(req, tenant, name);
    if (http_param(req, "model") == NULL)
        return true;
    AUTO(api_model_unrefp) struct canon_model *m = canon_route_model(req);
    if (m != NULL)
        canon_parked_name(canon_model_name(m), parked_in);
    return m != NULL;
}

static struct queue_operate *operate_new(struct http_request *req, enum operate_verb verb)
{
    const char *tenant = API_TENANT, *name = NULL;
    char parked_in[CANON_QUEUE_NAME_MAX] = "";
    if (!operate_route(req, parked_in, &tenant, &name) || !API_QUERY_NONE(req) || !api_once(req))
        return NULL;
    struct queue_operate *o = mem_new(sizeof *o);
    o->req = req;
    o->parked = *parked_in != '\0';
    o->runs = !o->parked && name == NULL;
    if (o->parked) {
        memcpy(o->parked_in, parked_in, sizeof parked_in);
        name = o->parked_in;
    }
    api_envelope(req, &o->env);
    o->spec.by = o->env.principal;
    o->spec.verb = verb;
    o->spec.reason = http_header_in(req, "X-Koan-Reason");
    o->look.tenant = tenant;
    o->look.queue = name;
    buf_init(&o->edit, CORE_BODY_MAX);
    return o;
}

static int operate_ids(struct queue_operate *o, const json_t *ids, struct err *e)
{
    size_t n = json_array_size(ids);
    if (!json_is_array(ids) || n == 0 || n > QUEUE_ITEMS_MAX)
        return err_field(e, ERR_INVALID, "ids", "ids are 1 to %d ids", QUEUE_ITEMS_MAX);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = queue_id(json_array_get(ids, i), &o->look.shown[o->look.count++].id, e);
    return rc;
}

static int operate_target(struct queue_operate *o, struct err *e)
{
    const char *confirm = json_string_value(json_object_get(o->body, "confirm"));
    enum operate_verb verb = o->spec.verb;
    const char *to = o->spec.to = json_string_value(json_object_get(o->body, "to"));
    if (verb == OPERATE_MOVE && to == NULL)
        return err_field(e, ERR_INVALID, "to", "move names the other queue: \"to\"");
    if (verb != OPERATE_PURGE || o->spec.dry_run)
        return verb == OPERATE_MOVE ? queue_name_check(to, "to", e) : 0;
    if (confirm != NULL && strcmp(confirm, o->look.queue) == 0)
        return 0;
    return err_field(e, ERR_INVALID, "confirm",
                     "what is purged is gone: say \"confirm\": \"%s\", or \"dry_run\": true",
                     o->look.queue);
}

/* The job whose runs of a state are meant. */
static int operate_job(struct queue_operate *o, bool by_state, struct err *e)
{
    const json_t *v = json_object_get(o->body, "job");
    const char *job = json_string_value(v);
    if (v == NULL && !by_state)
        return 0;
    if (job == NULL)
        return err_field(e, ERR_INVALID, "job", "runs of a state are those of one job: \"job\"");
    if (!by_state)
        return err_field(e, ERR_INVALID, "job", "\"job\" goes with \"state\"; ids say it all");
    if (job_name_check(job, e) != 0)
        return err_field(e, ERR_INVALID, "job", "'%.64s' is no name of a job", job);
    snprintf(o->job, sizeof o->job, QUEUE_OF_JOBS "%s", job);
    o->look.queue = o->job;
    return 0;
}

static int operate_reason(struct queue_operate *o, struct err *e)
{
    int rc = json_get_string(o->body, "reason", &o->spec.reason, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return 0;
    }
    int max = o->runs ? JOB_REASON_BYTES : o->parked ? CANON_REASON_MAX : CORE_WHY_MAX;
    if (rc == 0 && strlen(o->spec.reason) > (size_t)max)
        rc = err_field(e, ERR_INVALID, "reason", "reason: at most %d bytes", max);
    return rc;
}

/* Which: ids, or a state and what is to be found among those in it. */
static int operate_which(struct queue_operate *o, struct err *e)
{
    const json_t *ids = json_object_get(o->body, "ids"), *state = json_object_get(o->body, "state");
    o->spec.find = json_object_get(o->body, "find");
    if ((ids != NULL) == (state != NULL))
        return err_field(e, ERR_INVALID, "ids", "the body has \"ids\" or \"state\", one of them");
    if (o->spec.find != NULL && state == NULL)
        return err_field(e, ERR_INVALID, "find", "\"find\" goes with \"state\"; ids say it all");
    int rc = ids != NULL ? operate_ids(o, ids, e) : operate_state_read(state, &o->spec, e);
    return rc == 0 && o->spec.find != NULL ? queue_find_check(o->spec.find, e) : rc;
}

/* What waits can be rejected and resumed; what is said for all of them. */
static int operate_parked(struct queue_operate *o, struct err *e)
{
    const struct operate_spec *s = &o->spec;
    o->spec.patch = json_object_get(o->body, "patch");
    if (s->patch != NULL && !json_is_object(s->patch))
        return err_field(e, ERR_INVALID, "patch",
                         "patch is a merge-patch: an object of what is to be changed in each");
    if (s->state != 0 && s->state != REC_AVAILABLE && s->state != REC_SCHEDULED)
        return err_field(e, ERR_INVALID, "state",
                         "state is available, or scheduled: what was snoozed");
    if (s->verb != OPERATE_REJECT || s->dry_run || (s->reason != NULL && *s->reason != '\0'))
        return 0;
    return err_field(e, ERR_INVALID, "reason", "a rejection has a \"reason\" of 1 to %d bytes",
                     CANON_REASON_MAX);
}

static int operate_body(struct queue_operate *o, struct err *e)
{
    const char *names[7] = {"ids", "state", "find", "dry_run", "reason"};
    size_t n = 5;
    if (o->spec.verb == OPERATE_RESUME)
        names[n++] = "patch";
    if (o->runs)
        names[n++] = "job";
    if (o->spec.verb == OPERATE_MOVE)
        names[n++] = "to";
    if (o->spec.verb == OPERATE_PURGE)
        names[n++] = "confirm";
    int rc = json_only_keys(o->body, "the body", names, n, e);
    if (rc == 0)
        rc = operate_which(o, e);
    if (rc == 0 && o->runs)
        rc = operate_job(o, operate_by_state(&o->spec), e);
    if (rc == 0 && (rc = json_get_bool(o->body, "dry_run", &o->spec.dry_run, e)) == ERR_NOT_FOUND) {
        err_clear(e);
        rc = 0;
    }
    if (rc == 0)
        rc = operate_reason(o, e);
    if (rc == 0 && o->parked)
        rc = operate_parked(o, e);
    return rc == 0 ? operate_target(o, e) : rc;
}

void queue_operate_post(struct http_request *req)
{
    const char *pattern = http_route(req)->pattern;
    int verb = OPERATE_RETRY;
    while (!str_ends(pattern, operate_names[verb]))
        verb++;
    struct queue_operate *o = operate_new(req, (enum operate_verb)verb);
    if (o == NULL)
        return;
    o->look.shown = mem_new_array(QUEUE_ITEMS_MAX, sizeof *o->look.shown);
    o->body = api_body_object(req);
    if (o->body == NULL)
        operate_free(o);
    else if (operate_body(o, &o->err) != 0)
        operate_refuse(o);
    else
        operate_find(o);
}

static void operate_one(struct queue_operate *o)
{
    const char *id = http_param(o->req, "id");
    AUTO(json_unref) json_t *text = json_string(id);
    o->one = true;
    o->look.shown = mem_new_array(1, sizeof *o->look.shown);
    o->look.count = 1;
    if (queue_id(text, &o->look.shown[0].id, &o->err) != 0)
        operate_refuse(o);
    else
        operate_find(o);
}

/* POST /api/jobs/{id}/retry and cancel, with or without {"reason": ".."}. */
static void operate_run(struct http_request *req)
{
    bool retry = str_ends(http_route(req)->pattern, "/retry");
    struct queue_operate *o = operate_new(req, retry ? OPERATE_RETRY : OPERATE_CANCEL);
    static const char *const names[] = {"reason"};
    if (o == NULL)
        return;
    o->body = http_body(req).n > 0 ? api_body_object(req) : json_object();
    if (o->body == NULL)
        operate_free(o);
    else if (json_only_keys(o->body, "the body", names, ARRAY_LEN(names), &o->err) != 0 ||
             operate_reason(o, &o->err) != 0)
        operate_refuse(o);
    else
        operate_one(o);
}

static void operate_delete(struct http_request *req)
{
    struct queue_operate *o = operate_new(req, OPERATE_CANCEL);
    if (o != NULL)
        operate_one(o);
}

/* {"body": ..} or {"body_base64": ".."}, {"owner", "due", "snooze"}, and a reason */
static int operate_edit_body(struct queue_operate *o, struct err *e)
{
    static const char *const names[] = {"body", "body_base64", "owner", "due", "snooze", "reason"};
    const json_t *body = json_object_get(o->body, "body");
    const char *bytes = json_string_value(json_object_get(o->body, "body_base64"));
    int rc = json_only_keys(o->body, "the body", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = queue_tend_read(o->body, api_now_ms(api_thread_of(o->req)), &o->tend, e);
    o->has_body = body != NULL || bytes != NULL;
    if (rc == 0 && body != NULL && bytes != NULL)
        rc = err_field(e, ERR_INVALID, "body", "an edit has \"body\" or \"body_base64\"");
    if (rc == 0 && !o->has_body && !queue_tend_is_said(&o->tend))
        rc = err_field(e, ERR_INVALID, "body",
                       "an edit has \"body\" or \"body_base64\", or of a manual queue \"owner\", "
                       "\"due\" or \"snooze\"");
    if (rc == 0 && body != NULL)
        rc = json_print(body, &o->edit, e);
    else if (rc == 0 && bytes != NULL &&
             base64_decode(BASE64_STD, bytes, strlen(bytes), &o->edit, NULL) != 0)
        rc = err_field(e, ERR_INVALID, "body_base64", "body_base64 is not base64, or too long");
    if (rc == 0 && buf_failed(&o->edit))
        rc = err_field(e, ERR_TOO_LARGE, "body", "a body has at most %d bytes", CORE_BODY_MAX);
    return rc == 0 ? operate_reason(o, e) : rc;
}

static void operate_patch(struct http_request *req)
{
    struct queue_operate *o = operate_new(req, OPERATE_EDIT);
    if (o == NULL)
        return;
    o->body = api_body_object(req);
    if (o->body == NULL)
        operate_free(o);
    else if (operate_edit_body(o, &o->err) != 0)
        operate_refuse(o);
    else
        operate_one(o);
}

static const struct http_route operate_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/retry", queue_operate_post, 0, 0},
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/cancel", queue_operate_post, 0, 0},
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/move", queue_operate_post, 0, 0},
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/purge", queue_operate_post, 0, 0},
    {HTTP_VERB_PATCH, "/api/queues/:vhost/:name/messages/:id", operate_patch, 0, 0},
    {HTTP_VERB_DELETE, "/api/queues/:vhost/:name/messages/:id", operate_delete, 0, 0},
};
static const struct http_route runs_table[] = {
    {HTTP_VERB_POST, "/api/jobs/retry", queue_operate_post, 0, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/retry", operate_run, 0, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/cancel", operate_run, 0, 0},
};
const struct api_routes api_jobs_operate_routes = {runs_table, ARRAY_LEN(runs_table)};
const struct api_routes api_queue_operate_routes = {operate_table, ARRAY_LEN(operate_table)};
