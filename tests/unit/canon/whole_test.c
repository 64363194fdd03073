/* Requests whose arrivals are one unit. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"m\":{\"kind\":\"text\"},"
    "\"age\":{\"kind\":\"int\"}}}";
static const char *const person_model = "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{"
                                        "\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]},"
                                        "{\"name\":\"m\",\"parts\":[{\"field\":\"m\"}]}]}";

static void send(struct canon_lab *lab, int engine, struct lab_request *q,
                 const struct lab_arrival *list, size_t count, bool whole)
{
    lab_send(lab, engine, "P", q, list, count);
    q->r.whole = whole; /* before the engine, which is on this thread, looks at it */
}

static const char ARRIVALS[] = "SELECT count(*) FROM canon_arrival";

TEST(a_whole_request_is_one_unit_and_its_arrivals_see_each_other)
{
    const struct lab_arrival list[] = {{"s", "1", 1, "{\"k\":\"a\"}"},
                                       {"s", "2", 1, "{\"m\":\"b\"}"},
                                       {"s", "3", 1, "{\"k\":\"a\",\"m\":\"b\",\"age\":3}"},
                                       {"s", "1", 2, "{\"k\":\"a\",\"age\":4}"},
                                       {"s", "4", 1, "{\"m\":\"b\"}"},
                                       {"s", "4", 1, "{\"m\":\"b\"}"}};
    struct canon_lab lab;
    struct lab_request q;
    lab_open(&lab, person, person_model);
    send(&lab, 0, &q, list, ARRAY_LEN(list), true);
    lab_wait(&lab, &q);
    assert_int_equal(q.r.err.code, 0);
    for (size_t i = 0; i < ARRAY_LEN(list) - 1; i++) {
        assert_int_equal(q.arrivals[i].err.code, 0);
        assert_int_equal(q.arrivals[i].seq, q.arrivals[0].seq);
    }
    assert_int_equal(q.arrivals[2].merged, 1);
    assert_int_equal(q.arrivals[5].outcome, CANON_NOOP);
    lab_request_fini(&q);
    char *s = lab_state(&lab, "P");
    assert_string_equal(s, "s/1 s/2 s/3 s/4 => {\"age\":4,\"k\":\"a\",\"m\":\"b\"}\n");
    mem_free(s);
    lab_close(&lab);
}

TEST(an_arrival_that_fails_or_parks_leaves_nothing_of_a_whole_request)
{
    static const char *const wrong[] = {"{\"k\":\"z\",\"age\":\"old\"}", "{\"age\":1}"};
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    for (size_t at = 0; at < 3; at++) {
        for (size_t w = 0; w < ARRAY_LEN(wrong); w++) {
            struct lab_arrival list[] = {{"s", "1", 1, "{\"k\":\"a\"}"},
                                         {"s", "2", 1, "{\"k\":\"a\",\"m\":\"b\"}"},
                                         {"s", "3", 1, "{\"m\":\"b\"}"}};
            list[at].data = wrong[w];
            if (w == 1)
                list[at].source_id = NULL; /* no keys */
            struct lab_request q;
            send(&lab, 0, &q, list, ARRAY_LEN(list), true);
            lab_wait(&lab, &q);
            for (size_t i = 0; i < ARRAY_LEN(list); i++) {
                assert_int_equal(q.arrivals[i].outcome, CANON_FAILED);
                assert_int_equal(q.arrivals[i].err.code == ERR_CANCELED, i != at);
            }
            lab_request_fini(&q);
            assert_int_equal(lab_number(&lab, ARRIVALS), 0);
            /* What it had changed in the working set is forgotten. */
            assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_key"), 0);
        }
    }
    assert_int_equal(lab_arrive(&lab, "P", "s", "2", 1, "{\"k\":\"a\"}", NULL), CANON_CANONIZED);
    lab_close(&lab);
}

/* Others go on before and behind it; two engines are in each other's way. */
TEST(whole_requests_of_two_engines_and_others_between_them_end_well)
{
    enum { REQUESTS = 12, EACH = 10 };
    struct canon_lab lab;
    struct lab_request q[REQUESTS];
    struct lab_arrival list[REQUESTS][EACH];
    char ids[REQUESTS][EACH][32], says[REQUESTS][EACH][64];
    lab_open(&lab, person, person_model);
    for (int i = 0; i < REQUESTS; i++)
        for (int k = 0; k < EACH; k++) {
            snprintf(ids[i][k], sizeof ids[i][k], "%d-%d", i, k);
            snprintf(says[i][k], sizeof says[i][k], "{\"k\":\"%d\",\"m\":\"%d\"}", (i + k) % 7, k);
            list[i][k] = (struct lab_arrival){"s", ids[i][k], 1, says[i][k]};
        }
    for (int i = 0; i < REQUESTS; i++)
        send(&lab, i % LAB_ENGINES, &q[i], list[i], EACH, i % 3 != 0);
    for (int i = 0; i < REQUESTS; i++) {
        lab_wait(&lab, &q[i]);
        bool lost = false, done = false;
        for (int k = 0; k < EACH; k++) {
            const struct canon_arrival *a = &q[i].arrivals[k];
            lost |= a->outcome == CANON_FAILED;
            done |= a->outcome != CANON_FAILED;
            if (a->outcome == CANON_FAILED)
                assert_true(a->err.code == ERR_CONFLICT || a->err.code == ERR_CANCELED ||
                            q[i].r.err.code == ERR_CONFLICT);
        }
        if (i % 3 != 0 && lost && done)
            fail_msg("request %d is half done", i);
        lab_request_fini(&q[i]);
    }
    for (int i = 0; i < REQUESTS; i++) { /* again, one after the other: all is there then */
        send(&lab, 0, &q[i], list[i], EACH, true);
        lab_wait(&lab, &q[i]);
        assert_int_equal(q[i].r.err.code, 0);
        lab_request_fini(&q[i]);
    }
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source"), REQUESTS * EACH);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_golden WHERE lifecycle = 0"), 1);
    lab_close(&lab);
}

