#include "job/schedule.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

void schedule_state_init(struct schedule_state *st, int64_t now)
{
    *st = (struct schedule_state){
        .since = now,
        .decided = now,
        .covered = now,
        .from = now,
        .ended = SCHEDULE_NEVER,
        .deferred = SCHEDULE_NEVER,
    };
}

void schedule_check(const struct schedule_state *st)
{
    ASSERT(st->waiting == 0 || st->running > 0 || st->paused);
    ASSERT(st->waiting <= SCHEDULE_WAITING_MAX);
    ASSERT(st->decided >= st->since && st->covered >= st->since && st->from <= st->covered);
}

bool schedule_due_after(const struct schedule *s, int64_t after, int64_t *due)
{
    ASSERT(s->kind != SCHEDULE_AFTER);
    return cron_next(&s->cron, &s->zone, after, due);
}

int64_t schedule_jitter(const struct schedule *s, int64_t due)
{
    int64_t next, max = s->jitter_ms;
    if (max == 0)
        return 0;
    int64_t interval = s->interval_ms;
    if (s->kind == SCHEDULE_CRON)
        interval = schedule_due_after(s, due, &next) ? next - due : 0;
    if (max > interval / 2)
        max = interval / 2;
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)due >> (8 * i));
    uint64_t hash = hash64(hash64(0, s->name, strlen(s->name)), bytes, sizeof bytes);
    return (int64_t)(hash % ((uint64_t)max + 1));
}

bool schedule_next(const struct schedule *s, const struct schedule_state *st,
                   struct schedule_due *out)
{
    if (st->paused)
        return false;
    bool found = true;
    if (s->kind == SCHEDULE_AFTER) {
        found = st->deferred == SCHEDULE_NEVER;
        if (st->running + st->waiting > 0)
            return false;
        out->due = (st->ended > st->decided ? st->ended : st->decided) + s->interval_ms;
    } else {
        found = schedule_due_after(s, st->decided, &out->due);
    }
    if (found)
        out->at = out->due + schedule_jitter(s, out->due);
    if (st->deferred != SCHEDULE_NEVER && (!found || st->deferred <= out->at)) {
        out->due = out->at = st->deferred;
        return true;
    }
    return found;
}

/* The last due time up to `now`, where `first` is one. */
static int64_t schedule_last(const struct schedule *s, int64_t first, int64_t now)
{
    int64_t last = first, high = now, next;
    while (last < high && schedule_due_after(s, last, &next) && next <= now) {
        int64_t middle = last + (high - last) / 2;
        if (schedule_due_after(s, middle, &next) && next <= now)
            last = next;
        else
            high = middle;
    }
    return last;
}

static uint32_t schedule_count(const struct schedule *s, int64_t first, int64_t last)
{
    uint32_t n = 1;
    while (n < SCHEDULE_COUNT_MAX && first < last && schedule_due_after(s, first, &first))
        n++;
    return n;
}

/* What was deferred to a moment up to `due` goes with that decision. */
static void schedule_decided(struct schedule_state *st, int64_t due)
{
    if (due > st->decided)
        st->decided = due;
    if (st->deferred <= due)
        st->deferred = SCHEDULE_NEVER;
}

/* Everything that came due before `limit`. */
static void schedule_miss(const struct schedule *s, struct schedule_state *st, int64_t due,
                          int64_t limit, struct schedule_decision *out)
{
    int64_t last = schedule_last(s, due, limit - 1);
    *out = (struct schedule_decision){
        .verdict = SCHEDULE_MISSED,
        .reason = "older than catchup",
        .due = last,
        .from = due,
        .to = last,
        .ticks = schedule_count(s, due, last),
        .opening = SCHEDULE_NEVER,
    };
    schedule_decided(st, last);
}

/* A run that covers all up to the due time. */
static void schedule_cover(struct schedule_state *st, struct schedule_decision *out)
{
    out->from = st->covered;
    out->to = out->due;
    st->from = st->covered;
    if (out->to < out->from)
        out->to = out->from;
    st->covered = out->to;
}

