#include "crypt/crypt.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"

int crypt_start(struct err *e)
{
    if (sodium_init() < 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "this machine has no source of random bytes: is /dev/urandom there?");
    return 0;
}

void crypt_random(void *p, size_t n)
{
    randombytes_buf(p, n);
}

void crypt_sha256(const void *p, size_t n, uint8_t out[CRYPT_SHA256])
{
    _Static_assert(CRYPT_SHA256 == crypto_hash_sha256_BYTES, "size of the digest");
    crypto_hash_sha256(out, p, n);
}

void crypt_hmac(const uint8_t key[CRYPT_HMAC_KEY], const char *context, const void *p, size_t n,
                uint8_t out[CRYPT_HMAC])
{
    _Static_assert(CRYPT_HMAC == crypto_auth_hmacsha256_BYTES, "size of the signature");
    crypto_auth_hmacsha256_state s;
    crypto_auth_hmacsha256_init(&s, key, CRYPT_HMAC_KEY);
    /* With its NUL, so that context and content cannot trade bytes. */
    crypto_auth_hmacsha256_update(&s, (const uint8_t *)context, strlen(context) + 1);
    crypto_auth_hmacsha256_update(&s, p, n);
    crypto_auth_hmacsha256_final(&s, out);
    sodium_memzero(&s, sizeof(s));
}

void crypt_hmac_sha256(const void *key, size_t key_n, const void *p, size_t n,
                       uint8_t out[CRYPT_HMAC])
{
    crypto_auth_hmacsha256_state s;
    crypto_auth_hmacsha256_init(&s, key, key_n);
    crypto_auth_hmacsha256_update(&s, p, n);
    crypto_auth_hmacsha256_final(&s, out);
    sodium_memzero(&s, sizeof(s));
}

bool crypt_equal(const void *a, const void *b, size_t n)
{
    return sodium_memcmp(a, b, n) == 0;
}

void crypt_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}
