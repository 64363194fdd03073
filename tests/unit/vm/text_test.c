/* JSON text as Lua values, and keys that are kept from object to object. */
#include "base/buf.h"
#include "base/mem.h"
#include "vm_fixture.h"

static const char echo[] = "function main(v) return v end";

static void give(struct vm *vm, json_t *arg, const char *printed, struct call *c)
{
    *c = (struct call){.arg = arg, .printed = printed};
    call_start(vm, c);
    while (!c->done)
        vm_turn(vm);
    if (c->run.err.code != 0)
        fail_msg("%s: %s", printed, c->run.err.text);
}

/* One VM sees them all, so that each meets the keys of the one before it. */
TEST(a_text_gives_what_its_value_gives)
{
    static const char *const texts[] = {
        "{\"a\":1,\"b\":2.5,\"c\":\"x\"}",
        "{\"a\":2,\"b\":\"y\",\"c\":true}",
        "{\"a\":null,\"b\":1,\"c\":null}",
        "{\"b\":1,\"a\":2}",
        "{\"a\":2}",
        "{}",
        "{\"\":\"\",\"a\":{\"a\":{\"a\":[{},[],null,false]}},\"aa\":[1,2.0,-3,\"\"]}",
        "{\"aa\":1,\"ab\":2,\"a\":3}",
        "[]",
        "[{\"a\":1},{\"b\":[null]}]",
        "\"h\xc3\xa9\"",
        "9223372036854775807",
        "-9223372036854775808",
        "1e-07",
        "123456789012.5",
        "-0.0",
        "1e+300",
        "40.07080078125",
        "true",
        "false",
    };
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, echo);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
            struct err e = ERR_INIT;
            json_t *value = json_read(texts[i], strlen(texts[i]), &e);
            assert_non_null(value);
            struct call a, b;
            give(vm, value, NULL, &a);
            give(vm, NULL, texts[i], &b);
            if (!json_equal(a.result, b.result))
                fail_msg("%s", texts[i]);
            call_fini(&a);
            call_fini(&b);
        }
    vm_free(vm);
}

TEST(keys_are_kept_for_as_many_members_as_there_is_room_and_the_others_come_too)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, echo);
    for (int shift = 0; shift < 4; shift++) {
        AUTO(buf_fini) struct buf b = BUF_INIT(1 << 16);
        buf_addc(&b, '{');
        for (int i = 0; i < 200; i++)
            buf_addf(&b, "%s\"k%d\":%d", i > 0 ? "," : "", i + shift / 2 * (i % 3), i);
        buf_addc(&b, '}');
        json_t *value = json_loads(buf_str(&b), 0, NULL);
        assert_non_null(value);
        struct call a, t;
        give(vm, json_incref(value), NULL, &a);
        give(vm, NULL, buf_str(&b), &t);
        assert_true(json_equal(a.result, value) && json_equal(t.result, value));
        json_decref(value);
        call_fini(&a);
        call_fini(&t);
    }
    vm_free(vm);
}

/* What a script keeps of a key must not depend on the object it came from. */
TEST(keys_outlive_the_objects_that_they_came_from)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, "function main(v)\n"
                                  "  local n = 0\n"
                                  "  for k in pairs(v) do n = n + #k end\n"
                                  "  for i = 1, 300 do local s = 'k' .. i .. n end\n"
                                  "  return n\n"
                                  "end");
    for (int i = 0; i < 200; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"key%d\":1,\"same\":2,\"%03d\":3}", i % 7, i);
        struct call c;
        give(vm, NULL, text, &c);
        assert_int_equal(json_integer_value(c.result), 4 + 4 + 3);
        call_fini(&c);
    }
    vm_free(vm);
}

TEST(what_is_no_json_raises_and_too_deep_does_too)
{
    static const char *const texts[] = {"",      "{",      "{\"a\"}",    "{\"a\":}",     "{\"a\":1",
                                        "[1",    "[1 ,2]", "{\"a\":1}x", "nul",          "-",
                                        "\"abc", "{a:1}",  "{\"a\" :1}", "{\"a\":1,,2}", "}"};
    char deep[VM_DEPTH_MAX + 2] = "";
    memset(deep, '[', VM_DEPTH_MAX + 1);
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, echo);
    for (size_t i = 0; i <= ARRAY_LEN(texts); i++) {
        struct call c = {.printed = i < ARRAY_LEN(texts) ? texts[i] : deep};
        assert_true(call_start(vm, &c));
        if (c.run.err.code == 0)
            fail_msg("taken: %s", c.printed);
        call_fini(&c);
    }
    struct call c;
    give(vm, NULL, "{\"a\":1}", &c);
    assert_int_equal(json_integer_value(json_object_get(c.result, "a")), 1);
    call_fini(&c);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_gives_what_its_value_gives),
        cmocka_unit_test(
            keys_are_kept_for_as_many_members_as_there_is_room_and_the_others_come_too),
        cmocka_unit_test(keys_outlive_the_objects_that_they_came_from),
        cmocka_unit_test(what_is_no_json_raises_and_too_deep_does_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
