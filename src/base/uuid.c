#include "base/uuid.h"

#include <string.h>

#include "base/str.h"

enum { UUID_SEQ_MAX = 0xfff };

void uuid_v7(struct uuid_gen *g, uint64_t unix_ms, const uint8_t random[8], struct uuid *out)
{
    /* A clock that stands still or steps back does not bring ids out of order: the generator then
     * counts on from where it was, into the next millisecond if need be. */
    if (unix_ms > g->last_ms) {
        g->last_ms = unix_ms;
        g->seq = 0;
    } else if (g->seq < UUID_SEQ_MAX) {
        g->seq++;
    } else {
        g->last_ms++;
        g->seq = 0;
    }
    for (int i = 0; i < 6; i++)
        out->b[i] = (uint8_t)(g->last_ms >> (40 - 8 * i));
    out->b[6] = (uint8_t)(0x70 | g->seq >> 8);
    out->b[7] = (uint8_t)g->seq;
    memcpy(out->b + 8, random, 8);
    out->b[8] = (uint8_t)(0x80 | (random[0] & 0x3f));
}

static int uuid_has_dash(int byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    static const uint8_t places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    out[8] = out[13] = out[18] = out[23] = '-';
    for (int i = 0; i < 16; i++) {
        out[places[i]] = digits[u->b[i] >> 4];
        out[places[i] + 1] = digits[u->b[i] & 15];
    }
    out[UUID_TEXT - 1] = '\0';
}

bool uuid_parse(const char *s, size_t n, struct uuid *out)
{
    if (n != UUID_TEXT - 1)
        return false;
    struct uuid u;
    for (int i = 0; i < 16; i++) {
        if (uuid_has_dash(i) && *s++ != '-')
            return false;
        int high = str_hex_digit(s[0]), low = str_hex_digit(s[1]);
        if (high < 0 || low < 0)
            return false;
        u.b[i] = (uint8_t)(high << 4 | low);
        s += 2;
    }
    *out = u;
    return true;
}
