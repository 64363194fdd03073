/* Queue node - the queue on a real ledger in a folder of its own, turned by the calling thread.
 * What fails there fails the test. Its queue is most often "mail", of the default tenant. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_NODE_H
#define KOAN_TESTS_SUPPORT_QUEUE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger/domain.h"
#include "queue/queue.h"
#include "support/ledger_kit.h"

struct queue_node {
    struct kit_node node;
    struct queues *queues;
    struct domain domain;
    struct queue_ear *ear; /* NULL: none; set before queue_node_up() */
};

void queue_node_begin(struct queue_node *f); /* then up() */
void queue_node_up(struct queue_node *f);    /* its name is "n" */
void queue_node_down(struct queue_node *f);
void queue_node_restart(struct queue_node *f);
void queue_node_end(struct queue_node *f); /* down, and its folder goes */
/* The same where its loop has a thread of its own by now. */
void queue_node_end_thread(struct queue_node *f);

struct uuid queue_node_id(uint32_t n);
int queue_node_declare(struct queue_node *f, const char *name);
/* To "mail", with one header and a correlation. */
struct queue_message queue_node_message(uint32_t n, const char *body);
int queue_node_send(struct queue_node *f, const struct queue_message *m);
/* With the text "done". */
int queue_node_settle(struct queue_node *f, uint32_t n, uint64_t token, enum core_outcome outcome);
int queue_node_look(struct queue_node *f, uint32_t n, struct core_view *out);

/* A consumer of "mail". */
struct queue_taker {
    struct queue_consumer consumer;
    struct queues *queues;
    struct core_effect *got; /* what came last */
    size_t count;
    bool gone;
};
void queue_taker_open(struct queue_node *f, struct queue_taker *t, uint32_t credit);
/* Until so many came at once. */
void queue_taker_wait(struct queue_node *f, struct queue_taker *t, size_t count);
/* It says nothing to the core. */
void queue_taker_close(struct queue_node *f, struct queue_taker *t);

#endif
