#include "codec/cloudevents.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/cloudevents_priv.h"

/* What is being read, while it is. */
struct cloudevent_reader {
    struct arena *arena;
    struct cloudevent *ev;
    struct cloudevent_extension *extensions;
    bool version; /* specversion was there */
};

static int out_of_room(struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "the events are too large to be taken at once");
}

static const char *kept(struct cloudevent_reader *r, const char *s, size_t n)
{
    char *copy = arena_try(r->arena, n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

static int begin(struct cloudevent_reader *r, struct arena *a, struct cloudevent *ev, struct err *e)
{
    *ev = (struct cloudevent){0};
    *r = (struct cloudevent_reader){.arena = a, .ev = ev};
    r->extensions = arena_try(a, CLOUDEVENT_EXTENSIONS_MAX * sizeof(*r->extensions));
    ev->extensions = r->extensions;
    return r->extensions != NULL ? 0 : out_of_room(e);
}

static int set_version(struct cloudevent_reader *r, const char *value, struct err *e)
{
    if (strcmp(value, CLOUDEVENT_VERSION) != 0)
        return err_field(e, ERR_INVALID, "specversion",
                         "specversion '%.40s' is not spoken here; send %s", value,
                         CLOUDEVENT_VERSION);
    if (r->version)
        return err_field(e, ERR_INVALID, "specversion", "specversion is there twice");
    r->version = true;
    return 0;
}

/* Name and value live in the arena. */
static int set(struct cloudevent_reader *r, const char *name, const char *value,
               enum cloudevent_kind kind, struct err *e)
{
    if (strcmp(name, "specversion") == 0)
        return set_version(r, value, e);
    const char **member = cloudevent_member(r->ev, name);
    if (member != NULL) {
        if (*member != NULL)
            return err_field(e, ERR_INVALID, name, "%s is there twice", name);
        *member = value;
        return 0;
    }
    if (r->ev->extension_count == CLOUDEVENT_EXTENSIONS_MAX)
        return err_field(e, ERR_TOO_LARGE, name,
                         "an event has at most %d extension attributes; '%.80s' is one more",
                         CLOUDEVENT_EXTENSIONS_MAX, name);
    r->extensions[r->ev->extension_count++] =
        (struct cloudevent_extension){.name = name, .value = value, .kind = kind};
    return 0;
}

static int finish(struct cloudevent_reader *r, bool data_is_good, struct err *e)
{
    size_t depth;
    if (!r->version)
        return err_field(e, ERR_INVALID, "specversion",
                         "specversion is missing; an event has specversion, id, source and type");
    int rc = cloudevent_check_attributes(r->ev, e);
    return rc != 0 || data_is_good ? rc : cloudevent_check_data(r->ev, &depth, e);
}

/* ---- Binary ---- */

/* Double quotes go, and the backslashes in front of what is between them. */
static int unquote(const char *name, const char *value, char *out, struct err *e)
{
    bool quoted = false;
    size_t n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    for (size_t i = strspn(value, " \t"); i < n; i++) {
        if (value[i] == '"') {
            quoted = !quoted;
            continue;
        }
        i += quoted && value[i] == '\\' && i + 1 < n;
        *out++ = value[i];
    }
    *out = '\0';
    if (quoted)
        return err_field(e, ERR_INVALID, name, "header 'ce-%s': a double quote is not closed",
                         name);
    return 0;
}

static int unescape(const char *name, char *text, struct err *e)
{
    char *to = text;
    for (const char *s = text; *s != '\0'; s++) {
        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        int high = str_hex_digit(s[1]), low = high >= 0 ? str_hex_digit(s[2]) : -1;
        if (low < 0 || (high == 0 && low == 0))
            return err_field(
                e, ERR_INVALID, name,
                "header 'ce-%s': '%%' is not followed by the two hex digits of a byte; "
                "a percent sign itself is %%25",
                name);
        *to++ = (char)(uint8_t)(high << 4 | low);
        s += 2;
    }
    *to = '\0';
    return 0;
}

static int read_header(struct cloudevent_reader *r, const struct cloudevent_header *h,
                       struct err *e)
{
    size_t n = strlen(h->name + 3);
    if (n > CLOUDEVENT_NAME_MAX)
        return err_set(e, ERR_INVALID, "header '%.80s': a name has at most %d characters", h->name,
                       CLOUDEVENT_NAME_MAX);
    char *name = (char *)(uintptr_t)kept(r, h->name + 3, n);
    char *value = arena_try(r->arena, strlen(h->value) + 1);
    if (name == NULL || value == NULL)
        return out_of_room(e);
    for (char *c = name; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
    if (strcmp(name, "datacontenttype") == 0)
        return err_field(e, ERR_INVALID, name,
                         "header 'ce-datacontenttype': it is Content-Type that says it");
    int rc = cloudevent_check_name(name, e);
    if (rc == 0)
        rc = unquote(name, h->value, value, e);
    if (rc == 0)
        rc = unescape(name, value, e);
    return rc == 0 ? set(r, name, value, CLOUDEVENT_TEXT, e) : rc;
}

static int read_binary(const struct cloudevent_header *headers, size_t count, const char *type,
                       const struct str *body, struct arena *a, struct cloudevent *ev,
                       struct err *e)
{
    struct cloudevent_reader r;
    int rc = begin(&r, a, ev, e);
    if (rc != 0)
        return rc;
    if (type != NULL) {
        size_t n = strlen(type);
        while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
            n--;
        ev->datacontenttype = kept(&r, type, n);
        if (ev->datacontenttype == NULL)
            return out_of_room(e);
    }
    for (size_t i = 0; i < count && rc == 0; i++)
        if (strncasecmp(headers[i].name, "ce-", 3) == 0)
            rc = read_header(&r, &headers[i], e);
    ev->has_data = body->n > 0;
    ev->data = body->n > 0 ? body->p : "";
    ev->data_n = body->n;
    return rc == 0 ? finish(&r, false, e) : rc;
}

/* ---- Structured and batch ---- */

static int take_data(struct cloudevent_reader *r, const struct buf *b, struct err *e)
{
    int rc = buf_check(b, "data", e);
    if (rc != 0)
        return rc;
    r->ev->data = kept(r, buf_str(b), b->len);
    r->ev->data_n = b->len;
    r->ev->has_data = true;
    return r->ev->data != NULL ? 0 : out_of_room(e);
}

static int read_base64(struct cloudevent_reader *r, const json_t *v, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(CLOUDEVENT_DATA_MAX);
    struct err why = ERR_INIT;
    if (!json_is_string(v))
        return err_field(e, ERR_INVALID, "data_base64", "data_base64 must be a string, not %s",
                         json_type_name(v));
    int rc = base64_decode(BASE64_STD, json_string_value(v), json_string_length(v), &b, &why);
    if (rc != 0)
        return err_field(e, rc, "data_base64", "data_base64: %s", why.text);
    return take_data(r, &b, e);
}

static int read_data(struct cloudevent_reader *r, const json_t *v, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(CLOUDEVENT_DATA_MAX);
    const char *type = r->ev->datacontenttype;
    if (type == NULL)
        type = r->ev->datacontenttype = "application/json";
    if (cloudevent_is_json(type)) {
        int rc = json_print(v, &b, e);
        return rc != 0 ? rc : take_data(r, &b, e);
    }
    if (!json_is_string(v))
        return err_field(e, ERR_INVALID, "data",
                         "data must be a string where datacontenttype is '%.80s', not %s", type,
                         json_type_name(v));
    buf_add(&b, json_string_value(v), json_string_length(v));
    return take_data(r, &b, e);
}

static int read_attribute(struct cloudevent_reader *r, const char *key, const json_t *v,
                          struct err *e)
{
    char number[24];
    const char *text = number;
    size_t n;
    enum cloudevent_kind kind = CLOUDEVENT_TEXT;
    bool core = strcmp(key, "specversion") == 0 || cloudevent_member(r->ev, key) != NULL;
    int rc = cloudevent_check_name(key, e);
    if (rc != 0 || json_is_null(v))
        return rc;
    if (json_is_string(v)) {
        text = json_string_value(v);
        n = json_string_length(v);
        if (memchr(text, '\0', n) != NULL)
            return err_field(e, ERR_INVALID, key, "%s has U+0000 in it", key);
    } else if (core) {
        return err_field(e, ERR_INVALID, key, "%s must be a string, not %s", key,
                         json_type_name(v));
    } else if (json_is_integer(v)) {
        kind = CLOUDEVENT_INT;
        n = (size_t)snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
                             json_integer_value(v));
    } else if (json_is_boolean(v)) {
        kind = CLOUDEVENT_BOOL;
        n = (size_t)snprintf(number, sizeof(number), "%s", json_is_true(v) ? "true" : "false");
    } else {
        return err_field(e, ERR_INVALID, key,
                         "%s must be a string, an integer or a boolean, not %s; what has parts "
                         "belongs into data",
                         key, json_is_real(v) ? "a fraction" : json_type_name(v));
    }
    const char *name = kept(r, key, strlen(key)), *value = kept(r, text, n);
    return name != NULL && value != NULL ? set(r, name, value, kind, e) : out_of_room(e);
}

static int read_object(json_t *o, struct arena *a, struct cloudevent *ev, struct err *e)
{
    struct cloudevent_reader r;
    const char *key;
    json_t *v;
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "an event must be an object, not %s", json_type_name(o));
    int rc = begin(&r, a, ev, e);
    const json_t *data = json_object_get(o, "data"), *base64 = json_object_get(o, "data_base64");
    json_object_foreach(o, key, v)
    {
        if (rc == 0 && strcmp(key, "data") != 0 && strcmp(key, "data_base64") != 0)
            rc = read_attribute(&r, key, v, e);
    }
    if (rc == 0 && data != NULL && base64 != NULL && !json_is_null(base64))
        rc = err_field(e, ERR_INVALID, "data_base64", "an event has data or data_base64, not both");
    else if (rc == 0 && data != NULL)
        rc = read_data(&r, data, e);
    else if (rc == 0 && base64 != NULL && !json_is_null(base64))
        rc = read_base64(&r, base64, e);
    return rc == 0 ? finish(&r, data != NULL, e) : rc;
}

static int read_batch(json_t *list, struct arena *a, struct cloudevents *out, struct err *e)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return err_set(e, ERR_INVALID, "a batch must be an array of events, not %s",
                       json_type_name(list));
    if (count > CLOUDEVENT_BATCH_MAX)
        return err_set(e, ERR_TOO_LARGE, "a batch of %zu events; at most %d are taken at once",
                       count, CLOUDEVENT_BATCH_MAX);
    out->events = arena_try(a, (count > 0 ? count : 1) * sizeof(*out->events));
    if (out->events == NULL)
        return out_of_room(e);
    for (; out->count < count; out->count++) {
        struct err why = ERR_INIT;
        int rc = read_object(json_array_get(list, out->count), a, &out->events[out->count], &why);
        if (rc == 0)
            continue;
        char field[ERR_FIELD_MAX];
        snprintf(field, sizeof(field), why.field[0] != '\0' ? "[%zu].%.80s" : "[%zu]", out->count,
                 why.field);
        return err_field(e, rc, field, "event %zu of the batch: %s", out->count, why.text);
    }
    return 0;
}

