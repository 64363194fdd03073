#include "bus/group.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/unit.h"

static struct groups *build(const struct group_declared *list, size_t count)
{
    struct groups *g;
    struct err e = ERR_INIT;
    if (groups_build(list, count, &g, &e) != 0)
        fail_msg("%s", e.text);
    return g;
}

TEST(a_group_has_its_name_or_that_of_its_file)
{
    static const struct group_declared list[] = {
        {"order.*", NULL, "shop/order-mail.lua", 3, NULL},
        {"order.*", "audit", "shop/order-mail.lua", 9, NULL},
        {"#", NULL, "tail", 1, NULL},
        {"order.placed", "audit", "x.lua", 1, NULL},
    };
    struct groups *g = build(list, ARRAY_LEN(list));
    static const char *const want[] = {"audit order.*", "audit order.placed", "order-mail order.*",
                                       "tail #"};
    char text[64];
    assert_int_equal(groups_count(g), ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct group *x = groups_at(g, i);
        snprintf(text, sizeof(text), "%s %s", x->name, x->pattern);
        assert_string_equal(text, want[i]);
    }
    assert_string_equal(groups_at(g, 0)->options, "{}");
    groups_free(g);
    groups_free(NULL);
    assert_int_equal(groups_count(NULL), 0);
}

TEST(the_same_pattern_and_group_twice_is_refused_naming_both_places) /* R1 */
{
    struct group_declared list[] = {
        {"order.*", "crm", "b.lua", 12, NULL},
        {"#", "crm", "b.lua", 14, NULL},
        {"order.*", NULL, "crm.lua", 3, NULL},
    };
    struct groups *g = NULL;
    struct err e = ERR_INIT;
    assert_refused(groups_build(list, 3, &g, &e), ERR_INVALID,
                   "group 'crm' listens to 'order.*' twice, in b.lua:12 and in crm.lua:3");
    struct group_declared first = list[0];
    list[0] = list[2];
    list[2] = first;
    assert_refused(groups_build(list, 3, &g, &e), ERR_INVALID, "in b.lua:12 and in crm.lua:3");
    list[0].group = "other";
    assert_int_equal(groups_build(list, 3, &g, &e), 0);
    groups_free(g);
}

TEST(what_is_wrong_is_named_with_its_place) /* R1 */
{
    static const struct {
        struct group_declared d;
        const char *words;
    } cases[] = {
        {{"order*", NULL, "a.lua", 7, NULL}, "a.lua:7: on 'order*': pattern: '*' at offset 5"},
        {{"order.*", "my group", "a.lua", 7, NULL}, "a.lua:7: on 'order.*': a group's name is"},
        {{"order.*", "", "a.lua", 7, NULL}, "at least one"},
        {{"order.*", "0123456789012345678901234567890123456789012345678901234567890123x", "a.lua",
          7, NULL},
         "at most 64"},
        {{"order.*", NULL, "x/my orders.lua", 7, NULL}, "write group = \"...\""},
        {{"order.*", NULL, "x/.lua", 7, NULL}, "write group = \"...\""},
    };
    struct groups *g = NULL;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = ERR_INIT;
        assert_refused(groups_build(&cases[i].d, 1, &g, &e), ERR_INVALID, cases[i].words);
    }
}

TEST(a_set_has_limits)
{
    struct group_declared *many = mem_new_array(GROUPS_MAX + 1, sizeof(*many));
    struct groups *g = NULL;
    struct err e = ERR_INIT;
    assert_refused(groups_build(many, GROUPS_MAX + 1, &g, &e), ERR_TOO_LARGE, "at most 10000");
    char *long_text = mem_must(4000001);
    memset(long_text, 'x', 4000000);
    long_text[4000000] = '\0';
    json_t *options = json_pack("{s:s}", "note", long_text);
    char names[6][8];
    for (size_t i = 0; i < 6; i++) {
        snprintf(names[i], sizeof(names[i]), "g%zu", i);
        many[i] = (struct group_declared){"#", names[i], "a.lua", 1, options};
    }
    assert_refused(groups_build(many, 6, &g, &e), ERR_TOO_LARGE, "bytes");
    json_decref(options);
    mem_free(long_text);
    mem_free(many);
}

TEST(without_listeners_a_message_is_kept_refused_or_dropped_as_was_asked)
{
    enum unrouted u = UNROUTED_DROP;
    struct err e = ERR_INIT;
    assert_int_equal(group_route(1, true, UNROUTED_DROP), GROUP_DELIVER);
    assert_int_equal(group_route(0, false, UNROUTED_KEEP), GROUP_KEEP);
    assert_int_equal(group_route(0, false, UNROUTED_DROP), GROUP_DROP);
    assert_int_equal(group_route(0, true, UNROUTED_KEEP), GROUP_REFUSE);
    assert_int_equal(group_route(0, true, UNROUTED_DROP), GROUP_REFUSE);
    assert_int_equal(unrouted_read("keep", &u, &e), 0);
    assert_int_equal(u, UNROUTED_KEEP);
    assert_int_equal(unrouted_read("drop", &u, &e), 0);
    assert_int_equal(u, UNROUTED_DROP);
    assert_refused(unrouted_read("ignore", &u, &e), ERR_INVALID, "not 'ignore'");
    assert_string_equal(e.field, "unrouted");
}

TEST(of_several_patterns_of_a_group_that_is_meant_which_says_more)
{
    static const struct group_declared list[] = {
        {"#", "a", "x.lua", 1, NULL},
        {"order.*", "a", "x.lua", 2, NULL},
        {"order.placed", "a", "x.lua", 3, NULL},
        {"order.placed", "b", "x.lua", 4, NULL},
    };
    struct groups *g = build(list, ARRAY_LEN(list));
    assert_int_equal(groups_pick(g, "a", "order.placed")->line, 3);
    assert_int_equal(groups_pick(g, "a", "order.paid")->line, 2);
    assert_int_equal(groups_pick(g, "a", "customer")->line, 1);
    assert_null(groups_pick(g, "b", "order.paid"));
    assert_null(groups_pick(g, "c", "order.placed"));
    assert_null(groups_pick(NULL, "a", "order.placed"));
    groups_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_group_has_its_name_or_that_of_its_file),
        HEAP_TEST(the_same_pattern_and_group_twice_is_refused_naming_both_places),
        HEAP_TEST(what_is_wrong_is_named_with_its_place),
        HEAP_TEST(a_set_has_limits),
        HEAP_TEST(without_listeners_a_message_is_kept_refused_or_dropped_as_was_asked),
        HEAP_TEST(of_several_patterns_of_a_group_that_is_meant_which_says_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
