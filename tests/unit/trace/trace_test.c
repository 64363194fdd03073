#include "trace/trace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/stat.h"
#include "io/world.h"
#include "support/unit.h"
#include "trace/trace_priv.h"

static char dir[64];
static struct trace *opened; /* until shut(): a test that fails leaves it open */

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/koan-trace-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static void shut(struct trace *t)
{
    opened = NULL;
    trace_close(t);
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    if (opened != NULL) /* it counts in what is reset below */
        shut(opened);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    stat_reset_all();
    return system(command);
}

static struct trace *open_with(double sample, uint64_t bytes_max)
{
    struct trace *t = NULL;
    struct err e = ERR_INIT;
    struct trace_options o = {.dir = dir,
                              .disk = disk_real(),
                              .node_id = "n1",
                              .version = "0",
                              .sample = sample,
                              .bytes_max = bytes_max};
    if (trace_open(&o, &t, &e) != 0)
        fail_msg("%s", e.text);
    opened = t;
    return t;
}

static json_t *story(struct trace *t, const char *correlation)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(4 << 20);
    struct err e = ERR_INIT;
    bool cut = false;
    int rc = trace_timeline(t, correlation, &out, &cut, &e);
    if (rc == ERR_NOT_FOUND)
        return json_array();
    if (rc != 0)
        fail_msg("%s", e.text);
    assert_false(cut);
    json_t *v = json_read(out.data, out.len, &e);
    if (v == NULL)
        fail_msg("%s: %s", e.text, out.data);
    return v;
}

static size_t story_size(struct trace *t, const char *correlation)
{
    AUTO(json_unref) json_t *v = story(t, correlation);
    return json_array_size(v);
}

static void note(struct trace *t, enum trace_kind kind, const char *correlation,
                 const char *subject, uint64_t seq)
{
    trace_note(t, &(struct trace_event){.kind = kind,
                                        .correlation = correlation,
                                        .name = "Order",
                                        .subject = subject,
                                        .detail = "created",
                                        .seq = seq,
                                        .version = 1});
}

/* ---- trace context ---- */

