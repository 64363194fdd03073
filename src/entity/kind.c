/* Kinds: what a value of each must look like, and the one form in which it is kept. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "base/uuid.h"
#include "entity/decimal.h"
#include "entity/def_priv.h"
#include "entity/doc.h"

static const char *const kind_names[KIND_COUNT] = {
    [KIND_TEXT] = "text",       [KIND_INT] = "int",       [KIND_NUMBER] = "number",
    [KIND_DECIMAL] = "decimal", [KIND_BOOL] = "bool",     [KIND_TIME] = "time",
    [KIND_DATE] = "date",       [KIND_UUID] = "uuid",     [KIND_EMAIL] = "email",
    [KIND_URL] = "url",         [KIND_CHOICE] = "choice", [KIND_GEO] = "geo",
    [KIND_BYTES] = "bytes",     [KIND_LIST] = "list",     [KIND_MAP] = "map",
    [KIND_REF] = "ref",         [KIND_JSON] = "json",
};

enum { SAFE_INTEGER_BITS = 53 };

const char *entity_kind_name(enum entity_kind k)
{
    return kind_names[k];
}

const char *const *entity_kind_names(void)
{
    return kind_names;
}

enum entity_kind entity_kind_by_name(const char *name)
{
    int k = 0;
    while (k < KIND_COUNT && strcmp(kind_names[k], name) != 0)
        k++;
    return (enum entity_kind)k;
}

bool entity_kind_is_text(enum entity_kind k)
{
    return k == KIND_TEXT || k == KIND_EMAIL || k == KIND_URL || k == KIND_CHOICE;
}

bool entity_kind_is_ordered(enum entity_kind k)
{
    return k <= KIND_CHOICE && k != KIND_BOOL;
}

bool entity_kind_is_indexable(enum entity_kind k)
{
    return k <= KIND_CHOICE;
}

bool entity_field_has_decimal(const struct entity_field *f)
{
    return f->kind == KIND_DECIMAL || (f->of != NULL && entity_field_has_decimal(f->of));
}

static json_t *wrong(struct err *e, const struct entity_field *f, const json_t *v)
{
    err_set(e, ERR_INVALID, "wants %s, got %s", kind_names[f->kind], json_type_name(v));
    return NULL;
}

/* A value that has its normal form already: most do. */
static json_t *as_it_is(const json_t *v)
{
    return json_incref((json_t *)(uintptr_t)v);
}

static json_t *check_string(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    size_t n = json_string_length(v);
    const char *s = json_string_value(v);
    if (memchr(s, '\0', n) != NULL) {
        err_set(e, ERR_INVALID, "holds a NUL character");
        return NULL;
    }
    return as_it_is(v);
}

static json_t *check_int(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (json_is_integer(v))
        return as_it_is(v);
    /* Lua and JavaScript may write 5 as 5.0; beyond 53 bits such a number is not exact. */
    if (json_is_real(v) && fabs(json_real_value(v)) <= (double)(1LL << SAFE_INTEGER_BITS) &&
        floor(json_real_value(v)) == json_real_value(v))
        return json_integer((json_int_t)json_real_value(v));
    if (json_is_real(v)) {
        err_set(e, ERR_INVALID, "wants a whole number");
        return NULL;
    }
    return wrong(e, f, v);
}

static json_t *check_number(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (json_is_integer(v))
        return as_it_is(v);
    if (!json_is_real(v))
        return wrong(e, f, v);
    double d = json_real_value(v);
    if (!isfinite(d)) {
        err_set(e, ERR_INVALID, "wants a finite number");
        return NULL;
    }
    if (fabs(d) <= (double)(1LL << SAFE_INTEGER_BITS) && floor(d) == d)
        return json_integer((json_int_t)d);
    return as_it_is(v);
}

static json_t *check_decimal(const struct entity_field *f, const json_t *v, struct err *e)
{
    char text[DECIMAL_TEXT], digits[24];
    const char *s = digits;
    size_t n;
    if (json_is_integer(v)) {
        n = (size_t)snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(v));
    } else if (json_is_string(v)) {
        s = json_string_value(v);
        n = json_string_length(v);
    } else if (json_is_real(v)) {
        err_set(e, ERR_INVALID,
                "wants a decimal in quotes (\"12.50\"): a bare fraction is not exact");
        return NULL;
    } else {
        return wrong(e, f, v);
    }
    if (!decimal_normal(s, n, text)) {
        err_set(e, ERR_INVALID, "is not a decimal of at most %d digits", DECIMAL_DIGITS);
        return NULL;
    }
    return json_string(text);
}

