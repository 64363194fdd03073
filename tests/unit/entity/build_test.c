/* Indexes and search that come behind a definition. */
#include "entity/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "entity/filter.h"
#include "entity/read.h"
#include "support/entity_db.h"

enum { MANY = ENTITY_BUILD_AT_ONCE + 500 };

static struct entity_db *f;
static struct entity_def *d;

static int setup(void **state)
{
    (void)state;
    f = entity_db_open();
    d = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    entity_def_unref(d);
    entity_db_close(f);
    return 0;
}

static const char fields[] = "\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\"}";

static void again(void)
{
    entity_def_unref(d);
    d = entities_find(f->entities, "T");
}

static int try_define(const char *more, struct err *e)
{
    char json[1000];
    snprintf(json, sizeof(json), "{\"name\":\"T\",\"fields\":{%s}%s}", fields, more);
    int rc = entity_db_define(f, json, e);
    again();
    return rc;
}

static void define(const char *more)
{
    struct err e = ERR_INIT;
    if (try_define(more, &e) != 0)
        fail_msg("%s", e.text);
}

static int save(const char *id, const char *fmt, int n)
{
    char doc[200];
    struct err e = ERR_INIT;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(doc, sizeof(doc), fmt, n, n);
#pragma GCC diagnostic pop
    return entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, &e);
}

/* Records 0 .. count - 1, `a` is the number modulo `of`. */
static void fill(int count, int of)
{
    for (int i = 0; i < count; i++) {
        char id[20];
        snprintf(id, sizeof(id), "r%d", i);
        assert_int_equal(save(id, "{\"a\":%d,\"s\":\"word%d\"}", i % of), 0);
    }
}

/* All steps, and the definition as it is then. */
static int build(uint32_t rows)
{
    int steps = 1;
    while (entity_db_build(f, rows))
        steps++;
    again();
    return steps;
}

/* A plan alone does not notice that the schema has changed: something is read first, and each asks
 * under another text. */
static bool plan_has(const char *sql, const char *words)
{
    static int asked;
    char text[300];
    snprintf(text, sizeof(text), "%s /* %d */", sql, asked++);
    entity_db_number(f, "SELECT count(*) FROM entity_defs");
    struct db_stmt *s = db_stmt_get(f->reader, text, NULL);
    bool has = false;
    assert_non_null(s);
    while (db_step(s, NULL) > 0)
        has = has || strstr(db_col_text(s, 3, NULL), words) != NULL;
    db_stmt_done(s);
    return has;
}

static const char asks[] = "EXPLAIN QUERY PLAN SELECT id FROM entity_T WHERE tenant = 'default'"
                           " AND part = '' AND json_extract(body,'$.\"a\"') = 5";

static int64_t found(const char *filter, const char *q, struct err *e)
{
    struct filter *parsed = NULL;
    int64_t n = -1;
    if (filter != NULL)
        assert_int_equal(filter_parse_text(d, filter, strlen(filter), &parsed, e), 0);
    struct entity_query query = {.filter = parsed, .q = q};
    int rc = entity_count(f->reader, d, f->tenant, &query, &n, e);
    filter_free(parsed);
    return rc == 0 ? n : rc;
}

static const char with_index[] = ",\"index\":[[\"a\"]]";
static const char with_unique[] = ",\"index\":[{\"fields\":[\"a\"],\"unique\":true}]";

static void a_small_entity_has_its_index_with_the_definition(void **state)
{
    (void)state;
    define("");
    fill(20, 20);
    define(with_index);
    assert_null(d->copy);
    assert_true(plan_has(asks, "USING INDEX T_ix"));
}

static void an_index_over_many_records_is_built_in_pieces_and_used_when_it_is_whole(void **state)
{
    (void)state;
    define("");
    fill(MANY, 100);
    define(with_index);
    assert_int_equal(d->version, 2);
    assert_non_null(d->copy);
    assert_false(plan_has(asks, "_ix"));
    struct entity_build_state now;
    assert_true(entity_db_build(f, 300));
    assert_int_equal(entity_build_read(f->reader, "T", &now, NULL), 0);
    assert_true(now.building && now.table && !now.search && now.percent == 20);
    assert_int_equal(found("{\"a\":5}", NULL, NULL), MANY / 100);
    assert_true(build(300) >= MANY / 300 * 2 - 1);
    assert_null(d->copy);
    assert_true(plan_has(asks, "_ix"));
    assert_int_equal(found("{\"a\":5}", NULL, NULL), MANY / 100);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'entity_T.%'"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_builds"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
}

