/* Bucket - a limit of `rate` tokens each `per` milliseconds, `burst` at once. Pure, and exact: a
 * millisecond adds `rate` to the level, a token is `per` of it. */
#include "coord/coord_priv.h"

static int64_t bucket_cap(const struct bucket *b)
{
    return b->burst * b->per;
}

/* Rounded up; both positive. */
static int64_t bucket_ms(int64_t level, int64_t rate)
{
    return (level + rate - 1) / rate;
}

void bucket_fill(struct bucket *b, int64_t at)
{
    int64_t missing = bucket_cap(b) - b->level, passed = at - b->at;
    if (passed <= 0)
        return;
    b->level = passed >= bucket_ms(missing, b->rate) ? bucket_cap(b) : b->level + passed * b->rate;
    b->at = at;
}

void bucket_change(struct bucket *b, const struct coord_take *k)
{
    int64_t whole = b->level / b->per, part = b->level % b->per;
    b->level = whole * k->per_ms + part * k->per_ms / b->per;
    b->rate = k->rate;
    b->per = k->per_ms;
    b->burst = k->burst;
    if (b->level > bucket_cap(b))
        b->level = bucket_cap(b);
}

void bucket_take(struct bucket *b, const struct coord_take *k, struct coord_taken *out)
{
    int64_t missing = k->n * b->per - b->level;
    int64_t wait = missing > 0 ? bucket_ms(missing, b->rate) : 0;
    *out = (struct coord_taken){.taken = wait <= k->wait_ms, .wait_ms = wait};
    if (out->taken)
        b->level -= k->n * b->per;
    out->left = b->level > 0 ? b->level / b->per : 0;
}

void bucket_use(struct bucket *b, int64_t level)
{
    int64_t least = -bucket_cap(b) - b->rate * COORD_WAIT_MAX_MS;
    b->level = b->level - level > least ? b->level - level : least;
}

int64_t bucket_full(const struct bucket *b)
{
    return b->at + bucket_ms(bucket_cap(b) - b->level, b->rate);
}
