#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

#ifdef MEM_COUNT
/* So that the heap check after each test sees values too. */
__attribute__((constructor)) static void json_count_memory(void)
{
    json_set_alloc_funcs(mem_try, mem_free);
}
#endif

void json_unref(json_t **v)
{
    json_decref(*v);
}

/* ---- printing: our own, because jansson 2.14 writes 0.1 as 0.10000000000000001 ---- */

static void json_print_escape(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_adds(b, "\\\"");
        return;
    case '\\':
        buf_adds(b, "\\\\");
        return;
    case '\n':
        buf_adds(b, "\\n");
        return;
    case '\r':
        buf_adds(b, "\\r");
        return;
    case '\t':
        buf_adds(b, "\\t");
        return;
    default:
        buf_addf(b, "\\u%04x", c);
        return;
    }
}

static const bool json_needs_escape[256] = {
    [0x00 ... 0x1f] = true,
    ['"'] = true,
    ['\\'] = true,
};

void json_print_string(struct buf *b, const char *s, size_t n)
{
    size_t from = 0;
    buf_addc(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (!json_needs_escape[c])
            continue;
        buf_add(b, s + from, i - from);
        json_print_escape(b, c);
        from = i + 1;
    }
    buf_add(b, s + from, n - from);
    buf_addc(b, '"');
}

static void json_print_int(struct buf *b, int64_t v)
{
    char text[24];
    char *p = text + sizeof(text);
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (v < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(text + sizeof(text) - p));
}

/* Integers up to 2^53 are exact in a double. */
static const double JSON_EXACT_MAX = 9007199254740992.0;

static void json_print_decimal(struct buf *b, uint64_t digits, size_t decimals, bool negative)
{
    char text[32], *p = text + sizeof(text);
    if (decimals == 0) { /* ".0", so that it comes back as a real */
        digits *= 10;
        decimals = 1;
    }
    for (size_t i = 0; i < decimals; i++, digits /= 10)
        *--p = (char)('0' + digits % 10);
    *--p = '.';
    do {
        *--p = (char)('0' + digits % 10);
        digits /= 10;
    } while (digits > 0);
    if (negative)
        *--p = '-';
    buf_add(b, p, (size_t)(text + sizeof(text) - p));
}

/* Most numbers that people write have few digits. If r / 10^k, both exact in a double, divides to
 * v, then the text of r with k decimals reads back as v: division and reading round the same exact
 * quotient. The least k gives the shortest text. */
static bool json_print_short_real(struct buf *b, double v)
{
    static const double power[] = {1,   1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                   1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};
    double size = fabs(v);
    if (!(size >= 1e-4 && size < 1e9))
        return false;
    for (size_t k = 0; k < ARRAY_LEN(power); k++) {
        double r = nearbyint(size * power[k]);
        if (r > JSON_EXACT_MAX)
            return false;
        if (r / power[k] != size)
            continue;
        json_print_decimal(b, (uint64_t)r, k, v < 0);
        return true;
    }
    return false;
}

/* The shortest of 15, 16 or 17 digits that reads back as the same number; always with a point or
 * exponent, so that it comes back as a real. */
static void json_print_real(struct buf *b, double v)
{
    char text[40];
    if (json_print_short_real(b, v))
        return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_adds(b, text);
    if (strpbrk(text, ".e") == NULL)
        buf_adds(b, ".0");
}

struct json_member {
    const char *key;
    size_t n;
    json_t *value;
};

