/* Random schedules in random weather: leaders that come late, runs that end or fail at any time,
 * pauses. Whatever happens, every due time is in exactly one decision, windows leave nothing out,
 * and overlap holds; the due times are counted by asking for each minute whether it is one. */
#include <stdio.h>

#include "base/buf.h"
#include "base/time.h"
#include "job/schedule.h"
#include "support/unit.h"

static uint64_t seed;

static int pick(int n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)(seed % (uint64_t)n);
}

static const char *pick_text(const char *const *texts, size_t n)
{
    return texts[pick((int)n)];
}
#define PICK(...)                                                                                  \
    pick_text((const char *const[]){__VA_ARGS__}, ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void random_schedule(struct schedule *out)
{
    char json[600];
    struct err e = ERR_INIT;
    const char *overlap = PICK("skip", "buffer_one", "buffer_all", "cancel", "terminate", "allow");
    bool all = overlap[0] != 'c' && overlap[0] != 't' && pick(2) == 0;
    snprintf(json, sizeof json,
             "{%s, \"tz\": \"%s\", \"overlap\": \"%s\", \"missed\": \"%s\", \"catchup\": \"%s\", "
             "\"jitter\": \"%s\" %s}",
             PICK("\"cron\": \"*/20 * * * *\"", "\"cron\": \"*/10 1,2 * * *\"",
                  "\"cron\": \"15 */3 * * MON-FRI\"", "\"every\": \"10m\"", "\"every\": \"1h\"",
                  "\"after\": \"15m\""),
             PICK("UTC", "Europe/Lisbon", "Australia/Lord_Howe"), overlap, all ? "all" : "one",
             PICK("0s", "30m", "2h", "1d"), PICK("0s", "0s", "4m"),
             PICK("", "", ", \"pause_on_failure\": 2", ", \"windows\": [\"Mon-Fri 01:00-03:00\"]",
                  ", \"windows\": [\"08:00-20:00\"], \"outside\": \"defer\"",
                  ", \"blackout\": [\"00:30-02:30\"], \"outside\": \"defer\""));
    json_t *o = json_read(json, strlen(json), &e);
    if (o == NULL || schedule_parse("x", o, out, &e) != 0)
        fail_msg("%s: %s", json, e.text);
    json_decref(o);
}

struct world {
    struct schedule s;
    struct schedule_state st;
    int64_t now, last_due, covered;
    int running, waiting;
    uint32_t decisions, runs;
};

static int64_t minute_after(int64_t ms)
{
    return (ms / 60000 + 1) * 60000;
}

/* How many moments of (from, to] the definition names. */
static uint32_t count_due(const struct schedule *s, int64_t from, int64_t to)
{
    uint32_t n = 0;
    for (int64_t at = minute_after(from); at <= to; at += 60000) {
        int64_t due;
        n += schedule_due_after(s, at - 1, &due) && due == at;
    }
    return n;
}

static void world_check_overlap(const struct world *w)
{
    assert_int_equal(w->st.running, w->running);
    assert_int_equal(w->st.waiting, w->waiting);
    if (w->s.overlap != SCHEDULE_ALLOW)
        assert_true(w->running <= 1);
    if (w->s.overlap == SCHEDULE_SKIP && !w->s.missed_all)
        assert_int_equal(w->waiting, 0);
    if (w->s.overlap == SCHEDULE_BUFFER_ONE && !w->s.missed_all)
        assert_true(w->waiting <= 1);
}

/* Carries the decision out as a caller would, and looks at what it says. */
static void world_apply(struct world *w, const struct schedule_decision *d)
{
    assert_true(d->due > w->last_due && d->ticks >= 1);
    w->last_due = d->due;
    w->decisions++;
    if (d->drop_waiting)
        w->waiting = 0;
    if (d->stop == SCHEDULE_STOP_NOW)
        w->running = 0;
    if (d->start == SCHEDULE_START_NONE)
        return;
    w->runs++;
    assert_true(d->to >= d->from);
    if (d->verdict == SCHEDULE_CANCELLED_OTHER)
        assert_true(d->from <= w->covered);
    else
        assert_int_equal(d->from, w->covered);
    w->covered = d->to;
    w->running += d->start == SCHEDULE_START_NOW;
    w->waiting += d->start == SCHEDULE_START_WAITING;
    if (d->verdict == SCHEDULE_RAN && w->now % 60000 == 0)
        assert_int_equal(hours_at(&w->s.hours, &w->s.zone, w->now), HOURS_OPEN);
}

static void world_tick(struct world *w)
{
    struct schedule_due next;
    struct schedule_decision d, again;
    while (schedule_next(&w->s, &w->st, &next) && next.at <= w->now) {
        struct schedule_state before = w->st;
        assert_false(schedule_tick(&w->s, &w->st, next.due, next.at - 1, &d));
        assert_false(schedule_tick(&w->s, &w->st, next.due + 1, w->now, &d));
        assert_true(schedule_tick(&w->s, &w->st, next.due, w->now, &d));
        assert_false(schedule_tick(&w->s, &w->st, next.due, w->now, &again));
        if (w->s.kind != SCHEDULE_AFTER && before.deferred != next.due)
            assert_int_equal(d.ticks, count_due(&w->s, before.decided, w->st.decided));
        world_apply(w, &d);
        world_check_overlap(w);
    }
}

static void world_change(struct world *w, const struct schedule_change *change)
{
    if (change->start_waiting) {
        w->waiting--;
        w->running++;
    }
    world_check_overlap(w);
}

static void world_step(struct world *w)
{
    struct schedule_change change;
    struct schedule_decision d;
    switch (pick(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (w->running == 0)
            break;
        w->running--;
        schedule_ended(&w->s, &w->st, w->now, (enum schedule_outcome)pick(3), &change);
        world_change(w, &change);
        break;
    case 4:
        w->now += (int64_t)pick(300) * 60000; /* nobody is there */
        break;
    case 5:
        if (pick(4) == 0)
            schedule_pause(&w->st);
        break;
    case 6:
    case 7:
        if (!w->st.paused)
            break;
        uint32_t due = w->s.kind == SCHEDULE_AFTER ? 0 : count_due(&w->s, w->st.decided, w->now);
        bool deferred = w->st.deferred != SCHEDULE_NEVER;
        bool found = schedule_resume(&w->s, &w->st, w->now, &d, &change);
        if (!deferred)
            assert_true(found == (due > 0) && (!found || d.ticks == due));
        if (found)
            world_apply(w, &d);
        world_change(w, &change);
        break;
    default:
        w->now += (int64_t)pick(15) * 60000;
        world_tick(w);
    }
}

TEST(every_due_time_is_in_exactly_one_decision_whatever_happens) /* J1 */
{
    uint32_t decisions = 0, runs = 0;
    for (uint64_t i = 1; i <= 400; i++) {
        struct world w = {.now = 0};
        seed = i * UINT64_C(0x9e3779b97f4a7c15);
        random_schedule(&w.s);
        /* Some days before the clocks change, or anywhere. */
        w.now = pick(2) == 0 ? INT64_C(1774656000000) : INT64_C(1792800000000);
        w.now += (int64_t)pick(1000) * 60000;
        schedule_state_init(&w.st, w.now);
        w.covered = w.last_due = w.now;
        for (int step = 0; step < 400; step++)
            world_step(&w);
        decisions += w.decisions;
        runs += w.runs;
    }
    assert_true(decisions > 10000 && runs > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(every_due_time_is_in_exactly_one_decision_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
