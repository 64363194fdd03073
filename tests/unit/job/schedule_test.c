#include "job/schedule.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/time.h"
#include "support/unit.h"

/* A schedule, its state and a clock; what is decided becomes a line of the log:
 *
 *   01 10:00 ran (09:00-10:00]            the tick's due time, the run's window
 *   01 11:00 buffered (10:00-11:00] waits
 *   01 07:00 missed x3
 */
struct lab {
    struct schedule s;
    struct schedule_state st;
    int64_t now;
    struct buf log;
};

/* "01 10:00" and "01 10:00:30" are of May 2026. */
static int64_t ms_of(const char *text)
{
    int64_t ms;
    char full[40];
    if (strlen(text) > 12)
        snprintf(full, sizeof full, "%s", text);
    else
        snprintf(full, sizeof full, "2026-05-%.2sT%s%s", text, text + 3,
                 strlen(text) == 8 ? ":00Z" : "Z");
    if (!time_parse(full, strlen(full), &ms))
        fail_msg("%s is no time", full);
    return ms;
}

static int parse(const char *name, const char *json, struct schedule *out, struct err *e)
{
    json_t *o = json_read(json, strlen(json), e);
    if (o == NULL)
        fail_msg("%s: %s", json, e->text);
    int rc = schedule_parse(name, o, out, e);
    json_decref(o);
    return rc;
}

static void lab_start(struct lab *l, const char *json, const char *now)
{
    struct err e = ERR_INIT;
    *l = (struct lab){.now = ms_of(now)};
    buf_init(&l->log, 1 << 20);
    if (parse("nightly", json, &l->s, &e) != 0)
        fail_msg("%s: %s", json, e.text);
    schedule_state_init(&l->st, l->now);
}

static void log_time(struct lab *l, int64_t ms, bool day)
{
    struct time_parts p;
    time_split(ms, &p);
    if (day)
        buf_addf(&l->log, "%02d ", p.day);
    buf_addf(&l->log, "%02d:%02d", p.hour, p.minute);
    if (p.second != 0)
        buf_addf(&l->log, ":%02d", p.second);
}

static void log_decision(struct lab *l, const struct schedule_decision *d)
{
    log_time(l, d->due, true);
    buf_addf(&l->log, " %s", schedule_verdict_name(d->verdict));
    if (d->ticks != 1)
        buf_addf(&l->log, " x%u", d->ticks);
    if (d->start != SCHEDULE_START_NONE) {
        buf_adds(&l->log, " (");
        log_time(l, d->from, false);
        buf_adds(&l->log, "-");
        log_time(l, d->to, false);
        buf_adds(&l->log, "]");
    }
    if (d->start == SCHEDULE_START_WAITING)
        buf_adds(&l->log, " waits");
    if (d->stop != SCHEDULE_STOP_NONE)
        buf_adds(&l->log, d->stop == SCHEDULE_STOP_ASK ? " asks" : " stops");
    if (d->drop_waiting)
        buf_adds(&l->log, " drops");
    if (d->verdict == SCHEDULE_DEFERRED) {
        buf_adds(&l->log, " to ");
        log_time(l, d->opening, true);
    }
    buf_adds(&l->log, "\n");
}

/* The leader is there all the time: each tick is decided when it is to be. */
static void lab_run(struct lab *l, const char *until)
{
    struct schedule_due next;
    struct schedule_decision d;
    while (schedule_next(&l->s, &l->st, &next) && next.at <= ms_of(until)) {
        l->now = next.at > l->now ? next.at : l->now;
        assert_true(schedule_tick(&l->s, &l->st, next.due, l->now, &d));
        log_decision(l, &d);
    }
    l->now = ms_of(until);
}

/* Nobody is there until then. */
static void lab_down(struct lab *l, const char *until)
{
    l->now = ms_of(until);
    lab_run(l, until);
}

static struct schedule_change lab_end(struct lab *l, enum schedule_outcome outcome)
{
    struct schedule_change change;
    schedule_ended(&l->s, &l->st, l->now, outcome, &change);
    if (change.start_waiting)
        buf_adds(&l->log, "the next starts\n");
    if (change.paused)
        buf_adds(&l->log, "paused\n");
    return change;
}

static void lab_is(struct lab *l, const char *want)
{
    assert_string_equal(buf_str(&l->log), want);
    buf_fini(&l->log);
}

