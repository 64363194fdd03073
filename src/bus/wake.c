/* Records whose message has come: those are woken that were not told yet. What was told is kept in
 * memory alone: who begins to lead tells all again whose waits have not ended, which does nothing
 * to a record that does not wait. */
#include <string.h>

#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "ledger/txn.h"
#include "queue/queue.h"

static int waiter_read(struct db_stmt *s, struct bus_waiter *w, struct err *e)
{
    size_t n;
    w->met = db_col_int(s, 0);
    w->place = db_col_int(s, 1);
    const void *id = db_col_blob(s, 2, &n);
    if (id == NULL || n != sizeof w->record.b)
        return err_set(e, ERR_CORRUPT, "a wait has no record");
    memcpy(w->record.b, id, n);
    snprintf(w->tenant, sizeof w->tenant, "%s", db_col_text(s, 3, NULL));
    snprintf(w->name, sizeof w->name, "%s", db_col_text(s, 4, NULL));
    return 0;
}

static int waiters_read(struct bus *b, struct err *e)
{
    struct bus_doing *d = &b->doing;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->db,
                                    "SELECT met, place, record, tenant, name FROM bus_waits WHERE "
                                    "met > 0 AND (met, place) > (?1, ?2) ORDER BY met, place LIMIT "
                                    "?3",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, b->woken_met);
    db_bind_int(s, 2, b->woken_place);
    db_bind_int(s, 3, BUS_WAKES);
    int rc = 0;
    d->waiters_count = 0;
    while (rc == 0 && (rc = db_step(s, e)) > 0)
        rc = waiter_read(s, &d->waiters[d->waiters_count++], e);
    return rc;
}

int bus_wake(struct bus *b, struct txn *t, struct err *e)
{
    struct bus_doing *d = &b->doing;
    if (b->gone.met > 0) {
        txn_envelope(t, &(struct envelope){.tenant = b->gone.tenant, .reason = "it is no more"});
        bus_txn_wait_end(t, &b->gone.record, b->gone.name);
        d->what = BUS_FORGETS;
        return 0;
    }
    int rc = waiters_read(b, e);
    if (rc != 0)
        return rc;
    b->met = d->waiters_count > 0;
    for (size_t i = 0; i < d->waiters_count; i++)
        queue_txn_wake(t, &d->waiters[i].record);
    if (d->waiters_count > 0) {
        txn_envelope(t, &(struct envelope){.reason = "its message has come"});
        d->what = BUS_WAKES_SOME;
    }
    return 0;
}

bool bus_woke(struct bus *b, const struct unit *u)
{
    struct bus_doing *d = &b->doing;
    if (d->what == BUS_FORGETS) {
        b->gone.met = 0;
        return u->err.code == 0;
    }
    if (u->err.code == 0) {
        b->woken_met = d->waiters[d->waiters_count - 1].met;
        b->woken_place = d->waiters[d->waiters_count - 1].place;
        return true;
    }
    if (u->err.code != ERR_NOT_FOUND || u->failed_op < 0 ||
        (size_t)u->failed_op >= d->waiters_count)
        return false;
    b->gone = d->waiters[u->failed_op]; /* the record, and so its wait */
    return true;
}
