/* Lines both ways: what is read, what is under way, what is answered. */
#include "api/flow_priv.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

enum { FLOW_OUT_MAX = 8 << 20, FLOW_PART_MAX = 64 << 10 };

/* ---- the answer ---- */

bool flow_write(struct flow *f, const char *p, size_t n)
{
    f->quiet = false;
    return !f->gone && http_stream_write(f->req, p, n);
}

static void flow_flush(struct flow *f)
{
    if (f->out.len > 0)
        flow_write(f, f->out.data, f->out.len);
    buf_reset(&f->out);
}

static void flow_beat(struct world_timer *t)
{
    struct flow *f = (struct flow *)((char *)t - offsetof(struct flow, beat));
    struct world *w = loop_world(f->thread->loop);
    if (f->quiet)
        flow_write(f, f->calls->events ? ":\n\n" : "\n", f->calls->events ? 3 : 1);
    f->quiet = true;
    w->timer_start(w, &f->beat, FLOW_BEAT_MS);
}

static void flow_check_end(struct flow *f)
{
    if (f->finishing || f->items_count > 0 || !(f->over || f->gone))
        return;
    f->finishing = true;
    f->calls->finish(f);
}

/* No more is to be done with it but the answer. */
static struct http_request *flow_leave(struct flow *f)
{
    struct world *w = loop_world(f->thread->loop);
    w->timer_stop(w, &f->beat);
    list_remove(&f->link);
    f->thread->flows_count--;
    buf_fini(&f->rest);
    buf_fini(&f->out);
    return TAKE(f->req);
}

void flow_end(struct flow *f)
{
    if (f->err.code != 0) {
        buf_adds(&f->out, f->calls->events ? "event: error\ndata: " : "{\"error\":");
        api_print_problem(&f->out, &f->err, NULL);
        buf_adds(&f->out, f->calls->events ? "\n\n" : "}\n");
    }
    flow_flush(f);
    http_stream_end(flow_leave(f));
}

void flow_refuse(struct flow *f, const struct err *e)
{
    http_problem(flow_leave(f), e);
}

/* ---- what is under way ---- */

static bool flow_is_full(const struct flow *f)
{
    return f->items_count >= FLOW_ITEMS_MAX || f->items_bytes >= FLOW_BYTES_MAX;
}

static void item_free(struct flow_item *it)
{
    struct flow *f = it->flow;
    list_remove(&it->link);
    f->items_count--;
    f->items_bytes -= it->bytes;
    if (it->open)
        unit_fini(&it->unit);
    mem_free(it);
}

/* Answers in the order of the lines, as far as they go without a gap. */
static void flow_answer(struct flow *f)
{
    while (!list_is_empty(&f->items)) {
        struct flow_item *it = LIST_OF(f->items.next, struct flow_item, link);
        if (!it->done)
            break;
        if (!f->gone)
            f->calls->print(it, &f->out);
        item_free(it);
    }
}

static void flow_turn(struct flow *f);

/* It is told behind those before it: in this turn, if there is one. */
static void item_over(struct flow_item *it)
{
    struct flow *f = it->flow;
    if (f->calls->over != NULL && !f->calls->over(it))
        return;
    it->done = true;
    if (f->items.next == &it->link)
        flow_turn(f);
}

static void item_done(struct unit *u)
{
    struct flow_item *it = (struct flow_item *)u;
    it->err = u->err;
    if (u->err.code == 0)
        unit_result(u, 0, &it->result);
    item_over(it);
}

void flow_item_again(struct flow_item *it)
{
    if (it->open)
        unit_fini(&it->unit);
    it->open = false;
    err_clear(&it->err);
}

struct flow_item *flow_item_new(struct flow *f, size_t bytes)
{
    struct flow_item *it = mem_try(sizeof *it);
    if (it == NULL) {
        struct err e = ERR_INIT;
        err_set(&e, ERR_OVERLOADED, "no memory for line %llu", (unsigned long long)f->lines);
        flow_stop(f, &e);
        return NULL;
    }
    memset(it, 0, sizeof *it);
    it->flow = f;
    it->n = f->lines;
    it->bytes = bytes;
    list_push(&f->items, &it->link);
    f->items_count++;
    f->items_bytes += bytes;
    return it;
}

struct txn *flow_txn(struct flow_item *it, bool urgent)
{
    struct envelope env;
    api_envelope(it->flow->req, &env);
    unit_init(&it->unit, loop_runner(it->flow->thread->loop), item_done);
    it->open = true;
    it->unit.txn.urgent = urgent;
    it->unit.txn.grows = !urgent;
    txn_envelope(&it->unit.txn, &env);
    return &it->unit.txn;
}

void flow_item_start(struct flow_item *it)
{
    struct ledger *l = it->flow->thread->api->o.ledger;
    if (it->err.code != 0 || ledger_propose(l, &it->unit, &it->err) != 0)
        item_over(it);
}

/* ---- what is read ---- */

void flow_stop(struct flow *f, const struct err *e)
{
    if (f->over)
        return;
    f->over = true;
    if (e != NULL)
        f->err = *e;
    flow_turn(f);
}

static bool is_blank(const char *p, size_t n)
{
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    return n == 0;
}

