#include "app/setting_plan.h"

#include <string.h>

#include "app/config_app.h"
#include "app/setting_calls.h"
#include "app/settings.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/patch.h"

/* Parts of Koan that a document may want to declare one day. */
static const char *const plan_others[] = {"users",     "roles",   "queues", "profiles",
                                          "schedules", "storage", "bus",    "secrets"};

static void plan_fault(struct setting_plan *p, const char *field, const char *words)
{
    if (json_array_size(p->faults) < SETTING_FAULTS_MAX)
        json_array_append_new(p->faults, json_pack("{s:s, s:s, s:s}", "field", field, "code",
                                                   "invalid", "detail", words));
}

static json_t *plan_now(const struct setting_plan *p, const char *name)
{
    return json_object_get(json_object_get(p->layer, name), "value");
}

static bool plan_is_known(const struct setting_plan *p, const char *name)
{
    int id = setting_find(name);
    return config_app_is(name) || plan_now(p, name) != NULL ||
           (id >= 0 && strcmp(settings_table[id].name, name) == 0);
}

void setting_plan_one(struct setting_plan *p, const char *name, const json_t *value)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *right = NULL;
    json_t *now = plan_now(p, name);
    if (value == NULL || json_is_null(value)) {
        if (now != NULL)
            json_object_set_new(p->changes, name, json_null());
        else if (!plan_is_known(p, name) && config_check(name, json_null(), NULL, &e) != 0)
            plan_fault(p, name, e.text);
    } else if (config_check(name, value, &right, &e) != 0) {
        plan_fault(p, name, e.text);
    } else if (now == NULL || !json_equal(now, right)) {
        json_object_set(p->changes, name, right);
    }
}

/* The layer as people write it: {"log": {"level": "debug"}}. */
static json_t *plan_tree(const struct setting_plan *p)
{
    json_t *tree = json_object(), *row;
    const char *name;
    json_object_foreach((json_t *)p->layer, name, row)
    {
        const char *dot = strchr(name, '.');
        AUTO(json_unref) json_t *value = json_deep_copy(json_object_get(row, "value"));
        if (dot == NULL) {
            json_object_set(tree, name, value);
            continue;
        }
        AUTO(mem_freep) char *section = mem_strndup(name, (size_t)(dot - name));
        if (json_object_get(tree, section) == NULL)
            json_object_set_new(tree, section, json_object());
        json_object_set(json_object_get(tree, section), dot + 1, value);
    }
    return tree;
}

static json_t *plan_in_tree(const json_t *tree, const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return json_object_get(tree, name);
    AUTO(mem_freep) char *section = mem_strndup(name, (size_t)(dot - name));
    return json_object_get(json_object_get(tree, section), dot + 1);
}

static json_t *plan_rows(struct setting_plan *p, const json_t *tree)
{
    struct err e = ERR_INIT;
    json_t *rows = json_object();
    if (config_flatten(tree, rows, &e) != 0)
        plan_fault(p, e.field, e.text);
    return rows;
}

static bool plan_is_section(const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < SET_COUNT; i++)
        if (strncmp(settings_table[i].name, name, n) == 0 && settings_table[i].name[n] == '.')
            return true;
    return false;
}

void setting_plan_merge(struct setting_plan *p, const json_t *patch)
{
    struct err e = ERR_INIT;
    const char *name;
    json_t *value;
    AUTO(json_unref) json_t *tree = plan_tree(p), *asked = plan_rows(p, patch);
    if (patch_merge(&tree, patch, &e) != 0) {
        plan_fault(p, "", e.text);
        return;
    }
    json_object_foreach(asked, name, value)
    {
        if (!json_is_null(value) || !plan_is_section(name))
            setting_plan_one(p, name, plan_in_tree(tree, name));
    }
    /* A whole section may have been unset: {"flags": null}. */
    json_object_foreach((json_t *)p->layer, name, value)
    {
        if (plan_in_tree(tree, name) == NULL)
            json_object_set_new(p->changes, name, json_null());
    }
}

static bool plan_refuse_others(struct setting_plan *p, const json_t *document)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(plan_others); i++)
        if (json_object_get(document, plan_others[i]) != NULL) {
            AUTO(mem_freep)
            char *words = mem_printf("this version of Koan has no %s that could be declared; take "
                                     "the section out, or use a version that has them",
                                     plan_others[i]);
            plan_fault(p, plan_others[i], words);
            any = true;
        }
    return any;
}

void setting_plan_apply(struct setting_plan *p, const json_t *document, bool prune)
{
    const char *name;
    json_t *value;
    if (!json_is_object(document)) {
        plan_fault(p, "document", "what is to be in force, an object of sections");
        return;
    }
    if (plan_refuse_others(p, document))
        return;
    AUTO(json_unref) json_t *rows = plan_rows(p, document);
    json_object_foreach(rows, name, value)
    {
        setting_plan_one(p, name, value);
    }
    json_object_foreach((json_t *)p->layer, name, value)
    {
        if (prune && json_object_get(rows, name) == NULL)
            json_object_set_new(p->changes, name, json_null());
    }
}

int setting_plan_check(const struct setting_plan *p, struct err *e)
{
    size_t n = json_array_size(p->faults);
    if (n == 0)
        return 0;
    const char *first = json_string_value(json_object_get(json_array_get(p->faults, 0), "detail"));
    if (n == 1)
        return err_set(e, ERR_INVALID, "%s", first);
    return err_set(e, ERR_INVALID, "%s; and %zu more faults, nothing was changed", first, n - 1);
}
