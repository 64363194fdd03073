/* Messages again: POST /api/topics/{pattern}/redrive publishes what nobody listened to, now that
 * somebody does; POST /api/topics/groups/{group}/rewind feeds a group with retained ones.
 *
 * A redrive: which (ledger's thread) -> their ids (pool) -> how they stand (ledger's thread) ->
 * bodies (pool) -> a unit each, which publishes the message and purges the record. So a message is
 * never published twice, and one that is refused stays where it is. */
#include <string.h>

#include "api/coord_priv.h"
#include "api/topics_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/topic.h"
#include "codec/cloudevents.h"

struct redrive {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct http_request *req;
    const char *pattern;
    uint64_t after;
    size_t max;
    bool more;
    json_t **held; /* of each record: its texts */
    struct topic_draft *drafts;
    struct err err;
};

static void redrive_free(struct redrive *r)
{
    for (size_t i = 0; i < r->max; i++)
        json_decref(r->held[i]);
    topic_drafts_free(r->drafts, r->max);
    queue_shown_free(r->look.shown, r->look.count);
    mem_free(r->held);
    mem_free(r);
}

static void redrive_refuse(struct redrive *r)
{
    struct http_request *req = r->req;
    struct err e = r->err;
    redrive_free(r);
    http_problem(req, &e);
}

/* ---- published ---- */

static void redrive_done(struct queue_units *u)
{
    struct redrive *r = u->more;
    struct http_request *req = r->req;
    struct buf out = BUF_INIT(1024);
    size_t published = 0;
    for (size_t i = 0; i < u->count; i++)
        published += u->items[i].err.code == 0 && u->items[i].tag == 1;
    buf_addf(&out, "{\"published\":%zu,\"unrouted\":%zu", published, u->count - published);
    if ((r->more || r->reading.read < r->look.count) && r->reading.read > 0)
        buf_addf(&out, ",\"next\":\"%llu\"",
                 (unsigned long long)r->look.shown[r->reading.read - 1].listed);
    buf_addc(&out, '}');
    queue_units_headers(u);
    queue_units_free(u);
    redrive_free(r);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* As it was published: without the headers that a publish adds. */
static int redrive_read(struct redrive *r, size_t i, const char **topic, struct err *e)
{
    const struct queue_shown *s = &r->look.shown[i];
    struct topic_draft *d = &r->drafts[i];
    AUTO(buf_fini) struct buf text = BUF_INIT(API_ANSWER_MAX);
    buf_addf(&text, "{%s}", s->texts + 1); /* behind the first comma */
    json_t *o = json_read(buf_str(&text), text.len, e);
    r->held[i] = o;
    if (o == NULL)
        return e->code;
    json_t *headers = json_object_get(o, "headers");
    *topic = json_string_value(json_object_get(headers, BUS_HEADER_TOPIC));
    if (*topic == NULL || topic_check(*topic, strlen(*topic), e) != 0)
        return err_set(e, ERR_INVALID, "the record has no topic");
    json_t *rest = json_copy(headers);
    json_object_del(rest, BUS_HEADER_TOPIC);
    json_object_del(rest, BUS_HEADER_ID);
    json_object_set(o, BUS_HEADER_TOPIC, json_object_get(headers, BUS_HEADER_TOPIC));
    json_object_set_new(o, "headers", rest);
    *topic = json_string_value(json_object_get(o, BUS_HEADER_TOPIC));
    if (json_object_get(o, "body") != NULL)
        json_object_del(o, "type");
    int rc = queue_draft_content(&d->read, o, e);
    d->m = (struct bus_message){.id = s->id,
                                .key = json_string_value(json_object_get(o, "key")),
                                .correlation = json_string_value(json_object_get(o, "correlation")),
                                .traceparent = json_string_value(json_object_get(o, "traceparent")),
                                .type = d->read.m.type,
                                .headers = json_object_size(rest) > 0 ? d->read.m.headers : NULL,
                                .body = d->read.m.body,
                                .body_len = d->read.m.body_len};
    const char *source = json_string_value(json_object_get(rest, "ce-source"));
    const char *id = json_string_value(json_object_get(rest, "ce-id"));
    if (source != NULL && id != NULL && strlen(source) + strlen(id) <= CLOUDEVENT_ATTRIBUTES_BYTES)
        topic_draft_event(d, source, id);
    return rc;
}

/* tag 1: there is somebody now. */
static int redrive_add(struct redrive *r, struct queue_units *u, size_t i, struct err *e)
{
    const char *topic = NULL;
    AUTO(bus_route_freep) struct bus_route *route = NULL;
    int rc = redrive_read(r, i, &topic, e);
    if (rc != 0)
        return rc;
    if (!topic_matches(r->pattern, strlen(r->pattern), topic, strlen(topic)))
        return err_set(e, ERR_NOT_FOUND, "another topic");
    rc = bus_route(api_thread_of(r->req)->api->o.bus, API_TENANT, topic, &route, e);
    if (rc == 0)
        rc = bus_mandatory(route, e);
    if (rc != 0)
        return rc;
    struct txn *t = queue_units_txn(u, i);
    bus_txn_routes(t, route);
    queue_txn_purge(t, &r->look.shown[i].id);
    u->items[i].tag = 1;
    return bus_txn_publish(t, route, &r->drafts[i].m, e);
}

static void redrive_publish(struct queue_reading *reading)
{
    struct redrive *r = (struct redrive *)((char *)reading - offsetof(struct redrive, reading));
    r->err = reading->job.err;
    struct queue_units *u = r->err.code == 0 ? queue_units_new(r->req, reading->read, false) : NULL;
    if (u == NULL) {
        if (r->err.code != 0)
            redrive_refuse(r);
        else
            redrive_free(r);
        return;
    }
    u->more = r;
    for (size_t i = 0; i < u->count; i++) {
        const struct queue_shown *s = &r->look.shown[i];
        struct err *e = &u->items[i].err;
        if (!s->has_view || s->err.code != 0 || s->texts == NULL)
            err_set(e, ERR_NOT_FOUND, "it is no more");
        else
            redrive_add(r, u, i, e);
    }
    queue_units_start(u, redrive_done);
}

/* ---- looked at ---- */

static void redrive_looked(struct queue_looking *l)
{
    struct redrive *r = (struct redrive *)l;
    r->reading =
        (struct queue_reading){.shown = l->shown, .count = l->count, .done = redrive_publish};
    queue_read_start(&r->reading, r->req);
}

static void redrive_named(struct queue_reading *reading)
{
    struct redrive *r = (struct redrive *)((char *)reading - offsetof(struct redrive, reading));
    r->err = reading->job.err;
    if (r->err.code != 0) {
        redrive_refuse(r);
        return;
    }
    r->look.done = redrive_looked;
    queue_look_start(&r->look, r->req);
}

static void redrive_ask(struct queue_ask *a, const struct core *c)
{
    struct redrive *r = (struct redrive *)a;
    uint64_t places[QUEUE_ITEMS_MAX + 1];
    size_t count =
        core_list(c, API_TENANT, UNROUTED_QUEUE, REC_DISCARDED, r->after, places, r->max + 1);
    r->more = count > r->max;
    r->look.count = r->more ? r->max : count;
    for (size_t i = 0; i < r->look.count; i++)
        r->look.shown[i].place = r->look.shown[i].listed = places[i];
}

static void redrive_asked(struct queue_ask *a)
{
    struct redrive *r = (struct redrive *)a;
    r->reading = (struct queue_reading){
        .shown = r->look.shown, .count = r->look.count, .ids_only = true, .done = redrive_named};
    queue_read_start(&r->reading, r->req);
}

static int redrive_body(const json_t *body, int64_t *limit, int64_t *after, struct err *e)
{
    static const char *const names[] = {"limit", "after"};
    const json_t *max = json_object_get(body, "limit"), *from = json_object_get(body, "after");
    int rc = json_only_keys(body, "the body", names, ARRAY_LEN(names), e);
    *limit = QUEUE_ITEMS_MAX;
    *after = 0;
    if (rc == 0 && max != NULL)
        rc = queue_number(max, "limit", 1, QUEUE_ITEMS_MAX, limit, e);
    if (rc == 0 && from != NULL)
        rc = queue_number(from, "after", 0, INT64_MAX, after, e);
    return rc;
}

static void redrive_post(struct http_request *req)
{
    const char *pattern = http_param(req, "topic");
    struct err e = ERR_INIT;
    int64_t limit = 0, after = 0;
    if (!API_QUERY_NONE(req) || !api_once_none(req))
        return;
    AUTO(json_unref) json_t *body = call_body(req);
    if (body == NULL)
        return;
    int rc = topic_check_pattern(pattern, strlen(pattern), &e);
    if (rc == 0)
        rc = redrive_body(body, &limit, &after, &e);
    if (rc != 0) {
        http_problem(req, &e);
        return;
    }
    struct redrive *r = mem_new(sizeof *r);
    *r = (struct redrive){
        .req = req, .pattern = pattern, .after = (uint64_t)after, .max = (size_t)limit};
    r->look.tenant = API_TENANT;
    r->look.queue = UNROUTED_QUEUE;
    r->look.shown = mem_new_array(r->max, sizeof *r->look.shown);
    r->held = mem_new_array(r->max, sizeof *r->held);
    r->drafts = mem_new_array(r->max, sizeof *r->drafts);
    r->look.ask = (struct queue_ask){
        .home = loop_runner(api_thread_of(req)->loop), .ask = redrive_ask, .done = redrive_asked};
    queues_ask(api_thread_of(req)->api->o.queues, &r->look.ask);
}

/* ---- a group rewound ---- */

static void rewind_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    json_t *o = json_object();
    (void)seq;
    json_object_set_new(o, "group", json_string(http_param(req, "group")));
    json_object_set_new(o, "position", json_integer((json_int_t)cursor_u64(result)));
    api_answer_json(req, 202, o);
}

