/* Reading JSON text into jansson's values. jansson's own reader takes a byte at a time through
 * three function calls, which was a sixth of all the work of an arrival; its values are what we
 * keep. The tests and the fuzzer hold this reader against jansson's. */
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json_priv.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    TOKEN_SHOWN_MAX = 40, /* bytes of a token that an error quotes */
};

/* ---- errors ---- */

void json_bad_at(const struct json_reader *r, const char *at, const char *what)
{
    uint64_t line = r->from->line, column = r->from->column;
    const char *start = r->text;
    for (const char *p = r->text; p < at; p++)
        if (*p == '\n') {
            line++;
            column = 1;
            start = p + 1;
        }
    column += str_utf8_len(start, (size_t)(at - start));
    err_set(r->e, ERR_INVALID, "line %" PRIu64 ", column %" PRIu64 ", offset %" PRIu64 ": %s", line,
            column, r->from->offset + (uint64_t)(at - r->text), what);
}

bool json_is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '+' || c == '-' || ((unsigned char)c & 0x80) != 0;
}

/* The token that stands at the reader: a word, the beginning of a string, or one character. */
static size_t token_length(const struct json_reader *r)
{
    size_t left = (size_t)(r->end - r->p), n = 0;
    if (*r->p == '"') {
        for (n = 1; n < left && n < TOKEN_SHOWN_MAX && r->p[n] != '"' && r->p[n] != '\n';)
            n++;
        return n + (n < left && r->p[n] == '"');
    }
    while (n < left && n < TOKEN_SHOWN_MAX && json_is_word(r->p[n]))
        n++;
    return n > 0 ? n : 1;
}

bool json_bad_token(const struct json_reader *r, const char *expected)
{
    char words[TOKEN_SHOWN_MAX + 100], token[TOKEN_SHOWN_MAX + 8];
    if (r->p == r->end) {
        json_bad_at(r, r->end, r->text == r->end ? "the text is empty" : "the text ends too early");
        return false;
    }
    if (*r->p == '\0') {
        json_bad_at(r, r->p, "a NUL byte");
        return false;
    }
    size_t n = token_length(r);
    memcpy(token, r->p, n);
    token[n] = '\0';
    str_utf8_repair(token, n); /* it may end in the middle of a character */
    snprintf(words, sizeof(words), "%s near '%s'", expected, token);
    json_bad_at(r, r->p, words);
    return false;
}

static bool bad(const struct json_reader *r, const char *at, const char *what)
{
    json_bad_at(r, at, what);
    return false;
}

/* ---- strings ---- */

static const char *skip_plain(const char *p, const char *end)
{
    return p + str_json_plain(p, (size_t)(end - p));
}

