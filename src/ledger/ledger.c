#include "ledger/ledger.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

void ledger_die(struct ledger *l, const char *what, const struct err *e)
{
    AUTO(mem_freep) char *why = mem_printf("ledger: %s: %s", what, e->text);
    l->dead = true;
    l->world->die(l->world, why);
}

void ledger_wake(struct ledger *l)
{
    if (!atomic_exchange(&l->scheduled, true))
        runner_post(l->world->runner, &l->task);
}

struct op_ref ledger_op(const struct ledger *l, uint16_t type)
{
    const struct op_ref *block = l->ops[type >> 8];
    return block == NULL ? (struct op_ref){0} : block[type & 0xff];
}

/* ---- closing ---- */

void entries_free(struct entry *n)
{
    while (n != NULL) {
        struct entry *next = n->next;
        buf_fini(&n->bytes);
        mem_free(n);
        n = next;
    }
}

void ledger_free(struct ledger *l)
{
    l->world->timer_stop(l->world, &l->timer);
    consensus_free(l->consensus);
    hot_free(l);
    db_close(l->checkpoint.db);
    db_close(l->db);
    log_close(l->log);
    entries_free(l->flight);
    entries_free(l->free);
    pthread_mutex_destroy(&l->held_lock);
    buf_fini(&l->scratch);
    buf_fini(&l->outcome.results);
    buf_fini(&l->snapshot.members);
    for (size_t i = 0; i < ARRAY_LEN(l->ops); i++)
        mem_free(l->ops[i]);
    mem_free(l->domains);
    mem_free(l->dir);
    mem_free(l->db_path);
    mem_free(l);
}

void ledger_drop(struct ledger *l)
{
    if (l != NULL)
        ledger_free(l);
}

void ledger_close(struct ledger *l, void (*closed)(void *arg), void *arg)
{
    l->closed = closed;
    l->closed_arg = arg;
    atomic_store(&l->closing, true);
    ledger_wake(l);
}

/* ---- units ---- */

void unit_init(struct unit *u, struct runner *home, void (*done)(struct unit *u))
{
    *u = (struct unit){.home = home, .done = done, .failed_op = -1};
    txn_init(&u->txn);
    buf_init(&u->results, LEDGER_RESULT_BYTES_MAX);
}

void unit_fini(struct unit *u)
{
    txn_fini(&u->txn);
    buf_fini(&u->results);
}

bool unit_result(const struct unit *u, uint32_t i, struct cursor *out)
{
    struct cursor c;
    size_t n = 0;
    const void *p = NULL;
    cursor_init(&c, u->results.data, u->results.len);
    for (uint32_t at = 0; at <= i; at++) {
        p = cursor_bytes(&c, &n);
        if (p == NULL)
            return false;
    }
    cursor_init(out, p, n);
    return true;
}

/* A unit that no node can apply must not enter the log: it would halt them all. */
static int propose_check_ops(const struct ledger *l, const struct txn *t, struct err *e)
{
    struct txn_view v = {.body = (const uint8_t *)t->body.data, .body_len = t->body.len};
    struct txn_op op;
    for (struct cursor c = txn_ops(&v); txn_next(&c, &op);) {
        struct op_ref ref = ledger_op(l, op.type);
        if (ref.op == NULL || op.version < 1 || op.version > ref.op->version_max)
            return err_set(e, ERR_UNSUPPORTED, "operation 0x%04x version %u is not known here",
                           op.type, op.version);
    }
    return 0;
}

static int propose_check_state(struct ledger *l, const struct unit *u, struct err *e)
{
    if (atomic_load(&l->closing))
        return err_set(e, ERR_DRAINING, "this node is shutting down; ask another");
    if (!atomic_load(&l->leader))
        return err_set(e, ERR_NO_LEADER, "there is no leader; nothing was applied");
    if (u->txn.grows && atomic_load(&l->disk_full))
        return err_set(e, ERR_DISK_FULL,
                       "the disk of this node is nearly full; only deletes, settlements and "
                       "settings are taken until space returns");
    return 0;
}

/* Counts the unit in, unless there is no room. */
static int propose_enter(struct ledger *l, const struct unit *u, struct err *e)
{
    uint64_t share = u->txn.urgent ? 4 : 3; /* quarters */
    uint64_t units = atomic_fetch_add(&l->waiting_units, 1) + 1;
    uint64_t bytes = atomic_fetch_add(&l->waiting_bytes, u->bytes) + u->bytes;
    if (units <= LEDGER_WAITING_UNITS / 4 * share && bytes <= LEDGER_WAITING_BYTES / 4 * share)
        return 0;
    atomic_fetch_sub(&l->waiting_units, 1);
    atomic_fetch_sub(&l->waiting_bytes, u->bytes);
    return err_set(e, ERR_OVERLOADED,
                   "%llu units of work (%llu bytes) are waiting already; nothing was applied",
                   (unsigned long long)units - 1, (unsigned long long)(bytes - u->bytes));
}

