/* A whole definition, from JSON and back to its one normalised text. */
#include "entity/def.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"

static const char *const system_fields[] = {"id",         "version",    "created_at",
                                            "updated_at", "created_by", "updated_by"};
/* Names that records will have once the option behind them is there. */
static const char *const reserved_fields[] = {"expires_at", "removed_at", "partition", "tenant"};
/* What an API route has, or will have: an entity of that path could never be reached. */
/* The records of an entity lie in table "entity_<name>": these are there already. */
static const char *const reserved_names[] = {"defs",       "removed",  "history", "builds",
                                             "violations", "gens",     "redo",    "migrations",
                                             "halts",      "leftovers"};
static const char *const reserved_paths[] = {
    "tx",       "queues",   "jobs",     "schedules", "canon",   "blobs", "topics",  "cluster",
    "scale",    "auth",     "users",    "roles",     "tokens",  "audit", "tenants", "secrets",
    "config",   "flags",    "events",   "locks",     "leases",  "kv",    "inbox",   "media",
    "recipes",  "admin",    "docs",     "health",    "metrics", "mcp",   "backup",  "restore",
    "timeline", "entities", "counters", "limits",    "gates",   "lanes"};
static const char *const def_keys[] = {
    "name",   "path", "fields",      "index", "require_version", "hooks",
    "access", "feed", "soft_remove", "ttl",   "history",         "lease_required"};
static const char *const later_keys[] = {"partitions", "scope", "search"};
static const char *const hook_names[] = {"before_save", "before_remove", "view"};
static const char *const index_keys[] = {"fields", "unique"};

static bool is_among(const char *s, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(s, names[i]) == 0)
            return true;
    }
    return false;
}

const struct entity_field *entity_field_ref(const struct entity_field *f)
{
    if (f->kind == KIND_LIST && f->of != NULL)
        f = f->of;
    return f->kind == KIND_REF ? f : NULL;
}

bool entity_is_system_field(const char *name)
{
    return is_among(name, system_fields, ARRAY_LEN(system_fields));
}

/* Where the name stands, or would. */
static size_t field_slot(const struct entity_def *d, const char *name)
{
    size_t at = hash64(0, name, strlen(name)) % ENTITY_FIELD_SLOTS;
    while (d->field_slots[at] != 0 && strcmp(d->fields[d->field_slots[at] - 1].name, name) != 0)
        at = (at + 1) % ENTITY_FIELD_SLOTS;
    return at;
}

const struct entity_field *entity_def_field(const struct entity_def *d, const char *name)
{
    uint16_t n = d->field_slots[field_slot(d, name)];
    return n != 0 ? &d->fields[n - 1] : NULL;
}

/* The last of `fields` has its name. */
static void note_field(struct entity_def *d)
{
    const char *name = d->fields[d->fields_count - 1].name;
    d->field_slots[field_slot(d, name)] = (uint16_t)d->fields_count;
}

/* ---- fields ---- */

static int field_name_check(const char *name, struct err *e)
{
    int rc = str_check_name(name, "field", e);
    if (rc < 0)
        return rc;
    if (strcmp(name, ENTITY_EXPIRES) == 0)
        return err_set(e, ERR_INVALID, "field '%s' comes with the option ttl = true", name);
    if (entity_is_system_field(name) || is_among(name, reserved_fields, ARRAY_LEN(reserved_fields)))
        return err_set(e, ERR_INVALID, "field '%s': every record has this name already", name);
    return 0;
}

static int parse_fields(struct entity_def *d, const json_t *fields, struct err *e)
{
    size_t n = json_object_size(fields);
    if (n == 0 || n >= ENTITY_FIELDS_MAX)
        return err_set(e, ERR_INVALID, "'fields' wants an object of 1 to %d fields",
                       ENTITY_FIELDS_MAX - 1);
    d->fields = mem_new_array(n + 1, sizeof(*d->fields));
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)fields, name, v)
    {
        int rc = field_name_check(name, e);
        if (rc < 0)
            return rc;
        struct entity_field *f = &d->fields[d->fields_count++];
        if ((rc = entity_field_parse(name, v, 0, f, e)) < 0) {
            if (e != NULL)
                snprintf(e->field, sizeof(e->field), "%s", name);
            return err_context(e, "field '%s'", name);
        }
        note_field(d);
        d->has_decimal = d->has_decimal || entity_field_has_decimal(f);
        d->has_search = d->has_search || f->search;
        d->has_refs = d->has_refs || entity_field_ref(f) != NULL;
    }
    return 0;
}

