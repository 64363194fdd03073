/* Days - the Gregorian calendar as numbers: day 0 is 1970-01-01. For any year an int can hold
 * without overflow; no table, no clock. What zone.c and cron.c reckon with. */
#ifndef KOAN_CODEC_DAYS_H
#define KOAN_CODEC_DAYS_H

#include <stdbool.h>
#include <stdint.h>

struct days_date {
    int year, month, day; /* month and day from 1 */
};

/* `a` divided by a positive `b`, rounded down. */
static inline int64_t days_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static inline bool days_is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline int days_in_month(int year, int month)
{
    return month == 2 ? 28 + days_is_leap(year) : 30 + ((month + (month > 7)) & 1);
}

/* The year is counted from March, so that its leap day is the last: then the days before a month
 * follow one formula, and 400 years have 146,097 days. */
static inline int64_t days_of(int year, int month, int day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = days_floor(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static inline struct days_date days_date(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = days_floor(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    int month = (int)(m < 10 ? m + 3 : m - 9);
    return (struct days_date){
        .year = (int)(y + era * 400) + (month <= 2),
        .month = month,
        .day = (int)(of_year - (153 * m + 2) / 5) + 1,
    };
}

/* 0 Sunday .. 6 Saturday. */
static inline int days_weekday(int64_t days)
{
    return (int)(((days + 4) % 7 + 7) % 7);
}

#endif
