/* Runs: what follows from ends that nobody settles, and rows that are needed no more. On the
 * ledger's thread, where this node leads.
 *
 *   the queue tells an end ---> heard --+
 *   all open rows, now and then --------+--> is the row open? --> unit: job_txn_end()
 *                                                                    | stale: again
 *   ended rows, now and then: is the record forgotten? --> unit: job.sweep
 *
 * An end is heard by the fingerprint of the record; most have no row, and that is the end of it.
 * What is not heard (before a start, on another leader) is found by comparing. */
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "db/db.h"
#include "job/run_priv.h"

enum {
    RUN_HEARD_MAX = 100000, /* over it the rows are compared instead */
    RUN_FLYING_MAX = 64,    /* units at once */
    RUN_ROWS = 500,         /* looked at in one go */
    RUN_HEARD_STEP = 1000,
    RUN_COMPARE_MS = 30 * 1000,
    RUN_SWEEP_MS = 5 * 60 * 1000,
    RUN_STEP_MS = 5,    /* between two goes */
    RUN_LOOK_MS = 1000, /* the longest sleep */
};

/* A unit under way. */
struct run_unit {
    struct unit unit; /* first */
    struct list node;
    struct jobs *jobs;
    struct run_heard heard; /* of an end */
    struct job_end end;
    bool ends;
};

static uint64_t runs_mono(struct jobs *j)
{
    return j->world->mono_ns(j->world) / 1000000;
}

static void runs_arm(struct jobs *j, uint64_t delay_ms)
{
    j->runs->armed = true;
    j->world->timer_start(j->world, &j->runs->timer, delay_ms);
}

static void runs_make_id(void *arg, struct uuid *out)
{
    struct jobs *j = arg;
    uint8_t random[8];
    j->world->random(j->world, random, sizeof random);
    uuid_v7(&j->runs->ids, (uint64_t)j->world->wall_ms(j->world), random, out);
}

/* ---- hearing ---- */

static void heard_add(struct job_runs *r, uint64_t print, enum job_outcome outcome)
{
    if (r->heard_count == r->heard_room) {
        size_t room = r->heard_room > 0 ? 2 * r->heard_room : 64;
        struct run_heard *more =
            room <= RUN_HEARD_MAX ? mem_try_resize(r->heard, room * sizeof *more) : NULL;
        if (more == NULL) {
            r->compare_ms = 0; /* all rows, then */
            r->compared = INT64_MIN;
            return;
        }
        r->heard = more;
        r->heard_room = room;
    }
    r->heard[r->heard_count++] = (struct run_heard){print, outcome};
}

static enum job_outcome outcome_of(enum rec_state state)
{
    return state == REC_COMPLETED   ? JOB_COMPLETED
           : state == REC_DISCARDED ? JOB_DISCARDED
                                    : JOB_CANCELLED;
}

static void heard_cb(struct queue_ear *ear, const struct core_effect *f, uint64_t seq, int64_t at)
{
    struct job_runs *r = (struct job_runs *)((char *)ear - offsetof(struct job_runs, ear));
    struct jobs *j = r->jobs;
    (void)seq;
    if (strncmp(f->queue, "job.", 4) != 0 || r->stopped || !r->leads)
        return;
    enum job_outcome outcome = f->kind == EFFECT_PURGED ? JOB_CANCELLED : outcome_of(f->state);
    heard_add(r, f->id, outcome);
    if (f->kind == EFFECT_ENDED)
        run_metered(r->meters, f, outcome, at);
    if (!r->asking)
        runs_arm(j, 0);
}

/* ---- ends ---- */

static void unit_free(struct run_unit *u)
{
    list_remove(&u->node);
    u->jobs->runs->flying_count--;
    unit_fini(&u->unit);
    mem_free(u);
}

static void unit_done(struct unit *unit)
{
    struct run_unit *u = (struct run_unit *)unit;
    struct jobs *j = u->jobs;
    int code = unit->err.code;
    if (u->ends && job_end_is_stale(unit, &u->end))
        heard_add(j->runs, u->heard.print, u->heard.outcome);
    else if (code != 0 && code != ERR_CONFLICT && code != ERR_NO_LEADER && code != ERR_DRAINING)
        log_warn("job", "what follows from the end of a run waits: %s", unit->err.text);
    unit_free(u);
    if (!j->runs->stopped && !j->runs->asking && j->runs->heard_count > 0)
        runs_arm(j, 0);
}

static struct run_unit *unit_new(struct jobs *j, const char *tenant, const char *reason)
{
    struct run_unit *u = mem_new(sizeof *u);
    u->jobs = j;
    unit_init(&u->unit, j->world->runner, unit_done);
    u->unit.txn.urgent = true;
    txn_envelope(&u->unit.txn, &(struct envelope){.tenant = tenant, .reason = reason});
    list_push(&j->runs->flying, &u->node);
    j->runs->flying_count++;
    return u;
}

