/* Reading JSON text into jansson's values. jansson's own reader takes a byte at a time through
 * three function calls, which was a sixth of all the work of an arrival; its values are what we
 * keep. The tests and the fuzzer hold this reader against jansson's. */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    TOKEN_SHOWN_MAX = 40, /* bytes of a token that an error quotes */
    NUMBER_SHORT = 64,    /* bytes of a number that is copied to the stack */
};

struct reader {
    const char *text, *p, *end;
    const struct json_place *from;
    struct err *e;
    int depth;
};

/* ---- errors ---- */

static void bad_at(const struct reader *r, const char *at, const char *what)
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

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '+' || c == '-' || ((unsigned char)c & 0x80) != 0;
}

/* The token that stands at the reader: a word, the beginning of a string, or one character. */
static size_t token_length(const struct reader *r)
{
    size_t left = (size_t)(r->end - r->p), n = 0;
    if (*r->p == '"') {
        for (n = 1; n < left && n < TOKEN_SHOWN_MAX && r->p[n] != '"' && r->p[n] != '\n';)
            n++;
        return n + (n < left && r->p[n] == '"');
    }
    while (n < left && n < TOKEN_SHOWN_MAX && is_word(r->p[n]))
        n++;
    return n > 0 ? n : 1;
}

/* Something else stands where `expected` should. */
static bool bad_token(const struct reader *r, const char *expected)
{
    char words[TOKEN_SHOWN_MAX + 100], token[TOKEN_SHOWN_MAX + 8];
    if (r->p == r->end) {
        bad_at(r, r->end, r->text == r->end ? "the text is empty" : "the text ends too early");
        return false;
    }
    if (*r->p == '\0') {
        bad_at(r, r->p, "a NUL byte");
        return false;
    }
    size_t n = token_length(r);
    memcpy(token, r->p, n);
    token[n] = '\0';
    str_utf8_repair(token, n); /* it may end in the middle of a character */
    snprintf(words, sizeof(words), "%s near '%s'", expected, token);
    bad_at(r, r->p, words);
    return false;
}

static bool bad(const struct reader *r, const char *at, const char *what)
{
    bad_at(r, at, what);
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
static bool read_unicode(struct reader *r, const char **p, uint32_t *out)
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

static bool read_escape(struct reader *r, const char **p, char **out)
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
static const char *string_end(struct reader *r, const char *p, bool *escapes)
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
            bad_at(r, p,
                   *p == '\0' ? "a NUL byte"
                              : "control character in a string; write it as an escape");
        else
            bad_at(r, r->end, "the text ends too early");
        return NULL;
    }
}

/* A decoded string: in place, or in `*made` when it had escapes. False: refused. */
static bool read_string(struct reader *r, const char **out, size_t *n, char **made)
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

static json_t *string_value(struct reader *r)
{
    const char *s;
    size_t n;
    char *made;
    if (!read_string(r, &s, &n, &made))
        return NULL;
    json_t *v = json_stringn_nocheck(s, n);
    mem_free(made);
    if (v == NULL)
        bad_at(r, r->p, "out of memory");
    return v;
}

/* ---- numbers ---- */

struct number {
    const char *start;
    uint64_t digits; /* all digits as one integer, while they fit */
    int count;       /* of them, without leading zeros */
    int decimals;
    bool negative, real, exponent;
};

static void take_digits(struct reader *r, struct number *n, bool decimals)
{
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
        if (n->count < 19)
            n->digits = n->digits * 10 + (uint64_t)(*r->p - '0');
        n->count += n->digits > 0;
        n->decimals += decimals;
    }
}

