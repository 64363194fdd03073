/* What the caller of a request adds to the unit of its arrival. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "entity/doc.h"
#include "entity/entity.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"Person\",\"fields\":{\"name\":{\"kind\":\"text\"},\"mail\":{\"kind\":\"text\"},"
    "\"age\":{\"kind\":\"int\",\"min\":0}}}";
static const char *const person_model =
    "{\"name\":\"Person\",\"sources\":{\"erp\":{\"rank\":1},\"crm\":{\"rank\":2}},"
    "\"keys\":[{\"name\":\"mail\",\"parts\":[{\"field\":\"mail\",\"norm\":\"email\"}]}]}";
static const char *const note = "{\"name\":\"Note\",\"fields\":{\"text\":{\"kind\":\"text\"}}}";
static const char *const note_model =
    "{\"name\":\"Note\",\"sources\":{\"erp\":{\"rank\":1}},"
    "\"keys\":[{\"name\":\"text\",\"parts\":[{\"field\":\"text\"}]}]}";

struct case_ {
    struct lab_request q; /* first */
    struct canon_arrival one;
    struct entity_def *note;
    bool refuses, broken; /* the condition does not hold; the operation cannot be made */
    int conditions, operations, answers;
    int failed_op; /* of the last answer */
    char said[300];
};

/* A note for each arrival that is stored, if there is no note "no" yet. */
static int also(struct canon_request *r, const struct canon_ending *end, struct txn *t,
                struct err *e)
{
    struct case_ *c = (struct case_ *)r;
    if (end == NULL) {
        c->conditions++;
        if (c->refuses)
            entity_txn_if_exists(t, c->note, "no");
        else
            entity_txn_if_absent(t, c->note, "no");
        return 0;
    }
    c->operations++;
    AUTO(buf_fini) struct buf text = BUF_INIT(4096);
    canon_ending_print(end, &text);
    snprintf(c->said, sizeof c->said, "%s", buf_str(&text));
    AUTO(json_unref) json_t *v = json_pack("{s:s}", "text", end->reason);
    struct entity_doc doc;
    entity_doc_init(&doc);
    int rc =
        c->broken ? err_set(e, ERR_TOO_LARGE, "no room") : entity_doc_print(c->note, v, &doc, e);
    if (rc == 0)
        entity_txn_save(t, c->note, end->arrival_id, ENTITY_CREATE, 0, &doc);
    entity_doc_fini(&doc);
    return rc;
}

static void answered(struct canon_request *r, const struct unit *u)
{
    struct case_ *c = (struct case_ *)r;
    c->answers++;
    c->failed_op = u->err.code == 0 ? -1 : u->failed_op;
}

static void opened(struct canon_lab *lab, struct case_ *c)
{
    lab_open(lab, person, person_model);
    lab_define(lab, note, note_model);
    *c = (struct case_){.note = entities_find(lab->entities, "Note")};
}

static void arrives(struct canon_lab *lab, struct case_ *c, const char *source_id, const char *data)
{
    struct err e = ERR_INIT;
    c->one = (struct canon_arrival){.origin = "erp",
                                    .source_id = source_id,
                                    .observed_at = INT64_MIN,
                                    .data = json_read(data, strlen(data), &e)};
    c->q = (struct lab_request){.arrivals = &c->one};
    lab_request(lab, &c->q);
    c->q.r.also = also;
    c->q.r.answered = answered;
    c->conditions = c->operations = c->answers = 0;
    assert_int_equal(canon_arrive(lab->engines[0], "Person", &c->q.r, &e), 0);
    lab_wait(lab, &c->q);
    canon_request_fini(&c->q.r);
}

static void closed(struct canon_lab *lab, struct case_ *c)
{
    entity_def_unref(c->note);
    lab_close(lab);
}

TEST(what_is_added_is_done_with_whatever_came_of_the_arrival) /* C1 */
{
    struct canon_lab lab;
    struct case_ c;
    char want[400];
    opened(&lab, &c);
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    assert_int_equal(c.one.outcome, CANON_CANONIZED);
    assert_int_equal(c.answers, 1);
    assert_int_equal(c.failed_op, -1);
    snprintf(want, sizeof want, "{\"id\":\"%s\",\"arrival\":\"%s\",\"outcome\":\"canonized\"}",
             c.one.golden_id, c.one.arrival_id);
    assert_string_equal(c.said, want);
    arrives(&lab, &c, NULL, "{\"name\":\"nobody\"}");
    assert_int_equal(c.one.outcome, CANON_PARKED);
    arrives(&lab, &c, "3", "{\"mail\":\"c@x.pt\",\"age\":-1}");
    assert_int_equal(c.one.outcome, CANON_FAILED);
    assert_true(c.one.arrival_id[0] != '\0');
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 3);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 3);
    closed(&lab, &c);
}

