/* Queue: operations, written and read back. */
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

void uuid_read(struct cursor *c, struct uuid *out)
{
    const void *p = cursor_raw(c, sizeof out->b);
    if (p != NULL)
        memcpy(out->b, p, sizeof out->b);
    else
        memset(out, 0, sizeof *out);
}

int op_bad(const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "a %s operation is damaged", what);
}

/* ---- operations of a name and little else ---- */

static struct buf *op_begin(struct txn *t, enum queue_op type)
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

static int body_check(size_t n, struct err *e)
{
    if (n > CORE_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "body",
                         "%zu bytes, at most %d: keep it elsewhere and send its key", n,
                         CORE_BODY_MAX);
    return 0;
}

int queue_txn_edit(struct txn *t, const struct uuid *id, const void *body, size_t body_len,
                   struct err *e)
{
    int rc = body_check(body_len, e);
    if (rc < 0)
        return rc;
    struct buf *b = op_begin(t, QUEUE_OP_EDIT);
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
    return c->bad || cursor_left(c) > 0 || q->name == NULL || flags > 15 ? op_bad("declare", e) : 0;
}

/* ---- consumers ---- */

enum { OPEN_VERSION = 2, OPEN_WORKER = 1, OPEN_OF_NODE = 2 };

static void labels_add(struct buf *b, const struct core_label *labels, uint8_t count)
{
    buf_add_u8(b, count);
    for (uint8_t i = 0; i < count; i++) {
        short_add(b, labels[i].name);
        short_add(b, labels[i].text);
        buf_add_u32(b, labels[i].number);
    }
}

static uint8_t labels_read(struct cursor *c, struct core_label *labels, char **room)
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
    labels_add(b, o->labels, o->labels_count);
    buf_add_u8(b, o->only_count);
    for (uint8_t i = 0; i < o->only_count; i++)
        short_add(b, o->only[i]);
    uint32_t queues = o->worker ? 0 : o->queues_count;
    buf_add_u16(b, (uint16_t)queues);
    for (uint32_t i = 0; i < queues; i++)
        short_add(b, o->queues[i]);
    txn_end(t);
}

static uint32_t texts_read(struct cursor *c, uint32_t count, uint32_t max, const char **out,
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
    o->labels_count = labels_read(c, v->labels, &v->texts);
    o->only = v->only;
    o->only_count = (uint8_t)texts_read(c, cursor_u8(c), CORE_LABELS_MAX, v->only, &v->texts);
    o->queues = v->queues;
    o->queues_count = texts_read(c, cursor_u16(c), CORE_SUBSCRIBED_MAX, v->queues, &v->texts);
    return c->bad || cursor_left(c) > 0 || o->node == NULL ? op_bad("consumer", e) : 0;
}

/* ---- sends ---- */

/* Its text, made of its bytes again, would be the same. */
static bool text_is_uuid(const char *text, struct uuid *out)
{
    char again[UUID_TEXT];
    if (!uuid_parse(text, strlen(text), out))
        return false;
    uuid_format(out, again);
    return strcmp(again, text) == 0;
}

static uint32_t correlation_flag(const char *text)
{
    struct uuid id;
    if (text == NULL)
        return 0;
    return text_is_uuid(text, &id) ? SEND_CORRELATION_ID : SEND_CORRELATION;
}

static uint32_t send_flags(const struct queue_message *m)
{
    const struct core_send *s = &m->send;
    uint32_t f = 0;
    f |= s->run_at != 0 ? SEND_RUN_AT : 0u;
    f |= s->ttl_ms != 0 ? SEND_TTL : 0u;
    f |= s->deadline_ms != 0 ? SEND_DEADLINE : 0u;
    f |= s->timeout_ms != 0 ? SEND_TIMEOUT : 0u;
    f |= s->priority != CORE_PRIORITY ? SEND_PRIORITY : 0u;
    f |= s->attempts != 0 ? SEND_ATTEMPTS : 0u;
    f |= s->backoff != NULL ? SEND_BACKOFF : 0u;
    f |= s->lane != NULL ? SEND_LANE : 0u;
    f |= s->key != NULL ? SEND_KEY : 0u;
    f |= s->unique != NULL ? SEND_UNIQUE : 0u;
    f |= s->dedup != NULL ? SEND_DEDUP : 0u;
    f |= s->gates_count > 0 ? SEND_GATES : 0u;
    f |= s->needs_count > 0 ? SEND_NEEDS : 0u;
    f |= s->create ? SEND_CREATE : 0u;
    f |= m->type != NULL ? SEND_TYPE : 0u;
    f |= m->headers != NULL ? SEND_HEADERS : 0u;
    f |= correlation_flag(m->correlation);
    f |= m->traceparent != NULL ? SEND_TRACE : 0u;
    f |= s->dedup_ms != 0 ? SEND_DEDUP_MS : 0u;
    return f;
}

