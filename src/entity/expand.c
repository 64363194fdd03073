#include "entity/expand.h"

#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/filter.h"
#include "entity/read.h"

enum { EXPAND_PAGE_BYTES = 64 << 20, EXPAND_NAMES_MAX = 1000 };

/* One name, with what goes on from it. */
struct expand_node {
    char name[ENTITY_NAME_MAX + 1];
    struct entity_def *def; /* of the records it finds */
    char field[ENTITY_NAME_MAX + 1];
    bool is_inverse; /* `field` is one of `def`, else one of the records that it starts from */
    struct expand_node *kids, *next;
    struct map *known; /* id -> json_t: a record that many refer to is read once */
    json_t *found;     /* all of them, where the entity has a view */
};

struct entity_expand {
    struct expand_node *roots;
    struct expand_node *order[ENTITY_WITH_NAMES]; /* deeper ones first */
    size_t names, rows;
};

/* ---- what is asked ---- */

struct asking {
    struct entities *s;
    const char *fields; /* of the outermost records */
    bool (*may_read)(const struct entity_def *d);
    struct entity_expand *x;
};

static void unref_value(void *v)
{
    json_decref(v);
}

static void nodes_free(struct expand_node *n)
{
    while (n != NULL) {
        struct expand_node *next = n->next;
        nodes_free(n->kids);
        map_free(n->known, unref_value);
        json_decref(n->found);
        entity_def_unref(n->def);
        mem_free(n);
        n = next;
    }
}

void entity_expand_free(struct entity_expand *x)
{
    if (x == NULL)
        return;
    nodes_free(x->roots);
    mem_free(x);
}

/* Ref fields of other entities that call themselves `name` there. */
static int find_inverse(struct entities *s, const struct entity_def *d, struct expand_node *n,
                        struct err *e)
{
    size_t count;
    int rc = 0;
    struct entity_def **all = entities_list(s, &count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < all[i]->fields_count && rc == 0; k++) {
            const struct entity_field *f = entity_field_ref(&all[i]->fields[k]);
            const char *field = all[i]->fields[k].name;
            if (f == NULL || strcmp(f->to, d->name) != 0 || strcmp(f->inverse, n->name) != 0)
                continue;
            if (n->def != NULL)
                rc = err_field(e, ERR_INVALID, "with",
                               "'%s' is the inverse of %s.%s and of %s.%s; give one another name",
                               n->name, n->def->name, n->field, all[i]->name, field);
            else
                n->def = entity_def_ref(all[i]);
            snprintf(n->field, sizeof(n->field), "%s", field);
        }
        entity_def_unref(all[i]);
    }
    mem_free(all);
    n->is_inverse = n->def != NULL;
    return rc;
}

static int unknown_name(struct entities *s, const struct entity_def *d, const char *name,
                        struct err *e)
{
    const char *names[EXPAND_NAMES_MAX];
    size_t n = 0, count;
    for (size_t i = 0; i < d->fields_count; i++) {
        if (entity_field_ref(&d->fields[i]) != NULL)
            names[n++] = d->fields[i].name;
    }
    struct entity_def **all = entities_list(s, &count);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < all[i]->fields_count && n < EXPAND_NAMES_MAX; k++) {
            const struct entity_field *f = entity_field_ref(&all[i]->fields[k]);
            if (f != NULL && strcmp(f->to, d->name) == 0 && f->inverse[0] != '\0')
                names[n++] = f->inverse;
        }
    }
    const char *near = str_nearest(name, names, n);
    err_field(e, ERR_INVALID, "with",
              "with: '%.64s' is neither a ref of %s nor the inverse of one to it%s%s%s", name,
              d->name, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
              near != NULL ? "'?" : "");
    for (size_t i = 0; i < count; i++)
        entity_def_unref(all[i]);
    mem_free(all);
    return ERR_INVALID;
}

