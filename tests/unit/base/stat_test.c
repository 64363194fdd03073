#include "base/stat.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "support/unit.h"

static void page(struct buf *b, int openmetrics)
{
    buf_init(b, 1 << 20);
    stat_print(b, openmetrics);
    assert_false(buf_failed(b));
}

TEST(the_same_name_and_labels_are_the_same_counter)
{
    struct stat_counter *a = stat_counter("koan_things_total", "kind=\"x\"", "Things.");
    assert_ptr_equal(a, stat_counter("koan_things_total", "kind=\"x\"", "Things."));
    assert_ptr_not_equal(a, stat_counter("koan_things_total", "kind=\"y\"", "Things."));
    stat_add(a, 5);
    stat_add(a, 2);
    assert_int_equal(stat_read(a), 7);
    stat_reset_all();
}

TEST(the_page_is_sorted_and_has_help_and_type)
{
    stat_add(stat_counter("koan_b_total", "", "Bs."), 3);
    stat_set(stat_gauge("koan_a_bytes", "", "A\nline."), -5);
    stat_change(stat_gauge("koan_a_bytes", "", ""), 2);
    stat_add(stat_counter("koan_c_seconds_total", "q=\"z\"", "Time."), 1500000000);
    stat_add(stat_counter("koan_c_seconds_total", "q=\"a\"", "Time."), 1);
    struct buf b;
    page(&b, 0);
    assert_string_equal(buf_str(&b), "# HELP koan_a_bytes A\\nline.\n# TYPE koan_a_bytes gauge\n"
                                     "koan_a_bytes -3\n"
                                     "# HELP koan_b_total Bs.\n# TYPE koan_b_total counter\n"
                                     "koan_b_total 3\n"
                                     "# HELP koan_c_seconds_total Time.\n"
                                     "# TYPE koan_c_seconds_total counter\n"
                                     "koan_c_seconds_total{q=\"a\"} 0.000000001\n"
                                     "koan_c_seconds_total{q=\"z\"} 1.500000000\n");
    buf_fini(&b);
    page(&b, 1);
    assert_non_null(strstr(buf_str(&b), "# TYPE koan_b counter\nkoan_b_total 3\n"));
    assert_string_equal(b.data + b.len - 6, "# EOF\n");
    buf_fini(&b);
    stat_reset_all();
}

