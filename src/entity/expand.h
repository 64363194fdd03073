/* Expand - what records refer to, and what refers to them, put beside them:
 * with=customer,lines.product
 *
 * A name is a ref field of the entity, a list of refs, or the `inverse` of one elsewhere that
 * refers to it; a dot goes on from there. What is found stands in the record's member "_with",
 * under its name: a record (null where there is none); for a list of refs a list as long as that,
 * with null where there is none; for an inverse a list. No field can have that name.
 *
 * Bounds: ENTITY_WITH_DEPTH names deep, ENTITY_WITH_ROWS of an inverse under one record,
 * ENTITY_WITH_TOTAL in all; over the latter two it is ERR_TOO_LARGE, since a list cut short would
 * look like a whole one. All is read as readers read: hidden records are never seen. */
#ifndef KOAN_ENTITY_EXPAND_H
#define KOAN_ENTITY_EXPAND_H

#include <stdbool.h>

#include "base/json.h"
#include "entity/def.h"

struct db;
struct entities;
struct entity_expand;
struct err;

enum {
    ENTITY_WITH_DEPTH = 3,
    ENTITY_WITH_NAMES = 20, /* in one question */
    ENTITY_WITH_BYTES = 1024,
    ENTITY_WITH_ROWS = 200,
    ENTITY_WITH_TOTAL = 10000,
};
#define ENTITY_WITH_MEMBER "_with"

/* `fields`: the names that the records will have, or NULL for all. `may_read` (NULL: all) says
 * which entities the caller may see. ERR_INVALID names what is unknown, ERR_FORBIDDEN what is not
 * his. */
int entity_expand_new(struct entities *s, const struct entity_def *d, const char *with,
                      const char *fields, bool (*may_read)(const struct entity_def *d),
                      struct entity_expand **out, struct err *e);
void entity_expand_free(struct entity_expand *x); /* takes NULL */
/* One record, or a list of them (null in it is passed over), in a snapshot with what gave the
 * records. Again for further ones: the total is counted anew, what was read before is known. */
int entity_expand(struct entity_expand *x, struct db *db, const char *tenant, json_t *records,
                  struct err *e);
/* Records that the last call read. */
size_t entity_expand_rows(const struct entity_expand *x);
/* What was found of entities that have a view: under the i-th name, deeper ones first, each record
 * once. False when there are no more names; the list is borrowed, and NULL where there is none. */
bool entity_expand_found(const struct entity_expand *x, size_t i, const struct entity_def **d,
                         json_t **records);
/* {"customer": {"entity": "Customer", "with": {..}}}: which entity stands under which name. A new
 * reference. */
json_t *entity_expand_tree(const struct entity_expand *x);
/* Forget what was read. */
void entity_expand_reset(struct entity_expand *x);

#endif
