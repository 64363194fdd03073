#include "job/hours.h"

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

static void hours_add(struct hours_span *spans, uint8_t *n, const char *text)
{
    struct err e = ERR_INIT;
    if (text != NULL && hours_span_parse(text, &spans[(*n)++], &e) != 0)
        fail_msg("%s", e.text);
}

static struct hours hours_of(const char *window, const char *blackout)
{
    struct hours h = {.windows_n = 0};
    hours_add(h.windows, &h.windows_n, window);
    hours_add(h.blackout, &h.blackout_n, blackout);
    return h;
}

static void is(enum hours_state want, const char *window, const char *blackout, const char *zone,
               const char *utc)
{
    struct hours h = hours_of(window, blackout);
    struct zone z;
    assert_int_equal(zone_find(zone, &z, NULL), 0);
    if (hours_at(&h, &z, ms_of(utc)) != want)
        fail_msg("%s less %s in %s at %s", window, blackout, zone, utc);
}

static void opens(const char *window, const char *blackout, const char *zone, const char *utc,
                  const char *want)
{
    struct hours h = hours_of(window, blackout);
    struct zone z;
    int64_t at;
    char got[TIME_TEXT];
    assert_int_equal(zone_find(zone, &z, NULL), 0);
    bool found = hours_opening(&h, &z, ms_of(utc), &at);
    if (want == NULL) {
        assert_false(found);
        return;
    }
    assert_true(found);
    time_format(at, got);
    if (at != ms_of(want))
        fail_msg("%s less %s in %s after %s opens %s, not %s", window, blackout, zone, utc, got,
                 want);
}

/* 2026-06-01 is a Monday. */
TEST(a_span_has_days_and_times)
{
    is(HOURS_OPEN, NULL, NULL, "UTC", "2026-06-01T00:00:00Z");
    is(HOURS_OUTSIDE, "Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-01T07:59:59Z");
    is(HOURS_OPEN, "Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-01T08:00:00Z");
    is(HOURS_OPEN, "Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-01T17:59:59.999Z");
    is(HOURS_OUTSIDE, "Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-01T18:00:00Z");
    is(HOURS_OUTSIDE, "Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-06T12:00:00Z");
    is(HOURS_OPEN, "sat,sun", NULL, "UTC", "2026-06-06T00:00:00Z");
    is(HOURS_OPEN, "Fri-Mon", NULL, "UTC", "2026-06-01T23:59:59Z");
    is(HOURS_OUTSIDE, "Fri-Mon", NULL, "UTC", "2026-06-02T00:00:00Z");
    is(HOURS_OPEN, "20:00-24:00", NULL, "UTC", "2026-06-02T23:59:59Z");
    is(HOURS_BLACKOUT, NULL, "2026-12-24..2027-01-01", "UTC", "2026-12-31T12:00:00Z");
    is(HOURS_OPEN, NULL, "2026-12-24..2027-01-01", "UTC", "2027-01-02T00:00:00Z");
    is(HOURS_BLACKOUT, "Mon-Fri", "2026-06-01 09:00-10:00", "UTC", "2026-06-01T09:30:00Z");
}

TEST(a_span_over_midnight_belongs_to_the_day_it_begins)
{
    is(HOURS_OPEN, "Fri 22:00-06:00", NULL, "UTC", "2026-06-05T22:00:00Z");
    is(HOURS_OPEN, "Fri 22:00-06:00", NULL, "UTC", "2026-06-06T05:59:00Z");
    is(HOURS_OUTSIDE, "Fri 22:00-06:00", NULL, "UTC", "2026-06-06T06:00:00Z");
    is(HOURS_OUTSIDE, "Fri 22:00-06:00", NULL, "UTC", "2026-06-05T05:00:00Z");
}

TEST(the_local_clock_decides)
{
    is(HOURS_OPEN, "08:00-09:00", NULL, "Asia/Kathmandu", "2026-06-01T02:15:00Z");
    is(HOURS_OUTSIDE, "08:00-09:00", NULL, "Asia/Kathmandu", "2026-06-01T02:14:59Z");
    /* 01:00-02:00 comes twice in Lisbon on 2026-10-25, and not at all on 2026-03-29. */
    is(HOURS_OPEN, "01:00-01:30", NULL, "Europe/Lisbon", "2026-10-25T00:15:00Z");
    is(HOURS_OUTSIDE, "01:00-01:30", NULL, "Europe/Lisbon", "2026-10-25T00:45:00Z");
    is(HOURS_OPEN, "01:00-01:30", NULL, "Europe/Lisbon", "2026-10-25T01:15:00Z");
    is(HOURS_OUTSIDE, "01:00-02:00", NULL, "Europe/Lisbon", "2026-03-29T01:00:00Z");
}

