#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "support/entity_db.h"

static const char customer[] =
    "{\"name\":\"Customer\",\"fields\":{\"name\":{\"kind\":\"text\"},"
    "\"boss\":{\"kind\":\"ref\",\"to\":\"Customer\",\"on_remove\":\"null\"}}}";
static const char order[] =
    "{\"name\":\"Order\",\"fields\":{\"customer\":{\"kind\":\"ref\",\"to\":\"Customer\"},"
    "\"payer\":{\"kind\":\"ref\",\"to\":\"Customer\",\"on_remove\":\"none\",\"check\":false},"
    "\"first\":{\"kind\":\"ref\",\"to\":\"Customer\",\"on_remove\":\"null\"},"
    "\"second\":{\"kind\":\"ref\",\"to\":\"Customer\",\"on_remove\":\"null\"}}}";
static const char line[] =
    "{\"name\":\"Line\",\"fields\":{\"order\":{\"kind\":\"ref\",\"to\":\"Order\",\"required\":true,"
    "\"on_remove\":\"cascade\"},\"beside\":{\"kind\":\"ref\",\"to\":\"Line\"}}}";

struct fixture {
    struct entity_db *f;
    struct entity_def *customer, *order, *line;
};

static int setup(void **state)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.line = entity_db_must_define(x.f, line); /* before what it refers to */
    x.customer = entity_db_must_define(x.f, customer);
    x.order = entity_db_must_define(x.f, order);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    entity_def_unref(x->customer);
    entity_def_unref(x->order);
    entity_def_unref(x->line);
    entity_db_close(x->f);
    return 0;
}

static void save(struct fixture *x, const struct entity_def *d, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    if (entity_db_save(x->f, d, id, ENTITY_UPSERT, 0, doc, &e) != 0)
        fail_msg("%s: %s", id, e.text);
}

static uint64_t version(struct fixture *x, const struct entity_def *d, const char *id,
                        json_t **record)
{
    uint64_t v = 0;
    json_t *j = NULL;
    int rc = entity_get_json(x->f->reader, d, x->f->tenant, id, &j, &v, NULL);
    if (record != NULL)
        *record = json_incref(j);
    json_decref(j);
    return rc == 0 ? v : 0;
}

static void the_target_must_exist_at_commit(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    assert_int_equal(
        entity_db_save(x->f, x->order, "o", ENTITY_CREATE, 0, "{\"customer\":\"c\"}", &e),
        ERR_CONFLICT);
    assert_string_equal(e.field, "customer");
    assert_non_null(strstr(e.text, "'c'"));
    save(x, x->customer, "c", "{}");
    save(x, x->order, "o", "{\"customer\":\"c\"}");
    assert_int_equal(
        entity_db_patch(x->f, x->order, "o", ENTITY_PATCH_MERGE, "{\"customer\":\"d\"}", &e),
        ERR_CONFLICT);
    assert_int_equal(version(x, x->order, "o", NULL), 1);
    /* Another tenant's record is no target. */
    strcpy(x->f->tenant, "other");
    assert_int_equal(
        entity_db_save(x->f, x->order, "o", ENTITY_CREATE, 0, "{\"customer\":\"c\"}", &e),
        ERR_CONFLICT);
}

static void an_unchecked_target_may_be_missing(void **state)
{
    save(*state, ((struct fixture *)*state)->order, "o", "{\"payer\":\"nobody\"}");
}

static void a_record_may_refer_to_itself(void **state)
{
    struct fixture *x = *state;
    save(x, x->customer, "c", "{\"boss\":\"c\"}");
    assert_int_equal(entity_db_remove(x->f, x->customer, "c", 0, NULL), 0);
    assert_int_equal(version(x, x->customer, "c", NULL), 0);
}

static void a_missing_entity_is_named(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    struct entity_def *d = entity_db_must_define(
        x->f, "{\"name\":\"A\",\"fields\":{\"b\":{\"kind\":\"ref\",\"to\":\"Missing\"}}}");
    assert_int_equal(entity_db_save(x->f, d, "a", ENTITY_CREATE, 0, "{\"b\":\"1\"}", &e),
                     ERR_CONFLICT);
    assert_non_null(strstr(e.text, "nor such an entity"));
    entity_def_unref(d);
}

static void restrict_refuses_and_changes_nothing(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, x->customer, "c", "{}");
    save(x, x->order, "o", "{\"customer\":\"c\"}");
    save(x, x->order, "p", "{\"first\":\"c\"}");
    uint64_t hash = db_hash(x->f->writer);
    assert_int_equal(entity_db_remove(x->f, x->customer, "c", 0, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "Order 'o'"));
    assert_string_equal(e.field, "customer");
    assert_true(db_hash(x->f->writer) == hash);
}

