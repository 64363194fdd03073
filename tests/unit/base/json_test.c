#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "support/unit.h"

static json_t *must_read(const char *text)
{
    struct err e = ERR_INIT;
    json_t *v = json_read(text, strlen(text), &e);
    if (v == NULL)
        fail_msg("%s: %s", text, e.text);
    return v;
}

static void refuses(const char *text, size_t n, const char *words)
{
    struct err e = ERR_INIT;
    json_t *v = json_read(text, n, &e);
    if (v != NULL)
        fail_msg("%s was taken", text);
    assert_int_equal(e.code, ERR_INVALID);
    if (strstr(e.text, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, e.text);
}

static void prints(const char *text, const char *plain, const char *sorted)
{
    AUTO(json_unref) json_t *v = must_read(text);
    AUTO(buf_fini) struct buf b = BUF_INIT(1000);
    assert_int_equal(json_print(v, &b, NULL), 0);
    assert_string_equal(buf_str(&b), plain);
    buf_reset(&b);
    assert_int_equal(json_print_sorted(v, &b, NULL), 0);
    assert_string_equal(buf_str(&b), sorted);
}

TEST(values_of_every_type_are_read_and_printed)
{
    prints(" {\"b\": 1, \"a\": [true, false, null, \"x\"]} ",
           "{\"b\":1,\"a\":[true,false,null,\"x\"]}", "{\"a\":[true,false,null,\"x\"],\"b\":1}");
    prints("{\"z\":{\"b\":1,\"a\":2},\"aa\":1,\"a\":2}",
           "{\"z\":{\"b\":1,\"a\":2},\"aa\":1,\"a\":2}",
           "{\"a\":2,\"aa\":1,\"z\":{\"a\":2,\"b\":1}}");
    prints("\"alone\"", "\"alone\"", "\"alone\"");
    prints("[]", "[]", "[]");
    prints("{}", "{}", "{}");
}

TEST(a_text_fits_into_just_its_bytes)
{
    static const char *const texts[] = {"\"alone\"", "\"\"", "\"a\\nb\"", "{\"key\":\"a\"}",
                                        "{\"k\":1}", "[]",   "12"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        json_t *v = json_read(texts[i], strlen(texts[i]), NULL);
        assert_non_null(v);
        for (size_t max = 0; max <= strlen(texts[i]); max++) {
            struct buf b = BUF_INIT(max);
            assert_int_equal(json_print(v, &b, NULL), max < strlen(texts[i]) ? ERR_TOO_LARGE : 0);
            if (max == strlen(texts[i]))
                assert_string_equal(buf_str(&b), texts[i]);
            buf_fini(&b);
        }
        json_decref(v);
    }
}

TEST(numbers_stay_what_they_are)
{
    prints("[9223372036854775807,-9223372036854775808,0]",
           "[9223372036854775807,-9223372036854775808,0]",
           "[9223372036854775807,-9223372036854775808,0]");
    prints("[0.1,1.0,-74.00600051879883,1e300,5e-324,1e2]",
           "[0.1,1.0,-74.00600051879883,1e+300,4.94065645841247e-324,100.0]",
           "[0.1,1.0,-74.00600051879883,1e+300,4.94065645841247e-324,100.0]");
}

TEST(strings_are_escaped_as_little_as_allowed)
{
    prints("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u00e9\\ud83d\\ude00\"",
           "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0001\xc3\xa9\xf0\x9f\x98\x80\"",
           "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0001\xc3\xa9\xf0\x9f\x98\x80\"");
}

TEST(bad_text_is_refused_with_its_place)
{
    refuses("", 0, "line 1, column 1, offset 0: the text is empty");
    refuses("{\n  \"a\": 1,\n  oops}", 19, "line 3");
    refuses("[1] 2", 5, "line 1");
    refuses("{\"a\":1,\"a\":2}", 13, "duplicate");
    refuses("[NaN]", 5, "NaN");
    refuses("[1e999]", 7, "overflow");
    refuses("[9223372036854775808]", 21, "too big integer");
    refuses("[\"\xff\"]", 5, "UTF-8");
    refuses("[\"\\ud800\"]", 10, "line 1");
    refuses("[\"a\\u0000b\"]", 12, "U+0000");
    refuses("{\"\\u0000\":1}", 12, "U+0000");
    refuses("[1,]", 4, "line 1");
    refuses("[01]", 4, "line 1");
    refuses("\xef\xbb\xbf[]", 5, "line 1");
    refuses("[\"a\0b\"]", 7, "line 1, column 4, offset 3: a NUL byte");
    refuses("123\0", 4, "a NUL byte");
    refuses("[1\0]", 4, "a NUL byte");
}

TEST(places_count_from_where_the_text_was_cut)
{
    static const struct json_place from = {17, 5, 900};
    struct err e = ERR_INIT;
    assert_null(json_read_at("[oops]", 6, &from, &e));
    assert_non_null(strstr(e.text, "line 17, column 6, offset 901: "));
    assert_null(json_read_at("[\n\xc3\xa9]", 5, &from, &e));
    assert_non_null(strstr(e.text, "line 18, column 1, offset 902: "));
}

TEST(the_text_of_a_member_is_noted_when_it_is_what_printing_gives)
{
    static const char *const same[] = {"{}",
                                       "[1,-2,0,true,null]",
                                       "\"h\xc3\xa9\"",
                                       "0.5",
                                       "5.0",
                                       "-12.25",
                                       "40.07080078125",
                                       "-74.93360137939453",
                                       "{\"a\":{\"b\":[\"\",{}]}}",
                                       "1e-07",
                                       "123456789012.5"};
    static const char *const other[] = {"{ }",  "[1, 2]", "\"\\u0041\"", "\"\\n\"", "-0",
                                        "1.50", "1E5",    "1.0e3",       "5.00",    "-0.00"};
    static const struct json_place start = {1, 1, 0};
    struct json_note note = {.member = "data"};
    char text[128];
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        snprintf(text, sizeof text, " {\"x\": \"\\t\", \"data\" : %s ,\"y\":{\"data\":1}}",
                 same[i]);
        AUTO(json_unref) json_t *v = json_read_noting(text, strlen(text), &start, &note, NULL);
        assert_non_null(v);
        assert_non_null(note.text);
        assert_int_equal(note.n, strlen(same[i]));
        assert_memory_equal(note.text, same[i], note.n);
        AUTO(buf_fini) struct buf b = BUF_INIT(200);
        assert_int_equal(json_print(json_object_get(v, "data"), &b, NULL), 0);
        assert_string_equal(buf_str(&b), same[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        snprintf(text, sizeof text, "{\"data\":%s}", other[i]);
        AUTO(json_unref) json_t *v = json_read_noting(text, strlen(text), &start, &note, NULL);
        assert_non_null(v);
        assert_null(note.text);
    }
    AUTO(json_unref) json_t *v = json_read_noting("{\"x\":1}", 7, &start, &note, NULL);
    assert_non_null(v);
    assert_null(note.text);
}

static bool spares(const char *value)
{
    static const struct json_place start = {1, 1, 0};
    struct json_note note = {.member = "data", .spare = true};
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 16);
    buf_addf(&b, "{\"a\":1,\"data\":%s,\"b\":2}", value);
    AUTO(json_unref) json_t *v = json_read_noting(b.data, b.len, &start, &note, NULL);
    if (v == NULL)
        return false;
    assert_int_equal(json_integer_value(json_object_get(v, "b")), 2);
    const json_t *data = json_object_get(v, "data");
    if (!note.spared)
        return false;
    assert_true(json_is_true(data));
    assert_int_equal(note.n, strlen(value));
    assert_memory_equal(note.text, value, note.n);
    AUTO(json_unref) json_t *own = json_read(value, strlen(value), NULL);
    AUTO(buf_fini) struct buf printed = BUF_INIT(1 << 16);
    assert_non_null(own);
    assert_int_equal(json_print(own, &printed, NULL), 0);
    assert_string_equal(buf_str(&printed), value);
    return true;
}

TEST(an_object_that_is_spared_is_the_text_that_printing_gives)
{
    static const char *const spared[] = {
        "{}", "{\"a\":\"\",\"b\":\"h\xc3\xa9\",\"c\":0,\"d\":-1,\"e\":0.5,\"f\":1e-07}",
        "{\"a\":[1,[],{}],\"b\":{\"a\":{\"a\":null}},\"c\":true,\"d\":false}",
        "{\"ab\":1,\"ba\":2,\"aab\":3,\"abb\":4,\"\":5}",
        "{\"n\":999999999999999999,\"m\":-9223372036854775808}"};
    static const char *const made[] = {"[]",
                                       "1",
                                       "\"x\"",
                                       "{ }",
                                       "{\"a\": 1}",
                                       "{\"a\":1 }",
                                       "{\"a\":\"\\n\"}",
                                       "{\"\\u0041\":1}",
                                       "{\"a\":-0}",
                                       "{\"a\":1.50}",
                                       "{\"a\":1E5}"};
    static const char *const refused[] = {"{\"a\":1,\"a\":2}",
                                          "{\"b\":{\"a\":1,\"a\":2}}",
                                          "{\"a\":01}",
                                          "{\"a\":-01}",
                                          "{\"a\":nul}",
                                          "{\"a\":truex}",
                                          "{\"a\":1,}",
                                          "{\"a\"}",
                                          "{\"a\":1",
                                          "{\"a\":[1,]}",
                                          "{,}",
                                          "{\"a\":9223372036854775808}",
                                          "{\"a\":\"\t\"}",
                                          "{\"a\":1}}",
                                          "{\"a\":-}",
                                          "{\"a\":1e999}"};
    for (size_t i = 0; i < ARRAY_LEN(spared); i++)
        if (!spares(spared[i]))
            fail_msg("made: %s", spared[i]);
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        if (spares(made[i]))
            fail_msg("spared: %s", made[i]);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (spares(refused[i]))
            fail_msg("taken: %s", refused[i]);
}

TEST(an_object_with_many_members_is_made)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 16);
    for (int n = 60; n < 70; n++) {
        buf_reset(&b);
        buf_addc(&b, '{');
        for (int i = 0; i < n; i++)
            buf_addf(&b, "%s\"k%d\":%d", i > 0 ? "," : "", i, i);
        buf_addc(&b, '}');
        assert_int_equal(spares(buf_str(&b)), n <= 64);
    }
}

