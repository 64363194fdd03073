/* Queue book - what is known of the records of a simulated queue from outside: what was proposed
 * and answered, and what each entry told when it was committed. It knows nothing of the rules by
 * which the core chooses; it says what must not be, and fails the simulation (sim_fail). */
#ifndef KOAN_TESTS_QUEUE_BOOK_H
#define KOAN_TESTS_QUEUE_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/core.h"

struct sim;

enum { NOTES_MAX = 1500, BOOK_QUEUES = 3, BOOK_KEYS = 4, BOOK_CONSUMERS = 4 };

/* Of the queues "q0", "q1" and "q2" the second keeps what ended, the dead letters of the third go
 * into the first. */
enum { QUEUE_KEEPS = 1, QUEUE_HANDS_ON = 2 };

enum fate { FATE_UNKNOWN, FATE_YES, FATE_NO };

/* What a consumer has. A zone is there or not; `gpu` of those of the node is for all of them. */
struct book_labels {
    uint32_t gpu;
    bool zone, of_node, only_gpu;
};
extern const struct book_labels book_labels[BOOK_CONSUMERS];

/* A record, or one that was to be. */
struct note {
    struct uuid id;
    uint64_t fingerprint;
    uint32_t queue, key; /* key 0: none */
    uint32_t attempts, timeout_ms;
    bool delayed, limited; /* limited: it has a ttl */
    bool poison;           /* who gets it dies */
    uint32_t gpu;          /* that it needs, while it executes */
    bool zone;             /* it needs that too */
    enum fate sent;
    /* Proposed, and not known to be refused. */
    uint32_t may_ack, may_nack, may_reject, may_cancel, may_purge;
    uint32_t retried; /* or moved: then it may begin, and end, again */
    bool acked;       /* and this was answered */
    /* Of the last grant that was seen. */
    uint64_t token, settled; /* settled: the token with which it was */
    bool held;               /* nothing was seen or proposed that ends it */
    int64_t granted_at, own_from, own_until;
    uint32_t consumer;
    bool ended;
};

struct book_consumer {
    struct uuid id;
    int64_t lease_until; /* at least so long, by what was answered */
    uint32_t leaves;     /* proposed, not answered: it may let go of all at any moment */
};

struct book {
    struct sim *sim;
    struct note *notes;
    uint32_t count;
    struct book_consumer consumers[BOOK_CONSUMERS];
    uint64_t *hashes; /* of the core, by entry; 0: not seen */
    size_t hashes_cap;
    uint64_t seen; /* the last entry */
    uint64_t granted, lost, ended;
};

void book_init(struct book *b, struct sim *s);
void book_fini(struct book *b);
/* NULL when there is no room. */
struct note *book_add(struct book *b);
/* An entry was committed. `lapses`: leases may be over by now (QUEUE_GRACE_MS). */
void book_entry(struct book *b, const struct core *c, uint64_t seq, int64_t at, bool lapses);
/* The state is what it was when this entry was seen first. */
void book_same(struct book *b, const struct core *c);
/* The node is there again. */
void book_opened(struct book *b, const struct core *c);
/* All records. `times(arg, n)`: how often the work of record n is there. */
void book_check(struct book *b, const struct core *c, int64_t (*times)(void *arg, uint32_t n),
                void *arg); /* What it was granted up to this entry it may hold no more. */
void book_unsure(struct book *b, uint32_t consumer, uint64_t seq);

#endif
