/* canon.arrive in POST /api/tx without a mode: worked now, in one commit with the other operations.
 *
 *   the other operations are a unit (entity/write.h), which instead of being proposed *rides*:
 *     -> the engine of the model prepares the arrival (its thread), and makes the unit of it; of
 *        several, which are of one model, one after the other, and one unit of all
 *     -> the ride is put in front of it, the whole is proposed
 *     <- what came of the ride is told to its write as if the ledger had (the request's thread)
 *
 * What is refused of the ride is its write's affair, which may make it anew (a hook's record has
 * changed) and ride again; what the arrival met with is the engine's, which prepares it anew. An
 * exact repeat has no unit: where all are such the ride is proposed by itself. */
#include <string.h>

#include "api/canon_priv.h"
#include "api/tx_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/payload.h"
#include "base/str.h"

enum { DIRECT_RESULTS_MAX = 16 << 20 }; /* bytes: as many as a unit may have */

/* One arrival. */
struct direct_op {
    const json_t *op; /* the request's */
    size_t index;     /* of it there */
    json_t *held;     /* what the arrival's texts are of */
    /* What came of it. */
    enum canon_outcome outcome;
    char reason[64], arrival_id[37], golden_id[257];
    struct err detail;
};

struct tx_direct {
    struct canon_request r; /* first */
    struct direct_op *ops;
    struct canon_arrival *arrivals;
    size_t count;
    bool skip_distribution;
    struct envelope env;
    struct api_thread *thread;
    char model[ENTITY_NAME_MAX + 1];
    const struct ledger_once *once; /* NULL: the request has no key */
    struct buf context;             /* what is kept of the ride */

    struct unit *ride;
    bool riding; /* the request is under way */
    /* Of the engine's thread, until the request is done. */
    uint32_t at, to; /* where the ride stands in its unit */
    bool answered;
    struct unit copy; /* of its answer: err, failed_op, seq, at, repeated, results */

    struct err fault; /* of an arrival, that refuses the unit */
    size_t fault_at;  /* which */
};

/* ---- what is asked ---- */

/* The documents go to another thread, which may change them. */
static void direct_part(struct canon_arrival *a)
{
    json_t *data = a->data, *tags = a->tags;
    a->data = data != NULL ? json_deep_copy(data) : NULL;
    a->tags = tags != NULL ? json_deep_copy(tags) : NULL;
    json_decref(data);
    json_decref(tags);
}

static int direct_read(struct tx_direct *d, struct err *e)
{
    struct canon_sending s = {.now = 0};
    enum canon_mode mode;
    int rc = 0;
    for (size_t i = 0; i < d->count && rc == 0; i++) {
        json_decref(TAKE(d->ops[i].held));
        rc = tx_arrive_read(d->ops[i].op, &d->ops[i].held, &d->arrivals[i], &s, &mode, e);
        direct_part(&d->arrivals[i]);
    }
    return rc;
}

bool tx_direct_is(const json_t *op)
{
    return json_object_get(op, "mode") == NULL;
}

struct tx_direct *tx_direct_new(size_t max, struct http_request *req)
{
    struct tx_direct *d = mem_new(sizeof *d);
    d->ops = mem_new_array(max, sizeof *d->ops);
    d->arrivals = mem_new_array(max, sizeof *d->arrivals);
    d->thread = api_thread_of(req);
    d->once = api_once_key(req);
    api_envelope(req, &d->env);
    buf_init(&d->context, LEDGER_ONCE_CONTEXT_MAX);
    buf_init(&d->copy.results, DIRECT_RESULTS_MAX);
    return d;
}

int tx_direct_add(struct tx_direct *d, const json_t *op, size_t index, const char *model,
                  size_t *out, struct err *e)
{
    bool skip = json_is_true(json_object_get(op, "skip_distribution"));
    if (d->count > 0 && strcmp(d->model, model) != 0)
        return err_field(e, ERR_UNSUPPORTED, "model",
                         "arrivals of a unit that are worked at once are of one model, and "
                         "operation %zu is one of '%s'; store those of '%s' to be worked later, "
                         "with \"mode\": \"queue\"",
                         d->ops[0].index, d->model, model);
    if (d->count > 0 && d->skip_distribution != skip)
        return err_field(e, ERR_UNSUPPORTED, "skip_distribution",
                         "arrivals of a unit that are worked at once are all distributed or none "
                         "is; operation %zu says otherwise",
                         d->ops[0].index);
    str_copy(d->model, sizeof d->model, model);
    d->skip_distribution = skip;
    *out = d->count++;
    d->ops[*out] = (struct direct_op){.op = op, .index = index};
    return 0;
}

