/* Read - records out of the database, on the thread that asks, from its own connection.
 *
 * A record is an object: id, the declared fields in their order, version, created_at, updated_at,
 * created_by, updated_by. The stored body is spliced in as text and never parsed, unless only some
 * fields are asked for.
 *
 * `db` is a reader of the calling thread; entity_get and entity_get_json may also use the writer on
 * the ledger's thread. Every read is of one tenant, and of one partition of it: where a function
 * takes a tenant, "default" is the records that are in no partition, "default/archive" those of
 * partition archive. Nothing here waits; a query that would visit too much, or runs too long by the
 * clock of the connection (db_set_clock), is stopped and answered with ERR_TOO_LARGE that names the
 * index it lacks. */
#ifndef KOAN_ENTITY_READ_H
#define KOAN_ENTITY_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "entity/def.h"

struct db;
struct err;
struct filter;

enum {
    ENTITY_PAGE_SIZE = 50,
    ENTITY_PAGE_SIZE_MAX = 200,
    ENTITY_OFFSET_MAX = 10000, /* rows that page numbers reach; beyond: a cursor */
    ENTITY_COUNT_MAX = 10000,  /* counted by default; beyond: at least so many */
    ENTITY_SORT_MAX = 8,
    ENTITY_GET_MANY_MAX = 1000,
    ENTITY_VISIT_MAX = 1000000, /* rows a query may visit, about */
    ENTITY_QUERY_MS_MAX = 5000, /* and how long it may run */
    ENTITY_CURSOR_MAX = 8 << 10,
    ENTITY_SEARCH_BYTES_MAX = 256, /* of q */
    ENTITY_SEARCH_WORDS_MAX = 16,
};

/* Appends the complete record. ERR_NOT_FOUND (with words) when absent. `version` may be NULL. */
int entity_get(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
               struct buf *out, uint64_t *version, struct err *e);
/* The same, parsed; a new reference. */
int entity_get_json(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
                    json_t **out, uint64_t *version, struct err *e);
/* A JSON array in the order of the ids, with duplicates, and null for each that is missing. */
int entity_get_many(struct db *db, const struct entity_def *d, const char *tenant,
                    const char *const *ids, size_t count, struct buf *out, struct err *e);

/* Replaced versions of a record, the newest first, as a JSON array; also of one that is removed.
 * ERR_UNSUPPORTED when the entity keeps none. */
int entity_history(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
                   struct buf *out, struct err *e);
/* The record as it was at a version; ERR_GONE when it is not kept any more. */
int entity_history_get(struct db *db, const struct entity_def *d, const char *tenant,
                       const char *id, uint64_t version, struct buf *out, struct err *e);

enum entity_count_mode { ENTITY_COUNT_SOME, ENTITY_COUNT_EXACT, ENTITY_COUNT_NONE };

struct entity_query {
    const struct filter *filter; /* NULL: all */
    const char *q;               /* words to search for, or NULL */
    const char *sort;            /* "-total,name" or NULL: by id */
    const char *fields;          /* "name,tier" or NULL: all; id is always there */
    int page;                    /* from 1; 0 is 1 */
    int page_size;               /* 0 is ENTITY_PAGE_SIZE */
    const void *cursor;          /* raw bytes of an earlier page, or NULL; then page must be 0 */
    size_t cursor_len;
    enum entity_count_mode count;
    /* Of an entity with soft_remove: what was removed and can be restored, instead. Of those of one
     * id the last. `updated_at` and `updated_by` are when it was removed and by whom. */
    bool removed;
    bool stream; /* rows one under the other, each with '\n' behind it, instead of an array */
    uint64_t visit_max, ms_max; /* 0: ENTITY_VISIT_MAX, ENTITY_QUERY_MS_MAX; lower for tests */
};

struct entity_page {
    struct buf rows; /* a JSON array, or lines */
    size_t count;    /* of rows */
    int page, page_size;
    int64_t total;     /* -1: not known */
    bool at_least;     /* total is ENTITY_COUNT_MAX and there are more */
    bool more;         /* another page follows */
    struct buf cursor; /* raw bytes for the next page; empty when there is none. The face that hands
                          it out signs it */
};

void entity_page_init(struct entity_page *p, size_t bytes_max);
void entity_page_fini(struct entity_page *p); /* also for AUTO */

/* One snapshot for page and count. ERR_INVALID: sort, fields, page, pageSize, or a cursor of
 * another question; ERR_TOO_LARGE: see above. */
int entity_query(struct db *db, const struct entity_def *d, const char *tenant,
                 const struct entity_query *q, struct entity_page *out, struct err *e);
/* Matches of filter and q, exactly. */
int entity_count(struct db *db, const struct entity_def *d, const char *tenant,
                 const struct entity_query *q, int64_t *out, struct err *e);
/* The ids of at most `max` matches, in order of id, as a JSON array: for changes by filter.
 * ERR_TOO_LARGE when there are more. */
int entity_query_ids(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct filter *f, size_t max, json_t **out, struct err *e);
/* The same as [{"id", "if_version"}, ..]: what the records were when they matched. */
int entity_query_versions(struct db *db, const struct entity_def *d, const char *tenant,
                          const struct filter *f, size_t max, json_t **out, struct err *e);

/* All rows of a question, a batch at a time, out of one snapshot: rows as lines, in its order, from
 * its cursor on. Page numbers and count do not apply. The connection belongs to the scan until it
 * is closed; calls may come from different threads, one after the other. What `q` points to must
 * live as long. */
struct entity_scan;
int entity_scan_open(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct entity_query *q, struct entity_scan **out, struct err *e);
/* Appends rows until there are `bytes` of them. 1: more may follow, 0: that was all, negative: an
 * error. A batch may visit as much as a query. */
int entity_scan_next(struct entity_scan *s, size_t bytes, struct buf *out, struct err *e);
/* Raw bytes to go on behind the last row, while there was more; NULL if a sort value is too long.
 */
const struct buf *entity_scan_cursor(const struct entity_scan *s);
void entity_scan_close(struct entity_scan *s); /* takes NULL */

#endif
