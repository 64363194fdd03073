#include "http/rate.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    RATE_SETS = RATE_CALLERS_MAX / RATE_WAYS,
    RATE_LOCKS = 16, /* so many threads at a time do not meet */
    RATE_V6_PREFIX = 8
};

struct rate_caller {
    uint64_t key; /* 0: nobody */
    uint64_t full_ns;
};

struct rate_set {
    struct rate_caller ways[RATE_WAYS];
};

struct rate {
    atomic_bool on, together;
    uint64_t seed;
    pthread_mutex_t locks[RATE_LOCKS]; /* of sets, by their number; all of them for the rule */
    struct rate_rule rule;
    uint64_t step_ns, window_ns; /* of one request; of the burst */
    struct rate_set *sets;       /* NULL until the first rule */
};

struct rate *rate_new(uint64_t seed)
{
    struct rate *r = mem_new(sizeof *r);
    r->seed = seed;
    for (int i = 0; i < RATE_LOCKS; i++)
        pthread_mutex_init(&r->locks[i], NULL);
    return r;
}

void rate_free(struct rate *r)
{
    if (r == NULL)
        return;
    for (int i = 0; i < RATE_LOCKS; i++)
        pthread_mutex_destroy(&r->locks[i]);
    mem_free(r->sets);
    mem_free(r);
}

bool rate_set(struct rate *r, const struct rate_rule *rule)
{
    ASSERT(rule->rate <= RATE_MAX && rule->burst <= RATE_BURST_MAX);
    ASSERT(rule->rate == 0 || rule->per_ms > 0);
    for (int i = 0; i < RATE_LOCKS; i++)
        pthread_mutex_lock(&r->locks[i]);
    bool on = rule->rate > 0;
    if (on && r->sets == NULL) {
        r->sets = mem_try(RATE_SETS * sizeof *r->sets);
        if (r->sets != NULL)
            memset(r->sets, 0, RATE_SETS * sizeof *r->sets);
    }
    bool good = !on || r->sets != NULL;
    if (good) {
        r->rule = *rule;
        if (on && rule->burst == 0)
            r->rule.burst = rule->rate;
        r->step_ns = on ? rule->per_ms * 1000000 / rule->rate : 0;
        r->window_ns = r->step_ns * r->rule.burst;
        atomic_store(&r->together, rule->together);
        atomic_store(&r->on, on);
    }
    for (int i = RATE_LOCKS; i-- > 0;)
        pthread_mutex_unlock(&r->locks[i]);
    return good;
}

bool rate_is_on(const struct rate *r)
{
    return atomic_load_explicit(&r->on, memory_order_relaxed);
}

static uint64_t rate_key(const struct rate *r, const char *caller)
{
    struct in6_addr v6;
    uint64_t key;
    if (inet_pton(AF_INET6, caller, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6))
        key = hash64(r->seed, &v6, RATE_V6_PREFIX);
    else
        key = hash64(r->seed, caller, strlen(caller));
    return key != 0 ? key : 1;
}

/* The caller's place; of a new one, that of whoever is nearest to a full bucket. */
static struct rate_caller *rate_place(struct rate_set *s, uint64_t key)
{
    struct rate_caller *least = &s->ways[0];
    for (int i = 0; i < RATE_WAYS; i++) {
        struct rate_caller *c = &s->ways[i];
        if (c->key == key)
            return c;
        if (c->full_ns < least->full_ns)
            least = c;
    }
    *least = (struct rate_caller){.key = key};
    return least;
}

static void rate_decide(const struct rate *r, struct rate_caller *c, uint64_t now,
                        struct rate_answer *out)
{
    uint64_t full = c->full_ns > now ? c->full_ns : now;
    if (full > now + r->window_ns) /* the rule has become stricter */
        full = now + r->window_ns;
    uint64_t then = full + r->step_ns, ahead = then - now;
    out->taken = ahead <= r->window_ns;
    if (out->taken)
        full = then;
    else
        out->wait_ms = (ahead - r->window_ns + 999999) / 1000000;
    c->full_ns = full;
    out->remaining = (uint32_t)((r->window_ns - (full - now)) / r->step_ns);
    out->full_ms = (full - now + 999999) / 1000000;
}

void rate_take(struct rate *r, const char *caller, uint64_t now_ns, struct rate_answer *out)
{
    *out = (struct rate_answer){.taken = true};
    if (!rate_is_on(r))
        return;
    uint64_t key = atomic_load(&r->together) ? 1 : rate_key(r, caller);
    size_t at = (size_t)(key % RATE_SETS);
    pthread_mutex_t *lock = &r->locks[at % RATE_LOCKS];
    pthread_mutex_lock(lock);
    if (r->rule.rate > 0) { /* still */
        out->limit = r->rule.burst;
        out->rate = r->rule.rate;
        out->per_ms = r->rule.per_ms;
        out->together = r->rule.together;
        rate_decide(r, rate_place(&r->sets[at], key), now_ns, out);
    }
    pthread_mutex_unlock(lock);
}