/* ---- Which mode ---- */

static bool is_type(const char *type, const char *want)
{
    size_t n = strlen(want);
    return cloudevent_bare(type) == n && strncasecmp(type, want, n) == 0;
}

static int find_mode(const char *type, enum cloudevent_mode *mode, struct err *e)
{
    *mode = CLOUDEVENT_BINARY;
    if (!cloudevent_is_own(type))
        return 0;
    if (is_type(type, "application/cloudevents+json"))
        *mode = CLOUDEVENT_STRUCTURED;
    else if (is_type(type, "application/cloudevents-batch+json"))
        *mode = CLOUDEVENT_BATCH;
    if (*mode == CLOUDEVENT_BINARY || !cloudevent_is_utf8(type))
        return err_field(e, ERR_MEDIA_TYPE, "Content-Type",
                         "'%.80s' is not read here; send application/cloudevents+json or "
                         "application/cloudevents-batch+json in UTF-8, or the attributes as "
                         "'ce-' headers",
                         type);
    return 0;
}

static int find_type(const struct cloudevent_header *headers, size_t count, const char **out,
                     struct err *e)
{
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(headers[i].name, "content-type") != 0)
            continue;
        if (*out != NULL)
            return err_field(e, ERR_INVALID, "Content-Type", "Content-Type is there twice");
        *out = headers[i].value + strspn(headers[i].value, " \t");
    }
    return 0;
}

