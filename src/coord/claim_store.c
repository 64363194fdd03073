/* SQL of locks and claims. */
#include "coord/coord_priv.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"

int lock_load(struct db *db, const char *tenant, struct text name, struct lock *out, struct err *e)
{
    *out = (struct lock){.n = 0};
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(db,
                                 "SELECT form, n, held, waiting, exclusive FROM coord_locks WHERE "
                                 "tenant = ?1 AND name = ?2",
                                 tenant, name, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc > 0)
        *out = (struct lock){.form = (enum coord_form)db_col_int(s, 0),
                             .n = (uint32_t)db_col_int(s, 1),
                             .held = (uint32_t)db_col_int(s, 2),
                             .waiting = (uint32_t)db_col_int(s, 3),
                             .exclusive = db_col_int(s, 4) != 0};
    return rc < 0 ? rc : 0;
}

int lock_save(struct db *db, const char *tenant, struct text name, const struct lock *l,
              struct err *e)
{
    lock_check(l);
    if (l->held == 0 && l->waiting == 0)
        return store_run_at(db, "DELETE FROM coord_locks WHERE tenant = ?1 AND name = ?2", tenant,
                            name, e);
    struct db_stmt *s = store_at(db,
                                 "INSERT OR REPLACE INTO coord_locks(tenant, name, form, n, held, "
                                 "waiting, exclusive) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                 tenant, name, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, l->form);
    db_bind_int(s, 4, l->n);
    db_bind_int(s, 5, l->held);
    db_bind_int(s, 6, l->waiting);
    db_bind_int(s, 7, l->exclusive);
    return db_run(s, e);
}

/* ---- claims ---- */

#define CLAIM_COLUMNS                                                                              \
    "SELECT place, tenant, name, claim, exclusive, owner, ttl, token, since, expires FROM "        \
    "coord_claims "

static void claim_take(struct db_stmt *s, struct claim *out)
{
    out->place = db_col_int(s, 0);
    str_copy(out->tenant, sizeof out->tenant, db_col_text(s, 1, NULL));
    str_copy(out->name, sizeof out->name, db_col_text(s, 2, NULL));
    str_copy(out->id, sizeof out->id, db_col_text(s, 3, NULL));
    out->exclusive = db_col_int(s, 4) != 0;
    str_copy(out->owner, sizeof out->owner, db_col_text(s, 5, NULL));
    out->ttl = db_col_int(s, 6);
    out->token = (uint64_t)db_col_int(s, 7);
    out->since = db_col_int(s, 8);
    out->expires = db_col_int(s, 9);
}

static int claim_step(struct db_stmt *s, struct claim *out, struct err *e)
{
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc > 0)
        claim_take(s, out);
    return rc;
}

int claim_by_id(struct db *db, const char *tenant, struct text id, struct claim *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(db, CLAIM_COLUMNS "WHERE tenant = ?1 AND claim = ?2", tenant, id, e);
    return claim_step(s, out, e);
}

int claim_first(struct db *db, const char *tenant, struct text name, bool waiting,
                struct claim *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(db,
                 waiting ? CLAIM_COLUMNS
                     "WHERE tenant = ?1 AND name = ?2 AND token = 0 ORDER BY place LIMIT 1"
                         : CLAIM_COLUMNS
                     "WHERE tenant = ?1 AND name = ?2 AND token > 0 ORDER BY token, place LIMIT 1",
                 tenant, name, e);
    return claim_step(s, out, e);
}

int claim_held(struct db *db, const char *tenant, struct text name, uint64_t token, struct text id,
               struct claim *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(
        db,
        CLAIM_COLUMNS
        "WHERE tenant = ?1 AND name = ?2 AND token = ?3 AND (?4 = '' OR claim = ?4) LIMIT 2",
        tenant, name, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, (int64_t)token);
    db_bind_text(s, 4, id.n > 0 ? id.p : "", id.n);
    int rc = claim_step(s, out, e);
    if (rc <= 0)
        return rc;
    rc = db_step(s, e);
    if (rc > 0)
        return err_field(e, ERR_INVALID, "id",
                         "'%s': several holders were granted at %llu; name the claim by its id",
                         out->name, (unsigned long long)token);
    return rc < 0 ? rc : 1;
}

int claim_insert(struct db *db, const char *tenant, const struct claim_row *r, struct err *e)
{
    struct db_stmt *s =
        store_at(db,
                 "INSERT INTO coord_claims(tenant, name, claim, exclusive, owner, meta, ttl, "
                 "token, since, expires) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                 tenant, r->name, e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 3, r->id.p, r->id.n);
    db_bind_int(s, 4, r->exclusive);
    db_bind_text(s, 5, r->owner.p, r->owner.n);
    db_bind_text(s, 6, r->meta.p, r->meta.n);
    db_bind_int(s, 7, r->ttl);
    db_bind_int(s, 8, (int64_t)r->token);
    db_bind_int(s, 9, r->since);
    db_bind_int(s, 10, r->expires);
    return db_run(s, e);
}

int claim_update(struct db *db, const struct claim *c, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "UPDATE coord_claims SET ttl = ?2, token = ?3, since = ?4, "
                                    "expires = ?5 WHERE place = ?1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, c->place);
    db_bind_int(s, 2, c->ttl);
    db_bind_int(s, 3, (int64_t)c->token);
    db_bind_int(s, 4, c->since);
    db_bind_int(s, 5, c->expires);
    return db_run(s, e);
}

int claim_delete(struct db *db, const struct claim *c, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM coord_claims WHERE place = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, c->place);
    int rc = db_run(s, e);
    return rc < 0 ? rc : store_use_add(db, c->tenant, COORD_USE_CLAIMS, -1, e);
}

int claims_due(struct db *db, int64_t now, struct claim *out, size_t max, size_t *count,
               struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, CLAIM_COLUMNS "WHERE expires <= ?1 ORDER BY expires, place LIMIT ?2", e);
    int rc = s == NULL ? e->code : 1;
    *count = 0;
    if (s != NULL) {
        db_bind_int(s, 1, now);
        db_bind_int(s, 2, (int64_t)max);
    }
    while (rc > 0 && (rc = claim_step(s, &out[*count], e)) > 0)
        ++*count;
    return rc;
}
