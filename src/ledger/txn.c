#include "ledger/txn.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "ledger/txn_priv.h"

enum { TXN_FORMAT = 2, TXN_TEXTS = 6 };
enum { TXN_HAS_ID = 1, TXN_AS_BEFORE = 2 }; /* bits of the form */

void txn_init(struct txn *t)
{
    *t = (struct txn){.grows = true};
    /* Room for one operation above the bound, so that txn_check names the bound and not a failure.
     */
    buf_init(&t->body, TXN_BYTES_MAX + TXN_BYTES_MAX / 8);
    buf_init(&t->head, TXN_TEXTS * (TXN_ENVELOPE_TEXT_MAX + 4));
}

void txn_fini(struct txn *t)
{
    buf_fini(&t->body);
    buf_fini(&t->head);
}

void txn_envelope(struct txn *t, const struct envelope *env)
{
    const char *texts[TXN_TEXTS] = {env->tenant,    env->principal,   env->correlation,
                                    env->causation, env->traceparent, env->reason};
    buf_reset(&t->head);
    for (int i = 0; i < TXN_TEXTS; i++) {
        if (texts[i] != NULL && strlen(texts[i]) > TXN_ENVELOPE_TEXT_MAX)
            t->head.failed = true;
        buf_add_text(&t->head, texts[i]);
    }
}

struct buf *txn_begin(struct txn *t, uint16_t type, uint8_t version)
{
    ASSERT(t->open_at == 0);
    buf_add_u16(&t->body, type);
    buf_add_u8(&t->body, version);
    buf_add_u8(&t->body, 0);
    t->open_at = t->body.len;
    buf_add_u32(&t->body, 0);
    t->ops++;
    return &t->body;
}

void txn_end(struct txn *t)
{
    ASSERT(t->open_at != 0 || buf_failed(&t->body));
    if (!buf_failed(&t->body))
        buf_put_u32(&t->body, t->open_at, (uint32_t)(t->body.len - t->open_at - 4));
    t->open_at = 0;
}

void txn_append(struct txn *t, const struct txn *from)
{
    ASSERT(t->open_at == 0 && from->open_at == 0);
    if (buf_failed(&from->body))
        t->body.failed = true;
    buf_add(&t->body, from->body.data, from->body.len);
    t->ops += from->ops;
    t->urgent |= from->urgent;
}

int txn_check(const struct txn *t, struct err *e)
{
    ASSERT(t->open_at == 0);
    if (buf_failed(&t->head))
        return err_set(e, ERR_TOO_LARGE,
                       "a text of the envelope (tenant, principal, correlation, causation, "
                       "traceparent, reason) is over %d bytes",
                       TXN_ENVELOPE_TEXT_MAX);
    if (t->ops > TXN_OPS_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "a unit of work holds at most %d operations, this one has %u; split it",
                       TXN_OPS_MAX, t->ops);
    if (t->body.len > TXN_BYTES_MAX || buf_failed(&t->body))
        return err_set(e, ERR_TOO_LARGE, "a unit of work holds at most %d bytes; split it",
                       TXN_BYTES_MAX);
    return 0;
}

static bool txn_has_id(const struct txn *t)
{
    static const struct uuid none;
    return memcmp(&t->id, &none, sizeof none) != 0;
}

size_t txn_bytes(const struct txn *t)
{
    return 4 + (txn_has_id(t) ? sizeof t->id.b : 0) + 2 + t->head.len + t->body.len;
}

void txn_encode_behind(const struct txn *t, const struct txn *before, struct buf *out)
{
    bool same = before != NULL && t->head.len > 0 && t->head.len == before->head.len &&
                memcmp(t->head.data, before->head.data, t->head.len) == 0;
    bool id = txn_has_id(t);
    buf_add_u8(out, TXN_FORMAT);
    buf_add_u8(out, (uint8_t)((id ? TXN_HAS_ID : 0) | (same ? TXN_AS_BEFORE : 0)));
    buf_add_u16(out, (uint16_t)t->ops);
    if (id)
        buf_add(out, t->id.b, sizeof t->id.b);
    if (!same) {
        buf_add_u16(out, (uint16_t)t->head.len);
        buf_add(out, t->head.data, t->head.len);
    }
    buf_add(out, t->body.data, t->body.len);
}

void txn_encode(const struct txn *t, struct buf *out)
{
    txn_encode_behind(t, NULL, out);
}

static int txn_bad(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "not a unit of work: %s", what);
}

/* One text of the envelope, copied with a NUL to `*to`; `*out` stays NULL where none was given. */
static int txn_read_text(struct cursor *c, char **to, const char **out, struct err *e)
{
    size_t n = 0;
    const char *p = cursor_bytes(c, &n);
    if (c->bad)
        return txn_bad(e, "the envelope is cut off");
    *out = NULL;
    if (p == NULL)
        return 0;
    if (n > TXN_ENVELOPE_TEXT_MAX || memchr(p, 0, n) != NULL)
        return txn_bad(e, "a text of the envelope is too long or holds a NUL");
    memcpy(*to, p, n);
    (*to)[n] = '\0';
    *out = *to;
    *to += n + 1;
    return 0;
}

