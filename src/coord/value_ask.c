/* Operations on values, counters, limits and inbox keys as bytes. */
#include <string.h>

#include "coord/coord_priv.h"
#include "ledger/txn.h"

static int ask_name(const char *what, const char *s, struct err *e)
{
    return coord_check_key(what, s, strlen(s), COORD_KEY_BYTES, e);
}

/* ---- values ---- */

int coord_txn_put(struct txn *t, const struct coord_put *p, struct err *e)
{
    int rc = ask_name("key", p->key, e);
    if (rc == 0 && p->n > COORD_VALUE_BYTES)
        rc = err_field(e, ERR_TOO_LARGE, "value", "value: %zu bytes; at most %d KiB", p->n,
                       COORD_VALUE_BYTES >> 10);
    if (rc == 0 && (p->ttl_ms < 0 || p->ttl_ms > COORD_VALUE_TTL_MAX_MS))
        rc = err_field(e, ERR_INVALID, "ttl", "ttl: more than nothing, at most ten years");
    if (rc == 0 && (p->nx && (p->xx || p->if_version > 0)))
        rc = err_field(e, ERR_INVALID, "nx", "nx contradicts xx and a version");
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_PUT, 1);
    buf_add_text(b, p->key);
    buf_add_u64(b, (uint64_t)p->ttl_ms);
    buf_add_u64(b, p->if_version);
    buf_add_u8(b, (uint8_t)(p->nx | p->xx << 1));
    buf_add_bytes(b, p->value, p->n);
    txn_end(t);
    return 0;
}

static int ask_version(struct txn *t, uint16_t op, const char *key, uint64_t version, struct err *e)
{
    int rc = ask_name("key", key, e);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, op, 1);
    buf_add_text(b, key);
    buf_add_u64(b, version);
    txn_end(t);
    return 0;
}

int coord_txn_remove(struct txn *t, const char *key, uint64_t if_version, struct err *e)
{
    return ask_version(t, COORD_OP_REMOVE, key, if_version, e);
}

int coord_txn_if_value(struct txn *t, const char *key, uint64_t version, struct err *e)
{
    return ask_version(t, COORD_OP_VALUE_IS, key, version, e);
}

int coord_number_read(struct cursor *result, uint64_t *out, struct err *e)
{
    *out = cursor_u64(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "a number of another form") : 0;
}

/* ---- counters and limits ---- */

int coord_txn_add(struct txn *t, const char *name, int64_t n, struct err *e)
{
    return ask_version(t, COORD_OP_ADD, name, (uint64_t)n, e);
}

int coord_txn_if_count(struct txn *t, const char *name, int64_t n, struct err *e)
{
    return ask_version(t, COORD_OP_COUNT_IS, name, (uint64_t)n, e);
}

int coord_added_read(struct cursor *result, int64_t *before, int64_t *after, struct err *e)
{
    *before = (int64_t)cursor_u64(result);
    *after = (int64_t)cursor_u64(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "a count of another form") : 0;
}

int coord_txn_counter_remove(struct txn *t, const char *name, struct err *e)
{
    int rc = ask_name("name", name, e);
    if (rc != 0)
        return rc;
    buf_add_text(txn_begin(t, COORD_OP_COUNTER_REMOVE, 1), name);
    txn_end(t);
    return 0;
}

int coord_check_take(const struct coord_take *k, struct err *e)
{
    int rc = ask_name("name", k->name, e);
    if (rc == 0 && (k->rate < 1 || k->rate > COORD_LIMIT_MAX))
        rc = err_field(e, ERR_INVALID, "rate", "rate: 1 to %d", COORD_LIMIT_MAX);
    if (rc == 0 && (k->per_ms < 1 || k->per_ms > COORD_LIMIT_PER_MAX_MS))
        rc = err_field(e, ERR_INVALID, "per", "per: 1ms to 24h");
    if (rc == 0 && (k->burst < 1 || k->burst > COORD_LIMIT_MAX))
        rc = err_field(e, ERR_INVALID, "burst", "burst: 1 to %d", COORD_LIMIT_MAX);
    if (rc == 0 && (k->n < 1 || k->n > k->burst))
        rc =
            err_field(e, ERR_INVALID, "n", "n: 1 to the burst, which is %lld", (long long)k->burst);
    if (rc == 0 && (k->wait_ms < 0 || k->wait_ms > COORD_WAIT_MAX_MS))
        rc = err_field(e, ERR_INVALID, "wait", "wait: at most %ds", COORD_WAIT_MAX_MS / 1000);
    return rc;
}

