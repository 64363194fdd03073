/* Ledger: one entry into the database, in one transaction. */
#include <string.h>

#include "base/log.h"
#include "base/stat.h"
#include "db/db.h"
#include "ledger/entry_priv.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"
#include "ledger/once.h"

/* A unit being applied. */
struct unit_apply {
    struct ledger *l;
    struct apply a;
    struct txn_view view;
    const uint8_t *payload; /* of the entry */
    bool needs_savepoint;
};

bool ledger_code_is_ours(int code)
{
    return code == ERR_IO || code == ERR_NOMEM || code == ERR_DISK_FULL || code == ERR_CORRUPT ||
           code == ERR_CANCELED;
}

bool ledger_may_retry(int code)
{
    return code == ERR_NOMEM || code == ERR_DISK_FULL || code == ERR_CANCELED;
}

static int outcome_refused(struct outcome *o, int code, uint32_t at)
{
    if (o->err.code == 0)
        err_set(&o->err, code, "%s", err_info(code)->title);
    o->failed_op = (int)at;
    buf_reset(&o->results);
    return 1;
}

int ledger_op_known(const struct ledger *l, uint64_t seq, const struct txn_op *op,
                    struct op_ref *ref, struct err *e)
{
    *ref = ledger_op(l, op->type);
    if (ref->op != NULL && op->version >= 1 && op->version <= ref->op->version_max)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "log entry %llu holds operation 0x%04x version %u, which this program does not "
                   "know: it was written by a newer one; run that version, the data is whole",
                   (unsigned long long)seq, op->type, op->version);
}

static int unit_run_op(struct unit_apply *u, const struct op_ref *ref, struct txn_op *op,
                       uint32_t at, struct err *e)
{
    struct outcome *o = &u->l->outcome;
    size_t length_at = o->results.len;
    buf_add_u32(&o->results, 0);
    u->a.offset = (uint32_t)(op->payload.p - u->payload);
    int rc =
        ref->op->apply(ref->domain->self, &u->a, op->version, &op->payload, &o->results, &o->err);
    if (rc < 0 && ledger_code_is_ours(rc)) {
        *e = o->err;
        err_context(e, "log entry %llu, %s", (unsigned long long)u->a.seq, ref->op->name);
        return rc;
    }
    if (rc < 0 && ref->op->safety == DOMAIN_SURE)
        return err_set(e, ERR_CORRUPT, "log entry %llu: %s refused, which it never may: %s",
                       (unsigned long long)u->a.seq, ref->op->name, o->err.text);
    if (rc == 0)
        rc = buf_check(&o->results, "the result of one unit", &o->err);
    if (rc == ERR_NOMEM) { /* other nodes have it: a refusal here would part us from them */
        *e = o->err;
        return err_context(e, "log entry %llu, %s", (unsigned long long)u->a.seq, ref->op->name);
    }
    if (rc < 0)
        return outcome_refused(o, rc, at);
    buf_put_u32(&o->results, length_at, (uint32_t)(o->results.len - length_at - 4));
    if (ref->op->hot)
        hot_count(u->l, ref->domain);
    return 0;
}

/* Conditions before anything is written. 1: one does not hold. Leaves only empty results behind. */
static int unit_conditions(struct unit_apply *u, struct err *e)
{
    struct txn_op op;
    uint32_t at = 0, writes = 0;
    bool safe = true;
    for (struct cursor c = txn_ops(&u->view); txn_next(&c, &op); at++) {
        struct op_ref ref;
        int rc = ledger_op_known(u->l, u->a.seq, &op, &ref, e);
        if (rc < 0)
            return rc;
        if (!ref.op->is_condition) {
            writes++;
            safe &=
                ref.op->safety == DOMAIN_SURE || (writes == 1 && ref.op->safety == DOMAIN_ATOMIC);
            continue;
        }
        rc = unit_run_op(u, &ref, &op, at, e);
        if (rc != 0)
            return rc;
        buf_reset(&u->l->outcome.results);
    }
    u->needs_savepoint = !safe;
    return 0;
}

static int unit_operations(struct unit_apply *u, struct err *e)
{
    struct txn_op op;
    uint32_t at = 0;
    for (struct cursor c = txn_ops(&u->view); txn_next(&c, &op); at++) {
        struct op_ref ref;
        int rc = ledger_op_known(u->l, u->a.seq, &op, &ref, e);
        if (rc < 0)
            return rc;
        if (ref.op->is_condition)
            buf_add_u32(&u->l->outcome.results, 0);
        else if ((rc = unit_run_op(u, &ref, &op, at, e)) != 0)
            return rc;
    }
    return 0;
}

static void domains_undo(struct ledger *l, bool entry_too)
{
    for (size_t i = 0; i < l->domains_count; i++) {
        const struct domain *d = &l->domains[i];
        if (d->undo != NULL && !hot_is_unaware(l, d))
            d->undo(d->self, entry_too);
    }
}

static int domains_alone(struct ledger *l, const struct apply *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->domains_count && rc == 0; i++) {
        if (l->domains[i].alone != NULL)
            rc = l->domains[i].alone(l->domains[i].self, a, e);
    }
    return rc;
}

