/* What the files that build behind a definition share; see build.h. */
#ifndef KOAN_ENTITY_BUILD_PRIV_H
#define KOAN_ENTITY_BUILD_PRIV_H

#include "entity/build.h"
#include "entity/entity_priv.h"

/* Belongs to a definition that is not complete, and is as immutable. */
struct entity_copy {
    int64_t gen; /* 0: no table, only search is filled */
    bool search;
    bool violated;                        /* every row was seen, and some share a value */
    bool pending[ENTITY_INDEXES_MAX + 1]; /* of the definition's indexes: only the copy has it */
    char *table, *put, *drop;             /* quoted name, statements; NULL with gen 0 */
    struct entity_def *to; /* what the rows are migrated to; NULL: they are copied as they are */
    /* with `to` */
    int64_t held_until; /* writes are refused so long, ledger time */
    int64_t keep;       /* what goes is kept so long, ms; -1: begun by version 1 */
    bool plain;         /* no function makes the records */
    char *links, *links_put, *links_drop; /* like those of entity_sql; NULL without lists of refs */
};

/* ---- copy.c ---- */

/* The copy of `d` as the database has it; none is fine. */
int copy_attach(struct db *db, struct entity_def *d, struct err *e);
/* Steps a statement whose only parameter is the entity: 1: *out is at its row. *out is to be given
 * back (db_stmt_donep) in any case. */
int copy_state(struct db *db, const char *sql, const char *entity, struct db_stmt **out,
               struct err *e);
/* The values of `b` under the new unique indexes are not taken, or are those of `old` (or NULL). */
int copy_check(struct db *db, const struct entity_def *d, const struct row_key *k,
               const struct stored_row *old, const struct new_body *b, struct err *e);
/* Row `rid` was written or removed. */
int copy_follow(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
/* Puts the row into the copy unless it is there, or notes whose value it wants. */
int copy_put(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
/* Looking for values of this field needs an index that is not there yet. */
bool copy_is_awaited(const struct entity_def *d, const struct entity_field *f);
/* Full names of the indexes of the table of `d` ("entity_<name>"), under their names in the
 * definition. A new reference. */
json_t *copy_index_names(struct db *db, const struct entity_def *d, struct err *e);

/* ---- build.c, leftover.c ---- */

/* What `to` wants beyond what the table has begins to be built, what `from` was building goes on or
 * is given up. `from` may be NULL. `words`: those for search are not all there. */
int build_define(const struct apply *a, const struct entity_def *from, const struct entity_def *to,
                 bool words, struct err *e);
int build_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                struct buf *result, struct err *e);
/* Small things that migrations need too. Numbers from ?1 on, then the name if there is one. */
int build_row(struct db *db, const char *sql, const char *name, const int64_t *numbers, int count,
              struct err *e);
/* The name, or the name with something behind it if it is taken in the schema; the caller's. */
int build_free_name(struct db *db, const char *wanted, char **out, struct err *e);
int build_leave_behind(struct db *db, const char *entity, int64_t gen, struct err *e);
int build_next_gen(struct db *db, int64_t *out, struct err *e);
/* The tables of an entity, under the names of a leftover. */
int build_set_aside(struct db *db, const char *entity, int64_t gen, struct err *e);
/* What `from` is building or migrating is over. */
int build_give_up(struct db *db, const struct entity_def *from, struct err *e);
/* A table of a new gen with all indexes of `to`. */
int build_make_copy(struct db *db, const struct entity_def *to, int64_t *gen, struct err *e);
/* A table beside the records of an entity ("local_links", "local_search") is of no more use. */
int build_leave_table(struct db *db, const char *kind, const char *entity, struct err *e);
/* The copy of `d` becomes its table. */
int build_take_place(struct db *db, const struct entity_def *d, struct err *e);
/* All records are others: their words are gathered anew. */
int build_search_again(struct db *db, const struct entity_def *from, const struct entity_def *to,
                       struct err *e);
/* The keys of the next rows, bounded in number and in bytes. */
struct build_rows {
    int64_t rids[ENTITY_BUILD_ROWS];
    size_t count;
    bool last; /* nothing is behind them */
};
int build_next_rows(struct db *db, const char *table, int64_t after, size_t max,
                    struct build_rows *out, struct err *e);
int leftover_tell(struct entities *s, const struct apply *a, size_t max, size_t *done,
                  struct err *e);
int leftover_clear(struct db *db, size_t max, size_t *done, struct err *e);
int build_last_row(struct db *db, const char *entity, int64_t *out, struct err *e);
/* 1: the database has work for entity.build. */
int build_is_due(struct db *db, struct err *e);

/* ---- migrate.c, migrate_made.c, migrate_read.c ---- */

struct migration {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *def; /* in force */
    const struct entity_copy *copy;
};

/* The migration that the payload speaks of is the one under way. */
int migration_begin(struct migration *m, void *self, const struct apply *a, struct cursor *payload,
                    const char *what, struct err *e);
/* Definition `text` is the live one from here on, with what the database says of its copy. */
int migration_set_live(const struct migration *m, const char *text, uint32_t version, bool put,
                       struct err *e);
typedef int migrate_op(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                       struct buf *result, struct err *e);
migrate_op migrate_apply, migrated_apply, adopt_apply, halt_apply;
/* Writes to the records of `d` are held. */
int migrate_check_held(const struct entity_def *d, int64_t at, struct err *e);
/* The record goes: what was made of others that refer to it is made again. */
int migrate_removed(const struct row_change *c, struct err *e);
int migrate_give_up(struct db *db, const struct entity_def *d, struct err *e);
/* `def` is live without a migration again. */
int migrate_forget(struct entities *s, const struct apply *a, const struct entity_def *def,
                   struct err *e);
/* 1: there is one; how far it is. */
int migrate_read_state(struct db *db, const struct entity_def *d, int64_t *gen, int64_t *rid,
                       int *percent, struct err *e);

/* ---- links.c ---- */

/* The table of a copy for the lists of references of `to`; nothing where it has none. */
int links_make_copy(struct db *db, const struct entity_def *to, int64_t gen, struct err *e);
void links_copy_sql(struct entity_copy *c);
int links_copy_put(struct db *db, const struct entity_copy *c, int64_t rid,
                   const struct new_body *b, struct err *e);
int links_copy_drop(struct db *db, const struct entity_copy *c, int64_t rid, struct err *e);

/* ---- define.c ---- */

/* `to` gets on with the other definitions. */
int define_check(struct entities *s, const struct apply *a, const struct entity_def *to,
                 struct err *e);

#endif
