/* All SQL that writes: rows, tables, indexes, definitions.
 *
 * A row has an integer key, and its name (tenant, part, id) in a unique index beside it. Against
 * WITHOUT ROWID with that name as key, in thousands a second, WAL, 1 000 rows a transaction:
 *
 *                                        integer key            WITHOUT ROWID
 *                                        insert  get   MB       insert  get   MB
 *   300 B, ids ascending, no index       183     58    231      220     72    215   (300 000 rows)
 *   300 B, ids random, one index         17      39    76       11      114   76    (150 000 rows)
 *   1 500 B, ids ascending, one index    41      109   124      26      36    271   (60 000 rows)
 *
 * Small rows with ascending ids would gain a fifth from WITHOUT ROWID. Larger ones lose a third of
 * the inserts, two thirds of the reads and twice the space, because such a tree keeps whole rows in
 * its inner pages and spills what is over a quarter of a page; random ids then dirty pages full of
 * rows instead of pages full of keys. So the integer key: a little slower at best, never bad. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "ledger/txn.h"

enum {
    STORE_SQL_MAX = 64 << 10,
    STORE_ROW_MAX = 4 * ENTITY_RECORD_BYTES_MAX /* body, keys, names */
};

/* ---- rows ---- */

static void bind_key(struct db_stmt *s, const struct row_key *k)
{
    db_bind_str(s, 1, k->tenant);
    db_bind_str(s, 2, k->part);
    db_bind_text(s, 3, k->id, k->id_len);
}

void stored_row_init(struct stored_row *r)
{
    *r = (struct stored_row){.rid = 0};
    buf_init(&r->text, STORE_ROW_MAX);
}

void stored_row_fini(struct stored_row *r)
{
    buf_fini(&r->text);
}

/* Copies a text of the row; its place in the buffer, SIZE_MAX for null. */
static size_t keep_text(struct buf *b, struct db_stmt *s, int column, size_t *n)
{
    size_t len, at = b->len;
    const char *p = db_col_text(s, column, &len);
    if (n != NULL)
        *n = p != NULL ? len : 0;
    if (p == NULL)
        return SIZE_MAX;
    buf_add(b, p, len + 1); /* with its NUL */
    return at;
}

void row_key_bind(struct db_stmt *s, const char *entity, const struct row_key *k)
{
    db_bind_str(s, 1, entity);
    db_bind_str(s, 2, k->tenant);
    db_bind_str(s, 3, k->part);
    db_bind_text(s, 4, k->id, k->id_len);
}

int row_key_run(const struct row_change *c, const char *sql, struct err *e)
{
    struct db_stmt *s = db_stmt_get(c->a->db, sql, e);
    if (s == NULL)
        return e->code;
    row_key_bind(s, c->def->name, &c->key);
    return db_run(s, e);
}

void stored_row_read(struct db_stmt *s, struct stored_row *out)
{
    struct buf *b = &out->text;
    buf_reset(b);
    out->rid = db_col_int(s, 0);
    out->version = (uint64_t)db_col_int(s, 1);
    out->created_at = db_col_int(s, 2);
    out->updated_at = db_col_int(s, 3);
    size_t created_by = keep_text(b, s, 4, NULL), updated_by = keep_text(b, s, 5, NULL);
    size_t body = keep_text(b, s, 6, &out->body_len), keys = keep_text(b, s, 7, &out->keys_len);
    const char *base = buf_str(b);
    out->created_by = base + created_by;
    out->updated_by = base + updated_by;
    out->body = base + body;
    out->keys = keys != SIZE_MAX ? base + keys : NULL;
}

int store_find(struct db *db, const struct entity_def *d, const struct row_key *k,
               struct stored_row *out, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, d->sql->find, e);
    if (s == NULL)
        return e->code;
    bind_key(s, k);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    stored_row_read(s, out);
    return buf_failed(&out->text) ? err_set(e, ERR_NOMEM, "no memory for a record") : 1;
}

int store_exists(struct db *db, const struct entity_def *d, const struct row_key *k, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, d->sql->exists, e);
    if (s == NULL)
        return e->code;
    bind_key(s, k);
    return db_step(s, e);
}