/* A lone operation that checks before it writes leaves nothing to undo; measured, the savepoint
 * around it would cost a third of a small unit. */
static int unit_in_savepoint(struct unit_apply *u, struct err *e)
{
    if (!u->needs_savepoint)
        return unit_operations(u, e);
    int rc = domains_alone(u->l, &u->a, e);
    if (rc == 0)
        rc = db_savepoint(u->a.db, e);
    if (rc < 0)
        return rc;
    rc = unit_operations(u, e);
    if (rc == 0)
        return db_release(u->a.db, e);
    db_rollback_to(u->a.db);
    domains_undo(u->l, false);
    return rc;
}

static void domains_unit(struct ledger *l, const struct apply *a)
{
    for (size_t i = 0; i < l->domains_count; i++) {
        if (l->domains[i].unit != NULL)
            l->domains[i].unit(l->domains[i].self, a);
    }
}

static int domains_close(struct ledger *l, const struct apply *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->domains_count && rc == 0; i++) {
        if (l->domains[i].close != NULL)
            rc = l->domains[i].close(l->domains[i].self, a, e);
    }
    return rc;
}

/* 0, with the outcome in l->outcome; negative when the entry cannot go on. */
static int unit_apply(struct unit_apply *u, const void *p, size_t n, struct err *e)
{
    struct ledger *l = u->l;
    struct outcome *o = &l->outcome;
    err_clear(&o->err);
    o->failed_op = -1;
    o->repeated = false;
    buf_reset(&o->results);
    int rc = txn_decode_in(p, n, &l->texts, &u->view, e);
    if (rc < 0)
        return err_context(e, "log entry %llu, unit %u", (unsigned long long)u->a.seq, u->a.unit);
    u->a.env = &u->view.env;
    static const struct uuid none;
    bool remembered = memcmp(&u->view.id, &none, sizeof none) != 0;
    if (remembered) {
        uint64_t seq;
        int64_t at;
        rc = store_repeat_get(l->db, &u->view.id, o, &seq, &at, e);
        if (rc != 0)
            return rc < 0 ? rc : hot_skip(l, &u->a, &u->view, e);
    }
    rc = unit_conditions(u, e);
    if (rc == 0) {
        domains_unit(u->l, &u->a);
        rc = unit_in_savepoint(u, e);
    }
    if (rc > 0)
        rc = hot_skip(l, &u->a, &u->view, e);
    if (rc < 0 || !remembered)
        return rc;
    rc = store_repeat_put(l->db, u->a.seq * LEDGER_ENTRY_UNITS + u->a.unit, &u->view.id, u->a.at, o,
                          e);
    if (rc == 0 && l->repeats_oldest == INT64_MAX)
        l->repeats_oldest = u->a.at;
    return rc;
}

/* What the caller of ledger_propose() will read. */
static void unit_answer(struct ledger *l, struct unit *u, const struct apply *a)
{
    const struct outcome *o = &l->outcome;
    u->err = o->err;
    u->failed_op = o->failed_op;
    u->seq = a->seq;
    u->at = a->at;
    u->repeated = o->repeated;
    buf_reset(&u->results);
    if (o->results.len > 0)
        buf_add(&u->results, o->results.data, o->results.len);
    if (buf_failed(&u->results))
        err_set(&u->err, ERR_INTERNAL, "applied, but there is no memory for %zu bytes of results",
                o->results.len);
}

static int entry_units(struct ledger *l, struct apply *a, const void *p, size_t n,
                       struct unit **units, struct err *e)
{
    struct entry_head head;
    struct cursor c;
    int rc = entry_open(p, n, &head, &c, e);
    if (rc < 0)
        return err_context(e, "log entry %llu", (unsigned long long)a->seq);
    a->at = head.at;
    rc = hot_entry(l, a, e);
    if (rc < 0)
        return rc;
    struct unit_apply u = {.l = l, .a = *a, .payload = p};
    l->texts.known = false;
    hot_expect(l, c, head.units);
    size_t len;
    uint32_t i = 0;
    for (const void *unit; (unit = entry_next(&c, &len)) != NULL; i++) {
        if (i >= head.units)
            break;
        u.a.unit = i;
        rc = unit_apply(&u, unit, len, e);
        if (rc < 0)
            return rc;
        if (units != NULL && units[i] != NULL)
            unit_answer(l, units[i], &u.a);
    }
    if (c.bad || i != head.units || cursor_left(&c) != 0)
        return err_set(e, ERR_CORRUPT, "log entry %llu does not hold %u whole units",
                       (unsigned long long)a->seq, head.units);
    stat_add(l->stats.units, head.units);
    return 0;
}

