/* Changes - what each entry of the log did to records, for whoever follows them.
 *
 * The log has what was asked for; only applying it shows what came of it (a patch, a cascade, a
 * save that changed nothing). So applying an entry also writes its changes down, as one row, in the
 * transaction of the entry: after any crash they are there exactly when the records are. A row is
 * found by log position, so following is reading what lies behind one: no gap, no duplicate.
 *
 * The rows are bounded by ENTITY_CHANGES_MS and ENTITY_CHANGES_BYTES; whoever asks for a position
 * before the first that is kept gets ERR_GONE. An entity with feed = false leaves none.
 *
 * A change has a place: the log position of its entry, and its number inside it from 1. */
#ifndef KOAN_ENTITY_CHANGES_H
#define KOAN_ENTITY_CHANGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "ledger/ledger.h"

struct db;
struct entities;
struct err;

#define ENTITY_CHANGES_MS (7LL * 86400 * 1000)

enum {
    ENTITY_CHANGES_BYTES = 256 << 20,
    ENTITY_CHANGES_ENTRY_MAX = 64 << 20, /* of one entry; a larger one cannot be followed: 410 */
};

enum entity_change_verb { ENTITY_CHANGE_CREATED, ENTITY_CHANGE_UPDATED, ENTITY_CHANGE_REMOVED };

/* One state of a record; body NULL: it was not there. Points into the row. */
struct entity_state {
    const char *body, *updated_by;
    size_t body_len, updated_by_len;
    uint64_t version;
    int64_t updated_at;
};

struct entity_change {
    enum entity_change_verb verb;
    const char *entity, *tenant, *part, *id, *created_by;
    size_t entity_len, tenant_len, part_len, id_len, created_by_len;
    int64_t created_at;
    struct entity_state before, after;
};

/* Of one row: for (cursor_init(&c, p, n); entity_change_next(&c, &change);) */
bool entity_change_next(struct cursor *c, struct entity_change *out);
/* The complete record in this state, as readers give it. */
void entity_change_record(const struct entity_change *c, const struct entity_state *s,
                          struct buf *out);

/* Rows behind log position `after`, until `each` returns non-zero (that is returned), in one
 * snapshot. *applied: the log position of the snapshot; when 0 is returned there is nothing more up
 * to it. ERR_GONE: something behind `after` is no longer kept. */
int entity_changes_each(struct db *db, uint64_t after,
                        int (*each)(void *arg, uint64_t seq, const void *p, size_t n), void *arg,
                        uint64_t *applied, struct err *e);

/* Called on `home` after entries that changed something; many may come as one call. */
struct entity_watch {
    struct task task;
    struct entity_watch *next;
    struct runner *home;
    void (*changed)(struct entity_watch *w);
    atomic_bool posted;
    atomic_bool idle; /* set by its owner: nobody listens, do not wake `home`. Cleared before the
                         place to begin from is read, so that no entry falls between */
};
/* Any thread. The struct must live until after entities_unwatch and the tasks of `home` have run.
 */
void entities_watch(struct entities *s, struct entity_watch *w);
void entities_unwatch(struct entities *s, struct entity_watch *w);

#endif
