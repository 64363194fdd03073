/* POST /api/jobs: a run. Its args are checked against what the job declares; the options are those
 * of a message, each instead of what the job says.
 *
 *   {"job": "thumbs", "args": {"key": "a.png"}, "options": {"delay": "10m", "unique": "a.png"}}
 *
 * Answered with 202 and the id: the run is there, and has not begun. */
#include <string.h>

#include "api/jobs_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "job/args.h"
#include "job/job.h"

/* ---- what is asked ---- */

void job_draft_fini(struct job_draft *d)
{
    job_def_fini(&d->def);
    queue_draft_fini(&d->draft);
    json_decref(d->errors);
    buf_fini(&d->body);
}

/* An option is given; else what the job says stays. */
static bool draft_has(const json_t *options, const char *name)
{
    const json_t *v = json_object_get(options, name);
    return v != NULL && !json_is_null(v);
}

static void draft_override(const json_t *o, const struct core_send *d, struct core_send *s)
{
    s->id = d->id;
    s->key = d->key;
    s->dedup = d->dedup;
    s->unique = d->unique;
    s->unique_mode = d->unique_mode;
    s->run_at = d->run_at;
    s->create = d->create;
    if (draft_has(o, "priority"))
        s->priority = d->priority;
    if (draft_has(o, "ttl"))
        s->ttl_ms = d->ttl_ms;
    if (draft_has(o, "deadline"))
        s->deadline_ms = d->deadline_ms;
    if (draft_has(o, "timeout"))
        s->timeout_ms = d->timeout_ms;
    if (draft_has(o, "attempts"))
        s->attempts = d->attempts;
    if (draft_has(o, "backoff"))
        s->backoff = d->backoff;
    if (draft_has(o, "lane"))
        s->lane = d->lane;
    if (draft_has(o, "gate")) {
        s->gates_count = d->gates_count;
        s->no_gates = d->no_gates;
        memcpy(s->gates, d->gates, sizeof s->gates);
    }
    if (draft_has(o, "needs")) {
        s->needs = d->needs;
        s->needs_count = d->needs_count;
        s->no_needs = d->no_needs;
    }
}

static int draft_chain(struct job_draft *d, const json_t *chain, struct err *e)
{
    size_t n = json_array_size(chain);
    if (chain == NULL)
        return 0;
    if (!json_is_array(chain) || n > JOB_CHAIN_MAX)
        return err_field(e, ERR_INVALID, "chain", "chain is a list of at most %d names of jobs",
                         JOB_CHAIN_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(chain, i));
        if (name == NULL || job_name_check(name, e) != 0)
            return err_field(e, ERR_INVALID, "chain", "chain: '%.64s' is no name of a job",
                             name != NULL ? name : "");
    }
    d->chain = chain;
    return 0;
}

static int draft_on_failure(struct job_draft *d, const json_t *v, struct err *e)
{
    const char *text = json_string_value(v);
    if (v == NULL)
        return 0;
    d->goes_on = text != NULL && strcmp(text, "continue") == 0;
    if (d->chain == NULL || (!d->goes_on && (text == NULL || strcmp(text, "abort") != 0)))
        return err_field(e, ERR_INVALID, "on_failure",
                         "on_failure is abort or continue, and goes with \"chain\"");
    return 0;
}

static int draft_options(struct job_draft *d, const json_t *o, int64_t now, struct err *e)
{
    const char *names[32] = {"chain", "on_failure"};
    size_t n = 2;
    for (size_t i = 0; i < queue_option_count; i++)
        names[n++] = queue_option_names[i];
    if (o != NULL && !json_is_object(o))
        return err_field(e, ERR_INVALID, "options", "options are an object, not %s",
                         json_type_name(o));
    int rc = o != NULL ? json_only_keys(o, "options", names, n, e) : 0;
    if (rc == 0)
        rc = queue_draft_options(&d->draft, o, now, e);
    if (rc == 0 && d->draft.merge)
        rc = err_field(e, ERR_INVALID, "unique_mode", JOB_NO_MERGE);
    if (rc == 0)
        rc = draft_chain(d, json_object_get(o, "chain"), e);
    return rc == 0 ? draft_on_failure(d, json_object_get(o, "on_failure"), e) : rc;
}