static void schedule_skip(struct schedule_decision *out, const char *reason)
{
    out->verdict = SCHEDULE_SKIPPED;
    out->reason = reason;
}

static void schedule_wait(struct schedule_state *st, struct schedule_decision *out,
                          const char *reason)
{
    if (st->waiting >= SCHEDULE_WAITING_MAX) {
        schedule_skip(out, "too many runs wait already");
        return;
    }
    if (out->verdict != SCHEDULE_CAUGHT_UP)
        out->verdict = SCHEDULE_BUFFERED;
    out->reason = reason;
    out->start = SCHEDULE_START_WAITING;
    schedule_cover(st, out);
    st->waiting++;
}

/* The run that is stopped has not covered its window; the one that follows covers it too. */
static void schedule_replace(struct schedule_state *st, enum schedule_stop stop,
                             struct schedule_decision *out)
{
    out->verdict = SCHEDULE_CANCELLED_OTHER;
    out->stop = stop;
    out->drop_waiting = st->waiting > 0;
    st->covered = st->from;
    schedule_cover(st, out);
    if (stop == SCHEDULE_STOP_NOW) {
        out->reason = "the run under way was stopped";
        out->start = SCHEDULE_START_NOW;
        st->running = 1;
        st->waiting = 0;
    } else {
        out->reason = "the run under way was asked to stop";
        out->start = SCHEDULE_START_WAITING;
        st->waiting = 1;
    }
}

static void schedule_overlapping(const struct schedule *s, struct schedule_state *st,
                                 struct schedule_decision *out)
{
    switch (s->overlap) {
    case SCHEDULE_SKIP:
        schedule_skip(out, "the run before is still under way");
        break;
    case SCHEDULE_BUFFER_ONE:
        if (st->waiting > 0)
            schedule_skip(out, "one run waits already");
        else
            schedule_wait(st, out, "waits for the run before");
        break;
    case SCHEDULE_BUFFER_ALL:
        schedule_wait(st, out, "waits for the runs before");
        break;
    case SCHEDULE_CANCEL:
        schedule_replace(st, SCHEDULE_STOP_ASK, out);
        break;
    case SCHEDULE_TERMINATE:
        schedule_replace(st, SCHEDULE_STOP_NOW, out);
        break;
    case SCHEDULE_ALLOW:
        break;
    }
}

/* False when the hours are closed, and then decided. */
static bool schedule_is_open(const struct schedule *s, struct schedule_state *st, int64_t at,
                             struct schedule_decision *out)
{
    enum hours_state state = hours_at(&s->hours, &s->zone, at);
    if (state == HOURS_OPEN)
        return true;
    schedule_skip(out, state == HOURS_BLACKOUT ? "in a blackout" : "outside of its windows");
    if (!s->defer)
        return false;
    if (!hours_opening(&s->hours, &s->zone, at, &out->opening)) {
        out->reason = "its windows do not open within 400 days";
        out->opening = SCHEDULE_NEVER;
        return false;
    }
    out->verdict = SCHEDULE_DEFERRED;
    out->reason = state == HOURS_BLACKOUT ? "in a blackout, waits for its end"
                                          : "outside of its windows, waits for the next";
    st->deferred = out->opening;
    return false;
}

static void schedule_run(const struct schedule *s, struct schedule_state *st, bool late,
                         struct schedule_decision *out)
{
    bool busy = st->running + st->waiting > 0;
    if (busy && s->overlap != SCHEDULE_ALLOW) {
        /* Of missed = "all" every one is to run, whatever overlap would do with a new one. */
        if (late && s->missed_all)
            schedule_wait(st, out, "missed, waits for the runs before");
        else
            schedule_overlapping(s, st, out);
        return;
    }
    if (st->running >= SCHEDULE_RUNNING_MAX) {
        schedule_skip(out, "too many runs are under way already");
        return;
    }
    out->start = SCHEDULE_START_NOW;
    schedule_cover(st, out);
    st->running++;
}

