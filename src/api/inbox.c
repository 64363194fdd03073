/* /v1/inbox: whether a message was worked already, for those who work it.
 *
 *   POST /v1/inbox/try-begin       {"key", "owner", "leaseSeconds"}
 *        {"status": "Acquired", "leaseId", "expiresAt"} | {"status": "Busy"} | {"status":
 * "Processed"} POST /v1/inbox/mark-processed  {"key", "leaseId"}, for simple clients {"key"} POST
 * /v1/inbox/release         {"key", "leaseId"} GET  /v1/inbox/{key}           {"status":
 * "Processed"}, else 404 */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"

static void inbox_status(struct http_request *req, const char *status)
{
    json_t *o = json_object();
    json_object_set_new(o, "status", json_string(status));
    api_answer_json(req, 200, o);
}

static void inbox_get_now(struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    bool processed = false;
    const char *key = API_QUERY_NONE(req) ? call_key(req, "key") : NULL;
    if (key == NULL)
        return;
    if (coord_inbox_get(t->db, API_TENANT, key, api_now_ms(t), &processed, &e) != 0)
        http_problem(req, &e);
    else if (!processed)
        http_refuse(req, ERR_NOT_FOUND, "'%s' is not processed", key);
    else
        inbox_status(req, "Processed");
}

static void inbox_get(struct http_request *req)
{
    api_read(req, inbox_get_now);
}

/* The body; NULL: answered. */
static json_t *inbox_body(struct http_request *req, const char *const *names, size_t count,
                          const char **key)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *body = API_QUERY_NONE(req) ? api_body_object(req) : NULL;
    if (body == NULL || !call_only(req, body, names, count) ||
        !call_text(req, body, "key", "", key))
        return NULL;
    if (**key != '\0' && (*key)[strspn(*key, " ")] != '\0')
        return TAKE(body);
    err_field(&e, ERR_INVALID, "key", "key: names the message, and is not blank");
    http_problem(req, &e);
    return NULL;
}

/* "leaseSeconds": a number of them. */
static bool inbox_seconds(struct http_request *req, const json_t *body, const char *key,
                          int64_t *ms)
{
    const json_t *v = json_object_get(body, key);
    struct err e = ERR_INIT;
    *ms = 0;
    if (v == NULL || json_is_null(v))
        return true;
    if (json_is_number(v) && json_number_value(v) >= 1 && json_number_value(v) <= 1e8) {
        *ms = (int64_t)(json_number_value(v) * 1000);
        return true;
    }
    err_field(&e, ERR_INVALID, key, "%s: a number of seconds, at least 1", key);
    http_problem(req, &e);
    return false;
}

/* ---- try-begin ---- */

static void begin_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    static const char *const names[] = {"", "Acquired", "Busy", "Processed"};
    struct err e = ERR_INIT;
    struct coord_begun b;
    (void)seq;
    if (coord_begun_read(result, &b, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "status", json_string(names[b.what]));
    if (b.what == COORD_ACQUIRED) {
        json_object_set_new(o, "leaseId", json_string(b.lease));
        json_object_set_new(o, "expiresAt", call_time(b.expires));
    }
    api_answer_json(req, 200, o);
}

static void inbox_try_begin(struct http_request *req)
{
    static const char *const names[] = {"key", "owner", "leaseSeconds"};
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    const char *key, *owner;
    int64_t ms;
    struct uuid id;
    char lease[UUID_TEXT];
    AUTO(json_unref) json_t *body = inbox_body(req, names, ARRAY_LEN(names), &key);
    if (body == NULL || !call_text(req, body, "owner", "", &owner) ||
        !inbox_seconds(req, body, "leaseSeconds", &ms))
        return;
    struct coord_call *c = call_new(req, begin_answer);
    if (c == NULL)
        return;
    t->ids.make(&t->ids, &id);
    uuid_format(&id, lease);
    int rc = coord_txn_begin(&c->unit.txn, key, owner, lease, ms, &e);
    call_send(c, rc, &e);
}

/* ---- mark-processed, release ---- */

static void processed_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    (void)result, (void)seq;
    inbox_status(req, "Processed");
}

static void released_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    (void)result, (void)seq;
    inbox_status(req, "Released");
}

static void inbox_mark_processed(struct http_request *req)
{
    static const char *const names[] = {"key", "leaseId", "keepSeconds"};
    struct err e = ERR_INIT;
    const char *key, *lease;
    int64_t keep;
    AUTO(json_unref) json_t *body = inbox_body(req, names, ARRAY_LEN(names), &key);
    if (body == NULL || !call_text(req, body, "leaseId", NULL, &lease) ||
        !inbox_seconds(req, body, "keepSeconds", &keep))
        return;
    struct coord_call *c = call_new(req, processed_answer);
    if (c == NULL)
        return;
    c->unit.txn.grows = false; /* it settles something */
    int rc = coord_txn_processed(&c->unit.txn, key, lease, keep, &e);
    call_send(c, rc, &e);
}

static void inbox_release(struct http_request *req)
{
    static const char *const names[] = {"key", "leaseId"};
    struct err e = ERR_INIT;
    const char *key, *lease;
    AUTO(json_unref) json_t *body = inbox_body(req, names, ARRAY_LEN(names), &key);
    if (body == NULL || !call_text(req, body, "leaseId", "", &lease))
        return;
    struct coord_call *c = call_new(req, released_answer);
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc = coord_txn_unbegin(&c->unit.txn, key, lease, &e);
    call_send(c, rc, &e);
}

static const struct http_route inbox_table[] = {
    {HTTP_VERB_POST, "/v1/inbox/try-begin", inbox_try_begin, 0, 0},
    {HTTP_VERB_POST, "/v1/inbox/mark-processed", inbox_mark_processed, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/v1/inbox/release", inbox_release, HTTP_URGENT, 0},
    {HTTP_VERB_GET, "/v1/inbox/*key", inbox_get, 0, 0},
};
const struct api_routes api_inbox_routes = {inbox_table, ARRAY_LEN(inbox_table)};
