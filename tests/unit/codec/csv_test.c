#include "codec/csv.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/unit.h"

static void csv_freep(struct csv **c)
{
    csv_free(*c);
}

/* Everything that comes out, as text: fields as <field>, records ended by the line they began in,
 * errors as !line: message. Fed in pieces of `step` bytes, each in memory of its own. */
static void run(const char *text, size_t n, size_t step, struct csv_options o, struct buf *out)
{
    AUTO(csv_freep) struct csv *c = csv_new(&o);
    struct csv_record rec;
    struct err e = ERR_INIT;
    int rc;
    buf_init(out, 1 << 24);
    for (size_t at = 0; at <= n; at += step) {
        size_t take = n - at < step ? n - at : step;
        AUTO(mem_freep) char *piece = mem_dup(text + at, take);
        csv_feed(c, piece, take);
        if (at + step > n)
            csv_finish(c);
        while ((rc = csv_next(c, &rec, &e)) != 0) {
            if (rc < 0) {
                buf_addf(out, "!%d: %s\n", (int)rec.line, e.text);
                continue;
            }
            for (size_t i = 0; i < rec.count; i++)
                buf_addf(out, "<%.*s>", (int)rec.fields[i].n, rec.fields[i].p);
            buf_addf(out, "@%d\n", (int)rec.line);
        }
    }
}

static void gives_with(const char *text, size_t n, struct csv_options o, const char *want)
{
    for (size_t step = n + 1; step > 0; step = step > 8 ? step / 2 : step - 1) {
        struct buf out;
        run(text, n, step, o, &out);
        assert_string_equal(buf_str(&out), want);
        buf_fini(&out);
    }
}

static void gives(const char *text, const char *want)
{
    gives_with(text, strlen(text), (struct csv_options){.delimiter = ','}, want);
}

static void gives_with_header(const char *text, const char *want)
{
    gives_with(text, strlen(text), (struct csv_options){.header = true}, want);
}

TEST(fields_are_split_and_may_be_empty)
{
    gives("a,b,c\n1,,3\n,\n", "<a><b><c>@1\n<1><><3>@2\n<><>@3\n");
    gives("a", "<a>@1\n");
    gives("a,", "<a><>@1\n");
    gives("", "");
}

TEST(lines_end_in_lf_crlf_or_cr)
{
    gives("a\r\nb\nc\rd", "<a>@1\n<b>@2\n<c>@3\n<d>@4\n");
    gives("a\r\n", "<a>@1\n");
    gives("a\r", "<a>@1\n");
}

TEST(blank_lines_are_no_records)
{
    gives("\n\r\na\n\n\nb\n\n", "<a>@3\n<b>@6\n");
}

TEST(quotes_hold_delimiters_newlines_and_quotes)
{
    gives("\"a,b\",\"c\nd\",\"e\"\"f\"\n\"\"\n", "<a,b><c\nd><e\"f>@1\n<>@3\n");
    gives("\"a\r\nb\"\r\nc", "<a\r\nb>@1\n<c>@3\n");
    gives("5\" pipe,x", "<5\" pipe><x>@1\n");
}

TEST(a_bom_is_skipped_and_only_a_whole_one)
{
    gives("\xef\xbb\xbf\"id\",x\n", "<id><x>@1\n");
    gives("\xef\xbf\xbd,x\n", "<\xef\xbf\xbd><x>@1\n");
    gives("\xef\xbb", "!1: line 1, column 1: not valid UTF-8\n");
    gives("a\n\xef\xbb\xbf"
          "b",
          "<a>@1\n<\xef\xbb\xbf"
          "b>@2\n");
}

TEST(a_bad_record_is_placed_and_the_next_is_read)
{
    gives("a\n\"b\"c,d\ne\n",
          "<a>@1\n!2: line 2, column 4: text behind a closing quote; write a quote "
          "inside of a quoted field twice\n<e>@3\n");
    gives("a\nb,\"c\nd\n", "<a>@1\n!2: line 2, column 3: this quote is never closed\n");
    gives("a\n\xff\nb",
          "<a>@1\n!2: line 2, column 1: not valid UTF-8; convert the file first, as with: "
          "iconv -f latin1 -t utf8\n<b>@3\n");
    gives_with(
        "a\0b\nc", 5, (struct csv_options){0},
        "!1: line 1, column 1: a NUL byte; if this is UTF-16, convert it to UTF-8 first\n<c>@2\n");
}

