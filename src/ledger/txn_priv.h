/* Txn, inside the ledger: units behind one another in an entry. */
#ifndef KOAN_LEDGER_TXN_PRIV_H
#define KOAN_LEDGER_TXN_PRIV_H

#include "ledger/txn.h"

/* The unit appended to `out`. An envelope that is that of `before`, the unit before it in the same
 * entry, is not written again. NULL: it is the first. */
void txn_encode_behind(const struct txn *t, const struct txn *before, struct buf *out);

/* The envelope of the unit that was read last. */
struct txn_texts {
    struct envelope env;
    bool known; /* false: the next unit is the first of its entry */
    char room[6 * (TXN_ENVELOPE_TEXT_MAX + 1)];
};

/* As txn_decode(), without an allocation: the texts of the view are in `t`, until the next unit is
 * read. The units of an entry are read in their order, none left out. */
int txn_decode_in(const void *p, size_t n, struct txn_texts *t, struct txn_view *out,
                  struct err *e);
/* The operations of a unit, unchecked, for who only wants a glance: false when it has none. */
bool txn_peek(const void *p, size_t n, struct cursor *ops);

#endif