static void flow_line(struct flow *f, const char *p, size_t n)
{
    if (is_blank(p, n))
        return;
    f->lines++;
    f->calls->line(f, p, n);
}

/* Whole lines of p[0..n), as many as may be under way; how much of it they are. */
static size_t flow_split(struct flow *f, const char *p, size_t n)
{
    size_t used = 0;
    while (used < n && !f->over && !flow_is_full(f)) {
        const char *end = memchr(p + used, '\n', n - used);
        if (end == NULL)
            break;
        flow_line(f, p + used, (size_t)(end - p) - used);
        used = (size_t)(end - p) + 1;
        flow_answer(f); /* those that were refused at once */
    }
    return used;
}

/* What came before and could not be taken, or had no end. */
static void flow_rest(struct flow *f)
{
    buf_consume(&f->rest, flow_split(f, f->rest.data, f->rest.len));
    if (!f->body_over || f->over || flow_is_full(f))
        return;
    if (f->rest.len > 0) /* the last one needs no end */
        flow_line(f, f->rest.data, f->rest.len);
    f->over = true;
}

static void flow_turn(struct flow *f)
{
    if (f->turning || !f->begun)
        return;
    f->turning = true;
    flow_answer(f);
    if (!f->over && (f->rest.len > 0 || f->body_over))
        flow_rest(f);
    flow_answer(f);
    flow_flush(f);
    if (!f->over && !flow_is_full(f) && http_stream_waiting(f->req) <= HTTP_STREAM_HIGH)
        http_body_resume(f->req);
    f->turning = false;
    flow_check_end(f);
}

static void flow_keep(struct flow *f, const char *p, size_t n)
{
    struct err e = ERR_INIT;
    buf_add(&f->rest, p, n);
    if (!buf_failed(&f->rest))
        return;
    err_set(&e, ERR_TOO_LARGE, "line %llu is longer than %d bytes",
            (unsigned long long)f->lines + 1, FLOW_LINE_MAX);
    flow_stop(f, &e);
}

static void flow_part(struct http_request *req, void *arg, const char *p, size_t n)
{
    struct flow *f = arg;
    if (f->over)
        return;
    f->turning = true;
    f->body_over = n == 0;
    size_t used = f->rest.len == 0 && f->begun ? flow_split(f, p, n) : 0;
    if (used < n && !f->over)
        flow_keep(f, p + used, n - used);
    http_body_pause(req); /* the turn lets it go on, if there is room */
    f->turning = false;
    flow_turn(f);
}

static void flow_gone(struct http_request *req, void *arg)
{
    struct flow *f = arg;
    (void)req;
    f->gone = f->over = true;
    flow_turn(f);
}

static void flow_drained(struct http_request *req, void *arg)
{
    struct flow *f = arg;
    (void)req;
    if (f->calls->drained != NULL)
        f->calls->drained(f);
    flow_turn(f);
}

/* ---- beginning, and ending all ---- */

bool flow_may(struct http_request *req)
{
    if (api_media(req) != API_MEDIA_NDJSON) {
        http_refuse(req, ERR_MEDIA_TYPE, "a stream is lines of JSON: Content-Type: " API_NDJSON);
        return false;
    }
    if (http_header_in(req, "Idempotency-Key") != NULL) {
        http_refuse(req, ERR_UNSUPPORTED,
                    "Idempotency-Key is not taken here: it is of one request, and a stream has no "
                    "end; messages may have \"dedup\" each");
        return false;
    }
    return true;
}

bool flow_open(struct flow *f, struct http_request *req, const struct flow_calls *calls)
{
    struct api_thread *t = api_thread_of(req);
    if (t->queue_drained || t->flows_count >= FLOWS_MAX) {
        if (t->queue_drained)
            http_refuse(req, ERR_DRAINING, "this node is leaving; ask another one");
        else
            http_refuse(req, ERR_OVERLOADED, "%d streams are open here", FLOWS_MAX);
        return false;
    }
    f->calls = calls;
    f->req = req;
    f->thread = t;
    f->beat.fire = flow_beat;
    buf_init(&f->rest, FLOW_LINE_MAX + 2 * FLOW_PART_MAX);
    buf_init(&f->out, FLOW_OUT_MAX);
    list_init(&f->items);
    list_push(&t->flows, &f->link);
    t->flows_count++;
    http_on_cancel(req, flow_gone, f);
    http_body_stream(req, flow_part, f);
    http_body_pause(req);
    return true;
}

void flow_begin(struct flow *f)
{
    struct world *w = loop_world(f->thread->loop);
    http_header(f->req, "Cache-Control", "no-store");
    http_header(f->req, "X-Accel-Buffering", "no");
    http_uncounted(f->req);
    http_stream_begin(f->req, 200, f->calls->events ? "text/event-stream" : API_NDJSON);
    http_stream_on_drain(f->req, flow_drained, f);
    f->begun = f->quiet = true;
    w->timer_start(w, &f->beat, FLOW_BEAT_MS);
    flow_turn(f);
}

void api_flows_drain(struct api_thread *t)
{
    struct err e = ERR_INIT;
    err_set(&e, ERR_DRAINING,
            "this node is leaving: what was answered is done, the rest is to be "
            "sent to another one");
    LIST_EACH_SAFE(it, &t->flows)
    {
        flow_stop(LIST_OF(it, struct flow, link), &e);
    }
}