TEST(a_header_sets_the_number_of_fields)
{
    gives_with_header("a,b\n1,2\n3\n4,5,6\n7,8\n",
                      "<1><2>@2\n!3: line 3, column 1: 1 fields, but the header names 2\n"
                      "!4: line 4, column 1: 3 fields, but the header names 2\n<7><8>@5\n");
}

TEST(a_bad_header_is_final)
{
    gives_with_header("a,,c\n1,2,3\n",
                      "!1: line 1, column 1: column 2 of the header has no name; give it one\n");
    gives_with_header("a,b,a\n1,2,3\n",
                      "!1: line 1, column 1: columns 1 and 3 of the header are both named 'a'\n");
}

TEST(columns_are_known_after_the_header)
{
    AUTO(csv_freep)
    struct csv *c = csv_new(&(struct csv_options){.header = true, .delimiter = ';'});
    struct csv_record rec;
    size_t count;
    assert_null(csv_columns(c, &count));
    csv_feed(c, "a;b\n1;2\n", 8);
    assert_int_equal(csv_next(c, &rec, NULL), 1);
    const struct str *columns = csv_columns(c, &count);
    assert_int_equal(count, 2);
    assert_true(str_eq(columns[1], "b"));
    assert_int_equal(rec.offset, 4);
    assert_int_equal(rec.end, 8);
}

TEST(reading_goes_on_in_the_middle)
{
    static const struct str columns[] = {{"a", 1}, {"b", 1}};
    struct csv_options o = {
        .columns = columns, .column_count = 2, .offset = 100, .line = 7, .header = true};
    gives_with("1,2\n3\n", 6, o,
               "<1><2>@7\n!8: line 8, column 1: 1 fields, but the header names 2\n");
}

TEST(the_limits_of_record_and_fields_hold)
{
    AUTO(buf_fini) struct buf in = BUF_INIT(4 << 20);
    struct buf out;
    for (int i = 0; i < CSV_FIELDS_MAX; i++)
        buf_adds(&in, ",");
    buf_adds(&in, "\n1\n");
    run(buf_str(&in), in.len, in.len, (struct csv_options){0}, &out);
    assert_string_equal(buf_str(&out),
                        "!1: line 1, column 1001: the record has more than 1000 fields\n<1>@2\n");
    buf_fini(&out);

    buf_reset(&in);
    char *big = buf_reserve(&in, CSV_RECORD_MAX + 1);
    memset(big, 'x', CSV_RECORD_MAX + 1);
    buf_commit(&in, CSV_RECORD_MAX + 1);
    buf_adds(&in, "\n1\n");
    run(buf_str(&in), in.len, 10000, (struct csv_options){0}, &out);
    assert_string_equal(buf_str(&out),
                        "!1: line 1, column 1: the record is larger than 1048576 bytes\n<1>@2\n");
    buf_fini(&out);

    in.data[0] = '"';
    run(buf_str(&in), in.len, 10000, (struct csv_options){0}, &out);
    assert_string_equal(buf_str(&out), "!1: line 1, column 1: the record is larger than 1048576 "
                                       "bytes; is the quote that opens here ever closed?\n");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(fields_are_split_and_may_be_empty),
        HEAP_TEST(lines_end_in_lf_crlf_or_cr),
        HEAP_TEST(blank_lines_are_no_records),
        HEAP_TEST(quotes_hold_delimiters_newlines_and_quotes),
        HEAP_TEST(a_bom_is_skipped_and_only_a_whole_one),
        HEAP_TEST(a_bad_record_is_placed_and_the_next_is_read),
        HEAP_TEST(a_header_sets_the_number_of_fields),
        HEAP_TEST(a_bad_header_is_final),
        HEAP_TEST(columns_are_known_after_the_header),
        HEAP_TEST(reading_goes_on_in_the_middle),
        HEAP_TEST(the_limits_of_record_and_fields_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
