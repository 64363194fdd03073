/* The parser: JSON to a checked tree. */
#include "entity/filter.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"
#include "entity/doc.h"
#include "entity/filter_priv.h"

struct parser {
    const struct entity_def *def;
    size_t conditions;
    struct err *e;
};

static const char *const operators[] = {"$eq",  "$ne",     "$gt",      "$gte",      "$lt",
                                        "$lte", "$in",     "$nin",     "$all",      "$size",
                                        "$not", "$exists", "$between", "$contains", "$options"};
static const char *const connectives[] = {"$and", "$or", "$nor", "$not", "$options"};
static const char *const option_keys[] = {"ignoreCase"};

/* ---- nodes ---- */

static struct filter_node *node_new(enum filter_op op)
{
    struct filter_node *n = mem_new(sizeof(*n));
    n->op = op;
    return n;
}

static void node_free(struct filter_node *n)
{
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->kids_count; i++)
        node_free(n->kids[i]);
    mem_free(n->kids);
    json_decref(n->value);
    filter_path_fini(&n->path);
    mem_free(n);
}

static void node_freep(struct filter_node **n)
{
    node_free(*n);
}

static void node_add(struct filter_node *parent, struct filter_node *kid)
{
    struct filter_node **kids =
        mem_try_resize(parent->kids, (parent->kids_count + 1) * sizeof(struct filter_node *));
    if (kids == NULL)
        PANIC("no memory for a condition");
    parent->kids = kids;
    kids[parent->kids_count++] = kid;
}

static struct filter_node *node_not(struct filter_node *kid)
{
    struct filter_node *n = node_new(FILTER_NOT);
    node_add(n, kid);
    return n;
}

static int unknown_operator(const char *key, const char *const *names, size_t count, struct err *e)
{
    const char *near = str_nearest(key, names, count);
    return err_set(e, ERR_INVALID, "there is no operator '%.32s' here%s%s%s", key,
                   near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                   near != NULL ? "'?" : "");
}

/* ---- operands ---- */

json_t *filter_fold(const json_t *s)
{
    size_t n = json_string_length(s);
    AUTO(mem_freep) char *copy = mem_try(n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, json_string_value(s), n);
    for (size_t i = 0; i < n; i++) {
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] + ('a' - 'A'));
    }
    return json_stringn(copy, n);
}

/* The operand as values are compared: of the leaf's kind, folded where asked. NULL: wrong. */
static json_t *operand(struct parser *ps, const struct filter_node *n, const json_t *v)
{
    const struct entity_field *leaf = n->path.leaf;
    AUTO(json_unref) json_t *out = NULL;
    if (leaf != NULL && (leaf->kind == KIND_MAP || leaf->kind == KIND_GEO)) {
        err_set(ps->e, ERR_INVALID, "kind %s is compared by its parts: name one behind a dot",
                entity_kind_name(leaf->kind));
        return NULL;
    }
    /* A choice in another case is among the choices only once folded. */
    if (leaf != NULL && !(n->fold && leaf->kind == KIND_CHOICE)) {
        out = entity_operand_check(leaf, v, ps->e);
    } else if (json_is_array(v) || json_is_object(v) || (leaf != NULL && !json_is_string(v))) {
        err_set(ps->e, ERR_INVALID, "cannot be compared with %s", json_type_name(v));
    } else {
        static const struct entity_field any = {.kind = KIND_JSON}, number = {.kind = KIND_NUMBER};
        out = entity_operand_check(json_is_number(v) ? &number : &any, v, ps->e);
    }
    if (out == NULL || !n->fold || !json_is_string(out))
        return TAKE(out);
    return filter_fold(out);
}

static int set_operand(struct parser *ps, struct filter_node *n, const json_t *v)
{
    n->value = operand(ps, n, v);
    return n->value != NULL ? 0 : ERR_INVALID;
}

static int check_ordered(struct parser *ps, const struct filter_node *n, const json_t *v)
{
    const struct entity_field *leaf = n->path.leaf;
    if (leaf == NULL && (json_is_boolean(v) || json_is_array(v) || json_is_object(v)))
        return err_set(ps->e, ERR_INVALID, "%s has no order", json_type_name(v));
    if (leaf != NULL && (!entity_kind_is_ordered(leaf->kind) || leaf->kind == KIND_CHOICE))
        return err_set(ps->e, ERR_INVALID, "kind %s has no order; use $eq or $in",
                       entity_kind_name(leaf->kind));
    return 0;
}

static bool is_textual(const struct filter_node *n)
{
    return n->path.leaf == NULL || entity_kind_is_text(n->path.leaf->kind);
}

