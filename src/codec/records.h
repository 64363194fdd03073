/* Records - splits what people import into single JSON objects: NDJSON, a JSON array, or CSV.
 *
 * Streaming like codec/csv.h: pieces in, records out, memory for one record. An array is not loaded
 * but cut between its elements by a small state machine that knows strings, escapes and nesting.
 *
 *     NDJSON   one object per line; blank lines are skipped
 *     JSON     one array of objects
 *     CSV      with a header; every field becomes a string
 *
 * Each record is JSON text that was checked to be an object within the rules of base/json.h. A bad
 * record is reported with its place and the reader goes on with the next, unless the frame itself
 * is broken (a bad CSV header, an array that is not one): then records_is_broken().
 *
 * Between two records the state can be saved as a short JSON text and taken up later, by another
 * process, at the byte records_offset(). */
#ifndef KOAN_CODEC_RECORDS_H
#define KOAN_CODEC_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct buf;
struct err;
struct records;

enum { RECORDS_RECORD_MAX = 1 << 20, RECORDS_STATE_MAX = 2 << 20 };

enum records_format { RECORDS_NDJSON, RECORDS_JSON, RECORDS_CSV };

struct record {
    const char *json; /* as it stands in the file, so an array's may span lines; valid until the
                         next call of records_next; not NUL-terminated */
    size_t n;
    const json_t *value; /* the object it is, valid as long; NULL: only its text is known (CSV) */
    uint64_t number;     /* from 1; bad records count */
    uint64_t line;       /* where it begins, from 1 */
    uint64_t offset;     /* the byte where it begins */
    uint64_t end;        /* the byte behind it, from where the reader would go on */
};

/* By the ending of the name (.csv .tsv .ndjson .jsonl), else by the first bytes: '[' is an array,
 * '{' NDJSON, all else CSV. `name` may be NULL. */
enum records_format records_guess(const char *name, const char *head, size_t n);
bool records_format_parse(const char *s, enum records_format *out); /* "ndjson" "json" "csv" */

/* `delimiter` matters for CSV only; 0 is ','. Never NULL. */
struct records *records_new(enum records_format format, char delimiter);
/* From what records_save wrote. ERR_INVALID when it is something else. */
int records_resume(const char *state, size_t n, struct records **out, struct err *e);
void records_free(struct records *r);
/* The byte of the file with which the first piece begins: 0, or where to resume. */
uint64_t records_offset(const struct records *r);

/* `p` stays the caller's and must not change until records_next has answered 0. */
void records_feed(struct records *r, const char *p, size_t n);
/* No more pieces will come. */
void records_finish(struct records *r);
/* 1 and a record; 0 when all that was fed is used up (after records_finish: the end); or a negative
 * code: this record is bad (ERR_INVALID, ERR_TOO_LARGE), `rec` says which and where. */
int records_next(struct records *r, struct record *rec, struct err *e);
/* The last error was final: records_next answers 0 from now on. */
bool records_is_broken(const struct records *r);
/* The state behind the last record that was delivered or reported, appended as JSON text: about 100
 * bytes, and for CSV the names of the columns; never more than RECORDS_STATE_MAX. ERR_INVALID names
 * a column that is not UTF-8 text. */
int records_save(const struct records *r, struct buf *out, struct err *e);

#endif
