#include "codec/records.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/unit.h"

static void records_freep(struct records **r)
{
    records_free(*r);
}

/* Takes what the reader has: "json @number:line:offset-end" or "!number:line message" a record.
 * Stops after `limit` records. */
static size_t drain(struct records *r, size_t limit, struct buf *out)
{
    struct record rec;
    struct err e = ERR_INIT;
    size_t count = 0;
    int rc;
    while (count < limit && (rc = records_next(r, &rec, &e)) != 0) {
        count++;
        if (rc < 0) {
            buf_addf(out, "!%d:%d %s\n", (int)rec.number, (int)rec.line, e.text);
        } else {
            AUTO(json_unref) json_t *same = json_read(rec.json, rec.n, &e);
            assert_true(same != NULL && (rec.value == NULL || json_equal(same, rec.value)));
            buf_addf(out, "%.*s @%d:%d:%d-%d\n", (int)rec.n, rec.json, (int)rec.number,
                     (int)rec.line, (int)rec.offset, (int)rec.end);
        }
    }
    return count;
}

static void assert_parsed(enum records_format f, const char *text, size_t count)
{
    AUTO(records_freep) struct records *r = records_new(f, 0);
    struct record rec;
    struct err e;
    records_feed(r, text, strlen(text));
    records_finish(r);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(records_next(r, &rec, &e), 1);
        assert_int_equal(json_integer_value(json_object_get(rec.value, "a")), i);
    }
    assert_int_equal(records_next(r, &rec, &e), 0);
}

TEST(a_record_comes_parsed_too)
{
    assert_parsed(RECORDS_NDJSON, "{\"a\":0}\n{\"a\":1}", 2);
    assert_parsed(RECORDS_JSON, "[{\"a\":0}, {\"a\":1}]", 2);
}

static void feed_all(struct records *r, const char *text, size_t n, size_t step, struct buf *out)
{
    for (size_t at = 0; at <= n; at += step) {
        size_t take = n - at < step ? n - at : step;
        AUTO(mem_freep) char *piece = mem_dup(text + at, take);
        records_feed(r, piece, take);
        if (at + step > n)
            records_finish(r);
        drain(r, SIZE_MAX, out);
    }
}

/* What comes out when the reader is stopped after `count` records, saved, and resumed. */
static void run_in_two(enum records_format f, const char *text, size_t n, size_t count,
                       struct buf *out)
{
    AUTO(buf_fini) struct buf state = BUF_INIT(RECORDS_STATE_MAX);
    AUTO(records_freep) struct records *first = records_new(f, 0);
    AUTO(records_freep) struct records *second = NULL;
    struct err e;
    records_feed(first, text, n);
    records_finish(first);
    if (drain(first, count, out) < count || records_is_broken(first))
        return;
    assert_int_equal(records_save(first, &state, NULL), 0);
    if (records_resume(state.data, state.len, &second, &e) != 0)
        fail_msg("%s: %s", state.data, e.text);
    size_t from = records_offset(second);
    feed_all(second, text + from, n - from, 3, out);
}

/* The same, whatever the pieces, and wherever it was interrupted. */
static void gives(enum records_format f, const char *text, const char *want)
{
    size_t n = strlen(text);
    for (size_t step = n + 1; step > 0; step = step > 8 ? step / 2 : step - 1) {
        AUTO(records_freep) struct records *r = records_new(f, 0);
        AUTO(buf_fini) struct buf out = BUF_INIT(1 << 20);
        feed_all(r, text, n, step, &out);
        assert_string_equal(buf_str(&out), want);
    }
    for (size_t count = 0; count < 6; count++) {
        AUTO(buf_fini) struct buf out = BUF_INIT(1 << 20);
        run_in_two(f, text, n, count, &out);
        assert_string_equal(buf_str(&out), want);
    }
}