static int propose(struct ledger *l, struct unit *u, struct err *e)
{
    int rc = txn_check(&u->txn, e);
    if (rc == 0)
        rc = propose_check_ops(l, &u->txn, e);
    if (rc == 0)
        rc = propose_check_state(l, u, e);
    if (rc < 0)
        return rc;
    u->bytes = txn_bytes(&u->txn);
    rc = propose_enter(l, u, e);
    if (rc < 0)
        return rc;
    err_clear(&u->err);
    u->failed_op = -1;
    u->seq = 0;
    u->at = 0;
    u->repeated = false;
    buf_reset(&u->results);
    u->deadline_ns = l->world->mono_ns(l->world) + (uint64_t)l->o.timeout_ms * 1000000;
    struct unit *head = atomic_load(&l->inbox);
    do
        u->next = head;
    while (!atomic_compare_exchange_weak(&l->inbox, &head, u));
    ledger_wake(l);
    return 0;
}

int ledger_propose(struct ledger *l, struct unit *u, struct err *e)
{
    atomic_fetch_add(&l->callers, 1);
    int rc = propose(l, u, e);
    atomic_fetch_sub(&l->callers, 1);
    return rc;
}

/* ---- reading, waiting and watching ---- */

static int read_entry(struct ledger *l, uint64_t index, struct buf *out, struct err *e)
{
    AUTO(log_reader_fini) struct log_reader reader;
    struct record r;
    log_reader_init(&reader, l->log, LEDGER_READ_WINDOW);
    if (index > atomic_load(&l->applied))
        return err_set(e, ERR_NOT_FOUND, "log entry %llu is not applied yet",
                       (unsigned long long)index);
    int rc = log_reader_read(&reader, index, &r, e);
    if (rc < 0)
        return rc;
    buf_reset(out);
    buf_add(out, r.data, r.len);
    return buf_check(out, "a log entry", e);
}

int ledger_read(struct ledger *l, uint64_t index, struct buf *out, struct err *e)
{
    struct err words = ERR_INIT; /* the code is needed even where the caller wants no words */
    atomic_fetch_add(&l->callers, 1);
    int rc = read_entry(l, index, out, &words);
    atomic_fetch_sub(&l->callers, 1);
    return rc == 0 ? 0 : err_set(e, rc, "%s", words.text);
}

uint64_t ledger_applied(const struct ledger *l)
{
    return atomic_load(&l->applied);
}

void ledger_wait(struct ledger *l, struct ledger_wait *w, int timeout_ms)
{
    w->code = 0;
    if (atomic_load(&l->applied) >= w->seq) {
        runner_post(w->home, &w->task);
        return;
    }
    atomic_fetch_add(&l->callers, 1);
    w->deadline_ns = l->world->mono_ns(l->world) + (uint64_t)timeout_ms * 1000000;
    struct ledger_wait *head = atomic_load(&l->waits_inbox);
    do
        w->next = head;
    while (!atomic_compare_exchange_weak(&l->waits_inbox, &head, w));
    ledger_wake(l);
    atomic_fetch_sub(&l->callers, 1);
}

/* Answer those whose entry has been applied, and those whose time is over; all at the end. */
void ledger_waits_check(struct ledger *l, bool all)
{
    struct ledger_wait *w = atomic_exchange(&l->waits_inbox, NULL);
    while (w != NULL) {
        struct ledger_wait *next = w->next;
        w->next = l->waits;
        l->waits = w;
        w = next;
    }
    if (l->waits == NULL)
        return;
    uint64_t applied = atomic_load(&l->applied), now = l->world->mono_ns(l->world);
    for (struct ledger_wait **at = &l->waits; (w = *at) != NULL;) {
        bool late = all || w->deadline_ns <= now;
        if (applied < w->seq && !late) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->code = applied >= w->seq ? 0 : ERR_TIMEOUT;
        runner_post(w->home, &w->task);
    }
}

void ledger_watch(struct ledger *l, struct ledger_watch *w)
{
    w->next = l->watches;
    l->watches = w;
}

void ledger_status(const struct ledger *l, struct ledger_status *out)
{
    *out = (struct ledger_status){
        .applied = atomic_load(&l->applied),
        .last = atomic_load(&l->last),
        .term = atomic_load(&l->term_now),
        .snapshot = atomic_load(&l->snapshot_index),
        .first_kept = atomic_load(&l->first_kept),
        .last_commit_at = atomic_load(&l->committed_at),
        .waiting_units = atomic_load(&l->waiting_units),
        .waiting_bytes = atomic_load(&l->waiting_bytes),
        .hash = atomic_load(&l->kept_hash),
        .hash_seq = atomic_load(&l->kept_seq),
        .disk_free = atomic_load(&l->disk_free),
        .disk_total = atomic_load(&l->disk_total),
        .leader = atomic_load(&l->leader),
        .disk_low = atomic_load(&l->disk_low),
        .disk_full = atomic_load(&l->disk_full),
    };
}

double ledger_write_lag_s(const struct ledger *l)
{
    uint64_t began = atomic_load(&l->write_began_ns), now = l->world->mono_ns(l->world);
    return began == 0 || now < began ? 0 : (double)(now - began) / 1e9;
}

const char *ledger_db_path(const struct ledger *l)
{
    return l->db_path;
}
