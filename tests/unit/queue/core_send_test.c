/* What a send is refused for, merged with or dropped in favour of; where dead letters go. */
#include "queue/core.h"

#include "support/unit.h"

#include "support/queue_kit.h"

/* ---- refusals ---- */

TEST(a_queue_that_is_not_declared_is_not_found_unless_it_may_be_made)
{
    struct queue_kit *k = *state;
    assert_int_equal(kit_try_send(k, 1, (struct core_send){.queue = "new"}), ERR_NOT_FOUND);
    kit_send(k, 1, .queue = "new", .create = true);
    assert_int_equal(kit_counts(k, "new").available, 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_HANDLER);
}

TEST(a_send_over_a_limit_is_refused)
{
    struct queue_kit *k = *state;
    uint64_t hash = core_hash(k->c);
    struct core_send wrong[] = {
        {.priority = CORE_PRIORITY_MAX + 1},
        {.attempts = CORE_ATTEMPTS_MAX + 1},
        {.gates_count = CORE_GATES_MAX + 1},
        {.needs_count = CORE_LABELS_MAX + 1},
        {.ttl_ms = -2},
        {.deadline_ms = -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(kit_try_send(k, 1, wrong[i]), ERR_INVALID);
    assert_int_equal(kit_try_send(k, 1, (struct core_send){.bytes = CORE_BODY_MAX + 1}),
                     ERR_TOO_LARGE);
    assert_int_equal(core_hash(k->c), hash);
    kit_send(k, 1, .priority = CORE_PRIORITY_MAX, .attempts = CORE_ATTEMPTS_MAX,
             .bytes = CORE_BODY_MAX, .large = true);
}

TEST(an_id_that_is_there_is_refused)
{
    struct queue_kit *k = *state;
    kit_send(k, 1);
    assert_int_equal(kit_try_send(k, 1, (struct core_send){0}), ERR_CONFLICT);
    struct uuid id = kit_id(1);
    core_purge(k->c, &id, NULL);
    kit_send(k, 1);
}

TEST(a_closed_queue_refuses_sends_and_its_records_run)
{
    struct queue_kit *k = *state;
    kit_send(k, 1);
    assert_int_equal(core_close(k->c, "a", "q", true, &k->e), 0);
    assert_int_equal(kit_try_send(k, 2, (struct core_send){0}), ERR_CONFLICT);
    assert_true(kit_counts(k, "q").closed);
    kit_open(k, 1, 1);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    core_close(k->c, "a", "q", false, NULL);
    kit_send(k, 2);
}

TEST(a_paused_queue_takes_sends_and_grants_nothing)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    assert_int_equal(core_pause(k->c, "a", "q", true, &k->e), 0);
    kit_send(k, 1);
    assert_int_equal(kit_look(k, 1).waits, WAITS_PAUSE);
    core_pause(k->c, "a", "q", false, NULL);
    assert_int_equal(kit_state(k, 1), REC_EXECUTING);
    assert_int_equal(core_pause(k->c, "a", "none", true, &k->e), ERR_NOT_FOUND);
}

TEST(a_manual_queue_is_worked_by_people)
{
    struct queue_kit *k = *state;
    kit_queue(k, "desk", q_.manual = true);
    kit_open(k, 1, 1);
    kit_send(k, 1, .queue = "desk");
    assert_int_equal(kit_look(k, 1).waits, WAITS_PEOPLE);
}

/* ---- bounds ---- */

TEST(a_full_queue_refuses)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.max = 2; q_.max_bytes = 100);
    kit_send(k, 1, .bytes = 40);
    assert_int_equal(k->sent.depth, 1);
    assert_int_equal(kit_try_send(k, 2, (struct core_send){.bytes = 61}), ERR_QUEUE_FULL);
    kit_send(k, 2, .bytes = 60);
    assert_int_equal(k->sent.depth, 2);
    assert_int_equal(kit_try_send(k, 3, (struct core_send){0}), ERR_QUEUE_FULL);
    kit_open(k, 1, 1); /* what executes does not count */
    kit_send(k, 3);
}

