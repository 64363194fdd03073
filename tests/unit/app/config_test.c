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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