TEST(ndjson_has_one_object_per_line)
{
    gives(RECORDS_NDJSON, "{\"a\":1}\n\n  \r\n{\"b\":\"x y\"}\r\n{}",
          "{\"a\":1} @1:1:0-8\n{\"b\":\"x y\"} @2:4:13-26\n{} @3:5:26-28\n");
    gives(RECORDS_NDJSON, "", "");
    gives(RECORDS_NDJSON, "\xef\xbb\xbf{}\n", "{} @1:1:3-6\n");
}

TEST(a_bad_line_does_not_stop_the_next)
{
    gives(RECORDS_NDJSON, "{\"a\":1}\n{oops}\n[1]\n7\n{\"b\":2}\n",
          "{\"a\":1} @1:1:0-8\n"
          "!2:2 line 2, column 2, offset 9: string or '}' expected near 'oops'\n"
          "!3:3 line 3, column 1: a record must be an object, not array\n"
          "!4:4 line 4, column 1: a record must be an object, not number\n"
          "{\"b\":2} @5:5:21-29\n");
}

TEST(an_array_is_cut_between_its_elements)
{
    gives(RECORDS_JSON, "\xef\xbb\xbf [\n{\"a\":[1,{\"b\":\"]},\\\"[\"}]} ,\n {\"c\":2},{}\n]\n",
          "{\"a\":[1,{\"b\":\"]},\\\"[\"}]} @1:2:6-30\n{\"c\":2} @2:3:34-41\n{} @3:3:42-44\n");
    gives(RECORDS_JSON, "[]", "");
    gives(RECORDS_JSON, " [ ] ", "");
}

TEST(a_bad_element_does_not_stop_the_next)
{
    gives(RECORDS_JSON, "[{\"a\":1},{\"a\" 1},\n5,\"x\", null,{\"a\":[}},{\"b\":1}]",
          "{\"a\":1} @1:1:1-8\n"
          "!2:1 line 1, column 15, offset 14: ':' expected near '1'\n"
          "!3:2 line 2, column 1: a record must be an object, not number\n"
          "!4:2 line 2, column 3: a record must be an object, not string\n"
          "!5:2 line 2, column 8: a record must be an object, not null\n"
          "!6:2 line 2, column 19, offset 36: unexpected token near '}'\n"
          "{\"b\":1} @7:2:39-46\n");
}

TEST(a_broken_frame_is_final)
{
    gives(RECORDS_JSON, "",
          "!1:1 line 1, column 1, offset 0: the text is empty; an array was expected\n");
    gives(RECORDS_JSON, "{}", "!1:1 line 1, column 1, offset 0: an array must begin with '['\n");
    gives(RECORDS_JSON, "[{}",
          "{} @1:1:1-3\n!2:1 line 1, column 4, offset 3: the array is not closed; is "
          "the file cut off?\n");
    gives(RECORDS_JSON, "[{},{\"a\":",
          "{} @1:1:1-3\n!2:1 line 1, column 5, offset 4: the element that begins here is not "
          "complete\n");
    gives(RECORDS_JSON, "[{}{}]",
          "{} @1:1:1-3\n!2:1 line 1, column 4, offset 3: ',' or ']' expected\n");
    gives(RECORDS_JSON, "[{},]",
          "{} @1:1:1-3\n!2:1 line 1, column 5, offset 4: an element is missing\n");
    gives(RECORDS_JSON, "[] x",
          "!1:1 line 1, column 4, offset 3: text behind the end of the array\n");
    gives(RECORDS_CSV, "a,a\n1,2\n",
          "!1:1 line 1, column 1: columns 1 and 2 of the header are both named 'a'\n");
}

TEST(csv_rows_become_objects_of_strings)
{
    gives(RECORDS_CSV, "id,name\n1,\"say \"\"hi\"\"\"\n2,\"a\nb\"\n3\n4,\n",
          "{\"id\":\"1\",\"name\":\"say \\\"hi\\\"\"} @1:2:8-23\n"
          "{\"id\":\"2\",\"name\":\"a\\nb\"} @2:3:23-31\n"
          "!3:5 line 5, column 1: 1 fields, but the header names 2\n"
          "{\"id\":\"4\",\"name\":\"\"} @4:6:33-36\n");
    gives(RECORDS_CSV, "id\n", "");
}

