/* send and settle in POST /api/tx: what a worker has done, what it sends on and that it is done are
 * one commit. */
#include <string.h>

#include "api/queue_priv.h"
#include "api/tx_priv.h"
#include "base/json.h"
#include "base/mem.h"

static int tx_send_add(const json_t *op, const struct tx_queue *q, struct txn *t, struct err *e)
{
    struct queue_draft d = {.held = NULL};
    const char *queue = json_string_value(json_object_get(op, "queue"));
    static const struct uuid none;
    int rc = queue != NULL ? queue_name_check(queue, "queue", e)
                           : err_field(e, ERR_INVALID, "queue", "send names no queue");
    if (rc == 0)
        rc = queue_draft_item(&d, op, q->now, "op", e);
    if (rc == 0) {
        d.m.send.queue = queue;
        if (memcmp(&d.m.send.id, &none, sizeof none) == 0)
            d.m.send.id = q->id;
        d.m.correlation = q->correlation;
        d.m.traceparent = q->traceparent;
        if (q->merged != NULL)
            queue_merged_use(q->merged, &d.m);
        rc = queue_txn_send(t, &d.m, e);
    }
    queue_draft_fini(&d);
    return rc;
}

static int tx_settle_add(const json_t *op, struct tx_queue *q, struct txn *t, struct err *e)
{
    struct core_settle s = {.token = 0};
    AUTO(buf_fini) struct buf text = BUF_INIT(QUEUE_RESULT_BYTES);
    const json_t *queue = json_object_get(op, "queue");
    int rc = queue_settle_read(op, q->now, true, &s, &text, e);
    s.queue = json_string_value(queue);
    if (rc == 0 && queue != NULL)
        rc = s.queue != NULL ? queue_name_check(s.queue, "queue", e)
                             : err_field(e, ERR_INVALID, "queue", "queue is the name of one");
    if (rc == 0 && buf_failed(&text))
        rc = err_field(e, ERR_TOO_LARGE, "result", "a result has at most %d bytes",
                       QUEUE_RESULT_BYTES);
    return rc == 0 ? tx_job_settle(q, &s, &text, t, e) : rc;
}

const char *tx_queue_merges(const json_t *op)
{
    const char *mode = json_string_value(json_object_get(op, "unique_mode"));
    return mode != NULL && strcmp(mode, "merge") == 0
               ? json_string_value(json_object_get(op, "unique"))
               : NULL;
}

int tx_queue_add(const json_t *op, struct tx_queue *q, struct txn *t, struct err *e)
{
    if (q->model[0] != '\0')
        return tx_arrive_add(op, q, t, e);
    if (q->job != NULL)
        return tx_job_add(q, t, e);
    return q->settle ? tx_settle_add(op, q, t, e) : tx_send_add(op, q, t, e);
}

int tx_queue_check(const json_t *op, struct tx_queue *q, struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = tx_queue_add(op, q, &t, e);
    txn_fini(&t);
    return rc;
}

void tx_queue_result(struct tx_queue *q, struct cursor *result)
{
    queue_sent_read(result, &q->sent);
}

void tx_queue_print(const json_t *op, const struct tx_queue *q, struct buf *out)
{
    char id[UUID_TEXT];
    if (q->model[0] != '\0') {
        tx_arrive_print(op, q, out);
        return;
    }
    if (!q->settle) {
        uuid_format(&q->sent.id, id);
        buf_addf(out, ",\"id\":\"%s\",\"outcome\":\"%s\",", id,
                 q->sent.duplicate ? "duplicate"
                 : q->sent.merged  ? "merged"
                                   : "sent");
        queue_print_depth(out, q->sent.depth, q->sent.oldest_age_ms);
        return;
    }
    buf_addf(out, ",\"id\":\"%s\",\"outcome\":\"%s\"", json_string_value(json_object_get(op, "id")),
             json_string_value(json_object_get(op, "outcome")));
}
