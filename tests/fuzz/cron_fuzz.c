/* The first byte chooses a zone, the rest is an expression. What is taken comes, each time later
 * than before and at a time of day that fits. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "codec/cron.h"
#include "codec/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void cron_walk(const struct cron *c, const struct zone *z, int64_t at)
{
    for (int i = 0; i < 8; i++) {
        int64_t next, local;
        if (!cron_next(c, z, at, &next))
            return;
        ASSERT(next > at);
        /* A wildcard hour runs only at what the clock shows. */
        if (c->any_hour && c->every_ms == 0) {
            int64_t shown = zone_local(z, next) / 1000;
            ASSERT(cron_next_local(c, shown, &local) && local == shown);
        }
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const zones[] = {"UTC", "Europe/Lisbon", "Australia/Lord_Howe",
                                        "America/Sao_Paulo"};
    struct cron c;
    struct zone z;
    struct err e = ERR_INIT;
    if (size == 0)
        return 0;
    char *text = mem_strndup((const char *)data + 1, size - 1);
    if (cron_parse(text, &c, &e) != 0) {
        ASSERT(e.code == ERR_INVALID && e.text[0] != '\0');
    } else {
        ASSERT(zone_find(zones[data[0] % ARRAY_LEN(zones)], &z, &e) == 0);
        cron_walk(&c, &z, INT64_C(0));
        cron_walk(&c, &z, INT64_C(1541300000000));
        cron_walk(&c, &z, INT64_C(253402000000000));
    }
    mem_free(text);
    return 0;
}
