/* What a queue says of its records holds for each that does not say so itself, wherever it is from.
 */
#include "queue/core.h"

#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "support/queue_kit.h"

static const struct core_backoff waits = {.list = {1000, 2000}, .list_count = 2};

/* Queue `queue_name` of tenant "a" with this as what it says; `priority_` may be UNSAID. */
enum { UNSAID = CORE_PRIORITY_UNSAID };
#define kit_says(k, queue_name, priority_, ...)                                                    \
    kit_queue(k, queue_name, q_.handled = false,                                                   \
              q_.sending = (&(struct core_send){.priority = priority_, __VA_ARGS__}))
/* A send that says but this. */
#define kit_quiet(k, n, ...) kit_send(k, n, .priority = CORE_PRIORITY_UNSAID, __VA_ARGS__)

static void work(struct queue_kit *k, uint32_t n, const char *queue)
{
    const char *queues[] = {queue};
    kit_open_(k, n,
              (struct core_consumer){
                  .node = "n", .credit = 1, .tenant = "a", .queues = queues, .queues_count = 1});
}

TEST(a_record_that_says_nothing_is_as_its_queue_says)
{
    struct queue_kit *k = *state;
    kit_says(k, "mail", 9, .attempts = 2, .timeout_ms = 700, .lane = "bulk", .backoff = &waits);
    kit_quiet(k, 1, .queue = "mail");
    struct core_view v = kit_look(k, 1);
    assert_int_equal(v.attempts_max, 2);
    assert_int_equal(v.priority, 9);
    assert_string_equal(v.lane, "bulk");
    work(k, 1, "mail");
    struct core_effect grant;
    assert_int_equal(kit_effects(k, EFFECT_GRANT, &grant), 1);
    assert_true(grant.timeout_at == k->now + 700);
    kit_settle(k, 1, SETTLE_NACK);
    int64_t wait = kit_look(k, 1).run_at - k->now;
    assert_in_range(wait, 900, 1100);
    kit_pass(k, wait);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_look(k, 1).reason, REASON_ATTEMPTS);
}

TEST(what_a_record_says_comes_before_its_queue)
{
    struct queue_kit *k = *state;
    kit_says(k, "mail", 9, .attempts = 8, .lane = "bulk", .ttl_ms = 1000, .gates = {"smtp"},
             .gates_count = 1);
    core_gate_close(k->c, "a", "smtp", k->now + 60000, NULL);
    kit_send(k, 1, .queue = "mail", .attempts = 3, .priority = CORE_PRIORITY, .lane = "media",
             .ttl_ms = -1, .no_gates = true);
    struct core_view v = kit_look(k, 1);
    assert_int_equal(v.attempts_max, 3);
    assert_int_equal(v.priority, CORE_PRIORITY);
    assert_string_equal(v.lane, "media");
    kit_pass(k, 2000);
    work(k, 1, "mail");
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_queue_that_says_nothing_leaves_the_usual)
{
    struct queue_kit *k = *state;
    struct core_send nothing = {.priority = CORE_PRIORITY_UNSAID, .no_gates = true};
    kit_queue(k, "q", q_.sending = &nothing);
    kit_quiet(k, 1);
    struct core_view v = kit_look(k, 1);
    assert_int_equal(v.attempts_max, CORE_ATTEMPTS);
    assert_int_equal(v.priority, CORE_PRIORITY);
    assert_string_equal(v.lane, "default");
    assert_false(core_sending_says(&nothing));
    assert_false(core_sending_says(NULL));
    assert_null(core_sending_copy(&nothing));
}

