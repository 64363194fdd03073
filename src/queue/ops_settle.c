/* Queue: what is said of a record, written and read back: by who works it, by people; and the
 * conditions that it is still so. */
#include <string.h>

#include "base/buf.h"
#include "ledger/txn.h"
#include "queue/ops_priv.h"

/* ---- settling ---- */

static int settle_check(const struct core_settle *s, size_t text_len, struct err *e)
{
    size_t max = s->outcome == SETTLE_ACK ? QUEUE_RESULT_BYTES : QUEUE_ERROR_BYTES;
    if (text_len > max)
        return err_field(e, ERR_TOO_LARGE, s->outcome == SETTLE_ACK ? "result" : "error",
                         "at most %zu bytes", max);
    if (op_text_fits(s->gate, CORE_TEXT_MAX, "gate", e) < 0 ||
        op_text_fits(s->queue, CORE_TEXT_MAX, "queue", e) < 0)
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

void queue_txn_forget(struct txn *t, const struct uuid *ids, size_t count)
{
    struct buf *b = op_begin(t, QUEUE_OP_FORGET);
    ASSERT(count <= UINT32_MAX);
    buf_add_u32(b, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        buf_add(b, ids[i].b, sizeof ids[i].b);
    txn_end(t);
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
    if (w->has_owner && op_text_fits(w->owner, CORE_OWNER_MAX, "owner", e) < 0)
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
