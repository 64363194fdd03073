/* The payload of setting.change, and, as text, a document of a remote provider, one for `koan
 * apply` and a merge-patch of the settings: any bytes give a change or a refusal, and a change only
 * of what may be changed. */
#include <stdint.h>
#include <string.h>

#include "app/remote_config.h"
#include "app/setting_plan.h"
#include "app/settings.h"
#include "base/err.h"
#include "base/mem.h"
#include "setting/setting_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MAX = 8192 };

static void fuzz_payload(const uint8_t *data, size_t size)
{
    struct cursor c;
    struct setting_op op;
    struct setting_item it;
    uint32_t n = 0;
    cursor_init(&c, data, size);
    if (setting_decode(&c, &op, NULL) != 0)
        return;
    while (setting_next(&op.items, &it)) {
        n++;
        ASSERT(it.name_n <= SETTING_NAME_BYTES && it.value_n <= SETTING_VALUE_BYTES);
    }
    ASSERT(n == op.count);
}

static void fuzz_plan(const json_t *layer, const json_t *document, bool merge)
{
    struct err e = ERR_INIT;
    struct setting_plan p = {layer, json_object(), json_array()};
    const char *name;
    json_t *v;
    if (merge)
        setting_plan_merge(&p, document);
    else
        setting_plan_apply(&p, document, true);
    if (setting_plan_check(&p, &e) == 0) {
        json_object_foreach(p.changes, name, v)
        {
            ASSERT(json_is_null(v) || config_check(name, v, NULL, NULL) == 0);
        }
    }
    json_decref(p.changes);
    json_decref(p.faults);
}

static void fuzz_remote(const char *text, size_t n)
{
    json_t *rows = NULL, *row;
    const char *name;
    struct err e = ERR_INIT;
    int rc = remote_config_read(text, n, "remote", &rows, &e);
    ASSERT((rc == 0) == (rows != NULL) && (rc == 0 || *e.text != '\0'));
    json_object_foreach(rows, name, row)
    {
        ASSERT(config_check(name, json_object_get(row, "value"), NULL, NULL) == 0);
    }
    json_decref(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_MAX)
        return 0;
    fuzz_payload(data, size);
    fuzz_remote((const char *)data, size);
    AUTO(json_unref) json_t *document = json_read((const char *)data, size, NULL);
    AUTO(json_unref)
    json_t *layer = json_pack("{s:{s:s},s:{s:{s:i}}}", "log.level", "value", "warn", "flags.new",
                              "value", "percent", 20);
    if (json_is_object(document)) {
        fuzz_plan(layer, document, false);
        fuzz_plan(layer, document, true);
    }
    return 0;
}
