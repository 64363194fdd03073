/* Printing: our own, because jansson 2.14 writes 0.1 as 0.10000000000000001. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json_priv.h"
#include "base/mem.h"
#include "base/str.h"

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

/* `"text"` and what follows it, in one piece. */
static void json_print_plain(struct buf *b, const char *s, size_t n, bool is_key)
{
    char *out = buf_reserve(b, n + 2 + is_key);
    if (out == NULL)
        return;
    *out++ = '"';
    if (n > 0)
        memcpy(out, s, n);
    out[n] = '"';
    out[n + 1] = ':'; /* where it is no key: in the room of the NUL, which comes back */
    buf_commit(b, n + 2 + is_key);
}

static void json_print_text(struct buf *b, const char *s, size_t n, bool is_key)
{
    size_t from = 0, at = str_json_plain(s, n);
    if (at == n) {
        json_print_plain(b, s, n, is_key);
        return;
    }
    buf_addc(b, '"');
    while (at < n) {
        buf_add(b, s + from, at - from);
        json_print_escape(b, (unsigned char)s[at]);
        from = at + 1;
        at = from + str_json_plain(s + from, n - from);
    }
    buf_add(b, s + from, n - from);
    buf_adds(b, is_key ? "\":" : "\"");
}

void json_print_string(struct buf *b, const char *s, size_t n)
{
    json_print_text(b, s, n, false);
}

int json_member_order(const void *a, const void *b)
{
    const struct json_member *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n > 0 ? memcmp(x->key, y->key, n) : 0;
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

struct json_member *json_sorted(const json_t *o)
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
    json_print_text(b, m->key, m->n, true);
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