TEST(a_send_tells_how_long_the_oldest_has_waited)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.dedup_window_ms = 60000);
    kit_send(k, 1, .dedup = "d");
    assert_int_equal(k->sent.oldest_age_ms, 0);
    kit_pass(k, 700);
    kit_send(k, 2, .priority = 9);
    assert_int_equal(k->sent.oldest_age_ms, 700);
    kit_send(k, 3, .run_at = k->now + 5000);
    assert_int_equal(k->sent.oldest_age_ms, 700);
    kit_pass(k, 50);
    kit_send(k, 4, .dedup = "d");
    assert_true(k->sent.duplicate);
    assert_int_equal(k->sent.oldest_age_ms, 750);
    kit_open(k, 1, 4); /* none waits */
    kit_send(k, 5);
    assert_int_equal(k->sent.oldest_age_ms, 0);
}

TEST(a_full_queue_may_drop_its_oldest) /* Q2 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.max = 3; q_.max_bytes = 100; q_.overflow = OVERFLOW_DROP_OLDEST);
    for (uint32_t i = 1; i <= 3; i++)
        kit_send(k, i, .bytes = 20);
    kit_send(k, 4, .bytes = 20);
    assert_int_equal(kit_look(k, 1).reason, REASON_OVERFLOW);
    assert_int_equal(kit_state(k, 2), REC_AVAILABLE);
    kit_send(k, 5, .bytes = 75);
    assert_int_equal(kit_state(k, 2), REC_DISCARDED);
    assert_int_equal(kit_state(k, 3), REC_DISCARDED);
    assert_int_equal(kit_state(k, 4), REC_AVAILABLE);
    assert_int_equal(k->sent.depth, 2);
    assert_int_equal(kit_try_send(k, 6, (struct core_send){.bytes = 101}), ERR_QUEUE_FULL);
    assert_int_equal(kit_state(k, 4), REC_AVAILABLE);
}

TEST(a_queue_tells_since_when_its_oldest_waits)
{
    struct queue_kit *k = *state;
    assert_int_equal(kit_counts(k, "q").oldest_at, INT64_MAX);
    kit_send(k, 1);
    kit_pass(k, 700);
    kit_send(k, 2);
    assert_int_equal(kit_counts(k, "q").oldest_at, k->now - 700);
}

/* ---- the same again ---- */

TEST(a_second_send_within_the_window_is_the_first)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.dedup_window_ms = 1000);
    kit_queue(k, "other");
    kit_send(k, 1, .dedup = "d");
    kit_pass(k, 999);
    kit_send(k, 2, .dedup = "d");
    struct uuid first = kit_id(1);
    assert_true(k->sent.duplicate);
    assert_memory_equal(&k->sent.id, &first, sizeof(first));
    assert_int_equal(kit_state(k, 2), 0);
    kit_send(k, 3, .dedup = "d", .queue = "other");
    assert_false(k->sent.duplicate);
    kit_pass(k, 1);
    kit_send(k, 4, .dedup = "d");
    assert_false(k->sent.duplicate);
    assert_int_equal(kit_state(k, 4), REC_AVAILABLE);
}

TEST(a_duplicate_is_known_though_its_record_is_gone)
{
    struct queue_kit *k = *state;
    kit_open(k, 1, 1);
    kit_send(k, 1, .dedup = "d");
    kit_settle(k, 1, SETTLE_ACK);
    kit_send(k, 2, .dedup = "d");
    assert_true(k->sent.duplicate);
}

TEST(a_send_may_ask_to_be_known_for_longer_than_the_queue_knows_its_own) /* B4 */
{
    struct queue_kit *k = *state;
    enum { DAY = 24 * 3600 * 1000 };
    kit_open(k, 1, 1);
    kit_send(k, 1, .dedup = "event", .dedup_ms = DAY);
    kit_settle(k, 1, SETTLE_ACK);
    kit_send(k, 2, .dedup = "own", .dedup_ms = 1000);
    kit_pass(k, 599 * 1000);
    kit_send(k, 3, .dedup = "own"); /* the queue's ten minutes are longer */
    assert_true(k->sent.duplicate);
    kit_pass(k, DAY - 600 * 1000);
    kit_send(k, 4, .dedup = "event");
    assert_true(k->sent.duplicate);
    kit_pass(k, 1000);
    kit_send(k, 5, .dedup = "event");
    assert_false(k->sent.duplicate);
}

TEST(of_records_with_one_unique_value_one_waits)
{
    struct queue_kit *k = *state;
    kit_send(k, 1, .unique = "u", .bytes = 5);
    uint64_t body = kit_look(k, 1).body;
    kit_send(k, 2, .unique = "u");
    assert_true(k->sent.merged);
    assert_int_equal(kit_look(k, 1).body, body);
    assert_int_equal(kit_state(k, 2), 0);
    kit_open(k, 1, 1);
    kit_send(k, 3, .unique = "u"); /* the first executes */
    assert_false(k->sent.merged);
    kit_send(k, 4, .unique = "u");
    assert_true(k->sent.merged);
    struct uuid third = kit_id(3);
    assert_memory_equal(&k->sent.id, &third, sizeof(third));
}

