/* The vectors are the examples of the CloudEvents specification 1.0.2
 * (github.com/cloudevents/spec): "json-format.md" sections 3.2 and 4.3, each with what the text
 * gives for it in binary mode, and the header value of "http-protocol-binding.md" section 3.1.3.2.
 */
#include "codec/cloudevents.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "support/unit.h"

enum { HEADERS = 80, ARENA = 32 << 20 };

static struct arena arena;

static int setup(void **state)
{
    arena_init(&arena, ARENA);
    return unit_before(state);
}

static int teardown(void **state)
{
    arena_fini(&arena);
    return unit_after(state);
}

/* "name: value" lines become headers; the text is cut. */
static size_t headers_of(char *lines, struct cloudevent_header out[HEADERS])
{
    size_t n = 0;
    for (char *line = lines, *end; *line != '\0'; line = end) {
        end = line + strcspn(line, "\r\n");
        end += *end != '\0' ? (size_t)(*end == '\r') + 1 : 0;
        char *colon = strchr(line, ':');
        assert_non_null(colon);
        assert_true(n < HEADERS);
        *colon = '\0';
        out[n].name = line;
        out[n++].value = colon + 1 + (colon[1] == ' ');
        line[strcspn(line, "\r\n")] = '\0';
        colon[1 + strcspn(colon + 1, "\r\n")] = '\0';
    }
    return n;
}

static int read_event(const char *lines, const char *body, struct cloudevents *out, struct err *e)
{
    struct cloudevent_header headers[HEADERS];
    char *copy = arena_strndup(&arena, lines, strlen(lines));
    size_t n = headers_of(copy, headers);
    return cloudevents_read(headers, n, body, strlen(body), &arena, out, e);
}

static struct cloudevent must_read(const char *lines, const char *body)
{
    struct cloudevents got;
    struct err e = ERR_INIT;
    if (read_event(lines, body, &got, &e) != 0)
        fail_msg("%s: %s", e.field, e.text);
    assert_int_equal(got.count, 1);
    return got.events[0];
}

static struct cloudevent structured(const char *json)
{
    return must_read("Content-Type: application/cloudevents+json\n", json);
}

static char *in_binary(const struct cloudevent *ev)
{
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    if (cloudevent_write_headers(ev, &b, &e) != 0)
        fail_msg("%s", e.text);
    char *copy = arena_strndup(&arena, buf_str(&b), b.len);
    buf_fini(&b);
    return copy;
}

static char *in_json(const struct cloudevent *ev)
{
    struct buf b = BUF_INIT(16 << 20);
    struct err e = ERR_INIT;
    if (cloudevent_write(ev, &b, &e) != 0)
        fail_msg("%s", e.text);
    char *copy = arena_strndup(&arena, buf_str(&b), b.len);
    buf_fini(&b);
    return copy;
}

static void assert_same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void assert_same(const struct cloudevent *a, const struct cloudevent *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->source, b->source);
    assert_string_equal(a->type, b->type);
    assert_same_text(a->subject, b->subject);
    assert_same_text(a->time, b->time);
    assert_same_text(a->datacontenttype, b->datacontenttype);
    assert_same_text(a->dataschema, b->dataschema);
    assert_int_equal(a->extension_count, b->extension_count);
    for (size_t i = 0; i < a->extension_count; i++) {
        assert_string_equal(a->extensions[i].name, b->extensions[i].name);
        assert_string_equal(a->extensions[i].value, b->extensions[i].value);
    }
    assert_int_equal(a->data_n, b->data_n);
    assert_memory_equal(a->data_n > 0 ? a->data : "", b->data_n > 0 ? b->data : "", a->data_n);
}

/* Through each mode, it stays what it is. */
static void assert_survives(const struct cloudevent *ev)
{
    char *body = arena_try(&arena, ev->data_n + 1);
    memcpy(body, ev->data_n > 0 ? ev->data : "", ev->data_n);
    body[ev->data_n] = '\0';
    struct cloudevent binary = must_read(in_binary(ev), body);
    assert_same(ev, &binary);
    struct cloudevent json = structured(in_json(ev));
    assert_same(ev, &json);
    assert_int_equal(ev->has_data, json.has_data);
}

