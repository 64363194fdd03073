/* Changing one record: POST, PUT, PATCH, DELETE. */
#include <string.h>

#include "api/records_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/coord.h"
#include "entity/filter.h"
#include "entity/read.h"

/* ---- the operation ---- */

struct records_write *records_write_new(struct http_request *req, struct entity_def *d,
                                        struct entity_item *items, size_t count,
                                        void (*done)(struct entity_write *w))
{
    struct api_thread *t = api_thread_of(req);
    struct records_write *op = arena_new(http_arena(req), sizeof *op);
    op->req = req;
    op->def = d;
    op->w.ledger = t->api->o.ledger;
    op->w.reader = t->db;
    op->w.hooks = t->api->o.hooks;
    op->w.ids = &t->ids;
    op->w.home = loop_runner(t->loop);
    op->w.items = items;
    op->w.count = count;
    op->w.atomic = true;
    op->w.done = done;
    op->w.once = api_once_key(req);
    op->w.context = records_context;
    api_envelope(req, &op->w.env);
    for (size_t i = 0; i < count; i++) {
        items[i].def = d;
        str_copy(items[i].partition, sizeof items[i].partition, api_partition(req));
    }
    return op;
}

void records_write_start(struct records_write *op)
{
    struct err e = ERR_INIT;
    if (entity_write_start(&op->w, &e) == 0)
        return;
    op->w.err = e;
    op->w.done(&op->w);
}

/* ---- what is kept of it ---- */

void records_context(const struct entity_write *w, size_t first, size_t count, struct buf *out)
{
    buf_add_u32(out, (uint32_t)count);
    for (size_t i = first; i < first + count; i++)
        buf_add_text(out, w->items[i].id);
}

int records_kept_count(const struct api_kept *k)
{
    struct cursor c;
    cursor_init(&c, k->context.data, k->context.len);
    uint32_t count = cursor_u32(&c);
    return !c.bad && count <= ENTITY_BULK_MAX ? (int)count : -1;
}

bool records_kept_items(const struct api_kept *k, struct entity_item *items, size_t count,
                        struct cursor *context, struct buf *shown)
{
    struct cursor c, results, one;
    size_t n = 0;
    cursor_init(&c, k->context.data, k->context.len);
    cursor_init(&results, k->results.data, k->results.len);
    bool whole = cursor_u32(&c) == count;
    for (size_t i = 0; whole && i < count; i++) {
        const char *id = cursor_bytes(&c, &n);
        whole = id != NULL && n <= ENTITY_ID_MAX && ledger_kept_next(&results, &one) &&
                entity_result_parse(&one, &items[i].result);
        if (whole)
            snprintf(items[i].id, sizeof items[i].id, "%.*s", (int)n, id);
    }
    if (whole && shown != NULL && ledger_kept_next(&results, &one))
        buf_add(shown, one.p, cursor_left(&one));
    if (context != NULL)
        *context = c;
    return whole;
}

/* ---- the answer ---- */

void records_hide(const struct http_request *req, struct entity_item *it)
{
    if (it->verb != ENTITY_REMOVE || it->err.code != ERR_CONFLICT || http_user(req) == NULL)
        return;
    err_clear(&it->err);
    err_set(&it->err, ERR_CONFLICT, "%s '%s' is still referred to by other records", it->def->name,
            it->id);
}

static void records_answer_error(struct records_write *op)
{
    struct entity_item *it = &op->w.items[0];
    records_hide(op->req, it);
    api_problem(op->req, it->err.code != 0 ? &it->err : &op->w.err, it->errors, NULL);
}

/* One that was just made is known without reading it, unless its definition has changed since. */
static void records_written(const struct entity_write *w, struct records_write *op, struct buf *out)
{
    struct entities *all = api_thread_of(op->req)->api->o.entities;
    AUTO(entity_def_unrefp) struct entity_def *now = entities_find(all, op->def->name);
    if (now != NULL && now->version == op->def->version)
        entity_written_record(w, 0, out);
}

/* The record as it is now, at least as new as what was written: for who may see it. */
static void records_read(struct http_request *req, const struct entity_def *d,
                         const struct entity_item *it, struct buf *out)
{
    bool may_read = api_may(req, d, ACCESS_READ);
    if (may_read && out->len > 0)
        return;
    buf_reset(out);
    if (may_read && entity_get(api_point_reader(api_thread_of(req)), d, api_scope(req), it->id, out,
                               NULL, NULL) == 0)
        return;
    buf_reset(out); /* removed again meanwhile */
    buf_adds(out, "{\"id\":");
    json_print_string(out, it->id, strlen(it->id));
    buf_addf(out, ",\"version\":%llu}", (unsigned long long)it->result.version);
}

