/* Any bytes as a log segment: a header page that does not verify is replaced by a good one, so that
 * the scan behind it is reached too. The first 8 bytes of the records' area choose whether records
 * are given a right checksum, which lets the fuzzer reach what lies behind it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "ledger/segment_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SALT = 99 };

struct memory {
    struct segment_source src;
    const uint8_t *data;
};

static int64_t memory_read(struct segment_source *s, void *p, size_t n, uint64_t at, struct err *e)
{
    const struct memory *m = (const struct memory *)s;
    (void)e;
    if (at >= s->size)
        return 0;
    n = n < s->size - at ? n : (size_t)(s->size - at);
    memcpy(p, m->data + at, n);
    return (int64_t)n;
}

static int each(void *arg, const struct record *r, uint64_t at, struct err *e)
{
    uint64_t *expected = arg;
    (void)e;
    ASSERT(at == *expected && r->len <= RECORD_BYTES_MAX);
    for (uint32_t i = 0; i < r->len; i++)
        *expected += r->data[i] & 0; /* touch it all */
    *expected += record_size(r->len);
    return 0;
}

/* Records where the input has their first bytes: length and checksum made right. */
static void seal_some(uint8_t *p, size_t n)
{
    for (size_t at = SEGMENT_PAGE; at + RECORD_HEADER <= n;) {
        uint32_t len = p[at + 8];
        if (at + record_size(len) > n || p[at] != 'k')
            return;
        struct record r = {.type = p[at + 12],
                           .durable = (uint32_t)(p[at + 20] * 64),
                           .index = p[at + 24],
                           .term = p[at + 32],
                           .len = len};
        if ((p[at + 1] & 7) != 7) /* one in eight stays as it is */
            record_seal(p + at, &r, SALT);
        at += record_size(len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_header head;
    segment_header_decode(data, size, &head, NULL);
    if (size > 1 << 20)
        return 0;
    uint8_t *copy = mem_try(size + SEGMENT_PAGE);
    ASSERT(copy != NULL);
    memset(copy, 0, SEGMENT_PAGE);
    memcpy(copy + SEGMENT_PAGE, data, size);
    seal_some(copy, size + SEGMENT_PAGE);
    struct memory m = {.src = {.read = memory_read, .size = size + SEGMENT_PAGE}, .data = copy};
    struct segment_end end;
    uint64_t expected = SEGMENT_PAGE;
    head.salt = SALT;
    ASSERT(segment_scan(&m.src, &head, each, &expected, &end, NULL) == 0);
    ASSERT(end.at == expected && end.at <= m.src.size);
    ASSERT(end.damage == 0 || end.damage > end.at);
    ASSERT(end.leftover == 0 || (end.leftover > end.at && end.leftover <= m.src.size));
    mem_free(copy);
    return 0;
}
