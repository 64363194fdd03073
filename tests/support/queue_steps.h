/* Queue steps - random calls of the queue core as data, so that a run can be printed, and run again
 * without some of its steps.
 *
 * The universe is small: 3 tenants, 6 queues, 4 lanes, 3 gates a tenant, 5 consumers, few keys. A
 * step names records by the number of the step that sent them, and tokens by "the present one", so
 * it means the same when others before it are left out. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_STEPS_H
#define KOAN_TESTS_SUPPORT_QUEUE_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "queue/core.h"

struct queue_model;

enum { STEP_QUEUES = 6, STEP_LANES = 4, STEP_GATES = 3, STEP_CONSUMERS = 5, STEP_CHOICES = 20 };

enum step_kind {
    STEP_ENTRY = 1,
    STEP_UNIT,
    STEP_UNDO_UNIT,
    STEP_UNDO_ENTRY, /* and begins it again */
    STEP_RELOAD,     /* saved and loaded, and an entry begun */
    STEP_SEND,
    STEP_SETTLE,
    STEP_OPEN,
    STEP_RENEW,
    STEP_LEAVE,
    STEP_RETIRE,
    STEP_LAPSE,
    STEP_LAPSE_RECORD,
    STEP_CANCEL,
    STEP_RETRY,
    STEP_WAKE,
    STEP_MOVE,
    STEP_EDIT,
    STEP_PURGE,
    STEP_DECLARE,
    STEP_DROP,
    STEP_UNREGISTER,
    STEP_ABANDON,
    STEP_PAUSE,
    STEP_CLOSE,
    STEP_LANE,
    STEP_TENANT,
    STEP_GATE,
    STEP_GATE_CLOSE,
    STEP_GATE_BACKOFF,
};

struct queue_step {
    enum step_kind kind;
    uint32_t number; /* of the step in the run; its record's id and place come from it */
    uint32_t target; /* step that sent the record; index of the consumer */
    uint32_t queue, gate, lane;
    bool wrong_token, flag;
    int64_t ms;
    uint8_t choice[STEP_CHOICES];
};

/* What fits the present state of `m` more often than not. */
void queue_step_draw(struct queue_step *s, uint32_t number, const struct queue_model *m,
                     uint64_t *random);
void queue_step_print(const struct queue_step *s, FILE *f);

/* ---- what a step says ---- */
struct uuid queue_step_id(uint32_t number);
struct uuid queue_step_consumer_id(uint32_t index);
const char *queue_step_tenant(uint32_t queue);
const char *queue_step_queue(uint32_t queue);
const char *queue_step_lane(uint32_t lane);
const char *queue_step_gate(uint32_t gate);
/* The arrays that a send or a consumer points to. */
struct queue_step_texts {
    struct core_label labels[3];
    struct core_backoff backoff;
    const char *names[4];
    const char *only[1];
    struct core_send sending;
};
void queue_step_send(const struct queue_step *s, int64_t now, uint64_t seq, struct core_send *out,
                     struct queue_step_texts *texts);
void queue_step_open(const struct queue_step *s, struct core_consumer *out,
                     struct queue_step_texts *texts);
void queue_step_settle(const struct queue_step *s, int64_t now, uint64_t seq, uint64_t token,
                       struct core_settle *out);
void queue_step_declare(const struct queue_step *s, struct core_queue *out,
                        struct queue_step_texts *texts);
uint32_t queue_step_lease(const struct queue_step *s); /* of one that retires */
uint32_t queue_step_cap(const struct queue_step *s);
uint32_t queue_step_weight(const struct queue_step *s);
void queue_step_gate_of(const struct queue_step *s, struct core_gate *out);

#endif