void tx_direct_free(struct tx_direct *d)
{
    if (d == NULL)
        return;
    ASSERT(!d->riding);
    for (size_t i = 0; i < d->count; i++)
        json_decref(d->ops[i].held);
    mem_free(d->ops);
    mem_free(d->arrivals);
    buf_fini(&d->context);
    buf_fini(&d->copy.results);
    mem_free(d);
}

/* ---- on the engine's thread ---- */

static void direct_keep(const struct canon_ending *end, struct buf *out)
{
    buf_add_u8(out, (uint8_t)end->outcome);
    buf_add_text(out, end->reason);
    buf_add_text(out, end->arrival_id);
    buf_add_text(out, end->golden_id);
    buf_add_text(out, end->detail);
}

static int direct_kept(struct tx_direct *d, const struct canon_ending *ends, struct txn *t,
                       struct err *e)
{
    if (d->once == NULL)
        return 0;
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    buf_add(&context, d->context.data, d->context.len);
    for (size_t i = 0; i < d->count; i++)
        direct_keep(&ends[i], &context);
    int rc = buf_check(&context, "what is kept of a request with a key", e);
    return rc < 0 ? rc : ledger_txn_keep(t, d->once, 0, context.data, context.len, e);
}

static int direct_also(struct canon_request *r, const struct canon_ending *ends, struct txn *t,
                       struct err *e)
{
    struct tx_direct *d = (struct tx_direct *)r;
    if (ends != NULL)
        return direct_kept(d, ends, t, e);
    d->at = t->ops;
    txn_append(t, &d->ride->txn);
    d->to = t->ops;
    if (d->once != NULL)
        ledger_txn_once(t, d->once, 0);
    return 0;
}

/* Its results begin with those of the ride. */
static void copy_results(struct tx_direct *d, const struct unit *u)
{
    struct cursor c;
    size_t n = 0;
    cursor_init(&c, u->results.data, u->results.len);
    for (uint32_t i = 0; i < d->at; i++)
        cursor_bytes(&c, &n);
    buf_reset(&d->copy.results);
    buf_add(&d->copy.results, c.p, cursor_left(&c));
}

static void direct_answered(struct canon_request *r, const struct unit *u)
{
    struct tx_direct *d = (struct tx_direct *)r;
    d->answered = true;
    d->copy.err = u->err;
    d->copy.failed_op = u->failed_op;
    d->copy.seq = u->seq;
    d->copy.at = u->at;
    d->copy.repeated = u->repeated;
    if (u->err.code == 0)
        copy_results(d, u);
}

/* ---- back ---- */

/* The arrival that is at fault for `why`, if one is: the others are canceled with it. */
static void direct_fault(struct tx_direct *d, const struct err *why)
{
    d->fault = why->code != 0 ? *why : d->arrivals[0].err;
    d->fault_at = d->ops[0].index;
    for (size_t i = 0; i < d->count; i++) {
        const struct canon_arrival *a = &d->arrivals[i];
        if (a->outcome != CANON_FAILED || a->err.code == 0 || a->err.code == ERR_CANCELED)
            continue;
        d->fault = a->err;
        d->fault_at = d->ops[i].index;
        return;
    }
}

/* As the ledger would have answered. */
static void ride_tell(struct tx_direct *d)
{
    struct unit *u = d->ride;
    const struct unit *c = &d->copy;
    bool ours = c->failed_op >= (int)d->at && c->failed_op < (int)d->to;
    u->err = c->err;
    u->failed_op = ours ? c->failed_op - (int)d->at : -1;
    u->seq = c->seq;
    u->at = c->at;
    u->repeated = c->repeated;
    buf_reset(&u->results);
    buf_add(&u->results, c->results.data, c->results.len);
    if (u->err.code == 0 && buf_failed(&u->results))
        err_set(&u->err, ERR_INTERNAL, "applied, but there is no memory for its results");
    if (u->err.code != 0 && !ours)
        direct_fault(d, &u->err);
}

static void ride_refuse(struct tx_direct *d)
{
    direct_fault(d, &d->r.err);
    d->ride->err = d->fault;
    d->ride->failed_op = -1;
}

/* 0: it is under way. The arrivals say what their sources said already. */
static int ride_alone(struct tx_direct *d)
{
    struct unit *u = d->ride;
    u->failed_op = -1;
    if (u->txn.ops == 0 && d->once == NULL) /* nothing at all is left to do */
        return 1;
    if (d->once != NULL)
        ledger_txn_once(&u->txn, d->once, 0);
    struct err e = ERR_INIT;
    AUTO(mem_freep) struct canon_ending *ends = mem_new_array(d->count, sizeof *ends);
    for (size_t i = 0; i < d->count; i++)
        ends[i] = (struct canon_ending){.outcome = d->ops[i].outcome,
                                        .reason = d->ops[i].reason,
                                        .arrival_id = "",
                                        .golden_id = d->ops[i].golden_id,
                                        .detail = "",
                                        .field = ""};
    int rc = direct_kept(d, ends, &u->txn, &e);
    if (rc == 0)
        rc = ledger_propose(d->thread->api->o.ledger, u, &e);
    if (rc != 0) /* else it is the ledger's, and may be answered already */
        u->err = e;
    return rc;
}

