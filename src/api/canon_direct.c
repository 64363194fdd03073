/* Golden records changed from outside: POST, PUT, PATCH and DELETE on a canon-backed entity.
 *
 * A golden record is a pure function of what sources say, so nobody writes it. What a caller sends
 * is one more statement, of origin "direct" and with the record's id as its source id; what wins is
 * for the policies. */
#include <string.h>

#include "api/canon_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/read.h"

#define CANON_DIRECT "direct"

static const char *const direct_system[] = {"id",         "version",    "created_at",
                                            "updated_at", "created_by", "updated_by"};

bool api_redirect_merged(struct http_request *req, const struct entity_def *d, const char *id)
{
    struct api_thread *t = api_thread_of(req);
    AUTO(api_model_unrefp) struct canon_model *m = api_model_of(t->api, d);
    if (m == NULL)
        return false;
    char live[ENTITY_ID_MAX + 1];
    struct err e = ERR_INIT;
    int rc = canon_survivor(t->db, d->name, API_TENANT, id, live, &e);
    if (rc == ERR_GONE) {
        http_problem(req, &e);
        return true;
    }
    if (rc != 0 || strcmp(live, id) == 0)
        return false;
    struct buf out = BUF_INIT(4096);
    buf_adds(&out, "{\"merged_into\":");
    json_print_string(&out, live, strlen(live));
    buf_addc(&out, '}');
    api_location(req, d, live);
    http_respond_buf(req, 308, API_JSON, &out);
    return true;
}

/* ---- the answer: the golden record as it is now ---- */

static const char *direct_outcome(const struct canon_arrival *a)
{
    if (a->outcome == CANON_NOOP)
        return "unchanged";
    return a->version == 1 ? "created" : "updated";
}

/* As any other record refuses it: what is invalid is invalid, whether or not it was stored as an
 * arrival that failed. */
static void direct_refused(struct canon_post *p)
{
    struct err e = p->one.err;
    if (e.code == 0)
        e.code = ERR_REJECTED;
    canon_answer_failed(p->req, &p->one, &e);
}

/* The golden record behind the change: as the unit has shown it, else as it is. */
static bool direct_record(const struct canon_post *p, struct buf *out, uint64_t *version)
{
    const struct canon_arrival *a = &p->one;
    struct db *db = api_thread_of(p->req)->db;
    if (a->golden_id[0] == '\0')
        return false;
    if (a->record == NULL)
        return entity_get(db, p->def, API_TENANT, a->golden_id, out, version, NULL) == 0;
    AUTO(json_unref) json_t *record = json_read(a->record, strlen(a->record), NULL);
    *version = (uint64_t)json_integer_value(json_object_get(record, "version"));
    buf_adds(out, a->record);
    return record != NULL;
}

static void direct_answer(struct canon_post *p)
{
    const struct canon_arrival *a = &p->one;
    struct http_request *req = p->req;
    struct buf out = BUF_INIT(API_RECORD_MAX);
    uint64_t version;
    if (a->outcome == CANON_FAILED) {
        direct_refused(p);
        return;
    }
    if (a->outcome == CANON_PARKED || !api_may(req, p->def, ACCESS_READ) ||
        !direct_record(p, &out, &version)) {
        buf_fini(&out);
        canon_answer_one(req, a);
        return;
    }
    if (a->seq > 0)
        http_header_uint(req, "X-Koan-Seq", a->seq);
    bool created = a->outcome == CANON_CANONIZED && a->version == 1;
    http_header(req, "X-Koan-Outcome", direct_outcome(a));
    api_etag(req, version);
    if (created)
        api_location(req, p->def, a->golden_id);
    http_respond_buf(req, created ? 201 : 200, API_JSON, &out);
}

static bool direct_replayed(struct http_request *req, const struct entity_def *d,
                            void (*answer)(struct canon_post *p))
{
    AUTO(api_model_unrefp)
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    return m != NULL && canon_replayed(req, m, d, answer);
}

/* ---- POST, PUT ---- */

/* The request of the engine, for one record that is there or not; NULL when that was refused. Takes
 * the definition and `id`. */
static struct canon_post *direct_post(struct http_request *req, struct entity_def *def, json_t *id,
                                      const struct api_conditions *c,
                                      void (*answer)(struct canon_post *p))
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    struct api_thread *t = api_thread_of(req);
    struct canon_model *m = api_model_of(t->api, d);
    if (m == NULL) { /* redeployed without the model in between */
        http_refuse(req, ERR_CONFLICT, "'%s' is not made by canon any more; try again", d->name);
        json_decref(id);
        return NULL;
    }
    struct canon_post *p = canon_post_new(req, m, NULL, 1, answer);
    p->def = TAKE(d);
    p->texts = id;
    p->one.origin = CANON_DIRECT;
    p->one.source_id = json_string_value(id);
    p->one.if_version = c->version;
    p->one.if_exists = c->any;
    p->one.if_absent = c->none;
    return p;
}

