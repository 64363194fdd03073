/* Bus, inside its folder: bus.c (the domain), ops.c (operations written), options.c (what groups
 * say of their records), declared.c, retained.c, places.c, waits.c (operations applied), routes.c,
 * waited.c (what publishers read), publish.c, look.c, waits_read.c (what is asked), clock.c,
 * feed.c, wake.c, over.c (what who leads proposes), store.c (SQL that several share). */
#ifndef KOAN_BUS_BUS_PRIV_H
#define KOAN_BUS_BUS_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"
#include "base/payload.h"
#include "base/topic.h"
#include "bus/bus.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/core.h"
#include "queue/queue.h"

struct db_stmt;
struct topic_set;

enum bus_op {
    BUS_OP_GROUPS = 0x0a00,
    BUS_OP_TOPICS = 0x0a01,
    BUS_IF_ROUTES = 0x0a02,
    BUS_OP_RETAIN = 0x0a03,
    BUS_OP_PLACE = 0x0a04,
    BUS_OP_WAIT = 0x0a05,
    BUS_OP_EVENT = 0x0a06,
    BUS_OP_WAIT_END = 0x0a07,
    BUS_OP_SWEEP = 0x0a08,
    BUS_IF_WAITED = 0x0a09,
    BUS_IF_WAITS = 0x0a0a,
};

enum {
    BUS_SOURCE_BYTES = 64,
    BUS_DECLARED_BYTES = 7 << 20,           /* of one source, as text */
    BUS_LOOK_MS = 1000,                     /* the longest that the clock sleeps: clocks are set */
    BUS_FEED_LOOKED = 10 * 1000,            /* rows looked at for one unit */
    BUS_FRESH_MAX = 100,                    /* patterns that are newer than a route, looked at */
    BUS_WAKES = 100,                        /* of one unit */
    BUS_WAIT_KEPT_MS = 24 * 60 * 60 * 1000, /* a wait that nobody ended, past its time */
};

#define BUS_RETAIN_MAX_MS (INT64_C(3660) * 86400 * 1000)

/* ---- ops.c: declarations as text, sorted; `place`: with file and line ---- */

void bus_print_group(struct buf *b, const struct group *g, bool place);
void bus_print_groups(struct buf *b, const struct groups *g, bool place);
void bus_print_topic(struct buf *b, const struct bus_topic *t, bool place);
void bus_print_topics(struct buf *b, const struct bus_topic *list, size_t count, bool place);
/* Options that can be read, patterns that fit into one set. */
int bus_groups_check(const struct groups *g, struct err *e);
int bus_topics_check(const struct bus_topic *list, size_t count, struct err *e);

/* ---- options.c ---- */

struct bus_options {
    uint16_t attempts; /* 0, NULL: the queue's default, here and below */
    bool has_backoff, has_priority;
    uint8_t priority, gates_count, needs_count;
    struct core_backoff backoff;
    uint32_t timeout_ms;
    int64_t ttl_ms, deadline_ms;
    const char *lane, *gates[CORE_GATES_MAX]; /* texts of `o` */
    struct core_label needs[CORE_LABELS_MAX];
    struct bus_start start;
};
/* `out` lives as long as `o`. ERR_INVALID names the field. */
int bus_options_read(const json_t *o, struct bus_options *out, struct err *e);

/* ---- routes.c: an immutable snapshot, counted ---- */

struct bus_declared {
    const char *group, *pattern, *queue, *source, *file, *text; /* `text`: the options */
    int line;
    bool feeding; /* the group has a place */
    json_t *held;
    struct bus_options options;
};
/* Of one tenant. Groups and topics in order of their names; a match gives numbers in them. */
struct bus_tenant {
    char *name;
    struct bus_declared *groups;
    struct bus_topic *topics;
    const char **topic_sources;
    size_t groups_count, topics_count;
    struct topic_set *by_group, *by_topic;
};
struct bus_routes {
    atomic_uint refs;
    uint64_t revision;
    bool feeding; /* some group somewhere is */
    struct bus_tenant *tenants;
    size_t tenants_count;
    pthread_mutex_t lock; /* the sets' scratch memory */
};
/* As the database has them. ERR_NOMEM and what a database can say. */
int bus_routes_load(struct db *db, uint64_t revision, struct bus_routes **out, struct err *e);
void bus_routes_unref(struct bus_routes *r); /* takes NULL */
const struct bus_tenant *bus_routes_tenant(const struct bus_routes *r, const char *tenant);
/* The snapshot of now: a reference of the caller's. Any thread. */
struct bus_routes *bus_routes_now(struct bus *b);

