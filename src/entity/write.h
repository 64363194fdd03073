/* Write - one change, or up to a thousand, from the outside into the log.
 *
 *     CHECK -> [READ -> HOOK]* -> PROPOSE -> DONE
 *                ^                  |
 *                +--- the row changed meanwhile (5 times, then ERR_CONFLICT)
 *
 * Everything that can be refused without the database is refused in entity_write_start, before
 * anything is proposed. Entities without hooks are not read first: the document or patch goes into
 * the log as it is. Where a before_save or before_remove is declared, the prior record is read, the
 * hook runs (on a script thread, through struct entity_hooks), and what it leaves is proposed on
 * condition that the prior version still holds.
 *
 * atomic: all items are one unit, all or nothing; the item at fault has the error, the others say
 * ERR_CANCELED. Otherwise each item is a unit of its own with an outcome of its own.
 *
 * The struct and its items belong to the caller and must live until done(). done() runs exactly
 * once, on `home`, after entity_write_start returned 0, never inside it. Non-zero: nothing started;
 * items[].err and .errors say which item and why. Always call entity_write_fini.
 *
 * Documents are json_t of the caller's thread; ownership passes with the item. */
#ifndef KOAN_ENTITY_WRITE_H
#define KOAN_ENTITY_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/uuid.h"
#include "entity/entity.h"
#include "ledger/ledger.h"

struct buf;
struct db;
struct entity_write;
struct ledger_once;

enum {
    ENTITY_BULK_MAX = 1000,
    ENTITY_HOOK_TRIES = 5,
};

enum entity_verb { ENTITY_SAVE, ENTITY_PATCH, ENTITY_REMOVE, ENTITY_RESTORE, ENTITY_PURGE };

struct entity_item {
    /* in */
    enum entity_verb verb;
    const struct entity_def *def;        /* the write takes a reference of its own */
    char id[ENTITY_ID_MAX + 1];          /* "": from the document, else made (save only) */
    char partition[ENTITY_NAME_MAX + 1]; /* "": in none */
    json_t *doc;                         /* save: the document; patch: the patch. Owned */
    enum entity_mode mode;               /* save */
    enum entity_patch_kind patch_kind;   /* patch */
    uint64_t if_version;                 /* 0: none */
    bool if_exists;                      /* If-Match: *, ERR_VERSION_MISMATCH when absent */
    bool if_absent;                      /* If-None-Match: *, the same when there */
    bool done; /* by an earlier run of this request: `result` is set, nothing is proposed. Not
                  when atomic */

    /* out */
    struct err err; /* code 0: done */
    json_t *errors; /* faults by field, or NULL */
    struct entity_result result;
};

/* ---- hooks: implemented above, handed in ---- */

enum entity_event { ENTITY_BEFORE_SAVE, ENTITY_BEFORE_REMOVE, ENTITY_VIEW };

struct entity_hook_call {
    struct task task;    /* post it to `home` when finished, from any thread, exactly once */
    struct runner *home; /* whoever runs the hook must not touch the call after posting */
    const struct entity_def *def;
    enum entity_event event;
    const struct envelope *env; /* valid during the call */
    const char *id;
    json_t *record; /* save: in and out, the declared fields and id; remove: NULL; view: in an array
                       of complete records, out one of what was computed for each, an object or
                       false. Owned by whoever has the call */
    json_t *prior;  /* the record before, complete, or NULL. The same */
    struct err err; /* out: code 0 goes on; ERR_REJECTED or another code refuses */
    json_t *errors; /* out: faults by field, or NULL */
};

struct entity_hooks {
    /* 0: it will be posted. Else it was refused (ERR_OVERLOADED ...) and will not be. */
    int (*run)(struct entity_hooks *h, struct entity_hook_call *call, struct err *e);
};

/* Ids for records that come without one: of the calling thread. */
struct entity_ids {
    void (*make)(struct entity_ids *ids, struct uuid *out);
};

struct entity_write {
    /* in */
    struct ledger *ledger;
    struct db *reader;          /* of this thread; used between start and done */
    struct entity_hooks *hooks; /* may be NULL when no definition has hooks; else ERR_UNAVAILABLE */
    struct entity_ids *ids;
    struct runner *home; /* this thread's */
    struct envelope env; /* texts are copied by start */
    struct entity_item *items;
    size_t count;
    bool atomic;
    struct uuid unit_id; /* atomic: see txn.h; all zero for none */
    /* May be NULL. atomic: adds conditions and operations of other domains to the unit, before
     * (`before` true) and behind the items'. Called at each try. */
    int (*compose)(struct entity_write *w, struct txn *t, bool before, struct err *e);
    /* atomic: the unit was refused with ERR_CONFLICT. True: what compose() added was made of
     * something that has changed; it is asked again, and the unit is proposed anew. May be NULL. */
    bool (*again)(struct entity_write *w, const struct unit *u);
    /* atomic: puts the unit to the ledger in a way of its own, as part of a larger one; u->done()
     * runs on `home` as with ledger_propose(), with failed_op and results that are of this unit.
     * NULL: ledger_propose(). `once` is then that caller's affair, and NULL here. */
    int (*propose)(struct entity_write *w, struct unit *u, struct err *e);
    /* NULL, or the key of a request that is done once (ledger/once.h): each unit has it, its first
     * item's index is its part. ERR_CONFLICT then also means that it was done before. `context`
     * appends what is kept beside the results, of the items of one unit. */
    const struct ledger_once *once;
    void (*context)(const struct entity_write *w, size_t first, size_t count, struct buf *out);
    /* Of a lone item with `once`: the record as it is then is a result behind the item's, unless it
     * is over so many bytes; 0: not. */
    uint32_t show_bytes;
    void (*done)(struct entity_write *w);

    /* out */
    struct err err; /* atomic: of the unit. Otherwise code 0, see the items */
    size_t failed;  /* items that failed */
    uint64_t seq;   /* the highest log index */
    const struct unit
        *unit; /* atomic, in done(): the unit, for the results of composed operations */

    struct entity_write_impl *impl; /* the module's own; NULL before start */
};

void entity_item_fini(struct entity_item *it);
int entity_write_start(struct entity_write *w, struct err *e);
/* In done() of an atomic write: append the record as item `i` has made it, where that is known
 * without reading it: one that was created under the definition that it was checked with, which
 * the caller must know to be still the current one. false: nothing appended, read it. */
bool entity_written_record(const struct entity_write *w, size_t i, struct buf *out);
/* After done(), or after a failed start: frees what the write holds. Does not touch the items. */
void entity_write_fini(struct entity_write *w);

#endif