static int rewind_body(const json_t *body, struct bus_start *to, struct err *e)
{
    static const char *const names[] = {"to"};
    int rc = json_only_keys(body, "the body", names, ARRAY_LEN(names), e);
    if (rc == 0 && json_object_get(body, "to") == NULL)
        rc = err_field(e, ERR_INVALID, "to",
                       "to is missing: \"first\", \"new\", a time or {\"position\": 7}");
    return rc == 0 ? bus_start_read(json_object_get(body, "to"), to, e) : rc;
}

static void rewind_post(struct http_request *req)
{
    const char *group = http_param(req, "group");
    struct err e = ERR_INIT;
    struct bus_start to;
    if (!API_QUERY_NONE(req))
        return;
    AUTO(json_unref) json_t *body = api_body_object(req);
    if (body == NULL)
        return;
    if (group_check_name(group, &e) != 0 || rewind_body(body, &to, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct coord_call *c = call_new(req, rewind_answer);
    if (c == NULL)
        return;
    bus_txn_rewind(&c->unit.txn, group, &to);
    call_send(c, 0, NULL);
}

static const struct http_route again_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/topics/:topic/redrive", .handler = redrive_post},
    {.verb = HTTP_VERB_POST, .pattern = "/api/topics/groups/:group/rewind", .handler = rewind_post},
};
const struct api_routes api_topics_again_routes = {again_table, ARRAY_LEN(again_table)};