/* What goes into the transaction behind the units. */
static int entry_close(struct ledger *l, const struct apply *a, const struct entry_view *v,
                       struct err *e)
{
    int rc = 0;
    if (l->repeats_oldest < a->at - LEDGER_REPEAT_MS)
        rc = store_repeats_purge(l->db, a->at - LEDGER_REPEAT_MS, &l->repeats_oldest, e);
    if (rc == 0 && l->once_oldest <= a->at - LEDGER_ONCE_MS)
        rc = once_purge(l->db, a->at - LEDGER_ONCE_MS, &l->once_oldest, e);
    l->applying.records = record_is_due(l, v);
    if (rc < 0 || !l->applying.records)
        return rc;
    bool keep = a->seq % LEDGER_HASH_ENTRIES == 0;
    struct store_meta m = {.seq = a->seq,
                           .term = v->term,
                           .at = a->at,
                           .hash = db_hash(l->db),
                           .kept_seq = atomic_load(&l->kept_seq),
                           .kept_hash = atomic_load(&l->kept_hash)};
    if (keep) {
        m.kept_seq = a->seq;
        m.kept_hash = l->applying.hash = m.hash + hot_hash(l);
    }
    return store_meta_put(l->db, &m, e);
}

static void entry_keep_hash(struct ledger *l)
{
    const struct applying *now = &l->applying;
    if (now->a.seq % LEDGER_HASH_ENTRIES != 0)
        return;
    atomic_store(&l->kept_hash, now->hash);
    atomic_store(&l->kept_seq, now->a.seq);
    log_debug("ledger", "state hash seq=%llu hash=%016llx", (unsigned long long)now->a.seq,
              (unsigned long long)now->hash);
}

static void entry_announce(struct ledger *l, const struct apply *a)
{
    atomic_store(&l->applied, a->seq);
    for (size_t i = 0; i < l->domains_count; i++) {
        if (l->domains[i].committed != NULL)
            l->domains[i].committed(l->domains[i].self, a->seq, a->at);
    }
    for (struct ledger_watch *w = l->watches; w != NULL; w = w->next)
        w->committed(w, a->seq, a->at);
}

static int entry_members(struct ledger *l, uint64_t index, const void *p, size_t n, struct err *e)
{
    struct consensus_update u;
    uint64_t now = l->world->mono_ns(l->world) / 1000000;
    int rc = consensus_apply_members(l->consensus, now, index, p, n, &u, e);
    return rc < 0 ? rc : ledger_carry(l, &u, e);
}

void ledger_apply_undo(struct ledger *l)
{
    struct err again = ERR_INIT;
    l->applying.open = false;
    db_rollback(l->db);
    domains_undo(l, true);
    if (store_repeats_oldest(l->db, &l->repeats_oldest, &again) < 0)
        l->repeats_oldest = 0; /* looked up again by the purge */
    if (once_oldest(l->db, &l->once_oldest, &again) < 0)
        l->once_oldest = 0;
}

static int entry_run(struct ledger *l, const struct entry_view *v, struct apply *a, struct err *e)
{
    *a = (struct apply){.db = l->db, .seq = v->index, .at = l->applied_at, .doubt = a->doubt};
    int rc = record_begin(l, v, e);
    if (rc < 0)
        return rc;
    hot_begin(l);
    if (v->type == CONSENSUS_UNITS)
        rc = entry_units(l, a, v->p, v->n, v->units, e);
    else
        rc = hot_entry(l, a, e);
    if (rc == 0)
        rc = domains_close(l, a, e);
    if (rc == 0)
        rc = entry_close(l, a, v, e);
    if (rc < 0)
        ledger_apply_undo(l);
    return rc;
}

int ledger_apply_begin(struct ledger *l, const struct entry_view *v, struct err *e)
{
    ASSERT(!l->applying.open);
    uint64_t began = l->world->mono_ns(l->world);
    bool doubt = false;
    struct apply a = {.doubt = &doubt};
    int rc = entry_run(l, v, &a, e);
    a.doubt = NULL;
    if (rc < 0 && doubt) {
        err_clear(e);
        rc = entry_run(l, v, &a, e);
    }
    if (rc < 0)
        return rc;
    l->applying.open = true;
    l->applying.a = a;
    l->applying.spent_ns = l->world->mono_ns(l->world) - began;
    return 0;
}

int ledger_apply_end(struct ledger *l, const struct entry_view *v, struct err *e)
{
    const struct apply *a = &l->applying.a;
    ASSERT(l->applying.open && a->seq == v->index);
    uint64_t began = l->world->mono_ns(l->world);
    int rc = db_commit(l->db, e);
    if (rc < 0) {
        ledger_apply_undo(l);
        return rc;
    }
    l->applying.open = false;
    entry_keep_hash(l);
    l->applied_at = a->at;
    l->applied_term = v->term;
    stat_add(l->stats.entries, 1);
    stat_record(l->stats.apply, l->applying.spent_ns + l->world->mono_ns(l->world) - began);
    if (v->type == CONSENSUS_MEMBERS)
        rc = entry_members(l, v->index, v->p, v->n, e);
    entry_announce(l, a);
    if (l->applying.records)
        record_done(l);
    else
        l->unrecorded_bytes += v->n;
    return rc;
}

int ledger_apply(struct ledger *l, const struct entry_view *v, struct err *e)
{
    int rc = ledger_apply_begin(l, v, e);
    return rc < 0 ? rc : ledger_apply_end(l, v, e);
}
