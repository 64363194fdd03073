#include "bus/partition.h"

#include <stdio.h>

#include "crypt/crypt.h"
#include "support/unit.h"

static uint32_t of(const char *key, uint32_t partitions)
{
    return partition_of(key, strlen(key), partitions);
}

/* The first two are those of the documentation; the others were computed with Python's hashlib. */
TEST(a_key_has_the_partition_that_every_language_computes) /* B3 */
{
    assert_int_equal(of("order-1", 16), 12);
    assert_int_equal(of("customer-42", 16), 5);
    assert_int_equal(of("", 16), 4);
    assert_int_equal(of("order-1", 1024), 396);
    assert_int_equal(of("Z\xc3\xbcrich", 16), 5);
    assert_int_equal(of("order-1", 7), 0);
    assert_int_equal(partition_of("a\0b", 3, 16), 3);
    assert_int_equal(of("order-1", 1), 0);
    assert_int_equal(of("order-1", PARTITIONS), 12);
}

TEST(keys_are_spread_over_all_partitions)
{
    uint32_t counts[PARTITIONS] = {0};
    char key[32];
    for (int i = 0; i < 16000; i++) {
        snprintf(key, sizeof(key), "customer-%d", i);
        counts[of(key, PARTITIONS)]++;
    }
    for (int i = 0; i < PARTITIONS; i++)
        assert_in_range(counts[i], 850, 1150);
}

TEST(the_suffix_is_p_and_the_number)
{
    char suffix[PARTITION_SUFFIX];
    partition_suffix(12, suffix);
    assert_string_equal(suffix, ".p12");
    partition_suffix(0, suffix);
    assert_string_equal(suffix, ".p0");
    partition_suffix(PARTITIONS_MAX - 1, suffix);
    assert_string_equal(suffix, ".p1023");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_key_has_the_partition_that_every_language_computes),
        HEAP_TEST(keys_are_spread_over_all_partitions),
        HEAP_TEST(the_suffix_is_p_and_the_number),
    };
    if (crypt_start(NULL) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
