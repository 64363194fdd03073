#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "support/entity_fixture.h"

static const char note[] =
    "{\"name\":\"Note\",\"soft_remove\":true,\"fields\":{\"text\":{\"kind\":\"text\"},"
    "\"code\":{\"kind\":\"text\",\"unique\":true},"
    "\"on\":{\"kind\":\"ref\",\"to\":\"Note\",\"on_remove\":\"cascade\"}}}";

static int setup(void **state)
{
    return fixture_open(state, note);
}

static const int64_t day = 86400LL * 1000;

static void a_removed_record_comes_back_one_version_on(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{\"text\":\"1\",\"code\":\"k\"}");
    save(x, "a", "{\"text\":\"2\",\"code\":\"k\"}");
    x->f->at += 5000;
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_REMOVED);
    assert_false(is_there(x, "a"));
    x->f->at += 5000;
    assert_int_equal(entity_db_restore(x->f, x->d, "a", NULL), 0);
    struct entity_result r = entity_db_result(x->f, 0);
    assert_int_equal(r.outcome, ENTITY_RESTORED);
    assert_int_equal(r.version, 3);
    assert_int_equal(r.updated_at - r.created_at, 10000);
    json_t *back = entity_db_get(x->f, x->d, "a");
    assert_int_equal(json_integer_value(json_object_get(back, "version")), 3);
    assert_string_equal(json_string_value(json_object_get(back, "text")), "2");
    assert_string_equal(json_string_value(json_object_get(back, "created_at")),
                        "2023-11-14T22:13:20.000Z");
    json_decref(back);
    assert_int_equal(entity_db_restore(x->f, x->d, "a", NULL), ERR_NOT_FOUND);
}

static int purge(struct fixture *x, const char *id)
{
    struct txn t;
    txn_init(&t);
    entity_txn_purge(&t, x->d, id);
    return entity_db_apply(x->f, &t, NULL);
}

static void a_purge_takes_all_that_is_kept_under_an_id(void **state)
{
    struct fixture *x = *state;
    for (int i = 0; i < 2; i++) {
        save(x, "a", "{\"text\":\"1\"}");
        save(x, "b", "{\"text\":\"2\"}");
        assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
        assert_int_equal(entity_db_remove(x->f, x->d, "b", 0, NULL), 0);
    }
    save(x, "a", "{\"text\":\"3\"}");
    assert_int_equal(purge(x, "archive/a"), ERR_NOT_FOUND);
    assert_int_equal(purge(x, "a"), 0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_PURGED);
    assert_true(is_there(x, "a"));
    assert_int_equal(purge(x, "a"), ERR_NOT_FOUND);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    assert_int_equal(entity_db_restore(x->f, x->d, "a", NULL), 0);
    assert_int_equal(entity_db_restore(x->f, x->d, "b", NULL), 0);
}

static void its_id_and_unique_values_are_free_meanwhile(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, "a", "{\"code\":\"k\"}");
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    save(x, "b", "{\"code\":\"k\"}");
    assert_int_equal(entity_db_restore(x->f, x->d, "a", &e), ERR_CONFLICT);
    assert_string_equal(e.field, "code");
    assert_int_equal(entity_db_remove(x->f, x->d, "b", 0, NULL), 0);
    save(x, "a", "{\"text\":\"new\"}");
    assert_int_equal(entity_db_restore(x->f, x->d, "a", &e), ERR_CONFLICT);
    assert_string_equal(e.field, "id");
    /* Both lie there: the last one removed comes first. */
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    assert_int_equal(entity_db_restore(x->f, x->d, "a", &e), 0);
    json_t *back = entity_db_get(x->f, x->d, "a");
    assert_string_equal(json_string_value(json_object_get(back, "text")), "new");
    json_decref(back);
}

static void what_a_cascade_took_comes_back_one_by_one(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, "a", "{}");
    save(x, "b", "{\"on\":\"a\"}");
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    assert_false(is_there(x, "b"));
    assert_int_equal(entity_db_restore(x->f, x->d, "b", &e), ERR_CONFLICT); /* its target is not */
    assert_string_equal(e.field, "on");
    assert_int_equal(entity_db_restore(x->f, x->d, "a", &e), 0);
    assert_int_equal(entity_db_restore(x->f, x->d, "b", &e), 0);
}

static void after_thirty_days_it_is_purged(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{}");
    save(x, "b", "{}");
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    x->f->at += day;
    assert_int_equal(entity_db_remove(x->f, x->d, "b", 0, NULL), 0);
    x->f->at += 29 * day - 1;
    assert_int_equal(entity_db_sweep(x->f, 100), 0);
    x->f->at += 1;
    assert_int_equal(entity_db_restore(x->f, x->d, "a", NULL), ERR_NOT_FOUND); /* swept or not */
    assert_int_equal(entity_db_sweep(x->f, 100), 1);
    assert_int_equal(entity_db_sweep(x->f, 100), 0);
    assert_int_equal(entity_db_restore(x->f, x->d, "b", NULL), 0);
}

static void a_changed_definition_checks_what_comes_back(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, "a", "{\"text\":\"long enough\"}");
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    struct entity_def *narrow = entity_db_must_define(
        x->f, "{\"name\":\"Note\",\"soft_remove\":\"2d\",\"fields\":{\"text\":{\"kind\":\"text\","
              "\"max\":3}}}");
    assert_int_equal(entity_db_restore(x->f, narrow, "a", &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "has changed since"));
    entity_def_unref(narrow);
}

static void without_the_option_there_is_nothing_to_restore(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    struct entity_def *d =
        entity_db_must_define(x->f, "{\"name\":\"Plain\",\"fields\":{\"n\":{\"kind\":\"int\"}}}");
    assert_int_equal(entity_db_save(x->f, d, "a", ENTITY_UPSERT, 0, "{}", NULL), 0);
    assert_int_equal(entity_db_remove(x->f, d, "a", 0, NULL), 0);
    assert_int_equal(entity_db_restore(x->f, d, "a", &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "soft_remove"));
    entity_def_unref(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_removed_record_comes_back_one_version_on),
        TEST(a_purge_takes_all_that_is_kept_under_an_id),
        TEST(its_id_and_unique_values_are_free_meanwhile),
        TEST(what_a_cascade_took_comes_back_one_by_one),
        TEST(after_thirty_days_it_is_purged),
        TEST(a_changed_definition_checks_what_comes_back),
        TEST(without_the_option_there_is_nothing_to_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