static int text_fits(const char *text, size_t max, const char *field, struct err *e)
{
    if (text != NULL && strlen(text) > max)
        return err_field(e, ERR_INVALID, field, "at most %zu bytes", max);
    return 0;
}

static int message_check(const struct queue_message *m, struct err *e)
{
    const struct core_send *s = &m->send;
    int rc = body_check(m->body_len, e);
    const struct {
        const char *text, *field;
        size_t max;
    } texts[] = {{s->queue, "queue", CORE_TEXT_MAX},
                 {s->lane, "lane", CORE_TEXT_MAX},
                 {s->key, "key", CORE_TEXT_MAX},
                 {s->unique, "unique", CORE_TEXT_MAX},
                 {s->dedup, "dedup", CORE_TEXT_MAX},
                 {m->type, "type", QUEUE_TYPE_BYTES},
                 {m->headers, "headers", QUEUE_HEADERS_BYTES},
                 {m->correlation, "correlation", CORE_TEXT_MAX},
                 {m->traceparent, "traceparent", CORE_TEXT_MAX}};
    for (size_t i = 0; rc == 0 && i < sizeof texts / sizeof texts[0]; i++)
        rc = text_fits(texts[i].text, texts[i].max, texts[i].field, e);
    if (rc == 0 && (s->gates_count > CORE_GATES_MAX || s->needs_count > CORE_LABELS_MAX))
        rc = err_field(e, ERR_INVALID, s->gates_count > CORE_GATES_MAX ? "gate" : "needs",
                       "at most %d gates and %d labels", CORE_GATES_MAX, CORE_LABELS_MAX);
    for (uint8_t i = 0; rc == 0 && i < s->gates_count; i++)
        rc = text_fits(s->gates[i], CORE_TEXT_MAX, "gate", e);
    for (uint8_t i = 0; rc == 0 && i < s->needs_count; i++) {
        rc = text_fits(s->needs[i].name, CORE_TEXT_MAX, "needs", e);
        if (rc == 0)
            rc = text_fits(s->needs[i].text, CORE_TEXT_MAX, "needs", e);
    }
    return rc;
}

static void backoff_add(struct buf *b, const struct core_backoff *o)
{
    buf_add_u32(b, o->first);
    buf_add_u32(b, o->cap);
    buf_add_u8(b, o->list_count);
    for (uint8_t i = 0; i < o->list_count && i < CORE_BACKOFF_LIST_MAX; i++)
        buf_add_u32(b, o->list[i]);
}

/* In the order of the bits. */
static void send_add_options(struct buf *b, const struct queue_message *m, uint32_t f)
{
    const struct core_send *s = &m->send;
    if (f & SEND_RUN_AT)
        buf_add_u64(b, (uint64_t)s->run_at);
    if (f & SEND_TTL)
        buf_add_u64(b, (uint64_t)s->ttl_ms);
    if (f & SEND_DEADLINE)
        buf_add_u64(b, (uint64_t)s->deadline_ms);
    if (f & SEND_TIMEOUT)
        buf_add_u32(b, s->timeout_ms);
    if (f & SEND_PRIORITY)
        buf_add_u8(b, s->priority);
    if (f & SEND_ATTEMPTS)
        buf_add_u16(b, s->attempts);
    if (f & SEND_BACKOFF)
        backoff_add(b, s->backoff);
    if (f & SEND_LANE)
        short_add(b, s->lane);
    if (f & SEND_KEY)
        short_add(b, s->key);
    if (f & SEND_UNIQUE) {
        short_add(b, s->unique);
        buf_add_u8(b, (uint8_t)s->unique_mode);
        buf_add_u64(b, s->unique_expect);
    }
    if (f & SEND_DEDUP)
        short_add(b, s->dedup);
}

static void send_add_rest(struct buf *b, const struct queue_message *m, uint32_t f)
{
    const struct core_send *s = &m->send;
    if (f & SEND_GATES) {
        buf_add_u8(b, s->gates_count);
        for (uint8_t i = 0; i < s->gates_count; i++)
            short_add(b, s->gates[i]);
    }
    if (f & SEND_NEEDS)
        labels_add(b, s->needs, s->needs_count);
    if (f & SEND_TYPE)
        short_add(b, m->type);
    if (f & SEND_HEADERS)
        short_add(b, m->headers);
    if (f & SEND_CORRELATION)
        short_add(b, m->correlation);
    if (f & SEND_TRACE)
        short_add(b, m->traceparent);
    struct uuid id;
    if (f & SEND_CORRELATION_ID && text_is_uuid(m->correlation, &id))
        buf_add(b, id.b, sizeof id.b);
    if (f & SEND_DEDUP_MS)
        buf_add_u64(b, (uint64_t)s->dedup_ms);
}

