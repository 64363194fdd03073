/* A migration begins, is adopted, or halted: see migrate.h. */
#include "entity/migrate.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

enum { MIGRATE_SQL_MAX = 4096 };

bool entity_def_is_narrower(const struct entity_def *from, const struct entity_def *to, char *why,
                            size_t cap)
{
    return define_is_narrower(from, to, why, cap);
}

bool entity_def_is_migrating(const struct entity_def *d)
{
    return d->copy != NULL && d->copy->to != NULL;
}

int migrate_check_held(const struct entity_def *d, int64_t at, struct err *e)
{
    if (!entity_def_is_migrating(d) || d->copy->held_until <= at)
        return 0;
    return err_set(e, ERR_UNAVAILABLE,
                   "the records of %s are being switched to another definition; try again in a "
                   "moment",
                   d->name);
}

/* ---- writing operations ---- */

void entity_txn_migrate(struct txn *t, const struct entity_def *to, const char *made_by,
                        int64_t keep_ms)
{
    struct buf *b = txn_begin(t, ENTITY_OP_MIGRATE, 2);
    buf_add_text(b, to->json);
    buf_add_text(b, made_by);
    buf_add_u64(b, (uint64_t)keep_ms);
    txn_end(t);
}

void entity_txn_migrated(struct txn *t, const char *entity, const struct entity_batch *batch,
                         bool hold, uint32_t count, const struct buf *items)
{
    struct buf *b = txn_begin(t, ENTITY_OP_MIGRATED, 1);
    buf_add_text(b, entity);
    buf_add_u64(b, (uint64_t)batch->gen);
    buf_add_u64(b, (uint64_t)batch->upto);
    buf_add_u8(b, hold);
    buf_add_u32(b, count);
    buf_add(b, items->data, items->len);
    txn_end(t);
}

void entity_txn_adopt(struct txn *t, const char *entity, int64_t gen)
{
    struct buf *b = txn_begin(t, ENTITY_OP_ADOPT, 1);
    buf_add_text(b, entity);
    buf_add_u64(b, (uint64_t)gen);
    txn_end(t);
}

void entity_txn_halt(struct txn *t, const char *entity, int64_t gen, const char *list)
{
    struct buf *b = txn_begin(t, ENTITY_OP_HALT, 1);
    buf_add_text(b, entity);
    buf_add_u64(b, (uint64_t)gen);
    buf_add_text(b, list);
    txn_end(t);
}

/* ---- what all of them begin with ---- */

static int malformed(const char *what, struct err *e)
{
    return err_set(e, ERR_INVALID, "%s: malformed payload", what);
}

/* The migration that the payload speaks of is the one under way. */
int migration_begin(struct migration *m, void *self, const struct apply *a, struct cursor *payload,
                    const char *what, struct err *e)
{
    size_t n = 0;
    const char *name = cursor_bytes(payload, &n);
    int64_t gen = (int64_t)cursor_u64(payload);
    if (payload->bad || name == NULL)
        return malformed(what, e);
    *m = (struct migration){.s = self, .a = a};
    m->def = entities_live(self, a, name, n, e);
    if (m->def == NULL)
        return e->code;
    m->copy = m->def->copy;
    if (!entity_def_is_migrating(m->def) || m->copy->gen != gen)
        return err_set(e, ERR_CONFLICT,
                       "%s: this migration was given up meanwhile, by another change of its "
                       "definition; deploy again",
                       m->def->name);
    return 0;
}

static int forget(struct db *db, const struct entity_def *d, struct err *e)
{
    return build_row(db, "DELETE FROM entity_migrations WHERE entity = ?1", d->name, NULL, 0, e);
}

/* Definition `text` is the live one from here on, with what the database says of its copy. */
int migration_set_live(const struct migration *m, const char *text, uint32_t version, bool put,
                       struct err *e)
{
    AUTO(entity_def_unrefp) struct entity_def *d = NULL;
    int rc = entity_def_parse_text(text, strlen(text), &d, e);
    if (rc < 0)
        return rc;
    d->version = version;
    if ((put && (rc = store_put_def(m->a->db, d, m->a->at, e)) < 0) ||
        (rc = copy_attach(m->a->db, d, e)) < 0)
        return rc;
    entities_set_live(m->s, entity_def_ref(d));
    entities_work(m->s, ENTITIES_WORK_NOW);
    return 0;
}

