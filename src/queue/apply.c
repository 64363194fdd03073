/* Queue: the operations, applied. Each is decoded and given to the core; one that is refused leaves
 * nothing, also of the operations before it in its unit, which fails with it. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "ledger/domain.h"
#include "queue/ops_priv.h"
#include "queue/queue_priv.h"

static const char *tenant_of(const struct apply *a)
{
    return a->env->tenant;
}

/* What every operation ends with. */
static int done(struct queues *q, int rc)
{
    if (rc < 0)
        core_undo(q->core, false);
    return rc;
}

static int apply_declare(struct queues *q, const struct apply *a, uint8_t version, struct cursor *c,
                         struct err *e)
{
    struct queue_view *v = &q->queue_view;
    int rc = declare_decode(c, version, v, e);
    v->queue.tenant = tenant_of(a);
    return rc < 0 ? rc : core_declare(q->core, &v->queue, e);
}

static int apply_send(struct queues *q, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    struct core_sent sent;
    struct send_view *v = &q->send_view;
    int rc = send_decode(c, version, v, e);
    if (rc < 0)
        return rc;
    v->send.tenant = tenant_of(a);
    v->send.place = CORE_PLACE(a->seq, a->offset);
    rc = core_send(q->core, &v->send, &sent, e);
    if (rc == 0)
        sent_add(result, &sent);
    return rc;
}

/* A queue for what nobody listens to is made by the first such message. */
static int discarded_declare(struct queues *q, const struct core_send *s, int64_t keep_ms,
                             struct err *e)
{
    struct core_queue o;
    struct core_counts n;
    if (core_find(q->core, s->tenant, s->queue, &o, &n, NULL) == 0)
        return 0;
    o = (struct core_queue){.tenant = s->tenant, .name = s->queue};
    core_queue_defaults(&o);
    o.keep_discarded_ms = keep_ms;
    return core_declare(q->core, &o, e);
}

static int apply_send_discarded(struct queues *q, const struct apply *a, uint8_t version,
                                struct cursor *c, struct buf *result, struct err *e)
{
    struct core_sent sent;
    struct send_view *v = &q->send_view;
    int rc = send_decode(c, version, v, e);
    if (rc < 0)
        return rc;
    uint8_t why = cursor_u8(c);
    int64_t keep_ms = (int64_t)cursor_u64(c);
    if (c->bad || cursor_left(c) > 0 || why == REASON_NONE || why >= REASON_COUNT)
        return op_bad("send_discarded", e);
    v->send.tenant = tenant_of(a);
    v->send.place = CORE_PLACE(a->seq, a->offset);
    v->send.discard = (enum rec_reason)why;
    rc = discarded_declare(q, &v->send, keep_ms, e);
    if (rc == 0)
        rc = core_send(q->core, &v->send, &sent, e);
    if (rc == 0)
        sent_add(result, &sent);
    return rc;
}

