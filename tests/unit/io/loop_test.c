#include "io/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/world.h"

static struct loop *make(void)
{
    struct loop *l;
    struct err e = ERR_INIT;
    assert_int_equal(loop_new("test", &l, &e), 0);
    return l;
}

static void turn_until(struct loop *l, const int *count, int wanted)
{
    for (int i = 0; i < 5000 && *count < wanted; i++) {
        loop_poll(l);
        if (*count < wanted)
            usleep(1000);
    }
    assert_int_equal(*count, wanted);
}

/* ---- tasks ---- */

struct note {
    struct task task;
    struct loop *loop;
    char *out;
    char name;
    struct task *then;
};

static void note_run(struct task *t)
{
    struct note *n = (struct note *)t;
    n->out[strlen(n->out)] = n->name;
    if (n->then != NULL) {
        struct task *then = n->then;
        n->then = NULL;
        runner_post(loop_runner(n->loop), then);
    }
}

static void tasks_run_in_the_order_posted_and_new_ones_after_them(void **state)
{
    (void)state;
    struct loop *l = make();
    char out[8] = "";
    struct note c = {{.run = note_run}, l, out, 'c', NULL};
    struct note a = {{.run = note_run}, l, out, 'a', &c.task};
    struct note b = {{.run = note_run}, l, out, 'b', NULL};
    runner_post(loop_runner(l), &a.task);
    runner_post(loop_runner(l), &b.task);
    while (loop_poll(l))
        ;
    assert_string_equal(out, "abc");
    loop_free(l);
}

static void a_task_may_be_posted_again_from_within_itself(void **state)
{
    (void)state;
    struct loop *l = make();
    char out[8] = "";
    struct note a = {{.run = note_run}, l, out, 'a', NULL};
    a.then = &a.task;
    runner_post(loop_runner(l), &a.task);
    while (loop_poll(l))
        ;
    assert_string_equal(out, "aa");
    loop_free(l);
}

enum { POSTERS = 4, POSTS = 20000 };
struct poster {
    struct loop *loop;
    struct poster_task {
        struct task task;
        struct poster *of;
        int number;
    } tasks[POSTS];
    int seen;
    int *total;
};

static void poster_task_run(struct task *t)
{
    struct poster_task *p = (struct poster_task *)t;
    assert_int_equal(p->number, p->of->seen); /* FIFO per thread */
    p->of->seen++;
    if (++*p->of->total == POSTERS * POSTS)
        loop_stop(p->of->loop);
}

static void *poster_thread(void *arg)
{
    struct poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        p->tasks[i] = (struct poster_task){{.run = poster_task_run}, p, i};
        runner_post(loop_runner(p->loop), &p->tasks[i].task);
    }
    return NULL;
}

static void posts_of_many_threads_all_arrive_in_order_and_wake_the_loop(void **state)
{
    (void)state;
    struct loop *l = make();
    struct err e = ERR_INIT;
    int total = 0;
    struct poster *posters = mem_new_array(POSTERS, sizeof *posters);
    pthread_t threads[POSTERS];
    assert_int_equal(loop_start(l, &e), 0);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = l;
        posters[i].total = &total;
        pthread_create(&threads[i], NULL, poster_thread, &posters[i]);
    }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    loop_join(l);
    assert_int_equal(total, POSTERS * POSTS);
    loop_free(l);
    mem_free(posters);
}

/* ---- timers ---- */

struct mark {
    struct world_timer timer;
    char *out;
    char name;
    int *count;
};

static void mark_fire(struct world_timer *t)
{
    struct mark *m = (struct mark *)t;
    m->out[strlen(m->out)] = m->name;
    ++*m->count;
}

static void timers_fire_once_in_order_of_their_time(void **state)
{
    (void)state;
    struct loop *l = make();
    struct world *w = loop_world(l);
    char out[8] = "";
    int count = 0;
    struct mark a = {{.fire = mark_fire}, out, 'a', &count};
    struct mark b = {{.fire = mark_fire}, out, 'b', &count};
    struct mark c = {{.fire = mark_fire}, out, 'c', &count};
    struct mark never = {{.fire = mark_fire}, out, 'x', &count};
    w->timer_start(w, &c.timer, 30);
    w->timer_start(w, &never.timer, 5);
    w->timer_start(w, &b.timer, 15);
    w->timer_start(w, &a.timer, 50);
    w->timer_start(w, &a.timer, 2); /* restarted earlier */
    w->timer_stop(w, &never.timer);
    w->timer_stop(w, &never.timer);
    turn_until(l, &count, 3);
    assert_string_equal(out, "abc");
    assert_false(loop_poll(l));
    loop_free(l);
}

struct many {
    struct world_timer timer;
    uint64_t due_ns;
    struct many_state {
        uint64_t last;
        int fired;
    } * s;
};

/* Timers count in milliseconds, and the clock is read again when one is started. */
enum { MANY_SLACK_NS = 2000000 };

static void many_fire(struct world_timer *t)
{
    struct many *m = (struct many *)t;
    assert_true(m->due_ns + MANY_SLACK_NS >= m->s->last);
    m->s->last = m->due_ns;
    m->s->fired++;
}

static void a_thousand_timers_keep_their_order_when_some_are_stopped(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct loop *l = make();
    struct world *w = loop_world(l);
    struct many_state s = {0, 0};
    struct many *m = mem_new_array(N, sizeof *m);
    uint32_t seed = 7;
    for (int i = 0; i < N; i++) {
        seed = seed * 1664525 + 1013904223;
        uint64_t delay = 5 + 2 * (seed >> 16) % 60;
        m[i] = (struct many){{.fire = many_fire}, w->mono_ns(w) + delay * 1000000, &s};
        w->timer_start(w, &m[i].timer, delay);
    }
    for (int i = 0; i < N; i += 3)
        w->timer_stop(w, &m[i].timer);
    turn_until(l, &s.fired, N - (N + 2) / 3);
    assert_false(loop_poll(l));
    loop_free(l);
    mem_free(m);
}