struct bus_route {
    struct bus_routes *routes; /* counted: what follows lies in it */
    const struct bus_declared **groups;
    const struct bus_topic *topic; /* NULL: not declared */
    char **waited;                 /* patterns; its own */
    uint64_t waited_number;
    size_t groups_count, waited_count, fed; /* `fed`: groups that get it in turn */
    char name[];
};

/* ---- waited.c: patterns that somebody waits for ---- */

struct waited_tenant;
struct bus_fresh { /* new in this entry */
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1], pattern[TOPIC_MAX + 1];
};
struct bus_patterns {
    /* The ledger's thread. `number` rises with each new pattern: as of the current unit, of the
     * units before, as committed. */
    uint64_t number, unit, committed;
    struct bus_fresh *fresh;
    size_t fresh_count, fresh_unit, stale;
    bool behind; /* what is below lacks some: for want of memory */

    pthread_mutex_t lock;
    struct waited_tenant *tenants;
    size_t count;
    uint64_t shown; /* the number that these are of */
};
void bus_patterns_init(struct bus_patterns *w);
void bus_patterns_fini(struct bus_patterns *w);
int bus_patterns_load(struct bus_patterns *w, struct db *db, struct err *e);
/* One more; *since: its number. */
int bus_patterns_next(struct bus_patterns *w, const struct apply *a, const char *pattern,
                      uint64_t *since, struct err *e);
void bus_patterns_unit(struct bus_patterns *w);
void bus_patterns_undo(struct bus_patterns *w, bool entry_too);
int bus_patterns_commit(struct bus_patterns *w, struct db *db, struct err *e);
/* Any thread. What of it matches the topic of `r`. */
uint64_t bus_patterns_number(struct bus_patterns *w);
int bus_patterns_match(struct bus_patterns *w, const char *tenant, struct bus_route *r,
                       struct err *e);
/* A condition: nobody waits since for this topic whom the route does not know. */
void bus_txn_waited(struct txn *t, const struct bus_route *r);

/* ---- feed.c, wake.c: what who leads proposes ---- */

enum bus_what { BUS_DOES_NOTHING, BUS_WAKES_SOME, BUS_FORGETS, BUS_FEEDS, BUS_SWEEPS };
/* A record that waited, and under which name. */
struct bus_waiter {
    int64_t met, place; /* told in this order */
    struct uuid record;
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1], name[BUS_WAIT_NAME_BYTES + 1];
};
struct bus_doing {
    enum bus_what what;
    struct bus_waiter waiters[BUS_WAKES];
    size_t waiters_count;
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1], group[GROUP_NAME_MAX + 1]; /* FEEDS */
    uint64_t revision;                                                 /* FEEDS */
};
/* Each adds to `t`, or leaves it empty when there is nothing to do. */
int bus_wake(struct bus *b, struct txn *t, struct err *e);
int bus_feed(struct bus *b, struct txn *t, struct err *e);
/* How it ended; whether there is more to do at once. */
bool bus_woke(struct bus *b, const struct unit *u);
bool bus_fed(struct bus *b, const struct unit *u);

/* ---- bus.c ---- */

/* over.c; the ledger's thread */
struct bus_over {
    struct queues *queues; /* NULL: nobody watches */
    struct world_timer timer;
    struct queue_ask ask;
    struct unit unit;
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1]; /* of the unit */
    int64_t after;                          /* waits up to here were looked at */
    bool asking, flying;
};
void bus_over_stop(struct bus *b);

struct bus {
    struct domain domain;
    struct db *db; /* the writer; the ledger's thread */

    /* The revision: as the current unit has it, as the units before left it, as it is committed. */
    uint64_t revision, revision_unit, revision_committed;
    bool changed; /* the snapshot is to be made again */
    struct bus_patterns waited;

    pthread_mutex_t lock;
    struct bus_routes *routes; /* never NULL once the domain is opened */

    /* clock.c; the ledger's thread */
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    struct unit unit;
    uint64_t armed_ms;              /* mono; UINT64_MAX: not set */
    int64_t woken_met, woken_place; /* waits have been told up to this one */
    int64_t spare;                  /* when the next row may go; a hint, may be too early */
    bool met;                       /* perhaps some behind it */
    struct bus_waiter gone;         /* met > 0: its record is no more, its wait is to end */
    bool stopped, flying;
    char stuck_tenant[TXN_ENVELOPE_TEXT_MAX + 1], stuck_group[GROUP_NAME_MAX + 1]; /* was refused */
    struct bus_doing doing; /* what the unit under way is about */
    struct uuid_gen gen;
    struct bus_over over;
};
/* The routes differ for whoever publishes from now on. */
int bus_next_revision(struct bus *b, const struct apply *a, struct err *e);
static inline void bus_spare(struct bus *b, int64_t at)
{
    b->spare = at < b->spare ? at : b->spare;
}

