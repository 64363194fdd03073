#include "support/filter_oracle.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VALUES_MAX = 256, TEXT_MAX = 4096 };

/* What a path leads to in one record. `whole`: what stands there, a list as one value. `each`: the
 * same with every list replaced by its elements. Null and absent values are in neither. */
struct found {
    const json_t *whole[VALUES_MAX], *each[VALUES_MAX];
    size_t wholes, eaches;
    char kind[16]; /* of the elements: "json" where anything may stand */
    bool is_list;  /* declared as one */
};

static const char *kind_of(const json_t *field)
{
    const char *kind = json_string_value(json_object_get(field, "kind"));
    return kind != NULL ? kind : "json";
}

static bool is_kind(const json_t *field, const char *kind)
{
    return strcmp(kind_of(field), kind) == 0;
}

/* The declaration of an element; a list of lists is looked through to the bottom. NULL: anything.
 */
static const json_t *element_of(const json_t *field)
{
    while (field != NULL && is_kind(field, "list"))
        field = json_object_get(field, "of");
    return field != NULL && is_kind(field, "json") ? NULL : field;
}

static void add_each(struct found *f, const json_t *v, const json_t *field)
{
    if (v == NULL || json_is_null(v))
        return;
    size_t i;
    json_t *item;
    if (!json_is_array(v)) {
        f->each[f->eaches++] = v;
        return;
    }
    const json_t *of =
        field != NULL && is_kind(field, "list") ? json_object_get(field, "of") : NULL;
    json_array_foreach(v, i, item)
    {
        if (of != NULL && is_kind(of, "list"))
            add_each(f, item, of);
        else if (!json_is_null(item))
            f->each[f->eaches++] = item; /* a list in a list of anything stays one value */
    }
}

static const json_t *member_field(const json_t *field)
{
    static json_t *part;
    if (field == NULL || is_kind(field, "json"))
        return NULL;
    if (is_kind(field, "geo")) {
        if (part == NULL)
            part = json_pack("{s:s}", "kind", "number");
        return part;
    }
    return json_object_get(field, "of"); /* of a map */
}

static void walk(struct found *f, const json_t *v, const json_t *field, const char *rest)
{
    if (v == NULL || json_is_null(v))
        return;
    if (*rest == '\0') {
        f->whole[f->wholes++] = v;
        add_each(f, v, field);
        return;
    }
    /* There is more to the path: a list here means any of its elements. */
    struct found here = {.wholes = 0};
    add_each(&here, v, field);
    const json_t *inner = element_of(field);
    char key[TEXT_MAX];
    size_t n = strcspn(rest, ".");
    snprintf(key, sizeof key, "%.*s", (int)n, rest);
    for (size_t i = 0; i < here.eaches; i++)
        walk(f, json_object_get(here.each[i], key), member_field(inner),
             rest + n + (rest[n] == '.'));
}

/* The declaration at the end of the path. */
static const json_t *declared(const json_t *field, const char *rest)
{
    while (*rest != '\0') {
        size_t n = strcspn(rest, ".");
        field = member_field(element_of(field));
        rest += n + (rest[n] == '.');
    }
    return field;
}

static void find(const json_t *fields, const json_t *record, const char *path, struct found *f)
{
    char key[TEXT_MAX], rest[TEXT_MAX];
    size_t n = strcspn(path, ".");
    snprintf(key, sizeof key, "%.*s", (int)n, path);
    snprintf(rest, sizeof rest, "%s", path + n + (path[n] == '.'));
    f->wholes = f->eaches = 0;
    const json_t *field = json_object_get(fields, key);
    const json_t *end = field != NULL ? declared(field, rest) : NULL;
    const json_t *leaf = end != NULL ? element_of(end) : NULL;
    f->is_list = end != NULL && is_kind(end, "list");
    snprintf(f->kind, sizeof f->kind, "%s", leaf != NULL ? kind_of(leaf) : "json");
    if (field == NULL) /* what every record has */
        snprintf(f->kind, sizeof f->kind, "%s",
                 strstr(key, "_at") != NULL    ? "time"
                 : strcmp(key, "version") == 0 ? "int"
                                               : "text");
    walk(f, json_object_get(record, key), field, rest);
}

