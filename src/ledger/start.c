/* Ledger: opening. What the disk holds must agree with itself, else nothing starts:
 *
 *   checkpoint <= applied (database) <= last entry (log), and the terms of both agree.
 *
 * The database cannot be ahead of the log, because an entry is applied only when the log has it
 * synced; it can be behind, because its own last transactions need no sync: those entries are
 * applied again. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

static const char way_out[] =
    "restore the whole data directory from a backup, or remove this node and join it anew";

static void ledger_defaults(struct ledger_options *o)
{
    if (o->segment_bytes == 0)
        o->segment_bytes = 64u << 20;
    if (o->snapshot_bytes == 0)
        o->snapshot_bytes = 256u << 20;
    if (o->snapshot_entries == 0)
        o->snapshot_entries = LEDGER_SNAPSHOT_ENTRIES;
    if (o->keep_ms == 0)
        o->keep_ms = (int64_t)7 * 24 * 3600 * 1000;
    if (o->keep_bytes == 0)
        o->keep_bytes = (uint64_t)10 << 30;
    if (o->timeout_ms == 0)
        o->timeout_ms = 10000;
}

static void ledger_add_domain(struct ledger *l, const struct domain *d)
{
    for (size_t i = 0; i < d->ops_count; i++) {
        const struct domain_op *op = &d->ops[i];
        struct op_ref **block = &l->ops[op->type >> 8];
        if (*block == NULL)
            *block = mem_new_array(256, sizeof **block);
        struct op_ref *ref = &(*block)[op->type & 0xff];
        ASSERT(ref->op == NULL); /* two domains with the same type: our own bug */
        ASSERT(!op->hot || (d->hot != NULL && !op->is_condition));
        *ref = (struct op_ref){.domain = d, .op = op};
    }
}

static void ledger_add_stats(struct ledger_stats *s)
{
    s->entries = stat_counter("koan_ledger_entries_total", "", "Log entries applied");
    s->units = stat_counter("koan_ledger_units_total", "", "Units of work applied or refused");
    s->wait = stat_histogram("koan_ledger_wait_seconds", "",
                             "How long the first unit of an entry has waited for its place");
    s->sync = stat_histogram("koan_ledger_sync_seconds", "", "Writing and syncing one log entry");
    s->apply = stat_histogram("koan_ledger_apply_seconds", "", "Applying one log entry");
    s->checkpoint = stat_histogram("koan_ledger_checkpoint_seconds", "", "Database checkpoints");
    s->waiting_units =
        stat_gauge("koan_ledger_waiting_units", "", "Units proposed and not answered yet");
    s->waiting_bytes =
        stat_gauge("koan_ledger_waiting_bytes", "", "Bytes proposed and not answered yet");
}

static struct ledger *ledger_new(const struct ledger_options *o, struct world *w,
                                 const struct domain *domains, size_t count)
{
    struct ledger *l = mem_new(sizeof *l);
    pthread_mutex_init(&l->held_lock, NULL);
    l->world = w;
    l->o = *o;
    ledger_defaults(&l->o);
    l->dir = mem_strdup(o->dir);
    l->db_path = mem_printf("%s/koan.db", o->dir);
    l->domains = mem_new_array(count + 1, sizeof *domains);
    once_domain(l, &l->domains[0]); /* the ledger's own operations */
    if (count > 0)
        memcpy(l->domains + 1, domains, count * sizeof *domains);
    l->domains_count = count + 1;
    for (size_t i = 0; i < l->domains_count; i++)
        ledger_add_domain(l, &l->domains[i]);
    hot_new(l);
    ledger_add_stats(&l->stats);
    l->task.run = ledger_pump;
    l->timer.fire = ledger_tick;
    l->queue_tail = &l->queue;
    l->flight_tail = &l->flight;
    buf_init(&l->scratch, RECORD_HEADER + RECORD_BYTES_MAX + 8);
    buf_init(&l->outcome.results, LEDGER_RESULT_BYTES_MAX);
    buf_init(&l->snapshot.members, 32 << 10);
    return l;
}

static int start_log(struct ledger *l, struct err *e)
{
    struct log_options o = {.dir = l->dir,
                            .segment_bytes = l->o.segment_bytes,
                            .keep_bytes = l->o.keep_bytes,
                            .keep_ms = l->o.keep_ms,
                            .group = l->o.group};
    bool found = false;
    int rc = log_open(&o, l->world, &l->log, e);
    if (rc == 0)
        rc = snapshot_load(l, &found, e);
    if (rc < 0)
        return rc;
    if (found && log_is_new(l->log))
        return err_set(e, ERR_CORRUPT,
                       "log/: the segments are missing, though log/manifest says that there were "
                       "%llu entries; %s",
                       (unsigned long long)l->snapshot.index, way_out);
    l->log->done = ledger_written;
    l->log->failed = ledger_log_failed;
    l->log->arg = l;
    return log_load(l->log, l->snapshot.index, l->snapshot.term, e);
}