TEST(nothing_is_added_to_what_is_not_stored)
{
    struct canon_lab lab;
    struct case_ c;
    opened(&lab, &c);
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    assert_int_equal(c.one.outcome, CANON_NOOP);
    assert_string_equal(c.one.reason, "REPEAT");
    assert_string_equal(c.one.arrival_id, "");
    assert_int_equal(c.operations, 0);
    assert_int_equal(c.answers, 0);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 1);
    closed(&lab, &c);
}

TEST(an_arrival_whose_condition_does_not_hold_leaves_nothing) /* L4 */
{
    struct canon_lab lab;
    struct case_ c;
    opened(&lab, &c);
    c.refuses = true;
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    assert_int_equal(c.one.outcome, CANON_FAILED);
    assert_string_equal(c.one.arrival_id, "");
    assert_int_equal(c.one.err.code, ERR_VERSION_MISMATCH);
    /* What the caller has added is the caller's to make anew. */
    assert_int_equal(c.conditions, 1);
    assert_int_equal(c.operations, 1);
    assert_int_equal(c.answers, 1);
    assert_int_equal(c.failed_op, 0);
    c.refuses = false;
    c.broken = true;
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    assert_int_equal(c.one.outcome, CANON_FAILED);
    assert_int_equal(c.one.err.code, ERR_TOO_LARGE);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 0);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 0);
    c.broken = false;
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    assert_int_equal(c.one.outcome, CANON_CANONIZED);
    closed(&lab, &c);
}

TEST(the_same_document_again_is_looked_at_when_it_is_asked_for)
{
    struct canon_lab lab;
    struct case_ c;
    struct err e = ERR_INIT;
    static const char says[] = "{\"mail\":\"a@x.pt\",\"age\":-1}";
    opened(&lab, &c);
    arrives(&lab, &c, "1", says);
    assert_int_equal(c.one.outcome, CANON_FAILED);
    arrives(&lab, &c, "1", says);
    assert_string_equal(c.one.reason, "REPEAT");
    c.one = (struct canon_arrival){.origin = "erp",
                                   .source_id = "1",
                                   .observed_at = INT64_MIN,
                                   .again = true,
                                   .data = json_read(says, strlen(says), &e)};
    c.q = (struct lab_request){.arrivals = &c.one};
    lab_request(&lab, &c.q);
    assert_int_equal(canon_arrive(lab.engines[0], "Person", &c.q.r, &e), 0);
    lab_wait(&lab, &c.q);
    assert_int_equal(c.one.outcome, CANON_FAILED);
    canon_request_fini(&c.q.r);
    closed(&lab, &c);
}

TEST(the_time_of_arrival_may_be_before_it_is_worked)
{
    struct canon_lab lab;
    struct case_ c;
    struct err e = ERR_INIT;
    static const char says[] = "{\"mail\":\"a@x.pt\",\"name\":\"earlier\"}";
    opened(&lab, &c);
    lab_arrive(&lab, "Person", "crm", "2", 2000, "{\"mail\":\"a@x.pt\",\"name\":\"later\"}", NULL);
    c.one = (struct canon_arrival){.origin = "erp",
                                   .source_id = "1",
                                   .observed_at = INT64_MIN,
                                   .arrived_at = 1000,
                                   .data = json_read(says, strlen(says), &e)};
    c.q = (struct lab_request){.arrivals = &c.one};
    lab_request(&lab, &c.q);
    assert_int_equal(canon_arrive(lab.engines[0], "Person", &c.q.r, &e), 0);
    lab_wait(&lab, &c.q);
    assert_int_equal(c.one.outcome, CANON_NOOP);
    char *s = lab_state(&lab, "Person");
    assert_non_null(strstr(s, "\"name\":\"later\""));
    mem_free(s);
    canon_request_fini(&c.q.r);
    closed(&lab, &c);
}

/* Four arrivals that are one unit: a new record, one that joins it, a repeat, one without keys. */
static void arrive_whole(struct canon_lab *lab, struct case_ *c, struct canon_arrival four[4])
{
    static const char *const says[] = {"{\"mail\":\"w@x.pt\"}", "{\"mail\":\"w@x.pt\",\"age\":3}",
                                       "{\"mail\":\"w@x.pt\"}", "{\"name\":\"nobody\"}"};
    static const char *const ids[] = {"w1", "w2", "w1", NULL};
    struct err e = ERR_INIT;
    for (int i = 0; i < 4; i++)
        four[i] = (struct canon_arrival){.origin = "erp",
                                         .source_id = ids[i],
                                         .observed_at = INT64_MIN,
                                         .data = json_read(says[i], strlen(says[i]), &e)};
    c->q = (struct lab_request){.arrivals = four};
    lab_request(lab, &c->q);
    c->q.r.count = 4;
    c->q.r.whole = c->q.r.any_outcome = true;
    c->q.r.also = also;
    c->q.r.answered = answered;
    c->conditions = c->operations = c->answers = 0;
    assert_int_equal(canon_arrive(lab->engines[0], "Person", &c->q.r, &e), 0);
    lab_wait(lab, &c->q);
    canon_request_fini(&c->q.r);
}

