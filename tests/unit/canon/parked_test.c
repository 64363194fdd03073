/* What is parked is a record of the queue canon.MODEL.parked, and ends with it. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/loop.h"
#include "queue/queue_priv.h"
#include "support/canon_lab.h"

static const char *const city = "{\"name\":\"City\",\"fields\":{\"name\":{\"kind\":\"text\"},"
                                "\"in\":{\"kind\":\"text\"}}}";
static const char *const city_model =
    "{\"name\":\"City\",\"sources\":{\"a\":{}},\"keys\":[{\"name\":\"name\",\"parts\":[{\"field\":"
    "\"name\"}]}],\"stages\":[\"validate\"]}";
static const char PARKED[] = "SELECT count(*) FROM canon_arrival WHERE outcome = 2";

/* Without a name it parks. */
static int nameless(struct canon_hooks *h, struct canon_stage_call *call)
{
    (void)h;
    if (json_object_get(call->data, "name") != NULL)
        return 1;
    call->verdict = CANON_PARK;
    snprintf(call->reason, sizeof call->reason, "NO_NAME");
    return 1;
}

static void begin(struct canon_lab *lab)
{
    static struct canon_hooks hooks = {.run = nameless};
    lab_open_hooks(lab, city, city_model, &hooks);
}

static void park(struct canon_lab *lab, const char *says)
{
    assert_int_equal(lab_arrive(lab, "City", "a", NULL, 1, says, NULL), CANON_PARKED);
}

static uint64_t waiting(const struct canon_lab *lab)
{
    struct core_counts n;
    if (core_counts(lab->queues->core, "default", "canon.City.parked", &n, NULL) != 0)
        return 0;
    return n.available + n.scheduled;
}

static enum rec_state state_of(const struct canon_lab *lab, const char *arrival)
{
    struct uuid id;
    struct core_view v;
    assert_true(uuid_parse(arrival, strlen(arrival), &id));
    return core_look(lab->queues->core, &id, &v, NULL) == 0 ? v.state : 0;
}

/* The id of the only one that is parked. */
static void parked_id(struct canon_lab *lab, char out[40])
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    struct canon_model *m = canon_find(lab->canon, "City");
    assert_int_equal(canon_parked(lab->reader, m, "default", NULL, 10, &b, &e), 0);
    canon_model_unref(m);
    AUTO(json_unref) json_t *list = json_read(b.data, b.len, &e);
    assert_int_equal(json_array_size(list), 1);
    snprintf(out, 40, "%s", json_string_value(json_object_get(json_array_get(list, 0), "id")));
}

static void resume(struct canon_lab *lab, const char *arrival, const char *fix)
{
    struct err e = ERR_INIT;
    struct lab_request q = {.arrivals = mem_new(sizeof *q.arrivals)};
    q.arrivals[0] = (struct canon_arrival){
        .source_id = arrival, .observed_at = INT64_MIN, .data = json_read(fix, strlen(fix), &e)};
    lab_request(lab, &q);
    assert_int_equal(canon_resume(lab->engines[0], "City", &q.r, &e), 0);
    lab_wait(lab, &q);
    lab_request_fini(&q);
}

/* A unit by itself; its code. */
struct alone {
    struct unit u;
    bool over;
};
static void alone_done(struct unit *u)
{
    ((struct alone *)u)->over = true;
}
static void alone_begin(struct canon_lab *lab, struct alone *a)
{
    a->over = false;
    unit_init(&a->u, loop_runner(lab->loop), alone_done);
}
static int alone_end(struct canon_lab *lab, struct alone *a)
{
    assert_int_equal(ledger_propose(lab->ledger, &a->u, NULL), 0);
    while (!a->over)
        lab_step(lab);
    int rc = a->u.err.code;
    unit_fini(&a->u);
    return rc;
}

TEST(a_parked_arrival_is_a_record_until_it_is_resumed) /* C1 */
{
    struct canon_lab lab;
    char id[40], again[40];
    begin(&lab);
    park(&lab, "{\"in\":\"pt\"}");
    parked_id(&lab, id);
    assert_int_equal(state_of(&lab, id), REC_AVAILABLE);
    resume(&lab, id, "{\"in\":\"es\"}"); /* no name yet: it parks again */
    parked_id(&lab, again);
    assert_string_not_equal(id, again);
    assert_int_equal(state_of(&lab, id), REC_COMPLETED);
    assert_int_equal(state_of(&lab, again), REC_AVAILABLE);
    lab_reopen(&lab);
    assert_int_equal(state_of(&lab, again), REC_AVAILABLE);
    resume(&lab, again, "{\"name\":\"Faro\"}");
    assert_int_equal(state_of(&lab, again), REC_COMPLETED);
    assert_int_equal(lab_number(&lab, PARKED), 0);
    assert_int_equal(waiting(&lab), 0);
    lab_close(&lab);
}

