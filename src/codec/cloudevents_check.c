#include "codec/cloudevents_priv.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

/* ---- Media types ---- */

size_t cloudevent_bare(const char *type)
{
    size_t n = strcspn(type, ";");
    while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
        n--;
    return n;
}

static bool bare_ends(const char *type, const char *end)
{
    size_t n = cloudevent_bare(type), m = strlen(end);
    return n > m && strncasecmp(type + n - m, end, m) == 0;
}

bool cloudevent_is_json(const char *type)
{
    return type != NULL && (bare_ends(type, "/json") || bare_ends(type, "+json"));
}

bool cloudevent_is_text(const char *type)
{
    return type != NULL &&
           (strncasecmp(type, "text/", 5) == 0 || bare_ends(type, "/xml") ||
            bare_ends(type, "+xml")) &&
           cloudevent_is_utf8(type);
}

bool cloudevent_is_own(const char *type)
{
    return type != NULL && strncasecmp(type, "application/cloudevents", 23) == 0;
}

bool cloudevent_is_utf8(const char *type)
{
    for (const char *at = strchr(type, ';'); at != NULL; at = strchr(at, ';')) {
        at += 1 + strspn(at + 1, " \t");
        if (strncasecmp(at, "charset=", 8) != 0)
            continue;
        at += 8;
        at += *at == '"';
        size_t n = strcspn(at, "\"; \t");
        if (!(n == 5 && strncasecmp(at, "utf-8", 5) == 0) &&
            !(n == 8 && strncasecmp(at, "us-ascii", 8) == 0))
            return false;
    }
    return true;
}

static bool is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_media_type(const char *s)
{
    size_t bare = cloudevent_bare(s), at = 0;
    while (is_token(s[at]))
        at++;
    size_t slash = at;
    if (slash == 0 || s[at++] != '/')
        return false;
    while (is_token(s[at]))
        at++;
    if (at != bare || at == slash + 1)
        return false;
    for (; s[at] != '\0'; at++)
        if ((unsigned char)s[at] >= 0x7f)
            return false;
    return true;
}

/* ---- Values ---- */

static bool is_uri_reference(const char *s)
{
    bool fragment = false;
    for (; *s != '\0'; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
        if (letter || (*s >= '0' && *s <= '9') || strchr("-._~:/?[]@!$&'()*+,;=", *s) != NULL)
            continue;
        if (*s == '%' && str_hex_digit(s[1]) >= 0 && str_hex_digit(s[2]) >= 0)
            continue;
        if (*s != '#' || fragment)
            return false;
        fragment = true;
    }
    return true;
}

static bool is_uri(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');
    return letter && s[n] == ':' && s[n + 1] != '\0' && is_uri_reference(s);
}

static bool is_time(const char *s)
{
    int64_t ms;
    return strlen(s) > 10 && (s[10] == 'T' || s[10] == 't') && time_parse(s, strlen(s), &ms);
}

static bool is_any(const char *s __attribute__((unused)))
{
    return true;
}

struct member {
    const char *name;
    size_t at;
    bool required;
    bool (*good)(const char *value);
    const char *form; /* what good() wants, for the message */
};

#define MEMBER(field, needed, check, words)                                                        \
    {                                                                                              \
        .name = #field, .at = offsetof(struct cloudevent, field), .required = needed,              \
        .good = check, .form = words                                                               \
    }
static const struct member members[] = {
    MEMBER(id, true, is_any, ""),
    MEMBER(source, true, is_uri_reference,
           "a URI reference, like '/orders' or 'https://example.com/orders'; other characters are "
           "percent-encoded"),
    MEMBER(type, true, is_any, ""),
    MEMBER(subject, false, is_any, ""),
    MEMBER(time, false, is_time, "a time of RFC 3339, like 2026-01-31T10:00:00Z"),
    MEMBER(datacontenttype, false, is_media_type, "a media type, like application/json"),
    MEMBER(dataschema, false, is_uri, "an absolute URI, like https://example.com/order.json"),
};

const char *cloudevent_member_name(size_t i)
{
    return i < ARRAY_LEN(members) ? members[i].name : NULL;
}

const char **cloudevent_member(struct cloudevent *ev, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return (const char **)(void *)((char *)ev + members[i].at);
    return NULL;
}

int cloudevent_check_name(const char *name, struct err *e)
{
    size_t n = strlen(name);
    bool good = n >= 1 && n <= CLOUDEVENT_NAME_MAX && strcmp(name, "data") != 0;
    for (size_t i = 0; good && i < n; i++)
        good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9');
    if (good)
        return 0;
    return err_field(e, ERR_INVALID, name,
                     "'%.80s' is no name of an attribute: 1 to %d of a-z and 0-9, and not 'data'",
                     name, CLOUDEVENT_NAME_MAX);
}

/* The first code point that no value may have, or -1; the text is UTF-8. */
static int32_t forbidden_point(const char *s)
{
    while (*s != '\0') {
        unsigned char c = (unsigned char)*s++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        uint32_t u = more == 0 ? c : c & (0x3fu >> more);
        for (int i = 0; i < more; i++)
            u = u << 6 | ((unsigned char)*s++ & 0x3f);
        if (u < 0x20 || (u >= 0x7f && u <= 0x9f) || (u >= 0xfdd0 && u <= 0xfdef) ||
            (u & 0xfffe) == 0xfffe)
            return (int32_t)u;
    }
    return -1;
}

