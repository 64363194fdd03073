/* What the files of the queue's scenario share: queue_sim.c (the node, its lives, what must hold),
 * queue_acts.c (what is sent and operated, units and their answers), queue_hands.c (consumers). */
#ifndef KOAN_TESTS_SIM_QUEUE_SIM_H
#define KOAN_TESTS_SIM_QUEUE_SIM_H

#include "queue/queue.h"
#include "queue/queue_priv.h"
#include "sim/house.h"
#include "sim/queue_book.h"

enum { JOBS_MAX = 64, CREDIT_MAX = 4, CONSUMER_LEASE_MS = 3000 };

struct job {
    uint32_t note;
    uint64_t token;
};

struct consumer_sim {
    struct queue_consumer c; /* first */
    struct node *node;
    uint32_t index, jobs_count;
    struct job jobs[JOBS_MAX];
    bool gone;
    uint64_t dead_until_ns; /* does nothing, not even renew */
};

struct node {
    struct house h; /* first */
    struct queues *queues;
    struct book book;
    struct consumer_sim consumers[BOOK_CONSUMERS];
    uint64_t opened_ns;
    bool peace, live;
};

enum act_kind { ACT_SEND, ACT_SETTLE, ACT_OPEN, ACT_RENEW, ACT_LEAVE, ACT_OPERATE };

/* A unit under way. */
struct act {
    struct house_unit u; /* first */
    struct node *node;
    enum act_kind kind;
    struct note *note, *sends; /* settled or operated on; sent with it */
    uint32_t consumer, send_op;
    uint32_t *may; /* of the note: what it may come to */
    enum core_outcome outcome;
    uint64_t token;
    uint32_t lease_ms;
    bool forged, fails;
};

/* ---- queue_acts.c ---- */
extern const char *const queue_sim_names[BOOK_QUEUES];
struct act *queue_act_new(struct node *n, enum act_kind kind);
/* A new record, sent in the unit of `a` as its next operation. */
void queue_act_send(struct act *a);
/* What was done with a record: the name of its row. */
#define WORK_NAME 16
const char *queue_work_name(uint32_t note, char room[WORK_NAME]);
void queue_act_propose(struct act *a);
void queue_sim_send(struct node *n);
void queue_sim_operate(struct node *n);
void queue_sim_declare(struct node *n);

/* ---- queue_hands.c ---- */
void queue_hand_begin(struct consumer_sim *s, struct node *n, uint32_t index);
void queue_hand_open(struct consumer_sim *s);
void queue_hand_turn(struct consumer_sim *s);

#endif
