/* Runs: their rows, chains and fan-ins, on a ledger in a simulated world. */
#include "job/run.h"

#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "support/run_kit.h"
#include "support/unit.h"

/* ---- rows ---- */

TEST(a_plain_run_is_a_message_and_has_no_row)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    assert_int_equal(run_kit_state_of(&f, 1), REC_EXECUTING);
    assert_int_equal(run_kit_count(&f, "job_runs"), 0);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_state_of(&f, 1), REC_COMPLETED);
    assert_int_equal(run_kit_count(&f, "job_runs"), 0);
    run_kit_close(&f);
}

/* ---- chains ---- */

TEST(the_next_of_a_chain_begins_in_the_unit_that_ends_the_one_before) /* J3 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\",\"c\"]}");
    job_lab_declare(&f.l, "b", "{}");
    job_lab_declare(&f.l, "c", "{}");
    run_kit_submit(&f, "a", 1, .args = "{\"day\":\"x\"}");
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_OPEN);
    run_kit_worker_open(&f);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_COMPLETED);
    assert_int_equal(run_kit_state_of(&f, 1000), REC_EXECUTING);
    assert_string_equal(run_kit_row_of(&f, 1000).job, "b");
    run_kit_must(&f, run_kit_settle(&f, 1000, SETTLE_ACK));
    assert_int_equal(run_kit_records(&f, "c", REC_EXECUTING), 1);
    run_kit_must(
        &f,
        run_kit_settle(&f, 1001, SETTLE_ACK)); /* the last one has no row, and nothing behind it */
    assert_int_equal(run_kit_count(&f, "job_runs WHERE state = 1"), 0);
    assert_int_equal(f.made, 2);
    run_kit_close(&f);
}

TEST(an_end_that_was_built_twice_comes_through_once) /* J3 */
{
    struct run_kit f;
    struct job_end first, second;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "a", 1);
    run_kit_worker_open(&f);
    struct core_settle s = run_kit_settlement(&f, 1, SETTLE_ACK);
    run_kit_must(&f, run_kit_end_build(&f, &s, &first));
    struct buf bytes = BUF_INIT(1 << 20);
    buf_add(&bytes, f.l.unit.txn.body.data, f.l.unit.txn.body.len);
    uint32_t ops = f.l.unit.txn.ops;
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    /* The very same once more: the settle itself is fenced. */
    struct txn *t = job_lab_txn(&f.l);
    buf_add(&t->body, bytes.data, bytes.len);
    t->ops = ops;
    buf_fini(&bytes);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_FENCED);
    assert_int_equal(run_kit_end_build(&f, &s, &second), 0);
    assert_false(second.has_row); /* it has ended: nothing but the settle */
    unit_fini(&f.l.unit);
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_failure_ends_a_chain_unless_it_is_to_go_on) /* J3 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "stops", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "goes", "{\"chain\":[\"b\"],\"on_failure\":\"continue\"}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "stops", 1);
    run_kit_submit(&f, "goes", 2);
    run_kit_worker_open(&f);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_REJECT));
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 0);
    run_kit_must(&f, run_kit_settle(&f, 2, SETTLE_REJECT));
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_cancel_stops_the_chain_also_of_one_that_completes)
{
    struct run_kit f;
    struct job_end x;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"],\"on_failure\":\"continue\"}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "a", 1);
    run_kit_worker_open(&f);
    /* The settle is built before the cancel, and proposed behind it. */
    struct core_settle s = run_kit_settlement(&f, 1, SETTLE_ACK);
    run_kit_must(&f, run_kit_end_build(&f, &s, &x));
    struct buf bytes = BUF_INIT(1 << 20);
    uint32_t ops = f.l.unit.txn.ops;
    buf_add(&bytes, f.l.unit.txn.body.data, f.l.unit.txn.body.len);
    unit_fini(&f.l.unit);
    struct uuid id = run_kit_id_of(1);
    job_txn_cancel(job_lab_txn(&f.l), &id, NULL, NULL);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    struct txn *t = job_lab_txn(&f.l);
    buf_add(&t->body, bytes.data, bytes.len);
    t->ops = ops;
    buf_fini(&bytes);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    assert_true(job_end_is_stale(&f.l.unit, &x));
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_state_of(&f, 1), REC_COMPLETED);
    assert_int_equal(
        run_kit_records(&f, "b", REC_AVAILABLE) + run_kit_records(&f, "b", REC_EXECUTING), 0);
    run_kit_close(&f);
}

TEST(the_last_of_a_chain_goes_on_with_its_own)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    job_lab_declare(&f.l, "b", "{\"chain\":[\"c\"]}");
    job_lab_declare(&f.l, "c", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1, .chain = "[\"b\"]");
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    run_kit_must(&f, run_kit_settle(&f, 1000, SETTLE_ACK));
    assert_int_equal(run_kit_records(&f, "c", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_chain_into_a_job_that_nobody_declares_waits_there)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"gone\"]}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_records(&f, "gone", REC_AVAILABLE), 1);
    run_kit_close(&f);
}

/* ---- fan-in ---- */