static void send_add(struct buf *b, const struct queue_message *m)
{
    uint32_t f = send_flags(m);
    buf_add_u32(b, f);
    buf_add(b, m->send.id.b, sizeof m->send.id.b);
    short_add(b, m->send.queue);
    send_add_options(b, m, f);
    send_add_rest(b, m, f);
    buf_add_bytes(b, m->body, m->body_len);
}

/* A version only where it is needed, so that a program before this one can read the others. */
static struct buf *send_begin(struct txn *t, enum queue_op type, const struct queue_message *m)
{
    return txn_begin(t, (uint16_t)type, m->send.dedup_ms != 0 ? SEND_VERSION : 1);
}

int queue_txn_send(struct txn *t, const struct queue_message *m, struct err *e)
{
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    send_add(send_begin(t, QUEUE_OP_SEND, m), m);
    txn_end(t);
    return 0;
}

int queue_txn_send_discarded(struct txn *t, const struct queue_message *m, int64_t keep_ms,
                             struct err *e)
{
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    struct buf *b = send_begin(t, QUEUE_OP_SEND_DISCARDED, m);
    send_add(b, m);
    buf_add_u8(b, (uint8_t)m->send.discard);
    buf_add_u64(b, (uint64_t)keep_ms);
    txn_end(t);
    return 0;
}

int queue_txn_send_manual(struct txn *t, const struct queue_message *m, int64_t due_ms,
                          const struct uuid *follows, struct err *e)
{
    static const struct uuid nobody;
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    struct buf *b = op_begin(t, QUEUE_OP_SEND_MANUAL);
    send_add(b, m);
    buf_add_u64(b, (uint64_t)due_ms);
    buf_add(b, follows != NULL ? follows->b : nobody.b, sizeof nobody.b);
    txn_end(t);
    return 0;
}

bool queue_sent_manual(struct cursor *result)
{
    return cursor_u8(result) == 1 && !result->bad;
}

static void backoff_read(struct cursor *c, struct core_backoff *o)
{
    memset(o, 0, sizeof *o);
    o->first = cursor_u32(c);
    o->cap = cursor_u32(c);
    o->list_count = cursor_u8(c);
    c->bad = c->bad || o->list_count > CORE_BACKOFF_LIST_MAX;
    for (uint8_t i = 0; i < o->list_count && !c->bad; i++)
        o->list[i] = cursor_u32(c);
}

static void send_read_options(struct cursor *c, struct send_view *v, uint32_t f)
{
    struct core_send *s = &v->send;
    s->run_at = f & SEND_RUN_AT ? (int64_t)cursor_u64(c) : 0;
    s->ttl_ms = f & SEND_TTL ? (int64_t)cursor_u64(c) : 0;
    s->deadline_ms = f & SEND_DEADLINE ? (int64_t)cursor_u64(c) : 0;
    s->timeout_ms = f & SEND_TIMEOUT ? cursor_u32(c) : 0;
    s->priority = f & SEND_PRIORITY ? cursor_u8(c) : CORE_PRIORITY;
    s->attempts = f & SEND_ATTEMPTS ? cursor_u16(c) : 0;
    if (f & SEND_BACKOFF) {
        backoff_read(c, &v->backoff);
        s->backoff = &v->backoff;
    }
    if (f & SEND_LANE)
        s->lane = short_read(c, &v->texts, CORE_TEXT_MAX);
    if (f & SEND_KEY)
        s->key = short_read(c, &v->texts, CORE_TEXT_MAX);
    if (f & SEND_UNIQUE) {
        s->unique = short_read(c, &v->texts, CORE_TEXT_MAX);
        uint8_t mode = cursor_u8(c);
        c->bad = c->bad || mode > UNIQUE_SWAP;
        s->unique_mode = mode == 0 ? UNIQUE_SKIP : mode == 1 ? UNIQUE_REPLACE : UNIQUE_SWAP;
        s->unique_expect = cursor_u64(c);
    }
    if (f & SEND_DEDUP)
        s->dedup = short_read(c, &v->texts, CORE_TEXT_MAX);
}

static const char *uuid_text_read(struct cursor *c, char **room)
{
    struct uuid id;
    char *text = *room;
    uuid_read(c, &id);
    uuid_format(&id, text);
    *room += UUID_TEXT;
    return text;
}

