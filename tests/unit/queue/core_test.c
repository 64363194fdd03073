/* The states of a record: how it comes to each, and what it keeps on the way. */
#include "queue/core.h"

#include "support/unit.h"

#include "support/queue_kit.h"

/* ---- from send to grant ---- */

TEST(a_record_is_granted_in_the_entry_that_brings_it)
{
    struct queue_kit *k = *state;
    struct core_effect g;
    kit_open(k, 1, 1);
    kit_pass(k, 5);
    kit_send(k, 1);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, &g), 1);
    struct uuid id = kit_id(1), consumer = kit_consumer_id(1);
    assert_int_equal(g.id, core_fingerprint(&id));
    assert_memory_equal(&g.consumer, &consumer, sizeof(consumer));
    assert_int_equal(g.attempt, 1);
    assert_int_equal(g.deliveries, 1);
    assert_int_equal(g.timeout_at, k->now + 60000);
    assert_int_equal(g.lease_until, k->now + 30000 - 5);
    assert_int_equal(kit_look(k, 1).token, g.token);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_record_waits_until_a_consumer_has_room)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_send(k, 2);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 2).waits, WAITS_CONSUMER);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(a_record_of_later_is_scheduled_and_runs_when_it_is_due)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .run_at = k->now + 100);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    assert_int_equal(kit_counts(k, "q").scheduled, 1);
    assert_int_equal(core_next_due(k->c), k->now + 100);
    kit_pass(k, 99);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_record_of_the_past_runs_now)
{
    struct queue_kit *k = *state;
    kit_send(k, 1, .run_at = k->now - 5000);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 1).run_at, k->now);
}

TEST(an_entry_moves_what_is_due_up_to_a_bound_and_the_next_the_rest)
{
    struct queue_kit *k = *state;
    int64_t due = k->now + 10;
    for (uint32_t i = 0; i <= CORE_DUE_MAX; i++)
        kit_send(k, i, .run_at = due);
    kit_pass(k, 10);
    assert_int_equal(kit_counts(k, "q").available, CORE_DUE_MAX);
    assert_int_equal(kit_state(k, CORE_DUE_MAX), REC_SCHEDULED);
    assert_true(core_next_due(k->c) <= k->now);
    kit_pass(k, 0);
    assert_int_equal(kit_counts(k, "q").available, CORE_DUE_MAX + 1);
    assert_int_equal(core_next_due(k->c), INT64_MAX);
}

/* ---- settling ---- */

TEST(an_acked_record_is_gone_at_once)
{
    struct queue_kit *k = *state;
    struct core_effect x;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 1), 0);
    assert_int_equal(kit_effects(k, EFFECT_ENDED, &x), 1);
    assert_int_equal(x.state, REC_COMPLETED);
    assert_int_equal(kit_counts(k, "q").acked, 1);
    assert_int_equal(core_lowest_place(k->c, 0), UINT64_MAX);
}

TEST(an_acked_record_stays_as_long_as_its_queue_keeps_it)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.keep_completed_ms = 1000);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_ACK, s_.has_result = true);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
    assert_true(kit_look(k, 1).result != 0);
    assert_int_equal(kit_look(k, 1).run_at, k->now);
    kit_pass(k, 999);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
    kit_pass(k, 1);
    assert_int_equal(kit_state(k, 1), 0);
}

TEST(of_completed_records_the_newest_are_kept)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.keep_completed_ms = -1; q_.keep_count = 2);
    kit_open(k, 1, 3);
    for (uint32_t i = 1; i <= 3; i++)
        kit_send(k, i);
    kit_settle(k, 2, SETTLE_ACK);
    kit_pass(k, 10);
    kit_settle(k, 1, SETTLE_ACK);
    kit_pass(k, 10);
    kit_settle(k, 3, SETTLE_ACK);
    assert_int_equal(kit_state(k, 2), 0);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
    assert_int_equal(kit_state(k, 3), REC_COMPLETED);
}

