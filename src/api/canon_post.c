/* Arrivals: POST /api/canon/{model}, .../bulk, resume, withdraw. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/canon_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

#define CANON_TAG_HEADER "X-Canon-Tag-"

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
    AUTO(json_unref) json_t *all = canon_names(a->o.canon);
    const char *nearest = NULL;
    for (size_t i = 0; i < json_array_size(all) && nearest == NULL; i++) {
        const char *other = json_string_value(json_array_get(all, i));
        nearest = str_nearest(name, &other, 1);
    }
    http_refuse(req, ERR_NOT_FOUND,
                nearest != NULL ? "there is no canon model '%.64s'; did you mean '%s'?"
                                : "there is no canon model '%.64s'; GET /api/canon/models lists "
                                  "them%s",
                name, nearest != NULL ? nearest : "");
    return NULL;
}

/* ---- results ---- */

static const char *canon_outcome_name(enum canon_outcome o)
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
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

static void canon_print_members(struct buf *out, const struct canon_arrival *a, bool changes)
{
    buf_addf(out, "\"outcome\":\"%s\"", canon_outcome_name(a->outcome));
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

void canon_answer_one(struct http_request *req, const struct canon_arrival *a)
{
    struct err e;
    int status = canon_status(a, &e);
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    if (a->seq > 0)
        http_headerf(req, "X-Koan-Seq", "%llu", (unsigned long long)a->seq);
    http_header(req, "X-Koan-Outcome", canon_outcome_name(a->outcome));
    if (status >= 400) {
        canon_print_members(&out, a, false);
        api_problem(req, &e, NULL, buf_str(&out));
        buf_fini(&out);
        return;
    }
    if (a->version > 0)
        api_etag(req, a->version);
    canon_print(&out, a, true);
    http_respond_buf(req, status, API_JSON, &out);
}

static void canon_answer_single(struct canon_post *p)
{
    canon_answer_one(p->req, &p->arrivals[0]);
}

static void canon_answer_bulk(struct canon_post *p)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t counts[CANON_FAILED + 1] = {0};
    uint64_t seq = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < p->r.count; i++) {
        const struct canon_arrival *a = &p->arrivals[i];
        if (i > 0)
            buf_addc(&out, ',');
        canon_print(&out, a, false);
        counts[a->outcome]++;
        seq = a->seq > seq ? a->seq : seq;
    }
    buf_adds(&out, "],\"counts\":{");
    for (int i = 0; i <= CANON_FAILED; i++)
        buf_addf(&out, "%s\"%s\":%zu", i > 0 ? "," : "", canon_outcome_name((enum canon_outcome)i),
                 counts[i]);
    buf_adds(&out, "}}");
    if (seq > 0)
        http_headerf(p->req, "X-Koan-Seq", "%llu", (unsigned long long)seq);
    http_respond_buf(p->req, 200, API_JSON, &out);
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
    for (size_t i = 0; i < count; i++)
        p->arrivals[i].observed_at = INT64_MIN;
    api_envelope(req, &p->env);
    p->r.env = &p->env;
    p->r.count = count;
    p->r.arrivals = p->arrivals;
    p->r.home = loop_runner(api_thread_of(req)->loop);
    return p;
}

static void canon_post_done(struct canon_request *r)
{
    struct canon_post *p = (struct canon_post *)r;
    if (r->err.code != 0)
        http_problem(p->req, &r->err);
    else
        p->answer(p);
    canon_request_fini(r);
    if (p->arrivals != &p->one)
        mem_free(p->arrivals);
    json_decref(p->texts);
    entity_def_unref(p->def);
    canon_model_unref(p->model);
    mem_free(p);
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
    canon_post_done(&p->r);
}

/* ---- what an arrival says about itself ---- */

static int canon_time(const char *text, int64_t *out, struct err *e)
{
    if (text == NULL || time_parse(text, strlen(text), out))
        return 0;
    return err_field(e, ERR_INVALID, "observed_at",
                     "observed_at: '%.40s' is not a time like 2026-11-22T13:57:14Z", text);
}