int migrate_give_up(struct db *db, const struct entity_def *d, struct err *e)
{
    int rc = build_leave_behind(db, d->name, d->copy->gen, e);
    if (rc == 0)
        rc = kept_give_up(db, d->copy->gen, e);
    return rc < 0 ? rc : forget(db, d, e);
}

int migrate_forget(struct entities *s, const struct apply *a, const struct entity_def *def,
                   struct err *e)
{
    AUTO(mem_freep) char *text = mem_strdup(def->json);
    AUTO(entity_def_unrefp) struct entity_def *plain = NULL;
    int rc = entity_def_parse_text(text, strlen(text), &plain, e);
    /* Indexes that a violated build had and the table has not begin anew. */
    if (rc < 0 || (rc = build_define(a, plain, plain, false, e)) < 0)
        return rc;
    struct migration m = {.s = s, .a = a};
    entities_due_at(s, 0); /* what it had kept goes */
    return migration_set_live(&m, text, def->version, false, e);
}

/* ---- entity.migrate ---- */

static int check_begin(const struct migration *m, const struct entity_def *to, int64_t keep,
                       struct err *e)
{
    const struct entity_def *from = m->def;
    if (from->copy != NULL && from->copy->to == NULL && !from->copy->violated)
        return err_set(e, ERR_UNAVAILABLE,
                       "entity '%s': its indexes are still being built; deploy again when they are "
                       "there (koan entity indexes %s)",
                       from->name, from->name);
    if (from->past != NULL && from->past->untold != 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "entity '%s': what the last migration made of its records is still being "
                       "announced; deploy again in a moment",
                       from->name);
    if (keep < 0 && (entity_def_has_links(from) || entity_def_has_links(to)))
        return err_set(e, ERR_UNSUPPORTED,
                       "entity '%s': records with lists of references cannot be migrated in this "
                       "version",
                       from->name);
    return define_check(m->s, m->a, to, e);
}

/* What `entity.migrate` says. */
struct wanted {
    const struct entity_def *to;
    const char *made_by;
    size_t made_by_len;
    int64_t keep; /* -1: version 1 */
};

static int put_migration(struct db *db, const struct wanted *w, int64_t gen, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db,
                    "INSERT INTO entity_migrations(entity, gen, def, made_by, rid, held_until,"
                    " keep) VALUES(?1, ?2, ?3, ?4, 0, 0, ?5)",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, w->to->name);
    db_bind_int(s, 2, gen);
    db_bind_str(s, 3, w->to->json);
    db_bind_text(s, 4, w->made_by, w->made_by_len);
    db_bind_int(s, 5, w->keep);
    return db_run(s, e);
}

/* The same is under way already. */
static int is_same(const struct migration *m, const struct wanted *w, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        m->a->db, "SELECT 1 FROM entity_migrations WHERE entity = ?1 AND def = ?2 AND made_by = ?3",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, w->to->name);
    db_bind_str(s, 2, w->to->json);
    db_bind_text(s, 3, w->made_by, w->made_by_len);
    return db_step(s, e);
}

static int begin(struct migration *m, const struct wanted *w, struct err *e)
{
    struct db *db = m->a->db;
    const struct entity_def *to = w->to;
    int64_t gen;
    int rc = check_begin(m, to, w->keep, e);
    if (rc < 0 || (rc = is_same(m, w, e)) != 0)
        return rc < 0 ? rc : 0;
    if (m->copy != NULL)
        rc = build_give_up(db, m->def, e);
    if (rc < 0 || (rc = build_make_copy(db, to, &gen, e)) < 0 ||
        (rc = w->keep >= 0 ? links_make_copy(db, to, gen, e) : 0) < 0 ||
        (rc = put_migration(db, w, gen, e)) < 0 ||
        (rc = w->keep >= 0 ? kept_begin(m->a, m->def, to, gen, e) : 0) < 0 ||
        (rc = build_row(db, "DELETE FROM entity_halts WHERE entity = ?1", to->name, NULL, 0, e)) <
            0)
        return rc;
    if (m->copy != NULL)
        entities_due_at(m->s, 0); /* what the one before had kept goes */
    AUTO(mem_freep) char *text = mem_strdup(m->def->json);
    return migration_set_live(m, text, m->def->version, false, e);
}