static void a_record_changed_meanwhile_is_in_the_index_as_it_is_then(void **state)
{
    (void)state;
    define("");
    fill(MANY, 100);
    define(with_index);
    entity_db_build(f, 300);
    assert_int_equal(save("r5", "{\"a\":777%.0d}", 0), 0);    /* was copied */
    assert_int_equal(save("r1400", "{\"a\":777%.0d}", 0), 0); /* was not */
    assert_int_equal(save("new", "{\"a\":777%.0d}", 0), 0);
    assert_int_equal(entity_db_remove(f, d, "r6", 0, NULL), 0);
    assert_int_equal(entity_db_remove(f, d, "r1499", 0, NULL), 0);
    assert_int_equal(entity_db_remove(f, d, "new", 0, NULL), 0);
    assert_int_equal(save("last", "{\"a\":777%.0d}", 0), 0); /* takes the key of one that went */
    build(300);
    assert_int_equal(found("{\"a\":777}", NULL, NULL), 3);
    assert_int_equal(found("{}", NULL, NULL), MANY - 1);
    assert_null(entity_db_get(f, d, "r6"));
    assert_null(entity_db_get(f, d, "r1499"));
}

static void a_restart_and_another_definition_of_the_same_indexes_go_on(void **state)
{
    (void)state;
    define("");
    fill(MANY, 100);
    define(with_index);
    entity_db_build(f, 400);
    entity_db_restart(f);
    define(",\"index\":[[\"a\"]],\"require_version\":true");
    assert_int_equal(entity_db_number(f, "SELECT rid FROM entity_builds"), 400);
    define(",\"index\":[[\"a\"],[\"s\"]]");
    assert_int_equal(entity_db_number(f, "SELECT rid FROM entity_builds"), 0);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 1);
    build(400);
    assert_true(plan_has(asks, "_ix"));
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'T.%'"), 2);
}

static void an_index_that_is_not_wanted_any_more_is_not_built(void **state)
{
    (void)state;
    define("");
    fill(MANY, 100);
    define(with_index);
    entity_db_build(f, 400);
    define("");
    assert_null(d->copy);
    build(400);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'entity_T.%'"), 0);
    assert_int_equal(found("{}", NULL, NULL), MANY);
}

static void a_unique_index_lists_violations_and_comes_on_when_they_are_gone(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    define("");
    fill(MANY, MANY - 2); /* the last two have the values of r0 and r1 */
    define(with_unique);
    assert_int_equal(save("x", "{\"a\":%d}", 700), 0); /* r700 was not looked at yet */
    build(300);
    assert_non_null(d->copy);
    struct entity_build_state now;
    assert_int_equal(entity_build_read(f->reader, "T", &now, NULL), 0);
    assert_int_equal(now.violations, 3);
    int building, violated;
    entities_builds(f->entities, &building, &violated);
    assert_int_equal(violated, 1);
    json_t *all = entity_build_json(f->reader, d, &e);
    json_t *list = json_object_get(json_object_get(all, "build"), "list");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "id")), "r700");
    json_t *first = json_array_get(json_object_get(all, "indexes"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "state")), "violated");
    json_decref(all);
    /* No more of them; those that are there may stay as they are. */
    assert_int_equal(entity_db_save(f, d, "y", ENTITY_UPSERT, 0, "{\"a\":0}", &e), ERR_CONFLICT);
    assert_string_equal(e.field, "a");
    assert_int_equal(save("r2", "{\"a\":%d}", 1), ERR_CONFLICT);
    assert_int_equal(save("r1498", "{\"a\":%d,\"s\":\"other\"}", 0), 0);
    assert_int_equal(save("r1498", "{\"a\":%d}", 0), 0);
    entity_db_restart(f);
    again();
    /* One is changed, of one pair the owner goes, of one the other. */
    assert_int_equal(save("r1498", "{\"a\":%d}", 5000), 0);
    assert_int_equal(entity_db_remove(f, d, "r1", 0, NULL), 0);
    build(300);
    assert_non_null(d->copy);
    assert_int_equal(entity_db_remove(f, d, "x", 0, NULL), 0);
    build(300);
    assert_null(d->copy);
    assert_int_equal(save("z", "{\"a\":%d}", 1), ERR_CONFLICT);
    assert_int_equal(save("z", "{\"a\":%d}", 5000), ERR_CONFLICT);
    assert_int_equal(found("{\"a\":1}", NULL, NULL), 1);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_violations"), 0);
}

