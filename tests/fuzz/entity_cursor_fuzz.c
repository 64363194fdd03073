/* A cursor that is taken reads back to the bytes it came from. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/read_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct page_cursor c;
    struct err e = ERR_INIT;
    if (size == 0)
        return 0;
    size_t terms = data[0] % (ENTITY_SORT_MAX + 1);
    uint64_t hash = 0;
    data++;
    size--;
    for (size_t i = 0; i < 8 && size >= 9; i++)
        hash |= (uint64_t)data[1 + i] << (8 * i);
    if (page_cursor_parse(data, size, hash, terms, &c, &e) != 0) {
        ASSERT(e.code == ERR_INVALID && e.text[0] != '\0');
        return 0;
    }
    ASSERT(c.count == terms + 1);
    struct buf b = BUF_INIT(ENTITY_CURSOR_MAX);
    page_cursor_begin(&b, hash);
    for (size_t i = 0; i < c.count; i++)
        page_cursor_add(&b, &c.values[i]);
    ASSERT(b.len == size && memcmp(b.data, data, size) == 0);
    buf_fini(&b);
    return 0;
}
