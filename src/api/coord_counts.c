/* /api/counters, /api/limits. */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- counters ---- */

static void counter_answer(struct http_request *req, int64_t value)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(http_param(req, "name")));
    json_object_set_new(o, "value", json_integer(value));
    api_answer_json(req, 200, o);
}

static void counters_get_now(struct http_request *req)
{
    struct err e = ERR_INIT;
    int64_t value;
    bool found;
    const char *name = API_QUERY_NONE(req) ? call_key(req, "name") : NULL;
    if (name == NULL)
        return;
    if (coord_counter_get(api_thread_of(req)->db, API_TENANT, name, &value, &found, &e) != 0)
        http_problem(req, &e);
    else if (!found)
        http_refuse(req, ERR_NOT_FOUND, "there is no counter '%s'; POST to it makes one", name);
    else
        counter_answer(req, value);
}

static void counters_get(struct http_request *req)
{
    api_read(req, counters_get_now);
}

static void added_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    int64_t before, after;
    struct err e = ERR_INIT;
    (void)seq;
    if (coord_added_read(result, &before, &after, &e) != 0)
        http_problem(req, &e);
    else
        counter_answer(req, after);
}

static void block_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    int64_t before, after;
    struct err e = ERR_INIT;
    (void)seq;
    if (coord_added_read(result, &before, &after, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(http_param(req, "name")));
    json_object_set_new(o, "first", json_integer(before + 1));
    json_object_set_new(o, "last", json_integer(after));
    api_answer_json(req, 200, o);
}

static void counters_add(struct http_request *req)
{
    static const char *const names[] = {"add", "block"};
    struct err e = ERR_INIT;
    int64_t add, block;
    const char *name = API_QUERY_NONE(req) ? call_key(req, "name") : NULL;
    AUTO(json_unref) json_t *body = name != NULL ? call_body(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !call_int(req, body, "add", 1, &add) || !call_int(req, body, "block", 0, &block))
        return;
    bool is_block = json_object_get(body, "block") != NULL;
    if (is_block && (block < 1 || json_object_get(body, "add") != NULL)) {
        err_field(&e, ERR_INVALID, "block",
                  "block: how many numbers are wanted, at least 1; "
                  "not beside add");
        http_problem(req, &e);
        return;
    }
    struct coord_call *c = call_new(req, is_block ? block_answer : added_answer);
    if (c == NULL)
        return;
    int rc = coord_txn_add(&c->unit.txn, name, is_block ? block : add, &e);
    call_send(c, rc, &e);
}

static void counter_removed(struct http_request *req, struct cursor *result, uint64_t seq)
{
    (void)result, (void)seq;
    http_respond(req, 204, NULL, NULL, 0);
}

static void counters_remove(struct http_request *req)
{
    struct err e = ERR_INIT;
    const char *name = API_QUERY_ONLY(req, "confirm") ? call_key(req, "name") : NULL;
    if (name == NULL || !api_body_none(req) || !call_confirmed(req, name))
        return;
    struct coord_call *c = call_new(req, counter_removed);
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc = coord_txn_counter_remove(&c->unit.txn, name, &e);
    call_send(c, rc, &e);
}

/* ---- limits ---- */

static void taken_show(struct http_request *req, const struct coord_taken *t)
{
    struct err e = ERR_INIT;
    char more[64];
    if (!t->taken) {
        err_set(&e, ERR_RATE_LIMITED, "limit '%s': the next turn is in %lld ms",
                http_param(req, "name"), (long long)t->wait_ms);
        snprintf(more, sizeof more, "\"wait_ms\":%lld", (long long)t->wait_ms);
        http_retry_after(req, (unsigned)((t->wait_ms + 999) / 1000));
        http_problem_more(req, &e, more);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(http_param(req, "name")));
    json_object_set_new(o, "left", json_integer(t->left));
    json_object_set_new(o, "wait_ms", json_integer(t->wait_ms));
    api_answer_json(req, 200, o);
}

static void taken_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    struct coord_taken t;
    struct err e = ERR_INIT;
    (void)seq;
    if (coord_taken_read(result, &t, &e) != 0)
        http_problem(req, &e);
    else
        taken_show(req, &t);
}

static void limits_share(struct http_request *req, const struct coord_take *k)
{
    struct api_thread *t = api_thread_of(req);
    struct coord_taken taken;
    struct err e = ERR_INIT;
    if (coord_share_take(t->api->o.coord, t->db, API_TENANT, k, api_now_ms(t), &taken, &e) != 0)
        http_problem(req, &e);
    else
        taken_show(req, &taken);
}

/* A repeat that is to have no further effect is the ledger's affair. */
static void limits_take(struct http_request *req)
{
    static const char *const names[] = {"rate", "per", "burst", "n", "wait", "exact"};
    struct err e = ERR_INIT;
    bool exact = false;
    const char *name = API_QUERY_NONE(req) ? call_key(req, "name") : NULL;
    struct coord_take k = {.name = name};
    AUTO(json_unref) json_t *body = name != NULL ? api_body_object(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !call_int(req, body, "rate", 0, &k.rate) || !call_ms(req, body, "per", 1000, &k.per_ms) ||
        !call_int(req, body, "burst", k.rate, &k.burst) || !call_int(req, body, "n", 1, &k.n) ||
        !call_ms(req, body, "wait", 0, &k.wait_ms))
        return;
    if (json_get_bool(body, "exact", &exact, &e) == ERR_INVALID) {
        http_problem(req, &e);
        return;
    }
    if (!exact && http_header_in(req, "Idempotency-Key") == NULL) {
        limits_share(req, &k);
        return;
    }
    struct coord_call *c = call_new(req, taken_answer);
    if (c == NULL)
        return;
    int rc = coord_txn_take(&c->unit.txn, &k, &e);
    call_send(c, rc, &e);
}

static const struct http_route counts_table[] = {
    {HTTP_VERB_GET, "/api/counters/:name", counters_get, 0, 0},
    {HTTP_VERB_POST, "/api/counters/:name", counters_add, 0, 0},
    {HTTP_VERB_DELETE, "/api/counters/:name", counters_remove, 0, 0},
    {HTTP_VERB_POST, "/api/limits/:name/take", limits_take, 0, 0},
};
const struct api_routes api_counts_routes = {counts_table, ARRAY_LEN(counts_table)};
