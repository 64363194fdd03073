#include "support/ledger_kit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "io/loop.h"

/* ---- the domain ---- */

static int kit_apply_put(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                         struct buf *result, struct err *e)
{
    struct kit *k = self;
    (void)version;
    (void)result;
    if (k->fail_times > 0) {
        k->fail_times--;
        return err_set(e, k->fail_code, "the test said so");
    }
    int64_t key = (int64_t)cursor_u64(p);
    size_t n;
    const void *v = cursor_bytes(p, &n);
    if (p->bad)
        return err_set(e, ERR_INVALID, "cut off");
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT INTO kit_rows(k, v, n) VALUES(?1, ?2, 1) ON CONFLICT DO UPDATE SET v = ?2",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, key);
    db_bind_blob(s, 2, v, n);
    return db_run(s, e);
}

static int kit_apply_add(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                         struct buf *result, struct err *e)
{
    (void)self;
    (void)version;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(a->db, "UPDATE kit_rows SET n = n + ?2 WHERE k = ?1 RETURNING n", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)cursor_u64(p));
    db_bind_int(s, 2, (int64_t)cursor_u64(p));
    int rc = db_step(s, e);
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "no such row");
    if (rc > 0)
        buf_add_u64(result, (uint64_t)db_col_int(s, 0));
    while (rc > 0)
        rc = db_step(s, e);
    return rc;
}

static int kit_apply_fail(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                          struct buf *result, struct err *e)
{
    (void)self;
    (void)version;
    buf_adds(result, "must not be seen");
    struct db_stmt *s =
        db_stmt_get(a->db, "INSERT OR REPLACE INTO kit_rows(k, n) VALUES(?1, 666)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)cursor_u64(p));
    int rc = db_run(s, e);
    return rc < 0 ? rc : err_set(e, -(int)cursor_u32(p), "it fails on purpose");
}

static int kit_apply_is(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                        struct buf *result, struct err *e)
{
    (void)self;
    (void)version;
    (void)result;
    uint64_t key = cursor_u64(p);
    int64_t want = (int64_t)cursor_u64(p);
    int64_t n = kit_n(a->db, key);
    return n == want ? 0
                     : err_set(e, ERR_VERSION_MISMATCH, "n is %lld, not %lld", (long long)n,
                               (long long)want);
}

static int kit_apply_seq(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                         struct buf *result, struct err *e)
{
    (void)self;
    (void)version;
    (void)p;
    (void)e;
    buf_add_u64(result, a->seq);
    buf_add_u32(result, a->unit);
    buf_add_u64(result, (uint64_t)a->at);
    buf_add_text(result, a->env->tenant);
    return 0;
}

static int kit_opened(void *self, struct db *db, struct err *e)
{
    (void)self;
    return db_exec(
        db, "CREATE TABLE IF NOT EXISTS kit_rows(k INTEGER PRIMARY KEY, v BLOB, n INTEGER)", e);
}

static void kit_undo(void *self, bool entry_too)
{
    struct kit *k = self;
    k->undone_units += !entry_too;
    k->undone_entries += entry_too;
}

static void kit_committed(void *self, uint64_t seq, int64_t at)
{
    (void)at;
    ((struct kit *)self)->committed = seq;
}

static const struct domain_op kit_ops[] = {
    {KIT_PUT, 1, false, DOMAIN_ATOMIC, "kit.put", kit_apply_put, false},
    {KIT_ADD, 1, false, DOMAIN_ATOMIC, "kit.add", kit_apply_add, false},
    {KIT_FAIL, 1, false, DOMAIN_PARTIAL, "kit.fail", kit_apply_fail, false},
    {KIT_IS, 1, true, DOMAIN_PARTIAL, "kit.is", kit_apply_is, false},
    {KIT_SEQ, 1, false, DOMAIN_ATOMIC, "kit.seq", kit_apply_seq, false},
    {KIT_FUTURE, 1, false, DOMAIN_ATOMIC, "kit.future", kit_apply_seq, false},
};

struct domain kit_domain(struct kit *k)
{
    return (struct domain){.name = "kit",
                           .self = k,
                           .ops = kit_ops,
                           .ops_count = ARRAY_LEN(kit_ops) - (k->newer ? 0 : 1),
                           .opened = kit_opened,
                           .undo = kit_undo,
                           .committed = kit_committed};
}

/* ---- units ---- */

void kit_put(struct unit *u, uint64_t key, const void *v, size_t n)
{
    struct buf *b = txn_begin(&u->txn, KIT_PUT, 1);
    buf_add_u64(b, key);
    buf_add_bytes(b, v, n);
    txn_end(&u->txn);
}

static void kit_pair(struct unit *u, uint16_t type, uint64_t key, uint64_t n)
{
    struct buf *b = txn_begin(&u->txn, type, 1);
    buf_add_u64(b, key);
    buf_add_u64(b, n);
    txn_end(&u->txn);
}

void kit_add(struct unit *u, uint64_t key, uint64_t n)
{
    kit_pair(u, KIT_ADD, key, n);
}

void kit_is(struct unit *u, uint64_t key, uint64_t n)
{
    kit_pair(u, KIT_IS, key, n);
}

void kit_fail(struct unit *u, uint64_t key, int code)
{
    struct buf *b = txn_begin(&u->txn, KIT_FAIL, 1);
    buf_add_u64(b, key);
    buf_add_u32(b, (uint32_t)-code);
    txn_end(&u->txn);
}

void kit_seq(struct unit *u)
{
    txn_begin(&u->txn, KIT_SEQ, 1);
    txn_end(&u->txn);
}

static int64_t kit_number(struct db *db, const char *sql, uint64_t key)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, NULL);
    ASSERT(s != NULL);
    if (key != UINT64_MAX)
        db_bind_int(s, 1, (int64_t)key);
    return db_step(s, NULL) == 1 ? db_col_int(s, 0) : -1;
}

