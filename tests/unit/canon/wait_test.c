/* Parked until a parent comes. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "support/canon_lab.h"

static const char *const country = "{\"name\":\"Country\",\"fields\":{\"code\":{\"kind\":\"text\"},"
                                   "\"name\":{\"kind\":\"text\"},\"in\":{\"kind\":\"text\"}}}";
static const char *const country_model =
    "{\"name\":\"Country\",\"sources\":{\"a\":{}},\"keys\":[{\"name\":\"code\",\"parts\":[{"
    "\"field\":\"code\",\"norm\":\"upper\"}]},{\"name\":\"name\",\"parts\":[{\"field\":\"name\"}]}]"
    ",\"stages\":[\"validate\"]}";
static const char *const city = "{\"name\":\"City\",\"fields\":{\"name\":{\"kind\":\"text\"},"
                                "\"in\":{\"kind\":\"text\"}}}";
static const char *const city_model =
    "{\"name\":\"City\",\"sources\":{\"a\":{}},\"keys\":[{\"name\":\"name\",\"parts\":[{\"field\":"
    "\"name\"}]}],\"stages\":[\"validate\"]}";

static const char PARKED[] = "SELECT count(*) FROM canon_arrival WHERE outcome = 2";
static const char WAITING[] = "SELECT count(*) FROM canon_wait";
static const char RESUMED[] = "SELECT count(*) FROM canon_arrival WHERE outcome = 5";

/* Looks for the country that `in` names, unless it is blind: then it parks whatever there is. */
struct looking {
    struct canon_hooks hooks; /* first */
    struct canon_lab lab;
    bool blind;
    const char *says; /* instead of the form that is right */
    int runs;
};

static int looking_run(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct looking *k = (struct looking *)h;
    struct err e = ERR_INIT;
    char owner[257];
    const char *in = json_string_value(json_object_get(call->data, "in"));
    k->runs++;
    if (in == NULL)
        return 1;
    json_t *says = json_pack("{s:s}", "code", in);
    int rc = canon_find_key(k->lab.canon, k->lab.reader, h, "Country", "default", says, owner, &e);
    if (rc == 0 && !k->blind) {
        json_decref(says);
        return 1;
    }
    call->verdict = CANON_PARK;
    snprintf(call->reason, sizeof call->reason, "PARENT_NOT_FOUND");
    call->evidence = k->says != NULL ? json_loads(k->says, 0, NULL)
                                     : json_pack("{s:s,s:O}", "model", "Country", "key", says);
    json_decref(says);
    return 1;
}

static void looking_open(struct looking *k, bool asleep)
{
    *k = (struct looking){.hooks = {.run = looking_run}};
    lab_open_hooks(&k->lab, country, country_model, &k->hooks);
    lab_define(&k->lab, city, city_model);
    k->lab.asleep = asleep;
    if (asleep)
        lab_reopen(&k->lab);
}

static enum canon_outcome looking_city(struct looking *k, const char *id, const char *says)
{
    return lab_arrive(&k->lab, "City", "a", id, 1, says, NULL);
}

static enum canon_outcome looking_country(struct looking *k, const char *id, const char *says)
{
    return lab_arrive(&k->lab, "Country", "a", id, 1, says, NULL);
}

TEST(what_waits_for_a_parent_goes_on_when_it_comes)
{
    struct looking k;
    looking_open(&k, false);
    assert_int_equal(looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"pt\"}"), CANON_PARKED);
    assert_int_equal(looking_city(&k, "2", "{\"name\":\"Wien\",\"in\":\"at\"}"), CANON_PARKED);
    assert_int_equal(lab_number(&k.lab, WAITING), 2);
    looking_country(&k, "P", "{\"code\":\"PT\",\"name\":\"Portugal\"}");
    lab_until(&k.lab, PARKED, 1);
    lab_settle(&k.lab);
    assert_int_equal(lab_number(&k.lab, WAITING), 1);
    assert_int_equal(lab_number(&k.lab, RESUMED), 1);
    char *s = lab_state(&k.lab, "City");
    assert_string_equal(s, "a/1 => {\"in\":\"pt\",\"name\":\"Porto\"}\n");
    mem_free(s);
    /* A second source with the same key wakes nobody a second time. */
    looking_country(&k, "P2", "{\"code\":\"PT\"}");
    lab_settle(&k.lab);
    assert_int_equal(lab_number(&k.lab, RESUMED), 1);
    lab_close(&k.lab);
}

TEST(a_parent_of_the_same_model_is_waited_for_too)
{
    struct looking k;
    looking_open(&k, false);
    assert_int_equal(looking_country(&k, "1", "{\"code\":\"GI\",\"in\":\"UK\"}"), CANON_PARKED);
    looking_country(&k, "2", "{\"code\":\"UK\"}");
    lab_until(&k.lab, PARKED, 0);
    lab_settle(&k.lab);
    assert_int_equal(lab_number(&k.lab, "SELECT count(*) FROM entity_Country"), 2);
    lab_close(&k.lab);
}

TEST(a_chain_of_parents_unfolds_from_its_end)
{
    struct looking k;
    looking_open(&k, false);
    looking_country(&k, "1", "{\"code\":\"A\",\"in\":\"B\"}");
    looking_country(&k, "2", "{\"code\":\"B\",\"in\":\"C\"}");
    looking_city(&k, "3", "{\"name\":\"X\",\"in\":\"A\"}");
    assert_int_equal(lab_number(&k.lab, PARKED), 3);
    looking_country(&k, "4", "{\"code\":\"C\"}");
    lab_until(&k.lab, PARKED, 0);
    lab_settle(&k.lab);
    assert_int_equal(lab_number(&k.lab, WAITING), 0);
    lab_close(&k.lab);
}

