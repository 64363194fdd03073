/* GET /openapi.json: what this node serves, from what its scripts declare.
 *
 * schema/openapi/ has what is the same everywhere: base.json (node, errors, headers), canon.json,
 * coord.json, topics.json,
 * and entity.json, the paths of one entity with {Name} and {path} to be filled in. Fields become
 * schemas in openapi_fields.c, routes of scripts
 * become paths in openapi_routes.c. A document of many entities is large, so it is made on the
 * pool. */
#include <string.h>

#include "api/api_priv.h"
#include "api/openapi_priv.h"
#include "base/arena.h"
#include "base/embed.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/canon.h"

enum { OPENAPI_TEMPLATE_MAX = 1 << 20 };

struct openapi_job {
    struct api_job job;
    struct buf out;
};

/* An embedded file; it is ours, so it is right. */
static json_t *openapi_file(const char *path, const struct entity_def *d)
{
    const struct embed_file *f = embed_find(path);
    ASSERT(f != NULL);
    AUTO(buf_fini) struct buf text = BUF_INIT(OPENAPI_TEMPLATE_MAX);
    for (const char *p = (const char *)f->data; *p != '\0'; p++) {
        if (d != NULL && str_starts(p, "{Name}")) {
            buf_adds(&text, d->name);
            p += strlen("{Name}") - 1;
        } else if (d != NULL && str_starts(p, "{path}")) {
            buf_adds(&text, d->path);
            p += strlen("{path}") - 1;
        } else {
            buf_addc(&text, *p);
        }
    }
    struct err e = ERR_INIT;
    json_t *v = json_read(buf_str(&text), text.len, &e);
    if (v == NULL)
        PANIC("%s: %s", path, e.text);
    return v;
}

static json_t *openapi_member(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    ASSERT(v != NULL);
    return v;
}

/* ---- one entity ---- */

static void openapi_drop_path(json_t *paths, const struct entity_def *d, const char *rest)
{
    char key[3 * ENTITY_NAME_MAX];
    snprintf(key, sizeof key, "/api/%s%s", d->path, rest);
    int rc = json_object_del(paths, key);
    ASSERT(rc == 0);
}

/* Something that its list cannot be asked: q without searched fields ... */
static void openapi_drop_question(json_t *part, const struct entity_def *d, const char *name)
{
    char key[3 * ENTITY_NAME_MAX];
    snprintf(key, sizeof key, "/api/%s", d->path);
    json_t *list = openapi_member(openapi_member(openapi_member(part, "paths"), key), "get");
    json_t *parameters = openapi_member(list, "parameters"), *item;
    size_t i;
    json_array_foreach(parameters, i, item)
    {
        const char *ref = json_string_value(json_object_get(item, "$ref"));
        if (ref != NULL && strcmp(strrchr(ref, '/') + 1, name) == 0) {
            json_array_remove(parameters, i);
            break;
        }
    }
    snprintf(key, sizeof key, "%s.Query", d->name);
    json_t *query = openapi_member(openapi_member(part, "schemas"), key);
    json_object_del(openapi_member(query, "properties"), name);
}

static enum entity_access_verb openapi_verb(const char *path, const char *method)
{
    if (strcmp(method, "get") == 0 || str_ends(path, "/query"))
        return ACCESS_READ;
    return strcmp(method, "delete") == 0 || str_ends(path, "/purge") ? ACCESS_REMOVE : ACCESS_WRITE;
}

/* What anybody may do says so. */
static void openapi_access(json_t *paths, const struct entity_def *d)
{
    const char *path, *method;
    json_t *item, *op;
    json_object_foreach(paths, path, item)
    {
        if (!api_may_be_public(path))
            continue;
        json_object_foreach(item, method, op)
        {
            if (json_is_object(op) && d->access[openapi_verb(path, method)] == ACCESS_PUBLIC)
                json_object_set_new(op, "security", json_pack("[{}, {s:[]}]", "token"));
        }
    }
}

static void openapi_add_tag(json_t *doc, const char *name, json_t *description)
{
    json_t *tags = openapi_member(doc, "tags"), *tag;
    size_t i;
    json_array_foreach(tags, i, tag)
    {
        if (strcmp(json_string_value(json_object_get(tag, "name")), name) == 0) {
            json_decref(description);
            return;
        }
    }
    json_array_append_new(tags, json_pack("{s:s, s:o}", "name", name, "description", description));
}

static void openapi_add_entity(json_t *doc, const struct entity_def *d)
{
    AUTO(json_unref) json_t *part = openapi_file("schema/openapi/entity.json", d);
    json_t *paths = openapi_member(part, "paths"), *schemas = openapi_member(part, "schemas");
    if (!d->has_search)
        openapi_drop_question(part, d, "q");
    if (d->soft_remove_ms == 0) {
        openapi_drop_question(part, d, "removed");
        openapi_drop_path(paths, d, "/{id}/restore");
        openapi_drop_path(paths, d, "/{id}/purge");
    }
    if (d->history_ms == 0) {
        openapi_drop_path(paths, d, "/{id}/history");
        openapi_drop_path(paths, d, "/{id}/history/{version}");
    }
    if (d->no_feed)
        openapi_drop_path(paths, d, "/changes");
    openapi_access(paths, d);
    openapi_add_schemas(schemas, d);
    json_object_update(openapi_member(doc, "paths"), paths);
    json_object_update(openapi_member(openapi_member(doc, "components"), "schemas"), schemas);
    openapi_add_tag(doc, d->name, json_sprintf("Records of %s.", d->name));
}

