/* A condition: an operator and its operand, checked against the path they are said of. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"
#include "entity/doc.h"
#include "entity/filter_priv.h"

static const char *const operators[] = {"$eq",  "$ne",     "$gt",      "$gte",      "$lt",
                                        "$lte", "$in",     "$nin",     "$all",      "$size",
                                        "$not", "$exists", "$between", "$contains", "$options"};

int filter_unknown(const char *key, const char *const *names, size_t count, struct err *e)
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
static json_t *operand(struct filter_parser *ps, const struct filter_node *n, const json_t *v)
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

static int set_operand(struct filter_parser *ps, struct filter_node *n, const json_t *v)
{
    n->value = operand(ps, n, v);
    return n->value != NULL ? 0 : ERR_INVALID;
}

static int check_ordered(struct filter_parser *ps, const struct filter_node *n, const json_t *v)
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
static int parse_wildcard(struct filter_parser *ps, struct filter_node *n, const char *s)
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

static int parse_whole(struct filter_parser *ps, struct filter_node *n, const json_t *v)
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
int filter_leaf_eq(struct filter_parser *ps, struct filter_node *n, const json_t *v, bool bare)
{
    if (json_is_array(v))
        return parse_whole(ps, n, v);
    if (bare && json_is_string(v) && is_textual(n) && strchr(json_string_value(v), '*') != NULL)
        return parse_wildcard(ps, n, json_string_value(v));
    n->op = FILTER_EQ;
    return set_operand(ps, n, v);
}

static int parse_in(struct filter_parser *ps, struct filter_node *n, const json_t *v)
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

static int parse_between(struct filter_parser *ps, struct filter_node *n, const json_t *v)
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

static int parse_order(struct filter_parser *ps, struct filter_node *n, const char *op,
                       const json_t *v)
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

static int parse_size(struct filter_parser *ps, struct filter_node *n, const json_t *v)
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
static int parse_exists(struct filter_parser *ps, struct filter_node *n, const json_t *v)
{
    n->op = FILTER_EXISTS;
    return json_is_boolean(v) ? 0 : err_set(ps->e, ERR_INVALID, "$exists wants true or false");
}

struct filter_node *filter_leaf_new(struct filter_parser *ps, const char *dotted, bool fold)
{
    if (++ps->conditions > FILTER_CONDITIONS_MAX) {
        err_set(ps->e, ERR_TOO_LARGE, "a filter has at most %d conditions", FILTER_CONDITIONS_MAX);
        return NULL;
    }
    AUTO(filter_node_freep) struct filter_node *n = filter_node_new(FILTER_EQ);
    n->fold = fold;
    if (filter_path_parse(ps->def, dotted, &n->path, ps->e) < 0)
        return NULL;
    /* Only text has case. */
    n->fold = fold && is_textual(n);
    return TAKE(n);
}

int filter_leaf_all(struct filter_parser *ps, const char *dotted, const json_t *v, bool fold,
                    struct filter_node *parent)
{
    if (json_array_size(v) == 0)
        return err_set(ps->e, ERR_INVALID, "$all wants a list of at least one value");
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        AUTO(filter_node_freep) struct filter_node *n = filter_leaf_new(ps, dotted, fold);
        if (n == NULL)
            return ps->e->code;
        if (!n->path.is_list && n->path.leaf != NULL)
            return err_set(ps->e, ERR_INVALID, "$all is for lists");
        if (json_is_null(item) || json_is_array(item))
            return err_set(ps->e, ERR_INVALID, "$all wants plain values");
        int rc = filter_leaf_eq(ps, n, item, false);
        if (rc < 0)
            return ps->e->code;
        filter_node_add(parent, TAKE(n));
    }
    return 0;
}

static int parse_contains(struct filter_parser *ps, struct filter_node *n, const json_t *v)
{
    bool on_list = n->path.is_list;
    if (json_is_null(v))
        return err_set(ps->e, ERR_INVALID, "$contains wants a value; nothing contains null");
    if (on_list || (n->path.leaf == NULL && !json_is_string(v)))
        return filter_leaf_eq(ps, n, v, false);
    if (!is_textual(n) || !json_is_string(v))
        return err_set(ps->e, ERR_INVALID, "$contains is for text and lists");
    n->op = FILTER_CONTAINS;
    n->value = n->fold ? filter_fold(v) : json_incref((json_t *)v);
    return 0;
}

/* Where anything may stand it may be a text, which then holds the operand, or a list, which has it
 * among its elements: `n`, and another node behind it. */
int filter_leaf_contains_open(struct filter_parser *ps, const char *dotted, bool fold,
                              struct filter_node **n, const json_t *v)
{
    AUTO(filter_node_freep) struct filter_node *element = filter_leaf_new(ps, dotted, fold);
    if (element == NULL || filter_leaf_eq(ps, element, v, false) < 0)
        return ps->e->code;
    struct filter_node *either = filter_node_new(FILTER_OR);
    (*n)->path.count = (*n)->path.whole;
    filter_node_add(either, TAKE(*n));
    filter_node_add(either, TAKE(element));
    *n = either;
    return 0;
}

int filter_leaf_operator(struct filter_parser *ps, struct filter_node *n, const char *op,
                         const json_t *v)
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
        return filter_leaf_eq(ps, n, v, false);
    return filter_unknown(op, operators, ARRAY_LEN(operators), ps->e);
}
