/* Hot domains, inside the ledger: see domain.h. */
#ifndef KOAN_LEDGER_HOT_PRIV_H
#define KOAN_LEDGER_HOT_PRIV_H

#include <stdint.h>

struct apply;
struct err;
struct ledger;

/* An entry begins. */
int hot_entry(struct ledger *l, const struct apply *a, struct err *e);
/* Their part of the state hash; nothing of those that have no state. */
uint64_t hot_hash(const struct ledger *l);

#endif
