#include "codec/zone.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/days.h"

enum {
    ZONE_OFFSET_MAX = 93600, /* 26 hours: RFC 9636 bounds them at 25:59:59 */
    ZONE_TIME_SIZE = 8,
    ZONE_TYPE_SIZE = 6,
    ZONE_NEAR_MAX = 4
};

#define ZONE_SECONDS_MIN (ZONE_MS_MIN / 1000)
#define ZONE_SECONDS_MAX (ZONE_MS_MAX / 1000)

struct zone_file {
    const char *name;
    const unsigned char *data;
    size_t size;
};

/* Made by the build, sorted by name as strcmp sorts. */
extern const struct zone_file zone_files[];
extern const size_t zone_files_n;

static uint32_t zone_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t zone_time(const struct zone *z, uint32_t i)
{
    const uint8_t *p = z->times + (size_t)i * ZONE_TIME_SIZE;
    return (int64_t)((uint64_t)zone_u32(p) << 32 | zone_u32(p + 4));
}

static int32_t zone_type_offset(const struct zone *z, uint32_t type)
{
    return (int32_t)zone_u32(z->types + (size_t)type * ZONE_TYPE_SIZE);
}

static int zone_bad(struct err *e, const char *what)
{
    return err_set(e, ERR_INVALID, "not the 64-bit half of a TZif file: %s", what);
}

static int zone_check(const struct zone *z, struct err *e)
{
    for (uint32_t i = 0; i < z->count; i++) {
        int64_t at = zone_time(z, i);
        if (at < ZONE_SECONDS_MIN || at > ZONE_SECONDS_MAX)
            return zone_bad(e, "a change outside of the years 0..9999");
        if (i > 0 && at <= zone_time(z, i - 1))
            return zone_bad(e, "changes that are not in order");
        if (z->indexes[i] >= z->type_count)
            return zone_bad(e, "a change to an offset that it does not list");
    }
    for (uint32_t i = 0; i < z->type_count; i++) {
        int32_t offset = zone_type_offset(z, i);
        if (offset <= -ZONE_OFFSET_MAX || offset >= ZONE_OFFSET_MAX)
            return zone_bad(e, "an offset of 26 hours or more");
    }
    return 0;
}

/* A line feed, the rule, a line feed, and nothing behind it. */
static int zone_footer(struct cursor *c, struct zone_rule *out, struct err *e)
{
    size_t n = cursor_left(c);
    const char *text = cursor_raw(c, n);
    if (n < 2 || text[0] != '\n' || text[n - 1] != '\n')
        return zone_bad(e, "it does not end with a line for the rule");
    return zone_rule_parse(text + 1, n - 2, out, e);
}

/*  at  size              what
 *   0  4                 "TZif"
 *   4  1+15              version, reserved
 *  20  6 * 4             counts, big-endian: UT flags, standard flags, leap seconds, changes,
 *                        offsets, bytes of abbreviations
 *  44  8 * changes       seconds since 1970, ascending
 *      1 * changes       the offset from then on
 *      6 * offsets       seconds east of UTC (4), is summer time (1), abbreviation (1)
 *      abbreviations, 12 * leap seconds, 1 * standard flags, 1 * UT flags: not used
 *      footer            line feed, POSIX TZ text, line feed */
int zone_parse(const void *p, size_t n, struct zone *out, struct err *e)
{
    struct cursor c;
    cursor_init(&c, p, n);
    const uint8_t *head = cursor_raw(&c, 44);
    if (head == NULL || memcmp(head, "TZif", 4) != 0 || head[4] < '2')
        return zone_bad(e, "it does not begin with TZif and a version");
    uint32_t utc = zone_u32(head + 20), standard = zone_u32(head + 24), leap = zone_u32(head + 28);
    uint32_t changes = zone_u32(head + 32), types = zone_u32(head + 36);
    uint32_t chars = zone_u32(head + 40);
    if (changes > ZONE_TRANSITIONS_MAX || types == 0 || types > ZONE_TYPES_MAX ||
        chars > ZONE_NAMES_MAX || standard > types || utc > types)
        return zone_bad(e, "a count that is out of its range");
    if (leap != 0)
        return zone_bad(e, "it counts leap seconds");
    struct zone z = {.name = "", .count = changes, .type_count = types};
    z.times = cursor_raw(&c, (size_t)changes * ZONE_TIME_SIZE);
    z.indexes = cursor_raw(&c, changes);
    z.types = cursor_raw(&c, (size_t)types * ZONE_TYPE_SIZE);
    cursor_raw(&c, (size_t)chars + standard + utc);
    if (c.bad)
        return zone_bad(e, "it is cut off");
    int rc = zone_check(&z, e);
    if (rc == 0)
        rc = zone_footer(&c, &z.rule, e);
    if (rc == 0)
        *out = z;
    return rc;
}

const char *zone_name(size_t i)
{
    return i < zone_files_n ? zone_files[i].name : NULL;
}

