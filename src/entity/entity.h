/* Entity - records with declared fields: the part of the ledger that holds a team's data.
 *
 * A definition (def.h) gives an entity a table. Records are changed only by operations in the log:
 *
 *     entity.define     a definition: makes table and indexes, or alters them
 *     entity.save       the whole document: create, replace, or either
 *     entity.patch      a patch, applied to the row as it is at that point of the log
 *     entity.remove
 *     entity.restore    a removed record comes back (soft_remove)
 *     entity.purge      a removed record goes for good, before its time
 *     entity.sweep      what has expired goes
 *     entity.migrate, migrated, adopt, halt      records for a narrower definition (migrate.h)
 *     entity.retire     entities that are declared no longer (kept.h)
 *     entity.build      indexes of records that are there already (build.h)
 *     entity.show       changes nothing: its result is the record as it is then
 *     version, absent, exists      conditions on a row
 *
 * and are read from the database by whoever asks, past the log (read.h). write.h is the one way for
 * the outside to change records: it checks, runs hooks, proposes, and reports per record. The
 * entity_txn_ functions below put the same operations into a unit that somebody else builds.
 *
 * Definitions are data: entity.define travels through the log, so every node validates alike.
 * Additions take effect at once. A narrowing (a field gone or newly required, a smaller max,
 * another kind ...) is taken while at most ENTITY_NARROW_ROWS rows exist and every one of them
 * passes unchanged; else it is refused with the first reason. New indexes and search on existing
 * records are built behind the definition, see build.h.
 *
 * A save travels as normalised text with the version of the definition that checked it; when the
 * definition is still that one at apply, the text is stored as it is, otherwise it is checked anew.
 * A change that changes nothing writes nothing.
 *
 * Rows: one table per entity, entity_<name>, an integer key inside and UNIQUE (tenant, part, id).
 * Measured against WITHOUT ROWID (tenant, part, id): see the figures in store.c. Secondary indexes
 * are on json_extract() expressions; those of decimal fields on a column of order-preserving keys.
 * `part` is the partition, '' where there is none.
 *
 * A change of a row goes through rows.c, which does all that belongs to it: references are checked
 * (refs.c), a removal takes along or detaches who refers (removal.c), what is replaced or removed
 * is kept where the definition says so (history.c, removed.c), and the change is written down for
 * feeds (changes.h). What expires or was kept long enough goes by entity.sweep (sweep.h).
 *
 * Threads: the ledger's thread owns the live definitions; every other thread takes a reference to
 * the published one (entities_find). A definition is published when its entry is committed. */
#ifndef KOAN_ENTITY_ENTITY_H
#define KOAN_ENTITY_ENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "entity/def.h"
#include "entity/doc.h"
#include "entity/patch.h"
#include "ledger/domain.h"

struct entities;
struct err;
struct txn;

enum {
    ENTITY_NARROW_ROWS = 10000,
    ENTITY_DEFS_MAX = 1000,
    ENTITY_REMOVE_MAX = 10000, /* records that one removal may change or take along */
    ENTITY_LEASE_NAME = 2 * ENTITY_NAME_MAX + ENTITY_ID_MAX + 16, /* of a lease, with the NUL */
};

/* Types of operations: never reused. Payloads: schema/entity-operations.md. */
enum entity_op {
    ENTITY_OP_DEFINE = 0x0100,
    ENTITY_OP_SAVE = 0x0101,
    ENTITY_OP_PATCH = 0x0102,
    ENTITY_OP_REMOVE = 0x0103,
    ENTITY_OP_RESTORE = 0x0104,
    ENTITY_OP_SWEEP = 0x0105,
    ENTITY_OP_BUILD = 0x0106,
    ENTITY_OP_SHOW = 0x0107,
    ENTITY_OP_PURGE = 0x0108,
    ENTITY_OP_IF_VERSION = 0x0110, /* conditions */
    ENTITY_OP_IF_ABSENT = 0x0111,
    ENTITY_OP_IF_EXISTS = 0x0112,
    ENTITY_OP_MIGRATE = 0x0120, /* these: migrate.h */
    ENTITY_OP_MIGRATED = 0x0121,
    ENTITY_OP_ADOPT = 0x0122,
    ENTITY_OP_HALT = 0x0123,
    ENTITY_OP_RETIRE = 0x0124, /* kept.h */
};

/* One per ledger. Must outlive it. */
struct entities *entities_new(void);
void entities_free(struct entities *s); /* takes NULL */
/* Changes are noted there, for the timeline of their correlation id. Before ledger_open; it
 * outlives the ledger. */
