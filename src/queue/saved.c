/* Queue core: the state written down and read back. */
#include "queue/saved_priv.h"

#include <string.h>

#include "base/mem.h"

int pass_fail(struct pass *p, int code, const char *what)
{
    if (p->rc == 0)
        p->rc = err_set(p->e, code, "the saved state of the queue: %s", what);
    return p->rc;
}

int pass_flush(struct pass *p)
{
    if (p->rc == 0 && buf_failed(&p->out))
        pass_fail(p, ERR_NOMEM, "no memory to write it down");
    if (p->rc == 0 && p->out.len > 0)
        p->rc = p->put(p->arg, p->out.data, p->out.len, p->e);
    buf_reset(&p->out);
    return p->rc;
}

void pass_bytes(struct pass *p, void *v, size_t n)
{
    if (p->rc < 0 || n == 0) {
        if (p->loading)
            memset(v, 0, n);
        return;
    }
    if (p->loading) {
        p->rc = p->get(p->arg, v, n, p->e);
        if (p->rc < 0)
            memset(v, 0, n);
        return;
    }
    buf_add(&p->out, v, n);
    if (p->out.len >= SAVED_PIECE)
        pass_flush(p);
}

void pass_u8(struct pass *p, uint8_t *v)
{
    pass_bytes(p, v, 1);
}

void pass_u16(struct pass *p, uint16_t *v)
{
    uint8_t b[2] = {(uint8_t)*v, (uint8_t)(*v >> 8)};
    pass_bytes(p, b, sizeof b);
    *v = (uint16_t)(b[0] | b[1] << 8);
}

void pass_u32(struct pass *p, uint32_t *v)
{
    uint8_t b[4];
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(*v >> (8 * i));
    pass_bytes(p, b, sizeof b);
    *v = 0;
    for (unsigned i = 0; i < sizeof b; i++)
        *v |= (uint32_t)b[i] << (8 * i);
}

void pass_u64(struct pass *p, uint64_t *v)
{
    uint8_t b[8];
    for (unsigned i = 0; i < sizeof b; i++)
        b[i] = (uint8_t)(*v >> (8 * i));
    pass_bytes(p, b, sizeof b);
    *v = 0;
    for (unsigned i = 0; i < sizeof b; i++)
        *v |= (uint64_t)b[i] << (8 * i);
}

/* Sums and microseconds of what passes here stay far inside 64 bits. */
static void pass_signed(struct pass *p, int64_t *v, unsigned bits)
{
    uint64_t u = (uint64_t)*v;
    pass_u64(p, &u);
    *v = (int64_t)u;
    if (!p->loading || p->rc < 0 || (*v >= -1 && *v < INT64_C(1) << bits))
        return;
    *v = 0;
    pass_fail(p, ERR_CORRUPT, "a time out of bounds");
}

void pass_i64(struct pass *p, int64_t *v)
{
    pass_signed(p, v, REC_DUE_BITS + 1);
}

void pass_us(struct pass *p, int64_t *v)
{
    pass_signed(p, v, REC_DUE_BITS + 11);
}

void pass_bool(struct pass *p, bool *v)
{
    uint8_t b = *v;
    pass_u8(p, &b);
    if (b > 1)
        pass_fail(p, ERR_CORRUPT, "a flag that is neither yes nor no");
    *v = b == 1;
}

const char *pass_text(struct pass *p, const char *v, char room[CORE_TEXT_MAX + 1])
{
    uint16_t n = p->loading ? 0 : v == NULL ? UINT16_MAX : (uint16_t)strlen(v);
    pass_u16(p, &n);
    if (n == UINT16_MAX || p->rc < 0)
        return NULL;
    if (n > CORE_TEXT_MAX) {
        pass_fail(p, ERR_CORRUPT, "a text that is too long");
        return NULL;
    }
    if (!p->loading) {
        pass_bytes(p, (char *)v, n);
        return v;
    }
    pass_bytes(p, room, n);
    room[n] = '\0';
    if (strlen(room) != n)
        pass_fail(p, ERR_CORRUPT, "a text with a NUL in it");
    return p->rc < 0 ? NULL : room;
}

void pass_number(struct pass *p, uint32_t *v, uint32_t bound, const char *what)
{
    pass_u32(p, v);
    if (p->rc == 0 && *v >= bound)
        pass_fail(p, ERR_CORRUPT, what);
    if (p->rc < 0)
        *v = 0;
}

static void pass_head(struct core *c, struct pass *p)
{
    p->form = SAVED_FORM;
    pass_u32(p, &p->form);
    if (p->rc == 0 && (p->form < 1 || p->form > SAVED_FORM))
        pass_fail(p, ERR_UNSUPPORTED, "it was written by a newer program; run that one");
    pass_u64(p, &c->seq);
    pass_i64(p, &c->at);
    pass_u64(p, &c->turns);
    pass_u64(p, &c->consumer_next);
    pass_u64(p, &c->v);
    pass_u32(p, &c->queue_next);
}

static void pass_all(struct core *c, struct pass *p)
{
    uint64_t hash = c->hash;
    pass_head(c, p);
    uint32_t queue_next = c->queue_next;
    uint64_t turns = c->turns, consumer_next = c->consumer_next;
    pass_tenants(c, p);
    pass_lanes(c, p);
    pass_needs(c, p);
    pass_gates(c, p);
    pass_queues(c, p);
    pass_kinds(c, p);
    pass_consumers(c, p);
    pass_dedups(c, p);
    pass_records(c, p);
    mem_free(c->by_number);
    c->by_number = NULL;
    pass_u64(p, &hash);
    if (!p->loading)
        return;
    c->hash = hash;
    c->queue_next = queue_next;
    c->turns = turns;
    c->consumer_next = consumer_next;
    c->effects_count = c->noted_count = 0;
    undo_begin(&c->undo);
}

int core_save(const struct core *c, int (*put)(void *arg, const void *p, size_t n, struct err *e),
              void *arg, struct err *e)
{
    struct pass p = {.put = put, .arg = arg, .e = e};
    buf_init(&p.out, 2 * SAVED_PIECE);
    pass_all((struct core *)c, &p); /* which only reads where it does not load */
    pass_flush(&p);
    buf_fini(&p.out);
    return p.rc;
}

int core_load(struct core *c, int (*get)(void *arg, void *p, size_t n, struct err *e), void *arg,
              struct err *e)
{
    struct pass p = {.loading = true, .get = get, .arg = arg, .e = e};
    buf_init(&p.out, 1);
    c->loading = true;
    pass_all(c, &p);
    c->loading = false;
    buf_fini(&p.out);
    return p.rc;
}
