#include "bus/breaker.h"

#include <stddef.h>

#include "base/err.h"

static uint32_t target_failed(const struct target_breaker *b)
{
    return (uint32_t)__builtin_popcount(b->last);
}

void target_breaker_check(const struct target_breaker *b)
{
    ASSERT(b->in_row < TARGET_FAILURES && b->seen <= TARGET_WINDOW);
    ASSERT(b->seen < TARGET_WINDOW || target_failed(b) < TARGET_WINDOW / 2);
    ASSERT(b->state == TARGET_CLOSED || (b->seen == 0 && b->last == 0 && b->in_row == 0));
    ASSERT(b->state == TARGET_CLOSED
               ? b->rest_ms == 0
               : b->rest_ms >= TARGET_REST_MS && b->rest_ms <= TARGET_REST_MAX_MS);
}

/* What was noted belongs to the state that ends. */
static void target_enter(struct target_breaker *b, enum target_state state, int64_t rest_ms,
                         int64_t until_ms)
{
    *b = (struct target_breaker){
        .state = state, .turn = b->turn + 1, .rest_ms = rest_ms, .until_ms = until_ms};
}

bool target_breaker_may(struct target_breaker *b, int64_t now_ms, uint32_t *ticket,
                        int64_t *wait_ms)
{
    *wait_ms = 0;
    if (b->state != TARGET_CLOSED) {
        if (now_ms < b->until_ms) {
            *wait_ms = b->until_ms - now_ms;
            return false;
        }
        target_enter(b, TARGET_PROBING, b->rest_ms, now_ms + TARGET_PROBE_MS);
    }
    *ticket = b->turn;
    return true;
}

static void target_note_closed(struct target_breaker *b, bool ok, int64_t now_ms)
{
    b->last = (b->last << 1 | !ok) & ((1u << TARGET_WINDOW) - 1);
    b->seen += b->seen < TARGET_WINDOW;
    b->in_row = ok ? 0 : b->in_row + 1;
    bool half = b->seen == TARGET_WINDOW && target_failed(b) >= TARGET_WINDOW / 2;
    if (half || b->in_row >= TARGET_FAILURES)
        target_enter(b, TARGET_OPEN, TARGET_REST_MS, now_ms + TARGET_REST_MS);
}

void target_breaker_note(struct target_breaker *b, uint32_t ticket, bool ok, int64_t now_ms)
{
    if (ticket != b->turn)
        return;
    switch (b->state) {
    case TARGET_CLOSED:
        target_note_closed(b, ok, now_ms);
        break;
    case TARGET_OPEN: /* nobody has a ticket of it */
        break;
    case TARGET_PROBING:
        if (ok) {
            target_enter(b, TARGET_CLOSED, 0, 0);
        } else {
            int64_t rest =
                b->rest_ms * 2 < TARGET_REST_MAX_MS ? b->rest_ms * 2 : TARGET_REST_MAX_MS;
            target_enter(b, TARGET_OPEN, rest, now_ms + rest);
        }
        break;
    }
    target_breaker_check(b);
}
