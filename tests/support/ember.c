#include "support/ember.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger.h"

/* ---- the operations ---- */

struct ember_args {
    uint32_t key;
    int64_t n;
    const uint8_t *bytes;
    size_t len, offset; /* in the payload */
};

static struct ember_args ember_args(struct ember *m, const struct apply *a, struct cursor *p)
{
    const uint8_t *payload = p->p;
    struct ember_args x = {.key = cursor_u32(p), .n = (int64_t)cursor_u64(p)};
    x.bytes = cursor_bytes(p, &x.len);
    x.offset = (size_t)(x.bytes - payload);
    ASSERT(!p->bad && x.key < EMBER_KEYS);
    m->again += a->db == NULL;
    return x;
}

static int ember_apply_add(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                           struct buf *result, struct err *e)
{
    (void)version, (void)e;
    struct ember *m = self;
    struct ember_args x = ember_args(m, a, p);
    m->now.numbers[x.key] += x.n;
    buf_add_u64(result, (uint64_t)m->now.numbers[x.key]);
    return 0;
}

static int ember_apply_add_max(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                               struct buf *result, struct err *e)
{
    struct ember *m = self;
    struct cursor again = *p;
    uint32_t key = cursor_u32(&again);
    ember_apply_add(self, a, version, p, result, e);
    return m->now.numbers[key] <= EMBER_MAX ? 0 : err_set(e, ERR_CONFLICT, "number %u", key);
}

static int ember_apply_hold(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                            struct buf *result, struct err *e)
{
    (void)version, (void)e;
    struct ember *m = self;
    struct ember_args x = ember_args(m, a, p);
    m->now.held[x.key] = (struct ember_held){.seq = a->seq,
                                             .offset = a->offset + (uint32_t)x.offset,
                                             .n = (uint32_t)x.len,
                                             .crc = hash_crc32c(0, x.bytes, x.len)};
    buf_add_u64(result, 0);
    return 0;
}

static int ember_apply_drop(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                            struct buf *result, struct err *e)
{
    (void)version, (void)e;
    struct ember *m = self;
    m->now.held[ember_args(m, a, p).key] = (struct ember_held){0};
    buf_add_u64(result, 0);
    return 0;
}

static int ember_apply_audit(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                             struct buf *result, struct err *e)
{
    (void)version, (void)e;
    struct ember *m = self;
    struct ember_args x = ember_args(m, a, p);
    ASSERT(m->now.audits < EMBER_AUDITS);
    m->audits[m->now.audits++] =
        (struct ember_audit){.n = x.n, .at = (int64_t)(a->seq << 16 | a->unit)};
    buf_add_u64(result, a->unit);
    return 0;
}

static int ember_apply_is(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                          struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct ember *m = self;
    ASSERT(a->db != NULL); /* a condition is not run again */
    struct ember_args x = ember_args(m, a, p);
    return m->now.numbers[x.key] == x.n ? 0 : err_set(e, ERR_VERSION_MISMATCH, "number %u", x.key);
}

/* ---- bytes ---- */

static bool ember_is_moved(const struct ember *m, uint32_t key)
{
    const struct ember_held *held = &m->now.held[key], *moved = &m->moved[key];
    return moved->seq == held->seq && moved->offset == held->offset;
}

