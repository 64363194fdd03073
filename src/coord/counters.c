/* Operations on counters and limits, applied. */
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

/* 1: it is there. */
static int counter_load(const struct apply *a, struct text name, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(a->db, "SELECT value FROM coord_counters WHERE tenant = ?1 AND name = ?2",
                 a->env->tenant, name, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 ? db_col_int(s, 0) : 0;
    return rc;
}

int coord_apply_count_is(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                         struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct text name = coord_text(c, 1, COORD_KEY_BYTES);
    int64_t want = (int64_t)cursor_u64(c), now = 0;
    int rc = cursor_whole(c, "counter.check", e);
    if (rc == 0)
        rc = counter_load(a, name, &now, e);
    if (rc < 0 || now == want)
        return rc < 0 ? rc : 0;
    return err_set(e, ERR_VERSION_MISMATCH, "counter '%.*s' is %lld, no longer %lld", (int)name.n,
                   name.p, (long long)now, (long long)want);
}

int coord_apply_add(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)self, (void)version;
    struct text name = coord_text(c, 1, COORD_KEY_BYTES);
    int64_t n = (int64_t)cursor_u64(c), before = 0, after = 0;
    int rc = cursor_whole(c, "counter.add", e);
    if (rc == 0)
        rc = counter_load(a, name, &before, e);
    if (rc < 0)
        return rc;
    if (__builtin_add_overflow(before, n, &after))
        return err_set(e, ERR_CONFLICT,
                       "counter '%.*s' is %lld: adding %lld would overflow 64 bits", (int)name.n,
                       name.p, (long long)before, (long long)n);
    rc = store_use_add(a->db, a->env->tenant, COORD_USE_COUNTERS, rc == 0, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = store_at(
        a->db, "INSERT OR REPLACE INTO coord_counters(tenant, name, value) VALUES(?1, ?2, ?3)",
        a->env->tenant, name, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, after);
    rc = db_run(s, e);
    buf_add_u64(result, (uint64_t)before);
    buf_add_u64(result, (uint64_t)after);
    return rc;
}

int coord_apply_counter_remove(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                               struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    int64_t value;
    struct text name = coord_text(c, 1, COORD_KEY_BYTES);
    int rc = cursor_whole(c, "counter.remove", e);
    if (rc == 0)
        rc = counter_load(a, name, &value, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no counter '%.*s'", (int)name.n, name.p);
    rc = store_run_at(a->db, "DELETE FROM coord_counters WHERE tenant = ?1 AND name = ?2",
                      a->env->tenant, name, e);
    return rc < 0 ? rc : store_use_add(a->db, a->env->tenant, COORD_USE_COUNTERS, -1, e);
}

/* ---- limits ---- */

struct take {
    struct coord_take k; /* without its name */
    struct text name;
};

static bool take_between(int64_t v, int64_t least, int64_t most)
{
    return v >= least && v <= most;
}

static int take_decode(struct cursor *c, struct take *t, struct err *e)
{
    t->name = coord_text(c, 1, COORD_KEY_BYTES);
    t->k = (struct coord_take){.name = NULL};
    t->k.rate = (int64_t)cursor_u64(c);
    t->k.per_ms = (int64_t)cursor_u64(c);
    t->k.burst = (int64_t)cursor_u64(c);
    t->k.n = (int64_t)cursor_u64(c);
    t->k.wait_ms = (int64_t)cursor_u64(c);
    uint8_t refuse = cursor_u8(c);
    t->k.refuse = refuse == 1;
    if (!take_between(t->k.rate, 1, COORD_LIMIT_MAX) ||
        !take_between(t->k.per_ms, 1, COORD_LIMIT_PER_MAX_MS) ||
        !take_between(t->k.burst, 1, COORD_LIMIT_MAX) || !take_between(t->k.n, 1, t->k.burst) ||
        !take_between(t->k.wait_ms, 0, COORD_WAIT_MAX_MS) || refuse > 1)
        c->bad = true;
    return cursor_whole(c, "limit.take", e);
}

int bucket_row(struct db *db, const char *tenant, struct text name, struct bucket *b, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(
        db, "SELECT rate, per, burst, level, at FROM coord_limits WHERE tenant = ?1 AND name = ?2",
        tenant, name, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc > 0)
        *b = (struct bucket){db_col_int(s, 0), db_col_int(s, 1), db_col_int(s, 2), db_col_int(s, 3),
                             db_col_int(s, 4)};
    return rc;
}

/* 1: it is there. */
static int bucket_load(const struct apply *a, const struct take *t, struct bucket *b, struct err *e)
{
    *b = (struct bucket){.rate = t->k.rate,
                         .per = t->k.per_ms,
                         .burst = t->k.burst,
                         .level = t->k.burst * t->k.per_ms,
                         .at = a->at};
    int rc = bucket_row(a->db, a->env->tenant, t->name, b, e);
    if (rc <= 0)
        return rc;
    bucket_fill(b, a->at);
    bucket_change(b, &t->k);
    return 1;
}

int bucket_save(struct db *db, const char *tenant, struct text name, const struct bucket *b,
                struct err *e)
{
    struct db_stmt *s = store_at(db,
                                 "INSERT OR REPLACE INTO coord_limits(tenant, name, rate, per, "
                                 "burst, level, at, full) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                                 tenant, name, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, b->rate);
    db_bind_int(s, 4, b->per);
    db_bind_int(s, 5, b->burst);
    db_bind_int(s, 6, b->level);
    db_bind_int(s, 7, b->at);
    db_bind_int(s, 8, bucket_full(b));
    return db_run(s, e);
}

int coord_apply_take(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)version;
    struct take t;
    struct bucket b;
    struct coord_taken taken;
    int rc = take_decode(c, &t, e);
    if (rc == 0)
        rc = bucket_load(a, &t, &b, e);
    if (rc < 0)
        return rc;
    bool is_new = rc == 0;
    bucket_take(&b, &t.k, &taken);
    if (!taken.taken && t.k.refuse)
        return err_set(e, ERR_RATE_LIMITED, "limit '%.*s': the next turn is in %lld ms",
                       (int)t.name.n, t.name.p, (long long)taken.wait_ms);
    rc = store_use_add(a->db, a->env->tenant, COORD_USE_BUCKETS, is_new, e);
    if (rc == 0)
        rc = bucket_save(a->db, a->env->tenant, t.name, &b, e);
    if (rc != 0)
        return rc;
    coord_spare(self, bucket_full(&b));
    buf_add_u8(result, taken.taken);
    buf_add_u64(result, (uint64_t)taken.wait_ms);
    buf_add_u64(result, (uint64_t)taken.left);
    return 0;
}
