/* One field of a definition, from JSON and back. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/decimal.h"
#include "entity/def_priv.h"
#include "entity/doc.h"
#include "entity/pattern.h"

#define BIT(k) (1U << (k))

enum {
    TEXTS = BIT(KIND_TEXT) | BIT(KIND_EMAIL) | BIT(KIND_URL),
    SIZED = BIT(KIND_TEXT) | BIT(KIND_BYTES) | BIT(KIND_LIST) | BIT(KIND_MAP),
    NUMBERS = BIT(KIND_INT) | BIT(KIND_NUMBER) | BIT(KIND_DECIMAL),
    TIMES = BIT(KIND_TIME) | BIT(KIND_DATE),
    INDEXABLE = BIT(KIND_CHOICE + 1) - 1,
    ANY = BIT(KIND_COUNT) - 1,
};

/* Which option fits which kinds. index and unique are read by def.c. */
static const struct {
    const char *name;
    uint32_t kinds;
    bool outermost; /* not inside `of` */
} options[] = {
    {"kind", ANY, false},
    {"required", ANY, true},
    {"search", TEXTS | BIT(KIND_CHOICE), true},
    {"default", ANY, true},
    {"unique", INDEXABLE & ~BIT(KIND_BOOL), true},
    {"index", INDEXABLE, true},
    {"min", SIZED | NUMBERS | TIMES, false},
    {"max", SIZED | NUMBERS | TIMES, false},
    {"pattern", TEXTS, false},
    {"choices", BIT(KIND_CHOICE), false},
    {"of", BIT(KIND_LIST) | BIT(KIND_MAP), false},
    {"to", BIT(KIND_REF), false},
    {"on_remove", BIT(KIND_REF), false},
    {"check", BIT(KIND_REF), false},
    {"inverse", BIT(KIND_REF), false},
};

static const char *const later_options[] = {"sealed", "with", "history", "view", "access"};
static const char *const later_kinds[] = {"blob"};
static const char *const on_remove_names[] = {[REF_RESTRICT] = "restrict",
                                              [REF_NULL] = "null",
                                              [REF_CASCADE] = "cascade",
                                              [REF_NONE] = "none"};

static bool is_among(const char *s, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(s, names[i]) == 0)
            return true;
    }
    return false;
}

/* The kinds of a bit set, for messages. */
static void kinds_text(uint32_t kinds, char *out, size_t cap)
{
    size_t n = 0;
    *out = '\0';
    for (int k = 0; k < KIND_COUNT && n < cap; k++) {
        if (kinds & BIT(k))
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n > 0 ? ", " : "",
                                  entity_kind_name((enum entity_kind)k));
    }
}

static int option_check(const char *key, enum entity_kind kind, int depth, struct err *e)
{
    const char *names[ARRAY_LEN(options)];
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        names[i] = options[i].name;
        if (strcmp(key, options[i].name) != 0)
            continue;
        if (depth > 0 && options[i].outermost)
            return err_set(e, ERR_INVALID, "option '%s' has no place inside 'of'", key);
        if (options[i].kinds & BIT(kind))
            return 0;
        char kinds[160];
        kinds_text(options[i].kinds, kinds, sizeof(kinds));
        return err_set(e, ERR_INVALID, "option '%s' does not fit kind %s, only: %s", key,
                       entity_kind_name(kind), kinds);
    }
    if (is_among(key, later_options, ARRAY_LEN(later_options)))
        return err_set(e, ERR_UNSUPPORTED,
                       "option '%s' is not there yet in this version; take it out", key);
    const char *near = str_nearest(key, names, ARRAY_LEN(names));
    return err_set(e, ERR_INVALID, "there is no option '%.64s'%s%s%s", key,
                   near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                   near != NULL ? "'?" : "");
}

