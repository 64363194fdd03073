/* What definitions take away, comes back, and goes. */
#include "entity/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "entity/build.h"
#include "entity/filter.h"
#include "entity/migrate.h"
#include "entity/read.h"
#include "support/entity_db.h"

enum { KEEP_MS = 60000 };

static struct entity_db *f;

static const char whole[] = "{\"name\":\"T\",\"history\":true,\"soft_remove\":true,\"fields\":{"
                            "\"a\":{\"kind\":\"int\"},\"b\":{\"kind\":\"text\",\"unique\":true},"
                            "\"d\":{\"kind\":\"decimal\"}}}";
static const char less[] = "{\"name\":\"T\",\"history\":true,\"soft_remove\":true,\"fields\":{"
                           "\"a\":{\"kind\":\"int\"}}}";
static const char links[] = "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"},"
                            "\"us\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"U\","
                            "\"on_remove\":\"null\"}}}}";
static const char no_links[] = "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"}}}";

static int setup(void **state)
{
    (void)state;
    f = entity_db_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    uint64_t scan;
    assert_int_equal(db_hash_scan(f->writer, &scan, NULL), 0);
    assert_true(db_hash(f->writer) == scan);
    entity_db_close(f);
    return 0;
}

static struct entity_def *def(const char *name)
{
    struct entity_def *d = entities_find(f->entities, name);
    assert_non_null(d);
    return d;
}

static int save(const char *entity, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    struct entity_def *d = def(entity);
    int rc = entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, &e);
    entity_def_unref(d);
    return rc;
}

static int drop(const char *entity, const char *id)
{
    struct entity_def *d = def(entity);
    int rc = entity_db_remove(f, d, id, 0, NULL);
    entity_def_unref(d);
    return rc;
}

static struct entity_def *parse(const char *text)
{
    struct entity_def *to;
    assert_int_equal(entity_def_parse_text(text, strlen(text), &to, NULL), 0);
    return to;
}

static int migrate(const char *text)
{
    int64_t gen = 0;
    struct entity_def *to = parse(text), *had = def(to->name);
    assert_int_equal(entity_def_rewrite(had, to), ENTITY_REWRITE_PLAIN);
    entity_def_unref(had);
    int rc = entity_db_migrate(f, to, KEEP_MS);
    while (rc == 0 && (rc = entity_db_migrated(f, to, &gen)) > 0)
        rc = 0;
    rc = rc == 0 ? entity_db_adopt(f, to->name, gen) : rc;
    entity_def_unref(to);
    return rc;
}

static void build(void)
{
    while (entity_db_build(f, 500))
        ;
}

static void sweep(void)
{
    for (int i = 0; i < 100 && entity_db_sweep(f, 1000) > 0; i++)
        ;
    build();
}

static int retire(const char *const *names, size_t count, struct err *e)
{
    struct txn t;
    txn_init(&t);
    entity_txn_retire(&t, names, count, KEEP_MS);
    return entity_db_apply(f, &t, e);
}

/* The record as text; "-": it is not there. Without system fields. */
static void expect(const char *entity, const char *id, const char *text)
{
    struct entity_def *d = def(entity);
    json_t *r = entity_db_get(f, d, id), *wanted = entity_db_json(text);
    entity_def_unref(d);
    const char *const system[] = {"id", "created_at", "updated_at", "created_by", "updated_by"};
    for (size_t i = 0; i < sizeof system / sizeof system[0]; i++)
        json_object_del(r, system[i]);
    if (!json_equal(r, wanted)) {
        char *got = json_dumps(r, 0);
        fail_msg("%s: %s, not %s", id, got, text);
    }
    json_decref(r);
    json_decref(wanted);
}

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        char id[20], doc[64];
        snprintf(id, sizeof(id), "r%d", i);
        snprintf(doc, sizeof(doc), "{\"a\":%d,\"b\":\"b%d\",\"d\":\"%d.50\"}", i, i, i);
        assert_int_equal(save("T", id, doc), 0);
    }
}

