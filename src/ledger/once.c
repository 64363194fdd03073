#include "ledger/once.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger_priv.h"

enum { LEDGER_OP_ONCE = 0x0001, LEDGER_OP_KEEP = 0x0002 };

/* ---- writing ---- */

void ledger_txn_once(struct txn *t, const struct ledger_once *o, uint32_t part)
{
    struct buf *b = txn_begin(t, LEDGER_OP_ONCE, 1);
    buf_add_text(b, o->key);
    buf_add_u32(b, part);
    txn_end(t);
}

int ledger_txn_keep(struct txn *t, const struct ledger_once *o, uint32_t part, const void *context,
                    size_t n, struct err *e)
{
    if (n > LEDGER_ONCE_CONTEXT_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "what is to be kept with the key of this request is over %d bytes; send "
                       "less at once",
                       LEDGER_ONCE_CONTEXT_MAX);
    struct buf *b = txn_begin(t, LEDGER_OP_KEEP, 1);
    buf_add_text(b, o->key);
    buf_add_u32(b, part);
    buf_add(b, o->digest, sizeof o->digest);
    buf_add_bytes(b, context, n);
    txn_end(t);
    return 0;
}

/* ---- applying ---- */

struct once_op {
    const char *key;
    size_t key_len;
    uint32_t part;
    const void *digest, *context;
    size_t context_len;
};

static int once_read(struct cursor *c, bool keep, struct once_op *out, struct err *e)
{
    *out = (struct once_op){0};
    out->key = cursor_bytes(c, &out->key_len);
    out->part = cursor_u32(c);
    if (keep) {
        out->digest = cursor_raw(c, LEDGER_ONCE_DIGEST);
        out->context = cursor_bytes(c, &out->context_len);
    }
    bool bad = c->bad || cursor_left(c) > 0 || out->key == NULL || out->key_len == 0 ||
               out->key_len > LEDGER_ONCE_KEY_MAX || memchr(out->key, '\0', out->key_len) != NULL ||
               out->context_len > LEDGER_ONCE_CONTEXT_MAX;
    return bad ? err_set(e, ERR_INVALID, "%s: malformed payload", keep ? "ledger.keep" : "once")
               : 0;
}

static void once_bind(struct db_stmt *s, const struct apply *a, const struct once_op *op)
{
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, a->env->principal);
    db_bind_text(s, 3, op->key, op->key_len);
    db_bind_int(s, 4, op->part);
}

static int once_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                      struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct once_op op;
    int rc = once_read(payload, false, &op, e);
    if (rc < 0)
        return rc;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        a->db,
        "SELECT at FROM ledger_once WHERE tenant = ?1 AND principal = ?2 AND key = ?3 AND part = "
        "?4",
        e);
    if (s == NULL)
        return e->code;
    once_bind(s, a, &op);
    rc = db_step(s, e);
    if (rc <= 0 || db_col_int(s, 0) <= a->at - LEDGER_ONCE_MS)
        return rc < 0 ? rc : 0;
    return err_set(e, ERR_CONFLICT, "key '%.*s' was used before", (int)op.key_len, op.key);
}

/* One that is past its time and not yet swept makes room. */
static int keep_forget(const struct apply *a, const struct once_op *op, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        a->db,
        "DELETE FROM ledger_once WHERE tenant = ?1 AND principal = ?2 AND key = ?3 AND part = ?4",
        e);
    if (s == NULL)
        return e->code;
    once_bind(s, a, op);
    return db_run(s, e);
}

static int keep_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                      struct buf *result, struct err *e)
{
    (void)version;
    struct ledger *l = self;
    struct once_op op;
    int rc = once_read(payload, true, &op, e);
    if (rc == 0)
        rc = keep_forget(a, &op, e);
    struct db_stmt *s =
        rc < 0 ? NULL
               : db_stmt_get(a->db,
                             "INSERT INTO ledger_once(tenant, principal, key, part, seq, at, "
                             "digest, context, results) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                             e);
    if (s == NULL)
        return rc < 0 ? rc : e->code;
    once_bind(s, a, &op);
    db_bind_int(s, 5, (int64_t)a->seq);
    db_bind_int(s, 6, a->at);
    db_bind_blob(s, 7, op.digest, LEDGER_ONCE_DIGEST);
    db_bind_blob(s, 8, op.context, op.context_len);
    /* Those of the operations before this one; the length of its own was begun already. */
    db_bind_blob(s, 9, result->data, result->len - sizeof(uint32_t));
    rc = db_run(s, e);
    if (rc == 0 && l->once_oldest == INT64_MAX)
        l->once_oldest = a->at;
    return rc;
}

static const struct domain_op once_ops[] = {
    {LEDGER_OP_ONCE, 1, true, DOMAIN_ATOMIC, "once", once_apply, false},
    {LEDGER_OP_KEEP, 1, false, DOMAIN_SURE, "ledger.keep", keep_apply, false},
};

void once_domain(struct ledger *l, struct domain *out)
{
    *out = (struct domain){
        .name = "ledger", .self = l, .ops = once_ops, .ops_count = ARRAY_LEN(once_ops)};
}

/* ---- time ---- */

int once_oldest(struct db *db, int64_t *at, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT at FROM ledger_once ORDER BY n LIMIT 1", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *at = rc > 0 ? db_col_int(s, 0) : INT64_MAX;
    return rc < 0 ? rc : 0;
}

int once_purge(struct db *db, int64_t before, int64_t *oldest, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db,
        "DELETE FROM ledger_once WHERE n IN (SELECT n FROM ledger_once ORDER BY n LIMIT ?1) AND "
        "at <= ?2",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, LEDGER_REPEATS_PURGE);
    db_bind_int(s, 2, before);
    int rc = db_run(s, e);
    return rc < 0 ? rc : once_oldest(db, oldest, e);
}

/* ---- reading ---- */

static int once_show(struct db_stmt *s, ledger_kept_cb *each, void *arg, struct err *e)
{
    size_t n, context_len, results_len;
    struct ledger_kept k = {.part = (uint32_t)db_col_int(s, 0),
                            .seq = (uint64_t)db_col_int(s, 1),
                            .at = db_col_int(s, 2),
                            .digest = db_col_blob(s, 3, &n)};
    const void *context = db_col_blob(s, 4, &context_len);
    const void *results = db_col_blob(s, 5, &results_len);
    if (k.digest == NULL || n != LEDGER_ONCE_DIGEST)
        return err_set(e, ERR_CORRUPT, "koan.db: a row of ledger_once has no digest");
    cursor_init(&k.context, context, context_len);
    cursor_init(&k.results, results, results_len);
    return each(arg, &k, e);
}

int ledger_once_find(struct db *db, const char *tenant, const char *principal, const char *key,
                     int64_t now, ledger_kept_cb *each, void *arg, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT part, seq, at, digest, context, results FROM ledger_once WHERE tenant = ?1 AND "
        "principal = ?2 AND key = ?3 AND at > ?4 ORDER BY part",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, principal);
    db_bind_str(s, 3, key);
    db_bind_int(s, 4, now - LEDGER_ONCE_MS);
    int rc;
    while ((rc = db_step(s, e)) > 0)
        if ((rc = once_show(s, each, arg, e)) != 0)
            return rc;
    return rc;
}

bool ledger_kept_next(struct cursor *results, struct cursor *out)
{
    size_t n = 0;
    while (cursor_left(results) > 0) {
        const void *p = cursor_bytes(results, &n);
        if (p == NULL)
            return false;
        cursor_init(out, p, n);
        if (n > 0)
            return true;
    }
    return false;
}
