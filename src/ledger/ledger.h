/* Ledger - every change is a unit of work, and every unit of work is in one log.
 *
 * ledger_propose() takes a unit from any thread. On the ledger's thread all that waits becomes one
 * entry, which the consensus core (one voter today) has appended to the local segments; once it is
 * synced it is applied to SQLite in one transaction, and every unit's result goes back to the
 * runner it came from. While one entry is being synced the next fills: a batch is what arrived
 * during the last sync, so the delay of a lone writer is one sync and the rate under load is that
 * of the disk's bandwidth.
 *
 *   propose -> [inbox] -> entry -> consensus -> segment, synced -> committed -> applied -> done
 *                 ^
 *                 bounded: 8 192 units, 64 MiB; a quarter is kept for urgent units (txn.h)
 *
 * A sync of a small batch happens inline on this thread; a large one goes to the log thread, and
 * applying the entry before goes on meanwhile. Failure to sync ends the process: what the kernel
 * did with the pages is unknowable, only a replay is safe.
 *
 * Between writing a small entry and waiting for its sync the device has begun, and the time is
 * used: the entry is applied, all but the commit of the database's transaction. That comes after
 * the sync, and after the consensus core has called the entry committed; so still nothing is
 * visible, nor survives a crash, that is not durable in the log. Readers have snapshots of commits.
 * A crash finds a transaction that never ended, of which SQLite's recovery keeps nothing, even if
 * its pages are in the WAL already. Nothing else runs on this thread between the two, domains
 * announce and the unit is answered after the commit, and an entry that is not committed (a
 * majority has still to come) is rolled back with the domains' undo, as any entry that cannot be
 * applied, and done anew.
 *
 * After a crash: the database holds some prefix of the log (which, is written in the same
 * transaction); the rest is applied again. Before that: applied <= last index of the log, terms
 * agree, the log is whole. Anything else refuses to start and names file and offset.
 *
 * An entry that has changed only the memory of hot domains ends without a transaction that writes;
 * the database then says that it is at an entry before, with the same rows (record.c). So what it
 * says of itself is for a start; how far the ledger is, says ledger_applied(). Entries of 8 MiB, or
 * 1023 of them, or a second's, are applied again after a kill because of that.
 *
 * So that this replay stays short, the database's WAL is moved into its file from time to time (the
 * bulk of that beside the writer, on the log thread) and a manifest says how far it goes; segments
 * behind it are kept for feeds and restore as long as the options say, then used again.
 *
 * Hot domains (domain.h) have their state in memory and a position of their own: the entry as of
 * which it was saved. The log is kept from the lowest of these, and from the lowest entry of which
 * one still reads bytes. With a checkpoint that is due come the saves that are due, before it; and
 * a state with many operations behind it makes a checkpoint due:
 *
 *   state/x-900.tmp written -> synced, state/x-900 -> recorded in koan.db -> checkpoint -> x-400
 * goes
 *
 * so that, whatever is lost at whatever moment, the database that comes back names a file that is
 * there, and knows which units behind it were not applied.
 *
 * A node alone is a cluster of one voter: the same code path, the same consensus core.
 *
 * The ledger itself runs on the thread of its world and is single-threaded; it takes everything it
 * needs from the world, so the simulator runs it unchanged. There may be more than one in a
 * process. */
#ifndef KOAN_LEDGER_LEDGER_H
#define KOAN_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/world.h"
#include "ledger/txn.h"

struct db;
struct domain;
struct ledger;

enum {
    LEDGER_ENTRY_UNITS = 1024,    /* an entry closes at so many units */
    LEDGER_ENTRY_BYTES = 4 << 20, /* or bytes; a larger unit travels alone */
    LEDGER_WAITING_UNITS = 8192,  /* then overloaded; a quarter is kept for urgent units */
    LEDGER_WAITING_BYTES = 64 << 20,
    LEDGER_REPEAT_MS = 15 * 60 * 1000,
    LEDGER_SNAPSHOT_ENTRIES = 65536,
    LEDGER_HASH_ENTRIES = 1024,
    LEDGER_RECORD_BYTES = 8 << 20,   /* of log whose entries changed only memory: then recorded */
    LEDGER_READ_MAX = (9 << 20) + 1, /* the largest entry, and the NUL of a buffer */
};

struct ledger_options {
    const char *dir;           /* data directory: log/ and koan.db lie in it */
    const char *vfs;           /* see db_options; NULL outside the simulator */
    bool exclusive;            /* no readers: simulator */
    uint64_t segment_bytes;    /* 0: 64 MiB; the simulator uses small ones */
    uint64_t snapshot_bytes;   /* 0: 256 MiB of log between checkpoints */
    uint64_t snapshot_entries; /* 0: LEDGER_SNAPSHOT_ENTRIES */
    int64_t keep_ms;           /* 0: 7 days; log kept for feeds and restore */
    uint64_t keep_bytes;       /* 0: 10 GiB */
    int timeout_ms; /* 0: 10 000; commit wait, then ERR_TIMEOUT with the outcome unknown */
    uint32_t group; /* id in the log's records; 0 for the default ledger */
};

