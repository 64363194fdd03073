/* Coord - what several processes must agree on: who holds a lease, small values, counters, limits,
 * and whether a message was worked already.
 *
 * All of it is rows in the ledger's database, changed by operations (0x03xx). The functions named
 * coord_txn_*() append one to a unit of work, beside any others: a counter, a value, a claim and a
 * record change together or not at all. What came of an operation is read from the unit's results.
 *
 * Claims. A name is a lease (one holder), a semaphore (n holders) or a read-write lock (many
 * readers or one writer). All three are one thing: a capacity n, claims that take one of it or all
 * of it, and a queue in the order of the log. The first in the queue is granted as soon as it fits,
 * and nobody passes it; so a waiting writer stops readers that come later. A claim has an id that
 * the asker makes, so asking again with the same id is harmless.
 *
 *     acquire --> [waits] --first, and fits--> [holds, token] --release, break, lapse--> gone
 *         \          \--its wait is over, or it leaves--> gone      |        ^
 *          \--fits at once------------------------------------>     +-renew--+
 *
 * The token of a grant is its log index. A system outside that is told the token can refuse smaller
 * ones; inside, coord_txn_if_held() makes a whole unit fail once the claim is another's.
 *
 * Time is ledger time. A claim ends when its time is over *and* the operation lapse says so, which
 * changes nothing if the claim was renewed meanwhile. Who leads proposes it (coord_start), but in
 * the first COORD_GRACE_MS not, so that a restart costs nobody a lease; and when ledger time leaps
 * ahead of the time that has really passed (a clock was set), claims get the difference on top.
 * Values, buckets and inbox keys need no such care: past their time they are not there, and are
 * swept.
 *
 * A counter is 64 bits and refuses to overflow. A limit is a bucket that fills with time; all of it
 * is integers, so every node computes the same. A take of it is exact as an operation, or is
 * decided in memory out of the share that the node has, all of it as long as it is alone (share.c).
 * An inbox key is begun under a short lease and then processed; it is remembered for a day.
 *
 * Who wants to know at once when a holder changes (an election) watches the name (coord_watch).
 *
 * Waiting for a grant (coord_acquire) completes on the runner of who asked, exactly once, as a unit
 * does.
 *
 * Format: schema/coord-operations.md. Reading needs any connection of the database. */
#ifndef KOAN_COORD_COORD_H
#define KOAN_COORD_COORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/list.h"
#include "ledger/ledger.h"

struct apply;
struct coord;
struct cursor;
struct db;
struct domain;
struct err;
struct txn;

enum {
    COORD_KEY_BYTES = 512, /* a name or key: 1 to so many, UTF-8, no control characters */
    COORD_OWNER_BYTES = 256,
    COORD_ID_BYTES = 64,        /* of a claim or an inbox lease */
    COORD_META_BYTES = 4 << 10, /* of a claim, JSON */
    COORD_VALUE_BYTES = 256 << 10,
    COORD_VALUES_BYTES = 1 << 30, /* keys and values of a tenant together; cached ones as much */
    COORD_ROWS_MAX = 1000000,     /* of a tenant: claims, keys, counters, buckets each */
    COORD_TAGS_MAX = 16,          /* of a cached value */
    COORD_TAG_BYTES = 128,
    COORD_CACHE_TTL_MS = 5 * 60 * 1000,
    COORD_INBOX_MAX = 10000000, /* inbox keys of a tenant */
    COORD_HOLDERS_MAX = 10000,  /* of one name */
    COORD_WAITERS_MAX = 10000,  /* for one name; then queue_full */
    COORD_TTL_MS = 30 * 1000,
    COORD_TTL_MIN_MS = 1000,
    COORD_TTL_MAX_MS = 24 * 60 * 60 * 1000,
    COORD_WAIT_MAX_MS = 60 * 1000,
    COORD_GRACE_MS = 10 * 1000, /* a new start waits so long for renewals */
    COORD_PAGE_MAX = 1000,      /* rows of one list */
    COORD_WATCHES_MAX = 10000,  /* who wants to hear of holders, at once */
    COORD_SHOWN_MAX = 100,      /* holders, and waiters, of one name that are shown */
    COORD_LIMIT_MAX = 1000000,  /* rate, burst, and tokens of one take */
    COORD_LIMIT_PER_MAX_MS = 24 * 60 * 60 * 1000,
    COORD_INBOX_LEASE_MS = 60 * 1000,
    COORD_INBOX_KEEP_MS = 24 * 60 * 60 * 1000,
};
#define COORD_INBOX_KEEP_MAX_MS ((int64_t)30 * 24 * 60 * 60 * 1000)
#define COORD_CACHE_LIFE_MAX_MS ((int64_t)30 * 24 * 60 * 60 * 1000) /* ttl and stale_for */
#define COORD_VALUE_TTL_MAX_MS ((int64_t)10 * 366 * 24 * 60 * 60 * 1000)

