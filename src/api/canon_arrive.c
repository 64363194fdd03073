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

/* ---- answers ---- */

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
        http_header_uint(p->req, "X-Koan-Seq", seq);
    http_respond_buf(p->req, 200, API_JSON, &out);
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

/* The model of a request that was not done before; NULL: it is answered. */
static struct canon_model *canon_route_once(struct http_request *req)
{
    struct canon_model *m = canon_route_model(req);
    if (m == NULL || !canon_replayed(req, m, NULL, canon_answer_single))
        return m;
    canon_model_unref(m);
    return NULL;
}

static bool canon_mode(struct http_request *req, enum canon_mode *mode)
{
    struct err e = ERR_INIT;
    if (canon_mode_read(http_query(req, "mode"), mode, &e) == 0)
        return true;
    http_problem(req, &e);
    return false;
}

static void canon_post_one(struct http_request *req)
{
    bool skip;
    enum canon_mode mode;
    if (!API_QUERY_ONLY(req, "source_id", "observed_at", "origin", "skip_distribution", "mode") ||
        !canon_mode(req, &mode) || !api_once(req) || !canon_skips(req, &skip))
        return;
    struct canon_model *m = mode == CANON_MODE_NOW ? canon_route_once(req) : canon_route_model(req);
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
    if (mode != CANON_MODE_NOW)
        canon_post_later(p, mode, false);
    else
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

int canon_item(json_t *item, bool spared, struct canon_arrival *a, struct err *e)
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
    if (!spared && !json_is_object(json_object_get(item, "data")))
        return err_field(e, ERR_INVALID, "data", "data must be an object");
    json_t *tags = json_object_get(item, "tags");
    if (tags != NULL && !json_is_null(tags) && !json_is_object(tags))
        return err_field(e, ERR_INVALID, "tags", "tags must be an object");
    if (!spared)
        a->data = canon_item_take(item, "data");
    if (json_is_object(tags))
        a->tags = canon_item_take(item, "tags");
    return 0;
}

static int canon_items(struct canon_post *p, json_t *list, const struct json_note *notes,
                       struct err *e)
{
    const char *origin = http_header_in(p->req, "X-Canon-Origin");
    AUTO(json_unref) json_t *tags = canon_tags(p->req);
    for (size_t i = 0; i < p->r.count; i++) {
        struct canon_arrival *a = &p->arrivals[i];
        a->origin = origin;
        if (canon_item(json_array_get(list, i), notes[i].spared, a, e) != 0)
            return err_context(e, "arrival %zu", i);
        a->text = notes[i].text;
        a->text_len = notes[i].n;
        if (tags != NULL && a->tags == NULL)
            a->tags = json_deep_copy(tags);
    }
    return 0;
}

/* What a source says is kept as text too, or alone. */
static struct json_note *canon_notes(bool alone)
{
    struct json_note *notes = mem_new_array(CANON_BULK_MAX, sizeof *notes);
    for (size_t i = 0; i < CANON_BULK_MAX; i++) {
        notes[i].member = "data";
        notes[i].spare = alone;
    }
    return notes;
}

static void canon_post_bulk(struct http_request *req)
{
    bool skip;
    enum canon_mode mode;
    if (!API_QUERY_ONLY(req, "skip_distribution", "mode") || !canon_mode(req, &mode) ||
        !api_once(req) || !canon_skips(req, &skip))
        return;
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    AUTO(mem_freep)
    struct json_note *notes = canon_notes(mode != CANON_MODE_NOW || canon_model_has_intake(m));
    json_t *list = api_body_noted(req, CANON_BULK_MAX, notes);
    if (list == NULL) {
        canon_model_unref(m);
        return;
    }
    size_t count = json_array_size(list);
    struct canon_arrival *many = mem_new_array(count, sizeof *many); /* at most CANON_BULK_MAX */
    struct canon_post *p = canon_post_new(req, m, many, count, canon_answer_bulk);
    p->texts = list;
    p->r.skip_distribution = skip;
    if (canon_items(p, list, notes, &p->r.err) != 0)
        canon_post_refuse(p);
    else if (mode != CANON_MODE_NOW)
        canon_post_later(p, mode, true);
    else if (canon_post_recall(p))
        canon_post_end(p);
    else
        canon_post_start(p, CANON_POST_ARRIVE);
}

/* ---- parked ones, withdrawals ---- */

static void canon_resume_route(struct http_request *req)
{
    if (!API_QUERY_NONE(req) || !api_once(req))
        return;
    struct canon_model *m = canon_route_once(req);
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

/* What would be taken back, and nothing done. */
static void canon_withdraw_dry(struct http_request *req)
{
    struct canon_model *m = canon_route_model(req);
    if (m == NULL)
        return;
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    if (canon_source(api_thread_of(req)->db, m, API_TENANT, http_param(req, "origin"),
                     http_param(req, "id"), &out, &e) == 0) {
        http_respond_buf(req, 200, API_JSON, &out);
    } else {
        buf_fini(&out);
        http_problem(req, &e);
    }
    canon_model_unref(m);
}

static bool canon_may_erase(struct http_request *req)
{
    const char *confirm = http_query(req, "confirm"), *id = http_param(req, "id");
    if (confirm != NULL && strcmp(confirm, id) == 0)
        return true;
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, "confirm",
              "what is erased does not come back: say confirm=%s, or dry_run=true to see it", id);
    http_problem(req, &e);
    return false;
}

static void canon_withdraw_route(struct http_request *req)
{
    bool erase, dry;
    if (!API_QUERY_ONLY(req, "erase", "confirm", "dry_run") ||
        !api_query_bool(req, "erase", false, &erase) ||
        !api_query_bool(req, "dry_run", false, &dry) || !api_once(req) || !api_body_none(req))
        return;
    if (dry) {
        canon_withdraw_dry(req);
        return;
    }
    if (erase && !canon_may_erase(req))
        return;
    struct canon_model *m = canon_route_once(req);
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
