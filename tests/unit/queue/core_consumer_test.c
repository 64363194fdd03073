/* Consumers: how long they hold what, and what becomes of it when they are gone. */
#include "queue/core.h"

#include "support/unit.h"

#include "support/queue_kit.h"

static int64_t next_expiry(struct queue_kit *k)
{
    struct core_expiry x;
    core_next_expiry(k->c, &x);
    return x.at;
}

struct listed {
    uint32_t count, credit, held;
};

static void list_one(void *arg, const struct core_consumer *s, uint32_t held)
{
    struct listed *l = arg;
    assert_string_equal(s->node, "n");
    assert_true(s->worker);
    l->count++;
    l->credit += s->credit;
    l->held += held;
}

TEST(a_consumer_that_is_not_renewed_lapses_and_a_try_of_all_it_holds_is_used) /* Q3 */
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    struct core_expiry x;
    bool lapsed = true;
    kit_open(k, 1, 2, .lease_ms = 5000);
    kit_send(k, 1);
    kit_send(k, 2, .attempts = 1);
    core_next_expiry(k->c, &x);
    assert_int_equal(x.at, k->now + 5000);
    assert_false(x.is_record);
    assert_memory_equal(&x.consumer, &id, sizeof(id));
    kit_pass(k, 4999);
    assert_int_equal(core_lapse(k->c, &id, &lapsed, &k->e), 0);
    assert_false(lapsed);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    kit_pass(k, 1);
    assert_int_equal(core_lapse(k->c, &id, &lapsed, &k->e), 0);
    assert_true(lapsed);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(kit_look(k, 2).reason, REASON_LAPSED);
    assert_int_equal(kit_effects(k, EFFECT_LOST, NULL), 2);
    assert_int_equal(core_renew(k->c, &id, &k->e), ERR_NOT_FOUND);
    assert_int_equal(next_expiry(k), INT64_MAX);
    kit_send(k, 3);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
}

TEST(a_consumer_that_is_renewed_keeps_all_it_holds) /* Q4 */
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    bool lapsed;
    kit_open(k, 1, 2, .lease_ms = 5000);
    kit_send(k, 1, .timeout_ms = 1000000);
    uint64_t token = kit_look(k, 1).token;
    for (int i = 0; i < 50; i++) {
        kit_pass(k, 4000);
        assert_int_equal(core_renew(k->c, &id, &k->e), 0);
        assert_int_equal(core_lapse(k->c, &id, &lapsed, &k->e), 0);
        assert_false(lapsed);
    }
    assert_int_equal(kit_look(k, 1).token, token);
    assert_int_equal(kit_look(k, 1).lease_until, k->now + 5000);
    assert_int_equal(kit_look(k, 1).deliveries, 1);
}

TEST(a_settle_counts_though_the_lease_is_over_as_long_as_it_has_not_lapsed)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1, .lease_ms = 1000);
    kit_send(k, 1);
    kit_pass(k, 3000);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_counts(k, "q").acked, 1);
}

TEST(what_a_consumer_that_leaves_holds_goes_to_another_without_a_try)
{
    struct queue_kit *k = *state;
    struct uuid first = kit_consumer_id(1), second = kit_consumer_id(2);
    kit_open(k, 1, 3);
    for (uint32_t i = 1; i <= 3; i++)
        kit_send(k, i, .attempts = 1);
    uint64_t token = kit_look(k, 1).token;
    kit_open(k, 2, 2);
    kit_pass(k, 0);
    assert_int_equal(core_leave(k->c, &first, &k->e), 0);
    assert_int_equal(core_leave(k->c, &first, &k->e), ERR_NOT_FOUND);
    for (uint32_t i = 1; i <= 2; i++) {
        struct core_view v = kit_look(k, i);
        assert_memory_equal(&v.consumer, &second, sizeof(second));
        assert_int_equal(v.attempts, 1);
        assert_int_equal(v.deliveries, 2);
    }
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 3).attempts, 0);
    struct uuid id = kit_id(1);
    assert_int_equal(core_held(k->c, &id, token, &k->e), ERR_FENCED);
}

