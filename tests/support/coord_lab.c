#include "support/coord_lab.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "support/ledger_kit.h"

void coord_lab_open(struct coord_lab *l)
{
    struct err e = ERR_INIT;
    memset(l, 0, sizeof *l);
    kit_dir(l->dir);
    snprintf(l->path, sizeof l->path, "%s/koan.db", l->dir);
    struct db_options o = {.path = l->path, .mode = DB_WRITER};
    if (db_open(&o, &l->db, &e) != 0 || db_migrate(l->db, &e) != 0)
        PANIC("%s", e.text);
    l->coord = coord_new();
    l->coord->domain.opened(l->coord, l->db, &e);
    l->at = 1700000000000;
    buf_init(&l->results, 1 << 20);
}

void coord_lab_close(struct coord_lab *l)
{
    buf_fini(&l->results);
    coord_free(l->coord);
    db_close(l->db);
    kit_dir_remove(l->dir);
}

static const struct domain_op *lab_op(const struct domain *d, uint16_t type)
{
    for (size_t i = 0; i < d->ops_count; i++)
        if (d->ops[i].type == type)
            return &d->ops[i];
    PANIC("no operation 0x%04x", type);
}

/* Conditions, or the rest. */
static int lab_pass(struct coord_lab *l, const struct apply *a, const struct txn_view *v,
                    bool conditions, struct err *e)
{
    const struct domain *d = coord_domain(l->coord);
    struct txn_op op;
    for (struct cursor c = txn_ops(v); txn_next(&c, &op);) {
        const struct domain_op *o = lab_op(d, op.type);
        size_t at = l->results.len;
        if (!conditions)
            buf_add_u32(&l->results, 0);
        if (o->is_condition != conditions)
            continue;
        int rc = o->apply(d->self, a, op.version, &op.payload, &l->results, e);
        if (rc < 0)
            return rc;
        if (!conditions)
            buf_put_u32(&l->results, at, (uint32_t)(l->results.len - at - 4));
    }
    return 0;
}

int coord_lab_do(struct coord_lab *l, struct txn *t, struct err *e)
{
    const struct domain *d = coord_domain(l->coord);
    struct buf bytes = BUF_INIT(8 << 20);
    struct txn_view v;
    err_clear(e);
    buf_reset(&l->results);
    txn_envelope(t, &(struct envelope){.principal = "ana"});
    txn_encode(t, &bytes);
    txn_fini(t);
    txn_init(t);
    int rc = txn_decode(bytes.data, bytes.len, &v, e);
    ASSERT(rc == 0);
    l->seq += !l->same_entry;
    l->same_entry = false;
    struct apply a = {.db = l->db, .seq = l->seq, .at = l->at, .env = &v.env};
    ASSERT(db_begin(l->db, NULL) == 0);
    if ((rc = lab_pass(l, &a, &v, true, e)) == 0) {
        d->unit(d->self, &a);
        if ((rc = lab_pass(l, &a, &v, false, e)) < 0)
            d->undo(d->self, false);
    }
    if (rc == 0)
        ASSERT(db_commit(l->db, NULL) == 0);
    else
        db_rollback(l->db);
    d->committed(d->self, a.seq, a.at);
    txn_view_fini(&v);
    buf_fini(&bytes);
    return rc;
}

struct cursor coord_lab_result(struct coord_lab *l, uint32_t i)
{
    struct cursor all, out;
    size_t n = 0;
    cursor_init(&all, l->results.data, l->results.len);
    for (uint32_t k = 0; k < i; k++)
        cursor_bytes(&all, &n);
    const void *p = cursor_bytes(&all, &n);
    ASSERT(p != NULL);
    cursor_init(&out, p, n);
    return out;
}

int coord_lab_acquire(struct coord_lab *l, const struct coord_ask *ask, struct coord_grant *out,
                      struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_acquire(&t, ask, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    if (rc == 0) {
        struct cursor c = coord_lab_result(l, 0);
        rc = coord_grant_read(&c, out, e);
    }
    txn_fini(&t);
    return rc;
}

int coord_lab_release(struct coord_lab *l, const char *name, uint64_t token, const char *id,
                      struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_release(&t, &(struct coord_claim){name, token, id}, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

int coord_lab_renew(struct coord_lab *l, const char *name, uint64_t token, const char *id,
                    struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_renew(&t, &(struct coord_claim){name, token, id}, 0, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

bool coord_lab_lapse(struct coord_lab *l, const char *id, uint64_t token)
{
    struct err e = ERR_INIT;
    struct txn t;
    txn_init(&t);
    struct buf *b = txn_begin(&t, COORD_OP_LAPSE, 1);
    buf_add_text(b, id);
    buf_add_u64(b, token);
    txn_end(&t);
    if (coord_lab_do(l, &t, &e) != 0)
        PANIC("%s", e.text);
    txn_fini(&t);
    struct cursor c = coord_lab_result(l, 0);
    return cursor_u8(&c) == 1;
}

void coord_lab_check(struct coord_lab *l)
{
    uint64_t scan = 0;
    ASSERT(db_hash_scan(l->db, &scan, NULL) == 0);
    ASSERT(scan == db_hash(l->db));
}
