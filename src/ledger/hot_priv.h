/* Hot domains, inside the ledger: see domain.h for what they are and ledger.h for how their states
 * are saved. hot.c (while entries are applied, and what of the log is kept), hot_save.c (when and
 * how a state is saved), hot_start.c (load, and run again), hot_file.c (the form of the file). */
#ifndef KOAN_LEDGER_HOT_PRIV_H
#define KOAN_LEDGER_HOT_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct apply;
struct domain;
struct err;
struct hot;
struct ledger;
struct txn_view;

enum {
    /* A state is saved again when this many times as much of log was written: so saving adds a
     * quarter to it, at most. */
    HOT_STRETCH = 4,
    /* And when so many operations are behind it, a quarter of a second of a start; the above holds
     * still. Else it waits for a checkpoint that is due for other reasons. */
    HOT_BEHIND = 256 << 10,
    HOT_PACE = 8 << 20, /* bytes of log between two tries */
    HOT_GONE_MAX = 16,  /* old files that are removed at a time */
};

void hot_new(struct ledger *l);
void hot_free(struct ledger *l);

/* A transaction for an entry begins: none of them knows of it yet. */
void hot_begin(struct ledger *l);
/* Is there nothing that this domain could take back, because it does not know of the entry? */
bool hot_is_unaware(const struct ledger *l, const struct domain *d);
/* The units of an entry, `count` of them, will be applied. */
void hot_expect(const struct ledger *l, struct cursor units, uint32_t count);
/* An entry begins. */
int hot_entry(struct ledger *l, const struct apply *a, struct err *e);
/* A unit was not applied: if it holds hot operations, that is remembered. */
int hot_skip(struct ledger *l, const struct apply *a, const struct txn_view *v, struct err *e);
/* Their part of the state hash; nothing of those that have no state. */
uint64_t hot_hash(const struct ledger *l);
/* The log is needed from this entry on; UINT64_MAX: not at all. Asked while what the database has
 * recorded is on stable storage, so that no start begins before it. */
uint64_t hot_low(const struct ledger *l);
/* If the log is too large because of them, they are told. */
void hot_crowd(struct ledger *l);

/* An operation of it was applied. */
void hot_count(struct ledger *l, const struct domain *d);
/* One of them is too far behind. */
bool hot_is_behind(const struct ledger *l);
/* Those that are due, one after the other; then snapshot_go_on(). */
void hot_save_due(struct ledger *l);
/* All that have seen an entry since, at the end. */
int hot_save_now(struct ledger *l, struct err *e);
/* The database is on stable storage, with what is recorded there: older files go. */
void hot_settle(struct ledger *l);

/* The database is open, the log is loaded: all of them as of the applied entry. */
int hot_start(struct ledger *l, struct err *e);

#endif
