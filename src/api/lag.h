/* Lag - for how long what was in the log has not been applied. Pure: the caller brings positions
 * and time, from time to time.
 *
 * A mark is set at the end of the log; when the mark has been applied, the next one is set. So the
 * answer is never more than the truth, and a log that only grows is no lag. */
#ifndef KOAN_API_LAG_H
#define KOAN_API_LAG_H

#include <stdint.h>

struct lag {
    uint64_t mark, marked_ms;
};

/* Milliseconds that the mark has waited; 0 when it has just been set. `now_ms` only grows. */
uint64_t lag_note(struct lag *l, uint64_t applied, uint64_t last, uint64_t now_ms);

#endif