TEST(a_record_that_is_too_large_is_passed_over)
{
    AUTO(buf_fini) struct buf in = BUF_INIT(8 << 20);
    for (int format = RECORDS_NDJSON; format <= RECORDS_JSON; format++) {
        const char *sep = format == RECORDS_JSON ? "," : "\n";
        buf_reset(&in);
        buf_adds(&in, format == RECORDS_JSON ? "[{\"a\":\"" : "{\"a\":\"");
        size_t n = RECORDS_RECORD_MAX;
        memset(buf_reserve(&in, n), 'x', n);
        buf_commit(&in, n);
        buf_addf(&in, "\"}%s{}", sep);
        buf_adds(&in, format == RECORDS_JSON ? "]" : "");
        for (size_t step = 4096; step < 8 << 20; step *= 100) {
            AUTO(records_freep) struct records *r = records_new((enum records_format)format, 0);
            AUTO(buf_fini) struct buf out = BUF_INIT(1 << 20);
            feed_all(r, in.data, in.len, step, &out);
            assert_memory_equal(buf_str(&out), "!1:1 line 1: the record is larger than 1048576",
                                46);
            assert_non_null(strstr(buf_str(&out), "\n{} @2:"));
        }
    }
}

TEST(before_the_first_piece_there_is_nothing)
{
    static const enum records_format formats[] = {RECORDS_NDJSON, RECORDS_JSON, RECORDS_CSV};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        AUTO(records_freep) struct records *r = records_new(formats[i], 0);
        struct record rec;
        struct err e = ERR_INIT;
        assert_int_equal(records_next(r, &rec, &e), 0);
    }
}

TEST(the_format_is_guessed)
{
    assert_int_equal(records_guess("x.csv", "[", 1), RECORDS_CSV);
    assert_int_equal(records_guess("X.JSONL", "", 0), RECORDS_NDJSON);
    assert_int_equal(records_guess("x.json", "\xef\xbb\xbf \n[{", 7), RECORDS_JSON);
    assert_int_equal(records_guess("x.json", "{}", 2), RECORDS_NDJSON);
    assert_int_equal(records_guess(NULL, "id,name", 7), RECORDS_CSV);
    enum records_format f;
    assert_true(records_format_parse("json", &f) && f == RECORDS_JSON);
    assert_false(records_format_parse("xml", &f));
}

TEST(a_state_that_is_none_is_refused)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"format\":\"xml\"}",
        "{\"format\":\"json\"}",
        "{\"format\":\"json\",\"number\":1,\"line\":1,\"column\":1,\"offset\":-1}",
        "{\"format\":\"csv\",\"number\":1,\"line\":1,\"column\":1,\"offset\":9}",
        "{\"format\":\"csv\",\"number\":1,\"line\":1,\"column\":1,\"offset\":9,\"delimiter\":\",\","
        "\"columns\":[]}",
        "{\"format\":\"csv\",\"number\":1,\"line\":1,\"column\":1,\"offset\":9,\"delimiter\":\",\","
        "\"columns\":[5]}",
    };
    struct records *r = NULL;
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_refused(records_resume(bad[i], strlen(bad[i]), &r, &e), ERR_INVALID,
                       "the state of the import");
        assert_null(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_record_comes_parsed_too),
        HEAP_TEST(ndjson_has_one_object_per_line),
        HEAP_TEST(a_bad_line_does_not_stop_the_next),
        HEAP_TEST(an_array_is_cut_between_its_elements),
        HEAP_TEST(a_bad_element_does_not_stop_the_next),
        HEAP_TEST(a_broken_frame_is_final),
        HEAP_TEST(csv_rows_become_objects_of_strings),
        HEAP_TEST(a_record_that_is_too_large_is_passed_over),
        HEAP_TEST(before_the_first_piece_there_is_nothing),
        HEAP_TEST(the_format_is_guessed),
        HEAP_TEST(a_state_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
