/* Crypt - the primitives that others build on, by libsodium: random bytes, SHA-256, HMAC-SHA-256,
 * comparison in constant time, wiping.
 *
 * crypt_start() is called once before anything else here; it is safe to call again, from any
 * thread. Nothing here allocates or blocks (the first random bytes of a machine that just booted
 * excepted). */
#ifndef KOAN_CRYPT_CRYPT_H
#define KOAN_CRYPT_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum { CRYPT_SHA256 = 32, CRYPT_HMAC = 32, CRYPT_HMAC_KEY = 32 };

/* ERR_UNAVAILABLE when the machine has no source of randomness. */
int crypt_start(struct err *e);
void crypt_random(void *p, size_t n);
void crypt_sha256(const void *p, size_t n, uint8_t out[CRYPT_SHA256]);
/* One key for one purpose: `context` names it and is part of what is signed. */
void crypt_hmac(const uint8_t key[CRYPT_HMAC_KEY], const char *context, const void *p, size_t n,
                uint8_t out[CRYPT_HMAC]);
/* HMAC-SHA-256 as others speak it (webhook signatures): a key of any length, nothing added. */
void crypt_hmac_sha256(const void *key, size_t key_n, const void *p, size_t n,
                       uint8_t out[CRYPT_HMAC]);
/* Takes as long whether they differ in the first byte or the last. */
bool crypt_equal(const void *a, const void *b, size_t n);
void crypt_wipe(void *p, size_t n);

#endif