/* ---- two values ---- */

static long double number_of(const json_t *v)
{
    /* 64 bits of mantissa: exact for integers and doubles alike. */
    return json_is_integer(v) ? (long double)json_integer_value(v)
                              : (long double)json_real_value(v);
}

/* Exact comparison of decimal texts, digit by digit. */
static int compare_decimals(const char *a, const char *b)
{
    char x[128], y[128];
    const char *in[2] = {a, b};
    char *out[2] = {x, y};
    bool minus[2], zero[2];
    for (int k = 0; k < 2; k++) {
        const char *s = in[k];
        minus[k] = *s == '-';
        s += *s == '-' || *s == '+';
        size_t whole = strcspn(s, ".");
        const char *fraction = s[whole] == '.' ? s + whole + 1 : "";
        /* 60 digits before the point, 60 behind it. */
        memset(out[k], '0', 120);
        out[k][120] = '\0';
        memcpy(out[k] + 60 - whole, s, whole);
        memcpy(out[k] + 60, fraction, strlen(fraction));
        zero[k] = strspn(out[k], "0") == 120;
        minus[k] = minus[k] && !zero[k];
    }
    if (minus[0] != minus[1])
        return minus[0] ? -1 : 1;
    int c = strcmp(x, y);
    return minus[0] ? -c : c;
}

static long long milliseconds(const char *s)
{
    struct tm tm = {.tm_mday = 1};
    int ms = 0, hours = 0, minutes = 0;
    const char *rest = strptime(s, "%Y-%m-%d", &tm);
    if (rest != NULL && *rest == 'T')
        rest = strptime(rest, "T%H:%M:%S", &tm);
    if (rest != NULL && *rest == '.')
        ms = (int)strtol(rest + 1, (char **)&rest, 10);
    int sign = rest != NULL && *rest == '-' ? -1 : 1;
    if (rest != NULL && (*rest == '+' || *rest == '-'))
        sscanf(rest + 1, "%d:%d", &hours, &minutes);
    return ((long long)timegm(&tm) - sign * (hours * 3600 + minutes * 60)) * 1000 + ms;
}

static bool is_text_kind(const char *kind)
{
    return strcmp(kind, "text") == 0 || strcmp(kind, "email") == 0 || strcmp(kind, "url") == 0 ||
           strcmp(kind, "choice") == 0 || strcmp(kind, "json") == 0;
}

static void text_of(const json_t *v, bool fold, char out[TEXT_MAX])
{
    snprintf(out, TEXT_MAX, "%s", json_string_value(v));
    for (char *p = out; fold && *p != '\0'; p++)
        *p = (char)((unsigned char)*p < 128 ? tolower((unsigned char)*p) : *p);
}

/* false: they cannot be compared, so no comparison holds. */
static bool compare(const char *kind, bool fold, const json_t *a, const json_t *b, int *out)
{
    if (strcmp(kind, "decimal") == 0) {
        char x[64], y[64];
        snprintf(x, sizeof x, "%s", json_string_value(a));
        if (json_is_integer(b))
            snprintf(y, sizeof y, "%lld", (long long)json_integer_value(b));
        else
            snprintf(y, sizeof y, "%s", json_string_value(b));
        *out = compare_decimals(x, y);
        return true;
    }
    if (json_is_number(a) && json_is_number(b)) {
        long double x = number_of(a), y = number_of(b);
        *out = (x > y) - (x < y);
        return true;
    }
    if (json_is_boolean(a) && json_is_boolean(b)) {
        *out = (int)json_is_true(a) - (int)json_is_true(b);
        return true;
    }
    if (!json_is_string(a) || !json_is_string(b))
        return false;
    if (strcmp(kind, "time") == 0) {
        long long x = milliseconds(json_string_value(a)), y = milliseconds(json_string_value(b));
        *out = (x > y) - (x < y);
        return true;
    }
    char x[TEXT_MAX], y[TEXT_MAX];
    /* Hexadecimal digits of a UUID mean the same in either case. */
    bool either = strcmp(kind, "uuid") == 0;
    text_of(a, either || (fold && is_text_kind(kind)), x);
    text_of(b, either || (fold && is_text_kind(kind)), y);
    *out = strcmp(x, y);
    return true;
}

