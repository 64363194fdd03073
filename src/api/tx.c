/* POST /api/tx: operations on records of any entities as one unit of work, all or nothing.
 *
 *   {"ops": [
 *     {"op": "entity.save",   "entity": "order", "id": "o-7", "if_version": 3, "value": {..}},
 *     {"op": "entity.patch",  "entity": "stock", "id": "s-1", "patch": {..} or [..]},
 *     {"op": "entity.remove", "entity": "cart",  "id": "c-9"},
 *     {"op": "entity.check",  "entity": "shop",  "id": "a", "version": 12},
 *     {"op": "lease.check",   "name": "nightly", "token": 88123},
 *     {"op": "kv.put",        "key": "last-run", "value": 7, "if_version": 3},
 *     {"op": "send",          "queue": "mail", "body": {..}, "delay": "10m"},
 *     {"op": "publish",       "topic": "order.placed", "body": {..}, "key": "c-7"},
 *     {"op": "canon.arrive",  "model": "Customer", "origin": "crm", "data": {..}},
 *     {"op": "settle", "queue": "mail", "id": "..", "token": 7, "outcome": "ack"},
 *     {"op": "job.submit", "job": "thumbs", "args": {..}, "options": {"delay": "10m"}},
 *     {"op": "job.step", "id": "..", "token": 7, "name": "charge", "result": {..}}, and job.sleep,
 *     job.wait, job.fan, job.undone]}
 *
 * A later operation sees what the earlier ones did. Conditions (the checks) are looked at before
 * all of them. The answer has a result for each operation, or the problem of the first that did not
 * hold, with its index. */
#include <string.h>

#include "api/records_priv.h"
#include "api/tx_unit_priv.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "bus/bus.h"

void tx_free(struct tx *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->items_count; i++)
        entity_item_fini(&x->items[i]);
    for (size_t i = 0; i < x->count; i++) {
        entity_def_unref(x->ops[i].def);
        json_decref(x->ops[i].text);
        tx_topic_free(x->ops[i].topic);
        json_decref(x->ops[i].errors);
        tx_job_free(&x->ops[i].queue);
        tx_stored_free(x->ops[i].stored);
    }
    for (size_t i = 0; i < x->merged_count; i++) {
        buf_fini(&x->merged[i].body);
        buf_fini(&x->patches[i]);
    }
    mem_free(x->stored);
    mem_free(x->merged);
    mem_free(x->patches);
    tx_direct_free(x->direct);
    json_decref(x->body);
    mem_free(x->items);
    mem_free(x->ops);
    mem_free(x);
}

/* ---- sends that are merged with what waits ---- */

static int tx_merge_add(struct tx *x, struct tx_op *op, const char *unique, struct err *e)
{
    struct queue_merged m = {.queue = json_string_value(json_object_get(op->text, "queue")),
                             .unique = unique};
    for (size_t i = 0; i < x->merged_count; i++)
        if (strcmp(x->merged[i].unique, unique) == 0 && strcmp(x->merged[i].queue, m.queue) == 0)
            return err_field(e, ERR_INVALID, "unique",
                             "'%.80s' is merged twice in one unit; merge the two before", unique);
    struct buf *patch = &x->patches[x->merged_count];
    buf_init(patch, CORE_BODY_MAX);
    int rc = json_print(json_object_get(op->text, "body"), patch, e);
    m.patch = patch->data;
    m.patch_len = patch->len;
    op->queue.merged = &x->merged[x->merged_count];
    x->merged[x->merged_count++] = m;
    return rc;
}

/* False: answered. */
static bool tx_merges(struct http_request *req, struct tx *x)
{
    struct err e = ERR_INIT;
    for (size_t i = 0; i < x->count; i++) {
        struct tx_op *op = &x->ops[i];
        const char *unique = op->kind == TX_SEND ? tx_queue_merges(op->text) : NULL;
        if (unique == NULL)
            continue;
        if (x->merged == NULL) {
            x->merged = mem_new_array(x->count, sizeof *x->merged);
            x->patches = mem_new_array(x->count, sizeof *x->patches);
        }
        if (tx_merge_add(x, op, unique, &e) != 0) {
            tx_refused(req, x, i, &e);
            return false;
        }
    }
    return true;
}

/* ---- the unit ---- */

