#include "codec/zone_rule.h"

#include "base/time.h"
#include "support/unit.h"

enum { HOUR = 3600 };

static struct zone_rule rule_of(const char *text)
{
    struct zone_rule r;
    struct err e = ERR_INIT;
    if (zone_rule_parse(text, strlen(text), &r, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    return r;
}

static int64_t seconds_of(const char *utc)
{
    int64_t ms = 0;
    assert_true(time_parse(utc, strlen(utc), &ms));
    return ms / 1000;
}

/* Summer lasts [from, until), so the seconds before each belong to the other. */
static void has_summer(const char *text, const char *from, const char *until, int32_t standard,
                       int32_t summer)
{
    struct zone_rule r = rule_of(text);
    int64_t a = seconds_of(from), b = seconds_of(until), x, y;
    assert_int_equal(zone_rule_offset(&r, a - 1, &x, &y), standard);
    assert_int_equal(y, a);
    assert_int_equal(zone_rule_offset(&r, a, &x, &y), summer);
    assert_int_equal(x, a);
    assert_int_equal(y, b);
    assert_int_equal(zone_rule_offset(&r, b - 1, &x, &y), summer);
    assert_int_equal(zone_rule_offset(&r, b, &x, &y), standard);
    assert_int_equal(x, b);
}

TEST(a_rule_without_summer_has_one_offset)
{
    int64_t from, until;
    struct zone_rule r = rule_of("<+0545>-5:45");
    assert_int_equal(zone_rule_offset(&r, 0, &from, &until), 5 * HOUR + 45 * 60);
    assert_true(from == INT64_MIN && until == INT64_MAX);
    r = rule_of("EST5");
    assert_int_equal(zone_rule_offset(&r, 0, &from, &until), -5 * HOUR);
    r = rule_of("");
    assert_false(r.present);
}

TEST(summer_is_between_two_weekdays_of_months)
{
    has_summer("CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", HOUR,
               2 * HOUR);
    has_summer("EST5EDT,M3.2.0,M11.1.0", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", -5 * HOUR,
               -4 * HOUR);
    /* South of the equator it begins late in the year. */
    has_summer("<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45", "2026-09-26T14:00:00Z",
               "2027-04-03T14:00:00Z", 12 * HOUR + 2700, 13 * HOUR + 2700);
    /* The time may lie days behind or before. */
    has_summer("EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-28T00:00:00Z", "2026-10-23T23:00:00Z",
               2 * HOUR, 3 * HOUR);
    has_summer("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z",
               -2 * HOUR, -HOUR);
    /* Dublin's summer time is its standard time; winter is the exception. */
    has_summer("IST-1GMT0,M10.5.0,M3.5.0/1", "2026-10-25T01:00:00Z", "2027-03-28T01:00:00Z", HOUR,
               0);
}

TEST(summer_is_between_two_days_of_the_year)
{
    has_summer("AAA0BBB,J60/0,J61/1", "2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z", 0, HOUR);
    has_summer("AAA0BBB,J60/0,J61/1", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", 0, HOUR);
    has_summer("AAA0BBB,59/0,60/1", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", 0, HOUR);
    has_summer("AAA0BBB,59/0,60/1", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", 0, HOUR);
}

TEST(summer_may_last_all_year)
{
    struct zone_rule r = rule_of("XXX3EDT4,0/0,J365/23");
    int64_t from, until;
    for (int64_t at = seconds_of("2024-12-01T00:00:00Z"); at < seconds_of("2027-02-01T00:00:00Z");
         at += HOUR)
        assert_int_equal(zone_rule_offset(&r, at, &from, &until), -4 * HOUR);
}

TEST(text_of_another_form_is_refused_with_its_place)
{
    static const char *const bad[] = {
        "X",
        "UT1",
        "<+1>",
        "UTC",
        "UTC+",
        "UTC25",
        "UTC0:60",
        "UTC0:0:60",
        "UTC0:",
        "AAA0BBB",
        "AAA0BBB,M3.5.0",
        "AAA0BBB,M13.5.0,M1.1.0",
        "AAA0BBB,M1.6.0,M1.1.0",
        "AAA0BBB,M1.1.7,M1.1.0",
        "AAA0BBB,J0,J1",
        "AAA0BBB,J366,J1",
        "AAA0BBB,366,1",
        "AAA0BBB,M3.5.0/168,M10.5.0",
        "AAA0BBB,M3.5.0,M10.5.0 ",
        "<AAA0",
        ",",
        "UTC0000",
        "AAA0BBB,M3.5,M10.5.0",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct zone_rule r;
        struct err e = ERR_INIT;
        if (zone_rule_parse(bad[i], strlen(bad[i]), &r, &e) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(e.text, "not of the form of POSIX TZ"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_rule_without_summer_has_one_offset),
        HEAP_TEST(summer_is_between_two_weekdays_of_months),
        HEAP_TEST(summer_is_between_two_days_of_the_year),
        HEAP_TEST(summer_may_last_all_year),
        HEAP_TEST(text_of_another_form_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
