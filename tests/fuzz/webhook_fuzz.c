/* A status (two bytes), then a Retry-After that a receiver sends: whatever it says, the wait that
 * it asks for is between nothing and a day. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "bus/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    int status = data[0] * 256 + data[1];
    char *value = mem_strndup((const char *)data + 2, size - 2);
    struct webhook_verdict v = webhook_judge(status, value, INT64_C(784111777000));
    ASSERT(v.asked_ms >= 0 && v.asked_ms <= WEBHOOK_ASKED_MAX_MS);
    ASSERT(v.asked_ms == 0 || (v.outcome == WEBHOOK_RETRY && v.failed));
    mem_free(value);
    return 0;
}
