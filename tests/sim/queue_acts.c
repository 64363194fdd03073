/* The queue's scenario: units and what is answered, what producers send, what operators do. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "sim/queue_sim.h"

const char *queue_work_name(uint32_t note, char room[WORK_NAME])
{
    snprintf(room, WORK_NAME, "%u", note);
    return room;
}

/* ---- units, and what is answered ---- */

static void act_sent(struct act *a)
{
    struct cursor c;
    struct core_sent out;
    if (a->sends == NULL || !unit_result(&a->u.unit, a->send_op, &c))
        return;
    queue_sent_read(&c, &out);
    bool own = memcmp(out.id.b, a->sends->id.b, sizeof(out.id.b)) == 0;
    a->sends->sent = own ? FATE_YES : FATE_NO;
}

static void act_settled(struct act *a)
{
    struct note *m = a->note;
    unsigned n = (unsigned)(m - a->node->book.notes);
    if (a->forged)
        sim_fail("Q1: record %u is settled with token %llu, which is none", n,
                 (unsigned long long)a->token);
    if (a->fails)
        sim_fail("L1: a unit of record %u was to be refused", n);
    if (a->outcome == SETTLE_EXTEND) {
        if (m->token == a->token)
            m->own_until = a->u.unit.at + a->lease_ms;
        return;
    }
    if (m->settled == a->token)
        sim_fail("Q1: record %u is settled twice with token %llu", n, (unsigned long long)a->token);
    m->settled = a->token;
    m->acked |= a->outcome == SETTLE_ACK;
}

static void act_leased(struct act *a)
{
    struct book_consumer *s = &a->node->book.consumers[a->consumer];
    int64_t until = a->u.unit.at + CONSUMER_LEASE_MS;
    s->lease_until = until > s->lease_until ? until : s->lease_until;
}

/* What it held until now it holds no more. */
static void act_left(struct act *a)
{
    struct book *b = &a->node->book;
    if (--b->consumers[a->consumer].leaves == 0)
        book_unsure(b, a->consumer, a->u.unit.seq);
}

static void act_acked(struct act *a)
{
    act_sent(a);
    if (a->kind == ACT_SETTLE)
        act_settled(a);
    if (a->kind == ACT_OPEN || a->kind == ACT_RENEW)
        act_leased(a);
}

static void act_refused(struct act *a, int code)
{
    static const int right[] = {ERR_FENCED,   ERR_NOT_FOUND, ERR_CONFLICT,
                                ERR_REJECTED, ERR_DRAINING,  ERR_OVERLOADED};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        known |= code == right[i];
    if (!known)
        sim_fail("refused with %s: %s", err_info(code)->name, a->u.unit.err.text);
    if (a->sends != NULL)
        a->sends->sent = FATE_NO;
    if (a->may != NULL)
        (*a->may)--;
}

static void act_done(struct unit *u)
{
    struct act *a = (struct act *)u;
    struct node *n = a->node;
    int code = u->err.code;
    sim_event(n->h.sim, "answer", err_info(code)->name, a->kind, u->seq);
    if (!house_counts(&n->h) || code == ERR_TIMEOUT || code == ERR_INTERNAL)
        ;
    else if (code == 0)
        act_acked(a);
    else
        act_refused(a, code);
    if (a->kind == ACT_LEAVE && house_counts(&n->h))
        act_left(a);
    house_unit_fini(&a->u);
    mem_free(a);
}

struct act *queue_act_new(struct node *n, enum act_kind kind)
{
    struct act *a = mem_new(sizeof(*a));
    a->node = n;
    a->kind = kind;
    house_unit_init(&n->h, &a->u, act_done);
    return a;
}

void queue_act_propose(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    if (ledger_propose(n->h.ledger, &a->u.unit, &e) == 0)
        return;
    if (house_counts(&n->h))
        act_refused(a, e.code);
    house_unit_fini(&a->u);
    mem_free(a);
}

/* ---- producers ---- */

const char *const queue_sim_names[BOOK_QUEUES] = {"q0", "q1", "q2"};

/* What each queue says: a send with as many tries leaves them to it. */
static const struct core_send queue_says = {
    .priority = CORE_PRIORITY_UNSAID, .attempts = 3, .lane = "bulk"};

static void send_fill(struct node *n, struct note *m, struct queue_message *msg, char text[4][16])
{
    static const struct core_backoff soon = {.list = {300, 900}, .list_count = 2};
    struct sim *s = n->h.sim;
    struct core_send *c = &msg->send;
    m->queue = (uint32_t)sim_rand(s, BOOK_QUEUES);
    m->attempts = 1 + (uint32_t)sim_rand(s, 4);
    m->timeout_ms = sim_chance(s, 30) ? 4000 : 60000;
    m->poison = sim_chance(s, 4);
    if (m->poison)
        m->timeout_ms = 5000;
    m->key = sim_chance(s, 50) ? 1 + (uint32_t)sim_rand(s, BOOK_KEYS) : 0;
    m->delayed = sim_chance(s, 20);
    m->limited = sim_chance(s, 8);
    m->gpu = sim_chance(s, 30) ? 1 + (uint32_t)sim_rand(s, 2) : 0;
    m->zone = sim_chance(s, 10);
    snprintf(text[0], 16, "k%u", m->key);
    snprintf(text[1], 16, "u%u", (unsigned)sim_rand(s, 3));
    snprintf(text[2], 16, "d%u", (unsigned)sim_rand(s, 6));
    *c = (struct core_send){.queue = queue_sim_names[m->queue],
                            .id = m->id,
                            .priority = (uint8_t)sim_rand(s, CORE_PRIORITY_MAX + 1),
                            .attempts =
                                m->attempts == queue_says.attempts ? 0 : (uint16_t)m->attempts,
                            .timeout_ms = m->timeout_ms,
                            .backoff = &soon,
                            .key = m->key != 0 ? text[0] : NULL};
    if (m->delayed)
        c->run_at = sim_world(s)->wall_ms(sim_world(s)) + 1 + (int64_t)sim_rand(s, 20000);
    if (m->limited)
        c->ttl_ms = 1 + (int64_t)sim_rand(s, 10000);
    if (sim_chance(s, 8))
        c->unique = text[1];
    c->unique_mode = sim_chance(s, 50) ? UNIQUE_SKIP : UNIQUE_REPLACE;
    if (sim_chance(s, 8))
        c->dedup = text[2];
    if (sim_chance(s, 15)) {
        c->gates[0] = "g";
        c->gates_count = 1;
    }
}

