/* Queue kit - a core in a test: entries that follow each other, records with small numbers for ids,
 * and calls that fail the test when they fail. Tenant "a" and its handled queue "q" are there. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_KIT_H
#define KOAN_TESTS_SUPPORT_QUEUE_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "queue/core.h"

struct queue_kit {
    struct core *c;
    uint64_t seq;
    uint32_t offset; /* in the entry */
    int64_t now;
    struct err e;
    struct core_sent sent; /* the last one */
};

/* A test case whose *state is a kit; what it leaves behind of memory is a failure. */
#define KIT_TEST(name) cmocka_unit_test_setup_teardown(name, kit_before, kit_after)
int kit_before(void **state);
int kit_after(void **state);

struct uuid kit_id(uint32_t n);
struct uuid kit_consumer_id(uint32_t n);
uint64_t kit_place(struct queue_kit *k);
/* An entry begins, that much later. */
void kit_pass(struct queue_kit *k, int64_t ms);

/* What is left out is: tenant "a", queue "q", the id and place of record n. */
int kit_try_send(struct queue_kit *k, uint32_t n, struct core_send s);
void kit_send_(struct queue_kit *k, uint32_t n, struct core_send s);
#define kit_send(k, n, ...) kit_send_(k, n, (struct core_send){__VA_ARGS__})
/* The queue of tenant "a"; what is left out is as by default, and handled. */
#define kit_queue(k, queue_name, ...)                                                              \
    do {                                                                                           \
        struct core_queue q_ = {0};                                                                \
        core_queue_defaults(&q_);                                                                  \
        q_.tenant = "a";                                                                           \
        q_.name = queue_name;                                                                      \
        q_.handled = true;                                                                         \
        __VA_ARGS__;                                                                               \
        kit_declare_(k, &q_);                                                                      \
    } while (0)
void kit_declare_(struct queue_kit *k, const struct core_queue *q);
/* A worker for all handled queues. */
void kit_open_(struct queue_kit *k, uint32_t n, struct core_consumer c);
#define kit_open(k, n, ...)                                                                        \
    kit_open_(k, n, (struct core_consumer){.worker = true, .node = "n", .credit = __VA_ARGS__})
void kit_gate_(struct queue_kit *k, struct core_gate g);
#define kit_gate(k, gate, ...) kit_gate_(k, (struct core_gate){.name = gate, __VA_ARGS__})

/* With the token that it has. */
struct core_settle kit_settlement(struct queue_kit *k, uint32_t n, enum core_outcome outcome);
void kit_settle(struct queue_kit *k, uint32_t n, enum core_outcome outcome);
#define kit_settle_with(k, n, outcome_, ...)                                                       \
    do {                                                                                           \
        struct core_settle s_ = kit_settlement(k, n, outcome_);                                    \
        __VA_ARGS__;                                                                               \
        kit_settled_(k, &s_);                                                                      \
    } while (0)
void kit_settled_(struct queue_kit *k, const struct core_settle *s);

struct core_view kit_look(struct queue_kit *k, uint32_t n);
/* 0: it is gone. */
enum rec_state kit_state(struct queue_kit *k, uint32_t n);
struct core_counts kit_counts(struct queue_kit *k, const char *queue);
/* The effects of this kind since the entry began; the last of them in *out, if that is not NULL. */
size_t kit_effects(struct queue_kit *k, enum core_effect_kind kind, struct core_effect *out);
/* The state, twice: must be equal. */
struct core *kit_copy(struct queue_kit *k);

#endif
