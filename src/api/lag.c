#include "api/lag.h"

uint64_t lag_note(struct lag *l, uint64_t applied, uint64_t last, uint64_t now_ms)
{
    if (applied >= l->mark)
        *l = (struct lag){.mark = last, .marked_ms = now_ms};
    return applied >= l->mark ? 0 : now_ms - l->marked_ms;
}
