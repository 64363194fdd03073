/* The queue on a disk that forgets, with consumers that die and clocks that are set.
 *
 * Producers send; consumers open, renew or forget to, settle with every outcome, sometimes twice,
 * late, or with a token that is none; what they did is a row in the same unit. Operators pause,
 * cancel, retry, move and purge. The node freezes at some I/O, is killed or loses power, and opens
 * again, with a saved state and without; its log is small, so bodies are moved out of it. What must
 * hold is checked with each entry (queue_book.h), and at quiet points for all records.
 *
 * Guarantees: Q1 Q2 Q3 Q4 Q5 L1 L2 L3 L4. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "queue/queue_priv.h"
#include "sim/queue_book.h"
#include "sim/scenario.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum {
    LIVES = 4,
    JOBS_MAX = 64,
    CREDIT_MAX = 4,
    CONSUMER_LEASE_MS = 3000,
    LATE_MS = 1200, /* what is due is done by then: the clock looks once a second */
    DRAIN_TURNS = 400,
    WORK_ADD = 0xff40,  /* u32 record: its row counts one more */
    WORK_FAIL = 0xff41, /* u32 record: the same, then refuses */
};

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
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct queues *queues;
    struct ledger *ledger;
    struct db *db;
    struct book book;
    struct consumer_sim consumers[BOOK_CONSUMERS];
    struct list acts;
    uint64_t opened_ns, sent_before;
    bool live, peace;
};

enum act_kind { ACT_SEND, ACT_SETTLE, ACT_OPEN, ACT_RENEW, ACT_LEAVE, ACT_OPERATE };

/* A unit under way. */
struct act {
    struct unit unit; /* first */
    struct list list;
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

/* ---- the work ---- */

static int work_apply(const struct apply *a, struct cursor *c, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT INTO sim_work VALUES(?1, 1) ON CONFLICT DO UPDATE SET times = times + 1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, cursor_u32(c));
    int rc = db_step(s, e);
    return rc < 0 ? rc : 0;
}

static int work_add(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                    struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    return work_apply(a, c, e);
}

static int work_fail(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    int rc = work_apply(a, c, e);
    return rc < 0 ? rc : err_set(e, ERR_REJECTED, "as ordered");
}

static int work_opened(void *self, struct db *db, struct err *e)
{
    ((struct node *)self)->db = db;
    return db_exec(
        db, "CREATE TABLE IF NOT EXISTS sim_work(id INTEGER PRIMARY KEY, times NOT NULL)", e);
}

static void work_committed(void *self, uint64_t seq, int64_t at)
{
    struct node *n = self;
    if (sim_is_frozen(n->sim))
        return;
    bool lapses =
        !n->live || sim_now_ns(n->sim) - n->opened_ns >= (uint64_t)QUEUE_GRACE_MS * 1000000;
    book_entry(&n->book, n->queues->core, seq, at, lapses);
}

/* Before the queue's own: the entry before this one is over, also where entries are run again. */
static int work_entry(void *self, const struct apply *a, struct err *e)
{
    struct node *n = self;
    (void)a, (void)e;
    if (!sim_is_frozen(n->sim))
        book_same(&n->book, n->queues->core);
    return 0;
}

static int work_save(void *self, struct hot_out *out, struct err *e)
{
    (void)self, (void)out, (void)e;
    return 0;
}

static int work_load(void *self, struct hot_in *in, struct err *e)
{
    (void)self, (void)in, (void)e;
    return 0;
}

static uint64_t work_hash(void *self)
{
    (void)self;
    return 0;
}

static struct domain work_domain(struct node *n)
{
    static const struct domain_op ops[] = {
        {.type = WORK_ADD,
         .version_max = 1,
         .safety = DOMAIN_SURE,
         .name = "work.add",
         .apply = work_add},
        {.type = WORK_FAIL, .version_max = 1, .name = "work.fail", .apply = work_fail},
    };
    static const struct domain_hot hot = {
        .entry = work_entry, .save = work_save, .load = work_load, .hash = work_hash};
    return (struct domain){.name = "work",
                           .self = n,
                           .hot = &hot,
                           .ops = ops,
                           .ops_count = ARRAY_LEN(ops),
                           .opened = work_opened,
                           .committed = work_committed};
}

