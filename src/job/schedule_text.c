/* A schedule in words, for people. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/time.h"
#include "job/schedule.h"

static const char *const verdict_names[] = {
    [SCHEDULE_RAN] = "ran",
    [SCHEDULE_SKIPPED] = "skipped",
    [SCHEDULE_BUFFERED] = "buffered",
    [SCHEDULE_CAUGHT_UP] = "caught_up",
    [SCHEDULE_MISSED] = "missed",
    [SCHEDULE_DEFERRED] = "deferred",
    [SCHEDULE_CANCELLED_OTHER] = "cancelled_other",
};

const char *schedule_verdict_name(enum schedule_verdict v)
{
    return verdict_names[v];
}

void schedule_print(const struct schedule *s, struct buf *b)
{
    char text[64];
    duration_format(s->interval_ms, text, sizeof text);
    switch (s->kind) {
    case SCHEDULE_CRON:
        buf_addf(b, "cron %s in %s", s->cron_text, s->zone.name);
        break;
    case SCHEDULE_EVERY:
        buf_addf(b, "every %s", text);
        break;
    case SCHEDULE_AFTER:
        buf_addf(b, "%s after the end of the last run", text);
        break;
    }
}

/* "Sun 2026-03-29 02:30:00 +01:00" */
static void print_local(const struct zone *z, int64_t ms, struct buf *b)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    int64_t offset = zone_local(z, ms) - ms;
    struct time_parts p;
    time_split(ms + offset, &p);
    int minutes = (int)(offset / 60000);
    buf_addf(b, "%s %04d-%02d-%02d %02d:%02d:%02d %c%02d:%02d", days[p.weekday - 1], p.year,
             p.month, p.day, p.hour, p.minute, p.second, minutes < 0 ? '-' : '+', abs(minutes) / 60,
             abs(minutes) % 60);
}

static void print_hours(const struct schedule *s, int64_t at, struct buf *b)
{
    enum hours_state state = hours_at(&s->hours, &s->zone, at);
    int64_t opening;
    if (state == HOURS_OPEN)
        return;
    buf_addf(b, "  %s, ", state == HOURS_BLACKOUT ? "in a blackout" : "outside of its windows");
    if (!s->defer || !hours_opening(&s->hours, &s->zone, at, &opening)) {
        buf_adds(b, "skipped");
        return;
    }
    buf_adds(b, "deferred to ");
    print_local(&s->zone, opening, b);
}

void schedule_print_next(const struct schedule *s, const struct schedule_state *st, int64_t now,
                         size_t n, struct buf *b)
{
    struct schedule_due next;
    if (st->paused || s->kind == SCHEDULE_AFTER) {
        if (st->paused)
            buf_adds(b, "paused\n");
        else if (!schedule_next(s, st, &next))
            buf_adds(b, "a run is under way; its end says when the next is due\n");
        else {
            print_local(&s->zone, next.at, b);
            print_hours(s, next.at, b);
            buf_addc(b, '\n');
        }
        return;
    }
    int64_t due = now > st->decided ? now : st->decided;
    for (size_t i = 0; i < n && schedule_due_after(s, due, &due); i++) {
        int64_t at = due + schedule_jitter(s, due);
        print_local(&s->zone, at, b);
        print_hours(s, at, b);
        buf_addc(b, '\n');
    }
}