TEST(depth_ends_at_sixty_four)
{
    char text[200];
    for (size_t depth = 64; depth <= 65; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        if (depth == 64) {
            AUTO(json_unref) json_t *v = must_read(text);
            AUTO(buf_fini) struct buf b = BUF_INIT(1000);
            assert_int_equal(json_print(v, &b, NULL), 0);
        } else {
            refuses(text, 2 * depth, "offset 64: arrays and objects are nested deeper than 64");
        }
    }
    AUTO(json_unref)
    json_t *v = must_read("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                          "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"]");
    assert_int_equal(json_array_size(v), 1);
}

TEST(a_value_built_too_deep_is_not_printed)
{
    json_t *v = json_array();
    for (int i = 0; i < 64; i++)
        v = json_pack("[o]", v);
    AUTO(buf_fini) struct buf b = BUF_INIT(1000);
    struct err e;
    assert_refused(json_print(v, &b, &e), ERR_INVALID, "deeper than 64");
    json_decref(v);
}

TEST(the_bound_of_the_buffer_is_reported)
{
    AUTO(json_unref) json_t *v = must_read("[1,2,3,4,5,6]");
    AUTO(buf_fini) struct buf b = BUF_INIT(5);
    struct err e;
    assert_refused(json_print(v, &b, &e), ERR_TOO_LARGE, "5 bytes");
}

