/* A configuration as JSON, for `koan config show --json`, the API and the boot report. */
#include <string.h>

#include "app/settings.h"
#include "base/mem.h"
#include "base/str.h"

enum { CONFIG_SHOWN_MAX = 1 << 20 };

static const char *const config_layers[LAYER_COUNT] = {"default",    "file",        "remote",
                                                       "replicated", "environment", "flag"};

/* What lower layers say and does not count: [{"layer", "value", "origin"}], or NULL. */
static json_t *config_hidden(const struct config *c, enum setting_id id)
{
    json_t *list = NULL;
    const struct setting_value *now =
        c->pending[id].text != NULL ? &c->pending[id] : &c->values[id];
    for (int layer = LAYER_FLAG; layer > LAYER_DEFAULT; layer--) {
        const struct setting_value *v = &c->tiers[layer].values[id];
        if (v->text == NULL || strcmp(v->origin, now->origin) == 0)
            continue;
        if (list == NULL)
            list = json_array();
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "layer", config_layers[layer], "value",
                                        config_mask(id, v->text), "origin", v->origin));
    }
    return list;
}

static json_t *config_one(const struct config *c, enum setting_id id)
{
    const struct setting *s = &settings_table[id];
    json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s}", "name", s->name, "value",
                          config_shown(c, id), "origin", c->values[id].origin, "default",
                          s->fallback, "kind", setting_kind_name(s->kind), "live", s->live, "local",
                          s->local, "help", s->help);
    json_t *hidden = config_hidden(c, id);
    if (hidden != NULL)
        json_object_set_new(v, "hides", hidden);
    if (c->pending[id].text != NULL)
        json_object_set_new(v, "pending",
                            json_pack("{s:s, s:s}", "value", config_mask(id, c->pending[id].text),
                                      "origin", c->pending[id].origin));
    return v;
}

json_t *config_json(const struct config *c)
{
    json_t *all = json_array(), *origin;
    const char *key;
    for (int i = 0; i < SET_COUNT; i++)
        json_array_append_new(all, config_one(c, (enum setting_id)i));
    /* Copies: the answer goes to another thread, and counts of references are no matter of threads.
     */
    json_object_foreach(c->origins, key, origin)
    {
        AUTO(buf_fini) struct buf shown = BUF_INIT(CONFIG_SHOWN_MAX);
        config_row_shown_in(c, key, &shown);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", key, "value",
                                             buf_str(&shown), "origin", json_string_value(origin),
                                             "kind",
                                             str_starts(key, "app.")     ? "app"
                                             : str_starts(key, "flags.") ? "flag"
                                                                         : "lane",
                                             "live", 1));
    }
    return all;
}

const char *config_origin(const struct config *c, const char *key, bool *pending)
{
    int id = setting_find(key);
    *pending = id >= 0 && c->pending[id].text != NULL;
    if (id < 0)
        return json_string_value(json_object_get(c->origins, key));
    return *pending ? c->pending[id].origin : c->values[id].origin;
}
