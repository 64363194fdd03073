/* Queue: operations, written and read back; sends are in ops_send.c, settlements in ops_settle.c.
 */
#include <string.h>

#include "base/buf.h"
#include "ledger/txn.h"
#include "queue/ops_priv.h"

enum { OP_VERSION = 1 /* of all but what says otherwise */ };

void short_add(struct buf *b, const char *text)
{
    if (text == NULL) {
        buf_add_u16(b, UINT16_MAX);
        return;
    }
    size_t n = strlen(text);
    buf_add_u16(b, (uint16_t)n);
    buf_add(b, text, n);
}

const char *short_read(struct cursor *c, char **room, size_t max)
{
    uint16_t n = cursor_u16(c);
    if (c->bad || n == UINT16_MAX)
        return NULL;
    const void *p = n > max ? NULL : cursor_raw(c, n);
    if (p == NULL || memchr(p, '\0', n) != NULL) {
        c->bad = true;
        return NULL;
    }
    char *out = *room;
    memcpy(out, p, n);
    out[n] = '\0';
    *room += n + 1;
    return out;
}

int op_bad(const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "a %s operation is damaged", what);
}

/* ---- operations of a name and little else ---- */

struct buf *op_begin(struct txn *t, enum queue_op type)
{
    return txn_begin(t, (uint16_t)type, OP_VERSION);
}

static void op_id(struct txn *t, enum queue_op type, const struct uuid *id)
{
    struct buf *b = op_begin(t, type);
    buf_add(b, id->b, sizeof id->b);
    txn_end(t);
}

static void op_name_flag(struct txn *t, enum queue_op type, const char *name, bool flag)
{
    struct buf *b = op_begin(t, type);
    short_add(b, name);
    buf_add_u8(b, flag);
    txn_end(t);
}

void queue_txn_drop(struct txn *t, const char *name, bool force)
{
    op_name_flag(t, QUEUE_OP_DROP, name, force);
}

void queue_txn_pause(struct txn *t, const char *name, bool paused)
{
    op_name_flag(t, QUEUE_OP_PAUSE, name, paused);
}

void queue_txn_close(struct txn *t, const char *name, bool closed)
{
    op_name_flag(t, QUEUE_OP_CLOSE, name, closed);
}

void queue_txn_lane(struct txn *t, const char *name, uint32_t weight, uint32_t cap)
{
    struct buf *b = op_begin(t, QUEUE_OP_LANE);
    short_add(b, name);
    buf_add_u32(b, weight);
    buf_add_u32(b, cap);
    txn_end(t);
}

void queue_txn_tenant(struct txn *t, uint32_t weight)
{
    struct buf *b = op_begin(t, QUEUE_OP_TENANT);
    buf_add_u32(b, weight);
    txn_end(t);
}

void queue_txn_gate(struct txn *t, const struct core_gate *g)
{
    struct buf *b = op_begin(t, QUEUE_OP_GATE);
    short_add(b, g->name);
    buf_add_u32(b, g->capacity);
    buf_add_u32(b, g->rate);
    buf_add_u64(b, (uint64_t)g->per_ms);
    txn_end(t);
}

static void op_gate_until(struct txn *t, enum queue_op type, const char *name, int64_t until)
{
    struct buf *b = op_begin(t, type);
    short_add(b, name);
    buf_add_u64(b, (uint64_t)until);
    txn_end(t);
}

void queue_txn_gate_close(struct txn *t, const char *name, int64_t until)
{
    op_gate_until(t, QUEUE_OP_GATE_CLOSE, name, until);
}

void queue_txn_gate_backoff(struct txn *t, const char *name, int64_t until)
{
    op_gate_until(t, QUEUE_OP_GATE_BACKOFF, name, until);
}

void queue_txn_renew(struct txn *t, const struct uuid *consumer)
{
    t->urgent = true;
    op_id(t, QUEUE_OP_RENEW, consumer);
}

void queue_txn_leave(struct txn *t, const struct uuid *consumer)
{
    t->urgent = true;
    op_id(t, QUEUE_OP_LEAVE, consumer);
}

void queue_txn_retire(struct txn *t, const struct uuid *consumer, uint32_t lease_ms)
{
    t->urgent = true;
    struct buf *b = op_begin(t, QUEUE_OP_RETIRE);
    buf_add(b, consumer->b, sizeof consumer->b);
    buf_add_u32(b, lease_ms);
    txn_end(t);
}

void queue_txn_cancel(struct txn *t, const struct uuid *id)
{
    op_id(t, QUEUE_OP_CANCEL, id);
}

