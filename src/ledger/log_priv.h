/* Log - the entries of one ledger in segment files.
 *
 *   log/state                       node id, term and vote: two slots, written in turn
 *   log/00000000000000000001.log    segments, numbered without gaps; the form is segment_priv.h's
 *   log/spare-1.log                 a pre-written file that will become a segment
 *   log/spare-2.tmp                 one in the making; removed at start
 *
 * A record is on disk, synced, before the next is written, so a crash can tear only the last one.
 * Writing into a file that has its blocks already, and holds written data, is about twice as fast
 * as growing one. So the log thread fills the current segment with zeros ahead of the writer, makes
 * the next one while the current fills, and segments that are no longer needed are renamed to be
 * the next. None of that is ever waited for: without a prepared place the writer just grows the
 * file. A file gets the name of a segment only after its new header is synced: a segment without a
 * valid header is damage, not a trace of a crash.
 *
 * Threads: everything here is called on the world's thread. A large write goes to the log thread;
 * until it is done `busy` is set, and neither the position nor the list of segments is touched by
 * anybody else. The pre-writing also runs on the log thread, never beyond what it was told, and
 * never while told nothing; its result is looked at only when no write is under way.
 *
 * Errors: ERR_DISK_FULL changes nothing and may be tried again. Everything else leaves the files in
 * an unknown state: the caller ends the process. */
#ifndef KOAN_LEDGER_LOG_PRIV_H
#define KOAN_LEDGER_LOG_PRIV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/world.h"
#include "ledger/segment_priv.h"

struct buf;

enum {
    LOG_CHUNK = 1 << 20, /* pre-written at a time */
    LOG_SPARES_MAX = 2,
    LOG_INLINE_BYTES = 64 << 10, /* a larger write goes to the log thread */
    LOG_MARK_BYTES = 16 << 10,   /* of log, from one mark to the next */
};

struct log_options {
    const char *dir; /* the data directory */
    uint64_t segment_bytes, keep_bytes;
    int64_t keep_ms;
    uint32_t group;
};

/* What must survive besides the entries. */
struct log_state {
    uint64_t node, term, vote;
};

struct log_segment {
    struct segment_header head;
    uint64_t size; /* of the file */
};

/* Where an entry lies. */
struct log_place {
    uint64_t term;
    uint64_t seq; /* segment */
    uint32_t at, len;
    uint8_t type;
};

/* From here on in a segment lies entry `index`, and behind it those up to the next mark. */
struct log_mark {
    uint64_t index;
    uint32_t at;
};

struct log_kept_segment {
    struct segment_header head;
    uint64_t from; /* the lowest entry in it */
    struct log_mark *marks;
    size_t count, cap;
    bool marked; /* all the way through it */
};

/* What is needed to find entries long after: log_kept.c. */
struct log_kept {
    pthread_mutex_t lock; /* for a look or a change; never while a file is read */
    struct log_kept_segment *segments;
    size_t count, cap;
    /* Of who writes and loads: the last mark, and the last entry. */
    uint64_t mark_seq, mark_at, last;
};

/* Reads entries, best one after the other; of one thread, with a descriptor of its own. What it has
 * in memory is not looked at again: none for a segment that is being written meanwhile. */
struct log_reader {
    struct log *log;
    struct disk_file *file; /* of the segment `head` */
    struct segment_header head;
    uint8_t *window;
    size_t size, cap, len;
    uint64_t window_at;
    uint64_t next, at; /* entry that lies at `at`; 0: not known */
};

enum log_prep_kind { PREP_NONE, PREP_EXTEND, PREP_SPARE };

/* The pre-writing under way. */
struct log_prep {
    struct offload off;
    struct log *log;
    enum log_prep_kind kind;
    struct disk_file *file;
    bool finished; /* done() came, and waits for the end of a write */
    bool orphan;   /* the writer has left the segment that is being extended */
    uint64_t from, to;
    uint64_t spare; /* number in the name */
    int code;
    char name[32], ready[32];
    struct err err;
};

/* A write under way. */
struct log_job {
    struct offload off;
    struct log *log;
    struct buf *bytes;
    struct record record;
    uint64_t began_ns;
    int code;
};

struct log {
    struct world *world;
    struct log_options o;
    char *dir;  /* .../log */
    char *path; /* scratch for complete paths, of the world's thread */
    struct log_state state;
    uint64_t state_count;
    struct disk_file *state_file;

    struct log_segment *segments; /* oldest first; the last is being written */
    size_t segments_count, segments_cap;
    struct disk_file *file; /* of the last */
    uint64_t at;            /* next record */
    uint64_t prepared;      /* the file is pre-written up to here */
    uint64_t leftover;      /* where an unfinished write ends that the start has found; else 0 */
    uint64_t spares[LOG_SPARES_MAX];
    size_t spares_count;
    uint64_t spare_next;

