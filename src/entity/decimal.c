#include "entity/decimal.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static size_t digits_of(const char *s, const char *end)
{
    size_t n = 0;
    while (s + n < end && s[n] >= '0' && s[n] <= '9')
        n++;
    return n;
}

bool decimal_normal(const char *s, size_t n, char out[DECIMAL_TEXT])
{
    const char *end = s + n;
    bool negative = n > 0 && *s == '-';
    if (n > 0 && (*s == '-' || *s == '+'))
        s++;
    const char *whole = s;
    size_t whole_len = digits_of(s, end);
    s += whole_len;
    const char *part = s;
    size_t part_len = 0;
    if (s < end && *s == '.') {
        part = s + 1;
        part_len = digits_of(part, end);
        if (part_len == 0)
            return false;
        s = part + part_len;
    }
    if (s != end || whole_len == 0)
        return false;
    while (whole_len > 1 && *whole == '0') {
        whole++;
        whole_len--;
    }
    while (part_len > 0 && part[part_len - 1] == '0')
        part_len--;
    bool no_whole = whole_len == 1 && *whole == '0';
    if ((no_whole ? 0 : whole_len) + part_len > DECIMAL_DIGITS)
        return false;
    negative = negative && !(no_whole && part_len == 0);
    snprintf(out, DECIMAL_TEXT, "%s%.*s%s%.*s", negative ? "-" : "", (int)whole_len, whole,
             part_len > 0 ? "." : "", (int)part_len, part);
    return true;
}

/* The digits without leading and trailing zeros, and the exponent that puts the point before the
 * first of them. Zero gives no digits. */
static size_t significant(const char *s, char out[DECIMAL_TEXT], int *exponent)
{
    size_t n = 0;
    bool fraction = false;
    *exponent = 0;
    for (; *s != '\0'; s++) {
        if (*s == '.') {
            fraction = true;
        } else if (n > 0 || *s != '0') {
            out[n++] = *s;
            *exponent += !fraction;
        } else {
            *exponent -= fraction;
        }
    }
    while (n > 0 && out[n - 1] == '0')
        n--;
    return n;
}

void decimal_key(const char *normal, char out[DECIMAL_TEXT])
{
    bool negative = *normal == '-';
    char digits[DECIMAL_TEXT];
    int exponent;
    size_t n = significant(normal + negative, digits, &exponent);
    if (n == 0) {
        memcpy(out, "1", 2);
        return;
    }
    ASSERT(exponent > -50 && exponent < 50 && n <= DECIMAL_DIGITS);
    char *p = out;
    *p++ = negative ? '0' : '2';
    *p++ = (char)('0' + (exponent + 50) / 10);
    *p++ = (char)('0' + (exponent + 50) % 10);
    memcpy(p, digits, n);
    p += n;
    if (negative) {
        for (char *q = out + 1; q < p; q++)
            *q = (char)('0' + '9' - *q);
        *p++ = '~';
    }
    *p = '\0';
}

void decimal_from_key(const char *key, char out[DECIMAL_TEXT])
{
    char digits[DECIMAL_TEXT];
    bool negative = key[0] == '0';
    size_t n = strlen(key);
    if (key[0] == '1') {
        memcpy(out, "0", 2);
        return;
    }
    n -= negative;
    for (size_t i = 1; i < n; i++)
        digits[i - 1] = negative ? (char)('0' + '9' - key[i]) : key[i];
    int exponent = (digits[0] - '0') * 10 + (digits[1] - '0') - 50;
    const char *d = digits + 2;
    int count = (int)n - 3;
    int whole = exponent <= 0 ? 0 : exponent < count ? exponent : count;
    snprintf(out, DECIMAL_TEXT, "%s%s%.*s%.*s%s%.*s%.*s", negative ? "-" : "",
             exponent <= 0 ? "0" : "", whole, d, exponent > count ? exponent - count : 0,
             "00000000000000000000000000000000000000", exponent < count ? "." : "",
             exponent < 0 ? -exponent : 0, "00000000000000000000000000000000000000", count - whole,
             d + whole);
}
