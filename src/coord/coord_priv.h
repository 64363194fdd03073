/* Coord, inside its folder. The map: ask.c and value_ask.c (operations as bytes), lock.c, bucket.c,
 * leap.c (rules, pure), claims.c, values.c, inbox.c (operations applied), cache.c (all of the
 * cache), store.c, claim_store.c (SQL), read.c, value_read.c (the reading half of the door), wait.c
 * (who waits), watch.c (who watches), share.c (limits in memory), lapse.c (what time ends), coord.c
 * (the rest). */
#ifndef KOAN_COORD_COORD_PRIV_H
#define KOAN_COORD_COORD_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/payload.h"
#include "coord/coord.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"

struct db_stmt;
struct map;

enum coord_op {
    COORD_OP_HELD = 0x0300,
    COORD_OP_ACQUIRE = 0x0301,
    COORD_OP_RENEW = 0x0302,
    COORD_OP_RELEASE = 0x0303,
    COORD_OP_BREAK = 0x0304,
    COORD_OP_LEAVE = 0x0305,
    COORD_OP_LAPSE = 0x0306,
    COORD_OP_VALUE_IS = 0x0310,
    COORD_OP_PUT = 0x0311,
    COORD_OP_REMOVE = 0x0312,
    COORD_OP_ADD = 0x0320,
    COORD_OP_COUNTER_REMOVE = 0x0321,
    COORD_OP_COUNT_IS = 0x0322,
    COORD_OP_TAKE = 0x0330,
    COORD_OP_USE = 0x0331,
    COORD_OP_BEGIN = 0x0340,
    COORD_OP_PROCESSED = 0x0341,
    COORD_OP_UNBEGIN = 0x0342,
    COORD_OP_SWEEP = 0x0350,
    COORD_OP_CACHE = 0x0360,
    COORD_OP_FLUSH = 0x0361,
};

enum {
    COORD_LOOK_MS = 1000,   /* the longest the runtime sleeps: clocks are set */
    COORD_LAPSE_MAX = 256,  /* operations of one unit */
    COORD_LAPSE_ROWS = 512, /* rows looked at for them */
    COORD_SWEEP_ROWS = 1000,
    COORD_BACK_MS = 250, /* between two looks at what is held back */
    COORD_WAITS_MAX = 100000,
};

/* ---- lock.c: who may have it. Pure. ---- */

struct lock {
    enum coord_form form;
    uint32_t n, held, waiting;
    bool exclusive; /* the one holder has all of it */
};
/* It could be granted, were nobody before it. */
bool lock_fits(const struct lock *l, bool exclusive);
/* One who asks now is granted at once. */
bool lock_admits(const struct lock *l, bool exclusive);
void lock_grant(struct lock *l, bool exclusive);
void lock_end(struct lock *l);
void lock_check(const struct lock *l);

/* ---- bucket.c: the arithmetic of a limit. Pure. ---- */

struct bucket {
    int64_t rate, per, burst;
    int64_t level; /* a token is `per` of it; negative: reserved turns */
    int64_t at;
};
void bucket_fill(struct bucket *b, int64_t at);
/* Another rate, per or burst: what is in it stays, as far as it fits. */
void bucket_change(struct bucket *b, const struct coord_take *k);
void bucket_take(struct bucket *b, const struct coord_take *k, struct coord_taken *out);
int64_t bucket_full(const struct bucket *b); /* when */
/* So much of its level was taken, whether or not there was so much. */
void bucket_use(struct bucket *b, int64_t level);

/* ---- leap.c: ledger time against time that passes. Pure. ---- */

enum { LEAPS_MAX = 8, LEAP_MS = 1000 };
struct leaps {
    bool begun;
    int64_t at; /* ledger time, as far as is known */
    uint64_t mono_ms;
    unsigned count;
    struct {
        int64_t at, ms;
    } list[LEAPS_MAX]; /* oldest first; the sum of those that had to go is in the first */
};
/* `at`: of an entry, or what the next would have. Ledger time never goes back. */
void leaps_see(struct leaps *l, int64_t at, uint64_t mono_ms);
/* What a claim that was renewed at `renewed` gets on top of its time. */
int64_t leaps_since(const struct leaps *l, int64_t renewed);

