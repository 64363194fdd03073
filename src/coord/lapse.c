/* What time ends. On the ledger's thread; only where this node leads.
 *
 *     commit, or timer --> is something over? --> unit: lapse .., leave .., sweep --> applied --+
 *           ^                    | no                                                           |
 *           +--------------------+<-------------------------------------------------------------+
 *
 * Ledger time stands still between entries, so what it would be now is the clock's business; the
 * operations look again at the time of their own entry. */
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

static uint64_t lapse_mono_ms(struct coord *c)
{
    return c->world->mono_ns(c->world) / 1000000;
}

/* What the next entry would have. */
static int64_t lapse_now(struct coord *c)
{
    int64_t wall = c->world->wall_ms(c->world);
    return wall > c->leaps.at ? wall : c->leaps.at;
}

/* ---- when ---- */

static void lapse_arm(struct coord *c, uint64_t delay_ms)
{
    c->armed_ms = lapse_mono_ms(c) + delay_ms;
    c->world->timer_start(c->world, &c->timer, delay_ms);
}

/* Asleep until something is due, but never for long: clocks are set. */
static void lapse_rearm(struct coord *c)
{
    int64_t due = c->due < c->spare ? c->due : c->spare, now = lapse_now(c);
    pthread_mutex_lock(&c->lock);
    if (c->leaving != NULL)
        due = now;
    pthread_mutex_unlock(&c->lock);
    int64_t wait = due <= now ? 0 : due - now < COORD_LOOK_MS ? due - now : COORD_LOOK_MS;
    if (c->back && wait < COORD_BACK_MS)
        wait = COORD_BACK_MS;
    lapse_arm(c, (uint64_t)wait);
}

void coord_passed(struct coord *c, int64_t at)
{
    uint64_t mono = lapse_mono_ms(c);
    leaps_see(&c->leaps, at, mono);
    if (c->stopped || c->flying || c->back)
        return;
    int64_t due = c->due < c->spare ? c->due : c->spare, now = lapse_now(c);
    if (due < now + COORD_LOOK_MS && mono + (uint64_t)(due > now ? due - now : 0) < c->armed_ms)
        lapse_rearm(c);
}

static int lapse_next(struct coord *c, struct err *e)
{
    static const char *const spare[] = {
        "SELECT min(expires) FROM coord_values WHERE expires IS NOT NULL",
        "SELECT min(full) FROM coord_limits",
        "SELECT min(expires) FROM coord_inbox",
        "SELECT min(expires) FROM coord_cache",
        "SELECT min(expires) FROM coord_flushes",
    };
    int64_t least = INT64_MAX, at;
    int rc = store_number(c->db, "SELECT min(expires) FROM coord_claims", INT64_MAX, &c->due, e);
    for (size_t i = 0; i < ARRAY_LEN(spare) && rc == 0; i++) {
        rc = store_number(c->db, spare[i], INT64_MAX, &at, e);
        least = rc == 0 && at < least ? at : least;
    }
    if (rc == 0)
        c->spare = least;
    return rc;
}

/* ---- what ---- */

static bool lapse_may(const struct coord *c, const struct claim *cl, int64_t now, uint64_t mono)
{
    if (cl->token == 0)
        return true;
    if (mono - c->led_ms < COORD_GRACE_MS)
        return false;
    return cl->expires + leaps_since(&c->leaps, cl->expires - cl->ttl) <= now;
}

static int lapse_claims(struct coord *c, struct txn *t, int64_t now, struct err *e)
{
    size_t count = 0;
    AUTO(mem_freep) struct claim *list = mem_try(COORD_LAPSE_ROWS * sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_NOMEM, "no memory to look at what is over");
    int rc = claims_due(c->db, now, list, COORD_LAPSE_ROWS, &count, e);
    uint64_t mono = lapse_mono_ms(c);
    for (size_t i = 0; i < count && rc == 0 && t->ops < COORD_LAPSE_MAX; i++) {
        if (!lapse_may(c, &list[i], now, mono)) {
            c->back = true;
            continue;
        }
        struct buf *b = txn_begin(t, COORD_OP_LAPSE, 1);
        buf_add_text(b, list[i].id);
        buf_add_u64(b, list[i].token);
        txn_end(t);
    }
    return rc;
}