/* Four hex digits; -1 when they are not. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int d = str_hex_digit(p[i]);
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* \uXXXX, or two of them for a character beyond U+FFFF; *p stands behind the 'u'. */
static bool read_unicode(struct json_reader *r, const char **p, uint32_t *out)
{
    const char *at = *p - 2;
    int32_t high = hex4(*p, r->end);
    if (high < 0)
        return bad(r, at, "\\u needs four hexadecimal digits");
    *p += 4;
    *out = (uint32_t)high;
    if (high == 0)
        return bad(r, at, "the character U+0000 is not allowed in a string");
    if (high < 0xd800 || high > 0xdfff)
        return true;
    int32_t low = r->end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, r->end) : -1;
    if (high > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return bad(r, at, "\\u has half of a surrogate pair");
    *p += 6;
    *out = 0x10000 + (((uint32_t)high & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
    return true;
}

static bool read_escape(struct json_reader *r, const char **p, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *p < r->end ? *(*p)++ : '\0';
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (known != NULL) {
        *(*out)++ = to[known - from];
        return true;
    }
    if (c != 'u')
        return bad(r, *p - 1 - (c != '\0'), "unknown escape in a string");
    uint32_t code;
    if (!read_unicode(r, p, &code))
        return false;
    *out += put_utf8(*out, code);
    return true;
}

/* The end of the string that begins at `p`, past its opening quote; NULL when it has none. */
static const char *string_end(struct json_reader *r, const char *p, bool *escapes)
{
    for (;;) {
        p = skip_plain(p, r->end);
        if (p < r->end && *p == '"')
            return p;
        if (p < r->end && *p == '\\' && p + 1 < r->end) {
            *escapes = true;
            p += 2;
            continue;
        }
        if (p < r->end && *p != '\\')
            json_bad_at(r, p,
                        *p == '\0' ? "a NUL byte"
                                   : "control character in a string; write it as an escape");
        else
            json_bad_at(r, r->end, "the text ends too early");
        return NULL;
    }
}

/* A decoded string: in place, or in `*made` when it had escapes. False: refused. */
static bool read_string(struct json_reader *r, const char **out, size_t *n, char **made)
{
    bool escapes = false;
    const char *p = ++r->p, *end = string_end(r, p, &escapes);
    *made = NULL;
    if (end == NULL)
        return false;
    r->p = end + 1;
    *out = p;
    *n = (size_t)(end - p);
    if (!escapes)
        return true;
    r->odd++;
    AUTO(mem_freep)
    char *text = mem_try(*n + 1); /* an escape is never shorter than its character */
    if (text == NULL)
        return bad(r, p, "out of memory");
    char *to = text;
    while (p < end) {
        const char *stop = skip_plain(p, end);
        memcpy(to, p, (size_t)(stop - p));
        to += stop - p;
        p = stop + 1;
        if (stop < end && !read_escape(r, &p, &to))
            return false;
    }
    *out = text;
    *n = (size_t)(to - text);
    *made = TAKE(text);
    return true;
}

static json_t *string_value(struct json_reader *r)
{
    const char *s;
    size_t n;
    char *made;
    if (!read_string(r, &s, &n, &made))
        return NULL;
    json_t *v = json_stringn_nocheck(s, n);
    mem_free(made);
    if (v == NULL)
        json_bad_at(r, r->p, "out of memory");
    return v;
}

/* ---- values ---- */

static json_t *any_value(struct json_reader *r);

static void skip_space(struct json_reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
    r->odd += r->p != from;
}

/* The reader stands at `c` and goes past it. */
static bool take(struct json_reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool set_member(struct json_reader *r, json_t *o, const char *at, const char *key, size_t n,
                       json_t *v)
{
    size_t before = json_object_size(o);
    if (json_object_setn_new_nocheck(o, key, n, v) != 0)
        return bad(r, at, "out of memory");
    if (json_object_size(o) == before)
        return bad(r, at, "duplicate object key");
    return true;
}

static bool is_noted(const struct json_reader *r, const char *key, size_t n)
{
    return r->note != NULL && r->depth == 1 && strlen(r->note->member) == n &&
           memcmp(key, r->note->member, n) == 0;
}

static json_t *member_value(struct json_reader *r, const char *key, size_t n)
{
    if (!is_noted(r, key, n))
        return any_value(r);
    skip_space(r);
    const char *from = r->p;
    size_t odd = r->odd;
    r->note->spared = r->note->spare && from < r->end && *from == '{' && json_skip_printed(r);
    json_t *v = r->note->spared ? json_true() : any_value(r);
    if (v != NULL && r->odd == odd) {
        r->note->text = from;
        r->note->n = (size_t)(r->p - from);
    }
    return v;
}

static bool read_member(struct json_reader *r, json_t *o)
{
    const char *key, *at = r->p;
    size_t n;
    char *made;
    if (r->p == r->end || *r->p != '"')
        return json_bad_token(r, json_object_size(o) == 0 ? "string or '}' expected"
                                                          : "string expected");
    bool ok = read_string(r, &key, &n, &made);
    if (ok && !take(r, ':'))
        ok = json_bad_token(r, "':' expected");
    json_t *v = ok ? member_value(r, key, n) : NULL;
    ok = v != NULL && set_member(r, o, at, key, n, v);
    mem_free(made);
    return ok;
}

static json_t *object_value(struct json_reader *r)
{
    AUTO(json_unref) json_t *o = json_object();
    r->p++;
    if (take(r, '}'))
        return TAKE(o);
    do {
        skip_space(r);
        if (!read_member(r, o))
            return NULL;
    } while (take(r, ','));
    if (take(r, '}'))
        return TAKE(o);
    json_bad_token(r, "'}' expected");
    return NULL;
}

static json_t *array_value(struct json_reader *r)
{
    AUTO(json_unref) json_t *a = json_array();
    r->p++;
    if (take(r, ']'))
        return TAKE(a);
    do {
        json_t *v = any_value(r);
        if (v == NULL)
            return NULL;
        if (json_array_append_new(a, v) != 0) {
            json_bad_at(r, r->p, "out of memory");
            return NULL;
        }
    } while (take(r, ','));
    if (take(r, ']'))
        return TAKE(a);
    json_bad_token(r, "']' expected");
    return NULL;
}

static json_t *nested(struct json_reader *r, json_t *(*value)(struct json_reader *r))
{
    if (r->depth == JSON_DEPTH_MAX) {
        json_bad_at(r, r->p, "arrays and objects are nested deeper than 64");
        return NULL;
    }
    r->depth++;
    json_t *v = value(r);
    r->depth--;
    return v;
}

static bool take_word(struct json_reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0 ||
        (r->p + n < r->end && json_is_word(r->p[n])))
        return false;
    r->p += n;
    return true;
}

static json_t *word_value(struct json_reader *r)
{
    if (take_word(r, "true"))
        return json_true();
    if (take_word(r, "false"))
        return json_false();
    if (take_word(r, "null"))
        return json_null();
    json_bad_token(r, r->p < r->end && json_is_word(*r->p) ? "invalid token" : "unexpected token");
    return NULL;
}

static json_t *any_value(struct json_reader *r)
{
    skip_space(r);
    char c = r->p < r->end ? *r->p : '\0';
    switch (c) {
    case '{':
        return nested(r, object_value);
    case '[':
        return nested(r, array_value);
    case '"':
        return string_value(r);
    case '-':
    case '0' ... '9':
        return json_read_number(r);
    default:
        return word_value(r);
    }
}

json_t *json_read_noting(const char *text, size_t n, const struct json_place *from,
                         struct json_note *note, struct err *e)
{
    text = n > 0 ? text : "";
    struct json_reader r = {
        .text = text, .p = text, .end = text + n, .from = from, .e = e, .note = note};
    if (note != NULL) {
        note->text = NULL;
        note->spared = false;
    }
    size_t valid = str_utf8_valid(text, n);
    if (valid < n) {
        char words[64];
        snprintf(words, sizeof(words), "not valid UTF-8: byte 0x%02x", (unsigned char)text[valid]);
        json_bad_at(&r, text + valid, words);
        return NULL;
    }
    json_t *v = any_value(&r);
    if (v == NULL)
        return NULL;
    skip_space(&r);
    if (r.p == r.end)
        return v;
    json_bad_token(&r, "end of text expected");
    json_decref(v);
    return NULL;
}

json_t *json_read_at(const char *text, size_t n, const struct json_place *from, struct err *e)
{
    return json_read_noting(text, n, from, NULL, e);
}

json_t *json_read(const char *text, size_t n, struct err *e)
{
    static const struct json_place start = {1, 1, 0};
    return json_read_at(text, n, &start, e);
}
