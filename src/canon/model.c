#include "canon/canon_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const policy_names[POLICY_COUNT] = {
    [POLICY_LATEST] = "latest",
    [POLICY_FIRST] = "first",
    [POLICY_MIN] = "min",
    [POLICY_MAX] = "max",
    [POLICY_SOURCE_OF_TRUTH] = "source_of_truth",
    [POLICY_LONGEST] = "longest",
    [POLICY_MOST_COMPLETE] = "most_complete",
    [POLICY_MAJORITY] = "majority",
    [POLICY_UNION] = "union",
    [POLICY_MANUAL] = "manual",
};

static const char *const stage_names[] = {"intake", "validate", "project"};

const char *canon_policy_name(enum canon_policy p)
{
    ASSERT(p < POLICY_COUNT);
    return policy_names[p];
}

static int policy_parse(const char *field, const char *name, enum canon_policy *out, struct err *e)
{
    for (size_t i = 0; i < POLICY_COUNT; i++) {
        if (strcmp(policy_names[i], name) == 0) {
            *out = (enum canon_policy)i;
            return 0;
        }
    }
    const char *near = str_nearest(name, policy_names, POLICY_COUNT);
    return err_field(e, ERR_INVALID, field, "no policy '%s'%s%s%s", name,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int model_sources(struct canon_model *m, const json_t *o, struct err *e)
{
    size_t n = json_object_size(o);
    if (!json_is_object(o) || n == 0 || n > MODEL_SOURCES_MAX)
        return err_field(e, ERR_INVALID, "sources",
                         "canon '%s': sources must name 1 to %d sources, like erp = { rank = 1 }",
                         m->name, MODEL_SOURCES_MAX);
    m->sources = mem_new_array(n, sizeof *m->sources);
    const char *origin;
    json_t *decl;
    json_object_foreach((json_t *)o, origin, decl)
    {
        static const char *const names[] = {"rank"};
        int rc = str_check_name(origin, "source", e);
        if (rc == 0 && !json_is_object(decl))
            rc = err_field(e, ERR_INVALID, origin, "must be a table like { rank = 1 }");
        if (rc == 0)
            rc = json_only_keys(decl, origin, names, ARRAY_LEN(names), e);
        int64_t rank = CANON_RANK_NONE;
        if (rc == 0) {
            rc = json_get_int(decl, "rank", &rank, e);
            if (rc == ERR_NOT_FOUND)
                rc = 0;
            if (rc == 0 && (rank < 0 || rank > CANON_RANK_NONE))
                rc = err_field(e, ERR_INVALID, origin, "rank must be 0 to %d", CANON_RANK_NONE);
        }
        if (rc != 0)
            return err_context(e, "canon '%s': source '%s'", m->name, origin);
        m->sources[m->sources_count].origin = mem_strdup(origin);
        m->sources[m->sources_count++].rank = (int)rank;
    }
    return 0;
}

static int model_key_part(struct canon_key *k, const json_t *part, struct err *e)
{
    static const char *const names[] = {"field", "norm"};
    struct canon_key_part *p = &k->parts[k->parts_count];
    const char *field, *norm = NULL;
    int rc = json_only_keys(part, "key part", names, ARRAY_LEN(names), e);
    if (rc == 0 && json_get_string(part, "field", &field, e) != 0)
        rc = err_field(e, ERR_INVALID, k->name, "a part of the key has no field");
    if (rc != 0)
        return rc;
    p->field = mem_strdup(field);
    k->parts_count++;
    rc = json_get_string(part, "norm", &norm, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc != 0)
        return rc;
    if (!canon_norm_parse(norm, &p->norm, &p->function))
        return err_field(e, ERR_INVALID, field,
                         "no normaliser '%s': there are trim, lower, upper, digits, email, phone, "
                         "name, ascii, or your own function",
                         norm);
    return 0;
}

static int model_key(struct canon_model *m, const json_t *decl, struct err *e)
{
    static const char *const names[] = {"name", "parts"};
    struct canon_key *k = &m->keys[m->keys_count];
    const char *name;
    int rc = json_only_keys(decl, "key", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = json_get_string(decl, "name", &name, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? err_set(e, ERR_INVALID, "a key has no name") : rc;
    for (size_t i = 0; i < m->keys_count; i++)
        if (strcmp(m->keys[i].name, name) == 0)
            return err_field(e, ERR_INVALID, name, "key '%s' is declared twice", name);
    k->name = mem_strdup(name);
    m->keys_count++;
    const json_t *parts = json_object_get(decl, "parts");
    size_t n = json_array_size(parts);
    if (n == 0 || n > MODEL_PARTS_MAX)
        return err_field(e, ERR_INVALID, name, "key '%s' must have 1 to %d fields", name,
                         MODEL_PARTS_MAX);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = model_key_part(k, json_array_get(parts, i), e);
    return rc;
}

static int model_keys(struct canon_model *m, const json_t *list, struct err *e)
{
    size_t n = json_array_size(list);
    if (list != NULL && (!json_is_array(list) || n > MODEL_KEYS_MAX))
        return err_field(e, ERR_INVALID, "keys", "canon '%s': keys must be a list of at most %d",
                         m->name, MODEL_KEYS_MAX);
    m->keys = mem_new_array(n + 1, sizeof *m->keys);
    for (size_t i = 0; i < n; i++)
        if (model_key(m, json_array_get(list, i), e) != 0)
            return err_context(e, "canon '%s': keys", m->name);
    return 0;
}

static int rule_ranks(const struct canon_model *m, struct canon_rule *r, const json_t *list,
                      struct err *e)
{
    size_t n = json_array_size(list);
    if (n == 0 || n > MODEL_SOURCES_MAX)
        return err_field(e, ERR_INVALID, r->name,
                         "source_of_truth needs at least one source, best first");
    r->ranks = mem_new_array(n, sizeof *r->ranks);
    for (size_t i = 0; i < n; i++) {
        const char *origin = json_string_value(json_array_get(list, i));
        if (origin == NULL || !canon_model_has_source(m, origin))
            return err_field(e, ERR_INVALID, r->name, "source_of_truth: no source '%s' in sources",
                             origin ? origin : "?");
        r->ranks[r->ranks_count++] = mem_strdup(origin);
    }
    return 0;
}

static int model_rule(struct canon_model *m, const char *field, const json_t *decl, struct err *e)
{
    static const char *const names[] = {"is", "ranks", "fallback"};
    struct canon_rule *r = &m->rules[m->rules_count++];
    const char *is, *fallback = NULL;
    r->name = mem_strdup(field);
    r->fallback = POLICY_LATEST;
    int rc = json_only_keys(decl, "policy", names, ARRAY_LEN(names), e);
    if (rc == 0 && json_get_string(decl, "is", &is, e) != 0)
        rc = err_field(e, ERR_INVALID, field, "the policy of '%s' has no name", field);
    if (rc == 0)
        rc = policy_parse(field, is, &r->policy, e);
    if (rc == 0 && r->policy == POLICY_SOURCE_OF_TRUTH)
        rc = rule_ranks(m, r, json_object_get(decl, "ranks"), e);
    if (rc != 0)
        return rc;
    rc = json_get_string(decl, "fallback", &fallback, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = policy_parse(field, fallback, &r->fallback, e);
    if (rc == 0 && (r->fallback == POLICY_SOURCE_OF_TRUTH || r->fallback == POLICY_MANUAL))
        rc = err_field(e, ERR_INVALID, field, "'%s' cannot be a fallback", fallback);
    return rc;
}

static int model_rules(struct canon_model *m, const json_t *o, struct err *e)
{
    size_t n = json_object_size(o);
    if (o != NULL && (!json_is_object(o) || n > MODEL_POLICIES_MAX))
        return err_field(e, ERR_INVALID, "policy",
                         "canon '%s': policy must be a table of at most %d", m->name,
                         MODEL_POLICIES_MAX);
    m->rules = mem_new_array(n + 1, sizeof *m->rules);
    const char *field;
    json_t *decl;
    json_object_foreach((json_t *)o, field, decl)
    {
        if (model_rule(m, field, decl, e) != 0)
            return err_context(e, "canon '%s': policy of '%s'", m->name, field);
    }
    return 0;
}

/* A block is compared as a whole, so a policy that orders or joins single values has no meaning for
 * it. */
static bool policy_suits_group(enum canon_policy p)
{
    switch (p) {
    case POLICY_LATEST:
    case POLICY_FIRST:
    case POLICY_SOURCE_OF_TRUTH:
    case POLICY_MOST_COMPLETE:
    case POLICY_MAJORITY:
    case POLICY_MANUAL:
        return true;
    case POLICY_MIN:
    case POLICY_MAX:
    case POLICY_LONGEST:
    case POLICY_UNION:
    case POLICY_COUNT:
        return false;
    }
    return false;
}

static int model_group(struct canon_model *m, const char *name, const json_t *list, struct err *e)
{
    size_t n = json_array_size(list);
    struct canon_group *g = &m->groups[m->groups_count++];
    g->name = mem_strdup(name);
    if (n == 0 || n > MODEL_GROUP_FIELDS_MAX)
        return err_field(e, ERR_INVALID, name, "a group must list 1 to %d fields",
                         MODEL_GROUP_FIELDS_MAX);
    g->fields = mem_new_array(n, sizeof *g->fields);
    for (size_t i = 0; i < n; i++) {
        const char *field = json_string_value(json_array_get(list, i));
        if (field == NULL)
            return err_field(e, ERR_INVALID, name, "a group must list names of fields");
        if (canon_model_group_of(m, field) != NULL)
            return err_field(e, ERR_INVALID, field, "field '%s' is in two groups", field);
        if (canon_model_rule(m, field) != NULL && strcmp(field, name) != 0)
            return err_field(e, ERR_INVALID, field,
                             "field '%s' is in group '%s' and has a policy of its own; put the "
                             "policy under the group's name",
                             field, name);
        g->fields[g->fields_count++] = mem_strdup(field);
    }
    g->rule = canon_model_rule(m, name);
    if (g->rule != NULL &&
        (!policy_suits_group(g->rule->policy) || !policy_suits_group(g->rule->fallback)))
        return err_field(e, ERR_INVALID, name, "policy '%s' does not work on a group",
                         canon_policy_name(g->rule->policy));
    return 0;
}

static int model_groups(struct canon_model *m, const json_t *o, struct err *e)
{
    size_t n = json_object_size(o);
    if (o != NULL && (!json_is_object(o) || n > MODEL_GROUPS_MAX))
        return err_field(e, ERR_INVALID, "group", "canon '%s': group must be a table of at most %d",
                         m->name, MODEL_GROUPS_MAX);
    m->groups = mem_new_array(n + 1, sizeof *m->groups);
    const char *name;
    json_t *list;
    json_object_foreach((json_t *)o, name, list)
    {
        if (model_group(m, name, list, e) != 0)
            return err_context(e, "canon '%s': group '%s'", m->name, name);
    }
    return 0;
}

static int model_stages(struct canon_model *m, const json_t *list, struct err *e)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        size_t at = 0;
        while (at < ARRAY_LEN(stage_names) && (!name || strcmp(name, stage_names[at]) != 0))
            at++;
        if (at == ARRAY_LEN(stage_names))
            return err_field(e, ERR_INVALID, "stages",
                             "canon '%s': no stage '%s': there are intake, validate, project",
                             m->name, name ? name : "?");
        m->stages[at] = true;
    }
    return 0;
}

static int model_collision(struct canon_model *m, const json_t *o, struct err *e)
{
    const char *how = NULL;
    int rc = json_get_string(o, "on_collision", &how, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0 && strcmp(how, "park") != 0 && strcmp(how, "merge") != 0)
        rc = err_field(e, ERR_INVALID, "on_collision",
                       "canon '%s': on_collision is 'merge' or 'park', not '%s'", m->name, how);
    if (rc == 0)
        m->park_collisions = strcmp(how, "park") == 0;
    return rc;
}

/* What later versions of Koan will do; a model that asks for it must not be half obeyed today. */
static int model_refuse_unsupported(const json_t *o, const char *name, struct err *e)
{
    static const char *const later[] = {"match", "decisions", "pins"};
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (json_object_get(o, later[i]) != NULL)
            return err_field(e, ERR_UNSUPPORTED, later[i],
                             "canon '%s': '%s' is not in this version of koan; remove it", name,
                             later[i]);
    return 0;
}

static int model_fill(struct canon_model *m, const json_t *o, struct err *e)
{
    static const char *const names[] = {"name",   "sources", "keys",  "on_collision",
                                        "policy", "group",   "stages"};
    int rc = model_refuse_unsupported(o, m->name, e);
    if (rc == 0)
        rc = json_only_keys(o, "canon", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = model_sources(m, json_object_get(o, "sources"), e);
    if (rc == 0)
        rc = model_keys(m, json_object_get(o, "keys"), e);
    if (rc == 0)
        rc = model_rules(m, json_object_get(o, "policy"), e);
    if (rc == 0)
        rc = model_groups(m, json_object_get(o, "group"), e);
    if (rc == 0)
        rc = model_stages(m, json_object_get(o, "stages"), e);
    if (rc == 0)
        rc = model_collision(m, o, e);
    return rc;
}

int canon_model_parse(const json_t *definition, struct canon_model **out, struct err *e)
{
    const char *name;
    if (!json_is_object(definition) || json_get_string(definition, "name", &name, e) != 0)
        return err_field(e, ERR_INVALID, "name", "a canon model must be an object with a name");
    int rc = str_check_name(name, "canon", e);
    if (rc != 0)
        return rc;
    struct canon_model *m = mem_new(sizeof *m);
    atomic_init(&m->refs, 1);
    m->name = mem_strdup(name);
    AUTO(buf_fini) struct buf text = BUF_INIT(CANON_BODY_MAX);
    rc = model_fill(m, definition, e);
    if (rc == 0)
        rc = json_print_sorted(definition, &text, e);
    if (rc != 0) {
        canon_model_unref(m);
        return rc;
    }
    m->hash = hash64(0, buf_str(&text), text.len);
    m->text = buf_take(&text);
    *out = m;
    return 0;
}

const char *canon_model_name(const struct canon_model *m)
{
    return m->name;
}

uint64_t canon_model_hash(const struct canon_model *m)
{
    return m->hash;
}

bool canon_model_has_intake(const struct canon_model *m)
{
    return m->stages[CANON_INTAKE];
}

struct canon_model *canon_model_ref(struct canon_model *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

static void model_free_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(names[i]);
    mem_free(names);
}

void canon_model_unref(struct canon_model *m)
{
    if (m == NULL || atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    for (size_t i = 0; i < m->sources_count; i++)
        mem_free(m->sources[i].origin);
    for (size_t i = 0; i < m->keys_count; i++) {
        for (size_t k = 0; k < m->keys[i].parts_count; k++)
            mem_free(m->keys[i].parts[k].field);
        mem_free(m->keys[i].name);
    }
    for (size_t i = 0; i < m->rules_count; i++) {
        model_free_names(m->rules[i].ranks, m->rules[i].ranks_count);
        mem_free(m->rules[i].name);
    }
    for (size_t i = 0; i < m->groups_count; i++) {
        model_free_names(m->groups[i].fields, m->groups[i].fields_count);
        mem_free(m->groups[i].name);
    }
    mem_free(m->sources);
    mem_free(m->keys);
    mem_free(m->rules);
    mem_free(m->groups);
    mem_free(m->text);
    mem_free(m->name);
    mem_free(m);
}

int canon_model_rank(const struct canon_model *m, const char *origin)
{
    for (size_t i = 0; i < m->sources_count; i++)
        if (strcmp(m->sources[i].origin, origin) == 0)
            return m->sources[i].rank;
    return CANON_RANK_NONE;
}

bool canon_model_has_source(const struct canon_model *m, const char *origin)
{
    for (size_t i = 0; i < m->sources_count; i++)
        if (strcmp(m->sources[i].origin, origin) == 0)
            return true;
    return false;
}

const struct canon_rule *canon_model_rule(const struct canon_model *m, const char *field)
{
    for (size_t i = 0; i < m->rules_count; i++)
        if (strcmp(m->rules[i].name, field) == 0)
            return &m->rules[i];
    return NULL;
}

const struct canon_group *canon_model_group_of(const struct canon_model *m, const char *field)
{
    for (size_t i = 0; i < m->groups_count; i++)
        for (size_t k = 0; k < m->groups[i].fields_count; k++)
            if (strcmp(m->groups[i].fields[k], field) == 0)
                return &m->groups[i];
    return NULL;
}