/* ---- one operator ---- */

/* A bare text: `*` at its ends is a wildcard, `\*` a star. */
static int parse_wildcard(struct parser *ps, struct filter_node *n, const char *s)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(FILTER_BYTES_MAX);
    bool starts = true, ends = true;
    for (const char *p = s; *p != '\0'; p++) {
        if (p[0] == '\\' && p[1] == '*') {
            buf_addc(&out, *++p);
        } else if (*p != '*') {
            buf_addc(&out, *p);
        } else if (p == s) {
            starts = false;
            ends = ends && p[1] != '\0';
        } else if (p[1] == '\0') {
            ends = false;
        } else {
            return err_set(ps->e, ERR_INVALID,
                           "* is a wildcard at the ends only; write \\* for a star");
        }
    }
    if (starts && ends && s[0] != '*')
        n->op = FILTER_EQ;
    else if (out.len == 0)
        n->op = FILTER_CONTAINS; /* any text at all */
    else
        n->op = starts ? FILTER_STARTS : ends ? FILTER_ENDS : FILTER_CONTAINS;
    AUTO(json_unref) json_t *v = json_stringn(buf_str(&out), out.len);
    if (n->op == FILTER_EQ)
        return set_operand(ps, n, v);
    n->value = n->fold ? filter_fold(v) : json_incref(v);
    return 0;
}

static bool is_scalar_list(const struct entity_field *f)
{
    while (f != NULL && f->kind == KIND_LIST)
        f = f->of;
    return f != NULL && entity_kind_is_indexable(f->kind);
}

static int parse_whole(struct parser *ps, struct filter_node *n, const json_t *v)
{
    if (!is_scalar_list(n->path.list))
        return err_set(ps->e, ERR_INVALID,
                       n->path.is_list || n->path.leaf == NULL
                           ? "a list of anything is compared by its elements"
                           : "is not a list");
    AUTO(json_unref) json_t *checked = entity_value_check(n->path.list, v, ps->e);
    AUTO(buf_fini) struct buf text = BUF_INIT(FILTER_BYTES_MAX);
    if (checked == NULL || json_print(checked, &text, ps->e) < 0)
        return ERR_INVALID;
    n->op = FILTER_WHOLE;
    AUTO(json_unref) json_t *s = json_stringn(buf_str(&text), text.len);
    n->value = n->fold ? filter_fold(s) : json_incref(s);
    return 0;
}

/* `n` has path and fold; null has been dealt with. */
static int parse_eq(struct parser *ps, struct filter_node *n, const json_t *v, bool bare)
{
    if (json_is_array(v))
        return parse_whole(ps, n, v);
    if (bare && json_is_string(v) && is_textual(n) && strchr(json_string_value(v), '*') != NULL)
        return parse_wildcard(ps, n, json_string_value(v));
    n->op = FILTER_EQ;
    return set_operand(ps, n, v);
}

static int parse_in(struct parser *ps, struct filter_node *n, const json_t *v)
{
    if (!json_is_array(v))
        return err_set(ps->e, ERR_INVALID, "$in, $nin and $all want a list");
    if (json_array_size(v) > FILTER_IN_MAX)
        return err_set(ps->e, ERR_TOO_LARGE, "at most %d values in $in, $nin and $all",
                       FILTER_IN_MAX);
    n->op = FILTER_IN;
    n->value = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        if (json_is_null(item))
            continue; /* $in never matches null */
        json_t *value = operand(ps, n, item);
        if (value == NULL)
            return ERR_INVALID;
        json_array_append_new(n->value, value);
    }
    return 0;
}

static int parse_between(struct parser *ps, struct filter_node *n, const json_t *v)
{
    if (json_array_size(v) != 2)
        return err_set(ps->e, ERR_INVALID, "$between wants [least, greatest]");
    n->op = FILTER_BETWEEN;
    n->value = json_array();
    for (size_t i = 0; i < 2; i++) {
        const json_t *item = json_array_get(v, i);
        if (json_is_null(item)) {
            n->op = FILTER_OR; /* never true */
            return 0;
        }
        int rc = check_ordered(ps, n, item);
        json_t *value = rc == 0 ? operand(ps, n, item) : NULL;
        if (value == NULL)
            return ERR_INVALID;
        json_array_append_new(n->value, value);
    }
    if (json_is_string(json_array_get(n->value, 0)) != json_is_string(json_array_get(n->value, 1)))
        return err_set(ps->e, ERR_INVALID, "$between wants two values of one kind");
    return 0;
}

