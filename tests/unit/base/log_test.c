#include "base/log.h"

#include <unistd.h>

#include "base/json.h"
#include "support/unit.h"

static int fds[2];
static char line[40000];

/* The line that was written, as it is. */
static const char *written(void)
{
    ssize_t n = read(fds[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    return line;
}

static int log_to_a_pipe(void **state)
{
    (void)state;
    return pipe(fds);
}

static void message_is(const char *want)
{
    struct err e = ERR_INIT;
    const char *text = written(), *msg;
    AUTO(json_unref) json_t *v = json_read(text, strlen(text), &e);
    if (v == NULL)
        fail_msg("%s: %s", text, e.text);
    assert_int_equal(json_get_string(v, "msg", &msg, NULL), 0);
    assert_string_equal(msg, want);
}

TEST(a_line_is_one_json_object)
{
    log_setup(LOG_INFO, true, fds[1]);
    log_warn("ledger", "segment %d is \"odd\"\nindex=%d", 5, 7);
    const char *text = written();
    assert_int_equal(text[strlen(text) - 1], '\n');
    AUTO(json_unref) json_t *v = json_read(text, strlen(text), NULL);
    assert_string_equal(json_string_value(json_object_get(v, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(v, "area")), "ledger");
    assert_string_equal(json_string_value(json_object_get(v, "msg")),
                        "segment 5 is \"odd\"\nindex=7");
    assert_int_equal(json_string_length(json_object_get(v, "time")), 24);
}

TEST(facts_are_an_object_of_the_line)
{
    AUTO(json_unref) json_t *facts = json_pack("{s:i, s:s}", "n", 7, "url", "http://u:pw@h/");
    log_setup(LOG_INFO, true, fds[1]);
    log_fields(LOG_INFO, "script", facts, "saved");
    const char *text = written();
    AUTO(json_unref) json_t *v = json_read(text, strlen(text), NULL);
    assert_int_equal(json_integer_value(json_path(v, "fields.n")), 7);
    assert_string_equal(json_string_value(json_path(v, "fields.url")), "http://u:***@h/");
    log_setup(LOG_INFO, false, fds[1]);
    log_fields(LOG_INFO, "script", facts, "saved");
    assert_non_null(strstr(written(), "saved n=7 url=\"http://u:***@h/\""));
    AUTO(mem_freep) char *big = mem_new(70000);
    memset(big, 'x', 69999);
    json_object_set_new(facts, "big", json_string(big));
    log_setup(LOG_INFO, true, fds[1]);
    log_fields(LOG_INFO, "script", facts, "saved");
    assert_non_null(strstr(written(), "\"fields\":{\"cut\":true}"));
    log_fields(LOG_INFO, "script", NULL, "alone");
    message_is("alone");
}

TEST(lines_below_the_level_are_not_written)
{
    enum log_level level;
    log_setup(LOG_WARN, true, fds[1]);
    log_info("a", "hidden");
    log_error("a", "shown");
    message_is("shown");
    assert_true(log_level_parse("debug", &level));
    log_set_level(level);
    log_debug("a", "shown too");
    message_is("shown too");
    assert_false(log_level_parse("loud", &level));
}

TEST(credentials_in_urls_are_masked)
{
    static const char *const pairs[][2] = {
        {"to amqp://user:se:cr@et@host:5672/v now", "to amqp://user:***@host:5672/v now"},
        {"https://token@host/path", "https://***@host/path"},
        {"redis://:pw@h and redis://:qw@h", "redis://:***@h and redis://:***@h"},
        {"http://host:80/a@b", "http://host:80/a@b"},
        {"http://host/a?u=x@y", "http://host/a?u=x@y"},
        {"pg://u:pa/ss@host/db", "pg://u:***@host/db"},
        {"\"s3://k:v@h\" tail@x", "\"s3://k:***@h\" tail@x"},
        {"nothing://", "nothing://"},
    };
    log_setup(LOG_INFO, true, fds[1]);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        log_info("a", "%s", pairs[i][0]);
        message_is(pairs[i][1]);
    }
}

TEST(a_secret_that_is_known_appears_in_no_line)
{
    AUTO(json_unref) json_t *facts = json_pack("{s:s}", "n", "x\"quoted secret\"y");
    log_setup(LOG_INFO, true, fds[1]);
    log_hide("swordfish");
    log_hide("\"quoted secret\"");
    log_hide("abc"); /* too short: it would hide half of everything */
    log_info("a", "the swordfish is abc in https://h/?q=swordfish");
    message_is("the *** is abc in https://h/?q=***");
    log_fields(LOG_INFO, "a", facts, "m");
    assert_non_null(strstr(written(), "{\"n\":\"x***y\"}"));
    log_forget_hidden();
    log_info("a", "swordfish");
    message_is("swordfish");
}

TEST(any_bytes_give_a_readable_line)
{
    log_setup(LOG_INFO, true, fds[1]);
    log_info("a", "x\xff\x01y");
    message_is("x?\x01y");
    log_info("a", "%6000d", 5);
    assert_int_equal(strlen(written()) > 4000, 1);
}

TEST(readable_lines_cannot_drive_the_terminal)
{
    log_setup(LOG_INFO, false, fds[1]);
    log_info("http", "a\x1b[2Jb");
    const char *text = written();
    assert_non_null(strstr(text, " info  http     a [2Jb\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_line_is_one_json_object),
        HEAP_TEST(facts_are_an_object_of_the_line),
        HEAP_TEST(lines_below_the_level_are_not_written),
        HEAP_TEST(credentials_in_urls_are_masked),
        HEAP_TEST(a_secret_that_is_known_appears_in_no_line),
        HEAP_TEST(any_bytes_give_a_readable_line),
        HEAP_TEST(readable_lines_cannot_drive_the_terminal),
    };
    return cmocka_run_group_tests(tests, log_to_a_pipe, NULL);
}
