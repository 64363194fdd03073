/* A golden record changed directly.
 *
 * Nobody writes a golden record: what a caller wants of it is one more statement, of origin
 * "direct" and with the record's id as its source id. A patch is worked out inside the arrival: it
 * is applied to the golden record as it is, and the fields that it names are then stated with what
 * came out, beside what was stated directly before; a field that it removes is no longer stated.
 * The unit holds only while both are still what the patch was applied to; otherwise it is applied
 * again. So of two patches at the same time that name different fields, both survive. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "entity/entity.h"

/* ---- what a patch names ---- */

/* The first name of a pointer, unescaped; an object's key in `names`. "" is the whole document. */
static void note_pointer(json_t *names, const json_t *pointer)
{
    const char *p = json_string_value(pointer);
    if (p == NULL || *p != '/')
        return;
    AUTO(mem_freep) char *name = mem_strdup(p + 1);
    size_t n = 0;
    for (p++; *p != '\0' && *p != '/'; p++) {
        bool escaped = *p == '~' && (p[1] == '0' || p[1] == '1');
        name[n++] = escaped ? (p[1] == '0' ? '~' : '/') : *p;
        p += escaped;
    }
    name[n] = '\0';
    json_object_set_new(names, name, json_true());
}

static void note_names(json_t *names, const json_t *object)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
    {
        json_object_set_new(names, key, json_true());
    }
}

static bool is_whole(const json_t *pointer)
{
    return json_is_string(pointer) && json_string_length(pointer) == 0;
}

/* The fields that the patch speaks of, as an object's keys. */
static json_t *names_of(enum canon_change change, const json_t *patch, const json_t *before,
                        const json_t *after)
{
    json_t *names = json_object();
    if (change == CANON_MERGE_PATCH) {
        note_names(names, patch);
        return names;
    }
    for (size_t i = 0; i < json_array_size(patch); i++) {
        const json_t *op = json_array_get(patch, i);
        const char *what = json_string_value(json_object_get(op, "op"));
        if (what == NULL || strcmp(what, "test") == 0)
            continue;
        const json_t *path = json_object_get(op, "path");
        if (is_whole(path)) {
            note_names(names, before);
            note_names(names, after);
        }
        note_pointer(names, path);
        if (strcmp(what, "move") == 0)
            note_pointer(names, json_object_get(op, "from"));
    }
    return names;
}

/* ---- applying it ---- */

/* To a JSON-patch every declared field is there, as on other records. */
static json_t *golden_document(const struct canon_job *j, const json_t *values)
{
    json_t *doc = json_deep_copy(values);
    const struct entity_def *d = j->working->def;
    for (size_t i = 0; i < d->fields_count && j->arrival->change == CANON_JSON_PATCH; i++)
        if (json_object_get(doc, d->fields[i].name) == NULL)
            json_object_set_new(doc, d->fields[i].name, json_null());
    return doc;
}

static int check_names(const struct canon_job *j, const json_t *names, struct err *e)
{
    const char *name;
    json_t *yes;
    json_object_foreach((json_t *)names, name, yes)
    {
        if (entity_is_system_field(name))
            return err_field(e, ERR_INVALID, name,
                             "'%s' of %s is kept by Koan itself and is not patched", name,
                             j->working->def->name);
    }
    return 0;
}

static int patched(const struct canon_job *j, const json_t *values, json_t **out, struct err *e)
{
    bool merge = j->arrival->change == CANON_MERGE_PATCH;
    int rc = patch_check(merge ? ENTITY_PATCH_MERGE : ENTITY_PATCH_JSON, j->patch, e);
    AUTO(json_unref) json_t *names = names_of(j->arrival->change, j->patch, NULL, NULL);
    if (rc == 0)
        rc = check_names(j, names, e);
    if (rc != 0)
        return rc;
    *out = golden_document(j, values);
    rc = merge ? patch_merge(out, j->patch, e) : patch_json(out, j->patch, e);
    if (rc == 0 && !json_is_object(*out))
        rc = err_set(e, ERR_INVALID, "the patch makes %s of the record, not an object",
                     json_type_name(*out));
    return rc;
}

static void state_named(const json_t *names, const json_t *after, json_t *statement)
{
    const char *name;
    json_t *yes;
    json_object_foreach((json_t *)names, name, yes)
    {
        json_t *v = json_object_get(after, name);
        if (v == NULL || json_is_null(v))
            json_object_del(statement, name);
        else
            json_object_set(statement, name, v);
    }
}

static int statement_make(struct canon_job *j, const json_t *values, const json_t *stated,
                          json_t **out, struct err *e)
{
    AUTO(json_unref) json_t *after = NULL;
    int rc = patched(j, values, &after, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *names = names_of(j->arrival->change, j->patch, values, after);
    rc = check_names(j, names, e); /* of a document that was replaced whole */
    if (rc != 0)
        return rc;
    *out = json_copy((json_t *)stated);
    state_named(names, after, *out);
    return 0;
}

/* Source record and golden record of the patch, as they are now. */
static int base_of(struct canon_job *j, struct work_source **s, struct work_golden **g,
                   struct err *e)
{
    int rc = working_golden(j->working, j->source_id, g, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "there is no %s '%.64s'", j->working->def->name,
                       j->source_id);
    return rc != 0 ? rc : working_source(j->working, CANON_DIRECT, j->source_id, s, e);
}

int job_direct(struct canon_job *j, struct err *e)
{
    struct work_source *s;
    struct work_golden *g;
    const json_t *values;
    if (j->patch == NULL)
        j->patch = TAKE(j->arrival->data);
    json_decref(j->data);
    json_decref(j->keys);
    j->data = j->keys = NULL;
    err_clear(&j->arrival->err);
    int rc = base_of(j, &s, &g, e);
    if (rc == 0)
        rc = working_values(j->working, g, &values, e);
    if (rc != 0)
        return rc;
    j->base_source = s->row.rev;
    j->base_golden = g->rev;
    json_decref(j->arrival->data);
    j->arrival->data = NULL;
    return statement_make(j, values, s->row.fields, &j->arrival->data, e);
}

bool job_direct_is_old(struct canon_job *j)
{
    struct err e = ERR_INIT;
    struct work_source *s;
    struct work_golden *g;
    return base_of(j, &s, &g, &e) != 0 || s->row.rev != j->base_source || g->rev != j->base_golden;
}

/* ---- on condition ---- */

void job_compose_preconditions(struct canon_job *j, struct txn *t)
{
    const struct canon_arrival *a = j->arrival;
    const struct entity_def *d = j->working->def;
    j->precondition_at = t->ops;
    if (a->if_version > 0)
        entity_txn_if_version(t, d, job_source_id(j), a->if_version);
    if (a->if_exists)
        entity_txn_if_exists(t, d, job_source_id(j));
    if (a->if_absent)
        entity_txn_if_absent(t, d, job_source_id(j));
    j->precondition_end = t->ops;
}

bool job_has_precondition(const struct canon_job *j)
{
    const struct canon_arrival *a = j->arrival;
    return a->if_version > 0 || a->if_exists || a->if_absent;
}

bool job_failed_precondition(const struct canon_job *j, int failed)
{
    return failed >= (int)j->precondition_at && failed < (int)j->precondition_end;
}
