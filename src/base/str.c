#include "base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { STR_NUMBER_MAX = 511, STR_DISTANCE_MAX = 64, STR_NEAR = 3, STR_ID_MAX = 256 };

struct str str_of(const char *s)
{
    return (struct str){s, s != NULL ? strlen(s) : 0};
}

bool str_eq(struct str a, const char *b)
{
    size_t n = strlen(b);
    return a.n == n && (n == 0 || memcmp(a.p, b, n) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* Length of the well-formed sequence at p (RFC 3629: shortest form, no surrogates, up to U+10FFFF),
 * or 0. */
static size_t str_utf8_seq(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t len;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

bool str_copy(char *out, size_t cap, const char *s)
{
    ASSERT(cap > 0);
    size_t n = s ? strlen(s) : 0;
    size_t kept = n < cap ? n : cap - 1;
    memcpy(out, s ? s : "", kept);
    out[kept] = '\0';
    return kept == n;
}

size_t str_utf8_valid(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t at = 0;
    while (at < n) {
        uint64_t word;
        if (n - at >= 8) { /* most text is ASCII: eight at a time */
            memcpy(&word, p + at, 8);
            if ((word & 0x8080808080808080) == 0) {
                at += 8;
                continue;
            }
        }
        size_t len = str_utf8_seq(p + at, n - at);
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

size_t str_json_plain(const char *s, size_t n)
{
    static const bool ends[256] = {[0x00 ... 0x1f] = true, ['"'] = true, ['\\'] = true};
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    size_t at = 0;
    for (; n - at >= 8; at += 8) {
        uint64_t w;
        memcpy(&w, s + at, 8);
        uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
        /* The high bit of each byte that is below 0x20, or became zero; rarely of one above such a
         * byte. */
        if ((((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            high)
            break;
    }
    while (at < n && !ends[(unsigned char)s[at]])
        at++;
    return at;
}

bool str_is_utf8(const char *s, size_t n)
{
    return str_utf8_valid(s, n) == n;
}

void str_utf8_repair(char *s, size_t n)
{
    if (str_is_utf8(s, n))
        return;
    for (size_t at = 0; at < n;) {
        size_t len = str_utf8_seq((const unsigned char *)s + at, n - at);
        if (len == 0)
            s[at] = '?';
        at += len > 0 ? len : 1;
    }
}

size_t str_utf8_len(const char *s, size_t n)
{
    const uint64_t low = 0x0101010101010101;
    size_t at = 0, inner = 0; /* bytes 10xxxxxx begin nothing */
    for (; n - at >= 8; at += 8) {
        uint64_t w;
        memcpy(&w, s + at, 8);
        inner += (size_t)__builtin_popcountll((w >> 7) & ~(w >> 6) & low);
    }
    for (; at < n; at++)
        inner += ((unsigned char)s[at] & 0xc0) == 0x80;
    return n - inner;
}

int str_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool str_to_u64(const char *s, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v))
            return false;
    }
    if (n == 0)
        return false;
    *out = v;
    return true;
}

size_t str_from_u64(uint64_t v, char out[STR_U64_DIGITS])
{
    char digits[STR_U64_DIGITS];
    size_t at = sizeof(digits), n;
    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    n = sizeof(digits) - at;
    memcpy(out, digits + at, n);
    return n;
}

bool str_to_i64(const char *s, size_t n, int64_t *out)
{
    bool minus = n > 0 && s[0] == '-';
    uint64_t v;
    if (!str_to_u64(s + minus, n - minus, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + minus)
        return false;
    *out = (int64_t)(minus ? 0 - v : v);
    return true;
}

static size_t str_digits(const char *s, size_t n, size_t at)
{
    while (at < n && s[at] >= '0' && s[at] <= '9')
        at++;
    return at;
}

/* [+-] digits [. digits] [e [+-] digits], at least one digit before or after the point. */
static bool str_is_number(const char *s, size_t n)
{
    size_t at = n > 0 && (s[0] == '-' || s[0] == '+');
    size_t whole = str_digits(s, n, at);
    size_t count = whole - at;
    at = whole;
    if (at < n && s[at] == '.') {
        size_t end = str_digits(s, n, at + 1);
        count += end - at - 1;
        at = end;
    }
    if (count == 0)
        return false;
    if (at < n && (s[at] == 'e' || s[at] == 'E')) {
        at++;
        at += at < n && (s[at] == '-' || s[at] == '+');
        size_t end = str_digits(s, n, at);
        if (end == at)
            return false;
        at = end;
    }
    return at == n;
}

bool str_to_double(const char *s, size_t n, double *out)
{
    /* strtod reads more than numbers (spaces, hex, names), hence the check; it is free of locale
     * because the program never leaves the "C" locale. */
    char text[STR_NUMBER_MAX + 1];
    if (n > STR_NUMBER_MAX || !str_is_number(s, n))
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    double v = strtod(text, NULL);
    if (!isfinite(v))
        return false;
    *out = v;
    return true;
}

static int str_min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int str_distance(const char *a, const char *b)
{
    size_t n = strnlen(a, STR_DISTANCE_MAX), m = strnlen(b, STR_DISTANCE_MAX);
    int row[STR_DISTANCE_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int above = row[j];
            row[j] = str_min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

const char *str_nearest(const char *s, const char *const *names, size_t count)
{
    const char *best = NULL;
    int least = STR_NEAR + 1;
    for (size_t i = 0; i < count; i++) {
        int d = str_distance(s, names[i]);
        /* A name of which nothing is left is no hint. */
        if (d < least && (size_t)d < strlen(names[i])) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

static bool str_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int str_check_name(const char *s, const char *what, struct err *e)
{
    size_t n = strlen(s);
    bool good = n >= 1 && n <= 64 && str_is_letter(s[0]);
    for (size_t i = 1; good && i < n; i++)
        good = str_is_letter(s[i]) || (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || s[i] == '-';
    if (good)
        return 0;
    return err_set(e, ERR_INVALID,
                   "'%.80s' is not a name for %s: a letter, then up to 63 letters, digits, '_' or "
                   "'-'",
                   s, what);
}

static bool str_has_control(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0) /* U+0080..U+009F */
            return true;
    }
    return false;
}

int str_check_id(const char *s, size_t n, struct err *e)
{
    static const char *const taken[] = {".",    "..",   "new",     "bulk",  "query",
                                        "copy", "move", "changes", "mirror"};
    if (n < 1 || n > STR_ID_MAX)
        return err_set(e, ERR_INVALID, "an id has 1 to %d bytes, not %zu", STR_ID_MAX, n);
    if (!str_is_utf8(s, n))
        return err_set(e, ERR_INVALID, "the id is not valid UTF-8");
    if (str_has_control(s, n))
        return err_set(e, ERR_INVALID, "the id contains a control character");
    if (memchr(s, '/', n) != NULL)
        return err_set(e, ERR_INVALID, "the id '%.*s' contains a '/'", (int)n, s);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (str_eq((struct str){s, n}, taken[i]))
            return err_set(e, ERR_INVALID, "'%s' cannot be an id: it is a word of the URLs",
                           taken[i]);
    return 0;
}

static bool str_is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

void str_kebab(const char *s, char *out, size_t cap)
{
    size_t at = 0;
    ASSERT(cap > 0);
    for (size_t i = 0; s[i] != '\0' && at + 2 < cap; i++) {
        char c = s[i] == '_' ? '-' : s[i];
        /* "OrderLine": before L; "HTTPServer": before S, the last of the capitals. */
        bool begins = str_is_upper(c) && i > 0 && s[i - 1] != '_' && s[i - 1] != '-' &&
                      (!str_is_upper(s[i - 1]) || (s[i + 1] >= 'a' && s[i + 1] <= 'z'));
        if (begins)
            out[at++] = '-';
        out[at++] = str_is_upper(c) ? (char)(c - 'A' + 'a') : c;
    }
    out[at] = '\0';
}
