/* What is told of the end of a record, what wakes it before its time, and what forgets it. */
#include "queue/core.h"

#include "support/unit.h"

#include "support/queue_kit.h"

static struct core_effect ended(struct queue_kit *k)
{
    struct core_effect f = {0};
    assert_int_equal(kit_effects(k, EFFECT_ENDED, &f), 1);
    return f;
}

TEST(the_end_of_a_record_tells_where_its_result_lies)
{
    struct queue_kit *k = *state;
    uint64_t place = 0;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_ACK, (s_.has_result = true, place = s_.place));
    assert_int_equal(ended(k).result, place);
    assert_int_equal(ended(k).state, REC_COMPLETED);
    kit_pass(k, 1);
    kit_send(k, 2);
    kit_settle(k, 2, SETTLE_ACK);
    assert_int_equal(ended(k).result, 0);
}

TEST(the_end_of_a_record_that_failed_tells_where_its_last_error_lies)
{
    struct queue_kit *k = *state;
    uint64_t place = 0;
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 2);
    kit_settle_with(k, 1, SETTLE_NACK, (s_.has_result = true, s_.delay_ms = 0));
    assert_int_equal(kit_effects(k, EFFECT_ENDED, NULL), 0);
    kit_pass(k, 1);
    kit_settle_with(k, 1, SETTLE_NACK, (s_.has_result = true, place = s_.place));
    assert_int_equal(ended(k).result, place);
    assert_int_equal(ended(k).reason, REASON_ATTEMPTS);
}

TEST(an_end_that_no_settle_brought_has_no_result)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    bool asked;
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 2);
    kit_settle_with(k, 1, SETTLE_NACK, s_.has_result = true);
    kit_pass(k, 1);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    assert_int_equal(ended(k).state, REC_CANCELLED);
    assert_int_equal(ended(k).result, 0);
}

TEST(a_record_keeps_its_last_errors_and_where_it_died)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1), none = kit_id(9);
    struct core_history h;
    kit_queue(k, "q", q_.dead_to = "graves");
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 25);
    assert_int_equal(core_past(k->c, &none, &h, &k->e), ERR_NOT_FOUND);
    for (int i = 0; i < 25; i++) {
        kit_settle_with(k, 1, SETTLE_NACK, (s_.code = (uint16_t)i, s_.delay_ms = 0));
        kit_pass(k, 1);
    }
    assert_int_equal(core_past(k->c, &id, &h, &k->e), 0);
    assert_int_equal(h.errors_count, CORE_ERRORS_KEPT);
    assert_int_equal(h.errors_ever, 25);
    for (uint32_t i = 0; i < h.errors_count; i++) {
        assert_int_equal(h.errors[i].code, 5 + i);
        assert_int_equal(h.errors[i].attempt, 6 + i);
        assert_true(h.errors[i].place != 0);
    }
    assert_int_equal(h.died_count, 1);
    assert_string_equal(h.died[0], "q");
    assert_string_equal(kit_look(k, 1).queue, "graves");
    assert_int_equal(core_drop(k->c, "a", "q", false, &k->e), 0);
    assert_int_equal(core_past(k->c, &id, &h, &k->e), 0);
    assert_int_equal(h.died_count, 0);
}

TEST(a_snooze_may_tell_how_far_it_came_and_who_goes_on_is_told)
{
    struct queue_kit *k = *state;
    struct core_effect f = {0};
    struct uuid id = kit_id(1);
    uint64_t place = 0;
    kit_queue(k, "q", q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_SNOOZE,
                    (s_.has_result = true, s_.until = k->now + 10, place = s_.place));
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    assert_int_equal(kit_look(k, 1).result, place);
    kit_pass(k, 10);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, &f), 1);
    assert_int_equal(f.result, place);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 10); /* nothing new */
    assert_int_equal(kit_look(k, 1).result, place);
    kit_pass(k, 10);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_look(k, 1).result, 0);
    assert_int_equal(core_retry(k->c, &id, &k->e), 0);
    kit_pass(k, 1);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, &f), 1);
    assert_int_equal(f.result, 0);
}

TEST(what_is_cancelled_as_it_snoozes_keeps_how_far_it_came)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    uint64_t place = 0;
    bool asked;
    kit_queue(k, "q", q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    kit_settle_with(k, 1, SETTLE_SNOOZE, (s_.has_result = true, place = s_.place));
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
    assert_int_equal(kit_look(k, 1).result, place);
}

/* ---- waking ---- */

TEST(what_was_sent_for_later_can_be_woken)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_send(k, 1, .run_at = k->now + 100000);
    kit_pass(k, 10);
    assert_int_equal(core_wake(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 1).run_at, k->now);
    kit_open(k, 1, 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(what_is_snoozed_can_be_woken_and_keeps_its_tries)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 2);
    kit_settle_with(k, 1, SETTLE_NACK, s_.delay_ms = 0);
    kit_pass(k, 1);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 60000);
    kit_pass(k, 1);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    assert_int_equal(core_wake(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_look(k, 1).attempts, 2);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_look(k, 1).reason, REASON_ATTEMPTS);
}

