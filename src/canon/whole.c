#include "canon/whole_priv.h"

#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "canon/state_priv.h"
#include "ledger/once.h"

static void whole_done(struct unit *u);

struct whole *whole_new(struct canon_engine *en, struct working *w)
{
    struct whole *h = mem_new(sizeof *h);
    h->engine = en;
    h->working = w;
    list_init(&h->jobs);
    return h;
}

void whole_free(struct whole *h)
{
    if (h == NULL)
        return;
    ASSERT(list_is_empty(&h->jobs));
    unit_fini(&h->unit);
    mem_free(h);
}

/* ---- gathering ---- */

/* It is not stored, whatever it came to. */
static void job_refuses(struct canon_job *j)
{
    struct canon_arrival *a = j->arrival;
    if (a->err.code == 0)
        err_set(&a->err, ERR_REJECTED, "it would be parked: %s", a->reason);
    a->outcome = CANON_FAILED;
    a->arrival_id[0] = '\0';
    j->state = JOB_DONE;
}

/* What the caller wants to happen with it; `ends` NULL: its conditions. */
static int whole_also(struct whole *h, struct canon_request *r, const struct canon_ending *ends,
                      struct err *e)
{
    if (r->also == NULL)
        return 0;
    int which = ends == NULL ? 0 : 1;
    h->also_from[which] = h->unit.txn.ops;
    int rc = r->also(r, ends, &h->unit.txn, e);
    h->also_to[which] = h->unit.txn.ops;
    return rc;
}

static int whole_begin(struct whole *h, struct canon_request *r, struct err *e)
{
    unit_fini(&h->unit);
    unit_init(&h->unit, h->engine->world->runner, whole_done);
    txn_envelope(&h->unit.txn, r->env);
    h->base = h->working->proposed;
    memset(h->also_to, 0, sizeof h->also_to);
    if (r->once != NULL)
        ledger_txn_once(&h->unit.txn, r->once, 0);
    return whole_also(h, r, NULL, e);
}

int whole_gather(struct whole *h, struct canon_job *j, struct err *e)
{
    struct canon_request *r = j->request->r;
    if (!r->any_outcome && (j->outcome == STORED_PARKED || j->outcome == STORED_FAILED)) {
        job_refuses(j);
        return 0;
    }
    int rc = h->count == 0 ? whole_begin(h, r, e) : 0;
    if (rc != 0)
        return rc;
    j->ops_from = h->unit.txn.ops;
    rc = job_compose(j, e);
    if (rc != 0)
        return rc;
    j->ops_to = h->unit.txn.ops;
    job_commit_working(j);
    h->working->proposed++;
    h->count++;
    list_push(&h->jobs, &j->node);
    engine_wake(h->engine);
    return 0;
}

/* What was gathered is void, and with it what it changed in the working set. */
static void whole_drop(struct whole *h)
{
    h->working->completed += h->count;
    h->working->stale = true;
    h->count = 0;
    h->sent = false;
    unit_fini(&h->unit);
    h->unit = (struct unit){.failed_op = -1};
}

void whole_again(struct canon_engine *en, struct whole *h)
{
    struct list *it;
    whole_drop(h);
    while ((it = list_pop(&h->jobs)) != NULL)
        list_push(&en->again, it);
}

void whole_job_ends(struct canon_job *j)
{
    if (j->whole != NULL && !j->whole->sent && j->arrival->outcome == CANON_FAILED &&
        j->whole->refused.code == 0)
        j->whole->refused = j->arrival->err;
}

/* ---- turns ---- */

bool whole_has_begun(const struct canon_engine *en, const struct working *w)
{
    return en->alone != NULL && en->alone->working == w && en->alone->whole->count > 0;
}

bool whole_holds(const struct canon_engine *en, const struct canon_job *j)
{
    const struct engine_request *er = en->alone;
    return er != NULL && er->working == j->working && er != j->request && !er->whole->sent;
}

bool whole_lets(struct canon_engine *en, struct engine_request *er)
{
    if (en->alone == NULL && er->whole != NULL)
        en->alone = er;
    if (en->alone == NULL)
        return true;
    if (en->alone == er)
        return er->whole->refused.code == 0 && er->open == er->whole->count;
    return er->whole == NULL && (er->working != en->alone->working || en->alone->whole->sent);
}

/* ---- the end ---- */

static void arrival_cancel(struct canon_arrival *a)
{
    a->outcome = CANON_FAILED;
    err_set(&a->err, ERR_CANCELED, "another arrival of the request was refused");
    str_copy(a->reason, sizeof a->reason, err_info(ERR_CANCELED)->name);
    a->arrival_id[0] = a->golden_id[0] = '\0';
    a->version = 0;
}

