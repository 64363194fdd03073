/* Operations of POST /api/tx that are not about records: tx_coord.c. */
#ifndef KOAN_API_TX_PRIV_H
#define KOAN_API_TX_PRIV_H

#include <stdbool.h>

#include "base/json.h"

struct err;
struct txn;

/* `held`: lease.check, else kv.put. 0, or what is wrong with it. */
int tx_coord_check(const json_t *op, bool held, struct err *e);
int tx_coord_add(const json_t *op, bool held, struct txn *t, struct err *e);

#endif
