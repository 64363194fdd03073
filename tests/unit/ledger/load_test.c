/* Many threads propose at once while segments roll, checkpoints run beside the writer and readers
 * read: for the thread sanitizer, and for what only real threads do. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/stat.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

enum { THREADS = 3, UNITS = 40, EACH = 20, BYTES = 700 };

struct crowd;

struct member {
    struct unit unit; /* first: what done() gets */
    struct crowd *crowd;
    uint64_t key;
    int left;
};

/* One thread's proposers. */
struct crowd {
    struct kit_node *node;
    struct loop *loop;
    pthread_t thread;
    struct member members[UNITS];
    int busy, failed;
};

static void member_next(struct member *m)
{
    static const char text[BYTES];
    struct err e = ERR_INIT;
    buf_reset(&m->unit.txn.body);
    m->unit.txn.ops = 0;
    kit_put(&m->unit, m->key, text, sizeof text);
    kit_add(&m->unit, m->key, 1);
    m->left--;
    if (ledger_propose(m->crowd->node->ledger, &m->unit, &e) == 0)
        return;
    m->crowd->failed++;
    m->crowd->busy--;
}

static void member_done(struct unit *u)
{
    struct member *m = (struct member *)u;
    m->crowd->failed += u->err.code != 0;
    if (m->left > 0)
        member_next(m);
    else if (--m->crowd->busy == 0)
        loop_stop(m->crowd->loop);
}

static void *crowd_run(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < UNITS; i++)
        member_next(&c->members[i]);
    loop_run(c->loop);
    return NULL;
}

static void crowd_begin(struct crowd *c, struct kit_node *n, uint64_t first)
{
    *c = (struct crowd){.node = n, .busy = UNITS};
    assert_int_equal(loop_new("crowd", &c->loop, NULL), 0);
    for (int i = 0; i < UNITS; i++) {
        c->members[i] = (struct member){.crowd = c, .key = first + (uint64_t)i, .left = EACH};
        unit_init(&c->members[i].unit, loop_runner(c->loop), member_done);
    }
    assert_int_equal(pthread_create(&c->thread, NULL, crowd_run, c), 0);
}

static void crowd_end(struct crowd *c)
{
    pthread_join(c->thread, NULL);
    assert_int_equal(c->failed, 0);
    for (int i = 0; i < UNITS; i++)
        unit_fini(&c->members[i].unit);
    while (loop_poll(c->loop))
        usleep(100);
    loop_free(c->loop);
}

static void closed(void *arg)
{
    loop_stop(arg);
}

static void check_rows(struct kit_node *n)
{
    struct db *db = kit_reader(n);
    assert_int_equal(kit_rows(db), THREADS * UNITS);
    for (uint64_t t = 0; t < THREADS; t++) {
        for (uint64_t i = 0; i < UNITS; i++)
            assert_int_equal(kit_n(db, t * 1000 + i), 1 + EACH);
    }
    db_close(db);
}

TEST(threads_propose_while_segments_roll_and_checkpoints_run)
{
    struct kit_node n;
    struct err e = ERR_INIT;
    kit_node_fresh(&n);
    n.options.segment_bytes = 64 << 10;
    n.options.snapshot_entries = 5;
    n.options.keep_bytes = 256 << 10;
    assert_int_equal(kit_node_open(&n, &e), 0);
    assert_int_equal(loop_start(n.loop, &e), 0);
    struct crowd *crowds = mem_new_array(THREADS, sizeof *crowds);
    for (uint64_t t = 0; t < THREADS; t++)
        crowd_begin(&crowds[t], &n, t * 1000);
    struct ledger_status s;
    for (int i = 0; i < 20; i++) {
        ledger_status(n.ledger, &s);
        struct db *db = kit_reader(&n);
        kit_rows(db);
        db_close(db);
        usleep(2000);
    }
    for (int t = 0; t < THREADS; t++)
        crowd_end(&crowds[t]);
    ledger_status(n.ledger, &s);
    assert_true(s.snapshot > 1);
    check_rows(&n);
    ledger_close(n.ledger, closed, n.loop);
    loop_join(n.loop);
    assert_int_equal(kit_node_open(&n, &e), 0);
    check_rows(&n);
    kit_node_close(&n);
    mem_free(crowds);
    kit_node_gone(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(threads_propose_while_segments_roll_and_checkpoints_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
