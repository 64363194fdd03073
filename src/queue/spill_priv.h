/* Spill - bodies of records that live longer than the log should be.
 *
 * The log is kept from the oldest place that is still read. A message for next month would keep all
 * of it. So when the ledger says that the log is too long (`crowded`), what living records have
 * before that index is copied into local_queue_bodies, a bounded part in the transaction of each
 * entry that follows; when all of it is there, `below` rises and the log may go. A record that is
 * forgotten takes its rows along.
 *
 * The table is of this node alone, as the log's segments are: another has moved other records, or
 * none, and both read the same bytes. A saved state may be older than the table: what it has that
 * lies below is there, or ends while the log behind that state is applied again. */
#ifndef KOAN_QUEUE_SPILL_PRIV_H
#define KOAN_QUEUE_SPILL_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct core;
struct db;
struct err;
struct ledger;
struct ledger_units;

enum {
    SPILL_BODIES = 512, /* moved with one entry */
    SPILL_BYTES = 1 << 20,
    SPILL_RECORDS = 8192, /* looked at with one entry */
};

struct spill {
    struct core *core;
    struct ledger *ledger;
    uint64_t below;   /* all that lies before this log index is in the table */
    uint64_t target;  /* on the way to there; 0: not on the way */
    uint32_t next;    /* the record that is looked at next */
    bool arrived;     /* with the entry that is not committed yet */
    struct buf entry; /* of the log, the last that was read */
    uint64_t entry_seq;
    struct ledger_units *units; /* of that entry */
    /* While one step runs. */
    struct db *db;
    struct err *err;
    uint32_t bodies, bytes;
    int rc;
};

/* What the table says; 0 where nothing was ever moved. */
int spill_opened(struct spill *s, struct db *db, struct err *e);
/* The log is too long before `index`. */
void spill_begin(struct spill *s, uint64_t index);
/* In the transaction of an entry: a part of the way; and rows of what was forgotten go. */
int spill_step(struct spill *s, struct db *db, struct err *e);
void spill_undo(struct spill *s);
void spill_committed(struct spill *s);
void spill_fini(struct spill *s);
/* 1: `out` is the operation at this place; 0: it was not moved. */
int spill_get(struct db *db, uint64_t place, struct buf *out, struct err *e);

#endif
