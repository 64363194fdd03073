/* Manual queues: owner, due time and snooze of what people work; queues that another part of Koan
 * owns. */
#include "queue/core.h"

#include <string.h>

#include "base/mem.h"
#include "support/queue_kit.h"
#include "support/unit.h"

enum { DAY = 86400 * 1000 };

static void people(struct queue_kit *k, int64_t due_ms)
{
    kit_queue(k, "desk", q_.manual = true, q_.handled = false, q_.due_ms = due_ms,
              q_.keep_completed_ms = DAY);
}

static int try_tend(struct queue_kit *k, uint32_t n, struct core_tend t)
{
    struct uuid id = kit_id(n);
    err_clear(&k->e);
    return core_tend(k->c, &id, &t, &k->e);
}

static void tend(struct queue_kit *k, uint32_t n, struct core_tend t)
{
    if (try_tend(k, n, t) != 0)
        fail_msg("%s", k->e.text);
}

static bool park_as(struct queue_kit *k, uint32_t n, uint32_t follows, bool anew)
{
    bool sent = false;
    struct uuid before = kit_id(follows);
    struct core_manual m = {
        .due_ms = 14 * (int64_t)DAY, .follows = follows != 0 ? &before : NULL, .anew = anew};
    struct core_send s = {.tenant = "a", .queue = "parked", .id = kit_id(n), .bytes = 10};
    s.place = kit_place(k);
    assert_int_equal(core_send_manual(k->c, &s, &m, &sent, &k->e), 0);
    return sent;
}

static bool park(struct queue_kit *k, uint32_t n, uint32_t follows)
{
    return park_as(k, n, follows, false);
}

static void worked(struct queue_kit *k, uint32_t n, bool cancelled, bool forget)
{
    struct core_worked w = {.id = kit_id(n),
                            .place = kit_place(k),
                            .has_result = !forget,
                            .cancelled = cancelled,
                            .forget = forget};
    core_worked(k->c, &w);
}

/* ---- owner, due, snooze ---- */

TEST(what_is_sent_to_a_manual_queue_is_never_granted_and_is_due_when_its_queue_says)
{
    struct queue_kit *k = *state;
    people(k, 3 * DAY);
    kit_open(k, 1, 10);
    kit_send(k, 1, .queue = "desk");
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_look(k, 1).waits, WAITS_PEOPLE);
    assert_int_equal(kit_look(k, 1).due_at, k->now + 3 * DAY);
    assert_string_equal(kit_look(k, 1).owner, "");
}

TEST(a_record_is_overdue_from_its_due_time_until_it_is_worked)
{
    struct queue_kit *k = *state;
    people(k, 1000);
    kit_send(k, 1, .queue = "desk");
    kit_send(k, 2, .queue = "desk");
    kit_pass(k, 999);
    assert_int_equal(kit_counts(k, "desk").overdue, 0);
    assert_int_equal(core_next_due(k->c), k->now + 1);
    kit_pass(k, 1);
    assert_int_equal(kit_counts(k, "desk").overdue, 2);
    assert_true(kit_look(k, 1).overdue);
    assert_int_equal(core_next_due(k->c), INT64_MAX);
    worked(k, 1, false, false);
    assert_int_equal(kit_counts(k, "desk").overdue, 1);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
    assert_int_equal(kit_counts(k, "desk").acked, 1);
}

TEST(another_due_time_is_counted_anew)
{
    struct queue_kit *k = *state;
    people(k, 1000);
    kit_send(k, 1, .queue = "desk");
    kit_pass(k, 1000);
    assert_int_equal(kit_counts(k, "desk").overdue, 1);
    tend(k, 1, (struct core_tend){.has_due = true, .due_at = k->now + 50});
    assert_int_equal(kit_counts(k, "desk").overdue, 0);
    kit_pass(k, 50);
    assert_int_equal(kit_counts(k, "desk").overdue, 1);
    tend(k, 1, (struct core_tend){.has_due = true});
    kit_pass(k, DAY);
    assert_int_equal(kit_counts(k, "desk").overdue, 0);
    assert_int_equal(kit_look(k, 1).due_at, 0);
}

