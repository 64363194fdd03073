/* Working set - what the engine knows of one model and tenant: source records, golden records and
 * key owners, as the database has them plus what is proposed and not yet applied. Filled from the
 * database on demand, emptied only while nothing is under way, so what is read from the database
 * never misses a change of ours. */
#ifndef KOAN_CANON_WORKING_H
#define KOAN_CANON_WORKING_H

#include "base/list.h"
#include "canon/canon_priv.h"
#include "canon/store_priv.h"

struct entity_def;
struct map;

struct work_golden {
    char id[STORE_ID];
    uint64_t rev;     /* 0: does not exist yet */
    uint64_t touched; /* the last unit, as counted by `proposed`, that changed it */
    int lifecycle, readiness;
    struct list sources; /* struct work_source by `node` */
    uint64_t said;       /* hash of what its sources say together, as stored; 0: says nothing */
    json_t *values;      /* working_values(); NULL until they were asked for */
};

struct work_source {
    struct list node;
    struct work_golden *golden; /* NULL: absent, or parked so far */
    struct store_source row;    /* rev 0: absent */
    uint64_t touched;
};

struct work_key {
    char owner[STORE_ID]; /* "": nobody */
    uint64_t touched;
};

struct working {
    char *tenant;
    struct canon_model *model;
    struct entity_def *def;
    struct canon_units units; /* of both */
    uint64_t seed;            /* hash of both */
    struct db *reader;
    struct map *sources, *goldens, *keys;
    uint64_t generation;          /* grows with every change */
    uint64_t proposed, completed; /* units of this set, which complete in order */
    size_t preparing;             /* documents that other threads look at under this model */
    bool stale;                   /* a condition failed: empty it as soon as nothing is under way */
};

struct working *working_new(const char *tenant, struct canon_model *model, struct entity_def *def,
                            struct db *reader);
void working_free(struct working *w);
/* Another model and entity. Only while nothing is under way; takes over both. */
void working_define(struct working *w, struct canon_model *model, struct entity_def *def);
/* Units under way. */
size_t working_flight(const struct working *w);
/* Forget everything. Only while nothing is under way. */
void working_clear(struct working *w);
/* Forget what no unit under way has changed: the database has it. */
void working_sweep(struct working *w);
bool working_is_full(const struct working *w);

/* The three look-ups: from the set, else from the database. What they give lives until
 * working_clear(). */
int working_source(struct working *w, const char *origin, const char *source_id,
                   struct work_source **out, struct err *e);
int working_owner(struct working *w, const char *key, const char **owner, struct err *e);
int working_key(struct working *w, const char *key, const struct work_key **out, struct err *e);
/* The set does not know the key yet, and the database has this owner of it, or "". */
struct work_key *working_note_owner(struct working *w, const char *key, const char *owner);
/* A merged one gives its live survivor. ERR_NOT_FOUND when there is none. */
int working_golden(struct working *w, const char *id, struct work_golden **out, struct err *e);
/* The declared fields of its entity row, borrowed; an empty object when there is no row. Read only
 * when something may change: most arrivals say what is known. */
int working_values(struct working *w, struct work_golden *g, const json_t **out, struct err *e);

/* A hash of what the source records of a golden record say together, whatever their order; not 0.
 */
uint64_t working_said(const struct working *w, const json_t *golden);

/* ---- changes, once they are proposed ---- */
struct work_golden *working_add_golden(struct working *w, const char *id);
void working_set_owner(struct working *w, const char *key, const char *owner);
void working_attach(struct working *w, struct work_source *s, struct work_golden *g);
/* All sources and keys of `loser` become those of `winner`. */
void working_merge(struct working *w, struct work_golden *loser, struct work_golden *winner);

#endif
