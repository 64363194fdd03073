/* Waits of records that are over: nobody else ends them, for the queue knows of no waits, and who
 * waits has no say in its own cancel or deadline. Who leads goes through the waits from time to
 * time, some at once, and proposes the end of those whose record is over.
 *
 *     timer --> rows, beside the queue as it stands --> unit: if over, bus.wait_end .. --> timer
 *
 * The condition makes it safe: a record that is tried again meanwhile keeps its wait. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "io/world.h"
#include "ledger/txn.h"
#include "queue/queue.h"

enum {
    OVER_LOOK_MS = 1000,
    OVER_ROWS = 500, /* looked at in one go */
};

static void over_arm(struct bus *b, uint64_t delay_ms)
{
    if (!b->stopped)
        b->world->timer_start(b->world, &b->over.timer, delay_ms);
}

static void over_done(struct unit *u)
{
    struct bus *b = LIST_OF(u, struct bus, over.unit);
    int code = u->err.code;
    if (code != 0 && code != ERR_CONFLICT && code != ERR_NO_LEADER && code != ERR_DRAINING)
        log_warn("bus", "waits of records that are over stay: %s", u->err.text);
    unit_fini(u);
    b->over.flying = false;
    over_arm(b, code == 0 ? 0 : OVER_LOOK_MS);
}

/* Columns: place, record, name, tenant. Those of the first's tenant: a unit has one. */
static void over_row(struct bus *b, struct db_stmt *s, const struct core *c)
{
    struct bus_over *o = &b->over;
    struct txn *t = &o->unit.txn;
    struct core_view v;
    struct uuid record;
    size_t n;
    const void *id = db_col_blob(s, 1, &n);
    const char *tenant = db_col_text(s, 3, NULL);
    if (id == NULL || n != sizeof record.b)
        return;
    memcpy(record.b, id, n);
    if (core_look(c, &record, &v, NULL) == 0 && v.state < REC_COMPLETED)
        return;
    if (t->ops == 0) {
        snprintf(o->tenant, sizeof o->tenant, "%s", tenant);
        txn_envelope(t, &(struct envelope){.tenant = o->tenant, .reason = "its record is over"});
    } else if (strcmp(o->tenant, tenant) != 0) {
        return;
    }
    queue_txn_if_over(t, &record);
    bus_txn_wait_end(t, &record, db_col_text(s, 2, NULL));
}

static int over_rows(struct bus *b, const struct core *c, struct err *e)
{
    struct bus_over *o = &b->over;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->db,
                                    "SELECT place, record, name, tenant FROM bus_waits WHERE place "
                                    "> ?1 ORDER BY place LIMIT ?2",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, o->after);
    db_bind_int(s, 2, OVER_ROWS);
    int rc = 0, seen = 0;
    for (; o->unit.txn.ops < 2 * BUS_WAKES && (rc = db_step(s, e)) > 0; seen++) {
        o->after = db_col_int(s, 0);
        over_row(b, s, c);
    }
    if (rc == 0 && seen < OVER_ROWS)
        o->after = 0;
    return rc < 0 ? rc : 0;
}

static void over_ask(struct queue_ask *a, const struct core *c)
{
    struct bus *b = LIST_OF(a, struct bus, over.ask);
    struct err e = ERR_INIT;
    struct ledger_status now;
    if (b->stopped)
        return;
    ledger_status(b->ledger, &now);
    if (!now.leader)
        return;
    unit_init(&b->over.unit, b->world->runner, over_done);
    b->over.unit.txn.urgent = true;
    b->over.unit.txn.grows = false;
    int rc = over_rows(b, c, &e);
    if (rc == 0 && b->over.unit.txn.ops > 0) {
        rc = ledger_propose(b->ledger, &b->over.unit, &e);
        b->over.flying = rc == 0;
    }
    if (!b->over.flying)
        unit_fini(&b->over.unit);
    if (rc != 0)
        log_warn("bus", "waits of records that are over stay: %s", e.text);
}

static void over_asked(struct queue_ask *a)
{
    struct bus *b = LIST_OF(a, struct bus, over.ask);
    b->over.asking = false;
    if (!b->over.flying)
        over_arm(b, OVER_LOOK_MS);
}

static void over_fire(struct world_timer *t)
{
    struct bus *b = LIST_OF(t, struct bus, over.timer);
    if (b->stopped || b->over.asking || b->over.flying)
        return;
    b->over.asking = true;
    queues_ask(b->over.queues, &b->over.ask);
}

void bus_watch(struct bus *b, struct queues *q)
{
    b->over.queues = q;
    b->over.timer.fire = over_fire;
    b->over.ask = (struct queue_ask){.home = b->world->runner, .ask = over_ask, .done = over_asked};
    over_arm(b, OVER_LOOK_MS);
}

void bus_over_stop(struct bus *b)
{
    if (b->over.queues != NULL)
        b->world->timer_stop(b->world, &b->over.timer);
}