/* ERR_CONFLICT while it is put together: it has ended meanwhile. */
static void unit_propose(struct run_unit *u, int rc, struct err *e)
{
    if (rc == 0)
        rc = ledger_propose(u->jobs->ledger, &u->unit, e);
    if (rc == 0)
        return;
    if (rc != ERR_CONFLICT && rc != ERR_NO_LEADER && rc != ERR_DRAINING)
        log_warn("job", "what follows from the end of a run waits: %s", e->text);
    unit_free(u);
}

static void end_propose(struct jobs *j, const struct uuid *id, const char *tenant,
                        const struct run_heard *h)
{
    struct err e = ERR_INIT;
    struct run_unit *u = unit_new(j, tenant, "a run has ended");
    u->ends = true;
    u->heard = *h;
    u->end = (struct job_end){.run = *id, .outcome = h->outcome, .make_id = runs_make_id, .arg = j};
    unit_propose(u, job_txn_end(&u->unit.txn, j->db, &u->end, &e), &e);
}

/* The open row of a record. */
static int open_find(struct db *db, uint64_t print, struct uuid *id, char *tenant, size_t room,
                     struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT id, tenant FROM job_runs WHERE print = ?1 AND state = 1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)print);
    int rc = db_step(s, e);
    if (rc > 0) {
        *id = run_col_id(s, 0);
        snprintf(tenant, room, "%s", db_col_text(s, 1, NULL));
    }
    return rc;
}

static bool is_any_open(struct db *db)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM job_runs WHERE state = 1 LIMIT 1", NULL);
    return s == NULL || db_step(s, NULL) != 0;
}

static void heard_follow(struct jobs *j)
{
    struct job_runs *r = j->runs;
    size_t i = 0;
    if (r->heard_count == 0 || !is_any_open(j->db)) {
        r->heard_count = 0;
        return;
    }
    for (; i < r->heard_count && i < RUN_HEARD_STEP && r->flying_count < RUN_FLYING_MAX; i++) {
        char tenant[TXN_ENVELOPE_TEXT_MAX + 1];
        struct err e = ERR_INIT;
        struct uuid id;
        struct run_heard h = r->heard[i];
        int rc = open_find(j->db, h.print, &id, tenant, sizeof tenant, &e);
        if (rc < 0)
            log_warn("job", "the end of a run is looked at again: %s", e.text);
        if (rc < 0)
            break;
        if (rc > 0)
            end_propose(j, &id, tenant, &h);
    }
    if (i > 0)
        memmove(r->heard, r->heard + i, (r->heard_count - i) * sizeof *r->heard);
    r->heard_count -= i;
}

/* ---- comparing ---- */

struct compared {
    struct uuid id;
    uint64_t print;
    bool alone; /* nothing waits for its end */
};

static int open_rows(struct db *db, int64_t after, struct compared *out, size_t *count,
                     struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT id, print, steps > 0 OR fan IS NOT NULL OR schedule <> '' FROM job_runs WHERE "
        "state = 1 AND print > ?1 ORDER BY print LIMIT ?2",
        e);
    int rc = s == NULL ? e->code : 1;
    if (s != NULL) {
        db_bind_int(s, 1, after);
        db_bind_int(s, 2, RUN_ROWS);
    }
    for (*count = 0; rc > 0 && (rc = db_step(s, e)) > 0; (*count)++)
        out[*count] = (struct compared){.id = run_col_id(s, 0),
                                        .print = (uint64_t)db_col_int(s, 1),
                                        .alone = db_col_int(s, 2) == 0};
    return rc;
}

static void sweep_propose(struct jobs *j, const struct uuid *ids, size_t count, bool open)
{
    struct err e = ERR_INIT;
    if (count == 0)
        return;
    struct run_unit *u = unit_new(j, NULL, "runs that are kept no longer");
    u->unit.txn.grows = false;
    run_txn_sweep(&u->unit.txn, ids, count, open);
    unit_propose(u, 0, &e);
}

/* Open rows whose record is over. One that never came to be (its send was another's repeat) has a
 * row that means nothing. */
static void compare_step(struct jobs *j, const struct core *c)
{
    struct job_runs *r = j->runs;
    struct err e = ERR_INIT;
    struct compared rows[RUN_ROWS];
    struct uuid gone[RUN_ROWS];
    size_t count = 0, gone_count = 0;
    int rc = open_rows(j->db, r->compared, rows, &count, &e);
    for (size_t i = 0; i < count; i++) {
        struct core_view v = {.state = 0};
        r->compared = (int64_t)rows[i].print;
        bool there = core_look(c, &rows[i].id, &v, NULL) == 0;
        if (!there && rows[i].alone)
            gone[gone_count++] = rows[i].id;
        else if (!there || v.state >= REC_COMPLETED)
            heard_add(r, rows[i].print, there ? outcome_of(v.state) : JOB_CANCELLED);
    }
    sweep_propose(j, gone, gone_count, true);
    if (rc == 0 && count == RUN_ROWS)
        return;
    if (rc < 0)
        log_warn("job", "open runs are compared again: %s", e.text);
    r->compared = INT64_MIN;
    r->compare_ms = runs_mono(j) + RUN_COMPARE_MS;
}