TEST(a_traceparent_is_read_as_the_standard_says)
{
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    struct trace_span s;
    char text[TRACE_PARENT_TEXT];
    assert_true(trace_parse(good, &s));
    assert_true(s.sampled && s.parent == 0x00f067aa0ba902b7 && s.trace.b[0] == 0x4b);
    s.id = s.parent;
    trace_format(&s, text);
    assert_string_equal(text, good);
    assert_true(trace_parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", &s) &&
                !s.sampled);
    /* One to come: what is known of it is read, more may follow. */
    assert_true(trace_parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what", &s));
    static const char *const bad[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(trace_parse(bad[i], &s));
    assert_false(trace_parse(NULL, &s));
}

TEST(a_share_of_the_traces_is_sampled_and_a_parent_decides_for_its_children)
{
    struct trace *t = open_with(0.1, 0);
    struct trace_span s, child;
    int sampled = 0;
    for (int i = 0; i < 10000; i++) {
        char correlation[32];
        snprintf(correlation, sizeof correlation, "request-%d", i);
        trace_begin(t, NULL, correlation, &s);
        sampled += s.sampled;
        bool first = s.sampled;
        trace_begin(t, NULL, correlation, &s);
        assert_int_equal(s.sampled, first); /* every node chooses alike */
    }
    assert_in_range(sampled, 850, 1150);
    trace_begin(t, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x", &s);
    assert_true(s.sampled && s.parent == 0x00f067aa0ba902b7 && s.id != 0);
    trace_child(t, &s, &child);
    assert_true(child.sampled && child.parent == s.id && child.id != s.id);
    assert_memory_equal(child.trace.b, s.trace.b, 16);
    trace_begin(t, NULL, "0190a6c2-0000-7000-8000-00000000abcd", &s);
    assert_int_equal(s.trace.b[15], 0xcd); /* a correlation id that is a UUID is the trace id */
    shut(t);
}

/* ---- the ring ---- */

TEST(what_was_noted_is_found_at_once_and_after_a_restart) /* O2 */
{
    struct trace *t = open_with(0, 0);
    note(t, TRACE_REQUEST, "c-1", "/api/order", 0);
    note(t, TRACE_CHANGE, "c-1", "0190a6c2-0000-7000-8000-00000000abcd", 17);
    note(t, TRACE_CHANGE, "c-2", "o-2", 18);
    assert_int_equal(story_size(t, "c-1"), 2);
    shut(t);
    t = open_with(0, 0);
    AUTO(json_unref) json_t *v = story(t, "c-1");
    assert_int_equal(json_array_size(v), 2);
    json_t *change = json_array_get(v, 1);
    assert_string_equal(json_string_value(json_object_get(change, "kind")), "change");
    assert_string_equal(json_string_value(json_object_get(change, "subject")),
                        "0190a6c2-0000-7000-8000-00000000abcd");
    assert_int_equal(json_integer_value(json_object_get(change, "seq")), 17);
    assert_string_equal(json_string_value(json_object_get(change, "node")), "n1");
    assert_int_equal(story_size(t, "c-3"), 0);
    shut(t);
}

TEST(a_change_that_is_replayed_is_shown_once)
{
    struct trace *t = open_with(0, 0);
    note(t, TRACE_CHANGE, "c", "o-1", 17);
    note(t, TRACE_CHANGE, "c", "o-1", 17);
    note(t, TRACE_CHANGE, "c", "o-1", 18);
    assert_int_equal(story_size(t, "c"), 2);
    shut(t);
}

TEST(what_follows_under_a_link_belongs_to_the_story_that_it_began_in) /* O2 */
{
    struct trace *t = open_with(0, 0);
    note(t, TRACE_REQUEST, "c-1", "/api/canon/X", 0);
    trace_note(t,
               &(struct trace_event){
                   .kind = TRACE_ARRIVAL, .correlation = "c-1", .link = "a-1", .detail = "parked"});
    note(t, TRACE_REQUEST, "c-2", "/api/canon/Y", 0);
    trace_note(t, &(struct trace_event){.kind = TRACE_ARRIVAL,
                                        .correlation = "a-1",
                                        .link = "a-1",
                                        .follows = true,
                                        .detail = "canonized"});
    note(t, TRACE_CHANGE, "a-1", "golden", 20);
    assert_int_equal(story_size(t, "c-1"), 4);
    assert_int_equal(story_size(t, "a-1"), 4);
    assert_int_equal(story_size(t, "c-2"), 1);
    shut(t);
}

TEST(what_began_before_a_commit_is_shown_before_it_however_late_it_is_noted) /* O2 */
{
    struct trace *t = open_with(0, 0);
    for (int i = 0; i < 20; i++) {
        char c[16];
        snprintf(c, sizeof c, "c-%d", i);
        uint64_t began_ns = t->world->mono_ns(t->world);
        trace_note(t, &(struct trace_event){.kind = TRACE_CHANGE,
                                            .correlation = c,
                                            .at_us = t->world->wall_ms(t->world) * 1000});
        usleep(3000);
        trace_note(t, &(struct trace_event){
                          .kind = TRACE_ARRIVAL, .correlation = c, .began_ns = began_ns});
        AUTO(json_unref) json_t *v = story(t, c);
        assert_string_equal(json_string_value(json_object_get(json_array_get(v, 0), "kind")),
                            "arrival");
        assert_true(json_number_value(json_object_get(json_array_get(v, 0), "took_ms")) >= 3);
    }
    shut(t);
}

TEST(texts_are_cut_and_nothing_in_them_breaks_the_answer)
{
    char large[1000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    struct trace *t = open_with(0, 0);
    trace_note(t, &(struct trace_event){.kind = TRACE_CALL,
                                        .correlation = "c",
                                        .name = large,
                                        .subject = "\"\n\xff\xc3",
                                        .principal = "\xe2\x82\xac"});
    AUTO(json_unref) json_t *v = story(t, "c");
    assert_int_equal(json_string_length(json_object_get(json_array_get(v, 0), "name")),
                     TRACE_TEXT_MAX);
    assert_string_equal(json_string_value(json_object_get(json_array_get(v, 0), "principal")),
                        "\xe2\x82\xac");
    shut(t);
}

TEST(every_text_comes_back_as_it_was)
{
    static const char *const texts[] = {
        "0190a6c2-0000-7000-8000-00000000abcd", "0190A6C2-0000-7000-8000-00000000ABCD",
        "0190a6c2-0000-7000-8000-00000000abcg", "0190a6c2-0000-7000-8000-0000000-abcd",
        "0190a6c2-00:0-7000-8000-00000000abcd", "0190a6c2-0000-7000-8000-00000000abc`",
        "--------------------------------abcd", "x",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t record[EVENT_BYTES_MAX];
        struct event ev;
        struct trace_event e = {.kind = TRACE_CHANGE, .subject = texts[i], .correlation = texts[i]};
        size_t n = event_encode(&e, 1, record);
        assert_true(event_decode(record, n, &ev));
        assert_string_equal(ev.e.subject, texts[i]);
        assert_string_equal(ev.e.correlation, texts[i]);
    }
}

/* Some 100 bytes each. */
static void fill(struct trace *t, int from, int to)
{
    for (int i = from; i < to; i++) {
        char correlation[32];
        snprintf(correlation, sizeof correlation, "request-%d", i);
        note(t, TRACE_CHANGE, correlation, "o-1", (uint64_t)i);
        if (i % 10000 == 0) /* the buffer is written out by the way */
            story_size(t, "none");
    }
}

TEST(the_oldest_goes_when_the_ring_is_full_and_each_segment_finds_its_own)
{
    struct trace *t = open_with(0, 2 * (uint64_t)TRACE_SEGMENT_BYTES);
    fill(t, 0, 200000);
    assert_int_equal(story_size(t, "request-199999"), 1);
    assert_true(t->ring.count >= 2);
    int oldest = 0;
    while (oldest < 200000) {
        char correlation[32];
        snprintf(correlation, sizeof correlation, "request-%d", oldest);
        if (story_size(t, correlation) == 1)
            break;
        oldest += 1000;
    }
    assert_in_range(oldest, 1000, 150000);
    for (int i = oldest; i < 200000; i += 5000) {
        char correlation[32];
        snprintf(correlation, sizeof correlation, "request-%d", i);
        assert_int_equal(story_size(t, correlation), 1);
    }
    assert_true(t->ring.bytes <= 2 * (uint64_t)TRACE_SEGMENT_BYTES);
    assert_int_equal(stat_read(t->lost_buffer), 0);
    shut(t);
}

TEST(a_torn_end_is_cut_and_an_index_that_is_gone_is_made_again) /* O2 */
{
    struct trace *t = open_with(0, 0);
    char path[128];
    fill(t, 0, 120000);
    assert_true(t->ring.count >= 2);
    shut(t);
    snprintf(path, sizeof path, "%s/0000000000000001.idx", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/0000000000000002.ring", dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 7), 0);
    t = open_with(0, 0);
    assert_int_equal(story_size(t, "request-0"), 1);
    assert_int_equal(story_size(t, "request-119998"), 1);
    assert_int_equal(story_size(t, "request-119999"), 0); /* the torn one */
    note(t, TRACE_CHANGE, "later", "o", 1);
    shut(t);
    t = open_with(0, 0);
    assert_int_equal(story_size(t, "later"), 1);
    assert_int_equal(story_size(t, "request-119998"), 1);
    shut(t);
}

TEST(what_is_too_old_goes_by_whole_segments)
{
    struct trace *t = open_with(0, 0);
    fill(t, 0, 100000);
    size_t before = t->ring.count;
    assert_true(before >= 2);
    pthread_mutex_lock(&t->ring_lock);
    ring_trim(&t->ring, trace_now_us(t) + (int64_t)29 * 86400 * 1000000, 0);
    assert_int_equal(t->ring.count, before);
    ring_trim(&t->ring, trace_now_us(t) + (int64_t)31 * 86400 * 1000000, 0);
    assert_int_equal(t->ring.count, 1);
    pthread_mutex_unlock(&t->ring_lock);
    assert_int_equal(story_size(t, "request-0"), 0);
    assert_int_equal(story_size(t, "request-99999"), 1);
    shut(t);
}

TEST(without_a_folder_a_node_works_and_what_is_lost_is_counted) /* O3 */
{
    char path[128];
    struct trace *t = NULL;
    snprintf(path, sizeof path, "%s/missing/folder", dir);
    struct trace_options o = {.dir = path, .disk = disk_real(), .node_id = "n", .version = "0"};
    assert_int_equal(trace_open(&o, &t, NULL), 0);
    note(t, TRACE_CHANGE, "c", "o", 1);
    assert_int_equal(story_size(t, "c"), 0);
    assert_int_equal(stat_read(t->lost_ring), 1);
    shut(t);
}

TEST(a_full_buffer_drops_and_counts_and_does_not_wait) /* O3 */
{
    struct trace *t = open_with(0, 0);
    pthread_mutex_lock(&t->ring_lock); /* as a disk that hangs */
    for (int i = 0; i < 100000; i++)
        note(t, TRACE_CHANGE, "c", "o", (uint64_t)i);
    assert_true(t->buffer.len <= TRACE_BUFFER_BYTES);
    pthread_mutex_unlock(&t->ring_lock);
    assert_true(stat_read(t->lost_buffer) > 0);
    assert_int_equal(stat_read(t->lost_buffer) + stat_read(t->noted), 100000);
    shut(t);
}

/* ---- OTLP ---- */

static void pair(void *arg, const char *name, const char *value)
{
    buf_addf(arg, "[%s|%s]", name, value);
}

TEST(lists_of_pairs_are_read_as_the_variables_have_them)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(1000);
    assert_true(trace_pairs("a=b, c = d%20e ,,f=", pair, &out));
    assert_string_equal(buf_str(&out), "[a|b][c|d e][f|]");
    assert_false(trace_pairs("a", pair, &out));
    assert_false(trace_pairs("=b", pair, &out));
    assert_false(trace_pairs("a=%2", pair, &out));
    assert_false(trace_pairs("a=%0a", pair, &out)); /* no header of its own */
    assert_false(trace_pairs("a=%ff", pair, &out));
}

TEST(spans_are_printed_as_the_protocol_wants_them)
{
    struct trace_span s;
    uint8_t record[EVENT_BYTES_MAX];
    trace_parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &s);
    s.id = 0x1122334455667788;
    struct trace_event e = {.kind = TRACE_REQUEST,
                            .span = &s,
                            .failed = true,
                            .at_us = 1700000000000001,
                            .took_ns = 1500,
                            .status = 500,
                            .correlation = "c",
                            .name = "POST /api/:entity",
                            .detail = "internal"};
    size_t n = event_encode(&e, e.at_us, record);
    struct trace_options o = {
        .service = "shop", .version = "1", .node_id = "n", .resource = "zone=eu%2D1"};
    AUTO(buf_fini) struct buf out = BUF_INIT(10000);
    otlp_print(record, n, &o, &out);
    struct err err = ERR_INIT;
    AUTO(json_unref) json_t *v = json_read(out.data, out.len, &err);
    if (v == NULL)
        fail_msg("%s: %s", err.text, out.data);
    json_t *rs = json_array_get(json_object_get(v, "resourceSpans"), 0);
    assert_int_equal(json_array_size(json_path(rs, "resource.attributes")), 4);
    json_t *scope = json_array_get(json_object_get(rs, "scopeSpans"), 0);
    json_t *span = json_array_get(json_object_get(scope, "spans"), 0);
    assert_string_equal(json_string_value(json_object_get(span, "traceId")),
                        "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_string_equal(json_string_value(json_object_get(span, "spanId")), "1122334455667788");
    assert_string_equal(json_string_value(json_object_get(span, "parentSpanId")),
                        "00f067aa0ba902b7");
    assert_string_equal(json_string_value(json_object_get(span, "startTimeUnixNano")),
                        "1700000000000001000");
    assert_string_equal(json_string_value(json_object_get(span, "endTimeUnixNano")),
                        "1700000000000002500");
    assert_int_equal(json_integer_value(json_path(span, "status.code")), 2);
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_traceparent_is_read_as_the_standard_says),
        RING_TEST(a_share_of_the_traces_is_sampled_and_a_parent_decides_for_its_children),
        RING_TEST(what_was_noted_is_found_at_once_and_after_a_restart),
        RING_TEST(a_change_that_is_replayed_is_shown_once),
        RING_TEST(what_follows_under_a_link_belongs_to_the_story_that_it_began_in),
        RING_TEST(what_began_before_a_commit_is_shown_before_it_however_late_it_is_noted),
        RING_TEST(texts_are_cut_and_nothing_in_them_breaks_the_answer),
        HEAP_TEST(every_text_comes_back_as_it_was),
        RING_TEST(the_oldest_goes_when_the_ring_is_full_and_each_segment_finds_its_own),
        RING_TEST(a_torn_end_is_cut_and_an_index_that_is_gone_is_made_again),
        RING_TEST(what_is_too_old_goes_by_whole_segments),
        RING_TEST(without_a_folder_a_node_works_and_what_is_lost_is_counted),
        RING_TEST(a_full_buffer_drops_and_counts_and_does_not_wait),
        HEAP_TEST(lists_of_pairs_are_read_as_the_variables_have_them),
        HEAP_TEST(spans_are_printed_as_the_protocol_wants_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
