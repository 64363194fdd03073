#include "codec/zone.h"

#include <stdio.h>

#include "base/time.h"
#include "support/unit.h"

static int64_t ms_of(const char *text)
{
    int64_t ms;
    if (!time_parse(text, strlen(text), &ms))
        fail_msg("%s is no time", text);
    return ms;
}

static struct zone zone_of(const char *name)
{
    struct zone z;
    struct err e = ERR_INIT;
    if (zone_find(name, &z, &e) != 0)
        fail_msg("%s", e.text);
    return z;
}

static void shows(const char *zone, const char *utc, const char *local)
{
    struct zone z = zone_of(zone);
    char text[TIME_TEXT];
    time_format(zone_local(&z, ms_of(utc)), text);
    text[19] = '\0';
    if (strcmp(text, local) != 0)
        fail_msg("%s at %s shows %s, not %s", zone, utc, text, local);
}

/* `want`: the moments, with a space between two; of a gap "-> its end". */
static void comes(const char *zone, const char *local, const char *want)
{
    struct zone z = zone_of(zone);
    int64_t at[2];
    char with_z[32], a[TIME_TEXT], b[TIME_TEXT], got[64];
    snprintf(with_z, sizeof with_z, "%sZ", local);
    int n = zone_instants(&z, ms_of(with_z), at);
    time_format(at[0], a);
    time_format(n == 2 ? at[1] : at[0], b);
    a[16] = b[16] = '\0';
    snprintf(got, sizeof got, n == 0 ? "-> %s" : n == 1 ? "%s" : "%s %s", a, b);
    if (strcmp(got, want) != 0)
        fail_msg("%s in %s comes %s, not %s", local, zone, got, want);
    assert_int_equal(zone_reach(&z, ms_of(with_z)), at[0]);
}

