/* Schedules on a disk that forgets, with clocks that are set, workers that die and people who
 * trigger, pause and resume.
 *
 * One node: it freezes at some I/O, is killed or loses power, stays away for a while and opens
 * again; each start is an election of one. Its jobs are due every ten seconds and differ in what
 * `overlap` says; their runs take from nothing to half a minute, and some fail.
 *
 * Guarantees: J1.
 *   J1. for each schedule, the due times that its decisions decide are all those that there were,
 *       each once: as many as the grid has since it was declared, and none twice; a due time has at
 *       most one run, and a decision that says so has one;
 *       what a schedule counts as its runs are those that are kept beside it;
 *       where every run is let to end, their windows leave nothing out and nothing twice. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "job/clock_priv.h"
#include "sim/house.h"
#include "sim/scenario.h"
#include "support/job_lab.h"
#include "support/job_worker.h"
#include "support/simworld.h"

enum {
    LIVES = 5,
    EVERY_MS = 10000,
    TURN_MS = 3000,
    LEASE_MS = 30000,
    AWAY_MAX_S = 900,
    SETTLE_MS = 120000,
    AHEAD_MS = 86400000,
};

static const char *const names[] = {"skip", "one", "all", "cancel", "stop", "allow"};
static const char *const overlaps[] = {"skip",   "buffer_one", "buffer_all",
                                       "cancel", "terminate",  "allow"};

struct node {
    struct job_lab lab;
    struct job_worker worker;
    uint64_t renewed_ns;
    bool works;
};

static struct sim *sim_of(struct node *n)
{
    return n->lab.sim;
}

static bool counts(struct node *n)
{
    return !sim_is_frozen(sim_of(n));
}

/* ---- checks ---- */

static void none(struct node *n, const char *sql, const char *what)
{
    int64_t found = job_lab_number(&n->lab, sql);
    if (found != 0)
        sim_fail("%s (%lld)", what, (long long)found);
}

/* Points of the grid in (from, to]. */
static int64_t grid(int64_t from, int64_t to)
{
    return to / EVERY_MS - from / EVERY_MS;
}

static void check_decided(struct node *n, const char *name)
{
    struct err e = ERR_INIT;
    char sql[256];
    struct job_schedule s;
    if (job_schedule_get(n->lab.db, name, &s, &e) != 0)
        sim_fail("schedule %s: %s", name, e.text);
    snprintf(sql, sizeof sql,
             "SELECT coalesce(sum(ticks), 0) FROM job_ticks WHERE name = '%s' AND kind = 1", name);
    int64_t decided = job_lab_number(&n->lab, sql), due = grid(s.state.since, s.state.decided);
    if (decided != due)
        sim_fail("J1: schedule %s was due %lld times, and %lld were decided", name, (long long)due,
                 (long long)decided);
    job_schedule_fini(&s);
}

