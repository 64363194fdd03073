/* The answer of POST /api/tx: a result for each operation, or the problem of the one that did not
 * hold; and the results as they are kept for a repeat of the request. */
#include <string.h>

#include "api/records_priv.h"
#include "api/tx_unit_priv.h"
#include "base/json.h"

/* The index of the check with this number, or their count. */
static size_t tx_check_at(const struct tx *x, int number)
{
    for (size_t i = 0; i < x->count; i++)
        if (tx_is_condition(&x->ops[i]) && number-- == 0)
            return i;
    return x->count;
}

/* The index of what did not hold, or their count. */
size_t tx_fault(const struct tx *x, const struct entity_write *w, const struct err **why)
{
    size_t fault_at = 0;
    const struct err *fault = x->direct != NULL ? tx_direct_fault(x->direct, &fault_at) : NULL;
    if (fault != NULL) {
        *why = fault;
        return fault_at;
    }
    int failed = w->unit != NULL ? w->unit->failed_op - (int)x->checks_at : -1;
    size_t at = tx_check_at(x, failed);
    *why = &w->err;
    for (size_t i = 0; at == x->count && w->unit != NULL && i < x->count; i++) {
        const struct tx_op *op = &x->ops[i];
        int n = w->unit->failed_op;
        if ((op->kind >= TX_PUT && n >= (int)op->at && n < (int)op->to) ||
            (tx_is_stored(op) && n == (int)op->held_at))
            at = i;
    }
    for (size_t i = 0; at == x->count && i < x->items_count; i++) {
        const struct err *e = &x->items[i].err;
        if (e->code == 0 || e->code == ERR_CANCELED)
            continue;
        *why = e;
        for (at = 0; !tx_is_item(&x->ops[at]) || x->ops[at].item != i; at++)
            ;
    }
    return at;
}

void tx_refused(struct http_request *req, const struct tx *x, size_t at, const struct err *why)
{
    if (at == x->count) {
        http_problem(req, why);
        return;
    }
    const struct tx_op *op = &x->ops[at];
    struct err e = *why;
    char more[40];
    snprintf(more, sizeof more, "\"failed_op\":%zu", at);
    err_context(&e, "operation %zu", at);
    api_problem(req, &e, tx_is_item(op) ? x->items[op->item].errors : NULL, more);
}

void tx_answer(struct http_request *req, const struct tx *x, uint64_t seq)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < x->count; i++) {
        const struct tx_op *op = &x->ops[i];
        buf_addf(&out, "%s{\"op\":\"%s\"", i > 0 ? "," : "", tx_name(op->kind));
        if (op->kind == TX_PUT) {
            const char *key = json_string_value(json_object_get(op->text, "key"));
            buf_adds(&out, ",\"key\":");
            json_print_string(&out, key, strlen(key));
            buf_addf(&out, ",\"version\":%llu", (unsigned long long)op->put);
        } else if (op->kind == TX_PUBLISH) {
            tx_topic_print(op->topic, &out);
        } else if (op->direct) {
            tx_direct_print(x->direct, op->direct_at, &out);
        } else if (tx_is_stored(op)) {
            tx_stored_print(op->stored, op->queue.thread->db, &out);
        } else if (tx_is_queue(op)) {
            tx_queue_print(op->text, &op->queue, &out);
        } else if (tx_is_item(op)) {
            const struct entity_item *it = &x->items[op->item];
            buf_adds(&out, ",\"id\":");
            json_print_string(&out, it->id, strlen(it->id));
            buf_addf(&out, ",\"outcome\":\"%s\",\"version\":%llu",
                     entity_outcome_name(it->result.outcome),
                     (unsigned long long)it->result.version);
        }
        buf_addc(&out, '}');
    }
    buf_adds(&out, "]}");
    if (seq > 0)
        http_header_uint(req, "X-Koan-Seq", seq);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* What came of an operation that is not about a record: of settle there is nothing. */
void tx_result(struct tx_op *op, struct cursor *result)
{
    if (op->kind == TX_PUT)
        op->put = cursor_u64(result);
    if (op->kind == TX_SEND || op->kind == TX_ARRIVE || op->kind == TX_SUBMIT)
        tx_queue_result(&op->queue, result);
}

bool tx_has_result(const struct tx_op *op)
{
    return op->kind == TX_PUT || op->kind == TX_SEND || op->kind == TX_SUBMIT ||
           (op->kind == TX_ARRIVE && !op->direct);
}

static void tx_skip(struct cursor *results, size_t count)
{
    struct cursor one;
    while (count-- > 0 && ledger_kept_next(results, &one))
        ;
}

/* Versions of values and sent messages, from the results behind those of the items. */
void tx_puts(struct tx *x, struct cursor results)
{
    struct cursor one;
    for (size_t i = 0; i < x->items_count && ledger_kept_next(&results, &one); i++)
        ;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH)
            tx_topic_result(x->ops[i].topic, &results);
        else if (tx_is_stored(&x->ops[i]))
            tx_skip(&results, tx_stored_results(x->ops[i].stored));
        else if (tx_has_result(&x->ops[i]) && ledger_kept_next(&results, &one))
            tx_result(&x->ops[i], &one);
}

/* What is kept of it, beside the results. */
void tx_context(const struct entity_write *w, size_t first, size_t count, struct buf *out)
{
    const struct tx *x = ((const struct records_write *)w)->more;
    records_context(w, first, count, out);
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH)
            tx_topic_keep(x->ops[i].topic, out);
}
