/* Changing many records: POST and DELETE /api/{entity}/bulk.
 *
 * One unit by default: all or nothing, and the answer names the item at fault. With ?atomic=false
 * each item is a unit of its own with an outcome of its own. */
#include <string.h>

#include "api/records_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/filter.h"
#include "entity/read.h"

enum {
    BULK_OUTCOMES = ENTITY_REMOVED + 1,
    BULK_FIND_TRIES = 5, /* then 409 */
};

static size_t bulk_fault(const struct entity_write *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->items[i].err.code != 0 && w->items[i].err.code != ERR_CANCELED)
            return i;
    return w->count;
}

/* All or nothing, and it was nothing. */
static void bulk_answer_refused(struct http_request *req, const struct entity_write *w)
{
    size_t at = bulk_fault(w);
    if (at == w->count) {
        http_problem(req, &w->err);
        return;
    }
    struct entity_item *it = &w->items[at];
    records_hide(req, it);
    struct err e = it->err;
    err_context(&e, "item %zu", at);
    struct buf more = BUF_INIT(4096);
    buf_addf(&more, "\"failed_op\":%zu", at);
    if (it->id[0] != '\0') {
        buf_adds(&more, ",\"id\":");
        json_print_string(&more, it->id, strlen(it->id));
    }
    api_problem(req, &e, it->errors, buf_str(&more));
    buf_fini(&more);
}

static void bulk_print_item(struct buf *out, const struct entity_item *it)
{
    buf_adds(out, "{\"id\":");
    if (it->id[0] != '\0')
        json_print_string(out, it->id, strlen(it->id));
    else
        buf_adds(out, "null");
    if (it->err.code != 0) {
        buf_adds(out, ",\"outcome\":\"failed\",\"error\":");
        api_print_problem(out, &it->err, it->errors);
    } else {
        buf_addf(out, ",\"outcome\":\"%s\",\"version\":%llu",
                 entity_outcome_name(it->result.outcome), (unsigned long long)it->result.version);
    }
    buf_addc(out, '}');
}

static void bulk_answer(struct http_request *req, const struct entity_write *w)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t counts[BULK_OUTCOMES] = {0}, failed = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < w->count; i++) {
        struct entity_item *it = &w->items[i];
        if (i > 0)
            buf_addc(&out, ',');
        records_hide(req, it);
        bulk_print_item(&out, it);
        if (it->err.code != 0)
            failed++;
        else
            counts[it->result.outcome]++;
    }
    buf_adds(&out, "],\"counts\":{");
    for (int i = 0; i < BULK_OUTCOMES; i++)
        buf_addf(&out, "\"%s\":%zu,", entity_outcome_name((enum entity_outcome)i), counts[i]);
    buf_addf(&out, "\"failed\":%zu}}", failed);
    if (w->seq > 0)
        http_header_uint(req, "X-Koan-Seq", w->seq);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void bulk_items_free(struct entity_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        entity_item_fini(&items[i]);
    mem_free(items);
}

/* An atomic one that was done before is answered as then. */
static bool bulk_replayed(struct http_request *req)
{
    const struct api_kept *k = api_kept(req, 0);
    int count = k != NULL ? records_kept_count(k) : -1;
    if (count < 0)
        return false;
    AUTO(mem_freep) struct entity_item *items = mem_new_array((size_t)count + 1, sizeof *items);
    if (!records_kept_items(k, items, (size_t)count, NULL, NULL))
        return false;
    struct entity_write w = {.items = items, .count = (size_t)count, .seq = k->seq};
    api_replayed(req);
    bulk_answer(req, &w);
    return true;
}

/* Of many units: those that were done before, among the items that have failed or that have not. */
static void bulk_recall(struct records_write *op, bool failed)
{
    for (size_t i = 0; op->w.once != NULL && i < op->w.count; i++) {
        struct entity_item *it = &op->w.items[i];
        const struct api_kept *k = api_kept(op->req, (uint32_t)i);
        if ((it->err.code != 0) != failed || k == NULL || !records_kept_items(k, it, 1, NULL, NULL))
            continue;
        err_clear(&it->err);
        it->done = op->recalled = true;
        op->kept_seq = k->seq > op->kept_seq ? k->seq : op->kept_seq;
    }
}