void api_direct_document(json_t *doc)
{
    for (size_t i = 0; i < ARRAY_LEN(direct_system); i++)
        json_object_del(doc, direct_system[i]);
}

json_t *api_direct_id(struct api_thread *t, const char *id, const json_t *doc)
{
    const json_t *inside = json_object_get(doc, "id");
    if (id != NULL)
        return json_string(id);
    if (json_is_string(inside))
        return json_stringn(json_string_value(inside), json_string_length(inside));
    if (inside != NULL && !json_is_null(inside))
        return json_string(""); /* refused as an id */
    struct uuid u;
    char text[UUID_TEXT];
    t->ids.make(&t->ids, &u);
    uuid_format(&u, text);
    return json_string(text);
}

void api_direct_save(struct http_request *req, struct entity_def *def, const char *id, json_t *doc,
                     const struct api_conditions *c)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    AUTO(json_unref) json_t *own = doc;
    if (direct_replayed(req, d, direct_answer))
        return;
    AUTO(json_unref) json_t *name = api_direct_id(api_thread_of(req), id, doc);
    struct err e = ERR_INIT;
    if (str_check_id(json_string_value(name), json_string_length(name), &e) != 0) {
        http_problem(req, &e);
        return;
    }
    if (api_redirect_merged(req, d, json_string_value(name)))
        return;
    struct canon_post *p = direct_post(req, TAKE(d), TAKE(name), c, direct_answer);
    if (p == NULL)
        return;
    api_direct_document(own);
    p->one.data = TAKE(own);
    canon_post_start(p, CANON_POST_ARRIVE);
}

/* ---- PATCH ---- */

void api_direct_patch(struct http_request *req, struct entity_def *def, enum entity_patch_kind kind,
                      const struct api_conditions *c)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    const char *id = http_param(req, "id");
    AUTO(json_unref) json_t *patch = api_body(req);
    if (patch == NULL)
        return;
    struct err e = ERR_INIT;
    if (direct_replayed(req, d, direct_answer))
        return;
    if (patch_check(kind, patch, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    if (api_redirect_merged(req, d, id))
        return;
    struct canon_post *p = direct_post(req, TAKE(d), json_string(id), c, direct_answer);
    if (p == NULL)
        return;
    p->one.data = TAKE(patch);
    p->one.change = kind == ENTITY_PATCH_JSON ? CANON_JSON_PATCH : CANON_MERGE_PATCH;
    canon_post_start(p, CANON_POST_ARRIVE);
}

/* ---- DELETE ---- */

int api_direct_unsaid(const struct entity_def *d, const char *id, struct err *e)
{
    return err_set(e, ERR_CONFLICT,
                   "golden record '%s' is what its sources say, and nothing was said directly; "
                   "withdraw a source with DELETE /api/canon/%s/sources/{origin}/{id} "
                   "(GET /api/canon/%s/%s/why lists them)",
                   id, d->path, d->path, id);
}

static void direct_remove_answer(struct canon_post *p)
{
    struct canon_arrival *a = &p->one;
    if (a->outcome == CANON_FAILED && a->err.code == ERR_NOT_FOUND) {
        struct err e = ERR_INIT;
        api_direct_unsaid(p->def, a->source_id, &e);
        http_problem(p->req, &e);
        return;
    }
    if (a->outcome == CANON_FAILED) {
        direct_refused(p);
        return;
    }
    if (a->seq > 0)
        http_header_uint(p->req, "X-Koan-Seq", a->seq);
    http_header(p->req, "X-Koan-Outcome", "withdrawn");
    http_respond(p->req, 204, NULL, NULL, 0);
}

void api_direct_remove(struct http_request *req, struct entity_def *def,
                       const struct api_conditions *c)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    struct api_thread *t = api_thread_of(req);
    const char *id = http_param(req, "id");
    char live[ENTITY_ID_MAX + 1];
    struct err e = ERR_INIT;
    if (direct_replayed(req, d, direct_remove_answer))
        return;
    if (canon_survivor(t->db, d->name, API_TENANT, id, live, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    if (api_redirect_merged(req, d, id))
        return;
    struct canon_post *p = direct_post(req, TAKE(d), json_string(id), c, direct_remove_answer);
    if (p != NULL)
        canon_post_start(p, CANON_POST_WITHDRAW);
}
