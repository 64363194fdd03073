#include "bind/bus_lib.h"
#include "bind/queue_lib.h"
#include "bind/webhook_lib.h"
#include "crypt/crypt.h"
#include "house.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

static void refuses(const char *text, const char *words)
{
    struct house h;
    house_open(&h, 1);
    struct err e = ERR_INIT;
    int rc = house_deploy(&h, text, &e);
    house_close(&h);
    assert_refused(rc, ERR_INVALID, words);
}

TEST(a_group_is_a_queue_and_what_publishers_need_of_it_is_written_in_milliseconds)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(
        &h, "on 'order.*' { run = print, attempts = 8, backoff = '5s', ttl = 60, priority = 9,\n"
            "  gate = 'smtp', lane = 'bulk', concurrency = 3, start = 'first' }\n"
            "on 'order.placed' { group = 'app', run = print, backoff = { '1s', 2.5 } }\n"
            "queue 'group.app' { dead_to = 'dead' } queue 'dead' {}\n"
            "on 'a' { group = 'list', batch = 50, wait = '1s', run = print }\n"
            "topic 'debug.#' { unrouted = 'drop' } topic 'b' { retain = '7d' }");
    const struct bind_set *s = h.bind->threads[0].set;
    const struct bind_listener *l = bind_listener_find(s, "group.app", "order.gone");
    assert_non_null(l);
    assert_string_equal(l->pattern, "order.*");
    assert_string_equal(l->label, "order.* (app)");
    assert_int_equal(l->attempts, 8);
    assert_string_equal(groups_at(s->bus->groups, 0)->options,
                        "{\"attempts\":8,\"backoff\":{\"cap\":300000,\"first\":5000},\"gate\":["
                        "\"smtp\"],\"lane\":\"bulk\",\"priority\":9,\"start\":\"first\",\"ttl\":"
                        "60000}");
    l = bind_listener_find(s, "group.app", "order.placed");
    assert_string_equal(l->pattern, "order.placed");
    assert_null(bind_listener_find(s, "group.app", "invoice"));
    assert_null(bind_listener_find(s, "group.other", "order.placed"));
    assert_null(bind_listener_find(s, "app", "order.placed"));
    assert_null(bind_listener_find(s, "group.app", "a b"));
    assert_null(bind_listener_find(s, "group.app", NULL));
    const struct bind_queue *q = bind_set_queue(s, "group.app");
    assert_true(q->handled && q->q.handled);
    assert_int_equal(q->q.concurrency, 3);
    assert_string_equal(q->q.dead_to, "dead");
    q = bind_set_queue(s, "group.list"); /* has a consumer of its own */
    assert_false(q->q.handled);
    assert_int_equal(q->group->batch, 50);
    assert_int_equal(q->group->wait_ms, 1000);
    assert_int_equal(s->bus->topics_count, 2);
    assert_string_equal(s->bus->topics[0].t.pattern, "b");
    assert_true(s->bus->topics[0].t.retain_ms == INT64_C(7) * 86400000);
    assert_int_equal(s->bus->topics[1].t.unrouted, UNROUTED_DROP);
    house_close(&h);
}

TEST(what_is_declared_twice_or_in_two_ways_is_refused_with_both_places)
{
    refuses("on 'a' { run = print }\non 'a' { run = print }",
            "group 'app' listens to 'a' twice, in app.lua:1 and in app.lua:2");
    refuses("topic 'a' {}\ntopic 'a' {}", "declared twice, in app.lua:1 and in app.lua:2");
    refuses("on 'a' { run = print }\non 'b' { batch = 2, run = print }", "worked in another way");
    refuses("on 'a' { run = print } on 'queue/group.app' { run = print }", "a handler of its own");
    refuses("on 'a' { run = print } queue 'group.app' { manual = true }", "declared as manual");
    refuses("on 'a' { run = print } queue 'group.app' { lane = 'bulk' }", "said at `on`");
    refuses("on 'a' { run = print, webhook = { url = 'https://x/', secret = '" SECRET "' } }",
            "run or webhook, not both");
    refuses("on 'a' { attempts = 3, webhook = { url = 'https://x/', secret = '" SECRET "' } }",
            "8 tries");
}

static json_t *hook_of(const char *text)
{
    struct err e = ERR_INIT;
    json_t *v = json_read(text, strlen(text), &e);
    if (v == NULL)
        fail_msg("%s", e.text);
    return v;
}

TEST(secrets_are_those_written_there_and_those_that_the_configuration_has_now)
{
    struct webhook_secret s[WEBHOOK_SECRETS_MAX];
    size_t n;
    struct err e = ERR_INIT;
    assert_int_equal(crypt_start(&e), 0);
    json_t *app = hook_of("{\"crm\":{\"hook\":[\"" SECRET "\",\"" SECRET "\"]},\"n\":5}");
    json_t *hook = hook_of("{\"secret\":[\"" SECRET "\",\"crm.hook\"]}");
    assert_int_equal(bind_webhook_secrets(hook, app, s, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_int_equal(bind_webhook_secrets(hook, NULL, s, &n, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "app.crm.hook"));
    json_decref(hook);
    hook = hook_of("{\"secret\":\"n\"}");
    assert_int_equal(bind_webhook_secrets(hook, app, s, &n, &e), ERR_INVALID);
    json_decref(hook);
    hook = hook_of("{\"secret\":[\"crm.hook\",\"crm.hook\",\"" SECRET "\"]}");
    assert_int_equal(bind_webhook_secrets(hook, app, s, &n, &e), ERR_INVALID);
    assert_null(strstr(e.text, "MfKQ"));
    json_decref(hook);
    json_decref(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(a_group_is_a_queue_and_what_publishers_need_of_it_is_written_in_milliseconds),
        HOUSE_TEST(what_is_declared_twice_or_in_two_ways_is_refused_with_both_places),
        HOUSE_TEST(secrets_are_those_written_there_and_those_that_the_configuration_has_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
