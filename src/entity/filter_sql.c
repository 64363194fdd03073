/* The tree as SQL.
 *
 * A path without lists is json_extract(body,'$."a"."b"'), the same text an index has. A path
 * through lists becomes EXISTS over json_each(), one per list: "any element". Where anything may
 * stand (kind json), the type is asked for as well, because SQL would compare text with numbers. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/def_priv.h"
#include "entity/filter_priv.h"

enum { SQL_TEXT_MAX = 1 << 20, SQL_BASE_MAX = 96 };

void sql_text_init(struct sql_text *s)
{
    buf_init(&s->text, SQL_TEXT_MAX);
    s->binds_count = 0;
    s->unlinked = false;
}

void sql_text_fini(struct sql_text *s)
{
    buf_fini(&s->text);
    for (size_t i = 0; i < s->binds_count; i++)
        json_decref(s->binds[i]);
    s->binds_count = 0;
}

void sql_text_bind(struct sql_text *s, json_t *v)
{
    ASSERT(s->binds_count < SQL_BINDS_MAX);
    json_t *kept = NULL;
    if (json_is_real(v)) {
        /* As text, so that SQLite's own reading of digits makes both sides of the comparison. */
        AUTO(buf_fini) struct buf b = BUF_INIT(64);
        json_print(v, &b, NULL);
        kept = json_string(buf_str(&b));
        buf_adds(&s->text, "CAST(? AS REAL)");
    } else if (json_is_boolean(v)) {
        kept = json_integer(json_is_true(v));
        buf_adds(&s->text, "?");
    } else if (json_is_array(v)) {
        AUTO(buf_fini) struct buf b = BUF_INIT(SQL_TEXT_MAX);
        json_print(v, &b, NULL);
        kept = json_stringn(buf_str(&b), b.len);
        buf_adds(&s->text, "?");
    } else {
        kept = json_incref(v);
        buf_adds(&s->text, "?");
    }
    s->binds[s->binds_count++] = kept;
}

void sql_text_bind_exact(struct sql_text *s, json_t *v)
{
    ASSERT(s->binds_count < SQL_BINDS_MAX);
    buf_adds(&s->text, "?");
    s->binds[s->binds_count++] = json_incref(v);
}

void sql_text_bind_all(const struct sql_text *s, struct db_stmt *stmt, int first)
{
    for (size_t i = 0; i < s->binds_count; i++) {
        const json_t *v = s->binds[i];
        if (json_is_integer(v))
            db_bind_int(stmt, first + (int)i, json_integer_value(v));
        else if (json_is_real(v))
            db_bind_double(stmt, first + (int)i, json_real_value(v));
        else
            db_bind_text(stmt, first + (int)i, json_string_value(v), json_string_length(v));
    }
}

/* Where a path leads: a FROM list (empty without lists), and how to write the value and its type.
 */
struct place {
    struct buf from;
    char base[SQL_BASE_MAX]; /* what the JSON path below starts at */
    struct buf path;         /* "$.\"a\"" without quotes around; "$" is the base itself */
    int lists;
};

static void place_fini(struct place *p)
{
    buf_fini(&p->from);
    buf_fini(&p->path);
}

static void place_list(struct place *p, enum filter_step_kind kind)
{
    const char *b = p->base, *path = buf_str(&p->path);
    int n = ++p->lists;
    buf_adds(&p->from, n > 1 ? ", " : "");
    if (kind == STEP_EACH)
        buf_addf(&p->from, "json_each(%s,'%s') e%d", b, path, n);
    else
        buf_addf(&p->from,
                 "json_each(CASE json_type(%s,'%s') WHEN 'array' THEN %s->'%s'"
                 " ELSE json_array(%s->'%s') END) e%d",
                 b, path, b, path, b, path, n);
    /* Only an object has members; elsewhere the text of a scalar would be read as JSON. Elements of
       a declared list of lists are arrays by declaration. */
    snprintf(p->base, sizeof(p->base),
             "CASE WHEN e%d.type IN ('object','array') THEN e%d.value END", n, n);
    buf_reset(&p->path);
    buf_adds(&p->path, "$");
}

