/* Str - views of bytes and the text helpers that several modules need. UTF-8 throughout. */
#ifndef KOAN_BASE_STR_H
#define KOAN_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct str {
    const char *p;
    size_t n;
};
#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})

struct str str_of(const char *s); /* NULL is empty */
bool str_eq(struct str a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* Copy into a fixed array of `cap` bytes, always NUL-terminated. False when it was cut. NULL is
 * empty. */
bool str_copy(char *out, size_t cap, const char *s);
bool str_is_utf8(const char *s, size_t n);
size_t str_utf8_valid(const char *s, size_t n); /* bytes before the first that is not UTF-8 */
/* Bytes before the first that JSON escapes: a control character, '"' or a backslash. */
size_t str_json_plain(const char *s, size_t n);
/* Value of a hexadecimal digit, -1 for anything else. */
int str_hex_digit(char c);
/* Text from outside that is to be shown: every byte that belongs to no well-formed sequence becomes
 * '?', and so does each piece of one that was cut off. */
void str_utf8_repair(char *s, size_t n);
size_t str_utf8_len(const char *s, size_t n); /* code points of valid UTF-8 */
/* Whole text as a number; false on anything else, on overflow, or empty text. */
bool str_to_i64(const char *s, size_t n, int64_t *out);
bool str_to_u64(const char *s, size_t n, uint64_t *out);
/* The other way: digits without a NUL; how many. */
enum { STR_U64_DIGITS = 20 };
size_t str_from_u64(uint64_t v, char out[STR_U64_DIGITS]);
bool str_to_double(const char *s, size_t n, double *out); /* finite only; locale-free */
/* Edit distance of two short texts (64 bytes each), for "did you mean". */
int str_distance(const char *a, const char *b);
/* The nearest of the names within distance 3, or NULL. */
const char *str_nearest(const char *s, const char *const *names, size_t count);
/* A name of conventions: [A-Za-z][A-Za-z0-9_-]{0,63}. `what` is for the message: "entity". */
int str_check_name(const char *s, const char *what, struct err *e);
/* An id that a caller brings: 1..256 bytes UTF-8, no control character, no '/', not "." "..", not a
 * route word. */
int str_check_id(const char *s, size_t n, struct err *e);
/* "OrderLine" -> "order-line". out has room for 2 * strlen + 1. */
void str_kebab(const char *s, char *out, size_t cap);

#endif
