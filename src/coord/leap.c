/* Leap - ledger time is a clock that somebody can set; a claim is for a time that passes. Whoever
 * lets claims lapse compares the two, and gives those that were renewed before a leap the
 * difference. Pure. */
#include "coord/coord_priv.h"

static void leaps_add(struct leaps *l, int64_t at, int64_t ms)
{
    if (l->count == LEAPS_MAX) {
        l->list[1].ms += l->list[0].ms; /* too much for some is better than too little for any */
        for (unsigned i = 1; i < LEAPS_MAX; i++)
            l->list[i - 1] = l->list[i];
        l->count--;
    }
    l->list[l->count].at = at;
    l->list[l->count++].ms = ms;
}

void leaps_see(struct leaps *l, int64_t at, uint64_t mono_ms)
{
    int64_t passed = (int64_t)(mono_ms - l->mono_ms);
    int64_t ahead = at - l->at - passed;
    if (l->begun && ahead > LEAP_MS)
        leaps_add(l, at, ahead);
    if (!l->begun || at > l->at)
        l->at = at;
    l->begun = true;
    l->mono_ms = mono_ms; /* also while ledger time stands still: it will leap to catch up */
}

int64_t leaps_since(const struct leaps *l, int64_t renewed)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < l->count; i++)
        if (renewed < l->list[i].at)
            sum += l->list[i].ms;
    return sum;
}
