/* How much there is of all that coord keeps. */
#include "coord/coord_priv.h"
#include "db/db.h"
#include "support/coord_lab.h"
#include "support/unit.h"

static void set_use(struct coord_lab *l, const char *tenant, enum coord_use what, int64_t used)
{
    struct db_stmt *s = db_stmt_get(
        l->db, "INSERT OR REPLACE INTO coord_use(tenant, what, used) VALUES(?1, ?2, ?3)", NULL);
    assert_non_null(s);
    db_bind_str(s, 1, tenant);
    db_bind_int(s, 2, what);
    db_bind_int(s, 3, used);
    assert_int_equal(db_run(s, NULL), 0);
}

static struct coord_totals totals(struct coord_lab *l)
{
    struct coord_totals t;
    struct err e = ERR_INIT;
    assert_int_equal(coord_totals(l->coord, l->db, &t, &e), 0);
    return t;
}

TEST(of_nothing_there_is_nothing)
{
    struct coord_lab l;
    coord_lab_open(&l);
    struct coord_totals t = totals(&l);
    for (int i = 0; i < COORD_PARTS; i++)
        assert_int_equal(t.count[i], 0);
    assert_int_equal(t.full, 0);
    coord_lab_close(&l);
}

TEST(claims_that_hold_and_wait_are_counted_and_go)
{
    struct coord_lab l;
    struct coord_grant one, two;
    struct err e = ERR_INIT;
    coord_lab_open(&l);
    struct coord_ask ask = {.name = "a", .id = "1", .form = COORD_LEASE, .n = 1};
    assert_int_equal(coord_lab_acquire(&l, &ask, &one, &e), 0);
    ask.id = "2";
    ask.wait_ms = 1000;
    assert_int_equal(coord_lab_acquire(&l, &ask, &two, &e), 0);
    assert_int_equal(totals(&l).count[COORD_CLAIMS], 2);
    assert_int_equal(totals(&l).waiting, 0); /* nobody asks by way of this process */
    assert_int_equal(coord_lab_release(&l, "a", one.token, "1", &e), 0);
    assert_int_equal(totals(&l).count[COORD_CLAIMS], 1);
    coord_lab_close(&l);
}

TEST(tenants_are_summed_and_the_one_that_is_nearest_to_its_bound_is_named)
{
    struct coord_lab l;
    coord_lab_open(&l);
    set_use(&l, "a", COORD_USE_KEYS, 10);
    set_use(&l, "b", COORD_USE_KEYS, COORD_ROWS_MAX / 10 * 9);
    set_use(&l, "a", COORD_USE_BYTES, COORD_VALUES_BYTES / 2);
    set_use(&l, "b", COORD_USE_INBOX, COORD_INBOX_MAX / 4);
    set_use(&l, "b", COORD_USE_VERSION, INT64_MAX / 2); /* no more of that than there may be */
    struct coord_totals t = totals(&l);
    assert_int_equal(t.count[COORD_KEYS], COORD_ROWS_MAX / 10 * 9 + 10);
    assert_int_equal(t.count[COORD_INBOX], COORD_INBOX_MAX / 4);
    assert_int_equal(t.key_bytes, COORD_VALUES_BYTES / 2);
    assert_int_equal(t.full, 90);
    assert_string_equal(t.full_tenant, "b");
    assert_string_equal(t.full_of, "keys");
    coord_lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(of_nothing_there_is_nothing),
        HEAP_TEST(claims_that_hold_and_wait_are_counted_and_go),
        HEAP_TEST(tenants_are_summed_and_the_one_that_is_nearest_to_its_bound_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
