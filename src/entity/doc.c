#include "entity/doc.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"

void entity_doc_init(struct entity_doc *d)
{
    buf_init(&d->body, ENTITY_RECORD_BYTES_MAX);
    buf_init(&d->keys, ENTITY_RECORD_BYTES_MAX);
}

void entity_doc_fini(struct entity_doc *d)
{
    buf_fini(&d->body);
    buf_fini(&d->keys);
}

/* Collects the faults of one record. */
struct faults {
    const struct entity_def *def;
    json_t *list; /* NULL while there is none */
    size_t count;
    struct err first, last;
};

static void faults_add(struct faults *fs, const char *field, const char *detail)
{
    if (fs->count++ == 0)
        err_field(&fs->first, ERR_INVALID, field, "field '%.64s' %s", field, detail);
    if (fs->count > ENTITY_ERRORS_MAX)
        return;
    if (fs->list == NULL)
        fs->list = json_array();
    json_array_append_new(
        fs->list, json_pack("{s:s,s:s,s:s}", "field", field, "code", "invalid", "detail", detail));
}

static void check_unknown(struct faults *fs, const json_t *in, int flags)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)in, key, v)
    {
        /* Looking for the nearest name is dear; a body of nothing but unknown names ends here. */
        if (fs->count > ENTITY_ERRORS_MAX)
            return;
        if (entity_def_field(fs->def, key) != NULL)
            continue;
        if (entity_is_system_field(key)) {
            if (!(flags & ENTITY_DOC_SYSTEM))
                faults_add(fs, key, "is kept by Koan itself and cannot be set");
            continue;
        }
        const char *names[ENTITY_FIELDS_MAX];
        for (size_t i = 0; i < fs->def->fields_count; i++)
            names[i] = fs->def->fields[i].name;
        const char *near = str_nearest(key, names, fs->def->fields_count);
        char detail[160] = "is not declared";
        if (near != NULL)
            snprintf(detail, sizeof(detail), "is not declared; did you mean '%s'?", near);
        faults_add(fs, key, detail);
    }
}

static json_t *default_value(const struct entity_field *f)
{
    return f->default_json != NULL ? json_read(f->default_json, strlen(f->default_json), NULL)
                                   : NULL;
}

static void check_field(struct faults *fs, const struct entity_field *f, const json_t *in,
                        int flags, json_t *out)
{
    const json_t *v = json_object_get(in, f->name);
    if (v == NULL || json_is_null(v)) {
        /* A null that is said out loud means null, not the default. */
        json_t *d = v == NULL && !(flags & ENTITY_DOC_NO_DEFAULTS) ? default_value(f) : NULL;
        if (d != NULL)
            json_object_set_new_nocheck(out, f->name, d);
        else if (f->required && !((flags & ENTITY_DOC_STORED) && f->default_json != NULL))
            faults_add(fs, f->name, "is required");
        return;
    }
    json_t *checked = entity_value_check(f, v, &fs->last);
    if (checked == NULL)
        faults_add(fs, f->name, fs->last.text);
    else
        json_object_set_new_nocheck(out, f->name, checked);
}

json_t *entity_doc_check(const struct entity_def *d, const json_t *in, int flags, json_t **errors,
                         struct err *e)
{
    if (errors != NULL)
        *errors = NULL;
    if (!json_is_object(in)) {
        err_set(e, ERR_INVALID, "a record of %s is an object, got %s", d->name, json_type_name(in));
        return NULL;
    }
    struct faults fs = {.def = d};
    AUTO(json_unref) json_t *out = json_object();
    check_unknown(&fs, in, flags);
    for (size_t i = 0; i < d->fields_count; i++)
        check_field(&fs, &d->fields[i], in, flags, out);
    if (fs.count == 0)
        return TAKE(out);
    if (e != NULL)
        *e = fs.first;
    if (fs.count > 1 && e != NULL)
        snprintf(e->text + strlen(e->text), sizeof(e->text) - strlen(e->text),
                 " (and %zu more, see errors)", fs.count - 1);
    if (errors != NULL)
        *errors = TAKE(fs.list);
    json_decref(fs.list);
    return NULL;
}

bool entity_doc_lacks_nothing(const struct entity_def *d, const json_t *normal)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = &d->fields[i];
        if ((f->required || f->default_json != NULL) && json_object_get(normal, f->name) == NULL)
            return false;
    }
    return true;
}

static int print_keys(const struct entity_def *d, const json_t *checked, struct buf *out,
                      struct err *e)
{
    AUTO(json_unref) json_t *keys = json_object();
    for (size_t i = 0; i < d->fields_count; i++) {
        const json_t *v = json_object_get(checked, d->fields[i].name);
        json_t *k = v != NULL ? entity_value_keys(&d->fields[i], v) : NULL;
        if (k != NULL)
            json_object_set_new(keys, d->fields[i].name, k);
    }
    return json_object_size(keys) > 0 ? json_print(keys, out, e) : 0;
}

/* What goes with the text, which stands in `out`. */
static int doc_finish(const struct entity_def *d, const json_t *checked, struct entity_doc *out,
                      struct err *e)
{
    buf_reset(&out->keys);
    int rc = d->has_decimal ? print_keys(d, checked, &out->keys, e) : 0;
    if (rc < 0)
        return rc;
    if (out->body.starved || out->keys.starved)
        return err_set(e, ERR_NOMEM, "no memory for a record of %s", d->name);
    if (buf_failed(&out->body) || buf_failed(&out->keys))
        return err_set(e, ERR_TOO_LARGE, "a record of %s has at most %d bytes", d->name,
                       ENTITY_RECORD_BYTES_MAX);
    return 0;
}

int entity_doc_print(const struct entity_def *d, const json_t *checked, struct entity_doc *out,
                     struct err *e)
{
    buf_reset(&out->body);
    int rc = json_print(checked, &out->body, e);
    return rc == 0 ? doc_finish(d, checked, out, e) : rc;
}

int entity_doc_printed(const struct entity_def *d, const json_t *checked, const char *text,
                       struct entity_doc *out, struct err *e)
{
    buf_reset(&out->body);
    buf_adds(&out->body, text);
    return doc_finish(d, checked, out, e);
}

int entity_doc_make(const struct entity_def *d, const json_t *in, int flags, struct entity_doc *out,
                    json_t **errors, struct err *e)
{
    struct err own = ERR_INIT;
    if (e == NULL)
        e = &own;
    AUTO(json_unref) json_t *checked = entity_doc_check(d, in, flags, errors, e);
    return checked == NULL ? e->code : entity_doc_print(d, checked, out, e);
}

json_t *entity_doc_defaults(const struct entity_def *d)
{
    json_t *out = json_object();
    for (size_t i = 0; i < d->fields_count; i++) {
        json_t *v = default_value(&d->fields[i]);
        if (v != NULL)
            json_object_set_new(out, d->fields[i].name, v);
    }
    return out;
}