TEST(members_are_fetched_by_type)
{
    AUTO(json_unref)
    json_t *v =
        must_read("{\"s\":\"x\",\"i\":7,\"r\":1.5,\"b\":true,\"n\":null,\"o\":{\"p\":{\"q\":5}}}");
    struct err e = ERR_INIT;
    const char *s;
    int64_t i;
    bool b;
    assert_int_equal(json_get_string(v, "s", &s, &e), 0);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_int(v, "i", &i, &e), 0);
    assert_int_equal(i, 7);
    assert_int_equal(json_get_bool(v, "b", &b, &e), 0);
    assert_true(b);
    assert_int_equal(json_get_string(v, "n", &s, &e), ERR_NOT_FOUND);
    assert_int_equal(json_get_int(v, "absent", &i, &e), ERR_NOT_FOUND);
    assert_string_equal(e.text, "");
    assert_refused(json_get_int(v, "r", &i, &e), ERR_INVALID, "'r' must be an integer");
    assert_refused(json_get_string(v, "i", &s, &e), ERR_INVALID, "not number");
    assert_refused(json_get_bool(v, "s", &b, &e), ERR_INVALID, "'s' must be true or false");
    assert_string_equal(e.field, "s");
    assert_int_equal(json_integer_value(json_path(v, "o.p.q")), 5);
    assert_null(json_path(v, "o.x.q"));
    assert_null(json_path(v, "s.x"));
}

