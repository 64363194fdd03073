/* publish in POST /api/tx: what was done and the news of it are one commit. */
#include <string.h>

#include "api/topics_priv.h"
#include "api/tx_priv.h"
#include "base/json.h"
#include "base/mem.h"

struct tx_topic {
    struct topic_draft draft;
    const char *topic; /* of the operation's text */
    struct bus *bus;
    struct bus_route *route;
};

void tx_topic_free(struct tx_topic *p)
{
    if (p == NULL)
        return;
    bus_route_free(p->route);
    topic_draft_fini(&p->draft);
    mem_free(p);
}

static int topic_read(struct tx_topic *p, const json_t *op, int64_t now, struct err *e)
{
    static const char *const also[] = {"op",   "topic",   "body", "body_base64",
                                       "type", "headers", NULL};
    p->topic = json_string_value(json_object_get(op, "topic"));
    if (p->topic == NULL)
        return err_field(e, ERR_INVALID, "topic", "publish names no topic");
    int rc = topic_draft_options(&p->draft, op, now, also, e);
    if (rc == 0)
        rc = queue_draft_content(&p->draft.read, op, e);
    const struct queue_message *read = &p->draft.read.m;
    p->draft.m.type = read->type;
    p->draft.m.headers = read->headers;
    p->draft.m.body = read->body;
    p->draft.m.body_len = read->body_len;
    return rc;
}

int tx_topic_new(const json_t *op, const struct tx_queue *q, struct bus *bus, struct tx_topic **out,
                 struct err *e)
{
    static const struct uuid none;
    struct tx_topic *p = mem_new(sizeof *p);
    struct txn t;
    p->bus = bus;
    *out = p;
    int rc = topic_read(p, op, q->now, e);
    if (memcmp(&p->draft.m.id, &none, sizeof none) == 0)
        p->draft.m.id = q->id;
    p->draft.id = p->draft.m.id;
    p->draft.m.correlation = q->correlation;
    p->draft.m.traceparent = q->traceparent;
    txn_init(&t); /* what can be said against it is said before anything is done */
    if (rc == 0)
        rc = tx_topic_condition(p, NULL, &t, e);
    if (rc == 0)
        rc = tx_topic_add(p, &t, e);
    txn_fini(&t);
    return rc;
}

int tx_topic_condition(struct tx_topic *p, const struct tx_topic *before, struct txn *t,
                       struct err *e)
{
    bus_route_free(p->route);
    p->route = NULL;
    int rc = bus_route(p->bus, API_TENANT, p->topic, &p->route, e);
    if (rc != 0)
        return rc;
    if (before == NULL || bus_route_revision(before->route) != bus_route_revision(p->route))
        bus_txn_routes(t, p->route);
    return 0;
}

int tx_topic_add(struct tx_topic *p, struct txn *t, struct err *e)
{
    return topic_draft_add(&p->draft, p->route, t, e);
}

bool tx_topic_is_stale(const struct tx_topic *p)
{
    return p->route != NULL && bus_is_stale(p->bus, p->route);
}

void tx_topic_done(struct tx_topic *p, const struct unit *u, uint32_t at)
{
    struct cursor results;
    size_t n;
    bus_published(p->route, 1);
    cursor_init(&results, u->results.data, u->results.len);
    for (uint32_t i = 0; i < at; i++)
        cursor_bytes(&results, &n);
    topic_draft_result(&p->draft, &results);
}

void tx_topic_result(struct tx_topic *p, struct cursor *results)
{
    topic_draft_result(&p->draft, results);
}

void tx_topic_keep(const struct tx_topic *p, struct buf *context)
{
    buf_add(context, p->draft.m.id.b, sizeof p->draft.m.id.b);
    buf_add_u32(context, p->draft.groups);
    buf_add_u32(context, p->draft.results);
}

bool tx_topic_recall(struct tx_topic *p, struct cursor *context)
{
    const void *id = cursor_raw(context, sizeof p->draft.id.b);
    p->draft.groups = cursor_u32(context);
    p->draft.results = cursor_u32(context);
    if (id != NULL)
        memcpy(p->draft.id.b, id, sizeof p->draft.id.b);
    return !context->bad;
}

void tx_topic_print(const struct tx_topic *p, struct buf *out)
{
    char id[UUID_TEXT];
    uuid_format(&p->draft.id, id);
    buf_addf(out, ",\"id\":\"%s\",\"groups\":%u,\"outcome\":\"%s\",", id, p->draft.groups,
             p->draft.duplicate ? "duplicate" : "published");
    queue_print_depth(out, p->draft.depth, p->draft.oldest_age_ms);
}
