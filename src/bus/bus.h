/* Bus - topics: who publishes knows a topic, who listens a pattern, and neither knows the other.
 *
 *     publish "order.placed" --+-- group "audit",   order.#  --> one record in queue group.audit
 *                              +-- group "billing", order.*  --> one record in queue group.billing
 *
 * Each group that a topic matches has one record of its own, in queue group.NAME, in the same unit
 * of work as all else that the publisher does. From there on it is a record like any other: the
 * members of a group compete for it, a retry is seen by that group alone.
 *
 * Routes. The queue decides by the payload of its operations and its own memory, and a start runs
 * these again without the database; so it cannot look up who listens. Who publishes does that
 * beforehand, and the unit says by which routes it was made:
 *
 *     bus_route()          the groups of a topic as of now, from a snapshot that any thread reads
 *     bus_txn_routes()     a condition: the routes still have this revision
 *     bus_txn_publish()    a send for each group, and what retained topics and waits want
 *
 * The revision is a number in the ledger that rises with every change of the routes, so a publish
 * and a deploy have an order: either the message is routed by the new groups or it was committed
 * before them. A unit that came too late is refused with ERR_CONFLICT and bus_is_stale() says so
 * of its route; whoever built it routes and builds again, BUS_TRIES times at most. What is asked
 * again costs nothing that was not there: only a deploy, the end of a feed, and somebody who waits
 * for just this topic by a pattern that was not there, come between.
 *
 * Several patterns of one group may match a topic: it is still one record. Which declaration is
 * meant, its options and its handler, is the rule of groups_pick() (group.h), the same for who
 * publishes and for who works.
 *
 * Nobody listens: a mandatory message is refused (bus_mandatory()); a topic that says so drops it;
 * a retained topic has it in any case; else it is a record in queue UNROUTED_QUEUE, discarded as
 * `no_subscriber` at once, where it is found, and from where it can be published again.
 *
 * Retained topics keep their messages in a table, in the order of the log, each with a position.
 * A group that is declared with a `start`, or rewound, has a place there: as long as it is behind,
 * live messages of retained topics pass it by, and who leads feeds it from the table, a bounded
 * part in each unit, which moves its place from where it was and no other way. When it has come to
 * the end the place goes, and the routes have another revision: no message is missed or doubled.
 *
 * Waits: a record may wait for one message (a job's wait_for). A publish whose topic is waited for
 * stores the message with the waits that it meets; who leads wakes their records. Waits of a record
 * that has ended are forgotten within a few seconds: one that is tried again later waits anew, for
 * what comes from then on.
 *
 * Formats: schema/bus-operations.md. */
#ifndef KOAN_BUS_BUS_H
#define KOAN_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/uuid.h"
#include "bus/group.h"

struct bus;
struct bus_route;
struct db;
struct domain;
struct ledger;
struct queue_message;
struct queues;
struct txn;
struct world;

enum {
    BUS_TRIES = 5,                     /* of a unit whose routes changed under it */
    BUS_ROUTE_GROUPS_MAX = 500,        /* that one topic may have */
    BUS_TOPICS_MAX = 1000,             /* declared */
    BUS_WAITS_MAX = 100 * 1000,        /* of a tenant */
    BUS_WAITS_PATTERN_MAX = 10 * 1000, /* for one pattern */
    BUS_PATTERNS_MAX = 10 * 1000,      /* waited for */
    BUS_WAIT_NAME_BYTES = 128,
    BUS_FEED_ROWS = 100, /* of one unit */
    BUS_FEED_BYTES = 1 << 20,
    BUS_SWEEP_ROWS = 1000,        /* of one unit */
    BUS_EVENT_MS = 86400000,      /* an event that comes again within it is a duplicate */
    BUS_RETAINED_BYTES = 1 << 30, /* of a tenant; then publishing there is refused */
};
#define BUS_QUEUE_PREFIX "group."
/* Headers of every record. A publisher may not give them; in any case of letters. */
#define BUS_HEADER_TOPIC "topic"
#define BUS_HEADER_ID "message-id"

