/* CSV - a streaming reader for RFC 4180, with the liberties that real files take.
 *
 * Bytes come in pieces of any size; records go out one by one. Nothing is held but the record that
 * is being read, so a file may be larger than memory.
 *
 *     csv_feed(c, piece, n);
 *     while ((rc = csv_next(c, &rec, &e)) != 0)
 *         rc > 0 ? use(&rec) : reject(&rec, &e);      0: feed more, or after csv_finish(): the end
 *
 * Beyond the RFC: a BOM is skipped, lines end in LF, CRLF or CR, blank lines are no records, and a
 * quote inside an unquoted field is itself. Not tolerated, since guessing would lose data: text
 * behind a closing quote, a quote that is never closed, another number of fields than the header
 * has, a NUL, bytes that are not UTF-8. Such a record is an error with line and column (both from
 * 1, the column in bytes); the reader then goes on with the next line that ends outside of quotes.
 * Only a bad header is final. */
#ifndef KOAN_CODEC_CSV_H
#define KOAN_CODEC_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct err;
struct csv;

enum { CSV_RECORD_MAX = 1 << 20, CSV_FIELDS_MAX = 1000 };

struct csv_options {
    char delimiter; /* 0 is ',' */
    bool header;    /* the first record names the columns, and is not delivered */
    /* To go on in the middle: the columns that the header gave, where the first piece begins, and
       its line (0 is 1). Copied. */
    const struct str *columns;
    size_t column_count;
    uint64_t offset, line;
};

struct csv_record {
    const struct str *fields; /* valid until the next call of csv_next */
    size_t count;
    uint64_t line;        /* where it begins */
    uint64_t offset, end; /* its bytes with the line end: [offset, end) of the file */
};

/* Never NULL. */
struct csv *csv_new(const struct csv_options *options);
void csv_free(struct csv *c);
/* `p` stays the caller's and must not change until csv_next has answered 0. */
void csv_feed(struct csv *c, const char *p, size_t n);
/* No more pieces will come. */
void csv_finish(struct csv *c);
/* 1 and a record; 0 when all that was fed is used up; or a negative code: the record at rec->line,
 * rec->offset is bad (ERR_INVALID, ERR_TOO_LARGE). */
int csv_next(struct csv *c, struct csv_record *rec, struct err *e);
/* A bad header was reported; csv_next answers 0 from then on. */
bool csv_is_broken(const struct csv *c);
/* The names of the columns; NULL before the header was read. */
const struct str *csv_columns(const struct csv *c, size_t *count);
/* Where the next record begins at the earliest. */
void csv_place(const struct csv *c, uint64_t *offset, uint64_t *line);

#endif
