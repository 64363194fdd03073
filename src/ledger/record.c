/* Ledger: how far the database says that it goes.
 *
 * Two positions. `applied` is the last entry that is applied, and what everybody is told;
 * `recorded` is what local_meta says, and where a start begins. Between them lie only entries that
 * have changed no row, so a start that applies them again finds the rows that they found the first
 * time: just as after a power cut that took SQLite's last transactions.
 *
 * An entry is recorded in its own transaction, with its rows. One that has changed only memory is
 * not: it would write a page or two, and a checkpoint would have to sync them all. What is behind
 * is recorded by the next that is, and
 *   1. with what must not be ahead of it: the position of a saved state, a manifest;
 *   2. before an operation on rows is applied: in an entry local_meta is the one before, always;
 *   3. every LEDGER_HASH_ENTRIES entries and LEDGER_RECORD_BYTES of log;
 *   4. within a second, as readers see the time there, and as only the database can tell a last
 *      record of the log that has rotted from one that was never finished. */
#include "base/log.h"
#include "db/db.h"
#include "ledger/entry_priv.h"
#include "ledger/ledger_priv.h"

/* Also where it cannot be read: why, is found when it is applied. */
static bool entry_has_rows(const struct ledger *l, const struct entry_view *v)
{
    struct entry_head head;
    struct cursor c, ops;
    struct txn_op op;
    size_t n;
    if (v->type != CONSENSUS_UNITS || entry_open(v->p, v->n, &head, &c, NULL) < 0)
        return true;
    for (uint32_t i = 0; i < head.units; i++) {
        const void *p = entry_next(&c, &n);
        if (p == NULL || !txn_peek(p, n, &ops))
            return true;
        while (txn_next(&ops, &op)) {
            struct op_ref ref = ledger_op(l, op.type);
            if (ref.op == NULL || ref.domain->hot == NULL)
                return true;
        }
    }
    return false;
}

static int begin_behind(struct ledger *l, struct err *e)
{
    int rc = db_begin(l->db, e);
    if (rc < 0 || l->recorded == atomic_load(&l->applied))
        return rc;
    rc = record_put(l, e);
    if (rc < 0)
        db_rollback(l->db);
    return rc;
}

int record_begin(struct ledger *l, const struct entry_view *v, struct err *e)
{
    l->applying.rows = entry_has_rows(l, v);
    return l->applying.rows ? begin_behind(l, e) : db_begin_late(l->db, e);
}

bool record_is_due(const struct ledger *l, const struct entry_view *v)
{
    return v->type != CONSENSUS_UNITS || l->applying.rows || v->index % LEDGER_HASH_ENTRIES == 0 ||
           l->unrecorded_bytes + v->n >= LEDGER_RECORD_BYTES || db_is_written(l->db);
}

int record_put(struct ledger *l, struct err *e)
{
    struct store_meta m = {.seq = atomic_load(&l->applied),
                           .term = l->applied_term,
                           .at = l->applied_at,
                           .hash = db_hash(l->db),
                           .kept_seq = atomic_load(&l->kept_seq),
                           .kept_hash = atomic_load(&l->kept_hash)};
    return store_meta_put(l->db, &m, e);
}

void record_done(struct ledger *l)
{
    l->recorded = atomic_load(&l->applied);
    l->unrecorded_bytes = 0;
}

int record_now(struct ledger *l, struct err *e)
{
    ASSERT(!l->applying.open);
    if (l->recorded == atomic_load(&l->applied))
        return 0;
    int rc = db_begin(l->db, e);
    if (rc < 0)
        return rc;
    rc = record_put(l, e);
    if (rc == 0)
        rc = db_commit(l->db, e);
    if (rc < 0)
        db_rollback(l->db);
    else
        record_done(l);
    return rc;
}

void record_tick(struct ledger *l)
{
    struct err e = ERR_INIT;
    int rc = record_now(l, &e);
    if (rc < 0 && ledger_may_retry(rc))
        log_debug("ledger", "the applied entry is recorded later: %s", e.text);
    else if (rc < 0)
        ledger_die(l, "the applied entry cannot be recorded", &e);
}