static json_t *check_time(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    int64_t ms;
    if (!time_parse(json_string_value(v), json_string_length(v), &ms)) {
        err_set(e, ERR_INVALID, "is not a time like 2026-11-22T13:57:14Z (RFC 3339)");
        return NULL;
    }
    char text[TIME_TEXT];
    time_format(ms, text);
    return json_string(text);
}

static json_t *check_date(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    int year, month, day;
    if (!time_parse_date(json_string_value(v), json_string_length(v), &year, &month, &day)) {
        err_set(e, ERR_INVALID, "is not a date like 2026-11-22");
        return NULL;
    }
    return json_sprintf("%04d-%02d-%02d", year, month, day);
}

static json_t *check_uuid(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    struct uuid u;
    if (!uuid_parse(json_string_value(v), json_string_length(v), &u)) {
        err_set(e, ERR_INVALID, "is not a UUID of 36 characters");
        return NULL;
    }
    char text[UUID_TEXT];
    uuid_format(&u, text);
    return json_string(text);
}

static json_t *check_ref(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    if (str_check_id(json_string_value(v), json_string_length(v), e) < 0)
        return NULL;
    return as_it_is(v);
}

static json_t *check_choice(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    const char *s = json_string_value(v);
    for (size_t i = 0; i < f->choices_count; i++) {
        if (strcmp(f->choices[i], s) == 0)
            return json_string_length(v) == strlen(s) ? as_it_is(v) : json_string(s);
    }
    const char *near = str_nearest(s, (const char *const *)f->choices, f->choices_count);
    if (near != NULL)
        err_set(e, ERR_INVALID, "is not one of the choices; did you mean '%s'?", near);
    else
        err_set(e, ERR_INVALID, "is not one of the %zu choices ('%s' ...)", f->choices_count,
                f->choices[0]);
    return NULL;
}

static json_t *check_geo(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_object(v))
        return wrong(e, f, v);
    json_t *lat = json_object_get(v, "lat"), *lon = json_object_get(v, "lon");
    if (json_object_size(v) != 2 || !json_is_number(lat) || !json_is_number(lon)) {
        err_set(e, ERR_INVALID, "wants exactly {\"lat\": number, \"lon\": number}");
        return NULL;
    }
    if (!(fabs(json_number_value(lat)) <= 90) || !(fabs(json_number_value(lon)) <= 180)) {
        err_set(e, ERR_INVALID, "wants lat within -90..90 and lon within -180..180");
        return NULL;
    }
    static const struct entity_field number = {.kind = KIND_NUMBER};
    return json_pack("{s:o,s:o}", "lat", check_number(&number, lat, e), "lon",
                     check_number(&number, lon, e));
}

int64_t kind_base64_len(const char *s, size_t n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t pad = n >= 1 && s[n - 1] == '=' ? (n >= 2 && s[n - 2] == '=' ? 2U : 1U) : 0;
    if (n % 4 != 0)
        return -1;
    const char *last = NULL;
    for (size_t i = 0; i < n - pad; i++) {
        last = s[i] != '\0' ? strchr(alphabet, s[i]) : NULL;
        if (last == NULL)
            return -1;
    }
    /* The bits that padding leaves over must be zero: one text for one value. */
    if (pad > 0 && ((last - alphabet) & (pad == 1 ? 3 : 15)) != 0)
        return -1;
    return (int64_t)(n / 4 * 3 - pad);
}

static json_t *check_bytes(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_string(v))
        return wrong(e, f, v);
    if (kind_base64_len(json_string_value(v), json_string_length(v)) < 0) {
        err_set(e, ERR_INVALID, "is not base64 (RFC 4648, with padding)");
        return NULL;
    }
    return json_string(json_string_value(v));
}

/* NULL with words when something inside cannot be kept. */
static bool json_is_sound(const json_t *v, int depth, struct err *e)
{
    if (depth > ENTITY_VALUE_DEPTH_MAX) {
        err_set(e, ERR_INVALID, "is nested deeper than %d", ENTITY_VALUE_DEPTH_MAX);
        return false;
    }
    if (json_is_string(v) && memchr(json_string_value(v), '\0', json_string_length(v)) != NULL) {
        err_set(e, ERR_INVALID, "holds a NUL character");
        return false;
    }
    if (json_is_real(v) && !isfinite(json_real_value(v))) {
        err_set(e, ERR_INVALID, "holds a number that is not finite");
        return false;
    }
    json_t *item, *o = (json_t *)v;
    size_t i;
    json_array_foreach(v, i, item)
    {
        if (!json_is_sound(item, depth + 1, e))
            return false;
    }
    for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it)) {
        if (strlen(json_object_iter_key(it)) != json_object_iter_key_len(it)) {
            err_set(e, ERR_INVALID, "has a key that holds a NUL character");
            return false;
        }
        if (!json_is_sound(json_object_iter_value(it), depth + 1, e))
            return false;
    }
    return true;
}