/* X-Canon-Tag-Batch: 7 becomes {"batch": "7"}. NULL when there is none. */
static json_t *canon_tags(const struct http_request *req)
{
    json_t *tags = NULL;
    const char *name, *value;
    size_t skip = sizeof CANON_TAG_HEADER - 1;
    for (size_t i = 0; http_header_at(req, i, &name, &value); i++) {
        char key[65];
        if (strncasecmp(name, CANON_TAG_HEADER, skip) != 0 || name[skip] == '\0')
            continue;
        size_t n = 0;
        for (const char *p = name + skip; *p != '\0' && n < sizeof key - 1; p++)
            key[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
        key[n] = '\0';
        if (!str_is_utf8(value, strlen(value)))
            continue;
        if (tags == NULL)
            tags = json_object();
        json_object_set_new(tags, key, json_string(value));
    }
    return tags;
}

/* A query key, else a header. */
static const char *canon_either(const struct http_request *req, const char *key, const char *header)
{
    const char *text = http_query(req, key);
    return text != NULL ? text : http_header_in(req, header);
}

static bool canon_skips(struct http_request *req, bool *skip)
{
    return api_query_bool(req, "skip_distribution", false, skip);
}

static void canon_post_one(struct http_request *req)
{
    bool skip;
    if (!API_QUERY_ONLY(req, "source_id", "observed_at", "origin", "skip_distribution") ||
        !api_repeatable(req) || !canon_skips(req, &skip))
        return;
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    AUTO(json_unref) json_t *data = api_body_object(req);
    struct canon_post *p = NULL;
    int64_t at = INT64_MIN;
    struct err e = ERR_INIT;
    if (data != NULL &&
        canon_time(canon_either(req, "observed_at", "X-Canon-Observed-At"), &at, &e) != 0)
        http_problem(req, &e);
    else if (data != NULL)
        p = canon_post_new(req, m, NULL, 1, canon_answer_single);
    if (p == NULL) {
        canon_model_unref(m);
        return;
    }
    p->one.origin = canon_either(req, "origin", "X-Canon-Origin");
    p->one.source_id = canon_either(req, "source_id", "X-Canon-Source-Id");
    p->one.observed_at = at;
    p->one.data = TAKE(data);
    p->one.tags = canon_tags(req);
    p->r.skip_distribution = skip;
    canon_post_start(p, CANON_POST_ARRIVE);
}

/* ---- many ---- */

static const char *const canon_item_names[] = {"source_id", "observed_at", "origin", "data",
                                               "tags"};

/* A source id may come as a number: it becomes its text, inside the item, which keeps it. */
static int canon_item_source_id(json_t *item, const char **out, struct err *e)
{
    json_t *v = json_object_get(item, "source_id");
    if (v == NULL || json_is_null(v))
        return 0;
    if (json_is_integer(v)) {
        char text[24];
        json_t *s = json_string(
            (snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v)), text));
        json_object_set_new(item, "source_id", s);
        v = s;
    }
    *out = json_string_value(v);
    return *out != NULL
               ? 0
               : err_field(e, ERR_INVALID, "source_id", "source_id must be a string or an integer");
}

/* Takes `data` and `tags` out of the item, so that the engine's thread is their only holder. */
static json_t *canon_item_take(json_t *item, const char *key)
{
    json_t *v = json_incref(json_object_get(item, key));
    json_object_del(item, key);
    return v;
}

