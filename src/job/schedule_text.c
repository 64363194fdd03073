/* A schedule in words, for people. */
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
