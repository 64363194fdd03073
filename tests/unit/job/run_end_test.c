/* Runs: ends that nobody settles, steps, progress, rows that go. */
#include "job/run.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "support/run_kit.h"
#include "support/unit.h"

/* ---- ends that nobody settles ---- */

TEST(what_the_queue_ends_by_itself_is_followed) /* J3 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"],\"on_failure\":\"continue\",\"attempts\":1}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_worker_open(&f);
    job_lab_run(&f.l, SOON_MS);
    run_kit_submit(&f, "a", 1);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_NACK));
    assert_int_equal(run_kit_state_of(&f, 1), REC_DISCARDED);
    job_lab_run(&f.l, SOON_MS);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_DISCARDED);
    assert_int_equal(run_kit_records(&f, "b", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(a_timeout_counts_in_the_fan_in) /* J3 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{\"attempts\":1,\"timeout\":\"1s\"}");
    job_lab_declare(&f.l, "done", "{}");
    run_kit_worker_open(&f);
    run_kit_fan_out(&f, 50, 2);
    run_kit_must(&f, run_kit_settle(&f, 51, SETTLE_ACK));
    job_lab_run(&f.l, 2 * SOON_MS);
    assert_int_equal(run_kit_state_of(&f, 52), REC_DISCARDED);
    assert_int_equal(run_kit_records(&f, "done", REC_EXECUTING), 1);
    run_kit_close(&f);
}

TEST(an_end_that_was_not_followed_before_a_stop_is_after_it) /* J3 */
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(1);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"],\"on_failure\":\"continue\"}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "a", 1);
    run_kit_worker_open(&f);
    struct core_settle s = run_kit_settlement(&f, 1, SETTLE_REJECT);
    queue_txn_settle(job_lab_txn(&f.l), &s, NULL, 0, &f.e);
    run_kit_must(&f, job_lab_do(&f.l, &f.e)); /* by hand, without what follows */
    job_lab_restart(&f.l, 1000);
    job_lab_run(&f.l, SOON_MS);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_DISCARDED);
    assert_int_equal(
        run_kit_records(&f, "b", REC_AVAILABLE) + run_kit_records(&f, "b", REC_EXECUTING), 1);
    (void)id;
    run_kit_close(&f);
}

TEST(a_waiting_run_that_is_cancelled_never_executes) /* J5 */
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(1);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_submit(&f, "a", 1);
    job_txn_cancel(job_lab_txn(&f.l), &id, NULL, NULL);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    run_kit_worker_open(&f);
    job_lab_run(&f.l, SOON_MS);
    assert_int_equal(run_kit_state_of(&f, 1), REC_CANCELLED);
    assert_int_equal(run_kit_look(&f, id).deliveries, 0);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_CANCELLED);
    assert_int_equal(
        run_kit_records(&f, "b", REC_AVAILABLE) + run_kit_records(&f, "b", REC_EXECUTING), 0);
    run_kit_close(&f);
}

TEST(a_purged_run_counts_as_cancelled)
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(51);
    run_kit_open(&f);
    job_lab_declare(&f.l, "child", "{}");
    job_lab_declare(&f.l, "done", "{}");
    job_lab_run(&f.l, SOON_MS);
    run_kit_fan_out(&f, 50, 1);
    queue_txn_purge(job_lab_txn(&f.l), &id);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    job_lab_run(&f.l, SOON_MS);
    assert_int_equal(run_kit_row_of(&f, 51).state, JOB_RUN_CANCELLED);
    assert_int_equal(run_kit_records(&f, "done", REC_AVAILABLE), 1);
    run_kit_close(&f);
}

TEST(a_run_that_is_terminated_has_ended_and_what_its_worker_does_counts_no_more)
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(1);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    struct job_end x = {.run = id,
                        .outcome = JOB_CANCELLED,
                        .terminate = true,
                        .make_id = run_kit_make_id,
                        .arg = &f};
    struct txn *t = job_lab_txn(&f.l);
    queue_txn_cancel(t, &id);
    run_kit_must(&f, job_txn_end(t, f.l.db, &x, &f.e));
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_CANCELLED);
    assert_int_equal(run_kit_state_of(&f, 1), REC_EXECUTING);
    assert_int_equal(run_kit_settle(&f, 1, SETTLE_ACK), ERR_GONE);
    struct job_step step = {.run = id, .job = "a", .ordinal = 1, .name = "s", .result = "1"};
    run_kit_must(&f, job_txn_step(job_lab_txn(&f.l), &step, &f.e));
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    run_kit_close(&f);
}

/* ---- steps ---- */

static struct txn *step_unit(struct run_kit *f, uint32_t n, uint32_t ordinal, const char *name,
                             bool undo)
{
    struct uuid id = run_kit_id_of(n);
    struct job_step s = {.run = id,
                         .job = "a",
                         .ordinal = ordinal,
                         .name = name,
                         .result = "{\"x\":1}",
                         .result_len = 7,
                         .undo = undo,
                         .args = "{\"n\":1}",
                         .args_len = 7};
    struct txn *t = job_lab_txn(&f->l);
    queue_txn_if_delivery(t, &id, run_kit_look(f, id).token);
    run_kit_must(f, job_txn_step(t, &s, &f->e));
    return t;
}

