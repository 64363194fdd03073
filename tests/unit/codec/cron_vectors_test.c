/* What others publish about their own cron, as cases: the same expression comes at the same moments
 * here. Facts were taken, no code:
 *
 *   robfig/cron v1, spec_test.go                     MIT
 *   Quartz 2.x, CronTrigger tutorial, examples       Apache-2.0
 *   cronie, crontab(5) and cron(8), examples, rules  ISC
 *
 * Quartz counts weekdays from 1; its numbers are written as names here. Years, its seventh field,
 * are left out. */
#include "codec/cron.h"

#include <stdio.h>

#include "base/time.h"
#include "codec/zone.h"
#include "support/unit.h"

struct vector {
    const char *text, *zone, *after;
    const char *next[4]; /* one after the other */
};

static int64_t ms_of(const char *text)
{
    int64_t ms;
    if (!time_parse(text, strlen(text), &ms))
        fail_msg("%s is no time", text);
    return ms;
}

static void vector_check(const struct vector *v)
{
    struct cron c;
    struct zone z;
    struct err e = ERR_INIT;
    if (cron_parse(v->text, &c, &e) != 0 || zone_find(v->zone, &z, &e) != 0)
        fail_msg("%s: %s", v->text, e.text);
    int64_t at = ms_of(v->after);
    for (size_t i = 0; i < ARRAY_LEN(v->next) && v->next[i] != NULL; i++) {
        char got[TIME_TEXT];
        assert_true(cron_next(&c, &z, at, &at));
        time_format(at, got);
        if (at != ms_of(v->next[i]))
            fail_msg("%s in %s after %s: came %s, not %s", v->text, v->zone,
                     i == 0 ? v->after : v->next[i - 1], got, v->next[i]);
    }
}

static void vectors_check(const struct vector *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        vector_check(&v[i]);
}

