#include "codec/cron.h"

#include "base/err.h"
#include "codec/days.h"
#include "codec/zone.h"

enum { CRON_DAY = 86400, CRON_MONTHS_MAX = 400 * 12 + 1, CRON_YEAR_MAX = 9999 };

/* The lowest member of a set that is `from` or above; -1 when there is none. */
static int cron_member(uint64_t set, int from)
{
    if (from > 63)
        return -1;
    uint64_t left = set >> from << from;
    return left != 0 ? __builtin_ctzll(left) : -1;
}

static bool cron_has(uint64_t set, int i)
{
    return (set >> i & 1) != 0;
}

/* The weekday nearest to a day, in its own month. */
static int cron_nearest(int day, int last, int weekday)
{
    if (weekday == 6)
        return day > 1 ? day - 1 : day + 2;
    if (weekday == 0)
        return day < last ? day + 1 : day - 2;
    return day;
}

static bool cron_fits_weekday(const struct cron *c, int day, int last, int weekday)
{
    uint8_t nth = c->weekdays_nth[weekday];
    return cron_has(c->weekdays, weekday) || cron_has(nth, (day + 6) / 7) ||
           (cron_has(nth, 0) && day + 7 > last);
}

/* The days of a month that fit, bit 1 being the first. */
static uint32_t cron_days(const struct cron *c, int year, int month)
{
    int last = days_in_month(year, month);
    int first_weekday = days_weekday(days_of(year, month, 1));
    uint32_t days = c->days, weekdays = 0;
    for (int day = 1; day <= last; day++) {
        int weekday = (first_weekday + day - 1) % 7;
        if (cron_fits_weekday(c, day, last, weekday))
            weekdays |= UINT32_C(1) << day;
        if (cron_has(c->days_from_last, last - day))
            days |= UINT32_C(1) << day;
        if (cron_has(c->days_nearest, day) || (c->day_nearest_last && day == last))
            days |= UINT32_C(1) << cron_nearest(day, last, weekday);
    }
    uint32_t of_month = (uint32_t)((UINT64_C(2) << last) - 2);
    return of_month & (c->any_day || c->any_weekday ? days & weekdays : days | weekdays);
}

/* The first fitting second of a day from `second` on, or -1. */
static int cron_time(const struct cron *c, int second)
{
    int h = second / 3600, m = second / 60 % 60, s = second % 60;
    if (cron_has(c->hours, h)) {
        int to = cron_has(c->minutes, m) ? cron_member(c->seconds, s) : -1;
        if (to >= 0)
            return second - s + to;
        to = cron_member(c->minutes, m + 1);
        if (to >= 0)
            return h * 3600 + to * 60 + cron_member(c->seconds, 0);
    }
    h = cron_member(c->hours, h + 1);
    return h < 0 ? -1 : h * 3600 + cron_member(c->minutes, 0) * 60 + cron_member(c->seconds, 0);
}

bool cron_next_local(const struct cron *c, int64_t local, int64_t *out)
{
    int64_t day = days_floor(local, CRON_DAY);
    int time = cron_time(c, (int)(local - day * CRON_DAY));
    if (time < 0) {
        day++;
        time = cron_time(c, 0);
    }
    struct days_date from = days_date(day);
    int year = from.year, month = from.month, day_min = from.day;
    for (int i = 0; i < CRON_MONTHS_MAX && year <= CRON_YEAR_MAX; i++) {
        int fits =
            cron_has(c->months, month) ? cron_member(cron_days(c, year, month), day_min) : -1;
        if (fits >= 0) {
            if (fits != from.day || i > 0)
                time = cron_time(c, 0);
            *out = days_of(year, month, fits) * CRON_DAY + time;
            return true;
        }
        day_min = 1;
        month = month % 12 + 1;
        year += month == 1;
    }
    return false;
}

/* Each local time once: the first moment at which the clock has come as far. */
static bool cron_next_fixed(const struct cron *c, const struct zone *z, int64_t after, int64_t *out)
{
    int64_t local;
    if (!cron_next_local(c, days_floor(zone_shown(z, after), 1000) + 1, &local))
        return false;
    *out = zone_reach(z, local * 1000);
    return true;
}

/* Whenever the clock fits: each span of the zone is searched by its own offset. */
static bool cron_next_elapsed(const struct cron *c, const struct zone *z, int64_t after,
                              int64_t *out)
{
    struct zone_span span;
    for (int64_t at = (days_floor(after, 1000) + 1) * 1000;; at = span.until) {
        int64_t local;
        zone_span(z, at, &span);
        if (!cron_next_local(c, days_floor(at + span.offset, 1000), &local))
            return false;
        *out = local * 1000 - span.offset;
        if (*out < span.until || span.until == ZONE_MS_MAX)
            return true;
    }
}

bool cron_next(const struct cron *c, const struct zone *z, int64_t after, int64_t *out)
{
    if (after < ZONE_MS_MIN)
        after = ZONE_MS_MIN;
    if (after >= ZONE_MS_MAX)
        return false;
    bool found = true;
    if (c->every_ms > 0)
        *out = (days_floor(after, c->every_ms) + 1) * c->every_ms;
    else if (c->any_hour)
        found = cron_next_elapsed(c, z, after, out);
    else
        found = cron_next_fixed(c, z, after, out);
    ASSERT(!found || *out > after);
    return found && *out <= ZONE_MS_MAX;
}
