/* crypto: digests, signatures and random bytes, by crypt/. A key that stands in a script is no
 * secret to whoever reads the script: take it from config. */
#include <string.h>

#include "base/buf.h"
#include "bind/bind_priv.h"
#include "codec/base64.h"
#include "crypt/crypt.h"

enum {
    CRYPTO_RANDOM_MAX = 64 << 10,
    CRYPTO_BYTES_PER_STEP = 2, /* SHA-256 in C without the CPU's help: about 4 ns a byte */
};

static int crypto_refuse(lua_State *L, const char *words)
{
    struct err e;
    err_set(&e, ERR_INVALID, "crypto: %s", words);
    return vm_raise(L, &e);
}

/* In the form that argument `at` asks for; hex without one. */
static int push_bytes(lua_State *L, const void *p, size_t n, int at)
{
    const char *form = luaL_optstring(L, at, "hex");
    if (strcmp(form, "raw") == 0)
        return lua_pushlstring(L, p, n), 1;
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    if (strcmp(form, "hex") == 0)
        hex_encode(p, n, b);
    else if (strcmp(form, "base64") == 0)
        base64_encode(BASE64_STD, p, n, b);
    else if (strcmp(form, "base64url") == 0)
        base64_encode(BASE64_URL, p, n, b);
    else
        return crypto_refuse(L, "a form is 'hex', 'base64', 'base64url' or 'raw'");
    return bind_push_text(L, b);
}

/* host.sha256(bytes, form) */
static int crypto_sha256(lua_State *L)
{
    size_t n;
    uint8_t digest[CRYPT_SHA256];
    const char *s = luaL_checklstring(L, 1, &n);
    vm_charge(L, n / CRYPTO_BYTES_PER_STEP);
    crypt_sha256(s, n, digest);
    return push_bytes(L, digest, sizeof digest, 2);
}

/* host.hmac(key, bytes, form) */
static int crypto_hmac(lua_State *L)
{
    size_t key_n, n;
    uint8_t digest[CRYPT_HMAC];
    const char *key = luaL_checklstring(L, 1, &key_n), *s = luaL_checklstring(L, 2, &n);
    if (key_n == 0)
        return crypto_refuse(L, "an empty key signs nothing");
    vm_charge(L, (n + key_n) / CRYPTO_BYTES_PER_STEP);
    crypt_hmac_sha256(key, key_n, s, n, digest);
    return push_bytes(L, digest, sizeof digest, 3);
}

/* host.random_bytes(count, form) */
static int crypto_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    if (n < 1 || n > CRYPTO_RANDOM_MAX)
        return crypto_refuse(L, "random gives 1 to 65536 bytes");
    lua_settop(L, 2);
    void *p = lua_newuserdatauv(L, (size_t)n, 0);
    vm_charge(L, (uint64_t)n / CRYPTO_BYTES_PER_STEP);
    crypt_random(p, (size_t)n);
    return push_bytes(L, p, (size_t)n, 2);
}

/* host.same_bytes(a, b): in a time that does not tell where they differ */
static int crypto_equal(lua_State *L)
{
    size_t n, m;
    const char *a = luaL_checklstring(L, 1, &n), *b = luaL_checklstring(L, 2, &m);
    vm_charge(L, n / 16);
    lua_pushboolean(L, n == m && crypt_equal(a, b, n));
    return 1;
}

void bind_open_crypto(lua_State *L)
{
    static const luaL_Reg fns[] = {{"sha256", crypto_sha256},
                                   {"hmac", crypto_hmac},
                                   {"random_bytes", crypto_random},
                                   {"same_bytes", crypto_equal},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
