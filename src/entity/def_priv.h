/* What the files of this folder share about definitions. */
#ifndef KOAN_ENTITY_DEF_PRIV_H
#define KOAN_ENTITY_DEF_PRIV_H

#include "entity/def.h"

struct buf;

enum {
    /* Deep enough for any data, and low enough that a record around it stays within
       JSON_DEPTH_MAX. */
    ENTITY_VALUE_DEPTH_MAX = JSON_DEPTH_MAX - 4,
    ENTITY_MAP_KEY_MAX = 256,
};

/* ---- kind.c ---- */

/* KIND_COUNT when there is none of that name. */
enum entity_kind entity_kind_by_name(const char *name);
const char *const *entity_kind_names(void);      /* KIND_COUNT of them */
bool entity_kind_is_text(enum entity_kind k);    /* $contains, wildcards and ignoreCase apply */
bool entity_kind_is_ordered(enum entity_kind k); /* $gt and sort apply */
bool entity_kind_is_indexable(enum entity_kind k);
bool entity_field_has_decimal(const struct entity_field *f);
/* The kind alone, without min, max, pattern and choices: how an operand becomes comparable. For
 * decimal the result is the key. */
json_t *entity_operand_check(const struct entity_field *f, const json_t *v, struct err *e);
/* The sort keys inside a normalised value, a new reference; NULL where there are none. */
json_t *entity_value_keys(const struct entity_field *f, const json_t *v);

/* Bytes that base64 text decodes to; -1 when it is not base64 in its one canonical form. */
int64_t kind_base64_len(const char *s, size_t n);

/* ---- kind_limits.c ---- */

/* min, max, pattern, and what e-mail addresses and URLs look like; `v` is of the right kind. */
int kind_check_limits(const struct entity_field *f, const json_t *v, struct err *e);

/* ---- field.c ---- */

int entity_field_parse(const char *name, const json_t *j, int depth, struct entity_field *out,
                       struct err *e);
void entity_field_fini(struct entity_field *f);
/* The normalised declaration. */
json_t *entity_field_json(const struct entity_field *f);

/* ---- keeping.c ---- */

int entity_keeping_parse(struct entity_def *d, const json_t *j, struct err *e);
/* Only what is there: a definition without such options keeps the text it had. */
void entity_keeping_print(const struct entity_def *d, json_t *o);

/* "tenant" or "tenant/partition", bound as two values. The text must live until the statement ends.
 */
struct db_stmt;
void entity_scope_bind(struct db_stmt *s, int tenant_at, int part_at, const char *scope);

/* ---- sql.c ---- */

/* The SQL expression that a declared or system field is in `body`, `keys` or a column. The same
 * text everywhere: it is what lets an index serve a query. */
void entity_sql_expr(struct buf *out, const struct entity_field *f, const char *system_name);
void entity_sql_path(struct buf *out, const char *key); /* ."key" inside a JSON path in quotes */

struct entity_sql {
    char *table; /* quoted name */
    char *get, *find, *exists, *insert, *update, *remove, *revive, *restore;
    char *visible; /* a further condition on rows that may be seen: "" or " AND ..." */
    char *search, *search_put, *search_change, *search_remove; /* NULL unless has_search */
    /* NULL without lists of refs */
    char *links, *links_put, *links_differ, *links_remove;
};
struct entity_sql *entity_sql_new(const struct entity_def *d);
void entity_sql_free(struct entity_sql *s);

/* ---- copy.c ---- */

void entity_copy_free(struct entity_copy *c); /* takes NULL */

/* ---- kept.c ---- */

void entity_past_free(struct entity_past *p); /* takes NULL */

/* ---- search.c ---- */

void search_sql(struct entity_sql *s, const struct entity_def *d);

/* ---- links.c ---- */

void links_sql(struct entity_sql *s, const struct entity_def *d);

/* ---- access.c ---- */

int entity_access_parse(struct entity_def *d, const json_t *j, struct err *e);
json_t *entity_access_json(const struct entity_def *d); /* NULL when nothing is said */

#endif
