/* Lists of references: what a ref promises, for each element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/expand.h"
#include "entity/filter.h"
#include "entity/read.h"
#include "support/entity_db.h"

static const char tag[] = "{\"name\":\"Tag\",\"fields\":{\"name\":{\"kind\":\"text\"}}}";
static const char post[] =
    "{\"name\":\"Post\",\"soft_remove\":true,\"fields\":{"
    "\"must\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"Tag\"}},"
    "\"tags\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"Tag\",\"on_remove\":\"null\","
    "\"inverse\":\"posts\"}},"
    "\"goes\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"Tag\","
    "\"on_remove\":\"cascade\"}},"
    "\"loose\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"Tag\",\"on_remove\":\"none\","
    "\"check\":false}},\"n\":{\"kind\":\"int\"}}}";

struct fixture {
    struct entity_db *f;
    struct entity_def *tag, *post;
};

static int setup(void **state)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.tag = entity_db_must_define(x.f, tag);
    x.post = entity_db_must_define(x.f, post);
    for (char id[] = "a"; id[0] <= 'e'; id[0]++)
        assert_int_equal(entity_db_save(x.f, x.tag, id, ENTITY_UPSERT, 0, "{}", NULL), 0);
    *state = &x;
    return 0;
}

/* What lies beside the records is what they say. */
static void check_links(struct fixture *x)
{
#define SAID                                                                                       \
    "SELECT f.column1 AS field, j.value AS target, rid FROM entity_Post,"                          \
    " (VALUES ('must'),('tags'),('goes'),('loose')) f, json_each(body, '$.' || f.column1) j"
#define KEPT "SELECT field, target, rid FROM local_links_Post"
    assert_int_equal(entity_db_number(x->f, "SELECT count(*) FROM (" SAID " EXCEPT " KEPT ")"), 0);
    assert_int_equal(entity_db_number(x->f, "SELECT count(*) FROM (" KEPT " EXCEPT " SAID ")"), 0);
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    check_links(x);
    entity_def_unref(x->tag);
    entity_def_unref(x->post);
    entity_db_close(x->f);
    return 0;
}

static int put(struct fixture *x, const char *id, const char *doc, struct err *e)
{
    return entity_db_save(x->f, x->post, id, ENTITY_UPSERT, 0, doc, e);
}

static void must(struct fixture *x, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    if (put(x, id, doc, &e) != 0)
        fail_msg("%s: %s", id, e.text);
    check_links(x);
}

static void assert_is(struct fixture *x, const char *id, const char *field, const char *wanted)
{
    AUTO(json_unref) json_t *r = entity_db_get(x->f, x->post, id);
    AUTO(json_unref) json_t *w = entity_db_json(wanted);
    assert_true(json_equal(json_object_get(r, field), w));
}

static void every_new_element_must_be_there_at_commit(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    must(x, "p", "{\"must\":[\"a\",\"b\",\"a\"]}");
    assert_int_equal(put(x, "q", "{\"must\":[\"a\",\"zz\"]}", &e), ERR_CONFLICT);
    assert_string_equal(e.field, "must");
    assert_non_null(strstr(e.text, "there is no Tag 'zz'"));
    assert_int_equal(entity_db_patch(x->f, x->post, "p", ENTITY_PATCH_JSON,
                                     "[{\"op\":\"add\",\"path\":\"/must/-\",\"value\":\"yy\"}]",
                                     NULL),
                     ERR_CONFLICT);
    assert_int_equal(put(x, "q", "{\"must\":[\"a\",1]}", &e), ERR_INVALID);
    must(x, "q", "{\"loose\":[\"zz\",\"yy\"]}");
    assert_is(x, "p", "must", "[\"a\",\"b\",\"a\"]");
}

static void restrict_names_who_refers(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    must(x, "p", "{\"must\":[\"a\",\"b\"]}");
    assert_int_equal(entity_db_remove(x->f, x->tag, "b", 0, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "Post 'p' (field 'must'"));
    must(x, "p", "{\"must\":[\"a\"]}");
    assert_int_equal(entity_db_remove(x->f, x->tag, "b", 0, &e), 0);
}

static void null_takes_the_element_out_and_leaves_the_others(void **state)
{
    struct fixture *x = *state;
    must(x, "p", "{\"tags\":[\"a\",\"b\",\"a\",\"c\"],\"n\":1}");
    must(x, "q", "{\"tags\":[\"c\"]}");
    assert_int_equal(entity_db_remove(x->f, x->tag, "a", 0, NULL), 0);
    assert_is(x, "p", "tags", "[\"b\",\"c\"]");
    assert_is(x, "p", "version", "2");
    assert_is(x, "q", "version", "1");
    check_links(x);
    assert_int_equal(entity_db_remove(x->f, x->tag, "c", 0, NULL), 0);
    assert_is(x, "q", "tags", "[]");
}

