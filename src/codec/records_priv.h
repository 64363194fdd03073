/* What records.c (formats by the line, and what all share), records_array.c (a JSON array) and
 * records_saved.c (the state as text) share. */
#ifndef KOAN_CODEC_RECORDS_PRIV_H
#define KOAN_CODEC_RECORDS_PRIV_H

#include "base/buf.h"
#include "base/json.h"
#include "codec/records.h"

struct csv;

/* Of an array: records_array.c. */
enum records_state {
    RECORDS_START,
    RECORDS_FIRST,
    RECORDS_NEXT,
    RECORDS_INSIDE,
    RECORDS_AFTER,
    RECORDS_END
};

struct records {
    enum records_format format;
    bool finished, broken;

    const char *p; /* the piece */
    size_t n, at;
    struct json_place place; /* of p[at]; the column counts bytes */

    enum records_state state;
    size_t depth;
    bool in_string, escaped, bare; /* inside of an element; bare: a number or a word */

    char delimiter;
    struct csv *csv;
    json_t *value;           /* of the record handed out last */
    struct buf text;         /* of a record that came in several pieces, or of a CSV row */
    struct json_place begin; /* of the record */
    struct json_place saved; /* behind the last record */
    uint64_t number;
};

enum { RECORDS_FORMATS = RECORDS_CSV + 1 };
extern const char *const records_names[RECORDS_FORMATS];

static inline bool records_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* One at the beginning, without what its format needs. Never NULL. */
struct records *records_make(enum records_format format);
/* Moves over n bytes of the piece. */
void records_take(struct records *r, size_t n);
/* Nothing more can be read; returns the error, which says where. */
int records_broken_at(struct records *r, struct record *rec, struct err *e, const char *what);
/* Checks one whole text and fills *rec. 1 or a negative code. */
int records_deliver(struct records *r, const char *text, size_t n, struct record *rec,
                    struct err *e);
/* As records_next(). */
int records_next_element(struct records *r, struct record *rec, struct err *e);

#endif
