#include "base/map.h"

#include <stdio.h>

#include "support/unit.h"

static int values[4096];

TEST(what_was_put_is_found_replaced_and_removed)
{
    struct map *m = map_new();
    assert_null(map_gets(m, "a"));
    assert_null(map_removes(m, "a"));
    assert_null(map_puts(m, "a", &values[1]));
    assert_ptr_equal(map_puts(m, "a", &values[2]), &values[1]);
    assert_int_equal(map_count(m), 1);
    assert_ptr_equal(map_gets(m, "a"), &values[2]);
    assert_ptr_equal(map_removes(m, "a"), &values[2]);
    assert_null(map_gets(m, "a"));
    assert_int_equal(map_count(m), 0);
    map_free(m, NULL);
    map_free(NULL, NULL);
}

TEST(keys_are_bytes_of_any_kind)
{
    struct map *m = map_new();
    map_put(m, "a\0b", 3, &values[1]);
    map_put(m, "a\0c", 3, &values[2]);
    map_put(m, "", 0, &values[3]);
    assert_ptr_equal(map_get(m, "a\0b", 3), &values[1]);
    assert_ptr_equal(map_get(m, "a\0c", 3), &values[2]);
    assert_ptr_equal(map_get(m, NULL, 0), &values[3]);
    assert_null(map_get(m, "a", 1));
    map_free(m, NULL);
}

/* Against the plainest model there is: an array of flags. */
TEST(thousands_of_puts_and_removes_match_a_model)
{
    struct map *m = map_new();
    bool here[4096] = {false};
    size_t count = 0;
    uint32_t seed = 12345;
    for (int step = 0; step < 60000; step++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t k = (seed >> 8) % (step < 30000 ? 4096 : 300);
        if ((seed >> 24) % 3 != 0) {
            assert_ptr_equal(map_put(m, &k, sizeof(k), &values[k]), here[k] ? &values[k] : NULL);
            count += !here[k];
            here[k] = true;
        } else {
            assert_ptr_equal(map_remove(m, &k, sizeof(k)), here[k] ? &values[k] : NULL);
            count -= here[k];
            here[k] = false;
        }
        assert_int_equal(map_count(m), count);
    }
    for (uint32_t k = 0; k < 4096; k++)
        assert_ptr_equal(map_get(m, &k, sizeof(k)), here[k] ? &values[k] : NULL);
    map_free(m, NULL);
}

TEST(iteration_follows_insertion_and_may_remove)
{
    struct map *m = map_new();
    for (uint32_t k = 0; k < 1000; k++)
        map_put(m, &k, sizeof(k), &values[k]);
    uint32_t want = 0;
    for (struct map_iter it = {0}; map_next(m, &it); want++) {
        assert_int_equal(it.key_len, sizeof(want));
        assert_memory_equal(it.key, &want, sizeof(want));
        assert_ptr_equal(it.value, &values[want]);
        if (want % 2 == 0)
            map_remove(m, &want, sizeof(want));
    }
    assert_int_equal(want, 1000);
    want = 1;
    for (struct map_iter it = {0}; map_next(m, &it); want += 2)
        assert_ptr_equal(it.value, &values[want]);
    assert_int_equal(want, 1001);
    map_free(m, NULL);
}

TEST(clearing_frees_values_and_the_map_stays_usable)
{
    struct map *m = map_new();
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        map_puts(m, key, mem_new(1));
    }
    map_clear(m, mem_free);
    assert_int_equal(map_count(m), 0);
    assert_null(map_gets(m, "5"));
    map_puts(m, "5", mem_new(1));
    map_free(m, mem_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_was_put_is_found_replaced_and_removed),
        HEAP_TEST(keys_are_bytes_of_any_kind),
        HEAP_TEST(thousands_of_puts_and_removes_match_a_model),
        HEAP_TEST(iteration_follows_insertion_and_may_remove),
        HEAP_TEST(clearing_frees_values_and_the_map_stays_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