/* ---- What the specification shows ---- */

#define COMMON "\"specversion\" : \"1.0\", \"type\" : \"com.example.someevent\", "
#define AFTER                                                                                      \
    "\"time\" : \"2018-04-05T17:31:00Z\", \"comexampleextension1\" : \"value\", "                  \
    "\"comexampleothervalue\" : 5, "

struct example {
    const char *json, *id, *type, *data;
    const char *again; /* members of the data in our JSON */
};

static const struct example examples[] = {
    {"{" COMMON "\"source\" : \"/mycontext\", \"id\" : \"A234-1234-1234\", " AFTER
     "\"datacontenttype\" : \"application/vnd.apache.thrift.binary\", "
     "\"data_base64\" : \"AP8Q\"}",
     "A234-1234-1234", "application/vnd.apache.thrift.binary", NULL, "\"data_base64\":\"AP8Q\""},
    {"{" COMMON "\"source\" : \"/mycontext\", \"id\" : \"B234-1234-1234\", " AFTER
     "\"unsetextension\": null, \"datacontenttype\" : \"application/xml\", "
     "\"data\" : \"<much wow=\\\"xml\\\"/>\"}",
     "B234-1234-1234", "application/xml", "<much wow=\"xml\"/>",
     "\"data\":\"<much wow=\\\"xml\\\"/>\""},
    {"{" COMMON
     "\"source\" : \"/mycontext\", \"subject\": null, \"id\" : \"C234-1234-1234\", " AFTER
     "\"datacontenttype\" : \"application/json\", "
     "\"data\" : { \"appinfoA\" : \"abc\", \"appinfoB\" : 123, \"appinfoC\" : true }}",
     "C234-1234-1234", "application/json",
     "{\"appinfoA\":\"abc\",\"appinfoB\":123,\"appinfoC\":true}",
     "\"data\":{\"appinfoA\":\"abc\",\"appinfoB\":123,\"appinfoC\":true}"},
    {"{" COMMON
     "\"source\" : \"/mycontext\", \"subject\": null, \"id\" : \"D234-1234-1234\", " AFTER
     "\"data\" : \"I'm just a string\"}",
     "D234-1234-1234", "application/json", "\"I'm just a string\"",
     "\"data\":\"I'm just a string\""},
};

TEST(the_examples_of_the_json_format_are_read_and_become_their_binary_forms)
{
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const struct example *x = &examples[i];
        struct cloudevent ev = structured(x->json);
        char want[512];
        snprintf(want, sizeof(want),
                 "ce-specversion: 1.0\r\nce-id: %s\r\nce-source: /mycontext\r\n"
                 "ce-type: com.example.someevent\r\nce-time: 2018-04-05T17:31:00Z\r\n"
                 "ce-comexampleextension1: value\r\nce-comexampleothervalue: 5\r\n"
                 "Content-Type: %s\r\n",
                 x->id, x->type);
        assert_string_equal(in_binary(&ev), want);
        assert_null(ev.subject);
        if (x->data != NULL)
            assert_string_equal(ev.data, x->data);
        else
            assert_memory_equal(ev.data, "\x00\xff\x10", 3);
        assert_non_null(strstr(in_json(&ev), x->again));
        assert_non_null(strstr(in_json(&ev), "\"comexampleothervalue\":5,"));
        struct cloudevent json = structured(in_json(&ev));
        assert_same(&ev, &json);
        if (x->data != NULL)
            assert_survives(&ev);
    }
}

