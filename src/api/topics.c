/* /api/topics: messages published, one or a batch of CloudEvents as one unit; who listens. */
#include <string.h>

#include "api/topics_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/topic.h"

/* ---- options ---- */

const char *const topic_option_names[] = {
    "id", "key", "dedup", "priority", "run_at", "delay", "ttl", "mandatory",
};
const size_t topic_option_count = ARRAY_LEN(topic_option_names);

int topic_draft_options(struct topic_draft *d, const json_t *o, int64_t now,
                        const char *const *also, struct err *e)
{
    const char *names[ARRAY_LEN(topic_option_names) + 16];
    const json_t *mandatory = json_object_get(o, "mandatory");
    size_t n = 0;
    for (; n < topic_option_count; n++)
        names[n] = topic_option_names[n];
    for (; *also != NULL; also++)
        names[n++] = *also;
    int rc = json_only_keys(o, "a message", names, n, e);
    if (rc == 0)
        rc = queue_draft_options(&d->read, o, now, e);
    if (rc == 0 && mandatory != NULL)
        rc = queue_flag(mandatory, "mandatory", &d->mandatory, e);
    const struct core_send *s = &d->read.m.send;
    d->m.id = s->id;
    d->m.key = s->key;
    d->m.dedup = s->dedup;
    d->m.run_at = s->run_at;
    d->m.ttl_ms = s->ttl_ms;
    d->m.has_priority = s->priority != CORE_PRIORITY_UNSAID;
    d->m.priority = s->priority;
    return rc;
}

/* ---- one message ---- */

int topic_draft_add(struct topic_draft *d, const struct bus_route *r, struct txn *t, struct err *e)
{
    uint32_t before = t->ops;
    int rc = d->mandatory ? bus_mandatory(r, e) : 0;
    if (rc == 0)
        rc = bus_txn_publish(t, r, &d->m, e);
    d->groups = (uint32_t)bus_route_count(r);
    d->results = t->ops > before ? t->ops - before - 1 : 0; /* the last is a condition */
    return rc;
}

void topic_draft_sent(struct topic_draft *d, uint32_t i, struct cursor *result)
{
    struct core_sent sent;
    if (cursor_left(result) < sizeof sent.id.b) /* it was not sent, but retained */
        return;
    queue_sent_read(result, &sent);
    d->depth = sent.depth > d->depth ? sent.depth : d->depth;
    if (sent.oldest_age_ms > d->oldest_age_ms)
        d->oldest_age_ms = sent.oldest_age_ms;
    if (i > 0)
        return;
    d->duplicate = sent.duplicate;
    d->id = sent.duplicate ? sent.id : d->id;
}

void topic_draft_result(struct topic_draft *d, struct cursor *results)
{
    struct cursor one;
    for (uint32_t i = 0; i < d->results && ledger_kept_next(results, &one); i++)
        topic_draft_sent(d, i, &one);
}

void topic_draft_print(const struct topic_draft *d, struct buf *out)
{
    char id[UUID_TEXT];
    uuid_format(&d->id, id);
    buf_addf(out, "{\"id\":\"%s\",\"groups\":%u,", id, d->groups);
    queue_print_depth(out, d->depth, d->oldest_age_ms);
    buf_adds(out, d->duplicate ? ",\"duplicate\":true}" : "}");
}

/* ---- a request ---- */

struct publishing {
    struct unit unit; /* first */
    struct http_request *req;
    struct bus_route *route;
    json_t *options; /* of the query: texts of the messages are its */
    struct topic_draft *list;
    size_t count;
    bool batch;
    int tries;
};

static void publishing_free(struct publishing *p)
{
    unit_fini(&p->unit);
    bus_route_free(p->route);
    topic_drafts_free(p->list, p->count);
    json_decref(p->options);
    mem_free(p);
}

static void publishing_answer(struct publishing *p, uint64_t seq)
{
    struct http_request *req = p->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    buf_adds(&out, p->batch ? "{\"results\":[" : "");
    for (size_t i = 0; i < p->count; i++) {
        buf_adds(&out, i > 0 ? "," : "");
        topic_draft_print(&p->list[i], &out);
    }
    buf_adds(&out, p->batch ? "]}" : "");
    http_header_uint(req, "X-Koan-Seq", seq);
    http_respond_buf(req, 202, API_JSON, &out);
}

/* What a repeat is answered with: of each message its id, groups and how many results. */
static void publishing_context(const struct publishing *p, struct buf *out)
{
    for (size_t i = 0; i < p->count; i++) {
        buf_add(out, p->list[i].m.id.b, sizeof p->list[i].m.id.b);
        buf_add_u32(out, p->list[i].groups);
        buf_add_u32(out, p->list[i].results);
    }
}