static void work_add_op(struct act *a, uint16_t type, const struct note *m)
{
    buf_add_u32(txn_begin(&a->unit.txn, type, 1), (uint32_t)(m - a->node->book.notes));
    txn_end(&a->unit.txn);
}

static int64_t work_times(void *arg, uint32_t number)
{
    struct node *n = arg;
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(n->db, "SELECT times FROM sim_work WHERE id = ?1", &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    db_bind_int(s, 1, number);
    int rc = db_step(s, &e);
    int64_t times = rc > 0 ? db_col_int(s, 0) : 0;
    db_stmt_done(s);
    if (rc < 0)
        sim_fail("%s", e.text);
    return times;
}

/* ---- units, and what is answered ---- */

static void act_sent(struct act *a)
{
    struct cursor c;
    struct core_sent out;
    if (a->sends == NULL || !unit_result(&a->unit, a->send_op, &c))
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
            m->own_until = a->unit.at + a->lease_ms;
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
    int64_t until = a->unit.at + CONSUMER_LEASE_MS;
    s->lease_until = until > s->lease_until ? until : s->lease_until;
}

/* What it held until now it holds no more. */
static void act_left(struct act *a)
{
    struct book *b = &a->node->book;
    if (--b->consumers[a->consumer].leaves == 0)
        book_unsure(b, a->consumer, a->unit.seq);
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
        sim_fail("refused with %s: %s", err_info(code)->name, a->unit.err.text);
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
    sim_event(n->sim, "answer", err_info(code)->name, a->kind, u->seq);
    if (sim_is_frozen(n->sim) || code == ERR_TIMEOUT || code == ERR_INTERNAL)
        ;
    else if (code == 0)
        act_acked(a);
    else
        act_refused(a, code);
    if (a->kind == ACT_LEAVE && !sim_is_frozen(n->sim))
        act_left(a);
    list_remove(&a->list);
    unit_fini(u);
    mem_free(a);
}

static struct act *act_new(struct node *n, enum act_kind kind)
{
    struct act *a = mem_new(sizeof(*a));
    a->node = n;
    a->kind = kind;
    unit_init(&a->unit, sim_client(n->sim), act_done);
    list_push(&n->acts, &a->list);
    return a;
}

static void act_propose(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    if (ledger_propose(n->ledger, &a->unit, &e) == 0)
        return;
    if (!sim_is_frozen(n->sim))
        act_refused(a, e.code);
    list_remove(&a->list);
    unit_fini(&a->unit);
    mem_free(a);
}

/* ---- producers ---- */

static const char *const queue_names[BOOK_QUEUES] = {"q0", "q1", "q2"};

static void send_fill(struct node *n, struct note *m, struct queue_message *msg, char text[4][16])
{
    static const struct core_backoff soon = {.list = {300, 900}, .list_count = 2};
    struct sim *s = n->sim;
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
    snprintf(text[0], 16, "k%u", m->key);
    snprintf(text[1], 16, "u%u", (unsigned)sim_rand(s, 3));
    snprintf(text[2], 16, "d%u", (unsigned)sim_rand(s, 6));
    *c = (struct core_send){.queue = queue_names[m->queue],
                            .id = m->id,
                            .priority = (uint8_t)sim_rand(s, CORE_PRIORITY_MAX + 1),
                            .attempts = (uint16_t)m->attempts,
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

/* A new record, sent in the unit of `a` as its next operation. */
static void act_send(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    struct queue_message msg = {.correlation = "c"};
    char text[4][16], body[3000];
    struct note *m = book_add(&n->book);
    if (m == NULL)
        return;
    send_fill(n, m, &msg, text);
    memset(body, 'b', sizeof(body));
    snprintf(body, sizeof(body), "m%u", (unsigned)(m - n->book.notes));
    msg.body = body;
    msg.body_len = 16 + (size_t)sim_rand(n->sim, sizeof(body) - 16);
    a->sends = m;
    a->send_op = a->unit.txn.ops;
    if (queue_txn_send(&a->unit.txn, &msg, &e) != 0)
        sim_fail("send: %s", e.text);
    sim_event(n->sim, "send", m->poison ? "poison" : "", (uint64_t)(m - n->book.notes), m->key);
}

static void node_send(struct node *n)
{
    struct act *a = act_new(n, ACT_SEND);
    act_send(a);
    if (a->sends != NULL && sim_chance(n->sim, 8))
        work_add_op(a, WORK_FAIL, a->sends);
    act_propose(a);
}

/* ---- consumers ---- */

static void consumer_arrived(struct queue_consumer *c)
{
    struct consumer_sim *s = (struct consumer_sim *)c;
    struct node *n = s->node;
    size_t count;
    struct core_effect *f = queues_take(n->queues, c, &count);
    for (size_t i = 0; i < count && !sim_is_frozen(n->sim); i++) {
        if (f[i].kind != EFFECT_GRANT || s->jobs_count == JOBS_MAX)
            continue;
        uint32_t number = 0;
        while (n->book.notes[number].fingerprint != f[i].id)
            number++;
        s->jobs[s->jobs_count++] = (struct job){.note = number, .token = f[i].token};
        if (n->book.notes[number].poison && !n->peace) {
            sim_event(n->sim, "dies of", "", s->index, number);
            s->dead_until_ns = sim_now_ns(n->sim) + 8000000000ull;
        }
    }
    mem_free(f);
}

static void consumer_gone(struct queue_consumer *c)
{
    ((struct consumer_sim *)c)->gone = true;
}

static void consumer_open(struct consumer_sim *s)
{
    struct act *a = act_new(s->node, ACT_OPEN);
    struct core_consumer o = {.id = s->c.id,
                              .node = "n",
                              .queues = queue_names,
                              .queues_count = BOOK_QUEUES,
                              .credit = 1 + (uint32_t)sim_rand(s->node->sim, CREDIT_MAX),
                              .lease_ms = CONSUMER_LEASE_MS};
    a->consumer = s->index;
    queue_txn_open(&a->unit.txn, &o);
    act_propose(a);
}

static void consumer_renew(struct consumer_sim *s)
{
    struct act *a = act_new(s->node, ACT_RENEW);
    a->consumer = s->index;
    queue_txn_renew(&a->unit.txn, &s->c.id);
    act_propose(a);
}

static void consumer_leave(struct consumer_sim *s)
{
    struct act *a = act_new(s->node, ACT_LEAVE);
    a->consumer = s->index;
    s->node->book.consumers[s->index].leaves++;
    queue_txn_leave(&a->unit.txn, &s->c.id);
    act_propose(a);
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
    int64_t now = sim_world(n->sim)->wall_ms(sim_world(n->sim));
    struct act *a = act_new(n, ACT_SETTLE);
    a->outcome = outcome;
    a->token = token;
    a->lease_ms = 1000 + (uint32_t)sim_rand(n->sim, 5000);
    a->forged = token < m->token;
    a->fails = !n->peace && sim_chance(n->sim, 5);
    struct core_settle s = {.id = m->id,
                            .token = token,
                            .outcome = outcome,
                            .delay_ms = sim_chance(n->sim, 50) ? -1 : 200,
                            .until = now + (int64_t)sim_rand(n->sim, 4000),
                            .lease_ms = a->lease_ms,
                            .gate = "g",
                            .has_result = sim_chance(n->sim, 30)};
    sim_event(n->sim, a->forged ? "settle late" : "settle", "", number, (uint64_t)outcome);
    settle_expect(a, m);
    if (sim_chance(n->sim, 60))
        queue_txn_if_delivery(&a->unit.txn, &m->id, token);
    if (queue_txn_settle(&a->unit.txn, &s, "done", 4, &e) != 0)
        sim_fail("settle: %s", e.text);
    if (!n->peace && sim_chance(n->sim, 20))
        act_send(a);
    if (outcome == SETTLE_ACK)
        work_add_op(a, WORK_ADD, m);
    if (a->fails)
        work_add_op(a, WORK_FAIL, m);
    act_propose(a);
}

static enum core_outcome outcome_draw(const struct node *n)
{
    static const enum core_outcome some[] = {SETTLE_NACK,   SETTLE_NACK,    SETTLE_REJECT,
                                             SETTLE_SNOOZE, SETTLE_BACKOFF, SETTLE_RELEASE,
                                             SETTLE_EXTEND, SETTLE_EXTEND};
    if (n->peace || sim_chance(n->sim, 55))
        return SETTLE_ACK;
    return some[sim_rand(n->sim, ARRAY_LEN(some))];
}

static void consumer_work(struct consumer_sim *s)
{
    struct node *n = s->node;
    if (s->jobs_count == 0)
        return;
    uint32_t i = (uint32_t)sim_rand(n->sim, s->jobs_count);
    struct job job = s->jobs[i];
    struct note *m = &n->book.notes[job.note];
    enum core_outcome outcome = outcome_draw(n);
    if (!n->peace && sim_chance(n->sim, 5) && job.token > 1)
        settle(n, job.note, m->token - 1, outcome); /* nobody's */
    if (outcome != SETTLE_EXTEND && !sim_chance(n->sim, 5))
        s->jobs[i] = s->jobs[--s->jobs_count]; /* else it forgets, and does it once more */
    if (m->poison)
        return;
    settle(n, job.note, job.token, outcome);
    if (!n->peace && sim_chance(n->sim, 5))
        settle(n, job.note, job.token, SETTLE_ACK);
}

static void consumer_turn(struct consumer_sim *s)
{
    struct node *n = s->node;
    if (sim_now_ns(n->sim) < s->dead_until_ns)
        return;
    if (s->dead_until_ns != 0) { /* another process under its name */
        s->dead_until_ns = 0;
        consumer_open(s);
    }
    if (n->peace || sim_chance(n->sim, 60))
        consumer_renew(s);
    if (!n->peace && sim_chance(n->sim, 3)) {
        consumer_leave(s);
        s->dead_until_ns = 1;
    }
    for (uint64_t jobs = sim_rand(n->sim, CREDIT_MAX) + n->peace; jobs > 0; jobs--)
        consumer_work(s);
}

/* ---- operators ---- */

static void operate_record(struct node *n, struct note *m)
{
    struct act *a = act_new(n, ACT_OPERATE);
    struct txn *t = &a->unit.txn;
    a->note = m;
    switch (sim_rand(n->sim, 4)) {
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
        queue_txn_move(t, &m->id, queue_names[sim_rand(n->sim, BOOK_QUEUES)]);
        break;
    }
    if (a->may != NULL)
        (*a->may)++;
    act_propose(a);
}

static void node_operate(struct node *n)
{
    if (n->book.count > 0 && sim_chance(n->sim, 70)) {
        operate_record(n, &n->book.notes[sim_rand(n->sim, n->book.count)]);
        return;
    }
    struct act *a = act_new(n, ACT_OPERATE);
    struct core_gate g = {.name = "g", .capacity = 1 + (uint32_t)sim_rand(n->sim, 3)};
    if (sim_chance(n->sim, 50))
        queue_txn_gate(&a->unit.txn, &g);
    else
        queue_txn_pause(&a->unit.txn, queue_names[sim_rand(n->sim, BOOK_QUEUES)],
                        sim_chance(n->sim, 40));
    act_propose(a);
}

static void node_declare(struct node *n)
{
    struct act *a = act_new(n, ACT_OPERATE);
    for (int i = 0; i < BOOK_QUEUES; i++) {
        struct core_queue q = {.name = queue_names[i]};
        core_queue_defaults(&q);
        q.keep_completed_ms = i == QUEUE_KEEPS ? -1 : 0;
        q.keep_discarded_ms = -1;
        q.concurrency = i == 1 ? 3 : 0;
        q.dead_to = i == QUEUE_HANDS_ON ? queue_names[0] : NULL;
        queue_txn_declare(&a->unit.txn, &q);
        if (n->peace)
            queue_txn_pause(&a->unit.txn, queue_names[i], false);
    }
    act_propose(a);
}

/* ---- the node ---- */

static bool node_is_idle(void *arg)
{
    return list_is_empty(&((struct node *)arg)->acts);
}

static bool consumers_are_gone(void *arg)
{
    struct node *n = arg;
    bool gone = true;
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        gone &= n->consumers[i].gone;
    return gone;
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->queues = queues_new();
    n->live = false;
    struct domain domains[] = {work_domain(n), *queues_domain(n->queues)};
    sim_note(n->sim, "open");
    if (ledger_open(&n->options, sim_world(n->sim), domains, ARRAY_LEN(domains), &n->ledger, &e) !=
        0)
        sim_fail("does not open: %s", e.text);
    if (!sim_is_frozen(n->sim))
        book_opened(&n->book, n->queues->core);
    n->opened_ns = sim_now_ns(n->sim);
    n->live = true;
    queues_start(n->queues, n->ledger, sim_world(n->sim), "n");
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++) {
        struct consumer_sim *s = &n->consumers[i];
        *s = (struct consumer_sim){.node = n, .index = i};
        s->c.id = n->book.consumers[i].id;
        s->c.home = sim_client(n->sim);
        s->c.arrived = consumer_arrived;
        s->c.gone = consumer_gone;
        queues_listen(n->queues, &s->c);
    }
    node_declare(n);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        consumer_open(&n->consumers[i]);
}

static void node_settle(struct node *n)
{
    if (!sim_run_until(n->sim, node_is_idle, n, 60000))
        sim_fail("a unit has no answer after a minute");
}

static void node_close(struct node *n)
{
    sim_note(n->sim, "close");
    node_settle(n);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        queues_unlisten(n->queues, &n->consumers[i].c);
    if (!sim_run_until(n->sim, consumers_are_gone, n, 1000))
        sim_fail("a consumer does not come to an end");
    queues_stop(n->queues);
    if (!sim_ledger_close(n->sim, n->ledger))
        sim_fail("the ledger does not close");
    sim_run(n->sim, 10); /* answers are on their way */
    queues_free(n->queues);
    n->queues = NULL;
    n->db = NULL;
}

/* ---- checks ---- */

/* The bytes of every record can be read, wherever they are by now. */
static void check_bodies(struct node *n)
{
    struct err e = ERR_INIT;
    struct queue_stored *stored = mem_new(sizeof(*stored));
    for (uint32_t i = 0; i < n->book.count; i++) {
        struct core_view v;
        char want[16];
        if (core_look(n->queues->core, &n->book.notes[i].id, &v, NULL) != 0)
            continue;
        AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
        snprintf(want, sizeof(want), "m%u", i);
        if (queue_place_read(n->ledger, n->db, v.place, &b, &e) != 0 ||
            queue_message_read(b.data, b.len, 0, stored, &e) != 0)
            sim_fail("Q2: the body of record %u cannot be read: %s", i, e.text);
        if (memcmp(stored->body, want, strlen(want) + 1) != 0)
            sim_fail("Q2: record %u has the body of another", i);
    }
    mem_free(stored);
}

/* Nothing else happens: what is due was done by the node itself. */
static void check_clock(struct node *n)
{
    struct core_expiry x;
    sim_run(n->sim, LATE_MS);
    if (sim_is_frozen(n->sim))
        return;
    int64_t late = sim_world(n->sim)->wall_ms(sim_world(n->sim)) - LATE_MS;
    if (core_next_due(n->queues->core) < late)
        sim_fail("Q7: what was due at %lld is not done at %lld",
                 (long long)core_next_due(n->queues->core), (long long)late);
    core_next_expiry(n->queues->core, &x);
    uint64_t awake_ms = (sim_now_ns(n->sim) - n->opened_ns) / 1000000;
    if (x.at < late && awake_ms > QUEUE_GRACE_MS + LATE_MS)
        sim_fail("a lease was over at %lld and has not lapsed", (long long)x.at);
}

static void node_check(struct node *n)
{
    node_settle(n);
    if (!sim_is_frozen(n->sim))
        check_clock(n);
    if (sim_is_frozen(n->sim))
        return;
    book_check(&n->book, n->queues->core, work_times, n);
    check_bodies(n);
    sim_event(n->sim, "checked", "", n->queues->spill.below, core_hash(n->queues->core));
}

/* ---- lives ---- */

static void node_turn(struct node *n)
{
    for (uint64_t sends = sim_rand(n->sim, 4); sends > 0; sends--)
        node_send(n);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        consumer_turn(&n->consumers[i]);
    if (sim_chance(n->sim, 15))
        node_operate(n);
    if (sim_chance(n->sim, 2))
        sim_clock_jump(n->sim, (int64_t)sim_rand(n->sim, 12000) - 4000);
    if (sim_chance(n->sim, 40))
        sim_run(n->sim, sim_rand(n->sim, 1500));
    else
        for (uint64_t steps = sim_rand(n->sim, 40); steps > 0; steps--)
            sim_step(n->sim);
}

static void node_life(struct node *n)
{
    if (sim_chance(n->sim, 80))
        simdisk_freeze_after(n->disk, 1 + sim_rand(n->sim, sim_chance(n->sim, 20) ? 60 : 900));
    node_open(n);
    for (uint64_t turns = 5 + sim_rand(n->sim, 60); turns > 0 && !sim_is_frozen(n->sim); turns--) {
        node_turn(n);
        if (sim_chance(n->sim, 5) && !sim_is_frozen(n->sim))
            node_check(n);
    }
    if (sim_chance(n->sim, 70))
        sim_freeze(n->sim, "end of life");
    node_close(n);
    if (sim_died_of(n->sim) != NULL)
        sim_fail("the node died on a healthy disk: %s", sim_died_of(n->sim));
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, sim_chance(n->sim, 30) ? SIM_KILL : SIM_POWER_CUT);
    simdisk_freeze_after(n->disk, 0);
}

static uint64_t node_living(struct node *n)
{
    uint64_t living = 0;
    for (int i = 0; i < BOOK_QUEUES; i++) {
        struct core_counts k;
        struct err e = ERR_INIT;
        if (core_counts(n->queues->core, "default", queue_names[i], &k, &e) == 0)
            living += k.scheduled + k.available + k.executing + k.retryable;
    }
    return living;
}

/* Everything comes to an end now, what kills whoever takes it too. */
static void node_drain(struct node *n)
{
    n->peace = true;
    node_open(n);
    node_check(n);
    int turns = 0;
    for (; turns < DRAIN_TURNS && node_living(n) > 0; turns++) {
        for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
            consumer_turn(&n->consumers[i]);
        sim_run(n->sim, 1000);
    }
    if (node_living(n) > 0)
        sim_fail("Q3: %llu records never come to an end", (unsigned long long)node_living(n));
    node_check(n);
    node_close(n);
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, SIM_POWER_CUT);
    node_open(n);
    node_check(n);
    node_close(n);
}

