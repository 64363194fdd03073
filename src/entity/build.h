/* Build - indexes and search of records that are there already come behind the definition.
 *
 * A definition takes effect at once. What it adds to an entity of at most ENTITY_BUILD_AT_ONCE
 * records is made with it; on a larger one it is built by operations entity.build, each of which
 * handles a bounded number of rows at its place in the log, on every node alike:
 *
 *   new indexes   SQLite makes an index in one go, which for millions of rows would hold up every
 *                 other change. So a second table is made with all indexes of the definition, and
 *                 the rows are copied into it, some at a time; a change of a row changes its copy
 *                 too. When all are there the copy takes the place of the table, which is emptied,
 *                 again some rows at a time. Until then the planner does not know the new indexes.
 *   unwanted      an index that a definition no longer has goes with the table that has it, in the
 *   indexes       same way: dropping it would be one go, too. A unique one holds until then: a
 *                 write that it refuses gets ERR_UNAVAILABLE.
 *   search        the words of the records are gathered in the same pass; `q` is refused with
 *                 ERR_UNAVAILABLE until it is over.
 *
 * A new unique index may meet rows that share a value. The first that is copied keeps it, the
 * others are violations: they are listed, and the copy does not take the place of the table while
 * there are any, so the index stays off. A write that brings a value which the copy has already is
 * refused (ERR_CONFLICT) from the first moment; one that leaves such a value as it was is not. When
 * a violating record goes or changes, or the one that has the value does, it is tried again, and
 * the index comes on by itself. While the first pass runs, a write can still meet a record that was
 * not looked at; afterwards violations only become fewer. All indexes of a copy come on together.
 *
 * Another definition meanwhile: if it wants the same indexes and search the build goes on, else it
 * begins anew. A restart continues behind the last operation: all of this is in the database.
 *
 *   none --define--> copying --all rows seen--> on                 (the copy is the table now)
 *                       |                        ^
 *                       +------> violated -------+ none left
 *
 * Invariants: 1. a row in front of entity_builds.rid is in the copy or in entity_violations;
 * 2. every row changed since the build began is, too; 3. a copy has no row that its table has not,
 * and the same bytes. */
#ifndef KOAN_ENTITY_BUILD_H
#define KOAN_ENTITY_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct db;
struct entities;
struct entity_builder;
struct entity_def;
struct err;
struct ledger;
struct world;

enum {
    ENTITY_BUILD_AT_ONCE = 1000,  /* rows of an entity whose indexes are made with its definition */
    ENTITY_BUILD_ROWS = 500,      /* of one operation */
    ENTITY_BUILD_BYTES = 4 << 20, /* of their bodies; a single larger one is copied all the same */
    ENTITY_BUILD_PAUSE_MS = 100,  /* between two at most: else as long as the last one took */
    ENTITY_BUILD_WAIT_MS = 1000,  /* after a refusal, and between two tries of violations */
    ENTITY_VIOLATIONS_LISTED = 100,
    ENTITY_VIOLATIONS_COUNTED = 10000,
};

struct entity_build_state {
    bool building;      /* something is not complete */
    bool table;         /* indexes are not */
    bool search;        /* the words of the records are not */
    bool scanned;       /* every row was seen */
    int percent;        /* of the rows, by their keys */
    int64_t violations; /* at most ENTITY_VIOLATIONS_COUNTED + 1 */
};
/* As of this connection's snapshot. */
int entity_build_read(struct db *db, const char *entity, struct entity_build_state *out,
                      struct err *e);
/* {"name","path","version","definition","indexes":[{"fields","unique","state":"on"|"building"|
 * "violated"}],"search":"on"|"building"?,"build":{"percent","violations","violations_more","list":
 * [{"id","tenant","partition"?,"fields","values"}]}?,"migration":{"percent"}?,
 * "halted":[{"id","error"}]?,"kept":[..]? as entity_kept_json() has it}. A new reference; NULL with
 * `e`. */
json_t *entity_build_json(struct db *db, const struct entity_def *d, struct err *e);
/* Any thread, of the published definitions: how many have a build under way, and how many of those
 * are held up by violations. */
void entities_builds(struct entities *s, int *building, int *violated);

/* Proposes entity.build while there is something to do and this node leads. Belongs to the ledger's
 * thread, like the sweeper (sweep.h). */
struct entity_builder *entity_builder_start(struct entities *s, struct ledger *l, struct world *w);
void entity_builder_stop(struct entity_builder *b);
void entity_builder_free(struct entity_builder *b);

#endif
