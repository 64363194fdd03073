#include "base/mem.h"

#include "support/unit.h"

TEST(new_memory_is_zeroed)
{
    AUTO(mem_freep) char *p = mem_new_array(16, 8);
    for (int i = 0; i < 128; i++)
        assert_int_equal(p[i], 0);
}

TEST(impossible_sizes_answer_null)
{
    assert_null(mem_try(SIZE_MAX));
    AUTO(mem_freep) char *p = mem_try(0);
    assert_non_null(p);
    assert_null(mem_try_resize(p, SIZE_MAX));
}

TEST(live_blocks_are_counted)
{
#ifdef MEM_COUNT
    size_t before = mem_live();
    void *p = mem_new(1), *q = mem_try(5);
    q = mem_try_resize(q, 500);
    assert_int_equal(mem_live(), before + 2);
    mem_free(p);
    mem_free(q);
    mem_free(NULL);
    assert_int_equal(mem_live(), before);
#else
    assert_int_equal(mem_live(), 0);
#endif
}

static char *handed_over(void)
{
    AUTO(mem_freep) char *text = mem_printf("%s-%d", "a", 7);
    return TAKE(text);
}

TEST(take_hands_over_what_auto_would_free)
{
    AUTO(mem_freep) char *text = handed_over();
    assert_string_equal(text, "a-7");
}

TEST(copies_end_with_a_nul)
{
    AUTO(mem_freep) char *a = mem_strndup("abcdef", 3);
    AUTO(mem_freep) char *b = mem_dup("x\0y", 3);
    AUTO(mem_freep) char *c = mem_strdup("");
    assert_string_equal(a, "abc");
    assert_memory_equal(b, "x\0y\0", 4);
    assert_string_equal(c, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(new_memory_is_zeroed),    HEAP_TEST(impossible_sizes_answer_null),
        HEAP_TEST(live_blocks_are_counted), HEAP_TEST(take_hands_over_what_auto_would_free),
        HEAP_TEST(copies_end_with_a_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
