#include "entity/entity.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/build.h"
#include "entity/read.h"
#include "support/entity_db.h"

static struct entity_db *f;

static int setup(void **state)
{
    (void)state;
    f = entity_db_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    entity_db_close(f);
    return 0;
}

/* Defines T with these fields. */
static int define(const char *fields, const char *rest, struct err *e)
{
    char json[2000];
    snprintf(json, sizeof(json), "{\"name\":\"T\",\"fields\":%s%s}", fields, rest);
    return entity_db_define(f, json, e);
}

static void save(const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    struct entity_def *d = entities_find(f->entities, "T");
    if (entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, &e) != 0)
        fail_msg("%s", e.text);
    entity_def_unref(d);
}

static uint32_t version(void)
{
    struct entity_def *d = entities_find(f->entities, "T");
    uint32_t v = d->version;
    entity_def_unref(d);
    return v;
}

static void a_definition_is_found_by_name_and_path_and_after_a_restart(void **state)
{
    (void)state;
    assert_int_equal(entity_db_define(f,
                                      "{\"name\":\"OrderLine\",\"fields\":{\"a\":{\"kind\":"
                                      "\"int\"}}}",
                                      NULL),
                     0);
    struct entity_def *a = entities_find(f->entities, "OrderLine");
    struct entity_def *b = entities_find_path(f->entities, "order-line");
    assert_non_null(a);
    assert_ptr_equal(a, b);
    assert_null(entities_find(f->entities, "orderline"));
    struct err e = ERR_INIT;
    assert_int_equal(entities_unknown(f->entities, "OrderLin", &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "'OrderLine'"));
    struct entities *again = entities_new();
    const struct domain *d = entities_domain(again);
    assert_int_equal(d->opened(d->self, f->writer, NULL), 0);
    struct entity_def *c = entities_find(again, "OrderLine");
    assert_string_equal(c->json, a->json);
    size_t n;
    struct entity_def **list = entities_list(again, &n);
    assert_int_equal(n, 1);
    entity_def_unref(list[0]);
    mem_free(list);
    entity_def_unref(a);
    entity_def_unref(b);
    entity_def_unref(c);
    entities_free(again);
}

static void the_same_definition_again_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(define("{\"a\":{\"kind\":\"int\"}}", "", NULL), 0);
    uint64_t hash = db_hash(f->writer);
    assert_int_equal(define("{\"a\":{\"kind\":\"int\"}}", ",\"index\":[]", NULL), 0);
    assert_int_equal(version(), 1);
    assert_true(db_hash(f->writer) == hash);
}

static void two_entities_cannot_share_a_table_or_a_path(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(define("{\"a\":{\"kind\":\"int\"}}", "", NULL), 0);
    assert_int_equal(
        entity_db_define(f, "{\"name\":\"t\",\"path\":\"x\",\"fields\":{\"a\":{\"kind\":\"int\"}}}",
                         &e),
        ERR_CONFLICT);
    assert_non_null(strstr(e.text, "case"));
    assert_int_equal(
        entity_db_define(f, "{\"name\":\"U\",\"path\":\"t\",\"fields\":{\"a\":{\"kind\":\"int\"}}}",
                         &e),
        ERR_CONFLICT);
    assert_non_null(strstr(e.text, "/api/t"));
    assert_null(entities_find(f->entities, "U"));
}

static void additions_take_effect_at_once(void **state)
{
    (void)state;
    static const char *const steps[] = {
        "{\"a\":{\"kind\":\"int\",\"max\":9}}",
        "{\"a\":{\"kind\":\"int\",\"max\":99},\"b\":{\"kind\":\"text\"}}",
        "{\"b\":{\"kind\":\"text\"},\"a\":{\"kind\":\"number\"},"
        "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\"]},"
        "\"r\":{\"kind\":\"int\",\"required\":true,\"default\":5}}",
        "{\"b\":{\"kind\":\"json\"},\"a\":{\"kind\":\"number\"},\"c\":{\"kind\":\"choice\","
        "\"choices\":[\"x\",\"y\"]},\"r\":{\"kind\":\"int\"}}",
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct err e = ERR_INIT;
        if (define(steps[i], "", &e) != 0)
            fail_msg("step %zu: %s", i, e.text);
        assert_int_equal(version(), i + 1);
        if (i == 0)
            save("1", "{\"a\":7}");
    }
    /* The order of fields changed, the record did not. */
    struct entity_def *d = entities_find(f->entities, "T");
    assert_int_equal(entity_db_save(f, d, "2", ENTITY_UPSERT, 0, "{\"b\":\"q\",\"a\":1}", NULL), 0);
    entity_def_unref(d);
    assert_int_equal(define("{\"a\":{\"kind\":\"number\"},\"b\":{\"kind\":\"json\"},"
                            "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]},"
                            "\"r\":{\"kind\":\"int\"}}",
                            "", NULL),
                     0);
    save("2", "{\"b\":\"q\",\"a\":1}");
    assert_int_equal(entity_db_result(f, 0).outcome, ENTITY_UNCHANGED);
}