static bool records_is_gone(const struct entity_item *it)
{
    return it->result.outcome == ENTITY_REMOVED || it->result.outcome == ENTITY_PURGED;
}

/* `record` is empty, or the record as written. */
static void records_answer(struct http_request *req, const struct entity_def *d,
                           const struct entity_item *it, uint64_t seq, struct buf *record)
{
    int status = it->result.outcome == ENTITY_CREATED ? 201 : 200;
    http_header(req, "X-Koan-Outcome", entity_outcome_name(it->result.outcome));
    http_header_uint(req, "X-Koan-Seq", seq);
    if (records_is_gone(it)) {
        http_respond(req, 204, NULL, NULL, 0);
        return;
    }
    api_etag(req, it->result.version);
    if (status == 201 && http_param(req, "id") == NULL)
        api_location(req, d, it->id);
    records_read(req, d, it, record);
    http_respond_buf(req, status, API_JSON, record);
}

/* Canon-backed ones go their own way. */
static bool records_is_plain(struct http_request *req, const struct entity_def *d)
{
    AUTO(api_model_unrefp)
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    return m == NULL;
}

/* True: it was done before, and is answered as then. */
static bool records_replayed(struct http_request *req, const struct entity_def *d)
{
    const struct api_kept *k = api_kept(req, 0);
    struct entity_item it = {.err = ERR_INIT};
    AUTO(buf_fini) struct buf record = BUF_INIT(API_RECORD_MAX);
    if (k == NULL || !records_is_plain(req, d) || !records_kept_items(k, &it, 1, NULL, &record))
        return false;
    api_replayed(req);
    records_answer(req, d, &it, k->seq, &record);
    return true;
}

/* What the unit has shown of its item. */
static void records_shown(const struct entity_write *w, struct buf *out)
{
    struct cursor results, one;
    if (w->show_bytes == 0 || w->unit == NULL)
        return;
    cursor_init(&results, w->unit->results.data, w->unit->results.len);
    if (ledger_kept_next(&results, &one) && ledger_kept_next(&results, &one))
        buf_add(out, one.p, cursor_left(&one));
}

static void records_write_done(struct entity_write *w)
{
    /* The struct lies in the request's arena, which goes with the answer. */
    struct records_write op = *(struct records_write *)w;
    struct entity_item it = w->items[0];
    AUTO(buf_fini) struct buf record = BUF_INIT(API_RECORD_MAX);
    op.w.items = &it;
    if (op.w.err.code == 0)
        op.w.err = it.err;
    if (op.w.err.code == 0)
        records_shown(w, &record);
    if (op.w.err.code == 0 && record.len == 0 && !records_is_gone(&it))
        records_written(w, &op, &record);
    entity_write_fini(w);
    if (op.w.err.code == 0)
        records_answer(op.req, op.def, &it, w->seq, &record);
    else if (!api_once_again(op.req) || !records_replayed(op.req, op.def))
        records_answer_error(&op);
    entity_item_fini(&it);
    entity_def_unref(op.def);
}

/* ---- what is asked ---- */

/* The header's token; false: it is none. */
static bool lease_token(const struct http_request *req, uint64_t *out)
{
    const char *text = http_header_in(req, "X-Koan-Lease");
    *out = 0;
    return text == NULL || (str_to_u64(text, strlen(text), out) && *out > 0 && *out <= INT64_MAX);
}

bool records_lease(struct http_request *req, const char *id)
{
    uint64_t token;
    struct err e = ERR_INIT;
    if (!lease_token(req, &token))
        err_field(&e, ERR_INVALID, "X-Koan-Lease",
                  "X-Koan-Lease: the token of the record's lease, a number");
    else if (token > 0 && id == NULL)
        err_field(&e, ERR_INVALID, "X-Koan-Lease",
                  "X-Koan-Lease goes with the id of one record in the path; several leases at once "
                  "are lease.check in POST /api/tx");
    if (e.code != 0)
        http_problem(req, &e);
    return e.code == 0;
}

/* What sources say of a golden record waits for no lease. False: answered. */
static bool records_is_unleased(struct http_request *req)
{
    if (http_header_in(req, "X-Koan-Lease") == NULL)
        return true;
    http_refuse(req, ERR_UNSUPPORTED,
                "X-Koan-Lease: a golden record is made of what sources say, under no lease");
    return false;
}

static int records_compose(struct entity_write *w, struct txn *t, bool before, struct err *e)
{
    const struct records_write *op = (const struct records_write *)w;
    const struct entity_item *it = &w->items[0];
    char name[ENTITY_LEASE_NAME];
    if (!before)
        return 0;
    entity_lease_name(it->def, it->partition, it->id, strlen(it->id), name);
    struct coord_claim c = {.name = name, .token = op->lease};
    return coord_txn_if_held(t, &c, e);
}