TEST(a_nack_waits_longer_each_time_until_the_tries_are_used) /* Q2 Q3 */
{
    struct queue_kit *k = *state;
    static const int64_t waits[] = {3000, 6000, 12000, 24000};
    struct core_effect x;
    kit_open(k, 1, 1, .lease_ms = 600000);
    kit_send(k, 1);
    for (uint32_t i = 0; i < 4; i++) {
        kit_settle(k, 1, SETTLE_NACK);
        assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
        int64_t wait = kit_look(k, 1).run_at - k->now;
        assert_in_range(wait, waits[i] * 9 / 10, waits[i] * 11 / 10);
        kit_pass(k, wait - 1);
        assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
        kit_pass(k, 1);
        assert_int_equal(kit_look(k, 1).attempts, i + 2);
    }
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    assert_int_equal(kit_look(k, 1).reason, REASON_ATTEMPTS);
    assert_int_equal(kit_look(k, 1).deliveries, 5);
    assert_int_equal(kit_effects(k, EFFECT_ENDED, &x), 1);
    assert_int_equal(x.reason, REASON_ATTEMPTS);
}

TEST(a_nack_may_say_how_long_to_wait)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_NACK, s_.delay_ms = 77);
    assert_int_equal(kit_look(k, 1).run_at, k->now + 77);
    kit_pass(k, 77);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_backoff_stops_growing_at_its_cap_and_a_list_repeats_its_last)
{
    struct core_backoff doubling = {.first = 1000, .cap = 3000};
    struct core_backoff list = {.list = {10, 500}, .list_count = 2};
    static const int64_t capped[] = {1000, 2000, 3000, 3000}, listed[] = {10, 500, 500, 500};
    for (uint32_t n = 1; n <= 4; n++)
        for (uint64_t f = 0; f < 50; f++) {
            int64_t a = core_backoff_ms(&doubling, n, f), b = core_backoff_ms(&list, n, f);
            assert_in_range(a, capped[n - 1] * 9 / 10, capped[n - 1] * 11 / 10);
            assert_in_range(b, listed[n - 1] * 9 / 10, listed[n - 1] * 11 / 10);
        }
}

TEST(a_rejected_record_is_discarded_with_its_reason) /* Q2 */
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 2);
    kit_send(k, 1);
    kit_send(k, 2);
    kit_settle(k, 1, SETTLE_REJECT);
    kit_settle_with(k, 2, SETTLE_REJECT, s_.reason = REASON_UNDECODABLE);
    assert_int_equal(kit_look(k, 1).reason, REASON_REJECTED);
    assert_int_equal(kit_look(k, 2).reason, REASON_UNDECODABLE);
    assert_int_equal(kit_counts(k, "q").discarded, 2);
    kit_pass(k, (int64_t)30 * 86400 * 1000 - 1);
    assert_int_equal(kit_counts(k, "q").discarded, 2);
    kit_pass(k, 1);
    assert_int_equal(kit_counts(k, "q").discarded, 0);
}

TEST(release_and_snooze_use_no_try)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1);
    kit_settle(k, 1, SETTLE_RELEASE);
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 1000);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, 1000);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_look(k, 1).attempts, 1);
    assert_int_equal(kit_look(k, 1).deliveries, 3);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_look(k, 1).reason, REASON_ATTEMPTS);
}

TEST(a_settle_with_another_token_changes_nothing) /* Q1 */
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    struct core_settle old = kit_settlement(k, 1, SETTLE_ACK);
    kit_settle(k, 1, SETTLE_RELEASE);
    kit_pass(k, 0);
    uint64_t hash = core_hash(k->c);
    assert_true(kit_look(k, 1).token > old.token);
    for (int o = SETTLE_ACK; o <= SETTLE_EXTEND; o++) {
        old.outcome = (enum core_outcome)o;
        old.gate = "g";
        old.lease_ms = 5000;
        old.until = k->now + 5;
        assert_int_equal(core_settle(k->c, &old, &k->e), ERR_FENCED);
    }
    assert_int_equal(core_held(k->c, &old.id, old.token, NULL), ERR_FENCED);
    assert_int_equal(core_held(k->c, &old.id, kit_look(k, 1).token, NULL), 0);
    assert_int_equal(core_hash(k->c), hash);
}

