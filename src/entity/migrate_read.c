/* What is to be made next for a migration. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "entity/migrate.h"

enum { MIGRATE_READ_SQL_MAX = 4096 };

static int add_row(struct entity_batch *out, struct db_stmt *s, struct err *e)
{
    size_t n;
    const char *text = db_col_text(s, 3, &n);
    json_t *record = json_read(text, n, e);
    if (record == NULL)
        return ERR_CORRUPT;
    json_object_set_new(record, "id", json_string(db_col_text(s, 2, NULL)));
    json_array_append_new(out->rows,
                          json_pack("{s:I,s:I,s:o}", "rid", (json_int_t)db_col_int(s, 0), "version",
                                    (json_int_t)db_col_int(s, 1), "record", record));
    return 0;
}

/* What comes back to a record stands in it. */
static int give_back(struct db *db, struct entity_batch *out, struct err *e)
{
    int rc = kept_gives(db, out->gen, e);
    if (rc <= 0)
        return rc;
    size_t i;
    json_t *row;
    json_array_foreach(out->rows, i, row)
    {
        if ((rc = kept_give(db, out->gen, json_integer_value(json_object_get(row, "rid")),
                            json_object_get(row, "record"), e)) < 0)
            return rc;
    }
    return 0;
}

static int read_rows(struct db *db, const char *sql, int64_t bound, struct entity_batch *out,
                     struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, bound);
    db_bind_int(s, 2, ENTITY_MIGRATE_ROWS);
    size_t bytes = 0, n;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        db_col_text(s, 3, &n);
        bytes += n;
        if (json_array_size(out->rows) > 0 && bytes > ENTITY_MIGRATE_BYTES)
            return 0;
        if ((rc = add_row(out, s, e)) < 0)
            return rc;
        out->upto = db_col_int(s, 0);
    }
    return rc;
}

static int read_batch(struct db *db, const struct entity_def *d, int64_t rid,
                      struct entity_batch *out, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(MIGRATE_READ_SQL_MAX);
    buf_addf(&sql, "SELECT rid, version, id, body FROM %s WHERE rid > ?1 ORDER BY rid LIMIT ?2",
             d->sql->table);
    int rc = read_rows(db, buf_str(&sql), rid, out, e);
    if (rc < 0 || json_array_size(out->rows) > 0)
        return rc;
    buf_reset(&sql);
    buf_addf(&sql,
             "SELECT t.rid, t.version, t.id, t.body FROM entity_redo r JOIN %s t ON t.rid = r.rid"
             " WHERE r.gen = ?1 ORDER BY r.rid LIMIT ?2",
             d->sql->table);
    out->again = true;
    rc = read_rows(db, buf_str(&sql), out->gen, out, e);
    out->upto = rid;
    return rc;
}

int migrate_read_state(struct db *db, const struct entity_def *d, int64_t *gen, int64_t *rid,
                       int *percent, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = NULL;
    int rc =
        copy_state(db, "SELECT gen, rid FROM entity_migrations WHERE entity = ?1", d->name, &s, e);
    if (rc <= 0)
        return rc;
    int64_t last = 0;
    *gen = db_col_int(s, 0);
    *rid = db_col_int(s, 1);
    rc = build_last_row(db, d->name, &last, e);
    *percent = *rid >= last ? 100 : (int)(100 * *rid / last);
    return rc < 0 ? rc : 1;
}

static int next(struct db *db, const struct entity_def *d, struct entity_batch *out, struct err *e)
{
    int64_t rid = 0;
    int rc = migrate_read_state(db, d, &out->gen, &rid, &out->percent, e);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "no migration of %s is under way", d->name);
    rc = read_batch(db, d, rid, out, e);
    return rc < 0 ? rc : give_back(db, out, e);
}

int entity_migrate_next(struct db *db, const struct entity_def *d, struct entity_batch *out,
                        struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    *out = (struct entity_batch){.rows = NULL};
    int rc = db_snapshot_begin(db, e);
    if (rc < 0)
        return rc;
    out->rows = json_array();
    rc = next(db, d, out, e);
    db_snapshot_end(db);
    if (rc < 0) {
        json_decref(out->rows);
        out->rows = NULL;
    }
    return rc;
}
