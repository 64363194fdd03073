#include "codec/cron.h"

#include <stdio.h>

#include "base/time.h"
#include "codec/zone.h"
#include "support/unit.h"

static int64_t ms_of(const char *text)
{
    int64_t ms;
    if (!time_parse(text, strlen(text), &ms))
        fail_msg("%s is no time", text);
    return ms;
}

static void next_is(const char *text, const char *after, const char *want)
{
    struct cron c;
    struct zone z;
    struct err e = ERR_INIT;
    char got[TIME_TEXT];
    int64_t at;
    if (cron_parse(text, &c, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    assert_int_equal(zone_find("UTC", &z, &e), 0);
    assert_true(cron_next(&c, &z, ms_of(after), &at));
    time_format(at, got);
    if (at != ms_of(want))
        fail_msg("%s after %s: %s, not %s", text, after, got, want);
}

static void refused(const char *text, const char *words)
{
    struct cron c;
    struct err e = ERR_INIT;
    int rc = cron_parse(text, &c, &e);
    if (rc == 0)
        fail_msg("taken: %s", text);
    assert_int_equal(rc, ERR_INVALID);
    if (strstr(e.text, words) == NULL)
        fail_msg("'%s': no \"%s\" in \"%s\"", text, words, e.text);
}

TEST(names_are_taken_in_any_case_and_lists_may_mix)
{
    next_is("0 0 * jan,MAR-may,7 *", "2026-01-31T00:00:00Z", "2026-03-01T00:00:00Z");
    next_is("0 0 * jan,MAR-may,7 *", "2026-05-31T00:00:00Z", "2026-07-01T00:00:00Z");
    next_is("0 0 * * Mon,WED-fri", "2026-01-02T00:00:00Z", "2026-01-05T00:00:00Z");
    next_is("0 0 * * fri-sun", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z");
    next_is("1,2-4,10-20/5,50/4 0 * * *", "2026-01-01T00:20:00Z", "2026-01-01T00:50:00Z");
    next_is("\t 5  0\t* * * ", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z");
}

TEST(special_days_may_stand_in_lists)
{
    next_is("0 0 L,1 * *", "2026-01-30T00:00:00Z", "2026-01-31T00:00:00Z");
    next_is("0 0 L,1 * *", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z");
    next_is("0 0 * * MON#1,FRIL", "2026-01-05T00:00:00Z", "2026-01-30T00:00:00Z");
    next_is("0 0 * * 0#5", "2026-01-01T00:00:00Z", "2026-03-29T00:00:00Z");
    next_is("0 0 * * 7L", "2026-01-01T00:00:00Z", "2026-01-25T00:00:00Z");
    next_is("0 0 l-1 * *", "2026-01-01T00:00:00Z", "2026-01-30T00:00:00Z");
    next_is("0 0 lw,15w * *", "2026-01-01T00:00:00Z", "2026-01-15T00:00:00Z");
    next_is("0 0 13 * FRI", "2026-01-09T00:00:00Z", "2026-01-13T00:00:00Z");
}

TEST(moments_come_strictly_after_the_one_asked_for)
{
    next_is("* * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    next_is("* * * * * *", "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:01Z");
    next_is("* * * * * *", "2026-01-01T00:00:00.999Z", "2026-01-01T00:00:01Z");
    next_is("0 0 1 1 *", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z");
    next_is("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
    /* Both must fit, since the weekday begins with *: leap days on a Sunday or Saturday. */
    next_is("0 0 29 2 */6", "2088-03-01T00:00:00Z", "2116-02-29T00:00:00Z");
}

TEST(every_is_a_fixed_grid_since_1970)
{
    next_is("@every 10s", "2026-01-01T00:00:03Z", "2026-01-01T00:00:10Z");
    next_is("@every 10s", "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z");
    next_is("@EVERY 1h30m", "1970-01-01T00:00:00Z", "1970-01-01T01:30:00Z");
    next_is("@every 7d", "1970-01-01T00:00:00Z", "1970-01-08T00:00:00Z");
    next_is("@every 1s", "1969-12-31T23:59:58.500Z", "1969-12-31T23:59:59Z");
}

TEST(nothing_comes_after_the_year_9999)
{
    struct cron c;
    struct zone z;
    struct err e = ERR_INIT;
    int64_t at;
    static const char *const texts[] = {"0 0 1 1 *", "0 * 1 1 *", "@every 365d"};
    assert_int_equal(zone_find("UTC", &z, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(cron_parse(texts[i], &c, &e), 0);
        assert_true(cron_next(&c, &z, ms_of("9998-12-31T22:00:00Z"), &at));
        assert_false(cron_next(&c, &z, ms_of("9999-12-31T23:00:00Z"), &at));
        assert_false(cron_next(&c, &z, INT64_MAX, &at));
        assert_true(cron_next(&c, &z, INT64_MIN, &at));
    }
}

TEST(an_error_names_field_value_and_way_out)
{
    refused("", "five fields");
    refused("* * * *", "4 fields; write five");
    refused("0 15 10 ? * FRI 2005", "a year is not possible");
    refused("1 2 3 4 5 6 7 8 9 10", "10 fields");
    refused("60 * * * *", "minute '60': 60 is not within 0-59");
    refused("61 * * * * *", "second '61'");
    refused("0 24 * * *", "hour '24': 24 is not within 0-23");
    refused("0 0 0 * *", "day '0': 0 is not within 1-31");
    refused("0 0 * 13 *", "month '13': 13 is not within 1-12");
    refused("0 0 * * 8", "weekday '8': 8 is not within 0-7");
    refused("0 0 * * 99999999999999999999", "is not within 0-7");
    refused("0 0 * * monday", "weekday 'monday': there is no such name; did you mean MON");
    refused("0 0 * sept *", "did you mean SEP");
    refused("0 0 * * FRO", "did you mean");
    refused("0 0 mon * *", "day 'mon': write numbers 1-31");
    refused("x * * * *", "minute 'x': write numbers 0-59");
    refused("H * * * *", "use jitter");
    refused("? * * * *", "? is for the day and the weekday");
    refused("0 22-6 * * *", "hour '22-6': the range runs backwards; write it as two: 22-23,0-6");
    refused("0 0 * * FRI-MON", "write it as two: 5-6,0-1");
    refused("*/0 * * * *", "a step is at least 1");
    refused("*/60 * * * *", "no second one comes after a step of 60 within 0-59; write 0");
    refused("5-10/9 * * * *", "write 5");
    refused("*/ * * * *", "a step is a number");
    refused("1- * * * *", "write *, a number 0-59");
    refused("1,,2 * * * *", "write *, a number 0-59");
    refused(", * * * *", "write *, a number 0-59");
    refused("-1 * * * *", "write *, a number 0-59");
    refused("1.5 * * * *", "minute '1.5': not understood");
    refused("** * * * *", "not understood");
    refused("0 0 L-31 * *", "L-1 to L-30");
    refused("0 0 LX * *", "not understood");
    refused("0 0 15WW * *", "not understood");
    refused("0 0 * * L", "write FRIL");
    refused("0 0 * * FRI#6", "write #1 to #5");
    refused("0 0 * * FRI#", "write #1 to #5");
    refused("0 0 30 2 *", "day '30', month '2', weekday '*': there is never such a day");
    refused("0 0 31 4,6,9,11 ?", "write L as the day");
    refused("0 0 31 2,4 *", "never such a day");
    refused("@reboot", "on_start");
    refused("@hourl", "did you mean @hourly");
    refused("@fortnightly", "write @hourly");
    refused("@daily 5", "no macro '@daily 5'");
    refused("@every", "@every");
    refused("@every 500ms", "at least 1s");
    refused("@every soon", "@every");
    refused("TZ=Europe/Lisbon 0 0 * * *", "set tz");
    refused("CRON_TZ=UTC 0 0 * * *", "set tz");
    refused("0 0 * *\n*", "not a printable character");
    char text[400];
    memset(text, '1', sizeof text);
    text[399] = '\0';
    refused(text, "longer than 256 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(names_are_taken_in_any_case_and_lists_may_mix),
        HEAP_TEST(special_days_may_stand_in_lists),
        HEAP_TEST(moments_come_strictly_after_the_one_asked_for),
        HEAP_TEST(every_is_a_fixed_grid_since_1970),
        HEAP_TEST(nothing_comes_after_the_year_9999),
        HEAP_TEST(an_error_names_field_value_and_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