int store_referring(struct db *db, const struct entity_def *d, const struct entity_field *f,
                    const struct row_key *target,
                    int (*each)(void *arg, const char *id, size_t n, struct err *e), void *arg,
                    struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql, "SELECT id FROM %s WHERE tenant = ?1 AND part = ?2 AND ", d->sql->table);
    if (f->kind == KIND_LIST) {
        buf_addf(&sql, "rid IN (SELECT rid FROM %s WHERE field = '%s' AND target = ?3)",
                 d->sql->links, f->name);
    } else {
        entity_sql_expr(&sql, f, f->name);
        buf_adds(&sql, " = ?3");
    }
    buf_addf(&sql, "%s ORDER BY id", d->sql->visible);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    bind_key(s, target);
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        size_t n;
        const char *id = db_col_text(s, 0, &n);
        if ((rc = each(arg, id, n, e)) != 0)
            return rc;
    }
    return rc;
}

static void add_term(struct buf *b, const struct entity_def *d, const struct entity_index_term *t)
{
    entity_sql_expr(b, t->field >= 0 ? &d->fields[t->field] : NULL, t->name);
}

/* The fields of an index, for people. */
static void terms_text(const struct entity_index *ix, char *out, size_t cap)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < ix->terms_count && n < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i > 0 ? ", " : "", ix->terms[i].name);
}

int store_is_taken(struct db *db, const char *table, const struct entity_def *d,
                   const struct entity_index *ix, const struct row_key *k, const struct new_body *b,
                   struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql,
             "SELECT 1 FROM %s, (SELECT ?4 AS nbody, ?5 AS nkeys) WHERE tenant = ?1 AND"
             " part = ?2 AND id <> ?3",
             table);
    for (size_t i = 0; i < ix->terms_count; i++) {
        const struct entity_field *f = &d->fields[ix->terms[i].field];
        buf_adds(&sql, " AND ");
        add_term(&sql, d, &ix->terms[i]);
        buf_addf(&sql, " = json_extract(%s,'$", f->kind == KIND_DECIMAL ? "nkeys" : "nbody");
        entity_sql_path(&sql, f->name);
        buf_adds(&sql, "')");
    }
    buf_adds(&sql, " LIMIT 1");
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    bind_key(s, k);
    db_bind_text(s, 4, b->body, b->body_len);
    db_bind_text(s, 5, b->keys, b->keys_len);
    return db_step(s, e);
}

int store_taken(const struct entity_def *d, const struct entity_index *ix, struct err *e)
{
    char terms[160];
    terms_text(ix, terms, sizeof(terms));
    return err_field(e, ERR_CONFLICT, ix->terms[0].name,
                     "field '%s': another %s has this value already (unique index on %s)", terms,
                     d->name, terms);
}

/* A constraint refused the row: say which. */
static int name_conflict(struct db *db, const struct entity_def *d, const struct row_key *k,
                         const struct new_body *b, bool inserted, struct err *e)
{
    if (inserted) {
        int rc = store_exists(db, d, k, e);
        if (rc < 0)
            return rc;
        if (rc > 0)
            return err_field(e, ERR_CONFLICT, "id",
                             "%s '%.*s' exists already; save it under its id to replace it",
                             d->name, (int)k->id_len, k->id);
    }
    for (size_t i = 0; i < d->indexes_count; i++) {
        const struct entity_index *ix = &d->indexes[i];
        bool asked = ix->unique && (d->copy == NULL || !d->copy->pending[i]);
        int rc = asked ? store_is_taken(db, d->sql->table, d, ix, k, b, e) : 0;
        if (rc != 0)
            return rc < 0 ? rc : store_taken(d, ix, e);
    }
    if (d->copy != NULL && d->copy->to == NULL && d->copy->gen > 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "%s '%.*s': a unique index that %s is declared without is still being "
                       "taken away, and has this value already; try again soon",
                       d->name, (int)k->id_len, k->id, d->name);
    return err_set(e, ERR_INTERNAL, "entity %s: a constraint failed that no index explains",
                   d->name);
}

