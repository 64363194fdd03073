/* entity.migrate, migrated, adopt, halt: see migrate.h. */
#include "entity/migrate.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
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

void entity_txn_migrate(struct txn *t, const struct entity_def *to, const char *made_by)
{
    struct buf *b = txn_begin(t, ENTITY_OP_MIGRATE, 1);
    buf_add_text(b, to->json);
    buf_add_text(b, made_by);
    txn_end(t);
}

int entity_migrate_add(struct buf *items, const struct entity_def *to, int64_t rid,
                       uint64_t version, const json_t *record, struct err *e)
{
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    int rc = entity_doc_make(to, record, ENTITY_DOC_SYSTEM, &doc, NULL, e);
    if (rc < 0)
        return rc;
    buf_add_u64(items, (uint64_t)rid);
    buf_add_u64(items, version);
    buf_add_bytes(items, buf_str(&doc.body), doc.body.len);
    buf_add_text(items, doc.keys.len > 0 ? buf_str(&doc.keys) : NULL);
    return buf_check(items, "a batch of migrated records", e);
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

struct migration {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *def; /* in force */
    const struct entity_copy *copy;
};

static int malformed(const char *what, struct err *e)
{
    return err_set(e, ERR_INVALID, "%s: malformed payload", what);
}

/* The migration that the payload speaks of is the one under way. */
static int migration_begin(struct migration *m, void *self, const struct apply *a,
                           struct cursor *payload, const char *what, struct err *e)
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
static int set_live(const struct migration *m, const char *text, uint32_t version, bool put,
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
    return rc < 0 ? rc : forget(db, d, e);
}

int migrate_forget(struct entities *s, const struct apply *a, const struct entity_def *def,
                   struct err *e)
{
    AUTO(mem_freep) char *text = mem_strdup(def->json);
    AUTO(entity_def_unrefp) struct entity_def *plain = NULL;
    int rc = entity_def_parse_text(text, strlen(text), &plain, e);
    /* Indexes that a violated build had and the table has not begin anew. */
    if (rc < 0 || (rc = build_define(a, plain, plain, e)) < 0)
        return rc;
    struct migration m = {.s = s, .a = a};
    return set_live(&m, text, def->version, false, e);
}

/* ---- entity.migrate ---- */

static int check_begin(const struct migration *m, const struct entity_def *to, struct err *e)
{
    const struct entity_def *from = m->def;
    if (from->copy != NULL && from->copy->to == NULL && !from->copy->violated)
        return err_set(e, ERR_UNAVAILABLE,
                       "entity '%s': its indexes are still being built; deploy again when they are "
                       "there (koan entity indexes %s)",
                       from->name, from->name);
    if (entity_def_has_links(from) || entity_def_has_links(to))
        return err_set(e, ERR_UNSUPPORTED,
                       "entity '%s': records with lists of references cannot be migrated in this "
                       "version",
                       from->name);
    return define_check(m->s, m->a, to, e);
}

static int put_migration(struct db *db, const struct entity_def *to, const char *made_by, size_t n,
                         int64_t gen, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db,
                    "INSERT INTO entity_migrations(entity, gen, def, made_by, rid, held_until)"
                    " VALUES(?1, ?2, ?3, ?4, 0, 0)",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, to->name);
    db_bind_int(s, 2, gen);
    db_bind_str(s, 3, to->json);
    db_bind_text(s, 4, made_by, n);
    return db_run(s, e);
}

/* The same is under way already. */
static int is_same(const struct migration *m, const struct entity_def *to, const char *made_by,
                   size_t n, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        m->a->db, "SELECT 1 FROM entity_migrations WHERE entity = ?1 AND def = ?2 AND made_by = ?3",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, to->name);
    db_bind_str(s, 2, to->json);
    db_bind_text(s, 3, made_by, n);
    return db_step(s, e);
}

static int begin(struct migration *m, const struct entity_def *to, const char *made_by, size_t n,
                 struct err *e)
{
    struct db *db = m->a->db;
    int64_t gen;
    int rc = check_begin(m, to, e);
    if (rc < 0 || (rc = is_same(m, to, made_by, n, e)) != 0)
        return rc < 0 ? rc : 0;
    if (m->copy != NULL)
        rc = build_give_up(db, m->def, e);
    if (rc < 0 || (rc = build_make_copy(db, to, &gen, e)) < 0 ||
        (rc = put_migration(db, to, made_by, n, gen, e)) < 0 ||
        (rc = build_row(db, "DELETE FROM entity_halts WHERE entity = ?1", to->name, NULL, 0, e)) <
            0)
        return rc;
    AUTO(mem_freep) char *text = mem_strdup(m->def->json);
    return set_live(m, text, m->def->version, false, e);
}

