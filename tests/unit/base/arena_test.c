#include "base/arena.h"

#include "support/unit.h"

TEST(blocks_are_aligned_and_apart)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    char *before = NULL;
    for (size_t i = 0; i < 1000; i++) {
        char *p = arena_new(&a, i % 40);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_ptr_not_equal(p, before);
        memset(p, 0xff, i % 40); /* ASan would see an overlap with the next chunk */
        before = p;
    }
    arena_fini(&a);
}

TEST(the_limit_holds_and_failing_changes_nothing)
{
    struct arena a;
    arena_init(&a, 10000);
    assert_non_null(arena_try(&a, 9000));
    assert_null(arena_try(&a, 1001));
    assert_null(arena_try(&a, SIZE_MAX));
    assert_null(arena_strndup(&a, "x", 5000));
    assert_non_null(arena_try(&a, 1000));
    assert_null(arena_try(&a, 1));
    arena_fini(&a);
    assert_non_null(arena_try(&a, 10000));
    arena_fini(&a);
}

TEST(large_blocks_leave_the_current_chunk_in_use)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    char *small = arena_new(&a, 16);
    arena_new(&a, 100000);
    char *next = arena_new(&a, 16);
    assert_ptr_equal(next, small + 16);
    arena_fini(&a);
}

TEST(reset_keeps_one_chunk_for_reuse)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    arena_reset(&a);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 100; j++)
            arena_new(&a, 1000);
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_new(&a, 100000);
    arena_reset(&a);
    assert_non_null(arena_strndup(&a, "abc", 3));
    arena_fini(&a);
}

TEST(texts_are_copied_and_printed)
{
    struct arena a;
    arena_init(&a, 100);
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
    assert_null(arena_printf(&a, "%200d", 5));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(blocks_are_aligned_and_apart),
        HEAP_TEST(the_limit_holds_and_failing_changes_nothing),
        HEAP_TEST(large_blocks_leave_the_current_chunk_in_use),
        HEAP_TEST(reset_keeps_one_chunk_for_reuse),
        HEAP_TEST(texts_are_copied_and_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