TEST(what_was_granted_in_an_entry_and_comes_back_in_it_is_granted_again_by_the_next)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_send(k, 2);
    kit_settle(k, 1, SETTLE_RELEASE);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING); /* delays none behind it */
    kit_settle(k, 2, SETTLE_ACK);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_true(core_next_due(k->c) <= k->now);
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_settle_of_what_is_not_there_is_fenced)
{
    struct queue_kit *k = *state;
    struct core_settle s = {.id = kit_id(9), .token = 1, .outcome = SETTLE_ACK};
    assert_int_equal(core_settle(k->c, &s, &k->e), ERR_FENCED);
    kit_send(k, 1);
    s.id = kit_id(1);
    s.token = 0;
    assert_int_equal(core_settle(k->c, &s, &k->e), ERR_FENCED);
}

/* ---- too late ---- */

TEST(an_execution_over_its_timeout_is_a_failed_attempt)
{
    struct queue_kit *k = *state;
    struct core_effect lost;
    kit_open(k, 1, 1, .lease_ms = 600000);
    kit_send(k, 1, .timeout_ms = 500, .attempts = 2);
    uint64_t token = kit_look(k, 1).token;
    kit_pass(k, 499);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    kit_pass(k, 1);
    assert_int_equal(kit_state(k, 1), REC_RETRYABLE);
    assert_int_equal(kit_effects(k, EFFECT_LOST, &lost), 1);
    assert_int_equal(lost.token, token);
    assert_int_equal(core_held(k->c, &(struct uuid){{0}}, token, NULL), ERR_FENCED);
    kit_pass(k, 3300);
    kit_pass(k, 500);
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    assert_int_equal(kit_look(k, 1).reason, REASON_TIMEOUT);
}

TEST(what_is_not_started_within_its_ttl_expires)
{
    struct queue_kit *k = *state;
    kit_send(k, 1, .ttl_ms = 1000);
    kit_send(k, 2, .ttl_ms = 1000, .run_at = k->now + 500);
    kit_pass(k, 999);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    kit_pass(k, 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_EXPIRED);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    kit_pass(k, 500);
    assert_int_equal(kit_look(k, 2).reason, REASON_EXPIRED);
}

TEST(what_has_started_does_not_expire)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .ttl_ms = 1000);
    kit_settle_with(k, 1, SETTLE_NACK, s_.delay_ms = 2000);
    kit_pass(k, 2000);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(what_is_snoozed_past_its_deadline_is_discarded)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .deadline_ms = 1000);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 600);
    kit_pass(k, 600);
    kit_settle_with(k, 1, SETTLE_SNOOZE, s_.until = k->now + 600);
    kit_pass(k, 399);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_DEFERRED_TOO_LONG);
}

TEST(what_a_closed_gate_holds_past_its_deadline_is_discarded)
{
    struct queue_kit *k = *state;
    const char *gate = "g";
    kit_open(k, 1, 1);
    core_gate_close(k->c, "a", gate, k->now + 5000, NULL);
    kit_send(k, 1, .deadline_ms = 1000, .gates = {gate}, .gates_count = 1);
    kit_pass(k, 999);
    assert_int_equal(kit_look(k, 1).waits, WAITS_GATE);
    kit_pass(k, 1);
    assert_int_equal(kit_look(k, 1).reason, REASON_DEFERRED_TOO_LONG);
}

/* ---- operators ---- */

TEST(a_cancelled_record_that_waits_never_runs)
{
    struct queue_kit *k = *state;
    bool asked = true;
    struct uuid id = kit_id(1);
    kit_queue(k, "q", q_.keep_completed_ms = 1000);
    kit_send(k, 1);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    assert_false(asked);
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
    kit_open(k, 1, 1);
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), ERR_CONFLICT);
}

