/* A ledger in a simulated world, from outside. */
#ifndef KOAN_SUPPORT_SIM_LEDGER_H
#define KOAN_SUPPORT_SIM_LEDGER_H

#include <stdbool.h>

struct ledger;
struct sim;

enum { SIM_LEDGER_CLOSE_MS = 60000 };

/* Closes it and runs the world until it is closed; false: it does not come to an end. */
bool sim_ledger_close(struct sim *s, struct ledger *l);

#endif
