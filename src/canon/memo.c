/* What stage functions had from outside (ctx:memo), stored with the arrival. Later runs of its
 * phases, after a lost race or when it is resumed, are handed it and need not ask again. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "canon/apply_priv.h"
#include "canon/ops_priv.h"
#include "canon/pipeline_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

int job_compose_memo(struct canon_job *j, struct txn *t, struct err *e)
{
    if (json_object_size(j->call.memo) == 0)
        return 0;
    AUTO(buf_fini) struct buf text = BUF_INIT(CANON_BODY_MAX);
    int rc = json_print(j->call.memo, &text, e);
    if (rc == 0)
        canon_op_memo(t, j->arrival->arrival_id, buf_str(&text));
    return rc == 0 ? 0 : err_context(e, "memo");
}

int canon_apply_memo(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.memo", 2, 2, 0, &p, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s =
        db_stmt_get(a->db, "INSERT INTO canon_memo (arrival, memo) VALUES (?1, ?2)", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, p.text[0]);
    db_bind_str(s, 2, p.text[1]);
    return db_run(s, e);
}

int store_memo_get(struct db *db, const char *arrival, json_t **out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db, "SELECT memo FROM canon_memo WHERE arrival = ?1", e, arrival);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    size_t n;
    const char *text = rc > 0 ? db_col_text(s, 0, &n) : NULL;
    *out = text != NULL ? json_read(text, n, e) : NULL;
    if (text != NULL && *out == NULL)
        return ERR_CORRUPT;
    return rc < 0 ? rc : 0;
}

int store_memo_drop(struct db *db, const char *arrival, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db, "DELETE FROM canon_memo WHERE arrival = ?1", e, arrival);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

int store_memo_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct err *e)
{
    struct db_stmt *s =
        STORE_QUERY(db,
                    "DELETE FROM canon_memo WHERE arrival IN (SELECT id FROM canon_arrival WHERE "
                    "tenant = ?1 AND model = ?2 AND origin = ?3 AND source_id = ?4)",
                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}
