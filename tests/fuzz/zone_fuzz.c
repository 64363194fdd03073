/* Half of a TZif file, or (first byte odd) a rule alone. Whatever is taken has spans that follow
 * each other, and a moment is found again by the local time that it shows. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void zone_walk(const struct zone *z, int64_t at)
{
    struct zone_span span;
    for (int i = 0; i < 16; i++) {
        zone_span(z, at, &span);
        ASSERT(span.from <= at && (at < span.until || span.until == ZONE_MS_MAX));
        int64_t local = zone_local(z, at), found[2];
        int n = zone_instants(z, local, found);
        ASSERT(n >= 1 && found[0] <= at && zone_local(z, found[0]) == local);
        ASSERT(n == 1 || found[1] > found[0]);
        ASSERT(zone_reach(z, local) <= found[0]);
        if (span.until == ZONE_MS_MAX)
            return;
        at = span.until;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct zone z = {.type_count = 1, .name = ""};
    static const uint8_t utc[6];
    z.types = utc;
    if (size == 0)
        return 0;
    int rc = data[0] & 1 ? zone_rule_parse((const char *)data + 1, size - 1, &z.rule, &e)
                         : zone_parse(data + 1, size - 1, &z, &e);
    if (rc != 0) {
        ASSERT(rc == ERR_INVALID && e.text[0] != '\0');
        return 0;
    }
    zone_walk(&z, INT64_C(-2000000000000));
    zone_walk(&z, INT64_C(1700000000000));
    zone_walk(&z, INT64_C(253402000000000));
    return 0;
}