/* ---- sweeping ---- */

static bool is_over(const struct core *c, const struct uuid *id)
{
    struct core_view v;
    return core_look(c, id, &v, NULL) != 0 || v.state >= REC_COMPLETED;
}

static bool is_forgotten(const struct core *c, const struct uuid *id)
{
    struct core_view v;
    return core_look(c, id, &v, NULL) != 0;
}

/* Ended rows whose record is forgotten, unless their steps are being undone. */
static void sweep_step(struct jobs *j, const struct core *c)
{
    struct job_runs *r = j->runs;
    struct err e = ERR_INIT;
    struct uuid ids[RUN_SWEEP_MAX];
    size_t count = 0, seen = 0;
    AUTO(db_stmt_donep)
    struct db_stmt *s = run_stmt(j->db,
                                 "SELECT id, undo FROM job_runs WHERE state > 1 AND id > ?1 ORDER "
                                 "BY id LIMIT ?2",
                                 &r->swept, &e);
    int rc = s == NULL ? e.code : 1;
    if (s != NULL)
        db_bind_int(s, 2, RUN_SWEEP_MAX);
    for (; rc > 0 && (rc = db_step(s, &e)) > 0; seen++) {
        struct uuid id = r->swept = run_col_id(s, 0), undo = run_col_id(s, 1);
        if (is_forgotten(c, &id) && (db_col_is_null(s, 1) || is_over(c, &undo)))
            ids[count++] = id;
    }
    sweep_propose(j, ids, count, false);
    if (rc == 0 && seen == RUN_SWEEP_MAX)
        return;
    r->swept = (struct uuid){{0}};
    r->sweep_ms = runs_mono(j) + RUN_SWEEP_MS;
}

/* ---- turning ---- */

static void turn_ask(struct queue_ask *a, const struct core *c)
{
    struct job_runs *r = (struct job_runs *)((char *)a - offsetof(struct job_runs, ask));
    struct jobs *j = r->jobs;
    struct ledger_status now;
    if (r->stopped)
        return;
    ledger_status(j->ledger, &now);
    if (now.leader && !r->leads) {
        r->compare_ms = 0;
        r->compared = INT64_MIN;
    }
    r->leads = now.leader;
    if (!r->leads) {
        r->heard_count = 0;
        return;
    }
    heard_follow(j);
    if (r->compare_ms <= runs_mono(j) && r->flying_count < RUN_FLYING_MAX)
        compare_step(j, c);
    if (r->sweep_ms <= runs_mono(j) && r->flying_count < RUN_FLYING_MAX)
        sweep_step(j, c);
}

static void turn_done(struct queue_ask *a)
{
    struct job_runs *r = (struct job_runs *)((char *)a - offsetof(struct job_runs, ask));
    struct jobs *j = r->jobs;
    r->asking = false;
    if (r->stopped)
        return;
    uint64_t now = runs_mono(j);
    bool more = r->heard_count > 0 || (r->leads && (r->compare_ms <= now || r->sweep_ms <= now));
    runs_arm(j, more ? RUN_STEP_MS : RUN_LOOK_MS);
}

static void turn_fire(struct world_timer *t)
{
    struct job_runs *r = (struct job_runs *)((char *)t - offsetof(struct job_runs, timer));
    struct jobs *j = r->jobs;
    if (r->stopped || r->asking)
        return;
    r->asking = true;
    queues_ask(j->queues, &r->ask);
}

void runs_init(struct jobs *j)
{
    struct job_runs *r = j->runs = mem_new(sizeof *r);
    list_init(&r->flying);
    r->meters = map_new();
    r->jobs = j;
    r->compared = INT64_MIN;
    r->ear.ended = heard_cb;
    r->timer.fire = turn_fire;
    r->ask.ask = turn_ask;
    r->ask.done = turn_done;
}

void runs_start(struct jobs *j)
{
    j->runs->ask.home = j->world->runner;
    queues_hear(j->queues, &j->runs->ear);
    runs_arm(j, 0);
}

void runs_stop(struct jobs *j)
{
    j->runs->stopped = true;
    if (j->world != NULL)
        j->world->timer_stop(j->world, &j->runs->timer);
}

/* The ledger is closed: nobody is left to tell what is under way. */
void runs_fini(struct jobs *j)
{
    struct list *node;
    while ((node = list_pop(&j->runs->flying)) != NULL) {
        struct run_unit *u = LIST_OF(node, struct run_unit, node);
        unit_fini(&u->unit);
        mem_free(u);
    }
    run_meters_free(j->runs->meters);
    mem_free(j->runs->heard);
    mem_free(j->runs);
}
