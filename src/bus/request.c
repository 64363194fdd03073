#include "bus/request.h"

#include <string.h>

#include "base/mem.h"
#include "io/loop.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum request_phase { REQUEST_PUBLISH, REQUEST_WAIT, REQUEST_READ, REQUEST_END };

struct part {
    struct queue_watch watch; /* first */
    struct request *q;
    bool over;
};

struct request {
    struct bus_request *r;
    enum request_phase phase;
    struct bus_route *route;
    struct part *parts;
    size_t count, left; /* parts; those that are still watched */
    int tries;
    bool flying, reading, again;
    bool completed, answered; /* one has ended well; and with a result */
    struct unit unit;
    struct world_timer timer;
    struct loop_work read;
    uint64_t place; /* of the answer; or of what the last failure said */
    enum rec_reason reason;
    struct err read_err;
};

static void request_step(struct request *q);

/* ---- the end ---- */

static void request_free(struct request *q)
{
    bus_route_free(q->route);
    mem_free(q->parts);
    mem_free(q);
}

static void request_unwatch(struct request *q)
{
    for (size_t i = 0; i < q->count; i++)
        if (!q->parts[i].over)
            queues_unwatch(q->r->queues, &q->parts[i].watch);
}

static void request_end(struct request *q, const struct err *e)
{
    if (q->phase == REQUEST_END)
        return;
    if (e != NULL)
        q->r->err = *e;
    q->phase = REQUEST_END;
    request_unwatch(q);
}

/* ---- publishing ---- */

static void part_ended(struct queue_watch *w)
{
    struct part *p = (struct part *)w;
    struct request *q = p->q;
    p->over = true;
    q->left--;
    if (q->phase <= REQUEST_WAIT && w->end == QUEUE_WATCH_ENDED && !q->answered) {
        bool done = w->state == REC_COMPLETED;
        q->completed = q->completed || done;
        q->answered = done && w->result != 0;
        if (!done)
            q->reason = w->reason;
        if (w->result != 0 && (done || !q->completed))
            q->place = w->result;
    }
    request_step(q);
}

static void published(struct unit *u)
{
    struct request *q = LIST_OF(u, struct request, unit);
    struct err e = u->err;
    q->flying = false;
    unit_fini(u);
    if (e.code == ERR_CONFLICT && bus_is_stale(q->r->bus, q->route) && ++q->tries < BUS_TRIES &&
        q->phase != REQUEST_END) {
        q->again = true;
        request_unwatch(q);
    } else if (e.code != 0) {
        request_end(q, &e);
    }
    request_step(q);
}

static void watch_all(struct request *q)
{
    struct bus_request *r = q->r;
    q->count = q->left = bus_route_count(q->route);
    mem_free(q->parts);
    q->parts = mem_new_array(q->count + 1, sizeof *q->parts);
    for (size_t i = 0; i < q->count; i++) {
        struct part *p = &q->parts[i];
        p->q = q;
        p->watch =
            (struct queue_watch){.home = loop_runner(r->loop), .coming = true, .ended = part_ended};
        bus_route_record(q->route, i, &r->message.id, &p->watch.id);
        queues_watch(r->queues, &p->watch);
    }
}

static int route(struct request *q, struct err *e)
{
    struct bus_request *r = q->r;
    bus_route_free(q->route);
    q->route = NULL;
    if (bus_route(r->bus, r->env.tenant != NULL ? r->env.tenant : "default", r->topic, &q->route,
                  e) != 0 ||
        bus_mandatory(q->route, e) != 0)
        return e->code;
    return bus_route_count(q->route) > 0
               ? 0
               : err_set(e, ERR_UNAVAILABLE,
                         "who listens to '%s' is catching up with older messages", r->topic);
}

static int propose(struct request *q, struct err *e)
{
    struct bus_request *r = q->r;
    struct txn *t = &q->unit.txn;
    r->make_id(r, &r->message.id);
    unit_init(&q->unit, loop_runner(r->loop), published);
    txn_envelope(t, &r->env);
    if (r->conditions != NULL)
        r->conditions(r, t);
    bus_txn_routes(t, q->route);
    int rc = bus_txn_publish(t, q->route, &r->message, e);
    if (rc == 0)
        watch_all(q); /* before it can end */
    if (rc == 0)
        rc = ledger_propose(r->ledger, &q->unit, e);
    if (rc != 0)
        unit_fini(&q->unit);
    q->flying = rc == 0;
    return rc;
}