struct coord *coord_new(void);
void coord_free(struct coord *c); /* takes NULL; after the ledger */
/* For ledger_open(). Lives as long as `c`. */
const struct domain *coord_domain(struct coord *c);
/* Lapses, sweeps, tells who waits. Before the ledger's loop runs, or on its thread; `w` is the
 * ledger's. */
void coord_start(struct coord *c, struct ledger *l, struct world *w);
/* Any thread. Who waits is answered ERR_DRAINING, and nobody may begin to wait any more. */
void coord_drain(struct coord *c);
/* On the ledger's thread, before ledger_close. */
void coord_stop(struct coord *c);

/* ---- claims ---- */

enum coord_form { COORD_LEASE = 1, COORD_SEMAPHORE = 2, COORD_RW = 3 };

struct coord_ask {
    const char *name;
    const char *id; /* of the claim: 1..COORD_ID_BYTES, made by the asker, never used again */
    enum coord_form form;
    uint32_t n;        /* of a semaphore; 1 of a lease, COORD_HOLDERS_MAX of a read-write lock */
    bool exclusive;    /* a writer */
    int64_t ttl_ms;    /* 0: COORD_TTL_MS */
    int64_t wait_ms;   /* 0: refused with ERR_LOCKED when it cannot be granted at once */
    const char *owner; /* for people; may be NULL */
    const char *meta;  /* JSON; may be NULL */
};
/* Applied: ERR_LOCKED (names holder, since, expiry), ERR_CONFLICT (another form or n, or an id that
 * is used elsewhere), ERR_QUEUE_FULL, ERR_QUOTA. */
int coord_txn_acquire(struct txn *t, const struct coord_ask *ask, struct err *e);
struct coord_grant {
    bool held;      /* else it waits in the queue */
    uint64_t token; /* of a holder */
    int64_t expires;
};
int coord_grant_read(struct cursor *result, struct coord_grant *out, struct err *e);

/* A claim that holds. */
struct coord_claim {
    const char *name;
    uint64_t token;
    const char *id; /* NULL: any with that token; only leases go without */
};
/* The unit holds only while the claim does: ERR_FENCED. */
int coord_txn_if_held(struct txn *t, const struct coord_claim *c, struct err *e);
/* While an operation of another domain is applied: 0 when its unit has that condition for `name`, a
 * lease that is still held, or (`free_too`) nobody holds it. Else ERR_LOCKED, with who does. `self`
 * is a struct coord. */
int coord_lease_check(void *self, const struct apply *a, const char *name, bool free_too,
                      struct err *e);
/* ERR_FENCED when it holds no more. ttl_ms 0: as it was. The result is read by coord_time_read().
 */
int coord_txn_renew(struct txn *t, const struct coord_claim *c, int64_t ttl_ms, struct err *e);
int coord_txn_release(struct txn *t, const struct coord_claim *c, struct err *e);
/* All holders lose it; ERR_NOT_FOUND when there is none. */
int coord_txn_break(struct txn *t, const char *name, struct err *e);
/* A claim that waits, or holds, is no more. Nothing happens if there is none. */
int coord_txn_leave(struct txn *t, const char *name, const char *id, struct err *e);
int coord_time_read(struct cursor *result, int64_t *out, struct err *e);

/* An acquire that waits for its grant: part of the caller's struct. */
struct coord_wait {
    struct unit unit; /* first; the caller fills its envelope and may add operations */
    struct task task;
    struct coord *coord;
    struct runner *home;
    void (*done)(struct coord_wait *w);
    char name[COORD_KEY_BYTES + 1], id[COORD_ID_BYTES + 1];
    uint32_t op; /* the acquire's place in the unit */
    int state;
    int64_t wait_ms;
    uint64_t deadline_ms;

