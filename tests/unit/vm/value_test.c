#include "base/buf.h"
#include "vm_fixture.h"

/* What main(arg) gives for a JSON text, as sorted JSON text. */
static void assert_gives(const char *script, const char *arg, const char *want)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, script);
    struct call c = {.arg = json_loads(arg, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)};
    assert_non_null(c.arg);
    assert_true(call_start(vm, &c));
    if (c.run.err.code != 0)
        fail_msg("%s", c.run.err.text);
    char *text = json_dumps(c.result, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, want);
    free(text);
    call_fini(&c);
    vm_free(vm);
}

static const char echo[] = "function main(v) return v end";

TEST(values_come_back_as_they_went)
{
    static const char *const values[] = {"{}",
                                         "[]",
                                         "{\"a\":[],\"b\":{},\"c\":[{}]}",
                                         "[1,2.5,\"x\",true,false]",
                                         "[9223372036854775807,-9223372036854775808]",
                                         "[1,null,3]",
                                         "[null]",
                                         "\"\\u0000x\"",
                                         "[1.0,2]"};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_gives(echo, values[i], values[i]);
}

TEST(a_null_field_is_absent)
{
    assert_gives("function main(v) assert(v.a == nil); v.c = v.a == nil; return v end",
                 "{\"a\":null,\"b\":1}", "{\"b\":1,\"c\":true}");
}

static void assert_same(const char *change, const char *arg, bool same, bool nulls)
{
    char script[256];
    snprintf(script, sizeof script, "function main(v) %s return v end", change);
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, script);
    struct call c = {.arg = json_loads(arg, JSON_DECODE_ANY, NULL)};
    assert_true(call_start(vm, &c));
    if (c.same != same || (same && c.nulls != nulls))
        fail_msg("%s of %s: same %d, nulls %d", change, arg, c.same, c.nulls);
    call_fini(&c);
    vm_free(vm);
}

TEST(a_value_that_was_left_alone_is_told_from_one_that_was_not)
{
    static const char some[] = "{\"a\":1,\"b\":2.5,\"c\":\"x\",\"d\":[1,null,{}],\"e\":true}";
    assert_same("", some, true, false);
    assert_same("v.z = 1; v.z = nil", some, true, false);
    assert_same("", "{\"a\":null,\"b\":1}", true, true);
    static const char *const changes[] = {
        "v.a = 1.0",         "v.a = 2",        "v.b = 3",  "v.c = 'y'",   "v.c = 'x\\0'",
        "v.d[3] = nil",      "v.d[3].k = 1",   "v.d = {}", "v.e = false", "v.e = nil",
        "v.f = 1",           "v.d[4] = 4",     "v = 1",    "v = {}",      "v.d[1] = '1'",
        "v.a, v.f = nil, 1", "v.d = { x = 1 }"};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        assert_same(changes[i], some, false, false);
    assert_same("v.b = nil", "{\"a\":null,\"b\":1}", false, false);
    /* A null inside of another value has gone with the way here. */
    assert_same("", "{\"o\":{\"a\":null}}", false, false);
}

TEST(tables_made_by_scripts_are_lists_or_objects)
{
    assert_gives("function main(v) return { {}, { 1, 2 }, { a = 1 } } end", "1",
                 "[{},[1,2],{\"a\":1}]");
}

static void assert_refuses_value(const char *expression, const char *field, const char *words)
{
    char script[256];
    snprintf(script, sizeof script, "function main() return %s end", expression);
    struct call c;
    run_text(script, &c);
    struct err e = c.run.err;
    call_fini(&c);
    assert_refused(e.code, ERR_INVALID, words);
    assert_string_equal(e.field, field);
}

TEST(what_is_not_a_value_is_refused_with_its_path)
{
    assert_refuses_value("{ a = { 1, { b = print } } }", "a[2].b", "a function cannot be stored");
    assert_refuses_value("{ x = 0/0 }", "x", "not a number");
    assert_refuses_value("{ x = '\\xff' }", "x", "not UTF-8");
    assert_refuses_value("{ 1, 2, x = 3 }", "", "both items and names");
    assert_refuses_value("{ [7] = 1 }", "", "key that is a number");
    assert_refuses_value("{ 1, nil, 3 }", "", "gaps");
    assert_refuses_value("{ a = { ['b\\0c'] = 1 } }", "a", "holds a NUL");
    assert_fails("function main() local t = {} t.t = t return t end", ERR_INVALID,
                 "contains itself");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(values_come_back_as_they_went),
        HEAP_TEST(a_null_field_is_absent),
        HEAP_TEST(a_value_that_was_left_alone_is_told_from_one_that_was_not),
        HEAP_TEST(tables_made_by_scripts_are_lists_or_objects),
        HEAP_TEST(what_is_not_a_value_is_refused_with_its_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
