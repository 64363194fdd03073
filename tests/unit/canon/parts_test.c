/* A withdrawal parts what the withdrawn source record alone connected. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "support/canon_lab.h"

static const char *const person =
    "{\"name\":\"Person\",\"fields\":{\"name\":{\"kind\":\"text\"},\"tax\":{\"kind\":\"text\"},"
    "\"mail\":{\"kind\":\"text\"},\"phone\":{\"kind\":\"text\"},\"age\":{\"kind\":\"int\"}}}";
static const char *const person_model =
    "{\"name\":\"Person\",\"sources\":{\"erp\":{\"rank\":1},\"crm\":{\"rank\":2},\"web\":{\"rank\":"
    "3}},\"keys\":[{\"name\":\"tax\",\"parts\":[{\"field\":\"tax\"}]},"
    "{\"name\":\"mail\",\"parts\":[{\"field\":\"mail\"}]},"
    "{\"name\":\"phone\",\"parts\":[{\"field\":\"phone\"}]}],"
    "\"policy\":{\"name\":{\"is\":\"longest\"},\"age\":{\"is\":\"max\"}}}";

static void arrive(struct canon_lab *lab, const char *origin, const char *source_id,
                   const char *says, char id[257])
{
    enum canon_outcome o = lab_arrive(lab, "Person", origin, source_id, INT64_MIN, says, id);
    assert_true(o == CANON_CANONIZED || o == CANON_NOOP);
}

static void assert_state(struct canon_lab *lab, const char *want)
{
    char *s = lab_state(lab, "Person");
    assert_string_equal(s, want);
    mem_free(s);
}

static void live(struct canon_lab *lab, const char *id, char out[257])
{
    struct err e = ERR_INIT;
    if (canon_survivor(lab->reader, "Person", "default", id, out, &e) != 0)
        fail_msg("%s", e.text);
}

TEST(what_one_source_alone_connected_is_parted_when_it_goes)
{
    struct canon_lab lab;
    char a[257], b[257], c[257];
    lab_open(&lab, person, person_model);
    arrive(&lab, "erp", "1", "{\"name\":\"Ana\",\"tax\":\"17\"}", a);
    arrive(&lab, "web", "3", "{\"name\":\"Bea\",\"mail\":\"b@x\",\"age\":3}", b);
    arrive(&lab, "crm", "7", "{\"name\":\"A. B.\",\"tax\":\"17\",\"mail\":\"b@x\"}", c);
    assert_string_equal(a, c);
    assert_state(&lab, "crm/7 erp/1 web/3 => "
                       "{\"age\":3,\"mail\":\"b@x\",\"name\":\"A. B.\",\"tax\":\"17\"}\n");
    assert_int_equal(lab_withdraw(&lab, "Person", "crm", "7", false), CANON_CANONIZED);
    assert_state(&lab, "erp/1 => {\"name\":\"Ana\",\"tax\":\"17\"}\n"
                       "web/3 => {\"age\":3,\"mail\":\"b@x\",\"name\":\"Bea\"}\n");
    /* The oldest keeps the id, keys lead to where their sources are, also after a restart. */
    for (int again = 0; again < 2; again++) {
        arrive(&lab, "crm", again ? "9" : "8", "{\"tax\":\"17\"}", c);
        assert_string_equal(c, a);
        arrive(&lab, "crm", again ? "19" : "18", "{\"mail\":\"b@x\"}", c);
        assert_string_not_equal(c, a);
        assert_string_not_equal(c, b); /* ids are not used again */
        lab_reopen(&lab);
    }
    live(&lab, b, c); /* what had merged into the first stays there: C4 */
    assert_string_equal(c, a);
    lab_close(&lab);
}

