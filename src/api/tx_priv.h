/* Operations of POST /api/tx that are not about records: tx_coord.c, tx_queue.c. */
#ifndef KOAN_API_TX_PRIV_H
#define KOAN_API_TX_PRIV_H

#include <stdbool.h>

#include "base/json.h"
#include "queue/core.h"

struct buf;
struct cursor;
struct err;
struct txn;

/* `held`: lease.check, else kv.put. 0, or what is wrong with it. */
int tx_coord_check(const json_t *op, bool held, struct err *e);
int tx_coord_add(const json_t *op, bool held, struct txn *t, struct err *e);

/* Of a send or settle: what does not change when the unit is made again, and what came of it. */
struct tx_queue {
    bool settle;
    struct uuid id; /* of a message that brings none */
    int64_t now;
    const char *correlation, *traceparent;
    struct core_sent sent;
};
int tx_queue_check(const json_t *op, const struct tx_queue *q, struct err *e);
int tx_queue_add(const json_t *op, const struct tx_queue *q, struct txn *t, struct err *e);
void tx_queue_result(struct tx_queue *q, struct cursor *result); /* of a send */
void tx_queue_print(const json_t *op, const struct tx_queue *q, struct buf *out);

#endif
