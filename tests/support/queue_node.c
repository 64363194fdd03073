#include "support/queue_node.h"

#include <string.h>

#include "base/mem.h"
#include "io/loop.h"
#include "support/unit.h"

void queue_node_up(struct queue_node *f)
{
    f->queues = queues_new();
    f->domain = *queues_domain(f->queues);
    f->node.also = &f->domain;
    assert_int_equal(kit_node_open(&f->node, NULL), 0);
    if (f->ear != NULL)
        queues_hear(f->queues, f->ear);
    queues_start(f->queues, f->node.ledger, loop_world(f->node.loop), "n");
}

void queue_node_down(struct queue_node *f)
{
    queues_stop(f->queues);
    kit_node_close(&f->node);
    queues_free(f->queues);
}

void queue_node_begin(struct queue_node *f)
{
    *f = (struct queue_node){.queues = NULL};
    kit_node_fresh(&f->node);
}

void queue_node_end(struct queue_node *f)
{
    queue_node_down(f);
    kit_node_gone(&f->node);
}

struct closing {
    struct queue_node *node;
    struct task task;
};

static void closing_closed(void *arg)
{
    struct closing *c = arg;
    c->node->node.ledger = NULL;
    loop_stop(c->node->node.loop);
}

static void closing_run(struct task *t)
{
    struct closing *c = LIST_OF(t, struct closing, task);
    queues_stop(c->node->queues);
    ledger_close(c->node->node.ledger, closing_closed, c);
}

void queue_node_end_thread(struct queue_node *f)
{
    struct closing c = {.node = f, .task.run = closing_run};
    runner_post(loop_runner(f->node.loop), &c.task);
    loop_join(f->node.loop);
    queues_free(f->queues);
    kit_node_gone(&f->node);
}

void queue_node_restart(struct queue_node *f)
{
    queue_node_down(f);
    queue_node_up(f);
}

struct uuid queue_node_id(uint32_t n)
{
    struct uuid id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[15] = 1;
    return id;
}

int queue_node_declare(struct queue_node *f, const char *name)
{
    struct unit u;
    struct core_queue q = {.name = name};
    core_queue_defaults(&q);
    kit_unit(&f->node, &u);
    queue_txn_declare(&u.txn, &q);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

struct queue_message queue_node_message(uint32_t n, const char *body)
{
    return (struct queue_message){
        .send = {.queue = "mail", .id = queue_node_id(n), .priority = CORE_PRIORITY},
        .headers = "{\"n\":\"1\"}",
        .correlation = "c-1",
        .body = body,
        .body_len = strlen(body)};
}

int queue_node_send(struct queue_node *f, const struct queue_message *m)
{
    struct unit u;
    kit_unit(&f->node, &u);
    assert_int_equal(queue_txn_send(&u.txn, m, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

int queue_node_settle(struct queue_node *f, uint32_t n, uint64_t token, enum core_outcome outcome)
{
    struct unit u;
    struct core_settle s = {
        .id = queue_node_id(n), .token = token, .outcome = outcome, .delay_ms = -1};
    kit_unit(&f->node, &u);
    assert_int_equal(queue_txn_settle(&u.txn, &s, "done", 4, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

/* ---- asking ---- */

struct look {
    struct queue_ask ask;
    struct uuid id;
    struct core_view view;
    int rc;
    bool done;
};

static void look_ask(struct queue_ask *a, const struct core *c)
{
    struct look *l = (struct look *)a;
    l->rc = core_look(c, &l->id, &l->view, NULL);
}

static void look_done(struct queue_ask *a)
{
    ((struct look *)a)->done = true;
}

int queue_node_look(struct queue_node *f, uint32_t n, struct core_view *out)
{
    struct look l = {.ask = {.home = loop_runner(f->node.loop), .ask = look_ask, .done = look_done},
                     .id = queue_node_id(n)};
    queues_ask(f->queues, &l.ask);
    while (!l.done)
        loop_poll(f->node.loop);
    *out = l.view;
    return l.rc;
}

/* ---- consumers ---- */

static void taker_arrived(struct queue_consumer *c)
{
    struct queue_taker *t = (struct queue_taker *)c;
    mem_free(t->got);
    t->got = queues_take(t->queues, c, &t->count);
}

static void taker_gone(struct queue_consumer *c)
{
    ((struct queue_taker *)c)->gone = true;
}

void queue_taker_open(struct queue_node *f, struct queue_taker *t, uint32_t credit)
{
    static const char *const queues[] = {"mail"};
    struct unit u;
    *t = (struct queue_taker){.queues = f->queues};
    t->consumer.id = queue_node_id(0x7000);
    t->consumer.home = loop_runner(f->node.loop);
    t->consumer.arrived = taker_arrived;
    t->consumer.gone = taker_gone;
    queues_listen(f->queues, &t->consumer);
    struct core_consumer o = {
        .id = t->consumer.id, .node = "n", .queues = queues, .queues_count = 1, .credit = credit};
    kit_unit(&f->node, &u);
    queue_txn_open(&u.txn, &o);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

void queue_taker_wait(struct queue_node *f, struct queue_taker *t, size_t count)
{
    for (int i = 0; i < 1000 && t->count < count; i++)
        loop_poll(f->node.loop);
    assert_int_equal(t->count, count);
}

void queue_taker_close(struct queue_node *f, struct queue_taker *t)
{
    queues_unlisten(f->queues, &t->consumer);
    while (!t->gone)
        loop_poll(f->node.loop);
    mem_free(t->got);
}