/* The trace that the unit goes on: 00-TRACE-SPAN-FLAGS. NULL: none. */
static const uint8_t *trace_of(const struct apply *a, uint8_t out[CORE_TRACE_BYTES])
{
    const char *p = a->env->traceparent;
    if (p == NULL || strlen(p) < 3 + 2 * CORE_TRACE_BYTES || p[2] != '-')
        return NULL;
    for (size_t i = 0; i < CORE_TRACE_BYTES; i++) {
        int high = str_hex_digit(p[3 + 2 * i]), low = str_hex_digit(p[4 + 2 * i]);
        if (high < 0 || low < 0)
            return NULL;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return out;
}

/* Never refuses, but what cannot be read. */
static int apply_send_manual(struct queues *q, const struct apply *a, uint8_t version,
                             struct cursor *c, struct buf *result, struct err *e)
{
    static const struct uuid nobody;
    struct uuid follows;
    bool sent = false;
    struct send_view *v = &q->send_view;
    int rc = send_decode(c, version, v, e);
    if (rc < 0)
        return rc;
    struct core_manual m = {.due_ms = (int64_t)cursor_u64(c), .anew = version == 1};
    uuid_read(c, &follows);
    if (c->bad || cursor_left(c) > 0 || m.due_ms < 0)
        return op_bad("send_manual", e);
    if (memcmp(follows.b, nobody.b, sizeof nobody.b) != 0)
        m.follows = &follows;
    v->send.tenant = tenant_of(a);
    v->send.place = CORE_PLACE(a->seq, a->offset);
    rc = core_send_manual(q->core, &v->send, &m, &sent, e);
    if (rc == 0)
        buf_add_u8(result, sent);
    return rc;
}

/* Nor this one. */
static int apply_worked(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    struct settle_view v;
    int rc = settle_decode(c, &v, e);
    uint8_t flags = cursor_u8(c);
    if (rc < 0)
        return rc;
    if (c->bad || cursor_left(c) > 0 || flags > WORKED_KNOWN)
        return op_bad("worked", e);
    core_by(q->core, a->env->principal, a->env->reason);
    core_worked(q->core, &(struct core_worked){.id = v.settle.id,
                                               .place = CORE_PLACE(a->seq, a->offset),
                                               .has_result = v.settle.has_result,
                                               .cancelled = flags & WORKED_CANCELLED,
                                               .forget = flags & WORKED_FORGET});
    return 0;
}

/* Nor this one. */
static int apply_forget(struct queues *q, struct cursor *c, struct err *e)
{
    struct uuid id;
    uint32_t count = cursor_u32(c);
    if (c->bad || cursor_left(c) != count * sizeof id.b)
        return op_bad("forget", e);
    for (uint32_t i = 0; i < count; i++) {
        uuid_read(c, &id);
        core_forget(q->core, &id);
    }
    return 0;
}

static int apply_tend(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    struct tend_view v;
    int rc = tend_decode(c, &v, e);
    core_by(q->core, a->env->principal, a->env->reason);
    return rc < 0 ? rc : core_tend(q->core, &v.id, &v.tend, e);
}

static int apply_settle(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    struct settle_view v;
    uint8_t trace[CORE_TRACE_BYTES];
    int rc = settle_decode(c, &v, e);
    v.settle.tenant = tenant_of(a);
    v.settle.trace = trace_of(a, trace);
    v.settle.place = CORE_PLACE(a->seq, a->offset);
    return rc < 0 ? rc : core_settle(q->core, &v.settle, e);
}

/* Never refuses, but what cannot be read. */
static int apply_end(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    struct settle_view v;
    int rc = settle_decode(c, &v, e);
    if (rc < 0)
        return rc;
    uint8_t trace[CORE_TRACE_BYTES];
    struct core_settle s = {.trace = trace_of(a, trace),
                            .id = v.settle.id,
                            .token = v.settle.token,
                            .place = CORE_PLACE(a->seq, a->offset),
                            .outcome = v.settle.outcome,
                            .reason = v.settle.reason,
                            .code = v.settle.code,
                            .delay_ms = -1,
                            .has_result = v.settle.has_result};
    if (s.outcome != SETTLE_ACK && s.outcome != SETTLE_REJECT)
        return op_bad("end", e);
    return core_held(q->core, &s.id, s.token, NULL) == 0 ? core_settle(q->core, &s, e) : 0;
}

static int apply_open(struct queues *q, const struct apply *a, uint8_t version, struct cursor *c,
                      struct err *e)
{
    struct consumer_view *v = &q->consumer_view;
    int rc = consumer_decode(c, version, v, e);
    v->consumer.tenant = tenant_of(a);
    return rc < 0 ? rc : core_open(q->core, &v->consumer, e);
}

static int apply_edit(struct queues *q, const struct apply *a, uint8_t version, struct cursor *c,
                      struct err *e)
{
    struct uuid id;
    size_t n;
    uuid_read(c, &id);
    const void *body = cursor_bytes(c, &n);
    if (c->bad || body == NULL || n > CORE_BODY_MAX)
        return op_bad("edit", e);
    core_by(q->core, a->env->principal, a->env->reason);
    return core_edit(q->core, &id, CORE_PLACE(a->seq, a->offset), (uint32_t)n,
                     version <= EDIT_LARGE_VERSION, e);
}

/* A name, and a flag or numbers behind it. */
static int apply_named(struct queues *q, const struct apply *a, enum queue_op type,
                       struct cursor *c, struct err *e)
{
    char room[CORE_TEXT_MAX + 1], *at = room;
    const char *name = short_read(c, &at, CORE_TEXT_MAX);
    uint8_t flag = type == QUEUE_OP_DROP || type == QUEUE_OP_PAUSE || type == QUEUE_OP_CLOSE
                       ? cursor_u8(c)
                       : 0;
    uint32_t a32 = type == QUEUE_OP_LANE || type == QUEUE_OP_GATE ? cursor_u32(c) : 0;
    uint32_t b32 = type == QUEUE_OP_LANE || type == QUEUE_OP_GATE ? cursor_u32(c) : 0;
    bool has_ms =
        type == QUEUE_OP_GATE || type == QUEUE_OP_GATE_CLOSE || type == QUEUE_OP_GATE_BACKOFF;
    int64_t ms = has_ms ? (int64_t)cursor_u64(c) : 0;
    if (c->bad || name == NULL || flag > 1 || cursor_left(c) > 0)
        return op_bad("queue", e);
    if (type == QUEUE_OP_DROP)
        return core_drop(q->core, tenant_of(a), name, flag, e);
    if (type == QUEUE_OP_PAUSE)
        return core_pause(q->core, tenant_of(a), name, flag, e);
    if (type == QUEUE_OP_CLOSE)
        return core_close(q->core, tenant_of(a), name, flag, e);
    if (type == QUEUE_OP_LANE)
        return core_lane(q->core, name, a32, b32, e);
    if (type == QUEUE_OP_GATE_CLOSE)
        return core_gate_close(q->core, tenant_of(a), name, ms, e);
    if (type == QUEUE_OP_GATE_BACKOFF)
        return core_gate_backoff(q->core, tenant_of(a), name, ms, e);
    struct core_gate g = {
        .tenant = tenant_of(a), .name = name, .capacity = a32, .rate = b32, .per_ms = ms};
    return core_gate(q->core, &g, e);
}

/* An id, and at most a name behind it. */
static int apply_id(struct queues *q, const struct apply *a, enum queue_op type, struct cursor *c,
                    struct buf *result, struct err *e)
{
    struct uuid id;
    char room[CORE_TEXT_MAX + 1], *at = room;
    bool flag = false;
    uuid_read(c, &id);
    const char *name = type == QUEUE_OP_MOVE ? short_read(c, &at, CORE_TEXT_MAX) : NULL;
    if (c->bad || cursor_left(c) > 0 || (type == QUEUE_OP_MOVE && name == NULL))
        return op_bad("record", e);
    core_by(q->core, a->env->principal, a->env->reason);
    int rc = type == QUEUE_OP_RENEW    ? core_renew(q->core, &id, e)
             : type == QUEUE_OP_LEAVE  ? core_leave(q->core, &id, e)
             : type == QUEUE_OP_LAPSE  ? core_lapse(q->core, &id, &flag, e)
             : type == QUEUE_OP_CANCEL ? core_cancel(q->core, &id, &flag, e)
             : type == QUEUE_OP_RETRY  ? core_retry(q->core, &id, e)
             : type == QUEUE_OP_WAKE   ? core_wake(q->core, &id, e)
             : type == QUEUE_OP_PURGE  ? core_purge(q->core, &id, e)
                                       : core_move(q->core, &id, name, e);
    if (rc == 0 && (type == QUEUE_OP_LAPSE || type == QUEUE_OP_CANCEL))
        buf_add_u8(result, flag);
    return rc;
}

static int apply_unregister(struct queues *q, const struct apply *a, struct cursor *c,
                            struct buf *result, struct err *e)
{
    char room[CORE_TEXT_MAX + 1], *at = room;
    uint32_t count = 0;
    const char *name = short_read(c, &at, CORE_TEXT_MAX);
    if (c->bad || name == NULL || cursor_left(c) > 0)
        return op_bad("unregister", e);
    int rc = core_unregister(q->core, tenant_of(a), name, &count, e);
    buf_add_u32(result, count);
    return rc;
}

static int apply_retire(struct queues *q, struct cursor *c, struct err *e)
{
    struct uuid id;
    uuid_read(c, &id);
    uint32_t lease_ms = cursor_u32(c);
    if (c->bad || cursor_left(c) > 0)
        return op_bad("retire", e);
    return core_retire(q->core, &id, lease_ms, e);
}

static int apply_abandon(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    char room[CORE_TEXT_MAX + 1], *at = room;
    const char *name = short_read(c, &at, CORE_TEXT_MAX);
    if (c->bad || name == NULL || cursor_left(c) > 0)
        return op_bad("abandon", e);
    core_abandon(q->core, tenant_of(a), name);
    return 0;
}

static int apply_lapse_record(struct queues *q, struct cursor *c, struct buf *result, struct err *e)
{
    bool lapsed = false;
    uint64_t fingerprint = cursor_u64(c), token = cursor_u64(c);
    if (c->bad || cursor_left(c) > 0)
        return op_bad("lapse", e);
    int rc = core_lapse_record(q->core, fingerprint, token, &lapsed, e);
    buf_add_u8(result, lapsed);
    return rc;
}

static int apply_tenant(struct queues *q, const struct apply *a, struct cursor *c, struct err *e)
{
    uint32_t weight = cursor_u32(c);
    if (c->bad || cursor_left(c) > 0)
        return op_bad("tenant", e);
    return core_tenant(q->core, tenant_of(a), weight, e);
}

/* ---- the table ---- */

#define APPLY(name, call)                                                                          \
    static int op_##name(void *self, const struct apply *a, uint8_t version, struct cursor *c,     \
                         struct buf *result, struct err *e)                                        \
    {                                                                                              \
        struct queues *q = self;                                                                   \
        (void)a, (void)version, (void)result;                                                      \
        return done(q, call);                                                                      \
    }
