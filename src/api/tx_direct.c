/* canon.arrive in POST /api/tx without a mode: worked now, in one commit with the other operations.
 *
 *   the other operations are a unit (entity/write.h), which instead of being proposed *rides*:
 *     -> the engine of the model prepares the arrival (its thread), and makes the unit of it
 *     -> the ride is put in front of it, the whole is proposed
 *     <- what came of the ride is told to its write as if the ledger had (the request's thread)
 *
 * What is refused of the ride is its write's affair, which may make it anew (a hook's record has
 * changed) and ride again; what the arrival met with is the engine's, which prepares it anew. An
 * exact repeat has no unit: then the ride is proposed by itself. */
#include <string.h>

#include "api/canon_priv.h"
#include "api/tx_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

enum { DIRECT_RESULTS_MAX = 16 << 20 }; /* bytes: as many as a unit may have */

struct tx_direct {
    struct canon_request r; /* first */
    struct canon_arrival arrival;
    struct envelope env;
    struct api_thread *thread;
    const json_t *op; /* the request's */
    json_t *held;     /* what the arrival's texts are of */
    char model[ENTITY_NAME_MAX + 1];
    const struct ledger_once *once; /* NULL: the request has no key */
    struct buf context;             /* what is kept of the ride */

    struct unit *ride;
    bool riding; /* the request is under way */
    /* Of the engine's thread, until the request is done. */
    uint32_t at, to; /* where the ride stands in its unit */
    bool answered;
    struct unit copy; /* of its answer: err, failed_op, seq, at, repeated, results */

    /* What came of the arrival; `fault`: that refuses the unit. */
    enum canon_outcome outcome;
    char reason[64], arrival_id[37], golden_id[257];
    struct err detail, fault;
};

/* ---- what is asked ---- */

static int direct_read(struct tx_direct *d, struct err *e)
{
    struct canon_sending s = {.now = 0};
    enum canon_mode mode;
    json_decref(TAKE(d->held));
    int rc = tx_arrive_read(d->op, &d->held, &d->arrival, &s, &mode, e);
    d->r.skip_distribution = s.skip_distribution;
    return rc;
}

/* The documents go to another thread, which may change them. */
static void direct_part(struct canon_arrival *a)
{
    json_t *data = a->data, *tags = a->tags;
    a->data = data != NULL ? json_deep_copy(data) : NULL;
    a->tags = tags != NULL ? json_deep_copy(tags) : NULL;
    json_decref(data);
    json_decref(tags);
}

bool tx_direct_is(const json_t *op)
{
    return json_object_get(op, "mode") == NULL;
}

struct tx_direct *tx_direct_new(const json_t *op, const char *model, struct http_request *req)
{
    struct tx_direct *d = mem_new(sizeof *d);
    d->op = op;
    d->thread = api_thread_of(req);
    d->once = api_once_key(req);
    str_copy(d->model, sizeof d->model, model);
    api_envelope(req, &d->env);
    buf_init(&d->context, LEDGER_ONCE_CONTEXT_MAX);
    buf_init(&d->copy.results, DIRECT_RESULTS_MAX);
    return d;
}

void tx_direct_free(struct tx_direct *d)
{
    if (d == NULL)
        return;
    ASSERT(!d->riding);
    json_decref(d->held);
    buf_fini(&d->context);
    buf_fini(&d->copy.results);
    mem_free(d);
}

/* ---- on the engine's thread ---- */

static void direct_keep(struct tx_direct *d, const struct canon_ending *end, struct buf *out)
{
    buf_add(out, d->context.data, d->context.len);
    buf_add_u8(out, (uint8_t)end->outcome);
    buf_add_text(out, end->reason);
    buf_add_text(out, end->arrival_id);
    buf_add_text(out, end->golden_id);
    buf_add_text(out, end->detail);
}

static int direct_kept(struct tx_direct *d, const struct canon_ending *end, struct txn *t,
                       struct err *e)
{
    if (d->once == NULL)
        return 0;
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    direct_keep(d, end, &context);
    int rc = buf_check(&context, "what is kept of a request with a key", e);
    return rc < 0 ? rc : ledger_txn_keep(t, d->once, 0, context.data, context.len, e);
}