static void direct_outcome(struct direct_op *o, const struct canon_arrival *a)
{
    o->outcome = a->outcome;
    str_copy(o->reason, sizeof o->reason, a->reason);
    str_copy(o->arrival_id, sizeof o->arrival_id, a->arrival_id);
    str_copy(o->golden_id, sizeof o->golden_id, a->golden_id);
    o->detail = a->err;
}

/* None has a unit, and none is refused. */
static bool direct_all_repeat(const struct tx_direct *d)
{
    bool all = d->r.err.code == 0 && !d->answered;
    for (size_t i = 0; i < d->count; i++)
        all = all && d->arrivals[i].outcome != CANON_FAILED;
    return all;
}

static void direct_done(struct canon_request *r)
{
    struct tx_direct *d = (struct tx_direct *)r;
    struct unit *u = d->ride;
    bool left = direct_all_repeat(d);
    for (size_t i = 0; i < d->count; i++)
        direct_outcome(&d->ops[i], &d->arrivals[i]);
    if (d->answered)
        ride_tell(d);
    else if (!left)
        ride_refuse(d);
    canon_request_fini(r);
    d->riding = false;
    if (!left || ride_alone(d) != 0)
        u->done(u); /* `d` may be gone after this line */
}

int tx_direct_propose(struct tx_direct *d, struct unit *ride, const struct buf *context,
                      struct err *e)
{
    const struct api *a = d->thread->api;
    struct canon_engine *en = a->o.engine(a->o.scripts_arg, d->model);
    if (en == NULL) {
        err_set(e, ERR_UNAVAILABLE, "no script thread works canon '%s' yet", d->model);
        d->fault = *e;
        d->fault_at = d->ops[0].index;
        return e->code;
    }
    d->r = (struct canon_request){.home = loop_runner(d->thread->loop),
                                  .env = &d->env,
                                  .arrivals = d->arrivals,
                                  .count = d->count,
                                  .skip_distribution = d->skip_distribution,
                                  .whole = d->count > 1, /* one needs not be alone */
                                  .any_outcome = true,
                                  .also = direct_also,
                                  .answered = direct_answered,
                                  .done = direct_done};
    err_clear(&d->fault);
    d->answered = false;
    d->at = d->to = 0;
    d->ride = ride;
    buf_reset(&d->context);
    buf_add(&d->context, context->data, context->len);
    int rc = buf_check(&d->context, "what is kept of a request with a key", e);
    memset(d->arrivals, 0, d->count * sizeof *d->arrivals);
    if (rc == 0)
        rc = direct_read(d, e);
    if (rc == 0)
        rc = canon_arrive(en, d->model, &d->r, e);
    d->riding = rc == 0;
    for (size_t i = 0; i < d->count && rc != 0; i++)
        tx_arrive_fini(&d->arrivals[i]);
    if (rc != 0) {
        d->fault = *e;
        d->fault_at = d->ops[0].index;
    }
    return rc;
}

/* ---- the answer ---- */

const struct err *tx_direct_fault(const struct tx_direct *d, size_t *at)
{
    *at = d->fault_at;
    return d->fault.code != 0 ? &d->fault : NULL;
}

static bool recall_op(struct direct_op *o, struct cursor *c)
{
    uint8_t outcome = cursor_u8(c);
    err_clear(&o->detail);
    o->outcome = (enum canon_outcome)outcome;
    return outcome <= CANON_FAILED && cursor_text(c, o->reason, 0, sizeof o->reason - 1) &&
           cursor_text(c, o->arrival_id, 0, sizeof o->arrival_id - 1) &&
           cursor_text(c, o->golden_id, 0, sizeof o->golden_id - 1) &&
           cursor_text(c, o->detail.text, 0, sizeof o->detail.text - 1);
}

bool tx_direct_recall(struct tx_direct *d, struct cursor *c)
{
    bool good = true;
    for (size_t i = 0; i < d->count && good; i++)
        good = recall_op(&d->ops[i], c);
    return good;
}

static void print_text(struct buf *out, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

void tx_direct_print(const struct tx_direct *d, size_t which, struct buf *out)
{
    const struct direct_op *o = &d->ops[which];
    buf_addf(out, ",\"outcome\":\"%s\"", canon_outcome_name(o->outcome));
    print_text(out, "id", o->golden_id);
    print_text(out, "reason", o->reason);
    if (o->outcome == CANON_PARKED || o->outcome == CANON_FAILED)
        print_text(out, "detail", o->detail.text);
    print_text(out, "arrival", o->arrival_id);
}