TEST(a_wake_changes_nothing_of_what_does_not_wait_for_its_time)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1), none = kit_id(9);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    assert_int_equal(core_wake(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(core_wake(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(core_wake(k->c, &none, &k->e), ERR_NOT_FOUND);
}

TEST(the_deadline_of_what_was_woken_counts_from_when_it_was_to_run)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .run_at = k->now + 5000, .deadline_ms = 1000);
    assert_int_equal(core_wake(k->c, &id, &k->e), 0);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 60000);
    kit_pass(k, 5999);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_DEFERRED_TOO_LONG);
}

/* ---- forgetting ---- */

TEST(what_is_purged_before_it_ended_is_told)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    struct core_effect f = {0};
    kit_send(k, 1);
    assert_int_equal(core_purge(k->c, &id, &k->e), 0);
    assert_int_equal(kit_effects(k, EFFECT_PURGED, &f), 1);
    assert_int_equal(f.id, core_fingerprint(&id));
    kit_open(k, 1, 1);
    kit_send(k, 2);
    kit_settle(k, 2, SETTLE_REJECT);
    id = kit_id(2);
    assert_int_equal(core_purge(k->c, &id, &k->e), 0);
    assert_int_equal(kit_effects(k, EFFECT_PURGED, NULL), 1); /* that one had ended */
}

TEST(a_queue_that_is_dropped_by_force_forgets_alike_on_every_node)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_send(k, 2);
    kit_send(k, 3);
    kit_settle(k, 1, SETTLE_ACK);
    id = kit_id(3);
    assert_int_equal(core_purge(k->c, &id, &k->e), 0);
    kit_send(k, 4);
    kit_send(k, 5);
    struct core *copy = kit_copy(k); /* numbers its records anew */
    assert_int_equal(core_entry(copy, k->seq + 1, k->now + 1, &k->e), 0);
    kit_pass(k, 1);
    assert_int_equal(core_drop(copy, "a", "q", true, &k->e), 0);
    assert_int_equal(core_drop(k->c, "a", "q", true, &k->e), 0);
    assert_int_equal(core_hash(copy), core_hash(k->c));
    assert_int_equal(kit_effects(k, EFFECT_PURGED, NULL), 3);
    assert_int_equal(kit_effects(k, EFFECT_LOST, NULL), 1);
    core_free(copy);
}

/* ---- without a handler ---- */

enum { DAY = CORE_UNHANDLED_MS };

static uint32_t unregister(struct queue_kit *k)
{
    uint32_t count = 99;
    assert_int_equal(core_unregister(k->c, "a", "q", &count, &k->e), 0);
    return count;
}

TEST(what_waits_for_a_handler_that_is_gone_is_discarded_after_a_day) /* Q2 */
{
    struct queue_kit *k = *state;
    kit_send(k, 1);
    kit_pass(k, 1000);
    assert_int_equal(kit_counts(k, "q").unhandled_at, 0);
    kit_queue(k, "q", q_.handled = false);
    assert_int_equal(kit_counts(k, "q").unhandled_at, k->now);
    kit_pass(k, 1000);
    kit_send(k, 2);
    kit_send(k, 3, .run_at = k->now + 3 * (int64_t)DAY);
    kit_pass(k, DAY - 1001);
    assert_int_equal(unregister(k), 0);
    kit_pass(k, 1);
    assert_int_equal(unregister(k), 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_UNREGISTERED);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    kit_pass(k, 1000);
    assert_int_equal(unregister(k), 1);
    assert_int_equal(kit_state(k, 3), REC_SCHEDULED);
    assert_int_equal(kit_counts(k, "q").dropped, 2);
}

TEST(what_is_abandoned_is_discarded_a_day_after_the_last_who_took_from_it_went) /* Q2 */
{
    static const char *const queues[] = {"q"};
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    struct core_consumer batches = {
        .node = "n", .tenant = "a", .queues = queues, .queues_count = 1};
    kit_queue(k, "q", q_.handled = false);
    kit_open_(k, 1, batches);
    kit_send(k, 1);
    core_abandon(k->c, "a", "q");
    core_abandon(k->c, "a", "none");
    kit_open_(k, 1, batches); /* it has not heard of it yet */
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(unregister(k), 0);
    assert_int_equal(core_leave(k->c, &id, &k->e), 0);
    assert_int_equal(kit_counts(k, "q").unhandled_at, k->now);
    kit_pass(k, DAY - 1);
    assert_int_equal(unregister(k), 0);
    kit_pass(k, 1);
    assert_int_equal(unregister(k), 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_UNREGISTERED);
    kit_open_(k, 2, batches); /* declared again */
    assert_int_equal(kit_counts(k, "q").unhandled_at, 0);
    kit_queue(k, "q");
    core_abandon(k->c, "a", "q");
    assert_int_equal(kit_counts(k, "q").unhandled_at, 0);
}

