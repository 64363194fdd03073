#include "base/time.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static const int64_t TIME_DAY_MS = 86400000;
static const int64_t TIME_MIN_MS = -62167219200000; /* 0000-01-01 */
static const int64_t TIME_MAX_MS = 253402300799999; /* 9999-12-31T23:59:59.999Z */

/* Days since 1970 of a date of the proleptic Gregorian calendar. Years begin in March here, so that
 * the leap day is the last of its year; 146097 days make 400 years. */
static int64_t time_days(int year, int month, int day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t in_era = y - era * 400;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static void time_date(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t in_era = days - era * 146097;
    int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;
    *day = (int)(in_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

void time_split(int64_t ms, struct time_parts *out)
{
    if (ms < TIME_MIN_MS)
        ms = TIME_MIN_MS;
    if (ms > TIME_MAX_MS)
        ms = TIME_MAX_MS;
    int64_t days = ms / TIME_DAY_MS - (ms % TIME_DAY_MS < 0);
    int rest = (int)(ms - days * TIME_DAY_MS);
    time_date(days, &out->year, &out->month, &out->day);
    out->hour = rest / 3600000;
    out->minute = rest / 60000 % 60;
    out->second = rest / 1000 % 60;
    out->ms = rest % 1000;
    int64_t since_monday = (days + 3) % 7; /* 1970 began on a Thursday */
    out->weekday = (int)(since_monday < 0 ? since_monday + 7 : since_monday) + 1;
    out->yearday = (int)(days - time_days(out->year, 1, 1)) + 1;
}

bool time_join(const struct time_parts *p, int64_t *ms)
{
    int64_t months = (int64_t)p->year * 12 + p->month - 1;
    int64_t year = months / 12 - (months % 12 < 0);
    if (year < 0 || year > 9999)
        return false;
    int64_t days = time_days((int)year, (int)(months - year * 12) + 1, 1) + p->day - 1;
    int64_t sum = days * TIME_DAY_MS + (int64_t)p->hour * 3600000 + (int64_t)p->minute * 60000 +
                  (int64_t)p->second * 1000 + p->ms;
    if (sum < TIME_MIN_MS || sum > TIME_MAX_MS)
        return false;
    *ms = sum;
    return true;
}

static void time_digits(char *out, int width, int value)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

void time_format(int64_t ms, char out[TIME_TEXT])
{
    struct time_parts p;
    time_split(ms, &p);
    memcpy(out, "0000-00-00T00:00:00.000Z", TIME_TEXT);
    time_digits(out, 4, p.year);
    time_digits(out + 5, 2, p.month);
    time_digits(out + 8, 2, p.day);
    time_digits(out + 11, 2, p.hour);
    time_digits(out + 14, 2, p.minute);
    time_digits(out + 17, 2, p.second);
    time_digits(out + 20, 3, p.ms);
}

static bool time_number(const char *s, int width, int *out)
{
    *out = 0;
    for (int i = 0; i < width; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *out = *out * 10 + (s[i] - '0');
    }
    return true;
}

int time_month_days(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

bool time_parse_date(const char *s, size_t n, int *year, int *month, int *day)
{
    int y, m, d;
    if (n != 10 || s[4] != '-' || s[7] != '-')
        return false;
    if (!time_number(s, 4, &y) || !time_number(s + 5, 2, &m) || !time_number(s + 8, 2, &d))
        return false;
    if (m < 1 || m > 12 || d < 1 || d > time_month_days(y, m))
        return false;
    *year = y;
    *month = m;
    *day = d;
    return true;
}

/* "Z" or "+hh:mm", all of the text; the offset in minutes. */
static bool time_zone(const char *s, size_t n, int *minutes)
{
    if (n == 1 && (*s == 'Z' || *s == 'z')) {
        *minutes = 0;
        return true;
    }
    int h, m;
    if (n != 6 || (*s != '+' && *s != '-') || s[3] != ':')
        return false;
    if (!time_number(s + 1, 2, &h) || !time_number(s + 4, 2, &m) || h > 23 || m > 59)
        return false;
    *minutes = (*s == '-' ? -1 : 1) * (h * 60 + m);
    return true;
}

/* ".123456": milliseconds, further digits are dropped. Returns the bytes used, 0 when malformed. */
static size_t time_fraction(const char *s, size_t n, int *ms)
{
    size_t at = 1;
    int scale = 100;
    *ms = 0;
    for (; at < n && s[at] >= '0' && s[at] <= '9'; at++, scale /= 10)
        *ms += (s[at] - '0') * scale;
    return at > 1 ? at : 0;
}

bool time_parse(const char *s, size_t n, int64_t *ms)
{
    int year, month, day, hour, minute, second, zone, fraction = 0;
    if (n < 10 || !time_parse_date(s, 10, &year, &month, &day))
        return false;
    int64_t whole = time_days(year, month, day) * TIME_DAY_MS;
    if (n == 10) {
        *ms = whole;
        return true;
    }
    if (n < 20 || (s[10] != 'T' && s[10] != 't' && s[10] != ' ') || s[13] != ':' || s[16] != ':')
        return false;
    if (!time_number(s + 11, 2, &hour) || !time_number(s + 14, 2, &minute) ||
        !time_number(s + 17, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60) /* 60: a leap second is the next one */
        return false;
    size_t at = 19;
    if (s[at] == '.') {
        size_t used = time_fraction(s + at, n - at, &fraction);
        if (used == 0)
            return false;
        at += used;
    }
    if (!time_zone(s + at, n - at, &zone))
        return false;
    whole += ((int64_t)hour * 3600 + (minute - zone) * 60 + second) * 1000 + fraction;
    if (whole < TIME_MIN_MS || whole > TIME_MAX_MS)
        return false;
    *ms = whole;
    return true;
}

/* ---- amounts with units ---- */

struct time_unit {
    const char *name;
    uint64_t scale;
};

static const uint64_t TIME_YEARS_100 = 36525ull * 86400000;

/* Digits with an optional fraction, times `scale`, rounded down. Returns false on overflow. Stands
 * at *s, which was checked to be a digit; moves it behind the number. */
struct time_amount {
    uint64_t whole, fraction, fraction_scale;
};

static bool time_amount_read(const char **s, struct time_amount *a)
{
    *a = (struct time_amount){.fraction_scale = 1};
    const char *p = *s;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(a->whole, 10, &a->whole) ||
            __builtin_add_overflow(a->whole, (uint64_t)(*p - '0'), &a->whole))
            return false;
    if (*p == '.') {
        if (p[1] < '0' || p[1] > '9')
            return false;
        for (p++; *p >= '0' && *p <= '9'; p++)
            if (a->fraction_scale < 1000000) {
                a->fraction = a->fraction * 10 + (uint64_t)(*p - '0');
                a->fraction_scale *= 10;
            }
    }
    *s = p;
    return true;
}

static bool time_amount_scale(const struct time_amount *a, uint64_t scale, uint64_t *out)
{
    uint64_t whole, part;
    if (__builtin_mul_overflow(a->whole, scale, &whole) ||
        __builtin_mul_overflow(a->fraction, scale, &part))
        return false;
    return !__builtin_add_overflow(whole, part / a->fraction_scale, out);
}

/* The unit whose name is the letters at *s; NULL when there is none. Moves *s behind it. */
static const struct time_unit *time_unit_read(const char **s, const struct time_unit *units,
                                              size_t count)
{
    size_t n = 0;
    while (((*s)[n] >= 'a' && (*s)[n] <= 'z') || ((*s)[n] >= 'A' && (*s)[n] <= 'Z'))
        n++;
    for (size_t i = 0; n > 0 && i < count; i++) {
        if (strlen(units[i].name) == n && strncmp(units[i].name, *s, n) == 0) {
            *s += n;
            return &units[i];
        }
    }
    return NULL;
}

static const struct time_unit time_durations[] = {
    {"w", 604800000}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

enum { TIME_DURATIONS = sizeof(time_durations) / sizeof(time_durations[0]) };

static bool duration_sum(const char *s, uint64_t *total)
{
    *total = 0;
    struct time_amount amount;
    const char *p = s;
    if (time_amount_read(&p, &amount) && *p == '\0')
        return time_amount_scale(&amount, 1000, total); /* a bare number is seconds */
    uint64_t last = UINT64_MAX;
    for (p = s; *p != '\0';) {
        uint64_t part;
        if (!time_amount_read(&p, &amount))
            return false;
        const struct time_unit *unit = time_unit_read(&p, time_durations, TIME_DURATIONS);
        if (unit == NULL || unit->scale >= last) /* from large to small, each once */
            return false;
        last = unit->scale;
        if (!time_amount_scale(&amount, unit->scale, &part) ||
            __builtin_add_overflow(*total, part, total))
            return false;
    }
    return *s != '\0';
}

int duration_parse(const char *s, int64_t *ms, struct err *e)
{
    uint64_t total;
    if (!duration_sum(s, &total))
        return err_set(e, ERR_INVALID,
                       "'%.40s' is not a duration; write \"250ms\", \"30s\", \"1h30m\", \"7d\" or "
                       "a number of seconds",
                       s);
    if (total > TIME_YEARS_100)
        return err_set(e, ERR_INVALID, "'%.40s' is longer than 100 years", s);
    *ms = (int64_t)total;
    return 0;
}

void duration_format(int64_t ms, char *out, size_t n)
{
    if (n == 0)
        return;
    out[0] = '\0';
    if (ms <= 0) {
        snprintf(out, n, "%s", ms == 0 ? "0s" : "-");
        if (ms == 0 || n < 2)
            return;
    }
    uint64_t rest = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    for (size_t i = 1; i < TIME_DURATIONS; i++) { /* weeks are written as days */
        uint64_t count = rest / time_durations[i].scale;
        size_t len = strlen(out);
        if (count > 0)
            snprintf(out + len, n - len, "%llu%s", (unsigned long long)count,
                     time_durations[i].name);
        rest %= time_durations[i].scale;
    }
}

static const struct time_unit time_sizes[] = {
    {"TiB", 1ull << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
    {"TB", 1ull << 40},  {"GB", 1 << 30},  {"MB", 1 << 20},  {"KB", 1 << 10},  {"kB", 1 << 10},
    {"T", 1ull << 40},   {"G", 1 << 30},   {"M", 1 << 20},   {"K", 1 << 10},   {"k", 1 << 10},
};

int size_parse(const char *s, uint64_t *bytes, struct err *e)
{
    struct time_amount amount;
    static const struct time_unit one = {"", 1};
    const char *p = s;
    if (time_amount_read(&p, &amount)) {
        while (*p == ' ')
            p++;
        const struct time_unit *unit =
            *p == '\0' ? &one
                       : time_unit_read(&p, time_sizes, sizeof(time_sizes) / sizeof(time_sizes[0]));
        if (unit != NULL && *p == '\0' && time_amount_scale(&amount, unit->scale, bytes))
            return 0;
    }
    return err_set(e, ERR_INVALID,
                   "'%.40s' is not a size; write a number of bytes, or \"64KiB\", \"10MiB\", "
                   "\"2GiB\"",
                   s);
}

void size_format(uint64_t bytes, char *out, size_t n)
{
    for (size_t i = 0; i < 4; i++) {
        uint64_t scale = time_sizes[i].scale;
        if (bytes < scale)
            continue;
        uint64_t whole = bytes / scale, tenth = bytes % scale * 10 / scale;
        if (tenth == 0 || whole >= 100)
            snprintf(out, n, "%llu%s", (unsigned long long)whole, time_sizes[i].name);
        else
            snprintf(out, n, "%llu.%llu%s", (unsigned long long)whole, (unsigned long long)tenth,
                     time_sizes[i].name);
        return;
    }
    snprintf(out, n, "%lluB", (unsigned long long)bytes);
}
