/* Pattern - the safe subset of regular expressions that a field's `pattern` may use.
 *
 * A pattern matches the whole value. There are literals, `.`, classes [a-z0-9_] and [^...], \d \w
 * \s and their capitals, groups ( ), alternatives |, and the repeats ? * + {n} {n,} {n,m}. A ^ at
 * the start and a $ at the end are allowed and say nothing new. There are no back references and no
 * look-around: what is left runs as a set of states, so matching takes time in proportion to
 * text x states, whatever the text. A backtracking matcher would let one field value stop the
 * ledger's thread; POSIX regcomp() would depend on the locale of the process. */
#ifndef KOAN_ENTITY_PATTERN_H
#define KOAN_ENTITY_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct pattern;

enum {
    PATTERN_BYTES_MAX = 512,
    PATTERN_STATES_MAX = 512,
    PATTERN_CLASSES_MAX = 32,
    PATTERN_RANGES_MAX = 16, /* of one class */
    PATTERN_REPEAT_MAX = 255,
    PATTERN_DEPTH_MAX = 20,
};

/* ERR_INVALID names the place in the pattern. */
int pattern_new(const char *text, struct pattern **out, struct err *e);
void pattern_free(struct pattern *p); /* takes NULL */
/* `s` is UTF-8. */
bool pattern_match(const struct pattern *p, const char *s, size_t n);

#endif
