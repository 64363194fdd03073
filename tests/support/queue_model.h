/* Queue model - the rules of queue/core.h a second time, for tests: arrays, linear search, and a
 * copy of all of it to go back to. Written from that header alone; it shares no code with src/queue
 * but the two functions that the header gives away (core_fingerprint, core_backoff_ms).
 *
 * The calls are those of the core, model_ for core_, with the same arguments and codes; messages
 * are not modelled. It aborts where a test asks for more than MODEL_* of anything. Undo and save
 * have nothing to prove here: the model goes back by copying, and is never saved. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_MODEL_H
#define KOAN_TESTS_SUPPORT_QUEUE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/core.h"

enum {
    MODEL_RECORDS = 160,
    MODEL_QUEUES = 16,
    MODEL_LANES = 8,
    MODEL_TENANTS = 4,
    MODEL_GATES = 12,
    MODEL_CONSUMERS = 8,
    MODEL_DEDUPS = 160,
    MODEL_EFFECTS = 600,
    MODEL_LABELS = 4,
    MODEL_SUBSCRIBED = 4,
    MODEL_TEXT = 16,
};

struct model_label {
    char name[MODEL_TEXT], text[MODEL_TEXT];
    uint32_t number;
};

/* How records are sent: what is said, as a queue says it or a sender. Not said: negative, "", or
 * false. */
struct model_says {
    int64_t ttl_ms, deadline_ms, timeout_ms;
    int priority, attempts;
    char lane[MODEL_TEXT];
    struct {
        bool said;
        struct core_backoff backoff;
    } waits;
    struct {
        bool said;
        uint8_t count;
        char gates[CORE_GATES_MAX][MODEL_TEXT];
    } at;
    struct {
        bool said;
        uint8_t count;
        struct model_label needs[MODEL_LABELS];
    } asks;
};

struct model_record {
    struct uuid id;
    char tenant[MODEL_TEXT], queue[MODEL_TEXT], lane[MODEL_TEXT];
    char key[MODEL_TEXT], unique[MODEL_TEXT]; /* "": none, as for all texts here */
    char gates[CORE_GATES_MAX][MODEL_TEXT];
    struct model_label needs[MODEL_LABELS];
    uint8_t gates_count, needs_count, priority;
    uint64_t place, body, result;
    uint64_t errors[CORE_ERRORS_KEPT]; /* places, newest last */
    uint32_t errors_count, bytes;
    enum rec_state state; /* 0: gone, to be swept */
    enum rec_reason reason;
    int64_t run_at;      /* by which it is chosen */
    int64_t due;         /* SCHEDULED, RETRYABLE: runs */
    int64_t expires_at;  /* INT64_MAX: never */
    int64_t deadline_at; /* of snoozes and closed gates */
    int64_t deadline_ms, ended_at;
    uint32_t timeout_ms, attempts, attempts_max, deliveries;
    struct core_backoff backoff;
    bool edited; /* the body is an edit's */
    bool snoozed;
    bool alarmed;     /* the deadline was looked at */
    bool asked;       /* to cancel */
    bool joined;      /* stands in the line of its key */
    int64_t line;     /* where in it: smaller is before */
    bool halts;       /* a dead letter that its key waits for */
    uint64_t ended;   /* counts ends, so of two the first is known */
    uint64_t granted; /* the entry of the last grant */
    uint64_t token;   /* EXECUTING, with what follows */
    struct uuid consumer;
    int64_t own_lease; /* 0: the consumer's */
    int64_t timeout_at;
    char died[CORE_DIED_MAX][MODEL_TEXT];
    uint32_t died_count;
    struct model_says own; /* what its sender said */
};

struct model_queue {
    char tenant[MODEL_TEXT], name[MODEL_TEXT], dead_to[MODEL_TEXT];
    struct core_queue settings; /* its texts point nowhere */
    struct model_says says;
    char script[MODEL_TEXT]; /* "": people */
    uint32_t scripted;
    bool left; /* while it is declared: by no script any more */
    bool paused, closed;
    uint64_t sent, acked, nacked, granted, dropped;
    int64_t unhandled_at;
    bool named; /* by a consumer, when all was done last */
};

struct model_lane {
    char name[MODEL_TEXT];
    uint32_t weight, cap;
    uint64_t time;
    uint64_t tenant_time[MODEL_TENANTS], tenant_clock;
};

struct model_tenant {
    char name[MODEL_TEXT];
    uint32_t weight;
};

struct model_gate {
    char tenant[MODEL_TEXT], name[MODEL_TEXT];
    uint32_t capacity, rate;
    int64_t per_ms, closed_until;
    int64_t tat_us; /* theoretical arrival time */
};

