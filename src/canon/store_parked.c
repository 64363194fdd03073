/* The SQL of parked arrivals as people see to them. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "canon/ops_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"

int store_parked_of(struct db *db, const char *tenant, const char *model, const char *origin,
                    const char *source_id, store_parked_cb *each, void *arg, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = STORE_QUERY(
        db,
        "SELECT id FROM canon_arrival WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND "
        "source_id = ?4 AND outcome IN (2, 3) AND outcome = 2 UNION ALL "
        "SELECT id FROM canon_arrival WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND "
        "source_id = ?4 AND outcome IN (5, 6)",
        e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        rc = each(arg, db_col_text(s, 0, NULL), e);
        if (rc != 0)
            return rc;
    }
    return rc;
}

int store_arrival_reject(struct db *db, const char *id, const char *rejected, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db,
                                    "UPDATE canon_arrival SET outcome = ?2 "
                                    "WHERE id = ?1 AND outcome = ?3",
                                    e, id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, STORED_REJECTED);
    db_bind_int(s, 3, STORED_PARKED);
    int rc = db_run(s, e);
    if (rc != 0)
        return rc;
    s = STORE_QUERY(db, "INSERT INTO canon_rejected (arrival, said) VALUES (?1, ?2)", e, id,
                    rejected);
    return s == NULL ? e->code : db_run(s, e);
}

int store_parked_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                       const char *source_id, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(
        db,
        "UPDATE canon_arrival SET outcome = ?5 WHERE tenant = ?1 AND model = ?2 AND origin = ?3 "
        "AND source_id = ?4 AND outcome IN (2, 3) AND outcome = 2",
        e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 5, STORED_WITHDRAWN);
    return db_run(s, e);
}