/* The consumer is still there when the node starts again, and goes after it. */
TEST(what_is_abandoned_stays_so_when_the_state_is_loaded) /* Q2 L3 */
{
    static const char *const queues[] = {"q"};
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    uint32_t count = 99;
    kit_queue(k, "q", q_.handled = false);
    kit_open_(
        k, 1,
        (struct core_consumer){.node = "n", .tenant = "a", .queues = queues, .queues_count = 1});
    kit_send(k, 1);
    core_abandon(k->c, "a", "q");
    int64_t since = kit_counts(k, "q").unhandled_at;
    assert_int_equal(since, k->now);
    kit_pass(k, 1000);
    struct core *copy = kit_copy(k);
    struct core_counts n;
    assert_int_equal(core_counts(copy, "a", "q", &n, &k->e), 0);
    assert_int_equal(n.unhandled_at, since);
    assert_int_equal(n.consumers, 1);
    kit_pass(k, 1000);
    assert_int_equal(core_entry(copy, k->seq, k->now, &k->e), 0);
    assert_int_equal(core_leave(copy, &id, &k->e), 0);
    assert_int_equal(core_leave(k->c, &id, &k->e), 0);
    kit_pass(k, DAY);
    assert_int_equal(core_entry(copy, k->seq, k->now, &k->e), 0);
    assert_int_equal(core_unregister(copy, "a", "q", &count, &k->e), 0);
    assert_int_equal(count, 1);
    assert_int_equal(unregister(k), 1);
    assert_int_equal(core_hash(copy), core_hash(k->c));
    core_free(copy);
}

TEST(what_somebody_works_waits_for_him)
{
    static const char *const queues[] = {"q"};
    struct queue_kit *k = *state;
    struct uuid id = kit_consumer_id(1);
    kit_send(k, 1);
    kit_queue(k, "q", q_.handled = false);
    kit_open_(
        k, 1,
        (struct core_consumer){.node = "n", .tenant = "a", .queues = queues, .queues_count = 1});
    assert_int_equal(core_leave(k->c, &id, &k->e), 0);
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(unregister(k), 0); /* he was here, and comes again */
    kit_queue(k, "q");
    kit_queue(k, "q", q_.manual = true; q_.handled = false);
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(unregister(k), 0);
    kit_queue(k, "q");
    kit_queue(k, "q", q_.handled = false);
    kit_queue(k, "q");
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(unregister(k), 0); /* there is a handler again */
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
}

TEST(a_queue_that_never_had_a_handler_or_is_paused_keeps_what_it_has)
{
    struct queue_kit *k = *state;
    uint32_t count = 99;
    kit_queue(k, "outside", q_.handled = false);
    kit_send(k, 1, .queue = "outside");
    kit_send(k, 2);
    kit_queue(k, "q", q_.handled = false);
    assert_int_equal(core_pause(k->c, "a", "q", true, &k->e), 0);
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(core_unregister(k->c, "a", "outside", &count, &k->e), 0);
    assert_int_equal(count, 0);
    assert_int_equal(unregister(k), 0);
    assert_int_equal(core_unregister(k->c, "a", "none", &count, &k->e), 0);
    assert_int_equal(core_pause(k->c, "a", "q", false, &k->e), 0);
    assert_int_equal(unregister(k), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(the_end_of_a_record_tells_where_its_result_lies),
        KIT_TEST(the_end_of_a_record_that_failed_tells_where_its_last_error_lies),
        KIT_TEST(an_end_that_no_settle_brought_has_no_result),
        KIT_TEST(a_record_keeps_its_last_errors_and_where_it_died),
        KIT_TEST(a_snooze_may_tell_how_far_it_came_and_who_goes_on_is_told),
        KIT_TEST(what_is_cancelled_as_it_snoozes_keeps_how_far_it_came),
        KIT_TEST(what_was_sent_for_later_can_be_woken),
        KIT_TEST(what_is_snoozed_can_be_woken_and_keeps_its_tries),
        KIT_TEST(a_wake_changes_nothing_of_what_does_not_wait_for_its_time),
        KIT_TEST(the_deadline_of_what_was_woken_counts_from_when_it_was_to_run),
        KIT_TEST(what_is_purged_before_it_ended_is_told),
        KIT_TEST(a_queue_that_is_dropped_by_force_forgets_alike_on_every_node),
        KIT_TEST(what_waits_for_a_handler_that_is_gone_is_discarded_after_a_day),
        KIT_TEST(what_is_abandoned_is_discarded_a_day_after_the_last_who_took_from_it_went),
        KIT_TEST(what_is_abandoned_stays_so_when_the_state_is_loaded),
        KIT_TEST(what_somebody_works_waits_for_him),
        KIT_TEST(a_queue_that_never_had_a_handler_or_is_paused_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
