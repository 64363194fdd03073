/* Which units there are: of an entity's fields, or of whatever is stated. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "canon/canon_priv.h"
#include "entity/def.h"

struct canon_unit canon_unit_of_field(const struct canon_model *m, const char *field)
{
    const struct canon_group *g = canon_model_group_of(m, field);
    if (g != NULL)
        return (struct canon_unit){.name = g->name, .group = g, .rule = g->rule};
    return (struct canon_unit){.name = field, .rule = canon_model_rule(m, field)};
}

static bool units_have(const struct canon_units *u, const char *name)
{
    for (size_t i = 0; i < u->count; i++)
        if (strcmp(u->list[i].name, name) == 0)
            return true;
    return false;
}

bool canon_unit_lets_alone(const struct canon_unit *u)
{
    if (u->rule == NULL)
        return true;
    if (u->rule->policy != POLICY_SOURCE_OF_TRUTH)
        return u->rule->policy != POLICY_UNION;
    /* The fallback may join what is a list, or want a steward where an authority does not. */
    return u->rule->fallback != POLICY_UNION && u->rule->fallback != POLICY_MANUAL;
}

static bool passes_unseen(const struct canon_unit *u)
{
    return canon_unit_lets_alone(u) && (u->rule == NULL || u->rule->policy != POLICY_MANUAL);
}

/* The others are few. */
static void units_look_at(struct canon_units *u)
{
    for (size_t i = 0; i < u->count; i++)
        if (!passes_unseen(&u->list[i]))
            u->looked_at[u->looked_at_count++] = &u->list[i];
}

void canon_units_of(const struct canon_model *m, const struct entity_def *d,
                    struct canon_units *out)
{
    size_t max = d->fields_count + 1;
    *out = (struct canon_units){.list = mem_new_array(max, sizeof *out->list),
                                .looked_at = mem_new_array(max, sizeof *out->looked_at)};
    for (size_t i = 0; i < d->fields_count; i++) {
        struct canon_unit u = canon_unit_of_field(m, d->fields[i].name);
        if (!units_have(out, u.name)) /* a group stands where its first field does */
            out->list[out->count++] = u;
    }
    units_look_at(out);
}

static bool unit_is_stated(const struct canon_unit *u, const json_t *fields)
{
    if (u->group == NULL)
        return json_object_get(fields, u->name) != NULL;
    for (size_t i = 0; i < u->group->fields_count; i++)
        if (json_object_get(fields, u->group->fields[i]) != NULL)
            return true;
    return false;
}

bool canon_units_let_alone(const struct canon_units *u, const json_t *fields)
{
    for (size_t i = 0; i < u->looked_at_count; i++)
        if (unit_is_stated(u->looked_at[i], fields))
            return false;
    return true;
}

void canon_units_fini(struct canon_units *u)
{
    mem_free(u->list);
    mem_free(u->looked_at);
    *u = (struct canon_units){0};
}

static struct canon_unit unit_of_name(const struct canon_model *m, const char *name)
{
    for (size_t i = 0; i < m->groups_count; i++)
        if (strcmp(m->groups[i].name, name) == 0)
            return (struct canon_unit){
                .name = name, .group = &m->groups[i], .rule = m->groups[i].rule};
    return (struct canon_unit){.name = name, .rule = canon_model_rule(m, name)};
}

static int add_units(const struct canon_model *m, const json_t *o, bool is_unit,
                     struct canon_units *all, size_t *cap, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        struct canon_unit u = is_unit ? unit_of_name(m, key) : canon_unit_of_field(m, key);
        if (units_have(all, u.name))
            continue;
        if (all->count == *cap) {
            *cap = *cap ? 2 * *cap : 32;
            struct canon_unit *grown = mem_try_resize(all->list, *cap * sizeof *grown);
            if (grown == NULL)
                return err_set(e, ERR_NOMEM, "survivorship: %zu fields", *cap);
            all->list = grown;
        }
        all->list[all->count++] = u;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct canon_unit *x = a, *y = b;
    return strcmp(x->name, y->name);
}

int canon_units_stated(const struct canon_model *m, const struct canon_said *said, size_t count,
                       struct canon_units *out, struct err *e)
{
    size_t cap = 0;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = add_units(m, said[i].fields, false, out, &cap, e);
        if (rc == 0)
            rc = add_units(m, said[i].ever, true, out, &cap, e);
    }
    if (rc == 0 && out->count > 1)
        qsort(out->list, out->count, sizeof *out->list, by_name);
    return rc;
}
