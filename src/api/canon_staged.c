/* Arrivals that wait for a person (?mode=stage): let in, which moves the message to the queue of
 * the model, where the node works it as any other; or rejected with a reason, which ends it. Both
 * look first whether it is one that waits there. Looking at them, and correcting what they say, is
 * for the routes of queues. */
#include <string.h>

#include "api/canon_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

struct staged {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct http_request *req;
    char queue[CANON_QUEUE_NAME_MAX], to[CANON_QUEUE_NAME_MAX];
    json_t *said; /* of a rejection: {"reason"}; else NULL */
    char id[UUID_TEXT];
};

static void staged_free(struct staged *s)
{
    queue_shown_free(s->look.shown, s->look.count);
    json_decref(s->said);
    mem_free(s);
}

static void staged_refuse(struct staged *s, const struct err *e)
{
    struct http_request *req = s->req;
    struct err copy = *e;
    staged_free(s);
    http_problem(req, &copy);
}

/* ---- the unit ---- */

static void staged_done(struct queue_units *u)
{
    struct staged *s = u->more;
    struct http_request *req = s->req;
    struct err e = u->items[0].err;
    bool rejected = s->said != NULL;
    if (e.code != 0) {
        queue_units_free(u);
        staged_refuse(s, &e);
        return;
    }
    struct buf out = BUF_INIT(1024);
    buf_addf(&out, "{\"outcome\":\"%s\",\"record\":\"%s\",\"queue\":\"%s\"}",
             rejected ? "rejected" : "queued", s->id, rejected ? s->queue : s->to);
    queue_units_headers(u);
    if (!rejected)
        http_headerf(req, "Location", "/api/queues/%%2F/%s/messages/%s", s->to, s->id);
    queue_units_free(u);
    staged_free(s);
    http_respond_buf(req, rejected ? 200 : 202, API_JSON, &out);
}

/* What it says, and that it was rejected: by whom, when, why. */
static int staged_decide(struct staged *s, struct buf *out, struct err *e)
{
    char at[TIME_TEXT];
    struct envelope env;
    AUTO(buf_fini) struct buf shown = BUF_INIT(8 << 20);
    api_envelope(s->req, &env);
    time_format(api_now_ms(api_thread_of(s->req)), at);
    queue_shown_print(&s->look.shown[0], &shown);
    AUTO(json_unref) json_t *record = json_read(shown.data, shown.len, e);
    if (record == NULL)
        return e->code;
    json_t *body = json_object_get(record, "body");
    AUTO(json_unref) json_t *none = json_object();
    body = json_is_object(body) ? body : none;
    json_object_set_new(s->said, "by", json_string(env.principal));
    json_object_set_new(s->said, "at", json_string(at));
    json_object_set(body, "rejected", s->said);
    int rc = json_print(body, out, e);
    return rc == 0 ? buf_check(out, "the arrival", e) : rc;
}

static void staged_propose(struct staged *s)
{
    AUTO(buf_fini) struct buf body = BUF_INIT(CORE_BODY_MAX);
    const struct uuid *id = &s->look.shown[0].id;
    struct err e = ERR_INIT;
    if (s->said != NULL && staged_decide(s, &body, &e) != 0) {
        staged_refuse(s, &e);
        return;
    }
    struct queue_units *u = queue_units_new(s->req, 1, true);
    if (u == NULL) {
        staged_free(s);
        return;
    }
    struct txn *t = queue_units_txn(u, 0);
    u->more = s;
    if (t != NULL && s->said == NULL) {
        queue_txn_move(t, id, s->to);
    } else if (t != NULL) {
        queue_txn_edit(t, id, body.data, body.len, true, &u->items[0].err);
        queue_txn_cancel(t, id);
    }
    queue_units_start(u, staged_done);
}

/* ---- which ---- */

static void staged_read(struct queue_reading *r)
{
    struct staged *s = (struct staged *)((char *)r - offsetof(struct staged, reading));
    const struct err *e = r->job.err.code != 0 ? &r->job.err : &s->look.shown[0].err;
    if (e->code != 0)
        staged_refuse(s, e);
    else
        staged_propose(s);
}

static void staged_looked(struct queue_looking *l)
{
    struct staged *s = (struct staged *)l;
    struct queue_shown *shown = &l->shown[0];
    bool done_before = api_kept(s->req, 0) != NULL;
    if (!done_before && shown->err.code == 0 && shown->view.state > REC_RETRYABLE)
        err_field(&shown->err, ERR_CONFLICT, "record", "it does not wait: it is %s",
                  rec_state_name(shown->view.state));
    if (!done_before && shown->err.code != 0) {
        staged_refuse(s, &shown->err);
        return;
    }
    if (done_before || s->said == NULL) {
        staged_propose(s);
        return;
    }
    s->reading = (struct queue_reading){.shown = shown, .count = 1, .done = staged_read};
    queue_read_start(&s->reading, s->req);
}

/* ---- the requests ---- */

static struct staged *staged_new(struct http_request *req)
{
    if (!API_QUERY_NONE(req) || !api_once(req))
        return NULL;
    AUTO(api_model_unrefp) struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return NULL;
    struct staged *s = mem_new(sizeof *s);
    s->req = req;
    canon_queue_name(canon_model_name(m), true, s->queue);
    canon_queue_name(canon_model_name(m), false, s->to);
    s->look.tenant = API_TENANT;
    s->look.queue = s->queue;
    s->look.shown = mem_new(sizeof *s->look.shown);
    s->look.count = 1;
    s->look.done = staged_looked;
    return s;
}

static void staged_start(struct staged *s)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *id = json_string(http_param(s->req, "record"));
    if (queue_id(id, &s->look.shown[0].id, &e) != 0) {
        staged_refuse(s, &e);
        return;
    }
    uuid_format(&s->look.shown[0].id, s->id);
    queue_look_start(&s->look, s->req);
}

static void staged_approve(struct http_request *req)
{
    if (!api_body_none(req))
        return;
    struct staged *s = staged_new(req);
    if (s != NULL)
        staged_start(s);
}

int canon_reason(const json_t *body, struct err *e)
{
    static const char *const names[] = {"reason"};
    const char *reason = NULL;
    int rc = json_only_keys(body, "a rejection", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = json_get_string(body, "reason", &reason, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (reason == NULL || *reason == '\0' || strlen(reason) > CANON_REASON_MAX)
        return err_field(e, ERR_INVALID, "reason", "a rejection has a \"reason\" of 1 to %d bytes",
                         CANON_REASON_MAX);
    return 0;
}

static void staged_reject(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct staged *s = staged_new(req);
    if (s == NULL)
        return;
    s->said = api_body_object(req);
    if (s->said == NULL)
        staged_free(s);
    else if (canon_reason(s->said, &e) != 0)
        staged_refuse(s, &e);
    else
        staged_start(s);
}

static const struct http_route staged_table[] = {
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/staged/:record/approve",
     .handler = staged_approve},
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/staged/:record/reject",
     .handler = staged_reject},
};
const struct api_routes api_canon_staged_routes = {staged_table, ARRAY_LEN(staged_table)};
