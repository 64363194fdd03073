/* Lock - who may have it, and who gets it next. Pure.
 *
 * Invariants, asserted by lock_check():
 *   1. held <= n.    2. exclusive only with one holder.    3. one that is held has a form. */
#include "coord/coord_priv.h"

bool lock_fits(const struct lock *l, bool exclusive)
{
    return exclusive ? l->held == 0 : !l->exclusive && l->held < l->n;
}

/* Nobody passes those who wait: so a writer is not starved by readers. */
bool lock_admits(const struct lock *l, bool exclusive)
{
    return l->waiting == 0 && lock_fits(l, exclusive);
}

void lock_grant(struct lock *l, bool exclusive)
{
    ASSERT(lock_fits(l, exclusive));
    l->held++;
    l->exclusive = exclusive;
    lock_check(l);
}

void lock_end(struct lock *l)
{
    ASSERT(l->held > 0);
    l->held--;
    l->exclusive = false; /* a writer was alone */
    lock_check(l);
}

void lock_check(const struct lock *l)
{
    ASSERT(l->held <= l->n);
    ASSERT(!l->exclusive || l->held == 1);
    ASSERT(l->held == 0 || l->form != 0);
}
