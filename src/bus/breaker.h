/* Breaker of a target - a webhook's URL, a broker - that fails again and again: it is left alone,
 * so that it may recover and nobody waits for it in vain. Pure: the caller brings the time, in
 * milliseconds of one clock, and tells how each attempt went.
 *
 *             5 failures in a row, or 10 of the last 20
 *   [CLOSED] ------------------------------------------> [OPEN] <------+
 *      ^                                                    |          | it fails: the wait
 * doubles, |                                     the wait is over          | from 5 s up to 60 s |
 * it succeeds: all is forgotten                     v          |
 *      +----------------------------------------------- [PROBING] -----+
 *                                                      one attempt is out
 *
 * An attempt begins with target_breaker_may(), which gives it a ticket, and ends with
 * target_breaker_note(). Of attempts that began before the state last changed the end is not
 * counted: a request that set out an hour ago says nothing of the target that the probe found well
 * again. A probe of which nothing is heard for TARGET_PROBE_MS is given up, and another may go.
 *
 * Invariants, asserted by target_breaker_check(): 1. `in_row` is below TARGET_FAILURES, and of
 * `seen` attempts, at most TARGET_WINDOW, fewer than half of TARGET_WINDOW failed once there are
 * that many. 2. outside of CLOSED nothing is counted. 3. rest_ms is 0 in CLOSED, else between
 * TARGET_REST_MS and TARGET_REST_MAX_MS. */
#ifndef KOAN_BUS_BREAKER_H
#define KOAN_BUS_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TARGET_FAILURES = 5, /* in a row */
    TARGET_WINDOW = 20,  /* half of the last so many */
    TARGET_REST_MS = 5 * 1000,
    TARGET_REST_MAX_MS = 60 * 1000,
    TARGET_PROBE_MS = 2 * 60 * 1000
};

enum target_state { TARGET_CLOSED, TARGET_OPEN, TARGET_PROBING };

/* All zero is closed, and nothing noted. */
struct target_breaker {
    enum target_state state;
    uint32_t turn; /* how often the state has changed; the ticket of what begins now */
    uint32_t last; /* a bit for each of the last attempts, 1: it failed; the newest is the lowest */
    uint32_t seen; /* of them */
    uint32_t in_row;
    int64_t until_ms; /* OPEN: no attempt before; PROBING: the probe is given up then */
    int64_t rest_ms;
};

/* May an attempt begin? If so its ticket is given, else after how long to ask again. */
bool target_breaker_may(struct target_breaker *b, int64_t now_ms, uint32_t *ticket,
                        int64_t *wait_ms);
/* How the attempt of that ticket went. */
void target_breaker_note(struct target_breaker *b, uint32_t ticket, bool ok, int64_t now_ms);
void target_breaker_check(const struct target_breaker *b);

#endif
