/* Ledger: what happens because time passes. */
#include "base/log.h"
#include "ledger/ledger_priv.h"

uint64_t ledger_now_ms(struct ledger *l)
{
    return l->world->mono_ns(l->world) / 1000000;
}

uint64_t ledger_next_tick(struct ledger *l)
{
    uint64_t ms = LEDGER_TICK_MS, now = ledger_now_ms(l);
    if (l->write_wait || l->apply_wait)
        ms = LEDGER_RETRY_MS;
    if (l->waits != NULL)
        ms = 50;
    if ((uint64_t)l->o.timeout_ms / 4 < ms)
        ms = (uint64_t)l->o.timeout_ms / 4;
    uint64_t due = consensus_deadline(l->consensus);
    if (due < now + ms)
        ms = due > now ? due - now : 1;
    return ms > 0 ? ms : 1;
}

/* Thresholds with a gap between them, so that a disk on the edge does not flap. */
void ledger_space(struct ledger *l)
{
    uint64_t space, total;
    static const uint64_t gib = (uint64_t)1 << 30;
    if (l->world->disk->space(l->world->disk, l->dir, &space, &total, NULL) < 0)
        return;
    atomic_store(&l->disk_free, space);
    atomic_store(&l->disk_total, total);
    uint64_t low = total / 10 < 5 * gib ? total / 10 : 5 * gib;
    uint64_t full = total / 100 * 3 < gib ? total / 100 * 3 : gib;
    uint64_t enough = total / 100 * 5 < 2 * gib ? total / 100 * 5 : 2 * gib;
    atomic_store(&l->disk_low, space < low);
    bool was = atomic_load(&l->disk_full);
    if (space < full && !was) {
        log_warn("ledger", "the disk is nearly full: only deletes and settlements are taken");
        atomic_store(&l->disk_full, true);
    } else if (was && space >= enough && !l->write_wait && !l->apply_wait) {
        log_info("ledger", "there is space on the disk again");
        atomic_store(&l->disk_full, false);
    }
}

static void ledger_consensus_time(struct ledger *l)
{
    struct err e = ERR_INIT;
    struct consensus_update u;
    uint64_t now = ledger_now_ms(l);
    if (consensus_deadline(l->consensus) > now)
        return;
    int rc = consensus_timeout(l->consensus, now, &u, &e);
    if (rc == 0)
        rc = ledger_carry(l, &u, &e);
    if (rc < 0)
        ledger_die(l, "consensus", &e);
}

void ledger_tick(struct world_timer *t)
{
    struct ledger *l = (struct ledger *)((char *)t - offsetof(struct ledger, timer));
    if (l->dead)
        return;
    ledger_space(l);
    l->write_wait = l->apply_wait = false;
    ledger_consensus_time(l);
    ledger_expire(l);
    ledger_waits_check(l, false);
    if (!l->dead)
        record_tick(l);
    if (l->dead)
        return;
    if (l->flight == NULL && l->queue == NULL) { /* what a flood has needed is not kept for ever */
        entries_free(l->free);
        l->free = NULL;
    }
    l->world->timer_start(l->world, &l->timer, ledger_next_tick(l));
    ledger_run(l); /* may close: the last thing here */
}
