/* Consumers that stay: messages come as they are granted, as long as the connection lasts.
 *
 * POST /api/queues/{vhost}/{name}/consume?prefetch=100, lines both ways:
 *
 *   <- {"id":"..","token":7,"attempt":1,"deliveries":1,"lease_until":"..","body":{..}}
 *   -> {"id":"..","token":7,"outcome":"ack"}
 *   <- {"line":1,"id":"..","outcome":"ack"}
 *   <- {"lost":{"id":"..","token":8}}, or "cancel": somebody asks to stop it
 *
 * GET .../consume?prefetch=100: the same messages as server-sent events, settled by
 * POST .../settle. Either way at most `prefetch` are held at a time. The node renews their leases
 * while the connection lasts; when it ends, what is not settled goes back at once, and no try is
 * used.
 *
 *   OPENING --opened--> OPEN --flow's finish()--> LEAVING --left--> (gone)
 *
 * One unit and one reading of bodies are under way at a time; consuming_next() begins the next. */
#include <string.h>

#include "api/flow_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum {
    CONSUME_PREFETCH = 32,
    CONSUME_RENEWS = 3,      /* in a lease */
    CONSUME_AGAIN = 12,      /* the part of a lease after which a renewal is tried again */
    CONSUME_BYTES = 1 << 20, /* read ahead of the client */
};

struct consuming {
    struct flow flow;               /* first */
    struct queue_consumer consumer; /* what is granted */
    struct unit unit;               /* open, renew, leave */
    struct world_timer renew;
    struct queue_reading reading;
    char name[CORE_TEXT_MAX + 1];
    struct core_label labels[CORE_LABELS_MAX];
    uint8_t labels_count;
    json_t *asked, *held;
    uint32_t prefetch, lease_ms;
    int64_t lease_until;
    struct core_effect *got, *read; /* not read yet; those that are read */
    size_t got_count, read_count;
    struct queue_shown *shown;
    bool proposing, reads, slow, due, ending, left;
};

static struct consuming *consuming_of(struct flow *f)
{
    return (struct consuming *)f;
}

static void consuming_free(struct consuming *c)
{
    mem_free(c->got);
    mem_free(c->read);
    json_decref(c->asked);
    json_decref(c->held);
    mem_free(c);
}

static void consuming_next(struct consuming *c);

/* ---- what comes ---- */

/* Tokens are the entry's: its grants share one. */
static bool is_grant_of(const struct core_effect *got, const struct core_effect *f)
{
    return got->kind == EFFECT_GRANT && got->id == f->id && got->token == f->token;
}

/* It went to others before the client heard of it. */
static bool consuming_forget(struct consuming *c, const struct core_effect *f)
{
    for (size_t i = 0; i < c->got_count; i++) {
        if (!is_grant_of(&c->got[i], f))
            continue;
        memmove(&c->got[i], &c->got[i + 1], (c->got_count - i - 1) * sizeof *c->got);
        c->got_count--;
        return true;
    }
    for (size_t i = 0; i < c->read_count; i++) {
        if (!is_grant_of(&c->read[i], f))
            continue;
        c->read[i].token = 0;
        return true;
    }
    return false;
}

static void consuming_take(struct consuming *c)
{
    size_t count;
    AUTO(mem_freep)
    struct core_effect *f = queues_take(c->flow.thread->api->o.queues, &c->consumer, &count);
    struct core_effect *all =
        count > 0 ? mem_try_resize(c->got, (c->got_count + count) * sizeof *all) : NULL;
    if (all == NULL)
        return; /* out of memory: their lease ends, and others get them */
    c->got = all;
    for (size_t i = 0; i < count; i++) {
        bool told = c->flow.begun && f[i].kind != EFFECT_GRANT; /* of what the client has */
        if (f[i].kind == EFFECT_LOST && consuming_forget(c, &f[i]))
            told = false;
        if (f[i].kind == EFFECT_GRANT || told)
            c->got[c->got_count++] = f[i];
    }
}

static void consuming_arrived(struct queue_consumer *q)
{
    struct consuming *c = (struct consuming *)((char *)q - offsetof(struct consuming, consumer));
    consuming_take(c);
    consuming_next(c);
}

/* ---- to the client, in the order in which it came ---- */

static void notice_print(const struct consuming *c, size_t i, struct buf *out)
{
    const char *what = c->read[i].kind == EFFECT_LOST ? "lost" : "cancel";
    char id[UUID_TEXT];
    uuid_format(&c->shown[i].id, id);
    if (c->flow.calls->events)
        buf_addf(out, "event: %s\ndata: {", what);
    else
        buf_addf(out, "{\"%s\":{", what);
    buf_addf(out, "\"id\":\"%s\",\"token\":%llu", id, (unsigned long long)c->read[i].token);
    buf_adds(out, c->flow.calls->events ? "}\n\n" : "}}\n");
}

