#include "sim/toy.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "sim/scenario.h"
#include "support/simworld.h"

/* ---- The domain ---- */

/* Up to two numbers in, at most one out. */
static int toy_sql(struct db *db, const char *sql, int64_t a, int64_t b, int64_t *out,
                   struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, a);
    db_bind_int(s, 2, b);
    int rc = db_step(s, e);
    if (rc == 1 && out != NULL)
        *out = db_col_int(s, 0);
    return rc;
}

static struct toy_op toy_read(struct cursor *c)
{
    struct toy_op op = {.key = cursor_u32(c), .arg = (int64_t)cursor_u64(c)};
    size_t n = 0;
    cursor_bytes(c, &n);
    op.pad = (uint32_t)n;
    return op;
}

/* An operation on rows finds the entry before its own, whatever that one has changed. */
static int toy_place(const struct apply *a, struct err *e)
{
    int64_t seq = -1;
    int rc = toy_sql(a->db, "SELECT seq FROM local_meta WHERE ?1 = ?2", 0, 0, &seq, e);
    if (rc == 1 && seq != (int64_t)a->seq - 1)
        sim_fail("in entry %llu the database says that it is at %lld", (unsigned long long)a->seq,
                 (long long)seq);
    return rc < 0 ? rc : 0;
}

static int toy_if_version(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                          struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct toy_op op = toy_read(c);
    int64_t have = 0;
    int rc = toy_place(a, e);
    if (rc == 0)
        rc = toy_sql(a->db, "SELECT version FROM toy_key WHERE key = ?1 AND ?2 = 0", op.key, 0,
                     &have, e);
    if (rc < 0)
        return rc;
    return have == op.arg ? 0 : err_set(e, ERR_VERSION_MISMATCH, "key %u", op.key);
}

static int toy_put(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                   struct buf *result, struct err *e)
{
    (void)self, (void)version;
    struct toy_op op = toy_read(c);
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        a->db,
        "INSERT INTO toy_key VALUES(?1, 1, ?2, zeroblob(?3)) ON CONFLICT DO UPDATE SET "
        "version = version + 1, value = excluded.value, pad = excluded.pad RETURNING version",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, op.key);
    db_bind_int(s, 2, op.arg);
    db_bind_int(s, 3, op.pad);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    buf_add_u64(result, (uint64_t)db_col_int(s, 0));
    return 0;
}

static int toy_load(struct toy *t, struct db *db, struct err *e)
{
    for (int i = 0; i < TOY_COUNTERS; i++) {
        t->counters[i] = 0;
        int rc = toy_sql(db, "SELECT total FROM toy_counter WHERE id = ?1 AND ?2 = 0", i, 0,
                         &t->counters[i], e);
        if (rc < 0)
            return rc;
    }
    t->cached = true;
    return 0;
}

static int toy_add(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                   struct buf *result, struct err *e)
{
    (void)version;
    struct toy *t = self;
    struct toy_op op = toy_read(c);
    int rc = t->cached ? 0 : toy_load(t, a->db, e);
    if (rc < 0)
        return rc;
    int64_t total = t->counters[op.key] += op.arg;
    rc = toy_sql(a->db, "REPLACE INTO toy_counter VALUES(?1, ?2)", op.key, total, NULL, e);
    if (rc < 0)
        return rc;
    buf_add_u64(result, (uint64_t)total);
    return 0;
}

static int toy_add_max(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                       struct buf *result, struct err *e)
{
    struct cursor again = *c;
    uint32_t key = toy_read(&again).key;
    int rc = toy_add(self, a, version, c, result, e);
    if (rc == 0 && ((struct toy *)self)->counters[key] > TOY_COUNTER_MAX)
        return err_set(e, ERR_CONFLICT, "counter %u", key);
    return rc;
}

static int toy_remove(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)self, (void)version;
    struct toy_op op = toy_read(c);
    buf_add_u64(result, 0);
    int rc = toy_sql(a->db, "DELETE FROM toy_key WHERE key = ?1 AND ?2 = 0", op.key, 0, NULL, e);
    return rc < 0 ? rc : 0;
}

static int toy_refuse(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    toy_read(c);
    int rc = toy_sql(a->db, "REPLACE INTO toy_key VALUES(?1, 1, ?2, NULL)", 1000, 0, NULL, e);
    return rc < 0 ? rc : err_set(e, ERR_REJECTED, "as ordered");
}

