/* Ledger: a snapshot is a checkpoint of the database and a manifest that says how far it goes. No
 * data is copied: from then on koan.db itself, without its WAL, holds everything up to there, and
 * the log is needed only behind it. */
#include <string.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

#define MANIFEST_MAGIC "KOANSNAP"
enum { MANIFEST_FORMAT = 1, MANIFEST_BYTES_MAX = 64 << 10, MANIFEST_FIXED = 16 };

static void manifest_encode(const struct snapshot *s, struct buf *b)
{
    buf_adds(b, MANIFEST_MAGIC);
    buf_add_u32(b, MANIFEST_FORMAT);
    buf_add_u32(b, 0);
    buf_add_u64(b, s->index);
    buf_add_u64(b, s->term);
    buf_add_u64(b, (uint64_t)s->at);
    buf_add_u64(b, s->members_index);
    buf_add_u32(b, (uint32_t)db_schema_level());
    buf_add_bytes(b, s->members.data, s->members.len);
    if (!buf_failed(b))
        buf_put_u32(b, 12, hash_crc32c(0, b->data, b->len));
}

static int manifest_decode(struct buf *b, struct snapshot *s, struct err *e)
{
    static const char damaged[] =
        "log/manifest, offset 0: damaged; restore the whole data directory from a backup";
    struct cursor c;
    if (b->len < MANIFEST_FIXED || memcmp(b->data, MANIFEST_MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "%s", damaged);
    cursor_init(&c, b->data + 8, b->len - 8);
    uint32_t format = cursor_u32(&c), crc = cursor_u32(&c);
    buf_put_u32(b, 12, 0);
    if (hash_crc32c(0, b->data, b->len) != crc)
        return err_set(e, ERR_CORRUPT, "%s", damaged);
    s->index = cursor_u64(&c);
    s->term = cursor_u64(&c);
    s->at = (int64_t)cursor_u64(&c);
    s->members_index = cursor_u64(&c);
    cursor_u32(&c); /* the schema's level: the database itself is checked against it */
    size_t n;
    const void *members = cursor_bytes(&c, &n);
    if (format != MANIFEST_FORMAT)
        return err_set(e, ERR_UNSUPPORTED,
                       "log/manifest was written by a newer program (form %u, this one knows %d)",
                       format, MANIFEST_FORMAT);
    if (c.bad || members == NULL)
        return err_set(e, ERR_CORRUPT, "%s", damaged);
    buf_add(&s->members, members, n);
    return 0;
}

int snapshot_load(struct ledger *l, bool *found, struct err *e)
{
    struct disk *d = l->world->disk;
    struct disk_file *f;
    AUTO(mem_freep) char *path = mem_printf("%s/log/manifest", l->dir);
    AUTO(buf_fini) struct buf b = BUF_INIT(MANIFEST_BYTES_MAX);
    *found = false;
    int rc = d->open(d, path, DISK_READ, &f, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    char *to = buf_reserve(&b, MANIFEST_BYTES_MAX);
    int64_t n = to == NULL ? ERR_NOMEM : d->read(f, to, MANIFEST_BYTES_MAX, 0, e);
    d->close(f);
    if (n < 0)
        return (int)n;
    buf_commit(&b, (size_t)n);
    *found = true;
    return manifest_decode(&b, &l->snapshot, e);
}

/* Whole or not at all: under another name first. */
static int manifest_write(struct ledger *l, const struct buf *b, struct err *e)
{
    struct disk *d = l->world->disk;
    struct disk_file *f;
    AUTO(mem_freep) char *dir = mem_printf("%s/log", l->dir);
    AUTO(mem_freep) char *tmp = mem_printf("%s/manifest.tmp", dir);
    AUTO(mem_freep) char *path = mem_printf("%s/manifest", dir);
    int rc = d->open(d, tmp, DISK_READ | DISK_WRITE | DISK_CREATE, &f, e);
    if (rc < 0)
        return rc;
    rc = d->truncate(f, 0, e);
    if (rc == 0)
        rc = d->write(f, b->data, b->len, 0, e);
    if (rc == 0 && (rc = d->sync(f, e)) < 0)
        rc = err_set(e, ERR_IO, "%s: syncing failed", tmp);
    d->close(f);
    if (rc == 0)
        rc = d->rename(d, tmp, path, e);
    if (rc == 0)
        rc = d->sync_dir(d, dir, e);
    return rc;
}

bool snapshot_is_due(const struct ledger *l)
{
    uint64_t applied = atomic_load(&l->applied);
    return !l->checkpoint.running && !l->checkpoint.ready && !l->hot_save.running &&
           (applied - l->checkpoint_entry >= l->o.snapshot_entries ||
            l->log->written - l->checkpoint_bytes >= l->o.snapshot_bytes ||
            db_wal_bytes(l->db) >= l->checkpoint_wal + LEDGER_WAL_BYTES || hot_is_behind(l));
}

static void checkpoint_work(struct offload *o)
{
    struct checkpoint *c = LIST_OF(o, struct checkpoint, off);
    struct ledger *l = c->ledger;
    struct db_options opts = {.path = l->db_path, .mode = DB_WRITER, .vfs = l->o.vfs};
    err_clear(&c->err);
    int rc = c->db != NULL ? 0 : db_open(&opts, &c->db, &c->err);
    if (rc == 0)
        rc = db_checkpoint(c->db, &c->err);
    c->err.code = rc;
}

static void checkpoint_done(struct offload *o)
{
    struct checkpoint *c = LIST_OF(o, struct checkpoint, off);
    struct ledger *l = c->ledger;
    if (l->dead)
        return;
    c->running = false;
    if (c->err.code == ERR_IO || c->err.code == ERR_CORRUPT) {
        ledger_die(l, "a checkpoint failed", &c->err);
        return;
    }
    c->ready = true; /* whatever stays, the one that counts moves it, or says why not */
    ledger_run(l);
}

void snapshot_begin(struct ledger *l)
{
    hot_save_due(l);
}

void snapshot_go_on(struct ledger *l)
{
    struct checkpoint *c = &l->checkpoint;
    if (l->o.exclusive) { /* no second connection */
        c->ready = true;
        return;
    }
    c->ledger = l;
    c->running = true;
    c->off.work = checkpoint_work;
    c->off.done = checkpoint_done;
    l->world->offload(l->world, &c->off);
}

/* The database file holds everything up to the applied entry: say so, and let go of old log. */
static int snapshot_record(struct ledger *l, struct err *e)
{
    struct snapshot *s = &l->snapshot;
    AUTO(buf_fini) struct buf b = BUF_INIT(MANIFEST_BYTES_MAX);
    s->index = atomic_load(&l->applied);
    s->term = l->applied_term;
    s->at = l->applied_at;
    buf_reset(&s->members);
    int rc = consensus_committed_members(l->consensus, &s->members, &s->members_index);
    if (rc < 0)
        return err_set(e, rc, "the list of members is too long");
    manifest_encode(s, &b);
    rc = buf_failed(&b) ? err_set(e, ERR_NOMEM, "a manifest") : manifest_write(l, &b, e);
    uint64_t low = hot_low(l);
    if (rc == 0)
        rc = log_compact(l->log, s->index, low <= s->index ? low : s->index + 1, e);
    if (rc < 0)
        return rc;
    hot_crowd(l);
    uint64_t first = l->log->segments[0].head.first_index;
    atomic_store(&l->snapshot_index, s->index);
    atomic_store(&l->first_kept, first);
    struct consensus_update u;
    uint64_t now = l->world->mono_ns(l->world) / 1000000;
    rc = consensus_snapshot(l->consensus, now, s->index, first, &u, e);
    return rc < 0 ? rc : ledger_carry(l, &u, e);
}

/* The database says that it holds the applied entry, and its file alone does. On a full disk there
 * may be no room to say so before what is in the WAL already was moved. */
static int snapshot_move(struct ledger *l, struct err *e)
{
    int rc = record_now(l, e);
    if (rc == ERR_DISK_FULL) {
        rc = db_checkpoint(l->db, e);
        if (rc == 0)
            rc = record_now(l, e);
    }
    return rc < 0 ? rc : db_checkpoint(l->db, e);
}

int snapshot_take(struct ledger *l, struct err *e)
{
    uint64_t began = l->world->mono_ns(l->world);
    uint64_t applied = atomic_load(&l->applied);
    l->checkpoint_entry = applied;
    l->checkpoint_bytes = l->log->written;
    l->checkpoint_wal = db_wal_bytes(l->db);
    if (applied == l->snapshot.index)
        return 0;
    int rc = snapshot_move(l, e);
    if (rc == 0) {
        hot_settle(l);
        rc = snapshot_record(l, e);
    }
    l->checkpoint_wal = db_wal_bytes(l->db);
    uint64_t took = l->world->mono_ns(l->world) - began;
    stat_record(l->stats.checkpoint, took);
    log_debug("ledger", "checkpoint seq=%llu ms=%llu code=%d", (unsigned long long)applied,
              (unsigned long long)(took / 1000000), rc);
    return rc;
}