uint64_t queue_sim(uint64_t seed, FILE *trace)
{
    struct node n = {.sim = sim_new(seed, trace)};
    struct err e = ERR_INIT;
    n.disk = sim_disk(n.sim);
    list_init(&n.acts);
    book_init(&n.book, n.sim);
    n.options = (struct ledger_options){
        .dir = "data",
        .vfs = "sim",
        .exclusive = true,
        .segment_bytes = 32 << 10,
        .snapshot_bytes = 20000 + sim_rand(n.sim, 200000),
        .snapshot_entries = 5 + sim_rand(n.sim, 200),
        .keep_ms = 1,
        .keep_bytes = 1 + sim_rand(n.sim, 100000),
    };
    if (db_vfs_register("sim", sim_world(n.sim)->disk, &e) != 0)
        sim_fail("%s", e.text);
    for (uint64_t lives = 1 + sim_rand(n.sim, LIVES); lives > 0; lives--)
        node_life(&n);
    node_drain(&n);
    sim_note(n.sim, "%u sent, %llu granted, %llu lost, %llu ended", n.book.count,
             (unsigned long long)n.book.granted, (unsigned long long)n.book.lost,
             (unsigned long long)n.book.ended);
    uint64_t hash = sim_trace_hash(n.sim);
    db_vfs_unregister("sim");
    book_fini(&n.book);
    sim_free(n.sim);
    return hash;
}
