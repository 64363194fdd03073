/* Workers outside, beside POST /api/jobs/lease (queue_lease.c).
 *
 *   POST /api/jobs/settle         as that of a queue; the end of a run, what follows from it (the
 *                                 next of its chain, a fan-in) and the settle are one unit
 *   POST /api/jobs/{id}/progress  {"token": 7, "fraction": 0.4, "text": "half", "log": "a line"},
 *                                 answered with "cancel_asked" */
#include <string.h>

#include "api/jobs_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"

void job_make_id(void *thread, struct uuid *out)
{
    struct api_thread *t = thread;
    t->ids.make(&t->ids, out);
}

/* ---- settle ---- */

struct settle {
    json_t *body;
    bool many;
    struct job_end *ends; /* of each item, as it was built last */
};

static const char *settle_name(int outcome)
{
    static const char *const names[] = {
        [SETTLE_ACK] = "ack",         [SETTLE_NACK] = "nack",     [SETTLE_REJECT] = "reject",
        [SETTLE_RELEASE] = "release", [SETTLE_SNOOZE] = "snooze", [SETTLE_BACKOFF] = "backoff",
        [SETTLE_EXTEND] = "extend",
    };
    return names[outcome];
}

/* Refused since something that it was built from has changed. */
static bool settle_again(struct queue_units *u, size_t i)
{
    const struct settle *s = u->more;
    return job_end_is_stale(&u->items[i].unit, &s->ends[i]);
}

static int settle_add(struct queue_units *u, size_t i, struct txn *t, struct err *e)
{
    struct settle *s = u->more;
    struct api_thread *thread = api_thread_of(u->req);
    struct core_settle settle = {.token = 0};
    AUTO(buf_fini) struct buf text = BUF_INIT(QUEUE_RESULT_BYTES);
    const json_t *o = s->many ? json_array_get(s->body, i) : s->body;
    int rc = queue_settle_read(o, api_now_ms(thread), false, &settle, &text, e);
    u->items[i].tag = (int)settle.outcome;
    uuid_format(&settle.id, u->items[i].id);
    if (rc == 0 && buf_failed(&text))
        rc = err_field(e, ERR_TOO_LARGE, "result", "a result has at most %d bytes",
                       QUEUE_RESULT_BYTES);
    if (rc != 0)
        return rc;
    s->ends[i] = (struct job_end){.run = settle.id,
                                  .settle = &settle,
                                  .text = text.len > 0 ? text.data : NULL,
                                  .text_len = text.len,
                                  .make_id = job_make_id,
                                  .arg = thread};
    rc = job_txn_end(t, thread->db, &s->ends[i], e);
    s->ends[i].settle = NULL;
    s->ends[i].text = NULL;
    if (rc != ERR_GONE)
        return rc;
    err_clear(e); /* ended while it executed: what is left is to say that it stopped */
    return queue_txn_settle(t, &settle, text.len > 0 ? text.data : NULL, text.len, e);
}

static void settle_print(struct buf *out, const struct queue_item *it)
{
    if (it->err.code != 0)
        queue_print_failed(out, it->id[0] != '\0' ? it->id : NULL, &it->err);
    else
        buf_addf(out, "{\"id\":\"%s\",\"outcome\":\"%s\"}", it->id, settle_name(it->tag));
}

static void settle_free(struct queue_units *u)
{
    struct settle *s = u->more;
    json_decref(s->body);
    mem_free(s->ends);
    mem_free(s);
    queue_units_free(u);
}

