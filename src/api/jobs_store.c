/* Runs that are worked outside: what a worker in any language needs to do what the function of a
 * job does.
 *
 *   POST /api/jobs/{id}/steps/{name}         {"token", "result", "undo"}
 *   POST /api/jobs/{id}/steps/{name}/undone  {"token"}: of the run that undoes
 *   POST /api/jobs/{id}/sleeps/{name}        {"token", "delay" or "until"}
 *   POST /api/jobs/{id}/waits/{name}         {"token", "topic", "key", "timeout"}
 *   POST /api/jobs/{id}/fans/{name}          {"token", "on_done", "args", "runs": [..]}
 *
 * A sleep and a wait are asked for again by each execution that comes by, and answered from what is
 * stored: over, or the run is given back once more. */
#include <string.h>

#include "api/jobs_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "bus/bus.h"

enum store_outcome {
    STORE_STORED,
    STORE_UNDID,
    STORE_SNOOZED,
    STORE_WAITING,
    STORE_OVER,
    STORE_MET,
    STORE_LATE
};
static const char *const store_outcomes[] = {"stored", "undone", "snoozed", "waiting",
                                             "over",   "met",    "late"};

enum { STORE_TRIES = 3 }; /* a message comes once */

struct store {
    struct job_finding finding; /* first */
    struct job_stored one, *list[1];
    struct http_request *req;
    json_t *body;
    enum store_outcome outcome;
    int64_t until;
    bool again; /* it waited before: its message may have come just now */
    int tries;
};

static void store_free(struct store *s)
{
    job_stored_fini(&s->one);
    json_decref(s->body);
    mem_free(s);
}

static void store_refuse(struct store *s, const struct err *why)
{
    struct http_request *req = s->req;
    struct err e = *why;
    AUTO(json_unref) json_t *errors = json_incref(s->one.errors);
    store_free(s);
    api_problem(req, &e, errors, NULL);
}

/* By the clock of this node or of the ledger, whichever is ahead: what the ledger calls due is not
 * early here. */
static int64_t store_now(const struct http_request *req)
{
    struct ledger_status l;
    struct api_thread *t = api_thread_of(req);
    int64_t now = api_now_ms(t);
    ledger_status(t->api->o.ledger, &l);
    return l.last_commit_at > now ? l.last_commit_at : now;
}

static void store_answer(struct store *s)
{
    struct http_request *req = s->req;
    AUTO(json_unref) json_t *step = NULL;
    struct err e = ERR_INIT;
    char id[UUID_TEXT], until[TIME_TEXT];
    int rc = job_step_get(api_thread_of(req)->db, &s->one.run, s->one.name, &step, &e);
    if (rc < 0) {
        store_refuse(s, &e);
        return;
    }
    uuid_format(&s->one.run, id);
    json_t *o = json_pack("{s:s, s:s, s:s}", "id", id, "name", s->one.name, "outcome",
                          store_outcomes[s->outcome]);
    json_t *result = json_object_get(step, "result");
    if (s->outcome == STORE_SNOOZED || s->outcome == STORE_WAITING) {
        time_format(s->until, until);
        json_object_set_new(o, "until", json_string(until));
    }
    if (s->outcome == STORE_MET)
        json_object_set(o, "message", result);
    if (s->one.kind == STORED_FAN)
        json_object_update(o, result);
    store_free(s);
    api_answer_json(req, 200, o);
}

static void store_wait(struct store *s, const json_t *step);

/* The message came between the look and the snooze. */
static bool store_again(struct store *s, const struct err *e)
{
    if (!s->again || e->code != ERR_CONFLICT || ++s->tries == STORE_TRIES)
        return false;
    store_wait(s, NULL);
    return true;
}

static void store_done(struct queue_units *u)
{
    struct store *s = u->more;
    struct err e = u->items[0].err;
    if (e.code == 0)
        queue_units_headers(u);
    queue_units_free(u);
    if (e.code == 0)
        store_answer(s);
    else if (!store_again(s, &e))
        store_refuse(s, &e);
}

typedef int store_add(struct store *s, struct txn *t, struct err *e);

