/* Runs: what an end means, put together as one unit from the rows as they are. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "job/run_priv.h"
#include "ledger/txn.h"

int run_def(struct db *db, const char *job, struct job_def *out, struct err *e)
{
    struct err none = ERR_INIT;
    int rc = job_def_get(db, job, out, &none);
    if (rc != ERR_NOT_FOUND) {
        if (rc != 0 && e != NULL)
            *e = none;
        return rc;
    }
    AUTO(json_unref) json_t *empty = json_object();
    return job_def_read(job, empty, out, e);
}

/* ---- what an end starts ---- */

static struct queue_message end_message(const struct job_def *def, struct job_end *x,
                                        const char *correlation)
{
    struct queue_message m;
    memset(&m, 0, sizeof m);
    job_def_message(def, &m);
    m.send.create = true; /* also where no script declares it any more: then it waits */
    m.correlation = *correlation != '\0' ? correlation : NULL;
    if (x != NULL)
        x->make_id(x->arg, &m.send.id);
    return m;
}

/* The gates of the one before, as far as there is room. */
static void gates_inherit(struct queue_message *m, const json_t *gates)
{
    struct core_send *s = &m->send;
    for (size_t i = 0; i < json_array_size(gates) && s->gates_count < CORE_GATES_MAX; i++) {
        const char *gate = json_string_value(json_array_get(gates, i));
        bool has = gate == NULL;
        for (uint8_t k = 0; k < s->gates_count; k++)
            has = has || strcmp(s->gates[k], gate) == 0;
        if (!has)
            s->gates[s->gates_count++] = gate;
    }
}

static bool chain_goes_on(const struct run_row *r, const json_t *chain, enum job_outcome outcome)
{
    if (json_array_size(json_object_get(chain, "next")) == 0 ||
        (r->flags & (RUN_STOPPED | RUN_CHAINED)) != 0)
        return false;
    return outcome == JOB_COMPLETED ||
           (outcome == JOB_DISCARDED && json_is_true(json_object_get(chain, "goes_on")));
}