    /* The result, valid in done(). */
    struct err err; /* ERR_LOCKED: the wait is over */
    struct coord_grant grant;
    uint64_t seq;
};
void coord_wait_init(struct coord_wait *w, struct runner *home, void (*done)(struct coord_wait *w));
void coord_wait_fini(struct coord_wait *w);
/* Appends the acquire to the unit; others may follow behind it. */
int coord_wait_ask(struct coord_wait *w, const struct coord_ask *ask, struct err *e);
/* Any thread. 0: done() will run exactly once, on `home`. Else nothing happened. */
int coord_acquire(struct coord *c, struct coord_wait *w, struct err *e);
/* Any thread, until done() runs: nobody wants it any more. done() runs with ERR_CANCELED, unless it
 * is on its way already; the claim leaves the queue, or is released if it has been granted. */
void coord_give_up(struct coord_wait *w);
/* The same of a grant that came too late for its asker. */
void coord_give_back(struct coord *c, const char *name, const char *id);

/* Who wants to hear that somebody else holds a name: part of the caller's struct. */
struct coord_watch {
    struct task task;
    struct coord *coord;
    struct runner *home;
    void (*done)(struct coord_watch *w);
    struct watched *of;
    struct list node, fresh;
    int code; /* in done(): 0, ERR_CANCELED or ERR_DRAINING */
};
void coord_watch_init(struct coord_watch *w, struct runner *home,
                      void (*done)(struct coord_watch *w));
/* Any thread. 0: done() runs exactly once, on `home`: when a holder of the name has come or gone
 * since, maybe for nothing. So first this, then a look at who holds it, then waiting. */
int coord_watch(struct coord *c, struct coord_watch *w, const char *tenant, const char *name,
                struct err *e);
/* Any thread, until done() runs: it does now. */
void coord_unwatch(struct coord_watch *w);

/* ---- values ---- */

struct coord_put {
    const char *key;
    const void *value;
    size_t n;
    int64_t ttl_ms;      /* 0: for ever */
    uint64_t if_version; /* 0: any */
    bool nx, xx;         /* only if it is not there; only if it is */
};
/* Applied: ERR_VERSION_MISMATCH, ERR_QUOTA. The result is the version, read by
 * coord_number_read(): versions of a tenant's keys only grow, also over a removal. */
int coord_txn_put(struct txn *t, const struct coord_put *p, struct err *e);
/* ERR_NOT_FOUND when it is not there. */
int coord_txn_remove(struct txn *t, const char *key, uint64_t if_version, struct err *e);
/* The unit holds only at this version; 0: while the key is not there. ERR_VERSION_MISMATCH. */
int coord_txn_if_value(struct txn *t, const char *key, uint64_t version, struct err *e);
int coord_number_read(struct cursor *result, uint64_t *out, struct err *e);

/* ---- the cache ---- who fills it, and whether alone, is bind's affair */

struct coord_cached {
    const char *name;
    const void *value;
    size_t n;
    uint64_t since;           /* the log index that was applied when it began to be found out */
    int64_t ttl_ms, stale_ms; /* fresh so long, of use so much longer */
    const char *const *tags;
    size_t tags_count;
};
/* Applied: ERR_QUOTA. */
int coord_txn_cache(struct txn *t, const struct coord_cached *k, struct err *e);
/* What has this tag, and was begun before this, is worthless. */
int coord_txn_flush(struct txn *t, const char *tag, struct err *e);

/* ---- counters and limits ---- */

/* ERR_CONFLICT on overflow. One that is not there is 0. A block of n numbers is an addition of n:
 * they are before + 1 .. after. */
int coord_txn_add(struct txn *t, const char *name, int64_t n, struct err *e);
int coord_added_read(struct cursor *result, int64_t *before, int64_t *after, struct err *e);
/* The unit holds only while the counter is n. ERR_VERSION_MISMATCH. */
int coord_txn_if_count(struct txn *t, const char *name, int64_t n, struct err *e);
int coord_txn_counter_remove(struct txn *t, const char *name, struct err *e);

struct coord_take {
    const char *name;
    int64_t rate, per_ms, burst; /* so many each so long; so many at once */
    int64_t n;                   /* 1..burst */
    int64_t wait_ms;             /* a turn that comes within so long is reserved */
    bool refuse;                 /* the unit fails with ERR_RATE_LIMITED, instead of a result */
};
struct coord_taken {
    bool taken;
    int64_t wait_ms; /* until the turn; not taken: until it may be tried again */
    int64_t left;    /* whole tokens */
};
int coord_txn_take(struct txn *t, const struct coord_take *k, struct err *e);
int coord_taken_read(struct cursor *result, struct coord_taken *out, struct err *e);

/* The same of this node's share of the bucket, without waiting for the ledger, which hears of it
 * once a second: `refuse` has no meaning here. Any thread, with a reader of its own and its clock.
 */
