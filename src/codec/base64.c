#include "codec/base64.h"

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

static const char *base64_alphabet(enum base64_kind kind)
{
    return kind == BASE64_STD ? "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                              : "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

void base64_encode(enum base64_kind kind, const void *p, size_t n, struct buf *out)
{
    const char *letters = base64_alphabet(kind);
    const uint8_t *at = p;
    for (; n > 0; at += 3) {
        size_t take = n < 3 ? n : 3;
        uint32_t bits = (uint32_t)at[0] << 16;
        if (take > 1)
            bits |= (uint32_t)at[1] << 8;
        if (take > 2)
            bits |= at[2];
        char four[4];
        for (int i = 0; i < 4; i++)
            four[i] = (size_t)i <= take ? letters[bits >> (18 - 6 * i) & 63] : '=';
        buf_add(out, four, kind == BASE64_STD ? 4 : take + 1);
        n -= take;
    }
}

static int base64_value(enum base64_kind kind, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (kind == BASE64_STD ? '+' : '-'))
        return 62;
    if (c == (kind == BASE64_STD ? '/' : '_'))
        return 63;
    return -1;
}

int base64_decode(enum base64_kind kind, const char *s, size_t n, struct buf *out, struct err *e)
{
    if (kind == BASE64_STD && n % 4 != 0)
        return err_set(e, ERR_INVALID, "base64: %zu characters are no multiple of 4", n);
    size_t digits = n;
    for (int i = 0; i < 2 && kind == BASE64_STD && digits > 0 && s[digits - 1] == '='; i++)
        digits--;
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < digits; i++) {
        int v = base64_value(kind, s[i]);
        if (v < 0)
            return err_set(e, ERR_INVALID, "base64: wrong character at offset %zu", i);
        bits = bits << 6 | (uint32_t)v;
        held += 6;
        if (held >= 8) {
            held -= 8;
            buf_addc(out, (char)(uint8_t)(bits >> held));
        }
    }
    if (digits % 4 == 1)
        return err_set(e, ERR_INVALID, "base64: the last character is alone");
    if ((bits & ((1u << held) - 1)) != 0)
        return err_set(e, ERR_INVALID, "base64: bits are left over at offset %zu", digits - 1);
    return buf_check(out, "base64", e);
}

void hex_encode(const void *p, size_t n, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = p;
    for (size_t i = 0; i < n; i++) {
        buf_addc(out, digits[at[i] >> 4]);
        buf_addc(out, digits[at[i] & 15]);
    }
}

int hex_decode(const char *s, size_t n, struct buf *out, struct err *e)
{
    if (n % 2 != 0)
        return err_set(e, ERR_INVALID, "hex: %zu digits are an odd number", n);
    for (size_t i = 0; i < n; i += 2) {
        int high = str_hex_digit(s[i]), low = str_hex_digit(s[i + 1]);
        if (high < 0 || low < 0)
            return err_set(e, ERR_INVALID, "hex: wrong character at offset %zu",
                           high < 0 ? i : i + 1);
        buf_addc(out, (char)(uint8_t)(high << 4 | low));
    }
    return buf_check(out, "hex", e);
}
