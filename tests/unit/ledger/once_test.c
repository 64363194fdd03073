#include "ledger/once.h"

#include <stdio.h>

#include "base/stat.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

/* ---- a node whose clock can be moved ---- */

static int64_t ahead_ms;
static int64_t (*real_wall_ms)(struct world *w);

static int64_t moved_wall_ms(struct world *w)
{
    return real_wall_ms(w) + ahead_ms;
}

static void node_begin(struct kit_node *n)
{
    struct err e = ERR_INIT;
    kit_node_fresh(n);
    n->options.segment_bytes = 256 << 10;
    struct world *w = loop_world(n->loop);
    ahead_ms = 0;
    real_wall_ms = w->wall_ms;
    w->wall_ms = moved_wall_ms;
    if (kit_node_open(n, &e) != 0)
        fail_msg("%s", e.text);
}

static void node_end(struct kit_node *n)
{
    kit_node_close(n);
    loop_world(n->loop)->wall_ms = real_wall_ms;
    kit_node_gone(n);
}

/* ---- units with keys ---- */

static struct ledger_once once(const char *key, uint8_t digest)
{
    struct ledger_once o = {.key = key};
    memset(o.digest, digest, sizeof o.digest);
    return o;
}

/* Adds 1 to row 1, once. */
static int add_once(struct kit_node *n, const char *key, uint32_t part, const char *principal)
{
    struct unit u;
    struct ledger_once o = once(key, 7);
    kit_unit(n, &u);
    txn_envelope(&u.txn, &(struct envelope){.principal = principal});
    ledger_txn_once(&u.txn, &o, part);
    kit_add(&u, 1, 1);
    assert_int_equal(ledger_txn_keep(&u.txn, &o, part, "context", 7, NULL), 0);
    int rc = kit_do(n, &u);
    if (rc == ERR_CONFLICT)
        assert_int_equal(u.failed_op, 0);
    unit_fini(&u);
    return rc;
}

static void put_row(struct kit_node *n)
{
    struct unit u;
    kit_unit(n, &u);
    kit_put(&u, 1, "", 0);
    assert_int_equal(kit_do(n, &u), 0);
    unit_fini(&u);
}

static int64_t row(struct kit_node *n)
{
    struct db *db = kit_reader(n);
    int64_t got = kit_n(db, 1);
    db_close(db);
    return got;
}

struct found {
    int count;
    uint32_t parts[4];
    uint64_t seq, sum;
    uint8_t digest;
    char context[16];
};

static int found_one(void *arg, const struct ledger_kept *k, struct err *e)
{
    (void)e;
    struct found *f = arg;
    struct cursor results = k->results, c;
    f->parts[f->count++ % 4] = k->part;
    f->seq = k->seq;
    f->digest = k->digest[LEDGER_ONCE_DIGEST - 1];
    assert_true(ledger_kept_next(&results, &c));
    f->sum = cursor_u64(&c);
    assert_false(ledger_kept_next(&results, &c));
    snprintf(f->context, sizeof f->context, "%.*s", (int)cursor_left(&k->context),
             (const char *)k->context.p);
    return 0;
}

static struct found find(struct kit_node *n, const char *key, const char *principal)
{
    struct found f = {0};
    struct err e = ERR_INIT;
    struct db *db = kit_reader(n);
    struct world *w = loop_world(n->loop);
    if (ledger_once_find(db, "default", principal, key, w->wall_ms(w), found_one, &f, &e) != 0)
        fail_msg("%s", e.text);
    db_close(db);
    return f;
}

static int64_t kept(struct kit_node *n)
{
    struct db *db = kit_reader(n);
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM ledger_once", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    int64_t count = db_col_int(s, 0);
    db_stmt_done(s);
    db_close(db);
    return count;
}

/* ---- tests ---- */

TEST(a_unit_with_a_key_has_one_effect_and_is_found_with_what_came_of_it) /* R2 */
{
    struct kit_node n;
    node_begin(&n);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    assert_int_equal(add_once(&n, "k", 0, "a"), ERR_CONFLICT);
    assert_int_equal(row(&n), 2); /* a new row has 1 */
    struct found f = find(&n, "k", "a");
    assert_int_equal(f.count, 1);
    assert_int_equal(f.sum, 2);
    assert_int_equal(f.digest, 7);
    assert_int_equal(f.seq, ledger_applied(n.ledger) - 1);
    assert_string_equal(f.context, "context");
    node_end(&n);
}

TEST(a_key_is_known_after_a_restart) /* R2 */
{
    struct kit_node n;
    node_begin(&n);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    kit_node_restart(&n);
    assert_int_equal(find(&n, "k", "a").count, 1);
    assert_int_equal(add_once(&n, "k", 0, "a"), ERR_CONFLICT);
    assert_int_equal(row(&n), 2); /* a new row has 1 */
    node_end(&n);
}

