#include "base/health.h"

#include <string.h>

#include "base/buf.h"
#include "support/unit.h"

static uint64_t now_ms;

static uint64_t clock_ms(void *arg)
{
    (void)arg;
    return now_ms;
}

static struct health_board *board(void)
{
    now_ms = 1000000;
    return health_board_new(clock_ms, NULL);
}

static json_t *rows(struct health_board *b, bool details)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    health_overall(b, details, &out);
    json_t *v = json_read(out.data, out.len, &e);
    if (v == NULL)
        fail_msg("%s: %s", out.data, e.text);
    return v;
}

static const char *state_of(struct health_board *b, const char *name)
{
    AUTO(json_unref) json_t *all = rows(b, false);
    size_t i;
    json_t *r;
    json_array_foreach(all, i, r)
    {
        if (strcmp(json_string_value(json_object_get(r, "name")), name) == 0)
            for (int s = 0; s < 4; s++)
                if (strcmp(json_string_value(json_object_get(r, "state")),
                           health_state_name((enum health_state)s)) == 0)
                    return health_state_name((enum health_state)s);
    }
    return NULL;
}

TEST(the_worst_of_the_critical_decides)
{
    struct health_board *b = board();
    assert_int_equal(health_overall(b, false, NULL), HEALTH_HEALTHY);
    health_declare(b, "vault", true);
    health_report(b, "vault", HEALTH_HEALTHY, 0, NULL, NULL);
    assert_int_equal(health_overall(b, false, NULL), HEALTH_HEALTHY);
    health_report(b, "vault", HEALTH_DEGRADED, 0, NULL, NULL);
    assert_int_equal(health_overall(b, false, NULL), HEALTH_DEGRADED);
    health_report(b, "vault", HEALTH_UNHEALTHY, 0, "sealed", NULL);
    assert_int_equal(health_overall(b, false, NULL), HEALTH_UNHEALTHY);
    health_forget(b, "vault");
    assert_int_equal(health_overall(b, false, NULL), HEALTH_HEALTHY);
    health_board_free(b);
}

TEST(trouble_elsewhere_and_the_unknown_are_degraded)
{
    struct health_board *b = board();
    health_report(b, "feed", HEALTH_UNHEALTHY, 0, NULL, NULL);
    assert_int_equal(health_overall(b, false, NULL), HEALTH_DEGRADED);
    health_report(b, "feed", HEALTH_HEALTHY, 0, NULL, NULL);
    health_declare(b, "vault", true);
    assert_string_equal(state_of(b, "vault"), "unknown");
    assert_int_equal(health_overall(b, false, NULL), HEALTH_DEGRADED);
    health_report(b, "vault", HEALTH_HEALTHY, 0, NULL, NULL);
    assert_int_equal(health_overall(b, false, NULL), HEALTH_HEALTHY);
    health_board_free(b);
}

TEST(a_report_holds_for_its_ttl)
{
    struct health_board *b = board();
    health_report(b, "usual", HEALTH_HEALTHY, 0, NULL, NULL);
    health_report(b, "short", HEALTH_HEALTHY, 1, NULL, NULL);
    health_report(b, "long", HEALTH_HEALTHY, UINT64_MAX, NULL, NULL);
    now_ms += 1000;
    assert_string_equal(state_of(b, "short"), "healthy");
    now_ms += 1;
    assert_string_equal(state_of(b, "short"), "unknown");
    now_ms += 28999;
    assert_string_equal(state_of(b, "usual"), "healthy");
    now_ms += 1;
    assert_string_equal(state_of(b, "usual"), "unknown");
    now_ms += 15 * 60 * 1000 - 30001;
    assert_string_equal(state_of(b, "long"), "healthy");
    now_ms += 1;
    assert_string_equal(state_of(b, "long"), "unknown");
    health_board_free(b);
}

TEST(message_and_facts_are_bounded_and_still_json)
{
    struct health_board *b = board();
    char message[3000];
    memset(message, 'x', sizeof message);
    memcpy(message + 2046, "\xe2\x82\xac", 3); /* a character over the bound */
    message[sizeof message - 1] = '\0';
    json_t *facts = json_object();
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "f%02d", i);
        json_object_set_new(facts, key, json_integer(i));
    }
    health_report(b, "a", HEALTH_HEALTHY, 0, message, facts);
    json_t *large = json_object();
    AUTO(mem_freep) char *text = mem_new(5000);
    memset(text, 'y', 4999);
    json_object_set_new(large, "large", json_string(text));
    json_object_set_new(large, "small", json_integer(7));
    health_report(b, "b", HEALTH_HEALTHY, 0, NULL, large);
    AUTO(json_unref) json_t *all = rows(b, true);
    json_t *first = json_array_get(all, 0), *second = json_array_get(all, 1);
    assert_int_equal(json_string_length(json_object_get(first, "message")), 2046);
    assert_int_equal(json_object_size(json_object_get(first, "facts")), 33);
    assert_int_equal(json_integer_value(json_path(first, "facts.left_out")), 8);
    assert_int_equal(json_integer_value(json_path(second, "facts.small")), 7);
    assert_int_equal(json_integer_value(json_path(second, "facts.left_out")), 1);
    health_board_free(b);
}

TEST(messages_and_facts_are_details)
{
    struct health_board *b = board();
    health_report(b, "a", HEALTH_DEGRADED, 0, "inner words", json_pack("{s:i}", "n", 1));
    AUTO(json_unref) json_t *all = rows(b, false);
    assert_null(json_object_get(json_array_get(all, 0), "message"));
    assert_null(json_object_get(json_array_get(all, 0), "facts"));
    assert_non_null(json_object_get(json_array_get(all, 0), "age_s"));
    health_board_free(b);
}

TEST(a_full_board_says_so)
{
    struct health_board *b = board();
    for (int i = 0; i < HEALTH_COMPONENTS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "part-%d", i);
        health_report(b, name, HEALTH_HEALTHY, 0, NULL, NULL);
    }
    assert_int_equal(health_overall(b, false, NULL), HEALTH_HEALTHY);
    health_report(b, "one more", HEALTH_HEALTHY, 0, NULL, json_object());
    assert_int_equal(health_overall(b, false, NULL), HEALTH_DEGRADED);
    health_board_free(b);
}

TEST(without_a_board_nothing_happens)
{
    health_declare(NULL, "a", true);
    health_report(NULL, "a", HEALTH_HEALTHY, 0, "x", json_object());
    health_forget(NULL, "a");
    AUTO(buf_fini) struct buf out = BUF_INIT(100);
    assert_int_equal(health_overall(NULL, true, &out), HEALTH_HEALTHY);
    assert_string_equal(buf_str(&out), "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_worst_of_the_critical_decides),
        HEAP_TEST(trouble_elsewhere_and_the_unknown_are_degraded),
        HEAP_TEST(a_report_holds_for_its_ttl),
        HEAP_TEST(message_and_facts_are_bounded_and_still_json),
        HEAP_TEST(messages_and_facts_are_details),
        HEAP_TEST(a_full_board_says_so),
        HEAP_TEST(without_a_board_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
