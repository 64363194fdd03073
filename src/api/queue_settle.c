/* POST /api/queues/{vhost}/{name}/settle: what came of deliveries, each a unit of its own.
 *
 *   [{"id": "..", "token": 7, "outcome": "ack", "result": {..}},
 *    {"id": "..", "token": 8, "outcome": "nack", "error": "no route", "delay": "10s"}]
 *
 * Settlements are urgent: they are taken when new work is not. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

static const char *const settle_names[] = {
    [SETTLE_ACK] = "ack",         [SETTLE_NACK] = "nack",     [SETTLE_REJECT] = "reject",
    [SETTLE_RELEASE] = "release", [SETTLE_SNOOZE] = "snooze", [SETTLE_BACKOFF] = "backoff",
    [SETTLE_EXTEND] = "extend",
};

const char *queue_settle_name(enum core_outcome outcome)
{
    return settle_names[outcome];
}

static int settle_outcome(const json_t *o, enum core_outcome *out, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, "outcome"));
    for (int i = SETTLE_ACK; text != NULL && i <= SETTLE_EXTEND; i++)
        if (strcmp(settle_names[i], text) == 0) {
            *out = (enum core_outcome)i;
            return 0;
        }
    const char *near =
        text != NULL ? str_nearest(text, settle_names + 1, ARRAY_LEN(settle_names) - 1) : NULL;
    return err_field(e, ERR_INVALID, "outcome",
                     "outcome is ack, nack, reject, release, snooze, backoff or extend%s%s%s",
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

/* What any settle takes: a key that none knows is named before what is missing. */
static int settle_any_keys(const json_t *o, bool tx, struct err *e)
{
    static const char *const names[] = {"id",    "token", "outcome", "result", "error", "delay",
                                        "until", "gate",  "lease",   "op",     "queue"};
    return json_only_keys(o, "a settle", names, ARRAY_LEN(names) - (tx ? 0 : 2), e);
}

/* What else an outcome takes. */
static int settle_keys(const json_t *o, enum core_outcome outcome, bool tx, struct err *e)
{
    static const char *const more[][3] = {
        [SETTLE_ACK] = {"result"},
        [SETTLE_NACK] = {"error", "delay"},
        [SETTLE_REJECT] = {"error"},
        [SETTLE_RELEASE] = {NULL},
        [SETTLE_SNOOZE] = {"until", "delay"},
        [SETTLE_BACKOFF] = {"gate", "until", "delay"},
        [SETTLE_EXTEND] = {"lease"},
    };
    const char *names[9] = {"id", "token", "outcome"};
    size_t n = 3;
    if (tx) {
        names[n++] = "op";
        names[n++] = "queue";
    }
    for (size_t i = 0; i < 3 && more[outcome][i] != NULL; i++)
        names[n++] = more[outcome][i];
    char what[32];
    snprintf(what, sizeof what, "a settle (%s)", settle_names[outcome]);
    return json_only_keys(o, what, names, n, e);
}

static int settle_token(const json_t *o, uint64_t *out, struct err *e)
{
    int64_t n = 0;
    const json_t *v = json_object_get(o, "token");
    if (v == NULL)
        return err_field(e, ERR_INVALID, "token", "token is missing: the one of the delivery");
    int rc = queue_number(v, "token", 1, INT64_MAX, &n, e);
    *out = (uint64_t)n;
    return rc;
}

int queue_until(const json_t *o, int64_t now, int64_t *out, struct err *e)
{
    const json_t *until = json_object_get(o, "until"), *delay = json_object_get(o, "delay");
    if ((until != NULL) == (delay != NULL))
        return err_field(e, ERR_INVALID, "until", "it takes \"until\" or \"delay\", one of them");
    if (delay == NULL)
        return json_is_string(until) &&
                       time_parse(json_string_value(until), json_string_length(until), out) &&
                       *out >= 0
                   ? 0
                   : err_field(e, ERR_INVALID, "until",
                               "until is a time like \"2027-01-31T08:00:00Z\"");
    int rc = queue_duration(delay, "delay", out, e);
    *out += now;
    return rc;
}

static int settle_gate(const json_t *o, struct core_settle *s, struct err *e)
{
    s->gate = json_string_value(json_object_get(o, "gate"));
    if (s->gate == NULL)
        return err_field(e, ERR_INVALID, "gate", "backoff names the gate that is to be closed");
    return queue_name_check(s->gate, "gate", e);
}

static int settle_lease(const json_t *o, struct core_settle *s, struct err *e)
{
    int64_t ms = QUEUE_LEASE_MS;
    const json_t *v = json_object_get(o, "lease");
    int rc = v != NULL ? queue_duration(v, "lease", &ms, e) : 0;
    if (rc == 0 && (ms < QUEUE_LEASE_MIN_MS || ms > QUEUE_LEASE_MAX_MS))
        rc = err_field(e, ERR_INVALID, "lease", "a lease lasts from 1 s to 12 h");
    s->lease_ms = (uint32_t)ms;
    return rc;
}

