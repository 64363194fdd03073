/* Guarantees Q1, Q2, Q5: random calls on the core and on a naive model of it, which must answer,
 * tell and show the same. What a seed found is cut down to the fewest steps that still show it and
 * printed; MODEL_SEED runs one seed alone, MODEL_SEEDS another number of them.
 *
 * Each batch runs in a child, so that an assertion of the core is a finding like others. */
#include "support/queue_pair.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/queue_model.h"

enum { SEEDS = 2000, BATCH = 100, STEPS_MAX = 150 };

/* Seen by the child that runs and by the test. */
struct run {
    uint64_t seed;
    uint32_t steps, done;
    uint64_t reached[REC_CANCELLED + 1], granted, refused; /* so that it proves something */
    struct queue_step step[STEPS_MAX];
    bool left_out[STEPS_MAX];
    bool drawn, thorough, is_wrong;
    char wrong[1024];
};

static void note_reached(struct run *r, const struct queue_pair *p)
{
    const struct model_state *s = &p->model->s;
    for (size_t i = 0; i < s->records; i++)
        r->reached[s->record[i].state]++;
    r->granted += s->grants;
}

/* Draws the steps, or does again those that are not left out. */
static void run_steps(struct run *r)
{
    struct queue_pair p;
    uint64_t random = r->seed * 0x9e3779b97f4a7c15 + 1;
    bool same = true;
    queue_pair_init(&p);
    p.thorough = r->thorough;
    for (r->done = 0; same && r->done < r->steps; r->done++) {
        if (!r->drawn)
            queue_step_draw(&r->step[r->done], r->done, p.model, &random);
        if (!r->left_out[r->done])
            same = queue_pair_step(&p, &r->step[r->done]);
    }
    if (same && !queue_pair_same(&p))
        same = false;
    note_reached(r, &p);
    r->is_wrong = !same;
    strcpy(r->wrong, p.wrong);
    queue_pair_fini(&p);
}

/* False: it went wrong, or the child died. */
static bool in_child(struct run *r, void (*work)(struct run *), bool quiet)
{
    int status;
    fflush(NULL);
    r->is_wrong = true;
    strcpy(r->wrong, "the core stopped by itself");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (quiet && freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        work(r);
        _exit(r->is_wrong ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return !r->is_wrong;
}

static void run_batch(struct run *r)
{
    uint64_t end = r->seed + BATCH;
    for (; r->seed < end; r->seed++) {
        r->steps = r->seed % 10 == 0 ? STEPS_MAX : 15 + (uint32_t)(r->seed % 7) * 10;
        r->drawn = false;
        run_steps(r);
        if (r->is_wrong)
            return;
    }
}

/* Leaves out ever smaller pieces as long as it still goes wrong. */
static void cut_down(struct run *r)
{
    bool before[STEPS_MAX];
    r->drawn = r->thorough = true;
    for (uint32_t size = r->steps / 2; size > 0; size = size > 1 ? size / 2 : 0)
        for (uint32_t at = r->steps; at > 0; at -= at > size ? size : at) {
            uint32_t from = at > size ? at - size : 0;
            memcpy(before, r->left_out, sizeof(before));
            memset(r->left_out + from, true, at - from);
            if (memcmp(before, r->left_out, sizeof(before)) == 0)
                continue;
            if (in_child(r, run_steps, true))
                memcpy(r->left_out, before, sizeof(before));
            else if (r->done < r->steps)
                r->steps = r->done + 1 < r->steps ? r->done + 1 : r->steps;
        }
}

static void tell(struct run *r)
{
    uint64_t seed = r->seed;
    r->steps = r->done < r->steps ? r->done + 1 : r->steps;
    cut_down(r);
    in_child(r, run_steps, false);
    fprintf(stderr, "MODEL_SEED=%llu, cut down:\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < r->steps; i++)
        if (!r->left_out[i])
            queue_step_print(&r->step[i], stderr);
    fprintf(stderr, "  %s\n", r->wrong);
}

static void reaches_everything(const struct run *r)
{
    for (int s = REC_SCHEDULED; s <= REC_CANCELLED; s++)
        if (r->reached[s] == 0)
            fail_msg("no seed comes to state %s", rec_state_name((enum rec_state)s));
    assert_true(r->granted > 0);
}

static struct run *run_new(void)
{
    struct run *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(r != MAP_FAILED);
    return r;
}

static uint64_t from_environment(const char *name, uint64_t usual)
{
    const char *s = getenv(name);
    return s != NULL ? strtoull(s, NULL, 10) : usual;
}

TEST(any_calls_of_the_core_do_what_the_model_does) /* Q1 Q2 Q5 */
{
    struct run *r = run_new();
    uint64_t first = from_environment("MODEL_SEED", 0), wrong = 0;
    uint64_t count = from_environment("MODEL_SEEDS", first != 0 ? 1 : SEEDS);
    uint64_t wrong_max = from_environment("MODEL_WRONG", 1);
    uint64_t at = first;
    while (at < first + count && wrong < wrong_max) {
        r->seed = at;
        memset(r->left_out, 0, sizeof(r->left_out));
        r->thorough = false;
        if (in_child(r, run_batch, true)) {
            at += BATCH;
            continue;
        }
        at = r->seed + 1;
        if (at > first + count)
            break;
        tell(r);
        wrong++;
    }
    if (wrong == 0 && first == 0)
        reaches_everything(r);
    munmap(r, sizeof(*r));
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(any_calls_of_the_core_do_what_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