static void place_init(struct place *p, const struct filter_path *fp, size_t steps)
{
    *p = (struct place){.lists = 0};
    buf_init(&p->from, SQL_TEXT_MAX);
    buf_init(&p->path, SQL_TEXT_MAX);
    bool keys = fp->leaf != NULL && fp->leaf->kind == KIND_DECIMAL && steps == fp->count;
    snprintf(p->base, sizeof(p->base), "%s", keys ? "keys" : "body");
    buf_adds(&p->path, "$");
    for (size_t i = 0; i < steps; i++) {
        if (fp->steps[i].kind == STEP_KEY)
            entity_sql_path(&p->path, fp->steps[i].key);
        else
            place_list(p, fp->steps[i].kind);
    }
}

static void add_value(struct sql_text *s, const struct place *p)
{
    if (p->path.len == 1)
        buf_addf(&s->text, "e%d.value", p->lists);
    else
        buf_addf(&s->text, "json_extract(%s,'%s')", p->base, buf_str(&p->path));
}

static void add_type(struct sql_text *s, const struct place *p)
{
    if (p->path.len == 1)
        buf_addf(&s->text, "e%d.type", p->lists);
    else
        buf_addf(&s->text, "json_type(%s,'%s')", p->base, buf_str(&p->path));
}

/* How to write the value of a condition: a column, or a place. */
struct value {
    const struct filter_node *node;
    const struct place *place; /* NULL: the column */
    bool fold;                 /* the operand is text in lower case */
};

static void put(struct sql_text *s, struct value v)
{
    if (v.fold)
        buf_adds(&s->text, "lower(");
    if (v.place == NULL)
        buf_adds(&s->text, v.node->path.column);
    else
        add_value(s, v.place);
    if (v.fold)
        buf_adds(&s->text, ")");
}

/* System times are columns of milliseconds. */
static json_t *column_operand(const struct filter_node *n, json_t *v)
{
    int64_t ms;
    if (n->path.column == NULL || n->path.leaf->kind != KIND_TIME ||
        !time_parse(json_string_value(v), json_string_length(v), &ms))
        return json_incref(v);
    return json_integer(ms);
}

static void compare(struct sql_text *s, struct value v, const char *op, json_t *operand)
{
    AUTO(json_unref) json_t *o = column_operand(v.node, operand);
    put(s, v);
    buf_addf(&s->text, " %s ", op);
    sql_text_bind(s, o);
}

static void starts_with(struct sql_text *s, struct value v)
{
    /* A range, which an index can serve: from the prefix to the prefix with its last byte one
       higher. UTF-8 has no byte 0xff. */
    size_t n = json_string_length(v.node->value);
    AUTO(mem_freep) char *above = mem_strndup(json_string_value(v.node->value), n);
    above[n - 1]++;
    AUTO(json_unref) json_t *upper = json_stringn_nocheck(above, n);
    compare(s, v, ">=", v.node->value);
    buf_adds(&s->text, " AND ");
    compare(s, v, "<", upper);
}

static void in_list(struct sql_text *s, struct value v, json_t *values)
{
    AUTO(json_unref) json_t *list = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(values, i, item) json_array_append_new(list, column_operand(v.node, item));
    put(s, v);
    buf_adds(&s->text, " IN (SELECT value FROM json_each(");
    sql_text_bind(s, list);
    buf_adds(&s->text, "))");
}

