#include "base/time.h"

#include "support/unit.h"

static int64_t parsed(const char *s)
{
    int64_t ms;
    if (!time_parse(s, strlen(s), &ms))
        fail_msg("'%s' was refused", s);
    return ms;
}

TEST(known_moments_are_formatted)
{
    char text[TIME_TEXT];
    time_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    time_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    time_format(951782400000, text);
    assert_string_equal(text, "2000-02-29T00:00:00.000Z");
    time_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    time_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

TEST(every_day_of_ten_thousand_years_comes_back)
{
    char text[TIME_TEXT], before[TIME_TEXT] = "";
    for (int64_t ms = -62167219200000 + 3723004; ms <= 253402300799999; ms += 86400000) {
        time_format(ms, text);
        assert_true(strcmp(before, text) < 0);
        memcpy(before, text, sizeof(text));
        int64_t back;
        assert_true(time_parse(text, TIME_TEXT - 1, &back));
        assert_true(back == ms);
    }
    assert_memory_equal(text, "9999-12-31", 10);
}

TEST(the_forms_of_rfc_3339_are_read)
{
    assert_true(parsed("2026-11-22T13:57:14.123Z") == 1795355834123);
    assert_true(parsed("2026-11-22t13:57:14z") == 1795355834000);
    assert_true(parsed("2026-11-22 14:57:14+01:00") == 1795355834000);
    assert_true(parsed("2026-11-22T08:27:14-05:30") == 1795355834000);
    assert_true(parsed("2026-11-22T13:57:14.1239999999999999999Z") == 1795355834123);
    assert_true(parsed("2026-11-22T13:57:14.5Z") == 1795355834500);
    assert_true(parsed("2026-11-22") == 1795305600000);
    assert_true(parsed("2016-12-31T23:59:60Z") == parsed("2017-01-01T00:00:00Z"));
}

TEST(what_is_no_moment_is_refused)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-13-01",
        "2026-00-01",
        "2026-02-29",
        "2026-04-31",
        "2100-02-29",
        "2026-11-22T",
        "2026-11-22T13:57",
        "2026-11-22T13:57:14",
        "2026-11-22T24:00:00Z",
        "2026-11-22T13:60:00Z",
        "2026-11-22T13:57:61Z",
        "2026-11-22T13:57:14.Z",
        "2026-11-22T13:57:14Zx",
        "2026-11-22T13:57:14+0100",
        "2026-11-22T13:57:14+24:00",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "+026-11-22",
        "2026-1 -22",
        " 2026-11-22",
    };
    int64_t ms;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (time_parse(bad[i], strlen(bad[i]), &ms))
            fail_msg("'%s' was taken", bad[i]);
}

TEST(durations_are_read)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"250ms", 250},     {"30s", 30000},
                {"1h30m", 5400000}, {"7d", 604800000},
                {"2w", 1209600000}, {"15", 15000},
                {"0", 0},           {"0.5", 500},
                {"1.5h", 5400000},  {"1d1h1m1s1ms", 90061001}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms = -1;
        assert_int_equal(duration_parse(good[i].text, &ms, NULL), 0);
        assert_true(ms == good[i].ms);
    }
}

TEST(bad_durations_are_refused_with_an_example)
{
    static const char *const bad[] = {"",     "s",   "5x",  "-5s", "5 s", "1m1h",
                                      "5s5s", "5s5", ".5s", "5.s", "1e3", "99999999999999999999s",
                                      "5S"};
    struct err e;
    int64_t ms = 77;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(duration_parse(bad[i], &ms, &e), ERR_INVALID, "\"1h30m\"");
    assert_refused(duration_parse("36526d", &ms, &e), ERR_INVALID, "100 years");
    assert_true(ms == 77);
}

TEST(durations_are_written_for_people)
{
    char text[64];
    duration_format(5400000, text, sizeof(text));
    assert_string_equal(text, "1h30m");
    duration_format(0, text, sizeof(text));
    assert_string_equal(text, "0s");
    duration_format(604800000 + 1, text, sizeof(text));
    assert_string_equal(text, "7d1ms");
    duration_format(-1500, text, sizeof(text));
    assert_string_equal(text, "-1s500ms");
    duration_format(5400000, text, 3);
    assert_string_equal(text, "1h");
}

TEST(sizes_are_read_and_written)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"512", 512},         {"64KiB", 65536}, {"10MiB", 10485760}, {"1.5GiB", 1610612736},
                {"2GB", 2147483648},  {"1kB", 1024},    {"7B", 7},           {"3 MB", 3145728},
                {"1T", 1099511627776}};
    uint64_t bytes;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(size_parse(good[i].text, &bytes, NULL), 0);
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {
        "", "-1", "KiB", "1XB", "1KiBs", "99999999999999999999", "99999999999TiB", "0x10"};
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(size_parse(bad[i], &bytes, &e), ERR_INVALID, "\"64KiB\"");
    char text[32];
    size_format(65536, text, sizeof(text));
    assert_string_equal(text, "64KiB");
    size_format(1610612736, text, sizeof(text));
    assert_string_equal(text, "1.5GiB");
    size_format(1023, text, sizeof(text));
    assert_string_equal(text, "1023B");
}

TEST(a_moment_has_parts_and_comes_back_from_them)
{
    for (int64_t ms = -62167219200000; ms < 253402300799999; ms += 86400000 * 13 + 4567891) {
        struct time_parts p;
        int64_t back = 0;
        time_split(ms, &p);
        assert_true(time_join(&p, &back));
        assert_true(back == ms);
        assert_in_range(p.weekday, 1, 7);
        assert_in_range(p.yearday, 1, 366);
    }
    struct time_parts p;
    time_split(0, &p);
    assert_int_equal(p.weekday, 4);
    int64_t ms;
    assert_true(time_join(&(struct time_parts){.year = 2026, .month = 14, .day = 0}, &ms));
    time_split(ms, &p);
    assert_true(p.year == 2027 && p.month == 1 && p.day == 31);
    assert_false(time_join(&(struct time_parts){.year = 10000, .month = 1, .day = 1}, &ms));
    assert_false(time_join(&(struct time_parts){.year = 0, .month = 0, .day = 1}, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(known_moments_are_formatted),
        HEAP_TEST(every_day_of_ten_thousand_years_comes_back),
        HEAP_TEST(the_forms_of_rfc_3339_are_read),
        HEAP_TEST(what_is_no_moment_is_refused),
        HEAP_TEST(a_moment_has_parts_and_comes_back_from_them),
        HEAP_TEST(durations_are_read),
        HEAP_TEST(bad_durations_are_refused_with_an_example),
        HEAP_TEST(durations_are_written_for_people),
        HEAP_TEST(sizes_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
