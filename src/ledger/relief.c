/* Ledger: units whose time is over while a disk that does not answer has the ledger's thread. */
#include "ledger/ledger_priv.h"

/* The lock hands all that belongs to the ledger's thread over and back: while it is in a sync, and
 * only then, somebody else may look after those who wait. */
void ledger_held(void *arg, bool begins)
{
    struct ledger *l = arg;
    pthread_mutex_lock(&l->held_lock);
    l->held = begins;
    pthread_mutex_unlock(&l->held_lock);
}

void ledger_relieve(struct ledger *l)
{
    atomic_fetch_add(&l->callers, 1);
    pthread_mutex_lock(&l->held_lock);
    if (l->held) {
        ledger_expire(l);
        ledger_waits_check(l, false);
    }
    pthread_mutex_unlock(&l->held_lock);
    atomic_fetch_sub(&l->callers, 1);
}