static int parse_kind(const json_t *j, enum entity_kind *out, struct err *e)
{
    const char *name;
    int rc = json_get_string(j, "kind", &name, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_INVALID, "has no kind; say \"kind\": \"text\" or another");
    if (rc < 0)
        return rc;
    *out = entity_kind_by_name(name);
    if (*out != KIND_COUNT)
        return 0;
    if (is_among(name, later_kinds, ARRAY_LEN(later_kinds)))
        return err_set(e, ERR_UNSUPPORTED, "kind '%s' is not there yet in this version", name);
    const char *near = str_nearest(name, entity_kind_names(), KIND_COUNT);
    char all[200];
    kinds_text(ANY, all, sizeof(all));
    return near != NULL
               ? err_set(e, ERR_INVALID, "there is no kind '%.64s'; did you mean '%s'?", name, near)
               : err_set(e, ERR_INVALID, "there is no kind '%.64s'; kinds are %s", name, all);
}

/* min or max as text that compares like the values: decimal keys, times, dates. */
static int bound_text(const struct entity_field *f, const char *which, const json_t *v, char **out,
                      struct err *e)
{
    struct entity_field plain = {.kind = f->kind};
    AUTO(json_unref) json_t *value = entity_operand_check(&plain, v, e);
    if (value == NULL)
        return err_context(e, "option '%s'", which);
    *out = mem_strdup(json_string_value(value));
    return 0;
}

static int parse_bound(struct entity_field *f, const char *which, const json_t *v, struct err *e)
{
    bool is_min = which[1] == 'i';
    *(is_min ? &f->has_min : &f->has_max) = true;
    if (BIT(f->kind) & (TIMES | BIT(KIND_DECIMAL)))
        return bound_text(f, which, v, is_min ? &f->min_text : &f->max_text, e);
    if (f->kind == KIND_NUMBER) {
        if (!json_is_number(v))
            return err_set(e, ERR_INVALID, "option '%s' wants a number", which);
        *(is_min ? &f->min_number : &f->max_number) = json_number_value(v);
        return 0;
    }
    if (!json_is_integer(v))
        return err_set(e, ERR_INVALID, "option '%s' wants a whole number", which);
    int64_t n = json_integer_value(v);
    if ((BIT(f->kind) & SIZED) && (n < 0 || n > ENTITY_RECORD_BYTES_MAX))
        return err_set(e, ERR_INVALID, "option '%s' is a size: 0 to %d", which,
                       ENTITY_RECORD_BYTES_MAX);
    *(is_min ? &f->min_int : &f->max_int) = n;
    return 0;
}

static int bounds_check(const struct entity_field *f, struct err *e)
{
    if (!f->has_min || !f->has_max)
        return 0;
    bool crossed = f->min_text != NULL      ? strcmp(f->min_text, f->max_text) > 0
                   : f->kind == KIND_NUMBER ? f->min_number > f->max_number
                                            : f->min_int > f->max_int;
    return crossed ? err_set(e, ERR_INVALID, "min is more than max, so no value fits") : 0;
}

static int parse_pattern(struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "option 'pattern' wants text");
    f->pattern_text = mem_strdup(json_string_value(v));
    return pattern_new(f->pattern_text, &f->pattern, e);
}

static int parse_choices(struct entity_field *f, const json_t *v, struct err *e)
{
    size_t n = json_array_size(v);
    if (n == 0 || n > ENTITY_CHOICES_MAX)
        return err_set(e, ERR_INVALID, "option 'choices' wants a list of 1 to %d texts",
                       ENTITY_CHOICES_MAX);
    f->choices = mem_new_array(n, sizeof(*f->choices));
    for (size_t i = 0; i < n; i++) {
        const json_t *c = json_array_get(v, i);
        if (!json_is_string(c) || json_string_length(c) == 0 || json_string_length(c) > 256)
            return err_set(e, ERR_INVALID, "choice %zu wants text of 1 to 256 bytes", i + 1);
        const char *s = json_string_value(c);
        if (is_among(s, (const char *const *)f->choices, f->choices_count))
            return err_set(e, ERR_INVALID, "choice '%.64s' stands there twice", s);
        f->choices[f->choices_count++] = mem_strdup(s);
    }
    return 0;
}

