/* A request of a client as one of the engine: models, how results are shown, start and end. */
#include <stdio.h>
#include <string.h>

#include "api/canon_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

/* ---- models ---- */

struct canon_model *api_model_of(struct api *a, const struct entity_def *d)
{
    return a->o.canon != NULL ? canon_find(a->o.canon, d->name) : NULL;
}

void api_model_unrefp(struct canon_model **m)
{
    if (*m != NULL)
        canon_model_unref(*m);
}

struct canon_model *canon_route_model(struct http_request *req)
{
    struct api *a = api_thread_of(req)->api;
    const char *name = http_param(req, "model");
    struct canon_model *m = canon_find(a->o.canon, name);
    if (m != NULL)
        return m;
    AUTO(entity_def_unrefp) struct entity_def *d = entities_find_path(a->o.entities, name);
    if (d != NULL && (m = api_model_of(a, d)) != NULL)
        return m;
    struct err e = ERR_INIT;
    canon_unknown(a->o.canon, name, &e);
    http_problem(req, &e);
    return NULL;
}

/* ---- results ---- */

const char *canon_outcome_name(enum canon_outcome o)
{
    static const char *const names[] = {"canonized", "noop", "parked", "failed"};
    return names[o];
}

int canon_status(const struct canon_arrival *a, struct err *e)
{
    switch (a->outcome) {
    case CANON_CANONIZED:
    case CANON_NOOP:
        return 200;
    case CANON_PARKED:
        return 202;
    case CANON_FAILED:
        break;
    }
    *e = a->err;
    /* A stored arrival that cannot be right is `failed`, whatever was wrong with it; one that was
       not stored has the status of what was in the way. */
    if (a->arrival_id[0] != '\0' || e->code == 0)
        e->code = ERR_REJECTED;
    return err_info(e->code)->http_status;
}

static void canon_print_text(struct buf *out, const char *name, const char *text)
{
    if (text == NULL || *text == '\0')
        return;
    buf_adds(out, ",\"");
    buf_adds(out, name);
    buf_adds(out, "\":");
    json_print_string(out, text, strlen(text));
}

static void canon_print_members(struct buf *out, const struct canon_arrival *a, bool changes)
{
    buf_adds(out, "\"outcome\":\"");
    buf_adds(out, canon_outcome_name(a->outcome));
    buf_addc(out, '"');
    canon_print_text(out, "id", a->golden_id);
    if (a->version > 0)
        buf_addf(out, ",\"version\":%llu", (unsigned long long)a->version);
    if (a->merged > 0)
        buf_addf(out, ",\"merged\":%u", a->merged);
    canon_print_text(out, "reason", a->reason);
    canon_print_text(out, "arrival", a->arrival_id);
    if (changes && a->changes != NULL) {
        buf_adds(out, ",\"changes\":");
        json_print(a->changes, out, NULL);
    }
}

void canon_print(struct buf *out, const struct canon_arrival *a, bool changes)
{
    struct err e;
    buf_addc(out, '{');
    canon_print_members(out, a, changes);
    if (a->outcome == CANON_PARKED)
        canon_print_text(out, "detail", a->err.text);
    if (a->outcome == CANON_FAILED) {
        canon_status(a, &e);
        buf_adds(out, ",\"error\":");
        api_print_problem(out, &e, NULL);
    }
    buf_addc(out, '}');
}

static void canon_answer_seq(struct http_request *req, const struct canon_arrival *a)
{
    if (a->seq > 0)
        http_header_uint(req, "X-Koan-Seq", a->seq);
    http_header(req, "X-Koan-Outcome", canon_outcome_name(a->outcome));
}

void canon_answer_failed(struct http_request *req, const struct canon_arrival *a,
                         const struct err *e)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    canon_answer_seq(req, a);
    canon_print_members(&out, a, false);
    api_problem(req, e, NULL, buf_str(&out));
    buf_fini(&out);
}

void canon_answer_one(struct http_request *req, const struct canon_arrival *a)
{
    struct err e;
    int status = canon_status(a, &e);
    if (status >= 400) {
        canon_answer_failed(req, a, &e);
        return;
    }
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    canon_answer_seq(req, a);
    if (a->version > 0)
        api_etag(req, a->version);
    canon_print(&out, a, true);
    http_respond_buf(req, status, API_JSON, &out);
}

/* ---- the request ---- */

struct canon_post *canon_post_new(struct http_request *req, struct canon_model *m,
                                  struct canon_arrival *many, size_t count,
                                  void (*answer)(struct canon_post *p))
{
    struct canon_post *p = mem_new(sizeof *p);
    p->req = req;
    p->model = m;
    p->answer = answer;
    p->arrivals = many != NULL ? many : &p->one;
    for (size_t i = 0; i < count; i++) {
        p->arrivals[i].observed_at = INT64_MIN;
        p->arrivals[i].part = (uint32_t)i;
    }
    p->r.once = api_once_key(req);
    api_envelope(req, &p->env);
    p->r.env = &p->env;
    p->r.count = count;
    p->r.arrivals = p->arrivals;
    p->r.home = loop_runner(api_thread_of(req)->loop);
    return p;
}

