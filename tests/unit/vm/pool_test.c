#include "vm/pool.h"

#include "support/unit.h"

TEST(a_freed_block_serves_the_next_of_its_size)
{
    struct pool p;
    pool_init(&p);
    char *a = pool_alloc(&p, 20), *b = pool_alloc(&p, 40);
    memset(a, 1, 20);
    memset(b, 2, 40);
    assert_true(pool_owns(&p, a) && pool_owns(&p, b) && a != b);
    pool_free(&p, a, 20);
    assert_true(pool_alloc(&p, 40) != a);
    assert_ptr_equal(pool_alloc(&p, 32), a);
    assert_int_equal(b[39], 2);
    pool_fini(&p);
}

TEST(blocks_do_not_overlap_and_are_aligned)
{
    struct pool p;
    pool_init(&p);
    char *last = NULL;
    for (size_t n = 1; n <= POOL_BLOCK_MAX; n++) {
        char *block = pool_alloc(&p, n);
        assert_int_equal((uintptr_t)block % POOL_GRAIN, 0);
        assert_true(last == NULL || block >= last);
        last = block + n;
    }
    pool_fini(&p);
}

TEST(large_blocks_and_a_used_up_region_are_left_to_others)
{
    struct pool p;
    pool_init(&p);
    assert_null(pool_alloc(&p, POOL_BLOCK_MAX + 1));
    assert_null(pool_alloc(&p, 0));
    size_t count = 0;
    while (pool_alloc(&p, POOL_BLOCK_MAX) != NULL)
        count++;
    assert_int_equal(count, POOL_REGION / POOL_BLOCK_MAX);
    int elsewhere;
    assert_false(pool_owns(&p, &elsewhere));
    pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_freed_block_serves_the_next_of_its_size),
        HEAP_TEST(blocks_do_not_overlap_and_are_aligned),
        HEAP_TEST(large_blocks_and_a_used_up_region_are_left_to_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
