/* Conditions that want no row of a name are taken for granted, and come out as if they were not. */
#include "support/unit.h"

#include <string.h>

#include "base/mem.h"
#include "canon/ops_priv.h"
#include "db/db.h"
#include "io/loop.h"
#include "io/world.h"
#include "ledger/ledger.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"age\":{\"kind\":\"int\"}}}";
static const char *const person_model =
    "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]"
    "}]}";

enum { UNITS_MAX = 8 };

struct proposal {
    struct canon_lab lab;
    char golden[257]; /* of s/1, which says k = a */
    struct unit units[UNITS_MAX];
    int count, over;
};

static struct proposal p; /* units are answered by address */

static void proposal_open(void)
{
    memset(&p, 0, sizeof p);
    lab_open(&p.lab, person, person_model);
    assert_int_equal(lab_arrive(&p.lab, "P", "s", "1", 1, "{\"k\":\"a\"}", p.golden),
                     CANON_CANONIZED);
}

static void unit_over(struct unit *u)
{
    (void)u;
    p.over++;
}

static struct txn *next_unit(void)
{
    assert_true(p.count < UNITS_MAX);
    struct unit *u = &p.units[p.count++];
    unit_init(u, loop_runner(p.lab.loop), unit_over);
    txn_envelope(&u->txn, &p.lab.env);
    return &u->txn;
}

static void arrives(struct txn *t, const char *id, const char *golden, const char *keys)
{
    struct canon_op_arrive op = {.model = "P",
                                 .arrival = id,
                                 .origin = "s",
                                 .source_id = id,
                                 .rev = 77,
                                 .said_arrival = id,
                                 .body = "{}",
                                 .golden = golden,
                                 .has_source = true,
                                 .fields = "{}",
                                 .keys = keys != NULL ? keys : "[]",
                                 .new_keys = keys,
                                 .has_golden = golden != NULL};
    canon_op_arrive(t, &op);
}

static void propose_all(void)
{
    struct err e = ERR_INIT;
    for (int i = 0; i < p.count; i++)
        assert_int_equal(ledger_propose(p.lab.ledger, &p.units[i], &e), 0);
    while (p.over < p.count)
        lab_step(&p.lab);
}

static void assert_moved(int unit, int at)
{
    assert_int_equal(p.units[unit].err.code, ERR_VERSION_MISMATCH);
    assert_int_equal(p.units[unit].failed_op, at);
}

/* What is counted is there so often; the state hash is that of the rows. */
static void proposal_close(int64_t arrivals, int64_t sources, int64_t keys, int64_t goldens)
{
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(p.lab.reader, &scan, NULL), 0);
    assert_true((uint64_t)lab_number(&p.lab, "SELECT hash FROM local_meta") == scan);
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_arrival"), arrivals);
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_source"), sources);
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_key"), keys);
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_golden"), goldens);
    for (int i = 0; i < p.count; i++)
        unit_fini(&p.units[i]);
    lab_close(&p.lab);
}

TEST(a_key_that_another_has_by_now_is_refused_and_the_units_beside_it_are_applied) /* C2 L3 */
{
    proposal_open();
    struct txn *t = next_unit();
    canon_op_if_source(t, "P", "s", "2", 0);
    canon_op_if_golden(t, "P", "g2", 0);
    canon_op_if_key(t, "P", "k:b", NULL);
    arrives(t, "2", "g2", "[\"k:b\"]");
    t = next_unit();
    canon_op_if_source(t, "P", "s", "3", 0);
    canon_op_if_golden(t, "P", "g3", 0);
    canon_op_if_key(t, "P", "k:a", NULL);
    arrives(t, "3", "g3", "[\"k:a\"]");
    t = next_unit();
    canon_op_if_key(t, "P", "k:b", "g2");
    canon_op_if_key(t, "P", "k:c", NULL);
    arrives(t, "4", "g2", "[\"k:c\"]");
    propose_all();
    assert_int_equal(p.units[0].err.code, 0);
    assert_moved(1, 2);
    assert_int_equal(p.units[2].err.code, 0);
    assert_true(p.units[0].seq == p.units[2].seq); /* else nothing was applied again */
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_key WHERE golden = 'g2'"), 2);
    proposal_close(3, 3, 3, 2);
}

