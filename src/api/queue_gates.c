/* /api/gates and /api/lanes: what holds back messages of many queues, and whose turn it is. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "setting/setting.h"

enum { GATE_PER_MAX_MS = 24 * 3600 * 1000 };

static void gate_done(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct err e = u->items[0].err;
    if (e.code == 0)
        queue_units_headers(u);
    queue_units_free(u);
    if (e.code != 0)
        http_problem(req, &e);
    else
        http_respond(req, 204, NULL, NULL, 0);
}

/* The unit of a change; NULL: answered. *t is NULL when it was done before. */
static struct queue_units *gate_units(struct http_request *req, struct txn **t)
{
    struct queue_units *u = queue_units_new(req, 1, true);
    if (u != NULL)
        *t = queue_units_txn(u, 0);
    return u;
}

/* An object of these members; an empty body is an empty one. NULL: answered. */
static json_t *gate_body(struct http_request *req, const char *const *names, size_t count)
{
    struct err e = ERR_INIT;
    if (!API_QUERY_NONE(req) || queue_name_check(http_param(req, "name"), "gate", &e) != 0 ||
        !api_once(req)) {
        if (e.code != 0)
            http_problem(req, &e);
        return NULL;
    }
    json_t *body = http_body(req).n > 0 ? api_body_object(req) : json_object();
    if (body == NULL || json_only_keys(body, "the body", names, count, &e) == 0)
        return body;
    json_decref(body);
    http_problem(req, &e);
    return NULL;
}

static int gate_number(const json_t *o, const char *name, int64_t least, int64_t most, int64_t *out,
                       struct err *e)
{
    const json_t *v = json_object_get(o, name);
    return v == NULL ? 0 : queue_number(v, name, least, most, out, e);
}

static int gate_read(const json_t *o, struct core_gate *g, struct err *e)
{
    int64_t capacity = 0, rate = 0, per = 1000;
    const json_t *v = json_object_get(o, "per");
    int rc = gate_number(o, "capacity", 0, UINT32_MAX, &capacity, e);
    if (rc == 0)
        rc = gate_number(o, "rate", 0, UINT32_MAX, &rate, e);
    if (rc == 0 && v != NULL)
        rc = queue_duration(v, "per", &per, e);
    if (rc == 0 && (per < 1 || per > GATE_PER_MAX_MS))
        rc = err_field(e, ERR_INVALID, "per", "a rate is per 1 ms to 1 day");
    g->capacity = (uint32_t)capacity;
    g->rate = (uint32_t)rate;
    g->per_ms = per;
    return rc;
}

static void gate_put(struct http_request *req)
{
    static const char *const names[] = {"capacity", "rate", "per"};
    struct core_gate g = {.tenant = API_TENANT, .name = http_param(req, "name")};
    struct err e = ERR_INIT;
    struct txn *t;
    AUTO(json_unref) json_t *body = gate_body(req, names, ARRAY_LEN(names));
    if (body == NULL)
        return;
    if (gate_read(body, &g, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct queue_units *u = gate_units(req, &t);
    if (u == NULL)
        return;
    if (t != NULL)
        queue_txn_gate(t, &g);
    queue_units_start(u, gate_done);
}

static int gate_until(const json_t *o, int64_t now, int64_t *out, struct err *e)
{
    const json_t *until = json_object_get(o, "until"), *delay = json_object_get(o, "delay");
    if ((until != NULL) == (delay != NULL))
        return err_field(e, ERR_INVALID, "until",
                         "close takes \"until\" or \"delay\", one of them");
    if (delay != NULL) {
        int rc = queue_duration(delay, "delay", out, e);
        *out += now;
        return rc;
    }
    if (json_is_string(until) &&
        time_parse(json_string_value(until), json_string_length(until), out) && *out > 0)
        return 0;
    return err_field(e, ERR_INVALID, "until", "until is a time like \"2027-01-31T08:00:00Z\"");
}

static void gate_close(struct http_request *req)
{
    static const char *const names[] = {"until", "delay"};
    const char *name = http_param(req, "name");
    struct err e = ERR_INIT;
    struct txn *t;
    int64_t until = 0;
    bool close = str_ends(http_route(req)->pattern, "/close");
    AUTO(json_unref) json_t *body = gate_body(req, names, close ? ARRAY_LEN(names) : 0);
    if (body == NULL)
        return;
    if (close && gate_until(body, api_now_ms(api_thread_of(req)), &until, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct queue_units *u = gate_units(req, &t);
    if (u == NULL)
        return;
    if (t != NULL)
        queue_txn_gate_close(t, name, until);
    queue_units_start(u, gate_done);
}

/* The setting lanes.NAME with the lane, in one unit: what is set here is what the configuration
 * says from now on, so that the two never differ. */
static void lane_txn(struct txn *t, const char *name, const json_t *body, uint32_t weight,
                     uint32_t cap, struct err *e)
{
    AUTO(mem_freep) char *key = mem_printf("lanes.%s", name);
    json_t *lane = json_object(); /* numbers, where they may have come as text */
    if (json_object_get(body, "weight") != NULL)
        json_object_set_new(lane, "weight", json_integer(weight));
    if (json_object_get(body, "cap") != NULL)
        json_object_set_new(lane, "cap", json_integer(cap));
    AUTO(json_unref) json_t *changes = json_pack("{s:o}", key, lane);
    if (setting_txn_change(t, SETTING_ANY, changes, e) == 0)
        queue_txn_lane(t, name, weight, cap);
}

static void lane_put(struct http_request *req)
{
    static const char *const names[] = {"weight", "cap"};
    const char *name = http_param(req, "name");
    struct err e = ERR_INIT;
    struct txn *t;
    int64_t weight = core_lane_weight(name), cap = UINT32_MAX;
    AUTO(json_unref) json_t *body = gate_body(req, names, ARRAY_LEN(names));
    if (body == NULL)
        return;
    int rc = str_check_name(name, "lane", &e);
    if (rc == 0)
        rc = gate_number(body, "weight", 1, CORE_WEIGHT_MAX, &weight, &e);
    if (rc == 0)
        rc = gate_number(body, "cap", 0, UINT32_MAX, &cap, &e);
    if (rc != 0) {
        http_problem(req, &e);
        return;
    }
    struct queue_units *u = gate_units(req, &t);
    if (u == NULL)
        return;
    if (t != NULL)
        lane_txn(t, name, body, (uint32_t)weight, (uint32_t)cap, &u->items[0].err);
    queue_units_start(u, gate_done);
}

static const struct http_route gate_table[] = {
    {HTTP_VERB_PUT, "/api/gates/:name", gate_put, 0, 0},
    {HTTP_VERB_POST, "/api/gates/:name/close", gate_close, 0, 0},
    {HTTP_VERB_POST, "/api/gates/:name/open", gate_close, 0, 0},
    {HTTP_VERB_PUT, "/api/lanes/:name", lane_put, 0, 0},
};
const struct api_routes api_queue_gates_routes = {gate_table, ARRAY_LEN(gate_table)};
