/* The first byte is the size of the pieces, the second the format and where to stop and resume from
 * saved state. Whole, cut, or resumed: the same records and errors. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t records_drain(struct records *r, size_t limit, struct buf *out)
{
    struct record rec;
    struct err e = ERR_INIT;
    size_t count = 0;
    int rc;
    while (count < limit && (rc = records_next(r, &rec, &e)) != 0) {
        count++;
        buf_addf(out, "%d %llu %llu %llu ", rc, (unsigned long long)rec.number,
                 (unsigned long long)rec.line, (unsigned long long)rec.offset);
        if (rc > 0)
            buf_add(out, rec.json, rec.n);
        else
            buf_adds(out, e.text);
    }
    return count;
}

static void records_run(struct records *r, const char *p, size_t n, size_t step, struct buf *out)
{
    for (size_t at = 0; at <= n; at += step) {
        size_t take = n - at < step ? n - at : step;
        char *piece = mem_dup(p + at, take);
        records_feed(r, piece, take);
        if (at + step > n)
            records_finish(r);
        records_drain(r, SIZE_MAX, out);
        mem_free(piece);
    }
}

/* False: it cannot be left in the middle. */
static bool records_run_in_two(enum records_format f, const char *p, size_t n, size_t stop,
                               struct buf *out)
{
    AUTO(buf_fini) struct buf state = BUF_INIT(RECORDS_STATE_MAX);
    struct records *first = records_new(f, 0), *second;
    records_feed(first, p, n);
    records_finish(first);
    if (records_drain(first, stop, out) == stop && !records_is_broken(first)) {
        if (records_save(first, &state, NULL) != 0) { /* columns that are no text */
            ASSERT(f == RECORDS_CSV);
            records_free(first);
            return false;
        }
        ASSERT(records_resume(state.data, state.len, &second, NULL) == 0);
        size_t from = records_offset(second);
        ASSERT(from <= n);
        records_run(second, p + from, n - from, 7, out);
        records_free(second);
    }
    records_free(first);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum records_format f = (enum records_format)(data[1] % 3u);
    const char *text = (const char *)data + 2;
    AUTO(buf_fini) struct buf whole = BUF_INIT(64 << 20);
    AUTO(buf_fini) struct buf cut = BUF_INIT(64 << 20);
    struct records *r = records_new(f, 0);
    records_run(r, text, size - 2, size, &whole);
    records_free(r);
    r = records_new(f, 0);
    records_run(r, text, size - 2, 1 + data[0] % 16u, &cut);
    records_free(r);
    ASSERT(whole.len == cut.len && strcmp(buf_str(&whole), buf_str(&cut)) == 0);
    buf_reset(&cut);
    if (!records_run_in_two(f, text, size - 2, data[1] / 3u % 8u, &cut))
        return 0;
    ASSERT(whole.len == cut.len && strcmp(buf_str(&whole), buf_str(&cut)) == 0);
    return 0;
}
