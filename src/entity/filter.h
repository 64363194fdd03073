/* Filter - the question language: JSON in, a checked tree out. Pure.
 *
 *     {"tier": "pro", "total": {"$gte": 10, "$lt": 100}, "name": "an*",
 *      "$or": [{"tags": {"$in": ["a", "b"]}}, {"address.city": {"$exists": false}}],
 *      "$options": {"ignoreCase": true}}
 *
 * An object is the AND of its members. A name is a field or a dotted path into map, list, geo and
 * json; a path through a list means any element, and so does a condition on a list.
 *
 * $eq $ne            a bare value is $eq, but `*` at its ends is a wildcard and `\*` a star; null
 *                    matches what is null or absent; on a list: contains; a whole array: equals
 * $gt $gte $lt $lte  never match null; on a list: any element
 * $between           [least, greatest], both included
 * $in $nin           on a list: overlaps, is disjoint; $in never matches null, $nin does
 * $all $size         on a list: holds all of these; has so many elements
 * $exists            true: is not null
 * $contains          text within text; on a list: has it among its elements
 * $and $or $nor $not
 * $options           {"ignoreCase": true} folds ASCII letters in this object and those inside
 *
 * Operands are checked and normalised by the kind they are compared with, so what is left is
 * well-typed. In json (and map without `of`) a comparison only sees values of the operand's own
 * type, and whole arrays and objects cannot be compared.
 *
 * The tree has two readers that must agree on every row: query.c turns it into SQL, filter_match()
 * evaluates it in memory. A property test holds them together. */
#ifndef KOAN_ENTITY_FILTER_H
#define KOAN_ENTITY_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "entity/def.h"

struct err;
struct filter;

enum {
    FILTER_BYTES_MAX = 16 << 10,
    FILTER_CONDITIONS_MAX = 100,
    FILTER_DEPTH_MAX = 8,
    FILTER_IN_MAX = 1000,
    FILTER_PATH_MAX = 8, /* segments of a dotted path */
};

/* NULL or an empty object matches all. ERR_INVALID names field or operator and the nearest right
 * one; ERR_TOO_LARGE over a limit. The filter keeps a reference on the definition. */
int filter_parse(const struct entity_def *d, const json_t *j, struct filter **out, struct err *e);
int filter_parse_text(const struct entity_def *d, const char *text, size_t n, struct filter **out,
                      struct err *e);
void filter_free(struct filter *f); /* takes NULL */
void filter_freep(struct filter **f);
bool filter_is_empty(const struct filter *f);
/* `record` is a complete record as readers give it, system fields included. */
bool filter_match(const struct filter *f, const json_t *record);

#endif
