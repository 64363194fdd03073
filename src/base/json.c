#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json_priv.h"
#include "base/mem.h"
#include "base/str.h"

/* Who builds a value cannot ask at each member whether there was memory for it, and a value that
 * lacks one would be stored as if it were whole. So small pieces are there or the process ends;
 * large ones, which come from outside, are asked for where they are read. */
static void *json_alloc(size_t size)
{
    enum { JSON_SMALL = 64 * 1024 };
    return size <= JSON_SMALL ? mem_must(size) : mem_try(size);
}

__attribute__((constructor)) static void json_use_memory(void)
{
    json_set_alloc_funcs(json_alloc, mem_free);
}

void json_unref(json_t **v)
{
    json_decref(*v);
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

/* ---- hash ---- */

/* What makes values of different types differ, and a number of either kind from its text. */
enum { HASH_OBJECT = 1, HASH_ARRAY, HASH_STRING, HASH_INTEGER, HASH_REAL, HASH_WORD };

static uint64_t hash_value(uint64_t seed, int type, const void *p, size_t n)
{
    return hash64(seed * 31 + (uint64_t)type, p, n);
}

uint64_t json_hash(uint64_t seed, const json_t *v)
{
    json_int_t i;
    double d;
    json_t *o = (json_t *)(uintptr_t)v;
    int type = json_typeof(v);
    switch (type) {
    case JSON_OBJECT:
        for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it)) {
            seed = hash_value(seed, HASH_STRING, json_object_iter_key(it),
                              json_object_iter_key_len(it));
            seed = json_hash(seed, json_object_iter_value(it));
        }
        return hash_value(seed, HASH_OBJECT, NULL, 0);
    case JSON_ARRAY:
        for (size_t at = 0; at < json_array_size(v); at++)
            seed = json_hash(seed, json_array_get(v, at));
        return hash_value(seed, HASH_ARRAY, NULL, 0);
    case JSON_STRING:
        return hash_value(seed, HASH_STRING, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
        i = json_integer_value(v);
        return hash_value(seed, HASH_INTEGER, &i, sizeof(i));
    case JSON_REAL:
        d = json_real_value(v);
        return hash_value(seed, HASH_REAL, &d, sizeof(d));
    default:
        return hash_value(seed, HASH_WORD, &type, sizeof(type));
    }
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
