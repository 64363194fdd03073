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

#define BOOK                                                                                       \
    "{\"name\":\"Book\",\"fields\":{\"title\":{\"kind\":\"text\"%s},\"by\":{\"kind\":\"text\"%s}," \
    "\"n\":{\"kind\":\"int\"}}}"
#define SEARCHED ",\"search\":true"

static struct entity_def *define(struct entity_db *f, const char *title, const char *by)
{
    char json[400];
    snprintf(json, sizeof(json), BOOK, title, by);
    return entity_db_must_define(f, json);
}

static void save(struct entity_db *f, const struct entity_def *d, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    if (entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, &e) != 0)
        fail_msg("%s", e.text);
}

/* The ids that `q` finds, with commas between. */
static const char *found(struct entity_db *f, const struct entity_def *d,
                         const struct entity_query *q)
{
    static char text[200];
    struct entity_page p;
    struct err e = ERR_INIT;
    entity_page_init(&p, 1 << 20);
    if (entity_query(f->reader, d, f->tenant, q, &p, &e) != 0)
        fail_msg("%s", e.text);
    json_t *a = entity_db_json(buf_str(&p.rows)), *r;
    size_t i, n = 0;
    *text = '\0';
    json_array_foreach(a, i, r) n +=
        (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? "," : "",
                         json_string_value(json_object_get(r, "id")));
    json_decref(a);
    entity_page_fini(&p);
    return text;
}

#define FOUND(f, d, words) found(f, d, &(struct entity_query){.q = words})

static void fill(struct entity_db *f, const struct entity_def *d)
{
    save(f, d, "1", "{\"title\":\"The Quick Brown Fox\",\"by\":\"Ana M\xc3\xbcller\",\"n\":1}");
    save(f, d, "2", "{\"title\":\"A slow brown bear\",\"by\":\"Bo\",\"n\":2}");
    save(f, d, "3", "{\"title\":\"Foxes, bears; and NOT cats\",\"n\":3}");
    save(f, d, "4", "{\"by\":\"e-mail to ana@example.org\",\"n\":4}");
    save(f, d, "5", "{\"n\":5}");
}

static void words_and_the_prefix_of_the_last_are_found(void **state)
{
    (void)state;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = define(f, SEARCHED, SEARCHED);
    fill(f, d);
    assert_string_equal(FOUND(f, d, "brown"), "1,2");
    assert_string_equal(FOUND(f, d, "BROWN fox"), "1");
    assert_string_equal(FOUND(f, d, "fox"), "1,3");
    assert_string_equal(FOUND(f, d, "fox brown"), "1");
    /* Only the last is a prefix. */
    assert_string_equal(FOUND(f, d, "bro fox"), "");
    /* Words of any searched field, without case and accents. */
    assert_string_equal(FOUND(f, d, "muller quick"), "1");
    assert_string_equal(FOUND(f, d, "ana"), "1,4");
    assert_string_equal(FOUND(f, d, "ana@example"), "4");
    assert_string_equal(FOUND(f, d, "mail-e"), "");
    /* Nothing is an operator. */
    assert_string_equal(FOUND(f, d, "not"), "3");
    assert_string_equal(FOUND(f, d, "brown OR cats"), "");
    assert_string_equal(FOUND(f, d, "brown \"fox\" *"), "1");
    assert_string_equal(FOUND(f, d, "title:brown"), "");
    assert_string_equal(FOUND(f, d, "\" ' ) brown"), "1,2");
    assert_string_equal(FOUND(f, d, "zebra"), "");
    entity_def_unref(d);
    entity_db_close(f);
}

