/* The jobs' scenario: the worker. It does the steps of runs and settles them with every outcome,
 * sometimes late, or not at all. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "sim/job_sim.h"

enum { CREDIT = 8, WORKER_LEASE_MS = 3000 };

static void make_id(void *arg, struct uuid *out)
{
    struct node *n = arg;
    uint64_t r[2] = {sim_rand(n->h.sim, UINT64_MAX), sim_rand(n->h.sim, UINT64_MAX)};
    memcpy(out->b, r, sizeof out->b);
}

static bool step_found(void *arg, const struct job_step_row *s)
{
    (void)s;
    ++*(uint32_t *)arg;
    return true;
}

static bool work_step(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    char what[16];
    uint32_t steps = 0;
    bool has = a->job[0] == 'a' || a->job[0] == 'u';
    if (job_steps_read(n->h.db, &a->id, step_found, &steps, &e) != 0)
        sim_fail("steps: %s", e.text);
    if (!has || steps > 0 || sim_chance(n->h.sim, 30))
        return false;
    struct job_step s = {.run = a->id,
                         .job = a->job,
                         .ordinal = 1,
                         .name = "one",
                         .result = "1",
                         .result_len = 1,
                         .undo = a->job[0] == 'u',
                         .args = a->body,
                         .args_len = strlen(a->body)};
    job_act_again(a, ACT_STEP);
    snprintf(what, sizeof what, "s%s", a->job);
    queue_txn_if_delivery(&a->u.unit.txn, &a->id, a->token);
    job_work_add(&a->u.unit.txn, what, a->n);
    if (job_txn_step(&a->u.unit.txn, &s, &e) != 0)
        sim_fail("step: %s", e.text);
    job_act_start(a);
    return true;
}

static enum core_outcome work_outcome(const struct node *n)
{
    uint64_t x = sim_rand(n->h.sim, 100);
    return n->peace || x < 70 ? SETTLE_ACK
           : x < 80           ? SETTLE_REJECT
           : x < 95           ? SETTLE_NACK
                              : SETTLE_SNOOZE;
}

/* Built from the rows as they are now: by the time it is applied they may be others. */
void job_hand_settle(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    struct world *w = sim_world(n->h.sim);
    char what[16];
    struct core_settle s = {.id = a->id,
                            .token = a->token,
                            .outcome = a->outcome,
                            .delay_ms = 100,
                            .until = w->wall_ms(w) + 500};
    job_act_again(a, ACT_SETTLE);
    a->end = (struct job_end){.run = a->id, .settle = &s, .make_id = make_id, .arg = n};
    int rc = job_txn_end(&a->u.unit.txn, n->h.db, &a->end, &e);
    a->end.settle = NULL;
    if (rc != 0)
        sim_fail("end: %s", e.text);
    bool ends = a->outcome == SETTLE_ACK || a->outcome == SETTLE_REJECT;
    snprintf(what, sizeof what, "%s%s", a->outcome == SETTLE_REJECT ? "x" : "",
             a->undoes ? "undo" : a->job);
    if (ends)
        job_work_add(&a->u.unit.txn, what, a->n);
    if (ends && a->undoes && job_txn_undone(&a->u.unit.txn, &a->undo_of, 1, &e) != 0)
        sim_fail("undone: %s", e.text);
    if (!n->peace && a->job[0] == 'a' && sim_chance(n->h.sim, 5))
        job_sim_cancel_run(n, (uint32_t)a->n); /* before what was built without it */
    job_act_start(a);
}

static void work_begin(struct node *n, const struct core_effect *f)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    AUTO(mem_freep) struct queue_stored *m = mem_new(sizeof *m);
    if (queue_place_read(n->h.ledger, n->h.db, f->place, &b, &e) != 0 ||
        queue_message_read(b.data, b.len, 0, m, &e) != 0)
        sim_fail("a run cannot be read: %s", e.text);
    for (uint32_t i = 0; i < n->count; i++)
        if (n->runs[i].never && memcmp(&n->runs[i].id, &m->id, sizeof m->id) == 0)
            sim_fail("J5: run %u was cancelled while it waited, and executes", i);
    struct act *a = job_act_new(n, ACT_SETTLE);
    a->id = m->id;
    a->token = f->token;
    a->outcome = work_outcome(n);
    snprintf(a->job, sizeof a->job, "%s", f->queue + 4);
    snprintf(a->body, sizeof a->body, "%.*s", (int)m->body_len, (const char *)m->body);
    AUTO(json_unref) json_t *args = json_read(m->body, m->body_len, &e);
    a->n = json_integer_value(json_object_get(args, "n"));
    AUTO(json_unref)
    json_t *headers = m->headers != NULL ? json_read(m->headers, strlen(m->headers), &e) : NULL;
    const char *undo = json_string_value(json_object_get(headers, JOB_UNDO_HEADER));
    a->undoes = undo != NULL && uuid_parse(undo, strlen(undo), &a->undo_of);
    if (a->undoes && a->outcome == SETTLE_REJECT)
        a->outcome = SETTLE_NACK;
    if (a->undoes || !work_step(a))
        job_hand_settle(a);
}

static void arrived(struct queue_consumer *c)
{
    struct node *n = (struct node *)((char *)c - offsetof(struct node, consumer));
    size_t count;
    struct core_effect *f = queues_take(n->queues, c, &count);
    for (size_t i = 0; i < count; i++)
        if (f[i].kind == EFFECT_GRANT && n->live && !sim_chance(n->h.sim, n->peace ? 0 : 5))
            work_begin(n, &f[i]);
    mem_free(f);
}

static void gone(struct queue_consumer *c)
{
    ((struct node *)((char *)c - offsetof(struct node, consumer)))->gone = true;
}

void job_hand_turn(struct node *n)
{
    if (n->dead_until_ns > sim_now_ns(n->h.sim))
        return;
    struct act *a = job_act_new(n, n->open ? ACT_RENEW : ACT_OPEN);
    struct core_consumer c = {.id = n->consumer.id,
                              .node = "n",
                              .worker = true,
                              .credit = CREDIT,
                              .lease_ms = WORKER_LEASE_MS};
    if (n->open)
        queue_txn_renew(&a->u.unit.txn, &c.id);
    else
        queue_txn_open(&a->u.unit.txn, &c);
    job_act_start(a);
}

void job_hand_begin(struct node *n)
{
    n->consumer = (struct queue_consumer){.id = job_sim_id(4, n->lives++),
                                          .home = sim_client(n->h.sim),
                                          .arrived = arrived,
                                          .gone = gone};
    queues_listen(n->queues, &n->consumer);
    job_hand_turn(n);
}
