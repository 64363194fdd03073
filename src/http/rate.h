/* Rate - how many requests each caller may make in a time. The caller brings the clock.
 *
 * A token bucket a caller, kept as one number: the moment at which its bucket would be full again.
 *
 *     now                    full           a request moves `full` by per / rate, and is taken
 *      |----------------------|             if `full` is then at most burst * per / rate ahead
 *
 * The callers stand in a table of fixed size, RATE_WAYS places for each value of their hash. Where
 * all places are taken, the caller who is nearest to a full bucket is forgotten for a new one: a
 * flood of addresses costs RATE_CALLERS_MAX numbers, and at worst gives somebody his burst again.
 * The table is made with the first rule; without a rule asking costs one atomic read.
 *
 * Any thread may ask; the rule may change at any time, and what callers have used stays. */
#ifndef KOAN_HTTP_RATE_H
#define KOAN_HTTP_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rate;

enum {
    RATE_WAYS = 8,
    RATE_CALLERS_MAX = 64 * 1024, /* remembered at a time: 1 MiB */
    RATE_MAX = 1000000,           /* requests per time */
    RATE_BURST_MAX = 100000,
};

struct rate_rule {
    uint32_t rate;   /* requests ... */
    uint64_t per_ms; /* ... in this time; rate 0: no rule */
    uint32_t burst;  /* how many at once; 0: rate */
    bool together;   /* all callers share one bucket */
};

struct rate_answer {
    bool taken;
    uint32_t limit, remaining; /* of the burst */
    uint32_t rate;             /* the rule's */
    uint64_t per_ms;
    bool together;
    uint64_t full_ms; /* until the bucket is full again */
    uint64_t wait_ms; /* not taken: until the next request would be */
};

struct rate *rate_new(uint64_t seed);
void rate_free(struct rate *r); /* takes NULL */
/* False: no memory for the table, the rule before stays. */
bool rate_set(struct rate *r, const struct rate_rule *rule);
bool rate_is_on(const struct rate *r);
/* `caller` is an address as text; of IPv6 the first 64 bits count, which one caller has as a rule.
 * Without a rule everything is taken, with limit 0. */
void rate_take(struct rate *r, const char *caller, uint64_t now_ns, struct rate_answer *out);

#endif