TEST(the_next_opening_is_found)
{
    opens("Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z");
    opens("Mon-Fri 08:00-18:00", NULL, "UTC", "2026-06-05T18:00:00Z", "2026-06-08T08:00:00Z");
    opens(NULL, "22:00-06:00", "UTC", "2026-06-01T23:30:00Z", "2026-06-02T06:00:00Z");
    opens("Mon 08:00-18:00", "2026-06-08..2026-06-15", "UTC", "2026-06-02T00:00:00Z",
          "2026-06-22T08:00:00Z");
    opens("08:00-09:00", NULL, "America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T12:00:00Z");
    opens("2027-12-24", NULL, "UTC", "2026-12-25T00:00:00Z", "2027-12-24T00:00:00Z");
    opens("2026-12-24", NULL, "UTC", "2026-12-25T00:00:00Z", NULL);
    /* A window that begins in the gap opens at its end; one that comes twice opens twice. */
    opens("01:30-03:00", NULL, "Europe/Lisbon", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z");
    opens("01:00-01:30", NULL, "Europe/Lisbon", "2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z");
}

TEST(an_opening_is_the_first_that_looking_at_each_minute_finds)
{
    static const char *const spans[] = {
        "Mon-Fri 08:00-18:00", "22:00-06:00",     "Sat,Sun",
        "01:30-02:15",         "Wed 23:30-00:30", "2026-10-24..2026-10-26"};
    static const char *const zones[] = {"UTC", "Europe/Lisbon", "Australia/Lord_Howe",
                                        "Pacific/Chatham"};
    for (size_t w = 0; w < ARRAY_LEN(spans); w++)
        for (size_t b = 0; b < ARRAY_LEN(spans); b++)
            for (size_t k = 0; k < ARRAY_LEN(zones); k++) {
                struct hours h = hours_of(spans[w], w == b ? NULL : spans[b]);
                struct zone z;
                assert_int_equal(zone_find(zones[k], &z, NULL), 0);
                int64_t minute = 60 * 1000, next = 0;
                for (int64_t at = ms_of("2026-10-28T00:00:00Z"); at > ms_of("2026-10-23T00:00:00Z");
                     at -= minute) {
                    int64_t got;
                    if (hours_at(&h, &z, at) == HOURS_OPEN)
                        next = at;
                    if (next == 0 || at % (17 * minute) != 0)
                        continue;
                    assert_true(hours_opening(&h, &z, at, &got));
                    if (got != next)
                        fail_msg("%s less %s in %s at %lld: %lld, not %lld", spans[w], spans[b],
                                 zones[k], (long long)at, (long long)got, (long long)next);
                }
            }
}

TEST(text_of_another_form_is_refused)
{
    static const char *const bad[] = {
        "",
        "Monday",
        "Mon-",
        "Mon,",
        "Mon 8:00-18:00",
        "08:00",
        "08:00-",
        "08:00-08:00",
        "24:00-08:00",
        "08:60-09:00",
        "08:00-24:01",
        "Mon08:00-18:00",
        "Mon  08:00-18:00",
        "Mon 08:00-18:00 ",
        "2026-02-30",
        "2026-06-02..2026-06-01",
        "2026-06-01..",
        "Xyz",
        "Mon Tue",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct hours_span s;
        struct err e = ERR_INIT;
        if (hours_span_parse(bad[i], &s, &e) == 0)
            fail_msg("taken: '%s'", bad[i]);
        assert_non_null(strstr(e.text, "write it as Mon-Fri 08:00-18:00"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_span_has_days_and_times),
        HEAP_TEST(a_span_over_midnight_belongs_to_the_day_it_begins),
        HEAP_TEST(the_local_clock_decides),
        HEAP_TEST(the_next_opening_is_found),
        HEAP_TEST(an_opening_is_the_first_that_looking_at_each_minute_finds),
        HEAP_TEST(text_of_another_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
