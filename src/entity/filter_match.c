/* The evaluator: a record in memory against the tree. The plain reading of the language, and the
 * judge of the SQL. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/filter_priv.h"

/* The value in the form operands have: decimal keys, folded text. A new reference. */
static json_t *comparable(const struct filter_node *n, const json_t *v)
{
    const struct entity_field *leaf = n->path.leaf;
    if (leaf != NULL && leaf->kind == KIND_DECIMAL && json_is_string(v)) {
        char key[DECIMAL_TEXT];
        decimal_key(json_string_value(v), key);
        return json_string(key);
    }
    return n->fold && json_is_string(v) ? filter_fold(v) : json_incref((json_t *)v);
}

static bool same_type(const json_t *a, const json_t *b)
{
    return (json_is_number(a) && json_is_number(b)) || (json_is_string(a) && json_is_string(b)) ||
           (json_is_boolean(a) && json_is_boolean(b));
}

static bool equal(const json_t *a, const json_t *b)
{
    return same_type(a, b) && json_compare(a, b) == 0;
}

static bool text_matches(const struct filter_node *n, const json_t *v)
{
    if (!json_is_string(v))
        return false;
    const char *s = json_string_value(v), *part = json_string_value(n->value);
    if (n->op == FILTER_STARTS)
        return str_starts(s, part);
    return n->op == FILTER_ENDS ? str_ends(s, part) : strstr(s, part) != NULL;
}

static bool order_matches(const struct filter_node *n, const json_t *v)
{
    if (!same_type(v, n->value))
        return false;
    int c = json_compare(v, n->value);
    return n->op == FILTER_GT    ? c > 0
           : n->op == FILTER_GTE ? c >= 0
           : n->op == FILTER_LT  ? c < 0
                                 : c <= 0;
}

/* One element; never null. */
static bool element_matches(const struct filter_node *n, const json_t *element)
{
    AUTO(json_unref) json_t *v = comparable(n, element);
    size_t i;
    json_t *item;
    switch (n->op) {
    case FILTER_EQ:
        return equal(v, n->value);
    case FILTER_IN:
        json_array_foreach(n->value, i, item)
        {
            if (equal(v, item))
                return true;
        }
        return false;
    case FILTER_BETWEEN:
        item = json_array_get(n->value, 0);
        return same_type(v, item) && json_compare(v, item) >= 0 &&
               json_compare(v, json_array_get(n->value, 1)) <= 0;
    case FILTER_GT:
    case FILTER_GTE:
    case FILTER_LT:
    case FILTER_LTE:
        return order_matches(n, v);
    case FILTER_CONTAINS:
    case FILTER_STARTS:
    case FILTER_ENDS:
        return text_matches(n, v);
    case FILTER_EXISTS:
        return true;
    case FILTER_SIZE:
        return json_is_array(v) && (json_int_t)json_array_size(v) == json_integer_value(n->value);
    case FILTER_WHOLE: {
        AUTO(buf_fini) struct buf text = BUF_INIT(ENTITY_RECORD_BYTES_MAX);
        json_print(v, &text, NULL);
        AUTO(json_unref) json_t *s = json_stringn(buf_str(&text), text.len);
        AUTO(json_unref) json_t *folded = n->fold ? filter_fold(s) : json_incref(s);
        return json_is_array(v) && json_equal(folded, n->value);
    }
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
        break;
    }
    PANIC("operator %d", (int)n->op);
}

/* Whether any value reached by steps [at, end) matches. */
static bool any_matches(const struct filter_node *n, const json_t *v, size_t at, size_t end)
{
    if (v == NULL || json_is_null(v))
        return false;
    if (at == end)
        return element_matches(n, v);
    const struct filter_step *s = &n->path.steps[at];
    if (s->kind == STEP_KEY)
        return any_matches(n, json_object_get(v, s->key), at + 1, end);
    if (!json_is_array(v))
        return s->kind == STEP_MAYBE && any_matches(n, v, at + 1, end);
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        if (any_matches(n, item, at + 1, end))
            return true;
    }
    return false;
}

static bool node_matches(const struct filter_node *n, const json_t *record)
{
    switch (n->op) {
    case FILTER_AND:
        for (size_t i = 0; i < n->kids_count; i++) {
            if (!node_matches(n->kids[i], record))
                return false;
        }
        return true;
    case FILTER_OR:
        for (size_t i = 0; i < n->kids_count; i++) {
            if (node_matches(n->kids[i], record))
                return true;
        }
        return false;
    case FILTER_NOT:
        return !node_matches(n->kids[0], record);
    case FILTER_EQ:
    case FILTER_GT:
    case FILTER_GTE:
    case FILTER_LT:
    case FILTER_LTE:
    case FILTER_BETWEEN:
    case FILTER_IN:
    case FILTER_CONTAINS:
    case FILTER_STARTS:
    case FILTER_ENDS:
    case FILTER_EXISTS:
    case FILTER_SIZE:
    case FILTER_WHOLE:
        break;
    }
    if (n->path.column != NULL)
        return any_matches(n, json_object_get(record, n->path.column), 0, 0);
    bool whole = n->op == FILTER_EXISTS || n->op == FILTER_SIZE || n->op == FILTER_WHOLE;
    return any_matches(n, record, 0, whole ? n->path.whole : n->path.count);
}

bool filter_match(const struct filter *f, const json_t *record)
{
    return node_matches(f->root, record);
}
