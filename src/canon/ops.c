#include "canon/ops_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "ledger/txn.h"

enum { FLAG_SOURCE = 1, FLAG_GOLDEN = 2, FLAG_WITHDRAW = 4, FLAG_SAME = 8 };

/* The texts of an arrival in the order in which they lie in the payload. */
enum { ARRIVE_TEXTS = 17 };

static void arrive_texts(struct canon_op_arrive *a, const char **slots[ARRIVE_TEXTS])
{
    const char **const order[ARRIVE_TEXTS] = {
        &a->model,        &a->arrival, &a->origin, &a->source_id, &a->reason,   &a->evidence,
        &a->golden,       &a->body,    &a->work,   &a->tags,      &a->changes,  &a->resumes,
        &a->said_arrival, &a->fields,  &a->ever,   &a->keys,      &a->new_keys,
    };
    memcpy(slots, order, sizeof order);
}

void canon_op_define(struct txn *t, const char *name, uint64_t def, const char *definition)
{
    struct buf *b = txn_begin(t, CANON_OP_DEFINE, CANON_OP_VERSION);
    buf_add_text(b, name);
    buf_add_u64(b, def);
    buf_add_text(b, definition);
    txn_end(t);
}

void canon_op_arrive(struct txn *t, const struct canon_op_arrive *a)
{
    struct canon_op_arrive copy = *a;
    const char **slots[ARRIVE_TEXTS];
    struct buf *b = txn_begin(t, CANON_OP_ARRIVE, CANON_OP_VERSION);
    buf_add_u8(b, a->outcome);
    buf_add_u8(b, a->phase);
    buf_add_u8(b, (uint8_t)((a->has_source ? FLAG_SOURCE : 0) | (a->has_golden ? FLAG_GOLDEN : 0) |
                            (a->withdraw ? FLAG_WITHDRAW : 0) | (a->same_golden ? FLAG_SAME : 0)));
    buf_add_u8(b, a->lifecycle);
    buf_add_u8(b, a->readiness);
    buf_add_u64(b, (uint64_t)a->observed_at);
    buf_add_u64(b, a->def);
    buf_add_u64(b, a->rev);
    buf_add_u64(b, a->last_hash);
    buf_add_u64(b, (uint64_t)a->said_at);
    buf_add_u64(b, a->said);
    arrive_texts(&copy, slots);
    for (size_t i = 0; i < ARRIVE_TEXTS; i++)
        buf_add_text(b, *slots[i]);
    buf_add_text(b, a->lose_keys);
    buf_add_text(b, a->views);
    buf_add_u16(b, a->losers_count);
    for (size_t i = 0; i < a->losers_count; i++)
        buf_add_text(b, a->losers[i]);
    txn_end(t);
}

void canon_op_erase(struct txn *t, const char *model, const char *origin, const char *source_id)
{
    struct buf *b = txn_begin(t, CANON_OP_ERASE, CANON_ERASE_VERSION);
    buf_add_text(b, model);
    buf_add_text(b, origin);
    buf_add_text(b, source_id);
    txn_end(t);
}

void canon_op_wait(struct txn *t, const struct canon_op_wait *w)
{
    struct buf *b = txn_begin(t, CANON_OP_WAIT, CANON_OP_VERSION);
    buf_add_text(b, w->arrival);
    buf_add_text(b, w->waiter);
    buf_add_text(b, w->model);
    buf_add_text(b, w->keys);
    buf_add_u64(b, w->tries);
    buf_add_u64(b, w->take_up);
    txn_end(t);
}

void canon_op_memo(struct txn *t, const char *arrival, const char *memo)
{
    struct buf *b = txn_begin(t, CANON_OP_MEMO, CANON_OP_VERSION);
    buf_add_text(b, arrival);
    buf_add_text(b, memo);
    txn_end(t);
}

void canon_op_part(struct txn *t, const struct canon_op_part *p)
{
    struct buf *b = txn_begin(t, CANON_OP_PART, CANON_OP_VERSION);
    buf_add_text(b, p->model);
    buf_add_text(b, p->from);
    buf_add_text(b, p->id);
    buf_add_text(b, p->keys);
    buf_add_text(b, p->members);
    buf_add_text(b, p->views);
    buf_add_u64(b, p->def);
    buf_add_u64(b, p->rev);
    buf_add_u64(b, p->said);
    buf_add_u64(b, p->readiness);
    txn_end(t);
}

void canon_op_reject(struct txn *t, const char *arrival, const char *rejected)
{
    struct buf *b = txn_begin(t, CANON_OP_REJECT, CANON_OP_VERSION);
    buf_add_text(b, arrival);
    buf_add_text(b, rejected);
    txn_end(t);
}