TEST(the_part_of_the_oldest_source_keeps_the_id)
{
    struct canon_lab lab;
    char a[257], c[257];
    lab_open(&lab, person, person_model);
    arrive(&lab, "web", "z", "{\"name\":\"old\",\"mail\":\"m\"}", a);
    arrive(&lab, "erp", "a", "{\"name\":\"bridge\",\"mail\":\"m\",\"tax\":\"1\",\"phone\":\"2\"}",
           c);
    arrive(&lab, "crm", "b", "{\"name\":\"x\",\"tax\":\"1\"}", c);
    arrive(&lab, "crm", "c", "{\"name\":\"y\",\"phone\":\"2\"}", c);
    /* It says something newer, and is still the oldest. */
    arrive(&lab, "web", "z", "{\"name\":\"older\",\"mail\":\"m\"}", c);
    lab_withdraw(&lab, "Person", "erp", "a", true);
    assert_state(&lab, "crm/b => {\"name\":\"x\",\"tax\":\"1\"}\n"
                       "crm/c => {\"name\":\"y\",\"phone\":\"2\"}\n"
                       "web/z => {\"mail\":\"m\",\"name\":\"older\"}\n");
    arrive(&lab, "erp", "n", "{\"mail\":\"m\"}", c);
    assert_string_equal(c, a);
    lab_close(&lab);
}