TEST(the_example_of_a_batch_is_read_and_written)
{
    static const char *const batch =
        "[{" COMMON "\"source\" : \"/mycontext/4\", \"id\" : \"B234-1234-1234\", " AFTER
        "\"datacontenttype\" : \"application/vnd.apache.thrift.binary\", "
        "\"data_base64\" : \"AAEC\"}, "
        "{\"specversion\" : \"1.0\", \"type\" : \"com.example.someotherevent\", "
        "\"source\" : \"/mycontext/9\", \"id\" : \"C234-1234-1234\", " AFTER
        "\"datacontenttype\" : \"application/json\", \"data\" : {\"appinfoA\" : \"abc\"}}]";
    static const char *const type = "content-type: application/cloudevents-batch+json\n";
    struct cloudevents got, again;
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    assert_int_equal(read_event(type, batch, &got, &e), 0);
    assert_int_equal(got.mode, CLOUDEVENT_BATCH);
    assert_int_equal(got.count, 2);
    assert_string_equal(got.events[1].source, "/mycontext/9");
    assert_int_equal(cloudevent_write_batch(got.events, got.count, &b, &e), 0);
    assert_int_equal(read_event(type, buf_str(&b), &again, &e), 0);
    for (size_t i = 0; i < 2; i++)
        assert_same(&got.events[i], &again.events[i]);
    assert_int_equal(read_event(type, "[]", &got, &e), 0);
    assert_int_equal(got.count, 0);
    buf_reset(&b);
    assert_int_equal(cloudevent_write_batch(NULL, 0, &b, &e), 0);
    assert_string_equal(buf_str(&b), "[]");
    buf_fini(&b);
}

#define LINES "ce-specversion: 1.0\nce-type: t\nce-id: 1\nce-source: /s\n"

TEST(header_values_are_percent_encoded_as_the_binding_shows)
{
    struct cloudevent ev = {.id = "1", .source = "/s", .type = "t"};
    ev.subject = "Euro \xe2\x82\xac \xf0\x9f\x98\x80";
    char *lines = in_binary(&ev);
    assert_non_null(strstr(lines, "ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80\r\n"));
    struct cloudevent again = must_read(lines, "");
    assert_string_equal(again.subject, ev.subject);
    ev.subject = "100% \"sure\"";
    assert_non_null(strstr(in_binary(&ev), "ce-subject: 100%25%20%22sure%22\r\n"));
}

TEST(header_values_may_be_quoted_and_needlessly_encoded)
{
    struct cloudevent ev = must_read(LINES "CE-Subject:  \"a \\\"b\\\" %e2%82%ac\" \n", "");
    assert_string_equal(ev.subject, "a \"b\" \xe2\x82\xac");
    ev = must_read(LINES "ce-subject: %61bc\n", "");
    assert_string_equal(ev.subject, "abc");
    ev = must_read(LINES "ce-subject: a \"b c\" d\n", "");
    assert_string_equal(ev.subject, "a b c d");
}

TEST(names_of_headers_are_in_either_case_and_others_are_not_looked_at)
{
    struct cloudevent ev =
        must_read("Host: example.com\nCE-SPECVERSION: 1.0\nCe-Type: t\nce-ID: 1\n"
                  "cE-Source: /s\nCE-MyExt: 7\nx-other: ce-id\n"
                  "CONTENT-TYPE: text/plain; charset=UTF-8\n",
                  "hello");
    assert_string_equal(ev.datacontenttype, "text/plain; charset=UTF-8");
    assert_int_equal(ev.extension_count, 1);
    assert_string_equal(ev.extensions[0].name, "myext");
    assert_string_equal(ev.extensions[0].value, "7");
    assert_string_equal(ev.data, "hello");
    assert_survives(&ev);
    ev = must_read(LINES "Content-Type: application/json\n", "");
    assert_false(ev.has_data);
}

/* ---- Data in the JSON format ---- */

