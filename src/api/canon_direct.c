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

static void direct_answer(struct canon_post *p)
{
    const struct canon_arrival *a = &p->one;
    struct http_request *req = p->req;
    struct buf out = BUF_INIT(API_RECORD_MAX);
    uint64_t version;
    struct err e = ERR_INIT;
    bool took = a->outcome == CANON_CANONIZED || a->outcome == CANON_NOOP;
    if (!took || a->golden_id[0] == '\0' ||
        entity_get(api_thread_of(req)->db, p->def, API_TENANT, a->golden_id, &out, &version, &e) !=
            0) {
        buf_fini(&out);
        canon_answer_one(req, a);
        return;
    }
    if (a->seq > 0)
        http_headerf(req, "X-Koan-Seq", "%llu", (unsigned long long)a->seq);
    http_header(req, "X-Koan-Outcome", a->outcome == CANON_NOOP ? "noop" : "canonized");
    api_etag(req, version);
    bool created = a->outcome == CANON_CANONIZED && a->version == 1;
    if (created)
        api_location(req, p->def, a->golden_id);
    http_respond_buf(req, created ? 201 : 200, API_JSON, &out);
}

/* ---- POST, PUT ---- */

static void direct_arrive(struct http_request *req, struct entity_def *d, json_t *id, json_t *doc)
{
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    if (m == NULL) { /* redeployed without the model in between */
        http_refuse(req, ERR_CONFLICT, "'%s' is not made by canon any more; try again", d->name);
        json_decref(id);
        json_decref(doc);
        entity_def_unref(d);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(direct_system); i++)
        json_object_del(doc, direct_system[i]);
    struct canon_post *p = canon_post_new(req, m, NULL, 1, direct_answer);
    p->def = d;
    p->texts = id;
    p->one.origin = CANON_DIRECT;
    p->one.source_id = json_string_value(id);
    p->one.data = doc;
    canon_post_start(p, CANON_POST_ARRIVE);
}

void api_direct_save(struct http_request *req, struct entity_def *d, const char *id, json_t *doc)
{
    struct api_thread *t = api_thread_of(req);
    const json_t *inside = json_object_get(doc, "id");
    json_t *name = NULL;
    if (id != NULL) {
        name = json_string(id);
    } else if (json_is_string(inside)) {
        name = json_stringn(json_string_value(inside), json_string_length(inside));
    } else if (inside != NULL && !json_is_null(inside)) {
        name = json_string(""); /* refused below */
    } else {
        struct uuid u;
        char text[UUID_TEXT];
        t->ids.make(&t->ids, &u);
        uuid_format(&u, text);
        name = json_string(text);
    }
    struct err e = ERR_INIT;
    int rc = str_check_id(json_string_value(name), json_string_length(name), &e);
    if (rc != 0)
        http_problem(req, &e);
    if (rc != 0 || api_redirect_merged(req, d, json_string_value(name))) {
        json_decref(name);
        json_decref(doc);
        entity_def_unref(d);
        return;
    }
    direct_arrive(req, d, name, doc);
}

/* ---- PATCH ---- */

/* What the direct statement becomes; NULL when that was refused. */
static json_t *direct_patched(struct http_request *req, const struct entity_def *d, const char *id,
                              json_t *patch)
{
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    json_t *doc = NULL;
    char live[ENTITY_ID_MAX + 1];
    int rc = canon_survivor(t->db, d->name, API_TENANT, id, live, &e);
    if (rc == 0) {
        rc = canon_stated(t->db, d->name, API_TENANT, CANON_DIRECT, id, &doc, &e);
        if (rc == ERR_NOT_FOUND) {
            doc = json_object();
            rc = 0;
        }
    }
    if (rc == 0)
        rc = patch_merge(&doc, patch, &e);
    if (rc == 0)
        return doc;
    json_decref(doc);
    http_problem(req, &e);
    return NULL;
}

void api_direct_patch(struct http_request *req, struct entity_def *def)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    const char *id = http_param(req, "id");
    if (api_media(req) == API_MEDIA_JSON_PATCH) {
        http_refuse(req, ERR_UNSUPPORTED,
                    "'%s' is made by canon: a patch of it is a merge-patch of what was stated "
                    "directly; send application/merge-patch+json",
                    d->name);
        return;
    }
    AUTO(json_unref) json_t *patch = api_body(req);
    if (patch == NULL)
        return;
    if (!json_is_object(patch)) {
        http_refuse(req, ERR_INVALID, "the body is %s, not an object", json_type_name(patch));
        return;
    }
    if (api_redirect_merged(req, d, id))
        return;
    for (size_t i = 0; i < ARRAY_LEN(direct_system); i++)
        if (json_object_get(patch, direct_system[i]) != NULL) {
            struct err e = ERR_INIT;
            err_field(&e, ERR_INVALID, direct_system[i], "'%s' is kept by Koan and not patched",
                      direct_system[i]);
            http_problem(req, &e);
            return;
        }
    json_t *doc = direct_patched(req, d, id, patch);
    if (doc != NULL)
        direct_arrive(req, TAKE(d), json_string(id), doc);
}

/* ---- DELETE ---- */

static void direct_remove_answer(struct canon_post *p)
{
    struct canon_arrival *a = &p->one;
    if (a->outcome == CANON_FAILED && a->err.code == ERR_NOT_FOUND) {
        http_refuse(p->req, ERR_CONFLICT,
                    "golden record '%s' is what its sources say, and nothing was said directly; "
                    "withdraw a source with DELETE /api/canon/%s/sources/{origin}/{id} "
                    "(GET /api/canon/%s/%s/why lists them)",
                    a->source_id, p->def->path, p->def->path, a->source_id);
        return;
    }
    if (a->outcome == CANON_FAILED) {
        canon_answer_one(p->req, a);
        return;
    }
    if (a->seq > 0)
        http_headerf(p->req, "X-Koan-Seq", "%llu", (unsigned long long)a->seq);
    http_header(p->req, "X-Koan-Outcome", "withdrawn");
    http_respond(p->req, 204, NULL, NULL, 0);
}

void api_direct_remove(struct http_request *req, struct entity_def *def)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    struct api_thread *t = api_thread_of(req);
    const char *id = http_param(req, "id");
    char live[ENTITY_ID_MAX + 1];
    struct err e = ERR_INIT;
    if (canon_survivor(t->db, d->name, API_TENANT, id, live, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    if (api_redirect_merged(req, d, id))
        return;
    struct canon_model *m = api_model_of(t->api, d);
    if (m == NULL) {
        http_refuse(req, ERR_CONFLICT, "'%s' is not made by canon any more; try again", d->name);
        return;
    }
    struct canon_post *p = canon_post_new(req, m, NULL, 1, direct_remove_answer);
    p->def = TAKE(d);
    p->one.origin = CANON_DIRECT;
    p->one.source_id = id;
    canon_post_start(p, CANON_POST_WITHDRAW);
}