static void bulk_end(struct records_write *op)
{
    struct entity_write *w = &op->w;
    if (w->err.code != 0) {
        if (!w->atomic || !api_once_again(op->req) || !bulk_replayed(op->req))
            bulk_answer_refused(op->req, w);
        return;
    }
    if (w->failed > 0 && api_once_again(op->req))
        bulk_recall(op, true);
    w->seq = op->kept_seq > w->seq ? op->kept_seq : w->seq;
    if (op->recalled)
        api_replayed(op->req);
    bulk_answer(op->req, w);
}

struct bulk_find;
static bool bulk_find_again(struct bulk_find *f, struct records_write *op);

static void bulk_done(struct entity_write *w)
{
    struct records_write *op = (struct records_write *)w;
    struct entity_item *items = w->items;
    size_t count = w->count;
    struct entity_def *d = op->def;
    entity_write_fini(w);
    if (op->more == NULL || !bulk_find_again(op->more, op))
        bulk_end(op);
    bulk_items_free(items, count);
    entity_def_unref(d);
}

static bool bulk_is_plain(struct http_request *req, const struct entity_def *d)
{
    AUTO(api_model_unrefp)
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    return m == NULL;
}

static void bulk_start(struct http_request *req, struct entity_def *d, struct entity_item *items,
                       size_t count, bool atomic, struct bulk_find *found)
{
    struct records_write *op = records_write_new(req, d, items, count, bulk_done);
    op->w.atomic = atomic;
    op->more = found;
    if (!atomic)
        bulk_recall(op, false);
    records_write_start(op);
}

static struct entity_item *bulk_items(struct http_request *req, size_t count)
{
    struct entity_item *items = mem_try((count + 1) * sizeof *items);
    if (items == NULL)
        http_refuse(req, ERR_OVERLOADED, "no memory for %zu items", count);
    else
        memset(items, 0, (count + 1) * sizeof *items);
    return items;
}

/* "if_version" of an item: the change holds only at this version. A declared field of that name is
 * a field. */
static bool bulk_condition(struct http_request *req, const struct entity_def *d, json_t *doc,
                           size_t at, struct entity_item *it)
{
    json_t *v = json_object_get(doc, "if_version");
    if (v == NULL || entity_def_field(d, "if_version") != NULL)
        return true;
    if (json_is_integer(v) && json_integer_value(v) > 0) {
        it->if_version = (uint64_t)json_integer_value(v);
        json_object_del(doc, "if_version");
        return true;
    }
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, "if_version",
              "item %zu: if_version is a version, which counts from 1", at);
    http_problem(req, &e);
    return false;
}

/* ---- POST ---- */

static void bulk_post(struct http_request *req)
{
    bool atomic;
    if (!API_QUERY_ONLY(req, "atomic", "partition") ||
        !api_query_bool(req, "atomic", true, &atomic) || !api_once(req) ||
        !records_lease(req, NULL))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    AUTO(json_unref) json_t *list = api_body_list(req, ENTITY_BULK_MAX);
    if (list == NULL)
        return;
    if (bulk_is_plain(req, d) && atomic && bulk_replayed(req))
        return;
    if (!bulk_is_plain(req, d)) { /* statements about golden records */
        api_direct_bulk(req, TAKE(d), TAKE(list), atomic);
        return;
    }
    size_t count = json_array_size(list);
    struct entity_item *items = bulk_items(req, count);
    if (items == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        items[i].verb = ENTITY_SAVE;
        if (!bulk_condition(req, d, json_array_get(list, i), i, &items[i])) {
            bulk_items_free(items, i);
            return;
        }
        items[i].doc = json_incref(json_array_get(list, i));
    }
    bulk_start(req, TAKE(d), items, count, atomic, NULL);
}

/* ---- DELETE ---- */

/* An empty filter means everything, which has to be meant. */
static int bulk_check_all(const struct entity_def *d, const json_t *body, struct err *e)
{
    const char *confirm = json_string_value(json_object_get(body, "confirm"));
    if (confirm != NULL && strcmp(confirm, d->name) == 0)
        return 0;
    return err_field(e, ERR_INVALID, confirm != NULL ? "confirm" : "filter",
                     "an empty filter would remove everything; if that is meant say "
                     "\"confirm\": \"%s\"",
                     d->name);
}

/* {"ids": [...]}, {"filter": {...}} or an array of ids: the ids as a borrowed value, or the filter.
 */