/* ---- payloads ---- */

/* Texts of a payload: not ended by a NUL. */
struct text {
    const char *p;
    size_t n;
};
/* ERR_INVALID unless it is a key of 1..max bytes. */
int coord_check_key(const char *what, const char *p, size_t n, size_t max, struct err *e);
/* Reads a text of `least`..`max` bytes; anything else makes the cursor bad. */
struct text coord_text(struct cursor *c, size_t least, size_t max);

/* ---- coord.c ---- */

enum coord_event_kind { COORD_EVENT_GRANTED, COORD_EVENT_OVER, COORD_EVENT_LEFT };
struct coord_event {
    enum coord_event_kind kind;
    char id[COORD_ID_BYTES + 1];
    uint64_t token;
    int64_t expires;
};

struct coord {
    struct domain domain;
    struct db *db; /* the writer; the ledger's thread */

    /* Told when the entry is committed; the ledger's thread. */
    struct coord_event *events;
    size_t events_count, events_room, events_unit; /* of units before this one */
    int64_t due;   /* the next moment that something may be over; a hint, may be too early */
    int64_t spare; /* the same of what only takes room */

    /* The names of the conditions `held` of unit `proven_unit` of entry `proven_seq`, each with its
     * NUL; the ledger's thread. */
    struct buf proven;
    uint64_t proven_seq;
    uint32_t proven_unit;

    /* lapse.c; the ledger's thread */
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    struct task look;
    struct unit unit;
    struct leaps leaps;
    uint64_t led_ms;   /* mono, since when this node leads */
    uint64_t armed_ms; /* mono, when the timer fires; UINT64_MAX: not set */
    bool leads, flying, stopped;
    bool back; /* some are held back: in their grace, or by a leap */

    /* share.c; the ledger's thread, but for the map */
    struct unit share_unit;
    struct share **told; /* those of the unit under way */
    size_t told_count;
    uint64_t tell_ms; /* mono, when next */
    bool telling;
    pthread_mutex_t share_lock;
    struct map *shares;

    atomic_bool changed; /* the entry that is applied has changed holders */
    atomic_size_t watching;

    pthread_mutex_t lock; /* what stands below */
    struct map *watched;  /* tenant and name -> struct watched */
    struct list touched;  /* those whose holders the entry has changed */
    struct list fresh;    /* watches that began while an entry changed claims */
    struct map *waits;    /* id of the claim -> struct coord_wait */
    struct leaving *leaving;
    struct leaving *left;   /* being proposed; the ledger's thread */
    bool draining, looking; /* the task is posted */
};

/* A claim that nobody wants any more. */
struct leaving {
    struct leaving *next;
    char name[COORD_KEY_BYTES + 1], id[COORD_ID_BYTES + 1];
};

int coord_event(struct coord *c, const struct coord_event *ev, struct err *e);
static inline void coord_due(struct coord *c, int64_t at)
{
    c->due = at < c->due ? at : c->due;
}
static inline void coord_spare(struct coord *c, int64_t at)
{
    c->spare = at < c->spare ? at : c->spare;
}

/* wait.c: on the ledger's thread, when events are committed. */
void coord_tell(struct coord *c, uint64_t seq);
void coord_waits_look(struct coord *c, uint64_t mono_ms);

/* watch.c: on the ledger's thread, while an entry is applied; when it is committed. */
void coord_changed(struct coord *c, const char *tenant, const char *name, size_t n);
void coord_tell_watches(struct coord *c);
void coord_drain_watches(struct coord *c); /* with the lock */

/* lapse.c */
/* An entry is committed. */
void coord_passed(struct coord *c, int64_t at);
void coord_fire(struct world_timer *t);
void coord_look_task(struct task *t);
int coord_apply_sweep(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);