int migrate_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                  struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    size_t n, by_len = 0;
    const char *text = cursor_bytes(payload, &n), *by = cursor_bytes(payload, &by_len);
    if (text == NULL || by == NULL || by_len > ENTITY_NAME_MAX || cursor_left(payload) > 0)
        return malformed("entity.migrate", e);
    AUTO(entity_def_unrefp) struct entity_def *to = NULL;
    struct migration m = {.s = self, .a = a};
    int rc = entity_def_parse_text(text, n, &to, e);
    if (rc < 0)
        return rc;
    m.def = entities_live(self, a, to->name, strlen(to->name), e);
    if (m.def == NULL)
        return e->code;
    m.copy = m.def->copy;
    return begin(&m, to, by, by_len, e);
}

/* ---- entity.migrated ---- */

struct made {
    int64_t rid;
    uint64_t version;
    struct new_body b;
};

static bool read_made(struct cursor *c, struct made *out)
{
    out->rid = (int64_t)cursor_u64(c);
    out->version = cursor_u64(c);
    out->b.body = cursor_bytes(c, &out->b.body_len);
    out->b.keys = cursor_bytes(c, &out->b.keys_len);
    return !c->bad && out->b.body != NULL && out->b.body_len <= ENTITY_RECORD_BYTES_MAX &&
           out->b.body_len >= 2;
}

static int put_made(const struct migration *m, const struct made *r, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MIGRATE_SQL_MAX);
    buf_addf(&sql,
             "INSERT INTO %s(rid, tenant, part, id, version, created_at, updated_at, created_by,"
             " updated_by, body, keys) SELECT rid, tenant, part, id, version + (body <> ?2),"
             " created_at, updated_at, created_by, updated_by, ?2, ?3 FROM %s WHERE rid = ?1",
             m->copy->table, m->def->sql->table);
    struct db_stmt *s = db_stmt_get(m->a->db, buf_str(&sql), e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, r->rid);
    db_bind_text(s, 2, r->b.body, r->b.body_len);
    db_bind_text(s, 3, r->b.keys, r->b.keys_len);
    return db_run(s, e);
}

/* The copy has refused the record: which index of the new definition is it? */
static int collision(const struct migration *m, const struct row_key *k, const struct made *r,
                     struct err *e)
{
    const struct entity_def *to = m->copy->to;
    for (size_t i = 0; i < to->indexes_count; i++) {
        const struct entity_index *ix = &to->indexes[i];
        int rc = ix->unique ? store_is_taken(m->a->db, m->copy->table, to, ix, k, &r->b, e) : 0;
        if (rc < 0)
            return rc;
        if (rc > 0) {
            store_taken(to, ix, e);
            return err_context(e, "record '%.64s'", k->id);
        }
    }
    return err_set(e, ERR_INTERNAL, "entity %s: its copy refused a record that no index explains",
                   to->name);
}

static int drop_made(const struct migration *m, int64_t rid, struct err *e)
{
    int rc = build_row(m->a->db, m->copy->drop, NULL, &rid, 1, e);
    return rc < 0 ? rc
                  : build_row(m->a->db, "DELETE FROM entity_redo WHERE gen = ?1 AND rid = ?2", NULL,
                              (int64_t[]){m->copy->gen, rid}, 2, e);
}

