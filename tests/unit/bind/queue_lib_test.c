#include "bind/queue_lib.h"
#include "house.h"

static void refuses_as(int code, const char *text, const char *words)
{
    struct house h;
    house_open(&h, 1);
    struct err e = ERR_INIT;
    int rc = house_deploy(&h, text, &e);
    house_close(&h);
    assert_refused(rc, code, words);
}

static void refuses(const char *text, const char *words)
{
    refuses_as(ERR_INVALID, text, words);
}

TEST(a_queue_and_its_handler_are_one_declaration_with_defaults_for_senders)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(
        &h,
        "on 'queue/mail' { run = function() end, timeout = '30s', gate = { 'smtp', 'dkim' } }\n"
        "queue 'mail' { attempts = 8, max = 100, max_bytes = '1MiB', lane = 'bulk', priority = 9,\n"
        "  overflow = 'drop_oldest', dead_to = 'dead', on_dead = 'halt', keep = '7d', ttl = 60,\n"
        "  backoff = { '1s', 2.5 }, concurrency = 20, dedup_window = '1h' }\n"
        "queue 'dead' { manual = true, backoff = '10s', keep = { completed = '1h', discarded = "
        "'forever', count = 7 } }\n"
        "queue 'text' { backoff = '1s,2m', needs = { gpu = 1, zone = 'a' } }\n"
        "queue 'plain' { max = 7, body_max = '2MiB' }\n");
    const struct bind_queue *q = bind_set_queue(h.bind->threads[0].set, "mail");
    assert_non_null(q);
    assert_true(q->handled && q->q.handled && q->declared);
    assert_int_equal(q->sending.attempts, 8);
    assert_int_equal(q->sending.timeout_ms, 30000);
    assert_int_equal(q->sending.ttl_ms, 60000);
    assert_int_equal(q->sending.priority, 9);
    assert_string_equal(q->sending.lane, "bulk");
    assert_int_equal(q->sending.gates_count, 2);
    assert_string_equal(q->sending.gates[1], "dkim");
    assert_int_equal(q->sending.backoff->list_count, 2);
    assert_int_equal(q->sending.backoff->list[1], 2500);
    assert_int_equal(q->q.max, 100);
    assert_int_equal(q->q.max_bytes, 1 << 20);
    assert_int_equal(q->q.overflow, OVERFLOW_DROP_OLDEST);
    assert_true(q->q.halt_on_dead);
    assert_int_equal(q->q.concurrency, 20);
    assert_int_equal(q->q.keep_discarded_ms, INT64_C(7) * 86400000);
    assert_int_equal(q->q.dedup_window_ms, 3600000);
    q = bind_set_queue(h.bind->threads[0].set, "dead");
    assert_true(q->q.manual && !q->handled);
    assert_int_equal(q->sending.priority, CORE_PRIORITY_UNSAID);
    assert_int_equal(q->sending.backoff->first, 10000);
    assert_int_equal(q->q.keep_discarded_ms, -1);
    assert_int_equal(q->q.keep_completed_ms, 3600000);
    assert_int_equal(q->q.keep_count, 7);
    q = bind_set_queue(h.bind->threads[0].set, "text");
    assert_ptr_equal(q->q.sending, &q->sending);
    assert_int_equal(q->sending.backoff->list_count, 2);
    assert_int_equal(q->sending.backoff->list[1], 120000);
    assert_int_equal(q->sending.needs_count, 2);
    q = bind_set_queue(h.bind->threads[0].set, "plain");
    assert_null(q->q.sending);
    assert_int_equal(q->q.body_max, 2 << 20);
    house_close(&h);
}

TEST(an_option_that_is_none_is_refused_with_the_nearest_one_and_the_line)
{
    refuses("\nqueue 'mail' { atempts = 3 }", "app.lua:2: queue 'mail': ");
    refuses("queue 'mail' { atempts = 3 }", "did you mean 'attempts'?");
    refuses("on 'queue/mail' { concurency = 3, run = print }", "did you mean 'concurrency'?");
    refuses("queue 'mail' { keep = { complete = '1d' } }", "did you mean 'completed'?");
}

TEST(values_of_options_are_judged_where_they_are_declared)
{
    refuses("queue 'mail' { attempts = 0 }", "attempts count from 1");
    refuses("queue 'mail' { attempts = 1001 }", "attempts is a number up to 1000");
    refuses("queue 'mail' { priority = 32 }", "priority is a number up to 31");
    refuses("queue 'mail' { backoff = {} }", "backoff");
    refuses("queue 'mail' { backoff = 'soon' }", "backoff");
    refuses("queue 'mail' { backoff = '1s,soon' }", "backoff");
    refuses("queue 'mail' { body_max = '5MiB' }", "at most 4 MiB");
    refuses("queue 'mail' { body_max = true }", "body_max is a size");
    refuses("queue 'mail' { needs = { gpu = {} } }", "needs: 'gpu' is a text, a number or true");
    refuses("queue 'mail' { timeout = 0 }", "timeout: from 1 ms");
    refuses("queue 'mail' { gate = { 'a', 'a' } }", "gate 'a' is named twice");
    refuses("queue 'mail' { gate = { 'a', 'b', 'c', 'd', 'e' } }", "at most 4");
    refuses("queue 'mail' { overflow = 'drop' }", "overflow is 'refuse' or 'drop_oldest'");
    refuses("queue 'mail' { dead_to = 'a/b' }", "dead_to: a queue is named");
    refuses("queue 'mail' { dedup_window = '31d' }", "dedup_window");
    refuses("queue 'a/b' {}", "a queue is named with");
    refuses("queue 'mail'  'x'", "wants a table");
    refuses("queue 'mail' {}\nqueue 'mail' {}", "app.lua:2: queue 'mail': is declared twice");
    refuses("on 'queue/a' { run = print }\non 'queue/a' { run = print }", "is declared twice");
    refuses("on 'queue/a' {}", "run = function(body, ctx) .. end is missing");
    refuses("queue 'a' { manual = true }\non 'queue/a' { run = print }", "worked by people");
    refuses("queue 'a' { concurrency = 1 }\non 'queue/a' { concurrency = 2, run = print }",
            "said twice");
}

TEST(a_set_has_so_many_queues_and_no_more)
{
    refuses_as(ERR_TOO_LARGE, "for i = 1, 501 do queue('q' .. i) {} end", "over 500 queues");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_queue_and_its_handler_are_one_declaration_with_defaults_for_senders),
        HOUSE_TEST(an_option_that_is_none_is_refused_with_the_nearest_one_and_the_line),
        HOUSE_TEST(values_of_options_are_judged_where_they_are_declared),
        HOUSE_TEST(a_set_has_so_many_queues_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
