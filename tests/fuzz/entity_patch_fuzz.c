/* A document, a NUL, a patch: no crash, and a JSON-patch that is refused by shape is refused. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    const uint8_t *split = memchr(data, '\n', size);
    if (split == NULL)
        return 0;
    AUTO(json_unref) json_t *doc = json_read((const char *)data, (size_t)(split - data), NULL);
    AUTO(json_unref)
    json_t *patch = json_read((const char *)split + 1, size - (size_t)(split - data) - 1, NULL);
    if (doc == NULL || patch == NULL)
        return 0;
    AUTO(json_unref) json_t *copy = json_deep_copy(doc);
    AUTO(json_unref) json_t *patch_copy = json_deep_copy(patch);
    bool shape = patch_check(ENTITY_PATCH_JSON, patch, NULL) == 0;
    int rc = patch_json(&doc, patch, &e);
    ASSERT(shape || rc < 0);
    ASSERT(rc == 0 || (e.code == rc && e.text[0] != '\0'));
    rc = patch_merge(&copy, patch, &e);
    ASSERT(rc == 0 || rc == ERR_INVALID);
    if (rc == 0) {
        /* Merging again changes nothing. */
        AUTO(json_unref) json_t *twice = json_deep_copy(copy);
        ASSERT(patch_merge(&twice, patch, NULL) == 0 && json_compare(twice, copy) == 0);
    }
    ASSERT(json_equal(patch, patch_copy));
    return 0;
}
