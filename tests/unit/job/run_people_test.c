/* Cancel and retry with a reason, and what is kept of it. */
#include <string.h>

#include "base/json.h"
#include "job/run.h"
#include "support/run_kit.h"
#include "support/unit.h"

static int people_do(struct run_kit *f, bool retry, const char *job, const char *reason)
{
    struct uuid id = run_kit_id_of(1);
    struct job_why why = {job, reason};
    struct txn *t = job_lab_txn(&f->l);
    int rc = retry ? job_txn_retry(t, &id, &why, &f->e) : job_txn_cancel(t, &id, &why, &f->e);
    if (rc != 0) {
        unit_fini(&f->l.unit);
        return rc;
    }
    return job_lab_do(&f->l, &f->e);
}

TEST(a_reason_gives_a_plain_run_a_row_which_ends_with_its_record)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1);
    run_kit_must(&f, people_do(&f, false, "a", "not wanted"));
    assert_int_equal(run_kit_count(&f, "job_history WHERE verb = 1 AND reason = 'not wanted'"), 1);
    assert_true(run_kit_row_of(&f, 1).stopped);
    run_kit_must(&f, people_do(&f, true, "a", "wanted"));
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_OPEN);
    run_kit_worker_open(&f);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_COMPLETED);
    assert_int_equal(run_kit_count(&f, "job_history"), 2);
    run_kit_close(&f);
}

TEST(without_a_reason_nothing_is_kept)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1);
    run_kit_must(&f, people_do(&f, false, "a", NULL));
    run_kit_must(&f, people_do(&f, true, "a", ""));
    assert_int_equal(run_kit_count(&f, "job_runs"), 0);
    assert_int_equal(run_kit_count(&f, "job_history"), 0);
    run_kit_close(&f);
}

TEST(the_newest_reasons_are_kept)
{
    struct run_kit f;
    char reason[24];
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1);
    for (int i = 0; i < JOB_HISTORY_MAX + 4; i++) {
        snprintf(reason, sizeof reason, "turn %d", i);
        run_kit_must(&f, people_do(&f, i % 2 == 1, "a", reason));
    }
    assert_int_equal(run_kit_count(&f, "job_history"), JOB_HISTORY_MAX);
    assert_int_equal(run_kit_count(&f, "job_history WHERE reason = 'turn 3'"), 0);
    assert_int_equal(run_kit_count(&f, "job_history WHERE reason = 'turn 4'"), 1);
    run_kit_close(&f);
}

TEST(a_reason_for_the_run_of_another_job_is_refused_and_changes_nothing)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "a", 1);
    assert_int_equal(people_do(&f, false, "b", "x"), ERR_NOT_FOUND);
    assert_int_equal(run_kit_state_of(&f, 1), REC_AVAILABLE);
    assert_int_equal(run_kit_count(&f, "job_history"), 0);
    run_kit_close(&f);
}

TEST(a_reason_that_is_too_long_is_refused)
{
    struct run_kit f;
    char reason[JOB_REASON_BYTES + 2];
    memset(reason, 'x', sizeof reason);
    reason[JOB_REASON_BYTES + 1] = '\0';
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1);
    assert_int_equal(people_do(&f, false, "a", reason), ERR_INVALID);
    run_kit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_reason_gives_a_plain_run_a_row_which_ends_with_its_record),
        HEAP_TEST(without_a_reason_nothing_is_kept),
        HEAP_TEST(the_newest_reasons_are_kept),
        HEAP_TEST(a_reason_for_the_run_of_another_job_is_refused_and_changes_nothing),
        HEAP_TEST(a_reason_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
