/* A source record that is alone is the golden record, by whichever way: taken as it is, or decided
 * and checked. */
#include "support/unit.h"

#include <string.h>

#include "base/mem.h"
#include "support/canon_lab.h"

static const char *const model =
    "{\"name\":\"Person\",\"sources\":{\"erp\":{\"rank\":1},\"crm\":{\"rank\":2}},"
    "\"keys\":[{\"name\":\"tax\",\"parts\":[{\"field\":\"tax\"}]}],"
    "\"policy\":{\"tags\":{\"is\":\"union\"},\"limit\":{\"is\":\"manual\"}}}";

static void open_lab(struct canon_lab *lab, const char *name_options)
{
    char *entity = mem_printf(
        "{\"name\":\"Person\",\"fields\":{\"name\":{\"kind\":\"text\"%s},\"tax\":{\"kind\":"
        "\"text\"},"
        "\"age\":{\"kind\":\"int\"},\"tags\":{\"kind\":\"list\"},\"limit\":{\"kind\":\"int\"}}}",
        name_options);
    lab_open(lab, entity, model);
    mem_free(entity);
}

static enum canon_outcome arrive(struct canon_lab *lab, const char *source_id, const char *says)
{
    char id[257];
    return lab_arrive(lab, "Person", "erp", source_id, INT64_MIN, says, id);
}

static void assert_state(struct canon_lab *lab, const char *want)
{
    char *s = lab_state(lab, "Person");
    assert_string_equal(s, want);
    mem_free(s);
}

#define IN_ORDER "'{\"name\":\"Ana\",\"tax\":\"17\",\"age\":3}'"

TEST(it_is_kept_in_the_order_of_the_entity_and_in_normal_form)
{
    struct canon_lab lab;
    open_lab(&lab, "");
    assert_int_equal(arrive(&lab, "1", "{\"age\":3.0,\"tax\":\"17\",\"name\":\"Ana\"}"),
                     CANON_CANONIZED);
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_source WHERE fields = " IN_ORDER),
                     1);
    assert_int_equal(
        lab_number(&lab, "SELECT count(*) FROM canon_arrival WHERE changes = " IN_ORDER), 1);
    assert_state(&lab, "erp/1 => {\"age\":3,\"name\":\"Ana\",\"tax\":\"17\"}\n");
    lab_close(&lab);
}

TEST(the_same_said_in_another_order_changes_nothing)
{
    struct canon_lab lab;
    open_lab(&lab, "");
    assert_int_equal(arrive(&lab, "1", "{\"name\":\"Ana\",\"tax\":\"17\"}"), CANON_CANONIZED);
    for (int again = 0; again < 2; again++) {
        const char *says = again ? "{\"tax\":\"17\",\"name\":\"Ana\",\"age\":null}"
                                 : "{\"tax\":\"17\",\"name\":\"Ana\"}";
        int64_t said = lab_number(&lab, "SELECT said FROM canon_golden");
        lab_reopen(&lab);
        assert_int_equal(arrive(&lab, "1", says), CANON_NOOP);
        assert_int_equal(lab_number(&lab, "SELECT said FROM canon_golden"), said);
    }
    lab_close(&lab);
}

TEST(what_is_joined_or_wants_a_steward_is_decided_all_the_same)
{
    struct canon_lab lab;
    open_lab(&lab, "");
    arrive(&lab, "1", "{\"tax\":\"1\",\"tags\":[\"b\",\"a\",\"b\"]}");
    arrive(&lab, "2", "{\"tax\":\"2\",\"limit\":7}");
    arrive(&lab, "3", "{\"tax\":\"3\",\"name\":null}");
    assert_state(&lab, "erp/1 => {\"tags\":[\"a\",\"b\"],\"tax\":\"1\"}\n"
                       "erp/2 => {\"limit\":7,\"tax\":\"2\"}\n"
                       "erp/3 => {\"tax\":\"3\"}\n");
    assert_int_equal(lab_number(&lab, "SELECT count(*) FROM canon_golden WHERE readiness = 1"), 1);
    lab_close(&lab);
}

TEST(what_the_entity_adds_or_asks_for_is_not_passed_over)
{
    struct canon_lab lab;
    open_lab(&lab, ",\"default\":\"?\"");
    assert_int_equal(arrive(&lab, "1", "{\"tax\":\"1\"}"), CANON_CANONIZED);
    assert_state(&lab, "erp/1 => {\"name\":\"?\",\"tax\":\"1\"}\n");
    lab_close(&lab);
    open_lab(&lab, ",\"required\":true");
    assert_int_equal(arrive(&lab, "1", "{\"tax\":\"1\"}"), CANON_PARKED);
    assert_int_equal(arrive(&lab, "2", "{\"tax\":\"2\",\"name\":\"Ana\"}"), CANON_CANONIZED);
    lab_close(&lab);
}

/* What is made once: counters. */
static int warm_up(void **state)
{
    struct canon_lab lab;
    (void)state;
    open_lab(&lab, "");
    lab_close(&lab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(it_is_kept_in_the_order_of_the_entity_and_in_normal_form),
        HEAP_TEST(the_same_said_in_another_order_changes_nothing),
        HEAP_TEST(what_is_joined_or_wants_a_steward_is_decided_all_the_same),
        HEAP_TEST(what_the_entity_adds_or_asks_for_is_not_passed_over),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
