#include "app/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

enum { FAULTS_MAX = 64 << 10 };

static struct config *load(char *const *environment, const struct config_flag *flags, size_t count)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct config *c = NULL;
    struct config_sources s = {.environment = environment, .flags = flags, .flags_count = count};
    if (config_load(&s, &c, &faults) != 0)
        fail_msg("%s", buf_str(&faults));
    assert_int_equal(faults.len, 0);
    buf_fini(&faults);
    return c;
}

static char *refuse(char *const *environment, const struct config_flag *flags, size_t count)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct config *c = NULL;
    struct config_sources s = {.environment = environment, .flags = flags, .flags_count = count};
    assert_int_not_equal(config_load(&s, &c, &faults), 0);
    assert_null(c);
    return buf_take(&faults);
}

static void every_default_is_a_legal_value(void **state)
{
    (void)state;
    char *nothing[] = {NULL};
    struct config *c = load(nothing, NULL, 0);
    for (int i = 0; i < SET_COUNT; i++) {
        assert_string_equal(c->values[i].origin, "default");
        assert_true(config_is_default(c, (enum setting_id)i));
    }
    assert_int_equal(config_number(c, SET_LEDGER_TIMEOUT), 10000);
    assert_int_equal(config_number(c, SET_LEDGER_SEGMENT_BYTES), 64 << 20);
    config_free(c);
}

static void every_setting_is_found_by_name_flag_and_environment(void **state)
{
    (void)state;
    for (int i = 0; i < SET_COUNT; i++) {
        const struct setting *s = &settings_table[i];
        assert_int_equal(setting_find(s->name), i);
        assert_non_null(s->brief);
        assert_in_range(strlen(s->brief), 8, 56);
        if (s->flag != NULL)
            assert_int_equal(setting_find(s->flag), i);
        char *entry = mem_printf("KOAN_%s=%s", s->name, s->fallback);
        for (char *p = entry; *p != '='; p++)
            *p = *p == '.' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
        char *environment[] = {entry, NULL};
        struct config *c = load(environment, NULL, 0);
        assert_true(strncmp(c->values[i].origin, "environment KOAN_", 17) == 0);
        config_free(c);
        mem_free(entry);
    }
}

static void flags_win_over_the_environment(void **state)
{
    (void)state;
    char *environment[] = {(char *)"KOAN_LOG_LEVEL=warn", NULL};
    struct config_flag flags[] = {{"log-level", "error"}};
    struct config *c = load(environment, flags, 1);
    assert_string_equal(config_text(c, SET_LOG_LEVEL), "error");
    assert_string_equal(c->values[SET_LOG_LEVEL].origin, "flag --log-level");
    assert_int_equal(config_number(c, SET_LOG_LEVEL), 3);
    config_free(c);
}

static void all_faults_are_collected(void **state)
{
    (void)state;
    char *environment[] = {(char *)"KOAN_HTP_LISTEN=:1", (char *)"KOAN_LEDGER_KEEP=soon",
                           (char *)"KOAN_PORT_1=x", (char *)"PORT=http", NULL};
    struct config_flag flags[] = {{"http.threads", "65"}, {"scripts", NULL}};
    char *faults = refuse(environment, flags, 2);
    assert_non_null(strstr(faults, "did you mean KOAN_HTTP_LISTEN?"));
    assert_non_null(strstr(faults, "ledger.keep: 'soon'"));
    assert_non_null(strstr(faults, "http.threads: must be from 0 to 64"));
    assert_non_null(strstr(faults, "flag --scripts: needs a value"));
    assert_non_null(strstr(faults, "PORT: 'http' is no port"));
    assert_null(strstr(faults, "KOAN_PORT_1"));
    mem_free(faults);
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    char *environment[] = {(char *)"KOAN_TOKEN=abcdefghijklmnopqrst", NULL};
    struct config *c = load(environment, NULL, 0);
    assert_string_equal(config_text(c, SET_TOKEN), "abcdefghijklmnopqrst");
    assert_string_equal(config_shown(c, SET_TOKEN), "***");
    config_free(c);
}

static void a_short_token_is_refused(void **state)
{
    (void)state;
    char *environment[] = {(char *)"KOAN_TOKEN=short", NULL};
    char *faults = refuse(environment, NULL, 0);
    assert_non_null(strstr(faults, "16"));
    assert_null(strstr(faults, "short"));
    mem_free(faults);
}

