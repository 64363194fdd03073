/* The clock of schedules, on a simulated ledger with a worker. */
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "job/clock_priv.h"
#include "queue/queue.h"
#include "support/job_lab.h"
#include "support/job_worker.h"
#include "support/unit.h"

/* "ran:1 skipped:2": the newest decisions of a schedule, oldest first. */
static void decisions_are(struct job_lab *l, const char *name, const char *want)
{
    struct buf got = BUF_INIT(64 << 10);
    struct err e = ERR_INIT;
    json_t *o = NULL;
    struct job_schedule_look look = {.now = job_lab_now(l), .ticks = JOB_TICKS_KEPT};
    if (job_schedule_show(l->db, name, &look, &o, &e) != 0)
        fail_msg("%s", e.text);
    const json_t *ticks = json_object_get(o, "ticks");
    for (size_t i = json_array_size(ticks); i-- > 0;) {
        const json_t *k = json_array_get(ticks, i);
        buf_addf(&got, "%s%s:%lld", got.len > 0 ? " " : "",
                 json_string_value(json_object_get(k, "decision")),
                 (long long)json_integer_value(json_object_get(k, "ticks")));
    }
    if (strcmp(buf_str(&got), want) != 0)
        fail_msg("%s: \"%s\", not \"%s\"", name, buf_str(&got), want);
    json_decref(o);
    buf_fini(&got);
}

static void verb(struct job_lab *l, const struct job_verb *v,
                 int (*add)(struct txn *t, struct db *db, const struct job_verb *v, struct err *e))
{
    struct err e = ERR_INIT;
    if (add(job_lab_txn(l), l->db, v, &e) != 0 || job_lab_do(l, &e) != 0)
        fail_msg("%s", e.text);
}

static struct job_verb verb_of(struct job_lab *l, const char *name)
{
    return (struct job_verb){
        .name = name, .by = "ana", .now = job_lab_now(l), .make_id = job_clock_id, .arg = l->jobs};
}

static int trigger_add(struct txn *t, struct db *db, const struct job_verb *v, struct err *e)
{
    struct job_decided d;
    return job_txn_trigger(t, db, v, &d, e);
}

static int resume_add(struct txn *t, struct db *db, const struct job_verb *v, struct err *e)
{
    struct job_decided d;
    bool resumed;
    int rc = job_txn_resume(t, db, v, &resumed, &d, e);
    assert_true(rc != 0 || resumed);
    return rc;
}

/* The lab begins at a full second, so that a grid is easy to count. */
static void lab_at_second(struct job_lab *l, uint64_t seed)
{
    job_lab_open(l, seed);
    job_lab_run(l, 1000 - (uint64_t)(job_lab_now(l) % 1000));
}