static void null_takes_the_references_out_in_one_version(void **state)
{
    struct fixture *x = *state;
    json_t *o;
    save(x, x->customer, "c", "{}");
    save(x, x->order, "o", "{\"first\":\"c\",\"second\":\"c\",\"payer\":\"c\"}");
    assert_int_equal(entity_db_remove(x->f, x->customer, "c", 0, NULL), 0);
    assert_int_equal(version(x, x->order, "o", &o), 2);
    assert_null(json_object_get(o, "first"));
    assert_null(json_object_get(o, "second"));
    assert_string_equal(json_string_value(json_object_get(o, "payer")), "c"); /* none */
    json_decref(o);
}

static void cascade_takes_whole_trees_along(void **state)
{
    struct fixture *x = *state;
    save(x, x->order, "o", "{}");
    save(x, x->order, "p", "{}");
    save(x, x->line, "1", "{\"order\":\"o\"}");
    save(x, x->line, "2", "{\"order\":\"o\",\"beside\":\"1\"}"); /* restrict, but goes too */
    save(x, x->line, "3", "{\"order\":\"p\"}");
    assert_int_equal(entity_db_remove(x->f, x->order, "o", 0, NULL), 0);
    assert_int_equal(version(x, x->line, "1", NULL), 0);
    assert_int_equal(version(x, x->line, "2", NULL), 0);
    assert_int_equal(version(x, x->line, "3", NULL), 1);
}

static void restrict_from_outside_stops_a_cascade(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, x->order, "o", "{}");
    save(x, x->order, "p", "{}");
    save(x, x->line, "1", "{\"order\":\"o\"}");
    save(x, x->line, "2", "{\"order\":\"p\",\"beside\":\"1\"}");
    assert_int_equal(entity_db_remove(x->f, x->order, "o", 0, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "Line '1'"));
    assert_int_equal(version(x, x->line, "1", NULL), 1);
}

static void over_the_bound_a_removal_is_refused(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    char sql[400];
    save(x, x->order, "o", "{}");
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= %d)"
             " INSERT INTO entity_Line (tenant, part, id, version, created_at, updated_at,"
             " created_by, updated_by, body) SELECT 'default', '', 'l' || i, 1, 1, 1, '', '',"
             " '{\"order\":\"o\"}' FROM n",
             ENTITY_REMOVE_MAX);
    assert_int_equal(db_exec(x->f->writer, sql, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->order, "o", 0, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.text, "Line"));
    assert_int_equal(entity_db_remove(x->f, x->line, "l1", 0, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->order, "o", 0, &e), 0);
    assert_int_equal(version(x, x->line, "l2", NULL), 0);
}

static void text_becomes_a_reference_only_where_the_targets_are(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    const char *after =
        "{\"name\":\"T\",\"fields\":{\"c\":{\"kind\":\"ref\",\"to\":\"Customer\"}}}";
    struct entity_def *d =
        entity_db_must_define(x->f, "{\"name\":\"T\",\"fields\":{\"c\":{\"kind\":\"text\"}}}");
    save(x, d, "t", "{\"c\":\"c\"}");
    assert_int_equal(entity_db_define(x->f, after, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "not there"));
    save(x, x->customer, "c", "{}");
    assert_int_equal(entity_db_define(x->f, after, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->customer, "c", 0, &e), ERR_CONFLICT);
    entity_def_unref(d);
}

static void what_a_reference_wants_is_said(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"kind\":\"ref\"}", "'to'"},
        {"{\"kind\":\"ref\",\"to\":\"a b\"}", "to"},
        {"{\"kind\":\"ref\",\"to\":\"A\",\"on_remove\":\"delete\"}", "restrict, null"},
        {"{\"kind\":\"ref\",\"to\":\"A\",\"check\":1}", "true or false"},
        {"{\"kind\":\"ref\",\"to\":\"A\",\"required\":true,\"on_remove\":\"null\"}", "required"},
        {"{\"kind\":\"text\",\"to\":\"A\"}", "does not fit"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[200];
        struct entity_def *d;
        struct err e = ERR_INIT;
        snprintf(text, sizeof text, "{\"name\":\"A\",\"fields\":{\"r\":%s}}", cases[i][0]);
        assert_int_equal(entity_def_parse_text(text, strlen(text), &d, &e), ERR_INVALID);
        if (strstr(e.text, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], e.text);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_target_must_exist_at_commit),
        TEST(an_unchecked_target_may_be_missing),
        TEST(a_record_may_refer_to_itself),
        TEST(a_missing_entity_is_named),
        TEST(restrict_refuses_and_changes_nothing),
        TEST(null_takes_the_references_out_in_one_version),
        TEST(cascade_takes_whole_trees_along),
        TEST(restrict_from_outside_stops_a_cascade),
        TEST(over_the_bound_a_removal_is_refused),
        TEST(text_becomes_a_reference_only_where_the_targets_are),
        cmocka_unit_test(what_a_reference_wants_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
