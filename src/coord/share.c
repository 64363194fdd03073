/* Limits that a node gives out of its own share: decided in memory, told to the ledger once a
 * second.
 *
 *     take: bucket in memory --its level--> limit.use in the log --less what others took--> memory
 *
 * The row is the whole bucket, this node's share of it is all of it. What others took of the row
 * meanwhile (exact takes) is what it lacks of what it was when this node last told, and what has
 * come since. A node that dies forgets what it has not told yet: what was taken in the last second
 * or two. */
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"
#include "ledger/txn.h"

enum {
    SHARE_TELL_MS = 1000,
    SHARES_TOLD = 2000, /* in one unit */
    SHARES_MAX = 100000,
    SHARE_KEY_MAX = TXN_ENVELOPE_TEXT_MAX + COORD_KEY_BYTES + 2,
};

struct share {
    struct bucket b;
    struct bucket base; /* the row when it was last told, or read; at 0: not known */
    bool dirty, flying; /* taken of since; being told */
    uint64_t used;      /* tokens taken since it is being told */
    size_t name_at, key_len;
    char key[]; /* tenant, line end, name, NUL */
};

/* ---- taking ---- */

static size_t share_key(char out[SHARE_KEY_MAX], const char *tenant, const char *name)
{
    return (size_t)snprintf(out, SHARE_KEY_MAX, "%s\n%s", tenant, name);
}

static int share_load(struct db *db, const char *tenant, const struct coord_take *k, int64_t now,
                      struct bucket *b, struct err *e)
{
    *b = (struct bucket){.rate = k->rate,
                         .per = k->per_ms,
                         .burst = k->burst,
                         .level = k->burst * k->per_ms,
                         .at = now};
    struct text name = {k->name, strlen(k->name)};
    int rc = bucket_row(db, tenant, name, b, e);
    return rc < 0 ? rc : 0;
}

/* With the lock. */
static struct share *share_add(struct coord *c, const char *key, size_t len, size_t name_at,
                               const struct bucket *b)
{
    struct share *s = map_get(c->shares, key, len);
    if (s != NULL) /* somebody was faster */
        return s;
    s = mem_new(sizeof *s + len + 1);
    s->b = s->base = *b;
    s->name_at = name_at;
    s->key_len = len;
    memcpy(s->key, key, len + 1);
    map_put(c->shares, s->key, len, s);
    return s;
}

static void share_take(struct share *s, const struct coord_take *k, int64_t now,
                       struct coord_taken *out)
{
    bucket_fill(&s->b, now);
    bucket_change(&s->b, k);
    bucket_take(&s->b, k, out);
    if (!out->taken)
        return;
    s->dirty = true;
    s->used += (uint64_t)k->n;
}

int coord_share_take(struct coord *c, struct db *db, const char *tenant, const struct coord_take *k,
                     int64_t now, struct coord_taken *out, struct err *e)
{
    char key[SHARE_KEY_MAX];
    struct bucket b;
    int rc = coord_check_take(k, e);
    if (rc != 0)
        return rc;
    size_t len = share_key(key, tenant, k->name);
    pthread_mutex_lock(&c->share_lock);
    struct share *s = map_get(c->shares, key, len);
    if (s != NULL)
        share_take(s, k, now, out);
    pthread_mutex_unlock(&c->share_lock);
    if (s != NULL)
        return 0;
    rc = share_load(db, tenant, k, now, &b, e);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&c->share_lock);
    if (map_count(c->shares) < SHARES_MAX)
        share_take(share_add(c, key, len, strlen(tenant) + 1, &b), k, now, out);
    else
        rc = err_set(e, ERR_OVERLOADED, "%d limits are in use; say exact, or ask again soon",
                     SHARES_MAX);
    pthread_mutex_unlock(&c->share_lock);
    return rc;
}

/* ---- telling; the ledger's thread ---- */

/* Within what a bucket of this limit can be: it may have been said smaller since. */
static int64_t use_bound(const struct bucket *b, int64_t level)
{
    int64_t cap = b->burst * b->per, least = -cap - b->rate * COORD_WAIT_MAX_MS;
    return level > cap ? cap : level < least ? least : level;
}

