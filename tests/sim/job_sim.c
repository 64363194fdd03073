/* Runs of jobs on a disk that forgets, with a worker that dies and ends that are worked out from
 * rows that change meanwhile.
 *
 * Runs are submitted, some cancelled; a worker does their steps and settles them with every
 * outcome, sometimes late. Each unit leaves a row that says what it was, so that afterwards the
 * rows tell what came of each run, whatever the node forgot of what it had not answered:
 *
 *   in:a:7  submitted     a:7  completed   xa:7  rejected   can:a:7  cancelled
 *   sa:7    its step      undo:7           fan:3  a fan-out  f:3, xf:3  its runs  z:3  what comes
 * then
 *
 * The node freezes at some I/O, is killed or loses power, and opens again.
 *
 * Guarantees: J2 J3 J5 L1 L2. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "db/db.h"
#include "job/job.h"
#include "job/run.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "queue/queue_priv.h"
#include "sim/scenario.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum {
    LIVES = 4,
    NUMBERS = 400, /* runs that are submitted at most */
    CREDIT = 8,
    WORKER_LEASE_MS = 3000,
    DRAIN_TURNS = 300,
    WORK = 0xff50, /* text: its row counts one more */
};

static const struct {
    const char *name, *definition;
} jobs_of[] = {
    {"a", "{\"chain\":[\"b\",\"c\"],\"attempts\":1000,\"backoff\":\"100ms\"}"},
    {"b", "{\"attempts\":1000,\"backoff\":\"100ms\"}"},
    {"c", "{\"attempts\":1000,\"backoff\":\"100ms\"}"},
    {"d", "{\"chain\":[\"e\"],\"on_failure\":\"continue\",\"attempts\":2,\"backoff\":\"100ms\"}"},
    {"e", "{\"attempts\":1000,\"backoff\":\"100ms\"}"},
    {"f", "{\"attempts\":2,\"backoff\":\"100ms\"}"},
    {"u", "{\"attempts\":1000,\"backoff\":\"100ms\"}"},
    {"z", "{\"attempts\":1000,\"backoff\":\"100ms\"}"},
};

struct submitted {
    struct uuid id;
    char job;
    bool acked, never; /* it may not execute any more */
};

struct node {
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct queues *queues;
    struct jobs *jobs;
    struct ledger *ledger;
    struct db *db;
    struct queue_consumer consumer;
    struct list acts;
    struct submitted runs[NUMBERS];
    uint32_t count, fans, lives;
    uint64_t dead_until_ns;
    bool open, gone, peace, live;
};

enum act_kind { ACT_SUBMIT, ACT_CANCEL, ACT_OPEN, ACT_RENEW, ACT_STEP, ACT_SETTLE, ACT_OTHER };

/* A unit under way. */
struct act {
    struct unit unit; /* first */
    struct list list;
    struct node *node;
    enum act_kind kind;
    uint32_t index; /* of runs */

    /* of a run that is worked */
    struct uuid id, undo_of;
    uint64_t token;
    char job[8], body[256];
    long long n;
    bool undoes;
    enum core_outcome outcome;
    struct job_end end;
    int tries;
};

/* ---- what is left behind ---- */

static int work_apply(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    size_t n;
    const char *key = cursor_bytes(c, &n);
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT INTO sim_runs VALUES(?1, 1) ON CONFLICT DO UPDATE SET times = times + 1", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, key, n);
    return db_run(s, e);
}

static int work_opened(void *self, struct db *db, struct err *e)
{
    ((struct node *)self)->db = db;
    return db_exec(db, "CREATE TABLE IF NOT EXISTS sim_runs(key TEXT PRIMARY KEY, times NOT NULL)",
                   e);
}

static const struct domain_op work_ops[] = {
    {WORK, 1, false, DOMAIN_ATOMIC, "sim.work", work_apply, false},
};

static void work_add(struct txn *t, const char *what, long long n)
{
    char key[32];
    snprintf(key, sizeof key, "%s:%lld", what, n);
    buf_add_text(txn_begin(t, WORK, 1), key);
    txn_end(t);
}

