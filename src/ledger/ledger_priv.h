/* Ledger, inside its folder. The map: batch.c (inbox to entry, the steps), tick.c (time), log*.c
 * and segment.c (entry to disk), consensus.c (what is committed), apply.c and store.c (entry to
 * database), snapshot.c (checkpoint and compaction), hot*.c (domains whose state is in memory),
 * once.c (keys), record.c (how far the database says that it goes), start.c (open and replay),
 * ledger.c (the rest of the door). */
#ifndef KOAN_LEDGER_LEDGER_PRIV_H
#define KOAN_LEDGER_LEDGER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/world.h"
#include "ledger/consensus.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "ledger/log_priv.h"
#include "ledger/txn_priv.h"

struct stat_counter;
struct stat_gauge;
struct stat_histogram;

enum {
    LEDGER_INLINE_UNITS = 64,           /* a larger entry is synced by the log thread */
    LEDGER_SLOW_SYNC_NS = 1000000,      /* on a slow disk any entry is */
    LEDGER_RESULT_BYTES_MAX = 16 << 20, /* of all operations of a unit together */
    LEDGER_TICK_MS = 1000,
    LEDGER_RETRY_MS = 250,       /* after a full disk */
    LEDGER_WAL_BYTES = 64 << 20, /* of SQLite: a checkpoint is due */
    LEDGER_ROUNDS = 8,           /* steps before other tasks of the thread get their turn */
    LEDGER_REPEATS_PURGE = 2048, /* rows at a time: more than one entry can add */
    LEDGER_READ_WINDOW = 2 * LOG_MARK_BYTES, /* an entry is found in it, if it is not large */
};

/* An entry from its making until it is applied. */
struct entry {
    struct entry *next;
    struct buf bytes; /* RECORD_HEADER bytes of room, then the payload */
    uint64_t index, term;
    enum consensus_type type;
    bool written;
    uint32_t count;
    struct unit *units[LEDGER_ENTRY_UNITS]; /* NULL: nobody waits any more */
};

struct op_ref {
    const struct domain *domain;
    const struct domain_op *op;
};

/* What came of a unit. */
struct outcome {
    struct err err;
    int failed_op;
    bool repeated;
    struct buf results;
};

/* What a checkpoint covers. */
struct snapshot {
    uint64_t index, term;
    int64_t at;
    uint64_t members_index;
    struct buf members;
};

/* The bulk of a checkpoint, at the log thread, while entries go on being applied: a connection of
 * its own, and what came of it. */
struct checkpoint {
    struct offload off;
    struct ledger *ledger;
    struct db *db; /* opened at the first */
    struct err err;
    bool running;
    bool ready; /* done there; the rest follows here as soon as no write is under way */
};

/* The entry that is in the database's open transaction. */
struct applying {
    bool open;
    bool rows;      /* it may hold operations of a domain whose state is in the database */
    bool records;   /* local_meta goes with it */
    struct err err; /* what became of an entry that was tried while it was being synced */
    struct apply a;
    uint64_t hash;     /* state hash with it, where it is one that is kept */
    uint64_t spent_ns; /* on applying it */
};

/* A domain whose state is in memory. */
struct hot {
    const struct domain *domain;
    uint64_t position; /* up to here its state is saved, and recorded */
    int64_t at;        /* ledger time there */
    bool saved;        /* 0: it began there, empty */
    bool settled;      /* no other file of it is there */
    bool entered;      /* it was told of the entry that is in the open transaction */
    uint64_t bytes;    /* of the file */
    uint64_t behind;   /* bytes of log that the start has run again */
    uint64_t written;  /* log->written when it was saved */
    uint64_t ops;      /* of it that were applied since: a start runs them again */
};

/* A state on its way into its file. */
struct hot_save {
    struct offload off;
    struct ledger *ledger;
    struct hot *hot;
    size_t next;  /* which may be due after it */
    bool running; /* at the log thread */
    struct disk_file *file;
    char *dir, *tmp, *path;
    uint64_t index, bytes, ops;
    int64_t at;
    struct err err;
};