static int draft_args(struct job_draft *d, const json_t *given, struct err *e)
{
    struct entity_def *def = NULL;
    AUTO(json_unref)
    json_t *in = given != NULL ? json_incref((json_t *)(uintptr_t)given) : json_object();
    int rc = job_args_read(&d->def, &def, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *args = job_args_check(def, in, &d->errors, e);
    entity_def_unref(def);
    if (args == NULL)
        return e->code != 0 ? e->code : err_set(e, ERR_INVALID, "args are not as declared");
    buf_init(&d->body, QUEUE_BODY_MAX);
    rc = json_print(args, &d->body, e);
    if (buf_failed(&d->body))
        rc = err_field(e, ERR_TOO_LARGE, "args",
                       "args have at most %d bytes; keep it elsewhere and give its key",
                       QUEUE_BODY_MAX);
    return rc;
}

/* As it is declared, or as one that declares nothing, where the caller wants it made. */
static int draft_def(struct db *db, const char *name, struct job_draft *d, struct err *e)
{
    int rc = job_name_check(name, e);
    if (rc == 0 && str_starts(name, JOB_OWN_PREFIX))
        rc = err_field(e, ERR_INVALID, "job",
                       "jobs of names with '" JOB_OWN_PREFIX "' are Koan's own");
    if (rc == 0)
        rc = job_def_get(db, name, &d->def, e);
    if (rc != ERR_NOT_FOUND || !d->draft.m.send.create)
        return rc;
    AUTO(json_unref) json_t *nothing = json_object();
    err_clear(e);
    d->undeclared = true;
    return job_def_read(name, nothing, &d->def, e);
}

int job_draft_read(struct db *db, const json_t *o, int64_t now, struct job_draft *d, struct err *e)
{
    static const char *const names[] = {"job", "args", "options", "op"};
    const json_t *options = json_object_get(o, "options");
    const char *job = json_string_value(json_object_get(o, "job"));
    if (json_is_null(options))
        options = NULL;
    int rc = json_only_keys(o, "a run", names, ARRAY_LEN(names), e);
    if (rc == 0 && job == NULL)
        rc = err_field(e, ERR_INVALID, "job", "\"job\" is missing: the name of the job");
    if (rc == 0)
        rc = draft_options(d, options, now, e);
    if (rc == 0)
        rc = draft_def(db, job, d, e);
    if (rc == 0)
        rc = draft_args(d, json_object_get(o, "args"), e);
    if (rc != 0)
        return rc;
    job_def_message(&d->def, &d->message);
    draft_override(options, &d->draft.m.send, &d->message.send);
    d->message.body = buf_str(&d->body);
    d->message.body_len = d->body.len;
    return 0;
}

int job_draft_add(struct job_draft *d, struct txn *t, struct err *e)
{
    struct job_submit s = {.def = &d->def,
                           .message = &d->message,
                           .chain = d->chain,
                           .goes_on = d->goes_on,
                           .fan = d->fan};
    return job_txn_submit(t, &s, e);
}

/* ---- the route ---- */

struct submit {
    struct queue_ask ask; /* first: of one that nobody declares, is its queue there? */
    struct http_request *req;
    struct job_draft draft;
    json_t *body;
    bool missing;
};

static void submit_free(struct submit *s)
{
    job_draft_fini(&s->draft);
    json_decref(s->body);
    mem_free(s);
}

static void submit_done(struct queue_units *u)
{
    struct submit *s = u->more;
    struct http_request *req = u->req;
    struct queue_item *it = &u->items[0];
    struct core_sent sent;
    char id[UUID_TEXT];
    if (it->err.code != 0) {
        struct err e = it->err;
        queue_units_free(u);
        submit_free(s);
        http_problem(req, &e);
        return;
    }
    struct cursor c = it->result;
    queue_sent_read(&c, &sent);
    uuid_format(&sent.id, id);
    struct buf out = BUF_INIT(1024);
    buf_addf(&out, "{\"id\":\"%s\",\"job\":\"%s\",\"duplicate\":%s,\"merged\":%s}", id,
             s->draft.def.name, sent.duplicate ? "true" : "false", sent.merged ? "true" : "false");
    queue_units_headers(u);
    http_headerf(req, "Location", "/api/jobs/%s", id);
    queue_units_free(u);
    submit_free(s);
    http_respond_buf(req, 202, API_JSON, &out);
}

static void submit_start(struct submit *s)
{
    struct api_thread *t = api_thread_of(s->req);
    static const struct uuid none;
    struct queue_units *u = queue_units_new(s->req, 1, false);
    if (u == NULL) {
        submit_free(s);
        return;
    }
    struct envelope env;
    struct queue_message *m = &s->draft.message;
    u->more = s;
    api_envelope(s->req, &env);
    m->correlation = env.correlation;
    m->traceparent = env.traceparent;
    if (memcmp(&m->send.id, &none, sizeof none) == 0)
        t->ids.make(&t->ids, &m->send.id);
    struct txn *txn = queue_units_txn(u, 0);
    if (txn != NULL && job_draft_add(&s->draft, txn, &u->items[0].err) == 0 && s->missing) {
        struct core_queue q;
        job_def_queue(&s->draft.def, &q);
        q.handled = false; /* of workers outside alone, until a script declares it */
        queue_txn_declare(txn, &q);
    }
    queue_units_start(u, submit_done);
}

static void submit_ask(struct queue_ask *a, const struct core *c)
{
    struct submit *s = (struct submit *)a;
    struct core_counts n;
    s->missing = core_counts(c, API_TENANT, s->draft.def.queue, &n, NULL) != 0;
}

static void submit_asked(struct queue_ask *a)
{
    submit_start((struct submit *)a);
}

static void submit_post(struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    json_t *body = api_once_body(req);
    if (body == NULL)
        return;
    struct submit *s = mem_new(sizeof *s);
    s->req = req;
    s->body = body;
    int rc = json_object_get(body, "op") != NULL
                 ? err_field(&e, ERR_INVALID, "op", "unknown key 'op'")
                 : job_draft_read(t->db, body, api_now_ms(t), &s->draft, &e);
    if (rc != 0) {
        api_problem(req, &e, s->draft.errors, NULL);
        submit_free(s);
        return;
    }
    s->ask =
        (struct queue_ask){.home = loop_runner(t->loop), .ask = submit_ask, .done = submit_asked};
    if (s->draft.undeclared)
        queues_ask(t->api->o.queues, &s->ask);
    else
        submit_start(s);
}

static const struct http_route submit_table[] = {
    {HTTP_VERB_POST, "/api/jobs", submit_post, 0, 0},
};
const struct api_routes api_jobs_submit_routes = {submit_table, ARRAY_LEN(submit_table)};