TEST(an_extended_record_has_a_lease_of_its_own)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1), record = kit_id(1);
    struct core_expiry x;
    bool lapsed;
    kit_open(k, 1, 2, .lease_ms = 1000);
    kit_send(k, 1);
    kit_send(k, 2);
    kit_settle_with(k, 1, SETTLE_EXTEND, s_.lease_ms = 9000);
    assert_int_equal(kit_look(k, 1).lease_until, k->now + 9000);
    assert_int_equal(kit_look(k, 2).lease_until, k->now + 1000);
    kit_pass(k, 1000);
    assert_int_equal(core_lapse(k->c, &id, &lapsed, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_state(k, 2), REC_RETRYABLE);
    assert_int_equal(next_expiry(k), k->now + 8000);
    kit_settle_with(k, 1, SETTLE_EXTEND, s_.lease_ms = 1000);
    core_next_expiry(k->c, &x);
    assert_int_equal(x.at, k->now + 1000);
    assert_true(x.is_record);
    assert_int_equal(x.record, core_fingerprint(&record));
    assert_int_equal(x.token, kit_look(k, 1).token);
    assert_int_equal(core_lapse_record(k->c, x.record, x.token, &lapsed, &k->e), 0);
    assert_false(lapsed);
    kit_pass(k, 1000);
    assert_int_equal(core_lapse_record(k->c, x.record, x.token + 1, &lapsed, &k->e), 0);
    assert_false(lapsed);
    assert_int_equal(core_lapse_record(k->c, x.record, x.token, &lapsed, &k->e), 0);
    assert_true(lapsed);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(core_lapse_record(k->c, x.record, x.token, &lapsed, &k->e), 0);
    assert_false(lapsed);
}

TEST(a_lease_may_be_extended_again_and_settled)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_EXTEND, s_.lease_ms = 40000);
    kit_pass(k, 500);
    kit_settle_with(k, 1, SETTLE_EXTEND, s_.lease_ms = 1000);
    assert_int_equal(kit_look(k, 1).lease_until, k->now + 1000);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(next_expiry(k), k->now - 500 + 30000); /* the consumer's */
}

TEST(a_lease_has_bounds)
{
    struct queue_kit *k = *state;
    struct core_consumer c = {.id = kit_consumer_id(1), .node = "n", .worker = true};
    c.lease_ms = 999;
    assert_int_equal(core_open(k->c, &c, &k->e), ERR_INVALID);
    c.lease_ms = 43200001;
    assert_int_equal(core_open(k->c, &c, &k->e), ERR_INVALID);
    c.lease_ms = 43200000;
    c.credit = CORE_CREDIT_MAX + 1;
    assert_int_equal(core_open(k->c, &c, &k->e), ERR_INVALID);
    c.credit = CORE_CREDIT_MAX;
    assert_int_equal(core_open(k->c, &c, &k->e), 0);
    kit_send(k, 1);
    struct core_settle s = kit_settlement(k, 1, SETTLE_EXTEND);
    s.lease_ms = 999;
    assert_int_equal(core_settle(k->c, &s, &k->e), ERR_INVALID);
}

TEST(a_consumer_names_queues_that_are_there)
{
    struct queue_kit *k = *state;
    const char *const queues[] = {"q", "none"};
    struct core_consumer c = {.id = kit_consumer_id(1),
                              .node = "n",
                              .tenant = "a",
                              .queues = queues,
                              .queues_count = 2,
                              .credit = 1};
    assert_int_equal(core_open(k->c, &c, &k->e), ERR_NOT_FOUND);
    core_undo(k->c, false);
    kit_queue(k, "none");
    assert_int_equal(core_open(k->c, &c, &k->e), 0);
    assert_int_equal(core_drop(k->c, "a", "q", false, &k->e), 0);
    kit_queue(k, "q", q_.handled = false);
    kit_send(k, 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_HANDLER); /* it took from the one that is gone */
}

TEST(credit_that_is_taken_away_lets_run_what_runs)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 2);
    for (uint32_t i = 1; i <= 3; i++)
        kit_send(k, i);
    kit_open(k, 1, 0);
    assert_int_equal(kit_counts(k, "q").executing, 2);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
    kit_open(k, 1, 2);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
}

