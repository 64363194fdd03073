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

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(sha256_has_the_values_of_the_standard),
        HEAP_TEST(a_signature_depends_on_key_context_and_content),
        HEAP_TEST(random_bytes_differ_and_are_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
