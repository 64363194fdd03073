/* The bounds of units, entries and what waits, and the thresholds of the disk. */
#include <stdio.h>
#include <unistd.h>

#include "base/stat.h"
#include "io/loop.h"
#include "ledger/ledger_priv.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

enum { MIB = 1 << 20 };

/* ---- a disk that says of itself what the test wants ---- */

static uint64_t disk_free, disk_total;
static struct disk *real_disk, said_disk;

static int said_space(struct disk *d, const char *path, uint64_t *space, uint64_t *total,
                      struct err *e)
{
    if (disk_total == 0)
        return real_disk->space(d, path, space, total, e);
    *space = disk_free;
    *total = disk_total;
    return 0;
}

/* ---- a node ---- */

static void node_begin(struct kit_node *n)
{
    struct err e = ERR_INIT;
    kit_node_fresh(n);
    disk_total = 0;
    struct world *w = loop_world(n->loop);
    real_disk = w->disk;
    said_disk = *real_disk;
    said_disk.space = said_space;
    w->disk = &said_disk;
    if (kit_node_open(n, &e) != 0)
        fail_msg("%s", e.text);
}

static void node_end(struct kit_node *n)
{
    kit_node_close(n);
    loop_world(n->loop)->disk = real_disk;
    kit_node_gone(n);
}

static void put_of(struct kit_node *n, struct unit *u, uint64_t key, size_t bytes)
{
    AUTO(mem_freep) char *value = mem_new(bytes + 1);
    kit_unit(n, u);
    kit_put(u, key, value, bytes);
}

/* Those that were taken are applied; they have no deadline then. */
static void settle(struct kit_node *n, struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        while (units[i].deadline_ns != 0) {
            loop_poll(n->loop);
            usleep(100);
        }
}

/* ---- units ---- */

TEST(a_unit_over_a_bound_is_refused_before_it_is_proposed) /* H2 */
{
    struct kit_node n;
    struct err e = ERR_INIT;
    struct unit u;
    node_begin(&n);
    uint64_t before = ledger_applied(n.ledger);
    kit_unit(&n, &u);
    for (int i = 0; i < TXN_OPS_MAX; i++)
        kit_put(&u, 1, "v", 1);
    assert_int_equal(txn_check(&u.txn, &e), 0);
    kit_put(&u, 1, "v", 1);
    assert_refused(ledger_propose(n.ledger, &u, &e), ERR_TOO_LARGE, "at most 10000 operations");
    unit_fini(&u);
    put_of(&n, &u, 1, TXN_BYTES_MAX - 20); /* 8 of the operation, 12 of its key and length */
    assert_int_equal(txn_check(&u.txn, &e), 0);
    unit_fini(&u);
    put_of(&n, &u, 1, TXN_BYTES_MAX - 19);
    assert_refused(ledger_propose(n.ledger, &u, &e), ERR_TOO_LARGE, "at most 8388608 bytes");
    unit_fini(&u);
    assert_int_equal(ledger_applied(n.ledger), before);
    node_end(&n);
}

TEST(a_unit_of_the_largest_size_is_applied)
{
    struct kit_node n;
    struct unit u;
    node_begin(&n);
    put_of(&n, &u, 1, TXN_BYTES_MAX - 20);
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    kit_unit(&n, &u);
    for (uint64_t i = 0; i < TXN_OPS_MAX; i++)
        kit_put(&u, i, "v", 1);
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    node_end(&n);
}

/* ---- entries ---- */

TEST(an_entry_closes_at_1024_units)
{
    struct kit_node n;
    enum { COUNT = LEDGER_ENTRY_UNITS + 1 };
    node_begin(&n);
    struct unit *u = mem_new_array(COUNT, sizeof *u);
    for (uint64_t i = 0; i < COUNT; i++) {
        put_of(&n, &u[i], i, 1);
        assert_int_equal(ledger_propose(n.ledger, &u[i], NULL), 0);
    }
    settle(&n, u, COUNT);
    for (int i = 1; i < COUNT - 1; i++)
        assert_int_equal(u[i].seq, u[0].seq);
    assert_int_equal(u[COUNT - 1].seq, u[0].seq + 1);
    for (int i = 0; i < COUNT; i++)
        unit_fini(&u[i]);
    mem_free(u);
    node_end(&n);
}

TEST(an_entry_closes_at_4_mib)
{
    struct kit_node n;
    struct unit u[5];
    node_begin(&n);
    for (uint64_t i = 0; i < 5; i++) {
        put_of(&n, &u[i], i, MIB - 1024);
        assert_int_equal(ledger_propose(n.ledger, &u[i], NULL), 0);
    }
    settle(&n, u, 5);
    for (int i = 0; i < 4; i++)
        assert_int_equal(u[i].seq, u[0].seq);
    assert_int_equal(u[4].seq, u[0].seq + 1);
    for (int i = 0; i < 5; i++)
        unit_fini(&u[i]);
    node_end(&n);
}