/* What goes with a row that was written: words, links, the copy. */
static int put_beside(struct db *db, const struct entity_def *d, const struct new_body *b,
                      struct err *e)
{
    int64_t rid = db_last_rowid(db);
    int rc = search_put(db, d, rid, b, e);
    if (rc == 0)
        rc = links_put(db, d, rid, b, e);
    return rc == 0 ? copy_follow(db, d, rid, e) : rc;
}

static int change_beside(struct db *db, const struct entity_def *d, const struct stored_row *old,
                         const struct new_body *b, struct err *e)
{
    int rc = search_change(db, d, old, b, e);
    if (rc == 0)
        rc = links_change(db, d, old, b, e);
    return rc == 0 ? copy_follow(db, d, old->rid, e) : rc;
}

int store_insert(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct new_body *b, struct err *e)
{
    int rc = copy_check(a->db, d, k, NULL, b, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(a->db, d->sql->insert, e);
    if (s == NULL)
        return e->code;
    bind_key(s, k);
    db_bind_int(s, 4, a->at);
    db_bind_str(s, 5, a->env->principal);
    db_bind_text(s, 6, b->body, b->body_len);
    db_bind_text(s, 7, b->keys, b->keys_len);
    rc = db_run(s, e);
    if (rc == 0)
        return put_beside(a->db, d, b, e);
    return rc == ERR_CONFLICT ? name_conflict(a->db, d, k, b, true, e) : rc;
}

int store_update(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct stored_row *old, const struct new_body *b, struct err *e)
{
    int rc = copy_check(a->db, d, k, old, b, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(a->db, d->sql->update, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, old->rid);
    db_bind_int(s, 2, (int64_t)old->version + 1);
    db_bind_int(s, 3, a->at);
    db_bind_str(s, 4, a->env->principal);
    db_bind_text(s, 5, b->body, b->body_len);
    db_bind_text(s, 6, b->keys, b->keys_len);
    rc = db_run(s, e);
    if (rc == 0)
        return change_beside(a->db, d, old, b, e);
    return rc == ERR_CONFLICT ? name_conflict(a->db, d, k, b, false, e) : rc;
}

int store_revive(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                 const struct stored_row *old, const struct new_body *b, struct err *e)
{
    int rc = copy_check(a->db, d, k, old, b, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(a->db, d->sql->revive, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, old->rid);
    db_bind_int(s, 2, a->at);
    db_bind_str(s, 3, a->env->principal);
    db_bind_text(s, 4, b->body, b->body_len);
    db_bind_text(s, 5, b->keys, b->keys_len);
    rc = db_run(s, e);
    if (rc == 0)
        return change_beside(a->db, d, old, b, e);
    return rc == ERR_CONFLICT ? name_conflict(a->db, d, k, b, false, e) : rc;
}

int store_restore(const struct apply *a, const struct entity_def *d, const struct row_key *k,
                  const struct stored_row *kept, const struct new_body *b, struct err *e)
{
    int rc = copy_check(a->db, d, k, NULL, b, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(a->db, d->sql->restore, e);
    if (s == NULL)
        return e->code;
    bind_key(s, k);
    db_bind_int(s, 4, (int64_t)kept->version + 1);
    db_bind_int(s, 5, kept->created_at);
    db_bind_int(s, 6, a->at);
    db_bind_str(s, 7, kept->created_by);
    db_bind_str(s, 8, a->env->principal);
    db_bind_text(s, 9, b->body, b->body_len);
    db_bind_text(s, 10, b->keys, b->keys_len);
    rc = db_run(s, e);
    if (rc == 0)
        return put_beside(a->db, d, b, e);
    return rc == ERR_CONFLICT ? name_conflict(a->db, d, k, b, true, e) : rc;
}

int store_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, d->sql->remove, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    int rc = db_run(s, e);
    if (rc == 0)
        rc = search_remove(db, d, rid, e);
    if (rc == 0)
        rc = links_remove(db, d, rid, e);
    return rc == 0 ? copy_follow(db, d, rid, e) : rc;
}

/* ---- tables and indexes ---- */

int store_create_table(struct db *db, const char *table, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql,
             "CREATE TABLE %s("
             "rid INTEGER PRIMARY KEY, tenant TEXT NOT NULL, part TEXT NOT NULL, id TEXT NOT NULL,"
             " version INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,"
             " created_by TEXT NOT NULL, updated_by TEXT NOT NULL, body TEXT NOT NULL, keys TEXT,"
             " UNIQUE (tenant, part, id))",
             table);
    return db_exec_buf(db, &sql, e);
}

/* "<name>_ix<hash>": but one of a table that was set aside may have it still. */
static int free_index_name(struct db *db, const struct entity_def *d, const char *suffix,
                           const struct entity_index *ix, char **out, struct err *e)
{
    AUTO(mem_freep) char *wanted = mem_printf("%s%s_%s", d->name, suffix, ix->name);
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM sqlite_schema WHERE name = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, wanted);
    int rc = db_step(s, e);
    int64_t gen = 0;
    if (rc > 0)
        rc = build_next_gen(db, &gen, e);
    if (rc < 0)
        return rc;
    *out = gen == 0 ? TAKE(wanted) : mem_printf("%s.%lld_%s", d->name, (long long)gen, ix->name);
    return 0;
}

int store_create_index(struct db *db, const struct entity_def *d, const struct entity_index *ix,
                       int64_t gen, struct err *e)
{
    char suffix[24] = "";
    if (gen > 0)
        snprintf(suffix, sizeof(suffix), ".%lld", (long long)gen);
    AUTO(mem_freep) char *name = NULL;
    int rc = free_index_name(db, d, suffix, ix, &name, e);
    if (rc < 0)
        return rc;
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql, "CREATE %sINDEX \"%s\" ON \"entity_%s%s\"(%s", ix->unique ? "UNIQUE " : "", name,
             d->name, suffix, ix->global ? "" : "tenant, part");
    bool ends_in_id = false, desc = false;
    for (size_t i = 0; i < ix->terms_count; i++) {
        desc = ix->terms[i].desc;
        ends_in_id = strcmp(ix->terms[i].name, "id") == 0;
        buf_adds(&sql, ix->global && i == 0 ? "" : ", ");
        add_term(&sql, d, &ix->terms[i]);
        buf_adds(&sql, desc ? " DESC" : "");
    }
    /* The id breaks ties of a sort in the direction of its last term; with it in the index a page
       is read off without sorting. */
    if (!ix->unique && !ix->global && !ends_in_id)
        buf_adds(&sql, desc ? ", id DESC" : ", id");
    buf_adds(&sql, ")");
    return db_exec_buf(db, &sql, e);
}