TEST(the_last_of_a_fan_out_submits_what_comes_then_with_the_counts) /* J3 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    job_lab_declare(&f.l, "done", "{}");
    run_kit_worker_open(&f);
    run_kit_fan_out(&f, 50, 3);
    run_kit_must(&f, run_kit_settle(&f, 51, SETTLE_ACK));
    run_kit_must(&f, run_kit_settle(&f, 52, SETTLE_REJECT));
    assert_int_equal(run_kit_state_of(&f, 50), 0);
    run_kit_must(&f, run_kit_settle(&f, 53, SETTLE_ACK));
    assert_int_equal(run_kit_state_of(&f, 50),
                     REC_EXECUTING); /* the id of the fan-out is that of its run */
    /* No run with this id is its parent: the counter is of no use any more. */
    assert_int_equal(run_kit_count(&f, "job_fans"), 0);
    run_kit_close(&f);
}

TEST(of_two_that_both_were_to_be_the_second_last_one_is_the_last) /* J3 */
{
    struct run_kit f;
    struct job_end x;
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    job_lab_declare(&f.l, "done", "{}");
    run_kit_worker_open(&f);
    run_kit_fan_out(&f, 50, 2);
    struct core_settle a = run_kit_settlement(&f, 51, SETTLE_ACK);
    run_kit_must(&f, run_kit_end_build(&f, &a, &x));
    struct buf bytes = BUF_INIT(1 << 20);
    uint32_t ops = f.l.unit.txn.ops;
    buf_add(&bytes, f.l.unit.txn.body.data, f.l.unit.txn.body.len);
    unit_fini(&f.l.unit);
    run_kit_must(&f, run_kit_settle(&f, 52, SETTLE_ACK));
    struct txn *t = job_lab_txn(&f.l);
    buf_add(&t->body, bytes.data, bytes.len);
    t->ops = ops;
    buf_fini(&bytes);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    assert_true(job_end_is_stale(&f.l.unit, &x));
    assert_int_equal(run_kit_state_of(&f, 51), REC_EXECUTING); /* nothing of it happened */
    run_kit_must(&f, run_kit_settle(&f, 51, SETTLE_ACK));
    assert_int_equal(run_kit_records(&f, "done", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_child_that_is_run_again_is_counted_once) /* J3 */
{
    struct run_kit f;
    struct uuid child = run_kit_id_of(51);
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    job_lab_declare(&f.l, "done", "{}");
    run_kit_worker_open(&f);
    run_kit_fan_out(&f, 50, 2);
    run_kit_must(&f, run_kit_settle(&f, 51, SETTLE_REJECT));
    job_txn_retry(job_lab_txn(&f.l), &child, NULL, NULL);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    run_kit_must(&f, run_kit_settle(&f, 51, SETTLE_ACK));
    assert_int_equal(run_kit_state_of(&f, 50), 0);
    run_kit_must(&f, run_kit_settle(&f, 52, SETTLE_ACK));
    assert_int_equal(run_kit_records(&f, "done", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_fan_out_of_nothing_is_done_at_once)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "done", "{}");
    run_kit_fan_out(&f, 50, 0);
    assert_int_equal(run_kit_state_of(&f, 50), REC_AVAILABLE);
    assert_int_equal(run_kit_count(&f, "job_fans"), 0);
    run_kit_close(&f);
}

TEST(a_fan_out_takes_no_run_that_may_be_another)
{
    struct run_kit f;
    struct uuid fan = run_kit_id_of(50);
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    struct txn *t = job_lab_txn(&f.l);
    assert_int_equal(
        run_kit_submit_with(&f, t, "child", 51, (struct run_how){.fan = &fan, .unique = "u"}),
        ERR_INVALID);
    assert_string_equal(f.e.field, "unique");
    unit_fini(&f.l.unit);
    run_kit_close(&f);
}

TEST(a_run_of_a_fan_out_that_is_not_there_is_refused)
{
    struct run_kit f;
    struct uuid fan = run_kit_id_of(50);
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    run_kit_must(
        &f, run_kit_submit_with(&f, job_lab_txn(&f.l), "child", 51, (struct run_how){.fan = &fan}));
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    assert_int_equal(run_kit_state_of(&f, 51), 0);
    run_kit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_plain_run_is_a_message_and_has_no_row),
        HEAP_TEST(the_next_of_a_chain_begins_in_the_unit_that_ends_the_one_before),
        HEAP_TEST(an_end_that_was_built_twice_comes_through_once),
        HEAP_TEST(a_failure_ends_a_chain_unless_it_is_to_go_on),
        HEAP_TEST(a_cancel_stops_the_chain_also_of_one_that_completes),
        HEAP_TEST(the_last_of_a_chain_goes_on_with_its_own),
        HEAP_TEST(a_chain_into_a_job_that_nobody_declares_waits_there),
        HEAP_TEST(the_last_of_a_fan_out_submits_what_comes_then_with_the_counts),
        HEAP_TEST(of_two_that_both_were_to_be_the_second_last_one_is_the_last),
        HEAP_TEST(a_child_that_is_run_again_is_counted_once),
        HEAP_TEST(a_fan_out_of_nothing_is_done_at_once),
        HEAP_TEST(a_fan_out_takes_no_run_that_may_be_another),
        HEAP_TEST(a_run_of_a_fan_out_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
