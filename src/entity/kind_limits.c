/* What a value of the right kind may still be too much, too little or too odd for: min, max,
 * pattern, and what an address looks like. Not asked of operands in a filter. */
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "entity/decimal.h"
#include "entity/def_priv.h"
#include "entity/pattern.h"

enum { EMAIL_MAX = 254, EMAIL_LOCAL_MAX = 64 };

static bool has_space_or_control(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f)
            return true;
    }
    return false;
}

/* Plausible, not deliverable: something@labels.with.dots. */
static bool is_email(const char *s, size_t n)
{
    const char *at = memrchr(s, '@', n);
    if (at == NULL || at == s || at - s > EMAIL_LOCAL_MAX || n > EMAIL_MAX ||
        has_space_or_control(s, n) || memchr(s, '@', (size_t)(at - s)) != NULL)
        return false;
    const char *domain = at + 1;
    size_t len = (size_t)(s + n - domain);
    if (len < 3 || memchr(domain, '.', len) == NULL || domain[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = domain[i];
        bool edge = i == 0 || domain[i - 1] == '.';
        if ((c == '.' || c == '-') && edge)
            return false;
        if (strchr("()<>[],;:\\\"", c) != NULL)
            return false;
    }
    return true;
}

static bool is_url(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && ((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                     (i > 0 && ((s[i] >= '0' && s[i] <= '9') || strchr("+.-", s[i]) != NULL))))
        i++;
    return i > 0 && n - i > 3 && memcmp(s + i, "://", 3) == 0 && s[i + 3] != '/' &&
           !has_space_or_control(s, n);
}

static int size_within(const struct entity_field *f, int64_t n, const char *unit, struct err *e)
{
    if (f->has_min && n < f->min_int)
        return err_set(e, ERR_INVALID, "has %lld %s, at least %lld are wanted", (long long)n, unit,
                       (long long)f->min_int);
    if (f->has_max && n > f->max_int)
        return err_set(e, ERR_INVALID, "has %lld %s, at most %lld are allowed", (long long)n, unit,
                       (long long)f->max_int);
    return 0;
}

static int text_within(const struct entity_field *f, const json_t *v, struct err *e)
{
    const char *s = json_string_value(v);
    size_t n = json_string_length(v);
    if (!f->has_max && n > ENTITY_TEXT_BYTES)
        return err_set(e, ERR_INVALID, "has over %d bytes; declare a max for more",
                       ENTITY_TEXT_BYTES);
    int rc = size_within(f, (int64_t)str_utf8_len(s, n), "characters", e);
    if (rc < 0)
        return rc;
    if (f->kind == KIND_EMAIL && !is_email(s, n))
        return err_set(e, ERR_INVALID, "is not an e-mail address");
    if (f->kind == KIND_URL && !is_url(s, n))
        return err_set(e, ERR_INVALID, "is not a URL like https://host/path");
    if (f->pattern != NULL && n > ENTITY_TEXT_BYTES)
        return err_set(e, ERR_INVALID, "has over %d bytes, too many for a pattern",
                       ENTITY_TEXT_BYTES);
    if (f->pattern != NULL && !pattern_match(f->pattern, s, n))
        return err_set(e, ERR_INVALID, "does not match the pattern %s", f->pattern_text);
    return 0;
}

static int number_within(const struct entity_field *f, const json_t *v, struct err *e)
{
    double d = json_number_value(v);
    if (f->kind == KIND_INT) {
        int64_t n = json_integer_value(v);
        if (f->has_min && n < f->min_int)
            return err_set(e, ERR_INVALID, "is less than %lld", (long long)f->min_int);
        if (f->has_max && n > f->max_int)
            return err_set(e, ERR_INVALID, "is more than %lld", (long long)f->max_int);
        return 0;
    }
    if (f->has_min && d < f->min_number)
        return err_set(e, ERR_INVALID, "is less than %g", f->min_number);
    if (f->has_max && d > f->max_number)
        return err_set(e, ERR_INVALID, "is more than %g", f->max_number);
    return 0;
}

static int ordered_text_within(const struct entity_field *f, const json_t *v, struct err *e)
{
    char key[DECIMAL_TEXT];
    const char *s = json_string_value(v);
    if (f->kind == KIND_DECIMAL) {
        decimal_key(s, key);
        s = key;
    }
    if (f->has_min && strcmp(s, f->min_text) < 0)
        return err_set(e, ERR_INVALID, "is less than the min of this field");
    if (f->has_max && strcmp(s, f->max_text) > 0)
        return err_set(e, ERR_INVALID, "is more than the max of this field");
    return 0;
}

static int bytes_within(const struct entity_field *f, const json_t *v, struct err *e)
{
    int64_t n = kind_base64_len(json_string_value(v), json_string_length(v));
    if (!f->has_max && n > ENTITY_TEXT_BYTES)
        return err_set(e, ERR_INVALID, "has over %d bytes; declare a max for more",
                       ENTITY_TEXT_BYTES);
    return size_within(f, n, "bytes", e);
}

int kind_check_limits(const struct entity_field *f, const json_t *v, struct err *e)
{
    switch (f->kind) {
    case KIND_TEXT:
    case KIND_EMAIL:
    case KIND_URL:
        return text_within(f, v, e);
    case KIND_INT:
    case KIND_NUMBER:
        return number_within(f, v, e);
    case KIND_DECIMAL:
    case KIND_TIME:
    case KIND_DATE:
        return ordered_text_within(f, v, e);
    case KIND_BYTES:
        return bytes_within(f, v, e);
    case KIND_LIST:
        if (entity_field_ref(f) != NULL && json_array_size(v) > ENTITY_LIST_REFS_MAX)
            return err_set(e, ERR_INVALID,
                           "has over %d references; let the other side refer to this one",
                           ENTITY_LIST_REFS_MAX);
        return size_within(f, (int64_t)json_array_size(v), "elements", e);
    case KIND_MAP:
        return size_within(f, (int64_t)json_object_size(v), "keys", e);
    case KIND_BOOL:
    case KIND_UUID:
    case KIND_REF:
    case KIND_CHOICE:
    case KIND_GEO:
    case KIND_JSON:
    case KIND_COUNT:
        break;
    }
    return 0;
}
