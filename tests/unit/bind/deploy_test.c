#include "house.h"

static const char first[] = "entity \"T\" { fields = { n = int, by = text }, before_save = "
                            "function(e) e.by = 'first' end }";

TEST(a_set_that_does_not_load_never_replaces_one_that_did)
{
    struct house h;
    house_open(&h, 2);
    house_deployed_well(&h, first);
    struct err e = ERR_INIT;
    assert_refused(
        house_deploy(
            &h,
            "entity \"T\" { fields = { n = int, by = text },\n  before_save = function(e) e.by = }",
            &e),
        ERR_INVALID, "app.lua:2:");
    assert_refused(house_deploy(&h, "entity \"T\" { fields = { n = int } }\nerror('no')", &e),
                   ERR_INVALID, "app.lua:2: no");
    house_true(&h, "return entity 'T'.new { n = 1 }:save().by == 'first'");
    struct entity_def *d = entities_find(h.entities, "T");
    assert_int_equal(d->fields_count, 2);
    entity_def_unref(d);
    house_close(&h);
}

TEST(definitions_that_are_refused_leave_the_old_set_alone)
{
    struct house h;
    house_open(&h, 2);
    house_deployed_well(&h, first);
    house_true(&h, "entity 'T'.new { n = 1 }:save() return true");
    struct err e = ERR_INIT;
    assert_true(house_deploy(&h,
                             "entity \"T\" { fields = { n = date, by = text }, before_save = "
                             "function(e) e.by = 'second' end }",
                             &e) != 0);
    house_true(&h, "return entity 'T'.new { n = 2 }:save().by == 'first'");
    house_close(&h);
}

TEST(a_new_set_is_live_on_every_thread_at_once)
{
    struct house h;
    house_open(&h, 3);
    house_deployed_well(&h, first);
    house_deployed_well(&h, "entity \"T\" { fields = { n = int, by = text, more = int }, "
                            "before_save = function(e) e.by = 'second' end }");
    house_true(&h, "for i = 1, 9 do if entity 'T'.new { n = i, more = 1 }:save().by ~= 'second' "
                   "then return i end end return true");
    house_close(&h);
}

TEST(what_runs_goes_on_with_the_set_that_it_began_with)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "version = 1\nentity \"T\" { fields = { n = int } }");
    struct running r;
    house_run_start(&h, &r,
                    "for i = 1, 300 do entity 'T'.new { n = i }:save() end return version == 1");
    struct deploying d;
    house_deploy_start(&h, &d, "version = 2\nentity \"T\" { fields = { n = int } }");
    while (!d.done)
        house_turn(&h);
    assert_int_equal(d.d.err.code, 0);
    bind_deploy_fini(&d.d);
    house_run_wait(&h, &r);
    assert_int_equal(r.t.err.code, 0);
    assert_true(json_is_true(r.t.result));
    json_decref(r.t.result);
    house_true(&h, "return version == 2");
    house_close(&h);
}

TEST(the_same_set_again_changes_nothing)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, first);
    struct deploying d;
    house_deploy_start(&h, &d, first);
    while (!d.done)
        house_turn(&h);
    assert_true(d.d.unchanged && d.d.err.code == 0);
    json_t *s = bind_status(h.bind);
    assert_string_equal(json_string_value(json_object_get(s, "hash")), d.d.hash);
    json_decref(s);
    bind_deploy_fini(&d.d);
    house_close(&h);
}

TEST(a_check_reports_and_changes_nothing)
{
    struct house h;
    house_open(&h, 1);
    struct deploying d;
    memset(&d, 0, sizeof d);
    d.d.check_only = true;
    struct vm_source files[] = {{"a.lua", first, strlen(first)},
                                {"a_test.lua", "error('not loaded')", 19}};
    d.d.files = files;
    d.d.count = 2;
    d.d.home = loop_runner(h.home);
    d.d.done = house_deployed;
    bind_deploy(h.bind, &d.d);
    while (!d.done)
        house_turn(&h);
    assert_int_equal(d.d.err.code, 0);
    assert_string_equal(json_string_value(json_array_get(d.d.entities, 0)), "T");
    assert_null(entities_find(h.entities, "T"));
    bind_deploy_fini(&d.d);
    house_close(&h);
}

TEST(deploys_that_come_together_are_worked_in_turn)
{
    struct house h;
    house_open(&h, 2);
    struct deploying d[4];
    static const char *const texts[] = {first, "x = 1", "y = = 2", "who = 'last'"};
    for (size_t i = 0; i < 4; i++)
        house_deploy_start(&h, &d[i], texts[i]);
    for (size_t i = 0; i < 4; i++) {
        while (!d[i].done)
            house_turn(&h);
        assert_int_equal(d[i].d.err.code, i == 2 ? ERR_INVALID : 0);
        bind_deploy_fini(&d[i].d);
    }
    house_true(&h, "return who == 'last' and x == nil");
    house_close(&h);
}

TEST(declarations_that_depend_on_chance_are_refused)
{
    struct house h;
    house_open(&h, 2);
    struct err e = ERR_INIT;
    assert_refused(
        house_deploy(&h, "entity \"T\" { fields = { n = int { max = math.random(1, 1 << 40) } } }",
                     &e),
        ERR_INVALID, "may not depend on time or chance");
    house_close(&h);
}

TEST(a_hook_without_its_script_is_unavailable)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, first);
    house_deployed_well(&h, "other = 1");
    house_fails(&h, "entity 'T'.new { n = 1 }:save()", ERR_UNAVAILABLE, "deploy its scripts");
    house_close(&h);
}

TEST(closing_ends_what_would_run_for_ever)
{
    struct house h;
    house_open(&h, 1);
    struct running r[2];
    house_run_start(&h, &r[0], "while true do pcall(function() while true do end end) end");
    house_run_start(&h, &r[1], "while true do pcall(entity('T').get, 'x') end");
    for (int i = 0; i < 30; i++)
        house_turn(&h);
    assert_false(r[0].done || r[1].done);
    house_close(&h);
    for (int i = 0; i < 2; i++)
        assert_int_equal(r[i].t.err.code, ERR_CANCELED);
}

TEST(an_entity_takes_functions_of_the_script_while_it_loads)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "local T = entity \"T\" { fields = { n = int } }\n"
                            "function T.first() return T.query { sort = 'n' }[1] end");
    house_true(&h, "local T = entity 'T'\n"
                   "T.new { n = 2 }:save(); T.new { n = 1 }:save()\n"
                   "return T.first().n == 1 and not pcall(function() T.second = 1 end)");
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_set_that_does_not_load_never_replaces_one_that_did),
        HOUSE_TEST(definitions_that_are_refused_leave_the_old_set_alone),
        HOUSE_TEST(a_new_set_is_live_on_every_thread_at_once),
        HOUSE_TEST(what_runs_goes_on_with_the_set_that_it_began_with),
        HOUSE_TEST(the_same_set_again_changes_nothing),
        HOUSE_TEST(a_check_reports_and_changes_nothing),
        HOUSE_TEST(deploys_that_come_together_are_worked_in_turn),
        HOUSE_TEST(declarations_that_depend_on_chance_are_refused),
        HOUSE_TEST(a_hook_without_its_script_is_unavailable),
        HOUSE_TEST(closing_ends_what_would_run_for_ever),
        HOUSE_TEST(an_entity_takes_functions_of_the_script_while_it_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
