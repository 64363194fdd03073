/* POST /api/queues/{vhost}/{name}/lease {"max": 10, "wait": "20s", "lease": "30s"}: long polling.
 * POST /api/jobs/lease {"jobs": ["thumbs"], ..} is the same of the queues of jobs.
 *
 *   OPENING  a consumer with so much credit is opened, with a lease that outlasts the wait
 *   WAITING  until it is granted something, or the wait is over, or the client has gone
 *   CLOSING  something came: it is retired, and its lease begins anew, as asked for; else it
 *            leaves, and what was granted meanwhile goes back without a try being used
 *   READING  the bodies, on the pool; then the answer
 *
 * The consumer stays in the core, without credit, until all that it holds is settled, or lapsed. It
 * outlives its request by what the queue still has to tell it. */
#include <stdlib.h>
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "job/def.h"

enum { LEASE_MAX = 1, LEASE_OPEN_MORE_MS = 10 * 1000 };

struct queue_lease {
    struct queue_consumer consumer; /* first */
    struct list link;               /* of its thread */
    struct unit unit;
    struct world_timer timer;
    struct queue_reading reading;
    struct api_thread *thread;
    struct http_request *req; /* NULL: answered */
    const char *queues[CORE_SUBSCRIBED_MAX];
    char *names; /* of them */
    uint32_t queues_count;
    bool runs; /* of jobs */
    struct core_label labels[CORE_LABELS_MAX];
    uint8_t labels_count;
    json_t *body, *held;
    uint32_t max, lease_ms;
    int64_t wait_ms;
    struct core_effect *got;
    size_t got_count;
    struct queue_shown *shown;
    bool waiting, leaves, over;
};

static struct queue_lease *lease_of_unit(struct unit *u)
{
    return (struct queue_lease *)((char *)u - offsetof(struct queue_lease, unit));
}

static void lease_gone(struct queue_consumer *c)
{
    struct queue_lease *l = (struct queue_lease *)c;
    queue_shown_free(l->shown, l->got_count);
    mem_free(l->got);
    mem_free(l->names);
    json_decref(l->body);
    json_decref(l->held);
    mem_free(l);
}

/* Answered, and nothing is under way. */
static void lease_end(struct queue_lease *l)
{
    struct world *w = loop_world(l->thread->loop);
    w->timer_stop(w, &l->timer);
    list_remove(&l->link);
    queues_unlisten(l->thread->api->o.queues, &l->consumer);
}

static void lease_refuse(struct queue_lease *l, const struct err *e)
{
    http_problem(TAKE(l->req), e);
    lease_end(l);
}

/* ---- what is granted ---- */

static void got_forget(struct queue_lease *l, uint64_t id, uint64_t token)
{
    for (size_t i = 0; i < l->got_count; i++) {
        if (l->got[i].id != id || l->got[i].token != token)
            continue;
        memmove(&l->got[i], &l->got[i + 1], (l->got_count - i - 1) * sizeof *l->got);
        l->got_count--;
        return;
    }
}

static void lease_take(struct queue_lease *l)
{
    size_t count;
    AUTO(mem_freep)
    struct core_effect *f = queues_take(l->thread->api->o.queues, &l->consumer, &count);
    struct core_effect *all =
        count > 0 ? mem_try_resize(l->got, (l->got_count + count) * sizeof *all) : NULL;
    if (all == NULL)
        return; /* out of memory: their lease ends, and others get them */
    l->got = all;
    for (size_t i = 0; i < count; i++) {
        if (f[i].kind == EFFECT_GRANT)
            l->got[l->got_count++] = f[i];
        if (f[i].kind == EFFECT_LOST)
            got_forget(l, f[i].id, f[i].token);
    }
}

/* ---- the answer ---- */