static int check_text(const char *name, const char *value, struct err *e)
{
    size_t n = strlen(value), good = str_utf8_valid(value, n);
    if (good < n)
        return err_field(e, ERR_INVALID, name, "%s is not UTF-8 at offset %zu", name, good);
    int32_t bad = forbidden_point(value);
    if (bad >= 0)
        return err_field(e, ERR_INVALID, name,
                         "%s has U+%04X in it; control characters and what is no character cannot "
                         "be in an attribute",
                         name, (unsigned)bad);
    return 0;
}

static int check_member(const struct member *m, const char *value, struct err *e)
{
    if (value == NULL && !m->required)
        return 0;
    if (value == NULL)
        return err_field(e, ERR_INVALID, m->name,
                         "%s is missing; an event has specversion, id, source and type", m->name);
    if (*value == '\0')
        return err_field(e, ERR_INVALID, m->name, "%s is empty; %s", m->name,
                         m->required ? "an event must have it" : "leave it out");
    int rc = check_text(m->name, value, e);
    if (rc == 0 && !m->good(value))
        rc = err_field(e, ERR_INVALID, m->name, "%s '%.80s' is not %s", m->name, value, m->form);
    return rc;
}

static bool is_kind(const struct cloudevent_extension *x)
{
    int64_t v;
    char text[24];
    if (x->kind == CLOUDEVENT_TEXT)
        return true;
    if (x->kind == CLOUDEVENT_BOOL)
        return strcmp(x->value, "true") == 0 || strcmp(x->value, "false") == 0;
    if (!str_to_i64(x->value, strlen(x->value), &v) || v < INT32_MIN || v > INT32_MAX)
        return false;
    snprintf(text, sizeof(text), "%lld", (long long)v);
    return strcmp(text, x->value) == 0;
}

static int check_extension(const struct cloudevent *ev, size_t i, struct err *e)
{
    const struct cloudevent_extension *x = &ev->extensions[i];
    int rc = cloudevent_check_name(x->name, e);
    bool taken = strcmp(x->name, "specversion") == 0 ||
                 cloudevent_member((struct cloudevent *)(uintptr_t)ev, x->name) != NULL;
    for (size_t k = 0; k < i && !taken; k++)
        taken = strcmp(x->name, ev->extensions[k].name) == 0;
    if (rc == 0 && taken)
        return err_field(e, ERR_INVALID, x->name, "%s is there twice", x->name);
    if (rc == 0)
        rc = check_text(x->name, x->value, e);
    if (rc == 0 && !is_kind(x))
        rc = err_field(e, ERR_INVALID, x->name, "%s '%.80s' is not %s", x->name, x->value,
                       x->kind == CLOUDEVENT_BOOL ? "true or false" : "an integer of 32 bits");
    return rc;
}

int cloudevent_check_attributes(const struct cloudevent *ev, struct err *e)
{
    size_t bytes = 0;
    int rc = 0;
    if (ev->extension_count > CLOUDEVENT_EXTENSIONS_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu extension attributes; an event has at most %d",
                       ev->extension_count, CLOUDEVENT_EXTENSIONS_MAX);
    for (size_t i = 0; i < ARRAY_LEN(members) && rc == 0; i++) {
        const char *value = *(const char *const *)(const void *)((const char *)ev + members[i].at);
        rc = check_member(&members[i], value, e);
        bytes += value != NULL ? strlen(members[i].name) + strlen(value) : 0;
    }
    for (size_t i = 0; i < ev->extension_count && rc == 0; i++) {
        rc = check_extension(ev, i, e);
        bytes += strlen(ev->extensions[i].name) + strlen(ev->extensions[i].value);
    }
    if (rc == 0 && bytes > CLOUDEVENT_ATTRIBUTES_BYTES)
        rc = err_set(e, ERR_TOO_LARGE, "the attributes have %zu bytes; at most %d are taken", bytes,
                     CLOUDEVENT_ATTRIBUTES_BYTES);
    return rc;
}

/* ---- Data ---- */

/* Of text that is JSON. */
static size_t json_depth(const char *s, size_t n)
{
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted && s[i] == '\\')
            i++;
        else if (s[i] == '"')
            quoted = !quoted;
        else if (!quoted && (s[i] == '{' || s[i] == '['))
            most = ++depth > most ? depth : most;
        else if (!quoted && (s[i] == '}' || s[i] == ']'))
            depth--;
    }
    return most;
}

int cloudevent_check_data(const struct cloudevent *ev, size_t *depth, struct err *e)
{
    *depth = 0;
    if (!ev->has_data)
        return 0;
    if (ev->data_n > CLOUDEVENT_DATA_MAX)
        return err_field(e, ERR_TOO_LARGE, "data", "data of %zu bytes; at most %d are taken",
                         ev->data_n, CLOUDEVENT_DATA_MAX);
    if (!cloudevent_is_json(ev->datacontenttype))
        return 0;
    struct err why = ERR_INIT;
    AUTO(json_unref) json_t *v = json_read(ev->data, ev->data_n, &why);
    if (v == NULL)
        return err_field(e, why.code, "data", "data is not the JSON that '%.80s' says: %s",
                         ev->datacontenttype, why.text);
    *depth = json_depth(ev->data, ev->data_n);
    return 0;
}

int cloudevent_check(const struct cloudevent *ev, struct err *e)
{
    size_t depth;
    int rc = cloudevent_check_attributes(ev, e);
    return rc != 0 ? rc : cloudevent_check_data(ev, &depth, e);
}
