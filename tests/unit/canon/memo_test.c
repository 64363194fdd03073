/* What stage functions had from outside is kept with the arrival. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"n\":{\"kind\":\"int\"},"
    "\"ok\":{\"kind\":\"bool\"}}}";
static const char *const person_model = "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{"
                                        "\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]}],"
                                        "\"stages\":[\"validate\",\"project\"]}";

/* Each stage asks outside once for an arrival; validate parks what is not ok. */
struct asking {
    struct canon_hooks hooks; /* first */
    int asked, runs;
};

static void ask(struct asking *k, struct canon_stage_call *call, const char *name)
{
    k->runs++;
    if (call->memo == NULL)
        call->memo = json_object();
    if (json_object_get(call->memo, name) == NULL)
        json_object_set_new(call->memo, name, json_pack("{s:i}", "value", ++k->asked));
}

static int asking_run(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct asking *k = (struct asking *)h;
    if (call->stage == CANON_PROJECT) {
        ask(k, call, "project");
        return 1;
    }
    ask(k, call, "validate");
    if (json_is_false(json_object_get(call->data, "ok"))) {
        call->verdict = CANON_PARK;
        snprintf(call->reason, sizeof call->reason, "NOT_OK");
    }
    return 1;
}

enum { EACH = 20, ROUNDS_MAX = 100 };

/* Two engines work on one golden record at the same time. */
static void race(struct canon_lab *lab, int round)
{
    struct lab_request q[2];
    struct lab_arrival list[2][EACH];
    char ids[2][EACH][32], says[2][EACH][64];
    for (int e = 0; e < 2; e++) {
        for (int i = 0; i < EACH; i++) {
            int n = round * 1000 + e * 100 + i;
            snprintf(ids[e][i], sizeof ids[e][i], "%d-%d-%d", round, e, i);
            snprintf(says[e][i], sizeof says[e][i], "{\"k\":\"x\",\"n\":%d}", n);
            list[e][i] = (struct lab_arrival){"s", ids[e][i], n, says[e][i]};
        }
        lab_send(lab, e, "P", &q[e], list[e], EACH);
    }
    for (int e = 0; e < 2; e++) {
        lab_wait(lab, &q[e]);
        lab_request_fini(&q[e]);
    }
}

TEST(a_lost_race_asks_nobody_again)
{
    struct asking k = {.hooks = {.run = asking_run}};
    struct canon_lab lab;
    int rounds = 0;
    lab_open_hooks(&lab, person, person_model, &k.hooks);
    /* Whether one is lost depends on what the disk and the other thread do meanwhile. */
    while (k.runs == k.asked && rounds < ROUNDS_MAX)
        race(&lab, rounds++);
    assert_true(k.runs > k.asked); /* somebody has lost a race */
    assert_true(k.asked <= rounds * 2 * 2 * EACH);
    /* Whatever was stored has what it was told. */
    assert_int_equal(lab_number(&lab,
                                "SELECT count(*) FROM canon_arrival a WHERE NOT EXISTS (SELECT "
                                "1 FROM canon_memo m WHERE m.arrival = a.id)"),
                     0);
    lab_close(&lab);
}

static enum canon_outcome resume(struct canon_lab *lab, const char *id, const char *fix)
{
    struct err e = ERR_INIT;
    struct lab_request q = {.arrivals = mem_new(sizeof *q.arrivals)};
    q.arrivals[0].source_id = id;
    q.arrivals[0].observed_at = INT64_MIN;
    q.arrivals[0].data = json_read(fix, strlen(fix), &e);
    lab_request(lab, &q);
    assert_int_equal(canon_resume(lab->engines[0], "P", &q.r, &e), 0);
    lab_wait(lab, &q);
    enum canon_outcome o = q.arrivals[0].outcome;
    lab_request_fini(&q);
    return o;
}

TEST(a_resumed_arrival_has_what_it_was_told_before)
{
    struct asking k = {.hooks = {.run = asking_run}};
    struct canon_lab lab;
    struct lab_request q;
    char id[40];
    const struct lab_arrival a = {"s", "1", 1, "{\"k\":\"x\",\"ok\":false}"};
    lab_open_hooks(&lab, person, person_model, &k.hooks);
    lab_send(&lab, 0, "P", &q, &a, 1);
    lab_wait(&lab, &q);
    assert_int_equal(q.arrivals[0].outcome, CANON_PARKED);
    snprintf(id, sizeof id, "%s", q.arrivals[0].arrival_id);
    lab_request_fini(&q);
    assert_int_equal(k.asked, 1);
    lab_reopen(&lab);
    assert_int_equal(resume(&lab, id, "{\"ok\":true}"), CANON_CANONIZED);
    assert_int_equal(k.asked, 2); /* project, for the first time */
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_memo WHERE memo = "
                                      "'{\"validate\":{\"value\":1},\"project\":{\"value\":2}}'"),
                     1);
    struct canon_model *m = canon_find(lab.canon, "P");
    struct buf out = BUF_INIT(1 << 16);
    struct err e = ERR_INIT;
    assert_int_equal(canon_arrival_get(lab.reader, m, "default", id, &out, &e), 0);
    assert_non_null(strstr(buf_str(&out), "\"memo\":{\"validate\":1}"));
    buf_fini(&out);
    canon_model_unref(m);
    lab_close(&lab);
}

TEST(what_was_told_is_erased_with_the_documents)
{
    struct asking k = {.hooks = {.run = asking_run}};
    struct canon_lab lab;
    lab_open_hooks(&lab, person, person_model, &k.hooks);
    lab_arrive(&lab, "P", "s", "1", 1, "{\"k\":\"x\"}", NULL);
    lab_arrive(&lab, "P", "s", "2", 1, "{\"k\":\"x\"}", NULL);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_memo"), 2);
    lab_withdraw(&lab, "P", "s", "1", true);
    /* The withdrawal itself asked for the views of what is left, if they changed. */
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_memo m JOIN canon_arrival a ON "
                                      "a.id = m.arrival WHERE a.source_id = '1'"),
                     0);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_memo"), 1);
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
        HEAP_TEST(a_lost_race_asks_nobody_again),
        HEAP_TEST(a_resumed_arrival_has_what_it_was_told_before),
        HEAP_TEST(what_was_told_is_erased_with_the_documents),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