static void a_field_that_is_gone_comes_back_with_its_values(void **state)
{
    (void)state;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(1200);
    assert_int_equal(save("T", "none", "{\"a\":5}"), 0);
    assert_int_equal(migrate(less), 0);
    expect("T", "r7", "{\"a\":7,\"version\":2}");
    expect("T", "none", "{\"a\":5,\"version\":1}");
    json_t *kept = entity_kept_json(f->reader, "T", NULL);
    assert_int_equal(json_array_size(kept), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(kept, 0), "field")), "b");
    json_decref(kept);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 2400);
    build();
    assert_int_equal(save("T", "r8", "{\"a\":88}"), 0);
    assert_int_equal(drop("T", "r9"), 0);
    assert_int_equal(save("T", "r9", "{\"a\":99}"), 0); /* another record */
    assert_int_equal(save("T", "new", "{}"), 0);
    struct entity_def *to = parse(whole);
    int64_t gen;
    assert_int_equal(entity_db_migrate(f, to, KEEP_MS), 0);
    assert_int_equal(entity_db_migrated(f, to, &gen), 500);
    entity_def_unref(to);
    entity_db_restart(f); /* it goes on */
    assert_int_equal(migrate(whole), 0);
    build();
    expect("T", "r7", "{\"a\":7,\"b\":\"b7\",\"d\":\"7.5\",\"version\":3}");
    expect("T", "r8", "{\"a\":88,\"b\":\"b8\",\"d\":\"8.5\",\"version\":4}");
    expect("T", "r9", "{\"a\":99,\"version\":1}");
    expect("T", "new", "{\"version\":1}");
    assert_int_equal(save("T", "x", "{\"b\":\"b7\"}"), ERR_CONFLICT);
    sweep();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_fields"), 0);
}

static void what_a_migration_made_is_told_once_and_in_order(void **state)
{
    (void)state;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(700);
    uint64_t before = f->seq;
    f->at += 1000;
    assert_int_equal(migrate(less), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history"), 0);
    assert_int_equal(save("T", "r3", "{\"a\":33}"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history WHERE id = 'r3'"), 2);
    assert_int_equal(
        entity_db_number(f, "SELECT how FROM entity_history WHERE id = 'r3' AND version = 1"), 6);
    assert_int_equal(drop("T", "r4"), 0);
    struct entity_def *to = parse(whole);
    assert_int_equal(entity_db_migrate(f, to, KEEP_MS), ERR_UNAVAILABLE); /* not while it goes on */
    entity_def_unref(to);
    build();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history WHERE how = 6"), 700);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history"), 702);
    assert_int_equal(
        entity_db_number(
            f, "SELECT replaced_by = 'dora' AND why = 'migrate' AND fields = '[\"b\",\"d\"]' AND"
               " replaced_at = 1700000001000 FROM entity_history WHERE id = 'r5'"),
        1);
    struct entity_def *d = def("T");
    struct buf out = BUF_INIT(4096);
    assert_int_equal(entity_history_get(f->reader, d, f->tenant, "r5", 1, &out, NULL), 0);
    assert_null(strstr(buf_str(&out), "\"b\""));
    assert_non_null(strstr(buf_str(&out), "\"a\":5"));
    assert_true(entity_def_hides(d, before) && entity_def_hides(d, before + 1));
    assert_false(entity_def_hides(d, f->seq));
    buf_fini(&out);
    entity_def_unref(d);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
}

static void what_is_kept_long_enough_goes(void **state)
{
    (void)state;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(1500);
    assert_int_equal(drop("T", "r1"), 0);
    assert_int_equal(migrate(less), 0);
    build();
    uint64_t hidden = (uint64_t)entity_db_number(f, "SELECT seq FROM kept_marks");
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM entity_removed WHERE body LIKE '%\"b\"%'"), 1);
    f->at += KEEP_MS - 1;
    sweep();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 2998);
    f->at += 1;
    assert_int_equal(entity_db_sweep(f, 500), 500);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 2498);
    entity_db_restart(f);
    sweep();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_fields"), 0);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM entity_removed WHERE body LIKE '%\"b\"%'"), 0);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM entity_history WHERE body LIKE '%\"b\"%'"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history"), 1500);
    expect("T", "r7", "{\"a\":7,\"version\":2}");
    struct entity_def *d = def("T");
    assert_true(entity_def_hides(d, hidden)); /* feeds go on knowing */
    entity_def_unref(d);
    entity_def_unref(entity_db_must_define(f, whole));
    expect("T", "r7", "{\"a\":7,\"version\":2}");
}

