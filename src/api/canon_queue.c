/* Arrivals that are worked later: ?mode=queue, and with ?mode=stage not before a person has let
 * them in. What came is stored as messages (canon/canon.h), CANON_BATCH in a unit, and that is the
 * answer: 202. */
#include <string.h>

#include "api/canon_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    CANON_BATCH = 100,             /* arrivals of one unit */
    CANON_BATCH_BYTES = 2 << 20,   /* and of their messages together, unless one alone has more */
    CANON_QUEUED_BYTES = 64 << 10, /* of a message beside document and tags */
};

/* A request while it is stored. What is wrong with one of many stands in its arrival. */
struct later {
    struct canon_post *post;
    struct queue_units *units;
    bool staged, bulk;
    char queue[CANON_QUEUE_NAME_MAX];
    struct uuid *ids; /* of the records */
    size_t *unit_of;  /* of each arrival */
    size_t *stored;   /* by unit: how many it stores */
};

const char *canon_mode_outcome(enum canon_mode mode)
{
    return mode == CANON_MODE_STAGE ? "staged" : "queued";
}

int canon_mode_read(const char *text, enum canon_mode *out, struct err *e)
{
    static const char *const names[] = {"queue", "stage"};
    *out = CANON_MODE_NOW;
    if (text == NULL)
        return 0;
    if (strcmp(text, names[0]) == 0 || strcmp(text, names[1]) == 0) {
        *out = *text == 'q' ? CANON_MODE_QUEUE : CANON_MODE_STAGE;
        return 0;
    }
    const char *near = str_nearest(text, names, ARRAY_LEN(names));
    return err_field(e, ERR_INVALID, "mode",
                     "mode is queue (worked later) or stage (held for a person), not '%.40s'%s%s%s",
                     text, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int canon_queue_send(struct txn *t, const char *model, enum canon_mode mode,
                     const struct canon_arrival *a, const struct uuid *id,
                     const struct canon_sending *s, struct err *e)
{
    char queue[CANON_QUEUE_NAME_MAX], key[CANON_QUEUE_KEY_MAX];
    AUTO(buf_fini) struct buf body = BUF_INIT(CANON_QUEUE_BODY_MAX + CANON_QUEUED_BYTES);
    int rc = canon_queued_print(a, s->now, s->skip_distribution, &body, e);
    if (rc != 0)
        return rc;
    canon_queue_name(model, mode == CANON_MODE_STAGE, queue);
    struct queue_message m = {.send = {.queue = queue,
                                       .id = *id,
                                       .priority = CORE_PRIORITY_UNSAID,
                                       .large = true,
                                       .lane = CANON_LANE,
                                       .key = canon_queue_key(a, key),
                                       .bytes = (uint32_t)body.len,
                                       .create = true},
                              .correlation = s->correlation,
                              .traceparent = s->traceparent,
                              .body = body.data,
                              .body_len = body.len};
    return queue_txn_send(t, &m, e);
}

static void later_free(struct later *l)
{
    if (l->units != NULL)
        queue_units_free(l->units);
    canon_post_free(l->post);
    mem_free(l->ids);
    mem_free(l->unit_of);
    mem_free(l->stored);
    mem_free(l);
}

static const struct err *later_error(const struct later *l, size_t i)
{
    const struct err *own = &l->post->arrivals[i].err;
    return own->code != 0 ? own : &l->units->items[l->unit_of[i]].err;
}

/* ---- the answer ---- */

/* What an earlier request with the same key has stored is what is told. */
static void later_recall(struct later *l, size_t unit)
{
    const struct api_kept *k = api_kept(l->post->req, (uint32_t)unit);
    struct cursor results, one;
    struct core_sent sent;
    if (k == NULL)
        return;
    cursor_init(&results, k->results.data, k->results.len);
    for (size_t i = 0; i < l->post->r.count; i++) {
        if (l->unit_of[i] != unit || l->post->arrivals[i].err.code != 0 ||
            !ledger_kept_next(&results, &one))
            continue;
        queue_sent_read(&one, &sent);
        l->ids[i] = sent.id;
    }
}

static void later_print(const struct later *l, size_t i, struct buf *out)
{
    char id[UUID_TEXT];
    const struct err *e = later_error(l, i);
    if (e->code != 0) {
        queue_print_failed(out, NULL, e);
        return;
    }
    uuid_format(&l->ids[i], id);
    buf_addf(out, "{\"outcome\":\"%s\",\"record\":\"%s\"",
             canon_mode_outcome(l->staged ? CANON_MODE_STAGE : CANON_MODE_QUEUE), id);
    if (!l->bulk)
        buf_addf(out, ",\"queue\":\"%s\"", l->queue);
    buf_addc(out, '}');
}

/* How many are stored. */
static size_t later_print_all(const struct later *l, struct buf *out)
{
    size_t failed = 0, count = l->post->r.count;
    buf_adds(out, "{\"results\":[");
    for (size_t i = 0; i < count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        later_print(l, i, out);
        failed += later_error(l, i)->code != 0;
    }
    buf_addf(out, "],\"counts\":{\"%s\":%zu,\"failed\":%zu},\"queue\":\"%s\"}",
             l->staged ? "staged" : "queued", count - failed, failed, l->queue);
    return count - failed;
}

/* Why nothing could be stored that should be; NULL: something is, or there is nothing. */
static const struct err *later_refusal(const struct later *l)
{
    const struct err *why = NULL;
    for (size_t i = 0; i < l->units->count; i++) {
        if (l->stored[i] == 0)
            continue;
        why = &l->units->items[i].err;
        if (why->code == 0)
            return NULL;
    }
    return why == NULL && !l->bulk ? later_error(l, 0) : why;
}

static void later_done(struct queue_units *u)
{
    struct later *l = u->more;
    struct http_request *req = l->post->req;
    const struct err *refusal = later_refusal(l);
    if (refusal != NULL) {
        struct err e = *refusal;
        later_free(l);
        http_problem(req, &e);
        return;
    }
    for (size_t i = 0; i < u->count; i++)
        if (u->items[i].kept)
            later_recall(l, i);
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    int status = 202;
    if (!l->bulk)
        later_print(l, 0, &out);
    else if (later_print_all(l, &out) == 0)
        status = 200;
    queue_units_headers(u);
    if (!l->bulk) {
        char id[UUID_TEXT];
        uuid_format(&l->ids[0], id);
        http_headerf(req, "Location", "/api/queues/%%2F/%s/messages/%s", l->queue, id);
    }
    later_free(l);
    http_respond_buf(req, status, API_JSON, &out);
}

/* ---- the units ---- */

/* Which unit an arrival is part of depends on what was sent alone: a repeat divides it likewise. */
static size_t later_bytes(const struct canon_arrival *a)
{
    if (a->text != NULL)
        return a->text_len;
    AUTO(buf_fini) struct buf b = BUF_INIT(CANON_QUEUE_BODY_MAX);
    return json_print(a->data, &b, NULL) == 0 ? b.len : CANON_QUEUE_BODY_MAX;
}

static size_t later_divide(struct later *l)
{
    const struct canon_post *p = l->post;
    size_t unit = 0, count = 0, bytes = 0;
    for (size_t i = 0; i < p->r.count; i++) {
        size_t n = later_bytes(&p->arrivals[i]);
        if (count == CANON_BATCH || (count > 0 && bytes + n > CANON_BATCH_BYTES)) {
            unit++;
            count = bytes = 0;
        }
        l->unit_of[i] = unit;
        count++;
        bytes += n;
    }
    return unit + 1;
}

static void later_fill(struct later *l)
{
    struct canon_post *p = l->post;
    struct api_thread *t = api_thread_of(p->req);
    struct canon_sending s = {.now = api_now_ms(t),
                              .skip_distribution = p->r.skip_distribution,
                              .correlation = p->env.correlation,
                              .traceparent = p->env.traceparent};
    struct txn *txn = NULL;
    enum canon_mode mode = l->staged ? CANON_MODE_STAGE : CANON_MODE_QUEUE;
    for (size_t i = 0; i < p->r.count; i++) {
        struct canon_arrival *a = &p->arrivals[i];
        if (i == 0 || l->unit_of[i] != l->unit_of[i - 1])
            txn = queue_units_txn(l->units, l->unit_of[i]);
        t->ids.make(&t->ids, &l->ids[i]);
        if (canon_arrival_check(p->model, a, &a->err) == 0 &&
            (txn == NULL || canon_queue_send(txn, canon_model_name(p->model), mode, a, &l->ids[i],
                                             &s, &a->err) == 0))
            l->stored[l->unit_of[i]]++;
    }
    for (size_t i = 0; i < l->units->count; i++)
        if (l->stored[i] == 0 && !l->units->items[i].kept)
            err_set(&l->units->items[i].err, ERR_CANCELED, "it has nothing to store");
}

void canon_post_later(struct canon_post *p, enum canon_mode mode, bool bulk)
{
    struct http_request *req = p->req;
    struct later *l = mem_new(sizeof *l);
    l->post = p;
    l->staged = mode == CANON_MODE_STAGE;
    l->bulk = bulk;
    if (api_thread_of(req)->api->o.queues == NULL) {
        later_free(l);
        http_refuse(req, ERR_UNSUPPORTED, "there are no queues here");
        return;
    }
    l->ids = mem_new_array(p->r.count, sizeof *l->ids); /* at most CANON_BULK_MAX */
    l->unit_of = mem_new_array(p->r.count, sizeof *l->unit_of);
    l->stored = mem_new_array(p->r.count, sizeof *l->stored);
    canon_queue_name(canon_model_name(p->model), l->staged, l->queue);
    l->units = queue_units_new(req, later_divide(l), false);
    if (l->units == NULL) {
        later_free(l); /* answered */
        return;
    }
    later_fill(l);
    l->units->more = l;
    queue_units_start(l->units, later_done);
}
