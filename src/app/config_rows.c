/* Trees and rows: what a file, a remote document or the ledger says, setting by setting. */
#include <string.h>

#include "app/config_app.h"
#include "app/config_priv.h"
#include "app/labels.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind.h"

/* True when settings begin with "prefix.". */
static bool config_is_section(const char *prefix)
{
    size_t n = strlen(prefix);
    for (int i = 0; i < SET_COUNT; i++)
        if (strncmp(settings_table[i].name, prefix, n) == 0 && settings_table[i].name[n] == '.')
            return true;
    return false;
}

static int config_flatten_free(const char *section, const json_t *v, json_t *rows, struct err *e)
{
    const char *name;
    json_t *item;
    if (json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0)) /* Lua's {} */
        return 0;
    if (!json_is_object(v))
        return err_field(e, ERR_INVALID, section, "%s: names with values were expected, not %s",
                         section, json_type_name(v));
    json_object_foreach((json_t *)v, name, item)
    {
        AUTO(mem_freep) char *key = mem_printf("%s.%s", section, name);
        json_object_set(rows, key, item);
    }
    return 0;
}

int config_flatten(const json_t *tree, json_t *rows, struct err *e)
{
    const char *key, *inner;
    json_t *v, *w;
    json_object_foreach((json_t *)tree, key, v)
    {
        if (config_app_is_section(key)) {
            if (config_flatten_free(key, v, rows, e) != 0)
                return e->code;
            continue;
        }
        if (!json_is_object(v) || !config_is_section(key)) {
            json_object_set(rows, key, v);
            continue;
        }
        json_object_foreach(v, inner, w)
        {
            AUTO(mem_freep) char *name = mem_printf("%s.%s", key, inner);
            json_object_set(rows, name, w);
        }
    }
    return 0;
}

/* The text of a value of the table, or NULL. */
static char *config_text_of(const struct setting *s, const json_t *v)
{
    if (json_is_string(v))
        return mem_strdup(json_string_value(v));
    if (s->kind == SETTING_LABELS || s->kind == SETTING_NAMES)
        return labels_text(v, s->kind == SETTING_NAMES);
    if (json_is_integer(v))
        return mem_printf("%lld", (long long)json_integer_value(v));
    if (json_is_boolean(v) && s->kind == SETTING_BOOL)
        return mem_strdup(json_is_true(v) ? "true" : "false");
    return NULL;
}

static const char *config_words_of(enum setting_kind k)
{
    return k == SETTING_BOOL     ? "true or false"
           : k == SETTING_LABELS ? "a table of labels"
           : k == SETTING_NAMES  ? "a list of names"
                                 : "a text or a whole number";
}

/* A setting of the table; *text is the caller's. */
static int config_check_known(const char *key, const json_t *v, enum setting_id *id, char **text,
                              struct err *e)
{
    int at = setting_find(key);
    int64_t number;
    if (at < 0 || strcmp(settings_table[at].name, key) != 0)
        return config_no_setting(key, e);
    const struct setting *s = &settings_table[at];
    AUTO(mem_freep) char *own = config_text_of(s, v);
    if (own == NULL)
        return err_field(e, ERR_INVALID, key, "%s: %s was expected, not %s", key,
                         config_words_of(s->kind), json_type_name(v));
    if (config_parse(s, own, &number, e) != 0) {
        str_copy(e->field, sizeof e->field, key);
        return err_context(e, "%s", key);
    }
    *id = (enum setting_id)at;
    *text = TAKE(own);
    return 0;
}

int config_check(const char *key, const json_t *value, json_t **out, struct err *e)
{
    enum setting_id id;
    AUTO(mem_freep) char *text = NULL;
    if (config_app_is(key)) {
        if (config_app_check(key, value, e) != 0) {
            str_copy(e->field, sizeof e->field, key);
            return e->code;
        }
        if (out != NULL)
            *out = json_incref((json_t *)value);
        return 0;
    }
    if (config_check_known(key, value, &id, &text, e) != 0)
        return e->code;
    if (settings_table[id].local)
        return err_field(e, ERR_INVALID, key,
                         "%s: is needed before the ledger is open or speaks of one machine, so it "
                         "belongs into the node's file, environment or flags",
                         key);
    if (out != NULL)
        *out = json_string(text);
    return 0;
}

/* One row into the layer that is filled. */
static void config_row(struct config_load *l, const char *key, const json_t *v, const char *origin)
{
    struct err e = ERR_INIT;
    enum setting_id id;
    AUTO(mem_freep) char *text = NULL;
    if (config_app_is(key)) {
        if (config_app_put(l, key, v, origin, &e) != 0)
            config_fault(l, "%s: %s", origin, e.text);
    } else if (config_check_known(key, v, &id, &text, &e) != 0) {
        config_fault(l, "%s: %s", origin, e.text);
    } else {
        config_set(l, id, text, mem_strdup(origin));
    }
}

void config_tree(struct config_load *l, const char *file, const json_t *tree)
{
    const char *key;
    json_t *v;
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *rows = json_object();
    if (config_flatten(tree, rows, &e) != 0)
        config_fault(l, "%s: %s", file, e.text);
    json_object_foreach(rows, key, v)
    {
        if (!json_is_null(v) || config_app_is(key))
            config_row(l, key, v, file);
        else if (setting_find(key) < 0)
            config_unknown(l, file, key);
    }
}

void config_rows(struct config_load *l, const json_t *rows)
{
    const char *key;
    json_t *row;
    json_object_foreach((json_t *)rows, key, row)
    {
        struct err e = ERR_INIT;
        const json_t *v = json_object_get(row, "value");
        const char *origin = json_string_value(json_object_get(row, "origin"));
        if (config_check(key, v, NULL, &e) != 0)
            config_fault(l, "%s: %s", origin, e.text);
        else
            config_row(l, key, v, origin);
    }
}