APPLY(declare, apply_declare(q, a, version, c, e))
APPLY(drop, apply_named(q, a, QUEUE_OP_DROP, c, e))
APPLY(pause, apply_named(q, a, QUEUE_OP_PAUSE, c, e))
APPLY(close, apply_named(q, a, QUEUE_OP_CLOSE, c, e))
APPLY(lane, apply_named(q, a, QUEUE_OP_LANE, c, e))
APPLY(tenant, apply_tenant(q, a, c, e))
APPLY(gate, apply_named(q, a, QUEUE_OP_GATE, c, e))
APPLY(gate_close, apply_named(q, a, QUEUE_OP_GATE_CLOSE, c, e))
APPLY(gate_backoff, apply_named(q, a, QUEUE_OP_GATE_BACKOFF, c, e))
APPLY(send, apply_send(q, a, version, c, result, e))
APPLY(send_discarded, apply_send_discarded(q, a, version, c, result, e))
APPLY(send_manual, apply_send_manual(q, a, version, c, result, e))
APPLY(worked, apply_worked(q, a, c, e))
APPLY(forget, apply_forget(q, c, e))
APPLY(tend, apply_tend(q, a, c, e))
APPLY(settle, apply_settle(q, a, c, e))
APPLY(end, apply_end(q, a, c, e))
APPLY(open, apply_open(q, a, version, c, e))
APPLY(renew, apply_id(q, a, QUEUE_OP_RENEW, c, result, e))
APPLY(leave, apply_id(q, a, QUEUE_OP_LEAVE, c, result, e))
APPLY(lapse, apply_id(q, a, QUEUE_OP_LAPSE, c, result, e))
APPLY(lapse_record, apply_lapse_record(q, c, result, e))
APPLY(retire, apply_retire(q, c, e))
APPLY(wake, apply_id(q, a, QUEUE_OP_WAKE, c, result, e))
APPLY(unregister, apply_unregister(q, a, c, result, e))
APPLY(abandon, apply_abandon(q, a, c, e))
APPLY(cancel, apply_id(q, a, QUEUE_OP_CANCEL, c, result, e))
APPLY(retry, apply_id(q, a, QUEUE_OP_RETRY, c, result, e))
APPLY(move, apply_id(q, a, QUEUE_OP_MOVE, c, result, e))
APPLY(edit, apply_edit(q, a, version, c, e))
APPLY(purge, apply_id(q, a, QUEUE_OP_PURGE, c, result, e))