TEST(what_is_added_to_arrivals_that_are_one_unit_is_done_once_whatever_came_of_them) /* C1 */
{
    struct canon_lab lab;
    struct case_ c;
    struct canon_arrival a[4];
    opened(&lab, &c);
    arrive_whole(&lab, &c, a);
    assert_int_equal(a[0].outcome, CANON_CANONIZED);
    assert_int_equal(a[1].outcome, CANON_CANONIZED);
    assert_string_equal(a[0].golden_id, a[1].golden_id);
    assert_string_equal(a[2].reason, "REPEAT");
    assert_int_equal(a[3].outcome, CANON_PARKED);
    assert_int_equal(c.conditions, 1);
    assert_int_equal(c.operations, 1);
    assert_int_equal(c.answers, 1);
    assert_int_equal(c.failed_op, -1);
    assert_non_null(strstr(c.said, a[0].arrival_id)); /* the first of four endings */
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 1);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 3);
    assert_int_equal(lab_number(&lab, "SELECT count(DISTINCT at) FROM canon_arrival"), 1);
    closed(&lab, &c);
}

TEST(arrivals_that_are_one_unit_leave_nothing_when_what_is_added_does_not_hold) /* L4 */
{
    struct canon_lab lab;
    struct case_ c;
    struct canon_arrival a[4];
    opened(&lab, &c);
    c.refuses = true;
    arrive_whole(&lab, &c, a);
    assert_int_equal(c.q.r.err.code, ERR_VERSION_MISMATCH);
    assert_int_equal(c.conditions, 1); /* what the caller has added is the caller's to make anew */
    assert_int_equal(c.answers, 1);
    assert_int_equal(c.failed_op, 0);
    c.refuses = false;
    c.broken = true;
    arrive_whole(&lab, &c, a);
    assert_int_equal(c.q.r.err.code, ERR_TOO_LARGE);
    for (int i = 0; i < 4; i++) /* a repeat is one whatever comes of the rest */
        assert_int_equal(a[i].outcome, i == 2 ? CANON_NOOP : CANON_FAILED);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 0);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 0);
    c.broken = false;
    arrive_whole(&lab, &c, a);
    assert_int_equal(a[1].outcome, CANON_CANONIZED);
    closed(&lab, &c);
}

TEST(arrivals_that_are_one_unit_are_worked_again_after_a_race) /* C2 */
{
    struct canon_lab lab;
    struct case_ c;
    struct canon_arrival a[4];
    opened(&lab, &c);
    lab_arrive(&lab, "Person", "erp", "w2", INT64_MIN, "{\"mail\":\"v@x.pt\"}", NULL);
    /* The other engine has it from before, this one changes it. */
    struct lab_request q;
    const struct lab_arrival other = {"erp", "w2", INT64_MIN, "{\"mail\":\"u@x.pt\"}"};
    lab_send(&lab, 1, "Person", &q, &other, 1);
    lab_wait(&lab, &q);
    lab_request_fini(&q);
    arrive_whole(&lab, &c, a);
    assert_int_equal(a[0].outcome, CANON_CANONIZED);
    assert_int_equal(a[1].outcome, CANON_CANONIZED);
    assert_int_equal(a[3].outcome, CANON_PARKED);
    assert_true(c.conditions > 1);
    assert_int_equal(c.answers, 1);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Note"), 1);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Person"), 1);
    closed(&lab, &c);
}

static int warm_up(void **state)
{
    struct canon_lab lab;
    struct case_ c;
    (void)state;
    opened(&lab, &c);
    arrives(&lab, &c, "1", "{\"mail\":\"a@x.pt\"}");
    arrives(&lab, &c, NULL, "{\"name\":\"nobody\"}");
    arrives(&lab, &c, "3", "{\"mail\":\"c@x.pt\",\"age\":-1}");
    closed(&lab, &c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_is_added_is_done_with_whatever_came_of_the_arrival),
        HEAP_TEST(nothing_is_added_to_what_is_not_stored),
        HEAP_TEST(an_arrival_whose_condition_does_not_hold_leaves_nothing),
        HEAP_TEST(what_is_added_to_arrivals_that_are_one_unit_is_done_once_whatever_came_of_them),
        HEAP_TEST(arrivals_that_are_one_unit_leave_nothing_when_what_is_added_does_not_hold),
        HEAP_TEST(arrivals_that_are_one_unit_are_worked_again_after_a_race),
        HEAP_TEST(the_same_document_again_is_looked_at_when_it_is_asked_for),
        HEAP_TEST(the_time_of_arrival_may_be_before_it_is_worked),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
