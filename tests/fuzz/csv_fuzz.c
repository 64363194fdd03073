/* The first byte is the size of the pieces, the second the options. Cut into pieces or not, the
 * same records and errors come out; records lie one behind the other and inside of the input. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void csv_run(const char *p, size_t n, size_t step, const struct csv_options *o,
                    struct buf *out)
{
    struct csv *c = csv_new(o);
    struct csv_record rec;
    struct err e;
    uint64_t end = 0;
    int rc;
    for (size_t at = 0; at <= n; at += step) {
        size_t take = n - at < step ? n - at : step;
        char *piece = mem_dup(p + at, take);
        csv_feed(c, piece, take);
        if (at + step > n)
            csv_finish(c);
        while ((rc = csv_next(c, &rec, &e)) != 0) {
            ASSERT(rec.offset >= end && rec.end > rec.offset && rec.end <= n);
            end = rec.end;
            buf_addf(out, "%d %llu %llu:", rc, (unsigned long long)rec.line,
                     (unsigned long long)rec.offset);
            if (rc < 0)
                buf_adds(out, e.text);
            for (size_t i = 0; rc > 0 && i < rec.count; i++)
                buf_add_bytes(out, rec.fields[i].p, rec.fields[i].n);
        }
        mem_free(piece);
    }
    csv_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct csv_options o = {.delimiter = data[1] & 2 ? ';' : ',', .header = data[1] & 1};
    const char *text = (const char *)data + 2;
    AUTO(buf_fini) struct buf whole = BUF_INIT(16 << 20);
    AUTO(buf_fini) struct buf cut = BUF_INIT(16 << 20);
    csv_run(text, size - 2, size, &o, &whole);
    csv_run(text, size - 2, 1 + data[0] % 16u, &o, &cut);
    ASSERT(whole.len == cut.len && strcmp(buf_str(&whole), buf_str(&cut)) == 0);
    return 0;
}