struct model_consumer {
    struct uuid id;
    bool worker, retired, of_node;
    char tenant[MODEL_TEXT], node[MODEL_TEXT];
    char queues[MODEL_SUBSCRIBED][MODEL_TEXT], only[MODEL_LABELS][MODEL_TEXT];
    struct model_label labels[MODEL_LABELS];
    uint32_t queues_count, only_count, labels_count, credit, lease_ms;
    int64_t expires_at;
    uint64_t turn;
};

struct model_dedup {
    char tenant[MODEL_TEXT], queue[MODEL_TEXT], text[MODEL_TEXT];
    struct uuid id;
    int64_t until;
};

struct model_state {
    uint64_t seq, turns, grants, ends;
    int64_t line_front, line_end;
    int64_t now;
    uint64_t lane_clock;
    size_t records, queues, lanes, tenants, gates, consumers, dedups, effects;
    struct model_queue queue[MODEL_QUEUES];
    struct model_lane lane[MODEL_LANES];
    struct model_tenant tenant[MODEL_TENANTS];
    struct model_gate gate[MODEL_GATES];
    struct model_consumer consumer[MODEL_CONSUMERS];
    struct model_dedup dedup[MODEL_DEDUPS];
    struct model_record record[MODEL_RECORDS]; /* in order of place; last: copies end with them */
};

struct queue_model {
    struct model_state s, unit, entry; /* now, and what to go back to */
    struct core_effect effect[MODEL_EFFECTS];
    uint64_t settled;         /* while a settle is applied: the place of its text */
    struct queue_model *then; /* where model_next_change() looks ahead */
};

struct queue_model *model_new(void);
void model_free(struct queue_model *m);

int model_entry(struct queue_model *m, uint64_t seq, int64_t at);
void model_unit(struct queue_model *m);
void model_undo(struct queue_model *m, bool entry_too);
/* The earliest time from now on at which an entry without units would change something. */
int64_t model_next_change(const struct queue_model *m);

int model_declare(struct queue_model *m, const struct core_queue *q);
int model_drop(struct queue_model *m, const char *tenant, const char *name, bool force);
int model_unregister(struct queue_model *m, const char *tenant, const char *name, uint32_t *count);
void model_abandon(struct queue_model *m, const char *tenant, const char *name);
int model_pause(struct queue_model *m, const char *tenant, const char *name, bool paused);
int model_close(struct queue_model *m, const char *tenant, const char *name, bool closed);
int model_lane(struct queue_model *m, const char *name, uint32_t weight, uint32_t cap);
int model_tenant(struct queue_model *m, const char *tenant, uint32_t weight);
int model_gate(struct queue_model *m, const struct core_gate *g);
int model_gate_close(struct queue_model *m, const char *tenant, const char *name, int64_t until);
int model_gate_backoff(struct queue_model *m, const char *tenant, const char *name, int64_t until);
int model_send(struct queue_model *m, const struct core_send *s, struct core_sent *out);
int model_open(struct queue_model *m, const struct core_consumer *c);
int model_renew(struct queue_model *m, const struct uuid *consumer);
int model_leave(struct queue_model *m, const struct uuid *consumer);
int model_retire(struct queue_model *m, const struct uuid *consumer, uint32_t lease_ms);
int model_lapse(struct queue_model *m, const struct uuid *consumer, bool *lapsed);
int model_lapse_record(struct queue_model *m, uint64_t fingerprint, uint64_t token, bool *lapsed);
int model_settle(struct queue_model *m, const struct core_settle *s);
int model_held(const struct queue_model *m, const struct uuid *id, uint64_t token);
int model_cancel(struct queue_model *m, const struct uuid *id, bool *asked);
int model_retry(struct queue_model *m, const struct uuid *id);
int model_wake(struct queue_model *m, const struct uuid *id);
int model_move(struct queue_model *m, const struct uuid *id, const char *queue);
int model_edit(struct queue_model *m, const struct uuid *id, uint64_t place, uint32_t bytes);
int model_purge(struct queue_model *m, const struct uuid *id);

int model_look(const struct queue_model *m, const struct uuid *id, struct core_view *out);
int model_counts(const struct queue_model *m, const char *tenant, const char *queue,
                 struct core_counts *out);
size_t model_list(const struct queue_model *m, const char *tenant, const char *queue,
                  enum rec_state state, uint64_t after, uint64_t *places, size_t max);
/* When the first lease of a consumer or a record ends; INT64_MAX: never. */
int64_t model_next_expiry(const struct queue_model *m);
uint64_t model_lowest_place(const struct queue_model *m);

#endif