static void lease_print(const struct queue_lease *l, size_t i, struct buf *out)
{
    const struct core_effect *f = &l->got[i];
    const struct queue_shown *s = &l->shown[i];
    char id[UUID_TEXT], until[TIME_TEXT];
    uuid_format(&s->id, id);
    time_format(l->unit.at + l->lease_ms, until);
    buf_addf(out, "{\"id\":\"%s\",\"token\":%llu,\"attempt\":%u,\"deliveries\":%u", id,
             (unsigned long long)f->token, f->attempt, f->deliveries);
    if (l->runs)
        buf_addf(out, ",\"job\":\"%s\"", f->queue + sizeof QUEUE_OF_JOBS - 1);
    buf_addf(out, ",\"lease_until\":\"%s\"", until);
    if (s->texts != NULL)
        buf_add(out, s->texts, s->texts_len);
    buf_addc(out, '}');
}

static void lease_answer(struct queue_lease *l)
{
    struct http_request *req = TAKE(l->req);
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    buf_adds(&out, l->runs ? "{\"runs\":[" : "{\"messages\":[");
    for (size_t i = 0; i < l->reading.read; i++) {
        if (l->shown[i].err.code != 0)
            continue;
        if (out.data[out.len - 1] != '[')
            buf_addc(&out, ',');
        lease_print(l, i, &out);
    }
    buf_adds(&out, "]}");
    lease_end(l);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void lease_released(struct queue_units *u)
{
    struct queue_lease *l = u->more;
    queue_units_free(u);
    lease_answer(l);
}

/* More bytes than one answer holds: the rest goes back to the queue. */
static void lease_release(struct queue_lease *l)
{
    size_t first = l->reading.read;
    struct queue_units *u = queue_units_new(l->req, l->got_count - first, true);
    if (u == NULL) {
        l->req = NULL;
        lease_end(l);
        return;
    }
    u->more = l;
    for (size_t i = 0; i < u->count; i++) {
        struct core_settle s = {.id = l->shown[first + i].id,
                                .token = l->got[first + i].token,
                                .outcome = SETTLE_RELEASE};
        queue_txn_settle(queue_units_txn(u, i), &s, NULL, 0, &u->items[i].err);
    }
    queue_units_start(u, lease_released);
}

static void lease_read(struct queue_reading *r)
{
    struct queue_lease *l =
        (struct queue_lease *)((char *)r - offsetof(struct queue_lease, reading));
    if (r->job.err.code != 0)
        lease_refuse(l, &r->job.err);
    else if (r->read < r->count)
        lease_release(l);
    else
        lease_answer(l);
}

static void lease_show(struct queue_lease *l)
{
    l->shown = mem_new_array(l->got_count + 1, sizeof *l->shown);
    for (size_t i = 0; i < l->got_count; i++) {
        l->shown[i].place = l->got[i].place;
        l->shown[i].body = l->got[i].body;
        l->shown[i].edited = l->got[i].edited;
    }
    l->reading = (struct queue_reading){
        .shown = l->shown, .count = l->got_count, .runs = l->runs, .done = lease_read};
    queue_read_start(&l->reading, l->req);
}

/* ---- opening, closing ---- */

static struct txn *lease_unit(struct queue_lease *l, void (*done)(struct unit *u))
{
    struct envelope env = {.tenant = API_TENANT};
    if (l->req != NULL)
        api_envelope(l->req, &env);
    unit_init(&l->unit, loop_runner(l->thread->loop), done);
    l->unit.txn.urgent = true;
    l->unit.txn.grows = false;
    txn_envelope(&l->unit.txn, &env);
    return &l->unit.txn;
}

static int lease_propose(struct queue_lease *l, struct err *e)
{
    int rc = ledger_propose(l->thread->api->o.ledger, &l->unit, e);
    if (rc != 0)
        unit_fini(&l->unit);
    return rc;
}

static int lease_open(struct queue_lease *l, void (*done)(struct unit *u), struct err *e)
{
    struct core_consumer o = {.id = l->consumer.id,
                              .node = queues_node(l->thread->api->o.queues),
                              .tenant = API_TENANT,
                              .queues = l->queues,
                              .queues_count = l->queues_count,
                              .credit = l->max,
                              .lease_ms = (uint32_t)l->wait_ms + LEASE_OPEN_MORE_MS,
                              .labels = l->labels,
                              .labels_count = l->labels_count};
    queue_txn_open(lease_unit(l, done), &o);
    return lease_propose(l, e);
}

static void lease_closed(struct unit *u)
{
    struct queue_lease *l = lease_of_unit(u);
    struct err e = u->err;
    lease_take(l);
    unit_fini(u);
    if (e.code != 0 && !l->leaves)
        lease_refuse(l, &e);
    else if (l->leaves)
        lease_answer(l);
    else
        lease_show(l);
}

static void lease_close(struct queue_lease *l)
{
    struct err e = ERR_INIT;
    l->waiting = false;
    l->leaves = l->got_count == 0 || http_is_cancelled(l->req);
    struct txn *t = lease_unit(l, lease_closed);
    if (l->leaves)
        queue_txn_leave(t, &l->consumer.id);
    else
        queue_txn_retire(t, &l->consumer.id, l->lease_ms);
    if (lease_propose(l, &e) != 0)
        lease_refuse(l, &e);
}

/* ---- waiting ---- */

static void lease_arrived(struct queue_consumer *c)
{
    struct queue_lease *l = (struct queue_lease *)c;
    if (l->shown == NULL) /* else what is answered stands */
        lease_take(l);
    else
        mem_free(queues_take(l->thread->api->o.queues, c, &(size_t){0}));
    if (l->waiting && l->got_count > 0)
        lease_close(l);
}

static void lease_late(struct world_timer *t)
{
    struct queue_lease *l = (struct queue_lease *)((char *)t - offsetof(struct queue_lease, timer));
    if (l->waiting)
        lease_close(l);
}

static void lease_cancelled(struct http_request *req, void *arg)
{
    struct queue_lease *l = arg;
    (void)req;
    if (l->waiting)
        lease_close(l);
}

static void lease_opened(struct unit *u)
{
    struct queue_lease *l = lease_of_unit(u);
    struct world *w = loop_world(l->thread->loop);
    struct err e = u->err;
    unit_fini(u);
    if (e.code != 0) {
        lease_refuse(l, &e);
        return;
    }
    lease_take(l);
    l->waiting = true;
    if (l->got_count > 0 || l->wait_ms == 0 || l->over || http_is_cancelled(l->req))
        lease_close(l);
    else {
        http_uncounted(l->req);
        w->timer_start(w, &l->timer, (uint64_t)l->wait_ms);
    }
}

void api_queue_drain(struct api_thread *t)
{
    t->queue_drained = true;
    LIST_EACH_SAFE(it, &t->queue_waits)
    {
        struct queue_lease *l = LIST_OF(it, struct queue_lease, link);
        l->over = true;
        if (l->waiting)
            lease_close(l);
    }
}

/* ---- the request ---- */

static int lease_time(const json_t *o, const char *name, int64_t least, int64_t most, int64_t *out,
                      struct err *e)
{
    const json_t *v = json_object_get(o, name);
    int rc = v != NULL ? queue_duration(v, name, out, e) : 0;
    if (rc == 0 && (*out < least || *out > most))
        rc = err_field(e, ERR_INVALID, name, "%s is %g to %g s", name, (double)least / 1000,
                       (double)most / 1000);
    return rc;
}

static int lease_jobs(struct queue_lease *l, const json_t *jobs, struct err *e)
{
    size_t count = json_array_size(jobs), room = sizeof QUEUE_OF_JOBS + JOB_NAME_MAX;
    if (count == 0 || count > CORE_SUBSCRIBED_MAX)
        return err_field(e, ERR_INVALID, "jobs", "jobs are the names of 1 to %d jobs",
                         CORE_SUBSCRIBED_MAX);
    l->names = mem_new(count * room);
    for (size_t i = 0; i < count; i++) {
        const char *job = json_string_value(json_array_get(jobs, i));
        if (job == NULL || job_name_check(job, e) != 0)
            return err_field(e, ERR_INVALID, "jobs", "jobs: '%.64s' is no name of a job",
                             job != NULL ? job : "");
        snprintf(l->names + i * room, room, QUEUE_OF_JOBS "%s", job);
        l->queues[l->queues_count++] = l->names + i * room;
    }
    return 0;
}

static int lease_options(struct queue_lease *l, const json_t *o, struct err *e)
{
    static const char *const names[] = {"max", "wait", "lease", "labels", "jobs"};
    int64_t max = LEASE_MAX, lease = QUEUE_LEASE_MS;
    const json_t *v;
    l->wait_ms = QUEUE_WAIT_MS;
    int rc = json_only_keys(o, "a lease", names, ARRAY_LEN(names) - !l->runs, e);
    if (rc == 0 && l->runs)
        rc = lease_jobs(l, json_object_get(o, "jobs"), e);
    if (rc == 0 && (v = json_object_get(o, "max")) != NULL)
        rc = queue_number(v, "max", 1, CORE_CREDIT_MAX, &max, e);
    if (rc == 0)
        rc = lease_time(o, "wait", 0, QUEUE_WAIT_MAX_MS, &l->wait_ms, e);
    if (rc == 0)
        rc = lease_time(o, "lease", QUEUE_LEASE_MIN_MS, QUEUE_LEASE_MAX_MS, &lease, e);
    if (rc == 0 && (v = json_object_get(o, "labels")) != NULL)
        rc = queue_labels(v, "labels", l->labels, &l->labels_count, &l->held, e);
    l->max = (uint32_t)max;
    l->lease_ms = (uint32_t)lease;
    return rc;
}

static void lease_start(struct http_request *req, const char *name, json_t *body)
{
    struct api_thread *t = api_thread_of(req);
    struct queue_lease *l = mem_new(sizeof *l);
    struct err e = ERR_INIT;
    l->body = body;
    l->req = req;
    l->thread = t;
    l->timer.fire = lease_late;
    l->consumer.home = loop_runner(t->loop);
    l->consumer.arrived = lease_arrived;
    l->consumer.gone = lease_gone;
    l->runs = name == NULL;
    if (name != NULL) {
        l->names = mem_strdup(name);
        l->queues[l->queues_count++] = l->names;
    }
    t->ids.make(&t->ids, &l->consumer.id);
    if (lease_options(l, body, &e) != 0) {
        lease_gone(&l->consumer);
        http_problem(req, &e);
        return;
    }
    l->over = t->queue_drained;
    list_push(&t->queue_waits, &l->link);
    queues_listen(t->api->o.queues, &l->consumer);
    http_on_cancel(req, lease_cancelled, l);
    if (lease_open(l, lease_opened, &e) != 0)
        lease_refuse(l, &e);
}

static void lease_post(struct http_request *req)
{
    const char *tenant, *name = NULL;
    if ((http_param(req, "name") != NULL && !queue_of_route(req, &tenant, &name)) ||
        !API_QUERY_NONE(req))
        return;
    if (http_header_in(req, "Idempotency-Key") != NULL) {
        http_refuse(req, ERR_UNSUPPORTED,
                    "Idempotency-Key is not taken here: what was leased and not settled comes "
                    "again by itself when its lease is over");
        return;
    }
    json_t *body = http_body(req).n > 0 ? api_body_object(req) : json_object();
    if (body != NULL)
        lease_start(req, name, body);
}

static const struct http_route runs_table[] = {
    {HTTP_VERB_POST, "/api/jobs/lease", lease_post, 0, 0},
};
const struct api_routes api_jobs_lease_routes = {runs_table, ARRAY_LEN(runs_table)};
static const struct http_route lease_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/lease", lease_post, 0, 0},
};
const struct api_routes api_queue_lease_routes = {lease_table, ARRAY_LEN(lease_table)};