/* The bare condition on a value of the operand's own type. */
static void condition(struct sql_text *s, struct value v, json_t *operand)
{
    const struct filter_node *n = v.node;
    switch (n->op) {
    case FILTER_EQ:
        compare(s, v, "=", operand);
        return;
    case FILTER_GT:
        compare(s, v, ">", operand);
        return;
    case FILTER_GTE:
        compare(s, v, ">=", operand);
        return;
    case FILTER_LT:
        compare(s, v, "<", operand);
        return;
    case FILTER_LTE:
        compare(s, v, "<=", operand);
        return;
    case FILTER_BETWEEN:
        compare(s, v, ">=", json_array_get(operand, 0));
        buf_adds(&s->text, " AND ");
        compare(s, v, "<=", json_array_get(operand, 1));
        return;
    case FILTER_IN:
        in_list(s, v, operand);
        return;
    case FILTER_CONTAINS:
        buf_adds(&s->text, "instr(");
        put(s, v);
        buf_adds(&s->text, ", ");
        sql_text_bind(s, operand);
        buf_adds(&s->text, ") > 0");
        return;
    case FILTER_STARTS:
        starts_with(s, v);
        return;
    case FILTER_ENDS:
        buf_adds(&s->text, "substr(");
        put(s, v);
        buf_addf(&s->text, ", -%zu) = ",
                 str_utf8_len(json_string_value(operand), json_string_length(operand)));
        sql_text_bind(s, operand);
        return;
    case FILTER_AND:
    case FILTER_OR:
    case FILTER_NOT:
    case FILTER_EXISTS:
    case FILTER_SIZE:
    case FILTER_WHOLE:
        break;
    }
    PANIC("operator %d", (int)n->op);
}

static const char *types_of(const json_t *operand)
{
    return json_is_number(operand)   ? "('integer','real')"
           : json_is_string(operand) ? "('text')"
                                     : "('true','false')";
}

/* Anything may stand there: only values of the operand's type are looked at. */
static void guarded(struct sql_text *s, struct value v, json_t *operand)
{
    const json_t *sample = v.node->op == FILTER_BETWEEN ? json_array_get(operand, 0) : operand;
    v.fold = v.fold && json_is_string(sample);
    buf_adds(&s->text, "(");
    add_type(s, v.place);
    buf_addf(&s->text, " IN %s AND ", types_of(sample));
    condition(s, v, operand);
    buf_adds(&s->text, ")");
}

/* The same for $in, whose values may be of several types. */
static void guarded_in(struct sql_text *s, struct value v)
{
    json_t *groups[3] = {json_array(), json_array(), json_array()};
    size_t i;
    json_t *item;
    json_array_foreach(v.node->value, i, item)
    {
        size_t g = json_is_number(item) ? 0 : json_is_string(item) ? 1 : 2;
        /* SQL's value of true is 1. */
        json_array_append_new(groups[g],
                              g == 2 ? json_integer(json_is_true(item)) : json_incref(item));
    }
    static const char *const types[] = {"('integer','real')", "('text')", "('true','false')"};
    buf_adds(&s->text, "(0");
    for (size_t g = 0; g < 3; g++) {
        if (json_array_size(groups[g]) > 0) {
            buf_adds(&s->text, " OR (");
            add_type(s, v.place);
            buf_addf(&s->text, " IN %s AND ", types[g]);
            struct value same = {v.node, v.place, v.fold && g == 1};
            in_list(s, same, groups[g]);
            buf_adds(&s->text, ")");
        }
        json_decref(groups[g]);
    }
    buf_adds(&s->text, ")");
}

static void on_element(struct sql_text *s, struct value v)
{
    if (v.node->path.leaf != NULL)
        condition(s, v, v.node->value);
    else if (v.node->op == FILTER_IN)
        guarded_in(s, v);
    else
        guarded(s, v, v.node->value);
}

static void on_whole(struct sql_text *s, struct value v)
{
    const struct filter_node *n = v.node;
    if (v.place == NULL) {
        buf_addf(&s->text, "%s IS NOT NULL", n->path.column);
        return;
    }
    const char *base = v.place->base, *path = buf_str(&v.place->path);
    if (n->op == FILTER_EXISTS) {
        buf_addf(&s->text, "json_type(%s,'%s') <> 'null'", base, path);
    } else if (n->op == FILTER_SIZE) {
        buf_addf(&s->text, "json_type(%s,'%s') = 'array' AND json_array_length(%s,'%s') = ", base,
                 path, base, path);
        sql_text_bind(s, n->value);
    } else {
        buf_addf(&s->text, n->fold ? "lower(%s->'%s') = " : "%s->'%s' = ", base, path);
        sql_text_bind(s, n->value);
    }
}