/* clock.c: an entry is committed. */
void bus_passed(struct bus *b);

/* ---- store.c. `e` is never NULL here and below. ---- */

enum bus_number {
    BUS_REVISION = 1,
    BUS_POSITION = 2,
    BUS_MET = 3,
    BUS_WAITED = 4,
    BUS_PATTERNS = 5, /* no number that is given out: how many rows bus_patterns has */
};
/* The last that was given out; 0 in the beginning. */
int bus_number(struct db *db, enum bus_number which, uint64_t *out, struct err *e);
int bus_number_add(struct db *db, enum bus_number which, int64_t delta, struct err *e);
int bus_number_next(struct db *db, enum bus_number which, uint64_t *out, struct err *e);
/* The list with room for one more, which grows by doubling; NULL: it stays as it was. */
void *bus_room(void *list, size_t count, size_t size, struct err *e);
enum bus_use { BUS_USE_BYTES = 1, BUS_USE_WAITS = 2 };
/* ERR_QUOTA past the limit. */
int bus_use_add(struct db *db, const char *tenant, enum bus_use what, int64_t delta, struct err *e);
/* A text that may be missing (p NULL), inside of the payload. */
struct bus_span {
    const char *p;
    size_t n;
};
struct bus_span bus_span(struct cursor *c, size_t max);

/* ---- publish.c ---- */

struct bus_message;
/* Of any group but the first. */
void bus_record_id(const struct uuid *message, const char *group, struct uuid *out);
/* The headers of its records: ours in front of the publisher's, which were checked. */
int bus_headers(const char *topic, const struct bus_message *m, struct buf *out, struct err *e);
/* One group's record, with these headers. Large: it was published, whatever its queue takes. */
int bus_txn_record(struct txn *t, const struct bus_declared *d, const struct uuid *id,
                   const struct bus_message *m, bool large, const char *headers, struct err *e);

/* ---- retained.c ---- */

/* Of a retained topic: its row. `retain_ms`: kept so long. */
struct bus_message;
void bus_txn_retain(struct txn *t, const char *topic, int64_t retain_ms,
                    const struct bus_message *m);

/* ---- waits.c ---- */

void bus_txn_event(struct txn *t, const struct bus_route *r, const struct bus_message *m);

/* ---- places.c ---- */

/* The place goes from `expected` to `next`; `end`: the feed ends if that is behind the last
 * message. Result: u8 1, it did. ERR_CONFLICT when applied: the place was elsewhere. */
void bus_txn_place(struct txn *t, const char *group, uint64_t expected, uint64_t next, bool end);

enum bus_place { BUS_PLACE_FEEDING = 1, BUS_PLACE_LIVE = 2, BUS_PLACE_LEFT = 3 };
/* A group appears, with that start; disappears. */
int bus_place_come(const struct apply *a, const char *group, const struct bus_start *start,
                   struct err *e);
int bus_place_go(const struct apply *a, const char *group, struct err *e);

#define BUS_APPLY(name)                                                                            \
    int bus_apply_##name(void *self, const struct apply *a, uint8_t version, struct cursor *c,     \
                         struct buf *result, struct err *e)
BUS_APPLY(groups);   /* declared.c */
BUS_APPLY(topics);   /* declared.c */
BUS_APPLY(routes);   /* bus.c */
BUS_APPLY(retain);   /* retained.c */
BUS_APPLY(place);    /* places.c */
BUS_APPLY(wait);     /* waits.c */
BUS_APPLY(event);    /* waits.c */
BUS_APPLY(wait_end); /* waits.c */
BUS_APPLY(if_waits); /* waits.c */
BUS_APPLY(sweep);    /* retained.c */
BUS_APPLY(waited);   /* waited.c */

/* waits.c: patterns that nobody waits for any more go. The routes may go on naming them. */
int bus_patterns_tidy(struct bus *b, const struct apply *a, struct err *e);
/* waits.c: those past their time, at most `max`; how many went. */
int bus_waits_sweep(const struct apply *a, uint32_t max, uint32_t *gone, struct err *e);

#endif