static int64_t number(struct node *n, const char *sql, const char *key)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(n->db, sql, &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    if (key != NULL)
        db_bind_str(s, 1, key);
    int64_t v = db_step(s, &e) > 0 ? db_col_int(s, 0) : 0;
    db_stmt_done(s);
    return v;
}

static int64_t times(struct node *n, const char *what, long long of)
{
    char key[32];
    snprintf(key, sizeof key, "%s:%lld", what, of);
    return number(n, "SELECT times FROM sim_runs WHERE key = ?1", key);
}

/* ---- units ---- */

static bool node_counts(const struct node *n)
{
    return !sim_is_frozen(n->sim);
}

static struct uuid id_of(uint8_t kind, uint32_t n)
{
    struct uuid id = {{kind}};
    memcpy(id.b + 12, &n, sizeof n);
    return id;
}

static void make_id(void *arg, struct uuid *out)
{
    struct node *n = arg;
    uint64_t r[2] = {sim_rand(n->sim, UINT64_MAX), sim_rand(n->sim, UINT64_MAX)};
    memcpy(out->b, r, sizeof out->b);
}

static void act_done(struct unit *u);

static struct act *act_new(struct node *n, enum act_kind kind)
{
    struct act *a = mem_new(sizeof *a);
    a->node = n;
    a->kind = kind;
    list_push(&n->acts, &a->list);
    unit_init(&a->unit, sim_client(n->sim), act_done);
    return a;
}

static void act_free(struct act *a)
{
    list_remove(&a->list);
    unit_fini(&a->unit);
    mem_free(a);
}

static void act_start(struct act *a)
{
    struct err e = ERR_INIT;
    if (ledger_propose(a->node->ledger, &a->unit, &e) != 0)
        act_free(a);
}

static void act_again(struct act *a, enum act_kind kind)
{
    unit_fini(&a->unit);
    a->kind = kind;
    unit_init(&a->unit, sim_client(a->node->sim), act_done);
}

/* ---- submitting ---- */

static struct queue_message message(const struct job_def *def, struct uuid id, const char *body)
{
    struct queue_message m;
    memset(&m, 0, sizeof m);
    job_def_message(def, &m);
    m.send.id = id;
    m.body = body;
    m.body_len = strlen(body);
    return m;
}

static void run_add(struct node *n, struct txn *t, const char *job, struct uuid id, long long num,
                    const struct uuid *fan)
{
    struct job_def def;
    struct err e = ERR_INIT;
    char body[32];
    snprintf(body, sizeof body, "{\"n\":%lld}", num);
    if (job_def_get(n->db, job, &def, &e) != 0)
        sim_fail("job '%s': %s", job, e.text);
    struct queue_message m = message(&def, id, body);
    if (job_txn_submit(t, &(struct job_submit){.def = &def, .message = &m, .fan = fan}, &e) != 0)
        sim_fail("submit: %s", e.text);
    job_def_fini(&def);
}

static void node_submit(struct node *n)
{
    static const char *const names[] = {"a", "d", "u"};
    if (n->count == NUMBERS)
        return;
    uint32_t at = n->count++;
    const char *job = names[sim_rand(n->sim, ARRAY_LEN(names))];
    char what[8];
    n->runs[at] = (struct submitted){.id = id_of(1, at), .job = *job};
    struct act *a = act_new(n, ACT_SUBMIT);
    a->index = at;
    run_add(n, &a->unit.txn, job, n->runs[at].id, at, NULL);
    snprintf(what, sizeof what, "in:%s", job);
    work_add(&a->unit.txn, what, at);
    act_start(a);
}

