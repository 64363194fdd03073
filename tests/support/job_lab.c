#include "support/job_lab.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "queue/queue.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum { LAB_ANSWER_MS = 20 * 1000 };

static int lab_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct job_lab *)self)->db = db;
    return 0;
}

void job_lab_up(struct job_lab *l)
{
    struct err e = ERR_INIT;
    l->queues = queues_new();
    l->jobs = jobs_new();
    struct domain domains[] = {*queues_domain(l->queues),
                               *jobs_domain(l->jobs),
                               {.name = "tap", .self = l, .opened = lab_opened}};
    struct world *w = sim_world(l->sim);
    if (ledger_open(&l->options, w, domains, ARRAY_LEN(domains), &l->ledger, &e) != 0)
        PANIC("%s", e.text);
    struct jobs_options o = {.ledger = l->ledger, .queues = l->queues, .world = w};
    jobs_start(l->jobs, &o);
    queues_start(l->queues, l->ledger, w, "n");
}

void job_lab_down(struct job_lab *l)
{
    jobs_stop(l->jobs);
    queues_stop(l->queues);
    if (!sim_ledger_close(l->sim, l->ledger))
        PANIC("the ledger does not close");
    sim_run(l->sim, 5);
    jobs_free(l->jobs);
    queues_free(l->queues);
}

void job_lab_init(struct job_lab *l, uint64_t seed, FILE *trace)
{
    struct err e = ERR_INIT;
    *l = (struct job_lab){.sim = sim_new(seed, trace),
                          .options = {.dir = "data", .vfs = "job_lab", .exclusive = true}};
    if (db_vfs_register("job_lab", sim_world(l->sim)->disk, &e) != 0)
        PANIC("%s", e.text);
}

void job_lab_fini(struct job_lab *l)
{
    db_vfs_unregister("job_lab");
    sim_free(l->sim);
    stat_reset_all();
}

void job_lab_open(struct job_lab *l, uint64_t seed)
{
    job_lab_init(l, seed, NULL);
    job_lab_up(l);
}

void job_lab_close(struct job_lab *l)
{
    job_lab_down(l);
    job_lab_fini(l);
}

void job_lab_restart(struct job_lab *l, int64_t away_ms)
{
    job_lab_down(l);
    sim_clock_jump(l->sim, away_ms);
    job_lab_up(l);
}

static void lab_done(struct unit *u)
{
    ((struct job_lab *)((char *)u - offsetof(struct job_lab, unit)))->done = true;
}

static bool lab_is_done(void *arg)
{
    return ((struct job_lab *)arg)->done;
}

struct txn *job_lab_txn(struct job_lab *l)
{
    unit_init(&l->unit, sim_client(l->sim), lab_done);
    return &l->unit.txn;
}

int job_lab_do(struct job_lab *l, struct err *e)
{
    l->done = false;
    int rc = ledger_propose(l->ledger, &l->unit, e);
    if (rc == 0) {
        if (!sim_run_until(l->sim, lab_is_done, l, LAB_ANSWER_MS))
            PANIC("no answer");
        rc = l->unit.err.code;
        *e = l->unit.err;
    }
    unit_fini(&l->unit);
    return rc;
}

void job_lab_run(struct job_lab *l, uint64_t ms)
{
    sim_run(l->sim, ms);
}

int64_t job_lab_now(struct job_lab *l)
{
    struct world *w = sim_world(l->sim);
    return w->wall_ms(w);
}

static void lab_try_declare(struct txn *t, const char *name, const char *definition, struct err *e)
{
    json_t *v = definition != NULL ? json_read(definition, strlen(definition), e) : NULL;
    struct job_def d;
    struct core_queue q;
    if (e->code == 0 && job_txn_declare(t, name, v, e) == 0 && v != NULL &&
        job_def_read(name, v, &d, e) == 0) {
        job_def_queue(&d, &q);
        queue_txn_declare(t, &q);
        job_def_fini(&d);
    }
    json_decref(v);
}

void job_lab_declare(struct job_lab *l, const char *name, const char *definition)
{
    struct err e = ERR_INIT;
    lab_try_declare(job_lab_txn(l), name, definition, &e);
    if (e.code != 0 || job_lab_do(l, &e) != 0)
        PANIC("%s", e.text);
}

int64_t job_lab_number(struct job_lab *l, const char *sql)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(l->db, sql, &e);
    int rc = s != NULL ? db_step(s, &e) : e.code;
    if (rc < 0)
        PANIC("%s", e.text);
    int64_t v = rc > 0 ? db_col_int(s, 0) : INT64_MIN;
    db_stmt_done(s);
    return v;
}

void job_lab_check(struct job_lab *l)
{
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    if (db_hash_scan(l->db, &scan, &e) != 0 || scan != db_hash(l->db))
        PANIC("the running state hash is not that of the rows %s", e.text);
}
