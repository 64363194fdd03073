#include "app/config_app.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind.h"

static int config_app_put(struct config *c, const char *name, const json_t *v, const char *origin,
                          struct err *e)
{
    if (str_check_name(name, "app", e) != 0)
        return e->code;
    if (json_object_size(c->app) >= CONFIG_APP_NAMES_MAX && json_object_get(c->app, name) == NULL)
        return err_set(e, ERR_TOO_LARGE, "app: over %d names", CONFIG_APP_NAMES_MAX);
    json_object_set(c->app, name, (json_t *)v);
    json_object_set_new(c->app_origins, name, json_string(origin));
    return 0;
}

static int config_app_section(struct config *c, const char *file, const json_t *v, struct err *e)
{
    const char *name;
    json_t *item;
    if (json_is_array(v) && json_array_size(v) == 0) /* Lua's {} */
        return 0;
    if (!json_is_object(v))
        return err_set(e, ERR_INVALID, "app: names with values were expected, not %s",
                       json_type_name(v));
    json_object_foreach((json_t *)v, name, item)
    {
        if (config_app_put(c, name, item, file, e) != 0)
            return e->code;
    }
    return 0;
}

bool config_app_file(struct config *c, const char *file, const char *section, const json_t *v,
                     struct err *e)
{
    if (strcmp(section, "app") == 0) {
        config_app_section(c, file, v, e);
        return true;
    }
    if (strcmp(section, "flags") != 0)
        return false;
    if (bind_flags_check(v, e) == 0 && json_is_object(v))
        json_object_update(c->flags, (json_t *)v);
    return true;
}

int config_app_env(struct config *c, const char *variable, const char *name, const char *text,
                   struct err *e)
{
    AUTO(mem_freep) char *lower = mem_strdup(name);
    AUTO(mem_freep) char *origin = mem_printf("environment %s", variable);
    for (char *p = lower; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    AUTO(json_unref) json_t *v = json_read(text, strlen(text), NULL);
    if (v != NULL && !json_is_number(v) && !json_is_boolean(v)) {
        json_decref(v);
        v = NULL;
    }
    if (v == NULL && (v = json_string(text)) == NULL)
        return err_set(e, ERR_INVALID, "the value is not UTF-8");
    return config_app_put(c, lower, v, origin, e);
}

void config_app_shown(const struct config *c, const char *name, struct buf *out)
{
    static const char *const secrets[] = {"key", "token", "secret", "password", "credential"};
    const json_t *v = json_object_get(c->app, name);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        if (strcasestr(name, secrets[i]) != NULL || json_is_object(v)) {
            buf_adds(out, json_is_object(v) ? "{...}" : "***");
            return;
        }
    if (json_is_string(v))
        buf_adds(out, json_string_value(v));
    else
        json_print(v, out, NULL);
}
