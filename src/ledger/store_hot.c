/* Ledger: the SQL of hot domains. `e` is never NULL here. */
#include <stdio.h>

#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger_priv.h"

int store_hot_get(struct db *db, const char *domain, struct hot_row *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT seq, at, saved FROM local_hot WHERE domain = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, domain);
    int rc = db_step(s, e);
    if (rc > 0)
        *out = (struct hot_row){.seq = (uint64_t)db_col_int(s, 0),
                                .at = db_col_int(s, 1),
                                .saved = db_col_int(s, 2) != 0};
    return rc;
}

int store_hot_put(struct db *db, const char *domain, const struct hot_row *row, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db, "REPLACE INTO local_hot(domain, seq, at, saved) VALUES(?1, ?2, ?3, ?4)", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, domain);
    db_bind_int(s, 2, (int64_t)row->seq);
    db_bind_int(s, 3, row->at);
    db_bind_int(s, 4, row->saved);
    return db_run(s, e);
}

int store_hot_next(struct db *db, const char *after, char out[64], struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT domain FROM local_hot WHERE domain > ?1 ORDER BY domain LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, after);
    int rc = db_step(s, e);
    if (rc > 0)
        snprintf(out, 64, "%s", db_col_text(s, 0, NULL));
    return rc;
}

int store_hot_skip(struct db *db, uint64_t seq, uint32_t unit, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "INSERT INTO local_hot_skips(seq, unit) VALUES(?1, ?2)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)seq);
    db_bind_int(s, 2, unit);
    return db_run(s, e);
}

int store_hot_skips_purge(struct db *db, uint64_t seq, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM local_hot_skips WHERE seq <= ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)seq);
    return db_run(s, e);
}

int store_hot_skips(struct db *db, uint64_t after, struct hot_skips *out, struct err *e)
{
    *out = (struct hot_skips){
        .stmt = db_stmt_get(db,
                            "SELECT seq, unit FROM local_hot_skips WHERE seq > ?1 "
                            "ORDER BY seq, unit",
                            e)};
    if (out->stmt == NULL)
        return e->code;
    db_bind_int(out->stmt, 1, (int64_t)after);
    return store_hot_skips_next(out, e);
}

int store_hot_skips_next(struct hot_skips *s, struct err *e)
{
    int rc = db_step(s->stmt, e);
    s->seq = rc > 0 ? (uint64_t)db_col_int(s->stmt, 0) : UINT64_MAX;
    s->unit = rc > 0 ? (uint32_t)db_col_int(s->stmt, 1) : 0;
    return rc < 0 ? rc : 0;
}

void store_hot_skips_done(struct hot_skips *s)
{
    db_stmt_done(s->stmt);
    s->stmt = NULL;
}
