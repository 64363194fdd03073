/* The parser: JSON to a checked tree. */
#include "entity/filter.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "entity/def_priv.h"
#include "entity/filter_priv.h"

static const char *const connectives[] = {"$and", "$or", "$nor", "$not", "$options"};
static const char *const option_keys[] = {"ignoreCase"};

static int parse_field(struct filter_parser *ps, const char *dotted, const json_t *v, bool fold,
                       int depth, struct filter_node *parent);

/* One member of {"$gt": 5, "$lt": 9}. */
static int parse_condition(struct filter_parser *ps, const char *dotted, const char *op,
                           const json_t *v, bool fold, int depth, struct filter_node *parent)
{
    if (strcmp(op, "$all") == 0)
        return filter_leaf_all(ps, dotted, v, fold, parent);
    if (strcmp(op, "$not") == 0) {
        AUTO(filter_node_freep) struct filter_node *inner = filter_node_new(FILTER_AND);
        int rc = parse_field(ps, dotted, v, fold, depth + 1, inner);
        if (rc == 0)
            filter_node_add(parent, filter_node_not(TAKE(inner)));
        return rc;
    }
    AUTO(filter_node_freep) struct filter_node *n = filter_leaf_new(ps, dotted, fold);
    if (n == NULL)
        return ps->e->code;
    bool null_eq = json_is_null(v) && (strcmp(op, "$eq") == 0 || strcmp(op, "$ne") == 0);
    bool negated = strcmp(op, "$ne") == 0 || strcmp(op, "$nin") == 0;
    if (null_eq) {
        n->op = FILTER_EXISTS;
        negated = !negated;
    } else {
        if (filter_leaf_operator(ps, n, op, v) < 0)
            return ps->e->code;
        negated = negated || (n->op == FILTER_EXISTS && json_is_false(v));
        if (n->op == FILTER_CONTAINS && n->path.leaf == NULL &&
            filter_leaf_contains_open(ps, dotted, fold, &n, v) < 0)
            return ps->e->code;
    }
    filter_node_add(parent, negated ? filter_node_not(TAKE(n)) : n);
    n = NULL;
    return 0;
}

static int parse_options(struct filter_parser *ps, const json_t *o, bool *fold)
{
    const json_t *v = json_object_get(o, "$options");
    if (v == NULL)
        return 0;
    if (!json_is_object(v))
        return err_set(ps->e, ERR_INVALID, "$options wants {\"ignoreCase\": true}");
    int rc = json_only_keys(v, "$options", option_keys, ARRAY_LEN(option_keys), ps->e);
    if (rc == 0 && (rc = json_get_bool(v, "ignoreCase", fold, ps->e)) == ERR_NOT_FOUND)
        rc = 0;
    return rc;
}

static int parse_field(struct filter_parser *ps, const char *dotted, const json_t *v, bool fold,
                       int depth, struct filter_node *parent)
{
    if (depth > FILTER_DEPTH_MAX)
        return err_set(ps->e, ERR_TOO_LARGE, "a filter is at most %d deep", FILTER_DEPTH_MAX);
    if (!json_is_object(v)) {
        if (json_is_null(v))
            return parse_condition(ps, dotted, "$eq", v, fold, depth, parent);
        AUTO(filter_node_freep) struct filter_node *n = filter_leaf_new(ps, dotted, fold);
        if (n == NULL || filter_leaf_eq(ps, n, v, true) < 0)
            return ps->e->code;
        filter_node_add(parent, TAKE(n));
        return 0;
    }
    int rc = parse_options(ps, v, &fold);
    if (rc < 0)
        return rc;
    if (json_object_size(v) == (json_object_get(v, "$options") != NULL))
        return err_set(ps->e, ERR_INVALID, "an empty object says nothing; use {\"$exists\": true}");
    const char *op;
    json_t *item;
    json_object_foreach((json_t *)v, op, item)
    {
        if (*op != '$')
            return err_set(ps->e, ERR_INVALID,
                           "wants an operator like $eq, or a path '%.64s.%.64s'", dotted, op);
        if (strcmp(op, "$options") != 0 &&
            (rc = parse_condition(ps, dotted, op, item, fold, depth, parent)) < 0)
            return rc;
    }
    return 0;
}

static int parse_object(struct filter_parser *ps, const json_t *o, bool fold, int depth,
                        struct filter_node *parent);

