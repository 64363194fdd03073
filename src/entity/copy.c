/* The copy of a table, and how it follows its table. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "entity/migrate.h"

enum { COPY_SQL_MAX = 16 << 10 };

void entity_copy_free(struct entity_copy *c)
{
    if (c == NULL)
        return;
    mem_free(c->table);
    mem_free(c->put);
    mem_free(c->drop);
    mem_free(c->links);
    mem_free(c->links_put);
    mem_free(c->links_drop);
    entity_def_unref(c->to);
    mem_free(c);
}

json_t *copy_index_names(struct db *db, const struct entity_def *d, struct err *e)
{
    AUTO(mem_freep) char *table = mem_printf("entity_%s", d->name);
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1", e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, table);
    AUTO(json_unref) json_t *out = json_object();
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        /* "<name>_ix..." or "<name>.<gen>_ix..."; one of SQLite's own is not among ours. */
        const char *full = db_col_text(s, 0, NULL), *at = NULL;
        for (const char *p = full; (p = strstr(p, "_ix")) != NULL; p++)
            at = p;
        if (at != NULL)
            json_object_set_new(out, at + 1, json_string(full));
    }
    return rc < 0 ? NULL : TAKE(out);
}

static struct entity_copy *copy_new(const struct entity_def *d, int64_t gen, bool search)
{
    struct entity_copy *c = mem_new(sizeof(*c));
    c->gen = gen;
    c->search = search;
    if (gen == 0)
        return c;
    c->table = mem_printf("\"entity_%s.%lld\"", d->name, (long long)gen);
    c->put = mem_printf("INSERT INTO %s SELECT * FROM %s WHERE rid = ?1"
                        " AND NOT EXISTS (SELECT 1 FROM %s WHERE rid = ?1)",
                        c->table, d->sql->table, c->table);
    c->drop = mem_printf("DELETE FROM %s WHERE rid = ?1", c->table);
    return c;
}

int copy_state(struct db *db, const char *sql, const char *entity, struct db_stmt **out,
               struct err *e)
{
    struct db_stmt *s = *out = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, entity);
    return db_step(s, e);
}

static int attach_build(struct db *db, struct entity_def *d, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = NULL;
    int rc = copy_state(db, "SELECT gen, search, scanned FROM entity_builds WHERE entity = ?1",
                        d->name, &s, e);
    if (rc <= 0)
        return rc;
    d->copy = copy_new(d, db_col_int(s, 0), db_col_int(s, 1) != 0);
    d->copy->violated = db_col_int(s, 2) != 0;
    return 0;
}

static int attach_migration(struct db *db, struct entity_def *d, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = NULL;
    int rc = copy_state(db,
                        "SELECT gen, def, held_until, keep, made_by FROM entity_migrations"
                        " WHERE entity = ?1",
                        d->name, &s, e);
    if (rc <= 0)
        return rc;
    size_t n;
    const char *text = db_col_text(s, 1, &n);
    d->copy = copy_new(d, db_col_int(s, 0), false);
    d->copy->held_until = db_col_int(s, 2);
    d->copy->keep = db_col_int(s, 3);
    d->copy->plain = strcmp(db_col_text(s, 4, NULL), ENTITY_MADE_PLAIN) == 0;
    if ((rc = entity_def_parse_text(text, n, &d->copy->to, e)) == 0 && d->copy->keep >= 0)
        links_copy_sql(d->copy);
    return rc;
}

int copy_attach(struct db *db, struct entity_def *d, struct err *e)
{
    entity_copy_free(d->copy);
    d->copy = NULL;
    int rc = kept_attach(db, d, e);
    if (rc == 0)
        rc = attach_build(db, d, e);
    if (rc == 0 && d->copy == NULL)
        rc = attach_migration(db, d, e);
    if (rc < 0 || d->copy == NULL || d->copy->gen == 0)
        return rc;
    AUTO(json_unref) json_t *names = copy_index_names(db, d, e);
    if (names == NULL)
        return e->code;
    for (size_t i = 0; i < d->indexes_count; i++)
        d->copy->pending[i] = json_object_get(names, d->indexes[i].name) == NULL;
    return 0;
}

static bool is_pending_unique(const struct entity_def *d, size_t i)
{
    return d->copy != NULL && d->copy->to == NULL && d->copy->pending[i] && d->indexes[i].unique;
}

bool copy_is_awaited(const struct entity_def *d, const struct entity_field *f)
{
    bool awaited = false;
    for (size_t i = 0; d->copy != NULL && i < d->indexes_count; i++) {
        const struct entity_index *ix = &d->indexes[i];
        if (ix->global || strcmp(ix->terms[0].name, f->name) != 0)
            continue;
        if (!d->copy->pending[i])
            return false;
        awaited = true;
    }
    return awaited;
}

/* ---- what a unique index says of a row ---- */

