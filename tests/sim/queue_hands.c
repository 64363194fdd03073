/* The queue's scenario: consumers. They open, renew or forget to, settle with every outcome,
 * sometimes twice, late, or with a token that is none; and die. */
#include "base/err.h"
#include "base/mem.h"
#include "sim/queue_sim.h"

static void consumer_arrived(struct queue_consumer *c)
{
    struct consumer_sim *s = (struct consumer_sim *)c;
    struct node *n = s->node;
    size_t count;
    struct core_effect *f = queues_take(n->queues, c, &count);
    for (size_t i = 0; i < count && !sim_is_frozen(n->h.sim); i++) {
        if (f[i].kind != EFFECT_GRANT || s->jobs_count == JOBS_MAX)
            continue;
        uint32_t number = 0;
        while (n->book.notes[number].fingerprint != f[i].id)
            number++;
        s->jobs[s->jobs_count++] = (struct job){.note = number, .token = f[i].token};
        if (n->book.notes[number].poison && !n->peace) {
            sim_event(n->h.sim, "dies of", "", s->index, number);
            s->dead_until_ns = sim_now_ns(n->h.sim) + 8000000000ull;
        }
    }
    mem_free(f);
}

static void consumer_gone(struct queue_consumer *c)
{
    ((struct consumer_sim *)c)->gone = true;
}

static void hand_labels(const struct book_labels *has, struct core_label room[2],
                        struct core_consumer *o)
{
    static const char *const only[] = {"gpu"};
    o->labels = room;
    room[o->labels_count++] = (struct core_label){.name = "gpu", .number = has->gpu};
    if (has->zone)
        room[o->labels_count++] = (struct core_label){.name = "zone", .text = "a"};
    o->of_node = has->of_node;
    o->only = only;
    o->only_count = has->only_gpu;
}

void queue_hand_open(struct consumer_sim *s)
{
    struct core_label labels[2];
    struct act *a = queue_act_new(s->node, ACT_OPEN);
    struct core_consumer o = {.id = s->c.id,
                              .node = "n",
                              .queues = queue_sim_names,
                              .queues_count = BOOK_QUEUES,
                              .credit = 1 + (uint32_t)sim_rand(s->node->h.sim, CREDIT_MAX),
                              .lease_ms = CONSUMER_LEASE_MS};
    a->consumer = s->index;
    hand_labels(&book_labels[s->index], labels, &o);
    queue_txn_open(&a->u.unit.txn, &o);
    queue_act_propose(a);
}

static void consumer_renew(struct consumer_sim *s)
{
    struct act *a = queue_act_new(s->node, ACT_RENEW);
    a->consumer = s->index;
    queue_txn_renew(&a->u.unit.txn, &s->c.id);
    queue_act_propose(a);
}

static void consumer_leave(struct consumer_sim *s)
{
    struct act *a = queue_act_new(s->node, ACT_LEAVE);
    a->consumer = s->index;
    s->node->book.consumers[s->index].leaves++;
    queue_txn_leave(&a->u.unit.txn, &s->c.id);
    queue_act_propose(a);
}

static uint32_t *settle_may(struct note *m, enum core_outcome outcome)
{
    return outcome == SETTLE_ACK      ? &m->may_ack
           : outcome == SETTLE_NACK   ? &m->may_nack
           : outcome == SETTLE_REJECT ? &m->may_reject
                                      : NULL;
}

static void settle_expect(struct act *a, struct note *m)
{
    a->note = m;
    a->may = settle_may(m, a->outcome);
    if (a->may != NULL)
        (*a->may)++;
    if (m->token != a->token)
        return;
    if (a->outcome != SETTLE_EXTEND)
        m->held = false;
    else if (m->own_from == 0)
        m->own_from = m->granted_at;
}