struct trace;
void entities_set_trace(struct entities *s, struct trace *t);
/* Who holds the lease of a record: for entities with lease_required. Implemented beside this module
 * and handed in. */
struct entity_leases {
    void *self;
    /* While an operation is applied: 0 when the unit has the condition that it holds lease `name`,
     * or (`free_too`) nobody holds that. ERR_LOCKED names who does. */
    int (*check)(void *self, const struct apply *a, const char *name, bool free_too, struct err *e);
};
/* Before ledger_open; `l` outlives the ledger. Without it such entities refuse every change. */
void entities_set_leases(struct entities *s, const struct entity_leases *l);
/* "entity/Customer/42", in a partition "entity/Customer/draft/42". */
void entity_lease_name(const struct entity_def *d, const char *part, const char *id, size_t id_len,
                       char out[ENTITY_LEASE_NAME]);
/* What ledger_open wants. The struct belongs to `s`. */
const struct domain *entities_domain(struct entities *s);

/* Any thread. A new reference to the published definition, or NULL. */
struct entity_def *entities_find(struct entities *s, const char *name);
struct entity_def *entities_find_path(struct entities *s, const char *path);
/* All, in order of name: an array of references that the caller drops and frees (mem_free). */
struct entity_def **entities_list(struct entities *s, size_t *count);
/* ERR_NOT_FOUND, naming the nearest entity. */
int entities_unknown(struct entities *s, const char *name, struct err *e);

/* ---- operations for a unit that somebody else builds ---- */

/* Where these take an id, "partition/id" means the record of that id in a partition. An id is
 * unique in its partition; all partitions of an entity have its definition, indexes included. */

enum entity_mode { ENTITY_UPSERT = 0, ENTITY_CREATE = 1, ENTITY_REPLACE = 2 };

/* The result of applying it: nothing (a definition equal to the current one changes nothing). */
void entity_txn_define(struct txn *t, const struct entity_def *d);
/* `doc` is what entity_doc_make gave for `d`. if_version 0: none. CREATE fails with ERR_CONFLICT
 * when the id exists, REPLACE with ERR_NOT_FOUND when it does not. */
void entity_txn_save(struct txn *t, const struct entity_def *d, const char *id,
                     enum entity_mode mode, uint64_t if_version, const struct entity_doc *doc);
/* `patch` is checked for shape by the caller (patch_check). */
int entity_txn_patch(struct txn *t, const struct entity_def *d, const char *id, uint64_t if_version,
                     enum entity_patch_kind kind, const json_t *patch, struct err *e);
void entity_txn_remove(struct txn *t, const struct entity_def *d, const char *id,
                       uint64_t if_version);
void entity_txn_restore(struct txn *t, const struct entity_def *d, const char *id);
/* All that soft_remove keeps under this id; without a record of that id its history too. */
void entity_txn_purge(struct txn *t, const struct entity_def *d, const char *id);
/* Expired records and what was kept long enough go, at most so many; the result is how many, u32.
 * sweep.h proposes it. */
void entity_txn_sweep(struct txn *t, uint32_t rows);
/* Indexes and search that wait are built on, at most so many rows; the result is how many, u32, and
 * u8 1 when there is more to do. build.h proposes it. */
void entity_txn_build(struct txn *t, uint32_t rows);
/* The result is the complete record as it is behind the operations before this one, as entity_get()
 * prints it; nothing when there is none, or it is over so many bytes. */
void entity_txn_show(struct txn *t, const struct entity_def *d, const char *id, uint32_t bytes_max);
void entity_txn_if_version(struct txn *t, const struct entity_def *d, const char *id,
                           uint64_t version);
void entity_txn_if_absent(struct txn *t, const struct entity_def *d, const char *id);
void entity_txn_if_exists(struct txn *t, const struct entity_def *d, const char *id);

enum entity_outcome {
    ENTITY_UNCHANGED = 0,
    ENTITY_CREATED = 1,
    ENTITY_UPDATED = 2,
    ENTITY_REMOVED = 3,
    ENTITY_RESTORED = 4,
    ENTITY_PURGED = 5
};
const char *entity_outcome_name(enum entity_outcome o); /* "created" ... */

struct entity_result {
    enum entity_outcome outcome;
    uint64_t version; /* after the change; of the removed one */
    int64_t created_at, updated_at;
};
/* From unit_result() of a save, patch or remove; false when it is not one. */
bool entity_result_parse(struct cursor *c, struct entity_result *out);

#endif
