/* Records that were removed but may come back: a removal with soft_remove takes the row out of its
 * table and keeps it here. So whoever reads the table cannot see it by mistake, and its id and
 * unique values are free for others; a record can come back as long as nobody took them. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/entity_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

int removed_keep(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    if (c->def->soft_remove_ms == 0 || c->how == HOW_EXPIRE)
        return 0;
    struct db_stmt *s = db_stmt_get(
        c->a->db,
        "INSERT INTO entity_removed(entity, tenant, part, id, version, created_at, created_by,"
        " removed_at, removed_by, purge_at, def, body, keys)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        e);
    if (s == NULL)
        return e->code;
    row_key_bind(s, c->def->name, &c->key);
    db_bind_int(s, 5, (int64_t)old->version);
    db_bind_int(s, 6, old->created_at);
    db_bind_str(s, 7, old->created_by);
    db_bind_int(s, 8, c->a->at);
    db_bind_str(s, 9, c->a->env->principal);
    db_bind_int(s, 10, c->a->at + c->def->soft_remove_ms);
    db_bind_int(s, 11, c->def->version);
    db_bind_text(s, 12, old->body, old->body_len);
    db_bind_text(s, 13, old->keys, old->keys_len);
    int rc = db_run(s, e);
    if (rc == 0)
        entities_due_at(c->s, c->a->at + c->def->soft_remove_ms);
    return rc;
}

/* What lies here under the name, the last removed first. */
struct kept {
    int64_t rid;
    uint32_t def;
    struct stored_row row;
};

static int find(const struct row_change *c, struct kept *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(c->a->db,
                    "SELECT rid, version, created_at, removed_at, created_by, removed_by, body,"
                    " keys, def FROM entity_removed WHERE entity = ?1 AND tenant = ?2"
                    " AND part = ?3 AND id = ?4 AND purge_at > ?5 ORDER BY rid DESC LIMIT 1",
                    e);
    if (s == NULL)
        return e->code;
    row_key_bind(s, c->def->name, &c->key);
    db_bind_int(s, 5, c->a->at);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    stored_row_read(s, &out->row);
    out->rid = out->row.rid;
    out->def = (uint32_t)db_col_int(s, 8);
    return buf_failed(&out->row.text) ? err_set(e, ERR_NOMEM, "no memory for a record") : 1;
}

static int forget(struct db *db, int64_t rid, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM entity_removed WHERE rid = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    return db_run(s, e);
}

/* The body under the definition of today. */
static int renew(const struct row_change *c, const struct kept *k, struct entity_doc *doc,
                 struct new_body *b, struct err *e)
{
    *b = (struct new_body){.body = k->row.body,
                           .keys = k->row.keys,
                           .body_len = k->row.body_len,
                           .keys_len = k->row.keys_len};
    if (k->def == c->def->version)
        return 0;
    AUTO(json_unref) json_t *all = json_read(k->row.body, k->row.body_len, e);
    if (all == NULL)
        return ERR_CORRUPT;
    AUTO(json_unref)
    json_t *body = c->def->past != NULL ? entity_rewrite_plain(c->def, all) : json_incref(all);
    int rc =
        entity_doc_make(c->def, body, ENTITY_DOC_NO_DEFAULTS | ENTITY_DOC_STORED, doc, NULL, e);
    if (rc < 0)
        return err_context(e, "%s has changed since the record was removed", c->def->name);
    *b = (struct new_body){.body = buf_str(&doc->body),
                           .keys = doc->keys.len > 0 ? buf_str(&doc->keys) : NULL,
                           .body_len = doc->body.len,
                           .keys_len = doc->keys.len};
    return 0;
}

static int restore(const struct row_change *c, struct kept *k, struct stored_row *out,
                   struct err *e)
{
    int rc = find(c, k, e);
    if (rc <= 0)
        return rc < 0 ? rc
                      : err_set(e, ERR_NOT_FOUND, "there is no removed %s '%.*s' to restore",
                                c->def->name, (int)c->key.id_len, c->key.id);
    if (ttl_is_over(c->def, k->row.body, k->row.body_len, c->a->at))
        return err_set(e, ERR_NOT_FOUND, "%s '%.*s' would have expired by now", c->def->name,
                       (int)c->key.id_len, c->key.id);
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    struct new_body b;
    rc = renew(c, k, &doc, &b, e);
    if (rc == 0)
        rc = rows_restore(c, &k->row, &b, e);
    if (rc == 0)
        rc = kept_restored(c, k->row.updated_at, k->row.body, k->row.body_len, e);
    if (rc == 0)
        rc = forget(c->a->db, k->rid, e);
    out->version = k->row.version + 1;
    out->created_at = k->row.created_at;
    return rc;
}

int removed_restore(const struct row_change *c, struct stored_row *out, struct err *e)
{
    if (c->def->soft_remove_ms == 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s is declared without soft_remove: what is removed is gone", c->def->name);
    struct kept k = {.rid = 0};
    stored_row_init(&k.row);
    int rc = restore(c, &k, out, e);
    stored_row_fini(&k.row);
    return rc;
}

int removed_purge(const struct row_change *c, struct stored_row *out, struct err *e)
{
    struct kept k = {.rid = 0};
    stored_row_init(&k.row);
    int rc = find(c, &k, e);
    out->version = k.row.version;
    out->created_at = k.row.created_at;
    stored_row_fini(&k.row);
    if (rc <= 0)
        return rc < 0 ? rc
                      : err_set(e, ERR_NOT_FOUND, "there is no removed %s '%.*s' to purge",
                                c->def->name, (int)c->key.id_len, c->key.id);
    return row_key_run(c,
                       "DELETE FROM entity_removed WHERE entity = ?1 AND tenant = ?2"
                       " AND part = ?3 AND id = ?4",
                       e);
}