int migrate_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                  struct buf *result, struct err *e)
{
    (void)result;
    size_t n;
    struct wanted w = {.keep = -1};
    const char *text = cursor_bytes(payload, &n);
    w.made_by = cursor_bytes(payload, &w.made_by_len);
    if (version > 1)
        w.keep = (int64_t)cursor_u64(payload);
    if (text == NULL || w.made_by == NULL || w.made_by_len > ENTITY_NAME_MAX || payload->bad ||
        cursor_left(payload) > 0 || (version > 1 && w.keep < 0) || w.keep > ENTITY_KEEP_MS_MAX)
        return malformed("entity.migrate", e);
    AUTO(entity_def_unrefp) struct entity_def *to = NULL;
    struct migration m = {.s = self, .a = a};
    int rc = entity_def_parse_text(text, n, &to, e);
    if (rc < 0)
        return rc;
    w.to = to;
    m.def = entities_live(self, a, to->name, strlen(to->name), e);
    if (m.def == NULL)
        return e->code;
    m.copy = m.def->copy;
    return begin(&m, &w, e);
}

/* ---- entity.adopt, entity.halt ---- */

/* 1: a record is not there as it is now. */
static int is_short(const struct migration *m, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MIGRATE_SQL_MAX);
    buf_addf(&sql,
             "SELECT EXISTS (SELECT 1 FROM entity_redo WHERE gen = ?1) OR EXISTS (SELECT 1 FROM %s"
             " WHERE rid > (SELECT rid FROM entity_migrations WHERE gen = ?1))",
             m->def->sql->table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(m->a->db, buf_str(&sql), e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, m->copy->gen);
    int rc = db_step(s, e);
    return rc < 0 ? rc : db_col_int(s, 0) != 0;
}

int adopt_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    struct migration m;
    int rc = migration_begin(&m, self, a, payload, "entity.adopt", e);
    if (rc == 0 && cursor_left(payload) > 0)
        return malformed("entity.adopt", e);
    if (rc < 0 || (rc = is_short(&m, e)) < 0)
        return rc;
    if (rc > 0)
        return err_set(e, ERR_VERSION_MISMATCH, "records of %s have changed meanwhile",
                       m.def->name);
    if ((rc = define_check(self, a, m.copy->to, e)) < 0)
        return rc;
    AUTO(entity_def_unrefp) struct entity_def *from = entity_def_ref(m.def);
    AUTO(mem_freep) char *text = mem_strdup(m.copy->to->json);
    bool keeps = m.copy->keep >= 0;
    rc = build_take_place(a->db, from, e);
    if (rc < 0 || (rc = forget(a->db, from, e)) < 0 ||
        (rc = keeps ? kept_adopt(a, from->name, m.copy->gen, m.copy->keep, e) : 0) < 0 ||
        (rc = build_search_again(a->db, from, m.copy->to, e)) < 0 ||
        (rc = migration_set_live(&m, text, from->version + 1, true, e)) < 0)
        return rc;
    entities_due_at(self, 0);
    return 0;
}

int halt_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
               struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    struct migration m;
    size_t n = 0;
    int rc = migration_begin(&m, self, a, payload, "entity.halt", e);
    const char *list = rc == 0 ? cursor_bytes(payload, &n) : NULL;
    if (rc == 0 && (list == NULL || n > ENTITY_HALT_BYTES_MAX || cursor_left(payload) > 0))
        return malformed("entity.halt", e);
    if (rc < 0 || (rc = migrate_give_up(a->db, m.def, e)) < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT OR REPLACE INTO entity_halts(entity, at, list) VALUES(?1, ?2, ?3)", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, m.def->name);
    db_bind_int(s, 2, a->at);
    db_bind_text(s, 3, list, n);
    if ((rc = db_run(s, e)) < 0)
        return rc;
    return migrate_forget(self, a, m.def, e);
}
