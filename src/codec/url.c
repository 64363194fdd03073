#include "codec/url.h"

#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

static bool url_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void url_encode(const char *s, size_t n, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from = 0; /* what is plain goes in one piece */
    for (size_t i = 0; i < n; i++) {
        if (url_is_plain(s[i]))
            continue;
        unsigned char c = (unsigned char)s[i];
        char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
        buf_add(out, s + from, i - from);
        buf_add(out, escape, sizeof(escape));
        from = i + 1;
    }
    buf_add(out, s + from, n - from);
}

static int url_unescape(const char *s, size_t n, bool plus, char *to, struct err *e)
{
    char *begin = to;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '%') {
            int high = n - i > 2 ? str_hex_digit(s[i + 1]) : -1;
            int low = n - i > 2 ? str_hex_digit(s[i + 2]) : -1;
            if (high < 0 || low < 0)
                return err_set(e, ERR_INVALID,
                               "'%%' at offset %zu is not followed by two hex digits; a percent "
                               "sign itself is %%25",
                               i);
            c = (char)(uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return err_set(e, ERR_INVALID, "a NUL at offset %zu", i);
        *to++ = c;
    }
    *to = '\0';
    if (!str_is_utf8(begin, (size_t)(to - begin)))
        return err_set(e, ERR_INVALID, "not valid UTF-8 after decoding");
    return 0;
}

static int url_decode_as(const char *s, size_t n, bool plus, struct arena *a, char **out,
                         struct err *e)
{
    char *to = arena_try(a, n + 1);
    if (to == NULL)
        return err_set(e, ERR_TOO_LARGE, "%zu bytes are too many here", n);
    int rc = url_unescape(s, n, plus, to, e);
    if (rc == 0)
        *out = to;
    return rc;
}

int url_decode(const char *s, size_t n, struct arena *a, char **out, struct err *e)
{
    return url_decode_as(s, n, false, a, out, e);
}

static int url_query_one(const char *s, size_t n, struct arena *a, struct url_param *out,
                         struct err *e)
{
    char *name, *value;
    const char *equals = memchr(s, '=', n);
    size_t name_n = equals != NULL ? (size_t)(equals - s) : n;
    const char *rest = equals != NULL ? equals + 1 : s + n;
    int rc = url_decode_as(s, name_n, true, a, &name, e);
    if (rc == 0)
        rc = url_decode_as(rest, (size_t)(s + n - rest), true, a, &value, e);
    if (rc != 0) {
        err_context(e, "query parameter '%.*s'", (int)(name_n < 64 ? name_n : 64), s);
        return rc;
    }
    *out = (struct url_param){name, value};
    return 0;
}

static size_t url_query_count(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += s[i] != '&' && (i == 0 || s[i - 1] == '&');
    return count;
}

int url_query_parse(const char *s, size_t n, struct arena *a, struct url_query *out, struct err *e)
{
    struct url_query q = {0};
    size_t count = url_query_count(s, n);
    if (count > URL_PARAMS_MAX)
        return err_set(e, ERR_TOO_LARGE, "the query has %zu parameters; at most %d are taken",
                       count, URL_PARAMS_MAX);
    q.params = arena_try(a, count * sizeof(*q.params));
    if (q.params == NULL)
        return err_set(e, ERR_TOO_LARGE, "the query is too large");
    for (size_t at = 0; at < n;) {
        const char *amp = memchr(s + at, '&', n - at);
        size_t len = amp != NULL ? (size_t)(amp - s) - at : n - at;
        if (len > 0) {
            int rc = url_query_one(s + at, len, a, &q.params[q.count], e);
            if (rc != 0)
                return rc;
            q.count++;
        }
        at += len + 1;
    }
    *out = q;
    return 0;
}

const char *url_query_get(const struct url_query *q, const char *name)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->params[i].name, name) == 0)
            return q->params[i].value;
    return NULL;
}

void url_query_add(struct buf *out, const char *name, const char *value)
{
    if (out->len > 0 && out->data[out->len - 1] != '?' && out->data[out->len - 1] != '&')
        buf_addc(out, '&');
    url_encode(name, strlen(name), out);
    buf_addc(out, '=');
    url_encode(value, strlen(value), out);
}
