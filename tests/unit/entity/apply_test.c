#include "entity/entity.h"

#include <string.h>

#include "base/err.h"
#include "entity/read.h"
#include "support/entity_fixture.h"

static const char customer[] =
    "{\"name\":\"Customer\",\"fields\":{\"name\":{\"kind\":\"text\",\"required\":true},"
    "\"email\":{\"kind\":\"email\",\"unique\":true},\"age\":{\"kind\":\"int\"},"
    "\"credit\":{\"kind\":\"decimal\",\"index\":true},"
    "\"tier\":{\"kind\":\"choice\",\"choices\":[\"free\",\"pro\"],\"default\":\"free\"}},"
    "\"index\":[[\"tier\",\"-created_at\"],{\"fields\":[\"name\",\"credit\"],\"unique\":true}]}";

static int setup(void **state)
{
    return fixture_open(state, customer);
}

static void check_record(struct fixture *x, const char *id, const char *want)
{
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    if (entity_get(x->f->reader, x->d, x->f->tenant, id, &b, NULL, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(buf_str(&b), want);
    buf_fini(&b);
}

static void a_saved_record_reads_back_whole(void **state)
{
    struct fixture *x = *state;
    assert_int_equal(entity_db_save(x->f, x->d, "c\"1", ENTITY_CREATE, 0,
                                    "{\"age\":7,\"name\":\"Ana\",\"credit\":\"1.50\"}", NULL),
                     0);
    struct entity_result r = entity_db_result(x->f, 0);
    assert_int_equal(r.outcome, ENTITY_CREATED);
    assert_int_equal(r.version, 1);
    check_record(x, "c\"1",
                 "{\"id\":\"c\\\"1\",\"name\":\"Ana\",\"age\":7,\"credit\":\"1.5\","
                 "\"tier\":\"free\",\"version\":1,\"created_at\":\"2023-11-14T22:13:20.000Z\","
                 "\"updated_at\":\"2023-11-14T22:13:20.000Z\",\"created_by\":\"ana\","
                 "\"updated_by\":\"ana\"}");
}

static void modes_decide_over_what_is_there(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_REPLACE, 0, "{\"name\":\"1\"}", &e),
                     ERR_NOT_FOUND);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 0, "{\"name\":\"1\"}", &e), 0);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_CREATE, 0, "{\"name\":\"2\"}", &e),
                     ERR_CONFLICT);
    assert_string_equal(e.field, "id");
    x->f->at += 1000;
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_REPLACE, 0, "{\"name\":\"3\"}", &e), 0);
    struct entity_result r = entity_db_result(x->f, 0);
    assert_int_equal(r.outcome, ENTITY_UPDATED);
    assert_int_equal(r.version, 2);
    assert_int_equal(r.updated_at - r.created_at, 1000);
}

static void a_save_that_changes_nothing_writes_nothing(void **state)
{
    struct fixture *x = *state;
    entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 0, "{\"name\":\"1\",\"age\":5}", NULL);
    uint64_t hash = db_hash(x->f->writer);
    x->f->at += 1000;
    assert_int_equal(
        entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 0, "{\"age\":5,\"name\":\"1\"}", NULL), 0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_UNCHANGED);
    assert_int_equal(entity_db_result(x->f, 0).version, 1);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE, "{\"age\":5}", NULL), 0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_UNCHANGED);
    assert_true(db_hash(x->f->writer) == hash);
}

static void versions_are_conditions(void **state) /* E2 */
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 0, "{\"name\":\"1\"}", NULL);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 2, "{\"name\":\"2\"}", &e),
                     ERR_VERSION_MISMATCH);
    assert_non_null(strstr(e.text, "version 1"));
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 1, "{\"name\":\"2\"}", &e), 0);
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 1, "{\"name\":\"3\"}", &e),
                     ERR_VERSION_MISMATCH);
    assert_int_equal(entity_db_save(x->f, x->d, "b", ENTITY_UPSERT, 1, "{\"name\":\"3\"}", &e),
                     ERR_VERSION_MISMATCH);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 1, &e), ERR_VERSION_MISMATCH);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 2, &e), 0);
    assert_int_equal(entity_db_result(x->f, 0).outcome, ENTITY_REMOVED);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, &e), ERR_NOT_FOUND);
}

