/* What must still hold when an arrival's unit is applied, and the erasure of its documents. */
#include "canon/apply_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/gather_priv.h"
#include "canon/ops_priv.h"
#include "canon/store_priv.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

int canon_apply_erase(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.erase", 3, 3, 0, &p, e);
    if (rc == 0)
        rc = gather_flush(canon_gather(self), a, e);
    if (rc == 0)
        rc = store_wait_erase(a->db, a->env->tenant, p.text[0], p.text[1], p.text[2], e);
    if (rc == 0)
        rc = store_memo_erase(a->db, a->env->tenant, p.text[0], p.text[1], p.text[2], e);
    if (rc == 0 && version > 1)
        rc = store_parked_erase(a->db, a->env->tenant, p.text[0], p.text[1], p.text[2], e);
    return rc != 0 ? rc : store_erase(a->db, a->env->tenant, p.text[0], p.text[1], p.text[2], e);
}

int canon_if_key(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                 struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.key", 3, 2, 0, &p, e);
    if (rc != 0)
        return rc;
    const char *key = p.text[1], *golden = p.text[2];
    char owner[STORE_ID];
    struct gather *g = canon_gather(self);
    const struct db_cell *held = gather_find(g, a, GATHER_KEYS, p.text[0], key, NULL);
    if (held != NULL)
        str_copy(owner, sizeof owner, held[GATHER_KEY_OWNER].text);
    else if (golden == NULL && gather_grant(g, a))
        return 0;
    else
        rc = store_key_owner(a->db, a->env->tenant, p.text[0], key, owner, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (rc == ERR_NOT_FOUND)
        gather_absent(g);
    if ((rc == ERR_NOT_FOUND) == (golden == NULL) && (rc != 0 || strcmp(owner, golden) == 0)) {
        if (golden != NULL && held == NULL)
            gather_owned(g, a, p.text[0], key, golden);
        return 0;
    }
    return err_set(e, ERR_VERSION_MISMATCH, "key '%s' has another owner by now", key);
}

int canon_if_source(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.source", 3, 3, 1, &p, e);
    if (rc != 0)
        return rc;
    uint64_t now = 0;
    struct gather *g = canon_gather(self);
    const struct db_cell *held = gather_find(g, a, GATHER_SOURCES, p.text[0], p.text[1], p.text[2]);
    if (held != NULL)
        now = (uint64_t)held[GATHER_SOURCE_REV].number;
    else if (p.number[0] == 0 && gather_grant(g, a))
        return 0;
    else
        rc = store_source_rev(a->db, a->env->tenant, p.text[0], p.text[1], p.text[2], &now, e);
    if (rc == 0 && held == NULL && now == 0)
        gather_absent(g);
    if (rc != 0 || now == p.number[0])
        return rc;
    return err_set(e, ERR_VERSION_MISMATCH, "source record %s/%s changed meanwhile", p.text[1],
                   p.text[2]);
}

int canon_if_golden(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.golden", 2, 2, 1, &p, e);
    if (rc != 0)
        return rc;
    struct store_golden row = {0};
    struct gather *g = canon_gather(self);
    const struct db_cell *held = gather_find(g, a, GATHER_GOLDENS, p.text[0], p.text[1], NULL);
    if (held != NULL)
        row.rev = (uint64_t)held[GATHER_GOLDEN_REV].number;
    else if (p.number[0] == 0 && gather_grant(g, a))
        return 0;
    else
        rc = store_golden_get(a->db, a->env->tenant, p.text[0], p.text[1], &row, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (rc == ERR_NOT_FOUND)
        gather_absent(g);
    if (row.rev == p.number[0])
        return 0;
    return err_set(e, ERR_VERSION_MISMATCH, "golden record %s changed meanwhile", p.text[1]);
}

int canon_if_parked(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.parked", 1, 1, 0, &p, e);
    if (rc != 0)
        return rc;
    rc = gather_flush(canon_gather(self), a, e); /* of units before this one */
    if (rc == 0)
        rc = store_arrival_is_parked(a->db, p.text[0], e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return err_set(e, ERR_CONFLICT, "arrival %s is not parked any more", p.text[0]);
}
