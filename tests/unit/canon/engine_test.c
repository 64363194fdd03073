#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"Person\",\"fields\":{\"name\":{\"kind\":\"text\",\"max\":100},"
    "\"tax\":{\"kind\":\"text\"},\"mail\":{\"kind\":\"text\"},\"phone\":{\"kind\":\"text\"},"
    "\"age\":{\"kind\":\"int\",\"min\":0}}}";
static const char *const person_model =
    "{\"name\":\"Person\",\"sources\":{\"erp\":{\"rank\":1},\"crm\":{\"rank\":2},\"web\":{\"rank\":"
    "3}},"
    "\"keys\":[{\"name\":\"tax\",\"parts\":[{\"field\":\"tax\",\"norm\":\"digits\"}]},"
    "{\"name\":\"mail\",\"parts\":[{\"field\":\"mail\",\"norm\":\"email\"}]},"
    "{\"name\":\"phone\",\"parts\":[{\"field\":\"phone\",\"norm\":\"phone\"}]}],"
    "\"policy\":{\"name\":{\"is\":\"longest\"},\"age\":{\"is\":\"max\"}}}";

TEST(a_shared_key_makes_one_golden_record_of_two_sources)
{
    struct canon_lab lab;
    char a[257], b[257];
    lab_open(&lab, person, person_model);
    assert_int_equal(
        lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"Ana\",\"tax\":\"PT 17\"}", a),
        CANON_CANONIZED);
    assert_int_equal(lab_arrive(&lab, "Person", "crm", "C1", 2,
                                "{\"name\":\"Ana Silva\",\"tax\":\"17\",\"age\":30}", b),
                     CANON_CANONIZED);
    assert_string_equal(a, b);
    char *s = lab_state(&lab, "Person");
    assert_string_equal(s, "crm/C1 erp/1 => {\"age\":30,\"name\":\"Ana Silva\",\"tax\":\"17\"}\n");
    mem_free(s);
    lab_close(&lab);
}

/* C5 */
TEST(the_same_arrival_twice_has_the_effect_of_once)
{
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    const char *says = "{\"name\":\"Ana\",\"tax\":\"17\"}";
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "1", 1, says, NULL), CANON_CANONIZED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "1", 1, says, NULL), CANON_NOOP);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 1);
    lab_reopen(&lab);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "1", 1, says, NULL), CANON_NOOP);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_arrival"), 1);
    assert_int_equal(
        lab_arrive(&lab, "Person", "crm", "9", 1, "{\"name\":\"An\",\"tax\":\"17\"}", NULL),
        CANON_NOOP);
    assert_int_equal(lab_number(&lab, "SELECT version FROM entity_Person"), 1);
    lab_close(&lab);
}

TEST(an_arrival_that_joins_two_golden_records_merges_them_into_the_older)
{
    struct canon_lab lab;
    char a[257], b[257], c[257], live[257];
    struct err e = ERR_INIT;
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"Ana\",\"tax\":\"17\"}", a);
    lab_arrive(&lab, "Person", "crm", "2", 2, "{\"name\":\"A.\",\"mail\":\"Ana@x.pt\"}", b);
    assert_string_not_equal(a, b);
    assert_int_equal(
        lab_arrive(&lab, "Person", "web", "3", 3, "{\"tax\":\"17\",\"mail\":\"ana@x.pt\"}", c),
        CANON_CANONIZED);
    assert_string_equal(a, c);
    assert_int_equal(canon_survivor(lab.reader, "Person", "default", b, live, &e), 0);
    assert_string_equal(live, a);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM entity_Person"), 1);
    /* Keys of the one that ended lead to the survivor. */
    lab_arrive(&lab, "Person", "crm", "4", 4, "{\"mail\":\"ANA@x.pt\",\"phone\":\"+351 1\"}", c);
    assert_string_equal(a, c);
    lab_close(&lab);
}

