/* What who leads proposes: records whose message came are woken, groups that are behind are fed,
 * rows whose time is over go. One unit at a time, on the ledger's thread.
 *
 *     commit, or timer --> wake? feed? sweep? --> unit --> applied --> again, at once or later */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "io/world.h"
#include "ledger/txn.h"

static uint64_t clock_mono_ms(struct bus *b)
{
    return b->world->mono_ns(b->world) / 1000000;
}

static void clock_arm(struct bus *b, uint64_t delay_ms)
{
    b->armed_ms = clock_mono_ms(b) + delay_ms;
    b->world->timer_start(b->world, &b->timer, delay_ms);
}

static bool clock_has_work(struct bus *b)
{
    bool feeds = b->routes->feeding && b->stuck_group[0] == '\0';
    return b->met || feeds || b->spare <= b->world->wall_ms(b->world);
}

static int clock_sweep(struct bus *b, struct txn *t)
{
    if (b->spare > b->world->wall_ms(b->world))
        return 0;
    txn_envelope(t, &(struct envelope){.reason = "its time was over"});
    buf_add_u32(txn_begin(t, BUS_OP_SWEEP, 1), BUS_SWEEP_ROWS);
    txn_end(t);
    b->doing.what = BUS_SWEEPS;
    return 0;
}

/* When a row may go next, as the rows say. */
static int clock_look(struct bus *b, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->db,
                                    "SELECT (SELECT min(until) FROM bus_retained), (SELECT "
                                    "min(until) FROM bus_waits)",
                                    e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc < 0)
        return rc;
    b->spare = INT64_MAX;
    if (!db_col_is_null(s, 0))
        b->spare = db_col_int(s, 0);
    if (!db_col_is_null(s, 1) && db_col_int(s, 1) + BUS_WAIT_KEPT_MS < b->spare)
        b->spare = db_col_int(s, 1) + BUS_WAIT_KEPT_MS;
    return 0;
}

static void clock_done(struct unit *u)
{
    struct bus *b = (struct bus *)((char *)u - offsetof(struct bus, unit));
    struct err e = u->err;
    enum bus_what what = b->doing.what;
    bool again = what == BUS_FEEDS    ? bus_fed(b, u)
                 : what == BUS_SWEEPS ? e.code == 0
                                      : bus_woke(b, u);
    b->flying = false;
    unit_fini(u);
    if (b->stopped)
        return;
    if (again && what == BUS_SWEEPS && clock_look(b, &e) != 0)
        again = false;
    if (!again && e.code != ERR_NO_LEADER && e.code != ERR_DRAINING)
        log_warn("bus", "%s: %s", what == BUS_FEEDS ? b->doing.group : "topics", e.text);
    clock_arm(b, again && clock_has_work(b) ? 0 : BUS_LOOK_MS);
}

static int clock_gather(struct bus *b, struct txn *t, struct err *e)
{
    int rc = 0;
    b->doing.what = BUS_DOES_NOTHING;
    t->urgent = true;
    if (b->met || b->gone.met > 0)
        rc = bus_wake(b, t, e);
    if (rc == 0 && t->ops == 0)
        rc = clock_sweep(b, t);
    t->grows = false;
    if (rc == 0 && t->ops == 0 && b->routes->feeding) {
        t->grows = true;
        t->urgent = false;
        rc = bus_feed(b, t, e);
    }
    return rc;
}

static void clock_fire(struct world_timer *timer)
{
    struct bus *b = (struct bus *)((char *)timer - offsetof(struct bus, timer));
    struct err e = ERR_INIT;
    struct ledger_status s;
    b->armed_ms = UINT64_MAX;
    if (b->stopped || b->flying)
        return;
    ledger_status(b->ledger, &s);
    if (!s.leader) {
        b->woken_met = b->woken_place = 0; /* whoever leads next begins anew */
        b->met = true;
        clock_arm(b, BUS_LOOK_MS);
        return;
    }
    unit_init(&b->unit, b->world->runner, clock_done);
    int rc = b->spare == 0 ? clock_look(b, &e) : 0;
    if (rc == 0)
        rc = clock_gather(b, &b->unit.txn, &e);
    if (rc == 0 && b->unit.txn.ops > 0) {
        rc = ledger_propose(b->ledger, &b->unit, &e);
        b->flying = rc == 0;
    }
    if (b->flying)
        return;
    unit_fini(&b->unit);
    if (rc != 0)
        log_warn("bus", "topics: %s", e.text);
    clock_arm(b, BUS_LOOK_MS);
}

void bus_passed(struct bus *b)
{
    if (!b->stopped && !b->flying && clock_has_work(b) && b->armed_ms > clock_mono_ms(b))
        clock_arm(b, 0);
}

void bus_start(struct bus *b, struct ledger *l, struct world *w)
{
    b->ledger = l;
    b->world = w;
    b->timer.fire = clock_fire;
    b->met = true;
    b->spare = 0; /* looks it up */
    clock_arm(b, 0);
}

void bus_stop(struct bus *b)
{
    b->stopped = true;
    if (b->world != NULL)
        b->world->timer_stop(b->world, &b->timer);
    bus_over_stop(b);
}
