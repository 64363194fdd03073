/* Zone - the IANA time zones, which the binary carries inside.
 *
 * The build compiles Debian's tzdata into one table (packaging/zones): every zone and every other
 * name of one, each as the 64-bit half of a TZif file (RFC 9636). So a node needs no
 * /usr/share/zoneinfo, and all nodes of one version agree about every local time.
 *
 * A zone is a run of spans, [from, until), each with one offset from UTC. Those of the past are
 * listed; behind the last listed one a rule goes on for ever ("from the last Sunday of March").
 *
 *   UTC     ----------------|------------------------|----------->
 *   local   ...   01:59:59  |03:00 ...       01:59:59|01:00 ...
 *                           gap: 02:00-03:00 is no   overlap: 01:00-02:00 comes twice
 *                           local time
 *
 * A local time is written as if it were UTC: milliseconds since 1970 of what the clock on the wall
 * shows. Moments are bounded to the years 0..9999.
 *
 * A struct zone is a value of fixed size; it points into the binary, so it is never freed and any
 * thread may read it. No function here allocates, blocks or reads a clock. */
#ifndef KOAN_CODEC_ZONE_H
#define KOAN_CODEC_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/zone_rule.h"

struct err;

enum { ZONE_TRANSITIONS_MAX = 4096, ZONE_TYPES_MAX = 256, ZONE_NAMES_MAX = 4096 };

#define ZONE_MS_MIN (-INT64_C(62167219200000)) /* 0000-01-01T00:00:00Z */
#define ZONE_MS_MAX INT64_C(253402300799999)   /* the last moment of 9999 */

struct zone {
    const char *name; /* as it stands in the table; "" for one that zone_parse() made */
    const uint8_t *times, *indexes, *types;
    uint32_t count, type_count;
    struct zone_rule rule;
};

struct zone_span {
    int64_t from, until; /* ZONE_MS_MIN and ZONE_MS_MAX where there is no end */
    int64_t offset;      /* ms east of UTC */
};

/* The zone with exactly this name. ERR_INVALID, naming those that may be meant, when there is none.
 */
int zone_find(const char *name, struct zone *out, struct err *e);
/* The 64-bit half of a TZif file; `out` points into it. ERR_INVALID when it is none, or over one of
 * the limits above. */
int zone_parse(const void *p, size_t n, struct zone *out, struct err *e);
/* The names in the order of their bytes; NULL past the last. */
const char *zone_name(size_t i);

/* Moments outside of the bounds are taken as the bound. */
void zone_span(const struct zone *z, int64_t ms, struct zone_span *out);
/* What the clock on the wall shows. */
int64_t zone_local(const struct zone *z, int64_t ms);
/* The moments, in order, at which the clock shows `local`: how many (0, 1 or 2). At 0 out[0] is
 * where the gap ends that has swallowed it. */
int zone_instants(const struct zone *z, int64_t local, int64_t out[2]);
/* The first moment at which the clock shows `local` or later: the first of two, the end of a gap.
 */
int64_t zone_reach(const struct zone *z, int64_t local);
/* The other way: the latest local time that the clock has shown up to and with `ms`. Where it was
 * set back that is what it showed just before: zone_reach() of anything above lies behind `ms`. */
int64_t zone_shown(const struct zone *z, int64_t ms);

#endif
