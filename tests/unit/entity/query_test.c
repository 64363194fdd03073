#include "entity/read.h"

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
#include "io/world.h"
#include "support/entity_db.h"

static const char thing[] =
    "{\"name\":\"Thing\",\"fields\":{\"name\":{\"kind\":\"text\"},\"n\":{\"kind\":\"int\"},"
    "\"r\":{\"kind\":\"number\"},\"d\":{\"kind\":\"decimal\"},"
    "\"tags\":{\"kind\":\"list\",\"of\":\"int\"},\"j\":{\"kind\":\"json\"}},"
    "\"index\":[[\"n\",\"-name\"],[\"d\"]]}";

enum { ROWS = 230 };

struct fixture {
    struct entity_db *f;
    struct entity_def *d;
};

/* Values repeat and are absent at times, so that ties and nulls are sorted too. */
static void fill(struct fixture *x)
{
    for (int i = 0; i < ROWS; i++) {
        char id[16], doc[200];
        int k = (i * 37) % ROWS;
        snprintf(id, sizeof(id), "%03d", k);
        int n = snprintf(doc, sizeof(doc), "{\"name\":\"n%d\"", k % 17);
        if (k % 5 != 0)
            n += snprintf(doc + n, sizeof(doc) - (size_t)n, ",\"n\":%d,\"r\":%d.3", k % 7, k % 11);
        if (k % 3 != 0)
            n += snprintf(doc + n, sizeof(doc) - (size_t)n, ",\"d\":\"%d.5\"", k % 13 - 6);
        if (k % 4 != 0)
            n += snprintf(doc + n, sizeof(doc) - (size_t)n, ",\"tags\":[%d,%d]", k % 9, k % 6);
        snprintf(doc + n, sizeof(doc) - (size_t)n, "}");
        assert_int_equal(entity_db_save(x->f, x->d, id, ENTITY_CREATE, 0, doc, NULL), 0);
    }
}

static int setup(void **state)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.d = entity_db_must_define(x.f, thing);
    fill(&x);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    entity_def_unref(x->d);
    entity_db_close(x->f);
    return 0;
}

/* One page as a JSON array. */
static json_t *ask(struct fixture *x, const struct entity_query *q, struct entity_page *p)
{
    struct err e = ERR_INIT;
    entity_page_init(p, 1 << 20);
    if (entity_query(x->f->reader, x->d, "default", q, p, &e) != 0)
        fail_msg("%s", e.text);
    return entity_db_json(buf_str(&p->rows));
}

