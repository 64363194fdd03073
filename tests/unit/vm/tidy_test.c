/* string.tidy: what a value says, or nil. */
#include "vm_fixture.h"

TEST(white_space_is_one_space_between_words_and_none_around_them)
{
    assert_true_result("function main()\n"
                       "  local t = string.tidy\n"
                       "  return t('a') == 'a' and t('two words') == 'two words'\n"
                       "    and t(' a') == 'a' and t('a ') == 'a' and t('  a  b  ') == 'a b'\n"
                       "    and t('a\\tb') == 'a b' and t('\\na\\r\\n\\v\\fb') == 'a b'\n"
                       "    and t('a \\tb') == 'a b' and t('a b\\t') == 'a b'\n"
                       "    and t('x\\0y') == 'x\\0y' and t('\\u{a0}') == '\\u{a0}'\n"
                       "    and (' x '):tidy() == 'x'\n"
                       "end");
}

TEST(what_says_nothing_is_nil)
{
    assert_true_result(
        "local none = { ['-'] = true, ['N/A'] = true, ['0'] = true, kept = false }\n"
        "function main()\n"
        "  local t = string.tidy\n"
        "  return t('') == nil and t('  ') == nil and t('\\t') == nil and t(nil) == nil\n"
        "    and t(true) == nil and t({}) == nil and t(print) == nil\n"
        "    and t('-', none) == nil and t(' N/A\\n', none) == nil and t(0, none) == nil\n"
        "    and t('- -', none) == '- -' and t('kept', none) == 'kept' and t('-') == '-'\n"
        "end");
}

TEST(names_that_say_nothing_may_stand_in_a_table_of_the_set)
{
    assert_true_result(
        "NONE = { ['-'] = true }\n"
        "function main()\n"
        "  return string.tidy(' - ', NONE) == nil and string.tidy('x', NONE) == 'x'\n"
        "end");
}

TEST(numbers_are_told_as_they_are_written)
{
    assert_true_result("function main()\n"
                       "  local t = string.tidy\n"
                       "  return t(7) == '7' and t(7.0) == '7' and t(-0.5) == '-0.5'\n"
                       "    and t(1e15) == '1000000000000000' and t(1e300) == '1e+300'\n"
                       "    and t(math.mininteger) == tostring(math.mininteger)\n"
                       "end");
}

TEST(a_second_argument_that_is_no_table_is_refused)
{
    assert_fails("function main() return string.tidy('x', '-') end", ERR_INTERNAL,
                 "table expected");
    assert_fails("function main() return string.tidy(1, 2) end", ERR_INTERNAL, "table expected");
}

/* The same in Lua, over texts of few characters. */
TEST(every_short_text_comes_out_as_patterns_make_it)
{
    assert_true_result("local signs = { ' ', '\\t', 'a', 'b' }\n"
                       "local function slow(v)\n"
                       "  v = v:match('^%s*(.-)%s*$'):gsub('%s+', ' ')\n"
                       "  return v ~= '' and v or nil\n"
                       "end\n"
                       "function main()\n"
                       "  for i = 0, 4095 do\n"
                       "    local v, n = '', i\n"
                       "    for _ = 1, i % 7 do\n"
                       "      v = v .. signs[n % 4 + 1]\n"
                       "      n = n // 4\n"
                       "    end\n"
                       "    if string.tidy(v) ~= slow(v) then return '[' .. v .. ']' end\n"
                       "  end\n"
                       "  return true\n"
                       "end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(white_space_is_one_space_between_words_and_none_around_them),
        cmocka_unit_test(what_says_nothing_is_nil),
        cmocka_unit_test(names_that_say_nothing_may_stand_in_a_table_of_the_set),
        cmocka_unit_test(numbers_are_told_as_they_are_written),
        cmocka_unit_test(a_second_argument_that_is_no_table_is_refused),
        cmocka_unit_test(every_short_text_comes_out_as_patterns_make_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
