/* Dotted paths: which values of a record they mean, and of what kind those are. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"
#include "entity/filter_priv.h"

static const struct entity_field system_fields[] = {
    {.name = "id", .kind = KIND_TEXT},         {.name = "version", .kind = KIND_INT},
    {.name = "created_at", .kind = KIND_TIME}, {.name = "updated_at", .kind = KIND_TIME},
    {.name = "created_by", .kind = KIND_TEXT}, {.name = "updated_by", .kind = KIND_TEXT},
};
static const struct entity_field geo_part = {.kind = KIND_NUMBER};

const struct entity_field *filter_system_field(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(system_fields); i++) {
        if (strcmp(system_fields[i].name, name) == 0)
            return &system_fields[i];
    }
    return NULL;
}

static int unknown_field(const struct entity_def *d, const char *name, struct err *e)
{
    const char *names[ENTITY_FIELDS_MAX + ARRAY_LEN(system_fields)];
    size_t n = 0;
    for (size_t i = 0; i < d->fields_count; i++)
        names[n++] = d->fields[i].name;
    for (size_t i = 0; i < ARRAY_LEN(system_fields); i++)
        names[n++] = system_fields[i].name;
    const char *near = str_nearest(name, names, n);
    return err_field(e, ERR_INVALID, name, "%s has no field '%.64s'%s%s%s", d->name, name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
}

static void add_step(struct filter_path *p, enum filter_step_kind kind, const char *key)
{
    ASSERT(p->count < FILTER_STEPS_MAX);
    p->steps[p->count++] = (struct filter_step){.kind = kind, .key = key};
}

/* Whether values of this field have a kind of their own all the way down. */
static bool is_open(const struct entity_field *f)
{
    return f == NULL || f->kind == KIND_JSON;
}

/* Steps behind a key whose field is `*f` (NULL: anything), through lists; *f becomes the kind of an
 * element. */
static void through_lists(struct filter_path *p, const struct entity_field **f)
{
    while (!is_open(*f) && (*f)->kind == KIND_LIST) {
        if (is_open((*f)->of)) {
            *f = NULL;
            break;
        }
        add_step(p, STEP_EACH, NULL);
        *f = (*f)->of;
    }
    if (is_open(*f)) {
        add_step(p, STEP_MAYBE, NULL);
        *f = NULL;
    }
}

/* The field of member `key` inside `f`. */
static int descend(const struct entity_field *f, const char *key, const char *dotted,
                   const struct entity_field **out, struct err *e)
{
    *out = NULL;
    if (is_open(f))
        return 0;
    if (f->kind == KIND_MAP) {
        *out = f->of;
        return 0;
    }
    if (f->kind == KIND_GEO) {
        *out = &geo_part;
        if (strcmp(key, "lat") == 0 || strcmp(key, "lon") == 0)
            return 0;
        return err_set(e, ERR_INVALID, "'%.200s': a geo field has lat and lon", dotted);
    }
    return err_set(e, ERR_INVALID, "'%.200s': nothing lies below kind %s", dotted,
                   entity_kind_name(f->kind));
}

/* Keys go into JSON paths in SQL, where these characters cannot be written. */
static bool key_is_plain(const char *key)
{
    for (const char *c = key; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            return false;
    }
    return *key != '\0';
}

static int parse_steps(const struct entity_def *d, const char *dotted, struct filter_path *p,
                       struct err *e)
{
    const struct entity_field *f = NULL;
    char *rest = p->text, *key;
    int segments = 0;
    while ((key = strsep(&rest, ".")) != NULL) {
        if (++segments > FILTER_PATH_MAX)
            return err_set(e, ERR_TOO_LARGE, "'%.200s' has over %d parts", dotted, FILTER_PATH_MAX);
        if (!key_is_plain(key))
            return err_set(e, ERR_INVALID, "'%.200s' is not a path", dotted);
        if (segments == 1) {
            f = entity_def_field(d, key);
            if (f == NULL && filter_system_field(key) != NULL)
                return err_set(e, ERR_INVALID, "'%.200s': nothing lies below '%s'", dotted, key);
            if (f == NULL)
                return unknown_field(d, key, e);
        } else {
            int rc = descend(f, key, dotted, &f, e);
            if (rc < 0)
                return rc;
        }
        add_step(p, STEP_KEY, key);
        p->whole = p->count;
        p->is_list = f != NULL && f->kind == KIND_LIST;
        p->list = p->is_list && !is_open(f->of) ? f : NULL;
        through_lists(p, &f);
    }
    p->leaf = f;
    return 0;
}

int filter_path_parse(const struct entity_def *d, const char *dotted, struct filter_path *out,
                      struct err *e)
{
    *out = (struct filter_path){.def = d};
    const struct entity_field *system = filter_system_field(dotted);
    if (system != NULL) {
        out->leaf = system;
        out->column = system->name;
        return 0;
    }
    if (strlen(dotted) > FILTER_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "a path is too long");
    out->text = mem_strdup(dotted);
    int rc = parse_steps(d, dotted, out, e);
    if (rc < 0)
        filter_path_fini(out);
    return rc;
}

void filter_path_fini(struct filter_path *p)
{
    mem_free(p->text);
    p->text = NULL;
}