static int toy_audit(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)self, (void)version;
    struct toy_op op = toy_read(c);
    buf_add_u64(result, a->unit);
    int rc = toy_place(a, e);
    /* Position as one number: it orders units as the log does. */
    if (rc == 0)
        rc = toy_sql(a->db,
                     "INSERT INTO toy_audit VALUES(?1, ?2, 1) ON CONFLICT DO UPDATE SET "
                     "times = times + 1",
                     op.arg, (int64_t)(a->seq << 16 | a->unit), NULL, e);
    return rc < 0 ? rc : 0;
}

static int toy_opened(void *self, struct db *db, struct err *e)
{
    struct toy *t = self;
    t->db = db;
    int rc = db_exec(db,
                     "CREATE TABLE IF NOT EXISTS toy_key(key INTEGER PRIMARY KEY, version, value, "
                     "pad);"
                     "CREATE TABLE IF NOT EXISTS toy_counter(id PRIMARY KEY, total) WITHOUT ROWID;"
                     "CREATE TABLE IF NOT EXISTS toy_audit(serial INTEGER PRIMARY KEY, at, times);"
                     "CREATE INDEX IF NOT EXISTS toy_audit_at ON toy_audit(at)",
                     e);
    return rc == 0 ? toy_load(t, db, e) : rc;
}

static void toy_undo(void *self, bool entry_too)
{
    (void)entry_too;
    ((struct toy *)self)->cached = false;
}

static void toy_committed(void *self, uint64_t seq, int64_t at)
{
    (void)at;
    struct toy *t = self;
    if (seq <= t->committed)
        sim_fail("entry %llu is announced after %llu", (unsigned long long)seq,
                 (unsigned long long)t->committed);
    t->committed = seq;
}

struct domain toy_domain(struct toy *t)
{
    static const struct domain_op ops[] = {
        {.type = TOY_IF_VERSION,
         .version_max = 1,
         .is_condition = true,
         .name = "toy.version",
         .apply = toy_if_version},
        {.type = TOY_PUT,
         .version_max = 1,
         .safety = DOMAIN_ATOMIC,
         .name = "toy.put",
         .apply = toy_put},
        {.type = TOY_ADD,
         .version_max = 1,
         .safety = DOMAIN_ATOMIC,
         .name = "toy.add",
         .apply = toy_add},
        {.type = TOY_ADD_MAX, .version_max = 1, .name = "toy.add_max", .apply = toy_add_max},
        {.type = TOY_REMOVE,
         .version_max = 1,
         .safety = DOMAIN_ATOMIC,
         .name = "toy.remove",
         .apply = toy_remove},
        {.type = TOY_FAIL, .version_max = 1, .name = "toy.fail", .apply = toy_refuse},
        {.type = TOY_AUDIT,
         .version_max = 1,
         .safety = DOMAIN_ATOMIC,
         .name = "toy.audit",
         .apply = toy_audit},
    };
    return (struct domain){.name = "toy",
                           .self = t,
                           .ops = ops,
                           .ops_count = ARRAY_LEN(ops),
                           .opened = toy_opened,
                           .undo = toy_undo,
                           .committed = toy_committed};
}

/* ---- Plans ---- */

static struct toy_op plan_hot_op(struct sim *s)
{
    uint32_t key = (uint32_t)sim_rand(s, EMBER_KEYS);
    uint64_t draw = sim_rand(s, 100);
    if (draw < 40)
        return (struct toy_op){TOY_EMBER_ADD, key, 0, (int64_t)sim_rand(s, 21) - 10};
    if (draw < 60)
        return (struct toy_op){TOY_EMBER_ADD_MAX, key, 0, (int64_t)sim_rand(s, 30)};
    if (draw < 80)
        return (struct toy_op){TOY_EMBER_DROP, key, 0, 0};
    uint32_t pad = (uint32_t)sim_rand(s, sim_chance(s, 5) ? 20000 : 200);
    return (struct toy_op){TOY_EMBER_HOLD, key, pad, (int64_t)sim_rand(s, 1000)};
}

static struct toy_op plan_op(struct sim *s)
{
    uint32_t key = (uint32_t)sim_rand(s, TOY_KEYS), counter = (uint32_t)sim_rand(s, TOY_COUNTERS);
    uint64_t draw = sim_rand(s, 100);
    if (sim_chance(s, 35))
        return plan_hot_op(s);
    if (draw < 45) {
        uint32_t pad = (uint32_t)sim_rand(s, sim_chance(s, 5) ? 20000 : 200);
        return (struct toy_op){TOY_PUT, key, pad, (int64_t)sim_rand(s, 1000)};
    }
    if (draw < 70)
        return (struct toy_op){TOY_ADD, counter, 0, (int64_t)sim_rand(s, 21) - 10};
    if (draw < 80)
        return (struct toy_op){TOY_ADD_MAX, counter, 0, (int64_t)sim_rand(s, 30)};
    if (draw < 95)
        return (struct toy_op){TOY_REMOVE, key, 0, 0};
    return (struct toy_op){TOY_FAIL, 0, 0, 0};
}