static void a_removed_record_is_restored_with_what_it_had(void **state)
{
    (void)state;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(3);
    assert_int_equal(drop("T", "r1"), 0);
    f->at += 10;
    assert_int_equal(migrate(less), 0);
    build();
    struct entity_def *d = def("T");
    assert_int_equal(entity_db_restore(f, d, "r1", NULL), 0);
    entity_def_unref(d);
    expect("T", "r1", "{\"a\":1,\"version\":2}");
    assert_int_equal(migrate(whole), 0);
    build();
    expect("T", "r1", "{\"a\":1,\"b\":\"b1\",\"d\":\"1.5\",\"version\":3}");
}

static void another_kind_leaves_it_where_it_is(void **state)
{
    (void)state;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(3);
    assert_int_equal(migrate(less), 0);
    build();
    static const char other[] = "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"},"
                                "\"b\":{\"kind\":\"int\"}}}";
    struct entity_def *to = parse(other), *had = def("T");
    assert_int_equal(entity_def_rewrite(had, to), ENTITY_REWRITE_NONE);
    entity_def_unref(to);
    entity_def_unref(had);
    entity_def_unref(entity_db_must_define(f, other));
    expect("T", "r1", "{\"a\":1,\"version\":2}");
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_fields"), 2);
}

static void a_migration_that_is_given_up_keeps_nothing(void **state)
{
    (void)state;
    int64_t gen;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(3);
    struct entity_def *to = parse(less);
    assert_int_equal(entity_db_migrate(f, to, KEEP_MS), 0);
    assert_int_equal(entity_db_migrated(f, to, &gen), 3);
    entity_def_unref(to);
    assert_int_equal(entity_db_define(f, whole, NULL), 0);
    json_t *kept = entity_kept_json(f->reader, NULL, NULL);
    assert_int_equal(json_array_size(kept), 0);
    json_decref(kept);
    sweep();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_fields"), 0);
    expect("T", "r1", "{\"a\":1,\"b\":\"b1\",\"d\":\"1.5\",\"version\":1}");
}

static int64_t referring(const char *id)
{
    struct entity_def *d = def("T");
    char filter[64];
    snprintf(filter, sizeof(filter), "{\"us\":\"%s\"}", id);
    struct filter *wanted = NULL;
    assert_int_equal(filter_parse_text(d, filter, strlen(filter), &wanted, NULL), 0);
    struct entity_query q = {.filter = wanted};
    int64_t n = -1;
    assert_int_equal(entity_count(f->reader, d, f->tenant, &q, &n, NULL), 0);
    filter_free(wanted);
    entity_def_unref(d);
    return n;
}

static void lists_of_references_go_and_come_back(void **state)
{
    (void)state;
    entity_def_unref(
        entity_db_must_define(f, "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\"}}}"));
    entity_def_unref(entity_db_must_define(f, links));
    assert_int_equal(save("U", "u1", "{}"), 0);
    assert_int_equal(save("U", "u2", "{}"), 0);
    assert_int_equal(save("T", "t1", "{\"us\":[\"u1\",\"u2\"]}"), 0);
    assert_int_equal(save("T", "t2", "{\"us\":[\"u2\"]}"), 0);
    assert_int_equal(migrate(no_links), 0);
    build();
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'local_link%'"), 0);
    assert_int_equal(migrate(links), 0);
    assert_int_equal(referring("u2"), 2);
    build();
    assert_int_equal(drop("U", "u2"), 0);
    assert_int_equal(referring("u2"), 0);
    expect("T", "t2", "{\"us\":[],\"version\":4}");
    assert_int_equal(referring("u1"), 1);
}

