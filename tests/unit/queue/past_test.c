/* What is kept of a record's past: who failed with it where, and what people did with it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "queue/core.h"

#include "support/unit.h"

#include "support/queue_kit.h"

static struct core_history past(struct queue_kit *k, uint32_t n)
{
    struct core_history h;
    struct uuid id = kit_id(n);
    assert_int_equal(core_past(k->c, &id, &h, &k->e), 0);
    return h;
}

TEST(an_error_names_the_node_and_the_trace_of_its_execution) /* Q2 */
{
    struct queue_kit *k = *state;
    static const uint8_t trace[CORE_TRACE_BYTES] = {0xab, [15] = 1}, none[CORE_TRACE_BYTES];
    struct core_consumer c = {
        .worker = true, .node = "alpha", .credit = 1, .id = kit_consumer_id(1), .lease_ms = 5000};
    assert_int_equal(core_open(k->c, &c, &k->e), 0);
    kit_send(k, 1);
    kit_settle_with(k, 1, SETTLE_NACK, (s_.trace = trace, s_.delay_ms = 0));
    c.node = "beta";
    c.id = kit_consumer_id(2);
    struct uuid first = kit_consumer_id(1);
    assert_int_equal(core_leave(k->c, &first, &k->e), 0);
    assert_int_equal(core_open(k->c, &c, &k->e), 0);
    kit_pass(k, 1);
    bool lapsed = false;
    kit_pass(k, 10000);
    assert_int_equal(core_lapse(k->c, &c.id, &lapsed, &k->e), 0);
    assert_true(lapsed);
    struct core_history h = past(k, 1);
    assert_int_equal(h.errors_count, 2);
    assert_string_equal(h.errors[0].node, "alpha");
    assert_memory_equal(h.errors[0].trace, trace, sizeof trace);
    assert_string_equal(h.errors[1].node, "beta");
    assert_int_equal(h.errors[1].reason, REASON_LAPSED);
    assert_memory_equal(h.errors[1].trace, none, sizeof none);
}

TEST(what_people_do_with_a_record_is_kept_with_who_and_why) /* Q2 */
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    bool asked;
    kit_queue(k, "other", q_.handled = false, q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1);
    kit_settle(k, 1, SETTLE_NACK);
    kit_pass(k, 1);
    core_by(k->c, "ann", "they pay late");
    assert_int_equal(core_move(k->c, &id, "other", &k->e), 0);
    core_by(k->c, "bob", NULL);
    assert_int_equal(core_edit(k->c, &id, kit_place(k), 3, false, &k->e), 0);
    core_by(k->c, "ann", "a mistake");
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    assert_string_equal(kit_look(k, 1).why, "a mistake");
    core_by(k->c, NULL, "");
    assert_int_equal(core_retry(k->c, &id, &k->e), 0);
    assert_string_equal(kit_look(k, 1).why, "");
    struct core_history h = past(k, 1);
    assert_int_equal(h.moves_count, 4);
    assert_int_equal(h.moves[0].verb, VERB_MOVE);
    assert_int_equal(h.moves[0].at, k->now);
    assert_string_equal(h.moves[0].who, "ann");
    assert_string_equal(h.moves[0].why, "they pay late");
    assert_string_equal(h.moves[0].from, "q");
    assert_string_equal(h.moves[0].to, "other");
    assert_int_equal(h.moves[1].verb, VERB_EDIT);
    assert_string_equal(h.moves[1].who, "bob");
    assert_null(h.moves[1].why);
    assert_null(h.moves[1].from);
    assert_int_equal(h.moves[2].verb, VERB_CANCEL);
    assert_int_equal(h.moves[3].verb, VERB_RETRY);
    assert_null(h.moves[3].who);
    assert_int_equal(core_drop(k->c, "a", "q", true, &k->e), 0);
    assert_string_equal(past(k, 1).moves[0].from, "q"); /* though there is no such queue now */
}

TEST(the_reason_of_a_cancel_is_that_of_the_execution_which_ends_by_it)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    bool asked;
    kit_queue(k, "q", q_.keep_completed_ms = -1);
    kit_open(k, 1, 1);
    kit_send(k, 1);
    core_by(k->c, "ann", "too late");
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), 0);
    assert_true(asked);
    assert_string_equal(kit_look(k, 1).why, "");
    kit_settle(k, 1, SETTLE_RELEASE);
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
    assert_string_equal(kit_look(k, 1).why, "too late");
}

