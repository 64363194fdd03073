#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "support/entity_fixture.h"

static const char note[] =
    "{\"name\":\"Note\",\"history\":{\"versions\":3},\"fields\":{\"text\":{\"kind\":\"text\"},"
    "\"n\":{\"kind\":\"int\"},\"on\":{\"kind\":\"ref\",\"to\":\"Note\",\"on_remove\":\"null\"}}}";

static int setup(void **state)
{
    return fixture_open(state, note);
}

static const int64_t day = 86400LL * 1000;

static void check(struct fixture *x, const char *id, const char *want)
{
    struct buf out = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    if (entity_history(x->f->reader, x->d, "default", id, &out, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
}

static int version_text(struct fixture *x, uint64_t version, char out[64])
{
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    *out = '\0';
    int rc = entity_history_get(x->f->reader, x->d, "default", "a", version, &b, &e);
    if (rc == 0) {
        json_t *r = entity_db_json(buf_str(&b));
        assert_int_equal(json_integer_value(json_object_get(r, "version")), version);
        strcpy(out, json_string_value(json_object_get(r, "text")));
        json_decref(r);
    }
    buf_fini(&b);
    return rc;
}

static void it_says_who_when_how_why_and_which_fields(void **state)
{
    struct fixture *x = *state;
    struct txn t;
    save(x, "a", "{\"text\":\"1\"}");
    check(x, "a", "[]");
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default",
                                        .principal = "bo",
                                        .reason = "a typing error",
                                        .correlation = "c-1"});
    json_t *patch = entity_db_json("{\"text\":\"2\",\"n\":7}");
    assert_int_equal(entity_txn_patch(&t, x->d, "a", 0, ENTITY_PATCH_MERGE, patch, NULL), 0);
    json_decref(patch);
    x->f->at += 1000;
    assert_int_equal(entity_db_apply(x->f, &t, NULL), 0);
    check(x, "a",
          "[{\"version\":1,\"replaced_at\":\"2023-11-14T22:13:21.000Z\",\"replaced_by\":\"bo\","
          "\"how\":\"patch\",\"why\":\"a typing error\",\"correlation\":\"c-1\","
          "\"fields\":[\"text\",\"n\"]}]");
    /* What changes nothing replaces nothing. */
    save(x, "a", "{\"text\":\"2\",\"n\":7}");
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(entity_history(x->f->reader, x->d, "default", "a", &out, NULL), 0);
    json_t *list = entity_db_json(buf_str(&out));
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "how")),
                        "remove");
    json_decref(list);
    buf_fini(&out);
}

static void every_kept_version_can_be_read(void **state)
{
    struct fixture *x = *state;
    char text[64];
    save(x, "a", "{\"text\":\"1\"}");
    save(x, "a", "{\"text\":\"2\"}");
    save(x, "a", "{\"text\":\"3\"}");
    for (uint64_t v = 1; v <= 3; v++) {
        assert_int_equal(version_text(x, v, text), 0);
        assert_int_equal(text[0], '0' + (int)v);
    }
    assert_int_equal(version_text(x, 4, text), ERR_NOT_FOUND);
    assert_int_equal(version_text(x, 0, text), ERR_NOT_FOUND);
    assert_int_equal(entity_db_remove(x->f, x->d, "a", 0, NULL), 0);
    assert_int_equal(version_text(x, 3, text), 0);
}

static void only_so_many_versions_are_kept(void **state)
{
    struct fixture *x = *state;
    char text[64];
    static const char *const docs[] = {"{\"text\":\"1\"}", "{\"text\":\"2\"}", "{\"text\":\"3\"}",
                                       "{\"text\":\"4\"}", "{\"text\":\"5\"}", "{\"text\":\"6\"}"};
    for (size_t i = 0; i < ARRAY_LEN(docs); i++)
        save(x, "a", docs[i]);
    assert_int_equal(version_text(x, 2, text), ERR_GONE);
    assert_int_equal(version_text(x, 3, text), 0);
    assert_int_equal(version_text(x, 6, text), 0);
}

static void only_for_so_long(void **state)
{
    struct fixture *x = *state;
    char text[64];
    save(x, "a", "{\"text\":\"1\"}");
    save(x, "a", "{\"text\":\"2\"}");
    x->f->at += 30 * day - 1;
    assert_int_equal(entity_db_sweep(x->f, 10), 0);
    x->f->at += 1;
    assert_int_equal(entity_db_sweep(x->f, 10), 1);
    assert_int_equal(version_text(x, 1, text), ERR_GONE);
}

static void a_reference_taken_out_is_a_version_too(void **state)
{
    struct fixture *x = *state;
    save(x, "b", "{}");
    save(x, "a", "{\"on\":\"b\"}");
    assert_int_equal(entity_db_remove(x->f, x->d, "b", 0, NULL), 0);
    check(x, "a",
          "[{\"version\":1,\"replaced_at\":\"2023-11-14T22:13:20.000Z\",\"replaced_by\":\"ana\","
          "\"how\":\"detach\",\"fields\":[\"on\"]}]");
}

static void nothing_and_nobody_are_told_apart(void **state)
{
    struct fixture *x = *state;
    struct buf out = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    assert_int_equal(entity_history(x->f->reader, x->d, "default", "x", &out, &e), ERR_NOT_FOUND);
    struct entity_def *d =
        entity_db_must_define(x->f, "{\"name\":\"Plain\",\"fields\":{\"n\":{\"kind\":\"int\"}}}");
    assert_int_equal(entity_history(x->f->reader, d, "default", "x", &out, &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "history = true"));
    entity_def_unref(d);
    buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_says_who_when_how_why_and_which_fields),
        TEST(every_kept_version_can_be_read),
        TEST(only_so_many_versions_are_kept),
        TEST(only_for_so_long),
        TEST(a_reference_taken_out_is_a_version_too),
        TEST(nothing_and_nobody_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