static void more_violations_than_one_operation_takes_are_all_tried(void **state)
{
    (void)state;
    define("");
    fill(MANY, 300);
    define(with_unique);
    build(500);
    struct entity_build_state now;
    assert_int_equal(entity_build_read(f->reader, "T", &now, NULL), 0);
    assert_int_equal(now.violations, MANY - 300);
    for (int i = 300; i < MANY; i++) {
        char id[20];
        snprintf(id, sizeof(id), "r%d", i);
        if (i < MANY - 3)
            assert_int_equal(entity_db_remove(f, d, id, 0, NULL), 0);
        else
            assert_int_equal(save(id, "{\"a\":%d}", 10000 + i), 0);
    }
    build(500);
    assert_null(d->copy);
    assert_int_equal(found("{}", NULL, NULL), 303);
}

static void q_is_refused_until_every_record_was_read_and_right_afterwards(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const char searched[] =
        "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"},\"s\":{\"kind\":\"text\","
        "\"search\":true}}}";
    define("");
    fill(MANY, MANY);
    assert_int_equal(entity_db_define(f, searched, NULL), 0);
    again();
    entity_db_build(f, 300);
    assert_int_equal(found(NULL, "word7", &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "20 % done"));
    assert_int_equal(save("r7", "{\"s\":\"other%.0d\"}", 0), 0);
    assert_int_equal(save("r1407", "{\"s\":\"other%.0d\"}", 0), 0);
    assert_int_equal(entity_db_remove(f, d, "r8", 0, NULL), 0);
    assert_int_equal(entity_db_remove(f, d, "r1408", 0, NULL), 0);
    assert_int_equal(save("new", "{\"s\":\"other%.0d\"}", 0), 0);
    build(300);
    assert_int_equal(found(NULL, "other", NULL), 3);
    assert_int_equal(found(NULL, "word14", NULL), 1 + 10 + 98);
    assert_int_equal(found(NULL, "word8", NULL), 0 + 10 + 100);
    assert_int_equal(found(NULL, "word1409", NULL), 1);
}

static void nobody_is_removed_while_who_refers_to_them_is_being_found_out(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct entity_def *to =
        entity_db_must_define(f, "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\"}}}");
    assert_int_equal(entity_db_save(f, to, "u", ENTITY_UPSERT, 0, "{}", NULL), 0);
    define("");
    fill(MANY, 100);
    assert_int_equal(entity_db_define(f,
                                      "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\"},"
                                      "\"s\":{\"kind\":\"text\"},\"u\":{\"kind\":\"ref\","
                                      "\"to\":\"U\"}}}",
                                      &e),
                     0);
    again();
    assert_int_equal(save("r3", "{\"u\":\"u%.0d\"}", 0), 0);
    assert_int_equal(entity_db_remove(f, to, "u", 0, &e), ERR_UNAVAILABLE);
    build(500);
    assert_int_equal(entity_db_remove(f, to, "u", 0, &e), ERR_CONFLICT);
    assert_int_equal(entity_db_remove(f, d, "r3", 0, &e), 0);
    assert_int_equal(entity_db_remove(f, to, "u", 0, &e), 0);
    entity_def_unref(to);
}

static void what_expires_waits_for_its_index(void **state)
{
    (void)state;
    define("");
    fill(MANY, 100);
    define(",\"ttl\":\"1m\"");
    assert_int_equal(save("soon", "{\"a\":%d}", 1), 0);
    f->at += 120000;
    assert_int_equal(entity_db_sweep(f, 10), 0);
    assert_null(entity_db_get(f, d, "soon"));
    build(500);
    assert_int_equal(entity_db_sweep(f, 10), 1);
}

/* Changes, steps, restarts and other definitions in any order: the records are what they would be
 * without. */
