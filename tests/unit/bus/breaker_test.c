#include "bus/breaker.h"

#include "support/unit.h"

static struct target_breaker b;
static int64_t wait_ms;
static uint32_t ticket;

static bool may(int64_t now)
{
    bool yes = target_breaker_may(&b, now, &ticket, &wait_ms);
    target_breaker_check(&b);
    return yes;
}

static void attempt(bool ok, int64_t now)
{
    assert_true(may(now));
    target_breaker_note(&b, ticket, ok, now);
}

static void fail_times(int n, int64_t now)
{
    for (int i = 0; i < n; i++)
        attempt(false, now);
}

static int begin(void **state)
{
    memset(&b, 0, sizeof(b));
    return unit_before(state);
}

TEST(it_opens_after_five_failures_in_a_row)
{
    fail_times(4, 1000);
    attempt(true, 1000);
    fail_times(4, 1000);
    assert_true(may(1000));
    target_breaker_note(&b, ticket, false, 1000);
    assert_false(may(1000));
    assert_int_equal(wait_ms, 5000);
    assert_false(may(5999));
    assert_int_equal(wait_ms, 1);
}

TEST(it_opens_when_half_of_twenty_failed)
{
    for (int i = 0; i < 9; i++) {
        attempt(false, 0);
        attempt(true, 0);
    }
    attempt(true, 0); /* 19, of which 9 failed */
    attempt(true, 0);
    assert_int_equal(b.state, TARGET_CLOSED);
    attempt(true, 0); /* the oldest, a failure, is out of sight: 8 of 20 */
    attempt(false, 0);
    assert_int_equal(b.state, TARGET_CLOSED);
    attempt(false, 0);
    assert_int_equal(b.state, TARGET_CLOSED); /* one came in, one went out */
    attempt(false, 0);
    assert_int_equal(b.state, TARGET_OPEN);
}

TEST(one_probe_decides_and_the_wait_doubles_up_to_a_minute)
{
    static const int64_t waits[] = {5000, 10000, 20000, 40000, 60000, 60000};
    int64_t now = 0;
    fail_times(5, now);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        assert_false(may(now + waits[i] - 1));
        now += waits[i];
        assert_true(may(now));
        uint32_t probe = ticket;
        assert_false(may(now)); /* one at a time */
        target_breaker_note(&b, probe, false, now);
    }
    now += 60000;
    attempt(true, now);
    fail_times(4, now); /* nothing is remembered */
    assert_int_equal(b.state, TARGET_CLOSED);
    fail_times(1, now);
    assert_false(may(now));
    assert_int_equal(wait_ms, 5000);
}

TEST(what_began_before_the_state_changed_is_not_counted)
{
    assert_true(may(0));
    uint32_t old = ticket;
    fail_times(5, 0);
    target_breaker_note(&b, old, true, 1);
    assert_int_equal(b.state, TARGET_OPEN);
    assert_true(may(5000));
    uint32_t probe = ticket;
    target_breaker_note(&b, old, true, 5001);
    assert_int_equal(b.state, TARGET_PROBING);
    target_breaker_note(&b, probe, true, 5002);
    target_breaker_note(&b, old, false, 5003);
    assert_int_equal(b.in_row, 0);
}

TEST(a_probe_that_is_not_heard_of_is_given_up)
{
    fail_times(5, 0);
    assert_true(may(5000));
    uint32_t lost = ticket;
    assert_false(may(5000 + TARGET_PROBE_MS - 1));
    assert_true(may(5000 + TARGET_PROBE_MS));
    target_breaker_note(&b, lost, true, 5000 + TARGET_PROBE_MS);
    assert_int_equal(b.state, TARGET_PROBING);
    target_breaker_note(&b, ticket, true, 5000 + TARGET_PROBE_MS);
    assert_int_equal(b.state, TARGET_CLOSED);
}

TEST(whatever_happens_the_rules_hold)
{
    uint32_t seed = 7, tickets[8] = {0};
    int64_t now = 0;
    int opened = 0, closed = 0;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t r = seed >> 8;
        enum target_state before = b.state;
        now += r % 3000;
        if (r % 5 != 0 && may(now))
            tickets[r % 8] = ticket;
        target_breaker_note(&b, tickets[(r >> 3) % 8], (r >> 7) % 100 < (i < 100000 ? 40 : 80),
                            now);
        opened += before == TARGET_CLOSED && b.state == TARGET_OPEN;
        closed += before != TARGET_CLOSED && b.state == TARGET_CLOSED;
    }
    assert_in_range(opened - closed, 0, 1);
    assert_true(opened > 100);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, unit_after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(it_opens_after_five_failures_in_a_row),
        CASE(it_opens_when_half_of_twenty_failed),
        CASE(one_probe_decides_and_the_wait_doubles_up_to_a_minute),
        CASE(what_began_before_the_state_changed_is_not_counted),
        CASE(a_probe_that_is_not_heard_of_is_given_up),
        CASE(whatever_happens_the_rules_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