TEST(each_due_time_is_decided_once_and_windows_follow_each_other) /* J1 */
{
    struct lab l;
    struct schedule_decision d;
    lab_start(&l, "{\"cron\": \"0 * * * *\"}", "01 08:30");
    lab_run(&l, "01 09:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    struct schedule_state before = l.st;
    assert_false(schedule_tick(&l.s, &l.st, ms_of("01 09:00"), ms_of("01 10:00"), &d));
    assert_false(schedule_tick(&l.s, &l.st, ms_of("01 11:00"), ms_of("01 11:00"), &d));
    assert_false(schedule_tick(&l.s, &l.st, ms_of("01 10:00"), ms_of("01 10:00") - 1, &d));
    assert_memory_equal(&before, &l.st, sizeof before);
    lab_run(&l, "01 10:30");
    lab_is(&l, "01 09:00 ran (08:30-09:00]\n"
               "01 10:00 ran (09:00-10:00]\n");
}

TEST(skip_skips_the_new_one_and_the_next_run_covers_its_window)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\"}", "01 08:00");
    lab_run(&l, "01 10:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 11:00");
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 skipped\n"
               "01 11:00 ran (09:00-11:00]\n");
}

TEST(buffer_one_lets_one_wait_its_turn)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"buffer_one\"}", "01 08:00");
    lab_run(&l, "01 11:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 12:00");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 buffered (09:00-10:00] waits\n"
               "01 11:00 skipped\n"
               "the next starts\n"
               "01 12:00 buffered (10:00-12:00] waits\n"
               "the next starts\n");
}

TEST(buffer_all_lets_all_wait_their_turn_up_to_a_limit)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"buffer_all\"}", "01 08:00");
    lab_run(&l, "01 11:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_end(&l, SCHEDULE_FAILED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    l.st.running = 1;
    l.st.waiting = SCHEDULE_WAITING_MAX;
    lab_run(&l, "01 12:00");
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 buffered (09:00-10:00] waits\n"
               "01 11:00 buffered (10:00-11:00] waits\n"
               "the next starts\n"
               "the next starts\n"
               "01 12:00 skipped\n");
}

TEST(cancel_asks_the_old_one_to_stop_and_the_newest_takes_its_place)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"cancel\"}", "01 08:00");
    lab_run(&l, "01 11:30");
    lab_end(&l, SCHEDULE_CANCELLED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 12:00");
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 cancelled_other (08:00-10:00] waits asks\n"
               "01 11:00 cancelled_other (08:00-11:00] waits asks drops\n"
               "the next starts\n"
               "01 12:00 ran (11:00-12:00]\n");
}

TEST(terminate_stops_the_old_one_and_the_new_one_starts_at_once)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"terminate\"}", "01 08:00");
    lab_run(&l, "01 11:30");
    assert_int_equal(l.st.running, 1);
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 cancelled_other (08:00-10:00] stops\n"
               "01 11:00 cancelled_other (08:00-11:00] stops\n");
}

TEST(allow_lets_both_run)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"allow\"}", "01 08:00");
    lab_run(&l, "01 10:30");
    assert_int_equal(l.st.running, 2);
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 ran (09:00-10:00]\n");
}

TEST(one_run_covers_all_that_was_missed_within_catchup)
{
    struct lab l;
    lab_start(&l, "{\"cron\": \"0 * * * *\", \"catchup\": \"3h\"}", "01 04:30");
    lab_down(&l, "01 10:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 11:00");
    lab_is(&l, "01 07:00 missed x3\n"
               "01 10:00 caught_up x3 (04:30-10:00]\n"
               "01 11:00 ran (10:00-11:00]\n");
}

TEST(with_all_each_missed_tick_gets_its_run_oldest_first)
{
    struct lab l;
    lab_start(&l, "{\"cron\": \"0 * * * *\", \"catchup\": \"3h\", \"missed\": \"all\"}",
              "01 04:30");
    lab_down(&l, "01 10:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_is(&l, "01 07:00 missed x3\n"
               "01 08:00 caught_up (04:30-08:00]\n"
               "01 09:00 caught_up (08:00-09:00] waits\n"
               "01 10:00 caught_up (09:00-10:00] waits\n"
               "the next starts\n"
               "the next starts\n");
}

TEST(a_tick_is_missed_only_when_it_is_more_than_a_minute_late)
{
    struct lab l;
    lab_start(&l, "{\"cron\": \"0 * * * *\", \"catchup\": 0}", "01 08:30");
    lab_down(&l, "01 09:01");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_down(&l, "01 10:01:01");
    lab_run(&l, "01 11:00");
    lab_is(&l, "01 09:00 ran (08:30-09:00]\n"
               "01 10:00 missed\n"
               "01 11:00 ran (09:00-11:00]\n");
}