TEST(the_holder_of_a_cancelled_record_is_told_and_it_never_runs_again)
{
    struct queue_kit *k = *state;
    bool asked = false;
    struct core_effect x;
    struct uuid id = kit_id(1);
    kit_queue(k, "q", q_.keep_completed_ms = 1000);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    assert_true(asked);
    assert_int_equal(kit_effects(k, EFFECT_CANCEL, &x), 1);
    assert_int_equal(x.token, kit_look(k, 1).token);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
}

TEST(what_was_acked_before_it_saw_the_cancel_is_completed)
{
    struct queue_kit *k = *state;
    bool asked;
    struct uuid id = kit_id(1);
    kit_queue(k, "q", q_.keep_completed_ms = 1000);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    core_cancel(k->c, &id, &asked, NULL);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
}

TEST(a_retry_gives_back_all_tries)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_queue(k, "q", q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1);
    assert_int_equal(core_retry(k->c, &id, &k->e), ERR_CONFLICT); /* it executes */
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    assert_int_equal(core_retry(k->c, &id, &k->e), 0);
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(kit_look(k, 1).attempts, 1);
    assert_int_equal(kit_look(k, 1).deliveries, 2);
    assert_int_equal(kit_look(k, 1).reason, REASON_NONE);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(core_retry(k->c, &id, &k->e), 0); /* a completed one too */
    kit_pass(k, 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_retry_does_not_wait_for_the_time_of_what_is_scheduled)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .run_at = k->now + 100000);
    assert_int_equal(core_retry(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_record_can_be_moved_edited_and_purged_while_it_does_not_execute)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_queue(k, "other");
    kit_send(k, 1, .bytes = 10);
    assert_int_equal(core_move(k->c, &id, "none", &k->e), ERR_NOT_FOUND);
    assert_int_equal(core_move(k->c, &id, "other", &k->e), 0);
    assert_string_equal(kit_look(k, 1).queue, "other");
    assert_int_equal(kit_counts(k, "q").available, 0);
    assert_int_equal(kit_counts(k, "other").available, 1);
    uint64_t place = kit_place(k);
    assert_int_equal(core_edit(k->c, &id, place, 33, false, &k->e), 0);
    assert_int_equal(kit_look(k, 1).body, place);
    assert_int_equal(kit_counts(k, "other").bytes, 33);
    kit_open(k, 1, 1);
    assert_int_equal(core_move(k->c, &id, "q", &k->e), ERR_CONFLICT);
    assert_int_equal(core_edit(k->c, &id, place, 1, false, &k->e), ERR_CONFLICT);
    assert_int_equal(core_purge(k->c, &id, &k->e), ERR_CONFLICT);
    kit_settle(k, 1, SETTLE_REJECT);
    assert_int_equal(core_purge(k->c, &id, &k->e), 0);
    assert_int_equal(kit_state(k, 1), 0);
    assert_int_equal(core_purge(k->c, &id, &k->e), ERR_NOT_FOUND);
}

/* ---- taking back, keeping ---- */

TEST(a_unit_that_is_taken_back_never_happened)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_pass(k, 10);
    kit_settle(k, 1, SETTLE_ACK);
    core_unit(k->c);
    uint64_t hash = core_hash(k->c);
    kit_send(k, 2, .key = "k", .dedup = "d");
    kit_send(k, 3, .key = "k");
    kit_settle(k, 2, SETTLE_NACK);
    assert_true(core_hash(k->c) != hash);
    core_undo(k->c, false);
    assert_int_equal(core_hash(k->c), hash);
    assert_int_equal(kit_state(k, 2), 0);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, NULL), 0);
    assert_int_equal(kit_effects(k, EFFECT_ENDED, NULL), 1); /* of the unit before */
    kit_send(k, 2, .dedup = "d");
    assert_false(k->sent.duplicate);
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
}