static void an_entity_that_is_declared_no_longer_is_out_of_sight_and_comes_back(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    entity_def_unref(entity_db_must_define(f, whole));
    fill(20);
    assert_int_equal(drop("T", "r1"), 0);
    assert_int_equal(retire((const char *const[]){"T"}, 1, &e), 0);
    assert_null(entities_find(f->entities, "T"));
    entity_db_restart(f);
    assert_null(entities_find(f->entities, "T"));
    json_t *kept = entity_kept_json(f->reader, NULL, NULL);
    assert_int_equal(json_array_size(kept), 1);
    assert_null(json_object_get(json_array_get(kept, 0), "field"));
    json_decref(kept);
    assert_int_equal(
        entity_db_define(f, "{\"name\":\"t\",\"fields\":{\"a\":{\"kind\":\"int\"}}}", &e),
        ERR_CONFLICT);
    assert_non_null(strstr(e.text, "case"));
    assert_int_equal(entity_db_define(f, less, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "still kept"));
    entity_def_unref(entity_db_must_define(f, whole));
    expect("T", "r7", "{\"a\":7,\"b\":\"b7\",\"d\":\"7.5\",\"version\":1}");
    struct entity_def *d = def("T");
    assert_int_equal(entity_db_restore(f, d, "r1", NULL), 0);
    entity_def_unref(d);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_entities"), 0);
    assert_int_equal(retire((const char *const[]){"X"}, 1, &e), ERR_NOT_FOUND);
}

static void an_entity_that_is_kept_long_enough_goes_whole(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    entity_def_unref(
        entity_db_must_define(f, "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\"}}}"));
    entity_def_unref(entity_db_must_define(f, links));
    entity_def_unref(entity_db_must_define(
        f, "{\"name\":\"S\",\"soft_remove\":true,\"fields\":{\"s\":{\"kind\":\"text\",\"search\":"
           "true,\"index\":true}}}"));
    assert_int_equal(save("U", "u1", "{}"), 0);
    for (int i = 0; i < 1100; i++) {
        char id[20];
        snprintf(id, sizeof(id), "r%d", i);
        assert_int_equal(save("S", id, "{\"s\":\"one two three\"}"), 0);
    }
    assert_int_equal(save("T", "t1", "{\"us\":[\"u1\"]}"), 0);
    assert_int_equal(drop("S", "r5"), 0);
    assert_int_equal(retire((const char *const[]){"U"}, 1, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "'us' of T"));
    assert_int_equal(retire((const char *const[]){"U", "T", "S"}, 3, &e), 0);
    f->at += KEEP_MS;
    assert_int_equal(entity_db_define(f, links, &e), ERR_UNAVAILABLE);
    sweep();
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_entities"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_removed"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'entity_U*'"
                            " OR name GLOB 'local_*_S*' OR name GLOB 'local_*_T*'"),
        0);
    entity_def_unref(
        entity_db_must_define(f, "{\"name\":\"S\",\"fields\":{\"n\":{\"kind\":\"int\"}}}"));
    assert_int_equal(save("S", "r1", "{\"n\":1}"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_field_that_is_gone_comes_back_with_its_values),
        TEST(what_a_migration_made_is_told_once_and_in_order), /* E3 */
        TEST(what_is_kept_long_enough_goes),
        TEST(a_removed_record_is_restored_with_what_it_had),
        TEST(another_kind_leaves_it_where_it_is),
        TEST(a_migration_that_is_given_up_keeps_nothing),
        TEST(lists_of_references_go_and_come_back),
        TEST(an_entity_that_is_declared_no_longer_is_out_of_sight_and_comes_back),
        TEST(an_entity_that_is_kept_long_enough_goes_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
