#include "codec/zone_rule.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "codec/days.h"

enum { HOUR = 3600, DAY = 86400, OFFSET_HOURS_MAX = 24, TIME_HOURS_MAX = 167, RULE_EVENTS = 8 };

struct rule_text {
    const char *p, *end;
};

static int rule_peek(const struct rule_text *t)
{
    return t->p < t->end ? (unsigned char)*t->p : -1;
}

static bool rule_take(struct rule_text *t, char c)
{
    if (rule_peek(t) != c)
        return false;
    t->p++;
    return true;
}

static bool rule_number(struct rule_text *t, int min, int max, int *out)
{
    int value = 0, digits = 0;
    for (; isdigit(rule_peek(t)) && digits < 3; digits++)
        value = value * 10 + (*t->p++ - '0');
    *out = value;
    return digits > 0 && !isdigit(rule_peek(t)) && value >= min && value <= max;
}

/* Three letters or more, or anything like a name within < and >. */
static bool rule_name(struct rule_text *t)
{
    bool quoted = rule_take(t, '<');
    const char *start = t->p;
    while (isalpha(rule_peek(t)) ||
           (quoted && (isdigit(rule_peek(t)) || rule_peek(t) == '+' || rule_peek(t) == '-')))
        t->p++;
    return t->p - start >= 3 && (!quoted || rule_take(t, '>'));
}

/* [+-]hh[:mm[:ss]], as seconds. */
static bool rule_time(struct rule_text *t, int hours_max, int32_t *out)
{
    int hours, minutes = 0, seconds = 0;
    bool negative = rule_take(t, '-');
    if (!negative)
        rule_take(t, '+');
    if (!rule_number(t, 0, hours_max, &hours))
        return false;
    if (rule_take(t, ':') && (!rule_number(t, 0, 59, &minutes) ||
                              (rule_take(t, ':') && !rule_number(t, 0, 59, &seconds))))
        return false;
    int32_t all = hours * HOUR + minutes * 60 + seconds;
    *out = negative ? -all : all;
    return true;
}

static bool rule_day(struct rule_text *t, struct zone_day *out)
{
    bool good;
    if (rule_take(t, 'M')) {
        out->kind = ZONE_DAY_WEEKDAY;
        good = rule_number(t, 1, 12, &out->month) && rule_take(t, '.') &&
               rule_number(t, 1, 5, &out->week) && rule_take(t, '.') &&
               rule_number(t, 0, 6, &out->day);
    } else if (rule_take(t, 'J')) {
        out->kind = ZONE_DAY_JULIAN;
        good = rule_number(t, 1, 365, &out->day);
    } else {
        out->kind = ZONE_DAY_COUNT;
        good = rule_number(t, 0, 365, &out->day);
    }
    out->time = 2 * HOUR;
    return good && (!rule_take(t, '/') || rule_time(t, TIME_HOURS_MAX, &out->time));
}

static bool rule_summer(struct rule_text *t, struct zone_rule *r)
{
    r->has_summer = true;
    r->summer = r->standard + HOUR;
    if (!rule_name(t))
        return false;
    if (rule_peek(t) != ',') {
        if (!rule_time(t, OFFSET_HOURS_MAX, &r->summer))
            return false;
        r->summer = -r->summer;
    }
    return rule_take(t, ',') && rule_day(t, &r->start) && rule_take(t, ',') && rule_day(t, &r->end);
}

int zone_rule_parse(const char *s, size_t n, struct zone_rule *out, struct err *e)
{
    struct rule_text t = {s, s + n};
    struct zone_rule r = {.present = n > 0};
    bool good = n == 0 || (rule_name(&t) && rule_time(&t, OFFSET_HOURS_MAX, &r.standard));
    r.standard = -r.standard;
    if (good && t.p < t.end)
        good = rule_summer(&t, &r);
    if (!good || t.p < t.end)
        return err_set(e, ERR_INVALID,
                       "byte %d of the zone's rule is not of the form of POSIX TZ, as in "
                       "CET-1CEST,M3.5.0,M10.5.0/3",
                       (int)(t.p - s));
    *out = r;
    return 0;
}

/* Local midnight of the day on which the change falls, plus its time. */
static int64_t rule_change(const struct zone_day *d, int year)
{
    int64_t day;
    if (d->kind == ZONE_DAY_WEEKDAY) {
        int64_t first = days_of(year, d->month, 1);
        int to_weekday = (d->day - days_weekday(first) + 7) % 7;
        int of_month = to_weekday + (d->week - 1) * 7;
        if (of_month >= days_in_month(year, d->month))
            of_month -= 7;
        day = first + of_month;
    } else {
        day = days_of(year, 1, 1) + d->day;
        if (d->kind == ZONE_DAY_JULIAN)
            day -= days_is_leap(year) && d->day > 59 ? 0 : 1;
    }
    return day * DAY + d->time;
}

struct rule_event {
    int64_t at;
    int32_t offset; /* from then on */
};

/* The changes of the years around one, in order: a time of day may carry a change into the next
 * year, so the last change before `year` may be of the year before the last. A stable sort: where
 * summer ends at the very second in which it begins again, the beginning stands behind. */
static size_t rule_events(const struct zone_rule *r, int year, struct rule_event out[RULE_EVENTS])
{
    size_t n = 0;
    for (int y = year - 2; y <= year + 1; y++) {
        struct rule_event start = {rule_change(&r->start, y) - r->standard, r->summer};
        struct rule_event end = {rule_change(&r->end, y) - r->summer, r->standard};
        bool start_first = start.at < end.at;
        out[n++] = start_first ? start : end;
        out[n++] = start_first ? end : start;
    }
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && out[k].at < out[k - 1].at; k--) {
            struct rule_event other = out[k];
            out[k] = out[k - 1];
            out[k - 1] = other;
        }
    return n;
}

int32_t zone_rule_offset(const struct zone_rule *r, int64_t at, int64_t *from, int64_t *until)
{
    ASSERT(r->present);
    *from = INT64_MIN;
    *until = INT64_MAX;
    if (!r->has_summer)
        return r->standard;
    struct rule_event events[RULE_EVENTS];
    size_t n = rule_events(r, days_date(days_floor(at, DAY)).year, events);
    int32_t offset = events[n - 1].offset;
    for (size_t i = 0; i < n; i++) {
        if (events[i].at > at) {
            *until = events[i].at;
            break;
        }
        *from = events[i].at;
        offset = events[i].offset;
    }
    return offset;
}