/* Behind all others, so that it is found at the end of a body; def_expires() in ttl.c knows. */
static void add_expires(struct entity_def *d)
{
    struct entity_field *f = &d->fields[d->fields_count++];
    *f = (struct entity_field){.kind = KIND_TIME};
    snprintf(f->name, sizeof(f->name), "%s", ENTITY_EXPIRES);
    note_field(d);
}

/* ---- indexes ---- */

static int parse_term(const struct entity_def *d, const json_t *v, struct entity_index_term *out,
                      struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "a field name is wanted, with '-' in front for descending");
    const char *name = json_string_value(v);
    out->desc = *name == '-';
    name += out->desc;
    const struct entity_field *f = entity_def_field(d, name);
    if (f == NULL && !entity_is_system_field(name)) {
        const char *names[ENTITY_FIELDS_MAX];
        for (size_t i = 0; i < d->fields_count; i++)
            names[i] = d->fields[i].name;
        const char *near = str_nearest(name, names, d->fields_count);
        return err_set(e, ERR_INVALID, "there is no field '%.64s'%s%s%s", name,
                       near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                       near != NULL ? "'?" : "");
    }
    if (f != NULL && !entity_kind_is_indexable(f->kind))
        return err_set(e, ERR_INVALID, "field '%s': kind %s cannot be indexed", name,
                       entity_kind_name(f->kind));
    snprintf(out->name, sizeof(out->name), "%s", name);
    out->field = f != NULL ? (int)(f - d->fields) : -1;
    return 0;
}

/* Equal terms give equal names, and the name follows the expression: a field that becomes decimal
 * moves to another column, so its index is another index. */
static void index_name(const struct entity_def *d, struct entity_index *ix)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(64 << 10);
    for (size_t i = 0; i < ix->terms_count; i++) {
        const struct entity_index_term *t = &ix->terms[i];
        entity_sql_expr(&b, t->field >= 0 ? &d->fields[t->field] : NULL, t->name);
        buf_adds(&b, t->desc ? "-" : "+");
    }
    buf_adds(&b, ix->unique ? "u" : "");
    snprintf(ix->name, sizeof(ix->name), "ix%016llx%s",
             (unsigned long long)hash64(0, buf_str(&b), b.len), ix->global ? "g" : "");
}

static int add_index(struct entity_def *d, const json_t *terms, bool unique, struct err *e)
{
    size_t n = json_array_size(terms);
    if (n == 0 || n > ENTITY_INDEX_FIELDS_MAX)
        return err_set(e, ERR_INVALID, "an index wants a list of 1 to %d fields",
                       ENTITY_INDEX_FIELDS_MAX);
    if (d->indexes_count == ENTITY_INDEXES_MAX)
        return err_set(e, ERR_INVALID, "at most %d indexes", ENTITY_INDEXES_MAX);
    struct entity_index *ix = &d->indexes[d->indexes_count];
    *ix = (struct entity_index){.unique = unique, .terms_count = n};
    for (size_t i = 0; i < n; i++) {
        int rc = parse_term(d, json_array_get(terms, i), &ix->terms[i], e);
        if (rc < 0)
            return rc;
        if (unique && ix->terms[i].field < 0)
            return err_set(e, ERR_INVALID, "'%s' cannot be part of a unique index",
                           ix->terms[i].name);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(ix->terms[k].name, ix->terms[i].name) == 0)
                return err_set(e, ERR_INVALID, "field '%s' stands there twice", ix->terms[i].name);
        }
    }
    index_name(d, ix);
    for (size_t i = 0; i < d->indexes_count; i++) {
        if (strcmp(d->indexes[i].name, ix->name) == 0)
            return 0; /* said twice: once is enough */
    }
    d->indexes_count++;
    return 0;
}

static int add_field_index(struct entity_def *d, const char *name, const json_t *field,
                           struct err *e)
{
    /* Who refers to a record is asked when it is removed. */
    bool index = entity_def_field(d, name)->kind == KIND_REF, unique = false;
    int rc = json_get_bool(field, "index", &index, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = json_get_bool(field, "unique", &unique, e)) < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (!index && !unique)
        return 0;
    AUTO(json_unref) json_t *terms = json_pack("[s]", name);
    return add_index(d, terms, unique, e);
}