TEST(expressions_of_robfig_come_at_the_same_moments)
{
    static const struct vector v[] = {
        {"0 0/15 * * * *", "UTC", "2012-07-09T14:45:00Z", {"2012-07-09T15:00:00Z"}},
        {"0 0/15 * * * *", "UTC", "2012-07-09T14:59:00Z", {"2012-07-09T15:00:00Z"}},
        {"0 0/15 * * * *", "UTC", "2012-07-09T14:59:59Z", {"2012-07-09T15:00:00Z"}},
        {"0 20-35/15 * * * *", "UTC", "2012-07-09T15:45:00Z", {"2012-07-09T16:20:00Z"}},
        {"0 */15 * * * *", "UTC", "2012-07-09T23:46:00Z", {"2012-07-10T00:00:00Z"}},
        {"0 20-35/15 * * * *", "UTC", "2012-07-09T23:45:00Z", {"2012-07-10T00:20:00Z"}},
        {"15/35 20-35/15 * * * *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-10T00:20:15Z"}},
        {"15/35 20-35/15 1/2 * * *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-10T01:20:15Z"}},
        {"15/35 20-35/15 10-12 * * *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-10T10:20:15Z"}},
        {"15/35 20-35/15 1/2 */2 * *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-11T01:20:15Z"}},
        {"15/35 20-35/15 * 9-20 * *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-10T00:20:15Z"}},
        {"15/35 20-35/15 * 9-20 Jul *", "UTC", "2012-07-09T23:35:51Z", {"2012-07-10T00:20:15Z"}},
        {"0 0 0 9 Apr-Oct ?", "UTC", "2012-07-09T23:35:00Z", {"2012-08-09T00:00:00Z"}},
        {"0 0 0 */5 Apr,Aug,Oct Mon", "UTC", "2012-07-09T23:35:00Z", {"2012-08-06T00:00:00Z"}},
        {"0 0 0 */5 Oct Mon", "UTC", "2012-07-09T23:35:00Z", {"2012-10-01T00:00:00Z"}},
        {"0 0 0 * Feb Mon", "UTC", "2012-07-09T23:35:00Z", {"2013-02-04T00:00:00Z"}},
        {"0 0 0 * Feb Mon/2", "UTC", "2012-07-09T23:35:00Z", {"2013-02-01T00:00:00Z"}},
        {"0 * * * * *", "UTC", "2012-12-31T23:59:45Z", {"2013-01-01T00:00:00Z"}},
        {"0 0 0 29 Feb ?", "UTC", "2012-07-09T23:35:00Z", {"2016-02-29T00:00:00Z"}},
        {"0 30 2 04 Nov ?",
         "America/New_York",
         "2012-11-04T00:00:00-04:00",
         {"2012-11-04T02:30:00-05:00"}},
        /* Which of two days fits. */
        {"0 5/15 * * * *",
         "UTC",
         "2012-07-09T15:00:00Z",
         {"2012-07-09T15:05:00Z", "2012-07-09T15:20:00Z"}},
        {"0 0/15 * * Jun *", "UTC", "2012-07-15T14:59:59Z", {"2013-06-01T00:00:00Z"}},
        {"0 30 08 ? Jul Sun",
         "UTC",
         "2012-07-15T08:29:59Z",
         {"2012-07-15T08:30:00Z", "2012-07-22T08:30:00Z"}},
        {"0 30 08 15 Jul ?",
         "UTC",
         "2012-07-15T08:29:59Z",
         {"2012-07-15T08:30:00Z", "2013-07-15T08:30:00Z"}},
        {"@hourly",
         "UTC",
         "2012-07-09T14:59:59Z",
         {"2012-07-09T15:00:00Z", "2012-07-09T16:00:00Z"}},
        {"@daily", "UTC", "2012-07-08T23:59:59Z", {"2012-07-09T00:00:00Z", "2012-07-10T00:00:00Z"}},
        {"@weekly",
         "UTC",
         "2012-07-07T23:59:59Z",
         {"2012-07-08T00:00:00Z", "2012-07-15T00:00:00Z"}},
        {"@monthly",
         "UTC",
         "2012-06-30T23:59:59Z",
         {"2012-07-01T00:00:00Z", "2012-08-01T00:00:00Z"}},
        {"0 0 0 1,15 * Sun",
         "UTC",
         "2012-07-14T23:59:59Z",
         {"2012-07-15T00:00:00Z", "2012-07-22T00:00:00Z", "2012-07-29T00:00:00Z",
          "2012-08-01T00:00:00Z"}},
        {"0 0 0 */10 * Sun", "UTC", "2012-07-14T23:59:59Z", {"2012-10-21T00:00:00Z"}},
        {"0 0 0 1,15 * *", "UTC", "2012-07-09T00:00:00Z", {"2012-07-15T00:00:00Z"}},
        {"0 0 0 */2 * Sun", "UTC", "2012-07-14T23:59:59Z", {"2012-07-15T00:00:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

/* robfig leaves a time in the gap out for a year and runs one that comes twice both times; here it
 * is as in cronie. */
TEST(where_robfig_skips_or_repeats_a_time_it_runs_once)
{
    static const struct vector v[] = {
        {"0 30 2 11 Mar ?",
         "America/New_York",
         "2012-03-11T00:00:00-05:00",
         {"2012-03-11T03:00:00-04:00", "2013-03-11T02:30:00-04:00"}},
        {"0 30 1 04 Nov ?",
         "America/New_York",
         "2012-11-04T01:45:00-04:00",
         {"2013-11-04T01:30:00-05:00"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

TEST(what_never_comes_for_robfig_is_refused)
{
    struct cron c;
    struct err e = ERR_INIT;
    assert_refused(cron_parse("0 0 0 30 Feb ?", &c, &e), ERR_INVALID, "never such a day");
    assert_refused(cron_parse("0 0 0 31 Apr ?", &c, &e), ERR_INVALID, "never such a day");
}

TEST(expressions_of_quartz_come_when_its_tutorial_says)
{
    static const struct vector v[] = {
        {"0 0 12 * * ?", "UTC", "2026-01-01T12:00:00Z", {"2026-01-02T12:00:00Z"}},
        {"0 15 10 ? * *", "UTC", "2026-01-01T12:00:00Z", {"2026-01-02T10:15:00Z"}},
        {"0 15 10 * * ?", "UTC", "2026-01-01T10:14:59Z", {"2026-01-01T10:15:00Z"}},
        {"0 * 14 * * ?",
         "UTC",
         "2026-01-01T14:58:30Z",
         {"2026-01-01T14:59:00Z", "2026-01-02T14:00:00Z"}},
        {"0 0/5 14 * * ?",
         "UTC",
         "2026-01-01T14:50:00Z",
         {"2026-01-01T14:55:00Z", "2026-01-02T14:00:00Z"}},
        {"0 0/5 14,18 * * ?",
         "UTC",
         "2026-01-01T14:55:00Z",
         {"2026-01-01T18:00:00Z", "2026-01-01T18:05:00Z"}},
        {"0 0-5 14 * * ?",
         "UTC",
         "2026-01-01T14:04:00Z",
         {"2026-01-01T14:05:00Z", "2026-01-02T14:00:00Z"}},
        {"0 10,44 14 ? 3 WED",
         "UTC",
         "2026-03-01T00:00:00Z",
         {"2026-03-04T14:10:00Z", "2026-03-04T14:44:00Z", "2026-03-11T14:10:00Z"}},
        {"0 15 10 ? * MON-FRI",
         "UTC",
         "2026-01-01T12:00:00Z",
         {"2026-01-02T10:15:00Z", "2026-01-05T10:15:00Z"}},
        {"0 15 10 15 * ?", "UTC", "2026-01-15T10:15:00Z", {"2026-02-15T10:15:00Z"}},
        {"0 15 10 L * ?",
         "UTC",
         "2028-01-01T00:00:00Z",
         {"2028-01-31T10:15:00Z", "2028-02-29T10:15:00Z", "2028-03-31T10:15:00Z"}},
        {"0 15 10 L-2 * ?",
         "UTC",
         "2026-02-01T00:00:00Z",
         {"2026-02-26T10:15:00Z", "2026-03-29T10:15:00Z"}},
        {"0 15 10 ? * FRIL",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-30T10:15:00Z", "2026-02-27T10:15:00Z"}},
        {"0 15 10 ? * FRI#3",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-16T10:15:00Z", "2026-02-20T10:15:00Z"}},
        {"0 0 12 1/5 * ?",
         "UTC",
         "2026-01-26T12:00:00Z",
         {"2026-01-31T12:00:00Z", "2026-02-01T12:00:00Z", "2026-02-06T12:00:00Z"}},
        {"0 11 11 11 11 ?",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-11-11T11:11:00Z", "2027-11-11T11:11:00Z"}},
        /* The 15th on a Saturday, a Tuesday, a Sunday. */
        {"0 0 0 15W * ?",
         "UTC",
         "2026-08-01T00:00:00Z",
         {"2026-08-14T00:00:00Z", "2026-09-15T00:00:00Z", "2026-10-15T00:00:00Z",
          "2026-11-16T00:00:00Z"}},
        /* It never leaves the month. */
        {"0 0 0 1W 8 ?", "UTC", "2026-01-01T00:00:00Z", {"2026-08-03T00:00:00Z"}},
        {"0 0 0 31W 8 ?", "UTC", "2025-01-01T00:00:00Z", {"2025-08-29T00:00:00Z"}},
        {"0 0 0 LW 5 ?", "UTC", "2026-01-01T00:00:00Z", {"2026-05-29T00:00:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

TEST(expressions_of_cronie_come_when_its_manual_says)
{
    static const struct vector v[] = {
        {"5 0 * * *", "UTC", "2026-01-01T00:05:00Z", {"2026-01-02T00:05:00Z"}},
        {"15 14 1 * *", "UTC", "2026-01-01T14:15:00Z", {"2026-02-01T14:15:00Z"}},
        {"0 22 * * 1-5", "UTC", "2026-01-02T22:00:00Z", {"2026-01-05T22:00:00Z"}},
        {"23 0-23/2 * * *",
         "UTC",
         "2026-01-01T22:23:00Z",
         {"2026-01-02T00:23:00Z", "2026-01-02T02:23:00Z"}},
        {"5 4 * * sun",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-04T04:05:00Z", "2026-01-11T04:05:00Z"}},
        {"30 4 1,15 * 5",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-01T04:30:00Z", "2026-01-02T04:30:00Z", "2026-01-09T04:30:00Z",
          "2026-01-15T04:30:00Z"}},
        {"0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", {"2026-01-04T00:00:00Z"}},
        {"0 0 * * 5-7",
         "UTC",
         "2026-01-01T00:00:00Z",
         {"2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z",
          "2026-01-09T00:00:00Z"}},
        {"@yearly", "UTC", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00Z"}},
        {"@annually", "UTC", "2026-01-01T00:00:00Z", {"2027-01-01T00:00:00Z"}},
        {"@midnight", "UTC", "2026-01-01T00:00:00Z", {"2026-01-02T00:00:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

TEST(a_local_time_that_does_not_exist_runs_right_after_the_gap)
{
    static const struct vector v[] = {
        {"30 1 * * *",
         "Europe/Lisbon",
         "2026-03-28T01:30:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
        /* Three times in the gap are one moment. */
        {"*/20 1 * * *",
         "Europe/Lisbon",
         "2026-03-28T01:20:00Z",
         {"2026-03-28T01:40:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
        {"30 2 * * *",
         "America/New_York",
         "2026-03-08T05:00:00Z",
         {"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
        {"15 2 * * *",
         "Australia/Lord_Howe",
         "2026-10-03T12:00:00Z",
         {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
        {"45 2 * * *",
         "Australia/Lord_Howe",
         "2026-10-03T12:00:00Z",
         {"2026-10-03T15:45:00Z", "2026-10-04T15:45:00Z"}},
        {"0 0 * * *",
         "America/Sao_Paulo",
         "2018-11-03T03:00:00Z",
         {"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}},
        {"30 0 4 11 *", "America/Sao_Paulo", "2018-06-01T00:00:00Z", {"2018-11-04T03:00:00Z"}},
        {"0 3 * * *",
         "Pacific/Chatham",
         "2026-09-25T20:00:00Z",
         {"2026-09-26T14:00:00Z", "2026-09-27T13:15:00Z"}},
        {"5 0 1 1 *",
         "Asia/Kathmandu",
         "1985-06-01T00:00:00Z",
         {"1985-12-31T18:30:00Z", "1986-12-31T18:20:00Z"}},
        {"0 12 30 12 *", "Pacific/Apia", "2011-06-01T00:00:00Z", {"2011-12-30T10:00:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

TEST(a_local_time_that_comes_twice_runs_once)
{
    static const struct vector v[] = {
        {"30 1 * * *",
         "Europe/Lisbon",
         "2026-10-24T12:00:00Z",
         {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
        {"30 1 * * *",
         "America/New_York",
         "2026-11-01T00:00:00Z",
         {"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
        {"45 1 * * *",
         "Australia/Lord_Howe",
         "2026-04-04T12:00:00Z",
         {"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
        {"30 23 * * *",
         "America/Sao_Paulo",
         "2019-02-16T12:00:00Z",
         {"2019-02-17T01:30:00Z", "2019-02-18T02:30:00Z"}},
        {"0 3 * * *",
         "Pacific/Chatham",
         "2026-04-04T12:00:00Z",
         {"2026-04-04T13:15:00Z", "2026-04-05T14:15:00Z"}},
        /* Asked for between the two. */
        {"30 1 * * *", "America/New_York", "2026-11-01T06:15:00Z", {"2026-11-02T06:30:00Z"}},
        {"* * 1 * * *", "America/New_York", "2026-11-01T06:15:00Z", {"2026-11-02T06:00:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

TEST(wildcard_hours_follow_elapsed_time)
{
    static const struct vector v[] = {
        {"0 * * * *",
         "Europe/Lisbon",
         "2026-03-29T00:00:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
        {"30 * * * *",
         "Europe/Lisbon",
         "2026-10-24T23:30:00Z",
         {"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
        {"0 * * * *",
         "America/New_York",
         "2026-11-01T04:00:00Z",
         {"2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"}},
        {"*/30 * * * *",
         "Australia/Lord_Howe",
         "2026-04-04T14:00:00Z",
         {"2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z",
          "2026-04-04T16:00:00Z"}},
        {"*/15 * * * *",
         "America/Sao_Paulo",
         "2018-11-04T02:45:00Z",
         {"2018-11-04T03:00:00Z", "2018-11-04T03:15:00Z"}},
        {"*/15 * * * *",
         "Pacific/Chatham",
         "2026-09-26T13:45:00Z",
         {"2026-09-26T14:00:00Z", "2026-09-26T14:15:00Z"}},
        {"0 * * * *",
         "Asia/Kathmandu",
         "2026-01-01T00:00:00Z",
         {"2026-01-01T00:15:00Z", "2026-01-01T01:15:00Z"}},
    };
    vectors_check(v, ARRAY_LEN(v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(expressions_of_robfig_come_at_the_same_moments),
        HEAP_TEST(where_robfig_skips_or_repeats_a_time_it_runs_once),
        HEAP_TEST(what_never_comes_for_robfig_is_refused),
        HEAP_TEST(expressions_of_quartz_come_when_its_tutorial_says),
        HEAP_TEST(expressions_of_cronie_come_when_its_manual_says),
        HEAP_TEST(a_local_time_that_does_not_exist_runs_right_after_the_gap),
        HEAP_TEST(a_local_time_that_comes_twice_runs_once),
        HEAP_TEST(wildcard_hours_follow_elapsed_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
