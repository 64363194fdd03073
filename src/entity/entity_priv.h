/* What the files that apply operations share. */
#ifndef KOAN_ENTITY_ENTITY_PRIV_H
#define KOAN_ENTITY_ENTITY_PRIV_H

#include <pthread.h>

#include "entity/changes.h"
#include "entity/def_priv.h"
#include "entity/entity.h"
#include "ledger/domain.h"

struct db;
struct map;

/* ---- registry.c: the live definitions, on the ledger's thread ---- */

/* The definition as of this point of the log, borrowed until the next define; NULL with `e`. */
const struct entity_def *entities_live(struct entities *s, const struct apply *a, const char *name,
                                       size_t n, struct err *e);
/* Name or path of `d` belongs to another entity: refuse. */
int entities_check_free(struct entities *s, const struct entity_def *d, struct err *e);
/* Takes the reference. Published when the entry commits. */
void entities_set_live(struct entities *s, struct entity_def *d);
void entities_drop_live(struct entities *s, const char *name);
int entities_load(struct entities *s, struct db *db, struct err *e);
size_t entities_live_count(const struct entities *s);
/* The live definitions in order of name; borrowed until the next define. NULL with `e` when they
 * cannot be read. */
const struct entity_def *const *entities_all(struct entities *s, const struct apply *a,
                                             size_t *count, struct err *e);
/* When something is due for a sweep, ledger time. entities_due_at() only brings it nearer. */
int64_t entities_due(const struct entities *s);
void entities_due_at(struct entities *s, int64_t at);
void entities_set_due(struct entities *s, int64_t at);

/* What entity.build would find: nothing, rows that may have become free for a unique index, or work
 * that waits. Only raises it. */
enum entities_work { ENTITIES_WORK_NONE, ENTITIES_WORK_RETRY, ENTITIES_WORK_NOW };
void entities_work(struct entities *s, enum entities_work w);
enum entities_work entities_take_work(struct entities *s);

/* ---- payloads: ops.c; golden bytes in its test ---- */

struct op_key {
    const char *entity, *id;
    size_t entity_len, id_len;
    char part[ENTITY_NAME_MAX + 1]; /* "": in no partition */
};

struct save_op {
    struct op_key key;
    enum entity_mode mode;
    uint64_t if_version;
    uint32_t def_version;
    const char *body, *keys; /* keys may be NULL */
    size_t body_len, keys_len;
};

struct patch_op {
    struct op_key key;
    uint64_t if_version;
    enum entity_patch_kind kind;
    const char *patch;
    size_t patch_len;
};

struct remove_op { /* and the conditions; version is read only where the type has one */
    struct op_key key;
    uint64_t version;
};

int op_read_save(struct cursor *c, uint8_t version, struct save_op *out, struct err *e);
int op_read_patch(struct cursor *c, uint8_t version, struct patch_op *out, struct err *e);
int op_read_remove(struct cursor *c, uint8_t version, bool has_version, struct remove_op *out,
                   struct err *e);
void op_write_result(struct buf *out, const struct entity_result *r);

/* ---- change.c: pure ---- */

/* Shape of a patch, and that it leaves system fields alone. */
int change_check_patch(const struct entity_def *d, enum entity_patch_kind kind, const json_t *patch,
                       struct err *e);
/* `prior` is the stored object (declared fields); it is used up. */
int change_patch(const struct entity_def *d, json_t *prior, enum entity_patch_kind kind,
                 const json_t *patch, struct entity_doc *out, json_t **errors, struct err *e);
/* Two bodies with the same meaning: equal, or equal but for the order of keys. */
bool change_is_none(const char *a, size_t a_len, const char *b, size_t b_len);

/* ---- store.c: all SQL that writes rows and tables ---- */

struct stored_row {
    int64_t rid;
    uint64_t version;
    int64_t created_at, updated_at;
    const char *created_by, *updated_by, *body, *keys; /* in `text`; keys may be NULL */
    size_t body_len, keys_len;
    struct buf text;
};

struct row_key {
    const char *tenant, *part, *id;
    size_t id_len;
};

struct db_stmt;
/* Parameters 1 to 4: the entity and the key, as in the tables that keep rows of every entity. */
void row_key_bind(struct db_stmt *s, const char *entity, const struct row_key *k);
void stored_row_init(struct stored_row *r);
void stored_row_fini(struct stored_row *r); /* also for AUTO */
/* Columns rid, version, created_at, updated_at, created_by, updated_by, body, keys. */
void stored_row_read(struct db_stmt *s, struct stored_row *out);
/* 1: found, 0: absent, negative: error. */
int store_find(struct db *db, const struct entity_def *d, const struct row_key *k,
               struct stored_row *out, struct err *e);
