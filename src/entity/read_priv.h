/* Shared by the reading files. */
#ifndef KOAN_ENTITY_READ_PRIV_H
#define KOAN_ENTITY_READ_PRIV_H

#include "entity/def_priv.h"
#include "entity/filter_priv.h"
#include "entity/read.h"

struct db_stmt;

enum {
    READ_RECORD_MAX = 2 * ENTITY_RECORD_BYTES_MAX, /* with the system fields around it */
};

/* The complete record from columns id, body, version, created_at, updated_at, created_by,
 * updated_by. */
void read_record(struct buf *out, struct db_stmt *s);
/* The same of one that was removed: it says when. */
void read_removed(struct buf *out, struct db_stmt *s);

/* ---- sort.c ---- */

struct sort_term {
    struct filter_path path;
    bool desc;
};

struct sort {
    struct sort_term terms[ENTITY_SORT_MAX];
    size_t count;
    bool id_desc; /* the tie breaker follows the last term, so that one index serves both ways */
};

int sort_parse(const struct entity_def *d, const char *text, struct sort *out, struct err *e);
void sort_fini(struct sort *s);

/* ---- page_cursor.c: where a page ended ----
 *
 *     offset size  meaning
 *     0      1     format, 1
 *     1      8     hash of entity, tenant, filter and sort
 *     9      ..    a value for each sort term, then the id as text
 *
 *     a value: 1 byte kind (0 null, 1 integer, 2 number, 3 text), then nothing, 8 bytes, 8 bytes,
 *     or a length of 4 bytes and so many bytes. Integers are little-endian. */

enum page_value_kind { PAGE_NULL, PAGE_INT, PAGE_DOUBLE, PAGE_TEXT };

struct page_value {
    enum page_value_kind kind;
    int64_t i;
    double d;
    const char *text; /* points into the cursor */
    size_t len;
};

struct page_cursor {
    struct page_value values[ENTITY_SORT_MAX + 1]; /* the id is the last */
    size_t count;
};

void page_cursor_begin(struct buf *out, uint64_t hash);
void page_cursor_add(struct buf *out, const struct page_value *v);
/* ERR_INVALID for anything that page_cursor_begin and _add did not make for this question. */
int page_cursor_parse(const void *p, size_t n, uint64_t hash, size_t terms, struct page_cursor *out,
                      struct err *e);

/* ---- question.c: what is asked ---- */

struct question {
    struct db *db;
    const struct entity_def *def;
    const char *tenant;
    const struct entity_query *q;
    const struct filter_node *root; /* NULL: all */
    struct sort sort;
    struct page_cursor after;
    uint64_t hash;
    struct buf match; /* of the search, empty without */
    int page, page_size;
};

int question_init(struct question *k, struct err *e);
void question_fini(struct question *k);
/* " FROM .. WHERE .." */
void question_where(struct sql_text *s, const struct question *k);
/* The columns of read_record(), then the sort terms; in order, from page or cursor on. */
void question_sql(struct sql_text *s, const struct question *k, int64_t limit);
struct db_stmt *question_start(const struct question *k, const struct sql_text *s, struct err *e);
/* The cursor behind the row that `stmt` stands on. */
void question_remember(struct buf *out, struct db_stmt *stmt, const struct question *k);
/* A JSON object of the wanted names, or NULL for all. */
int question_fields(const struct question *k, json_t **out, struct err *e);
/* Appends the row; `fields` as above. */
int question_row(const struct question *k, struct db_stmt *stmt, const json_t *fields,
                 struct buf *out, struct err *e);

/* ---- search.c ---- */

/* What FTS5 is asked for `q`: every word, the last as a prefix. */
int search_match(const struct entity_def *d, const char *q, struct buf *out, struct err *e);

/* Every record's words are there, as of this snapshot; else ERR_UNAVAILABLE. */
int search_ready(struct db *db, const struct entity_def *d, struct err *e);

/* ---- visit.c ---- */

/* From here on the statements of this question may visit so much, all together. */
void question_limit(const struct question *k);
void question_unlimit(const struct question *k);
/* They did: ERR_TOO_LARGE that names the index. */
int question_too_much(const struct question *k, struct err *e);

#endif
