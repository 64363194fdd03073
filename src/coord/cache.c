/* Cached values: as bytes, applied, and read. A flush writes one row, however many values have the
 * tag; who reads compares. */
#include <string.h>

#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"
#include "ledger/txn.h"

/* ---- as bytes ---- */

int coord_txn_cache(struct txn *t, const struct coord_cached *k, struct err *e)
{
    int rc = coord_check_key("name", k->name, strlen(k->name), COORD_KEY_BYTES, e);
    for (size_t i = 0; i < k->tags_count && rc == 0; i++)
        rc = coord_check_key("tags", k->tags[i], strlen(k->tags[i]), COORD_TAG_BYTES, e);
    if (rc == 0 && k->n > COORD_VALUE_BYTES)
        rc = err_field(e, ERR_TOO_LARGE, "value", "value: %zu bytes; at most %d KiB", k->n,
                       COORD_VALUE_BYTES >> 10);
    if (rc == 0 && k->tags_count > COORD_TAGS_MAX)
        rc = err_field(e, ERR_INVALID, "tags", "tags: at most %d", COORD_TAGS_MAX);
    if (rc == 0 && (k->ttl_ms < 1 || k->stale_ms < 0 || k->ttl_ms > COORD_CACHE_LIFE_MAX_MS ||
                    k->stale_ms > COORD_CACHE_LIFE_MAX_MS - k->ttl_ms))
        rc = err_field(e, ERR_INVALID, "ttl",
                       "ttl: more than nothing, and with stale_for at most 30 days");
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, COORD_OP_CACHE, 1);
    buf_add_text(b, k->name);
    buf_add_u64(b, k->since);
    buf_add_u64(b, (uint64_t)k->ttl_ms);
    buf_add_u64(b, (uint64_t)k->stale_ms);
    buf_add_u8(b, (uint8_t)k->tags_count);
    for (size_t i = 0; i < k->tags_count; i++)
        buf_add_text(b, k->tags[i]);
    buf_add_bytes(b, k->value, k->n);
    txn_end(t);
    return 0;
}

int coord_txn_flush(struct txn *t, const char *tag, struct err *e)
{
    int rc = coord_check_key("tag", tag, strlen(tag), COORD_TAG_BYTES, e);
    if (rc != 0)
        return rc;
    buf_add_text(txn_begin(t, COORD_OP_FLUSH, 1), tag);
    txn_end(t);
    return 0;
}

/* ---- applied ---- */

struct cached {
    struct text name;
    int64_t since, ttl, stale;
    char tags[COORD_TAGS_MAX * (COORD_TAG_BYTES + 1) + 1]; /* lines */
    size_t tags_len;
    const void *value;
    size_t n;
};

static int cached_decode(struct cursor *c, struct cached *k, struct err *e)
{
    k->name = coord_text(c, 1, COORD_KEY_BYTES);
    k->since = (int64_t)cursor_u64(c);
    k->ttl = (int64_t)cursor_u64(c);
    k->stale = (int64_t)cursor_u64(c);
    uint8_t tags = cursor_u8(c);
    k->tags_len = 0;
    for (uint8_t i = 0; i < tags && i < COORD_TAGS_MAX && !c->bad; i++) {
        struct text tag = coord_text(c, 1, COORD_TAG_BYTES);
        if (c->bad)
            break;
        memcpy(k->tags + k->tags_len, tag.p, tag.n);
        k->tags_len += tag.n;
        k->tags[k->tags_len++] = '\n';
    }
    k->value = cursor_bytes(c, &k->n);
    if (k->value == NULL || k->n > COORD_VALUE_BYTES || tags > COORD_TAGS_MAX || k->since < 0 ||
        k->ttl < 1 || k->ttl > COORD_CACHE_LIFE_MAX_MS || k->stale < 0 ||
        k->stale > COORD_CACHE_LIFE_MAX_MS - k->ttl)
        c->bad = true;
    return cursor_whole(c, "cache.put", e);
}