static int parse_order(struct parser *ps, struct filter_node *n, const char *op, const json_t *v)
{
    bool less = op[1] == 'l', or_equal = op[3] == 'e';
    n->op = less ? (or_equal ? FILTER_LTE : FILTER_LT) : (or_equal ? FILTER_GTE : FILTER_GT);
    if (json_is_null(v)) {
        n->op = FILTER_OR; /* never true */
        return 0;
    }
    int rc = check_ordered(ps, n, v);
    return rc < 0 ? rc : set_operand(ps, n, v);
}

static int parse_size(struct parser *ps, struct filter_node *n, const json_t *v)
{
    if (!n->path.is_list && n->path.leaf != NULL)
        return err_set(ps->e, ERR_INVALID, "$size is for lists");
    if (n->path.column != NULL || !json_is_integer(v) || json_integer_value(v) < 0)
        return err_set(ps->e, ERR_INVALID, "$size wants a list and a number from 0");
    n->op = FILTER_SIZE;
    n->value = json_incref((json_t *)v);
    return 0;
}

/* $exists, and what null means. */
static int parse_exists(struct parser *ps, struct filter_node *n, const json_t *v)
{
    n->op = FILTER_EXISTS;
    return json_is_boolean(v) ? 0 : err_set(ps->e, ERR_INVALID, "$exists wants true or false");
}

static struct filter_node *condition_new(struct parser *ps, const char *dotted, bool fold)
{
    if (++ps->conditions > FILTER_CONDITIONS_MAX) {
        err_set(ps->e, ERR_TOO_LARGE, "a filter has at most %d conditions", FILTER_CONDITIONS_MAX);
        return NULL;
    }
    AUTO(node_freep) struct filter_node *n = node_new(FILTER_EQ);
    n->fold = fold;
    if (filter_path_parse(ps->def, dotted, &n->path, ps->e) < 0)
        return NULL;
    /* Only text has case. */
    n->fold = fold && is_textual(n);
    return TAKE(n);
}

static int parse_all(struct parser *ps, const char *dotted, const json_t *v, bool fold,
                     struct filter_node *parent)
{
    if (json_array_size(v) == 0)
        return err_set(ps->e, ERR_INVALID, "$all wants a list of at least one value");
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        AUTO(node_freep) struct filter_node *n = condition_new(ps, dotted, fold);
        if (n == NULL)
            return ps->e->code;
        if (!n->path.is_list && n->path.leaf != NULL)
            return err_set(ps->e, ERR_INVALID, "$all is for lists");
        if (json_is_null(item) || json_is_array(item))
            return err_set(ps->e, ERR_INVALID, "$all wants plain values");
        int rc = parse_eq(ps, n, item, false);
        if (rc < 0)
            return ps->e->code;
        node_add(parent, TAKE(n));
    }
    return 0;
}

static int parse_contains(struct parser *ps, struct filter_node *n, const json_t *v)
{
    bool on_list = n->path.is_list;
    if (json_is_null(v))
        return err_set(ps->e, ERR_INVALID, "$contains wants a value; nothing contains null");
    if (on_list || (n->path.leaf == NULL && !json_is_string(v)))
        return parse_eq(ps, n, v, false);
    if (!is_textual(n) || !json_is_string(v))
        return err_set(ps->e, ERR_INVALID, "$contains is for text and lists");
    n->op = FILTER_CONTAINS;
    n->value = n->fold ? filter_fold(v) : json_incref((json_t *)v);
    return 0;
}

/* Where anything may stand it may be a text, which then holds the operand, or a list, which has it
 * among its elements: `n`, and another node behind it. */
static int add_open_contains(struct parser *ps, const char *dotted, bool fold,
                             struct filter_node **n, const json_t *v)
{
    AUTO(node_freep) struct filter_node *element = condition_new(ps, dotted, fold);
    if (element == NULL || parse_eq(ps, element, v, false) < 0)
        return ps->e->code;
    struct filter_node *either = node_new(FILTER_OR);
    (*n)->path.count = (*n)->path.whole;
    node_add(either, TAKE(*n));
    node_add(either, TAKE(element));
    *n = either;
    return 0;
}

static int parse_operator(struct parser *ps, struct filter_node *n, const char *op, const json_t *v)
{
    if (strcmp(op, "$in") == 0 || strcmp(op, "$nin") == 0)
        return parse_in(ps, n, v);
    if (strcmp(op, "$between") == 0)
        return parse_between(ps, n, v);
    if (strcmp(op, "$size") == 0)
        return parse_size(ps, n, v);
    if (strcmp(op, "$contains") == 0)
        return parse_contains(ps, n, v);
    if (strcmp(op, "$exists") == 0)
        return parse_exists(ps, n, v);
    if (strcmp(op, "$gt") == 0 || strcmp(op, "$gte") == 0 || strcmp(op, "$lt") == 0 ||
        strcmp(op, "$lte") == 0)
        return parse_order(ps, n, op, v);
    if (strcmp(op, "$eq") == 0 || strcmp(op, "$ne") == 0)
        return parse_eq(ps, n, v, false);
    return unknown_operator(op, operators, ARRAY_LEN(operators), ps->e);
}