static void a_search_goes_with_filter_sort_pages_and_count(void **state)
{
    (void)state;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = define(f, SEARCHED, "");
    fill(f, d);
    struct filter *many;
    assert_int_equal(filter_parse_text(d, "{\"n\":{\"$gt\":1}}", 15, &many, NULL), 0);
    struct entity_query q = {.q = "b", .filter = many, .sort = "-n"};
    assert_string_equal(found(f, d, &q), "3,2");
    int64_t n;
    assert_int_equal(entity_count(f->reader, d, "default", &q, &n, NULL), 0);
    assert_int_equal(n, 2);
    struct entity_page p;
    entity_page_init(&p, 1 << 20);
    q.page_size = 1;
    assert_int_equal(entity_query(f->reader, d, "default", &q, &p, NULL), 0);
    assert_true(p.more);
    assert_int_equal(p.total, 2);
    struct entity_query next = q;
    next.cursor = p.cursor.data;
    next.cursor_len = p.cursor.len;
    assert_string_equal(found(f, d, &next), "2");
    /* A cursor belongs to its words. */
    struct err e = ERR_INIT;
    struct entity_page other;
    entity_page_init(&other, 1 << 20);
    next.q = "fox";
    assert_int_equal(entity_query(f->reader, d, "default", &next, &other, &e), ERR_INVALID);
    entity_page_fini(&other);
    entity_page_fini(&p);
    filter_free(many);
    /* Rows of another tenant are in the same index, and are not shown. */
    strcpy(f->tenant, "other");
    save(f, d, "9", "{\"title\":\"brown too\"}");
    assert_string_equal(FOUND(f, d, "brown"), "9");
    strcpy(f->tenant, "default");
    assert_string_equal(FOUND(f, d, "brown"), "1,2");
    entity_def_unref(d);
    entity_db_close(f);
}

static void words_change_with_the_record_and_with_nothing_else(void **state)
{
    (void)state;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = define(f, SEARCHED, SEARCHED);
    fill(f, d);
    save(f, d, "1", "{\"title\":\"Grey wolf\"}");
    assert_string_equal(FOUND(f, d, "fox"), "3");
    assert_string_equal(FOUND(f, d, "wolf"), "1");
    assert_int_equal(entity_db_patch(f, d, "2", ENTITY_PATCH_MERGE, "{\"n\":7}", NULL), 0);
    assert_string_equal(FOUND(f, d, "slow"), "2");
    assert_int_equal(entity_db_patch(f, d, "2", ENTITY_PATCH_MERGE, "{\"title\":null}", NULL), 0);
    assert_string_equal(FOUND(f, d, "slow"), "");
    assert_string_equal(FOUND(f, d, "bo"), "2");
    assert_int_equal(entity_db_remove(f, d, "3", 0, NULL), 0);
    assert_string_equal(FOUND(f, d, "cats"), "");
    /* A unit that fails leaves the words as they were. */
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default", .principal = "ana"});
    struct entity_doc doc;
    entity_doc_init(&doc);
    json_t *j = entity_db_json("{\"title\":\"undone\"}");
    assert_int_equal(entity_doc_make(d, j, 0, &doc, NULL, NULL), 0);
    entity_txn_save(&t, d, "1", ENTITY_UPSERT, 0, &doc);
    entity_txn_save(&t, d, "1", ENTITY_CREATE, 0, &doc);
    assert_int_equal(entity_db_apply(f, &t, NULL), ERR_CONFLICT);
    entity_doc_fini(&doc);
    json_decref(j);
    assert_string_equal(FOUND(f, d, "undone"), "");
    assert_string_equal(FOUND(f, d, "wolf"), "1");
    entity_def_unref(d);
    entity_db_close(f);
}

static void a_definition_that_changes_takes_the_rows_along(void **state)
{
    (void)state;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = define(f, "", "");
    fill(f, d);
    struct entity_def *titles = define(f, SEARCHED, "");
    assert_string_equal(FOUND(f, titles, "fox"), "1,3");
    assert_string_equal(FOUND(f, titles, "ana"), "");
    struct entity_def *both = define(f, SEARCHED, SEARCHED);
    assert_string_equal(FOUND(f, both, "ana"), "1,4");
    struct entity_def *none = define(f, "", "");
    save(f, none, "6", "{\"title\":\"fox\"}");
    struct entity_def *again = define(f, "", SEARCHED);
    assert_string_equal(FOUND(f, again, "fox"), "");
    assert_string_equal(FOUND(f, again, "ana"), "1,4");
    entity_def_unref(d);
    entity_def_unref(titles);
    entity_def_unref(both);
    entity_def_unref(none);
    entity_def_unref(again);
    entity_db_close(f);
}

