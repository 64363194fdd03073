#include "app/config_app.h"

#include <ctype.h>
#include <string.h>

#include "app/config_priv.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind.h"
#include "queue/core.h"

static const char config_app_prefix[] = "app.", config_flags_prefix[] = "flags.",
                  config_lanes_prefix[] = "lanes.";

bool config_app_is(const char *key)
{
    return str_starts(key, config_app_prefix) || str_starts(key, config_flags_prefix) ||
           str_starts(key, config_lanes_prefix);
}

bool config_app_is_section(const char *name)
{
    return strcmp(name, "app") == 0 || strcmp(name, "flags") == 0 || strcmp(name, "lanes") == 0;
}

json_t *config_app_section(const struct config *c, const char *key, const char **name)
{
    *name = strchr(key, '.') + 1;
    return str_starts(key, config_app_prefix)     ? c->app
           : str_starts(key, config_flags_prefix) ? c->flags
                                                  : c->lanes;
}

int config_app_check(const char *key, const json_t *value, struct err *e)
{
    if (str_starts(key, config_app_prefix))
        return str_check_name(key + strlen(config_app_prefix), "app", e);
    if (str_starts(key, config_lanes_prefix)) {
        struct config_lane lane;
        return config_lane_read(key + strlen(config_lanes_prefix), value, &lane, e);
    }
    AUTO(json_unref)
    json_t *one = json_pack("{s:O}", key + strlen(config_flags_prefix), (json_t *)value);
    if (one == NULL)
        return err_set(e, ERR_INVALID, "%.100s: not UTF-8", key);
    return bind_flags_check(one, e);
}

/* More of a layer than there can be lanes. */
static bool app_is_full(const json_t *rows, const char *key)
{
    size_t lanes = 0;
    const char *name;
    json_t *row;
    if (json_object_get(rows, key) != NULL)
        return false;
    json_object_foreach((json_t *)rows, name, row)
    {
        lanes += str_starts(name, config_lanes_prefix);
    }
    return str_starts(key, config_lanes_prefix)
               ? lanes >= CORE_LANES_MAX
               : json_object_size(rows) - lanes >= 2 * CONFIG_APP_NAMES_MAX;
}

int config_app_put(struct config_load *l, const char *key, const json_t *value, const char *origin,
                   struct err *e)
{
    json_t *rows = l->config->tiers[l->layer].rows;
    if (config_app_check(key, value, e) != 0)
        return e->code;
    if (app_is_full(rows, key))
        return str_starts(key, config_lanes_prefix)
                   ? err_set(e, ERR_TOO_LARGE, "lanes: over %d names", CORE_LANES_MAX)
                   : err_set(e, ERR_TOO_LARGE, "app, flags: over %d names",
                             2 * CONFIG_APP_NAMES_MAX);
    json_object_set_new(rows, key,
                        json_pack("{s:O, s:s}", "value", (json_t *)value, "origin", origin));
    return 0;
}

int config_app_env(struct config_load *l, const char *variable, const char *name, const char *text,
                   struct err *e)
{
    AUTO(mem_freep) char *key = mem_printf("%s%s", config_app_prefix, name);
    AUTO(mem_freep) char *origin = mem_printf("environment %s", variable);
    for (char *p = key; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    AUTO(json_unref) json_t *v = json_read(text, strlen(text), NULL);
    if (v != NULL && !json_is_number(v) && !json_is_boolean(v)) {
        json_decref(v);
        v = NULL;
    }
    if (v == NULL && (v = json_string(text)) == NULL)
        return err_set(e, ERR_INVALID, "the value is not UTF-8");
    return config_app_put(l, key, v, origin, e);
}

const json_t *config_row_value(const struct config *c, const char *key)
{
    const char *name;
    json_t *section = config_app_section(c, key, &name);
    return json_object_get(section, name);
}

void config_row_shown(const char *key, const json_t *value, struct buf *out)
{
    static const char *const secrets[] = {"key", "token", "secret", "password", "credential"};
    bool app = str_starts(key, config_app_prefix);
    for (size_t i = 0; app && i < ARRAY_LEN(secrets); i++)
        if (strcasestr(key + strlen(config_app_prefix), secrets[i]) != NULL) {
            buf_adds(out, "***");
            return;
        }
    /* "amqp://user:password@host", and what only looks like it. */
    const char *text = json_string_value(value);
    if (app && text != NULL && strstr(text, "://") != NULL && strpbrk(text, "?@") != NULL) {
        buf_adds(out, "***");
        return;
    }
    if (app && (json_is_object(value) || json_is_array(value)))
        buf_adds(out, json_is_object(value) ? "{...}" : "[...]");
    else if (json_is_string(value))
        buf_adds(out, json_string_value(value));
    else
        json_print(value, out, NULL);
}

bool config_is_from_file(const char *origin)
{
    return origin != NULL &&
           (strstr(origin, "_FILE") != NULL || strstr(origin, "credential") != NULL);
}

void config_row_shown_in(const struct config *c, const char *key, struct buf *out)
{
    if (config_is_from_file(json_string_value(json_object_get(c->origins, key))))
        buf_adds(out, "***");
    else
        config_row_shown(key, config_row_value(c, key), out);
}