/* The entry itself has moved the time. */
static int op_tick(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                   struct buf *result, struct err *e)
{
    (void)self, (void)a, (void)version, (void)result;
    return cursor_left(c) > 0 ? op_bad("tick", e) : 0;
}

static int op_delivery(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                       struct buf *result, struct err *e)
{
    struct queues *q = self;
    struct uuid id;
    (void)a, (void)version, (void)result;
    uuid_read(c, &id);
    uint64_t token = cursor_u64(c);
    if (c->bad || cursor_left(c) > 0)
        return op_bad("delivery", e);
    return core_held(q->core, &id, token, e);
}

static int op_over(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                   struct buf *result, struct err *e)
{
    struct queues *q = self;
    struct uuid id;
    struct core_view v;
    (void)a, (void)version, (void)result;
    uuid_read(c, &id);
    if (c->bad || cursor_left(c) > 0)
        return op_bad("over", e);
    if (core_look(q->core, &id, &v, NULL) != 0 || v.state >= REC_COMPLETED)
        return 0;
    return err_set(e, ERR_CONFLICT, "the record is not over: it is %s", rec_state_name(v.state));
}

#define OP(type, name, words)                                                                      \
    {                                                                                              \
        type, 1, false, DOMAIN_ATOMIC, words, op_##name, true                                      \
    }