/* `s` stands on the record as it is. */
static int take_made(const struct migration *m, struct made *r, struct db_stmt *s, struct err *e)
{
    struct row_key k = {.tenant = db_col_text(s, 1, NULL), .part = db_col_text(s, 2, NULL)};
    k.id = db_col_text(s, 3, &k.id_len);
    struct row_change c = {.s = m->s, .a = m->a, .def = m->copy->to, .key = k};
    AUTO(buf_fini) struct buf room = BUF_INIT(ENTITY_RECORD_BYTES_MAX);
    if (!ttl_complete(m->copy->to, db_col_int(s, 4), &r->b, &room))
        return err_set(e, ERR_TOO_LARGE, "record '%.64s' has over %d bytes", k.id,
                       ENTITY_RECORD_BYTES_MAX);
    int rc = m->copy->to->has_refs ? refs_check(&c, &r->b, NULL, e) : 0;
    if (rc < 0)
        return err_context(e, "record '%.64s'", k.id);
    if ((rc = drop_made(m, r->rid, e)) < 0)
        return rc;
    struct err refused = ERR_INIT;
    rc = put_made(m, r, &refused);
    if (rc == ERR_CONFLICT)
        return collision(m, &k, r, e);
    if (rc < 0)
        *e = refused;
    return rc;
}

static int apply_made(const struct migration *m, struct made *r, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MIGRATE_SQL_MAX);
    buf_addf(&sql, "SELECT version, tenant, part, id, created_at FROM %s WHERE rid = ?1",
             m->def->sql->table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(m->a->db, buf_str(&sql), e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, r->rid);
    int rc = db_step(s, e);
    /* Gone, or changed since: then it is in entity_redo. */
    if (rc <= 0 || (uint64_t)db_col_int(s, 0) != r->version)
        return rc < 0 ? rc : 0;
    return take_made(m, r, s, e);
}

int migrated_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                   struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    struct migration m;
    int rc = migration_begin(&m, self, a, payload, "entity.migrated", e);
    if (rc < 0)
        return rc;
    int64_t upto = (int64_t)cursor_u64(payload);
    bool hold = cursor_u8(payload) != 0;
    uint32_t count = cursor_u32(payload);
    if (payload->bad || count > ENTITY_MIGRATE_ROWS)
        return malformed("entity.migrated", e);
    for (uint32_t i = 0; i < count; i++) {
        struct made r;
        if (!read_made(payload, &r))
            return malformed("entity.migrated", e);
        if ((rc = apply_made(&m, &r, e)) < 0)
            return rc;
    }
    if (cursor_left(payload) > 0)
        return malformed("entity.migrated", e);
    rc = build_row(a->db,
                   "UPDATE entity_migrations SET rid = max(rid, ?1), held_until = max(held_until,"
                   " ?2) WHERE entity = ?3",
                   m.def->name, (int64_t[]){upto, hold ? a->at + ENTITY_HOLD_MS : 0}, 2, e);
    if (rc < 0 || !hold)
        return rc;
    AUTO(mem_freep) char *text = mem_strdup(m.def->json);
    return set_live(&m, text, m.def->version, false, e);
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
    rc = build_take_place(a->db, from, e);
    if (rc < 0 || (rc = forget(a->db, from, e)) < 0 ||
        (rc = build_search_again(a->db, from, m.copy->to, e)) < 0 ||
        (rc = set_live(&m, text, from->version + 1, true, e)) < 0)
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

/* ---- removal of what a copy refers to ---- */

static int redo_referring(const struct row_change *c, const struct entity_def *d,
                          const struct entity_field *f, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MIGRATE_SQL_MAX);
    buf_addf(&sql,
             "INSERT OR IGNORE INTO entity_redo(gen, rid) SELECT ?1, rid FROM %s WHERE tenant = ?2"
             " AND part = ?3 AND ",
             d->copy->table);
    entity_sql_expr(&sql, f, f->name);
    buf_adds(&sql, " = ?4");
    struct db_stmt *s = db_stmt_get(c->a->db, buf_str(&sql), e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, d->copy->gen);
    db_bind_str(s, 2, c->key.tenant);
    db_bind_str(s, 3, c->key.part);
    db_bind_text(s, 4, c->key.id, c->key.id_len);
    return db_run(s, e);
}

int migrate_removed(const struct row_change *c, struct err *e)
{
    size_t count;
    const struct entity_def *const *all = entities_all(c->s, c->a, &count, e);
    int rc = all != NULL ? 0 : e->code;
    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct entity_def *to = entity_def_is_migrating(all[i]) ? all[i]->copy->to : NULL;
        for (size_t n = 0; to != NULL && n < to->fields_count && rc == 0; n++) {
            const struct entity_field *f = &to->fields[n];
            if (f->kind == KIND_REF && !f->unchecked && strcmp(f->to, c->def->name) == 0)
                rc = redo_referring(c, all[i], f, e);
        }
    }
    return rc;
}
