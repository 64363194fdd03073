/* What a patch makes of a record, and whether two records differ. Pure. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity_priv.h"

/* The first name of a pointer, when it is a system field. */
static bool points_at_system(const json_t *pointer, char name[ENTITY_NAME_MAX + 1])
{
    const char *s = json_string_value(pointer);
    if (s == NULL || *s != '/')
        return false;
    size_t n = strcspn(s + 1, "/");
    if (n > ENTITY_NAME_MAX)
        return false;
    memcpy(name, s + 1, n);
    name[n] = '\0';
    return entity_is_system_field(name);
}

int change_check_patch(const struct entity_def *d, enum entity_patch_kind kind, const json_t *patch,
                       struct err *e)
{
    int rc = patch_check(kind, patch, e);
    if (rc < 0)
        return rc;
    size_t i;
    const char *key;
    json_t *v;
    json_array_foreach(patch, i, v)
    {
        char name[ENTITY_NAME_MAX + 1];
        if (points_at_system(json_object_get(v, "path"), name) ||
            points_at_system(json_object_get(v, "from"), name))
            return err_field(e, ERR_INVALID, name,
                             "operation %zu: '%s' of %s is kept by Koan itself and is not patched",
                             i + 1, name, d->name);
    }
    json_object_foreach((json_t *)patch, key, v)
    {
        if (entity_is_system_field(key))
            return err_field(e, ERR_INVALID, key,
                             "'%s' of %s is kept by Koan itself and is not patched", key, d->name);
    }
    return 0;
}

/* A row older than a required field gets the field's default when it is changed. To a JSON-patch
 * every declared field is there, absent ones as null: so `test`, `replace` and `remove` can name
 * them. */
static void complete(const struct entity_def *d, json_t *doc, enum entity_patch_kind kind)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = &d->fields[i];
        if (json_object_get(doc, f->name) != NULL)
            continue;
        if (f->required && f->default_json != NULL)
            json_object_set_new(doc, f->name,
                                json_read(f->default_json, strlen(f->default_json), NULL));
        else if (kind == ENTITY_PATCH_JSON)
            json_object_set_new(doc, f->name, json_null());
    }
}

int change_patch(const struct entity_def *d, json_t *prior, enum entity_patch_kind kind,
                 const json_t *patch, struct entity_doc *out, json_t **errors, struct err *e)
{
    AUTO(json_unref) json_t *doc = prior;
    complete(d, doc, kind);
    int rc = kind == ENTITY_PATCH_JSON ? patch_json(&doc, patch, e) : patch_merge(&doc, patch, e);
    return rc < 0 ? rc : entity_doc_make(d, doc, ENTITY_DOC_NO_DEFAULTS, out, errors, e);
}

bool change_is_none(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    if (memcmp(a, b, a_len) == 0)
        return true;
    AUTO(json_unref) json_t *x = json_read(a, a_len, NULL);
    AUTO(json_unref) json_t *y = json_read(b, b_len, NULL);
    return x != NULL && y != NULL && json_compare(x, y) == 0;
}
