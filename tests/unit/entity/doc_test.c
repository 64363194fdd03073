#include "entity/doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static struct entity_def *define(const char *fields)
{
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    struct entity_def *d;
    buf_addf(&b, "{\"name\":\"X\",\"fields\":%s}", fields);
    if (entity_def_parse_text(buf_str(&b), b.len, &d, &e) != 0)
        fail_msg("%s", e.text);
    buf_fini(&b);
    return d;
}

/* One field `a`, one value: its normal form, or NULL where it must be refused. */
static void check_value(const char *field, const char *value, const char *want)
{
    struct buf text = BUF_INIT(1 << 20), expected = BUF_INIT(1 << 20);
    buf_addf(&text, "{\"a\":%s}", field);
    struct entity_def *d = define(buf_str(&text));
    buf_reset(&text);
    buf_addf(&text, "{\"a\":%s}", value);
    struct err e = ERR_INIT;
    json_t *in = json_read(buf_str(&text), text.len, &e);
    assert_non_null(in);
    struct entity_doc doc;
    entity_doc_init(&doc);
    int rc = entity_doc_make(d, in, 0, &doc, NULL, &e);
    if (want == NULL) {
        if (rc != ERR_INVALID || strcmp(e.field, "a") != 0)
            fail_msg("%s took %s (%s)", field, value, e.text);
    } else {
        buf_addf(&expected, "{\"a\":%s}", want);
        if (rc != 0 || strcmp(buf_str(&doc.body), buf_str(&expected)) != 0)
            fail_msg("%s with %s: %s %s", field, value, buf_str(&doc.body), e.text);
    }
    entity_doc_fini(&doc);
    json_decref(in);
    entity_def_unref(d);
    buf_fini(&text);
    buf_fini(&expected);
}

static void every_kind_takes_its_values_in_one_normal_form(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"kind\":\"text\"}", "\"caf\\u00e9\"", "\"caf\xc3\xa9\""},
        {"{\"kind\":\"text\",\"max\":4}", "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"",
         "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\""},
        {"{\"kind\":\"text\",\"pattern\":\"[A-Z]{3}\"}", "\"LHR\"", "\"LHR\""},
        {"{\"kind\":\"int\"}", "9223372036854775807", "9223372036854775807"},
        {"{\"kind\":\"int\"}", "5.0", "5"},
        {"{\"kind\":\"number\"}", "1.5", "1.5"},
        {"{\"kind\":\"number\"}", "2.0", "2"},
        {"{\"kind\":\"decimal\"}", "\"012.50\"", "\"12.5\""},
        {"{\"kind\":\"decimal\"}", "7", "\"7\""},
        {"{\"kind\":\"bool\"}", "false", "false"},
        {"{\"kind\":\"time\"}", "\"2026-11-22T15:57:14+02:00\"", "\"2026-11-22T13:57:14.000Z\""},
        {"{\"kind\":\"date\"}", "\"2024-02-29\"", "\"2024-02-29\""},
        {"{\"kind\":\"uuid\"}", "\"018F2B3C-1111-7222-8333-444455556666\"",
         "\"018f2b3c-1111-7222-8333-444455556666\""},
        {"{\"kind\":\"email\"}", "\"Ana@Example.org\"", "\"Ana@Example.org\""},
        {"{\"kind\":\"url\"}", "\"https://example.org/a?b\"", "\"https://example.org/a?b\""},
        {"{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}", "\"y\"", "\"y\""},
        {"{\"kind\":\"geo\"}", "{\"lon\":-0.4,\"lat\":51}", "{\"lat\":51,\"lon\":-0.4}"},
        {"{\"kind\":\"bytes\"}", "\"aGk=\"", "\"aGk=\""},
        {"{\"kind\":\"list\",\"of\":\"decimal\"}", "[\"1.0\",2]", "[\"1\",\"2\"]"},
        {"{\"kind\":\"list\"}", "[1,null,{\"b\":[]}]", "[1,null,{\"b\":[]}]"},
        {"{\"kind\":\"map\",\"of\":\"int\"}", "{\"b\":1,\"a\":null}", "{\"b\":1}"},
        {"{\"kind\":\"json\"}", "{\"b\":[1,{\"c\":null}]}", "{\"b\":[1,{\"c\":null}]}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_value(cases[i][0], cases[i][1], cases[i][2]);
}

