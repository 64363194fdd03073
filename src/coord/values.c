/* Operations on values, applied. One that is past its time is not there; its row goes with a sweep,
 * or when the key is written again. */
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

struct stored {
    uint64_t version; /* 0: not there */
    int64_t bytes;    /* of key and value, also of one past its time; 0: no row */
};

static int value_load(const struct apply *a, struct text key, struct stored *out, struct err *e)
{
    *out = (struct stored){.version = 0};
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(a->db,
                                 "SELECT version, length(value), expires FROM coord_values WHERE "
                                 "tenant = ?1 AND key = ?2",
                                 a->env->tenant, key, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    out->bytes = db_col_int(s, 1) + (int64_t)key.n;
    if (db_col_is_null(s, 2) || db_col_int(s, 2) > a->at)
        out->version = (uint64_t)db_col_int(s, 0);
    return 0;
}

static int value_mismatch(struct text key, uint64_t now, uint64_t want, struct err *e)
{
    if (now == 0)
        return err_set(e, ERR_VERSION_MISMATCH, "'%.*s' is not there; version %llu was expected",
                       (int)key.n, key.p, (unsigned long long)want);
    return err_set(e, ERR_VERSION_MISMATCH, "'%.*s' has version %llu, not %llu; read it again",
                   (int)key.n, key.p, (unsigned long long)now, (unsigned long long)want);
}

int coord_apply_value_is(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                         struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct stored now;
    struct text key = coord_text(c, 1, COORD_KEY_BYTES);
    uint64_t want = cursor_u64(c);
    int rc = cursor_whole(c, "kv.check", e);
    if (rc == 0)
        rc = value_load(a, key, &now, e);
    if (rc < 0 || now.version == want)
        return rc;
    if (want == 0)
        return err_set(e, ERR_VERSION_MISMATCH, "'%.*s' is there, at version %llu", (int)key.n,
                       key.p, (unsigned long long)now.version);
    return value_mismatch(key, now.version, want, e);
}

struct put {
    struct text key;
    int64_t ttl;
    uint64_t if_version;
    bool nx, xx;
    const void *value;
    size_t n;
};

static int put_decode(struct cursor *c, struct put *p, struct err *e)
{
    p->key = coord_text(c, 1, COORD_KEY_BYTES);
    p->ttl = (int64_t)cursor_u64(c);
    p->if_version = cursor_u64(c);
    uint8_t flags = cursor_u8(c);
    p->nx = flags & 1;
    p->xx = flags & 2;
    p->value = cursor_bytes(c, &p->n);
    if (p->value == NULL || p->n > COORD_VALUE_BYTES || flags > 2 || p->ttl < 0 ||
        p->ttl > COORD_VALUE_TTL_MAX_MS)
        c->bad = true;
    return cursor_whole(c, "kv.put", e);
}

static int put_check(const struct put *p, const struct stored *now, struct err *e)
{
    if (p->nx && now->version != 0)
        return err_set(e, ERR_VERSION_MISMATCH, "'%.*s' is there already, at version %llu",
                       (int)p->key.n, p->key.p, (unsigned long long)now->version);
    if (p->xx && now->version == 0)
        return err_set(e, ERR_VERSION_MISMATCH, "'%.*s' is not there", (int)p->key.n, p->key.p);
    if (p->if_version != 0 && p->if_version != now->version)
        return value_mismatch(p->key, now->version, p->if_version, e);
    return 0;
}

static int put_store(const struct apply *a, const struct put *p, int64_t version, struct err *e)
{
    struct db_stmt *s = store_at(a->db,
                                 "INSERT OR REPLACE INTO coord_values(tenant, key, value, version, "
                                 "at, expires) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                                 a->env->tenant, p->key, e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 3, p->n > 0 ? p->value : "", p->n);
    db_bind_int(s, 4, version);
    db_bind_int(s, 5, a->at);
    if (p->ttl > 0)
        db_bind_int(s, 6, a->at + p->ttl);
    else
        db_bind_null(s, 6);
    return db_run(s, e);
}

int coord_apply_put(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)version;
    struct put p;
    struct stored now;
    int64_t last = 0, bytes = 0;
    const char *tenant = a->env->tenant;
    int rc = put_decode(c, &p, e);
    if (rc == 0)
        rc = value_load(a, p.key, &now, e);
    if (rc == 0)
        rc = put_check(&p, &now, e);
    if (rc == 0)
        rc = store_use(a->db, tenant, COORD_USE_VERSION, &last, e);
    if (rc != 0)
        return rc;
    bytes = (int64_t)(p.n + p.key.n);
    rc = store_use_add(a->db, tenant, COORD_USE_VERSION, 1, e);
    if (rc == 0)
        rc = store_use_add(a->db, tenant, COORD_USE_KEYS, now.bytes == 0, e);
    if (rc == 0)
        rc = store_use_add(a->db, tenant, COORD_USE_BYTES, bytes - now.bytes, e);
    if (rc == 0)
        rc = put_store(a, &p, last + 1, e);
    if (rc != 0)
        return rc;
    if (p.ttl > 0)
        coord_spare(self, a->at + p.ttl);
    buf_add_u64(result, (uint64_t)last + 1);
    return 0;
}

int coord_apply_remove(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                       struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct stored now;
    struct text key = coord_text(c, 1, COORD_KEY_BYTES);
    uint64_t want = cursor_u64(c);
    const char *tenant = a->env->tenant;
    int rc = cursor_whole(c, "kv.remove", e);
    if (rc == 0)
        rc = value_load(a, key, &now, e);
    if (rc != 0)
        return rc;
    if (want != 0 && now.version != want)
        return value_mismatch(key, now.version, want, e);
    if (now.version == 0)
        return err_set(e, ERR_NOT_FOUND, "'%.*s' is not there", (int)key.n, key.p);
    rc = store_run_at(a->db, "DELETE FROM coord_values WHERE tenant = ?1 AND key = ?2", tenant, key,
                      e);
    if (rc == 0)
        rc = store_use_add(a->db, tenant, COORD_USE_KEYS, -1, e);
    return rc < 0 ? rc : store_use_add(a->db, tenant, COORD_USE_BYTES, -now.bytes, e);
}
