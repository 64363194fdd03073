/* Runs for a start: each job that is declared `on_start` gets one, once the scripts are live. One
 * of `on_start = "node"` needs the label `node` with this node's id, so nobody else works it. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"
#include "job/args.h"
#include "job/clock_priv.h"
#include "queue/queue.h"

/* Of two that wait (here, on this node) one is enough: the second finds the same. */
#define START_UNIQUE "on_start"
#define START_LABEL "node"

static int start_names(struct jobs *j, json_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(j->db, "SELECT name FROM job_defs WHERE definition <> '' ORDER BY name", e);
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        struct job_def d;
        struct err why = ERR_INIT;
        if (job_def_get(j->db, db_col_text(s, 0, NULL), &d, &why) != 0)
            continue;
        if (d.on_start != JOB_START_NONE)
            json_array_append_new(out, json_string(d.name));
        job_def_fini(&d);
    }
    return rc;
}

void job_start_ready(struct task *t)
{
    struct jobs *j = LIST_OF(t, struct job_clock, ready)->jobs;
    struct err e = ERR_INIT;
    if (j->clock->stopped || j->clock->starting != NULL)
        return;
    j->clock->starting = json_array();
    if (start_names(j, j->clock->starting, &e) < 0)
        log_warn("job", "jobs that run at the start: %s", e.text);
    job_clock_soon(j);
}

static void start_next(struct job_clock *k)
{
    json_array_remove(k->starting, 0);
    k->start_tries = 0;
    job_clock_soon(k->jobs);
}

/* Where its queue refuses the run (it is full, or closed) the job has none for this start. */
static void start_refused(struct job_clock *k, const struct err *why)
{
    const char *name = json_string_value(json_array_get(k->starting, 0));
    bool machine = job_clock_is_machine(why->code);
    if (machine || ++k->start_tries < CLOCK_TRIES) {
        if (why->code != ERR_NO_LEADER && why->code != ERR_DRAINING)
            log_warn("job", "'%s', which runs at the start: %s", name, why->text);
        return;
    }
    log_warn("job", "'%s' does not run for this start: %s", name, why->text);
    start_next(k);
}

static void start_done(struct unit *u)
{
    struct job_clock *k = LIST_OF(u, struct job_clock, start_unit);
    struct err why = u->err;
    unit_fini(u);
    k->start_flying = false;
    if (why.code == 0)
        start_next(k);
    else
        start_refused(k, &why);
}

/* What a run for the start of one node has of its own. */
struct start_node {
    char unique[sizeof START_UNIQUE + CORE_TEXT_MAX];
    struct core_label needs[CORE_LABELS_MAX];
};

static void start_on_node(const struct jobs *j, struct queue_message *m, struct start_node *s)
{
    const char *node = queues_node(j->queues);
    ASSERT(m->send.needs_count < CORE_LABELS_MAX); /* job_def_read() has seen to it */
    snprintf(s->unique, sizeof s->unique, START_UNIQUE "/%.*s",
             (int)(CORE_TEXT_MAX - sizeof START_UNIQUE), node);
    for (uint8_t i = 0; i < m->send.needs_count; i++)
        s->needs[i] = m->send.needs[i];
    s->needs[m->send.needs_count++] = (struct core_label){.name = START_LABEL, .text = node};
    m->send.needs = s->needs;
    m->send.unique = s->unique;
}

static int start_add(struct jobs *j, const char *name, struct err *e)
{
    AUTO(job_def_fini) struct job_def d = {.json = NULL};
    AUTO(buf_fini) struct buf args = BUF_INIT(QUEUE_BODY_MAX + 1);
    struct queue_message m;
    struct start_node own;
    int rc = job_def_get(j->db, name, &d, e);
    if (rc == 0)
        rc = job_args_scheduled(&d, &args, e);
    if (rc != 0 && (rc != ERR_INVALID || args.len == 0))
        return rc;
    job_def_message(&d, &m);
    job_clock_id(j, &m.send.id);
    m.send.unique = START_UNIQUE;
    m.send.unique_mode = UNIQUE_SKIP;
    if (d.on_start == JOB_START_NODE)
        start_on_node(j, &m, &own);
    m.body = args.data;
    m.body_len = args.len;
    struct job_submit sub = {.def = &d, .message = &m, .kind = JOB_STARTED};
    return job_txn_submit(&j->clock->start_unit.txn, &sub, e);
}

void job_start_turn(struct jobs *j)
{
    struct job_clock *k = j->clock;
    struct err e = ERR_INIT;
    const char *name = json_string_value(json_array_get(k->starting, 0));
    if (k->start_flying || name == NULL)
        return;
    unit_init(&k->start_unit, j->world->runner, start_done);
    txn_envelope(&k->start_unit.txn, &(struct envelope){.tenant = JOB_TENANT, .reason = "start"});
    int rc = start_add(j, name, &e);
    if (rc == 0 && (rc = ledger_propose(j->ledger, &k->start_unit, &e)) == 0) {
        k->start_flying = true;
        return;
    }
    unit_fini(&k->start_unit);
    if (rc != ERR_NOT_FOUND)
        start_refused(k, &e);
    else /* declared no more */
        start_next(k);
}

void job_start_fini(struct job_clock *k)
{
    if (k->start_flying)
        unit_fini(&k->start_unit);
    json_decref(k->starting);
}