static void conditions_guard_a_unit(void **state)
{
    struct fixture *x = *state;
    static const struct {
        int kind; /* 0 version 1, 1 absent, 2 exists */
        const char *id;
        int code;
    } cases[] = {
        {0, "a", 0}, {0, "b", ERR_VERSION_MISMATCH}, {1, "a", ERR_VERSION_MISMATCH}, {1, "b", 0},
        {2, "a", 0}, {2, "b", ERR_VERSION_MISMATCH}};
    entity_db_save(x->f, x->d, "a", ENTITY_UPSERT, 0, "{\"name\":\"1\"}", NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct txn t;
        txn_init(&t);
        txn_envelope(&t, &(struct envelope){.tenant = "default"});
        if (cases[i].kind == 0)
            entity_txn_if_version(&t, x->d, cases[i].id, 1);
        else if (cases[i].kind == 1)
            entity_txn_if_absent(&t, x->d, cases[i].id);
        else
            entity_txn_if_exists(&t, x->d, cases[i].id);
        assert_int_equal(entity_db_apply(x->f, &t, NULL), cases[i].code);
    }
}

static void a_unique_value_has_one_owner(void **state) /* E2 */
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    const char *ana = "{\"name\":\"Ana\",\"email\":\"a@x.org\",\"credit\":\"1.0\"}";
    assert_int_equal(entity_db_save(x->f, x->d, "1", ENTITY_CREATE, 0, ana, NULL), 0);
    assert_int_equal(entity_db_save(x->f, x->d, "2", ENTITY_CREATE, 0,
                                    "{\"name\":\"Bo\",\"email\":\"a@x.org\"}", &e),
                     ERR_CONFLICT);
    assert_string_equal(e.field, "email");
    assert_non_null(strstr(e.text, "unique index"));
    assert_int_equal(entity_db_save(x->f, x->d, "2", ENTITY_CREATE, 0,
                                    "{\"name\":\"Ana\",\"credit\":\"1\"}", &e),
                     ERR_CONFLICT);
    assert_non_null(strstr(e.text, "name, credit"));
    assert_int_equal(entity_db_save(x->f, x->d, "2", ENTITY_CREATE, 0, "{\"name\":\"Ana\"}", NULL),
                     0);
    assert_int_equal(
        entity_db_patch(x->f, x->d, "2", ENTITY_PATCH_MERGE, "{\"email\":\"a@x.org\"}", &e),
        ERR_CONFLICT);
    assert_string_equal(e.field, "email");
    /* Another tenant has its own values; and a value is free once its owner is gone. */
    strcpy(x->f->tenant, "other");
    assert_int_equal(entity_db_save(x->f, x->d, "1", ENTITY_CREATE, 0, ana, NULL), 0);
    strcpy(x->f->tenant, "default");
    assert_int_equal(entity_db_remove(x->f, x->d, "1", 0, NULL), 0);
    assert_int_equal(
        entity_db_patch(x->f, x->d, "2", ENTITY_PATCH_MERGE, "{\"email\":\"a@x.org\"}", NULL), 0);
}