static void node_fan(struct node *n)
{
    struct err e = ERR_INIT;
    uint32_t fan = n->fans++, children = (uint32_t)sim_rand(n->sim, 7);
    AUTO(json_unref) json_t *args = json_pack("{s:i}", "n", (int)fan);
    struct job_fan f = {.id = id_of(2, fan), .count = children, .on_done = "z", .args = args};
    struct act *a = act_new(n, ACT_OTHER);
    if (job_txn_fan(&a->unit.txn, n->db, &f, &e) != 0)
        sim_fail("fan: %s", e.text);
    for (uint32_t i = 0; i < children; i++)
        run_add(n, &a->unit.txn, "f", id_of(3, fan * 16 + i), fan, &f.id);
    work_add(&a->unit.txn, "fan", fan);
    act_start(a);
}

static void run_cancel(struct node *n, uint32_t at)
{
    char what[8];
    struct act *a = act_new(n, ACT_CANCEL);
    a->index = at;
    job_txn_cancel(&a->unit.txn, &n->runs[at].id, NULL, NULL);
    snprintf(what, sizeof what, "can:%c", n->runs[at].job);
    work_add(&a->unit.txn, what, at);
    act_start(a);
}

static void node_cancel(struct node *n)
{
    uint32_t at = (uint32_t)sim_rand(n->sim, n->count + 1);
    if (at < n->count && n->runs[at].job == 'a')
        run_cancel(n, at);
}

/* ---- working ---- */

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
    if (job_steps_read(n->db, &a->id, step_found, &steps, &e) != 0)
        sim_fail("steps: %s", e.text);
    if (!has || steps > 0 || sim_chance(n->sim, 30))
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
    act_again(a, ACT_STEP);
    snprintf(what, sizeof what, "s%s", a->job);
    queue_txn_if_delivery(&a->unit.txn, &a->id, a->token);
    work_add(&a->unit.txn, what, a->n);
    if (job_txn_step(&a->unit.txn, &s, &e) != 0)
        sim_fail("step: %s", e.text);
    act_start(a);
    return true;
}

static enum core_outcome work_outcome(const struct node *n)
{
    uint64_t x = sim_rand(n->sim, 100);
    return n->peace || x < 70 ? SETTLE_ACK
           : x < 80           ? SETTLE_REJECT
           : x < 95           ? SETTLE_NACK
                              : SETTLE_SNOOZE;
}

/* Built from the rows as they are now: by the time it is applied they may be others. */
static void work_settle(struct act *a)
{
    struct node *n = a->node;
    struct err e = ERR_INIT;
    struct world *w = sim_world(n->sim);
    char what[16];
    struct core_settle s = {.id = a->id,
                            .token = a->token,
                            .outcome = a->outcome,
                            .delay_ms = 100,
                            .until = w->wall_ms(w) + 500};
    act_again(a, ACT_SETTLE);
    a->end = (struct job_end){.run = a->id, .settle = &s, .make_id = make_id, .arg = n};
    int rc = job_txn_end(&a->unit.txn, n->db, &a->end, &e);
    a->end.settle = NULL;
    if (rc != 0)
        sim_fail("end: %s", e.text);
    bool ends = a->outcome == SETTLE_ACK || a->outcome == SETTLE_REJECT;
    snprintf(what, sizeof what, "%s%s", a->outcome == SETTLE_REJECT ? "x" : "",
             a->undoes ? "undo" : a->job);
    if (ends)
        work_add(&a->unit.txn, what, a->n);
    if (ends && a->undoes && job_txn_undone(&a->unit.txn, &a->undo_of, 1, &e) != 0)
        sim_fail("undone: %s", e.text);
    if (!n->peace && a->job[0] == 'a' && sim_chance(n->sim, 5))
        run_cancel(n, (uint32_t)a->n); /* before what was built without it */
    act_start(a);
}

static void work_begin(struct node *n, const struct core_effect *f)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    AUTO(mem_freep) struct queue_stored *m = mem_new(sizeof *m);
    if (queue_place_read(n->ledger, n->db, f->place, &b, &e) != 0 ||
        queue_message_read(b.data, b.len, 0, m, &e) != 0)
        sim_fail("a run cannot be read: %s", e.text);
    for (uint32_t i = 0; i < n->count; i++)
        if (n->runs[i].never && memcmp(&n->runs[i].id, &m->id, sizeof m->id) == 0)
            sim_fail("J5: run %u was cancelled while it waited, and executes", i);
    struct act *a = act_new(n, ACT_SETTLE);
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
        work_settle(a);
}