bool schedule_tick(const struct schedule *s, struct schedule_state *st, int64_t due, int64_t now,
                   struct schedule_decision *out)
{
    struct schedule_due next;
    if (!schedule_next(s, st, &next) || next.due != due || now < next.at)
        return false;
    bool opening = st->deferred == due, grid = s->kind != SCHEDULE_AFTER;
    bool late = grid && !opening && now - next.at > SCHEDULE_LATE_MS;
    if (late && due < now - s->catchup_ms) {
        schedule_miss(s, st, due, now - s->catchup_ms, out);
        return true;
    }
    *out = (struct schedule_decision){
        .verdict = late ? SCHEDULE_CAUGHT_UP : SCHEDULE_RAN,
        .reason = late      ? "missed, runs now"
                  : opening ? "was deferred, runs now"
                            : "on time",
        .due = due,
        .from = due,
        .to = due,
        .ticks = 1,
        .opening = SCHEDULE_NEVER,
    };
    if (late && !s->missed_all) {
        out->due = out->to = schedule_last(s, due, now);
        out->ticks = schedule_count(s, due, out->due);
    }
    schedule_decided(st, out->due);
    if (schedule_is_open(s, st, late || !grid || opening ? now : next.at, out))
        schedule_run(s, st, late, out);
    schedule_check(st);
    return true;
}

void schedule_trigger(const struct schedule *s, struct schedule_state *st, int64_t now,
                      struct schedule_decision *out)
{
    *out = (struct schedule_decision){
        .verdict = SCHEDULE_RAN,
        .reason = "triggered",
        .due = now,
        .from = now,
        .to = now,
        .opening = SCHEDULE_NEVER,
    };
    schedule_run(s, st, false, out);
    schedule_check(st);
}

void schedule_tick_refused(const struct schedule_state *before, struct schedule_state *st,
                           const char *reason, struct schedule_decision *d)
{
    st->running = before->running;
    st->waiting = before->waiting;
    st->covered = before->covered;
    st->from = before->from;
    schedule_skip(d, reason);
    d->from = d->to = d->due;
    d->start = SCHEDULE_START_NONE;
    d->stop = SCHEDULE_STOP_NONE;
    d->drop_waiting = false;
    schedule_check(st);
}

static bool schedule_start_waiting(struct schedule_state *st)
{
    if (st->paused || st->running > 0 || st->waiting == 0)
        return false;
    st->waiting--;
    st->running++;
    return true;
}

void schedule_ended(const struct schedule *s, struct schedule_state *st, int64_t now,
                    enum schedule_outcome outcome, struct schedule_change *out)
{
    ASSERT(st->running > 0);
    st->running--;
    st->ended = now;
    if (outcome == SCHEDULE_SUCCEEDED)
        st->failures = 0;
    else if (outcome == SCHEDULE_FAILED)
        st->failures++;
    out->paused = !st->paused && outcome == SCHEDULE_FAILED && s->pause_on_failure > 0 &&
                  st->failures >= s->pause_on_failure;
    st->paused |= out->paused;
    out->start_waiting = schedule_start_waiting(st);
    schedule_check(st);
}

void schedule_waiting_gone(struct schedule_state *st)
{
    ASSERT(st->waiting > 0);
    st->waiting--;
}

void schedule_pause(struct schedule_state *st)
{
    st->paused = true;
}

bool schedule_resume(const struct schedule *s, struct schedule_state *st, int64_t now,
                     struct schedule_decision *out, struct schedule_change *change)
{
    st->paused = false;
    st->failures = 0;
    *change = (struct schedule_change){.start_waiting = schedule_start_waiting(st)};
    struct schedule_due next;
    bool found = s->kind != SCHEDULE_AFTER && schedule_next(s, st, &next) && next.due <= now;
    if (found) {
        int64_t last = schedule_last(s, next.due, now);
        *out = (struct schedule_decision){
            .verdict = SCHEDULE_SKIPPED,
            .reason = "came due while it was paused",
            .due = last,
            .from = next.due,
            .to = last,
            .ticks = schedule_count(s, next.due, last),
            .opening = SCHEDULE_NEVER,
        };
    }
    schedule_decided(st, now);
    schedule_check(st);
    return found;
}