static void check(struct node *n)
{
    static const struct {
        const char *sql, *what;
    } rules[] = {
        {"SELECT count(*) FROM (SELECT 1 FROM job_ticks WHERE kind = 1 GROUP BY name, due HAVING "
         "count(*) > 1)",
         "J1: a due time has two decisions"},
        {"SELECT count(*) FROM (SELECT 1 FROM job_runs WHERE kind = 1 GROUP BY schedule, "
         "scheduled_at HAVING count(*) > 1)",
         "J1: a due time has two runs"},
        {"SELECT count(*) FROM job_ticks AS t WHERE runs = 1 AND NOT EXISTS (SELECT 1 FROM "
         "job_runs AS r WHERE r.id = t.run)",
         "J1: a decision has no run"},
        {"SELECT count(*) FROM job_runs AS r WHERE schedule <> '' AND NOT EXISTS (SELECT 1 FROM "
         "job_ticks AS t WHERE t.run = r.id)",
         "J1: a run has no decision"},
        {"SELECT count(*) FROM job_schedules AS s WHERE running + waiting <> (SELECT count(*) FROM "
         "job_schedule_runs AS r WHERE r.name = s.name) OR waiting <> (SELECT count(*) FROM "
         "job_schedule_runs AS r WHERE r.name = s.name AND r.waiting = 1)",
         "J1: a schedule counts other runs than it has"},
        {"SELECT count(*) FROM (SELECT window_from, lag(window_to) OVER (PARTITION BY schedule "
         "ORDER BY window_to, window_from) AS before FROM job_runs WHERE schedule IN ('skip', "
         "'one', 'all', 'allow')) WHERE before IS NOT NULL AND before <> window_from",
         "J1: windows leave something out, or have it twice"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        none(n, rules[i].sql, rules[i].what);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        check_decided(n, names[i]);
    job_lab_check(&n->lab);
}

/* ---- what people do ---- */

static void declare_all(struct node *n)
{
    char text[160];
    for (size_t i = 0; i < ARRAY_LEN(names) && counts(n); i++) {
        snprintf(text, sizeof text,
                 "{\"every\":\"10s\",\"overlap\":\"%s\",\"catchup\":\"5m\",\"attempts\":2,"
                 "\"backoff\":\"1s\"%s}",
                 overlaps[i], i == 1 ? ",\"pause_on_failure\":3" : "");
        job_lab_declare(&n->lab, names[i], text);
    }
}

static void person_does(struct node *n)
{
    struct err e = ERR_INIT;
    struct job_decided d;
    bool resumed;
    struct job_verb v = {.name = names[sim_rand(sim_of(n), ARRAY_LEN(names))],
                         .by = "ana",
                         .now = job_clock_now(n->lab.jobs),
                         .make_id = job_clock_id,
                         .arg = n->lab.jobs};
    struct txn *t = job_lab_txn(&n->lab);
    uint64_t what = sim_rand(sim_of(n), 4);
    int rc = what == 0   ? job_txn_trigger(t, n->lab.db, &v, &d, &e)
             : what == 1 ? job_txn_pause(t, n->lab.db, &v, &e)
                         : job_txn_resume(t, n->lab.db, &v, &resumed, &d, &e);
    if (rc != 0)
        sim_fail("%s: %s", v.name, e.text);
    if (sim_chance(sim_of(n), 50)) /* what was read may be old by then */
        job_lab_run(&n->lab, sim_rand(sim_of(n), 2 * EVERY_MS));
    if (t->ops == 0)
        unit_fini(&n->lab.unit);
    else if (job_lab_do(&n->lab, &e) != 0 && counts(n) && e.code != ERR_CONFLICT)
        sim_fail("%s: %s", v.name, e.text);
}

/* Of a run that waits its turn. */
static void person_cancels(struct node *n)
{
    struct err e = ERR_INIT;
    struct uuid run;
    size_t len;
    struct db_stmt *s = db_stmt_get(
        n->lab.db,
        "SELECT run FROM job_schedule_runs WHERE waiting = 1 AND outcome = 0 ORDER BY run LIMIT 1",
        &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    bool found = db_step(s, &e) > 0;
    if (found)
        memcpy(run.b, db_col_blob(s, 0, &len), sizeof run.b);
    db_stmt_done(s);
    if (!found)
        return;
    job_txn_cancel(job_lab_txn(&n->lab), &run, NULL, NULL);
    if (job_lab_do(&n->lab, &e) != 0 && counts(n) && e.code != ERR_CONFLICT)
        sim_fail("cancel: %s", e.text);
}

/* ---- the worker ---- */

static void worker_begin(struct node *n)
{
    job_worker_open(&n->worker, &n->lab, 0, JOB_COMPLETED);
    n->renewed_ns = sim_now_ns(sim_of(n));
    n->works = true;
}

static void worker_end(struct node *n)
{
    if (n->works)
        job_worker_close(&n->worker);
    n->works = false;
}

static void worker_turn(struct node *n)
{
    struct sim *s = sim_of(n);
    n->worker.hold_ms = sim_chance(s, 50) ? sim_rand(s, 2000) : sim_rand(s, 30000);
    n->worker.outcome = sim_chance(s, 20) ? JOB_DISCARDED : JOB_COMPLETED;
    n->worker.deaf = sim_chance(s, 30);
    if ((sim_now_ns(s) - n->renewed_ns) / 1000000 < LEASE_MS / 3)
        return;
    n->renewed_ns = sim_now_ns(s);
    if (!job_worker_renew(&n->worker)) {
        worker_end(n);
        worker_begin(n);
    }
}

/* ---- lives ---- */

static void node_live(struct node *n)
{
    struct sim *s = sim_of(n);
    for (uint64_t turns = 10 + sim_rand(s, 60); turns > 0 && counts(n); turns--) {
        worker_turn(n);
        if (sim_chance(s, 10) && counts(n))
            person_does(n);
        if (sim_chance(s, 5) && counts(n))
            person_cancels(n);
        job_lab_run(&n->lab, 1 + sim_rand(s, TURN_MS));
        if (sim_chance(s, 2))
            sim_clock_jump(s, (int64_t)sim_rand(s, 1800000) - 900000);
        if (sim_chance(s, 20) && counts(n))
            check(n);
    }
}

static void node_begin(struct node *n)
{
    job_lab_up(&n->lab);
    declare_all(n);
    if (counts(n))
        check(n);
    worker_begin(n);
}

static void node_end(struct node *n)
{
    worker_end(n);
    job_lab_down(&n->lab);
}

static void node_life(struct node *n)
{
    struct sim *s = sim_of(n);
    house_may_freeze(s, 100, 2000);
    node_begin(n);
    node_live(n);
    if (sim_chance(s, 70))
        sim_freeze(s, "end of life");
    node_end(n);
    house_dies(s);
    if (sim_chance(s, 60))
        sim_spend(s, sim_rand(s, AWAY_MAX_S) * 1000000000u);
}

/* In the end nothing that is due stays undecided, and nothing that waits stays so. */
static void node_settles(struct node *n)
{
    struct sim *s = sim_of(n);
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct job_verb v = {.name = names[i],
                             .by = "ana",
                             .now = job_clock_now(n->lab.jobs),
                             .make_id = job_clock_id,
                             .arg = n->lab.jobs};
        int tries = 0;
        do {
            if (job_txn_pause(job_lab_txn(&n->lab), n->lab.db, &v, &e) != 0)
                sim_fail("pause: %s", e.text);
        } while (job_lab_do(&n->lab, &e) == ERR_CONFLICT && tries++ < 20);
        if (e.code != 0)
            sim_fail("pause: %s", e.text);
    }
    sim_clock_jump(s, AHEAD_MS); /* where it was set back, leases would seem to last */
    uint64_t until = sim_now_ns(s) + (uint64_t)SETTLE_MS * 1000000;
    while (sim_now_ns(s) < until) {
        worker_turn(n);
        n->worker.hold_ms = 0;
        n->worker.deaf = false;
        job_lab_run(&n->lab, TURN_MS);
    }
    none(n, "SELECT sum(running) FROM job_schedules", "runs are under way without end");
    none(n, "SELECT count(*) FROM job_schedule_runs WHERE outcome <> 0", "an end is not accounted");
    check(n);
}

uint64_t sched_sim(uint64_t seed, FILE *trace)
{
    struct node n = {.works = false};
    job_lab_init(&n.lab, seed, trace);
    n.lab.lease_ms = LEASE_MS;
    n.lab.options.segment_bytes = 64 << 10;
    n.lab.options.snapshot_bytes = 50000 + sim_rand(n.lab.sim, 400000);
    n.lab.options.snapshot_entries = 20 + sim_rand(n.lab.sim, 200);
    n.lab.options.keep_ms = 1;
    n.lab.options.keep_bytes = 1;
    for (uint64_t lives = 1 + sim_rand(n.lab.sim, LIVES); lives > 0; lives--)
        node_life(&n);
    node_begin(&n);
    node_live(&n);
    node_settles(&n);
    node_end(&n);
    uint64_t hash = sim_trace_hash(n.lab.sim);
    job_lab_fini(&n.lab);
    return hash;
}