/* ---- what waits ---- */

TEST(bytes_that_wait_are_bounded_and_a_quarter_is_kept_for_what_is_urgent) /* L6 */
{
    struct kit_node n;
    struct err e = ERR_INIT;
    enum { EACH = 4 * MIB, ALL = LEDGER_WAITING_BYTES / EACH };
    struct unit u[ALL + 1];
    int taken = 0;
    node_begin(&n);
    for (uint64_t i = 0; i < ALL; i++) {
        bool urgent = i >= ALL / 4 * 3;
        put_of(&n, &u[i], i, EACH - 1024);
        if (i == ALL / 4 * 3) { /* the ordinary share is used up */
            struct unit more;
            put_of(&n, &more, i, EACH - 1024);
            assert_refused(ledger_propose(n.ledger, &more, &e), ERR_OVERLOADED,
                           "nothing was applied");
            unit_fini(&more);
        }
        u[i].txn.urgent = urgent;
        assert_int_equal(ledger_propose(n.ledger, &u[i], &e), 0);
        taken++;
    }
    put_of(&n, &u[ALL], ALL, EACH - 1024);
    u[ALL].txn.urgent = true;
    assert_refused(ledger_propose(n.ledger, &u[ALL], &e), ERR_OVERLOADED, "nothing was applied");
    settle(&n, u, (size_t)taken);
    for (int i = 0; i <= ALL; i++)
        unit_fini(&u[i]);
    struct ledger_status s;
    ledger_status(n.ledger, &s);
    assert_int_equal(s.waiting_units, 0);
    assert_int_equal(s.waiting_bytes, 0);
    node_end(&n);
}

/* ---- the disk ---- */

static void disk_says(struct kit_node *n, uint64_t space_, uint64_t total, bool low, bool full)
{
    struct ledger_status s;
    disk_free = space_;
    disk_total = total;
    ledger_space(n->ledger);
    ledger_status(n->ledger, &s);
    if (s.disk_low != low || s.disk_full != full)
        fail_msg("free %llu of %llu: low %d, full %d", (unsigned long long)space_,
                 (unsigned long long)total, s.disk_low, s.disk_full);
}

TEST(a_disk_is_low_under_10_percent_full_under_3_and_well_again_at_5)
{
    struct kit_node n;
    const uint64_t total = (uint64_t)20 << 30, percent = total / 100;
    node_begin(&n);
    disk_says(&n, 10 * percent + MIB, total, false, false);
    disk_says(&n, 10 * percent - MIB, total, true, false);
    disk_says(&n, 3 * percent + MIB, total, true, false);
    disk_says(&n, 3 * percent - MIB, total, true, true);
    disk_says(&n, 4 * percent, total, true, true); /* not yet: no flapping */
    disk_says(&n, 5 * percent - MIB, total, true, true);
    disk_says(&n, 5 * percent + MIB, total, true, false);
    disk_says(&n, 50 * percent, total, false, false);
    node_end(&n);
}

TEST(of_a_large_disk_5_1_and_2_gib_count)
{
    struct kit_node n;
    const uint64_t gib = (uint64_t)1 << 30, total = 2000 * gib;
    node_begin(&n);
    disk_says(&n, 5 * gib + MIB, total, false, false);
    disk_says(&n, 5 * gib - MIB, total, true, false);
    disk_says(&n, gib + MIB, total, true, false);
    disk_says(&n, gib - MIB, total, true, true);
    disk_says(&n, 2 * gib - MIB, total, true, true);
    disk_says(&n, 2 * gib, total, true, false);
    node_end(&n);
}

TEST(on_a_full_disk_what_shrinks_is_taken_and_what_grows_is_refused) /* H2 */
{
    struct kit_node n;
    struct unit u;
    struct err e = ERR_INIT;
    node_begin(&n);
    disk_says(&n, 1, (uint64_t)20 << 30, true, true);
    put_of(&n, &u, 1, 1);
    assert_refused(ledger_propose(n.ledger, &u, &e), ERR_DISK_FULL, "until space returns");
    u.txn.grows = false;
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    disk_says(&n, (uint64_t)10 << 30, (uint64_t)20 << 30, false, false);
    put_of(&n, &u, 2, 1);
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    node_end(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_unit_over_a_bound_is_refused_before_it_is_proposed),
        HEAP_TEST(a_unit_of_the_largest_size_is_applied),
        HEAP_TEST(an_entry_closes_at_1024_units),
        HEAP_TEST(an_entry_closes_at_4_mib),
        HEAP_TEST(bytes_that_wait_are_bounded_and_a_quarter_is_kept_for_what_is_urgent),
        HEAP_TEST(a_disk_is_low_under_10_percent_full_under_3_and_well_again_at_5),
        HEAP_TEST(of_a_large_disk_5_1_and_2_gib_count),
        HEAP_TEST(on_a_full_disk_what_shrinks_is_taken_and_what_grows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
