/* The payloads of canon: any bytes give an operation or a refusal, and what is decoded stays
 * inside its copy. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "canon/ops_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same bytes as each of the small payloads. */
static void fuzz_small(const uint8_t *data, size_t size)
{
    for (size_t texts = 0; texts <= CANON_SMALL_TEXTS; texts++) {
        struct cursor c;
        struct canon_small s;
        cursor_init(&c, data, size);
        if (canon_small_decode(&c, "small", texts, texts, texts % 3, &s, NULL) == 0)
            for (size_t i = 0; i < texts; i++)
                ASSERT(strlen(s.text[i]) <= size);
        canon_small_fini(&s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c;
    struct canon_op_arrive op;
    char *texts = NULL;
    cursor_init(&c, data, size);
    if (canon_op_arrive_decode(&c, &op, &texts)) {
        ASSERT(strlen(op.model) <= size && strlen(op.arrival) <= size);
        for (size_t i = 0; i < op.losers_count; i++)
            ASSERT(strlen(op.losers[i]) <= size);
    }
    mem_free(texts);
    fuzz_small(data, size);
    return 0;
}
