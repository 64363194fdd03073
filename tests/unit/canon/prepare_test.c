/* The first phases on other threads. */
#include "support/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/loop.h"
#include "support/canon_lab.h"

enum { HANDS = 2, MANY = 300 };

static const char *const thing =
    "{\"name\":\"Thing\",\"fields\":{\"name\":{\"kind\":\"text\"},\"code\":{\"kind\":\"text\"},"
    "\"n\":{\"kind\":\"int\"}}}";
static const char *const thing_model =
    "{\"name\":\"Thing\",\"sources\":{\"a\":{},\"b\":{}},\"keys\":[{\"name\":\"code\",\"parts\":[{"
    "\"field\":\"code\",\"norm\":\"upper\"}]}],\"stages\":[\"intake\",\"validate\"]}";
/* The same with another policy. */
static const char *const thing_later =
    "{\"name\":\"Thing\",\"sources\":{\"a\":{},\"b\":{}},\"keys\":[{\"name\":\"code\",\"parts\":[{"
    "\"field\":\"code\",\"norm\":\"upper\"}]}],\"policy\":{\"n\":{\"is\":\"max\"}},\"stages\":["
    "\"intake\",\"validate\"]}";

/* Stage functions as one thread has them. */
struct hand {
    struct canon_hooks hooks; /* first */
    struct loop *loop;
    atomic_int runs, waits;
    int wait_each; /* one of so many answers later */
};

struct later {
    struct task task;
    struct canon_stage_call *call;
};

static void answer_later(struct task *t)
{
    struct later *l = LIST_OF(t, struct later, task);
    struct canon_stage_call *call = l->call;
    mem_free(l);
    call->done(call);
}

/* Parks what has no code, and marks the name; validate drops what is named so. */
static int hand_run(struct canon_hooks *hooks, struct canon_stage_call *call)
{
    struct hand *h = (struct hand *)hooks;
    const char *name = json_string_value(json_object_get(call->data, "name"));
    int run = atomic_fetch_add(&h->runs, 1) + 1;
    if (call->stage == CANON_INTAKE && json_object_get(call->data, "code") == NULL) {
        call->verdict = CANON_PARK;
        snprintf(call->reason, sizeof call->reason, "NO_CODE");
    } else if (call->stage == CANON_INTAKE) {
        char marked[100];
        snprintf(marked, sizeof marked, "%s!", name != NULL ? name : "");
        json_object_set_new(call->data, "name", json_string(marked));
    } else if (name != NULL && strcmp(name, "drop!") == 0) {
        call->verdict = CANON_DROP;
    }
    if (h->wait_each == 0 || run % h->wait_each != 0)
        return 1;
    struct later *l = mem_new(sizeof *l);
    l->task.run = answer_later;
    l->call = call;
    atomic_fetch_add(&h->waits, 1);
    runner_post(loop_runner(h->loop), &l->task);
    return 0;
}

struct bench {
    struct canon_lab lab;
    struct hand own, hands[HANDS];
    struct canon_hand list[HANDS];
};

static void bench_open(struct bench *b, bool hands, int wait_each)
{
    struct canon_hooks hooks = {.run = hand_run};
    *b = (struct bench){.own = {.hooks = hooks}};
    lab_open_hooks(&b->lab, thing, thing_model, &b->own.hooks);
    for (int i = 0; hands && i < HANDS; i++) {
        b->hands[i].hooks = hooks;
        b->hands[i].wait_each = wait_each;
        assert_int_equal(loop_new("hand", &b->hands[i].loop, NULL), 0);
        assert_int_equal(loop_start(b->hands[i].loop, NULL), 0);
        b->list[i] = (struct canon_hand){loop_runner(b->hands[i].loop), &b->hands[i].hooks};
    }
    b->lab.hands = b->list;
    b->lab.hands_count = hands ? HANDS : 0;
    lab_reopen(&b->lab);
}

static void bench_close(struct bench *b)
{
    lab_close(&b->lab);
    for (int i = 0; i < HANDS; i++) {
        if (b->hands[i].loop == NULL)
            continue;
        loop_stop(b->hands[i].loop);
        loop_join(b->hands[i].loop);
        loop_free(b->hands[i].loop);
    }
}

/* Things that share codes; some to be parked, dropped, refused. */
static void send_many(struct bench *b, struct lab_request *q)
{
    static char says[MANY][100], ids[MANY][16];
    struct lab_arrival list[MANY];
    for (int i = 0; i < MANY; i++) {
        const char *form = i % 17 == 3   ? "{\"name\":\"none\"}"
                           : i % 19 == 4 ? "{\"name\":\"drop\",\"code\":\"x\"}"
                           : i % 23 == 5 ? "{\"name\":7,\"code\":\"x\",\"n\":\"seven\"}"
                                         : "{\"name\":\"n%d\",\"code\":\"c%d\",\"n\":%d}";
        snprintf(says[i], sizeof says[i], form, i, i % 40, i);
        snprintf(ids[i], sizeof ids[i], "%d", i % 100);
        list[i] = (struct lab_arrival){i % 2 ? "a" : "b", ids[i], 1000 + i, says[i]};
    }
    lab_send(&b->lab, 0, "Thing", q, list, MANY);
}

