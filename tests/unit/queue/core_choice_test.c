/* Who is granted what: order, keys, gates, labels, limits, fair shares. */
#include "queue/core.h"

#include "support/unit.h"

#include <stdio.h>

#include "support/queue_kit.h"

/* The number of the one record that executes. */
static uint32_t executing(struct queue_kit *k, uint32_t records)
{
    uint32_t found = 0;
    for (uint32_t i = 1; i <= records; i++)
        if (kit_state(k, i) == REC_EXECUTING) {
            assert_int_equal(found, 0);
            found = i;
        }
    return found;
}

/* The first from `at` on that executes; `end`: none. */
static uint32_t executing_from(struct queue_kit *k, uint32_t at, uint32_t end)
{
    while (at < end && kit_state(k, at) != REC_EXECUTING)
        at++;
    return at;
}

/* ---- order ---- */

TEST(a_higher_priority_goes_first_then_the_earlier)
{
    struct queue_kit *k = *state;
    static const uint8_t priorities[] = {4, 9, 4, 31, 0};
    static const uint32_t order[] = {4, 2, 1, 3, 5};
    for (uint32_t i = 0; i < 5; i++)
        kit_send(k, i + 1, .priority = priorities[i]);
    kit_open(k, 1, 1);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(executing(k, 5), order[i]);
        kit_settle(k, order[i], SETTLE_ACK);
    }
}

TEST(what_was_due_earlier_goes_first_though_it_was_sent_later)
{
    struct queue_kit *k = *state;
    kit_send(k, 1, .run_at = k->now + 20);
    kit_send(k, 2, .run_at = k->now + 10);
    kit_pass(k, 30);
    kit_open(k, 1, 1);
    assert_int_equal(executing(k, 2), 2);
}

TEST(grants_go_round_the_consumers)
{
    struct queue_kit *k = *state;
    for (uint32_t i = 1; i <= 3; i++)
        kit_open(k, i, 4);
    for (uint32_t i = 0; i < 9; i++) {
        struct uuid want = kit_consumer_id(i % 3 + 1);
        kit_send(k, i + 1);
        struct core_view v = kit_look(k, i + 1);
        assert_memory_equal(&v.consumer, &want, sizeof(want));
    }
}

TEST(a_consumer_takes_as_much_as_it_said_and_from_its_queues)
{
    struct queue_kit *k = *state;
    const char *const queues[] = {"plain"};
    kit_queue(k, "plain", q_.handled = false);
    kit_open_(k, 1,
              (struct core_consumer){
                  .node = "n", .tenant = "a", .queues = queues, .queues_count = 1, .credit = 2});
    kit_send(k, 1);
    for (uint32_t i = 2; i <= 4; i++)
        kit_send(k, i, .queue = "plain");
    assert_int_equal(kit_look(k, 1).waits, WAITS_HANDLER);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
    assert_int_equal(kit_state(k, 4), REC_AVAILABLE);
    assert_int_equal(kit_counts(k, "plain").consumers, 1);
    kit_open_(k, 1,
              (struct core_consumer){
                  .node = "n", .tenant = "a", .queues = queues, .queues_count = 1, .credit = 3});
    assert_int_equal(kit_state(k, 4), REC_EXECUTING);
}

/* ---- keys ---- */

TEST(records_of_a_key_run_one_at_a_time_in_order_of_sending) /* Q5 */
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 9);
    kit_open(k, 2, 9);
    kit_send(k, 1, .key = "k", .priority = 1);
    kit_send(k, 2, .key = "k", .priority = 9);
    kit_send(k, 3, .key = "k", .priority = 31);
    kit_send(k, 4, .key = "other");
    assert_int_equal(kit_state(k, 4), REC_EXECUTING);
    assert_int_equal(executing(k, 3), 1);
    assert_int_equal(kit_look(k, 2).waits, WAITS_KEY);
    assert_string_equal(kit_look(k, 2).waits_for, "k");
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(executing(k, 3), 2);
    kit_settle(k, 2, SETTLE_ACK);
    assert_int_equal(executing(k, 3), 3);
}

