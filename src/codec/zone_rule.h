/* Zone rule - what a zone does from its last listed change on: the text at the end of a TZif file,
 * as POSIX writes the variable TZ: "CET-1CEST,M3.5.0,M10.5.0/3".
 *
 *   name offset [name [offset] , start [/time] , end [/time]]
 *
 * Offsets count west (CET is one hour east of UTC, so -1). A start is `Mm.w.d` (weekday d of week w
 * of month m, week 5 is the last), `Jn` (day 1..365, 29 February never counted) or `n` (day
 * 0..365). The time, 2:00 unless given, may reach from -167 to 167 hours (RFC 9636). Stricter than
 * POSIX in one thing: two names without a start and an end are refused, since nothing says when.
 *
 * Pure: no allocation, no clock. */
#ifndef KOAN_CODEC_ZONE_RULE_H
#define KOAN_CODEC_ZONE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum zone_day_kind { ZONE_DAY_WEEKDAY, ZONE_DAY_JULIAN, ZONE_DAY_COUNT };

struct zone_day {
    enum zone_day_kind kind;
    int month, week, day; /* of ZONE_DAY_WEEKDAY; else `day` alone */
    int32_t time;         /* seconds behind midnight of that day */
};

struct zone_rule {
    bool present; /* false: the last listed offset stays */
    bool has_summer;
    int32_t standard, summer; /* seconds east of UTC */
    struct zone_day start, end;
};

/* An empty text is a rule that is not present. */
int zone_rule_parse(const char *s, size_t n, struct zone_rule *out, struct err *e);

/* The offset at `at` (seconds since 1970, UTC, years 0..9999) and the seconds [*from, *until) in
 * which it stays; INT64_MIN and INT64_MAX where it has no end. The rule must be present. */
int32_t zone_rule_offset(const struct zone_rule *r, int64_t at, int64_t *from, int64_t *until);

#endif