TEST(a_unique_send_may_replace_the_body_that_waits)
{
    struct queue_kit *k = *state;
    kit_send(k, 1, .unique = "u", .bytes = 5);
    uint64_t place = kit_look(k, 1).place;
    kit_send(k, 2, .unique = "u", .unique_mode = UNIQUE_REPLACE, .bytes = 9);
    assert_true(k->sent.merged);
    assert_int_equal(kit_look(k, 1).place, place);
    assert_true(kit_look(k, 1).body > place);
    assert_int_equal(kit_look(k, 1).bytes, 9);
    assert_int_equal(kit_counts(k, "q").bytes, 9);
}

TEST(a_merge_fails_when_the_body_that_waits_is_another_by_now)
{
    struct queue_kit *k = *state;
    struct core_send s = {.unique = "u", .unique_mode = UNIQUE_SWAP};
    struct core_waiting w = {.body = 7};
    assert_int_equal(core_waiting(k->c, "a", "q", "u", &w), ERR_NOT_FOUND);
    assert_int_equal(w.body, 0);
    assert_int_equal(kit_try_send(k, 1, s), 0);
    assert_int_equal(kit_try_send(k, 2, s), ERR_CONFLICT); /* expected none */
    assert_int_equal(core_waiting(k->c, "a", "q", "u", &w), 0);
    assert_int_equal(w.body, kit_look(k, 1).body);
    s.unique_expect = w.body;
    assert_int_equal(kit_try_send(k, 3, s), 0);
    assert_true(k->sent.merged);
    assert_int_equal(kit_try_send(k, 4, s), ERR_CONFLICT);
    kit_open(k, 1, 1);
    s.unique_expect = kit_look(k, 1).body;
    assert_int_equal(kit_try_send(k, 5, s), ERR_CONFLICT); /* it executes */
    assert_int_equal(core_waiting(k->c, "a", "q", "u", &w), ERR_NOT_FOUND);
}

/* ---- dead letters ---- */

TEST(a_dead_letter_moves_with_its_id_and_all_its_tries)
{
    struct queue_kit *k = *state;
    struct core_effect x;
    kit_queue(k, "dead", q_.handled = false);
    kit_queue(k, "q", q_.dead_to = "dead");
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1, .bytes = 7);
    kit_settle(k, 1, SETTLE_NACK);
    assert_int_equal(kit_effects(k, EFFECT_ENDED, &x), 1);
    assert_int_equal(x.reason, REASON_ATTEMPTS);
    struct core_view v = kit_look(k, 1);
    assert_string_equal(v.queue, "dead");
    assert_int_equal(v.state, REC_AVAILABLE);
    assert_int_equal(v.attempts, 0);
    assert_int_equal(v.reason, REASON_ATTEMPTS);
    assert_int_equal(kit_counts(k, "q").bytes, 0);
    assert_int_equal(kit_counts(k, "dead").bytes, 7);
}

TEST(a_dead_letter_never_goes_to_a_queue_that_it_died_in_before)
{
    struct queue_kit *k = *state;
    kit_queue(k, "b", q_.dead_to = "q");
    kit_queue(k, "q", q_.dead_to = "b");
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1);
    kit_settle(k, 1, SETTLE_NACK);
    assert_string_equal(kit_look(k, 1).queue, "b");
    kit_pass(k, 0);
    kit_settle(k, 1, SETTLE_NACK);
    assert_string_equal(kit_look(k, 1).queue, "b");
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
}

TEST(a_queue_for_dead_letters_is_made_by_the_first_one)
{
    struct queue_kit *k = *state;
    struct core_queue q = {.tenant = "a", .name = "x", .dead_to = "x"};
    assert_int_equal(core_declare(k->c, &q, &k->e), ERR_INVALID);
    kit_queue(k, "q", q_.dead_to = "dead");
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle(k, 1, SETTLE_REJECT);
    assert_int_equal(kit_counts(k, "dead").available, 1);
}