static const char *zone_city(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

/* The same letters, where '_', '-' and a space count as one. */
static bool zone_resembles(const char *a, const char *b)
{
    for (; *a != '\0' || *b != '\0'; a++, b++) {
        bool gaps = strchr(" _-", *a) != NULL && strchr(" _-", *b) != NULL;
        if (*a == '\0' || *b == '\0' || (!gaps && strncasecmp(a, b, 1) != 0))
            return false;
    }
    return true;
}

/* Names of which the text is the city, or another spelling; else those within a few letters of it.
 */
static size_t zone_near(const char *name, const char *out[ZONE_NEAR_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < zone_files_n && n < ZONE_NEAR_MAX; i++)
        if (zone_resembles(zone_files[i].name, name) ||
            zone_resembles(zone_city(zone_files[i].name), name))
            out[n++] = zone_files[i].name;
    for (int distance = 1; n == 0 && distance <= 3; distance++)
        for (size_t i = 0; i < zone_files_n && n < ZONE_NEAR_MAX; i++)
            if (str_distance(zone_files[i].name, name) == distance ||
                str_distance(zone_city(zone_files[i].name), name) == distance)
                out[n++] = zone_files[i].name;
    return n;
}

static int zone_unknown(const char *name, struct err *e)
{
    const char *near[ZONE_NEAR_MAX];
    size_t n = *name != '\0' && strlen(name) <= 64 ? zone_near(name, near) : 0;
    AUTO(buf_fini) struct buf b = BUF_INIT(ERR_TEXT_MAX);
    for (size_t i = 0; i < n; i++)
        buf_addf(&b, "%s%s", i == 0 ? "; did you mean " : i + 1 < n ? ", " : " or ", near[i]);
    return err_set(e, ERR_INVALID, "there is no time zone '%.64s'%s", name,
                   n > 0 ? buf_str(&b) : "; write the name of one, as Europe/Lisbon or UTC");
}

int zone_find(const char *name, struct zone *out, struct err *e)
{
    size_t low = 0, high = zone_files_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, zone_files[middle].name);
        if (order == 0) {
            int rc = zone_parse(zone_files[middle].data, zone_files[middle].size, out, e);
            ASSERT(rc == 0);
            out->name = zone_files[middle].name;
            return 0;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return zone_unknown(name, e);
}

/* How many listed changes are at or before `at`. */
static uint32_t zone_changes_until(const struct zone *z, int64_t at)
{
    uint32_t low = 0, high = z->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (zone_time(z, middle) <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void zone_span(const struct zone *z, int64_t ms, struct zone_span *out)
{
    int64_t bounded = ms < ZONE_MS_MIN ? ZONE_MS_MIN : ms > ZONE_MS_MAX ? ZONE_MS_MAX : ms;
    int64_t at = days_floor(bounded, 1000);
    uint32_t before = zone_changes_until(z, at);
    int64_t from = before > 0 ? zone_time(z, before - 1) : INT64_MIN;
    int64_t until = before < z->count ? zone_time(z, before) : INT64_MAX;
    /* Before the first change the first offset holds. */
    int32_t offset = zone_type_offset(z, before > 0 ? z->indexes[before - 1] : 0);
    if (before == z->count && z->rule.present) {
        int64_t listed = from;
        int32_t by_rule = zone_rule_offset(&z->rule, at, &from, &until);
        /* What was listed last holds until the rule's next change, even where the rule says
           otherwise: zic leaves such a change out (America/Ojinaga, November 2022). */
        if (from < listed)
            from = listed;
        else
            offset = by_rule;
    }
    out->from = from < ZONE_SECONDS_MIN ? ZONE_MS_MIN : from * 1000;
    out->until = until > ZONE_SECONDS_MAX ? ZONE_MS_MAX : until * 1000;
    out->offset = (int64_t)offset * 1000;
}

int64_t zone_local(const struct zone *z, int64_t ms)
{
    struct zone_span span;
    zone_span(z, ms, &span);
    return ms + span.offset;
}

/* The span from which on some moment may show `local`: no clock is further from UTC. */
static void zone_span_before(const struct zone *z, int64_t local, struct zone_span *out)
{
    int64_t bounded = local < ZONE_MS_MIN ? ZONE_MS_MIN : local > ZONE_MS_MAX ? ZONE_MS_MAX : local;
    zone_span(z, bounded - (int64_t)ZONE_OFFSET_MAX * 1000, out);
}

int zone_instants(const struct zone *z, int64_t local, int64_t out[2])
{
    int n = 0;
    struct zone_span span;
    zone_span_before(z, local, &span);
    for (;;) {
        int64_t at = local - span.offset;
        bool first = span.from == ZONE_MS_MIN, last = span.until >= ZONE_MS_MAX;
        if ((first || at >= span.from) && (last || at < span.until) && n < 2)
            out[n++] = at;
        if (last || span.until > local + (int64_t)ZONE_OFFSET_MAX * 1000)
            break;
        zone_span(z, span.until, &span);
    }
    if (n == 0)
        out[0] = zone_reach(z, local);
    return n;
}

int64_t zone_reach(const struct zone *z, int64_t local)
{
    struct zone_span span;
    zone_span_before(z, local, &span);
    for (;;) {
        int64_t at = local - span.offset;
        if (span.until >= ZONE_MS_MAX || at < span.until)
            return at > span.from || span.from == ZONE_MS_MIN ? at : span.from;
        zone_span(z, span.until, &span);
    }
}

int64_t zone_shown(const struct zone *z, int64_t ms)
{
    struct zone_span span;
    zone_span(z, ms, &span);
    int64_t shown = ms + span.offset;
    /* What lies further back showed less, whatever its offset. */
    while (span.from != ZONE_MS_MIN && span.from > ms - 2 * (int64_t)ZONE_OFFSET_MAX * 1000) {
        int64_t end = span.from;
        zone_span(z, end - 1, &span);
        if (end - 1 + span.offset > shown)
            shown = end - 1 + span.offset;
    }
    return shown;
}