/* Opens or creates; blocks while it verifies and replays. Call on the world's thread or before that
 * thread runs. The domains' structs must outlive the ledger; the array is copied. Errors name what
 * is damaged, or newer, and the way out. */
int ledger_open(const struct ledger_options *o, struct world *w, const struct domain *domains,
                size_t domains_count, struct ledger **out, struct err *e);
/* Finishes what was proposed, takes a checkpoint, closes; then calls closed(arg) on the world's
 * thread. Further proposals are refused with ERR_DRAINING; once closed() was called nobody may
 * touch the ledger. Any thread, once. */
void ledger_close(struct ledger *l, void (*closed)(void *arg), void *arg);
/* Frees it as a crash would leave it: nothing is finished, nobody is answered. For the simulator,
 * after its disk stopped; no offloaded work may be running. Takes NULL. */
void ledger_drop(struct ledger *l);

/* A proposal under way: part of the caller's struct. */
struct unit {
    struct task task;
    struct unit *next;
    struct txn txn;      /* the caller fills it; freed by the caller after done */
    struct runner *home; /* where done() runs */
    void (*done)(struct unit *u);
    uint64_t deadline_ns;
    size_t bytes;

    /* The result, valid in done(). */
    struct err err;     /* code 0: applied */
    int failed_op;      /* index among conditions and operations, -1 when none */
    uint64_t seq;       /* log index */
    int64_t at;         /* ledger time */
    struct buf results; /* one length-prefixed result per condition and operation, in order */
    bool repeated;      /* this id had been applied before; the result is the first one */
};

void unit_init(struct unit *u, struct runner *home, void (*done)(struct unit *u));
void unit_fini(struct unit *u);
/* The result of operation `i` (conditions count too, with empty results). */
bool unit_result(const struct unit *u, uint32_t i, struct cursor *out);

/* Any thread. 0: done() will run exactly once. Else nothing happened: ERR_TOO_LARGE,
 * ERR_OVERLOADED, ERR_DRAINING, ERR_DISK_FULL, ERR_NO_LEADER. done() with ERR_TIMEOUT or
 * ERR_INTERNAL means the outcome is unknown; with any other code nothing was applied. */
int ledger_propose(struct ledger *l, struct unit *u, struct err *e);

/* Any thread but the ledger's, some times in options.timeout_ms: the ledger's thread answers those
 * whose time is over, but not while a disk keeps it waiting in a sync; this does. */
void ledger_relieve(struct ledger *l);

/* Any thread: the last applied and visible log index. */
uint64_t ledger_applied(const struct ledger *l);
/* Calls w->task on w->home once `seq` is applied, or with code ERR_TIMEOUT after timeout_ms. */
struct ledger_wait {
    struct task task;
    struct ledger_wait *next;
    struct runner *home;
    uint64_t seq, deadline_ns;
    int code;
};
void ledger_wait(struct ledger *l, struct ledger_wait *w, int timeout_ms);

/* Any thread, blocks for one read of the disk: the payload of entry `index`, the bytes that
 * apply.offset counts in; `out` must have room for LEDGER_READ_MAX. ERR_GONE when it is no longer
 * kept (domain_hot.keep), ERR_NOT_FOUND when it is not applied yet. */
int ledger_read(struct ledger *l, uint64_t index, struct buf *out, struct err *e);

/* Whose operations are in what ledger_read() gave: the envelope of the unit that has the one at
 * `offset`, until the next call. From one entry many are asked for cheaply in the order of their
 * offsets; in any other it begins anew. The bytes stay the caller's, and where they are, until the
 * next begin. ERR_CORRUPT, ERR_UNSUPPORTED. */
struct envelope;
struct ledger_units;
struct ledger_units *ledger_units_new(void);
void ledger_units_free(struct ledger_units *u); /* takes NULL */
int ledger_units_begin(struct ledger_units *u, const void *entry, size_t n, struct err *e);
int ledger_units_at(struct ledger_units *u, size_t offset, const struct envelope **out,
                    struct err *e);

/* Health, from any thread. */
struct ledger_status {
    uint64_t applied, last, term, snapshot, first_kept;
    int64_t last_commit_at; /* wall ms of the last applied entry */
    uint64_t waiting_units, waiting_bytes;
    uint64_t hash, hash_seq; /* the last periodic state hash and its position */
    uint64_t disk_free, disk_total;
    bool leader, disk_low, disk_full;
};
void ledger_status(const struct ledger *l, struct ledger_status *out);

/* Seconds that the write of the log that is under way has lasted, 0: none is. It holds every unit,
 * though the loop may turn meanwhile. Any thread. */
double ledger_write_lag_s(const struct ledger *l);

/* Path of the database file, for readers. Lives as long as the ledger. */
const char *ledger_db_path(const struct ledger *l);

/* Watch: called on the ledger's thread after each committed entry. Must not block. */
struct ledger_watch {
    struct ledger_watch *next;
    void (*committed)(struct ledger_watch *w, uint64_t seq, int64_t at);
};
void ledger_watch(struct ledger *l,
                  struct ledger_watch *w); /* before the loop runs, or on its thread */

#endif