static int resolve(const struct asking *q, const struct entity_def *d, struct expand_node *n,
                   struct err *e)
{
    const struct entity_field *f = entity_def_field(d, n->name);
    int rc = 0;
    if (f != NULL && entity_field_ref(f) != NULL) {
        snprintf(n->field, sizeof(n->field), "%s", f->name);
        n->def = entities_find(q->s, entity_field_ref(f)->to);
        n->known = map_new();
    } else {
        rc = find_inverse(q->s, d, n, e);
    }
    if (rc == 0 && n->def == NULL)
        rc = unknown_name(q->s, d, n->name, e);
    if (rc == 0 && q->may_read != NULL && !q->may_read(n->def))
        rc = err_field(e, ERR_FORBIDDEN, "with",
                       "with: '%s' shows records of %s, which are not "
                       "public: bring a token",
                       n->name, n->def->name);
    return rc;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += n) {
        if ((p == list || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
            return true;
    }
    return false;
}

/* The node of a name below `*list`, made if it is not there yet. */
static int take_name(const struct asking *q, const struct entity_def *d, struct expand_node **list,
                     const char *name, struct expand_node **out, struct err *e)
{
    while (*list != NULL && strcmp((*list)->name, name) != 0)
        list = &(*list)->next;
    *out = *list;
    if (*list != NULL)
        return 0;
    if (*name == '\0' || strlen(name) > ENTITY_NAME_MAX)
        return err_field(e, ERR_INVALID, "with", "with: '%.64s' is not a name", name);
    if (++q->x->names > ENTITY_WITH_NAMES)
        return err_field(e, ERR_TOO_LARGE, "with", "with: over %d names", ENTITY_WITH_NAMES);
    struct expand_node *n = mem_new(sizeof(*n));
    snprintf(n->name, sizeof(n->name), "%s", name);
    *list = *out = n; /* from here on it goes with the tree */
    return resolve(q, d, n, e);
}

static int parse_path(const struct asking *q, const struct entity_def *d, char *path, struct err *e)
{
    struct expand_node **list = &q->x->roots, *n = NULL;
    char *name;
    for (int depth = 1; (name = strsep(&path, ".")) != NULL; depth++) {
        if (depth > ENTITY_WITH_DEPTH)
            return err_field(e, ERR_INVALID, "with", "with: at most %d names deep",
                             ENTITY_WITH_DEPTH);
        int rc = take_name(q, d, list, name, &n, e);
        if (rc < 0)
            return rc;
        if (depth == 1 && !n->is_inverse && q->fields != NULL && *q->fields != '\0' &&
            !has_word(q->fields, n->field))
            return err_field(e, ERR_INVALID, "with", "with: '%s' wants '%s' among fields", n->name,
                             n->field);
        d = n->def;
        list = &n->kids;
    }
    return 0;
}

/* Returns how many stand in `order`. */
static size_t put_in_order(struct entity_expand *x, struct expand_node *n, size_t at)
{
    for (; n != NULL; n = n->next) {
        at = put_in_order(x, n->kids, at);
        x->order[at++] = n;
    }
    return at;
}

int entity_expand_new(struct entities *s, const struct entity_def *d, const char *with,
                      const char *fields, bool (*may_read)(const struct entity_def *d),
                      struct entity_expand **out, struct err *e)
{
    if (strlen(with) > ENTITY_WITH_BYTES)
        return err_field(e, ERR_TOO_LARGE, "with", "with has at most %d bytes", ENTITY_WITH_BYTES);
    struct entity_expand *x = mem_new(sizeof(*x));
    struct asking q = {.s = s, .fields = fields, .may_read = may_read, .x = x};
    AUTO(mem_freep) char *copy = mem_strdup(with);
    char *rest = copy, *path;
    int rc = 0;
    while (rc == 0 && (path = strsep(&rest, ",")) != NULL)
        rc = parse_path(&q, d, path, e);
    if (rc == 0) {
        put_in_order(x, x->roots, 0);
        *out = x;
    } else {
        entity_expand_free(x);
    }
    return rc;
}

bool entity_expand_found(const struct entity_expand *x, size_t i, const struct entity_def **d,
                         json_t **records)
{
    if (i >= x->names)
        return false;
    *d = x->order[i]->def;
    *records = x->order[i]->found;
    return true;
}

static json_t *tree(const struct expand_node *n)
{
    json_t *o = json_object();
    for (; n != NULL; n = n->next)
        json_object_set_new(o, n->name,
                            json_pack("{s:s,s:o}", "entity", n->def->name, "with", tree(n->kids)));
    return o;
}

json_t *entity_expand_tree(const struct entity_expand *x)
{
    return tree(x->roots);
}

void entity_expand_reset(struct entity_expand *x)
{
    for (size_t i = 0; i < x->names; i++) {
        struct expand_node *n = x->order[i];
        json_decref(n->found);
        n->found = NULL;
        if (n->known == NULL)
            continue;
        map_free(n->known, unref_value);
        n->known = map_new();
    }
}

size_t entity_expand_rows(const struct entity_expand *x)
{
    return x->rows;
}

/* ---- the answer ---- */

struct expanding {
    struct entity_expand *x;
    struct db *db;
    const char *tenant;
    struct err *e;
};

static int count_rows(struct expanding *w, size_t n)
{
    w->x->rows += n;
    return w->x->rows <= ENTITY_WITH_TOTAL
               ? 0
               : err_field(w->e, ERR_TOO_LARGE, "with",
                           "with would show over %d records; ask for fewer at a time",
                           ENTITY_WITH_TOTAL);
}

static int expand_all(struct expanding *w, struct expand_node *nodes, json_t *records);

static void note_found(struct expand_node *n, json_t *record)
{
    if (!n->def->view)
        return;
    if (n->found == NULL)
        n->found = json_array();
    json_array_append(n->found, record);
}

/* A new reference; null when it is not there. */
static int read_target(struct expanding *w, struct expand_node *n, const char *id, json_t **out)
{
    struct err gone = ERR_INIT;
    json_t *known = map_gets(n->known, id);
    if (known != NULL) {
        *out = json_incref(known);
        return 0;
    }
    int rc = entity_get_json(w->db, n->def, w->tenant, id, out, NULL, &gone);
    if (rc == ERR_NOT_FOUND)
        *out = json_null();
    else if (rc < 0)
        *w->e = gone;
    else if ((rc = count_rows(w, 1)) < 0 || (rc = expand_all(w, n->kids, *out)) < 0)
        json_decref(*out);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    map_puts(n->known, id, json_incref(*out));
    if (rc == 0)
        note_found(n, *out);
    return 0;
}

static int read_inverse(struct expanding *w, struct expand_node *n, const char *id, json_t **out)
{
    bool listed = entity_def_field(n->def, n->field)->kind == KIND_LIST;
    AUTO(json_unref)
    json_t *what = listed ? json_pack("{s:{s:[s]}}", n->field, "$in", id)
                          : json_pack("{s:{s:s}}", n->field, "$eq", id);
    AUTO(filter_freep) struct filter *f = NULL;
    AUTO(entity_page_fini) struct entity_page page;
    entity_page_init(&page, EXPAND_PAGE_BYTES);
    int rc = filter_parse(n->def, what, &f, w->e);
    struct entity_query q = {
        .filter = f, .page_size = ENTITY_WITH_ROWS, .count = ENTITY_COUNT_NONE};
    if (rc == 0)
        rc = entity_query(w->db, n->def, w->tenant, &q, &page, w->e);
    if (rc == 0 && page.more)
        rc = err_field(w->e, ERR_TOO_LARGE, "with",
                       "'%.64s' has over %d %s; ask for them by themselves: "
                       "/api/%s?filter={\"%s\":\"%.64s\"}",
                       id, ENTITY_WITH_ROWS, n->name, n->def->path, n->field, id);
    if (rc < 0 || (rc = count_rows(w, page.count)) < 0)
        return rc;
    *out = json_read(buf_str(&page.rows), page.rows.len, w->e);
    if (*out == NULL)
        return ERR_CORRUPT;
    size_t i;
    json_t *record;
    json_array_foreach(*out, i, record) note_found(n, record);
    rc = expand_all(w, n->kids, *out);
    if (rc < 0)
        json_decref(*out);
    return rc;
}

/* What a list of refs names, in its order, with null where there is none. */
static int read_targets(struct expanding *w, struct expand_node *n, const json_t *ids, json_t **out)
{
    if (json_array_size(ids) > ENTITY_WITH_ROWS)
        return err_field(w->e, ERR_TOO_LARGE, "with",
                         "'%s' has over %d references in one record; ask for them by their ids",
                         n->name, ENTITY_WITH_ROWS);
    AUTO(json_unref) json_t *all = json_array();
    size_t i;
    json_t *id;
    json_array_foreach(ids, i, id)
    {
        json_t *one = NULL;
        int rc = read_target(w, n, json_string_value(id), &one);
        if (rc < 0)
            return rc;
        json_array_append_new(all, one);
    }
    *out = TAKE(all);
    return 0;
}

static int expand_one(struct expanding *w, struct expand_node *n, json_t *record)
{
    const json_t *value = json_object_get(record, n->is_inverse ? "id" : n->field);
    const char *id = json_string_value(value);
    json_t *with = json_object_get(record, ENTITY_WITH_MEMBER), *found = NULL;
    if (with == NULL) {
        with = json_object();
        json_object_set_new(record, ENTITY_WITH_MEMBER, with);
    }
    int rc = 0;
    if (json_is_array(value))
        rc = read_targets(w, n, value, &found);
    else if (id == NULL)
        found = json_null();
    else
        rc = n->is_inverse ? read_inverse(w, n, id, &found) : read_target(w, n, id, &found);
    if (rc == 0)
        json_object_set_new(with, n->name, found);
    return rc;
}

static int expand_all(struct expanding *w, struct expand_node *nodes, json_t *records)
{
    size_t i;
    json_t *record;
    int rc = 0;
    for (struct expand_node *n = nodes; n != NULL && rc == 0; n = n->next) {
        if (json_is_object(records))
            rc = expand_one(w, n, records);
        json_array_foreach(records, i, record)
        {
            if (rc == 0 && json_is_object(record))
                rc = expand_one(w, n, record);
        }
    }
    return rc;
}

int entity_expand(struct entity_expand *x, struct db *db, const char *tenant, json_t *records,
                  struct err *e)
{
    struct err own = ERR_INIT;
    x->rows = 0;
    struct expanding w = {.x = x, .db = db, .tenant = tenant, .e = e != NULL ? e : &own};
    return expand_all(&w, x->roots, records);
}