static int parse_index(struct entity_def *d, const json_t *v, struct err *e)
{
    if (json_is_array(v))
        return add_index(d, v, false, e);
    if (!json_is_object(v))
        return err_set(e, ERR_INVALID, "wants [\"field\", ...] or {\"fields\": [...]}");
    bool unique = false;
    int rc = json_only_keys(v, "index", index_keys, ARRAY_LEN(index_keys), e);
    if (rc == 0 && (rc = json_get_bool(v, "unique", &unique, e)) == ERR_NOT_FOUND)
        rc = 0;
    return rc < 0 ? rc : add_index(d, json_object_get(v, "fields"), unique, e);
}

/* What expires next is asked over all tenants. */
static void add_expires_index(struct entity_def *d)
{
    struct entity_index *ix = &d->indexes[d->indexes_count++];
    *ix = (struct entity_index){.global = true, .terms_count = 1};
    ix->terms[0].field = (int)d->fields_count - 1;
    snprintf(ix->terms[0].name, sizeof(ix->terms[0].name), "%s", ENTITY_EXPIRES);
    index_name(d, ix);
}

static int parse_indexes(struct entity_def *d, const json_t *j, struct err *e)
{
    d->indexes = mem_new_array(ENTITY_INDEXES_MAX + 1, sizeof(*d->indexes));
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(j, "fields"), name, v)
    {
        int rc = add_field_index(d, name, v, e);
        if (rc < 0)
            return err_context(e, "field '%s'", name);
    }
    const json_t *list = json_object_get(j, "index");
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return err_set(e, ERR_INVALID, "'index' wants a list of indexes");
    size_t i;
    json_array_foreach(list, i, v)
    {
        int rc = parse_index(d, v, e);
        if (rc < 0)
            return err_context(e, "index %zu", i + 1);
    }
    if (d->ttl)
        add_expires_index(d);
    return 0;
}

/* ---- the rest ---- */

static int check_keys(const json_t *j, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        if (is_among(key, later_keys, ARRAY_LEN(later_keys)))
            return err_set(e, ERR_UNSUPPORTED,
                           "option '%s' is not there yet in this version; take it out", key);
    }
    return json_only_keys(j, "entity", def_keys, ARRAY_LEN(def_keys), e);
}

static int parse_path(struct entity_def *d, const json_t *j, struct err *e)
{
    const char *path;
    int rc = json_get_string(j, "path", &path, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    /* The one that the name gives is longer than a name may be when it has many capitals. */
    str_kebab(d->name, d->path, sizeof(d->path));
    if (rc == 0 && strcmp(path, d->path) != 0) {
        rc = str_check_name(path, "path", e);
        if (rc < 0)
            return rc;
        snprintf(d->path, sizeof(d->path), "%s", path);
    }
    if (is_among(d->path, reserved_paths, ARRAY_LEN(reserved_paths)))
        return err_field(e, ERR_INVALID, "path",
                         "/api/%s belongs to Koan itself; give the entity another \"path\"",
                         d->path);
    return 0;
}

static int parse_hooks(struct entity_def *d, const json_t *j, struct err *e)
{
    const json_t *list = json_object_get(j, "hooks");
    if (list != NULL && !json_is_null(list) && !json_is_array(list))
        return err_set(e, ERR_INVALID, "'hooks' wants a list of names");
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        const char *name = json_is_string(v) ? json_string_value(v) : "";
        if (!is_among(name, hook_names, ARRAY_LEN(hook_names))) {
            const char *near = str_nearest(name, hook_names, ARRAY_LEN(hook_names));
            return err_set(e, ERR_INVALID,
                           "there is no hook '%.64s'; hooks are before_save, "
                           "before_remove and view%s%s%s",
                           name, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                           near != NULL ? "'?" : "");
        }
        d->before_save = d->before_save || strcmp(name, "before_save") == 0;
        d->before_remove = d->before_remove || strcmp(name, "before_remove") == 0;
        d->view = d->view || strcmp(name, "view") == 0;
    }
    return 0;
}

static json_t *index_json(const struct entity_index *ix)
{
    json_t *fields = json_array();
    for (size_t i = 0; i < ix->terms_count; i++)
        json_array_append_new(
            fields, json_sprintf("%s%s", ix->terms[i].desc ? "-" : "", ix->terms[i].name));
    return json_pack("{s:o,s:b}", "fields", fields, "unique", ix->unique);
}