TEST(a_histogram_counts_into_cumulative_buckets)
{
    struct stat_histogram *h = stat_histogram("koan_wait_seconds", "op=\"get\"", "Wait.");
    stat_record(h, 100000);
    stat_record(h, 100001);
    stat_record(h, 3000000000);
    stat_record(h, 30000000000);
    struct buf b;
    page(&b, 0);
    static const char *const lines[] = {
        "koan_wait_seconds_bucket{op=\"get\",le=\"0.0001\"} 1\n",
        "koan_wait_seconds_bucket{op=\"get\",le=\"0.00025\"} 2\n",
        "koan_wait_seconds_bucket{op=\"get\",le=\"2.5\"} 2\n",
        "koan_wait_seconds_bucket{op=\"get\",le=\"5.0\"} 3\n",
        "koan_wait_seconds_bucket{op=\"get\",le=\"+Inf\"} 4\n",
        "koan_wait_seconds_sum{op=\"get\"} 33.000200001\n",
        "koan_wait_seconds_count{op=\"get\"} 4\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (strstr(buf_str(&b), lines[i]) == NULL)
            fail_msg("no %s in %s", lines[i], buf_str(&b));
    buf_fini(&b);
    stat_reset_all();
}

TEST(a_long_histogram_has_buckets_up_to_a_quarter_of_an_hour)
{
    struct stat_histogram *h = stat_histogram_long("koan_run_seconds", "job=\"a\"", "Runs.");
    stat_record(h, 9 * 1000 * 1000);                   /* 9 ms */
    stat_record(h, UINT64_C(70) * 1000 * 1000 * 1000); /* 70 s */
    struct buf b;
    page(&b, 0);
    assert_non_null(strstr(buf_str(&b), "# TYPE koan_run_seconds histogram\n"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_bucket{job=\"a\",le=\"0.01\"} 1\n"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_bucket{job=\"a\",le=\"50.0\"} 1\n"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_bucket{job=\"a\",le=\"100.0\"} 2\n"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_sum{job=\"a\"} 70.009000000\n"));
    buf_fini(&b);
    stat_reset_all();
}

TEST(of_histograms_fewer_are_shown)
{
    char labels[32];
    for (int i = 0; i < STAT_HISTOGRAMS_SHOWN_MAX + 2; i++) {
        snprintf(labels, sizeof labels, "job=\"j%d\"", i);
        for (int k = 0; k <= i; k++)
            stat_record(stat_histogram_long("koan_run_seconds", labels, "Runs."), 1000);
    }
    struct buf b;
    page(&b, 0);
    assert_null(strstr(buf_str(&b), "koan_run_seconds_count{job=\"j1\"}"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_count{job=\"j2\"} 3\n"));
    assert_non_null(strstr(buf_str(&b), "koan_run_seconds_count{other=\"true\"} 3\n"));
    buf_fini(&b);
    stat_reset_all();
}

TEST(series_past_the_bound_count_as_other)
{
    char labels[32];
    for (int i = 0; i < STAT_LABELS_MAX + 50; i++) {
        snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        stat_add(stat_counter("koan_many_total", labels, "Many."), 1);
    }
    assert_int_equal(stat_read(stat_counter("koan_many_total", "other=\"true\"", "")), 50);
    stat_reset_all();
}

TEST(the_busiest_is_shown_though_many_are_as_busy_as_the_last)
{
    char labels[32];
    size_t shown = 0;
    for (int i = 0; i < 4 * STAT_SHOWN_MAX; i++) {
        snprintf(labels, sizeof(labels), "i=\"%03d\"", i);
        stat_add(stat_counter("koan_many_total", labels, "Many."), 1);
    }
    stat_add(stat_counter("koan_many_total", "i=\"199\"", "Many."), 6); /* the last by name */
    struct buf b = BUF_INIT(1 << 20);
    stat_print(&b, 0);
    assert_non_null(strstr(buf_str(&b), "koan_many_total{i=\"199\"} 7\n"));
    for (const char *p = buf_str(&b); (p = strstr(p, "koan_many_total{i=")) != NULL; p++)
        shown++;
    assert_int_equal(shown, STAT_SHOWN_MAX);
    assert_non_null(strstr(buf_str(&b), "koan_many_total{other=\"true\"} 150\n"));
    buf_fini(&b);
    stat_reset_all();
}

TEST(promtool_finds_nothing_to_say)
{
    if (system("command -v promtool > /dev/null 2>&1") != 0)
        skip();
    stat_add(stat_counter("koan_done_total", "", "Done."), 3);
    stat_set(stat_gauge("koan_held_bytes", "", "Held."), 5);
    stat_record(stat_histogram("koan_wait_seconds", "", "Wait."), 5);
    struct buf b;
    page(&b, 0);
    FILE *f = popen("promtool check metrics > /dev/null 2>&1", "w");
    assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
    assert_int_equal(pclose(f), 0);
    buf_fini(&b);
    stat_reset_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_same_name_and_labels_are_the_same_counter),
        HEAP_TEST(the_page_is_sorted_and_has_help_and_type),
        HEAP_TEST(a_histogram_counts_into_cumulative_buckets),
        HEAP_TEST(a_long_histogram_has_buckets_up_to_a_quarter_of_an_hour),
        HEAP_TEST(of_histograms_fewer_are_shown),
        HEAP_TEST(series_past_the_bound_count_as_other),
        HEAP_TEST(the_busiest_is_shown_though_many_are_as_busy_as_the_last),
        HEAP_TEST(promtool_finds_nothing_to_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
