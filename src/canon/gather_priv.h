/* Gather - new rows of an entry, kept back until its end and then written table by table.
 *
 * Most of what an arrival leaves are rows that were not there before: the arrival, its source
 * record, its keys, its golden record. Written one by one, each costs a statement (binding, opening
 * and closing a cursor for the table and for each index); in one statement for all rows of an entry
 * (db_insert) that is paid once.
 *
 * What is kept back is not in the database, so
 *   1. conditions ask here first (gather_find), then the database;
 *   2. a row is kept back only if a condition of its unit found that there is none (gather_absent)
 *      or took it for granted (5), or if nothing but the end of the entry can look for it
 *      (arrivals);
 *   3. whoever reads or changes these tables otherwise writes what is kept back first
 *      (gather_flush): so does a unit that may be undone by itself, before it begins;
 *   4. with the entry it is gone, written (gather_flush) or not (gather_forget);
 *   5. a condition that wants no row of a name may take that for granted (gather_grant), as nearly
 *      all such conditions hold: the look-up of each would cost what the row itself costs. Whether
 *      it was so shows before anything is committed, and before anything is changed in these tables
 *      in another way: the row that is then kept back does not go in, or, where none was kept back,
 *      gather_flush looks. If it was not so the entry is applied again from its beginning, with
 *      every look-up (struct apply, `doubt`). What comes out is the same either way. */
#ifndef KOAN_CANON_GATHER_H
#define KOAN_CANON_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "db/db.h"

struct apply;
struct canon;
struct canon_op_arrive;
struct err;
struct map;

enum gather_table {
    GATHER_ARRIVALS,
    GATHER_SOURCES,
    GATHER_KEYS,
    GATHER_GOLDENS,
    GATHER_TABLES,
};

enum {
    GATHER_ROWS = 4096, /* of one table; then they are written */
    GATHER_TEXTS_MAX = 64 << 20,
    GATHER_NAME_MAX = 16 << 10,
};

/* Columns that others look at. */
enum { GATHER_SOURCE_REV = 4, GATHER_KEY_OWNER = 3, GATHER_GOLDEN_REV = 3 };

struct gathered {
    struct db_cell *cells;
    size_t count, cap; /* rows */
};

struct gather {
    struct gathered tables[GATHER_TABLES];
    struct map *held;   /* name of a row -> its place */
    struct arena texts; /* keys and tenants */
    char **blocks;      /* decoded operations, whose texts the rows borrow */
    size_t blocks_count, blocks_cap;
    const char *tenant; /* the last, in `texts` */
    struct buf name;    /* the last that was asked for */
    struct buf absent;  /* names that have no row, each behind a struct absent */
    size_t absent_at;   /* where the last one that was found begins */
    struct buf open;    /* such of units before, taken for granted and not seen since */
    uint64_t seq;       /* of the unit to which `absent` and `direct` belong */
    uint32_t unit;
    bool direct; /* it may be undone by itself: nothing of it is kept back */
};

void gather_init(struct gather *g);
void gather_fini(struct gather *g);
struct gather *canon_gather(struct canon *c);

/* The row of that name which is kept back, or NULL. The name of a source record is origin and
 * source id, that of others has one part. */
const struct db_cell *gather_find(struct gather *g, const struct apply *a, enum gather_table table,
                                  const char *model, const char *x, const char *y);
/* The database has no row of the name that was asked for last. */
void gather_absent(struct gather *g);
/* The same, taken for granted. False: it must not be, look. */
bool gather_grant(struct gather *g, const struct apply *a);
/* Whether a condition of the unit wants no row of the name that was asked for last. */
bool gather_knows_absent(struct gather *g);
/* A condition of the unit found the key with this owner: to give it to him changes nothing. */
void gather_owned(struct gather *g, const struct apply *a, const char *model, const char *key,
                  const char *owner);
bool gather_is_owned(struct gather *g, const struct apply *a, const char *model, const char *key,
                     const char *owner);
/* A key is about to change hands. */
void gather_void_owners(struct gather *g);
/* A row of the name that was found so is kept back: that it goes in will be the proof. */
void gather_settle(struct gather *g);
/* The unit is over: what it took for granted and nobody has seen is left to gather_prove(). */
void gather_leave_open(struct gather *g);
/* Nothing is left that was taken for granted and not so; else gather_doubt(). */
int gather_prove(struct gather *g, const struct apply *a, struct err *e);
/* The entry is to be applied again: ERR_CANCELED. Only where something may be taken for granted. */
int gather_doubt(const struct apply *a, struct err *e);
/* The unit may be undone by itself. */
int gather_direct(struct gather *g, const struct apply *a, struct err *e);
/* An arrival without merges, withdrawals and resumption: kept back, or written where it must be.
 * *texts, which the operation borrows from, may change hands and is then NULL. */
bool gather_takes(struct gather *g, const struct apply *a, const struct canon_op_arrive *op);
int gather_arrive(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                  char **texts, struct err *e);
/* When it fails the entry has to be rolled back. */
int gather_flush(struct gather *g, const struct apply *a, struct err *e);
/* The entry is rolled back. */
void gather_forget(struct gather *g);

#endif