static void a_partition_is_another_set_of_records(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    assert_int_equal(entity_db_save(x->f, x->d, "a", ENTITY_CREATE, 0,
                                    "{\"name\":\"out\",\"email\":\"a@x.org\"}", &e),
                     0);
    assert_int_equal(entity_db_save(x->f, x->d, "p/a", ENTITY_CREATE, 0,
                                    "{\"name\":\"in\",\"email\":\"a@x.org\"}", &e),
                     0);
    assert_int_equal(entity_db_save(x->f, x->d, "p/b", ENTITY_CREATE, 0,
                                    "{\"name\":\"b\",\"email\":\"a@x.org\"}", &e),
                     ERR_CONFLICT);
    assert_int_equal(
        entity_db_patch(x->f, x->d, "p/a", ENTITY_PATCH_MERGE, "{\"name\":\"inside\"}", &e), 0);
    static const struct {
        const char *scope, *name;
    } cases[] = {{"default", "out"}, {"default/p", "inside"}, {"default/q", NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *r = NULL;
        int rc = entity_get_json(x->f->reader, x->d, cases[i].scope, "a", &r, NULL, &e);
        assert_int_equal(rc, cases[i].name != NULL ? 0 : ERR_NOT_FOUND);
        if (rc == 0)
            assert_string_equal(json_string_value(json_object_get(r, "name")), cases[i].name);
        json_decref(r);
    }
    assert_int_equal(entity_db_remove(x->f, x->d, "p/a", 2, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 1, &e), 0);
}

static void a_patch_applies_to_the_row_as_it_is(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    entity_db_save(x->f, x->d, "a", ENTITY_CREATE, 0, "{\"name\":\"n\",\"age\":5}", NULL);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE,
                                     "{\"age\":null,\"tier\":null,\"name\":\"m\"}", &e),
                     0);
    check_record(x, "a",
                 "{\"id\":\"a\",\"name\":\"m\",\"version\":2,\"created_at\":"
                 "\"2023-11-14T22:13:20.000Z\",\"updated_at\":\"2023-11-14T22:13:20.000Z\","
                 "\"created_by\":\"ana\",\"updated_by\":\"ana\"}");
    /* An absent field is there as null for the six operations. */
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_JSON,
                                     "[{\"op\":\"test\",\"path\":\"/age\",\"value\":null},"
                                     "{\"op\":\"replace\",\"path\":\"/age\",\"value\":9},"
                                     "{\"op\":\"remove\",\"path\":\"/email\"}]",
                                     &e),
                     0);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_JSON,
                                     "[{\"op\":\"test\",\"path\":\"/age\",\"value\":8}]", &e),
                     ERR_CONFLICT);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE, "{\"name\":null}", &e),
                     ERR_INVALID);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE, "{\"agee\":1}", &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "'age'"));
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_MERGE, "{\"version\":1}", &e),
                     ERR_INVALID);
    assert_int_equal(entity_db_patch(x->f, x->d, "a", ENTITY_PATCH_JSON,
                                     "[{\"op\":\"test\",\"path\":\"/id\",\"value\":\"a\"}]", &e),
                     ERR_INVALID);
    assert_int_equal(entity_db_patch(x->f, x->d, "b", ENTITY_PATCH_MERGE, "{\"age\":1}", &e),
                     ERR_NOT_FOUND);
}

static void a_unit_is_all_or_nothing_and_sees_itself(void **state)
{
    struct fixture *x = *state;
    struct entity_doc doc;
    struct txn t;
    struct err e = ERR_INIT;
    json_t *j = entity_db_json("{\"name\":\"n\"}"), *p = entity_db_json("{\"age\":1}");
    entity_doc_init(&doc);
    assert_int_equal(entity_doc_make(x->d, j, 0, &doc, NULL, NULL), 0);
    for (int fails = 0; fails < 2; fails++) {
        txn_init(&t);
        txn_envelope(&t, &(struct envelope){.tenant = "default"});
        entity_txn_save(&t, x->d, "u", ENTITY_CREATE, 0, &doc);
        assert_int_equal(entity_txn_patch(&t, x->d, "u", 1, ENTITY_PATCH_MERGE, p, &e), 0);
        if (fails == 0)
            entity_txn_remove(&t, x->d, "nobody", 0);
        int rc = entity_db_apply(x->f, &t, &e);
        assert_int_equal(rc, fails == 0 ? ERR_NOT_FOUND : 0);
        struct buf b = BUF_INIT(1 << 20);
        assert_int_equal(entity_get(x->f->reader, x->d, "default", "u", &b, NULL, NULL),
                         fails == 0 ? ERR_NOT_FOUND : 0);
        buf_fini(&b);
    }
    assert_int_equal(entity_db_result(x->f, 1).version, 2);
    entity_doc_fini(&doc);
    json_decref(j);
    json_decref(p);
}

