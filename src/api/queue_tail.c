/* GET /api/queues/{vhost}/{name}/tail: what happens in a queue, as server-sent events, to whoever
 * looks on. Nothing is leased by it.
 *
 *   event: started    data: {"id":"..","attempt":1,"at":".."}
 *   event: completed, discarded ("reason"), cancelled, lost, cancelling, purged,
 *          missed ({"count": 12})
 *
 *   ASKING (is there such a queue) --> OPEN --flow's finish()--> (untapped) --> gone */
#include <string.h>

#include "api/flow_priv.h"
#include "api/queue_priv.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum { TAIL_EVENTS_MAX = 10000 /* that wait to be read, or for the client */ };

struct tail {
    struct flow flow; /* first */
    struct queue_ask ask;
    struct queue_tap tap;
    struct queue_reading reading;
    char name[CORE_TEXT_MAX + 1];
    struct err err;
    struct queue_tapped *got, *read;
    size_t got_count, read_count;
    uint64_t missed;
    struct queue_shown *shown;
    bool reads, slow, ending, left;
};

static void tail_next(struct tail *t);

/* ---- events ---- */

static const char *tail_name(const struct queue_tapped *e)
{
    switch (e->kind) {
    case EFFECT_GRANT:
        return "started";
    case EFFECT_CANCEL:
        return "cancelling";
    case EFFECT_LOST:
        return "lost";
    case EFFECT_PURGED:
        return "purged";
    case EFFECT_ENDED:
        break;
    }
    return rec_state_name(e->state);
}

static void tail_print(const struct queue_tapped *e, const struct queue_shown *s, struct buf *out)
{
    char id[UUID_TEXT], at[TIME_TEXT];
    time_format(e->at, at);
    buf_addf(out, "event: %s\ndata: {", tail_name(e));
    if (s->err.code == 0) { /* else its bytes are gone: it was not kept */
        uuid_format(&s->id, id);
        buf_addf(out, "\"id\":\"%s\",", id);
    }
    buf_addf(out, "\"what\":\"%s\",\"attempt\":%u,\"at\":\"%s\"", tail_name(e), e->attempt, at);
    if (e->kind == EFFECT_ENDED && e->state == REC_DISCARDED)
        buf_addf(out, ",\"reason\":\"%s\"", rec_reason_name(e->reason));
    buf_adds(out, "}\n\n");
}

static void tail_print_missed(struct tail *t, struct buf *out)
{
    if (t->missed > 0)
        buf_addf(out, "event: missed\ndata: {\"what\":\"missed\",\"count\":%llu}\n\n",
                 (unsigned long long)t->missed);
    t->missed = 0;
}

static void tail_read(struct queue_reading *r)
{
    struct tail *t = (struct tail *)((char *)r - offsetof(struct tail, reading));
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    t->reads = false;
    for (size_t i = 0; i < t->read_count && r->job.err.code == 0; i++)
        tail_print(&t->read[i], &t->shown[i], &out);
    tail_print_missed(t, &out);
    if (r->job.err.code != 0)
        flow_stop(&t->flow, &r->job.err);
    else if (out.len > 0)
        t->slow = !flow_write(&t->flow, out.data, out.len);
    buf_fini(&out);
    queue_shown_free(TAKE(t->shown), t->read_count);
    t->read_count = 0;
    tail_next(t);
}

static void tail_show(struct tail *t)
{
    mem_free(t->read);
    t->read = TAKE(t->got);
    t->read_count = t->got_count;
    t->got_count = 0;
    t->shown = mem_new_array(t->read_count, sizeof *t->shown);
    for (size_t i = 0; i < t->read_count; i++)
        t->shown[i].place = t->read[i].place;
    t->reading = (struct queue_reading){
        .shown = t->shown, .count = t->read_count, .ids_only = true, .done = tail_read};
    t->reads = true;
    queue_read_start(&t->reading, t->flow.req);
}

static void tail_arrived(struct queue_tap *tap)
{
    struct tail *t = (struct tail *)((char *)tap - offsetof(struct tail, tap));
    size_t count;
    uint64_t missed;
    AUTO(mem_freep)
    struct queue_tapped *e = queues_tapped(t->flow.thread->api->o.queues, tap, &count, &missed);
    bool fits = t->got_count + count <= TAIL_EVENTS_MAX;
    struct queue_tapped *all =
        fits && count > 0 ? mem_try_resize(t->got, (t->got_count + count) * sizeof *all) : NULL;
    t->missed += all == NULL ? missed + count : missed;
    if (all != NULL) {
        memcpy(all + t->got_count, e, count * sizeof *all);
        t->got = all;
        t->got_count += count;
    }
    tail_next(t);
}

/* ---- its life ---- */

static void tail_free(struct tail *t)
{
    mem_free(t->got);
    mem_free(t->read);
    mem_free(t);
}

static void tail_gone(struct queue_tap *tap)
{
    struct tail *t = (struct tail *)((char *)tap - offsetof(struct tail, tap));
    flow_end(&t->flow);
    tail_free(t);
}

static void tail_next(struct tail *t)
{
    if (t->reads || t->left)
        return;
    if (t->ending) {
        t->left = true;
        queues_untap(t->flow.thread->api->o.queues, &t->tap);
    } else if (t->got_count > 0 && !t->slow) {
        tail_show(t);
    }
}

static void tail_finish(struct flow *f)
{
    struct tail *t = (struct tail *)f;
    t->ending = true;
    tail_next(t);
}

static void tail_drained(struct flow *f)
{
    struct tail *t = (struct tail *)f;
    t->slow = false;
    tail_next(t);
}

static const struct flow_calls tail_calls = {
    .events = true, .finish = tail_finish, .drained = tail_drained};

static void tail_look(struct queue_ask *a, const struct core *c)
{
    struct tail *t = (struct tail *)((char *)a - offsetof(struct tail, ask));
    struct core_queue q;
    struct core_counts n;
    core_find(c, API_TENANT, t->name, &q, &n, &t->err);
}

static void tail_looked(struct queue_ask *a)
{
    struct tail *t = (struct tail *)((char *)a - offsetof(struct tail, ask));
    if (t->err.code != 0) {
        flow_refuse(&t->flow, &t->err);
        tail_free(t);
        return;
    }
    queues_tap(t->flow.thread->api->o.queues, &t->tap);
    flow_begin(&t->flow); /* a client that has gone ends it at once */
}

static void tail_get(struct http_request *req)
{
    const char *tenant, *name;
    if (!queue_of_route(req, &tenant, &name) || !API_QUERY_NONE(req))
        return;
    struct tail *t = mem_new(sizeof *t);
    if (!flow_open(&t->flow, req, &tail_calls)) {
        tail_free(t);
        return;
    }
    str_copy(t->name, sizeof t->name, name);
    t->tap.tenant = API_TENANT;
    t->tap.queue = t->name;
    t->tap.home = t->ask.home = loop_runner(t->flow.thread->loop);
    t->tap.arrived = tail_arrived;
    t->tap.gone = tail_gone;
    t->ask.ask = tail_look;
    t->ask.done = tail_looked;
    queues_ask(t->flow.thread->api->o.queues, &t->ask);
}

static const struct http_route tail_table[] = {
    {HTTP_VERB_GET, "/api/queues/:vhost/:name/tail", tail_get, HTTP_LONG, 0},
};
const struct api_routes api_queue_tail_routes = {tail_table, ARRAY_LEN(tail_table)};