static int parse_of(struct entity_field *f, const json_t *v, int depth, struct err *e)
{
    if (depth + 1 >= ENTITY_OF_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "option 'of' is nested deeper than %d", ENTITY_OF_DEPTH_MAX);
    AUTO(json_unref) json_t *named = json_is_string(v) ? json_object() : NULL;
    if (named != NULL)
        json_object_set(named, "kind", (json_t *)v);
    f->of = mem_new(sizeof(*f->of));
    int rc = entity_field_parse("", named != NULL ? named : v, depth + 1, f->of, e);
    return rc < 0 ? err_context(e, "option 'of'") : 0;
}

static int parse_on_remove(struct entity_field *f, const json_t *v, struct err *e)
{
    const char *s = json_is_string(v) ? json_string_value(v) : "";
    for (size_t i = 0; i < ARRAY_LEN(on_remove_names); i++) {
        f->on_remove = (enum entity_on_remove)i;
        if (strcmp(s, on_remove_names[i]) == 0)
            return 0;
    }
    return err_set(e, ERR_INVALID, "option 'on_remove' is restrict, null, cascade or none");
}

static int parse_name(const char *option, const json_t *v, char out[ENTITY_NAME_MAX + 1],
                      struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "option '%s' wants a name", option);
    int rc = str_check_name(json_string_value(v), option, e);
    if (rc == 0)
        snprintf(out, ENTITY_NAME_MAX + 1, "%s", json_string_value(v));
    return rc;
}

static int parse_check(struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_boolean(v))
        return err_set(e, ERR_INVALID, "option 'check' wants true or false");
    f->unchecked = json_is_false(v);
    return 0;
}

static int ref_check(const struct entity_field *f, int depth, struct err *e)
{
    if (f->kind != KIND_REF)
        return 0;
    if (depth > 1)
        return err_set(e, ERR_INVALID,
                       "a ref has no place that deep; a field is a ref or a list of refs");
    if (f->to[0] == '\0')
        return err_set(e, ERR_INVALID,
                       "kind ref wants option 'to': the entity whose records it names");
    if (f->required && f->on_remove == REF_NULL)
        return err_set(e, ERR_INVALID,
                       "is required, so the removal of its target cannot null it; say on_remove "
                       "restrict or cascade");
    return 0;
}

/* A list of refs, and what its declaration says besides. */
static int ref_list_check(const struct entity_field *f, struct err *e)
{
    if (f->of == NULL || f->of->kind != KIND_REF)
        return 0;
    if (f->kind == KIND_MAP)
        return err_set(e, ERR_INVALID, "a map holds no refs; a list does: list { of = ref .. }");
    if (f->of->on_remove == REF_NULL && f->has_min && f->min_int > 0)
        return err_set(e, ERR_INVALID,
                       "has a min, so the removal of a target cannot take it out of the list; say "
                       "on_remove restrict, cascade or none");
    return 0;
}

static int parse_default(struct entity_field *f, const json_t *v, struct err *e)
{
    if (json_is_null(v))
        return 0;
    AUTO(json_unref) json_t *value = entity_value_check(f, v, e);
    if (value == NULL)
        return err_context(e, "option 'default'");
    AUTO(buf_fini) struct buf text = BUF_INIT(ENTITY_RECORD_BYTES_MAX);
    int rc = json_print(value, &text, e);
    if (rc == 0)
        f->default_json = buf_take(&text);
    return rc;
}

static int parse_option(struct entity_field *f, const char *key, const json_t *v, int depth,
                        struct err *e)
{
    if (strcmp(key, "min") == 0 || strcmp(key, "max") == 0)
        return parse_bound(f, key, v, e);
    if (strcmp(key, "pattern") == 0)
        return parse_pattern(f, v, e);
    if (strcmp(key, "choices") == 0)
        return parse_choices(f, v, e);
    if (strcmp(key, "of") == 0)
        return parse_of(f, v, depth, e);
    if (strcmp(key, "to") == 0)
        return parse_name(key, v, f->to, e);
    if (strcmp(key, "inverse") == 0)
        return parse_name(key, v, f->inverse, e);
    if (strcmp(key, "on_remove") == 0)
        return parse_on_remove(f, v, e);
    if (strcmp(key, "check") == 0)
        return parse_check(f, v, e);
    if (strcmp(key, "required") == 0) {
        if (!json_is_boolean(v))
            return err_set(e, ERR_INVALID, "option 'required' wants true or false");
        f->required = json_is_true(v);
    }
    if (strcmp(key, "search") == 0) {
        if (!json_is_boolean(v))
            return err_set(e, ERR_INVALID, "option 'search' wants true or false");
        f->search = json_is_true(v);
    }
    return 0; /* kind is known, index and unique are the definition's, default comes last */
}