/* ---- the whole ---- */

static void openapi_codes(json_t *components)
{
    json_t *problem = openapi_member(openapi_member(components, "schemas"), "koan.Problem");
    json_t *codes =
        openapi_member(openapi_member(openapi_member(problem, "properties"), "code"), "enum");
    for (int code = ERR_INVALID; code > ERR_NOMEM; code--) {
        const char *name = err_info(code)->name;
        if (err_by_name(name) == code) /* two codes may share a name */
            json_array_append_new(codes, json_string(name));
    }
}

static void openapi_add_canon(json_t *doc, struct canon *canon)
{
    json_t *names = canon_names(canon);
    if (json_array_size(names) == 0) {
        json_decref(names);
        return;
    }
    AUTO(json_unref) json_t *part = openapi_file("schema/openapi/canon.json", NULL);
    json_t *components = openapi_member(doc, "components");
    json_t *model = openapi_member(openapi_member(components, "parameters"), "model");
    json_object_set_new(openapi_member(model, "schema"), "enum", names);
    json_object_update(openapi_member(doc, "paths"), openapi_member(part, "paths"));
    json_object_update(openapi_member(components, "schemas"), openapi_member(part, "schemas"));
    openapi_add_tag(doc, "Canon", json_string("Arrivals and golden records."));
}

/* What stands in a file as it is. */
static void openapi_add_file(json_t *doc, const char *file)
{
    AUTO(json_unref) json_t *part = openapi_file(file, NULL);
    json_t *schemas = openapi_member(openapi_member(doc, "components"), "schemas");
    json_object_update(openapi_member(doc, "paths"), openapi_member(part, "paths"));
    json_object_update(schemas, openapi_member(part, "schemas"));
}

static void openapi_add_coord(json_t *doc)
{
    openapi_add_file(doc, "schema/openapi/coord.json");
    openapi_add_tag(doc, "Coordination", json_string("Leases, values, counters, limits."));
    openapi_add_tag(doc, "Inbox", json_string("Whether a message was worked already."));
}

static void openapi_add_queues(json_t *doc)
{
    openapi_add_file(doc, "schema/openapi/queues.json");
    openapi_add_tag(doc, "Queues", json_string("Messages and jobs that wait to be worked."));
    openapi_add_file(doc, "schema/openapi/jobs.json");
    openapi_add_file(doc, "schema/openapi/schedules.json");
    openapi_add_tag(doc, "Jobs", json_string("Named handlers: runs submitted, worked, looked at."));
}

static void openapi_add_topics(json_t *doc)
{
    openapi_add_file(doc, "schema/openapi/topics.json");
    openapi_add_tag(doc, "Topics", json_string("Messages published to whoever listens."));
}

static json_t *openapi_make(struct api *a)
{
    json_t *doc = openapi_file("schema/openapi/base.json", NULL);
    json_object_set_new(openapi_member(doc, "info"), "version", json_string(KOAN_VERSION));
    if (!a->o.token_required)
        json_object_set_new(doc, "security", json_pack("[{}, {s:[]}]", "token"));
    openapi_codes(openapi_member(doc, "components"));
    size_t count;
    struct entity_def **defs = entities_list(a->o.entities, &count);
    for (size_t i = 0; i < count; i++) {
        openapi_add_entity(doc, defs[i]);
        entity_def_unref(defs[i]);
    }
    mem_free(defs);
    if (a->o.canon != NULL)
        openapi_add_canon(doc, a->o.canon);
    if (a->o.coord != NULL)
        openapi_add_coord(doc);
    if (a->o.queues != NULL)
        openapi_add_queues(doc);
    if (a->o.bus != NULL)
        openapi_add_topics(doc);
    AUTO(json_unref) json_t *scripts = a->o.scripts != NULL ? a->o.scripts(a->o.scripts_arg) : NULL;
    const json_t *routes = json_object_get(scripts, "routes");
    if (json_array_size(routes) > 0) {
        openapi_add_routes(openapi_member(doc, "paths"), routes);
        openapi_add_tag(doc, "Routes", json_string("What scripts answer."));
    }
    return doc;
}

static void openapi_run(struct api_job *j, struct db *db)
{
    (void)db;
    struct openapi_job *o = (struct openapi_job *)j;
    AUTO(json_unref) json_t *doc = openapi_make(j->api);
    json_print(doc, &o->out, &j->err);
}

static void openapi_done(struct api_job *j)
{
    struct openapi_job *o = (struct openapi_job *)j;
    struct buf out = o->out; /* the struct goes with the request */
    struct err e = j->err;
    if (e.code != 0)
        http_problem(j->req, &e);
    else
        http_respond_buf(j->req, 200, API_JSON, &out);
    buf_fini(&out);
}

static void openapi_get(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    struct openapi_job *o = arena_new(http_arena(req), sizeof *o);
    buf_init(&o->out, API_ANSWER_MAX);
    o->job.run = openapi_run;
    o->job.done = openapi_done;
    api_job_start(&o->job, req);
}

static const struct http_route openapi_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/openapi.json", .handler = openapi_get},
};
const struct api_routes api_openapi_routes = {openapi_table, ARRAY_LEN(openapi_table)};
