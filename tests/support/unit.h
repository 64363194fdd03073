/* Unit - what every cmocka suite begins with: cmocka's includes in the order that it wants, and a
 * test case that also fails when it leaves memory behind. */
#ifndef KOAN_SUPPORT_UNIT_H
#define KOAN_SUPPORT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

#define TEST(name) static void name(void **state __attribute__((unused)))
#define HEAP_TEST(name) cmocka_unit_test_setup_teardown(name, unit_before, unit_after)

static size_t unit_blocks;

static inline int unit_before(void **state __attribute__((unused)))
{
    unit_blocks = mem_live();
    return 0;
}

static inline int unit_after(void **state __attribute__((unused)))
{
    if (mem_live() == unit_blocks)
        return 0;
    print_error("%zu blocks of memory are left behind\n", mem_live() - unit_blocks);
    return -1;
}

/* The call fails with this code, and its message contains these words. */
#define assert_refused(call, want, words)                                                          \
    do {                                                                                           \
        int got_ = (call);                                                                         \
        assert_int_equal(got_, want);                                                              \
        if (strstr(e.text, words) == NULL)                                                         \
            fail_msg("no \"%s\" in \"%s\"", words, e.text);                                        \
    } while (0)

#endif