static void use_add(struct txn *t, const struct share *s)
{
    struct buf *b = txn_begin(t, COORD_OP_USE, 1);
    bool known = s->base.at > 0 && s->base.per == s->b.per;
    buf_add_text(b, s->key + s->name_at);
    buf_add_u64(b, (uint64_t)s->b.rate);
    buf_add_u64(b, (uint64_t)s->b.per);
    buf_add_u64(b, (uint64_t)s->b.burst);
    buf_add_u64(b, (uint64_t)use_bound(&s->b, s->b.level));
    buf_add_u64(b, (uint64_t)s->b.at);
    buf_add_u64(b, known ? (uint64_t)use_bound(&s->b, s->base.level) : 0);
    buf_add_u64(b, known ? (uint64_t)s->base.at : 0);
    txn_end(t);
}

static bool is_of(const struct share *s, const char *tenant)
{
    return strncmp(s->key, tenant, s->name_at - 1) == 0 && tenant[s->name_at - 1] == '\0';
}

/* A unit has one tenant: those of another come with the next. What nobody uses is forgotten. */
static void shares_gather(struct coord *c, struct txn *t, int64_t now)
{
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1] = "";
    pthread_mutex_lock(&c->share_lock);
    for (struct map_iter it = {0}; map_next(c->shares, &it);) {
        struct share *s = it.value;
        if (!s->dirty && bucket_full(&s->b) <= now) {
            map_remove(c->shares, s->key, s->key_len);
            mem_free(s);
            continue;
        }
        if (!s->dirty || c->told_count == SHARES_TOLD)
            continue;
        if (*tenant == '\0')
            snprintf(tenant, sizeof tenant, "%.*s", (int)(s->name_at - 1), s->key);
        if (!is_of(s, tenant))
            continue;
        s->flying = true;
        s->dirty = false;
        s->used = 0;
        use_add(t, s);
        c->told[c->told_count++] = s;
    }
    pthread_mutex_unlock(&c->share_lock);
    txn_envelope(t, &(struct envelope){.tenant = *tenant != '\0' ? tenant : NULL,
                                       .reason = "taken of limits"});
}

/* With the lock. What was taken meanwhile is taken of what the row has now. */
static void share_told(struct share *s, struct cursor *result)
{
    struct bucket row = s->b;
    row.level = (int64_t)cursor_u64(result);
    row.at = (int64_t)cursor_u64(result);
    uint64_t per = cursor_u64(result);
    s->base = row;
    if (result->bad || per != (uint64_t)s->b.per) { /* another rate was said meanwhile */
        s->base.at = 0;
        return;
    }
    bucket_fill(&row, s->b.at);
    s->b.level = row.level - (int64_t)s->used * row.per;
    s->b.at = row.at;
}

static void shares_end(struct coord *c, const struct unit *u, int code)
{
    struct cursor result;
    pthread_mutex_lock(&c->share_lock);
    for (size_t i = 0; i < c->told_count; i++) {
        struct share *s = c->told[i];
        s->flying = false;
        if (code == 0 && u != NULL && unit_result(u, (uint32_t)i, &result)) {
            share_told(s, &result);
            continue;
        }
        s->dirty = true;
        if (code == ERR_TIMEOUT || code == ERR_INTERNAL) /* it may have been told */
            s->base.at = 0;
    }
    c->told_count = 0;
    pthread_mutex_unlock(&c->share_lock);
}

static void shares_done(struct unit *u)
{
    struct coord *c = LIST_OF(u, struct coord, share_unit);
    shares_end(c, u, u->err.code);
    if (u->err.code != 0 && u->err.code != ERR_NO_LEADER && u->err.code != ERR_DRAINING)
        log_warn("coord", "what was taken of limits: %s", u->err.text);
    unit_fini(u);
    c->telling = false;
}