static int bulk_what(const struct entity_def *d, json_t *body, json_t **ids, struct filter **f,
                     bool *dry, struct err *e)
{
    static const char *const names[] = {"ids", "filter", "confirm", "dry_run"};
    *ids = json_is_array(body) ? body : NULL;
    if (*ids != NULL)
        return 0;
    if (json_is_object(body) && json_only_keys(body, "the body", names, ARRAY_LEN(names), e) != 0)
        return e->code;
    *ids = json_object_get(body, "ids");
    if (*ids != NULL ? json_object_size(body) != 1 : json_object_get(body, "filter") == NULL)
        return err_set(e, ERR_INVALID,
                       "the body must be an array of ids, {\"ids\": [...]} or "
                       "{\"filter\": {...}}");
    if (*ids != NULL)
        return json_is_array(*ids) ? 0 : err_field(e, ERR_INVALID, "ids", "ids must be an array");
    int rc = json_get_bool(body, "dry_run", dry, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    rc = filter_parse(d, json_object_get(body, "filter"), f, e);
    return rc == 0 && filter_is_empty(*f) && !*dry ? bulk_check_all(d, body, e) : rc;
}

static int bulk_fill_ids(struct entity_item *items, const json_t *ids, struct err *e)
{
    static const char *const names[] = {"id", "if_version"};
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        int64_t version = 0;
        if (json_is_object(id)) { /* {"id": .., "if_version": 3} */
            if (json_only_keys(id, "ids", names, ARRAY_LEN(names), e) != 0 ||
                json_get_int(id, "if_version", &version, e) != 0 || version < 1)
                return err_field(e, ERR_INVALID, "ids",
                                 "item %zu is neither an id nor {\"id\", \"if_version\"}", i);
            items[i].if_version = (uint64_t)version;
            id = json_object_get(id, "id");
        }
        if (!json_is_string(id) ||
            str_check_id(json_string_value(id), json_string_length(id), e) != 0)
            return err_field(e, ERR_INVALID, "ids", "item %zu is not an id", i);
        items[i].verb = ENTITY_REMOVE;
        memcpy(items[i].id, json_string_value(id), json_string_length(id) + 1);
    }
    return 0;
}

/* `found`: by a filter; else NULL. */
static void bulk_remove(struct http_request *req, struct entity_def *d, const json_t *ids,
                        bool atomic, struct bulk_find *found)
{
    struct err e = ERR_INIT;
    AUTO(entity_def_unrefp) struct entity_def *def = d;
    size_t count = json_array_size(ids);
    if (count > ENTITY_BULK_MAX) {
        http_refuse(req, ERR_TOO_LARGE, "more than %d ids in one request; send several requests",
                    ENTITY_BULK_MAX);
        return;
    }
    if (count == 0 && api_once_key(req) == NULL) { /* a filter that matches nothing is fine */
        struct entity_write none = {.count = 0};
        bulk_answer(req, &none);
        return;
    }
    struct entity_item *items = bulk_items(req, count);
    if (items == NULL)
        return;
    if (bulk_fill_ids(items, ids, &e) != 0) {
        mem_free(items);
        http_problem(req, &e);
        return;
    }
    if (!bulk_is_plain(req, def)) { /* what was said directly of golden records is taken back */
        api_direct_bulk_remove(req, TAKE(def), items, count, atomic);
        bulk_items_free(items, count);
        return;
    }
    bulk_start(req, TAKE(def), items, count, atomic, found);
}

/* A filter may visit many rows: it is asked on the pool. What it found is removed as it was found;
 * a record that has changed since may not match any more, so then the filter is asked again. Lies
 * in the request's arena, which goes with the answer. */
struct bulk_find {
    struct api_job job; /* first */
    struct entity_def *def;
    const char *text; /* the filter as it came */
    struct filter *filter;
    json_t *ids;
    const char *scope;
    bool atomic, dry;
    int tries;
};

static void bulk_find_run(struct api_job *j, struct db *db)
{
    struct bulk_find *f = (struct bulk_find *)j;
    if (f->dry)
        entity_query_ids(db, f->def, f->scope, f->filter, ENTITY_BULK_MAX, &f->ids, &j->err);
    else
        entity_query_versions(db, f->def, f->scope, f->filter, ENTITY_BULK_MAX, &f->ids, &j->err);
}

