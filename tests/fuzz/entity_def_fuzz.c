/* A definition that is taken prints as text that gives itself again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/def.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    AUTO(entity_def_unrefp) struct entity_def *a = NULL;
    AUTO(entity_def_unrefp) struct entity_def *b = NULL;
    int rc = entity_def_parse_text((const char *)data, size, &a, &e);
    if (rc < 0) {
        ASSERT(rc == e.code && e.text[0] != '\0');
        return 0;
    }
    if (entity_def_parse_text(a->json, strlen(a->json), &b, &e) < 0)
        PANIC("%s: %s", a->json, e.text);
    ASSERT(strcmp(a->json, b->json) == 0);
    return 0;
}
