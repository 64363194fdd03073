#include "base/redact.h"

#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "support/unit.h"

static void becomes(const char *from, const char *want)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(1 << 16);
    redact_text(from, &out);
    assert_string_equal(buf_str(&out), want);
}

TEST(credentials_of_urls)
{
    becomes("to amqp://user:se:cr@et@host:5672/v now", "to amqp://user:***@host:5672/v now");
    becomes("https://token@host/path", "https://***@host/path");
    becomes("http://host:80/a@b", "http://host:80/a@b");
    becomes("pg://u:pa/ss@host/db", "pg://u:***@host/db");
    becomes("\"s3://k:v@h\" tail@x", "\"s3://k:***@h\" tail@x");
    becomes("nothing://", "nothing://");
}

TEST(signed_queries)
{
    becomes("GET https://b.s3/x?X-Amz-Date=2&X-Amz-Signature=ab12&X-Amz-Credential=AK%2F1&n=1 ok",
            "GET https://b.s3/x?X-Amz-Date=2&X-Amz-Signature=***&X-Amz-Credential=***&n=1 ok");
    becomes("https://a/?sv=1&sig=Zm9v%3D#x", "https://a/?sv=1&sig=***");
    becomes("/cb?access_token=abc&state=1", "/cb?access_token=***&state=1");
    becomes("u:p@h?api_key=1", "u:p@h?api_key=***");
    becomes("signal=5 designs=2 token count", "signal=5 designs=2 token count");
}

TEST(names_that_say_secret)
{
    becomes("db password=hunter2, user=me", "db password=***, user=me");
    becomes("password=\"a b c\" x", "password=\"***\" x");
    becomes("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***");
    becomes("client-secret = abc", "client-secret = abc");
    becomes("secret=", "secret=");
    becomes("the token: made at the start", "the token: made at the start");
}

TEST(json_stays_json)
{
    becomes("{\"password\":\"a\\\"b\",\"n\":1}", "{\"password\":\"***\",\"n\":1}");
    becomes("{\"token\": 12, \"secret\": null}", "{\"token\": \"***\", \"secret\": null}");
    becomes("{\"secret\":{\"password\":\"x\"}}", "{\"secret\":{\"password\":\"***\"}}");
    /* Inside a text of JSON, and once more inside that. */
    becomes("{\"m\":\"{\\\"apiKey\\\":\\\"k\\\",\\\"a\\\":1}\"}",
            "{\"m\":\"{\\\"apiKey\\\":\\\"***\\\",\\\"a\\\":1}\"}");
    becomes("\"{\\\\\\\"token\\\\\\\":\\\\\\\"k\\\\\\\"}\"",
            "\"{\\\\\\\"token\\\\\\\":\\\\\\\"***\\\\\\\"}\"");
    becomes("{\"u\":\"/?sig=\",\"m\":1}", "{\"u\":\"/?sig=\",\"m\":1}");
    becomes("{\"password\":\"cut off", "{\"password\":\"***");
}

TEST(headers)
{
    becomes("Authorization: Basic dTpw x\nnext", "Authorization: ***\nnext");
    becomes("\"authorization\":\"Bearer abc\"", "\"authorization\":\"***\"");
    becomes("Cookie: a=b; c=d", "Cookie: ***");
    becomes("sent Bearer abcdefgh.ijk, then", "sent Bearer ***, then");
    becomes("a Bearer of news", "a Bearer of news");
}

TEST(known_secrets_wherever_they_stand)
{
    const struct str secrets[] = {STR("s3cret!"), STR("s3cret!long"), STR("abc"), STR("")};
    AUTO(buf_fini) struct buf out = BUF_INIT(1000);
    redact_secrets("xs3cret!y s3cret!long abc s3cret", secrets, 4, &out);
    assert_string_equal(buf_str(&out), "x***y *** abc s3cret");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(credentials_of_urls),
        HEAP_TEST(signed_queries),
        HEAP_TEST(names_that_say_secret),
        HEAP_TEST(json_stays_json),
        HEAP_TEST(headers),
        HEAP_TEST(known_secrets_wherever_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
