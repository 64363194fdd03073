/* What the files that keep, bring back and purge what definitions took away share; see kept.h. */
#ifndef KOAN_ENTITY_KEPT_PRIV_H
#define KOAN_ENTITY_KEPT_PRIV_H

#include "entity/entity_priv.h"
#include "entity/kept.h"

/* Belongs to a definition, and is as immutable. */
struct entity_past {
    int64_t untold;    /* gen of a table whose rows are to be announced; 0: none */
    uint64_t narrowed; /* changes up to this log position may have what is gone; 0: none */
    bool any;          /* values may be kept for its records */
    struct entity_field *fields; /* what is kept, the last removed first; only a hint */
    size_t fields_count;
};

/* ---- kept.c ---- */

/* What the database says of the past of `d`. */
int kept_attach(struct db *db, struct entity_def *d, struct err *e);
/* A migration from `from` to `to` begins: these fields go, those come back. */
int kept_begin(const struct apply *a, const struct entity_def *from, const struct entity_def *to,
               int64_t gen, struct err *e);
/* The values that row `rid` of `d` has in fields that go with migration `gen`. */
int kept_take(struct db *db, const struct entity_def *d, int64_t gen, int64_t rid, struct err *e);
/* What comes back with migration `gen` to record `rid` is set in it. */
int kept_give(struct db *db, int64_t gen, int64_t rid, json_t *record, struct err *e);
/* 1: something comes back. */
int kept_gives(struct db *db, int64_t gen, struct err *e);
int kept_adopt(const struct apply *a, const char *entity, int64_t gen, int64_t keep_ms,
               struct err *e);
int kept_give_up(struct db *db, int64_t gen, struct err *e);
/* The record goes, and with it what was kept for it. */
int kept_removed(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
/* The record comes back; `body` is from before it was removed, at that time. */
int kept_restored(const struct row_change *c, int64_t removed_at, const char *body, size_t n,
                  struct err *e);

/* ---- kept_purge.c ---- */

/* What is past its time goes, at most `max` rows of anything; the names of what is gone whole are
 * added to `gone`. */
int kept_purge(const struct apply *a, size_t max, size_t *done, struct buf *gone, struct err *e);

/* ---- retire.c ---- */

int retire_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                 struct buf *result, struct err *e);
/* 1: `to` is kept as another definition said, which is `*from` (a reference) with its version.
 * ERR_CONFLICT, ERR_UNAVAILABLE: its name cannot be had now. */
int retired_find(const struct apply *a, const struct entity_def *to, struct entity_def **from,
                 bool *words, struct err *e);
int retired_forget(struct db *db, const char *entity, struct err *e); /* it is back */
int retired_count(struct db *db, size_t *out, struct err *e);
int retired_purge(struct entities *s, const struct apply *a, size_t max, size_t *done,
                  struct buf *gone, struct err *e);

/* ---- settle.c: what a migration made of a record is announced, once and in order ---- */

/* Of row `rid`, unless it was. */
int settle_row(struct entities *s, const struct apply *a, const struct entity_def *d, int64_t rid,
               struct err *e);

#endif
