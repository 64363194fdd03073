/* job.schedule, applied. */
#include "base/mem.h"
#include "job/job_priv.h"
#include "support/job_lab.h"
#include "support/simworld.h"
#include "support/unit.h"

#define T(s) ((struct text){(s), sizeof(s) - 1})

static struct job_change change_of(struct job_lab *l)
{
    struct job_change ch = {.name = T("nightly"), .spec = T("{}")};
    schedule_state_init(&ch.state, job_lab_now(l));
    ch.decided = true;
    ch.tick = (struct job_tick){.kind = JOB_TICK_DUE,
                                .verdict = SCHEDULE_SKIPPED,
                                .reason = T("for a test"),
                                .due = 1000,
                                .from = 1000,
                                .to = 1000,
                                .opening = SCHEDULE_NEVER,
                                .ticks = 1};
    return ch;
}

static void makes(struct job_change *ch, uint8_t id, bool waits)
{
    ch->made = true;
    ch->waits = waits;
    ch->tick.runs = 1;
    ch->tick.run = (struct uuid){{id}};
    ch->state.running += !waits;
    ch->state.waiting += waits;
}

static int apply(struct job_lab *l, struct job_change *ch, struct err *e)
{
    err_clear(e);
    job_change_add(job_lab_txn(l), ch);
    int rc = job_lab_do(l, e);
    ch->revision += rc == 0;
    ch->made = false;
    ch->gone_count = ch->started_count = 0;
    return rc;
}

TEST(of_two_decisions_by_the_same_row_one_comes_through) /* J1 */
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 1);
    struct job_change one = change_of(&l), two = one;
    assert_int_equal(apply(&l, &one, &e), 0);
    assert_refused(apply(&l, &two, &e), ERR_CONFLICT, "has changed meanwhile");
    assert_int_equal(apply(&l, &one, &e), 0);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), 2);
    assert_int_equal(job_lab_number(&l, "SELECT revision FROM job_schedules"), 2);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(a_declaration_that_changes_refuses_what_was_decided_by_the_one_before)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 2);
    job_lab_declare(&l, "nightly", "{\"every\":\"1h\"}");
    struct job_change ch = change_of(&l);
    assert_int_equal(apply(&l, &ch, &e), 0);
    job_lab_declare(&l, "nightly", "{\"every\":\"2h\"}");
    assert_refused(apply(&l, &ch, &e), ERR_CONFLICT, "has changed meanwhile");
    job_lab_close(&l);
}

TEST(a_schedule_waits_for_its_runs_until_their_end_is_accounted_for)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    struct uuid first = {{1}}, second = {{2}};
    job_lab_open(&l, 3);
    struct job_change ch = change_of(&l);
    makes(&ch, 1, false);
    assert_int_equal(apply(&l, &ch, &e), 0);
    makes(&ch, 2, true);
    assert_int_equal(apply(&l, &ch, &e), 0);
    ch.gone = &first;
    ch.gone_count = 1;
    ch.started = &second;
    ch.started_count = 1;
    ch.state.waiting = 0;
    assert_int_equal(apply(&l, &ch, &e), 0);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_schedule_runs WHERE waiting = 0"),
                     1);
    ch.gone_count = 1; /* once is enough */
    ch.state.running = 0;
    assert_refused(apply(&l, &ch, &e), ERR_CONFLICT, "is over meanwhile");
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(a_state_that_does_not_count_its_runs_is_refused_whole)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 4);
    struct job_change ch = change_of(&l);
    makes(&ch, 1, false);
    ch.state.running = 2;
    assert_refused(apply(&l, &ch, &e), ERR_INVALID, "other runs than its state says");
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), 0);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(the_last_thousand_decisions_are_kept)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 5);
    struct job_change ch = change_of(&l);
    for (int i = 0; i < JOB_TICKS_KEPT + 10; i++) {
        struct txn *t = job_lab_txn(&l);
        for (int n = 0; n < 10; n++, ch.revision++)
            job_change_add(t, &ch);
        assert_int_equal(job_lab_do(&l, &e), 0);
        i += 9;
    }
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), JOB_TICKS_KEPT);
    assert_int_equal(job_lab_number(&l, "SELECT min(tick) FROM job_ticks"), 11);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(decisions_are_kept_for_thirty_days)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 7);
    struct job_change old = change_of(&l);
    assert_int_equal(apply(&l, &old, &e), 0);
    sim_clock_jump(l.sim, JOB_TICKS_KEEP_MS - 60000);
    struct job_change other = change_of(&l);
    other.name = T("weekly");
    assert_int_equal(apply(&l, &other, &e), 0);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), 2);
    sim_clock_jump(l.sim, 120000);
    assert_int_equal(apply(&l, &other, &e), 0); /* that of any schedule goes */
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks WHERE name = 'nightly'"),
                     0);
    assert_int_equal(job_lab_number(&l, "SELECT count(*) FROM job_ticks"), 2);
    job_lab_check(&l);
    job_lab_close(&l);
}

TEST(payloads_that_are_none_are_refused)
{
    struct job_lab l;
    struct err e = ERR_INIT;
    job_lab_open(&l, 6);
    struct txn good;
    txn_init(&good);
    struct job_change ch = change_of(&l);
    job_change_add(&good, &ch);
    const char *p = good.body.data + 8;
    size_t n = good.body.len - 8;
    for (size_t cut = 0; cut < n; cut += 7) {
        buf_add(txn_begin(job_lab_txn(&l), JOB_OP_SCHEDULE, 1), p, cut);
        txn_end(&l.unit.txn);
        assert_refused(job_lab_do(&l, &e), ERR_INVALID, "malformed payload");
    }
    txn_fini(&good);
    job_lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(of_two_decisions_by_the_same_row_one_comes_through),
        HEAP_TEST(a_declaration_that_changes_refuses_what_was_decided_by_the_one_before),
        HEAP_TEST(a_schedule_waits_for_its_runs_until_their_end_is_accounted_for),
        HEAP_TEST(a_state_that_does_not_count_its_runs_is_refused_whole),
        HEAP_TEST(the_last_thousand_decisions_are_kept),
        HEAP_TEST(decisions_are_kept_for_thirty_days),
        HEAP_TEST(payloads_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