TEST(a_retry_holds_back_its_own_key_only) /* Q5 */
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 9);
    kit_send(k, 1, .key = "k");
    kit_send(k, 2, .key = "k");
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_look(k, 2).waits, WAITS_KEY);
    kit_send(k, 3, .key = "other");
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
    kit_settle_with(k, 3, SETTLE_SNOOZE, s_.until = k->now + 50000);
    kit_send(k, 4, .key = "other");
    assert_int_equal(kit_look(k, 4).waits, WAITS_KEY);
    kit_pass(k, 4000);
    assert_int_equal(executing(k, 2), 1);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(what_was_released_runs_before_the_others_of_its_key) /* Q5 */
{
    struct queue_kit *k = *state;
    struct uuid first = kit_consumer_id(1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .key = "k");
    kit_send(k, 2, .key = "k", .priority = 31);
    kit_open(k, 2, 1);
    kit_pass(k, 0);
    assert_int_equal(core_leave(k->c, &first, &k->e), 0);
    assert_int_equal(executing(k, 2), 1);
    assert_int_equal(kit_look(k, 1).attempts, 1);
    struct core_view v = kit_look(k, 1);
    struct uuid second = kit_consumer_id(2);
    assert_memory_equal(&v.consumer, &second, sizeof(second));
}

TEST(a_key_goes_on_past_a_dead_letter_unless_the_queue_halts)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(3);
    kit_queue(k, "strict", q_.halt_on_dead = true);
    kit_open(k, 1, 9);
    kit_send(k, 1, .key = "k");
    kit_send(k, 2, .key = "k");
    kit_send(k, 3, .queue = "strict", .key = "k");
    kit_send(k, 4, .queue = "strict", .key = "k");
    kit_settle(k, 1, SETTLE_REJECT);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    kit_pass(k, 0);
    kit_settle(k, 3, SETTLE_REJECT);
    kit_pass(k, 0);
    assert_int_equal(kit_look(k, 4).waits, WAITS_DECISION);
    assert_int_equal(core_retry(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
    assert_int_equal(kit_look(k, 4).waits, WAITS_KEY);
    kit_settle(k, 3, SETTLE_REJECT);
    assert_int_equal(core_purge(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 4), REC_EXECUTING);
}

TEST(a_key_is_of_its_queue)
{
    struct queue_kit *k = *state;
    kit_queue(k, "other");
    kit_open(k, 1, 9);
    kit_send(k, 1, .key = "k");
    kit_send(k, 2, .key = "k", .queue = "other");
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

/* ---- limits ---- */

TEST(a_queue_executes_no_more_than_its_concurrency) /* J4 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.concurrency = 2);
    kit_open(k, 1, 9);
    for (uint32_t i = 1; i <= 3; i++)
        kit_send(k, i);
    assert_int_equal(kit_counts(k, "q").executing, 2);
    assert_int_equal(kit_look(k, 3).waits, WAITS_CONCURRENCY);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
}

TEST(a_lane_executes_no_more_than_its_cap) /* J4 */
{
    struct queue_kit *k = *state;
    core_lane(k->c, "bulk", 1, 1, NULL);
    kit_open(k, 1, 9);
    kit_send(k, 1, .lane = "bulk");
    kit_send(k, 2, .lane = "bulk");
    kit_send(k, 3);
    assert_int_equal(kit_look(k, 2).waits, WAITS_LANE);
    assert_string_equal(kit_look(k, 2).waits_for, "bulk");
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
    core_lane(k->c, "bulk", 1, 0, NULL); /* pauses */
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    core_lane(k->c, "bulk", 1, UINT32_MAX, NULL);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(a_gate_lets_as_many_execute_as_it_has_room_for) /* J4 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "other");
    kit_gate(k, "g", .capacity = 1);
    kit_open(k, 1, 9);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    kit_send(k, 2, .gates = {"g"}, .gates_count = 1, .queue = "other");
    assert_int_equal(kit_look(k, 2).waits, WAITS_GATE);
    assert_string_equal(kit_look(k, 2).waits_for, "g");
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(who_waits_at_a_gate_goes_before_what_came_later_and_is_less_urgent)
{
    struct queue_kit *k = *state;
    kit_gate(k, "g", .capacity = 1);
    kit_open(k, 1, 2);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    kit_send(k, 2, .gates = {"g"}, .gates_count = 1, .priority = 31);
    assert_int_equal(core_pause(k->c, "a", "q", true, &k->e), 0);
    kit_send(k, 3, .gates = {"g"}, .gates_count = 1);
    kit_pass(k, 1);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(core_pause(k->c, "a", "q", false, &k->e), 0);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
}

TEST(a_gate_lets_as_many_start_as_its_rate_says)
{
    struct queue_kit *k = *state;
    uint32_t granted = 0;
    kit_gate(k, "g", .rate = 10, .per_ms = 1000);
    kit_open(k, 1, 2000);
    for (uint32_t i = 1; i <= 100; i++)
        kit_send(k, i, .gates = {"g"}, .gates_count = 1);
    assert_int_equal(kit_counts(k, "q").executing, 10); /* at once */
    assert_int_equal(core_next_due(k->c), k->now + 100);
    for (int i = 0; i < 500; i++) {
        kit_pass(k, 10);
        granted += (uint32_t)kit_effects(k, EFFECT_GRANT, NULL);
    }
    assert_int_equal(granted, 50); /* in 5 s */
}

TEST(a_closed_gate_opens_by_itself_or_at_once)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 9);
    assert_int_equal(core_gate_close(k->c, "a", "g", k->now + 1000, &k->e), 0);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_GATE);
    assert_int_equal(core_next_due(k->c), k->now + 1000);
    kit_pass(k, 1000);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    core_gate_close(k->c, "a", "g", k->now + 1000, NULL);
    kit_send(k, 2, .gates = {"g"}, .gates_count = 1);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    core_gate_close(k->c, "a", "g", 0, NULL);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(a_backoff_never_shortens_what_a_gate_is_closed_for)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 9);
    assert_int_equal(core_gate_backoff(k->c, "a", "g", k->now + 1000, &k->e), 0);
    assert_int_equal(core_gate_backoff(k->c, "a", "g", k->now + 9000, &k->e), 0);
    assert_int_equal(core_gate_backoff(k->c, "a", "g", k->now + 2000, &k->e), 0);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    assert_int_equal(core_next_due(k->c), k->now + 9000);
    kit_pass(k, 8999);
    assert_int_equal(kit_look(k, 1).waits, WAITS_GATE);
    kit_pass(k, 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(who_came_to_a_closed_gate_has_its_turn_when_it_opens)
{
    struct queue_kit *k = *state;
    core_gate_close(k->c, "a", "g", INT64_MAX, NULL);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    kit_send(k, 2);
    kit_send(k, 3, .gates = {"f", "g"}, .gates_count = 2, .priority = 9);
    kit_send(k, 4, .priority = 1);
    kit_open(k, 1, 1);
    assert_int_equal(kit_state(k, 4), REC_EXECUTING);
    kit_settle(k, 4, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    core_gate_close(k->c, "a", "g", 0, NULL);
    kit_send(k, 5, .gates = {"g"}, .gates_count = 1, .priority = 31);
    kit_settle(k, 2, SETTLE_ACK);
    static const uint32_t turns[] = {5, 3, 1};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kit_state(k, turns[i]), REC_EXECUTING);
        kit_settle(k, turns[i], SETTLE_ACK);
    }
}

