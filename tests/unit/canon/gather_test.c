/* New rows of an entry are kept back until its end: nobody can tell. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "db/db.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"m\":{\"kind\":\"text\"},"
    "\"age\":{\"kind\":\"int\"}}}";
static const char *const person_model =
    "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]"
    "},"
    "{\"name\":\"m\",\"parts\":[{\"field\":\"m\"}]},"
    "{\"name\":\"both\",\"parts\":[{\"field\":\"k\"},{\"field\":\"m\"}]}]}";

/* New ones; a second one of a record that is new in the same entry; one that joins two; the same
 * source again, with news and as it was; keys that are written with escapes; one without keys. */
static const struct lab_arrival list[] = {
    {"s", "1", 1, "{\"k\":\"a\"}"},
    {"s", "2", 1, "{\"m\":\"b\"}"},
    {"s", "3", 1, "{\"k\":\"a\",\"age\":3}"},
    {"s", "4", 1, "{\"k\":\"a\",\"m\":\"b\"}"},
    {"s", "5", 1, "{\"k\":\"c\\\"\\\\\\u00e4\\u0001\",\"m\":\"\\u001f\\u007f\"}"},
    {"s", "1", 2, "{\"k\":\"d\",\"age\":4}"},
    {"s", "1", 2, "{\"k\":\"d\",\"age\":4}"},
    {"s", NULL, 1, "{\"age\":5}"},
    {"s", "6", 1, "{\"m\":\"\\u001f\\u007f\",\"age\":6}"},
    {"t", "6", 1, "{\"k\":\"e\"}"},
};

static void check_hash(struct canon_lab *lab)
{
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(lab->reader, &scan, NULL), 0);
    assert_true((uint64_t)lab_number(lab, "SELECT hash FROM local_meta") == scan);
}

/* What is there afterwards, but ids and times; the caller frees it. */
static char *rows(struct canon_lab *lab)
{
    static const char *const sql[] = {
        "SELECT count(*) FROM canon_arrival",
        "SELECT count(*) FROM canon_arrival WHERE golden IS NOT NULL",
        "SELECT count(DISTINCT golden) FROM canon_arrival",
        "SELECT count(*) FROM canon_source",
        "SELECT sum(length(fields) + length(keys) + coalesce(length(ever), 0)) FROM canon_source",
        "SELECT count(*) FROM canon_key",
        "SELECT sum(length(key) * unicode(substr(key, -1))) FROM canon_key",
        "SELECT count(*) FROM canon_key AS k JOIN canon_golden AS g ON g.id = k.golden WHERE "
        "g.merged_into IS NULL",
        "SELECT count(*) FROM canon_golden",
        "SELECT count(*) FROM canon_golden WHERE merged_into IS NOT NULL",
        "SELECT sum(lifecycle) FROM canon_golden",
    };
    struct buf b;
    buf_init(&b, 65536);
    for (size_t i = 0; i < ARRAY_LEN(sql); i++)
        buf_addf(&b, "%lld ", (long long)lab_number(lab, sql[i]));
    char *state = lab_state(lab, "P");
    buf_adds(&b, state);
    mem_free(state);
    return buf_take(&b);
}

static char *rows_of_requests(size_t each, uint64_t *entries)
{
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    *entries = 0;
    uint64_t last = 0;
    for (size_t at = 0; at < ARRAY_LEN(list); at += each) {
        struct lab_request q;
        lab_send(&lab, 0, "P", &q, list + at, each);
        lab_wait(&lab, &q);
        for (size_t i = 0; i < each; i++) {
            *entries += q.arrivals[i].seq > last;
            last = q.arrivals[i].seq > last ? q.arrivals[i].seq : last;
        }
        lab_request_fini(&q);
        check_hash(&lab);
    }
    char *all = rows(&lab);
    lab_close(&lab);
    return all;
}

TEST(arrivals_of_one_entry_leave_what_they_leave_in_one_entry_each) /* C1 C5 L3 */
{
    uint64_t many, few;
    char *alone = rows_of_requests(1, &many), *together = rows_of_requests(ARRAY_LEN(list), &few);
    assert_string_equal(alone, together);
    assert_true(few < many); /* else nothing was tried */
    mem_free(alone);
    mem_free(together);
}

TEST(what_two_engines_send_into_one_entry_keeps_one_owner_for_each_key) /* C2 */
{
    struct canon_lab lab;
    struct lab_request q[2];
    lab_open(&lab, person, person_model);
    for (int i = 0; i < 2; i++)
        lab_send(&lab, i, "P", &q[i], list + 5 * i, 5);
    for (int i = 0; i < 2; i++)
        lab_wait(&lab, &q[i]);
    for (int i = 0; i < 2; i++)
        lab_request_fini(&q[i]);
    check_hash(&lab);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source"), 7);
    assert_int_equal(
        lab_number(&lab, "SELECT count(*) FROM canon_key AS k WHERE NOT EXISTS (SELECT 1 FROM "
                         "canon_golden AS g WHERE g.id = k.golden AND g.merged_into IS NULL)"),
        0);
    char *golden = lab_state(&lab, "P");
    assert_non_null(strstr(golden, "s/1 s/2 s/3 s/4 =>"));
    assert_non_null(strstr(golden, "s/5 s/6 =>"));
    mem_free(golden);
    lab_close(&lab);
}

static int warm_up(void **state)
{
    (void)state;
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(arrivals_of_one_entry_leave_what_they_leave_in_one_entry_each),
        HEAP_TEST(what_two_engines_send_into_one_entry_keeps_one_owner_for_each_key),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
