/* What the files of the bus's scenario share: bus_sim.c (the node, its lives), bus_acts.c (who
 * deploys, publishes and waits), bus_check.c (what must hold). */
#ifndef KOAN_TESTS_SIM_BUS_SIM_H
#define KOAN_TESTS_SIM_BUS_SIM_H

#include "bus/bus_priv.h"
#include "queue/queue.h"
#include "sim/house.h"

enum {
    PUBLISHERS = 4,
    GROUPS = 4,
    TOPICS = 3, /* the last is retained */
    MESSAGES_MAX = 1500,
    DEPLOYS_MAX = 400,
    WAITERS_MAX = 300,
};

/* Who listens, behind one deploy: a bit for each topic. */
struct deploy {
    uint64_t seq; /* 0: not acknowledged */
    uint8_t hears[GROUPS];
    bool over;
};
struct message {
    struct uuid id;
    int topic;
    uint64_t seq; /* 0: not acknowledged */
    bool over;    /* nothing of it is under way */
};

struct waiter {
    struct uuid record;
    char pattern[32];
    const struct message *only; /* by its key; NULL: any */
    uint64_t seq;               /* 0: not acknowledged */
    bool ended;                 /* or may be */
    bool woken;
};

struct node;
struct publisher {
    struct node *node;
    struct message *message; /* under way */
    struct bus_route *route;
    bool sent; /* else it has only looked who listens */
    struct house_unit u;
};
struct node {
    struct house h; /* first */
    struct queues *queues;
    struct bus *bus;
    struct publisher publishers[PUBLISHERS];
    struct message *messages;
    struct deploy *deploys; /* the first: nobody listens */
    size_t messages_count, deploys_count;
    bool deploying, waiting;
    struct house_unit deploy, wait;
    struct waiter *waiters, *ending; /* `ending`: that one, under way */
    size_t waiters_count;
};

/* ---- bus_acts.c ---- */
extern const char *const bus_sim_topics[TOPICS], *const bus_sim_groups[GROUPS];
void bus_sim_deploy(struct node *n);
void bus_sim_wait(struct node *n);
void bus_sim_publish(struct publisher *p);
/* All that is under way comes to its end. */
void bus_sim_settle(struct node *n);
bool bus_sim_is_idle(const struct node *n);

/* ---- bus_check.c ---- */
/* B1. How many records the group that is fed has. */
uint64_t bus_sim_check(struct node *n);
/* B2: the group that is fed listens again, and has each retained message once; */
void bus_sim_check_fed(struct node *n);
/* who waited for a message that came has been woken. */
void bus_sim_check_waits(struct node *n);
/* Notes who has been woken. */
void bus_sim_look_waits(struct node *n);
bool bus_sim_is_met(const struct node *n, const struct waiter *w);

#endif
