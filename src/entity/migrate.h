/* Migrate - a definition that takes less than the one before, brought in with its records.
 *
 * Whoever runs the function that makes new records out of old ones (a script) works outside of
 * apply, on the node that deploys; the log carries what came out of it:
 *
 *     entity.migrate    begins: a second table with the columns and indexes of the definition to
 *                       come; the one in force stays in force, and so do its records
 *     entity.migrated   some records as the new definition has them, each for the version it was
 *                       made of; one that has changed since, or went, is passed over
 *     entity.adopt      definition and table are switched, if every record is there as it is now
 *     entity.halt       given up: why, and for which records, is kept for whoever asks
 *
 *            migrate            migrated ...            adopt
 *     none ---------> migrating ------------> migrating ------> none, with the new definition
 *       ^                 |        all there? no: version_mismatch, go on
 *       +------ halt -----+        another definition of the entity halts it too
 *
 * A record that is written meanwhile is noted in entity_redo and asked for again; one that goes
 * goes from both tables. As long as that happens more often than records are made anew it would not
 * end: the last few can be made while writes to the entity are held (ERR_UNAVAILABLE), for
 * ENTITY_HOLD_MS of ledger time at most. No operation touches more than ENTITY_MIGRATE_ROWS.
 * Beginning the same definition again, made by the same scripts, goes on where it was: after a
 * crash that is deploying again.
 *
 * A record that differs is a new version of it, made when and by whom the batch says. The old one
 * goes into the history, and the change into feeds, behind the switch (settle.c): until then nobody
 * has seen the new one. References are checked when a record is made; the removal of what one
 * refers to has it made again. What fields held that the definition to come has not is kept, and
 * what it has again comes back: kept.h.
 *
 * Version 1 of entity.migrate neither kept nor announced anything, left times as they were, and
 * refused entities with lists of references; it is applied so wherever it stands in a log. */
#ifndef KOAN_ENTITY_MIGRATE_H
#define KOAN_ENTITY_MIGRATE_H

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
    ENTITY_MIGRATE_ROWS = 500,
    ENTITY_MIGRATE_BYTES = 2 << 20, /* of old records in one batch; a larger one travels alone */
    ENTITY_HOLD_MS = 5000,
    ENTITY_HOLD_ROWS = 500, /* not held before so few are left */
    ENTITY_HALT_BYTES_MAX = 64 << 10,
};

/* `to` takes less than `from`: it wants to be migrated, unless the records fit as they are. */
bool entity_def_is_narrower(const struct entity_def *from, const struct entity_def *to, char *why,
                            size_t cap);
/* A migration of this entity is under way. */
bool entity_def_is_migrating(const struct entity_def *d);

struct entity_batch {
    int64_t gen;
    int64_t upto; /* of entity.migrated: records up to here were read */
    int percent;
    bool again;   /* these have changed after they had been made */
    json_t *rows; /* [{"rid", "version", "record": {id and declared fields}}]; the caller's */
};
/* What is to be made next, as of this connection's snapshot; no rows: all are there. ERR_NOT_FOUND:
 * no migration is under way. */
int entity_migrate_next(struct db *db, const struct entity_def *d, struct entity_batch *out,
                        struct err *e);
/* Adds a record to what entity_txn_migrated takes: checked against `to`, with its defaults. */
int entity_migrate_add(struct buf *items, const struct entity_def *to, int64_t rid,
                       uint64_t version, const json_t *record, struct err *e);
/* The same without a function: what `to` does not declare is left out, nothing is added. Of a
 * migration that is ENTITY_MADE_PLAIN. */
int entity_migrate_add_plain(struct buf *items, const struct entity_def *to, int64_t rid,
                             uint64_t version, const json_t *record, struct err *e);

/* ---- operations for a unit that somebody else builds ---- */

#define ENTITY_MADE_PLAIN "plain"

/* `made_by` names the function: the hash of its scripts, or ENTITY_MADE_PLAIN. Fields that go are
 * kept for `keep_ms` (kept.h). */
void entity_txn_migrate(struct txn *t, const struct entity_def *to, const char *made_by,
                        int64_t keep_ms);
/* `hold`: writes are refused from here on, for a while. */
void entity_txn_migrated(struct txn *t, const char *entity, const struct entity_batch *b, bool hold,
                         uint32_t count, const struct buf *items);
/* ERR_VERSION_MISMATCH: not all are there. */
void entity_txn_adopt(struct txn *t, const char *entity, int64_t gen);
/* `list` is JSON text: [{"id", "error"}]. */
void entity_txn_halt(struct txn *t, const char *entity, int64_t gen, const char *list);

#endif
