/* Numbers in JSON text, read and printed: integers exactly, reals as the shortest text that reads
 * back as the same. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json_priv.h"
#include "base/mem.h"

enum { NUMBER_SHORT = 64 }; /* bytes of a number that is copied to the stack */

/* ---- reading ---- */

struct number {
    const char *start;
    uint64_t digits; /* all digits as one integer, while they fit */
    int count;       /* of them, without leading zeros */
    int decimals;
    bool negative, real, exponent;
};

static void take_digits(struct json_reader *r, struct number *n, bool decimals)
{
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
        if (n->count < 19)
            n->digits = n->digits * 10 + (uint64_t)(*r->p - '0');
        n->count += n->digits > 0;
        n->decimals += decimals;
    }
}

static bool has_digit(const struct json_reader *r)
{
    return r->p < r->end && *r->p >= '0' && *r->p <= '9';
}

static bool scan_number(struct json_reader *r, struct number *n)
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

static json_t *integer_value(struct json_reader *r, const struct number *n)
{
    uint64_t max = (uint64_t)INT64_MAX + n->negative;
    if (n->count > 19 || n->digits > max) {
        json_bad_at(r, n->start, n->negative ? "too big negative integer" : "too big integer");
        return NULL;
    }
    return json_integer((json_int_t)(n->negative ? 0 - n->digits : n->digits));
}

static json_t *real_of_text(struct json_reader *r, const struct number *n)
{
    char text[NUMBER_SHORT];
    size_t len = (size_t)(r->p - n->start);
    AUTO(mem_freep) char *longer = len < sizeof(text) ? NULL : mem_try(len + 1);
    if (len >= sizeof(text) && longer == NULL) {
        json_bad_at(r, n->start, "out of memory");
        return NULL;
    }
    char *copy = longer != NULL ? longer : text;
    memcpy(copy, n->start, len);
    copy[len] = '\0';
    double v = strtod(copy, NULL);
    if (isinf(v)) {
        json_bad_at(r, n->start, "real number overflow");
        return NULL;
    }
    return json_real(v);
}

/* Digits and a power of ten that a double holds exactly divide to the right double; anything else
 * is for strtod. */
static json_t *real_value(struct json_reader *r, const struct number *n)
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

/* Whether printing gives the text that was read. Fifteen digits name one double, and the shortest
 * text of it is the one without zeros behind. */
static bool is_as_printed(const struct json_reader *r, const struct number *n, const json_t *v)
{
    if (!n->real)
        return !n->negative || n->digits > 0;
    double size = fabs(json_real_value(v));
    if (!n->exponent && n->count <= 15 && size >= 1e-4 && size < 1e9)
        return r->p[-1] != '0' || n->decimals == 1;
    AUTO(buf_fini) struct buf b = BUF_INIT(2 * NUMBER_SHORT);
    json_print_real(&b, json_real_value(v));
    size_t len = (size_t)(r->p - n->start);
    return b.len == len && memcmp(b.data, n->start, len) == 0;
}

json_t *json_read_number(struct json_reader *r)
{
    struct number n;
    if (!scan_number(r, &n) || (r->p < r->end && json_is_word(*r->p))) {
        r->p = n.start;
        json_bad_token(r, "invalid token");
        return NULL;
    }
    json_t *v = n.real ? real_value(r, &n) : integer_value(r, &n);
    if (r->note != NULL && v != NULL)
        r->odd += !is_as_printed(r, &n, v);
    return v;
}

/* ---- printing ---- */

void json_print_int(struct buf *b, int64_t v)
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

/* Integers up to 2^53 are exact in a double. */
static const double JSON_EXACT_MAX = 9007199254740992.0;
/* No double needs more digits. */
static const long double JSON_DIGITS_MAX = 1e17L;

/* Most numbers that people write have few digits. If r / 10^k, both exact in a double, divides to
 * v, then the text of r with k decimals reads back as v: division and reading round the same exact
 * quotient. The least k gives the shortest text. The number of decimals tried is left in *k. */
static bool json_print_short_real(struct buf *b, double v, size_t *k)
{
    static const double power[] = {1,   1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                   1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};
    double size = fabs(v);
    for (*k = 0; *k < ARRAY_LEN(power); (*k)++) {
        double r = nearbyint(size * power[*k]);
        if (r > JSON_EXACT_MAX)
            return false;
        if (r / power[*k] != size)
            continue;
        json_print_decimal(b, (uint64_t)r, *k, v < 0);
        return true;
    }
    return false;
}

/* Whether the exact quotient near q, which is right to half a unit in its last place, surely
 * rounds to the double that q rounds to: not so when q lies where two doubles meet. */
static bool json_rounds_alike(long double q)
{
    int exponent;
    uint64_t mantissa = (uint64_t)ldexpl(frexpl(q, &exponent), 64);
    uint64_t low = mantissa & 0x7ff;
    return low < 0x3ff || low > 0x401;
}

/* The same for sixteen and seventeen digits, with the longer mantissa of a long double; a product
 * of sixteen digits may have been rounded to a wrong integer above, so the last of those is tried
 * again. */
static bool json_print_long_real(struct buf *b, double v, size_t k)
{
    static const long double power[] = {1,     1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                        1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                        1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L};
    long double size = fabs(v);
    for (k -= k > 0; k < ARRAY_LEN(power); k++) {
        long double r = nearbyintl(size * power[k]), q = r / power[k];
        if (r >= JSON_DIGITS_MAX)
            return false;
        if (!json_rounds_alike(q))
            return false;
        if ((double)q != (double)size)
            continue;
        json_print_decimal(b, (uint64_t)r, k, v < 0);
        return true;
    }
    return false;
}

/* The shortest of 15, 16 or 17 digits that reads back as the same number; always with a point or
 * exponent, so that it comes back as a real. */
void json_print_real(struct buf *b, double v)
{
    char text[40];
    size_t k;
    double size = fabs(v);
    if (size >= 1e-4 && size < 1e9 &&
        (json_print_short_real(b, v, &k) || json_print_long_real(b, v, k)))
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