static int direct_also(struct canon_request *r, const struct canon_ending *end, struct txn *t,
                       struct err *e)
{
    struct tx_direct *d = (struct tx_direct *)r;
    if (end != NULL)
        return direct_kept(d, end, t, e);
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
        d->fault = d->arrival.err.code != 0 ? d->arrival.err : u->err;
}

static void ride_refuse(struct tx_direct *d, const struct err *why)
{
    d->fault = *why;
    d->ride->err = *why;
    d->ride->failed_op = -1;
}

/* 0: it is under way. The arrival says what its source said already. */
static int ride_alone(struct tx_direct *d)
{
    struct unit *u = d->ride;
    struct canon_ending end = {.outcome = d->outcome,
                               .reason = d->reason,
                               .arrival_id = "",
                               .golden_id = d->golden_id,
                               .detail = "",
                               .field = ""};
    u->failed_op = -1;
    if (u->txn.ops == 0 && d->once == NULL) /* nothing at all is left to do */
        return 1;
    if (d->once != NULL)
        ledger_txn_once(&u->txn, d->once, 0);
    struct err e = ERR_INIT;
    int rc = direct_kept(d, &end, &u->txn, &e);
    if (rc == 0)
        rc = ledger_propose(d->thread->api->o.ledger, u, &e);
    if (rc != 0) /* else it is the ledger's, and may be answered already */
        u->err = e;
    return rc;
}

static void direct_outcome(struct tx_direct *d)
{
    const struct canon_arrival *a = &d->arrival;
    d->outcome = a->outcome;
    str_copy(d->reason, sizeof d->reason, a->reason);
    str_copy(d->arrival_id, sizeof d->arrival_id, a->arrival_id);
    str_copy(d->golden_id, sizeof d->golden_id, a->golden_id);
    d->detail = a->err;
}

static void direct_done(struct canon_request *r)
{
    struct tx_direct *d = (struct tx_direct *)r;
    struct unit *u = d->ride;
    bool left = r->err.code == 0 && !d->answered && d->arrival.outcome != CANON_FAILED;
    direct_outcome(d);
    if (d->answered)
        ride_tell(d);
    else if (!left)
        ride_refuse(d, r->err.code != 0 ? &r->err : &d->arrival.err);
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
        return e->code;
    }
    d->r = (struct canon_request){.home = loop_runner(d->thread->loop),
                                  .env = &d->env,
                                  .arrivals = &d->arrival,
                                  .count = 1,
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
    if (rc == 0)
        rc = direct_read(d, e);
    if (rc == 0)
        direct_part(&d->arrival);
    if (rc == 0)
        rc = canon_arrive(en, d->model, &d->r, e);
    d->riding = rc == 0;
    if (rc != 0) {
        tx_arrive_fini(&d->arrival);
        d->fault = *e;
    }
    return rc;
}

/* ---- the answer ---- */

const struct err *tx_direct_fault(const struct tx_direct *d)
{
    return d->fault.code != 0 ? &d->fault : NULL;
}

static bool recall_text(struct cursor *c, char *out, size_t room)
{
    size_t n = 0;
    const char *p = cursor_bytes(c, &n);
    if (p == NULL || n >= room)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

bool tx_direct_recall(struct tx_direct *d, struct cursor *c)
{
    uint8_t outcome = cursor_u8(c);
    err_clear(&d->detail);
    d->outcome = (enum canon_outcome)outcome;
    return outcome <= CANON_FAILED && recall_text(c, d->reason, sizeof d->reason) &&
           recall_text(c, d->arrival_id, sizeof d->arrival_id) &&
           recall_text(c, d->golden_id, sizeof d->golden_id) &&
           recall_text(c, d->detail.text, sizeof d->detail.text);
}

static void print_text(struct buf *out, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

void tx_direct_print(const struct tx_direct *d, struct buf *out)
{
    buf_addf(out, ",\"outcome\":\"%s\"", canon_outcome_name(d->outcome));
    print_text(out, "id", d->golden_id);
    print_text(out, "reason", d->reason);
    if (d->outcome == CANON_PARKED || d->outcome == CANON_FAILED)
        print_text(out, "detail", d->detail.text);
    print_text(out, "arrival", d->arrival_id);
}
