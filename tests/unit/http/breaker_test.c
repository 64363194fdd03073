#include "http/breaker.h"

#include "support/unit.h"

static uint64_t wait_ms;

static void fail_times(struct breaker *b, int n, uint64_t at)
{
    for (int i = 0; i < n; i++) {
        assert_true(breaker_may(b, at, &wait_ms));
        breaker_note(b, false, at);
    }
}

TEST(it_opens_after_failures_in_a_row_only)
{
    struct breaker b = {0};
    fail_times(&b, BREAKER_FAILURES - 1, 1000);
    assert_true(breaker_may(&b, 1000, &wait_ms));
    breaker_note(&b, true, 1000);
    fail_times(&b, BREAKER_FAILURES - 1, 1000);
    assert_true(breaker_is_closed(&b));
    fail_times(&b, 1, 2000);
    assert_false(breaker_is_closed(&b));
    assert_false(breaker_may(&b, 2001, &wait_ms));
    assert_int_equal(wait_ms, BREAKER_REST_MS - 1);
}

TEST(one_request_finds_out_whether_it_is_well_again)
{
    struct breaker b = {0};
    fail_times(&b, BREAKER_FAILURES, 1000);
    uint64_t then = 1000 + BREAKER_REST_MS;
    assert_true(breaker_may(&b, then, &wait_ms));
    assert_false(breaker_may(&b, then, &wait_ms)); /* one at a time */
    breaker_note(&b, false, then);
    assert_false(breaker_may(&b, then + 1, &wait_ms));
    then += BREAKER_REST_MS;
    assert_true(breaker_may(&b, then, &wait_ms));
    breaker_note(&b, true, then);
    assert_true(breaker_may(&b, then, &wait_ms));
    assert_true(breaker_may(&b, then, &wait_ms));
}

TEST(one_that_never_comes_back_does_not_hold_it_open_for_ever)
{
    struct breaker b = {0};
    fail_times(&b, BREAKER_FAILURES, 0);
    assert_true(breaker_may(&b, BREAKER_REST_MS, &wait_ms));
    assert_false(breaker_may(&b, 2 * BREAKER_REST_MS - 1, &wait_ms));
    assert_true(breaker_may(&b, 2 * BREAKER_REST_MS, &wait_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(it_opens_after_failures_in_a_row_only),
        HEAP_TEST(one_request_finds_out_whether_it_is_well_again),
        HEAP_TEST(one_that_never_comes_back_does_not_hold_it_open_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