TEST(each_due_time_has_one_decision_and_one_run) /* J1 */
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 1);
    job_lab_declare(&l, "often", "{\"every\":\"1s\"}");
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    job_lab_run(&l, 5600);
    decisions_are(&l, "often", "ran:1 ran:1 ran:1 ran:1 ran:1");
    assert_int_equal(w.worked, 5);
    assert_int_equal(job_lab_number(&l, "SELECT count(DISTINCT due) FROM job_ticks"), 5);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_schedule_runs"), 0);
    job_worker_close(&w);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(what_came_due_while_nobody_was_there_is_one_run_that_covers_all) /* J1 */
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 2);
    job_lab_declare(&l, "often", "{\"every\":\"1m\",\"catchup\":\"10m\"}");
    job_lab_restart(&l, 30 * 60 * 1000);
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    job_lab_run(&l, 2000);
    assert_int_equal(w.worked, 1);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), 2);
    assert_int_equal(job_lab_number(&l, "SELECT verdict FROM job_ticks WHERE tick = 1"),
                     SCHEDULE_MISSED);
    assert_int_equal(job_lab_number(&l, "SELECT verdict FROM job_ticks WHERE tick = 2"),
                     SCHEDULE_CAUGHT_UP);
    int64_t ticks = job_lab_number(&l, "SELECT sum(ticks) FROM job_ticks");
    assert_in_range(ticks, 29, 31);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(skip_leaves_out_what_is_due_while_a_run_is_under_way)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 3);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\"}");
    job_worker_open(&w, &l, 2500, JOB_COMPLETED);
    job_lab_run(&l, 4800);
    decisions_are(&l, "slow", "ran:1 skipped:1 skipped:1 ran:1");
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(one_that_waits_its_turn_starts_when_the_one_before_has_ended)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 4);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"buffer_one\"}");
    job_worker_open(&w, &l, 2500, JOB_COMPLETED);
    job_lab_run(&l, 3800);
    decisions_are(&l, "slow", "ran:1 buffered:1 skipped:1");
    assert_int_equal(w.worked, 1);
    assert_int_equal(w.holding, 1);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(all_that_wait_run_one_after_the_other)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 5);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"buffer_all\"}");
    job_worker_open(&w, &l, 1500, JOB_COMPLETED);
    job_lab_run(&l, 4400);
    decisions_are(&l, "slow", "ran:1 buffered:1 buffered:1 buffered:1");
    job_lab_declare(&l, "slow", "{\"every\":\"1h\",\"overlap\":\"buffer_all\"}");
    job_lab_run(&l, 10000);
    assert_int_equal(w.worked, 4);
    assert_int_equal(w.most, 1); /* never two at once */
    assert_int_equal(job_lab_number(&l, "SELECT running + waiting FROM job_schedules"), 0);
    job_worker_close(&w);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(cancel_asks_the_old_one_and_the_newest_starts_when_it_has_stopped)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 6);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"cancel\"}");
    job_worker_open(&w, &l, 60000, JOB_COMPLETED);
    job_lab_run(&l, 2600);
    decisions_are(&l, "slow", "ran:1 cancelled_other:1");
    assert_int_equal(w.asked, 1);
    assert_int_equal(w.holding, 1); /* it obeys at once, and the next has begun */
    assert_int_equal(w.most, 1);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(terminate_starts_at_once_and_fences_the_old_one)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 7);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"terminate\"}");
    job_worker_open(&w, &l, 60000, JOB_COMPLETED);
    w.deaf = true;
    job_lab_run(&l, 2600);
    decisions_are(&l, "slow", "ran:1 cancelled_other:1");
    assert_int_equal(w.holding, 2);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_runs WHERE state = 4"), 1);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_schedule_runs"), 1);
    job_worker_close(&w);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(allow_lets_them_run_beside_each_other)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 8);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"allow\"}");
    job_worker_open(&w, &l, 60000, JOB_COMPLETED);
    job_lab_run(&l, 3600);
    decisions_are(&l, "slow", "ran:1 ran:1 ran:1");
    assert_int_equal(w.holding, 3);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(a_delay_counts_from_the_end_of_the_last_run)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 9);
    job_lab_declare(&l, "after", "{\"after\":\"2s\"}");
    job_worker_open(&w, &l, 3000, JOB_COMPLETED);
    job_lab_run(&l, 14000);
    assert_int_equal(w.worked, 2); /* 2-5, 7-10, 12- */
    assert_int_equal(w.holding, 1);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(failures_in_a_row_pause_it_and_who_resumes_goes_on)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 10);
    job_lab_declare(&l, "bad",
                    "{\"every\":\"1s\",\"pause_on_failure\":2,\"attempts\":1,\"critical\":true}");
    job_worker_open(&w, &l, 0, JOB_DISCARDED);
    job_lab_run(&l, 5600);
    decisions_are(&l, "bad", "ran:1 ran:1");
    assert_int_equal(job_lab_number(&l, "SELECT paused FROM job_schedules"), 1);
    assert_int_equal(job_lab_number(&l, "SELECT failures FROM job_failing"), 2);
    w.outcome = JOB_COMPLETED;
    struct job_verb v = verb_of(&l, "bad");
    verb(&l, &v, resume_add);
    job_lab_run(&l, 1600);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_failing"), 0);
    assert_int_equal(job_lab_number(&l, "SELECT verdict FROM job_ticks WHERE tick = 3"),
                     SCHEDULE_SKIPPED);
    assert_int_equal(job_lab_number(&l, "SELECT verdict FROM job_ticks WHERE tick = 4"),
                     SCHEDULE_RAN);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(while_it_is_paused_nothing_is_decided_but_what_is_triggered)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 11);
    job_lab_declare(&l, "often", "{\"every\":\"1s\"}");
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    struct job_verb v = verb_of(&l, "often");
    v.reason = "being mended";
    verb(&l, &v, job_txn_pause);
    job_lab_run(&l, 3600);
    decisions_are(&l, "often", "");
    v.now = job_lab_now(&l);
    verb(&l, &v, trigger_add);
    job_lab_run(&l, 200);
    decisions_are(&l, "often", "ran:0");
    assert_int_equal(w.worked, 1);
    v.now = job_lab_now(&l);
    verb(&l, &v, resume_add);
    job_lab_run(&l, 1000);
    decisions_are(&l, "often", "ran:0 skipped:3 ran:1");
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(a_run_that_is_cancelled_while_it_waits_never_executes) /* J5 */
{
    struct job_lab l;
    struct job_worker w;
    struct err e = ERR_INIT;
    struct job_waited list[JOB_WAITED_MAX];
    lab_at_second(&l, 12);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"buffer_one\"}");
    job_worker_open(&w, &l, 4000, JOB_COMPLETED);
    job_lab_run(&l, 2400);
    assert_int_equal(job_waited_list(l.db, "slow", list, JOB_WAITED_MAX, &e), 2);
    assert_true(list[1].waits);
    job_txn_cancel(job_lab_txn(&l), &list[1].run, NULL, NULL);
    assert_int_equal(job_lab_do(&l, &e), 0);
    job_lab_run(&l, 100);
    assert_int_equal(job_waited_list(l.db, "slow", list, JOB_WAITED_MAX, &e), 1);
    job_lab_declare(&l, "slow", "{\"every\":\"1h\",\"overlap\":\"buffer_one\"}");
    job_lab_run(&l, 10000);
    assert_int_equal(w.worked, 1);
    assert_int_equal(w.holding, 0);
    job_worker_close(&w);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(backfill_makes_a_run_for_each_time_one_after_the_other)
{
    struct job_lab l;
    struct job_worker w;
    struct err e = ERR_INIT;
    struct job_decided d;
    lab_at_second(&l, 13);
    job_lab_declare(&l, "hourly", "{\"every\":\"1h\"}");
    job_worker_open(&w, &l, 100, JOB_COMPLETED);
    struct job_verb v = verb_of(&l, "hourly");
    struct job_span span = {v.now - 5 * 3600 * 1000, v.now};
    assert_int_equal(job_txn_backfill(job_lab_txn(&l), l.db, &v, &span, &d, &e), 0);
    assert_int_equal(d.runs, 5);
    assert_int_equal(job_lab_do(&l, &e), 0);
    job_lab_run(&l, 5000);
    assert_int_equal(w.worked, 5);
    assert_int_equal(w.most, 1);
    assert_int_equal(
        job_lab_number(&l, "SELECT count(*) FROM job_runs WHERE window_to - window_from = 3600000"),
        4);
    decisions_are(&l, "hourly", "ran:5");
    span.to = v.now + 1;
    assert_refused(job_txn_backfill(job_lab_txn(&l), l.db, &v, &span, &d, &e), ERR_INVALID,
                   "in the future");
    unit_fini(&l.unit);
    span = (struct job_span){v.now - INT64_C(2000) * 3600 * 1000, v.now};
    assert_refused(job_txn_backfill(job_lab_txn(&l), l.db, &v, &span, &d, &e), ERR_INVALID,
                   "over 1000 times");
    unit_fini(&l.unit);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(a_queue_that_takes_nothing_has_the_tick_skipped)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    lab_at_second(&l, 14);
    job_lab_declare(&l, "often", "{\"every\":\"1s\"}");
    queue_txn_close(job_lab_txn(&l), "job.often", true);
    assert_int_equal(job_lab_do(&l, &e), 0);
    job_lab_run(&l, 4600);
    assert_int_equal(job_lab_number(&l, "SELECT verdict FROM job_ticks WHERE tick = 1"),
                     SCHEDULE_SKIPPED);
    assert_int_equal(job_lab_number(&l, "SELECT reason LIKE 'its queue refused%' FROM job_ticks"),
                     1);
    queue_txn_close(job_lab_txn(&l), "job.often", false);
    assert_int_equal(job_lab_do(&l, &e), 0);
    job_lab_run(&l, 3000);
    assert_true(
        job_lab_number(&l, "SELECT count(*) FROM job_ticks WHERE verdict = 0 AND runs = 1") > 0);
    job_lab_close(&l);
}