/* ---- answers ---- */

static void submit_answered(struct act *a)
{
    if (a->unit.err.code == 0)
        a->node->runs[a->index].acked = true;
    else if (a->unit.err.code != ERR_TIMEOUT)
        sim_fail("submit: %s", a->unit.err.text);
}

static void cancel_answered(struct act *a)
{
    struct cursor r;
    if (a->unit.err.code == 0 && unit_result(&a->unit, 0, &r) && !queue_cancel_asked(&r))
        a->node->runs[a->index].never = true;
}

static void act_done(struct unit *u)
{
    struct act *a = (struct act *)u;
    struct node *n = a->node;
    int code = u->err.code;
    sim_event(n->sim, "answer", a->job, a->kind, (uint64_t)-code);
    if (node_counts(n) && a->kind == ACT_SUBMIT)
        submit_answered(a);
    if (node_counts(n) && a->kind == ACT_CANCEL)
        cancel_answered(a);
    if (a->kind == ACT_OPEN)
        n->open = code == 0;
    if (a->kind == ACT_RENEW && code == ERR_NOT_FOUND)
        n->open = false;
    if (n->live && a->kind == ACT_STEP && code == 0) {
        work_settle(a);
        return;
    }
    if (n->live && a->kind == ACT_SETTLE && job_end_is_stale(u, &a->end)) {
        if (++a->tries > JOB_END_TRIES && node_counts(n))
            sim_fail("J3: an end is refused %d times", a->tries);
        work_settle(a);
        return;
    }
    act_free(a);
}

/* ---- the node ---- */

static void arrived(struct queue_consumer *c)
{
    struct node *n = (struct node *)((char *)c - offsetof(struct node, consumer));
    size_t count;
    struct core_effect *f = queues_take(n->queues, c, &count);
    for (size_t i = 0; i < count; i++)
        if (f[i].kind == EFFECT_GRANT && n->live && !sim_chance(n->sim, n->peace ? 0 : 5))
            work_begin(n, &f[i]);
    mem_free(f);
}

static void gone(struct queue_consumer *c)
{
    ((struct node *)((char *)c - offsetof(struct node, consumer)))->gone = true;
}

static void worker_turn(struct node *n)
{
    if (n->dead_until_ns > sim_now_ns(n->sim))
        return;
    struct act *a = act_new(n, n->open ? ACT_RENEW : ACT_OPEN);
    struct core_consumer c = {.id = n->consumer.id,
                              .node = "n",
                              .worker = true,
                              .credit = CREDIT,
                              .lease_ms = WORKER_LEASE_MS};
    if (n->open)
        queue_txn_renew(&a->unit.txn, &c.id);
    else
        queue_txn_open(&a->unit.txn, &c);
    act_start(a);
}

static void node_declare(struct node *n)
{
    struct act *a = act_new(n, ACT_OTHER);
    for (size_t i = 0; i < ARRAY_LEN(jobs_of); i++) {
        struct err e = ERR_INIT;
        struct job_def def;
        struct core_queue q;
        AUTO(json_unref)
        json_t *v = json_read(jobs_of[i].definition, strlen(jobs_of[i].definition), &e);
        if (v == NULL || job_txn_declare(&a->unit.txn, jobs_of[i].name, v, &e) != 0 ||
            job_def_read(jobs_of[i].name, v, &def, &e) != 0)
            sim_fail("declare: %s", e.text);
        job_def_queue(&def, &q);
        queue_txn_declare(&a->unit.txn, &q);
        job_def_fini(&def);
    }
    act_start(a);
}

static bool is_idle(void *arg)
{
    return list_is_empty(&((struct node *)arg)->acts);
}

static bool is_gone(void *arg)
{
    return ((struct node *)arg)->gone;
}

