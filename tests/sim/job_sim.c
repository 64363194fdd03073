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

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "queue/queue_priv.h"
#include "sim/job_sim.h"

enum { LIVES = 4, DRAIN_TURNS = 300 };

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

/* ---- the node ---- */

static void node_declare(struct node *n)
{
    struct act *a = job_act_new(n, ACT_OTHER);
    for (size_t i = 0; i < ARRAY_LEN(jobs_of); i++) {
        struct err e = ERR_INIT;
        struct job_def def;
        struct core_queue q;
        AUTO(json_unref)
        json_t *v = json_read(jobs_of[i].definition, strlen(jobs_of[i].definition), &e);
        if (v == NULL || job_txn_declare(&a->u.unit.txn, jobs_of[i].name, v, &e) != 0 ||
            job_def_read(jobs_of[i].name, v, &def, &e) != 0)
            sim_fail("declare: %s", e.text);
        job_def_queue(&def, &q);
        queue_txn_declare(&a->u.unit.txn, &q);
        job_def_fini(&def);
    }
    job_act_start(a);
}

static bool is_gone(void *arg)
{
    return ((struct node *)arg)->gone;
}

static void node_open(struct house *h)
{
    struct node *n = (struct node *)h;
    n->queues = queues_new();
    n->jobs = jobs_new();
    n->open = n->gone = false;
    struct domain domains[] = {house_rows(h), *queues_domain(n->queues), *jobs_domain(n->jobs)};
    house_open(h, domains, ARRAY_LEN(domains));
    jobs_start(n->jobs, &(struct jobs_options){
                            .ledger = h->ledger, .queues = n->queues, .world = sim_world(h->sim)});
    queues_start(n->queues, h->ledger, sim_world(h->sim), "n");
    n->live = true;
    node_declare(n);
    house_settle(h);
    job_hand_begin(n);
}

static void node_close(struct house *h)
{
    struct node *n = (struct node *)h;
    sim_note(h->sim, "close");
    n->live = false;
    house_settle(h);
    queues_unlisten(n->queues, &n->consumer);
    if (!sim_run_until(h->sim, is_gone, n, 1000))
        sim_fail("the worker does not come to an end");
    jobs_stop(n->jobs);
    queues_stop(n->queues);
    house_close(h);
    jobs_free(n->jobs);
    queues_free(n->queues);
}

static void node_turn(struct node *n)
{
    for (uint64_t i = sim_rand(n->h.sim, 3); i > 0; i--)
        job_sim_submit(n);
    if (sim_chance(n->h.sim, 15))
        job_sim_fan(n);
    if (sim_chance(n->h.sim, 20))
        job_sim_cancel(n);
    if (sim_chance(n->h.sim, 3))
        n->dead_until_ns = sim_now_ns(n->h.sim) + sim_rand(n->h.sim, 6) * 1000000000;
    job_hand_turn(n);
    house_pass(&n->h, 800, 60);
}

static void node_live(struct house *h)
{
    for (uint64_t turns = 10 + sim_rand(h->sim, 90); turns > 0 && house_counts(h); turns--)
        node_turn((struct node *)h);
}

/* ---- what must hold in the end ---- */

static int64_t times(struct node *n, const char *what, long long of)
{
    char name[32];
    snprintf(name, sizeof name, "%s:%lld", what, of);
    return house_times(&n->h, name);
}

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

static int64_t runs_open(struct node *n)
{
    return house_number(&n->h, "SELECT count(*) FROM job_runs WHERE state = 1", NULL);
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
    return runs_open(n) > 0;
}

static void node_drain(struct node *n)
{
    n->peace = true;
    n->dead_until_ns = 0;
    node_open(&n->h);
    for (int turns = 0; is_living(n); turns++) {
        if (turns == DRAIN_TURNS)
            sim_fail("J3: %lld runs never come to an end", (long long)runs_open(n));
        job_hand_turn(n);
        sim_run(n->h.sim, 700);
    }
    house_settle(&n->h);
    node_check(n);
    node_close(&n->h);
    house_power_cut(&n->h);
    node_open(&n->h);
    node_check(n);
    node_close(&n->h);
}

uint64_t job_sim(uint64_t seed, FILE *trace)
{
    static const struct house_files files = {.segment_bytes = 64 << 10,
                                             .snapshot_bytes = 20000,
                                             .snapshot_more = 300000,
                                             .snapshot_entries = 300,
                                             .keep_bytes = 100000};
    static const struct house_life life = {
        .soon = 200, .late = 6000, .open = node_open, .live = node_live, .close = node_close};
    struct node n = {.live = false};
    house_init(&n.h, seed, trace, &files);
    for (uint64_t lives = 1 + sim_rand(n.h.sim, LIVES); lives > 0; lives--)
        house_life(&n.h, &life);
    node_drain(&n);
    sim_note(n.h.sim, "%u submitted, %u fan-outs", n.count, n.fans);
    return house_fini(&n.h);
}
