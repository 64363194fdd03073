/* The definition of a canon model: taken, or refused with words; the same text has the same hash.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "canon/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    json_t *definition = json_read((const char *)data, size, &e);
    struct canon_model *a = NULL, *b = NULL;
    if (definition == NULL)
        return 0;
    int rc = canon_model_parse(definition, &a, &e);
    if (rc < 0) {
        ASSERT(rc == e.code && e.text[0] != '\0' && a == NULL);
    } else {
        ASSERT(canon_model_parse(definition, &b, &e) == 0);
        ASSERT(canon_model_hash(a) == canon_model_hash(b) && canon_model_name(a)[0] != '\0');
        canon_model_unref(a);
        canon_model_unref(b);
    }
    json_decref(definition);
    return 0;
}
