/* The tree behind a filter, shared by its parser, its evaluator and its translation to SQL.
 *
 * Negations are gone but for FILTER_NOT: $ne is NOT EQ, $nin is NOT IN, null is NOT EXISTS. Every
 * other condition is false for null, so two-valued logic is enough in memory, and SQL only has to
 * read its third value as false under a NOT. */
#ifndef KOAN_ENTITY_FILTER_PRIV_H
#define KOAN_ENTITY_FILTER_PRIV_H

#include <stdint.h>

#include "base/buf.h"
#include "entity/decimal.h"
#include "entity/filter.h"

enum filter_op {
    FILTER_AND, /* of kids; of none: true */
    FILTER_OR,  /* of kids; of none: false */
    FILTER_NOT, /* of one kid */
    /* Of any element at the path: */
    FILTER_EQ,
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_BETWEEN, /* value: two of them */
    FILTER_IN,      /* value: many of them, never null */
    FILTER_CONTAINS,
    FILTER_STARTS,
    FILTER_ENDS,
    /* Of the value itself, a list as a whole: */
    FILTER_EXISTS,
    FILTER_SIZE,
    FILTER_WHOLE, /* value: compact text of a list */
};

/* How to get from a record to the values that a path means. */
enum filter_step_kind {
    STEP_KEY,   /* a member of an object */
    STEP_EACH,  /* every element of a list */
    STEP_MAYBE, /* every element if it is a list, else the value itself */
};

enum { FILTER_STEPS_MAX = 2 * FILTER_PATH_MAX + 2 * ENTITY_OF_DEPTH_MAX };

struct filter_step {
    enum filter_step_kind kind;
    const char *key;
};

struct filter_path {
    char *text; /* owns the keys: the dotted path cut into pieces */
    struct filter_step steps[FILTER_STEPS_MAX];
    size_t count;
    size_t whole;                    /* steps up to the last key: what $size and $exists look at */
    const struct entity_def *def;    /* of the records */
    const char *column;              /* of a system field; then there are no steps */
    const struct entity_field *leaf; /* the kind of an element; NULL: anything */
    const struct entity_field *list; /* the list at `whole`, when it is declared with `of` */
    bool is_list;                    /* `whole` is known to be a list */
};

struct filter_node {
    enum filter_op op;
    bool fold; /* compare without regard to ASCII case; operands are folded already */
    struct filter_path path;
    json_t *value;
    struct filter_node **kids;
    size_t kids_count;
};

struct filter {
    struct entity_def *def;
    struct filter_node *root;
    uint64_t hash; /* of the question as asked: binds a cursor */
};

/* Resolve a dotted path. The caller's message gets the place. */
int filter_path_parse(const struct entity_def *d, const char *dotted, struct filter_path *out,
                      struct err *e);
void filter_path_fini(struct filter_path *p);
/* What a system field is like; NULL for another name. */
const struct entity_field *filter_system_field(const char *name);

/* ASCII only, like lower() in SQL. A new string. */
json_t *filter_fold(const json_t *s);

/* ---- filter_node.c ---- */

struct filter_node *filter_node_new(enum filter_op op);
void filter_node_free(struct filter_node *n); /* takes NULL */
void filter_node_freep(struct filter_node **n);
/* `parent` owns `kid`. */
void filter_node_add(struct filter_node *parent, struct filter_node *kid);
struct filter_node *filter_node_not(struct filter_node *kid);

/* ---- filter_leaf.c: operators and operands; 0 or e->code ---- */

struct filter_parser {
    const struct entity_def *def;
    size_t conditions; /* so far, in the whole filter */
    struct err *e;
};

/* A condition on the path, without operator. NULL: one too many, or no such path. */
struct filter_node *filter_leaf_new(struct filter_parser *ps, const char *dotted, bool fold);
/* `n` is equal to `v`, which is not null; as a `bare` value it may have wildcards. */
int filter_leaf_eq(struct filter_parser *ps, struct filter_node *n, const json_t *v, bool bare);
/* Any operator but $all, $not and $options; $ne and $nin as what they negate. */
int filter_leaf_operator(struct filter_parser *ps, struct filter_node *n, const char *op,
                         const json_t *v);
/* $all: a condition of its own for each value, all of them in `parent`. */
int filter_leaf_all(struct filter_parser *ps, const char *dotted, const json_t *v, bool fold,
                    struct filter_node *parent);
/* Where anything may stand it may be a text, which then holds the operand, or a list, which has it
 * among its elements: *n becomes either of the two. */
int filter_leaf_contains_open(struct filter_parser *ps, const char *dotted, bool fold,
                              struct filter_node **n, const json_t *v);
/* There is no such operator; names the nearest. */
int filter_unknown(const char *key, const char *const *names, size_t count, struct err *e);

/* ---- filter_sql.c ---- */

enum { SQL_BINDS_MAX = 4 * FILTER_CONDITIONS_MAX + 200 };

/* SQL text and what to bind to its question marks, in order. */
struct sql_text {
    struct buf text;
    json_t *binds[SQL_BINDS_MAX];
    size_t binds_count;
    bool unlinked; /* the rows are not the table's: links do not know them */
};

struct db_stmt;
void sql_text_init(struct sql_text *s);
void sql_text_fini(struct sql_text *s);
/* Appends `?` (or what stands for it) and keeps a reference on the value. */
void sql_text_bind(struct sql_text *s, json_t *v);
/* The same for a value that came out of SQLite: numbers are bound bit by bit. */
void sql_text_bind_exact(struct sql_text *s, json_t *v);
void sql_text_bind_all(const struct sql_text *s, struct db_stmt *stmt, int first);
/* The condition, in parentheses. */
void filter_sql(struct sql_text *s, const struct filter_node *n);
/* A condition on the elements of a list of refs, which must hold for the whole to hold; NULL when
 * there is none. */
const struct filter_node *filter_linked(const struct filter_node *n);
/* "FROM .. WHERE .." of the links that meet it: their `rid`, which may come up twice. */
void filter_sql_linked(struct sql_text *s, const struct filter_node *n);
/* The expression a path sorts by: its value, or the least or greatest of a list. */
void filter_sql_sort(struct sql_text *s, const struct filter_path *p, bool desc);

#endif