static void publish_again(struct request *q)
{
    struct err e = ERR_INIT;
    q->again = false;
    q->count = 0;
    if (route(q, &e) != 0 || propose(q, &e) != 0)
        request_end(q, &e);
}

/* ---- the answer ---- */

static void read_cb(struct loop_work *w)
{
    struct request *q = LIST_OF(w, struct request, read);
    AUTO(buf_fini) struct buf entry = BUF_INIT(LEDGER_READ_MAX);
    const void *body = NULL;
    size_t n = 0;
    struct err *e = &q->read_err;
    if (ledger_read(q->r->ledger, q->place >> 24, &entry, e) == 0 &&
        queue_body_read(entry.data, entry.len, q->place, QUEUE_PLACE_SETTLE, &body, &n, e) == 0)
        buf_add(&q->r->answer, body, n);
}

static void no_answer(const struct request *q, struct err *e)
{
    err_set(e, ERR_TIMEOUT, "nobody has answered within %u ms", q->r->timeout_ms);
}

static void all_failed(struct request *q)
{
    struct err e = ERR_INIT;
    const struct buf *words = &q->r->answer;
    if (q->reason == REASON_EXPIRED) /* with the time for an answer */
        no_answer(q, &e);
    else
        err_set(&e, q->reason == REASON_REJECTED ? ERR_REJECTED : ERR_UNAVAILABLE,
                "who was asked has failed (%s)%s%.*s", rec_reason_name(q->reason),
                words->len > 0 ? ": " : "", words->len < 300 ? (int)words->len : 300,
                words->len > 0 ? (const char *)words->data : "");
    request_end(q, &e);
    buf_reset(&q->r->answer);
}

static void read_done(struct loop_work *w)
{
    struct request *q = LIST_OF(w, struct request, read);
    q->reading = false;
    if (q->read_err.code != 0)
        request_end(q, &q->read_err);
    else if (!q->completed)
        all_failed(q);
    else
        request_end(q, NULL);
    request_step(q);
}

static void read_start(struct request *q)
{
    struct err e = ERR_INIT;
    q->reading = true;
    q->read.work = read_cb;
    q->read.done = read_done;
    if (loop_queue(q->r->loop, &q->read, &e) == 0)
        return;
    q->reading = false;
    request_end(q, &e);
}

/* None is left that could still answer. */
static void all_over(struct request *q)
{
    if (q->completed)
        request_end(q, NULL);
    else if (q->place != 0)
        q->phase = REQUEST_READ;
    else
        all_failed(q);
}

/* ---- the op ---- */

/* May free it. */
static void request_step(struct request *q)
{
    if (q->again && q->left == 0 && q->phase != REQUEST_END)
        publish_again(q);
    if (q->phase == REQUEST_PUBLISH && !q->flying && !q->again)
        q->phase = REQUEST_WAIT;
    if (q->phase == REQUEST_WAIT && q->answered)
        q->phase = REQUEST_READ;
    if (q->phase == REQUEST_WAIT && q->left == 0)
        all_over(q);
    if (q->phase == REQUEST_READ && !q->reading)
        read_start(q);
    if (q->phase != REQUEST_END || q->left > 0 || q->flying || q->reading)
        return;
    struct bus_request *r = q->r;
    struct world *w = loop_world(r->loop);
    w->timer_stop(w, &q->timer);
    request_free(q);
    r->impl = NULL;
    r->done(r); /* r may be gone after this line */
}

static void request_late(struct world_timer *t)
{
    struct request *q = LIST_OF(t, struct request, timer);
    struct err e = ERR_INIT;
    no_answer(q, &e);
    request_end(q, &e);
    request_step(q);
}

int bus_request_start(struct bus_request *r, struct err *e)
{
    struct request *q = mem_new(sizeof *q);
    struct world *w = loop_world(r->loop);
    q->r = r;
    r->err = (struct err)ERR_INIT;
    buf_init(&r->answer, QUEUE_RESULT_BYTES);
    if (r->message.ttl_ms == 0)
        r->message.ttl_ms = r->timeout_ms;
    int rc = route(q, e);
    if (rc == 0)
        rc = propose(q, e);
    if (rc != 0 && q->count == 0) {
        request_free(q);
        return rc;
    }
    r->impl = q;
    q->timer.fire = request_late;
    w->timer_start(w, &q->timer, r->timeout_ms);
    if (rc != 0) /* watched already: it ends by way of the loop */
        request_end(q, e);
    return 0;
}

void bus_request_cancel(struct bus_request *r, const struct err *why)
{
    struct request *q = r->impl;
    request_end(q, why);
    request_step(q);
}
