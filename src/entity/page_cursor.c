#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "entity/read_priv.h"

enum { CURSOR_FORMAT = 1 };

void page_cursor_begin(struct buf *out, uint64_t hash)
{
    buf_reset(out);
    buf_add_u8(out, CURSOR_FORMAT);
    buf_add_u64(out, hash);
}

void page_cursor_add(struct buf *out, const struct page_value *v)
{
    uint64_t bits;
    buf_add_u8(out, (uint8_t)v->kind);
    switch (v->kind) {
    case PAGE_NULL:
        break;
    case PAGE_INT:
        buf_add_u64(out, (uint64_t)v->i);
        break;
    case PAGE_DOUBLE:
        memcpy(&bits, &v->d, sizeof(bits));
        buf_add_u64(out, bits);
        break;
    case PAGE_TEXT:
        buf_add_bytes(out, v->text, v->len);
        break;
    }
}

static void read_value(struct cursor *c, struct page_value *out)
{
    uint64_t bits;
    uint8_t kind = cursor_u8(c);
    *out = (struct page_value){.kind = (enum page_value_kind)kind};
    switch (kind) {
    case PAGE_NULL:
        break;
    case PAGE_INT:
        out->i = (int64_t)cursor_u64(c);
        break;
    case PAGE_DOUBLE:
        bits = cursor_u64(c);
        memcpy(&out->d, &bits, sizeof(bits));
        c->bad |= !isfinite(out->d);
        break;
    case PAGE_TEXT:
        out->text = cursor_bytes(c, &out->len);
        c->bad |= out->text == NULL || !str_is_utf8(out->text, out->len);
        break;
    default:
        c->bad = true;
    }
}

int page_cursor_parse(const void *p, size_t n, uint64_t hash, size_t terms, struct page_cursor *out,
                      struct err *e)
{
    struct cursor c;
    cursor_init(&c, p, n);
    if (n > ENTITY_CURSOR_MAX || cursor_u8(&c) != CURSOR_FORMAT)
        return err_set(e, ERR_INVALID, "this is not a cursor; take the one of the page before");
    if (cursor_u64(&c) != hash)
        return err_set(e, ERR_INVALID,
                       "the cursor belongs to another filter or sort; ask as for the page before");
    out->count = terms + 1;
    for (size_t i = 0; i < out->count; i++)
        read_value(&c, &out->values[i]);
    if (c.bad || cursor_left(&c) > 0 || out->values[terms].kind != PAGE_TEXT)
        return err_set(e, ERR_INVALID, "the cursor is damaged; take the one of the page before");
    return 0;
}
