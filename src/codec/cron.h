/* Cron - when a schedule is due: expressions of five or six fields, and the macros.
 *
 *   [second 0-59]  minute 0-59  hour 0-23  day 1-31  month 1-12 JAN-DEC  weekday 0-7 SUN-SAT
 *
 *   *  ?          every one (? only for days and weekdays; it is the same as *)
 *   a  a-b  a,b    one, from one to another, several of anything
 *   a-b/n  a/n     every nth of them, every nth from a on; so with * in the place of a-b
 *   L  L-n         the last day of the month, n days before it
 *   nW  LW         the day from Monday to Friday that is nearest to day n, the last such one
 *   FRIL  FRI#2    the last Friday of the month, the second
 *   @yearly @annually @monthly @weekly @daily @midnight @hourly, @every 1h30m
 *
 * Weekdays are numbered as in cron (0 and 7 are Sunday), not as in Quartz.
 *
 * Days and weekdays as cron has it: where both are restricted, one of them must fit ("0 0 13 * FRI"
 * is each 13th and each Friday); where one begins with *, both must. So a star with a step of 2 for
 * the day and FRI for the weekday is each Friday on an odd day.
 *
 * Time zones: without a wildcard hour an expression names times of day, and each comes once.
 *
 *   local  00 ---- 01 | 03 ----        a time in the gap runs where the gap ends
 *   local  00 ---- 01 | 01 ---- 02     a time that comes twice runs the first time
 *
 * Where the hour begins with *, the expression follows elapsed time: it runs whenever the clock on
 * the wall fits, so in both hours of the second picture, and in no hour that is skipped.
 *
 * `@every` is a fixed grid from 1970-01-01T00:00:00Z on and knows no time zone: each node and each
 * restart finds the same moments.
 *
 * A struct cron is a value; nothing here allocates or reads a clock. A search is bounded: the
 * calendar repeats after 400 years, and an expression that does not come within them is refused
 * when it is parsed. */
#ifndef KOAN_CODEC_CRON_H
#define KOAN_CODEC_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct zone;

enum { CRON_TEXT_MAX = 256, CRON_EVERY_MIN_MS = 1000 };

struct cron {
    uint64_t seconds, minutes; /* sets, as bits */
    uint32_t hours, days, months;
    uint32_t weekdays;                   /* bit 0 is Sunday */
    uint32_t days_from_last;             /* bit n: n days before the last of the month */
    uint32_t days_nearest;               /* bit n: the weekday nearest to day n */
    uint8_t weekdays_nth[7];             /* bit n: the nth of the month; bit 0: the last */
    bool day_nearest_last;               /* LW */
    bool any_hour, any_day, any_weekday; /* the field begins with * or ? */
    int64_t every_ms;                    /* @every: then nothing else counts */
};

/* ERR_INVALID names field, value and way out. */
int cron_parse(const char *text, struct cron *out, struct err *e);

/* The first due moment after `after` (ms since 1970, exclusive); false when there is none before
 * the year 10000. */
bool cron_next(const struct cron *c, const struct zone *z, int64_t after, int64_t *out);

/* The first local time (seconds) that fits, from `local` on; false as above. Not for @every. */
bool cron_next_local(const struct cron *c, int64_t local, int64_t *out);

#endif