/* ---- offload, pool, hooks, signals ---- */

struct job {
    struct offload offload;
    pthread_t worked_on;
    char name, *work_order, *done_order;
    int *count;
};

static void job_work(struct offload *o)
{
    struct job *j = (struct job *)o;
    j->worked_on = pthread_self();
    j->work_order[strlen(j->work_order)] = j->name;
}

static void job_done(struct offload *o)
{
    struct job *j = (struct job *)o;
    assert_false(pthread_equal(j->worked_on, pthread_self()));
    j->done_order[strlen(j->done_order)] = j->name;
    ++*j->count;
}

static void offloads_work_on_another_thread_and_finish_here_in_order(void **state)
{
    (void)state;
    struct loop *l = make();
    struct world *w = loop_world(l);
    char work[8] = "", done[8] = "";
    int count = 0;
    struct job jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = (struct job){{.work = job_work, .done = job_done},
                               .name = (char)('a' + i),
                               .work_order = work,
                               .done_order = done,
                               .count = &count};
        w->offload(w, &jobs[i].offload);
    }
    turn_until(l, &count, 3);
    assert_string_equal(work, "abc");
    assert_string_equal(done, "abc");
    loop_free(l);
}

struct pooled {
    struct loop_work work;
    pthread_t worked_on;
    int count;
};

static void pooled_work(struct loop_work *w)
{
    ((struct pooled *)w)->worked_on = pthread_self();
}

static void pooled_done(struct loop_work *w)
{
    struct pooled *p = (struct pooled *)w;
    assert_false(pthread_equal(p->worked_on, pthread_self()));
    p->count++;
}

static void pooled_work_leaves_the_thread_and_comes_back(void **state)
{
    (void)state;
    struct loop *l = make();
    struct err e = ERR_INIT;
    struct pooled p = {{.work = pooled_work, .done = pooled_done}, 0, 0};
    assert_int_equal(loop_queue(l, &p.work, &e), 0);
    turn_until(l, &p.count, 1);
    loop_free(l);
}

struct hook {
    struct loop_hook hook;
    struct loop *loop;
    char *out;
};

static void hook_run(struct loop_hook *h)
{
    struct hook *k = (struct hook *)h;
    k->out[strlen(k->out)] = 'h';
    loop_hook_remove(k->loop, h);
}

static void hooks_run_after_the_tasks_of_a_turn_and_may_leave(void **state)
{
    (void)state;
    struct loop *l = make();
    char out[8] = "";
    struct note a = {{.run = note_run}, l, out, 'a', NULL};
    struct note b = {{.run = note_run}, l, out, 'b', NULL};
    struct hook h = {{.run = hook_run}, l, out};
    struct hook i = {{.run = hook_run}, l, out};
    loop_hook_add(l, &h.hook);
    loop_hook_add(l, &i.hook);
    runner_post(loop_runner(l), &a.task);
    runner_post(loop_runner(l), &b.task);
    while (loop_poll(l))
        ;
    assert_string_equal(out, "abhh");
    loop_free(l);
}

static void on_signal(void *arg, int signum)
{
    *(int *)arg = signum;
}

static void a_signal_arrives_as_a_callback(void **state)
{
    (void)state;
    struct loop *l = make();
    struct err e = ERR_INIT;
    int got = 0;
    assert_int_equal(loop_signal(l, SIGUSR1, on_signal, &got, &e), 0);
    raise(SIGUSR1);
    for (int i = 0; i < 1000 && got == 0; i++)
        loop_poll(l);
    assert_int_equal(got, SIGUSR1);
    loop_free(l); /* closes the signal itself */
}

static void an_idle_loop_counts_as_turning_and_the_clocks_run(void **state)
{
    (void)state;
    struct loop *l = make();
    struct world *w = loop_world(l);
    uint64_t before = w->mono_ns(w);
    usleep(2000);
    assert_true(w->mono_ns(w) - before >= 2000000);
    assert_true(loop_lag_s(l) >= 0.002);
    loop_poll(l);
    uint8_t a[16] = {0}, b[16] = {0};
    w->random(w, a, sizeof a);
    w->random(w, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(w->wall_ms(w) > 1700000000000);
    loop_free(l);
}

static void a_stop_before_the_start_is_not_lost(void **state)
{
    (void)state;
    struct loop *l = make();
    loop_stop(l);
    loop_run(l);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_run_in_the_order_posted_and_new_ones_after_them),
        cmocka_unit_test(a_task_may_be_posted_again_from_within_itself),
        cmocka_unit_test(posts_of_many_threads_all_arrive_in_order_and_wake_the_loop),
        cmocka_unit_test(timers_fire_once_in_order_of_their_time),
        cmocka_unit_test(a_thousand_timers_keep_their_order_when_some_are_stopped),
        cmocka_unit_test(offloads_work_on_another_thread_and_finish_here_in_order),
        cmocka_unit_test(pooled_work_leaves_the_thread_and_comes_back),
        cmocka_unit_test(hooks_run_after_the_tasks_of_a_turn_and_may_leave),
        cmocka_unit_test(a_signal_arrives_as_a_callback),
        cmocka_unit_test(an_idle_loop_counts_as_turning_and_the_clocks_run),
        cmocka_unit_test(a_stop_before_the_start_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