bool queue_cancel_asked(struct cursor *result)
{
    return cursor_u8(result) == 1;
}

void queue_txn_retry(struct txn *t, const struct uuid *id)
{
    op_id(t, QUEUE_OP_RETRY, id);
}

void queue_txn_wake(struct txn *t, const struct uuid *id)
{
    op_id(t, QUEUE_OP_WAKE, id);
}

void queue_txn_unregister(struct txn *t, const char *name)
{
    struct buf *b = op_begin(t, QUEUE_OP_UNREGISTER);
    short_add(b, name);
    txn_end(t);
}

void queue_txn_abandon(struct txn *t, const char *name)
{
    struct buf *b = op_begin(t, QUEUE_OP_ABANDON);
    short_add(b, name);
    txn_end(t);
}

void queue_txn_purge(struct txn *t, const struct uuid *id)
{
    op_id(t, QUEUE_OP_PURGE, id);
}

void queue_txn_move(struct txn *t, const struct uuid *id, const char *queue)
{
    struct buf *b = op_begin(t, QUEUE_OP_MOVE);
    buf_add(b, id->b, sizeof id->b);
    short_add(b, queue);
    txn_end(t);
}

int op_body_check(size_t n, struct err *e)
{
    if (n > CORE_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "body",
                         "%zu bytes, at most %d: keep it elsewhere and send its key", n,
                         CORE_BODY_MAX);
    return 0;
}

int queue_txn_edit(struct txn *t, const struct uuid *id, const void *body, size_t body_len,
                   bool large, struct err *e)
{
    int rc = op_body_check(body_len, e);
    if (rc < 0)
        return rc;
    struct buf *b = txn_begin(t, QUEUE_OP_EDIT, large ? EDIT_LARGE_VERSION : EDIT_VERSION);
    buf_add(b, id->b, sizeof id->b);
    buf_add_bytes(b, body, body_len);
    txn_end(t);
    return 0;
}

/* ---- declare ---- */

enum { DECLARE_DROPS_OLDEST = 1, DECLARE_HALTS = 2, DECLARE_MANUAL = 4, DECLARE_HANDLED = 8 };

void queue_txn_declare(struct txn *t, const struct core_queue *q)
{
    struct buf *b = txn_begin(t, QUEUE_OP_DECLARE, DECLARE_VERSION);
    short_add(b, q->name);
    short_add(b, q->dead_to);
    buf_add_u8(b, (uint8_t)((q->overflow == OVERFLOW_DROP_OLDEST ? DECLARE_DROPS_OLDEST : 0) |
                            (q->halt_on_dead ? DECLARE_HALTS : 0) |
                            (q->manual ? DECLARE_MANUAL : 0) | (q->handled ? DECLARE_HANDLED : 0)));
    buf_add_u32(b, q->concurrency);
    buf_add_u64(b, q->max);
    buf_add_u64(b, q->max_bytes);
    buf_add_u64(b, (uint64_t)q->keep_completed_ms);
    buf_add_u64(b, (uint64_t)q->keep_discarded_ms);
    buf_add_u32(b, q->keep_count);
    buf_add_u64(b, (uint64_t)q->dedup_window_ms);
    buf_add_u64(b, (uint64_t)q->due_ms);
    buf_add_u32(b, q->body_max);
    sending_add(b, q->sending);
    short_add(b, q->script);
    buf_add_u32(b, q->scripted);
    txn_end(t);
}

int declare_decode(struct cursor *c, uint8_t from, struct queue_view *v, struct err *e)
{
    struct core_queue *q = &v->queue;
    char *name = v->name, *dead_to = v->dead_to;
    memset(q, 0, sizeof *q);
    q->name = short_read(c, &name, CORE_TEXT_MAX);
    q->dead_to = short_read(c, &dead_to, CORE_TEXT_MAX);
    uint8_t flags = cursor_u8(c);
    q->overflow = flags & DECLARE_DROPS_OLDEST ? OVERFLOW_DROP_OLDEST : OVERFLOW_REFUSE;
    q->halt_on_dead = flags & DECLARE_HALTS;
    q->manual = flags & DECLARE_MANUAL;
    q->handled = flags & DECLARE_HANDLED;
    q->concurrency = cursor_u32(c);
    q->max = cursor_u64(c);
    q->max_bytes = cursor_u64(c);
    q->keep_completed_ms = (int64_t)cursor_u64(c);
    q->keep_discarded_ms = (int64_t)cursor_u64(c);
    q->keep_count = cursor_u32(c);
    q->dedup_window_ms = (int64_t)cursor_u64(c);
    q->due_ms = from > 1 ? (int64_t)cursor_u64(c) : 0;
    q->body_max = from > 2 ? cursor_u32(c) : 0;
    char *room = v->room;
    q->sending = from > 2 ? sending_read(c, &v->sending, &room) : NULL;
    char *script = v->script;
    q->script = from > 3 ? short_read(c, &script, CORE_TEXT_MAX) : NULL;
    q->scripted = from > 3 ? cursor_u32(c) & OPTION_ALL : 0;
    return c->bad || cursor_left(c) > 0 || q->name == NULL || flags > 15 ? op_bad("declare", e) : 0;
}