TEST(one_handler_closes_a_gate_for_all)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 9);
    kit_send(k, 1, .gates = {"g"}, .gates_count = 1);
    kit_settle_with(k, 1, SETTLE_BACKOFF, s_.gate = "g"; s_.until = k->now + 60000);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 1).attempts, 0);
    kit_send(k, 2, .gates = {"g"}, .gates_count = 1);
    assert_int_equal(kit_look(k, 2).waits, WAITS_GATE);
    kit_pass(k, 60000);
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

/* ---- labels ---- */

TEST(a_record_goes_to_a_consumer_that_has_what_it_needs)
{
    struct queue_kit *k = *state;
    struct core_label zone_x = {.name = "zone", .text = "x"},
                      zone_y = {.name = "zone", .text = "y"};
    struct core_label zone = {.name = "zone"};
    kit_open(k, 1, 9);
    kit_send(k, 1, .needs = &zone_x, .needs_count = 1);
    kit_send(k, 2, .needs = &zone, .needs_count = 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_LABEL);
    assert_string_equal(kit_look(k, 1).waits_for, "zone");
    kit_open(k, 2, 9, .labels = &zone_y, .labels_count = 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_LABEL);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    kit_open(k, 3, 9, .labels = &zone_x, .labels_count = 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    struct core_view v = kit_look(k, 1);
    struct uuid third = kit_consumer_id(3);
    assert_memory_equal(&v.consumer, &third, sizeof(third));
}

TEST(a_number_is_used_up_while_it_executes)
{
    struct queue_kit *k = *state;
    struct core_label has = {.name = "gpu", .number = 3}, two = {.name = "gpu", .number = 2};
    struct core_label one = {.name = "gpu", .number = 1}, four = {.name = "gpu", .number = 4};
    kit_open(k, 1, 9, .labels = &has, .labels_count = 1);
    kit_send(k, 1, .needs = &two, .needs_count = 1);
    kit_send(k, 2, .needs = &two, .needs_count = 1);
    kit_send(k, 3, .needs = &one, .needs_count = 1);
    kit_send(k, 4, .needs = &four, .needs_count = 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_look(k, 2).waits, WAITS_LABEL);
    assert_string_equal(kit_look(k, 2).waits_for, "gpu");
    assert_int_equal(kit_counts(k, "q").unfit, 2);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING); /* delays none behind it */
    assert_int_equal(kit_look(k, 4).waits, WAITS_LABEL);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(kit_counts(k, "q").unfit, 1);
}