/* The next one, with what is left of the chain; the last one goes on with its own. */
static int chain_submit(struct txn *t, struct db *db, struct job_end *x, const struct run_row *r,
                        const json_t *chain, struct err *e)
{
    AUTO(job_def_fini) struct job_def def = {.json = NULL};
    const json_t *next = json_object_get(chain, "next");
    int rc = run_def(db, json_string_value(json_array_get(next, 0)), &def, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *left = json_array();
    for (size_t i = 1; i < json_array_size(next); i++)
        json_array_append(left, json_array_get(next, i));
    struct queue_message m = end_message(&def, x, r->correlation);
    gates_inherit(&m, json_object_get(chain, "gates"));
    m.body = r->args != NULL ? r->args : "null";
    m.body_len = r->args != NULL ? r->args_len : 4;
    bool own = json_array_size(left) == 0;
    struct run_chain then = {.next = own ? def.chain : left,
                             .goes_on = own ? def.goes_on
                                            : json_is_true(json_object_get(chain, "goes_on"))};
    return run_submit(t, &(struct job_submit){.def = &def, .message = &m}, &then, e);
}

static int undo_submit(struct txn *t, struct db *db, struct job_end *x, const struct run_row *r,
                       struct uuid *id, struct err *e)
{
    AUTO(job_def_fini) struct job_def def = {.json = NULL};
    char headers[sizeof JOB_UNDO_HEADER + UUID_TEXT + 16], run[UUID_TEXT];
    int rc = run_def(db, r->run.job, &def, e);
    if (rc != 0)
        return rc;
    uuid_format(&r->run.id, run);
    snprintf(headers, sizeof headers, "{\"" JOB_UNDO_HEADER "\":\"%s\"}", run);
    struct queue_message m = end_message(&def, x, r->correlation);
    m.send.queue = def.queue;
    m.send.ttl_ms = -1; /* late is better than never */
    m.headers = headers;
    m.body = r->args != NULL ? r->args : "null";
    m.body_len = r->args != NULL ? r->args_len : 4;
    *id = m.send.id;
    return queue_txn_send(t, &m, e);
}

static int fan_submit(struct txn *t, struct db *db, const struct uuid *id, const struct run_fan *f,
                      struct err *e)
{
    AUTO(job_def_fini) struct job_def def = {.json = NULL};
    AUTO(buf_fini) struct buf body = BUF_INIT(QUEUE_BODY_MAX);
    char parent[UUID_TEXT];
    int rc = run_def(db, f->on_done, &def, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *args = json_read(f->args, strlen(f->args), e);
    if (args == NULL)
        return e->code;
    json_object_set_new(args, "counts",
                        json_pack("{s:I, s:I, s:I, s:I}", "total", (json_int_t)f->total,
                                  "completed", (json_int_t)f->ended[JOB_COMPLETED], "discarded",
                                  (json_int_t)f->ended[JOB_DISCARDED], "cancelled",
                                  (json_int_t)f->ended[JOB_CANCELLED]));
    if (f->has_parent) {
        uuid_format(&f->parent, parent);
        json_object_set_new(args, "parent", json_string(parent));
    }
    rc = json_print(args, &body, e);
    if (rc != 0)
        return rc;
    struct queue_message m = end_message(&def, NULL, f->correlation);
    m.send.id = *id;
    m.body = body.data;
    m.body_len = body.len;
    struct run_chain chain = {.next = def.chain, .goes_on = def.goes_on};
    return run_submit(t, &(struct job_submit){.def = &def, .message = &m}, &chain, e);
}

int run_fan_over(struct txn *t, struct db *db, const struct job_fan *f, struct err *e)
{
    AUTO(buf_fini) struct buf args = BUF_INIT(RUN_FAN_ARGS_BYTES + 1);
    struct run_fan none = {.has_parent = f->parent != NULL};
    int rc = f->args != NULL ? json_print(f->args, &args, e) : 0;
    if (rc != 0)
        return rc;
    if (f->parent != NULL)
        none.parent = *f->parent;
    none.on_done = (char *)(uintptr_t)f->on_done;
    none.args = (char *)(uintptr_t)(args.len > 0 ? args.data : "{}");
    none.correlation = (char *)(uintptr_t)(f->correlation != NULL ? f->correlation : "");
    return fan_submit(t, db, &f->id, &none, e);
}

/* ---- the end ---- */

struct end_parts {
    struct run_row row;
    struct run_fan fan;
    bool counts, last, chains, undoes;
    struct uuid undo;
    json_t *chain;
};

static void end_parts_fini(struct end_parts *p)
{
    run_row_fini(&p->row);
    run_fan_fini(&p->fan);
    json_decref(p->chain);
}

/* The row as it is once the steps that stand in front of the end are stored. */
static int end_ahead(const struct job_end *x, struct run_row *r, int found, struct err *e)
{
    const struct job_ahead *a = x->ahead;
    if (found == 0) { /* they make it */
        r->run = (struct job_run){.id = x->run, .state = JOB_RUN_OPEN, .revision = 1};
        str_copy(r->run.job, sizeof r->run.job, a->job);
        r->chain = mem_strdup("");
        r->correlation = mem_strdup(a->correlation != NULL ? a->correlation : "");
    }
    r->run.revision += a->undo;
    r->run.undoable += a->undo;
    if (a->undo == 0 || r->args != NULL || a->args == NULL)
        return 1;
    r->args = mem_try(a->args_len + 1);
    if (r->args == NULL)
        return err_set(e, ERR_NOMEM, "args of %zu bytes", a->args_len);
    memcpy(r->args, a->args, a->args_len);
    r->args_len = a->args_len;
    return 1;
}

static int end_read(struct db *db, const struct job_end *x, struct end_parts *p, struct err *e)
{
    struct run_row *r = &p->row;
    int rc = run_load(db, &x->run, true, r, e);
    if (rc >= 0 && x->ahead != NULL)
        rc = end_ahead(x, r, rc, e);
    if (rc > 0 && *r->chain != '\0' &&
        (p->chain = json_read(r->chain, strlen(r->chain), e)) == NULL)
        return err_context(e, "the chain of a run");
    if (rc > 0 && r->run.has_fan && (r->flags & RUN_COUNTED) == 0) {
        int found = run_fan_load(db, &r->run.fan, true, &p->fan, e);
        if (found < 0)
            return found;
        p->counts = found > 0;
    }
    return rc;
}

static void end_add(struct txn *t, struct job_end *x, const struct end_parts *p,
                    enum job_outcome outcome)
{
    x->at = t->ops;
    struct buf *b = txn_begin(t, JOB_OP_END, 1);
    buf_add(b, x->run.b, sizeof x->run.b);
    buf_add_u64(b, p->row.run.revision);
    buf_add_u8(b, (uint8_t)outcome);
    buf_add_u8(b, (uint8_t)((x->terminate ? END_TERMINATES : 0) | (p->counts ? END_COUNTS : 0) |
                            (p->last ? END_LAST : 0) | (p->chains ? END_CHAINS : 0) |
                            (p->undoes ? END_UNDOES : 0)));
    if (p->undoes)
        buf_add(b, p->undo.b, sizeof p->undo.b);
    txn_end(t);
}

/* Behind the settle: job.end needs the id of the undo run, so that is sent before it. */
static int end_compose(struct txn *t, struct db *db, struct job_end *x, struct end_parts *p,
                       enum job_outcome outcome, struct err *e)
{
    int rc = 0;
    x->starts = t->ops;
    p->chains = chain_goes_on(&p->row, p->chain, outcome);
    p->undoes = outcome != JOB_COMPLETED && p->row.run.undoable > 0 && !p->row.run.has_undo;
    if (p->counts) {
        p->fan.ended[outcome]++;
        p->last = run_fan_left(&p->fan) == 0;
    }
    if (p->undoes)
        rc = undo_submit(t, db, x, &p->row, &p->undo, e);
    if (rc != 0)
        return rc;
    end_add(t, x, p, outcome);
    if (p->chains)
        rc = chain_submit(t, db, x, &p->row, p->chain, e);
    if (rc == 0 && p->last)
        rc = fan_submit(t, db, &p->row.run.fan, &p->fan, e);
    x->past = t->ops;
    return rc;
}

/* 0: it is no end. A reject of one that was cancelled is its cancel. */
static enum job_outcome end_outcome(const struct job_end *x, const struct run_row *r)
{
    if (x->settle == NULL)
        return x->outcome;
    if (x->settle->outcome == SETTLE_ACK)
        return JOB_COMPLETED;
    if (x->settle->outcome != SETTLE_REJECT)
        return 0;
    return (r->flags & RUN_STOPPED) != 0 ? JOB_CANCELLED : JOB_DISCARDED;
}

static int end_settle(struct txn *t, const struct job_end *x, struct err *e)
{
    return x->settle == NULL ? 0 : queue_txn_settle(t, x->settle, x->text, x->text_len, e);
}

static bool is_end(const struct job_end *x)
{
    return x->settle == NULL || x->settle->outcome == SETTLE_ACK ||
           x->settle->outcome == SETTLE_REJECT;
}

int job_txn_end(struct txn *t, struct db *db, struct job_end *x, struct err *e)
{
    struct err own = ERR_INIT;
    AUTO(end_parts_fini) struct end_parts p = {.chain = NULL};
    e = e != NULL ? e : &own;
    x->has_row = false;
    if (!is_end(x))
        return end_settle(t, x, e);
    int rc = end_read(db, x, &p, e);
    if (rc < 0)
        return rc;
    bool open = rc > 0 && p.row.run.state == JOB_RUN_OPEN;
    if (rc > 0 && p.row.run.terminated && x->settle != NULL)
        return err_set(e, ERR_GONE, "the run was ended while it executed");
    if (!open && x->settle == NULL)
        return err_set(e, ERR_CONFLICT, rc > 0 ? "the run has ended" : "the run has no row");
    if (!open)
        return end_settle(t, x, e);
    x->has_row = true;
    if (x->settle == NULL && !x->terminate)
        queue_txn_if_over(t, &x->run);
    rc = end_settle(t, x, e);
    return rc == 0 ? end_compose(t, db, x, &p, end_outcome(x, &p.row), e) : rc;
}

bool job_end_is_stale(const struct unit *u, const struct job_end *x)
{
    return u->err.code == ERR_CONFLICT && x->has_row && u->failed_op == (int)x->at;
}

bool job_end_waits(const struct unit *u, const struct job_end *x)
{
    int op = u->failed_op;
    return (u->err.code == ERR_CONFLICT || u->err.code == ERR_QUEUE_FULL) && x->has_row &&
           op >= (int)x->starts && op < (int)x->past && op != (int)x->at;
}
