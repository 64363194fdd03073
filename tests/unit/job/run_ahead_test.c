/* Steps and the end of a run in one unit: the end reckons with what stands in front of it. */
#include "job/run.h"

#include <string.h>

#include "support/run_kit.h"
#include "support/unit.h"

struct ahead_how {
    const char *names[3]; /* of steps; an undo where it begins with 'u' */
    enum core_outcome outcome;
};

static int ahead_do(struct run_kit *f, uint32_t n, struct ahead_how how)
{
    struct core_settle s = run_kit_settlement(f, n, how.outcome);
    struct job_run row = run_kit_row_of(f, n);
    struct job_ahead ahead = {.job = "a", .args = "{\"n\":1}", .args_len = 7};
    struct txn *t = job_lab_txn(&f->l);
    struct job_step step = {.run = run_kit_id_of(n),
                            .job = "a",
                            .ordinal = row.steps,
                            .result = "1",
                            .result_len = 1,
                            .args = ahead.args,
                            .args_len = ahead.args_len};
    for (size_t i = 0; i < ARRAY_LEN(how.names) && how.names[i] != NULL; i++) {
        step.ordinal++;
        step.name = how.names[i];
        step.undo = *step.name == 'u';
        ahead.undo += step.undo;
        run_kit_must(f, job_txn_step(t, &step, &f->e));
    }
    struct job_end x = {
        .run = step.run, .settle = &s, .make_id = run_kit_make_id, .arg = f, .ahead = &ahead};
    run_kit_must(f, job_txn_end(t, f->l.db, &x, &f->e));
    return job_lab_do(&f->l, &f->e);
}

static void ahead_open(struct run_kit *f, const char *definition)
{
    run_kit_open(f);
    job_lab_declare(&f->l, "a", definition);
    job_lab_declare(&f->l, "b", "{}");
    run_kit_worker_open(f);
    run_kit_submit(f, "a", 1, .args = "{\"n\":1}");
}

TEST(a_plain_run_stores_a_step_and_ends_in_one_unit) /* J2 J3 */
{
    struct run_kit f;
    ahead_open(&f, "{}");
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"one", "two"}, SETTLE_ACK}));
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_COMPLETED);
    assert_int_equal(run_kit_row_of(&f, 1).steps, 2);
    assert_int_equal(run_kit_state_of(&f, 1), REC_COMPLETED);
    run_kit_close(&f);
}

TEST(steps_that_come_with_the_end_are_undone) /* J2 */
{
    struct run_kit f;
    ahead_open(&f, "{}");
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"u1", "two", "u3"}, SETTLE_REJECT}));
    struct job_run row = run_kit_row_of(&f, 1);
    assert_int_equal(row.state, JOB_RUN_DISCARDED);
    assert_true(row.has_undo);
    assert_int_equal(row.undoable, 2);
    assert_int_equal(run_kit_state_of(&f, 1000), REC_EXECUTING);
    run_kit_close(&f);
}

TEST(so_are_those_of_a_run_that_has_a_row_and_a_chain) /* J3 */
{
    struct run_kit f;
    ahead_open(&f, "{\"chain\":[\"b\"],\"on_failure\":\"continue\"}");
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"u1"}, SETTLE_REJECT}));
    assert_true(run_kit_row_of(&f, 1).has_undo);
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_completed_run_is_not_undone_whatever_comes_with_its_end)
{
    struct run_kit f;
    ahead_open(&f, "{\"chain\":[\"b\"]}");
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"u1"}, SETTLE_ACK}));
    assert_false(run_kit_row_of(&f, 1).has_undo);
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(one_that_was_retried_keeps_its_steps_and_ends_with_more)
{
    struct run_kit f;
    ahead_open(&f, "{}");
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"u1"}, SETTLE_NACK}));
    assert_int_equal(run_kit_row_of(&f, 1).steps, 1);
    job_lab_run(&f.l, 10 * 1000);
    run_kit_must(&f, ahead_do(&f, 1, (struct ahead_how){{"u2"}, SETTLE_REJECT}));
    assert_int_equal(run_kit_row_of(&f, 1).undoable, 2);
    assert_true(run_kit_row_of(&f, 1).has_undo);
    run_kit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_plain_run_stores_a_step_and_ends_in_one_unit),
        HEAP_TEST(steps_that_come_with_the_end_are_undone),
        HEAP_TEST(so_are_those_of_a_run_that_has_a_row_and_a_chain),
        HEAP_TEST(a_completed_run_is_not_undone_whatever_comes_with_its_end),
        HEAP_TEST(one_that_was_retried_keeps_its_steps_and_ends_with_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
