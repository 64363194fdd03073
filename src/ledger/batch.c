/* Ledger: from the inbox to an entry, to the log, to apply, back to those who asked. All of it runs
 * on the world's thread.
 *
 *   inbox -> queue -> [made] -> [written] -> [applied] -> done
 *                     at most one entry is neither written nor being written */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "ledger/entry_priv.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

static void unit_run_done(struct task *t)
{
    struct unit *u = (struct unit *)((char *)t - offsetof(struct unit, task));
    u->done(u);
}

/* The last the ledger sees of it. */
void unit_complete(struct ledger *l, struct unit *u)
{
    atomic_fetch_sub(&l->waiting_bytes, u->bytes);
    atomic_fetch_sub(&l->waiting_units, 1);
    u->task.run = unit_run_done;
    runner_post(u->home, &u->task);
}

/* Move what other threads have pushed (newest first) behind the queue, oldest first. */
static void queue_fill(struct ledger *l)
{
    struct unit *u = atomic_exchange(&l->inbox, NULL);
    struct unit *first = NULL, **tail = NULL;
    while (u != NULL) {
        struct unit *next = u->next;
        u->next = first;
        if (first == NULL)
            tail = &u->next;
        first = u;
        l->queue_units++;
        l->queue_bytes += u->bytes;
        u = next;
    }
    if (first == NULL)
        return;
    *l->queue_tail = first;
    l->queue_tail = tail;
}

static struct unit *queue_pop(struct ledger *l)
{
    struct unit *u = l->queue;
    l->queue = u->next;
    if (l->queue == NULL)
        l->queue_tail = &l->queue;
    l->queue_units--;
    l->queue_bytes -= u->bytes;
    return u;
}

/* ---- entries ---- */

static struct entry *entry_take(struct ledger *l)
{
    struct entry *n = l->free;
    if (n != NULL)
        l->free = n->next;
    else
        n = mem_new(sizeof *n);
    n->next = NULL;
    n->count = 0;
    n->written = false;
    if (n->bytes.data == NULL)
        buf_init(&n->bytes, RECORD_HEADER + RECORD_BYTES_MAX + 8);
    buf_reset(&n->bytes);
    static const uint8_t room[RECORD_HEADER];
    buf_add(&n->bytes, room, sizeof room);
    return n;
}

static void entry_give(struct ledger *l, struct entry *n)
{
    n->next = l->free;
    l->free = n;
}

static void flight_push(struct ledger *l, struct entry *n)
{
    *l->flight_tail = n;
    l->flight_tail = &n->next;
}

static struct entry *flight_pop(struct ledger *l)
{
    struct entry *n = l->flight;
    l->flight = n->next;
    if (l->flight == NULL)
        l->flight_tail = &l->flight;
    return n;
}

static struct entry *flight_unwritten(struct ledger *l)
{
    struct entry *n = l->flight;
    while (n != NULL && n->written)
        n = n->next;
    return n;
}

static const void *entry_payload(const struct entry *n, size_t *len)
{
    *len = n->bytes.len - RECORD_HEADER;
    return n->bytes.data + RECORD_HEADER;
}

/* The first in the queue has waited longest. */
static void entry_note_wait(struct ledger *l)
{
    uint64_t now = l->world->mono_ns(l->world),
             patience = (uint64_t)l->o.timeout_ms * UINT64_C(1000000);
    if (l->queue != NULL && l->queue->deadline_ns >= patience &&
        now >= l->queue->deadline_ns - patience)
        stat_record(l->stats.wait, now - (l->queue->deadline_ns - patience));
}

/* What fits, in order. */
static struct entry *entry_make(struct ledger *l)
{
    struct entry *n = entry_take(l);
    entry_note_wait(l);
    int64_t now = l->world->wall_ms(l->world);
    l->stamped_at = now > l->stamped_at ? now : l->stamped_at;
    n->type = CONSENSUS_UNITS;
    entry_begin(&n->bytes, l->stamped_at);
    while (l->queue != NULL && n->count < LEDGER_ENTRY_UNITS) {
        size_t after = n->bytes.len + 4 + l->queue->bytes;
        if (n->count > 0 && after > LEDGER_ENTRY_BYTES)
            break;
        entry_add(&n->bytes, &l->queue->txn, n->count > 0 ? &n->units[n->count - 1]->txn : NULL);
        if (buf_failed(&n->bytes))
            break;
        n->units[n->count++] = queue_pop(l);
    }
    entry_finish(&n->bytes, RECORD_HEADER, n->count);
    return n;
}

