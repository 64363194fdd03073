/* Messages of canon's queues: arrivals that are worked later. No function of a script works them
 * but the engine of their model, which runs the model's stages as for any other arrival. The end of
 * the message is in the unit of what came of it, so that both happen, once, or neither:
 *
 *   stored: canonized, noop, parked    ack, with the outcome as its result
 *   stored: failed                     a dead letter, with the error's words
 *
 * What is not stored has a settlement of its own: an exact repeat is an ack, what cannot be an
 * arrival a dead letter; what this node cannot do now waits without using a try, and any other
 * error is a try. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/work.h"

enum { ARRIVAL_RESULT_MAX = 8 << 10 };

struct bind_arrival {
    struct canon_request r; /* first */
    struct delivery *delivery;
    struct bind_thread *thread;
    struct canon_queued q;
    struct err err; /* it is none */
    char model[CANON_QUEUE_NAME_MAX];
};

void bind_arrival_read(struct bind *b, struct delivery *d)
{
    char name[CANON_QUEUE_NAME_MAX];
    if (b->canon == NULL || !canon_queue_model(d->grant.queue, name))
        return;
    struct canon_model *m = canon_find(b->canon, name);
    if (m == NULL)
        return;
    struct bind_arrival *a = d->arrival = mem_new(sizeof *a);
    a->delivery = d;
    str_copy(a->model, sizeof a->model, canon_model_name(m));
    canon_queued_read(d->body, d->body_len, canon_model_has_intake(m), &a->q, &a->err);
    canon_model_unref(m);
}

void bind_arrival_free(struct bind_arrival *a)
{
    if (a == NULL)
        return;
    if (a->r.arrivals != NULL)
        canon_request_fini(&a->r);
    canon_queued_fini(&a->q);
    mem_free(a);
}

/* ---- what came of it ---- */

static int arrival_also(struct canon_request *r, const struct canon_ending *end, struct txn *t,
                        struct err *e)
{
    const struct delivery *d = ((struct bind_arrival *)r)->delivery;
    if (end == NULL) {
        queue_txn_if_delivery(t, &d->held.id, d->held.token);
        return 0;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(ARRIVAL_RESULT_MAX);
    bool failed = end->outcome == CANON_FAILED;
    if (failed)
        buf_addf(&text, "%s: %s%s%s", end->reason, end->field, *end->field != '\0' ? ": " : "",
                 end->detail);
    else
        canon_ending_print(end, &text);
    struct core_settle s = {.id = d->held.id,
                            .token = d->held.token,
                            .outcome = failed ? SETTLE_REJECT : SETTLE_ACK,
                            .code = failed ? (uint16_t)err_info(ERR_REJECTED)->http_status : 0,
                            .delay_ms = -1};
    int rc = buf_check(&text, "the outcome of an arrival", e);
    return rc == 0 ? queue_txn_end(t, &s, text.data, text.len, e) : rc;
}

static void arrival_acks(struct delivery *d, const struct canon_arrival *a)
{
    struct canon_ending end = {.outcome = a->outcome,
                               .reason = a->reason,
                               .arrival_id = "",
                               .golden_id = a->golden_id,
                               .detail = "",
                               .field = ""};
    struct buf text = BUF_INIT(ARRIVAL_RESULT_MAX);
    canon_ending_print(&end, &text);
    d->how.settle.outcome = SETTLE_ACK;
    d->how.text_len = text.len;
    d->how.text = buf_take(&text);
}

/* What is wrong with the arrival, however often it comes. */
static bool is_final(int code)
{
    return code == ERR_INVALID || code == ERR_TOO_LARGE || code == ERR_REJECTED ||
           code == ERR_UNSUPPORTED || code == ERR_NOT_FOUND || code == ERR_GONE;
}

/* Nobody can do it now: this is no try. */
static bool is_passing(int code)
{
    return code == ERR_UNAVAILABLE || code == ERR_OVERLOADED || code == ERR_DISK_FULL ||
           code == ERR_NO_LEADER || code == ERR_DRAINING;
}

static void arrival_fails(struct delivery *d, const struct err *e)
{
    struct bind_thread *t = d->arrival->thread;
    if (is_passing(e->code) && atomic_load(&t->bind->closing)) {
        d->end = DELIVERY_DONE; /* the node stops, and hands it back */
        return;
    }
    struct bind_outcome *how = &d->how;
    how->settle.code = (uint16_t)err_info(e->code)->http_status;
    if (is_passing(e->code)) {
        how->settle.outcome = SETTLE_SNOOZE;
        how->settle.until = t->world->wall_ms(t->world) + WORK_NOBODY_MS;
    } else {
        how->settle.outcome = is_final(e->code) ? SETTLE_REJECT : SETTLE_NACK;
        how->text = mem_printf("%s: %s%s%s", err_info(e->code)->name, e->field,
                               *e->field != '\0' ? ": " : "", e->text);
        how->text_len = strlen(how->text);
    }
    log_warn("canon", "%s: %s: %s attempt=%u message=%s correlation=%s", d->label,
             err_info(e->code)->name, e->text, d->grant.attempt, d->id, d->env.correlation);
}

static void arrival_done(struct canon_request *r)
{
    struct bind_arrival *a = (struct bind_arrival *)r;
    struct delivery *d = a->delivery;
    const struct canon_arrival *one = &a->q.arrival;
    const struct err *e = r->err.code != 0 ? &r->err : &one->err;
    d->end = DELIVERY_SETTLE;
    if (one->arrival_id[0] != '\0')
        d->end = DELIVERY_DONE; /* with its unit */
    else if (r->err.code == 0 && one->outcome != CANON_FAILED)
        arrival_acks(d, one);
    else if (e->code == ERR_FENCED)
        d->end = DELIVERY_DONE; /* it is over, or another's */
    else
        arrival_fails(d, e);
    bind_delivered(&d->task);
}

void bind_arrival_start(struct bind_thread *t, struct delivery *d)
{
    struct bind_arrival *a = d->arrival;
    a->thread = t;
    a->r = (struct canon_request){.home = t->runner,
                                  .env = &d->env,
                                  .arrivals = &a->q.arrival,
                                  .count = 1,
                                  .skip_distribution = a->q.skip_distribution,
                                  .also = arrival_also,
                                  .done = arrival_done};
    /* What came of an earlier delivery was nothing, or that it failed, or somebody wants it once
       more. */
    a->q.arrival.again = d->grant.deliveries > 1;
    if (a->err.code == 0 &&
        canon_arrive(bind_engine(t->bind, a->model), a->model, &a->r, &a->err) == 0)
        return;
    d->end = DELIVERY_SETTLE;
    arrival_fails(d, &a->err);
    d->how.settle.reason = REASON_UNDECODABLE;
    bind_delivered(&d->task);
}