static int settle_more(const json_t *o, int64_t now, struct core_settle *s, struct err *e)
{
    const json_t *delay = json_object_get(o, "delay");
    s->delay_ms = -1;
    switch (s->outcome) {
    case SETTLE_ACK:
    case SETTLE_REJECT:
    case SETTLE_RELEASE:
        return 0;
    case SETTLE_NACK:
        return delay != NULL ? queue_duration(delay, "delay", &s->delay_ms, e) : 0;
    case SETTLE_BACKOFF:
        if (settle_gate(o, s, e) != 0)
            return e->code;
        return queue_until(o, now, &s->until, e);
    case SETTLE_SNOOZE:
        return queue_until(o, now, &s->until, e);
    case SETTLE_EXTEND:
        return settle_lease(o, s, e);
    }
    return 0;
}

/* Its result, or the text of its error. */
static int settle_text(const json_t *o, enum core_outcome outcome, struct buf *out, struct err *e)
{
    const json_t *v = json_object_get(o, outcome == SETTLE_ACK ? "result" : "error");
    if (v == NULL)
        return 0;
    if (outcome == SETTLE_ACK)
        return json_print(v, out, e);
    if (!json_is_string(v))
        return err_field(e, ERR_INVALID, "error", "error is text of at most %d bytes",
                         QUEUE_ERROR_BYTES);
    buf_add(out, json_string_value(v), json_string_length(v));
    return 0;
}

int queue_settle_read(const json_t *o, int64_t now, bool tx, struct core_settle *s,
                      struct buf *text, struct err *e)
{
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "a settle is an object, not %s", json_type_name(o));
    int rc = settle_any_keys(o, tx, e);
    if (rc == 0)
        rc = settle_outcome(o, &s->outcome, e);
    if (rc == 0)
        rc = settle_keys(o, s->outcome, tx, e);
    if (rc == 0)
        rc = queue_id(json_object_get(o, "id"), &s->id, e);
    if (rc == 0)
        rc = settle_token(o, &s->token, e);
    if (rc == 0)
        rc = settle_more(o, now, s, e);
    return rc == 0 ? settle_text(o, s->outcome, text, e) : rc;
}

/* ---- the route ---- */

static void settle_item(struct queue_units *u, size_t i, const json_t *o)
{
    struct queue_item *it = &u->items[i];
    struct core_settle s = {.token = 0};
    AUTO(buf_fini) struct buf text = BUF_INIT(QUEUE_RESULT_BYTES);
    struct err *e = &it->err;
    if (queue_settle_read(o, api_now_ms(api_thread_of(u->req)), false, &s, &text, e) != 0)
        return;
    s.queue = http_param(u->req, "name");
    it->tag = (int)s.outcome;
    uuid_format(&s.id, it->id);
    if (buf_failed(&text)) {
        err_field(e, ERR_TOO_LARGE, "result", "a result has at most %d bytes", QUEUE_RESULT_BYTES);
        return;
    }
    struct txn *t = queue_units_txn(u, i);
    if (t != NULL)
        queue_txn_settle(t, &s, text.len > 0 ? text.data : NULL, text.len, e);
}

static void settle_print(struct buf *out, const struct queue_item *it)
{
    if (it->err.code != 0)
        queue_print_failed(out, it->id[0] != '\0' ? it->id : NULL, &it->err);
    else
        buf_addf(out, "{\"id\":\"%s\",\"outcome\":\"%s\"}", it->id, settle_names[it->tag]);
}

static void settle_one_done(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct buf out = BUF_INIT(4096);
    struct err e = u->items[0].err;
    if (e.code == 0)
        queue_units_headers(u);
    settle_print(&out, &u->items[0]);
    queue_units_free(u);
    if (e.code == 0) {
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    buf_fini(&out);
    http_problem(req, &e);
}

static void settle_many_done(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t failed = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < u->count; i++) {
        if (i > 0)
            buf_addc(&out, ',');
        settle_print(&out, &u->items[i]);
        failed += u->items[i].err.code != 0;
    }
    buf_addf(&out, "],\"counts\":{\"settled\":%zu,\"failed\":%zu}}", u->count - failed, failed);
    queue_units_headers(u);
    queue_units_free(u);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void settle_post(struct http_request *req)
{
    const char *tenant, *name;
    if (!queue_of_route(req, &tenant, &name) || !API_QUERY_NONE(req) || !api_once(req) ||
        !api_media_json(req))
        return;
    AUTO(json_unref) json_t *body = api_body(req);
    if (body == NULL)
        return;
    bool many = json_is_array(body);
    size_t count = many ? json_array_size(body) : 1;
    if (count == 0 || count > QUEUE_ITEMS_MAX) {
        http_refuse(req, count == 0 ? ERR_INVALID : ERR_TOO_LARGE,
                    "a request settles 1 to %d deliveries", QUEUE_ITEMS_MAX);
        return;
    }
    struct queue_units *u = queue_units_new(req, count, true);
    if (u == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        settle_item(u, i, many ? json_array_get(body, i) : body);
    queue_units_start(u, many ? settle_many_done : settle_one_done);
}

static const struct http_route settle_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/settle", settle_post, HTTP_URGENT, 0},
};
const struct api_routes api_queue_settle_routes = {settle_table, ARRAY_LEN(settle_table)};