TEST(a_dead_letter_remembers_from_where_to_where_and_why_it_moved) /* Q2 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.dead_to = "graves");
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 1);
    core_by(k->c, "ann", "of another record");
    kit_settle(k, 1, SETTLE_NACK);
    struct core_history h = past(k, 1);
    assert_int_equal(h.moves_count, 1);
    assert_int_equal(h.moves[0].verb, VERB_DEAD_LETTER);
    assert_int_equal(h.moves[0].reason, REASON_ATTEMPTS);
    assert_string_equal(h.moves[0].from, "q");
    assert_string_equal(h.moves[0].to, "graves");
    assert_null(h.moves[0].who);
    assert_null(h.moves[0].why);
}

static void edit_often(struct queue_kit *k, uint32_t n, int from, int to)
{
    struct uuid id = kit_id(n);
    char why[24];
    for (int i = from; i < to; i++) {
        snprintf(why, sizeof why, "edit %d", i);
        core_by(k->c, i % 2 == 0 ? "ann" : "bob", why);
        assert_int_equal(core_edit(k->c, &id, kit_place(k), 1, false, &k->e), 0);
    }
}

static void newest_edits(const struct core_history *h, int from, int to)
{
    char why[24];
    assert_int_equal(h->moves_count, to - from);
    for (int i = from; i < to; i++) {
        snprintf(why, sizeof why, "edit %d", i);
        assert_string_equal(h->moves[i - from].why, why);
        assert_string_equal(h->moves[i - from].who, i % 2 == 0 ? "ann" : "bob");
    }
}

TEST(the_newest_moves_are_kept_and_survive_with_the_state)
{
    struct queue_kit *k = *state;
    kit_queue(k, "q", q_.handled = false);
    kit_send(k, 1);
    kit_send(k, 2);
    edit_often(k, 1, 0, 47);
    edit_often(k, 2, 0, 3);
    struct core_history h = past(k, 1);
    assert_int_equal(h.moves_ever, 47);
    newest_edits(&h, 47 - CORE_MOVES_KEPT, 47);
    struct core *copy = kit_copy(k);
    core_free(k->c);
    k->c = copy;
    h = past(k, 1);
    assert_int_equal(h.moves_ever, 47);
    newest_edits(&h, 47 - CORE_MOVES_KEPT, 47);
    h = past(k, 2);
    newest_edits(&h, 0, 3);
    edit_often(k, 2, 3, 30); /* they go on where they were */
    h = past(k, 2);
    newest_edits(&h, 30 - CORE_MOVES_KEPT, 30);
}

TEST(errors_survive_with_the_state)
{
    struct queue_kit *k = *state;
    static const uint8_t trace[CORE_TRACE_BYTES] = {7};
    kit_open(k, 1, 1);
    kit_send(k, 1, .attempts = 30);
    for (int i = 0; i < 23; i++) {
        kit_settle_with(k, 1, SETTLE_NACK,
                        (s_.trace = trace, s_.code = (uint16_t)i, s_.delay_ms = 0));
        kit_pass(k, 1);
    }
    struct core *copy = kit_copy(k);
    core_free(k->c);
    k->c = copy;
    struct core_history h = past(k, 1);
    assert_int_equal(h.errors_count, CORE_ERRORS_KEPT);
    for (uint32_t i = 0; i < h.errors_count; i++) {
        assert_int_equal(h.errors[i].code, 3 + i);
        assert_string_equal(h.errors[i].node, "n");
        assert_memory_equal(h.errors[i].trace, trace, sizeof trace);
    }
}

TEST(long_words_are_cut_in_whole_characters)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    char why[CORE_WHY_MAX + 3], who[CORE_WHO_MAX + 2];
    kit_queue(k, "q", q_.handled = false);
    kit_send(k, 1);
    memset(why, 'x', sizeof why - 1);
    memcpy(why + CORE_WHY_MAX - 1, "\xc3\xa4", 2); /* one character over the end */
    why[sizeof why - 1] = '\0';
    memset(who, 'w', sizeof who - 1);
    who[sizeof who - 1] = '\0';
    core_by(k->c, who, why);
    assert_int_equal(core_edit(k->c, &id, kit_place(k), 1, false, &k->e), 0);
    struct core_history h = past(k, 1);
    assert_int_equal(strlen(h.moves[0].why), CORE_WHY_MAX - 1);
    assert_int_equal(strlen(h.moves[0].who), CORE_WHO_MAX);
}

TEST(a_unit_that_is_taken_back_leaves_nothing_in_the_past)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    kit_queue(k, "q", q_.handled = false);
    kit_send(k, 1);
    edit_often(k, 1, 0, CORE_MOVES_KEPT);
    kit_pass(k, 1);
    for (int i = 0; i < 3; i++) {
        core_unit(k->c);
        edit_often(k, 1, 100, 100 + 2 * CORE_MOVES_KEPT); /* words come and go */
        assert_int_equal(core_purge(k->c, &id, &k->e), 0);
        core_undo(k->c, false);
        struct core_history h = past(k, 1);
        assert_int_equal(h.moves_ever, CORE_MOVES_KEPT);
        newest_edits(&h, 0, CORE_MOVES_KEPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(an_error_names_the_node_and_the_trace_of_its_execution),
        KIT_TEST(what_people_do_with_a_record_is_kept_with_who_and_why),
        KIT_TEST(the_reason_of_a_cancel_is_that_of_the_execution_which_ends_by_it),
        KIT_TEST(a_dead_letter_remembers_from_where_to_where_and_why_it_moved),
        KIT_TEST(the_newest_moves_are_kept_and_survive_with_the_state),
        KIT_TEST(errors_survive_with_the_state),
        KIT_TEST(long_words_are_cut_in_whole_characters),
        KIT_TEST(a_unit_that_is_taken_back_leaves_nothing_in_the_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
