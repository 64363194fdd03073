#include "app/setting_plan.h"

#include "base/json.h"
#include "support/unit.h"

static const char layer_text[] =
    "{\"log.level\":{\"value\":\"warn\"},\"http.threads\":{\"value\":\"4\"},"
    "\"flags.new\":{\"value\":{\"percent\":20,\"tenants\":[\"acme\"]}},\"app.rate\":{\"value\":3},"
    "\"gone.setting\":{\"value\":\"of an older version\"}}";

static json_t *read(const char *text)
{
    json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(v);
    return v;
}

enum how { ONE, MERGE, APPLY, PRUNE };

static char *plan(enum how how, const char *name, const char *text, struct err *e)
{
    json_t *layer = read(layer_text), *v = text != NULL ? read(text) : NULL;
    struct setting_plan p = {layer, json_object(), json_array()};
    if (how == ONE)
        setting_plan_one(&p, name, v);
    else if (how == MERGE)
        setting_plan_merge(&p, v);
    else
        setting_plan_apply(&p, v, how == PRUNE);
    char *changes = setting_plan_check(&p, e) == 0
                        ? json_dumps(p.changes, JSON_COMPACT | JSON_SORT_KEYS)
                        : NULL;
    json_decref(p.changes);
    json_decref(p.faults);
    json_decref(layer);
    json_decref(v);
    return changes;
}

static void gives(enum how how, const char *name, const char *text, const char *want)
{
    struct err e = ERR_INIT;
    char *changes = plan(how, name, text, &e);
    if (changes == NULL)
        fail_msg("%s", e.text);
    assert_string_equal(changes, want);
    mem_free(changes);
}

static void refuses(enum how how, const char *name, const char *text, const char *words)
{
    struct err e = ERR_INIT;
    char *changes = plan(how, name, text, &e);
    if (changes != NULL)
        fail_msg("%s", changes);
    assert_int_equal(e.code, ERR_INVALID);
    if (strstr(e.text, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, e.text);
}

TEST(one_name_is_set_in_the_form_that_is_kept)
{
    gives(ONE, "drain.timeout", "5", "{\"drain.timeout\":\"5\"}");
    gives(ONE, "http.threads", "4", "{}");
    gives(ONE, "log.level", "null", "{\"log.level\":null}");
    gives(ONE, "drain.timeout", NULL, "{}");
    gives(ONE, "gone.setting", NULL, "{\"gone.setting\":null}");
    refuses(ONE, "gone.setting", "\"x\"", "no setting 'gone.setting'");
    refuses(ONE, "drain.timeot", NULL, "did you mean 'drain.timeout'?");
    refuses(ONE, "token", "\"abcdefghijklmnopqrst\"", "token: is needed before");
}

TEST(a_merge_patch_is_one_of_the_tree)
{
    gives(MERGE, NULL, "{\"log\":{\"level\":null},\"app\":{\"by\":\"me\"}}",
          "{\"app.by\":\"me\",\"log.level\":null}");
    gives(MERGE, NULL, "{\"flags\":{\"new\":{\"percent\":50}}}",
          "{\"flags.new\":{\"percent\":50,\"tenants\":[\"acme\"]}}");
    gives(MERGE, NULL, "{\"flags\":null}", "{\"flags.new\":null}");
    gives(MERGE, NULL, "{\"lanes\":{\"bulk\":{\"cap\":0}}}", "{\"lanes.bulk\":{\"cap\":0}}");
    refuses(MERGE, NULL, "{\"lanes\":{\"bulk\":0}}", "lanes.bulk");
    gives(MERGE, NULL, "{\"log\":null}", "{\"log.level\":null}");
    gives(MERGE, NULL, "{}", "{}");
    refuses(MERGE, NULL, "{\"log\":{\"levl\":null}}", "did you mean 'log.level'?");
    refuses(MERGE, NULL, "{\"log\":{\"level\":\"loud\"},\"data\":\"x\"}", "and 1 more faults");
}

TEST(a_document_is_brought_into_force)
{
    static const char same[] =
        "{\"log\":{\"level\":\"warn\"},\"http\":{\"threads\":4},\"app\":{\"rate\":3},\"flags\":"
        "{\"new\":{\"tenants\":[\"acme\"],\"percent\":20}}}";
    gives(APPLY, NULL, same, "{}");
    gives(PRUNE, NULL, same, "{\"gone.setting\":null}");
    gives(APPLY, NULL, "{\"app\":{\"rate\":4},\"flags\":[]}", "{\"app.rate\":4}");
    gives(PRUNE, NULL, "{\"app\":{\"rate\":3}}",
          "{\"flags.new\":null,\"gone.setting\":null,\"http.threads\":null,\"log.level\":null}");
    refuses(APPLY, NULL, "{\"app\":{\"rate\":4},\"roles\":{\"x\":{}}}", "no roles that could be");
    refuses(APPLY, NULL, "{\"http\":{\"listen\":\":1\"}}", "http.listen: is needed before");
    refuses(APPLY, NULL, "[]", "an object of sections");
    refuses(APPLY, NULL, "{\"flags\":5}", "names with values were expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(one_name_is_set_in_the_form_that_is_kept),
        HEAP_TEST(a_merge_patch_is_one_of_the_tree),
        HEAP_TEST(a_document_is_brought_into_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