void canon_post_free(struct canon_post *p)
{
    canon_request_fini(&p->r);
    if (p->arrivals != &p->one)
        mem_free(p->arrivals);
    canon_bulk_free(p->bulk);
    json_decref(p->texts);
    entity_def_unref(p->def);
    canon_model_unref(p->model);
    mem_free(p);
}

/* ---- done before ---- */

static bool post_read(struct canon_post *p, uint32_t part, struct canon_arrival *arrivals,
                      size_t count)
{
    const struct api_kept *k = api_kept(p->req, part);
    struct cursor context, results;
    if (k == NULL)
        return false;
    cursor_init(&context, k->context.data, k->context.len);
    cursor_init(&results, k->results.data, k->results.len);
    if (!canon_kept_read(context, results, k->seq, arrivals, count))
        return false;
    p->recalled = true;
    return true;
}

bool canon_post_recall(struct canon_post *p)
{
    if (p->r.once == NULL)
        return false;
    if (p->r.whole)
        return post_read(p, 0, p->arrivals, p->r.count);
    size_t done = 0;
    for (size_t i = 0; i < p->r.count; i++) {
        struct canon_arrival *a = &p->arrivals[i];
        a->done = post_read(p, a->part, a, 1);
        done += a->done;
    }
    return done == p->r.count && done > 0;
}

bool canon_replayed(struct http_request *req, struct canon_model *m, const struct entity_def *def,
                    void (*answer)(struct canon_post *p))
{
    if (api_kept(req, 0) == NULL)
        return false;
    struct canon_post *p = canon_post_new(req, canon_model_ref(m), NULL, 1, answer);
    p->def = def != NULL ? entity_def_ref(def) : NULL;
    bool kept = canon_post_recall(p);
    if (kept)
        canon_post_end(p);
    else
        canon_post_free(p);
    return kept;
}

/* It may have been done by an earlier request that was slower than its client. */
static bool arrival_is_doubtful(const struct canon_arrival *a)
{
    return !a->done && ((a->outcome == CANON_FAILED && a->arrival_id[0] == '\0') ||
                        (a->outcome == CANON_NOOP && strcmp(a->reason, "REPEAT") == 0));
}

static void post_look_again(struct canon_post *p)
{
    bool doubtful = p->r.err.code != 0;
    for (size_t i = 0; i < p->r.count; i++)
        doubtful |= arrival_is_doubtful(&p->arrivals[i]);
    if (p->r.once == NULL || !doubtful || !api_once_again(p->req))
        return;
    if (p->r.whole) {
        if (post_read(p, 0, p->arrivals, p->r.count))
            err_clear(&p->r.err);
        return;
    }
    for (size_t i = 0; i < p->r.count; i++)
        if (arrival_is_doubtful(&p->arrivals[i]))
            post_read(p, p->arrivals[i].part, &p->arrivals[i], 1);
}

static void canon_post_done(struct canon_request *r)
{
    struct canon_post *p = (struct canon_post *)r;
    post_look_again(p);
    canon_post_end(p);
}

void canon_post_end(struct canon_post *p)
{
    struct canon_request *r = &p->r;
    if (p->recalled)
        api_replayed(p->req);
    if (r->err.code != 0)
        http_problem(p->req, &r->err);
    else
        p->answer(p);
    canon_post_free(p);
}

void canon_post_refuse(struct canon_post *p)
{
    canon_post_end(p);
}

void canon_post_start(struct canon_post *p, enum canon_post_kind kind)
{
    const struct api *a = api_thread_of(p->req)->api;
    const char *model = canon_model_name(p->model);
    struct canon_engine *en = a->o.engine(a->o.scripts_arg, model);
    struct err e = ERR_INIT;
    int rc = 0;
    p->r.done = canon_post_done;
    if (en == NULL) {
        rc = err_set(&e, ERR_UNAVAILABLE, "no script thread works canon '%s' yet", model);
    } else {
        switch (kind) {
        case CANON_POST_ARRIVE:
            rc = canon_arrive(en, model, &p->r, &e);
            break;
        case CANON_POST_WITHDRAW:
        case CANON_POST_ERASE:
            rc = canon_withdraw(en, model, &p->r, kind == CANON_POST_ERASE, &e);
            break;
        case CANON_POST_RESUME:
            rc = canon_resume(en, model, &p->r, &e);
            break;
        }
    }
    if (rc == 0)
        return;
    p->r.err = e;
    canon_post_end(p);
}
