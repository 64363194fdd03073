/* GET /api/lanes and /api/gates: how much room there is, what runs in it and what waits for it. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum { GATES_PAGE = 100, GATES_PAGE_MAX = 500 };

/* One question; what it finds is printed on the ledger's thread, bounded by a page. */
struct room {
    struct queue_ask ask; /* first */
    struct http_request *req;
    const char *name; /* of one gate; else of a page of them */
    uint32_t after, next;
    int64_t limit, shown;
    struct buf out;
    struct err err;
};

static void room_answer(struct queue_ask *a)
{
    struct room *r = (struct room *)a;
    struct http_request *req = r->req;
    struct err e = r->err;
    struct buf out = r->out;
    mem_free(r);
    if (e.code == 0) {
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    buf_fini(&out);
    http_problem(req, &e);
}

static struct room *room_new(struct http_request *req,
                             void (*ask)(struct queue_ask *a, const struct core *c))
{
    struct room *r = mem_new(sizeof *r);
    r->req = req;
    buf_init(&r->out, API_ANSWER_MAX);
    r->ask = (struct queue_ask){
        .home = loop_runner(api_thread_of(req)->loop), .ask = ask, .done = room_answer};
    return r;
}

static void room_start(struct room *r)
{
    queues_ask(api_thread_of(r->req)->api->o.queues, &r->ask);
}

/* ---- lanes ---- */

static void lanes_ask(struct queue_ask *a, const struct core *c)
{
    struct buf *out = &((struct room *)a)->out;
    struct core_lane_view lanes[CORE_LANES_MAX];
    uint32_t n = core_lanes(c, lanes);
    buf_adds(out, "{\"items\":[");
    for (uint32_t i = 0; i < n; i++) {
        const struct core_lane_view *l = &lanes[i];
        buf_adds(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        json_print_string(out, l->name, strlen(l->name));
        buf_addf(out, ",\"weight\":%u,\"executing\":%u,\"waiting\":%llu", l->weight, l->executing,
                 (unsigned long long)l->waiting);
        if (l->cap != UINT32_MAX)
            buf_addf(out, ",\"cap\":%u", l->cap);
        buf_addc(out, '}');
    }
    buf_adds(out, "]}");
}

static void lanes_list(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        room_start(room_new(req, lanes_ask));
}

/* ---- gates ---- */

static void gate_print(const struct core_gate_view *g, struct buf *out)
{
    char text[64];
    buf_adds(out, "{\"name\":");
    json_print_string(out, g->gate.name, strlen(g->gate.name));
    buf_addf(out, ",\"capacity\":%u,\"rate\":%u", g->gate.capacity, g->gate.rate);
    if (g->gate.rate > 0) {
        duration_format(g->gate.per_ms, text, sizeof text);
        buf_addf(out, ",\"per\":\"%s\"", text);
    }
    if (g->closed_until > 0) {
        time_format(g->closed_until, text);
        buf_addf(out, ",\"closed_until\":\"%s\"", text);
    }
    buf_addf(out, ",\"executing\":%u,\"waiting\":%llu}", g->executing,
             (unsigned long long)g->waiting);
}

static bool gate_each(void *arg, const struct core_gate_view *g)
{
    struct room *r = arg;
    if (r->shown == r->limit) {
        r->next = r->after;
        return false;
    }
    if (r->shown++ > 0)
        buf_addc(&r->out, ',');
    gate_print(g, &r->out);
    r->after = g->number;
    return true;
}

static void gates_ask(struct queue_ask *a, const struct core *c)
{
    struct room *r = (struct room *)a;
    struct core_gate_view v;
    if (r->name != NULL) {
        if (core_gate_look(c, API_TENANT, r->name, &v, &r->err) == 0)
            gate_print(&v, &r->out);
        return;
    }
    buf_adds(&r->out, "{\"items\":[");
    core_gates(c, API_TENANT, r->after, gate_each, r);
    buf_adds(&r->out, "],\"next\":");
    if (r->next > 0)
        buf_addf(&r->out, "%u}", r->next);
    else
        buf_adds(&r->out, "null}");
}

static void gates_list(struct http_request *req)
{
    int64_t limit, after;
    if (!API_QUERY_ONLY(req, "limit", "after") ||
        !api_query_int(req, "limit", 1, GATES_PAGE_MAX, GATES_PAGE, &limit) ||
        !api_query_int(req, "after", 0, UINT32_MAX, 0, &after))
        return;
    struct room *r = room_new(req, gates_ask);
    r->limit = limit;
    r->after = (uint32_t)after;
    room_start(r);
}

static void gate_get(struct http_request *req)
{
    struct err e = ERR_INIT;
    const char *name = http_param(req, "name");
    if (!API_QUERY_NONE(req))
        return;
    if (queue_name_check(name, "gate", &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct room *r = room_new(req, gates_ask);
    r->name = name;
    room_start(r);
}

static const struct http_route room_table[] = {
    {HTTP_VERB_GET, "/api/lanes", lanes_list, 0, 0},
    {HTTP_VERB_GET, "/api/gates", gates_list, 0, 0},
    {HTTP_VERB_GET, "/api/gates/:name", gate_get, 0, 0},
};
const struct api_routes api_queue_room_routes = {room_table, ARRAY_LEN(room_table)};