const struct domain_op queue_ops[] = {
    {QUEUE_OP_DECLARE, DECLARE_VERSION, false, DOMAIN_ATOMIC, "queue.declare", op_declare, true},
    OP(QUEUE_OP_DROP, drop, "queue.drop"),
    OP(QUEUE_OP_PAUSE, pause, "queue.pause"),
    OP(QUEUE_OP_CLOSE, close, "queue.close"),
    OP(QUEUE_OP_LANE, lane, "queue.lane"),
    OP(QUEUE_OP_TENANT, tenant, "queue.tenant"),
    OP(QUEUE_OP_GATE, gate, "queue.gate"),
    OP(QUEUE_OP_GATE_CLOSE, gate_close, "queue.gate_close"),
    OP(QUEUE_OP_GATE_BACKOFF, gate_backoff, "queue.gate_backoff"),
    {QUEUE_OP_SEND, SEND_VERSION, false, DOMAIN_ATOMIC, "queue.send", op_send, true},
    {QUEUE_OP_SEND_DISCARDED, SEND_VERSION, false, DOMAIN_ATOMIC, "queue.send_discarded",
     op_send_discarded, true},
    OP(QUEUE_OP_SETTLE, settle, "queue.settle"),
    {QUEUE_IF_DELIVERY, 1, true, DOMAIN_ATOMIC, "queue.if_delivery", op_delivery, false},
    {QUEUE_OP_END, 1, false, DOMAIN_SURE, "queue.end", op_end, true},
    {QUEUE_OP_SEND_MANUAL, MANUAL_VERSION, false, DOMAIN_SURE, "queue.send_manual", op_send_manual,
     true},
    {QUEUE_OP_WORKED, 1, false, DOMAIN_SURE, "queue.worked", op_worked, true},
    {QUEUE_OP_FORGET, 1, false, DOMAIN_SURE, "queue.forget", op_forget, true},
    OP(QUEUE_OP_TEND, tend, "queue.tend"),
    {QUEUE_IF_OVER, 1, true, DOMAIN_ATOMIC, "queue.if_over", op_over, false},
    {QUEUE_OP_OPEN, 2, false, DOMAIN_ATOMIC, "queue.open", op_open, true},
    OP(QUEUE_OP_RENEW, renew, "queue.renew"),
    OP(QUEUE_OP_LEAVE, leave, "queue.leave"),
    OP(QUEUE_OP_LAPSE, lapse, "queue.lapse"),
    OP(QUEUE_OP_LAPSE_RECORD, lapse_record, "queue.lapse_record"),
    OP(QUEUE_OP_TICK, tick, "queue.tick"),
    OP(QUEUE_OP_RETIRE, retire, "queue.retire"),
    OP(QUEUE_OP_WAKE, wake, "queue.wake"),
    OP(QUEUE_OP_UNREGISTER, unregister, "queue.unregister"),
    OP(QUEUE_OP_ABANDON, abandon, "queue.abandon"),
    OP(QUEUE_OP_CANCEL, cancel, "queue.cancel"),
    OP(QUEUE_OP_RETRY, retry, "queue.retry"),
    OP(QUEUE_OP_MOVE, move, "queue.move"),
    {QUEUE_OP_EDIT, EDIT_VERSION, false, DOMAIN_ATOMIC, "queue.edit", op_edit, true},
    OP(QUEUE_OP_PURGE, purge, "queue.purge"),
};
const size_t queue_ops_count = ARRAY_LEN(queue_ops);

