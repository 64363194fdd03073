#include "job/hours.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "codec/days.h"
#include "codec/zone.h"

enum { HOURS_DAY = 86400, HOURS_ALL_WEEK = 0x7f, DATE_TEXT = 10 /* 2026-12-24 */ };

static const char *const hours_weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

static bool hours_weekday(const char **p, int *out)
{
    for (int i = 0; i < (int)ARRAY_LEN(hours_weekdays); i++)
        if (strncasecmp(*p, hours_weekdays[i], 3) == 0 && !isalpha((unsigned char)(*p)[3])) {
            *p += 3;
            *out = i;
            return true;
        }
    return false;
}

/* "Mon-Fri,Sun": a range may go over the end of the week. */
static bool hours_weekdays_parse(const char **p, uint8_t *out)
{
    *out = 0;
    do {
        int from, to;
        if (!hours_weekday(p, &from))
            return false;
        to = from;
        if (**p == '-') {
            ++*p;
            if (!hours_weekday(p, &to))
                return false;
        }
        for (int day = from;; day = (day + 1) % 7) {
            *out |= (uint8_t)(1 << day);
            if (day == to)
                break;
        }
    } while (**p == ',' && ++*p);
    return true;
}

static bool hours_date(const char **p, int64_t *out)
{
    int year, month, day;
    if (strnlen(*p, DATE_TEXT) < DATE_TEXT || !time_parse_date(*p, DATE_TEXT, &year, &month, &day))
        return false;
    *p += DATE_TEXT;
    *out = days_of(year, month, day);
    return true;
}

static bool hours_dates_parse(const char **p, struct hours_span *out)
{
    if (!hours_date(p, &out->day_from))
        return false;
    out->day_to = out->day_from;
    if (strncmp(*p, "..", 2) == 0) {
        *p += 2;
        if (!hours_date(p, &out->day_to))
            return false;
    }
    return out->day_from <= out->day_to;
}

static bool hours_time(const char **p, int32_t *out)
{
    const char *s = *p;
    for (int i = 0; i < 5; i++)
        if (i == 2 ? s[i] != ':' : !isdigit((unsigned char)s[i]))
            return false;
    int hour = (s[0] - '0') * 10 + s[1] - '0', minute = (s[3] - '0') * 10 + s[4] - '0';
    *out = hour * 3600 + minute * 60;
    *p += 5;
    return minute < 60 && *out <= HOURS_DAY;
}

static bool hours_times_parse(const char **p, struct hours_span *out)
{
    if (!hours_time(p, &out->from) || **p != '-')
        return false;
    ++*p;
    if (!hours_time(p, &out->to) || out->to == out->from || out->from == HOURS_DAY)
        return false;
    if (out->to < out->from)
        out->to += HOURS_DAY;
    return true;
}

int hours_span_parse(const char *text, struct hours_span *out, struct err *e)
{
    struct hours_span s = {INT64_MIN, INT64_MAX, HOURS_ALL_WEEK, 0, HOURS_DAY};
    const char *p = text;
    bool good = true, days = true;
    if (isalpha((unsigned char)*p))
        good = hours_weekdays_parse(&p, &s.weekdays);
    else if (strnlen(p, 5) == 5 && p[4] == '-')
        good = hours_dates_parse(&p, &s);
    else
        days = false;
    if (good && days && *p == ' ')
        good = *++p != '\0';
    if (good && (!days || *p != '\0'))
        good = (!days || p[-1] == ' ') && hours_times_parse(&p, &s);
    if (!good || *p != '\0')
        return err_set(e, ERR_INVALID,
                       "'%.80s' is no span of days and times; write it as Mon-Fri 08:00-18:00, "
                       "Sat,Sun, 22:00-06:00 or 2026-12-24..2027-01-01",
                       text);
    *out = s;
    return 0;
}

static bool span_has_day(const struct hours_span *s, int64_t day)
{
    return day >= s->day_from && day <= s->day_to && (s->weekdays >> days_weekday(day) & 1) != 0;
}

/* `local` in seconds. What began the day before may still last. */
static bool span_has(const struct hours_span *s, int64_t local)
{
    int64_t day = days_floor(local, HOURS_DAY), time = local - day * HOURS_DAY;
    return (span_has_day(s, day) && time >= s->from && time < s->to) ||
           (span_has_day(s, day - 1) && time + HOURS_DAY < s->to);
}

static bool spans_have(const struct hours_span *spans, size_t n, int64_t local)
{
    for (size_t i = 0; i < n; i++)
        if (span_has(&spans[i], local))
            return true;
    return false;
}

enum hours_state hours_at(const struct hours *h, const struct zone *z, int64_t ms)
{
    int64_t local = days_floor(zone_local(z, ms), 1000);
    if (h->windows_n > 0 && !spans_have(h->windows, h->windows_n, local))
        return HOURS_OUTSIDE;
    return spans_have(h->blackout, h->blackout_n, local) ? HOURS_BLACKOUT : HOURS_OPEN;
}

struct opening {
    const struct hours *hours;
    const struct zone *zone;
    int64_t after, best; /* INT64_MAX: none yet */
};

static void opening_try(struct opening *o, int64_t at)
{
    if (at >= o->after && at < o->best && hours_at(o->hours, o->zone, at) == HOURS_OPEN)
        o->best = at;
}

/* Both moments of a local time that comes twice, and the end of the gap for one that never does. */
static void opening_try_local(struct opening *o, int64_t local)
{
    int64_t at[2];
    int n = zone_instants(o->zone, local * 1000, at);
    opening_try(o, at[0]);
    if (n == 2)
        opening_try(o, at[1]);
}

/* The hours open where a window begins or a blackout ends, or where the clock is set. */
static void opening_try_day(struct opening *o, int64_t day)
{
    const struct hours *h = o->hours;
    int64_t midnight = day * HOURS_DAY;
    for (size_t i = 0; i < h->windows_n; i++)
        opening_try_local(o, midnight + h->windows[i].from);
    for (size_t i = 0; i < h->blackout_n; i++)
        opening_try_local(o, midnight + h->blackout[i].to);
    struct zone_span span;
    int64_t start = zone_reach(o->zone, midnight * 1000);
    zone_span(o->zone, start, &span);
    if (span.until - start <= (int64_t)HOURS_DAY * 1000)
        opening_try(o, span.until);
}

bool hours_opening(const struct hours *h, const struct zone *z, int64_t ms, int64_t *out)
{
    *out = ms;
    if (hours_at(h, z, ms) == HOURS_OPEN)
        return true;
    struct opening o = {h, z, ms, INT64_MAX};
    int64_t today = days_floor(zone_local(z, ms), (int64_t)HOURS_DAY * 1000);
    for (int64_t day = today - 2; day <= today + HOURS_SEARCH_DAYS; day++) {
        bool found = o.best != INT64_MAX;
        opening_try_day(&o, day);
        if (found) /* a span of this day may have begun the day before */
            break;
    }
    *out = o.best;
    return o.best != INT64_MAX;
}
