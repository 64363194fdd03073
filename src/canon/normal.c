/* VALIDATE: what an arrival says against the entity, and in the form in which it is kept. */
#include "canon/pipeline_priv.h"

#include "base/mem.h"
#include "entity/doc.h"

static void note_fault(json_t **errors, const char *field, const struct err *e)
{
    if (*errors == NULL)
        *errors = json_array();
    json_array_append_new(
        *errors, json_pack("{s:s,s:s,s:s}", "field", field, "code", "invalid", "detail", e->text));
}

/* What is found while the fields are looked at. */
struct found {
    const struct entity_def *def;
    json_t *values[ENTITY_FIELDS_MAX]; /* in normal form, owned; the first `count` are filled */
    size_t count, last;                /* last: the field that came before */
    bool made;                         /* one of them is a new value */
    bool nulls, mixed;                 /* a null; not in the order of the entity */
};

static void found_fini(struct found *f)
{
    for (size_t i = 0; i < f->count; i++)
        json_decref(f->values[i]);
}

static int check_field(struct found *found, const char *name, json_t *v, struct err *e)
{
    const struct entity_field *f = entity_def_field(found->def, name);
    if (f == NULL)
        return err_field(e, ERR_INVALID, name, "entity '%s' has no field '%s'; remove it at intake",
                         found->def->name, name);
    size_t at = (size_t)(f - found->def->fields);
    found->mixed |= at < found->last;
    found->last = at;
    json_t *checked = json_is_null(v) ? json_incref(v) : entity_value_check(f, v, e);
    if (checked == NULL)
        return e->code;
    found->nulls |= json_is_null(v);
    found->made |= checked != v;
    found->values[at] = checked;
    return 0;
}

/* The same members, in normal form and in the order of the entity. */
static json_t *found_object(const struct found *f)
{
    json_t *o = json_object();
    for (size_t i = 0; i < f->count; i++)
        if (f->values[i] != NULL)
            json_object_set_nocheck(o, f->def->fields[i].name, f->values[i]);
    return o;
}

static void found_begin(struct found *f, const struct entity_def *def)
{
    f->def = def;
    f->count = def->fields_count;
    f->last = 0;
    f->made = f->nulls = f->mixed = false;
    for (size_t i = 0; i < f->count; i++)
        f->values[i] = NULL;
}

static void job_normal(struct canon_job *j, const struct found *f)
{
    if (f->made)
        j->call.kept = 0;
    if (f->made || f->mixed) {
        json_decref(j->data);
        j->data = found_object(f);
    }
    j->normal = f->nulls ? 0 : j->working->seed;
}

/* Whether all that is required is there only the golden record can tell. */
bool job_schema_holds(struct canon_job *j)
{
    AUTO(found_fini) struct found f;
    json_t *errors = NULL;
    struct err first = ERR_INIT, e = ERR_INIT;
    const char *name;
    json_t *v;
    found_begin(&f, j->working->def);
    json_object_foreach(j->data, name, v)
    {
        if (check_field(&f, name, v, &e) == 0)
            continue;
        note_fault(&errors, name, &e);
        if (first.code == 0)
            first = e;
        err_clear(&e);
    }
    if (errors == NULL) {
        job_normal(j, &f);
        return true;
    }
    json_decref(j->call.evidence);
    j->call.evidence = errors;
    j->arrival->err = first;
    job_end(j, STORED_FAILED, "INVALID");
    return false;
}