TEST(a_source_or_golden_record_that_is_there_by_now_is_refused) /* C2 */
{
    proposal_open();
    struct txn *t = next_unit();
    canon_op_if_source(t, "P", "s", "1", 0);
    arrives(t, "1", "g1", "[\"k:b\"]");
    t = next_unit();
    canon_op_if_golden(t, "P", p.golden, 0);
    arrives(t, "2", p.golden, "[\"k:b\"]");
    propose_all();
    assert_moved(0, 0);
    assert_moved(1, 0);
    proposal_close(1, 1, 1, 1);
}

TEST(what_is_taken_for_granted_is_looked_for_where_no_row_proves_it) /* C2 */
{
    proposal_open();
    struct txn *t = next_unit(); /* takes no key at all */
    canon_op_if_key(t, "P", "k:a", NULL);
    arrives(t, "2", NULL, NULL);
    t = next_unit(); /* another condition fails behind it */
    canon_op_if_golden(t, "P", p.golden, 0);
    canon_op_if_key(t, "P", "k:x", "nobody");
    arrives(t, "3", NULL, NULL);
    t = next_unit(); /* changes the row otherwise */
    canon_op_if_key(t, "P", "k:a", NULL);
    canon_op_erase(t, "P", "s", "1");
    t = next_unit(); /* holds, though nothing is made of it */
    canon_op_if_key(t, "P", "k:x", NULL);
    canon_op_if_source(t, "P", "s", "9", 0);
    arrives(t, "5", NULL, NULL);
    propose_all();
    assert_moved(0, 0);
    assert_moved(1, 0);
    assert_moved(2, 0);
    assert_int_equal(p.units[3].err.code, 0);
    assert_int_equal(
        lab_number(&p.lab, "SELECT count(*) FROM canon_arrival WHERE body IS NOT NULL"), 2);
    proposal_close(2, 2, 1, 1);
}

TEST(two_units_of_an_entry_that_want_the_same_name_free_are_first_and_refused) /* C2 */
{
    proposal_open();
    for (int i = 0; i < 2; i++) {
        struct txn *t = next_unit();
        canon_op_if_key(t, "P", "k:b", NULL);
        arrives(t, i == 0 ? "2" : "3", i == 0 ? "g2" : "g3", "[\"k:b\"]");
    }
    propose_all();
    assert_int_equal(p.units[0].err.code, 0);
    assert_moved(1, 0);
    proposal_close(2, 2, 2, 2);
}

/* Keys that a condition found with their owner are not written again, unless they changed hands. */
TEST(a_key_stays_with_its_owner_and_comes_back_to_him_within_a_unit) /* C2 */
{
    proposal_open();
    struct txn *t = next_unit();
    canon_op_if_key(t, "P", "k:a", p.golden);
    canon_op_if_source(t, "P", "s", "2", 0);
    arrives(t, "2", p.golden, "[\"k:a\"]");
    t = next_unit();
    canon_op_if_key(t, "P", "k:a", p.golden);
    arrives(t, "3", "g3", "[\"k:a\"]");
    arrives(t, "4", p.golden, "[\"k:a\"]");
    t = next_unit();
    canon_op_if_key(t, "P", "k:a", p.golden);
    arrives(t, "5", "g3", "[\"k:a\"]");
    t = next_unit();
    canon_op_if_key(t, "P", "k:a", p.golden);
    arrives(t, "6", p.golden, "[\"k:a\"]");
    propose_all();
    assert_int_equal(p.units[0].err.code, 0);
    assert_int_equal(p.units[1].err.code, 0);
    assert_int_equal(p.units[2].err.code, 0);
    assert_moved(3, 0);
    assert_int_equal(lab_number(&p.lab, "SELECT count(*) FROM canon_key WHERE golden = 'g3'"), 1);
    proposal_close(5, 5, 1, 2);
}

static int warm_up(void **state)
{
    (void)state;
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_key_that_another_has_by_now_is_refused_and_the_units_beside_it_are_applied),
        HEAP_TEST(a_source_or_golden_record_that_is_there_by_now_is_refused),
        HEAP_TEST(what_is_taken_for_granted_is_looked_for_where_no_row_proves_it),
        HEAP_TEST(a_key_stays_with_its_owner_and_comes_back_to_him_within_a_unit),
        HEAP_TEST(two_units_of_an_entry_that_want_the_same_name_free_are_first_and_refused),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