/* An element of a list of refs: its links know, as an index would. */
static bool is_linked(const struct filter_node *n)
{
    const struct filter_path *p = &n->path;
    return p->column == NULL && p->list != NULL && p->list == entity_def_field(p->def, p->text) &&
           p->list->of->kind == KIND_REF && !n->fold && (n->op == FILTER_EQ || n->op == FILTER_IN);
}

void filter_sql_linked(struct sql_text *s, const struct filter_node *n)
{
    buf_addf(&s->text, "FROM %s WHERE field = '%s' AND target ", n->path.def->sql->links,
             n->path.list->name);
    buf_adds(&s->text, n->op == FILTER_EQ ? "= " : "IN (SELECT value FROM json_each(");
    sql_text_bind(s, n->value);
    buf_adds(&s->text, n->op == FILTER_EQ ? "" : "))");
}

const struct filter_node *filter_linked(const struct filter_node *n)
{
    const struct filter_node *found = n->op > FILTER_NOT && is_linked(n) ? n : NULL;
    for (size_t i = 0; n->op == FILTER_AND && i < n->kids_count && found == NULL; i++)
        found = filter_linked(n->kids[i]);
    return found;
}

static void leaf_sql(struct sql_text *s, const struct filter_node *n)
{
    if (!s->unlinked && is_linked(n)) {
        buf_adds(&s->text, "EXISTS (SELECT 1 ");
        filter_sql_linked(s, n);
        buf_addf(&s->text, " AND rid = %s.rid)", n->path.def->sql->table);
        return;
    }
    bool whole = n->op == FILTER_EXISTS || n->op == FILTER_SIZE || n->op == FILTER_WHOLE;
    if (n->path.column != NULL) {
        struct value v = {.node = n, .fold = n->fold};
        whole ? on_whole(s, v) : on_element(s, v);
        return;
    }
    AUTO(place_fini) struct place p;
    place_init(&p, &n->path, whole ? n->path.whole : n->path.count);
    if (p.lists > 0)
        buf_addf(&s->text, "EXISTS (SELECT 1 FROM %s WHERE ", buf_str(&p.from));
    struct value v = {.node = n, .place = &p, .fold = n->fold};
    whole ? on_whole(s, v) : on_element(s, v);
    if (p.lists > 0)
        buf_adds(&s->text, ")");
}

void filter_sql(struct sql_text *s, const struct filter_node *n)
{
    buf_adds(&s->text, "(");
    if (n->op == FILTER_NOT) {
        /* SQL's "unknown" is false here, so its negation is true. */
        filter_sql(s, n->kids[0]);
        buf_adds(&s->text, " IS NOT TRUE");
    } else if (n->op == FILTER_AND || n->op == FILTER_OR) {
        if (n->kids_count == 0)
            buf_adds(&s->text, n->op == FILTER_AND ? "1" : "0");
        for (size_t i = 0; i < n->kids_count; i++) {
            buf_adds(&s->text, i == 0 ? "" : n->op == FILTER_AND ? " AND " : " OR ");
            filter_sql(s, n->kids[i]);
        }
    } else {
        leaf_sql(s, n);
    }
    buf_adds(&s->text, ")");
}

void filter_sql_sort(struct sql_text *s, const struct filter_path *fp, bool desc)
{
    if (fp->column != NULL) {
        buf_adds(&s->text, fp->column);
        return;
    }
    AUTO(place_fini) struct place p;
    place_init(&p, fp, fp->count);
    if (p.lists == 0) {
        add_value(s, &p);
        return;
    }
    buf_addf(&s->text, "(SELECT %s(", desc ? "max" : "min");
    add_value(s, &p);
    buf_addf(&s->text, ") FROM %s)", buf_str(&p.from));
}