static void send_read_rest(struct cursor *c, struct send_view *v, uint32_t f)
{
    struct core_send *s = &v->send;
    if (f & SEND_GATES)
        s->gates_count = (uint8_t)texts_read(c, cursor_u8(c), CORE_GATES_MAX, s->gates, &v->texts);
    if (f & SEND_NEEDS)
        s->needs_count = labels_read(c, v->needs, &v->texts);
    s->needs = v->needs;
    s->create = f & SEND_CREATE;
    v->type = f & SEND_TYPE ? short_read(c, &v->texts, QUEUE_TYPE_BYTES) : NULL;
    v->headers = f & SEND_HEADERS ? short_read(c, &v->texts, QUEUE_HEADERS_BYTES) : NULL;
    v->correlation = f & SEND_CORRELATION ? short_read(c, &v->texts, CORE_TEXT_MAX) : NULL;
    v->traceparent = f & SEND_TRACE ? short_read(c, &v->texts, CORE_TEXT_MAX) : NULL;
    if (f & SEND_CORRELATION_ID)
        v->correlation = uuid_text_read(c, &v->texts);
    s->dedup_ms = f & SEND_DEDUP_MS ? (int64_t)cursor_u64(c) : 0;
    v->body = cursor_bytes(c, &v->body_len);
}

int send_decode(struct cursor *c, struct send_view *v, struct err *e)
{
    memset(&v->send, 0, sizeof v->send);
    v->texts = v->room;
    uint32_t f = cursor_u32(c);
    if (f & ~(uint32_t)SEND_KNOWN)
        c->bad = true;
    uuid_read(c, &v->send.id);
    v->send.queue = short_read(c, &v->texts, CORE_TEXT_MAX);
    send_read_options(c, v, f);
    send_read_rest(c, v, f);
    v->send.bytes = (uint32_t)v->body_len;
    return c->bad || v->send.queue == NULL || v->body_len > CORE_BODY_MAX ? op_bad("send", e) : 0;
}

/* ---- what a send gave ---- */

enum { SENT_DUPLICATE = 1, SENT_MERGED = 2, SENT_AGE = 4 /* without: an older program gave it */ };

void sent_add(struct buf *result, const struct core_sent *s)
{
    buf_add(result, s->id.b, sizeof s->id.b);
    buf_add_u8(result, (uint8_t)(SENT_AGE | (s->duplicate ? SENT_DUPLICATE : 0) |
                                 (s->merged ? SENT_MERGED : 0)));
    buf_add_u64(result, s->depth);
    buf_add_u64(result, (uint64_t)s->oldest_age_ms);
}

void queue_sent_read(struct cursor *result, struct core_sent *out)
{
    memset(out, 0, sizeof *out);
    uuid_read(result, &out->id);
    uint8_t flags = cursor_u8(result);
    out->duplicate = flags & SENT_DUPLICATE;
    out->merged = flags & SENT_MERGED;
    out->depth = cursor_u64(result);
    out->oldest_age_ms = flags & SENT_AGE ? (int64_t)cursor_u64(result) : 0;
}

/* ---- settling ---- */

static int settle_check(const struct core_settle *s, size_t text_len, struct err *e)
{
    size_t max = s->outcome == SETTLE_ACK ? QUEUE_RESULT_BYTES : QUEUE_ERROR_BYTES;
    if (text_len > max)
        return err_field(e, ERR_TOO_LARGE, s->outcome == SETTLE_ACK ? "result" : "error",
                         "at most %zu bytes", max);
    if (text_fits(s->gate, CORE_TEXT_MAX, "gate", e) < 0 ||
        text_fits(s->queue, CORE_TEXT_MAX, "queue", e) < 0)
        return ERR_INVALID;
    return 0;
}

static void settle_put(struct buf *b, const struct core_settle *s, const char *text,
                       size_t text_len)
{
    buf_add(b, s->id.b, sizeof s->id.b);
    buf_add_u64(b, s->token);
    buf_add_u8(b, (uint8_t)s->outcome);
    buf_add_u8(b, (uint8_t)s->reason);
    buf_add_u16(b, s->code);
    buf_add_u64(b, (uint64_t)s->delay_ms);
    buf_add_u64(b, (uint64_t)s->until);
    buf_add_u32(b, s->lease_ms);
    short_add(b, s->gate);
    short_add(b, s->queue);
    buf_add_bytes(b, text, text_len);
}

static void settle_add(struct txn *t, enum queue_op type, const struct core_settle *s,
                       const char *text, size_t text_len)
{
    settle_put(op_begin(t, type), s, text, text_len);
    txn_end(t);
}