TEST(a_number_of_a_node_is_used_up_by_all_its_consumers_together)
{
    struct queue_kit *k = *state;
    struct core_label has = {.name = "gpu", .number = 2}, one = {.name = "gpu", .number = 1};
    const char *const batches[] = {"batches"};
    struct uuid second = kit_consumer_id(2);
    kit_queue(k, "batches", q_.handled = false);
    kit_open(k, 1, 9, .labels = &has, .labels_count = 1, .of_node = true);
    struct core_consumer other = {.node = "n",
                                  .tenant = "a",
                                  .queues = batches,
                                  .queues_count = 1,
                                  .credit = 9,
                                  .labels = &has,
                                  .labels_count = 1,
                                  .of_node = true};
    kit_open_(k, 2, other);
    kit_send(k, 1, .needs = &one, .needs_count = 1);
    kit_send(k, 2, .queue = "batches", .needs = &one, .needs_count = 1);
    kit_send(k, 3, .needs = &one, .needs_count = 1);
    kit_send(k, 4, .queue = "batches", .needs = &one, .needs_count = 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    for (uint32_t n = 3; n <= 4; n++) {
        assert_int_equal(kit_look(k, n).waits, WAITS_LABEL);
        assert_string_equal(kit_look(k, n).waits_for, "gpu");
    }
    core_free(kit_copy(k));       /* read back, it shares as before */
    kit_settle(k, 1, SETTLE_ACK); /* of the worker: the other may take it too */
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
    kit_settle(k, 3, SETTLE_ACK);
    assert_int_equal(kit_state(k, 4), REC_EXECUTING);
    kit_send(k, 5, .needs = &one, .needs_count = 1);
    assert_int_equal(kit_look(k, 5).waits, WAITS_LABEL);
    core_leave(k->c, &second, NULL); /* what it used is free */
    assert_int_equal(kit_state(k, 5), REC_EXECUTING);
    core_check(k->c);
}

TEST(consumers_of_another_node_and_from_outside_have_labels_of_their_own)
{
    struct queue_kit *k = *state;
    struct core_label gpu = {.name = "gpu", .number = 1};
    kit_open_(k, 1,
              (struct core_consumer){.worker = true,
                                     .node = "n",
                                     .credit = 9,
                                     .labels = &gpu,
                                     .labels_count = 1,
                                     .of_node = true});
    kit_open_(k, 2,
              (struct core_consumer){.worker = true,
                                     .node = "m",
                                     .credit = 9,
                                     .labels = &gpu,
                                     .labels_count = 1,
                                     .of_node = true});
    kit_open_(k, 3,
              (struct core_consumer){
                  .worker = true, .node = "n", .credit = 9, .labels = &gpu, .labels_count = 1});
    for (uint32_t n = 1; n <= 4; n++)
        kit_send(k, n, .needs = &gpu, .needs_count = 1);
    assert_int_equal(kit_counts(k, "q").executing, 3);
    assert_int_equal(kit_counts(k, "q").unfit, 1);
}

TEST(labels_taken_away_and_given_back_meanwhile_are_still_in_use)
{
    struct queue_kit *k = *state;
    struct core_label gpu = {.name = "gpu", .number = 1};
    kit_open(k, 1, 9, .labels = &gpu, .labels_count = 1);
    kit_send(k, 1, .needs = &gpu, .needs_count = 1);
    kit_open(k, 1, 9);
    kit_open(k, 1, 9, .labels = &gpu, .labels_count = 1);
    kit_send(k, 2, .needs = &gpu, .needs_count = 1);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(a_consumer_with_only_takes_just_the_work_that_needs_it)
{
    struct queue_kit *k = *state;
    struct core_label gpu = {.name = "gpu", .number = 1};
    const char *const only[] = {"gpu"};
    kit_open(k, 1, 9, .labels = &gpu, .labels_count = 1, .only = only, .only_count = 1);
    kit_send(k, 1);
    kit_send(k, 2, .needs = &gpu, .needs_count = 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_LABEL);
    assert_string_equal(kit_look(k, 1).waits_for, "");
    assert_int_equal(kit_counts(k, "q").unfit, 1);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    kit_open(k, 2, 9);
    assert_int_equal(kit_counts(k, "q").unfit, 0);
}

/* ---- shares ---- */

/* Of `turns` grants, one at a time, how many went to records 1000 * i .. of each kind i; each that
 * is granted is acked and sent again as `kinds[i]`, so that none runs out. */
static void flood(struct queue_kit *k, const struct core_send *kinds, uint32_t kinds_count,
                  uint32_t turns, uint32_t *granted)
{
    enum { DEPTH = 3 };
    for (uint32_t i = 0; i < kinds_count * DEPTH; i++)
        kit_send_(k, i / DEPTH * 1000 + i % DEPTH, kinds[i / DEPTH]);
    kit_open(k, 1, 1, .lease_ms = 43200000);
    for (uint32_t turn = 0; turn < turns; turn++) {
        uint32_t at = 0;
        while (kit_state(k, at / DEPTH * 1000 + at % DEPTH) != REC_EXECUTING)
            at++;
        granted[at / DEPTH]++;
        kit_pass(k, 1);
        kit_settle(k, at / DEPTH * 1000 + at % DEPTH, SETTLE_ACK);
        kit_send_(k, at / DEPTH * 1000 + at % DEPTH, kinds[at / DEPTH]);
    }
}

static void assert_share(uint32_t granted, uint32_t turns, uint32_t weight, uint32_t weights)
{
    double share = (double)turns * weight / weights;
    if (granted < share * 0.9 || granted > share * 1.1)
        fail_msg("%u of %u grants for a share of %u in %u", granted, turns, weight, weights);
}

TEST(lanes_have_their_share_under_any_flood) /* Q8 */
{
    struct queue_kit *k = *state;
    uint32_t granted[3] = {0};
    struct core_send kinds[] = {{.lane = "system"}, {.lane = "default"}, {.lane = "bulk"}};
    flood(k, kinds, 3, 1300, granted);
    assert_share(granted[0], 1300, 8, 13);
    assert_share(granted[1], 1300, 4, 13);
    assert_share(granted[2], 1300, 1, 13);
}

TEST(tenants_have_their_share_of_a_lane) /* Q8 */
{
    struct queue_kit *k = *state;
    uint32_t granted[3] = {0};
    struct core_send kinds[] = {
        {0}, {.tenant = "b", .create = true}, {.tenant = "c", .create = true}};
    static const char *const names[] = {"b", "c"};
    for (int i = 0; i < 2; i++) {
        struct core_queue q = {.tenant = names[i], .name = "q", .handled = true};
        assert_int_equal(core_declare(k->c, &q, &k->e), 0);
    }
    core_tenant(k->c, "b", 3, NULL);
    flood(k, kinds, 3, 1000, granted);
    assert_share(granted[0], 1000, 1, 5);
    assert_share(granted[1], 1000, 3, 5);
    assert_share(granted[2], 1000, 1, 5);
}

TEST(who_had_much_while_nobody_else_wanted_any_does_not_pay_for_it_later) /* Q8 */
{
    struct queue_kit *k = *state;
    uint32_t granted[2] = {0};
    struct core_send kinds[] = {{.lane = "x"}, {.lane = "y"}};
    kit_open(k, 2, 1);
    for (uint32_t i = 0; i < 500; i++) {
        kit_send(k, 9000, .lane = "x");
        kit_settle(k, 9000, SETTLE_ACK);
    }
    struct uuid other = kit_consumer_id(2);
    core_leave(k->c, &other, NULL);
    flood(k, kinds, 2, 200, granted);
    assert_share(granted[0], 200, 1, 2);
    assert_share(granted[1], 200, 1, 2);
}

TEST(who_was_away_does_not_save_it_up) /* Q8 */
{
    struct queue_kit *k = *state;
    uint32_t granted[2] = {0};
    struct core_send first[] = {{.lane = "x"}}, both[] = {{.lane = "x"}, {.lane = "y"}};
    flood(k, first, 1, 300, granted);
    for (uint32_t i; (i = executing_from(k, 0, 3)) < 3;)
        kit_settle(k, i, SETTLE_ACK);
    granted[0] = 0;
    flood(k, both, 2, 200, granted);
    assert_share(granted[0], 200, 1, 2);
    assert_share(granted[1], 200, 1, 2);
}

/* ---- what waits delays nobody ---- */

TEST(what_is_blocked_delays_none_behind_it) /* Q7 */
{
    struct queue_kit *k = *state;
    enum { BLOCKED = 2000 };
    struct core_label gpu = {.name = "gpu"};
    kit_queue(k, "shut");
    core_pause(k->c, "a", "shut", true, NULL);
    core_gate_close(k->c, "a", "g", INT64_MAX, NULL);
    kit_open(k, 1, 2);
    kit_send(k, 0, .key = "k");
    for (uint32_t i = 1; i <= BLOCKED; i += 4) {
        kit_send(k, i, .key = "k", .priority = 31);
        kit_send(k, i + 1, .gates = {"g"}, .gates_count = 1, .priority = 31);
        kit_send(k, i + 2, .needs = &gpu, .needs_count = 1, .priority = 31);
        kit_send(k, i + 3, .queue = "shut", .priority = 31);
    }
    for (uint32_t i = 0; i < 500; i++) {
        kit_send(k, BLOCKED + 1, .priority = 0);
        assert_int_equal(kit_state(k, BLOCKED + 1), REC_EXECUTING);
        kit_settle(k, BLOCKED + 1, SETTLE_ACK);
    }
    assert_int_equal(kit_counts(k, "q").executing, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_higher_priority_goes_first_then_the_earlier),
        KIT_TEST(what_was_due_earlier_goes_first_though_it_was_sent_later),
        KIT_TEST(grants_go_round_the_consumers),
        KIT_TEST(a_consumer_takes_as_much_as_it_said_and_from_its_queues),
        KIT_TEST(records_of_a_key_run_one_at_a_time_in_order_of_sending),
        KIT_TEST(a_retry_holds_back_its_own_key_only),
        KIT_TEST(what_was_released_runs_before_the_others_of_its_key),
        KIT_TEST(a_key_goes_on_past_a_dead_letter_unless_the_queue_halts),
        KIT_TEST(a_key_is_of_its_queue),
        KIT_TEST(a_queue_executes_no_more_than_its_concurrency),
        KIT_TEST(a_lane_executes_no_more_than_its_cap),
        KIT_TEST(a_gate_lets_as_many_execute_as_it_has_room_for),
        KIT_TEST(who_waits_at_a_gate_goes_before_what_came_later_and_is_less_urgent),
        KIT_TEST(a_gate_lets_as_many_start_as_its_rate_says),
        KIT_TEST(a_closed_gate_opens_by_itself_or_at_once),
        KIT_TEST(a_backoff_never_shortens_what_a_gate_is_closed_for),
        KIT_TEST(who_came_to_a_closed_gate_has_its_turn_when_it_opens),
        KIT_TEST(one_handler_closes_a_gate_for_all),
        KIT_TEST(a_record_goes_to_a_consumer_that_has_what_it_needs),
        KIT_TEST(a_number_is_used_up_while_it_executes),
        KIT_TEST(a_number_of_a_node_is_used_up_by_all_its_consumers_together),
        KIT_TEST(consumers_of_another_node_and_from_outside_have_labels_of_their_own),
        KIT_TEST(labels_taken_away_and_given_back_meanwhile_are_still_in_use),
        KIT_TEST(a_consumer_with_only_takes_just_the_work_that_needs_it),
        KIT_TEST(lanes_have_their_share_under_any_flood),
        KIT_TEST(tenants_have_their_share_of_a_lane),
        KIT_TEST(who_had_much_while_nobody_else_wanted_any_does_not_pay_for_it_later),
        KIT_TEST(who_was_away_does_not_save_it_up),
        KIT_TEST(what_is_blocked_delays_none_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
