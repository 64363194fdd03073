/* Any bytes as a unit of work, and as the payload of a log entry. What decodes must encode to the
 * same bytes' worth of operations, and every view must stay inside the input. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "ledger/entry_priv.h"
#include "ledger/txn_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_view(const struct txn_view *v)
{
    ASSERT(v->env.tenant != NULL && v->env.principal != NULL);
    ASSERT(v->ops <= TXN_OPS_MAX && v->body_len <= TXN_BYTES_MAX);
    struct txn_op op;
    uint32_t ops = 0;
    unsigned sum = 0;
    for (struct cursor c = txn_ops(v); txn_next(&c, &op); ops++) {
        while (cursor_left(&op.payload) > 0)
            sum += cursor_u8(&op.payload);
    }
    ASSERT(ops == v->ops);
    static volatile unsigned sink;
    sink = sum;
    (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct txn_texts texts;
    struct entry_head head;
    struct cursor units;
    struct txn_view v;
    if (txn_decode(data, size, &v, NULL) == 0) {
        walk_view(&v);
        txn_view_fini(&v);
    }
    texts.known = false;
    if (entry_open(data, size, &head, &units, NULL) != 0)
        return 0;
    size_t n;
    for (const void *unit; (unit = entry_next(&units, &n)) != NULL;) {
        struct cursor ops;
        struct txn_op op;
        for (bool more = txn_peek(unit, n, &ops); more && txn_next(&ops, &op);)
            ;
        if (txn_decode_in(unit, n, &texts, &v, NULL) == 0)
            walk_view(&v);
    }
    return 0;
}