TEST(an_owner_stays_until_another_is_named)
{
    struct queue_kit *k = *state;
    people(k, 1000);
    kit_send(k, 1, .queue = "desk");
    int64_t due = kit_look(k, 1).due_at;
    tend(k, 1, (struct core_tend){.has_owner = true, .owner = "ana"});
    assert_string_equal(kit_look(k, 1).owner, "ana");
    assert_int_equal(kit_look(k, 1).due_at, due);
    tend(k, 1, (struct core_tend){.has_due = true, .due_at = due + 5});
    assert_string_equal(kit_look(k, 1).owner, "ana");
    tend(k, 1, (struct core_tend){.has_owner = true});
    assert_string_equal(kit_look(k, 1).owner, "");
    assert_int_equal(kit_look(k, 1).due_at, due + 5);
}

TEST(what_people_snooze_comes_back_however_long_that_is)
{
    struct queue_kit *k = *state;
    people(k, 0);
    kit_send(k, 1, .queue = "desk");
    tend(k, 1, (struct core_tend){.has_until = true, .until = k->now + 40 * (int64_t)DAY});
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, 39 * (int64_t)DAY);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    kit_pass(k, DAY);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    tend(k, 1, (struct core_tend){.has_until = true, .until = k->now + DAY});
    tend(k, 1, (struct core_tend){.has_until = true});
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_counts(k, "desk").dropped, 0);
}

TEST(a_snoozed_record_can_be_overdue)
{
    struct queue_kit *k = *state;
    people(k, 1000);
    kit_send(k, 1, .queue = "desk");
    tend(k, 1, (struct core_tend){.has_until = true, .until = k->now + 5000});
    kit_pass(k, 1000);
    assert_int_equal(kit_state(k, 1), REC_SCHEDULED);
    assert_int_equal(kit_counts(k, "desk").overdue, 1);
    kit_pass(k, 4000);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_counts(k, "desk").overdue, 1);
}

TEST(what_nobody_can_say_is_refused)
{
    struct queue_kit *k = *state;
    char long_name[CORE_OWNER_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    people(k, 0);
    kit_send(k, 1, .queue = "desk");
    kit_send(k, 2);
    struct core_tend ana = {.has_owner = true, .owner = "ana"};
    assert_int_equal(try_tend(k, 2, ana), ERR_CONFLICT);
    assert_non_null(strstr(k->e.text, "not manual"));
    assert_int_equal(try_tend(k, 9, ana), ERR_NOT_FOUND);
    assert_int_equal(try_tend(k, 1, (struct core_tend){.has_owner = true, .owner = long_name}),
                     ERR_INVALID);
    assert_int_equal(try_tend(k, 1, (struct core_tend){.has_owner = true, .owner = ""}),
                     ERR_INVALID);
    assert_int_equal(try_tend(k, 1, (struct core_tend){.has_due = true, .due_at = INT64_MAX}),
                     ERR_INVALID);
    worked(k, 1, true, false);
    assert_int_equal(kit_state(k, 1), REC_CANCELLED);
    assert_int_equal(try_tend(k, 1, ana), ERR_CONFLICT);
    struct core_queue q = {.tenant = "a", .name = "desk", .due_ms = 5};
    core_queue_defaults(&q);
    assert_int_equal(core_declare(k->c, &q, &k->e), ERR_INVALID);
}

TEST(a_record_that_leaves_for_workers_forgets_owner_and_due_time)
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1);
    people(k, 1000);
    kit_send(k, 1, .queue = "desk");
    tend(k, 1, (struct core_tend){.has_owner = true, .owner = "ana"});
    kit_pass(k, 1000);
    assert_int_equal(core_move(k->c, &id, "q", &k->e), 0);
    assert_int_equal(kit_counts(k, "desk").overdue, 0);
    assert_int_equal(kit_look(k, 1).due_at, 0);
    assert_string_equal(kit_look(k, 1).owner, "");
    assert_int_equal(core_move(k->c, &id, "desk", &k->e), 0);
    assert_int_equal(kit_look(k, 1).due_at, k->now + 1000);
}

