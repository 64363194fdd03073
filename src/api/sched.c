/* /api/schedules: when jobs are due, what was decided, and telling them what to do. */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/time.h"
#include "job/sched.h"

enum {
    SCHED_PAGE_MAX = 1000,
    SCHED_NEXT = 5,   /* due times that are shown, unless said otherwise */
    SCHED_TICKS = 20, /* decisions, likewise */
    SCHED_TRIES = 5,  /* somebody else was faster each time */
};

/* ---- reading ---- */

static void sched_list_now(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct api_thread *t = api_thread_of(req);
    json_t *list = NULL;
    int64_t limit;
    bool more;
    if (!API_QUERY_ONLY(req, "after", "limit") ||
        !api_query_int(req, "limit", 1, SCHED_PAGE_MAX, SCHED_PAGE_MAX, &limit))
        return;
    if (job_schedules_list(t->db, http_query(req, "after"), (size_t)limit, &list, &more, &e) != 0)
        http_problem(req, &e);
    else
        call_page_answer(req, list, more, "name");
}

static void sched_list(struct http_request *req)
{
    api_read(req, sched_list_now);
}

static void sched_show(struct http_request *req, const struct job_schedule_look *l)
{
    struct err e = ERR_INIT;
    json_t *o = NULL;
    if (job_schedule_show(api_thread_of(req)->db, http_param(req, "name"), l, &o, &e) != 0)
        http_problem(req, &e);
    else
        api_answer_json(req, 200, o);
}

static void sched_get_now(struct http_request *req)
{
    int64_t next, ticks;
    if (!API_QUERY_ONLY(req, "next", "ticks") ||
        !api_query_int(req, "next", 0, JOB_NEXT_MAX, SCHED_NEXT, &next) ||
        !api_query_int(req, "ticks", 0, JOB_TICKS_KEPT, SCHED_TICKS, &ticks))
        return;
    sched_show(req, &(struct job_schedule_look){.now = api_now_ms(api_thread_of(req)),
                                                .next = (size_t)next,
                                                .ticks = (size_t)ticks});
}

static void sched_get(struct http_request *req)
{
    api_read(req, sched_get_now);
}

/* ---- verbs ---- */

enum sched_verb { SCHED_PAUSE, SCHED_RESUME, SCHED_TRIGGER, SCHED_BACKFILL };

/* In the request's arena. */
struct sched_call {
    struct unit unit; /* first */
    struct http_request *req;
    enum sched_verb verb;
    struct job_verb of;
    struct job_span span;
    struct job_decided decided;
    bool nothing; /* it was so already */
    int tries;
};

static void sched_id(void *arg, struct uuid *out)
{
    struct api_thread *t = arg;
    t->ids.make(&t->ids, out);
}

static int sched_add(struct sched_call *c, struct err *e)
{
    struct db *db = api_thread_of(c->req)->db;
    struct txn *t = &c->unit.txn;
    bool resumed = true;
    int rc = 0;
    c->of.now = api_now_ms(api_thread_of(c->req));
    switch (c->verb) {
    case SCHED_PAUSE:
        t->grows = false;
        rc = job_txn_pause(t, db, &c->of, e);
        break;
    case SCHED_RESUME:
        t->grows = false;
        rc = job_txn_resume(t, db, &c->of, &resumed, &c->decided, e);
        break;
    case SCHED_TRIGGER:
        rc = job_txn_trigger(t, db, &c->of, &c->decided, e);
        break;
    case SCHED_BACKFILL:
        rc = job_txn_backfill(t, db, &c->of, &c->span, &c->decided, e);
        break;
    }
    c->nothing = !resumed;
    return rc;
}

/* What was decided, as it is kept; a verb without a decision shows the schedule. */
static void sched_answer(struct sched_call *c, struct cursor *result)
{
    struct err e = ERR_INIT;
    json_t *tick = NULL;
    struct api_thread *t = api_thread_of(c->req);
    if (c->verb == SCHED_PAUSE || c->verb == SCHED_RESUME) {
        sched_show(c->req, &(struct job_schedule_look){.now = api_now_ms(t), .ticks = 1});
        return;
    }
    if (job_tick_show(t->db, c->of.name, job_decided_read(result), &tick, &e) != 0)
        http_problem(c->req, &e);
    else
        api_answer_json(c->req, 202, tick);
}

static void sched_begin(struct sched_call *c);

static bool sched_replayed(struct sched_call *c)
{
    struct cursor result;
    uint64_t seq;
    if (!call_kept(c->req, &result, &seq))
        return false;
    api_replayed(c->req);
    http_header_uint(c->req, "X-Koan-Seq", seq);
    sched_answer(c, &result);
    return true;
}