/* Who listens to what is published, as of now. */
static int tx_routes(struct tx *x, struct txn *t, struct err *e)
{
    const struct tx_topic *before = NULL;
    int rc = 0;
    for (size_t i = 0; i < x->count && rc == 0; i++)
        if (x->ops[i].kind == TX_PUBLISH) {
            rc = tx_topic_condition(x->ops[i].topic, before, t, e);
            before = x->ops[i].topic;
        }
    return rc;
}

static bool tx_again(struct entity_write *w, const struct unit *u)
{
    struct tx *x = ((struct records_write *)w)->more;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH && tx_topic_is_stale(x->ops[i].topic))
            return ++x->tries < BUS_TRIES;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_SETTLE && job_end_is_stale(u, &x->ops[i].queue.end))
            return ++x->tries < JOB_END_TRIES;
    return false;
}

static int tx_add(struct tx_op *op, struct txn *t, struct err *e)
{
    op->at = t->ops;
    int rc = tx_is_stored(op)         ? job_stored_add(op->stored, op->queue.thread->db, t, e)
             : op->kind == TX_PUBLISH ? tx_topic_add(op->topic, t, e)
             : tx_is_queue(op)        ? tx_queue_add(op->text, &op->queue, t, e)
                                      : tx_coord_add(op->text, op->kind == TX_HELD, t, e);
    op->to = t->ops;
    return rc;
}

/* Conditions behind those that were asked for. */
static int tx_held(struct tx *x, struct txn *t, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < x->count && rc == 0; i++) {
        struct tx_op *op = &x->ops[i];
        op->held_at = t->ops;
        if (tx_is_stored(op))
            rc = job_stored_if(op->stored, op->queue.thread->db, t, e);
    }
    return rc;
}

static int tx_compose(struct entity_write *w, struct txn *t, bool before, struct err *e)
{
    struct tx *x = ((struct records_write *)w)->more;
    int rc = before ? tx_routes(x, t, e) : 0;
    if (before)
        x->checks_at = t->ops;
    /* Settles come last: what follows from the end of a run has results too, behind all others. */
    for (size_t n = 0; n < 2 * x->count && rc == 0; n++) {
        struct tx_op *op = &x->ops[n % x->count];
        if (tx_is_item(op) || op->direct || tx_is_condition(op) != before ||
            (op->kind == TX_SETTLE) != (n >= x->count))
            continue;
        if (op->kind != TX_CHECK)
            rc = tx_add(op, t, e);
        else if (op->version > 0)
            entity_txn_if_version(t, op->def, op->id, op->version);
        else if (op->exists)
            entity_txn_if_exists(t, op->def, op->id);
        else
            entity_txn_if_absent(t, op->def, op->id);
    }
    return rc == 0 && before ? tx_held(x, t, e) : rc;
}

/* True: it was done before, and is answered as then. */
static bool tx_replayed(struct http_request *req, struct tx *x)
{
    const struct api_kept *k = api_kept(req, 0);
    struct cursor context, results;
    if (k == NULL || !records_kept_items(k, x->items, x->items_count, &context, NULL))
        return false;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH && !tx_topic_recall(x->ops[i].topic, &context))
            return false;
    if (x->direct != NULL && !tx_direct_recall(x->direct, &context))
        return false;
    cursor_init(&results, k->results.data, k->results.len);
    tx_puts(x, results);
    api_replayed(req);
    tx_answer(req, x, k->seq);
    return true;
}

static void tx_start(struct http_request *req, json_t *body, int tries);

/* Another was faster with what a send is merged with: all of it anew. `x` is gone then. */
static bool tx_merge_again(struct http_request *req, struct tx *x, size_t at, const struct err *e)
{
    if (at == x->count || x->ops[at].queue.merged == NULL || !queue_merge_is_lost(e) ||
        x->merge_tries + 1 >= QUEUE_MERGE_TRIES)
        return false;
    json_t *body = json_incref(x->body);
    int tries = x->merge_tries + 1;
    tx_free(x);
    tx_start(req, body, tries);
    json_decref(body);
    return true;
}

