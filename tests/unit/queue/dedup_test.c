/* What was sent lately: how much is known of it at once, and what that costs. */
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/core_priv.h"
#include "support/queue_kit.h"
#include "support/unit.h"

enum { WINDOW_MS = 1000, DAY_MS = 24 * 3600 * 1000 };

static bool comes_again(struct queue_kit *k, const char *queue, const char *text)
{
    static uint32_t next = 1000000;
    kit_send(k, ++next, .queue = queue, .dedup = text);
    return k->sent.duplicate;
}

TEST(what_ends_first_is_forgotten_for_what_is_new_and_that_is_told) /* B4 */
{
    struct queue_kit *k = *state;
    k->c->dedups_queue_max = 3;
    kit_queue(k, "q", q_.dedup_window_ms = WINDOW_MS);
    kit_queue(k, "other", q_.dedup_window_ms = WINDOW_MS);
    kit_send(k, 1, .dedup = "other's", .queue = "other");
    kit_send(k, 2, .dedup = "event", .dedup_ms = DAY_MS);
    kit_pass(k, 10);
    int64_t first = k->now;
    kit_send(k, 3, .dedup = "first");
    kit_pass(k, 10);
    kit_send(k, 4, .dedup = "second");
    assert_int_equal(kit_counts(k, "q").dedups, 3);
    assert_int_equal(kit_counts(k, "q").dedups_forgotten, 0);
    kit_pass(k, 10);
    kit_send(k, 5, .dedup = "third");
    struct core_counts n = kit_counts(k, "q");
    assert_int_equal(n.dedups, 3);
    assert_int_equal(n.dedups_forgotten, 1);
    assert_int_equal(n.dedups_whole_at, first + WINDOW_MS);
    assert_true(comes_again(k, "q", "event"));
    assert_true(comes_again(k, "q", "second"));
    assert_true(comes_again(k, "q", "third"));
    assert_true(comes_again(k, "other", "other's"));
    assert_int_equal(kit_counts(k, "other").dedups_forgotten, 0);
    assert_false(comes_again(k, "q", "first"));
    assert_int_equal(kit_counts(k, "q").dedups_forgotten, 2);
    struct core *copy = kit_copy(k);
    assert_int_equal(core_counts(copy, "a", "q", &n, &k->e), 0);
    assert_int_equal(n.dedups_forgotten, 2);
    assert_int_equal(n.dedups_whole_at, first + 10 + WINDOW_MS);
    core_free(copy);
}

TEST(a_queue_that_comes_late_does_not_take_the_place_of_others)
{
    struct queue_kit *k = *state;
    k->c->dedups_max = 2;
    kit_queue(k, "other");
    kit_send(k, 1, .dedup = "a");
    kit_send(k, 2, .dedup = "b");
    kit_send(k, 3, .dedup = "c", .queue = "other"); /* its first */
    kit_pass(k, 1);
    kit_send(k, 4, .dedup = "d", .queue = "other");
    assert_int_equal(kit_counts(k, "q").dedups_forgotten, 0);
    assert_int_equal(kit_counts(k, "other").dedups_forgotten, 1);
    assert_true(comes_again(k, "q", "a"));
    assert_true(comes_again(k, "q", "b"));
    assert_true(comes_again(k, "other", "d"));
    assert_false(comes_again(k, "other", "c"));
}

TEST(what_was_forgotten_is_known_again_when_the_unit_is_taken_back)
{
    struct queue_kit *k = *state;
    k->c->dedups_queue_max = 1;
    kit_send(k, 1, .dedup = "a");
    kit_pass(k, 1);
    core_unit(k->c);
    kit_send(k, 2, .dedup = "b");
    assert_int_equal(kit_counts(k, "q").dedups_forgotten, 1);
    core_undo(k->c, false);
    assert_int_equal(kit_counts(k, "q").dedups_forgotten, 0);
    assert_int_equal(kit_counts(k, "q").dedups_whole_at, 0);
    assert_true(comes_again(k, "q", "a"));
    core_check(k->c);
}

TEST(texts_go_with_their_queue_and_come_to_an_end_with_their_time)
{
    struct queue_kit *k = *state;
    char text[16];
    kit_queue(k, "other", q_.dedup_window_ms = WINDOW_MS);
    kit_open(k, 1, 1);
    for (uint32_t i = 1; i <= 40; i++) {
        snprintf(text, sizeof text, "t%u", i);
        kit_send(k, i, .dedup = text, .queue = i % 2 == 0 ? "q" : "other");
        kit_settle(k, i, SETTLE_ACK);
        kit_pass(k, 10);
    }
    assert_int_equal(kit_counts(k, "other").dedups, 20);
    assert_int_equal(core_drop(k->c, "a", "q", false, &k->e), 0);
    core_check(k->c);
    kit_queue(k, "q");
    assert_int_equal(kit_counts(k, "q").dedups, 0);
    assert_false(comes_again(k, "q", "t2"));
    kit_pass(k, WINDOW_MS - 40 * 10);
    assert_int_equal(kit_counts(k, "other").dedups, 19);
    kit_pass(k, 40 * 10);
    assert_int_equal(kit_counts(k, "other").dedups, 0);
    assert_int_equal(core_next_due(k->c) > k->now, true);
}