int queue_txn_worked(struct txn *t, const struct core_worked *w, const char *text, size_t text_len,
                     struct err *e)
{
    struct core_settle s = {.id = w->id, .outcome = SETTLE_ACK};
    int rc = settle_check(&s, text_len, e);
    if (rc < 0)
        return rc;
    struct buf *b = op_begin(t, QUEUE_OP_WORKED);
    settle_put(b, &s, text, text_len);
    buf_add_u8(b,
               (uint8_t)((w->cancelled ? WORKED_CANCELLED : 0) | (w->forget ? WORKED_FORGET : 0)));
    txn_end(t);
    return 0;
}

int queue_txn_settle(struct txn *t, const struct core_settle *s, const char *text, size_t text_len,
                     struct err *e)
{
    int rc = settle_check(s, text_len, e);
    if (rc == 0)
        settle_add(t, QUEUE_OP_SETTLE, s, text, text_len);
    t->urgent = true;
    return rc;
}

int queue_txn_end(struct txn *t, const struct core_settle *s, const char *text, size_t text_len,
                  struct err *e)
{
    ASSERT(s->outcome == SETTLE_ACK || s->outcome == SETTLE_REJECT);
    int rc = settle_check(s, text_len, e);
    if (rc == 0)
        settle_add(t, QUEUE_OP_END, s, text, text_len);
    t->urgent = true;
    return rc;
}

int settle_decode(struct cursor *c, struct settle_view *v, struct err *e)
{
    struct core_settle *s = &v->settle;
    char *gate = v->gate, *queue = v->queue;
    memset(s, 0, sizeof *s);
    uuid_read(c, &s->id);
    s->token = cursor_u64(c);
    uint8_t outcome = cursor_u8(c), reason = cursor_u8(c);
    s->code = cursor_u16(c);
    s->delay_ms = (int64_t)cursor_u64(c);
    s->until = (int64_t)cursor_u64(c);
    s->lease_ms = cursor_u32(c);
    s->gate = short_read(c, &gate, CORE_TEXT_MAX);
    s->queue = short_read(c, &queue, CORE_TEXT_MAX);
    v->text = cursor_bytes(c, &v->text_len);
    s->has_result = v->text_len > 0;
    if (c->bad || outcome < SETTLE_ACK || outcome > SETTLE_EXTEND || reason >= REASON_COUNT)
        return op_bad("settle", e);
    s->outcome = (enum core_outcome)outcome;
    s->reason = (enum rec_reason)reason;
    return 0;
}

/* ---- what people say of a record ---- */

int queue_txn_tend(struct txn *t, const struct uuid *id, const struct core_tend *w, struct err *e)
{
    if (w->has_owner && text_fits(w->owner, CORE_OWNER_MAX, "owner", e) < 0)
        return ERR_INVALID;
    struct buf *b = op_begin(t, QUEUE_OP_TEND);
    buf_add(b, id->b, sizeof id->b);
    buf_add_u8(b, (uint8_t)((w->has_owner ? TEND_OWNER : 0) | (w->has_due ? TEND_DUE : 0) |
                            (w->has_until ? TEND_UNTIL : 0)));
    short_add(b, w->has_owner ? w->owner : NULL);
    buf_add_u64(b, (uint64_t)w->due_at);
    buf_add_u64(b, (uint64_t)w->until);
    txn_end(t);
    return 0;
}

int tend_decode(struct cursor *c, struct tend_view *v, struct err *e)
{
    char *room = v->owner;
    uuid_read(c, &v->id);
    uint8_t flags = cursor_u8(c);
    v->tend = (struct core_tend){.has_owner = flags & TEND_OWNER,
                                 .has_due = flags & TEND_DUE,
                                 .has_until = flags & TEND_UNTIL,
                                 .owner = short_read(c, &room, CORE_OWNER_MAX)};
    v->tend.due_at = (int64_t)cursor_u64(c);
    v->tend.until = (int64_t)cursor_u64(c);
    return c->bad || cursor_left(c) > 0 || flags > TEND_KNOWN ? op_bad("tend", e) : 0;
}

void queue_txn_if_delivery(struct txn *t, const struct uuid *id, uint64_t token)
{
    struct buf *b = op_begin(t, QUEUE_IF_DELIVERY);
    buf_add(b, id->b, sizeof id->b);
    buf_add_u64(b, token);
    txn_end(t);
}

void queue_txn_if_over(struct txn *t, const struct uuid *id)
{
    struct buf *b = op_begin(t, QUEUE_IF_OVER);
    buf_add(b, id->b, sizeof id->b);
    txn_end(t);
}