TEST(the_queue_that_a_dead_letter_comes_from_may_be_dropped)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.dead_to = "dead");
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_settle(k, 1, SETTLE_REJECT);
    assert_int_equal(core_drop(k->c, "a", "q", false, &k->e), 0);
    kit_pass(k, 0);
    struct core *copy = kit_copy(k);
    assert_int_equal(core_hash(copy), core_hash(k->c));
    core_free(copy);
    assert_string_equal(kit_look(k, 1).queue, "dead");
}

TEST(a_dead_letter_stays_where_it_died_too_often)
{
    struct queue_kit *k = *state;
    static const char *const names[] = {"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"};
    for (size_t i = 0; i + 1 < ARRAY_LEN(names); i++)
        kit_queue(k, names[i], q_.dead_to = names[i + 1]);
    kit_queue(k, names[9]);
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1, .queue = "d0");
    for (int i = 0; i <= CORE_DIED_MAX; i++) {
        kit_pass(k, 0);
        kit_settle(k, 1, SETTLE_NACK);
    }
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    assert_string_equal(kit_look(k, 1).queue, names[CORE_DIED_MAX]);
}

TEST(a_retry_is_seen_only_by_the_group_that_failed) /* Q6 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "mail");
    kit_queue(k, "audit");
    kit_open(k, 1, 5);
    kit_send(k, 1, .queue = "mail");
    kit_send(k, 2, .queue = "audit");
    kit_settle(k, 1, SETTLE_NACK);
    kit_settle(k, 2, SETTLE_ACK);
    kit_pass(k, 10000);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, NULL), 1);
    assert_int_equal(kit_look(k, 1).attempts, 2);
    assert_int_equal(kit_counts(k, "audit").granted, 1);
}

/* ---- queues ---- */

TEST(a_queue_with_records_is_dropped_only_by_force)
{
    struct queue_kit *k = *state;
    struct core_effect x;
    kit_open(k, 1, 1);
    kit_send(k, 1);
    kit_send(k, 2, .dedup = "d");
    core_unit(k->c);
    assert_int_equal(core_drop(k->c, "a", "q", false, &k->e), ERR_CONFLICT);
    core_undo(k->c, false);
    assert_int_equal(core_drop(k->c, "a", "none", true, &k->e), ERR_NOT_FOUND);
    assert_int_equal(core_drop(k->c, "a", "q", true, &k->e), 0);
    assert_int_equal(kit_state(k, 1), 0);
    assert_int_equal(kit_effects(k, EFFECT_LOST, &x), 1);
    kit_queue(k, "q");
    assert_int_equal(kit_counts(k, "q").sent, 0);
    kit_send(k, 3, .dedup = "d");
    assert_false(k->sent.duplicate);
    assert_int_equal(kit_state(k, 3), REC_EXECUTING);
}

TEST(queues_are_listed_in_order_of_declaration_and_records_in_order_of_place)
{
    struct queue_kit *k = *state;
    struct core_queue q;
    struct core_counts n;
    uint64_t places[4];
    uint32_t at = 0;
    kit_queue(k, "zz");
    kit_queue(k, "aa");
    for (uint32_t i = 1; i <= 4; i++)
        kit_send(k, i, .priority = (uint8_t)i);
    static const char *const names[] = {"q", "zz", "aa"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(core_queue_at(k->c, &at, &q, &n));
        assert_string_equal(q.name, names[i]);
        assert_string_equal(q.tenant, "a");
    }
    assert_false(core_queue_at(k->c, &at, &q, &n));
    assert_int_equal(core_list(k->c, "a", "q", REC_AVAILABLE, 0, places, 3), 3);
    assert_int_equal(places[0], kit_look(k, 1).place);
    assert_int_equal(places[2], kit_look(k, 3).place);
    assert_int_equal(core_list(k->c, "a", "q", REC_AVAILABLE, places[2], places, 3), 1);
    assert_int_equal(places[0], kit_look(k, 4).place);
    assert_int_equal(core_list(k->c, "a", "q", REC_EXECUTING, 0, places, 3), 0);
    kit_send(k, 5, .run_at = k->now + 5000);
    assert_int_equal(core_list(k->c, "a", "q", REC_ANY, kit_look(k, 3).place, places, 3), 2);
    assert_int_equal(places[0], kit_look(k, 4).place);
    assert_int_equal(places[1], kit_look(k, 5).place);
    kit_open(k, 1, 1);
    assert_int_equal(core_list(k->c, "a", "q", REC_ANY, 0, places, 4), 4); /* one executes */
}

