#include "http/breaker.h"

bool breaker_is_closed(const struct breaker *b)
{
    return b->failures < BREAKER_FAILURES;
}

bool breaker_may(struct breaker *b, uint64_t now_ms, uint64_t *wait_ms)
{
    *wait_ms = 0;
    if (breaker_is_closed(b))
        return true;
    uint64_t since = b->trying ? b->try_ms : b->opened_ms;
    if (now_ms - since < BREAKER_REST_MS) {
        *wait_ms = BREAKER_REST_MS - (now_ms - since);
        return false;
    }
    b->trying = true; /* one that never comes back loses its turn after another rest */
    b->try_ms = now_ms;
    return true;
}

void breaker_note(struct breaker *b, bool ok, uint64_t now_ms)
{
    b->trying = false;
    if (ok) {
        b->failures = 0;
        return;
    }
    if (b->failures < BREAKER_FAILURES)
        b->failures++;
    b->opened_ms = now_ms;
}