TEST(what_was_missed_for_long_is_one_decision)
{
    struct lab l;
    lab_start(&l, "{\"every\": 1, \"catchup\": \"1h\"}", "01 00:00");
    lab_down(&l, "30 00:00");
    lab_is(&l, "29 22:59:59 missed x1000\n"
               "30 00:00 caught_up x1000 (00:00-00:00]\n");
}

TEST(after_counts_from_the_end_of_the_last_run_and_is_never_missed)
{
    struct lab l;
    lab_start(&l, "{\"after\": \"10m\"}", "01 08:00");
    lab_run(&l, "01 08:25");
    lab_end(&l, SCHEDULE_FAILED);
    lab_run(&l, "01 08:40");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_down(&l, "03 12:00");
    lab_is(&l, "01 08:10 ran (08:00-08:10]\n"
               "01 08:35 ran (08:10-08:35]\n"
               "01 08:50 ran (08:35-08:50]\n");
}

TEST(every_is_a_fixed_grid_whatever_runs_take)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"20m\"}", "01 08:03");
    lab_run(&l, "01 08:25");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 08:41");
    lab_is(&l, "01 08:20 ran (08:03-08:20]\n"
               "01 08:40 ran (08:20-08:40]\n");
}

/* 2026-05-01 is a Friday. */
TEST(outside_of_its_windows_a_tick_is_skipped)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"12h\", \"windows\": [\"Mon-Fri 08:00-19:00\"]}", "01 10:00");
    lab_run(&l, "01 13:00");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "04 13:00");
    lab_is(&l, "01 12:00 ran (10:00-12:00]\n"
               "02 00:00 skipped\n"
               "02 12:00 skipped\n"
               "03 00:00 skipped\n"
               "03 12:00 skipped\n"
               "04 00:00 skipped\n"
               "04 12:00 ran (12:00-12:00]\n");
}

TEST(deferred_ticks_become_one_run_at_the_next_opening)
{
    struct lab l;
    lab_start(&l,
              "{\"every\": \"6h\", \"windows\": [\"Mon-Fri 08:00-19:00\"], "
              "\"blackout\": [\"2026-05-04 00:00-09:30\"], \"outside\": \"defer\"}",
              "02 20:00");
    lab_run(&l, "04 10:00");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "04 12:00");
    lab_is(&l, "03 00:00 deferred to 04 09:30\n"
               "03 06:00 deferred to 04 09:30\n"
               "03 12:00 deferred to 04 09:30\n"
               "03 18:00 deferred to 04 09:30\n"
               "04 00:00 deferred to 04 09:30\n"
               "04 06:00 deferred to 04 09:30\n"
               "04 09:30 ran (20:00-09:30]\n"
               "04 12:00 ran (09:30-12:00]\n");
}

TEST(an_opening_at_a_due_time_is_one_tick)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"2h\", \"windows\": [\"08:00-12:00\"], \"outside\": \"defer\"}",
              "01 05:00");
    lab_run(&l, "01 08:30");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 10:00");
    lab_is(&l, "01 06:00 deferred to 01 08:00\n"
               "01 08:00 ran (05:00-08:00]\n"
               "01 10:00 ran (08:00-10:00]\n");
}

TEST(a_late_run_keeps_to_the_windows_too)
{
    struct lab l;
    lab_start(&l,
              "{\"cron\": \"0 3 * * *\", \"catchup\": \"1d\", \"windows\": [\"02:00-05:00\"], "
              "\"outside\": \"defer\"}",
              "01 00:00");
    lab_down(&l, "01 10:00");
    lab_run(&l, "02 02:30");
    lab_is(&l, "01 03:00 deferred to 02 02:00\n"
               "02 02:00 ran (00:00-02:00]\n");
}

TEST(it_pauses_after_failures_in_a_row_and_says_what_came_due_meanwhile)
{
    struct lab l;
    struct schedule_decision d;
    struct schedule_change change;
    lab_start(&l, "{\"every\": \"1h\", \"pause_on_failure\": 2}", "01 08:00");
    lab_run(&l, "01 09:10");
    lab_end(&l, SCHEDULE_FAILED);
    lab_run(&l, "01 10:10");
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 11:10");
    lab_end(&l, SCHEDULE_FAILED);
    lab_run(&l, "01 12:10");
    lab_end(&l, SCHEDULE_FAILED);
    lab_run(&l, "01 15:10");
    assert_true(schedule_resume(&l.s, &l.st, l.now, &d, &change));
    log_decision(&l, &d);
    lab_run(&l, "01 16:00");
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 ran (09:00-10:00]\n"
               "01 11:00 ran (10:00-11:00]\n"
               "01 12:00 ran (11:00-12:00]\n"
               "paused\n"
               "01 15:00 skipped x3\n"
               "01 16:00 ran (12:00-16:00]\n");
}

