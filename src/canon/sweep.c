/* Failed arrivals go when they are old.
 *
 *   timer ---> is one old enough? ---> unit: canon.sweep ---> applied: as many as the unit may
 *     ^            | no                                         | all that it may: next unit
 *     +------------+--------------------------------------------+ fewer
 *
 * What is old is decided when the unit is applied, by ledger time, so all copies remove the same
 * rows; the look before it only saves a unit that would remove nothing. */
#include "canon/sweep_priv.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "canon/apply_priv.h"
#include "canon/canon_priv.h"
#include "canon/gather_priv.h"
#include "canon/ops_priv.h"
#include "canon/store_priv.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"

struct sweeper {
    struct canon *canon;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    struct unit unit;
    bool under_way, stopped;
};

static void sweeper_look(struct sweeper *w);

static uint32_t sweeper_removed(const struct unit *u)
{
    struct cursor c;
    return u->err.code == 0 && unit_result(u, 0, &c) ? cursor_u32(&c) : 0;
}

static void sweeper_done(struct unit *u)
{
    struct sweeper *w = LIST_OF(u, struct sweeper, unit);
    uint32_t removed = sweeper_removed(u);
    if (u->err.code != 0)
        log_warn("canon", "old failed arrivals stay: %s", u->err.text);
    unit_fini(u);
    w->under_way = false;
    if (w->stopped)
        return;
    if (removed == CANON_SWEEP_MAX)
        sweeper_look(w);
    else
        w->world->timer_start(w->world, &w->timer, CANON_SWEEP_MS);
}

static void sweeper_propose(struct sweeper *w)
{
    struct err e = ERR_INIT;
    unit_init(&w->unit, w->world->runner, sweeper_done);
    w->unit.txn.grows = false;
    canon_op_sweep(&w->unit.txn, CANON_FAILED_KEEP_MS, CANON_SWEEP_MAX);
    w->under_way = true;
    if (ledger_propose(w->ledger, &w->unit, &e) == 0)
        return;
    w->unit.err = e;
    sweeper_done(&w->unit);
}

static void sweeper_look(struct sweeper *w)
{
    struct err e = ERR_INIT;
    int64_t oldest;
    int rc = store_failed_oldest(canon_writer(w->canon), &oldest, &e);
    if (rc == 0 && oldest <= w->world->wall_ms(w->world) - CANON_FAILED_KEEP_MS) {
        sweeper_propose(w);
        return;
    }
    if (rc != 0 && rc != ERR_NOT_FOUND)
        log_warn("canon", "old failed arrivals: %s", e.text);
    w->world->timer_start(w->world, &w->timer, CANON_SWEEP_MS);
}

static void sweeper_fire(struct world_timer *t)
{
    sweeper_look(LIST_OF(t, struct sweeper, timer));
}

struct sweeper *sweeper_new(struct canon *c, struct ledger *l, struct world *w)
{
    struct sweeper *s = mem_new(sizeof *s);
    s->canon = c;
    s->ledger = l;
    s->world = w;
    s->timer.fire = sweeper_fire;
    w->timer_start(w, &s->timer, CANON_SWEEP_MS);
    return s;
}

void sweeper_stop(struct sweeper *s)
{
    s->stopped = true;
    s->world->timer_stop(s->world, &s->timer);
}

void sweeper_free(struct sweeper *s)
{
    if (s == NULL)
        return;
    if (s->under_way) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&s->unit);
    mem_free(s);
}

/* ---- the operation ---- */

int canon_apply_sweep(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.sweep", 0, 0, 2, &p, e);
    uint32_t removed = 0;
    if (rc == 0)
        rc = gather_flush(canon_gather(self), a, e);
    int64_t before = a->at - (int64_t)p.number[0];
    for (uint64_t left = p.number[1]; left > 0 && rc == 0; left--) {
        rc = store_failed_remove(a->db, before, e);
        removed += rc == 0;
    }
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    buf_add_u32(result, removed);
    return 0;
}