/* Rows that come with the schema. */
static int start_rows(void *arg, struct db *db, uint64_t hash, struct err *e)
{
    struct store_meta m;
    (void)arg;
    int rc = store_meta_load(db, &m, e);
    if (rc < 0)
        return rc;
    m.hash += hash;
    return store_meta_put(db, &m, e);
}

static int start_db(struct ledger *l, struct err *e)
{
    struct db_options o = {
        .path = l->db_path, .mode = DB_WRITER, .vfs = l->o.vfs, .exclusive = l->o.exclusive};
    struct store_meta m;
    int rc = db_open(&o, &l->db, e);
    if (rc == 0)
        rc = db_migrate_rows(l->db, start_rows, NULL, e);
    /* SQLite makes a rollback journal on the way to WAL mode, and removes it without syncing the
     * folder: came it back after a power cut, it would undo what we have checkpointed since. */
    if (rc == 0)
        rc = l->world->disk->sync_dir(l->world->disk, l->dir, e);
    if (rc == 0)
        rc = store_meta_load(l->db, &m, e);
    if (rc == 0)
        rc = store_repeats_oldest(l->db, &l->repeats_oldest, e);
    if (rc == 0)
        rc = once_oldest(l->db, &l->once_oldest, e);
    if (rc < 0)
        return rc;
    db_hash_set(l->db, m.hash);
    atomic_store(&l->applied, m.seq);
    l->recorded = m.seq;
    atomic_store(&l->kept_seq, m.kept_seq);
    atomic_store(&l->kept_hash, m.kept_hash);
    l->applied_term = m.term;
    l->applied_at = l->stamped_at = m.at;
    for (size_t i = 0; i < l->domains_count; i++) {
        const struct domain *d = &l->domains[i];
        if (d->opened != NULL && (rc = d->opened(d->self, l->db, e)) < 0)
            return err_context(e, "%s", d->name);
    }
    return 0;
}

/* The invariant at the top. */
static int start_check(struct ledger *l, struct err *e)
{
    unsigned long long applied = atomic_load(&l->applied), last = l->log->last;
    unsigned long long covered = l->snapshot.index;
    if (applied < covered)
        return err_set(
            e, ERR_CORRUPT,
            "koan.db ends at entry %llu, before the checkpoint at %llu: it is missing or "
            "an older copy; %s",
            applied, covered, way_out);
    if (applied > last)
        return err_set(e, ERR_CORRUPT,
                       "koan.db holds entry %llu, the log ends at %llu: acknowledged entries are "
                       "missing from log/; %s",
                       applied, last, way_out);
    /* The log no longer knows the term of an entry that the checkpoint covers. */
    uint64_t term = applied == covered ? l->snapshot.term : log_term(l->log, applied);
    if (applied > 0 && term != l->applied_term)
        return err_set(e, ERR_CORRUPT,
                       "entry %llu is of term %llu in koan.db and of term %llu in the log: they do "
                       "not belong together; %s",
                       applied, (unsigned long long)l->applied_term, (unsigned long long)term,
                       way_out);
    return 0;
}

/* A log without entries begins with the list of its members: this node. */
static int start_bootstrap(struct ledger *l, struct err *e)
{
    if (l->log->last > 0)
        return 0;
    static const uint8_t room[RECORD_HEADER];
    buf_reset(&l->scratch);
    buf_add(&l->scratch, room, sizeof room);
    int rc = consensus_members(l->log->state.node, &l->scratch);
    if (rc < 0)
        return err_set(e, rc, "the first log entry");
    return log_append(l->log, &l->scratch, CONSENSUS_MEMBERS, 1, 1, false, e);
}

/* The entries behind the checkpoint as the consensus core wants them: terms, and lists of members.
 */
static int start_entries(struct ledger *l, struct consensus_entry *entries, struct buf *members,
                         struct err *e)
{
    struct log *log = l->log;
    for (uint64_t i = log->first; i <= log->last; i++) {
        const struct log_place *p = &log->places[i - log->first];
        struct consensus_entry *out = &entries[i - log->first];
        *out = (struct consensus_entry){.term = p->term, .type = (enum consensus_type)p->type};
        if (p->type != CONSENSUS_MEMBERS)
            continue;
        struct record r;
        int rc = log_read(log, i, &l->scratch, &r, e);
        if (rc < 0)
            return rc;
        size_t at = members->len;
        buf_add(members, r.data, r.len);
        if (buf_failed(members))
            return err_set(e, ERR_NOMEM, "the lists of members in the log");
        out->data = members->data + at;
        out->len = r.len;
    }
    return 0;
}