TEST(a_run_that_waits_does_so_until_a_pause_is_over)
{
    struct lab l;
    struct schedule_decision d;
    struct schedule_change change;
    lab_start(&l, "{\"every\": \"1h\", \"overlap\": \"buffer_one\"}", "01 08:00");
    lab_run(&l, "01 10:10");
    schedule_pause(&l.st);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    assert_false(schedule_resume(&l.s, &l.st, l.now, &d, &change));
    assert_true(change.start_waiting);
    lab_end(&l, SCHEDULE_CANCELLED);
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n"
               "01 10:00 buffered (09:00-10:00] waits\n");
}

TEST(a_tick_in_the_gap_is_decided_once_and_one_that_comes_twice_too) /* J1 */
{
    struct lab l;
    lab_start(&l, "{\"cron\": \"*/30 1 * * *\", \"tz\": \"Europe/Lisbon\", \"overlap\": \"allow\"}",
              "2026-03-28T12:00:00Z");
    lab_run(&l, "2026-03-30T12:00:00Z");
    lab_is(&l, "29 01:00 ran (12:00-01:00]\n"
               "30 00:00 ran (01:00-00:00]\n"
               "30 00:30 ran (00:00-00:30]\n");
    lab_start(&l, "{\"cron\": \"30 1 * * *\", \"tz\": \"Europe/Lisbon\", \"overlap\": \"allow\"}",
              "2026-10-24T12:00:00Z");
    lab_run(&l, "2026-10-26T12:00:00Z");
    lab_is(&l, "25 00:30 ran (12:00-00:30]\n"
               "26 01:30 ran (00:30-01:30]\n");
}

TEST(jitter_is_the_same_for_every_node_and_repeat_and_at_most_half_the_interval)
{
    struct schedule a, b, other;
    struct err e = ERR_INIT;
    static const char json[] = "{\"cron\": \"0 * * * *\", \"jitter\": \"2h\"}";
    assert_int_equal(parse("digest", json, &a, &e), 0);
    assert_int_equal(parse("digest", json, &b, &e), 0);
    assert_int_equal(parse("report", json, &other, &e), 0);
    int64_t half = 30 * 60 * 1000, max = 0;
    int differ = 0;
    for (int64_t due = ms_of("01 00:00"); due < ms_of("20 00:00"); due += 2 * half) {
        int64_t j = schedule_jitter(&a, due);
        assert_true(j >= 0 && j <= half);
        assert_int_equal(schedule_jitter(&b, due), j);
        differ += schedule_jitter(&other, due) != j;
        max = j > max ? j : max;
    }
    assert_true(max > half * 9 / 10 && differ > 400);
    /* For ever the same: a node of another version decides at the same time. */
    assert_int_equal(schedule_jitter(&a, ms_of("01 00:00")), 1059094);
}

TEST(jitter_moves_the_decision_not_the_due_time)
{
    struct lab l;
    struct schedule_due next;
    struct schedule_decision d;
    lab_start(&l, "{\"every\": \"1h\", \"jitter\": \"30m\"}", "01 08:00");
    assert_true(schedule_next(&l.s, &l.st, &next));
    assert_int_equal(next.due, ms_of("01 09:00"));
    assert_int_equal(next.at, next.due + schedule_jitter(&l.s, next.due));
    assert_true(next.at > next.due);
    assert_false(schedule_tick(&l.s, &l.st, next.due, next.at - 1, &d));
    lab_run(&l, "01 09:31");
    lab_is(&l, "01 09:00 ran (08:00-09:00]\n");
}

TEST(a_schedule_is_printed_for_people)
{
    struct lab l;
    lab_start(&l, "{\"cron\": \"30 1 * * *\", \"tz\": \"Europe/Lisbon\"}", "01 08:00");
    schedule_print(&l.s, &l.log);
    lab_is(&l, "cron 30 1 * * * in Europe/Lisbon");
    lab_start(&l, "{\"after\": \"90s\"}", "01 08:00");
    schedule_print(&l.s, &l.log);
    lab_is(&l, "1m30s after the end of the last run");
}