static void cascade_takes_who_names_it_in_a_list(void **state)
{
    struct fixture *x = *state;
    must(x, "p", "{\"goes\":[\"a\",\"b\"],\"tags\":[\"c\"]}");
    must(x, "q", "{\"goes\":[\"b\"]}");
    must(x, "r", "{\"loose\":[\"a\",\"b\"]}");
    assert_int_equal(entity_db_remove(x->f, x->tag, "a", 0, NULL), 0);
    assert_null(entity_db_get(x->f, x->post, "p"));
    assert_is(x, "q", "goes", "[\"b\"]");
    assert_is(x, "r", "loose", "[\"a\",\"b\"]"); /* none: left hanging */
    check_links(x);
    /* A record that went comes back only with what it refers to. */
    struct err e = ERR_INIT;
    assert_int_equal(entity_db_restore(x->f, x->post, "p", &e), ERR_CONFLICT);
    assert_int_equal(entity_db_save(x->f, x->tag, "a", ENTITY_UPSERT, 0, "{}", NULL), 0);
    assert_int_equal(entity_db_restore(x->f, x->post, "p", &e), 0);
    check_links(x);
    assert_int_equal(entity_db_remove(x->f, x->tag, "a", 0, NULL), 0);
    assert_null(entity_db_get(x->f, x->post, "p"));
}

static int64_t count(struct fixture *x, const char *filter, uint64_t visit_max)
{
    struct err e = ERR_INIT;
    int64_t n = -1;
    AUTO(json_unref) json_t *j = entity_db_json(filter);
    AUTO(filter_freep) struct filter *f = NULL;
    if (filter_parse(x->post, j, &f, &e) != 0)
        fail_msg("%s: %s", filter, e.text);
    struct entity_query q = {.filter = f, .visit_max = visit_max};
    if (entity_count(x->f->reader, x->post, "default", &q, &n, &e) != 0)
        fail_msg("%s: %s", filter, e.text);
    return n;
}

static void elements_are_found_as_on_an_index(void **state)
{
    struct fixture *x = *state;
    char id[16];
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "p%03d", i);
        must(x, id, i == 400 ? "{\"tags\":[\"a\",\"b\"]}" : "{\"tags\":[\"b\",\"c\"]}");
    }
    assert_int_equal(count(x, "{\"tags\":\"a\"}", 30), 1);
    assert_int_equal(count(x, "{\"tags\":{\"$in\":[\"a\",\"e\"]}}", 30), 1);
    assert_int_equal(count(x, "{\"tags\":{\"$all\":[\"a\",\"b\"]}}", 30), 1);
    assert_int_equal(count(x, "{\"tags\":{\"$nin\":[\"a\"]}}", 0), 499);
    assert_int_equal(count(x, "{\"tags\":{\"$eq\":[\"a\",\"b\"]}}", 0), 1);
    assert_int_equal(count(x, "{\"tags\":{\"$ne\":\"a\"}}", 0), 499);
    assert_int_equal(count(x, "{\"tags\":{\"$size\":2}}", 0), 500);
    assert_int_equal(count(x, "{\"$or\":[{\"tags\":\"a\"},{\"tags\":\"e\"}]}", 0), 1);
    /* Nobody else's: links of all tenants lie side by side. */
    strcpy(x->f->tenant, "other");
    assert_int_equal(entity_db_save(x->f, x->tag, "a", ENTITY_UPSERT, 0, "{}", NULL), 0);
    must(x, "p", "{\"tags\":[\"a\"]}");
    assert_int_equal(count(x, "{\"tags\":\"a\"}", 30), 1);
    assert_int_equal(entity_db_remove(x->f, x->tag, "a", 0, NULL), 0);
    strcpy(x->f->tenant, "default");
    assert_is(x, "p400", "tags", "[\"a\",\"b\"]");
}

static int expand(struct fixture *x, const struct entity_def *d, const char *with, json_t *records,
                  struct err *e)
{
    struct entity_expand *w = NULL;
    int rc = entity_expand_new(x->f->entities, d, with, NULL, NULL, &w, e);
    if (rc == 0)
        rc = entity_expand(w, x->f->reader, "default", records, e);
    entity_expand_free(w);
    return rc;
}