TEST(the_gate_of_a_queue_holds_what_names_none)
{
    struct queue_kit *k = *state;
    kit_says(k, "mail", UNSAID, .gates = {"smtp"}, .gates_count = 1);
    core_gate_close(k->c, "a", "smtp", k->now + 60000, NULL);
    work(k, 1, "mail");
    kit_quiet(k, 1, .queue = "mail");
    assert_int_equal(kit_look(k, 1).waits, WAITS_GATE);
    kit_pass(k, 60000);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(the_ttl_and_the_labels_of_a_queue_hold)
{
    struct queue_kit *k = *state;
    const struct core_label gpu = {.name = "gpu"};
    kit_says(k, "mail", UNSAID, .ttl_ms = 1000, .needs = &gpu, .needs_count = 1);
    work(k, 1, "mail");
    kit_quiet(k, 1, .queue = "mail");
    kit_quiet(k, 2, .queue = "mail", .no_needs = true);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(kit_look(k, 1).waits, WAITS_LABEL);
    kit_pass(k, 1000);
    assert_int_equal(kit_look(k, 1).reason, REASON_EXPIRED);
}

TEST(a_declaration_speaks_for_what_is_sent_from_then_on)
{
    struct queue_kit *k = *state;
    kit_says(k, "mail", UNSAID, .attempts = 2);
    kit_quiet(k, 1, .queue = "mail");
    kit_says(k, "mail", UNSAID, .lane = "bulk");
    kit_quiet(k, 2, .queue = "mail");
    assert_int_equal(kit_look(k, 1).attempts_max, 2);
    assert_string_equal(kit_look(k, 1).lane, "default");
    assert_int_equal(kit_look(k, 2).attempts_max, CORE_ATTEMPTS);
    assert_string_equal(kit_look(k, 2).lane, "bulk");
}

TEST(a_moved_record_is_as_its_new_queue_says_but_for_what_it_said)
{
    struct queue_kit *k = *state;
    struct uuid first = kit_id(1), second = kit_id(2);
    kit_says(k, "mail", UNSAID, .attempts = 8, .lane = "bulk", .gates = {"smtp"}, .gates_count = 1);
    kit_says(k, "slow", 1, .gates = {"fax"}, .gates_count = 1);
    kit_quiet(k, 1, .queue = "mail");
    kit_quiet(k, 2, .queue = "mail", .attempts = 3, .lane = "media");
    core_gate_close(k->c, "a", "fax", k->now + 1000, NULL);
    assert_int_equal(core_move(k->c, &first, "slow", &k->e), 0);
    assert_int_equal(core_move(k->c, &second, "slow", &k->e), 0);
    struct core_view v = kit_look(k, 1);
    assert_int_equal(v.attempts_max, CORE_ATTEMPTS);
    assert_int_equal(v.priority, 1);
    assert_string_equal(v.lane, "default");
    assert_string_equal(v.waits_for, "fax");
    v = kit_look(k, 2);
    assert_int_equal(v.attempts_max, 3);
    assert_string_equal(v.lane, "media");
    assert_int_equal(core_move(k->c, &first, "mail", &k->e), 0);
    assert_int_equal(kit_look(k, 1).attempts_max, 8);
    assert_string_equal(kit_look(k, 1).lane, "bulk");
    core_check(k->c);
}

TEST(a_dead_letter_is_as_the_queue_says_that_takes_it_and_again_when_it_comes_back)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_queue(k, "mail", q_.dead_to = "dead",
              q_.sending = (&(struct core_send){
                  .priority = CORE_PRIORITY_UNSAID, .attempts = 1, .lane = "bulk"}));
    kit_says(k, "dead", 30, .timeout_ms = 900);
    kit_open(k, 1, 1);
    kit_quiet(k, 1, .queue = "mail");
    kit_settle(k, 1, SETTLE_NACK);
    struct core_view v = kit_look(k, 1);
    assert_string_equal(v.queue, "dead");
    assert_string_equal(v.lane, "default");
    assert_int_equal(v.priority, 30);
    assert_int_equal(v.attempts_max, CORE_ATTEMPTS);
    assert_int_equal(core_pause(k->c, "a", "mail", true, &k->e), 0);
    assert_int_equal(core_move(k->c, &id, "mail", &k->e), 0);
    v = kit_look(k, 1);
    assert_string_equal(v.lane, "bulk");
    assert_int_equal(v.attempts_max, 1);
}

TEST(what_a_queue_says_outlives_a_restart)
{
    struct queue_kit *k = *state;
    const struct core_label needs[] = {{.name = "gpu", .number = 2}, {.name = "zone", .text = "x"}};
    kit_says(k, "mail", 0, .attempts = 8, .ttl_ms = 5000, .deadline_ms = 6000, .timeout_ms = 7000,
             .backoff = &waits, .lane = "bulk", .gates = {"smtp", "dkim"}, .gates_count = 2,
             .needs = needs, .needs_count = 2);
    kit_quiet(k, 1, .queue = "mail", .timeout_ms = 100);
    kit_queue(k, "small", q_.body_max = 100);
    struct core *copy = kit_copy(k);
    struct core_queue before, after;
    struct core_counts n;
    assert_int_equal(core_find(k->c, "a", "mail", &before, &n, NULL), 0);
    assert_int_equal(core_find(copy, "a", "mail", &after, &n, NULL), 0);
    assert_true(core_sending_same(before.sending, after.sending));
    assert_int_equal(after.sending->needs[0].number, 2);
    assert_string_equal(after.sending->gates[1], "dkim");
    assert_int_equal(after.sending->backoff->list[1], 2000);
    assert_int_equal(core_find(copy, "a", "small", &after, &n, NULL), 0);
    assert_int_equal(after.body_max, 100);
    struct core *first = k->c;
    struct uuid id = kit_id(1);
    k->c = copy;
    kit_pass(k, 1);
    assert_int_equal(core_move(copy, &id, "q", &k->e), 0); /* what it did not say is known still */
    assert_string_equal(kit_look(k, 1).lane, "default");
    assert_int_equal(kit_look(k, 1).attempts_max, CORE_ATTEMPTS);
    k->c = first;
    core_free(copy);
}

