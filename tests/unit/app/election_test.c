#include "app/election.h"

#include "support/unit.h"

static const struct election_candidate embedded = {"embedded", 0, false, NULL, false};

static json_t *hold(const char *pin, const struct election_candidate *c, size_t n,
                    const char *winner)
{
    struct err e = ERR_INIT;
    size_t at = n;
    json_t *report = NULL;
    if (election_hold("cache", "cache.provider", pin, c, n, &at, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(c[at].name, winner);
    assert_string_equal(json_string_value(json_object_get(report, "winner")), winner);
    assert_int_equal(json_array_size(json_object_get(report, "losers")), n - 1);
    return report;
}

static void gives(const char *pin, const struct election_candidate *c, size_t n, const char *winner,
                  const char *reason)
{
    json_t *report = hold(pin, c, n, winner);
    const char *got = json_string_value(json_object_get(report, "reason"));
    if (strstr(got, reason) == NULL)
        fail_msg("no \"%s\" in \"%s\"", reason, got);
    size_t i;
    json_t *loser;
    json_array_foreach(json_object_get(report, "losers"), i, loser)
    {
        assert_true(json_string_length(json_object_get(loser, "reason")) > 0);
    }
    json_decref(report);
}

TEST(a_pin_is_used_whatever_else_there_is) /* F2 */
{
    struct election_candidate c[] = {embedded,
                                     {"redis", 10, true, "environment REDIS_URL", true},
                                     {"consul", 20, true, "koan.lua", false}};
    gives("consul", c, 3, "consul", "cache.provider pins it");
    gives("embedded", c, 3, "embedded", "pins it");
}

TEST(a_pin_that_is_wrong_is_refused) /* F2 */
{
    struct election_candidate c[] = {embedded, {"redis", 10, true, NULL, false}};
    struct err e = ERR_INIT;
    size_t at = 7;
    assert_refused(election_hold("cache", "cache.provider", "rediss", c, 2, &at, NULL, &e),
                   ERR_INVALID, "did you mean 'redis'?");
    assert_refused(election_hold("cache", "cache.provider", "redis", c, 2, &at, NULL, &e),
                   ERR_INVALID, "no address of it is known");
    assert_int_equal(at, 7);
}

TEST(without_a_pin_an_address_that_was_found_decides)
{
    struct election_candidate c[] = {embedded,
                                     {"consul", 20, true, "koan.lua", false},
                                     {"redis", 10, true, "environment REDIS_URL", true}};
    gives(NULL, c, 3, "redis", "its address was found: environment REDIS_URL");
    c[2].found = NULL;
    gives(NULL, c, 3, "consul", "its address was found: koan.lua");
    c[1].found = NULL;
    gives(NULL, c, 3, "embedded", "no address of another one");
}

TEST(then_priority_then_the_name)
{
    struct election_candidate c[] = {{"b", 5, true, "environment B", true},
                                     {"a", 5, true, "environment A", true},
                                     {"c", 9, true, "environment C", true}};
    gives(NULL, c, 3, "c", "environment C");
    c[2].priority = 5;
    gives(NULL, c, 3, "a", "environment A");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_pin_is_used_whatever_else_there_is),
        HEAP_TEST(a_pin_that_is_wrong_is_refused),
        HEAP_TEST(without_a_pin_an_address_that_was_found_decides),
        HEAP_TEST(then_priority_then_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