static int parse_field(struct parser *ps, const char *dotted, const json_t *v, bool fold, int depth,
                       struct filter_node *parent);

/* One member of {"$gt": 5, "$lt": 9}. */
static int parse_condition(struct parser *ps, const char *dotted, const char *op, const json_t *v,
                           bool fold, int depth, struct filter_node *parent)
{
    if (strcmp(op, "$all") == 0)
        return parse_all(ps, dotted, v, fold, parent);
    if (strcmp(op, "$not") == 0) {
        AUTO(node_freep) struct filter_node *inner = node_new(FILTER_AND);
        int rc = parse_field(ps, dotted, v, fold, depth + 1, inner);
        if (rc == 0)
            node_add(parent, node_not(TAKE(inner)));
        return rc;
    }
    AUTO(node_freep) struct filter_node *n = condition_new(ps, dotted, fold);
    if (n == NULL)
        return ps->e->code;
    bool null_eq = json_is_null(v) && (strcmp(op, "$eq") == 0 || strcmp(op, "$ne") == 0);
    bool negated = strcmp(op, "$ne") == 0 || strcmp(op, "$nin") == 0;
    if (null_eq) {
        n->op = FILTER_EXISTS;
        negated = !negated;
    } else {
        if (parse_operator(ps, n, op, v) < 0)
            return ps->e->code;
        negated = negated || (n->op == FILTER_EXISTS && json_is_false(v));
        if (n->op == FILTER_CONTAINS && n->path.leaf == NULL &&
            add_open_contains(ps, dotted, fold, &n, v) < 0)
            return ps->e->code;
    }
    node_add(parent, negated ? node_not(TAKE(n)) : n);
    n = NULL;
    return 0;
}

static int parse_options(struct parser *ps, const json_t *o, bool *fold)
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

static int parse_field(struct parser *ps, const char *dotted, const json_t *v, bool fold, int depth,
                       struct filter_node *parent)
{
    if (depth > FILTER_DEPTH_MAX)
        return err_set(ps->e, ERR_TOO_LARGE, "a filter is at most %d deep", FILTER_DEPTH_MAX);
    if (!json_is_object(v)) {
        if (json_is_null(v))
            return parse_condition(ps, dotted, "$eq", v, fold, depth, parent);
        AUTO(node_freep) struct filter_node *n = condition_new(ps, dotted, fold);
        if (n == NULL || parse_eq(ps, n, v, true) < 0)
            return ps->e->code;
        node_add(parent, TAKE(n));
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

static int parse_object(struct parser *ps, const json_t *o, bool fold, int depth,
                        struct filter_node *parent);

static int parse_connective(struct parser *ps, const char *op, const json_t *v, bool fold,
                            int depth, struct filter_node *parent)
{
    if (strcmp(op, "$not") == 0) {
        AUTO(node_freep) struct filter_node *inner = node_new(FILTER_AND);
        int rc = parse_object(ps, v, fold, depth + 1, inner);
        if (rc == 0)
            node_add(parent, node_not(TAKE(inner)));
        return rc;
    }
    if (strcmp(op, "$and") != 0 && strcmp(op, "$or") != 0 && strcmp(op, "$nor") != 0)
        return unknown_operator(op, connectives, ARRAY_LEN(connectives), ps->e);
    if (json_array_size(v) == 0)
        return err_set(ps->e, ERR_INVALID, "%s wants a list of at least one filter", op);
    AUTO(node_freep)
    struct filter_node *group = node_new(strcmp(op, "$and") == 0 ? FILTER_AND : FILTER_OR);
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        AUTO(node_freep) struct filter_node *kid = node_new(FILTER_AND);
        int rc = parse_object(ps, item, fold, depth + 1, kid);
        if (rc < 0)
            return rc;
        node_add(group, TAKE(kid));
    }
    node_add(parent, strcmp(op, "$nor") == 0 ? node_not(group) : group);
    group = NULL;
    return 0;
}

static int parse_object(struct parser *ps, const json_t *o, bool fold, int depth,
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
    f->root = node_new(FILTER_AND);
    if (j != NULL && !json_is_null(j)) {
        struct parser ps = {.def = d, .e = e};
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
    node_free(f->root);
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
