/* "%.Nf" without printf: the same text. */
#include <math.h>
#include <string.h>

#include "vm/vm_priv.h"
#include "vm_fixture.h"

static void assert_as_printf(double v, int decimals)
{
    char ours[VM_FIXED_ROOM + 1], theirs[400];
    size_t n = vm_fixed(v, decimals, ours);
    if (n == 0)
        return;
    ours[n] = '\0';
    snprintf(theirs, sizeof theirs, "%.*f", decimals, v);
    if (strcmp(ours, theirs) != 0)
        fail_msg("%a with %d decimals: %s, not %s", v, decimals, ours, theirs);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

TEST(it_is_what_printf_gives)
{
    static const double some[] = {0.0,       -0.0,
                                  0.5,       1.5,
                                  2.5,       0.125,
                                  0.375,     -0.001,
                                  0.005,     0.015,
                                  1.005,     2.675,
                                  99.995,    1e-300,
                                  0x1p-1074, 1e9,
                                  1e15,      4.5e15,
                                  0.045,     -74.93360,
                                  179.9999,  0.49999999999999994};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        for (int d = 0; d <= 9; d++)
            assert_as_printf(some[i], d);
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = next_random(&seed);
        int d = (int)(bits % 10);
        assert_as_printf((double)(int64_t)bits / 0x1p63 * 200, d); /* degrees */
        assert_as_printf(((double)(bits >> 44) + 0.5) / pow(10, d), d);
        assert_as_printf((double)(bits >> 40) / 256, d); /* halves, exactly */
        double any;
        memcpy(&any, &bits, sizeof any);
        assert_as_printf(any, d);
    }
}

TEST(what_has_no_such_text_is_left_to_printf)
{
    char text[VM_FIXED_ROOM];
    assert_int_equal(vm_fixed(NAN, 2, text), 0);
    assert_int_equal(vm_fixed(INFINITY, 2, text), 0);
    assert_int_equal(vm_fixed(-1e300, 0, text), 0);
    assert_int_equal(vm_fixed(1e15, 9, text), 0);
}

TEST(scripts_see_no_difference)
{
    assert_true_result(
        "function main()\n"
        "  local f = string.format\n"
        "  return f('%.2f', 40.075) == '40.08' and f('%.2f', 3) == '3.00'\n"
        "    and f('%.2f', '1.5') == '1.50' and f('%.0f', 2.5) == '2'\n"
        "    and f('%.2f', 1e300) == f('%5.2f', 1e300) and f('%.2f', 0 / 0):find('nan') ~= nil\n"
        "    and f('%.2f!', 1) == '1.00!' and f('%d', 3) == '3' and f('x') == 'x'\n"
        "    and ('%.1f'):format(0.25) == '0.2' and f('%s %.1f', 'a', 1) == 'a 1.0'\n"
        "    and f('%.2f', 1, 2) == '1.00'\n"
        "end");
    assert_fails("function main() return string.format('%.2f', {}) end", ERR_INTERNAL,
                 "number expected");
    assert_fails("function main() return string.format('%.2f') end", ERR_INTERNAL, "no value");
    assert_fails("function main() return string.format() end", ERR_INTERNAL, "no value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_printf_gives),
        cmocka_unit_test(what_has_no_such_text_is_left_to_printf),
        cmocka_unit_test(scripts_see_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