static bool same(const char *kind, bool fold, const json_t *a, const json_t *b)
{
    int c;
    return compare(kind, fold, a, b, &c) && c == 0;
}

/* Lists as wholes: the same elements in the same order. */
static bool same_list(const char *kind, bool fold, const json_t *a, const json_t *b)
{
    if (!json_is_array(a) || json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        if (json_is_array(y) ? !same_list(kind, fold, x, y) : !same(kind, fold, x, y))
            return false;
    }
    return true;
}

/* ---- operators ---- */

static bool equals(const struct found *f, bool fold, const json_t *operand)
{
    if (json_is_null(operand))
        return f->wholes == 0;
    for (size_t i = 0; i < f->wholes && json_is_array(operand); i++) {
        if (same_list(f->kind, fold, f->whole[i], operand))
            return true;
    }
    for (size_t i = 0; i < f->eaches; i++) {
        if (same(f->kind, fold, f->each[i], operand))
            return true;
    }
    return false;
}

/* A bare text with a star at its ends. */
static bool wildcard(const struct found *f, bool fold, const char *pattern)
{
    char part[TEXT_MAX], text[TEXT_MAX];
    size_t n = 0;
    bool open_start = *pattern == '*', open_end = false;
    for (const char *p = pattern + open_start; *p != '\0'; p++) {
        if (p[0] == '\\' && p[1] == '*')
            part[n++] = *++p;
        else if (*p == '*')
            open_end = true; /* at the end: the parser took it */
        else
            part[n++] = *p;
    }
    part[n] = '\0';
    json_t *operand = json_string(part);
    text_of(operand, fold, part);
    json_decref(operand);
    for (size_t i = 0; i < f->eaches; i++) {
        if (!json_is_string(f->each[i]))
            continue;
        text_of(f->each[i], fold, text);
        size_t len = strlen(text);
        for (size_t at = 0; len >= n && at <= len - n; at++) {
            if (memcmp(text + at, part, n) == 0 && (at == 0 || open_start) &&
                (at + n == len || open_end))
                return true;
        }
    }
    return false;
}

static bool bare(const struct found *f, bool fold, const json_t *operand)
{
    if (json_is_string(operand) && is_text_kind(f->kind) &&
        strchr(json_string_value(operand), '*') != NULL)
        return wildcard(f, fold, json_string_value(operand));
    return equals(f, fold, operand);
}

static bool ordered(const struct found *f, bool fold, const json_t *operand, int least,
                    int greatest)
{
    int c;
    for (size_t i = 0; i < f->eaches; i++) {
        if (!json_is_null(operand) && compare(f->kind, fold, f->each[i], operand, &c)) {
            c = (c > 0) - (c < 0);
            if (c >= least && c <= greatest)
                return true;
        }
    }
    return false;
}

static bool between(const struct found *f, bool fold, const json_t *least, const json_t *greatest)
{
    int a, b;
    for (size_t i = 0; i < f->eaches; i++) {
        if (!json_is_null(least) && !json_is_null(greatest) &&
            compare(f->kind, fold, f->each[i], least, &a) &&
            compare(f->kind, fold, f->each[i], greatest, &b) && a >= 0 && b <= 0)
            return true;
    }
    return false;
}

static bool overlaps(const struct found *f, bool fold, const json_t *operands)
{
    size_t i;
    json_t *item;
    json_array_foreach(operands, i, item)
    {
        if (!json_is_null(item) && equals(f, fold, item))
            return true;
    }
    return false;
}

static bool contains(const struct found *f, bool fold, const json_t *operand)
{
    char text[TEXT_MAX], part[TEXT_MAX];
    if (f->is_list || !json_is_string(operand))
        return equals(f, fold, operand);
    text_of(operand, fold, part);
    for (size_t i = 0; i < f->wholes; i++) {
        if (!json_is_string(f->whole[i]))
            continue;
        text_of(f->whole[i], fold, text);
        if (strstr(text, part) != NULL)
            return true;
    }
    return equals(f, fold, operand); /* a list where anything may stand */
}

