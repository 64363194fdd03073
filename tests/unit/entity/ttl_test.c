#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "support/entity_fixture.h"

static const char note[] =
    "{\"name\":\"Note\",\"ttl\":\"1h\",\"soft_remove\":true,\"fields\":{\"text\":{\"kind\":"
    "\"text\"},"
    "\"code\":{\"kind\":\"text\",\"unique\":true},\"extra\":{\"kind\":\"json\"}}}";

static int setup(void **state)
{
    return fixture_open(state, note);
}

static const int64_t hour = 3600LL * 1000;

static void tick(struct fixture *x)
{
    /* An entry with nothing in it for entities: ledger time moves. */
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    assert_int_equal(entity_db_apply(x->f, &t, NULL), 0);
}

static void check_expires(struct fixture *x, const char *id, const char *want)
{
    json_t *r = entity_db_get(x->f, x->d, id);
    assert_non_null(r);
    assert_string_equal(json_string_value(json_object_get(r, "expires_at")), want);
    json_decref(r);
}

static void a_record_that_does_not_say_gets_the_time_of_its_definition(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{\"text\":\"1\"}");
    check_expires(x, "a", "2023-11-14T23:13:20.000Z");
    save(x, "e", "{}");
    check_expires(x, "e", "2023-11-14T23:13:20.000Z");
    save(x, "b", "{\"expires_at\":\"2024-01-01T00:00:00Z\"}");
    check_expires(x, "b", "2024-01-01T00:00:00.000Z");
    /* What only looks like it. */
    save(x, "c", "{\"extra\":{\"expires_at\":\"2024-01-01T00:00:00.000Z\"}}");
    check_expires(x, "c", "2023-11-14T23:13:20.000Z");
    /* The same again changes nothing: it counts from the creation. */
    x->f->at += 1000;
    save(x, "a", "{\"text\":\"1\"}");
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_UNCHANGED);
    assert_int_equal(
        entity_db_patch(x->f, x->d, "b", ENTITY_PATCH_MERGE, "{\"expires_at\":null}", NULL), 0);
    check_expires(x, "b", "2023-11-14T23:13:20.000Z");
}

static void it_is_hidden_at_its_ledger_time_and_swept_after(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{}");
    x->f->at += hour - 1;
    tick(x);
    assert_true(is_there(x, "a"));
    x->f->at += 1;
    tick(x);
    assert_false(is_there(x, "a"));
    struct buf ids = BUF_INIT(4096);
    const char *const wanted[] = {"a"};
    assert_int_equal(entity_get_many(x->f->reader, x->d, "default", wanted, 1, &ids, NULL), 0);
    assert_string_equal(buf_str(&ids), "[null]");
    buf_fini(&ids);
    int64_t count = -1;
    assert_int_equal(entity_count(x->f->reader, x->d, "default", &(struct entity_query){.page = 0},
                                  &count, NULL),
                     0);
    assert_int_equal(count, 0);
    assert_int_equal(entity_db_sweep(x->f, 10), 1);
    assert_int_equal(entity_db_sweep(x->f, 10), 0);
    /* Time took it: nothing to restore. */
    assert_int_equal(entity_db_restore(x->f, x->d, "a", NULL), ERR_NOT_FOUND);
}

static void to_a_change_an_expired_record_is_not_there(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, "a", "{\"code\":\"k\"}");
    save(x, "b", "{}");
    x->f->at += hour;
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE, "{\"text\":\"x\"}", &e),
                     ERR_NOT_FOUND);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, &e), ERR_NOT_FOUND);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_REPLACE, 0, "{}", &e), ERR_NOT_FOUND);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 1, "{}", &e),
                     ERR_VERSION_MISMATCH);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_CREATE, 0, "{\"text\":\"new\"}", &e),
                     0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_CREATED);
    assert_int_equal(entity_db_result(x->f, 0).version, 1);
    check_expires(x, "a", "2023-11-15T00:13:20.000Z");
    assert_int_equal(entity_db_sweep(x->f, 10), 1); /* b */
    assert_true(is_there(x, "a"));
}

static void a_sweep_is_bounded(void **state)
{
    struct fixture *x = *state;
    static const char *const ids[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        save(x, ids[i], "{}");
        x->f->at++;
    }
    x->f->at += hour;
    assert_int_equal(entity_db_sweep(x->f, 3), 3);
    assert_int_equal(entity_db_sweep(x->f, 3), 2);
}

static void every_tenant_is_swept(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{}");
    strcpy(x->f->tenant, "other");
    save(x, "a", "{}");
    strcpy(x->f->tenant, "default");
    x->f->at += hour;
    assert_int_equal(entity_db_sweep(x->f, 10), 2);
}

static void an_expiring_record_takes_along_and_nulls_but_never_asks(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    assert_int_equal(
        entity_db_define(
            x->f, "{\"name\":\"R\",\"fields\":{\"n\":{\"kind\":\"ref\",\"to\":\"Note\"}}}", &e),
        ERR_CONFLICT);
    assert_non_null(strstr(e.text, "expire"));
    struct entity_def *r = entity_db_must_define(
        x->f, "{\"name\":\"R\",\"fields\":{\"n\":{\"kind\":\"ref\",\"to\":\"Note\",\"on_remove\":"
              "\"null\"},"
              "\"c\":{\"kind\":\"ref\",\"to\":\"Note\",\"on_remove\":\"cascade\"}}}");
    save(x, "a", "{}");
    entity_db_save(x->f, r, "n", ENTITY_UPSERT, 0, "{\"n\":\"a\"}", NULL);
    entity_db_save(x->f, r, "c", ENTITY_UPSERT, 0, "{\"c\":\"a\"}", NULL);
    x->f->at += hour;
    assert_int_equal(entity_db_sweep(x->f, 10), 1);
    json_t *n = entity_db_get(x->f, r, "n"), *c = entity_db_get(x->f, r, "c");
    assert_null(json_object_get(n, "n"));
    assert_null(c);
    json_decref(n);
    entity_def_unref(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_record_that_does_not_say_gets_the_time_of_its_definition),
        TEST(it_is_hidden_at_its_ledger_time_and_swept_after),
        TEST(to_a_change_an_expired_record_is_not_there),
        TEST(a_sweep_is_bounded),
        TEST(every_tenant_is_swept),
        TEST(an_expiring_record_takes_along_and_nulls_but_never_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
