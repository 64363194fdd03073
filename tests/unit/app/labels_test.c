#include "app/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static void reads(const char *text, const char *want)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *labels = NULL;
    AUTO(json_unref) json_t *wanted = json_read(want, strlen(want), &e);
    if (labels_read(text, &labels, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    assert_true(json_equal(labels, wanted));
}

static void refuses(const char *text, const char *words)
{
    struct err e = ERR_INIT;
    json_t *labels = NULL;
    assert_int_equal(labels_read(text, &labels, &e), ERR_INVALID);
    assert_null(labels);
    if (strstr(e.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", e.text, words);
}

static void labels_are_words_or_an_object(void **state)
{
    (void)state;
    reads("", "{}");
    reads(" , ", "{}");
    reads("gpu=2 zone=a ssd", "{\"gpu\":2,\"zone\":\"a\",\"ssd\":true}");
    reads("gpu=2,zone=a,,ssd", "{\"gpu\":2,\"zone\":\"a\",\"ssd\":true}");
    reads("v=1.5 w=-1 x=a=b", "{\"v\":\"1.5\",\"w\":\"-1\",\"x\":\"a=b\"}");
    reads("kubernetes.io/arch=amd64", "{\"kubernetes.io/arch\":\"amd64\"}");
    reads("gpu=4294967295", "{\"gpu\":4294967295}");
    reads(" {\"zone\": \"1\", \"of\": \"two words\"}", "{\"zone\":\"1\",\"of\":\"two words\"}");
}

static void wrong_labels_are_named(void **state)
{
    (void)state;
    char longer[LABELS_NAME_BYTES + 2], text[LABELS_TEXT_BYTES + 8] = "zone=";
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    memset(text + 5, 't', LABELS_TEXT_BYTES + 1);
    refuses(longer, "1 to 128 letters");
    refuses(text, "label 'zone': true, a text of 1 to 128 bytes");
    refuses("=a", "no name of a label");
    refuses("a@b", "'a@b' is no name");
    refuses("zone=", "label 'zone'");
    refuses("gpu=0", "label 'gpu'");
    refuses("gpu=4294967296", "label 'gpu'");
    refuses("gpu=18446744073709551615", "label 'gpu'");
    refuses("gpu=99999999999999999999999", "label 'gpu'");
    refuses("gpu gpu=1", "'gpu' is there twice");
    refuses("node=x", "it is the node's id");
    refuses("{\"node\": true}", "it is the node's id");
    refuses("{\"gpu\": false}", "label 'gpu'");
    refuses("{\"gpu\": 1.5}", "label 'gpu'");
    refuses("{\"gpu\": [1]}", "label 'gpu'");
    refuses("{\"zone\": \"a\\u0000b\"}", "");
    refuses("{\"gpu\": 1", "");
    refuses("a b c d e f g h i j k l m n o p", "16 labels: at most 15");
}

static void what_a_node_is_only_for_it_has(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(labels_check_only("gpu=1 zone=a", "gpu, zone node", &e), 0);
    assert_int_equal(labels_check_only("", "", &e), 0);
    assert_int_equal(labels_check_only("zone=a", "gpu", &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "'gpu' is no label of this node"));
    assert_int_equal(labels_check_only("zone=a", "g@u", &e), ERR_INVALID);
}

static void text_of(const char *json, bool names, const char *want)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *v = json_read(json, strlen(json), &e);
    AUTO(mem_freep) char *text = labels_text(v, names);
    assert_true((text == NULL) == (want == NULL));
    if (want != NULL)
        assert_string_equal(text, want);
}

static void a_file_has_tables_and_lists(void **state)
{
    (void)state;
    text_of("{\"gpu\":1}", false, "{\"gpu\":1}");
    text_of("[]", false, "");
    text_of("[\"gpu\"]", false, NULL);
    text_of("7", false, NULL);
    text_of("[\"gpu\",\"zone\"]", true, "gpu zone");
    text_of("[7]", true, "?"); /* which is no name */
    text_of("{\"gpu\":1}", true, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_words_or_an_object),
        cmocka_unit_test(wrong_labels_are_named),
        cmocka_unit_test(what_a_node_is_only_for_it_has),
        cmocka_unit_test(a_file_has_tables_and_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
