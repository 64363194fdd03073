/* Operations on claims as bytes, and what all payloads share. */
#include <string.h>

#include "base/str.h"
#include "coord/coord_priv.h"
#include "ledger/txn.h"

static bool coord_is_key(const char *p, size_t n, size_t max)
{
    if (p == NULL || n == 0 || n > max || !str_is_utf8(p, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return true;
}

int coord_check_key(const char *what, const char *p, size_t n, size_t max, struct err *e)
{
    if (coord_is_key(p, n, max))
        return 0;
    return err_field(e, ERR_INVALID, what,
                     "%s: 1 to %zu bytes of UTF-8 without control characters, this has %zu", what,
                     max, n);
}

struct text coord_text(struct cursor *c, size_t least, size_t max)
{
    size_t n = 0;
    const char *p = cursor_bytes(c, &n);
    if (p == NULL || n < least || (n > 0 && !coord_is_key(p, n, max)))
        c->bad = true;
    return (struct text){p, n};
}

static int ask_ttl(int64_t ttl, struct err *e)
{
    if (ttl == 0 || (ttl >= COORD_TTL_MIN_MS && ttl <= COORD_TTL_MAX_MS))
        return 0;
    return err_field(e, ERR_INVALID, "ttl", "ttl: 1s to 24h");
}

static int ask_check(const struct coord_ask *k, struct err *e)
{
    int rc = coord_check_key("name", k->name, strlen(k->name), COORD_KEY_BYTES, e);
    if (rc == 0)
        rc = coord_check_key("id", k->id, strlen(k->id), COORD_ID_BYTES, e);
    if (rc == 0 && k->owner != NULL && *k->owner != '\0')
        rc = coord_check_key("owner", k->owner, strlen(k->owner), COORD_OWNER_BYTES, e);
    if (rc == 0 && k->meta != NULL && strlen(k->meta) > COORD_META_BYTES)
        rc = err_field(e, ERR_TOO_LARGE, "meta", "meta: at most %d KiB as JSON",
                       COORD_META_BYTES >> 10);
    if (rc == 0)
        rc = ask_ttl(k->ttl_ms, e);
    if (rc == 0 && (k->wait_ms < 0 || k->wait_ms > COORD_WAIT_MAX_MS))
        rc = err_field(e, ERR_INVALID, "wait", "wait: at most %ds", COORD_WAIT_MAX_MS / 1000);
    if (rc == 0 && k->form == COORD_SEMAPHORE && (k->n == 0 || k->n > COORD_HOLDERS_MAX))
        rc =
            err_field(e, ERR_INVALID, "n", "n: a semaphore has 1 to %d holders", COORD_HOLDERS_MAX);
    return rc;
}

int coord_txn_acquire(struct txn *t, const struct coord_ask *k, struct err *e)
{
    int rc = ask_check(k, e);
    if (rc != 0)
        return rc;
    bool rw = k->form == COORD_RW;
    struct buf *b = txn_begin(t, COORD_OP_ACQUIRE, 1);
    buf_add_text(b, k->name);
    buf_add_text(b, k->id);
    buf_add_u8(b, (uint8_t)k->form);
    buf_add_u32(b, rw ? COORD_HOLDERS_MAX : k->form == COORD_LEASE ? 1 : k->n);
    buf_add_u8(b, rw && k->exclusive);
    buf_add_u64(b, (uint64_t)(k->ttl_ms > 0 ? k->ttl_ms : COORD_TTL_MS));
    buf_add_u64(b, (uint64_t)k->wait_ms);
    buf_add_text(b, k->owner != NULL ? k->owner : "");
    buf_add_text(b, k->meta != NULL ? k->meta : "");
    txn_end(t);
    return 0;
}

int coord_grant_read(struct cursor *result, struct coord_grant *out, struct err *e)
{
    out->held = cursor_u8(result) == 1;
    out->token = cursor_u64(result);
    out->expires = (int64_t)cursor_u64(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "a grant of another form") : 0;
}

/* The payload begins with the claim; more may follow before txn_end(). */
static struct buf *ask_claim(struct txn *t, uint16_t op, const struct coord_claim *c, struct err *e)
{
    if (coord_check_key("name", c->name, strlen(c->name), COORD_KEY_BYTES, e) != 0 ||
        (c->id != NULL && coord_check_key("id", c->id, strlen(c->id), COORD_ID_BYTES, e) != 0))
        return NULL;
    if (c->token == 0 || c->token > INT64_MAX) {
        err_field(e, ERR_INVALID, "token", "token: the number that the grant gave");
        return NULL;
    }
    struct buf *b = txn_begin(t, op, 1);
    buf_add_text(b, c->name);
    buf_add_u64(b, c->token);
    buf_add_text(b, c->id != NULL ? c->id : "");
    return b;
}

int coord_txn_if_held(struct txn *t, const struct coord_claim *c, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (ask_claim(t, COORD_OP_HELD, c, e) == NULL)
        return e->code;
    txn_end(t);
    return 0;
}

int coord_txn_renew(struct txn *t, const struct coord_claim *c, int64_t ttl_ms, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (ask_ttl(ttl_ms, e) != 0)
        return e->code;
    struct buf *b = ask_claim(t, COORD_OP_RENEW, c, e);
    if (b == NULL)
        return e->code;
    buf_add_u64(b, (uint64_t)ttl_ms);
    txn_end(t);
    t->urgent = true;
    return 0;
}

int coord_txn_release(struct txn *t, const struct coord_claim *c, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (ask_claim(t, COORD_OP_RELEASE, c, e) == NULL)
        return e->code;
    txn_end(t);
    t->urgent = true;
    return 0;
}

int coord_txn_break(struct txn *t, const char *name, struct err *e)
{
    int rc = coord_check_key("name", name, strlen(name), COORD_KEY_BYTES, e);
    if (rc != 0)
        return rc;
    buf_add_text(txn_begin(t, COORD_OP_BREAK, 1), name);
    txn_end(t);
    return 0;
}

int coord_txn_leave(struct txn *t, const char *name, const char *id, struct err *e)
{
    int rc = coord_check_key("name", name, strlen(name), COORD_KEY_BYTES, e);
    if (rc == 0)
        rc = coord_check_key("id", id, strlen(id), COORD_ID_BYTES, e);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_LEAVE, 1);
    buf_add_text(b, name);
    buf_add_text(b, id);
    txn_end(t);
    t->urgent = true;
    return 0;
}

int coord_time_read(struct cursor *result, int64_t *out, struct err *e)
{
    *out = (int64_t)cursor_u64(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "a time of another form") : 0;
}
