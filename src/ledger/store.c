/* Ledger: all of its SQL. `e` is never NULL here. */
#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger_priv.h"

int store_meta_load(struct db *db, struct store_meta *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT seq, term, at, hash, kept_seq, kept_hash FROM local_meta WHERE id = 1", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_CORRUPT, "koan.db: table local_meta is empty");
    *out = (struct store_meta){.seq = (uint64_t)db_col_int(s, 0),
                               .term = (uint64_t)db_col_int(s, 1),
                               .at = db_col_int(s, 2),
                               .hash = (uint64_t)db_col_int(s, 3),
                               .kept_seq = (uint64_t)db_col_int(s, 4),
                               .kept_hash = (uint64_t)db_col_int(s, 5)};
    return 0;
}

int store_meta_put(struct db *db, const struct store_meta *m, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db,
                    "UPDATE local_meta SET seq = ?1, term = ?2, at = ?3, hash = ?4, "
                    "kept_seq = ?5, kept_hash = ?6 WHERE id = 1",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)m->seq);
    db_bind_int(s, 2, (int64_t)m->term);
    db_bind_int(s, 3, m->at);
    db_bind_int(s, 4, (int64_t)m->hash);
    db_bind_int(s, 5, (int64_t)m->kept_seq);
    db_bind_int(s, 6, (int64_t)m->kept_hash);
    return db_run(s, e);
}

int store_repeat_get(struct db *db, const struct uuid *id, struct outcome *o, uint64_t *seq,
                     int64_t *at, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT n, at, code, failed_op, results FROM ledger_repeats WHERE id = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 1, id->b, sizeof id->b);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    *seq = (uint64_t)db_col_int(s, 0) / LEDGER_ENTRY_UNITS;
    *at = db_col_int(s, 1);
    err_clear(&o->err);
    int code = (int)db_col_int(s, 2);
    if (code < 0)
        err_set(&o->err, code, "this unit was refused before, in entry %llu: %s",
                (unsigned long long)*seq, err_info(code)->title);
    o->failed_op = (int)db_col_int(s, 3);
    o->repeated = true;
    size_t n;
    const void *p = db_col_blob(s, 4, &n);
    buf_reset(&o->results);
    if (p != NULL)
        buf_add(&o->results, p, n);
    return buf_failed(&o->results) ? err_set(e, ERR_NOMEM, "%zu bytes of results", n) : 1;
}

int store_repeat_put(struct db *db, uint64_t n, const struct uuid *id, int64_t at,
                     const struct outcome *o, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT INTO ledger_repeats(n, id, at, code, failed_op, results) VALUES(?1, ?2, ?3, ?4, "
        "?5, ?6)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)n);
    db_bind_blob(s, 2, id->b, sizeof id->b);
    db_bind_int(s, 3, at);
    db_bind_int(s, 4, o->err.code);
    db_bind_int(s, 5, o->failed_op);
    if (o->results.len > 0)
        db_bind_blob(s, 6, o->results.data, o->results.len);
    else
        db_bind_null(s, 6);
    return db_run(s, e);
}

int store_repeats_oldest(struct db *db, int64_t *at, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT at FROM ledger_repeats ORDER BY n LIMIT 1", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *at = rc > 0 ? db_col_int(s, 0) : INT64_MAX;
    return rc < 0 ? rc : 0;
}

/* The newest of the oldest LEDGER_REPEATS_PURGE rows that is older than `before`. */
static int store_repeats_expired(struct db *db, int64_t before, int64_t *n, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT n, at FROM ledger_repeats ORDER BY n LIMIT ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, LEDGER_REPEATS_PURGE);
    int rc;
    *n = -1;
    while ((rc = db_step(s, e)) > 0 && db_col_int(s, 1) < before)
        *n = db_col_int(s, 0);
    return rc < 0 ? rc : 0;
}

int store_repeats_purge(struct db *db, int64_t before, int64_t *oldest, struct err *e)
{
    int64_t n = -1;
    int rc = store_repeats_expired(db, before, &n, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM ledger_repeats WHERE n <= ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, n);
    rc = db_run(s, e);
    return rc < 0 ? rc : store_repeats_oldest(db, oldest, e);
}