/* ---- owned queues ---- */

TEST(a_queue_for_people_is_made_by_the_first_that_is_sent)
{
    struct queue_kit *k = *state;
    struct core_queue q = {.name = NULL};
    struct core_counts n;
    assert_true(park(k, 1, 0));
    assert_int_equal(core_find(k->c, "a", "parked", &q, &n, &k->e), 0);
    assert_true(q.manual);
    assert_true(q.owned);
    assert_int_equal(q.due_ms, 14 * (int64_t)DAY);
    assert_int_equal(kit_look(k, 1).due_at, k->now + 14 * (int64_t)DAY);
    assert_false(park(k, 1, 0));
}

static struct core_queue options_of(const struct queue_kit *k, const char *queue)
{
    struct core_queue q = {.name = NULL};
    struct core_counts n;
    assert_int_equal(core_find(k->c, "a", queue, &q, &n, NULL), 0);
    return q;
}

TEST(what_a_queue_said_before_the_first_was_sent_stands)
{
    struct queue_kit *k = *state;
    kit_queue(k, "parked", q_.manual = true, q_.handled = false, q_.due_ms = 7 * (int64_t)DAY);
    park(k, 1, 0);
    struct core_queue q = options_of(k, "parked");
    assert_true(q.owned);
    assert_int_equal(q.due_ms, 7 * (int64_t)DAY);
    assert_int_equal(kit_look(k, 1).due_at, k->now + 7 * (int64_t)DAY);
    assert_int_equal(q.keep_completed_ms, 30 * (int64_t)DAY); /* of which it said nothing */
    assert_int_equal(q.keep_count, 10000);
}

TEST(what_a_queue_said_about_the_ended_ones_stands_too)
{
    struct queue_kit *k = *state;
    kit_queue(k, "parked", q_.manual = true, q_.handled = false, q_.keep_count = 3,
              q_.keep_completed_ms = DAY);
    park(k, 1, 0);
    struct core_queue q = options_of(k, "parked");
    assert_int_equal(q.due_ms, 14 * (int64_t)DAY);
    assert_int_equal(q.keep_completed_ms, DAY);
    assert_int_equal(q.keep_count, 3);
}

TEST(an_entry_of_before_does_what_it_did) /* L3 */
{
    struct queue_kit *k = *state;
    kit_queue(k, "parked", q_.manual = true, q_.handled = false, q_.due_ms = DAY,
              q_.keep_completed_ms = DAY, q_.keep_count = 3);
    park_as(k, 1, 0, true);
    struct core_queue q = options_of(k, "parked");
    assert_int_equal(q.due_ms, 14 * (int64_t)DAY);
    assert_int_equal(q.keep_completed_ms, 30 * (int64_t)DAY);
    assert_int_equal(q.keep_count, 10000);
}

TEST(a_queue_that_was_there_is_made_manual_and_takes_it_though_closed_and_full)
{
    struct queue_kit *k = *state;
    kit_queue(k, "parked", q_.max = 1);
    kit_open(k, 1, 1);
    kit_send(k, 7);
    kit_send(k, 8, .queue = "parked");
    assert_int_equal(core_close(k->c, "a", "parked", true, &k->e), 0);
    assert_true(park(k, 1, 0));
    kit_settle(k, 7, SETTLE_ACK);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
    assert_int_equal(kit_state(k, 8), REC_AVAILABLE);
}

TEST(what_stands_for_something_ends_with_that_and_not_by_what_its_queue_says)
{
    struct queue_kit *k = *state;
    struct core_send says = {.priority = CORE_PRIORITY_UNSAID, .ttl_ms = 1000};
    kit_queue(k, "parked", q_.manual = true, q_.handled = false, q_.sending = &says);
    park(k, 1, 0);
    kit_pass(k, 2 * (int64_t)DAY);
    assert_int_equal(kit_state(k, 1), REC_AVAILABLE);
}