static int parse_connective(struct filter_parser *ps, const char *op, const json_t *v, bool fold,
                            int depth, struct filter_node *parent)
{
    if (strcmp(op, "$not") == 0) {
        AUTO(filter_node_freep) struct filter_node *inner = filter_node_new(FILTER_AND);
        int rc = parse_object(ps, v, fold, depth + 1, inner);
        if (rc == 0)
            filter_node_add(parent, filter_node_not(TAKE(inner)));
        return rc;
    }
    if (strcmp(op, "$and") != 0 && strcmp(op, "$or") != 0 && strcmp(op, "$nor") != 0)
        return filter_unknown(op, connectives, ARRAY_LEN(connectives), ps->e);
    if (json_array_size(v) == 0)
        return err_set(ps->e, ERR_INVALID, "%s wants a list of at least one filter", op);
    AUTO(filter_node_freep)
    struct filter_node *group = filter_node_new(strcmp(op, "$and") == 0 ? FILTER_AND : FILTER_OR);
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        AUTO(filter_node_freep) struct filter_node *kid = filter_node_new(FILTER_AND);
        int rc = parse_object(ps, item, fold, depth + 1, kid);
        if (rc < 0)
            return rc;
        filter_node_add(group, TAKE(kid));
    }
    filter_node_add(parent, strcmp(op, "$nor") == 0 ? filter_node_not(group) : group);
    group = NULL;
    return 0;
}

static int parse_object(struct filter_parser *ps, const json_t *o, bool fold, int depth,
                        struct filter_node *parent)
{
    if (!json_is_object(o))
        return err_set(ps->e, ERR_INVALID, "a filter is an object, got %s", json_type_name(o));
    if (depth > FILTER_DEPTH_MAX)
        return err_set(ps->e, ERR_TOO_LARGE, "a filter is at most %d deep", FILTER_DEPTH_MAX);
    int rc = parse_options(ps, o, &fold);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        if (rc < 0)
            return rc;
        if (strcmp(key, "$options") == 0)
            continue;
        if (*key == '$') {
            rc = parse_connective(ps, key, v, fold, depth, parent);
            continue;
        }
        rc = parse_field(ps, key, v, fold, depth, parent);
        if (rc < 0 && ps->e->field[0] == '\0') {
            snprintf(ps->e->field, sizeof(ps->e->field), "%s", key);
            err_context(ps->e, "field '%.64s'", key);
        }
    }
    return rc;
}

/* ---- the door ---- */

static int measure(const json_t *j, uint64_t *hash, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(FILTER_BYTES_MAX);
    int rc = json_print_sorted(j, &text, e);
    if (buf_failed(&text))
        return err_set(e, ERR_TOO_LARGE, "a filter has at most %d bytes", FILTER_BYTES_MAX);
    *hash = hash64(0, buf_str(&text), text.len);
    return rc;
}

int filter_parse(const struct entity_def *d, const json_t *j, struct filter **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    err_clear(e);
    AUTO(filter_freep) struct filter *f = mem_new(sizeof(*f));
    f->def = entity_def_ref(d);
    f->root = filter_node_new(FILTER_AND);
    if (j != NULL && !json_is_null(j)) {
        struct filter_parser ps = {.def = d, .e = e};
        int rc = measure(j, &f->hash, e);
        if (rc == 0)
            rc = parse_object(&ps, j, false, 0, f->root);
        if (rc < 0)
            return err_context(e, "filter");
    }
    *out = TAKE(f);
    return 0;
}

int filter_parse_text(const struct entity_def *d, const char *text, size_t n, struct filter **out,
                      struct err *e)
{
    if (n > FILTER_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "a filter has at most %d bytes", FILTER_BYTES_MAX);
    AUTO(json_unref) json_t *j = json_read(text, n, e);
    if (j == NULL) {
        if (e != NULL)
            err_context(e, "filter");
        return ERR_INVALID;
    }
    return filter_parse(d, j, out, e);
}

void filter_free(struct filter *f)
{
    if (f == NULL)
        return;
    filter_node_free(f->root);
    entity_def_unref(f->def);
    mem_free(f);
}

void filter_freep(struct filter **f)
{
    filter_free(*f);
}

bool filter_is_empty(const struct filter *f)
{
    return f->root->kids_count == 0;
}