static void a_narrowing_is_refused_when_a_record_does_not_fit(void **state)
{
    (void)state;
    static const char base[] = "{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\"},"
                               "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}";
    static const struct {
        const char *fields, *words;
    } cases[] = {
        {"{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\"}}", "'c' is gone"},
        {"{\"a\":{\"kind\":\"int\",\"max\":5},\"s\":{\"kind\":\"text\"},"
         "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}",
         "lower max"},
        {"{\"a\":{\"kind\":\"text\"},\"s\":{\"kind\":\"text\"},"
         "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}",
         "changes its kind"},
        {"{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\",\"pattern\":\"[a-z]+\"},"
         "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}",
         "pattern"},
        {"{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\"},"
         "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\"]}}",
         "loses a choice"},
        {"{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\"},\"z\":{\"kind\":\"int\","
         "\"required\":true},\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}",
         "new and required"},
        {"{\"a\":{\"kind\":\"decimal\"},\"s\":{\"kind\":\"text\"},"
         "\"c\":{\"kind\":\"choice\",\"choices\":[\"x\",\"y\"]}}",
         "rewritten"},
    };
    assert_int_equal(define(base, "", NULL), 0);
    save("r1", "{\"a\":6,\"s\":\"A1\",\"c\":\"y\"}");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = ERR_INIT;
        if (define(cases[i].fields, "", &e) != ERR_CONFLICT ||
            strstr(e.text, cases[i].words) == NULL || strstr(e.text, "r1") == NULL)
            fail_msg("%s: '%s'", cases[i].fields, e.text);
        assert_int_equal(version(), 1);
    }
    /* The same is taken once no record stands against it. */
    struct entity_def *d = entities_find(f->entities, "T");
    assert_int_equal(entity_db_save(f, d, "r1", ENTITY_UPSERT, 0, "{\"s\":\"ab\"}", NULL), 0);
    entity_def_unref(d);
    for (size_t i = 0; i < 5; i++) {
        struct err e = ERR_INIT;
        if (define(cases[i].fields, "", &e) != 0)
            fail_msg("%s: '%s'", cases[i].fields, e.text);
        assert_int_equal(define(base, "", &e), 0);
    }
}

static void a_unique_index_over_duplicates_stays_off_until_they_are_gone(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const char fields[] = "{\"a\":{\"kind\":\"int\"},\"b\":{\"kind\":\"text\"}}";
    assert_int_equal(define(fields, "", NULL), 0);
    save("r1", "{\"a\":1}");
    save("r2", "{\"a\":1}");
    save("r3", "{\"a\":2}");
    save("r4", "{}");
    save("r5", "{}");
    assert_int_equal(define(fields, ",\"index\":[{\"fields\":[\"a\"],\"unique\":true}]", &e), 0);
    assert_int_equal(version(), 2);
    while (entity_db_build(f, 100))
        ;
    struct entity_def *d = entities_find(f->entities, "T");
    json_t *told = entity_build_json(f->reader, d, &e);
    json_t *build = json_object_get(told, "build");
    assert_int_equal(json_integer_value(json_object_get(build, "violations")), 1);
    json_decref(told);
    assert_int_equal(entity_db_remove(f, d, "r2", 0, NULL), 0);
    entity_db_build(f, 100);
    entity_def_unref(d);
    d = entities_find(f->entities, "T");
    assert_null(d->copy);
    assert_int_equal(entity_db_save(f, d, "r6", ENTITY_UPSERT, 0, "{\"a\":2}", &e), ERR_CONFLICT);
    entity_def_unref(d);
    assert_int_equal(define(fields, ",\"index\":[[\"a\"]]", &e), 0);
    save("r6", "{\"a\":2}");
}

static void a_refused_definition_leaves_no_trace(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct txn t;
    struct entity_def *d;
    static const char json[] = "{\"name\":\"V\",\"fields\":{\"a\":{\"kind\":\"int\"}}}";
    assert_int_equal(entity_def_parse_text(json, strlen(json), &d, &e), 0);
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_define(&t, d);
    entity_txn_remove(&t, d, "nobody", 0); /* sees the new entity, and fails */
    assert_int_equal(entity_db_apply(f, &t, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "no V"));
    assert_null(entities_find(f->entities, "V"));
    assert_int_equal(entity_db_define(f, json, &e), 0);
    entity_def_unref(d);
}

/* ---- other threads look while the ledger's thread defines ---- */

static void *look(void *arg)
{
    atomic_bool *stop = arg;
    uint32_t last = 0;
    while (!atomic_load(stop)) {
        struct entity_def *d = entities_find(f->entities, "T");
        if (d == NULL)
            continue;
        /* Whole, and never older than what was seen before. */
        if (d->version < last || d->fields_count < d->version)
            return "a definition went back, or is in pieces";
        last = d->version;
        struct entity_def *same = entities_find_path(f->entities, "t");
        if (same == NULL || same->version < last)
            return "the path leads elsewhere";
        entity_def_unref(same);
        entity_def_unref(d);
    }
    return NULL;
}

static void definitions_change_under_the_eyes_of_other_threads(void **state)
{
    (void)state;
    enum { THREADS = 3, STEPS = 40 };
    atomic_bool stop = false;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, &stop), 0);
    struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < STEPS; i++) {
        buf_addf(&b, "%s\"f%d\":{\"kind\":\"int\"}", i == 0 ? "{" : ",", i);
        struct buf fields = BUF_INIT(1 << 20);
        buf_addf(&fields, "{\"name\":\"T\",\"fields\":%s}}", buf_str(&b));
        assert_int_equal(entity_db_define(f, buf_str(&fields), NULL), 0);
        buf_fini(&fields);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        void *complaint;
        assert_int_equal(pthread_join(threads[i], &complaint), 0);
        assert_null(complaint);
    }
    assert_int_equal(version(), STEPS);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_definition_is_found_by_name_and_path_and_after_a_restart,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_definition_again_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(two_entities_cannot_share_a_table_or_a_path, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(additions_take_effect_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_narrowing_is_refused_when_a_record_does_not_fit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_unique_index_over_duplicates_stays_off_until_they_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_definition_leaves_no_trace, setup, teardown),
        cmocka_unit_test_setup_teardown(definitions_change_under_the_eyes_of_other_threads, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