static int start_consensus(struct ledger *l, struct err *e)
{
    struct log *log = l->log;
    size_t count = (size_t)(log->last + 1 - log->first);
    uint32_t seed;
    l->world->random(l->world, &seed, sizeof seed);
    int rc = consensus_new(log->state.node, seed, &l->consensus);
    if (rc < 0)
        return err_set(e, rc, "the consensus core");
    AUTO(mem_freep) struct consensus_entry *entries = mem_try((count + 1) * sizeof *entries);
    AUTO(buf_fini) struct buf members = BUF_INIT(4 << 20);
    /* Fixed from here on, so that pointers into it hold. */
    if (entries == NULL || buf_reserve(&members, 4 << 20) == NULL)
        return err_set(e, ERR_NOMEM, "%zu log entries", count);
    rc = start_entries(l, entries, &members, e);
    if (rc < 0)
        return rc;
    uint64_t term = log->state.term > log->last_term ? log->state.term : log->last_term;
    struct consensus_start s = {
        .now_ms = l->world->mono_ns(l->world) / 1000000,
        .term = log->state.term == 0 ? 0 : term,
        .vote = log->state.vote,
        .snapshot_index = l->snapshot.index,
        .snapshot_term = l->snapshot.term,
        .members = l->snapshot.index > 0 ? l->snapshot.members.data : NULL,
        .members_len = l->snapshot.members.len,
        .members_index = l->snapshot.members_index,
        .entries = entries,
        .count = count,
    };
    struct consensus_update u;
    rc = consensus_start(l->consensus, &s, &u, e);
    return rc < 0 ? rc : ledger_carry(l, &u, e);
}

static int start_replay(struct ledger *l, struct err *e)
{
    uint64_t from = atomic_load(&l->applied);
    uint64_t to = l->commit < l->log->last ? l->commit : l->log->last;
    for (uint64_t i = from + 1; i <= to; i++) {
        struct record r;
        int rc = log_read(l->log, i, &l->scratch, &r, e);
        if (rc == 0)
            rc = ledger_apply(l,
                              &(struct entry_view){.index = i,
                                                   .term = r.term,
                                                   .type = (enum consensus_type)r.type,
                                                   .p = r.data,
                                                   .n = r.len},
                              e);
        if (rc < 0)
            return rc;
        if (db_wal_bytes(l->db) >= LEDGER_WAL_BYTES)
            db_checkpoint(l->db, NULL);
    }
    l->stamped_at = l->applied_at;
    buf_fini(&l->scratch);
    buf_init(&l->scratch, RECORD_HEADER + RECORD_BYTES_MAX + 8);
    if (to > from && from > 0)
        log_info("ledger", "replayed entries=%llu last=%llu", (unsigned long long)(to - from),
                 (unsigned long long)to);
    return 0;
}

static int ledger_start(struct ledger *l, struct err *e)
{
    int rc = start_log(l, e);
    if (rc == 0)
        rc = start_db(l, e);
    if (rc == 0)
        rc = start_check(l, e);
    if (rc == 0)
        rc = hot_start(l, e);
    if (rc == 0)
        rc = log_settle(l->log, e);
    if (rc == 0)
        rc = start_bootstrap(l, e);
    if (rc == 0)
        rc = start_consensus(l, e);
    if (rc == 0)
        rc = start_replay(l, e);
    return rc;
}

int ledger_open(const struct ledger_options *o, struct world *w, const struct domain *domains,
                size_t domains_count, struct ledger **out, struct err *e)
{
    struct err local = ERR_INIT;
    struct ledger *l = ledger_new(o, w, domains, domains_count);
    int rc = ledger_start(l, &local);
    if (rc < 0) {
        ledger_drop(l);
        if (e != NULL)
            *e = local;
        return rc;
    }
    atomic_store(&l->last, l->log->last);
    atomic_store(&l->snapshot_index, l->snapshot.index);
    atomic_store(&l->first_kept, l->log->segments[0].head.first_index);
    l->checkpoint_entry = l->snapshot.index;
    ledger_space(l);
    l->log->meanwhile = ledger_ahead;
    l->log->waits = ledger_held;
    log_ready(l->log);
    l->world->timer_start(l->world, &l->timer, LEDGER_TICK_MS);
    *out = l;
    return 0;
}