/* Nobody knows what becomes of it any more; or, when it was never written: nothing. */
static void entry_fail(struct ledger *l, struct entry *n, int code, const char *why)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->units[i] == NULL)
            continue;
        err_set(&n->units[i]->err, code, "%s", why);
        unit_complete(l, n->units[i]);
        n->units[i] = NULL;
    }
}

/* Do what the consensus core has decided. */
int ledger_carry(struct ledger *l, const struct consensus_update *u, struct err *e)
{
    if (u->state) {
        struct log_state s = {.node = l->log->state.node, .term = u->term, .vote = u->vote};
        int rc = log_state_put(l->log, &s, e);
        if (rc < 0)
            return err_set(e, ERR_IO, "term and vote cannot be written to log/state");
    }
    for (size_t i = 0; i < u->count; i++) {
        struct entry *n = l->own;
        if (n == NULL || u->entries[i].data != n->bytes.data + RECORD_HEADER) {
            n = entry_take(l); /* the core's own */
            buf_add(&n->bytes, u->entries[i].data, u->entries[i].len);
            if (buf_failed(&n->bytes))
                return err_set(e, ERR_NOMEM, "%zu bytes for an entry", u->entries[i].len);
        }
        l->own = NULL;
        n->index = u->index + i;
        n->term = u->entries[i].term;
        n->type = u->entries[i].type;
        flight_push(l, n);
        atomic_store(&l->last, n->index);
    }
    if (u->commit > l->commit)
        l->commit = u->commit;
    atomic_store(&l->leader, u->leader);
    atomic_store(&l->term_now, u->term);
    return 0;
}

/* ---- the four steps ---- */

static void step_submit(struct ledger *l)
{
    struct err e = ERR_INIT;
    struct consensus_update u;
    struct entry *n = entry_make(l);
    size_t len;
    struct consensus_entry ce = {.type = n->type, .data = entry_payload(n, &len)};
    ce.len = len;
    if (n->count == 0 || buf_failed(&n->bytes)) {
        entry_fail(l, n, ERR_OVERLOADED, "no memory for a log entry; nothing was applied");
        struct unit *first = l->queue != NULL ? queue_pop(l) : NULL;
        if (first != NULL) {
            err_set(&first->err, ERR_OVERLOADED, "no memory for a log entry; nothing was applied");
            unit_complete(l, first);
        }
        entry_give(l, n);
        return;
    }
    l->own = n;
    int rc = consensus_submit(l->consensus, ledger_now_ms(l), &ce, &u, &e);
    if (rc == 0)
        rc = ledger_carry(l, &u, &e);
    else if (rc == ERR_NO_LEADER || rc == ERR_NOMEM) {
        l->own = NULL;
        entry_fail(l, n, rc == ERR_NOMEM ? ERR_OVERLOADED : rc, e.text);
        entry_give(l, n);
        return;
    }
    if (rc < 0)
        ledger_die(l, "a new entry could not be recorded", &e);
}

/* Entry `n` is on disk. */
static void step_persisted(struct ledger *l, struct entry *n)
{
    struct err e = ERR_INIT;
    struct consensus_update u;
    n->written = true;
    stat_record(l->stats.sync, l->log->sync_ns);
    l->sync_avg_ns = (l->sync_avg_ns * 7 + l->log->sync_ns) / 8;
    int rc = consensus_persisted(l->consensus, ledger_now_ms(l), n->index, &u, &e);
    if (rc == 0)
        rc = ledger_carry(l, &u, &e);
    if (rc < 0)
        ledger_die(l, "a written entry could not be recorded", &e);
}

static void step_write_failed(struct ledger *l, int code, const struct err *e)
{
    if (code != ERR_DISK_FULL) {
        ledger_die(l, "the log cannot be written; only a restart is safe", e);
        return;
    }
    if (!atomic_exchange(&l->disk_full, true))
        log_warn("ledger", "the disk is full: writes wait until space returns: %s", e->text);
    l->write_wait = true;
}

/* Does the log thread sync so much? Then entries are applied meanwhile; the way there and back
 * costs 20 to 80 us, which a small write on a fast disk is not worth. */
static bool ledger_syncs_away(const struct ledger *l, size_t units, size_t bytes)
{
    bool occupied = l->checkpoint.running || l->hot_save.running;
    return !occupied && (units >= LEDGER_INLINE_UNITS || bytes >= LOG_INLINE_BYTES ||
                         l->sync_avg_ns >= LEDGER_SLOW_SYNC_NS);
}

static struct entry_view entry_view(struct entry *n)
{
    struct entry_view v = {.index = n->index, .term = n->term, .type = n->type, .units = n->units};
    v.p = entry_payload(n, &v.n);
    return v;
}