TEST(a_key_belongs_to_one_principal_and_each_part_counts_alone)
{
    struct kit_node n;
    node_begin(&n);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    assert_int_equal(add_once(&n, "k", 0, "b"), 0);
    assert_int_equal(add_once(&n, "k", 2, "a"), 0);
    assert_int_equal(add_once(&n, "k", 1, "a"), 0);
    assert_int_equal(add_once(&n, "k", 2, "a"), ERR_CONFLICT);
    struct found f = find(&n, "k", "a");
    assert_int_equal(f.count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(f.parts[i], i);
    assert_int_equal(find(&n, "k", "b").count, 1);
    assert_int_equal(find(&n, "k", "c").count, 0);
    node_end(&n);
}

TEST(a_refused_unit_leaves_its_key_unused)
{
    struct kit_node n;
    node_begin(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), ERR_NOT_FOUND);
    assert_int_equal(find(&n, "k", "a").count, 0);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    assert_int_equal(row(&n), 2); /* a new row has 1 */
    node_end(&n);
}

TEST(a_key_is_forgotten_after_a_day_of_ledger_time)
{
    struct kit_node n;
    node_begin(&n);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    ahead_ms = LEDGER_ONCE_MS - 60 * 1000;
    assert_int_equal(add_once(&n, "k", 0, "a"), ERR_CONFLICT);
    assert_int_equal(find(&n, "k", "a").count, 1);
    assert_int_equal(kept(&n), 1);
    ahead_ms = LEDGER_ONCE_MS + 60 * 1000;
    assert_int_equal(find(&n, "k", "a").count, 0); /* though nothing has swept it yet */
    assert_int_equal(kept(&n), 1);
    put_row(&n); /* any entry sweeps */
    assert_int_equal(kept(&n), 0);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    ahead_ms *= 2;
    assert_int_equal(add_once(&n, "k", 0, "a"), 0); /* makes its own room, and is not swept */
    assert_int_equal(kept(&n), 1);
    node_end(&n);
}

TEST(the_state_hash_counts_what_is_kept)
{
    struct kit_node n;
    struct ledger_status s;
    node_begin(&n);
    put_row(&n);
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    ahead_ms = LEDGER_ONCE_MS + 1000;
    assert_int_equal(add_once(&n, "k", 0, "a"), 0);
    ledger_status(n.ledger, &s);
    kit_node_close(&n);
    struct db *db = NULL;
    char path[300];
    uint64_t scan, stored;
    snprintf(path, sizeof path, "%s/koan.db", n.dir);
    struct db_options o = {.path = path, .mode = DB_READER};
    assert_int_equal(db_open(&o, &db, NULL), 0);
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    struct db_stmt *q = db_stmt_get(db, "SELECT hash FROM local_meta", NULL);
    assert_int_equal(db_step(q, NULL), 1);
    stored = (uint64_t)db_col_int(q, 0);
    db_stmt_done(q);
    db_close(db);
    assert_int_equal(scan, stored);
    struct err e = ERR_INIT;
    assert_int_equal(kit_node_open(&n, &e), 0);
    node_end(&n);
}

TEST(a_context_over_its_bound_is_refused_before_it_is_proposed)
{
    struct txn t;
    struct err e = ERR_INIT;
    struct ledger_once o = once("k", 0);
    size_t n = LEDGER_ONCE_CONTEXT_MAX + 1;
    AUTO(mem_freep) char *big = mem_new(n);
    txn_init(&t);
    assert_refused(ledger_txn_keep(&t, &o, 0, big, n, &e), ERR_TOO_LARGE, "1048576 bytes");
    assert_int_equal(t.ops, 0);
    txn_fini(&t);
}

/* What a damaged or foreign log could hold. */
TEST(a_malformed_condition_is_refused)
{
    static const char *const payloads[] = {"", "\1\0\0\0k", "\0\0\0\0\0\0\0\0",
                                           "\377\377\377\377\0\0\0\0"};
    static const size_t sizes[] = {0, 5, 8, 8};
    struct kit_node n;
    node_begin(&n);
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        struct unit u;
        kit_unit(&n, &u);
        buf_add(txn_begin(&u.txn, 1, 1), payloads[i], sizes[i]);
        txn_end(&u.txn);
        assert_int_equal(kit_do(&n, &u), ERR_INVALID);
        unit_fini(&u);
    }
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_unit_with_a_key_has_one_effect_and_is_found_with_what_came_of_it),
        HEAP_TEST(a_key_is_known_after_a_restart),
        HEAP_TEST(a_key_belongs_to_one_principal_and_each_part_counts_alone),
        HEAP_TEST(a_refused_unit_leaves_its_key_unused),
        HEAP_TEST(a_key_is_forgotten_after_a_day_of_ledger_time),
        HEAP_TEST(the_state_hash_counts_what_is_kept),
        HEAP_TEST(a_context_over_its_bound_is_refused_before_it_is_proposed),
        HEAP_TEST(a_malformed_condition_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
