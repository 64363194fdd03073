/* Parked arrivals that go on, many at once: each a request of its own to the model's engine, and a
 * unit of its own. Which they are, queue_operate.c says; of more than one answer holds a run takes
 * them up, chunk by chunk (queue_work_run.c). */
#include "api/canon_many_priv.h"

#include <string.h>

#include "api/canon_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"

/* ---- one ---- */

static int resume_also(struct canon_request *r, const struct canon_ending *end, struct txn *t,
                       struct err *e)
{
    const struct canon_resuming *x = (const struct canon_resuming *)r;
    (void)e;
    if (end == NULL && x->run != NULL)
        queue_txn_if_delivery(t, x->run, x->token);
    return 0;
}

static void resume_done(struct canon_request *r)
{
    struct canon_resuming *x = (struct canon_resuming *)r;
    x->err = r->err;
    if (x->err.code == 0 && x->one.outcome == CANON_FAILED && x->one.arrival_id[0] == '\0')
        x->err = x->one.err;
    canon_request_fini(r);
    x->done(x); /* `x` may be gone after this line */
}

int canon_resume_begin(struct canon_resuming *x, struct api_thread *t, const char *queue,
                       struct err *e)
{
    const struct api *a = t->api;
    char model[CANON_QUEUE_NAME_MAX];
    if (!canon_parked_model(queue, model))
        return err_set(e, ERR_INVALID, "'%.64s' has no parked arrivals", queue);
    struct canon_engine *en = a->o.engine != NULL ? a->o.engine(a->o.scripts_arg, model) : NULL;
    if (en == NULL)
        return err_set(e, ERR_UNAVAILABLE, "no script thread works canon '%s' yet", model);
    uuid_format(&x->id, x->arrival);
    x->one =
        (struct canon_arrival){.source_id = x->arrival, .observed_at = INT64_MIN, .part = x->part};
    if (x->patch != NULL) /* it goes to another thread, which changes it */
        x->one.data = json_deep_copy(x->patch);
    x->r = (struct canon_request){.home = loop_runner(t->loop),
                                  .env = x->env,
                                  .arrivals = &x->one,
                                  .count = 1,
                                  .once = x->once,
                                  .also = resume_also,
                                  .done = resume_done};
    int rc = canon_resume(en, model, &x->r, e);
    if (rc != 0)
        json_decref(TAKE(x->one.data));
    return rc;
}

/* ---- of one request ---- */

struct resume_many {
    struct http_request *req;
    struct envelope env;
    char *reason; /* NULL: none was given */
    size_t count, left;
    bool recalled;
    struct canon_resuming items[];
};

static const char *item_outcome(const struct canon_resuming *x)
{
    return canon_outcome_name(x->one.outcome);
}

static void print_text(struct buf *out, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

static void item_print(const struct canon_resuming *x, struct buf *out)
{
    if (x->err.code != 0) {
        queue_print_failed(out, x->arrival, &x->err);
        return;
    }
    buf_addf(out, "{\"id\":\"%s\",\"outcome\":\"%s\"", x->arrival, item_outcome(x));
    print_text(out, "golden", x->one.golden_id);
    print_text(out, "reason", x->one.reason);
    print_text(out, "arrival", x->one.arrival_id);
    buf_addc(out, '}');
}

static void many_answer(struct resume_many *m)
{
    struct http_request *req = m->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t parked = 0, failed = 0;
    uint64_t seq = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < m->count; i++) {
        const struct canon_resuming *x = &m->items[i];
        buf_adds(&out, i > 0 ? "," : "");
        item_print(x, &out);
        failed += x->err.code != 0;
        parked += x->err.code == 0 && x->one.outcome == CANON_PARKED;
        seq = x->one.seq > seq ? x->one.seq : seq;
    }
    buf_addf(&out, "],\"counts\":{\"resumed\":%zu,\"parked\":%zu,\"failed\":%zu}}",
             m->count - failed - parked, parked, failed);
    if (seq > 0)
        http_header_uint(req, "X-Koan-Seq", seq);
    if (m->recalled)
        api_replayed(req);
    mem_free(m->reason);
    mem_free(m);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* It was done by an earlier request with the same key. */
static bool item_recall(struct resume_many *m, struct canon_resuming *x)
{
    const struct api_kept *k = x->once != NULL ? api_kept(m->req, x->part) : NULL;
    struct cursor context, results;
    if (k == NULL)
        return false;
    cursor_init(&context, k->context.data, k->context.len);
    cursor_init(&results, k->results.data, k->results.len);
    bool is = canon_kept_read(context, results, k->seq, &x->one, 1);
    json_decref(TAKE(x->one.changes));
    mem_free(TAKE(x->one.record));
    m->recalled |= is;
    return is;
}

static void many_less(struct resume_many *m)
{
    bool failed = false;
    if (--m->left > 0)
        return;
    for (size_t i = 0; i < m->count; i++)
        failed |= m->items[i].err.code != 0;
    /* An earlier request may have been slower than its client. */
    if (failed && api_once_key(m->req) != NULL && api_once_again(m->req))
        for (size_t i = 0; i < m->count; i++)
            if (m->items[i].err.code != 0 && item_recall(m, &m->items[i]))
                err_clear(&m->items[i].err);
    many_answer(m);
}

static void many_resumed(struct canon_resuming *x)
{
    struct resume_many *m =
        (struct resume_many *)((char *)(x - x->part) - offsetof(struct resume_many, items));
    many_less(m);
}

void canon_resume_many(struct http_request *req, const struct operate_spec *s,
                       const struct queue_shown *shown, size_t count)
{
    struct resume_many *m = mem_try(sizeof *m + count * sizeof m->items[0]);
    if (m == NULL) {
        http_refuse(req, ERR_OVERLOADED, "no memory for %zu arrivals", count);
        return;
    }
    memset(m, 0, sizeof *m + count * sizeof m->items[0]);
    m->req = req;
    m->count = count;
    m->left = 1; /* itself */
    api_envelope(req, &m->env);
    m->reason = s->reason != NULL ? mem_strdup(s->reason) : NULL;
    m->env.reason = m->reason;
    for (size_t i = 0; i < count; i++) {
        struct canon_resuming *x = &m->items[i];
        *x = (struct canon_resuming){.id = shown[i].id,
                                     .patch = s->patch,
                                     .env = &m->env,
                                     .once = api_once_key(req),
                                     .part = (uint32_t)i,
                                     .err = shown[i].err,
                                     .done = many_resumed};
        uuid_format(&x->id, x->arrival);
        if (item_recall(m, x))
            err_clear(&x->err);
        else if (x->err.code == 0 &&
                 canon_resume_begin(x, api_thread_of(req), s->queue, &x->err) == 0)
            m->left++;
    }
    many_less(m);
}