static void plan_make_hot(struct plan *p, struct sim *s)
{
    if (sim_chance(s, 10))
        p->ops[p->count++] = (struct toy_op){TOY_EMBER_IS, (uint32_t)sim_rand(s, EMBER_KEYS), 0,
                                             (int64_t)sim_rand(s, 12)};
    uint64_t count = 1 + sim_rand(s, 3);
    while (count-- > 0)
        p->ops[p->count++] = plan_hot_op(s);
    p->ops[p->count++] = (struct toy_op){TOY_EMBER_AUDIT, 0, 0, p->serial};
}

void plan_make(struct plan *p, struct sim *s, uint32_t serial)
{
    struct world *w = sim_world(s);
    *p = (struct plan){.serial = serial, .born_ns = sim_now_ns(s)};
    /* In stretches, so that whole entries are of such units, and several behind one another. */
    if (sim_chance(s, serial / 32 % 3 == 1 ? 97 : 20)) {
        plan_make_hot(p, s);
        return;
    }
    p->has_id = sim_chance(s, 80);
    if (p->has_id)
        w->random(w, p->id.b, sizeof(p->id.b));
    p->urgent = sim_chance(s, 5);
    p->shrinks = sim_chance(s, 10);
    if (sim_chance(s, 30))
        p->ops[p->count++] = (struct toy_op){TOY_IF_VERSION, (uint32_t)sim_rand(s, TOY_KEYS), 0,
                                             (int64_t)sim_rand(s, 4)};
    if (sim_chance(s, 10))
        p->ops[p->count++] = (struct toy_op){TOY_EMBER_IS, (uint32_t)sim_rand(s, EMBER_KEYS), 0,
                                             (int64_t)sim_rand(s, 12)};
    uint64_t count = sim_chance(s, 60) ? 1 : sim_rand(s, TOY_OPS_MAX - 1);
    while (count-- > 0 && p->count < TOY_OPS_MAX - 1)
        p->ops[p->count++] = plan_op(s);
    p->ops[p->count++] = (struct toy_op){TOY_AUDIT, 0, 0, serial};
}

/* What is held. */
static void toy_bytes(int64_t arg, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(arg * 31 + (int64_t)i);
}

void plan_fill(const struct plan *p, struct txn *t)
{
    uint8_t bytes[20000] = {0};
    for (size_t i = 0; i < p->count; i++) {
        const struct toy_op *op = &p->ops[i];
        struct buf *b = txn_begin(t, (uint16_t)op->kind, 1);
        buf_add_u32(b, op->key);
        buf_add_u64(b, (uint64_t)op->arg);
        if (op->kind == TOY_EMBER_HOLD)
            toy_bytes(op->arg, bytes, op->pad);
        buf_add_bytes(b, bytes, op->pad);
        txn_end(t);
    }
    if (p->has_id)
        t->id = p->id;
    t->urgent = p->urgent;
    t->grows = !p->shrinks;
}

void plan_results(const struct plan *p, const struct unit *u, int64_t results[TOY_OPS_MAX])
{
    for (size_t i = 0; i < p->count; i++) {
        struct cursor c;
        if (!unit_result(u, (uint32_t)i, &c))
            sim_fail("unit %u has no result %zu", p->serial, i);
        results[i] = 0;
        if (p->ops[i].kind == TOY_IF_VERSION || p->ops[i].kind == TOY_EMBER_IS)
            continue;
        if (cursor_left(&c) != 8)
            sim_fail("unit %u: result %zu has %zu bytes", p->serial, i, cursor_left(&c));
        results[i] = (int64_t)cursor_u64(&c);
    }
}

/* ---- The model ---- */