void canon_op_sweep(struct txn *t, int64_t keep_ms, uint32_t max)
{
    struct buf *b = txn_begin(t, CANON_OP_SWEEP, CANON_OP_VERSION);
    buf_add_u64(b, (uint64_t)keep_ms);
    buf_add_u64(b, max);
    txn_end(t);
}

void canon_op_if_key(struct txn *t, const char *model, const char *key, const char *golden)
{
    struct buf *b = txn_begin(t, CANON_OP_IF_KEY, CANON_OP_VERSION);
    buf_add_text(b, model);
    buf_add_text(b, key);
    buf_add_text(b, golden);
    txn_end(t);
}

void canon_op_if_source(struct txn *t, const char *model, const char *origin, const char *source_id,
                        uint64_t rev)
{
    struct buf *b = txn_begin(t, CANON_OP_IF_SOURCE, CANON_OP_VERSION);
    buf_add_text(b, model);
    buf_add_text(b, origin);
    buf_add_text(b, source_id);
    buf_add_u64(b, rev);
    txn_end(t);
}

void canon_op_if_parked(struct txn *t, const char *arrival)
{
    struct buf *b = txn_begin(t, CANON_OP_IF_PARKED, CANON_OP_VERSION);
    buf_add_text(b, arrival);
    txn_end(t);
}

void canon_op_if_golden(struct txn *t, const char *model, const char *id, uint64_t rev)
{
    struct buf *b = txn_begin(t, CANON_OP_IF_GOLDEN, CANON_OP_VERSION);
    buf_add_text(b, model);
    buf_add_text(b, id);
    buf_add_u64(b, rev);
    txn_end(t);
}

/* The next text as a NUL-terminated copy at *room, which moves on. */
static const char *text_copy(struct cursor *c, char **room)
{
    size_t n;
    const void *p = cursor_bytes(c, &n);
    if (p == NULL)
        return NULL;
    char *copy = *room;
    memcpy(copy, p, n);
    copy[n] = '\0';
    *room += n + 1;
    return copy;
}

bool canon_op_arrive_decode(struct cursor *c, struct canon_op_arrive *out, char **texts)
{
    *out = (struct canon_op_arrive){0};
    /* Every text gives back its four bytes of length for the NUL behind the copy. */
    char *room = mem_try(cursor_left(c) + 1);
    *texts = room;
    if (room == NULL)
        return false;
    out->outcome = cursor_u8(c);
    out->phase = cursor_u8(c);
    uint8_t flags = cursor_u8(c);
    out->has_source = flags & FLAG_SOURCE;
    out->has_golden = flags & FLAG_GOLDEN;
    out->withdraw = flags & FLAG_WITHDRAW;
    out->same_golden = flags & FLAG_SAME;
    out->lifecycle = cursor_u8(c);
    out->readiness = cursor_u8(c);
    out->observed_at = (int64_t)cursor_u64(c);
    out->def = cursor_u64(c);
    out->rev = cursor_u64(c);
    out->last_hash = cursor_u64(c);
    out->said_at = (int64_t)cursor_u64(c);
    out->said = cursor_u64(c);
    const char **slots[ARRIVE_TEXTS];
    arrive_texts(out, slots);
    for (size_t i = 0; i < ARRIVE_TEXTS; i++)
        *slots[i] = text_copy(c, &room);
    out->lose_keys = text_copy(c, &room);
    out->views = text_copy(c, &room);
    out->losers_count = cursor_u16(c);
    if (out->losers_count > CANON_MERGES_MAX)
        return false;
    for (size_t i = 0; i < out->losers_count; i++)
        if ((out->losers[i] = text_copy(c, &room)) == NULL)
            return false;
    return !c->bad && cursor_left(c) == 0 && out->model && out->arrival && out->origin &&
           out->source_id && (!out->has_golden || out->golden) &&
           (!out->fields || (out->keys && out->said_arrival)) &&
           (!out->losers_count || out->golden);
}

void canon_small_fini(struct canon_small *s)
{
    mem_free(s->room);
    s->room = NULL;
}

int canon_small_decode(struct cursor *c, const char *what, size_t texts, size_t needed,
                       size_t numbers, struct canon_small *out, struct err *e)
{
    ASSERT(texts <= CANON_SMALL_TEXTS && numbers <= CANON_SMALL_NUMBERS);
    *out = (struct canon_small){.room = mem_try(cursor_left(c) + 1)};
    if (out->room == NULL)
        return err_set(e, ERR_NOMEM, "%s", what);
    char *room = out->room;
    bool whole = true;
    for (size_t i = 0; i < texts; i++) {
        out->text[i] = text_copy(c, &room);
        whole &= out->text[i] != NULL || i >= needed;
    }
    for (size_t i = 0; i < numbers; i++)
        out->number[i] = cursor_u64(c);
    if (whole && !c->bad && cursor_left(c) == 0)
        return 0;
    return err_set(e, ERR_CORRUPT, "%s: the payload is not one", what);
}