/* 1: both bodies have the same values under the index. */
static int is_same(struct db *db, const struct entity_def *d, const struct entity_index *ix,
                   const struct stored_row *old, const struct new_body *b, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(COPY_SQL_MAX);
    buf_adds(&sql, "SELECT 1 FROM (SELECT ?1 AS b1, ?2 AS k1, ?3 AS b2, ?4 AS k2)");
    for (size_t i = 0; i < ix->terms_count; i++) {
        const struct entity_field *f = &d->fields[ix->terms[i].field];
        bool keys = f->kind == KIND_DECIMAL;
        buf_addf(&sql, "%s json_extract(%s,'$", i > 0 ? " AND" : " WHERE", keys ? "k1" : "b1");
        entity_sql_path(&sql, f->name);
        buf_addf(&sql, "') IS json_extract(%s,'$", keys ? "k2" : "b2");
        entity_sql_path(&sql, f->name);
        buf_adds(&sql, "')");
    }
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, old->body, old->body_len);
    db_bind_text(s, 2, old->keys, old->keys_len);
    db_bind_text(s, 3, b->body, b->body_len);
    db_bind_text(s, 4, b->keys, b->keys_len);
    return db_step(s, e);
}

int copy_check(struct db *db, const struct entity_def *d, const struct row_key *k,
               const struct stored_row *old, const struct new_body *b, struct err *e)
{
    for (size_t i = 0; d->copy != NULL && i < d->indexes_count; i++) {
        const struct entity_index *ix = &d->indexes[i];
        if (!is_pending_unique(d, i))
            continue;
        int rc = store_is_taken(db, d->copy->table, d, ix, k, b, e);
        if (rc > 0 && old != NULL && (rc = is_same(db, d, ix, old, b, e)) >= 0)
            rc = rc == 0;
        if (rc != 0)
            return rc < 0 ? rc : store_taken(d, ix, e);
    }
    return 0;
}

/* ---- a row ---- */

static int run(struct db *db, const char *sql, int64_t a, int64_t b, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, a);
    if (b >= 0)
        db_bind_int(s, 2, b);
    return db_run(s, e);
}

static int note_violation(struct db *db, const struct entity_def *d, int64_t rid, const char *ix,
                          struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db, "INSERT OR REPLACE INTO entity_violations(gen, rid, ix) VALUES(?1, ?2, ?3)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, d->copy->gen);
    db_bind_int(s, 2, rid);
    db_bind_str(s, 3, ix);
    return db_run(s, e);
}

/* The copy has refused the row: which index is it? */
static int violated(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(COPY_SQL_MAX);
    buf_addf(&sql, "SELECT tenant, part, id, body, keys FROM %s WHERE rid = ?1", d->sql->table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, ERR_INTERNAL, "row %lld is gone", (long long)rid);
    struct row_key k = {.tenant = db_col_text(s, 0, NULL), .part = db_col_text(s, 1, NULL)};
    struct new_body b;
    k.id = db_col_text(s, 2, &k.id_len);
    b.body = db_col_text(s, 3, &b.body_len);
    b.keys = db_col_text(s, 4, &b.keys_len);
    for (size_t i = 0; i < d->indexes_count; i++) {
        if (!is_pending_unique(d, i))
            continue;
        rc = store_is_taken(db, d->copy->table, d, &d->indexes[i], &k, &b, e);
        if (rc != 0)
            return rc < 0 ? rc : note_violation(db, d, rid, d->indexes[i].name, e);
    }
    return err_set(e, ERR_INTERNAL, "entity %s: its copy refused a row that no index explains",
                   d->name);
}

int copy_put(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    struct err refused = ERR_INIT;
    int rc = run(db, d->copy->put, rid, -1, &refused);
    if (rc == ERR_CONFLICT)
        return violated(db, d, rid, e);
    if (rc < 0 && e != NULL)
        *e = refused;
    return rc;
}

/* What was made of the row is of the past; if it is still there it is made again. */
static int make_again(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(COPY_SQL_MAX);
    int rc = run(db, "DELETE FROM entity_redo WHERE gen = ?1 AND rid = ?2", d->copy->gen, rid, e);
    buf_addf(&sql, "INSERT INTO entity_redo(gen, rid) SELECT ?1, rid FROM %s WHERE rid = ?2",
             d->sql->table);
    return rc < 0 ? rc : run(db, buf_str(&sql), d->copy->gen, rid, e);
}

int copy_follow(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    if (d->copy == NULL || d->copy->gen == 0)
        return 0;
    int rc = run(db, d->copy->drop, rid, -1, e);
    if (rc == 0)
        rc = links_copy_drop(db, d->copy, rid, e);
    if (rc == 0 && d->copy->to != NULL)
        return make_again(db, d, rid, e);
    if (rc == 0)
        rc = run(db, "DELETE FROM entity_violations WHERE gen = ?1 AND rid = ?2", d->copy->gen, rid,
                 e);
    return rc < 0 ? rc : copy_put(db, d, rid, e);
}