static bool step_count(void *arg, const struct job_step_row *s)
{
    char *names = arg;
    strcat(names, s->name);
    strcat(names, s->undone ? "!" : s->undo ? "?" : ".");
    assert_int_equal(s->result_len, 7);
    return true;
}

static const char *steps_of(struct run_kit *f, uint32_t n)
{
    static char names[256];
    struct uuid id = run_kit_id_of(n);
    names[0] = '\0';
    run_kit_must(f, job_steps_read(f->l.db, &id, step_count, names, &f->e));
    return names;
}

TEST(a_finished_step_is_stored_once_and_there_for_the_next_attempt) /* J2 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    step_unit(&f, 1, 1, "one", false);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    step_unit(&f, 1, 2, "one", false);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    step_unit(&f, 1, 3, "two", false);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_NACK));
    job_lab_run(&f.l, 1000);
    assert_int_equal(run_kit_look(&f, run_kit_id_of(1)).attempts, 2);
    assert_string_equal(steps_of(&f, 1), "one.");
    assert_int_equal(run_kit_row_of(&f, 1).steps, 1);
    run_kit_close(&f);
}

TEST(a_run_has_so_many_steps_and_no_more)
{
    struct run_kit f;
    enum { AT_ONCE = 100 };
    struct uuid id = run_kit_id_of(1);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    char name[32];
    struct job_step s = {.run = id,
                         .job = "a",
                         .name = name,
                         .result = "1",
                         .result_len = 1,
                         .args = "{}",
                         .args_len = 2};
    for (uint32_t i = 0; i < JOB_STEPS_MAX; i += AT_ONCE) {
        struct txn *t = job_lab_txn(&f.l);
        for (s.ordinal = i + 1; s.ordinal <= i + AT_ONCE; s.ordinal++) {
            snprintf(name, sizeof name, "s%u", s.ordinal);
            run_kit_must(&f, job_txn_step(t, &s, &f.e));
        }
        run_kit_must(&f, job_lab_do(&f.l, &f.e));
    }
    assert_int_equal(run_kit_row_of(&f, 1).steps, JOB_STEPS_MAX);
    snprintf(name, sizeof name, "more");
    struct txn *t = job_lab_txn(&f.l);
    struct err e = ERR_INIT;
    assert_refused(job_txn_step(t, &s, &e), ERR_TOO_LARGE, "at most 1000 steps");
    assert_int_equal(t->ops, 0);
    unit_fini(&f.l.unit);
    run_kit_close(&f);
}

TEST(a_step_of_a_lease_that_is_over_leaves_nothing) /* J2 */
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    step_unit(&f, 1, 1, "one", false);
    struct buf bytes = BUF_INIT(1 << 20);
    uint32_t ops = f.l.unit.txn.ops;
    buf_add(&bytes, f.l.unit.txn.body.data, f.l.unit.txn.body.len);
    unit_fini(&f.l.unit);
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_NACK));
    job_lab_run(&f.l, 1000);
    struct txn *t = job_lab_txn(&f.l);
    buf_add(&t->body, bytes.data, bytes.len);
    t->ops = ops;
    buf_fini(&bytes);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_FENCED);
    assert_int_equal(run_kit_count(&f, "job_steps") + run_kit_count(&f, "job_runs"), 0);
    run_kit_close(&f);
}

TEST(steps_of_a_discarded_run_are_undone_by_a_run_of_the_same_job)
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(1), undo = run_kit_id_of(1000);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    step_unit(&f, 1, 1, "one", true);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    step_unit(&f, 1, 2, "two", false);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    job_txn_undone(job_lab_txn(&f.l), &id, 1, &f.e);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT); /* it is not being undone */
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_REJECT));
    assert_int_equal(run_kit_state_of(&f, 1000), REC_EXECUTING);
    assert_true(run_kit_row_of(&f, 1).has_undo);
    assert_memory_equal(run_kit_row_of(&f, 1).undo.b, undo.b, sizeof undo.b);
    job_txn_undone(job_lab_txn(&f.l), &id, 1, &f.e);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    job_txn_undone(job_lab_txn(&f.l), &id, 1, &f.e);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    assert_string_equal(steps_of(&f, 1), "one!two.");
    run_kit_must(&f, run_kit_settle(&f, 1000, SETTLE_ACK));
    job_txn_retry(job_lab_txn(&f.l), &id, NULL, NULL);
    assert_int_equal(job_lab_do(&f.l, &f.e), ERR_CONFLICT);
    run_kit_close(&f);
}

