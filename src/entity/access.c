/* Who may: access = { read = "public", write = "signed-in" }.
 *
 * Terms stand side by side with `|` between them; one that holds is enough. What this version can
 * decide is who brought the node's token. Roles, scopes and owners need users, so a term that names
 * them is refused: ignoring it would let in too many, or nobody. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/def_priv.h"

static const char *const verb_names[ACCESS_VERBS] = {"read", "write", "remove"};
static const char *const term_names[] = {"public", "signed-in", "role:NAME", "scope:NAME", "owner"};

static bool needs_users(const char *term)
{
    return str_starts(term, "role:") || str_starts(term, "scope:") || strcmp(term, "owner") == 0;
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = '\0';
    return s;
}

static int parse_term(const char *term, enum entity_access *out, struct err *e)
{
    if (strcmp(term, "public") == 0) {
        *out = ACCESS_PUBLIC;
        return 0;
    }
    if (strcmp(term, "signed-in") == 0) {
        if (*out != ACCESS_PUBLIC)
            *out = ACCESS_SIGNED_IN;
        return 0;
    }
    if (needs_users(term))
        return err_set(
            e, ERR_UNSUPPORTED,
            "'%.80s' needs users and roles, which are not there yet in this version; what "
            "can be said is 'public' and 'signed-in' (whoever brings the token)",
            term);
    const char *near = str_nearest(term, term_names, ARRAY_LEN(term_names));
    return err_set(e, ERR_INVALID, "there is no access term '%.80s'%s%s%s", term,
                   near != NULL ? "; did you mean '" : "; terms are public, signed-in",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
}

static int parse_terms(const json_t *v, enum entity_access *out, struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "wants text like \"signed-in\", got %s", json_type_name(v));
    AUTO(mem_freep) char *copy = mem_strdup(json_string_value(v));
    char *rest = copy, *word;
    while ((word = strsep(&rest, "|")) != NULL) {
        int rc = parse_term(trim(word), out, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int entity_access_parse(struct entity_def *d, const json_t *j, struct err *e)
{
    const json_t *access = json_object_get(j, "access");
    if (access == NULL || json_is_null(access))
        return 0;
    if (!json_is_object(access))
        return err_set(e, ERR_INVALID, "'access' wants { read = .., write = .., remove = .. }");
    int rc = json_only_keys(access, "access", verb_names, ACCESS_VERBS, e);
    for (int i = 0; i < ACCESS_VERBS && rc == 0; i++) {
        const json_t *v = json_object_get(access, verb_names[i]);
        if (v != NULL && (rc = parse_terms(v, &d->access[i], e)) < 0)
            err_context(e, "access.%s", verb_names[i]);
    }
    return rc;
}

json_t *entity_access_json(const struct entity_def *d)
{
    json_t *o = json_object();
    for (int i = 0; i < ACCESS_VERBS; i++) {
        if (d->access[i] != ACCESS_UNSAID)
            json_object_set_new(
                o, verb_names[i],
                json_string(d->access[i] == ACCESS_PUBLIC ? "public" : "signed-in"));
    }
    if (json_object_size(o) > 0)
        return o;
    json_decref(o);
    return NULL;
}
