/* /api/kv: small values, JSON each, with a version. */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

static void values_list_now(struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    struct coord_page p;
    struct err e = ERR_INIT;
    json_t *list = NULL;
    bool more = false;
    if (!call_page(req, &p))
        return;
    if (coord_values_list(t->db, API_TENANT, &p, api_now_ms(t), &list, &more, &e) != 0)
        http_problem(req, &e);
    else
        call_page_answer(req, list, more, "key");
}

static void values_list(struct http_request *req)
{
    api_read(req, values_list_now);
}

static void values_get_now(struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    struct coord_value v;
    struct buf out = BUF_INIT(COORD_VALUE_BYTES + 1);
    char when[TIME_TEXT];
    const char *key = API_QUERY_NONE(req) ? call_key(req, "key") : NULL;
    if (key == NULL)
        return;
    if (coord_value_get(t->db, API_TENANT, key, api_now_ms(t), &v, &out, &e) != 0) {
        buf_fini(&out);
        http_problem(req, &e);
        return;
    }
    api_etag(req, v.version);
    if (v.expires > 0) {
        time_format(v.expires, when);
        http_header(req, "X-Koan-Expires", when);
    }
    if (api_fresh(req, v.version))
        http_respond_buf(req, 200, API_JSON, &out);
    buf_fini(&out);
}

static void values_get(struct http_request *req)
{
    api_read(req, values_get_now);
}

static void put_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    uint64_t version;
    struct err e = ERR_INIT;
    (void)seq;
    if (coord_number_read(result, &version, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "key", json_string(http_param(req, "key")));
    json_object_set_new(o, "version", json_integer((json_int_t)version));
    api_etag(req, version);
    api_answer_json(req, 200, o);
}

static bool values_ttl(struct http_request *req, int64_t *out)
{
    struct err e = ERR_INIT;
    const char *text = http_query(req, "ttl");
    *out = 0;
    if (text == NULL)
        return true;
    if (duration_parse(text, out, &e) == 0 && *out > 0)
        return true;
    err_field(&e, ERR_INVALID, "ttl", "ttl: a duration like 30s or 7d, more than nothing");
    http_problem(req, &e);
    return false;
}

static void values_put(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct api_conditions when;
    int64_t ttl;
    const char *key = API_QUERY_ONLY(req, "ttl") ? call_key(req, "key") : NULL;
    if (key == NULL || !api_media_json(req) || !api_conditions(req, &when) ||
        !values_ttl(req, &ttl))
        return;
    AUTO(json_unref) json_t *body = api_body(req);
    AUTO(buf_fini) struct buf value = BUF_INIT(COORD_VALUE_BYTES + 1);
    if (body == NULL)
        return;
    json_print(body, &value, NULL);
    if (buf_failed(&value)) {
        err_field(&e, ERR_TOO_LARGE, "value", "value: at most %d KiB as JSON",
                  COORD_VALUE_BYTES >> 10);
        http_problem(req, &e);
        return;
    }
    struct coord_call *c = call_new(req, put_answer);
    if (c == NULL)
        return;
    struct coord_put p = {.key = key,
                          .value = value.data,
                          .n = value.len,
                          .ttl_ms = ttl,
                          .if_version = when.has_match && !when.any ? when.version : 0,
                          .nx = when.none,
                          .xx = when.any};
    int rc = coord_txn_put(&c->unit.txn, &p, &e);
    call_send(c, rc, &e);
}

static void removed_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    (void)result, (void)seq;
    http_respond(req, 204, NULL, NULL, 0);
}

static void values_remove(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct api_conditions when;
    const char *key = API_QUERY_NONE(req) ? call_key(req, "key") : NULL;
    if (key == NULL || !api_body_none(req) || !api_conditions(req, &when))
        return;
    if (when.none) {
        http_refuse(req, ERR_INVALID, "If-None-Match: a removal takes If-Match only");
        return;
    }
    struct coord_call *c = call_new(req, removed_answer);
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc =
        coord_txn_remove(&c->unit.txn, key, when.has_match && !when.any ? when.version : 0, &e);
    call_send(c, rc, &e);
}

static const struct http_route values_table[] = {
    {HTTP_VERB_GET, "/api/kv", values_list, 0, 0},
    {HTTP_VERB_GET, "/api/kv/*key", values_get, 0, 0},
    {HTTP_VERB_PUT, "/api/kv/*key", values_put, 0, 0},
    {HTTP_VERB_DELETE, "/api/kv/*key", values_remove, 0, 0},
};
const struct api_routes api_values_routes = {values_table, ARRAY_LEN(values_table)};