int coord_share_take(struct coord *c, struct db *db, const char *tenant, const struct coord_take *k,
                     int64_t now, struct coord_taken *out, struct err *e);

/* ---- inbox ---- */

enum coord_inbox { COORD_ACQUIRED = 1, COORD_BUSY = 2, COORD_PROCESSED = 3 };
/* `lease` as an id of a claim; lease_ms 0: COORD_INBOX_LEASE_MS. */
int coord_txn_begin(struct txn *t, const char *key, const char *owner, const char *lease,
                    int64_t lease_ms, struct err *e);
struct coord_begun {
    enum coord_inbox what;
    int64_t expires;
    char lease[COORD_ID_BYTES + 1]; /* of what was acquired */
};
int coord_begun_read(struct cursor *result, struct coord_begun *out, struct err *e);
/* `lease` NULL: whoever began it. ERR_FENCED: another began it since. keep_ms 0:
 * COORD_INBOX_KEEP_MS. */
int coord_txn_processed(struct txn *t, const char *key, const char *lease, int64_t keep_ms,
                        struct err *e);
int coord_txn_unbegin(struct txn *t, const char *key, const char *lease, struct err *e);

/* ---- reading ---- `now` is the reader's clock; JSON is a new reference. */

/* {"name","form","n","held","waiting","holders":[..],"waiters":[..]}; ERR_NOT_FOUND: nobody. */
int coord_claims_get(struct db *db, const char *tenant, const char *name, json_t **out,
                     struct err *e);
/* What refused an acquire as ERR_LOCKED, said with who holds it now; any other error stays.
 * `holder`: a new reference of one of claims_get's holders, or NULL; may be NULL. */
void coord_say_holder(struct db *db, const char *tenant, const char *name, json_t **holder,
                      struct err *e);
/* The token of the first holder, 0: nobody. */
int coord_holder(struct db *db, const char *tenant, const char *name, uint64_t *token,
                 struct err *e);
/* How a claim stands: `out->held` or it waits; ERR_NOT_FOUND. */
int coord_claim_find(struct db *db, const char *tenant, const char *name, const char *id,
                     struct coord_grant *out, struct err *e);

struct coord_page {
    const char *prefix, *after; /* "" or NULL: from the beginning */
    int limit;                  /* 1..COORD_PAGE_MAX */
};
/* [{..}] in order of names; *more: there are others behind. */
int coord_claims_list(struct db *db, const char *tenant, const struct coord_page *p, json_t **out,
                      bool *more, struct err *e);

struct coord_value {
    uint64_t version;
    int64_t at, expires; /* expires 0: never */
};
/* The value is appended to `out`. ERR_NOT_FOUND. */
int coord_value_get(struct db *db, const char *tenant, const char *key, int64_t now,
                    struct coord_value *v, struct buf *out, struct err *e);
/* [{"key","version","at","expires","bytes"}] */
int coord_values_list(struct db *db, const char *tenant, const struct coord_page *p, int64_t now,
                      json_t **out, bool *more, struct err *e);
/* The value is appended to `out`. ERR_NOT_FOUND also when it is past its use, or flushed. */
int coord_cache_get(struct db *db, const char *tenant, const char *name, int64_t now, bool *fresh,
                    struct buf *out, struct err *e);
/* 0 when it is not there, with *found false. */
int coord_counter_get(struct db *db, const char *tenant, const char *name, int64_t *out,
                      bool *found, struct err *e);
int coord_inbox_get(struct db *db, const char *tenant, const char *key, int64_t now, bool *out,
                    struct err *e);

/* ---- how much there is ---- */

enum coord_part {
    COORD_CLAIMS, /* that hold or wait */
    COORD_KEYS,
    COORD_COUNTERS,
    COORD_LIMITS,
    COORD_INBOX,
    COORD_CACHED,
    COORD_PARTS
};
extern const char *const coord_part_names[COORD_PARTS];
struct coord_totals {
    int64_t count[COORD_PARTS]; /* of all tenants */
    int64_t key_bytes, cached_bytes;
    size_t waiting; /* who waits on this node for a grant */
    int full;       /* percent of its bound that a tenant has used of one thing, the greatest */
    const char *full_of;
    char full_tenant[COORD_OWNER_BYTES + 1]; /* cut, where it is longer */
};
/* Any thread; a few rows a tenant. */
int coord_totals(struct coord *c, struct db *db, struct coord_totals *out, struct err *e);

#endif