/* ---- what lies at a place ---- */

static const char *keep_text(struct queue_stored *out, char **at, const char *text)
{
    size_t n = text == NULL ? 0 : strlen(text) + 1;
    if (text == NULL || (size_t)(out->texts + sizeof out->texts - *at) < n)
        return NULL;
    memcpy(*at, text, n);
    *at += n;
    return *at - n;
}

static void stored_fill(struct queue_stored *out, const struct send_view *v)
{
    char *at = out->texts;
    out->id = v->send.id;
    out->type = keep_text(out, &at, v->type);
    out->correlation = keep_text(out, &at, v->correlation);
    out->traceparent = keep_text(out, &at, v->traceparent);
    out->headers = keep_text(out, &at, v->headers);
    out->key = keep_text(out, &at, v->send.key);
    out->script = v->script;
    out->body = v->body;
    out->body_len = v->body_len;
}

int queue_message_read(const void *entry, size_t n, uint64_t place, struct queue_stored *out,
                       struct err *e)
{
    struct cursor c;
    size_t offset = (size_t)(place & 0xffffff);
    if (offset >= n)
        return op_bad("send", e);
    cursor_init(&c, (const char *)entry + offset, n - offset);
    struct send_view *v = mem_try(sizeof *v);
    if (v == NULL)
        return err_set(e, ERR_NOMEM, "a message");
    memset(out, 0, offsetof(struct queue_stored, texts));
    int rc = send_decode(&c, SEND_VERSION, v, e);
    if (rc == 0)
        stored_fill(out, v);
    mem_free(v);
    return rc;
}

int queue_body_read(const void *entry, size_t n, uint64_t place, enum queue_place_kind kind,
                    const void **body, size_t *body_len, struct err *e)
{
    struct cursor c;
    struct settle_view settle;
    struct uuid id;
    size_t offset = (size_t)(place & 0xffffff);
    if (offset >= n)
        return op_bad("record", e);
    cursor_init(&c, (const char *)entry + offset, n - offset);
    if (kind == QUEUE_PLACE_SETTLE) {
        int rc = settle_decode(&c, &settle, e);
        *body = settle.text;
        *body_len = settle.text_len;
        return rc;
    }
    uuid_read(&c, &id);
    *body = cursor_bytes(&c, body_len);
    return c.bad ? op_bad("edit", e) : 0;
}
