/* What scripts say of a queue is theirs; the rest is left to people, and neither undoes the
 * other's.
 */
#include "queue/core.h"

#include "support/unit.h"

#include <string.h>

#include "support/queue_kit.h"

/* By people; and by a script that says these options. */
#define kit_people(k, ...) kit_queue(k, "mail", __VA_ARGS__)
#define kit_script(k, file, options, ...)                                                          \
    kit_queue(k, "mail", q_.script = file, q_.scripted = options, __VA_ARGS__)

static struct core_queue mail(struct queue_kit *k)
{
    struct core_queue q;
    struct core_counts n;
    assert_int_equal(core_find(k->c, "a", "mail", &q, &n, &k->e), 0);
    return q;
}

static int people_try(struct queue_kit *k, struct core_queue q)
{
    q.tenant = "a";
    q.name = "mail";
    q.script = NULL;
    err_clear(&k->e);
    return core_declare(k->c, &q, &k->e);
}

TEST(people_cannot_change_what_a_script_says)
{
    struct queue_kit *k = *state;
    const struct core_send says = {.priority = CORE_PRIORITY_UNSAID, .attempts = 8};
    kit_script(k, "mail.lua", OPTION_DEAD_TO | OPTION_ATTEMPTS, q_.dead_to = "dead",
               q_.sending = &says);
    struct core_queue q = mail(k);
    q.dead_to = NULL;
    assert_int_equal(people_try(k, q), ERR_CONFLICT);
    assert_string_equal(k->e.field, "dead_to");
    assert_non_null(strstr(k->e.text, "mail.lua"));
    q = mail(k);
    q.sending = NULL;
    assert_int_equal(people_try(k, q), ERR_CONFLICT);
    assert_string_equal(k->e.field, "attempts");
    assert_string_equal(mail(k).dead_to, "dead");
    assert_int_equal(mail(k).sending->attempts, 8);
}

TEST(people_may_repeat_what_a_script_says_and_say_what_it_leaves_open)
{
    struct queue_kit *k = *state;
    kit_script(k, "mail.lua", OPTION_DEAD_TO | OPTION_HANDLED, q_.dead_to = "dead");
    struct core_queue q = mail(k);
    q.max = 7;
    assert_int_equal(people_try(k, q), 0);
    assert_int_equal(mail(k).max, 7);
    assert_string_equal(mail(k).script, "mail.lua");
    assert_int_equal(mail(k).scripted, OPTION_DEAD_TO | OPTION_HANDLED);
}

TEST(a_script_leaves_what_people_said_and_takes_back_what_it_says_no_more)
{
    struct queue_kit *k = *state;
    const struct core_send theirs = {.priority = CORE_PRIORITY_UNSAID, .lane = "bulk"};
    const struct core_send mine = {.priority = 9, .attempts = 3};
    kit_people(k, q_.max = 7, q_.sending = &theirs);
    kit_script(k, "mail.lua", OPTION_DEAD_TO | OPTION_ATTEMPTS | OPTION_PRIORITY,
               q_.dead_to = "dead", q_.sending = &mine);
    struct core_queue q = mail(k);
    assert_int_equal(q.max, 7);
    assert_string_equal(q.sending->lane, "bulk");
    assert_int_equal(q.sending->attempts, 3);
    assert_int_equal(q.sending->priority, 9);
    kit_script(k, "mail.lua", OPTION_ATTEMPTS, q_.sending = &mine);
    q = mail(k);
    assert_null(q.dead_to);
    assert_int_equal(q.sending->attempts, 3);
    assert_string_equal(q.sending->lane, "bulk");
    assert_int_equal(q.max, 7);
}

TEST(a_queue_that_no_script_declares_any_more_keeps_all_and_is_people_s)
{
    struct queue_kit *k = *state;
    kit_script(k, "mail.lua", OPTION_DEAD_TO | OPTION_HANDLED, q_.dead_to = "dead");
    kit_script(k, "", 0, q_.handled = false);
    struct core_queue q = mail(k);
    assert_string_equal(q.dead_to, "dead");
    assert_false(q.handled);
    assert_null(q.script);
    q.dead_to = NULL;
    assert_int_equal(people_try(k, q), 0);
}

TEST(whose_a_queue_is_outlives_a_restart)
{
    struct queue_kit *k = *state;
    kit_script(k, "mail.lua", OPTION_MAX, q_.max = 7);
    struct core *copy = kit_copy(k), *first = k->c;
    k->c = copy;
    assert_string_equal(mail(k).script, "mail.lua");
    assert_int_equal(mail(k).scripted, OPTION_MAX);
    kit_pass(k, 1);
    struct core_queue q = mail(k);
    q.max = 8;
    assert_int_equal(people_try(k, q), ERR_CONFLICT);
    k->c = first;
    core_free(copy);
}

TEST(each_option_has_a_name_and_is_found_where_two_differ)
{
    struct queue_kit *k = *state;
    (void)k;
    for (uint32_t option = 1; option < OPTION_ALL; option <<= 1)
        assert_int_equal(core_option_named(core_option_name(option)), option);
    assert_int_equal(core_option_named("none"), 0);
    const struct core_send says = {.priority = 3, .ttl_ms = 5};
    struct core_queue a = {.max = 1}, b = {.max = 2, .sending = &says, .body_max = CORE_BODY};
    assert_int_equal(core_queue_differs(&a, &b), OPTION_MAX | OPTION_PRIORITY | OPTION_TTL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(people_cannot_change_what_a_script_says),
        KIT_TEST(people_may_repeat_what_a_script_says_and_say_what_it_leaves_open),
        KIT_TEST(a_script_leaves_what_people_said_and_takes_back_what_it_says_no_more),
        KIT_TEST(a_queue_that_no_script_declares_any_more_keeps_all_and_is_people_s),
        KIT_TEST(whose_a_queue_is_outlives_a_restart),
        KIT_TEST(each_option_has_a_name_and_is_found_where_two_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
