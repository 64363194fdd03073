/* POST /api/queues/{vhost}/{name}/stream: messages as lines, for as long as the sender likes.
 *
 *   -> {"body": {"to": "ann"}, "key": "c-1"}
 *   <- {"line":1,"id":"..","duplicate":false,"merged":false,"depth":1}
 *   -> {"body": 7, "prio": 3}
 *   <- {"line":2,"error":{..}}
 *
 * Each line is a unit of its own and is answered when it is durable, in the order of the lines; the
 * sender has as many under way as it likes. One that is refused refuses no other. */
#include <string.h>

#include "api/flow_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct sending {
    struct flow flow; /* first */
    bool create;
    char queue[CORE_TEXT_MAX + 1];
};

static void sending_add(struct sending *s, struct flow_item *it, const json_t *o)
{
    struct queue_draft d = {.held = NULL};
    int rc = queue_draft_item(&d, o, api_now_ms(s->flow.thread), NULL, &it->err);
    if (rc == 0 && d.merge)
        rc = err_field(&it->err, ERR_UNSUPPORTED, "unique_mode",
                       "what is merged is read first: send it by itself or in a batch, not in a "
                       "stream");
    if (rc == 0) {
        d.m.send.create |= s->create;
        queue_draft_address(&d, s->flow.req, s->queue);
        queue_txn_send(flow_txn(it, false), &d.m, &it->err);
    }
    queue_draft_fini(&d);
}

static void sending_line(struct flow *f, const char *p, size_t n)
{
    struct flow_item *it = flow_item_new(f, n);
    if (it == NULL)
        return;
    AUTO(json_unref) json_t *o = json_read(p, n, &it->err);
    if (o != NULL)
        sending_add((struct sending *)f, it, o);
    flow_item_start(it);
}

static void sending_print(struct flow_item *it, struct buf *out)
{
    buf_addf(out, "{\"line\":%llu,", (unsigned long long)it->n);
    if (it->err.code == 0) {
        queue_print_sent(out, it->result);
        buf_addc(out, '\n');
        return;
    }
    buf_adds(out, "\"error\":");
    api_print_problem(out, &it->err, NULL);
    buf_adds(out, "}\n");
}

static void sending_finish(struct flow *f)
{
    flow_end(f);
    mem_free(f);
}

static const struct flow_calls sending_calls = {
    .line = sending_line, .print = sending_print, .finish = sending_finish};

static void stream_post(struct http_request *req)
{
    const char *tenant, *name;
    bool create;
    struct err e = ERR_INIT;
    if (!queue_of_route(req, &tenant, &name) || !API_QUERY_ONLY(req, "create") ||
        !api_query_bool(req, "create", false, &create) || !flow_may(req))
        return;
    if (create && queue_name_check(name, "queue", &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct sending *s = mem_new(sizeof *s);
    s->create = create;
    str_copy(s->queue, sizeof s->queue, name);
    if (flow_open(&s->flow, req, &sending_calls))
        flow_begin(&s->flow);
    else
        mem_free(s);
}

static const struct http_route stream_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/stream", stream_post, HTTP_LONG | HTTP_STREAM_BODY,
     0},
};
const struct api_routes api_queue_stream_routes = {stream_table, ARRAY_LEN(stream_table)};
