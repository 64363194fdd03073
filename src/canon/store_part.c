/* The SQL of a golden record that falls into parts. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "canon/apply_priv.h"
#include "canon/gather_priv.h"
#include "canon/ops_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

int store_source_since(struct db *db, const char *tenant, const char *model, const char *origin,
                       const char *source_id, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = STORE_QUERY(db,
                                    "SELECT rid FROM canon_source WHERE tenant = ?1 AND "
                                    "model = ?2 AND origin = ?3 AND source_id = ?4",
                                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    if (rc > 0)
        *out = db_col_int(s, 0);
    return rc < 0 ? rc : 0;
}

static int part_move(struct db *db, const char *tenant, const struct canon_op_part *op,
                     const json_t *name, struct err *e)
{
    struct db_stmt *s =
        STORE_QUERY(db,
                    "UPDATE canon_source SET golden = ?5, rev = ?6 WHERE "
                    "tenant = ?1 AND model = ?2 AND origin = ?3 AND "
                    "source_id = ?4 AND golden = ?7",
                    e, tenant, op->model, json_string_value(json_array_get(name, 0)),
                    json_string_value(json_array_get(name, 1)), op->id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 6, (int64_t)op->rev);
    db_bind_str(s, 7, op->from);
    return db_run(s, e);
}

static int part_golden(struct db *db, const char *tenant, const struct canon_op_part *op,
                       struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "INSERT INTO canon_golden (tenant, model, id, rev, def, "
                                    "lifecycle, readiness, views, said) "
                                    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, op->model);
    db_bind_str(s, 3, op->id);
    db_bind_int(s, 4, (int64_t)op->rev);
    db_bind_int(s, 5, (int64_t)op->def);
    db_bind_int(s, 6, LIFE_ACTIVE);
    db_bind_int(s, 7, op->readiness);
    db_bind_str(s, 8, op->views);
    db_bind_int(s, 9, (int64_t)op->said);
    return db_run(s, e);
}

static int store_part(struct db *db, const char *tenant, const struct canon_op_part *op,
                      struct err *e)
{
    AUTO(json_unref) json_t *members = json_read(op->members, strlen(op->members), e);
    if (members == NULL)
        return e->code;
    int rc = part_golden(db, tenant, op, e);
    for (size_t i = 0; i < json_array_size(members) && rc == 0; i++)
        rc = part_move(db, tenant, op, json_array_get(members, i), e);
    return rc == 0 ? store_keys_put(db, tenant, op->model, op->keys, op->id, e) : rc;
}

int canon_apply_part(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.part", 6, 5, 4, &p, e);
    if (rc != 0)
        return rc;
    struct canon_op_part op = {.model = p.text[0],
                               .from = p.text[1],
                               .id = p.text[2],
                               .keys = p.text[3],
                               .members = p.text[4],
                               .views = p.text[5],
                               .def = p.number[0],
                               .rev = p.number[1],
                               .said = p.number[2],
                               .readiness = (uint8_t)p.number[3]};
    rc = gather_flush(canon_gather(self), a, e);
    return rc == 0 ? store_part(a->db, a->env->tenant, &op, e) : rc;
}