static int toy_model_op(struct toy_model *m, const struct toy_op *op, int64_t *result)
{
    *result = 0;
    switch (op->kind) {
    case TOY_IF_VERSION:
        return m->keys[op->key].version == (uint64_t)op->arg ? 0 : ERR_VERSION_MISMATCH;
    case TOY_PUT:
        m->keys[op->key].value = op->arg;
        *result = (int64_t)++m->keys[op->key].version;
        return 0;
    case TOY_ADD:
    case TOY_ADD_MAX:
        *result = m->counters[op->key] += op->arg;
        return op->kind == TOY_ADD_MAX && *result > TOY_COUNTER_MAX ? ERR_CONFLICT : 0;
    case TOY_REMOVE:
        m->keys[op->key].version = 0;
        m->keys[op->key].value = 0;
        return 0;
    case TOY_FAIL:
        return ERR_REJECTED;
    case TOY_AUDIT:
    case TOY_EMBER_AUDIT:
        return 0;
    case TOY_EMBER_ADD:
    case TOY_EMBER_ADD_MAX:
        *result = m->numbers[op->key] += op->arg;
        return op->kind == TOY_EMBER_ADD_MAX && *result > EMBER_MAX ? ERR_CONFLICT : 0;
    case TOY_EMBER_HOLD:
        m->held[op->key].is_there = true;
        m->held[op->key].n = op->pad;
        m->held[op->key].arg = op->arg;
        return 0;
    case TOY_EMBER_DROP:
        m->held[op->key].is_there = false;
        return 0;
    case TOY_EMBER_IS:
        return m->numbers[op->key] == op->arg ? 0 : ERR_VERSION_MISMATCH;
    }
    return ERR_INTERNAL;
}

int toy_model_apply(struct toy_model *m, const struct plan *p, int64_t results[TOY_OPS_MAX],
                    int *failed_op)
{
    struct toy_model before = *m;
    for (size_t i = 0; i < p->count; i++) {
        int rc = toy_model_op(m, &p->ops[i], &results[i]);
        if (rc != 0) {
            *m = before;
            *failed_op = (int)i;
            return rc;
        }
    }
    return 0;
}

static int64_t toy_number(struct db *db, const char *sql, int64_t a)
{
    struct err e = ERR_INIT;
    int64_t n = 0;
    if (toy_sql(db, sql, a, 0, &n, &e) < 0)
        sim_fail("%s: %s", sql, e.text);
    return n;
}

void toy_compare(struct db *db, const struct toy_model *m)
{
    int64_t present = 0;
    for (int i = 0; i < TOY_KEYS; i++) {
        int64_t version =
            toy_number(db, "SELECT version FROM toy_key WHERE key = ?1 AND ?2 = 0", i);
        int64_t value = toy_number(db, "SELECT value FROM toy_key WHERE key = ?1 AND ?2 = 0", i);
        if (version != (int64_t)m->keys[i].version || value != m->keys[i].value)
            sim_fail("key %d is %lld at version %lld, the model has %lld at %lld", i,
                     (long long)value, (long long)version, (long long)m->keys[i].value,
                     (long long)m->keys[i].version);
        present += version != 0;
    }
    if (toy_number(db, "SELECT count(*) FROM toy_key WHERE ?1 = 0 AND ?2 = 0", 0) != present)
        sim_fail("a refused operation left a row");
    for (int i = 0; i < TOY_COUNTERS; i++) {
        int64_t total = toy_number(db, "SELECT total FROM toy_counter WHERE id = ?1 AND ?2 = 0", i);
        if (total != m->counters[i])
            sim_fail("counter %d is %lld, the model has %lld", i, (long long)total,
                     (long long)m->counters[i]);
    }
}

static void toy_compare_held(struct ember *hot, uint32_t key, uint32_t n, int64_t arg, bool damaged)
{
    struct err e = ERR_INIT;
    uint8_t want[20000];
    AUTO(buf_fini) struct buf bytes = BUF_INIT(LEDGER_READ_MAX);
    int rc = ember_read(hot, key, &bytes, &e);
    if (damaged && rc == ERR_CORRUPT && strstr(e.text, "offset") != NULL)
        return;
    if (rc != 0)
        sim_fail("the bytes of %u, in entry %llu, cannot be read: %s", key,
                 (unsigned long long)hot->now.held[key].seq, e.text);
    toy_bytes(arg, want, n);
    if (bytes.len != n || memcmp(bytes.data, want, n) != 0)
        sim_fail("the bytes of %u are others", key);
}

void toy_compare_hot(struct ember *hot, const struct toy_model *m, bool damaged)
{
    for (uint32_t i = 0; i < EMBER_KEYS; i++) {
        if (hot->now.numbers[i] != m->numbers[i])
            sim_fail("number %u in memory is %lld, the model has %lld", i,
                     (long long)hot->now.numbers[i], (long long)m->numbers[i]);
        if ((hot->now.held[i].seq != 0) != m->held[i].is_there)
            sim_fail("bytes of %u are held, or not, and the model says otherwise", i);
        if (m->held[i].is_there)
            toy_compare_held(hot, i, m->held[i].n, m->held[i].arg, damaged);
    }
}