static void bulk_find_done(struct api_job *j)
{
    struct bulk_find *f = (struct bulk_find *)j;
    AUTO(entity_def_unrefp) struct entity_def *d = TAKE(f->def);
    AUTO(json_unref) json_t *ids = TAKE(f->ids);
    filter_free(TAKE(f->filter));
    if (j->err.code != 0)
        http_problem(j->req, &j->err);
    else if (f->dry)
        api_answer_json(j->req, 200,
                        json_pack("{s:b, s:i, s:O}", "dry_run", 1, "matched",
                                  (int)json_array_size(ids), "ids", ids));
    else
        bulk_remove(j->req, TAKE(d), ids, f->atomic, f);
}

/* With the filter read for the definition; takes its reference. False: it does not fit that. */
static bool bulk_find_start(struct bulk_find *f, struct http_request *req, struct entity_def *def,
                            struct err *e)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    AUTO(json_unref) json_t *what = json_read(f->text, strlen(f->text), e);
    if (what == NULL || filter_parse(d, what, &f->filter, e) != 0)
        return false;
    f->def = TAKE(d);
    f->job = (struct api_job){.run = bulk_find_run, .done = bulk_find_done};
    api_job_start(&f->job, req);
    return true;
}

static bool bulk_find_again(struct bulk_find *f, struct records_write *op)
{
    size_t at = bulk_fault(&op->w);
    int code = at < op->w.count ? op->w.items[at].err.code : 0;
    if (!f->atomic || (code != ERR_VERSION_MISMATCH && code != ERR_NOT_FOUND))
        return false;
    struct err e = ERR_INIT;
    if (++f->tries < BULK_FIND_TRIES && bulk_find_start(f, op->req, entity_def_ref(op->def), &e))
        return true;
    err_set(&op->w.items[at].err, ERR_CONFLICT,
            "records that match were changed %d times while they were to be removed; try again",
            f->tries);
    return false;
}

static void bulk_find(struct http_request *req, struct entity_def *def, const json_t *what,
                      bool atomic, bool dry)
{
    struct bulk_find *f = arena_new(http_arena(req), sizeof *f);
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT(FILTER_BYTES_MAX + 1);
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    json_print(what, &text, NULL);
    f->text = arena_strndup(http_arena(req), buf_str(&text), text.len);
    if (f->text == NULL) {
        http_refuse(req, ERR_OVERLOADED, "no memory for a filter of %zu bytes", text.len);
        return;
    }
    f->scope = api_scope(req);
    f->atomic = atomic;
    f->dry = dry;
    if (!bulk_find_start(f, req, TAKE(d), &e))
        http_problem(req, &e);
}

static void bulk_delete(struct http_request *req)
{
    bool atomic, dry = false;
    if (!API_QUERY_ONLY(req, "atomic", "partition") ||
        !api_query_bool(req, "atomic", true, &atomic) || !api_once(req) || !api_media_json(req) ||
        !records_lease(req, NULL))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    AUTO(json_unref) json_t *body = api_body(req);
    if (body == NULL)
        return;
    struct err e = ERR_INIT;
    AUTO(filter_freep) struct filter *f = NULL;
    json_t *ids;
    if (atomic && (bulk_is_plain(req, d) ? bulk_replayed(req) : api_direct_bulk_replayed(req, d)))
        return;
    int rc = bulk_what(d, body, &ids, &f, &dry, &e);
    if (rc == 0 && ids == NULL && !atomic && api_once_key(req) != NULL)
        rc = err_set(&e, ERR_UNSUPPORTED,
                     "Idempotency-Key with a filter and atomic=false: a repeat would find other "
                     "records; send the ids, or leave out atomic=false");
    if (rc != 0)
        http_problem(req, &e);
    else if (ids == NULL && !api_may(req, d, ACCESS_READ))
        http_refuse(req, ERR_FORBIDDEN,
                    "a filter tells what is in %s, which is not public: bring a token, or name "
                    "the ids",
                    d->name);
    else if (ids != NULL)
        bulk_remove(req, TAKE(d), ids, atomic, NULL);
    else
        bulk_find(req, TAKE(d), json_object_get(body, "filter"), atomic, dry);
}

static const struct http_route bulk_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/bulk", .handler = bulk_post},
    {.verb = HTTP_VERB_DELETE, .pattern = "/api/:entity/bulk", .handler = bulk_delete},
};
const struct api_routes api_bulk_routes = {bulk_table, ARRAY_LEN(bulk_table)};