static void the_state_hash_is_that_of_the_records(void **state) /* L3 */
{
    (void)state;
    uint64_t hash[2];
    for (int i = 0; i < 2; i++) {
        struct entity_db *f = entity_db_open();
        struct entity_def *d = define(f, SEARCHED, "");
        if (i == 1)
            save(f, d, "x", "{\"title\":\"gone\"}");
        if (i == 1)
            entity_db_remove(f, d, "x", 0, NULL);
        f->at = 1800000000000;
        fill(f, d);
        uint64_t scanned;
        hash[i] = db_hash(f->writer);
        assert_int_equal(db_hash_scan(f->writer, &scanned, NULL), 0);
        assert_true(scanned == hash[i]);
        entity_def_unref(d);
        entity_db_close(f);
    }
}

static void refused(struct entity_db *f, const struct entity_def *d, const char *q, int code,
                    const char *words)
{
    struct err e = ERR_INIT;
    struct entity_page p;
    entity_page_init(&p, 1 << 20);
    assert_int_equal(entity_query(f->reader, d, "default", &(struct entity_query){.q = q}, &p, &e),
                     code);
    entity_page_fini(&p);
    if (strstr(e.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", e.text, words);
}

/* Whatever is typed: an answer or a refusal, never an error of the index's own syntax. */
static void any_text_can_be_asked_for(void **state)
{
    (void)state;
    static const char *const parts[] = {"\"",
                                        "*",
                                        "^",
                                        "(",
                                        ")",
                                        "AND",
                                        "OR",
                                        "NOT",
                                        "NEAR(",
                                        "-",
                                        ":",
                                        "+",
                                        "{",
                                        "}",
                                        "text",
                                        "fox",
                                        " ",
                                        "\t",
                                        "'",
                                        ",",
                                        "\\",
                                        "%",
                                        ";",
                                        "a*",
                                        "\xc3\xa9",
                                        "\xe2\x80\x94",
                                        "0",
                                        "_",
                                        "\xf0\x9f\x98\x80"};
    uint64_t seed = 0x2545f4914f6cdd1d;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = define(f, SEARCHED, SEARCHED);
    fill(f, d);
    for (int i = 0; i < 4000; i++) {
        char q[200] = "";
        for (int k = 1 + i % 9; k > 0; k--) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            strcat(q, parts[(seed >> 33) % (sizeof(parts) / sizeof(parts[0]))]);
        }
        struct entity_page p;
        struct err e = ERR_INIT;
        entity_page_init(&p, 1 << 20);
        int rc = entity_query(f->reader, d, "default", &(struct entity_query){.q = q}, &p, &e);
        if (rc != 0 && (rc != ERR_INVALID || strstr(e.text, "no word") == NULL))
            fail_msg("%s: %d %s", q, rc, e.text);
        entity_page_fini(&p);
    }
    entity_def_unref(d);
    entity_db_close(f);
}

static void what_cannot_be_searched_is_refused(void **state)
{
    (void)state;
    struct entity_db *f = entity_db_open();
    struct entity_def *plain = define(f, "", "");
    refused(f, plain, "fox", ERR_INVALID, "no field of Book is searched");
    struct entity_def *d = define(f, SEARCHED, "");
    refused(f, d, "", ERR_INVALID, "no word");
    refused(f, d, " -- ! ", ERR_INVALID, "no word");
    refused(f, d, "\xff", ERR_INVALID, "UTF-8");
    refused(f, d, "a b c d e f g h i j k l m n o p q", ERR_TOO_LARGE, "16 words");
    char text[400];
    memset(text, 'x', sizeof(text));
    text[300] = '\0';
    refused(f, d, text, ERR_TOO_LARGE, "256 bytes");
    struct err e = ERR_INIT;
    assert_int_equal(entity_db_define(f,
                                      "{\"name\":\"Bad\",\"fields\":{\"n\":{\"kind\":\"int\","
                                      "\"search\":true}}}",
                                      &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "does not fit kind int"));
    entity_def_unref(plain);
    entity_def_unref(d);
    entity_db_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_the_prefix_of_the_last_are_found),
        cmocka_unit_test(a_search_goes_with_filter_sort_pages_and_count),
        cmocka_unit_test(words_change_with_the_record_and_with_nothing_else),
        cmocka_unit_test(a_definition_that_changes_takes_the_rows_along),
        cmocka_unit_test(the_state_hash_is_that_of_the_records),
        cmocka_unit_test(any_text_can_be_asked_for),
        cmocka_unit_test(what_cannot_be_searched_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