static int ember_read_moved(struct ember *m, uint32_t key, struct buf *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(m->db, "SELECT bytes FROM local_ember WHERE key = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, key);
    int rc = db_step(s, e);
    size_t n = 0;
    const void *p = rc > 0 ? db_col_blob(s, 0, &n) : NULL;
    buf_reset(out);
    if (p != NULL)
        buf_add(out, p, n);
    return rc < 0 ? rc : rc > 0 ? 0 : err_set(e, ERR_NOT_FOUND, "no row");
}

int ember_read(struct ember *m, uint32_t key, struct buf *out, struct err *e)
{
    const struct ember_held *held = &m->now.held[key];
    if (ember_is_moved(m, key))
        return ember_read_moved(m, key, out, e);
    int rc = ledger_read(m->ledger, held->seq, out, e);
    if (rc < 0)
        return rc;
    if (out->len < held->offset + held->n)
        return err_set(e, ERR_CORRUPT, "the entry is too short");
    buf_consume(out, held->offset);
    out->len = held->n;
    return 0;
}

static int ember_move(struct ember *m, uint32_t key, struct err *e)
{
    const struct ember_held *held = &m->now.held[key];
    AUTO(buf_fini) struct buf bytes = BUF_INIT(LEDGER_READ_MAX);
    int rc = ember_read(m, key, &bytes, e);
    if (rc == ERR_CORRUPT) /* damaged on the disk: it stays where it is */
        return 0;
    if (rc < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(
        m->db, "REPLACE INTO local_ember(key, seq, offset, bytes) VALUES(?1, ?2, ?3, ?4)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, key);
    db_bind_int(s, 2, (int64_t)held->seq);
    db_bind_int(s, 3, held->offset);
    db_bind_blob(s, 4, bytes.data, bytes.len);
    m->moved[key] = *held;
    return db_run(s, e);
}

/* ---- the domain ---- */

static int ember_opened(void *self, struct db *db, struct err *e)
{
    struct ember *m = self;
    m->db = db;
    int rc = db_exec(db,
                     "CREATE TABLE IF NOT EXISTS local_ember(key INTEGER PRIMARY KEY, seq, offset, "
                     "bytes)",
                     e);
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        rc < 0 ? NULL : db_stmt_get(db, "SELECT key, seq, offset FROM local_ember", e);
    if (s == NULL)
        return e->code;
    while ((rc = db_step(s, e)) > 0)
        m->moved[db_col_int(s, 0)] = (struct ember_held){.seq = (uint64_t)db_col_int(s, 1),
                                                         .offset = (uint32_t)db_col_int(s, 2)};
    return rc;
}

static int ember_entry(void *self, const struct apply *a, struct err *e)
{
    struct ember *m = self;
    m->before_entry = m->now;
    memcpy(m->moved_before, m->moved, sizeof m->moved);
    if (m->fail_times > 0) {
        m->fail_times--;
        return err_set(e, ERR_NOMEM, "the test said so");
    }
    m->now.entries++;
    m->now.at = a->at;
    return 0;
}

static void ember_unit_begins(void *self, const struct apply *a)
{
    (void)a;
    struct ember *m = self;
    m->before_unit = m->now;
}

static int ember_close(void *self, const struct apply *a, struct err *e)
{
    struct ember *m = self;
    int rc = 0, moves = m->ledger == NULL ? 0 : EMBER_MOVES;
    ASSERT(a->db != NULL);
    for (uint32_t i = 0; i < EMBER_KEYS && rc == 0 && moves > 0; i++) {
        const struct ember_held *held = &m->now.held[i];
        if (held->seq == 0 || held->seq >= m->crowded || held->seq == a->seq ||
            ember_is_moved(m, i))
            continue;
        rc = ember_move(m, i, e);
        moves--;
    }
    return rc;
}

static void ember_undo(void *self, bool entry_too)
{
    struct ember *m = self;
    m->now = entry_too ? m->before_entry : m->before_unit;
    if (entry_too)
        memcpy(m->moved, m->moved_before, sizeof m->moved);
}

/* ---- what is hot ---- */

static uint8_t ember_ballast(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 8));
}

static int ember_save(void *self, struct hot_out *out, struct err *e)
{
    struct ember *m = self;
    uint8_t piece[1000];
    uint64_t ballast = m->ballast;
    m->saves++;
    int rc = hot_put(out, &m->now, sizeof m->now, e);
    if (rc == 0)
        rc = hot_put(out, &ballast, sizeof ballast, e);
    if (rc == 0)
        rc = hot_put(out, m->audits, m->now.audits * sizeof m->audits[0], e);
    for (size_t at = 0; at < m->ballast && rc == 0;) {
        size_t n = m->ballast - at < sizeof piece ? m->ballast - at : sizeof piece;
        for (size_t i = 0; i < n; i++)
            piece[i] = ember_ballast(at + i);
        rc = hot_put(out, piece, n, e);
        at += n;
    }
    return rc;
}

static int ember_load(void *self, struct hot_in *in, struct err *e)
{
    struct ember *m = self;
    uint64_t ballast;
    uint8_t c;
    m->loads++;
    int rc = hot_get(in, &m->now, sizeof m->now, e);
    if (rc == 0)
        rc = hot_get(in, &ballast, sizeof ballast, e);
    if (rc == 0)
        rc = hot_get(in, m->audits, m->now.audits * sizeof m->audits[0], e);
    for (size_t i = 0; rc == 0 && i < ballast; i++) {
        rc = hot_get(in, &c, 1, e);
        if (rc == 0 && c != ember_ballast(i))
            rc = err_set(e, ERR_CORRUPT, "byte %zu is another", i);
    }
    return rc;
}

static uint64_t ember_keep(void *self)
{
    const struct ember *m = self;
    uint64_t low = UINT64_MAX;
    for (uint32_t i = 0; i < EMBER_KEYS; i++) {
        uint64_t seq = m->now.held[i].seq;
        if (seq != 0 && seq < low && !ember_is_moved(m, i))
            low = seq;
    }
    return low;
}

static void ember_crowded(void *self, uint64_t index)
{
    ((struct ember *)self)->crowded = index;
}

static uint64_t ember_hash(void *self)
{
    const struct ember_state *s = &((struct ember *)self)->now;
    uint64_t h = hash64(s->entries, &s->at, sizeof s->at);
    h = hash64(h, s->numbers, sizeof s->numbers);
    for (int i = 0; i < EMBER_KEYS; i++) {
        h = hash64(h, &s->held[i].seq, sizeof s->held[i].seq);
        h = hash64(h, &s->held[i].crc, sizeof s->held[i].crc);
    }
    h = hash64(h, ((struct ember *)self)->audits, s->audits * sizeof(struct ember_audit));
    return s->entries == 0 ? 0 : h;
}

static struct domain ember_make(struct ember *m, const char *name, unsigned other)
{
    static const struct domain_op ops[EMBER_OPS] = {
        {EMBER_ADD, 1, false, DOMAIN_ATOMIC, "ember.add", ember_apply_add, true},
        {EMBER_ADD_MAX, 1, false, DOMAIN_PARTIAL, "ember.add_max", ember_apply_add_max, true},
        {EMBER_HOLD, 1, false, DOMAIN_SURE, "ember.hold", ember_apply_hold, true},
        {EMBER_DROP, 1, false, DOMAIN_SURE, "ember.drop", ember_apply_drop, true},
        {EMBER_IS, 1, true, DOMAIN_PARTIAL, "ember.is", ember_apply_is, false},
        {EMBER_AUDIT, 1, false, DOMAIN_SURE, "ember.audit", ember_apply_audit, true},
    };
    static const struct domain_hot hot = {.entry = ember_entry,
                                          .save = ember_save,
                                          .load = ember_load,
                                          .keep = ember_keep,
                                          .crowded = ember_crowded,
                                          .hash = ember_hash};
    memcpy(m->ops, ops, sizeof ops);
    for (size_t i = 0; i < EMBER_OPS; i++)
        m->ops[i].type = (uint16_t)(m->ops[i].type + other);
    return (struct domain){.name = name,
                           .self = m,
                           .hot = &hot,
                           .ops = m->ops,
                           .ops_count = EMBER_OPS,
                           .opened = ember_opened,
                           .unit = ember_unit_begins,
                           .close = ember_close,
                           .undo = ember_undo};
}

struct domain ember_domain(struct ember *m)
{
    return ember_make(m, "ember", 0);
}

struct domain ember_other(struct ember *m)
{
    return ember_make(m, "other", EMBER_OTHER);
}

/* ---- units ---- */

static void ember_op(struct unit *u, uint16_t type, uint32_t key, int64_t n, const void *p,
                     size_t len)
{
    struct buf *b = txn_begin(&u->txn, type, 1);
    buf_add_u32(b, key);
    buf_add_u64(b, (uint64_t)n);
    buf_add_bytes(b, p, len);
    txn_end(&u->txn);
}

void ember_unit(struct unit *u, uint16_t type, uint32_t key, int64_t n)
{
    ember_op(u, type, key, n, "", 0);
}

void ember_hold(struct unit *u, uint32_t key, const void *p, size_t n)
{
    ember_op(u, EMBER_HOLD, key, 0, p, n);
}
