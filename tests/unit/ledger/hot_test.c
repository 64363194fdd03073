/* Domains whose state is in memory: what they are told while entries are applied. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/stat.h"
#include "support/ember.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

struct fixture {
    struct kit_node node;
    struct ember ember;
    struct domain domain;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.ember = {.now = {0}}};
    kit_node_fresh(&f->node);
    f->domain = ember_domain(&f->ember);
    f->node.also = &f->domain;
    assert_int_equal(kit_node_open(&f->node, NULL), 0);
}

static void end(struct fixture *f)
{
    kit_node_close(&f->node);
    kit_node_gone(&f->node);
}

/* One operation in a unit of its own. */
static int add(struct fixture *f, uint16_t type, uint32_t key, int64_t n)
{
    struct unit u;
    kit_unit(&f->node, &u);
    ember_unit(&u, type, key, n);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

TEST(a_hot_domain_sees_every_entry_once_and_in_time)
{
    struct fixture f;
    begin(&f);
    for (int i = 0; i < 5; i++)
        assert_int_equal(add(&f, EMBER_ADD, 1, 2), 0);
    assert_int_equal(f.ember.now.entries, ledger_applied(f.node.ledger));
    assert_true(f.ember.now.at > 0);
    assert_int_equal(f.ember.now.numbers[1], 10);
    end(&f);
}

TEST(a_refused_unit_leaves_nothing_in_memory) /* L1 */
{
    struct fixture f;
    struct unit u;
    begin(&f);
    assert_int_equal(add(&f, EMBER_ADD, 0, 50), 0);
    kit_unit(&f.node, &u);
    ember_unit(&u, EMBER_ADD, 1, 7);
    ember_unit(&u, EMBER_ADD_MAX, 0, 11);
    assert_int_equal(kit_do(&f.node, &u), ERR_CONFLICT);
    unit_fini(&u);
    assert_int_equal(f.ember.now.numbers[0], 50);
    assert_int_equal(f.ember.now.numbers[1], 0);
    assert_int_equal(f.ember.now.entries, ledger_applied(f.node.ledger));
    end(&f);
}

TEST(an_entry_that_is_applied_a_second_time_counts_once_in_memory) /* L1 */
{
    struct fixture f;
    struct unit u;
    begin(&f);
    f.node.kit.fail_times = 2;
    f.node.kit.fail_code = ERR_NOMEM;
    kit_unit(&f.node, &u);
    ember_unit(&u, EMBER_ADD, 2, 7);
    kit_put(&u, 1, "v", 1); /* fails the entry, twice */
    assert_int_equal(kit_do(&f.node, &u), 0);
    unit_fini(&u);
    assert_int_equal(f.node.kit.undone_entries, 2);
    assert_int_equal(f.ember.now.numbers[2], 7);
    assert_int_equal(f.ember.now.entries, ledger_applied(f.node.ledger));
    end(&f);
}

TEST(a_condition_on_memory_holds_or_refuses)
{
    struct fixture f;
    struct unit u;
    begin(&f);
    assert_int_equal(add(&f, EMBER_ADD, 3, 4), 0);
    for (int64_t want = 4; want <= 5; want++) {
        kit_unit(&f.node, &u);
        ember_unit(&u, EMBER_IS, 3, want);
        ember_unit(&u, EMBER_ADD, 0, 1);
        assert_int_equal(kit_do(&f.node, &u), want == 4 ? 0 : ERR_VERSION_MISMATCH);
        unit_fini(&u);
    }
    assert_int_equal(f.ember.now.numbers[0], 1);
    end(&f);
}

/* Where the first record of the log lies that holds `n` bytes `p` is found by looking. */
static size_t payload_of_entry(struct fixture *f, const char *p, size_t n, char *file, size_t max)
{
    char path[512];
    snprintf(path, sizeof path, "%s/log/%020d.log", f->node.dir, 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, file, max, 0);
    close(fd);
    char *found = got < 0 ? NULL : memmem(file, (size_t)got, p, n);
    assert_non_null(found);
    while (memcmp(found, "kRec", 4) != 0)
        found--;
    return (size_t)(found - file) + 40; /* behind the header: schema/log-segment.md */
}

TEST(an_operation_knows_where_its_bytes_lie_in_the_log)
{
    struct fixture f;
    struct unit u;
    static const char first[] = "the first of two bodies", second[] = "and the second body";
    begin(&f);
    kit_unit(&f.node, &u);
    txn_envelope(&u.txn, &(struct envelope){.tenant = "acme", .reason = "so that it is longer"});
    ember_hold(&u, 0, first, sizeof first);
    kit_put(&u, 1, "between", 7);
    ember_hold(&u, 1, second, sizeof second);
    assert_int_equal(kit_do(&f.node, &u), 0);
    AUTO(mem_freep) char *file = mem_new(1 << 20);
    size_t at = payload_of_entry(&f, first, sizeof first, file, 1 << 20);
    const struct ember_held *held = f.ember.now.held;
    assert_int_equal(held[0].seq, u.seq);
    assert_string_equal(file + at + held[0].offset, first);
    assert_int_equal(held[1].seq, u.seq);
    assert_string_equal(file + at + held[1].offset, second);
    unit_fini(&u);
    end(&f);
}

TEST(what_is_in_memory_is_part_of_the_kept_state_hash) /* L3 */
{
    struct fixture f[2];
    struct ledger_status s[2];
    for (int i = 0; i < 2; i++) {
        begin(&f[i]);
        for (uint64_t n = 0; n < LEDGER_HASH_ENTRIES; n++)
            assert_int_equal(add(&f[i], EMBER_ADD, (uint32_t)i, 1), 0);
        ledger_status(f[i].node.ledger, &s[i]);
        assert_int_equal(s[i].hash_seq, LEDGER_HASH_ENTRIES);
        end(&f[i]);
    }
    assert_true(s[0].hash != s[1].hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_hot_domain_sees_every_entry_once_and_in_time),
        HEAP_TEST(a_refused_unit_leaves_nothing_in_memory),
        HEAP_TEST(an_entry_that_is_applied_a_second_time_counts_once_in_memory),
        HEAP_TEST(a_condition_on_memory_holds_or_refuses),
        HEAP_TEST(an_operation_knows_where_its_bytes_lie_in_the_log),
        HEAP_TEST(what_is_in_memory_is_part_of_the_kept_state_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
