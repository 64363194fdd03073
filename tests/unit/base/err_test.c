#include "base/err.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "support/unit.h"

TEST(every_code_has_a_row_at_its_own_place)
{
    for (int code = 0; code > -ERR_COUNT; code--) {
        const struct err_info *info = err_info(code);
        assert_int_equal(info->code, code);
        assert_non_null(info->name);
        assert_true(strlen(info->title) > 3);
        assert_in_range(info->http_status, 200, 599);
    }
}

TEST(the_table_matches_the_published_contract)
{
    static const struct {
        const char *name;
        int status;
        const char *retry;
    } rows[] = {
        {"invalid", 400, "never"},      {"unauthorized", 401, "never"},
        {"forbidden", 403, "never"},    {"quota", 403, "never"},
        {"not_found", 404, "never"},    {"method", 405, "never"},
        {"conflict", 409, "reread"},    {"fenced", 409, "never"},
        {"gone", 410, "never"},         {"version_mismatch", 412, "reread"},
        {"too_large", 413, "never"},    {"media_type", 415, "never"},
        {"range", 416, "never"},        {"rejected", 422, "never"},
        {"unsupported", 422, "never"},  {"locked", 423, "after"},
        {"rate_limited", 429, "after"}, {"queue_full", 429, "after"},
        {"internal", 500, "same"},      {"overloaded", 503, "after"},
        {"sealed", 503, "after"},       {"unavailable", 503, "after"},
        {"no_leader", 503, "same"},     {"draining", 503, "same"},
        {"timeout", 504, "same"},       {"disk_full", 507, "after"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int code = err_by_name(rows[i].name);
        assert_int_not_equal(code, 0);
        assert_int_equal(err_info(code)->http_status, rows[i].status);
        assert_string_equal(err_retry_name(err_info(code)->retry), rows[i].retry);
    }
    assert_int_equal(err_info(ERR_HEADERS_TOO_LARGE)->http_status, 431);
}

TEST(unknown_codes_and_names_are_harmless)
{
    assert_int_equal(err_info(-999)->code, ERR_INTERNAL);
    assert_int_equal(err_info(7)->code, ERR_INTERNAL);
    assert_int_equal(err_by_name("no_such"), 0);
}

TEST(context_goes_in_front_and_keeps_code_and_field)
{
    struct err e = ERR_INIT;
    assert_int_equal(err_field(&e, ERR_INVALID, "elevation", "not a number"), ERR_INVALID);
    assert_int_equal(err_context(&e, "line %d", 17), ERR_INVALID);
    assert_string_equal(e.text, "line 17: not a number");
    assert_string_equal(e.field, "elevation");
    err_set(&e, ERR_GONE, "again: %s", e.text);
    assert_string_equal(e.text, "again: line 17: not a number");
    assert_string_equal(e.field, "");
}

TEST(context_never_turns_a_failure_into_success)
{
    struct err e = ERR_INIT;
    assert_int_equal(err_context(NULL, "x"), ERR_INTERNAL);
    assert_int_equal(err_context(&e, "x"), ERR_INTERNAL);
}

TEST(without_a_struct_the_code_alone_comes_back)
{
    assert_int_equal(err_set(NULL, ERR_GONE, "x"), ERR_GONE);
    assert_int_equal(err_field(NULL, ERR_GONE, "f", "x"), ERR_GONE);
    assert_int_equal(err_errno(NULL, ENOSPC, "x"), ERR_DISK_FULL);
    err_clear(NULL);
}

TEST(a_long_text_is_cut_between_characters)
{
    char euros[900] = "";
    for (size_t i = 0; i + 3 < sizeof(euros); i += 3)
        memcpy(euros + i, "\xe2\x82\xac", 4);
    struct err e;
    for (int shift = 0; shift < 4; shift++) {
        err_set(&e, ERR_INVALID, "%.*s%s", shift, "abc", euros);
        assert_in_range(strlen(e.text), ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        assert_true(str_is_utf8(e.text, strlen(e.text)));
        err_context(&e, "%s", "ab");
        assert_true(str_is_utf8(e.text, strlen(e.text)));
        err_context(&e, "%s", euros);
        assert_true(str_is_utf8(e.text, strlen(e.text)));
        err_field(&e, ERR_INVALID, euros + shift * 3, "x");
        assert_true(str_is_utf8(e.field, strlen(e.field)));
    }
}

TEST(bytes_that_are_not_utf8_are_blotted_out)
{
    struct err e;
    err_field(&e, ERR_INVALID, "\xff.", "no '%s' here", "\xc3\xa9\xff\xe2\x82x");
    assert_string_equal(e.field, "?.");
    assert_string_equal(e.text, "no '\xc3\xa9???x' here");
    err_context(&e, "%s", "\xff");
    assert_string_equal(e.text, "?: no '\xc3\xa9???x' here");
}

TEST(errno_becomes_a_code_and_words)
{
    struct err e;
    assert_int_equal(err_errno(&e, ENOENT, "open %s", "a"), ERR_NOT_FOUND);
    assert_string_equal(e.text, "open a: No such file or directory");
    assert_int_equal(err_errno(&e, ENOSPC, "x"), ERR_DISK_FULL);
    assert_int_equal(err_errno(&e, ENOMEM, "x"), ERR_NOMEM);
    assert_int_equal(err_errno(&e, EIO, "x"), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(every_code_has_a_row_at_its_own_place),
        HEAP_TEST(the_table_matches_the_published_contract),
        HEAP_TEST(unknown_codes_and_names_are_harmless),
        HEAP_TEST(context_goes_in_front_and_keeps_code_and_field),
        HEAP_TEST(context_never_turns_a_failure_into_success),
        HEAP_TEST(without_a_struct_the_code_alone_comes_back),
        HEAP_TEST(a_long_text_is_cut_between_characters),
        HEAP_TEST(bytes_that_are_not_utf8_are_blotted_out),
        HEAP_TEST(errno_becomes_a_code_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