TEST(a_consumer_that_is_retired_takes_nothing_more_and_keeps_its_lease)
{
    struct queue_kit *k = *state;
    static const char *const queues[] = {"q"};
    struct uuid id = kit_consumer_id(1);
    bool lapsed;
    kit_open_(k, 1,
              (struct core_consumer){.node = "n",
                                     .tenant = "a",
                                     .queues = queues,
                                     .queues_count = 1,
                                     .credit = 3,
                                     .lease_ms = 5000});
    kit_send(k, 1);
    kit_send(k, 2, .attempts = 1);
    kit_pass(k, 1000);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    kit_send(k, 3);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 1).lease_until, k->now + 4000);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
    kit_pass(k, 4000);
    assert_int_equal(core_lapse(k->c, &id, &lapsed, &k->e), 0);
    assert_true(lapsed);
    assert_int_equal(kit_look(k, 2).reason, REASON_LAPSED);
    assert_int_equal(next_expiry(k), INT64_MAX);
}

TEST(what_a_worker_executed_lapses_when_its_process_is_gone) /* Q3 */
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_open(k, 1, 3);
    kit_send(k, 1);
    kit_send(k, 2, .attempts = 1);
    kit_settle_with(k, 1, SETTLE_EXTEND, s_.lease_ms = 60000);
    kit_pass(k, 1000);
    kit_send(k, 3);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(kit_look(k, 1).attempts, 1);
    assert_int_equal(kit_look(k, 2).reason, REASON_LAPSED);
    assert_int_equal(kit_state(k, 3), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 3).attempts, 0);
    assert_int_equal(next_expiry(k), INT64_MAX);
}

TEST(a_consumer_that_is_retired_goes_with_the_last_that_it_holds)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_open(k, 1, 2);
    kit_send(k, 1);
    kit_send(k, 2);
    assert_int_equal(core_retire(k->c, &id, 60000, &k->e), 0);
    kit_settle(k, 1, SETTLE_ACK);
    struct core *copy = kit_copy(k);
    struct core_settle s = kit_settlement(k, 2, SETTLE_ACK);
    assert_int_equal(core_renew(k->c, &id, &k->e), 0);
    kit_settle(k, 2, SETTLE_ACK);
    assert_int_equal(core_renew(k->c, &id, &k->e), ERR_NOT_FOUND);
    assert_int_equal(next_expiry(k), INT64_MAX);
    assert_int_equal(core_entry(copy, k->seq + 1, k->now, &k->e), 0);
    assert_int_equal(core_settle(copy, &s, &k->e), 0);
    assert_int_equal(core_renew(copy, &id, &k->e), ERR_NOT_FOUND);
    core_free(copy);
}

TEST(a_unit_that_is_taken_back_brings_back_a_consumer_that_went_with_its_last)
{
    static const char *const queues[] = {"q"};
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_queue(k, "q", q_.handled = false);
    kit_open_(k, 1,
              (struct core_consumer){
                  .node = "n", .tenant = "a", .queues = queues, .queues_count = 1, .credit = 1});
    kit_send(k, 1);
    kit_pass(k, 1);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    core_unit(k->c);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_counts(k, "q").consumers, 0);
    core_undo(k->c, false);
    assert_int_equal(kit_counts(k, "q").consumers, 1);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_counts(k, "q").consumers, 0);
}

TEST(a_consumer_that_retires_may_begin_its_lease_anew)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_open(k, 1, 1, .lease_ms = 5000);
    kit_send(k, 1);
    kit_pass(k, 4000);
    assert_int_equal(core_retire(k->c, &id, 999, &k->e), ERR_INVALID);
    assert_int_equal(core_retire(k->c, &id, 60000, &k->e), 0);
    assert_int_equal(kit_look(k, 1).lease_until, k->now + 60000);
    kit_pass(k, 1000);
    assert_int_equal(core_renew(k->c, &id, &k->e), 0);
    assert_int_equal(next_expiry(k), k->now + 60000);
}

