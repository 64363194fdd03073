/* Bringing what a set declares of queues to those that are there. */
#ifndef KOAN_BIND_QUEUE_DEPLOY_H
#define KOAN_BIND_QUEUE_DEPLOY_H

#include "bind/bind_priv.h"
#include "queue/queue.h"

struct bind_queue;
struct txn;

/* What differs: part of the caller's struct, zeroed. */
struct bind_queues_change {
    struct queue_ask ask;
    const struct bind_set *set;
    const struct bind_queue **wanted; /* of the set: new ones, and changed ones */
    struct core_queue *left;          /* whose handler is in the set no more; texts are ours */
    struct core_queue *canon;         /* of its models, which are not there yet; so are these */
    size_t wanted_count, left_count, canon_count;
    size_t canons;                              /* models of the set */
    void (*done)(struct bind_queues_change *c); /* on the thread that asked */
};

/* On script thread 0. false: there is nothing to ask, done() does not come. */
bool bind_queues_ask(struct bind_queues_change *c, struct bind *b, const struct bind_set *set);
/* The operations, behind those that stand there. */
void bind_queues_add(const struct bind_queues_change *c, struct txn *t);
void bind_queues_change_fini(struct bind_queues_change *c);

#endif