int store_drop_index(struct db *db, const char *name, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql, "DROP INDEX \"%s\"", name);
    return db_exec_buf(db, &sql, e);
}

int store_put_def(struct db *db, const struct entity_def *d, int64_t at, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "INSERT INTO entity_defs(name, version, json, defined_at)"
                                    " VALUES(?1, ?2, ?3, ?4) ON CONFLICT(name) DO UPDATE"
                                    " SET version = ?2, json = ?3, defined_at = ?4",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, d->name);
    db_bind_int(s, 2, d->version);
    db_bind_str(s, 3, d->json);
    db_bind_int(s, 4, at);
    return db_run(s, e);
}

int store_each(struct db *db, const struct entity_def *d, size_t max,
               int (*each)(void *arg, const struct any_row *row, struct err *e), void *arg,
               struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(STORE_SQL_MAX);
    buf_addf(&sql, "SELECT tenant, part, id, body, keys FROM %s ORDER BY rid LIMIT ?1",
             d->sql->table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)max + 1);
    int rc;
    for (size_t n = 0; (rc = db_step(s, e)) > 0; n++) {
        if (n == max)
            return err_set(e, ERR_TOO_LARGE, "there are over %zu records", max);
        struct any_row row = {.tenant = db_col_text(s, 0, NULL),
                              .part = db_col_text(s, 1, NULL),
                              .id = db_col_text(s, 2, NULL)};
        row.body = db_col_text(s, 3, &row.body_len);
        row.keys = db_col_text(s, 4, &row.keys_len);
        if ((rc = each(arg, &row, e)) < 0)
            return rc;
    }
    return rc;
}