TEST(what_became_due_before_a_restart_goes_on_behind_it)
{
    struct looking k;
    looking_open(&k, true);
    looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"PT\"}");
    looking_country(&k, "P", "{\"code\":\"PT\"}");
    lab_settle(&k.lab);
    assert_int_equal(lab_number(&k.lab, PARKED), 1);
    k.lab.asleep = false;
    lab_reopen(&k.lab);
    lab_until(&k.lab, PARKED, 0);
    lab_close(&k.lab);
}

TEST(a_key_that_came_while_the_stage_looked_is_not_missed)
{
    struct looking k;
    looking_open(&k, true);
    looking_country(&k, "P", "{\"code\":\"PT\"}");
    k.blind = true; /* it looked just before */
    assert_int_equal(looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"PT\"}"), CANON_PARKED);
    k.blind = false;
    canon_engine_start(k.lab.engines[0]);
    lab_until(&k.lab, PARKED, 0);
    lab_close(&k.lab);
}

TEST(a_stage_that_parks_whatever_there_is_is_left_for_a_person)
{
    struct looking k;
    looking_open(&k, true);
    canon_engine_start(k.lab.engines[0]); /* the other would run them as well, and lose */
    looking_country(&k, "P", "{\"code\":\"PT\"}");
    k.blind = true;
    k.runs = 0;
    looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"PT\"}");
    lab_settle(&k.lab);
    assert_int_equal(k.runs, 1 + CANON_WAIT_TRIES);
    assert_int_equal(lab_number(&k.lab, PARKED), 1);
    /* Whoever brings the key again makes it try again. */
    k.blind = false;
    looking_country(&k, "P2", "{\"code\":\"pt\"}");
    lab_until(&k.lab, PARKED, 0);
    lab_close(&k.lab);
}

TEST(each_of_several_keys_is_enough)
{
    struct looking k;
    looking_open(&k, false);
    k.says = "{\"model\":\"Country\",\"key\":{\"code\":\"PT\",\"name\":\"Portugal\"}}";
    looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"PT\"}");
    assert_int_equal(lab_number(&k.lab, WAITING), 2);
    k.says = NULL;
    looking_country(&k, "P", "{\"name\":\"Portugal\"}");
    /* Its code is still unknown: the stage parks again, and waits for that alone. */
    lab_until(&k.lab, RESUMED, 1);
    lab_until(&k.lab, WAITING, 1);
    looking_country(&k, "P", "{\"name\":\"Portugal\",\"code\":\"PT\"}");
    lab_until(&k.lab, PARKED, 0);
    lab_close(&k.lab);
}

TEST(a_wait_that_names_nothing_is_the_scripts_fault)
{
    static const char *const wrong[] = {
        "{\"model\":\"Contry\",\"key\":{\"code\":\"PT\"}}",
        "{\"model\":\"Country\",\"key\":{\"colour\":\"red\"}}",
        "{\"model\":\"Country\",\"key\":\"PT\"}",
        "{\"model\":\"Country\"}",
        "{\"model\":7}",
    };
    struct looking k;
    looking_open(&k, false);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char id[8];
        snprintf(id, sizeof id, "%zu", i);
        k.says = wrong[i];
        assert_int_equal(looking_city(&k, id, "{\"name\":\"Porto\",\"in\":\"PT\"}"), CANON_FAILED);
    }
    k.says = "{\"hint\":\"a person shall see\"}";
    assert_int_equal(looking_city(&k, "p", "{\"name\":\"Porto\",\"in\":\"PT\"}"), CANON_PARKED);
    assert_int_equal(lab_number(&k.lab, WAITING), 0);
    lab_close(&k.lab);
}

TEST(what_is_erased_waits_no_more)
{
    struct looking k;
    looking_open(&k, false);
    looking_city(&k, "1", "{\"name\":\"Porto\"}");
    looking_city(&k, "1", "{\"name\":\"Porto\",\"in\":\"PT\"}");
    assert_int_equal(lab_number(&k.lab, WAITING), 1);
    assert_int_equal(lab_withdraw(&k.lab, "City", "a", "1", true), CANON_CANONIZED);
    assert_int_equal(lab_number(&k.lab, WAITING), 0);
    lab_close(&k.lab);
}

static int warm_up(void **state)
{
    struct looking k;
    (void)state;
    looking_open(&k, false);
    lab_close(&k.lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_waits_for_a_parent_goes_on_when_it_comes),
        HEAP_TEST(a_parent_of_the_same_model_is_waited_for_too),
        HEAP_TEST(a_chain_of_parents_unfolds_from_its_end),
        HEAP_TEST(what_became_due_before_a_restart_goes_on_behind_it),
        HEAP_TEST(a_key_that_came_while_the_stage_looked_is_not_missed),
        HEAP_TEST(a_stage_that_parks_whatever_there_is_is_left_for_a_person),
        HEAP_TEST(each_of_several_keys_is_enough),
        HEAP_TEST(a_wait_that_names_nothing_is_the_scripts_fault),
        HEAP_TEST(what_is_erased_waits_no_more),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