TEST(a_closed_queue_keeps_back_the_run_for_a_start_of_no_other_job)
{
    struct job_lab l;
    struct job_worker w;
    struct err e = ERR_INIT;
    lab_at_second(&l, 18);
    job_lab_declare(&l, "a", "{\"on_start\":\"cluster\",\"critical\":true}");
    job_lab_declare(&l, "b", "{\"on_start\":\"cluster\",\"critical\":true}");
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    queue_txn_close(job_lab_txn(&l), "job.a", true);
    assert_int_equal(job_lab_do(&l, &e), 0);
    jobs_ready(l.jobs);
    job_lab_run(&l, 10 * 1000);
    assert_int_equal(w.worked, 1);
    queue_txn_close(job_lab_txn(&l), "job.a", false);
    assert_int_equal(job_lab_do(&l, &e), 0);
    job_lab_run(&l, 10 * 1000);
    assert_int_equal(w.worked, 1); /* it was given up */
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(an_orphaned_job_is_not_due_and_another_time_begins_with_its_declaration)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 15);
    job_lab_declare(&l, "often", "{\"every\":\"1s\"}");
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    job_lab_run(&l, 2600);
    job_lab_declare(&l, "often", NULL);
    job_lab_run(&l, 120 * 1000);
    assert_int_equal(w.worked, 2);
    job_lab_declare(&l, "often", "{\"every\":\"2s\"}");
    job_lab_run(&l, 4600);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks WHERE verdict <> 0"), 0);
    assert_int_equal(w.worked, 4);
    job_worker_close(&w);
    job_lab_close(&l);
}