static void addresses_have_many_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port; /* -1: none */
    } cases[] = {
        {"8090", "127.0.0.1", 8090}, {":80", "127.0.0.1", 80},
        {"0.0.0.0:0", "0.0.0.0", 0}, {"[::1]:65535", "::1", 65535},
        {"::1:80", "", -1},          {"127.0.0.1:65536", "", -1},
        {"127.0.0.1", "", -1},       {"", "", -1},
        {"localhost:x", "", -1},     {"localhost:7", "localhost", 7},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char host[64];
        uint16_t port = 0;
        bool ok = setting_address(cases[i].text, host, sizeof host, &port);
        assert_int_equal(ok, cases[i].port >= 0);
        if (ok) {
            assert_string_equal(host, cases[i].host);
            assert_int_equal(port, cases[i].port);
        }
    }
    assert_true(setting_is_loopback("127.8.9.1"));
    assert_true(setting_is_loopback("::1"));
    assert_false(setting_is_loopback("10.0.0.1"));
}

/* ---- layers that change while a node runs ---- */

static json_t *rows(const char *text)
{
    json_error_t e;
    json_t *all = json_loads(text, 0, &e), *v, *made = json_object();
    const char *key;
    assert_non_null(all);
    json_object_foreach(all, key, v)
    {
        json_object_set_new(made, key, json_pack("{s:O, s:s}", "value", v, "origin", "here"));
    }
    json_decref(all);
    return made;
}

static struct config *with(const struct config *base, enum config_layer layer, const char *text,
                           const char *fault)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    json_t *r = rows(text);
    struct config *c = config_with(base, layer, r, &faults);
    json_decref(r);
    if (fault == NULL)
        assert_string_equal(buf_str(&faults), "");
    else
        assert_non_null(strstr(buf_str(&faults), fault));
    buf_fini(&faults);
    return c;
}

static void a_layer_is_replaced_without_the_others(void **state) /* F1 */
{
    (void)state;
    char *environment[] = {(char *)"KOAN_DRAIN_TIMEOUT=3s", (char *)"KOAN_APP_RATE=4", NULL};
    struct config *base = load(environment, NULL, 0);
    struct config *remote =
        with(base, LAYER_REMOTE,
             "{\"log.level\": \"warn\", \"http.threads\": 3, \"drain.timeout\": \"1s\", "
             "\"app.rate\": 1, \"app.by\": \"remote\", \"flags.new\": true}",
             NULL);
    struct config *c =
        with(remote, LAYER_REPLICATED, "{\"log.level\": \"error\", \"app.by\": \"ledger\"}", NULL);
    assert_string_equal(config_text(c, SET_LOG_LEVEL), "error");
    assert_string_equal(c->values[SET_LOG_LEVEL].origin, "here");
    assert_int_equal(config_number(c, SET_HTTP_THREADS), 3);
    assert_string_equal(config_text(c, SET_DRAIN_TIMEOUT), "3s");
    assert_int_equal(json_integer_value(config_row_value(c, "app.rate")), 4);
    assert_string_equal(json_string_value(config_row_value(c, "app.by")), "ledger");
    assert_true(json_is_true(config_row_value(c, "flags.new")));
    assert_string_equal(json_string_value(json_object_get(c->origins, "app.rate")),
                        "environment KOAN_APP_RATE");
    struct config *gone = with(c, LAYER_REPLICATED, "{}", NULL);
    assert_string_equal(config_text(gone, SET_LOG_LEVEL), "warn");
    assert_string_equal(json_string_value(config_row_value(gone, "app.by")), "remote");
    config_free(gone);
    config_free(c);
    config_free(remote);
    config_free(base);
}