static void message_print(const struct consuming *c, size_t i, struct buf *out)
{
    const struct core_effect *f = &c->read[i];
    const struct queue_shown *s = &c->shown[i];
    char id[UUID_TEXT], until[TIME_TEXT];
    bool events = c->flow.calls->events;
    uuid_format(&s->id, id);
    time_format(c->lease_until, until);
    if (events)
        buf_addf(out, "event: message\nid: %s\ndata: ", id);
    buf_addf(out, "{\"id\":\"%s\",\"token\":%llu,\"attempt\":%u,\"deliveries\":%u", id,
             (unsigned long long)f->token, f->attempt, f->deliveries);
    buf_addf(out, ",\"lease_until\":\"%s\"", until);
    buf_add(out, s->texts, s->texts_len);
    buf_adds(out, events ? "}\n\n" : "}\n");
}

/* Those that were not read, for one answer has its bounds, are read next. */
static void consuming_again(struct consuming *c, size_t first)
{
    size_t n = c->read_count - first;
    struct core_effect *all = n > 0 ? mem_try((c->got_count + n) * sizeof *all) : NULL;
    if (all == NULL)
        return;
    memcpy(all, c->read + first, n * sizeof *all);
    if (c->got_count > 0)
        memcpy(all + n, c->got, c->got_count * sizeof *all);
    mem_free(c->got);
    c->got = all;
    c->got_count += n;
}

static void consuming_read(struct queue_reading *r)
{
    struct consuming *c = (struct consuming *)((char *)r - offsetof(struct consuming, reading));
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    c->reads = false;
    for (size_t i = 0; i < r->read && r->job.err.code == 0; i++) {
        if (c->read[i].kind != EFFECT_GRANT)
            notice_print(c, i, &out);
        else if (c->read[i].token != 0 && c->shown[i].err.code == 0 && c->shown[i].texts != NULL)
            message_print(c, i, &out);
    }
    if (r->job.err.code != 0)
        flow_stop(&c->flow, &r->job.err);
    else if (out.len > 0)
        c->slow = !flow_write(&c->flow, out.data, out.len);
    buf_fini(&out);
    queue_shown_free(TAKE(c->shown), r->count);
    consuming_again(c, r->read);
    c->read_count = 0;
    consuming_next(c);
}

static void consuming_show(struct consuming *c)
{
    mem_free(c->read);
    c->read = TAKE(c->got);
    c->read_count = c->got_count;
    c->got_count = 0;
    c->shown = mem_new_array(c->read_count, sizeof *c->shown);
    for (size_t i = 0; i < c->read_count; i++) {
        c->shown[i].place = c->read[i].place;
        c->shown[i].body = c->read[i].body;
        c->shown[i].edited = c->read[i].edited;
    }
    c->reading = (struct queue_reading){.shown = c->shown,
                                        .count = c->read_count,
                                        .bytes_max = CONSUME_BYTES,
                                        .done = consuming_read};
    c->reads = true;
    queue_read_start(&c->reading, c->flow.req);
}

/* ---- what the client settles ---- */

static void consuming_line(struct flow *f, const char *p, size_t n)
{
    struct consuming *c = consuming_of(f);
    struct flow_item *it = flow_item_new(f, n);
    if (it == NULL)
        return;
    struct core_settle s = {.token = 0};
    AUTO(buf_fini) struct buf text = BUF_INIT(QUEUE_RESULT_BYTES);
    AUTO(json_unref) json_t *o = json_read(p, n, &it->err);
    if (o != NULL && queue_settle_read(o, api_now_ms(f->thread), false, &s, &text, &it->err) == 0) {
        s.queue = c->name;
        it->tag = (int)s.outcome;
        uuid_format(&s.id, it->id);
        if (buf_failed(&text))
            err_field(&it->err, ERR_TOO_LARGE, "result", "a result has at most %d bytes",
                      QUEUE_RESULT_BYTES);
        else
            queue_txn_settle(flow_txn(it, true), &s, text.len > 0 ? text.data : NULL, text.len,
                             &it->err);
    }
    flow_item_start(it);
}

static void consuming_print(struct flow_item *it, struct buf *out)
{
    buf_addf(out, "{\"line\":%llu,", (unsigned long long)it->n);
    if (it->id[0] != '\0')
        buf_addf(out, "\"id\":\"%s\",", it->id);
    if (it->err.code == 0) {
        buf_addf(out, "\"outcome\":\"%s\"}\n", queue_settle_name((enum core_outcome)it->tag));
        return;
    }
    buf_adds(out, "\"error\":");
    api_print_problem(out, &it->err, NULL);
    buf_adds(out, "}\n");
}