/* `then`: what a deploy says in the place of the schedule; NULL: nothing. */
static void waits_without_schedule(uint64_t day, const char *then)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, day);
    job_lab_declare(&l, "slow", "{\"every\":\"1s\",\"overlap\":\"buffer_all\"}");
    job_worker_open(&w, &l, 5000, JOB_COMPLETED);
    job_lab_run(&l, 4600);
    assert_int_equal(job_lab_number(&l, "SELECT waiting FROM job_schedules"), 3);
    job_lab_declare(&l, "slow", then);
    job_lab_run(&l, 40 * 1000);
    assert_int_equal(w.worked, 4);
    assert_int_equal(w.most, 1);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_schedule_runs"), 0);
    assert_int_equal(job_lab_number(&l, "SELECT waiting + running FROM job_schedules"), 0);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(runs_that_wait_for_their_turn_get_it_though_the_schedule_is_taken_away)
{
    waits_without_schedule(14, "{\"attempts\":3}");
    waits_without_schedule(14, NULL);
}

TEST(a_start_gives_a_run_to_who_asked_for_it)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 16);
    job_lab_declare(&l, "warm", "{\"on_start\":\"cluster\",\"critical\":true}");
    job_lab_declare(&l, "not", "{}");
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    job_lab_run(&l, 3000);
    assert_int_equal(w.worked, 0);
    jobs_ready(l.jobs);
    job_lab_run(&l, 1500);
    assert_int_equal(w.worked, 1);
    jobs_ready(l.jobs);
    job_lab_run(&l, 1500);
    assert_int_equal(w.worked, 1);
    job_worker_close(&w);
    job_lab_restart(&l, 1000);
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    jobs_ready(l.jobs);
    job_lab_run(&l, 1500);
    assert_int_equal(w.worked, 1);
    job_worker_close(&w);
    job_lab_close(&l);
}

TEST(a_start_of_a_node_gives_a_run_that_is_worked_there_and_nowhere_else)
{
    struct job_lab l;
    struct job_worker w;
    lab_at_second(&l, 17);
    job_lab_declare(&l, "warm", "{\"on_start\":\"node\",\"critical\":true}");
    l.worker_node = "another";
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    jobs_ready(l.jobs);
    job_lab_run(&l, 1500);
    assert_int_equal(w.worked, 0);
    job_worker_close(&w);
    job_lab_restart(&l, 1000); /* what waits for this node is the run of this start too */
    l.worker_node = NULL;
    jobs_ready(l.jobs);
    job_lab_run(&l, 1500);
    job_worker_open(&w, &l, 0, JOB_COMPLETED);
    job_lab_run(&l, 1500);
    assert_int_equal(w.worked, 1);
    job_worker_close(&w);
    for (int start = 0; start < 2; start++) {
        job_lab_restart(&l, 1000);
        job_worker_open(&w, &l, 0, JOB_COMPLETED);
        jobs_ready(l.jobs);
        job_lab_run(&l, 1500);
        assert_int_equal(w.worked, 1);
        job_worker_close(&w);
    }
    job_lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(each_due_time_has_one_decision_and_one_run),
        HEAP_TEST(what_came_due_while_nobody_was_there_is_one_run_that_covers_all),
        HEAP_TEST(skip_leaves_out_what_is_due_while_a_run_is_under_way),
        HEAP_TEST(one_that_waits_its_turn_starts_when_the_one_before_has_ended),
        HEAP_TEST(all_that_wait_run_one_after_the_other),
        HEAP_TEST(cancel_asks_the_old_one_and_the_newest_starts_when_it_has_stopped),
        HEAP_TEST(terminate_starts_at_once_and_fences_the_old_one),
        HEAP_TEST(allow_lets_them_run_beside_each_other),
        HEAP_TEST(a_delay_counts_from_the_end_of_the_last_run),
        HEAP_TEST(failures_in_a_row_pause_it_and_who_resumes_goes_on),
        HEAP_TEST(while_it_is_paused_nothing_is_decided_but_what_is_triggered),
        HEAP_TEST(a_run_that_is_cancelled_while_it_waits_never_executes),
        HEAP_TEST(backfill_makes_a_run_for_each_time_one_after_the_other),
        HEAP_TEST(a_queue_that_takes_nothing_has_the_tick_skipped),
        HEAP_TEST(a_closed_queue_keeps_back_the_run_for_a_start_of_no_other_job),
        HEAP_TEST(an_orphaned_job_is_not_due_and_another_time_begins_with_its_declaration),
        HEAP_TEST(runs_that_wait_for_their_turn_get_it_though_the_schedule_is_taken_away),
        HEAP_TEST(a_start_gives_a_run_to_who_asked_for_it),
        HEAP_TEST(a_start_of_a_node_gives_a_run_that_is_worked_there_and_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
