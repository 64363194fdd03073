#include "job/job_priv.h"
#include "support/job_lab.h"
#include "support/unit.h"

TEST(a_declaration_is_kept_and_read_back)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    struct job_def d;
    json_t *all = NULL;
    job_lab_open(&l, 1);
    job_lab_declare(&l, "nightly", "{\"every\":\"1h\",\"lane\":\"bulk\"}");
    job_lab_declare(&l, "report", "{}");
    assert_int_equal(job_def_get(l.db, "nightly", &d, &e), 0);
    assert_string_equal(d.lane, "bulk");
    job_def_fini(&d);
    assert_refused(job_def_get(l.db, "nobody", &d, &e), ERR_NOT_FOUND, "no job 'nobody'");
    assert_int_equal(job_defs_read(l.db, &all, &e), 0);
    assert_int_equal(json_object_size(all), 2);
    json_decref(all);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(what_says_the_same_changes_nothing)
{
    struct job_lab l;
    job_lab_open(&l, 2);
    job_lab_declare(&l, "nightly", "{\"every\":\"1h\",\"lane\":\"bulk\"}");
    int64_t at = job_lab_number(&l, "SELECT at FROM job_defs");
    job_lab_run(&l, 5000);
    job_lab_declare(&l, "nightly", "{\"lane\":\"bulk\",\"every\":\"1h\"}");
    assert_true(job_lab_number(&l, "SELECT at FROM job_defs") == at);
    job_lab_declare(&l, "nightly", "{\"lane\":\"bulk\",\"every\":\"2h\"}");
    assert_true(job_lab_number(&l, "SELECT at FROM job_defs") > at);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(a_job_that_nobody_declares_any_more_is_orphaned)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    struct job_def d;
    json_t *list = NULL, *all = NULL;
    bool more;
    job_lab_open(&l, 3);
    job_lab_declare(&l, "nightly", "{\"every\":\"1h\"}");
    job_lab_declare(&l, "nightly", NULL);
    job_lab_declare(&l, "never", NULL);
    assert_refused(job_def_get(l.db, "nightly", &d, &e), ERR_NOT_FOUND, "orphaned");
    assert_int_equal(job_defs_read(l.db, &all, &e), 0);
    assert_int_equal(json_object_size(all), 0);
    assert_int_equal(job_defs_list(l.db, NULL, 10, &list, &more, &e), 0);
    assert_false(more);
    assert_int_equal(json_array_size(list), 1);
    assert_true(json_is_true(json_object_get(json_array_get(list, 0), "orphaned")));
    json_decref(list);
    json_decref(all);
    job_lab_close(&l);
}

TEST(jobs_are_listed_in_pages)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    json_t *list = NULL;
    bool more;
    job_lab_open(&l, 4);
    job_lab_declare(&l, "b", "{}");
    job_lab_declare(&l, "a", "{}");
    job_lab_declare(&l, "c", "{}");
    assert_int_equal(job_defs_list(l.db, NULL, 2, &list, &more, &e), 0);
    assert_true(more);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    assert_int_equal(job_defs_list(l.db, "b", 2, &list, &more, &e), 0);
    assert_false(more);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "c");
    json_decref(list);
    job_lab_close(&l);
}

TEST(payloads_that_are_none_are_refused)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 5);
    struct txn *t = job_lab_txn(&l);
    buf_add_text(txn_begin(t, JOB_OP_DECLARE, 1), "a");
    txn_end(t);
    assert_refused(job_lab_do(&l, &e), ERR_INVALID, "job.declare: malformed payload");
    assert_int_equal(job_txn_declare(job_lab_txn(&l), "9", NULL, &e), ERR_INVALID);
    unit_fini(&l.unit);
    job_lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_declaration_is_kept_and_read_back),
        HEAP_TEST(what_says_the_same_changes_nothing),
        HEAP_TEST(a_job_that_nobody_declares_any_more_is_orphaned),
        HEAP_TEST(jobs_are_listed_in_pages),
        HEAP_TEST(payloads_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