static bool has_digit(const struct reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static bool scan_number(struct reader *r, struct number *n)
{
    *n = (struct number){.start = r->p, .negative = *r->p == '-'};
    r->p += n->negative;
    bool zero = r->p < r->end && *r->p == '0';
    if (!has_digit(r))
        return false;
    take_digits(r, n, false);
    if (zero && (r->p - n->start) > 1 + n->negative)
        return false;
    if (r->p < r->end && *r->p == '.') {
        r->p++;
        n->real = true;
        if (!has_digit(r))
            return false;
        take_digits(r, n, true);
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        n->real = n->exponent = true;
        r->p += r->p < r->end && (*r->p == '+' || *r->p == '-');
        if (!has_digit(r))
            return false;
        while (has_digit(r))
            r->p++;
    }
    return true;
}

static json_t *integer_value(struct reader *r, const struct number *n)
{
    uint64_t max = (uint64_t)INT64_MAX + n->negative;
    if (n->count > 19 || n->digits > max) {
        bad_at(r, n->start, n->negative ? "too big negative integer" : "too big integer");
        return NULL;
    }
    return json_integer((json_int_t)(n->negative ? 0 - n->digits : n->digits));
}

static json_t *real_of_text(struct reader *r, const struct number *n)
{
    char text[NUMBER_SHORT];
    size_t len = (size_t)(r->p - n->start);
    AUTO(mem_freep) char *longer = len < sizeof(text) ? NULL : mem_try(len + 1);
    if (len >= sizeof(text) && longer == NULL) {
        bad_at(r, n->start, "out of memory");
        return NULL;
    }
    char *copy = longer != NULL ? longer : text;
    memcpy(copy, n->start, len);
    copy[len] = '\0';
    double v = strtod(copy, NULL);
    if (isinf(v)) {
        bad_at(r, n->start, "real number overflow");
        return NULL;
    }
    return json_real(v);
}

/* Digits and a power of ten that a double holds exactly divide to the right double; anything else
 * is for strtod. */
static json_t *real_value(struct reader *r, const struct number *n)
{
    static const double power[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (!n->exponent && n->count <= 15 && n->decimals < (int)ARRAY_LEN(power)) {
        double v = (double)n->digits / power[n->decimals];
        return json_real(n->negative ? -v : v);
    }
    return real_of_text(r, n);
}

static json_t *number_value(struct reader *r)
{
    struct number n;
    if (!scan_number(r, &n) || (r->p < r->end && is_word(*r->p))) {
        r->p = n.start;
        bad_token(r, "invalid token");
        return NULL;
    }
    return n.real ? real_value(r, &n) : integer_value(r, &n);
}

/* ---- values ---- */

static json_t *any_value(struct reader *r);

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t' || *r->p == '\r'))
        r->p++;
}

/* The reader stands at `c` and goes past it. */
static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool set_member(struct reader *r, json_t *o, const char *at, const char *key, size_t n,
                       json_t *v)
{
    size_t before = json_object_size(o);
    if (json_object_setn_new_nocheck(o, key, n, v) != 0)
        return bad(r, at, "out of memory");
    if (json_object_size(o) == before)
        return bad(r, at, "duplicate object key");
    return true;
}

static bool read_member(struct reader *r, json_t *o)
{
    const char *key, *at = r->p;
    size_t n;
    char *made;
    if (r->p == r->end || *r->p != '"')
        return bad_token(r,
                         json_object_size(o) == 0 ? "string or '}' expected" : "string expected");
    bool ok = read_string(r, &key, &n, &made);
    if (ok && !take(r, ':'))
        ok = bad_token(r, "':' expected");
    json_t *v = ok ? any_value(r) : NULL;
    ok = v != NULL && set_member(r, o, at, key, n, v);
    mem_free(made);
    return ok;
}

static json_t *object_value(struct reader *r)
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
    bad_token(r, "'}' expected");
    return NULL;
}

static json_t *array_value(struct reader *r)
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
            bad_at(r, r->p, "out of memory");
            return NULL;
        }
    } while (take(r, ','));
    if (take(r, ']'))
        return TAKE(a);
    bad_token(r, "']' expected");
    return NULL;
}

static json_t *nested(struct reader *r, json_t *(*value)(struct reader *r))
{
    if (r->depth == JSON_DEPTH_MAX) {
        bad_at(r, r->p, "arrays and objects are nested deeper than 64");
        return NULL;
    }
    r->depth++;
    json_t *v = value(r);
    r->depth--;
    return v;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0 ||
        (r->p + n < r->end && is_word(r->p[n])))
        return false;
    r->p += n;
    return true;
}

static json_t *word_value(struct reader *r)
{
    if (take_word(r, "true"))
        return json_true();
    if (take_word(r, "false"))
        return json_false();
    if (take_word(r, "null"))
        return json_null();
    bad_token(r, r->p < r->end && is_word(*r->p) ? "invalid token" : "unexpected token");
    return NULL;
}

static json_t *any_value(struct reader *r)
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
        return number_value(r);
    default:
        return word_value(r);
    }
}

json_t *json_read_at(const char *text, size_t n, const struct json_place *from, struct err *e)
{
    text = n > 0 ? text : "";
    struct reader r = {text, text, text + n, from, e, 0};
    size_t valid = str_utf8_valid(text, n);
    if (valid < n) {
        char words[64];
        snprintf(words, sizeof(words), "not valid UTF-8: byte 0x%02x", (unsigned char)text[valid]);
        bad_at(&r, text + valid, words);
        return NULL;
    }
    json_t *v = any_value(&r);
    if (v == NULL)
        return NULL;
    skip_space(&r);
    if (r.p == r.end)
        return v;
    bad_token(&r, "end of text expected");
    json_decref(v);
    return NULL;
}

json_t *json_read(const char *text, size_t n, struct err *e)
{
    static const struct json_place start = {1, 1, 0};
    return json_read_at(text, n, &start, e);
}
