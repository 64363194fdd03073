/* UUID - version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits. Text form is 36
 * characters, lower case. Pure: time and random bytes come from the caller. */
#ifndef KOAN_BASE_UUID_H
#define KOAN_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UUID_TEXT = 37 /* with the NUL */ };

struct uuid {
    uint8_t b[16];
};

/* A generator that keeps ids of one thread in order even within a millisecond: the 12 bits behind
 * the version count up. `random` is 8 fresh random bytes each. */
struct uuid_gen {
    uint64_t last_ms;
    uint16_t seq;
};
void uuid_v7(struct uuid_gen *g, uint64_t unix_ms, const uint8_t random[8], struct uuid *out);
void uuid_format(const struct uuid *u, char out[UUID_TEXT]);
/* Accepts upper and lower case; only the 36-character form. */
bool uuid_parse(const char *s, size_t n, struct uuid *out);

#endif
