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
    assert_refused(job_def_get(l.db, "reprot", &d, &e), ERR_NOT_FOUND,
                   "no job 'reprot'; did you mean 'report'?");
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
    json_t *all = NULL;
    job_lab_open(&l, 3);
    job_lab_declare(&l, "nightly", "{\"every\":\"1h\"}");
    job_lab_declare(&l, "nightly", NULL);
    job_lab_declare(&l, "never", NULL);
    assert_refused(job_def_get(l.db, "nightly", &d, &e), ERR_NOT_FOUND, "orphaned");
    assert_int_equal(job_defs_read(l.db, &all, &e), 0);
    assert_int_equal(json_object_size(all), 0);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_defs"), 1);
    json_decref(all);
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
        HEAP_TEST(payloads_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