int64_t kit_n(struct db *db, uint64_t key)
{
    return kit_number(db, "SELECT n FROM kit_rows WHERE k = ?1", key);
}

int64_t kit_rows(struct db *db)
{
    return kit_number(db, "SELECT count(*) FROM kit_rows", UINT64_MAX);
}

/* ---- a node on a loop ---- */

static void kit_done(struct unit *u)
{
    u->deadline_ns = 0; /* what kit_do() looks at */
}

void kit_unit(struct kit_node *n, struct unit *u)
{
    unit_init(u, loop_runner(n->loop), kit_done);
}

void kit_node_init(struct kit_node *n, const char *dir)
{
    *n = (struct kit_node){.loop = NULL};
    snprintf(n->dir, sizeof n->dir, "%s", dir);
    n->options.dir = n->dir;
    ASSERT(loop_new("kit", &n->loop, NULL) == 0);
}

int kit_node_open(struct kit_node *n, struct err *e)
{
    struct domain d[3] = {kit_domain(&n->kit)};
    size_t count = 1;
    if (n->also != NULL)
        d[count++] = *n->also;
    if (n->third != NULL)
        d[count++] = *n->third;
    return ledger_open(&n->options, loop_world(n->loop), d, count, &n->ledger, e);
}

static void kit_closed(void *arg)
{
    ((struct kit_node *)arg)->ledger = NULL;
}

static void kit_turn(struct kit_node *n)
{
    loop_poll(n->loop);
    usleep(100);
}

void kit_node_close(struct kit_node *n)
{
    ledger_close(n->ledger, kit_closed, n);
    while (n->ledger != NULL)
        kit_turn(n);
}

void kit_node_fini(struct kit_node *n)
{
    while (loop_poll(n->loop))
        usleep(100);
    loop_free(n->loop);
}

int kit_do(struct kit_node *n, struct unit *u)
{
    int rc = ledger_propose(n->ledger, u, &u->err);
    if (rc < 0)
        return rc;
    while (u->deadline_ns != 0)
        kit_turn(n);
    return u->err.code;
}

void kit_dir(char out[256])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(out, 256, "%s/kit-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ASSERT(mkdtemp(out) != NULL);
}

static int kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void kit_dir_remove(const char *dir)
{
    nftw(dir, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void kit_node_fresh(struct kit_node *n)
{
    char dir[256];
    kit_dir(dir);
    kit_node_init(n, dir);
}

void kit_node_gone(struct kit_node *n)
{
    kit_node_fini(n);
    kit_dir_remove(n->dir);
    stat_reset_all();
}

void kit_node_restart(struct kit_node *n)
{
    struct err e = ERR_INIT;
    kit_node_close(n);
    if (kit_node_open(n, &e) != 0)
        PANIC("%s", e.text);
}

struct db *kit_reader(struct kit_node *n)
{
    struct db_options o = {.path = ledger_db_path(n->ledger), .mode = DB_READER};
    struct db *db = NULL;
    ASSERT(db_open(&o, &db, NULL) == 0);
    return db;
}