int cloudevents_read(const struct cloudevent_header *headers, size_t count, const char *body,
                     size_t n, struct arena *a, struct cloudevents *out, struct err *e)
{
    struct cloudevents got = {0};
    const char *type;
    if (n > CLOUDEVENT_BODY_MAX)
        return err_set(e, ERR_TOO_LARGE, "a body of %zu bytes; at most %d are taken", n,
                       CLOUDEVENT_BODY_MAX);
    int rc = find_type(headers, count, &type, e);
    if (rc == 0)
        rc = find_mode(type, &got.mode, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *v = NULL;
    if (got.mode != CLOUDEVENT_BINARY && (v = json_read(body, n, e)) == NULL)
        return e != NULL && e->code != 0 ? e->code : ERR_INVALID;
    if (got.mode == CLOUDEVENT_BATCH) {
        rc = read_batch(v, a, &got, e);
    } else {
        got.events = arena_try(a, sizeof(*got.events));
        got.count = 1;
        if (got.events == NULL)
            return out_of_room(e);
        rc = got.mode == CLOUDEVENT_STRUCTURED
                 ? read_object(v, a, got.events, e)
                 : read_binary(headers, count, type, &(struct str){body, n}, a, got.events, e);
    }
    if (rc == 0)
        *out = got;
    return rc;
}