static void node_settle(struct node *n)
{
    if (!sim_run_until(n->sim, is_idle, n, 120000))
        sim_fail("a unit has no answer after two minutes");
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    struct world *w = sim_world(n->sim);
    n->queues = queues_new();
    n->jobs = jobs_new();
    n->open = n->gone = false;
    struct domain domains[] = {{.name = "sim",
                                .self = n,
                                .ops = work_ops,
                                .ops_count = ARRAY_LEN(work_ops),
                                .opened = work_opened},
                               *queues_domain(n->queues),
                               *jobs_domain(n->jobs)};
    sim_note(n->sim, "open");
    if (ledger_open(&n->options, w, domains, ARRAY_LEN(domains), &n->ledger, &e) != 0)
        sim_fail("does not open: %s", e.text);
    jobs_start(n->jobs,
               &(struct jobs_options){.ledger = n->ledger, .queues = n->queues, .world = w});
    queues_start(n->queues, n->ledger, w, "n");
    n->live = true;
    node_declare(n);
    node_settle(n);
    n->consumer = (struct queue_consumer){
        .id = id_of(4, n->lives++), .home = sim_client(n->sim), .arrived = arrived, .gone = gone};
    queues_listen(n->queues, &n->consumer);
    worker_turn(n);
}

static void node_close(struct node *n)
{
    sim_note(n->sim, "close");
    n->live = false;
    node_settle(n);
    queues_unlisten(n->queues, &n->consumer);
    if (!sim_run_until(n->sim, is_gone, n, 1000))
        sim_fail("the worker does not come to an end");
    jobs_stop(n->jobs);
    queues_stop(n->queues);
    if (!sim_ledger_close(n->sim, n->ledger))
        sim_fail("the ledger does not close");
    sim_run(n->sim, 10);
    jobs_free(n->jobs);
    queues_free(n->queues);
    n->db = NULL;
}

static void node_turn(struct node *n)
{
    for (uint64_t i = sim_rand(n->sim, 3); i > 0; i--)
        node_submit(n);
    if (sim_chance(n->sim, 15))
        node_fan(n);
    if (sim_chance(n->sim, 20))
        node_cancel(n);
    if (sim_chance(n->sim, 3))
        n->dead_until_ns = sim_now_ns(n->sim) + sim_rand(n->sim, 6) * 1000000000;
    worker_turn(n);
    if (sim_chance(n->sim, 40))
        sim_run(n->sim, sim_rand(n->sim, 800));
    else
        for (uint64_t steps = sim_rand(n->sim, 60); steps > 0; steps--)
            sim_step(n->sim);
}

static void node_life(struct node *n)
{
    if (sim_chance(n->sim, 80))
        simdisk_freeze_after(n->disk, 1 + sim_rand(n->sim, sim_chance(n->sim, 20) ? 200 : 6000));
    node_open(n);
    for (uint64_t turns = 10 + sim_rand(n->sim, 90); turns > 0 && node_counts(n); turns--)
        node_turn(n);
    if (sim_chance(n->sim, 70))
        sim_freeze(n->sim, "end of life");
    node_close(n);
    if (sim_died_of(n->sim) != NULL)
        sim_fail("the node died on a healthy disk: %s", sim_died_of(n->sim));
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, sim_chance(n->sim, 30) ? SIM_KILL : SIM_POWER_CUT);
    simdisk_freeze_after(n->disk, 0);
}

/* ---- what must hold in the end ---- */

static void check_chain(struct node *n, long long i)
{
    int64_t in = times(n, "in:a", i), can = times(n, "can:a", i);
    int64_t a = times(n, "a", i), xa = times(n, "xa", i);
    int64_t b = times(n, "b", i), xb = times(n, "xb", i);
    int64_t c = times(n, "c", i), xc = times(n, "xc", i);
    if (a + xa > 1 || (in == 1 && can == 0 && a + xa != 1) || (in == 0 && a + xa + can > 0))
        sim_fail("run %lld was worked %lld times", i, (long long)(a + xa));
    if (b + xb != (a == 1 && can == 0) || c + xc != b)
        sim_fail("J3: a chain is cut or doubled: run %lld, then %lld, then %lld", i,
                 (long long)(b + xb), (long long)(c + xc));
    if (times(n, "sa", i) > 1)
        sim_fail("J2: a step of run %lld ran twice", i);
}

