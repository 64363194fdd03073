/* JSON - jansson behind our rules: UTF-8, depth at most JSON_DEPTH_MAX, duplicate keys refused,
 * integers exact within 64 bits, no NaN. `json_t` is the value type of the whole house, so this
 * header is the one that brings jansson.h.
 *
 * jansson's reference counts are not atomic across threads here: a value belongs to one thread at a
 * time. */
#ifndef KOAN_BASE_JSON_H
#define KOAN_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

struct buf;
struct err;

enum { JSON_DEPTH_MAX = 64 };

/* NULL on failure; the message has line, column and byte offset. Any JSON value is accepted,
 * nothing may follow it. */
json_t *json_read(const char *text, size_t n, struct err *e);
/* The same for text that is a part of something: `from` is the place of its first byte there (line
 * and column from 1), and errors name places of the whole. */
struct json_place {
    uint64_t line, column, offset;
};
json_t *json_read_at(const char *text, size_t n, const struct json_place *from, struct err *e);
/* The same, and of an object the text of one member, when it is just what json_print() would make
 * of its value: then nobody has to print it. */
struct json_note {
    const char *member;
    bool spare; /* asked: where there is such a text, and it is an object, no value is made of it:
                   it is `true` in what is read */
    bool spared;
    const char *text; /* in what was read; NULL: there is no such member, or it is written
                         otherwise: with spaces, escapes, needless digits */
    size_t n;
};
json_t *json_read_noting(const char *text, size_t n, const struct json_place *from,
                         struct json_note *note, struct err *e);
/* Compact text appended to `b`; keys in order of insertion. */
int json_print(const json_t *v, struct buf *b, struct err *e);
/* The same with keys sorted, at every level: equal values give equal texts. For hashes and
 * comparisons. */
int json_print_sorted(const json_t *v, struct buf *b, struct err *e);
/* A quoted, escaped JSON string. */
void json_print_string(struct buf *b, const char *s, size_t n);
/* A hash of value and order: equal members in another order hash otherwise. The same on every
 * machine of one byte order. */
uint64_t json_hash(uint64_t seed, const json_t *v);
/* For AUTO. */
void json_unref(json_t **v);

/* "string", "number", "object" ... for messages. */
const char *json_type_name(const json_t *v);
/* A member of an object with the wanted type: 0; ERR_NOT_FOUND without message when absent or null;
 * ERR_INVALID with message. */
int json_get_string(const json_t *o, const char *key, const char **out, struct err *e);
int json_get_int(const json_t *o, const char *key, int64_t *out, struct err *e);
int json_get_bool(const json_t *o, const char *key, bool *out, struct err *e);
/* ERR_INVALID naming the first key of `o` that is not among the names, with the nearest right one.
 */
int json_only_keys(const json_t *o, const char *what, const char *const *names, size_t count,
                   struct err *e);
/* Dotted path through objects; NULL when absent. Borrowed. */
json_t *json_path(const json_t *v, const char *path);
/* Total order over all values: null < false < true < numbers < strings < arrays < objects. Numbers
 * compare exactly. */
int json_compare(const json_t *a, const json_t *b);

#endif