TEST(a_body_is_as_long_as_its_queue_takes)
{
    struct queue_kit *k = *state;
    kit_queue(k, "small", q_.body_max = 100);
    kit_queue(k, "big", q_.body_max = CORE_BODY_MAX);
    kit_send(k, 1, .bytes = CORE_BODY);
    assert_int_equal(kit_try_send(k, 2, (struct core_send){.bytes = CORE_BODY + 1}), ERR_TOO_LARGE);
    assert_non_null(strstr(k->e.text, "queue 'q'"));
    assert_non_null(strstr(k->e.text, "body_max"));
    kit_send(k, 2, .queue = "big", .bytes = CORE_BODY_MAX);
    kit_send(k, 3, .queue = "small", .bytes = 100, .unique = "u");
    struct core_send patch = {.queue = "small", .bytes = 101, .unique = "u"};
    patch.unique_mode = UNIQUE_REPLACE;
    assert_int_equal(kit_try_send(k, 4, patch), ERR_TOO_LARGE);
    kit_send(k, 5, .queue = "small", .bytes = 500, .large = true);
}

TEST(a_body_that_is_edited_is_as_long_as_its_queue_takes_and_one_that_is_there_can_be_moved)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_queue(k, "small", q_.body_max = 100);
    kit_send(k, 1, .bytes = 101);
    assert_int_equal(core_edit(k->c, &id, 77, CORE_BODY + 1, false, &k->e), ERR_TOO_LARGE);
    assert_int_equal(core_move(k->c, &id, "small", &k->e), 0);
    assert_int_equal(core_edit(k->c, &id, 78, 101, false, &k->e), ERR_TOO_LARGE);
    assert_int_equal(core_edit(k->c, &id, 79, 101, true, &k->e), 0);
    assert_int_equal(core_edit(k->c, &id, 80, 100, false, &k->e), 0);
}

TEST(a_declaration_that_is_taken_back_was_never_there)
{
    struct queue_kit *k = *state;
    struct core_queue q;
    struct core_counts n;
    kit_says(k, "mail", UNSAID, .attempts = 8, .lane = "bulk");
    core_unit(k->c);
    kit_says(k, "mail", UNSAID, .attempts = 3);
    core_undo(k->c, false);
    assert_int_equal(core_find(k->c, "a", "mail", &q, &n, NULL), 0);
    assert_int_equal(q.sending->attempts, 8);
    assert_string_equal(q.sending->lane, "bulk");
}

TEST(what_a_queue_says_is_judged_when_it_is_declared)
{
    struct queue_kit *k = *state;
    struct core_send wrong[] = {
        {.priority = CORE_PRIORITY_MAX + 1},
        {.attempts = CORE_ATTEMPTS_MAX + 1},
        {.gates = {"a", "a"}, .gates_count = 2},
        {.lane = ""},
        {.deadline_ms = -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct core_queue q = {.tenant = "a", .name = "mail", .sending = &wrong[i]};
        core_queue_defaults(&q);
        assert_int_equal(core_declare(k->c, &q, &k->e), ERR_INVALID);
    }
}

TEST(a_queue_whose_lane_has_no_room_is_refused)
{
    struct queue_kit *k = *state;
    char name[16];
    for (int i = 0; i < CORE_LANES_MAX; i++) {
        snprintf(name, sizeof name, "lane%d", i);
        core_lane(k->c, name, 1, UINT32_MAX, NULL);
    }
    struct core_send says = {.priority = CORE_PRIORITY_UNSAID, .lane = "one_more"};
    struct core_queue q = {.tenant = "a", .name = "mail", .sending = &says};
    core_queue_defaults(&q);
    assert_int_equal(core_declare(k->c, &q, &k->e), ERR_TOO_LARGE);
    assert_string_equal(k->e.field, "lane");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_record_that_says_nothing_is_as_its_queue_says),
        KIT_TEST(what_a_record_says_comes_before_its_queue),
        KIT_TEST(a_queue_that_says_nothing_leaves_the_usual),
        KIT_TEST(the_gate_of_a_queue_holds_what_names_none),
        KIT_TEST(the_ttl_and_the_labels_of_a_queue_hold),
        KIT_TEST(a_declaration_speaks_for_what_is_sent_from_then_on),
        KIT_TEST(a_moved_record_is_as_its_new_queue_says_but_for_what_it_said),
        KIT_TEST(a_dead_letter_is_as_the_queue_says_that_takes_it_and_again_when_it_comes_back),
        KIT_TEST(what_a_queue_says_outlives_a_restart),
        KIT_TEST(a_body_is_as_long_as_its_queue_takes),
        KIT_TEST(
            a_body_that_is_edited_is_as_long_as_its_queue_takes_and_one_that_is_there_can_be_moved),
        KIT_TEST(a_declaration_that_is_taken_back_was_never_there),
        KIT_TEST(what_a_queue_says_is_judged_when_it_is_declared),
        KIT_TEST(a_queue_whose_lane_has_no_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
