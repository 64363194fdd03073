/* Kept - what a definition takes away is not lost at once.
 *
 * A field that a new definition no longer has, and an entity that the scripts no longer declare,
 * are hidden from the moment of the switch: from reads, filters, feeds, history. Their data is kept
 * for a time that the operation brings (setting entity.keep_removed, 30 d), by ledger time, and
 * comes back when they are declared again within it; then entity.sweep lets it go, a bounded number
 * of rows at a time.
 *
 *   fields      The migration that makes records without them (migrate.h) writes their values into
 *               kept_values, by the row of the record, one for each that has one. So records
 *               are small again at once, nothing that reads them has to know, and 30 d of a field
 *               cost its values, not a second copy of all records. A definition that has the field
 *               again, of a kind that takes what it held, goes through a migration too, in which
 *               each record has its value back.
 *   entities    Nothing is moved: definition and tables are only taken out of sight. An entity of
 *               the same name finds its records again, under the rules of any other change of its
 *               definition; as long as they are kept the name is taken for anything else.
 *
 *   a field:   declared --migrate..adopt--> kept --migrate..adopt--> declared
 *                                             |
 *                                             +-- until --> purged in steps
 *
 * The steps of a purge: values, then what removed records and old versions say of it.
 *
 * Values go with their record: when it is removed, restored records have none. Removed records and
 * old versions that are kept anyway (soft_remove, history) keep what they said of a field as long,
 * unseen, and lose it when it is purged. A purge is no change of a record: no version, no event of
 * a feed. Nobody may refer to an entity that goes; references that its records have are not looked
 * after while it is gone, and may point to nothing when it is back. */
#ifndef KOAN_ENTITY_KEPT_H
#define KOAN_ENTITY_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

struct db;
struct entity_def;
struct err;
struct txn;

enum {
    ENTITY_RETIRE_MAX = 1000, /* of one operation */
    ENTITY_KEPT_LISTED = 1000,
};

/* How records get from one definition to the next. */
enum entity_rewrite {
    ENTITY_REWRITE_NONE,  /* entity.define, which may refuse */
    ENTITY_REWRITE_PLAIN, /* fields go or come back, what is left is as it was: a migration, for
                             which the records need no function */
};
enum entity_rewrite entity_def_rewrite(const struct entity_def *from, const struct entity_def *to);
/* `record` (of `from`, with what comes back) as `to` wants it: without what it does not declare. A
 * new reference. */
json_t *entity_rewrite_plain(const struct entity_def *to, const json_t *record);

/* [{"entity", "field"?, "kind"?, "removed_at", "until"}], at most ENTITY_KEPT_LISTED: of this
 * entity, or of all with NULL. A new reference; NULL with `e`. */
json_t *entity_kept_json(struct db *db, const char *entity, struct err *e);

/* Changes of `d` that were written down at log position `seq` may speak of fields that it no longer
 * has. */
bool entity_def_hides(const struct entity_def *d, uint64_t seq);
/* Appends the complete record in `text` without what `d` does not declare. */
int entity_declared(const struct entity_def *d, const struct buf *text, struct buf *out,
                    struct err *e);

/* These entities are declared no longer. ERR_CONFLICT when one that is not among them refers to
 * one. `names` at most ENTITY_RETIRE_MAX. */
void entity_txn_retire(struct txn *t, const char *const *names, size_t count, int64_t keep_ms);

#endif
