/* Time - values and texts, never a clock (that is io/world.h). A moment is milliseconds since 1970
 * UTC in an int64_t. */
#ifndef KOAN_BASE_TIME_H
#define KOAN_BASE_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum { TIME_TEXT = 25 /* "2026-11-22T13:57:14.123Z" with the NUL */ };

/* Years 0000..9999. */
void time_format(int64_t ms, char out[TIME_TEXT]);
/* RFC 3339 with offset or Z, optional fraction; a bare date is midnight UTC. false when it is not
 * one. */
bool time_parse(const char *s, size_t n, int64_t *ms);
/* A moment by its parts, UTC. time_join() takes parts that are out of their range (month 14, day 0)
 * and carries them over; the result is within years 0000..9999, else false. */
struct time_parts {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second, ms;
    int weekday; /* 1 Monday .. 7 Sunday; not read by time_join */
    int yearday; /* from 1; not read by time_join */
};
void time_split(int64_t ms, struct time_parts *out);
bool time_join(const struct time_parts *parts, int64_t *ms);
int time_month_days(int year, int month);
bool time_parse_date(const char *s, size_t n, int *year, int *month, int *day);

/* "250ms" "30s" "1h30m" "7d", a bare number is seconds. Result in milliseconds, 0..100 years. */
int duration_parse(const char *s, int64_t *ms, struct err *e);
void duration_format(int64_t ms, char *out, size_t n); /* "1h30m", for people */
/* "64KiB" "10MiB" "512", powers of 1024; also B KB MB GB as the same powers. */
int size_parse(const char *s, uint64_t *bytes, struct err *e);
void size_format(uint64_t bytes, char *out, size_t n);

#endif