TEST(a_chain_of_merges_leaves_every_tombstone_at_the_final_survivor)
{
    struct canon_lab lab;
    char a[257], b[257], c[257], live[257];
    struct err e = ERR_INIT;
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"A\",\"tax\":\"1\"}", a);
    lab_arrive(&lab, "Person", "erp", "2", 1, "{\"name\":\"B\",\"mail\":\"b@x\"}", b);
    lab_arrive(&lab, "Person", "erp", "3", 1, "{\"name\":\"C\",\"phone\":\"3\"}", c);
    lab_arrive(&lab, "Person", "crm", "4", 2, "{\"mail\":\"b@x\",\"phone\":\"3\"}", NULL);
    lab_arrive(&lab, "Person", "crm", "5", 3, "{\"tax\":\"1\",\"phone\":\"3\"}", NULL);
    assert_int_equal(canon_survivor(lab.reader, "Person", "default", c, live, &e), 0);
    assert_string_equal(live, a);
    assert_int_equal(canon_survivor(lab.reader, "Person", "default", b, live, &e), 0);
    assert_string_equal(live, a);
    lab_close(&lab);
}

TEST(what_cannot_be_right_fails_and_what_is_unknown_parks)
{
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    assert_int_equal(
        lab_arrive(&lab, "Person", "erp", "1", 1, "{\"tax\":\"1\",\"age\":\"old\"}", NULL),
        CANON_FAILED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "1", 1, "{\"tax\":\"1\",\"shoe\":44}", NULL),
                     CANON_FAILED);
    assert_int_equal(lab_arrive(&lab, "Person", "hr", "1", 1, "{\"tax\":\"1\"}", NULL),
                     CANON_FAILED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", NULL, 1, "{\"name\":\"nobody\"}", NULL),
                     CANON_PARKED);
    /* C5 also for what waits, with a name or without. */
    assert_int_equal(lab_arrive(&lab, "Person", "erp", NULL, 1, "{\"name\":\"nobody\"}", NULL),
                     CANON_NOOP);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_golden"), 0);
    assert_int_equal(
        lab_number(&lab,
                   "SELECT count(*) FROM canon_arrival WHERE outcome = 2 AND reason = 'NO_KEYS'"),
        1);
    lab_close(&lab);
}

TEST(a_source_id_may_hold_a_slash_and_is_otherwise_an_id)
{
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    const char *says = "{\"name\":\"Ana\",\"tax\":\"17\"}";
    char longer[400];
    memset(longer, '/', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "a/1", 1, says, NULL), CANON_CANONIZED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "a/\xff", 1, says, NULL), CANON_FAILED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", "a/\n", 1, says, NULL), CANON_FAILED);
    assert_int_equal(lab_arrive(&lab, "Person", "erp", longer, 1, says, NULL), CANON_FAILED);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source"), 1);
    lab_close(&lab);
}

TEST(a_withdrawn_source_no_longer_speaks)
{
    struct canon_lab lab;
    char a[257], b[257];
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"Ana\",\"tax\":\"17\"}", a);
    lab_arrive(&lab, "Person", "crm", "2", 2,
               "{\"name\":\"Ana Silva\",\"tax\":\"17\",\"mail\":\"a@x\"}", NULL);
    assert_int_equal(lab_withdraw(&lab, "Person", "crm", "2", true), CANON_CANONIZED);
    char *s = lab_state(&lab, "Person");
    assert_string_equal(s, "erp/1 => {\"name\":\"Ana\",\"tax\":\"17\"}\n");
    mem_free(s);
    assert_int_equal(
        lab_number(&lab,
                   "SELECT count(*) FROM canon_arrival WHERE source_id = '2' AND body IS NOT NULL"),
        0);
    /* Its mail address is free again, the number is not. */
    lab_arrive(&lab, "Person", "web", "3", 3, "{\"mail\":\"a@x\"}", b);
    assert_string_not_equal(a, b);
    lab_arrive(&lab, "Person", "web", "4", 3, "{\"tax\":\"17\"}", b);
    assert_string_equal(a, b);
    assert_int_equal(lab_withdraw(&lab, "Person", "crm", "2", false), CANON_FAILED);
    lab_close(&lab);
}