static struct records_write *records_one(struct http_request *req, struct entity_def *d,
                                         const struct api_conditions *c, const char *id)
{
    struct entity_item *it = arena_new(http_arena(req), sizeof *it);
    struct records_write *op = records_write_new(req, d, it, 1, records_write_done);
    it->if_version = c->version;
    it->if_exists = c->any;
    it->if_absent = c->none;
    if (id != NULL)
        memcpy(it->id, id, strlen(id) + 1);
    lease_token(req, &op->lease);
    if (op->lease > 0)
        op->w.compose = records_compose;
    if (op->w.once != NULL && http_verb(req) != HTTP_VERB_DELETE)
        op->w.show_bytes = API_ONCE_BODY_MAX;
    return op;
}

static void records_save(struct http_request *req, struct entity_def *d, json_t *doc,
                         const struct api_conditions *c, const char *id)
{
    struct records_write *op = records_one(req, d, c, id);
    op->w.items[0].verb = ENTITY_SAVE;
    op->w.items[0].doc = doc;
    records_write_start(op);
}

/* The id of the URL; 400 for one that no record can have. */
static const char *records_id(struct http_request *req)
{
    const char *id = http_param(req, "id");
    struct err e = ERR_INIT;
    if (str_check_id(id, strlen(id), &e) == 0)
        return id;
    http_problem(req, &e);
    return NULL;
}

/* Doc's "id" against the URL's. */
static bool records_same_id(struct http_request *req, const json_t *doc, const char *id)
{
    const json_t *inside = json_object_get(doc, "id");
    if (inside == NULL || json_is_null(inside) || id == NULL ||
        (json_is_string(inside) && strcmp(json_string_value(inside), id) == 0))
        return true;
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, "id", "the body names another id than the URL, which says '%s'", id);
    http_problem(req, &e);
    return false;
}

static void records_put(struct http_request *req, const char *id)
{
    struct api_conditions c;
    if (!API_QUERY_ONLY(req, "partition") || !api_once(req) || !api_conditions(req, &c) ||
        !records_lease(req, id))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL || records_replayed(req, d))
        return;
    AUTO(json_unref) json_t *doc = api_body_object(req);
    if (doc == NULL || !records_same_id(req, doc, id))
        return;
    if (!records_is_plain(req, d)) {
        if (records_is_unleased(req))
            api_direct_save(req, TAKE(d), id, TAKE(doc), &c);
        return;
    }
    records_save(req, TAKE(d), TAKE(doc), &c, id);
}

static void records_post(struct http_request *req)
{
    records_put(req, NULL);
}

static void records_put_id(struct http_request *req)
{
    const char *id = records_id(req);
    if (id != NULL)
        records_put(req, id);
}

/* A JSON patch looks at what is there: `test` tells a value, the others whether there is one. */
static bool records_may_look(struct http_request *req, const struct entity_def *d,
                             enum entity_patch_kind kind)
{
    if (kind != ENTITY_PATCH_JSON || api_may(req, d, ACCESS_READ))
        return true;
    http_refuse(req, ERR_FORBIDDEN,
                "a JSON patch tells what is in the record, which is not public: bring a token, or "
                "send application/merge-patch+json");
    return false;
}

static bool records_patch_kind(struct http_request *req, enum entity_patch_kind *out)
{
    enum api_media m = api_media(req);
    *out = m == API_MEDIA_JSON_PATCH ? ENTITY_PATCH_JSON : ENTITY_PATCH_MERGE;
    if (m != API_MEDIA_OTHER && m != API_MEDIA_NDJSON)
        return true;
    http_refuse(req, ERR_MEDIA_TYPE,
                "Content-Type: a patch is application/merge-patch+json, "
                "application/json-patch+json, or application/json, which is the first");
    return false;
}

static void records_patch(struct http_request *req)
{
    struct api_conditions c;
    enum entity_patch_kind kind;
    const char *id = records_id(req);
    if (id == NULL || !API_QUERY_ONLY(req, "partition") || !api_once(req) ||
        !api_conditions(req, &c) || !records_lease(req, id) || !records_patch_kind(req, &kind))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL || !records_may_look(req, d, kind) || records_replayed(req, d))
        return;
    if (c.none) {
        http_refuse(req, ERR_INVALID, "If-None-Match: * has no sense on a patch: use PUT");
        return;
    }
    if (!records_is_plain(req, d)) {
        if (records_is_unleased(req))
            api_direct_patch(req, TAKE(d), kind, &c);
        return;
    }
    AUTO(json_unref) json_t *patch = api_body(req);
    if (patch == NULL)
        return;
    struct records_write *op = records_one(req, TAKE(d), &c, id);
    op->w.items[0].verb = ENTITY_PATCH;
    op->w.items[0].patch_kind = kind;
    op->w.items[0].doc = TAKE(patch);
    records_write_start(op);
}