/* The request may be gone after this line. */
static void whole_finish(struct whole *h, void (*each)(struct canon_job *j))
{
    struct list *it;
    while ((it = list_pop(&h->jobs)) != NULL) {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        bool last = list_is_empty(&h->jobs);
        each(j);
        j->state = JOB_DONE;
        job_tick(j);
        if (last)
            return;
    }
}

static void job_canceled(struct canon_job *j)
{
    if (j->arrival->err.code == 0)
        arrival_cancel(j->arrival);
}

/* Nothing of it is done. Arrivals that were not begun are not looked at. */
static void whole_refuse(struct engine_request *er)
{
    struct whole *h = er->whole;
    whole_drop(h);
    if (er->next < er->r->count)
        list_remove(&er->node);
    for (; er->next < er->r->count; er->next++)
        arrival_cancel(&er->r->arrivals[er->next]);
    if (er->open == 0)
        request_finish(er);
    else
        whole_finish(h, job_canceled);
}

static struct canon_job *job_at_fault(const struct whole *h)
{
    LIST_EACH(it, &h->jobs)
    {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        if (h->unit.failed_op >= (int)j->ops_from && h->unit.failed_op < (int)j->ops_to)
            return j;
    }
    return NULL;
}

/* It was refused at what the caller of the request has added. */
static bool failed_also(const struct whole *h)
{
    int at = h->unit.failed_op;
    bool is = false;
    for (int i = 0; i < 2; i++)
        is |= at >= (int)h->also_from[i] && at < (int)h->also_to[i];
    return is;
}

static void whole_tell(const struct engine_request *er)
{
    struct canon_request *r = er->r;
    if (r->answered != NULL)
        r->answered(r, &er->whole->unit);
}

static void whole_failed(struct engine_request *er, const struct err *why)
{
    struct whole *h = er->whole;
    struct canon_job *fault = job_at_fault(h);
    h->refused = h->unit.err = *why;
    whole_tell(er);
    if (fault != NULL) {
        fault->arrival->err = *why;
        fault->arrival->outcome = CANON_FAILED;
        fault->arrival->arrival_id[0] = '\0';
    } else {
        er->r->err = *why;
    }
    whole_refuse(er);
}

static void whole_done(struct unit *u)
{
    struct whole *h = LIST_OF(u, struct whole, unit);
    struct canon_engine *en = h->engine;
    struct engine_request *er = en->alone;
    ASSERT(er != NULL && er->whole == h && h->sent);
    en->flight--;
    if (u->err.code == 0) {
        h->working->completed += h->count;
        h->count = 0;
        whole_tell(er);
        whole_finish(h, job_result);
        return;
    }
    struct err why = u->err;
    struct canon_job *first = LIST_OF(h->jobs.next, struct canon_job, node);
    struct canon_job *fault = job_at_fault(h);
    bool told = fault != NULL && job_failed_precondition(fault, h->unit.failed_op);
    if (why.code == ERR_VERSION_MISMATCH && (told || failed_also(h))) {
        whole_failed(er, &why);
        return;
    }
    if (why.code == ERR_VERSION_MISMATCH && ++first->tries < CANON_TRIES) {
        whole_again(en, h);
        engine_wake(en);
        return;
    }
    if (why.code == ERR_VERSION_MISMATCH)
        err_set(&why, ERR_CONFLICT, "too many concurrent changes; send the request again");
    whole_failed(er, &why);
}

/* What came of each arrival, those that are not stored too. */
static int whole_end(struct whole *h, struct canon_request *r, struct err *e)
{
    if (r->also == NULL)
        return 0;
    AUTO(mem_freep) struct canon_ending *ends = mem_new_array(r->count, sizeof *ends);
    for (size_t i = 0; i < r->count; i++) {
        const struct canon_arrival *a = &r->arrivals[i];
        ends[i] = (struct canon_ending){.outcome = a->outcome,
                                        .reason = a->reason,
                                        .arrival_id = a->arrival_id,
                                        .golden_id = a->golden_id,
                                        .detail = a->err.text,
                                        .field = a->err.field};
    }
    LIST_EACH(it, &h->jobs)
    {
        const struct canon_job *j = LIST_OF(it, struct canon_job, node);
        ends[j->arrival - r->arrivals] = job_ending(j);
    }
    return whole_also(h, r, ends, e);
}

void whole_look(struct canon_engine *en)
{
    struct engine_request *er = en->alone;
    if (er == NULL || er->whole->sent || er->open != er->whole->count)
        return;
    struct whole *h = er->whole;
    if (h->refused.code != 0) {
        whole_refuse(er);
        return;
    }
    if (er->next < er->r->count || h->count == 0)
        return;
    h->sent = true;
    en->flight++;
    engine_wake(en); /* the others go on, behind it */
    if (whole_end(h, er->r, &h->unit.err) != 0 || whole_compose_keep(h, er, &h->unit.err) != 0 ||
        ledger_propose(en->ledger, &h->unit, &h->unit.err) != 0)
        whole_done(&h->unit);
}