/* The arrivals of the order test: 40 source records over 12 persons with overlapping keys, two
 * statements each. */
struct deck {
    struct lab_arrival list[80];
    char data[80][160], ids[80][16];
};

static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void deck_fill(struct deck *d, uint32_t seed)
{
    static const char *const origins[] = {"erp", "crm", "web"};
    uint32_t s = seed;
    for (int i = 0; i < 80; i++) {
        int record = i / 2;
        uint32_t who = next(&s) % 12;
        struct buf b = BUF_INIT(160);
        buf_addf(&b, "{\"name\":\"n%u\"", next(&s) % 5);
        if (next(&s) % 2)
            buf_addf(&b, ",\"tax\":\"%u\"", who);
        if (next(&s) % 3 == 0)
            buf_addf(&b, ",\"mail\":\"m%u@x\"", (who + next(&s) % 2) % 12);
        if (next(&s) % 4 == 0)
            buf_addf(&b, ",\"phone\":\"%u\"", 100 + who);
        buf_addf(&b, ",\"age\":%u}", next(&s) % 90);
        snprintf(d->data[i], sizeof d->data[i], "%s", buf_str(&b));
        buf_fini(&b);
        snprintf(d->ids[i], sizeof d->ids[i], "%d", record);
        d->list[i] = (struct lab_arrival){origins[record % 3], d->ids[i], next(&s) % 4, d->data[i]};
    }
}

/* C3 and C2: any order, any split over requests and engines. */
static char *deck_play(const struct deck *d, uint32_t seed, int engines)
{
    struct canon_lab lab;
    struct lab_arrival list[80];
    uint32_t s = seed;
    memcpy(list, d->list, sizeof list);
    for (int i = 79; i > 0; i--) {
        int k = (int)(next(&s) % (uint32_t)(i + 1));
        struct lab_arrival t = list[i];
        list[i] = list[k];
        list[k] = t;
    }
    lab_open(&lab, person, person_model);
    struct lab_request q[8];
    for (int i = 0; i < 8; i++)
        lab_send(&lab, i % engines, "Person", &q[i], &list[i * 10], 10);
    for (int i = 0; i < 8; i++)
        lab_wait(&lab, &q[i]);
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 10; k++) {
            const struct canon_arrival *a = &q[i].arrivals[k];
            /* Two engines may lose too many races; a client then sends again. */
            if (a->outcome == CANON_FAILED && a->err.code == ERR_CONFLICT)
                lab_arrive(&lab, "Person", list[i * 10 + k].origin, list[i * 10 + k].source_id,
                           list[i * 10 + k].observed_at, list[i * 10 + k].data, NULL);
            else if (a->outcome == CANON_FAILED || a->outcome == CANON_PARKED)
                fail_msg("%s: %s", a->reason, a->err.text);
        }
        lab_request_fini(&q[i]);
    }
    char *state = lab_state(&lab, "Person");
    lab_close(&lab);
    return state;
}

TEST(any_order_of_the_same_arrivals_gives_the_same_groups_and_values)
{
    for (uint32_t seed = 1; seed <= 6; seed++) {
        struct deck d;
        deck_fill(&d, seed);
        char *want = deck_play(&d, 1, 1);
        for (uint32_t order = 2; order <= 6; order++) {
            char *got = deck_play(&d, order, order % 2 ? 1 : 2);
            if (strcmp(got, want) != 0)
                fail_msg("seed %u order %u:\n%s\nis not\n%s", seed, order, got, want);
            mem_free(got);
        }
        mem_free(want);
    }
}