static void settle_done(struct queue_units *u)
{
    const struct settle *s = u->more;
    struct http_request *req = u->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    struct err e = s->many ? (struct err)ERR_INIT : u->items[0].err;
    size_t failed = 0;
    buf_adds(&out, s->many ? "{\"results\":[" : "");
    for (size_t i = 0; i < u->count; i++) {
        buf_adds(&out, i > 0 ? "," : "");
        settle_print(&out, &u->items[i]);
        failed += u->items[i].err.code != 0;
    }
    if (s->many)
        buf_addf(&out, "],\"counts\":{\"settled\":%zu,\"failed\":%zu}}", u->count - failed, failed);
    if (e.code == 0)
        queue_units_headers(u);
    settle_free(u);
    if (e.code == 0) {
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    buf_fini(&out);
    http_problem(req, &e);
}

static void settle_post(struct http_request *req)
{
    if (!API_QUERY_NONE(req) || !api_once(req) || !api_media_json(req))
        return;
    json_t *body = api_body(req);
    if (body == NULL)
        return;
    bool many = json_is_array(body);
    size_t count = many ? json_array_size(body) : 1;
    struct queue_units *u = NULL;
    if (count == 0 || count > QUEUE_ITEMS_MAX)
        http_refuse(req, count == 0 ? ERR_INVALID : ERR_TOO_LARGE, "a request settles 1 to %d runs",
                    QUEUE_ITEMS_MAX);
    else
        u = queue_units_new(req, count, true);
    if (u == NULL) {
        json_decref(body);
        return;
    }
    struct settle *s = mem_new(sizeof *s);
    *s = (struct settle){.body = body, .many = many, .ends = mem_new_array(count, sizeof *s->ends)};
    u->more = s;
    u->again = settle_again;
    u->add = settle_add;
    for (size_t i = 0; i < count; i++) {
        struct txn *t = queue_units_txn(u, i);
        if (t != NULL)
            settle_add(u, i, t, &u->items[i].err);
    }
    queue_units_start(u, settle_done);
}

/* ---- progress ---- */

struct progress {
    struct queue_looking look; /* first */
    struct queue_shown shown;
    struct http_request *req;
    json_t *body;
    uint64_t token;
    double fraction;
    struct buf log;
};

static void progress_free(struct progress *p)
{
    json_decref(p->body);
    buf_fini(&p->log);
    mem_free(p);
}

static void progress_done(struct queue_units *u)
{
    struct progress *p = u->more;
    struct http_request *req = u->req;
    struct err e = u->items[0].err;
    struct buf out = BUF_INIT(256);
    char id[UUID_TEXT];
    uuid_format(&p->shown.id, id);
    buf_addf(&out, "{\"id\":\"%s\",\"cancel_asked\":%s}", id,
             p->shown.view.cancel_asked ? "true" : "false");
    if (e.code == 0)
        queue_units_headers(u);
    queue_units_free(u);
    progress_free(p);
    if (e.code == 0) {
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    buf_fini(&out);
    http_problem(req, &e);
}

/* The name of the job is that of the queue that the run is in. */
static void progress_looked(struct queue_looking *l)
{
    struct progress *p = (struct progress *)l;
    struct http_request *req = p->req;
    if (p->shown.err.code != 0) {
        struct err e = p->shown.err;
        progress_free(p);
        http_problem(req, &e);
        return;
    }
    struct queue_units *u = queue_units_new(req, 1, true);
    if (u == NULL) {
        progress_free(p);
        return;
    }
    struct job_progress told = {.run = p->shown.id,
                                .job = p->shown.queue + sizeof QUEUE_OF_JOBS - 1,
                                .fraction = p->fraction,
                                .text = json_string_value(json_object_get(p->body, "text")),
                                .log = p->log.data,
                                .log_len = p->log.len};
    u->more = p;
    struct txn *t = queue_units_txn(u, 0);
    if (t != NULL) {
        queue_txn_if_delivery(t, &p->shown.id, p->token);
        job_txn_progress(t, &told, &u->items[0].err);
    }
    queue_units_start(u, progress_done);
}

/* A text, or a list of lines. */
static int progress_log(struct progress *p, const json_t *v, struct err *e)
{
    if (v == NULL)
        return 0;
    for (size_t i = 0; i < (json_is_array(v) ? json_array_size(v) : 1); i++) {
        const json_t *line = json_is_array(v) ? json_array_get(v, i) : v;
        size_t n = json_string_length(line);
        if (!json_is_string(line))
            return err_field(e, ERR_INVALID, "log", "log is text, or a list of lines");
        buf_add(&p->log, json_string_value(line), n);
        if (n > 0 && json_string_value(line)[n - 1] != '\n')
            buf_addc(&p->log, '\n');
    }
    return buf_failed(&p->log)
               ? err_field(e, ERR_TOO_LARGE, "log", "log has at most %d bytes", JOB_LOG_BYTES)
               : 0;
}

static int progress_read(struct progress *p, struct err *e)
{
    static const char *const names[] = {"token", "fraction", "text", "log"};
    const json_t *token = json_object_get(p->body, "token"),
                 *fraction = json_object_get(p->body, "fraction"),
                 *text = json_object_get(p->body, "text");
    int64_t n = 0;
    int rc = json_only_keys(p->body, "progress", names, ARRAY_LEN(names), e);
    if (rc == 0 && token == NULL)
        rc = err_field(e, ERR_INVALID, "token", "token is missing: the one of the lease");
    if (rc == 0)
        rc = queue_number(token, "token", 1, INT64_MAX, &n, e);
    p->token = (uint64_t)n;
    p->fraction = json_is_number(fraction) ? json_number_value(fraction) : -1;
    if (rc == 0 && fraction != NULL && !(p->fraction >= 0 && p->fraction <= 1))
        rc = err_field(e, ERR_INVALID, "fraction", "fraction is a number of 0 to 1");
    if (rc == 0 && text != NULL && !json_is_string(text))
        rc = err_field(e, ERR_INVALID, "text", "text is text of at most %d bytes", JOB_TEXT_BYTES);
    return rc == 0 ? progress_log(p, json_object_get(p->body, "log"), e) : rc;
}

static void progress_post(struct http_request *req)
{
    struct err e = ERR_INIT;
    json_t *body = api_once_body(req);
    if (body == NULL)
        return;
    struct progress *p = mem_new(sizeof *p);
    p->req = req;
    p->body = body;
    buf_init(&p->log, JOB_LOG_BYTES + 1);
    if (progress_read(p, &e) != 0) {
        progress_free(p);
        http_problem(req, &e);
        return;
    }
    if (!job_run_id(req, &p->shown.id)) {
        progress_free(p);
        return;
    }
    p->look = (struct queue_looking){
        .tenant = API_TENANT, .shown = &p->shown, .count = 1, .done = progress_looked};
    queue_look_start(&p->look, req);
}

static const struct http_route work_table[] = {
    {HTTP_VERB_POST, "/api/jobs/settle", settle_post, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/jobs/:id/progress", progress_post, HTTP_URGENT, 0},
};
const struct api_routes api_jobs_work_routes = {work_table, ARRAY_LEN(work_table)};
