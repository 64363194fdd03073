/* Bus node - topics beside the queue on a real ledger, turned by the calling thread. What fails
 * there fails the test. */
#ifndef KOAN_TESTS_SUPPORT_BUS_NODE_H
#define KOAN_TESTS_SUPPORT_BUS_NODE_H

#include "bus/bus.h"
#include "support/queue_node.h"

struct bus_node {
    struct queue_node queue;
    struct bus *bus;
    bool asleep; /* nothing is fed or woken by itself; set before up */
};

void bus_node_begin(struct bus_node *f); /* then up() */
void bus_node_up(struct bus_node *f);
void bus_node_down(struct bus_node *f);
void bus_node_restart(struct bus_node *f);
void bus_node_end(struct bus_node *f);

/* The groups of scripts are these: "audit order.#", "crm customer.* {\"attempts\":8}" .. */
int bus_node_groups(struct bus_node *f, const char *const *list, size_t count);
#define BUS_NODE_GROUPS(f, ...)                                                                    \
    bus_node_groups(f, (const char *const[]){__VA_ARGS__},                                         \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
/* One topic, kept so long. */
int bus_node_topic(struct bus_node *f, const char *pattern, int64_t retain_ms, enum unrouted u);

struct bus_message bus_node_message(uint32_t n, const char *body); /* of id queue_node_id(n) */
/* By the routes of now, as who publishes does; 0, or why the unit was refused. */
int bus_node_publish(struct bus_node *f, const char *topic, uint32_t n, const char *body);
/* By a route that was taken before. */
int bus_node_publish_by(struct bus_node *f, const struct bus_route *r, const struct bus_message *m);
struct bus_route *bus_node_route(struct bus_node *f, const char *topic);

/* How many records of a queue are in this state; 0 where there is no queue. */
uint64_t bus_node_count(struct bus_node *f, const char *queue, enum rec_state state);
/* Turns until that many are, or fails. */
void bus_node_until(struct bus_node *f, const char *queue, enum rec_state state, uint64_t count);
/* Bodies of the records of a queue in that state, in order, divided by spaces. */
const char *bus_node_bodies(struct bus_node *f, const char *queue, enum rec_state state);
void bus_node_turn(struct bus_node *f);

#endif
