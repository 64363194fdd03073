#include "entity/expand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "support/entity_db.h"

static const char order[] = "{\"name\":\"Order\",\"fields\":{\"next\":{\"kind\":\"ref\",\"to\":"
                            "\"Order\",\"check\":false}}}";
static const char line[] =
    "{\"name\":\"Line\",\"fields\":{\"order\":{\"kind\":\"ref\",\"to\":\"Order\","
    "\"inverse\":\"lines\"}}}";

struct fixture {
    struct entity_db *f;
    struct entity_def *order, *line;
};

static int setup(void **state)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.order = entity_db_must_define(x.f, order);
    x.line = entity_db_must_define(x.f, line);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    entity_def_unref(x->order);
    entity_def_unref(x->line);
    entity_db_close(x->f);
    return 0;
}

/* Orders o1.. that name the next one, each with so many lines. */
static void fill(struct fixture *x, int orders, int lines)
{
    char sql[600];
    struct err e = ERR_INIT;
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d),"
             " m(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM m WHERE k < %d)"
             " INSERT INTO entity_Line (tenant, part, id, version, created_at, updated_at,"
             " created_by, updated_by, body) SELECT 'default', '', 'l' || i || '-' || k, 1, 1, 1,"
             " '', '', '{\"order\":\"o' || i || '\"}' FROM n, m",
             orders, lines);
    if (db_exec(x->f->writer, sql, &e) != 0)
        fail_msg("%s", e.text);
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO entity_Order (tenant, part, id, version, created_at, updated_at,"
             " created_by, updated_by, body) SELECT 'default', '', 'o' || i, 1, 1, 1, '', '',"
             " '{\"next\":\"o' || (i + 1) || '\"}' FROM n",
             orders);
    if (db_exec(x->f->writer, sql, &e) != 0)
        fail_msg("%s", e.text);
}

static int expand(struct fixture *x, const char *with, int orders, json_t **out, struct err *e)
{
    struct entity_expand *w = NULL;
    int rc = entity_expand_new(x->f->entities, x->order, with, NULL, NULL, &w, e);
    if (rc != 0)
        return rc;
    *out = json_array();
    for (int i = 1; i <= orders; i++)
        json_array_append_new(*out, json_pack("{s:o,s:o}", "id", json_sprintf("o%d", i), "next",
                                              json_sprintf("o%d", i + 1)));
    rc = entity_expand(w, x->f->reader, "default", *out, e);
    entity_expand_free(w);
    return rc;
}

static const json_t *with_of(const json_t *record, const char *name)
{
    return json_object_get(json_object_get(record, ENTITY_WITH_MEMBER), name);
}

static void what_is_found_stands_beside_the_record(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    json_t *list;
    fill(x, 3, 2);
    assert_int_equal(expand(x, "next.next.lines,lines", 3, &list, &e), 0);
    const json_t *first = json_array_get(list, 0);
    assert_int_equal(json_array_size(with_of(first, "lines")), 2);
    assert_int_equal(json_array_size(with_of(with_of(with_of(first, "next"), "next"), "lines")), 2);
    assert_true(json_is_null(with_of(json_array_get(list, 2), "next")));
    json_decref(list);
}

static void more_than_the_bounds_is_refused_not_cut_short(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    json_t *list;
    fill(x, 51, 200);
    assert_int_equal(expand(x, "lines", 50, &list, &e), 0);
    json_decref(list);
    assert_int_equal(expand(x, "lines", 51, &list, &e), ERR_TOO_LARGE);
    assert_non_null(strstr(e.text, "10000"));
    json_decref(list);
}

static void questions_are_bounded(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    json_t *list;
    char text[2000];
    memset(text, 'a', sizeof text);
    text[1500] = '\0';
    assert_int_equal(expand(x, text, 0, &list, &e), ERR_TOO_LARGE);
    assert_int_equal(expand(x, "next.next.next.next", 0, &list, &e), ERR_INVALID);
    static const char *const wrong[] = {"", ",", "next,", "next..next", "nxet", "id", "lines.sku"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        err_clear(&e);
        assert_int_equal(expand(x, wrong[i], 0, &list, &e), ERR_INVALID);
        assert_string_equal(e.field, "with");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_found_stands_beside_the_record),
        TEST(more_than_the_bounds_is_refused_not_cut_short),
        TEST(questions_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
