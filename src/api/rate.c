/* Rate limits of requests: the setting's rule, the headers that tell callers of it, and 429.
 *
 * Asked first of all, so that wrong tokens count too; probes and what else is urgent is never
 * limited. The headers are those of the IETF's draft: RateLimit-Limit, -Remaining, -Reset (seconds
 * until all of it is there again, of a refusal until the next request is taken) and -Policy. */
#include "api/api_priv.h"
#include "base/stat.h"
#include "http/rate.h"

/* Retry-After is spread by 20 % around this, so nobody is told to come too early. */
enum { RATE_EARLIEST_PERCENT = 80 };

static unsigned rate_seconds(uint64_t ms)
{
    return (unsigned)((ms + 999) / 1000);
}

static void rate_headers(struct http_request *req, const struct rate_answer *a)
{
    http_headerf(req, "RateLimit-Limit", "%u", a->limit);
    http_headerf(req, "RateLimit-Remaining", "%u", a->remaining);
    http_headerf(req, "RateLimit-Reset", "%u", rate_seconds(a->taken ? a->full_ms : a->wait_ms));
    http_headerf(req, "RateLimit-Policy", "%u;w=%u", a->rate, rate_seconds(a->per_ms));
}

bool api_rate_take(struct http_request *req)
{
    struct api *a = api_thread_of(req)->api;
    const struct http_route *route = http_route(req);
    struct rate_answer answer;
    if (!rate_is_on(a->rate) || (route != NULL && (route->flags & HTTP_URGENT)))
        return true;
    struct world *w = loop_world(http_loop(req));
    rate_take(a->rate, http_peer(req), w->mono_ns(w), &answer);
    if (answer.limit == 0) /* the rule has just gone */
        return true;
    rate_headers(req, &answer);
    if (answer.taken)
        return true;
    stat_add(a->rate_limited, 1);
    uint64_t wait = answer.wait_ms * 100 / RATE_EARLIEST_PERCENT;
    http_retry_after(req, rate_seconds(wait));
    http_refuse(req, ERR_RATE_LIMITED,
                "http.rate lets %s make %u requests in %u s, %u at once; the next is taken in %u s",
                answer.together ? "all callers together" : "an address", answer.rate,
                rate_seconds(answer.per_ms), answer.limit, rate_seconds(answer.wait_ms));
    return false;
}

void api_rate_open(struct api *a, uint64_t seed)
{
    a->rate = rate_new(seed);
    a->rate_limited = stat_counter("koan_http_rate_limited_total", "",
                                   "Requests refused with 429 because of http.rate");
}

bool api_set_rate(struct api *a, const struct rate_rule *rule)
{
    return rate_set(a->rate, rule);
}
