/* Any bytes as the saved state of a hot domain. The first byte chooses whether header and chunks
 * are given right checksums, which lets the fuzzer reach what lies behind them. */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/world.h"
#include "ledger/domain.h"
#include "ledger/hot_file_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct disk_file {
    const uint8_t *data;
    size_t size;
};

static int64_t memory_read(struct disk_file *f, void *p, size_t n, uint64_t at, struct err *e)
{
    (void)e;
    if (at >= f->size)
        return 0;
    n = n < f->size - at ? n : (size_t)(f->size - at);
    memcpy(p, f->data + at, n);
    return (int64_t)n;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Header and chunks made right, each of the length that its third byte says; the rest is the
 * input's. */
static void seal(uint8_t *p, size_t n)
{
    static const uint8_t head[HOT_HEADER] = {'K', 'O', 'A', 'N', 'H', 'O', 'T', '\n', 1};
    if (n < HOT_HEADER)
        return;
    memcpy(p, head, sizeof head);
    p[16] = 7;
    p[32] = 1;
    p[36] = 'x';
    put_u32(p + 12, hash_crc32c(0, p, HOT_HEADER));
    uint64_t total = 0;
    for (size_t at = HOT_HEADER; at + HOT_CHUNK_HEADER <= n;) {
        uint32_t len = p[at + 4];
        if (at + HOT_CHUNK_HEADER + len > n)
            return;
        memset(p + at + 5, 0, 19);
        p[at + 8] = 7;
        put_u32(p + at + 16, (uint32_t)total);
        put_u32(p + at, hash_crc32c(0, p + at + 4, HOT_CHUNK_HEADER - 4 + len));
        total += len;
        at += HOT_CHUNK_HEADER + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    AUTO(mem_freep) uint8_t *copy = mem_new(size);
    memcpy(copy, data + 2, size - 2);
    if (data[0] & 1)
        seal(copy, size - 2);
    struct disk d = {.read = memory_read};
    struct disk_file f = {.data = copy, .size = size - 2};
    struct hot_head head = {.domain = "x", .index = 7};
    struct err e = ERR_INIT;
    struct hot_in in;
    uint8_t piece[256];
    size_t n = data[1] + 1u;
    int rc = hot_in_begin(&in, &d, &f, "state/x-7", &head, &e);
    uint64_t got = 0;
    while (rc == 0 && (rc = hot_get(&in, piece, n, &e)) == 0)
        got += n;
    ASSERT(got <= size);
    if (hot_in_end(&in, NULL) == 0)
        ASSERT(in.ended);
    hot_in_fini(&in);
    return 0;
}
