/* Breaker - a host that fails again and again is left alone for a while, so that it may recover and
 * so that we do not wait for it each time. Pure: the caller brings the time.
 *
 *   [CLOSED] -- BREAKER_FAILURES in a row --> [OPEN] -- BREAKER_REST_MS --> one request may try
 *      ^                                        ^                             |        |
 *      |                                        +------- it failed -----------+        |
 *      +--------------------------- it succeeded --------------------------------------+   */
#ifndef KOAN_HTTP_BREAKER_H
#define KOAN_HTTP_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum { BREAKER_FAILURES = 5, BREAKER_REST_MS = 30 * 1000 };

struct breaker {
    int failures;       /* in a row */
    uint64_t opened_ms; /* when the last of them was, on a clock that only grows */
    bool trying;        /* somebody is out to see */
    uint64_t try_ms;
};

/* May a request go out? If not, *wait_ms says for how long. */
bool breaker_may(struct breaker *b, uint64_t now_ms, uint64_t *wait_ms);
/* How one went that breaker_may() let out. */
void breaker_note(struct breaker *b, bool ok, uint64_t now_ms);
bool breaker_is_closed(const struct breaker *b);

#endif