/* Each script thread has an engine, and each engine a working set of its own. */
TEST(a_source_that_another_engine_brought_is_found_when_its_golden_record_is_known)
{
    struct canon_lab lab;
    char a[257];
    struct lab_request q;
    const struct lab_arrival other = {"crm", "2", 2, "{\"name\":\"Ana S\",\"tax\":\"17\"}"};
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"Ana\",\"tax\":\"17\"}", a);
    lab_send(&lab, 1, "Person", &q, &other, 1);
    lab_wait(&lab, &q);
    assert_string_equal(q.arrivals[0].golden_id, a);
    lab_request_fini(&q);
    assert_int_equal(lab_arrive(&lab, "Person", "crm", "2", 3,
                                "{\"name\":\"Ana Silva\",\"tax\":\"17\",\"age\":30}", NULL),
                     CANON_CANONIZED);
    char *s = lab_state(&lab, "Person");
    assert_string_equal(s, "crm/2 erp/1 => {\"age\":30,\"name\":\"Ana Silva\",\"tax\":\"17\"}\n");
    mem_free(s);
    lab_close(&lab);
}

TEST(why_names_the_winner_and_what_it_beat)
{
    struct canon_lab lab;
    struct err e = ERR_INIT;
    char a[257];
    lab_open(&lab, person, person_model);
    lab_arrive(&lab, "Person", "erp", "1", 1, "{\"name\":\"Ana\",\"tax\":\"17\"}", a);
    lab_arrive(&lab, "Person", "crm", "2", 2, "{\"name\":\"Ana Silva\",\"tax\":\"17\"}", NULL);
    struct canon_model *m = canon_find(lab.canon, "Person");
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(canon_why(lab.reader, m, "default", a, NULL, &b, &e), 0);
    json_t *why = json_read(b.data, b.len, &e), *name = json_path(why, "fields.name");
    assert_string_equal(json_string_value(json_object_get(name, "value")), "Ana Silva");
    assert_string_equal(json_string_value(json_object_get(name, "origin")), "crm");
    assert_string_equal(json_string_value(json_object_get(name, "policy")), "longest");
    json_t *beat = json_array_get(json_object_get(name, "beat"), 0);
    assert_string_equal(json_string_value(json_object_get(beat, "value")), "Ana");
    assert_string_equal(json_string_value(json_object_get(beat, "origin")), "erp");
    json_decref(why);
    buf_reset(&b);
    assert_int_equal(canon_lineage(lab.reader, m, "default", a, 10, &b, &e), 0);
    json_t *lineage = json_read(b.data, b.len, &e);
    assert_int_equal(json_array_size(lineage), 2);
    json_decref(lineage);
    buf_reset(&b);
    assert_int_equal(canon_summary(lab.reader, m, "default", &b, &e), 0);
    json_t *sum = json_read(b.data, b.len, &e);
    assert_int_equal(json_integer_value(json_object_get(sum, "golden")), 1);
    assert_int_equal(json_integer_value(json_path(sum, "fields.name.won.crm")), 1);
    json_decref(sum);
    buf_fini(&b);
    canon_model_unref(m);
    lab_close(&lab);
}

/* What is registered once in a process (counters) shall not look like a leak of the first test. */
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
        HEAP_TEST(a_shared_key_makes_one_golden_record_of_two_sources),
        HEAP_TEST(the_same_arrival_twice_has_the_effect_of_once),
        HEAP_TEST(an_arrival_that_joins_two_golden_records_merges_them_into_the_older),
        HEAP_TEST(a_chain_of_merges_leaves_every_tombstone_at_the_final_survivor),
        HEAP_TEST(what_cannot_be_right_fails_and_what_is_unknown_parks),
        HEAP_TEST(a_source_id_may_hold_a_slash_and_is_otherwise_an_id),
        HEAP_TEST(a_withdrawn_source_no_longer_speaks),
        HEAP_TEST(any_order_of_the_same_arrivals_gives_the_same_groups_and_values),
        HEAP_TEST(a_source_that_another_engine_brought_is_found_when_its_golden_record_is_known),
        HEAP_TEST(why_names_the_winner_and_what_it_beat),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