/* ---- stages that wait ---- */

struct slow {
    struct canon_hooks hooks; /* first */
    struct canon_stage_call *held;
    int calls;
};

static int slow_run(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct slow *s = (struct slow *)h;
    s->calls++;
    assert_null(s->held);
    s->held = call;
    return 0;
}

TEST(a_whole_request_takes_its_arrivals_one_after_the_other)
{
    static const char *const staged =
        "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{\"name\":\"k\",\"parts\":[{\"field\":"
        "\"k\"}]}],\"stages\":[\"validate\",\"project\"]}";
    const struct lab_arrival list[] = {{"s", "1", 1, "{\"k\":\"a\"}"},
                                       {"s", "2", 1, "{\"k\":\"a\",\"age\":1}"},
                                       {"s", "3", 1, "{\"k\":\"b\"}"}};
    struct slow s = {.hooks = {.run = slow_run}};
    struct canon_lab lab;
    struct lab_request q, other;
    lab_open_hooks(&lab, person, staged, &s.hooks);
    send(&lab, 0, &q, list, ARRAY_LEN(list), true);
    send(&lab, 0, &other, list, 1, false);
    for (int i = 0; i < 1000000 && !(q.over && other.over); i++) {
        lab_step(&lab);
        if (s.held != NULL) {
            struct canon_stage_call *call = s.held;
            s.held = NULL;
            call->done(call);
        }
    }
    assert_true(q.over && other.over);
    assert_int_equal(other.arrivals[0].outcome, CANON_NOOP); /* it came behind */
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_golden"), 2);
    lab_request_fini(&q);
    lab_request_fini(&other);
    lab_close(&lab);
}

static int hold_first(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct slow *s = (struct slow *)h;
    if (s->calls++ > 0)
        return 1;
    s->held = call;
    return 0;
}

/* It may even wait for something that only happens behind the whole request. */
TEST(an_arrival_whose_stage_waits_does_not_hold_a_whole_request_up)
{
    static const char *const staged =
        "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{\"name\":\"k\",\"parts\":[{\"field\":"
        "\"k\"}]}],\"stages\":[\"validate\"]}";
    const struct lab_arrival list[] = {{"s", "1", 1, "{\"k\":\"a\"}"},
                                       {"s", "2", 2, "{\"k\":\"a\",\"age\":1}"}};
    const struct lab_arrival before = {"s", "0", 3, "{\"k\":\"a\",\"age\":7}"};
    struct slow s = {.hooks = {.run = hold_first}};
    struct canon_lab lab;
    struct lab_request q, first, behind;
    lab_open_hooks(&lab, person, staged, &s.hooks);
    send(&lab, 0, &first, &before, 1, false);
    while (s.held == NULL)
        lab_step(&lab);
    send(&lab, 0, &q, list, ARRAY_LEN(list), true);
    send(&lab, 0, &behind, &list[1], 1, false);
    lab_wait(&lab, &q);
    lab_wait(&lab, &behind);
    assert_int_equal(q.arrivals[1].outcome, CANON_CANONIZED);
    assert_int_equal(behind.arrivals[0].outcome, CANON_NOOP);
    s.held->done(s.held);
    lab_wait(&lab, &first);
    assert_int_equal(first.arrivals[0].outcome, CANON_CANONIZED);
    lab_request_fini(&first);
    lab_request_fini(&q);
    lab_request_fini(&behind);
    char *got = lab_state(&lab, "P");
    assert_string_equal(got, "s/0 s/1 s/2 => {\"age\":7,\"k\":\"a\"}\n");
    mem_free(got);
    lab_close(&lab);
}

static int warm_up(void **state)
{
    struct canon_lab lab;
    (void)state;
    lab_open(&lab, person, person_model);
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_whole_request_is_one_unit_and_its_arrivals_see_each_other),
        HEAP_TEST(an_arrival_that_fails_or_parks_leaves_nothing_of_a_whole_request),
        HEAP_TEST(whole_requests_of_two_engines_and_others_between_them_end_well),
        HEAP_TEST(a_whole_request_takes_its_arrivals_one_after_the_other),
        HEAP_TEST(an_arrival_whose_stage_waits_does_not_hold_a_whole_request_up),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
