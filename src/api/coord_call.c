/* One operation of coord as one request: what all its routes share. */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

/* ---- the unit ---- */

bool call_kept(struct http_request *req, struct cursor *result, uint64_t *seq)
{
    const struct api_kept *k = api_kept(req, 0);
    if (k == NULL)
        return false;
    struct cursor all;
    cursor_init(&all, k->results.data, k->results.len);
    cursor_init(result, NULL, 0);
    (void)ledger_kept_next(&all, result);
    *seq = k->seq;
    return true;
}

void call_unit_begin(struct http_request *req, struct txn *t)
{
    struct envelope env;
    api_envelope(req, &env);
    txn_envelope(t, &env);
    if (api_once_key(req) != NULL)
        ledger_txn_once(t, api_once_key(req), 0);
}

int call_unit_end(struct http_request *req, struct txn *t, struct err *e)
{
    return api_once_key(req) == NULL ? 0 : ledger_txn_keep(t, api_once_key(req), 0, NULL, 0, e);
}

static bool call_replayed(struct coord_call *c)
{
    struct cursor result;
    uint64_t seq;
    if (!call_kept(c->req, &result, &seq))
        return false;
    api_replayed(c->req);
    c->answer(c->req, &result, seq);
    return true;
}

static void call_done(struct unit *u)
{
    struct coord_call *c = (struct coord_call *)u;
    struct http_request *req = c->req;
    struct unit done = *u; /* the struct goes with the answer */
    struct cursor result, one;
    cursor_init(&result, NULL, 0);
    for (uint32_t i = 0; done.err.code == 0 && i < done.txn.ops; i++)
        if (unit_result(&done, i, &one) && cursor_left(&one) > 0 && cursor_left(&result) == 0)
            result = one;
    if (done.err.code == 0) {
        http_header_uint(req, "X-Koan-Seq", done.seq);
        c->answer(req, &result, done.seq);
    } else if (!api_once_again(req) || !call_replayed(c)) {
        if (c->refused != NULL)
            c->refused(req, &done.err);
        else
            http_problem(req, &done.err);
    }
    unit_fini(&done);
}

struct coord_call *call_new(struct http_request *req,
                            void (*answer)(struct http_request *req, struct cursor *result,
                                           uint64_t seq))
{
    if (!api_once(req))
        return NULL;
    struct coord_call *c = arena_new(http_arena(req), sizeof *c);
    c->req = req;
    c->answer = answer;
    if (call_replayed(c))
        return NULL;
    unit_init(&c->unit, loop_runner(api_thread_of(req)->loop), call_done);
    call_unit_begin(req, &c->unit.txn);
    return c;
}

void call_send(struct coord_call *c, int code, const struct err *e)
{
    struct http_request *req = c->req;
    struct err why = e != NULL ? *e : (struct err)ERR_INIT;
    if (code == 0)
        code = call_unit_end(req, &c->unit.txn, &why);
    if (code == 0)
        code = ledger_propose(api_thread_of(req)->api->o.ledger, &c->unit, &why);
    if (code == 0)
        return;
    unit_fini(&c->unit);
    http_problem(req, &why);
}

/* ---- what came ---- */

static bool call_refuse(struct http_request *req, const struct err *e)
{
    http_problem(req, e);
    return false;
}

bool call_text(struct http_request *req, const json_t *o, const char *key, const char *absent,
               const char **out)
{
    struct err e = ERR_INIT;
    *out = absent;
    int rc = json_get_string(o, key, out, &e);
    if (rc == ERR_NOT_FOUND)
        *out = absent;
    return rc == 0 || rc == ERR_NOT_FOUND || call_refuse(req, &e);
}

bool call_int(struct http_request *req, const json_t *o, const char *key, int64_t absent,
              int64_t *out)
{
    struct err e = ERR_INIT;
    *out = absent;
    int rc = json_get_int(o, key, out, &e);
    if (rc == ERR_NOT_FOUND)
        *out = absent;
    return rc == 0 || rc == ERR_NOT_FOUND || call_refuse(req, &e);
}

bool call_ms(struct http_request *req, const json_t *o, const char *key, int64_t absent,
             int64_t *out)
{
    struct err e = ERR_INIT;
    const json_t *v = json_object_get(o, key);
    double s = json_number_value(v);
    *out = absent;
    if (v == NULL)
        return true;
    if (json_is_string(v) && duration_parse(json_string_value(v), out, &e) == 0)
        return true;
    if (json_is_number(v) && s >= 0 && s <= 1e9) {
        *out = (int64_t)(s * 1000 + 0.5);
        return true;
    }
    err_field(&e, ERR_INVALID, key,
              "%s: a duration like \"250ms\", \"30s\", \"1h\", or a number of seconds", key);
    return call_refuse(req, &e);
}

bool call_only(struct http_request *req, const json_t *o, const char *const *names, size_t count)
{
    struct err e = ERR_INIT;
    return json_only_keys(o, "the body", names, count, &e) == 0 || call_refuse(req, &e);
}

json_t *call_body(struct http_request *req)
{
    return http_body(req).n == 0 ? json_object() : api_body_object(req);
}

bool call_page(struct http_request *req, struct coord_page *out)
{
    int64_t limit;
    if (!API_QUERY_ONLY(req, "prefix", "after", "limit") ||
        !api_query_int(req, "limit", 1, COORD_PAGE_MAX, COORD_PAGE_MAX, &limit))
        return false;
    *out = (struct coord_page){.prefix = http_query(req, "prefix"),
                               .after = http_query(req, "after"),
                               .limit = (int)limit};
    return true;
}

void call_page_answer(struct http_request *req, json_t *list, bool more, const char *key)
{
    json_t *o = json_object();
    if (more) {
        const json_t *last = json_array_get(list, json_array_size(list) - 1);
        json_object_set(o, "next", json_object_get(last, key));
    }
    json_object_set_new(o, "items", list);
    api_answer_json(req, 200, o);
}

const char *call_key(struct http_request *req, const char *param)
{
    const char *key = http_param(req, param);
    size_t n = key != NULL ? strlen(key) : 0;
    bool right = n > 0 && n <= COORD_KEY_BYTES && str_is_utf8(key, n) && strspn(key, " ") < n;
    for (size_t i = 0; right && i < n; i++)
        right = (unsigned char)key[i] >= 0x20 && key[i] != 0x7f;
    if (right)
        return key;
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, param,
              "%s: 1 to %d bytes of UTF-8 without control characters, and not blank", param,
              COORD_KEY_BYTES);
    http_problem(req, &e);
    return NULL;
}

bool call_confirmed(struct http_request *req, const char *name)
{
    const char *confirm = http_query(req, "confirm");
    if (confirm != NULL && strcmp(confirm, name) == 0)
        return true;
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, "confirm", "say confirm=%s, the name of what this is done to", name);
    return call_refuse(req, &e);
}

json_t *call_time(int64_t at)
{
    char text[TIME_TEXT];
    time_format(at, text);
    return json_string(text);
}