struct bus *bus_new(void);
void bus_free(struct bus *b); /* takes NULL; after the ledger */
/* For ledger_open(). Lives as long as `b`. */
const struct domain *bus_domain(struct bus *b);
/* Feeds, wakes and sweeps from now on, while this node leads. On the thread of `w`, which is the
 * ledger's. */
void bus_start(struct bus *b, struct ledger *l, struct world *w);
/* Forgets waits of records that are over, from now on and while this node leads. On the same
 * thread, after bus_start() and queues_start(). */
void bus_watch(struct bus *b, struct queues *q);
/* Proposes nothing more. On the same thread, before ledger_close(). */
void bus_stop(struct bus *b);

/* ---- who listens ---- */

/* "scripts" */
#define BUS_SOURCE_SCRIPTS "scripts"

/* The declarations of one source, all of them, for the unit's tenant. Members of `options` that
 * the bus reads, times in ms, each absent for the default of the queue:
 *     attempts, backoff ([ms, ..] or {"first", "cap"}), timeout, ttl, deadline, priority, lane,
 *     gate ["..", ..], needs {"name": true | "text" | number},
 *     start "new" (default) | "first" | RFC 3339 | {"position": n}
 * Others are the caller's and only shown. ERR_INVALID names the group, ERR_TOO_LARGE. */
int bus_txn_groups(struct txn *t, const char *source, const struct groups *g, struct err *e);
/* Nothing would change, places in files included. Any thread. */
bool bus_groups_are(struct bus *b, const char *tenant, const char *source, const struct groups *g);
/* The queue of each group that is declared now and is not in `g`; once for each of its patterns.
 * Any thread. */
typedef void bus_gone_cb(void *arg, const char *queue);
void bus_groups_gone(struct bus *b, const char *tenant, const char *source, const struct groups *g,
                     bus_gone_cb *each, void *arg);

/* One topic, or all that a pattern matches. Where several do, the one that is last in bytewise
 * order of patterns. */
struct bus_topic {
    const char *pattern;
    int64_t retain_ms; /* 0: not retained */
    enum unrouted unrouted;
    const char *file;
    int line;
};
int bus_txn_topics(struct txn *t, const char *source, const struct bus_topic *list, size_t count,
                   struct err *e);
bool bus_topics_are(struct bus *b, const char *tenant, const char *source,
                    const struct bus_topic *list, size_t count);

/* ---- publishing ---- */

/* Where a message of this topic goes now. Any thread. On success the caller owns *out.
 * ERR_INVALID for the topic, ERR_TOO_LARGE past BUS_ROUTE_GROUPS_MAX, ERR_NOMEM. */
int bus_route(struct bus *b, const char *tenant, const char *topic, struct bus_route **out,
              struct err *e);
void bus_route_free(struct bus_route *r);   /* takes NULL */
void bus_route_freep(struct bus_route **r); /* for AUTO */
uint64_t bus_route_revision(const struct bus_route *r);
/* Groups that get a record at once; those that are being fed get theirs in turn. */
size_t bus_route_count(const struct bus_route *r);
const char *bus_route_group(const struct bus_route *r, size_t i);
/* The id that group's record has when a message with this id is published: of the first group the
 * message's own, of others made from it and the group's name. */
void bus_route_record(const struct bus_route *r, size_t i, const struct uuid *message,
                      struct uuid *out);
/* ERR_NOT_FOUND when nobody listens, also none that is being fed. */
int bus_mandatory(const struct bus_route *r, struct err *e);
/* What the routes have now; and whether `r` is older. Any thread. */
uint64_t bus_revision(struct bus *b);
bool bus_is_stale(struct bus *b, const struct bus_route *r);