static int canon_item(json_t *item, struct canon_arrival *a, struct err *e)
{
    const char *at = NULL;
    int rc;
    if (!json_is_object(item))
        return err_set(e, ERR_INVALID, "an arrival is an object with source_id, data ..., not %s",
                       json_type_name(item));
    if ((rc = json_only_keys(item, "an arrival", canon_item_names, ARRAY_LEN(canon_item_names),
                             e)) != 0 ||
        (rc = canon_item_source_id(item, &a->source_id, e)) != 0)
        return rc;
    rc = json_get_string(item, "origin", &a->origin, e);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = json_get_string(item, "observed_at", &at, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = canon_time(at, &a->observed_at, e)) != 0)
        return rc;
    if (!json_is_object(json_object_get(item, "data")))
        return err_field(e, ERR_INVALID, "data", "data must be an object");
    json_t *tags = json_object_get(item, "tags");
    if (tags != NULL && !json_is_null(tags) && !json_is_object(tags))
        return err_field(e, ERR_INVALID, "tags", "tags must be an object");
    a->data = canon_item_take(item, "data");
    if (json_is_object(tags))
        a->tags = canon_item_take(item, "tags");
    return 0;
}

static int canon_items(struct canon_post *p, json_t *list, struct err *e)
{
    const char *origin = http_header_in(p->req, "X-Canon-Origin");
    AUTO(json_unref) json_t *tags = canon_tags(p->req);
    for (size_t i = 0; i < p->r.count; i++) {
        struct canon_arrival *a = &p->arrivals[i];
        a->origin = origin;
        if (canon_item(json_array_get(list, i), a, e) != 0)
            return err_context(e, "arrival %zu", i);
        if (tags != NULL && a->tags == NULL)
            a->tags = json_deep_copy(tags);
    }
    return 0;
}

static void canon_post_bulk(struct http_request *req)
{
    bool skip;
    if (!API_QUERY_ONLY(req, "skip_distribution") || !api_repeatable(req) ||
        !canon_skips(req, &skip))
        return;
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    json_t *list = api_body_list(req, CANON_BULK_MAX);
    if (list == NULL) {
        canon_model_unref(m);
        return;
    }
    size_t count = json_array_size(list);
    struct canon_arrival *many = mem_new_array(count, sizeof *many); /* at most CANON_BULK_MAX */
    struct canon_post *p = canon_post_new(req, m, many, count, canon_answer_bulk);
    p->texts = list;
    p->r.skip_distribution = skip;
    if (canon_items(p, list, &p->r.err) != 0)
        canon_post_done(&p->r);
    else
        canon_post_start(p, CANON_POST_ARRIVE);
}

/* ---- parked ones, withdrawals ---- */

static void canon_resume_route(struct http_request *req)
{
    if (!API_QUERY_NONE(req) || !api_repeatable(req))
        return;
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    json_t *fix = NULL;
    if (http_body(req).n > 0 && (fix = api_body_object(req)) == NULL) {
        canon_model_unref(m);
        return;
    }
    struct canon_post *p = canon_post_new(req, m, NULL, 1, canon_answer_single);
    p->one.source_id = http_param(req, "arrival");
    p->one.data = fix;
    canon_post_start(p, CANON_POST_RESUME);
}

static void canon_withdraw_route(struct http_request *req)
{
    bool erase;
    if (!API_QUERY_ONLY(req, "erase") || !api_query_bool(req, "erase", false, &erase) ||
        !api_body_none(req))
        return;
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    struct canon_post *p = canon_post_new(req, m, NULL, 1, canon_answer_single);
    p->one.origin = http_param(req, "origin");
    p->one.source_id = http_param(req, "id");
    canon_post_start(p, erase ? CANON_POST_ERASE : CANON_POST_WITHDRAW);
}

static const struct http_route canon_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/canon/:model", .handler = canon_post_one},
    {.verb = HTTP_VERB_POST, .pattern = "/api/canon/:model/bulk", .handler = canon_post_bulk},
    {.verb = HTTP_VERB_POST,
     .pattern = "/api/canon/:model/parked/:arrival/resume",
     .handler = canon_resume_route},
    {.verb = HTTP_VERB_DELETE,
     .pattern = "/api/canon/:model/sources/:origin/:id",
     .handler = canon_withdraw_route},
};
const struct api_routes api_canon_routes = {canon_table, ARRAY_LEN(canon_table)};