static void check_undo(struct node *n, long long i)
{
    int64_t u = times(n, "u", i), xu = times(n, "xu", i), step = times(n, "su", i);
    int64_t undone = times(n, "undo", i);
    if (step > 1)
        sim_fail("J2: a step of run %lld ran twice", i);
    if (u + xu != times(n, "in:u", i) || undone != (xu == 1 && step == 1))
        sim_fail("run %lld: %lld steps, %lld undone", i, (long long)step, (long long)undone);
}

static void check_on(struct node *n, long long i)
{
    if (times(n, "e", i) + times(n, "xe", i) != times(n, "in:d", i))
        sim_fail("J3: a chain that goes on after a failure is cut or doubled: run %lld", i);
}

static void node_check(struct node *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        char what[8];
        snprintf(what, sizeof what, "in:%c", n->runs[i].job);
        if (n->runs[i].acked && times(n, what, i) != 1)
            sim_fail("L2: run %u was acknowledged and is not there", i);
        if (n->runs[i].job == 'a')
            check_chain(n, i);
        else if (n->runs[i].job == 'u')
            check_undo(n, i);
        else
            check_on(n, i);
    }
    for (uint32_t i = 0; i < n->fans; i++)
        if (times(n, "z", i) + times(n, "xz", i) != times(n, "fan", i))
            sim_fail("J3: a fan-in of %u is counted %lld times", i,
                     (long long)(times(n, "z", i) + times(n, "xz", i)));
}

static bool is_living(struct node *n)
{
    for (size_t i = 0; i < ARRAY_LEN(jobs_of); i++) {
        struct core_counts k;
        char queue[16];
        snprintf(queue, sizeof queue, "job.%s", jobs_of[i].name);
        if (core_counts(n->queues->core, "default", queue, &k, NULL) == 0 &&
            k.scheduled + k.available + k.executing + k.retryable > 0)
            return true;
    }
    return number(n, "SELECT count(*) FROM job_runs WHERE state = 1", NULL) > 0;
}

static void node_drain(struct node *n)
{
    n->peace = true;
    n->dead_until_ns = 0;
    node_open(n);
    for (int turns = 0; is_living(n); turns++) {
        if (turns == DRAIN_TURNS)
            sim_fail("J3: %lld runs never come to an end",
                     (long long)number(n, "SELECT count(*) FROM job_runs WHERE state = 1", NULL));
        worker_turn(n);
        sim_run(n->sim, 700);
    }
    node_settle(n);
    node_check(n);
    node_close(n);
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, SIM_POWER_CUT);
    node_open(n);
    node_check(n);
    node_close(n);
}

uint64_t job_sim(uint64_t seed, FILE *trace)
{
    struct node n = {.sim = sim_new(seed, trace)};
    struct err e = ERR_INIT;
    n.disk = sim_disk(n.sim);
    list_init(&n.acts);
    n.options = (struct ledger_options){
        .dir = "data",
        .vfs = "sim",
        .exclusive = true,
        .segment_bytes = 64 << 10,
        .snapshot_bytes = 20000 + sim_rand(n.sim, 300000),
        .snapshot_entries = 5 + sim_rand(n.sim, 300),
        .keep_ms = 1,
        .keep_bytes = 1 + sim_rand(n.sim, 100000),
    };
    if (db_vfs_register("sim", sim_world(n.sim)->disk, &e) != 0)
        sim_fail("%s", e.text);
    for (uint64_t lives = 1 + sim_rand(n.sim, LIVES); lives > 0; lives--)
        node_life(&n);
    node_drain(&n);
    sim_note(n.sim, "%u submitted, %u fan-outs", n.count, n.fans);
    uint64_t hash = sim_trace_hash(n.sim);
    db_vfs_unregister("sim");
    sim_free(n.sim);
    return hash;
}