static void what_the_cluster_may_not_say_is_left_out_and_told(void **state)
{
    (void)state;
    char *nothing[] = {NULL};
    static const struct {
        const char *row, *fault;
    } cases[] = {
        {"{\"data\": \"/elsewhere\"}", "data: is needed before"},
        {"{\"http.listen\": \":1\"}", "http.listen: is needed before"},
        {"{\"log.levl\": \"info\"}", "did you mean 'log.level'?"},
        {"{\"log-level\": \"info\"}", "did you mean 'log.level'?"},
        {"{\"flag.new\": true}", "did you mean 'flags.new'?"},
        {"{\"log.level\": \"loud\"}", "is none of"},
        {"{\"http.threads\": true}", "a text or a whole number was expected"},
        {"{\"flags.new\": {\"percnt\": 5}}", "percnt"},
        {"{\"app.no good\": 1}", "app"},
        {"{\"lanes.no good\": {}}", "lane"},
        {"{\"lanes.bulk\": 3}", "lanes.bulk: {\"weight\": 4, \"cap\": 2} was expected"},
        {"{\"lanes.bulk\": {\"wieght\": 3}}", "did you mean 'weight'?"},
        {"{\"lanes.bulk\": {\"weight\": 0}}", "weight is a whole number, 1 to 1000"},
        {"{\"lanes.bulk\": {\"cap\": -1}}", "cap is a whole number"},
        {"{\"lanes.bulk.cap\": 0}", "a lane is set whole, as lanes.bulk"},
        {"{\"lane.bulk\": {}}", "did you mean 'lanes.bulk'?"},
        {"{\"http.allow\": \"{{secret:a#b}}\"}", "no vault"},
    };
    struct config *base = load(nothing, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = with(base, LAYER_REPLICATED, cases[i].row, cases[i].fault);
        for (int k = 0; k < SET_COUNT; k++)
            assert_string_equal(c->values[k].text, base->values[k].text);
        assert_int_equal(json_object_size(c->flags) + json_object_size(c->app), 0);
        assert_int_equal(json_object_size(c->lanes), 0);
        config_free(c);
    }
    config_free(base);
}

static void lane_is(const struct config_lane *l, const char *name, uint32_t weight, uint32_t cap)
{
    assert_string_equal(l->name, name);
    assert_int_equal(l->weight, weight);
    assert_int_equal(l->cap, cap);
}

static void the_last_layer_that_says_a_lane_says_all_of_it(void **state)
{
    (void)state;
    char *nothing[] = {NULL};
    struct config_lane lanes[CONFIG_LANES_MAX], below;
    struct config *base = load(nothing, NULL, 0);
    assert_int_equal(config_lanes(base, lanes), 0);
    struct config *remote =
        with(base, LAYER_REMOTE,
             "{\"lanes.bulk\": {\"weight\": 3, \"cap\": 0}, \"lanes.system\": {\"cap\": 2}}", NULL);
    struct config *c =
        with(remote, LAYER_REPLICATED, "{\"lanes.bulk\": {\"cap\": 9}, \"lanes.slow\": []}", NULL);
    assert_int_equal(config_lanes(c, lanes), 3);
    lane_is(&lanes[0], "bulk", 1, 9);
    lane_is(&lanes[1], "system", 8, 2);
    lane_is(&lanes[2], "slow", 1, UINT32_MAX);
    config_lane_below(c, "bulk", &below);
    lane_is(&below, "bulk", 3, 0);
    config_lane_below(c, "canon", &below);
    lane_is(&below, "canon", 4, UINT32_MAX);
    assert_int_equal(json_object_size(c->app) + json_object_size(c->flags), 0);
    config_free(c);
    config_free(remote);
    config_free(base);
}

static void what_is_not_live_waits_for_a_restart(void **state)
{
    (void)state;
    char *nothing[] = {NULL};
    struct config *base = load(nothing, NULL, 0);
    struct config *c =
        with(base, LAYER_REPLICATED, "{\"http.threads\": 5, \"log.level\": \"warn\"}", NULL);
    config_follow(c, base);
    assert_string_equal(config_text(c, SET_HTTP_THREADS), "0");
    assert_string_equal(c->pending[SET_HTTP_THREADS].text, "5");
    assert_string_equal(c->pending[SET_HTTP_THREADS].origin, "here");
    assert_string_equal(config_text(c, SET_LOG_LEVEL), "warn");
    assert_null(c->pending[SET_LOG_LEVEL].text);
    struct config *back = with(c, LAYER_REPLICATED, "{}", NULL);
    config_follow(back, c);
    assert_null(back->pending[SET_HTTP_THREADS].text);
    assert_string_equal(config_text(back, SET_HTTP_THREADS), "0");
    config_free(back);
    config_free(c);
    config_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_default_is_a_legal_value),
        cmocka_unit_test(every_setting_is_found_by_name_flag_and_environment),
        cmocka_unit_test(flags_win_over_the_environment),
        cmocka_unit_test(all_faults_are_collected),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(a_short_token_is_refused),
        cmocka_unit_test(addresses_have_many_forms),
        cmocka_unit_test(a_layer_is_replaced_without_the_others),
        cmocka_unit_test(the_last_layer_that_says_a_lane_says_all_of_it),
        cmocka_unit_test(what_the_cluster_may_not_say_is_left_out_and_told),
        cmocka_unit_test(what_is_not_live_waits_for_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