static int json_member_order(const void *a, const void *b)
{
    const struct json_member *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n > 0 ? memcmp(x->key, y->key, n) : 0;
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* The members of an object sorted by the bytes of their keys; NULL when out of memory. */
static struct json_member *json_sorted(const json_t *o)
{
    size_t count = json_object_size(o), at = 0;
    struct json_member *all = mem_try(count * sizeof(*all));
    if (all == NULL)
        return NULL;
    json_t *obj = (json_t *)(uintptr_t)o; /* jansson's iterators are not const */
    for (void *it = json_object_iter(obj); it != NULL && at < count;
         it = json_object_iter_next(obj, it))
        all[at++] = (struct json_member){json_object_iter_key(it), json_object_iter_key_len(it),
                                         json_object_iter_value(it)};
    qsort(all, at, sizeof(*all), json_member_order);
    return all;
}

static int json_print_value(const json_t *v, struct buf *b, bool sorted, int depth);

static int json_print_member(struct buf *b, const struct json_member *m, bool sorted, int depth)
{
    json_print_string(b, m->key, m->n);
    buf_addc(b, ':');
    return json_print_value(m->value, b, sorted, depth);
}

static int json_print_object(const json_t *v, struct buf *b, bool sorted, int depth)
{
    int rc = 0;
    size_t count = json_object_size(v);
    AUTO(mem_freep) struct json_member *all = sorted && count > 1 ? json_sorted(v) : NULL;
    if (sorted && count > 1 && all == NULL)
        return ERR_NOMEM;
    buf_addc(b, '{');
    json_t *obj = (json_t *)(uintptr_t)v;
    void *it = json_object_iter(obj);
    for (size_t i = 0; i < count && rc == 0; i++, it = json_object_iter_next(obj, it)) {
        struct json_member m = {json_object_iter_key(it), json_object_iter_key_len(it),
                                json_object_iter_value(it)};
        if (i > 0)
            buf_addc(b, ',');
        rc = json_print_member(b, all != NULL ? &all[i] : &m, sorted, depth);
    }
    buf_addc(b, '}');
    return rc;
}

static int json_print_array(const json_t *v, struct buf *b, bool sorted, int depth)
{
    int rc = 0;
    buf_addc(b, '[');
    for (size_t i = 0; i < json_array_size(v) && rc == 0; i++) {
        if (i > 0)
            buf_addc(b, ',');
        rc = json_print_value(json_array_get(v, i), b, sorted, depth);
    }
    buf_addc(b, ']');
    return rc;
}

static int json_print_value(const json_t *v, struct buf *b, bool sorted, int depth)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return depth >= JSON_DEPTH_MAX ? ERR_INVALID : json_print_object(v, b, sorted, depth + 1);
    case JSON_ARRAY:
        return depth >= JSON_DEPTH_MAX ? ERR_INVALID : json_print_array(v, b, sorted, depth + 1);
    case JSON_STRING:
        json_print_string(b, json_string_value(v), json_string_length(v));
        return 0;
    case JSON_INTEGER:
        json_print_int(b, json_integer_value(v));
        return 0;
    case JSON_REAL:
        json_print_real(b, json_real_value(v));
        return 0;
    case JSON_TRUE:
        buf_adds(b, "true");
        return 0;
    case JSON_FALSE:
        buf_adds(b, "false");
        return 0;
    case JSON_NULL:
        buf_adds(b, "null");
        return 0;
    }
    return ERR_INVALID;
}

static int json_print_any(const json_t *v, struct buf *b, bool sorted, struct err *e)
{
    int rc = json_print_value(v, b, sorted, 0);
    if (rc == ERR_NOMEM)
        return err_set(e, rc, "out of memory for the keys of an object");
    if (rc != 0)
        return err_set(e, rc, "arrays and objects are nested deeper than %d", JSON_DEPTH_MAX);
    return buf_check(b, "the JSON text", e);
}

int json_print(const json_t *v, struct buf *b, struct err *e)
{
    return json_print_any(v, b, false, e);
}

int json_print_sorted(const json_t *v, struct buf *b, struct err *e)
{
    return json_print_any(v, b, true, e);
}

/* ---- looking into values ---- */

const char *json_type_name(const json_t *v)
{
    if (v == NULL)
        return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

static int json_wrong_type(const char *key, const char *want, const json_t *v, struct err *e)
{
    return err_field(e, ERR_INVALID, key, "'%.80s' must be %s, not %s", key, want,
                     json_is_real(v) ? "a number with a fraction" : json_type_name(v));
}

int json_get_string(const json_t *o, const char *key, const char **out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v))
        return ERR_NOT_FOUND;
    if (!json_is_string(v))
        return json_wrong_type(key, "a string", v, e);
    *out = json_string_value(v);
    return 0;
}

int json_get_int(const json_t *o, const char *key, int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v))
        return ERR_NOT_FOUND;
    if (!json_is_integer(v))
        return json_wrong_type(key, "an integer", v, e);
    *out = json_integer_value(v);
    return 0;
}

