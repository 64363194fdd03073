#include "base/embed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_file_is_found_by_its_own_path(void **state)
{
    (void)state;
    for (const struct embed_file *f = NULL; (f = embed_next("", f)) != NULL;)
        assert_ptr_equal(embed_find(f->path), f);
}

static void paths_ascend_and_data_ends_with_a_nul(void **state)
{
    (void)state;
    const char *before = "";
    for (const struct embed_file *f = NULL; (f = embed_next("", f)) != NULL; before = f->path) {
        assert_true(strcmp(before, f->path) < 0);
        assert_int_equal(f->data[f->size], '\0');
    }
}

static void a_prefix_selects_only_its_own_files(void **state)
{
    (void)state;
    size_t all = 0, lua = 0;
    for (const struct embed_file *f = NULL; (f = embed_next("", f)) != NULL;)
        all += strncmp(f->path, "lua/", 4) == 0;
    for (const struct embed_file *f = NULL; (f = embed_next("lua/", f)) != NULL; lua++)
        assert_int_equal(strncmp(f->path, "lua/", 4), 0);
    assert_int_equal(lua, all);
}

static void an_unknown_path_is_not_found(void **state)
{
    (void)state;
    assert_null(embed_find(""));
    assert_null(embed_find("lua"));
    assert_null(embed_find("zzz/no-such-file"));
    assert_null(embed_next("zzz/", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_found_by_its_own_path),
        cmocka_unit_test(paths_ascend_and_data_ends_with_a_nul),
        cmocka_unit_test(a_prefix_selects_only_its_own_files),
        cmocka_unit_test(an_unknown_path_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
