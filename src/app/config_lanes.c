/* lanes.NAME = { weight, cap }: what the configuration says of a lane of the queue. */
#include <string.h>

#include "app/config_app.h"
#include "app/settings.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/core.h"

static int lane_number(const char *lane, const json_t *o, const char *name, int64_t least,
                       int64_t most, uint32_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, name);
    if (v == NULL)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most)
        return err_set(e, ERR_INVALID, "lanes.%s: %s is a whole number, %lld to %lld", lane, name,
                       (long long)least, (long long)most);
    *out = (uint32_t)json_integer_value(v);
    return 0;
}

int config_lane_read(const char *name, const json_t *value, struct config_lane *out, struct err *e)
{
    static const char *const members[] = {"weight", "cap"};
    const char *dot = strchr(name, '.');
    if (dot != NULL)
        return err_set(e, ERR_INVALID,
                       "lanes.%.200s: a lane is set whole, as lanes.%.*s: {\"weight\": 4, "
                       "\"cap\": 2}",
                       name, (int)(dot - name), name);
    int rc = str_check_name(name, "lane", e);
    if (rc != 0)
        return rc;
    str_copy(out->name, sizeof out->name, name);
    out->weight = core_lane_weight(name);
    out->cap = UINT32_MAX;
    if (value == NULL || (json_is_array(value) && json_array_size(value) == 0)) /* Lua's {} */
        return 0;
    if (!json_is_object(value))
        return err_set(e, ERR_INVALID, "lanes.%s: {\"weight\": 4, \"cap\": 2} was expected, not %s",
                       name, json_type_name(value));
    AUTO(mem_freep) char *what = mem_printf("lanes.%s", name);
    rc = json_only_keys(value, what, members, ARRAY_LEN(members), e);
    if (rc == 0)
        rc = lane_number(name, value, "weight", 1, CORE_WEIGHT_MAX, &out->weight, e);
    return rc != 0 ? rc : lane_number(name, value, "cap", 0, UINT32_MAX, &out->cap, e);
}

int config_lane_below(const struct config *c, const char *name, struct config_lane *out)
{
    AUTO(mem_freep) char *key = mem_printf("lanes.%s", name);
    const json_t *value = NULL;
    for (int layer = LAYER_DEFAULT; layer < LAYER_REPLICATED; layer++) {
        const json_t *row = json_object_get(c->tiers[layer].rows, key);
        if (row != NULL)
            value = json_object_get(row, "value");
    }
    return config_lane_read(name, value, out, NULL);
}

uint32_t config_lanes(const struct config *c, struct config_lane *out)
{
    const char *name;
    json_t *value;
    uint32_t n = 0;
    json_object_foreach(c->lanes, name, value)
    {
        if (n < CONFIG_LANES_MAX && config_lane_read(name, value, &out[n], NULL) == 0)
            n++;
    }
    return n;
}
