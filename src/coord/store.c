/* SQL that all tables of coord share: what a tenant uses, and statements by key. */
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

int store_use(struct db *db, const char *tenant, enum coord_use what, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT used FROM coord_use WHERE tenant = ?1 AND what = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_int(s, 2, what);
    int rc = db_step(s, e);
    *out = rc > 0 ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

int64_t store_use_max(enum coord_use what, const char **of)
{
    static const struct {
        const char *of;
        int64_t max;
    } limits[] = {
        [COORD_USE_CLAIMS] = {"claims of leases", COORD_ROWS_MAX},
        [COORD_USE_KEYS] = {"keys", COORD_ROWS_MAX},
        [COORD_USE_BYTES] = {"bytes of keys and values", COORD_VALUES_BYTES},
        [COORD_USE_COUNTERS] = {"counters", COORD_ROWS_MAX},
        [COORD_USE_BUCKETS] = {"limits", COORD_ROWS_MAX},
        [COORD_USE_INBOX] = {"inbox keys", COORD_INBOX_MAX},
        [COORD_USE_VERSION] = {"versions", INT64_MAX},
        [COORD_USE_CACHED] = {"cached values", COORD_ROWS_MAX},
        [COORD_USE_CACHED_BYTES] = {"bytes of cached values", COORD_VALUES_BYTES},
        [COORD_USE_FLUSHES] = {"flushed tags", COORD_ROWS_MAX},
    };
    *of = limits[what].of;
    return limits[what].max;
}

static int use_quota(enum coord_use what, int64_t used, struct err *e)
{
    const char *of;
    int64_t max = store_use_max(what, &of);
    if (used <= max)
        return 0;
    return err_set(e, ERR_QUOTA, "a tenant has at most %lld %s; this would be %lld", (long long)max,
                   of, (long long)used);
}

int store_use_add(struct db *db, const char *tenant, enum coord_use what, int64_t delta,
                  struct err *e)
{
    int64_t used = 0;
    if (delta == 0)
        return 0;
    int rc = store_use(db, tenant, what, &used, e);
    if (rc == 0 && delta > 0)
        rc = use_quota(what, used + delta, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s = db_stmt_get(
        db, "INSERT OR REPLACE INTO coord_use(tenant, what, used) VALUES(?1, ?2, ?3)", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_int(s, 2, what);
    db_bind_int(s, 3, used + delta);
    return db_run(s, e);
}

struct db_stmt *store_at(struct db *db, const char *sql, const char *tenant, struct text key,
                         struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, tenant);
    db_bind_text(s, 2, key.p, key.n);
    return s;
}

int store_run_at(struct db *db, const char *sql, const char *tenant, struct text key, struct err *e)
{
    struct db_stmt *s = store_at(db, sql, tenant, key, e);
    return s == NULL ? e->code : db_run(s, e);
}

int store_number(struct db *db, const char *sql, int64_t none, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 && !db_col_is_null(s, 0) ? db_col_int(s, 0) : none;
    return rc < 0 ? rc : 0;
}