TEST(a_rejected_arrival_is_not_parked_any_more_and_its_record_is_cancelled)
{
    struct canon_lab lab;
    struct alone a;
    char id[40];
    begin(&lab);
    park(&lab, "{\"in\":\"pt\"}");
    parked_id(&lab, id);
    alone_begin(&lab, &a);
    assert_int_equal(canon_txn_reject(&a.u.txn, id, "a test", "ana", NULL), 0);
    assert_int_equal(alone_end(&lab, &a), 0);
    assert_int_equal(state_of(&lab, id), REC_CANCELLED);
    assert_int_equal(lab_number(&lab, PARKED), 0);
    alone_begin(&lab, &a);
    assert_int_equal(canon_txn_reject(&a.u.txn, id, "again", "ana", NULL), 0);
    assert_int_equal(alone_end(&lab, &a), ERR_CONFLICT);
    lab_close(&lab);
}

static void park_source(struct canon_lab *lab, const char *source_id, const char *says)
{
    assert_int_equal(lab_arrive(lab, "City", "a", source_id, INT64_MIN, says, NULL), CANON_PARKED);
}

static void reject(struct canon_lab *lab, const char *arrival)
{
    struct alone a;
    alone_begin(lab, &a);
    assert_int_equal(canon_txn_reject(&a.u.txn, arrival, "a test", "ana", NULL), 0);
    assert_int_equal(alone_end(lab, &a), 0);
}

TEST(erasing_a_source_takes_its_records_along_whether_they_wait_or_have_ended)
{
    struct canon_lab lab;
    char resumed[40], rejected[40], waits[40], other[40];
    begin(&lab);
    lab_arrive(&lab, "City", "a", "s1", INT64_MIN, "{\"name\":\"Faro\"}", NULL);
    park_source(&lab, "s2", "{\"in\":\"other\"}");
    parked_id(&lab, other);
    reject(&lab, other);
    park_source(&lab, "s1", "{\"in\":\"resumed\"}");
    parked_id(&lab, resumed);
    resume(&lab, resumed, "{\"name\":\"Faro\"}");
    park_source(&lab, "s1", "{\"in\":\"rejected\"}");
    parked_id(&lab, rejected);
    reject(&lab, rejected);
    park_source(&lab, "s1", "{\"in\":\"waits\"}");
    parked_id(&lab, waits);
    assert_int_equal(state_of(&lab, resumed), REC_COMPLETED);
    assert_int_equal(state_of(&lab, rejected), REC_CANCELLED);
    assert_int_equal(lab_withdraw(&lab, "City", "a", "s1", true), CANON_CANONIZED);
    for (int i = 0; i < 2; i++) { /* and again, as the log and the saved state have it */
        assert_int_equal(state_of(&lab, resumed), 0);
        assert_int_equal(state_of(&lab, rejected), 0);
        assert_int_equal(state_of(&lab, waits), 0);
        assert_int_equal(state_of(&lab, other), REC_CANCELLED);
        assert_int_equal(lab_number(&lab, PARKED), 0);
        lab_reopen(&lab);
    }
    lab_close(&lab);
}

TEST(a_source_of_which_nothing_came_through_can_be_erased)
{
    struct canon_lab lab;
    char waits[40], rejected[40];
    begin(&lab);
    park_source(&lab, "s1", "{\"in\":\"rejected\"}");
    parked_id(&lab, rejected);
    reject(&lab, rejected);
    park_source(&lab, "s1", "{\"in\":\"waits\"}");
    parked_id(&lab, waits);
    assert_int_equal(lab_withdraw(&lab, "City", "a", "s1", false), CANON_FAILED); /* of what? */
    assert_int_equal(state_of(&lab, waits), REC_AVAILABLE);
    assert_int_equal(lab_withdraw(&lab, "City", "a", "s1", true), CANON_CANONIZED);
    assert_int_equal(lab_withdraw(&lab, "City", "a", "s1", true), CANON_FAILED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(state_of(&lab, rejected), 0);
        assert_int_equal(state_of(&lab, waits), 0);
        assert_int_equal(lab_number(&lab, PARKED), 0);
        assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 3);
        assert_int_equal(lab_number(&lab, "SELECT count(body) FROM canon_arrival"), 0);
        assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source"), 0);
        lab_reopen(&lab);
    }
    park_source(&lab, "s1", "{\"in\":\"waits\"}"); /* the same document is no repeat */
    lab_close(&lab);
}