TEST(operators_end_nothing_of_an_owned_queue) /* Q2 */
{
    struct queue_kit *k = *state;
    struct uuid id = kit_id(1), mine = kit_id(2);
    bool asked;
    park(k, 1, 0);
    kit_send(k, 2);
    assert_int_equal(core_cancel(k->c, &id, &asked, &k->e), ERR_CONFLICT);
    assert_non_null(strstr(k->e.text, "resume or reject"));
    assert_int_equal(core_move(k->c, &id, "q", &k->e), ERR_CONFLICT);
    assert_int_equal(core_move(k->c, &mine, "parked", &k->e), ERR_CONFLICT);
    assert_int_equal(core_purge(k->c, &id, &k->e), ERR_CONFLICT);
    assert_int_equal(core_edit(k->c, &id, kit_place(k), 3, false, &k->e), ERR_CONFLICT);
    assert_int_equal(core_drop(k->c, "a", "parked", true, &k->e), ERR_CONFLICT);
    assert_int_equal(kit_try_send(k, 3, (struct core_send){.queue = "parked"}), ERR_CONFLICT);
    struct core_queue q = {.tenant = "a", .name = "parked"};
    core_queue_defaults(&q);
    assert_int_equal(core_declare(k->c, &q, &k->e), ERR_CONFLICT);
    q.manual = true;
    q.due_ms = 7;
    q.keep_completed_ms = DAY;
    assert_int_equal(core_declare(k->c, &q, &k->e), 0);
    tend(k, 1, (struct core_tend){.has_owner = true, .owner = "ana"});
    worked(k, 1, false, false);
    assert_int_equal(core_retry(k->c, &id, &k->e), ERR_CONFLICT);
}

TEST(one_that_follows_another_has_its_owner_and_due_time)
{
    struct queue_kit *k = *state;
    park(k, 1, 0);
    int64_t due = kit_look(k, 1).due_at;
    tend(k, 1, (struct core_tend){.has_owner = true, .owner = "ana"});
    kit_pass(k, 5000);
    park(k, 2, 1);
    worked(k, 1, false, false);
    assert_string_equal(kit_look(k, 2).owner, "ana");
    assert_int_equal(kit_look(k, 2).due_at, due);
    assert_int_equal(kit_state(k, 1), REC_COMPLETED);
    worked(k, 2, false, true);
    assert_int_equal(kit_state(k, 2), 0);
    worked(k, 2, false, true); /* not there: nothing */
}

TEST(what_a_record_stood_for_goes_and_the_record_with_it)
{
    struct queue_kit *k = *state;
    struct uuid id[4];
    for (uint32_t n = 0; n < 4; n++)
        id[n] = kit_id(n + 1);
    for (uint32_t n = 1; n <= 3; n++)
        park(k, n, 0);
    kit_send(k, 4);
    kit_pass(k, 14 * (int64_t)DAY);
    assert_int_equal(kit_counts(k, "parked").overdue, 3);
    worked(k, 1, false, false);
    worked(k, 2, true, false);
    for (uint32_t n = 0; n < 4; n++)
        core_forget(k->c, &id[n]);
    core_forget(k->c, &id[0]); /* not there: nothing */
    core_check(k->c);
    for (uint32_t n = 1; n <= 3; n++)
        assert_int_equal(kit_state(k, n), 0);
    assert_int_equal(kit_state(k, 4), REC_AVAILABLE); /* of a queue that nobody owns */
    assert_int_equal(kit_counts(k, "parked").overdue, 0);
    assert_int_equal(kit_counts(k, "parked").completed, 0);
    assert_int_equal(kit_counts(k, "parked").cancelled, 0);
}

TEST(dead_letters_do_not_go_to_an_owned_queue)
{
    struct queue_kit *k = *state;
    park(k, 1, 0);
    kit_queue(k, "q", q_.dead_to = "parked");
    kit_open(k, 1, 1);
    kit_send(k, 5);
    kit_settle(k, 5, SETTLE_REJECT);
    assert_int_equal(kit_state(k, 5), REC_DISCARDED);
    assert_int_equal(kit_counts(k, "parked").available, 1);
}

/* ---- saved, and taken back ---- */