/* ---- its consumer in the queue ---- */

static struct txn *consuming_txn(struct consuming *c, void (*done)(struct unit *u))
{
    struct envelope env;
    api_envelope(c->flow.req, &env);
    unit_init(&c->unit, loop_runner(c->flow.thread->loop), done);
    c->unit.txn.urgent = true;
    c->unit.txn.grows = false; /* what is held can be settled, and should be */
    txn_envelope(&c->unit.txn, &env);
    return &c->unit.txn;
}

static int consuming_propose(struct consuming *c, struct err *e)
{
    int rc = ledger_propose(c->flow.thread->api->o.ledger, &c->unit, e);
    if (rc != 0)
        unit_fini(&c->unit);
    c->proposing = rc == 0;
    return rc;
}

static struct consuming *consuming_of_unit(struct unit *u)
{
    return (struct consuming *)((char *)u - offsetof(struct consuming, unit));
}

static void consuming_gone(struct queue_consumer *q)
{
    struct consuming *c = (struct consuming *)((char *)q - offsetof(struct consuming, consumer));
    flow_end(&c->flow);
    consuming_free(c);
}

static void consuming_refused(struct queue_consumer *q)
{
    struct consuming *c = (struct consuming *)((char *)q - offsetof(struct consuming, consumer));
    struct err e = c->flow.err;
    flow_refuse(&c->flow, &e);
    consuming_free(c);
}

static void consuming_unlisten(struct consuming *c)
{
    struct world *w = loop_world(c->flow.thread->loop);
    w->timer_stop(w, &c->renew);
    queues_unlisten(c->flow.thread->api->o.queues, &c->consumer);
}

static void consuming_refuse(struct consuming *c, const struct err *e)
{
    c->flow.err = *e;
    c->consumer.gone = consuming_refused;
    consuming_unlisten(c);
}

static void consuming_left(struct unit *u)
{
    struct consuming *c = consuming_of_unit(u);
    unit_fini(u);
    c->proposing = false;
    consuming_unlisten(c);
}

static void consuming_leave(struct consuming *c)
{
    struct err e = ERR_INIT;
    c->left = true;
    queue_txn_leave(consuming_txn(c, consuming_left), &c->consumer.id);
    if (consuming_propose(c, &e) != 0)
        consuming_unlisten(c); /* its lease ends by itself */
}

static void consuming_finish(struct flow *f)
{
    consuming_of(f)->ending = true;
    consuming_next(consuming_of(f));
}

static void consuming_renew_at(struct consuming *c, int64_t now)
{
    struct world *w = loop_world(c->flow.thread->loop);
    c->lease_until = now + c->lease_ms;
    w->timer_start(w, &c->renew, c->lease_ms / CONSUME_RENEWS);
}

/* What refuses it now may pass, and until four fifths of the lease are over it is tried again. */
static void consuming_renew_again(struct consuming *c, const struct err *e)
{
    struct world *w = loop_world(c->flow.thread->loop);
    int64_t last = c->lease_until - c->lease_ms / 5;
    if (e->code != ERR_NOT_FOUND && w->wall_ms(w) + c->lease_ms / CONSUME_AGAIN < last)
        w->timer_start(w, &c->renew, c->lease_ms / CONSUME_AGAIN);
    else
        flow_stop(&c->flow, e);
}

static void consuming_renewed(struct unit *u)
{
    struct consuming *c = consuming_of_unit(u);
    struct err e = u->err;
    int64_t at = u->at;
    unit_fini(u);
    c->proposing = false;
    if (e.code == 0)
        consuming_renew_at(c, at);
    else
        consuming_renew_again(c, &e);
    consuming_next(c);
}

static void consuming_renew(struct consuming *c)
{
    struct err e = ERR_INIT;
    c->due = false;
    queue_txn_renew(consuming_txn(c, consuming_renewed), &c->consumer.id);
    if (consuming_propose(c, &e) != 0)
        consuming_renew_again(c, &e);
}

static void consuming_due(struct world_timer *t)
{
    struct consuming *c = (struct consuming *)((char *)t - offsetof(struct consuming, renew));
    c->due = true;
    consuming_next(c);
}

static void consuming_next(struct consuming *c)
{
    if (!c->flow.begun)
        return;
    if (c->due && !c->proposing && !c->ending)
        consuming_renew(c);
    if (!c->reads && c->got_count > 0 && !c->slow && !c->flow.over)
        consuming_show(c);
    if (c->ending && !c->reads && !c->proposing && !c->left)
        consuming_leave(c);
}