static int refused(struct fixture *x, const struct entity_query *q, const char *words)
{
    struct err e = ERR_INIT;
    struct entity_page p;
    entity_page_init(&p, 1 << 20);
    int rc = entity_query(x->f->reader, x->d, "default", q, &p, &e);
    entity_page_fini(&p);
    if (strstr(e.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", e.text, words);
    return rc;
}

static struct filter *filter(struct fixture *x, const char *text)
{
    struct filter *f;
    struct err e = ERR_INIT;
    if (filter_parse_text(x->d, text, strlen(text), &f, &e) != 0)
        fail_msg("%s", e.text);
    return f;
}

/* What a record sorts by, in memory: an int scaled, or the least or greatest of a list. */
static json_t *sort_value(const json_t *r, const char *field, bool desc)
{
    json_t *v = json_object_get(r, field);
    if (strcmp(field, "d") == 0 && v != NULL)
        return json_real(atof(json_string_value(v)));
    if (!json_is_array(v))
        return v != NULL ? json_incref(v) : json_null();
    json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1);
    return json_incref((json_compare(a, b) < 0) != desc ? a : b);
}

static int compare_records(const json_t *a, const json_t *b, const char *sort)
{
    char copy[64], *rest = copy, *word;
    bool desc = false;
    snprintf(copy, sizeof(copy), "%s", sort);
    while ((word = strsep(&rest, ",")) != NULL) {
        desc = *word == '-';
        json_t *x = sort_value(a, word + desc, desc), *y = sort_value(b, word + desc, desc);
        int c = json_compare(x, y);
        json_decref(x);
        json_decref(y);
        if (c != 0)
            return desc ? -c : c;
    }
    int c = json_compare(json_object_get(a, "id"), json_object_get(b, "id"));
    return desc ? -c : c;
}

static void every_sort_pages_without_gap_or_repeat(void **state) /* E1 */
{
    struct fixture *x = *state;
    static const char *const sorts[] = {
        "id", "-id", "name", "-name",     "n",    "-n",    "n,-name",      "-n,name", "r,n",
        "-r", "d",   "-d",   "d,-r,name", "tags", "-tags", "created_at,n", "-version"};
    struct filter *f = filter(x, "{\"name\":{\"$ne\":\"n3\"}}");
    for (size_t s = 0; s < sizeof(sorts) / sizeof(sorts[0]); s++) {
        json_t *last = NULL;
        struct buf cursor = BUF_INIT(ENTITY_CURSOR_MAX);
        size_t total = 0;
        for (int page = 1;; page++) {
            struct entity_query q = {.filter = f, .sort = sorts[s], .page_size = 7, .page = page};
            struct entity_page by_page, by_cursor;
            json_t *a = ask(x, &q, &by_page);
            if (page > 1) {
                q.page = 0;
                q.cursor = cursor.data;
                q.cursor_len = cursor.len;
                json_t *b = ask(x, &q, &by_cursor);
                if (!json_equal(a, b))
                    fail_msg("sort %s: page %d differs from its cursor", sorts[s], page);
                assert_true(by_cursor.more == by_page.more);
                json_decref(b);
                entity_page_fini(&by_cursor);
            }
            size_t i;
            json_t *r;
            json_array_foreach(a, i, r)
            {
                if (last != NULL && compare_records(last, r, sorts[s]) >= 0)
                    fail_msg("sort %s: '%s' is out of order", sorts[s],
                             json_string_value(json_object_get(r, "id")));
                json_decref(last);
                last = json_incref(r);
                total++;
            }
            buf_reset(&cursor);
            buf_add(&cursor, buf_str(&by_page.cursor), by_page.cursor.len);
            bool more = by_page.more;
            json_decref(a);
            entity_page_fini(&by_page);
            if (!more)
                break;
        }
        json_decref(last);
        buf_fini(&cursor);
        int64_t count;
        assert_int_equal(entity_count(x->f->reader, x->d, "default",
                                      &(struct entity_query){.filter = f}, &count, NULL),
                         0);
        assert_int_equal(total, count);
    }
    filter_free(f);
}

static void counts_follow_their_mode(void **state)
{
    struct fixture *x = *state;
    struct entity_page p;
    json_decref(ask(x, &(struct entity_query){.page_size = 10}, &p));
    assert_int_equal(p.total, ROWS);
    assert_false(p.at_least);
    entity_page_fini(&p);
    json_decref(ask(x, &(struct entity_query){.count = ENTITY_COUNT_NONE}, &p));
    assert_int_equal(p.total, -1);
    assert_int_equal(p.count, ENTITY_PAGE_SIZE);
    entity_page_fini(&p);
    json_decref(ask(x, &(struct entity_query){.page = 5, .page_size = 50}, &p));
    assert_int_equal(p.total, ROWS);
    assert_int_equal(p.count, 30);
    assert_false(p.more);
    entity_page_fini(&p);
    json_decref(ask(x, &(struct entity_query){.page = 9, .page_size = 50}, &p));
    assert_int_equal(p.total, ROWS);
    assert_int_equal(p.count, 0);
    entity_page_fini(&p);
}

static void only_some_fields_are_given(void **state)
{
    struct fixture *x = *state;
    struct entity_page p;
    json_t *a = ask(x, &(struct entity_query){.page_size = 1, .fields = "n,version"}, &p);
    json_t *want = entity_db_json("[{\"id\":\"000\",\"version\":1}]");
    assert_true(json_equal(a, want));
    json_decref(a);
    json_decref(want);
    entity_page_fini(&p);
    entity_page_init(&p, 1 << 20);
    struct entity_query lines = {.page_size = 2, .fields = "name", .stream = true};
    assert_int_equal(entity_query(x->f->reader, x->d, "default", &lines, &p, NULL), 0);
    assert_string_equal(buf_str(&p.rows), "{\"id\":\"000\",\"name\":\"n0\"}\n"
                                          "{\"id\":\"001\",\"name\":\"n1\"}\n");
    entity_page_fini(&p);
}

static void what_cannot_be_asked_is_refused(void **state)
{
    struct fixture *x = *state;
    struct entity_page p;
    assert_int_equal(refused(x, &(struct entity_query){.page_size = 201}, "pageSize"), ERR_INVALID);
    assert_int_equal(refused(x, &(struct entity_query){.page = -1}, "page"), ERR_INVALID);
    assert_int_equal(refused(x, &(struct entity_query){.page = 201}, "cursor"), ERR_TOO_LARGE);
    assert_int_equal(refused(x, &(struct entity_query){.sort = "nmae"}, "'name'"), ERR_INVALID);
    assert_int_equal(refused(x, &(struct entity_query){.sort = "j"}, "order"), ERR_INVALID);
    assert_int_equal(refused(x, &(struct entity_query){.sort = "name,,n"}, "missing"), ERR_INVALID);
    assert_int_equal(refused(x, &(struct entity_query){.fields = "nmae"}, "'name'"), ERR_INVALID);
    /* A cursor belongs to its question. */
    json_decref(ask(x, &(struct entity_query){.sort = "n", .page_size = 5}, &p));
    struct entity_query q = {.sort = "-n", .cursor = p.cursor.data, .cursor_len = p.cursor.len};
    assert_int_equal(refused(x, &q, "another filter or sort"), ERR_INVALID);
    q.sort = "n";
    for (size_t cut = 0; cut < p.cursor.len; cut++) {
        q.cursor_len = cut;
        assert_int_equal(refused(x, &q, "cursor"), ERR_INVALID);
    }
    entity_page_fini(&p);
}

static void many_records_come_in_the_order_asked_for(void **state)
{
    struct fixture *x = *state;
    static const char *const ids[] = {"002", "nobody", "001", "002"};
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(entity_get_many(x->f->reader, x->d, "default", ids, 4, &b, NULL), 0);
    json_t *a = entity_db_json(buf_str(&b));
    assert_int_equal(json_array_size(a), 4);
    assert_true(json_is_null(json_array_get(a, 1)));
    assert_string_equal(json_string_value(json_object_get(json_array_get(a, 2), "id")), "001");
    assert_true(json_equal(json_array_get(a, 0), json_array_get(a, 3)));
    json_decref(a);
    buf_fini(&b);
}

/* The plan of a question, as SQLite tells it. */
static void check_plan(struct fixture *x, const char *where, const char *order, const char *words)
{
    char sql[600];
    snprintf(sql, sizeof(sql),
             "EXPLAIN QUERY PLAN SELECT body FROM \"entity_Thing\" WHERE tenant = 'default' AND "
             "part = '' AND %s ORDER BY %s LIMIT 10",
             where, order);
    struct db_stmt *s = db_stmt_get(x->f->reader, sql, NULL);
    bool found = false, sorts = false;
    while (db_step(s, NULL) > 0) {
        const char *line = db_col_text(s, 3, NULL);
        found = found || strstr(line, words) != NULL;
        sorts = sorts || strstr(line, "TEMP B-TREE") != NULL;
    }
    db_stmt_done(s);
    assert_true(found);
    assert_false(sorts);
}

static void an_index_serves_filter_and_sort(void **state)
{
    struct fixture *x = *state;
    check_plan(x, "(json_extract(body,'$.\"n\"') = 3)",
               "json_extract(body,'$.\"name\"') DESC, id DESC", "USING INDEX");
    check_plan(x, "(json_extract(keys,'$.\"d\"') > '1')", "json_extract(keys,'$.\"d\"'), id",
               "USING INDEX");
    check_plan(x, "(json_extract(keys,'$.\"d\"') > '1')",
               "json_extract(keys,'$.\"d\"') DESC, id DESC", "USING INDEX");
}

static void a_question_that_visits_too_much_is_stopped_and_told_what_index_it_lacks(void **state)
{
    struct fixture *x = *state;
    struct buf b = BUF_INIT(1 << 20);
    buf_adds(&b, "{\"tags\":[1");
    for (int i = 0; i < 200000; i++)
        buf_adds(&b, ",1");
    buf_adds(&b, "]}");
    assert_int_equal(entity_db_save(x->f, x->d, "zz", ENTITY_CREATE, 0, buf_str(&b), NULL), 0);
    buf_reset(&b);
    buf_adds(&b, "{\"version\":1,\"n\":null,\"$or\":[{\"name\":{\"$gt\":\"zzz\"}}");
    for (int i = 0; i < 90; i++)
        buf_addf(&b, ",{\"tags\":%d}", 1000 + i);
    buf_adds(&b, "],\"name\":null}");
    struct filter *dear = filter(x, buf_str(&b));
    int rc = refused(x, &(struct entity_query){.filter = dear, .sort = "r"}, "\"r\"");
    assert_int_equal(rc, ERR_TOO_LARGE);
    filter_free(dear);
    buf_fini(&b);
    assert_int_equal(entity_db_remove(x->f, x->d, "zz", 0, NULL), 0);
    /* A limit of this test: a handful of rows. */
    struct entity_query low = {.sort = "-r,name", .visit_max = 20};
    assert_int_equal(refused(x, &low, "it lacks index = {{\"-r\", \"name\"}}"), ERR_TOO_LARGE);
    low.sort = "created_at";
    assert_int_equal(refused(x, &low, "index = {{\"created_at\"}}"), ERR_TOO_LARGE);
    /* The next question is not held back by the last one's limit. */
    int64_t n;
    assert_int_equal(
        entity_count(x->f->reader, x->d, "default", &(struct entity_query){.q = NULL}, &n, NULL),
        0);
    assert_int_equal(n, ROWS);
}

static uint64_t slow_ns(struct world *w)
{
    (void)w;
    static uint64_t now;
    return now += 100000000;
}

static void a_question_that_runs_too_long_is_stopped(void **state)
{
    struct fixture *x = *state;
    struct world slow = {.mono_ns = slow_ns};
    db_set_clock(x->f->reader, &slow);
    struct entity_query q = {.sort = "r", .ms_max = 300};
    assert_int_equal(refused(x, &q, "or run over 5 s; it lacks index = {{\"r\"}}"), ERR_TOO_LARGE);
    db_set_clock(x->f->reader, NULL);
    struct entity_page p;
    json_decref(ask(x, &q, &p));
    entity_page_fini(&p);
}

/* Past 10 000 matches there is no total, only that there are as many. */
static void a_count_ends_at_ten_thousand_unless_it_is_to_be_exact(void **state)
{
    struct fixture *x = *state;
    struct entity_page p;
    assert_int_equal(
        db_exec(x->f->writer,
                "INSERT INTO entity_Thing (tenant, part, id, version, created_at, updated_at,"
                " created_by, updated_by, body) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT "
                "i + 1 FROM c"
                " WHERE i < 9800) SELECT 'many', '', printf('%05d', i), 1, 0, 0, '', '', "
                "'{\"n\":1}' FROM c",
                NULL),
        0);
    static const int more[] = {0, 200, 201};
    struct entity_query q = {.page_size = 1};
    for (size_t i = 0; i < 3; i++) {
        char sql[300];
        snprintf(sql, sizeof(sql),
                 "INSERT INTO entity_Thing (tenant, part, id, version, created_at, updated_at, "
                 "created_by,"
                 " updated_by, body) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
                 "c WHERE i < %d)"
                 " SELECT 'many', '', 'x%d' || i, 1, 0, 0, '', '', '{}' FROM c",
                 i == 0 ? 1 : more[i] - more[i - 1], (int)i);
        if (i > 0)
            assert_int_equal(db_exec(x->f->writer, sql, NULL), 0);
        entity_page_init(&p, 1 << 20);
        assert_int_equal(entity_query(x->f->reader, x->d, "many", &q, &p, NULL), 0);
        assert_int_equal(p.total, i == 2 ? ENTITY_COUNT_MAX : 9800 + more[i]);
        assert_int_equal(p.at_least, i == 2);
        entity_page_fini(&p);
    }
    q.count = ENTITY_COUNT_EXACT;
    entity_page_init(&p, 1 << 20);
    assert_int_equal(entity_query(x->f->reader, x->d, "many", &q, &p, NULL), 0);
    assert_int_equal(p.total, 10001);
    assert_false(p.at_least);
    entity_page_fini(&p);
    assert_int_equal(db_exec(x->f->writer, "DELETE FROM entity_Thing WHERE tenant = 'many'", NULL),
                     0);
}

static void pages_have_a_size_and_an_end(void **state)
{
    struct fixture *x = *state;
    struct entity_page p;
    json_decref(ask(x, &(struct entity_query){.page = 0}, &p));
    assert_int_equal(p.page_size, 50);
    assert_int_equal(p.count, 50);
    entity_page_fini(&p);
    json_decref(ask(x, &(struct entity_query){.page_size = 200}, &p));
    assert_int_equal(p.count, 200);
    entity_page_fini(&p);
    /* Row 10 000 itself is still reached by number. */
    json_decref(ask(x, &(struct entity_query){.page = 50, .page_size = 200}, &p));
    entity_page_fini(&p);
    assert_int_equal(refused(x, &(struct entity_query){.page = 51, .page_size = 200}, "cursor"),
                     ERR_TOO_LARGE);
    assert_int_equal(refused(x, &(struct entity_query){.page = 10001, .page_size = 1}, "cursor"),
                     ERR_TOO_LARGE);
}

/* All rows of a scan in batches of `bytes`; the place of the n-th batch in `cursor`. */
static void scan(struct fixture *x, const struct entity_query *q, size_t bytes, struct buf *out,
                 size_t stop, struct buf *cursor)
{
    struct entity_scan *s;
    struct err e = ERR_INIT;
    if (entity_scan_open(x->f->reader, x->d, "default", q, &s, &e) != 0)
        fail_msg("%s", e.text);
    int rc = 1;
    for (size_t i = 0; rc > 0 && i < stop; i++) {
        rc = entity_scan_next(s, bytes, out, &e);
        assert_true(rc >= 0);
    }
    assert_int_equal(rc, stop == SIZE_MAX ? 0 : 1);
    if (cursor != NULL)
        buf_add(cursor, entity_scan_cursor(s)->data, entity_scan_cursor(s)->len);
    entity_scan_close(s);
}

static void a_scan_gives_all_rows_of_one_snapshot_and_can_be_left_and_resumed(void **state)
{
    struct fixture *x = *state;
    struct filter *f = filter(x, "{\"name\":{\"$ne\":\"n3\"}}");
    struct entity_query q = {.filter = f, .sort = "-n,name", .fields = "n"};
    struct buf whole = BUF_INIT(1 << 20), parts = BUF_INIT(1 << 20), cursor = BUF_INIT(1 << 20);
    scan(x, &q, 1 << 20, &whole, SIZE_MAX, NULL);
    scan(x, &q, 100, &parts, SIZE_MAX, NULL);
    assert_string_equal(buf_str(&whole), buf_str(&parts));
    buf_reset(&parts);
    scan(x, &q, 200, &parts, 5, &cursor);
    q.cursor = cursor.data;
    q.cursor_len = cursor.len;
    scan(x, &q, 100, &parts, SIZE_MAX, NULL);
    assert_string_equal(buf_str(&whole), buf_str(&parts));
    buf_fini(&whole);
    buf_fini(&parts);
    buf_fini(&cursor);
    filter_free(f);
    /* What is written while it runs is not seen. */
    struct entity_scan *s;
    struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(entity_scan_open(x->f->reader, x->d, "default",
                                      &(struct entity_query){.sort = "-id"}, &s, NULL),
                     0);
    assert_int_equal(entity_scan_next(s, 1, &out, NULL), 1);
    assert_int_equal(entity_db_save(x->f, x->d, "000new", ENTITY_CREATE, 0, "{}", NULL), 0);
    assert_int_equal(entity_scan_next(s, 1 << 20, &out, NULL), 0);
    assert_null(strstr(buf_str(&out), "000new"));
    entity_scan_close(s);
    buf_fini(&out);
    assert_int_equal(entity_db_remove(x->f, x->d, "000new", 0, NULL), 0);
    /* It is refused like a query, and leaves the connection free. */
    assert_int_equal(entity_scan_open(x->f->reader, x->d, "default",
                                      &(struct entity_query){.sort = "nmae"}, &s, NULL),
                     ERR_INVALID);
    struct entity_query low = {.sort = "r", .visit_max = 20};
    assert_int_equal(entity_scan_open(x->f->reader, x->d, "default", &low, &s, NULL), 0);
    struct buf none = BUF_INIT(1 << 20);
    assert_int_equal(entity_scan_next(s, 1 << 20, &none, NULL), ERR_TOO_LARGE);
    entity_scan_close(s);
    buf_fini(&none);
    int64_t n;
    assert_int_equal(
        entity_count(x->f->reader, x->d, "default", &(struct entity_query){.q = NULL}, &n, NULL),
        0);
    assert_int_equal(n, ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sort_pages_without_gap_or_repeat),
        cmocka_unit_test(counts_follow_their_mode),
        cmocka_unit_test(a_count_ends_at_ten_thousand_unless_it_is_to_be_exact),
        cmocka_unit_test(pages_have_a_size_and_an_end),
        cmocka_unit_test(only_some_fields_are_given),
        cmocka_unit_test(what_cannot_be_asked_is_refused),
        cmocka_unit_test(many_records_come_in_the_order_asked_for),
        cmocka_unit_test(an_index_serves_filter_and_sort),
        cmocka_unit_test(a_question_that_visits_too_much_is_stopped_and_told_what_index_it_lacks),
        cmocka_unit_test(a_question_that_runs_too_long_is_stopped),
        cmocka_unit_test(a_scan_gives_all_rows_of_one_snapshot_and_can_be_left_and_resumed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