static void any_order_of_changes_and_steps_loses_nothing(void **state)
{
    (void)state;
    enum { IDS = 1800, STEPS = 3000 };
    static int want[IDS];
    static const char *const defs[] = {with_index, with_unique, ",\"index\":[[\"s\"]]", ""};
    srandom(7);
    define("");
    memset(want, 0, sizeof(want));
    for (int i = 0; i < IDS; i++) {
        char id[20];
        snprintf(id, sizeof(id), "r%d", i);
        assert_int_equal(save(id, "{\"a\":%d}", want[i] = 1 + i / 2 * 2), 0);
    }
    for (int i = 0; i < STEPS; i++) {
        char id[20];
        int k = (int)(random() % IDS), v = 1 + (int)(random() % 4000);
        snprintf(id, sizeof(id), "r%d", k);
        switch (random() % 24) {
        case 0:
            entity_db_build(f, 1 + (uint32_t)(random() % 500));
            again();
            break;
        case 1:
            if (random() % 12 == 0)
                define(defs[random() % 4]);
            break;
        case 2:
            entity_db_restart(f);
            again();
            break;
        case 3:
        case 4:
        case 5:
            assert_int_equal(entity_db_remove(f, d, id, 0, NULL), want[k] ? 0 : ERR_NOT_FOUND);
            want[k] = 0;
            break;
        default:
            if (save(id, "{\"a\":%d}", v) == 0)
                want[k] = v;
        }
    }
    define(with_index);
    build(500);
    int left = 0;
    for (int i = 0; i < IDS; i++) {
        char id[20];
        snprintf(id, sizeof(id), "r%d", i);
        json_t *r = entity_db_get(f, d, id);
        assert_int_equal(json_integer_value(json_object_get(r, "a")), want[i]);
        left += want[i] != 0;
        json_decref(r);
    }
    assert_int_equal(found("{}", NULL, NULL), left);
    assert_int_equal(found("{\"a\":{\"$gt\":0}}", NULL, NULL), left);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
}

static void an_index_that_is_declared_no_longer_goes_in_pieces(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    define(with_unique);
    fill(MANY, MANY);
    define("");
    assert_non_null(d->copy);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'T_ix%'"), 1);
    assert_int_equal(save("r7", "{\"a\":8%.0d}", 0), ERR_UNAVAILABLE);
    assert_int_equal(save("r9", "{\"a\":-9%.0d}", 0), 0);
    assert_true(entity_db_build(f, 300));
    entity_db_restart(f);
    again();
    assert_true(build(300) >= 2 * (MANY / 300) - 1);
    assert_null(d->copy);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'T%ix%'"), 0);
    assert_int_equal(save("r7", "{\"a\":8%.0d}", 0), 0);
    assert_int_equal(found("{\"a\":8}", NULL, NULL), 2);
    assert_int_equal(found("{}", NULL, NULL), MANY);
    /* Wanted again before it has gone, it stays. */
    define(with_index);
    build(500);
    define("");
    entity_db_build(f, 300);
    define(with_index);
    build(500);
    assert_true(plan_has(asks, "_ix"));
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
    /* Of a few it goes at once. */
    assert_int_equal(entity_db_define(f,
                                      "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\","
                                      "\"index\":true}}}",
                                      &e),
                     0);
    assert_int_equal(
        entity_db_define(f, "{\"name\":\"U\",\"fields\":{\"n\":{\"kind\":\"int\"}}}", &e), 0);
    assert_int_equal(
        entity_db_number(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'U%ix%'"), 0);
}

static void search_that_is_declared_no_longer_goes_in_pieces(void **state)
{
    (void)state;
    static const char with[] =
        "{\"name\":\"T\",\"fields\":{\"s\":{\"kind\":\"text\",\"search\":true},"
        "\"a\":{\"kind\":\"int\"}}}";
    assert_int_equal(entity_db_define(f, with, NULL), 0);
    again();
    fill(MANY, MANY);
    define("");
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 1);
    assert_int_equal(entity_db_define(f, with, NULL), 0); /* again, beside what is left of it */
    again();
    entity_db_restart(f);
    again();
    build(500);
    assert_int_equal(found(NULL, "word77", NULL), 11);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
    assert_int_equal(
        entity_db_number(f,
                         "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'local_search_T.%'"),
        0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_small_entity_has_its_index_with_the_definition),
        TEST(an_index_over_many_records_is_built_in_pieces_and_used_when_it_is_whole),
        TEST(a_record_changed_meanwhile_is_in_the_index_as_it_is_then),
        TEST(a_restart_and_another_definition_of_the_same_indexes_go_on),
        TEST(an_index_that_is_not_wanted_any_more_is_not_built),
        TEST(a_unique_index_lists_violations_and_comes_on_when_they_are_gone), /* E2 */
        TEST(more_violations_than_one_operation_takes_are_all_tried),
        TEST(q_is_refused_until_every_record_was_read_and_right_afterwards),
        TEST(nobody_is_removed_while_who_refers_to_them_is_being_found_out),
        TEST(an_index_that_is_declared_no_longer_goes_in_pieces),
        TEST(search_that_is_declared_no_longer_goes_in_pieces),
        TEST(what_expires_waits_for_its_index),
        TEST(any_order_of_changes_and_steps_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
