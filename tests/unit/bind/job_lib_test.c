#include "bind/job_lib.h"

#include "bind/queue_lib.h"
#include "house.h"

static void refuses(const char *text, const char *words)
{
    struct house h;
    house_open(&h, 1);
    struct err e = ERR_INIT;
    int rc = house_deploy(&h, text, &e);
    house_close(&h);
    assert_refused(rc, ERR_INVALID, words);
}

TEST(a_job_is_a_queue_of_its_own_with_the_defaults_of_runs)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(
        &h, "job 'plain' { run = function() end }\n"
            "job 'settle' { run = function() end, cron = '0 2 * * *', tz = 'Europe/Lisbon',\n"
            "  concurrency = 2, attempts = 8, backoff = { '1s', '1m' }, timeout = '1h', lane = "
            "'bulk',\n"
            "  gate = 'bank', priority = 9, needs = { gpu = 1 }, chain = 'plain',\n"
            "  keep = { completed = '1d' }, args = { day = date { required = true } },\n"
            "  scheduled_args = { day = '2026-05-01' } }\n"
            "job 'outside' {}\n");
    const struct bind_set *s = h.bind->threads[0].set;
    const struct bind_queue *q = bind_set_queue(s, "job.plain");
    assert_non_null(q);
    assert_true(q->handled && q->q.handled);
    assert_string_equal(q->label, "job/plain");
    assert_null(q->q.sending); /* how its runs are sent is the job's to say */
    const struct bind_job *j = bind_set_job(s, "plain");
    assert_int_equal(j->def.timeout_ms, 15 * 60 * 1000);
    assert_true(j->def.deadline_ms > INT64_C(3650) * 86400 * 1000);
    assert_int_equal(q->q.keep_completed_ms, INT64_C(7) * 86400 * 1000);
    assert_int_equal(q->q.keep_count, 100000);
    q = bind_set_queue(s, "job.settle");
    assert_int_equal(q->q.concurrency, 2);
    assert_int_equal(q->q.keep_completed_ms, INT64_C(86400) * 1000);
    j = bind_set_job(s, "settle");
    assert_int_equal(j->def.attempts, 8);
    assert_int_equal(j->def.backoff.list[1], 60000);
    assert_int_equal(j->def.timeout_ms, 3600 * 1000);
    assert_int_equal(j->def.priority, 9);
    assert_string_equal(j->def.lane, "bulk");
    assert_string_equal(j->def.gates[0], "bank");
    assert_true(j->def.has_schedule);
    assert_int_equal(j->def.needs_count, 1);
    assert_string_equal(json_string_value(json_array_get(j->def.chain, 0)), "plain");
    assert_int_equal(j->args->fields_count, 1);
    assert_false(bind_set_queue(s, "job.outside")->handled);
    house_close(&h);
}

TEST(what_a_declaration_says_wrong_is_told_with_its_line)
{
    refuses("\njob 'x' { run = print, crn = '* * * * *' }", "app.lua:2: job 'x': ");
    refuses("job 'x' { run = print, cron = '0 25 * * *' }", "cron");
    refuses("job 'x' { run = print, cron = '0 2 * * *', tz = 'Europe/Lisbonn' }", "tz: ");
    refuses("job 'x' { run = print, every = '10ms' }", "every: at least 1s");
    refuses("job 'x' { run = print, every = '1h', after = '1h' }", "one of cron, every and after");
    refuses("job 'x' { run = 7 }", "run = function(args, ctx) .. end, not a number");
    refuses("job 'x y' { run = print }", "job 'x y'");
    refuses("job 'x' { run = print, args = { id = text } }", "args");
    refuses("job 'x' { run = print, args = { text } }", "a field has no name");
    refuses("job 'x' {} job 'x' {}", "job 'x': is declared twice");
}

TEST(what_is_of_jobs_is_not_declared_as_a_queue)
{
    refuses("queue 'job.x' {}", "names that begin with \"job.\" are those of jobs");
    refuses("on 'queue/job.x' { run = print }", "are those of jobs");
}

TEST(a_chain_names_jobs_that_are_there_wherever_they_stand)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "job 'a' { chain = { 'b', 'c' } } job 'b' {} job 'c' {}");
    house_close(&h);
    refuses("\n\njob 'a' { chain = 'b' }", "app.lua:3: job 'a': chain names 'b'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_job_is_a_queue_of_its_own_with_the_defaults_of_runs),
        HEAP_TEST(what_a_declaration_says_wrong_is_told_with_its_line),
        HEAP_TEST(what_is_of_jobs_is_not_declared_as_a_queue),
        HEAP_TEST(a_chain_names_jobs_that_are_there_wherever_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