TEST(what_is_neither_json_nor_text_is_base64)
{
    struct cloudevent ev = {.id = "1", .source = "/s", .type = "t", .has_data = true};
    static const struct {
        const char *type, *data, *want;
    } cases[] = {
        {"text/plain", "gr\xc3\xbc\xc3\x9f", "\"data\":\"gr\xc3\xbc\xc3\x9f\""},
        {"text/plain", "gr\xfc\xdf", "\"data_base64\":\"Z3L83w==\""},
        {"text/plain; charset=iso-8859-1", "abc", "\"data_base64\":\"YWJj\""},
        {"text/plain; charset=\"utf-8\"", "abc", "\"data\":\"abc\""},
        {"application/xml", "<a/>", "\"data\":\"<a/>\""},
        {"image/svg+xml", "<svg/>", "\"data\":\"<svg/>\""},
        {"image/png", "abc", "\"data_base64\":\"YWJj\""},
        {NULL, "abc", "\"data_base64\":\"YWJj\""},
        {"application/json", "[1,2]", "\"data\":[1,2]"},
        {"Application/Problem+JSON; q=1", "null", "\"data\":null"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ev.datacontenttype = cases[i].type;
        ev.data = cases[i].data;
        ev.data_n = strlen(cases[i].data);
        if (strstr(in_json(&ev), cases[i].want) == NULL)
            fail_msg("no %s in %s", cases[i].want, in_json(&ev));
        assert_survives(&ev);
    }
    ev.datacontenttype = "text/plain";
    ev.data = "a\0b";
    ev.data_n = 3;
    assert_non_null(strstr(in_json(&ev), "\"data_base64\":\"YQBi\""));
    ev.data_n = 0;
    assert_non_null(strstr(in_json(&ev), "\"data\":\"\""));
    struct cloudevent again = structured(in_json(&ev));
    assert_true(again.has_data);
    assert_int_equal(again.data_n, 0);
}

TEST(json_too_deep_for_an_envelope_is_base64)
{
    char data[2 * JSON_DEPTH_MAX + 1] = "";
    struct cloudevent ev = {.id = "1", .source = "/s", .type = "t", .has_data = true};
    ev.datacontenttype = "application/json";
    ev.data = data;
    for (size_t depth = JSON_DEPTH_MAX - 3; depth <= JSON_DEPTH_MAX; depth++) {
        memset(data, '[', depth);
        memset(data + depth, ']', depth);
        ev.data_n = 2 * depth;
        data[ev.data_n] = '\0';
        bool plain = strstr(in_json(&ev), "\"data\":") != NULL;
        assert_int_equal(plain, depth <= JSON_DEPTH_MAX - 2);
        assert_survives(&ev);
    }
}

TEST(extensions_keep_their_kinds_in_json)
{
    struct cloudevent ev = structured("{" COMMON "\"source\":\"/s\",\"id\":\"1\",\"a\":-2147483648,"
                                      "\"b\":false,\"c\":\"true\",\"d\":\"\"}");
    assert_non_null(
        strstr(in_json(&ev), "\"a\":-2147483648,\"b\":false,\"c\":\"true\",\"d\":\"\""));
    assert_survives(&ev);
    /* The one `true` of the JSON library is not taken for the data. */
    ev = structured("{" COMMON "\"source\":\"/s\",\"id\":\"1\",\"a\":true,\"data\":true}");
    assert_int_equal(ev.extension_count, 1);
    assert_string_equal(ev.data, "true");
}

/* ---- What is refused ---- */

struct refusal {
    const char *lines, *body;
    int code;
    const char *field, *words;
};

static void assert_all_refused(const struct refusal *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cloudevents got;
        struct err e = ERR_INIT;
        int rc = read_event(list[i].lines, list[i].body, &got, &e);
        if (rc != list[i].code || strcmp(e.field, list[i].field) != 0 ||
            strstr(e.text, list[i].words) == NULL)
            fail_msg("case %zu: %d '%s' %s", i, rc, e.field, e.text);
        arena_reset(&arena);
    }
}