static int print_def(struct entity_def *d, struct err *e)
{
    AUTO(json_unref) json_t *o = json_pack("{s:s,s:s}", "name", d->name, "path", d->path);
    json_t *fields = json_object(), *indexes = json_array(), *hooks = json_array();
    for (size_t i = 0; i < d->fields_count - (d->ttl ? 1 : 0); i++)
        json_object_set_new(fields, d->fields[i].name, entity_field_json(&d->fields[i]));
    for (size_t i = 0; i < d->indexes_count; i++) {
        if (!d->indexes[i].global)
            json_array_append_new(indexes, index_json(&d->indexes[i]));
    }
    if (d->before_save)
        json_array_append_new(hooks, json_string("before_save"));
    if (d->before_remove)
        json_array_append_new(hooks, json_string("before_remove"));
    if (d->view)
        json_array_append_new(hooks, json_string("view"));
    json_object_set_new(o, "fields", fields);
    json_object_set_new(o, "index", indexes);
    json_object_set_new(o, "require_version", json_boolean(d->require_version));
    if (d->lease_required) /* definitions from before it have their texts still */
        json_object_set_new(o, "lease_required", json_true());
    json_object_set_new(o, "hooks", hooks);
    entity_keeping_print(d, o);
    json_t *access = entity_access_json(d);
    if (access != NULL)
        json_object_set_new(o, "access", access);
    AUTO(buf_fini) struct buf b = BUF_INIT(ENTITY_DEF_BYTES_MAX);
    int rc = json_print(o, &b, e);
    if (rc < 0 || (rc = buf_check(&b, "the definition", e)) < 0)
        return rc;
    d->json = buf_take(&b);
    return 0;
}

static int parse(struct entity_def *d, const json_t *j, struct err *e)
{
    int rc = check_keys(j, e);
    if (rc < 0 || (rc = parse_path(d, j, e)) < 0 || (rc = entity_keeping_parse(d, j, e)) < 0 ||
        (rc = parse_fields(d, json_object_get(j, "fields"), e)) < 0)
        return rc;
    if (d->ttl)
        add_expires(d);
    if ((rc = parse_indexes(d, j, e)) < 0 || (rc = parse_hooks(d, j, e)) < 0 ||
        (rc = entity_access_parse(d, j, e)) < 0)
        return rc;
    rc = json_get_bool(j, "require_version", &d->require_version, e);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = json_get_bool(j, "lease_required", &d->lease_required, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    return print_def(d, e);
}

/* Tables do not tell case apart. */
static int check_name(const char *name, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(reserved_names); i++) {
        if (strcasecmp(name, reserved_names[i]) == 0)
            return err_field(e, ERR_INVALID, "name",
                             "entity '%s': Koan has a table of this name itself; choose another "
                             "one, its URL can still be path = \"...\"",
                             name);
    }
    return str_check_name(name, "entity", e);
}

int entity_def_parse(const json_t *j, struct entity_def **out, struct err *e)
{
    struct err own = ERR_INIT;
    if (e == NULL)
        e = &own; /* err_context needs one */
    if (!json_is_object(j))
        return err_set(e, ERR_INVALID, "an entity is an object, got %s", json_type_name(j));
    const char *name;
    int rc = json_get_string(j, "name", &name, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_INVALID, "an entity wants a \"name\"");
    if (rc < 0 || (rc = check_name(name, e)) < 0)
        return rc;
    AUTO(entity_def_unrefp) struct entity_def *d = mem_new(sizeof(*d));
    d->refs = 1;
    snprintf(d->name, sizeof(d->name), "%s", name);
    if ((rc = parse(d, j, e)) < 0)
        return err_context(e, "entity '%s'", name);
    d->sql = entity_sql_new(d);
    *out = TAKE(d);
    return 0;
}

int entity_def_parse_text(const char *text, size_t n, struct entity_def **out, struct err *e)
{
    if (n > ENTITY_DEF_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "a definition has at most %d bytes", ENTITY_DEF_BYTES_MAX);
    AUTO(json_unref) json_t *j = json_read(text, n, e);
    return j == NULL ? ERR_INVALID : entity_def_parse(j, out, e);
}

struct entity_def *entity_def_ref(const struct entity_def *d)
{
    struct entity_def *m = (struct entity_def *)d;
    __atomic_fetch_add(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void entity_def_unref(struct entity_def *d)
{
    if (d == NULL || __atomic_fetch_sub(&d->refs, 1, __ATOMIC_ACQ_REL) > 1)
        return;
    for (size_t i = 0; i < d->fields_count; i++)
        entity_field_fini(&d->fields[i]);
    mem_free(d->fields);
    mem_free(d->indexes);
    mem_free(d->json);
    entity_sql_free(d->sql);
    entity_copy_free(d->copy);
    entity_past_free(d->past);
    mem_free(d);
}

void entity_def_unrefp(struct entity_def **d)
{
    entity_def_unref(*d);
}
