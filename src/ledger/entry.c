#include "ledger/entry_priv.h"

#include "base/err.h"
#include "ledger/ledger.h"
#include "ledger/txn_priv.h"

enum { ENTRY_FORMAT = 1 };

void entry_begin(struct buf *b, int64_t at)
{
    buf_add_u8(b, ENTRY_FORMAT);
    buf_add_u8(b, 0);
    buf_add_u16(b, 0);
    buf_add_u32(b, 0);
    buf_add_u64(b, (uint64_t)at);
}

void entry_add(struct buf *b, const struct txn *t, const struct txn *before)
{
    size_t at = b->len;
    buf_add_u32(b, 0);
    txn_encode_behind(t, before, b);
    if (!buf_failed(b))
        buf_put_u32(b, at, (uint32_t)(b->len - at - 4));
}

void entry_finish(struct buf *b, size_t from, uint32_t units)
{
    buf_put_u32(b, from + 4, units);
}

int entry_open(const void *p, size_t n, struct entry_head *out, struct cursor *units, struct err *e)
{
    cursor_init(units, p, n);
    uint8_t format = cursor_u8(units);
    uint8_t flags = cursor_u8(units);
    uint16_t zero = cursor_u16(units);
    out->units = cursor_u32(units);
    out->at = (int64_t)cursor_u64(units);
    if (units->bad)
        return err_set(e, ERR_CORRUPT, "not a log entry: it is cut off");
    if (format != ENTRY_FORMAT || flags != 0 || zero != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "the log entry has form %u, this program knows %d; run the newer one",
                       format, ENTRY_FORMAT);
    if (out->units > LEDGER_ENTRY_UNITS)
        return err_set(e, ERR_CORRUPT, "not a log entry: %u units", out->units);
    return 0;
}

const void *entry_next(struct cursor *units, size_t *n)
{
    if (cursor_left(units) == 0)
        return NULL;
    const void *p = cursor_bytes(units, n);
    if (p == NULL)
        units->bad = true;
    return p;
}
