#include "base/uuid.h"

#include "support/unit.h"

TEST(the_example_of_rfc_9562_comes_out)
{
    struct uuid_gen g = {0};
    struct uuid u;
    char text[UUID_TEXT];
    static const uint8_t random[8] = {0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f};
    uuid_v7(&g, 0x017f22e279b0, random, &u);
    uuid_format(&u, text);
    assert_string_equal(text, "017f22e2-79b0-7000-98c4-dc0c0c07398f");
}

TEST(ids_ascend_whatever_the_clock_does)
{
    struct uuid_gen g = {0};
    struct uuid before = {{0}}, u;
    uint8_t random[8] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t now = 1000000 + (i % 7000) / 100; /* stands still, and steps back twice */
        memset(random, (int)(255 - i % 256), sizeof(random));
        uuid_v7(&g, now, random, &u);
        assert_true(memcmp(&before, &u, sizeof(u)) < 0);
        assert_int_equal(u.b[6] >> 4, 7);
        assert_int_equal(u.b[8] >> 6, 2);
        before = u;
    }
}

TEST(text_comes_back_in_either_case)
{
    struct uuid u, v;
    char text[UUID_TEXT];
    static const char *const upper = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";
    assert_true(uuid_parse(upper, 36, &u));
    uuid_format(&u, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_true(uuid_parse(text, 36, &v));
    assert_memory_equal(&u, &v, sizeof(u));
}

TEST(other_forms_are_refused)
{
    struct uuid u;
    assert_false(uuid_parse("017f22e279b07cc398c4dc0c0c07398f", 32, &u));
    assert_false(uuid_parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398", 35, &u));
    assert_false(uuid_parse("017f22e2-79b0-7cc3-98c4-dc0c0c07398g", 36, &u));
    assert_false(uuid_parse("017f22e2x79b0-7cc3-98c4-dc0c0c07398f", 36, &u));
    assert_false(uuid_parse("", 0, &u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_example_of_rfc_9562_comes_out),
        HEAP_TEST(ids_ascend_whatever_the_clock_does),
        HEAP_TEST(text_comes_back_in_either_case),
        HEAP_TEST(other_forms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
