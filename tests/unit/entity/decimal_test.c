#include "entity/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void one_value_has_one_text(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"0", "0"},
        {"-0", "0"},
        {"+1", "1"},
        {"007", "7"},
        {"1.50", "1.5"},
        {"-12.00", "-12"},
        {"0.10", "0.1"},
        {"1000", "1000"},
        {"-0.000", "0"},
        {"00.0500", "0.05"},
        {"12345678901234567890123456789012345678", "12345678901234567890123456789012345678"},
        {"0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[DECIMAL_TEXT];
        assert_true(decimal_normal(cases[i][0], strlen(cases[i][0]), out));
        assert_string_equal(out, cases[i][1]);
    }
}

static void what_is_no_decimal_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      ".5",
                                      "5.",
                                      "1e3",
                                      "1,5",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "--1",
                                      "123456789012345678901234567890123456789",
                                      "1234567890123456789.01234567890123456789",
                                      "0.123456789012345678901234567890123456789"};
    char out[DECIMAL_TEXT];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(decimal_normal(bad[i], strlen(bad[i]), out));
}

static void keys_sort_like_the_numbers_and_lead_back(void **state)
{
    (void)state;
    static const char *const ascending[] = {"-99999999999999999999999999999999999999",
                                            "-1000",
                                            "-999.99",
                                            "-12.5",
                                            "-12",
                                            "-1.55",
                                            "-1.5",
                                            "-1",
                                            "-0.5",
                                            "-0.05",
                                            "-0.00000000000000000000000000000000000001",
                                            "0",
                                            "0.00000000000000000000000000000000000001",
                                            "0.05",
                                            "0.1",
                                            "0.11",
                                            "0.5",
                                            "1",
                                            "1.5",
                                            "1.55",
                                            "9",
                                            "10",
                                            "11",
                                            "12",
                                            "12.5",
                                            "100",
                                            "999.99",
                                            "1000",
                                            "99999999999999999999999999999999999999"};
    char before[DECIMAL_TEXT] = "", key[DECIMAL_TEXT], back[DECIMAL_TEXT];
    for (size_t i = 0; i < sizeof(ascending) / sizeof(ascending[0]); i++) {
        decimal_key(ascending[i], key);
        if (strcmp(before, key) >= 0)
            fail_msg("%s does not sort behind what is before it", ascending[i]);
        decimal_from_key(key, back);
        assert_string_equal(back, ascending[i]);
        memcpy(before, key, sizeof(key));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_has_one_text),
        cmocka_unit_test(what_is_no_decimal_is_refused),
        cmocka_unit_test(keys_sort_like_the_numbers_and_lead_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
