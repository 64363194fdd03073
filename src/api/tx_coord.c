/* lease.check and kv.put in POST /api/tx. */
#include "api/tx_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "coord/coord.h"
#include "ledger/txn.h"

static int tx_word(const json_t *op, const char *key, const char *absent, const char **out,
                   struct err *e)
{
    int rc = json_get_string(op, key, out, e);
    if (rc != ERR_NOT_FOUND)
        return rc;
    *out = absent;
    err_clear(e);
    return absent != NULL || strcmp(key, "id") == 0
               ? 0
               : err_field(e, ERR_INVALID, key, "\"%s\" is missing", key);
}

static int tx_number(const json_t *op, const char *key, int64_t *out, struct err *e)
{
    *out = 0;
    int rc = json_get_int(op, key, out, e);
    if (rc == 0 && *out < 1)
        return err_field(e, ERR_INVALID, key, "%s: a number from 1 on", key);
    if (rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    return 0;
}

static int tx_yes(const json_t *op, const char *key, bool *out, struct err *e)
{
    *out = false;
    int rc = json_get_bool(op, key, out, e);
    if (rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    return 0;
}

static int tx_held_add(const json_t *op, struct txn *t, struct err *e)
{
    static const char *const keys[] = {"op", "name", "token", "id"};
    struct coord_claim c;
    int64_t token;
    int rc = json_only_keys(op, "lease.check", keys, ARRAY_LEN(keys), e);
    if (rc == 0)
        rc = tx_word(op, "name", NULL, &c.name, e);
    if (rc == 0)
        rc = tx_word(op, "id", NULL, &c.id, e);
    if (rc == 0)
        rc = tx_number(op, "token", &token, e);
    if (rc != 0)
        return rc;
    c.token = (uint64_t)token;
    return coord_txn_if_held(t, &c, e);
}

static int tx_put_ttl(const json_t *op, int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(op, "ttl");
    *out = 0;
    if (v == NULL)
        return 0;
    if (json_is_string(v) && duration_parse(json_string_value(v), out, e) == 0 && *out > 0)
        return 0;
    if (json_is_integer(v) && json_integer_value(v) > 0 &&
        json_integer_value(v) <= COORD_VALUE_TTL_MAX_MS / 1000) {
        *out = json_integer_value(v) * 1000;
        return 0;
    }
    err_clear(e);
    return err_field(e, ERR_INVALID, "ttl", "ttl: a duration like \"30s\", or whole seconds");
}

static int tx_put_add(const json_t *op, struct txn *t, struct err *e)
{
    static const char *const keys[] = {"op",         "key",       "value",    "ttl",
                                       "if_version", "if_absent", "if_exists"};
    struct coord_put p = {.n = 0};
    int64_t version = 0;
    AUTO(buf_fini) struct buf value = BUF_INIT(COORD_VALUE_BYTES + 1);
    const json_t *v = json_object_get(op, "value");
    int rc = json_only_keys(op, "kv.put", keys, ARRAY_LEN(keys), e);
    if (rc == 0)
        rc = tx_word(op, "key", NULL, &p.key, e);
    if (rc == 0 && v == NULL)
        rc = err_field(e, ERR_INVALID, "value", "kv.put has no \"value\"");
    if (rc == 0)
        rc = tx_put_ttl(op, &p.ttl_ms, e);
    if (rc == 0)
        rc = tx_number(op, "if_version", &version, e);
    if (rc == 0)
        rc = tx_yes(op, "if_absent", &p.nx, e);
    if (rc == 0)
        rc = tx_yes(op, "if_exists", &p.xx, e);
    if (rc != 0)
        return rc;
    json_print(v, &value, NULL);
    if (buf_failed(&value))
        return err_field(e, ERR_TOO_LARGE, "value", "value: at most %d KiB as JSON",
                         COORD_VALUE_BYTES >> 10);
    p.if_version = (uint64_t)version;
    p.value = value.data;
    p.n = value.len;
    return coord_txn_put(t, &p, e);
}

int tx_coord_add(const json_t *op, bool held, struct txn *t, struct err *e)
{
    return held ? tx_held_add(op, t, e) : tx_put_add(op, t, e);
}

int tx_coord_check(const json_t *op, bool held, struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = tx_coord_add(op, held, &t, e);
    txn_fini(&t);
    return rc;
}