TEST(a_worker_that_is_retired_already_is_retired_at_once_when_its_process_is_gone)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_open(k, 1, 2);
    kit_send(k, 1);
    kit_pass(k, 100);
    assert_int_equal(core_retire(k->c, &id, 60000, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(core_renew(k->c, &id, &k->e), ERR_NOT_FOUND);
    assert_int_equal(kit_counts(k, "q").consumers, 0);
}

TEST(a_consumer_that_is_retired_and_holds_nothing_is_gone)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_open(k, 1, 3);
    assert_int_equal(core_retire(k->c, &id, 30000, &k->e), 0);
    assert_int_equal(core_renew(k->c, &id, &k->e), ERR_NOT_FOUND);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    assert_int_equal(next_expiry(k), INT64_MAX);
    assert_int_equal(kit_counts(k, "q").consumers, 0);
}

TEST(what_was_granted_to_a_process_that_is_gone_in_this_entry_goes_to_another_with_its_try)
{
    static const char *const queues[] = {"q"};
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1), second = kit_id(2);
    struct core_effect lost;
    kit_open_(k, 1,
              (struct core_consumer){
                  .node = "n", .tenant = "a", .queues = queues, .queues_count = 1, .credit = 3});
    kit_send(k, 1);
    kit_send(k, 2, .run_at = k->now + 50);
    kit_pass(k, 100);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(core_retire(k->c, &id, 0, &k->e), 0);
    assert_int_equal(kit_effects(k, EFFECT_LOST, &lost), 1);
    assert_int_equal(lost.id, core_fingerprint(&second));
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_look(k, 2).attempts, 0);
    kit_open(k, 2, 1);
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(kit_look(k, 2).attempts, 1);
}

TEST(consumers_are_listed_with_what_they_hold)
{
    struct queue_kit *k = *state;
    struct listed list = {0};
    kit_open(k, 1, 3);
    kit_open(k, 2, 0);
    kit_send(k, 1);
    core_consumers(k->c, list_one, &list);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.credit, 3);
    assert_int_equal(list.held, 1);
}

TEST(a_record_has_one_token_at_a_time_and_each_is_greater) /* Q1 */
{
    struct queue_kit *k = *state;
    uint64_t last = 0;
    kit_open(k, 1, 1);
    kit_open(k, 2, 1);
    kit_send(k, 1);
    for (int i = 0; i < 20; i++) {
        uint64_t token = kit_look(k, 1).token;
        assert_true(token > last);
        last = token;
        kit_settle(k, 1, SETTLE_RELEASE);
        kit_pass(k, i % 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_consumer_that_is_not_renewed_lapses_and_a_try_of_all_it_holds_is_used),
        KIT_TEST(a_consumer_that_is_renewed_keeps_all_it_holds),
        KIT_TEST(a_settle_counts_though_the_lease_is_over_as_long_as_it_has_not_lapsed),
        KIT_TEST(what_a_consumer_that_leaves_holds_goes_to_another_without_a_try),
        KIT_TEST(an_extended_record_has_a_lease_of_its_own),
        KIT_TEST(a_lease_may_be_extended_again_and_settled),
        KIT_TEST(a_lease_has_bounds),
        KIT_TEST(a_consumer_names_queues_that_are_there),
        KIT_TEST(credit_that_is_taken_away_lets_run_what_runs),
        KIT_TEST(a_consumer_that_is_retired_takes_nothing_more_and_keeps_its_lease),
        KIT_TEST(what_a_worker_executed_lapses_when_its_process_is_gone),
        KIT_TEST(a_consumer_that_is_retired_goes_with_the_last_that_it_holds),
        KIT_TEST(a_unit_that_is_taken_back_brings_back_a_consumer_that_went_with_its_last),
        KIT_TEST(a_consumer_that_retires_may_begin_its_lease_anew),
        KIT_TEST(a_consumer_that_is_retired_and_holds_nothing_is_gone),
        KIT_TEST(a_worker_that_is_retired_already_is_retired_at_once_when_its_process_is_gone),
        KIT_TEST(
            what_was_granted_to_a_process_that_is_gone_in_this_entry_goes_to_another_with_its_try),
        KIT_TEST(consumers_are_listed_with_what_they_hold),
        KIT_TEST(a_record_has_one_token_at_a_time_and_each_is_greater),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
