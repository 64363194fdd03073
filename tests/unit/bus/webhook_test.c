#include "bus/webhook.h"

#include "base/buf.h"
#include "crypt/crypt.h"
#include "support/unit.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define OTHER "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static struct webhook_secret secret_of(const char *text)
{
    struct webhook_secret s;
    struct err e = ERR_INIT;
    if (webhook_secret_read(text, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

/* The vector of the libraries of Standard Webhooks (github.com/standard-webhooks/standard-webhooks,
 * libraries/javascript/src/webhook.test.ts). */
TEST(the_signature_is_that_of_standard_webhooks)
{
    static const char body[] = "{\"test\": 2432232314}";
    struct webhook_secret s = secret_of(SECRET);
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(1024);
    assert_int_equal(s.n, 24);
    assert_int_equal(webhook_sign(&s, 1, "msg_p5jXN8AQM9LWM0D4loKWxJek", INT64_C(1614265330999),
                                  body, strlen(body), &b, &e),
                     0);
    assert_string_equal(buf_str(&b),
                        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\n"
                        "webhook-timestamp: 1614265330\r\n"
                        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n");
    buf_fini(&b);
}

TEST(while_a_secret_is_replaced_each_has_its_signature)
{
    struct webhook_secret both[] = {secret_of(OTHER), secret_of(SECRET)};
    struct err e = ERR_INIT;
    struct buf two = BUF_INIT(1024), one = BUF_INIT(1024);
    assert_int_equal(webhook_sign(both, 2, "m", 0, "", 0, &two, &e), 0);
    assert_int_equal(webhook_sign(&both[1], 1, "m", 0, "", 0, &one, &e), 0);
    const char *signature = strstr(buf_str(&one), " v1,");
    assert_non_null(strstr(buf_str(&two), signature)); /* it is the last */
    assert_non_null(strstr(buf_str(&two), "webhook-signature: v1,"));
    assert_int_equal(two.len, one.len + 48);
    buf_fini(&two);
    buf_fini(&one);
}

TEST(a_secret_has_its_form_and_errors_do_not_show_it)
{
    static const char *const bad[] = {
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_?",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2L",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=",
        "whsec_"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    struct webhook_secret s;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = ERR_INIT;
        assert_refused(webhook_secret_read(bad[i], &s, &e), ERR_INVALID, "whsec_");
        assert_null(strstr(e.text, "MfKQ"));
    }
    s = secret_of(OTHER);
    webhook_secret_wipe(&s);
    assert_int_equal(s.n, 0);
}

TEST(what_would_make_two_messages_sign_alike_is_refused)
{
    struct webhook_secret s = secret_of(SECRET);
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(1024);
    static const char *const bad[] = {"", "a.1", "a b", "a\r\nx: y", "\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(webhook_sign(&s, 1, bad[i], 0, "", 0, &b, &e), ERR_INVALID, "webhook's id");
    assert_refused(webhook_sign(&s, 0, "a", 0, "", 0, &b, &e), ERR_INVALID, "1 to 4 secrets");
    assert_refused(webhook_sign(&s, 5, "a", 0, "", 0, &b, &e), ERR_INVALID, "1 to 4 secrets");
    assert_int_equal(b.len, 0);
    struct buf tiny = BUF_INIT(16);
    assert_refused(webhook_sign(&s, 1, "a", 0, "", 0, &tiny, &e), ERR_TOO_LARGE, "headers");
    buf_fini(&tiny);
    buf_fini(&b);
}

TEST(eight_tries_take_about_a_day_each_shifted_by_a_tenth_at_most)
{
    int64_t sum = 0;
    for (unsigned tries = 1; tries < WEBHOOK_TRIES; tries++) {
        int64_t plain = webhook_waits_ms[tries - 1], least = INT64_MAX, most = 0;
        for (uint64_t chance = 0; chance < 3000; chance++) {
            int64_t wait = webhook_wait(tries, chance * UINT64_C(0x9e3779b97f4a7c15));
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        assert_true(least >= plain * 9 / 10 && least < plain * 91 / 100);
        assert_true(most <= plain * 11 / 10 && most > plain * 109 / 100);
        sum += plain;
    }
    assert_int_equal(webhook_wait(WEBHOOK_TRIES, 0), -1);
    assert_int_equal(webhook_wait(WEBHOOK_TRIES + 1, 0), -1);
    assert_in_range(sum, 22 * 3600 * 1000, 26 * 3600 * 1000);
}

TEST(an_answer_is_the_end_or_a_reason_to_try_again)
{
    static const struct {
        int status;
        enum webhook_outcome outcome;
        bool failed;
    } cases[] = {
        {200, WEBHOOK_DONE, false},    {204, WEBHOOK_DONE, false},  {299, WEBHOOK_DONE, false},
        {410, WEBHOOK_DISABLE, false}, {0, WEBHOOK_RETRY, true},    {302, WEBHOOK_RETRY, false},
        {400, WEBHOOK_RETRY, false},   {401, WEBHOOK_RETRY, false}, {404, WEBHOOK_RETRY, false},
        {429, WEBHOOK_RETRY, true},    {500, WEBHOOK_RETRY, true},  {503, WEBHOOK_RETRY, true},
        {100, WEBHOOK_RETRY, false},   {599, WEBHOOK_RETRY, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct webhook_verdict v = webhook_judge(cases[i].status, NULL, 0);
        assert_int_equal(v.outcome, cases[i].outcome);
        assert_int_equal(v.failed, cases[i].failed);
        assert_int_equal(v.asked_ms, 0);
    }
}

TEST(a_wait_that_was_asked_for_is_kept_up_to_a_day)
{
    int64_t at = INT64_C(784111777000); /* of the date below */
    static const struct {
        int status;
        const char *value;
        int64_t before_ms, asked_ms;
    } cases[] = {
        {429, "120", 0, 120000},
        {503, "0", 0, 0},
        {503, "86399", 0, 86399000},
        {503, "86401", 0, WEBHOOK_ASKED_MAX_MS},
        {503, "99999999999999999999", 0, 0},
        {500, "120", 0, 0},
        {404, "120", 0, 0},
        {503, "Sun, 06 Nov 1994 08:49:37 GMT", 90000, 90000},
        {503, "Sun, 06 Nov 1994 08:49:37 GMT", -1, 0},
        {503, "Sun, 06 Nov 1994 08:49:37 GMT", INT64_C(999999999), WEBHOOK_ASKED_MAX_MS},
        {503, "Sun, 06 nov 1994 08:49:37 GMT", 90000, 0},
        {503, "Sun, 06 anF 1994 08:49:37 GMT", 90000, 0},
        {503, "Sun, 06 Nov 1994 24:49:37 GMT", 90000, 0},
        {503, "Sun, 06 Nov 1994 08:49:37 CET", 90000, 0},
        {503, "Sunday, 06-Nov-94 08:49:37 GMT", 90000, 0},
        {503, "soon", 0, 0},
        {503, "-5", 0, 0},
        {503, "", 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct webhook_verdict v =
            webhook_judge(cases[i].status, cases[i].value, at - cases[i].before_ms);
        assert_int_equal(v.outcome, WEBHOOK_RETRY);
        if (v.asked_ms != cases[i].asked_ms)
            fail_msg("%s: %lld", cases[i].value, (long long)v.asked_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_signature_is_that_of_standard_webhooks),
        HEAP_TEST(while_a_secret_is_replaced_each_has_its_signature),
        HEAP_TEST(a_secret_has_its_form_and_errors_do_not_show_it),
        HEAP_TEST(what_would_make_two_messages_sign_alike_is_refused),
        HEAP_TEST(eight_tries_take_about_a_day_each_shifted_by_a_tenth_at_most),
        HEAP_TEST(an_answer_is_the_end_or_a_reason_to_try_again),
        HEAP_TEST(a_wait_that_was_asked_for_is_kept_up_to_a_day),
    };
    if (crypt_start(NULL) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
