/* Migrate - `migrate` of an entity, over all its records, while a set is deployed. */
#ifndef KOAN_BIND_MIGRATE_H
#define KOAN_BIND_MIGRATE_H

#include "bind/bind_priv.h"
#include "entity/migrate.h"

enum bind_migrate_state { MIGRATE_BEGIN, MIGRATE_MAKE, MIGRATE_HALT };

/* Part of the caller's struct, which sets `done`. */
struct bind_migrate {
    struct unit unit; /* first */
    struct bind_run run;
    struct bind_thread *thread;
    struct entity_def *to;
    int function;          /* LUA_NOREF: records are only left without what is not declared */
    const char *principal; /* who deploys; the caller's */
    struct world_timer wait;
    bool waiting; /* that was told */
    enum bind_migrate_state state;
    struct entity_batch batch;
    json_t *made;
    unsigned again; /* rounds over records that had changed */
    uint64_t told_ms;
    void (*done)(struct bind_migrate *m); /* once; may be called from within start */

    struct err err; /* code 0: every record is there as of a moment ago, in batch.gen */
};

/* On the set's thread. `plain`: without the function of `en`. `resume`: it was done before, but
 * records have changed since. */
void bind_migrate_start(struct bind_migrate *m, struct bind_set *s, const struct bind_entity *en,
                        bool plain, bool resume);

#endif