static void send_needs(const struct note *m, struct core_send *c, struct core_label room[2])
{
    c->needs = room;
    if (m->gpu > 0)
        room[c->needs_count++] = (struct core_label){.name = "gpu", .number = m->gpu};
    if (m->zone)
        room[c->needs_count++] = (struct core_label){.name = "zone", .text = "a"};
}

void queue_act_send(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    struct queue_message msg = {.correlation = "c"};
    char text[4][16], body[3000];
    struct core_label needs[2];
    struct note *m = book_add(&n->book);
    if (m == NULL)
        return;
    send_fill(n, m, &msg, text);
    send_needs(m, &msg.send, needs);
    memset(body, 'b', sizeof(body));
    snprintf(body, sizeof(body), "m%u", (unsigned)(m - n->book.notes));
    msg.body = body;
    msg.body_len = 16 + (size_t)sim_rand(n->h.sim, sizeof(body) - 16);
    a->sends = m;
    a->send_op = a->u.unit.txn.ops;
    if (queue_txn_send(&a->u.unit.txn, &msg, &e) != 0)
        sim_fail("send: %s", e.text);
    sim_event(n->h.sim, "send", m->poison ? "poison" : "", (uint64_t)(m - n->book.notes), m->key);
}

void queue_sim_send(struct node *n)
{
    char name[WORK_NAME];
    struct act *a = queue_act_new(n, ACT_SEND);
    queue_act_send(a);
    if (a->sends != NULL && sim_chance(n->h.sim, 8))
        house_row_fails(&a->u.unit.txn,
                        queue_work_name((uint32_t)(a->sends - n->book.notes), name));
    queue_act_propose(a);
}

/* ---- operators ---- */

static void operate_record(struct node *n, struct note *m)
{
    struct act *a = queue_act_new(n, ACT_OPERATE);
    struct txn *t = &a->u.unit.txn;
    a->note = m;
    switch (sim_rand(n->h.sim, 4)) {
    case 0:
        a->may = &m->may_cancel;
        queue_txn_cancel(t, &m->id);
        break;
    case 1:
        a->may = &m->may_purge;
        queue_txn_purge(t, &m->id);
        break;
    case 2:
        m->ended = false;
        m->retried++;
        queue_txn_retry(t, &m->id);
        break;
    default:
        m->ended = false;
        m->retried++;
        queue_txn_move(t, &m->id, queue_sim_names[sim_rand(n->h.sim, BOOK_QUEUES)]);
        break;
    }
    if (a->may != NULL)
        (*a->may)++;
    queue_act_propose(a);
}

void queue_sim_operate(struct node *n)
{
    if (n->book.count > 0 && sim_chance(n->h.sim, 70)) {
        operate_record(n, &n->book.notes[sim_rand(n->h.sim, n->book.count)]);
        return;
    }
    struct act *a = queue_act_new(n, ACT_OPERATE);
    struct core_gate g = {.name = "g", .capacity = 1 + (uint32_t)sim_rand(n->h.sim, 3)};
    uint64_t what = sim_rand(n->h.sim, 100);
    if (what < 30)
        queue_txn_gate(&a->u.unit.txn, &g);
    else if (what < 70) /* its consumers do not know yet, and go on */
        queue_txn_abandon(&a->u.unit.txn, queue_sim_names[sim_rand(n->h.sim, BOOK_QUEUES)]);
    else
        queue_txn_pause(&a->u.unit.txn, queue_sim_names[sim_rand(n->h.sim, BOOK_QUEUES)],
                        sim_chance(n->h.sim, 40));
    queue_act_propose(a);
}

void queue_sim_declare(struct node *n)
{
    struct act *a = queue_act_new(n, ACT_OPERATE);
    for (int i = 0; i < BOOK_QUEUES; i++) {
        struct core_queue q = {.name = queue_sim_names[i]};
        core_queue_defaults(&q);
        q.keep_completed_ms = i == QUEUE_KEEPS ? -1 : 0;
        q.keep_discarded_ms = -1;
        q.concurrency = i == 1 ? 3 : 0;
        q.dead_to = i == QUEUE_HANDS_ON ? queue_sim_names[0] : NULL;
        q.sending = &queue_says;
        queue_txn_declare(&a->u.unit.txn, &q);
        if (n->peace)
            queue_txn_pause(&a->u.unit.txn, queue_sim_names[i], false);
    }
    queue_act_propose(a);
}