/* True: it was done before, and is answered as then. */
static bool publishing_replayed(struct publishing *p)
{
    const struct api_kept *k = api_kept(p->req, 0);
    struct cursor context, results;
    if (k == NULL)
        return false;
    cursor_init(&context, k->context.data, k->context.len);
    cursor_init(&results, k->results.data, k->results.len);
    for (size_t i = 0; i < p->count; i++) {
        struct topic_draft *d = &p->list[i];
        const void *id = cursor_raw(&context, sizeof d->id.b);
        d->groups = cursor_u32(&context);
        d->results = cursor_u32(&context);
        if (id == NULL || context.bad)
            return false;
        memcpy(d->id.b, id, sizeof d->id.b);
        topic_draft_result(d, &results);
    }
    api_replayed(p->req);
    publishing_answer(p, k->seq);
    return true;
}

static int publishing_go(struct publishing *p, struct err *e);

static void publishing_done(struct unit *u)
{
    struct publishing *p = (struct publishing *)u;
    struct bus *bus = api_thread_of(p->req)->api->o.bus;
    struct err e = u->err;
    if (e.code == ERR_CONFLICT && bus_is_stale(bus, p->route) && ++p->tries < BUS_TRIES) {
        unit_fini(u);
        if (publishing_go(p, &e) == 0)
            return;
    }
    if (e.code == 0) {
        struct cursor results;
        bus_published(p->route, p->count);
        cursor_init(&results, u->results.data, u->results.len);
        for (size_t i = 0; i < p->count; i++) {
            p->list[i].id = p->list[i].m.id;
            topic_draft_result(&p->list[i], &results);
        }
        publishing_answer(p, u->seq);
    } else if (e.code != ERR_CONFLICT || !api_once_again(p->req) || !publishing_replayed(p)) {
        http_problem(p->req, &e);
    }
    publishing_free(p);
}

static int publishing_fill(struct publishing *p, struct txn *t, struct err *e)
{
    const struct ledger_once *once = api_once_key(p->req);
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    struct envelope env;
    int rc = 0;
    api_envelope(p->req, &env);
    txn_envelope(t, &env);
    if (once != NULL)
        ledger_txn_once(t, once, 0);
    bus_txn_routes(t, p->route);
    for (size_t i = 0; rc == 0 && i < p->count; i++) {
        rc = topic_draft_add(&p->list[i], p->route, t, e);
        if (rc != 0 && p->batch)
            err_context(e, "event %zu", i);
    }
    publishing_context(p, &context);
    if (rc == 0 && once != NULL)
        rc = ledger_txn_keep(t, once, 0, context.data, context.len, e);
    return rc;
}

/* Routed and proposed; on failure the unit is empty. */
static int publishing_go(struct publishing *p, struct err *e)
{
    struct api_thread *t = api_thread_of(p->req);
    bus_route_free(p->route);
    p->route = NULL;
    unit_init(&p->unit, loop_runner(t->loop), publishing_done);
    int rc = bus_route(t->api->o.bus, API_TENANT, http_param(p->req, "topic"), &p->route, e);
    if (rc == 0)
        rc = publishing_fill(p, &p->unit.txn, e);
    return rc == 0 ? ledger_propose(t->api->o.ledger, &p->unit, e) : rc;
}

/* Options of the query, as an object. */
static json_t *publish_query(struct http_request *req)
{
    const char *names[ARRAY_LEN(topic_option_names) + 1];
    size_t pairs;
    memcpy(names, topic_option_names, sizeof topic_option_names);
    names[topic_option_count] = "reply";
    if (!api_query_only(req, names, ARRAY_LEN(names)))
        return NULL;
    json_t *o = json_object();
    const struct http_pair *all = http_query_all(req, &pairs);
    for (size_t i = 0; i < pairs; i++)
        json_object_set_new(o, all[i].name, json_string(all[i].value));
    return o;
}

static void publish_post(struct http_request *req)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *options = publish_query(req);
    if (options == NULL)
        return;
    if (json_object_get(options, "reply") != NULL) {
        if (api_once_none(req))
            topic_reply(req, options);
        return;
    }
    if (!api_once(req))
        return;
    size_t count = 0;
    bool batch = false;
    struct topic_draft *list = topic_drafts_read(req, options, &count, &batch);
    if (list == NULL)
        return;
    struct publishing *p = mem_new(sizeof *p);
    *p = (struct publishing){
        .req = req, .options = TAKE(options), .list = list, .count = count, .batch = batch};
    if (publishing_replayed(p)) {
        publishing_free(p);
        return;
    }
    if (publishing_go(p, &e) == 0)
        return;
    http_problem(req, &e);
    publishing_free(p);
}

/* ---- who listens ---- */

static void topics_get(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    api_answer_json(req, 200, bus_show(api_thread_of(req)->api->o.bus, API_TENANT));
}

static const struct http_route topics_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/api/topics", .handler = topics_get},
    {.verb = HTTP_VERB_POST, .pattern = "/api/topics/:topic", .handler = publish_post},
};
const struct api_routes api_topics_routes = {topics_table, ARRAY_LEN(topics_table)};
