/* What the files of JSON share. */
#ifndef KOAN_BASE_JSON_PRIV_H
#define KOAN_BASE_JSON_PRIV_H

#include "base/json.h"

struct buf;

struct json_reader {
    const char *text, *p, *end;
    const struct json_place *from;
    struct err *e;
    int depth;
    struct json_note *note; /* may be NULL */
    size_t odd;             /* places so far that json_print() would write otherwise; of numbers
                               only if there is a note */
};

void json_bad_at(const struct json_reader *r, const char *at, const char *what);
/* Something else stands where `expected` should; always false. */
bool json_bad_token(const struct json_reader *r, const char *expected);
/* A character that numbers and words are made of. */
bool json_is_word(char c);
/* The number that stands at the reader; NULL when it is none. */
json_t *json_read_number(struct json_reader *r);
/* Goes past the value that stands at the reader, if it is written just as json_print() would write
 * it; nothing is made. False: it is not, or nobody can tell so, and the reader stays. */
bool json_skip_printed(struct json_reader *r);
void json_print_int(struct buf *b, int64_t v);
void json_print_real(struct buf *b, double v);

struct json_member {
    const char *key;
    size_t n;
    json_t *value;
};

int json_member_order(const void *a, const void *b);
/* The members of an object sorted by the bytes of their keys; NULL when out of memory. */
struct json_member *json_sorted(const json_t *o);

#endif
