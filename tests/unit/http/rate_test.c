#include "http/rate.h"

#include <stdio.h>

#include "support/unit.h"

#define SECOND UINT64_C(1000000000)

static struct rate_answer ask(struct rate *r, const char *who, uint64_t at)
{
    struct rate_answer a;
    rate_take(r, who, at, &a);
    return a;
}

static int taken(struct rate *r, const char *who, uint64_t at, int tries)
{
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += ask(r, who, at).taken;
    return n;
}

TEST(without_a_rule_everything_is_taken)
{
    struct rate *r = rate_new(1);
    assert_false(rate_is_on(r));
    assert_int_equal(taken(r, "192.0.2.1", 5, 1000), 1000);
    assert_int_equal(ask(r, "192.0.2.1", 5).limit, 0);
    rate_free(r);
}

TEST(each_caller_has_a_burst_and_then_its_rate)
{
    struct rate *r = rate_new(1);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 10, .per_ms = 1000}));
    assert_int_equal(taken(r, "192.0.2.1", SECOND, 50), 10);
    assert_int_equal(taken(r, "192.0.2.2", SECOND, 50), 10);
    assert_int_equal(taken(r, "192.0.2.1", SECOND + SECOND / 2, 50), 5);
    assert_int_equal(taken(r, "192.0.2.1", 100 * SECOND, 50), 10); /* and never more */
    int n = 0;
    for (uint64_t i = 1; i <= 100; i++) /* ten seconds, ten tries in each */
        n += taken(r, "192.0.2.1", 100 * SECOND + i * SECOND / 10, 3);
    assert_int_equal(n, 100);
    rate_free(r);
}

TEST(answers_say_what_is_left_and_how_long_to_wait)
{
    struct rate *r = rate_new(1);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 2, .per_ms = 10000, .burst = 3}));
    struct rate_answer a = ask(r, "192.0.2.1", SECOND);
    assert_true(a.taken);
    assert_int_equal(a.limit, 3);
    assert_int_equal(a.remaining, 2);
    assert_int_equal(a.per_ms, 10000);
    assert_int_equal(a.full_ms, 5000);
    assert_int_equal(taken(r, "192.0.2.1", SECOND, 2), 2);
    a = ask(r, "192.0.2.1", 2 * SECOND);
    assert_false(a.taken);
    assert_int_equal(a.remaining, 0);
    assert_int_equal(a.wait_ms, 4000);
    assert_false(ask(r, "192.0.2.1", 6 * SECOND - 1).taken);
    assert_true(ask(r, "192.0.2.1", 6 * SECOND).taken);
    rate_free(r);
}

TEST(of_ipv6_the_network_is_the_caller)
{
    struct rate *r = rate_new(1);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 1, .per_ms = 1000}));
    assert_true(ask(r, "2001:db8::1", SECOND).taken);
    assert_false(ask(r, "2001:db8::2", SECOND).taken);
    assert_true(ask(r, "2001:db8:0:1::1", SECOND).taken);
    assert_true(ask(r, "::ffff:192.0.2.1", SECOND).taken);
    assert_true(ask(r, "::ffff:192.0.2.2", SECOND).taken);
    rate_free(r);
}

TEST(all_together_share_one_bucket)
{
    struct rate *r = rate_new(1);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 4, .per_ms = 1000, .together = true}));
    assert_int_equal(taken(r, "192.0.2.1", SECOND, 3), 3);
    assert_int_equal(taken(r, "192.0.2.2", SECOND, 3), 1);
    rate_free(r);
}

TEST(a_rule_that_changes_keeps_what_was_used)
{
    struct rate *r = rate_new(1);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 100, .per_ms = 1000}));
    assert_int_equal(taken(r, "192.0.2.1", SECOND, 100), 100);
    assert_true(rate_set(r, &(struct rate_rule){.rate = 1, .per_ms = 1000}));
    assert_false(ask(r, "192.0.2.1", SECOND).taken);
    assert_true(ask(r, "192.0.2.1", 2 * SECOND).taken); /* no longer than the new rule says */
    assert_true(rate_set(r, &(struct rate_rule){.rate = 0}));
    assert_int_equal(taken(r, "192.0.2.1", 2 * SECOND, 50), 50);
    rate_free(r);
}

TEST(a_flood_of_callers_costs_no_memory_and_forgets_the_least_busy) /* H3 */
{
    struct rate *r = rate_new(1);
    char who[32];
    int known = 0;
    assert_true(rate_set(r, &(struct rate_rule){.rate = 10, .per_ms = 1000}));
    assert_int_equal(taken(r, "192.0.2.1", SECOND, 10), 10);
    for (unsigned i = 0; i < 2 * RATE_CALLERS_MAX; i++) {
        snprintf(who, sizeof who, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_true(ask(r, who, SECOND).taken);
    }
    assert_false(ask(r, "192.0.2.1", SECOND).taken); /* who has used most is remembered */
    for (unsigned i = 0; i < RATE_CALLERS_MAX; i++) {
        snprintf(who, sizeof who, "10.1.%u.%u", i >> 8 & 255, i & 255);
        known += ask(r, who, SECOND).remaining == 8;
    }
    assert_true(known > 0);
    rate_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(without_a_rule_everything_is_taken),
        HEAP_TEST(each_caller_has_a_burst_and_then_its_rate),
        HEAP_TEST(answers_say_what_is_left_and_how_long_to_wait),
        HEAP_TEST(of_ipv6_the_network_is_the_caller),
        HEAP_TEST(all_together_share_one_bucket),
        HEAP_TEST(a_rule_that_changes_keeps_what_was_used),
        HEAP_TEST(a_flood_of_callers_costs_no_memory_and_forgets_the_least_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