    uint64_t first, last, last_term; /* entries: first known place, last; last_term of `last` */
    struct log_place *places;        /* of [first, last] */
    size_t places_cap;
    struct log_kept kept;

    bool busy;
    struct log_job job;
    struct log_prep prep;
    bool made;     /* by this start */
    bool ready;    /* pre-writing may begin: the start is over */
    bool prep_off; /* the disk is full or the log is being closed */
    void (*done)(void *arg, int code);
    void (*failed)(void *arg, const char *why); /* outside of a write: end the process */
    /* Called by log_append() between writing and syncing on the caller's thread: time that would
     * be spent waiting for the device. May be NULL. */
    void (*meanwhile)(void *arg);
    /* That wait begins, is over. Set with `meanwhile`. */
    void (*waits)(void *arg, bool begins);
    void *arg;
    uint64_t written; /* bytes of records since the start */
    uint64_t sync_ns; /* how long the last write and sync took */
    struct err err;   /* of the last write at the log thread */
};

/* Makes the folder, reads the state and all headers, and checks that they fit together. */
int log_open(const struct log_options *o, struct world *w, struct log **out, struct err *e);
/* Nothing was ever written here. */
bool log_is_new(const struct log *l);
/* Verifies every record behind `after` (an index that a checkpoint covers; 0 for none) and finds
 * the end. Changes nothing, but that a new log gets its first segment. */
int log_load(struct log *l, uint64_t after, uint64_t after_term, struct err *e);
/* What was loaded is accepted: what follows its end is cleared, and all of it synced, because a
 * process that died may have left it in the kernel's memory only. Ready to be written then. */
int log_settle(struct log *l, struct err *e);
/* The start is over: pre-write from now on. */
void log_ready(struct log *l);
/* No write may be under way; false while the log thread still pre-writes: call again later. */
bool log_may_close(struct log *l);
void log_close(struct log *l);

int log_state_put(struct log *l, const struct log_state *s, struct err *e);
/* 0 where the term is not known (any more). */
uint64_t log_term(const struct log *l, uint64_t index);
/* The entry with the room of its header before it: data at RECORD_HEADER. */
int log_read(struct log *l, uint64_t index, struct buf *out, struct record *r, struct err *e);

/* `bytes` begins with RECORD_HEADER bytes of room, the payload follows; both must stay until the
 * write is over. An index that is not behind the last replaces what was there. 0: on disk. 1: under
 * way, done(arg, code) will be called. Else nothing was written. */
int log_append(struct log *l, struct buf *bytes, uint8_t type, uint64_t index, uint64_t term,
               bool large, struct err *e);
/* Entries up to `index` are in a checkpoint: forget their places; let go of segments that hold
 * nothing but entries before `low` (index + 1 at most) and are beyond what is to be kept. No write
 * may be under way. */
int log_compact(struct log *l, uint64_t index, uint64_t low, struct err *e);
/* The first entry of those newest segments that are not more than is to be kept. */
uint64_t log_crowded(const struct log *l);

/* Any thread: entry `index`, as long as its segment is kept; `r` is good until the next call.
 * ERR_GONE when it is not, ERR_CORRUPT when it has changed on the disk. `window` bytes are read at
 * a time. */
void log_reader_init(struct log_reader *r, struct log *l, size_t window);
void log_reader_fini(struct log_reader *r);
int log_reader_read(struct log_reader *r, uint64_t index, struct record *out, struct err *e);

/* Inside the log: log_kept.c. One thread at a time, that of the position. */
void log_kept_init(struct log_kept *k);
void log_kept_fini(struct log_kept *k);
void log_kept_push(struct log_kept *k, const struct segment_header *h);
void log_kept_drop(struct log_kept *k, uint64_t seq); /* before its file gets another name */
/* From now on every record of this segment is noted. */
void log_kept_marked(struct log_kept *k, uint64_t seq);
int log_kept_note(struct log_kept *k, uint64_t seq, uint64_t index, uint64_t at, struct err *e);

/* Inside the log: log_files.c. */
const char *log_path(struct log *l, const char *name);
void log_segment_name(uint64_t seq, char out[32]);
int log_roll(struct log *l, uint64_t index, uint64_t term, size_t record, struct err *e);
void log_prep_close(struct log *l);
void log_prepare(struct log *l);
void log_prepared(struct log *l);
int log_state_load(struct log *l, bool *found, struct err *e);
int log_state_create(struct log *l, struct err *e);
int log_places_add(struct log *l, uint64_t index, const struct log_place *p, struct err *e);

#endif
