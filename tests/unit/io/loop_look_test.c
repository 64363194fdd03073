/* A loop that looks about before it sleeps: nothing is lost, and rest costs nothing. */
#include "io/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "io/world.h"

enum { ROUNDS = 20000, BURST = 400, REST_US = 400 * 1000 };

/* A ball that two loops throw to each other. */
struct ball {
    struct task task;
    struct loop *loops[2];
    atomic_int left;
};

static uint64_t cpu_of_thread(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void ball_run(struct task *task)
{
    struct ball *b = (struct ball *)task;
    int left = atomic_load(&b->left);
    /* Now and then so long that the other one is just about to sleep, or asleep. */
    for (volatile int i = 0; i < left * 37 % 5000; i++)
        ;
    atomic_store(&b->left, left - 1);
    if (left > 1)
        runner_post(loop_runner(b->loops[left % 2]), task);
}

static struct loop *started(const char *name)
{
    struct loop *l;
    struct err e = ERR_INIT;
    assert_int_equal(loop_new(name, &l, &e), 0);
    assert_int_equal(loop_start(l, &e), 0);
    return l;
}

static void finish(struct loop *l)
{
    loop_stop(l);
    loop_join(l);
    loop_free(l);
}

static void a_task_posted_to_a_loop_that_is_about_to_sleep_is_not_lost(void **state)
{
    (void)state;
    struct ball b = {.task = {.run = ball_run}, .loops = {started("a"), started("b")}};
    atomic_store(&b.left, ROUNDS);
    runner_post(loop_runner(b.loops[0]), &b.task);
    for (int i = 0; i < 60000 && atomic_load(&b.left) > 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&b.left), 0);
    finish(b.loops[0]);
    finish(b.loops[1]);
}

struct reading {
    struct task task;
    uint64_t cpu_ns;
    atomic_bool done;
};

static void reading_run(struct task *task)
{
    struct reading *r = (struct reading *)task;
    r->cpu_ns = cpu_of_thread();
    atomic_store(&r->done, true);
}

static uint64_t cpu_of(struct loop *l)
{
    struct reading r = {.task = {.run = reading_run}};
    runner_post(loop_runner(l), &r.task);
    while (!atomic_load(&r.done))
        usleep(20);
    return r.cpu_ns;
}

static void a_loop_that_was_busy_uses_no_time_once_nobody_asks(void **state)
{
    (void)state;
    struct loop *l = started("rest");
    for (int i = 0; i < BURST; i++)
        cpu_of(l);
    uint64_t before = cpu_of(l);
    usleep(REST_US);
    uint64_t used = cpu_of(l) - before;
    assert_true(used < 10 * 1000 * 1000);
    finish(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_posted_to_a_loop_that_is_about_to_sleep_is_not_lost),
        cmocka_unit_test(a_loop_that_was_busy_uses_no_time_once_nobody_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
