#include "bind/flag.h"

#include <stdio.h>
#include <string.h>

#include "support/unit.h"

static bool on(const char *def, const char *name, const char *key, const char *tenant,
               const char *labels)
{
    AUTO(json_unref) json_t *d = json_read(def, strlen(def), NULL);
    AUTO(json_unref) json_t *l = json_read(labels, strlen(labels), NULL);
    AUTO(json_unref) json_t *all = json_pack("{s:O}", name, d);
    struct err e = ERR_INIT;
    if (flags_check(all, &e) != 0)
        fail_msg("%s", e.text);
    struct flag_ask ask = {.key = key, .tenant = tenant, .labels = l};
    return flag_is_on(name, d, &ask);
}

TEST(a_flag_is_on_or_off_for_everybody)
{
    assert_true(on("true", "f", NULL, NULL, "{}"));
    assert_false(on("false", "f", NULL, NULL, "{}"));
    assert_true(on("{\"on\": true}", "f", NULL, NULL, "{}"));
    assert_false(on("{\"on\": false, \"percent\": 100}", "f", "k", NULL, "{}"));
}

TEST(tenants_and_labels_choose)
{
    const char *tenants = "{\"tenants\": [\"acme\", \"beta\"]}";
    assert_true(on(tenants, "f", NULL, "beta", "{}"));
    assert_false(on(tenants, "f", NULL, "other", "{}"));
    const char *labels = "{\"labels\": {\"plan\": [\"pro\", \"team\"], \"region\": \"eu\"}}";
    assert_true(on(labels, "f", NULL, "t", "{\"plan\": \"team\", \"region\": \"eu\"}"));
    assert_false(on(labels, "f", NULL, "t", "{\"plan\": \"team\", \"region\": \"us\"}"));
    assert_false(on(labels, "f", NULL, "t", "{\"plan\": \"team\"}"));
    assert_true(on("{\"on\": true, \"tenants\": \"acme\"}", "f", NULL, "acme", "{}"));
    assert_false(on("{\"on\": true, \"tenants\": \"acme\"}", "f", NULL, "beta", "{}"));
}

static int count_on(const char *name, int percent, bool *was, size_t n)
{
    char def[64], key[32];
    int count = 0;
    snprintf(def, sizeof def, "{\"percent\": %d}", percent);
    for (size_t i = 0; i < n; i++) {
        snprintf(key, sizeof key, "customer-%zu", i);
        bool is = on(def, name, key, NULL, "{}");
        if (was[i] && !is)
            fail_msg("%s lost the flag when the percentage grew", key);
        was[i] = is;
        count += is;
    }
    return count;
}

TEST(a_percentage_is_stable_and_only_grows)
{
    static bool was[2000], other[2000];
    memset(was, 0, sizeof was);
    memset(other, 0, sizeof other);
    assert_int_equal(count_on("f", 0, was, 2000), 0);
    assert_in_range(count_on("f", 20, was, 2000), 320, 480);
    assert_in_range(count_on("f", 50, was, 2000), 880, 1120);
    count_on("g", 50, other, 2000);
    int same = 0;
    for (size_t i = 0; i < 2000; i++)
        same += was[i] == other[i];
    assert_in_range(same, 850, 1150); /* two flags choose independently */
    assert_int_equal(count_on("f", 100, was, 2000), 2000);
    /* Pinned: another hash would shuffle everybody who has a flag now. */
    assert_true(on("{\"percent\": 97.60}", "new-price", "cust-7", NULL, "{}") !=
                on("{\"percent\": 97.59}", "new-price", "cust-7", NULL, "{}"));
}

TEST(bad_definitions_name_the_flag)
{
    static const struct {
        const char *flags, *words;
    } bad[] = {
        {"{\"a\": 5}", "flags.a"},
        {"{\"a\": {\"percnt\": 5}}", "percent"},
        {"{\"a\": {\"percent\": 101}}", "0 to 100"},
        {"{\"a\": {\"tenants\": 1}}", "tenants"},
        {"{\"a\": {\"labels\": {}}}", "labels"},
        {"{\"a\": {\"labels\": {\"x\": [1]}}}", "flags.a: x"},
        {"{\"a\": {\"on\": 1}}", "true or false"},
        {"[1]", "flags"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(json_unref) json_t *v = json_read(bad[i].flags, strlen(bad[i].flags), NULL);
        struct err e = ERR_INIT;
        assert_refused(flags_check(v, &e), ERR_INVALID, bad[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_flag_is_on_or_off_for_everybody),
        HEAP_TEST(tenants_and_labels_choose),
        HEAP_TEST(a_percentage_is_stable_and_only_grows),
        HEAP_TEST(bad_definitions_name_the_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
