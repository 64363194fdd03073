/* Records made for a narrower definition. */
#include "entity/migrate.h"

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
#include "entity/read.h"
#include "support/entity_db.h"

enum { COUNT = 1300 };

static struct entity_db *f;
static struct entity_def *to;

/* `n` becomes the text `s`, which must be there and has one owner. */
static const char old_def[] =
    "{\"name\":\"T\",\"fields\":{\"n\":{\"kind\":\"int\"},\"s\":{\"kind\":"
    "\"text\"}}}";
static const char new_def[] =
    "{\"name\":\"T\",\"fields\":{\"s\":{\"kind\":\"text\",\"required\":true,\"unique\":true,"
    "\"search\":true},\"u\":{\"kind\":\"ref\",\"to\":\"U\"}}}";

static int setup(void **state)
{
    (void)state;
    f = entity_db_open();
    entity_def_unref(
        entity_db_must_define(f, "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\"}}}"));
    entity_def_unref(entity_db_must_define(f, old_def));
    assert_int_equal(entity_def_parse_text(new_def, strlen(new_def), &to, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    entity_def_unref(to);
    entity_db_close(f);
    return 0;
}

static int save(const char *entity, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    struct entity_def *d = entities_find(f->entities, entity);
    int rc = entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, &e);
    entity_def_unref(d);
    return rc;
}

static int drop(const char *entity, const char *id)
{
    struct entity_def *d = entities_find(f->entities, entity);
    int rc = entity_db_remove(f, d, id, 0, NULL);
    entity_def_unref(d);
    return rc;
}

static json_t *get(const char *id)
{
    struct entity_def *d = entities_find(f->entities, "T");
    json_t *r = entity_db_get(f, d, id);
    entity_def_unref(d);
    return r;
}

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        char id[20], doc[40];
        snprintf(id, sizeof(id), "r%d", i);
        snprintf(doc, sizeof(doc), "{\"n\":%d}", i);
        assert_int_equal(save("T", id, doc), 0);
    }
}

static int begin(const char *by)
{
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_migrate(&t, to, by, ENTITY_KEEP_MS);
    return entity_db_apply(f, &t, NULL);
}

static json_t *make(const json_t *old)
{
    json_t *r = json_object();
    const json_t *n = json_object_get(old, "n"), *s = json_object_get(old, "s");
    json_object_set(r, "id", json_object_get(old, "id"));
    if (s != NULL && strncmp(json_string_value(s), "u:", 2) == 0)
        json_object_set_new(r, "u", json_string(json_string_value(s) + 2));
    json_object_set_new(r, "s", json_sprintf("n%lld", (long long)json_integer_value(n)));
    return r;
}

/* One batch: its number of records, or the error of the operation. */
static int step(bool hold, struct err *e)
{
    struct entity_batch b;
    struct buf items = BUF_INIT(8 << 20);
    struct entity_def *d = entities_find(f->entities, "T");
    assert_int_equal(entity_migrate_next(f->reader, d, &b, NULL), 0);
    entity_def_unref(d);
    size_t i;
    json_t *row;
    json_array_foreach(b.rows, i, row)
    {
        json_t *made = make(json_object_get(row, "record"));
        assert_int_equal(
            entity_migrate_add(&items, to, json_integer_value(json_object_get(row, "rid")),
                               (uint64_t)json_integer_value(json_object_get(row, "version")), made,
                               e),
            0);
        json_decref(made);
    }
    int count = (int)json_array_size(b.rows);
    json_decref(b.rows);
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_migrated(&t, "T", &b, hold, (uint32_t)count, &items);
    int rc = entity_db_apply(f, &t, e);
    buf_fini(&items);
    return rc < 0 ? rc : count;
}

static int64_t gen(void)
{
    struct entity_batch b;
    struct entity_def *d = entities_find(f->entities, "T");
    int rc = entity_migrate_next(f->reader, d, &b, NULL);
    entity_def_unref(d);
    json_decref(b.rows);
    return rc < 0 ? rc : b.gen;
}