static bool has_size(const struct found *f, const json_t *operand)
{
    for (size_t i = 0; i < f->wholes; i++) {
        if (json_is_array(f->whole[i]) &&
            (json_int_t)json_array_size(f->whole[i]) == json_integer_value(operand))
            return true;
    }
    return false;
}

static bool has_all(const struct found *f, bool fold, const json_t *operands)
{
    size_t i;
    json_t *item;
    json_array_foreach(operands, i, item)
    {
        if (!equals(f, fold, item))
            return false;
    }
    return true;
}

static bool folds(const json_t *o, bool fold)
{
    const json_t *v = json_object_get(json_object_get(o, "$options"), "ignoreCase");
    return v != NULL ? json_is_true(v) : fold;
}

static bool field_matches(const struct found *f, const json_t *condition, bool fold);

static bool operator_matches(const struct found *f, const char *op, const json_t *v, bool fold)
{
    if (strcmp(op, "$eq") == 0)
        return equals(f, fold, v);
    if (strcmp(op, "$ne") == 0)
        return !equals(f, fold, v);
    if (strcmp(op, "$gt") == 0)
        return ordered(f, fold, v, 1, 1);
    if (strcmp(op, "$gte") == 0)
        return ordered(f, fold, v, 0, 1);
    if (strcmp(op, "$lt") == 0)
        return ordered(f, fold, v, -1, -1);
    if (strcmp(op, "$lte") == 0)
        return ordered(f, fold, v, -1, 0);
    if (strcmp(op, "$between") == 0)
        return between(f, fold, json_array_get(v, 0), json_array_get(v, 1));
    if (strcmp(op, "$in") == 0)
        return overlaps(f, fold, v);
    if (strcmp(op, "$nin") == 0)
        return !overlaps(f, fold, v);
    if (strcmp(op, "$all") == 0)
        return has_all(f, fold, v);
    if (strcmp(op, "$size") == 0)
        return has_size(f, v);
    if (strcmp(op, "$exists") == 0)
        return json_is_true(v) == (f->wholes > 0);
    if (strcmp(op, "$contains") == 0)
        return contains(f, fold, v);
    if (strcmp(op, "$not") == 0)
        return !field_matches(f, v, fold);
    abort();
}

static bool field_matches(const struct found *f, const json_t *condition, bool fold)
{
    if (!json_is_object(condition))
        return bare(f, fold, condition);
    fold = folds(condition, fold);
    const char *op;
    json_t *v;
    json_object_foreach((json_t *)condition, op, v)
    {
        if (strcmp(op, "$options") != 0 && !operator_matches(f, op, v, fold))
            return false;
    }
    return true;
}

static bool object_matches(const json_t *fields, const json_t *filter, const json_t *record,
                           bool fold);

/* How many of the filters hold. */
static size_t holding(const json_t *fields, const json_t *filters, const json_t *record, bool fold)
{
    size_t i, n = 0;
    json_t *item;
    json_array_foreach(filters, i, item) n += object_matches(fields, item, record, fold);
    return n;
}

static bool object_matches(const json_t *fields, const json_t *filter, const json_t *record,
                           bool fold)
{
    fold = folds(filter, fold);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)filter, key, v)
    {
        bool yes = true;
        if (strcmp(key, "$and") == 0)
            yes = holding(fields, v, record, fold) == json_array_size(v);
        else if (strcmp(key, "$or") == 0)
            yes = holding(fields, v, record, fold) > 0;
        else if (strcmp(key, "$nor") == 0)
            yes = holding(fields, v, record, fold) == 0;
        else if (strcmp(key, "$not") == 0)
            yes = !object_matches(fields, v, record, fold);
        else if (strcmp(key, "$options") != 0) {
            static struct found f;
            find(fields, record, key, &f);
            yes = field_matches(&f, v, fold);
        }
        if (!yes)
            return false;
    }
    return true;
}

bool filter_oracle(const json_t *fields, const json_t *filter, const json_t *record)
{
    return object_matches(fields, filter, record, false);
}