/* Blocks of malloc() are a multiple of 16 bytes, 8 of them its own. */
static size_t block(size_t n)
{
    return (n + 8 + 15) / 16 * 16;
}

TEST(a_text_that_is_known_costs_under_a_hundred_bytes_however_long_it_is)
{
    enum { TEXTS = 100000, COSTS = 96 };
    struct queue_kit *k = *state;
    char text[256];
    kit_open(k, 1, 1);
    size_t before = mem_live();
    for (uint32_t i = 1; i <= TEXTS; i++) {
        snprintf(text, sizeof text, "ce https://shop.example/orders/of/a/very/long/name/%0100u", i);
        kit_send(k, i, .dedup = text, .dedup_ms = DAY_MS);
        kit_settle(k, i, SETTLE_ACK);
        if (i % 1000 == 0)
            kit_pass(k, 1);
    }
    const struct queue *q = queue_find(k->c, "a", "q");
    assert_int_equal(q->dedups.count, TEXTS);
    assert_in_range(mem_live() - before, TEXTS, TEXTS + 100); /* one block each, and no more */
    size_t bytes = TEXTS * block(sizeof(struct dedup)) + q->dedups.cap * sizeof *q->dedups.items +
                   k->c->dedups.cap * sizeof *k->c->dedups.heads;
    print_message("%zu bytes a text\n", bytes / TEXTS);
    assert_true(bytes <= (size_t)TEXTS * COSTS);
}

/* Queue "q", in which the message 1 was sent with the text "welcome-7"; a consumer names it, and it
 * is abandoned: as a program before wrote it. */
static const char fifth_form[] =
    "05000000010000000000000040420f000000000001000000000000000100000000000000000000000000000001"
    "000000010000000100610100000001000000070064656661756c7404000000ffffffffec040000000000000000"
    "0000000000000100000000000000b0130000000000000100000000000000000000000100000000000000000000"
    "00010071ffff000000000000000000000000000000000000000000000000000000000000000000c87e9a000000"
    "0000000000c0270900000000000000000000000000000000010000000000000000000000000000000000000000"
    "0000000100000000000000000000000000000040420f000000000001000000000000000000000000000000005c"
    "26050000000060ea0000050004000000000000000000010000000800000000000000000000000000000101006e"
    "0001000000307500000000000000000000010000000000000070b70f0000000000000000000000000001000000"
    "000000000100000000000000070000000000000000000000000000010100000100000000006a18000000000009"
    "0077656c636f6d652d370100000001000001000000002794b714e3b921ee40420f000000000000000000020000"
    "00010001000320010000000000000040420f0000000000000000000000000000000000000000000000000000cf"
    "713bd1fa1aecc9";

static int get_hex(void *arg, void *p, size_t n, struct err *e)
{
    const char **at = arg;
    (void)e;
    for (size_t i = 0; i < n; i++, *at += 2)
        ((uint8_t *)p)[i] = (uint8_t)(str_hex_digit((*at)[0]) << 4 | str_hex_digit((*at)[1]));
    return 0;
}

TEST(a_state_of_the_fifth_form_is_read_and_knows_the_same)
{
    struct queue_kit *k = *state;
    const char *at = fifth_form;
    struct core_counts n;
    struct core_sent sent;
    struct uuid first = kit_id(1);
    struct core *c = core_new();
    assert_int_equal(core_load(c, get_hex, &at, &k->e), 0);
    assert_int_equal(*at, '\0');
    assert_int_equal(core_counts(c, "a", "q", &n, &k->e), 0);
    assert_int_equal(n.dedups, 1);
    assert_int_equal(n.dedups_forgotten, 0);
    assert_int_equal(n.consumers, 1);
    assert_int_equal(n.unhandled_at, 1000000);
    assert_int_equal(core_entry(c, 2, 1000000 + 599 * 1000, &k->e), 0);
    struct core_send again = {.tenant = "a",
                              .queue = "q",
                              .id = {{7, [15] = 2}},
                              .place = CORE_PLACE(2, 1),
                              .priority = CORE_PRIORITY,
                              .dedup = "welcome-7"};
    assert_int_equal(core_send(c, &again, &sent, &k->e), 0);
    assert_true(sent.duplicate);
    first.b[15] = 1;
    first.b[12] = 0;
    assert_memory_equal(&sent.id, &first, sizeof first);
    assert_int_equal(core_entry(c, 3, 1000000 + 600 * 1000, &k->e), 0);
    assert_int_equal(core_send(c, &again, &sent, &k->e), 0);
    assert_false(sent.duplicate);
    core_check(c);
    core_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(what_ends_first_is_forgotten_for_what_is_new_and_that_is_told),
        KIT_TEST(a_queue_that_comes_late_does_not_take_the_place_of_others),
        KIT_TEST(what_was_forgotten_is_known_again_when_the_unit_is_taken_back),
        KIT_TEST(texts_go_with_their_queue_and_come_to_an_end_with_their_time),
        KIT_TEST(a_state_of_the_fifth_form_is_read_and_knows_the_same),
        KIT_TEST(a_text_that_is_known_costs_under_a_hundred_bytes_however_long_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