struct ledger_stats {
    struct stat_counter *entries, *units;
    struct stat_histogram *wait, *sync, *apply, *checkpoint;
    struct stat_gauge *waiting_units, *waiting_bytes;
};

struct ledger {
    struct world *world;
    struct ledger_options o;
    char *dir, *db_path;
    struct domain *domains;
    size_t domains_count;
    struct op_ref *ops[256]; /* by the high byte of the type, 256 each */
    struct db *db;
    struct log *log;
    struct consensus *consensus;
    struct ledger_stats stats;

    /* From any thread. */
    struct task task;
    atomic_bool scheduled, closing, leader, disk_full, disk_low;
    _Atomic(struct unit *) inbox;
    _Atomic(struct ledger_wait *) waits_inbox;
    atomic_uint_fast64_t waiting_units, waiting_bytes;
    atomic_uint callers; /* inside a function of the door */
    atomic_uint_fast64_t applied, last, term_now, snapshot_index, first_kept;
    atomic_uint_fast64_t kept_hash, kept_seq, disk_free, disk_total;
    atomic_int_fast64_t committed_at;
    atomic_uint_fast64_t write_began_ns; /* of the write of the log under way; 0: none */

    pthread_mutex_t held_lock;
    bool held; /* under the lock: the world's thread is in a sync and touches nothing */