/* The device has the entry, and is not done: apply it meanwhile, up to the commit. */
void ledger_ahead(void *arg)
{
    struct ledger *l = arg;
    struct entry *n = l->writing;
    bool next = n == l->flight && n->index == atomic_load(&l->applied) + 1;
    if (!next || n->type != CONSENSUS_UNITS || l->apply_wait)
        return;
    struct entry_view v = entry_view(n);
    if (ledger_apply_begin(l, &v, &l->applying.err) == 0)
        db_commit_soon(l->db);
}

static void step_apply(struct ledger *l);

/* It is durable here. Where it takes others to commit it, that can last: begin again then. */
static void step_ahead(struct ledger *l, uint64_t index)
{
    if (l->dead)
        return;
    if (l->commit >= index && (l->applying.open || l->applying.err.code != 0))
        step_apply(l);
    else if (l->applying.open)
        ledger_apply_undo(l);
    err_clear(&l->applying.err);
}

static void step_writing(struct ledger *l, struct entry *n)
{
    l->writing = n;
    atomic_store(&l->write_began_ns, n != NULL ? l->world->mono_ns(l->world) : 0);
}

static void step_write(struct ledger *l, struct entry *n)
{
    struct err e = ERR_INIT;
    uint64_t index = n->index;
    bool away = ledger_syncs_away(l, n->count, n->bytes.len);
    step_writing(l, n);
    int rc = log_append(l->log, &n->bytes, (uint8_t)n->type, n->index, n->term, away, &e);
    if (rc == 1)
        return;
    step_writing(l, NULL);
    if (rc == 0)
        step_persisted(l, n);
    else
        step_write_failed(l, rc, &e);
    step_ahead(l, index);
}

/* The log thread is done. */
void ledger_written(void *arg, int code)
{
    struct ledger *l = arg;
    struct entry *n = l->writing;
    step_writing(l, NULL);
    if (l->dead)
        return;
    if (code == 0)
        step_persisted(l, n);
    else
        step_write_failed(l, code, &l->log->err);
    if (!l->dead)
        ledger_run(l);
}

void ledger_log_failed(void *arg, const char *why)
{
    struct err e = ERR_INIT;
    err_set(&e, ERR_IO, "%s", why);
    ledger_die(arg, "the log cannot be written; only a restart is safe", &e);
}

static void entry_answer(struct ledger *l, struct entry *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->units[i] != NULL)
            unit_complete(l, n->units[i]);
    }
    atomic_store(&l->committed_at, l->world->wall_ms(l->world));
}

/* What is to be applied next: in flight, or read back. */
static int entry_next_view(struct ledger *l, struct entry_view *v, struct err *e)
{
    uint64_t index = atomic_load(&l->applied) + 1;
    if (l->flight != NULL && l->flight->index == index) {
        *v = entry_view(l->flight);
        return 0;
    }
    struct record r;
    int rc = log_read(l->log, index, &l->scratch, &r, e);
    if (rc < 0)
        return rc;
    *v = (struct entry_view){.index = index,
                             .term = r.term,
                             .type = (enum consensus_type)r.type,
                             .p = r.data,
                             .n = r.len};
    return 0;
}

static int entry_apply(struct ledger *l, const struct entry_view *v, struct err *e)
{
    if (l->applying.err.code != 0) {
        *e = l->applying.err;
        return e->code;
    }
    int rc = l->applying.open ? 0 : ledger_apply_begin(l, v, e);
    return rc < 0 ? rc : ledger_apply_end(l, v, e);
}

static void step_apply(struct ledger *l)
{
    struct err e = ERR_INIT;
    struct entry_view v;
    int rc = entry_next_view(l, &v, &e);
    if (rc == 0)
        rc = entry_apply(l, &v, &e);
    if (rc < 0 && ledger_may_retry(rc)) {
        log_warn("ledger", "an entry cannot be applied now and is tried again: %s", e.text);
        l->apply_wait = true;
        if (rc == ERR_DISK_FULL)
            atomic_store(&l->disk_full, true);
        return;
    }
    if (rc < 0) {
        ledger_die(l, "an entry cannot be applied", &e);
        return;
    }
    if (v.units != NULL) { /* it was in flight */
        struct entry *n = flight_pop(l);
        entry_answer(l, n);
        entry_give(l, n);
    }
    ledger_waits_check(l, false);
}

/* The part of a checkpoint that needs the writer. */
static void step_checkpoint(struct ledger *l)
{
    struct err e = ERR_INIT;
    int rc = snapshot_take(l, &e);
    if (rc == ERR_CANCELED || ledger_may_retry(rc))
        log_debug("ledger", "the checkpoint waits: %s", e.text);
    else if (rc < 0)
        ledger_die(l, "a checkpoint failed", &e);
}

