#include "job/def.h"

#include "queue/queue.h"
#include "support/unit.h"

static int def_of(const char *text, struct job_def *out, struct err *e)
{
    json_t *v = json_read(text, strlen(text), e);
    assert_non_null(v);
    err_clear(e);
    int rc = job_def_read("nightly", v, out, e);
    json_decref(v);
    return rc;
}

static void refused(const char *text, const char *key, const char *words)
{
    struct job_def d;
    struct err e = ERR_INIT;
    assert_refused(def_of(text, &d, &e), ERR_INVALID, words);
    assert_string_equal(e.field, key);
}

TEST(a_job_that_says_nothing_has_the_defaults_of_a_job)
{
    struct job_def d;
    struct err e = ERR_INIT;
    struct core_queue q;
    struct queue_message m;
    assert_int_equal(def_of("{}", &d, &e), 0);
    assert_false(d.has_schedule);
    job_def_queue(&d, &q);
    assert_string_equal(q.name, "job.nightly");
    assert_true(q.handled);
    assert_int_equal(q.concurrency, 0);
    assert_true(q.keep_completed_ms == INT64_C(7) * 86400000);
    assert_true(q.keep_discarded_ms == INT64_C(30) * 86400000);
    assert_int_equal(q.keep_count, 100000);
    job_def_message(&d, &m);
    assert_string_equal(m.send.queue, "job.nightly");
    assert_int_equal(m.send.attempts, 5);
    assert_int_equal(m.send.timeout_ms, 15 * 60 * 1000);
    assert_int_equal(m.send.priority, 4);
    assert_null(m.send.backoff);
    job_def_fini(&d);
}

TEST(what_a_job_says_of_its_runs_goes_into_their_message)
{
    struct job_def d;
    struct err e = ERR_INIT;
    struct core_queue q;
    struct queue_message m;
    assert_int_equal(
        def_of("{\"every\":\"1h\",\"attempts\":8,\"backoff\":[\"1s\",60],\"timeout\":\"2h\","
               "\"priority\":9,\"lane\":\"bulk\",\"gate\":[\"a\",\"b\"],\"needs\":{\"gpu\":1,"
               "\"zone\":\"x\",\"ssd\":true},\"concurrency\":3,\"chain\":[\"b\",\"c\"],"
               "\"on_failure\":\"continue\",\"critical\":true,\"on_start\":\"node\","
               "\"keep\":{\"completed\":\"1d\",\"discarded\":\"forever\",\"count\":10}}",
               &d, &e),
        0);
    assert_true(d.has_schedule);
    assert_int_equal(d.schedule.interval_ms, 3600000);
    assert_true(d.critical);
    assert_true(d.goes_on);
    assert_int_equal(d.on_start, JOB_START_NODE);
    assert_int_equal(json_array_size(d.chain), 2);
    job_def_queue(&d, &q);
    assert_int_equal(q.concurrency, 3);
    assert_true(q.keep_discarded_ms == -1);
    job_def_message(&d, &m);
    assert_int_equal(m.send.backoff->list_count, 2);
    assert_int_equal(m.send.backoff->list[1], 60000);
    assert_int_equal(m.send.gates_count, 2);
    assert_string_equal(m.send.gates[1], "b");
    assert_int_equal(m.send.needs_count, 3);
    assert_int_equal(m.send.needs[0].number, 1);
    assert_string_equal(m.send.needs[1].text, "x");
    assert_string_equal(m.send.lane, "bulk");
    job_def_fini(&d);
}

TEST(one_wait_doubles_and_nothing_waits_nothing)
{
    struct job_def d;
    struct err e = ERR_INIT;
    assert_int_equal(def_of("{\"backoff\":\"10m\"}", &d, &e), 0);
    assert_int_equal(d.backoff.first, 600000);
    assert_int_equal(d.backoff.cap, 600000);
    job_def_fini(&d);
    assert_int_equal(def_of("{\"backoff\":0}", &d, &e), 0);
    assert_int_equal(d.backoff.list_count, 1);
    job_def_fini(&d);
}

TEST(what_is_wrong_in_a_declaration_is_named) /* R1 */
{
    refused("{\"crom\":\"* * * * *\"}", "crom", "did you mean 'cron'");
    refused("{\"cron\":\"nonsense\"}", "cron", "cron 'nonsense'");
    refused("{\"jitter\":\"1s\"}", "jitter", "nothing says when");
    refused("{\"attempts\":0}", "attempts", "1 to 1000");
    refused("{\"priority\":32}", "priority", "0 to 31");
    refused("{\"timeout\":\"soon\"}", "timeout", "wants a duration");
    refused("{\"backoff\":[]}", "backoff", "1 to 16");
    refused("{\"backoff\":\"90d\"}", "backoff", "49 days");
    refused("{\"gate\":[\"a\",\"a\"]}", "gate", "twice");
    refused("{\"gate\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "gate", "at most 4");
    refused("{\"lane\":\"\"}", "lane", "1 to 512 bytes");
    refused("{\"needs\":{\"gpu\":-1}}", "needs", "gpu is true");
    refused("{\"chain\":\"b\"}", "chain", "a list");
    refused("{\"chain\":[\"9\"]}", "chain", "chain: ");
    refused("{\"on_failure\":\"stop\"}", "on_failure", "'abort' or 'continue'");
    refused("{\"on_start\":true}", "on_start", "on_start");
    refused("{\"on_start\":\"node\",\"needs\":{\"node\":\"x\"}}", "needs", "leave out 'node'");
    refused("{\"critical\":\"yes\"}", "critical", "critical");
    refused("{\"args\":[]}", "args", "fields of a run");
    refused("{\"keep\":{\"all\":1}}", "all", "unknown key");
    refused("{\"concurrency\":0}", "concurrency", "1 to");
}

TEST(a_job_has_a_name_of_the_usual_kind)
{
    struct err e = ERR_INIT;
    assert_int_equal(job_name_check("settle-orders_2", &e), 0);
    assert_int_equal(job_name_check("a.b", &e), ERR_INVALID);
    assert_int_equal(job_name_check("", &e), ERR_INVALID);
    assert_int_equal(
        job_name_check("a1234567890123456789012345678901234567890123456789012345678901234", &e),
        ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_job_that_says_nothing_has_the_defaults_of_a_job),
        HEAP_TEST(what_a_job_says_of_its_runs_goes_into_their_message),
        HEAP_TEST(one_wait_doubles_and_nothing_waits_nothing),
        HEAP_TEST(what_is_wrong_in_a_declaration_is_named),
        HEAP_TEST(a_job_has_a_name_of_the_usual_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
