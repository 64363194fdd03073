#include "api/lag.h"

#include "support/unit.h"

TEST(what_is_applied_has_no_lag)
{
    struct lag l = {0};
    assert_int_equal(lag_note(&l, 0, 0, 1000), 0);
    assert_int_equal(lag_note(&l, 7, 7, 9000), 0);
    assert_int_equal(lag_note(&l, 7, 7, 99000), 0); /* idle is not behind */
}

TEST(a_log_that_grows_while_it_is_applied_is_no_lag)
{
    struct lag l = {0};
    for (uint64_t i = 1; i < 100; i++)
        assert_true(lag_note(&l, 1000 * i, 1000 * i + 900, 1000 * i) <= 1000);
}

TEST(what_was_there_and_is_not_applied_ages) /* O1 */
{
    struct lag l = {0};
    assert_int_equal(lag_note(&l, 5, 9, 1000), 0);
    assert_int_equal(lag_note(&l, 8, 20, 4000), 3000); /* of 9, whatever came behind it */
    assert_int_equal(lag_note(&l, 8, 30, 6500), 5500);
    assert_int_equal(lag_note(&l, 9, 30, 7000), 0); /* the next mark: 30 */
    assert_int_equal(lag_note(&l, 29, 30, 9000), 2000);
    assert_int_equal(lag_note(&l, 30, 30, 9500), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_is_applied_has_no_lag),
        HEAP_TEST(a_log_that_grows_while_it_is_applied_is_no_lag),
        HEAP_TEST(what_was_there_and_is_not_applied_ages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
