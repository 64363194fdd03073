/* Entry - the payload of one log record of type CONSENSUS_UNITS: the ledger time and the units that
 * travel together. The form: schema/unit-of-work.md. */
#ifndef KOAN_LEDGER_ENTRY_PRIV_H
#define KOAN_LEDGER_ENTRY_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct err;
struct txn;

enum { ENTRY_HEADER = 16 };

struct entry_head {
    uint32_t units;
    int64_t at;
};

/* The header, to be completed by entry_finish(); `from` is where the payload begins in `b`. */
void entry_begin(struct buf *b, int64_t at);
/* `before`: the unit that was added last; NULL: this is the first. */
void entry_add(struct buf *b, const struct txn *t, const struct txn *before);
void entry_finish(struct buf *b, size_t from, uint32_t units);
/* ERR_CORRUPT, or ERR_UNSUPPORTED when a newer program wrote it. `units` is then read by
 * entry_next(). */
int entry_open(const void *p, size_t n, struct entry_head *out, struct cursor *units,
               struct err *e);
/* The next unit's bytes, NULL when there is none or the entry is cut off (units->bad). */
const void *entry_next(struct cursor *units, size_t *n);

#endif
