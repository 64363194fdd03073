/* The SQL of failed arrivals that are removed when they are old. */
#include "canon/store_priv.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"

int store_failed_oldest(struct db *db, int64_t *at, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT at FROM canon_arrival WHERE outcome = 3 ORDER BY at LIMIT 1", e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    if (rc > 0)
        *at = db_col_int(s, 0);
    return rc > 0 ? 0 : rc == 0 ? ERR_NOT_FOUND : rc;
}

/* Whose arrival it was. */
struct failed {
    int64_t rid;
    char *texts[5]; /* tenant, model, origin, source id, arrival id */
};

static void failed_fini(struct failed *f)
{
    for (int i = 0; i < 5; i++)
        mem_free(f->texts[i]);
}

static int failed_get(struct db *db, int64_t before, struct failed *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT rid, tenant, model, origin, source_id, id FROM canon_arrival "
                    "WHERE outcome = 3 AND at <= ?1 ORDER BY at, rid LIMIT 1",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, before);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc == 0 ? ERR_NOT_FOUND : rc;
    out->rid = db_col_int(s, 0);
    for (int i = 0; i < 5; i++)
        out->texts[i] = mem_strdup(db_col_text(s, i + 1, NULL));
    return 0;
}

/* The memory of its last document goes too when nothing of the source came through or waits: what
 * is forgotten is no repeat when it comes again. */
static int failed_forget(struct db *db, const struct failed *f, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db,
        "DELETE FROM canon_source WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND "
        "source_id = ?4 AND golden IS NULL AND NOT EXISTS (SELECT 1 FROM canon_arrival WHERE "
        "tenant = ?1 AND model = ?2 AND origin = ?3 AND source_id = ?4 AND outcome IN (2, 3))",
        e);
    if (s == NULL)
        return e->code;
    for (int i = 0; i < 4; i++)
        db_bind_str(s, i + 1, f->texts[i]);
    return db_run(s, e);
}

int store_failed_remove(struct db *db, int64_t before, struct err *e)
{
    AUTO(failed_fini) struct failed f = {.rid = 0};
    int rc = failed_get(db, before, &f, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s = db_stmt_get(db, "DELETE FROM canon_arrival WHERE rid = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, f.rid);
    rc = db_run(s, e);
    if (rc == 0)
        rc = store_memo_drop(db, f.texts[4], e);
    return rc == 0 ? failed_forget(db, &f, e) : rc;
}