static json_t *check_any(const json_t *v, struct err *e)
{
    if (!json_is_sound(v, 0, e))
        return NULL;
    json_t *copy = json_deep_copy(v);
    if (copy == NULL)
        err_set(e, ERR_NOMEM, "no memory");
    return copy;
}

static json_t *check_list(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_array(v))
        return wrong(e, f, v);
    if (f->of == NULL || f->of->kind == KIND_JSON)
        return check_any(v, e);
    AUTO(json_unref) json_t *out = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(v, i, item)
    {
        json_t *checked =
            json_is_null(item) ? wrong(e, f->of, item) : entity_value_check(f->of, item, e);
        if (checked == NULL) {
            err_context(e, "element %zu", i + 1);
            return NULL;
        }
        json_array_append_new(out, checked);
    }
    return TAKE(out);
}

static json_t *check_map(const struct entity_field *f, const json_t *v, struct err *e)
{
    if (!json_is_object(v))
        return wrong(e, f, v);
    AUTO(json_unref) json_t *out = json_object();
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)v, key, item)
    {
        if (strlen(key) > ENTITY_MAP_KEY_MAX || *key == '\0') {
            err_set(e, ERR_INVALID, "a key has 1 to %d bytes", ENTITY_MAP_KEY_MAX);
            return NULL;
        }
        if (json_is_null(item))
            continue;
        json_t *checked = f->of != NULL ? entity_value_check(f->of, item, e) : check_any(item, e);
        if (checked == NULL) {
            err_context(e, "key '%.64s'", key);
            return NULL;
        }
        json_object_set_new(out, key, checked);
    }
    return TAKE(out);
}

static json_t *kind_check(const struct entity_field *f, const json_t *v, struct err *e)
{
    switch (f->kind) {
    case KIND_TEXT:
    case KIND_EMAIL:
    case KIND_URL:
        return check_string(f, v, e);
    case KIND_INT:
        return check_int(f, v, e);
    case KIND_NUMBER:
        return check_number(f, v, e);
    case KIND_DECIMAL:
        return check_decimal(f, v, e);
    case KIND_BOOL:
        return json_is_boolean(v) ? json_boolean(json_is_true(v)) : wrong(e, f, v);
    case KIND_TIME:
        return check_time(f, v, e);
    case KIND_DATE:
        return check_date(f, v, e);
    case KIND_UUID:
        return check_uuid(f, v, e);
    case KIND_REF:
        return check_ref(f, v, e);
    case KIND_CHOICE:
        return check_choice(f, v, e);
    case KIND_GEO:
        return check_geo(f, v, e);
    case KIND_BYTES:
        return check_bytes(f, v, e);
    case KIND_LIST:
        return check_list(f, v, e);
    case KIND_MAP:
        return check_map(f, v, e);
    case KIND_JSON:
        return check_any(v, e);
    case KIND_COUNT:
        break;
    }
    PANIC("kind %d", (int)f->kind);
}

json_t *entity_value_check(const struct entity_field *f, const json_t *v, struct err *e)
{
    struct err own;
    if (e == NULL) { /* err_context needs one */
        err_clear(&own);
        e = &own;
    }
    AUTO(json_unref) json_t *out = kind_check(f, v, e);
    if (out == NULL || kind_check_limits(f, out, e) < 0)
        return NULL;
    return TAKE(out);
}

json_t *entity_operand_check(const struct entity_field *f, const json_t *v, struct err *e)
{
    struct err own = ERR_INIT;
    if (e == NULL)
        e = &own; /* err_context needs one */
    /* An int field may be compared with 2.5. */
    struct entity_field loose = *f;
    if (f->kind == KIND_INT)
        loose.kind = KIND_NUMBER;
    AUTO(json_unref) json_t *out = kind_check(&loose, v, e);
    if (out == NULL || f->kind != KIND_DECIMAL)
        return TAKE(out);
    char key[DECIMAL_TEXT];
    decimal_key(json_string_value(out), key);
    return json_string(key);
}

json_t *entity_value_keys(const struct entity_field *f, const json_t *v)
{
    if (!entity_field_has_decimal(f))
        return NULL;
    if (f->kind == KIND_DECIMAL) {
        char key[DECIMAL_TEXT];
        decimal_key(json_string_value(v), key);
        return json_string(key);
    }
    const char *name;
    json_t *item, *out;
    size_t i;
    if (f->kind == KIND_LIST) {
        out = json_array();
        json_array_foreach(v, i, item) json_array_append_new(out, entity_value_keys(f->of, item));
        return out;
    }
    out = json_object();
    json_object_foreach((json_t *)v, name, item)
    {
        json_object_set_new(out, name, entity_value_keys(f->of, item));
    }
    return out;
}