void coord_shares_look(struct coord *c, uint64_t mono_ms, bool last)
{
    struct err e = ERR_INIT;
    if (c->telling || (!last && mono_ms < c->tell_ms))
        return;
    c->tell_ms = mono_ms + SHARE_TELL_MS;
    if (c->told == NULL)
        c->told = mem_new_array(SHARES_TOLD, sizeof *c->told);
    unit_init(&c->share_unit, c->world->runner, shares_done);
    shares_gather(c, &c->share_unit.txn, c->world->wall_ms(c->world));
    int rc = c->told_count > 0 ? ledger_propose(c->ledger, &c->share_unit, &e) : 0;
    c->telling = rc == 0 && c->told_count > 0;
    if (c->telling)
        return;
    shares_end(c, NULL, rc != 0 ? rc : ERR_CANCELED);
    unit_fini(&c->share_unit);
}

static void share_free(void *p)
{
    mem_free(p);
}

void coord_shares_free(struct coord *c)
{
    if (c->telling) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&c->share_unit);
    map_free(c->shares, share_free);
    mem_free(c->told);
}

/* ---- applied ---- */

struct use {
    struct text name;
    struct coord_take k;
    struct bucket mine, base;
};

static int use_decode(struct cursor *c, struct use *u, struct err *e)
{
    u->name = coord_text(c, 1, COORD_KEY_BYTES);
    u->k = (struct coord_take){.rate = (int64_t)cursor_u64(c)};
    u->k.per_ms = (int64_t)cursor_u64(c);
    u->k.burst = (int64_t)cursor_u64(c);
    u->mine = (struct bucket){.rate = u->k.rate, .per = u->k.per_ms, .burst = u->k.burst};
    u->base = u->mine;
    u->mine.level = (int64_t)cursor_u64(c);
    u->mine.at = (int64_t)cursor_u64(c);
    u->base.level = (int64_t)cursor_u64(c);
    u->base.at = (int64_t)cursor_u64(c);
    if (u->k.rate < 1 || u->k.rate > COORD_LIMIT_MAX || u->k.per_ms < 1 ||
        u->k.per_ms > COORD_LIMIT_PER_MAX_MS || u->k.burst < 1 || u->k.burst > COORD_LIMIT_MAX ||
        u->mine.at < 0 || u->base.at < 0 || use_bound(&u->mine, u->mine.level) != u->mine.level ||
        use_bound(&u->base, u->base.level) != u->base.level)
        c->bad = true;
    return cursor_whole(c, "limit.use", e);
}

/* Less what others took of the row since it was `base`. */
static void use_merge(struct use *u, const struct bucket *row, int64_t at)
{
    u->mine.at = u->mine.at < at ? u->mine.at : at; /* a clock that is ahead */
    bucket_fill(&u->mine, at);
    bucket_fill(&u->base, at);
    if (u->base.at > 0 && row->level < u->base.level)
        bucket_use(&u->mine, u->base.level - row->level);
}

int coord_apply_use(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)version;
    struct use u;
    struct bucket row;
    int rc = use_decode(c, &u, e);
    if (rc == 0)
        rc = bucket_row(a->db, a->env->tenant, u.name, &row, e);
    if (rc < 0)
        return rc;
    bool is_new = rc == 0;
    if (!is_new) {
        bucket_fill(&row, a->at);
        bucket_change(&row, &u.k);
    }
    use_merge(&u, is_new ? &u.base : &row, a->at);
    rc = store_use_add(a->db, a->env->tenant, COORD_USE_BUCKETS, is_new, e);
    if (rc == ERR_QUOTA) /* nobody is asked: it is not remembered */
        err_clear(e);
    else if (rc == 0)
        rc = bucket_save(a->db, a->env->tenant, u.name, &u.mine, e);
    if (rc < 0 && rc != ERR_QUOTA)
        return rc;
    coord_spare(self, bucket_full(&u.mine));
    buf_add_u64(result, (uint64_t)u.mine.level);
    buf_add_u64(result, (uint64_t)u.mine.at);
    buf_add_u64(result, (uint64_t)u.mine.per);
    return 0;
}
