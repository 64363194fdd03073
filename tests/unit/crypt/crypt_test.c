#include "crypt/crypt.h"

#include <stdio.h>

#include "support/unit.h"

static void assert_hex(const uint8_t *p, size_t n, const char *hex)
{
    char text[129] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    assert_string_equal(text, hex);
}

TEST(sha256_has_the_values_of_the_standard)
{
    uint8_t out[CRYPT_SHA256];
    assert_int_equal(crypt_start(NULL), 0);
    crypt_sha256("abc", 3, out);
    assert_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(a_signature_depends_on_key_context_and_content)
{
    uint8_t key[CRYPT_HMAC_KEY] = {1}, other[CRYPT_HMAC_KEY] = {2};
    uint8_t a[CRYPT_HMAC], b[CRYPT_HMAC];
    crypt_hmac(key, "cursor", "text", 4, a);
    crypt_hmac(key, "cursor", "text", 4, b);
    assert_true(crypt_equal(a, b, sizeof a));
    crypt_hmac(other, "cursor", "text", 4, b);
    assert_false(crypt_equal(a, b, sizeof a));
    crypt_hmac(key, "cursors", "text", 4, b);
    assert_false(crypt_equal(a, b, sizeof a));
    crypt_hmac(key, "cursor", "texts", 5, b);
    assert_false(crypt_equal(a, b, sizeof a));
    crypt_hmac(key, "cursort", "ext", 3, b);
    assert_false(crypt_equal(a, b, sizeof a));
}

TEST(random_bytes_differ_and_are_wiped)
{
    uint8_t a[32] = {0}, b[32] = {0}, zero[32] = {0};
    crypt_random(a, sizeof a);
    crypt_random(b, sizeof b);
    assert_false(crypt_equal(a, b, sizeof a));
    crypt_wipe(a, sizeof a);
    assert_true(crypt_equal(a, zero, sizeof a));
}

TEST(the_plain_hmac_is_that_of_rfc_4231)
{
    static const uint8_t case2[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                    0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                                    0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83,
                                    0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    uint8_t out[CRYPT_HMAC];
    crypt_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_memory_equal(out, case2, sizeof case2);
    uint8_t key[131]; /* case 6: longer than a block */
    memset(key, 0xaa, sizeof key);
    static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    crypt_hmac_sha256(key, sizeof key, text, sizeof text - 1, out);
    static const uint8_t begin[] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f};
    assert_memory_equal(out, begin, sizeof begin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_plain_hmac_is_that_of_rfc_4231),
        HEAP_TEST(sha256_has_the_values_of_the_standard),
        HEAP_TEST(a_signature_depends_on_key_context_and_content),
        HEAP_TEST(random_bytes_differ_and_are_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
