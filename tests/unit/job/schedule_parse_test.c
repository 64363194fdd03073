#include "base/buf.h"
#include "job/schedule.h"
#include "support/unit.h"

static int parse(const char *json, struct schedule *out, struct err *e)
{
    json_t *o = json_read(json, strlen(json), e);
    if (o == NULL)
        fail_msg("%s: %s", json, e->text);
    int rc = schedule_parse("nightly", o, out, e);
    json_decref(o);
    return rc;
}

static void refused(const char *json, const char *field, const char *words)
{
    struct schedule s;
    struct err e = ERR_INIT;
    if (parse(json, &s, &e) != ERR_INVALID)
        fail_msg("taken: %s", json);
    assert_string_equal(e.field, field);
    if (strstr(e.text, words) == NULL)
        fail_msg("%s: no \"%s\" in \"%s\"", json, words, e.text);
}

TEST(what_is_left_out_has_its_default)
{
    struct schedule s;
    struct err e = ERR_INIT;
    assert_int_equal(parse("{\"cron\": \"0 2 * * *\", \"lane\": \"bulk\"}", &s, &e), 0);
    assert_int_equal(s.kind, SCHEDULE_CRON);
    assert_string_equal(s.zone.name, "UTC");
    assert_int_equal(s.overlap, SCHEDULE_SKIP);
    assert_int_equal(s.catchup_ms, 3600 * 1000);
    assert_false(s.missed_all || s.defer);
    assert_int_equal(s.jitter_ms + s.pause_on_failure, 0);
}

TEST(everything_that_is_said_is_taken)
{
    struct schedule s;
    struct err e = ERR_INIT;
    int rc =
        parse("{\"cron\": \"0 2 * * *\", \"tz\": \"Europe/Lisbon\", \"jitter\": \"5m\", "
              "\"windows\": [\"Mon-Fri\", \"Sat 08:00-12:00\"], \"blackout\": [\"2026-12-25\"], "
              "\"outside\": \"defer\", \"catchup\": \"6h\", \"missed\": \"all\", "
              "\"overlap\": \"buffer_all\", \"pause_on_failure\": 3}",
              &s, &e);
    assert_int_equal(rc, 0);
    assert_string_equal(s.zone.name, "Europe/Lisbon");
    assert_int_equal(s.jitter_ms, 300000);
    assert_int_equal(s.hours.windows_n, 2);
    assert_int_equal(s.hours.blackout_n, 1);
    assert_true(s.defer && s.missed_all);
    assert_int_equal(s.catchup_ms, 6 * 3600 * 1000);
    assert_int_equal(s.overlap, SCHEDULE_BUFFER_ALL);
    assert_int_equal(s.pause_on_failure, 3);
}

TEST(intervals_are_texts_or_seconds_and_every_may_stand_in_cron)
{
    static const struct {
        const char *json;
        enum schedule_kind kind;
        int64_t ms;
    } cases[] = {
        {"{\"every\": \"10m\"}", SCHEDULE_EVERY, 600000},
        {"{\"every\": 90}", SCHEDULE_EVERY, 90000},
        {"{\"every\": 1.5}", SCHEDULE_EVERY, 1500},
        {"{\"cron\": \"@every 10s\"}", SCHEDULE_EVERY, 10000},
        {"{\"after\": \"1h30m\"}", SCHEDULE_AFTER, 5400000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct schedule s;
        struct err e = ERR_INIT;
        assert_int_equal(parse(cases[i].json, &s, &e), 0);
        assert_int_equal(s.kind, cases[i].kind);
        assert_int_equal(s.interval_ms, cases[i].ms);
    }
}

TEST(a_job_without_a_schedule_has_none)
{
    struct schedule s;
    struct err e = ERR_INIT;
    assert_int_equal(parse("{\"lane\": \"bulk\", \"cron\": null}", &s, &e), ERR_NOT_FOUND);
    assert_string_equal(e.text, "");
}

TEST(an_error_names_key_value_and_way_out)
{
    refused("{\"cron\": \"0 25 * * *\"}", "cron", "hour '25': 25 is not within 0-23");
    refused("{\"cron\": 5}", "cron", "string");
    refused("{\"cron\": \"@daily\", \"every\": \"1h\"}", "cron", "one of cron, every and after");
    refused("{\"every\": \"1h\", \"after\": \"1h\"}", "every", "one of cron, every and after");
    refused("{\"every\": \"500ms\"}", "every", "at least 1s");
    refused("{\"every\": 0}", "every", "at least 1s");
    refused("{\"every\": \"soon\"}", "every", "wants a duration");
    refused("{\"every\": -5}", "every", "at least 1s");
    refused("{\"every\": 1e300}", "every", "wants a duration");
    refused("{\"every\": true}", "every", "wants a duration");
    refused("{\"after\": \"4000d\"}", "after", "at most 3660d");
    refused("{\"tz\": \"Europe/Lisbon\"}", "tz", "nothing says when; add cron");
    refused("{\"every\": \"1h\", \"tz\": \"Europe/Lisbn\"}", "tz", "did you mean Europe/Lisbon");
    refused("{\"every\": \"1h\", \"jitter\": \"31m\"}", "jitter", "at most half the interval, 30m");
    refused("{\"every\": \"1h\", \"overlap\": \"queue\"}", "overlap",
            "'queue' is none of skip, buffer_one, buffer_all, cancel, terminate, allow");
    refused("{\"every\": \"1h\", \"missed\": \"some\"}", "missed", "none of one, all");
    refused("{\"every\": \"1h\", \"missed\": \"all\", \"overlap\": \"cancel\"}", "missed",
            "take buffer_all");
    refused("{\"every\": \"1h\", \"catchup\": \"-1h\"}", "catchup", "wants a duration");
    refused("{\"every\": \"1h\", \"windows\": \"Mon\"}", "windows", "a list of texts");
    refused("{\"every\": \"1h\", \"windows\": [\"Mon\", 5]}", "windows", "write it as");
    refused("{\"every\": \"1h\", \"windows\": [\"Monday\"]}", "windows", "'Monday' is no span");
    refused("{\"every\": \"1h\", \"outside\": \"defer\"}", "outside", "no windows or blackout");
    refused("{\"every\": \"1h\", \"windows\": [\"Mon\"], \"outside\": \"wait\"}", "outside",
            "none of skip, defer");
    refused("{\"every\": \"1h\", \"windows\": [\"Mon\"], \"blackout\": [\"Mon-Wed\"]}", "blackout",
            "leaves nothing");
    refused("{\"every\": \"1h\", \"blackout\": [\"00:00-12:00\", \"12:00-24:00\"]}", "blackout",
            "leaves nothing");
    refused("{\"every\": \"1h\", \"pause_on_failure\": 0}", "pause_on_failure", "1 to 1000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_is_left_out_has_its_default),
        HEAP_TEST(everything_that_is_said_is_taken),
        HEAP_TEST(intervals_are_texts_or_seconds_and_every_may_stand_in_cron),
        HEAP_TEST(a_job_without_a_schedule_has_none),
        HEAP_TEST(an_error_names_key_value_and_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