static void consuming_drained(struct flow *f)
{
    consuming_of(f)->slow = false;
    consuming_next(consuming_of(f));
}

static const struct flow_calls lines_calls = {.line = consuming_line,
                                              .print = consuming_print,
                                              .finish = consuming_finish,
                                              .drained = consuming_drained};
static const struct flow_calls events_calls = {
    .events = true, .finish = consuming_finish, .drained = consuming_drained};

static void consuming_opened(struct unit *u)
{
    struct consuming *c = consuming_of_unit(u);
    struct err e = u->err;
    int64_t at = u->at;
    unit_fini(u);
    c->proposing = false;
    if (e.code != 0) {
        consuming_refuse(c, &e);
        return;
    }
    consuming_renew_at(c, at);
    consuming_take(c);
    flow_begin(&c->flow); /* a client that has gone ends it at once */
    consuming_next(c);
}

static void consuming_open(struct consuming *c)
{
    const char *queue = c->name;
    struct err e = ERR_INIT;
    struct core_consumer o = {.id = c->consumer.id,
                              .node = queues_node(c->flow.thread->api->o.queues),
                              .tenant = API_TENANT,
                              .queues = &queue,
                              .queues_count = 1,
                              .credit = c->prefetch,
                              .lease_ms = c->lease_ms,
                              .labels = c->labels,
                              .labels_count = c->labels_count};
    queues_listen(c->flow.thread->api->o.queues, &c->consumer);
    queue_txn_open(consuming_txn(c, consuming_opened), &o);
    if (consuming_propose(c, &e) != 0)
        consuming_refuse(c, &e);
}

/* ---- the request ---- */

static int consume_options(struct consuming *c, struct http_request *req, struct err *e)
{
    const char *lease = http_query(req, "lease"), *labels = http_query(req, "labels");
    int64_t lease_ms = QUEUE_LEASE_MS;
    int rc = 0;
    if (lease != NULL) {
        AUTO(json_unref) json_t *v = json_string(lease);
        rc = queue_duration(v, "lease", &lease_ms, e);
        if (rc == 0 && (lease_ms < QUEUE_LEASE_MIN_MS || lease_ms > QUEUE_LEASE_MAX_MS))
            rc = err_field(e, ERR_INVALID, "lease", "lease is %d to %d s",
                           QUEUE_LEASE_MIN_MS / 1000, QUEUE_LEASE_MAX_MS / 1000);
    }
    if (rc == 0 && labels != NULL) {
        c->asked = json_read(labels, strlen(labels), e);
        rc = c->asked == NULL
                 ? err_context(e, "labels")
                 : queue_labels(c->asked, "labels", c->labels, &c->labels_count, &c->held, e);
    }
    c->lease_ms = (uint32_t)lease_ms;
    return rc;
}

static void consume_start(struct http_request *req, const struct flow_calls *calls)
{
    const char *tenant, *name;
    int64_t prefetch;
    struct err e = ERR_INIT;
    if (!queue_of_route(req, &tenant, &name) ||
        !API_QUERY_ONLY(req, "prefetch", "lease", "labels") ||
        !api_query_int(req, "prefetch", 1, CORE_CREDIT_MAX, CONSUME_PREFETCH, &prefetch) ||
        (!calls->events && !flow_may(req)))
        return;
    struct consuming *c = mem_new(sizeof *c);
    c->prefetch = (uint32_t)prefetch;
    int rc = consume_options(c, req, &e);
    if (rc != 0)
        http_problem(req, &e);
    if (rc != 0 || !flow_open(&c->flow, req, calls)) {
        consuming_free(c);
        return;
    }
    struct api_thread *t = c->flow.thread;
    str_copy(c->name, sizeof c->name, name);
    c->renew.fire = consuming_due;
    c->consumer.home = loop_runner(t->loop);
    c->consumer.arrived = consuming_arrived;
    c->consumer.gone = consuming_gone;
    t->ids.make(&t->ids, &c->consumer.id);
    consuming_open(c);
}

static void consume_post(struct http_request *req)
{
    consume_start(req, &lines_calls);
}

static void consume_get(struct http_request *req)
{
    consume_start(req, &events_calls);
}

static const struct http_route consume_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/consume", consume_post,
     HTTP_LONG | HTTP_STREAM_BODY | HTTP_URGENT, 0},
    {HTTP_VERB_GET, "/api/queues/:vhost/:name/consume", consume_get, HTTP_LONG, 0},
};
const struct api_routes api_queue_consume_routes = {consume_table, ARRAY_LEN(consume_table)};