/* 1: there is such a record. */
int store_exists(struct db *db, const struct entity_def *d, const struct row_key *k, struct err *e);
/* The ids of the records of `d` whose ref field `f` names `target`, in order of id. Stops and
 * returns what `each` returns if not 0. */
int store_referring(struct db *db, const struct entity_def *d, const struct entity_field *f,
                    const struct row_key *target,
                    int (*each)(void *arg, const char *id, size_t n, struct err *e), void *arg,
                    struct err *e);
struct new_body {
    const char *body, *keys;
    size_t body_len, keys_len;
};
/* ERR_CONFLICT names what is taken: the id, or index and field. */
int store_insert(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct new_body *b, struct err *e);
int store_update(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct stored_row *old, const struct new_body *b, struct err *e);
int store_revive(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct stored_row *old, const struct new_body *b, struct err *e);
int store_restore(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                  const struct stored_row *kept, const struct new_body *b, struct err *e);
int store_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
/* 1 when another row of `table` has the values that `b` has under this index. */
int store_is_taken(struct db *db, const char *table, const struct entity_def *d,
                   const struct entity_index *ix, const struct row_key *k, const struct new_body *b,
                   struct err *e);
/* ERR_CONFLICT that says so. */
int store_taken(const struct entity_def *d, const struct entity_index *ix, struct err *e);
int store_create_table(struct db *db, const char *table, struct err *e); /* a quoted name */
/* On the table of `d`, or on its copy `gen`. ERR_CONFLICT: records share a value. */
int store_create_index(struct db *db, const struct entity_def *d, const struct entity_index *ix,
                       int64_t gen, struct err *e);
int store_drop_index(struct db *db, const char *name, struct err *e); /* its full name */
int store_put_def(struct db *db, const struct entity_def *d, int64_t at, struct err *e);
/* Calls `each` for every row, at most max + 1; ERR_TOO_LARGE when there are more than max. */
struct any_row {
    const char *tenant, *part, *id, *body, *keys;
    size_t body_len, keys_len;
};
int store_each(struct db *db, const struct entity_def *d, size_t max,
               int (*each)(void *arg, const struct any_row *row, struct err *e), void *arg,
               struct err *e);

/* ---- rows.c: one row changes, and everything that goes with it ---- */

/* Numbers are kept in entity_history. */
enum row_how {
    HOW_SAVE,
    HOW_PATCH,
    HOW_REMOVE,
    HOW_EXPIRE,
    HOW_CASCADE,
    HOW_DETACH,
    HOW_MIGRATE,
    HOW_COUNT
};

struct row_change {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *def;
    struct row_key key;
    enum row_how how;
};

/* Runs a statement whose parameters 1 to 4 are those of row_key_bind. */
int row_key_run(const struct row_change *c, const char *sql, struct err *e);

/* lease.c: this change, which `makes` a record that is not there, may be made by this unit. */
int lease_check(const struct row_change *c, bool makes, struct err *e);
const struct entity_leases *entities_leases(const struct entities *s);

/* Each checks before it writes: after a refusal nothing has changed. */
int rows_insert(const struct row_change *c, const struct new_body *b, struct err *e);
int rows_update(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e);
/* `old` has expired but is still there: a new record takes its place. */
int rows_revive(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e);
/* `kept` was removed and comes back, one version on. */
int rows_restore(const struct row_change *c, const struct stored_row *kept,
                 const struct new_body *b, struct err *e);
int rows_remove(const struct row_change *c, const struct stored_row *old, struct err *e);

/* ---- ttl.c: pure ---- */

/* expires_at of a stored body; false when it has none. */
bool ttl_read(const struct entity_def *d, const char *body, size_t n, int64_t *out);
bool ttl_is_over(const struct entity_def *d, const char *body, size_t n, int64_t at);
/* The time that the definition gives to a body without one; false when there is no memory. The new
 * text is in `room`. */
bool ttl_complete(const struct entity_def *d, int64_t created_at, struct new_body *b,
                  struct buf *room);

/* ---- history.c, removed.c ---- */