TEST(a_zone_has_its_offset_before_and_after_each_change)
{
    shows("UTC", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00");
    shows("Europe/Lisbon", "2026-03-29T00:59:59Z", "2026-03-29T00:59:59");
    shows("Europe/Lisbon", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00");
    shows("Europe/Lisbon", "2026-10-25T00:59:59Z", "2026-10-25T01:59:59");
    shows("Europe/Lisbon", "2026-10-25T01:00:00Z", "2026-10-25T01:00:00");
    shows("America/New_York", "2026-03-08T06:59:59Z", "2026-03-08T01:59:59");
    shows("America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T03:00:00");
    shows("America/New_York", "2026-11-01T06:00:00Z", "2026-11-01T01:00:00");
    shows("Australia/Lord_Howe", "2026-04-04T14:59:59Z", "2026-04-05T01:59:59");
    shows("Australia/Lord_Howe", "2026-04-04T15:00:00Z", "2026-04-05T01:30:00");
    shows("Australia/Lord_Howe", "2026-10-03T15:30:00Z", "2026-10-04T02:30:00");
    shows("Asia/Kathmandu", "2026-07-01T00:00:00Z", "2026-07-01T05:45:00");
    shows("Asia/Kathmandu", "1985-07-01T00:00:00Z", "1985-07-01T05:30:00");
    shows("Pacific/Chatham", "2026-04-04T13:59:59Z", "2026-04-05T03:44:59");
    shows("Pacific/Chatham", "2026-04-04T14:00:00Z", "2026-04-05T02:45:00");
}

TEST(what_a_zone_did_in_the_past_stays_known)
{
    shows("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03T23:59:59");
    shows("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04T01:00:00");
    shows("America/Sao_Paulo", "2019-02-17T02:00:00Z", "2019-02-16T23:00:00");
    shows("America/Sao_Paulo", "2026-01-15T12:00:00Z", "2026-01-15T09:00:00");
    shows("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T23:59:59");
    shows("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T00:00:00");
    shows("Europe/Berlin", "1945-06-01T12:00:00Z", "1945-06-01T15:00:00");
    shows("America/Ojinaga", "2022-10-30T07:59:59Z", "2022-10-30T01:59:59");
    shows("America/Ojinaga", "2022-11-02T12:00:00Z", "2022-11-02T06:00:00");
    shows("America/Ojinaga", "2022-11-10T12:00:00Z", "2022-11-10T06:00:00");
    shows("Africa/Monrovia", "1971-06-01T12:00:00Z", "1971-06-01T11:15:30");
}

TEST(a_zone_goes_on_by_its_rule_for_ever)
{
    shows("Europe/Lisbon", "2500-07-01T12:00:00Z", "2500-07-01T13:00:00");
    shows("Europe/Lisbon", "9999-12-31T12:00:00Z", "9999-12-31T12:00:00");
    shows("Europe/Dublin", "2150-01-10T12:00:00Z", "2150-01-10T12:00:00");
    shows("Europe/Dublin", "2150-07-10T12:00:00Z", "2150-07-10T13:00:00");
    shows("America/Sao_Paulo", "2400-01-01T12:00:00Z", "2400-01-01T09:00:00");
}

TEST(a_local_time_comes_once_twice_or_never)
{
    comes("UTC", "2026-03-29T02:30:00", "2026-03-29T02:30");
    comes("Europe/Lisbon", "2026-06-01T12:00:00", "2026-06-01T11:00");
    comes("Europe/Lisbon", "2026-03-29T00:59:00", "2026-03-29T00:59");
    comes("Europe/Lisbon", "2026-03-29T01:00:00", "-> 2026-03-29T01:00");
    comes("Europe/Lisbon", "2026-03-29T01:59:00", "-> 2026-03-29T01:00");
    comes("Europe/Lisbon", "2026-03-29T02:00:00", "2026-03-29T01:00");
    comes("Europe/Lisbon", "2026-10-25T00:59:00", "2026-10-24T23:59");
    comes("Europe/Lisbon", "2026-10-25T01:00:00", "2026-10-25T00:00 2026-10-25T01:00");
    comes("Europe/Lisbon", "2026-10-25T02:00:00", "2026-10-25T02:00");
    comes("America/New_York", "2026-03-08T02:30:00", "-> 2026-03-08T07:00");
    comes("America/New_York", "2026-11-01T01:30:00", "2026-11-01T05:30 2026-11-01T06:30");
    comes("Australia/Lord_Howe", "2026-10-04T02:15:00", "-> 2026-10-03T15:30");
    comes("Australia/Lord_Howe", "2026-04-05T01:45:00", "2026-04-04T14:45 2026-04-04T15:15");
    comes("America/Sao_Paulo", "2018-11-04T00:00:00", "-> 2018-11-04T03:00");
    comes("America/Sao_Paulo", "2019-02-16T23:30:00", "2019-02-17T01:30 2019-02-17T02:30");
    comes("Pacific/Chatham", "2026-04-05T03:00:00", "2026-04-04T13:15 2026-04-04T14:15");
    comes("Pacific/Apia", "2011-12-30T12:00:00", "-> 2011-12-30T10:00");
}

static uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

enum { MINUTE = 60 * 1000, DAY_AND_MORE = 27 * 60 * MINUTE };

/* Since 1973 every zone is whole quarters of an hour from UTC, so looking at each quarter is
 * enough.
 */
static void looks_the_same(const struct zone *z, int64_t local)
{
    int64_t want[2] = {0, 0}, reached = 0, got[2];
    int n = 0;
    for (int64_t at = local - DAY_AND_MORE; at <= local + DAY_AND_MORE; at += MINUTE) {
        int64_t shown = zone_local(z, at);
        if (shown == local && n < 2)
            want[n++] = at;
        if (shown >= local && reached == 0)
            reached = at;
    }
    assert_int_equal(zone_instants(z, local, got), n);
    assert_int_equal(zone_reach(z, local), reached);
    for (int i = 0; i < n; i++)
        assert_int_equal(got[i], want[i]);
}

TEST(every_zone_gives_the_moments_that_looking_at_each_gives)
{
    uint64_t seed = 20261123;
    for (size_t i = 0; zone_name(i) != NULL; i++) {
        struct zone z = zone_of(zone_name(i));
        int64_t at = ms_of("1973-01-01T00:00:00Z");
        for (int k = 0; k < 2; k++) {
            at += (int64_t)(random_next(&seed) % (40ull * 365 * 1440)) * MINUTE;
            /* Around a change, where it matters. */
            struct zone_span span;
            zone_span(&z, at, &span);
            assert_true(span.from <= at && at < span.until);
            int64_t near = span.until < ms_of("2200-01-01T00:00:00Z") ? span.until : at;
            looks_the_same(&z, near + span.offset +
                                   ((int64_t)(random_next(&seed) % 180) - 90) * MINUTE);
        }
    }
}

TEST(the_spans_of_a_zone_follow_each_other_without_a_gap)
{
    for (size_t i = 0; zone_name(i) != NULL; i++) {
        struct zone z = zone_of(zone_name(i));
        struct zone_span span, next;
        zone_span(&z, ZONE_MS_MIN, &span);
        assert_int_equal(span.from, ZONE_MS_MIN);
        for (int k = 0; k < 300 && span.until < ZONE_MS_MAX; k++) {
            zone_span(&z, span.until - 1, &next);
            assert_int_equal(next.offset, span.offset);
            zone_span(&z, span.until, &next);
            assert_int_equal(next.from, span.until);
            assert_true(next.until > next.from);
            span = next;
        }
    }
}

TEST(moments_at_the_ends_of_time_are_answered)
{
    static const char *const names[] = {"UTC", "Europe/Lisbon", "Pacific/Kiritimati"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct zone z = zone_of(names[i]);
        int64_t at[2];
        assert_int_equal(zone_instants(&z, ZONE_MS_MAX, at), 1);
        assert_int_equal(zone_instants(&z, ZONE_MS_MIN, at), 1);
    }
}

TEST(a_zone_that_is_missing_is_an_error_that_names_near_ones)
{
    struct zone z;
    struct err e = ERR_INIT;
    assert_refused(zone_find("Lisbon", &z, &e), ERR_INVALID,
                   "no time zone 'Lisbon'; did you mean Europe/Lisbon");
    assert_refused(zone_find("europe/lisbon", &z, &e), ERR_INVALID, "did you mean Europe/Lisbon");
    assert_refused(zone_find("America/New York", &z, &e), ERR_INVALID,
                   "did you mean America/New_York");
    assert_refused(zone_find("Europe/Lisbn", &z, &e), ERR_INVALID, "did you mean Europe/Lisbon");
    assert_refused(zone_find("", &z, &e), ERR_INVALID, "write the name of one");
    assert_refused(zone_find("+02:00", &z, &e), ERR_INVALID, "there is no time zone '+02:00'");
    assert_refused(zone_find("Middle-earth/Rivendell", &z, &e), ERR_INVALID, "write the name");
}

TEST(other_names_of_a_zone_are_zones_and_the_data_has_a_version)
{
    size_t n = 0;
    while (zone_name(n) != NULL)
        n++;
    assert_true(n > 550);
    struct zone z = zone_of("US/Eastern");
    assert_string_equal(z.name, "US/Eastern");
    shows("US/Eastern", "2026-07-01T12:00:00Z", "2026-07-01T08:00:00");
    shows("Asia/Calcutta", "2026-07-01T12:00:00Z", "2026-07-01T17:30:00");
}

static int parsed(const char *head, const char *body, size_t body_n, struct err *e)
{
    struct zone z;
    char file[200] = "TZif2";
    memcpy(file + 20, head, 24);
    memcpy(file + 44, body, body_n);
    return zone_parse(file, 44 + body_n, &z, e);
}

#define COUNTS(leap, changes, types, chars)                                                        \
    "\0\0\0\0\0\0\0\0\0\0\0" leap "\0\0\0" changes "\0\0\0" types "\0\0\0" chars
#define BYTES(s) s, sizeof(s) - 1

TEST(a_file_that_is_damaged_is_refused)
{
    struct err e = ERR_INIT;
    struct zone z;
    assert_int_equal(parsed(COUNTS("\0", "\0", "\1", "\4"), BYTES("\0\0\0\0\0\0UTC\0\nUTC0\n"), &e),
                     0);
    assert_int_equal(parsed(COUNTS("\0", "\0", "\1", "\4"), BYTES("\0\0\0\0\0\0UTC\0\n\n"), &e), 0);
    assert_refused(zone_parse("TZif2", 5, &z, &e), ERR_INVALID, "does not begin");
    assert_refused(parsed(COUNTS("\0", "\0", "\1", "\4"), BYTES("\0\0\0\0\0\0UTC"), &e),
                   ERR_INVALID, "cut off");
    assert_refused(parsed(COUNTS("\0", "\0", "\0", "\4"), BYTES("UTC\0\nUTC0\n"), &e), ERR_INVALID,
                   "a count");
    assert_refused(parsed(COUNTS("\1", "\0", "\1", "\4"), BYTES("\0\0\0\0\0\0UTC\0\nUTC0\n"), &e),
                   ERR_INVALID, "leap seconds");
    assert_refused(parsed(COUNTS("\0", "\0", "\1", "\4"), BYTES("\0\0\0\0\0\0UTC\0\nUTC0"), &e),
                   ERR_INVALID, "line for the rule");
    assert_refused(parsed(COUNTS("\0", "\0", "\1", "\4"), BYTES("\0\2\0\0\0\0UTC\0\nUTC0\n"), &e),
                   ERR_INVALID, "26 hours");
    assert_refused(parsed(COUNTS("\0", "\1", "\1", "\4"),
                          BYTES("\0\0\0\0\0\0\0\1\1\0\0\0\0\0\0UTC\0\n\n"), &e),
                   ERR_INVALID, "does not list");
    assert_refused(parsed(COUNTS("\0", "\2", "\1", "\4"),
                          BYTES("\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0UTC\0\n\n"), &e),
                   ERR_INVALID, "not in order");
    assert_refused(parsed(COUNTS("\0", "\1", "\1", "\4"),
                          BYTES("\1\0\0\0\0\0\0\1\0\0\0\0\0\0\0UTC\0\n\n"), &e),
                   ERR_INVALID, "years 0..9999");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_zone_has_its_offset_before_and_after_each_change),
        HEAP_TEST(what_a_zone_did_in_the_past_stays_known),
        HEAP_TEST(a_zone_goes_on_by_its_rule_for_ever),
        HEAP_TEST(a_local_time_comes_once_twice_or_never),
        HEAP_TEST(every_zone_gives_the_moments_that_looking_at_each_gives),
        HEAP_TEST(the_spans_of_a_zone_follow_each_other_without_a_gap),
        HEAP_TEST(moments_at_the_ends_of_time_are_answered),
        HEAP_TEST(a_zone_that_is_missing_is_an_error_that_names_near_ones),
        HEAP_TEST(other_names_of_a_zone_are_zones_and_the_data_has_a_version),
        HEAP_TEST(a_file_that_is_damaged_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