static int runs_of(struct bench *b)
{
    int n = 0;
    for (int i = 0; i < HANDS; i++)
        n += atomic_load(&b->hands[i].runs);
    return n;
}

static void ends_as_alone(int wait_each)
{
    struct bench alone, helped;
    struct lab_request p, q;
    bench_open(&alone, false, 0);
    bench_open(&helped, true, wait_each);
    send_many(&alone, &p);
    lab_wait(&alone.lab, &p);
    send_many(&helped, &q);
    lab_wait(&helped.lab, &q);
    for (int i = 0; i < MANY; i++) {
        if (p.arrivals[i].outcome != q.arrivals[i].outcome && wait_each == 0)
            fail_msg("arrival %d: %d alone, %d helped", i, (int)p.arrivals[i].outcome,
                     (int)q.arrivals[i].outcome);
        assert_int_equal(p.arrivals[i].outcome == CANON_FAILED,
                         q.arrivals[i].outcome == CANON_FAILED);
        assert_int_equal(p.arrivals[i].outcome == CANON_PARKED,
                         q.arrivals[i].outcome == CANON_PARKED);
    }
    AUTO(mem_freep) char *a = lab_state(&alone.lab, "Thing");
    AUTO(mem_freep) char *b = lab_state(&helped.lab, "Thing");
    assert_string_equal(a, b);
    assert_true(atomic_load(&alone.own.runs) > MANY);
    assert_int_equal(atomic_load(&helped.own.runs), 0);
    assert_int_equal(runs_of(&helped), atomic_load(&alone.own.runs));
    if (wait_each > 0)
        assert_true(atomic_load(&helped.hands[0].waits) > 0);
    lab_request_fini(&p);
    lab_request_fini(&q);
    bench_close(&alone);
    bench_close(&helped);
}

TEST(a_bulk_request_ends_as_on_one_thread)
{
    ends_as_alone(0);
}

TEST(documents_whose_function_waits_come_back_by_themselves)
{
    ends_as_alone(5);
}

TEST(a_small_request_stays_on_its_thread)
{
    struct bench b;
    bench_open(&b, true, 0);
    assert_int_equal(
        lab_arrive(&b.lab, "Thing", "a", "1", 1, "{\"name\":\"x\",\"code\":\"1\"}", NULL),
        CANON_CANONIZED);
    assert_int_equal(runs_of(&b), 0);
    assert_int_equal(atomic_load(&b.own.runs), 2);
    bench_close(&b);
}

/* Without a time of their own the later of a request is the newer. */
TEST(arrivals_meet_the_golden_record_in_the_order_of_the_request)
{
    struct bench b;
    struct lab_request q;
    struct lab_arrival list[MANY];
    static char says[MANY][60];
    bench_open(&b, true, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(says[i], sizeof says[i], "{\"name\":\"n%d\",\"code\":\"one\"}", i);
        list[i] = (struct lab_arrival){"a", "1", INT64_MIN, says[i]};
    }
    lab_send(&b.lab, 0, "Thing", &q, list, MANY);
    lab_wait(&b.lab, &q);
    AUTO(mem_freep) char *s = lab_state(&b.lab, "Thing");
    assert_string_equal(s, "a/1 => {\"code\":\"one\",\"name\":\"n299!\"}\n");
    lab_request_fini(&q);
    bench_close(&b);
}

TEST(a_model_that_changes_meanwhile_is_taken_when_nothing_is_away)
{
    struct bench b;
    struct lab_request q[4];
    bench_open(&b, true, 3);
    for (int i = 0; i < 4; i++)
        send_many(&b, &q[i]);
    lab_define(&b.lab, thing, thing_later);
    for (int i = 0; i < 4; i++)
        lab_wait(&b.lab, &q[i]);
    struct lab_request more;
    send_many(&b, &more);
    lab_wait(&b.lab, &more);
    assert_true(lab_number(&b.lab, "SELECT count(DISTINCT def) FROM canon_arrival") > 1);
    for (int i = 0; i < 4; i++)
        lab_request_fini(&q[i]);
    lab_request_fini(&more);
    bench_close(&b);
}

/* What the process keeps for good, counters for example, is there before blocks are counted. */
static int warm_up(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, true, 0);
    bench_close(&b);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(documents_whose_function_waits_come_back_by_themselves),
        HEAP_TEST(a_small_request_stays_on_its_thread),
        HEAP_TEST(a_bulk_request_ends_as_on_one_thread),
        HEAP_TEST(arrivals_meet_the_golden_record_in_the_order_of_the_request),
        HEAP_TEST(a_model_that_changes_meanwhile_is_taken_when_nothing_is_away),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