static void random_step(struct queue_kit *k, uint32_t *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    uint32_t n = 1 + (*seed >> 8) % 12;
    int64_t at = k->now + (*seed >> 12) % 3000;
    struct uuid id = kit_id(n);
    switch ((*seed >> 24) % 7) {
    case 0:
        park(k, n, 1 + n % 12);
        break;
    case 1:
        kit_try_send(k, n, (struct core_send){.queue = "desk", .key = n % 2 == 0 ? "k" : NULL});
        break;
    case 2:
        worked(k, n, n % 3 == 0, n % 4 == 0);
        break;
    case 3:
        try_tend(k, n, (struct core_tend){.has_due = true, .due_at = at});
        break;
    case 4:
        try_tend(k, n, (struct core_tend){.has_owner = true, .owner = n % 2 == 0 ? "bo" : NULL});
        break;
    case 5:
        try_tend(k, n, (struct core_tend){.has_until = true, .until = at});
        break;
    case 6:
        core_forget(k->c, &id);
        break;
    }
}

static void assert_same(struct queue_kit *k, struct core *other)
{
    struct queue_kit o = *k;
    o.c = other;
    assert_int_equal(core_hash(k->c), core_hash(other));
    assert_int_equal(core_next_due(k->c), core_next_due(other));
    assert_int_equal(kit_counts(k, "desk").overdue, kit_counts(&o, "desk").overdue);
    for (uint32_t n = 1; n <= 12; n++) {
        assert_int_equal(kit_state(k, n), kit_state(&o, n));
        if (kit_state(k, n) == 0)
            continue;
        struct core_view a = kit_look(k, n), b = kit_look(&o, n);
        assert_string_equal(a.owner, b.owner);
        assert_int_equal(a.due_at, b.due_at);
        assert_int_equal(a.overdue, b.overdue);
    }
}

TEST(what_is_saved_is_what_is_loaded_and_what_is_undone_was_never_there)
{
    struct queue_kit *k = *state;
    uint32_t seed = 7;
    people(k, 700);
    for (int i = 0; i < 600; i++) {
        struct core *before = kit_copy(k);
        core_unit(k->c);
        for (int j = 0; j < 4; j++)
            random_step(k, &seed);
        core_check(k->c);
        if (i % 3 == 0) {
            core_undo(k->c, false);
            core_check(k->c);
            assert_same(k, before);
        }
        core_free(before);
        struct core *copy = kit_copy(k);
        core_check(copy);
        assert_same(k, copy);
        core_free(copy);
        kit_pass(k, i % 5 == 0 ? 400 : 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(what_is_sent_to_a_manual_queue_is_never_granted_and_is_due_when_its_queue_says),
        KIT_TEST(a_record_is_overdue_from_its_due_time_until_it_is_worked),
        KIT_TEST(another_due_time_is_counted_anew),
        KIT_TEST(an_owner_stays_until_another_is_named),
        KIT_TEST(what_people_snooze_comes_back_however_long_that_is),
        KIT_TEST(a_snoozed_record_can_be_overdue),
        KIT_TEST(what_nobody_can_say_is_refused),
        KIT_TEST(a_record_that_leaves_for_workers_forgets_owner_and_due_time),
        KIT_TEST(a_queue_for_people_is_made_by_the_first_that_is_sent),
        KIT_TEST(what_a_queue_said_before_the_first_was_sent_stands),
        KIT_TEST(what_a_queue_said_about_the_ended_ones_stands_too),
        KIT_TEST(an_entry_of_before_does_what_it_did),
        KIT_TEST(a_queue_that_was_there_is_made_manual_and_takes_it_though_closed_and_full),
        KIT_TEST(what_stands_for_something_ends_with_that_and_not_by_what_its_queue_says),
        KIT_TEST(operators_end_nothing_of_an_owned_queue),
        KIT_TEST(one_that_follows_another_has_its_owner_and_due_time),
        KIT_TEST(what_a_record_stood_for_goes_and_the_record_with_it),
        KIT_TEST(dead_letters_do_not_go_to_an_owned_queue),
        KIT_TEST(what_is_saved_is_what_is_loaded_and_what_is_undone_was_never_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