TEST(the_lowest_place_is_that_of_what_is_still_needed)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    uint64_t first = kit_look(k, 1).place;
    kit_pass(k, 1);
    kit_send(k, 2);
    assert_int_equal(core_lowest_place(k->c, 0), first);
    kit_settle(k, 1, SETTLE_ACK);
    assert_int_equal(core_lowest_place(k->c, 0), first);
    struct uuid id = kit_id(1);
    core_purge(k->c, &id, NULL);
    assert_int_equal(core_lowest_place(k->c, 0), kit_look(k, 2).place);
}

TEST(what_nobody_is_to_work_is_discarded_as_it_is_sent) /* B2 Q2 */
{
    struct queue_kit *k = *state;
    struct core_send late = {.discard = REASON_NO_SUBSCRIBER, .run_at = k->now + 1};
    kit_open(k, 1, 10);
    kit_send(k, 1, .discard = REASON_NO_SUBSCRIBER, .key = "x");
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    assert_int_equal(kit_look(k, 1).reason, REASON_NO_SUBSCRIBER);
    assert_int_equal(kit_effects(k, EFFECT_GRANT, NULL), 0);
    kit_send(k, 2, .key = "x"); /* holds back nothing */
    assert_int_equal(kit_state(k, 2), REC_EXECUTING);
    assert_int_equal(kit_try_send(k, 3, late), ERR_INVALID);
    core_check(k->c);
    core_free(kit_copy(k));
}

TEST(of_what_nobody_is_to_work_so_many_are_kept_the_newest)
{
    struct queue_kit *k = *state;
    for (uint32_t n = 1; n <= CORE_UNWORKED_MAX; n++)
        kit_send(k, n, .discard = REASON_NO_SUBSCRIBER);
    assert_int_equal(kit_state(k, 1), REC_DISCARDED);
    kit_send(k, CORE_UNWORKED_MAX + 1, .discard = REASON_NO_SUBSCRIBER);
    assert_int_equal((int)kit_state(k, 1), 0);
    assert_int_equal(kit_state(k, 2), REC_DISCARDED);
    assert_int_equal(kit_state(k, CORE_UNWORKED_MAX + 1), REC_DISCARDED);
    kit_send(k, CORE_UNWORKED_MAX + 2, .key = "x"); /* those that wait are no part of it */
    assert_int_equal(kit_state(k, 2), REC_DISCARDED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_queue_that_is_not_declared_is_not_found_unless_it_may_be_made),
        KIT_TEST(a_send_over_a_limit_is_refused),
        KIT_TEST(an_id_that_is_there_is_refused),
        KIT_TEST(a_closed_queue_refuses_sends_and_its_records_run),
        KIT_TEST(a_paused_queue_takes_sends_and_grants_nothing),
        KIT_TEST(a_manual_queue_is_worked_by_people),
        KIT_TEST(a_full_queue_refuses),
        KIT_TEST(a_send_tells_how_long_the_oldest_has_waited),
        KIT_TEST(a_full_queue_may_drop_its_oldest),
        KIT_TEST(a_queue_tells_since_when_its_oldest_waits),
        KIT_TEST(a_second_send_within_the_window_is_the_first),
        KIT_TEST(a_duplicate_is_known_though_its_record_is_gone),
        KIT_TEST(a_send_may_ask_to_be_known_for_longer_than_the_queue_knows_its_own),
        KIT_TEST(of_records_with_one_unique_value_one_waits),
        KIT_TEST(a_unique_send_may_replace_the_body_that_waits),
        KIT_TEST(a_merge_fails_when_the_body_that_waits_is_another_by_now),
        KIT_TEST(a_dead_letter_moves_with_its_id_and_all_its_tries),
        KIT_TEST(a_dead_letter_never_goes_to_a_queue_that_it_died_in_before),
        KIT_TEST(a_queue_for_dead_letters_is_made_by_the_first_one),
        KIT_TEST(the_queue_that_a_dead_letter_comes_from_may_be_dropped),
        KIT_TEST(a_dead_letter_stays_where_it_died_too_often),
        KIT_TEST(a_retry_is_seen_only_by_the_group_that_failed),
        KIT_TEST(a_queue_with_records_is_dropped_only_by_force),
        KIT_TEST(queues_are_listed_in_order_of_declaration_and_records_in_order_of_place),
        KIT_TEST(the_lowest_place_is_that_of_what_is_still_needed),
        KIT_TEST(what_nobody_is_to_work_is_discarded_as_it_is_sent),
        KIT_TEST(of_what_nobody_is_to_work_so_many_are_kept_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