static int store_whole(struct store *s, struct txn *t, struct err *e)
{
    return job_stored_add(&s->one, api_thread_of(s->req)->db, t, e);
}

static int store_only(struct store *s, struct txn *t, struct err *e)
{
    return job_stored_keep(&s->one, api_thread_of(s->req)->db, t, e);
}

static int store_back(struct store *s, struct txn *t, struct err *e)
{
    return job_stored_back(&s->one, s->until, t, e);
}

static int store_back_waiting(struct store *s, struct txn *t, struct err *e)
{
    bus_txn_if_waits(t, &s->one.run, s->one.name);
    return store_back(s, t, e);
}

static int store_waited(struct store *s, struct txn *t, struct err *e)
{
    bus_txn_wait_end(t, &s->one.run, s->one.name);
    return job_stored_keep(&s->one, api_thread_of(s->req)->db, t, e);
}

static void store_propose(struct store *s, store_add *add, enum store_outcome outcome)
{
    struct queue_units *u = queue_units_new(s->req, 1, true);
    s->outcome = outcome;
    if (u == NULL) {
        store_free(s);
        return;
    }
    u->more = s;
    struct err *e = &u->items[0].err;
    struct txn *t = queue_units_txn(u, 0);
    if (t != NULL && job_stored_if(&s->one, api_thread_of(s->req)->db, t, e) == 0)
        add(s, t, e);
    queue_units_start(u, store_done);
}

/* ---- what becomes of it ---- */

/* The step is there: when its sleep is over. */
static int64_t sleep_until(const json_t *step)
{
    const char *text = json_string_value(json_path(step, "result.until"));
    int64_t until = 0;
    return text != NULL && time_parse(text, strlen(text), &until) ? until : 0;
}

static void store_sleep(struct store *s, const json_t *step)
{
    s->until = step != NULL ? sleep_until(step) : s->one.until;
    bool over = s->until <= store_now(s->req);
    if (step == NULL)
        store_propose(s, over ? store_only : store_whole, over ? STORE_OVER : STORE_SNOOZED);
    else if (!over)
        store_propose(s, store_back, STORE_SNOOZED);
    else {
        s->outcome = STORE_OVER;
        store_answer(s);
    }
}

static json_t *met_json(const struct bus_met *m)
{
    bool is_json = m->type == NULL || strstr(m->type, "json") != NULL;
    char id[UUID_TEXT];
    uuid_format(&m->id, id);
    json_t *o = json_pack("{s:s, s:s}", "id", id, "topic", m->topic);
    if (m->key != NULL)
        json_object_set_new(o, "key", json_string(m->key));
    json_t *body = is_json ? json_read(m->body, m->body_len, NULL) : NULL;
    json_object_set_new(o, "body", body != NULL ? body : json_stringn(m->body, m->body_len));
    return o;
}

/* The wait is over: what it has come to is the result of the step. */
static void store_wait_end(struct store *s, const struct bus_met *met)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *message = met != NULL ? met_json(met) : json_pack("{s:b}", "late", 1);
    buf_reset(&s->one.result);
    if (json_print(message, &s->one.result, &e) != 0 || buf_failed(&s->one.result)) {
        err_field(&e, ERR_TOO_LARGE, "message", "the message is over %d KiB, which a step may have",
                  JOB_RESULT_BYTES >> 10);
        store_refuse(s, &e);
        return;
    }
    store_propose(s, store_waited, met != NULL ? STORE_MET : STORE_LATE);
}

static void store_wait(struct store *s, const json_t *step)
{
    enum bus_waited how = BUS_WAIT_NONE;
    struct bus_met met = {.until = 0};
    struct err e = ERR_INIT;
    struct db *db = api_thread_of(s->req)->db;
    if (step != NULL) {
        bool late = json_is_true(json_object_get(json_object_get(step, "result"), "late"));
        s->outcome = late ? STORE_LATE : STORE_MET;
        store_answer(s);
        return;
    }
    if (bus_wait_read(db, API_TENANT, &s->one.run, s->one.name, &how, &met, &e) != 0) {
        store_refuse(s, &e);
        return;
    }
    s->until = how == BUS_WAIT_NONE ? s->one.until : met.until;
    s->again = how == BUS_WAIT_OPEN && s->until > store_now(s->req);
    if (how == BUS_WAIT_NONE)
        store_propose(s, store_whole, STORE_WAITING);
    else if (s->again)
        store_propose(s, store_back_waiting, STORE_WAITING);
    else
        store_wait_end(s, how == BUS_WAIT_MET ? &met : NULL);
    bus_met_fini(&met);
}

