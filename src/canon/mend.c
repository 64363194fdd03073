/* Parked arrivals without a record get one: those of a time before parked arrivals were records,
 * or whose queue was lost with the state of it.
 *
 *   look (MEND_LOOK parked ones, ledger's thread) ---> unit: a record for each that has none
 *        ^      | all have one: the next                  | applied: the next look, behind them
 *        |      +---> at the end: over                    | one is not parked any more: look again
 *        +---- timer, when the ledger could not ----------+
 *
 * Canon's rows and the queue's records are looked at between two entries of the log, so they are of
 * the same moment; what changes before the unit is applied is its condition. */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/canon_priv.h"
#include "canon/ops_priv.h"
#include "canon/parked_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum {
    MEND_LOOK = 500,       /* rows of one look */
    MEND_BYTES = 2 << 20,  /* of records in one unit, about */
    MEND_AGAIN_MS = 10000, /* after a failure */
};

/* Up to where was looked. */
struct mend_at {
    char tenant[CORE_TEXT_MAX + 1], model[CANON_QUEUE_NAME_MAX], id[40];
};

struct mender {
    struct queue_ask ask; /* first */
    struct canon *canon;
    struct queues *queues;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    struct mend_at at, next; /* next: when what was found is done */
    struct unit unit;
    size_t found, mended;
    bool over, under_way, stopped;
    struct err err;
};

static void mender_look(struct mender *m);

/* ---- one look ---- */

static bool has_record(const struct core *c, const char *arrival)
{
    struct uuid id;
    struct core_view v;
    return !uuid_parse(arrival, strlen(arrival), &id) || core_look(c, &id, &v, NULL) == 0;
}

static int mend_row(struct mender *m, struct db_stmt *s, struct err *e)
{
    struct txn *t = &m->unit.txn;
    int phase = (int)db_col_int(s, 6);
    struct parked_said said = {.arrival = m->next.id,
                               .origin = db_col_text(s, 3, NULL),
                               .source_id = db_col_text(s, 4, NULL),
                               .observed_at = db_col_int(s, 5),
                               .phase = phase,
                               .reason = db_col_text(s, 7, NULL),
                               .evidence = db_col_text(s, 8, NULL),
                               .tags = db_col_text(s, 9, NULL),
                               .data = db_col_text(s, phase == PHASE_INTAKE ? 10 : 11, NULL)};
    if (m->found == 0) {
        struct envelope env = {.tenant = m->next.tenant};
        unit_init(&m->unit, m->world->runner, NULL);
        txn_envelope(t, &env);
    }
    m->found++;
    canon_op_if_parked(t, said.arrival);
    return parked_txn_send(t, m->next.model, &said, NULL, e);
}

static struct db_stmt *mend_rows(struct mender *m, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(
        canon_writer(m->canon),
        "SELECT tenant, model, id, origin, source_id, observed_at, phase, reason, evidence, tags, "
        "body, work FROM canon_arrival WHERE outcome = 2 AND (tenant, model, id) > (?1, ?2, ?3) "
        "ORDER BY tenant, model, id LIMIT ?4",
        e, m->at.tenant, m->at.model, m->at.id);
    if (s != NULL)
        db_bind_int(s, 4, MEND_LOOK);
    return s;
}

static void mender_ask(struct queue_ask *a, const struct core *c)
{
    struct mender *m = (struct mender *)a;
    int rc, rows = 0;
    m->found = 0;
    m->over = false;
    m->next = m->at;
    err_clear(&m->err);
    AUTO(db_stmt_donep) struct db_stmt *s = mend_rows(m, &m->err);
    if (s == NULL)
        return;
    while ((rc = db_step(s, &m->err)) > 0) {
        const char *tenant = db_col_text(s, 0, NULL), *id = db_col_text(s, 2, NULL);
        bool missing = db_col_text(s, 10, NULL) != NULL && !has_record(c, id);
        if (missing && m->found > 0 &&
            (m->unit.txn.body.len > MEND_BYTES || strcmp(tenant, m->next.tenant) != 0))
            return; /* the rest is for the next look */
        str_copy(m->next.tenant, sizeof m->next.tenant, tenant);
        str_copy(m->next.model, sizeof m->next.model, db_col_text(s, 1, NULL));
        str_copy(m->next.id, sizeof m->next.id, id);
        rows++;
        if (missing && mend_row(m, s, &m->err) != 0)
            return;
    }
    m->over = rc == 0 && rows < MEND_LOOK;
}

/* ---- what comes of it ---- */

static void mender_fire(struct world_timer *t)
{
    mender_look(LIST_OF(t, struct mender, timer));
}

static void mender_end(struct mender *m)
{
    m->under_way = false;
    if (m->found > 0)
        unit_fini(&m->unit);
    m->found = 0;
}

static void mender_failed(struct mender *m)
{
    log_warn("canon", "parked arrivals without a record: %s", m->err.text);
    mender_end(m);
    m->over = false;
    m->timer.fire = mender_fire;
    if (!m->stopped)
        m->world->timer_start(m->world, &m->timer, MEND_AGAIN_MS);
}

static void mender_go_on(struct mender *m)
{
    m->at = m->next;
    mender_end(m);
    if (!m->over && !m->stopped)
        mender_look(m);
    else if (m->over && m->mended > 0)
        log_info("canon", "%zu parked arrivals have a record in their queue now", m->mended);
}

static void mender_done(struct unit *u)
{
    struct mender *m = LIST_OF(u, struct mender, unit);
    if (u->err.code == ERR_CONFLICT && !m->stopped) { /* one was taken up meanwhile */
        mender_end(m);
        m->over = false;
        mender_look(m);
    } else if (u->err.code != 0) {
        m->err = u->err;
        mender_failed(m);
    } else {
        m->mended += m->found;
        mender_go_on(m);
    }
}

static void mender_asked(struct queue_ask *a)
{
    struct mender *m = (struct mender *)a;
    if (m->err.code != 0 || m->stopped) {
        if (m->err.code != 0)
            mender_failed(m);
        else
            mender_end(m);
        return;
    }
    if (m->found == 0) {
        mender_go_on(m);
        return;
    }
    m->unit.done = mender_done;
    if (ledger_propose(m->ledger, &m->unit, &m->err) != 0)
        mender_failed(m);
}

static void mender_look(struct mender *m)
{
    m->under_way = true;
    m->ask.home = m->world->runner;
    m->ask.ask = mender_ask;
    m->ask.done = mender_asked;
    queues_ask(m->queues, &m->ask);
}

struct mender *mender_new(struct canon *c, struct queues *q, struct ledger *l, struct world *w)
{
    struct mender *m = mem_new(sizeof *m);
    m->canon = c;
    m->queues = q;
    m->ledger = l;
    m->world = w;
    mender_look(m);
    return m;
}

void mender_stop(struct mender *m)
{
    m->stopped = true;
    m->world->timer_stop(m->world, &m->timer);
}

void mender_free(struct mender *m)
{
    if (m == NULL)
        return;
    if (m->under_way && m->found > 0) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&m->unit);
    mem_free(m);
}