static void every_kind_refuses_what_it_is_not(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"kind\":\"text\"}", "5"},
        {"{\"kind\":\"text\",\"max\":3}", "\"abcd\""},
        {"{\"kind\":\"text\",\"min\":3}", "\"ab\""},
        {"{\"kind\":\"text\",\"pattern\":\"[A-Z]{3}\"}", "\"LHRX\""},
        {"{\"kind\":\"int\"}", "1.5"},
        {"{\"kind\":\"int\"}", "\"1\""},
        {"{\"kind\":\"int\"}", "1e300"},
        {"{\"kind\":\"int\",\"min\":0}", "-1"},
        {"{\"kind\":\"int\",\"max\":10}", "11"},
        {"{\"kind\":\"number\",\"min\":0.5}", "0.4"},
        {"{\"kind\":\"decimal\"}", "1.5"},
        {"{\"kind\":\"decimal\"}", "\"1e5\""},
        {"{\"kind\":\"decimal\",\"max\":\"9.99\"}", "\"10\""},
        {"{\"kind\":\"decimal\",\"min\":\"-2\"}", "\"-2.01\""},
        {"{\"kind\":\"bool\"}", "0"},
        {"{\"kind\":\"time\"}", "\"yesterday\""},
        {"{\"kind\":\"time\",\"min\":\"2000-01-01\"}", "\"1999-12-31T23:59:59Z\""},
        {"{\"kind\":\"date\"}", "\"2026-02-29\""},
        {"{\"kind\":\"uuid\"}", "\"018f\""},
        {"{\"kind\":\"email\"}", "\"ana\""},
        {"{\"kind\":\"email\"}", "\"a b@example.org\""},
        {"{\"kind\":\"email\"}", "\"a@b@example.org\""},
        {"{\"kind\":\"email\"}", "\"a@.org\""},
        {"{\"kind\":\"url\"}", "\"example.org\""},
        {"{\"kind\":\"url\"}", "\"http:///x\""},
        {"{\"kind\":\"url\"}", "\"https://a b\""},
        {"{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}", "\"z\""},
        {"{\"kind\":\"geo\"}", "{\"lat\":91,\"lon\":0}"},
        {"{\"kind\":\"geo\"}", "{\"lat\":1}"},
        {"{\"kind\":\"geo\"}", "{\"lat\":1,\"lon\":2,\"alt\":3}"},
        {"{\"kind\":\"bytes\"}", "\"aGk\""},
        {"{\"kind\":\"bytes\"}", "\"aGl=\""},
        {"{\"kind\":\"bytes\",\"max\":1}", "\"aGk=\""},
        {"{\"kind\":\"list\",\"of\":\"int\"}", "[1,\"2\"]"},
        {"{\"kind\":\"list\",\"of\":\"int\"}", "[null]"},
        {"{\"kind\":\"list\",\"max\":1}", "[1,2]"},
        {"{\"kind\":\"map\"}", "[1]"},
        {"{\"kind\":\"map\",\"of\":{\"kind\":\"int\",\"max\":5}}", "{\"k\":6}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check_value(cases[i][0], cases[i][1], NULL);
}

static void keys_take_declared_order_nulls_go_and_defaults_come(void **state)
{
    (void)state;
    struct entity_def *d = define("{\"b\":{\"kind\":\"int\"},\"a\":{\"kind\":\"text\"},"
                                  "\"c\":{\"kind\":\"int\",\"default\":7},"
                                  "\"p\":{\"kind\":\"decimal\"}}");
    struct entity_doc doc;
    entity_doc_init(&doc);
    json_t *in = json_pack("{s:s,s:n,s:i,s:s}", "a", "x", "p", "b", 1, "p", "2.50");
    assert_int_equal(entity_doc_make(d, in, 0, &doc, NULL, NULL), 0);
    assert_string_equal(buf_str(&doc.body), "{\"b\":1,\"a\":\"x\",\"c\":7,\"p\":\"2.5\"}");
    assert_string_equal(buf_str(&doc.keys), "{\"p\":\"25125\"}");
    json_decref(in);
    in = json_pack("{s:n,s:n}", "a", "c");
    assert_int_equal(entity_doc_make(d, in, 0, &doc, NULL, NULL), 0);
    assert_string_equal(buf_str(&doc.body), "{}");
    assert_int_equal(doc.keys.len, 0);
    json_decref(in);
    entity_doc_fini(&doc);
    entity_def_unref(d);
}