int json_get_bool(const json_t *o, const char *key, bool *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v))
        return ERR_NOT_FOUND;
    if (!json_is_boolean(v))
        return json_wrong_type(key, "true or false", v, e);
    *out = json_is_true(v);
    return 0;
}

static bool json_is_among(const char *key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, names[i]) == 0)
            return true;
    return false;
}

int json_only_keys(const json_t *o, const char *what, const char *const *names, size_t count,
                   struct err *e)
{
    json_t *obj = (json_t *)(uintptr_t)o;
    for (void *it = json_object_iter(obj); it != NULL; it = json_object_iter_next(obj, it)) {
        const char *key = json_object_iter_key(it);
        if (json_is_among(key, names, count))
            continue;
        const char *near = str_nearest(key, names, count);
        if (near != NULL)
            return err_field(e, ERR_INVALID, key, "%s: unknown key '%.80s'; did you mean '%s'?",
                             what, key, near);
        return err_field(e, ERR_INVALID, key, "%s: unknown key '%.80s'", what, key);
    }
    return 0;
}

json_t *json_path(const json_t *v, const char *path)
{
    while (v != NULL) {
        const char *dot = strchr(path, '.');
        if (dot == NULL)
            return json_object_get(v, path);
        v = json_object_getn(v, path, (size_t)(dot - path));
        path = dot + 1;
    }
    return NULL;
}

/* ---- order ---- */

static int json_rank(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL:
        return 0;
    case JSON_FALSE:
        return 1;
    case JSON_TRUE:
        return 2;
    case JSON_INTEGER:
    case JSON_REAL:
        return 3;
    case JSON_STRING:
        return 4;
    case JSON_ARRAY:
        return 5;
    case JSON_OBJECT:
        return 6;
    }
    return 0;
}

/* An integer against a real, exactly: turning the integer into a double would round it. */
static int json_compare_mixed(int64_t i, double d)
{
    if (d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t whole = (int64_t)d;
    if (i != whole)
        return i < whole ? -1 : 1;
    double rest = d - (double)whole;
    return (rest < 0) - (rest > 0);
}

static int json_compare_numbers(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    if (json_is_integer(a))
        return json_compare_mixed(json_integer_value(a), json_real_value(b));
    if (json_is_integer(b))
        return -json_compare_mixed(json_integer_value(b), json_real_value(a));
    double x = json_real_value(a), y = json_real_value(b);
    return (x > y) - (x < y);
}

static int json_compare_strings(const json_t *a, const json_t *b)
{
    struct json_member x = {json_string_value(a), json_string_length(a), NULL};
    struct json_member y = {json_string_value(b), json_string_length(b), NULL};
    return json_member_order(&x, &y);
}

static int json_compare_arrays(const json_t *a, const json_t *b)
{
    size_t n = json_array_size(a), m = json_array_size(b);
    for (size_t i = 0; i < n && i < m; i++) {
        int order = json_compare(json_array_get(a, i), json_array_get(b, i));
        if (order != 0)
            return order;
    }
    return (n > m) - (n < m);
}

/* As if each were an array of its members in order of their keys. */
static int json_compare_objects(const json_t *a, const json_t *b)
{
    size_t n = json_object_size(a), m = json_object_size(b);
    AUTO(mem_freep) struct json_member *x = json_sorted(a);
    AUTO(mem_freep) struct json_member *y = json_sorted(b);
    if (x == NULL || y == NULL)
        PANIC("out of memory");
    for (size_t i = 0; i < n && i < m; i++) {
        int order = json_member_order(&x[i], &y[i]);
        if (order == 0)
            order = json_compare(x[i].value, y[i].value);
        if (order != 0)
            return order;
    }
    return (n > m) - (n < m);
}

int json_compare(const json_t *a, const json_t *b)
{
    int x = json_rank(a), y = json_rank(b);
    if (x != y)
        return x < y ? -1 : 1;
    switch (x) {
    case 3:
        return json_compare_numbers(a, b);
    case 4:
        return json_compare_strings(a, b);
    case 5:
        return json_compare_arrays(a, b);
    case 6:
        return json_compare_objects(a, b);
    default:
        return 0;
    }
}