/* `b` NULL: the record goes. Nothing without the option. */
int history_keep(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                 struct err *e);
int removed_keep(const struct row_change *c, const struct stored_row *old, struct err *e);
/* `out` gets version and created_at. */
int removed_restore(const struct row_change *c, struct stored_row *out, struct err *e);
/* `out` gets the version of the last one. ERR_NOT_FOUND when nothing is kept. */
int removed_purge(const struct row_change *c, struct stored_row *out, struct err *e);
int history_forget(const struct row_change *c, struct err *e);

/* ---- sweep.c ---- */

int sweep_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                struct buf *result, struct err *e);
/* When something is due; INT64_MAX: never. */
int sweep_next(const struct entity_def *const *defs, size_t count, struct db *db, int64_t *out,
               struct err *e);

/* ---- changes.c: what an entry did ---- */

struct changes {
    /* The ledger's thread only. */
    struct buf pending; /* changes of the entry under way */
    size_t mark;        /* where its current unit began */
    bool loaded;        /* the following is known */
    int64_t total, oldest_seq, oldest_at, oldest_before;
    /* Every thread. */
    pthread_mutex_t lock;
    struct entity_watch *watches;
};

struct changes *entities_changes(struct entities *s);
void changes_init(struct changes *f);
void changes_fini(struct changes *f);
void changes_add(struct changes *f, const struct row_change *c, enum entity_change_verb verb,
                 const struct entity_change *what);
void changes_unit(struct changes *f);
void changes_undo(struct changes *f, bool entry_too);
int changes_close(struct changes *f, const struct apply *a, struct err *e);
void changes_committed(struct changes *f);
void changes_watch(struct changes *f, struct entity_watch *w);
void changes_unwatch(struct changes *f, struct entity_watch *w);

/* ---- notes.c: the same changes, for the timeline of their correlation id ---- */

struct trace;

struct notes {
    struct trace *trace; /* NULL: nobody wants them */
    struct buf pending;  /* records of the entry under way */
    size_t mark;         /* where its current unit began */
    int unit;            /* noted of that unit */
};

struct notes *entities_notes(struct entities *s);
void notes_init(struct notes *n);
void notes_fini(struct notes *n);
void notes_add(struct notes *n, const struct row_change *c, enum entity_change_verb verb,
               const struct entity_change *what);
void notes_unit(struct notes *n);
void notes_undo(struct notes *n, bool entry_too);
void notes_committed(struct notes *n);

/* ---- refs.c ---- */

/* The targets of all references in `body` are there, but for those that `old` (or NULL) has too. */
int refs_check(const struct row_change *c, const struct new_body *b, const struct stored_row *old,
               struct err *e);

/* ---- removal.c: a record goes, and with it what its definition and those that refer to it say
 * ----
 */

int removal_run(const struct row_change *c, const struct stored_row *old, struct err *e);

/* ---- search.c: the words of a record, in the transaction that changes it ---- */

int search_put(struct db *db, const struct entity_def *d, int64_t rid, const struct new_body *b,
               struct err *e);
int search_change(struct db *db, const struct entity_def *d, const struct stored_row *old,
                  const struct new_body *b, struct err *e);
int search_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
/* `fresh`: its table is new, and empty. `force`: it is even with the same fields. */
int search_define(struct db *db, const struct entity_def *from, const struct entity_def *to,
                  bool force, bool *fresh, struct err *e);
/* The words of the rows behind `after`, up to `last`. */
int search_fill(struct db *db, const struct entity_def *d, int64_t after, int64_t last,
                struct err *e);

/* ---- links.c: who has a record in a list of refs, in the transaction that changes it ---- */

int links_put(struct db *db, const struct entity_def *d, int64_t rid, const struct new_body *b,
              struct err *e);
int links_change(struct db *db, const struct entity_def *d, const struct stored_row *old,
                 const struct new_body *b, struct err *e);
int links_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e);
int links_define(struct db *db, const struct entity_def *from, const struct entity_def *to,
                 struct err *e);

/* ---- define.c ---- */

int define_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                 struct buf *result, struct err *e);
/* Why `to` takes less than `from` did; false when it does not. */
bool define_is_narrower(const struct entity_def *from, const struct entity_def *to, char *why,
                        size_t cap);
/* The same, but for fields that are gone. */
bool define_narrows_otherwise(const struct entity_def *from, const struct entity_def *to);
/* NULL, or what makes `b` take less than `a`. */
const char *define_field_narrows(const struct entity_field *a, const struct entity_field *b);

/* ---- apply.c ---- */

extern const struct domain_op entity_ops[];
extern const size_t entity_ops_count;

#endif