/* Committed, on disk here, and not applied. */
static bool ledger_backlog(const struct ledger *l)
{
    uint64_t next = atomic_load(&l->applied) + 1;
    bool in_flight = l->flight != NULL && l->flight->index == next;
    bool here = in_flight ? l->flight->written : !l->log->busy;
    return !l->apply_wait && next <= l->commit && here && next <= l->log->last;
}

/* One step; false when there is nothing to do. */
static bool ledger_step(struct ledger *l)
{
    queue_fill(l);
    if (l->checkpoint.ready && !l->log->busy) {
        l->checkpoint.ready = false;
        step_checkpoint(l);
        return true;
    }
    bool backlog = ledger_backlog(l);
    bool away = ledger_syncs_away(l, l->queue_units, l->queue_bytes);
    struct entry *unwritten = flight_unwritten(l);
    if (l->queue != NULL && unwritten == NULL && !l->log->busy && (!backlog || away)) {
        step_submit(l);
        return true;
    }
    if (unwritten != NULL && !l->log->busy && !l->write_wait) {
        step_write(l, unwritten);
        return true;
    }
    if (backlog) {
        step_apply(l);
        return true;
    }
    return false;
}

/* ---- time and closing ---- */

/* Those in the queue were never proposed; those in an entry may yet be applied. */
void ledger_expire(struct ledger *l)
{
    uint64_t now = l->world->mono_ns(l->world);
    queue_fill(l);
    while (l->queue != NULL && l->queue->deadline_ns <= now) {
        struct unit *u = queue_pop(l);
        bool leads = atomic_load(&l->leader);
        err_set(&u->err, leads ? ERR_OVERLOADED : ERR_NO_LEADER, "%s",
                leads ? "waited too long to be recorded; nothing was applied"
                      : "no leader was found in time; nothing was applied");
        unit_complete(l, u);
    }
    for (struct entry *n = l->flight; n != NULL; n = n->next) {
        for (uint32_t i = 0; i < n->count; i++) {
            struct unit *u = n->units[i];
            if (u == NULL || u->deadline_ns > now)
                continue;
            err_set(&u->err, ERR_TIMEOUT, "not confirmed within %d ms; it may still be applied",
                    l->o.timeout_ms);
            n->units[i] = NULL;
            unit_complete(l, u);
        }
    }
}

static bool ledger_is_done(struct ledger *l)
{
    bool stuck = l->write_wait || l->apply_wait;
    return atomic_load(&l->closing) && atomic_load(&l->waiting_units) == 0 &&
           (l->flight == NULL || stuck);
}

static void ledger_try_close(struct ledger *l)
{
    struct err e = ERR_INIT;
    bool in_use = atomic_load(&l->scheduled) || atomic_load(&l->callers) > 0 ||
                  l->checkpoint.running || l->hot_save.running;
    if (!log_may_close(l->log) || in_use) {
        l->world->timer_start(l->world, &l->timer, 1);
        return;
    }
    if (hot_save_now(l, &e) < 0 || snapshot_take(l, &e) < 0)
        log_warn("ledger", "no checkpoint at the end, the next start replays: %s", e.text);
    ledger_waits_check(l, true);
    void (*closed)(void *) = l->closed;
    void *arg = l->closed_arg;
    ledger_free(l);
    closed(arg);
}

/* As far as it goes; the ledger may be gone afterwards. */
void ledger_run(struct ledger *l)
{
    int rounds = 0;
    if (!l->dead && snapshot_is_due(l))
        snapshot_begin(l);
    while (!l->dead && rounds < LEDGER_ROUNDS && ledger_step(l))
        rounds++;
    stat_set(l->stats.waiting_units, (int64_t)atomic_load(&l->waiting_units));
    stat_set(l->stats.waiting_bytes, (int64_t)atomic_load(&l->waiting_bytes));
    if (l->dead)
        return;
    if (ledger_is_done(l))
        ledger_try_close(l);
    else if (rounds == LEDGER_ROUNDS)
        ledger_wake(l);
}

void ledger_pump(struct task *t)
{
    struct ledger *l = (struct ledger *)((char *)t - offsetof(struct ledger, task));
    atomic_store(&l->scheduled, false);
    if (!l->dead && atomic_load(&l->waits_inbox) != NULL) {
        ledger_waits_check(l, false);
        l->world->timer_start(l->world, &l->timer, ledger_next_tick(l));
    }
    ledger_run(l);
}