static int adopt(void)
{
    struct txn t;
    int64_t g = gen();
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_adopt(&t, "T", g);
    return entity_db_apply(f, &t, NULL);
}

static uint32_t version(void)
{
    struct entity_def *d = entities_find(f->entities, "T");
    uint32_t v = d->version;
    entity_def_unref(d);
    return v;
}

static int64_t search(const char *q)
{
    struct entity_def *d = entities_find(f->entities, "T");
    struct entity_query query = {.q = q};
    int64_t n = -1;
    int rc = entity_count(f->reader, d, f->tenant, &query, &n, NULL);
    entity_def_unref(d);
    return rc < 0 ? rc : n;
}

static void expect(const char *id, const char *s, int64_t v)
{
    json_t *r = get(id);
    if (s == NULL)
        assert_null(json_object_get(r, "s"));
    else
        assert_string_equal(json_string_value(json_object_get(r, "s")), s);
    assert_int_equal(json_integer_value(json_object_get(r, "version")), v);
    json_decref(r);
}

static void the_old_definition_is_in_force_until_all_records_are_there(void **state)
{
    (void)state;
    fill(COUNT);
    assert_int_equal(begin("one"), 0);
    assert_int_equal(step(false, NULL), ENTITY_MIGRATE_ROWS);
    assert_int_equal(version(), 1);
    expect("r5", NULL, 1);
    assert_int_equal(adopt(), ERR_VERSION_MISMATCH);
    while (step(false, NULL) > 0)
        ;
    expect("r5", NULL, 1);
    assert_int_equal(adopt(), 0);
    assert_int_equal(version(), 2);
    expect("r5", "n5", 2);
    assert_int_equal(save("T", "r6", "{}"), ERR_INVALID);
    assert_int_equal(save("T", "x", "{\"s\":\"n6\"}"), ERR_CONFLICT);
    assert_int_equal(search("n77"), ERR_UNAVAILABLE);
    while (entity_db_build(f, 500))
        ;
    assert_int_equal(search("n771"), 1);
    assert_int_equal(gen(), ERR_NOT_FOUND);
}

static void what_is_written_meanwhile_is_made_again(void **state)
{
    (void)state;
    fill(COUNT);
    assert_int_equal(begin("one"), 0);
    step(false, NULL);
    assert_int_equal(save("T", "r5", "{\"n\":5005}"), 0);
    assert_int_equal(save("T", "r1205", "{\"n\":6005}"), 0);
    assert_int_equal(save("T", "new", "{\"n\":7005}"), 0);
    assert_int_equal(drop("T", "r6"), 0);
    assert_int_equal(drop("T", "r1206"), 0);
    entity_db_restart(f);
    assert_int_equal(begin("one"), 0); /* goes on where it was */
    assert_int_equal(step(false, NULL), 500);
    assert_int_equal(step(false, NULL), COUNT - 1000);
    assert_int_equal(adopt(), ERR_VERSION_MISMATCH);
    assert_int_equal(step(false, NULL), 1); /* only r5 was behind */
    assert_int_equal(save("T", "r7", "{\"n\":8005}"), 0);
    assert_int_equal(adopt(), ERR_VERSION_MISMATCH);
    assert_int_equal(step(true, NULL), 1);
    assert_int_equal(save("T", "r8", "{\"n\":1}"), ERR_UNAVAILABLE);
    assert_int_equal(drop("T", "r8"), ERR_UNAVAILABLE);
    assert_int_equal(adopt(), 0);
    expect("r5", "n5005", 3);
    expect("r7", "n8005", 3);
    expect("r1205", "n6005", 3);
    expect("new", "n7005", 2);
    assert_null(get("r6"));
    assert_null(get("r1206"));
    assert_int_equal(save("T", "r8", "{\"s\":\"mine\"}"), 0);
}

