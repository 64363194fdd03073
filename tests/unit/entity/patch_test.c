#include "entity/patch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"

static json_t *parse(const char *text)
{
    struct err e = ERR_INIT;
    json_t *v = json_read(text, strlen(text), &e);
    if (v == NULL)
        fail_msg("%s: %s", text, e.text);
    return v;
}

/* `want` NULL: the code is wanted instead. */
static void check(enum entity_patch_kind kind, const char *doc, const char *patch, const char *want,
                  int code)
{
    json_t *d = parse(doc), *p = parse(patch);
    struct err e = ERR_INIT;
    int rc = kind == ENTITY_PATCH_MERGE ? patch_merge(&d, p, &e) : patch_json(&d, p, &e);
    if (rc != code)
        fail_msg("%s on %s: %d (%s), wanted %d", patch, doc, rc, e.text, code);
    if (want != NULL) {
        json_t *w = parse(want);
        struct buf b = BUF_INIT(1 << 20);
        json_print(d, &b, NULL);
        if (json_compare(d, w) != 0)
            fail_msg("%s on %s: %s, wanted %s", patch, doc, buf_str(&b), want);
        buf_fini(&b);
        json_decref(w);
    }
    if (code != 0)
        assert_true(strlen(e.text) > 0);
    json_decref(d);
    json_decref(p);
}

/* The table of RFC 7396, appendix A. */
static void merge_patch_does_what_its_standard_lists(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(ENTITY_PATCH_MERGE, cases[i][0], cases[i][1], cases[i][2], 0);
}

/* RFC 6902, appendix A, and the corners its text describes. */
static void json_patch_does_what_its_standard_lists(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         "{\"foo\":[\"bar\",\"qux\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]",
         "{\"foo\":\"bar\"}"},
        {"{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
         "{\"foo\":[\"bar\",\"baz\"]}"},
        {"{\"baz\":\"qux\",\"foo\":\"bar\"}",
         "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
         "{\"baz\":\"boo\",\"foo\":\"bar\"}"},
        {"{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
         "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
         "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}"},
        {"{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
         "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
         "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}"},
        {"{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
         "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},"
         "{\"op\":\"test\",\"path\":\"/foo/1\",\"value\":2}]",
         "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}"},
        {"{\"foo\":\"bar\"}",
         "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
         "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
         "{\"foo\":\"bar\",\"baz\":\"qux\"}"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10}]",
         "{\"/\":9,\"~1\":10}"},
        {"{\"foo\":[\"bar\"]}",
         "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\",\"def\"]}]",
         "{\"foo\":[\"bar\",[\"abc\",\"def\"]]}"},
        {"{\"a\":{\"b\":1,\"c\":2}}",
         "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"c\":2,\"b\":1}}]",
         "{\"a\":{\"b\":1,\"c\":2}}"},
        {"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]", "{\"a\":1,\"b\":1}"},
        {"{\"a\":[1]}",
         "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},"
         "{\"op\":\"add\",\"path\":\"/b/-\",\"value\":2}]",
         "{\"a\":[1],\"b\":[1,2]}"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a\"}]", "{\"a\":1}"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":null}]", "{\"a\":null}"},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}"},
        {"{\"\":1}", "[{\"op\":\"remove\",\"path\":\"/\"}]", "{}"},
        {"{\"a\":[1,2]}", "[{\"op\":\"replace\",\"path\":\"/a/0\",\"value\":9}]", "{\"a\":[9,2]}"},
        {"{\"a\":1}", "[]", "{\"a\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(ENTITY_PATCH_JSON, cases[i][0], cases[i][1], cases[i][2], 0);
}

static void json_patch_refuses_what_the_record_does_not_allow(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"baz\":\"qux\"}", "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"bar\"}]"},
        {"{\"/\":9,\"~1\":10}", "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":\"10\"}]"},
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz/bat\",\"value\":\"qux\"}]"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]"},
        {"{}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":1}]"},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]"},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]"},
        {"{\"a\":[]}", "[{\"op\":\"remove\",\"path\":\"/a/0\"}]"},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]"},
        {"{}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"}]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(ENTITY_PATCH_JSON, cases[i][0], cases[i][1], NULL, ERR_CONFLICT);
}

static void json_patch_refuses_what_can_never_be_right(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{}", "[1]"},
        {"{}", "[{\"path\":\"/a\"}]"},
        {"{}", "[{\"op\":\"ad\",\"path\":\"/a\",\"value\":1}]"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a\"}]"},
        {"{}", "[{\"op\":\"add\",\"value\":1}]"},
        {"{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]"},
        {"{}", "[{\"op\":\"add\",\"path\":\"/~\",\"value\":1}]"},
        {"{}", "[{\"op\":\"remove\",\"path\":\"\"}]"},
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":1}]"},
        {"{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/1e0\",\"value\":1}]"},
        {"{\"a\":[1,2]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]"},
        {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]"},
        {"{\"a\":1}", "[{\"op\":\"move\",\"path\":\"/b\"}]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        check(ENTITY_PATCH_JSON, cases[i][0], cases[i][1], NULL, ERR_INVALID);
}

static void copies_cannot_grow_without_bound(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1 << 20);
    buf_adds(&b, "[");
    for (int i = 0; i < 40; i++)
        buf_addf(&b, "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a%d\"}", i ? "," : "", i);
    buf_adds(&b, "]");
    check(ENTITY_PATCH_JSON, "{\"x\":1}", buf_str(&b), NULL, ERR_TOO_LARGE);
    buf_fini(&b);
}

/* Few values, but large ones. */
static void copies_of_long_texts_cannot_either(void **state)
{
    (void)state;
    struct buf doc = BUF_INIT(2 << 20), patch = BUF_INIT(1 << 20);
    buf_adds(&doc, "{\"l\":[],\"x\":\"");
    for (int i = 0; i < 500 * 1024; i++)
        buf_addc(&doc, 'x');
    buf_adds(&doc, "\"}");
    buf_adds(&patch, "[");
    for (int i = 0; i < 20; i++)
        buf_addf(&patch, "%s{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/l/-\"}", i ? "," : "");
    buf_adds(&patch, "]");
    check(ENTITY_PATCH_JSON, buf_str(&doc), buf_str(&patch), NULL, ERR_TOO_LARGE);
    buf_fini(&doc);
    buf_fini(&patch);
}

static void the_shape_is_checked_without_a_record(void **state)
{
    (void)state;
    json_t *p = parse("[{\"op\":\"remove\",\"path\":\"/not/there\"}]");
    assert_int_equal(patch_check(ENTITY_PATCH_JSON, p, NULL), 0);
    assert_int_equal(patch_check(ENTITY_PATCH_MERGE, p, NULL), ERR_INVALID);
    json_decref(p);
    p = parse("[{\"op\":\"remove\"}]");
    struct err e = ERR_INIT;
    assert_int_equal(patch_check(ENTITY_PATCH_JSON, p, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "operation 1"));
    json_decref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merge_patch_does_what_its_standard_lists),
        cmocka_unit_test(json_patch_does_what_its_standard_lists),
        cmocka_unit_test(json_patch_refuses_what_the_record_does_not_allow),
        cmocka_unit_test(json_patch_refuses_what_can_never_be_right),
        cmocka_unit_test(copies_cannot_grow_without_bound),
        cmocka_unit_test(copies_of_long_texts_cannot_either),
        cmocka_unit_test(the_shape_is_checked_without_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