TEST(a_binary_event_that_is_none_is_refused_by_its_attribute) /* R1 */
{
    static const struct refusal list[] = {
        {"", "", ERR_INVALID, "specversion", "is missing"},
        {"ce-specversion: 0.3\n", "", ERR_INVALID, "specversion", "send 1.0"},
        {LINES "ce-specversion: 1.0\n", "", ERR_INVALID, "specversion", "twice"},
        {"ce-specversion: 1.0\nce-id: 1\nce-type: t\n", "", ERR_INVALID, "source", "is missing"},
        {"ce-specversion: 1.0\nce-id: 1\nce-source: /s\n", "", ERR_INVALID, "type", "is missing"},
        {"ce-specversion: 1.0\nce-id: \nce-source: /s\nce-type: t\n", "", ERR_INVALID, "id",
         "is empty"},
        {LINES "ce-id: 2\n", "", ERR_INVALID, "id", "twice"},
        {LINES "ce-x: 2\nCE-X: 2\n", "", ERR_INVALID, "x", "twice"},
        {LINES "ce-my-ext: 2\n", "", ERR_INVALID, "my-ext", "a-z and 0-9"},
        {LINES "ce-: 2\n", "", ERR_INVALID, "", "a-z and 0-9"},
        {LINES "ce-data: 2\n", "", ERR_INVALID, "data", "not 'data'"},
        {LINES "ce-datacontenttype: a/b\n", "", ERR_INVALID, "datacontenttype", "Content-Type"},
        {LINES "ce-time: 2026-01-31\n", "", ERR_INVALID, "time", "RFC 3339"},
        {LINES "ce-time: 2026-01-31%2010:00:00Z\n", "", ERR_INVALID, "time", "RFC 3339"},
        {LINES "ce-time: yesterday\n", "", ERR_INVALID, "time", "RFC 3339"},
        {LINES "ce-dataschema: /relative\n", "", ERR_INVALID, "dataschema", "absolute URI"},
        {LINES "ce-subject: \n", "", ERR_INVALID, "subject", "leave it out"},
        {LINES "ce-subject: 100%\n", "", ERR_INVALID, "subject", "is %25"},
        {LINES "ce-subject: %zz\n", "", ERR_INVALID, "subject", "is %25"},
        {LINES "ce-subject: a%00b\n", "", ERR_INVALID, "subject", "is %25"},
        {LINES "ce-subject: \"open\n", "", ERR_INVALID, "subject", "not closed"},
        {LINES "ce-subject: %C0%A0\n", "", ERR_INVALID, "subject", "not UTF-8"},
        {LINES "ce-subject: a%0D%0Ab\n", "", ERR_INVALID, "subject", "U+000D"},
        {LINES "ce-subject: %C2%80\n", "", ERR_INVALID, "subject", "U+0080"},
        {LINES "ce-subject: %EF%BF%BF\n", "", ERR_INVALID, "subject", "U+FFFF"},
        {LINES "ce-subject: %F0%9F%BF%BE\n", "", ERR_INVALID, "subject", "U+1FFFE"},
        {LINES "Content-Type: json\n", "1", ERR_INVALID, "datacontenttype", "media type"},
        {LINES "Content-Type: a/b c\n", "1", ERR_INVALID, "datacontenttype", "media type"},
        {LINES "Content-Type: a/b\nContent-Type: a/b\n", "", ERR_INVALID, "Content-Type", "twice"},
        {LINES "Content-Type: application/json\n", "{", ERR_INVALID, "data", "not the JSON"},
        {LINES "Content-Type: application/cloudevents+avro\n", "", ERR_MEDIA_TYPE, "Content-Type",
         "cloudevents+json"},
        {"Content-Type: application/cloudevents+json; charset=utf-16\n", "{}", ERR_MEDIA_TYPE,
         "Content-Type", "UTF-8"},
    };
    assert_all_refused(list, ARRAY_LEN(list));
}