TEST(erasing_a_source_takes_along_what_is_just_being_parked_of_it) /* C1 */
{
    struct canon_lab lab;
    struct err e = ERR_INIT;
    struct core_counts n;
    const struct lab_arrival parks = {"a", "s1", INT64_MIN, "{\"in\":\"pt\"}"};
    begin(&lab);
    lab_arrive(&lab, "City", "a", "s1", INT64_MIN, "{\"name\":\"Faro\"}", NULL);
    struct lab_request park, erase = {.arrivals = mem_new(sizeof *erase.arrivals)};
    erase.arrivals[0] =
        (struct canon_arrival){.origin = "a", .source_id = "s1", .observed_at = INT64_MIN};
    lab_send(&lab, 0, "City", &park, &parks, 1);
    lab_request(&lab, &erase);
    assert_int_equal(canon_withdraw(lab.engines[0], "City", &erase.r, true, &e), 0);
    lab_wait(&lab, &park);
    lab_wait(&lab, &erase);
    assert_int_equal(park.arrivals[0].outcome, CANON_PARKED);
    assert_int_equal(erase.arrivals[0].outcome, CANON_CANONIZED);
    assert_int_equal(lab_number(&lab, PARKED), 0);
    assert_int_equal(core_counts(lab.queues->core, "default", "canon.City.parked", &n, NULL), 0);
    assert_int_equal(n.sent, 1);
    assert_int_equal(n.available + n.scheduled + n.completed + n.cancelled, 0);
    lab_request_fini(&park);
    lab_request_fini(&erase);
    lab_close(&lab);
}

static bool all_have_records(struct canon_lab *lab, uint64_t count)
{
    for (int i = 0; i < 100000 && waiting(lab) < count; i++)
        lab_step(lab);
    return waiting(lab) == count;
}

TEST(what_was_parked_before_there_were_records_gets_them)
{
    enum { COUNT = 1300 }; /* more than one look */
    struct canon_lab lab;
    struct alone a;
    char says[48];
    begin(&lab);
    for (int i = 0; i < COUNT; i++) {
        snprintf(says, sizeof says, "{\"in\":\"%d\"}", i);
        park(&lab, says);
    }
    assert_int_equal(waiting(&lab), COUNT);
    /* As it was before: rows alone, but for every third. */
    uint64_t places[COUNT];
    struct err e = ERR_INIT;
    assert_int_equal(core_list(lab.queues->core, "default", "canon.City.parked", REC_AVAILABLE, 0,
                               places, COUNT),
                     COUNT);
    alone_begin(&lab, &a);
    size_t gone = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 3 == 0)
            continue;
        struct core_worked w = {.forget = true};
        AUTO(buf_fini) struct buf entry = BUF_INIT(LEDGER_READ_MAX);
        struct queue_stored *stored = mem_new(sizeof *stored);
        assert_int_equal(queue_place_read(lab.ledger, lab.reader, places[i], &entry, &e), 0);
        assert_int_equal(queue_message_read(entry.data, entry.len, 0, stored, &e), 0);
        w.id = stored->id;
        mem_free(stored);
        queue_txn_worked(&a.u.txn, &w, NULL, 0, &e);
        gone++;
    }
    assert_int_equal(alone_end(&lab, &a), 0);
    assert_int_equal(waiting(&lab), COUNT - gone);
    queues_start(lab.queues, lab.ledger, loop_world(lab.loop), "node");
    canon_parked_start(lab.canon, lab.queues, lab.ledger, loop_world(lab.loop));
    assert_true(all_have_records(&lab, COUNT));
    lab_settle(&lab);
    canon_parked_stop(lab.canon);
    queues_stop(lab.queues);
    lab_close(&lab);
}

static int warm_up(void **state)
{
    struct canon_lab lab;
    (void)state;
    begin(&lab);
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_parked_arrival_is_a_record_until_it_is_resumed),
        HEAP_TEST(a_rejected_arrival_is_not_parked_any_more_and_its_record_is_cancelled),
        HEAP_TEST(erasing_a_source_takes_its_records_along_whether_they_wait_or_have_ended),
        HEAP_TEST(a_source_of_which_nothing_came_through_can_be_erased),
        HEAP_TEST(erasing_a_source_takes_along_what_is_just_being_parked_of_it),
        HEAP_TEST(what_was_parked_before_there_were_records_gets_them),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
