#include "base/hash.h"

#include "support/unit.h"

TEST(crc32c_has_the_values_of_rfc_3720)
{
    uint8_t bytes[32];
    assert_true(hash_crc32c(0, "123456789", 9) == 0xe3069283);
    assert_true(hash_crc32c(0, "", 0) == 0);
    memset(bytes, 0, 32);
    assert_true(hash_crc32c(0, bytes, 32) == 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_true(hash_crc32c(0, bytes, 32) == 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_true(hash_crc32c(0, bytes, 32) == 0x46dd794e);
}

TEST(crc32c_continues_and_both_ways_agree)
{
    uint8_t bytes[100];
    for (uint8_t i = 0; i < 100; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t n = 0; n < 100; n++) {
        uint32_t whole = hash_crc32c(0, bytes, n);
        assert_true(whole == hash_crc32c_portable(0, bytes, n));
        assert_true(whole == hash_crc32c(hash_crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3));
    }
}

TEST(a_cell_hashes_as_its_nine_bytes)
{
    static const uint64_t words[] = {0, 1, UINT64_MAX, 0x0123456789abcdef};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (unsigned byte = 0; byte < 256; byte += 51) {
            uint8_t cell[9] = {(uint8_t)byte};
            memcpy(cell + 1, &words[i], 8);
            assert_true(hash64_cell(words[i] ^ 7, (uint8_t)byte, words[i]) ==
                        hash64(words[i] ^ 7, cell, sizeof cell));
        }
}

TEST(hash64_has_the_values_of_xxh64)
{
    assert_true(hash64(0, "", 0) == 0xef46db3751d8e999);
    assert_true(hash64(0, "a", 1) == 0xd24ec4f1a98c6e5b);
    assert_true(hash64(0, "abc", 3) == 0x44bc2cf5ad770999);
    assert_true(hash64(0, "Nobody inspects the spammish repetition", 39) == 0xfbcea83c8a378bf1);
    assert_true(hash64(1, "", 0) == 0xd5afba1336a3be4b);
}

TEST(hash64_sees_every_byte_and_the_seed)
{
    uint8_t bytes[80] = {0};
    for (size_t n = 1; n <= sizeof(bytes); n++) {
        uint64_t plain = hash64(0, bytes, n);
        assert_true(plain != hash64(0, bytes, n - 1));
        assert_true(plain != hash64(1, bytes, n));
        for (size_t i = 0; i < n; i++) {
            bytes[i] ^= 0x10;
            assert_true(plain != hash64(0, bytes, n));
            bytes[i] ^= 0x10;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(crc32c_has_the_values_of_rfc_3720),
        HEAP_TEST(crc32c_continues_and_both_ways_agree),
        HEAP_TEST(a_cell_hashes_as_its_nine_bytes),
        HEAP_TEST(hash64_has_the_values_of_xxh64),
        HEAP_TEST(hash64_sees_every_byte_and_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
