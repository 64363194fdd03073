#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "canon/canon_priv.h"

static void normalises(const char *norm, const char *in, const char *want)
{
    enum canon_norm n;
    int function;
    assert_true(canon_norm_parse(norm, &n, &function));
    struct buf b = BUF_INIT(1024);
    canon_normalise(n, in, strlen(in), &b);
    assert_string_equal(buf_str(&b), want);
    buf_fini(&b);
}

static void normalisers_do_what_their_names_say(void **state)
{
    (void)state;
    normalises("trim", " \t a b \n", "a b");
    normalises("lower", "\303\211COLE \320\226", "\303\251cole \320\266");
    normalises("upper", "lis \305\276", "LIS \305\275");
    normalises("digits", "PT 123-456", "123456");
    normalises("email", " Ana@Example.ORG ", "ana@example.org");
    normalises("phone", "0044 (20) 12", "+442012");
    normalises("phone", "+351 21", "+35121");
    normalises("name", "  S\303\243o  Paulo/Guarulhos-(Intl.) ", "sao paulo guarulhos intl");
    normalises("ascii", "\303\205rhus \305\201\303\263d\305\272", "Arhus Lodz");
    normalises("name", "---", "");
}

static void unknown_normalisers_are_refused(void **state)
{
    (void)state;
    enum canon_norm n;
    int function;
    assert_false(canon_norm_parse("loower", &n, &function));
    assert_false(canon_norm_parse("fn:-1", &n, &function));
    assert_false(canon_norm_parse("none", &n, &function));
    assert_true(canon_norm_parse("fn:3", &n, &function));
    assert_int_equal(function, 3);
}

static void keys(const char *data, const char *want)
{
    static const char *const text =
        "{\"name\":\"P\",\"sources\":{\"a\":{\"rank\":1}},\"keys\":["
        "{\"name\":\"tax\",\"parts\":[{\"field\":\"tax\",\"norm\":\"digits\"}]},"
        "{\"name\":\"who\",\"parts\":[{\"field\":\"name\",\"norm\":\"name\"},{\"field\":\"born\"}]}"
        "]}";
    struct err e = ERR_INIT;
    struct canon_model *m = NULL;
    json_t *o = json_read(text, strlen(text), &e), *d = json_read(data, strlen(data), &e), *list;
    assert_int_equal(canon_model_parse(o, &m, &e), 0);
    assert_int_equal(canon_keys_of(m, d, NULL, &list, &e), 0);
    struct buf b = BUF_INIT(1024);
    json_print(list, &b, &e);
    assert_string_equal(buf_str(&b), want);
    buf_fini(&b);
    json_decref(o);
    json_decref(d);
    json_decref(list);
    canon_model_unref(m);
}

static void a_key_needs_all_of_its_parts(void **state)
{
    (void)state;
    keys("{\"tax\":\"PT 17\",\"name\":\"Ana B.\",\"born\":1990}",
         "[\"tax:17\",\"who:ana b\\u001f1990\"]");
    keys("{\"tax\":null,\"name\":\"Ana\"}", "[]");
    keys("{\"tax\":\"none\",\"name\":\"-\",\"born\":1}", "[]");
}

static void declaration_is_refused(const char *text, const char *words)
{
    struct err e = ERR_INIT;
    struct canon_model *m = NULL;
    json_t *o = json_read(text, strlen(text), &e);
    assert_non_null(o);
    assert_true(canon_model_parse(o, &m, &e) < 0);
    if (strstr(e.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", e.text, words);
    json_decref(o);
}

static void bad_declarations_name_what_is_wrong(void **state)
{
    (void)state;
    declaration_is_refused("{\"name\":\"P\",\"sources\":{}}", "sources must name");
    declaration_is_refused("{\"name\":\"P\",\"sources\":{\"a\":{}},\"polciy\":{}}", "policy");
    declaration_is_refused("{\"name\":\"P\",\"sources\":{\"a\":{}},\"match\":{}}", "match");
    declaration_is_refused(
        "{\"name\":\"P\",\"sources\":{\"a\":{}},\"policy\":{\"f\":{\"is\":\"lattest\"}}}",
        "did you mean 'latest'");
    declaration_is_refused("{\"name\":\"P\",\"sources\":{\"a\":{}},\"policy\":{\"f\":{\"is\":"
                           "\"source_of_truth\",\"ranks\":[\"b\"]}}}",
                           "no source 'b'");
    declaration_is_refused("{\"name\":\"P\",\"sources\":{\"a\":{}},\"policy\":{\"g\":{\"is\":"
                           "\"union\"}},\"group\":{\"g\":[\"x\"]}}",
                           "does not work on a group");
    declaration_is_refused(
        "{\"name\":\"P\",\"sources\":{\"a\":{}},\"group\":{\"g\":[\"x\"],\"h\":[\"x\"]}}",
        "in two groups");
    declaration_is_refused("{\"name\":\"P\",\"sources\":{\"a\":{}},\"keys\":[{\"name\":\"k\","
                           "\"parts\":[{\"field\":\"x\",\"norm\":\"upcase\"}]}]}",
                           "no normaliser 'upcase'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalisers_do_what_their_names_say),
        cmocka_unit_test(unknown_normalisers_are_refused),
        cmocka_unit_test(a_key_needs_all_of_its_parts),
        cmocka_unit_test(bad_declarations_name_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