/* Pieces that are put together at random: mostly wrong, often enough right. */
static size_t random_text(uint64_t *seed, char *out, size_t cap)
{
    static const char *const pieces[] = {
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\":",
        "\"b\":",
        "\"x\"",
        "1",
        "-0",
        "0.5",
        "1e5",
        "12345678901234567",
        "-9223372036854775808",
        "9223372036854775808",
        "0.1e-7",
        "123456789.0123456789",
        "01",
        "1.",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\"\\u00e9\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\n\\\\\"",
        "\"\\q\"",
        "\"\t\"",
        "\xff",
        "\xc3\xa9",
        "\"\xc3\xa9\"",
        "[1,2]",
        "{\"k\":[]}",
        "\"",
        "1e400",
        "\\",
    };
    size_t n = 0;
    uint64_t count = 1 + hash64(*seed, "count", 5) % 9;
    for (uint64_t i = 0; i < count; i++) {
        *seed = hash64(*seed, "next", 4);
        const char *piece = pieces[*seed % ARRAY_LEN(pieces)];
        if (n + strlen(piece) >= cap)
            break;
        memcpy(out + n, piece, strlen(piece));
        n += strlen(piece);
    }
    return n;
}

TEST(texts_are_taken_and_read_as_jansson_reads_them)
{
    uint64_t seed = 7;
    size_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        char text[300];
        size_t n = random_text(&seed, text, sizeof(text));
        AUTO(json_unref) json_t *ours = json_read(text, n, NULL);
        AUTO(json_unref)
        json_t *theirs = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        if ((ours == NULL) != (theirs == NULL) || (ours != NULL && !json_equal(ours, theirs)))
            fail_msg("read unlike jansson: %.*s", (int)n, text);
        taken += ours != NULL;
    }
    assert_in_range(taken, 10000, 190000);
}

TEST(unknown_keys_are_named_with_the_nearest)
{
    static const char *const names[] = {"name", "kind"};
    AUTO(json_unref) json_t *good = must_read("{\"name\":1}");
    AUTO(json_unref) json_t *typo = must_read("{\"name\":1,\"knd\":2}");
    AUTO(json_unref) json_t *other = must_read("{\"something\":2}");
    struct err e;
    assert_int_equal(json_only_keys(good, "field", names, 2, &e), 0);
    assert_refused(json_only_keys(typo, "field", names, 2, &e), ERR_INVALID,
                   "field: unknown key 'knd'; did you mean 'kind'?");
    assert_refused(json_only_keys(other, "field", names, 2, &e), ERR_INVALID,
                   "unknown key 'something'");
    assert_string_equal(e.field, "something");
}