static void all_faults_are_listed_at_once(void **state)
{
    (void)state;
    struct entity_def *d = define("{\"name\":{\"kind\":\"text\",\"required\":true},"
                                  "\"age\":{\"kind\":\"int\"}}");
    json_t *in = json_pack("{s:s,s:s,s:i}", "age", "x", "nmae", "y", "version", 3), *errors;
    struct err e = ERR_INIT;
    assert_null(entity_doc_check(d, in, 0, &errors, &e));
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(json_array_size(errors), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(errors, 0), "field")),
                        "nmae");
    assert_non_null(
        strstr(json_string_value(json_object_get(json_array_get(errors, 0), "detail")), "'name'"));
    json_decref(errors);
    json_object_del(in, "nmae");
    json_object_set_new(in, "age", json_integer(3));
    json_object_set_new(in, "name", json_string("z"));
    json_t *ok = entity_doc_check(d, in, ENTITY_DOC_SYSTEM, NULL, &e);
    assert_non_null(ok);
    assert_int_equal(json_object_size(ok), 2);
    json_decref(ok);
    json_decref(in);
    entity_def_unref(d);
}

static void a_flood_of_faults_is_cut_short(void **state)
{
    (void)state;
    struct entity_def *d = define("{\"name\":{\"kind\":\"text\",\"required\":true}}");
    json_t *in = json_object(), *errors;
    for (int i = 0; i < 100000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        json_object_set_new(in, key, json_null());
    }
    assert_null(entity_doc_check(d, in, 0, &errors, NULL));
    assert_int_equal(json_array_size(errors), ENTITY_ERRORS_MAX);
    json_decref(errors);
    json_decref(in);
    entity_def_unref(d);
}

static void a_pattern_is_not_asked_of_a_long_text(void **state)
{
    (void)state;
    struct entity_def *d =
        define("{\"a\":{\"kind\":\"text\",\"max\":200000,\"pattern\":\"(x|y)*\"}}");
    char *text = test_malloc(ENTITY_TEXT_BYTES + 2);
    memset(text, 'x', ENTITY_TEXT_BYTES + 1);
    for (size_t over = 0; over < 2; over++) {
        json_t *in = json_pack("{s:s%}", "a", text, (size_t)ENTITY_TEXT_BYTES + over);
        json_t *out = entity_doc_check(d, in, 0, NULL, NULL);
        assert_int_equal(out == NULL, over);
        json_decref(out);
        json_decref(in);
    }
    test_free(text);
    entity_def_unref(d);
}

/* Stored, it could never be read again: JSON text may not hold it. Scripts can make one. */
static void a_key_may_not_hold_a_nul(void **state)
{
    (void)state;
    struct entity_def *d = define("{\"a\":{\"kind\":\"json\"}}");
    struct err e = ERR_INIT;
    json_t *in = json_pack("{s:{s:{}}}", "a", "b"),
           *b = json_object_get(json_object_get(in, "a"), "b");
    json_object_setn_new(b, "x\0y", 3, json_true());
    assert_null(entity_doc_check(d, in, 0, NULL, &e));
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.text, "NUL"));
    json_decref(in);
    entity_def_unref(d);
}

static void a_record_over_one_mebibyte_is_too_large(void **state)
{
    (void)state;
    struct entity_def *d = define("{\"a\":{\"kind\":\"json\"}}");
    char *text = test_malloc(ENTITY_RECORD_BYTES_MAX + 1);
    memset(text, 'x', ENTITY_RECORD_BYTES_MAX);
    text[ENTITY_RECORD_BYTES_MAX] = '\0';
    json_t *in = json_pack("{s:s}", "a", text);
    struct entity_doc doc;
    entity_doc_init(&doc);
    assert_int_equal(entity_doc_make(d, in, 0, &doc, NULL, NULL), ERR_TOO_LARGE);
    entity_doc_fini(&doc);
    json_decref(in);
    test_free(text);
    entity_def_unref(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_takes_its_values_in_one_normal_form),
        cmocka_unit_test(every_kind_refuses_what_it_is_not),
        cmocka_unit_test(keys_take_declared_order_nulls_go_and_defaults_come),
        cmocka_unit_test(all_faults_are_listed_at_once),
        cmocka_unit_test(a_flood_of_faults_is_cut_short),
        cmocka_unit_test(a_pattern_is_not_asked_of_a_long_text),
        cmocka_unit_test(a_key_may_not_hold_a_nul),
        cmocka_unit_test(a_record_over_one_mebibyte_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