/* ---- consumers ---- */

enum { OPEN_VERSION = 2, OPEN_WORKER = 1, OPEN_OF_NODE = 2 };

void op_labels_add(struct buf *b, const struct core_label *labels, uint8_t count)
{
    buf_add_u8(b, count);
    for (uint8_t i = 0; i < count; i++) {
        short_add(b, labels[i].name);
        short_add(b, labels[i].text);
        buf_add_u32(b, labels[i].number);
    }
}

uint8_t op_labels_read(struct cursor *c, struct core_label *labels, char **room)
{
    uint8_t count = cursor_u8(c);
    if (count > CORE_LABELS_MAX)
        c->bad = true;
    for (uint8_t i = 0; i < count && !c->bad; i++) {
        labels[i].name = short_read(c, room, CORE_TEXT_MAX);
        labels[i].text = short_read(c, room, CORE_TEXT_MAX);
        labels[i].number = cursor_u32(c);
        c->bad = c->bad || labels[i].name == NULL;
    }
    return c->bad ? 0 : count;
}

void queue_txn_open(struct txn *t, const struct core_consumer *o)
{
    struct buf *b = txn_begin(t, QUEUE_OP_OPEN, OPEN_VERSION);
    buf_add(b, o->id.b, sizeof o->id.b);
    short_add(b, o->node);
    buf_add_u8(b, (uint8_t)((o->worker ? OPEN_WORKER : 0) | (o->of_node ? OPEN_OF_NODE : 0)));
    buf_add_u32(b, o->credit);
    buf_add_u32(b, o->lease_ms);
    op_labels_add(b, o->labels, o->labels_count);
    buf_add_u8(b, o->only_count);
    for (uint8_t i = 0; i < o->only_count; i++)
        short_add(b, o->only[i]);
    uint32_t queues = o->worker ? 0 : o->queues_count;
    buf_add_u16(b, (uint16_t)queues);
    for (uint32_t i = 0; i < queues; i++)
        short_add(b, o->queues[i]);
    txn_end(t);
}

uint32_t op_texts_read(struct cursor *c, uint32_t count, uint32_t max, const char **out,
                       char **room)
{
    if (count > max)
        c->bad = true;
    for (uint32_t i = 0; i < count && !c->bad; i++) {
        out[i] = short_read(c, room, CORE_TEXT_MAX);
        c->bad = c->bad || out[i] == NULL;
    }
    return c->bad ? 0 : count;
}

int consumer_decode(struct cursor *c, uint8_t version, struct consumer_view *v, struct err *e)
{
    struct core_consumer *o = &v->consumer;
    memset(o, 0, sizeof *o);
    v->texts = v->room;
    uuid_read(c, &o->id);
    o->node = short_read(c, &v->texts, CORE_TEXT_MAX);
    uint8_t flags = cursor_u8(c);
    o->worker = version == 1 ? flags == OPEN_WORKER : flags & OPEN_WORKER;
    o->of_node = version > 1 && flags & OPEN_OF_NODE;
    c->bad = c->bad || (version > 1 && flags > OPEN_WORKER + OPEN_OF_NODE);
    o->credit = cursor_u32(c);
    o->lease_ms = cursor_u32(c);
    o->labels = v->labels;
    o->labels_count = op_labels_read(c, v->labels, &v->texts);
    o->only = v->only;
    o->only_count = (uint8_t)op_texts_read(c, cursor_u8(c), CORE_LABELS_MAX, v->only, &v->texts);
    o->queues = v->queues;
    o->queues_count = op_texts_read(c, cursor_u16(c), CORE_SUBSCRIBED_MAX, v->queues, &v->texts);
    return c->bad || cursor_left(c) > 0 || o->node == NULL ? op_bad("consumer", e) : 0;
}
