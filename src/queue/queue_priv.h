/* Queue, inside its folder: the module beside the core. queue.c opens, announces, asks; clock.c
 * proposes ticks and lapses, and retires who is gone; watch.c waits for ends; tap.c lets look on;
 * noted.c tells what did not go well; * survey.c writes down what others may see, and metrics.c
 * prints it; ops.c and apply.c are the operations. */
#ifndef KOAN_QUEUE_QUEUE_PRIV_H
#define KOAN_QUEUE_QUEUE_PRIV_H

#include <pthread.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/ops_priv.h"
#include "queue/spill_priv.h"

extern const struct domain_op queue_ops[];
extern const size_t queue_ops_count;

/* Proposes what time alone brings. On the ledger's thread. */
struct queue_clock {
    struct ledger_watch watch; /* first */
    struct queues *queues;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    int64_t armed;       /* wall time at which the timer fires; INT64_MAX: not set */
    uint64_t started_ns; /* no lapse is proposed for QUEUE_GRACE_MS */
    struct unit unit;
    bool flying, stopped;
    bool swept; /* consumers of a process that is gone are retired */
};
void queue_clock_start(struct queue_clock *k, struct queues *q, struct ledger *l, struct world *w);
void queue_clock_stop(struct queue_clock *k);

/* NULL: nobody here listens for it. With the lock. */
struct queue_consumer *queue_listener(const struct queues *q, const struct uuid *id);

/* watch.c; with the lock. */
void queue_watches_tell(struct queues *q, const struct core_effect *f, size_t count);

/* What is known of the queues, for other threads: written by a walk over all, some at a time, and
 * handed over when it is whole. */
struct survey_row {
    uint32_t tenant, name; /* in `texts` */
    uint32_t scheduled, available, executing, retryable, completed, discarded, cancelled, overdue;
    uint64_t bytes, sent, acked, nacked, granted, dropped, unfit, dedups, dedups_forgotten;
    int64_t oldest_at;
};
struct survey {
    uint32_t refs; /* with the lock */
    struct survey_row *rows;
    size_t count, cap;
    struct buf texts;
    struct queue_totals totals;
};

enum { SURVEY_UNREGISTER = 16 }; /* queues whose records are discarded by one unit */

/* On the ledger's thread. */
struct queue_survey {
    struct queues *queues;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    struct survey *next; /* under way; NULL: between two walks */
    uint32_t at;
    /* Queues without a handler that are over their time, of one tenant. */
    char tenant[CORE_TEXT_MAX + 1], names[SURVEY_UNREGISTER][CORE_TEXT_MAX + 1];
    uint32_t names_count;
    struct unit unit;
    bool flying, stopped;
};
void queue_survey_start(struct queue_survey *s, struct queues *q, struct ledger *l,
                        struct world *w);
void queue_survey_stop(struct queue_survey *s);
void queue_survey_free(struct queue_survey *s); /* after the ledger */
/* The last that is whole, or NULL. Any thread; to be given back. */
struct survey *queue_survey_ref(struct queues *q);
void queue_survey_unref(struct queues *q, struct survey *v);
/* tap.c; with the lock. */
void queue_taps_tell(struct queues *q, const struct core_effect *f, size_t count, int64_t at);
/* noted.c */
void queue_noter_tell(struct queues *q, uint64_t seq, int64_t at);

enum { WATCH_CHAINS = 1024 };

struct queues {
    struct core *core;
    struct domain domain;
    struct domain_hot hot;
    struct queue_clock clock;
    struct queue_survey survey;
    struct runner *home; /* the ledger's thread */
    struct spill spill;
    uint64_t low, low_seq; /* lowest log index that is read, as of that entry */

    pthread_mutex_t lock; /* the list of who listens, and what waits for each */
    struct queue_consumer *consumers;
    struct map *names; /* of tenants and queues that grants have spoken of */
    struct list taps;
    struct queue_noter *noter;         /* NULL: nobody */
    struct list watches[WATCH_CHAINS]; /* by fingerprint */
    size_t watches_count;
    struct survey *surveyed, *spare; /* spare: its memory serves the next walk */

    struct queue_ear *ears, **ears_end;
    bool started;
    char node[CORE_TEXT_MAX + 1];

    struct send_view send_view; /* of the operation that is being applied */
    struct consumer_view consumer_view;
    struct queue_view queue_view;
};

#endif