/* A sleep says so; the step of a wait has the message, or that none came. */
static bool is_of_kind(const json_t *step, enum job_stored_kind kind)
{
    const json_t *result = json_object_get(step, "result");
    if (kind == STORED_SLEEP)
        return json_object_get(step, "kind") != NULL;
    return json_object_get(result, "late") != NULL || json_object_get(result, "topic") != NULL;
}

static void store_found(struct job_finding *f)
{
    struct store *s = (struct store *)f;
    AUTO(json_unref) json_t *step = NULL;
    struct err e = s->one.err;
    bool asks = s->one.kind == STORED_SLEEP || s->one.kind == STORED_WAIT;
    if (e.code == 0 && asks)
        job_step_get(api_thread_of(s->req)->db, &s->one.run, s->one.name, &step, &e);
    if (step != NULL && !is_of_kind(step, s->one.kind))
        err_field(&e, ERR_CONFLICT, "name",
                  "the run has stored a step '%s' already, which is no %s: a name is used once",
                  s->one.name, s->one.kind == STORED_SLEEP ? "sleep" : "wait");
    if (e.code != 0) {
        store_refuse(s, &e);
        return;
    }
    switch (s->one.kind) {
    case STORED_SLEEP:
        store_sleep(s, step);
        break;
    case STORED_WAIT:
        store_wait(s, step);
        break;
    case STORED_STEP:
    case STORED_FAN:
        store_propose(s, store_whole, STORE_STORED);
        break;
    case STORED_UNDONE:
        store_propose(s, store_whole, STORE_UNDID);
        break;
    }
}

/* The body says all but whose it is and how it is called, which the path does. */
static int store_body(struct store *s, struct err *e)
{
    static const char *const path[] = {"op", "id", "name"};
    for (size_t i = 0; i < ARRAY_LEN(path); i++)
        if (json_object_get(s->body, path[i]) != NULL)
            return err_field(e, ERR_INVALID, path[i], "unknown key '%s'", path[i]);
    json_object_set_new(s->body, "id", json_string(http_param(s->req, "id")));
    json_object_set_new(s->body, "name", json_string(http_param(s->req, "name")));
    struct job_storing by = {.thread = api_thread_of(s->req), .now = store_now(s->req)};
    api_envelope(s->req, &by.env);
    return job_stored_read(&s->one, s->body, &by, e);
}

static void store_post(struct http_request *req, enum job_stored_kind kind)
{
    struct err e = ERR_INIT;
    json_t *body = api_once_body(req);
    if (body == NULL)
        return;
    struct store *s = mem_new(sizeof *s);
    s->req = req;
    s->body = body;
    s->one.kind = kind;
    s->list[0] = &s->one;
    if (store_body(s, &e) != 0) {
        store_refuse(s, &e);
        return;
    }
    s->finding.list = s->list;
    s->finding.count = 1;
    s->finding.done = store_found;
    job_find_start(&s->finding, req);
}

static void store_step(struct http_request *req)
{
    store_post(req, STORED_STEP);
}

static void store_undone(struct http_request *req)
{
    store_post(req, STORED_UNDONE);
}

static void store_sleeps(struct http_request *req)
{
    store_post(req, STORED_SLEEP);
}

static void store_waits(struct http_request *req)
{
    store_post(req, STORED_WAIT);
}

static void store_fans(struct http_request *req)
{
    store_post(req, STORED_FAN);
}

static const struct http_route store_table[] = {
    {HTTP_VERB_POST, "/api/jobs/:id/steps/:name", store_step, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/steps/:name/undone", store_undone, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/sleeps/:name", store_sleeps, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/waits/:name", store_waits, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/fans/:name", store_fans, 0, 0},
};
const struct api_routes api_jobs_store_routes = {store_table, ARRAY_LEN(store_table)};
