#include "support/simworld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"

struct actor {
    struct task tasks[8];
    struct world_timer timer;
    struct offload offload;
    struct sim *sim;
    char order[64];
};

static struct actor *actor;

static void note(char c)
{
    size_t n = strlen(actor->order);
    actor->order[n] = c;
    actor->order[n + 1] = '\0';
    sim_note(actor->sim, "%c", c);
}

static void run_task(struct task *t)
{
    note((char)('0' + (t - actor->tasks)));
}

static void fire(struct world_timer *t)
{
    (void)t;
    note('T');
}

static void work(struct offload *o)
{
    (void)o;
    note('w');
}

static void done(struct offload *o)
{
    (void)o;
    note('d');
}

static struct actor *actor_new(uint64_t seed)
{
    actor = mem_new(sizeof(*actor));
    actor->sim = sim_new(seed, NULL);
    for (size_t i = 0; i < 8; i++)
        actor->tasks[i].run = run_task;
    actor->timer.fire = fire;
    actor->offload.work = work;
    actor->offload.done = done;
    return actor;
}

static void actor_free(void)
{
    sim_free(actor->sim);
    mem_free(actor);
}

static void tasks_of_one_runner_keep_their_order(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        actor_new(seed);
        for (size_t i = 0; i < 8; i++)
            runner_post(sim_world(actor->sim)->runner, &actor->tasks[i]);
        sim_run(actor->sim, 10);
        assert_string_equal(actor->order, "01234567");
        actor_free();
    }
}

static void a_timer_fires_once_and_not_when_stopped(void **state)
{
    (void)state;
    actor_new(7);
    struct world *w = sim_world(actor->sim);
    w->timer_start(w, &actor->timer, 50);
    sim_run(actor->sim, 40);
    assert_string_equal(actor->order, "");
    sim_run(actor->sim, 20);
    assert_string_equal(actor->order, "T");
    w->timer_start(w, &actor->timer, 50);
    w->timer_start(w, &actor->timer, 500); /* restarts */
    sim_run(actor->sim, 100);
    w->timer_stop(w, &actor->timer);
    w->timer_stop(w, &actor->timer);
    sim_run(actor->sim, 1000);
    assert_string_equal(actor->order, "T");
    actor_free();
}

static void work_is_done_before_it_is_reported(void **state)
{
    (void)state;
    actor_new(9);
    struct world *w = sim_world(actor->sim);
    w->offload(w, &actor->offload);
    assert_string_equal(actor->order, "");
    sim_run(actor->sim, 10);
    assert_string_equal(actor->order, "wd");
    actor_free();
}

static uint64_t life(uint64_t seed)
{
    actor_new(seed);
    struct world *w = sim_world(actor->sim);
    w->timer_start(w, &actor->timer, 1);
    for (size_t i = 0; i < 8; i++)
        runner_post(i % 2 ? w->runner : sim_client(actor->sim), &actor->tasks[i]);
    w->offload(w, &actor->offload);
    sim_run(actor->sim, 10);
    uint64_t hash = sim_trace_hash(actor->sim);
    actor_free();
    return hash;
}

static void the_seed_decides_the_trace(void **state)
{
    (void)state;
    assert_true(life(1) == life(1));
    assert_true(life(1) != life(2));
}

static void death_freezes_and_a_crash_revives(void **state)
{
    (void)state;
    actor_new(4);
    struct world *w = sim_world(actor->sim);
    w->timer_start(w, &actor->timer, 1);
    w->die(w, "a sync failed");
    assert_true(sim_is_frozen(actor->sim));
    assert_string_equal(sim_died_of(actor->sim), "a sync failed");
    sim_crash(actor->sim, SIM_KILL);
    assert_false(sim_is_frozen(actor->sim));
    assert_null(sim_died_of(actor->sim));
    sim_run(actor->sim, 100);
    assert_string_equal(actor->order, "");
    actor_free();
}

static void the_wall_clock_may_jump_back_the_other_not(void **state)
{
    (void)state;
    actor_new(4);
    struct world *w = sim_world(actor->sim);
    int64_t wall = w->wall_ms(w);
    uint64_t mono = w->mono_ns(w);
    sim_clock_jump(actor->sim, -60000);
    sim_run(actor->sim, 1000);
    assert_int_equal(w->wall_ms(w), wall - 59000);
    assert_int_equal(w->mono_ns(w), mono + 1000000000);
    actor_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_of_one_runner_keep_their_order),
        cmocka_unit_test(a_timer_fires_once_and_not_when_stopped),
        cmocka_unit_test(work_is_done_before_it_is_reported),
        cmocka_unit_test(the_seed_decides_the_trace),
        cmocka_unit_test(death_freezes_and_a_crash_revives),
        cmocka_unit_test(the_wall_clock_may_jump_back_the_other_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
