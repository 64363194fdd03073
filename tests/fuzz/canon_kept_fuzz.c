/* Any bytes as what was kept of arrivals with a key: refused, or results that are whole. First
 * byte: how many bytes are results; the rest is context. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "canon/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t n = data[0] < size ? data[0] : size - 1;
    struct cursor context, results;
    cursor_init(&results, data + 1, n);
    cursor_init(&context, data + 1 + n, size - 1 - n);
    size_t count = canon_kept_count(context);
    ASSERT(count <= CANON_BULK_MAX);
    struct canon_request r = {.count = count};
    r.arrivals = mem_new_array(count + 1, sizeof *r.arrivals);
    if (canon_kept_read(context, results, 7, r.arrivals, count))
        for (size_t i = 0; i < count; i++) {
            const struct canon_arrival *a = &r.arrivals[i];
            ASSERT(a->outcome <= CANON_FAILED && strlen(a->golden_id) < sizeof a->golden_id);
            ASSERT(a->err.code <= 0 && strlen(a->err.text) < sizeof a->err.text);
        }
    canon_request_fini(&r);
    mem_free(r.arrivals);
    return 0;
}