int entity_field_parse(const char *name, const json_t *j, int depth, struct entity_field *out,
                       struct err *e)
{
    snprintf(out->name, sizeof(out->name), "%s", name);
    if (!json_is_object(j))
        return err_set(e, ERR_INVALID, "wants {\"kind\": ...}, got %s", json_type_name(j));
    int rc = parse_kind(j, &out->kind, e);
    if (rc < 0)
        return rc;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        if ((rc = option_check(key, out->kind, depth, e)) < 0 ||
            (rc = parse_option(out, key, v, depth, e)) < 0)
            return rc;
    }
    if (out->kind == KIND_CHOICE && out->choices == NULL)
        return err_set(e, ERR_INVALID, "kind choice wants option 'choices': [\"a\", \"b\"]");
    if ((rc = bounds_check(out, e)) < 0 || (rc = ref_check(out, depth, e)) < 0 ||
        (rc = ref_list_check(out, e)) < 0)
        return rc;
    v = json_object_get(j, "default");
    return v != NULL ? parse_default(out, v, e) : 0;
}

void entity_field_fini(struct entity_field *f)
{
    mem_free(f->min_text);
    mem_free(f->max_text);
    mem_free(f->default_json);
    mem_free(f->pattern_text);
    pattern_free(f->pattern);
    for (size_t i = 0; i < f->choices_count; i++)
        mem_free(f->choices[i]);
    mem_free(f->choices);
    if (f->of != NULL) {
        entity_field_fini(f->of);
        mem_free(f->of);
    }
}

/* The bound as it can be read again: a decimal key is not, so it is turned back. */
static json_t *bound_json(const struct entity_field *f, bool is_min)
{
    if (f->kind == KIND_NUMBER)
        return json_real(is_min ? f->min_number : f->max_number);
    const char *text = is_min ? f->min_text : f->max_text;
    if (text == NULL)
        return json_integer(is_min ? f->min_int : f->max_int);
    if (f->kind != KIND_DECIMAL)
        return json_string(text);
    char normal[DECIMAL_TEXT];
    decimal_from_key(text, normal);
    return json_string(normal);
}

json_t *entity_field_json(const struct entity_field *f)
{
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(entity_kind_name(f->kind)));
    if (f->required)
        json_object_set_new(o, "required", json_true());
    if (f->search)
        json_object_set_new(o, "search", json_true());
    if (f->default_json != NULL)
        json_object_set_new(o, "default",
                            json_read(f->default_json, strlen(f->default_json), NULL));
    if (f->has_min)
        json_object_set_new(o, "min", bound_json(f, true));
    if (f->has_max)
        json_object_set_new(o, "max", bound_json(f, false));
    if (f->pattern_text != NULL)
        json_object_set_new(o, "pattern", json_string(f->pattern_text));
    if (f->choices != NULL) {
        json_t *a = json_array();
        for (size_t i = 0; i < f->choices_count; i++)
            json_array_append_new(a, json_string(f->choices[i]));
        json_object_set_new(o, "choices", a);
    }
    if (f->of != NULL)
        json_object_set_new(o, "of", entity_field_json(f->of));
    if (f->kind != KIND_REF)
        return o;
    json_object_set_new(o, "to", json_string(f->to));
    json_object_set_new(o, "on_remove", json_string(on_remove_names[f->on_remove]));
    if (f->unchecked)
        json_object_set_new(o, "check", json_false());
    if (f->inverse[0] != '\0')
        json_object_set_new(o, "inverse", json_string(f->inverse));
    return o;
}