static int txn_read_envelope(const uint8_t *head, size_t n, char *texts, struct envelope *env,
                             struct err *e)
{
    *env = (struct envelope){0};
    if (n > 0) {
        struct cursor c;
        cursor_init(&c, head, n);
        const char **to[TXN_TEXTS] = {&env->tenant,    &env->principal,   &env->correlation,
                                      &env->causation, &env->traceparent, &env->reason};
        for (int i = 0; i < TXN_TEXTS; i++) {
            int rc = txn_read_text(&c, &texts, to[i], e);
            if (rc < 0)
                return rc;
        }
        if (cursor_left(&c) != 0)
            return txn_bad(e, "bytes behind the envelope");
    }
    if (env->tenant == NULL)
        env->tenant = "default";
    if (env->principal == NULL)
        env->principal = TXN_PRINCIPAL;
    return 0;
}

/* The operations must fill the body exactly, as many as the header says. */
static int txn_check_body(const struct txn_view *v, struct err *e)
{
    struct txn_op op;
    uint32_t n = 0;
    struct cursor c = txn_ops(v);
    while (txn_next(&c, &op))
        n++;
    if (c.bad)
        return txn_bad(e, "an operation is cut off");
    if (n != v->ops)
        return txn_bad(e, "the number of operations is wrong");
    return 0;
}

/* What stands before the body. `c` is behind the byte that says which form it is. */
struct txn_fixed {
    const uint8_t *head;
    size_t head_len;
    bool as_before;
};

static int txn_read_first_form(struct cursor *c, struct txn_view *out, struct txn_fixed *f,
                               struct err *e)
{
    bool zero = cursor_u8(c) == 0;
    zero = cursor_u16(c) == 0 && zero;
    const void *id = cursor_raw(c, sizeof out->id.b);
    out->ops = cursor_u32(c);
    f->head_len = cursor_u32(c);
    uint32_t body_len = cursor_u32(c);
    f->head = cursor_raw(c, f->head_len);
    if (c->bad || cursor_left(c) != body_len)
        return txn_bad(e, "its length is wrong");
    if (!zero)
        return txn_bad(e, "its form is unknown");
    memcpy(out->id.b, id, sizeof out->id.b);
    return 0;
}

static int txn_read_form(struct cursor *c, struct txn_view *out, struct txn_fixed *f, struct err *e)
{
    uint8_t bits = cursor_u8(c);
    out->ops = cursor_u16(c);
    const void *id = bits & TXN_HAS_ID ? cursor_raw(c, sizeof out->id.b) : NULL;
    f->as_before = (bits & TXN_AS_BEFORE) != 0;
    f->head_len = f->as_before ? 0 : cursor_u16(c);
    f->head = cursor_raw(c, f->head_len);
    if (c->bad)
        return txn_bad(e, "its length is wrong");
    if ((bits & ~(TXN_HAS_ID | TXN_AS_BEFORE)) != 0)
        return txn_bad(e, "its form is unknown");
    if (id != NULL)
        memcpy(out->id.b, id, sizeof out->id.b);
    return 0;
}

int txn_decode_in(const void *p, size_t n, struct txn_texts *t, struct txn_view *out, struct err *e)
{
    *out = (struct txn_view){0};
    struct cursor c;
    struct txn_fixed f = {.head = NULL};
    cursor_init(&c, p, n);
    uint8_t format = cursor_u8(&c);
    int rc = format == 1            ? txn_read_first_form(&c, out, &f, e)
             : format == TXN_FORMAT ? txn_read_form(&c, out, &f, e)
                                    : txn_bad(e, "its form is unknown");
    if (rc < 0)
        return rc;
    if (out->ops > TXN_OPS_MAX || cursor_left(&c) > TXN_BYTES_MAX)
        return txn_bad(e, "it is over a bound");
    out->body_len = cursor_left(&c);
    out->body = cursor_raw(&c, out->body_len);
    rc = txn_check_body(out, e);
    if (rc == 0 && f.as_before && !t->known)
        rc = txn_bad(e, "it has the envelope of a unit before it, and there is none");
    if (rc == 0 && !f.as_before)
        rc = txn_read_envelope(f.head, f.head_len, t->room, &t->env, e);
    t->known = rc == 0;
    out->env = t->env;
    return rc;
}

bool txn_peek(const void *p, size_t n, struct cursor *ops)
{
    struct txn_view v;
    struct txn_fixed f = {.head = NULL};
    cursor_init(ops, p, n);
    uint8_t format = cursor_u8(ops);
    return (format == 1            ? txn_read_first_form(ops, &v, &f, NULL)
            : format == TXN_FORMAT ? txn_read_form(ops, &v, &f, NULL)
                                   : ERR_CORRUPT) == 0;
}

int txn_decode(const void *p, size_t n, struct txn_view *out, struct err *e)
{
    AUTO(mem_freep) struct txn_texts *t = mem_new(sizeof *t);
    int rc = txn_decode_in(p, n, t, out, e);
    if (rc == 0)
        out->texts = TAKE(t);
    return rc;
}

void txn_view_fini(struct txn_view *v)
{
    mem_free(v->texts);
    v->texts = NULL;
}

struct cursor txn_ops(const struct txn_view *v)
{
    struct cursor c;
    cursor_init(&c, v->body, v->body_len);
    return c;
}

bool txn_next(struct cursor *c, struct txn_op *op)
{
    if (c->bad || cursor_left(c) == 0)
        return false;
    op->type = cursor_u16(c);
    op->version = cursor_u8(c);
    if (cursor_u8(c) != 0)
        c->bad = true;
    uint32_t n = cursor_u32(c);
    const void *p = cursor_raw(c, n);
    cursor_init(&op->payload, p, p == NULL ? 0 : n);
    return !c->bad;
}