int coord_txn_take(struct txn *t, const struct coord_take *k, struct err *e)
{
    int rc = coord_check_take(k, e);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_TAKE, 1);
    buf_add_text(b, k->name);
    buf_add_u64(b, (uint64_t)k->rate);
    buf_add_u64(b, (uint64_t)k->per_ms);
    buf_add_u64(b, (uint64_t)k->burst);
    buf_add_u64(b, (uint64_t)k->n);
    buf_add_u64(b, (uint64_t)k->wait_ms);
    buf_add_u8(b, k->refuse);
    txn_end(t);
    return 0;
}

int coord_taken_read(struct cursor *result, struct coord_taken *out, struct err *e)
{
    out->taken = cursor_u8(result) == 1;
    out->wait_ms = (int64_t)cursor_u64(result);
    out->left = (int64_t)cursor_u64(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "a take of another form") : 0;
}

/* ---- inbox ---- */

static int ask_lease(const char *lease, struct err *e)
{
    return coord_check_key("leaseId", lease, strlen(lease), COORD_ID_BYTES, e);
}

int coord_txn_begin(struct txn *t, const char *key, const char *owner, const char *lease,
                    int64_t lease_ms, struct err *e)
{
    int rc = ask_name("key", key, e);
    if (rc == 0 && *owner != '\0')
        rc = coord_check_key("owner", owner, strlen(owner), COORD_OWNER_BYTES, e);
    if (rc == 0)
        rc = ask_lease(lease, e);
    if (rc == 0 && lease_ms != 0 && (lease_ms < COORD_TTL_MIN_MS || lease_ms > COORD_TTL_MAX_MS))
        rc = err_field(e, ERR_INVALID, "leaseSeconds", "leaseSeconds: 1 to %d",
                       COORD_TTL_MAX_MS / 1000);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_BEGIN, 1);
    buf_add_text(b, key);
    buf_add_text(b, owner);
    buf_add_text(b, lease);
    buf_add_u64(b, (uint64_t)(lease_ms > 0 ? lease_ms : COORD_INBOX_LEASE_MS));
    txn_end(t);
    return 0;
}

int coord_begun_read(struct cursor *result, struct coord_begun *out, struct err *e)
{
    size_t n = 0;
    uint8_t what = cursor_u8(result);
    *out = (struct coord_begun){.what = (enum coord_inbox)what};
    out->expires = (int64_t)cursor_u64(result);
    const char *lease = cursor_bytes(result, &n);
    if (result->bad || what < COORD_ACQUIRED || what > COORD_PROCESSED || n > COORD_ID_BYTES)
        return err_set(e, ERR_CORRUPT, "an inbox result of another form");
    if (n > 0)
        memcpy(out->lease, lease, n);
    return 0;
}

int coord_txn_processed(struct txn *t, const char *key, const char *lease, int64_t keep_ms,
                        struct err *e)
{
    int rc = ask_name("key", key, e);
    if (rc == 0 && lease != NULL)
        rc = ask_lease(lease, e);
    if (rc == 0 && keep_ms != 0 &&
        (keep_ms < COORD_TTL_MIN_MS || keep_ms > COORD_INBOX_KEEP_MAX_MS))
        rc = err_field(e, ERR_INVALID, "keepSeconds", "keepSeconds: 1 to %lld, which are 30 days",
                       (long long)(COORD_INBOX_KEEP_MAX_MS / 1000));
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_PROCESSED, 1);
    buf_add_text(b, key);
    buf_add_text(b, lease != NULL ? lease : "");
    buf_add_u64(b, (uint64_t)(keep_ms > 0 ? keep_ms : COORD_INBOX_KEEP_MS));
    txn_end(t);
    t->urgent = true;
    return 0;
}

int coord_txn_unbegin(struct txn *t, const char *key, const char *lease, struct err *e)
{
    int rc = ask_name("key", key, e);
    if (rc == 0)
        rc = ask_lease(lease, e);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_UNBEGIN, 1);
    buf_add_text(b, key);
    buf_add_text(b, lease);
    txn_end(t);
    t->urgent = true;
    return 0;
}