static void tx_done(struct entity_write *w)
{
    /* The struct lies in the request's arena, which goes with the answer. */
    struct records_write *op = (struct records_write *)w;
    struct http_request *req = op->req;
    struct tx *x = op->more;
    uint64_t seq = w->seq;
    const struct err *why;
    size_t at = tx_fault(x, w, &why);
    struct err e = *why;
    for (size_t i = 0; e.code == 0 && w->unit != NULL && i < x->count; i++) {
        struct tx_op *o = &x->ops[i];
        struct cursor one;
        if (o->kind == TX_PUBLISH)
            tx_topic_done(o->topic, w->unit, o->at);
        else if (tx_has_result(o) && unit_result(w->unit, o->at, &one))
            tx_result(o, &one);
    }
    entity_write_fini(w);
    if (e.code == 0)
        tx_answer(req, x, seq);
    else if (tx_merge_again(req, x, at, &e))
        return;
    else if (!api_once_again(req) || !tx_replayed(req, x))
        tx_refused(req, x, at, &e);
    tx_free(x);
}

/* With arrivals that are worked at once: all else is put in front of their unit. */
static int tx_ride(struct entity_write *w, struct unit *u, struct err *e)
{
    struct records_write *op = (struct records_write *)w;
    const struct tx *x = op->more;
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    if (api_once_key(op->req) != NULL)
        tx_context(w, 0, w->count, &context);
    return tx_direct_propose(x->direct, u, &context, e);
}

static void tx_write(struct http_request *req, struct tx *x)
{
    struct records_write *op = records_write_new(req, NULL, x->items, 0, tx_done);
    op->w.count = x->items_count;
    op->w.compose = tx_compose;
    op->w.again = tx_again;
    op->w.context = tx_context;
    if (x->direct != NULL) {
        op->w.propose = tx_ride;
        op->w.once = NULL; /* tx_direct.c has it */
    }
    op->more = x;
    records_write_start(op);
}

/* Of each run that something is stored of: that it is one, and its job. */
static void tx_found(struct job_finding *f)
{
    struct tx *x = LIST_OF(f, struct tx, finding);
    for (size_t i = 0; i < x->count; i++) {
        struct tx_op *op = &x->ops[i];
        if (!tx_is_stored(op) || op->stored->err.code == 0)
            continue;
        tx_refused(f->req, x, i, &op->stored->err);
        tx_free(x);
        return;
    }
    for (size_t i = 0; i < x->count; i++) {
        struct tx_queue *q = &x->ops[i].queue;
        struct uuid id;
        if (x->ops[i].kind == TX_SETTLE &&
            queue_id(json_object_get(x->ops[i].text, "id"), &id, NULL) == 0)
            q->has_ahead = job_stored_ahead(x->stored, x->stored_count, &id, &q->ahead);
    }
    tx_write(f->req, x);
}

static void tx_find(struct http_request *req, struct tx *x)
{
    x->stored = mem_new_array(x->count, sizeof(struct job_stored *));
    for (size_t i = 0; i < x->count; i++)
        if (tx_is_stored(&x->ops[i]))
            x->stored[x->stored_count++] = x->ops[i].stored;
    if (x->stored_count == 0) {
        tx_write(req, x);
        return;
    }
    job_stored_order(x->stored, x->stored_count);
    x->finding =
        (struct job_finding){.list = x->stored, .count = x->stored_count, .done = tx_found};
    job_find_start(&x->finding, req);
}

static void tx_merged(struct queue_merging *m)
{
    struct tx *x = LIST_OF(m, struct tx, merging);
    for (size_t i = 0; i < x->count; i++) {
        const struct queue_merged *of = x->ops[i].queue.merged;
        if (of == NULL || of->err.code == 0)
            continue;
        tx_refused(m->req, x, i, &of->err);
        tx_free(x);
        return;
    }
    tx_find(m->req, x);
}

static void tx_start(struct http_request *req, json_t *body, int tries)
{
    struct tx *x = tx_read(req, body);
    if (x == NULL)
        return;
    x->body = json_incref(body);
    x->merge_tries = tries;
    if (tx_replayed(req, x) || !tx_merges(req, x)) {
        tx_free(x);
    } else if (x->merged_count > 0) {
        x->merging.list = x->merged;
        x->merging.count = x->merged_count;
        x->merging.done = tx_merged;
        queue_merge_start(&x->merging, req);
    } else {
        tx_find(req, x);
    }
}

static void tx_post(struct http_request *req)
{
    AUTO(json_unref) json_t *body = api_once_body(req);
    if (body != NULL)
        tx_start(req, body, 0);
}

static const struct http_route tx_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/tx", .handler = tx_post},
};
const struct api_routes api_tx_routes = {tx_table, ARRAY_LEN(tx_table)};