TEST(all_values_are_in_one_order)
{
    static const char *const rising[] = {"null",
                                         "false",
                                         "true",
                                         "-1e300",
                                         "-9223372036854775808",
                                         "-1.5",
                                         "-1",
                                         "0",
                                         "0.5",
                                         "1",
                                         "9007199254740992.0",
                                         "9007199254740993",
                                         "9223372036854775806",
                                         "9223372036854775807",
                                         "9223372036854775808.0",
                                         "\"\"",
                                         "\"a\"",
                                         "\"aa\"",
                                         "\"b\"",
                                         "[]",
                                         "[1]",
                                         "[1,2]",
                                         "[2]",
                                         "{}",
                                         "{\"a\":1}",
                                         "{\"a\":1,\"b\":0}",
                                         "{\"a\":2}",
                                         "{\"b\":0}"};
    for (size_t i = 0; i < ARRAY_LEN(rising); i++)
        for (size_t j = 0; j < ARRAY_LEN(rising); j++) {
            AUTO(json_unref) json_t *a = must_read(rising[i]);
            AUTO(json_unref) json_t *b = must_read(rising[j]);
            int order = json_compare(a, b);
            if ((i > j) - (i < j) != (order > 0) - (order < 0))
                fail_msg("%s against %s", rising[i], rising[j]);
        }
}

TEST(equal_values_compare_equal)
{
    static const char *const pairs[][2] = {
        {"1", "1.0"}, {"{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}"}, {"0.0", "-0.0"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        AUTO(json_unref) json_t *a = must_read(pairs[i][0]);
        AUTO(json_unref) json_t *b = must_read(pairs[i][1]);
        assert_int_equal(json_compare(a, b), 0);
    }
}

/* What printf's shortest round trip gives, with a point. */
static void shortest(double v, char text[48])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    if (strpbrk(text, ".e") == NULL)
        strcat(text, ".0");
}

TEST(reals_are_printed_as_the_shortest_text_that_reads_back)
{
    uint64_t s = 7;
    for (int i = 0; i < 200000; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        double v = (double)(int64_t)(s >> 20) / pow(10, (double)(s >> 8 & 15));
        if (s & 16)
            v = nextafter(v, 0);
        if (s & 32)
            v = -v;
        char want[48];
        shortest(v, want);
        AUTO(buf_fini) struct buf b = BUF_INIT(100);
        AUTO(json_unref) json_t *j = json_real(v);
        assert_int_equal(json_print(j, &b, NULL), 0);
        /* With 16 digits there may be two shortest texts. */
        bool one = strlen(want) < 17;
        if (strtod(buf_str(&b), NULL) != v || b.len > strlen(want) ||
            (one && strcmp(buf_str(&b), want) != 0))
            fail_msg("%.17g: %s is not %s", v, buf_str(&b), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(values_of_every_type_are_read_and_printed),
        HEAP_TEST(a_text_fits_into_just_its_bytes),
        HEAP_TEST(numbers_stay_what_they_are),
        HEAP_TEST(strings_are_escaped_as_little_as_allowed),
        HEAP_TEST(bad_text_is_refused_with_its_place),
        HEAP_TEST(places_count_from_where_the_text_was_cut),
        HEAP_TEST(the_text_of_a_member_is_noted_when_it_is_what_printing_gives),
        HEAP_TEST(an_object_that_is_spared_is_the_text_that_printing_gives),
        HEAP_TEST(an_object_with_many_members_is_made),
        HEAP_TEST(depth_ends_at_sixty_four),
        HEAP_TEST(a_value_built_too_deep_is_not_printed),
        HEAP_TEST(the_bound_of_the_buffer_is_reported),
        HEAP_TEST(members_are_fetched_by_type),
        HEAP_TEST(texts_are_taken_and_read_as_jansson_reads_them),
        HEAP_TEST(unknown_keys_are_named_with_the_nearest),
        HEAP_TEST(all_values_are_in_one_order),
        HEAP_TEST(equal_values_compare_equal),
        HEAP_TEST(reals_are_printed_as_the_shortest_text_that_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