static void records_delete(struct http_request *req)
{
    struct api_conditions c;
    const char *id = records_id(req);
    if (id == NULL || !API_QUERY_ONLY(req, "partition") || !api_once(req) ||
        !api_conditions(req, &c) || !records_lease(req, id) || !api_body_none(req))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL || records_replayed(req, d))
        return;
    if (c.none) {
        http_refuse(req, ERR_INVALID, "If-None-Match: * has no sense on a removal");
        return;
    }
    if (!records_is_plain(req, d)) {
        if (records_is_unleased(req))
            api_direct_remove(req, TAKE(d), &c);
        return;
    }
    struct records_write *op = records_one(req, TAKE(d), &c, id);
    op->w.items[0].verb = ENTITY_REMOVE;
    records_write_start(op);
}

/* What soft_remove has hidden comes back. */
static void records_restore(struct http_request *req)
{
    static const struct api_conditions none;
    const char *id = records_id(req);
    if (id == NULL || !API_QUERY_ONLY(req, "partition") || !api_once(req) ||
        !records_lease(req, id) || !api_body_none(req))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL || records_replayed(req, d))
        return;
    if (!records_is_plain(req, d)) {
        http_refuse(req, ERR_UNSUPPORTED,
                    "'%s' is made by canon: a golden record comes back when a source speaks of it "
                    "again",
                    d->name);
        return;
    }
    struct records_write *op = records_one(req, TAKE(d), &none, id);
    op->w.items[0].verb = ENTITY_RESTORE;
    records_write_start(op);
}

/* ---- POST /purge: removed, and now for good ---- */

/* What would go, and nothing done. */
static void records_purge_dry(struct http_request *req, const struct entity_def *d, const char *id)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *what = json_pack("{s:{s:s}}", "id", "$eq", id);
    AUTO(filter_freep) struct filter *f = NULL;
    AUTO(entity_page_fini) struct entity_page page;
    entity_page_init(&page, API_ANSWER_MAX);
    struct entity_query q = {.removed = true, .count = ENTITY_COUNT_NONE};
    int rc = filter_parse(d, what, &f, &e);
    q.filter = f;
    if (rc == 0)
        rc = entity_query(api_thread_of(req)->db, d, api_scope(req), &q, &page, &e);
    if (rc == 0 && page.count == 0)
        rc = err_set(&e, ERR_NOT_FOUND, "there is no removed %s '%s' to purge", d->name, id);
    if (rc < 0)
        http_problem(req, &e);
    else
        http_respond(req, 200, API_JSON, page.rows.data + 1, page.rows.len - 2); /* one of a list */
}

static void records_purge(struct http_request *req)
{
    static const struct api_conditions none;
    bool dry;
    const char *id = records_id(req), *confirm;
    if (id == NULL || !API_QUERY_ONLY(req, "partition", "confirm", "dry_run") ||
        !api_query_bool(req, "dry_run", false, &dry) || !api_once(req) || !records_lease(req, id) ||
        !api_body_none(req))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL || records_replayed(req, d))
        return;
    confirm = http_query(req, "confirm");
    if (!dry && (confirm == NULL || strcmp(confirm, id) != 0)) {
        struct err e = ERR_INIT;
        err_field(&e, ERR_INVALID, "confirm",
                  "what is purged does not come back: say confirm=%s, or dry_run=true to see it",
                  id);
        http_problem(req, &e);
        return;
    }
    if (dry && api_may(req, d, ACCESS_READ)) {
        records_purge_dry(req, d, id);
        return;
    }
    if (dry) {
        http_refuse(req, ERR_FORBIDDEN, "dry_run shows the record, which is not public");
        return;
    }
    struct records_write *op = records_one(req, TAKE(d), &none, id);
    op->w.items[0].verb = ENTITY_PURGE;
    records_write_start(op);
}

static const struct http_route records_write_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/:id/purge", .handler = records_purge},
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/:id/restore", .handler = records_restore},
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity", .handler = records_post},
    {.verb = HTTP_VERB_PUT, .pattern = "/api/:entity/:id", .handler = records_put_id},
    {.verb = HTTP_VERB_PATCH, .pattern = "/api/:entity/:id", .handler = records_patch},
    {.verb = HTTP_VERB_DELETE, .pattern = "/api/:entity/:id", .handler = records_delete},
};
const struct api_routes api_records_write_routes = {records_write_table,
                                                    ARRAY_LEN(records_write_table)};