TEST(steps_of_a_cancelled_run_are_undone_too) /* J5 */
{
    struct run_kit f;
    struct uuid id = run_kit_id_of(1);
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"chain\":[\"b\"]}");
    job_lab_declare(&f.l, "b", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    step_unit(&f, 1, 1, "one", true);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    job_txn_cancel(job_lab_txn(&f.l), &id, NULL, NULL);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    assert_int_equal(run_kit_state_of(&f, 1), REC_EXECUTING); /* it is asked */
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_REJECT));
    assert_int_equal(run_kit_state_of(&f, 1), REC_CANCELLED);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_CANCELLED);
    assert_true(run_kit_row_of(&f, 1).has_undo);
    assert_int_equal(run_kit_state_of(&f, 1000), REC_EXECUTING);
    job_txn_undone(job_lab_txn(&f.l), &id, 1, &f.e);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    assert_string_equal(steps_of(&f, 1), "one!");
    run_kit_must(&f, run_kit_settle(&f, 1000, SETTLE_ACK));
    assert_int_equal(
        run_kit_records(&f, "b", REC_AVAILABLE) + run_kit_records(&f, "b", REC_EXECUTING), 0);
    run_kit_close(&f);
}

TEST(a_run_that_completes_undoes_nothing)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1);
    step_unit(&f, 1, 1, "one", true);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(f.made, 0);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_COMPLETED);
    run_kit_close(&f);
}

/* ---- progress ---- */

TEST(progress_is_what_was_said_last_and_the_log_its_newest_part)
{
    struct run_kit f;
    json_t *shown = NULL;
    struct uuid id = run_kit_id_of(1);
    char line[1025];
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1);
    memset(line, 'x', 1023);
    line[1023] = '\n';
    for (int i = 0; i < 70; i++) {
        struct job_progress p = {.run = id,
                                 .job = "a",
                                 .fraction = i == 0 ? 0.25 : -1,
                                 .text = i == 69 ? "nearly" : NULL,
                                 .log = line,
                                 .log_len = 1024};
        line[0] = (char)('A' + i % 26);
        run_kit_must(&f, job_txn_progress(job_lab_txn(&f.l), &p, &f.e));
        run_kit_must(&f, job_lab_do(&f.l, &f.e));
    }
    run_kit_must(&f, job_run_show(f.l.db, &id, &shown, &f.e));
    assert_float_equal(json_real_value(json_path(shown, "progress.fraction")), 0.25, 1e-9);
    assert_string_equal(json_string_value(json_path(shown, "progress.text")), "nearly");
    assert_int_equal(json_string_length(json_object_get(shown, "log")), 64 * 1024);
    assert_int_equal(json_integer_value(json_object_get(shown, "log_cut")), 6 * 1024);
    assert_int_equal(json_string_value(json_object_get(shown, "log"))[0], 'G');
    json_decref(shown);
    run_kit_close(&f);
}

/* ---- rows that go ---- */

TEST(a_row_goes_with_its_record)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{\"keep\":{\"completed\":\"1s\"}}");
    run_kit_worker_open(&f);
    run_kit_submit(&f, "a", 1, .row = true);
    step_unit(&f, 1, 1, "one", false);
    run_kit_must(&f, job_lab_do(&f.l, &f.e));
    run_kit_must(&f, run_kit_settle(&f, 1, SETTLE_ACK));
    assert_int_equal(run_kit_count(&f, "job_runs"), 1);
    job_lab_run(&f.l, 11 * 60 * 1000);
    assert_int_equal(run_kit_state_of(&f, 1), 0);
    assert_int_equal(run_kit_count(&f, "job_runs") + run_kit_count(&f, "job_steps"), 0);
    run_kit_close(&f);
}

TEST(a_run_that_was_another_leaves_no_row)
{
    struct run_kit f;
    run_kit_open(&f);
    job_lab_declare(&f.l, "a", "{}");
    run_kit_submit(&f, "a", 1, .row = true, .unique = "u");
    run_kit_submit(&f, "a", 2, .row = true, .unique = "u");
    assert_int_equal(run_kit_state_of(&f, 2), 0);
    job_lab_run(&f.l, 2 * 60 * 1000);
    assert_int_equal(run_kit_count(&f, "job_runs"), 1);
    assert_int_equal(run_kit_row_of(&f, 1).state, JOB_RUN_OPEN);
    run_kit_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_the_queue_ends_by_itself_is_followed),
        HEAP_TEST(a_timeout_counts_in_the_fan_in),
        HEAP_TEST(an_end_that_was_not_followed_before_a_stop_is_after_it),
        HEAP_TEST(a_waiting_run_that_is_cancelled_never_executes),
        HEAP_TEST(a_purged_run_counts_as_cancelled),
        HEAP_TEST(a_run_that_is_terminated_has_ended_and_what_its_worker_does_counts_no_more),
        HEAP_TEST(a_finished_step_is_stored_once_and_there_for_the_next_attempt),
        HEAP_TEST(a_run_has_so_many_steps_and_no_more),
        HEAP_TEST(a_step_of_a_lease_that_is_over_leaves_nothing),
        HEAP_TEST(steps_of_a_discarded_run_are_undone_by_a_run_of_the_same_job),
        HEAP_TEST(steps_of_a_cancelled_run_are_undone_too),
        HEAP_TEST(a_run_that_completes_undoes_nothing),
        HEAP_TEST(progress_is_what_was_said_last_and_the_log_its_newest_part),
        HEAP_TEST(a_row_goes_with_its_record),
        HEAP_TEST(a_run_that_was_another_leaves_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
