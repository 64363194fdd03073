/* Hold - a claim (lease, semaphore, read-write lock) that a run has: asked for, renewed at a third
 * of its time while the run goes on, given back.
 *
 *     asking --granted--> held --end, or with a unit--> over
 *        \--refused, or the run ends--> over    \--fenced, or not renewed in time--> held, lost
 *
 * What the run holds is a condition of each unit that it commits meanwhile. One that is lost stays
 * so: its units fail as fenced, and where the run waits next it is told, as `lease_lost`. Whatever
 * a run still has when it ends is given back then. All of it on the thread of the run. */
#ifndef KOAN_BIND_HOLD_H
#define KOAN_BIND_HOLD_H

#include "bind/bind_priv.h"
#include "coord/coord.h"

struct hold;
struct txn;

/* How many conditions bind_holds_compose() adds: what the run holds now. */
uint32_t bind_holds_count(const struct bind_run *r);
int bind_holds_compose(const struct bind_run *r, struct txn *t, struct err *e);
/* The condition of its `nth` hold did not hold. */
void bind_holds_fenced(struct bind_run *r, uint32_t nth);
bool bind_holds_lost(const struct bind_run *r);
/* Raises `lease_lost` when one of them is. */
void bind_holds_check(struct lua_State *L);
/* Element `at` as a hold. Raises when it is none. */
struct hold *bind_check_hold(struct lua_State *L, int at);
/* As long as the hold is there. */
struct coord_claim bind_hold_claim(const struct hold *h);

#endif