TEST(a_json_event_that_is_none_is_refused_by_its_attribute) /* R1 */
{
#define JSON_TYPE "Content-Type: application/cloudevents+json\n"
#define BATCH_TYPE "Content-Type: application/cloudevents-batch+json\n"
#define EVENT "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""
    static const struct refusal list[] = {
        {JSON_TYPE, "", ERR_INVALID, "", "empty"},
        {JSON_TYPE, "[]", ERR_INVALID, "", "must be an object"},
        {JSON_TYPE, "{}", ERR_INVALID, "specversion", "is missing"},
        {JSON_TYPE, "{" EVENT ",\"id\":\"2\"}", ERR_INVALID, "", "duplicate"},
        {JSON_TYPE, "{\"specversion\":1.0}", ERR_INVALID, "specversion", "must be a string"},
        {JSON_TYPE, "{" EVENT ",\"subject\":5}", ERR_INVALID, "subject", "must be a string"},
        {JSON_TYPE, "{" EVENT ",\"Ext\":5}", ERR_INVALID, "Ext", "a-z and 0-9"},
        {JSON_TYPE, "{" EVENT ",\"ext\":5.5}", ERR_INVALID, "ext", "a fraction"},
        {JSON_TYPE, "{" EVENT ",\"ext\":2147483648}", ERR_INVALID, "ext", "32 bits"},
        {JSON_TYPE, "{" EVENT ",\"ext\":{}}", ERR_INVALID, "ext", "belongs into data"},
        {JSON_TYPE, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":null,\"type\":\"t\"}",
         ERR_INVALID, "source", "is missing"},
        {JSON_TYPE, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"a b\",\"type\":\"t\"}",
         ERR_INVALID, "source", "URI reference"},
        {JSON_TYPE, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"a#b#c\",\"type\":\"t\"}",
         ERR_INVALID, "source", "URI reference"},
        {JSON_TYPE, "{" EVENT ",\"data\":1,\"data_base64\":\"\"}", ERR_INVALID, "data_base64",
         "not both"},
        {JSON_TYPE, "{" EVENT ",\"data_base64\":1}", ERR_INVALID, "data_base64", "a string"},
        {JSON_TYPE, "{" EVENT ",\"data_base64\":\"A\"}", ERR_INVALID, "data_base64", "multiple"},
        {JSON_TYPE, "{" EVENT ",\"data\":1,\"datacontenttype\":\"text/plain\"}", ERR_INVALID,
         "data", "must be a string"},
        {JSON_TYPE, "{" EVENT ",\"data_base64\":\"ew==\",\"datacontenttype\":\"a/json\"}",
         ERR_INVALID, "data", "not the JSON"},
        {BATCH_TYPE, "{}", ERR_INVALID, "", "must be an array"},
        {BATCH_TYPE, "[{" EVENT "},{" EVENT ",\"time\":\"x\"}]", ERR_INVALID, "[1].time",
         "event 1 of the batch"},
        {BATCH_TYPE, "[7]", ERR_INVALID, "[0]", "must be an object"},
    };
    assert_all_refused(list, ARRAY_LEN(list));
}

TEST(what_is_over_a_limit_is_refused)
{
    struct err e = ERR_INIT;
    struct cloudevents got;
    struct buf b = BUF_INIT(64 << 20);
    for (int i = 0; i <= CLOUDEVENT_EXTENSIONS_MAX; i++)
        buf_addf(&b, "ce-x%d: 1\n", i);
    buf_adds(&b, LINES);
    assert_refused(read_event(buf_str(&b), "", &got, &e), ERR_TOO_LARGE, "at most 56");
    buf_reset(&b);
    buf_adds(&b, LINES "ce-subject: ");
    for (int i = 0; i < CLOUDEVENT_ATTRIBUTES_BYTES; i++)
        buf_addc(&b, 'x');
    buf_addc(&b, '\n');
    assert_refused(read_event(buf_str(&b), "", &got, &e), ERR_TOO_LARGE, "at most 16384");
    buf_reset(&b);
    buf_adds(&b, LINES "ce-");
    for (int i = 0; i <= CLOUDEVENT_NAME_MAX; i++)
        buf_addc(&b, 'x');
    buf_adds(&b, ": 1\n");
    assert_refused(read_event(buf_str(&b), "", &got, &e), ERR_INVALID, "at most 64");
    buf_reset(&b);
    buf_addc(&b, '[');
    for (int i = 0; i <= CLOUDEVENT_BATCH_MAX; i++)
        buf_adds(&b, i == 0 ? "{" EVENT "}" : ",{" EVENT "}");
    buf_addc(&b, ']');
    assert_refused(read_event(BATCH_TYPE, buf_str(&b), &got, &e), ERR_TOO_LARGE, "at most 1000");
    buf_reset(&b);
    for (int i = 0; i <= CLOUDEVENT_DATA_MAX; i++)
        buf_addc(&b, 'x');
    assert_refused(read_event(LINES, buf_str(&b), &got, &e), ERR_TOO_LARGE, "at most 4194304");
    struct arena small;
    struct cloudevent_header h[] = {{"content-type", "application/cloudevents+json"}};
    arena_init(&small, 64);
    const char *body = "{" EVENT "}";
    assert_refused(cloudevents_read(h, 1, body, strlen(body), &small, &got, &e), ERR_TOO_LARGE,
                   "too large");
    assert_refused(cloudevents_read(h, 1, body, CLOUDEVENT_BODY_MAX + 1, &small, &got, &e),
                   ERR_TOO_LARGE, "at most 10485760");
    arena_fini(&small);
    buf_fini(&b);
}