static void lapse_leaving(struct coord *c, struct txn *t)
{
    struct leaving **end = &c->left;
    pthread_mutex_lock(&c->lock);
    while (c->leaving != NULL && t->ops < COORD_LAPSE_MAX) {
        struct leaving *l = c->leaving;
        c->leaving = l->next;
        coord_txn_leave(t, l->name, l->id, NULL);
        l->next = NULL;
        *end = l;
        end = &l->next;
    }
    pthread_mutex_unlock(&c->lock);
}

/* Those that could not leave yet come again. */
static void lapse_left(struct coord *c)
{
    struct cursor result;
    uint32_t at = 0;
    pthread_mutex_lock(&c->lock);
    for (struct leaving *l; (l = c->left) != NULL; at++) {
        c->left = l->next;
        if (c->unit.err.code == 0 && unit_result(&c->unit, at, &result) &&
            cursor_u8(&result) == 1) {
            mem_free(l);
        } else {
            l->next = c->leaving;
            c->leaving = l;
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static void lapse_done(struct unit *u);

static int lapse_gather(struct coord *c, struct txn *t, struct err *e)
{
    int64_t now = lapse_now(c);
    int rc = 0;
    c->back = false;
    txn_envelope(t, &(struct envelope){.reason = "its time was over"});
    t->grows = false;
    t->urgent = true;
    lapse_leaving(c, t);
    if (c->due <= now)
        rc = lapse_claims(c, t, now, e);
    if (rc == 0 && c->spare <= now) {
        buf_add_u32(txn_begin(t, COORD_OP_SWEEP, 2), COORD_SWEEP_ROWS);
        txn_end(t);
    }
    return rc;
}

static void lapse_look(struct coord *c)
{
    struct err e = ERR_INIT;
    struct ledger_status s;
    if (c->stopped || c->flying)
        return;
    uint64_t mono = lapse_mono_ms(c);
    leaps_see(&c->leaps, lapse_now(c), mono);
    coord_waits_look(c, mono);
    coord_shares_look(c, mono, false);
    ledger_status(c->ledger, &s);
    if (s.leader && !c->leads)
        c->led_ms = mono;
    c->leads = s.leader;
    unit_init(&c->unit, c->world->runner, lapse_done);
    int rc = c->leads ? lapse_gather(c, &c->unit.txn, &e) : 0;
    c->flying =
        rc == 0 && c->unit.txn.ops > 0 && (rc = ledger_propose(c->ledger, &c->unit, &e)) == 0;
    if (c->flying)
        return;
    c->unit.err = e;
    lapse_left(c);
    unit_fini(&c->unit);
    if (rc == 0 && c->leads && (c->due < c->spare ? c->due : c->spare) <= lapse_now(c))
        rc = lapse_next(c, &e);
    if (rc == 0) {
        lapse_rearm(c);
        return;
    }
    log_warn("coord", "what is over: %s", e.text);
    lapse_arm(c, COORD_LOOK_MS);
}

static void lapse_done(struct unit *u)
{
    struct coord *c = (struct coord *)((char *)u - offsetof(struct coord, unit));
    struct err e = u->err;
    lapse_left(c);
    c->flying = false;
    unit_fini(u);
    if (c->stopped)
        return;
    if (e.code == 0 && lapse_next(c, &e) == 0) {
        lapse_rearm(c);
        return;
    }
    if (e.code != ERR_NO_LEADER && e.code != ERR_DRAINING)
        log_warn("coord", "what is over: %s", e.text);
    lapse_arm(c, COORD_LOOK_MS);
}

void coord_fire(struct world_timer *t)
{
    struct coord *c = (struct coord *)((char *)t - offsetof(struct coord, timer));
    c->armed_ms = UINT64_MAX;
    lapse_look(c);
}

void coord_look_task(struct task *t)
{
    struct coord *c = (struct coord *)((char *)t - offsetof(struct coord, look));
    pthread_mutex_lock(&c->lock);
    c->looking = false;
    pthread_mutex_unlock(&c->lock);
    lapse_look(c);
}

void coord_start(struct coord *c, struct ledger *l, struct world *w)
{
    c->ledger = l;
    c->world = w;
    c->timer.fire = coord_fire;
    c->look.run = coord_look_task;
    c->due = c->spare = 0; /* looks it up */
    lapse_arm(c, 0);
}

void coord_stop(struct coord *c)
{
    if (c == NULL || c->world == NULL)
        return;
    coord_drain(c);
    c->stopped = true;
    coord_shares_look(c, 0, true);
    c->world->timer_stop(c->world, &c->timer);
}

/* ---- the sweep, applied ---- */

struct sweep {
    const char *pick; /* rowid, tenant, bytes of what is over at ?1, at most ?2 */
    const char *drop;
    enum coord_use rows, bytes; /* bytes 0: not counted */
};

/* One row; 1: there was one. */
static int sweep_one(const struct apply *a, const struct sweep *s, struct err *e)
{
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1];
    struct db_stmt *p = db_stmt_get(a->db, s->pick, e);
    if (p == NULL)
        return e->code;
    db_bind_int(p, 1, a->at);
    int rc = db_step(p, e);
    int64_t row = rc > 0 ? db_col_int(p, 0) : 0, bytes = rc > 0 ? db_col_int(p, 2) : 0;
    if (rc > 0)
        snprintf(tenant, sizeof tenant, "%s", db_col_text(p, 1, NULL));
    db_stmt_done(p);
    if (rc <= 0)
        return rc;
    struct db_stmt *d = db_stmt_get(a->db, s->drop, e);
    if (d == NULL)
        return e->code;
    db_bind_int(d, 1, row);
    rc = db_run(d, e);
    if (rc == 0)
        rc = store_use_add(a->db, tenant, s->rows, -1, e);
    if (rc == 0 && s->bytes != 0)
        rc = store_use_add(a->db, tenant, s->bytes, -bytes, e);
    return rc < 0 ? rc : 1;
}

int coord_apply_sweep(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    static const struct sweep sweeps[] = {
        {"SELECT rowid, tenant, length(value) + length(CAST(key AS BLOB)) FROM coord_values WHERE "
         "expires <= ?1 ORDER BY expires, tenant, key LIMIT 1",
         "DELETE FROM coord_values WHERE rowid = ?1", COORD_USE_KEYS, COORD_USE_BYTES},
        {"SELECT rowid, tenant, 0 FROM coord_limits WHERE full <= ?1 ORDER BY full, tenant, name "
         "LIMIT 1",
         "DELETE FROM coord_limits WHERE rowid = ?1", COORD_USE_BUCKETS, 0},
        {"SELECT rowid, tenant, 0 FROM coord_inbox WHERE expires <= ?1 ORDER BY expires, tenant, "
         "key LIMIT 1",
         "DELETE FROM coord_inbox WHERE rowid = ?1", COORD_USE_INBOX, 0},
        {"SELECT rowid, tenant, length(value) + length(CAST(name AS BLOB)) FROM coord_cache WHERE "
         "expires <= ?1 ORDER BY expires, tenant, name LIMIT 1",
         "DELETE FROM coord_cache WHERE rowid = ?1", COORD_USE_CACHED, COORD_USE_CACHED_BYTES},
        {"SELECT rowid, tenant, 0 FROM coord_flushes WHERE expires <= ?1 ORDER BY expires, tenant, "
         "tag LIMIT 1",
         "DELETE FROM coord_flushes WHERE rowid = ?1", COORD_USE_FLUSHES, 0},
    };
    enum { SWEEPS_FIRST = 3 }; /* of version 1, from before there was a cache */
    size_t count = version == 1 ? SWEEPS_FIRST : ARRAY_LEN(sweeps);
    (void)self;
    uint32_t left = cursor_u32(c), swept = 0;
    int rc = cursor_whole(c, "coord.sweep", e);
    for (size_t i = 0; i < count && rc == 0; i++)
        while (swept < left && (rc = sweep_one(a, &sweeps[i], e)) > 0)
            swept++;
    if (rc < 0)
        return rc;
    buf_add_u32(result, swept);
    return 0;
}
