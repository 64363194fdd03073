/* Golden records changed directly. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/loop.h"
#include "support/canon_lab.h"

enum { PATCHES = 24 };

static const char *const person =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"a\":{\"kind\":\"int\"},"
    "\"b\":{\"kind\":\"int\"},\"l\":{\"kind\":\"list\"}}}";
static const char *const person_model = "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{"
                                        "\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]}]}";
static const char *const staged_model = "{\"name\":\"P\",\"sources\":{\"s\":{}},\"keys\":[{"
                                        "\"name\":\"k\",\"parts\":[{\"field\":\"k\"}]}],"
                                        "\"stages\":[\"validate\"]}";

static void assert_row(struct canon_lab *lab, const char *id, const char *want)
{
    struct buf line = BUF_INIT(1000);
    buf_addf(&line, "direct/%s s/1 => %s\n", id, want);
    char *s = lab_state(lab, "P");
    assert_string_equal(s, buf_str(&line));
    mem_free(s);
    buf_fini(&line);
}

static enum canon_outcome patch(struct canon_lab *lab, const char *id, enum canon_change change,
                                const char *text)
{
    struct lab_request q;
    lab_send_patch(lab, 0, "P", &q, id, change, text);
    lab_wait(lab, &q);
    enum canon_outcome o = q.arrivals[0].outcome;
    lab_request_fini(&q);
    return o;
}

TEST(patches_that_meet_lose_no_field_whatever_engine_works_them)
{
    for (int engines = 1; engines <= LAB_ENGINES; engines++) {
        struct canon_lab lab;
        char id[257];
        struct lab_request q[PATCHES];
        char text[PATCHES][32];
        lab_open(&lab, person, person_model);
        lab_arrive(&lab, "P", "s", "1", 1, "{\"k\":\"x\"}", id);
        for (int i = 0; i < PATCHES; i++) {
            snprintf(text[i], sizeof text[i], "{\"%c\":%d}", i % 2 ? 'a' : 'b', i);
            lab_send_patch(&lab, i % engines, "P", &q[i], id, CANON_MERGE_PATCH, text[i]);
        }
        int lost = 0;
        for (int i = 0; i < PATCHES; i++) {
            lab_wait(&lab, &q[i]);
            lost += q[i].arrivals[0].outcome == CANON_FAILED;
            if (q[i].arrivals[0].outcome == CANON_FAILED)
                assert_int_equal(q[i].arrivals[0].err.code, ERR_CONFLICT);
            lab_request_fini(&q[i]);
        }
        assert_true(engines > 1 || lost == 0);
        while (engines > 1 && lost-- > 0) /* as a client would */
            patch(&lab, id, CANON_MERGE_PATCH, "{\"a\":23,\"b\":22}");
        assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_P WHERE json_extract(body, "
                                          "'$.a') > 0 AND json_extract(body, '$.b') >= 0"),
                         1);
        if (engines == 1)
            assert_row(&lab, id, "{\"a\":23,\"b\":22,\"k\":\"x\"}");
        lab_close(&lab);
    }
}

/* ---- a stage that waits while others go on ---- */

struct slow {
    struct canon_hooks hooks; /* first */
    struct canon_stage_call *held;
    bool hold;
};

static int slow_run(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct slow *s = (struct slow *)h;
    if (!s->hold)
        return 1;
    s->hold = false;
    s->held = call;
    return 0;
}

TEST(a_patch_whose_stage_waited_is_applied_to_what_is_there_then)
{
    struct slow s = {.hooks = {.run = slow_run}};
    struct canon_lab lab;
    struct lab_request slow, quick;
    char id[257];
    lab_open_hooks(&lab, person, staged_model, &s.hooks);
    lab_arrive(&lab, "P", "s", "1", 1, "{\"k\":\"x\",\"l\":[1]}", id);
    s.hold = true;
    lab_send_patch(&lab, 0, "P", &slow, id, CANON_JSON_PATCH,
                   "[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":3}]");
    while (s.held == NULL)
        loop_poll(lab.loop);
    lab_send_patch(&lab, 0, "P", &quick, id, CANON_JSON_PATCH,
                   "[{\"op\":\"add\",\"path\":\"/l/-\",\"value\":2}]");
    lab_wait(&lab, &quick);
    assert_int_equal(quick.arrivals[0].outcome, CANON_CANONIZED);
    s.held->done(s.held);
    lab_wait(&lab, &slow);
    assert_int_equal(slow.arrivals[0].outcome, CANON_CANONIZED);
    assert_row(&lab, id, "{\"k\":\"x\",\"l\":[1,2,3]}");
    lab_request_fini(&slow);
    lab_request_fini(&quick);
    lab_close(&lab);
}

TEST(names_in_pointers_are_unescaped_and_a_whole_document_names_all)
{
    struct canon_lab lab;
    char id[257];
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "P", "s", "1", 1, "{\"k\":\"x\",\"a\":1}", id);
    assert_int_equal(patch(&lab, id, CANON_JSON_PATCH,
                           "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"k\":\"x\",\"b\":7}}]"),
                     CANON_CANONIZED);
    assert_row(&lab, id, "{\"a\":1,\"b\":7,\"k\":\"x\"}");
    assert_int_equal(
        patch(&lab, id, CANON_JSON_PATCH, "[{\"op\":\"replace\",\"path\":\"\",\"value\":[]}]"),
        CANON_FAILED);
    assert_int_equal(
        patch(&lab, id, CANON_JSON_PATCH,
              "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"k\":\"x\",\"version\":7}}]"),
        CANON_FAILED);
    /* "~1" is a slash: such a field is not declared, and the arrival has failed with its name. */
    assert_int_equal(
        patch(&lab, id, CANON_JSON_PATCH, "[{\"op\":\"add\",\"path\":\"/a~1b\",\"value\":1}]"),
        CANON_FAILED);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival WHERE outcome = 3 AND "
                                      "evidence LIKE '%a/b%'"),
                     1);
    assert_int_equal(patch(&lab, "nobody", CANON_MERGE_PATCH, "{\"a\":1}"), CANON_FAILED);
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
        HEAP_TEST(patches_that_meet_lose_no_field_whatever_engine_works_them),
        HEAP_TEST(a_patch_whose_stage_waited_is_applied_to_what_is_there_then),
        HEAP_TEST(names_in_pointers_are_unescaped_and_a_whole_document_names_all),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
