#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

/* ---- CRC32C ---- */

/* Four bits at a time keeps the fallback's table small enough to be read and checked: entry i is i
 * pushed four times through the reversed polynomial 0x82f63b78. */
static const uint32_t hash_crc_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static uint32_t hash_crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = (crc >> 4) ^ hash_crc_nibble[crc & 15];
        crc = (crc >> 4) ^ hash_crc_nibble[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t hash_crc_sse(uint32_t crc, const uint8_t *p,
                                                               size_t n)
{
    uint64_t wide = crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n > 0; n--, p++)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~hash_crc_sse(~crc, p, n);
#endif
    return ~hash_crc_table(~crc, p, n);
}

uint32_t hash_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    return ~hash_crc_table(~crc, p, n);
}

/* ---- hash64: XXH64, written from its published description (xxHash fast digest algorithm,
 * section "XXH64 algorithm"), so that others can check our state hash with common tools. ---- */

static const uint64_t HASH_P1 = 0x9e3779b185ebca87, HASH_P2 = 0xc2b2ae3d27d4eb4f,
                      HASH_P3 = 0x165667b19e3779f9, HASH_P4 = 0x85ebca77c2b2ae63,
                      HASH_P5 = 0x27d4eb2f165667c5;

static uint64_t hash_rotl(uint64_t v, int bits)
{
    return v << bits | v >> (64 - bits);
}

static uint64_t hash_le(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static uint64_t hash_round(uint64_t lane, uint64_t word)
{
    return hash_rotl(lane + word * HASH_P2, 31) * HASH_P1;
}

static uint64_t hash_merge(uint64_t h, uint64_t lane)
{
    return (h ^ hash_round(0, lane)) * HASH_P1 + HASH_P4;
}

/* Whole stripes of 32 bytes over four lanes; *p is moved behind them. */
static uint64_t hash_stripes(uint64_t seed, const uint8_t **p, size_t stripes)
{
    uint64_t a = seed + HASH_P1 + HASH_P2, b = seed + HASH_P2, c = seed, d = seed - HASH_P1;
    for (; stripes > 0; stripes--, *p += 32) {
        a = hash_round(a, hash_le(*p, 8));
        b = hash_round(b, hash_le(*p + 8, 8));
        c = hash_round(c, hash_le(*p + 16, 8));
        d = hash_round(d, hash_le(*p + 24, 8));
    }
    uint64_t h = hash_rotl(a, 1) + hash_rotl(b, 7) + hash_rotl(c, 12) + hash_rotl(d, 18);
    return hash_merge(hash_merge(hash_merge(hash_merge(h, a), b), c), d);
}

static uint64_t hash_end(uint64_t h)
{
    h = (h ^ h >> 33) * HASH_P2;
    h = (h ^ h >> 29) * HASH_P3;
    return h ^ h >> 32;
}

uint64_t hash64_cell(uint64_t seed, uint8_t byte, uint64_t word)
{
    uint8_t cell[9] = {byte};
    memcpy(cell + 1, &word, sizeof word);
    uint64_t h = seed + HASH_P5 + sizeof cell;
    h = hash_rotl(h ^ hash_round(0, hash_le(cell, 8)), 27) * HASH_P1 + HASH_P4;
    return hash_end(hash_rotl(h ^ cell[8] * HASH_P5, 11) * HASH_P1);
}

uint64_t hash64(uint64_t seed, const void *p, size_t n)
{
    const uint8_t *at = p;
    uint64_t h = n >= 32 ? hash_stripes(seed, &at, n / 32) : seed + HASH_P5;
    h += n;
    n %= 32;
    for (; n >= 8; n -= 8, at += 8)
        h = hash_rotl(h ^ hash_round(0, hash_le(at, 8)), 27) * HASH_P1 + HASH_P4;
    for (; n >= 4; n -= 4, at += 4)
        h = hash_rotl(h ^ hash_le(at, 4) * HASH_P1, 23) * HASH_P2 + HASH_P3;
    for (; n > 0; n--, at++)
        h = hash_rotl(h ^ *at * HASH_P5, 11) * HASH_P1;
    return hash_end(h);
}