static void sched_done(struct unit *u)
{
    struct sched_call *c = (struct sched_call *)u;
    struct unit done = *u; /* the struct goes with the answer */
    struct cursor result, one;
    cursor_init(&result, NULL, 0);
    for (uint32_t i = 0; done.err.code == 0 && i < done.txn.ops; i++)
        if (unit_result(&done, i, &one) && cursor_left(&one) > 0 && cursor_left(&result) == 0)
            result = one;
    if (done.err.code == 0) {
        http_header_uint(c->req, "X-Koan-Seq", done.seq);
        sched_answer(c, &result);
    } else if (!api_once_again(c->req) || !sched_replayed(c)) {
        if (done.err.code == ERR_CONFLICT && ++c->tries < SCHED_TRIES)
            sched_begin(c);
        else
            http_problem(c->req, &done.err);
    }
    unit_fini(&done);
}

static void sched_begin(struct sched_call *c)
{
    struct err e = ERR_INIT;
    unit_init(&c->unit, loop_runner(api_thread_of(c->req)->loop), sched_done);
    call_unit_begin(c->req, &c->unit.txn);
    int rc = sched_add(c, &e);
    if (rc == 0 && !c->nothing)
        rc = call_unit_end(c->req, &c->unit.txn, &e);
    if (rc == 0 && !c->nothing &&
        (rc = ledger_propose(api_thread_of(c->req)->api->o.ledger, &c->unit, &e)) == 0)
        return;
    unit_fini(&c->unit);
    if (rc == 0)
        sched_answer(c, NULL);
    else
        http_problem(c->req, &e);
}

/* Texts of the body live as long as `body`, so they are copied. */
static void sched_start(struct http_request *req, enum sched_verb verb, const char *reason,
                        const struct job_span *span)
{
    struct envelope env;
    if (!api_once(req))
        return;
    api_envelope(req, &env);
    struct sched_call *c = arena_new(http_arena(req), sizeof *c);
    *c = (struct sched_call){.req = req,
                             .verb = verb,
                             .of = {.name = http_param(req, "name"),
                                    .by = env.principal != NULL ? env.principal : TXN_PRINCIPAL,
                                    .make_id = sched_id,
                                    .arg = api_thread_of(req)}};
    if (reason != NULL)
        c->of.reason = arena_strndup(http_arena(req), reason, strlen(reason));
    if (span != NULL)
        c->span = *span;
    if (!sched_replayed(c))
        sched_begin(c);
}

static void sched_pause(struct http_request *req)
{
    static const char *const names[] = {"reason"};
    const char *reason;
    AUTO(json_unref) json_t *body = API_QUERY_NONE(req) ? call_body(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !call_text(req, body, "reason", NULL, &reason))
        return;
    sched_start(req, SCHED_PAUSE, reason, NULL);
}

static void sched_resume(struct http_request *req)
{
    if (API_QUERY_NONE(req) && api_body_none(req))
        sched_start(req, SCHED_RESUME, NULL, NULL);
}

static void sched_trigger(struct http_request *req)
{
    if (API_QUERY_NONE(req) && api_body_none(req))
        sched_start(req, SCHED_TRIGGER, NULL, NULL);
}

static bool sched_time(struct http_request *req, const json_t *body, const char *key, int64_t *out)
{
    struct err e = ERR_INIT;
    const json_t *v = json_object_get(body, key);
    if (json_is_string(v) && time_parse(json_string_value(v), json_string_length(v), out))
        return true;
    err_field(&e, ERR_INVALID, key, "%s: a time like \"2027-01-31T08:00:00Z\"", key);
    http_problem(req, &e);
    return false;
}

static void sched_backfill(struct http_request *req)
{
    static const char *const names[] = {"from", "to"};
    struct job_span span;
    AUTO(json_unref) json_t *body = API_QUERY_NONE(req) ? api_body_object(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !sched_time(req, body, "from", &span.from) || !sched_time(req, body, "to", &span.to))
        return;
    sched_start(req, SCHED_BACKFILL, NULL, &span);
}

static const struct http_route sched_table[] = {
    {HTTP_VERB_GET, "/api/schedules", sched_list, 0, 0},
    {HTTP_VERB_GET, "/api/schedules/:name", sched_get, 0, 0},
    {HTTP_VERB_POST, "/api/schedules/:name/pause", sched_pause, 0, 0},
    {HTTP_VERB_POST, "/api/schedules/:name/resume", sched_resume, 0, 0},
    {HTTP_VERB_POST, "/api/schedules/:name/trigger", sched_trigger, 0, 0},
    {HTTP_VERB_POST, "/api/schedules/:name/backfill", sched_backfill, 0, 0},
};
const struct api_routes api_sched_routes = {sched_table, ARRAY_LEN(sched_table)};
