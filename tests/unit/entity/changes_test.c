#include "entity/changes.h"

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

static const char note[] = "{\"name\":\"Note\",\"fields\":{\"text\":{\"kind\":\"text\"},"
                           "\"code\":{\"kind\":\"text\",\"unique\":true}}}";

struct fixture {
    struct entity_db *f;
    struct entity_def *d;
    struct buf seen; /* "seq verb id version;" */
    uint64_t applied;
};

static int setup(void **state)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.d = entity_db_must_define(x.f, note);
    buf_init(&x.seen, 1 << 20);
    *state = &x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    buf_fini(&x->seen);
    entity_def_unref(x->d);
    entity_db_close(x->f);
    return 0;
}

static void save(struct fixture *x, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    if (entity_db_save(x->f, x->d, id, ENTITY_UPSERT, 0, doc, &e) != 0)
        fail_msg("%s: %s", id, e.text);
}

static int note_row(void *arg, uint64_t seq, const void *p, size_t n)
{
    static const char *const verbs[] = {"+", "=", "-"};
    struct fixture *x = arg;
    struct cursor c;
    struct entity_change change;
    cursor_init(&c, p, n);
    while (entity_change_next(&c, &change)) {
        const struct entity_state *s = change.after.body != NULL ? &change.after : &change.before;
        buf_addf(&x->seen, "%llu%s%.*s%llu;", (unsigned long long)seq, verbs[change.verb],
                 (int)change.id_len, change.id, (unsigned long long)s->version);
    }
    assert_false(c.bad);
    return 0;
}

static const char *behind(struct fixture *x, uint64_t after)
{
    struct err e = ERR_INIT;
    buf_reset(&x->seen);
    if (entity_changes_each(x->f->reader, after, note_row, x, &x->applied, &e) != 0)
        fail_msg("%s", e.text);
    return buf_str(&x->seen);
}

static void every_change_is_there_once_under_its_position(void **state)
{
    struct fixture *x = *state; /* position 1 is the definition */
    save(x, "a", "{\"text\":\"1\"}");
    save(x, "a", "{\"text\":\"1\"}"); /* changes nothing */
    save(x, "a", "{\"text\":\"2\"}");
    entity_db_remove(x->f, x->d, "a", 0, NULL);
    assert_string_equal(behind(x, 0), "2+a1;4=a2;5-a2;");
    assert_int_equal(x->applied, 5);
    assert_string_equal(behind(x, 2), "4=a2;5-a2;");
    assert_string_equal(behind(x, 5), "");
}

static void a_unit_that_was_refused_leaves_nothing(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    struct entity_doc doc;
    struct txn t;
    save(x, "a", "{\"code\":\"k\"}");
    entity_doc_init(&doc);
    json_t *j = entity_db_json("{\"code\":\"k\"}"), *other = entity_db_json("{\"code\":\"l\"}");
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    assert_int_equal(entity_doc_make(x->d, other, 0, &doc, NULL, NULL), 0);
    entity_txn_save(&t, x->d, "b", ENTITY_CREATE, 0, &doc);
    assert_int_equal(entity_doc_make(x->d, j, 0, &doc, NULL, NULL), 0);
    entity_txn_save(&t, x->d, "c", ENTITY_CREATE, 0, &doc);
    assert_int_equal(entity_db_apply(x->f, &t, &e), ERR_CONFLICT);
    entity_doc_fini(&doc);
    json_decref(j);
    json_decref(other);
    save(x, "d", "{}");
    assert_string_equal(behind(x, 1), "2+a1;4+d1;");
}

static void a_change_tells_the_record_before_and_after(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{\"text\":\"1\"}");
    json_t *first = entity_db_get(x->f, x->d, "a");
    x->f->at += 1000;
    save(x, "a", "{\"text\":\"2\"}");
    json_t *second = entity_db_get(x->f, x->d, "a");
    struct db_stmt *s =
        db_stmt_get(x->f->reader, "SELECT data FROM local_changes ORDER BY seq DESC LIMIT 1", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    size_t n;
    const void *p = db_col_blob(s, 0, &n);
    struct cursor c;
    struct entity_change change;
    cursor_init(&c, p, n);
    assert_true(entity_change_next(&c, &change));
    const struct entity_state *states[] = {&change.before, &change.after};
    json_t *wanted[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        struct buf text = BUF_INIT(1 << 20);
        entity_change_record(&change, states[i], &text);
        json_t *got = entity_db_json(buf_str(&text));
        assert_true(json_equal(got, wanted[i]));
        json_decref(got);
        json_decref(wanted[i]);
        buf_fini(&text);
    }
    assert_false(entity_change_next(&c, &change));
    db_stmt_done(s);
}

static void what_is_too_old_is_gone_and_said_so(void **state)
{
    struct fixture *x = *state;
    struct err e = ERR_INIT;
    save(x, "a", "{}");
    x->f->at += ENTITY_CHANGES_MS;
    save(x, "b", "{}");
    assert_string_equal(behind(x, 0), "2+a1;3+b1;");
    x->f->at += 1;
    save(x, "c", "{}");
    assert_int_equal(entity_changes_each(x->f->reader, 1, note_row, x, &x->applied, &e), ERR_GONE);
    assert_non_null(strstr(e.text, "from position 2 on"));
    assert_string_equal(behind(x, 2), "3+b1;4+c1;");
}

static void a_torn_row_is_read_no_further(void **state)
{
    struct fixture *x = *state;
    save(x, "a", "{\"text\":\"1\"}");
    save(x, "a", "{\"text\":\"2\"}");
    struct db_stmt *s =
        db_stmt_get(x->f->reader, "SELECT data FROM local_changes ORDER BY seq DESC LIMIT 1", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    size_t n;
    const char *p = db_col_blob(s, 0, &n);
    for (size_t cut = 1; cut < n; cut++) {
        struct cursor c;
        struct entity_change change;
        cursor_init(&c, p, cut);
        assert_false(entity_change_next(&c, &change));
        assert_true(c.bad);
    }
    db_stmt_done(s);
}

static void an_entity_may_keep_quiet(void **state)
{
    struct fixture *x = *state;
    struct entity_def *quiet = entity_db_must_define(
        x->f, "{\"name\":\"Quiet\",\"feed\":false,\"fields\":{\"n\":{\"kind\":\"int\"}}}");
    entity_db_save(x->f, quiet, "q", ENTITY_CREATE, 0, "{}", NULL);
    assert_string_equal(behind(x, 0), "");
    entity_def_unref(quiet);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_change_is_there_once_under_its_position),
        TEST(a_unit_that_was_refused_leaves_nothing),
        TEST(a_change_tells_the_record_before_and_after),
        TEST(what_is_too_old_is_gone_and_said_so),
        TEST(a_torn_row_is_read_no_further),
        TEST(an_entity_may_keep_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