/* claims.c */
int coord_apply_held(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e);
int coord_apply_acquire(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e);
int coord_apply_renew(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
int coord_apply_release(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e);
int coord_apply_break(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
int coord_apply_leave(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
int coord_apply_lapse(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
/* values.c */
int coord_apply_value_is(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                         struct buf *result, struct err *e);
int coord_apply_put(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e);
int coord_apply_remove(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                       struct buf *result, struct err *e);
/* counters.c */
int coord_apply_count_is(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                         struct buf *result, struct err *e);
int coord_apply_add(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e);
int coord_apply_counter_remove(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                               struct buf *result, struct err *e);
int coord_apply_take(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e);
/* inbox.c */
int coord_apply_begin(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
int coord_apply_processed(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                          struct buf *result, struct err *e);
int coord_apply_unbegin(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e);

int coord_check_take(const struct coord_take *k, struct err *e); /* value_ask.c */
/* counters.c: 1 when it is there, else `b` is left alone. */
int bucket_row(struct db *db, const char *tenant, struct text name, struct bucket *b,
               struct err *e);
int bucket_save(struct db *db, const char *tenant, struct text name, const struct bucket *b,
                struct err *e);
/* share.c */
/* `last`: also before its time. */
void coord_shares_look(struct coord *c, uint64_t mono_ms, bool last);
void coord_shares_free(struct coord *c);
int coord_apply_use(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e);
/* cache.c */
int coord_apply_cache(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
int coord_apply_flush(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e);
/* The log index of the last flush, 0: none. */
int coord_flushed(struct db *db, const char *tenant, struct text tag, int64_t *seq, struct err *e);

/* ---- store.c: what all tables share. `e` is never NULL here and below. ---- */

enum coord_use {
    COORD_USE_CLAIMS = 1,
    COORD_USE_KEYS = 2,
    COORD_USE_BYTES = 3,
    COORD_USE_COUNTERS = 4,
    COORD_USE_BUCKETS = 5,
    COORD_USE_INBOX = 6,
    COORD_USE_VERSION = 7,
    COORD_USE_CACHED = 8,
    COORD_USE_CACHED_BYTES = 9,
    COORD_USE_FLUSHES = 10,
};
int store_use(struct db *db, const char *tenant, enum coord_use what, int64_t *out, struct err *e);
/* ERR_QUOTA past the limit. */
/* What a tenant may have of it; *of: its name in the plural. */
int64_t store_use_max(enum coord_use what, const char **of);
int store_use_add(struct db *db, const char *tenant, enum coord_use what, int64_t delta,
                  struct err *e);
/* A statement with ?1 the tenant and ?2 a text. */
struct db_stmt *store_at(struct db *db, const char *sql, const char *tenant, struct text key,
                         struct err *e);
int store_run_at(struct db *db, const char *sql, const char *tenant, struct text key,
                 struct err *e);
/* The number a statement gives first, or `none`. */
int store_number(struct db *db, const char *sql, int64_t none, int64_t *out, struct err *e);

/* ---- claim_store.c ---- */

struct claim {
    int64_t place;
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1];
    char id[COORD_ID_BYTES + 1], owner[COORD_OWNER_BYTES + 1], name[COORD_KEY_BYTES + 1];
    bool exclusive;
    int64_t ttl, since, expires;
    uint64_t token;
};
/* Zero, with form 0, when nobody has or wants it. */
int lock_load(struct db *db, const char *tenant, struct text name, struct lock *out, struct err *e);
/* Gone when nobody has or wants it any more. */
int lock_save(struct db *db, const char *tenant, struct text name, const struct lock *l,
              struct err *e);
/* 1: found. */
int claim_by_id(struct db *db, const char *tenant, struct text id, struct claim *out,
                struct err *e);
int claim_first(struct db *db, const char *tenant, struct text name, bool waiting,
                struct claim *out, struct err *e);
/* A holder; `id` may be empty. ERR_INVALID when several have the token. */
int claim_held(struct db *db, const char *tenant, struct text name, uint64_t token, struct text id,
               struct claim *out, struct err *e);
struct claim_row {
    struct text name, id, owner, meta;
    bool exclusive;
    int64_t ttl, since, expires;
    uint64_t token;
};
int claim_insert(struct db *db, const char *tenant, const struct claim_row *r, struct err *e);
int claim_update(struct db *db, const struct claim *c, struct err *e);
int claim_delete(struct db *db, const struct claim *c, struct err *e);
/* Those whose time is over at `now`, oldest first, at most `max`. */
int claims_due(struct db *db, int64_t now, struct claim *out, size_t max, size_t *count,
               struct err *e);

#endif