static void with_shows_them_in_order_and_the_other_way_round(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    must(x, "p", "{\"tags\":[\"c\",\"a\"],\"loose\":[\"zz\",\"a\",\"a\"]}");
    must(x, "q", "{\"tags\":[\"a\",\"a\"]}");
    AUTO(json_unref) json_t *r = entity_db_get(x->f, x->post, "p");
    assert_int_equal(expand(x, x->post, "tags.posts,loose,must", r, &e), 0);
    json_t *w = json_object_get(r, ENTITY_WITH_MEMBER), *tags = json_object_get(w, "tags");
    assert_int_equal(json_array_size(tags), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(tags, 0), "id")), "c");
    json_t *posts =
        json_object_get(json_object_get(json_array_get(tags, 1), ENTITY_WITH_MEMBER), "posts");
    assert_int_equal(json_array_size(posts), 2);
    json_t *loose = json_object_get(w, "loose");
    assert_int_equal(json_array_size(loose), 3);
    assert_true(json_is_null(json_array_get(loose, 0)));
    assert_true(json_is_object(json_array_get(loose, 2)));
    assert_true(json_is_null(json_object_get(w, "must")));
    /* As many as an inverse may show. */
    AUTO(json_unref) json_t *many = json_pack("{s:s,s:[]}", "id", "m", "loose");
    for (int i = 0; i <= ENTITY_WITH_ROWS; i++)
        json_array_append_new(json_object_get(many, "loose"), json_string("a"));
    assert_int_equal(expand(x, x->post, "loose", many, &e), ERR_TOO_LARGE);
}

static void a_list_that_becomes_one_of_references_is_searched_whole(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    const char *after =
        "{\"name\":\"T\",\"fields\":{\"l\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\","
        "\"to\":\"Tag\"}},\"m\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"Tag\"}}}}";
    const char *before =
        "{\"name\":\"T\",\"fields\":{\"l\":{\"kind\":\"list\",\"of\":{\"kind\":\"text\"}}}}";
    struct entity_def *d = entity_db_must_define(x->f, before);
    assert_int_equal(entity_db_save(x->f, d, "t", ENTITY_UPSERT, 0, "{\"l\":[\"a\",\"zz\"]}", NULL),
                     0);
    assert_int_equal(entity_db_define(x->f, after, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "not there"));
    assert_int_equal(entity_db_save(x->f, d, "t", ENTITY_UPSERT, 0, "{\"l\":[\"a\",\"b\"]}", NULL),
                     0);
    assert_int_equal(entity_db_define(x->f, after, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->tag, "b", 0, &e), ERR_CONFLICT);
    /* And back: nothing is left behind. */
    assert_int_equal(entity_db_define(x->f, before, &e), 0);
    assert_int_equal(entity_db_remove(x->f, x->tag, "b", 0, &e), 0);
    assert_int_equal(
        entity_db_number(x->f, "SELECT count(*) FROM sqlite_master WHERE name = 'local_links_T'"),
        0);
    entity_def_unref(d);
}

static void what_a_list_of_references_wants_is_said(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"kind\":\"list\",\"of\":{\"kind\":\"ref\"}}", "'to'"},
        {"{\"kind\":\"list\",\"of\":{\"kind\":\"list\",\"of\":{\"kind\":\"ref\",\"to\":\"A\"}}}",
         "that deep"},
        {"{\"kind\":\"map\",\"of\":{\"kind\":\"ref\",\"to\":\"A\"}}", "a list does"},
        {"{\"kind\":\"list\",\"min\":1,\"of\":{\"kind\":\"ref\",\"to\":\"A\",\"on_remove\":"
         "\"null\"}}",
         "has a min"},
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

static void a_list_has_at_most_a_thousand(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    buf_adds(&b, "{\"loose\":[\"a\"");
    for (int i = 1; i <= ENTITY_LIST_REFS_MAX; i++)
        buf_adds(&b, ",\"a\"");
    buf_adds(&b, "]}");
    assert_int_equal(put(x, "p", buf_str(&b), &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "over 1000 references"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_new_element_must_be_there_at_commit),
        TEST(restrict_names_who_refers),
        TEST(null_takes_the_element_out_and_leaves_the_others),
        TEST(cascade_takes_who_names_it_in_a_list),
        TEST(elements_are_found_as_on_an_index), /* E1 */
        TEST(with_shows_them_in_order_and_the_other_way_round),
        TEST(a_list_that_becomes_one_of_references_is_searched_whole),
        cmocka_unit_test(what_a_list_of_references_wants_is_said),
        TEST(a_list_has_at_most_a_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
