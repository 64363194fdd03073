/* SQL and payload helpers that the operations share. */
#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"

int bus_number(struct db *db, enum bus_number which, uint64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT value FROM bus_numbers WHERE what = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, which);
    int rc = db_step(s, e);
    *out = rc > 0 ? (uint64_t)db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

static int number_put(struct db *db, enum bus_number which, int64_t value, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db, "INSERT OR REPLACE INTO bus_numbers(what, value) VALUES(?1, ?2)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, which);
    db_bind_int(s, 2, value);
    return db_run(s, e);
}

int bus_number_add(struct db *db, enum bus_number which, int64_t delta, struct err *e)
{
    uint64_t before;
    int rc = bus_number(db, which, &before, e);
    return rc != 0 ? rc : number_put(db, which, (int64_t)before + delta, e);
}

int bus_number_next(struct db *db, enum bus_number which, uint64_t *out, struct err *e)
{
    int rc = bus_number(db, which, out, e);
    return rc != 0 ? rc : number_put(db, which, (int64_t)++ * out, e);
}

static int use_quota(enum bus_use what, int64_t used, struct err *e)
{
    if (what == BUS_USE_BYTES && used > BUS_RETAINED_BYTES)
        return err_set(e, ERR_QUOTA,
                       "a tenant keeps at most %d bytes of retained messages; retain topics for a "
                       "shorter time",
                       BUS_RETAINED_BYTES);
    if (what == BUS_USE_WAITS && used > BUS_WAITS_MAX)
        return err_set(e, ERR_QUOTA, "a tenant has at most %d records that wait for messages",
                       BUS_WAITS_MAX);
    return 0;
}

int bus_use_add(struct db *db, const char *tenant, enum bus_use what, int64_t delta, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db, "SELECT used FROM bus_use WHERE tenant = ?1 AND what = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_int(s, 2, what);
    int rc = db_step(s, e);
    int64_t used = (rc > 0 ? db_col_int(s, 0) : 0) + delta;
    db_stmt_done(s);
    if (rc >= 0)
        rc = delta > 0 ? use_quota(what, used, e) : 0;
    if (rc != 0)
        return rc;
    s = db_stmt_get(db, "INSERT OR REPLACE INTO bus_use(tenant, what, used) VALUES(?1, ?2, ?3)", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_int(s, 2, what);
    db_bind_int(s, 3, used);
    return db_run(s, e);
}

void *bus_room(void *list, size_t count, size_t size, struct err *e)
{
    if ((count & (count - 1)) != 0)
        return list;
    void *more = mem_try_resize(list, (count == 0 ? 1 : 2 * count) * size);
    if (more == NULL)
        err_set(e, ERR_NOMEM, "who listens to topics");
    return more;
}

struct bus_span bus_span(struct cursor *c, size_t max)
{
    struct bus_span s = {NULL, 0};
    s.p = cursor_bytes(c, &s.n);
    if (s.p == NULL)
        s.n = 0;
    if (s.n > max)
        c->bad = true;
    return s;
}