TEST(nothing_is_written_that_is_no_event)
{
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(1 << 20);
    struct cloudevent_extension x[] = {{"ext", "1\r\nset-cookie: x", CLOUDEVENT_TEXT},
                                       {"n", "007", CLOUDEVENT_INT},
                                       {"n", "yes", CLOUDEVENT_BOOL},
                                       {"id", "2", CLOUDEVENT_TEXT}};
    struct cloudevent ev = {.id = "1", .source = "/s", .type = "t", .extension_count = 1};
    static const char *const words[] = {"U+000D", "32 bits", "true or false", "twice"};
    for (size_t i = 0; i < ARRAY_LEN(x); i++) {
        ev.extensions = &x[i];
        assert_refused(cloudevent_write_headers(&ev, &b, &e), ERR_INVALID, words[i]);
        assert_refused(cloudevent_write(&ev, &b, &e), ERR_INVALID, words[i]);
        assert_refused(cloudevent_check(&ev, &e), ERR_INVALID, words[i]);
    }
    ev.extension_count = 0;
    ev.datacontenttype = "text/plain\r\nset-cookie: x";
    assert_refused(cloudevent_write_headers(&ev, &b, &e), ERR_INVALID, "U+000D");
    ev.datacontenttype = "application/cloudevents+json";
    assert_refused(cloudevent_write_headers(&ev, &b, &e), ERR_INVALID, "send it structured");
    assert_int_equal(cloudevent_write(&ev, &b, &e), 0);
    ev.datacontenttype = "application/json";
    ev.has_data = true;
    ev.data = "";
    assert_refused(cloudevent_write(&ev, &b, &e), ERR_INVALID, "not the JSON");
    assert_refused(cloudevent_write_batch(&ev, CLOUDEVENT_BATCH_MAX + 1, &b, &e), ERR_TOO_LARGE,
                   "at most 1000");
    buf_fini(&b);
    struct buf tiny = BUF_INIT(40);
    ev.datacontenttype = NULL;
    assert_refused(cloudevent_write(&ev, &tiny, &e), ERR_TOO_LARGE, "an event");
    buf_fini(&tiny);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_examples_of_the_json_format_are_read_and_become_their_binary_forms),
        CASE(the_example_of_a_batch_is_read_and_written),
        CASE(header_values_are_percent_encoded_as_the_binding_shows),
        CASE(header_values_may_be_quoted_and_needlessly_encoded),
        CASE(names_of_headers_are_in_either_case_and_others_are_not_looked_at),
        CASE(what_is_neither_json_nor_text_is_base64),
        CASE(json_too_deep_for_an_envelope_is_base64),
        CASE(extensions_keep_their_kinds_in_json),
        CASE(a_binary_event_that_is_none_is_refused_by_its_attribute),
        CASE(a_json_event_that_is_none_is_refused_by_its_attribute),
        CASE(what_is_over_a_limit_is_refused),
        CASE(nothing_is_written_that_is_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
