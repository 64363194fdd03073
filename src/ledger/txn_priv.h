/* Txn, inside the ledger: decoding without an allocation per unit. */
#ifndef KOAN_LEDGER_TXN_PRIV_H
#define KOAN_LEDGER_TXN_PRIV_H

#include "ledger/txn.h"

enum { TXN_TEXTS_BYTES = 6 * (TXN_ENVELOPE_TEXT_MAX + 1) };

/* As txn_decode(); the texts of the envelope are copied to the caller's `texts`. */
int txn_decode_in(const void *p, size_t n, char texts[TXN_TEXTS_BYTES], struct txn_view *out,
                  struct err *e);

#endif
