#include "bind/flag.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum { FLAG_STEPS = 10000 };

static int flag_check_texts(const json_t *v, const char *what, struct err *e)
{
    size_t i;
    json_t *item;
    if (json_is_string(v))
        return 0;
    if (!json_is_array(v))
        return err_set(e, ERR_INVALID, "%s: a text or a list of texts, not %s", what,
                       json_type_name(v));
    json_array_foreach((json_t *)v, i, item) if (!json_is_string(item)) return err_set(
        e, ERR_INVALID, "%s: holds a %s; texts only", what, json_type_name(item));
    return 0;
}

static int flag_check_object(const json_t *def, struct err *e)
{
    static const char *const names[] = {"on", "percent", "tenants", "labels"};
    if (json_only_keys(def, "flag", names, ARRAY_LEN(names), e) != 0)
        return e->code;
    const json_t *on = json_object_get(def, "on"), *percent = json_object_get(def, "percent"),
                 *tenants = json_object_get(def, "tenants"),
                 *labels = json_object_get(def, "labels");
    if (on != NULL && !json_is_boolean(on))
        return err_set(e, ERR_INVALID, "on: true or false, not %s", json_type_name(on));
    if (percent != NULL && (!json_is_number(percent) || json_number_value(percent) < 0 ||
                            json_number_value(percent) > 100))
        return err_set(e, ERR_INVALID, "percent: a number from 0 to 100");
    if (tenants != NULL && flag_check_texts(tenants, "tenants", e) != 0)
        return e->code;
    if (labels == NULL)
        return 0;
    if (!json_is_object(labels) || json_object_size(labels) == 0)
        return err_set(e, ERR_INVALID, "labels: name = value, or name = { values }");
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)labels, name,
                        v) if (flag_check_texts(v, name, e) != 0) return e->code;
    return 0;
}

int flags_check(const json_t *flags, struct err *e)
{
    struct err own = ERR_INIT;
    const char *name;
    json_t *def;
    e = e != NULL ? e : &own;
    if (flags == NULL || (json_is_array(flags) && json_array_size(flags) == 0))
        return 0;
    if (!json_is_object(flags))
        return err_set(e, ERR_INVALID, "flags: name = true, or name = { percent = 20 }, not %s",
                       json_type_name(flags));
    if (json_object_size(flags) > FLAGS_MAX)
        return err_set(e, ERR_TOO_LARGE, "over %d flags", FLAGS_MAX);
    json_object_foreach((json_t *)flags, name, def)
    {
        int rc = 0;
        if (*name == '\0' || strlen(name) > FLAG_NAME_MAX)
            rc = err_set(e, ERR_INVALID, "a name has 1 to %d bytes", FLAG_NAME_MAX);
        else if (json_is_object(def) && json_object_size(def) > 0)
            rc = flag_check_object(def, e);
        else if (!json_is_boolean(def))
            rc = err_set(e, ERR_INVALID, "true, false or a table like { percent = 20 }, not %s",
                         json_type_name(def));
        if (rc != 0)
            return err_context(e, "flags.%.64s", name);
    }
    return 0;
}

static bool flag_lists(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    if (text == NULL)
        return false;
    if (json_is_string(list))
        return strcmp(json_string_value(list), text) == 0;
    json_array_foreach((json_t *)list, i, item)
    {
        if (strcmp(json_string_value(item), text) == 0)
            return true;
    }
    return false;
}

static bool flag_has_labels(const json_t *wanted, const json_t *labels)
{
    const char *name;
    json_t *values;
    json_object_foreach((json_t *)wanted, name, values)
    {
        if (!flag_lists(values, json_string_value(json_object_get(labels, name))))
            return false;
    }
    return true;
}

static bool flag_in_percent(const char *name, const json_t *percent, const char *key)
{
    uint64_t at = hash64(hash64(0, name, strlen(name)), key, strlen(key)) % FLAG_STEPS;
    return (double)at < json_number_value(percent) * (FLAG_STEPS / 100);
}

bool flag_is_on(const char *name, const json_t *def, const struct flag_ask *ask)
{
    if (json_is_boolean(def))
        return json_is_true(def);
    const json_t *on = json_object_get(def, "on"), *percent = json_object_get(def, "percent"),
                 *tenants = json_object_get(def, "tenants"),
                 *labels = json_object_get(def, "labels");
    if (on != NULL && (json_is_false(on) || json_object_size(def) == 1))
        return json_is_true(on);
    return (tenants != NULL && flag_lists(tenants, ask->tenant)) ||
           (labels != NULL && flag_has_labels(labels, ask->labels)) ||
           (percent != NULL && ask->key != NULL && flag_in_percent(name, percent, ask->key));
}