TEST(what_a_source_once_gave_still_connects_it)
{
    struct canon_lab lab;
    lab_open(&lab, person, person_model);
    arrive(&lab, "erp", "1", "{\"name\":\"A\",\"tax\":\"1\"}", NULL);
    arrive(&lab, "web", "2", "{\"name\":\"B\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "crm", "3", "{\"tax\":\"1\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "web", "2", "{\"name\":\"B\",\"mail\":\"m\",\"tax\":\"1\"}", NULL);
    arrive(&lab, "web", "2", "{\"name\":\"B\",\"mail\":\"m\"}", NULL); /* no longer, but once */
    lab_withdraw(&lab, "Person", "crm", "3", false);
    assert_state(&lab, "erp/1 web/2 => {\"mail\":\"m\",\"name\":\"B\",\"tax\":\"1\"}\n");
    lab_close(&lab);
}

TEST(a_direct_statement_stays_with_the_id_that_it_names)
{
    struct canon_lab lab;
    char a[257], c[257];
    lab_open(&lab, person, person_model);
    arrive(&lab, "erp", "1", "{\"name\":\"A\",\"tax\":\"1\"}", a);
    arrive(&lab, "web", "2", "{\"name\":\"B\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "crm", "3", "{\"tax\":\"1\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "direct", a, "{\"age\":9}", c);
    assert_string_equal(a, c);
    lab_withdraw(&lab, "Person", "crm", "3", false);
    struct buf want = BUF_INIT(1000);
    buf_addf(&want,
             "direct/%s erp/1 => {\"age\":9,\"name\":\"A\",\"tax\":\"1\"}\n"
             "web/2 => {\"mail\":\"m\",\"name\":\"B\"}\n",
             a);
    assert_state(&lab, buf_str(&want));
    buf_fini(&want);
    lab_close(&lab);
}

TEST(a_withdrawal_that_would_leave_no_record_is_refused_whole)
{
    static const char *const strict =
        "{\"name\":\"Person\",\"fields\":{\"name\":{\"kind\":\"text\",\"required\":true},"
        "\"tax\":{\"kind\":\"text\"},\"mail\":{\"kind\":\"text\"},\"phone\":{\"kind\":\"text\"},"
        "\"age\":{\"kind\":\"int\"}}}";
    struct canon_lab lab;
    lab_open(&lab, strict, person_model);
    arrive(&lab, "erp", "1", "{\"name\":\"A\",\"tax\":\"1\"}", NULL);
    arrive(&lab, "crm", "3", "{\"name\":\"A\",\"tax\":\"1\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "web", "2", "{\"mail\":\"m\"}", NULL);
    char *before = lab_state(&lab, "Person");
    assert_int_equal(lab_withdraw(&lab, "Person", "crm", "3", false), CANON_FAILED);
    assert_state(&lab, before);
    mem_free(before);
    /* The same where what remains is one record. */
    assert_int_equal(lab_withdraw(&lab, "Person", "web", "2", false), CANON_CANONIZED);
    assert_int_equal(lab_withdraw(&lab, "Person", "erp", "1", false), CANON_CANONIZED);
    arrive(&lab, "web", "4", "{\"mail\":\"m\"}", NULL);
    assert_int_equal(lab_withdraw(&lab, "Person", "crm", "3", false), CANON_FAILED);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source"), 2);
    lab_close(&lab);
}

/* ---- views ---- */

static int view_run(struct canon_hooks *h, struct canon_stage_call *call)
{
    (void)h;
    if (call->stage != CANON_PROJECT)
        return 1;
    json_decref(call->views);
    call->views = json_pack("{s:{s:O, s:s}}", "card", "of", json_object_get(call->data, "name"),
                            "id", call->id);
    return 1;
}

TEST(each_part_has_views_of_its_own)
{
    struct canon_hooks hooks = {.run = view_run};
    struct canon_lab lab;
    AUTO(json_unref) json_t *m = json_loads(person_model, 0, NULL);
    json_object_set_new(m, "stages", json_pack("[s]", "project"));
    char *text = json_dumps(m, 0);
    lab_open_hooks(&lab, person, text, &hooks);
    mem_free(text); /* jansson allocates as we do */
    arrive(&lab, "erp", "1", "{\"name\":\"A\",\"tax\":\"1\"}", NULL);
    arrive(&lab, "web", "2", "{\"name\":\"B\",\"mail\":\"m\"}", NULL);
    arrive(&lab, "web", "4", "{\"name\":\"C\",\"phone\":\"p\"}", NULL);
    arrive(&lab, "crm", "3", "{\"tax\":\"1\",\"mail\":\"m\",\"phone\":\"p\"}", NULL);
    lab_withdraw(&lab, "Person", "crm", "3", false);
    assert_int_equal(
        lab_number(&lab, "SELECT count(*) FROM canon_golden g JOIN entity_Person p ON p.id = g.id "
                         "WHERE g.views = json_object('card', json_object('of', "
                         "json_extract(p.body, '$.name'), 'id', g.id))"),
        3);
    lab_close(&lab);
}

/* ---- order ---- */

enum { RECORDS = 30, PLAYS = 2 * RECORDS };

struct deck {
    struct lab_arrival list[PLAYS];
    char data[PLAYS][160], ids[PLAYS][16];
    bool goes[RECORDS];
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
    for (int i = 0; i < PLAYS; i++) {
        int record = i / 2;
        uint32_t who = next(&s) % 14;
        struct buf b = BUF_INIT(160);
        buf_addf(&b, "{\"name\":\"n%u\"", next(&s) % 5);
        if (next(&s) % 2)
            buf_addf(&b, ",\"tax\":\"%u\"", who);
        if (next(&s) % 3 == 0)
            buf_addf(&b, ",\"mail\":\"m%u\"", next(&s) % 14);
        if (next(&s) % 4 == 0)
            buf_addf(&b, ",\"phone\":\"%u\"", 100 + next(&s) % 14);
        buf_addf(&b, ",\"age\":%u}", next(&s) % 90);
        snprintf(d->data[i], sizeof d->data[i], "%s", buf_str(&b));
        buf_fini(&b);
        snprintf(d->ids[i], sizeof d->ids[i], "%d", record);
        d->list[i] = (struct lab_arrival){origins[record % 3], d->ids[i], next(&s) % 4, d->data[i]};
    }
    for (int i = 0; i < RECORDS; i++)
        d->goes[i] = next(&s) % 3 == 0;
}

/* A play is an arrival, or (from PLAYS on) a withdrawal, which comes somewhere behind the last
 * arrival of its record. `rest`: as if what goes had never come. */
static size_t deck_order(const struct deck *d, bool rest, uint32_t seed, int order[PLAYS + RECORDS])
{
    uint32_t s = seed;
    size_t n = 0;
    for (int i = 0; i < PLAYS; i++)
        if (!rest || !d->goes[i / 2])
            order[n++] = i;
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = next(&s) % (i + 1);
        int t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    for (int r = 0; r < RECORDS && !rest; r++) {
        if (!d->goes[r])
            continue;
        size_t last = 0;
        for (size_t i = 0; i < n; i++)
            if (order[i] < PLAYS && order[i] / 2 == r)
                last = i;
        size_t at = last + 1 + next(&s) % (n - last);
        memmove(&order[at + 1], &order[at], (n - at) * sizeof *order);
        order[at] = PLAYS + r;
        n++;
    }
    return n;
}

static void deck_check(struct canon_lab *lab)
{
    static const char *const never[] = {
        "SELECT count(*) FROM canon_source s, json_each(s.keys) j WHERE NOT EXISTS (SELECT 1 FROM "
        "canon_key k WHERE k.key = j.value AND k.golden = s.golden)",
        "SELECT count(*) FROM canon_key k WHERE NOT EXISTS (SELECT 1 FROM canon_source s, "
        "json_each(s.keys) j WHERE j.value = k.key AND s.golden = k.golden)",
        "SELECT count(*) FROM canon_golden g WHERE g.lifecycle = 0 AND NOT EXISTS (SELECT 1 FROM "
        "entity_Person p WHERE p.id = g.id)",
    };
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (lab_number(lab, never[i]) != 0)
            fail_msg("%s", never[i]);
}

static char *deck_play(const struct deck *d, bool rest, uint32_t seed)
{
    struct canon_lab lab;
    int order[PLAYS + RECORDS];
    size_t n = deck_order(d, rest, seed, order);
    lab_open(&lab, person, person_model);
    for (size_t i = 0; i < n; i++) {
        const struct lab_arrival *a =
            &d->list[order[i] < PLAYS ? order[i] : 2 * (order[i] - PLAYS)];
        enum canon_outcome o =
            order[i] < PLAYS
                ? lab_arrive(&lab, "Person", a->origin, a->source_id, a->observed_at, a->data, NULL)
                : lab_withdraw(&lab, "Person", a->origin, a->source_id, false);
        assert_true(o == CANON_CANONIZED || o == CANON_NOOP || o == CANON_PARKED);
    }
    deck_check(&lab);
    char *state = lab_state(&lab, "Person");
    lab_close(&lab);
    return state;
}

/* C3. What is left says what it would say if the others had never come: no trace of an order. */
TEST(arrivals_and_withdrawals_in_any_order_give_what_the_rest_alone_gives)
{
    for (uint32_t seed = 1; seed <= 8; seed++) {
        struct deck d;
        deck_fill(&d, seed);
        char *want = deck_play(&d, true, 1);
        for (uint32_t order = 2; order <= 6; order++) {
            char *got = deck_play(&d, false, order);
            if (strcmp(got, want) != 0)
                fail_msg("seed %u order %u:\n%s\nis not\n%s", seed, order, got, want);
            mem_free(got);
        }
        mem_free(want);
    }
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
        HEAP_TEST(what_one_source_alone_connected_is_parted_when_it_goes),
        HEAP_TEST(the_part_of_the_oldest_source_keeps_the_id),
        HEAP_TEST(what_a_source_once_gave_still_connects_it),
        HEAP_TEST(a_direct_statement_stays_with_the_id_that_it_names),
        HEAP_TEST(a_withdrawal_that_would_leave_no_record_is_refused_whole),
        HEAP_TEST(each_part_has_views_of_its_own),
        HEAP_TEST(arrivals_and_withdrawals_in_any_order_give_what_the_rest_alone_gives),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