TEST(who_triggers_gets_a_run_now_that_covers_all_up_to_now)
{
    struct lab l;
    struct schedule_decision d;
    lab_start(&l,
              "{\"cron\": \"0 * * * *\", \"windows\": [\"09:00-12:00\"], \"overlap\": "
              "\"buffer_one\"}",
              "01 08:30");
    l.now = ms_of("01 08:40"); /* its hours have not begun */
    schedule_trigger(&l.s, &l.st, l.now, &d);
    log_decision(&l, &d);
    schedule_trigger(&l.s, &l.st, l.now, &d);
    log_decision(&l, &d);
    schedule_trigger(&l.s, &l.st, l.now, &d);
    log_decision(&l, &d);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_end(&l, SCHEDULE_SUCCEEDED);
    lab_run(&l, "01 09:10"); /* what is due is decided all the same */
    lab_is(&l, "01 08:40 ran x0 (08:30-08:40]\n"
               "01 08:40 buffered x0 (08:40-08:40] waits\n"
               "01 08:40 skipped x0\n"
               "the next starts\n"
               "01 09:00 ran (08:40-09:00]\n");
}

TEST(a_tick_whose_run_nobody_takes_is_skipped_and_the_next_covers_its_window)
{
    struct lab l;
    struct schedule_decision d;
    lab_start(&l, "{\"cron\": \"0 * * * *\", \"overlap\": \"terminate\"}", "01 08:30");
    lab_run(&l, "01 09:30");
    struct schedule_state before = l.st;
    l.now = ms_of("01 10:00");
    assert_true(schedule_tick(&l.s, &l.st, l.now, l.now, &d));
    schedule_tick_refused(&before, &l.st, "the queue is full", &d);
    assert_string_equal(d.reason, "the queue is full");
    log_decision(&l, &d);
    lab_end(&l, SCHEDULE_SUCCEEDED); /* it was not stopped */
    lab_run(&l, "01 11:10");
    lab_is(&l, "01 09:00 ran (08:30-09:00]\n"
               "01 10:00 skipped\n"
               "01 11:00 ran (09:00-11:00]\n");
}

TEST(so_many_run_beside_each_other_and_no_more)
{
    struct lab l;
    lab_start(&l, "{\"every\": \"1m\", \"overlap\": \"allow\"}", "01 08:00");
    l.st.running = SCHEDULE_RUNNING_MAX - 1;
    lab_run(&l, "01 08:02");
    lab_is(&l, "01 08:01 ran (08:00-08:01]\n"
               "01 08:02 skipped\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(each_due_time_is_decided_once_and_windows_follow_each_other),
        HEAP_TEST(skip_skips_the_new_one_and_the_next_run_covers_its_window),
        HEAP_TEST(buffer_one_lets_one_wait_its_turn),
        HEAP_TEST(buffer_all_lets_all_wait_their_turn_up_to_a_limit),
        HEAP_TEST(cancel_asks_the_old_one_to_stop_and_the_newest_takes_its_place),
        HEAP_TEST(terminate_stops_the_old_one_and_the_new_one_starts_at_once),
        HEAP_TEST(allow_lets_both_run),
        HEAP_TEST(one_run_covers_all_that_was_missed_within_catchup),
        HEAP_TEST(with_all_each_missed_tick_gets_its_run_oldest_first),
        HEAP_TEST(a_tick_is_missed_only_when_it_is_more_than_a_minute_late),
        HEAP_TEST(what_was_missed_for_long_is_one_decision),
        HEAP_TEST(after_counts_from_the_end_of_the_last_run_and_is_never_missed),
        HEAP_TEST(every_is_a_fixed_grid_whatever_runs_take),
        HEAP_TEST(outside_of_its_windows_a_tick_is_skipped),
        HEAP_TEST(deferred_ticks_become_one_run_at_the_next_opening),
        HEAP_TEST(an_opening_at_a_due_time_is_one_tick),
        HEAP_TEST(a_late_run_keeps_to_the_windows_too),
        HEAP_TEST(it_pauses_after_failures_in_a_row_and_says_what_came_due_meanwhile),
        HEAP_TEST(a_run_that_waits_does_so_until_a_pause_is_over),
        HEAP_TEST(a_tick_in_the_gap_is_decided_once_and_one_that_comes_twice_too),
        HEAP_TEST(jitter_is_the_same_for_every_node_and_repeat_and_at_most_half_the_interval),
        HEAP_TEST(jitter_moves_the_decision_not_the_due_time),
        HEAP_TEST(a_schedule_is_printed_for_people),
        HEAP_TEST(who_triggers_gets_a_run_now_that_covers_all_up_to_now),
        HEAP_TEST(a_tick_whose_run_nobody_takes_is_skipped_and_the_next_covers_its_window),
        HEAP_TEST(so_many_run_beside_each_other_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