static void a_hold_ends_by_itself(void **state)
{
    (void)state;
    fill(10);
    assert_int_equal(begin("one"), 0);
    assert_int_equal(step(true, NULL), 10);
    assert_int_equal(save("T", "r8", "{\"n\":1000}"), ERR_UNAVAILABLE);
    f->at += ENTITY_HOLD_MS;
    assert_int_equal(save("T", "r8", "{\"n\":1000}"), 0);
    assert_int_equal(adopt(), ERR_VERSION_MISMATCH);
    assert_int_equal(step(false, NULL), 1);
    assert_int_equal(adopt(), 0);
    expect("r8", "n1000", 3);
}

static void a_record_that_collides_refuses_the_batch_and_a_halt_is_kept(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    fill(10);
    assert_int_equal(save("T", "twin", "{\"n\":3}"), 0);
    assert_int_equal(begin("one"), 0);
    assert_int_equal(step(false, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "'twin'"));
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_halt(&t, "T", gen(), "[{\"id\":\"twin\",\"error\":\"taken\"}]");
    assert_int_equal(entity_db_apply(f, &t, NULL), 0);
    struct entity_def *d = entities_find(f->entities, "T");
    assert_false(entity_def_is_migrating(d));
    json_t *told = entity_build_json(f->reader, d, NULL);
    assert_int_equal(json_array_size(json_object_get(told, "halted")), 1);
    json_decref(told);
    entity_def_unref(d);
    assert_int_equal(version(), 1);
    assert_int_equal(save("T", "r1", "{\"n\":1}"), 0);
    while (entity_db_build(f, 500))
        ;
    /* Changed, it goes through. */
    assert_int_equal(save("T", "twin", "{\"n\":33}"), 0);
    assert_int_equal(begin("one"), 0);
    assert_int_equal(step(false, NULL), 11);
    assert_int_equal(adopt(), 0);
}

static void a_reference_made_and_lost_before_the_switch_is_found_out(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    assert_int_equal(save("U", "a", "{}"), 0);
    fill(3);
    assert_int_equal(save("T", "r1", "{\"n\":1,\"s\":\"u:a\"}"), 0);
    assert_int_equal(begin("one"), 0);
    assert_int_equal(step(false, NULL), 3);
    assert_int_equal(drop("U", "a"), 0);
    assert_int_equal(adopt(), ERR_VERSION_MISMATCH);
    assert_int_equal(step(false, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "'r1'"));
}

static void another_definition_or_other_scripts_begin_anew(void **state)
{
    (void)state;
    fill(600);
    assert_int_equal(begin("one"), 0);
    int64_t first = gen();
    step(false, NULL);
    assert_int_equal(begin("two"), 0);
    assert_true(gen() != first);
    assert_int_equal(step(false, NULL), 500);
    /* The definition in force, said again, is the end of it; so is another one. */
    assert_int_equal(entity_db_define(f, old_def, NULL), 0);
    assert_int_equal(gen(), ERR_NOT_FOUND);
    assert_int_equal(begin("two"), 0);
    step(false, NULL);
    assert_int_equal(entity_db_define(f,
                                      "{\"name\":\"T\",\"fields\":{\"n\":{\"kind\":\"int\"},\"s\":{"
                                      "\"kind\":\"text\"},\"z\":{\"kind\":\"int\"}}}",
                                      NULL),
                     0);
    assert_int_equal(gen(), ERR_NOT_FOUND);
    while (entity_db_build(f, 500))
        ;
    struct db_stmt *s = db_stmt_get(
        f->reader, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'entity_T.%'", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_int_equal(db_col_int(s, 0), 0);
    db_stmt_done(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_old_definition_is_in_force_until_all_records_are_there),
        TEST(what_is_written_meanwhile_is_made_again),
        TEST(a_hold_ends_by_itself),
        TEST(a_record_that_collides_refuses_the_batch_and_a_halt_is_kept),
        TEST(a_reference_made_and_lost_before_the_switch_is_found_out),
        TEST(another_definition_or_other_scripts_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
