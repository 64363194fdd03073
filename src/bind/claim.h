/* Claim - a lease, a part of a semaphore or of a read-write lock (coord/coord.h) that a run of Lua
 * has: asked for, renewed at a third of its time while the run goes on, given back. What a run has
 * of the queue is in grants.h.
 *
 *     asking --granted--> held --end, or with a unit--> over
 *        \--refused, or the run ends--> over    \--fenced, or not renewed in time--> held, lost
 *
 * What the run holds is a condition of each unit that it commits meanwhile. One that is lost stays
 * so: its units fail as fenced, and where the run waits next it is told, as `lease_lost`. Whatever
 * a run still has when it ends is given back then. All of it on the thread of the run. */
#ifndef KOAN_BIND_CLAIM_H
#define KOAN_BIND_CLAIM_H

#include "bind/bind_priv.h"
#include "coord/coord.h"

struct run_claim;
struct txn;

/* How many conditions bind_claims_compose() adds: what the run holds now. */
uint32_t bind_claims_count(const struct bind_run *r);
int bind_claims_compose(const struct bind_run *r, struct txn *t, struct err *e);
/* The condition of its `nth` claim did not hold. */
void bind_claims_fenced(struct bind_run *r, uint32_t nth);
bool bind_claims_lost(const struct bind_run *r);
/* Raises `lease_lost` when one of them is. */
void bind_claims_check(struct lua_State *L);
/* Element `at` as a claim. Raises when it is none. */
struct run_claim *bind_check_claim(struct lua_State *L, int at);
/* As long as the claim is there. */
struct coord_claim bind_claim_of(const struct run_claim *h);

#endif