static void require_version_makes_conditions_mandatory(void **state)
{
    struct fixture *x = *state;
    struct entity_def *d =
        entity_db_must_define(x->f, "{\"name\":\"Strict\",\"fields\":{\"a\":{\"kind\":\"int\"}},"
                                    "\"require_version\":true}");
    assert_int_equal(entity_db_save(x->f, d, "s", ENTITY_UPSERT, 0, "{\"a\":1}", NULL), 0);
    assert_int_equal(entity_db_save(x->f, d, "s", ENTITY_UPSERT, 0, "{\"a\":2}", NULL),
                     ERR_INVALID);
    assert_int_equal(entity_db_patch(x->f, d, "s", ENTITY_PATCH_MERGE, "{\"a\":2}", NULL),
                     ERR_INVALID);
    assert_int_equal(entity_db_remove(x->f, d, "s", 0, NULL), ERR_INVALID);
    assert_int_equal(entity_db_save(x->f, d, "s", ENTITY_UPSERT, 1, "{\"a\":2}", NULL), 0);
    entity_def_unref(d);
}

static void a_save_of_an_older_definition_is_checked_anew(void **state)
{
    struct fixture *x = *state;
    struct entity_def *old =
        entity_db_must_define(x->f, "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"}}}");
    struct entity_def *now = entity_db_must_define(
        x->f, "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\",\"max\":5},"
              "\"b\":{\"kind\":\"int\",\"default\":9}}}");
    assert_int_equal(now->version, 2);
    assert_int_equal(entity_db_save(x->f, old, "1", ENTITY_CREATE, 0, "{\"a\":6}", NULL),
                     ERR_INVALID);
    assert_int_equal(entity_db_save(x->f, old, "1", ENTITY_CREATE, 0, "{\"a\":5}", NULL), 0);
    struct buf b = BUF_INIT(1 << 20);
    entity_get(x->f->reader, now, "default", "1", &b, NULL, NULL);
    assert_non_null(strstr(buf_str(&b), "\"b\":9"));
    buf_fini(&b);
    entity_def_unref(old);
    entity_def_unref(now);
}

static void payloads_keep_their_bytes(void **state)
{
    struct fixture *x = *state;
    struct entity_doc doc;
    struct txn t;
    json_t *j = entity_db_json("{\"name\":\"n\",\"credit\":\"2\"}");
    entity_doc_init(&doc);
    assert_int_equal(entity_doc_make(x->d, j, 0, &doc, NULL, NULL), 0);
    txn_init(&t);
    entity_txn_save(&t, x->d, "i", ENTITY_REPLACE, 3, &doc);
    static const char want[] = "\x08\0\0\0Customer"
                               "\x01\0\0\0i"
                               "\x02"
                               "\x03\0\0\0\0\0\0\0"
                               "\x01\0\0\0"
                               "\x27\0\0\0{\"name\":\"n\",\"credit\":\"2\",\"tier\":\"free\"}"
                               "\x11\0\0\0{\"credit\":\"2512\"}";
    assert_true(t.body.len > sizeof(want) - 1);
    assert_memory_equal(t.body.data + t.body.len - (sizeof(want) - 1), want, sizeof(want) - 1);
    txn_fini(&t);
    entity_doc_fini(&doc);
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_saved_record_reads_back_whole, setup, fixture_close),
        cmocka_unit_test_setup_teardown(modes_decide_over_what_is_there, setup, fixture_close),
        cmocka_unit_test_setup_teardown(a_save_that_changes_nothing_writes_nothing, setup,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(versions_are_conditions, setup, fixture_close),
        cmocka_unit_test_setup_teardown(conditions_guard_a_unit, setup, fixture_close),
        cmocka_unit_test_setup_teardown(a_unique_value_has_one_owner, setup, fixture_close),
        cmocka_unit_test_setup_teardown(a_partition_is_another_set_of_records, setup,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_patch_applies_to_the_row_as_it_is, setup, fixture_close),
        cmocka_unit_test_setup_teardown(a_unit_is_all_or_nothing_and_sees_itself, setup,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(require_version_makes_conditions_mandatory, setup,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(a_save_of_an_older_definition_is_checked_anew, setup,
                                        fixture_close),
        cmocka_unit_test_setup_teardown(payloads_keep_their_bytes, setup, fixture_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