struct bus_message { /* zero-initialise */
    struct uuid id;  /* the publisher's, never zero */
    const char *key, *dedup;
    int64_t dedup_ms;    /* known for so long at least; 0: the window of the group's queue */
    const char *type;    /* media type of the body; NULL: application/json */
    const char *headers; /* a JSON object of texts; NULL: none */
    const char *correlation, *traceparent;
    uint64_t script; /* as of a queue_message */
    const void *body;
    size_t body_len;
    int64_t run_at, ttl_ms; /* 0: at once; the group's */
    bool has_priority;
    uint8_t priority; /* else the group's */
};
/* The condition. One is enough for all routes of a unit that have the same revision. */
void bus_txn_routes(struct txn *t, const struct bus_route *r);
/* The operations: bus_route_count() sends first, in that order, each with a result for
 * queue_sent_read(); without any group the record in UNROUTED_QUEUE, if one is kept; then what else
 * there is, each with a result, and last a condition, which has none. ERR_INVALID (reserved headers
 * among it) and ERR_TOO_LARGE: the transaction is not to be used. */
int bus_txn_publish(struct txn *t, const struct bus_route *r, const struct bus_message *m,
                    struct err *e);
/* A unit with so many messages by this route has come through. Counts those that nobody listened
 * to. Any thread. */
void bus_published(const struct bus_route *r, size_t messages);

/* ---- retained messages ---- */

enum bus_from { BUS_FROM_FIRST, BUS_FROM_NEW, BUS_FROM_TIME, BUS_FROM_POSITION };
struct bus_start {
    enum bus_from from;
    int64_t at;        /* TIME: the first message of then or later */
    uint64_t position; /* POSITION: that message, or the first that is still there behind it */
};
/* "first", "new", RFC 3339, {"position": n}. ERR_INVALID names field `start`. */
int bus_start_read(const json_t *v, struct bus_start *out, struct err *e);
/* The group is fed from there on. ERR_NOT_FOUND: nobody declares it. */
void bus_txn_rewind(struct txn *t, const char *group, const struct bus_start *to);

/* ---- waits ---- */

struct bus_wait {
    struct uuid record;
    const char *name; /* 1..BUS_WAIT_NAME_BYTES; one record may have several waits */
    const char *pattern;
    const char *key; /* NULL: any */
    int64_t until;   /* some time after it the wait is forgotten, met or not */
};
/* From this unit on. One that is there already stays as it is. ERR_INVALID: nothing was added.
 * Refused when applied: ERR_QUOTA. */
int bus_txn_wait(struct txn *t, const struct bus_wait *w, struct err *e);
/* A condition: it has this wait, and no message came. ERR_CONFLICT. */
void bus_txn_if_waits(struct txn *t, const struct uuid *record, const char *name);
/* It is forgotten; nothing happens when there is none. */
void bus_txn_wait_end(struct txn *t, const struct uuid *record, const char *name);

enum bus_waited { BUS_WAIT_NONE, BUS_WAIT_OPEN, BUS_WAIT_MET };
/* The message that came. Texts and body lie in `held`, NULL where not given. */
struct bus_met {
    int64_t until; /* of the wait; all else only of BUS_WAIT_MET */
    struct uuid id;
    int64_t at;
    const char *topic, *key, *type, *headers;
    const void *body;
    size_t body_len;
    struct buf held;
};
void bus_met_fini(struct bus_met *m);
/* Any thread, with a reading connection of its own. On success `met` is the caller's to give up,
 * whatever *out is. */
int bus_wait_read(struct db *reader, const char *tenant, const struct uuid *record,
                  const char *name, enum bus_waited *out, struct bus_met *met, struct err *e);

/* ---- looking ---- */

/* Groups that are fed, of all tenants, and the one that is furthest behind. */
struct bus_lag {
    uint32_t groups;
    char group[GROUP_NAME_MAX + 1]; /* "" without one */
    uint64_t next;                  /* the position it comes to next */
    uint64_t messages;              /* from there on, of all topics */
};
/* Any thread. */
int bus_lag(struct db *db, struct bus_lag *out, struct err *e);
/* {"revision", "groups": [{"group", "pattern", "queue", "options", "file", "line", "behind"}],
 * "topics": [{"pattern", "retain_ms", "unrouted", "file", "line"}]}: a new reference. Any thread.
 */
json_t *bus_show(struct bus *b, const char *tenant);

#endif