TEST(an_entry_that_is_taken_back_can_come_again)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .run_at = k->now + 10);
    uint64_t hash = core_hash(k->c);
    kit_pass(k, 10);
    uint64_t after = core_hash(k->c);
    core_unit(k->c);
    kit_send(k, 2);
    core_undo(k->c, true);
    assert_int_equal(core_hash(k->c), hash);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    k->seq--;
    kit_pass(k, 0);
    assert_int_equal(core_hash(k->c), after);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
}

TEST(a_state_that_was_saved_and_loaded_goes_on_alike)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.keep_completed_ms = 5000);
    kit_open(k, 1, 2);
    for (uint32_t i = 1; i < 20; i++)
        kit_send(k, i, .key = i % 3 == 0 ? "k" : NULL, .run_at = i % 5 == 0 ? k->now + i : 0);
    kit_settle(k, 1, SETTLE_ACK);
    kit_settle(k, 2, SETTLE_NACK);
    kit_pass(k, 1);
    struct core *copy = kit_copy(k);
    assert_int_equal(core_hash(copy), core_hash(k->c));
    for (int i = 0; i < 20; i++) {
        kit_pass(k, 7000);
        assert_int_equal(core_entry(copy, k->seq, k->now, &k->e), 0);
        assert_int_equal(core_hash(copy), core_hash(k->c));
        assert_int_equal(core_next_due(copy), core_next_due(k->c));
    }
    core_check(copy);
    core_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_record_is_granted_in_the_entry_that_brings_it),
        KIT_TEST(a_record_waits_until_a_consumer_has_room),
        KIT_TEST(a_record_of_later_is_scheduled_and_runs_when_it_is_due),
        KIT_TEST(a_record_of_the_past_runs_now),
        KIT_TEST(an_entry_moves_what_is_due_up_to_a_bound_and_the_next_the_rest),
        KIT_TEST(an_acked_record_is_gone_at_once),
        KIT_TEST(an_acked_record_stays_as_long_as_its_queue_keeps_it),
        KIT_TEST(of_completed_records_the_newest_are_kept),
        KIT_TEST(a_nack_waits_longer_each_time_until_the_tries_are_used),
        KIT_TEST(a_nack_may_say_how_long_to_wait),
        HEAP_TEST(a_backoff_stops_growing_at_its_cap_and_a_list_repeats_its_last),
        KIT_TEST(a_rejected_record_is_discarded_with_its_reason),
        KIT_TEST(release_and_snooze_use_no_try),
        KIT_TEST(a_settle_with_another_token_changes_nothing),
        KIT_TEST(what_was_granted_in_an_entry_and_comes_back_in_it_is_granted_again_by_the_next),
        KIT_TEST(a_settle_of_what_is_not_there_is_fenced),
        KIT_TEST(an_execution_over_its_timeout_is_a_failed_attempt),
        KIT_TEST(what_is_not_started_within_its_ttl_expires),
        KIT_TEST(what_has_started_does_not_expire),
        KIT_TEST(what_is_snoozed_past_its_deadline_is_discarded),
        KIT_TEST(what_a_closed_gate_holds_past_its_deadline_is_discarded),
        KIT_TEST(a_cancelled_record_that_waits_never_runs),
        KIT_TEST(the_holder_of_a_cancelled_record_is_told_and_it_never_runs_again),
        KIT_TEST(what_was_acked_before_it_saw_the_cancel_is_completed),
        KIT_TEST(a_retry_gives_back_all_tries),
        KIT_TEST(a_retry_does_not_wait_for_the_time_of_what_is_scheduled),
        KIT_TEST(a_record_can_be_moved_edited_and_purged_while_it_does_not_execute),
        KIT_TEST(a_unit_that_is_taken_back_never_happened),
        KIT_TEST(an_entry_that_is_taken_back_can_come_again),
        KIT_TEST(a_state_that_was_saved_and_loaded_goes_on_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