static void settle(struct node *n, uint32_t number, uint64_t token, enum core_outcome outcome)
{
    struct note *m = &n->book.notes[number];
    struct err e = ERR_INIT;
    char name[WORK_NAME];
    int64_t now = sim_world(n->h.sim)->wall_ms(sim_world(n->h.sim));
    struct act *a = queue_act_new(n, ACT_SETTLE);
    a->outcome = outcome;
    a->token = token;
    a->lease_ms = 1000 + (uint32_t)sim_rand(n->h.sim, 5000);
    a->forged = token < m->token;
    a->fails = !n->peace && sim_chance(n->h.sim, 5);
    struct core_settle s = {.id = m->id,
                            .token = token,
                            .outcome = outcome,
                            .delay_ms = sim_chance(n->h.sim, 50) ? -1 : 200,
                            .until = now + (int64_t)sim_rand(n->h.sim, 4000),
                            .lease_ms = a->lease_ms,
                            .gate = "g",
                            .has_result = sim_chance(n->h.sim, 30)};
    sim_event(n->h.sim, a->forged ? "settle late" : "settle", "", number, (uint64_t)outcome);
    settle_expect(a, m);
    if (sim_chance(n->h.sim, 60))
        queue_txn_if_delivery(&a->u.unit.txn, &m->id, token);
    if (queue_txn_settle(&a->u.unit.txn, &s, "done", 4, &e) != 0)
        sim_fail("settle: %s", e.text);
    if (!n->peace && sim_chance(n->h.sim, 20))
        queue_act_send(a);
    if (outcome == SETTLE_ACK)
        house_row(&a->u.unit.txn, queue_work_name(number, name));
    if (a->fails)
        house_row_fails(&a->u.unit.txn, queue_work_name(number, name));
    queue_act_propose(a);
}

static enum core_outcome outcome_draw(const struct node *n)
{
    static const enum core_outcome some[] = {SETTLE_NACK,   SETTLE_NACK,    SETTLE_REJECT,
                                             SETTLE_SNOOZE, SETTLE_BACKOFF, SETTLE_RELEASE,
                                             SETTLE_EXTEND, SETTLE_EXTEND};
    if (n->peace || sim_chance(n->h.sim, 55))
        return SETTLE_ACK;
    return some[sim_rand(n->h.sim, ARRAY_LEN(some))];
}

static void consumer_work(struct consumer_sim *s)
{
    struct node *n = s->node;
    if (s->jobs_count == 0)
        return;
    uint32_t i = (uint32_t)sim_rand(n->h.sim, s->jobs_count);
    struct job job = s->jobs[i];
    struct note *m = &n->book.notes[job.note];
    enum core_outcome outcome = outcome_draw(n);
    if (!n->peace && sim_chance(n->h.sim, 5) && job.token > 1)
        settle(n, job.note, m->token - 1, outcome); /* nobody's */
    if (outcome != SETTLE_EXTEND && !sim_chance(n->h.sim, 5))
        s->jobs[i] = s->jobs[--s->jobs_count]; /* else it forgets, and does it once more */
    if (m->poison)
        return;
    settle(n, job.note, job.token, outcome);
    if (!n->peace && sim_chance(n->h.sim, 5))
        settle(n, job.note, job.token, SETTLE_ACK);
}

void queue_hand_turn(struct consumer_sim *s)
{
    struct node *n = s->node;
    if (sim_now_ns(n->h.sim) < s->dead_until_ns)
        return;
    if (s->dead_until_ns != 0) { /* another process under its name */
        s->dead_until_ns = 0;
        queue_hand_open(s);
    }
    if (n->peace || sim_chance(n->h.sim, 60))
        consumer_renew(s);
    if (!n->peace && sim_chance(n->h.sim, 3)) {
        consumer_leave(s);
        s->dead_until_ns = 1;
    }
    for (uint64_t jobs = sim_rand(n->h.sim, CREDIT_MAX) + n->peace; jobs > 0; jobs--)
        consumer_work(s);
}

void queue_hand_begin(struct consumer_sim *s, struct node *n, uint32_t index)
{
    *s = (struct consumer_sim){.node = n, .index = index};
    s->c.id = n->book.consumers[index].id;
    s->c.home = sim_client(n->h.sim);
    s->c.arrived = consumer_arrived;
    s->c.gone = consumer_gone;
    queues_listen(n->queues, &s->c);
}
