/* entity.migrated: records as the definition to come has them. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "entity/migrate.h"
#include "ledger/txn.h"

enum { MADE_SQL_MAX = 4096 };

/* ---- for the operation ---- */

/* The record of a row that has been checked, or why not. */
static int add_item(struct buf *items, int64_t rid, uint64_t version, const struct entity_doc *doc,
                    struct err *e)
{
    buf_add_u64(items, (uint64_t)rid);
    buf_add_u64(items, version);
    buf_add_bytes(items, buf_str(&doc->body), doc->body.len);
    buf_add_text(items, doc->keys.len > 0 ? buf_str(&doc->keys) : NULL);
    return buf_check(items, "a batch of migrated records", e);
}

int entity_migrate_add(struct buf *items, const struct entity_def *to, int64_t rid,
                       uint64_t version, const json_t *record, struct err *e)
{
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    int rc = entity_doc_make(to, record, ENTITY_DOC_SYSTEM, &doc, NULL, e);
    return rc < 0 ? rc : add_item(items, rid, version, &doc, e);
}

/* What it lacks it goes on lacking: nobody has saved it. */
int entity_migrate_add_plain(struct buf *items, const struct entity_def *to, int64_t rid,
                             uint64_t version, const json_t *record, struct err *e)
{
    AUTO(json_unref) json_t *made = entity_rewrite_plain(to, record);
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    int flags = ENTITY_DOC_SYSTEM | ENTITY_DOC_NO_DEFAULTS | ENTITY_DOC_STORED;
    int rc = entity_doc_make(to, made, flags, &doc, NULL, e);
    return rc < 0 ? rc : add_item(items, rid, version, &doc, e);
}

/* ---- applying it ---- */

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

/* A new version says when it was made and by whom; not so one of a migration that version 1 of its
 * operation began. */
static int put_row(const struct migration *m, const struct made *r, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MADE_SQL_MAX);
    bool stamps = m->copy->keep >= 0;
    buf_addf(&sql,
             "INSERT INTO %s(rid, tenant, part, id, version, created_at, updated_at, created_by,"
             " updated_by, body, keys) SELECT rid, tenant, part, id, version + (body <> ?2),"
             " created_at, %s, created_by, %s, ?2, ?3 FROM %s WHERE rid = ?1",
             m->copy->table, stamps ? "iif(body <> ?2, ?4, updated_at)" : "updated_at",
             stamps ? "iif(body <> ?2, ?5, updated_by)" : "updated_by", m->def->sql->table);
    struct db_stmt *s = db_stmt_get(m->a->db, buf_str(&sql), e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, r->rid);
    db_bind_text(s, 2, r->b.body, r->b.body_len);
    db_bind_text(s, 3, r->b.keys, r->b.keys_len);
    if (stamps) {
        db_bind_int(s, 4, m->a->at);
        db_bind_str(s, 5, m->a->env->principal);
    }
    return db_run(s, e);
}

static int put_made(const struct migration *m, const struct made *r, struct err *e)
{
    int rc = put_row(m, r, e);
    if (rc == 0)
        rc = links_copy_put(m->a->db, m->copy, r->rid, &r->b, e);
    return rc == 0 && m->copy->keep >= 0 ? kept_take(m->a->db, m->def, m->copy->gen, r->rid, e)
                                         : rc;
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
    if (rc == 0)
        rc = links_copy_drop(m->a->db, m->copy, rid, e);
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
    struct stored_row old = {.body = db_col_text(s, 5, &old.body_len)};
    if (!m->copy->plain && !ttl_complete(m->copy->to, db_col_int(s, 4), &r->b, &room))
        return err_set(e, ERR_TOO_LARGE, "record '%.64s' has over %d bytes", k.id,
                       ENTITY_RECORD_BYTES_MAX);
    int rc = m->copy->to->has_refs ? refs_check(&c, &r->b, m->copy->plain ? &old : NULL, e) : 0;
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
    AUTO(buf_fini) struct buf sql = BUF_INIT(MADE_SQL_MAX);
    buf_addf(&sql, "SELECT version, tenant, part, id, created_at, body FROM %s WHERE rid = ?1",
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
        return err_set(e, ERR_INVALID, "entity.migrated: malformed payload");
    for (uint32_t i = 0; i < count; i++) {
        struct made r;
        if (!read_made(payload, &r))
            return err_set(e, ERR_INVALID, "entity.migrated: malformed payload");
        if ((rc = apply_made(&m, &r, e)) < 0)
            return rc;
    }
    if (cursor_left(payload) > 0)
        return err_set(e, ERR_INVALID, "entity.migrated: malformed payload");
    rc = build_row(a->db,
                   "UPDATE entity_migrations SET rid = max(rid, ?1), held_until = max(held_until,"
                   " ?2) WHERE entity = ?3",
                   m.def->name, (int64_t[]){upto, hold ? a->at + ENTITY_HOLD_MS : 0}, 2, e);
    if (rc < 0 || !hold)
        return rc;
    AUTO(mem_freep) char *text = mem_strdup(m.def->json);
    return migration_set_live(&m, text, m.def->version, false, e);
}

/* ---- removal of what a copy refers to ---- */

static int redo_referring(const struct row_change *c, const struct entity_def *d,
                          const struct entity_field *f, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MADE_SQL_MAX);
    buf_addf(&sql,
             "INSERT OR IGNORE INTO entity_redo(gen, rid) SELECT ?1, rid FROM %s WHERE tenant = ?2"
             " AND part = ?3 AND ",
             d->copy->table);
    if (f->kind == KIND_LIST) {
        buf_addf(&sql, "rid IN (SELECT rid FROM %s WHERE field = '%s' AND target = ?4)",
                 d->copy->links, f->name);
    } else {
        entity_sql_expr(&sql, f, f->name);
        buf_adds(&sql, " = ?4");
    }
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
            const struct entity_field *f = &to->fields[n], *ref = entity_field_ref(f);
            bool follows = ref != NULL && (f->kind == KIND_REF || all[i]->copy->links != NULL);
            if (follows && !ref->unchecked && strcmp(ref->to, c->def->name) == 0)
                rc = redo_referring(c, all[i], f, e);
        }
    }
    return rc;
}
