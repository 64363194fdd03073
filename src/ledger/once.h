/* Once - units of work that are done once, however often they are asked for.
 *
 * A caller that does not learn what became of its request sends it again, with the same key. The
 * unit that does the work carries the key twice:
 *
 *     once          a condition: this key was not used within the last 24 hours of ledger time
 *     ledger.keep   the last operation: remembers the key, a digest of the request, a context of
 *                   the proposer's and the results of the unit
 *
 * Since both are in the unit, the key is there exactly if the effect is, whatever crashed between
 * commit and answer. A repeat finds the key first (ledger_once_find) and answers from context and
 * results; if it comes while the first is still under way, the condition refuses its unit with
 * ERR_CONFLICT and it looks again. Nothing is kept of a unit that was refused: a repeat is then
 * decided anew.
 *
 * A key belongs to tenant and principal of the unit. A request that is many units gives each a
 * part of its own, so that a repeat goes on where the first was cut off.
 *
 * Not the same as the id of a unit (txn.h), which recognises for 15 minutes the same unit forwarded
 * twice and knows nothing of requests.
 *
 * What is past its time goes with the entries that come: each removes more than it can add. Units
 * without a key pay one comparison an entry. */
#ifndef KOAN_LEDGER_ONCE_H
#define KOAN_LEDGER_ONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct db;
struct err;
struct txn;

enum {
    LEDGER_ONCE_KEY_MAX = 512,         /* bytes of a key */
    LEDGER_ONCE_DIGEST = 32,           /* of the request */
    LEDGER_ONCE_CONTEXT_MAX = 1 << 20, /* bytes of a context */
    LEDGER_ONCE_MS = 24 * 60 * 60 * 1000,
};

struct ledger_once {
    const char *key; /* 1..LEDGER_ONCE_KEY_MAX bytes */
    uint8_t digest[LEDGER_ONCE_DIGEST];
};

void ledger_txn_once(struct txn *t, const struct ledger_once *o, uint32_t part);
/* Behind all other operations. ERR_TOO_LARGE for the context. */
int ledger_txn_keep(struct txn *t, const struct ledger_once *o, uint32_t part, const void *context,
                    size_t n, struct err *e);

/* What was kept of one unit. Pointers live during the call of each(). */
struct ledger_kept {
    uint32_t part;
    uint64_t seq; /* log index */
    int64_t at;   /* ledger time */
    const uint8_t *digest;
    struct cursor context;
    struct cursor results; /* as in struct unit, without that of ledger.keep */
};
typedef int ledger_kept_cb(void *arg, const struct ledger_kept *k, struct err *e);

/* All parts of a key in order, on the connection of the calling thread; those that ledger time
 * `now` has left behind are not there. Ends with the first non-zero answer of each(), and gives
 * it. */
int ledger_once_find(struct db *db, const char *tenant, const char *principal, const char *key,
                     int64_t now, ledger_kept_cb *each, void *arg, struct err *e);
/* The next result that is not empty, as results of conditions are. False when there is none. */
bool ledger_kept_next(struct cursor *results, struct cursor *out);

#endif
