/* Hours - the local times at which a schedule may run: its windows, less its blackout.
 *
 * Each is a list of texts, days first, then times; one of them may be left out:
 *
 *   "Mon-Fri 08:00-18:00"   "Sat,Sun"   "22:00-06:00"   "2026-12-24..2027-01-01"
 *
 * A span whose end is not behind its beginning goes on after midnight and belongs to the day on
 * which it begins; "24:00" ends a day. Without windows all times are open. The local clock decides,
 * so at a change of the offset a window may be shorter, longer, or open twice.
 *
 * A struct hours is a value; pure, no clock. */
#ifndef KOAN_JOB_HOURS_H
#define KOAN_JOB_HOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct zone;

enum { HOURS_SPANS_MAX = 16, HOURS_SEARCH_DAYS = 400 };

struct hours_span {
    int64_t day_from, day_to; /* days since 1970, both included */
    uint8_t weekdays;         /* bit 0 is Sunday */
    int32_t from, to;         /* seconds of the day; to may be past midnight */
};

struct hours {
    struct hours_span windows[HOURS_SPANS_MAX], blackout[HOURS_SPANS_MAX];
    uint8_t windows_n, blackout_n;
};

enum hours_state { HOURS_OPEN, HOURS_OUTSIDE, HOURS_BLACKOUT };

int hours_span_parse(const char *text, struct hours_span *out, struct err *e);
enum hours_state hours_at(const struct hours *h, const struct zone *z, int64_t ms);
/* The first open moment from `ms` on; false when none comes within HOURS_SEARCH_DAYS. */
bool hours_opening(const struct hours *h, const struct zone *z, int64_t ms, int64_t *out);

#endif
