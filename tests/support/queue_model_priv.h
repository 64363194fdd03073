/* What the parts of the queue model share. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_MODEL_PRIV_H
#define KOAN_TESTS_SUPPORT_QUEUE_MODEL_PRIV_H

#include "support/queue_model.h"

/* Copies a text that may be NULL; one that is too long is the test's mistake. */
void model_text(char out[MODEL_TEXT], const char *s);
bool model_is(const char *a, const char *b);
bool model_same_id(const struct uuid *a, const struct uuid *b);

/* NULL when there is none. */
struct model_record *model_find(const struct queue_model *m, const struct uuid *id);
/* By a consumer that takes from it. */
bool model_is_named(const struct queue_model *m, const struct model_queue *q);
struct model_queue *model_find_queue(const struct queue_model *m, const char *tenant,
                                     const char *name);
struct model_queue *model_queue_of(const struct queue_model *m, const struct model_record *r);
struct model_gate *model_find_gate(const struct queue_model *m, const char *tenant,
                                   const char *name);
struct model_gate *model_gate_make(struct queue_model *m, const char *tenant, const char *name);
struct model_consumer *model_find_consumer(const struct queue_model *m, const struct uuid *id);
/* Made when it is not there. */
struct model_lane *model_lane_of(struct queue_model *m, const char *name);
size_t model_tenant_of(struct queue_model *m, const char *name);

void model_copy(struct model_state *to, const struct model_state *from);

bool model_is_waiting(const struct model_record *r);
bool model_is_ended(const struct model_record *r);
void model_consumer_remove(struct queue_model *m, struct model_consumer *c);
uint32_t model_executing_for(const struct queue_model *m, const struct model_consumer *c);
/* Grants nothing. */
struct model_queue *model_declare_only(struct queue_model *m, const struct core_queue *c);
void model_effect(struct queue_model *m, enum core_effect_kind kind, const struct model_record *r,
                  enum rec_state state);

/* What is declared, over what is there: ERR_CONFLICT, or completed. */
int model_declare_over(struct model_queue *want, const struct model_queue *is);

/* ---- queue_model_says.c: how records are sent ---- */
void model_says_read(struct model_says *out, const struct core_send *s); /* NULL: nothing */
uint32_t model_body_max(const struct model_queue *q);
/* What its sender did not say is as the queue says that it is in now. */
void model_says_take(struct model_record *r, const struct model_queue *q);

/* ---- queue_model_grant.c: who may run, who may take, who gets it ---- */
bool model_takes(const struct queue_model *m, const struct model_consumer *c,
                 const struct model_record *r);
bool model_meets(const struct queue_model *m, const struct model_consumer *c,
                 const struct model_label *need, bool used);
/* `used`: what it executes has taken of its numbers. */
bool model_fits(const struct queue_model *m, const struct model_consumer *c,
                const struct model_record *r, bool used);
bool model_is_closed(const struct queue_model *m, const struct model_record *r);
bool model_can_run(const struct queue_model *m, const struct model_record *r,
                   struct core_view *why);
/* Ends each call: what is gone is swept out, what can be granted is. */
void model_finish(struct queue_model *m);

/* ---- queue_model_end.c: what becomes of a record ---- */
void model_available(struct queue_model *m, struct model_record *r, int64_t run_at);
void model_wait(struct queue_model *m, struct model_record *r, enum rec_state state, int64_t until);
/* It executes no more; what it is now is for the caller to say. */
void model_stop(struct queue_model *m, struct model_record *r);
/* No try was used; then where it stood before. */
void model_give_back(struct queue_model *m, struct model_record *r);
void model_release(struct queue_model *m, struct model_record *r);
/* A try is used. `delay` -1: the backoff. */
void model_fail(struct queue_model *m, struct model_record *r, enum rec_reason reason,
                int64_t delay);
void model_end(struct queue_model *m, struct model_record *r, enum rec_state state);
void model_discard(struct queue_model *m, struct model_record *r, enum rec_reason reason);
/* As if sent anew, now. */
void model_begin_again(struct queue_model *m, struct model_record *r);
/* When core_entry() does something with it; INT64_MAX: never. */
int64_t model_due_by_state(const struct queue_model *m, const struct model_record *r);
bool model_has_alarm(const struct model_record *r);
int64_t model_due(const struct queue_model *m, const struct model_record *r);
/* The line of its key: at its end, or before all others. */
void model_join(struct queue_model *m, struct model_record *r, bool front);
/* The first in the line of r's key. */
const struct model_record *model_first(const struct queue_model *m, const struct model_record *r);
/* More ended ones than the queue keeps: the first ended go. */
void model_keep_newest(struct queue_model *m, const struct model_queue *q);

#endif