    /* The rest belongs to the world's thread. */
    bool dead, write_wait, apply_wait;
    struct unit *queue, **queue_tail; /* in order of arrival */
    size_t queue_units, queue_bytes;
    struct ledger_wait *waits;
    struct ledger_watch *watches;
    struct entry *flight, **flight_tail; /* not applied yet, in log order */
    struct entry *writing;               /* at the log thread */
    struct entry *free;
    struct entry *own; /* being submitted */
    uint64_t commit;
    uint64_t sync_avg_ns;      /* of the last few writes */
    uint64_t recorded;         /* what local_meta says; entries behind it changed no row */
    uint64_t unrecorded_bytes; /* of log, in those */
    uint64_t applied_term;
    int64_t applied_at, stamped_at; /* ledger time of the last applied, of the last made */
    int64_t repeats_oldest;         /* time of the oldest remembered unit; INT64_MAX: none */
    int64_t once_oldest;            /* of the oldest kept key */
    struct world_timer timer;
    uint64_t checkpoint_entry, checkpoint_bytes, checkpoint_wal; /* where the last was tried */
    struct checkpoint checkpoint;
    struct snapshot snapshot;
    struct applying applying;
    struct hot *hots;
    size_t hots_count;
    struct hot_save hot_save;
    struct buf scratch; /* an entry read back */
    struct outcome outcome;
    struct txn_texts texts;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ledger.c */
void ledger_die(struct ledger *l, const char *what, const struct err *e);
void ledger_wake(struct ledger *l); /* any thread */
struct op_ref ledger_op(const struct ledger *l, uint16_t type);
void ledger_free(struct ledger *l);
void ledger_waits_check(struct ledger *l, bool all);
void entries_free(struct entry *n); /* a list of them */

/* batch.c */
void ledger_pump(struct task *t);
void ledger_run(struct ledger *l);
void ledger_written(void *arg, int code);
void ledger_log_failed(void *arg, const char *why);
void ledger_ahead(void *arg);
int ledger_carry(struct ledger *l, const struct consensus_update *u, struct err *e);
void unit_complete(struct ledger *l, struct unit *u);

void ledger_expire(struct ledger *l); /* units that have waited too long */

/* relief.c */
void ledger_held(void *arg, bool begins);

/* tick.c */
void ledger_tick(struct world_timer *t);
void ledger_space(struct ledger *l);
uint64_t ledger_now_ms(struct ledger *l);
uint64_t ledger_next_tick(struct ledger *l); /* ms from now */

/* An entry as apply.c wants it. */
struct entry_view {
    uint64_t index, term;
    enum consensus_type type;
    const void *p;
    size_t n;
    struct unit **units; /* whom to tell, or NULL */
};

/* apply.c: 0, or why the entry as a whole could not be applied; it is then rolled back. */
int ledger_apply(struct ledger *l, const struct entry_view *v, struct err *e);
/* The same in two: everything but the commit, which nobody sees; then the commit. Between them
 * nothing else may be done with the database. */
int ledger_apply_begin(struct ledger *l, const struct entry_view *v, struct err *e);
int ledger_apply_end(struct ledger *l, const struct entry_view *v, struct err *e);
void ledger_apply_undo(struct ledger *l);
/* The operation at hand, or the reason to halt: nothing unknown is ever skipped. */
int ledger_op_known(const struct ledger *l, uint64_t seq, const struct txn_op *op,
                    struct op_ref *ref, struct err *e);
/* These say something about this machine, not about the unit. */
bool ledger_code_is_ours(int code);
/* After a rollback of the entry can the same be tried again? */
bool ledger_may_retry(int code);

/* record.c */
/* The transaction of an entry begins; when it cannot, nothing has. */
int record_begin(struct ledger *l, const struct entry_view *v, struct err *e);
/* Must the entry be recorded, now that all of it is in the open transaction? */
bool record_is_due(const struct ledger *l, const struct entry_view *v);
/* local_meta := the applied entry, in the open transaction; record_done() once that is committed.
 */
int record_put(struct ledger *l, struct err *e);
void record_done(struct ledger *l);
/* In a transaction of its own, if something is behind. */
int record_now(struct ledger *l, struct err *e);
void record_tick(struct ledger *l);

/* store.c */
struct store_meta {
    uint64_t seq, term;
    int64_t at;
    uint64_t hash, kept_seq, kept_hash;
};
int store_meta_load(struct db *db, struct store_meta *out, struct err *e);
int store_meta_put(struct db *db, const struct store_meta *m, struct err *e);
/* 1: `o` is what came of this id before; 0: unknown. */
int store_repeat_get(struct db *db, const struct uuid *id, struct outcome *o, uint64_t *seq,
                     int64_t *at, struct err *e);
int store_repeat_put(struct db *db, uint64_t n, const struct uuid *id, int64_t at,
                     const struct outcome *o, struct err *e);
/* Time of the oldest, INT64_MAX when there is none. */
int store_repeats_oldest(struct db *db, int64_t *at, struct err *e);
int store_repeats_purge(struct db *db, int64_t before, int64_t *oldest, struct err *e);

/* store_hot.c */
struct hot_row {
    uint64_t seq;
    int64_t at;
    bool saved;
};
int store_hot_get(struct db *db, const char *domain, struct hot_row *out, struct err *e); /* 1, 0 */
int store_hot_put(struct db *db, const char *domain, const struct hot_row *row, struct err *e);
/* The next name behind `after` in their order. 1, 0. */
int store_hot_next(struct db *db, const char *after, char out[64], struct err *e);
int store_hot_skip(struct db *db, uint64_t seq, uint32_t unit, struct err *e);
int store_hot_skips_purge(struct db *db, uint64_t seq, struct err *e); /* up to there */
/* Those behind `after`, in order: next() steps to the first, and on; seq UINT64_MAX: no more. */
struct hot_skips {
    struct db_stmt *stmt;
    uint64_t seq;
    uint32_t unit;
};
int store_hot_skips(struct db *db, uint64_t after, struct hot_skips *out, struct err *e);
int store_hot_skips_next(struct hot_skips *s, struct err *e);
void store_hot_skips_done(struct hot_skips *s); /* also for AUTO */

/* once.c */
void once_domain(struct ledger *l, struct domain *out);
int once_oldest(struct db *db, int64_t *at, struct err *e);
/* Those of ledger time `before` and earlier, LEDGER_REPEATS_PURGE at most. */
int once_purge(struct db *db, int64_t before, int64_t *oldest, struct err *e);

/* snapshot.c */
int snapshot_load(struct ledger *l, bool *found, struct err *e);
bool snapshot_is_due(const struct ledger *l);
/* Save the states that are due, then move most of the WAL on the log thread; snapshot_take()
 * follows on this one. */
void snapshot_begin(struct ledger *l);
void snapshot_go_on(struct ledger *l); /* the states are saved */
/* Checkpoint, manifest, compaction. ERR_CANCELED: a reader is in the way, later. */
int snapshot_take(struct ledger *l, struct err *e);

#endif