/* Bytes of the row that is there; 0: none. */
static int cached_bytes(const struct apply *a, struct text name, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(a->db, "SELECT length(value) FROM coord_cache WHERE tenant = ?1 AND name = ?2",
                 a->env->tenant, name, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 ? db_col_int(s, 0) + (int64_t)name.n : 0;
    return rc < 0 ? rc : 0;
}

static int cached_store(const struct apply *a, const struct cached *k, struct err *e)
{
    struct db_stmt *s = store_at(a->db,
                                 "INSERT OR REPLACE INTO coord_cache(tenant, name, value, since, "
                                 "fresh, expires, tags) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                 a->env->tenant, k->name, e);
    if (s == NULL)
        return e->code;
    db_bind_blob(s, 3, k->n > 0 ? k->value : "", k->n);
    db_bind_int(s, 4, k->since);
    db_bind_int(s, 5, a->at + k->ttl);
    db_bind_int(s, 6, a->at + k->ttl + k->stale);
    db_bind_text(s, 7, k->tags, k->tags_len);
    return db_run(s, e);
}

int coord_apply_cache(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct cached k;
    int64_t was = 0;
    int rc = cached_decode(c, &k, e);
    if (rc == 0)
        rc = cached_bytes(a, k.name, &was, e);
    if (rc == 0)
        rc = store_use_add(a->db, a->env->tenant, COORD_USE_CACHED, was == 0, e);
    if (rc == 0)
        rc = store_use_add(a->db, a->env->tenant, COORD_USE_CACHED_BYTES,
                           (int64_t)(k.n + k.name.n) - was, e);
    if (rc == 0)
        rc = cached_store(a, &k, e);
    if (rc == 0)
        coord_spare(self, a->at + k.ttl + k.stale);
    return rc;
}

int coord_apply_flush(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version, (void)result;
    int64_t there = 0;
    struct text tag = coord_text(c, 1, COORD_TAG_BYTES);
    const char *tenant = a->env->tenant;
    int rc = cursor_whole(c, "cache.flush", e);
    if (rc == 0)
        rc = coord_flushed(a->db, tenant, tag, &there, e);
    if (rc == 0)
        rc = store_use_add(a->db, tenant, COORD_USE_FLUSHES, there == 0, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s = store_at(a->db,
                                 "INSERT OR REPLACE INTO coord_flushes(tenant, tag, seq, expires) "
                                 "VALUES(?1, ?2, ?3, ?4)",
                                 tenant, tag, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, (int64_t)a->seq);
    db_bind_int(s, 4, a->at + 2 * COORD_CACHE_LIFE_MAX_MS);
    coord_spare(self, a->at + 2 * COORD_CACHE_LIFE_MAX_MS);
    return db_run(s, e);
}

/* ---- read ---- */

int coord_flushed(struct db *db, const char *tenant, struct text tag, int64_t *seq, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(db, "SELECT seq FROM coord_flushes WHERE tenant = ?1 AND tag = ?2",
                                 tenant, tag, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *seq = rc > 0 ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

/* 1: one of them was flushed since. */
static int cached_is_flushed(struct db *db, const char *tenant, const char *tags, size_t n,
                             int64_t since, struct err *e)
{
    const char *end = tags + n, *line;
    for (; tags < end && (line = memchr(tags, '\n', (size_t)(end - tags))) != NULL;
         tags = line + 1) {
        int64_t seq;
        int rc = coord_flushed(db, tenant, (struct text){tags, (size_t)(line - tags)}, &seq, e);
        if (rc < 0 || seq > since)
            return rc < 0 ? rc : 1;
    }
    return 0;
}

int coord_cache_get(struct db *db, const char *tenant, const char *name, int64_t now, bool *fresh,
                    struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    size_t n = 0, tags_len = 0;
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(db,
                                 "SELECT value, since, fresh, tags FROM coord_cache WHERE "
                                 "tenant = ?1 AND name = ?2 AND expires > ?3",
                                 tenant, (struct text){name, strlen(name)}, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, now);
    int rc = db_step(s, e);
    if (rc > 0) {
        const char *tags = db_col_text(s, 3, &tags_len);
        int over = cached_is_flushed(db, tenant, tags, tags_len, db_col_int(s, 1), e);
        rc = over < 0 ? over : !over;
    }
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "'%s' is not cached", name);
    *fresh = db_col_int(s, 2) > now;
    const void *value = db_col_blob(s, 0, &n);
    buf_add(out, value, n);
    return buf_check(out, "the value", e);
}
